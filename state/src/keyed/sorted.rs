//! key → multiset of rows in an order: what a ranking, an OVER frame or a `min` over retractions keeps.
//!
//! It is a multimap whose order key sorts like the rows, so that the database has them in order too:
//!
//! ```text
//!   cache key     memcomparable key ‖ order key (the whole row: sort columns first, `encoding/order.rs`)
//!   cache value   count
//!   ordered       key ─▶ its rows in memory, in order
//! ```
//!
//! The order is made when somebody reads a range for the first time: the values of a `count(DISTINCT …)` are looked up one by
//! one, and never walked through.
//!
//! A range of a key is read from memory if all rows of the key are there, and else merged: rows in memory (changed ones
//! among them, and marks of removed ones, which hide what the database still has) with rows that only the database has.

mod bytes;
mod each;
mod entries;

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use weir_types::{DataType, Schema};

use super::at_rest::SCAN_IN_LOOK_UPS;
use super::cache::{Cache, CacheRef, Missing, entry_bytes};
use super::chunk::{CHUNK_SLOTS, KeyBatch, KeyRef};
use super::context::TableContext;
use super::map::{SCAN_ROWS, take_key};
use super::multimap::{Matches, hash_of_key, key_length, row_hash, take_count, upper};
use super::ordered::{Ordered, Span};
use crate::backend::{Keys, after_prefix};
use crate::encoding::{Builder, RowOrder, key};
use crate::{Error, Result};

pub use self::bytes::ByteRows;
pub use self::each::{EachRange, RangeCursor};
pub use self::entries::Entries;

/// Rows of one key that are loaded into memory at most; a key with more is merged with the database at every read.
const ROWS_LOADED: usize = 4096;
/// Rows that a removal of a range takes at a time.
const ROWS_REMOVED: usize = 1024;

/// key → multiset of rows (the value columns) in the order of [`TableSpec::order`](crate::TableSpec), each with a
/// multiplicity. A handle: clones speak of the same table.
#[derive(Clone)]
pub struct SortedTable {
    pub(super) cache: CacheRef,
    pub(super) order: Rc<RowOrder>,
}

/// An end of a range.
#[derive(Clone, Copy, Debug)]
pub struct SortBound<'a> {
    /// Values of the columns that come first in the table's order, as many as are given; of any length.
    pub values: &'a [ArrayRef],
    /// Which row of them.
    pub row: usize,
    /// Whether rows that are equal in those columns belong to the range.
    pub inclusive: bool,
}

/// A stretch of a key's rows, ends in the table's order (of a descending column the greatest value comes first).
#[derive(Clone, Copy, Debug, Default)]
pub struct SortedRange<'a> {
    /// Where it begins; `None` is the first row.
    pub from: Option<SortBound<'a>>,
    /// Where it ends; `None` is the last row.
    pub to: Option<SortBound<'a>>,
    /// The last row first.
    pub reverse: bool,
}

/// A range in bytes of order keys: from (inclusive) and to (exclusive).
struct Stretch {
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    reverse: bool,
}

/// Rows in the form of their order keys, with multiplicities.
type Rows = Vec<(Vec<u8>, i64)>;

impl SortedTable {
    pub(crate) fn new(cache: CacheRef) -> Self {
        let order = {
            let cache = cache.borrow();
            let spec = &cache.table.spec;
            Rc::new(RowOrder::new(&spec.order, &spec.value))
        };
        Self { cache, order }
    }

    /// The value columns in the order in which they decide: what the values of a [`SortBound`] stand for.
    pub fn columns_in_order(&self) -> Vec<usize> {
        self.order.columns().iter().map(|c| c.column).collect()
    }

    /// The keys of a batch in the table's own form, in which equal keys are equal bytes: for sets of keys.
    ///
    /// # Errors
    /// When the columns are not those of the key.
    pub fn key_bytes(&self, keys: &[ArrayRef], rows: usize) -> Result<Vec<Box<[u8]>>> {
        let table = self.cache.borrow().table.clone();
        let columns = table.canonical_keys(keys)?;
        let encoded = table.key_batch(&columns, rows).into_bytes();
        Ok(encoded.iter().map(Box::from).collect())
    }

