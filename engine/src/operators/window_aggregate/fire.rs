//! Windows that are due: which, in what order, and what each gives.
//!
//! ```text
//!   slices that hold something, by end ─▶ next window ─▶ its slices merged ─▶ its groups, batch by batch ─▶ next window
//!                                          ▲                │
//!             side slices of that window ──┘ merged first   └─ slices that no later window needs are dropped
//! ```
//!
//! While windows fire no row comes, so that the list of slices is made once.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use weir_planner::plan::GroupColumn;
use weir_state::{MapTable, SliceTable};
use weir_types::{ChangeBatch, Watermark, hash};

use super::super::aggregates::{Aggregates, Failure};
use super::super::build::{aggregate_failed, internal, internal_text};
use super::super::windows::from_micros;
use super::slices::{Slice, SliceNames};
use super::{OperatorContext, Progress, WindowAggregate};
use crate::Result;

/// Windows on their way out.
pub(super) struct Firing {
    /// Slices that may still be needed, by end.
    slices: VecDeque<Slice>,
    /// The last window that was given.
    after: i64,
    /// The watermark: windows that end later wait.
    up_to: i64,
    window: Option<FiringWindow>,
}

/// The groups of one window that are not given yet.
struct FiringWindow {
    end: i64,
    /// Names of its slices.
    slices: Vec<i64>,
    /// Key columns, then state columns.
    groups: VecDeque<RecordBatch>,
    /// Rows of the first batch that were given.
    given: usize,
}

impl Firing {
    pub(super) fn new(
        names: &SliceNames,
        table: &SliceTable,
        after: Watermark,
        up_to: Watermark,
    ) -> Self {
        let mut slices: Vec<Slice> = table
            .ends()
            .into_iter()
            .map(|name| names.read(name))
            .collect();
        slices.sort_by_key(|slice| (slice.end, slice.name));
        Self {
            slices: slices.into(),
            after: after.0,
            up_to: up_to.0,
            window: None,
        }
    }

    /// The end of the next window that is due.
    fn next_window(&self, names: &SliceNames) -> Option<i64> {
        let mut next: Option<i64> = None;
        for slice in &self.slices {
            // A window does not end before the slices that it holds.
            if next.is_some_and(|next| slice.end > next) {
                break;
            }
            if let Some(window) = names.next_window(slice, self.after) {
                next = Some(next.map_or(window, |next| next.min(window)));
            }
        }
        next.filter(|&next| next <= self.up_to)
    }

    /// The slices of a window, and where they stand in the list.
    fn slices_of(&self, names: &SliceNames, window: i64) -> Vec<Slice> {
        let in_reach = self.slices.iter().take_while(|slice| slice.end <= window);
        in_reach
            .filter(|slice| names.windows.holds(window, slice.end) && slice.first_window <= window)
            .copied()
            .collect()
    }
}

impl WindowAggregate {
    /// Gives the next batch of what is due.
    pub(super) fn fire(
        &mut self,
        mut firing: Firing,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        loop {
            if let Some(window) = &mut firing.window {
                let batch = self.give_groups(window, ctx.batch_rows.max(1))?;
                if window.groups.is_empty() {
                    firing.window = None;
                }
                if let Some(batch) = batch {
                    ctx.emit(batch);
                    self.firing = Some(firing);
                    return Ok(Progress::More);
                }
            }
            let given = firing.after;
            self.drop_unneeded(&mut firing, given)?;
            let Some(window) = firing.next_window(&self.names) else {
                let up_to = firing.up_to;
                self.drop_unneeded(&mut firing, up_to)?;
                return Ok(Progress::Done);
            };
            self.absorb_side_slices(&mut firing, window)?;
            let slices = firing.slices_of(&self.names, window);
            let groups = if self.names.windows.grows() {
                self.gathered(&mut firing, &slices)?
            } else {
                self.groups_of(&slices, window)?
            };
            firing.after = window;
            firing.window = Some(FiringWindow {
                end: window,
                slices: slices.iter().map(|slice| slice.name).collect(),
                groups,
                given: 0,
            });
        }
    }

    /// Drops the slices at the front that no window after `after` needs.
    fn drop_unneeded(&self, firing: &mut Firing, after: i64) -> Result<()> {
        while let Some(slice) = firing.slices.front() {
            if self.names.next_window(slice, after).is_some() {
                break;
            }
            let name = slice.name;
            self.move_sides(name, None)?;
            self.table.drop_slice(name)?;
            firing.slices.pop_front();
        }
        Ok(())
    }

