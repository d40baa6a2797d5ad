//! OVER in event-time order: rows wait for the watermark, and are given once.
//!
//! ```text
//!   row ─▶ late? ─▶ waiting[key], by time      times: stretch of time ─▶ keys
//!   watermark ─▶ due keys ─▶ their waiting rows of before it, with rows[key] and running[key] ─▶ results
//!                              rows[key]     rows that later frames still look at
//!                              running[key]  how many rows and groups came, and what was accumulated of them
//! ```
//!
//! # Invariants
//! 1. A row older than its own watermark is late: left out and counted. All other rows are there when the watermark passes their
//!    time, in whatever order they came.
//! 2. All rows of one time are evaluated together.
//! 3. No frame looks at a row that is neither in `rows` nor in `running` (`weir_planner::over::Reach`).

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef};
use weir_planner::over::Reach;
use weir_state::{MapTable, SortBound, SortedRange, SortedTable};
use weir_types::{ChangeBatch, DataType, OperatorId, TimeUnit, Watermark, hash};

use super::evaluate::{Evaluator, Stretch};
use super::frames::Order;
use super::{Key, expanded, read};
use crate::Result;
use crate::operators::build::{internal, internal_text};
use crate::operators::due::{Due, DueKeys};
use crate::operators::window_assign::own_watermark;
use crate::operators::windows::{from_micros, to_micros};
use crate::operators::{Operator, OperatorContext, Progress};

/// Keys are kept by stretches of so many microseconds of event time.
const STRETCH: i64 = 1_000_000;
/// Rows of a key that are evaluated at a time, about.
const ROWS_DUE: usize = 4096;

/// What does not change while it runs.
pub(super) struct Configuration {
    pub(super) operator: OperatorId,
    pub(super) partition: Vec<usize>,
    /// The event-time column of the input.
    pub(super) time: usize,
    pub(super) time_type: DataType,
    pub(super) reach: Reach,
    pub(super) schema: SchemaRef,
}

/// Its state.
pub(super) struct Tables {
    pub(super) waiting: SortedTable,
    pub(super) times: DueKeys,
    pub(super) rows: SortedTable,
    pub(super) running: Option<MapTable>,
}

/// See the module's text.
pub(super) struct Timed {
    config: Configuration,
    evaluator: Evaluator,
    tables: Tables,
    firing: Option<Firing>,
}

/// Rows on their way out.
struct Firing {
    watermark: i64,
    /// Stretches of time with rows that are due, in order.
    stretches: VecDeque<i64>,
    /// The keys of the first stretch; `None`: not looked up yet.
    keys: Option<VecDeque<Keys>>,
    ready: VecDeque<RecordBatch>,
    ready_rows: usize,
}

/// Keys of a stretch.
struct Keys {
    columns: Vec<ArrayRef>,
    hashes: Vec<u64>,
    next: usize,
}

/// What is known of a key's rows before those that are due.
struct Before {
    /// The key's slot in `running`.
    slot: Option<u32>,
    rows: i64,
    groups: i64,
    accumulated: Option<Vec<ArrayRef>>,
}

impl Timed {
    pub(super) fn new(config: Configuration, evaluator: Evaluator, tables: Tables) -> Self {
        Self {
            config,
            evaluator,
            tables,
            firing: None,
        }
    }

    fn no_time(&self) -> crate::Error {
        let message = "the event-time column is not a timestamp";
        internal_text(&self.config.operator, message)
    }

    fn micros(&self, rows: &RecordBatch) -> Result<Int64Array> {
        to_micros(rows.column(self.config.time)).ok_or_else(|| self.no_time())
    }

    /// The first value of the event-time column that is not before a moment.
    fn moment(&self, micros: i64) -> Result<ArrayRef> {
        let unit = match &self.config.time_type {
            DataType::Timestamp(unit) | DataType::TimestampLtz(unit) => match unit {
                TimeUnit::Second => 1_000_000,
                TimeUnit::Milli => 1000,
                TimeUnit::Micro | TimeUnit::Nano => 1,
            },
            _ => return Err(self.no_time()),
        };
        let micros = Int64Array::from(vec![micros.saturating_add(unit - 1)]);
        from_micros(micros, &self.config.time_type, 0).ok_or_else(|| self.no_time())
    }

    fn fire(&mut self, mut firing: Firing, ctx: &mut OperatorContext) -> Result<Progress> {
        let limit = ctx.batch_rows.max(1);
        while firing.ready_rows < limit && self.step(&mut firing)? {}
        if firing.ready_rows == 0 {
            return Ok(Progress::Done);
        }
        ctx.emit(self.ready(&mut firing, limit)?);
        self.firing = Some(firing);
        Ok(Progress::More)
    }

