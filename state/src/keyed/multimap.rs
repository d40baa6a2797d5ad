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

use super::cache::{Cache, CacheRef, Missing, NO_SLOT, broken};
use super::chunk::{ColumnData, KeyBatch, KeyRef};
use super::lists::Lists;
use super::map::SCAN_ROWS;
use crate::backend::{Keys, after_prefix};
use crate::encoding::{Builder, Reader, canonical, key, value};
use crate::{Error, Result};

/// Rows of one key that a probe loads into memory at most; a key with more is read from the database as it is probed.
const ROWS_LOADED: usize = 4096;

/// key → multiset of rows (the value columns), each with a multiplicity. A handle: clones speak of the same table.
#[derive(Clone)]
pub struct MultiMapTable {
    cache: CacheRef,
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
    next: Vec<u8>,
    /// Rows that were given before it.
    matched: usize,
}

/// Collects matches.
struct Found {
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

    fn len(&self) -> usize {
        self.counts.len()
    }

    fn push(&mut self, probe_row: usize, row: &[u8], count: i64) -> Result<()> {
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
fn row_hash(key_hash: u64, row: &[u8]) -> u64 {
    (key_hash & !u64::from(u32::MAX)) | u64::from(mix(key_hash ^ xxh3_64(row)) as u32)
}

fn upper(hash: u64) -> u32 {
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
        let KeyBatch::Bytes(keys) = table.key_batch(&key_columns, hashes.len()) else {
            unreachable!("a multimap's keys are bytes")
        };
        let columns: Vec<ArrayRef> = rows
            .columns()
            .iter()
            .zip(&table.spec.value)
            .map(|(array, column)| canonical(array, &column.data_type))
            .collect::<Result<_>>()?;
        let readers: Vec<Reader<'_>> = columns
            .iter()
            .zip(&table.spec.value)
            .map(|(array, column)| Reader::new(array, &column.data_type))
            .collect();
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
        add_weights(&mut cache, &slots, weights)
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
        let KeyBatch::Bytes(keys) = table.key_batch(&key_columns, hashes.len()) else {
            unreachable!("a multimap's keys are bytes")
        };
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

/// Adds weights to counts, removes rows that reach zero, and checks that none fell below.
fn add_weights(cache: &mut Cache, slots: &[u32], weights: &[i64]) -> Result<()> {
    for (&slot, &weight) in slots.iter().zip(weights) {
        // A row that was removed earlier in this batch comes to life with a count of zero.
        let count = cache.count(slot) + weight;
        cache.set_count(slot, count);
        if count == 0 {
            cache.remove(&[slot]);
        } else {
            cache.mark_dirty(&[slot]);
        }
    }
    match slots.iter().find(|&&slot| cache.count(slot) < 0) {
        None => Ok(()),
        Some(_) => Err(broken(
            &cache.table,
            "a row was retracted that is not there",
        )),
    }
}

impl Cache {
    fn attach(&mut self, slot: u32, hash: u64, entry_key: &[u8]) {
        let mut lists = self.lists.take().expect("a multimap has lists");
        if !lists.is_attached(slot) {
            let whole = self.complete;
            lists.attach(slot, upper(hash), entry_key, whole, |slot| {
                self.entry_bytes(slot)
            });
        }
        self.lists = Some(lists);
    }

    fn entry_bytes(&self, slot: u32) -> &[u8] {
        let (chunk, i) = self.chunk(slot);
        match chunk.keys.get(i) {
            KeyRef::Bytes(bytes) => bytes,
            KeyRef::Int(_) => unreachable!("a multimap's keys are bytes"),
        }
    }

    /// The multiplicity of a row; zero if it is absent.
    fn count(&self, slot: u32) -> i64 {
        let (chunk, i) = self.chunk(slot);
        match &chunk.columns[0] {
            column if column.nulls.get(i) || self.is_absent(slot) => 0,
            column => match &column.data {
                ColumnData::I64(counts) => counts[i],
                _ => unreachable!("a multiplicity is an integer"),
            },
        }
    }

    fn set_count(&mut self, slot: u32, count: i64) {
        let table = self.table.clone();
        super::Columns {
            cells: &mut self.cells,
            table: &table,
        }
        .set_i64(0, slot, count);
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

    fn owner(&self, hash: u64, entry_key: &[u8]) -> Option<u32> {
        self.lists
            .as_ref()?
            .find(upper(hash), entry_key, |slot| self.entry_bytes(slot))
    }

    /// Adds the matches of one key after the first `matched` ones; `Some(matched)` if the limit came before the end.
    ///
    /// First come the rows in memory, in the order of their list (those given are pinned, so they stay), then the rows
    /// that only the database has, in the order of their keys.
    fn probe_key(
        &mut self,
        row: usize,
        hash: u64,
        entry_key: &[u8],
        matched: usize,
        limit: usize,
        found: &mut Found,
    ) -> Result<Option<usize>> {
        let mut in_memory = self.is_whole(hash, entry_key);
        if !in_memory && matched == 0 {
            let mut rows = Vec::new();
            if !self.read_rows(hash, entry_key, ROWS_LOADED, &mut rows)? {
                self.load_rows(hash, entry_key, &rows)?;
                in_memory = rows.is_empty() || self.is_whole(hash, entry_key);
            }
        }
        let mut seen = 0;
        if let Some(owner) = self.owner(hash, entry_key)
            && let Some(lists) = self.lists.take()
        {
            let outcome = self.probe_list(&lists, owner, row, matched, limit, &mut seen, found);
            self.lists = Some(lists);
            if !outcome? {
                return Ok(Some(seen));
            }
        }
        if in_memory {
            return Ok(None);
        }
        self.probe_at_rest(row, hash, entry_key, matched, seen, limit, found)
    }

    /// Whether all live rows of the key are in memory.
    fn is_whole(&self, hash: u64, entry_key: &[u8]) -> bool {
        let whole = |owner| {
            self.lists
                .as_ref()
                .is_some_and(|lists| lists.is_whole(owner))
        };
        self.complete || self.owner(hash, entry_key).is_some_and(whole)
    }

    /// Adds the rows of a list, but the first `matched`; `false` if the limit came before the end.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of a probe, cut out to be read by itself"
    )]
    fn probe_list(
        &mut self,
        lists: &Lists,
        owner: u32,
        row: usize,
        matched: usize,
        limit: usize,
        seen: &mut usize,
        found: &mut Found,
    ) -> Result<bool> {
        let mut slot = lists.first(owner);
        while slot != NO_SLOT {
            if !self.is_absent(slot) {
                if *seen >= matched {
                    if found.len() >= limit {
                        return Ok(false);
                    }
                    self.touch(slot);
                    let length = lists.key_length(slot);
                    found.push(row, &self.entry_bytes(slot)[length..], self.count(slot))?;
                }
                *seen += 1;
            }
            slot = lists.next(slot);
        }
        Ok(true)
    }

    /// Adds the rows that only the database has. `seen` rows came from memory.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of a probe, cut out to be read by itself"
    )]
    fn probe_at_rest(
        &mut self,
        row: usize,
        hash: u64,
        entry_key: &[u8],
        matched: usize,
        mut seen: usize,
        limit: usize,
        found: &mut Found,
    ) -> Result<Option<usize>> {
        let mut from = Vec::new();
        self.put_database_key(hash, KeyRef::Bytes(entry_key), &mut from);
        let to = after_prefix(&from);
        // The last probe may have stopped right here: then the scan goes on behind its last row.
        let resume = self
            .resume
            .take()
            .filter(|resume| resume.matched == matched && resume.next.starts_with(&from));
        if let Some(resume) = resume {
            from = resume.next;
            seen = matched;
        }
        let table = self.table.clone();
        let mut next = None;
        table
            .backend
            .scan(table.index, &from, &to, &mut |stored, counted| {
                let entry = &stored[key::GROUP_BYTES..];
                let stored_row = &entry[entry_key.len()..];
                if self
                    .lookup(row_hash(hash, stored_row), KeyRef::Bytes(entry))
                    .is_some()
                {
                    return Ok(ControlFlow::Continue(()));
                }
                if seen >= matched {
                    if found.len() >= limit {
                        next = Some(stored.to_vec());
                        return Ok(ControlFlow::Break(()));
                    }
                    found.push(row, stored_row, take_count(counted)?)?;
                }
                seen += 1;
                Ok(ControlFlow::Continue(()))
            })?;
        self.resume = next.map(|next| Resume {
            next,
            matched: seen,
        });
        Ok(self.resume.as_ref().map(|_| seen))
    }