    /// Takes what side tables keep for a slice out of them, or into another slice.
    fn move_sides(&self, from: i64, into: Option<i64>) -> Result<()> {
        if self.sides.is_empty() {
            return Ok(());
        }
        for groups in scan(&self.table.slice(from)?)? {
            let keys = &groups.columns()[..self.config.keys.len()];
            let hashes = hash::hash_columns(keys, groups.num_rows());
            self.sides.move_slice(keys, &hashes, from, into)?;
        }
        Ok(())
    }

    /// From this window on the rows of its side slices count: they move to their regular slices.
    fn absorb_side_slices(&self, firing: &mut Firing, window: i64) -> Result<()> {
        let due: Vec<Slice> = firing
            .slices_of(&self.names, window)
            .into_iter()
            .filter(|slice| slice.name != slice.end)
            .collect();
        for side in due {
            let target = self.table.slice(side.end)?;
            self.merge(&target, &scan(&self.table.slice(side.name)?)?)?;
            self.move_sides(side.name, Some(side.end))?;
            self.table.drop_slice(side.name)?;
            let has_regular = firing.slices.iter().any(|slice| slice.name == side.end);
            if let Some(position) = firing
                .slices
                .iter()
                .position(|slice| slice.name == side.name)
            {
                if has_regular {
                    firing.slices.remove(position);
                } else {
                    firing.slices[position] = self.names.regular(side.end);
                }
            }
        }
        Ok(())
    }

    /// The groups of a window: key columns and state columns.
    fn groups_of(&self, slices: &[Slice], window: i64) -> Result<VecDeque<RecordBatch>> {
        if let [slice] = slices {
            return Ok(scan(&self.table.slice(slice.name)?)?.into());
        }
        let name = self.names.scratch(window);
        let scratch = self.table.slice(name)?;
        for slice in slices {
            self.merge(&scratch, &scan(&self.table.slice(slice.name)?)?)?;
        }
        let groups = scan(&scratch)?;
        self.table.drop_slice(name)?;
        Ok(groups.into())
    }

    /// The groups of a window that grows. Its slices are merged into the first of them and dropped: all windows of that
    /// start that are still to come hold them all, and no row comes for a slice whose first window was given.
    fn gathered(&self, firing: &mut Firing, slices: &[Slice]) -> Result<VecDeque<RecordBatch>> {
        let [first, later @ ..] = slices else {
            return Ok(VecDeque::new());
        };
        let target = self.table.slice(first.name)?;
        for slice in later {
            self.merge(&target, &scan(&self.table.slice(slice.name)?)?)?;
            self.move_sides(slice.name, Some(first.name))?;
            self.table.drop_slice(slice.name)?;
            firing.slices.retain(|held| held.name != slice.name);
        }
        Ok(scan(&target)?.into())
    }

    /// Adds groups to a table.
    fn merge(&self, target: &MapTable, groups: &[RecordBatch]) -> Result<()> {
        let aggregates: &Aggregates = &self.config.aggregates;
        let mut slots = Vec::new();
        for groups in groups {
            let (keys, values) = groups.columns().split_at(self.config.keys.len());
            let hashes = hash::hash_columns(keys, groups.num_rows());
            slots.clear();
            target.slots(keys, &hashes, &mut slots)?;
            target
                .with_columns(|columns| aggregates.merge(columns, &slots, values))
                .map_err(|failure| {
                    aggregate_failed(&self.config.operator, failure, groups, &Vec::new())
                })?;
            target.mark_dirty(&slots);
        }
        Ok(())
    }

    /// The next groups of a window, finished; `None` if there are no more.
    fn give_groups(&self, window: &mut FiringWindow, limit: usize) -> Result<Option<ChangeBatch>> {
        while let Some(groups) = window.groups.front() {
            let rows = limit.min(groups.num_rows() - window.given);
            if rows > 0 {
                let piece = groups.slice(window.given, rows);
                window.given += rows;
                if window.given == groups.num_rows() {
                    window.groups.pop_front();
                    window.given = 0;
                }
                let finished = self.finished(&piece, window)?;
                if finished.num_rows() > 0 {
                    return Ok(Some(finished));
                }
                continue;
            }
            window.groups.pop_front();
            window.given = 0;
        }
        Ok(None)
    }

