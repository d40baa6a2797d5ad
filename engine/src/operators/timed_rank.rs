//! Rankings in event-time order: each row is numbered once, when the watermark is beyond it.
//!
//! ```text
//!   rows ─▶ [rows by partition, in order]      those beyond the last number are dropped
//!              [stretch of time → its partitions]
//!   watermark > t: no row up to t is still to come ─▶ rows up to t go on numbering from [partition → rows, number]
//! ```
//!
//! A number never changes: what comes later is later in the order. A deduplication that keeps the first row is one that
//! gives number 1.
//!
//! # Invariants
//! 1. A row that is older than its own watermark is late: it is left out and counted.
//! 2. Rows are given in the order of time within a partition, and no row before the forwarded watermark.
//! 3. State holds the rows that the watermark has not passed, and of every partition how far its numbers are.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use weir_planner::plan::RankFunction;
use weir_state::{EachRange, MapTable, RangeCursor};
use weir_types::{ChangeBatch, DataType, Watermark, hash};

use super::build::internal_text;
use super::due::{Due, DueKeys, taken};
use super::grown::Grown;
use super::rank::{Collected, Position, Rank};
use super::ready::Ready;
use super::window_assign::own_watermark;
use super::windows::{from_micros, to_micros};
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// Moments are kept by stretches of this length, in microseconds.
const STRETCH: i64 = 1_000_000;
/// Partitions whose rows are looked through in one go.
const PARTITIONS_AT_ONCE: usize = 1024;

/// Ranking in event-time order.
pub(super) struct TimedRank {
    /// Numbers rows; what it keeps are the rows that the watermark has not passed.
    pub(super) rank: Rank,
    /// The event-time column, first of the order, and its type.
    pub(super) time: usize,
    pub(super) time_type: DataType,
    pub(super) times: DueKeys,
    /// Partition → rows that were numbered, the last number.
    pub(super) numbered: MapTable,
    pub(super) grown: Grown,
    pub(super) ready: Ready,
    pub(super) firing: Option<Firing>,
}

/// Rows on their way out.
pub(super) struct Firing {
    watermark: i64,
    slices: VecDeque<i64>,
    /// Partitions of the first stretch that were not looked at; `None`: not looked up yet.
    keys: Option<VecDeque<RecordBatch>>,
    chunk: Option<Chunk>,
}

/// Partitions that are being numbered.
struct Chunk {
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    /// The last moment that the watermark has passed, for each partition; `None`: all.
    to: Option<[ArrayRef; 1]>,
    cursor: RangeCursor,
    /// The last row that was numbered, and its partition.
    last: Option<(u32, RecordBatch)>,
}

impl TimedRank {
    fn advance(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        loop {
            if let Some(batch) = self.ready.next(ctx.batch_rows)? {
                ctx.emit(batch);
                return Ok(Progress::More);
            }
            let Some(mut firing) = self.firing.take() else {
                return Ok(Progress::Done);
            };
            if self.step(&mut firing, ctx.batch_rows.max(1))? {
                self.firing = Some(firing);
            }
        }
    }

    /// Looks at more rows; `false` if nothing more is due.
    fn step(&mut self, firing: &mut Firing, limit: usize) -> Result<bool> {
        if let Some(chunk) = firing.chunk.take() {
            firing.chunk = self.give(chunk, limit)?;
            return Ok(true);
        }
        let Some(&slice) = firing.slices.front() else {
            return Ok(false);
        };
        let keys = match &mut firing.keys {
            Some(keys) => keys,
            None => firing.keys.insert(self.times.keys(slice)?.into()),
        };
        let Some(batch) = keys.pop_front() else {
            // Of a stretch that is not over all partitions are looked at again: a row of theirs may be due then.
            if slice.saturating_add(STRETCH) <= firing.watermark {
                self.times.drop_slice(slice)?;
            }
            firing.slices.pop_front();
            firing.keys = None;
            return Ok(true);
        };
        let count = PARTITIONS_AT_ONCE.min(batch.num_rows());
        if count < batch.num_rows() {
            keys.push_front(batch.slice(count, batch.num_rows() - count));
        }
        let batch = batch.slice(0, count);
        firing.chunk = Some(self.chunk(&batch, firing.watermark)?);
        Ok(true)
    }