    /// Reads rows of a key that the database has and the cache does not, up to `wanted`; whether there are more.
    fn read_rows(
        &self,
        hash: u64,
        entry_key: &[u8],
        wanted: usize,
        rows: &mut Vec<(Vec<u8>, i64)>,
    ) -> Result<bool> {
        let mut from = Vec::new();
        self.put_database_key(hash, KeyRef::Bytes(entry_key), &mut from);
        let to = after_prefix(&from);
        let mut more = false;
        let table = &self.table;
        table
            .backend
            .scan(table.index, &from, &to, &mut |stored, counted| {
                let entry = &stored[key::GROUP_BYTES..];
                let row = &entry[entry_key.len()..];
                if self
                    .lookup(row_hash(hash, row), KeyRef::Bytes(entry))
                    .is_some()
                {
                    return Ok(ControlFlow::Continue(()));
                }
                if rows.len() == wanted {
                    more = true;
                    return Ok(ControlFlow::Break(()));
                }
                rows.push((row.to_vec(), take_count(counted)?));
                Ok(ControlFlow::Continue(()))
            })?;
        Ok(more)
    }

    /// Takes all rows of a key into memory, so that the next probe finds them here.
    fn load_rows(&mut self, hash: u64, entry_key: &[u8], rows: &[(Vec<u8>, i64)]) -> Result<()> {
        self.make_room(rows.len())?;
        for (row, count) in rows {
            let mut entry = entry_key.to_vec();
            entry.extend_from_slice(row);
            let slot = self.insert(row_hash(hash, row), KeyRef::Bytes(&entry));
            self.put_count(slot, *count);
            self.attach(slot, hash, entry_key);
        }
        let reloaded = rows.len() as u64;
        self.table
            .budget
            .reloaded
            .fetch_add(reloaded, std::sync::atomic::Ordering::Relaxed);
        // Making room may have evicted clean rows of this very key: then it is not whole.
        let complete = rows.is_empty() || !self.lost_rows(hash, entry_key)?;
        if let (Some(owner), Some(lists)) = (self.owner(hash, entry_key), &mut self.lists)
            && complete
        {
            lists.set_whole(owner);
        }
        self.update_charge();
        Ok(())
    }