    /// The groups that have rows.
    fn living(&self, groups: &RecordBatch) -> Result<RecordBatch> {
        let config = &self.config;
        let Some(column) = config
            .aggregates
            .rows_column()
            .filter(|_| config.counts_rows)
        else {
            return Ok(groups.clone());
        };
        let counts = groups.column(config.keys.len() + column);
        let counts = counts
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| internal_text(&config.operator, "a count is not an integer"))?;
        let count = |row: usize| match counts.is_null(row) {
            true => 0,
            false => counts.value(row),
        };
        if let Some(row) = (0..counts.len()).find(|&row| count(row) < 0) {
            let reason = "rows were taken back that this window had never counted: the input is not a consistent changelog";
            let failure = Failure {
                row,
                reason: reason.to_owned(),
                span: weir_types::Span::default(),
            };
            return Err(aggregate_failed(
                &config.operator,
                failure,
                groups,
                &Vec::new(),
            ));
        }
        let lives: BooleanArray = (0..counts.len()).map(|row| Some(count(row) > 0)).collect();
        filter_record_batch(groups, &lives).map_err(|error| internal(&config.operator, &error))
    }

    /// The state columns of groups, those of DISTINCT aggregates filled in from the side tables.
    fn with_distinct(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        values: &[ArrayRef],
        window: &FiringWindow,
    ) -> Result<Vec<ArrayRef>> {
        let crossings = self.sides.distinct_values(keys, hashes, &window.slices)?;
        if crossings.is_empty() {
            return Ok(values.to_vec());
        }
        let name = self.names.scratch(window.end);
        let scratch = self.table.slice(name)?;
        let mut slots = Vec::new();
        scratch.slots(keys, hashes, &mut slots)?;
        scratch.set_values(&slots, values)?;
        for crossing in crossings {
            let slots: Vec<u32> = crossing
                .rows_of
                .iter()
                .map(|&group| slots[group as usize])
                .collect();
            let aggregates: &Aggregates = &self.config.aggregates;
            let updated = scratch.with_columns(|columns| {
                aggregates.update_from_side(crossing.side, columns, &slots, &crossing.rows, None)
            });
            updated.map_err(|failure| {
                aggregate_failed(&self.config.operator, failure, &crossing.rows, &Vec::new())
            })?;
        }
        let values = scratch.values(&slots)?;
        self.table.drop_slice(name)?;
        Ok(values)
    }

    fn finished(&self, groups: &RecordBatch, window: &FiringWindow) -> Result<ChangeBatch> {
        let config = &self.config;
        let groups = &self.living(groups)?;
        let window_end = window.end;
        let (keys, values) = groups.columns().split_at(config.keys.len());
        let (mut values, mut sides) = (values.to_vec(), Vec::new());
        if !self.sides.is_empty() && groups.num_rows() > 0 {
            let hashes = hash::hash_columns(keys, groups.num_rows());
            values = self.with_distinct(keys, &hashes, &values, window)?;
            sides = self.sides.read(keys, &hashes, &window.slices)?;
        }
        if groups.num_rows() == 0 {
            let none = RecordBatch::new_empty(Arc::clone(&config.schema));
            return Ok(ChangeBatch::append_only(none));
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(config.output.len());
        for (column, group_column) in config.group_columns.iter().enumerate() {
            let (micros, less_units) = match group_column {
                GroupColumn::Key(key) => {
                    columns.push(Arc::clone(&keys[*key]));
                    continue;
                }
                GroupColumn::WindowStart => (config.windows.start_of(window_end), 0),
                GroupColumn::WindowEnd => (window_end, 0),
                GroupColumn::WindowTime => (window_end, 1),
            };
            let micros = config.windows.instant(micros);
            let micros = Int64Array::from_value(micros, groups.num_rows());
            let times = from_micros(micros, &config.output[column].data_type, less_units);
            columns.push(times.ok_or_else(|| {
                internal_text(&config.operator, "a window's column is not a timestamp")
            })?);
        }
        let results = config.aggregates.finish(&values, &sides);
        columns.extend(
            results.map_err(|failure| {
                aggregate_failed(&config.operator, failure, groups, &Vec::new())
            })?,
        );
        let rows = RecordBatch::try_new(Arc::clone(&config.schema), columns);
        Ok(ChangeBatch::append_only(
            rows.map_err(|error| internal(&config.operator, &error))?,
        ))
    }
}

/// Everything that a slice holds.
fn scan(table: &MapTable) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    table.scan(&mut |batch| {
        batches.push(batch);
        Ok(())
    })?;
    Ok(batches)
}
