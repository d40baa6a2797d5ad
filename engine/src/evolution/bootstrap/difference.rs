//! The difference at a sink: the new result less the old one, row by row.
//!
//! ```text
//!   new result ─▶ +1 ─┐
//!                     ├─▶ row → count ─▶ below zero: taken back (all of them first)
//!   old result ─▶ −1 ─┘                  above zero: given
//! ```
//!
//! # Invariants
//! 1. Rows are equal if all of their bytes are: what is taken back is what the sink was given.
//! 2. A row of both results is neither taken back nor given.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, SchemaRef};
use weir_state::{MapTable, RestCursor, decode_rows, encode_rows};
use weir_types::{ChangeBatch, DataType, OperatorId, Schema, hash};

use crate::operators::{Copies, Operator, OperatorContext, Progress};
use crate::{Error, Result};

/// Counts the rows of both results. Input 0 is the new one.
pub(crate) struct Collects {
    pub(crate) rows: MapTable,
    pub(crate) schema: Schema,
}

impl Operator for Collects {
    fn on_batch(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        _: &mut OperatorContext,
    ) -> Result<Progress> {
        let key = [encode_rows(&batch.rows, &self.schema)?];
        let hashes = hash::hash_columns(&key, batch.num_rows());
        let mut slots = Vec::new();
        self.rows.slots(&key, &hashes, &mut slots)?;
        let sign = if input == 0 { 1 } else { -1 };
        let mut gone = Vec::new();
        self.rows.with_columns(|columns| {
            for (row, &slot) in slots.iter().enumerate() {
                let before = match columns.is_null(0, slot) {
                    true => 0,
                    false => columns.i64(0, slot),
                };
                columns.set_i64(0, slot, before + sign * batch.weight(row));
            }
            // A row may be in the batch several times.
            gone.extend(slots.iter().filter(|&&slot| columns.i64(0, slot) == 0));
        });
        self.rows.mark_dirty(&slots);
        gone.sort_unstable();
        gone.dedup();
        self.rows.remove(&gone);
        Ok(Progress::Done)
    }
}

/// Gives what was collected: what is taken back by the first round, what is new by the second.
pub(crate) struct Gives {
    operator: OperatorId,
    rows: MapTable,
    schema: Schema,
    arrow_schema: SchemaRef,
    copies: Copies,
    /// The round.
    gives_new: bool,
    /// The sink takes no row back, and the comparison found that none has to be.
    inserts_only: bool,
}

impl Gives {
    pub(crate) fn new(
        operator: OperatorId,
        rows: MapTable,
        schema: Schema,
        inserts_only: bool,
    ) -> Self {
        Self {
            operator,
            rows,
            arrow_schema: DataType::arrow_schema(&schema),
            schema,
            copies: Copies::default(),
            gives_new: false,
            inserts_only,
        }
    }

    fn read(
        &self,
        cursor: &mut RestCursor,
        limit: usize,
    ) -> weir_state::Result<(RecordBatch, Vec<i64>)> {
        let piece = self.rows.read_on(cursor, limit)?;
        let counts: &ArrayRef = &piece.values[0];
        let counts = counts.as_primitive::<Int64Type>();
        let sign = if self.gives_new { 1 } else { -1 };
        let times = (0..piece.rows).map(|row| (sign * counts.value(row)).max(0));
        let times: Vec<i64> = times.collect();
        let columns = decode_rows(&piece.keys[0], &self.schema)?;
        let options = RecordBatchOptions::new().with_row_count(Some(piece.rows));
        let rows =
            RecordBatch::try_new_with_options(Arc::clone(&self.arrow_schema), columns, &options);
        let rows = rows.map_err(|error| weir_state::Error::Corrupt(error.to_string()))?;
        Ok((rows, times))
    }
}

impl Operator for Gives {
    fn on_batch(&mut self, _: usize, _: ChangeBatch, _: &mut OperatorContext) -> Result<Progress> {
        Err(Error::Internal {
            operator: self.operator.clone(),
            message: "what gives a difference has no input".to_owned(),
        })
    }

    fn give_standing(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let mut copies = std::mem::take(&mut self.copies);
        let failed = |error: arrow::error::ArrowError| Error::Internal {
            operator: self.operator.clone(),
            message: error.to_string(),
        };
        let rows = copies.next(ctx.batch_rows, failed, |cursor, limit| {
            self.read(cursor, limit)
        });
        self.copies = copies;
        let Some(rows) = rows? else {
            self.gives_new = true;
            return Ok(Progress::Done);
        };
        if self.inserts_only && !self.gives_new && rows.num_rows() > 0 {
            return Err(Error::Internal {
                operator: self.operator.clone(),
                message: "the old result has rows that the new one lacks, although the comparison found that it only grows"
                    .to_owned(),
            });
        }
        let taken_back = BooleanBuffer::new_set(rows.num_rows());
        ctx.emit(ChangeBatch {
            retracted: (!self.gives_new).then_some(taken_back),
            rows,
            own_watermark: None,
        });
        Ok(Progress::More)
    }
}
