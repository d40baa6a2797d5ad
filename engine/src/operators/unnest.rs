//! UNNEST: each row once for every element of its array or map.
//!
//! ```text
//!   a, [x, y]  ──▶  a, x, 1      outer:  b, []    ──▶  b, NULL, NULL
//!                   a, y, 2              c, NULL  ──▶  c, NULL, NULL
//! ```
//!
//! # Invariants
//! 1. A retracted row gives the retractions of what it gave: the elements come from the row itself.
//! 2. A call gives at most one batch; a cursor says which element of which row is next.
//! 3. Event time passes: the rows of an element are no older than the row that held it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType as ArrowType, SchemaRef};
use weir_types::{ChangeBatch, OperatorId};

use super::build::{internal, internal_text};
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// Turns elements into rows.
pub(super) struct Unnest {
    operator: OperatorId,
    /// The array or map.
    column: usize,
    /// Columns of the input that are given beside the elements.
    keep: Vec<usize>,
    /// A row without elements gives one row of NULLs.
    outer: bool,
    /// A last column numbers the elements from 1.
    ordinality: bool,
    schema: SchemaRef,
    /// A batch that is not given whole yet.
    pending: Option<Pending>,
}

/// Where a batch goes on.
struct Pending {
    batch: ChangeBatch,
    elements: Elements,
    row: usize,
    /// The next element of `row`.
    element: usize,
}

/// The elements of all rows of a batch, side by side.
struct Elements {
    offsets: OffsetBuffer<i32>,
    nulls: Option<NullBuffer>,
    /// A column for each part of an element; NULL where the element as a whole is.
    columns: Vec<ArrayRef>,
}

/// The next piece of output: for each of its rows where it comes from.
#[derive(Default)]
struct Piece {
    rows: Vec<u32>,
    /// Place among the elements; `None` for the row of NULLs.
    elements: Vec<Option<u32>>,
    numbers: Vec<Option<i64>>,
}

impl Unnest {
    pub(super) fn new(
        operator: OperatorId,
        column: usize,
        keep: Vec<usize>,
        outer: bool,
        ordinality: bool,
        schema: SchemaRef,
    ) -> Self {
        Self {
            operator,
            column,
            keep,
            outer,
            ordinality,
            schema,
            pending: None,
        }
    }

    /// The next rows, `limit` of them; moves the cursor.
    fn piece(&self, pending: &mut Pending, limit: usize) -> Piece {
        let mut piece = Piece::default();
        while pending.row < pending.batch.num_rows() && piece.rows.len() < limit {
            let row = pending.row;
            let (first, count) = pending.elements.of_row(row);
            if count == 0 && self.outer {
                piece.rows.push(row as u32);
                piece.elements.push(None);
                piece.numbers.push(None);
            }
            while pending.element < count && piece.rows.len() < limit {
                piece.rows.push(row as u32);
                piece.elements.push(Some((first + pending.element) as u32));
                pending.element += 1;
                piece.numbers.push(Some(pending.element as i64));
            }
            if pending.element >= count {
                (pending.row, pending.element) = (row + 1, 0);
            }
        }
        piece
    }

    fn give(&mut self, mut pending: Pending, ctx: &mut OperatorContext) -> Result<Progress> {
        let piece = self.piece(&mut pending, ctx.batch_rows.max(1));
        if !piece.rows.is_empty() {
            let given = self.rows(&pending, piece);
            ctx.emit(given.map_err(|error| internal(&self.operator, &error))?);
        }
        if pending.row < pending.batch.num_rows() {
            self.pending = Some(pending);
            return Ok(Progress::More);
        }
        Ok(Progress::Done)
    }

    fn rows(
        &self,
        pending: &Pending,
        piece: Piece,
    ) -> std::result::Result<ChangeBatch, arrow::error::ArrowError> {
        let rows = &pending.batch.rows;
        let kept = if self.keep.is_empty() {
            // A batch needs a column to know how long it is.
            let numbers: UInt32Array = (0..rows.num_rows() as u32).collect();
            RecordBatch::try_from_iter([("row", Arc::new(numbers) as ArrayRef)])?
        } else {
            rows.project(&self.keep)?
        };
        // Signs and own watermarks are taken along, also where no column is kept.
        let taken = pending
            .batch
            .with_rows(kept)
            .take(&UInt32Array::from(piece.rows))?;
        let elements = UInt32Array::from(piece.elements);
        let mut columns = taken.rows.columns().to_vec();
        columns.truncate(self.keep.len());
        for part in &pending.elements.columns {
            columns.push(take(part, &elements, None)?);
        }
        if self.ordinality {
            columns.push(Arc::new(Int64Array::from(piece.numbers)));
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        Ok(taken.with_rows(rows))
    }
}

impl Elements {
    /// The first element of a row, and how many there are.
    fn of_row(&self, row: usize) -> (usize, usize) {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return (0, 0);
        }
        let (first, end) = (self.offsets[row] as usize, self.offsets[row + 1] as usize);
        (first, end - first)
    }

    /// The elements of a column; `None` for a column that has none.
    fn of_column(column: &ArrayRef) -> Option<Self> {
        match column.data_type() {
            ArrowType::List(_) => {
                let list = column.as_list::<i32>();
                let values = list.values();
                let columns = match values.as_struct_opt() {
                    // A field of an element that is NULL is NULL.
                    Some(rows) => rows
                        .columns()
                        .iter()
                        .map(|field| masked(field, rows.nulls()))
                        .collect::<Option<_>>()?,
                    None => vec![values.clone()],
                };
                Some(Self {
                    offsets: list.offsets().clone(),
                    nulls: list.nulls().cloned(),
                    columns,
                })
            }
            ArrowType::Map(_, _) => {
                let map = column.as_map();
                Some(Self {
                    offsets: map.offsets().clone(),
                    nulls: map.nulls().cloned(),
                    columns: vec![map.keys().clone(), map.values().clone()],
                })
            }
            _ => None,
        }
    }
}

/// The array, NULL where the mask is as well.
fn masked(array: &ArrayRef, mask: Option<&NullBuffer>) -> Option<ArrayRef> {
    let Some(mask) = mask else {
        return Some(array.clone());
    };
    let nulls = NullBuffer::union(array.nulls(), Some(mask));
    let data = array.to_data().into_builder().nulls(nulls).build().ok()?;
    Some(arrow::array::make_array(data))
}

impl Operator for Unnest {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let elements = Elements::of_column(batch.rows.column(self.column)).ok_or_else(|| {
            internal_text(&self.operator, "the column is neither an array nor a map")
        })?;
        self.give(
            Pending {
                batch,
                elements,
                row: 0,
                element: 0,
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
