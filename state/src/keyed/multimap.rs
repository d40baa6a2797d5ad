//! key → multiset of rows: what a join side keeps.
//!
//! An entry of its cache is one row of one key, the value its multiplicity:
//!
//! ```text
//!   cache key     memcomparable key ‖ encoded row          (the order key is the row itself)
//!   cache value   count
//!   lists         key ─▶ its rows in memory
//! ```
//!
//! `apply` looks up single rows. `probe` needs all rows of a key: it loads them by a scan of the key's prefix if there
//! are not too many, and otherwise reads on from the database, row by row, as far as the cursor asks.

use std::ops::ControlFlow;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::BooleanBuffer;
use weir_types::hash::mix;
use weir_types::{DataType, Schema};
use xxhash_rust::xxh3::xxh3_64;

use super::cache::{Cache, CacheRef, Missing, broken, entry_bytes, writable};
use super::chunk::{ColumnData, KeyBatch, KeyRef};
use super::map::SCAN_ROWS;
use crate::backend::Keys;
use crate::encoding::{Builder, key, value};
use crate::{Error, Result};

/// key → multiset of rows (the value columns), each with a multiplicity. A handle: clones speak of the same table.
#[derive(Clone)]
pub struct MultiMapTable {
    pub(crate) cache: CacheRef,
}

/// Rows that a probe found.
pub struct Matches {
    /// For each match, the row of the probing batch.
    pub probe_rows: UInt32Array,
    /// For each match, the stored row (value columns).
    pub rows: RecordBatch,
    /// For each match, its multiplicity (> 0).
    pub counts: Vec<i64>,
}

/// Where a probe that hit its limit goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeCursor {
    /// The row of the probing batch.
    pub row: usize,
    /// Rows of its key that were given already.
    pub matched: usize,
}

/// Where a probe of a key with too many rows for memory stopped reading the database.
pub(crate) struct Resume {
    /// The database key of the first row that was not given.
    pub(super) next: Vec<u8>,
    /// Rows that were given before it.
    pub(super) matched: usize,
}

/// Collects matches.
pub(super) struct Found {
    probe_rows: Vec<u32>,
    counts: Vec<i64>,
    builders: Vec<Builder>,
    schema: Schema,
}

impl Found {
    fn new(schema: &Schema) -> Self {
        Self {
            probe_rows: Vec::new(),
            counts: Vec::new(),
            builders: Builder::of_columns(schema),
            schema: schema.clone(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    pub(super) fn push(&mut self, probe_row: usize, row: &[u8], count: i64) -> Result<()> {
        value::take_row(row, &mut self.builders)?;
        self.probe_rows.push(probe_row as u32);
        self.counts.push(count);
        Ok(())
    }

    fn finish(self) -> Result<Matches> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.counts.len()));
        let columns = self.builders.into_iter().map(Builder::finish).collect();
        let rows = RecordBatch::try_new_with_options(
            DataType::arrow_schema(&self.schema),
            columns,
            &options,
        )
        .map_err(|error| Error::io("building a batch of state", error))?;
        Ok(Matches {
            probe_rows: self.probe_rows.into(),
            rows,
            counts: self.counts,
        })
    }
}

/// The hash of a row within its key: the upper half is the key's, so that the key group is the same.
#[inline]
pub(super) fn row_hash(key_hash: u64, row: &[u8]) -> u64 {
    row_hash_of(key_hash, xxh3_64(row))
}

/// The same from the hash of the row's bytes.
#[inline]
pub(super) fn row_hash_of(key_hash: u64, row: u64) -> u64 {
    (key_hash & !u64::from(u32::MAX)) | u64::from(mix(key_hash ^ row) as u32)
}

