//! UNION ALL: all rows of all inputs, as they come.
//!
//! Columns have the types of the output already (the planner casts); names are the output's.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use weir_types::{ChangeBatch, OperatorId};

use super::build::internal;
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// Passes every batch on under the output's column names.
pub(super) struct Union {
    pub(super) operator: OperatorId,
    pub(super) schema: SchemaRef,
}

impl Operator for Union {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), batch.rows.columns().to_vec());
        let rows = rows.map_err(|error| internal(&self.operator, &error))?;
        ctx.emit(batch.with_rows(rows));
        Ok(Progress::Done)
    }
}
