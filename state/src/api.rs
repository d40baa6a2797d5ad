//! INTERFACE SKETCH: signatures agreed between state and engine. The implementer moves each part to its module.
#![allow(missing_docs, unused_variables, clippy::todo, clippy::unimplemented)]
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use serde::{Deserialize, Serialize};
use weir_types::{CheckpointId, Generation, KeyGroupRange, OperatorId, Schema, WorkerId};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The world failed; a retry may help.
    #[error("{context}: {source}")]
    Io { context: String, #[source] source: Box<dyn std::error::Error + Send + Sync> },
    /// Something stored is not what was written: what, where, what to do.
    #[error("{0}")]
    Corrupt(String),
    /// Stored by a version or with a schema that does not fit.
    #[error("{0}")]
    Incompatible(String),
}
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendKind { Rocksdb, Memory }

/// What all workers of a process share: block cache, write-buffer manager, memory budget, counters.
pub struct SharedState { /* … */ }
impl SharedState {
    /// `memory_bytes`: 'state.memory', for caches of tables, block cache and write buffers together.
    pub fn new(backend: BackendKind, memory_bytes: usize) -> Result<Arc<Self>> { todo!() }
    /// Counters since the start.
    pub fn statistics(&self) -> StateStatistics { todo!() }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateStatistics {
    pub entries_spilled: u64,
    pub entries_reloaded: u64,
    pub memory_bytes: u64,
    pub memory_bytes_peak: u64,
    pub memory_bytes_budget: u64,
    pub gate_wait_ms: u64,
}

/// Layout of a table: the same three as in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout { Map, Slices, MultiMap }

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableSpec {
    pub operator: OperatorId,
    pub table: String,
    pub layout: Layout,
    pub key: Schema,
    pub value: Schema,
}

/// Where a worker's database lives and how it is written.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    pub worker: WorkerId,
    pub range: KeyGroupRange,
    pub key_groups: u16,
    pub generation: Generation,
    /// A scratch folder of this worker and generation; made empty at open. Not part of any checkpoint.
    pub scratch: PathBuf,
    /// Write snapshots on the calling thread (simulation) instead of the worker's writer thread.
    pub inline_writes: bool,
}

/// All state of one worker. Not `Send`: lives on the worker's thread.
pub struct WorkerState { /* … */ }
impl WorkerState {
    /// Opens the worker's state, restored from `restore` (any number of old workers, any ranges, either backend;
    /// files are linked or copied when the range is the same, re-distributed by key group otherwise).
    pub fn open(
        shared: Arc<SharedState>, options: WorkerOptions, tables: Vec<TableSpec>,
        restore: Option<&RestoreFrom>,
    ) -> Result<Self> { todo!() }
    pub fn map_table(&self, operator: &OperatorId, table: &str) -> MapTable { todo!() }
    pub fn slice_table(&self, operator: &OperatorId, table: &str) -> SliceTable { todo!() }
    pub fn multi_map_table(&self, operator: &OperatorId, table: &str) -> MultiMapTable { todo!() }
    /// Called between batches: evicts, spills, within the budget. May wait at the gate (counted).
    pub fn maintain(&self) -> Result<()> { todo!() }
    /// Called after the flush of every epoch: touched slots may move again.
    pub fn end_epoch(&self) -> Result<()> { todo!() }
    /// The synchronous part of a checkpoint. Waits for the links of an earlier freeze.
    pub fn freeze(&self, checkpoint: CheckpointId, store: &Arc<CheckpointStore>) -> Result<PendingSnapshot> { todo!() }
}

/// A snapshot being written and uploaded in the background.
pub struct PendingSnapshot { /* … */ }
impl PendingSnapshot {
    /// `None` while it is still being written.
    pub fn try_result(&mut self) -> Option<Result<WorkerSnapshot>> { todo!() }
    /// Waits (async) for the end.
    pub async fn result(self) -> Result<WorkerSnapshot> { todo!() }
}

/// What one worker's part of a checkpoint consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerSnapshot {
    pub worker: WorkerId,
    pub range: KeyGroupRange,
    pub files: Vec<FileEntry>,
    pub frozen_micros: u64,
    pub write_micros: u64,
    pub bytes_new: u64,
    pub entries: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path within the checkpoint store.
    pub path: String,
    /// Name that the database wants.
    pub name: String,
    pub size: u64,
    /// XXH3-64, hex.
    pub checksum: String,
}

