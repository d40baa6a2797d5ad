//! The whole job on one thread: paused time, and one seed that decides every interleaving.
//!
//! ```text
//!   loop:  draw worker 0..P or the coordinator ─▶ step it ─▶ nobody has anything to do? move the clock
//! ```
//!
//! The same workers, coordinator and publisher as on threads; only who runs next is drawn. Nothing else in a job depends
//! on the machine's time or on chance, so one seed replays one run.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_types::WorkerId;

use crate::coordinator::{CheckpointLedger, Coordinator, Event, Pace, Publisher, Publishing};
use crate::job::{Ended, Shared};
use crate::worker::{Step, Worker, guarded, step};
use crate::{Error, Result};

/// Without a step that did something for so long (in virtual time), the job hangs: a mistake of ours.
const STANDSTILL_MAX: Duration = Duration::from_secs(3600);

/// Runs a job to its end.
pub(crate) fn run(
    seed: u64,
    shared: &Arc<Shared>,
    events: Receiver<Event>,
    ledger: CheckpointLedger,
    publisher: Option<Publisher>,
) -> Result<Ended> {
    let mut random = SmallRng::seed_from_u64(seed ^ 0x5EED);
    let publishing =
        publisher.map(|publisher| Publishing::inline(publisher, shared.events.clone()));
    let mut workers = Vec::new();
    for id in (0..shared.options.parallelism).map(WorkerId) {
        workers.push(guarded(|| Worker::build(id, shared.clone()), || None)?);
    }
    let mut coordinator = Coordinator::new(shared.clone(), events, ledger, publishing);
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
