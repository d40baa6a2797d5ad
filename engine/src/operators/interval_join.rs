//! Join of two append-only inputs whose event times are at most so far apart.
//!
//! ```text
//!   lower ≤ left time − right time ≤ upper
//!
//!   left  ──▶ [left rows by key and time]  ◀── probed by right rows     a row goes when the watermark is beyond the last
//!   right ──▶ [right rows by key and time] ◀── probed by left rows      moment that a partner can have: its reach
//! ```
//!
//! **Late** is a *pair*: when on the own split of one of its rows no partner of the other could still come, that is when
//! the own watermark of one is beyond the reach of the other. Both are properties of the rows, and so it plays no part
//! which of them came first here, and when a row that cannot be reached any more is removed. A row for which all pairs are
//! late is left out at once, and counted, unless it is given without a partner.
//!
//! Of outer and anti joins a row without a partner is given when the watermark is beyond its reach ([`super::interval_expiry`]):
//! a partner that comes later is late for it. Whether it has one follows from which pairs are late, and so from the rows
//! alone again. A row that is behind its reach when it comes is decided at once.
//!
//! A pair can be older than the watermark by the greater of `upper` and `−lower`: the watermark that is forwarded is
//! lowered by it, and so is the own watermark of a pair with a row that was behind.
//!
//! # Invariants
//! 1. Each side holds every row that a partner may still reach, and its own watermark. A side whose rows are given without
//!    a partner holds whether each has one; of a semi or anti join the left side holds rows without one alone.
//! 2. A call gives at most one batch; until the pairs of a batch are all given no other call comes.
//! 3. A row whose key or time is NULL matches nothing, and is not kept.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{Int64Type, SchemaRef};
use weir_state::{EachRange, Matches, RangeCursor, SortedTable};
use weir_types::{ChangeBatch, DataType, OperatorId, Watermark, hash};

use super::build::{internal, internal_text};
use super::due::{Due, DueKeys, taken};
use super::interval_expiry::Expiry;
use super::ready::Ready;
use super::residual::Residual;
use super::shape::{Alone, Shape};
use super::window_assign::own_watermark;
use super::windows::{from_micros, to_micros};
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// Interval join.
pub(super) struct IntervalJoin {
    pub(super) operator: OperatorId,
    pub(super) sides: [Side; 2],
    pub(super) shape: Shape,
    /// Microseconds, inclusive.
    pub(super) lower: i64,
    pub(super) upper: i64,
    /// By how much rows can be older than the watermark.
    pub(super) delay: i64,
    pub(super) residual: Residual,
    pub(super) watermark: Watermark,
    pub(super) ready: Ready,
    pub(super) work: Option<Work>,
}

/// One side.
pub(super) struct Side {
    /// Key columns of the input.
    pub(super) keys: Vec<usize>,
    /// Its event-time column, and its type.
    pub(super) time: usize,
    pub(super) time_type: DataType,
    /// All columns of the input, then the own watermark, then (if it marks) whether the row has a partner.
    pub(super) rows: SortedTable,
    /// Keys by when rows of theirs go.
    pub(super) times: DueKeys,
    /// Columns of the rows as they are kept.
    pub(super) stored: SchemaRef,
    /// Columns of the input.
    pub(super) width: usize,
    pub(super) alone: Alone,
    /// Whether rows are kept with a mark that says that they have a partner.
    pub(super) marks: bool,
}

/// What a call could not do at once.
pub(super) enum Work {
    Probe(Probe),
    Expiry(Expiry),
}

/// A batch whose partners are not all found yet.
pub(super) struct Probe {
    side: usize,
    batch: ChangeBatch,
    micros: Int64Array,
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    /// First and last moment of each row's partners, in the type of the other side.
    from: ArrayRef,
    to: ArrayRef,
    cursor: RangeCursor,
    /// For each row whether it has a partner.
    has_partner: Vec<bool>,
}

