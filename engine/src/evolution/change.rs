//! Rows of an old state table as rows of the new one, batch by batch.
//!
//! ```text
//!   old   [slice] │ key │ value │ [count]
//!           └ conditions ─▶ rows that go on ─▶ columns by their places, cast, or empty ─▶ the first N of each key
//!   new   [slice] │ key │ value │ [count]
//! ```

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, new_null_array,
};
use arrow::compute::{CastOptions, and, cast_with_options, filter, take};
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use arrow::row::{OwnedRow, RowConverter, SortField};
use weir_planner::compare::{ColumnFrom, OldTable};
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_state::{Layout, Rows, RowsChange, TableSpec};
use weir_types::{Column, DataType, ProcessingTime, Schema};

use crate::expr::{CompiledExpr, RowErrorMode};
use crate::operators;
use crate::{Error, Result};

/// What becomes of the rows of a table.
pub(crate) struct Change {
    columns: Vec<Origin>,
    conditions: Vec<CompiledExpr>,
    first_rows: Option<u64>,
    /// The old key and value columns.
    schema: Schema,
    /// The types of the new ones.
    types: Vec<DataType>,
    keys: usize,
    changes_keys: bool,
    has_slice: bool,
    has_count: bool,
}

/// Where a column comes from.
enum Origin {
    Stored(usize),
    /// One value for all.
    Fresh(ArrayRef),
}

impl Change {
    /// `fresh`: of each value column of the new table what it is for a group without rows.
    pub(super) fn new(
        plan: &StreamPlan,
        operator: usize,
        old: &OldTable,
        before: &TableSpec,
        now: &TableSpec,
        fresh: Vec<ArrayRef>,
    ) -> Result<Self> {
        let schema: Schema = before.key.iter().chain(&before.value).cloned().collect();
        let id = &plan.operators[operator].id;
        let mode = RowErrorMode::of_plan(plan)?;
        let compiled = old
            .conditions
            .iter()
            .map(|condition| CompiledExpr::compile_with(condition, &schema, id, mode));
        let now_columns: Vec<&Column> = now.key.iter().chain(&now.value).collect();
        let columns = old
            .columns
            .iter()
            .enumerate()
            .map(|(place, from)| match from {
                ColumnFrom::Stored(stored) => Origin::Stored(*stored),
                ColumnFrom::Empty => {
                    let fresh = place
                        .checked_sub(now.key.len())
                        .and_then(|at| fresh.get(at));
                    let none = || new_null_array(&now_columns[place].data_type.to_arrow(), 1);
                    Origin::Fresh(fresh.cloned().unwrap_or_else(none))
                }
            });
        let in_place = |(place, from): (usize, &ColumnFrom)| {
            *from == ColumnFrom::Stored(place)
                && before.key.get(place).map(|column| &column.data_type)
                    == now.key.get(place).map(|column| &column.data_type)
        };
        let keys = now.key.len();
        let same_keys =
            before.key.len() == keys && old.columns.iter().enumerate().take(keys).all(in_place);
        Ok(Self {
            columns: columns.collect(),
            conditions: compiled.collect::<Result<_>>()?,
            first_rows: old.first_rows,
            types: now_columns
                .iter()
                .map(|column| column.data_type.clone())
                .collect(),
            keys,
            changes_keys: !same_keys,
            has_slice: now.layout == Layout::Slices,
            has_count: matches!(now.layout, Layout::MultiMap | Layout::Sorted),
            schema,
        })
    }

    /// Whether rows may belong to other key groups than before.
    pub(super) fn changes_keys(&self) -> bool {
        self.changes_keys
    }

    /// Begins a pass over rows in the order of their keys.
    pub(super) fn begin(self: &Arc<Self>) -> RowsChange {
        let change = self.clone();
        let mut cut = self.first_rows.map(|first| Cut::new(first, self.keys));
        Box::new(move |rows| {
            let changed = change.apply(rows)?;
            match &mut cut {
                Some(cut) => cut.apply(changed),
                None => Ok(changed),
            }
        })
    }

    /// The rows that go on, as rows of the new table.
    pub(super) fn apply(&self, rows: Rows) -> std::result::Result<Rows, String> {
        let rows = self.filtered(rows)?;
        let Rows { columns, rows } = rows;
        let first = usize::from(self.has_slice);
        let mut changed: Vec<ArrayRef> = columns[..first].to_vec();
        for (origin, data_type) in self.columns.iter().zip(&self.types) {
            let arrow = data_type.to_arrow();
            changed.push(match origin {
                Origin::Stored(stored) => wider(&columns[first + stored], &arrow)?,
                Origin::Fresh(value) => repeated(value, rows)?,
            });
        }
        if self.has_count {
            changed.extend(columns.last().cloned());
        }
        Ok(Rows {
            columns: changed,
            rows,
        })
    }

