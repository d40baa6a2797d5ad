//! `--json` wherever a program may read: each output is one JSON value, or one for each line.

use serde_json::Value;

use crate::weir::{Ended, Folder};

const JOB: &str = "CREATE TABLE n (v BIGINT) WITH ('connector' = 'datagen', 'rows' = '1000', 'fields.v.kind' = 'sequence');
CREATE TABLE o (k BIGINT, c BIGINT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'changelog-json');
INSERT INTO o SELECT v % 3, count(*) FROM n GROUP BY v % 3;
";

/// One value.
fn value(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error}:\n{}\n{}", ended.stdout, ended.stderr))
}

/// A value for each line, and at least one.
fn lines(text: &str) -> Vec<Value> {
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(!lines.is_empty(), "there is something");
    lines
}

/// A folder with a job that has run to its end with a savepoint; and how that run ended.
fn after_a_job() -> (Folder, Ended) {
    let folder = Folder::new();
    folder.write("job.sql", JOB);
    let ended = folder.weir(&["run", "job.sql", "--json", "--savepoint", "sp"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    (folder, ended)
}

#[test]
fn the_end_of_a_run_is_the_last_line_of_standard_error() {
    let (folder, ended) = after_a_job();
    let summary: Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(summary["job"], "job");
    assert_eq!(summary["outcome"], "drained");
    assert_eq!(summary["rows_in"], 1000);
    assert!(
        summary["written"]["o"].as_u64().unwrap() >= 3,
        "each group was shown"
    );
    let aggregate = summary["operators"].as_array().unwrap().iter();
    let mut aggregate = aggregate.filter(|of| of["id"] == "o/aggregate");
    assert_eq!(aggregate.next().unwrap()["rows_in"], 1000);
    let again = folder.weir(&["run", "job.sql", "--json"]);
    let summary: Value = serde_json::from_str(again.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(summary["outcome"], "already drained");

    // Rows go to standard output, as lines.
    folder.write("select.sql", "SELECT v FROM (VALUES (1), (2)) AS t (v);\n");
    let ended = folder.weir(&["run", "select.sql", "--json"]);
    let rows = lines(&ended.stdout);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0], serde_json::json!({"v": 1}));
    lines(&ended.stderr);
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let folder = Folder::new();
    folder
        .write("good.sql", JOB)
        .write("bad.sql", "SELECT\n  1 + x;\n");
    let ended = folder.weir(&["check", "good.sql", "--json"]);
    let good = value(&ended);
    assert_eq!((ended.code, &good["ok"]), (0, &Value::Bool(true)));
    assert_eq!(good["state"][0]["operator"], "o/aggregate");
    let ended = folder.weir(&["check", "bad.sql", "--json"]);
    let bad = value(&ended);
    assert_eq!(
        (ended.code, &bad["ok"], ended.stderr.as_str()),
        (2, &Value::Bool(false), "")
    );
    let mistake = &bad["diagnostics"][0];
    assert_eq!(mistake["severity"], "error");
    assert_eq!(mistake["labels"][0]["span"]["start"]["line"], 2);
    assert!(mistake["code"].as_str().unwrap().starts_with('P'));
}

#[test]
fn plans_and_what_they_did_are_objects() {
    let folder = Folder::new();
    folder.write("job.sql", JOB);
    assert!(value(&folder.weir(&["explain", "job.sql", "--json"]))["operators"].is_array());
    let ended = folder.weir(&["explain", "job.sql", "--analyze", "--json", "-p", "2"]);
    let ran = value(&ended);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(
        (&ran["rows_in"], &ran["parallelism"]),
        (&1000.into(), &2.into())
    );
    let of = |id: &str| -> Value {
        let mut operators = ran["operators"].as_array().unwrap().iter();
        operators.find(|of| of["id"] == id).unwrap().clone()
    };
    assert_eq!(of("n/source")["rows_out"], 1000);
    let aggregate = of("o/aggregate");
    assert_eq!(aggregate["rows_in"], 1000);
    assert_eq!(aggregate["state_entries_peak"], 3);
    assert_eq!(aggregate["inputs"].as_array().unwrap().len(), 1);
    assert_eq!(of("o/sink")["rows_in"], aggregate["rows_out"]);
    assert!(
        !folder.path().join("o").exists() && !folder.path().join(".weir").exists(),
        "nothing is written"
    );
    let ended = folder.weir(&["explain", "job.sql", "--analyze", "-p", "2"]);
    assert!(
        ended.stdout.contains("* ran 1,000 rows in ")
            && ended.stdout.contains("* kept 3 entries, "),
        "{}",
        ended.stdout
    );
    let ended = folder.weir(&["explain", "job.sql", "--analyze", "--write"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!folder.output("o").is_empty(), "--write writes");
}

#[test]
fn a_statement_is_explained_as_well_as_a_file() {
    let folder = Folder::new();
    folder.write("rides.csv", "city,km\nOslo,3\n");
    let sql = "SELECT city, sum(km) AS km FROM 'rides.csv' GROUP BY city";
    let ended = folder.weir(&["explain", sql, "--analyze"]);
    assert!(
        ended.stdout.contains("read 1 row in 1 batch"),
        "{}{}",
        ended.stdout,
        ended.stderr
    );
    let ended = folder.weir(&["run", sql]);
    assert!(
        ended.code == 2 && ended.stderr.contains("weir query"),
        "{}",
        ended.stderr
    );
    let ended = folder.weir(&["query", "SELECT city FROM rides.csv"]);
    assert!(
        ended
            .stderr
            .contains("a file is a table in quotes: 'rides.csv'"),
        "{}",
        ended.stderr
    );
    let ended = folder.weir(&["stop", "nobody"]);
    assert!(
        ended.code == 3 && ended.stderr.contains("weir jobs"),
        "{}",
        ended.stderr
    );
}

#[test]
fn what_has_no_end_is_analyzed_for_a_while() {
    let folder = Folder::new();
    folder.write("endless.sql", &JOB.replace("'rows'", "'rows-per-second'"));
    let ended = folder.weir(&["explain", "endless.sql", "--analyze"]);
    assert!(
        ended.code == 2 && ended.stderr.contains("--for 10s"),
        "{}",
        ended.stderr
    );
    let ended = folder.weir(&[
        "explain",
        "endless.sql",
        "--analyze",
        "--json",
        "--for",
        "300ms",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(value(&ended)["elapsed_micros"].as_u64().unwrap() >= 200_000);
    let stopped = [
        "explain",
        "endless.sql",
        "--analyze",
        "--json",
        "--stop-after",
        "n=100",
    ];
    assert_eq!(value(&folder.weir(&stopped))["rows_in"], 100);
    let ended = folder.weir(&["explain", "endless.sql", "--analyze", "--format", "dot"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
}

#[test]
fn jobs_savepoints_checkpoints_and_edits_are_read_by_programs() {
    let (folder, _) = after_a_job();
    let listed = value(&folder.weir(&["jobs", "--json"]));
    assert_eq!(listed[0]["job"], "job");
    let of = |arguments: &[&str]| {
        let ended = folder.weir(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.stderr);
        ended
    };
    let made = [
        "savepoint",
        "create",
        "job",
        "--from-checkpoint",
        "--name",
        "second",
        "--json",
    ];
    assert_eq!(value(&of(&made))["name"], "second");
    assert_eq!(
        value(&of(&["savepoint", "list", "job", "--json"]))[0]["name"],
        "second"
    );
    assert!(value(&of(&["savepoint", "inspect", "sp", "--json"])).is_object());
    let rows = "\"o/aggregate\".\"groups\"";
    let rows = of(&["savepoint", "inspect", "sp", "--rows", rows, "--json"]);
    assert_eq!(lines(&rows.stdout).len(), 3);
    assert!(value(&of(&["savepoint", "verify", "sp", "--json"])).is_object());
    lines(&of(&["checkpoints", "job", "--json"]).stdout);
    for found in of(&["doctor", "job", "--json"]).stdout.lines() {
        assert!(serde_json::from_str::<Value>(found).unwrap().is_object());
    }
    assert!(value(&of(&["diff", "job.sql", "--from", "job", "--json"])).is_object());
    assert!(value(&of(&["state", "diff", "sp", "job/second", "--json"])).is_object());
    let state = [
        "state",
        "job",
        "SELECT count(*) AS n FROM \"o/aggregate\".\"groups\"",
        "--json",
    ];
    assert_eq!(lines(&of(&state).stdout)[0]["n"], 3);
    assert!(value(&of(&["savepoint", "delete", "job/second", "--json"])).is_object());
    // A query and a generator print rows: a line for each.
    let query = of(&["query", "SELECT 1 AS one", "--json"]);
    assert_eq!(lines(&query.stdout)[0]["one"], 1);
    let generated = of(&["generate", "nexmark", "bid", "--events", "100", "--json"]);
    assert_eq!(lines(&generated.stdout).len(), 92);
    folder.write("ugly.sql", "select 1;");
    let formatted = folder.weir(&["fmt", "--check", "--json", "ugly.sql"]);
    assert_eq!(value(&formatted)["changed"][0], "ugly.sql");
}

#[test]
fn an_upgrade_and_a_trial_end_like_a_run() {
    let (folder, _) = after_a_job();
    folder.write(
        "new.sql",
        &JOB.replace("'1000'", "'2000'").replace(
            "SELECT v % 3, count(*) FROM n",
            "SELECT v % 3, count(*) FROM n WHERE v >= 0",
        ),
    );
    let tried = ["try", "new.sql", "--from", "job", "--json", "--rows", "2"];
    let ended = folder.weir(&tried);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let rows = lines(&ended.stdout);
    assert_eq!((rows.len(), &rows[0]["table"]), (2, &Value::from("o")));
    assert!(
        rows[0]["op"].is_string() && rows[0]["k"].is_i64(),
        "{rows:?}"
    );
    let summary: Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(summary["job"], "job");
    let ended = folder.weir(&[
        "upgrade", "job", "new.sql", "--yes", "--json", "--accept", "all",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let summary: Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    assert!(summary["resumed_from"].is_u64(), "{summary}");
    // What was accepted is said wherever somebody looks at the job.
    let jobs = value(&folder.weir(&["jobs", "--json"]));
    assert_eq!(jobs[0]["inexact"][0]["id"], "o/aggregate", "{jobs}");
    assert_eq!(jobs[0]["inexact"][0]["what"], "not exact");
    let jobs = folder.weir(&["jobs"]).stdout;
    assert!(jobs.contains("  o/aggregate: not exact\n"), "{jobs}");
}

#[test]
fn the_report_of_an_edit_has_every_operator_column_side_sink_and_source() {
    let (folder, _) = after_a_job();
    let text = |calls: &str, join: &str| {
        format!(
            "CREATE TABLE a (k BIGINT, x BIGINT) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
CREATE TABLE b (k BIGINT, y BIGINT) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'json');
CREATE TABLE o (k BIGINT, n BIGINT, y BIGINT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'changelog-json');
CREATE VIEW sums AS SELECT k, {calls} FROM a GROUP BY k;
INSERT INTO o SELECT s.k, s.n, b.y FROM sums AS s {join} b ON s.k = b.k;
"
        )
    };
    folder.write("old.sql", &text("count(*) AS n, max(x) AS m", "JOIN"));
    folder.write("new.sql", &text("count(*) AS n, min(x) AS m", "LEFT JOIN"));
    let ended = folder.weir(&["diff", "new.sql", "--from", "old.sql", "--json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let report = value(&ended);
    let (sums, join) = (&report["operators"][0], &report["operators"][1]);
    assert_eq!(
        (&sums["id"], &sums["role"]),
        (&"sums/aggregate".into(), &"aggregate".into())
    );
    assert_eq!(sums["verdict"], "partial");
    assert_eq!(
        sums["exact"]["columns"],
        serde_json::json!(["count(*)", "k"])
    );
    assert_eq!(sums["span"]["start"]["line"], 4);
    let of = |column: &str| {
        let columns = sums["columns"].as_array().unwrap().iter();
        let mut found = columns.filter(|of| of["column"] == column);
        found.next().map(|of| of["verdict"].clone())
    };
    assert_eq!(of("k"), Some("unchanged".into()), "{sums}");
    assert_eq!(of("count(*)"), Some("unchanged".into()), "{sums}");
    assert_eq!(of("min(x)"), Some("new".into()), "{sums}");
    assert_eq!(of("max(x)"), Some("dropped".into()), "{sums}");
    assert!(
        sums["advice"]
            .as_str()
            .unwrap()
            .contains("--accept 'sums/aggregate'")
    );
    assert_eq!(join["verdict"], "rebuilt");
    assert_eq!(report["sinks"][0]["verdict"], "difference");
    assert_eq!(report["sinks"][0]["old_rows"], false);
    assert_eq!(report["sources"][0]["verdict"], "kept");
}
