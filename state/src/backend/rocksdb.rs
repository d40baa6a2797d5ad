//! The backend `rocksdb`: one database per worker, a column family per table.
//!
//! Block cache and write buffers are one pool for the process: memtables are charged to the block cache, so that
//! both together stay within their share of the memory budget. There is no write-ahead log: what a crash loses,
//! the last checkpoint has.
//!
//! What a checkpoint writes goes into table files directly, a batch of a table into one (`table_file.rs`); only what is spilled
//! between checkpoints, and small batches, go through a memtable.
//!
//! # When files are merged
//!
//! Each checkpoint leaves a file on level 0, and merging them with the level below writes, and uploads, nearly the whole
//! state again. So it is done seldom, and workers take turns: of 22 checkpoints each worker has one, spread evenly, so that
//! ten checkpoints in a row upload about half of the state beside what changed, and not all of it at once; also if what a
//! merge wrote is uploaded with the checkpoint after it.
//!
//! ```text
//!   checkpoint   1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19 20 21 22
//!   worker 0     M                                                                     of two
//!   worker 1                                      M
//! ```
//!
//! While more than a file is written between two checkpoints, because state does not fit into memory, 16 files are merged: each of
//! them is asked for every key that is read back. Else the limit is 48, more than two for each checkpoint between two turns: what
//! is only read back, and not written, is no reason to upload it all again. Half of the memory for writes is one batch's, or one memtable's, so that what a checkpoint writes is a file or two: many small ones would be merged
//! out of turn.
//!
//! Below level 0 there is one level. More of them would make a merge smaller, but what comes down here is a share of all keys, not
//! a few of them: it would pass through each level, and be written, and uploaded, once for each.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB,
    DBCompressionType, DataBlockIndexType, FlushOptions, LruCacheOptions, Options, ReadOptions,
    WriteBatch, WriteBufferManager, WriteOptions,
};

use super::table_file::TableFiles;
use super::{
    FrozenEntries, Keys, LinkedFile, StateBackend, TableIndex, Visitor, Write, Writes, gathered,
};
use crate::encoding::key;
use crate::{Error, Result};

/// Keys that one call of RocksDB looks up: bounds the pinned blocks.
const KEYS_PER_LOOKUP: usize = 1024;

/// Files of level 0 before they are merged with what is below, whoever made them: more than a checkpoint's two times [`TURNS`].
const LEVEL_0_FILES: i32 = 48;
/// The same while a table does not fit into memory: each of them is asked for every key that is read back.
const LEVEL_0_FILES_SPILLED: i32 = 16;
/// Each database has its turn to merge once in so many checkpoints.
pub(super) const TURNS: u64 = 22;
/// A database smaller than this, and none is larger, has one level below level 0.
const ONE_LEVEL_BYTES: u64 = 1 << 44;
/// Fewer files of level 0 than this are not worth a merge.
const WORTH_A_MERGE: u64 = 8;

/// What all databases of the process share.
#[derive(Clone)]
pub(crate) struct RocksShared {
    cache: Cache,
    write_buffers: WriteBufferManager,
    /// Size of one memtable of one table.
    write_buffer_bytes: usize,
    /// What blocks, memtables, and what was spilled, may have together.
    cache_bytes: usize,
    /// What of it is for memtables, or for the buffers of what is spilled.
    pub(super) write_bytes: usize,
    /// What [`super::spill`] takes.
    pub(super) spilled_memory: Arc<AtomicUsize>,
}

