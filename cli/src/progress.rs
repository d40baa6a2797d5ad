//! Progress of a running job on standard error: one live line on a terminal, a plain line every few seconds elsewhere.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use unicode_width::UnicodeWidthChar;
use weir_engine::Progress;
use weir_types::Watermark;

use crate::text::{bytes, counted, grouped, rate};

/// A log grows by a line in this time.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// The rate shown is that of about this time.
const RATE_WINDOW: Duration = Duration::from_secs(3);
/// Back to the start of the line, and erase it.
const ERASE: &str = "\r\x1b[2K";

/// The line at the foot of a terminal. Whoever prints something else clears it first.
pub(crate) struct StatusLine {
    live: bool,
    drawn: AtomicBool,
}

impl StatusLine {
    /// A line that is drawn if standard error is a terminal and somebody wants it.
    pub(crate) fn new(wanted: bool) -> Self {
        let capable = std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            live: wanted && capable,
            drawn: AtomicBool::new(false),
        }
    }

    /// Takes the line away, so that something else can be printed.
    pub(crate) fn clear(&self) {
        if self.drawn.swap(false, Ordering::Relaxed) {
            eprint!("{ERASE}");
        }
    }

    /// A warning beside the rows.
    pub(crate) fn note(&self, text: &str) {
        self.clear();
        eprintln!("warning: {text}");
    }

    fn draw(&self, text: &str) {
        // Some terminals do not know their width, and say zero.
        let columns = crossterm::terminal::size().map_or(0, |(columns, _)| usize::from(columns));
        let columns = if columns == 0 { 80 } else { columns };
        let mut stderr = std::io::stderr().lock();
        // Nobody is harmed by a line that could not be drawn.
        let _ = write!(stderr, "{ERASE}{}", cut(text, columns.saturating_sub(1)));
        let _ = stderr.flush();
        self.drawn.store(true, Ordering::Relaxed);
    }
}

/// Follows one job.
pub(crate) struct Reporter<'a> {
    job: String,
    status: &'a StatusLine,
    wanted: bool,
    next_plain: Instant,
    /// Rows at some moments of the last seconds, oldest first.
    samples: VecDeque<(Instant, u64)>,
    warnings_shown: usize,
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(
        job: &str,
        status: &'a StatusLine,
        wanted: bool,
        rows: u64,
        now: Instant,
    ) -> Self {
        Self {
            job: job.to_owned(),
            status,
            wanted,
            next_plain: now + PLAIN_INTERVAL,
            samples: VecDeque::from([(now, rows)]),
            warnings_shown: 0,
        }
    }

    /// Shows where the job stands; called several times a second.
    pub(crate) fn show(&mut self, progress: &Progress, stopping: bool, now: Instant) {
        self.show_warnings(&progress.warnings);
        let rows_per_second = self.rows_per_second(progress.rows_in, now);
        if !self.wanted {
            return;
        }
        if self.status.live {
            self.status
                .draw(&describe(&self.job, progress, rows_per_second, stopping));
        } else if now >= self.next_plain {
            self.next_plain = now + PLAIN_INTERVAL;
            eprintln!(
                "{}",
                describe(&self.job, progress, rows_per_second, stopping)
            );
        }
    }

    /// Warnings are shown whether progress is wanted or not.
    pub(crate) fn show_warnings(&mut self, warnings: &[String]) {
        for warning in warnings.iter().skip(self.warnings_shown) {
            self.status.clear();
            eprintln!("warning: {warning}");
        }
        self.warnings_shown = self.warnings_shown.max(warnings.len());
    }

    fn rows_per_second(&mut self, rows: u64, now: Instant) -> u64 {
        self.samples.push_back((now, rows));
        while self.samples.len() > 2 && now.duration_since(self.samples[1].0) >= RATE_WINDOW {
            self.samples.pop_front();
        }
        let (then, before) = self.samples[0];
        rate(rows.saturating_sub(before), now.duration_since(then))
    }
}

/// `flights: 1,234,567 rows, 105,000 rows/s, 45 % of 8.3 MiB, watermark 2013-01-05 05:00:00, checkpoint 4`.
fn describe(job: &str, progress: &Progress, rows_per_second: u64, stopping: bool) -> String {
    let mut parts = vec![
        counted(progress.rows_in, "row", "rows"),
        format!("{} rows/s", grouped(rows_per_second)),
    ];
    match progress.bytes_total {
        Some(total) if total > 0 => {
            // Compressed input may hold more than its files' sizes say.
            let percent = (progress.bytes_done as f64 / total as f64 * 100.0).min(100.0);
            parts.push(format!("{percent:.0} % of {}", bytes(total)));
        }
        _ if progress.bytes_done > 0 => parts.push(bytes(progress.bytes_done)),
        _ => {}
    }
    match progress.watermark {
        None | Some(Watermark::MIN) => {}
        Some(Watermark::MAX) => parts.push("watermark at the end".to_owned()),
        Some(watermark) => parts.push(format!("watermark {watermark}")),
    }
    if let Some(checkpoint) = progress.last_checkpoint {
        parts.push(format!("checkpoint {checkpoint}"));
    }
    if progress.late_rows > 0 {
        parts.push(format!("{} late", grouped(progress.late_rows)));
    }
    if progress.rejected_rows > 0 {
        parts.push(format!("{} malformed", grouped(progress.rejected_rows)));
    }
    if progress.failed_rows > 0 {
        parts.push(format!("{} failed", grouped(progress.failed_rows)));
    }
    let state = if stopping { "stopping: " } else { "" };
    format!("{job}: {state}{}", parts.join(", "))
}

/// The text cut to so many columns of a terminal.
fn cut(text: &str, columns: usize) -> String {
    let mut used = 0;
    text.chars()
        .take_while(|character| {
            used += character.width().unwrap_or(0);
            used <= columns
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use weir_types::CheckpointId;

    use super::*;

    #[test]
    fn the_line_says_how_far_a_bounded_job_is() {
        let progress = Progress {
            rows_in: 1_234_567,
            bytes_done: 512,
            bytes_total: Some(1024),
            watermark: Some(Watermark(1_357_017_300_000_000)),
            last_checkpoint: Some(CheckpointId(4)),
            late_rows: 3,
            ..Progress::default()
        };
        assert_eq!(
            describe("flights", &progress, 105_000, false),
            "flights: 1,234,567 rows, 105,000 rows/s, 50 % of 1.0 KiB, watermark 2013-01-01 05:15:00, checkpoint 4, 3 late"
        );
        assert!(describe("q", &progress, 0, true).starts_with("q: stopping: "));
    }

    #[test]
    fn a_line_wider_than_the_terminal_is_cut() {
        assert_eq!(cut("rows ✓ and more", 6), "rows ✓");
        assert_eq!(cut("表表表", 5), "表表");
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let status = StatusLine {
            live: false,
            drawn: AtomicBool::new(false),
        };
        let start = Instant::now();
        let mut reporter = Reporter::new("q", &status, false, 0, start);
        let mut rate_at = |seconds: u64, rows| {
            reporter.rows_per_second(rows, start + Duration::from_secs(seconds))
        };
        assert_eq!(rate_at(1, 100), 100);
        for second in 2..10 {
            rate_at(second, 100 + (second - 1) * 1000);
        }
        assert_eq!(rate_at(10, 9100), 1000);
    }
}
