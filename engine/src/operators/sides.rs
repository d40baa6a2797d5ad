//! The side tables of an aggregate: for each group the rows that some of its aggregates look at, in order.
//!
//! ```text
//!   batch ─▶ rows that count (FILTER, not NULL) ─▶ table: group → multiset of values
//!                                               └▶ values that came or went ─▶ kernels of DISTINCT aggregates
//!   touched groups ─▶ read once ─▶ segments ─▶ folds: median, mode, string_agg …
//! ```
//!
//! Tables of the same columns, as `count(DISTINCT x)` has one for each of its filters, get their rows in bytes that are made once.
//!
//! Windowed aggregates keep the rows of all slices of time in one table; the first column says which slice.
//!
//! # Invariants
//! 1. A row is in the table as often as it came less as often as it was taken back; below zero is an error (of slices, when
//!    a window reads them).
//! 2. Floats are stored in one form for equal values: no −0.0, one NaN.

mod crossing;

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
use weir_state::{Entries, SortBound, SortedRange, SortedTable};
use weir_types::{DataType, OperatorId, Schema, SortColumn as ByColumn};

use self::crossing::{Values, crossing};
use super::aggregates::{Aggregates, Reach, Segments, active_rows};
use super::build::{internal, internal_text};
use crate::Result;

pub(super) use self::crossing::Crossing;

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
        let batch = Batch {
            keys,
            hashes,
            rows,
            slice,
        };
        let mut crossings = Vec::new();
        let mut shared: Vec<Shared<'_>> = Vec::new();
        for (index, side) in self.tables.iter().enumerate() {
            let active = side.active(rows);
            let chosen: Vec<u32> = match &active {
                None => (0..rows.num_rows() as u32).collect(),
                Some(active) => active.valid_indices().map(|row| row as u32).collect(),
            };
            if chosen.is_empty() {
                continue;
            }
            let weight = |&row: &u32| match retracted {
                Some(retracted) if retracted.value(row as usize) => -1,
                _ => 1,
            };
            let weights: Vec<i64> = chosen.iter().map(weight).collect();
            let (values, before) = if self.has_twin(index) {
                self.put_shared(side, &batch, &chosen, &weights, &mut shared)?
            } else {
                self.put_alone(side, &batch, &chosen, &weights)?
            };
            if side.feeds && slice.is_none() {
                let crossing = crossing(index, &chosen, &values, &before, &weights);
                crossings.extend(crossing.map_err(|error| internal(&self.operator, &error))?);
            }
        }
        Ok(crossings)
    }

    /// Changes a table that has its columns for itself. Gives the values of the rows, and the multiplicities from before.
    fn put_alone(
        &self,
        side: &SideTable,
        batch: &Batch<'_>,
        chosen: &[u32],
        weights: &[i64],
    ) -> Result<(Values, Vec<i64>)> {
        let failed = |error: ArrowError| internal(&self.operator, &error);
        let rows = UInt32Array::from(chosen.to_vec());
        let keys = batch.keys.iter().map(|key| take(key, &rows, None));
        let keys: Vec<ArrayRef> = keys
            .collect::<std::result::Result<_, _>>()
            .map_err(failed)?;
        let hashes = chosen.iter().map(|&row| batch.hashes[row as usize]);
        let hashes: Vec<u64> = hashes.collect();
        let values = side.values_of(batch.rows, Some(&rows)).map_err(failed)?;
        let before = self.put(side, &keys, &hashes, &values, weights, batch.slice)?;
        Ok((Values::Chosen(values), before))
    }

    /// The same for a table whose columns others hold, too.
    fn put_shared<'s>(
        &self,
        side: &'s SideTable,
        batch: &Batch<'_>,
        chosen: &[u32],
        weights: &[i64],
        shared: &mut Vec<Shared<'s>>,
    ) -> Result<(Values, Vec<i64>)> {
        let columns = &side.side.columns;
        let known = shared.iter().position(|shared| shared.columns == columns);
        let known = match known {
            Some(known) => known,
            None => {
                let values = side.values_of(batch.rows, None);
                let values = values.map_err(|error| internal(&self.operator, &error))?;
                let entries = self.entries(side, batch.keys, batch.hashes, &values, batch.slice)?;
                shared.push(Shared {
                    columns,
                    values,
                    entries,
                });
                shared.len() - 1
            }
        };
        let Shared {
            values, entries, ..
        } = &shared[known];
        let some = (chosen.len() < entries.len()).then(|| entries.chosen(chosen));
        let before = change(side, some.as_ref().unwrap_or(entries), weights, batch.slice)?;
        Ok((Values::All(values.clone()), before))
    }

    /// Whether another table holds the same columns.
    fn has_twin(&self, index: usize) -> bool {
        let columns = &self.tables[index].side.columns;
        let mut others = self.tables.iter().enumerate();
        others.any(|(other, side)| other != index && side.side.columns == *columns)
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
        let all: Vec<u32> = (0..values.num_rows() as u32).collect();
        crossing(
            table,
            &all,
            &Values::Chosen(values.clone()),
            &before,
            counts,
        )
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
        let entries = self.entries(side, keys, hashes, values, slice)?;
        change(side, &entries, weights, slice)
    }

    /// Rows in the form of a table's entries.
    fn entries(
        &self,
        side: &SideTable,
        keys: &[ArrayRef],
        hashes: &[u64],
        values: &RecordBatch,
        slice: Option<i64>,
    ) -> Result<Entries> {
        Ok(match slice {
            None => side.table.entries(keys, hashes, values)?,
            Some(slice) => {
                let stored = self.with_slice(values, slice)?;
                side.table.entries(keys, hashes, &stored)?
            }
        })
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

/// A batch on its way into the tables.
struct Batch<'a> {
    keys: &'a [ArrayRef],
    hashes: &'a [u64],
    rows: &'a RecordBatch,
    slice: Option<i64>,
}

/// The rows of a batch as several tables keep them.
struct Shared<'a> {
    columns: &'a [ByColumn],
    /// All rows of the batch.
    values: RecordBatch,
    entries: Entries,
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

    /// The table's columns of some rows, or of all.
    fn values_of(
        &self,
        rows: &RecordBatch,
        chosen: Option<&UInt32Array>,
    ) -> std::result::Result<RecordBatch, ArrowError> {
        let columns = self.side.columns.iter().map(|column| {
            let values = rows.column(column.column);
            Ok(one_form(match chosen {
                Some(chosen) => take(values, chosen, None)?,
                None => values.clone(),
            }))
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

/// Changes multiplicities; gives those from before, row by row, where there are no slices.
fn change(
    side: &SideTable,
    entries: &Entries,
    weights: &[i64],
    slice: Option<i64>,
) -> Result<Vec<i64>> {
    if slice.is_none() {
        return Ok(side.table.apply_counted(entries, weights)?);
    }
    // A row can be taken back after a window has closed to it: then it leaves a side slice that it never came to, and
    // both are right together when the later window is due.
    side.table.apply_signed(entries, weights)?;
    Ok(Vec::new())
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
