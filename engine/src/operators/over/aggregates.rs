//! Aggregates of frames, by the kernels of GROUP BY.
//!
//! ```text
//!   running      frames that begin with the first row: each is the one before and some rows more; slot by slot
//!   any other    frame by frame over its own rows, many frames at a time, one slot each
//! ```
//!
//! A sum over a frame is made of the frame's rows in their order and of nothing else: a sliding sum, from which rows are taken,
//! would depend on rows that are not in the frame (floats), and on where the sliding began.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use weir_planner::Side;
use weir_planner::accumulator_layout;
use weir_planner::plan::Aggregate;
use weir_state::Scratch;
use weir_types::{DataType, OperatorId, Schema};

use super::frames::Frames;
use crate::operators::aggregates::{Aggregates, Failure, Segments, active_rows};
use crate::operators::build::{aggregate_failed, cannot_aggregate, internal};
use crate::operators::sides::{one_form, sort_options};
use crate::{Error, Result};

/// Frames that are computed at a time.
const FRAMES: usize = 1024;
/// Rows of frames that are added at a time.
const ROWS: usize = 65_536;

/// The aggregates of some calls.
pub(super) struct FrameAggregates {
    operator: OperatorId,
    kernels: Aggregates,
    /// The columns of the input that they read: all that their rows have here.
    read: Vec<usize>,
    schema: Schema,
    scratch: Scratch,
}

impl FrameAggregates {
    pub(super) fn new(
        operator: &OperatorId,
        aggregates: &[Aggregate],
        input: &Schema,
    ) -> Result<Self> {
        let mut read: Vec<usize> = aggregates
            .iter()
            .flat_map(|call| {
                let order = call.order_by.iter().map(|item| item.column);
                let arguments = call.arguments.iter().copied();
                arguments
                    .chain(call.filter)
                    .chain(order)
                    .collect::<Vec<_>>()
            })
            .collect();
        read.sort_unstable();
        read.dedup();
        let place = |column: usize| read.iter().position(|&known| known == column).unwrap_or(0);
        let moved = |call: &Aggregate| {
            let mut call = call.clone();
            call.arguments.iter_mut().for_each(|c| *c = place(*c));
            call.filter = call.filter.map(place);
            call.order_by
                .iter_mut()
                .for_each(|item| item.column = place(item.column));
            call
        };
        let aggregates: Vec<Aggregate> = aggregates.iter().map(moved).collect();
        let schema: Schema = read.iter().map(|&column| input[column].clone()).collect();
        let kernels = Aggregates::compile(&aggregates, &schema, false)
            .map_err(|(span, message)| cannot_aggregate(span, message))?;
        let columns = accumulator_layout(&aggregates, &schema, false).columns;
        Ok(Self {
            operator: operator.clone(),
            kernels,
            read,
            schema,
            scratch: Scratch::new(columns),
        })
    }

