//! Savepoints: a job's state as a folder of Parquet files that belongs to the user (`docs/formats/savepoint.md`).
//!
//! ```text
//!   checkpoint (files of either backend) ──Stored──▶ entries ──Entries──▶ columns ──▶ tables/…/0000.parquet … manifest.json
//!   worker of any parallelism, either backend ◀── entries of its key groups ◀── columns ◀── row groups that hold some
//! ```
//!
//! A savepoint is always made from a checkpoint: of a running job from one that is taken for it and that is part of the
//! job's chain like any other, so that sinks have committed when the savepoint begins, and nothing of it is theirs.
//!
//! # Invariants
//! 1. `manifest.json` is written last, in one step: a folder without it is no savepoint.
//! 2. What is restored has the same bytes in the database as what was saved.
//! 3. Memory is bounded by a row group, not by a table.
//! 4. In a store of the network (`remote.rs`) a savepoint has the same names and bytes as in a folder.

mod columns;
mod diff;
mod entries;
mod import;
mod manifest;
mod reader;
mod remote;
mod stored;
mod write;

#[cfg(test)]
mod tests;

pub use columns::{ColumnRole, SavedColumn, saved_columns};
pub use diff::Difference;
pub(crate) use entries::{Batch, Entries};
pub(crate) use import::SavedPart;
pub use import::import_savepoint;
pub use manifest::{
    EventTimeRange, SAVEPOINT_FORMAT_VERSION, SavedFile, SavedTable, SavedTotals, Savepoint,
    SavepointManifest,
};
pub use reader::{StateReader, StateTableInfo};
pub use write::{SavepointAbout, write_savepoint};
