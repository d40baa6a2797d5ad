//! GROUP BY over windows: a window's groups are given when the watermark reaches its end.
//!
//! ```text
//!   row ─▶ the slice that holds it ─▶ kernels update the group in that slice
//!   watermark ─▶ for each window that is due, in order: merge its slices, give its groups, drop what no window needs
//! ```
//!
//! Tumbling windows are one slice each. Windows that hop or grow share slices: a row is stored once, however many
//! windows hold it. A window that grows (CUMULATE) leaves what it merged in its first slice, and so the next one merges
//! two slices, however long it is.
//!
//! **Late, and merely behind.** A window that ended at or before a row's *own* watermark (what the row's split had
//! promised when the row came) takes the row no more; the other windows of the row do. Whether this instance has
//! fired those windows already plays no part: the answer would hang on how splits interleave. So a row whose first
//! windows are closed to it must not go to its slice, which those windows may still read. It goes to a *side slice*,
//! named by its slice and by the first window that takes it, and is merged into its slice when that window fires.
//!
//! **Changelogs.** Each change is a row of its own: a row that is taken back leaves the windows that hold its event time,
//! judged late by its own watermark like any other. A group that is left without rows when its window is due gives nothing.
//!
//! # Invariants
//! 1. A row counts in exactly the windows that hold it and end after its own watermark.
//! 2. Windows fire once each, in the order of their ends.
//! 3. What must survive a crash is in the slices and the restored watermark.

mod fire;
mod slices;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use weir_planner::plan::GroupColumn;
use weir_state::SliceTable;
use weir_types::{
    ChangeBatch, Diagnostic, Diagnostics, OperatorId, ProcessingTime, Schema, Span, Watermark, hash,
};

use self::fire::Firing;
use self::slices::SliceNames;
use super::aggregates::Aggregates;
use super::build::{aggregate_failed, internal, internal_text};
use super::sides::Sides;
use super::window_assign::own_watermark;
use super::windows::{LastSlice, Windows, to_micros};
use super::{Operator, OperatorContext, Progress};
use crate::error::RowError;
use crate::expr::row_values;
use crate::{Error, Result};

/// What does not change while it runs.
pub(super) struct Configuration {
    pub(super) operator: OperatorId,
    pub(super) windows: Windows,
    /// The input's event-time column; of rows that carry their windows, the column of the window's end.
    pub(super) time: usize,
    /// Whether the rows carry their windows.
    pub(super) assigned: bool,
    /// The group's columns of the input, in the order of the state table's key.
    pub(super) keys: Vec<usize>,
    pub(super) group_columns: Vec<GroupColumn>,
    pub(super) aggregates: Aggregates,
    /// Whether rows can be taken back, so that a window's groups can become empty.
    pub(super) counts_rows: bool,
    pub(super) input: Schema,
    pub(super) output: Schema,
    pub(super) schema: SchemaRef,
}

/// GROUP BY over windows.
pub(super) struct WindowAggregate {
    config: Configuration,
    names: SliceNames,
    table: SliceTable,
    /// The rows that some aggregates look at, slice by slice.
    sides: Sides,
    /// Windows that end at or before it have been given.
    watermark: Watermark,
    /// Whether the table holds slices of a restored state and no watermark has come: the first one says how far the
    /// windows had been given.
    awaits_restored_watermark: bool,
    firing: Option<Firing>,
    slots: Vec<u32>,
}

impl WindowAggregate {
    pub(super) fn new(
        config: Configuration,
        table: SliceTable,
        sides: Sides,
        span: Span,
    ) -> Result<Self> {
        let names = SliceNames::new(config.windows).ok_or_else(|| {
            let message = format!(
                "a window consists of {} slices of {} µs",
                config.windows.slices_per_window(),
                config.windows.slice
            );
            Error::Plan(Diagnostics::from(
                Diagnostic::error("E0204", "this window has too many slices")
                    .at(span, message)
                    .help("make the slide or step longer, or let size be a multiple of it"),
            ))
        })?;
        // A tumbling window that was given has dropped its slice: there is nothing to give twice.
        let awaits_restored_watermark = !config.windows.is_tumbling() && !table.ends().is_empty();
        let watermark = Watermark::MIN;
        Ok(Self {
            config,
            names,
            table,
            sides,
            watermark,
            awaits_restored_watermark,
            firing: None,
            slots: Vec::new(),
        })
    }

    /// The slice that takes a row, if any window does.
    #[inline]
    fn slice_of(&self, time: i64, own: Option<i64>, is_late: &mut bool) -> Option<i64> {
        let windows = &self.config.windows;
        let slice = windows.slice_end(time);
        let first = windows.first_end_from(slice);
        let is_held = |window_end: i64| windows.holds(window_end, slice);
        if !is_held(first) {
            // Between two windows: HOP with a slide greater than its size.
            return None;
        }
        match own {
            Some(own) if first <= own => {
                *is_late = true;
                let first_open = windows.first_end_after(own);
                is_held(first_open).then(|| self.names.side(slice, first_open))
            }
            _ => Some(slice),
        }
    }

