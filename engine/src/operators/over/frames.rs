//! Which rows of an ordered partition are equal in the order, and which rows the frame of each has.
//!
//! ```text
//!   row     0   1   2   3   4   5        RANGE BETWEEN 1 PRECEDING AND CURRENT ROW, over the values below
//!   value   1   1   2   4   4   NULL
//!   group   0   0   1   2   2   3
//!   frame   0─2 0─2 0─3 3─5 3─5 5─6
//! ```

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType as ArrowType, Decimal128Type, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use arrow::row::RowConverter;
use weir_planner::over::{Exclusion, Frame, FrameBound, FrameUnit};
use weir_types::{Scalar, SortColumn};

use crate::operators::windows::to_micros;

/// The rows of a partition that are looked at, in order.
pub(super) struct Order {
    rows: usize,
    /// For each row the number of its group of equal rows.
    group_of: Vec<usize>,
    /// Where each group begins, and then the number of rows.
    starts: Vec<usize>,
    /// What RANGE measures its distances in; only where it does.
    values: Option<Values>,
}

/// The values of the order column, rising: those of a descending order with their sign turned.
enum Values {
    Whole(Vec<Option<i128>>),
    Float(Vec<Option<f64>>),
}

/// Rows that are looked at together, as stretches that do not touch.
pub(super) struct Frames {
    /// The stretches of all frames.
    pub(super) stretches: Vec<Range<usize>>,
    /// For each frame the end of its stretches.
    pub(super) ends: Vec<usize>,
    /// For each row the number of its frame: rows next to each other share one if it is the same.
    pub(super) of_row: Vec<u32>,
    /// For each frame the first row that has it.
    pub(super) first_rows: Vec<usize>,
}

impl Frames {
    /// The stretches of a frame.
    pub(super) fn of(&self, frame: usize) -> &[Range<usize>] {
        let start = frame.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.stretches[start..self.ends[frame]]
    }
}

impl Order {
    /// `ties` compares rows in the order's columns; `None`: all rows are equal. `measured`: RANGE has distances.
    pub(super) fn new(
        rows: &RecordBatch,
        order: &[SortColumn],
        ties: Option<&RowConverter>,
        measured: bool,
    ) -> Result<Self, ArrowError> {
        let count = rows.num_rows();
        let (mut group_of, mut starts) = (Vec::with_capacity(count), Vec::new());
        match ties {
            None => {
                group_of.resize(count, 0);
                starts.extend((count > 0).then_some(0));
            }
            Some(ties) => {
                let columns: Vec<ArrayRef> = order
                    .iter()
                    .map(|sort| rows.column(sort.column).clone())
                    .collect();
                let encoded = ties.convert_columns(&columns)?;
                for row in 0..count {
                    if row == 0 || encoded.row(row) != encoded.row(row - 1) {
                        starts.push(row);
                    }
                    group_of.push(starts.len() - 1);
                }
            }
        }
        starts.push(count);
        let values = match order {
            [sort] if measured => Some(Values::of(rows.column(sort.column), sort.descending)?),
            _ => None,
        };
        Ok(Self {
            rows: count,
            group_of,
            starts,
            values,
        })
    }

    pub(super) fn group_of(&self, row: usize) -> usize {
        self.group_of[row]
    }

    /// How many groups there are.
    pub(super) fn groups(&self) -> usize {
        self.starts.len() - 1
    }

    /// The rows that are equal to a row.
    pub(super) fn peers(&self, row: usize) -> Range<usize> {
        self.group(self.group_of[row])
    }

    /// The rows of a group.
    pub(super) fn group(&self, group: usize) -> Range<usize> {
        self.starts[group]..self.starts[group + 1]
    }

    /// The frame of a row, without what is excluded.
    pub(super) fn bounds(&self, frame: &Frame, row: usize) -> Range<usize> {
        let (start, end) = (
            self.start(&frame.start, frame.unit, row),
            self.end(&frame.end, frame.unit, row),
        );
        start..end.max(start)
    }

