//! The whole result, from the counts of both inputs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use weir_state::RestCursor;
use weir_types::ChangeBatch;

use super::SetOperation;
use crate::Result;
use crate::operators::build::internal;
use crate::operators::{OperatorContext, Progress};

impl SetOperation {
    /// Gives the next rows.
    pub(super) fn give_all(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let mut standing = std::mem::take(&mut self.standing);
        let failed = |error| internal(&self.operator, &error);
        let rows = standing.next(ctx.batch_rows, failed, |cursor, limit| {
            self.counted(cursor, limit)
        });
        self.standing = standing;
        let Some(rows) = rows? else {
            return Ok(Progress::Done);
        };
        ctx.emit(ChangeBatch::append_only(rows));
        Ok(Progress::More)
    }

    /// The next rows that are stored, and how often each is in the result.
    fn counted(
        &self,
        cursor: &mut RestCursor,
        limit: usize,
    ) -> weir_state::Result<(RecordBatch, Vec<i64>)> {
        let piece = self.rows.read_on(cursor, limit)?;
        let count = |side: usize, row: usize| {
            let counts: &ArrayRef = &piece.values[side];
            let counts = counts.as_primitive::<Int64Type>();
            if counts.is_null(row) {
                0
            } else {
                counts.value(row)
            }
        };
        let times = |row: usize| self.times([count(0, row), count(1, row)]);
        let times = (0..piece.rows).map(times).collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), piece.keys);
        let rows = rows.map_err(|error| weir_state::Error::Corrupt(error.to_string()))?;
        Ok((rows, times))
    }
}
