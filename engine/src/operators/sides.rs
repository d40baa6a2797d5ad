//! The side tables of an aggregate: for each group the rows that some of its aggregates look at, in order.
//!
//! ```text
//!   batch ─▶ rows that count (FILTER, not NULL) ─▶ table: group → multiset of values
//!                                               └▶ values that came or went ─▶ kernels of DISTINCT aggregates
//!   touched groups ─▶ read once ─▶ segments ─▶ folds: median, mode, string_agg …
//! ```
//!
//! Windowed aggregates keep the rows of all slices of time in one table; the first column says which slice.
//!
//! # Invariants
//! 1. A row is in the table as often as it came less as often as it was taken back; below zero is an error.
//! 2. Floats are stored in one form for equal values: no −0.0, one NaN.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take, take_record_batch};
use arrow::datatypes::{DataType as ArrowType, Float32Type, Float64Type, SchemaRef};
use arrow::error::ArrowError;
use weir_planner::{Side, SideColumn};
use weir_state::{MultiMapTable, ProbeCursor};
use weir_types::{DataType, OperatorId, Schema};

use super::aggregates::{Aggregates, Reach, Segments, active_rows};
use super::build::internal;
use crate::Result;

/// Rows that a probe gives at once.
const PROBE_ROWS: usize = 16_384;

/// One side table.
pub(super) struct SideTable {
    table: MultiMapTable,
    side: Side,
    /// Whether its changes feed kernels.
    feeds: bool,
    /// Which rows of a group are looked at; `None`: it only feeds.
    reach: Option<Reach>,
    /// The columns of a row, without the slice.
    schema: SchemaRef,
}

/// The side tables of one operator.
pub(super) struct Sides {
    operator: OperatorId,
    tables: Vec<SideTable>,
    /// Whether rows belong to slices of time.
    sliced: bool,
}

/// Values that came to a side table, or left it.
pub(super) struct Crossing {
    /// The side table.
    pub(super) side: usize,
    /// For each value the row of the batch.
    pub(super) rows_of: Vec<u32>,
    /// The values: the table's columns.
    pub(super) rows: RecordBatch,
    /// Those that left.
    pub(super) retracted: BooleanBuffer,
}

