//! Rankings within windows: the rows of each partition numbered once, when their window ends.
//!
//! ```text
//!   rows ─▶ [rows by partition, in order]      those beyond the last number are dropped at the end of the epoch
//!              [window's end → its partitions]
//!   watermark reaches a window's end ─▶ its partitions, some at a time ─▶ numbered ─▶ given, removed
//! ```
//!
//! The window's end is among the partition's columns. Whether a row is late was judged where it got its window; none comes
//! for a window that has ended. So the result is final, and nothing is ever taken back.
//!
//! # Invariants
//! 1. State holds rows of windows that have not ended alone.
//! 2. Windows are given in the order of their ends; a call gives at most one batch.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, RecordBatch};
use weir_state::SortedRange;
use weir_types::{ChangeBatch, Watermark, hash};

use super::build::internal_text;
use super::due::{Due, DueKeys};
use super::grown::Grown;
use super::rank::Rank;
use super::ready::Ready;
use super::windows::to_micros;
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// Rows that are read at a time, about, while a window is given.
const ROWS_FIRED: u64 = 16_384;

/// Ranking within windows.
pub(super) struct WindowRank {
    /// Numbers rows; what it keeps are the rows of windows that have not ended.
    pub(super) rank: Rank,
    /// The column of the window's end.
    pub(super) end: usize,
    pub(super) windows: DueKeys,
    pub(super) grown: Grown,
    pub(super) ready: Ready,
    pub(super) firing: Firing,
}

/// Windows on their way out.
#[derive(Default)]
pub(super) struct Firing {
    /// Ends of windows, the one that is being given first.
    windows: VecDeque<i64>,
    /// Keys of the first window that are still to be given: key columns, then `at`. `None`: not looked up yet.
    keys: Option<VecDeque<RecordBatch>>,
}

impl WindowRank {
    /// How many partitions are read in one go.
    fn partitions_at_once(&self) -> usize {
        let per_partition = self.rank.config.bounds.last.unwrap_or(256).max(1);
        (ROWS_FIRED / per_partition).max(1) as usize
    }

    fn advance(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        loop {
            if let Some(batch) = self.ready.next(ctx.batch_rows)? {
                ctx.emit(batch);
                return Ok(Progress::More);
            }
            let Some(&window) = self.firing.windows.front() else {
                return Ok(Progress::Done);
            };
            let keys = match &mut self.firing.keys {
                Some(keys) => keys,
                None => self.firing.keys.insert(self.windows.keys(window)?.into()),
            };
            let Some(batch) = keys.pop_front() else {
                self.windows.drop_slice(window)?;
                self.firing.windows.pop_front();
                self.firing.keys = None;
                continue;
            };
            let count = self.partitions_at_once().min(batch.num_rows());
            if let Some(keys) = &mut self.firing.keys
                && count < batch.num_rows()
            {
                keys.push_front(batch.slice(count, batch.num_rows() - count));
            }
            self.give(&batch.slice(0, count))?;
        }
    }

    /// Numbers the rows of some partitions and takes them out of state.
    fn give(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = &batch.columns()[..batch.num_columns() - 1];
        let hashes = hash::hash_columns(keys, batch.num_rows());
        let numbered = self.rank.numbered(keys, &hashes)?;
        for (row, &hash) in hashes.iter().enumerate() {
            self.rank
                .rows
                .remove_range(keys, row, hash, &SortedRange::default())?;
        }
        let counts = vec![1; numbered.rows.num_rows()];
        self.ready.push(numbered.rows, counts, Vec::new());
        Ok(())
    }
}

impl Operator for WindowRank {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        _: &mut OperatorContext,
    ) -> Result<Progress> {
        let operator = &self.rank.config.operator;
        if batch.retracted.is_some() {
            let message = "a ranking within windows cannot take rows back";
            return Err(internal_text(operator, message));
        }
        let partition = self.rank.config.partition.iter();
        let keys: Vec<ArrayRef> = partition
            .map(|&column| batch.rows.column(column).clone())
            .collect();
        let hashes = hash::hash_columns(&keys, batch.num_rows());
        let ends = to_micros(batch.rows.column(self.end))
            .filter(|ends| ends.null_count() == 0)
            .ok_or_else(|| internal_text(operator, "a window's end is not a timestamp"))?;
        let dues: Vec<Due> = ends
            .values()
            .iter()
            .map(|&end| Due {
                slice: end,
                at: end,
            })
            .collect();
        self.grown.note(&self.rank, &keys, &hashes)?;
        let weights = vec![1; hashes.len()];
        self.rank
            .rows
            .apply(&keys, &hashes, &batch.rows, &weights)?;
        self.windows.note(&dues, &keys, &hashes)?;
        Ok(Progress::Done)
    }

    fn on_watermark(
        &mut self,
        watermark: Watermark,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        self.firing = Firing {
            windows: self.windows.slices(watermark.0).into(),
            keys: None,
        };
        self.advance(ctx)
    }

    fn on_epoch_end(&mut self, _: &mut OperatorContext) -> Result<Progress> {
        let at_once = self.partitions_at_once();
        self.grown.prune(&self.rank, at_once)?;
        Ok(Progress::Done)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.advance(ctx)
    }
}
