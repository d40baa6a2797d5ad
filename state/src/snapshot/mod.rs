//! From a freeze to a checkpoint that others can restore.
//!
//! ```text
//!   WorkerState::freeze ──▶ Frozen (Arcs of dirty chunks) ──▶ writer thread
//!        gate closed                                            write · flush · link
//!        gate open  ◀───────────────────────────────────────────┘
//!                                                             uploading thread
//!                                                               upload new files ──▶ CheckpointStore
//!   coordinator ── all WorkerSnapshots ──▶ publish(Manifest)     create-if-absent: now it exists
//! ```

mod compress;
mod freeze;
mod gate;
mod local;
mod location;
mod manifest;
mod object;
mod place;
mod remote;
mod restore;
mod restoring;
mod store;
mod upload;
mod writer;

pub use compress::Compression;
pub(crate) use freeze::FreezeTrack;
pub(crate) use gate::Gate;
pub(crate) use local::checksum;
pub use location::StorageOptions;
pub(crate) use location::{Location, parse as parse_location};
pub use manifest::{
    FileEntry, FileForm, MANIFEST_FORMAT_VERSION, Manifest, RestoreFrom, TableFigures,
    WorkerSnapshot,
};
pub(crate) use place::Place;
pub use place::{StorageHook, StorageStep};
pub(crate) use remote::open as open_remote;
pub use remote::{StorageSettings, is_remote};
pub(crate) use restore::{fetch, restore};
pub use restoring::{Restoring, Rows, RowsChange, TableChange, TableFrom};
pub use store::CheckpointStore;
pub(crate) use upload::Uploader;
pub(crate) use writer::{Linker, Room, SnapshotJob, Writer, run_inline};
pub use writer::{PendingSnapshot, SnapshotOptions};