impl Sides {
    /// The side tables that the kernels want; `table` gives the handle of a state table.
    pub(super) fn new(
        operator: OperatorId,
        aggregates: &Aggregates,
        input: &Schema,
        sliced: bool,
        table: &dyn Fn(&str) -> MultiMapTable,
    ) -> Self {
        let side_table = |(index, side): (usize, &Side)| {
            let columns: Schema = side
                .columns
                .iter()
                .map(|column| input[column.input].clone())
                .collect();
            SideTable {
                table: table(&side.name),
                side: side.clone(),
                feeds: aggregates.is_fed_by(index),
                reach: aggregates.reads_of(index),
                schema: DataType::arrow_schema(&columns),
            }
        };
        Self {
            tables: aggregates
                .sides()
                .iter()
                .enumerate()
                .map(side_table)
                .collect(),
            operator,
            sliced,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Adds the rows of a batch to every table, or takes them back: `slice` is the slice that they belong to. Gives the values
    /// whose coming or going kernels have to know of (none where there are slices: values of two slices may be equal).
    pub(super) fn apply(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        rows: &RecordBatch,
        retracted: Option<&BooleanBuffer>,
        slice: Option<i64>,
    ) -> Result<Vec<Crossing>> {
        let mut crossings = Vec::new();
        for (index, side) in self.tables.iter().enumerate() {
            let active = side.active(rows);
            let chosen: UInt32Array = match &active {
                None => (0..rows.num_rows() as u32).collect(),
                Some(active) => active.valid_indices().map(|row| row as u32).collect(),
            };
            if chosen.is_empty() {
                continue;
            }
            let failed = |error: ArrowError| internal(&self.operator, &error);
            let values = side.values_of(rows, &chosen).map_err(failed)?;
            let keys: Vec<ArrayRef> = keys
                .iter()
                .map(|key| take(key, &chosen, None))
                .collect::<std::result::Result<_, _>>()
                .map_err(failed)?;
            let of = |row: usize| chosen.value(row) as usize;
            let hashes: Vec<u64> = (0..chosen.len()).map(|row| hashes[of(row)]).collect();
            let weight = |row: usize| match retracted {
                Some(retracted) if retracted.value(of(row)) => -1,
                _ => 1,
            };
            let weights: Vec<i64> = (0..chosen.len()).map(weight).collect();
            let before = self.put(side, &keys, &hashes, &values, &weights, slice)?;
            if side.feeds && slice.is_none() {
                crossings
                    .extend(crossing(index, &chosen, &values, &before, &weights).map_err(failed)?);
            }
        }
        Ok(crossings)
    }

    /// Changes multiplicities; gives those from before, row by row.
    fn put(
        &self,
        side: &SideTable,
        keys: &[ArrayRef],
        hashes: &[u64],
        values: &RecordBatch,
        weights: &[i64],
        slice: Option<i64>,
    ) -> Result<Vec<i64>> {
        let stored = match slice {
            None => values.clone(),
            Some(slice) => self.with_slice(values, slice)?,
        };
        Ok(side.table.apply_counted(keys, hashes, &stored, weights)?)
    }

    fn with_slice(&self, values: &RecordBatch, slice: i64) -> Result<RecordBatch> {
        let slices: ArrayRef = Arc::new(Int64Array::from_value(slice, values.num_rows()));
        let mut fields = vec![Arc::new(arrow::datatypes::Field::new(
            "slice",
            ArrowType::Int64,
            true,
        ))];
        fields.extend(values.schema().fields().iter().cloned());
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let columns = std::iter::once(slices)
            .chain(values.columns().iter().cloned())
            .collect();
        RecordBatch::try_new(schema, columns).map_err(|error| internal(&self.operator, &error))
    }

    /// What the folds read of these groups: one entry for each side table, `None` where nothing reads.
    pub(super) fn read(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        slices: &[i64],
    ) -> Result<Vec<Option<Segments>>> {
        self.tables
            .iter()
            .map(|side| match side.reach {
                Some(_) => self.segments(side, keys, hashes, slices).map(Some),
                None => Ok(None),
            })
            .collect()
    }

    /// The distinct values of these groups for the kernels that are fed by side tables, with the group of each.
    pub(super) fn distinct_values(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        slices: &[i64],
    ) -> Result<Vec<Crossing>> {
        let mut crossings = Vec::new();
        for (index, side) in self
            .tables
            .iter()
            .enumerate()
            .filter(|(_, side)| side.feeds)
        {
            let segments = self.segments(side, keys, hashes, slices)?;
            let rows_of = segments
                .ranges()
                .enumerate()
                .flat_map(|(group, range)| range.map(move |_| group as u32))
                .collect();
            crossings.push(Crossing {
                side: index,
                rows_of,
                retracted: BooleanBuffer::new_unset(segments.rows.num_rows()),
                rows: segments.rows,
            });
        }
        Ok(crossings)
    }

    /// The rows of groups in the order of the table.
    fn segments(
        &self,
        side: &SideTable,
        keys: &[ArrayRef],
        hashes: &[u64],
        slices: &[i64],
    ) -> Result<Segments> {
        let failed = |error: ArrowError| internal(&self.operator, &error);
        let mut found = self.stored(side, keys, hashes, slices)?;
        let mut order = vec![SortColumn {
            values: Arc::new(UInt32Array::from(std::mem::take(&mut found.groups))),
            options: None,
        }];
        let columns = found.rows.columns().iter().zip(&side.side.columns);
        order.extend(columns.map(|(values, column)| SortColumn {
            values: values.clone(),
            options: Some(sort_options(*column)),
        }));
        let indices = lexsort_to_indices(&order, None).map_err(failed)?;
        let groups = take(&order[0].values, &indices, None).map_err(failed)?;
        let groups = groups.as_primitive::<arrow::datatypes::UInt32Type>();
        let rows = take_record_batch(&found.rows, &indices).map_err(failed)?;
        let counts: Vec<i64> = indices
            .values()
            .iter()
            .map(|&row| found.counts[row as usize])
            .collect();
        let ends = (0..hashes.len() as u32)
            .map(|group| groups.values().partition_point(|&of| of <= group))
            .collect();
        let segments = Segments { rows, counts, ends };
        if self.sliced && slices.len() > 1 {
            return merged(segments).map_err(failed);
        }
        Ok(segments)
    }

    /// The rows of groups, of certain slices alone where there are slices, in no order.
    fn stored(
        &self,
        side: &SideTable,
        keys: &[ArrayRef],
        hashes: &[u64],
        slices: &[i64],
    ) -> Result<Stored> {
        let failed = |error: ArrowError| internal(&self.operator, &error);
        let mut stored = Stored {
            groups: Vec::new(),
            rows: RecordBatch::new_empty(side.schema.clone()),
            counts: Vec::new(),
        };
        let mut pieces = Vec::new();
        let mut cursor = ProbeCursor::default();
        loop {
            let (matches, next) = side.table.probe(keys, hashes, None, cursor, PROBE_ROWS)?;
            let of_slices = |row: &usize| {
                !self.sliced || {
                    let slice = matches
                        .rows
                        .column(0)
                        .as_primitive::<arrow::datatypes::Int64Type>();
                    slices.contains(&slice.value(*row))
                }
            };
            let kept: Vec<usize> = (0..matches.counts.len()).filter(of_slices).collect();
            stored
                .groups
                .extend(kept.iter().map(|&row| matches.probe_rows.value(row)));
            stored
                .counts
                .extend(kept.iter().map(|&row| matches.counts[row]));
            let indices: UInt32Array = kept.iter().map(|&row| row as u32).collect();
            let columns = matches.rows.columns().iter().skip(usize::from(self.sliced));
            let columns: Vec<ArrayRef> = columns
                .map(|column| take(column, &indices, None))
                .collect::<std::result::Result<_, _>>()
                .map_err(failed)?;
            pieces.push(RecordBatch::try_new(side.schema.clone(), columns).map_err(failed)?);
            match next {
                Some(next) => cursor = next,
                None => break,
            }
        }
        stored.rows = arrow::compute::concat_batches(&side.schema, &pieces).map_err(failed)?;
        Ok(stored)
    }

    /// Takes the rows of a slice out of these groups; into another slice, if there is one.
    pub(super) fn move_slice(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        from: i64,
        into: Option<i64>,
    ) -> Result<()> {
        let failed = |error: ArrowError| internal(&self.operator, &error);
        for side in &self.tables {
            let stored = self.stored(side, keys, hashes, &[from])?;
            if stored.counts.is_empty() {
                continue;
            }
            let groups = UInt32Array::from(stored.groups);
            let keys: Vec<ArrayRef> = keys
                .iter()
                .map(|key| take(key, &groups, None))
                .collect::<std::result::Result<_, _>>()
                .map_err(failed)?;
            let hashes: Vec<u64> = groups
                .values()
                .iter()
                .map(|&group| hashes[group as usize])
                .collect();
            let gone: Vec<i64> = stored.counts.iter().map(|count| -count).collect();
            self.put(side, &keys, &hashes, &stored.rows, &gone, Some(from))?;
            if into.is_some() {
                self.put(side, &keys, &hashes, &stored.rows, &stored.counts, into)?;
            }
        }
        Ok(())
    }
}

/// Rows of groups.
struct Stored {
    /// For each row the number of its group.
    groups: Vec<u32>,
    rows: RecordBatch,
    counts: Vec<i64>,
}

impl SideTable {
    /// The rows of a batch that count; `None`: all.
    fn active(&self, rows: &RecordBatch) -> Option<NullBuffer> {
        let required: Vec<ArrayRef> = self
            .side
            .required
            .iter()
            .map(|&column| rows.column(column).clone())
            .collect();
        let filter: Option<&BooleanArray> = self
            .side
            .filter
            .map(|column| rows.column(column).as_boolean());
        active_rows(&required, filter)
    }

    /// The table's columns of some rows.
    fn values_of(
        &self,
        rows: &RecordBatch,
        chosen: &UInt32Array,
    ) -> std::result::Result<RecordBatch, ArrowError> {
        let columns = self.side.columns.iter().map(|column| {
            let values = take(rows.column(column.input), chosen, None)?;
            Ok(one_form(values))
        });
        let columns = columns.collect::<std::result::Result<Vec<_>, ArrowError>>()?;
        RecordBatch::try_new(self.schema.clone(), columns)
    }
}

/// Floats that are equal become the same bytes.
fn one_form(values: ArrayRef) -> ArrayRef {
    match values.data_type() {
        ArrowType::Float64 => Arc::new(
            values
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|value: f64| {
                    if value.is_nan() {
                        f64::NAN
                    } else {
                        value + 0.0
                    }
                }),
        ),
        ArrowType::Float32 => Arc::new(
            values
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|value: f32| {
                    if value.is_nan() {
                        f32::NAN
                    } else {
                        value + 0.0
                    }
                }),
        ),
        _ => values,
    }
}

