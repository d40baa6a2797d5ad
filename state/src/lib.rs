//! Keyed state: typed columns in memory, RocksDB (or memory) at rest, snapshots that survive a crash.
//!
//! ```text
//!   operator ──▶ MapTable / SliceTable / MultiMapTable      one worker, one thread, handles into
//!                     │  columnar cache (slots, typed columns, dirty marks)
//!                     ▼
//!                WorkerState ── budget, gate, freeze ──▶ writer thread ──▶ StateBackend (rocksdb | memory)
//!                                                             │ hard links
//!                                                             ▼
//!                                                      CheckpointStore (object_store): files, manifest
//! ```
//!
//! # Invariants
//! 1. Between a freeze and its hard links only frozen entries reach the database.
//! 2. A slot that was touched in an epoch stays where it is until [`WorkerState::end_epoch`].
//! 3. A manifest names only files that are whole and on disk; whatever no manifest names does not exist.
//! 4. The encodings are a contract of ours (`docs/formats/`), pinned by golden tests.

// THE PUBLIC SURFACE BELOW IS THE AGREED INTERFACE between `weir-state` and `weir-engine` (signatures; bodies to be
// written, moved into modules of their own and re-exported from here).

mod api;
pub use api::*;
