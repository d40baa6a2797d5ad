//! Real crashes: SIGKILL at random moments, then the same command again, until the job has finished.
//!
//! Every kill is a case, if it was one: the signal ended the process, which had not said yet that the job is done. A job that
//! finishes before it was killed often enough is compared, and another one is started.

mod parquet;
mod views;

use std::time::Duration;

use rand::Rng;
use weir_tests::data::rng;
use weir_tests::process::{Place, kill, wait_for};
use weir_tests::suite::Suite;

use crate::orders::{Orders, Results, SQL};

/// What the summary of a finished job says.
const DONE: &str = "orders: done in";

/// Kills of one job, at most: then it is let alone.
const KILLS_PER_JOB: u64 = 30;

/// No single life of the process may last longer.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_killed_job_gives_what_an_undisturbed_one_gives() {
    let mut suite = Suite::begin("crash", 30, 20);
    let root = tempfile::tempdir().unwrap();
    let orders = Orders {
        rows: 600_000,
        customers: 20_000,
    };
    orders.write(root.path());
    let expected = orders.expected();
    let undisturbed = Place::new(&root.path().join("undisturbed"), "orders", SQL);
    let started = std::time::Instant::now();
    undisturbed.must_run(&[]);
    let whole = started.elapsed();
    Results::assert(&undisturbed.folder, &expected, "undisturbed");
    let mut jobs = 0;
    let mut missed = 0;
    let mut seed = suite.next_seed();
    while let Some(first) = seed {
        jobs += 1;
        let place = Place::new(&root.path().join(format!("killed-{jobs}")), "orders", SQL);
        let mut rng = rng(first.wrapping_add(jobs));
        let mut kills_of_job = 0;
        loop {
            let parallelism = rng.random_range(1..=4).to_string();
            let before = place.log().len();
            let mut child = place.start(&["--parallelism", &parallelism]);
            let context = || {
                format!(
                    "job {jobs} after {kills_of_job} kills, seed {first}\n{}",
                    place.log()
                )
            };
            if kills_of_job < KILLS_PER_JOB && seed.is_some() {
                // Short lives early on meet the start and the restore; longer ones the checkpoints.
                let life = whole.mul_f64(rng.random_range(0.02..0.6));
                std::thread::sleep(life);
                if child.try_wait().unwrap().is_none() {
                    let was_done = || place.log()[before..].contains(DONE);
                    if kill(&mut child) && !was_done() {
                        suite.note_kill();
                        seed = suite.next_seed();
                    } else {
                        missed += 1;
                    }
                    kills_of_job += 1;
                    continue;
                }
            }
            let status =
                wait_for(&mut child, PATIENCE).unwrap_or_else(|| panic!("no end: {}", context()));
            assert!(status.success(), "ended with {status}: {}", context());
            Results::assert(&place.folder, &expected, &context());
            std::fs::remove_dir_all(&place.folder).unwrap();
            break;
        }
    }
    println!("crash: {jobs} jobs, {missed} kills came too late");
    assert!(
        suite.kills() >= suite.floor(),
        "{} of at least {} processes were killed",
        suite.kills(),
        suite.floor()
    );
}
