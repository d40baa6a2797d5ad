//! Entries that left memory, on their way to the database.
//!
//! ```text
//!   worker ── write ──▶ spilled entries ──settle──▶ RocksDB: table files, in its order
//!          ◀─ get_many ─┘ (what is not there: RocksDB)
//! ```
//!
//! What is spilled was just changed, and most of it is read back and changed again before the next checkpoint. A database keeps
//! things for ranges, for other readers and for ever, and asks many places for a key. Here they are kept for look-ups of single
//! keys alone, by their hashes (`run.rs`), and go to the database once for each key: when a checkpoint needs them there, when
//! somebody reads a range, or when they take too much memory.
//!
//! Only tables whose entries are looked up one by one (`Map`) come here; the others are ranges.
//!
//! # Invariants
//! 1. The youngest state of a key is here if anything of it is here: whatever else writes entries of a table settles it before.
//! 2. `link` finds everything settled. So does `write_frozen`: what is frozen is younger than what was spilled before.
//! 3. A table is settled by one thread at a time; until the database has all of it, it stays readable here.

mod memory;
mod record;
mod run;
mod space;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::memory::Held;
use self::record::place_of;
use self::run::{PIECE_BYTES, merge};
use self::table::{SpilledTable, Wanted};
use super::table_file::SortedFiles;
use super::{
    FrozenEntries, Keys, LinkedFile, RocksBackend, RocksShared, StateBackend, TableIndex, Visitor,
    Write, Writes,
};
use crate::Result;

/// Keys that are looked up at once.
const KEYS_PER_LOOKUP: usize = 1024;
/// Bytes of a buffer.
const BUFFER_BYTES: std::ops::RangeInclusive<usize> = if cfg!(test) {
    4 << 10..=8 << 10
} else {
    64 << 10..=1 << 20
};

/// RocksDB, and before it what was spilled.
pub(crate) struct SpillingBackend {
    database: RocksBackend,
    shared: RocksShared,
    tables: Vec<Option<Spilled>>,
    /// Memory of one table that nobody objects to.
    fair_bytes: usize,
}

struct Spilled {
    table: Mutex<SpilledTable>,
    settling: Mutex<()>,
    /// Whether the database may have entries of the table.
    is_at_rest: AtomicBool,
}

impl Spilled {
    fn lock(&self) -> MutexGuard<'_, SpilledTable> {
        // A poisoned lock means a panic of the worker or of its writer: the job is stopping already.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpillingBackend {
    /// `folder`: for files of its own. `spills`: for which tables. `workers`: how many share the memory.
    pub(crate) fn new(
        database: RocksBackend,
        shared: &RocksShared,
        folder: &Path,
        spills: &[bool],
        workers: usize,
    ) -> Result<Self> {
        if spills.contains(&true) {
            let context = || format!("making the folder {}", folder.display());
            std::fs::create_dir_all(folder).map_err(|error| crate::Error::io(context(), error))?;
        }
        let sharing = workers.max(1) * spills.iter().filter(|&&spills| spills).count().max(1);
        let buffer_bytes =
            (shared.write_bytes / sharing / 2).clamp(*BUFFER_BYTES.start(), *BUFFER_BYTES.end());
        let mut tables = Vec::with_capacity(spills.len());
        for (table, &spills) in spills.iter().enumerate() {
            let spilled = || -> Result<Spilled> {
                let path = folder.join(format!("{table}.run"));
                let all = &shared.spilled_memory;
                Ok(Spilled {
                    table: Mutex::new(SpilledTable::new(path, buffer_bytes, all)),
                    settling: Mutex::new(()),
                    is_at_rest: AtomicBool::new(!database.is_empty(table)?),
                })
            };
            tables.push(spills.then(spilled).transpose()?);
        }
        Ok(Self {
            database,
            shared: shared.clone(),
            tables,
            fair_bytes: shared.spilled_limit() / sharing,
        })
    }

