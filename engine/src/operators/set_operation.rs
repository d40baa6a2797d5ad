//! INTERSECT and EXCEPT: counts the equal rows of both inputs, and gives at the end of an epoch what has changed.
//!
//! ```text
//!   left  ─▶ slot of the row ─▶ first touch in the epoch? remember both counts ─▶ left  += weight
//!   right ─▶ slot of the row ─▶ …                                              ─▶ right += weight
//!   end of the epoch ─▶ for each touched row: how often it is in the result now, less how often it was
//! ```
//!
//! # Invariants
//! 1. What was given in all adds up to the set operation of the counts at the last epoch's end.
//! 2. No count is negative at the end of an epoch; within one it may be, because the two changes of a row can come in any
//!    order.
//! 3. A row of which both counts are zero is gone.

mod current;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use weir_planner::plan::SetOperator;
use weir_state::MapTable;
use weir_types::{ChangeBatch, OperatorId, hash};

use super::build::{internal, internal_text};
use super::retained::Forgets;
use super::standing::Copies;
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// INTERSECT or EXCEPT, with ALL or without.
pub(super) struct SetOperation {
    operator: OperatorId,
    kind: SetOperator,
    all: bool,
    /// The counts of each row: left, right.
    rows: MapTable,
    touched: Vec<Touched>,
    /// By slot.
    is_touched: Vec<bool>,
    schema: SchemaRef,
    /// The end of an epoch that is not given whole yet: the next of the touched rows, and how much of it was given.
    flush: Option<(usize, u64)>,
    /// Slots of the batch at hand; kept for its allocation.
    slots: Vec<u32>,
    /// Where the giving of all rows goes on.
    standing: Copies,
}

/// A row that the epoch has touched.
#[derive(Clone, Copy)]
struct Touched {
    slot: u32,
    /// How often it was in the result at the end of the last epoch.
    before: i64,
}

impl SetOperation {
    pub(super) fn new(
        operator: OperatorId,
        kind: SetOperator,
        all: bool,
        rows: MapTable,
        schema: SchemaRef,
    ) -> Self {
        Self {
            operator,
            kind,
            all,
            rows,
            touched: Vec::new(),
            is_touched: Vec::new(),
            schema,
            flush: None,
            slots: Vec::new(),
            standing: Copies::default(),
        }
    }

    /// How often a row of these counts is in the result.
    fn times(&self, [left, right]: [i64; 2]) -> i64 {
        match (self.kind, self.all) {
            (SetOperator::Intersect, true) => left.min(right),
            (SetOperator::Intersect, false) => i64::from(left > 0 && right > 0),
            (SetOperator::Except, true) => (left - right).max(0),
            (SetOperator::Except, false) => i64::from(left > 0 && right == 0),
        }
    }

    /// Both counts of a row; those of a new one are zero.
    fn counts(&self, slot: u32) -> [i64; 2] {
        self.rows.with_columns(|columns| {
            [0, 1].map(|side| {
                if columns.is_null(side, slot) {
                    0
                } else {
                    columns.i64(side, slot)
                }
            })
        })
    }

    fn touch(&mut self, slots: &[u32]) {
        for &slot in slots {
            let index = slot as usize;
            if index >= self.is_touched.len() {
                self.is_touched
                    .resize((index + 1).next_power_of_two(), false);
            }
            if !std::mem::replace(&mut self.is_touched[index], true) {
                let before = self.times(self.counts(slot));
                self.touched.push(Touched { slot, before });
            }
        }
    }

