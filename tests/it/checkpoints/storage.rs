//! Where checkpoints are kept, and what becomes of them when the storage fails, stalls, hangs or is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use weir_engine::Outcome;
use weir_engine::statistics::Ending;

use super::{Job, hook, manifests, no_manifests, stopped};

#[test]
fn the_job_fails_when_more_checkpoints_fail_in_a_row_than_it_tolerates() {
    for (tolerable, attempts) in [("0", 1), ("2", 3)] {
        let job = Job::new(3000);
        let settings = [
            ("checkpoint.interval", "50ms"),
            ("checkpoint.tolerable-failures", tolerable),
            ("restart.strategy", "none"),
        ];
        let error = job.run(&settings, no_manifests(|_| true)).unwrap_err();
        assert!(error.contains("checkpoint.tolerable-failures"), "{error}");
        let endings: Vec<Ending> = job.records().iter().map(|record| record.ending).collect();
        assert_eq!(endings, vec![Ending::Failed; attempts]);
    }
}

#[test]
fn on_a_full_disk_checkpoints_fail_and_nothing_is_lost_when_there_is_space_again() {
    let job = Job::new(3000);
    let settings = [
        ("checkpoint.interval", "50ms"),
        ("checkpoint.tolerable-failures", "1"),
    ];
    // Never two in a row, so one tolerable failure is enough.
    let summary = job.must_run(&settings, no_manifests(|asked| asked % 3 == 1));
    assert_eq!(summary.outcome, Outcome::Drained);
    let records = job.records();
    let failed: Vec<_> = records
        .iter()
        .filter(|record| record.ending == Ending::Failed)
        .collect();
    assert!(!failed.is_empty(), "{records:#?}");
    let reason = failed[0].reason.as_deref().unwrap_or_default();
    assert!(reason.contains("no storage space"), "{reason}");
    assert!(
        summary
            .progress
            .warnings
            .iter()
            .any(|text| text.contains("taken up by the next one")),
        "{:?}",
        summary.progress.warnings
    );
}

