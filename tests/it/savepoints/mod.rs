//! Savepoints from outside: made of a running job, moved, restored anywhere, opened by another engine.
//!
//! What a restored job gives is compared in `slt`, in the oracle, and here for Nexmark.

mod content;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use weir_tests::process::{Place, binary, folded_changelog, kill, text_of, wait_for};
use weir_tests::value::{Multiset, Value};

/// `weir …` in a folder.
fn weir(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary())
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

/// It must succeed; its standard output.
fn must(folder: &Path, arguments: &[&str]) -> String {
    let output = weir(folder, arguments);
    assert!(
        output.status.success(),
        "weir {arguments:?}\n{}",
        text_of(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// It must be refused with this code.
fn refused(folder: &Path, arguments: &[&str], code: &str) -> String {
    let text = text_of(&weir(folder, arguments));
    assert!(
        text.contains(&format!("error[{code}]")),
        "weir {arguments:?}\n{text}"
    );
    text
}

fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(
            started.elapsed() < Duration::from_secs(90),
            "it never happened: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

const ROWS: i64 = 60_000;

/// A job that takes its time: so many numbers, counted by their last digit.
const NUMBERS: &str = "\
SET 'checkpoint.interval' = '300ms';
CREATE TABLE numbers (id BIGINT)
WITH ('connector' = 'datagen', 'rows' = '60000', 'rows-per-second' = '6000', 'fields.id.kind' = 'sequence', 'fields.id.start' = '0');
CREATE TABLE digits (digit BIGINT, n BIGINT, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
INSERT INTO digits SELECT id % 10, count(*), sum(id) FROM numbers GROUP BY id % 10;
";

fn expected() -> Multiset {
    Multiset::of((0..10).map(|digit| {
        let total = (0..ROWS).filter(|id| id % 10 == digit).sum();
        vec![Value::Int(digit), Value::Int(ROWS / 10), Value::Int(total)]
    }))
}

fn assert_expected(place: &Place, context: &str) {
    if let Some(text) = folded_changelog(&place.folder.join("out")).difference(&expected()) {
        panic!("{context}: {text}\n{}", place.log());
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_running_job_gives_savepoints_and_nothing_is_lost_or_doubled_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(&folder.path().join("job"), "numbers", NUMBERS);
    let mut child = place.start(&["-p", "2"]);
    let here = &place.folder;
    until("the job listens", || {
        here.join(".weir/numbers/control.json").exists()
    });
    let create = [
        "savepoint",
        "create",
        "numbers",
        "--name",
        "first",
        "--note",
        "before the change",
        "--json",
    ];
    let first = json(&must(here, &create));
    assert_eq!(first["note"], "before the change");
    let text = must(here, &["savepoint", "inspect", "numbers/first"]);
    for wanted in [
        "before the change",
        "\"digits/aggregate\"",
        "sum(id)",
        "BIGINT",
        "source numbers",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    assert_eq!(
        refused(here, &create, "S0021").matches("panicked").count(),
        0
    );
    // The state of the running job, and of the savepoint, which is older.
    let count = "SELECT sum(\"count(*)\") AS n FROM \"digits/aggregate\"";
    let n = |target: &str| {
        let text = must(here, &["state", target, count, "--format", "json"]);
        // Nothing may have come yet.
        json(text.trim())["n"].as_i64()
    };
    let saved = n("numbers/first").unwrap_or(0);
    until("the job goes on", || n("numbers") > Some(saved));
    assert_eq!(n("numbers/first").unwrap_or(0), saved);
    kill(&mut child);
    // A crash goes on from the newest checkpoint; the savepoint is an older one.
    refused(here, &["savepoint", "create", "numbers"], "S0027");
    must(
        here,
        &[
            "savepoint",
            "create",
            "numbers",
            "--from-checkpoint",
            "--name",
            "crashed",
        ],
    );
    assert!(n("numbers/crashed") >= Some(saved));
    assert_eq!(
        n("numbers"),
        n("numbers/crashed"),
        "the newest checkpoint of a job that is not running"
    );
    let listed = json(&must(here, &["savepoint", "list", "numbers", "--json"]));
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    let mut child = place.start(&["-p", "4"]);
    until("the job listens", || {
        here.join(".weir/numbers/control/socket").exists()
    });
    let stopped = loop {
        // The socket of the killed process is replaced a moment after the start.
        let output = weir(
            here,
            &[
                "stop",
                "numbers",
                "--savepoint",
                "--name",
                "stopped",
                "--json",
            ],
        );
        if output.status.success() {
            break String::from_utf8(output.stdout).unwrap();
        }
        assert!(
            child.try_wait().unwrap().is_none(),
            "{}\n{}",
            text_of(&output),
            place.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(json(&stopped)["name"], "stopped");
    let status = wait_for(&mut child, Duration::from_secs(30)).expect("a stop ends the job");
    assert!(status.success(), "{}", place.log());
    must(here, &["savepoint", "verify", "numbers/stopped"]);
    // Back to the first one: what came later is withdrawn from the sink.
    place.must_run(&["-p", "7", "--state-backend", "memory", "--from", "first"]);
    assert_expected(&place, "from the first savepoint");
    must(here, &["savepoint", "delete", "numbers/first"]);
    refused(here, &["savepoint", "inspect", "numbers/first"], "S0020");
}

#[test]
fn sql_asks_a_running_job_for_a_savepoint_and_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let slow = NUMBERS.replace("'rows-per-second' = '6000'", "'rows-per-second' = '1500'");
    let place = Place::new(&folder.path().join("job"), "numbers", &slow);
    let here = &place.folder;
    let file = |text: &str| {
        std::fs::write(here.join("evening.sql"), text).unwrap();
        ["run", "evening.sql"]
    };
    refused(here, &file("STOP JOB numbers;"), "S0027");
    refused(here, &file("STOP JOB numbers; SELECT 1;"), "P0003");
    let mut child = place.start(&["-p", "2"]);
    until("the job listens", || {
        here.join(".weir/numbers/control.json").exists()
    });
    let text = must(here, &file("SAVEPOINT JOB numbers 'noon';"));
    assert!(text.contains("savepoint noon"), "{text}");
    let text = must(here, &file("STOP JOB numbers WITH SAVEPOINT 'evening';"));
    assert!(
        text.contains("savepoint evening") && text.contains("numbers has stopped"),
        "{text}"
    );
    let status = wait_for(&mut child, Duration::from_secs(30)).expect("a stop ends the job");
    assert!(status.success(), "{}", place.log());
    let fast = NUMBERS.replace("'rows-per-second' = '6000'", "'rows-per-second' = '60000'");
    std::fs::write(here.join("numbers.sql"), fast).unwrap();
    place.must_run(&["-p", "3", "--from", "noon"]);
    assert_expected(&place, "from the savepoint of noon");
}

#[test]
fn a_drain_ends_the_job_as_if_its_input_had_ended() {
    let folder = tempfile::tempdir().unwrap();
    let sql = "\
SET 'checkpoint.interval' = '200ms';
CREATE TABLE clicks (id BIGINT, at TIMESTAMP(3), WATERMARK FOR at AS at)
WITH ('connector' = 'datagen', 'rows-per-second' = '500', 'fields.id.kind' = 'sequence', 'fields.id.start' = '0');
CREATE TABLE days (n BIGINT, greatest BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
INSERT INTO days SELECT count(*), max(id) FROM TUMBLE(clicks, at, INTERVAL '36500' DAY) GROUP BY window_start, window_end;
";
    let place = Place::new(&folder.path().join("job"), "clicks", sql);
    let mut child = place.start(&["-p", "2"]);
    let here = &place.folder;
    until("the job listens", || {
        here.join(".weir/clicks/control/socket").exists()
    });
    until("rows came", || {
        let text = must(
            here,
            &[
                "state",
                "clicks",
                "SELECT sum(\"count(*)\") AS n FROM \"days/aggregate\".\"groups\"",
                "--format",
                "json",
            ],
        );
        text.lines()
            .next()
            .is_some_and(|line| json(line)["n"].as_i64().unwrap_or(0) > 100)
    });
    must(here, &["stop", "clicks", "--drain"]);
    let status = wait_for(&mut child, Duration::from_secs(30)).expect("a drain ends the job");
    assert!(status.success(), "{}", place.log());
    let lines = weir_tests::process::published_lines(&here.join("out"), None);
    let (mut rows, mut greatest) = (0, 0);
    for line in &lines {
        let row = json(line);
        rows += row["n"].as_i64().unwrap();
        greatest = greatest.max(row["greatest"].as_i64().unwrap());
    }
    assert!(
        rows > 100,
        "the open window fired: {lines:?}\n{}",
        place.log()
    );
    assert_eq!(rows, greatest + 1, "each row is in a window");
    let text = text_of(&place.run(&[]).output().unwrap());
    assert!(text.contains("finished at"), "{text}");
}

#[test]
fn periodic_savepoints_are_made_and_only_the_newest_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(&folder.path().join("job"), "numbers", NUMBERS);
    let set = [
        "--set",
        "savepoint.interval=400ms",
        "--set",
        "savepoint.retain=2",
    ];
    let mut child = place.start(&[&["-p", "2"][..], &set].concat());
    let here = &place.folder;
    let names = || {
        let listed = json(&must(here, &["savepoint", "list", "numbers", "--json"]));
        let all = listed.as_array().unwrap().iter();
        all.map(|one| one["name"].as_str().unwrap().to_owned())
            .collect::<Vec<String>>()
    };
    until("there are some", || {
        here.join(".weir/numbers/savepoints").exists() && !names().is_empty()
    });
    let early = names();
    until("older ones went", || {
        let now = names();
        now.iter().all(|name| !early.contains(name)) && now.len() >= 2
    });
    assert!(names().len() <= 3, "two, and one that was just made");
    let status = wait_for(&mut child, Duration::from_secs(60)).expect("it ends");
    assert!(status.success(), "{}", place.log());
    assert_expected(&place, "with periodic savepoints");
    let newest = names().pop().unwrap();
    must(here, &["savepoint", "verify", &format!("numbers/{newest}")]);
}

#[test]
fn a_death_or_an_error_in_a_periodic_savepoint_changes_nothing_for_the_job() {
    let fast = NUMBERS.replace("'rows-per-second' = '6000'", "'rows-per-second' = '40000'");
    for point in [
        "state.savepoint.before:2",
        "state.savepoint.table:2",
        "state.savepoint.manifest.before:2",
        "state.savepoint.manifest.after:2",
    ] {
        for action in ["", ":error"] {
            let folder = tempfile::tempdir().unwrap();
            let place = Place::new(&folder.path().join("job"), "numbers", &fast);
            let output = place
                .run(&["-p", "2", "--set", "savepoint.interval=100ms"])
                .env("WEIR_FAILPOINT", format!("{point}{action}"))
                .output()
                .unwrap();
            let text = text_of(&output);
            // An error is the savepoint's alone, and the job does not even restart.
            assert_eq!(
                output.status.success(),
                action == ":error",
                "{point}: {text}"
            );
            assert!(!text.contains("starts again"), "{point}: {text}");
            if action.is_empty() {
                assert!(text.contains("abort"), "{point} was not passed: {text}");
                place.must_run(&[]);
            }
            assert_expected(&place, point);
            // What is listed is whole.
            let listed = json(&must(
                &place.folder,
                &["savepoint", "list", "numbers", "--json"],
            ));
            for one in listed.as_array().unwrap() {
                let name = one["name"].as_str().unwrap();
                must(
                    &place.folder,
                    &["savepoint", "verify", &format!("numbers/{name}")],
                );
            }
        }
    }
}

#[test]
fn two_savepoints_of_one_job_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(
        &folder.path().join("job"),
        "numbers",
        &NUMBERS.replace("'rows-per-second' = '6000', ", ""),
    );
    place.must_run(&["--stop-after", "100", "--savepoint", "a"]);
    place.must_run(&["--stop-after", "105", "--savepoint", "b"]);
    let here = &place.folder;
    let found = json(&must(here, &["state", "diff", "a", "b", "--json"]));
    let table = &found["tables"][0];
    assert_eq!(
        (table["changed"].as_i64(), table["only_after"].as_i64()),
        (Some(5), Some(0)),
        "{found}"
    );
    let rows = must(here, &["state", "diff", "a", "b", "--rows"]);
    assert_eq!(rows.matches("\"op\":-1").count(), 5, "{rows}");
    assert!(must(here, &["state", "diff", "a", "a"]).contains("the same"));
    let rows = must(
        here,
        &[
            "savepoint",
            "inspect",
            "b",
            "--rows",
            "\"digits/aggregate\"",
            "--where",
            "\"count(*)\" = 11",
            "--json",
        ],
    );
    assert_eq!(rows.lines().count(), 5, "{rows}");
    // Mistakes are placed in the text of the query.
    let text = refused(
        here,
        &[
            "state",
            "b",
            "SELECT nothing\nFROM \"digits/aggregate\".\"groups\"",
        ],
        "P1002",
    );
    assert!(text.contains("query:1:8"), "{text}");
    let text = refused(
        here,
        &["state", "b", "SELECT * FROM \"digits/aggregate\".\"other\""],
        "P0008",
    );
    assert!(
        text.contains("\"digits/aggregate\".\"groups\""),
        "the tables are listed: {text}"
    );
}

#[test]
fn a_savepoint_of_another_query_is_refused_with_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let slow = "'rows-per-second' = '6000', ";
    let place = Place::new(
        &folder.path().join("job"),
        "numbers",
        &NUMBERS.replace(slow, ""),
    );
    place.must_run(&["--stop-after", "100", "--savepoint", "saved"]);
    let other = Place::new(
        &folder.path().join("other"),
        "numbers",
        &NUMBERS.replace(slow, "").replace("sum(id)", "sum(id + 1)"),
    );
    let text = text_of(&other.run(&["--from", "../job/saved"]).output().unwrap());
    assert!(text.contains("digits/aggregate"), "{text}");
    // Damage is found before anything is withdrawn or started.
    let table = root_of_first_table(&place.folder.join("saved"));
    let whole = std::fs::read(&table).unwrap();
    std::fs::write(&table, &whole[..whole.len() - 1]).unwrap();
    let again = Place::new(
        &folder.path().join("again"),
        "numbers",
        &NUMBERS.replace(slow, ""),
    );
    let text = text_of(&again.run(&["--from", "../job/saved"]).output().unwrap());
    assert!(text.contains("error[S0024]"), "{text}");
    assert!(!again.folder.join("out").exists());
}

fn root_of_first_table(saved: &Path) -> PathBuf {
    let manifest = json(&std::fs::read_to_string(saved.join("manifest.json")).unwrap());
    saved.join(manifest["tables"][0]["files"][0]["path"].as_str().unwrap())
}
