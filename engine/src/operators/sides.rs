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
//! 1. A row is in the table as often as it came less as often as it was taken back; below zero is an error (of slices, when
//!    a window reads them).
//! 2. Floats are stored in one form for equal values: no −0.0, one NaN.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
    UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take, take_record_batch};
use arrow::datatypes::{DataType as ArrowType, Float32Type, Float64Type, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use weir_planner::Side;
use weir_state::{SortBound, SortedRange, SortedTable};
use weir_types::{DataType, OperatorId, Schema, SortColumn as ByColumn};

use super::aggregates::{Aggregates, Reach, Segments, active_rows};
use super::build::{internal, internal_text};
use crate::Result;

/// One side table.
pub(super) struct SideTable {
    table: SortedTable,
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
        table: &dyn Fn(&str) -> SortedTable,
    ) -> Self {
        let side_table = |(index, side): (usize, &Side)| {
            let columns: Schema = side
                .columns
                .iter()
                .map(|column| input[column.column].clone())
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

    /// Adds rows of other groups, given by the columns of one table and how often each is there; gives those that this makes
    /// come for the first time, if kernels have to know of them.
    pub(super) fn merge(
        &self,
        table: usize,
        keys: &[ArrayRef],
        hashes: &[u64],
        values: &RecordBatch,
        counts: &[i64],
    ) -> Result<Option<Crossing>> {
        let side = &self.tables[table];
        let before = self.put(side, keys, hashes, values, counts, None)?;
        if !side.feeds {
            return Ok(None);
        }
        let all: UInt32Array = (0..values.num_rows() as u32).collect();
        crossing(table, &all, values, &before, counts)
            .map_err(|error| internal(&self.operator, &error))
    }

    /// Changes multiplicities; gives those from before, row by row, where there are no slices.
    fn put(
        &self,
        side: &SideTable,
        keys: &[ArrayRef],
        hashes: &[u64],
        values: &RecordBatch,
        weights: &[i64],
        slice: Option<i64>,
    ) -> Result<Vec<i64>> {
        let Some(slice) = slice else {
            return Ok(side.table.apply_counted(keys, hashes, values, weights)?);
        };
        // A row can be taken back after a window has closed to it: then it leaves a side slice that it never came to, and
        // both are right together when the later window is due.
        let stored = self.with_slice(values, slice)?;
        side.table.apply_signed(keys, hashes, &stored, weights)?;
        Ok(Vec::new())
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
                Some(reach) => self.segments(side, keys, hashes, slices, reach).map(Some),
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
            let segments = self.segments(side, keys, hashes, slices, Reach::All)?;
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

    /// The rows of groups in the order of the table: all, or those at one end.
    fn segments(
        &self,
        side: &SideTable,
        keys: &[ArrayRef],
        hashes: &[u64],
        slices: &[i64],
        reach: Reach,
    ) -> Result<Segments> {
        let failed = |error: ArrowError| internal(&self.operator, &error);
        let stored = match (self.sliced, slices) {
            (false, _) => self.stored(side, keys, hashes, None, reach)?,
            (true, &[slice]) => self.stored(side, keys, hashes, Some(slice), reach)?,
            (true, slices) => {
                let pieces = slices
                    .iter()
                    .map(|&slice| self.stored(side, keys, hashes, Some(slice), reach));
                let pieces = pieces.collect::<Result<Vec<_>>>()?;
                let merged = merged(side, &pieces, hashes.len()).map_err(failed)?;
                return self.checked(merged);
            }
        };
        self.checked(stored.segments(hashes.len()))
    }

    fn checked(&self, segments: Segments) -> Result<Segments> {
        if segments.counts.iter().all(|&count| count > 0) {
            return Ok(segments);
        }
        let message = "rows were taken back that this window had never counted: the input is not a consistent changelog";
        Err(internal_text(&self.operator, message))
    }

    /// The rows of groups (of one slice, where there are slices) in the order of the table.
    fn stored(
        &self,
        side: &SideTable,
        keys: &[ArrayRef],
        hashes: &[u64],
        slice: Option<i64>,
        reach: Reach,
    ) -> Result<Stored> {
        let value: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![slice.unwrap_or_default()]))];
        let bound = slice.map(|_| SortBound {
            values: &value,
            row: 0,
            inclusive: true,
        });
        let range = SortedRange {
            from: bound,
            to: bound,
            reverse: reach == Reach::Last,
        };
        let limit = if reach == Reach::All { usize::MAX } else { 1 };
        let found = side.table.range_each(keys, hashes, &range, limit)?;
        let columns = found.rows.columns().iter().skip(usize::from(self.sliced));
        let options = RecordBatchOptions::new().with_row_count(Some(found.counts.len()));
        let rows = RecordBatch::try_new_with_options(
            side.schema.clone(),
            columns.cloned().collect(),
            &options,
        );
        Ok(Stored {
            groups: found.probe_rows.values().to_vec(),
            rows: rows.map_err(|error| internal(&self.operator, &error))?,
            counts: found.counts,
        })
    }

    /// Drops the rows of one group.
    pub(super) fn forget(&self, keys: &[ArrayRef], row: usize, hash: u64) -> Result<()> {
        for side in &self.tables {
            side.table
                .remove_range(keys, row, hash, &SortedRange::default())?;
        }
        Ok(())
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
            let stored = self.stored(side, keys, hashes, Some(from), Reach::All)?;
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
    /// For each row the number of its group, ascending.
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
            let values = take(rows.column(column.column), chosen, None)?;
            Ok(one_form(values))
        });
        let columns = columns.collect::<std::result::Result<Vec<_>, ArrowError>>()?;
        RecordBatch::try_new(self.schema.clone(), columns)
    }
}

