//! Values that come to a side table for the first time, or leave it for good: what the kernels of DISTINCT aggregates see.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;

/// Values that came to a side table, or left it.
pub(in crate::operators) struct Crossing {
    /// The side table.
    pub(in crate::operators) side: usize,
    /// For each value the row of the batch.
    pub(in crate::operators) rows_of: Vec<u32>,
    /// The values: the table's columns.
    pub(in crate::operators) rows: RecordBatch,
    /// Those that left.
    pub(in crate::operators) retracted: BooleanBuffer,
}

/// The values of the rows of a batch that were put into a table.
pub(super) enum Values {
    /// Of those rows alone.
    Chosen(RecordBatch),
    /// Of all rows of the batch.
    All(RecordBatch),
}

/// The values that were not there before and are now, and the other way round. `chosen` are rows of a batch, `before` the
/// multiplicities that their values had, `weights` what was added.
pub(super) fn crossing(
    side: usize,
    chosen: &[u32],
    values: &Values,
    before: &[i64],
    weights: &[i64],
) -> Result<Option<Crossing>, ArrowError> {
    let (mut places, mut rows_of, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for (place, (&before, &weight)) in before.iter().zip(weights).enumerate() {
        let (was, is) = (before > 0, before + weight > 0);
        if was != is {
            places.push(place as u32);
            rows_of.push(chosen[place]);
            left.push(was);
        }
    }
    if rows_of.is_empty() {
        return Ok(None);
    }
    let rows = match values {
        Values::Chosen(values) => take_record_batch(values, &UInt32Array::from(places))?,
        Values::All(values) => take_record_batch(values, &UInt32Array::from(rows_of.clone()))?,
    };
    Ok(Some(Crossing {
        side,
        rows_of,
        rows,
        retracted: BooleanBuffer::from(left),
    }))
}