    /// Rows by the slice that takes them, in the order of the slices' first rows.
    fn by_slice(
        &self,
        batch: &ChangeBatch,
        micros: &Int64Array,
        ctx: &mut OperatorContext,
    ) -> Result<Vec<(i64, Vec<u32>)>> {
        let mut groups: Vec<(i64, Vec<u32>)> = Vec::new();
        let mut group_of = std::collections::HashMap::new();
        let mut last = usize::MAX;
        let (mut last_slice, mut slice_of_last) = (LastSlice::default(), None);
        let mut late = Vec::new();
        for row in 0..micros.len() {
            if micros.is_null(row) {
                return Err(self.null_time(batch, row));
            }
            // The last moment of a window lies in it alone.
            let time = micros
                .value(row)
                .saturating_sub(i64::from(self.config.assigned));
            let own = own_watermark(batch, row).map(|own| self.config.windows.place(own));
            let mut is_late = false;
            let slice = if own.is_some() {
                self.slice_of(time, own, &mut is_late)
            } else {
                if last_slice.is_left(&self.config.windows, time) {
                    slice_of_last = self.slice_of(time, None, &mut is_late);
                }
                slice_of_last
            };
            if is_late {
                late.push(row as u32);
            }
            let Some(slice) = slice else {
                continue;
            };
            // Neighbours are mostly of one slice.
            if last == usize::MAX || groups[last].0 != slice {
                last = *group_of.entry(slice).or_insert_with(|| {
                    groups.push((slice, Vec::new()));
                    groups.len() - 1
                });
            }
            groups[last].1.push(row as u32);
        }
        ctx.leave_out(0, batch, &late, |row| micros.value(row))?;
        Ok(groups)
    }

    fn null_time(&self, batch: &ChangeBatch, row: usize) -> Error {
        let column = &self.config.input[self.config.time];
        Error::Row(Box::new(RowError {
            operator: self.config.operator.clone(),
            span: Span::default(),
            reason: format!(
                "the {} `{}` is NULL",
                if self.config.assigned {
                    "window's end"
                } else {
                    "event time"
                },
                column.name
            ),
            row: row_values(&batch.rows, row, &self.config.input),
            place: None,
        }))
    }

    fn keys(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.config
            .keys
            .iter()
            .map(|&key| rows.column(key).clone())
            .collect()
    }

    fn add_to_slice(
        &mut self,
        slice: i64,
        hashes: &[u64],
        rows: &RecordBatch,
        retracted: Option<&BooleanBuffer>,
    ) -> Result<()> {
        let table = self.table.slice(slice)?;
        let keys = self.keys(rows);
        self.slots.clear();
        table.slots(&keys, hashes, &mut self.slots)?;
        let (slots, aggregates) = (&self.slots, &self.config.aggregates);
        table
            .with_columns(|columns| aggregates.update(columns, slots, rows, retracted))
            .map_err(|failure| {
                aggregate_failed(&self.config.operator, failure, rows, &self.config.input)
            })?;
        table.mark_dirty(&self.slots);
        if !self.sides.is_empty() {
            let crossings = self
                .sides
                .apply(&keys, hashes, rows, retracted, Some(slice))?;
            debug_assert!(
                crossings.is_empty(),
                "slices are looked at when a window is due"
            );
        }
        Ok(())
    }

    /// Whether the table is as it was left after windows up to the watermark had been given: no slice that only they
    /// need. A restored watermark always finds it so.
    fn has_fired(&self, watermark: Watermark) -> bool {
        let is_needed = |name| {
            self.names
                .next_window(&self.names.read(name), watermark.0)
                .is_some()
        };
        self.table.ends().into_iter().all(is_needed)
    }
}

impl Operator for WindowAggregate {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        if batch.retracted.is_some() && !self.config.counts_rows {
            return Err(internal_text(
                &self.config.operator,
                "rows of an append-only input are taken back",
            ));
        }
        self.awaits_restored_watermark = false;
        let micros = to_micros(batch.rows.column(self.config.time)).ok_or_else(|| {
            internal_text(
                &self.config.operator,
                "the event-time column is not a timestamp",
            )
        })?;
        let micros = self.config.windows.places(micros);
        let hashes = hash::hash_columns(&self.keys(&batch.rows), batch.num_rows());
        for (slice, indices) in self.by_slice(&batch, &micros, ctx)? {
            let retracted = batch.retracted.as_ref();
            if indices.len() == batch.num_rows() {
                self.add_to_slice(slice, &hashes, &batch.rows, retracted)?;
                continue;
            }
            let of_slice = |row: &u32| hashes[*row as usize];
            let hashes: Vec<u64> = indices.iter().map(of_slice).collect();
            let retracted: Option<BooleanBuffer> = retracted.map(|retracted| {
                let rows = indices.iter();
                rows.map(|&row| retracted.value(row as usize)).collect()
            });
            let rows = arrow::compute::take_record_batch(&batch.rows, &UInt32Array::from(indices))
                .map_err(|error| internal(&self.config.operator, &error))?;
            self.add_to_slice(slice, &hashes, &rows, retracted.as_ref())?;
        }
        Ok(Progress::Done)
    }

    fn on_watermark(
        &mut self,
        watermark: Watermark,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let watermark = Watermark(self.config.windows.place(watermark.0));
        if std::mem::take(&mut self.awaits_restored_watermark) && self.has_fired(watermark) {
            self.watermark = watermark;
            return Ok(Progress::Done);
        }
        if watermark <= self.watermark {
            return Ok(Progress::Done);
        }
        let firing = Firing::new(&self.names, &self.table, self.watermark, watermark);
        self.watermark = watermark;
        self.fire(firing, ctx)
    }

    fn on_epoch_end(&mut self, _: &mut OperatorContext) -> Result<Progress> {
        // The restored watermark comes before anything else; whatever comes after this is new.
        self.awaits_restored_watermark = false;
        Ok(Progress::Done)
    }

    fn next_due(&self, now: ProcessingTime) -> Result<Option<i64>> {
        let place = self.config.windows.place(now.0);
        let windows = self
            .table
            .ends()
            .into_iter()
            .filter_map(|name| self.names.next_window(&self.names.read(name), place));
        Ok(windows.min().map(|end| self.config.windows.instant(end)))
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.firing.take() {
            Some(firing) => self.fire(firing, ctx),
            None => Ok(Progress::Done),
        }
    }
}
