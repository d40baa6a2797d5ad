//! `cargo xtask record`: the terminal session of the README, typed into a real terminal and drawn as an animated SVG.
//!
//! ```text
//!   SCRIPT ─ keys ─▶ tmux ─▶ weir        each screen ─ capture-pane -e ─▶ frame ─▶ docs/session.svg
//! ```
//!
//! Nothing is made up: what the picture shows is what `weir` printed on this machine when it was recorded.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const COLUMNS: usize = 92;
const LINES: usize = 22;
/// Of a character, in units of the picture.
const CELL: (f64, f64) = (8.4, 18.0);
const MARGIN: f64 = 14.0;
/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is done at the terminal, in order.
enum Act {
    /// Typed, with Enter.
    Line(&'static str),
    /// One key.
    Key(&'static str),
    /// Until the screen shows this.
    Until(&'static str),
    /// The screen as it is, for so many milliseconds.
    Show(u64),
    /// So many screens of something that moves, each this long.
    Watch(usize, u64),
}

const SCRIPT: &[Act] = &[
    Act::Line("head -3 rides.csv"),
    Act::Show(1200),
    Act::Line("weir"),
    Act::Until("weir>"),
    Act::Line("SELECT city, count(*) AS rides, sum(km) AS km FROM 'rides.csv' GROUP BY city;"),
    Act::Until("(3 rows)"),
    Act::Show(2500),
    Act::Line("CREATE TABLE bids (item STRING, price INT) WITH ('connector' = 'datagen',"),
    Act::Line(
        "  'rows-per-second' = '20000', 'fields.item.kind' = 'random', 'fields.item.length' = '1');",
    ),
    Act::Until("CREATE TABLE bids: done"),
    Act::Show(1500),
    Act::Line(
        "SELECT item, count(*) AS bids, max(price) AS highest FROM bids WHERE item < 'i' GROUP BY item;",
    ),
    Act::Until("q ends"),
    Act::Watch(12, 250),
    Act::Key("q"),
    Act::Until("weir>"),
    Act::Key("C-l"),
    Act::Line("CREATE TABLE totals (item STRING, bids BIGINT)"),
    Act::Line("WITH ('connector' = 'filesystem', 'path' = 'totals', 'format' = 'changelog-json');"),
    Act::Until("CREATE TABLE totals: done"),
    Act::Line("INSERT INTO totals SELECT item, count(*) FROM bids GROUP BY item;"),
    Act::Until("runs in the background"),
    Act::Show(2000),
    Act::Line("SAVEPOINT JOB totals 'monday';"),
    Act::Until("savepoint written"),
    Act::Show(1500),
    Act::Line("SHOW JOBS;"),
    Act::Until("running"),
    Act::Show(3500),
];

/// Records with the binary `weir` and writes `docs/session.svg` below `root`.
pub(crate) fn record(weir: &Path, root: &Path) -> Result<ExitCode> {
    let folder = std::env::temp_dir().join(format!("weir-record-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(
        folder.join("rides.csv"),
        "city,km,at\nOslo,3,2025-01-01 08:00:00\nBern,4,2025-01-01 08:01:00\nOslo,5,2025-01-01 08:03:00\nLima,9,2025-01-01 08:04:00\n",
    )?;
    let frames = film(weir, &folder);
    // It is in the system's folder for such things.
    drop(std::fs::remove_dir_all(&folder));
    let target = root.join("docs/session.svg");
    std::fs::write(&target, drawn(&frames?)).context("docs/session.svg")?;
    println!("{}", target.display());
    Ok(ExitCode::SUCCESS)
}

/// A screen, and how long it is shown.
struct Frame {
    screen: String,
    milliseconds: u64,
}

struct Terminal(String);

impl Terminal {
    fn tmux(&self, arguments: &[&str]) -> Result<Output> {
        Command::new("tmux")
            .args(["-L", &self.0])
            .args(arguments)
            .output()
            .context("tmux is needed: apt-get install tmux")
    }

    fn screen(&self) -> Result<String> {
        let output = self.tmux(&["capture-pane", "-p", "-e"])?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn wait_for(&self, text: &str) -> Result<()> {
        let started = Instant::now();
        loop {
            let output = self.tmux(&["capture-pane", "-p"])?;
            let screen = String::from_utf8_lossy(&output.stdout).into_owned();
            if screen.contains(text) {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                bail!("the screen never showed {text}:\n{screen}");
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.tmux(&["kill-server"]));
    }
}

fn film(weir: &Path, folder: &Path) -> Result<Vec<Frame>> {
    let terminal = Terminal(format!("weir-record-{}", std::process::id()));
    let path = weir.parent().map(PathBuf::from).unwrap_or_default();
    let shell = format!(
        "cd '{}' && exec env LC_ALL=C.UTF-8 PS1='$ ' ENV= WEIR_HISTORY= TERM=xterm-256color PATH='{}':$PATH sh",
        folder.display(),
        path.display()
    );
    let (columns, lines) = (COLUMNS.to_string(), LINES.to_string());
    terminal.tmux(&[
        "-f",
        "/dev/null",
        "-u",
        "new-session",
        "-d",
        "-x",
        &columns,
        "-y",
        &lines,
        &shell,
    ])?;
    terminal.wait_for("$")?;
    let mut frames = Vec::new();
    for act in SCRIPT {
        match act {
            Act::Line(text) => {
                // A `;` at the end would be tmux's own.
                let typed = match text.strip_suffix(';') {
                    Some(start) => format!("{start}\\;"),
                    None => (*text).to_owned(),
                };
                terminal.tmux(&["send-keys", "-l", &typed])?;
                std::thread::sleep(Duration::from_millis(250));
                frames.push(Frame {
                    screen: terminal.screen()?,
                    milliseconds: 700,
                });
                terminal.tmux(&["send-keys", "Enter"])?;
                std::thread::sleep(Duration::from_millis(250));
            }
            Act::Key(key) => {
                terminal.tmux(&["send-keys", key])?;
                std::thread::sleep(Duration::from_millis(250));
            }
            Act::Until(text) => terminal.wait_for(text)?,
            Act::Show(milliseconds) => frames.push(Frame {
                screen: terminal.screen()?,
                milliseconds: *milliseconds,
            }),
            Act::Watch(count, milliseconds) => {
                for _ in 0..*count {
                    frames.push(Frame {
                        screen: terminal.screen()?,
                        milliseconds: *milliseconds,
                    });
                    std::thread::sleep(Duration::from_millis(*milliseconds));
                }
            }
        }
    }
    Ok(frames)
}

/// The frames one after the other, for ever.
fn drawn(frames: &[Frame]) -> String {
    let (width, height) = (
        COLUMNS as f64 * CELL.0 + 2.0 * MARGIN,
        LINES as f64 * CELL.1 + 2.0 * MARGIN,
    );
    let total: u64 = frames.iter().map(|frame| frame.milliseconds).sum();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         role=\"img\" aria-label=\"A session with weir: a query over a CSV file, a live table over a stream, a job with a savepoint\">\n\
         <style>\ntext {{ font: 14px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #d8dee9; white-space: pre; }}\n\
         .f {{ opacity: 0; animation: {total}ms steps(1) infinite; }}\n\
         .b {{ font-weight: bold; }} .d {{ fill: #7b8494; }}\n"
    );
    let mut before = 0;
    for (number, frame) in frames.iter().enumerate() {
        let share = |time: u64| time as f64 * 100.0 / total as f64;
        let (from, to) = (share(before), share(before + frame.milliseconds));
        before += frame.milliseconds;
        svg.push_str(&format!(
            "@keyframes k{number} {{ 0% {{ opacity: 0; }} {from:.3}% {{ opacity: 1; }} {to:.3}% {{ opacity: 0; }} }}\n.k{number} {{ animation-name: k{number}; }}\n"
        ));
    }
    svg.push_str("</style>\n");
    svg.push_str(&format!(
        "<rect width=\"{width:.0}\" height=\"{height:.0}\" rx=\"8\" fill=\"#1d222b\"/>\n"
    ));
    for (number, frame) in frames.iter().enumerate() {
        svg.push_str(&format!("<g class=\"f k{number}\">\n"));
        for (line, text) in frame.screen.lines().take(LINES).enumerate() {
            svg.push_str(&drawn_line(line, text));
        }
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// How characters look.
#[derive(Clone, Default, PartialEq)]
struct Look {
    bold: bool,
    dim: bool,
    reverse: bool,
    colour: Option<String>,
}

impl Look {
    /// Takes the numbers of an escape.
    fn apply(&mut self, numbers: &str) {
        let numbers: Vec<u32> = numbers
            .split(';')
            .map(|number| number.parse().unwrap_or(0))
            .collect();
        let mut rest = numbers.as_slice();
        while let [first, after @ ..] = rest {
            rest = after;
            match first {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                7 => self.reverse = true,
                22 => (self.bold, self.dim) = (false, false),
                27 => self.reverse = false,
                30..=37 => self.colour = Some(colour(first - 30)),
                90..=97 => self.colour = Some(colour(first - 90)),
                38 if after.first() == Some(&5) => {
                    self.colour = after.get(1).map(|&number| colour(number));
                    rest = after.get(2..).unwrap_or_default();
                }
                39 => self.colour = None,
                _ => {}
            }
        }
    }
}

fn colour(number: u32) -> String {
    const COLOURS: [&str; 8] = [
        "#4c566a", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d8dee9",
    ];
    COLOURS[(number % 8) as usize].to_owned()
}

/// A line of the screen: stretches of one look each, at the column where they stand.
fn drawn_line(line: usize, text: &str) -> String {
    let mut out = String::new();
    let (mut look, mut column) = (Look::default(), 0);
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(escape) = rest.strip_prefix("\u{1b}[") {
            let end = escape
                .find(|c: char| c.is_ascii_alphabetic())
                .unwrap_or(escape.len());
            if escape[end..].starts_with('m') {
                look.apply(&escape[..end]);
            }
            rest = escape.get(end + 1..).unwrap_or_default();
            continue;
        }
        // What is no escape of ours, such as a switch of character sets, is left out.
        if let Some(other) = rest.strip_prefix('\u{1b}') {
            rest = other.get(2..).unwrap_or_default();
            continue;
        }
        let end = rest.find('\u{1b}').unwrap_or(rest.len());
        out.push_str(&stretch(line, column, &rest[..end], &look));
        column += rest[..end].chars().count();
        rest = &rest[end..];
    }
    out
}

fn stretch(line: usize, column: usize, text: &str, look: &Look) -> String {
    if text.trim().is_empty() && !look.reverse {
        return String::new();
    }
    let x = MARGIN + column as f64 * CELL.0;
    let y = MARGIN + (line as f64 + 0.75) * CELL.1;
    let length = text.chars().count() as f64 * CELL.0;
    let mut out = String::new();
    let mut style = String::new();
    if look.reverse {
        out.push_str(&format!(
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{}\" fill=\"#d8dee9\"/>",
            y - CELL.1 * 0.75,
            CELL.1
        ));
        style.push_str(" style=\"fill: #1d222b\"");
    } else if let Some(colour) = &look.colour {
        style.push_str(&format!(" style=\"fill: {colour}\""));
    }
    let class = match (look.bold, look.dim && !look.reverse) {
        (true, _) => " class=\"b\"",
        (false, true) => " class=\"d\"",
        _ => "",
    };
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    out.push_str(&format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\"{class}{style}>{escaped}</text>\n"
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_its_look_changes() {
        let drawn = drawn_line(0, "a \u{1b}[1;31mb<\u{1b}[0m\u{1b}[7m c\u{1b}[0m");
        assert_eq!(drawn.matches("<text").count(), 3);
        assert!(
            drawn.contains("class=\"b\" style=\"fill: #e06c75\">b&lt;</text>"),
            "{drawn}"
        );
        assert_eq!(drawn.matches("<rect").count(), 1);
    }

    #[test]
    fn every_frame_has_its_time() {
        let frame = |milliseconds| Frame {
            screen: "x".to_owned(),
            milliseconds,
        };
        let svg = drawn(&[frame(100), frame(300)]);
        assert!(
            svg.contains("0.000% { opacity: 1; } 25.000% { opacity: 0; }"),
            "{svg}"
        );
        assert!(
            svg.contains("25.000% { opacity: 1; } 100.000% { opacity: 0; }"),
            "{svg}"
        );
    }
}
