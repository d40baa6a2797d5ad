//! A continuous query as a table that changes where it stands.
//!
//! ```text
//!   epochs ─▶ CurrentResult ─▶ Screen ─▶ the terminal's other page, ten times a second at most
//!   keys: arrows and pages scroll, space holds the picture, q and Ctrl-C end the query
//! ```
//!
//! # Invariants
//! 1. What is shown is the result over a prefix of every input, whole epochs at a time.
//! 2. However it ends, the terminal is as it was before, and the last result stays on it.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crossterm::style::{Attribute, SetAttribute};
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, queue};
use weir_engine::{Error, Next, Progress, QueryStream, Result};
use weir_types::Watermark;

use super::keys::{Key, Keys};
use super::result::CurrentResult;
use super::screen::{Screen, Stretch, cut};
use crate::text::{counted, grouped};

/// Between two pictures.
const PICTURE_INTERVAL: Duration = Duration::from_millis(100);
/// Between two looks at the keys.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a changed cell is marked.
const MARK_TIME: Duration = Duration::from_millis(1500);
/// So many rows stay on the terminal when the view is over.
const LAST_ROWS_MAX: usize = 40;

/// Where the picture is.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    top: usize,
    left: usize,
    held: bool,
    over: bool,
}

/// Shows a query until it ends or somebody ends it.
pub(super) fn show(mut rows: QueryStream) -> Result<()> {
    let failed = |error: io::Error| Error::Job(format!("cannot draw on the terminal: {error}"));
    let kernel = |error: arrow::error::ArrowError| {
        Error::Job(format!("the result cannot be shown: {error}"))
    };
    let mut result = CurrentResult::new(rows.columns(), rows.unique_key()).map_err(kernel)?;
    let mut page = Page::open().map_err(failed)?;
    let mut view = View::default();
    let mut drawn: Option<Instant> = None;
    let mut dirty = true;
    let ended = loop {
        for key in page.keys.pressed().map_err(failed)? {
            view.key(key, page.size(), result.len());
            dirty = true;
        }
        if view.over {
            break Ok(());
        }
        match rows.next_within(LOOK_INTERVAL) {
            Ok(Next::Epoch(epoch)) => {
                result.apply(&epoch, Instant::now()).map_err(kernel)?;
                dirty |= !view.held;
            }
            Ok(Next::Nothing) => {}
            Ok(Next::End(_)) => break Ok(()),
            Err(error) => break Err(error),
        }
        let now = Instant::now();
        let since = drawn.map(|at| now - at);
        let resized = page.resized();
        // Marks fade, and the counters at the foot go on.
        let due = dirty
            || resized
            || since.is_none_or(|since| since >= 5 * PICTURE_INTERVAL && !view.held);
        if due && since.is_none_or(|since| since >= PICTURE_INTERVAL) {
            page.draw(&result, &view, &rows.progress())
                .map_err(failed)?;
            (drawn, dirty) = (Some(now), false);
        }
    };
    drop(page);
    drop(rows);
    last_result(&result).map_err(failed)?;
    ended
}

impl View {
    fn key(&mut self, key: Key, (_, lines): (usize, usize), rows: usize) {
        let page = lines.saturating_sub(4).max(1);
        let last = rows.saturating_sub(page);
        match key {
            Key::Leave | Key::Letter('q') => self.over = true,
            Key::Letter(' ') => self.held = !self.held,
            Key::Up | Key::Letter('k') => self.top = self.top.saturating_sub(1),
            Key::Down | Key::Letter('j') => self.top = (self.top + 1).min(last),
            Key::PageUp => self.top = self.top.saturating_sub(page),
            Key::PageDown => self.top = (self.top + page).min(last),
            Key::Home | Key::Letter('g') => self.top = 0,
            Key::End | Key::Letter('G') => self.top = last,
            Key::Left => self.left = self.left.saturating_sub(1),
            Key::Right => self.left += 1,
            Key::Letter(_) => {}
        }
    }
}

/// The terminal's other page.
struct Page {
    keys: Keys,
    size: (usize, usize),
}

impl Page {
    fn open() -> io::Result<Self> {
        let keys = Keys::take()?;
        queue!(
            io::stdout(),
            EnterAlternateScreen,
            cursor::Hide,
            Clear(ClearType::All)
        )?;
        io::stdout().flush()?;
        let mut page = Self { keys, size: (0, 0) };
        page.resized();
        Ok(page)
    }

    /// Columns and lines.
    fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Looks at the size; whether it has changed.
    fn resized(&mut self) -> bool {
        let (columns, lines) = crossterm::terminal::size().unwrap_or((80, 24));
        // Some terminals do not know it, and say zero.
        let size = match (usize::from(columns), usize::from(lines)) {
            (0, _) | (_, 0) => (80, 24),
            size => size,
        };
        std::mem::replace(&mut self.size, size) != size
    }