    fn chunk(&self, batch: &RecordBatch, watermark: i64) -> Result<Chunk> {
        let keys = batch.columns()[..batch.num_columns() - 1].to_vec();
        let hashes = hash::hash_columns(&keys, batch.num_rows());
        let to = if watermark == i64::MAX {
            None
        } else {
            let last = Int64Array::from_value(watermark.saturating_sub(1), hashes.len());
            let last = from_micros(last, &self.time_type, 0);
            Some([last.ok_or_else(|| self.no_timestamp())?])
        };
        Ok(Chunk {
            keys,
            hashes,
            to,
            cursor: RangeCursor::default(),
            last: None,
        })
    }

    /// Numbers more rows, gives them and takes them out of state; what is left of the chunk.
    fn give(&mut self, mut chunk: Chunk, limit: usize) -> Result<Option<Chunk>> {
        let range = EachRange {
            from: None,
            to: chunk.to.as_ref().map(|to| to.as_slice()),
            marks: 0,
        };
        let cursor = std::mem::take(&mut chunk.cursor);
        let rows = &self.rank.rows;
        let (found, next) = rows.probe(&chunk.keys, &chunk.hashes, range, cursor, limit)?;
        if found.counts.is_empty() {
            return Ok(None);
        }
        let gone: Vec<i64> = found.counts.iter().map(|count| -count).collect();
        let of_rows = found.probe_rows.values();
        let hashes: Vec<u64> = of_rows.iter().map(|&p| chunk.hashes[p as usize]).collect();
        let keys = taken(&chunk.keys, &found.probe_rows)?;
        rows.apply(&keys, &hashes, &found.rows, &gone)?;
        let mut same = self.same(&chunk, of_rows[0], &found.rows)?;
        let mut slots = Vec::new();
        self.numbered.slots(&keys, &hashes, &mut slots)?;
        let mut result = Collected::default();
        let mut start = 0;
        while start < of_rows.len() {
            let partition = of_rows[start];
            let end = start + of_rows[start..].partition_point(|&p| p == partition);
            let slot = slots[start];
            // The row before it is one of another partition.
            if start > 0
                && let Some(same) = &mut same
            {
                same[start] = false;
            }
            let mut position = self.position(slot);
            self.rank.number(
                &mut position,
                &found.counts,
                &same,
                0,
                start..end,
                &mut result,
            );
            self.set_position(slot, position);
            start = end;
        }
        let last = found.counts.len() - 1;
        chunk.last = Some((of_rows[last], found.rows.slice(last, 1)));
        let numbered = self.rank.finish(result, &[found.rows])?;
        let counts = vec![1; numbered.rows.num_rows()];
        self.ready.push(numbered.rows, counts, Vec::new());
        Ok(next.map(|cursor| Chunk { cursor, ..chunk }))
    }

    /// For each row whether it is equal to the one before it, which may have been given already.
    fn same(&self, chunk: &Chunk, first: u32, rows: &RecordBatch) -> Result<Option<Vec<bool>>> {
        let before = chunk.last.as_ref().filter(|(of, _)| *of == first);
        let Some((_, before)) = before else {
            return self.rank.same_as_before(rows);
        };
        let joined = concat_batches(&rows.schema(), [before, rows]).map_err(self.rank.failed())?;
        let same = self.rank.same_as_before(&joined)?;
        Ok(same.map(|same| same[1..].to_vec()))
    }

    fn position(&self, slot: u32) -> Position {
        let count = |value: i64| value.max(0) as u64;
        self.numbered.with_columns(|columns| {
            if columns.is_null(0, slot) {
                return Position::default();
            }
            Position {
                rows: count(columns.i64(0, slot)),
                number: count(columns.i64(1, slot)),
                is_past_the_end: false,
            }
        })
    }

