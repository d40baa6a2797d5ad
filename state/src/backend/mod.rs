//! State at rest: ordered keys and rows per table, written in batches, linked into snapshots.
//!
//! ```text
//!   worker thread ── get_many, scan, write (spills, slice drops; only while the gate is open)
//!                         ▼
//!                    StateBackend       rocksdb: a column family per table      memory: an ordered map per table
//!                         ▲
//!   writer thread ── write_frozen, link
//! ```

mod late;
mod memory;
mod rocksdb;
mod spill;
mod table_file;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

pub(crate) use late::LateBackend;
pub(crate) use memory::{MemoryBackend, SnapshotFile, read_snapshot};
pub(crate) use rocksdb::{RocksBackend, RocksReader, RocksShared, turn_of};
pub(crate) use spill::SpillingBackend;

use crate::Result;

/// Index of a table within its worker.
pub(crate) type TableIndex = usize;

/// What visits the entries of a scan: key and row; says whether to go on.
pub(crate) type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>> + 'a;

/// An ordered store of bytes for each table of one worker.
///
/// # Contract
/// * Writes of one batch become visible together, and to every later read of any thread.
/// * `link` captures exactly what was written before it; nobody writes meanwhile (the gate sees to it). The files
///   that it gives never change, and stay readable after the backend is dropped.
/// * After an error of `write` or `link` the batch may be there or not; the caller writes it again or gives up.
pub(crate) trait StateBackend: Send + Sync {
    /// Calls `found` with the index and the row of every key that exists.
    fn get_many(
        &self,
        table: TableIndex,
        keys: &Keys,
        found: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()>;

    /// Applies a batch of writes.
    fn write(&self, writes: &Writes) -> Result<()>;

    /// The same for entries of a freeze. Gives the bytes of their keys and rows.
    fn write_frozen(&self, entries: &dyn FrozenEntries) -> Result<u64> {
        let writes = gathered(entries);
        self.write(&writes)?;
        Ok(writes.bytes.len() as u64)
    }

    /// Visits the entries from `from` (inclusive) to `to` (exclusive) in order.
    fn scan(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()>;

    /// Brings what waits in front of the store to it: what is spilled from now on may wait again.
    fn settle(&self, table: TableIndex) -> Result<()> {
        let _ = table;
        Ok(())
    }

    /// The same as `scan`, but what was written since `settle` may be missing, or as it was then.
    fn scan_settled(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        self.scan(table, from, to, visit)
    }

    /// Visits the entries from `from` (inclusive) to `to` (exclusive) from the last one to the first.
    fn scan_back(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()>;

    /// Makes everything written so far durable in immutable files below `folder` (which does not exist yet) and
    /// gives their names and places.
    fn link(&self, folder: &Path) -> Result<Vec<LinkedFile>>;

    /// Called after each `link`, with the number of the checkpoint: a backend may put its files in order now.
    fn tidy(&self, checkpoint: u64) -> Result<()> {
        let _ = checkpoint;
        Ok(())
    }

    /// Entries and bytes of a table, roughly: for statistics.
    fn size(&self, table: TableIndex) -> (u64, u64);
}

/// Entries of a freeze: puts and deletions of one table, each key once, where they are in memory. They are encoded as they are
/// written: all of them beside each other would take as much memory again as the state that changed.
pub(crate) trait FrozenEntries {
    fn table(&self) -> TableIndex;

    /// Memory of keys and rows, about.
    fn memory(&self) -> usize;

    /// What to call the entries by, in no order.
    fn places(&self) -> Vec<u32>;

    /// Appends the key of an entry.
    fn put_key(&self, place: u32, out: &mut Vec<u8>);

    /// Appends the row of an entry; `false`: the entry is a deletion.
    fn put_row(&self, place: u32, out: &mut Vec<u8>) -> bool;
}

/// The entries as a batch of writes.
fn gathered(entries: &dyn FrozenEntries) -> Writes {
    let mut writes = Writes::default();
    for place in entries.places() {
        entries.put_key(place, &mut writes.bytes);
        writes.end_key();
        if entries.put_row(place, &mut writes.bytes) {
            writes.end_put(entries.table());
        } else {
            writes.end_delete(entries.table());
        }
    }
    writes
}

/// A file of a snapshot, before it is uploaded.
#[derive(Clone, Debug)]
pub(crate) struct LinkedFile {
    /// Name that the backend wants at a restore.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Whether a file of this name never changes its content while the backend is open.
    pub(crate) immutable_name: bool,
}

/// Encoded keys, one after the other.
#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ends: Vec<usize>,
}

impl Keys {
    /// Ends the key whose bytes were appended to `bytes`.
    pub(crate) fn end_key(&mut self) {
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// One write of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write<'a> {
    Put {
        table: TableIndex,
        key: &'a [u8],
        row: &'a [u8],
    },
    Delete {
        table: TableIndex,
        key: &'a [u8],
    },
    /// From the first key, inclusive, to the second, exclusive.
    DeleteRange {
        table: TableIndex,
        from: &'a [u8],
        to: &'a [u8],
    },
}

#[derive(Clone, Copy)]
enum Kind {
    Put,
    Delete,
    DeleteRange,
}

/// A batch of writes in one buffer.
#[derive(Default)]
pub(crate) struct Writes {
    pub(crate) bytes: Vec<u8>,
    /// Kind, table, end of the first part, end of the second part.
    entries: Vec<(Kind, TableIndex, usize, usize)>,
    middle: usize,
}

impl Writes {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Says that the key (or the start of a range) is complete in `bytes`; the row (or the end) follows.
    pub(crate) fn end_key(&mut self) {
        self.middle = self.bytes.len();
    }

    /// Completes a put: key, [`Self::end_key`], row.
    pub(crate) fn end_put(&mut self, table: TableIndex) {
        self.entries
            .push((Kind::Put, table, self.middle, self.bytes.len()));
    }

    /// Completes a deletion: key, [`Self::end_key`].
    pub(crate) fn end_delete(&mut self, table: TableIndex) {
        self.entries
            .push((Kind::Delete, table, self.middle, self.bytes.len()));
    }

    /// Completes a deletion of a range: from, [`Self::end_key`], to.
    pub(crate) fn end_delete_range(&mut self, table: TableIndex) {
        self.entries
            .push((Kind::DeleteRange, table, self.middle, self.bytes.len()));
    }

    pub(crate) fn put(&mut self, table: TableIndex, key: &[u8], row: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.end_key();
        self.bytes.extend_from_slice(row);
        self.end_put(table);
    }

    /// The numbers of the writes in the order of their keys, equal keys as they came; as all came if ranges are among
    /// them, which may cover what comes after them. An ordered store takes neighbours one after the other several times as fast.
    /// The first bytes of each key are at hand while they are compared: most comparisons end there.
    pub(crate) fn sorted(&self) -> Vec<u32> {
        let is_range = |write: Write<'_>| matches!(write, Write::DeleteRange { .. });
        if self.iter().any(is_range) {
            return (0..self.len() as u32).collect();
        }
        let key = |number: u32| self.get(number as usize).place().1;
        let heads = self.iter().zip(0_u32..);
        let mut sorted: Vec<(u128, u32)> = heads
            .map(|(write, number)| (head(write.place().1), number))
            .collect();
        sorted.sort_unstable_by(|&(a_head, a), &(b_head, b)| {
            let heads = a_head.cmp(&b_head);
            heads.then_with(|| key(a).cmp(key(b)).then(a.cmp(&b)))
        });
        sorted.into_iter().map(|(_, number)| number).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Write<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// One of the writes.
    pub(crate) fn get(&self, index: usize) -> Write<'_> {
        let start = match index.checked_sub(1) {
            Some(before) => self.entries[before].3,
            None => 0,
        };
        let (kind, table, middle, end) = self.entries[index];
        let (first, second) = (&self.bytes[start..middle], &self.bytes[middle..end]);
        match kind {
            Kind::Put => Write::Put {
                table,
                key: first,
                row: second,
            },
            Kind::Delete => Write::Delete { table, key: first },
            Kind::DeleteRange => Write::DeleteRange {
                table,
                from: first,
                to: second,
            },
        }
    }
}

/// Bytes of a key that are compared at once.
const HEAD_BYTES: usize = size_of::<u128>();

/// The first bytes of a key as a number that sorts like them; a shorter key is filled up with zeros, and equal to some
/// longer ones so far.
fn head(key: &[u8]) -> u128 {
    let mut head = [0; HEAD_BYTES];
    let length = key.len().min(HEAD_BYTES);
    head[..length].copy_from_slice(&key[..length]);
    u128::from_be_bytes(head)
}

impl<'a> Write<'a> {
    /// The table and the key, or the start of the range.
    pub(crate) fn place(&self) -> (TableIndex, &'a [u8]) {
        match *self {
            Self::Put { table, key, .. } | Self::Delete { table, key } => (table, key),
            Self::DeleteRange { table, from, .. } => (table, from),
        }
    }
}

/// The smallest key that is greater than every key that starts with `prefix`; empty if there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests;
