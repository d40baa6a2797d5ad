//! OVER over any input, in any order: what changes of the results of touched partitions, at the barrier.
//!
//! ```text
//!   batches of the epoch ─▶ held until its end ─▶ by partition:   rows before ─▶ results ─┐
//!                                                                 changes ─▶ state        ├─▶ what differs
//!                                                                 rows after  ─▶ results ─┘
//! ```
//!
//! Where all calls look a number of rows back and ahead at most, only the rows from the first changed one to the last are evaluated,
//! and so many before and behind them.
//!
//! # Invariants
//! 1. One partition is in memory at a time, and the epoch's own changes.
//! 2. A row gives at most one retraction and one insertion per epoch; a retraction is exactly what was given last, because results
//!    are a function of the stored rows.

mod current;

use std::collections::{HashMap, VecDeque};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use weir_planner::over::{Exclusion, Frame, FrameBound, FrameUnit, OverCall, OverFunction};
use weir_state::{SortBound, SortedRange, SortedTable};
use weir_types::{ChangeBatch, OperatorId, hash};

use super::evaluate::{Evaluator, Stretch};
use super::{Key, read};
use crate::Result;
use crate::operators::build::{internal, internal_text};
use crate::operators::changes::net;
use crate::operators::{Operator, OperatorContext, Progress};

/// What does not change while it runs.
pub(super) struct Configuration {
    pub(super) operator: OperatorId,
    pub(super) partition: Vec<usize>,
    pub(super) schema: SchemaRef,
}

/// See the module's text.
pub(super) struct Changes {
    config: Configuration,
    evaluator: Evaluator,
    rows: SortedTable,
    /// How many rows back and ahead calls look; `None`: as far as there are rows.
    looks: Option<Looks>,
    epoch: Vec<ChangeBatch>,
    flush: Option<Flush>,
    /// Where the giving of all rows goes on.
    standing: current::Standing,
}

/// How many rows calls look at, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Looks {
    back: usize,
    ahead: usize,
}

/// The end of an epoch that is not given whole yet.
struct Flush {
    /// All changes of the epoch.
    changes: ChangeBatch,
    /// For each partition the rows of `changes` that are its own, in the order in which partitions were touched.
    partitions: VecDeque<Vec<u32>>,
    ready: VecDeque<ChangeBatch>,
    ready_rows: usize,
}

impl Changes {
    pub(super) fn new(config: Configuration, evaluator: Evaluator, rows: SortedTable) -> Self {
        let looks =
            evaluator
                .calls
                .iter()
                .map(looks_of)
                .try_fold(Looks::default(), |all, looks| {
                    let looks = looks?;
                    Some(Looks {
                        back: all.back.max(looks.back),
                        ahead: all.ahead.max(looks.ahead),
                    })
                });
        Self {
            config,
            evaluator,
            rows,
            looks,
            epoch: Vec::new(),
            flush: None,
            standing: current::Standing::default(),
        }
    }

    fn start(&mut self) -> Result<Option<Flush>> {
        let epoch = std::mem::take(&mut self.epoch);
        if epoch.is_empty() {
            return Ok(None);
        }
        let changes =
            ChangeBatch::concat(&epoch).map_err(|error| internal(&self.config.operator, &error))?;
        let keys = self.keys(&changes.rows);
        let mut known: HashMap<Box<[u8]>, usize> = HashMap::new();
        let mut partitions: VecDeque<Vec<u32>> = VecDeque::new();
        let bytes = self.rows.key_bytes(&keys, changes.num_rows())?;
        for (row, key) in bytes.into_iter().enumerate() {
            let partition = *known.entry(key).or_insert_with(|| {
                partitions.push_back(Vec::new());
                partitions.len() - 1
            });
            partitions[partition].push(row as u32);
        }
        Ok(Some(Flush {
            changes,
            partitions,
            ready: VecDeque::new(),
            ready_rows: 0,
        }))
    }

    fn keys(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        let columns = self.config.partition.iter();
        columns.map(|&column| rows.column(column).clone()).collect()
    }

