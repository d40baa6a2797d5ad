//! The backend `memory`: an ordered map per table, and one checksummed file per snapshot.
//!
//! The file (`docs/formats/checkpoint.md`):
//!
//! ```text
//!   "WEIRSTAT" ‖ 01 ‖ tables (varint) ‖ table … ‖ XXH3-64 of all before (u64 LE)
//!   table      name (length, bytes) ‖ entries (varint) ‖ entry …
//!   entry      key (length, bytes) ‖ row (length, bytes)          in the order of the keys; lengths are varints
//! ```

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{Keys, LinkedFile, StateBackend, TableIndex, Visitor, Write, Writes};
use crate::encoding::value::{put_bytes, put_count, take_bytes, take_count};
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"WEIRSTAT";
const VERSION: u8 = 1;
/// The name of the one file of a snapshot.
const FILE: &str = "memory.state";

type Map = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// All tables of one worker in memory.
pub(crate) struct MemoryBackend {
    names: Vec<String>,
    maps: RwLock<Vec<Map>>,
}

impl MemoryBackend {
    pub(crate) fn new(names: Vec<String>) -> Self {
        let maps = names.iter().map(|_| Map::new()).collect();
        Self {
            names,
            maps: RwLock::new(maps),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Map>> {
        // A poisoned lock means a panic while a batch was applied: the job is stopping already.
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateBackend for MemoryBackend {
    fn get_many(
        &self,
        table: TableIndex,
        keys: &Keys,
        found: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let maps = self.read();
        for (index, key) in keys.iter().enumerate() {
            if let Some(row) = maps[table].get(key) {
                found(index, row)?;
            }
        }
        Ok(())
    }

    fn write(&self, writes: &Writes) -> Result<()> {
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        for write in writes.iter() {
            match write {
                Write::Put { table, key, row } => {
                    maps[table].insert(key.into(), row.into());
                }
                Write::Delete { table, key } => {
                    maps[table].remove(key);
                }
                Write::DeleteRange { table, from, to } => {
                    let range = (Bound::Included(from), Bound::Excluded(to));
                    let keys: Vec<Box<[u8]>> = maps[table]
                        .range::<[u8], _>(range)
                        .map(|(key, _)| key.clone())
                        .collect();
                    keys.iter().for_each(|key| {
                        maps[table].remove(key);
                    });
                }
            }
        }
        Ok(())
    }

    fn scan(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        let maps = self.read();
        if from >= to {
            return Ok(());
        }
        for (key, row) in maps[table].range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
        {
            if visit(key, row)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn scan_back(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        let maps = self.read();
        if from >= to {
            return Ok(());
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        for (key, row) in maps[table].range::<[u8], _>(range).rev() {
            if visit(key, row)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn link(&self, folder: &Path) -> Result<Vec<LinkedFile>> {
        let path = folder.join(FILE);
        let context = || format!("writing {}", path.display());
        std::fs::create_dir_all(folder).map_err(|error| Error::io(context(), error))?;
        let file = std::fs::File::create(&path).map_err(|error| Error::io(context(), error))?;
        let mut out = Summed {
            out: std::io::BufWriter::new(file),
            sum: Xxh3::new(),
        };
        self.write_snapshot(&mut out)
            .map_err(|error| Error::io(context(), error))?;
        Ok(vec![LinkedFile {
            name: FILE.to_owned(),
            path,
            immutable_name: false,
        }])
    }

    fn size(&self, table: TableIndex) -> (u64, u64) {
        let map = &self.read()[table];
        let bytes = map
            .iter()
            .map(|(key, row)| key.len() + row.len())
            .sum::<usize>();
        (map.len() as u64, bytes as u64)
    }
}

impl MemoryBackend {
    fn write_snapshot(&self, out: &mut Summed) -> std::io::Result<()> {
        let maps = self.read();
        let mut head = MAGIC.to_vec();
        head.push(VERSION);
        put_count(maps.len(), &mut head);
        out.put(&head)?;
        let mut buffer = Vec::new();
        for (name, map) in self.names.iter().zip(maps.iter()) {
            buffer.clear();
            put_bytes(name.as_bytes(), &mut buffer);
            put_count(map.len(), &mut buffer);
            out.put(&buffer)?;
            for (key, row) in map {
                buffer.clear();
                put_bytes(key, &mut buffer);
                put_bytes(row, &mut buffer);
                out.put(&buffer)?;
            }
        }
        let sum = out.sum.digest();
        out.out.write_all(&sum.to_le_bytes())?;
        out.out.flush()
    }
}

/// A file and the checksum of what went into it.
struct Summed {
    out: std::io::BufWriter<std::fs::File>,
    sum: Xxh3,
}

impl Summed {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.sum.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Reads a snapshot file: calls `visit` with the table's name, key and row of every entry, in order.
pub(crate) fn read_snapshot(
    path: &Path,
    visit: &mut dyn FnMut(&str, &[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    let file = SnapshotFile::open(path)?;
    for (name, _, _) in &file.tables {
        file.visit(name, &mut |key, row| {
            visit(name, key, row)?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(())
}

/// A snapshot file in memory, where the state of this backend is anyway.
pub(crate) struct SnapshotFile {
    bytes: Vec<u8>,
    /// Name, place of the first entry, number of entries.
    tables: Vec<(String, usize, usize)>,
}

impl SnapshotFile {
    /// Reads a file whole and finds its tables.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)
            .map_err(|error| Error::io(format!("reading {}", path.display()), error))?;
        let damaged = || Error::damaged(&format!("{} is not a whole state file", path.display()));
        let (content, sum) = bytes.split_last_chunk::<8>().ok_or_else(damaged)?;
        if xxh3_64(content) != u64::from_le_bytes(*sum) {
            return Err(damaged());
        }
        let mut rest = content.strip_prefix(MAGIC.as_slice()).ok_or_else(damaged)?;
        match rest.split_first() {
            Some((&VERSION, after)) => rest = after,
            Some((version, _)) => {
                return Err(Error::Incompatible(format!(
                    "{} has version {version} and this release reads version {VERSION}: use the release that wrote it",
                    path.display()
                )));
            }
            None => return Err(damaged()),
        }
        let mut found = Vec::new();
        let tables = take_count(&mut rest)?;
        for _ in 0..tables {
            let name = std::str::from_utf8(take_bytes(&mut rest)?).map_err(|_| damaged())?;
            let entries = take_count(&mut rest)?;
            found.push((name.to_owned(), content.len() - rest.len(), entries));
            for _ in 0..entries {
                take_bytes(&mut rest)?;
                take_bytes(&mut rest)?;
            }
        }
        if !rest.is_empty() {
            return Err(damaged());
        }
        Ok(Self {
            bytes,
            tables: found,
        })
    }

    /// Visits the entries of a table, in order; a table that the file does not have is empty.
    pub(crate) fn visit(&self, table: &str, visit: &mut Visitor<'_>) -> Result<()> {
        let own = self.tables.iter().find(|(name, _, _)| name == table);
        let Some((_, start, entries)) = own else {
            return Ok(());
        };
        let mut rest = &self.bytes[*start..];
        for _ in 0..*entries {
            let key = take_bytes(&mut rest)?;
            let row = take_bytes(&mut rest)?;
            if visit(key, row)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}
