//! The supervisor: runs the coordinator, and sees to it that everybody has left before the job is over.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use weir_types::{CheckpointId, WorkerId};

use super::Shared;
use super::start::Ready;
use crate::coordinator::{CheckpointLedger, Coordinator, Event, Pace, Publisher, Publishing};
use crate::savepoint::{Target, write_of};
use crate::{Error, JobSummary, Outcome, Result, SavepointOrder, simulate, worker};

/// What a finished run says: outcome, checkpoints taken, the last one.
pub(crate) type Ended = (Outcome, u64, Option<CheckpointId>);

/// Runs a job to its end.
pub(super) fn run(ready: Ready) -> Result<JobSummary> {
    let Ready {
        shared,
        events,
        ledger,
        publisher,
        resumed_from,
        folder,
    } = ready;
    let ended = match shared.options.simulation_seed {
        Some(seed) => simulate::run(seed, &shared, events, ledger, publisher),
        None => run_threads(&shared, events, ledger, publisher),
    };
    let summary = ended.and_then(|(outcome, checkpoints, last)| {
        write_savepoint(&shared, last)?;
        let (late, written) = shared.by_operator();
        Ok(JobSummary {
            outcome,
            progress: shared.progress(),
            elapsed: shared.clock.elapsed(),
            resumed_from,
            checkpoints,
            late,
            written,
            finished_at_micros: None,
        })
    });
    // Databases are of no worth any more; what counts is in the checkpoints. What cannot be removed is litter, and the
    // next start clears it.
    if shared.scratch.exists() {
        let _ = std::fs::remove_dir_all(&shared.scratch);
    }
    drop(folder);
    summary
}

fn run_threads(
    shared: &Arc<Shared>,
    events: Receiver<Event>,
    ledger: CheckpointLedger,
    publisher: Option<Publisher>,
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
    let mut coordinator = Coordinator::new(shared.clone(), events, ledger, publishing);
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
    )?;
    Ok(())
}
