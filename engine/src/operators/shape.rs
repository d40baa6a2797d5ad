//! What a join that time bounds gives: pairs, and rows of a side for themselves.
//!
//! ```text
//!   inner   pairs                     semi   left rows with a partner
//!   left    pairs, left rows          anti   left rows without one
//!   right   pairs, right rows         full   pairs, left rows, right rows: those without a partner, beside NULLs
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{FieldRef, SchemaRef};
use weir_planner::plan::JoinKind;
use weir_types::OperatorId;

use super::build::internal;
use crate::Result;

/// Which rows of a side are given for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    Never,
    /// Those without a partner.
    Unmatched,
    /// Those with one.
    Matched,
}

/// The output of a join.
pub(super) struct Shape {
    pub(super) operator: OperatorId,
    pub(super) join: JoinKind,
    /// Columns of the left input followed by those of the right one.
    pub(super) pairs: SchemaRef,
    /// Columns of the output.
    pub(super) schema: SchemaRef,
}

impl Shape {
    pub(super) fn alone(&self, side: usize) -> Alone {
        match (self.join, side) {
            (JoinKind::Semi, 0) => Alone::Matched,
            (join, 0) if join.keeps_left() => Alone::Unmatched,
            (join, 1) if join.keeps_right() => Alone::Unmatched,
            _ => Alone::Never,
        }
    }

    /// Whether pairs are given: not by semi and anti joins.
    pub(super) fn gives_pairs(&self) -> bool {
        self.join.gives_right()
    }

    /// Columns of one side beside those of the other.
    pub(super) fn paired(
        &self,
        side: usize,
        here: Vec<ArrayRef>,
        there: Vec<ArrayRef>,
    ) -> Result<RecordBatch> {
        let (left, right) = if side == 0 {
            (here, there)
        } else {
            (there, here)
        };
        let columns = left.into_iter().chain(right).collect();
        RecordBatch::try_new(Arc::clone(&self.pairs), columns)
            .map_err(|error| internal(&self.operator, &error))
    }

    /// Rows of one side as rows of the output: beside NULLs where it has the columns of the other side.
    pub(super) fn by_itself(&self, side: usize, mut columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        let rows = columns.first().map_or(0, |column| column.len());
        if self.gives_pairs() {
            let fields = self.schema.fields();
            let nulls = |fields: &[FieldRef]| -> Vec<ArrayRef> {
                fields
                    .iter()
                    .map(|field| new_null_array(field.data_type(), rows))
                    .collect()
            };
            if side == 0 {
                columns.extend(nulls(&fields[columns.len()..]));
            } else {
                let mut left = nulls(&fields[..fields.len() - columns.len()]);
                left.append(&mut columns);
                columns = left;
            }
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| internal(&self.operator, &error))
    }
}
