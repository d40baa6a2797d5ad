//! `weir checkpoints JOB` and `weir doctor JOB`: what each checkpoint cost, and what that says of the job.
//!
//! Both read the statistics in the job's folder and nothing else, so they work on a job that runs, and on one that does not.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use unicode_width::UnicodeWidthStr;
use weir_engine::statistics::{self, CheckpointRecord, Ending, Finding};
use weir_types::EventTime;

use crate::exit::{Code, Failure};
use crate::print::is_closed_pipe;
use crate::text::{bytes, counted, grouped};

/// `weir checkpoints`.
#[derive(Args)]
pub(crate) struct CheckpointsOptions {
    /// The job's name, or its query file.
    pub(crate) job: String,
    /// Where its state is [default: .weir/JOB].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state_dir: Option<PathBuf>,
    /// This checkpoint alone, by operator.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) checkpoint: Option<u64>,
    /// So many of the last ones.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) last: usize,
    /// A chart of their times and sizes.
    #[arg(long, conflicts_with = "json")]
    pub(crate) plot: bool,
    /// One JSON object a line, with everything that is known.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weir doctor`.
#[derive(Args)]
pub(crate) struct DoctorOptions {
    /// The job's name, or its query file.
    pub(crate) job: String,
    /// Where its state is [default: .weir/JOB].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state_dir: Option<PathBuf>,
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the last checkpoints of a job.
pub(crate) fn checkpoints(options: &CheckpointsOptions) -> Result<Code, Failure> {
    let mut records = records_of(&options.job, options.state_dir.as_deref())?;
    if let Some(number) = options.checkpoint {
        records.retain(|record| record.checkpoint == number);
        if records.is_empty() {
            return Err(Failure::usage(format!(
                "there are no figures of checkpoint {number} of job `{}`; `weir checkpoints {}` lists those there are",
                options.job, options.job
            )));
        }
    }
    let first = records.len().saturating_sub(options.last);
    let records = &records[first..];
    print(&if options.json {
        let values: Result<Vec<_>, _> = records.iter().map(serde_json::to_value).collect();
        json_lines(&values.map_err(Failure::failed)?)
    } else if options.plot {
        plot(records)
    } else if options.checkpoint.is_some() {
        records.iter().map(by_operator).collect()
    } else {
        table(records)
    })
}

/// Prints what to look at.
pub(crate) fn doctor(options: &DoctorOptions) -> Result<Code, Failure> {
    let records = records_of(&options.job, options.state_dir.as_deref())?;
    let findings = statistics::diagnose(&records);
    let text = if options.json {
        let lines: Vec<serde_json::Value> = findings.iter().map(as_json).collect();
        json_lines(&lines)
    } else {
        described(
            &options.job,
            statistics::looked_at(&records).len(),
            &findings,
        )
    };
    print(&text)
}

fn print(text: &str) -> Result<Code, Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if !is_closed_pipe(&error) => {
            Err(Failure::failed(format!("cannot print: {error}")))
        }
        _ => Ok(Code::Done),
    }
}

/// The records of a job, which is called by its name or by its query file.
fn records_of(job: &str, state_dir: Option<&Path>) -> Result<Vec<CheckpointRecord>, Failure> {
    let folder = match state_dir {
        Some(folder) => folder.to_path_buf(),
        None => {
            let name = match job.strip_suffix(".sql") {
                Some(_) => Path::new(job).file_stem().unwrap_or_default().into(),
                None => PathBuf::from(job),
            };
            Path::new(".weir").join(name)
        }
    };
    if !folder.is_dir() {
        return Err(Failure::usage(format!(
            "there is no job `{job}`: no folder {}; --state-dir says where its state is",
            folder.display()
        )));
    }
    let file = statistics::file_of(&folder);
    let records = statistics::read(&folder)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", file.display())))?;
    if records.is_empty() {
        return Err(Failure::usage(format!(
            "job `{job}` has not taken a checkpoint yet: there is no {}",
            file.display()
        )));
    }
    Ok(records)
}

