//! GROUP BY without a window: keeps the result of every group, and gives at the end of an epoch what has changed.
//!
//! ```text
//!   batch ─▶ slots of its keys ─▶ first touch in the epoch? remember the old result
//!                              └▶ kernels update the group's columns
//!   end of the epoch ─▶ for each touched group: old result out, new result in, nothing if they are equal
//! ```
//!
//! # Invariants
//! 1. A group gives at most one retraction and one insertion per epoch, however many of its rows came.
//! 2. What is retracted is exactly what was given last.
//! 3. A group without rows is gone. Without keys there is always one group, which gives its row even for empty input:
//!    on the worker that owns key group 0, at the end of its first epoch.

mod current;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{SortOptions, concat, interleave, kernels::cmp, take};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::error::ArrowError;
use weir_state::{MapTable, RestCursor};
use weir_types::{ChangeBatch, OperatorId, Schema, hash};

use super::aggregates::{Aggregates, Failure};
use super::build::{aggregate_failed, internal, internal_text};
use super::retained::Forgets;
use super::sides::Sides;
use super::{Operator, OperatorContext, Progress};
use crate::error::RowError;
use crate::{Error, Result};

/// Groups whose side tables are read at once.
const SIDE_GROUPS: usize = 256;

/// What does not change while it runs.
pub(super) struct Configuration {
    pub(super) operator: OperatorId,
    /// The group's columns of the input, in the order of the state table's key.
    pub(super) keys: Vec<usize>,
    pub(super) aggregates: Aggregates,
    /// Whether rows can be taken back, so that groups can become empty.
    pub(super) counts_rows: bool,
    /// The groups of this instance that give their row even without rows: the one of an aggregate without keys, and those
    /// of empty grouping sets.
    pub(super) always: Vec<AlwaysGroup>,
    pub(super) input: Schema,
    pub(super) schema: SchemaRef,
}

/// A group that is there even without rows.
pub(super) struct AlwaysGroup {
    /// One row of the key columns.
    pub(super) keys: Vec<ArrayRef>,
    pub(super) hash: u64,
    /// What the key columns are: a number, or NULL. The numbers alone say which group it is.
    pub(super) numbers: Vec<Option<i64>>,
}

/// GROUP BY without a window.
pub(super) struct Aggregate {
    config: Configuration,
    groups: MapTable,
    sides: Sides,
    /// Until the end of the first epoch: the groups that are always there may have to be made.
    awaits_always: bool,
    touched: Touched,
    /// The end of an epoch that is not given whole yet.
    flush: Option<Flush>,
    /// Slots of the batch at hand; kept for its allocation.
    slots: Vec<u32>,
    /// Where the reading of all groups goes on.
    standing: RestCursor,
}

impl Aggregate {
    pub(super) fn new(config: Configuration, groups: MapTable, sides: Sides) -> Self {
        Self {
            config,
            groups,
            sides,
            awaits_always: true,
            touched: Touched::default(),
            flush: None,
            slots: Vec::new(),
            standing: RestCursor::default(),
        }
    }

    /// Remembers groups that are touched for the first time in this epoch, with the result that was given last.
    fn touch(&mut self, slots: &[u32]) -> Result<()> {
        let first = self.touched.mark(slots);
        if first.is_empty() {
            return Ok(());
        }
        let known: Vec<u32> = first
            .iter()
            .copied()
            .filter(|&slot| !self.groups.is_new(slot))
            .collect();
        let old = if known.is_empty() {
            None
        } else {
            Some(self.results(&known)?.0)
        };
        let groups = &self.groups;
        self.touched
            .remember(&first, |slot| groups.is_new(slot), old);
        Ok(())
    }