fn sort_options(column: SideColumn) -> SortOptions {
    SortOptions {
        descending: column.descending,
        nulls_first: column.nulls_first,
    }
}

/// The values that were not there before and are now, and the other way round.
fn crossing(
    side: usize,
    chosen: &UInt32Array,
    values: &RecordBatch,
    before: &[i64],
    weights: &[i64],
) -> std::result::Result<Option<Crossing>, ArrowError> {
    let (mut rows_of, mut places, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for (row, (&before, &weight)) in before.iter().zip(weights).enumerate() {
        let (was, is) = (before > 0, before + weight > 0);
        if was != is {
            rows_of.push(chosen.value(row));
            places.push(row as u32);
            left.push(was);
        }
    }
    if places.is_empty() {
        return Ok(None);
    }
    let rows = take_record_batch(values, &UInt32Array::from(places))?;
    Ok(Some(Crossing {
        side,
        rows_of,
        rows,
        retracted: left.into(),
    }))
}

/// Equal rows of different slices become one.
fn merged(segments: Segments) -> std::result::Result<Segments, ArrowError> {
    let rows = segments.rows.num_rows();
    let is_new = if rows == 0 {
        Vec::new()
    } else {
        let parts = arrow::compute::partition(segments.rows.columns())?;
        let mut starts = vec![false; rows];
        for range in parts.ranges() {
            starts[range.start] = true;
        }
        for range in segments.ranges().filter(|range| !range.is_empty()) {
            starts[range.start] = true;
        }
        starts
    };
    let mut kept: Vec<u32> = Vec::new();
    let mut counts: Vec<i64> = Vec::new();
    for (row, is_new) in is_new.into_iter().enumerate() {
        match counts.last_mut() {
            Some(count) if !is_new => *count += segments.counts[row],
            _ => {
                kept.push(row as u32);
                counts.push(segments.counts[row]);
            }
        }
    }
    let ends = segments
        .ends
        .iter()
        .map(|&end| kept.partition_point(|&row| (row as usize) < end))
        .collect();
    Ok(Segments {
        rows: take_record_batch(&segments.rows, &UInt32Array::from(kept))?,
        counts,
        ends,
    })
}
