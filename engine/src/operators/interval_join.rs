//! Join of two append-only inputs whose event times are at most so far apart.
//!
//! ```text
//!   lower ≤ left time − right time ≤ upper
//!
//!   left  ──▶ [left rows by key]  ◀── probed by right rows     a row goes when the watermark is beyond the last moment
//!   right ──▶ [right rows by key] ◀── probed by left rows      that a partner can have: its reach
//! ```
//!
//! **Late** is a *pair*: when on the own split of one of its rows no partner of the other could still come, that is when
//! the own watermark of one is beyond the reach of the other. Both are properties of the rows, and so it plays no part
//! which of them came first here, and when a row that cannot be reached any more is removed. A row for which all pairs are
//! late is counted, and left out at once.
//!
//! A pair can be older than the watermark by the greater of `upper` and `−lower`: the watermark that is forwarded is
//! lowered by it, and so is the own watermark of a pair with a row that was behind.
//!
//! # Invariants
//! 1. Each side holds every row that a partner may still reach, and its own watermark.
//! 2. A call gives at most one batch; until the pairs of a batch are all given no other call comes.
//! 3. A row whose key or time is NULL matches nothing, and is not kept.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{Int64Type, SchemaRef};
use weir_state::{Matches, MultiMapTable, ProbeCursor};
use weir_types::{ChangeBatch, OperatorId, Watermark, hash};

use super::build::{internal, internal_text};
use super::due::{Due, DueKeys, taken};
use super::residual::Residual;
use super::window_assign::own_watermark;
use super::windows::to_micros;
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// Keys whose rows are looked through in one go when they expire.
const KEYS_PER_CHUNK: usize = 1024;

/// Interval join.
pub(super) struct IntervalJoin {
    pub(super) operator: OperatorId,
    pub(super) sides: [Side; 2],
    /// Microseconds, inclusive.
    pub(super) lower: i64,
    pub(super) upper: i64,
    /// By how much pairs can be older than the watermark.
    pub(super) delay: i64,
    pub(super) residual: Residual,
    pub(super) schema: SchemaRef,
    pub(super) watermark: Watermark,
    pub(super) pending: Option<Pending>,
}

/// One side.
pub(super) struct Side {
    /// Key columns of the input.
    pub(super) keys: Vec<usize>,
    /// Its event-time column.
    pub(super) time: usize,
    /// All columns of the input, then the own watermark.
    pub(super) rows: MultiMapTable,
    /// Keys by when rows of theirs go.
    pub(super) times: DueKeys,
    /// Columns of the rows as they are kept.
    pub(super) stored: SchemaRef,
}

/// A batch whose pairs are not all given yet.
pub(super) struct Pending {
    side: usize,
    batch: ChangeBatch,
    micros: Int64Array,
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    /// Where the probe goes on; `None` when it is at its end.
    cursor: Option<ProbeCursor>,
    found: Option<Found>,
}

/// Matches that are not all given yet.
struct Found {
    matches: Matches,
    /// Those that are pairs, with the pair's own watermark.
    pairs: Vec<(u32, Option<i64>)>,
    next: usize,
    /// Copies of pair `next` that were given.
    copies: i64,
}

impl IntervalJoin {
    /// The last moment that a partner of a row can have.
    fn reach(&self, side: usize, time: i64) -> i64 {
        if side == 0 {
            time.saturating_sub(self.lower)
        } else {
            time.saturating_add(self.upper)
        }
    }

    /// The stretch of time under which a row's key is kept until it goes.
    fn due(&self, side: usize, time: i64) -> Due {
        let grain = (self.upper.saturating_sub(self.lower) / 16).max(1_000_000);
        let at = self.reach(side, time);
        let slice = (at.div_euclid(grain) + 1).saturating_mul(grain);
        Due { slice, at }
    }

    fn micros(&self, side: usize, rows: &RecordBatch) -> Result<Int64Array> {
        to_micros(rows.column(self.sides[side].time)).ok_or_else(|| {
            internal_text(&self.operator, "the event-time column is not a timestamp")
        })
    }