    /// Rows (value columns) in the table's own form: bytes that sort like the rows, and are equal for equal rows.
    ///
    /// # Errors
    /// When the columns are not those of the rows.
    pub fn order_keys(&self, rows: &RecordBatch) -> Result<Vec<Box<[u8]>>> {
        let table = self.cache.borrow().table.clone();
        let columns = table.canonical_values(rows.columns())?;
        let readers = table.value_readers(&columns);
        let place = |row: usize| {
            let mut bytes = Vec::new();
            self.order.put_row(&readers, row, &mut bytes);
            bytes.into_boxed_slice()
        };
        Ok((0..rows.num_rows()).map(place).collect())
    }

    /// Rows of one key (the one at `row` of `keys`, whose hash is `hash`) within a range, in order, `limit` rows at most,
    /// and their multiplicities.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn range(
        &self,
        keys: &[ArrayRef],
        row: usize,
        hash: u64,
        range: &SortedRange<'_>,
        limit: usize,
    ) -> Result<(RecordBatch, Vec<i64>)> {
        let key: Vec<ArrayRef> = keys.iter().map(|array| array.slice(row, 1)).collect();
        let matches = self.range_each(&key, &[hash], range, limit)?;
        Ok((matches.rows, matches.counts))
    }

    /// The same range of every key, `limit` rows of each at most: `probe_rows` says which key a row belongs to, ascending.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn range_each(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        range: &SortedRange<'_>,
        limit: usize,
    ) -> Result<Matches> {
        let mut cache = self.cache.borrow_mut();
        cache.acknowledge();
        let table = cache.table.clone();
        let stretch = self.stretch(&table.spec.value, range)?;
        let key_columns = table.canonical_keys(keys)?;
        let keys = table.key_batch(&key_columns, hashes.len()).into_bytes();
        let mut found = Found::new(&table.spec.value, &self.order);
        for (row, &hash) in hashes.iter().enumerate() {
            cache.visit_between(hash, keys.get(row), &stretch, limit, |order_key, count| {
                found.push(row, order_key, count)
            })?;
        }
        found.finish()
    }

    /// Removes the rows of one key within a range, whatever their multiplicity; gives the sum of the multiplicities.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub fn remove_range(
        &self,
        keys: &[ArrayRef],
        row: usize,
        hash: u64,
        range: &SortedRange<'_>,
    ) -> Result<i64> {
        let mut cache = self.cache.borrow_mut();
        cache.acknowledge();
        let table = cache.table.clone();
        let stretch = self.stretch(&table.spec.value, range)?;
        let key: Vec<ArrayRef> = keys.iter().map(|array| array.slice(row, 1)).collect();
        let key_columns = table.canonical_keys(&key)?;
        let keys = table.key_batch(&key_columns, 1).into_bytes();
        let mut removed = 0;
        loop {
            let rows = cache.rows_between(hash, keys.get(0), &stretch, ROWS_REMOVED)?;
            if rows.is_empty() {
                return Ok(removed);
            }
            let mut entries = Keys::default();
            let mut entry_hashes = Vec::with_capacity(rows.len());
            for (order_key, count) in &rows {
                entries.bytes.extend_from_slice(keys.get(0));
                entries.bytes.extend_from_slice(order_key);
                entries.end_key();
                entry_hashes.push(row_hash(hash, order_key));
                removed += count;
            }
            let mut slots = Vec::new();
            let entries = KeyBatch::Bytes(entries);
            cache.slots(&entries, &entry_hashes, Missing::Create, &mut slots)?;
            for &slot in &slots {
                cache.place(slot, hash, keys.get(0));
            }
            cache.update_charge();
            cache.remove(&slots);
        }
    }

    /// Every stored row of every key: (value columns, multiplicities), in batches, in no order. `f` must not change the
    /// table.
    ///
    /// # Errors
    /// When the database cannot be read, or `f` fails.
    pub fn scan(&self, f: &mut dyn FnMut(RecordBatch, Vec<i64>) -> Result<()>) -> Result<()> {
        self.cache.borrow_mut().order_rows()?;
        let cache = self.cache.borrow();
        let table = cache.table.clone();
        let schema = &table.spec.value;
        let mut found = Found::new(schema, &self.order);
        for slot in cache.live_slots() {
            found.push(0, cache.order_key(slot), cache.count(slot))?;
            if found.counts.len() == SCAN_ROWS {
                found.give(f)?;
            }
        }
        found.give(f)?;
        if cache.complete {
            return Ok(());
        }
        for (from, to) in cache.ranges_at_rest() {
            let visit = &mut |stored: &[u8], counted: &[u8]| {
                let entry = stored.get(key::GROUP_BYTES..).unwrap_or_default();
                let (entry_key, row) = entry.split_at(key_length(entry, &table.spec.key)?);
                let hash = hash_of_key(entry_key, &table.spec.key)?;
                if !cache.holds(hash, row, entry) {
                    found.push(0, row, take_count(counted)?)?;
                }
                if found.counts.len() == SCAN_ROWS {
                    found.give(f)?;
                }
                Ok(ControlFlow::Continue(()))
            };
            table.backend.scan(table.index, &from, &to, visit)?;
        }
        found.give(f)
    }

    /// The bytes of a range's ends.
    fn stretch(&self, schema: &Schema, range: &SortedRange<'_>) -> Result<Stretch> {
        let prefix = |bound: &SortBound<'_>| -> Result<Vec<u8>> {
            let mut bytes = Vec::new();
            self.order
                .put_prefix(bound.values, schema, bound.row, &mut bytes)?;
            Ok(bytes)
        };
        let from = match &range.from {
            None => Vec::new(),
            Some(bound) if bound.inclusive => prefix(bound)?,
            Some(bound) => after_prefix(&prefix(bound)?),
        };
        let to = match &range.to {
            None => None,
            // Every row is equal in no columns.
            Some(bound) if bound.inclusive && bound.values.is_empty() => None,
            Some(bound) if bound.inclusive => Some(after_prefix(&prefix(bound)?)),
            Some(bound) => Some(prefix(bound)?),
        };
        Ok(Stretch {
            from,
            to,
            reverse: range.reverse,
        })
    }
}

