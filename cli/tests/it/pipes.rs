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

#[test]
fn rows_become_a_parquet_file_on_standard_output_or_under_a_name() {
    let folder = Folder::new();
    folder.write(
        "rides.csv",
        "city,km,day\nOslo,3.5,2024-01-02\nBergen,,2024-01-03\nOslo,1,\n",
    );
    let all = "SELECT city, km, day FROM 'rides.csv' WHERE city <> 'nowhere'";
    let ended = shell(
        &folder,
        &format!(
            "weir query --format parquet \"{all}\" > piped.parquet && weir query \"{all}\" -o named.parquet"
        ),
    );
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, ""),
        "{}",
        ended.stderr
    );
    let direct = folder.weir(&["query", "--json", all]).stdout;
    assert_eq!(direct.lines().count(), 3);
    for file in ["piped", "named"] {
        let read = format!("SELECT city, km, day FROM '{file}.parquet'");
        let again = folder.weir(&["query", "--json", &read]);
        assert_eq!(again.stdout, direct, "{}", again.stderr);
    }
    // A changing result is its final rows, and its changes if these are asked for.
    let counts = "SELECT city, count(*) AS n FROM 'rides.csv' GROUP BY city";
    folder.weir(&["query", counts, "-o", "counts.parquet"]);
    let read = "SELECT city, n FROM 'counts.parquet' ORDER BY city LIMIT 9";
    let again = folder.weir(&["query", "--format", "csv", read]).stdout;
    assert_eq!(again, "city,n\nBergen,1\nOslo,2\n");
    folder.weir(&["query", "--changelog", counts, "-o", "changes.parquet"]);
    let read = "SELECT op, city FROM 'changes.parquet' WHERE op <> '+I'";
    let again = folder.weir(&["query", "--format", "csv", read]);
    assert_eq!((again.code, again.stdout.as_str()), (0, "op,city\n"));
}

#[test]
fn a_file_of_rows_is_there_when_the_query_has_ended_well_and_its_format_is_that_of_its_name() {
    let folder = Folder::new();
    folder.write("n.csv", "n\n1\n0\n");
    for (name, content) in [
        ("out.csv", "n\n1\n0\n"),
        ("out.jsonl", "{\"n\":1}\n{\"n\":0}\n"),
        ("out.txt", " n\n───\n 1\n 0\n(2 rows)\n"),
    ] {
        let ended = folder.weir(&["query", "SELECT n FROM 'n.csv'", "--output", name]);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (0, ""),
            "{}",
            ended.stderr
        );
        let written = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(written, content);
    }
    let ended = folder.weir(&[
        "query",
        "SELECT 1 / n AS x FROM 'n.csv'",
        "-o",
        "broken.parquet",
    ]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let ended = folder.weir(&[
        "query",
        "SELECT INTERVAL '1' DAY AS span",
        "-o",
        "span.parquet",
    ]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(
        ended.stderr.starts_with("error[R0102]: column `span`"),
        "{}",
        ended.stderr
    );
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("broken") || name.contains("span"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let ended = folder.weir(&["query", "SELECT 1 AS a", "-o", "nowhere/x.csv"]);
    assert!(
        ended.code == 1 && ended.stderr.contains("nowhere/x.csv"),
        "{}",
        ended.stderr
    );
}
