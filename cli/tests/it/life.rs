//! The life of a job as seen from its command: stop, resume, drained, locked, changed.

use crate::weir::{Folder, signal, until, wait};

/// Reads a folder to which files are added, and copies what it reads.
const CONTINUOUS: &str = "SET 'checkpoint.interval' = '50ms';
CREATE TABLE lines (n INT)
WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'csv', 'csv.header' = 'false', 'mode' = 'continuous');
CREATE TABLE copies (n INT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv', 'csv.header' = 'false');
INSERT INTO copies SELECT n FROM lines;
";

/// The same once, to the end.
fn bounded() -> String {
    CONTINUOUS.replace(", 'mode' = 'continuous'", "")
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_signal_takes_a_last_checkpoint_and_the_next_start_goes_on_from_it() {
    for name in ["INT", "TERM"] {
        let folder = Folder::new();
        folder
            .write("in/a.csv", "1\n2\n3\n")
            .write("q.sql", CONTINUOUS);
        for (file, expected) in [("in/b.csv", 4), ("in/c.csv", 5)] {
            let mut child = folder.command(&["run", "q.sql"]).spawn().unwrap();
            folder.write(file, &format!("{expected}\n"));
            until(&mut child, "the new line is copied", || {
                folder.output("out").lines().count() == expected
            });
            signal(&child, name);
            let ended = wait(child);
            assert_eq!(ended.code, 0, "{}", ended.stderr);
            assert!(
                ended.stderr.contains("q: stopped after"),
                "{}",
                ended.stderr
            );
        }
        assert_eq!(sorted(&folder.output("out")), ["1", "2", "3", "4", "5"]);
    }
}

#[test]
fn a_second_start_of_a_running_job_is_refused() {
    let folder = Folder::new();
    folder.write("in/a.csv", "1\n").write("q.sql", CONTINUOUS);
    let mut child = folder.command(&["run", "q.sql"]).spawn().unwrap();
    until(&mut child, "the first line is copied", || {
        folder.output("out").lines().count() == 1
    });
    let second = folder.weir(&["run", "q.sql"]);
    signal(&child, "TERM");
    let first = wait(child);
    assert_eq!(
        (first.code, second.code),
        (0, 3),
        "{}\n{}",
        first.stderr,
        second.stderr
    );
    assert!(second.stderr.starts_with("error: "), "{}", second.stderr);
}

#[test]
fn a_drained_job_says_so_and_fresh_runs_it_again() {
    let folder = Folder::new();
    folder
        .write("in/a.csv", "1\n2\n")
        .write("q.sql", &bounded());
    assert_eq!(folder.weir(&["run", "q.sql"]).code, 0);
    let again = folder.weir(&["run", "q.sql"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(
        again.stderr.contains("finished at") && again.stderr.contains("--fresh"),
        "{}",
        again.stderr
    );
    assert_eq!(sorted(&folder.output("out")), ["1", "2"]);

    let refused = folder.weir(&["run", "q.sql", "--fresh"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("--replace-output"),
        "{}",
        refused.stderr
    );

    folder.write("in/a.csv", "7\n");
    let fresh = folder.weir(&["run", "q.sql", "--fresh", "--replace-output"]);
    assert_eq!(fresh.code, 0, "{}", fresh.stderr);
    assert_eq!(folder.output("out"), "7\n");
}

#[test]
fn a_changed_query_is_refused_and_the_operator_named() {
    let folder = Folder::new();
    let query = bounded().replace(
        "SELECT n FROM lines",
        "SELECT n FROM (SELECT n, count(*) AS c FROM lines GROUP BY n) AS counted WHERE c > 0",
    );
    let query = query.replace(
        "'path' = 'out', 'format' = 'csv', 'csv.header' = 'false'",
        "'path' = 'out', 'format' = 'changelog-json'",
    );
    folder.write("in/a.csv", "1\n2\n3\n").write("q.sql", &query);
    let first = folder.weir(&["run", "q.sql", "--stop-after", "1"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    folder.write("q.sql", &query.replace("count(*)", "sum(n)"));
    let changed = folder.weir(&["run", "q.sql"]);
    assert_eq!(changed.code, 3, "{}", changed.stderr);
    assert!(
        changed.stderr.contains("partial")
            && changed
                .stderr
                .contains("is new; the aggregate `count(*)` is gone"),
        "{}",
        changed.stderr
    );
    assert!(
        changed.stderr.contains("counted/aggregate"),
        "{}",
        changed.stderr
    );
}

#[test]
fn stop_after_stops_at_exactly_that_record_and_a_savepoint_starts_from_there() {
    let folder = Folder::new();
    folder
        .write("in/a.csv", "1\n2\n3\n4\n5\n")
        .write("q.sql", &bounded());
    let stopped = folder.weir(&[
        "run",
        "q.sql",
        "--stop-after",
        "lines=2",
        "--savepoint",
        "saved",
    ]);
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    assert_eq!(sorted(&folder.output("out")), ["1", "2"]);
    let rest = folder.weir(&["run", "q.sql", "--from", "saved"]);
    assert_eq!(rest.code, 0, "{}", rest.stderr);
    assert_eq!(sorted(&folder.output("out")), ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let folder = Folder::new();
    folder.write("in/a.csv", "1\n").write("q.sql", CONTINUOUS);
    // The last checkpoint stands still, so that the second signal comes before its end.
    let mut child = folder
        .command(&["run", "q.sql", "-p", "1"])
        .env("WEIR_FAILPOINT", "sink.file.prepare.before:2:hold")
        .spawn()
        .unwrap();
    until(&mut child, "the first line is copied", || {
        folder.output("out").lines().count() == 1
    });
    signal(&child, "INT");
    signal(&child, "TERM");
    let ended = wait(child);
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    // And what was there is whole: the next start goes on.
    let mut child = folder.command(&["run", "q.sql"]).spawn().unwrap();
    folder.write("in/b.csv", "2\n");
    until(&mut child, "the next line is copied", || {
        folder.output("out").lines().count() == 2
    });
    signal(&child, "TERM");
    assert_eq!(wait(child).code, 0);
}
