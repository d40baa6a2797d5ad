//! All state of one worker: its database, its tables, its writer.
//!
//! ```text
//!   open ─▶ tables ─▶ [ batches … maintain … end_epoch ]* ─▶ freeze ─▶ …
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::oneshot;
use weir_types::{CheckpointId, Generation, KeyGroupRange, OperatorId, WorkerId};

use crate::backend::{
    LateBackend, MemoryBackend, RocksBackend, RocksShared, SpillingBackend, StateBackend,
};
use crate::error::pass;
use crate::keyed::{
    Cache, CacheRef, HeldMemory, Keep, MapTable, MultiMapTable, Registry, SliceTable, Slices,
    SortedTable, TableContext, stored_slices,
};
use crate::snapshot::{
    CheckpointStore, FileEntry, Gate, Linker, PendingSnapshot, RestoreFrom, Restoring, Room,
    SnapshotJob, SnapshotOptions, TableFigures, Uploader, Writer, restore, run_inline,
};
use crate::{BackendKind, Error, Layout, Result, SharedState, TableSpec};

/// How much of a freeze is written at once where nothing is gained by more.
const BATCH_BYTES: usize = 1 << 20;

/// Where a worker's database lives and how it is written.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The worker.
    pub worker: WorkerId,
    /// Its key groups.
    pub range: KeyGroupRange,
    /// Key groups of the job.
    pub key_groups: u16,
    /// This start of the job.
    pub generation: Generation,
    /// A scratch folder of this worker and generation; made empty at open. Not part of any checkpoint.
    pub scratch: PathBuf,
    /// Write snapshots on the calling thread (simulation, synchronous checkpoints) instead of the worker's own threads.
    pub inline_writes: bool,
    /// How snapshots are taken.
    pub snapshots: SnapshotOptions,
}

/// All state of one worker. Not `Send`: lives on the worker's thread.
pub struct WorkerState {
    shared: Arc<SharedState>,
    registry: Rc<Registry>,
    gate: Arc<Gate>,
    tables: HashMap<(OperatorId, String), Table>,
    /// Operator and name of each table, by index.
    names: Vec<(OperatorId, String)>,
    output: Output,
    /// Snapshots under way, and how many may be.
    under_way: Arc<AtomicUsize>,
    under_way_max: usize,
}

enum Table {
    Single(CacheRef),
    Slices(Rc<RefCell<Slices>>),
}

/// Who writes snapshots.
enum Output {
    Thread(Writer),
    Inline(RefCell<(Linker, Uploader)>),
}

impl WorkerState {
    /// Opens the worker's state, restored from `restore` (any number of old workers, any ranges, either backend;
    /// files are linked or copied when the range is the same, re-distributed by key group otherwise).
    ///
    /// # Errors
    /// `Incompatible` if the tables are not those of the checkpoint; `Corrupt` if its files are damaged.
    pub fn open(
        shared: Arc<SharedState>,
        options: WorkerOptions,
        tables: Vec<TableSpec>,
        restore_from: Option<&RestoreFrom>,
    ) -> Result<Self> {
        let restoring = restore_from.map(|from| Restoring::unchanged(from, &tables));
        Self::open_from(shared, options, tables, restoring.transpose()?.as_ref())
    }

    /// Opens the worker's state where an edited query takes over what `from` says of each of its tables.
    ///
    /// # Errors
    /// As [`Self::open`]; and when a change of a table cannot take its rows.
    pub fn open_from(
        shared: Arc<SharedState>,
        options: WorkerOptions,
        tables: Vec<TableSpec>,
        from: Option<&Restoring>,
    ) -> Result<Self> {
        empty_folder(&options.scratch)?;
        let (backend, known) = open_backend(&shared, &options, &tables, from)?;
        shared.budget.workers.fetch_add(1, Relaxed);
        let gate = Arc::new(Gate::default());
        let registry = Rc::new(Registry::new(backend.clone(), gate.clone()));
        let mut state = Self {
            output: start_output(&shared, &options, &backend, &gate, known)?,
            shared,
            registry,
            gate,
            tables: HashMap::new(),
            names: Vec::new(),
            under_way: Arc::default(),
            // One that was given up may still be uploading while the next ones begin.
            under_way_max: 2 + options.snapshots.concurrent_more,
        };
        for (index, spec) in tables.into_iter().enumerate() {
            let name = (spec.operator.clone(), spec.table.clone());
            state.names.push(name.clone());
            let table = state.open_table(index, spec, &options, &backend)?;
            assert!(
                state.tables.insert(name, table).is_none(),
                "an operator's tables have distinct names"
            );
        }
        Ok(state)
    }

