//! Every setting of checkpoints and restarts, on a running job whose storage does what the test says.
//!
//! ```text
//!   datagen, 2,000 rows a second ─▶ GROUP BY id % 100 ─▶ changelog-json files
//!                                       checkpoints ─▶ hook of the test ─▶ storage
//! ```
//!
//! Whatever happens, the folded files must be what plain arithmetic says. The figures in the job's folder say when each
//! checkpoint began, ended, and what became of it.

mod full_disk;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use weir_engine::statistics::{self, CheckpointRecord, Ending};
use weir_engine::{JobHandle, JobOptions, JobSummary, Outcome};
use weir_state::{CheckpointStore, Compression, Manifest, StorageHook, StorageStep};
use weir_tests::process::{Place, folded_changelog, published, text_of};
use weir_tests::value::{Multiset, Value};

const KEYS: i64 = 100;

fn sql(rows: i64, settings: &[(&str, &str)]) -> String {
    let set: String = settings
        .iter()
        .map(|(key, value)| format!("SET '{key}' = '{value}';\n"))
        .collect();
    format!(
        "{set}SET 'epoch.interval' = '5ms';\n\
         CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'datagen', 'rows' = '{rows}', 'rows-per-second' = '2000', \
         'fields.id.kind' = 'sequence');\n\
         CREATE TABLE totals (k BIGINT, n BIGINT, total BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', \
         'format' = 'changelog-json');\n\
         INSERT INTO totals SELECT id % {KEYS} AS k, count(*) AS n, sum(id) AS total FROM numbers GROUP BY id % {KEYS};\n"
    )
}

fn expected(rows: i64) -> Multiset {
    Multiset::of((0..KEYS.min(rows)).map(|key| {
        let ids: Vec<i64> = (0..rows).filter(|id| id % KEYS == key).collect();
        vec![
            Value::Int(key),
            Value::Int(ids.len() as i64),
            Value::Int(ids.iter().sum()),
        ]
    }))
}

/// A job in a folder of its own.
struct Job {
    folder: tempfile::TempDir,
    rows: i64,
}

impl Job {
    fn new(rows: i64) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            rows,
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn start(
        &self,
        settings: &[(&str, &str)],
        hook: Option<StorageHook>,
        change: impl FnOnce(&mut JobOptions),
    ) -> Result<JobHandle, String> {
        let text = sql(self.rows, settings);
        let plan = weir_tests::job::plan(&text)?;
        let mut options = JobOptions::resolve(&plan, "job").map_err(|error| error.to_string())?;
        options.parallelism = 2;
        options.base = self.folder.path().to_owned();
        options.state_dir = Some(self.state());
        options.checkpoints.storage_hook = hook;
        change(&mut options);
        let handler = Arc::new(|_| std::ops::ControlFlow::Continue(()));
        JobHandle::start("job", &text, plan, options, handler).map_err(|error| error.to_string())
    }

    fn run(
        &self,
        settings: &[(&str, &str)],
        hook: Option<StorageHook>,
    ) -> Result<JobSummary, String> {
        self.start(settings, hook, |_| {})?
            .wait()
            .map_err(|error| error.to_string())
    }

    fn must_run(&self, settings: &[(&str, &str)], hook: Option<StorageHook>) -> JobSummary {
        let summary = self.run(settings, hook).unwrap();
        self.assert_exact();
        summary
    }

    fn assert_exact(&self) {
        let found = folded_changelog(&self.folder.path().join("out"));
        if let Some(difference) = found.difference(&expected(self.rows)) {
            panic!("{difference}\n{:#?}", self.records());
        }
    }

    fn records(&self) -> Vec<CheckpointRecord> {
        statistics::read(&self.state()).unwrap()
    }

    fn manifests(&self) -> Vec<Manifest> {
        manifests(&self.state().join("checkpoints"))
    }
}

fn manifests(folder: &Path) -> Vec<Manifest> {
    let store = CheckpointStore::local(folder.to_owned()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut all = Vec::new();
        for number in store.list().await.unwrap() {
            all.push(store.load(number).await.unwrap());
        }
        all
    })
}

