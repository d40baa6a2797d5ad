//! What a job tells whoever listens: that it runs, that a checkpoint is over, that an edit was carried out, that it starts again.
//!
//! ```text
//!   start, supervisor, coordinator ── JobEvent ──▶ JobListener ──▶ the program's own code, telemetry of `weir`
//! ```
//!
//! # Invariants
//! 1. A listener is called on the job's own threads, between rows: it has to return at once, and nothing is decided by it.
//! 2. What is told has happened; how long it took ends with the call.

use std::sync::Arc;
use std::time::Duration;

use weir_planner::compare::Report;
use weir_types::{CheckpointId, Generation};

use crate::statistics::CheckpointRecord;

/// Something that happened to a job.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobEvent<'a> {
    /// Its workers are about to run: for the first time in this process, or again after a failure.
    Running {
        /// The number of this start.
        generation: Generation,
        /// The checkpoint that it goes on from.
        restored: Option<CheckpointId>,
        /// Of a start after a failure: which one in a row.
        attempt: Option<u64>,
        /// Since it failed; of a first start, since its clock was made.
        took: Duration,
    },
    /// An edited query has taken over the state of the one before.
    Upgraded {
        /// What became of each operator.
        report: &'a Report,
        /// How long that took: what was read again, computed, and migrated.
        took: Duration,
    },
    /// A checkpoint has completed, failed or expired.
    Checkpoint(&'a CheckpointRecord),
    /// It failed, and starts again after `delay`.
    Failed {
        /// Why.
        error: &'a crate::Error,
        /// Which start in a row comes.
        attempt: u64,
        /// The time before it.
        delay: Duration,
    },
}

/// Who is told; nobody unless somebody asks.
#[derive(Clone, Default)]
pub struct JobListener(pub Option<Arc<dyn Fn(&JobEvent<'_>) + Send + Sync>>);

impl JobListener {
    /// Tells whoever listens.
    pub(crate) fn hear(&self, event: &JobEvent<'_>) {
        if let Some(listener) = &self.0 {
            listener(event);
        }
    }
}

impl std::fmt::Debug for JobListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "JobListener",
            None => "nobody",
        })
    }
}
