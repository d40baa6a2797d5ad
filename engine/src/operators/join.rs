//! Inner equi-join of two changing inputs.
//!
//! ```text
//!   left  ──▶ [left rows by key]  ◀── probed by right rows
//!   right ──▶ [right rows by key] ◀── probed by left rows          changes of the pairs ──▶
//! ```
//!
//! The change of a product: a batch of left rows is first added to the left side, then paired with all of the right
//! side; a batch of right rows likewise. Each pair is so counted once, by whichever of its rows came later.
//!
//! The rows of an input that can take rows back are collected until the end of the epoch and applied net: its parts come
//! over several channels, so that a retraction may overtake the row that it takes back, and a row that comes and goes
//! within the epoch need not be paired at all.
//!
//! # Invariants
//! 1. Each side holds every row of its input with its multiplicity, also rows with a NULL key, which match nothing.
//! 2. A pair's weight is the product of its rows' weights; with append-only inputs nothing is taken back.
//! 3. A call gives at most one batch; until the pairs of a batch are all given no other call comes, so what is probed
//!    does not change on the way.

mod current;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use weir_state::{Matches, MultiMapTable, ProbeCursor};
use weir_types::{ChangeBatch, OperatorId, hash};

use super::build::internal;
use super::due::taken;
use super::retained::Forgets;
use super::standing::Copies;
use super::{Operator, OperatorContext, Progress, changes};
use crate::Result;
use crate::expr::{CompiledExpr, as_filter};

/// Rows that are dropped at a time at most.
const ROWS_FORGOTTEN: usize = 4096;

struct Side {
    keys: Vec<usize>,
    rows: MultiMapTable,
    /// The epoch's changes, where rows can be taken back; `None` where rows are only inserted, which are paired at once.
    epoch: Option<Vec<ChangeBatch>>,
}

/// What a side of the join is built with.
pub(super) struct SideConfiguration {
    /// Key columns of the input.
    pub(super) keys: Vec<usize>,
    pub(super) rows: MultiMapTable,
    /// Whether the input can take rows back.
    pub(super) retractions: bool,
}

/// Inner equi-join.
pub(super) struct Join {
    operator: OperatorId,
    sides: [Side; 2],
    /// For each key column whether two NULLs are equal.
    null_equal: Vec<bool>,
    /// What else must hold, over the left columns followed by the right ones.
    residual: Option<CompiledExpr>,
    schema: SchemaRef,
    pending: Option<Pending>,
    /// Net changes of the epoch that ends, with their sides, that are not paired yet.
    net: VecDeque<(usize, ChangeBatch)>,
    /// Pairs left out because the residual failed on them.
    rejected_rows: u64,
    /// The left rows whose pairs are still to be given anew.
    standing: Copies,
}

/// A batch whose pairs are not all given yet.
struct Pending {
    side: usize,
    batch: ChangeBatch,
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    /// Rows with a NULL key.
    skip: Option<BooleanBuffer>,
    /// Where the probe goes on; `None` when it is at its end.
    cursor: Option<ProbeCursor>,
    found: Option<Found>,
}

/// Matches that are not all given yet: one of many copies makes many pairs.
pub(super) struct Found {
    pub(super) matches: Matches,
    next: usize,
    /// Copies of match `next` that were given.
    copies: i64,
}

impl Join {
    pub(super) fn new(
        operator: OperatorId,
        sides: [SideConfiguration; 2],
        null_equal: Vec<bool>,
        residual: Option<CompiledExpr>,
        schema: SchemaRef,
    ) -> Self {
        let sides = sides.map(|side| Side {
            keys: side.keys,
            rows: side.rows,
            epoch: side.retractions.then(Vec::new),
        });
        Self {
            operator,
            sides,
            null_equal,
            residual,
            schema,
            pending: None,
            net: VecDeque::new(),
            rejected_rows: 0,
            standing: Copies::default(),
        }
    }

