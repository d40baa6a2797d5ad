//! SESSION as it stands in FROM: each row once its session is over, with the session's window.
//!
//! ```text
//!   row at t ──▶ rows[key], in the order of time          times: t + gap ─▶ key
//!   watermark ≥ t + gap, and no row of the key in between: everything before t + gap is one session ─▶ given, removed
//! ```
//!
//! A session `[first row, last row + gap)` is known by its last row: the row after which nothing comes for `gap`. Every row
//! notes the moment when the session would be over if it was the last one. When the watermark reaches that moment, and
//! there is a later row within the gap, nothing happens: that row has noted a later moment. Otherwise the session is over,
//! because no row is still to come that is older than the watermark. Sessions before it were over before it.
//!
//! Rows are kept until their session is over; only then is it known which window they are in. A row that is taken back before
//! leaves the state, and its session may fall into two: the rows before it have noted their own moments, which have not come yet,
//! because a retraction that is not late is not older than the watermark. What is given is never taken back.
//!
//! # Invariants
//! 1. A row older than its own watermark is late. The order in which the others come, and how they are cut into batches,
//!    plays no part in which session they are in.
//! 2. Sessions of one key are given in the order of time; a session is given and removed in one go.
//! 3. Moments are kept by stretches of time that are shorter than the gap, so that a key notes one moment in each.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, SchemaRef};
use weir_state::{SortBound, SortedRange, SortedTable};
use weir_types::{ChangeBatch, DataType, OperatorId, ProcessingTime, Watermark, hash};

use super::build::{internal, internal_text};
use super::due::{Due, DueKeys, taken};
use super::window_assign::own_watermark;
use super::windows::{from_micros, to_micros};
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// SESSION.
pub(super) struct Session {
    pub(super) operator: OperatorId,
    /// Microseconds.
    pub(super) gap: i64,
    /// The input's event-time column.
    pub(super) time: usize,
    /// Its type, and that of the window's columns.
    pub(super) time_type: DataType,
    /// Partition columns of the input.
    pub(super) keys: Vec<usize>,
    pub(super) rows: SortedTable,
    pub(super) times: DueKeys,
    /// The output's columns; the last three are the window's.
    pub(super) schema: SchemaRef,
    pub(super) firing: Option<Firing>,
}

/// Sessions on their way out.
pub(super) struct Firing {
    watermark: i64,
    /// Stretches of time with moments that may be due, in order.
    slices: VecDeque<i64>,
    /// What is due of the first stretch; `None`: not looked up yet.
    due: Option<VecDeque<DueSessions>>,
    /// The session that is being given: when it began and when it ended.
    session: Option<(i64, i64)>,
    /// Rows that are ready, and how many.
    ready: VecDeque<RecordBatch>,
    ready_rows: usize,
}

/// Keys with a moment that is due.
struct DueSessions {
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    at: Vec<i64>,
    next: usize,
}

impl Session {
    fn stretch(&self) -> i64 {
        (self.gap / 8).max(1)
    }

    fn fire(&mut self, mut firing: Firing, ctx: &mut OperatorContext) -> Result<Progress> {
        let limit = ctx.batch_rows.max(1);
        while firing.ready_rows < limit && self.step(&mut firing, limit)? {}
        if firing.ready_rows == 0 {
            return Ok(Progress::Done);
        }
        ctx.emit(self.ready(&mut firing, limit)?);
        self.firing = Some(firing);
        Ok(Progress::More)
    }

    /// Makes more rows ready; `false` if nothing more is due.
    fn step(&self, firing: &mut Firing, limit: usize) -> Result<bool> {
        let Some(&slice) = firing.slices.front() else {
            return Ok(false);
        };
        let due = match &mut firing.due {
            Some(due) => due,
            None => firing.due.insert(self.due_of(slice, firing.watermark)?),
        };
        let Some(keys) = due.front_mut() else {
            self.forget(slice, firing.watermark)?;
            firing.slices.pop_front();
            firing.due = None;
            return Ok(true);
        };
        let Some(&at) = keys.at.get(keys.next) else {
            due.pop_front();
            return Ok(true);
        };
        if firing.session.is_none() && self.goes_on(keys, at)? {
            keys.next += 1;
            return Ok(true);
        }
        let (rows, counts) = self.rows_before(keys, at, limit)?;
        if rows.num_rows() == 0 {
            firing.session = None;
            keys.next += 1;
            return Ok(true);
        }
        let (start, end) = match firing.session {
            Some(session) => session,
            None => *firing.session.insert((self.micros(&rows)?.value(0), at)),
        };
        let key: Vec<ArrayRef> = keys
            .keys
            .iter()
            .map(|key| key.slice(keys.next, 1))
            .collect();
        let hash = keys.hashes[keys.next];
        self.remove(&key, hash, &rows, &counts)?;
        let given = self.windowed(&rows, &counts, start, end)?;
        firing.ready_rows += given.num_rows();
        firing.ready.push_back(given);
        Ok(true)
    }

    /// The keys of a stretch whose moment has come.
    fn due_of(&self, slice: i64, watermark: i64) -> Result<VecDeque<DueSessions>> {
        let mut all = VecDeque::new();
        for batch in self.times.keys(slice)? {
            let width = batch.num_columns() - 1;
            let at = batch.column(width).as_primitive::<Int64Type>();
            let due: Vec<u32> = (0..batch.num_rows())
                .filter(|&row| at.value(row) <= watermark)
                .map(|row| row as u32)
                .collect();
            if due.is_empty() {
                continue;
            }
            let due = UInt32Array::from(due);
            let keys = taken(&batch.columns()[..width], &due)?;
            all.push_back(DueSessions {
                hashes: hash::hash_columns(&keys, due.len()),
                keys,
                at: due
                    .values()
                    .iter()
                    .map(|&row| at.value(row as usize))
                    .collect(),
                next: 0,
            });
        }
        Ok(all)
    }

