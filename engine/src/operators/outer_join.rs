//! The equi-joins in which it counts whether a row has a partner: outer, semi and anti joins of two changing inputs.
//!
//! ```text
//!   the epoch's net changes of one side, a batch Δ at a time; O: the other side's rows
//!
//!   1 pairs     Δ × O                                              outer joins
//!   2 alone     rows of Δ without partner in O (semi: with one)    what the side gives by itself
//!   3 others    rows of O that got their first partner, or lost their last
//!   4 Δ is added to the rows of its side
//! ```
//!
//! Each batch is a change of one side against the other side as it is, so that the order of batches does not matter for
//! the sum. Everything is done at the barrier: a row that gets its partner within the epoch never shows without it.
//!
//! # Invariants
//! 1. Each side holds every row of its input with its multiplicity, also rows with a NULL key, which have no partner.
//! 2. Whether a row has a partner is never stored: it follows from the two sides.
//! 3. A call gives at most one batch; between two calls for one batch of changes no side changes but as step 3 says.

mod current;
mod others;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use weir_planner::plan::JoinKind;
use weir_state::{MultiMapTable, ProbeCursor};
use weir_types::{ChangeBatch, OperatorId, hash};

use super::build::internal;
use super::join::{Found, SideConfiguration, forget_rows, null_keys};
use super::retained::Forgets;
use super::{Operator, OperatorContext, Progress, changes};
use crate::Result;
use crate::error::RowError;
use crate::expr::{CompiledExpr, as_filter};

/// What rows of a side are given for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alone {
    Never,
    /// Those without a partner.
    Unmatched,
    /// Those with one.
    Matched,
}

struct Side {
    keys: Vec<usize>,
    rows: MultiMapTable,
    alone: Alone,
    /// The epoch's changes.
    epoch: Vec<ChangeBatch>,
}

/// Outer, semi and anti equi-joins.
pub(super) struct OuterJoin {
    operator: OperatorId,
    sides: [Side; 2],
    /// Whether pairs are given: not by semi and anti joins, whose output is the left columns alone.
    gives_pairs: bool,
    /// For each key column whether two NULLs are equal.
    null_equal: Vec<bool>,
    residual: Option<CompiledExpr>,
    /// Columns of the left side followed by those of the right one.
    pair_schema: SchemaRef,
    schema: SchemaRef,
    waiting: VecDeque<(usize, ChangeBatch)>,
    step: Option<Step>,
    rejected_rows: u64,
    /// Why pairs were rejected last, if that is kept.
    errors: Vec<RowError>,
    /// Where the giving of all rows goes on.
    standing: current::Standing,
}

/// A batch of changes at work.
struct Step {
    side: usize,
    batch: ChangeBatch,
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    /// Rows with a NULL key.
    skip: Option<BooleanBuffer>,
    weights: Vec<i64>,
    /// For each row whether it has a partner.
    has_partner: Vec<bool>,
    touched: Touched,
    /// For each touched key whether this side had rows of it before; without a residual that is all that counts.
    had_rows: Option<BooleanBuffer>,
    /// Whether its pairs are given.
    gives_pairs: bool,
    phase: Phase,
}

enum Phase {
    Pairs(Probe),
    Alone,
    Others(Probe),
    Over,
}

/// A probe, its matches as far as they were not given.
#[derive(Default)]
struct Probe {
    cursor: Option<ProbeCursor>,
    found: Option<Found>,
    /// For each match of `found`: it is taken back (`true`) or given.
    retracted: Vec<bool>,
}

impl Probe {
    fn begin() -> Self {
        Self {
            cursor: Some(ProbeCursor::default()),
            ..Self::default()
        }
    }

    /// Where to go on, once all that was found is given.
    fn next(&mut self) -> Option<ProbeCursor> {
        if self.found.is_some() {
            return None;
        }
        self.cursor.take()
    }

    fn is_over(&self) -> bool {
        self.found.is_none() && self.cursor.is_none()
    }
}

