//! One operator, one file. The runtime calls them; they know nothing of threads, channels or checkpoints.
//!
//! ```text
//!   session                                     gives rows when their session is over
//!   filter  project  union  unnest  window_assign   no state: a batch in, at most one batch out per call
//!   window_aggregate                            fires when the watermark reaches a window's end
//!   aggregate                                   one change per touched group at the end of an epoch
//!   set_operation                               counts the rows of both inputs; changes at the end of an epoch
//!   join  outer_join                            both inputs in state
//!   merge                                       puts state together that an edited query takes over
//!   rank                                        rows of a partition in order; changes at the end of an epoch
//!   over                                        rows with what is computed over the rows around them
//!   window_rank  timed_rank                     rankings that are final: when a window ends, in event-time order
//!   interval_join  window_join  as_of_join      both inputs in state as long as time allows for pairs
//!   standing                                    what an operator has given so far and not taken back, from its state
//!   lookup_join                                 left rows with the right as it is, which changes nothing later
//!   retained                                    around one of them: drops the state of keys that get no rows
//!   sink  output                                the end of the line
//! ```

mod aggregate;
mod aggregates;
mod arrival;
mod as_of_join;
mod build;
mod build_clock;
mod build_retained;
mod build_timed;
mod bytes;
mod changes;
mod clock;
mod due;
mod expand;
mod filter;
mod grown;
mod interval_expiry;
mod interval_join;
mod join;
mod lookup_join;
mod merge;
mod outer_join;
mod output;
mod over;
mod project;
mod rank;
mod ready;
mod residual;
mod retained;
mod session;
mod set_operation;
mod shape;
mod sides;
mod sink;
mod standing;
mod temporal_filter;
mod timed_rank;
mod union;
mod unnest;
mod window_aggregate;
mod window_assign;
mod window_join;
mod window_rank;
mod windows;

#[cfg(test)]
mod harness;
#[cfg(test)]
mod tests;

use arrow::array::{Int64Array, UInt32Array};
use weir_planner::plan::StreamPlan;
use weir_types::{ChangeBatch, ProcessingTime, Watermark};

pub(crate) use self::aggregates::register as register_aggregate;
pub use self::aggregates::{AggregateFunction, GroupState, Row, Value};
pub use self::build::{build, table_specs};
pub(crate) use self::due::by_clock;
pub(crate) use self::merge::{Entries, Merger, fresh_group};
pub(crate) use self::standing::{Copies, gives_standing_rows};
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
#[derive(Debug)]
pub struct OperatorContext {
    /// The batch given by this call; at most one. The runtime takes it after each call.
    pub output: Option<ChangeBatch>,
    /// The epoch's processing time.
    pub now: ProcessingTime,
    /// Counts late rows dropped by this operator on this worker: rows that at least one of their windows had
    /// closed for.
    pub late_rows: u64,
    /// Whether late rows go to a table of the user's.
    pub keeps_late: bool,
    /// Those of this call, if so. The runtime takes them after each call.
    pub late: Vec<LateRows>,
    /// Rows on which an expression failed in this call, if they go to a table of the user's.
    pub failed: Vec<crate::error::RowError>,
    /// Most rows that a batch should have.
    pub batch_rows: usize,
}

/// Rows that came too late.
#[derive(Debug)]
pub struct LateRows {
    /// The input that they came on.
    pub input: usize,
    /// The rows, with their own watermarks.
    pub rows: ChangeBatch,
    /// Their event times, in microseconds.
    pub times: Int64Array,
}

impl OperatorContext {
    /// A context for the calls of an epoch.
    pub fn new(now: ProcessingTime, batch_rows: usize) -> Self {
        Self {
            output: None,
            now,
            late_rows: 0,
            keeps_late: false,
            late: Vec::new(),
            failed: Vec::new(),
            batch_rows,
        }
    }

    /// Leaves late rows of a batch out: counts them, and keeps them if somebody wants them.
    ///
    /// # Errors
    /// From Arrow's kernels.
    pub fn leave_out(
        &mut self,
        input: usize,
        batch: &ChangeBatch,
        rows: &[u32],
        time: impl Fn(usize) -> i64,
    ) -> Result<()> {
        self.late_rows += rows.len() as u64;
        if !self.keeps_late || rows.is_empty() {
            return Ok(());
        }
        let times = rows.iter().map(|&row| time(row as usize)).collect();
        let rows = batch.take(&UInt32Array::from(rows.to_vec()));
        let rows = rows.map_err(|error| crate::Error::Job(format!("late rows: {error}")))?;
        self.late.push(LateRows { input, rows, times });
        Ok(())
    }

    /// Gives a batch to the consumers. Empty batches are dropped.
    ///
    /// # Panics
    /// If called twice in one call: an operator that has more keeps a cursor.
    pub fn emit(&mut self, batch: ChangeBatch) {
        if batch.num_rows() == 0 {
            return;
        }
        assert!(
            self.output.is_none(),
            "an operator gives at most one batch per call"
        );
        self.output = Some(batch);
    }
}

