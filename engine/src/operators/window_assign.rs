//! TUMBLE, HOP and CUMULATE as they stand in FROM: each row once for every window that holds it.
//!
//! ```text
//!   row at 5, HOP(slide 4, size 6)  ──▶  row, window_start 0, window_end  6, window_time  6 − 1 unit
//!                                    row, window_start 4, window_end 10, window_time 10 − 1 unit
//! ```
//!
//! # Invariants
//! 1. A window that had closed for the row (its end ≤ the row's *own* watermark) is left out; such a row is counted once
//!    as late. Batch cuts and the progress of other splits play no part.
//! 2. A call gives at most one batch; a cursor says which window of which row is next.

use std::sync::Arc;

use arrow::array::{Array, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use weir_types::{ChangeBatch, DataType, OperatorId};

use super::build::{internal, internal_text};
use super::windows::{LastSlice, Windows, from_micros, to_micros};
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// Appends `window_start`, `window_end`, `window_time`.
pub(super) struct WindowAssign {
    pub(super) operator: OperatorId,
    pub(super) windows: Windows,
    /// The input's event-time column.
    pub(super) time: usize,
    /// The output's columns; the last three are the window's.
    pub(super) schema: SchemaRef,
    /// Type of the window's columns.
    pub(super) window_type: DataType,
    /// A batch that is not given whole yet.
    pub(super) pending: Option<Pending>,
}

/// Where a batch goes on.
pub(super) struct Pending {
    batch: ChangeBatch,
    micros: Int64Array,
    row: usize,
    /// Windows of `row` that were given or left out.
    window: usize,
}

impl WindowAssign {
    /// Rows and window ends from the cursor on, `limit` of them; moves the cursor.
    fn expand(
        &self,
        pending: &mut Pending,
        ctx: &mut OperatorContext,
    ) -> Result<(Vec<u32>, Vec<i64>)> {
        let limit = ctx.batch_rows.max(1);
        let mut late = Vec::new();
        let (mut last, mut windows_of) = (LastSlice::default(), (0, 0));
        let (mut rows, mut ends) = (Vec::with_capacity(limit), Vec::with_capacity(limit));
        while pending.row < pending.micros.len() && rows.len() < limit {
            let row = pending.row;
            let (first, count) = if pending.micros.is_valid(row) {
                let time = pending.micros.value(row);
                if last.is_left(&self.windows, time) {
                    windows_of = self.windows.windows_of(time);
                }
                windows_of
            } else {
                // No moment, no window; sources let no NULL event time through.
                (0, 0)
            };
            let own = own_watermark(&pending.batch, row).map(|own| self.windows.place(own));
            if pending.window == 0 && count > 0 && own.is_some_and(|own| first <= own) {
                late.push(row as u32);
            }
            while pending.window < count && rows.len() < limit {
                let end =
                    first.saturating_add(self.windows.slide.saturating_mul(pending.window as i64));
                pending.window += 1;
                if own.is_none_or(|own| end > own) {
                    rows.push(row as u32);
                    ends.push(end);
                }
            }
            if pending.window >= count {
                (pending.row, pending.window) = (row + 1, 0);
            }
        }
        ctx.leave_out(0, &pending.batch, &late, |row| pending.micros.value(row))?;
        Ok((rows, ends))
    }

    fn give(&mut self, mut pending: Pending, ctx: &mut OperatorContext) -> Result<Progress> {
        let (rows, ends) = self.expand(&mut pending, ctx)?;
        if !rows.is_empty() {
            ctx.emit(self.assigned(&pending.batch, rows, ends)?);
        }
        if pending.row < pending.micros.len() {
            self.pending = Some(pending);
            return Ok(Progress::More);
        }
        Ok(Progress::Done)
    }

    fn assigned(&self, batch: &ChangeBatch, rows: Vec<u32>, ends: Vec<i64>) -> Result<ChangeBatch> {
        let whole = rows.len() == batch.num_rows()
            && rows.iter().enumerate().all(|(i, &row)| i == row as usize);
        let taken = if whole {
            batch.clone()
        } else {
            batch
                .take(&UInt32Array::from(rows))
                .map_err(|error| internal(&self.operator, &error))?
        };
        let ends = Int64Array::from(ends);
        let starts: Int64Array = ends.unary(|end| self.windows.instant(self.windows.start_of(end)));
        let ends: Int64Array = ends.unary(|end| self.windows.instant(end));
        let column = |micros: Int64Array, less_units: i64| {
            from_micros(micros, &self.window_type, less_units).ok_or_else(|| {
                internal_text(&self.operator, "a window's columns are not timestamps")
            })
        };
        let mut columns = taken.rows.columns().to_vec();
        columns.extend([
            column(starts, 0)?,
            column(ends.clone(), 0)?,
            column(ends, 1)?,
        ]);
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        Ok(taken.with_rows(rows.map_err(|error| internal(&self.operator, &error))?))
    }
}

/// The row's own watermark, if it was behind it.
pub(super) fn own_watermark(batch: &ChangeBatch, row: usize) -> Option<i64> {
    batch
        .own_watermark
        .as_ref()
        .filter(|own| own.is_valid(row))
        .map(|own| own.value(row))
}

impl Operator for WindowAssign {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let micros = to_micros(batch.rows.column(self.time)).ok_or_else(|| {
            internal_text(&self.operator, "the event-time column is not a timestamp")
        })?;
        let micros = self.windows.places(micros);
        self.give(
            Pending {
                batch,
                micros,
                row: 0,
                window: 0,
            },
            ctx,
        )
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.pending.take() {
            Some(pending) => self.give(pending, ctx),
            None => Ok(Progress::Done),
        }
    }
}
