//! Late rows do not hang on how the input is cut: the same out-of-order input in a hundred different cuts, one split; and what
//! is left out is in its table once, whatever happens to the job.

use std::path::Path;

use rand::Rng;
use weir_engine::Outcome;
use weir_tests::data::rng;
use weir_tests::job::{self, Setup};
use weir_tests::process::published_lines;
use weir_tests::suite::Suite;
use weir_tests::value::Multiset;

const ROWS: i64 = 400;

const TABLES: &str = "
    CREATE TABLE events (k BIGINT, v BIGINT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '3' SECOND)
        WITH ('connector' = 'filesystem', 'path' = 'events', 'format' = 'json');
    CREATE TABLE late_rows (operator STRING, event_time TIMESTAMP(3), watermark TIMESTAMP(3), row STRING)
        WITH ('connector' = 'filesystem', 'path' = 'late_rows', 'format' = 'json');
    SET 'late.table' = 'late_rows';
";

/// Queries that leave out rows, one of each kind.
const QUERIES: [&str; 6] = [
    "SELECT window_end, k, count(*) AS n, sum(v) AS s FROM TUMBLE(events, at, INTERVAL '5' SECOND) GROUP BY window_end, k",
    "SELECT window_end, count(*) AS n FROM HOP(events, at, INTERVAL '2' SECOND, INTERVAL '10' SECOND) GROUP BY window_end",
    "SELECT window_start, window_end, k, v FROM SESSION(events PARTITION BY k, at, INTERVAL '4' SECOND)",
    "SELECT a.v, b.v AS w FROM events AS a JOIN events AS b ON a.k = b.k AND b.at BETWEEN a.at AND a.at + INTERVAL '2' SECOND",
    "SELECT window_start, v FROM TUMBLE(events, at, INTERVAL '3' SECOND)",
    "SELECT /*+ STATE_TTL('events' = '6 s') */ k, count(*) AS n, max(v) AS m FROM events GROUP BY k",
];

/// Events whose times wander back and forth.
fn write_events(folder: &Path, seed: u64) {
    let mut rng = rng(seed);
    let mut time = 0_i64;
    let mut lines = String::new();
    for v in 0..ROWS {
        time += rng.random_range(-600..1000);
        let back = if rng.random_bool(0.1) {
            rng.random_range(0..20_000)
        } else {
            0
        };
        let at = 1_700_000_000_000 + (time - back).max(0);
        let (seconds, millis) = (at / 1000 % 60, at % 1000);
        let minutes = at / 60_000 % 60;
        let k = rng.random_range(0..5);
        lines.push_str(&format!(
            "{{\"k\": {k}, \"v\": {v}, \"at\": \"2023-11-14 22:{minutes:02}:{seconds:02}.{millis:03}\"}}\n"
        ));
    }
    std::fs::create_dir_all(folder.join("events")).unwrap();
    std::fs::write(folder.join("events/1.jsonl"), lines).unwrap();
}

/// What a query gave, and what is in the table of late rows.
fn outcome(folder: &Path, query: &str, setup: &Setup) -> (Multiset, Vec<String>) {
    let state = folder.join("state");
    let setup = &Setup {
        state: Some(state.clone()),
        ..setup.clone()
    };
    let text = format!("{TABLES}{query};\n");
    let ran = job::run_named("late", &text, folder, setup);
    let ran = ran.unwrap_or_else(|error| panic!("{query}\n{setup:?}\n{error}"));
    let target = folder.join("late_rows");
    let mut late = published_lines(&target, None);
    late.sort();
    let _ = std::fs::remove_dir_all(&target);
    std::fs::remove_dir_all(state).unwrap();
    let counted: u64 = ran.summary.late.iter().map(|(_, rows)| rows).sum();
    assert_eq!(counted, late.len() as u64, "{query}: {setup:?}");
    (ran.outputs[0].folded.clone(), late)
}

#[test]
fn late_rows_and_results_are_the_same_in_a_hundred_cuts() {
    let mut suite = Suite::begin("late", 60, 1);
    let folder = tempfile::tempdir().unwrap();
    write_events(folder.path(), 7);
    for query in QUERIES {
        let (rows, late) = outcome(folder.path(), query, &Setup::default());
        assert!(!late.is_empty(), "{query} leaves nothing out");
        for cuts in 0..100 {
            suite.count();
            let setup = Setup {
                cuts: Some(cuts),
                parallelism: 1 + (cuts % 3) as u32,
                ..Setup::default()
            };
            let again = outcome(folder.path(), query, &setup);
            assert_eq!(again.1, late, "{query}: late rows of {setup:?}");
            assert_eq!(again.0, rows, "{query}: {setup:?}");
        }
    }
}

#[test]
fn a_job_that_was_stopped_on_the_way_has_left_out_each_late_row_once() {
    let folder = tempfile::tempdir().unwrap();
    write_events(folder.path(), 8);
    for (i, query) in QUERIES.into_iter().enumerate() {
        let (rows, late) = outcome(folder.path(), query, &Setup::default());
        let text = format!("{TABLES}{query};\n");
        let mut before = Vec::new();
        for stop_after in [Some(50), Some(51), Some(200), Some(399), None] {
            let setup = Setup {
                state: Some(folder.path().join(format!("state-{i}"))),
                stop_after,
                cuts: Some(i as u64),
                parallelism: 2,
                ..Setup::default()
            };
            let ran = job::run_from("late", &text, folder.path(), &setup, &before).unwrap();
            before = ran.outputs;
        }
        assert_eq!(before[0].folded, rows, "{query}");
        let lines = || {
            let mut lines = published_lines(&folder.path().join("late_rows"), None);
            lines.sort();
            lines
        };
        assert_eq!(lines(), late, "{query}");
        // Once more: it has reached its end, though all that it writes beside what it prints is what it leaves out.
        let setup = Setup {
            state: Some(folder.path().join(format!("state-{i}"))),
            ..Setup::default()
        };
        let ran = job::run_named("late", &text, folder.path(), &setup).unwrap();
        assert_eq!(ran.summary.outcome, Outcome::AlreadyDrained, "{query}");
        assert_eq!(lines(), late, "{query}, once more");
        std::fs::remove_dir_all(folder.path().join("late_rows")).unwrap();
    }
}
