//! Each row of the left with the last row of the right, of the same key, that is not later.
//!
//! ```text
//!   right ──▶ [versions by key and time]     those before the last one that the watermark has passed are removed
//!   left  ──▶ [rows by key and time]         watermark > t: no version up to t is still to come ─▶ matched, given, removed
//! ```
//!
//! Of versions of one moment the first in the order of their columns counts.
//!
//! # Invariants
//! 1. A row of either side that is older than its own watermark is late: it is left out and counted.
//! 2. A left row is given when the watermark is beyond it, with the version that was there then; it is never taken back.
//! 3. A row with a NULL among its keys has no version, and is none.
//! 4. Of a LEFT join a left row without a version is given beside NULLs, at the same moment; one with a NULL key at once.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use weir_state::{SortBound, SortedRange, SortedTable};
use weir_types::{ChangeBatch, DataType, OperatorId, Watermark, hash};

use super::build::{internal, internal_text};
use super::due::{Due, DueKeys, taken};
use super::ready::Ready;
use super::window_assign::own_watermark;
use super::windows::{from_micros, to_micros};
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// Moments are kept by stretches of this length, in microseconds.
const STRETCH: i64 = 1_000_000;

/// Join as of a point in time.
pub(super) struct AsOfJoin {
    pub(super) operator: OperatorId,
    pub(super) sides: [Side; 2],
    /// A version of the same moment does not count.
    pub(super) strict: bool,
    /// LEFT: rows without a version are given too.
    pub(super) keeps_left: bool,
    /// Rows with a NULL key on their way out.
    pub(super) without_key: Ready,
    pub(super) schema: SchemaRef,
    pub(super) firing: Option<Firing>,
}

/// One side.
pub(super) struct Side {
    /// Key columns of the input.
    pub(super) keys: Vec<usize>,
    /// Its event-time column, and its type.
    pub(super) time: usize,
    pub(super) time_type: DataType,
    pub(super) rows: SortedTable,
    /// Keys by when something is to be done about their rows.
    pub(super) times: DueKeys,
    pub(super) schema: SchemaRef,
}

/// Left rows on their way out.
pub(super) struct Firing {
    watermark: i64,
    /// Stretches of time with left rows that may be due, in order.
    slices: VecDeque<i64>,
    /// Keys of the first stretch that are due; `None`: not looked up yet.
    due: Option<VecDeque<(RecordBatch, usize)>>,
    ready: VecDeque<RecordBatch>,
    ready_rows: usize,
}

impl AsOfJoin {
    fn fire(&mut self, mut firing: Firing, ctx: &mut OperatorContext) -> Result<Progress> {
        let limit = ctx.batch_rows.max(1);
        while firing.ready_rows < limit && self.step(&mut firing, limit)? {}
        if firing.ready_rows == 0 {
            // Versions go when all left rows before the watermark have been given.
            self.forget_versions(firing.watermark)?;
            return Ok(Progress::Done);
        }
        let mut pieces = Vec::new();
        let mut room = limit;
        while room > 0
            && let Some(batch) = firing.ready.pop_front()
        {
            let count = room.min(batch.num_rows());
            if count < batch.num_rows() {
                firing
                    .ready
                    .push_front(batch.slice(count, batch.num_rows() - count));
            }
            pieces.push(batch.slice(0, count));
            room -= count;
        }
        firing.ready_rows -= limit - room;
        let rows = concat_batches(&self.schema, &pieces);
        ctx.emit(ChangeBatch::append_only(
            rows.map_err(|error| internal(&self.operator, &error))?,
        ));
        self.firing = Some(firing);
        Ok(Progress::More)
    }

