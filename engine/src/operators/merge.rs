//! State that is put together from other state before the first row comes: groups that became one, rows that became equal.
//!
//! ```text
//!   entries of an old table ─▶ rows of the new one ─┬─ groups   kernels merge their columns
//!                                                   ├─ values   side tables add multiplicities; what is in them for the
//!                                                   │           first time reaches the kernels that they feed
//!                                                   └─ rows     multisets add multiplicities
//! ```

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::Int64Type;
use weir_planner::plan::{Aggregate, Changelog, OperatorKind, StreamPlan};
use weir_state::{Layout, MapTable, Scratch, TableSpec, WorkerState};
use weir_types::{Column, DataType, OperatorId, Schema};

use super::aggregates::Aggregates;
use super::build::{internal, internal_text};
use super::sides::Sides;
use crate::Result;

/// The state columns of a group that has seen no row, one value each.
pub(crate) fn fresh_group(
    aggregates: &[Aggregate],
    input: &[Column],
    retractions: bool,
) -> std::result::Result<Vec<ArrayRef>, String> {
    let schema: Schema = input.to_vec();
    let kernels = Aggregates::compile(aggregates, &schema, retractions);
    let kernels = kernels.map_err(|(_, message)| message)?;
    let mut scratch = Scratch::new(kernels.columns().clone());
    scratch.reset(1);
    kernels
        .begin(&mut scratch.columns(), 0, &null_row(&schema)?)
        .map_err(|failure| failure.reason)?;
    scratch.values(&[0]).map_err(|error| error.to_string())
}

fn null_row(schema: &Schema) -> std::result::Result<RecordBatch, String> {
    let columns = schema
        .iter()
        .map(|column| new_null_array(&column.data_type.to_arrow(), 1))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(DataType::arrow_schema(schema), columns, &options)
        .map_err(|error| error.to_string())
}

/// Fills one table of an operator.
pub(crate) struct Merger {
    operator: OperatorId,
    spec: TableSpec,
    into: Into,
}

enum Into {
    Groups(Box<Groups>),
    /// The table at this place of the operator's side tables.
    Side(Box<Groups>, usize),
    MultiMap(weir_state::MultiMapTable),
    Sorted(weir_state::SortedTable),
}

struct Groups {
    kernels: Aggregates,
    table: MapTable,
    sides: Sides,
    fresh: Vec<ArrayRef>,
}

/// Rows of a table: key columns, value columns, and in a multiset how often each is there.
pub(crate) struct Entries<'a> {
    pub(crate) keys: &'a [ArrayRef],
    pub(crate) hashes: &'a [u64],
    pub(crate) values: &'a [ArrayRef],
    pub(crate) counts: Option<&'a ArrayRef>,
}

impl Merger {
    /// For a table of an operator of the plan.
    pub(crate) fn new(
        plan: &StreamPlan,
        index: usize,
        spec: &TableSpec,
        state: &WorkerState,
    ) -> Result<Self> {
        let operator = &plan.operators[index];
        let into = match (&operator.kind, spec.layout) {
            (OperatorKind::Aggregate { aggregates, .. }, layout) => {
                let input = &plan.operators[operator.inputs[0].from];
                let retractions = input.changelog == Changelog::Retractions;
                let schema: Schema = operator.visible(&input.schema).to_vec();
                let kernels = Aggregates::compile(aggregates, &schema, retractions)
                    .map_err(|(_, message)| internal_text(&operator.id, &message))?;
                let sides = Sides::new(operator.id.clone(), &kernels, &schema, false, &|name| {
                    state.sorted_table(&operator.id, name)
                });
                let fresh = fresh_group(aggregates, &schema, retractions)
                    .map_err(|message| internal_text(&operator.id, &message))?;
                let side = kernels
                    .sides()
                    .iter()
                    .position(|side| side.name == spec.table);
                let groups = Box::new(Groups {
                    table: state.map_table(&operator.id, "groups"),
                    kernels,
                    sides,
                    fresh,
                });
                match (layout, side) {
                    (Layout::Map, None) => Into::Groups(groups),
                    (Layout::Sorted, Some(side)) => Into::Side(groups, side),
                    _ => return Err(unmergeable(&operator.id, spec)),
                }
            }
            (OperatorKind::Join { .. }, Layout::MultiMap) => {
                Into::MultiMap(state.multi_map_table(&operator.id, &spec.table))
            }
            (OperatorKind::Rank { .. }, Layout::Sorted) => {
                Into::Sorted(state.sorted_table(&operator.id, &spec.table))
            }
            _ => return Err(unmergeable(&operator.id, spec)),
        };
        Ok(Self {
            operator: operator.id.clone(),
            spec: spec.clone(),
            into,
        })
    }

