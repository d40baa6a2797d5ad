//! Splits of a source whose rows are numbers: what generators share.
//!
//! ```text
//!   split i of n: blocks i, i+n, i+2n … of rows, so that all splits go through time together
//! ```
//!
//! # Invariants
//! 1. Every row belongs to one split, whatever the chunks were.
//! 2. A position is a count of rows, good for one number of splits: with another the same rows belong to other splits.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use tokio::time::Instant;
use weir_types::SplitId;

use crate::error::{Error, Result};
use crate::source::{
    BATCH_ROWS, Chunk, Deal, Dealer, DecodedBatch, Payload, Position, SplitListing,
};

/// A chunk has at most so many rows.
const CHUNK_ROWS_MAX: u64 = 65_536;

/// Numbered rows, shared by splits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbered {
    /// The connector: its splits are called after it.
    pub(crate) name: &'static str,
    /// How many splits share the rows.
    pub(crate) splits: u64,
    /// With several splits, rows are dealt to them in blocks of so many.
    pub(crate) block: u64,
    /// Rows in all; `None`: without end.
    pub(crate) rows: Option<u64>,
    /// Rows a second, over all splits; `None`: as fast as they are taken.
    pub(crate) rate: Option<f64>,
    /// A row counts as so many bytes when a chunk is measured.
    pub(crate) row_bytes: usize,
}

impl Numbered {
    pub(crate) fn listing(&self) -> SplitListing {
        SplitListing {
            splits: (0..self.splits)
                .map(|split| SplitId(format!("{}-{split}", self.name)))
                .collect(),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn dealer(
        &self,
        split: &SplitId,
        position: Option<&Position>,
    ) -> Result<Box<dyn Dealer>> {
        Ok(Box::new(self.numbered_dealer(split, position)?))
    }

    fn numbered_dealer(
        &self,
        split: &SplitId,
        position: Option<&Position>,
    ) -> Result<NumberedDealer> {
        let number = split
            .0
            .strip_prefix(self.name)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|number| number.parse().ok());
        let number: u64 = number
            .filter(|number| *number < self.splits)
            .ok_or_else(|| {
                Error::Inconsistent(format!(
                    "there is no split {split}: 'splits' = '{}' now",
                    self.splits
                ))
            })?;
        let next = match position {
            None => 0,
            Some(position) => position["next"].as_u64().filter(|_| position["splits"] == self.splits).ok_or_else(|| {
                Error::Inconsistent(format!(
                    "the recorded position of {split} is {position}, and 'splits' = '{}' now: rows belong to splits by their \
                     number, so it cannot change",
                    self.splits
                ))
            })?,
        };
        let stripe = Stripe {
            split: number,
            splits: self.splits,
            block: self.block,
        };
        Ok(NumberedDealer {
            stripe,
            next,
            end: self.rows.map(|rows| stripe.share_of(rows)),
            rate: self.rate.map(|rate| rate / self.splits as f64),
            row_bytes: self.row_bytes,
            started: None,
            origin: self.name.into(),
        })
    }

    /// Behind the last row of a split, if there is a last one.
    pub(crate) fn end_of(&self, split: &SplitId) -> Result<Option<Position>> {
        let dealer = self.numbered_dealer(split, None)?;
        Ok(dealer
            .end
            .map(|end| serde_json::json!({ "next": end, "splits": self.splits })))
    }
}

/// The rows of a chunk, in runs of at most a batch.
///
/// # Errors
/// The chunk is of text.
pub(crate) fn batches_of(chunk: &Chunk) -> Result<impl Iterator<Item = Range<u64>>> {
    let Range { mut start, end } = rows_of(chunk)?;
    Ok(std::iter::from_fn(move || {
        let run = start..end.min(start + BATCH_ROWS as u64);
        start = run.end;
        (!run.is_empty()).then_some(run)
    }))
}

/// Rows that were made: their columns, then the row's number (or its event's) in as many columns as metadata was asked for.
pub(crate) fn batch_of(
    schema: &SchemaRef,
    mut columns: Vec<ArrayRef>,
    offsets: Vec<u64>,
) -> Result<DecodedBatch> {
    while columns.len() < schema.fields().len() {
        let numbers = offsets.iter().map(|&offset| offset as i64);
        columns.push(Arc::new(numbers.collect::<Int64Array>()));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(offsets.len()));
    let rows =
        RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|error| {
            Error::Inconsistent(format!("generated columns do not fit together: {error}"))
        })?;
    Ok(DecodedBatch {
        rows,
        retracted: None,
        offsets,
    })
}

