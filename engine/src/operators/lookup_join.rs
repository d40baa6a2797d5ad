//! Each left row with the right rows of its moment: a later change of the right takes nothing back.
//!
//! ```text
//!   right ──▶ [right rows by key] ◀── probed by left rows ──▶ pairs, left rows without a partner
//!   left  ──▶ the right ends:   [waiting rows by key] until it has, then at once
//!             the right goes on: held until the end of the epoch
//! ```
//!
//! Where the right ends, every left row meets all of it: the result is that of a batch join, whatever came first. Where it goes on,
//! a left row meets what is there at the end of its epoch, the epoch's own changes of the right among it.
//!
//! # Invariants
//! 1. A left row is looked up once, and no left row that was looked up is kept.
//! 2. Nothing of the left's watermark goes on while rows of the left are held: it leaves after them.
//! 3. A call gives at most one batch; what is probed does not change between the calls for one batch.
//! 4. Rows of the left that can be taken back are looked up in a right that does not change any more: both ways alike.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, SchemaRef};
use weir_planner::plan::OperatorKind;
use weir_state::{MultiMapTable, ProbeCursor};
use weir_types::{ChangeBatch, DataType, OperatorId, hash};

use super::build::{Builder, internal, internal_text};
use super::due::{Due, DueKeys, taken};
use super::join::{Found, null_keys};
use super::residual::Residual;
use super::shape::{Alone, Shape};
use super::{Operator, OperatorContext, Progress, changes};
use crate::Result;

/// The only slice in which keys of waiting rows are noted.
const WAITING: Due = Due { slice: 0, at: 0 };
/// Keys whose waiting rows are in memory at once.
const KEYS_PER_CHUNK: usize = 256;

/// Join with the right as it is.
pub(super) struct LookupJoin {
    operator: OperatorId,
    left_keys: Vec<usize>,
    right_keys: Vec<usize>,
    /// For each key column whether two NULLs are equal.
    null_equal: Vec<bool>,
    residual: Residual,
    shape: Shape,
    right: MultiMapTable,
    /// The epoch's changes of the right, where rows can be taken back; `None` where rows are only inserted.
    right_epoch: Option<Vec<ChangeBatch>>,
    /// Whether left rows can be taken back.
    left_retracts: bool,
    /// The epoch's left rows, where they are not looked up or kept as they come.
    left_epoch: Vec<ChangeBatch>,
    /// Where the right ends: rows that wait for that.
    waiting: Option<Waiting>,
    /// Rows to be looked up, in order.
    due: VecDeque<ChangeBatch>,
    at_work: Option<Step>,
}

/// Left rows that wait for the end of the right.
struct Waiting {
    /// Columns of the left, then the own watermark.
    rows: MultiMapTable,
    keys: DueKeys,
    stored: SchemaRef,
    left: SchemaRef,
    /// Whether the right has ended.
    is_over: bool,
    /// Keys whose rows are still to be looked up: key columns, then `at`.
    leaving: VecDeque<RecordBatch>,
    /// The slice is dropped once all of its keys have left.
    is_leaving: bool,
}

/// A batch that is being looked up.
struct Step {
    batch: ChangeBatch,
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    /// Rows with a NULL key.
    skip: Option<BooleanBuffer>,
    cursor: Option<ProbeCursor>,
    found: Option<Found>,
    has_partner: Vec<bool>,
    /// The first row that is not looked at yet for being without a partner; `None`: pairs come first.
    alone: Option<usize>,
}

