//! Joins the rows of a window that never left the log: the smaller side is hashed, the other one asks.
//!
//! Rows meet by the hash of their keys; then the keys themselves are compared, once for each row that has met another,
//! column by column. Two keys with one hash are so rare that such a window goes by the tables.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, kernels::cmp, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::chunk::{Chunk, Loaded};
use super::log::{Piece, Young};
use crate::operators::sides::one_form;

/// What a side is and which of its rows are given.
pub(super) struct SideShape<'a> {
    pub(super) keys: &'a [usize],
    pub(super) schema: &'a SchemaRef,
    /// Whether rows without a partner are given.
    pub(super) gives_unmatched: bool,
}

/// Keys by their hash. The hash is a good one already.
type Numbers = HashMap<u64, u32, BuildHasherDefault<AsItIs>>;

/// Takes a hash for itself.
#[derive(Clone, Copy, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole hashes are hashed")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// No key.
const NONE: u32 = u32::MAX;

/// A row that is given, by itself or beside others, and the number of its key.
struct Kept {
    row: u32,
    key: u32,
}

/// The rows of a window of which anything is given; `None` if two keys share a hash.
pub(super) fn matched(
    young: &Young,
    sides: [SideShape<'_>; 2],
) -> Result<Option<Chunk>, ArrowError> {
    let smaller = usize::from(young.rows_of(0) > young.rows_of(1));
    let (kept, keys) = meet(young, smaller, &sides);
    // Behind the keys that are on both sides: the rows of each side that are given alone.
    let numbers = keys + 2;
    let rows = [0, 1].map(|side: usize| gathered(&young.sides[side], &kept[side], &sides[side]));
    let [left, right] = rows;
    let rows = [left?, right?];
    if !keys_agree(&rows, &kept, &sides, smaller, keys)? {
        return Ok(None);
    }
    let [left, right] = rows;
    Ok(Some(Chunk::new([
        loaded(left, &kept[0], numbers),
        loaded(right, &kept[1], numbers),
    ])))
}

/// The rows of each side that are given, ascending, and how many keys are on both sides. Number `keys + side` stands for
/// the keys of a side that the other one does not have.
fn meet(young: &Young, smaller: usize, sides: &[SideShape<'_>; 2]) -> ([Vec<Kept>; 2], usize) {
    let larger = 1 - smaller;
    let hashes_of = |side: usize| young.sides[side].iter().flat_map(|piece| &piece.hashes);
    let mut first_of: Numbers = HashMap::default();
    let mut key_of_row = Vec::with_capacity(young.rows_of(smaller));
    for &hash in hashes_of(smaller) {
        let next = first_of.len() as u32;
        key_of_row.push(*first_of.entry(hash).or_insert(next));
    }
    // The keys on both sides get new numbers, in the order in which the larger side asks for them.
    let mut numbers = vec![NONE; first_of.len()];
    let mut keys = 0;
    let (mut asked, mut own) = (Vec::new(), Vec::new());
    if !first_of.is_empty() || sides[larger].gives_unmatched {
        for (row, hash) in hashes_of(larger).enumerate() {
            let key = match first_of.get(hash) {
                Some(&key) => {
                    let number = &mut numbers[key as usize];
                    if *number == NONE {
                        *number = keys;
                        keys += 1;
                    }
                    *number
                }
                None if sides[larger].gives_unmatched => NONE,
                None => continue,
            };
            asked.push(Kept {
                row: row as u32,
                key,
            });
        }
    }
    for (row, key) in key_of_row.into_iter().enumerate() {
        let key = numbers[key as usize];
        if key != NONE || sides[smaller].gives_unmatched {
            own.push(Kept {
                row: row as u32,
                key,
            });
        }
    }
    let mut kept = if smaller == 0 {
        [own, asked]
    } else {
        [asked, own]
    };
    for (side, rows) in kept.iter_mut().enumerate() {
        for row in rows.iter_mut().filter(|row| row.key == NONE) {
            row.key = keys + side as u32;
        }
    }
    (kept, keys as usize)
}

/// These rows of a side, in one batch.
fn gathered(
    pieces: &[Piece],
    kept: &[Kept],
    side: &SideShape<'_>,
) -> Result<RecordBatch, ArrowError> {
    let mut batches = Vec::new();
    let (mut start, mut rest) = (0, kept);
    for piece in pieces {
        let end = start + piece.hashes.len() as u32;
        let here;
        (here, rest) = rest.split_at(rest.partition_point(|kept| kept.row < end));
        if here.len() == piece.hashes.len() {
            batches.push(piece.rows.clone());
        } else if !here.is_empty() {
            let rows: UInt32Array = here.iter().map(|kept| Some(kept.row - start)).collect();
            batches.push(take_record_batch(&piece.rows, &rows)?);
        }
        start = end;
    }
    concat_batches(side.schema, &batches)
}

/// Whether rows that have met have the same keys, and not only the same hash.
fn keys_agree(
    rows: &[RecordBatch; 2],
    kept: &[Vec<Kept>; 2],
    sides: &[SideShape<'_>; 2],
    smaller: usize,
    keys: usize,
) -> Result<bool, ArrowError> {
    if keys == 0 {
        return Ok(true);
    }
    // Every row is compared with the smaller side's first one of its key.
    let mut first_of = vec![NONE; keys];
    for (place, kept) in kept[smaller].iter().enumerate() {
        if let Some(first) = first_of.get_mut(kept.key as usize)
            && *first == NONE
        {
            *first = place as u32;
        }
    }
    for side in [0, 1] {
        let mut places = Vec::new();
        let mut firsts = Vec::new();
        for (place, kept) in kept[side].iter().enumerate() {
            if let Some(&first) = first_of.get(kept.key as usize) {
                places.push(place as u32);
                firsts.push(first);
            }
        }
        let (places, firsts) = (UInt32Array::from(places), UInt32Array::from(firsts));
        for (&here, &there) in sides[side].keys.iter().zip(sides[smaller].keys) {
            let column = |rows: &RecordBatch, column: usize, places: &UInt32Array| {
                take(rows.column(column), places, None).map(one_form)
            };
            let here = column(&rows[side], here, &places)?;
            let there = column(&rows[smaller], there, &firsts)?;
            if cmp::eq(&here, &there)?.true_count() < places.len() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The rows by their keys' numbers.
fn loaded(rows: RecordBatch, kept: &[Kept], numbers: usize) -> Loaded {
    let mut starts = vec![0; numbers + 1];
    for kept in kept {
        starts[kept.key as usize + 1] += 1;
    }
    for number in 0..numbers {
        starts[number + 1] += starts[number];
    }
    let mut next = starts.clone();
    let mut of_keys = vec![0; kept.len()];
    for (place, kept) in kept.iter().enumerate() {
        let next = &mut next[kept.key as usize];
        of_keys[*next] = place as u32;
        *next += 1;
    }
    Loaded {
        rows,
        of_keys,
        starts,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::operators::window_join::log::tests::young;

    fn piece(schema: &SchemaRef, keys: &[i64], hashes: &[u64]) -> Piece {
        let column = Arc::new(Int64Array::from(keys.to_vec()));
        Piece {
            rows: RecordBatch::try_new(schema.clone(), vec![column]).unwrap(),
            hashes: hashes.to_vec(),
        }
    }

    fn pairs(left: (&[i64], &[u64]), right: (&[i64], &[u64])) -> Option<Vec<(i64, i64)>> {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
        let young = young([left, right].map(|(keys, hashes)| vec![piece(&schema, keys, hashes)]));
        let side = || SideShape {
            keys: &[0],
            schema: &schema,
            gives_unmatched: false,
        };
        let mut chunk = matched(&young, [side(), side()]).unwrap()?;
        let key = |chunk: &Chunk, side: usize, row: u32| {
            let keys = chunk.sides[side].rows.column(0).clone();
            let keys = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&keys);
            keys.value(row as usize)
        };
        let mut all = Vec::new();
        loop {
            let next = chunk.next_pairs(2);
            if next.is_empty() {
                return Some(all);
            }
            all.extend(
                next.iter()
                    .map(|&(left, right)| (key(&chunk, 0, left), key(&chunk, 1, right))),
            );
        }
    }

    #[test]
    fn keys_of_one_hash_are_told_apart() {
        let both = pairs((&[1, 2, 1], &[10, 20, 10]), (&[2, 3, 2], &[20, 30, 20]));
        assert_eq!(both, Some(vec![(2, 2), (2, 2)]));
        assert_eq!(pairs((&[1], &[10]), (&[2, 1], &[10, 10])), None);
        assert_eq!(pairs((&[1, 2], &[10, 10]), (&[1], &[10])), None);
        // Nobody asks for them.
        assert_eq!(pairs((&[1, 2], &[10, 10]), (&[3], &[30])), Some(vec![]));
    }
}
