//! The sink's side of the house: one writer a worker, one committer a job.
//!
//! ```text
//!   worker 0:  write* end_epoch … write* end_epoch prepare(7) ─▶ parts ─┐
//!   worker 1:  write* end_epoch … write* end_epoch prepare(7) ─▶ parts ─┤
//!                                                              manifest 7, durable
//!                                                                       └─▶ committer.commit(7, parts of all)
//! ```
//!
//! After a restore at checkpoint N the coordinator calls `commit(N, what N's manifest lists)` and then
//! `rollback_to(Some(N))`, before any row is read.

use std::path::PathBuf;

use weir_types::{ChangeBatch, CheckpointId, Generation, WorkerId};

use crate::error::Result;

/// What a sink needs to know of the job.
#[derive(Clone, Debug)]
pub struct SinkEnvironment {
    /// The job's name.
    pub job: String,
    /// Operator ID of the sink, for names of parts and commit lists.
    pub sink: String,
    /// This start of the job.
    pub generation: Generation,
    /// Exactly-once publishes at checkpoints; at-least-once at epochs.
    pub exactly_once: bool,
    /// Folder that relative paths start from.
    pub base: PathBuf,
}

/// When rows can be seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// At the end of an epoch.
    Epoch,
    /// When a checkpoint is committed.
    Checkpoint,
}

/// Something that can be written.
pub trait Sink: Send + Sync {
    /// When rows can be seen.
    fn visibility(&self) -> Visibility;

    /// False: it takes an append-only input alone.
    fn accepts_retractions(&self) -> bool;

    /// The sink wants the whole result at each checkpoint, not changes. The engine keeps it as keyed state of the
    /// sink operator, and every worker gives its whole share to [`SinkWriter::write`] as insertions before *every*
    /// `prepare`, also if it has not changed. A worker that wrote nothing since its last `prepare` has no rows.
    fn wants_snapshot(&self) -> bool {
        false
    }

    /// The writer of one worker.
    ///
    /// # Errors
    /// If the target cannot be prepared.
    fn writer(&self, worker: WorkerId) -> Result<Box<dyn SinkWriter>>;

    /// The committer; one at a time.
    ///
    /// # Errors
    /// If the target cannot be read.
    fn committer(&self) -> Result<Box<dyn SinkCommitter>>;
}

/// Takes the rows of one worker.
///
/// # Contract
/// `write`* → `end_epoch` for every epoch; `prepare` right after the `end_epoch` of a checkpoint's epoch. After a
/// crash what was not prepared and committed is gone (exactly-once), or at worst there twice (at-least-once).
pub trait SinkWriter: Send {
    /// Takes changes of the current epoch.
    ///
    /// # Errors
    /// I/O, or a value that the format cannot write.
    fn write(&mut self, changes: &ChangeBatch) -> Result<()>;

    /// The epoch is complete: an epoch-visible sink flushes.
    ///
    /// # Errors
    /// I/O.
    fn end_epoch(&mut self) -> Result<()>;

    /// Closes and syncs what is staged; the answer goes to the manifest. `None`: nothing was staged.
    ///
    /// # Errors
    /// I/O.
    fn prepare(&mut self, checkpoint: CheckpointId) -> Result<Option<serde_json::Value>>;
}

/// Publishes and withdraws. Every call is idempotent: after a crash in the middle it is simply called again.
pub trait SinkCommitter: Send {
    /// After the manifest is durable: publishes the parts that all workers prepared for `checkpoint`.
    ///
    /// # Errors
    /// [`crate::Error::Inconsistent`] if a part is neither staged nor published.
    fn commit(&mut self, checkpoint: CheckpointId, prepared: &[serde_json::Value]) -> Result<()>;

    /// At a restore, after the re-commit: withdraws what checkpoints later than `checkpoint` published (newest first)
    /// and removes this job's own staging files that no list names. Returns warnings.
    ///
    /// # Errors
    /// If it cannot withdraw and there is something to withdraw.
    fn rollback_to(&mut self, checkpoint: Option<CheckpointId>) -> Result<Vec<String>>;

    /// Whether the target holds output of this job (`--fresh` refuses then).
    ///
    /// # Errors
    /// I/O.
    fn holds_output(&self) -> Result<bool>;

    /// `--replace-output`: removes it.
    ///
    /// # Errors
    /// I/O.
    fn remove_output(&mut self) -> Result<()>;
}
