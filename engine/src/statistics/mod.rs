//! What each checkpoint cost, by operator: kept in the job's folder, read by `weir checkpoints` and `weir doctor`.
//!
//! ```text
//!   worker: EpochReport (alignment, flush, prepare, busy, rows) ─┐
//!   state:  WorkerSnapshot (freeze, write, entries, bytes) ──────┼─▶ Collector ─▶ one line of checkpoints.jsonl
//!   coordinator: when it began, was ready, was over ─────────────┘
//! ```
//!
//! # Invariants
//! 1. Nothing is decided by these figures, and a line that cannot be written fails nothing.
//! 2. The file is bounded: `FILE_BYTES_MAX` of `log.rs`.

mod collect;
mod doctor;
mod log;

use serde::{Deserialize, Serialize};

pub(crate) use collect::{Collector, OperatorFigures};
pub use doctor::{Finding, diagnose, looked_at};
pub(crate) use log::Log;
pub use log::{file_of, read};

/// What became of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Written, and the sinks have committed.
    Completed,
    /// Not written; the next one took over.
    Failed,
    /// Dropped after 'checkpoint.timeout'.
    Expired,
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// Its number.
    pub checkpoint: u64,
    /// The start of the job that took it.
    pub generation: u64,
    /// When its barrier was sent, microseconds since 1970.
    pub triggered_micros: i64,
    /// The same since the start of the job.
    pub triggered_after_micros: u64,
    /// What became of it.
    pub ending: Ending,
    /// Why it did not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// From the barrier's sending until it had passed every operator of every worker.
    pub barrier_micros: u64,
    /// The synchronous part: the longest freeze of a worker.
    pub frozen_micros: u64,
    /// The longest writing, flushing and linking of a worker, in the background.
    pub write_micros: u64,
    /// From the barrier's sending until every snapshot was stored: ready to commit.
    pub ready_micros: u64,
    /// Manifest and commits of the sinks.
    pub publish_micros: u64,
    /// All of it.
    pub total_micros: u64,
    /// Bytes that were uploaded.
    pub bytes_new: u64,
    /// Bytes of all its files.
    pub bytes_total: u64,
    /// Entries that had changed.
    pub entries: u64,
    /// Their bytes.
    pub entries_bytes: u64,
    /// By operator, in the plan's order.
    pub operators: Vec<OperatorRecord>,
}

/// One operator's part of a checkpoint. Times are those of the slowest worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OperatorRecord {
    /// Its ID.
    pub id: String,
    /// Whether it is a sink.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sink: bool,
    /// What bounds its state: the weakest bound of its tables, as the plan has it. Empty: no state.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bound: String,
    /// From the first of its barriers until the last.
    pub alignment_micros: u64,
    /// The flush of the epoch at the barrier.
    pub flush_micros: u64,
    /// What a sink took to prepare.
    pub prepare_micros: u64,
    /// Freezing its tables.
    pub frozen_micros: u64,
    /// Writing its frozen entries, in the background.
    pub write_micros: u64,
    /// Entries that had changed.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// All its entries, roughly.
    pub entries_total: u64,
    /// All its bytes, roughly.
    pub bytes_total: u64,
    /// Of the changed entries, those of the key group that has most.
    pub hottest_entries: u64,
    /// That key group.
    pub hottest_group: u16,
    /// Key groups that changed.
    pub groups: u64,
    /// How long it worked since the checkpoint before, all workers together.
    pub busy_micros: u64,
    /// Rows that it took since the checkpoint before, by worker.
    pub rows_by_worker: Vec<u64>,
}