    /// The rows that may have partners.
    fn sifted(
        &self,
        side: usize,
        batch: &ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<ChangeBatch> {
        let micros = self.micros(side, &batch.rows)?;
        let keys = &self.sides[side].keys;
        let nulls: Vec<_> = keys
            .iter()
            .filter_map(|&key| batch.rows.column(key).logical_nulls())
            .collect();
        let span = self.upper.saturating_sub(self.lower);
        let (mut kept, mut late) = (Vec::with_capacity(batch.num_rows()), Vec::new());
        for row in 0..batch.num_rows() {
            if micros.is_null(row) || nulls.iter().any(|nulls| nulls.is_null(row)) {
                continue;
            }
            let end = micros.value(row).saturating_add(span);
            if own_watermark(batch, row).is_some_and(|own| own > end) {
                late.push(row as u32);
                continue;
            }
            kept.push(row as u32);
        }
        ctx.leave_out(side, batch, &late, |row| micros.value(row))?;
        if kept.len() == batch.num_rows() {
            return Ok(batch.clone());
        }
        let kept = batch.take(&UInt32Array::from(kept));
        kept.map_err(|error| internal(&self.operator, &error))
    }

    /// Keeps the rows that a partner may still reach.
    fn keep(
        &self,
        side: usize,
        batch: &ChangeBatch,
        micros: &Int64Array,
        keys: &[ArrayRef],
        hashes: &[u64],
    ) -> Result<()> {
        let reachable =
            |row: &u32| self.reach(side, micros.value(*row as usize)) >= self.watermark.0;
        let rows: Vec<u32> = (0..batch.num_rows() as u32).filter(reachable).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let dues: Vec<Due> = rows
            .iter()
            .map(|&row| self.due(side, micros.value(row as usize)))
            .collect();
        let own: Int64Array = rows
            .iter()
            .map(|&row| own_watermark(batch, row as usize))
            .collect();
        let hashes: Vec<u64> = rows.iter().map(|&row| hashes[row as usize]).collect();
        let rows = UInt32Array::from(rows);
        let keys = taken(keys, &rows)?;
        let mut columns = taken(batch.rows.columns(), &rows)?;
        columns.push(Arc::new(own));
        let stored = RecordBatch::try_new(self.sides[side].stored.clone(), columns)
            .map_err(|error| internal(&self.operator, &error))?;
        let weights = vec![1; hashes.len()];
        self.sides[side]
            .rows
            .apply(&keys, &hashes, &stored, &weights)?;
        self.sides[side].times.note(&dues, &keys, &hashes)
    }

    /// Which of the matches are pairs.
    fn pairs_of(&self, pending: &Pending, matches: &Matches) -> Result<Vec<(u32, Option<i64>)>> {
        let (side, other) = (pending.side, 1 - pending.side);
        let stored_micros = self.micros(other, &matches.rows)?;
        let stored_own = matches.rows.columns().last();
        let stored_own = stored_own
            .and_then(|own| own.as_primitive_opt::<Int64Type>())
            .ok_or_else(|| internal_text(&self.operator, "a row without its own watermark"))?;
        let mut pairs = Vec::new();
        for (i, &probing) in matches.probe_rows.values().iter().enumerate() {
            let (time, stored) = (
                pending.micros.value(probing as usize),
                stored_micros.value(i),
            );
            let (left, right) = if side == 0 {
                (time, stored)
            } else {
                (stored, time)
            };
            let difference = left.saturating_sub(right);
            if !(self.lower..=self.upper).contains(&difference) {
                continue;
            }
            let own = own_watermark(&pending.batch, probing as usize);
            let other_own = stored_own.is_valid(i).then(|| stored_own.value(i));
            let late = own.is_some_and(|own| own > self.reach(other, stored))
                || other_own.is_some_and(|own| own > self.reach(side, time));
            if !late {
                let own = own.max(other_own).map(|own| own.saturating_sub(self.delay));
                pairs.push((i as u32, own));
            }
        }
        Ok(pairs)
    }

    fn give(&mut self, mut pending: Pending, ctx: &mut OperatorContext) -> Result<Progress> {
        let limit = ctx.batch_rows.max(1);
        if pending.found.is_none()
            && let Some(cursor) = pending.cursor.take()
        {
            let other = &self.sides[1 - pending.side].rows;
            let (matches, cursor) =
                other.probe(&pending.keys, &pending.hashes, None, cursor, limit)?;
            pending.cursor = cursor;
            pending.found = Some(Found {
                pairs: self.pairs_of(&pending, &matches)?,
                matches,
                next: 0,
                copies: 0,
            });
        }
        if let Some(mut found) = pending.found.take() {
            let pairs = found.expand(limit);
            if !pairs.is_empty() {
                let batch = self.paired(&pending, &found.matches, &pairs)?;
                let holds = self.residual.holds(&batch.rows, ctx.now)?;
                ctx.failed.append(&mut self.residual.errors);
                let batch = match holds {
                    Some(keep) => batch
                        .filter(&keep)
                        .map_err(|error| internal(&self.operator, &error))?,
                    None => batch,
                };
                ctx.emit(batch);
            }
            pending.found = (found.next < found.pairs.len()).then_some(found);
        }
        if pending.found.is_some() || pending.cursor.is_some() {
            self.pending = Some(pending);
            return Ok(Progress::More);
        }
        Ok(Progress::Done)
    }

    /// Pairs as rows: (probing row, match, own watermark).
    fn paired(
        &self,
        pending: &Pending,
        matches: &Matches,
        pairs: &[(u32, u32, Option<i64>)],
    ) -> Result<ChangeBatch> {
        let probing: UInt32Array = pairs.iter().map(|pair| Some(pair.0)).collect();
        let matching: UInt32Array = pairs.iter().map(|pair| Some(pair.1)).collect();
        let probing = taken(pending.batch.rows.columns(), &probing)?;
        let width = matches.rows.num_columns() - 1;
        let stored = taken(&matches.rows.columns()[..width], &matching)?;
        let (left, right) = if pending.side == 0 {
            (probing, stored)
        } else {
            (stored, probing)
        };
        let columns = left.into_iter().chain(right).collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        let is_behind = pairs.iter().any(|pair| pair.2.is_some());
        Ok(ChangeBatch {
            rows: rows.map_err(|error| internal(&self.operator, &error))?,
            retracted: None,
            own_watermark: is_behind.then(|| pairs.iter().map(|pair| pair.2).collect()),
        })
    }

    /// Removes the rows that the watermark has passed.
    fn expire(&self, side: usize) -> Result<()> {
        let times = &self.sides[side].times;
        for slice in times.slices(self.watermark.0) {
            for batch in times.keys(slice)? {
                for start in (0..batch.num_rows()).step_by(KEYS_PER_CHUNK) {
                    let keys = batch.slice(start, KEYS_PER_CHUNK.min(batch.num_rows() - start));
                    self.expire_keys(side, &keys.columns()[..keys.num_columns() - 1], slice)?;
                }
            }
            times.drop_slice(slice)?;
        }
        Ok(())
    }

    /// Removes the rows of these keys that go before `slice` ends.
    fn expire_keys(&self, side: usize, keys: &[ArrayRef], slice: i64) -> Result<()> {
        let rows = &self.sides[side].rows;
        let count = keys.first().map_or(1, |key| key.len());
        let hashes = hash::hash_columns(keys, count);
        let mut expired = Vec::new();
        let mut cursor = Some(ProbeCursor::default());
        while let Some(at) = cursor {
            let (matches, next) = rows.probe(keys, &hashes, None, at, 8192)?;
            cursor = next;
            let micros = self.micros(side, &matches.rows)?;
            let goes = |row: &u32| self.reach(side, micros.value(*row as usize)) < slice;
            let gone: Vec<u32> = (0..micros.len() as u32).filter(goes).collect();
            if !gone.is_empty() {
                let gone = UInt32Array::from(gone);
                let stored = taken(matches.rows.columns(), &gone)?;
                let of_key: UInt32Array = gone
                    .values()
                    .iter()
                    .map(|&row| Some(matches.probe_rows.value(row as usize)))
                    .collect();
                let weights: Vec<i64> = gone
                    .values()
                    .iter()
                    .map(|&row| -matches.counts[row as usize])
                    .collect();
                expired.push((stored, of_key, weights));
            }
        }
        for (stored, of_key, weights) in expired {
            let stored = RecordBatch::try_new(self.sides[side].stored.clone(), stored)
                .map_err(|error| internal(&self.operator, &error))?;
            let hashes: Vec<u64> = of_key
                .values()
                .iter()
                .map(|&key| hashes[key as usize])
                .collect();
            rows.apply(&taken(keys, &of_key)?, &hashes, &stored, &weights)?;
        }
        Ok(())
    }
}

impl Found {
    /// The next pairs, `limit` at most: probing row, match, own watermark.
    fn expand(&mut self, limit: usize) -> Vec<(u32, u32, Option<i64>)> {
        let mut pairs = Vec::new();
        while self.next < self.pairs.len() && pairs.len() < limit {
            let (matching, own) = self.pairs[self.next];
            let all = self.matches.counts[matching as usize];
            let room = i64::try_from(limit - pairs.len()).unwrap_or(i64::MAX);
            let copies = (all - self.copies).min(room);
            let probing = self.matches.probe_rows.value(matching as usize);
            pairs.extend((0..copies).map(|_| (probing, matching, own)));
            self.copies += copies;
            if self.copies >= all {
                (self.next, self.copies) = (self.next + 1, 0);
            }
        }
        pairs
    }
}

impl Operator for IntervalJoin {
    fn on_batch(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        if batch.retracted.is_some() {
            let message = "an interval join cannot take rows back";
            return Err(internal_text(&self.operator, message));
        }
        let batch = self.sifted(input, &batch, ctx)?;
        if batch.num_rows() == 0 {
            return Ok(Progress::Done);
        }
        let micros = self.micros(input, &batch.rows)?;
        let columns = self.sides[input].keys.iter();
        let keys: Vec<ArrayRef> = columns.map(|&key| batch.rows.column(key).clone()).collect();
        let hashes = hash::hash_columns(&keys, batch.num_rows());
        self.keep(input, &batch, &micros, &keys, &hashes)?;
        self.give(
            Pending {
                side: input,
                batch,
                micros,
                keys,
                hashes,
                cursor: Some(ProbeCursor::default()),
                found: None,
            },
            ctx,
        )
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut OperatorContext) -> Result<Progress> {
        self.watermark = self.watermark.max(watermark);
        self.expire(0)?;
        self.expire(1)?;
        Ok(Progress::Done)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.pending.take() {
            Some(pending) => self.give(pending, ctx),
            None => Ok(Progress::Done),
        }
    }

    fn watermark_delay(&self) -> i64 {
        self.delay
    }

    fn rejected_rows(&self) -> u64 {
        self.residual.rejected_rows
    }
}