    fn give(&mut self, mut pending: Pending, ctx: &mut OperatorContext) -> Result<Progress> {
        let limit = ctx.batch_rows.max(1);
        if pending.found.is_none()
            && let Some(cursor) = pending.cursor.take()
        {
            let other = &self.sides[1 - pending.side].rows;
            let (matches, cursor) = other.probe(
                &pending.keys,
                &pending.hashes,
                pending.skip.as_ref(),
                cursor,
                limit,
            )?;
            pending.cursor = cursor;
            pending.found = Some(Found::new(matches));
        }
        if let Some(found) = &mut pending.found {
            let (probing, stored) = found.expand(limit);
            let is_at_end = found.is_at_end();
            if !probing.is_empty() {
                let pairs = self.pairs(
                    &pending.batch,
                    pending.side,
                    &found.matches.rows,
                    probing,
                    stored,
                )?;
                self.emit_where_residual(pairs, ctx)?;
            }
            if is_at_end {
                pending.found = None;
            }
        }
        if pending.found.is_some() || pending.cursor.is_some() {
            self.pending = Some(pending);
            return Ok(Progress::More);
        }
        Ok(Progress::Done)
    }

    fn pairs(
        &self,
        batch: &ChangeBatch,
        side: usize,
        stored: &RecordBatch,
        probing: Vec<u32>,
        matching: Vec<u32>,
    ) -> Result<ChangeBatch> {
        let failed = |error| internal(&self.operator, &error);
        let probing = batch.take(&UInt32Array::from(probing)).map_err(failed)?;
        let stored = arrow::compute::take_record_batch(stored, &UInt32Array::from(matching))
            .map_err(failed)?;
        let (left, right) = if side == 0 {
            (&probing.rows, &stored)
        } else {
            (&stored, &probing.rows)
        };
        let columns = left
            .columns()
            .iter()
            .chain(right.columns())
            .cloned()
            .collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(failed)?;
        // A join's rows carry no event time, so nothing of the own watermark is left.
        Ok(ChangeBatch {
            rows,
            retracted: probing.retracted,
            own_watermark: None,
        })
    }

    fn emit_where_residual(&mut self, pairs: ChangeBatch, ctx: &mut OperatorContext) -> Result<()> {
        let Some(residual) = &self.residual else {
            ctx.emit(pairs);
            return Ok(());
        };
        let evaluated = residual.evaluate_rows(&pairs.rows, ctx.now)?;
        if residual.mode().leaves_out()
            && let Some(failed) = &evaluated.failed
        {
            self.rejected_rows += failed.count_set_bits() as u64;
        }
        ctx.failed
            .extend(evaluated.errors.into_iter().map(|(_, error)| error));
        let keep = as_filter(&evaluated.values)?;
        ctx.emit(
            pairs
                .filter(&keep)
                .map_err(|error| internal(&self.operator, &error))?,
        );
        Ok(())
    }
}

impl Found {
    pub(super) fn new(matches: Matches) -> Self {
        Self {
            matches,
            next: 0,
            copies: 0,
        }
    }

    /// Whether all pairs were given.
    pub(super) fn is_at_end(&self) -> bool {
        self.next >= self.matches.counts.len()
    }

    /// The next pairs, `limit` at most: rows of the probing batch, and of the matches.
    pub(super) fn expand(&mut self, limit: usize) -> (Vec<u32>, Vec<u32>) {
        let (mut probing, mut stored) = (Vec::new(), Vec::new());
        while self.next < self.matches.counts.len() && probing.len() < limit {
            let room = i64::try_from(limit - probing.len()).unwrap_or(i64::MAX);
            let copies = (self.matches.counts[self.next] - self.copies).min(room);
            for _ in 0..copies {
                probing.push(self.matches.probe_rows.value(self.next));
                stored.push(self.next as u32);
            }
            self.copies += copies;
            if self.copies >= self.matches.counts[self.next] {
                (self.next, self.copies) = (self.next + 1, 0);
            }
        }
        (probing, stored)
    }
}

