//! The net changes of an epoch: what a reader sees who looks only at its end.
//!
//! An insertion and a retraction of equal rows within one epoch cancel, whichever came first. What is left keeps its
//! order; of equal rows the first retractions and the last insertions stay, so that a key's old row goes before its new
//! one comes.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use weir_types::ChangeBatch;

use super::bytes::BytesMap;

/// The batches of an epoch, without pairs that cancel, in batches of at most `batch_rows`.
///
/// # Errors
/// From Arrow's kernels.
pub(super) fn net(
    batches: Vec<ChangeBatch>,
    batch_rows: usize,
) -> Result<Vec<ChangeBatch>, ArrowError> {
    if batches.iter().all(|batch| batch.retracted.is_none()) {
        let pieces = batches.iter().flat_map(|batch| pieces(batch, batch_rows));
        return Ok(pieces.collect());
    }
    let all = ChangeBatch::concat(&batches)?;
    let survivors = match encode(&all.rows)? {
        Some(rows) => all.filter(&BooleanArray::new(surviving(&all, &rows), None))?,
        // Rows that cannot be compared are left as they came.
        None => all,
    };
    Ok(pieces(&survivors, batch_rows).collect())
}

/// A batch cut into pieces of at most `batch_rows`; none of an empty one.
fn pieces(batch: &ChangeBatch, batch_rows: usize) -> impl Iterator<Item = ChangeBatch> + '_ {
    let count = batch.num_rows();
    (0..count)
        .step_by(batch_rows.max(1))
        .map(move |start| batch.slice(start, batch_rows.min(count - start)))
}

/// Rows in a form in which equal rows are equal bytes. It lives for this call only: the encoding may change
/// with the library.
fn encode(rows: &RecordBatch) -> Result<Option<Rows>, ArrowError> {
    let fields: Vec<_> = rows
        .columns()
        .iter()
        .map(|column| SortField::new(column.data_type().clone()))
        .collect();
    if fields.is_empty() || !RowConverter::supports_fields(&fields) {
        return Ok(None);
    }
    RowConverter::new(fields)?
        .convert_columns(rows.columns())
        .map(Some)
}

fn surviving(all: &ChangeBatch, rows: &Rows) -> BooleanBuffer {
    // What is left of each distinct row: insertions above zero, retractions below.
    let mut left: BytesMap<'_, i64> = BytesMap::default();
    left.reserve(all.num_rows());
    for row in 0..all.num_rows() {
        *left.entry(rows.row(row).data()).or_default() += all.weight(row);
    }
    let mut survives = vec![false; all.num_rows()];
    let mut keep = |row: usize, sign: i64| {
        if all.weight(row) == sign
            && let Some(left) = left.get_mut(rows.row(row).data())
            && *left * sign > 0
        {
            *left -= sign;
            survives[row] = true;
        }
    };
    (0..all.num_rows()).for_each(|row| keep(row, -1));
    (0..all.num_rows()).rev().for_each(|row| keep(row, 1));
    survives.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn changes(rows: &[(i64, i64)]) -> ChangeBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let values: Int64Array = rows.iter().map(|row| Some(row.0)).collect();
        let retracted: BooleanBuffer = rows.iter().map(|row| row.1 < 0).collect();
        let rows = RecordBatch::try_new(schema, vec![Arc::new(values)]).unwrap();
        ChangeBatch {
            rows,
            retracted: Some(retracted),
            own_watermark: None,
        }
    }

    fn list(batches: &[ChangeBatch]) -> Vec<(i64, i64)> {
        let rows = batches.iter().flat_map(|batch| {
            let values = batch.rows.column(0).as_primitive::<Int64Type>().clone();
            (0..batch.num_rows())
                .map(move |row| (values.value(row), batch.weight(row)))
                .collect::<Vec<_>>()
        });
        rows.collect()
    }

    #[test]
    fn equal_insertions_and_retractions_cancel_across_batches() {
        let net = net(
            vec![
                changes(&[(1, -1), (2, 1)]),
                changes(&[(2, -1), (3, 1), (5, 1), (5, 1)]),
            ],
            2,
        )
        .unwrap();
        assert_eq!(list(&net), [(1, -1), (3, 1), (5, 1), (5, 1)]);
        assert!(net.iter().all(|batch| batch.num_rows() <= 2));
    }

    #[test]
    fn rows_that_are_only_inserted_come_in_small_batches_too() {
        let mut inserted = changes(&[(1, 1), (2, 1), (3, 1)]);
        inserted.retracted = None;
        let net = net(vec![inserted], 2).unwrap();
        let rows: Vec<usize> = net.iter().map(ChangeBatch::num_rows).collect();
        assert_eq!(rows, [2, 1]);
    }

    #[test]
    fn a_change_back_and_forth_leaves_nothing() {
        assert!(
            net(vec![changes(&[(1, -1), (2, 1), (2, -1), (1, 1)])], 10)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn the_old_row_goes_before_the_new_one_comes() {
        let net = net(
            vec![changes(&[
                (1, -1),
                (2, 1),
                (2, -1),
                (1, 1),
                (1, -1),
                (3, 1),
            ])],
            10,
        )
        .unwrap();
        assert_eq!(list(&net), [(1, -1), (3, 1)]);
    }
}