    /// The results of groups, and their state columns.
    fn results(&self, slots: &[u32]) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        let values = self.groups.values(slots)?;
        if self.sides.is_empty() {
            let results = self.config.aggregates.finish(&values, &[]);
            let results = results.map_err(|failure| self.group_failed(slots, failure))?;
            return Ok((results, values));
        }
        // Side tables may hold many rows of each group: so many groups at a time.
        let mut pieces: Vec<Vec<ArrayRef>> = Vec::new();
        for start in (0..slots.len()).step_by(SIDE_GROUPS) {
            let some = &slots[start..(start + SIDE_GROUPS).min(slots.len())];
            let keys = self.groups.keys(some)?;
            let hashes = hash::hash_columns(&keys, some.len());
            let sides = self.sides.read(&keys, &hashes, &[])?;
            let of_some: Vec<ArrayRef> = values
                .iter()
                .map(|column| column.slice(start, some.len()))
                .collect();
            let results = self.config.aggregates.finish(&of_some, &sides);
            pieces.push(results.map_err(|failure| self.group_failed(some, failure))?);
        }
        let column = |column: usize| {
            let arrays: Vec<&dyn Array> =
                pieces.iter().map(|piece| piece[column].as_ref()).collect();
            concat(&arrays)
        };
        let width = pieces.first().map_or(0, Vec::len);
        let results = (0..width)
            .map(column)
            .collect::<Result<_, _>>()
            .map_err(|error| internal(&self.config.operator, &error))?;
        Ok((results, values))
    }

    /// Brings the side tables up to date, and then the kernels that they feed.
    fn update_sides(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        slots: &[u32],
        batch: &ChangeBatch,
    ) -> Result<()> {
        if self.sides.is_empty() {
            return Ok(());
        }
        let retracted = batch.retracted.as_ref();
        let crossings = self
            .sides
            .apply(keys, hashes, &batch.rows, retracted, None)?;
        let aggregates = &self.config.aggregates;
        for crossing in crossings {
            let slots: Vec<u32> = crossing
                .rows_of
                .iter()
                .map(|&row| slots[row as usize])
                .collect();
            let updated = self.groups.with_columns(|columns| {
                let (rows, retracted) = (&crossing.rows, Some(&crossing.retracted));
                aggregates.update_from_side(crossing.side, columns, &slots, rows, retracted)
            });
            updated.map_err(|failure| {
                aggregate_failed(&self.config.operator, failure, &crossing.rows, &Vec::new())
            })?;
        }
        Ok(())
    }

    /// The error names the group, because no single row is to blame.
    fn group_failed(&self, slots: &[u32], failure: Failure) -> Error {
        let keys: Schema = self
            .config
            .keys
            .iter()
            .map(|&key| self.config.input[key].clone())
            .collect();
        let row = slots.get(failure.row).and_then(|&slot| {
            let columns = self.groups.keys(&[slot]).ok()?;
            RecordBatch::try_new(weir_types::DataType::arrow_schema(&keys), columns).ok()
        });
        let row = row
            .map(|row| crate::expr::row_values(&row, 0, &keys))
            .unwrap_or_default();
        let operator = self.config.operator.clone();
        Error::Row(Box::new(RowError {
            operator,
            span: failure.span,
            reason: failure.reason,
            row,
            place: None,
        }))
    }

    /// Gives the changes of the next touched groups.
    fn give(&mut self, mut flush: Flush, ctx: &mut OperatorContext) -> Result<Progress> {
        // A group gives two rows at most.
        let count = (ctx.batch_rows / 2)
            .max(1)
            .min(self.touched.slots.len() - flush.next);
        let range = flush.next..flush.next + count;
        flush.next += count;
        if count > 0 {
            let (batch, gone) = self.changes(range, &flush)?;
            flush.gone.extend(gone);
            if let Some(batch) = batch {
                ctx.emit(batch);
            }
        }
        if flush.next < self.touched.slots.len() {
            self.flush = Some(flush);
            return Ok(Progress::More);
        }
        if !flush.gone.is_empty() {
            self.groups.remove(&flush.gone);
        }
        self.touched.clear();
        Ok(Progress::Done)
    }

    /// The changes of a range of touched groups, and which of them are gone.
    fn changes(
        &self,
        range: std::ops::Range<usize>,
        flush: &Flush,
    ) -> Result<(Option<ChangeBatch>, Vec<u32>)> {
        let failed = |error: ArrowError| internal(&self.config.operator, &error);
        let slots = &self.touched.slots[range.clone()];
        let old_rows = UInt32Array::from(self.touched.old[range].to_vec());
        let (new, values) = self.results(slots)?;
        let lives = self.lives(slots, &values)?;
        let differs = if flush.old.is_empty() {
            old_rows.iter().map(|old| old.is_none()).collect()
        } else {
            differs(&flush.old, &new, &old_rows).map_err(failed)?
        };
        let mut plan = ChangePlan::default();
        let mut gone = Vec::new();
        for (i, &slot) in slots.iter().enumerate() {
            if !lives.value(i) {
                gone.push(slot);
            }
            if old_rows.is_valid(i) && (differs.value(i) || !lives.value(i)) {
                plan.push(i, (0, old_rows.value(i) as usize), true);
            }
            if lives.value(i) && (differs.value(i) || old_rows.is_null(i)) {
                plan.push(i, (1, i), false);
            }
        }
        if plan.places.is_empty() {
            return Ok((None, gone));
        }
        let mut columns = Vec::with_capacity(self.config.schema.fields().len());
        let key_rows = UInt32Array::from(plan.key_rows);
        for key in self.groups.keys(slots)? {
            columns.push(take(&key, &key_rows, None).map_err(failed)?);
        }
        for (column, new) in new.iter().enumerate() {
            // Without old results nothing refers to the first array.
            let old = flush.old.get(column).unwrap_or(new);
            columns.push(interleave(&[old.as_ref(), new.as_ref()], &plan.places).map_err(failed)?);
        }
        let rows =
            RecordBatch::try_new(Arc::clone(&self.config.schema), columns).map_err(failed)?;
        let retracted: BooleanBuffer = plan.retracted.into();
        let retracted = (retracted.count_set_bits() > 0).then_some(retracted);
        Ok((
            Some(ChangeBatch {
                rows,
                retracted,
                own_watermark: None,
            }),
            gone,
        ))
    }

    /// Which groups have rows.
    fn lives(&self, slots: &[u32], values: &[ArrayRef]) -> Result<BooleanBuffer> {
        let rows = match self.config.aggregates.rows_column() {
            Some(rows) if self.config.counts_rows => {
                arrow::array::AsArray::as_primitive_opt(&values[rows]).cloned()
            }
            _ => None,
        };
        let Some(rows): Option<arrow::array::Int64Array> = rows else {
            return Ok(BooleanBuffer::new_set(slots.len()));
        };
        let count = |row: usize| {
            if rows.is_null(row) {
                0
            } else {
                rows.value(row)
            }
        };
        if let Some(row) = (0..rows.len()).find(|&row| count(row) < 0) {
            let reason =
                "rows were taken back that had never come: the input is not a consistent changelog"
                    .to_owned();
            return Err(self.group_failed(
                slots,
                Failure {
                    row,
                    reason,
                    span: weir_types::Span::default(),
                },
            ));
        }
        if self.config.keys.is_empty() {
            return Ok(BooleanBuffer::new_set(slots.len()));
        }
        let keys = if self.config.always.is_empty() {
            Vec::new()
        } else {
            self.groups.keys(slots)?
        };
        Ok((0..rows.len())
            .map(|row| count(row) > 0 || self.is_always(&keys, row))
            .collect())
    }

    /// Makes the groups exist that are there even without rows.
    fn ensure_always(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.awaits_always) {
            return Ok(());
        }
        let mut slots = std::mem::take(&mut self.slots);
        for group in std::mem::take(&mut self.config.always) {
            slots.clear();
            self.groups.slots(&group.keys, &[group.hash], &mut slots)?;
            if self.groups.is_new(slots[0]) {
                self.groups.mark_dirty(&slots);
                self.touch(&slots)?;
            }
            self.config.always.push(group);
        }
        self.slots = slots;
        Ok(())
    }

    /// Whether the group at a row of key columns is there even without rows.
    fn is_always(&self, keys: &[ArrayRef], row: usize) -> bool {
        let is = |group: &AlwaysGroup| {
            let mut numbers = keys.iter().zip(&group.numbers);
            numbers.all(|(key, number)| match number {
                None => true,
                Some(number) => key
                    .as_primitive_opt::<Int64Type>()
                    .is_some_and(|values| values.is_valid(row) && values.value(row) == *number),
            })
        };
        self.config.always.iter().any(is)
    }
}