/// Collects rows.
struct Found<'a> {
    keys: Vec<u32>,
    counts: Vec<i64>,
    builders: Vec<Builder>,
    schema: &'a Schema,
    order: &'a RowOrder,
}

impl<'a> Found<'a> {
    fn new(schema: &'a Schema, order: &'a RowOrder) -> Self {
        Self {
            keys: Vec::new(),
            counts: Vec::new(),
            builders: Builder::of_columns(schema),
            schema,
            order,
        }
    }

    fn push(&mut self, key: usize, order_key: &[u8], count: i64) -> Result<()> {
        self.order.take_row(order_key, &mut self.builders)?;
        self.keys.push(key as u32);
        self.counts.push(count);
        Ok(())
    }

    /// Hands over what was collected, and starts anew.
    fn give(&mut self, f: &mut dyn FnMut(RecordBatch, Vec<i64>) -> Result<()>) -> Result<()> {
        let whole = std::mem::replace(self, Self::new(self.schema, self.order));
        if whole.counts.is_empty() {
            return Ok(());
        }
        let matches = whole.finish()?;
        f(matches.rows, matches.counts)
    }

    fn finish(self) -> Result<Matches> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.counts.len()));
        let columns = self.builders.into_iter().map(Builder::finish).collect();
        let schema = DataType::arrow_schema(self.schema);
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|error| Error::io("building a batch of state", error))?;
        Ok(Matches {
            probe_rows: self.keys.into(),
            rows,
            counts: self.counts,
        })
    }
}

impl Cache {
    fn ordered(&self) -> &Ordered {
        self.ordered
            .as_ref()
            .expect("the rows were put in order before")
    }

    /// Puts the rows in memory in order, unless they are.
    fn order_rows(&mut self) -> Result<()> {
        if self.ordered.is_some() {
            return Ok(());
        }
        let mut ordered = Ordered::default();
        ordered.grow(self.cells.len() * CHUNK_SLOTS);
        let schema = &self.table.spec.key;
        let cells = &self.cells;
        let mut builders = Builder::of_columns(schema);
        for (number, slot) in self.live_slots().into_iter().enumerate() {
            let entry = entry_bytes(cells, slot);
            let mut rest = entry;
            take_key(&mut rest, &mut builders)?;
            let entry_key = &entry[..entry.len() - rest.len()];
            let (chunk, i) = self.chunk(slot);
            // A row's hash has its key's upper half.
            let hash = upper(chunk.hashes[i]);
            let whole = !self.may_have_rows_at_rest(chunk.hashes[i]);
            ordered.attach(slot, hash, entry_key, whole, |slot| {
                entry_bytes(cells, slot)
            });
            if number % SCAN_ROWS == SCAN_ROWS - 1 {
                builders = Builder::of_columns(schema);
            }
        }
        self.ordered = Some(ordered);
        self.update_charge();
        Ok(())
    }

