//! The source's side of the house: splits, their dealers, and decoders.
//!
//! ```text
//!   Source ── splits() ──▶ SplitId …
//!      │                      │
//!      ├── dealer(split, position) ─▶ Dealer   one a split: chunks of whole records, in order
//!      └── decoder() ───────────────▶ Decoder  one a worker: chunk ─▶ batches of at most 8,192 rows
//! ```
//!
//! # Invariants
//! 1. A dealer's chunks, one after another, are the split: no record is in two chunks or in none, and what
//!    `max_bytes` and `max_records` were plays no part in the rows.
//! 2. A dealer opened at `position()` deals exactly what the first one would have dealt next.
//! 3. A decoder has no memory: the rows of a chunk depend on the chunk alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use bytes::Bytes;
use weir_types::SplitId;

use crate::error::{RecordError, Result};

/// Where a dealer is in its split: JSON, opaque to the engine, kept in the manifest.
pub type Position = serde_json::Value;

/// Most rows of a decoded batch.
pub const BATCH_ROWS: usize = 8192;

/// Something that can be read.
///
/// # Contract
/// `splits` is called first, once, with the positions of the checkpoint (empty at a first start). Then one dealer is
/// opened for each split, and one decoder for each worker.
pub trait Source: Send + Sync {
    /// All splits of this source, with stable names. `restored` are those of the checkpoint; a listing of files
    /// compares itself with the recorded one here and reports changed, missing and added files.
    ///
    /// # Errors
    /// [`crate::Error::Inconsistent`] if a recorded file has changed or is missing.
    fn splits(&self, restored: &BTreeMap<SplitId, Position>) -> Result<SplitListing>;

    /// The dealer of a split, at a position (or the start).
    ///
    /// # Errors
    /// If the split cannot be opened there.
    fn dealer(&self, split: &SplitId, position: Option<&Position>) -> Result<Box<dyn Dealer>>;

    /// A decoder for one worker.
    ///
    /// # Errors
    /// If the format cannot decode the columns.
    fn decoder(&self) -> Result<Box<dyn Decoder>>;

    /// No more splits can ever come and each of them ends.
    fn bounded(&self) -> bool;

    /// False for stdin and sockets: a crash loses what was not checkpointed.
    fn replayable(&self) -> bool {
        true
    }

    /// Where a split that is at `position` began, so that a dealer that is opened there deals the same records in the same
    /// order up to it.
    ///
    /// # Errors
    /// [`crate::Error::Inconsistent`] if they are not there any more.
    fn beginning(&self, split: &SplitId, position: &Position) -> Result<Beginning> {
        let _ = (split, position);
        Ok(match self.replayable() {
            true => Beginning::Start,
            false => Beginning::Gone,
        })
    }

    /// Where a split goes on if all that is there now is left out; `None` if the source cannot say.
    ///
    /// # Errors
    /// If it cannot be looked at.
    fn end_of(&self, split: &SplitId) -> Result<Option<Position>> {
        let _ = split;
        Ok(None)
    }

    /// Where a split goes on if what was written before `time` (microseconds since 1970) is left out, by the times that the
    /// place itself keeps, whatever its records say; `None` if it keeps none.
    ///
    /// # Errors
    /// If it cannot be looked at.
    fn written_since(&self, split: &SplitId, time: i64) -> Result<Option<Position>> {
        let _ = (split, time);
        Ok(None)
    }
}

/// Where a split that was read can be read again from.
#[derive(Clone, Debug, PartialEq)]
pub enum Beginning {
    /// A dealer without a position gives the same again.
    Start,
    /// One at this position does.
    At(Position),
    /// Nothing does.
    Gone,
}

/// The splits of a source, and what the user should know about them.
#[derive(Clone, Debug, Default)]
pub struct SplitListing {
    /// The splits, in a stable order.
    pub splits: Vec<SplitId>,
    /// For example files that were added to a bounded listing and are ignored.
    pub warnings: Vec<String>,
}

impl SplitListing {
    /// One split, and nothing to say.
    pub fn one(split: impl Into<String>) -> Self {
        Self {
            splits: vec![SplitId(split.into())],
            warnings: Vec::new(),
        }
    }
}

/// Hands out one split in order. One thread at a time: the engine keeps a lock around it.
pub trait Dealer: Send {
    /// The next chunk of about `max_bytes` at most, and exactly `max_records` at most, ended at the end of a record.
    /// A record longer than `max_bytes` is a chunk by itself. Does not block for long: a live source answers
    /// [`Deal::Pending`] when there is nothing now.
    ///
    /// # Errors
    /// I/O; a file that shrank; a record without an end.
    fn deal(&mut self, max_bytes: usize, max_records: u64) -> Result<Deal>;

    /// The position after the last chunk dealt. Called at the ends of epochs.
    fn position(&self) -> Position;

    /// Input done so far and in all, in bytes (rows for a generator); the total if it is known.
    fn progress(&self) -> (u64, Option<u64>);
}

/// A dealer's answer.
#[derive(Clone, Debug)]
pub enum Deal {
    /// The next records.
    Chunk(Chunk),
    /// Nothing now; ask again later.
    Pending,
    /// Nothing ever again.
    End,
}

/// A stretch of whole records.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The records.
    pub payload: Payload,
    /// How many: malformed ones count, a CSV header and empty lines do not.
    pub records: u64,
    /// File name or `stdin`, for metadata columns and errors.
    pub origin: Arc<str>,
    /// Byte offset of the payload in the (decompressed) origin; the first row's number for a generator.
    pub offset: u64,
    /// The number of the payload's first line in the origin, from 1.
    pub line: u64,
    /// The header record of the origin, where the format has one: names are matched by it.
    pub header: Option<Bytes>,
}

/// What a chunk carries.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Text of whole records, each with its line end but perhaps the last.
    Text(Bytes),
    /// Row numbers of a generator.
    Rows(std::ops::Range<u64>),
}

/// Turns chunks into rows.
pub trait Decoder: Send {
    /// Decodes a whole chunk to batches of at most [`BATCH_ROWS`] rows: the requested columns, then the metadata, all
    /// of canonical Arrow types. With `'on.error' = 'skip'` or a dead-letter table, malformed records are left out and
    /// returned in `rejected`.
    ///
    /// # Errors
    /// [`crate::Error::Record`] for a malformed record, unless it is to be skipped.
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded>;
}

/// The rows of a chunk.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// In the order of the records.
    pub batches: Vec<DecodedBatch>,
    /// Malformed records that were left out.
    pub rejected: Vec<RecordError>,
}

/// Up to [`BATCH_ROWS`] rows.
#[derive(Clone, Debug)]
pub struct DecodedBatch {
    /// The rows.
    pub rows: RecordBatch,
    /// Of a changelog format: the retracted rows. `None`: there are none.
    pub retracted: Option<BooleanBuffer>,
    /// Byte offset of each record in the origin, for errors: one a row.
    pub offsets: Vec<u64>,
}