fn json_lines(values: &[serde_json::Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

fn as_json(finding: &Finding) -> serde_json::Value {
    serde_json::json!({
        "title": finding.title,
        "operator": finding.operator,
        "evidence": finding.evidence,
        "advice": finding.advice,
    })
}

/// `12.3 ms`, `4.56 s`.
fn time(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

fn ending(record: &CheckpointRecord) -> &'static str {
    match record.ending {
        Ending::Completed => "done",
        Ending::Failed => "failed",
        Ending::Expired => "expired",
    }
}

fn table(records: &[CheckpointRecord]) -> String {
    let header = [
        "number",
        "began (UTC)",
        "",
        "barrier",
        "frozen",
        "written",
        "ready",
        "in all",
        "entries",
        "new",
        "total",
    ];
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| {
            vec![
                record.checkpoint.to_string(),
                EventTime(record.triggered_micros / 1000 * 1000).to_string(),
                ending(record).to_owned(),
                time(record.barrier_micros),
                time(record.frozen_micros),
                time(record.write_micros),
                time(record.ready_micros),
                time(record.total_micros),
                grouped(record.entries),
                bytes(record.bytes_new),
                bytes(record.bytes_total),
            ]
        })
        .collect();
    let mut text = aligned(&header, &rows, 3);
    for record in records {
        if let Some(reason) = &record.reason {
            let _ = writeln!(text, "{} {}: {reason}", record.checkpoint, ending(record));
        }
    }
    text
}

/// One checkpoint, operator by operator.
fn by_operator(record: &CheckpointRecord) -> String {
    let header = [
        "operator", "aligned", "flush", "prepare", "frozen", "written", "busy", "rows", "changed",
        "entries", "state", "bound",
    ];
    let rows: Vec<Vec<String>> = record
        .operators
        .iter()
        .map(|operator| {
            vec![
                operator.id.clone(),
                time(operator.alignment_micros),
                time(operator.flush_micros),
                time(operator.prepare_micros),
                time(operator.frozen_micros),
                time(operator.write_micros),
                time(operator.busy_micros),
                grouped(operator.rows_by_worker.iter().sum()),
                grouped(operator.entries),
                grouped(operator.entries_total),
                bytes(operator.bytes_total),
                operator.bound.clone(),
            ]
        })
        .collect();
    let reason = match &record.reason {
        Some(reason) => format!(": {reason}"),
        None => String::new(),
    };
    format!(
        "checkpoint {} ({}), began {} UTC{reason}\n\n{}",
        record.checkpoint,
        ending(record),
        EventTime(record.triggered_micros / 1000 * 1000),
        aligned(&header, &rows, 1)
    )
}

/// Columns from `right` on are aligned to the right.
fn aligned(header: &[&str], rows: &[Vec<String>], right: usize) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].width());
        cells.chain([header[column].width()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (column, cell) in cells.enumerate() {
            let space = " ".repeat(widths[column] - cell.width());
            let pad = if column == 0 { "" } else { "  " };
            if column >= right {
                line.push_str(&format!("{pad}{space}{cell}"));
            } else {
                line.push_str(&format!("{pad}{cell}{space}"));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&mut header.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// Height of a chart in lines.
const CHART_LINES: usize = 6;

/// Two charts, one column for each checkpoint.
fn plot(records: &[CheckpointRecord]) -> String {
    let first = records.first().map_or(0, |record| record.checkpoint);
    let last = records.last().map_or(0, |record| record.checkpoint);
    let mut text = String::new();
    type Figure = fn(&CheckpointRecord) -> u64;
    let figures: [(&str, Figure, fn(u64) -> String); 2] = [
        ("from barrier to commit", |record| record.total_micros, time),
        ("bytes uploaded", |record| record.bytes_new, bytes),
    ];
    for (title, figure, show) in figures {
        let values: Vec<u64> = records.iter().map(figure).collect();
        let most = values.iter().copied().max().unwrap_or(0);
        let _ = writeln!(text, "{title}, at most {}", show(most));
        text.push_str(&chart(&values, most));
        let _ = writeln!(
            text,
            "  └{}\n   {first} to {last}\n",
            "─".repeat(values.len())
        );
    }
    let bad = records
        .iter()
        .filter(|record| record.ending != Ending::Completed)
        .count() as u64;
    if bad > 0 {
        let _ = writeln!(
            text,
            "{} not complete",
            counted(bad, "checkpoint was", "checkpoints were")
        );
    }
    text
}

/// Columns of eighths, the highest `most` tall.
fn chart(values: &[u64], most: u64) -> String {
    const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let mut text = String::new();
    for line in (0..CHART_LINES).rev() {
        text.push_str("  │");
        for value in values {
            let height =
                (*value as u128 * (CHART_LINES as u128 * 8)).div_ceil(u128::from(most.max(1)));
            let part = (height as usize).saturating_sub(line * 8).min(8);
            text.push(EIGHTHS[part]);
        }
        let kept = text.trim_end_matches(' ').len();
        text.truncate(kept);
        text.push('\n');
    }
    text
}

fn described(job: &str, records: usize, findings: &[Finding]) -> String {
    let looked = counted(records as u64, "checkpoint", "checkpoints");
    if findings.is_empty() {
        return format!("{job}: nothing to look at in the figures of {looked}\n");
    }
    let mut text = format!(
        "{job}: {} in the figures of {looked}\n",
        counted(
            findings.len() as u64,
            "thing to look at",
            "things to look at"
        )
    );
    for finding in findings {
        let _ = write!(
            text,
            "\n{}{}\n  {}\n  help: {}\n",
            finding.title,
            finding
                .operator
                .as_ref()
                .map(|id| format!(": {id}"))
                .unwrap_or_default(),
            finding.evidence,
            finding.advice
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64, micros: u64) -> CheckpointRecord {
        serde_json::from_value(serde_json::json!({
            "checkpoint": number, "generation": 1, "triggered_micros": 1_704_067_200_123_456i64,
            "triggered_after_micros": 0, "ending": "completed", "barrier_micros": 1500, "frozen_micros": 90,
            "write_micros": 20_000, "ready_micros": 30_000, "publish_micros": 4_000, "total_micros": micros,
            "bytes_new": 2048, "bytes_total": 4096, "entries": 1200, "entries_bytes": 9000,
            "operators": [{"id": "totals/aggregate", "bound": "nothing", "alignment_micros": 1, "flush_micros": 2,
                "prepare_micros": 0, "frozen_micros": 90, "write_micros": 9000, "entries": 1200, "bytes": 9000,
                "entries_total": 5000, "bytes_total": 100_000, "hottest_entries": 20, "hottest_group": 3, "groups": 128,
                "busy_micros": 700_000, "rows_by_worker": [10, 20]}]
        }))
        .unwrap()
    }

    #[test]
    fn the_table_has_a_line_for_each_checkpoint_and_says_why_one_failed() {
        let failed = CheckpointRecord {
            ending: Ending::Failed,
            reason: Some("disk full".to_owned()),
            ..record(2, 1_500_000)
        };
        let expected = "\
number  began (UTC)                    barrier  frozen  written  ready  in all  entries      new    total
1       2024-01-01 00:00:00.123  done   1.5 ms  0.1 ms    20 ms  30 ms   34 ms    1,200  2.0 KiB  4.0 KiB
2       2024-01-01 00:00:00.123  failed 1.5 ms";
        let text = table(&[record(1, 34_000), failed]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(
            lines[1].contains("done") && lines[1].contains("34 ms"),
            "{text}"
        );
        assert!(lines[2].contains("1.50 s"), "{text}");
        assert_eq!(lines[3], "2 failed: disk full");
        assert_eq!(
            lines[1].split_whitespace().count(),
            expected.lines().nth(1).unwrap().split_whitespace().count()
        );
    }

    #[test]
    fn a_checkpoint_is_shown_operator_by_operator() {
        let text = by_operator(&record(7, 34_000));
        assert!(
            text.starts_with("checkpoint 7 (done), began 2024-01-01 00:00:00.123 UTC\n"),
            "{text}"
        );
        assert!(
            text.contains("totals/aggregate") && text.contains("5,000") && text.contains("nothing")
        );
    }

    #[test]
    fn a_chart_is_as_high_as_its_greatest_value() {
        let text = chart(&[0, 1, 24, 48], 48);
        let expected = "  │   █\n  │   █\n  │   █\n  │  ██\n  │  ██\n  │ ▁██\n";
        assert_eq!(text, expected);
        assert_eq!(chart(&[0], 0), "  │\n".repeat(CHART_LINES));
        assert!(plot(&[record(1, 1000), record(2, 2000)]).contains("1 to 2"));
    }

    #[test]
    fn the_doctor_says_when_there_is_nothing_to_say() {
        assert_eq!(
            described("q", 1, &[]),
            "q: nothing to look at in the figures of 1 checkpoint\n"
        );
        let finding = Finding {
            title: "growing state",
            operator: Some("totals/aggregate".to_owned()),
            evidence: "it had 1 entry".to_owned(),
            advice: "a window",
        };
        assert_eq!(
            described("q", 9, &[finding]),
            "q: 1 thing to look at in the figures of 9 checkpoints\n\ngrowing state: totals/aggregate\n  it had 1 entry\n  help: a window\n"
        );
    }
}
