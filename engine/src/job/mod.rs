//! A job: what its threads share, how it is started, watched, stopped and waited for.
//!
//! ```text
//!   JobHandle ──▶ supervisor thread: coordinator loop ──▶ workers 0..P (threads), publisher (thread)
//!                     │ ends: shut down, join, savepoint, summary
//!                     ▼
//!                  JobSummary
//! ```
//!
//! # Invariants
//! 1. No thread outlives the job: the supervisor joins the workers and the publisher, the handle joins the supervisor.
//! 2. The folder's lock is held from before the first look at a checkpoint until every thread is gone.
//! 3. After a failure nothing is committed any more.

mod bootstrap;
mod folder;
mod listener;
mod restart;
mod restore;
mod start;
mod supervise;

pub(crate) use folder::{JobFolder, noted_storage};
pub use folder::{give_to, owner_of, storage_settings};
pub use listener::{JobEvent, JobListener};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use tokio::sync::Notify;
use weir_connectors::Sink;
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_state::{CheckpointStore, Restoring, SharedState};
use weir_types::{CheckpointId, Generation, Watermark};

use crate::clock::Clock;
use crate::coordinator::{EpochControl, Event, EventSender, Outputs};
use crate::evolution::Transition;
use crate::evolution::bootstrap::Bootstrap;
use crate::exchange::Channel;
use crate::savepoint::Around;
use crate::source::SharedSource;
use crate::sync::lock;
use crate::topology::Topology;
use crate::worker::WorkerCounters;
use crate::{
    Error, JobMetrics, JobOptions, JobSummary, OutputHandler, Progress, Result, metrics, simulate,
};
use restart::Lives;
pub(crate) use supervise::Ended;

/// What the threads of a job share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) sql: String,
    /// The plan as it was given; goes to the manifest.
    pub(crate) user_plan: StreamPlan,
    /// The plan that runs: with sinks for malformed records.
    pub(crate) plan: StreamPlan,
    pub(crate) topology: Topology,
    pub(crate) options: JobOptions,
    pub(crate) generation: Generation,
    pub(crate) control: EpochControl,
    pub(crate) clock: Arc<Clock>,
    pub(crate) sources: Vec<SharedSource>,
    /// Of a source operator, the sink of its malformed records.
    pub(crate) dead_letters: BTreeMap<usize, usize>,
    /// The sinks of rows that are left out.
    pub(crate) beside: crate::beside::Beside,
    /// By operator.
    pub(crate) sinks: Vec<Option<Box<dyn Sink>>>,
    /// By worker.
    pub(crate) counters: Vec<WorkerCounters>,
    /// Of each exchange (consumer, input) the channels, from × to.
    pub(crate) channels: BTreeMap<(usize, usize), Vec<Arc<Channel>>>,
    /// Wakes worker n.
    pub(crate) wakes: Vec<Arc<Notify>>,
    pub(crate) events: EventSender,
    pub(crate) outputs: Outputs,
    pub(crate) output: OutputHandler,
    pub(crate) state: Arc<SharedState>,
    pub(crate) scratch: PathBuf,
    /// Set where state is computed from state, between an old query and a new one.
    pub(crate) bootstrap: Option<Arc<Bootstrap>>,
    /// `None`: an ephemeral job.
    pub(crate) store: Option<Arc<CheckpointStore>>,
    pub(crate) restore: Option<Restoring>,
    /// Of an edited query: what its state goes on from.
    pub(crate) transition: Option<Transition>,
    /// Edits that the job has gone through, for manifests.
    pub(crate) evolution: serde_json::Value,
    /// Of the restored checkpoint: by operator ID, the watermark of each input.
    pub(crate) restored_watermarks: BTreeMap<String, Vec<Watermark>>,
    /// Of the restored checkpoint: totals to go on with.
    pub(crate) restored_counters: BTreeMap<String, u64>,
    /// Number of the newest checkpoint; 0: none.
    pub(crate) last_checkpoint: AtomicU64,
    /// The one that this start went on from; 0: none.
    restored_checkpoint: u64,
    watermark: AtomicI64,
    stopping: AtomicBool,
    abandoned: AtomicBool,
    warnings: Mutex<Vec<String>>,
}

impl Shared {
    /// Tells the coordinator.
    pub(crate) fn tell(&self, event: Event) {
        self.events.tell(event);
    }

    /// Something that workers wait for may have come.
    pub(crate) fn wake_workers(&self) {
        self.wakes.iter().for_each(|wake| wake.notify_one());
    }

