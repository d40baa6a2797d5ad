//! From a freeze to a checkpoint that others can restore.
//!
//! ```text
//!   WorkerState::freeze ──▶ Frozen (Arcs of dirty chunks) ──▶ writer thread
//!        gate closed                                            write · flush · link
//!        gate open  ◀───────────────────────────────────────────┘
//!                                                               upload new files ──▶ CheckpointStore
//!   coordinator ── all WorkerSnapshots ──▶ publish(Manifest)     create-if-absent: now it exists
//! ```

mod freeze;
mod gate;
mod manifest;
mod place;
mod restore;
mod store;
mod writer;

pub(crate) use freeze::FreezeTrack;
pub(crate) use gate::Gate;
pub use manifest::{
    FileEntry, FileForm, MANIFEST_FORMAT_VERSION, Manifest, RestoreFrom, WorkerSnapshot,
};
pub(crate) use place::checksum;
pub(crate) use restore::{fetch, restore};
pub use store::CheckpointStore;
pub use writer::PendingSnapshot;
pub(crate) use writer::{SnapshotJob, Uploader, Writer};