/// A pair: the probing row, the match, the pair's own watermark.
type Pair = (u32, u32, Option<i64>);

impl IntervalJoin {
    /// The last moment that a partner of a row can have.
    pub(super) fn reach(&self, side: usize, time: i64) -> i64 {
        if side == 0 {
            time.saturating_sub(self.lower)
        } else {
            time.saturating_add(self.upper)
        }
    }

    /// The first moment that a partner of a row can have.
    fn reach_back(&self, side: usize, time: i64) -> i64 {
        if side == 0 {
            time.saturating_sub(self.upper)
        } else {
            time.saturating_add(self.lower)
        }
    }

    pub(super) fn micros(&self, side: usize, rows: &RecordBatch) -> Result<Int64Array> {
        to_micros(rows.column(self.sides[side].time)).ok_or_else(|| self.no_timestamp())
    }

    /// Moments in the type of a side's event time, cut to its unit.
    pub(super) fn moments(&self, side: usize, micros: Int64Array) -> Result<ArrayRef> {
        let moments = from_micros(micros, &self.sides[side].time_type, 0);
        moments.ok_or_else(|| self.no_timestamp())
    }

    fn no_timestamp(&self) -> crate::Error {
        internal_text(&self.operator, "the event-time column is not a timestamp")
    }

    /// The own watermark of what comes of a row by itself.
    pub(super) fn own_of_result(&self, own: Option<i64>) -> Option<i64> {
        own.map(|own| own.saturating_sub(self.delay))
    }

    // ------------------------------------------------------------------ rows that come