    /// Brings what a table has spilled to the database.
    fn bring_to_database(&self, table: TableIndex) -> Result<()> {
        let Some(spilled) = &self.tables[table] else {
            return Ok(());
        };
        let _settles = spilled
            .settling
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let runs = spilled.lock().runs()?;
        spilled.is_at_rest.store(true, Ordering::Release);
        if runs.is_empty() {
            return Ok(());
        }
        let mut files = SortedFiles::new(&self.database, table);
        let mut chunk = Chunk::default();
        let chunk_bytes = self.shared.batch_bytes();
        let mut held = Held::new(&self.shared.spilled_memory);
        held.set(chunk_bytes + runs.len() * PIECE_BYTES);
        self.shared.share_cache();
        merge(&runs, &mut |record| {
            let place = place_of(record.hash, record.key);
            let group = place >> record::GROUP_SHIFT;
            if chunk.is_over(group, chunk_bytes) {
                chunk.give(&mut files)?;
            }
            chunk.add(group, record);
            record.check()
        })?;
        chunk.give(&mut files)?;
        files.finish()?;
        spilled.lock().forget(&runs);
        drop(held);
        self.shared.share_cache();
        Ok(())
    }

    fn settle_all(&self) -> Result<()> {
        (0..self.tables.len()).try_for_each(|table| self.bring_to_database(table))
    }

    /// Whether these writes are puts and deletions of entries of tables that spill.
    fn are_spilled(&self, writes: &Writes) -> bool {
        writes.iter().all(|write| {
            let is_range = matches!(write, Write::DeleteRange { .. });
            !is_range && self.tables[write.place().0].is_some()
        })
    }

    fn has_too_much(&self, content: &SpilledTable) -> bool {
        let is_large = content.memory() >= self.fair_bytes;
        content.is_full() || is_large && self.shared.has_too_much_spilled()
    }

    fn spill<'a>(
        &self,
        table: TableIndex,
        spilled: &Spilled,
        writes: impl Iterator<Item = Write<'a>>,
    ) -> Result<()> {
        let mut content = spilled.lock();
        for write in writes {
            match write {
                Write::Put { key, row, .. } => content.put(key, Some(row))?,
                Write::Delete { key, .. } => content.put(key, None)?,
                Write::DeleteRange { .. } => unreachable!("ranges go to the database"),
            }
        }
        content.note_memory();
        if self.has_too_much(&content) && content.may_shrink() {
            content.merge_all()?;
        }
        let settles = self.has_too_much(&content);
        drop(content);
        self.shared.share_cache();
        if settles {
            self.bring_to_database(table)
        } else {
            Ok(())
        }
    }
}

impl StateBackend for SpillingBackend {
    fn get_many(
        &self,
        table: TableIndex,
        keys: &Keys,
        found: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let Some(spilled) = &self.tables[table] else {
            return self.database.get_many(table, keys, found);
        };
        let mut looked_up = LookedUp::default();
        for start in (0..keys.len()).step_by(KEYS_PER_LOOKUP) {
            let numbers = start..keys.len().min(start + KEYS_PER_LOOKUP);
            looked_up.clear();
            looked_up.look_up(spilled, keys, numbers)?;
            // Without the lock: who takes a row may have to wait for the writer, which may have to settle the table.
            let mut from = 0;
            for &(number, to) in &looked_up.found {
                found(number, &looked_up.rows[from..to])?;
                from = to;
            }
            let (rest, numbers) = (&looked_up.rest, &looked_up.rest_numbers);
            if !numbers.is_empty() {
                let mut found = |number: usize, row: &[u8]| found(numbers[number], row);
                self.database.get_many(table, rest, &mut found)?;
            }
        }
        Ok(())
    }

    fn write(&self, writes: &Writes) -> Result<()> {
        if self.are_spilled(writes) {
            let mut writes = writes.iter().peekable();
            while let Some(table) = writes.peek().map(|write| write.place().0) {
                let is_same = |write: &Write<'_>| write.place().0 == table;
                let same_table = std::iter::from_fn(|| writes.next_if(is_same));
                match &self.tables[table] {
                    Some(spilled) => self.spill(table, spilled, same_table)?,
                    None => unreachable!("the table spills"),
                }
            }
            return Ok(());
        }
        let mut last = None;
        for write in writes.iter() {
            let table = write.place().0;
            if last.replace(table) != Some(table) {
                self.bring_to_database(table)?;
            }
        }
        self.database.write(writes)
    }