    fn draw(&self, result: &CurrentResult, view: &View, progress: &Progress) -> io::Result<()> {
        let (width, lines) = self.size;
        let room = lines.saturating_sub(3);
        let fresh = Instant::now().checked_sub(MARK_TIME);
        let cells = result
            .cells(view.top, room, fresh)
            .map_err(io::Error::other)?;
        let screen = Screen {
            header: result.header(),
            right: result.right(),
            rows: cells,
            left: view.left,
        };
        let mut out = Vec::new();
        queue!(out, cursor::MoveTo(0, 0))?;
        for line in screen
            .lines(width)
            .into_iter()
            .take(lines.saturating_sub(1))
        {
            write_line(&line, &mut out)?;
            queue!(
                out,
                Clear(ClearType::UntilNewLine),
                cursor::MoveToNextLine(1)
            )?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        let foot = foot(result.len(), view, room, progress);
        queue!(
            out,
            cursor::MoveTo(0, u16::try_from(lines.saturating_sub(1)).unwrap_or(0)),
            SetAttribute(Attribute::Dim)
        )?;
        write!(out, "{}", cut(&foot, width))?;
        queue!(
            out,
            SetAttribute(Attribute::Reset),
            Clear(ClearType::UntilNewLine)
        )?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&out)?;
        stdout.flush()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = queue!(io::stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = io::stdout().flush();
    }
}

fn write_line(line: &[Stretch], out: &mut Vec<u8>) -> io::Result<()> {
    for stretch in line {
        if stretch.marked {
            queue!(out, SetAttribute(Attribute::Reverse))?;
            write!(out, "{}", stretch.text)?;
            queue!(out, SetAttribute(Attribute::Reset))?;
        } else {
            write!(out, "{}", stretch.text)?;
        }
    }
    Ok(())
}

/// `12 rows (1–10)   1,234 in   watermark 2013-01-05 05:00:00   q ends, arrows scroll`.
fn foot(rows: usize, view: &View, room: usize, progress: &Progress) -> String {
    let mut parts = vec![counted(rows as u64, "row", "rows")];
    if rows > room {
        let last = (view.top + room).min(rows);
        parts.push(format!("showing {}–{}", view.top + 1, last));
    }
    parts.push(format!("{} in", grouped(progress.rows_in)));
    match progress.watermark {
        None | Some(Watermark::MIN | Watermark::MAX) => {}
        Some(watermark) => parts.push(format!("watermark {watermark}")),
    }
    if progress.late_rows > 0 {
        parts.push(format!("{} late", grouped(progress.late_rows)));
    }
    parts.push(
        if view.held {
            "held: space goes on"
        } else {
            "q ends, arrows scroll, space holds"
        }
        .to_owned(),
    );
    parts.join("   ")
}

/// What stays when the view is over.
fn last_result(result: &CurrentResult) -> io::Result<()> {
    let screen = Screen {
        header: result.header(),
        right: result.right(),
        rows: result
            .cells(0, LAST_ROWS_MAX, None)
            .map_err(io::Error::other)?,
        left: 0,
    };
    let (columns, _) = crossterm::terminal::size().unwrap_or((80, 24));
    let width = if columns == 0 {
        80
    } else {
        usize::from(columns)
    };
    let mut out = io::stdout().lock();
    for line in screen.lines(width) {
        let text: String = line.iter().map(|stretch| stretch.text.as_str()).collect();
        writeln!(out, "{}", text.trim_end())?;
    }
    let rows = result.len();
    if rows > LAST_ROWS_MAX {
        writeln!(
            out,
            "({}, the first {LAST_ROWS_MAX} are shown)",
            counted(rows as u64, "row", "rows")
        )
    } else {
        writeln!(out, "({})", counted(rows as u64, "row", "rows"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_move_the_view_within_the_rows() {
        let mut view = View::default();
        let size = (80, 14);
        for (key, top) in [
            (Key::Down, 1),
            (Key::PageDown, 11),
            (Key::End, 90),
            (Key::PageDown, 90),
            (Key::Up, 89),
            (Key::Home, 0),
            (Key::Up, 0),
        ] {
            view.key(key, size, 100);
            assert_eq!(view.top, top, "{key:?}");
        }
        view.key(Key::Letter(' '), size, 100);
        assert!(view.held && !view.over);
        view.key(Key::Leave, size, 100);
        assert!(view.over);
    }

    #[test]
    fn the_foot_says_what_is_shown() {
        let progress = Progress {
            rows_in: 1234,
            ..Progress::default()
        };
        let view = View {
            top: 10,
            ..View::default()
        };
        let text = foot(100, &view, 20, &progress);
        assert!(
            text.starts_with("100 rows   showing 11–30   1,234 in   q ends"),
            "{text}"
        );
    }
}
