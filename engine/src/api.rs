//! INTERFACE SKETCH between the job runtime and its callers (CLI, tests). The runtime's implementer moves it to modules.
#![allow(missing_docs, unused_variables, clippy::todo)]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use weir_planner::plan::StreamPlan;
use weir_types::{ChangeBatch, CheckpointId};

use crate::Result;

/// How to run a job: from `SET` (plan.settings), overridden by flags. Parsed and validated by `JobOptions::resolve`.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// Number of workers; default: the machine's cores.
    pub parallelism: u32,
    /// 'state.dir'; default `.weir/JOB`. `None`: ephemeral (no folder, no checkpoint, no lock).
    pub state_dir: Option<PathBuf>,
    /// 'state.memory' in bytes. Default 512 MiB.
    pub state_memory: usize,
    /// 'state.backend'.
    pub backend: weir_state::BackendKind,
    /// 'checkpoint.interval'. Default 10 s.
    pub checkpoint_interval: Duration,
    /// 'checkpoint.retain'. Default 3.
    pub checkpoints_retained: usize,
    /// 'epoch.interval'. Default 10 ms.
    pub epoch_interval: Duration,
    /// 'key.groups'. Default 128; fixed at the first start.
    pub key_groups: u16,
    /// 'batch.rows'. Default 8192.
    pub batch_rows: usize,
    /// Folder that relative paths of tables start from.
    pub base: PathBuf,
    /// The query file (canonical path), recorded in the state folder as its owner.
    pub file: Option<PathBuf>,
    pub fresh: bool,
    pub replace_output: bool,
    /// `--stop-after [TABLE=]ROWS`.
    pub stop_after: Vec<(Option<String>, u64)>,
    /// `--savepoint DIR`: write one at the (regular or --stop-after) end.
    pub savepoint: Option<PathBuf>,
    /// `--from DIR`: start from this savepoint instead of the job's last checkpoint.
    pub restore_from: Option<PathBuf>,
    /// Run everything on one thread, with paused time, the interleaving decided by this seed (tests).
    pub simulation_seed: Option<u64>,
}
impl JobOptions {
    /// Defaults for a job of that name, with the plan's settings applied.
    pub fn resolve(plan: &StreamPlan, job: &str) -> Result<Self> { todo!() }
}

/// A bare SELECT's rows reach the caller through this, one call per epoch and output operator, in epoch order.
pub type OutputHandler = Arc<dyn Fn(OutputEvent) -> std::ops::ControlFlow<()> + Send + Sync>;
pub struct OutputEvent {
    /// Index of the `Output` operator in the plan.
    pub operator: usize,
    pub changes: Vec<ChangeBatch>,
}

/// A job that runs.
pub struct JobHandle { /* … */ }
impl JobHandle {
    /// Takes the lock, compares with the last checkpoint, restores, starts the workers.
    /// `sql` is the query text for the manifest.
    pub fn start(job: &str, sql: &str, plan: StreamPlan, options: JobOptions, output: OutputHandler) -> Result<Self> { todo!() }
    /// A snapshot of the progress; cheap.
    pub fn progress(&self) -> Progress { todo!() }
    /// Asks for a stop with a last checkpoint (Ctrl-C).
    pub fn stop(&self) { todo!() }
    /// Whether it has ended.
    pub fn is_finished(&self) -> bool { todo!() }
    /// Waits for the end.
    pub fn wait(self) -> Result<JobSummary> { todo!() }
}

#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub rows_in: u64,
    pub rows_out: u64,
    pub bytes_done: u64,
    pub bytes_total: Option<u64>,
    pub watermark: Option<weir_types::Watermark>,
    pub last_checkpoint: Option<CheckpointId>,
    pub late_rows: u64,
    pub rejected_rows: u64,
    pub state: weir_state::StateStatistics,
    pub warnings: Vec<String>,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub struct JobSummary {
    pub outcome: Outcome,
    pub progress: Progress,
    pub elapsed: Duration,
    pub resumed_from: Option<CheckpointId>,
    pub checkpoints: u64,
    /// Late rows by operator ID.
    pub late: Vec<(String, u64)>,
    /// Rows written by sink table.
    pub written: Vec<(String, u64)>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All bounded inputs reached their end.
    Drained,
    /// It had been drained before: nothing to do (`finished at …`).
    AlreadyDrained,
    /// Stopped on request, with a checkpoint.
    Stopped,
}
