//! INTERFACE SKETCH: signatures agreed between connectors and engine.
#![allow(missing_docs, unused_variables, clippy::todo)]
use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use weir_types::{ChangeBatch, CheckpointId, Column, Diagnostic, Generation, Span, SplitId, WorkerId};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user can fix it: an option, a path.
    #[error("{0}")]
    Diagnostic(Box<Diagnostic>),
    /// A malformed record: what, which file, line and column.
    #[error("{0}")]
    Record(RecordError),
    /// The world failed.
    #[error("{context}: {source}")]
    Io { context: String, #[source] source: std::io::Error },
    /// What was there at the first start has changed or is missing; or a commit cannot be finished.
    #[error("{0}")]
    Inconsistent(String),
}
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Place and reason of a malformed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    pub table: String,
    /// File (or `stdin`, `socket`).
    pub origin: String,
    /// Line within the file, from 1 (decompressed).
    pub line: u64,
    /// Byte column, from 1, where it is known.
    pub column: Option<u64>,
    /// Byte offset of the record in the split's (decompressed) file.
    pub offset: u64,
    pub reason: String,
    /// The raw record (cut to 4 KiB) for a dead-letter table.
    pub record: Vec<u8>,
}
impl std::fmt::Display for RecordError { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { todo!() } }

/// A table as the engine asks for it.
#[derive(Clone, Debug)]
pub struct TableRequest {
    pub table: String,
    pub options: BTreeMap<String, String>,
    pub option_spans: BTreeMap<String, Span>,
    /// For a source: the physical columns to decode, in output order. For a sink: all columns.
    pub columns: Vec<Column>,
    /// For a source: *all* physical columns of the DDL in order (CSV without header needs the positions).
    pub declared: Vec<Column>,
    /// For a source: metadata columns to append after `columns`: (key, column).
    pub metadata: Vec<(String, Column)>,
    /// For a sink: whether its input carries retractions; its unique key and PARTITIONED BY (indices into `columns`).
    pub retractions: bool,
    pub unique_key: Option<Vec<usize>>,
    pub partitioned_by: Vec<usize>,
    /// Folder that relative paths start from (the current folder).
    pub base: PathBuf,
    pub table_span: Span,
}

/// Options of a connector, for checks at plan time (`weir check`): known keys, defaults, docs.
pub struct OptionInfo { pub key: &'static str, pub default: Option<&'static str>, pub help: &'static str }
/// Checks connector, format and option names and values without any I/O; nearest names in the errors.
pub fn check_table(request: &TableRequest, role: Role) -> Vec<Diagnostic> { todo!() }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role { Source, Sink }
/// Whether the source is bounded, gives retractions (changelog-json), … from options alone, for the planner's catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTraits { pub bounded: bool, pub retractions: bool }
pub fn source_traits(options: &BTreeMap<String, String>) -> SourceTraits { todo!() }

pub fn open_source(request: TableRequest) -> Result<Box<dyn Source>> { todo!() }
pub fn open_sink(request: TableRequest, env: &SinkEnvironment) -> Result<Box<dyn Sink>> { todo!() }

// ---------------------------------------------------------------- sources

/// Opaque to the engine, kept in the manifest: JSON.
pub type Position = serde_json::Value;

pub trait Source: Send + Sync {
    /// All splits of this source, stable names. `restored` are those of the checkpoint; a filesystem listing compares
    /// itself with the recorded one here and reports changed, missing and added files.
    fn splits(&self, restored: &BTreeMap<SplitId, Position>) -> Result<SplitListing>;
    /// The dealer of a split, at a position (or the start).
    fn dealer(&self, split: &SplitId, position: Option<&Position>) -> Result<Box<dyn Dealer>>;
    /// A decoder for one worker.
    fn decoder(&self) -> Result<Box<dyn Decoder>>;
    /// No more splits can ever come and each of them ends.
    fn bounded(&self) -> bool;
    /// False for stdin and sockets: a crash loses what was not checkpointed.
    fn replayable(&self) -> bool { true }
}
pub struct SplitListing { pub splits: Vec<SplitId>, pub warnings: Vec<String> }

/// Hands out one split in order. One thread at a time (the engine keeps a lock around it).
pub trait Dealer: Send {
    /// The next chunk of at most about `max_bytes` and `max_records`, ended at the end of a record.
    /// Must not block for long: a live source answers `Pending` when there is nothing now.
    fn deal(&mut self, max_bytes: usize, max_records: u64) -> Result<Deal>;
    /// The position after the last chunk dealt. Cheap; called at epoch ends.
    fn position(&self) -> Position;
    /// Input done so far and in all, in bytes (or rows for a generator), for progress; the total if it is known.
    fn progress(&self) -> (u64, Option<u64>);
}
pub enum Deal { Chunk(Chunk), Pending, End }

/// A stretch of whole records.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub payload: Payload,
    /// Records in it (CSV header lines and empty lines not counted; malformed ones are).
    pub records: u64,
    /// File name or `stdin`; for metadata columns and errors.
    pub origin: std::sync::Arc<str>,
    /// Byte offset of the payload in the (decompressed) origin, and its first line's number (from 1).
    pub offset: u64,
    pub line: u64,
}
#[derive(Clone, Debug)]
pub enum Payload { Text(Bytes),
    /// Row numbers of a generator.
    Rows(std::ops::Range<u64>) }