/// The rows with a NULL among their key columns, but for those in which NULLs are equal.
pub(super) fn null_keys(
    keys: &[ArrayRef],
    null_equal: &[bool],
    rows: usize,
) -> Option<BooleanBuffer> {
    let strict = keys
        .iter()
        .enumerate()
        .filter(|(i, _)| !null_equal.get(*i).copied().unwrap_or(false));
    let nulls: Vec<_> = strict.filter_map(|(_, key)| key.logical_nulls()).collect();
    if nulls.iter().all(|nulls| nulls.null_count() == 0) {
        return None;
    }
    Some(
        (0..rows)
            .map(|row| nulls.iter().any(|nulls| nulls.is_null(row)))
            .collect(),
    )
}

/// Drops all rows of these keys.
pub(super) fn forget_rows(rows: &MultiMapTable, keys: &[ArrayRef], hashes: &[u64]) -> Result<()> {
    loop {
        let (found, _) = rows.probe(keys, hashes, None, ProbeCursor::default(), ROWS_FORGOTTEN)?;
        if found.counts.is_empty() {
            return Ok(());
        }
        let of_key = found.probe_rows.values().iter();
        let of_key: Vec<u64> = of_key.map(|&key| hashes[key as usize]).collect();
        let gone: Vec<i64> = found.counts.iter().map(|count| -count).collect();
        rows.apply(
            &taken(keys, &found.probe_rows)?,
            &of_key,
            &found.rows,
            &gone,
        )?;
    }
}

impl Join {
    /// Adds changes to their side and pairs them with the other one.
    fn pair(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let side = &self.sides[input];
        let keys: Vec<ArrayRef> = side
            .keys
            .iter()
            .map(|&column| batch.rows.column(column).clone())
            .collect();
        let hashes = hash::hash_columns(&keys, batch.num_rows());
        let weights: Vec<i64> = (0..batch.num_rows()).map(|row| batch.weight(row)).collect();
        side.rows.apply(&keys, &hashes, &batch.rows, &weights)?;
        self.probe(input, batch, (keys, hashes), ctx)
    }

    /// Pairs rows of one side with the other one.
    fn probe(
        &mut self,
        side: usize,
        batch: ChangeBatch,
        (keys, hashes): (Vec<ArrayRef>, Vec<u64>),
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let skip = null_keys(&keys, &self.null_equal, batch.num_rows());
        let cursor = Some(ProbeCursor::default());
        self.give(
            Pending {
                side,
                batch,
                keys,
                hashes,
                skip,
                cursor,
                found: None,
            },
            ctx,
        )
    }

    /// Pairs the next of the epoch's net changes; `More` as long as any are left.
    fn pair_net(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let Some((side, batch)) = self.net.pop_front() else {
            return Ok(Progress::Done);
        };
        let progress = self.pair(side, batch, ctx)?;
        Ok(if self.net.is_empty() {
            progress
        } else {
            Progress::More
        })
    }
}

impl Forgets for Join {
    fn forget(&mut self, keys: &[ArrayRef], hashes: &[u64]) -> Result<()> {
        self.sides
            .iter()
            .try_for_each(|side| forget_rows(&side.rows, keys, hashes))
    }
}

impl Operator for Join {
    fn on_batch(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        match &mut self.sides[input].epoch {
            Some(epoch) => {
                epoch.push(batch);
                Ok(Progress::Done)
            }
            None => self.pair(input, batch, ctx),
        }
    }

    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        for (input, side) in self.sides.iter_mut().enumerate() {
            let epoch = side.epoch.as_mut().map(std::mem::take).unwrap_or_default();
            if !epoch.is_empty() {
                let net = changes::net(epoch, ctx.batch_rows.max(1));
                let net = net.map_err(|error| internal(&self.operator, &error))?;
                self.net.extend(net.into_iter().map(|batch| (input, batch)));
            }
        }
        self.pair_net(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.pending.take() {
            Some(pending) => {
                let progress = self.give(pending, ctx)?;
                Ok(if self.net.is_empty() {
                    progress
                } else {
                    Progress::More
                })
            }
            None => self.pair_net(ctx),
        }
    }

    fn give_standing(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.give_pairs(ctx)
    }

    fn holds_watermark(&self) -> bool {
        self.sides.iter().any(|side| side.epoch.is_some())
    }

    fn rejected_rows(&self) -> u64 {
        self.rejected_rows
    }
}