    /// Gives the next changes, at most a batch of them.
    fn give(&mut self, from: (usize, u64), ctx: &mut OperatorContext) -> Result<Progress> {
        let (mut next, mut given) = from;
        let (mut changed, mut retracted) = (Vec::new(), Vec::new());
        while next < self.touched.len() && changed.len() < ctx.batch_rows.max(1) {
            let Touched { slot, before } = self.touched[next];
            let counts = self.counts(slot);
            if counts.iter().any(|&count| count < 0) {
                let message = "rows were taken back that had never come: an input is not a consistent changelog";
                return Err(internal_text(&self.operator, message));
            }
            let difference = self.times(counts) - before;
            let room = (ctx.batch_rows.max(1) - changed.len()) as u64;
            let now = (difference.unsigned_abs() - given).min(room);
            changed.extend(std::iter::repeat_n(slot, now as usize));
            retracted.extend(std::iter::repeat_n(difference < 0, now as usize));
            given += now;
            if given == difference.unsigned_abs() {
                (next, given) = (next + 1, 0);
            }
        }
        if !changed.is_empty() {
            ctx.emit(self.changes(&changed, &retracted)?);
        }
        if next < self.touched.len() {
            self.flush = Some((next, given));
            return Ok(Progress::More);
        }
        self.forget();
        Ok(Progress::Done)
    }

    /// The changes of the rows in these slots, some of them several times.
    fn changes(&self, changed: &[u32], retracted: &[bool]) -> Result<ChangeBatch> {
        let mut slots = changed.to_vec();
        slots.dedup();
        let (mut places, mut place) = (Vec::with_capacity(changed.len()), 0u32);
        for (i, slot) in changed.iter().enumerate() {
            place += u32::from(i > 0 && *slot != changed[i - 1]);
            places.push(place);
        }
        let places = UInt32Array::from(places);
        let columns: Vec<ArrayRef> = self
            .rows
            .keys(&slots)?
            .iter()
            .map(|key| take(key, &places, None))
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| internal(&self.operator, &error))?;
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| internal(&self.operator, &error))?;
        let retracted: BooleanBuffer = retracted.iter().copied().collect();
        let retracted = (retracted.count_set_bits() > 0).then_some(retracted);
        Ok(ChangeBatch {
            rows,
            retracted,
            own_watermark: None,
        })
    }

    /// The end of the epoch: rows without a count go.
    fn forget(&mut self) {
        let mut gone = Vec::new();
        for touched in std::mem::take(&mut self.touched) {
            self.is_touched[touched.slot as usize] = false;
            if self.counts(touched.slot) == [0, 0] {
                gone.push(touched.slot);
            }
        }
        if !gone.is_empty() {
            self.rows.remove(&gone);
        }
    }
}

impl Forgets for SetOperation {
    fn forget(&mut self, keys: &[ArrayRef], hashes: &[u64]) -> Result<()> {
        let mut slots = Vec::new();
        self.rows.find(keys, hashes, &mut slots)?;
        slots.retain(|&slot| slot != u32::MAX);
        self.rows.remove(&slots);
        Ok(())
    }
}

impl Operator for SetOperation {
    fn on_batch(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        _: &mut OperatorContext,
    ) -> Result<Progress> {
        let keys = batch.rows.columns();
        let hashes = hash::hash_columns(keys, batch.num_rows());
        let mut slots = std::mem::take(&mut self.slots);
        self.rows.slots(keys, &hashes, &mut slots)?;
        self.touch(&slots);
        self.rows.with_columns(|columns| {
            for (row, &slot) in slots.iter().enumerate() {
                for side in [0, 1] {
                    let count = if columns.is_null(side, slot) {
                        0
                    } else {
                        columns.i64(side, slot)
                    };
                    let weight = if side == input { batch.weight(row) } else { 0 };
                    columns.set_i64(side, slot, count + weight);
                }
            }
        });
        self.rows.mark_dirty(&slots);
        self.slots = slots;
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        if self.touched.is_empty() {
            return Ok(Progress::Done);
        }
        self.give((0, 0), ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.flush.take() {
            Some(from) => self.give(from, ctx),
            None => Ok(Progress::Done),
        }
    }

    fn give_standing(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.give_all(ctx)
    }

    fn holds_watermark(&self) -> bool {
        true
    }
}
