//! Keyed state: typed columns in memory, RocksDB (or memory) at rest, snapshots that survive a crash.
//!
//! ```text
//!   operator ──▶ MapTable / SliceTable / MultiMapTable / SortedTable     one worker, one thread, handles into
//!                     │  columnar cache (slots, typed columns, dirty marks)
//!                     ▼
//!                WorkerState ── budget, gate, freeze ──▶ writer thread ──▶ StateBackend (rocksdb | memory)
//!                                                             │ hard links
//!                                                             ▼
//!                                                      CheckpointStore: files, manifest
//! ```
//!
//! # Invariants
//! 1. Between a freeze and its hard links only frozen entries reach the database.
//! 2. A slot that was touched in an epoch stays where it is until [`WorkerState::end_epoch`].
//! 3. A manifest names only files that are whole and on disk; whatever no manifest names does not exist.
//! 4. The encodings are a contract of ours (`docs/formats/`), pinned by golden tests.

mod backend;
mod encoding;
mod error;
mod keyed;
mod parquet;
mod savepoint;
mod shared;
mod snapshot;
mod spec;
mod worker;

#[cfg(test)]
mod tests;

pub use encoding::{decode_rows, decode_values, encode_rows, encode_value};
pub use error::{Error, Result};
pub use keyed::{
    ByteRows, Columns, EachRange, Entries, HeldMemory, MapTable, Matches, MultiMapTable, Piece,
    ProbeCursor, RangeCursor, RestCursor, Scratch, SliceTable, SortBound, SortedRange, SortedTable,
};
pub use savepoint::{
    ColumnRole, Difference, EventTimeRange, SAVEPOINT_FORMAT_VERSION, SavedColumn, SavedFile,
    SavedTable, SavedTotals, Savepoint, SavepointAbout, SavepointManifest, StateReader,
    StateTableInfo, import_savepoint, saved_columns, write_savepoint,
};
pub use shared::{SharedState, StateStatistics};
pub use snapshot::{
    CheckpointStore, Compression, FileEntry, FileForm, MANIFEST_FORMAT_VERSION, Manifest,
    PendingSnapshot, RestoreFrom, Restoring, Rows, RowsChange, SnapshotOptions, StorageHook,
    StorageOptions, StorageSettings, StorageStep, TableChange, TableFigures, TableFrom,
    WorkerSnapshot, is_remote,
};
pub use spec::{BackendKind, Layout, TableSpec};
pub use worker::{WorkerOptions, WorkerState};
