//! Entries of a freeze as table files of the database, without its memtables.
//!
//! ```text
//!   entries of one table, where they are ─▶ their order by key ─▶ file beside the database ─▶ taken in (a link and a line
//!                                                                                             of its manifest)
//! ```
//!
//! A memtable would look for the place of each entry among all others, copy it there, and write the same file then. The file
//! that is taken in hides what the database has of the same keys; what of them is in a memtable is flushed first, by the
//! database itself.
//!
//! # Invariants
//! 1. A file that was not taken in is nobody's: it is written over by the next one.
//! 2. Files of a freeze are made by one thread, and those of a table's spilled entries by one at a time, under another name.

use std::path::{Path, PathBuf};

use rocksdb::{ColumnFamily, DB, IngestExternalFileOptions, Options, SstFileWriter};

use super::rocksdb::failed;
use super::{FrozenEntries, HEAD_BYTES, RocksBackend, TableIndex, Writes, head};
use crate::{Error, Result};

/// Batches with fewer bytes go through the memtable, which gathers what several slices of a table write.
const FILE_BYTES: usize = 256 << 10;
/// Larger files are not made: what is merged needs room twice.
const LARGEST_FILE_BYTES: u64 = if cfg!(test) { 64 << 10 } else { 64 << 20 };
/// Files that are written at once: each has a buffer of a megabyte, an index and a filter in memory until it is complete.
const FILES_AT_ONCE: usize = if cfg!(test) { 2 } else { 4 };

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
    pub(super) fn is_worth_a_file(&self, entries: &dyn FrozenEntries) -> bool {
        entries.memory() >= FILE_BYTES
    }

    /// A file to be written.
    fn create(&self, path: &Path) -> Result<SstFileWriter<'_>> {
        let context = || format!("making the folder {}", self.folder.display());
        std::fs::create_dir_all(&self.folder).map_err(|error| Error::io(context(), error))?;
        // Under the name that it had before it was taken in the last one may still be there, and is the database's.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let context = format!("removing {}", path.display());
                return Err(Error::io(context, error));
            }
            _ => {}
        }
        let file = SstFileWriter::create(&self.options);
        file.open(path).map_err(failed("writing a file of state"))?;
        Ok(file)
    }

    /// Adds a batch of puts and deletions of one table. Gives the bytes of their keys and rows.
    pub(super) fn add(
        &self,
        db: &DB,
        family: &ColumnFamily,
        entries: &dyn FrozenEntries,
    ) -> Result<u64> {
        let path = self.folder.join("next.sst");
        let bytes = self.write(&path, entries)?;
        take_in(db, family, &path)?;
        Ok(bytes)
    }

    fn write(&self, path: &Path, entries: &dyn FrozenEntries) -> Result<u64> {
        let failed = || failed("writing a file of state");
        let mut file = self.create(path)?;
        let (mut key, mut row) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for place in in_order(entries) {
            key.clear();
            row.clear();
            entries.put_key(place, &mut key);
            if entries.put_row(place, &mut row) {
                file.put(&key, &row).map_err(failed())?;
            } else {
                file.delete(&key).map_err(failed())?;
            }
            bytes += (key.len() + row.len()) as u64;
        }
        file.finish().map_err(failed())?;
        Ok(bytes)
    }
}

fn take_in(db: &DB, family: &ColumnFamily, path: &Path) -> Result<()> {
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    db.ingest_external_file_cf_opts(family, &options, vec![path])
        .map_err(failed("adding a file of state"))
}

/// Puts and deletions of one table that come in stretches, each in the order of its keys, as table files: a stretch goes on with
/// a file that ends before it, so that there are as many files as stretches that overlap each other, and not more.
///
/// ```text
///   stretches   a…f  c…h │ k…p  m…q  n…r │ t…z        files   a…f k…p t…z    c…h m…q    n…r
/// ```
pub(super) struct SortedFiles<'a> {
    backend: &'a RocksBackend,
    table: TableIndex,
    /// Each is beside the database under a number of its own: its place here.
    open: Vec<Option<SortedFile<'a>>>,
    /// The place of the file that the stretch goes to.
    at: usize,
    bytes: u64,
    /// Instead of files, while merging them lags far behind.
    writes: Option<Writes>,
}

struct SortedFile<'a> {
    writer: SstFileWriter<'a>,
    path: PathBuf,
    last_key: Vec<u8>,
    bytes: u64,
}

impl<'a> SortedFiles<'a> {
    pub(super) fn new(backend: &'a RocksBackend, table: TableIndex) -> Self {
        Self {
            backend,
            table,
            open: Vec::new(),
            at: 0,
            bytes: 0,
            writes: backend.lags_behind(table).then(Writes::default),
        }
    }

