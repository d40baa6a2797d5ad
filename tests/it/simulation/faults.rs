//! Seeded faults: a storage that fails, fails after it has done its work, or takes its time; errors at failure points; crashes
//! at failure points. However often a job dies, in the end its files hold what plain loops say.
//!
//! `WEIR_SIMULATION_SEEDS=10000` (`make simulate`) asks for more seeds than the suite's floor.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use weir_engine::{JobHandle, JobOptions, Outcome, RestartOptions, RestartStrategy};
use weir_state::{BackendKind, Compression, SnapshotOptions};
use weir_tests::data::rng;
use weir_tests::suite::Suite;

use crate::orders::{Orders, Results, SQL};

/// After so many lives the faults end: a job that only dies proves nothing.
const LIVES_WITH_FAULTS: u64 = 5;

/// How a job is run: what must not change the answer.
fn options(folder: &Path, random: &mut SmallRng) -> Result<JobOptions, String> {
    let plan = weir_tests::job::plan(SQL)?;
    let mut options = JobOptions::resolve(&plan, "orders").map_err(|error| error.to_string())?;
    options.parallelism = random.random_range(1..=3);
    options.base = folder.to_owned();
    options.state_dir = Some(folder.join("state"));
    options.backend = match random.random_bool(0.8) {
        true => BackendKind::Memory,
        false => BackendKind::Rocksdb,
    };
    options.checkpoint_interval = Duration::from_millis(random.random_range(5..300));
    options.checkpoints_retained = random.random_range(1..=3);
    let checkpoints = &mut options.checkpoints;
    checkpoints.max_concurrent = random.random_range(1..=3);
    checkpoints.snapshots = SnapshotOptions {
        full: random.random_bool(0.2),
        compression: random.random_bool(0.2).then_some(Compression::Zstd),
        concurrent_more: checkpoints.max_concurrent - 1,
    };
    checkpoints.timeout = Duration::from_secs(random.random_range(1..15));
    if random.random_bool(0.3) {
        checkpoints.min_pause = Duration::from_millis(5);
    }
    checkpoints.tolerable_failures = random.random_bool(0.3).then_some(1);
    // The memory of the process stands for a storage that outlives it.
    checkpoints.storage = random.random_bool(0.7).then(|| "memory:".to_owned());
    options.restart = RestartOptions {
        strategy: match random.random_bool(0.5) {
            true => RestartStrategy::FixedDelay,
            false => RestartStrategy::None,
        },
        ..RestartOptions::default()
    };
    Ok(options)
}

/// What one life came to.
enum Life {
    Done,
    Died(String),
}

fn live(options: JobOptions) -> Life {
    let ended = weir_tests::job::plan(SQL).and_then(|plan| {
        let handler = Arc::new(|_| ControlFlow::Continue(()));
        JobHandle::start("orders", SQL, plan, options, handler)
            .and_then(JobHandle::wait)
            .map_err(|error| error.to_string())
    });
    match ended {
        Ok(summary) => {
            assert!(matches!(
                summary.outcome,
                Outcome::Drained | Outcome::AlreadyDrained
            ));
            Life::Done
        }
        Err(error) => Life::Died(error),
    }
}

/// Whether a death was ours.
fn was_meant(error: &str) -> bool {
    ["simulated", "failure point", "checkpoint.timeout"]
        .iter()
        .any(|word| error.contains(word))
}

#[test]
fn faults_and_crashes_lose_nothing_and_double_nothing() {
    // Twenty of the suite's 320 cases are those of the other test.
    let mut suite = Suite::with_share("simulation", 300.0 / 320.0, 60, 320);
    let wanted: u64 = std::env::var("WEIR_SIMULATION_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    // A simulated crash loses nothing that was written: no disk has to be synced, and syncing is what would take the time.
    let memory = Path::new("/dev/shm");
    let root = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let orders = Orders {
        rows: 150,
        customers: 20,
    };
    orders.write(root.path());
    let expected = orders.expected();
    let (mut cases, mut deaths, mut crashes) = (0u64, 0u64, 0u64);
    loop {
        let seed = match suite.next_seed() {
            Some(seed) => seed,
            None if cases < wanted => {
                suite.count();
                cases.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x00AB_CDEF
            }
            None => break,
        };
        cases += 1;
        let folder = root.path().join(format!("job-{cases}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut random = rng(seed);
        let options = options(&folder, &mut random).unwrap();
        let mut log = Vec::new();
        for life in 0.. {
            let options = JobOptions {
                simulation_seed: Some(seed.wrapping_add(life)),
                test_cuts: Some(seed.wrapping_add(life)),
                simulation_faults: (life < LIVES_WITH_FAULTS)
                    .then_some(seed.wrapping_mul(31).wrapping_add(life)),
                ..options.clone()
            };
            let context =
                |log: &[String]| format!("{}\n{options:?}\n{}", suite.replay(seed), log.join("\n"));
            match live(options.clone()) {
                Life::Done => break,
                Life::Died(error) => {
                    log.push(format!("life {life}: {error}"));
                    assert!(
                        was_meant(&error) && life < LIVES_WITH_FAULTS,
                        "a death that was not meant\n{}",
                        context(&log)
                    );
                    deaths += 1;
                    crashes += u64::from(error.contains("simulated crash"));
                }
            }
        }
        Results::assert(
            &folder,
            &expected,
            &format!("{}\n{options:?}\n{}", suite.replay(seed), log.join("\n")),
        );
        std::fs::remove_dir_all(&folder).unwrap();
        if cases.is_multiple_of(500) {
            println!("faults: {cases} seeds so far, {deaths} deaths");
        }
    }
    println!("faults: {cases} seeds, {deaths} deaths, {crashes} of them crashes");
    assert!(
        cases < 50 || crashes * 4 > cases,
        "faults strike: {crashes} crashes in {cases} cases"
    );
}
