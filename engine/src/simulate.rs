//! The whole job on one thread: paused time, and one seed that decides every interleaving.
//!
//! ```text
//!   loop:  draw worker 0..P or the coordinator ─▶ step it ─▶ nobody has anything to do? move the clock
//! ```
//!
//! The same workers, coordinator and publisher as on threads; only who runs next is drawn. Nothing else in a job depends
//! on the machine's time or on chance, so one seed replays one run.
//!
//! A second seed draws faults: a storage that fails, fails after it has done what it was asked for, or takes its time; errors
//! at failure points; and a crash at one of them, after which nothing of the run is left but what is on disk.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_state::StorageHook;
use weir_types::WorkerId;
use weir_types::failpoint::{self, SimulatedCrash, Strike};

use crate::clock::Clock;
use crate::coordinator::{CheckpointLedger, Coordinator, Event, Pace, Publisher, Publishing};
use crate::job::{Ended, Shared};
use crate::statistics::Collector;
use crate::sync::lock;
use crate::worker::{Step, Worker, guarded, step};
use crate::{Error, JobOptions, Result};

/// Without a step that did something for so long (in virtual time), the job hangs: a mistake of ours.
const STANDSTILL_MAX: Duration = Duration::from_secs(3600);

/// Storage faults of one start, at most: a run that only fails proves nothing.
const STORAGE_FAULTS_MAX: u32 = 6;

/// What a seed does to the storage: a step fails before or after it was done, or takes its (virtual) time.
pub(crate) fn storage_faults(seed: u64, clock: &Arc<Clock>) -> StorageHook {
    let clock = clock.clone();
    let state = Mutex::new((SmallRng::seed_from_u64(seed ^ 0xD15C), STORAGE_FAULTS_MAX));
    Arc::new(move |step| {
        let mut state = lock(&state);
        let (random, left) = &mut *state;
        if *left == 0 || !random.random_bool(0.02) {
            return Ok(());
        }
        *left -= 1;
        if random.random_bool(0.4) {
            clock.advance(Duration::from_millis(random.random_range(1..20_000)));
            return Ok(());
        }
        Err(std::io::Error::other(format!(
            "simulated fault at {} {}{}",
            step.operation,
            step.name,
            if step.done { ", after it was done" } else { "" }
        )))
    })
}

/// Runs a part of a job whose options ask for faults with its failure points planned: one of them may crash, some fail. A
/// crash comes out as an error that says so.
pub(crate) fn with_faults<T>(options: &JobOptions, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(seed) = options.simulation_faults else {
        return run();
    };
    let mut random = SmallRng::seed_from_u64(seed ^ 0xFA17);
    let mut crash_in = match random.random_bool(0.6) {
        true => random.random_range(1..400),
        false => u32::MAX,
    };
    let mut errors = random.random_range(0..3);
    let plan = move |_: &'static str| {
        crash_in -= 1;
        if crash_in == 0 {
            crash_in = u32::MAX;
            return Strike::Crash;
        }
        if errors > 0 && random.random_bool(0.01) {
            errors -= 1;
            return Strike::Error;
        }
        Strike::Pass
    };
    let caught = catch_unwind(AssertUnwindSafe(|| failpoint::with_plan(plan, run)));
    caught.unwrap_or_else(|panic| match panic.downcast_ref::<SimulatedCrash>() {
        Some(SimulatedCrash(name)) => Err(Error::Job(format!("{SIMULATED_CRASH} at {name}"))),
        None => resume_unwind(panic),
    })
}

/// How the error of a simulated crash begins.
const SIMULATED_CRASH: &str = "simulated crash";

/// Runs a job to its end.
pub(crate) fn run(
    seed: u64,
    shared: &Arc<Shared>,
    events: Receiver<Event>,
    ledger: CheckpointLedger,
    publisher: Option<Publisher>,
    collector: Option<Collector>,
) -> Result<Ended> {
    let mut random = SmallRng::seed_from_u64(seed ^ 0x5EED);
    let publishing =
        publisher.map(|publisher| Publishing::inline(publisher, shared.events.clone()));
    let mut workers = Vec::new();
    for id in (0..shared.options.parallelism).map(WorkerId) {
        workers.push(guarded(|| Worker::build(id, shared.clone()), || None)?);
    }
    let mut coordinator = Coordinator::new(shared.clone(), events, ledger, publishing, collector);
    let mut still = Duration::ZERO;
    let mut idle = vec![false; workers.len()];
    loop {
        if shared.is_abandoned() {
            return Err(Error::Job("the job was abandoned".to_owned()));
        }
        let turn = random.random_range(0..=workers.len());
        if turn == workers.len() {
            match coordinator.step()? {
                Pace::Finished(outcome) => {
                    let (checkpoints, last) = coordinator.checkpoints();
                    return Ok((outcome, checkpoints, last));
                }
                Pace::Wait(_) => shared
                    .clock
                    .advance(Duration::from_micros(random.random_range(0..500))),
            }
            continue;
        }
        match step(&mut workers[turn])? {
            Step::Worked => {
                idle.fill(false);
                still = Duration::ZERO;
                shared
                    .clock
                    .advance(Duration::from_micros(random.random_range(0..50)));
            }
            Step::Idle => idle[turn] = true,
        }
        if idle.iter().all(|&idle| idle) {
            // Only time can bring something now.
            let pause = Duration::from_millis(random.random_range(1..20));
            shared.clock.advance(pause);
            still += pause;
            idle.fill(false);
            if still > STANDSTILL_MAX && !shared.sources.iter().any(|source| source.is_live()) {
                return Err(Error::Job(format!(
                    "the simulation with seed {seed} stands still"
                )));
            }
        }
    }
}