    /// Makes more rows ready; `false` if nothing more is due.
    fn step(&self, firing: &mut Firing, limit: usize) -> Result<bool> {
        let left = &self.sides[0];
        let Some(&slice) = firing.slices.front() else {
            return Ok(false);
        };
        let due = match &mut firing.due {
            Some(due) => due,
            None => {
                let due = left.due_keys(slice)?;
                firing
                    .due
                    .insert(due.into_iter().map(|keys| (keys, 0)).collect())
            }
        };
        let Some((keys, next)) = due.front_mut() else {
            left.forget(slice, firing.watermark)?;
            firing.slices.pop_front();
            firing.due = None;
            return Ok(true);
        };
        if *next == keys.num_rows() {
            due.pop_front();
            return Ok(true);
        }
        let key: Vec<ArrayRef> = keys
            .columns()
            .iter()
            .map(|key| key.slice(*next, 1))
            .collect();
        let hash = hash::hash_columns(&key, 1)[0];
        let (end, inclusive) = left.before(&self.operator, firing.watermark)?;
        let range = SortedRange {
            from: None,
            to: Some(bound(&end, inclusive)),
            reverse: false,
        };
        let (rows, counts) = left.rows.range(&key, 0, hash, &range, limit)?;
        if rows.num_rows() == 0 {
            *next += 1;
            return Ok(true);
        }
        let of_key = UInt32Array::from(vec![0; counts.len()]);
        let weights: Vec<i64> = counts.iter().map(|count| -count).collect();
        let hashes = vec![hash; counts.len()];
        left.rows
            .apply(&taken(&key, &of_key)?, &hashes, &rows, &weights)?;
        let matched = self.matched(&key, hash, &rows, &counts)?;
        firing.ready_rows += matched.num_rows();
        firing.ready.push_back(matched);
        Ok(true)
    }

    /// Left rows of one key, in the order of time, with their versions.
    fn matched(
        &self,
        key: &[ArrayRef],
        hash: u64,
        rows: &RecordBatch,
        counts: &[i64],
    ) -> Result<RecordBatch> {
        let right = &self.sides[1];
        let times = self.sides[0].micros(&self.operator, rows)?;
        let mut versions: Vec<RecordBatch> = Vec::new();
        let (mut lefts, mut rights): (Vec<u32>, Vec<Option<u32>>) = (Vec::new(), Vec::new());
        let mut of_last: Option<(i64, bool)> = None;
        for (row, &count) in counts.iter().enumerate() {
            let time = times.value(row);
            // Neighbours are often of one moment.
            let found = match of_last {
                Some((last, found)) if last == time => found,
                _ => match self.version(right, key, hash, time)? {
                    Some(version) => {
                        versions.push(version);
                        true
                    }
                    None => false,
                },
            };
            of_last = Some((time, found));
            if found || self.keeps_left {
                let version = found.then(|| versions.len() as u32 - 1);
                lefts.extend((0..count).map(|_| row as u32));
                rights.extend((0..count).map(|_| version));
            }
        }
        self.paired(taken(rows.columns(), &lefts.into())?, &versions, rights)
    }

    /// Left rows beside their versions, or beside NULLs.
    fn paired(
        &self,
        mut columns: Vec<ArrayRef>,
        versions: &[RecordBatch],
        rights: Vec<Option<u32>>,
    ) -> Result<RecordBatch> {
        let failed = |error| internal(&self.operator, &error);
        let versions = concat_batches(&self.sides[1].schema, versions).map_err(failed)?;
        columns.extend(taken(versions.columns(), &rights.into())?);
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(failed)
    }

    /// The version of a key at a moment.
    fn version(
        &self,
        right: &Side,
        key: &[ArrayRef],
        hash: u64,
        time: i64,
    ) -> Result<Option<RecordBatch>> {
        let (latest, is_earlier) = right.before(&self.operator, time)?;
        let inclusive = is_earlier || !self.strict;
        let range = SortedRange {
            from: None,
            to: Some(bound(&latest, inclusive)),
            reverse: true,
        };
        let (last, _) = right.rows.range(key, 0, hash, &range, 1)?;
        if last.num_rows() == 0 {
            return Ok(None);
        }
        let moment = [last.column(right.time).clone()];
        let range = SortedRange {
            from: Some(bound(&moment, true)),
            to: Some(bound(&moment, true)),
            reverse: false,
        };
        Ok(Some(right.rows.range(key, 0, hash, &range, 1)?.0))
    }

    /// Removes the versions that no left row can ask for: those before the last one that the watermark has passed.
    fn forget_versions(&self, watermark: i64) -> Result<()> {
        let right = &self.sides[1];
        for slice in right.times.slices(watermark) {
            for keys in right.due_keys(slice)? {
                let hashes = hash::hash_columns(keys.columns(), keys.num_rows());
                for (row, &hash) in hashes.iter().enumerate() {
                    let (end, inclusive) = right.before(&self.operator, watermark)?;
                    let range = SortedRange {
                        from: None,
                        to: Some(bound(&end, inclusive)),
                        reverse: true,
                    };
                    let (last, _) = right.rows.range(keys.columns(), row, hash, &range, 1)?;
                    if last.num_rows() == 0 {
                        continue;
                    }
                    let moment = [last.column(right.time).clone()];
                    let range = SortedRange {
                        from: None,
                        to: Some(bound(&moment, false)),
                        reverse: false,
                    };
                    right.rows.remove_range(keys.columns(), row, hash, &range)?;
                }
            }
            right.forget(slice, watermark)?;
        }
        Ok(())
    }
}