/// The state part of a manifest, and where its files are.
pub struct RestoreFrom {
    pub store: Arc<CheckpointStore>,
    pub backend: BackendKind,
    pub key_groups: u16,
    pub tables: Vec<TableSpec>,
    pub workers: Vec<WorkerSnapshot>,
}

// ---------------------------------------------------------------- tables

/// key → one value of typed columns. A handle: clones speak of the same table.
#[derive(Clone)]
pub struct MapTable { /* Rc<RefCell<…>> */ }
impl MapTable {
    /// The slot of every row's key; a missing key gets a fresh slot whose columns are all NULL and for which
    /// `is_new(slot)` is true until the end of the epoch. `hashes` are `weir_types::hash::hash_columns(keys)`.
    pub fn slots(&self, keys: &[ArrayRef], hashes: &[u64], slots: &mut Vec<u32>) -> Result<()> { todo!() }
    /// Like `slots`, `u32::MAX` for a missing key.
    pub fn find(&self, keys: &[ArrayRef], hashes: &[u64], slots: &mut Vec<u32>) -> Result<()> { todo!() }
    pub fn is_new(&self, slot: u32) -> bool { todo!() }
    /// Runs `f` with typed access to the value columns.
    pub fn with_columns<R>(&self, f: impl FnOnce(&mut Columns<'_>) -> R) -> R { todo!() }
    /// Marks entries as changed.
    pub fn mark_dirty(&self, slots: &[u32]) { todo!() }
    /// Removes entries (tombstones until written).
    pub fn remove(&self, slots: &[u32]) { todo!() }
    /// The key columns of these slots.
    pub fn keys(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> { todo!() }
    /// The value columns of these slots.
    pub fn values(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> { todo!() }
    /// Every live entry, in batches (key columns then value columns), cache and database merged; for snapshot sinks.
    pub fn scan(&self, f: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> { todo!() }
}

/// Typed value columns of a table, by slot. `column` is the index in `TableSpec::value`.
/// BOOLEAN, integers, DATE, TIME, TIMESTAMP are i64; REAL and DOUBLE f64; DECIMAL up to 38 digits i128 (unscaled);
/// STRING and BYTES bytes; every other type is bytes in the value encoding.
pub struct Columns<'a> { _p: std::marker::PhantomData<&'a mut ()> }
impl Columns<'_> {
    pub fn is_null(&self, column: usize, slot: u32) -> bool { todo!() }
    pub fn set_null(&mut self, column: usize, slot: u32) { todo!() }
    /// Inlined; unspecified (0) when NULL.
    pub fn i64(&self, column: usize, slot: u32) -> i64 { todo!() }
    pub fn set_i64(&mut self, column: usize, slot: u32, value: i64) { todo!() }
    pub fn f64(&self, column: usize, slot: u32) -> f64 { todo!() }
    pub fn set_f64(&mut self, column: usize, slot: u32, value: f64) { todo!() }
    pub fn i128(&self, column: usize, slot: u32) -> i128 { todo!() }
    pub fn set_i128(&mut self, column: usize, slot: u32, value: i128) { todo!() }
    pub fn bytes(&self, column: usize, slot: u32) -> &[u8] { todo!() }
    pub fn set_bytes(&mut self, column: usize, slot: u32, value: &[u8]) { todo!() }
}

/// (slice end, key) → value. What opens and closes between two checkpoints never reaches the database.
#[derive(Clone)]
pub struct SliceTable { /* … */ }
impl SliceTable {
    /// The table of one slice (made if missing): a `MapTable` for the keys of that slice. `end` in microseconds.
    pub fn slice(&self, end: i64) -> Result<MapTable> { todo!() }
    /// Ends of all slices that hold something (restored ones too), ascending.
    pub fn ends(&self) -> Vec<i64> { todo!() }
    /// Drops a slice whole (one range delete per key group, none if it never reached the database).
    pub fn drop_slice(&self, end: i64) -> Result<()> { todo!() }
}

/// key → multiset of rows (the value columns), each with a multiplicity.
#[derive(Clone)]
pub struct MultiMapTable { /* … */ }
/// Rows that a probe found.
pub struct Matches {
    /// For each match, the row of the probing batch.
    pub probe_rows: UInt32Array,
    /// For each match, the stored row (value columns).
    pub rows: RecordBatch,
    /// For each match, its multiplicity (> 0).
    pub counts: Vec<i64>,
}
/// Where a probe that hit its limit goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeCursor { pub row: usize, pub matched: usize }
impl MultiMapTable {
    /// Adds `weights[i]` (±) to the multiplicity of row i under key i. A multiplicity of zero removes the row; below
    /// zero is an error of ours (`Error::Corrupt`).
    pub fn apply(&self, keys: &[ArrayRef], hashes: &[u64], rows: &RecordBatch, weights: &[i64]) -> Result<()> { todo!() }
    /// Matches of the probing rows from `cursor` on, about `limit` at most; the cursor to go on with, if any is left.
    /// Rows with a NULL key are the caller's to leave out (`skip[i]`).
    pub fn probe(
        &self, keys: &[ArrayRef], hashes: &[u64], skip: Option<&arrow::buffer::BooleanBuffer>,
        cursor: ProbeCursor, limit: usize,
    ) -> Result<(Matches, Option<ProbeCursor>)> { todo!() }
    /// Every stored row of every key: (value columns, multiplicities), in batches.
    pub fn scan(&self, f: &mut dyn FnMut(RecordBatch, Vec<i64>) -> Result<()>) -> Result<()> { todo!() }
}

// ---------------------------------------------------------------- checkpoints at rest

/// The folder (object store) of a job's checkpoints.
///
/// ```text
///   manifests/00000012.json        create-if-absent: the moment a checkpoint exists
///   data/g3/w0/000017-<xxh3>.sst   immutable, shared between checkpoints of the chain
/// ```
pub struct CheckpointStore { /* … */ }
impl CheckpointStore {
    /// A local folder (made if missing).
    pub fn local(folder: PathBuf) -> Result<Arc<Self>> { todo!() }
    /// Numbers of all manifests, ascending.
    pub async fn list(&self) -> Result<Vec<CheckpointId>> { todo!() }
    pub async fn load(&self, checkpoint: CheckpointId) -> Result<Manifest> { todo!() }
    /// Reads every file of the manifest and compares size and checksum.
    pub async fn verify(&self, manifest: &Manifest) -> Result<()> { todo!() }
    /// The newest checkpoint all of whose files verify, and a warning for each newer one that does not.
    pub async fn newest_whole(&self) -> Result<(Option<Manifest>, Vec<String>)> { todo!() }
    /// Syncs what the manifest names, then creates it. Refuses an existing number.
    pub async fn publish(&self, manifest: &Manifest) -> Result<()> { todo!() }
    /// Forgets checkpoints older than the newest `retain`, and deletes files that no manifest names and that are older
    /// than `oldest_in_flight`.
    pub async fn retain(&self, retain: usize, oldest_in_flight: Option<CheckpointId>) -> Result<()> { todo!() }
    /// Removes one manifest (a withdrawn checkpoint).
    pub async fn remove(&self, checkpoint: CheckpointId) -> Result<()> { todo!() }
    /// Copies a checkpoint with all its files to `target`, self-contained (a savepoint in the checkpoint's form).
    pub async fn export(&self, manifest: &Manifest, target: &Arc<CheckpointStore>) -> Result<()> { todo!() }
}

pub const MANIFEST_FORMAT_VERSION: u32 = 1;

/// A checkpoint, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format_version: u32,
    pub job: String,
    pub generation: Generation,
    pub checkpoint: CheckpointId,
    /// Processing time of the barrier, microseconds since the epoch; never goes back within a job.
    pub processing_time: i64,
    /// SQL text before variables are filled in.
    pub sql: String,
    /// The serialized plan.
    pub plan: serde_json::Value,
    pub parallelism: u32,
    pub key_groups: u16,
    pub backend: BackendKind,
    pub tables: Vec<TableSpec>,
    pub workers: Vec<WorkerSnapshot>,
    /// Source positions, by operator ID (the engine's form).
    pub sources: serde_json::Value,
    /// Per operator and input: watermarks (the engine's form).
    pub watermarks: serde_json::Value,
    /// Prepared sink transactions by operator ID (the connectors' form).
    pub sinks: serde_json::Value,
    /// Set on the last checkpoint of a bounded job that reached its end.
    pub drained: bool,
    /// Totals to go on with after a restore: rows in, late rows, ….
    pub counters: serde_json::Value,
}