    /// Forgets the moments of a stretch that have come.
    fn forget(&self, slice: i64, watermark: i64) -> Result<()> {
        if slice.saturating_add(self.stretch()) <= watermark {
            return self.times.drop_slice(slice);
        }
        for due in self.due_of(slice, watermark)? {
            self.times.remove(slice, &due.keys, &due.hashes)?;
        }
        Ok(())
    }

    fn moment(&self, micros: i64) -> Result<ArrayRef> {
        from_micros(Int64Array::from(vec![micros]), &self.time_type, 0)
            .ok_or_else(|| self.no_time())
    }

    fn no_time(&self) -> crate::Error {
        internal_text(&self.operator, "the event-time column is not a timestamp")
    }

    fn micros(&self, rows: &RecordBatch) -> Result<Int64Array> {
        to_micros(rows.column(self.time)).ok_or_else(|| self.no_time())
    }

    /// Whether a later row than the one that noted `at` is in the same session.
    fn goes_on(&self, keys: &DueSessions, at: i64) -> Result<bool> {
        let (last, end) = ([self.moment(at - self.gap)?], [self.moment(at)?]);
        let range = SortedRange {
            from: Some(bound(&last)),
            to: Some(bound(&end)),
            reverse: false,
        };
        let (rows, _) =
            self.rows
                .range(&keys.keys, keys.next, keys.hashes[keys.next], &range, 1)?;
        Ok(rows.num_rows() > 0)
    }

    /// The first rows of a key before a moment.
    fn rows_before(
        &self,
        keys: &DueSessions,
        at: i64,
        limit: usize,
    ) -> Result<(RecordBatch, Vec<i64>)> {
        let end = [self.moment(at)?];
        let range = SortedRange {
            from: None,
            to: Some(bound(&end)),
            reverse: false,
        };
        let (row, hash) = (keys.next, keys.hashes[keys.next]);
        Ok(self.rows.range(&keys.keys, row, hash, &range, limit)?)
    }

    fn remove(
        &self,
        key: &[ArrayRef],
        hash: u64,
        rows: &RecordBatch,
        counts: &[i64],
    ) -> Result<()> {
        let count = rows.num_rows();
        let of_key = UInt32Array::from(vec![0; count]);
        let weights: Vec<i64> = counts.iter().map(|count| -count).collect();
        let keys = taken(key, &of_key)?;
        Ok(self.rows.apply(&keys, &vec![hash; count], rows, &weights)?)
    }

    /// Rows, each as often as it is there, with their window.
    fn windowed(
        &self,
        rows: &RecordBatch,
        counts: &[i64],
        start: i64,
        end: i64,
    ) -> Result<RecordBatch> {
        let copies = counts.iter().enumerate();
        let indices: UInt32Array = copies
            .flat_map(|(row, &count)| (0..count).map(move |_| Some(row as u32)))
            .collect();
        let count = indices.len();
        let mut columns = taken(rows.columns(), &indices)?;
        for (micros, less_units) in [(start, 0), (end, 0), (end, 1)] {
            let micros = Int64Array::from_value(micros, count);
            let column = from_micros(micros, &self.time_type, less_units);
            columns.push(column.ok_or_else(|| self.no_time())?);
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| internal(&self.operator, &error))
    }

    /// As many of the ready rows as fit into a batch.
    fn ready(&self, firing: &mut Firing, limit: usize) -> Result<ChangeBatch> {
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
        Ok(ChangeBatch::append_only(
            rows.map_err(|error| internal(&self.operator, &error))?,
        ))
    }
}

fn bound(moment: &[ArrayRef; 1]) -> SortBound<'_> {
    SortBound {
        values: moment,
        row: 0,
        inclusive: false,
    }
}

impl Operator for Session {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let micros = self.micros(&batch.rows)?;
        let (mut kept, mut late) = (Vec::with_capacity(batch.num_rows()), Vec::new());
        for row in (0..batch.num_rows()).filter(|&row| micros.is_valid(row)) {
            if own_watermark(&batch, row).is_some_and(|own| micros.value(row) < own) {
                late.push(row as u32);
            } else {
                kept.push(row as u32);
            }
        }
        ctx.leave_out(0, &batch, &late, |row| micros.value(row))?;
        let stretch = self.stretch();
        self.times
            .keep_changes(&self.rows, &batch, &self.keys, kept, |row| {
                Due::in_stretch(micros.value(row).saturating_add(self.gap), stretch)
            })?;
        Ok(Progress::Done)
    }

    fn on_watermark(
        &mut self,
        watermark: Watermark,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let firing = Firing {
            watermark: watermark.0,
            slices: self.times.slices(watermark.0).into(),
            due: None,
            session: None,
            ready: VecDeque::new(),
            ready_rows: 0,
        };
        self.fire(firing, ctx)
    }

    fn next_due(&self, now: ProcessingTime) -> Result<Option<i64>> {
        self.times.next(now.0)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.firing.take() {
            Some(firing) => self.fire(firing, ctx),
            None => Ok(Progress::Done),
        }
    }
}
