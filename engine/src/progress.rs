//! What a job tells about itself while it runs and at its end.

use std::sync::Arc;
use std::time::Duration;

use weir_types::{ChangeBatch, CheckpointId, Watermark};

/// A bare SELECT's rows reach the caller through this, one call per epoch and output operator, in epoch order.
/// `Break`: nobody reads any more, and the job stops.
pub type OutputHandler = Arc<dyn Fn(OutputEvent) -> std::ops::ControlFlow<()> + Send + Sync>;

/// The rows that an `Output` operator gave in one epoch.
pub struct OutputEvent {
    /// Index of the `Output` operator in the plan.
    pub operator: usize,
    /// The changes, of all workers.
    pub changes: Vec<ChangeBatch>,
}

/// How far a job is. Totals go on after a resume.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Records read, malformed ones included.
    pub rows_in: u64,
    /// Rows given to sinks and printed.
    pub rows_out: u64,
    /// Input done: bytes, or rows of a generator.
    pub bytes_done: u64,
    /// Input in all, if every source knows it.
    pub bytes_total: Option<u64>,
    /// The least watermark of the sources that have one.
    pub watermark: Option<Watermark>,
    /// The newest whole checkpoint.
    pub last_checkpoint: Option<CheckpointId>,
    /// Rows dropped because they came late.
    pub late_rows: u64,
    /// Malformed records that were skipped or kept elsewhere.
    pub rejected_rows: u64,
    /// Rows in which an expression failed, and which `'row.error' = 'skip'` left out.
    pub failed_rows: u64,
    /// Memory, spilled and reloaded entries.
    pub state: weir_state::StateStatistics,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub struct JobSummary {
    /// Why it ended.
    pub outcome: Outcome,
    /// The last progress.
    pub progress: Progress,
    /// Since this start.
    pub elapsed: Duration,
    /// The checkpoint that this start went on from.
    pub resumed_from: Option<CheckpointId>,
    /// Checkpoints taken since this start.
    pub checkpoints: u64,
    /// Late rows by operator ID.
    pub late: Vec<(String, u64)>,
    /// Rows written by sink table.
    pub written: Vec<(String, u64)>,
    /// What each operator did since this start, in the plan's order.
    pub operators: Vec<crate::OperatorMetrics>,
    /// Processing time of the last checkpoint of a job that had been drained before, microseconds since the epoch.
    pub finished_at_micros: Option<i64>,
}

/// Why a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All bounded inputs reached their end.
    Drained,
    /// It had been drained before: nothing to do (`finished at …`).
    AlreadyDrained,
    /// Stopped on request, with a checkpoint.
    Stopped,
}