    fn owner_of_key(&self, hash: u64, entry_key: &[u8]) -> Option<u32> {
        self.ordered().find(upper(hash), entry_key, |slot| {
            entry_bytes(&self.cells, slot)
        })
    }

    /// Puts a slot among the rows of its key, unless it is there.
    fn place(&mut self, slot: u32, hash: u64, entry_key: &[u8]) {
        let whole = !self.may_have_rows_at_rest(hash);
        let cells = &self.cells;
        let Some(ordered) = &mut self.ordered else {
            return;
        };
        if !ordered.is_attached(slot) {
            ordered.attach(slot, upper(hash), entry_key, whole, |slot| {
                entry_bytes(cells, slot)
            });
        }
    }

    /// The order key of a slot's row.
    fn order_key(&self, slot: u32) -> &[u8] {
        &entry_bytes(&self.cells, slot)[self.ordered().key_length(slot)..]
    }

    /// Whether the cache knows of an entry, be it as removed.
    fn holds(&self, hash: u64, order_key: &[u8], entry: &[u8]) -> bool {
        self.lookup(row_hash(hash, order_key), KeyRef::Bytes(entry))
            .is_some()
    }

    /// The rows of a key within a stretch, in order, `limit` at most.
    fn rows_between(
        &mut self,
        hash: u64,
        entry_key: &[u8],
        stretch: &Stretch,
        limit: usize,
    ) -> Result<Rows> {
        let mut rows = Rows::new();
        self.visit_between(hash, entry_key, stretch, limit, |order_key, count| {
            rows.push((order_key.to_vec(), count));
            Ok(())
        })?;
        Ok(rows)
    }

    /// Visits the rows of a key within a stretch, in order, `limit` at most: order key and multiplicity.
    fn visit_between(
        &mut self,
        hash: u64,
        entry_key: &[u8],
        stretch: &Stretch,
        limit: usize,
        mut visit: impl FnMut(&[u8], i64) -> Result<()>,
    ) -> Result<()> {
        if limit == 0 {
            return Ok(());
        }
        self.order_rows()?;
        if self.knows_all(hash, entry_key) || self.load_key(hash, entry_key)? {
            return self.visit_in_memory(hash, entry_key, stretch, limit, visit);
        }
        let mut in_memory = Rows::new();
        self.visit_in_memory(hash, entry_key, stretch, limit, |order_key, count| {
            in_memory.push((order_key.to_vec(), count));
            Ok(())
        })?;
        let at_rest = self.rows_at_rest(hash, entry_key, stretch, limit)?;
        merge(in_memory, at_rest, stretch.reverse, limit)
            .iter()
            .try_for_each(|(order_key, count)| visit(order_key, *count))
    }

    /// Whether all live rows of the key are in memory.
    fn knows_all(&self, hash: u64, entry_key: &[u8]) -> bool {
        !self.may_have_rows_at_rest(hash)
            || self
                .owner_of_key(hash, entry_key)
                .is_some_and(|owner| self.ordered().is_whole(owner))
    }

    fn visit_in_memory(
        &mut self,
        hash: u64,
        entry_key: &[u8],
        stretch: &Stretch,
        limit: usize,
        mut visit: impl FnMut(&[u8], i64) -> Result<()>,
    ) -> Result<()> {
        let Some(owner) = self.owner_of_key(hash, entry_key) else {
            return Ok(());
        };
        let cells = &self.cells;
        if let Some(ordered) = &mut self.ordered {
            ordered.settle(owner, |slot| entry_bytes(cells, slot));
        }
        let whole_entry = |order_key: &[u8]| [entry_key, order_key].concat();
        let from = whole_entry(&stretch.from);
        let to = stretch.to.as_deref().map(whole_entry);
        let span = Span {
            from: &from,
            to: to.as_deref(),
            reverse: stretch.reverse,
        };
        let mut read = Vec::new();
        let bytes_of = |slot| entry_bytes(&self.cells, slot);
        let mut outcome = Ok(());
        self.ordered().walk(owner, span, bytes_of, |slot| {
            if !self.is_absent(slot) {
                outcome = visit(&bytes_of(slot)[entry_key.len()..], self.count(slot));
                read.push(slot);
            }
            outcome.is_ok() && read.len() < limit
        });
        // Rows that are read often stay longer; nobody holds their slots, so they are not pinned.
        for slot in read {
            let (chunk, i) = Self::split(slot);
            self.meta[chunk].used.set(i);
        }
        outcome
    }