    /// Asks for a stop with a last checkpoint.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.events.wake.notify_one();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire) || self.options.control.is_stopping()
    }

    /// What a savepoint needs to know; `None`: an ephemeral job.
    pub(crate) fn around_savepoint(&self) -> Option<Around> {
        Some(Around {
            store: self.store.clone()?,
            state_dir: self.options.state_dir.clone()?,
            wall_micros: self.clock.wall_micros(),
            retain: self.options.savepoints_retained,
            periodic_dir: self.options.savepoint_dir.clone(),
            settings: self.options.checkpoints.storage_settings.clone(),
            inline: self.options.simulation_seed.is_some(),
        })
    }

    /// The handle was dropped without a wait: leave without a checkpoint.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Asks for an end without a checkpoint.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.events.wake.notify_one();
    }

    /// Whether this start has completed a checkpoint.
    pub(crate) fn completed_a_checkpoint(&self) -> bool {
        self.last_checkpoint.load(Ordering::Acquire) > self.restored_checkpoint
    }

    /// All that the user should know so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).clone()
    }

    /// Something that the user should know.
    pub(crate) fn warn(&self, warning: String) {
        tracing::warn!("{warning}");
        lock(&self.warnings).push(warning);
    }

    /// Chunks are cut so that each gives about one batch: small enough for all workers to have some.
    pub(crate) fn chunk_records_max(&self) -> u64 {
        self.options.batch_rows as u64
    }

    /// The rows of one batch a worker: what budgets of epochs are measured by.
    pub(crate) fn batches(&self) -> u64 {
        self.options.batch_rows as u64 * u64::from(self.options.parallelism)
    }

    /// Watermarks of an operator's inputs to start from.
    pub(crate) fn restored_watermarks(&self, index: usize) -> Vec<Watermark> {
        let operator = &self.plan.operators[index];
        let inputs = operator.inputs.len();
        match self.restored_watermarks.get(operator.id.as_str()) {
            Some(restored) if restored.len() == inputs => restored.clone(),
            _ => vec![Watermark::MIN; inputs],
        }
    }

    /// Takes the sources' watermark of an epoch's end for progress.
    pub(crate) fn note_watermark(&self, epoch: u64) {
        let least = self
            .sources
            .iter()
            .filter(|source| source.has_watermark)
            .filter_map(|source| source.end_of_epoch(epoch)?.watermark)
            .min();
        if let Some(least) = least {
            self.watermark.fetch_max(least.0, Ordering::AcqRel);
        }
    }

    /// The sum of a counter over all workers, with what was before this start. `of`: one operator, or all.
    fn total(&self, kind: &str, of: impl Fn(&WorkerCounters) -> u64) -> u64 {
        let before: u64 = self
            .restored_counters
            .iter()
            .filter(|(name, _)| {
                *name == kind || name.split_once(':').is_some_and(|(first, _)| first == kind)
            })
            .map(|(_, value)| value)
            .sum();
        before + self.counters.iter().map(of).sum::<u64>()
    }

    fn total_of_operator(
        &self,
        kind: &str,
        index: usize,
        of: impl Fn(&WorkerCounters) -> &Vec<AtomicU64>,
    ) -> u64 {
        let name = format!("{kind}:{}", self.plan.operators[index].id);
        let before = self.restored_counters.get(&name).copied().unwrap_or(0);
        before
            + self
                .counters
                .iter()
                .map(|worker| of(worker)[index].load(Ordering::Relaxed))
                .sum::<u64>()
    }

    /// A snapshot of the progress.
    pub(crate) fn progress(&self) -> Progress {
        let sum = |values: &[AtomicU64]| {
            values
                .iter()
                .map(|value| value.load(Ordering::Relaxed))
                .sum::<u64>()
        };
        let mut bytes_total = Some(0);
        let mut bytes_done = 0;
        for source in &self.sources {
            let (done, total) = source.progress();
            bytes_done += done;
            bytes_total = bytes_total.zip(total).map(|(sum, total)| sum + total);
        }
        let watermark = self.watermark.load(Ordering::Acquire);
        let last = self.last_checkpoint.load(Ordering::Acquire);
        Progress {
            rows_in: self.total("records_in", |worker| {
                worker.records_in.load(Ordering::Relaxed)
            }),
            rows_out: self.total("written", |worker| sum(&worker.written)),
            bytes_done,
            bytes_total,
            watermark: (watermark != i64::MIN).then_some(Watermark(watermark)),
            last_checkpoint: (last > 0).then_some(CheckpointId(last)),
            late_rows: self.total("late", |worker| sum(&worker.late)),
            rejected_rows: self.total("rejected", |worker| worker.rejected.load(Ordering::Relaxed)),
            failed_rows: self.total("failed", |worker| worker.failed.load(Ordering::Relaxed)),
            state: self.state.statistics(),
            warnings: lock(&self.warnings).clone(),
        }
    }

    /// Late rows by operator, and rows written by table.
    fn by_operator(&self) -> (Vec<(String, u64)>, Vec<(String, u64)>) {
        let mut late = Vec::new();
        let mut written: Vec<(String, u64)> = Vec::new();
        for (index, operator) in self.plan.operators.iter().enumerate() {
            let rows = self.total_of_operator("late", index, |worker| &worker.late);
            if rows > 0 {
                late.push((operator.id.to_string(), rows));
            }
            if let OperatorKind::Sink { table } = &operator.kind {
                let rows = self.total_of_operator("written", index, |worker| &worker.written);
                match written.iter_mut().find(|(other, _)| other == table) {
                    Some((_, sum)) => *sum += rows,
                    None => written.push((table.clone(), rows)),
                }
            }
        }
        (late, written)
    }
}