    /// A stretch begins with this key.
    pub(super) fn begin(&mut self, key: &[u8]) -> Result<()> {
        if let Some(writes) = &mut self.writes {
            self.backend.put(writes)?;
            writes.clear();
            return Ok(());
        }
        for at in 0..self.open.len() {
            let file = self.open[at].take_if(|file| file.bytes >= LARGEST_FILE_BYTES);
            self.close(file)?;
        }
        let ends_before = |file: &Option<SortedFile<'_>>| {
            let file = file.as_ref();
            file.is_none_or(|file| file.last_key.as_slice() < key)
        };
        self.at = match self.open.iter().position(ends_before) {
            Some(at) => at,
            None if self.open.len() < FILES_AT_ONCE => {
                self.open.push(None);
                self.open.len() - 1
            }
            None => {
                let file = self.open[0].take();
                self.close(file)?;
                0
            }
        };
        if self.open[self.at].is_none() {
            let files = self.backend.files(self.table).2;
            let name = format!("spilled-{}-{}.sst", self.table, self.at);
            let path = files.folder.join(name);
            self.open[self.at] = Some(SortedFile {
                writer: files.create(&path)?,
                path,
                last_key: Vec::new(),
                bytes: 0,
            });
        }
        Ok(())
    }

    /// The next entry of the stretch; without a row, its deletion.
    pub(super) fn put(&mut self, key: &[u8], row: Option<&[u8]>) -> Result<()> {
        let length = (key.len() + row.map_or(0, <[u8]>::len)) as u64;
        self.bytes += length;
        if let Some(writes) = &mut self.writes {
            writes.bytes.extend_from_slice(key);
            writes.end_key();
            match row {
                None => writes.end_delete(self.table),
                Some(row) => {
                    writes.bytes.extend_from_slice(row);
                    writes.end_put(self.table);
                }
            }
            return Ok(());
        }
        let file = self.open.get_mut(self.at).and_then(Option::as_mut);
        let file = file.expect("a stretch has begun");
        file.bytes += length;
        file.last_key.clear();
        file.last_key.extend_from_slice(key);
        let put = match row {
            Some(row) => file.writer.put(key, row),
            None => file.writer.delete(key),
        };
        put.map_err(failed("writing a file of state"))
    }

    fn close(&self, file: Option<SortedFile<'_>>) -> Result<()> {
        let Some(mut file) = file else {
            return Ok(());
        };
        let finished = file.writer.finish();
        finished.map_err(failed("writing a file of state"))?;
        drop(file.writer);
        let (db, family, _) = self.backend.files(self.table);
        take_in(db, family, &file.path)
    }

    /// All stretches are there.
    pub(super) fn finish(mut self) -> Result<()> {
        if let Some(writes) = &self.writes {
            self.backend.put(writes)?;
        }
        for file in std::mem::take(&mut self.open) {
            self.close(file)?;
        }
        self.backend.note_spill(self.table, self.bytes)
    }
}

/// The places of the entries in the order of their keys.
fn in_order(entries: &dyn FrozenEntries) -> Vec<u32> {
    let mut key = Vec::new();
    let places = entries.places().into_iter();
    let mut sorted: Vec<(u128, u32)> = places
        .map(|place| {
            key.clear();
            entries.put_key(place, &mut key);
            (head(&key), place)
        })
        .collect();
    sort(entries, &mut sorted, 0);
    sorted.into_iter().map(|(_, place)| place).collect()
}

/// Sorts entries whose keys are equal in the first `known` bytes by the bytes behind: a stretch of each key at a time, so that a
/// key is fetched once for each stretch, and not for every comparison.
fn sort(entries: &dyn FrozenEntries, run: &mut [(u128, u32)], known: usize) {
    run.sort_unstable();
    let behind = known + HEAD_BYTES;
    let mut key = Vec::new();
    for equal in run.chunk_by_mut(|a, b| a.0 == b.0) {
        if equal.len() == 1 {
            continue;
        }
        let (mut shortest, mut longest) = (usize::MAX, 0);
        for (next, place) in equal.iter_mut() {
            key.clear();
            entries.put_key(*place, &mut key);
            (shortest, longest) = (shortest.min(key.len()), longest.max(key.len()));
            *next = head(key.get(behind..).unwrap_or_default());
        }
        if shortest < behind {
            // Filled up with zeros a key equals some longer ones.
            equal.sort_by_cached_key(|&(_, place)| {
                let mut key = Vec::new();
                entries.put_key(place, &mut key);
                key
            });
        } else if longest > behind {
            sort(entries, equal, behind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::tests::Puts;

    #[test]
    fn entries_are_sorted_by_their_whole_keys() {
        let long = |end: &str| format!("{}{end}", "0123456789abcdef".repeat(3)).into_bytes();
        let mut keys: Vec<Vec<u8>> = vec![
            b"0123456789abcdefz".to_vec(),
            b"b".to_vec(),
            b"0123456789abcdef".to_vec(),
            b"".to_vec(),
            b"b\0".to_vec(),
            b"0123456789abcdefa".to_vec(),
            long("zz"),
            long("a"),
            long("z"),
            long(""),
        ];
        let entries = Puts(keys.iter().map(|key| (key.clone(), None)).collect());
        let sorted = in_order(&entries).into_iter();
        let sorted: Vec<Vec<u8>> = sorted.map(|place| keys[place as usize].clone()).collect();
        keys.sort();
        assert_eq!(sorted, keys);
    }
}
