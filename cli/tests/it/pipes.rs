//! `weir query` between other programs: a million lines, a log that grows, a reader that leaves.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::weir::{Ended, Folder, binary, wait};

/// Runs a line of the shell, in which `weir` is the binary.
fn shell(folder: &Folder, script: &str) -> Ended {
    let path = std::env::var("PATH").unwrap_or_default();
    let own = binary();
    let own = own.parent().unwrap().display();
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .current_dir(folder.path())
        .env("PATH", format!("{own}:{path}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    wait(command.spawn().unwrap())
}

/// A log that grows, `tail -f` behind it, and behind that a query.
struct Growing {
    log: std::fs::File,
    tail: Child,
    query: Child,
    output: BufReader<ChildStdout>,
    _folder: Folder,
}

impl Growing {
    fn start(arguments: &[&str], first: &str) -> Self {
        let folder = Folder::new();
        folder.write("log", first);
        let path = folder.path().join("log");
        let log = std::fs::File::options().append(true).open(&path).unwrap();
        let mut tail = Command::new("tail")
            .args(["-n", "+1", "-f"])
            .arg(&path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = tail.stdout.take().unwrap();
        let mut query = folder.command(arguments).stdin(lines).spawn().unwrap();
        let output = BufReader::new(query.stdout.take().unwrap());
        Self {
            log,
            tail,
            query,
            output,
            _folder: folder,
        }
    }

    fn append(&mut self, line: &str) {
        self.log.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The log is not followed any more; how the query ends.
    fn end(mut self) -> Ended {
        self.tail.kill().unwrap();
        self.tail.wait().unwrap();
        wait(self.query)
    }
}

#[test]
fn a_million_lines_are_summed() {
    let ended = shell(
        &Folder::new(),
        "seq 1 1000000 | weir query --format csv 'SELECT count(*) AS n, sum(column1) AS s, max(column1) AS m FROM stdin'",
    );
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "n,s,m\n1000000,500000500000,1000000\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_log_that_grows_gives_each_row_as_it_comes() {
    let sql = "SELECT line FROM stdin WHERE line LIKE '% 500'";
    let mut log = Growing::start(
        &["query", "--format", "csv", sql],
        "GET /0 500\nGET /0 200\n",
    );
    assert_eq!(
        (log.line(), log.line()),
        ("line".to_owned(), "GET /0 500".to_owned())
    );
    for number in 1..5 {
        log.append(&format!("GET /{number} 200"));
        log.append(&format!("GET /{number} 500"));
        // The next one is written only when this one was shown: nothing is held back.
        assert_eq!(log.line(), format!("GET /{number} 500"));
    }
    let ended = log.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

#[test]
fn a_changelog_of_a_log_gives_each_change() {
    let sql = "SELECT status, count(*) AS n FROM stdin GROUP BY status";
    let arguments = [
        "query",
        "--changelog",
        "--json",
        "--columns",
        "status INT",
        "--input",
        "csv",
        sql,
    ];
    let mut log = Growing::start(&arguments, "");
    log.append("200");
    assert_eq!(log.line(), r#"{"op":"+I","status":200,"n":1}"#);
    log.append("200");
    assert_eq!(log.line(), r#"{"op":"-U","status":200,"n":1}"#);
    assert_eq!(log.line(), r#"{"op":"+U","status":200,"n":2}"#);
    log.append("500");
    assert_eq!(log.line(), r#"{"op":"+I","status":500,"n":1}"#);
    assert_eq!(log.end().code, 0);
}

#[test]
fn rows_of_an_updating_query_are_a_table_once_the_log_ends() {
    let sql = "SELECT status, count(*) AS n FROM stdin GROUP BY status";
    let arguments = ["query", "--format", "csv", "--columns", "status INT", sql];
    let mut log = Growing::start(&arguments, "200\n500\n200\n");
    // What is read by now is not known from outside: the end is what counts.
    std::thread::sleep(Duration::from_millis(300));
    log.append("404");
    std::thread::sleep(Duration::from_millis(1500));
    log.tail.kill().unwrap();
    log.tail.wait().unwrap();
    let lines: Vec<String> = (0..4).map(|_| log.line()).collect();
    assert_eq!(lines, ["status,n", "200,2", "404,1", "500,1"]);
    assert_eq!(wait(log.query).code, 0);
}

#[test]
fn head_ends_a_query_of_an_endless_input_cleanly() {
    let started = Instant::now();
    let ended = shell(
        &Folder::new(),
        "(yes 7 | weir query --format csv --columns 'n INT' 'SELECT n + 1 AS m FROM stdin'; echo \"code $?\" >&2) | head -n 3",
    );
    assert_eq!(
        (ended.stdout.as_str(), ended.stderr.as_str()),
        ("m\n8\n8\n", "code 0\n")
    );
    let ended = shell(
        &Folder::new(),
        "(weir generate datagen --columns 'n BIGINT' --rows 100000000 --with fields.n.kind=sequence --format csv; echo \"code $?\" >&2) | head -n 2",
    );
    assert_eq!(
        (ended.stdout.as_str(), ended.stderr.as_str()),
        ("n\n0\n", "code 0\n")
    );
    assert!(started.elapsed() < Duration::from_secs(50));
}
