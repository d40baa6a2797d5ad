//! Events that are made before the first one is read.
//!
//! ```text
//!   splits() ─▶ all rows, in batches of 8,192: 0 ‥ 8191 │ 8192 ‥ 16383 │ …
//!   decode(chunk of rows 8000 ‥ 9000) ─▶ slices of the batches that hold them, without a copy
//! ```
//!
//! # Invariants
//! 1. A row is the one that is made on the way.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::Maker;
use crate::error::{Error, Result};
use crate::numbered::rows_of;
use crate::source::{BATCH_ROWS, Chunk, Decoded, DecodedBatch, Decoder};

/// All rows of a table, once they are made.
#[derive(Debug, Default)]
pub(super) struct Prepared(OnceLock<Arc<[DecodedBatch]>>);

impl Prepared {
    /// Makes the rows, if that was not done before. How long it took.
    pub(super) fn fill(&self, maker: &Maker, rows: u64) -> Result<Duration> {
        let began = Instant::now();
        if self.0.get().is_none() {
            let starts = (0..rows).step_by(BATCH_ROWS);
            let batches: Result<Vec<_>> = starts
                .map(|start| maker.batch(start..rows.min(start + BATCH_ROWS as u64)))
                .collect();
            // Whoever was first made the same ones.
            let _ = self.0.set(batches?.into());
        }
        Ok(began.elapsed())
    }

    /// The rows, if they are made.
    pub(super) fn batches(&self) -> Option<PreparedDecoder> {
        self.0.get().cloned().map(PreparedDecoder)
    }
}

/// Hands out rows that are there.
pub(super) struct PreparedDecoder(Arc<[DecodedBatch]>);

impl Decoder for PreparedDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        let rows = rows_of(chunk)?;
        let (mut start, end) = (rows.start as usize, rows.end as usize);
        let mut decoded = Decoded::default();
        while start < end {
            let (number, within) = (start / BATCH_ROWS, start % BATCH_ROWS);
            let batch = self.0.get(number).ok_or_else(|| {
                Error::Inconsistent(format!("row {start} was not made beforehand"))
            })?;
            let count = (end - start).min(batch.offsets.len() - within);
            decoded.batches.push(DecodedBatch {
                rows: batch.rows.slice(within, count),
                retracted: None,
                offsets: batch.offsets[within..within + count].to_vec(),
            });
            start += count;
        }
        Ok(decoded)
    }
}