#[inline]
pub(super) fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl MultiMapTable {
    pub(crate) fn new(cache: CacheRef) -> Self {
        Self { cache }
    }

    /// Adds `weights[i]` (±) to the multiplicity of row i under key i. A multiplicity of zero removes the row; below
    /// zero (after the whole batch) is an error of ours.
    ///
    /// # Errors
    /// `Corrupt` for a multiplicity below zero; else when the database cannot be read or written.
    pub fn apply(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        rows: &RecordBatch,
        weights: &[i64],
    ) -> Result<()> {
        let mut cache = self.cache.borrow_mut();
        let table = cache.table.clone();
        let key_columns = table.canonical_keys(keys)?;
        let keys = table.key_batch(&key_columns, hashes.len()).into_bytes();
        let columns = table.canonical_values(rows.columns())?;
        let readers = table.value_readers(&columns);
        let mut entries = Keys::default();
        let mut entry_hashes = Vec::with_capacity(hashes.len());
        for (row, &hash) in hashes.iter().enumerate() {
            entries.bytes.extend_from_slice(keys.get(row));
            let start = entries.bytes.len();
            value::put_row(&readers, row, &mut entries.bytes);
            entry_hashes.push(row_hash(hash, &entries.bytes[start..]));
            entries.end_key();
        }
        let mut slots = Vec::new();
        cache.slots(
            &KeyBatch::Bytes(entries),
            &entry_hashes,
            Missing::Create,
            &mut slots,
        )?;
        for (row, &slot) in slots.iter().enumerate() {
            cache.attach(slot, hashes[row], keys.get(row));
        }
        cache.update_charge();
        add_weights(&mut cache, &slots, weights);
        check_counts(&cache, &slots)
    }

    /// Matches of the probing rows from `cursor` on, about `limit` at most; the cursor to go on with, if any is left.
    /// Rows with a NULL key are the caller's to leave out (`skip[i]`). Between two calls of one probe the table must
    /// not change.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn probe(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        skip: Option<&BooleanBuffer>,
        cursor: ProbeCursor,
        limit: usize,
    ) -> Result<(Matches, Option<ProbeCursor>)> {
        let mut cache = self.cache.borrow_mut();
        cache.acknowledge();
        let table = cache.table.clone();
        let key_columns = table.canonical_keys(keys)?;
        let keys = table.key_batch(&key_columns, hashes.len()).into_bytes();
        let mut found = Found::new(&table.spec.value);
        let limit = limit.max(1);
        let mut matched = cursor.matched;
        for (row, &hash) in hashes.iter().enumerate().skip(cursor.row) {
            if skip.is_some_and(|skip| skip.value(row)) {
                continue;
            }
            if found.len() >= limit {
                return Ok((found.finish()?, Some(ProbeCursor { row, matched: 0 })));
            }
            let done = cache.probe_key(row, hash, keys.get(row), matched, limit, &mut found)?;
            if let Some(matched) = done {
                return Ok((found.finish()?, Some(ProbeCursor { row, matched })));
            }
            matched = 0;
        }
        Ok((found.finish()?, None))
    }

    /// For each key whether it has any row; not asked for those that `skip` names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn contains(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        skip: Option<&BooleanBuffer>,
    ) -> Result<BooleanBuffer> {
        let cache = self.cache.borrow();
        let table = cache.table.clone();
        let key_columns = table.canonical_keys(keys)?;
        let keys = table.key_batch(&key_columns, hashes.len()).into_bytes();
        let any = hashes.iter().enumerate().map(|(row, &hash)| {
            let asked = !skip.is_some_and(|skip| skip.value(row));
            Ok(asked && cache.has_rows(hash, keys.get(row))?)
        });
        any.collect::<Result<Vec<bool>>>().map(BooleanBuffer::from)
    }

    /// Every stored row of every key: (value columns, multiplicities), in batches. `f` must not change the table.
    ///
    /// # Errors
    /// When the database cannot be read, or `f` fails.
    pub fn scan(&self, f: &mut dyn FnMut(RecordBatch, Vec<i64>) -> Result<()>) -> Result<()> {
        let cache = self.cache.borrow();
        let table = cache.table.clone();
        let mut found = Found::new(&table.spec.value);
        let mut give = |found: &mut Found| -> Result<()> {
            let whole = std::mem::replace(found, Found::new(&table.spec.value));
            if whole.len() == 0 {
                return Ok(());
            }
            let matches = whole.finish()?;
            f(matches.rows, matches.counts)
        };
        for slot in cache.live_slots() {
            let (row, count) = cache.row_of(slot);
            found.push(0, row, count)?;
            if found.len() == SCAN_ROWS {
                give(&mut found)?;
            }
        }
        give(&mut found)?;
        if cache.complete {
            return Ok(());
        }
        for (from, to) in cache.ranges_at_rest() {
            table
                .backend
                .scan(table.index, &from, &to, &mut |stored, counted| {
                    let entry = stored.get(key::GROUP_BYTES..).unwrap_or_default();
                    let key_length = key_length(entry, &table.spec.key)?;
                    let (entry_key, row) = entry.split_at(key_length);
                    let hash = hash_of_key(entry_key, &table.spec.key)?;
                    if cache
                        .lookup(row_hash(hash, row), KeyRef::Bytes(entry))
                        .is_none()
                    {
                        found.push(0, row, take_count(counted)?)?;
                    }
                    if found.len() == SCAN_ROWS {
                        give(&mut found)?;
                    }
                    Ok(ControlFlow::Continue(()))
                })?;
        }
        give(&mut found)
    }
}

