//! `weir query`, scripts for the REPL, and the small commands beside them.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::weir::{Ended, Folder, wait};

/// Runs with a text on standard input.
fn with_input(folder: &Folder, arguments: &[&str], input: &str) -> Ended {
    let mut child = folder
        .command(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let text = input.to_owned();
    let writer = std::thread::Builder::new()
        .name("input".to_owned())
        // Whoever reads may leave early.
        .spawn(move || drop(pipe.write_all(text.as_bytes())))
        .unwrap();
    let ended = wait(child);
    writer.join().unwrap();
    ended
}

fn rides() -> Folder {
    let folder = Folder::new();
    folder.write("rides.csv", "City,km\nOslo,3\nBern,4\nOslo,5\n");
    folder
}

#[test]
fn standard_input_is_a_table() {
    let folder = Folder::new();
    let numbers: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    let ended = with_input(
        &folder,
        &[
            "query",
            "--format",
            "csv",
            "SELECT sum(column1) AS s FROM stdin",
        ],
        &numbers,
    );
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "s\n5000050000\n"),
        "{}",
        ended.stderr
    );
    let ended = with_input(
        &folder,
        &[
            "query",
            "--format",
            "json",
            "--changelog",
            "-p",
            "1",
            "SELECT a, count(*) AS n FROM stdin GROUP BY a",
        ],
        "{\"a\":\"x\"}\n{\"a\":\"x\"}\n",
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("\"op\":\"+I\""), "{}", ended.stdout);
    let ended = with_input(
        &folder,
        &[
            "query",
            "--format",
            "csv",
            "--columns",
            "a STRING, b INT",
            "SELECT b FROM stdin WHERE a = 'x'",
        ],
        "x,1\ny,2\n",
    );
    assert_eq!(ended.stdout, "b\n1\n", "{}", ended.stderr);
}

#[test]
fn rows_come_as_they_are_written_and_a_closed_pipe_ends_the_query() {
    let folder = Folder::new();
    let mut child = folder
        .command(&[
            "query",
            "--format",
            "csv",
            "SELECT line FROM stdin WHERE line LIKE '%500%'",
        ])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    for number in 0..3 {
        // The next line is written only when the one before was answered.
        writeln!(input, "GET /{number} 500").unwrap();
        writeln!(input, "GET /{number} 200").unwrap();
        line.clear();
        output.read_line(&mut line).unwrap();
        if number == 0 {
            assert_eq!(line, "line\n");
            line.clear();
            output.read_line(&mut line).unwrap();
        }
        assert_eq!(line, format!("GET /{number} 500\n"));
    }
    drop(output);
    for _ in 0..1000 {
        if writeln!(input, "GET / 500").is_err() || child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(input);
    let ended = wait(child);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

#[test]
fn files_are_tables_in_queries_and_in_query_files() {
    let folder = rides();
    let ended = folder.weir(&[
        "query",
        "--format",
        "csv",
        "SELECT rides.city, km FROM 'rides.csv' WHERE km > 3",
    ]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "City,km\nBern,4\nOslo,5\n"),
        "{}",
        ended.stderr
    );
    folder.write(
        "q.sql",
        "CREATE TABLE r\n  FROM 'rides.csv';\nSELECT city FROM r WHERE km > ${LEAST:-4};\n",
    );
    let ended = folder.weir(&["run", "--format", "csv", "q.sql"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "City\nOslo\n"),
        "{}",
        ended.stderr
    );
    let ended = folder.weir(&["run", "--format", "csv", "q.sql", "--set", "LEAST=3"]);
    assert_eq!(ended.stdout, "City\nBern\nOslo\n", "{}", ended.stderr);
    folder.write(
        "wrong.sql",
        "SELECT city,\n  kilometres FROM 'rides.csv';\nSELECT ${NOTHING};\n",
    );
    let ended = folder.weir(&["check", "wrong.sql"]);
    assert!(
        ended.code == 2 && ended.stderr.contains("R0014") && ended.stderr.contains("wrong.sql:3:8"),
        "{}",
        ended.stderr
    );
    folder.write(
        "wrong.sql",
        "SELECT city,\n  kilometres FROM 'rides.csv';\n",
    );
    let ended = folder.weir(&["check", "wrong.sql"]);
    assert!(
        ended.code == 2 && ended.stderr.contains("wrong.sql:2:3"),
        "{}",
        ended.stderr
    );
    let ended = folder.weir(&["query", "SELECT * FROM 'none.csv'"]);
    assert!(
        ended.code == 2 && ended.stderr.contains("R0010"),
        "{}",
        ended.stderr
    );
    let ended = folder.weir(&[
        "query",
        "SELECT * FROM read_lines('rides.csv', '(?<word>[A-Z]\\w+),(.*)') LIMIT 9",
        "--format",
        "csv",
    ]);
    assert_eq!(
        ended.stdout, "word,column2\nBern,4\nCity,km\nOslo,3\nOslo,5\n",
        "{}",
        ended.stderr
    );
}

#[test]
fn a_script_stops_at_its_first_mistake_and_says_where() {
    let folder = rides();
    let script = "\\format csv\nCREATE VIEW v AS SELECT city FROM 'rides.csv';\nSELECT city FROM v\nWHERE city = 'Bern';\n\nSELECT cty FROM v;\nSELECT 1;\n";
    let ended = with_input(&folder, &[], script);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (2, "City\nBern\n"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("input:6:8"), "{}", ended.stderr);
    let ended = with_input(&folder, &["repl"], "\\nonsense\n");
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("\\help"), "{}", ended.stderr);
}