    fn open_table(
        &self,
        index: usize,
        spec: TableSpec,
        options: &WorkerOptions,
        backend: &Arc<dyn StateBackend>,
    ) -> Result<Table> {
        let context = Rc::new(TableContext {
            index,
            chunks: Arc::new(TableContext::chunk_layout(&spec)),
            spec,
            range: options.range,
            key_groups: options.key_groups,
            backend: backend.clone(),
            gate: self.gate.clone(),
            budget: self.shared.budget.clone(),
            registry: self.registry.clone(),
        });
        if context.spec.layout == Layout::Slices {
            let stored = stored_slices(&context)?;
            return Ok(Table::Slices(Rc::new(RefCell::new(Slices::new(
                context, stored,
            )))));
        }
        let complete = context.is_empty_at_rest()?;
        let cache = Rc::new(RefCell::new(Cache::new(context, None, complete)));
        self.registry.add(&cache);
        Ok(Table::Single(cache))
    }

    fn table(&self, operator: &OperatorId, table: &str) -> &Table {
        self.tables
            .get(&(operator.clone(), table.to_owned()))
            .unwrap_or_else(|| {
                panic!("operator {operator} asks for its table '{table}', which was not declared")
            })
    }

    fn single(&self, operator: &OperatorId, table: &str, layout: Layout) -> CacheRef {
        match self.table(operator, table) {
            Table::Single(cache) if cache.borrow().table.spec.layout == layout => cache.clone(),
            _ => panic!(
                "table '{table}' of operator {operator} was declared with another layout than {layout:?}"
            ),
        }
    }

    /// A handle of a table of layout `Map`.
    ///
    /// # Panics
    /// When the table was not declared so; likewise its siblings.
    pub fn map_table(&self, operator: &OperatorId, table: &str) -> MapTable {
        MapTable::new(self.single(operator, table, Layout::Map))
    }

    /// A handle of a table of layout `Slices`.
    pub fn slice_table(&self, operator: &OperatorId, table: &str) -> SliceTable {
        match self.table(operator, table) {
            Table::Slices(slices) => SliceTable::new(slices.clone()),
            Table::Single(_) => {
                panic!("table '{table}' of operator {operator} was not declared with slices")
            }
        }
    }

    /// A handle of a table of layout `MultiMap`.
    pub fn multi_map_table(&self, operator: &OperatorId, table: &str) -> MultiMapTable {
        MultiMapTable::new(self.single(operator, table, Layout::MultiMap))
    }

    /// A handle of a table of layout `Sorted`.
    pub fn sorted_table(&self, operator: &OperatorId, table: &str) -> SortedTable {
        SortedTable::new(self.single(operator, table, Layout::Sorted))
    }

    /// For rows that an operator holds beside its tables: none yet.
    pub fn held_memory(&self) -> HeldMemory {
        HeldMemory::new(&self.shared.budget)
    }

    /// Called between batches: evicts, spills, within the budget. May wait at the gate (counted).
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn maintain(&self) -> Result<()> {
        self.shared.sample();
        let budget = &self.shared.budget;
        let caches = self.registry.caches();
        caches
            .iter()
            .for_each(|cache| cache.borrow_mut().acknowledge());
        self.registry.write_deferred()?;
        if budget.dirty_excess() > 0 && !self.gate.is_closed() {
            self.clean(&caches)?;
        }
        let excess = budget.excess();
        if excess > 0 {
            self.shed(&caches, excess)?;
        }
        let pinned: usize = caches
            .iter()
            .map(|cache| cache.borrow().pinned_bytes())
            .sum();
        if pinned > budget.fair_share() / 2 {
            budget.epoch_should_end.store(true, Relaxed);
        }
        Ok(())
    }

    /// Writes dirty entries until this worker's share of them is at most half of its memory.
    fn clean(&self, caches: &[CacheRef]) -> Result<()> {
        let share = self.shared.budget.fair_share() / 2;
        let mut dirty: Vec<(usize, &CacheRef)> = caches
            .iter()
            .map(|cache| (cache.borrow().dirty_bytes(), cache))
            .collect();
        dirty.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut excess = dirty
            .iter()
            .map(|(bytes, _)| bytes)
            .sum::<usize>()
            .saturating_sub(share);
        for (bytes, cache) in dirty {
            if excess == 0 {
                break;
            }
            let mut cache = cache.borrow_mut();
            let part = excess.min(bytes);
            let slots = part / cache.slot_bytes() + 1;
            cache.spill(slots, Keep::Entries)?;
            excess -= part;
        }
        Ok(())
    }