impl RocksShared {
    /// `cache_bytes` for blocks and memtables together, `write_bytes` of them for memtables.
    pub(crate) fn new(cache_bytes: usize, write_bytes: usize) -> Self {
        // Few shards: with a small budget, a shard must still hold many blocks.
        let mut options = LruCacheOptions::default();
        options.set_capacity(cache_bytes);
        options.set_num_shard_bits(if cache_bytes < 256 << 20 { 2 } else { 4 });
        let cache = Cache::new_lru_cache_opts(&options);
        // Never stalls writers of one database because another one holds memory: that could wait for ever.
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            write_bytes,
            false,
            cache.clone(),
        );
        let write_buffer_bytes = (write_bytes / 2).clamp(256 << 10, 64 << 20);
        Self {
            cache,
            write_buffers,
            write_buffer_bytes,
            cache_bytes,
            write_bytes,
            spilled_memory: Arc::default(),
        }
    }

    /// How much of a freeze is written at once.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.write_buffer_bytes
    }

    /// Bytes of blocks and memtables in memory, and of what finds spilled entries.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.cache.get_usage() + self.spilled_memory.load(Relaxed)
    }

    /// Memory that what finds spilled entries may take: the database, which has fewer of them then, needs the less.
    pub(super) fn spilled_limit(&self) -> usize {
        self.cache_bytes - self.write_bytes / 2
    }

    /// Whether it takes more.
    pub(super) fn has_too_much_spilled(&self) -> bool {
        self.spilled_memory.load(Relaxed) > self.spilled_limit()
    }

    /// Leaves to blocks and memtables what spilled entries do not take.
    pub(super) fn share_cache(&self) {
        let spilled = self.spilled_memory.load(Relaxed).min(self.spilled_limit());
        self.cache.clone().set_capacity(self.cache_bytes - spilled);
    }

    fn database_options(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_max_background_jobs(2);
        options.set_max_open_files(512);
        // As many threads as this begin at each open, however few files there are.
        options.set_max_file_opening_threads(2);
        // Nothing is decided by what it would read of every file.
        options.set_skip_stats_update_on_db_open(true);
        options.set_keep_log_file_num(1);
        options.set_max_log_file_size(1 << 20);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }

    fn table_options(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_block_size(4 << 10);
        blocks.set_bloom_filter(10.0, false);
        blocks.set_format_version(5);
        // Index and filter blocks live in the cache, so that they are within the budget; in small parts, so that a cache
        // that cannot hold all of them holds the ones in use.
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_metadata_block_size(4 << 10);
        // A key is looked for in every file of level 0: their filters, which are small, are not looked up in the cache each time.
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_max_write_buffer_number(2);
        options.set_arena_block_size((self.write_buffer_bytes / 8).clamp(16 << 10, 1 << 20));
        options.set_target_file_size_base((self.write_buffer_bytes as u64 * 4).max(8 << 20));
        // See the module's text. Bloom filters keep reads cheap meanwhile.
        options.set_max_bytes_for_level_base(ONE_LEVEL_BYTES);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_level_zero_file_num_compaction_trigger(LEVEL_0_FILES);
        options.set_level_zero_slowdown_writes_trigger(LEVEL_0_FILES * 2);
        options.set_level_zero_stop_writes_trigger(LEVEL_0_FILES * 3);
        options
    }
}

/// The database of one worker.
pub(crate) struct RocksBackend {
    db: DB,
    names: Vec<String>,
    /// At which of [`TURNS`] checkpoints it merges.
    turn: u64,
    files: TableFiles,
    /// Of each table, the bytes that were spilled since the last checkpoint.
    spilled: Vec<AtomicU64>,
    /// So many of them are a file by themselves.
    file_bytes: u64,
    /// Of each table, the files of level 0 that are merged at once.
    limits: Vec<AtomicI32>,
}

/// The turn of the worker whose key groups start here.
pub(crate) fn turn_of(start: u16, key_groups: u16) -> u64 {
    u64::from(start) * TURNS / u64::from(key_groups.max(1))
}

pub(super) fn failed(context: &str) -> impl FnOnce(rocksdb::Error) -> Error {
    move |error| match error.kind() {
        rocksdb::ErrorKind::Corruption => Error::damaged(&format!("{context}: {error}")),
        _ => Error::io(context.to_owned(), error),
    }
}

impl RocksBackend {
    /// Opens (or makes) the database in `folder` with a column family for each name.
    pub(crate) fn open(shared: &RocksShared, folder: &Path, names: Vec<String>) -> Result<Self> {
        let families = names
            .iter()
            .map(String::as_str)
            .chain([rocksdb::DEFAULT_COLUMN_FAMILY_NAME])
            .map(|name| ColumnFamilyDescriptor::new(name, shared.table_options()));
        let db = DB::open_cf_descriptors(&shared.database_options(), folder, families)
            .map_err(failed("opening the state database"))?;
        Ok(Self::of(shared, folder, db, names))
    }

    fn of(shared: &RocksShared, folder: &Path, db: DB, names: Vec<String>) -> Self {
        Self {
            db,
            spilled: names.iter().map(|_| AtomicU64::new(0)).collect(),
            file_bytes: shared.write_buffer_bytes as u64,
            limits: names
                .iter()
                .map(|_| AtomicI32::new(LEVEL_0_FILES))
                .collect(),
            names,
            turn: 0,
            files: TableFiles::new(folder.with_extension("new"), shared.table_options()),
        }
    }

    /// Whether a table has no entry.
    pub(super) fn is_empty(&self, table: TableIndex) -> Result<bool> {
        let mut iterator = self.db.raw_iterator_cf(self.family(table));
        iterator.seek_to_first();
        iterator.status().map_err(failed("reading state"))?;
        Ok(!iterator.valid())
    }

    /// Files that are made for a table, and taken in.
    pub(super) fn files(&self, table: TableIndex) -> (&DB, &ColumnFamily, &TableFiles) {
        (&self.db, self.family(table), &self.files)
    }