    fn set_position(&self, slot: u32, position: Position) {
        self.numbered.with_columns(|columns| {
            columns.set_i64(0, slot, position.rows as i64);
            columns.set_i64(1, slot, position.number as i64);
        });
        self.numbered.mark_dirty(&[slot]);
    }

    /// Whether no row that is later than those numbered can be within the bounds.
    fn is_over(&self, position: Position) -> bool {
        let next = match self.rank.config.function {
            RankFunction::RowNumber | RankFunction::Rank => position.rows + 1,
            RankFunction::DenseRank => position.number + 1,
        };
        let last = self.rank.config.bounds.last;
        last.is_some_and(|last| next > last)
    }

    fn no_timestamp(&self) -> crate::Error {
        let message = "the event-time column is not a timestamp";
        internal_text(&self.rank.config.operator, message)
    }

    /// Keeps rows until the watermark has passed them.
    fn keep(&mut self, batch: &ChangeBatch, micros: &Int64Array, kept: Vec<u32>) -> Result<()> {
        let kept = UInt32Array::from(kept);
        let columns = taken(batch.rows.columns(), &kept)?;
        let rows =
            RecordBatch::try_new(batch.rows.schema(), columns).map_err(self.rank.failed())?;
        let partition = self.rank.config.partition.iter();
        let keys: Vec<ArrayRef> = partition
            .map(|&column| rows.column(column).clone())
            .collect();
        let hashes = hash::hash_columns(&keys, kept.len());
        let mut within: Vec<u32> = (0..kept.len() as u32).collect();
        if self.rank.config.drops_rest {
            let mut slots = Vec::new();
            self.numbered.find(&keys, &hashes, &mut slots)?;
            within.retain(|&row| match slots[row as usize] {
                u32::MAX => true,
                slot => !self.is_over(self.position(slot)),
            });
        }
        if within.is_empty() {
            return Ok(());
        }
        let due = |&row: &u32| {
            let time = micros.value(kept.value(row as usize) as usize);
            Due::in_stretch(time.saturating_add(1), STRETCH)
        };
        let dues: Vec<Due> = within.iter().map(due).collect();
        let hashes: Vec<u64> = within.iter().map(|&row| hashes[row as usize]).collect();
        let within = UInt32Array::from(within);
        let keys = taken(&keys, &within)?;
        let columns = taken(rows.columns(), &within)?;
        let rows =
            RecordBatch::try_new(batch.rows.schema(), columns).map_err(self.rank.failed())?;
        self.grown.note(&self.rank, &keys, &hashes)?;
        let weights = vec![1; hashes.len()];
        self.rank.rows.apply(&keys, &hashes, &rows, &weights)?;
        self.times.note(&dues, &keys, &hashes)
    }
}

impl Operator for TimedRank {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        if batch.retracted.is_some() {
            let message = "a ranking in event-time order cannot take rows back";
            return Err(internal_text(&self.rank.config.operator, message));
        }
        let micros = to_micros(batch.rows.column(self.time)).ok_or_else(|| self.no_timestamp())?;
        let (mut kept, mut late) = (Vec::with_capacity(batch.num_rows()), Vec::new());
        for row in (0..batch.num_rows()).filter(|&row| micros.is_valid(row)) {
            if own_watermark(&batch, row).is_some_and(|own| micros.value(row) < own) {
                late.push(row as u32);
            } else {
                kept.push(row as u32);
            }
        }
        ctx.leave_out(0, &batch, &late, |row| micros.value(row))?;
        if !kept.is_empty() {
            self.keep(&batch, &micros, kept)?;
        }
        Ok(Progress::Done)
    }

    fn on_watermark(
        &mut self,
        watermark: Watermark,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        self.firing = Some(Firing {
            watermark: watermark.0,
            slices: self.times.slices(watermark.0).into(),
            keys: None,
            chunk: None,
        });
        self.advance(ctx)
    }

    fn on_epoch_end(&mut self, _: &mut OperatorContext) -> Result<Progress> {
        self.grown.prune(&self.rank, PARTITIONS_AT_ONCE)?;
        Ok(Progress::Done)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.advance(ctx)
    }
}