    /// The frames of some rows.
    pub(super) fn frames(&self, frame: &Frame, rows: Range<usize>) -> Frames {
        let mut frames = Frames {
            stretches: Vec::new(),
            ends: Vec::new(),
            of_row: Vec::with_capacity(rows.len()),
            first_rows: Vec::new(),
        };
        for row in rows {
            let left = self.stretches(frame, row);
            let left = left.into_iter().filter(|stretch| !stretch.is_empty());
            let before = frames.stretches.len();
            frames.stretches.extend(left);
            let known = frames.ends.len().checked_sub(1).filter(|&last| {
                let start = last.checked_sub(1).map_or(0, |i| frames.ends[i]);
                frames.stretches[start..before] == frames.stretches[before..]
            });
            if known.is_some() {
                frames.stretches.truncate(before);
            } else {
                frames.ends.push(frames.stretches.len());
                frames.first_rows.push(row);
            }
            frames.of_row.push(frames.ends.len() as u32 - 1);
        }
        frames
    }

    /// The frame of a row without what is excluded: before it, the row itself where its ties alone are left out, behind it.
    pub(super) fn stretches(&self, frame: &Frame, row: usize) -> [Range<usize>; 3] {
        let all = self.bounds(frame, row);
        let without = match frame.exclude {
            Exclusion::NoOthers => return [all, 0..0, 0..0],
            Exclusion::CurrentRow => row..row + 1,
            Exclusion::Group | Exclusion::Ties => self.peers(row),
        };
        let own = if frame.exclude == Exclusion::Ties && all.contains(&row) {
            row..row + 1
        } else {
            0..0
        };
        let before = all.start..without.start.clamp(all.start, all.end);
        let behind = without.end.clamp(all.start, all.end)..all.end;
        [before, own, behind]
    }

    fn start(&self, bound: &FrameBound, unit: FrameUnit, row: usize) -> usize {
        let count = bound.count().unwrap_or(0) as usize;
        let group = self.group_of[row];
        match (bound, unit) {
            (FrameBound::UnboundedPreceding, _) => 0,
            (FrameBound::UnboundedFollowing, _) => self.rows,
            (FrameBound::CurrentRow, FrameUnit::Rows) => row,
            (FrameBound::CurrentRow, _) => self.starts[group],
            (FrameBound::Preceding(_), FrameUnit::Rows) => row.saturating_sub(count),
            (FrameBound::Following(_), FrameUnit::Rows) => row.saturating_add(count).min(self.rows),
            (FrameBound::Preceding(_), FrameUnit::Groups) => {
                self.starts[group.saturating_sub(count)]
            }
            (FrameBound::Following(_), FrameUnit::Groups) => {
                self.starts[group.saturating_add(count).min(self.groups())]
            }
            (FrameBound::Preceding(by), FrameUnit::Range) => self.at_distance(row, by, true, false),
            (FrameBound::Following(by), FrameUnit::Range) => {
                self.at_distance(row, by, false, false)
            }
        }
    }

    fn end(&self, bound: &FrameBound, unit: FrameUnit, row: usize) -> usize {
        let count = bound.count().unwrap_or(0) as usize;
        let group = self.group_of[row];
        match (bound, unit) {
            (FrameBound::UnboundedPreceding, _) => 0,
            (FrameBound::UnboundedFollowing, _) => self.rows,
            (FrameBound::CurrentRow, FrameUnit::Rows) => row + 1,
            (FrameBound::CurrentRow, _) => self.starts[group + 1],
            (FrameBound::Preceding(_), FrameUnit::Rows) => (row + 1).saturating_sub(count),
            (FrameBound::Following(_), FrameUnit::Rows) => {
                (row + 1).saturating_add(count).min(self.rows)
            }
            (FrameBound::Preceding(_), FrameUnit::Groups) => {
                (group + 1).checked_sub(count).map_or(0, |g| self.starts[g])
            }
            (FrameBound::Following(_), FrameUnit::Groups) => {
                self.starts[(group + 1).saturating_add(count).min(self.groups())]
            }
            (FrameBound::Preceding(by), FrameUnit::Range) => self.at_distance(row, by, true, true),
            (FrameBound::Following(by), FrameUnit::Range) => self.at_distance(row, by, false, true),
        }
    }