    /// Makes more rows ready; `false` if nothing more is due.
    fn step(&mut self, firing: &mut Firing) -> Result<bool> {
        let Some(&stretch) = firing.stretches.front() else {
            return Ok(false);
        };
        let keys = match &mut firing.keys {
            Some(keys) => keys,
            None => firing.keys.insert(self.keys_of(stretch)?),
        };
        let Some(batch) = keys.front_mut() else {
            if stretch.saturating_add(STRETCH) <= firing.watermark {
                self.tables.times.drop_slice(stretch)?;
            }
            firing.stretches.pop_front();
            firing.keys = None;
            return Ok(true);
        };
        let Some(&hash) = batch.hashes.get(batch.next) else {
            keys.pop_front();
            return Ok(true);
        };
        let key = Key {
            columns: batch
                .columns
                .iter()
                .map(|c| c.slice(batch.next, 1))
                .collect(),
            hash,
        };
        match self.due(&key, firing.watermark)? {
            Some(rows) => {
                firing.ready_rows += rows.num_rows();
                firing.ready.push_back(rows);
            }
            None => {
                batch.next += 1;
                self.forget(&key, stretch, firing.watermark)?;
            }
        }
        Ok(true)
    }

    fn keys_of(&self, stretch: i64) -> Result<VecDeque<Keys>> {
        let batches = self.tables.times.keys(stretch)?.into_iter();
        let keys = batches.map(|batch| {
            let width = batch.num_columns() - 1;
            let columns = batch.columns()[..width].to_vec();
            Keys {
                hashes: hash::hash_columns(&columns, batch.num_rows()),
                columns,
                next: 0,
            }
        });
        Ok(keys.collect())
    }

    /// Takes a key out of a stretch that goes on, if nothing of it waits there any more.
    fn forget(&self, key: &Key, stretch: i64, watermark: i64) -> Result<()> {
        let end = stretch.saturating_add(STRETCH);
        if end <= watermark {
            return Ok(());
        }
        let end = [self.moment(end)?];
        let (left, _) = self
            .tables
            .waiting
            .range(&key.columns, 0, key.hash, &until(&end), 1)?;
        if left.num_rows() == 0 {
            self.tables
                .times
                .remove(stretch, &key.columns, &[key.hash])?;
        }
        Ok(())
    }

    /// The next rows of a key that are due, with their results; `None`: no more.
    fn due(&mut self, key: &Key, watermark: i64) -> Result<Option<RecordBatch>> {
        let (rows, counts) = self.waiting_rows(key, watermark)?;
        if counts.is_empty() {
            return Ok(None);
        }
        let new = expanded(&self.config.operator, &rows, &counts)?;
        let kept = if self.config.reach == Reach::default() {
            new.slice(0, 0)
        } else {
            let everything = SortedRange::default();
            let rows = &self.tables.rows;
            read(&self.config.operator, rows, key, &everything, usize::MAX)?
        };
        let before = self.before(key)?;
        let first = kept.num_rows();
        let all = concat_batches(&new.schema(), [&kept, &new])
            .map_err(|error| internal(&self.config.operator, &error))?;
        let gap = (before.rows as usize).saturating_sub(first);
        let stretch = Stretch {
            wanted: first..all.num_rows(),
            rows: all,
            head: if gap == 0 {
                0
            } else {
                first.min(self.config.reach.first_rows as usize)
            },
            gap,
            groups_before: before.groups as usize,
        };
        let order = self.evaluator.order_of(&stretch.rows)?;
        let carried = before.accumulated.as_deref();
        let (results, accumulated) = self.evaluator.evaluate(&stretch, &order, carried)?;
        self.remember(&before, &stretch, &order, accumulated)?;
        self.keep(key, &stretch, &order)?;
        let gone: Vec<i64> = counts.iter().map(|count| -count).collect();
        self.change(&self.tables.waiting, key, &rows, &gone)?;
        let columns = new.columns().iter().cloned().chain(results).collect();
        RecordBatch::try_new(Arc::clone(&self.config.schema), columns)
            .map(Some)
            .map_err(|error| internal(&self.config.operator, &error))
    }

    /// Waiting rows of before a moment; all rows of a time, or none.
    fn waiting_rows(&self, key: &Key, watermark: i64) -> Result<(RecordBatch, Vec<i64>)> {
        let end = [self.moment(watermark)?];
        let range = if watermark == i64::MAX {
            SortedRange::default()
        } else {
            until(&end)
        };
        let mut limit = ROWS_DUE;
        loop {
            let (rows, counts) =
                self.tables
                    .waiting
                    .range(&key.columns, 0, key.hash, &range, limit)?;
            if counts.len() < limit {
                return Ok((rows, counts));
            }
            let micros = rows.column(self.config.time);
            let last = micros.slice(rows.num_rows() - 1, 1);
            let same = arrow::compute::kernels::cmp::eq(micros, &arrow::array::Scalar::new(last))
                .map_err(|error| internal(&self.config.operator, &error))?;
            let whole = rows.num_rows() - same.true_count();
            if whole > 0 {
                return Ok((rows.slice(0, whole), counts[..whole].to_vec()));
            }
            limit *= 2;
        }
    }