    /// Whether merging lags so far behind that files should wait for it, as a memtable does.
    pub(super) fn lags_behind(&self, table: TableIndex) -> bool {
        self.files_on_level_0(table) >= LEVEL_0_FILES as u64 * 2
    }

    fn files_on_level_0(&self, table: TableIndex) -> u64 {
        self.db
            .property_value_cf(self.family(table), "rocksdb.num-files-at-level0")
            .ok()
            .flatten()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// A table's files of level 0 are merged when there are so many.
    fn merge_at(&self, table: TableIndex, files: i32) -> Result<()> {
        if self.limits[table].swap(files, Relaxed) == files {
            return Ok(());
        }
        let files = files.to_string();
        let option = ("level0_file_num_compaction_trigger", files.as_str());
        self.db
            .set_options_cf(self.family(table), &[option])
            .map_err(failed("arranging state files"))
    }

    /// Writes through the memtable.
    pub(super) fn put(&self, writes: &Writes) -> Result<()> {
        let handles: HashMap<TableIndex, &ColumnFamily> = (0..self.names.len())
            .map(|table| (table, self.family(table)))
            .collect();
        let mut batch = WriteBatch::with_capacity_bytes(writes.bytes.len() + writes.len() * 16);
        for number in writes.sorted() {
            match writes.get(number as usize) {
                Write::Put { table, key, row } => batch.put_cf(handles[&table], key, row),
                Write::Delete { table, key } => batch.delete_cf(handles[&table], key),
                Write::DeleteRange { table, from, to } => {
                    batch.delete_range_cf(handles[&table], from, to)
                }
            }
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db
            .write_opt(batch, &options)
            .map_err(failed("writing state"))
    }

    /// Takes note of what is written between checkpoints. From the first file that is made of it alone until the checkpoint
    /// after the next one that had none, fewer files are allowed.
    pub(super) fn note_spill(&self, table: TableIndex, bytes: u64) -> Result<()> {
        let spilled = bytes + self.spilled[table].fetch_add(bytes, Relaxed);
        let is_more = self.limits[table].load(Relaxed) > LEVEL_0_FILES_SPILLED;
        match spilled >= self.file_bytes && is_more {
            true => self.merge_at(table, LEVEL_0_FILES_SPILLED),
            false => Ok(()),
        }
    }

    /// The same with its turn among the workers: see [`turn_of`].
    pub(crate) fn with_turn(self, turn: u64) -> Self {
        Self { turn, ..self }
    }

    /// Opens a database that was linked from a snapshot: families other than those in `kept` are dropped, which costs
    /// nothing but their files, and made anew if they are among `names`.
    pub(crate) fn open_keeping(
        shared: &RocksShared,
        folder: &Path,
        names: Vec<String>,
        kept: &HashSet<&str>,
    ) -> Result<Self> {
        let options = shared.database_options();
        let there = DB::list_cf(&options, folder).map_err(failed("reading a state database"))?;
        let gone: Vec<&String> = there
            .iter()
            .filter(|name| {
                name.as_str() != rocksdb::DEFAULT_COLUMN_FAMILY_NAME
                    && !kept.contains(name.as_str())
            })
            .collect();
        if gone.is_empty() {
            return Self::open(shared, folder, names);
        }
        let families = there
            .iter()
            .map(|name| ColumnFamilyDescriptor::new(name, shared.table_options()));
        let mut db = DB::open_cf_descriptors(&options, folder, families)
            .map_err(failed("opening the state database"))?;
        for name in gone {
            db.drop_cf(name)
                .map_err(failed("leaving a state table behind"))?;
        }
        for name in names.iter().filter(|name| !kept.contains(name.as_str())) {
            db.create_cf(name, &shared.table_options())
                .map_err(failed("making a state table"))?;
        }
        Ok(Self::of(shared, folder, db, names))
    }

    /// Opens the database of another worker's snapshot for reading; `None` for a table that it does not have.
    pub(crate) fn open_for_reading(shared: &RocksShared, folder: &Path) -> Result<RocksReader> {
        let options = shared.database_options();
        let names = DB::list_cf(&options, folder).map_err(failed("reading a state database"))?;
        let families = names
            .iter()
            .map(|name| ColumnFamilyDescriptor::new(name, shared.table_options()));
        let db = DB::open_cf_descriptors_read_only(&options, folder, families, false)
            .map_err(failed("opening a state database for reading"))?;
        Ok(RocksReader { db })
    }

    fn family(&self, table: TableIndex) -> &ColumnFamily {
        let name = &self.names[table];
        self.db
            .cf_handle(name)
            .unwrap_or_else(|| panic!("column family {name} was made at open"))
    }
}

/// A database opened for reading, at a restore.
pub(crate) struct RocksReader {
    db: DB,
}

impl RocksReader {
    /// Visits a table's entries in a range of keys; a table that the database does not have is empty.
    pub(crate) fn scan(
        &self,
        family: &str,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        match self.db.cf_handle(family) {
            Some(handle) => scan(&self.db, handle, from, to, visit),
            None => Ok(()),
        }
    }
}

impl StateBackend for RocksBackend {
    fn get_many(
        &self,
        table: TableIndex,
        keys: &Keys,
        found: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let family = self.family(table);
        let mut start = 0;
        while start < keys.len() {
            let end = keys.len().min(start + KEYS_PER_LOOKUP);
            let rows =
                self.db
                    .batched_multi_get_cf(family, (start..end).map(|i| keys.get(i)), false);
            for (i, row) in rows.into_iter().enumerate() {
                if let Some(row) = row.map_err(failed("reading state"))? {
                    found(start + i, &row)?;
                }
            }
            start = end;
        }
        Ok(())
    }

    fn write(&self, writes: &Writes) -> Result<()> {
        if let Some(write) = writes.iter().next() {
            self.note_spill(write.place().0, writes.bytes.len() as u64)?;
        }
        self.put(writes)
    }

    fn write_frozen(&self, entries: &dyn FrozenEntries) -> Result<u64> {
        let table = entries.table();
        // Files are taken in however many there are: a memtable waits while merging them lags far behind.
        if self.files.is_worth_a_file(entries) && !self.lags_behind(table) {
            return self.files.add(&self.db, self.family(table), entries);
        }
        let writes = gathered(entries);
        self.put(&writes)?;
        Ok(writes.bytes.len() as u64)
    }

    fn scan(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        scan(&self.db, self.family(table), from, to, visit)
    }

    fn scan_back(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(table), options);
        iterator.seek_to_last();
        while let Some((key, row)) = iterator.item() {
            if visit(key, row)? == ControlFlow::Break(()) {
                return Ok(());
            }
            iterator.prev();
        }
        iterator.status().map_err(failed("reading state"))
    }

    fn link(&self, folder: &Path) -> Result<Vec<LinkedFile>> {
        let families: Vec<&ColumnFamily> = (0..self.names.len())
            .map(|table| self.family(table))
            .collect();
        let mut wait = FlushOptions::default();
        wait.set_wait(true);
        self.db
            .flush_cfs_opt(&families, &wait)
            .map_err(failed("flushing state"))?;
        let checkpoint = Checkpoint::new(&self.db).map_err(failed("linking state files"))?;
        checkpoint
            .create_checkpoint(folder)
            .map_err(failed("linking state files"))?;
        let context = || format!("listing {}", folder.display());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|error| Error::io(context(), error))? {
            let entry = entry.map_err(|error| Error::io(context(), error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let immutable_name = name.ends_with(".sst");
            files.push(LinkedFile {
                name,
                path: entry.path(),
                immutable_name,
            });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    fn tidy(&self, checkpoint: u64) -> Result<()> {
        let merges = checkpoint % TURNS == self.turn;
        for table in 0..self.names.len() {
            let spilled = self.spilled[table].swap(0, Relaxed);
            // The database's own thread does it, in its own time; whoever reads and writes goes on.
            let limit = match merges && self.files_on_level_0(table) >= WORTH_A_MERGE {
                true => WORTH_A_MERGE as i32,
                false if spilled >= self.file_bytes => LEVEL_0_FILES_SPILLED,
                false => LEVEL_0_FILES,
            };
            self.merge_at(table, limit)?;
        }
        Ok(())
    }

    fn size(&self, table: TableIndex) -> (u64, u64) {
        let family = self.family(table);
        // An estimate that the database cannot give is none; nothing is decided by it.
        let property = |name: &str| {
            let value = self.db.property_int_value_cf(family, name);
            value.ok().flatten().unwrap_or(0)
        };
        (
            property("rocksdb.estimate-num-keys"),
            property("rocksdb.estimate-live-data-size"),
        )
    }
}

fn scan(
    db: &DB,
    family: &ColumnFamily,
    from: &[u8],
    to: &[u8],
    visit: &mut Visitor<'_>,
) -> Result<()> {
    if from >= to {
        return Ok(());
    }
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(to);
    if to.len() <= key::GROUP_BYTES {
        // A table, or a part of one, from end to end: its blocks would drive out those in use.
        options.fill_cache(false);
    }
    let mut iterator = db.raw_iterator_cf_opt(family, options);
    iterator.seek(from);
    while let Some((key, row)) = iterator.item() {
        if visit(key, row)? == ControlFlow::Break(()) {
            return Ok(());
        }
        iterator.next();
    }
    iterator.status().map_err(failed("reading state"))
}