#[test]
fn a_storage_that_fails_before_or_after_a_step_loses_and_doubles_nothing() {
    for after in [false, true] {
        let job = Job::new(3000);
        let (count, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        let failing = hook(move |step| {
            // The first steps are those of the start, where a failure is the user's to see.
            let number = count.fetch_add(1, Ordering::SeqCst);
            let fails = step.done == after
                && number > 30
                && number % 13 < 3
                && ["adopt", "create", "delete"].contains(&step.operation)
                && failed.load(Ordering::SeqCst) < 20;
            if fails {
                failed.fetch_add(1, Ordering::SeqCst);
                return Err(std::io::Error::other("the storage is out of sorts"));
            }
            Ok(())
        });
        let settings = [
            ("checkpoint.interval", "30ms"),
            ("restart.strategy", "fixed-delay"),
            ("restart.delay", "1ms"),
            ("restart.attempts", "100"),
        ];
        job.must_run(&settings, failing);
        let records = job.records();
        assert!(records.iter().any(|record| record.ending == Ending::Failed));
        assert!(
            records
                .iter()
                .any(|record| record.ending == Ending::Completed)
        );
    }
}

#[test]
fn a_checkpoint_whose_storage_stalls_is_dropped_after_its_timeout_and_the_job_goes_on() {
    let job = Job::new(5000);
    let adopted = AtomicUsize::new(0);
    let stalls = hook(move |step| {
        if step.operation == "adopt" && !step.done && adopted.fetch_add(1, Ordering::SeqCst) == 8 {
            std::thread::sleep(Duration::from_millis(900));
        }
        Ok(())
    });
    let settings = [
        ("checkpoint.interval", "50ms"),
        ("checkpoint.timeout", "300ms"),
        ("state.backend", "memory"),
    ];
    job.must_run(&settings, stalls);
    let records = job.records();
    let expired = records
        .iter()
        .position(|record| record.ending == Ending::Expired);
    let expired = expired.unwrap_or_else(|| panic!("none expired: {records:#?}"));
    assert!(
        records[expired]
            .reason
            .as_ref()
            .unwrap()
            .contains("checkpoint.timeout"),
        "{:?}",
        records[expired]
    );
    assert!(
        records[expired].total_micros < 800_000,
        "it did not wait for the storage"
    );
    assert!(
        records[expired + 1..]
            .iter()
            .any(|record| record.ending == Ending::Completed)
    );
}

#[test]
fn a_synchronous_checkpoint_is_stored_by_the_worker_itself() {
    let uploading = |asynchronous: &str| {
        let job = Job::new(1000);
        let threads = Arc::new(Mutex::new(BTreeSet::new()));
        let seen = threads.clone();
        let watch = hook(move |step| {
            if step.operation == "adopt" {
                let name = std::thread::current().name().unwrap_or_default().to_owned();
                seen.lock().unwrap().insert(name);
            }
            Ok(())
        });
        job.must_run(
            &[
                ("checkpoint.interval", "50ms"),
                ("checkpoint.asynchronous", asynchronous),
            ],
            watch,
        );
        Arc::try_unwrap(threads).map_or_else(
            |shared| shared.lock().unwrap().clone(),
            |own| own.into_inner().unwrap(),
        )
    };
    let expected = |kind: &str| {
        (0..2)
            .map(|worker| format!("weir-{kind}-{worker}"))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(uploading("true"), expected("upload"));
    assert_eq!(uploading("false"), expected("worker"));
}

#[test]
fn checkpoints_are_kept_where_the_url_says() {
    for backend in ["rocksdb", "memory"] {
        let elsewhere = tempfile::tempdir().unwrap();
        let urls = [
            format!("file://{}", elsewhere.path().join("a").display()),
            elsewhere.path().join("b").display().to_string(),
            "memory:".to_owned(),
        ];
        for url in urls {
            let job = Job::new(3000);
            let settings = [
                ("checkpoint.interval", "50ms"),
                ("checkpoint.storage", url.as_str()),
                ("state.backend", backend),
            ];
            stopped(&job, &settings);
            assert!(
                !job.state().join("checkpoints").exists(),
                "{url}: nothing is in the state folder"
            );
            let summary = job.must_run(&settings, None);
            assert!(summary.resumed_from.is_some(), "{url}");
        }
        assert!(!manifests(&elsewhere.path().join("a/job")).is_empty());
        assert!(!manifests(&elsewhere.path().join("b/job")).is_empty());
    }
}

#[test]
fn a_storage_that_the_build_cannot_reach_is_refused_at_the_start() {
    let job = Job::new(10);
    let error = job
        .run(&[("checkpoint.storage", "carrierpigeon://loft/7")], None)
        .unwrap_err();
    assert!(
        error.contains("[J0020]") && error.contains("carrierpigeon") && error.contains("folder"),
        "{error}"
    );
}

#[test]
fn a_state_folder_that_was_lost_goes_on_from_the_storage_under_a_new_generation() {
    let storage = tempfile::tempdir().unwrap();
    let url = storage.path().display().to_string();
    let job = Job::new(3000);
    let settings = [
        ("checkpoint.interval", "50ms"),
        ("checkpoint.storage", url.as_str()),
    ];
    stopped(&job, &settings);
    std::fs::remove_dir_all(job.state()).unwrap();
    let summary = job.must_run(&settings, None);
    assert!(summary.resumed_from.is_some());
    assert_eq!(job.records()[0].generation, 2);
}

/// A gate that the test opens.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn wait(&self) {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.changed.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

#[test]
fn while_a_storage_hangs_rows_go_on_and_checkpoints_expire() {
    let job = Job::new(4000);
    let gate = Arc::new(Gate::default());
    let (held, adopted) = (gate.clone(), AtomicUsize::new(0));
    let hangs = hook(move |step| {
        if step.operation == "adopt" && !step.done && adopted.fetch_add(1, Ordering::SeqCst) >= 4 {
            held.wait();
        }
        Ok(())
    });
    let settings = [
        ("checkpoint.interval", "50ms"),
        ("checkpoint.timeout", "100ms"),
        ("state.backend", "memory"),
    ];
    let handle = job.start(&settings, hangs, |_| {}).unwrap();
    let started = Instant::now();
    // Half of the rows come through although nothing can be stored.
    while handle.progress().rows_in < 2000 {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "the job hangs with its storage"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    gate.open();
    handle.wait().unwrap();
    job.assert_exact();
    let expired = job
        .records()
        .iter()
        .filter(|record| record.ending == Ending::Expired)
        .count();
    assert!(expired >= 2, "{:#?}", job.records());
}
