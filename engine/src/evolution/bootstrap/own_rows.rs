//! The rows of a join's side as the old state has them, with the columns of the new side.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use weir_state::{MultiMapTable, RestCursor};
use weir_types::{ChangeBatch, OperatorId};

use crate::evolution::change::wider;
use crate::operators::{Copies, Operator, OperatorContext, Progress};
use crate::{Error, Result};

/// See the module.
pub(crate) struct OwnRows {
    operator: OperatorId,
    rows: MultiMapTable,
    /// For each column the one of the old side; `None`: it was never stored, and is NULL.
    columns: Vec<Option<usize>>,
    schema: SchemaRef,
    copies: Copies,
}

impl OwnRows {
    pub(crate) fn new(
        operator: OperatorId,
        rows: MultiMapTable,
        columns: Vec<Option<usize>>,
        schema: SchemaRef,
    ) -> Self {
        Self {
            operator,
            rows,
            columns,
            schema,
            copies: Copies::default(),
        }
    }

    fn read(
        &self,
        cursor: &mut RestCursor,
        limit: usize,
    ) -> weir_state::Result<(RecordBatch, Vec<i64>)> {
        let (old, counts) = self.rows.read_on(cursor, limit)?;
        let column = |(from, field): (&Option<usize>, &arrow::datatypes::FieldRef)| -> ArrayRef {
            match from {
                Some(column) => old.column(*column).clone(),
                None => new_null_array(field.data_type(), counts.len()),
            }
        };
        let columns = self.columns.iter().zip(self.schema.fields());
        let columns: Vec<ArrayRef> = columns.map(column).collect();
        let columns = columns.iter().zip(self.schema.fields());
        // A type may have been widened.
        let columns = columns.map(|(column, field)| wider(column, field.data_type()));
        let columns: Vec<ArrayRef> = columns
            .collect::<std::result::Result<_, _>>()
            .map_err(weir_state::Error::Incompatible)?;
        let options = RecordBatchOptions::new().with_row_count(Some(counts.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        let rows = rows.map_err(|error| weir_state::Error::Corrupt(error.to_string()))?;
        Ok((rows, counts))
    }
}

impl Operator for OwnRows {
    fn on_batch(&mut self, _: usize, _: ChangeBatch, _: &mut OperatorContext) -> Result<Progress> {
        Err(Error::Internal {
            operator: self.operator.clone(),
            message: "what gives a side's own rows has no input".to_owned(),
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
            return Ok(Progress::Done);
        };
        ctx.emit(ChangeBatch::append_only(rows));
        Ok(Progress::More)
    }
}