    /// Adds rows to what is there.
    pub(crate) fn add(&self, entries: &Entries<'_>) -> Result<()> {
        match &self.into {
            Into::Groups(groups) => groups.add(&self.operator, entries),
            Into::Side(groups, side) => {
                let (rows, weights) = self.multiset(entries)?;
                let crossing =
                    groups
                        .sides
                        .merge(*side, entries.keys, entries.hashes, &rows, &weights)?;
                let Some(crossing) = crossing else {
                    return Ok(());
                };
                let slots = groups.slots(entries)?;
                let slots: Vec<u32> = crossing
                    .rows_of
                    .iter()
                    .map(|&row| slots[row as usize])
                    .collect();
                let updated = groups.table.with_columns(|columns| {
                    let (rows, retracted) = (&crossing.rows, Some(&crossing.retracted));
                    groups
                        .kernels
                        .update_from_side(*side, columns, &slots, rows, retracted)
                });
                updated.map_err(|failure| internal_text(&self.operator, &failure.reason))?;
                groups.table.mark_dirty(&slots);
                Ok(())
            }
            Into::MultiMap(table) => {
                let (rows, weights) = self.multiset(entries)?;
                Ok(table.apply(entries.keys, entries.hashes, &rows, &weights)?)
            }
            Into::Sorted(table) => {
                let (rows, weights) = self.multiset(entries)?;
                Ok(table.apply(entries.keys, entries.hashes, &rows, &weights)?)
            }
        }
    }

    fn multiset(&self, entries: &Entries<'_>) -> Result<(RecordBatch, Vec<i64>)> {
        let counts = entries
            .counts
            .and_then(|counts| counts.as_primitive_opt::<Int64Type>())
            .ok_or_else(|| unmergeable(&self.operator, &self.spec))?;
        let options = RecordBatchOptions::new().with_row_count(Some(counts.len()));
        let schema = DataType::arrow_schema(&self.spec.value);
        let rows = RecordBatch::try_new_with_options(schema, entries.values.to_vec(), &options)
            .map_err(|error| internal(&self.operator, &error))?;
        Ok((rows, counts.values().to_vec()))
    }
}

impl Groups {
    fn slots(&self, entries: &Entries<'_>) -> Result<Vec<u32>> {
        let mut slots = Vec::new();
        self.table.slots(entries.keys, entries.hashes, &mut slots)?;
        Ok(slots)
    }

    fn add(&self, operator: &OperatorId, entries: &Entries<'_>) -> Result<()> {
        let slots = self.slots(entries)?;
        // What a side table feeds is added by that: until then it is what it is for a group without rows.
        let mut new: Vec<u32> = slots.clone();
        new.retain(|&slot| self.table.is_new(slot));
        new.sort_unstable();
        new.dedup();
        for slot in new {
            let untouched = self.table.with_columns(|columns| {
                (0..self.fresh.len()).all(|column| columns.is_null(column, slot))
            });
            if untouched {
                self.table.set_values(&[slot], &self.fresh)?;
            }
        }
        let merged = self
            .table
            .with_columns(|columns| self.kernels.merge(columns, &slots, entries.values));
        merged.map_err(|failure| internal_text(operator, &failure.reason))?;
        self.table.mark_dirty(&slots);
        Ok(())
    }
}

fn unmergeable(operator: &OperatorId, spec: &TableSpec) -> crate::Error {
    internal_text(
        operator,
        &format!("entries of its table `{}` cannot become one", spec.table),
    )
}