impl LookupJoin {
    pub(super) fn build(builder: &Builder<'_>) -> Result<Self> {
        let operator = builder.operator;
        let OperatorKind::LookupJoin {
            join,
            left_keys,
            right_keys,
            null_equal,
            residual,
            complete,
        } = &operator.kind
        else {
            return Err(internal_text(&operator.id, "not a lookup join"));
        };
        let state = builder.context.state;
        let waiting = complete.then(|| {
            let left = DataType::arrow_schema(&builder.input_schema(0));
            let own = arrow::datatypes::Field::new(
                "own watermark",
                arrow::datatypes::DataType::Int64,
                true,
            );
            let mut fields = left.fields().to_vec();
            fields.push(Arc::new(own));
            Waiting {
                rows: state.multi_map_table(&operator.id, "waiting"),
                keys: builder.due_keys("waiting_keys"),
                stored: Arc::new(arrow::datatypes::Schema::new(fields)),
                left,
                is_over: false,
                leaving: VecDeque::new(),
                is_leaving: false,
            }
        });
        Ok(Self {
            operator: builder.id(),
            left_keys: left_keys.clone(),
            right_keys: right_keys.clone(),
            null_equal: null_equal.clone(),
            residual: builder.pair_condition(residual.as_ref())?,
            shape: builder.shape(*join),
            right: state.multi_map_table(&operator.id, "right"),
            right_epoch: builder.retractions(1).then(Vec::new),
            left_retracts: builder.retractions(0),
            left_epoch: Vec::new(),
            waiting,
            due: VecDeque::new(),
            at_work: None,
        })
    }