    /// Gives the next changes.
    fn give(&mut self, mut flush: Flush, ctx: &mut OperatorContext) -> Result<Progress> {
        let limit = ctx.batch_rows.max(2);
        while flush.ready_rows < limit
            && let Some(rows) = flush.partitions.pop_front()
        {
            for batch in self.partition(&flush.changes, rows, limit)? {
                flush.ready_rows += batch.num_rows();
                flush.ready.push_back(batch);
            }
        }
        let mut pieces = Vec::new();
        let mut room = limit;
        while let Some(batch) = flush.ready.pop_front() {
            if batch.num_rows() > room {
                flush.ready.push_front(batch);
                break;
            }
            room -= batch.num_rows();
            pieces.push(batch);
        }
        if pieces.is_empty() {
            return Ok(Progress::Done);
        }
        flush.ready_rows -= limit - room;
        let batch = ChangeBatch::concat(&pieces);
        ctx.emit(batch.map_err(|error| internal(&self.config.operator, &error))?);
        self.flush = Some(flush);
        Ok(Progress::More)
    }

    /// What changes of a partition's results; its rows are brought up to date.
    fn partition(
        &mut self,
        changes: &ChangeBatch,
        rows: Vec<u32>,
        limit: usize,
    ) -> Result<Vec<ChangeBatch>> {
        let weights: Vec<i64> = rows
            .iter()
            .map(|&row| changes.weight(row as usize))
            .collect();
        let changed = take_record_batch(&changes.rows, &UInt32Array::from(rows))
            .map_err(|error| internal(&self.config.operator, &error))?;
        let columns = self.keys(&changed);
        let hashes = hash::hash_columns(&columns, weights.len());
        let key = Key {
            columns: columns.iter().map(|column| column.slice(0, 1)).collect(),
            hash: hashes[0],
        };
        let apply = || Ok(self.rows.apply(&columns, &hashes, &changed, &weights)?);
        let (old, new) = match self.looks {
            Some(looks) => self.near(&key, &changed, looks, &apply)?,
            None => {
                let everything = SortedRange::default();
                let old = self.read(&key, &everything, usize::MAX)?;
                apply()?;
                let new = self.read(&key, &everything, usize::MAX)?;
                (Stretch::whole(old), Stretch::whole(new))
            }
        };
        let old = self.results(&old)?;
        let new = self.results(&new)?;
        let old = ChangeBatch {
            retracted: Some(BooleanBuffer::new_set(old.num_rows())),
            rows: old,
            own_watermark: None,
        };
        net(vec![old, ChangeBatch::append_only(new)], limit)
            .map_err(|error| internal(&self.config.operator, &error))
    }

    fn read(&self, key: &Key, range: &SortedRange<'_>, limit: usize) -> Result<RecordBatch> {
        read(&self.config.operator, &self.rows, key, range, limit)
    }

    /// The rows from the first changed one to the last, before and after the change, and those around them that see it.
    fn near(
        &self,
        key: &Key,
        changed: &RecordBatch,
        looks: Looks,
        apply: &dyn Fn() -> Result<()>,
    ) -> Result<(Stretch, Stretch)> {
        let places = self.rows.order_keys(changed)?;
        let by_place = |row: &usize| &places[*row];
        let (Some(first), Some(last)) = (
            (0..places.len()).min_by_key(by_place),
            (0..places.len()).max_by_key(by_place),
        ) else {
            return Err(internal_text(
                &self.config.operator,
                "a change without rows",
            ));
        };
        let in_order: Vec<ArrayRef> = self
            .rows
            .columns_in_order()
            .iter()
            .map(|&column| changed.column(column).clone())
            .collect();
        let bound = |row: usize, inclusive: bool| {
            Some(SortBound {
                values: &in_order,
                row,
                inclusive,
            })
        };
        let before = SortedRange {
            to: bound(first, false),
            reverse: true,
            ..SortedRange::default()
        };
        let between = SortedRange {
            from: bound(first, true),
            to: bound(last, true),
            reverse: false,
        };
        let behind = SortedRange {
            from: bound(last, false),
            ..SortedRange::default()
        };
        let around = looks.back + looks.ahead;
        let before = reversed(&self.read(key, &before, around)?);
        let before = before.map_err(|error| internal(&self.config.operator, &error))?;
        let behind = self.read(key, &behind, around)?;
        let old = self.read(key, &between, usize::MAX)?;
        apply()?;
        let new = self.read(key, &between, usize::MAX)?;
        let stretch = |between: &RecordBatch| {
            let first = before.num_rows();
            let start = first - looks.ahead.min(first);
            let last = first + between.num_rows();
            let end = last + looks.back.min(behind.num_rows());
            let rows = concat_batches(&before.schema(), [&before, between, &behind])
                .map_err(|error| internal(&self.config.operator, &error))?;
            Ok::<_, crate::Error>(Stretch {
                wanted: start..end,
                ..Stretch::whole(rows)
            })
        };
        Ok((stretch(&old)?, stretch(&new)?))
    }

