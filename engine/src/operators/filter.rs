//! WHERE, HAVING: keeps the rows for which a predicate is true.
//!
//! A retraction equals the row that it takes back, so both pass or neither does: the filter needs no state.

use arrow::array::BooleanArray;
use weir_types::{ChangeBatch, OperatorId};

use super::build::internal;
use super::{Operator, OperatorContext, Progress};
use crate::Result;
use crate::expr::{CompiledExpr, as_filter};

/// Keeps rows.
pub(super) struct Filter {
    pub(super) operator: OperatorId,
    /// Rows left out because they failed.
    pub(super) rejected_rows: u64,
    pub(super) predicate: CompiledExpr,
}

impl Operator for Filter {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let evaluated = self.predicate.evaluate_rows(&batch.rows, ctx.now)?;
        if self.predicate.mode().leaves_out()
            && let Some(failed) = &evaluated.failed
        {
            self.rejected_rows += failed.count_set_bits() as u64;
        }
        ctx.failed
            .extend(evaluated.errors.into_iter().map(|(_, error)| error));
        // A row that failed is NULL here, and NULL does not pass.
        let keep: BooleanArray = as_filter(&evaluated.values)?;
        match keep.true_count() {
            0 => {}
            all if all == batch.num_rows() => ctx.emit(batch),
            _ => ctx.emit(
                batch
                    .filter(&keep)
                    .map_err(|error| internal(&self.operator, &error))?,
            ),
        }
        Ok(Progress::Done)
    }

    fn rejected_rows(&self) -> u64 {
        self.rejected_rows
    }
}
