//! Entries of a freeze as table files of the database, without its memtables.
//!
//! ```text
//!   batch of one table ─▶ sorted by key ─▶ file beside the database ─▶ taken in (a link and a line of its manifest)
//! ```
//!
//! A memtable would look for the place of each entry among all others, copy it there, and write the same file then. The file
//! that is taken in hides what the database has of the same keys; what of them is in a memtable is flushed first, by the
//! database itself.
//!
//! # Invariants
//! 1. A file that was not taken in is nobody's: it is written over by the next one.
//! 2. Files are made by one thread.

use std::path::{Path, PathBuf};

use rocksdb::{ColumnFamily, DB, IngestExternalFileOptions, Options, SstFileWriter};

use super::rocksdb::failed;
use super::{Write, Writes};
use crate::{Error, Result};

/// Batches with fewer bytes go through the memtable, which gathers what several slices of a table write.
const FILE_BYTES: usize = 256 << 10;

/// Makes table files for one database.
pub(super) struct TableFiles {
    folder: PathBuf,
    options: Options,
}

impl TableFiles {
    /// In a folder on the same file system as the database.
    pub(super) fn new(folder: PathBuf, options: Options) -> Self {
        Self { folder, options }
    }

    /// Whether a batch is large enough.
    pub(super) fn is_worth_a_file(&self, writes: &Writes) -> bool {
        writes.bytes.len() >= FILE_BYTES
    }

    /// Adds a batch of puts and deletions of one table.
    pub(super) fn add(&self, db: &DB, family: &ColumnFamily, writes: &Writes) -> Result<()> {
        let context = || format!("making the folder {}", self.folder.display());
        std::fs::create_dir_all(&self.folder).map_err(|error| Error::io(context(), error))?;
        let path = self.folder.join("next.sst");
        self.write(&path, writes)?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        db.ingest_external_file_cf_opts(family, &options, vec![&path])
            .map_err(failed("adding a file of state"))
    }

    fn write(&self, path: &Path, writes: &Writes) -> Result<()> {
        let failed = || failed("writing a file of state");
        let mut file = SstFileWriter::create(&self.options);
        file.open(path).map_err(failed())?;
        let sorted = in_order(writes);
        for (index, &number) in sorted.iter().enumerate() {
            let write = writes.get(number as usize);
            // Of equal keys the last one counts.
            let next = sorted.get(index + 1).map(|&next| writes.get(next as usize));
            match write {
                _ if next.is_some_and(|next| next.place() == write.place()) => {}
                Write::Put { key, row, .. } => file.put(key, row).map_err(failed())?,
                Write::Delete { key, .. } => file.delete(key).map_err(failed())?,
                Write::DeleteRange { .. } => {
                    return Err(Error::io(
                        "writing a file of state",
                        "a freeze has no ranges",
                    ));
                }
            }
        }
        file.finish().map_err(failed())
    }
}

/// The numbers of the writes by their keys, equal keys as they came. The first bytes of each key are at hand while they are
/// compared: most comparisons end there.
fn in_order(writes: &Writes) -> Vec<u32> {
    let heads = writes.iter().zip(0_u32..);
    let mut sorted: Vec<(u128, u32)> = heads
        .map(|(w, number)| (head(w.place().1), number))
        .collect();
    let key = |number: u32| writes.get(number as usize).place().1;
    sorted.sort_unstable_by(|&(a_head, a), &(b_head, b)| {
        let heads = a_head.cmp(&b_head);
        heads.then_with(|| key(a).cmp(key(b)).then(a.cmp(&b)))
    });
    sorted.into_iter().map(|(_, number)| number).collect()
}

/// The first bytes of a key as a number that sorts like them; a shorter key is filled up with zeros, and equal to some
/// longer ones so far.
fn head(key: &[u8]) -> u128 {
    let mut head = [0; 16];
    let length = key.len().min(16);
    head[..length].copy_from_slice(&key[..length]);
    u128::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_sorted_by_their_whole_keys() {
        let mut writes = Writes::default();
        let keys: [&[u8]; 6] = [
            b"0123456789abcdefz",
            b"b",
            b"0123456789abcdef",
            b"",
            b"b\0",
            b"0123456789abcdefa",
        ];
        for key in keys {
            writes.put(0, key, b"row");
        }
        let sorted = in_order(&writes).into_iter();
        let sorted: Vec<&[u8]> = sorted
            .map(|number| writes.get(number as usize).place().1)
            .collect();
        let mut expected = keys.to_vec();
        expected.sort();
        assert_eq!(sorted, expected);
    }
}