#[test]
fn a_script_starts_jobs_and_waits_for_them() {
    let folder = rides();
    let script = "CREATE TABLE o (city STRING, km BIGINT) WITH ('connector' = 'filesystem', 'path' = 'o.json', 'format' = 'json', 'mode' = 'snapshot');
        INSERT INTO o SELECT city, sum(km) FROM 'rides.csv' GROUP BY city;\n";
    let ended = with_input(&folder, &["repl"], script);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(folder.output("o.json"), "");
    let written = std::fs::read_to_string(folder.path().join("o.json")).unwrap();
    assert_eq!(
        written,
        "{\"city\":\"Bern\",\"km\":4}\n{\"city\":\"Oslo\",\"km\":8}\n"
    );
    let jobs = folder.weir(&["jobs", "--json"]);
    assert!(
        jobs.stdout.contains("\"job\":\"o\"") && jobs.stdout.contains("\"running\":false"),
        "{}",
        jobs.stdout
    );
}

#[test]
fn files_are_formatted_and_stay_what_they_are() {
    let folder = Folder::new();
    folder.write(
        "q.sql",
        "select 1 as one , 2 as two -- both\nfrom (values (1)) as t(x) ;\n",
    );
    let checked = folder.weir(&["fmt", "--check", "q.sql"]);
    assert_eq!(
        (checked.code, checked.stdout.as_str()),
        (1, "q.sql would be changed\n"),
        "{}",
        checked.stderr
    );
    assert_eq!(folder.weir(&["fmt", "q.sql"]).code, 0);
    let text = std::fs::read_to_string(folder.path().join("q.sql")).unwrap();
    assert_eq!(
        text,
        "SELECT 1 AS one, 2 AS two -- both\nFROM (values (1)) AS t(x);\n"
    );
    assert_eq!(folder.weir(&["fmt", "--check", "q.sql"]).code, 0);
    let ended = with_input(&folder, &["fmt", "-"], "select 1;");
    assert_eq!(ended.stdout, "SELECT 1;\n");
}

#[test]
fn the_queries_of_the_repository_are_formatted() {
    let mut folders = vec![crate::weir::root().join("queries")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "sql") {
                files.push(path.to_string_lossy().into_owned());
            }
        }
    }
    let mut arguments = vec!["fmt", "--check"];
    arguments.extend(files.iter().map(String::as_str));
    let ended = Folder::new().weir(&arguments);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, ""),
        "{}",
        ended.stderr
    );
}

#[test]
fn generated_files_are_the_same_every_time() {
    let folder = Folder::new();
    let arguments = [
        "generate", "nexmark", "bid", "--events", "5000", "--format", "csv",
    ];
    let (first, second) = (folder.weir(&arguments), folder.weir(&arguments));
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(
        first.stdout.lines().count(),
        4601,
        "46 of 50 events are bids, and there is a header"
    );
    let ended = folder.weir(&[
        "generate",
        "datagen",
        "--rows",
        "3",
        "--columns",
        "id BIGINT",
        "--with",
        "fields.id.kind=sequence",
        "--out",
        "n.json",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let text = std::fs::read_to_string(folder.path().join("n.json")).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn shells_and_manuals_know_every_command() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let ended = folder.weir(&["completions", shell]);
        assert!(
            ended.code == 0 && ended.stdout.contains("savepoint"),
            "{shell}: {}",
            ended.stderr
        );
    }
    let page = folder.weir(&["man", "query"]);
    assert!(
        page.stdout.contains(".TH") && page.stdout.contains("changelog"),
        "{}",
        page.stdout
    );
    assert_eq!(folder.weir(&["man", "nothing"]).code, 2);
}

#[test]
fn explain_analyze_runs_the_query_and_writes_nothing() {
    let folder = rides();
    let script = "CREATE TABLE o (city STRING, km BIGINT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'changelog-json');
EXPLAIN ANALYZE INSERT INTO o SELECT city, sum(km) FROM 'rides.csv' GROUP BY city;
\\explain analyze SELECT city FROM 'rides.csv'\n";
    let ended = with_input(&folder, &["repl"], script);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for expected in [
        "* ran 3 rows in ",
        "* kept 2 entries, ",
        "* read 3 rows in ",
    ] {
        assert!(
            ended.stdout.contains(expected),
            "{expected}: {}",
            ended.stdout
        );
    }
    assert!(!folder.path().join("o").exists() && !folder.path().join(".weir").exists());
    // Places are those of the script.
    let ended = with_input(
        &folder,
        &["repl"],
        "\nEXPLAIN ANALYZE\n  SELECT cty FROM 'rides.csv';\n",
    );
    assert!(
        ended.code == 2 && ended.stderr.contains("input:3:10"),
        "{}",
        ended.stderr
    );
    let endless =
        "CREATE TABLE s (n INT) WITH ('connector' = 'datagen'); EXPLAIN ANALYZE SELECT n FROM s;";
    let ended = with_input(&folder, &["repl"], endless);
    assert!(
        ended.code == 2 && ended.stderr.contains("has no end"),
        "{}",
        ended.stderr
    );
}