/// A node of the graph, one instance a worker.
///
/// # Contract
/// The runtime calls, in this order and never concurrently: `on_batch` and `on_watermark` as they come (watermarks are the
/// minimum over the inputs and rise), then `on_epoch_end` once per epoch after the barrier of every input has come. After
/// any call that returned [`Progress::More`] it calls `resume` until `Done`; a call that returned `More` may have given
/// no batch. Everything that must survive a crash is in the state tables the operator was built with when `settle` returns,
/// which is called when all operators have ended an epoch after which state is frozen; a restored operator
/// sees first the restored watermark by `on_watermark`. After an error the operator is not called again.
pub trait Operator {
    /// Takes a batch of input `input`.
    ///
    /// # Errors
    /// A row that fails, or state.
    fn on_batch(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress>;

    /// Fires what is due. The runtime forwards the watermark after `Done` (at the barrier if `holds_watermark`).
    ///
    /// # Errors
    /// State.
    fn on_watermark(
        &mut self,
        watermark: Watermark,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let _ = (watermark, ctx);
        Ok(Progress::Done)
    }

    /// Flushes what is held until the barrier.
    ///
    /// # Errors
    /// State, or a sink.
    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let _ = ctx;
        Ok(Progress::Done)
    }

    /// Goes on with what the last call could not give at once.
    ///
    /// # Errors
    /// Like the call that it goes on with.
    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let _ = ctx;
        Ok(Progress::Done)
    }

    /// Holds rows until the barrier, and so the watermark too.
    fn holds_watermark(&self) -> bool {
        false
    }

    /// An input that is only looked at: its watermark says nothing of the rows that the operator gives.
    fn side_input(&self) -> Option<usize> {
        None
    }

    /// That input has ended and all of its rows have come. Told before every `on_epoch_end` from then on, after a restore too.
    fn on_side_end(&mut self) {}

    /// Holds rows beyond the barrier that the watermark must not overtake: what is held of it is not forwarded either.
    fn withholds_watermark(&self) -> bool {
        false
    }

    /// By how many microseconds its rows can be older than its watermark: the forwarded one is lowered by it.
    fn watermark_delay(&self) -> i64 {
        0
    }

    /// The runtime gives the epoch's processing time as its watermark, and nothing of its input's but the last.
    fn is_clock(&self) -> bool {
        false
    }

    /// When, in processing time, it has something to do even if no row comes: an epoch begins then. Asked at the end of
    /// an epoch, where `now` is the epoch's, and only of operators whose time is the clock. A moment that is too early
    /// costs an epoch; one that is not later than `now` is none.
    ///
    /// # Errors
    /// State.
    fn next_due(&self, now: ProcessingTime) -> Result<Option<i64>> {
        let _ = now;
        Ok(None)
    }

    /// Gives the next piece of all rows that it has given and not taken back, as insertions, from its state alone;
    /// `Done` with the last piece, after which it would begin anew. Called instead of everything else: of an operator whose
    /// state nobody changes meanwhile, after [`weir_state::WorkerState::write_back`].
    ///
    /// # Errors
    /// State; and always for an operator whose rows do not follow from what it keeps (`gives_standing_rows`).
    fn give_standing(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let _ = ctx;
        Err(crate::Error::Job(
            "[E0020] an operator was asked for rows that its state does not hold".to_owned(),
        ))
    }

    /// Rows that it has left out since it was built, because an expression failed on them (`'row.error' = 'skip'`).
    fn rejected_rows(&self) -> u64 {
        0
    }

    /// Gives rows of a materialized view, when the epoch is complete here, until `give` has enough: all that have one of the
    /// wanted values in each column that is named, and others if that is simpler. How many were looked at.
    ///
    /// # Errors
    /// State; and always for an operator that keeps no view.
    fn read_view(
        &self,
        wanted: &[weir_planner::Wanted],
        give: &mut dyn FnMut(arrow::array::RecordBatch) -> bool,
    ) -> Result<u64> {
        let _ = (wanted, give);
        Err(crate::Error::Job(
            "[R0050] an operator was asked for the rows of a view that it does not keep".to_owned(),
        ))
    }

    /// Right before the freeze of a checkpoint: what it holds in memory and nowhere else goes into its tables.
    ///
    /// # Errors
    /// State.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Rows that it holds in memory beside its tables, and about the bytes that they take.
    fn held(&self) -> (u64, u64) {
        (0, 0)
    }

    /// Sinks: right before the freeze of a checkpoint. The answer goes to the manifest.
    ///
    /// # Errors
    /// The sink.
    fn prepare(
        &mut self,
        checkpoint: weir_types::CheckpointId,
    ) -> Result<Option<serde_json::Value>> {
        let _ = checkpoint;
        Ok(None)
    }
}

/// What an operator is built with, on its worker's thread.
pub struct BuildContext<'a> {
    /// The job.
    pub plan: &'a StreamPlan,
    /// Index of the operator in the plan.
    pub index: usize,
    /// The worker that it is built on.
    pub worker: weir_types::WorkerId,
    /// Number of workers.
    pub parallelism: u32,
    /// Number of key groups of the job.
    pub key_groups: u16,
    /// The worker's state.
    pub state: &'a weir_state::WorkerState,
    /// Most rows that a batch should have.
    pub batch_rows: usize,
    /// For `Sink`: this worker's writer, and whether it wants a snapshot ([`weir_connectors::Sink::wants_snapshot`]).
    pub sink: Option<(Box<dyn weir_connectors::SinkWriter>, bool)>,
    /// For `Output`: where the rows go at the end of the epoch.
    pub output: Option<crate::OutputHandler>,
}