pub trait Decoder: Send {
    /// Decodes a whole chunk to batches of at most 8,192 rows: `columns`, then `metadata`, all canonical Arrow types.
    /// With 'on.error' = 'skip' or dead-letter, malformed records are left out and returned in `rejected`.
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded>;
}
pub struct Decoded { pub batches: Vec<DecodedBatch>, pub rejected: Vec<RecordError> }
pub struct DecodedBatch {
    pub rows: RecordBatch,
    /// Of a changelog format: the retracted rows.
    pub retracted: Option<BooleanBuffer>,
    /// Byte offset of each record in the origin (for errors), one a row.
    pub offsets: Vec<u64>,
}
/// What to do with malformed records; parsed from 'on.error' by the connector, the engine acts on dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnError { Fail, Skip, DeadLetter(String) }

// ---------------------------------------------------------------- sinks

/// What a sink needs to know of the job.
#[derive(Clone, Debug)]
pub struct SinkEnvironment {
    pub job: String,
    /// Operator ID of the sink, for names of parts and commit lists.
    pub sink: String,
    pub generation: Generation,
    /// Exactly-once publishes at checkpoints; at-least-once at epochs.
    pub exactly_once: bool,
    pub base: PathBuf,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility { Epoch, Checkpoint }

pub trait Sink: Send + Sync {
    fn visibility(&self) -> Visibility;
    /// False: an append-only input alone.
    fn accepts_retractions(&self) -> bool;
    /// The sink wants the whole result at each checkpoint, not changes: the engine keeps it as keyed state of the sink
    /// operator (table `rows`) and gives it to `SinkWriter::write` as insertions before `prepare`, if it changed.
    fn wants_snapshot(&self) -> bool { false }
    fn writer(&self, worker: WorkerId) -> Result<Box<dyn SinkWriter>>;
    fn committer(&self) -> Result<Box<dyn SinkCommitter>>;
}

/// # Contract
/// `write`* → `end_epoch` for every epoch; `prepare` right after the `end_epoch` of a checkpoint's epoch. After a crash
/// what was not prepared and committed is gone (exactly-once).
pub trait SinkWriter: Send {
    fn write(&mut self, changes: &ChangeBatch) -> Result<()>;
    /// Epoch-visible sinks flush here.
    fn end_epoch(&mut self) -> Result<()>;
    /// Closes and syncs what is staged; the answer goes to the manifest. `None`: nothing was staged.
    fn prepare(&mut self, checkpoint: CheckpointId) -> Result<Option<serde_json::Value>>;
}

/// All calls are idempotent.
pub trait SinkCommitter: Send {
    /// After the manifest is durable: publishes the parts that all workers prepared for `checkpoint`.
    fn commit(&mut self, checkpoint: CheckpointId, prepared: &[serde_json::Value]) -> Result<()>;
    /// At a restore, after the re-commit: withdraws what checkpoints later than `checkpoint` published (newest first)
    /// and removes this job's own staging files that no list names. Err if it cannot withdraw and there is something.
    fn rollback_to(&mut self, checkpoint: Option<CheckpointId>) -> Result<Vec<String>>;
    /// Whether the target holds parts of this job (`--fresh` refuses then).
    fn holds_output(&self) -> Result<bool>;
    /// `--replace-output`: removes them.
    fn remove_output(&mut self) -> Result<()>;
}