    /// The first row that far before (or behind) the row, or the one behind the last such. A NULL has no distance to anything
    /// but other NULLs.
    fn at_distance(&self, row: usize, by: &Scalar, before: bool, behind_last: bool) -> usize {
        let peers = self.peers(row);
        let near = if behind_last { peers.end } else { peers.start };
        match &self.values {
            Some(Values::Whole(values)) => {
                let (Some(value), Some(by)) = (values[row], whole(by)) else {
                    return near;
                };
                let target = value.saturating_add(if before { -by } else { by });
                place(values, |value| {
                    *value < target || (behind_last && *value == target)
                })
            }
            Some(Values::Float(values)) => {
                let (Some(value), Scalar::Float(by)) = (values[row], by) else {
                    return near;
                };
                let by = f64::from_bits(*by);
                let target = value + if before { -by } else { by };
                if target.is_nan() {
                    return near;
                }
                place(values, |value| {
                    let order = value.total_cmp(&target);
                    order.is_lt() || (behind_last && order.is_eq())
                })
            }
            None => near,
        }
    }
}

/// The first row that is not NULL and for which `is_before` no longer holds; NULLs stand at one end.
fn place<T>(values: &[Option<T>], is_before: impl Fn(&T) -> bool) -> usize {
    let nulls_first = values.first().is_some_and(Option::is_none);
    values.partition_point(|value| match value {
        None => nulls_first,
        Some(value) => is_before(value),
    })
}

fn whole(by: &Scalar) -> Option<i128> {
    match by {
        Scalar::Int(by) => Some(i128::from(*by)),
        Scalar::Decimal(digits) => digits.parse().ok(),
        _ => None,
    }
}

impl Values {
    fn of(column: &ArrayRef, descending: bool) -> Result<Self, ArrowError> {
        let sign = |value: i128| if descending { -value } else { value };
        Ok(match column.data_type() {
            ArrowType::Float32 | ArrowType::Float64 => {
                let floats = cast(column, &ArrowType::Float64)?;
                let floats: &Float64Array = floats.as_primitive();
                let one_form = |value: f64| match (value.is_nan(), descending) {
                    (true, false) => f64::NAN,
                    (true, true) => -f64::NAN,
                    (false, false) => value + 0.0,
                    (false, true) => 0.0 - value,
                };
                Self::Float(floats.iter().map(|value| value.map(one_form)).collect())
            }
            ArrowType::Decimal128(..) => {
                let values = column.as_primitive::<Decimal128Type>().iter();
                Self::Whole(values.map(|value| value.map(sign)).collect())
            }
            ArrowType::UInt64 => {
                let values = column.as_primitive::<UInt64Type>().iter();
                Self::Whole(values.map(|v| v.map(|v| sign(i128::from(v)))).collect())
            }
            ArrowType::Timestamp(..) => {
                let micros = to_micros(column).ok_or_else(|| {
                    ArrowError::ComputeError("a time without microseconds".to_owned())
                })?;
                Self::Whole(
                    micros
                        .iter()
                        .map(|v| v.map(|v| sign(i128::from(v))))
                        .collect(),
                )
            }
            data_type => {
                let day = matches!(data_type, ArrowType::Date32);
                let unit: i128 = if day { 86_400_000_000 } else { 1 };
                let days = if day {
                    cast(&cast(column, &ArrowType::Int32)?, &ArrowType::Int64)?
                } else {
                    cast(column, &ArrowType::Int64)?
                };
                let values = days.as_primitive::<Int64Type>().iter();
                Self::Whole(
                    values
                        .map(|v| v.map(|v| sign(i128::from(v) * unit)))
                        .collect(),
                )
            }
        })
    }
}
