//! The supervisor: runs the coordinator, and sees to it that everybody has left before the job is over.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use weir_types::{CheckpointId, WorkerId};

use super::Shared;
use super::folder::JobFolder;
use super::restart::{Lives, RestartPolicy, can_go_back, may_pass};
use super::start::{Again, Prepared, Ready, prepare};
use crate::coordinator::{CheckpointLedger, Coordinator, Event, Pace, Publisher, Publishing};
use crate::failpoint::pass;
use crate::savepoint::{Target, write_of};
use crate::statistics::Collector;
use crate::{
    Error, JobEvent, JobSummary, Outcome, Result, SavepointOrder, metrics, simulate, worker,
};

/// What a finished run says: outcome, checkpoints taken, the last one.
pub(crate) type Ended = (Outcome, u64, Option<CheckpointId>);

/// Runs a job to its end, which may be several starts later.
pub(super) fn run(
    first: Ready,
    mut folder: Option<JobFolder>,
    lives: &Lives,
) -> Result<JobSummary> {
    let mut policy = RestartPolicy::new(first.shared.options.restart);
    let resumed_from = first.resumed_from;
    let mut checkpoints = 0;
    let mut next = first;
    // When the start before failed, and how often in a row it did.
    let mut failed: Option<(Duration, u64)> = None;
    loop {
        let shared = next.shared.clone();
        shared.options.listener.hear(&JobEvent::Running {
            generation: shared.generation,
            restored: next.resumed_from,
            attempt: failed.map(|(_, attempt)| attempt),
            took: shared
                .clock
                .elapsed()
                .saturating_sub(failed.map_or(Duration::ZERO, |(at, _)| at)),
        });
        let mut error = match run_once(next, &mut checkpoints, resumed_from) {
            Ok(summary) => return Ok(summary),
            Err(error) => error,
        };
        if shared.completed_a_checkpoint() {
            policy.forgive();
        }
        if !can_go_back(&shared) {
            return Err(error);
        }
        let failed_at = shared.clock.elapsed();
        next = loop {
            if !may_pass(&error) || lives.is_over() {
                return Err(error);
            }
            let Some((attempt, delay)) = policy.next() else {
                return Err(error);
            };
            shared.warn(format!(
                "the job failed and starts again from its newest checkpoint in {} s (attempt {attempt} of {}): {error}",
                delay.as_secs_f64(),
                policy.attempts()
            ));
            shared.options.listener.hear(&JobEvent::Failed {
                error: &error,
                attempt,
                delay,
            });
            failed = Some((failed_at, attempt));
            if !pause(&shared, lives, delay) {
                return Err(error);
            }
            match start_again(&shared, &mut folder) {
                Ok(Prepared::Ready(ready)) => break *ready,
                // It failed after the checkpoint that ended it was durable: the restore has finished its commits.
                Ok(Prepared::Drained(mut summary)) => {
                    summary.outcome = Outcome::Drained;
                    summary.checkpoints = checkpoints;
                    summary.resumed_from = resumed_from;
                    summary.elapsed = shared.clock.elapsed();
                    return Ok(*summary);
                }
                Err(again) => error = again,
            }
        };
        lives.go_on_with(&next.shared);
    }
}

/// Waits for the time of a restart; false if nobody wants it any more.
fn pause(shared: &Shared, lives: &Lives, delay: Duration) -> bool {
    if shared.options.simulation_seed.is_some() {
        shared.clock.advance(delay);
        return !lives.is_over();
    }
    let until = shared.clock.elapsed() + delay;
    while !lives.is_over() {
        let left = until.saturating_sub(shared.clock.elapsed());
        if left.is_zero() {
            return true;
        }
        std::thread::park_timeout(left.min(Duration::from_millis(20)));
    }
    false
}

/// Prepares another start of the same job, under the same lock and clock.
fn start_again(shared: &Shared, folder: &mut Option<JobFolder>) -> Result<Prepared> {
    pass("engine.restart.before")?;
    let mut options = shared.options.clone();
    // What these asked for has been done.
    options.fresh = false;
    options.restore_from = None;
    prepare(
        &shared.name,
        &shared.sql,
        shared.user_plan.clone(),
        options,
        shared.output.clone(),
        folder,
        Some(Again {
            clock: shared.clock.clone(),
            warnings: shared.warnings(),
        }),
    )
}

