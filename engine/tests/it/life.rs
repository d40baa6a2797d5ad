//! A job's life: checkpoints, resumes, stops, savepoints, refusals.

use std::time::Duration;

use weir_engine::{Accept, Outcome};
use weir_state::BackendKind;

use crate::harness::{Bench, NUMBERS, numbers};

/// Windowed and updating results into files.
fn job() -> String {
    format!(
        "{NUMBERS}
         CREATE TABLE windows (at TIMESTAMP(3), k INT, c BIGINT, s BIGINT)
         WITH ('connector' = 'filesystem', 'path' = 'windows', 'format' = 'json');
         CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'copies', 'format' = 'json');
         INSERT INTO windows SELECT window_start, k, count(*), sum(n)
         FROM TUMBLE(numbers, at, INTERVAL '10' SECOND) GROUP BY window_start, window_end, k;
         INSERT INTO copies SELECT n FROM numbers;"
    )
}

#[test]
fn a_job_that_was_stopped_at_random_places_and_resumed_at_any_parallelism_gives_the_same() {
    let undisturbed = Bench::new();
    undisturbed.write("numbers.csv", &numbers(3000));
    let expected = undisturbed.run(&job(), |options| options.parallelism = 1);
    assert_eq!(expected.summary().outcome, Outcome::Drained);
    assert_eq!(undisturbed.output("copies").len(), 3000);
    for backend in [BackendKind::Rocksdb, BackendKind::Memory] {
        let bench = Bench::new();
        bench.write("numbers.csv", &numbers(3000));
        let mut last = None;
        for (rows, parallelism) in [(1, 1), (700, 4), (701, 2), (1999, 5), (u64::MAX, 3)] {
            let run = bench.run(&job(), |options| {
                options.parallelism = parallelism;
                options.backend = backend;
                options.test_cuts = Some(rows);
                options.checkpoint_interval = Duration::from_millis(5);
                options.stop_after = vec![(None, rows)];
            });
            let summary = run.summary();
            assert_eq!(summary.resumed_from, last, "{backend:?} {rows}");
            last = summary.progress.last_checkpoint;
            assert!(last.is_some());
            assert_eq!(
                summary.progress.rows_in,
                rows.min(3000),
                "stops at exactly that record"
            );
            assert_eq!(bench.output("copies").len() as u64, rows.min(3000));
        }
        assert_eq!(bench.output("copies"), undisturbed.output("copies"));
        assert_eq!(
            bench.output("windows"),
            undisturbed.output("windows"),
            "{backend:?}"
        );
        let late = bench.run(&job(), |_| ());
        assert_eq!(late.summary().outcome, Outcome::AlreadyDrained);
    }
}

#[test]
fn late_rows_are_counted_through_a_resume() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(2000));
    let whole = bench.run(&job(), |_| ());
    let other = Bench::new();
    other.write("numbers.csv", &numbers(2000));
    other
        .run(&job(), |options| {
            options.stop_after = vec![(Some("numbers".into()), 1234)]
        })
        .summary();
    let resumed = other.run(&job(), |options| options.parallelism = 4);
    assert_eq!(resumed.summary().late, whole.summary().late);
    assert!(resumed.summary().progress.late_rows > 0);
    assert_eq!(resumed.summary().written, whole.summary().written);
}

#[test]
fn a_savepoint_starts_another_job_folder_from_its_place() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(2000));
    let saved = bench.path().join("saved");
    let stopped = bench.run(&job(), |options| {
        options.stop_after = vec![(None, 500)];
        options.savepoint = Some(saved.clone());
    });
    assert_eq!(stopped.summary().outcome, Outcome::Stopped);
    // Goes on a while, and then back to the savepoint: what came later is withdrawn.
    bench
        .run(&job(), |options| options.stop_after = vec![(None, 1500)])
        .summary();
    assert_eq!(bench.output("copies").len(), 1500);
    let back = bench.run(&job(), |options| {
        options.restore_from = Some(saved.clone());
        options.stop_after = vec![(None, 600)];
    });
    assert_eq!(back.summary().progress.rows_in, 600);
    assert_eq!(bench.output("copies").len(), 600);
    bench
        .run(&job(), |options| options.parallelism = 1)
        .summary();
    assert_eq!(bench.output("copies").len(), 2000);
    let expected = Bench::new();
    expected.write("numbers.csv", &numbers(2000));
    expected.run(&job(), |_| ()).summary();
    assert_eq!(bench.output("windows"), expected.output("windows"));
}