/// Adds weights to counts and removes rows that reach zero. Gives the counts from before, row by row.
pub(super) fn add_weights(cache: &mut Cache, slots: &[u32], weights: &[i64]) -> Vec<i64> {
    let mut before = Vec::with_capacity(slots.len());
    let table = cache.table.clone();
    for (&slot, &weight) in slots.iter().zip(weights) {
        // A row that was removed earlier in this batch comes to life with a count of zero.
        let count = cache.count(slot);
        before.push(count);
        let (chunk, i) = Cache::split(slot);
        let column = &mut writable(&table, &mut cache.cells[chunk]).columns[0];
        match &mut column.data {
            ColumnData::I64(counts) => counts[i] = count + weight,
            _ => unreachable!("a multiplicity is an integer"),
        }
        column.nulls.clear(i);
        if count + weight == 0 {
            cache.set_absent(slot);
        } else {
            cache.set_dirty(slot);
        }
    }
    cache.report_dirty();
    before
}

/// Checks that none of these rows is there less often than never.
pub(super) fn check_counts(cache: &Cache, slots: &[u32]) -> Result<()> {
    match slots.iter().find(|&&slot| cache.count(slot) < 0) {
        None => Ok(()),
        Some(_) => Err(broken(
            &cache.table,
            "a row was taken back that had never come",
        )),
    }
}

impl Cache {
    pub(super) fn attach(&mut self, slot: u32, hash: u64, entry_key: &[u8]) {
        let mut lists = self.lists.take().expect("a multimap has lists");
        if !lists.is_attached(slot) {
            let whole = !self.may_have_rows_at_rest(hash);
            lists.attach(slot, upper(hash), entry_key, whole, |slot| {
                self.entry_bytes(slot)
            });
        }
        self.lists = Some(lists);
    }

    #[inline]
    pub(super) fn entry_bytes(&self, slot: u32) -> &[u8] {
        entry_bytes(&self.cells, slot)
    }

    /// The multiplicity of a row; zero if it is absent.
    #[inline]
    pub(super) fn count(&self, slot: u32) -> i64 {
        let (chunk, i) = self.chunk(slot);
        match &chunk.columns[0] {
            column if column.nulls.get(i) || self.is_absent(slot) => 0,
            column => match &column.data {
                ColumnData::I64(counts) => counts[i],
                _ => unreachable!("a multiplicity is an integer"),
            },
        }
    }

    /// The encoded row and the multiplicity of a live slot.
    fn row_of(&self, slot: u32) -> (&[u8], i64) {
        let length = self
            .lists
            .as_ref()
            .expect("a multimap has lists")
            .key_length(slot);
        (&self.entry_bytes(slot)[length..], self.count(slot))
    }

    pub(super) fn put_count(&mut self, slot: u32, count: i64) {
        let mut row = vec![value::VERSION, 0];
        value::put_i64(count, &mut row);
        self.put_loaded(slot, &row)
            .expect("a row that was just encoded decodes");
    }
}

/// The multiplicity in a stored value.
pub(super) fn take_count(mut row: &[u8]) -> Result<i64> {
    value::take_header(&mut row, 1)?;
    value::take_i64(&mut row)
}

/// Bytes of the key at the start of an entry.
pub(super) fn key_length(entry: &[u8], key_columns: &Schema) -> Result<usize> {
    let mut builders = Builder::of_columns(key_columns);
    let mut rest = entry;
    super::map::take_key(&mut rest, &mut builders)?;
    Ok(entry.len() - rest.len())
}

/// The hash of an encoded key.
pub(super) fn hash_of_key(entry_key: &[u8], key_columns: &Schema) -> Result<u64> {
    let mut builders = Builder::of_columns(key_columns);
    super::map::take_key(&mut &*entry_key, &mut builders)?;
    let arrays: Vec<ArrayRef> = builders.into_iter().map(Builder::finish).collect();
    Ok(weir_types::hash::hash_columns(&arrays, 1)[0])
}