    /// Gives memory back, the largest tables first, but keeps this worker's fair share.
    fn shed(&self, caches: &[CacheRef], excess: usize) -> Result<()> {
        let mut sizes: Vec<(usize, &CacheRef)> = caches
            .iter()
            .map(|cache| (cache.borrow().bytes(), cache))
            .collect();
        sizes.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let own: usize = sizes.iter().map(|(bytes, _)| bytes).sum();
        let mut to_give = excess.min(own.saturating_sub(self.shared.budget.fair_share()));
        for (bytes, cache) in sizes {
            if to_give == 0 {
                break;
            }
            let given = cache.borrow_mut().shed(to_give.min(bytes))?;
            to_give = to_give.saturating_sub(given);
        }
        Ok(())
    }

    /// Called after the flush of every epoch: touched slots may move again.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn end_epoch(&self) -> Result<()> {
        for cache in self.registry.caches() {
            let mut cache = cache.borrow_mut();
            cache.acknowledge();
            cache.end_epoch();
            cache.learn()?;
        }
        for table in self.tables.values() {
            if let Table::Slices(slices) = table {
                slices.borrow_mut().forget_empty();
            }
        }
        self.shared.budget.epoch_should_end.store(false, Relaxed);
        self.maintain()
    }

    /// Brings everything that was changed to the database, so that tables can be read whole
    /// ([`RestCursor`](crate::RestCursor)). Called between two epochs.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn write_back(&self) -> Result<()> {
        self.gate.wait_open(&self.shared.budget);
        self.registry.write_deferred()?;
        for cache in self.registry.caches() {
            let mut cache = cache.borrow_mut();
            cache.acknowledge();
            cache.spill(usize::MAX, Keep::Entries)?;
        }
        Ok(())
    }

    /// The synchronous part of a checkpoint. Waits for the links of an earlier freeze.
    ///
    /// # Errors
    /// When the writer has stopped. An error of the snapshot itself comes out of the `PendingSnapshot`.
    pub fn freeze(
        &self,
        checkpoint: CheckpointId,
        store: &Arc<CheckpointStore>,
    ) -> Result<PendingSnapshot> {
        let room = Room::take(&self.under_way, self.under_way_max).ok_or_else(|| {
            Error::io(
                format!("checkpoint {checkpoint}"),
                "earlier checkpoints are still being uploaded: the storage is too slow for 'checkpoint.interval'",
            )
        })?;
        self.gate.wait_open(&self.shared.budget);
        // The monotonic clock measures the freeze for the statistics; nothing is decided by it.
        let start = Instant::now();
        self.registry.write_deferred()?;
        let caches = self.registry.caches();
        caches
            .iter()
            .for_each(|cache| cache.borrow_mut().acknowledge());
        self.gate.close();
        let mut figures = self.figures();
        let mut frozen = Vec::new();
        for cache in &caches {
            let before = start.elapsed();
            let mut cache = cache.borrow_mut();
            frozen.extend(cache.freeze());
            let took = start.elapsed().saturating_sub(before);
            figures[cache.table.index].frozen_micros += took.as_micros() as u64;
        }
        let frozen_micros = start.elapsed().as_micros() as u64;
        let (reply, receiver) = oneshot::channel();
        let job = SnapshotJob {
            checkpoint,
            store: store.clone(),
            frozen,
            frozen_micros,
            figures,
            reply,
            room,
        };
        pass("state.freeze.after").inspect_err(|_| self.gate.open())?;
        match &self.output {
            Output::Inline(steps) => {
                let (linker, uploader) = &mut *steps.borrow_mut();
                run_inline(linker, uploader, job);
            }
            Output::Thread(writer) => writer.send(job).inspect_err(|_| self.gate.open())?,
        }
        Ok(PendingSnapshot::new(receiver))
    }

    /// Operator and name of each table, by its index.
    pub fn table_names(&self) -> &[(OperatorId, String)] {
        &self.names
    }

    /// Of each table, by its index, the entries in memory and the bytes that they take, about. Cheap: nothing is read.
    pub fn in_memory(&self) -> Vec<(u64, u64)> {
        let mut sizes = vec![(0, 0); self.names.len()];
        for cache in self.registry.caches() {
            let cache = cache.borrow();
            let (entries, bytes) = &mut sizes[cache.table.index];
            *entries += cache.live as u64;
            *bytes += if cache.live == 0 {
                0
            } else {
                cache.bytes() as u64
            };
        }
        sizes
    }

    /// Figures of each table, with nothing in them yet.
    fn figures(&self) -> Vec<TableFigures> {
        let named = self.names.iter().map(|(operator, table)| TableFigures {
            operator: operator.to_string(),
            table: table.clone(),
            ..TableFigures::default()
        });
        named.collect()
    }

    /// Checks the promises of [`crate::keyed`] for every cache; for tests.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        self.registry
            .caches()
            .iter()
            .for_each(|cache| cache.borrow().check());
    }
}