impl Forgets for Aggregate {
    fn forget(&mut self, keys: &[ArrayRef], hashes: &[u64]) -> Result<()> {
        let mut slots = Vec::new();
        self.groups.find(keys, hashes, &mut slots)?;
        // A group that is there even without rows is no key that gets old.
        let is_forgotten = |row: &usize| slots[*row] != u32::MAX && !self.is_always(keys, *row);
        let rows: Vec<usize> = (0..slots.len()).filter(is_forgotten).collect();
        for &row in &rows {
            self.sides.forget(keys, row, hashes[row])?;
        }
        let gone: Vec<u32> = rows.iter().map(|&row| slots[row]).collect();
        self.groups.remove(&gone);
        Ok(())
    }
}

impl Operator for Aggregate {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        _: &mut OperatorContext,
    ) -> Result<Progress> {
        let rows = batch.num_rows();
        let keys: Vec<ArrayRef> = self
            .config
            .keys
            .iter()
            .map(|&key| batch.rows.column(key).clone())
            .collect();
        let hashes = hash::hash_columns(&keys, rows);
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        self.groups.slots(&keys, &hashes, &mut slots)?;
        if slots.len() != rows {
            return Err(internal_text(
                &self.config.operator,
                "state gave another number of slots than rows",
            ));
        }
        self.touch(&slots)?;
        let aggregates = &self.config.aggregates;
        let updated = self.groups.with_columns(|columns| {
            aggregates.update(columns, &slots, &batch.rows, batch.retracted.as_ref())
        });
        updated.map_err(|failure| {
            aggregate_failed(
                &self.config.operator,
                failure,
                &batch.rows,
                &self.config.input,
            )
        })?;
        self.update_sides(&keys, &hashes, &slots, &batch)?;
        self.groups.mark_dirty(&slots);
        self.slots = slots;
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.ensure_always()?;
        if self.touched.slots.is_empty() {
            return Ok(Progress::Done);
        }
        let old = self
            .touched
            .old_results()
            .map_err(|error| internal(&self.config.operator, &error))?;
        self.give(
            Flush {
                old,
                next: 0,
                gone: Vec::new(),
            },
            ctx,
        )
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.flush.take() {
            Some(flush) => self.give(flush, ctx),
            None => Ok(Progress::Done),
        }
    }

    fn give_standing(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.give_groups(ctx)
    }

    fn holds_watermark(&self) -> bool {
        true
    }
}

