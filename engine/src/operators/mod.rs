//! One operator, one file. The runtime calls them; they know nothing of threads, channels or checkpoints.
#![allow(missing_docs, unused_variables, clippy::todo)]
use weir_planner::plan::StreamPlan;
use weir_types::{ChangeBatch, OperatorId, ProcessingTime, Watermark};

use crate::Result;

/// Whether an operator has more to give before it can take new input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Ready for the next input.
    Done,
    /// Holds more output: `resume` it (when there is room) before anything else.
    More,
}

/// What an operator sees of the world during a call.
pub struct OperatorContext {
    /// The batch given by this call; at most one. The runtime takes it after each call.
    pub output: Option<ChangeBatch>,
    /// The epoch's processing time.
    pub now: ProcessingTime,
    /// Counts late rows dropped by this operator on this worker.
    pub late_rows: u64,
    /// Most rows that a batch should have.
    pub batch_rows: usize,
}
impl OperatorContext {
    /// Gives a batch to the consumers. Empty batches are dropped. Panics if called twice in one call.
    pub fn emit(&mut self, batch: ChangeBatch) { todo!() }
}

/// A node of the graph, one instance a worker.
///
/// # Contract
/// The runtime calls, in this order and never concurrently: `on_batch` and `on_watermark` as they come (watermarks are the
/// minimum over the inputs and rise), then `on_epoch_end` once per epoch after the barrier of every input has come. After
/// any call that returned [`Progress::More`] it calls `resume` until `Done`. Everything that must survive a crash is in the
/// state tables the operator was built with; a restored operator sees first the restored watermark by `on_watermark`.
pub trait Operator {
    fn on_batch(&mut self, input: usize, batch: ChangeBatch, ctx: &mut OperatorContext) -> Result<Progress>;
    /// Fires what is due. The runtime forwards the watermark after `Done` (at the barrier if `holds_watermark`).
    fn on_watermark(&mut self, watermark: Watermark, ctx: &mut OperatorContext) -> Result<Progress> { Ok(Progress::Done) }
    /// Flushes what is held until the barrier.
    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> { Ok(Progress::Done) }
    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> { Ok(Progress::Done) }
    /// Holds rows until the barrier, and so the watermark too.
    fn holds_watermark(&self) -> bool { false }
    /// Sinks: right before the freeze of a checkpoint. The answer goes to the manifest.
    fn prepare(&mut self, checkpoint: weir_types::CheckpointId) -> Result<Option<serde_json::Value>> { Ok(None) }
}

/// What an operator is built with, on its worker's thread.
pub struct BuildContext<'a> {
    pub plan: &'a StreamPlan,
    /// Index of the operator in the plan.
    pub index: usize,
    pub worker: weir_types::WorkerId,
    pub parallelism: u32,
    pub key_groups: u16,
    pub state: &'a weir_state::WorkerState,
    pub batch_rows: usize,
    /// For `Sink`: this worker's writer.
    pub sink: Option<(Box<dyn weir_connectors::SinkWriter>, bool /* wants_snapshot */)>,
    /// For `Output`: where the rows go at the end of the epoch.
    pub output: Option<crate::OutputHandler>,
}

/// Builds the operator (every kind but `Source`, which is the runtime's).
pub fn build(context: BuildContext<'_>) -> Result<Box<dyn Operator>> { todo!() }

/// The state tables of a plan's operator as the state crate wants them.
pub fn table_specs(plan: &StreamPlan) -> Vec<weir_state::TableSpec> { todo!() }