    fn before(&self, key: &Key) -> Result<Before> {
        let Some(running) = &self.tables.running else {
            return Ok(Before {
                slot: None,
                rows: 0,
                groups: 0,
                accumulated: None,
            });
        };
        let mut slots = Vec::new();
        running.slots(&key.columns, &[key.hash], &mut slots)?;
        let values = running.values(&slots)?;
        let number = |column: usize| {
            let column = values[column].as_primitive::<Int64Type>();
            if column.is_null(0) {
                0
            } else {
                column.value(0)
            }
        };
        Ok(Before {
            slot: slots.first().copied(),
            rows: number(0),
            groups: number(1),
            accumulated: Some(values[2..].to_vec()),
        })
    }

    /// Counts the rows that are given, and keeps what is accumulated of them.
    fn remember(
        &self,
        before: &Before,
        stretch: &Stretch,
        order: &Order,
        accumulated: Vec<ArrayRef>,
    ) -> Result<()> {
        let (Some(running), Some(slot)) = (&self.tables.running, before.slot) else {
            return Ok(());
        };
        let given = &stretch.wanted;
        let groups = order.group_of(given.end - 1) - order.group_of(given.start) + 1;
        let number = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
        let mut values = vec![
            number(before.rows + given.len() as i64),
            number(before.groups + groups as i64),
        ];
        values.extend(accumulated);
        Ok(running.set_values(&[slot], &values)?)
    }

    /// Keeps the rows that later frames look at, and forgets the others.
    fn keep(&self, key: &Key, stretch: &Stretch, order: &Order) -> Result<()> {
        let reach = &self.config.reach;
        let (first, count) = (stretch.wanted.start, stretch.rows.num_rows());
        let from_rows = count.saturating_sub(usize::try_from(reach.last_rows).unwrap_or(count));
        let from_groups = match usize::try_from(reach.last_groups) {
            Ok(0) => count,
            Ok(groups) => order.group(order.groups().saturating_sub(groups)).start,
            Err(_) => 0,
        };
        let from_micros = match reach.last_micros {
            None => count,
            Some(reached) => {
                let micros = self.micros(&stretch.rows)?;
                let oldest = micros.value(count - 1).saturating_sub(reached);
                micros.values().partition_point(|&time| time < oldest)
            }
        };
        let last = if reach.all {
            0
        } else {
            from_rows.min(from_groups).min(from_micros)
        };
        let in_head = |row: usize| {
            let before = if row >= stretch.head {
                row + stretch.gap
            } else {
                row
            };
            (before as u64) < reach.first_rows
        };
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for row in 0..count {
            let stays = row >= last || in_head(row);
            if stays != (row < first) {
                rows.push(row as u32);
                weights.push(if stays { 1 } else { -1 });
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let changed = take_record_batch(&stretch.rows, &UInt32Array::from(rows))
            .map_err(|error| internal(&self.config.operator, &error))?;
        self.change(&self.tables.rows, key, &changed, &weights)
    }

    fn change(
        &self,
        table: &SortedTable,
        key: &Key,
        rows: &RecordBatch,
        weights: &[i64],
    ) -> Result<()> {
        let of_key = UInt32Array::from(vec![0; weights.len()]);
        let keys = crate::operators::due::taken(&key.columns, &of_key)?;
        Ok(table.apply(&keys, &vec![key.hash; weights.len()], rows, weights)?)
    }

    /// As many of the ready rows as fit into a batch.
    fn ready(&self, firing: &mut Firing, limit: usize) -> Result<ChangeBatch> {
        let (mut pieces, mut room) = (Vec::new(), limit);
        while room > 0
            && let Some(batch) = firing.ready.pop_front()
        {
            let count = room.min(batch.num_rows());
            if count < batch.num_rows() {
                let rest = batch.slice(count, batch.num_rows() - count);
                firing.ready.push_front(rest);
            }
            pieces.push(batch.slice(0, count));
            room -= count;
        }
        firing.ready_rows -= limit - room;
        let rows = concat_batches(&self.config.schema, &pieces);
        Ok(ChangeBatch::append_only(rows.map_err(|error| {
            internal(&self.config.operator, &error)
        })?))
    }
}

fn until(moment: &[ArrayRef; 1]) -> SortedRange<'_> {
    SortedRange {
        to: Some(SortBound {
            values: moment,
            row: 0,
            inclusive: false,
        }),
        ..SortedRange::default()
    }
}

impl Operator for Timed {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        if batch.retracted.is_some() {
            let message = "OVER in event-time order cannot take rows back";
            return Err(internal_text(&self.config.operator, message));
        }
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
        let (tables, keys) = (&self.tables, &self.config.partition);
        tables
            .times
            .keep(&tables.waiting, &batch.rows, keys, kept, |row| {
                Due::in_stretch(micros.value(row), STRETCH)
            })?;
        Ok(Progress::Done)
    }

    fn on_watermark(
        &mut self,
        watermark: Watermark,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let before = watermark.0.saturating_sub(1);
        let firing = Firing {
            watermark: watermark.0,
            stretches: self.tables.times.slices(before).into(),
            keys: None,
            ready: VecDeque::new(),
            ready_rows: 0,
        };
        self.fire(firing, ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.firing.take() {
            Some(firing) => self.fire(firing, ctx),
            None => Ok(Progress::Done),
        }
    }
}
