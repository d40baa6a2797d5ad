//! The unit of data in motion.

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::error::ArrowError;

/// A batch of rows, each inserted or retracted.
///
/// A retraction is a row equal to the one that it takes back. No bitmap means append-only, and costs nothing.
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    /// The rows. Every column has the canonical Arrow type of its SQL type.
    pub rows: RecordBatch,
    /// Set bits are retracted rows; `None` means that all rows are inserted.
    pub retracted: Option<BooleanBuffer>,
    /// The hidden *own watermark* (microseconds) of rows that were behind it when they entered; NULL for all
    /// other rows, `None` when there is no such row. Lateness is judged by it alone.
    pub own_watermark: Option<Int64Array>,
}

impl ChangeBatch {
    /// An append-only batch in which no row is behind.
    pub fn append_only(rows: RecordBatch) -> Self {
        Self {
            rows,
            retracted: None,
            own_watermark: None,
        }
    }

    /// Number of rows, insertions and retractions.
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether row `row` is a retraction.
    pub fn is_retracted(&self, row: usize) -> bool {
        self.retracted.as_ref().is_some_and(|bits| bits.value(row))
    }

    /// +1 for an insertion, −1 for a retraction.
    pub fn weight(&self, row: usize) -> i64 {
        if self.is_retracted(row) { -1 } else { 1 }
    }

    /// The same changes over other columns (same number of rows).
    pub fn with_rows(&self, rows: RecordBatch) -> Self {
        debug_assert_eq!(rows.num_rows(), self.num_rows());
        Self {
            rows,
            retracted: self.retracted.clone(),
            own_watermark: self.own_watermark.clone(),
        }
    }

    /// The rows where `keep` is true (NULL counts as false).
    ///
    /// # Errors
    /// From Arrow's kernels, when lengths differ.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self, ArrowError> {
        let rows = compute::filter_record_batch(&self.rows, keep)?;
        let retracted = self
            .retracted
            .as_ref()
            .map(|bits| compute::filter(&BooleanArray::new(bits.clone(), None), keep))
            .transpose()?
            .map(|array| array.to_data().into())
            .map(|array: BooleanArray| array.values().clone());
        let own_watermark = self
            .own_watermark
            .as_ref()
            .map(|own| compute::filter(own, keep))
            .transpose()?;
        Ok(Self {
            rows,
            retracted,
            own_watermark: own_watermark.and_then(into_watermarks),
        }
        .normalized())
    }

    /// The rows at `indices`, in that order.
    ///
    /// # Errors
    /// From Arrow's kernels, when an index is out of bounds.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self, ArrowError> {
        let rows = compute::take_record_batch(&self.rows, indices)?;
        let retracted = self.retracted.as_ref().map(|bits| {
            indices
                .values()
                .iter()
                .map(|&i| bits.value(i as usize))
                .collect::<BooleanBuffer>()
        });
        let own_watermark = self
            .own_watermark
            .as_ref()
            .map(|own| compute::take(own, indices, None))
            .transpose()?;
        Ok(Self {
            rows,
            retracted,
            own_watermark: own_watermark.and_then(into_watermarks),
        }
        .normalized())
    }

    /// Rows `offset .. offset + length`, without a copy.
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self {
            rows: self.rows.slice(offset, length),
            retracted: self
                .retracted
                .as_ref()
                .map(|bits| bits.slice(offset, length)),
            own_watermark: self
                .own_watermark
                .as_ref()
                .map(|own| own.slice(offset, length)),
        }
        .normalized()
    }

    /// One batch of all rows of `batches`, which must have one schema and not be empty.
    ///
    /// # Errors
    /// From Arrow's kernels, when schemas differ.
    pub fn concat(batches: &[Self]) -> Result<Self, ArrowError> {
        let schema = batches[0].rows.schema();
        let rows = compute::concat_batches(&schema, batches.iter().map(|batch| &batch.rows))?;
        let retracted = batches
            .iter()
            .any(|batch| batch.retracted.is_some())
            .then(|| {
                batches
                    .iter()
                    .flat_map(|batch| (0..batch.num_rows()).map(|row| batch.is_retracted(row)))
                    .collect::<BooleanBuffer>()
            });
        let own_watermark = batches
            .iter()
            .any(|batch| batch.own_watermark.is_some())
            .then(|| {
                batches
                    .iter()
                    .flat_map(|batch| {
                        (0..batch.num_rows()).map(|row| {
                            batch
                                .own_watermark
                                .as_ref()
                                .filter(|own| own.is_valid(row))
                                .map(|own| own.value(row))
                        })
                    })
                    .collect::<Int64Array>()
            });
        Ok(Self {
            rows,
            retracted,
            own_watermark,
        })
    }

    /// Drops a bitmap without a set bit and an own-watermark column without a value.
    fn normalized(mut self) -> Self {
        if self
            .retracted
            .as_ref()
            .is_some_and(|bits| bits.count_set_bits() == 0)
        {
            self.retracted = None;
        }
        if self
            .own_watermark
            .as_ref()
            .is_some_and(|own| own.null_count() == own.len())
        {
            self.own_watermark = None;
        }
        self
    }
}

fn into_watermarks(array: arrow::array::ArrayRef) -> Option<Int64Array> {
    use arrow::array::AsArray;
    array
        .as_primitive_opt::<arrow::datatypes::Int64Type>()
        .cloned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn batch(values: Vec<i64>, retracted: Vec<bool>) -> ChangeBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let rows = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values))]).unwrap();
        ChangeBatch {
            rows,
            retracted: Some(retracted.into()),
            own_watermark: None,
        }
    }

    #[test]
    fn filter_take_and_concat_carry_retractions_along() {
        let changes = batch(vec![1, 2, 3], vec![false, true, true]);
        let kept = changes
            .filter(&BooleanArray::from(vec![true, false, true]))
            .unwrap();
        assert_eq!(
            (kept.num_rows(), kept.weight(0), kept.weight(1)),
            (2, 1, -1)
        );
        let taken = changes.take(&UInt32Array::from(vec![2, 0])).unwrap();
        assert_eq!((taken.weight(0), taken.weight(1)), (-1, 1));
        assert!(changes.slice(0, 1).retracted.is_none());
        let both = ChangeBatch::concat(&[changes.slice(0, 1), taken]).unwrap();
        assert_eq!(
            (0..3).map(|row| both.weight(row)).collect::<Vec<_>>(),
            [1, -1, 1]
        );
    }
}