/// The groups that an epoch has touched, in the order of their first touch.
#[derive(Default)]
struct Touched {
    slots: Vec<u32>,
    /// For each of `slots`: the row of its old result, `None` for a group that is new in this epoch.
    old: Vec<Option<u32>>,
    /// Pieces of the old results, one for each batch that touched known groups; in a piece one array an aggregate.
    pieces: Vec<Vec<ArrayRef>>,
    old_rows: u32,
    /// By slot.
    is_touched: Vec<bool>,
}

impl Touched {
    /// Marks slots; gives those that were not marked, in order.
    fn mark(&mut self, slots: &[u32]) -> Vec<u32> {
        let mut first = Vec::new();
        for &slot in slots {
            let index = slot as usize;
            if index >= self.is_touched.len() {
                self.is_touched
                    .resize((index + 1).next_power_of_two(), false);
            }
            if !std::mem::replace(&mut self.is_touched[index], true) {
                first.push(slot);
            }
        }
        first
    }

    /// Adds slots just marked; `old` are the results of those that are not new, in order.
    fn remember(
        &mut self,
        first: &[u32],
        is_new: impl Fn(u32) -> bool,
        old: Option<Vec<ArrayRef>>,
    ) {
        for &slot in first {
            self.slots.push(slot);
            self.old.push((!is_new(slot)).then(|| {
                self.old_rows += 1;
                self.old_rows - 1
            }));
        }
        self.pieces.extend(old);
    }