    /// Rows within a stretch that the database has and the cache does not know of, `limit` at most.
    fn rows_at_rest(
        &self,
        hash: u64,
        entry_key: &[u8],
        stretch: &Stretch,
        limit: usize,
    ) -> Result<Rows> {
        let mut prefix = Vec::new();
        self.put_database_key(hash, KeyRef::Bytes(entry_key), &mut prefix);
        let from = [prefix.as_slice(), &stretch.from].concat();
        let to = match &stretch.to {
            Some(to) => [prefix.as_slice(), to].concat(),
            None => after_prefix(&prefix),
        };
        let mut rows = Rows::new();
        let visit = &mut |stored: &[u8], counted: &[u8]| {
            let entry = &stored[key::GROUP_BYTES..];
            let order_key = &entry[entry_key.len()..];
            if !self.holds(hash, order_key, entry) {
                rows.push((order_key.to_vec(), take_count(counted)?));
            }
            Ok(if rows.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        };
        let table: &TableContext = &self.table;
        if stretch.reverse {
            table.backend.scan_back(table.index, &from, &to, visit)?;
        } else {
            table.backend.scan(table.index, &from, &to, visit)?;
        }
        Ok(rows)
    }

    /// Takes all rows of a key into memory, unless they are too many; whether all of them are there now.
    fn load_key(&mut self, hash: u64, entry_key: &[u8]) -> Result<bool> {
        let owner = self.owner_of_key(hash, entry_key);
        if owner.is_some_and(|owner| self.ordered().is_large(owner)) {
            return Ok(false);
        }
        let everything = Stretch {
            from: Vec::new(),
            to: None,
            reverse: false,
        };
        self.note_look_ups(SCAN_IN_LOOK_UPS);
        let rows = self.rows_at_rest(hash, entry_key, &everything, ROWS_LOADED + 1)?;
        if rows.len() > ROWS_LOADED {
            if let (Some(owner), Some(ordered)) = (owner, &mut self.ordered) {
                ordered.set_large(owner);
            }
            return Ok(false);
        }
        let evicted = self.evicted;
        self.make_room(rows.len())?;
        for (order_key, count) in &rows {
            let entry = [entry_key, order_key].concat();
            let slot = self.insert(row_hash(hash, order_key), KeyRef::Bytes(&entry));
            self.put_count(slot, *count);
            self.place(slot, hash, entry_key);
        }
        self.table
            .budget
            .reloaded
            .fetch_add(rows.len() as u64, Relaxed);
        self.update_charge();
        // Making room may have evicted clean rows of this very key: then not all are in memory.
        if self.evicted != evicted
            && !self
                .rows_at_rest(hash, entry_key, &everything, 1)?
                .is_empty()
        {
            return Ok(false);
        }
        let owner = self.owner_of_key(hash, entry_key);
        if let (Some(owner), Some(ordered)) = (owner, &mut self.ordered) {
            ordered.set_whole(owner);
        }
        Ok(true)
    }
}

/// The first `limit` rows of two lists in order; no row is in both.
fn merge(left: Rows, right: Rows, reverse: bool, limit: usize) -> Rows {
    let mut merged = Rows::with_capacity(limit.min(left.len() + right.len()));
    let mut left = left.into_iter().peekable();
    let mut right = right.into_iter().peekable();
    while merged.len() < limit {
        let from_left = match (left.peek(), right.peek()) {
            (Some((left, _)), Some((right, _))) => (left < right) != reverse,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => break,
        };
        merged.extend(if from_left { left.next() } else { right.next() });
    }
    merged
}
