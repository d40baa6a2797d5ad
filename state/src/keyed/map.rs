//! key → one value of typed columns.

use std::ops::ControlFlow;

use arrow::array::{ArrayRef, RecordBatch, Scalar};
use arrow::compute::kernels::cmp::not_distinct;
use weir_types::{DataType, Schema, hash::hash_columns};

use super::cache::{CacheRef, Missing};
use super::chunk::{Chunk, ColumnData, KeyRef};
use super::columns::Columns;
use super::context::TableContext;
use crate::encoding::{Builder, key, value};
use crate::spec::Storage;
use crate::{Error, Result};

/// Rows of a batch that a scan gives out.
pub(crate) const SCAN_ROWS: usize = 8192;

/// key → one value of typed columns. A handle: clones speak of the same table.
#[derive(Clone)]
pub struct MapTable {
    pub(crate) cache: CacheRef,
}

impl MapTable {
    pub(crate) fn new(cache: CacheRef) -> Self {
        Self { cache }
    }

    /// The slot of every row's key; a missing key gets a fresh slot whose columns are all NULL and for which
    /// `is_new(slot)` is true until the end of the epoch. `hashes` are `weir_types::hash::hash_columns(keys)`; their
    /// number is the number of rows. `slots` is emptied first.
    ///
    /// A fresh slot is no entry until it is marked dirty.
    ///
    /// # Errors
    /// When the database cannot be read or written; the worker's state is not usable afterwards.
    pub fn slots(&self, keys: &[ArrayRef], hashes: &[u64], slots: &mut Vec<u32>) -> Result<()> {
        self.lookup(keys, hashes, Missing::Create, slots)
    }

    /// Like `slots`, `u32::MAX` for a missing key.
    ///
    /// # Errors
    /// As `slots`.
    pub fn find(&self, keys: &[ArrayRef], hashes: &[u64], slots: &mut Vec<u32>) -> Result<()> {
        self.lookup(keys, hashes, Missing::Skip, slots)
    }

    fn lookup(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        missing: Missing,
        slots: &mut Vec<u32>,
    ) -> Result<()> {
        if is_one_key(keys, hashes) {
            let first: Vec<ArrayRef> = keys.iter().map(|key| key.slice(0, 1)).collect();
            self.lookup_each(&first, &hashes[..1], missing, slots)?;
            let slot = slots[0];
            slots.resize(hashes.len(), slot);
            return Ok(());
        }
        self.lookup_each(keys, hashes, missing, slots)
    }

    fn lookup_each(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        missing: Missing,
        slots: &mut Vec<u32>,
    ) -> Result<()> {
        let mut cache = self.cache.borrow_mut();
        let columns = cache.table.canonical_keys(keys)?;
        let table = cache.table.clone();
        let batch = table.key_batch(&columns, hashes.len());
        cache.slots(&batch, hashes, missing, slots)
    }

    /// Whether the slot's key was missing when it was looked up in this epoch.
    pub fn is_new(&self, slot: u32) -> bool {
        self.cache.borrow().is_new(slot)
    }