impl Drop for WorkerState {
    fn drop(&mut self) {
        self.shared.budget.workers.fetch_sub(1, Relaxed);
    }
}

/// A folder with nothing in it.
fn empty_folder(folder: &std::path::Path) -> Result<()> {
    let context = || format!("emptying the folder {}", folder.display());
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io(context(), error));
        }
        _ => {}
    }
    std::fs::create_dir_all(folder).map_err(|error| Error::io(context(), error))
}

type Opened = (Arc<dyn StateBackend>, HashMap<String, FileEntry>);

fn open_backend(
    shared: &SharedState,
    options: &WorkerOptions,
    tables: &[TableSpec],
    restore_from: Option<&Restoring>,
) -> Result<Opened> {
    match restore_from {
        Some(from) => restore(shared, options, tables, from),
        None => Ok((new_backend(shared, options, tables)?, HashMap::new())),
    }
}

/// An empty backend (for RocksDB: whatever is in its folder, which is nothing unless a restore linked files there).
pub(crate) fn new_backend(
    shared: &SharedState,
    options: &WorkerOptions,
    tables: &[TableSpec],
) -> Result<Arc<dyn StateBackend>> {
    let names = tables.iter().map(TableSpec::family).collect();
    Ok(match (shared.kind, &shared.rocks) {
        (BackendKind::Rocksdb, Some(rocks)) => {
            let (rocks, folder) = (rocks.clone(), options.scratch.join("db"));
            let (options, spills) = (options.clone(), spills(tables));
            Arc::new(LateBackend::new(move || {
                let database = RocksBackend::open(&rocks, &folder, names)?;
                Ok(Box::new(spilling(database, &rocks, &options, &spills)?))
            }))
        }
        _ => Arc::new(MemoryBackend::new(names)),
    })
}

/// Which tables are read by single keys alone.
pub(crate) fn spills(tables: &[TableSpec]) -> Vec<bool> {
    let spills = |table: &TableSpec| table.layout == Layout::Map;
    tables.iter().map(spills).collect()
}

/// A worker's database with what was spilled before it.
pub(crate) fn spilling(
    database: RocksBackend,
    rocks: &RocksShared,
    options: &WorkerOptions,
    spills: &[bool],
) -> Result<SpillingBackend> {
    // When it merges its files.
    let turn = crate::backend::turn_of(options.range.start, options.key_groups);
    let groups = options.range.end - options.range.start;
    let workers = usize::from(options.key_groups) / usize::from(groups).max(1);
    let folder = options.scratch.join("spilled");
    SpillingBackend::new(database.with_turn(turn), rocks, &folder, spills, workers)
}

fn start_output(
    shared: &SharedState,
    options: &WorkerOptions,
    backend: &Arc<dyn StateBackend>,
    gate: &Arc<Gate>,
    known: HashMap<String, FileEntry>,
) -> Result<Output> {
    let stop = Arc::new(AtomicBool::new(false));
    let linker = Linker {
        worker: options.worker,
        range: options.range,
        scratch: options.scratch.clone(),
        backend: backend.clone(),
        gate: gate.clone(),
        stop: stop.clone(),
        batch_bytes: match &shared.rocks {
            Some(rocks) => rocks.batch_bytes(),
            None => BATCH_BYTES,
        },
    };
    let uploader = Uploader {
        prefix: format!("data/g{}/w{}", options.generation, options.worker),
        options: options.snapshots,
        known,
        stop,
    };
    Ok(if options.inline_writes {
        Output::Inline(RefCell::new((linker, uploader)))
    } else {
        Output::Thread(Writer::start(linker, uploader)?)
    })
}

impl TableContext {
    /// Whether the database has nothing of this table.
    pub(crate) fn is_empty_at_rest(&self) -> Result<bool> {
        let mut empty = true;
        let from = self.range.start.to_be_bytes();
        let to = self.range.end.to_be_bytes();
        self.backend.scan(self.index, &from, &to, &mut |_, _| {
            empty = false;
            Ok(std::ops::ControlFlow::Break(()))
        })?;
        Ok(empty)
    }
}