/// The distinct keys of a batch that can match.
#[derive(Default)]
struct Touched {
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    /// The batch's rows of each key; kept for the sake of a residual alone.
    rows: Vec<Vec<u32>>,
    /// Keys of which no row of the other side changes its state.
    skip: Option<BooleanBuffer>,
}

/// What an outer join is built with.
pub(super) struct Configuration {
    pub(super) operator: OperatorId,
    pub(super) join: JoinKind,
    pub(super) sides: [SideConfiguration; 2],
    pub(super) null_equal: Vec<bool>,
    pub(super) residual: Option<CompiledExpr>,
    pub(super) pair_schema: SchemaRef,
    pub(super) schema: SchemaRef,
}

impl OuterJoin {
    pub(super) fn new(configuration: Configuration) -> Self {
        let (left, right) = match configuration.join {
            JoinKind::Inner => (Alone::Never, Alone::Never),
            JoinKind::Left | JoinKind::Anti => (Alone::Unmatched, Alone::Never),
            JoinKind::Right => (Alone::Never, Alone::Unmatched),
            JoinKind::Full => (Alone::Unmatched, Alone::Unmatched),
            JoinKind::Semi => (Alone::Matched, Alone::Never),
        };
        let mut alone = [left, right].into_iter();
        let sides = configuration.sides.map(|side| Side {
            keys: side.keys,
            rows: side.rows,
            alone: alone.next().unwrap_or(Alone::Never),
            epoch: Vec::new(),
        });
        Self {
            operator: configuration.operator,
            sides,
            gives_pairs: !matches!(configuration.join, JoinKind::Semi | JoinKind::Anti),
            null_equal: configuration.null_equal,
            residual: configuration.residual,
            pair_schema: configuration.pair_schema,
            schema: configuration.schema,
            waiting: VecDeque::new(),
            step: None,
            rejected_rows: 0,
            errors: Vec::new(),
            standing: current::Standing::default(),
        }
    }

    /// Works until there is a batch to give, or nothing left to do.
    fn advance(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        loop {
            let step = match self.step.take() {
                Some(step) => Some(step),
                None => match self.waiting.pop_front() {
                    Some((side, batch)) => Some(self.begin(side, batch)?),
                    None => None,
                },
            };
            let Some(mut step) = step else {
                return Ok(Progress::Done);
            };
            self.work(&mut step, ctx)?;
            if !matches!(step.phase, Phase::Over) {
                self.step = Some(step);
            }
            if ctx.output.is_some() {
                let more = self.step.is_some() || !self.waiting.is_empty();
                return Ok(if more { Progress::More } else { Progress::Done });
            }
        }
    }

    fn begin(&self, side: usize, batch: ChangeBatch) -> Result<Step> {
        let rows = batch.num_rows();
        let here = &self.sides[side];
        let keys: Vec<ArrayRef> = here
            .keys
            .iter()
            .map(|&column| batch.rows.column(column).clone())
            .collect();
        let hashes = hash::hash_columns(&keys, rows);
        let skip = null_keys(&keys, &self.null_equal, rows);
        // Whose partners change is asked only where rows of the other side are given for themselves.
        let other_alone = self.sides[1 - side].alone != Alone::Never;
        let touched = if other_alone {
            self.touched(&keys, &hashes, skip.as_ref())?
        } else {
            Touched::default()
        };
        let had_rows = if other_alone && self.residual.is_none() {
            Some(here.rows.contains(&touched.keys, &touched.hashes, None)?)
        } else {
            None
        };
        let weights = (0..rows).map(|row| batch.weight(row)).collect();
        let phase = Phase::Pairs(Probe::begin());
        Ok(Step {
            side,
            batch,
            keys,
            hashes,
            skip,
            weights,
            has_partner: vec![false; rows],
            touched,
            had_rows,
            gives_pairs: self.gives_pairs,
            phase,
        })
    }