/// One start, to its end. `checkpoints` counts on.
fn run_once(
    ready: Ready,
    checkpoints: &mut u64,
    resumed_from: Option<CheckpointId>,
) -> Result<JobSummary> {
    let Ready {
        shared,
        events,
        ledger,
        publisher,
        collector,
        resumed_from: _,
    } = ready;
    let ended = match shared.options.simulation_seed {
        Some(seed) => simulate::run(seed, &shared, events, ledger, publisher, collector),
        None => run_threads(&shared, events, ledger, publisher, collector),
    };
    let summary = ended.and_then(|(outcome, taken, last)| {
        *checkpoints += taken;
        let checkpoints = *checkpoints;
        write_savepoint(&shared, last)?;
        if outcome == Outcome::Stopped {
            delete_on_cancel(&shared)?;
        }
        let (late, written) = shared.by_operator();
        Ok(JobSummary {
            outcome,
            progress: shared.progress(),
            elapsed: shared.clock.elapsed(),
            resumed_from,
            checkpoints,
            late,
            written,
            operators: metrics::of_operators(&shared),
            finished_at_micros: None,
        })
    });
    // Databases are of no worth any more; what counts is in the checkpoints. What cannot be removed is litter, and the
    // next start clears it.
    if shared.scratch.exists() {
        let _ = std::fs::remove_dir_all(&shared.scratch);
    }
    summary
}

/// 'checkpoint.on-cancel' = 'delete': after a stop on request nothing is kept. The last checkpoint was taken all the same:
/// the sinks have committed all that was read.
fn delete_on_cancel(shared: &Shared) -> Result<()> {
    let (true, true, Some(store)) = (
        shared.options.checkpoints.delete_on_cancel,
        shared.is_stopping(),
        &shared.store,
    ) else {
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Error::Job(format!("cannot delete the checkpoints: {error}")))?;
    runtime.block_on(store.clear())?;
    shared
        .last_checkpoint
        .store(0, std::sync::atomic::Ordering::Release);
    shared.warn(
        "the checkpoints were deleted, as 'checkpoint.on-cancel' = 'delete' says: the next start begins at the beginning"
            .to_owned(),
    );
    Ok(())
}

pub(super) fn run_threads(
    shared: &Arc<Shared>,
    events: Receiver<Event>,
    ledger: CheckpointLedger,
    publisher: Option<Publisher>,
    collector: Option<Collector>,
) -> Result<Ended> {
    let publishing = publisher
        .map(|publisher| Publishing::thread(publisher, shared.events.clone()))
        .transpose()?;
    let mut workers = Vec::new();
    let mut spawned = Ok(());
    for id in (0..shared.options.parallelism).map(WorkerId) {
        let job = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("weir-worker-{id}"))
            .spawn(move || worker::run_thread(id, &job));
        match thread {
            Ok(thread) => workers.push(thread),
            Err(error) => spawned = Err(Error::Job(format!("cannot start worker {id}: {error}"))),
        }
    }
    let mut coordinator = Coordinator::new(shared.clone(), events, ledger, publishing, collector);
    let ended = spawned.and_then(|()| coordinate(shared, &mut coordinator));
    let (checkpoints, last) = coordinator.checkpoints();
    shared.control.shut_down();
    shared.wake_workers();
    for thread in workers {
        // A panic was caught inside and told; what is left cannot be more than a repetition.
        let _ = thread.join();
    }
    // Waits for the publisher.
    drop(coordinator);
    Ok((ended?, checkpoints, last))
}

fn coordinate(shared: &Arc<Shared>, coordinator: &mut Coordinator) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Error::Job(format!("cannot start the coordinator: {error}")))?;
    loop {
        if shared.is_abandoned() {
            return Err(Error::Job("the job was abandoned".to_owned()));
        }
        match coordinator.step()? {
            Pace::Finished(outcome) => return Ok(outcome),
            Pace::Wait(limit) => wait(&runtime, shared, limit),
        }
    }
}

fn wait(runtime: &tokio::runtime::Runtime, shared: &Shared, limit: Duration) {
    runtime.block_on(async {
        // Woken or not, the next step finds out.
        let _ = tokio::time::timeout(limit, shared.events.wake.notified()).await;
    });
}

fn write_savepoint(shared: &Shared, last: Option<CheckpointId>) -> Result<()> {
    let around = shared.around_savepoint();
    shared.options.control.write_at_end(last, around.clone());
    let Some(folder) = &shared.options.savepoint else {
        return Ok(());
    };
    let (Some(around), Some(last)) = (around, last) else {
        return Err(Error::Job(
            "[S0030] a job that keeps no state has no savepoint: give it an INSERT into a table"
                .to_owned(),
        ));
    };
    let order = SavepointOrder {
        folder: Some(folder.clone()),
        ..SavepointOrder::default()
    };
    let target = Target::new(&around.state_dir, last, &order)?;
    write_of(
        &around.store,
        last,
        &around.state_dir,
        target,
        around.wall_micros,
        &around.settings,
    )?;
    Ok(())
}