#[test]
fn a_savepoint_is_moved_to_where_nothing_was_written_yet() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(400));
    let saved = bench.path().join("saved");
    let stopped = bench.run(&job(), |options| {
        options.stop_after = vec![(None, 150)];
        options.savepoint = Some(saved.clone());
    });
    stopped.summary();
    let sinks_elsewhere = job()
        .replace("'path' = 'windows'", "'path' = 'w2'")
        .replace("'path' = 'copies'", "'path' = 'c2'");
    let begin = |options: &mut weir_engine::JobOptions| {
        options.state_dir = Some(bench.path().join("elsewhere"));
        options.restore_from = Some(saved.clone());
    };
    let refused = bench.run(&sinks_elsewhere, begin).error();
    assert!(
        refused.contains("Its table is written elsewhere now"),
        "{refused}"
    );
    let moved = bench.run(&sinks_elsewhere, |options| {
        begin(options);
        options.evolution.upgrade = true;
        options.evolution.accept = Accept::All;
    });
    assert_eq!(moved.summary().outcome, Outcome::Drained);
    assert_eq!(
        bench.output("c2").len(),
        250,
        "what came after the savepoint"
    );
    assert_eq!(
        bench.output("copies").len(),
        150,
        "what came before it is left alone"
    );
}

#[test]
fn a_drained_job_is_not_run_again_and_fresh_replaces_its_output_only_when_told() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(50));
    assert_eq!(
        bench.run(&job(), |_| ()).summary().outcome,
        Outcome::Drained
    );
    let again = bench.run(&job(), |_| ());
    assert_eq!(again.summary().outcome, Outcome::AlreadyDrained);
    assert!(
        again
            .summary()
            .progress
            .warnings
            .iter()
            .any(|text| text.contains("--fresh"))
    );
    let refused = bench.run(&job(), |options| options.fresh = true);
    assert!(
        refused.error().contains("--replace-output"),
        "{}",
        refused.error()
    );
    assert_eq!(bench.output("copies").len(), 50);
    bench.write("numbers.csv", &numbers(20));
    let fresh = bench.run(&job(), |options| {
        options.fresh = true;
        options.replace_output = true;
    });
    assert_eq!(fresh.summary().outcome, Outcome::Drained);
    assert_eq!(bench.output("copies").len(), 20);
}

#[test]
fn output_without_a_checkpoint_is_neither_doubled_nor_removed() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(50));
    bench.run(&job(), |_| ()).summary();
    std::fs::remove_dir_all(bench.path().join("state")).unwrap();
    let refused = bench.run(&job(), |_| ());
    assert!(
        refused.error().contains("holds output"),
        "{}",
        refused.error()
    );
    assert_eq!(bench.output("copies").len(), 50);
}

#[test]
fn a_changed_query_is_refused_and_the_operator_is_named() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(50));
    bench
        .run(&job(), |options| options.stop_after = vec![(None, 10)])
        .summary();
    let changed = job().replace("sum(n)", "max(n)");
    let refused = bench.run(&changed, |_| ());
    assert!(
        refused.error().contains("windows/aggregate"),
        "{}",
        refused.error()
    );
    assert!(refused.error().contains("--fresh"), "{}", refused.error());
    // A comment is no change.
    let same = format!("-- hello\n{}", job());
    assert_eq!(bench.run(&same, |_| ()).summary().outcome, Outcome::Drained);
}

#[test]
fn a_damaged_newest_checkpoint_is_passed_over_with_a_warning() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(1000));
    for rows in [300, 600] {
        bench
            .run(&job(), |options| options.stop_after = vec![(None, rows)])
            .summary();
    }
    let manifests = bench.path().join("state/checkpoints/manifests");
    let mut names: Vec<_> = std::fs::read_dir(&manifests)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    assert!(names.len() >= 2, "{names:?}");
    let newest = names.last().unwrap();
    let text = std::fs::read(newest).unwrap();
    std::fs::write(newest, &text[..text.len() / 2]).unwrap();
    let resumed = bench.run(&job(), |_| ());
    assert!(!resumed.summary().progress.warnings.is_empty());
    let expected = Bench::new();
    expected.write("numbers.csv", &numbers(1000));
    expected.run(&job(), |_| ()).summary();
    assert_eq!(bench.output("copies"), expected.output("copies"));
    assert_eq!(bench.output("windows"), expected.output("windows"));
}