    fn touched(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        skip: Option<&BooleanBuffer>,
    ) -> Result<Touched> {
        let failed = |error| internal(&self.operator, &error);
        let fields = keys
            .iter()
            .map(|key| SortField::new(key.data_type().clone()))
            .collect();
        let rows = RowConverter::new(fields)
            .and_then(|converter| converter.convert_columns(keys))
            .map_err(failed)?;
        let mut places: HashMap<&[u8], usize> = HashMap::with_capacity(hashes.len());
        let (mut first, mut of_key) = (Vec::<u32>::new(), Vec::<Vec<u32>>::new());
        for row in 0..hashes.len() {
            if skip.is_some_and(|skip| skip.value(row)) {
                continue;
            }
            let place = *places.entry(rows.row(row).data()).or_insert_with(|| {
                first.push(row as u32);
                first.len() - 1
            });
            if self.residual.is_some() {
                of_key.resize_with(first.len(), Vec::new);
                of_key[place].push(row as u32);
            }
        }
        let indices = UInt32Array::from(first.clone());
        let keys = keys
            .iter()
            .map(|key| take(key, &indices, None))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        Ok(Touched {
            keys,
            hashes: first.iter().map(|&row| hashes[row as usize]).collect(),
            rows: of_key,
            skip: None,
        })
    }

    /// One piece of a step's work; gives at most one batch.
    fn work(&mut self, step: &mut Step, ctx: &mut OperatorContext) -> Result<()> {
        let limit = ctx.batch_rows.max(1);
        match std::mem::replace(&mut step.phase, Phase::Over) {
            Phase::Pairs(probe) => step.phase = self.pairs(step, probe, limit, ctx)?,
            Phase::Alone => {
                self.give_alone(step, ctx)?;
                step.phase = self.begin_others(step)?;
            }
            Phase::Others(probe) => step.phase = self.others(step, probe, limit, ctx)?,
            Phase::Over => {}
        }
        Ok(())
    }

    // ------------------------------------------------------------------ pairs

    fn pairs(
        &mut self,
        step: &mut Step,
        mut probe: Probe,
        limit: usize,
        ctx: &mut OperatorContext,
    ) -> Result<Phase> {
        let other = &self.sides[1 - step.side].rows;
        if !step.gives_pairs && self.residual.is_none() {
            // Only whether there is a partner counts.
            let any = other.contains(&step.keys, &step.hashes, step.skip.as_ref())?;
            step.has_partner = any.iter().collect();
            return Ok(Phase::Alone);
        }
        if let Some(cursor) = probe.next() {
            let (matches, cursor) =
                other.probe(&step.keys, &step.hashes, step.skip.as_ref(), cursor, limit)?;
            probe.cursor = cursor;
            probe.found = Some(Found::new(matches));
        }
        if let Some(found) = &mut probe.found {
            let (probing, matching) = found.expand(limit);
            let is_at_end = found.is_at_end();
            if !probing.is_empty() {
                let stored = self.taken(&found.matches.rows, &matching)?;
                let changed = step
                    .batch
                    .take(&UInt32Array::from(probing.clone()))
                    .map_err(|error| internal(&self.operator, &error))?;
                let pairs = self.paired(step.side, &changed.rows, &stored)?;
                let keep = self.judged(&pairs, ctx)?;
                // Pairs are judged anew where others lose or get a partner; here each is judged for the first time.
                ctx.failed.append(&mut self.errors);
                for (pair, &row) in probing.iter().enumerate() {
                    step.has_partner[row as usize] |= keep.as_ref().is_none_or(|k| k.value(pair));
                }
                if step.gives_pairs {
                    let pairs = ChangeBatch {
                        rows: pairs,
                        retracted: changed.retracted,
                        own_watermark: None,
                    };
                    self.emit_kept(pairs, keep.as_ref(), ctx)?;
                }
            }
            if is_at_end {
                probe.found = None;
            }
        }
        Ok(if probe.is_over() {
            Phase::Alone
        } else {
            Phase::Pairs(probe)
        })
    }

    /// Rows of one side beside rows of the other, in the order left, right.
    fn paired(&self, side: usize, here: &RecordBatch, there: &RecordBatch) -> Result<RecordBatch> {
        let (left, right) = if side == 0 {
            (here, there)
        } else {
            (there, here)
        };
        let columns = left
            .columns()
            .iter()
            .chain(right.columns())
            .cloned()
            .collect();
        RecordBatch::try_new(Arc::clone(&self.pair_schema), columns)
            .map_err(|error| internal(&self.operator, &error))
    }

