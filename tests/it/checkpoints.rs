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
mod restarts;
mod storage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir_engine::statistics::{self, CheckpointRecord};
use weir_engine::{JobHandle, JobOptions, JobSummary, Outcome};
use weir_state::{CheckpointStore, Compression, Manifest, StorageHook, StorageStep};
use weir_tests::process::{folded_changelog, published};
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
        .is_none_or(|last| last.0 < 2)
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
        let job = Job::new(3000);
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
