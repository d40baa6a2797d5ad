//! SELECT: computes columns from columns.
//!
//! Retractions stay retractions: an expression gives the same for a row and for the row that takes it back
//! (volatile functions over retractions are the planner's to refuse).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use weir_types::{ChangeBatch, OperatorId};

use super::build::internal;
use super::{Operator, OperatorContext, Progress};
use crate::Result;
use crate::expr::CompiledExpr;

/// Computes columns.
pub(super) struct Project {
    pub(super) operator: OperatorId,
    /// Rows left out because they failed.
    pub(super) rejected_rows: u64,
    pub(super) exprs: Vec<CompiledExpr>,
    pub(super) schema: SchemaRef,
}

impl Operator for Project {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let mut columns = Vec::with_capacity(self.exprs.len());
        let mut skipped: Option<BooleanBuffer> = None;
        let mut errors = BTreeMap::new();
        for expr in &self.exprs {
            let evaluated = expr.evaluate_rows(&batch.rows, ctx.now)?;
            columns.push(evaluated.values);
            for (row, error) in evaluated.errors {
                // One row, one error: that of the first column that fails.
                errors.entry(row).or_insert(error);
            }
            if expr.mode().leaves_out()
                && let Some(failed) = evaluated.failed
            {
                skipped =
                    Some(skipped.map_or_else(|| failed.clone(), |skipped| &skipped | &failed));
            }
        }
        ctx.failed.extend(errors.into_values());
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        let mut projected =
            batch.with_rows(rows.map_err(|error| internal(&self.operator, &error))?);
        if let Some(skipped) = skipped {
            self.rejected_rows += skipped.count_set_bits() as u64;
            let keep = BooleanArray::new(!&skipped, None);
            projected = projected
                .filter(&keep)
                .map_err(|error| internal(&self.operator, &error))?;
        }
        ctx.emit(projected);
        Ok(Progress::Done)
    }

    fn rejected_rows(&self) -> u64 {
        self.rejected_rows
    }
}