fn hook(
    f: impl Fn(StorageStep<'_>) -> std::io::Result<()> + Send + Sync + 'static,
) -> Option<StorageHook> {
    Some(Arc::new(f))
}

/// A storage that takes its time for every file.
fn slow(by: Duration) -> Option<StorageHook> {
    hook(move |step| {
        if step.operation == "adopt" && !step.done {
            std::thread::sleep(by);
        }
        Ok(())
    })
}

/// How much time of a checkpoint fell into the one after it, in microseconds; negative: the pause between them.
fn overlaps(records: &[CheckpointRecord]) -> Vec<i64> {
    records
        .windows(2)
        .map(|pair| {
            let end = pair[0].triggered_after_micros + pair[0].total_micros;
            end as i64 - pair[1].triggered_after_micros as i64
        })
        .collect()
}

#[test]
fn two_checkpoints_are_in_flight_when_two_may_be() {
    for (concurrent, overlap) in [("1", false), ("2", true)] {
        let job = Job::new(3000);
        let settings = [
            ("checkpoint.interval", "50ms"),
            ("checkpoint.max-concurrent", concurrent),
            ("state.backend", "memory"),
        ];
        job.must_run(&settings, slow(Duration::from_millis(150)));
        let records = job.records();
        assert!(records.len() >= 4, "{records:#?}");
        let found = overlaps(&records[..records.len() - 1]);
        // An overlap of less than a millisecond is the clock's.
        let overlapped = found.iter().any(|&micros| micros > 1000);
        assert_eq!(overlapped, overlap, "{concurrent}: {found:?}");
    }
}

#[test]
fn between_two_checkpoints_there_is_the_minimum_pause() {
    let pauses = |pause: &str| {
        let job = Job::new(3000);
        job.must_run(
            &[
                ("checkpoint.interval", "20ms"),
                ("checkpoint.min-pause", pause),
            ],
            None,
        );
        let records = job.records();
        // The last one comes at once when the job ends.
        overlaps(&records[..records.len() - 1])
    };
    let with = pauses("200ms");
    assert!(with.len() >= 2, "{with:?}");
    assert!(with.iter().all(|&overlap| overlap <= -199_000), "{with:?}");
    let without = pauses("0 s");
    assert!(
        without.iter().any(|&overlap| overlap > -199_000),
        "{without:?}"
    );
}

/// Refuses manifests while `refuse` says so.
fn no_manifests(refuse: impl Fn(u64) -> bool + Send + Sync + 'static) -> Option<StorageHook> {
    let asked = AtomicU64::new(0);
    hook(move |step| {
        let refused = step.operation == "create"
            && !step.done
            && refuse(asked.fetch_add(1, Ordering::SeqCst));
        match refused {
            true => Err(std::io::Error::from(std::io::ErrorKind::StorageFull)),
            false => Ok(()),
        }
    })
}

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
fn as_many_checkpoints_are_kept_as_the_user_says() {
    for retain in [1, 3] {
        let job = Job::new(5000);
        let text = retain.to_string();
        job.must_run(
            &[
                ("checkpoint.interval", "50ms"),
                ("checkpoint.retain", &text),
            ],
            None,
        );
        assert!(job.records().len() > retain, "too few to tell");
        let kept = job.manifests();
        assert_eq!(kept.len(), retain);
        assert_eq!(
            kept.last().map(|manifest| manifest.checkpoint.0),
            job.records().last().map(|record| record.checkpoint)
        );
    }
}

/// Starts it, waits for the first checkpoints, and asks it to stop.
fn stopped(job: &Job, settings: &[(&str, &str)]) -> JobSummary {
    let handle = job.start(settings, None, |_| {}).unwrap();
    let started = Instant::now();
    while handle
        .progress()
        .last_checkpoint
        .is_none_or(|last| last.0 < 3)
    {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "no checkpoints"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    handle.stop();
    let summary = handle.wait().unwrap();
    assert_eq!(summary.outcome, Outcome::Stopped);
    summary
}

#[test]
fn after_a_cancel_checkpoints_are_retained_and_the_job_goes_on_from_them() {
    let job = Job::new(3000);
    let settings = [
        ("checkpoint.interval", "50ms"),
        ("checkpoint.on-cancel", "retain"),
    ];
    stopped(&job, &settings);
    assert!(!job.manifests().is_empty());
    let summary = job.must_run(&settings, None);
    assert!(summary.resumed_from.is_some());
}

#[test]
fn after_a_cancel_checkpoints_are_deleted_if_the_user_says_so_and_the_output_is_whole() {
    let job = Job::new(3000);
    let settings = [
        ("checkpoint.interval", "50ms"),
        ("checkpoint.on-cancel", "delete"),
    ];
    let summary = stopped(&job, &settings);
    assert!(job.manifests().is_empty());
    assert_eq!(summary.progress.last_checkpoint, None);
    let data = job.state().join("checkpoints/data");
    assert!(
        published(&data).is_empty(),
        "files are left in {}",
        data.display()
    );
    // All that was read is in the files: as many rows as the summary says.
    let folded = folded_changelog(&job.folder.path().join("out"));
    let counted: i64 = folded
        .0
        .iter()
        .map(|(row, count)| match row[1] {
            Value::Int(n) => n * count,
            _ => panic!("{row:?}"),
        })
        .sum();
    assert_eq!(counted as u64, summary.progress.rows_in);
    // There is nothing to go on from, and starting over would double what is there.
    let error = job.run(&settings, None).unwrap_err();
    assert!(error.contains("--fresh"), "{error}");
}

#[test]
fn a_job_that_ends_by_itself_keeps_its_last_checkpoint_whatever_a_cancel_would_do() {
    let job = Job::new(500);
    let settings = [("checkpoint.on-cancel", "delete")];
    job.must_run(&settings, None);
    assert_eq!(
        job.run(&settings, None).unwrap().outcome,
        Outcome::AlreadyDrained
    );
}

#[test]
fn incremental_checkpoints_share_files_and_full_ones_have_their_own() {
    let shared = |incremental: &str| {
        let job = Job::new(2000);
        job.must_run(
            &[
                ("checkpoint.interval", "100ms"),
                ("checkpoint.incremental", incremental),
            ],
            None,
        );
        let manifests = job.manifests();
        let paths = |manifest: &Manifest| -> BTreeSet<String> {
            manifest.files().map(|file| file.path.clone()).collect()
        };
        let (last, before) = (manifests.len() - 1, manifests.len() - 2);
        let shared = paths(&manifests[last])
            .intersection(&paths(&manifests[before]))
            .count();
        let records = job.records();
        let everything = records
            .iter()
            .all(|record| record.bytes_new == record.bytes_total);
        (shared > 0, everything)
    };
    assert_eq!(shared("true"), (true, false));
    assert_eq!(shared("false"), (false, true));
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
fn packed_checkpoints_are_smaller_and_can_be_resumed_from() {
    for backend in ["rocksdb", "memory"] {
        let mut sizes = Vec::new();
        for compression in ["none", "zstd"] {
            let job = Job::new(3000);
            let settings = [
                ("checkpoint.interval", "50ms"),
                ("checkpoint.compression", compression),
                ("state.backend", backend),
            ];
            stopped(&job, &settings);
            let manifest = job.manifests().pop().unwrap();
            let packed = manifest.files().all(|file| {
                file.compression == Some(Compression::Zstd) && file.path.ends_with(".zst")
            });
            assert_eq!(packed, compression == "zstd");
            sizes.push(manifest.files().map(|file| file.size).sum::<u64>());
            let summary = job.must_run(&settings, None);
            assert!(summary.resumed_from.is_some());
        }
        assert!(sizes[1] < sizes[0], "{backend}: {sizes:?}");
    }
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
            let job = Job::new(2000);
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

#[test]
fn at_least_once_publishes_before_any_checkpoint() {
    for (mode, early) in [("exactly-once", false), ("at-least-once", true)] {
        let job = Job::new(3000);
        let settings = [("checkpoint.interval", "1h"), ("checkpoint.mode", mode)];
        // The file sink publishes once a second at most.
        let handle = job.start(&settings, None, |_| {}).unwrap();
        let started = Instant::now();
        let mut seen = false;
        while !handle.is_finished() && started.elapsed() < Duration::from_secs(30) {
            let before = handle.progress().last_checkpoint.is_none();
            seen |= !published(&job.folder.path().join("out")).is_empty()
                && before
                && handle.progress().last_checkpoint.is_none()
                && handle.progress().rows_in < 2900;
            std::thread::sleep(Duration::from_millis(5));
        }
        handle.wait().unwrap();
        assert_eq!(seen, early, "{mode}");
        job.assert_exact();
    }
}

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

#[test]
fn figures_say_what_each_checkpoint_cost_each_operator() {
    let job = Job::new(3000);
    job.must_run(&[("checkpoint.interval", "100ms")], None);
    let records = job.records();
    assert!(records.len() >= 3);
    let rows: u64 = records
        .iter()
        .flat_map(|record| &record.operators)
        .filter(|operator| operator.id.contains("aggregate"))
        .flat_map(|operator| &operator.rows_by_worker)
        .sum();
    assert_eq!(rows, 3000, "every row is counted once");
    let last = records.last().unwrap();
    assert!(last.barrier_micros <= last.ready_micros && last.ready_micros <= last.total_micros);
    assert!(last.bytes_new <= last.bytes_total && last.bytes_total > 0);
    let aggregate = last
        .operators
        .iter()
        .find(|operator| operator.id.contains("aggregate"))
        .unwrap();
    assert!(!aggregate.bound.is_empty());
    let middle = &records[records.len() / 2];
    let changed = middle
        .operators
        .iter()
        .find(|operator| operator.id.contains("aggregate"))
        .unwrap();
    assert_eq!(
        changed.entries, KEYS as u64,
        "every key changes within 100 ms"
    );
    assert!(changed.bytes > 0 && changed.hottest_entries >= 1 && changed.groups > 1);
    let sink = last
        .operators
        .iter()
        .find(|operator| operator.sink)
        .unwrap();
    assert!(sink.id.starts_with("totals"), "{}", sink.id);
    assert!(
        statistics::diagnose(&records)
            .iter()
            .all(|finding| finding.title != "checkpoints fail")
    );
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