    /// The columns that are read, of the rows of a partition.
    pub(super) fn projected(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = self
            .read
            .iter()
            .map(|&column| rows.column(column).clone())
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = DataType::arrow_schema(&self.schema);
        RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|error| internal(&self.operator, &error))
    }

    fn failed(&self, failure: Failure, rows: &RecordBatch) -> Error {
        aggregate_failed(&self.operator, failure, rows, &self.schema)
    }

    // ------------------------------------------------------------------ frames that grow

    /// The results of frames that end at `ends` (rising), each with all rows before; `carried` is what was accumulated of the rows
    /// before `start`. Gives one array for each aggregate, and what is accumulated in the end.
    pub(super) fn running(
        &mut self,
        rows: &RecordBatch,
        start: usize,
        ends: &[usize],
        carried: Option<&[ArrayRef]>,
    ) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        let rows = self.projected(rows)?;
        self.scratch.reset(FRAMES.min(ends.len()) + 1);
        if let Some(carried) = carried {
            self.scratch.set(0, carried, 0)?;
        }
        let (mut done, mut last) = (start, 0);
        let mut pieces = Vec::new();
        for ends in ends.chunks(FRAMES) {
            for (frame, &end) in ends.iter().enumerate() {
                let slot = frame as u32 + 1;
                self.scratch.copy(last, slot)?;
                last = slot;
                let added = rows.slice(done, end - done);
                let slots = vec![slot; end - done];
                let columns = &mut self.scratch.columns();
                let updated = self.kernels.update(columns, &slots, &added, None);
                updated.map_err(|failure| self.failed(failure, &added))?;
                done = end;
            }
            let slots: Vec<u32> = (1..=ends.len() as u32).collect();
            let values = self.scratch.values(&slots)?;
            let results = self.kernels.finish(&values, &[]);
            pieces.push(results.map_err(|mut failure| {
                failure.row = ends.get(failure.row).map_or(0, |end| end.saturating_sub(1));
                self.failed(failure, &rows)
            })?);
            self.scratch.copy(last, 0)?;
            last = 0;
        }
        let carried = self.scratch.values(&[0])?;
        Ok((self.joined(&pieces)?, carried))
    }

    fn joined(&self, pieces: &[Vec<ArrayRef>]) -> Result<Vec<ArrayRef>> {
        let width = pieces.first().map_or(0, Vec::len);
        (0..width)
            .map(|column| {
                let arrays: Vec<_> = pieces.iter().map(|piece| piece[column].as_ref()).collect();
                concat(&arrays).map_err(|error| internal(&self.operator, &error))
            })
            .collect()
    }

    // ------------------------------------------------------------------ any frames

    /// The results of frames, each computed from its own rows: one array for each aggregate.
    pub(super) fn each(&mut self, rows: &RecordBatch, frames: &Frames) -> Result<Vec<ArrayRef>> {
        let rows = self.projected(rows)?;
        let sides = self
            .kernels
            .sides()
            .iter()
            .map(|side| SideOrder::new(&rows, side))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| internal(&self.operator, &error))?;
        let (count, mut pieces, mut from) = (frames.ends.len(), Vec::new(), 0);
        while from < count {
            let (mut to, mut of_frames) = (from, 0);
            while to < count && to - from < FRAMES && (to == from || of_frames < ROWS) {
                of_frames += frames.of(to).iter().map(Range::len).sum::<usize>();
                to += 1;
            }
            pieces.push(self.some(&rows, frames, from..to, &sides)?);
            from = to;
        }
        self.joined(&pieces)
    }

    fn some(
        &mut self,
        rows: &RecordBatch,
        frames: &Frames,
        some: Range<usize>,
        sides: &[SideOrder],
    ) -> Result<Vec<ArrayRef>> {
        self.scratch.reset(some.len());
        let (mut slots, mut places): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        for frame in some.clone() {
            for stretch in frames.of(frame) {
                let mut rest = stretch.clone();
                while !rest.is_empty() {
                    let part = rest.start..rest.end.min(rest.start + ROWS);
                    rest.start = part.end;
                    slots.resize(slots.len() + part.len(), (frame - some.start) as u32);
                    places.extend(part.map(|row| row as u32));
                    if slots.len() >= ROWS {
                        self.add(rows, &mut slots, &mut places)?;
                    }
                }
            }
        }
        self.add(rows, &mut slots, &mut places)?;
        let segments = sides
            .iter()
            .map(|side| side.segments(frames, some.clone()))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| internal(&self.operator, &error))?;
        self.feed(&segments)?;
        let all: Vec<u32> = (0..some.len() as u32).collect();
        let values = self.scratch.values(&all)?;
        let segments: Vec<Option<Segments>> = segments.into_iter().map(Some).collect();
        let results = self.kernels.finish(&values, &segments);
        results.map_err(|mut failure| {
            let row = frames.first_rows.get(some.start + failure.row);
            failure.row = row.copied().unwrap_or(0);
            self.failed(failure, rows)
        })
    }

    fn add(
        &mut self,
        rows: &RecordBatch,
        slots: &mut Vec<u32>,
        places: &mut Vec<u32>,
    ) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        let places = UInt32Array::from(std::mem::take(places));
        let added = if rows.num_columns() == 0 {
            rows_alone(&rows.schema(), slots.len())
        } else {
            take_record_batch(rows, &places)
        };
        let added = added.map_err(|error| internal(&self.operator, &error))?;
        let columns = &mut self.scratch.columns();
        let updated = self.kernels.update(columns, slots, &added, None);
        updated.map_err(|failure| self.failed(failure, &added))?;
        slots.clear();
        Ok(())
    }

    /// The distinct values of each frame, to the kernels that count each once.
    fn feed(&mut self, segments: &[Segments]) -> Result<()> {
        for (side, segments) in segments.iter().enumerate() {
            if !self.kernels.is_fed_by(side) {
                continue;
            }
            let ranges = segments.ranges().enumerate();
            let slots: Vec<u32> = ranges
                .flat_map(|(frame, range)| range.map(move |_| frame as u32))
                .collect();
            let columns = &mut self.scratch.columns();
            let updated =
                self.kernels
                    .update_from_side(side, columns, &slots, &segments.rows, None);
            updated.map_err(|failure| {
                aggregate_failed(&self.operator, failure, &segments.rows, &Vec::new())
            })?;
        }
        Ok(())
    }
}