    fn write_frozen(&self, entries: &dyn FrozenEntries) -> Result<u64> {
        self.bring_to_database(entries.table())?;
        self.database.write_frozen(entries)
    }

    fn scan(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        self.bring_to_database(table)?;
        self.database.scan(table, from, to, visit)
    }

    fn settle(&self, table: TableIndex) -> Result<()> {
        self.bring_to_database(table)
    }

    fn scan_settled(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        self.database.scan(table, from, to, visit)
    }

    fn scan_back(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        self.bring_to_database(table)?;
        self.database.scan_back(table, from, to, visit)
    }

    fn link(&self, folder: &Path) -> Result<Vec<LinkedFile>> {
        self.settle_all()?;
        self.database.link(folder)
    }

    fn tidy(&self, checkpoint: u64) -> Result<()> {
        self.database.tidy(checkpoint)
    }

    fn size(&self, table: TableIndex) -> (u64, u64) {
        let (entries, bytes) = self.database.size(table);
        let spilled = self.tables[table].as_ref();
        let records = spilled.map_or(0, |spilled| spilled.lock().records());
        (entries + records, bytes)
    }
}

/// What a look-up of many keys has found among what was spilled.
#[derive(Default)]
struct LookedUp {
    wanted: Vec<Wanted>,
    rows: Vec<u8>,
    /// The number of each key that has a row, and where the row ends.
    found: Vec<(usize, usize)>,
    /// The keys that the database is to be asked for, and their numbers.
    rest: Keys,
    rest_numbers: Vec<usize>,
}

impl LookedUp {
    fn clear(&mut self) {
        self.wanted.clear();
        self.rows.clear();
        self.found.clear();
        self.rest.bytes.clear();
        self.rest.ends.clear();
        self.rest_numbers.clear();
    }

    fn look_up(
        &mut self,
        spilled: &Spilled,
        keys: &Keys,
        numbers: std::ops::Range<usize>,
    ) -> Result<()> {
        let mut content = spilled.lock();
        let is_at_rest = spilled.is_at_rest.load(Ordering::Acquire);
        self.wanted
            .extend(numbers.map(|number| Wanted::of(keys, number)));
        content.find(keys, &mut self.wanted, &mut |number, row| {
            if let Some(row) = row {
                self.rows.extend_from_slice(row);
                self.found.push((number, self.rows.len()));
            }
        })?;
        drop(content);
        if is_at_rest {
            for wanted in &self.wanted {
                self.rest.bytes.extend_from_slice(keys.get(wanted.number));
                self.rest.end_key();
                self.rest_numbers.push(wanted.number);
            }
        }
        Ok(())
    }
}

/// Where a key begins and ends in a chunk, and where its row ends, if it has one: else it is a deletion.
type Entry = (u32, u32, Option<u32>);

/// Records on their way into the order of the database.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    group: u64,
}

impl Chunk {
    /// Whether it should go before a record of this key group comes: groups are in order, and in each of them keys are not.
    fn is_over(&self, group: u64, bytes: usize) -> bool {
        let limit = if group == self.group {
            bytes
        } else {
            bytes / 2
        };
        self.bytes.len() + self.entries.len() * size_of::<Entry>() >= limit
    }

    fn add(&mut self, group: u64, record: &record::Record<'_>) {
        let from = self.bytes.len() as u32;
        self.bytes.extend_from_slice(record.key);
        let middle = self.bytes.len() as u32;
        self.bytes.extend_from_slice(record.row.unwrap_or_default());
        let to = record.row.map(|_| self.bytes.len() as u32);
        self.entries.push((from, middle, to));
        self.group = group;
    }

    fn give(&mut self, files: &mut SortedFiles<'_>) -> Result<()> {
        let bytes = &self.bytes;
        let key = |entry: &Entry| &bytes[entry.0 as usize..entry.1 as usize];
        self.entries.sort_unstable_by(|a, b| key(a).cmp(key(b)));
        if let Some(first) = self.entries.first() {
            files.begin(key(first))?;
        }
        for entry in &self.entries {
            let row = entry.2.map(|end| &bytes[entry.1 as usize..end as usize]);
            files.put(key(entry), row)?;
        }
        self.bytes.clear();
        self.entries.clear();
        Ok(())
    }
}
