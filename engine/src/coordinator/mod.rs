//! The coordinator: ends epochs, gathers checkpoints, notices the end.
//!
//! ```text
//!   pacer: is the epoch due? ─┐                         ┌─ every worker: EpochDone ─▶ through ─▶ printed rows go out
//!   ledger: a checkpoint too? ├─▶ close(epoch, number) ─┤
//!   stop, end of input?       ┘                         └─ every worker: Snapshot ─▶ manifest ─▶ commits
//! ```
//!
//! Like a worker it is stepped: a thread drives it, or the simulation.
//!
//! # Invariants
//! 1. An epoch is closed only after the one before came through on every worker.
//! 2. The last epoch ends with a checkpoint (unless the job is ephemeral); the job is over when that is published.
//! 3. After a failure nothing is committed: the coordinator leaves at once.

mod bootstrap;
mod checkpoint;
mod control;
mod output;
mod pacer;
mod publish;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::Value;
use tokio::sync::Notify;
use weir_state::{MANIFEST_FORMAT_VERSION, Manifest, WorkerSnapshot};
use weir_types::{CheckpointId, OperatorId, Watermark, WorkerId};

pub(crate) use checkpoint::{CheckpointLedger, Rules};
use checkpoint::{Complete, Dropped};
pub(crate) use control::EpochControl;
use control::EpochFacts;
pub(crate) use output::Outputs;
use pacer::Pacer;
pub(crate) use pacer::first_budget;
use publish::Order;
pub(crate) use publish::{Published, Publisher, Publishing};

use crate::failpoint::pass;
use crate::job::Shared;
use crate::source::{SharedSource, SourceCheckpoint};
use crate::statistics::{Collector, Ending, OperatorFigures};
use crate::views::ViewRead;
use crate::{Error, Outcome, Result};

/// What workers and the publisher tell the coordinator.
pub(crate) enum Event {
    EpochDone(Box<EpochReport>),
    Snapshot {
        worker: WorkerId,
        checkpoint: CheckpointId,
        result: Box<weir_state::Result<WorkerSnapshot>>,
    },
    Published(Published),
    Failed(Error),
}

/// A worker has completed an epoch. All but the first field are for checkpoints.
pub(crate) struct EpochReport {
    pub(crate) epoch: u64,
    pub(crate) worker: WorkerId,
    /// What sinks prepared.
    pub(crate) prepared: BTreeMap<OperatorId, Value>,
    /// Watermark of each input.
    pub(crate) watermarks: BTreeMap<OperatorId, Vec<Watermark>>,
    pub(crate) counters: BTreeMap<String, u64>,
    /// By operator of the plan.
    pub(crate) figures: Vec<OperatorFigures>,
    /// The first moment of processing time at which an operator has something to do.
    pub(crate) due: Option<i64>,
}

/// Tells the coordinator and wakes it.
#[derive(Clone)]
pub(crate) struct EventSender {
    pub(crate) sender: Sender<Event>,
    pub(crate) wake: Arc<Notify>,
}

impl EventSender {
    pub(crate) fn tell(&self, event: Event) {
        // The coordinator is gone when the job is over: then nobody wants to know.
        let _ = self.sender.send(event);
        self.wake.notify_one();
    }
}

/// What a step of the coordinator came to.
#[derive(Debug)]
pub(crate) enum Pace {
    /// Look again after this time, or when told something.
    Wait(Duration),
    /// The job is over.
    Finished(Outcome),
}

/// See the module.
pub(crate) struct Coordinator {
    job: Arc<Shared>,
    events: Receiver<Event>,
    pacer: Pacer,
    ledger: CheckpointLedger,
    publishing: Option<Publishing>,
    /// Records of checkpoints; `None`: an ephemeral job.
    collector: Option<Collector>,
    /// What the manifests of checkpoints under way say beside their parts.
    cuts: BTreeMap<CheckpointId, Cut>,
    /// The open epoch: the next one to be closed.
    epoch: u64,
    closing: Option<Closing>,
    /// Set when the last epoch was closed.
    ending: Option<Outcome>,
    ending_through: bool,
    /// The first moment of processing time at which an operator of any worker has something to do.
    due: Option<i64>,
    /// Where state is computed from state: the epoch that is closing ends a phase.
    ends_phase: bool,
}

