//! Grouping sets: each row once for every set, the keys that the set leaves out NULL.
//!
//! ```text
//!   x, a, b  ──▶  x, a, b,  a,    b,     0, 0      set (a, b)
//!                 x, a, b,  a,    NULL,  0, 1      set (a)
//!                 x, a, b,  NULL, NULL,  1, 1      set ()
//! ```
//!
//! # Invariants
//! 1. A call gives at most one batch: a cursor says which set is next.
//! 2. A retracted row gives the retractions of what it gave; own watermarks go along.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use weir_types::{ChangeBatch, OperatorId};

use super::build::internal;
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// Gives each row once for every grouping set.
pub(super) struct Expand {
    operator: OperatorId,
    /// Columns of the input.
    keys: Vec<usize>,
    /// For each set which keys it has.
    sets: Vec<Vec<bool>>,
    /// For each set how many equal ones stand before it; a last column, if there are equal ones.
    numbers: Option<Vec<i64>>,
    schema: SchemaRef,
    /// A batch, and the next set.
    pending: Option<(ChangeBatch, usize)>,
}

impl Expand {
    pub(super) fn new(
        operator: OperatorId,
        keys: Vec<usize>,
        sets: Vec<Vec<bool>>,
        numbered: bool,
        schema: SchemaRef,
    ) -> Self {
        let earlier = |(place, set): (usize, &Vec<bool>)| {
            sets[..place].iter().filter(|other| *other == set).count() as i64
        };
        Self {
            numbers: numbered.then(|| sets.iter().enumerate().map(earlier).collect()),
            operator,
            keys,
            sets,
            schema,
            pending: None,
        }
    }

    fn give(
        &mut self,
        batch: ChangeBatch,
        set: usize,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let rows = batch.num_rows();
        let grouped = &self.sets[set];
        let mut columns: Vec<ArrayRef> = batch.rows.columns().to_vec();
        for (&key, &grouped) in self.keys.iter().zip(grouped) {
            let values = batch.rows.column(key);
            columns.push(if grouped {
                Arc::clone(values)
            } else {
                new_null_array(values.data_type(), rows)
            });
        }
        let number = |value: i64| -> ArrayRef { Arc::new(Int64Array::from_value(value, rows)) };
        columns.extend(grouped.iter().map(|&grouped| number(i64::from(!grouped))));
        columns.extend(self.numbers.as_ref().map(|numbers| number(numbers[set])));
        let given = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| internal(&self.operator, &error))?;
        ctx.emit(batch.with_rows(given));
        if set + 1 < self.sets.len() {
            self.pending = Some((batch, set + 1));
            return Ok(Progress::More);
        }
        Ok(Progress::Done)
    }
}

impl Operator for Expand {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        self.give(batch, 0, ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.pending.take() {
            Some((batch, set)) => self.give(batch, set, ctx),
            None => Ok(Progress::Done),
        }
    }
}