impl Side {
    fn micros(&self, operator: &OperatorId, rows: &RecordBatch) -> Result<Int64Array> {
        to_micros(rows.column(self.time))
            .ok_or_else(|| internal_text(operator, "the event-time column is not a timestamp"))
    }

    /// A moment in the type of this side, cut to its unit; and whether something was cut: then it is before the moment.
    fn before(&self, operator: &OperatorId, micros: i64) -> Result<([ArrayRef; 1], bool)> {
        let wrong = || internal_text(operator, "the event-time column is not a timestamp");
        let moment = from_micros(Int64Array::from(vec![micros]), &self.time_type, 0);
        let moment = moment.ok_or_else(wrong)?;
        let exact = to_micros(&moment).ok_or_else(wrong)?;
        Ok(([moment], exact.value(0) < micros))
    }

    /// The keys of a stretch.
    fn due_keys(&self, slice: i64) -> Result<Vec<RecordBatch>> {
        let batches = self.times.keys(slice)?;
        let columns: Vec<usize> = (0..self.keys.len()).collect();
        batches
            .iter()
            .map(|batch| batch.project(&columns))
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| crate::Error::Job(format!("keys of a stretch of time: {error}")))
    }

    /// Forgets a stretch that is over. Of one that is not, all keys are looked at again at the next watermark: a row of
    /// theirs may be due then.
    fn forget(&self, slice: i64, watermark: i64) -> Result<()> {
        if slice.saturating_add(STRETCH) <= watermark {
            self.times.drop_slice(slice)?;
        }
        Ok(())
    }
}

fn bound(moment: &[ArrayRef; 1], inclusive: bool) -> SortBound<'_> {
    SortBound {
        values: moment,
        row: 0,
        inclusive,
    }
}

impl Operator for AsOfJoin {
    fn on_batch(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        if batch.retracted.is_some() {
            let message = "a join as of a point in time cannot take rows back";
            return Err(internal_text(&self.operator, message));
        }
        let side = &self.sides[input];
        let micros = side.micros(&self.operator, &batch.rows)?;
        let nulls: Vec<_> = side
            .keys
            .iter()
            .filter_map(|&key| batch.rows.column(key).logical_nulls())
            .collect();
        let mut kept = Vec::with_capacity(batch.num_rows());
        let (mut alone, mut late): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        for row in (0..batch.num_rows()).filter(|&row| micros.is_valid(row)) {
            if own_watermark(&batch, row).is_some_and(|own| micros.value(row) < own) {
                late.push(row as u32);
            } else if nulls.iter().all(|nulls| nulls.is_valid(row)) {
                kept.push(row as u32);
            } else if input == 0 && self.keeps_left {
                alone.push(row as u32);
            }
        }
        ctx.leave_out(input, &batch, &late, |row| micros.value(row))?;
        // Something is to be done when the watermark is beyond the row.
        side.times
            .keep(&side.rows, &batch.rows, &side.keys, kept, |row| {
                Due::in_stretch(micros.value(row).saturating_add(1), STRETCH)
            })?;
        if !alone.is_empty() {
            let (rights, counts) = (vec![None; alone.len()], vec![1; alone.len()]);
            let columns = taken(batch.rows.columns(), &alone.into())?;
            let rows = self.paired(columns, &[], rights)?;
            self.without_key.push(rows, counts, Vec::new());
        }
        self.resume(ctx)
    }

    fn on_watermark(
        &mut self,
        watermark: Watermark,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let firing = Firing {
            watermark: watermark.0,
            slices: self.sides[0].times.slices(watermark.0).into(),
            due: None,
            ready: VecDeque::new(),
            ready_rows: 0,
        };
        self.fire(firing, ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        if let Some(batch) = self.without_key.next(ctx.batch_rows)? {
            ctx.emit(batch);
            return Ok(Progress::More);
        }
        match self.firing.take() {
            Some(firing) => self.fire(firing, ctx),
            None => Ok(Progress::Done),
        }
    }
}
