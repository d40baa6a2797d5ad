//! Jobs that fail and start again from their newest checkpoint, as often as the strategy allows.

use std::time::{Duration, Instant};

use weir_engine::Outcome;
use weir_tests::process::{Place, folded_changelog, text_of};

use super::{Job, expected, no_manifests, sql};

#[test]
fn a_last_checkpoint_that_fails_restarts_the_job_which_then_ends_well() {
    let job = Job::new(600);
    let summary = job.must_run(
        &[("checkpoint.interval", "1h"), ("restart.delay", "10ms")],
        no_manifests(|asked| asked == 0),
    );
    assert_eq!(summary.outcome, Outcome::Drained);
    let again = summary
        .progress
        .warnings
        .iter()
        .filter(|text| text.contains("starts again"))
        .count();
    assert_eq!(again, 1, "{:?}", summary.progress.warnings);
    let generations: Vec<u64> = job
        .records()
        .iter()
        .map(|record| record.generation)
        .collect();
    assert_eq!(generations, [1, 2]);
}

#[test]
fn after_its_attempts_a_job_fails_for_good() {
    let job = Job::new(100);
    let settings = [
        ("checkpoint.interval", "1h"),
        ("restart.strategy", "fixed-delay"),
        ("restart.delay", "1ms"),
        ("restart.attempts", "2"),
    ];
    let error = job.run(&settings, no_manifests(|_| true)).unwrap_err();
    assert!(error.contains("the last checkpoint failed"), "{error}");
    let generations: Vec<u64> = job
        .records()
        .iter()
        .map(|record| record.generation)
        .collect();
    assert_eq!(generations, [1, 2, 3]);
    // What failed is mended, and the same command ends the work.
    job.must_run(&[], None);
}

#[test]
fn a_stop_ends_the_wait_for_a_restart() {
    let job = Job::new(100);
    let settings = [
        ("checkpoint.interval", "1h"),
        ("restart.delay", "1 h"),
        ("restart.max-delay", "2 h"),
    ];
    let handle = job
        .start(&settings, no_manifests(|_| true), |_| {})
        .unwrap();
    let started = Instant::now();
    while !handle
        .progress()
        .warnings
        .iter()
        .any(|text| text.contains("starts again"))
    {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "no restart was announced"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    handle.stop();
    assert!(handle.wait().is_err());
    assert!(started.elapsed() < Duration::from_secs(60));
}

/// The same job as a process, whose failure points are armed.
fn place(settings: &[(&str, &str)]) -> (tempfile::TempDir, Place) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path(), "job", &sql(2000, settings));
    (folder, place)
}

#[test]
fn a_worker_that_fails_restarts_the_job_from_its_newest_checkpoint() {
    for point in [
        "engine.barrier.aligned:5:error",
        "engine.prepare.after:4:error",
        "engine.commit.after:2:error",
        "engine.manifest.after:3:error",
        // And the restart itself fails once.
        "engine.prepare.after:4:error,engine.restore.after-recommit:1:error",
    ] {
        let (folder, place) = place(&[("checkpoint.interval", "50ms"), ("restart.delay", "10ms")]);
        let output = place
            .run(&["-p", "2"])
            .env("WEIR_FAILPOINT", point)
            .output()
            .unwrap();
        let text = text_of(&output);
        assert!(output.status.success(), "{point}: {text}");
        assert!(
            text.contains("starts again from its newest checkpoint"),
            "{point}: {text}"
        );
        let found = folded_changelog(&folder.path().join("out"));
        if let Some(difference) = found.difference(&expected(2000)) {
            panic!("{point}: {difference}\n{text}");
        }
    }
}

#[test]
fn a_death_at_a_restart_is_a_death_like_any_other() {
    let (folder, place) = place(&[("checkpoint.interval", "50ms"), ("restart.delay", "10ms")]);
    let output = place
        .run(&["-p", "2"])
        .env(
            "WEIR_FAILPOINT",
            "engine.prepare.after:4:error,engine.restart.before",
        )
        .output()
        .unwrap();
    let text = text_of(&output);
    assert!(
        text.contains("failure point engine.restart.before: abort"),
        "{text}"
    );
    place.must_run(&[]);
    let found = folded_changelog(&folder.path().join("out"));
    assert!(found.difference(&expected(2000)).is_none());
}

#[test]
fn without_a_restart_strategy_a_failed_worker_ends_the_job_and_the_next_run_goes_on() {
    let (folder, place) = place(&[
        ("checkpoint.interval", "50ms"),
        ("restart.strategy", "none"),
    ]);
    let output = place
        .run(&["-p", "2"])
        .env("WEIR_FAILPOINT", "engine.prepare.after:4:error")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    place.must_run(&[]);
    let found = folded_changelog(&folder.path().join("out"));
    assert!(found.difference(&expected(2000)).is_none());
}

#[test]
fn an_error_in_a_row_is_never_retried() {
    let folder = tempfile::tempdir().unwrap();
    let text = sql(
        2000,
        &[("checkpoint.interval", "50ms"), ("restart.delay", "10ms")],
    )
    .replace("sum(id) AS", "sum(1 / (1000 - id)) AS");
    let place = Place::new(folder.path(), "job", &text);
    let output = place.run(&[]).output().unwrap();
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("division by zero") && !text.contains("starts again"),
        "{text}"
    );
}