/// What belongs to the place in the streams where a checkpoint's barrier is.
#[derive(Default)]
struct Cut {
    watermarks: BTreeMap<OperatorId, Vec<Watermark>>,
    counters: BTreeMap<String, u64>,
    sources: SourceCheckpoint,
    processing_time: i64,
    /// It ends a job whose inputs have ended.
    drained: bool,
}

struct Closing {
    at: Duration,
    checkpoint: Option<CheckpointId>,
    done: usize,
    due: Option<i64>,
}

/// Nothing to do: look again after this time at the latest.
const WAIT_MAX: Duration = Duration::from_millis(100);

impl Coordinator {
    pub(crate) fn new(
        job: Arc<Shared>,
        events: Receiver<Event>,
        ledger: CheckpointLedger,
        publishing: Option<Publishing>,
        collector: Option<Collector>,
    ) -> Self {
        let seed = job.options.simulation_seed.or(job.options.test_cuts);
        let random = seed.map(SmallRng::seed_from_u64);
        job.options.control.attach(&job.events.wake);
        let entries = job.control.shares(1).len();
        let pacer = Pacer::new(job.options.epoch_interval, entries, job.batches(), random);
        // What restored operators wait for is known at the end of an epoch: there is one at once.
        let has_timers = crate::operators::by_clock(&job.plan).contains(&true);
        let due = (job.restore.is_some() && has_timers).then_some(i64::MIN);
        Self {
            job,
            events,
            pacer,
            ledger,
            publishing,
            collector,
            cuts: BTreeMap::new(),
            epoch: 1,
            closing: None,
            ending: None,
            ending_through: false,
            due,
            ends_phase: false,
        }
    }

    /// Takes in what was told and decides what follows.
    pub(crate) fn step(&mut self) -> Result<Pace> {
        while let Ok(event) = self.events.try_recv() {
            self.take(event)?;
        }
        let now = self.job.clock.elapsed();
        for expired in self.ledger.expire(now) {
            if let Some(store) = &self.job.store {
                store.give_up(expired);
            }
        }
        while let Some(complete) = self.ledger.complete(now) {
            match complete {
                Ok(complete) => self.publish(complete)?,
                Err(dropped) => self.on_dropped(&dropped)?,
            }
            // An inline publisher has answered already.
            while let Ok(event) = self.events.try_recv() {
                self.take(event)?;
            }
        }
        let now = self.job.clock.elapsed();
        if let Some(outcome) = self.ending {
            let over = self.ending_through && self.ledger.is_free();
            return Ok(if over {
                Pace::Finished(outcome)
            } else {
                Pace::Wait(WAIT_MAX)
            });
        }
        if self.closing.is_none() {
            match self.job.bootstrap.is_some() {
                true => self.decide_computed(now, self.facts())?,
                false => self.decide(now)?,
            }
        }
        Ok(Pace::Wait(self.pause(now)))
    }

    /// How long nothing can be due. Dealers and workers wake the coordinator for everything else.
    fn pause(&self, now: Duration) -> Duration {
        let mut wait = WAIT_MAX;
        if self.closing.is_none() {
            let facts = self.facts();
            if facts.records > 0 || facts.news {
                wait = wait.min(self.pacer.wait(now));
            }
            if let Some(due) = self.due {
                let micros = due.saturating_sub(self.job.clock.wall_micros()).max(0);
                wait = wait.min(Duration::from_micros(micros as u64));
            }
            if let Some(checkpoint) = self.ledger.due_in(now) {
                wait = wait.min(checkpoint);
            }
        }
        if let Some(expires) = self.ledger.expires_in(now) {
            wait = wait.min(expires);
        }
        wait.max(Duration::from_micros(200))
    }