    fn filtered(&self, rows: Rows) -> std::result::Result<Rows, String> {
        if self.conditions.is_empty() {
            return Ok(rows);
        }
        let first = usize::from(self.has_slice);
        let stored = rows.columns[first..first + self.schema.len()].to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.rows));
        let schema = DataType::arrow_schema(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, stored, &options)
            .map_err(|error| error.to_string())?;
        let mut keep = BooleanArray::from(vec![true; rows.rows]);
        for condition in &self.conditions {
            let holds = condition
                .evaluate_filter(&batch, ProcessingTime(0))
                .map_err(|error| error.to_string())?;
            // What is NULL does not hold.
            let holds: BooleanArray = holds
                .iter()
                .map(|holds| Some(holds == Some(true)))
                .collect();
            keep = and(&keep, &holds).map_err(|error| error.to_string())?;
        }
        let columns = rows
            .columns
            .iter()
            .map(|column| filter(column, &keep).map_err(|error| error.to_string()))
            .collect::<std::result::Result<_, _>>()?;
        Ok(Rows {
            columns,
            rows: keep.true_count(),
        })
    }
}

/// A column in another type; a value that does not fit is an error, as it would be in a source.
pub(super) fn wider(column: &ArrayRef, arrow: &ArrowType) -> std::result::Result<ArrayRef, String> {
    if column.data_type() == arrow {
        return Ok(column.clone());
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column, arrow, &strict).map_err(|error| {
        format!(
            "[E0080] the old state has a value that does not fit the type that its column has now: {error}. Nothing was changed. \
             Declare the column with more digits before the point, or put its type back as it was"
        )
    })
}

fn repeated(value: &ArrayRef, rows: usize) -> std::result::Result<ArrayRef, String> {
    let places = arrow::array::UInt32Array::from(vec![0; rows]);
    take(value, &places, None).map_err(|error| error.to_string())
}

/// Keeps the first rows of each key.
struct Cut {
    first: u64,
    keys: usize,
    converter: Option<RowConverter>,
    key: Option<OwnedRow>,
    left: u64,
}

impl Cut {
    fn new(first: u64, keys: usize) -> Self {
        Self {
            first,
            keys,
            converter: None,
            key: None,
            left: first,
        }
    }

    fn apply(&mut self, rows: Rows) -> std::result::Result<Rows, String> {
        let failed = |error: arrow::error::ArrowError| error.to_string();
        let keys = &rows.columns[..self.keys];
        let counts = rows
            .columns
            .last()
            .map(|counts| counts.as_primitive::<Int64Type>().clone())
            .ok_or("rows of a ranking have a count")?;
        if self.converter.is_none() {
            let fields = keys
                .iter()
                .map(|key| SortField::new(key.data_type().clone()))
                .collect();
            self.converter = Some(RowConverter::new(fields).map_err(failed)?);
        }
        let converter = self.converter.as_ref().ok_or("no converter")?;
        let encoded = if keys.is_empty() {
            None
        } else {
            Some(converter.convert_columns(keys).map_err(failed)?)
        };
        let mut kept = Vec::with_capacity(rows.rows);
        let mut left_counts = Vec::new();
        for row in 0..rows.rows {
            if let Some(encoded) = &encoded {
                let key = encoded.row(row);
                if self.key.as_ref().is_none_or(|last| last.row() != key) {
                    self.key = Some(key.owned());
                    self.left = self.first;
                }
            }
            let count = counts
                .value(row)
                .min(i64::try_from(self.left).unwrap_or(i64::MAX));
            kept.push(count > 0);
            if count > 0 {
                left_counts.push(count);
                self.left -= count as u64;
            }
        }
        let keep = BooleanArray::from(kept);
        let mut columns: Vec<ArrayRef> = rows
            .columns
            .iter()
            .map(|column| filter(column, &keep))
            .collect::<std::result::Result<_, _>>()
            .map_err(failed)?;
        columns.pop();
        let rows = left_counts.len();
        columns.push(Arc::new(Int64Array::from(left_counts)));
        Ok(Rows { columns, rows })
    }
}

/// What the value columns of a table are for a key that has seen no row: of the groups of an aggregate what its kernels
/// begin with; nothing is known of others.
pub(super) fn fresh_values(
    plan: &StreamPlan,
    operator: usize,
    spec: &TableSpec,
) -> Result<Vec<ArrayRef>> {
    let of = &plan.operators[operator];
    let aggregates = match &of.kind {
        OperatorKind::Aggregate { aggregates, .. }
        | OperatorKind::WindowAggregate { aggregates, .. } => aggregates,
        _ => return Ok(Vec::new()),
    };
    if spec.table != "groups" {
        return Ok(Vec::new());
    }
    let input = &plan.operators[of.inputs[0].from];
    let retractions = input.changelog == weir_planner::plan::Changelog::Retractions;
    let fresh = operators::fresh_group(aggregates, of.visible(&input.schema), retractions);
    fresh.map_err(|message| Error::Internal {
        operator: of.id.clone(),
        message,
    })
}
