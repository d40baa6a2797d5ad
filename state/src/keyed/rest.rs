//! A whole table, piece by piece and in the order of its keys, as it is in the database.
//!
//! ```text
//!   write_back (nothing is dirty any more) ─▶ read_on(cursor, 8192) ─▶ read_on(cursor, 8192) ─▶ … ─▶ the cursor is over
//! ```
//!
//! Nothing comes into the cache on the way, so that a table of any size is read in the memory of one piece. It is how an
//! operator gives its whole result anew.
//!
//! # Invariants
//! 1. Between [`WorkerState::write_back`](crate::WorkerState::write_back) and the end of the reading the table does not
//!    change. A table with entries that the database does not have yet is refused.

use std::ops::ControlFlow;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use weir_types::{DataType, Schema};

use super::cache::Cache;
use super::map::{MapTable, take_key};
use super::multimap::{MultiMapTable, key_length, take_count};
use super::sorted::SortedTable;
use crate::encoding::{Builder, key, value};
use crate::{Error, Result};

/// Where the reading of a table goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestCursor {
    next: Option<Vec<u8>>,
    is_over: bool,
}

impl RestCursor {
    /// Whether everything was read.
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

/// Entries of a map: key columns, value columns, and how many there are.
#[derive(Debug)]
pub struct Piece {
    /// The key columns.
    pub keys: Vec<ArrayRef>,
    /// The value columns.
    pub values: Vec<ArrayRef>,
    /// Entries.
    pub rows: usize,
}

impl MapTable {
    /// The next entries, `limit` at most.
    ///
    /// # Errors
    /// When the database cannot be read, or does not have all that was changed.
    pub fn read_on(&self, cursor: &mut RestCursor, limit: usize) -> Result<Piece> {
        let cache = self.cache.borrow();
        let spec = &cache.table.spec;
        let mut keys = Builder::of_columns(&spec.key);
        let mut values = Builder::of_columns(&spec.value);
        let rows = cache.read_on(cursor, limit, &mut |mut entry, row| {
            take_key(&mut entry, &mut keys)?;
            value::take_row(row, &mut values)
        })?;
        Ok(Piece {
            keys: finished(keys),
            values: finished(values),
            rows,
        })
    }
}

impl MultiMapTable {
    /// The next rows and their multiplicities, `limit` rows at most.
    ///
    /// # Errors
    /// As of a map.
    pub fn read_on(
        &self,
        cursor: &mut RestCursor,
        limit: usize,
    ) -> Result<(RecordBatch, Vec<i64>)> {
        let cache = self.cache.borrow();
        cache.read_rows_on(cursor, limit, &value::take_row)
    }
}

impl SortedTable {
    /// The next rows and their multiplicities, `limit` rows at most; rows of one key come after each other, in order.
    ///
    /// # Errors
    /// As of a map.
    pub fn read_on(
        &self,
        cursor: &mut RestCursor,
        limit: usize,
    ) -> Result<(RecordBatch, Vec<i64>)> {
        let cache = self.cache.borrow();
        cache.read_rows_on(cursor, limit, &|row, values| {
            self.order.take_row(row, values)
        })
    }
}

impl Cache {
    /// The next rows of a multiset, which stand behind the key in each entry, and their multiplicities.
    fn read_rows_on(
        &self,
        cursor: &mut RestCursor,
        limit: usize,
        take_row: &dyn Fn(&[u8], &mut [Builder]) -> Result<()>,
    ) -> Result<(RecordBatch, Vec<i64>)> {
        let spec = &self.table.spec;
        let mut values = Builder::of_columns(&spec.value);
        let mut counts = Vec::new();
        self.read_on(cursor, limit, &mut |entry, counted| {
            let (_, row) = entry.split_at(key_length(entry, &spec.key)?);
            take_row(row, &mut values)?;
            counts.push(take_count(counted)?);
            Ok(())
        })?;
        Ok((batch(&spec.value, values, counts.len())?, counts))
    }

    /// Visits the next entries at rest, without their key groups; gives how many.
    fn read_on(
        &self,
        cursor: &mut RestCursor,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<usize> {
        if self.dirty > 0 || self.freeze.is_some() {
            let spec = &self.table.spec;
            let what = format!(
                "reading table '{}' of operator {}",
                spec.table, spec.operator
            );
            return Err(Error::io(what, "it was changed and not written back"));
        }
        if cursor.is_over {
            return Ok(0);
        }
        debug_assert!(self.slice.is_none(), "slices are read one by one");
        let mut read = 0;
        let mut next = None;
        for (from, to) in self.ranges_at_rest() {
            let from = cursor.next.take().unwrap_or(from);
            let visit = &mut |stored: &[u8], row: &[u8]| {
                if read == limit.max(1) {
                    next = Some(stored.to_vec());
                    return Ok(ControlFlow::Break(()));
                }
                read += 1;
                visit(stored.get(key::GROUP_BYTES..).unwrap_or_default(), row)?;
                Ok(ControlFlow::Continue(()))
            };
            let table = &self.table;
            table.backend.scan(table.index, &from, &to, visit)?;
        }
        cursor.is_over = next.is_none();
        cursor.next = next;
        Ok(read)
    }
}

fn finished(builders: Vec<Builder>) -> Vec<ArrayRef> {
    builders.into_iter().map(Builder::finish).collect()
}

fn batch(schema: &Schema, builders: Vec<Builder>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(DataType::arrow_schema(schema), finished(builders), &options)
        .map_err(|error| Error::io("building a batch of state", error))
}