    /// What is known of the open epoch; a timer that is due is news.
    fn facts(&self) -> EpochFacts {
        let mut facts = self.job.control.facts(self.epoch);
        let now = self.job.clock.wall_micros();
        facts.news |= self.due.is_some_and(|due| due <= now);
        facts
    }

    /// Closes the open epoch if there is reason to.
    fn decide(&mut self, now: Duration) -> Result<()> {
        if self.job.options.control.is_draining() {
            for source in self.job.sources.iter().filter(|source| !source.has_ended()) {
                source.drain(&self.job.control);
            }
        }
        let drained = self.job.sources.iter().all(SharedSource::has_ended);
        // With `--stop-after TABLE=…` bounded sources are read to their end, but an unbounded one would never get there.
        let limited = self.job.sources.iter().any(|source| source.limit.is_some());
        let done = self.job.sources.iter().all(|source| {
            source.is_done() || (limited && source.limit.is_none() && !source.source.bounded())
        });
        let over = drained || done || self.job.is_stopping();
        pass("engine.coordinator.decide")?;
        // What was dealt is looked at after whether all was: the other way round, the last records may come in between, and the
        // job would end without a checkpoint of them.
        let facts = self.facts();
        if over {
            // A checkpoint in the making is finished first: the last one comes after it.
            if self.job.store.is_none() || self.ledger.is_free() {
                let outcome = if drained {
                    Outcome::Drained
                } else {
                    Outcome::Stopped
                };
                let nothing_new = facts.records == 0 && !facts.news && !self.ledger.has_unsaved();
                let save = self.job.store.is_some()
                    && (drained
                        || !nothing_new
                        || (self.wants_savepoint_at_end() && self.ledger.last.is_none()));
                self.ending = Some(outcome);
                self.job.control.finish_with(self.epoch);
                self.close(now, facts, save);
            }
            return Ok(());
        }
        let open_rows = facts.records > 0 || facts.news;
        let checkpoint = self.job.store.is_some()
            && (self.ledger.is_due(now, open_rows) || self.is_asked(now, open_rows));
        if facts.pressed {
            self.pacer.on_memory_pressure();
        }
        let asked = checkpoint || self.job.options.control.wants_view();
        if self.pacer.is_due(now, facts) || (asked && !open_rows) {
            self.close(now, facts, checkpoint);
        }
        Ok(())
    }

    /// Whether somebody wants a savepoint, for which a checkpoint may begin now.
    fn is_asked(&self, now: Duration, open_rows: bool) -> bool {
        let options = &self.job.options;
        let news = open_rows || self.ledger.has_unsaved();
        let wanted = options
            .control
            .wants_checkpoint(now, options.savepoint_interval, news);
        wanted && self.ledger.is_free()
    }

    fn wants_savepoint_at_end(&self) -> bool {
        self.job.options.savepoint.is_some() || self.job.options.control.wants_at_end()
    }

    /// The views that somebody wants to read. Where state is computed from state they are not what they will be.
    fn reads(&self) -> Vec<Arc<ViewRead>> {
        if self.job.bootstrap.is_some() {
            return Vec::new();
        }
        let last = self.ending.is_some();
        let requests = self.job.options.control.take_view_requests(last);
        let reads = requests
            .into_iter()
            .filter_map(|request| ViewRead::begin(&self.job.plan, request));
        reads.collect()
    }