    /// Whether the database has a row of the key that the cache does not.
    fn lost_rows(&self, hash: u64, entry_key: &[u8]) -> Result<bool> {
        let mut lost = Vec::new();
        let more = self.read_rows(hash, entry_key, 0, &mut lost)?;
        Ok(more || !lost.is_empty())
    }

    fn put_count(&mut self, slot: u32, count: i64) {
        let mut row = vec![value::VERSION, 0];
        value::put_i64(count, &mut row);
        self.put_loaded(slot, &row)
            .expect("a row that was just encoded decodes");
    }
}

/// The multiplicity in a stored value.
fn take_count(mut row: &[u8]) -> Result<i64> {
    value::take_header(&mut row, 1)?;
    value::take_i64(&mut row)
}

/// Bytes of the key at the start of an entry.
fn key_length(entry: &[u8], key_columns: &Schema) -> Result<usize> {
    let mut builders = Builder::of_columns(key_columns);
    let mut rest = entry;
    super::map::take_key(&mut rest, &mut builders)?;
    Ok(entry.len() - rest.len())
}

/// The hash of an encoded key.
fn hash_of_key(entry_key: &[u8], key_columns: &Schema) -> Result<u64> {
    let mut builders = Builder::of_columns(key_columns);
    super::map::take_key(&mut &*entry_key, &mut builders)?;
    let arrays: Vec<ArrayRef> = builders.into_iter().map(Builder::finish).collect();
    Ok(weir_types::hash::hash_columns(&arrays, 1)[0])
}