    /// Which pairs the residual keeps; `None`: all.
    fn judged(
        &mut self,
        pairs: &RecordBatch,
        ctx: &OperatorContext,
    ) -> Result<Option<BooleanArray>> {
        let Some(residual) = &self.residual else {
            return Ok(None);
        };
        let evaluated = residual.evaluate_rows(pairs, ctx.now)?;
        if residual.mode().leaves_out()
            && let Some(failed) = &evaluated.failed
        {
            self.rejected_rows += failed.count_set_bits() as u64;
        }
        self.errors = evaluated
            .errors
            .into_iter()
            .map(|(_, error)| error)
            .collect();
        as_filter(&evaluated.values).map(Some)
    }

    fn emit_kept(
        &self,
        batch: ChangeBatch,
        keep: Option<&BooleanArray>,
        ctx: &mut OperatorContext,
    ) -> Result<()> {
        let batch = match keep {
            None => batch,
            Some(keep) => batch
                .filter(keep)
                .map_err(|error| internal(&self.operator, &error))?,
        };
        ctx.emit(batch);
        Ok(())
    }

    fn taken(&self, rows: &RecordBatch, indices: &[u32]) -> Result<RecordBatch> {
        take_record_batch(rows, &UInt32Array::from(indices.to_vec()))
            .map_err(|error| internal(&self.operator, &error))
    }

    // ------------------------------------------------------------------ rows by themselves

    fn give_alone(&self, step: &Step, ctx: &mut OperatorContext) -> Result<()> {
        let wanted = match self.sides[step.side].alone {
            Alone::Never => return Ok(()),
            Alone::Unmatched => false,
            Alone::Matched => true,
        };
        let keep: BooleanArray = step
            .has_partner
            .iter()
            .map(|&has| Some(has == wanted))
            .collect();
        let rows = step
            .batch
            .filter(&keep)
            .map_err(|error| internal(&self.operator, &error))?;
        ctx.emit(ChangeBatch {
            rows: self.extended(step.side, &rows.rows)?,
            retracted: rows.retracted,
            own_watermark: None,
        });
        Ok(())
    }

    /// Rows of one side as rows of the output: with NULLs for the other side where the output has its columns.
    fn extended(&self, side: usize, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        if self.gives_pairs {
            let fields = self.schema.fields();
            let nulls = |fields: &[arrow::datatypes::FieldRef]| -> Vec<ArrayRef> {
                fields
                    .iter()
                    .map(|field| new_null_array(field.data_type(), rows.num_rows()))
                    .collect()
            };
            if side == 0 {
                columns.extend(nulls(&fields[columns.len()..]));
            } else {
                let mut left = nulls(&fields[..fields.len() - columns.len()]);
                left.append(&mut columns);
                columns = left;
            }
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| internal(&self.operator, &error))
    }
}

impl Forgets for OuterJoin {
    fn forget(&mut self, keys: &[ArrayRef], hashes: &[u64]) -> Result<()> {
        self.sides
            .iter()
            .try_for_each(|side| forget_rows(&side.rows, keys, hashes))
    }
}

impl Operator for OuterJoin {
    fn on_batch(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        _ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        self.sides[input].epoch.push(batch);
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        for (input, side) in self.sides.iter_mut().enumerate() {
            let epoch = std::mem::take(&mut side.epoch);
            if !epoch.is_empty() {
                let net = changes::net(epoch, ctx.batch_rows.max(1));
                let net = net.map_err(|error| internal(&self.operator, &error))?;
                self.waiting
                    .extend(net.into_iter().map(|batch| (input, batch)));
            }
        }
        self.advance(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.advance(ctx)
    }

    fn give_standing(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.give_all(ctx)
    }

    fn holds_watermark(&self) -> bool {
        true
    }

    fn rejected_rows(&self) -> u64 {
        self.rejected_rows
    }
}