    fn close(&mut self, now: Duration, facts: EpochFacts, checkpoint: bool) {
        let wall_micros = self.job.clock.wall_micros();
        let checkpoint = checkpoint.then(|| self.ledger.begin(now));
        if let (Some(checkpoint), Some(store)) = (checkpoint, &self.job.store) {
            self.job.options.control.on_begin(checkpoint, store);
        }
        if let (Some(checkpoint), Some(collector)) = (checkpoint, &mut self.collector) {
            collector.begin(checkpoint, wall_micros, now);
        }
        self.pacer.on_close(now, facts);
        let reads = self.reads();
        self.job.control.read_at(self.epoch, reads);
        self.job.control.close(self.epoch, checkpoint, wall_micros);
        self.closing = Some(Closing {
            at: now,
            checkpoint,
            done: 0,
            due: None,
        });
        self.job.wake_workers();
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Failed(error) => Err(error),
            Event::EpochDone(report) => self.on_epoch_done(*report),
            Event::Snapshot {
                worker,
                checkpoint,
                result,
            } => {
                let result = result.map_err(|error| error.to_string());
                self.ledger.on_snapshot(worker, checkpoint, result);
                Ok(())
            }
            Event::Published(Published::Done(checkpoint)) => {
                let now = self.job.clock.elapsed();
                self.ledger.on_published(true, now);
                self.job
                    .last_checkpoint
                    .store(checkpoint.0, Ordering::Release);
                if let Some(around) = self.job.around_savepoint() {
                    self.job.options.control.on_published(checkpoint, around);
                }
                if let Some(collector) = &mut self.collector {
                    collector.on_end(checkpoint, Ending::Completed, None, now);
                }
                Ok(())
            }
            Event::Published(Published::NotWritten(checkpoint, reason)) => {
                let now = self.job.clock.elapsed();
                self.ledger.on_published(false, now);
                self.on_dropped(&Dropped {
                    checkpoint,
                    reason,
                    expired: false,
                })
            }
            Event::Published(Published::CommitFailed(error)) => Err(error),
        }
    }

    /// A failed checkpoint aborts nothing, unless it was the last one, or one too many.
    fn on_dropped(&mut self, dropped: &Dropped) -> Result<()> {
        let Dropped {
            checkpoint,
            reason,
            expired,
        } = dropped;
        self.cuts.remove(checkpoint);
        if let Some(store) = &self.job.store {
            let control = &self.job.options.control;
            control.on_failed(Some(*checkpoint), reason, store);
        }
        if let Some(collector) = &mut self.collector {
            let ending = match expired {
                true => Ending::Expired,
                false => Ending::Failed,
            };
            collector.on_end(
                *checkpoint,
                ending,
                Some(reason.clone()),
                self.job.clock.elapsed(),
            );
        }
        if self.ending.is_some() {
            return Err(Error::Checkpoint(format!(
                "the last checkpoint failed: {reason}"
            )));
        }
        if self.ledger.is_beyond_tolerance() {
            return Err(Error::Checkpoint(format!(
                "checkpoint {checkpoint} failed: {reason}; 'checkpoint.tolerable-failures' allows no more of them in a row"
            )));
        }
        self.job.warn(format!(
            "checkpoint {checkpoint} failed and is taken up by the next one: {reason}"
        ));
        Ok(())
    }

    fn on_epoch_done(&mut self, report: EpochReport) -> Result<()> {
        let Some(closing) = &mut self.closing else {
            return Err(Error::Job(
                "a worker completed an epoch that was not closed".to_owned(),
            ));
        };
        debug_assert_eq!(report.epoch, self.epoch);
        closing.done += 1;
        closing.due = closing.due.into_iter().chain(report.due).min();
        if let Some(checkpoint) = closing.checkpoint {
            if let Some(collector) = &mut self.collector {
                let now = self.job.clock.elapsed();
                collector.on_aligned(checkpoint, report.worker, &report.figures, now);
            }
            let cut = self.cuts.entry(checkpoint).or_default();
            for (operator, inputs) in report.watermarks {
                let least = cut
                    .watermarks
                    .entry(operator)
                    .or_insert_with(|| inputs.clone());
                least
                    .iter_mut()
                    .zip(inputs)
                    .for_each(|(least, other)| *least = (*least).min(other));
            }
            for (name, value) in report.counters {
                *cut.counters.entry(name).or_default() += value;
            }
            self.ledger.on_aligned(report.prepared);
        }
        if closing.done == self.job.options.parallelism as usize {
            self.on_through()?;
        }
        Ok(())
    }

    /// The epoch came through on all workers.
    fn on_through(&mut self) -> Result<()> {
        let Some(closing) = self.closing.take() else {
            return Ok(());
        };
        let now = self.job.control.now(self.epoch).0;
        // SQL sees the clock in whole milliseconds, and what was due by this epoch's has been done.
        let next = |due: i64| due.max(now.saturating_add(1)).saturating_add(999);
        self.due = closing
            .due
            .map(|due| next(due).div_euclid(1000).saturating_mul(1000));
        if let Some(checkpoint) = closing.checkpoint {
            let cut = self.cuts.entry(checkpoint).or_default();
            cut.sources = self
                .job
                .sources
                .iter()
                .map(|source| (source.id.to_string(), source.checkpoint(self.epoch)))
                .collect();
            cut.processing_time = now;
            cut.drained = self.ending == Some(Outcome::Drained);
            if let Some(bootstrap) = &self.job.bootstrap {
                bootstrap.fill_cut(&mut cut.sources, &mut cut.watermarks);
            }
        } else {
            self.ledger.on_epoch();
        }
        self.job.note_watermark(self.epoch);
        let flush = self.job.clock.elapsed().saturating_sub(closing.at);
        let shares = self.job.control.shares(self.epoch);
        self.pacer.on_through(flush, &shares);
        self.job.control.through(self.epoch, self.pacer.budgets());
        if self
            .job
            .outputs
            .release(self.epoch, &self.job.output)
            .is_break()
        {
            self.job.stop();
        }
        self.on_through_computed();
        if self.ending.is_some() {
            self.ending_through = true;
        } else {
            self.epoch += 1;
        }
        self.job.wake_workers();
        Ok(())
    }

    fn publish(&mut self, complete: Complete) -> Result<()> {
        let json = |what: &str, value: serde_json::Result<Value>| {
            value.map_err(|error| {
                Error::Job(format!("cannot write {what} to the manifest: {error}"))
            })
        };
        let cut = self.cuts.remove(&complete.checkpoint).unwrap_or_default();
        if let Some(collector) = &mut self.collector {
            let now = self.job.clock.elapsed();
            collector.on_ready(complete.checkpoint, &complete.snapshots, now);
        }
        let mut counters = self.job.restored_counters.clone();
        for (name, value) in &cut.counters {
            *counters.entry(name.clone()).or_default() += value;
        }
        let manifest = Manifest {
            format_version: MANIFEST_FORMAT_VERSION,
            job: self.job.name.clone(),
            generation: self.job.generation,
            checkpoint: complete.checkpoint,
            processing_time: cut.processing_time,
            sql: self.job.sql.clone(),
            plan: json("the plan", serde_json::to_value(&self.job.user_plan))?,
            parallelism: self.job.options.parallelism,
            key_groups: self.job.options.key_groups,
            backend: self.job.options.backend,
            tables: match &self.job.bootstrap {
                Some(bootstrap) => bootstrap.tables.clone(),
                None => crate::operators::table_specs(&self.job.plan),
            },
            workers: complete.snapshots,
            sources: json("positions", serde_json::to_value(&cut.sources))?,
            watermarks: json("watermarks", serde_json::to_value(&cut.watermarks))?,
            sinks: json("sinks", serde_json::to_value(&complete.parts))?,
            drained: cut.drained,
            counters: json("counters", serde_json::to_value(&counters))?,
            evolution: self.job.evolution.clone(),
        };
        if let Some(publishing) = &mut self.publishing {
            publishing.send(Order {
                oldest_in_flight: self.ledger.oldest_in_flight(manifest.checkpoint),
                manifest,
                parts: complete.parts,
            });
        }
        Ok(())
    }

    /// Checkpoints published by this start, and the last one.
    pub(crate) fn checkpoints(&self) -> (u64, Option<CheckpointId>) {
        (self.ledger.published, self.ledger.last)
    }
}