    /// All old results: one array an aggregate, empty if no known group was touched.
    fn old_results(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        let pieces = std::mem::take(&mut self.pieces);
        let columns = pieces.first().map_or(0, Vec::len);
        (0..columns)
            .map(|column| {
                concat(
                    &pieces
                        .iter()
                        .map(|piece| piece[column].as_ref())
                        .collect::<Vec<_>>(),
                )
            })
            .collect()
    }

    fn clear(&mut self) {
        for &slot in &self.slots {
            self.is_touched[slot as usize] = false;
        }
        self.slots.clear();
        self.old.clear();
        self.pieces.clear();
        self.old_rows = 0;
    }
}

/// The end of an epoch on its way out.
struct Flush {
    old: Vec<ArrayRef>,
    /// The next of the touched groups.
    next: usize,
    /// Groups without rows, removed at the end.
    gone: Vec<u32>,
}

/// The rows of an output batch, and where each comes from.
#[derive(Default)]
struct ChangePlan {
    key_rows: Vec<u32>,
    /// Array (0 old, 1 new) and row.
    places: Vec<(usize, usize)>,
    retracted: Vec<bool>,
}

impl ChangePlan {
    fn push(&mut self, key_row: usize, place: (usize, usize), retracted: bool) {
        self.key_rows.push(key_row as u32);
        self.places.push(place);
        self.retracted.push(retracted);
    }
}

/// Which groups have another result than before; new groups count as different.
fn differs(
    old: &[ArrayRef],
    new: &[ArrayRef],
    old_rows: &UInt32Array,
) -> Result<BooleanBuffer, ArrowError> {
    let mut differs: BooleanBuffer = old_rows.iter().map(|old| old.is_none()).collect();
    for (old, new) in old.iter().zip(new) {
        let old = take(old, old_rows, None)?;
        let different = if old.data_type().is_nested() {
            nested_differs(&old, new)?
        } else {
            cmp::distinct(&old, new)?.values().clone()
        };
        differs = &differs | &different;
    }
    Ok(differs)
}

/// The same for arrays, rows and maps, which the library's kernel does not compare.
fn nested_differs(old: &ArrayRef, new: &ArrayRef) -> Result<BooleanBuffer, ArrowError> {
    let compare = make_comparator(old, new, SortOptions::default())?;
    Ok((0..new.len())
        .map(|row| compare(row, row).is_ne())
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ListArray;

    use super::*;

    #[test]
    fn results_that_are_arrays_are_compared_by_their_elements() {
        let lists = |lists: Vec<Option<Vec<Option<i32>>>>| -> ArrayRef {
            Arc::new(ListArray::from_iter_primitive::<
                arrow::datatypes::Int32Type,
                _,
                _,
            >(lists))
        };
        let old = lists(vec![Some(vec![Some(1), None]), None, Some(vec![])]);
        let new = lists(vec![
            Some(vec![Some(1), None]),
            None,
            Some(vec![Some(2)]),
            Some(vec![]),
        ]);
        let old_rows = UInt32Array::from(vec![Some(0), Some(1), Some(2), None]);
        let differs = differs(&[old], &[new], &old_rows).unwrap();
        assert_eq!(
            differs.iter().collect::<Vec<_>>(),
            [false, false, true, true]
        );
    }
}