/// The rows of a chunk.
///
/// # Errors
/// The chunk is of text.
pub(crate) fn rows_of(chunk: &Chunk) -> Result<Range<u64>> {
    match &chunk.payload {
        Payload::Rows(rows) => Ok(rows.clone()),
        Payload::Text(_) => Err(Error::Inconsistent(
            "a chunk of text came to a generator".to_owned(),
        )),
    }
}

/// Which rows belong to a split.
#[derive(Clone, Copy, Debug)]
struct Stripe {
    split: u64,
    splits: u64,
    block: u64,
}

impl Stripe {
    /// How many of the first `rows` rows belong to the split.
    fn share_of(self, rows: u64) -> u64 {
        let round = self.block * self.splits;
        let rest = (rows % round)
            .saturating_sub(self.split * self.block)
            .min(self.block);
        rows / round * self.block + rest
    }

    /// The row numbers of up to `count` rows of the split from its row `next` on, as far as they are contiguous. Where rows
    /// reach beyond the end of a batch they stop there, so that the chunks that follow are whole batches.
    fn rows(self, next: u64, count: u64) -> Range<u64> {
        if self.splits == 1 {
            let end = next + count.min(CHUNK_ROWS_MAX);
            let whole = end - end % BATCH_ROWS as u64;
            return next..if whole > next { whole } else { end };
        }
        let (block, within) = (next / self.block, next % self.block);
        let start = (block * self.splits + self.split) * self.block + within;
        start..start + count.min(self.block - within)
    }
}

struct NumberedDealer {
    stripe: Stripe,
    /// Rows of this split that were dealt.
    next: u64,
    /// Rows of this split in all.
    end: Option<u64>,
    /// Rows a second.
    rate: Option<f64>,
    row_bytes: usize,
    /// When the first row was asked for, and which it was.
    started: Option<(Instant, u64)>,
    origin: Arc<str>,
}

impl NumberedDealer {
    /// How many rows may be dealt now by the clock.
    fn due(&mut self) -> u64 {
        let Some(rate) = self.rate else {
            return u64::MAX;
        };
        let (started, first) = *self
            .started
            .get_or_insert_with(|| (Instant::now(), self.next));
        let due = (started.elapsed().as_secs_f64() * rate) as u64;
        due.saturating_sub(self.next - first)
    }
}

impl Dealer for NumberedDealer {
    fn deal(&mut self, max_bytes: usize, max_records: u64) -> Result<Deal> {
        if self.end.is_some_and(|end| self.next >= end) {
            return Ok(Deal::End);
        }
        let left = self.end.map_or(u64::MAX, |end| end - self.next);
        let count = max_records
            .min(left)
            .min((max_bytes / self.row_bytes).max(1) as u64)
            .min(self.due());
        if count == 0 {
            return Ok(Deal::Pending);
        }
        let rows = self.stripe.rows(self.next, count);
        let records = rows.end - rows.start;
        self.next += records;
        Ok(Deal::Chunk(Chunk {
            records,
            origin: self.origin.clone(),
            offset: rows.start,
            line: rows.start + 1,
            header: None,
            payload: Payload::Rows(rows),
        }))
    }

    fn position(&self) -> Position {
        serde_json::json!({ "next": self.next, "splits": self.stripe.splits })
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (self.next, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_ends_with_a_batch_if_it_reaches_its_end() {
        let stripe = Stripe {
            split: 0,
            splits: 1,
            block: 1,
        };
        assert_eq!(stripe.rows(0, 100), 0..100);
        assert_eq!(stripe.rows(100, 9000), 100..8192);
        assert_eq!(stripe.rows(8192, 8192), 8192..16384);
        assert_eq!(stripe.rows(8192, 20_000), 8192..24_576);
        assert_eq!(stripe.rows(8192, 8191), 8192..16_383);
    }

    #[test]
    fn every_row_belongs_to_one_split() {
        for (splits, rows, block) in [
            (1, 100_000, 8192),
            (3, 100_001, 8192),
            (4, 8192, 8192),
            (5, 1, 160),
            (3, 5000, 160),
        ] {
            let mut seen = vec![0_u8; rows as usize];
            for split in 0..splits {
                let stripe = Stripe {
                    split,
                    splits,
                    block,
                };
                let (mut next, end) = (0, stripe.share_of(rows));
                while next < end {
                    let dealt = stripe.rows(next, (end - next).min(5000));
                    next += dealt.end - dealt.start;
                    dealt.for_each(|row| seen[row as usize] += 1);
                }
            }
            assert!(
                seen.iter().all(|count| *count == 1),
                "{splits} splits, {rows} rows"
            );
        }
    }
}