/// Rows without columns.
fn rows_alone(schema: &SchemaRef, count: usize) -> std::result::Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(Arc::clone(schema), Vec::new(), &options)
}

/// The rows of a partition in the order of a side table, as its folds want them.
struct SideOrder {
    /// The side's columns of all rows.
    values: RecordBatch,
    /// For each row its place in the side's order, equal rows at the same; `None`: the row does not count.
    places: Vec<Option<u32>>,
    /// For each place a row that stands there.
    at: Vec<u32>,
}

impl SideOrder {
    fn new(rows: &RecordBatch, side: &Side) -> std::result::Result<Self, ArrowError> {
        let column = |&column: &usize| rows.column(column).clone();
        let required: Vec<ArrayRef> = side.required.iter().map(column).collect();
        let filter: Option<&BooleanArray> =
            side.filter.map(|column| rows.column(column).as_boolean());
        let active = active_rows(&required, filter);
        let columns: Vec<ArrayRef> = side
            .columns
            .iter()
            .map(|by| one_form(rows.column(by.column).clone()))
            .collect();
        let fields = side.columns.iter().zip(&columns).map(|(by, values)| {
            SortField::new_with_options(values.data_type().clone(), sort_options(*by))
        });
        let encoded = RowConverter::new(fields.collect())?.convert_columns(&columns)?;
        let counts = |row: &u32| active.as_ref().is_none_or(|a| a.is_valid(*row as usize));
        let mut sorted: Vec<u32> = (0..rows.num_rows() as u32).filter(counts).collect();
        sorted.sort_by(|&a, &b| encoded.row(a as usize).cmp(&encoded.row(b as usize)));
        let (mut places, mut at) = (vec![None; rows.num_rows()], Vec::<u32>::new());
        for row in sorted {
            let is_new = at
                .last()
                .is_none_or(|&last| encoded.row(last as usize) != encoded.row(row as usize));
            if is_new {
                at.push(row);
            }
            places[row as usize] = Some(at.len() as u32 - 1);
        }
        let fields = rows.schema();
        let schema = arrow::datatypes::Schema::new(
            side.columns
                .iter()
                .map(|by| fields.field(by.column).clone())
                .collect::<Vec<_>>(),
        );
        Ok(Self {
            values: RecordBatch::try_new(Arc::new(schema), columns)?,
            places,
            at,
        })
    }

    fn segments(
        &self,
        frames: &Frames,
        some: Range<usize>,
    ) -> std::result::Result<Segments, ArrowError> {
        let (mut rows, mut counts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        let mut places: Vec<u32> = Vec::new();
        for frame in some {
            places.clear();
            let of_frame = frames.of(frame).iter().cloned().flatten();
            places.extend(of_frame.filter_map(|row| self.places[row]));
            places.sort_unstable();
            for place in places.chunk_by(|a, b| a == b) {
                rows.push(self.at[place[0] as usize]);
                counts.push(place.len() as i64);
            }
            ends.push(rows.len());
        }
        Ok(Segments {
            rows: take_record_batch(&self.values, &UInt32Array::from(rows))?,
            counts,
            ends,
        })
    }
}

/// Results by frame, one for each row.
pub(super) fn by_row(
    operator: &OperatorId,
    results: &ArrayRef,
    frames: &Frames,
) -> Result<ArrayRef> {
    let of_row = UInt32Array::from(frames.of_row.clone());
    take(results, &of_row, None).map_err(|error| internal(operator, &error))
}
