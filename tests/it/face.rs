//! The REPL as somebody meets it: `weir` in a terminal of tmux, keys in, and what the screen shows.
//!
//! ```text
//!   test ── send-keys ──▶ tmux ──▶ weir (rustyline, live table)
//!        ◀─ capture-pane ─┘
//! ```

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use weir_tests::process::binary;
use weir_tests::suite::Suite;

/// Far more than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// A terminal with a shell that has become `weir`.
struct Terminal {
    socket: String,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

fn tmux(arguments: &[&str]) -> Output {
    let output = Command::new("tmux").args(arguments).output();
    output.unwrap_or_else(|error| {
        panic!(
            "the tests of the REPL need a terminal: {error}; install tmux (apt-get install tmux)"
        )
    })
}

impl Terminal {
    /// Starts `weir` in `folder`, in a terminal of so many columns and lines.
    fn start(folder: &Path, columns: u32, lines: u32, environment: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let socket = format!("weir-test-{}-{number}", std::process::id());
        let command = format!(
            "cd '{}' && exec env LC_ALL=C.UTF-8 LANG=C.UTF-8 WEIR_HISTORY='{}/history' {environment} '{}'",
            folder.display(),
            folder.display(),
            binary().display()
        );
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let started = tmux(&[
            "-L",
            &socket,
            "-f",
            "/dev/null",
            "-u",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &lines,
            &command,
        ]);
        assert!(
            started.status.success(),
            "tmux: {}",
            String::from_utf8_lossy(&started.stderr)
        );
        let terminal = Self { socket };
        terminal.wait_for("weir>");
        terminal
    }