    /// Whether left rows can be looked up as they come.
    fn looks_up_at_once(&self) -> bool {
        let is_over = self.waiting.as_ref().is_some_and(|waiting| waiting.is_over);
        is_over && !self.left_retracts
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> crate::Error {
        internal(&self.operator, error)
    }

    /// Adds changes to the right.
    fn add_right(&self, batch: &ChangeBatch) -> Result<()> {
        let keys = self.right_keys.iter();
        let keys: Vec<ArrayRef> = keys.map(|&key| batch.rows.column(key).clone()).collect();
        let hashes = hash::hash_columns(&keys, batch.num_rows());
        let weights: Vec<i64> = (0..batch.num_rows()).map(|row| batch.weight(row)).collect();
        Ok(self.right.apply(&keys, &hashes, &batch.rows, &weights)?)
    }

    /// Works until there is a batch to give, or nothing left to do.
    fn advance(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        loop {
            let step = match self.at_work.take() {
                Some(step) => Some(step),
                // Rows that waited come first: what is due may take one of them back.
                None => match self.leaving(ctx.batch_rows.max(1))? {
                    Some(step) => Some(step),
                    None => self.due.pop_front().map(|batch| self.begin(batch)),
                },
            };
            let Some(mut step) = step else {
                return Ok(Progress::Done);
            };
            if self.work(&mut step, ctx)? {
                self.at_work = Some(step);
            }
            if ctx.output.is_some() {
                return Ok(Progress::More);
            }
        }
    }

    fn begin(&self, batch: ChangeBatch) -> Step {
        let keys = self.left_keys.iter();
        let keys: Vec<ArrayRef> = keys.map(|&key| batch.rows.column(key).clone()).collect();
        let rows = batch.num_rows();
        Step {
            hashes: hash::hash_columns(&keys, rows),
            skip: null_keys(&keys, &self.null_equal, rows),
            keys,
            cursor: Some(ProbeCursor::default()),
            found: None,
            has_partner: vec![false; rows],
            alone: None,
            batch,
        }
    }

    /// One piece of a step's work, which gives at most one batch; `false` when it is over.
    fn work(&mut self, step: &mut Step, ctx: &mut OperatorContext) -> Result<bool> {
        let limit = ctx.batch_rows.max(1);
        if let Some(from) = step.alone {
            return self.give_alone(step, from, limit, ctx);
        }
        if step.found.is_none()
            && let Some(cursor) = step.cursor.take()
        {
            let (matches, cursor) =
                self.right
                    .probe(&step.keys, &step.hashes, step.skip.as_ref(), cursor, limit)?;
            step.cursor = cursor;
            step.found = Some(Found::new(matches));
        }
        if let Some(mut found) = step.found.take() {
            let (probing, stored) = found.expand(limit);
            if !probing.is_empty() {
                let stored = taken(found.matches.rows.columns(), &stored.into())?;
                self.give_pairs(step, probing, stored, ctx)?;
            }
            if !found.is_at_end() {
                step.found = Some(found);
            }
        }
        if step.found.is_none() && step.cursor.is_none() {
            if self.shape.alone(0) == Alone::Never {
                return Ok(false);
            }
            step.alone = Some(0);
        }
        Ok(true)
    }

    fn give_pairs(
        &mut self,
        step: &mut Step,
        probing: Vec<u32>,
        stored: Vec<ArrayRef>,
        ctx: &mut OperatorContext,
    ) -> Result<()> {
        let rows = UInt32Array::from(probing);
        let left = step
            .batch
            .take(&rows)
            .map_err(|error| self.failed(&error))?;
        let pairs = self.shape.paired(0, left.rows.columns().to_vec(), stored)?;
        let keep = self.residual.holds(&pairs, &vec![1; rows.len()], ctx.now)?;
        ctx.failed.append(&mut self.residual.errors);
        for (pair, &row) in rows.values().iter().enumerate() {
            step.has_partner[row as usize] |= keep.as_ref().is_none_or(|keep| keep.value(pair));
        }
        let pairs = ChangeBatch {
            rows: pairs,
            retracted: left.retracted,
            own_watermark: left.own_watermark,
        };
        ctx.emit(match keep {
            None => pairs,
            Some(keep) => pairs.filter(&keep).map_err(|error| self.failed(&error))?,
        });
        Ok(())
    }

    /// Left rows without a partner, beside NULLs.
    fn give_alone(
        &self,
        step: &mut Step,
        from: usize,
        limit: usize,
        ctx: &mut OperatorContext,
    ) -> Result<bool> {
        let rest = (from..step.has_partner.len()).filter(|&row| !step.has_partner[row]);
        let rows: Vec<u32> = rest.take(limit).map(|row| row as u32).collect();
        let Some(&last) = rows.last() else {
            return Ok(false);
        };
        let left = step
            .batch
            .take(&UInt32Array::from(rows))
            .map_err(|error| self.failed(&error))?;
        ctx.emit(ChangeBatch {
            rows: self.shape.by_itself(0, left.rows.columns().to_vec())?,
            retracted: left.retracted,
            own_watermark: left.own_watermark,
        });
        step.alone = Some(last as usize + 1);
        Ok(true)
    }

    // ------------------------------------------------------------------ rows that wait

    /// Keeps left rows until the right has ended.
    fn keep(&self, batch: &ChangeBatch) -> Result<()> {
        let Some(waiting) = &self.waiting else {
            return Err(internal_text(
                &self.operator,
                "no rows wait for a right that goes on",
            ));
        };
        let rows = batch.num_rows();
        let own: ArrayRef = match &batch.own_watermark {
            // A row and its retraction are the same row, whenever each of them came.
            Some(own) if !self.left_retracts => Arc::new(own.clone()),
            _ => new_null_array(&arrow::datatypes::DataType::Int64, rows),
        };
        let columns = batch.rows.columns().iter().cloned().chain([own]).collect();
        let stored = RecordBatch::try_new(Arc::clone(&waiting.stored), columns)
            .map_err(|error| self.failed(&error))?;
        let keys = self.left_keys.iter();
        let keys: Vec<ArrayRef> = keys.map(|&key| stored.column(key).clone()).collect();
        let hashes = hash::hash_columns(&keys, rows);
        let weights: Vec<i64> = (0..rows).map(|row| batch.weight(row)).collect();
        waiting.rows.apply(&keys, &hashes, &stored, &weights)?;
        waiting.keys.note(&vec![WAITING; rows], &keys, &hashes)
    }

    /// Takes some of the rows that waited out of state, once they need not wait any more.
    fn leaving(&mut self, limit: usize) -> Result<Option<Step>> {
        loop {
            let Some(waiting) = &mut self.waiting else {
                return Ok(None);
            };
            let Some(keys) = waiting.leaving.pop_front() else {
                if std::mem::take(&mut waiting.is_leaving) {
                    waiting.keys.drop_slice(WAITING.slice)?;
                }
                return Ok(None);
            };
            let count = KEYS_PER_CHUNK.min(keys.num_rows());
            let chunk = keys.slice(0, count);
            let columns = &chunk.columns()[..chunk.num_columns() - 1];
            let hashes = hash::hash_columns(columns, count);
            let cursor = ProbeCursor::default();
            let (found, _) = waiting.rows.probe(columns, &hashes, None, cursor, limit)?;
            if found.counts.is_empty() {
                if count < keys.num_rows() {
                    waiting
                        .leaving
                        .push_front(keys.slice(count, keys.num_rows() - count));
                }
                continue;
            }
            // The rest of these keys is found by the next call.
            waiting.leaving.push_front(keys.clone());
            let of_row = found.probe_rows.values().iter();
            let hashes: Vec<u64> = of_row.map(|&key| hashes[key as usize]).collect();
            let gone: Vec<i64> = found.counts.iter().map(|count| -count).collect();
            let keys = taken(columns, &found.probe_rows)?;
            waiting.rows.apply(&keys, &hashes, &found.rows, &gone)?;
            let copies = found.counts.iter().enumerate().flat_map(|(row, &count)| {
                std::iter::repeat_n(row as u32, usize::try_from(count).unwrap_or(0))
            });
            let copies: UInt32Array = copies.collect();
            let mut columns = taken(found.rows.columns(), &copies)?;
            let own = columns
                .pop()
                .map(|own| own.as_primitive::<Int64Type>().clone());
            let rows = RecordBatch::try_new(Arc::clone(&waiting.left), columns)
                .map_err(|error| internal(&self.operator, &error))?;
            let batch = ChangeBatch {
                rows,
                retracted: None,
                own_watermark: own.filter(|own: &Int64Array| own.null_count() < own.len()),
            };
            return Ok(Some(self.begin(batch)));
        }
    }
}

impl Operator for LookupJoin {
    fn on_batch(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        if input == 1 {
            match &mut self.right_epoch {
                Some(epoch) => epoch.push(batch),
                None => self.add_right(&batch)?,
            }
            return Ok(Progress::Done);
        }
        if self.looks_up_at_once() {
            self.due.push_back(batch);
            return self.advance(ctx);
        }
        if self.waiting.is_some() && !self.left_retracts {
            self.keep(&batch)?;
        } else {
            self.left_epoch.push(batch);
        }
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let batch_rows = ctx.batch_rows.max(1);
        let right = self.right_epoch.as_mut().map(std::mem::take);
        let right = changes::net(right.unwrap_or_default(), batch_rows);
        for batch in right.map_err(|error| self.failed(&error))? {
            self.add_right(&batch)?;
        }
        let left = changes::net(std::mem::take(&mut self.left_epoch), batch_rows);
        let left = left.map_err(|error| self.failed(&error))?;
        match &mut self.waiting {
            Some(waiting) if !waiting.is_over => {
                for batch in left {
                    self.keep(&batch)?;
                }
                return Ok(Progress::Done);
            }
            Some(waiting)
                if !waiting.is_leaving && waiting.keys.slices(WAITING.slice).len() == 1 =>
            {
                waiting.leaving = waiting.keys.keys(WAITING.slice)?.into();
                waiting.is_leaving = true;
            }
            _ => {}
        }
        self.due.extend(left);
        self.advance(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.advance(ctx)
    }

    fn side_input(&self) -> Option<usize> {
        Some(1)
    }

    fn on_side_end(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.is_over = true;
        }
    }

    fn holds_watermark(&self) -> bool {
        let is_leaving = self
            .waiting
            .as_ref()
            .is_some_and(|waiting| waiting.is_leaving);
        is_leaving || !self.looks_up_at_once()
    }

    fn withholds_watermark(&self) -> bool {
        self.waiting
            .as_ref()
            .is_some_and(|waiting| !waiting.is_over)
    }

    fn rejected_rows(&self) -> u64 {
        self.residual.rejected_rows
    }
}