    /// Runs `f` with typed access to the value columns. `f` must not call the table.
    pub fn with_columns<R>(&self, f: impl FnOnce(&mut Columns<'_>) -> R) -> R {
        let mut cache = self.cache.borrow_mut();
        let table = cache.table.clone();
        f(&mut Columns {
            cells: &mut cache.cells,
            table: &table,
        })
    }

    /// Marks entries as changed. Their slots were looked up in this epoch.
    pub fn mark_dirty(&self, slots: &[u32]) {
        self.cache.borrow_mut().mark_dirty(slots);
    }

    /// Removes entries (tombstones until written). Their slots were looked up in this epoch.
    pub fn remove(&self, slots: &[u32]) {
        self.cache.borrow_mut().remove(slots);
    }

    /// Live entries in memory; with everything in memory, all of them.
    pub fn entries_in_memory(&self) -> usize {
        self.cache.borrow().live
    }

    /// Sets all value columns of the slots from a batch's columns (row i goes to slot i), and marks them dirty.
    ///
    /// # Errors
    /// When a column cannot be cast to its declared type.
    pub fn set_values(&self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let table = self.cache.borrow().table.clone();
        let columns = table.canonical_values(columns)?;
        let readers = table.value_readers(&columns);
        {
            let mut cache = self.cache.borrow_mut();
            let mut row = Vec::new();
            for (i, &slot) in slots.iter().enumerate() {
                row.clear();
                value::put_row(&readers, i, &mut row);
                cache.put_values(slot, &row)?;
            }
        }
        self.mark_dirty(slots);
        Ok(())
    }

    /// The key columns of these slots.
    ///
    /// # Errors
    /// When a key in memory does not decode.
    pub fn keys(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let cache = self.cache.borrow();
        let mut builders = Builder::of_columns(&cache.table.spec.key);
        for &slot in slots {
            let (chunk, i) = cache.chunk(slot);
            match chunk.keys.get(i) {
                KeyRef::Int(None) => builders[0].push_null(),
                KeyRef::Int(Some(key)) => builders[0].push_i64(key),
                KeyRef::Bytes(bytes) => take_whole_key(bytes, &mut builders)?,
            }
        }
        Ok(builders.into_iter().map(Builder::finish).collect())
    }

    /// The value columns of these slots.
    ///
    /// # Errors
    /// When a nested value that an operator set does not decode.
    pub fn values(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let cache = self.cache.borrow();
        values_of(&cache.table.spec.value, slots, &|slot| cache.chunk(slot))
    }

    /// Every live entry, in batches (key columns then value columns), cache and database merged; for snapshot sinks.
    /// `f` must not change the table.
    ///
    /// # Errors
    /// When the database cannot be read, or `f` fails.
    pub fn scan(&self, f: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let table = self.cache.borrow().table.clone();
        let columns: Vec<_> = table
            .spec
            .key
            .iter()
            .chain(&table.spec.value)
            .cloned()
            .collect();
        let schema = DataType::arrow_schema(&columns);
        let mut give = |keys: Vec<ArrayRef>, values: Vec<ArrayRef>, rows: usize| {
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
            let arrays = keys.into_iter().chain(values).collect();
            let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
                .map_err(|error| Error::io("building a batch of state", error))?;
            f(batch)
        };
        let live = self.cache.borrow().live_slots();
        for slots in live.chunks(SCAN_ROWS) {
            give(self.keys(slots)?, self.values(slots)?, slots.len())?;
        }
        if self.cache.borrow().complete {
            return Ok(());
        }
        self.scan_at_rest(&table, &mut |keys, values, rows| give(keys, values, rows))
    }

    /// The entries of the database that the cache does not hold.
    fn scan_at_rest(
        &self,
        table: &TableContext,
        f: &mut dyn FnMut(Vec<ArrayRef>, Vec<ArrayRef>, usize) -> Result<()>,
    ) -> Result<()> {
        let cache = self.cache.borrow();
        for (from, to) in cache.ranges_at_rest() {
            let prefix = key::GROUP_BYTES + cache.slice.map_or(0, |_| key::SLICE_BYTES);
            let mut keys = Builder::of_columns(&table.spec.key);
            let mut rows: Vec<Vec<u8>> = Vec::new();
            let mut finish = |keys: &mut Vec<Builder>, rows: &mut Vec<Vec<u8>>| -> Result<()> {
                let built = std::mem::replace(keys, Builder::of_columns(&table.spec.key));
                let arrays: Vec<ArrayRef> = built.into_iter().map(Builder::finish).collect();
                let hashes = hash_columns(&arrays, rows.len());
                let batch = table.key_batch(&arrays, rows.len());
                let mut values = Builder::of_columns(&table.spec.value);
                let mut cold = Vec::new();
                for (row, &hash) in hashes.iter().enumerate() {
                    if cache.lookup(hash, batch.get(row)).is_none() {
                        value::take_row(&rows[row], &mut values)?;
                        cold.push(row as u32);
                    }
                }
                rows.clear();
                if cold.is_empty() {
                    return Ok(());
                }
                let cold = arrow::array::UInt32Array::from(cold);
                let count = cold.len();
                let arrays = arrays
                    .iter()
                    .map(|array| arrow::compute::take(array, &cold, None))
                    .collect::<Result<_, _>>()
                    .map_err(|error| Error::io("building a batch of state", error))?;
                f(
                    arrays,
                    values.into_iter().map(Builder::finish).collect(),
                    count,
                )
            };
            table
                .backend
                .scan(table.index, &from, &to, &mut |stored, row| {
                    take_whole_key(stored.get(prefix..).unwrap_or_default(), &mut keys)?;
                    rows.push(row.to_vec());
                    if rows.len() == SCAN_ROWS {
                        finish(&mut keys, &mut rows)?;
                    }
                    Ok(ControlFlow::Continue(()))
                })?;
            finish(&mut keys, &mut rows)?;
        }
        Ok(())
    }
}

/// Whether all rows have one key, as the rows of a window have where it is the whole key. `false` where that is not simple to say.
fn is_one_key(keys: &[ArrayRef], hashes: &[u64]) -> bool {
    let Some((first, others)) = hashes.split_first() else {
        return false;
    };
    let is_constant = |key: &ArrayRef| {
        let first = Scalar::new(key.slice(0, 1));
        not_distinct(key, &first).is_ok_and(|same| same.true_count() == hashes.len())
    };
    !others.is_empty() && others.iter().all(|hash| hash == first) && keys.iter().all(is_constant)
}

/// Reads a key that has nothing behind it. What is left over was written by another declaration of the columns.
fn take_whole_key(mut bytes: &[u8], builders: &mut [Builder]) -> Result<()> {
    take_key(&mut bytes, builders)?;
    if bytes.is_empty() {
        Ok(())
    } else {
        Err(Error::damaged("a key is longer than its columns"))
    }
}

/// Reads the columns of a key.
pub(crate) fn take_key(bytes: &mut &[u8], builders: &mut [Builder]) -> Result<()> {
    builders
        .iter_mut()
        .try_for_each(|builder| key::take_column(bytes, builder))
}

/// Adds a value that the cache keeps as bytes.
/// The value columns of some slots, which `chunk` finds.
pub(super) fn values_of<'c>(
    schema: &Schema,
    slots: &[u32],
    chunk: &dyn Fn(u32) -> (&'c Chunk, usize),
) -> Result<Vec<ArrayRef>> {
    let mut arrays = Vec::with_capacity(schema.len());
    for (column, spec) in schema.iter().enumerate() {
        let mut builder = Builder::new(&spec.data_type);
        for &slot in slots {
            let (chunk, i) = chunk(slot);
            let values = &chunk.columns[column];
            if values.nulls.get(i) {
                builder.push_null();
                continue;
            }
            match &values.data {
                ColumnData::I64(values) => builder.push_i64(values[i]),
                ColumnData::F64(values) => builder.push_f64(values[i]),
                ColumnData::I128(values) => builder.push_i128(values[i]),
                ColumnData::Bytes(arena) => {
                    push_bytes(&mut builder, &spec.data_type, arena.get(i))?;
                }
            }
        }
        arrays.push(builder.finish());
    }
    Ok(arrays)
}

fn push_bytes(builder: &mut Builder, data_type: &DataType, bytes: &[u8]) -> Result<()> {
    debug_assert_eq!(Storage::of(data_type), Storage::Bytes);
    match data_type {
        DataType::String | DataType::Bytes => builder.push_bytes(bytes),
        _ => value::take_value(&mut &*bytes, builder),
    }
}
