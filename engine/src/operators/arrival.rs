//! The first rows of each key to arrive, or the last one: an order by `PROCTIME()`.
//!
//! ```text
//!   first:  row ─▶ how many of its key came before? ─▶ within the bounds: given at once, and for ever
//!   last:   row ─▶ kept in the place of the one before ─▶ end of the epoch: the old one back, the new one out
//! ```
//!
//! Rows of one epoch have one processing time; of them the first to arrive is the first. In what order rows of several splits or
//! files arrive is nobody's promise.
//!
//! # Invariants
//! 1. First: no more is kept of a key than how many of its rows came, counted up to the last that is wanted.
//! 2. Last: one retraction and one insertion for each key and epoch, at most.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use weir_planner::plan::RankBounds;
use weir_state::MapTable;
use weir_types::{ChangeBatch, OperatorId, hash};

use super::build::{internal, internal_text};
use super::changes::net;
use super::due::taken;
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// What both forms have in common.
pub(super) struct Partitioned {
    pub(super) operator: OperatorId,
    /// Partition columns of the input.
    pub(super) keys: Vec<usize>,
    /// The row's number is the last column of the output.
    pub(super) shown: bool,
    pub(super) schema: SchemaRef,
}

impl Partitioned {
    /// The slots of a batch's rows.
    fn slots(&self, table: &MapTable, batch: &ChangeBatch) -> Result<Vec<u32>> {
        if batch.retracted.is_some() {
            let message = "what arrived first is not taken back";
            return Err(internal_text(&self.operator, message));
        }
        let keys = self.keys.iter();
        let keys: Vec<ArrayRef> = keys.map(|&key| batch.rows.column(key).clone()).collect();
        let hashes = hash::hash_columns(&keys, batch.num_rows());
        let mut slots = Vec::new();
        table.slots(&keys, &hashes, &mut slots)?;
        Ok(slots)
    }

    fn given(&self, mut columns: Vec<ArrayRef>, numbers: Vec<i64>) -> Result<RecordBatch> {
        if self.shown {
            columns.push(Arc::new(Int64Array::from(numbers)));
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| internal(&self.operator, &error))
    }
}

/// The first rows of each key, as they come.
pub(super) struct FirstRows {
    pub(super) of: Partitioned,
    /// How many rows of each key came.
    pub(super) counts: MapTable,
    pub(super) bounds: RankBounds,
}

impl Operator for FirstRows {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let slots = self.of.slots(&self.counts, &batch)?;
        let least = self.bounds.first.max(self.bounds.skip + 1) as i64;
        let last = self.bounds.last.map_or(i64::MAX, |last| last as i64);
        let (mut rows, mut numbers, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        self.counts.with_columns(|columns| {
            for (row, &slot) in slots.iter().enumerate() {
                let before = if columns.is_null(0, slot) {
                    0
                } else {
                    columns.i64(0, slot)
                };
                if before >= last {
                    continue;
                }
                let number = before + 1;
                columns.set_i64(0, slot, number);
                changed.push(slot);
                if number >= least {
                    rows.push(row as u32);
                    numbers.push(number);
                }
            }
        });
        self.counts.mark_dirty(&changed);
        if !rows.is_empty() {
            let columns = taken(batch.rows.columns(), &UInt32Array::from(rows))?;
            ctx.emit(ChangeBatch::append_only(self.of.given(columns, numbers)?));
        }
        Ok(Progress::Done)
    }
}

/// The last row of each key.
pub(super) struct LastRow {
    pub(super) of: Partitioned,
    /// The row of each key: all columns of the input.
    pub(super) rows: MapTable,
    /// Changes of the epoch, as they came.
    epoch: Vec<ChangeBatch>,
    /// Changes that are ready to be given, the next one last.
    ready: Vec<ChangeBatch>,
    /// Slots that the epoch has touched; by slot, whether it has.
    touched: Vec<u32>,
    is_touched: Vec<bool>,
}

impl LastRow {
    pub(super) fn new(of: Partitioned, rows: MapTable) -> Self {
        Self {
            of,
            rows,
            epoch: Vec::new(),
            ready: Vec::new(),
            touched: Vec::new(),
            is_touched: Vec::new(),
        }
    }

    /// Marks a slot; whether it has a row already.
    fn has_row(&mut self, slot: u32) -> bool {
        let index = slot as usize;
        if index >= self.is_touched.len() {
            self.is_touched
                .resize((index + 1).next_power_of_two(), false);
        }
        let again = std::mem::replace(&mut self.is_touched[index], true);
        if !again {
            self.touched.push(slot);
        }
        again || !self.rows.is_new(slot)
    }

    fn give(&mut self, ctx: &mut OperatorContext) -> Progress {
        let Some(batch) = self.ready.pop() else {
            return Progress::Done;
        };
        ctx.emit(batch);
        if self.ready.is_empty() {
            Progress::Done
        } else {
            Progress::More
        }
    }
}

impl Operator for LastRow {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        _: &mut OperatorContext,
    ) -> Result<Progress> {
        let slots = self.of.slots(&self.rows, &batch)?;
        // The last row of each slot, in the order of the batch.
        let mut last = std::collections::HashMap::with_capacity(slots.len());
        for (row, &slot) in slots.iter().enumerate() {
            last.insert(slot, row as u32);
        }
        let mut news: Vec<(u32, u32)> = last.into_iter().map(|(slot, row)| (row, slot)).collect();
        news.sort_unstable();
        let (rows, slots): (Vec<u32>, Vec<u32>) = news.into_iter().unzip();
        let olds: Vec<u32> = slots
            .iter()
            .copied()
            .filter(|&slot| self.has_row(slot))
            .collect();
        if !olds.is_empty() {
            let given = self
                .of
                .given(self.rows.values(&olds)?, vec![1; olds.len()])?;
            let retracted = Some(BooleanBuffer::new_set(olds.len()));
            self.epoch.push(ChangeBatch {
                rows: given,
                retracted,
                own_watermark: None,
            });
        }
        let columns = taken(batch.rows.columns(), &UInt32Array::from(rows))?;
        self.rows.set_values(&slots, &columns)?;
        let given = self.of.given(columns, vec![1; slots.len()])?;
        self.epoch.push(ChangeBatch::append_only(given));
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        for slot in self.touched.drain(..) {
            self.is_touched[slot as usize] = false;
        }
        let epoch = std::mem::take(&mut self.epoch);
        self.ready = net(epoch, ctx.batch_rows.max(1))
            .map_err(|error| internal(&self.of.operator, &error))?;
        self.ready.reverse();
        Ok(self.give(ctx))
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        Ok(self.give(ctx))
    }

    fn holds_watermark(&self) -> bool {
        true
    }
}