/// A job that runs.
pub struct JobHandle {
    lives: Option<Arc<Lives>>,
    thread: Option<JoinHandle<Result<JobSummary>>>,
    /// Of a job that had been drained before: there is nothing to run.
    ended: Option<JobSummary>,
}

impl JobHandle {
    /// Takes the lock, compares with the last checkpoint, restores, starts the workers.
    /// `sql` is the query text for the manifest.
    ///
    /// # Errors
    /// Whatever refuses the start: options, the folder, a changed plan, sources and sinks that cannot be opened.
    pub fn start(
        job: &str,
        sql: &str,
        plan: StreamPlan,
        options: JobOptions,
        output: OutputHandler,
    ) -> Result<Self> {
        let mut folder = None;
        let prepared = simulate::with_faults(&options.clone(), || {
            start::prepare(job, sql, plan, options, output, &mut folder, None)
        })?;
        match prepared {
            start::Prepared::Drained(summary) => Ok(Self {
                lives: None,
                thread: None,
                ended: Some(*summary),
            }),
            start::Prepared::Ready(ready) => {
                let lives = Lives::new(ready.shared.clone());
                let of_thread = lives.clone();
                let control = ready.shared.options.control.clone();
                let thread = std::thread::Builder::new()
                    .name("weir-coordinator".to_owned())
                    .spawn(move || {
                        let options = ready.shared.options.clone();
                        let ended = simulate::with_faults(&options, || {
                            supervise::run(*ready, folder, &of_thread)
                        });
                        control.close(match &ended {
                            Ok(_) => "the job has ended",
                            Err(_) => "the job has failed; its messages say why",
                        });
                        ended
                    })
                    .map_err(|error| {
                        Error::Job(format!("cannot start the coordinator: {error}"))
                    })?;
                Ok(Self {
                    lives: Some(lives),
                    thread: Some(thread),
                    ended: None,
                })
            }
        }
    }

    /// A snapshot of the progress; cheap.
    pub fn progress(&self) -> Progress {
        match (&self.lives, &self.ended) {
            (Some(lives), _) => lives.current().progress(),
            (None, Some(summary)) => summary.progress.clone(),
            (None, None) => Progress::default(),
        }
    }

    /// What each operator has done since this start; cheap.
    pub fn metrics(&self) -> JobMetrics {
        match (&self.lives, &self.ended) {
            (Some(lives), _) => metrics::of_job(&lives.current()),
            (None, Some(summary)) => JobMetrics {
                progress: summary.progress.clone(),
                ..JobMetrics::default()
            },
            (None, None) => JobMetrics::default(),
        }
    }

    /// Asks for a stop with a last checkpoint (Ctrl-C).
    pub fn stop(&self) {
        if let Some(lives) = &self.lives {
            lives.stop();
        }
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Why the job failed.
    pub fn wait(mut self) -> Result<JobSummary> {
        if let Some(thread) = self.thread.take() {
            return thread.join().unwrap_or_else(|_| {
                Err(Error::Job(
                    "the coordinator panicked; this is a mistake in Weir".to_owned(),
                ))
            });
        }
        self.ended
            .take()
            .ok_or_else(|| Error::Job("the job was waited for already".to_owned()))
    }
}

/// Looks at a job that somebody else waits for. It keeps nothing of a job that is over.
#[derive(Clone)]
pub struct JobObserver {
    lives: Option<Weak<Lives>>,
}

impl JobObserver {
    fn lives(&self) -> Option<Arc<Lives>> {
        self.lives.as_ref()?.upgrade()
    }

    /// A snapshot of the progress; nothing of a job that is over.
    pub fn progress(&self) -> Progress {
        self.lives()
            .map(|lives| lives.current().progress())
            .unwrap_or_default()
    }

    /// What each operator has done since this start; nothing of a job that is over.
    pub fn metrics(&self) -> JobMetrics {
        self.lives()
            .map(|lives| metrics::of_job(&lives.current()))
            .unwrap_or_default()
    }

    pub(crate) fn stop(&self) {
        if let Some(lives) = self.lives() {
            lives.stop();
        }
    }

    pub(crate) fn abandon(&self) {
        if let Some(lives) = self.lives() {
            lives.abandon();
        }
    }
}

impl JobHandle {
    /// Looks at this job while another thread waits for its end.
    pub fn observer(&self) -> JobObserver {
        JobObserver {
            lives: self.lives.as_ref().map(Arc::downgrade),
        }
    }
}

impl Drop for JobHandle {
    /// A handle that nobody waits for takes its threads along, without a last checkpoint.
    fn drop(&mut self) {
        if let (Some(lives), Some(thread)) = (&self.lives, self.thread.take()) {
            lives.abandon();
            let _ = thread.join();
        }
    }
}
