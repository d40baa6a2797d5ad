//! The values that a reader of a view wants, as arrays of the view's types: keys to look up, and a sieve for rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, Scalar, UInt32Array};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{cast, concat, filter_record_batch, or_kleene, prep_null_mask_filter, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use weir_planner::Wanted;

use crate::expr::scalar_array;

/// Column of the view and the values that it may have, for each column that the reader speaks of.
pub(crate) struct Looked(Vec<(usize, ArrayRef)>);

impl Looked {
    /// What fits the view's columns: the rest is left to the reader, which looks at every row itself.
    pub(crate) fn new(wanted: &[Wanted], schema: &SchemaRef) -> Self {
        let columns = wanted.iter().filter_map(|wanted| {
            let (place, field) = schema.column_with_name(&wanted.column)?;
            let values = wanted.values.iter();
            let values: Option<Vec<ArrayRef>> = values
                .map(|value| {
                    let value = scalar_array(value, &wanted.data_type)?;
                    let same = *value.data_type() == *field.data_type()
                        || wanted.data_type.to_arrow() == *field.data_type();
                    same.then(|| cast(&value, field.data_type()).ok()).flatten()
                })
                .collect();
            let values = values?;
            let all: Vec<&dyn Array> = values.iter().map(|value| &**value).collect();
            let all = match all.is_empty() {
                true => arrow::array::new_empty_array(field.data_type()),
                false => concat(&all).ok()?,
            };
            Some((place, all))
        });
        Self(columns.collect())
    }

    /// Every combination of values of these columns, column by column; `None`: not all of them are known.
    pub(crate) fn keys(&self, columns: &[usize]) -> Option<Vec<ArrayRef>> {
        let of = |column: &usize| self.0.iter().find(|(place, _)| place == column);
        let values: Option<Vec<&ArrayRef>> =
            columns.iter().map(|column| Some(&of(column)?.1)).collect();
        let values = values?;
        let count: usize = values.iter().map(|values| values.len()).product();
        let mut apart = count;
        let keys = values.into_iter().map(|values| {
            // The first column changes slowest.
            apart /= values.len().max(1);
            let places: UInt32Array = (0..count)
                .map(|key| (key / apart.max(1) % values.len().max(1)) as u32)
                .collect();
            take(values, &places, None).ok()
        });
        keys.collect()
    }
}

/// The rows that have wanted values.
pub(crate) fn passing(rows: RecordBatch, looked: &Looked) -> Result<RecordBatch, ArrowError> {
    let mut rows = rows;
    for (column, values) in &looked.0 {
        let mut mask = BooleanArray::from(vec![false; rows.num_rows()]);
        for value in 0..values.len() {
            let value: ArrayRef = values.slice(value, 1);
            let same = eq(
                &rows.column(*column).as_ref(),
                &Scalar::new(Arc::clone(&value)),
            )?;
            mask = or_kleene(&mask, &same)?;
        }
        if mask.null_count() > 0 {
            mask = prep_null_mask_filter(&mask);
        }
        rows = filter_record_batch(&rows, &mask)?;
    }
    Ok(rows)
}
