//! Rows of an interval join that no partner can reach any more: given if they have none, and forgotten.
//!
//! ```text
//!   watermark ─▶ stretches of time whose rows are out of reach ─▶ their keys ─▶ rows up to the moment ─▶ given, removed
//! ```
//!
//! Rows that are given for want of a partner leave as soon as the watermark is beyond their reach, because the watermark
//! that is forwarded speaks of them too: the stretch that it lies in is looked through again each time. Others only take
//! up room: they go by longer stretches, when one is over.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use weir_state::{EachRange, RangeCursor, SortBound, SortedRange};
use weir_types::hash;

use super::build::internal;
use super::due::Due;
use super::interval_join::{IntervalJoin, Work};
use super::shape::Alone;
use crate::Result;

/// Keys whose rows are looked through in one go.
const KEYS_PER_CHUNK: usize = 1024;

/// Rows on their way out of state.
pub(super) struct Expiry {
    side: usize,
    /// Stretches that are due, in order.
    slices: VecDeque<i64>,
    /// Keys of the first of them that were not looked at; `None`: not looked up yet.
    keys: Option<VecDeque<RecordBatch>>,
    /// Keys that are being looked at.
    chunk: Option<Chunk>,
}

struct Chunk {
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    cursor: RangeCursor,
}

impl IntervalJoin {
    /// The stretch of time under which a row's key is kept until it goes.
    pub(super) fn due(&self, side: usize, time: i64) -> Due {
        let at = self.reach(side, time);
        let stretch = self.stretch(side);
        if self.sides[side].alone == Alone::Unmatched {
            return Due::in_stretch(at.saturating_add(1), stretch);
        }
        let slice = (at.div_euclid(stretch) + 1).saturating_mul(stretch);
        Due { slice, at }
    }

    /// How long a stretch is, in microseconds. Those that are looked through again and again are short.
    fn stretch(&self, side: usize) -> i64 {
        let parts = if self.sides[side].alone == Alone::Unmatched {
            4096
        } else {
            16
        };
        (self.upper.saturating_sub(self.lower) / parts).max(1_000_000)
    }

    pub(super) fn begin_expiry(&self, side: usize) -> Expiry {
        Expiry {
            side,
            slices: self.sides[side].times.slices(self.watermark.0).into(),
            keys: None,
            chunk: None,
        }
    }

    /// Looks at more rows.
    pub(super) fn expire(&mut self, mut expiry: Expiry, limit: usize) -> Result<Option<Work>> {
        if let Some(chunk) = expiry.chunk.take() {
            expiry.chunk = self.give_unmatched(expiry.side, chunk, limit)?;
            return Ok(Some(Work::Expiry(expiry)));
        }
        let side = &self.sides[expiry.side];
        let Some(&slice) = expiry.slices.front() else {
            let next = (expiry.side == 0).then(|| Work::Expiry(self.begin_expiry(1)));
            return Ok(next);
        };
        let keys = match &mut expiry.keys {
            Some(keys) => keys,
            None => expiry.keys.insert(side.times.keys(slice)?.into()),
        };
        let Some(batch) = keys.pop_front() else {
            let is_over = side.alone != Alone::Unmatched
                || slice.saturating_add(self.stretch(expiry.side)) <= self.watermark.0;
            if is_over {
                side.times.drop_slice(slice)?;
            }
            expiry.slices.pop_front();
            expiry.keys = None;
            return Ok(Some(Work::Expiry(expiry)));
        };
        let count = KEYS_PER_CHUNK.min(batch.num_rows());
        if count < batch.num_rows() {
            keys.push_front(batch.slice(count, batch.num_rows() - count));
        }
        let batch = batch.slice(0, count);
        let columns = batch.columns()[..batch.num_columns() - 1].to_vec();
        let chunk = Chunk {
            hashes: hash::hash_columns(&columns, count),
            keys: columns,
            cursor: RangeCursor::default(),
        };
        if side.alone == Alone::Unmatched {
            expiry.chunk = Some(chunk);
        } else {
            self.forget(expiry.side, &chunk, slice)?;
        }
        Ok(Some(Work::Expiry(expiry)))
    }

    /// The last moment of which rows cannot be reached by a partner from `end` on; `None`: of all.
    fn last_unreachable(&self, side: usize, end: i64, rows: usize) -> Result<Option<ArrayRef>> {
        if end == i64::MAX {
            return Ok(None);
        }
        let last = if side == 0 {
            end.saturating_add(self.lower)
        } else {
            end.saturating_sub(self.upper)
        };
        let last = Int64Array::from_value(last.saturating_sub(1), rows);
        self.moments(side, last).map(Some)
    }

    /// Gives rows without a partner that the watermark has gone beyond, and removes them and those that have one; what is
    /// left of the chunk.
    fn give_unmatched(
        &mut self,
        side: usize,
        mut chunk: Chunk,
        limit: usize,
    ) -> Result<Option<Chunk>> {
        let last = self.last_unreachable(side, self.watermark.0, chunk.hashes.len())?;
        let last = last.map(|last| [last]);
        let range = EachRange {
            from: None,
            to: last.as_ref().map(|last| last.as_slice()),
            marks: 0,
        };
        let cursor = std::mem::take(&mut chunk.cursor);
        let rows = &self.sides[side].rows;
        let (found, next) = rows.probe(&chunk.keys, &chunk.hashes, range, cursor, limit)?;
        let gone = found.counts.iter().map(|count| -count).collect();
        self.change(side, &found.rows, gone)?;
        let (mut rows, mut counts) = (found.rows, found.counts);
        if let Some(marks) = self.marks(side, &rows)? {
            let unmatched =
                arrow::compute::not(marks).map_err(|error| internal(&self.operator, &error))?;
            let mut kept = unmatched.values().iter();
            counts.retain(|_| kept.next().unwrap_or(false));
            rows = filter_record_batch(&rows, &unmatched)
                .map_err(|error| internal(&self.operator, &error))?;
        }
        let own = self.stored_own(side, &rows)?.iter();
        let own = own.map(|own| self.own_of_result(own)).collect();
        let columns = rows.columns()[..self.sides[side].width].to_vec();
        let given = self.shape.by_itself(side, columns)?;
        self.ready.push(given, counts, own);
        Ok(next.map(|cursor| Chunk { cursor, ..chunk }))
    }

    /// Removes the rows of keys that cannot be reached from `end` on.
    fn forget(&self, side: usize, chunk: &Chunk, end: i64) -> Result<()> {
        let last = self.last_unreachable(side, end, 1)?.map(|last| [last]);
        let range = SortedRange {
            from: None,
            to: last.as_ref().map(|last| SortBound {
                values: last,
                row: 0,
                inclusive: true,
            }),
            reverse: false,
        };
        let rows = &self.sides[side].rows;
        for (row, &hash) in chunk.hashes.iter().enumerate() {
            rows.remove_range(&chunk.keys, row, hash, &range)?;
        }
        Ok(())
    }
}
