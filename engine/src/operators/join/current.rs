//! All pairs, from the state: each left row with its partners.

use arrow::array::ArrayRef;
use weir_types::{ChangeBatch, hash};

use super::Join;
use crate::Result;
use crate::operators::build::internal;
use crate::operators::{OperatorContext, Progress};

impl Join {
    /// Gives the next pairs.
    pub(super) fn give_pairs(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        if let Some(pending) = self.pending.take() {
            self.give(pending, ctx)?;
            return Ok(Progress::More);
        }
        let left = &self.sides[0];
        let failed = |error| internal(&self.operator, &error);
        let rows = self
            .standing
            .next(ctx.batch_rows, failed, |cursor, limit| {
                left.rows.read_on(cursor, limit)
            })?;
        let Some(rows) = rows else {
            return Ok(Progress::Done);
        };
        let keys = left.keys.iter().map(|&column| rows.column(column).clone());
        let keys: Vec<ArrayRef> = keys.collect();
        let hashes = hash::hash_columns(&keys, rows.num_rows());
        self.probe(0, ChangeBatch::append_only(rows), (keys, hashes), ctx)?;
        Ok(Progress::More)
    }
}
