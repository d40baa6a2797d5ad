//! The net changes of an epoch: what a reader sees who looks only at its end.
//!
//! An insertion and a retraction of equal rows within one epoch cancel, whichever came first. What is left keeps its
//! order; of equal rows the first retractions and the last insertions stay, so that a key's old row goes before its new
//! one comes.

use arrow::array::{BooleanArray, BooleanBufferBuilder, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use weir_types::ChangeBatch;
use weir_types::hash::hash_columns;

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
    let survivors = match cancelled(&all)? {
        Some(cancelled) => all.filter(&BooleanArray::new(!&cancelled, None))?,
        None => all,
    };
    Ok(pieces(&survivors, batch_rows).collect())
}

/// Marks the rows that cancel each other; `None`: no row does.
fn cancelled(all: &ChangeBatch) -> Result<Option<BooleanBuffer>, ArrowError> {
    let candidates = candidates(all);
    if candidates.count_set_bits() == 0 {
        return Ok(None);
    }
    let some = all.filter(&BooleanArray::new(candidates.clone(), None))?;
    let Some(rows) = encode(&some.rows)? else {
        // Rows that cannot be compared are left as they came.
        return Ok(None);
    };
    let survives = surviving(&some, &rows);
    let mut cancelled = BooleanBufferBuilder::new(all.num_rows());
    cancelled.append_n(all.num_rows(), false);
    for (row, survives) in candidates.set_indices().zip(&survives) {
        cancelled.set_bit(row, !survives);
    }
    Ok(Some(cancelled.finish()))
}

/// Marks the rows that may be equal to one of the other sign, and a few others: of most updates the old row is not the new one,
/// and hashes tell so without comparing rows.
fn candidates(all: &ChangeBatch) -> BooleanBuffer {
    let columns = all.rows.columns().iter();
    // Equal rows are equal in some of their columns, too; nested ones and intervals are dear to hash.
    let is_dear = |t: &DataType| t.is_nested() || matches!(t, DataType::Interval(_));
    let flat: Vec<_> = columns
        .filter(|column| !is_dear(column.data_type()))
        .cloned()
        .collect();
    let hashes = hash_columns(&flat, all.num_rows());
    let has_sign = |row: &usize, sign: i64| all.weight(*row) * sign > 0;
    let rows = || 0..all.num_rows();
    let retracted = HashMarks::of(
        rows()
            .filter(|row| has_sign(row, -1))
            .map(|row| hashes[row]),
    );
    let inserted: Vec<usize> = rows()
        .filter(|row| has_sign(row, 1) && retracted.has(hashes[*row]))
        .collect();
    let mut candidates = BooleanBufferBuilder::new(all.num_rows());
    candidates.append_n(all.num_rows(), false);
    if !inserted.is_empty() {
        let marks = HashMarks::of(inserted.iter().map(|&row| hashes[row]));
        let retracted = rows().filter(|row| has_sign(row, -1) && marks.has(hashes[*row]));
        for row in retracted.chain(inserted.iter().copied()) {
            candidates.set_bit(row, true);
        }
    }
    candidates.finish()
}

/// A set of hashes that may seem to have others, too.
struct HashMarks(Vec<u64>);

impl HashMarks {
    fn of(hashes: impl Iterator<Item = u64> + Clone) -> Self {
        // Half a word for each: one in 32 others seems to be there.
        let words = (hashes.clone().count() / 2 + 1).next_power_of_two();
        let mut marks = Self(vec![0; words]);
        for hash in hashes {
            let (word, bit) = marks.place(hash);
            marks.0[word] |= bit;
        }
        marks
    }

    fn has(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        self.0[word] & bit != 0
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        (hash as usize >> 6 & (self.0.len() - 1), 1 << (hash & 63))
    }
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

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

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
    fn rows_that_hashes_tell_apart_are_left_as_if_all_had_been_compared() {
        let mut random = SmallRng::seed_from_u64(7);
        for values in [4, 100, 10_000] {
            for rows in [1, 50, 3000] {
                let mut row = || {
                    (
                        random.random_range(0..values),
                        [1, -1][random.random_range(0..2)],
                    )
                };
                let rows: Vec<(i64, i64)> = (0..rows).map(|_| row()).collect();
                let all = changes(&rows);
                let survives = surviving(&all, &encode(&all.rows).unwrap().unwrap());
                let survivors = all.filter(&BooleanArray::new(survives, None)).unwrap();
                let net = net(vec![all.slice(0, 1), all.slice(1, rows.len() - 1)], 500).unwrap();
                assert_eq!(list(&net), list(&[survivors]));
            }
        }
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