    /// The rows that want results, with them.
    fn results(&mut self, stretch: &Stretch) -> Result<RecordBatch> {
        let order = self.evaluator.order_of(&stretch.rows)?;
        let (results, _) = self.evaluator.evaluate(stretch, &order, None)?;
        let wanted = &stretch.wanted;
        let rows = stretch.rows.slice(wanted.start, wanted.len());
        let columns = rows.columns().iter().cloned().chain(results).collect();
        RecordBatch::try_new(self.config.schema.clone(), columns)
            .map_err(|error| internal(&self.config.operator, &error))
    }
}

/// The rows in the opposite order.
fn reversed(rows: &RecordBatch) -> std::result::Result<RecordBatch, arrow::error::ArrowError> {
    let backwards: UInt32Array = (0..rows.num_rows() as u32).rev().collect();
    take_record_batch(rows, &backwards)
}

/// How many rows a call looks back and ahead; `None`: as far as there are rows.
fn looks_of(call: &OverCall) -> Option<Looks> {
    match &call.function {
        OverFunction::Shift {
            by,
            ignore_nulls: false,
            ..
        } => {
            let away = usize::try_from(by.unsigned_abs()).ok()?;
            Some(if *by < 0 {
                Looks {
                    back: away,
                    ahead: 0,
                }
            } else {
                Looks {
                    back: 0,
                    ahead: away,
                }
            })
        }
        OverFunction::Aggregate(_) | OverFunction::Nth { .. } => looks_of_frame(&call.frame),
        _ => None,
    }
}

fn looks_of_frame(frame: &Frame) -> Option<Looks> {
    let by_place = matches!(frame.exclude, Exclusion::NoOthers | Exclusion::CurrentRow);
    if frame.unit != FrameUnit::Rows || !by_place {
        return None;
    }
    let looks = |bound: &FrameBound| {
        let count = || usize::try_from(bound.count()?).ok();
        match bound {
            FrameBound::CurrentRow => Some(Looks::default()),
            FrameBound::Preceding(_) => Some(Looks {
                back: count()?,
                ahead: 0,
            }),
            FrameBound::Following(_) => Some(Looks {
                back: 0,
                ahead: count()?,
            }),
            _ => None,
        }
    };
    let (start, end) = (looks(&frame.start)?, looks(&frame.end)?);
    Some(Looks {
        back: start.back.max(end.back),
        ahead: start.ahead.max(end.ahead),
    })
}

impl Operator for Changes {
    fn on_batch(
        &mut self,
        _: usize,
        mut batch: ChangeBatch,
        _: &mut OperatorContext,
    ) -> Result<Progress> {
        batch.own_watermark = None;
        self.epoch.push(batch);
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.start()? {
            Some(flush) => self.give(flush, ctx),
            None => Ok(Progress::Done),
        }
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.flush.take() {
            Some(flush) => self.give(flush, ctx),
            None => Ok(Progress::Done),
        }
    }

    fn give_standing(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.give_all(ctx)
    }

    fn holds_watermark(&self) -> bool {
        true
    }
}