    fn screen(&self) -> String {
        let output = tmux(&["-L", &self.socket, "capture-pane", "-p"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// With its attributes, as escapes.
    fn coloured(&self) -> String {
        let output = tmux(&["-L", &self.socket, "capture-pane", "-p", "-e"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn keys(&self, keys: &[&str]) {
        let mut arguments = vec!["-L", &self.socket, "send-keys"];
        arguments.extend(keys);
        tmux(&arguments);
    }

    /// Types a text and Enter.
    fn line(&self, text: &str) {
        // A `;` at the end would be tmux's own.
        let text = match text.strip_suffix(';') {
            Some(start) => format!("{start}\\;"),
            None => text.to_owned(),
        };
        tmux(&["-L", &self.socket, "send-keys", "-l", &text]);
        self.keys(&["Enter"]);
    }

    /// Types a statement into an empty screen.
    fn run(&self, text: &str) {
        self.keys(&["C-l"]);
        self.line(text);
    }

    fn wait_for(&self, part: &str) -> String {
        self.wait_until(part, |screen| screen.contains(part))
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return screen;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the screen never showed: {what}\n{screen}"
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(tmux(&["-L", &self.socket, "kill-server"]));
    }
}

/// Lines of a screen from the one that holds `part` on, without blanks at their ends.
fn from(screen: &str, part: &str) -> String {
    let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
    let first = lines
        .iter()
        .position(|line| line.contains(part))
        .unwrap_or(0);
    lines[first..].join("\n").trim_end().to_owned()
}

/// What SHOW JOBS says a job has read.
fn rows_in(screen: &str, job: &str) -> Option<u64> {
    let line = screen
        .lines()
        .find(|line| line.split_whitespace().next() == Some(job) && line.contains(".weir/"))?;
    line.split_whitespace()
        .nth(2)?
        .replace(',', "")
        .parse()
        .ok()
}

#[test]
fn the_first_five_minutes_are_as_the_page_says() {
    let mut suite = Suite::begin("face", 60, 1);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("rides.csv"),
        "city,km\nOslo,3\nBern,4\nOslo,5\n",
    )
    .unwrap();
    let terminal = Terminal::start(folder.path(), 100, 30, "TERM=xterm-256color");

    // A file, without a declaration.
    terminal.run("SELECT city, count(*) AS rides, sum(km) AS km FROM 'rides.csv' GROUP BY city;");
    let screen = terminal.wait_for("(2 rows)");
    assert_eq!(
        from(&screen, " city │"),
        " city │ rides │ km\n──────┼───────┼────\n Bern │     1 │  4\n Oslo │     2 │  8\n(2 rows)\nweir>"
    );
    suite.count();

    // A stream, live.
    terminal.run("CREATE TABLE s (n BIGINT, k INT) WITH ('connector' = 'datagen', 'rows-per-second' = '500', 'fields.n.kind' = 'sequence', 'fields.k.min' = '1', 'fields.k.max' = '1');");
    terminal.wait_for("CREATE TABLE s: done");
    terminal.run("SELECT k, count(*) AS rows_seen FROM s GROUP BY k;");
    let first = terminal.wait_for("q ends");
    let second = terminal.wait_until("another picture", |screen| {
        screen.contains("q ends") && from(screen, " k │") != from(&first, " k │")
    });
    assert!(second.contains("1 row   "), "{second}");
    assert!(
        terminal.coloured().contains("\u{1b}[7m"),
        "the changed cell is marked\n{}",
        terminal.coloured()
    );
    terminal.keys(&["q"]);
    let screen = terminal.wait_for("(1 row)");
    assert!(
        screen.contains("weir>") && !screen.contains("q ends"),
        "{screen}"
    );
    suite.count();

    // A view, a job, a savepoint, a stop.
    terminal.run("CREATE VIEW seen AS SELECT k, count(*) AS c FROM s GROUP BY k;");
    terminal.wait_for("CREATE VIEW seen: done");
    terminal.run("CREATE TABLE o (k INT, c BIGINT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'changelog-json');");
    terminal.wait_for("CREATE TABLE o: done");
    terminal.run("INSERT INTO o SELECT * FROM seen;");
    terminal.wait_for("job o runs in the background");
    terminal.run("SAVEPOINT JOB o 'first';");
    terminal.wait_for("savepoint written: ");
    assert!(folder.path().join("first").is_dir());
    terminal.run("STOP JOB o;");
    terminal.wait_for("job o has stopped");
    terminal.run("SHOW JOBS;");
    let screen = terminal.wait_for("stopped");
    assert!(screen.contains(".weir/o"), "{screen}");
    let read_before = rows_in(&screen, "o").expect("the stopped job has read rows");
    suite.count();

    // And on.
    terminal.run("INSERT INTO o SELECT * FROM seen;");
    terminal.wait_for("job o runs in the background");
    // It goes on from where it was: its first figures are not those of a start at the beginning.
    terminal.run("\\jobs");
    let screen = terminal.wait_for("running");
    let read = rows_in(&screen, "o").expect("the job that runs has read rows");
    assert!(read >= read_before, "{read} after {read_before}\n{screen}");
    // And the view is still known, over the same stream.
    terminal.run("SELECT k, c > 0 AS some FROM seen;");
    terminal.wait_for("q ends");
    let screen = terminal.wait_for("true");
    assert!(from(&screen, " k │").starts_with(" k │ some"), "{screen}");
    terminal.keys(&["q"]);
    terminal.wait_for("(1 row)");
    terminal.line("\\q");
    let started = Instant::now();
    while tmux(&["-L", &terminal.socket, "list-sessions"])
        .status
        .success()
    {
        assert!(
            started.elapsed() < PATIENCE,
            "\\q does not leave\n{}",
            terminal.screen()
        );
        std::thread::sleep(Duration::from_millis(30));
    }
    suite.count();
}

#[test]
fn tab_completes_and_the_history_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a_long_name.csv"), "Stadt,km\n東京,3\n").unwrap();
    let terminal = Terminal::start(folder.path(), 80, 24, "TERM=xterm-256color");
    tmux(&[
        "-L",
        &terminal.socket,
        "send-keys",
        "-l",
        "SELECT * FROM 'a_lo",
    ]);
    terminal.keys(&["Tab"]);
    terminal.wait_for("a_long_name.csv");
    terminal.line("';");
    // A wide character takes two columns of the terminal.
    let screen = terminal.wait_for("(1 row)");
    assert!(
        screen.contains(" stadt │ km\n───────┼────\n 東京  │  3")
            || screen.contains(" Stadt │ km\n───────┼────\n 東京  │  3"),
        "{screen}"
    );
    terminal.run("CREATE TABLE flights FROM 'a_long_name.csv';");
    terminal.wait_for("CREATE TABLE flights");
    tmux(&[
        "-L",
        &terminal.socket,
        "send-keys",
        "-l",
        "SELECT km FROM fli",
    ]);
    terminal.keys(&["Tab"]);
    terminal.wait_for("SELECT km FROM flights");
    // A statement goes on over lines until its end.
    terminal.keys(&["Enter"]);
    terminal.line("WHERE km > 2;");
    terminal.wait_for(" km\n────\n  3");
    drop(terminal);
    let terminal = Terminal::start(folder.path(), 80, 24, "TERM=xterm-256color");
    terminal.keys(&["Up"]);
    terminal.wait_for("WHERE km > 2;");
}

#[test]
fn a_mistake_shows_its_place_and_ctrl_c_ends_the_query_and_not_the_repl() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = Terminal::start(folder.path(), 80, 24, "TERM=xterm-256color NO_COLOR=1");
    terminal.run("SELECT 1 + x;");
    terminal.wait_for("^ there is no FROM");
    terminal.run("CREATE TABLE s (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100', 'fields.n.kind' = 'sequence');");
    terminal.wait_for("done");
    terminal.run("SELECT n FROM s;");
    terminal.wait_until("rows", |screen| {
        screen
            .lines()
            .filter(|line| line.trim().parse::<u64>().is_ok())
            .count()
            > 3
    });
    terminal.keys(&["C-c"]);
    terminal.wait_for("weir>");
    terminal.run("SELECT count(*) AS n FROM s;");
    terminal.wait_for("q ends");
    // The window gets smaller and larger while the table is shown.
    tmux(&[
        "-L",
        &terminal.socket,
        "resize-window",
        "-x",
        "30",
        "-y",
        "10",
    ]);
    terminal.wait_until("a narrow picture", |screen| {
        screen.contains("1 row") && screen.lines().all(|line| line.chars().count() <= 30)
    });
    tmux(&[
        "-L",
        &terminal.socket,
        "resize-window",
        "-x",
        "100",
        "-y",
        "20",
    ]);
    terminal.wait_for("space holds");
    terminal.keys(&["C-c"]);
    terminal.wait_for("weir>");
    terminal.run("SELECT 'still ' || 'here' AS t;");
    terminal.wait_for("still here");
}

#[test]
fn very_long_results_scroll_and_a_dumb_terminal_gets_changes() {
    let folder = tempfile::tempdir().unwrap();
    let create = "CREATE TABLE s (k BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000', 'fields.k.kind' = 'sequence');";
    let terminal = Terminal::start(folder.path(), 80, 12, "TERM=xterm-256color");
    terminal.run(create);
    terminal.wait_for("done");
    terminal.run("SELECT k, count(*) AS n, repeat('wide ', 60) AS text FROM s GROUP BY k;");
    terminal.wait_for("showing 1–9");
    terminal.keys(&["NPage"]);
    terminal.wait_for("showing 9–17");
    terminal.keys(&["Right"]);
    terminal.wait_until("the second column first", |screen| {
        screen
            .lines()
            .next()
            .is_some_and(|line| line.trim_start().starts_with('n'))
    });
    terminal.keys(&["q"]);
    terminal.wait_for("the first 40 are shown");
    drop(terminal);
    let terminal = Terminal::start(folder.path(), 80, 12, "TERM=dumb");
    terminal.line(create);
    terminal.wait_for("done");
    terminal.line("SELECT count(*) AS n FROM s;");
    terminal.wait_for("+U");
    terminal.keys(&["C-c"]);
    terminal.wait_until("the prompt", |screen| screen.trim_end().ends_with("weir>"));
}

#[test]
fn wide_rows_are_lists_and_wide_characters_keep_their_columns() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("wide.csv"),
        "name,text\nОсло,short\n東京,\"a text that is longer than this terminal is wide, which no table could show\"\n",
    )
    .unwrap();
    let terminal = Terminal::start(folder.path(), 60, 20, "TERM=xterm-256color");
    terminal.run("SELECT name, text FROM 'wide.csv';");
    let screen = terminal.wait_for("(2 rows)");
    assert!(screen.contains("─ row 1 ─"), "{screen}");
    assert!(screen.contains(" name │ 東京"), "{screen}");
    assert!(screen.contains(" text │ short"), "{screen}");
    // Without the long one it is a table, and what is twice as wide takes its two columns.
    terminal.run("SELECT name, length(text) AS n FROM 'wide.csv';");
    let screen = terminal.wait_for("(2 rows)");
    assert!(
        screen.contains(" name │  n\n──────┼────\n") && screen.contains(" 東京 │ 7"),
        "{screen}"
    );
    // A row of forty columns is a list of forty lines, of which the last are on the screen.
    let columns: Vec<String> = (0..40).map(|n| format!("{n} AS column_{n}")).collect();
    terminal.run(&format!("SELECT {};", columns.join(", ")));
    let screen = terminal.wait_for("(1 row)");
    assert!(screen.contains(" column_39 │ 39"), "{screen}");
    assert!(
        screen.lines().all(|line| line.chars().count() <= 60),
        "{screen}"
    );
}

#[test]
fn a_dumb_terminal_gets_no_escapes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("n.csv"), "n\n1\n2\n").unwrap();
    let terminal = Terminal::start(folder.path(), 70, 20, "TERM=dumb");
    // All that is written from here on, as bytes.
    let log = folder.path().join("log");
    tmux(&[
        "-L",
        &terminal.socket,
        "pipe-pane",
        &format!("cat > '{}'", log.display()),
    ]);
    terminal.line("SELECT n FROM 'n.csv' WHERE n > 1;");
    terminal.wait_for("(1 row)");
    terminal.line("SELECT m FROM 'n.csv';");
    terminal.wait_for("no column `m`");
    let written = std::fs::read(&log).unwrap();
    assert!(!written.is_empty(), "what is written is seen");
    assert!(
        !written.contains(&0x1b),
        "{}",
        String::from_utf8_lossy(&written).escape_debug()
    );
}