    /// The rows that may have partners. Of a side whose rows are given without one the others are given at once.
    fn sifted(
        &mut self,
        side: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<ChangeBatch> {
        let micros = self.micros(side, &batch.rows)?;
        let keys = &self.sides[side].keys;
        let nulls: Vec<_> = keys
            .iter()
            .filter_map(|&key| batch.rows.column(key).logical_nulls())
            .collect();
        let span = self.upper.saturating_sub(self.lower);
        let is_given = self.sides[side].alone == Alone::Unmatched;
        let (mut kept, mut alone) = (Vec::with_capacity(batch.num_rows()), Vec::new());
        let mut late = Vec::new();
        for row in 0..batch.num_rows() {
            if micros.is_null(row) || nulls.iter().any(|nulls| nulls.is_null(row)) {
                alone.push(row as u32);
                continue;
            }
            let end = micros.value(row).saturating_add(span);
            if own_watermark(&batch, row).is_some_and(|own| own > end) {
                if !is_given {
                    late.push(row as u32);
                }
                alone.push(row as u32);
                continue;
            }
            kept.push(row as u32);
        }
        if alone.is_empty() {
            return Ok(batch);
        }
        ctx.leave_out(side, &batch, &late, |row| micros.value(row))?;
        if is_given {
            self.give_by_itself(side, &batch, &alone)?;
        }
        let kept = batch.take(&UInt32Array::from(kept));
        kept.map_err(|error| internal(&self.operator, &error))
    }

    /// Rows of a batch that are given for themselves.
    fn give_by_itself(&mut self, side: usize, batch: &ChangeBatch, rows: &[u32]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let own = rows.iter().map(|&row| own_watermark(batch, row as usize));
        let own = own.map(|own| self.own_of_result(own)).collect();
        let columns = taken(batch.rows.columns(), &UInt32Array::from(rows.to_vec()))?;
        let rows = self.shape.by_itself(side, columns)?;
        let counts = vec![1; rows.num_rows()];
        self.ready.push(rows, counts, own);
        Ok(())
    }

    fn begin(&self, side: usize, batch: ChangeBatch) -> Result<Probe> {
        let micros = self.micros(side, &batch.rows)?;
        let columns = self.sides[side].keys.iter();
        let keys: Vec<ArrayRef> = columns.map(|&key| batch.rows.column(key).clone()).collect();
        let hashes = hash::hash_columns(&keys, batch.num_rows());
        let from = micros.unary(|time| self.reach_back(side, time));
        let to = micros.unary(|time| self.reach(side, time));
        Ok(Probe {
            side,
            has_partner: vec![false; batch.num_rows()],
            from: self.moments(1 - side, from)?,
            to: self.moments(1 - side, to)?,
            cursor: RangeCursor::default(),
            batch,
            micros,
            keys,
            hashes,
        })
    }

    /// Finds more partners; at the end the rows are kept.
    fn probe(&mut self, mut probe: Probe, ctx: &mut OperatorContext) -> Result<Option<Work>> {
        let other = 1 - probe.side;
        let (from, to) = ([probe.from.clone()], [probe.to.clone()]);
        let range = EachRange {
            from: Some(&from),
            to: Some(&to),
            marks: usize::from(self.sides[other].marks),
        };
        let start = std::mem::take(&mut probe.cursor);
        let rows = &self.sides[other].rows;
        let limit = ctx.batch_rows.max(1);
        let (matches, next) = rows.probe(&probe.keys, &probe.hashes, range, start, limit)?;
        let pairs = self.pairs_of(&probe, &matches)?;
        self.take_pairs(&mut probe, &matches, pairs, ctx)?;
        Ok(match next {
            Some(cursor) => {
                probe.cursor = cursor;
                Some(Work::Probe(probe))
            }
            None => {
                self.settle(&probe)?;
                None
            }
        })
    }

    /// Which of the matches are pairs: near enough, and not late.
    fn pairs_of(&self, probe: &Probe, matches: &Matches) -> Result<Vec<Pair>> {
        let (side, other) = (probe.side, 1 - probe.side);
        let stored_micros = self.micros(other, &matches.rows)?;
        let stored_own = self.stored_own(other, &matches.rows)?;
        let mut pairs = Vec::new();
        for (i, &probing) in matches.probe_rows.values().iter().enumerate() {
            let (time, stored) = (probe.micros.value(probing as usize), stored_micros.value(i));
            let (left, right) = if side == 0 {
                (time, stored)
            } else {
                (stored, time)
            };
            let difference = left.saturating_sub(right);
            if !(self.lower..=self.upper).contains(&difference) {
                continue;
            }
            let own = own_watermark(&probe.batch, probing as usize);
            let other_own = stored_own.is_valid(i).then(|| stored_own.value(i));
            let late = own.is_some_and(|own| own > self.reach(other, stored))
                || other_own.is_some_and(|own| own > self.reach(side, time));
            if !late {
                pairs.push((probing, i as u32, self.own_of_result(own.max(other_own))));
            }
        }
        Ok(pairs)
    }

    /// The own watermarks of kept rows.
    pub(super) fn stored_own<'r>(
        &self,
        side: usize,
        rows: &'r RecordBatch,
    ) -> Result<&'r Int64Array> {
        rows.column(self.sides[side].width)
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| internal_text(&self.operator, "a row without its own watermark"))
    }

    /// For each kept row whether it has a partner; `None` where no row of the side does, as far as it is kept.
    pub(super) fn marks<'r>(
        &self,
        side: usize,
        rows: &'r RecordBatch,
    ) -> Result<Option<&'r BooleanArray>> {
        if !self.sides[side].marks {
            return Ok(None);
        }
        let marks = rows.column(self.sides[side].width + 1).as_boolean_opt();
        marks
            .map(Some)
            .ok_or_else(|| internal_text(&self.operator, "a row without its mark"))
    }

    /// Judges pairs by what else must hold, gives them, and notes who has a partner now.
    fn take_pairs(
        &mut self,
        probe: &mut Probe,
        matches: &Matches,
        mut pairs: Vec<Pair>,
        ctx: &mut OperatorContext,
    ) -> Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        let mut rows = None;
        if self.shape.gives_pairs() || !self.residual.is_none() {
            let batch = self.paired(probe, matches, &pairs)?;
            let counts = counts_of(matches, &pairs);
            let holds = self.residual.holds(&batch, &counts, ctx.now)?;
            ctx.failed.append(&mut self.residual.errors);
            rows = Some(match holds {
                None => batch,
                Some(keep) => {
                    let mut kept = keep.iter().map(|keep| keep == Some(true));
                    pairs.retain(|_| kept.next().unwrap_or(false));
                    arrow::compute::filter_record_batch(&batch, &keep)
                        .map_err(|error| internal(&self.operator, &error))?
                }
            });
        }
        for &(probing, ..) in &pairs {
            probe.has_partner[probing as usize] = true;
        }
        if self.sides[1 - probe.side].alone != Alone::Never {
            self.found_partner(1 - probe.side, matches, &pairs)?;
        }
        if let Some(rows) = rows.filter(|_| self.shape.gives_pairs()) {
            let own = pairs.iter().map(|pair| pair.2).collect();
            self.ready.push(rows, counts_of(matches, &pairs), own);
        }
        Ok(())
    }

    fn paired(&self, probe: &Probe, matches: &Matches, pairs: &[Pair]) -> Result<RecordBatch> {
        let probing: UInt32Array = pairs.iter().map(|pair| Some(pair.0)).collect();
        let matching: UInt32Array = pairs.iter().map(|pair| Some(pair.1)).collect();
        let here = taken(probe.batch.rows.columns(), &probing)?;
        let width = self.sides[1 - probe.side].width;
        let there = taken(&matches.rows.columns()[..width], &matching)?;
        self.shape.paired(probe.side, here, there)
    }

    /// Rows of a side that have a partner from now on: they are marked; those of a semi or anti join are kept no longer.
    fn found_partner(&mut self, side: usize, matches: &Matches, pairs: &[Pair]) -> Result<()> {
        let marks = self.marks(side, &matches.rows)?;
        let mut found: Vec<u32> = pairs.iter().map(|pair| pair.1).collect();
        found.retain(|&row| marks.is_none_or(|marks| !marks.value(row as usize)));
        if found.is_empty() {
            return Ok(());
        }
        // Two probing rows find the same row.
        let here = &self.sides[side];
        let rows = taken(matches.rows.columns(), &UInt32Array::from(found.clone()))?;
        let rows = self.stored(side, rows)?;
        let mut seen = HashSet::new();
        let bytes = here.rows.order_keys(&rows)?.into_iter();
        let first: Vec<u32> = bytes
            .zip(0_u32..)
            .filter_map(|(bytes, place)| seen.insert(bytes).then_some(place))
            .collect();
        let counts: Vec<i64> = first
            .iter()
            .map(|&place| matches.counts[found[place as usize] as usize])
            .collect();
        let rows = taken(rows.columns(), &UInt32Array::from(first))?;
        let rows = self.stored(side, rows)?;
        self.change(side, &rows, counts.iter().map(|count| -count).collect())?;
        if here.marks {
            let mut columns = rows.columns().to_vec();
            columns[here.width + 1] = Arc::new(BooleanArray::from(vec![true; counts.len()]));
            let rows = self.stored(side, columns)?;
            self.change(side, &rows, counts)?;
        } else if here.alone == Alone::Matched {
            let own = self.stored_own(side, &rows)?.iter();
            let own = own.map(|own| self.own_of_result(own)).collect();
            let columns = rows.columns()[..here.width].to_vec();
            let rows = self.shape.by_itself(side, columns)?;
            self.ready.push(rows, counts, own);
        }
        Ok(())
    }

    pub(super) fn stored(&self, side: usize, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        RecordBatch::try_new(self.sides[side].stored.clone(), columns)
            .map_err(|error| internal(&self.operator, &error))
    }

    /// Changes how often kept rows are there.
    pub(super) fn change(&self, side: usize, rows: &RecordBatch, weights: Vec<i64>) -> Result<()> {
        let side = &self.sides[side];
        let keys: Vec<ArrayRef> = side.keys.iter().map(|&k| rows.column(k).clone()).collect();
        let hashes = hash::hash_columns(&keys, rows.num_rows());
        Ok(side.rows.apply(&keys, &hashes, rows, &weights)?)
    }

    // ------------------------------------------------------------------ rows whose partners so far are known

    /// What becomes of the rows of a batch: given, kept, or neither.
    fn settle(&mut self, probe: &Probe) -> Result<()> {
        let side = probe.side;
        let (mut given, mut kept) = (Vec::new(), Vec::new());
        for row in 0..probe.batch.num_rows() {
            let reachable = self.reach(side, probe.micros.value(row)) >= self.watermark.0;
            let has_partner = probe.has_partner[row];
            let (gives, keeps) = match self.sides[side].alone {
                Alone::Never => (false, true),
                Alone::Matched => (has_partner, !has_partner),
                Alone::Unmatched if self.sides[side].marks => (!has_partner && !reachable, true),
                Alone::Unmatched => (!has_partner && !reachable, !has_partner),
            };
            if gives {
                given.push(row as u32);
            }
            if keeps && reachable {
                kept.push(row as u32);
            }
        }
        self.give_by_itself(side, &probe.batch, &given)?;
        self.keep(probe, kept)
    }

    /// Keeps rows that a partner may still reach.
    fn keep(&self, probe: &Probe, rows: Vec<u32>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let side = &self.sides[probe.side];
        let dues: Vec<Due> = rows
            .iter()
            .map(|&row| self.due(probe.side, probe.micros.value(row as usize)))
            .collect();
        let own: Int64Array = rows
            .iter()
            .map(|&row| own_watermark(&probe.batch, row as usize))
            .collect();
        let marks: BooleanArray = rows
            .iter()
            .map(|&row| Some(probe.has_partner[row as usize]))
            .collect();
        let hashes: Vec<u64> = rows.iter().map(|&row| probe.hashes[row as usize]).collect();
        let rows = UInt32Array::from(rows);
        let keys = taken(&probe.keys, &rows)?;
        let mut columns = taken(probe.batch.rows.columns(), &rows)?;
        columns.push(Arc::new(own));
        if side.marks {
            columns.push(Arc::new(marks));
        }
        let stored = self.stored(probe.side, columns)?;
        let weights = vec![1; hashes.len()];
        side.rows.apply(&keys, &hashes, &stored, &weights)?;
        side.times.note(&dues, &keys, &hashes)
    }

    /// Works until there is a batch to give, or nothing left to do.
    fn advance(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        loop {
            if let Some(batch) = self.ready.next(ctx.batch_rows)? {
                ctx.emit(batch);
                let more = !self.ready.is_empty() || self.work.is_some();
                return Ok(if more { Progress::More } else { Progress::Done });
            }
            self.work = match self.work.take() {
                None => return Ok(Progress::Done),
                Some(Work::Probe(probe)) => self.probe(probe, ctx)?,
                Some(Work::Expiry(expiry)) => self.expire(expiry, ctx.batch_rows.max(1))?,
            };
        }
    }
}

fn counts_of(matches: &Matches, pairs: &[Pair]) -> Vec<i64> {
    let counts = pairs.iter().map(|pair| matches.counts[pair.1 as usize]);
    counts.collect()
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
        let batch = self.sifted(input, batch, ctx)?;
        if batch.num_rows() > 0 {
            self.work = Some(Work::Probe(self.begin(input, batch)?));
        }
        self.advance(ctx)
    }

    fn on_watermark(
        &mut self,
        watermark: Watermark,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        self.watermark = self.watermark.max(watermark);
        self.work = Some(Work::Expiry(self.begin_expiry(0)));
        self.advance(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.advance(ctx)
    }

    fn watermark_delay(&self) -> i64 {
        self.delay
    }

    fn rejected_rows(&self) -> u64 {
        self.residual.rejected_rows
    }
}