/// Floats that are equal become the same bytes.
pub(super) fn one_form(values: ArrayRef) -> ArrayRef {
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

pub(super) fn sort_options(column: ByColumn) -> SortOptions {
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

impl Stored {
    fn segments(self, groups: usize) -> Segments {
        let ends = (0..groups as u32)
            .map(|group| self.groups.partition_point(|&of| of <= group))
            .collect();
        Segments {
            rows: self.rows,
            counts: self.counts,
            ends,
        }
    }
}

/// The rows of several slices, put in order; equal rows become one.
fn merged(
    side: &SideTable,
    pieces: &[Stored],
    groups: usize,
) -> std::result::Result<Segments, ArrowError> {
    let rows: Vec<&RecordBatch> = pieces.iter().map(|piece| &piece.rows).collect();
    let rows = arrow::compute::concat_batches(&side.schema, rows)?;
    let of: UInt32Array = pieces
        .iter()
        .flat_map(|piece| piece.groups.clone())
        .collect();
    let counts: Vec<i64> = pieces
        .iter()
        .flat_map(|piece| piece.counts.clone())
        .collect();
    let mut order = vec![SortColumn {
        values: Arc::new(of) as ArrayRef,
        options: None,
    }];
    let columns = rows.columns().iter().zip(&side.side.columns);
    order.extend(columns.map(|(values, column)| SortColumn {
        values: values.clone(),
        options: Some(sort_options(*column)),
    }));
    let indices = lexsort_to_indices(&order, None)?;
    let sorted: Vec<ArrayRef> = order
        .iter()
        .map(|column| take(&column.values, &indices, None))
        .collect::<std::result::Result<_, _>>()?;
    let mut stored = Stored {
        groups: Vec::new(),
        rows,
        counts: Vec::new(),
    };
    let mut kept: Vec<u32> = Vec::new();
    if !indices.is_empty() {
        let of = sorted[0].as_primitive::<UInt32Type>();
        for range in arrow::compute::partition(&sorted)?.ranges() {
            stored.groups.push(of.value(range.start));
            kept.push(indices.value(range.start));
            let count = range.map(|row| counts[indices.value(row) as usize]).sum();
            stored.counts.push(count);
        }
    }
    stored.rows = take_record_batch(&stored.rows, &UInt32Array::from(kept))?;
    Ok(stored.segments(groups))
}
