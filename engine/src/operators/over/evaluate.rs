//! The results of all calls of an OVER for some rows of a partition.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use weir_planner::over::{Frame, FrameBound, FrameUnit, OverCall, OverFunction, accumulated};
use weir_types::{OperatorId, Schema, SortColumn};

use super::aggregates::{FrameAggregates, by_row};
use super::frames::{Frames, Order};
use crate::Result;
use crate::operators::build::internal;

/// Rows of a partition in order, and which of them want results.
///
/// ```text
///   rows     │ first ones │ … gap … │ last ones │ rows that want results │ rows behind them │
///            0           head                  wanted.start          wanted.end
/// ```
pub(super) struct Stretch {
    pub(super) rows: RecordBatch,
    pub(super) wanted: Range<usize>,
    /// How many rows there are before the gap.
    pub(super) head: usize,
    /// How many rows of the partition are left out there.
    pub(super) gap: usize,
    /// How many groups of equal rows there are before the first row that wants a result.
    pub(super) groups_before: usize,
}

impl Stretch {
    /// All rows of a partition.
    pub(super) fn whole(rows: RecordBatch) -> Self {
        Self {
            wanted: 0..rows.num_rows(),
            rows,
            head: 0,
            gap: 0,
            groups_before: 0,
        }
    }

    /// How many rows of the partition stand before a row.
    fn before(&self, row: usize) -> usize {
        if row >= self.head {
            row + self.gap
        } else {
            row
        }
    }

    /// The row before which so many rows of the partition stand.
    fn at(&self, before: usize) -> Option<usize> {
        if before < self.head || self.gap == 0 {
            Some(before)
        } else {
            before.checked_sub(self.gap).filter(|&row| row >= self.head)
        }
    }
}

/// See the module's text.
pub(super) struct Evaluator {
    operator: OperatorId,
    order: Vec<SortColumn>,
    /// Compares rows in the order; `None`: all are equal.
    ties: Option<RowConverter>,
    /// RANGE with a distance.
    measured: bool,
    pub(super) calls: Vec<OverCall>,
    /// Aggregates whose frames grow from the first row, and for each call its place among them.
    running: Option<FrameAggregates>,
    running_places: Vec<Option<usize>>,
    /// Other aggregates, by their frames, and for each call its place among them.
    framed: Vec<(Frame, FrameAggregates)>,
    framed_places: Vec<Option<(usize, usize)>>,
}

impl Evaluator {
    pub(super) fn new(
        operator: &OperatorId,
        order: &[SortColumn],
        calls: &[OverCall],
        input: &Schema,
    ) -> Result<Self> {
        let ties = if order.is_empty() {
            None
        } else {
            let fields = order
                .iter()
                .map(|sort| SortField::new(input[sort.column].data_type.to_arrow()));
            let converter = RowConverter::new(fields.collect());
            Some(converter.map_err(|error| internal(operator, &error))?)
        };
        let (aggregates, running_places) = accumulated(calls, input);
        let running = if aggregates.is_empty() {
            None
        } else {
            Some(FrameAggregates::new(operator, &aggregates, input)?)
        };
        let mut by_frame: Vec<(Frame, Vec<_>)> = Vec::new();
        let mut framed_places = vec![None; calls.len()];
        for (index, call) in calls.iter().enumerate() {
            let OverFunction::Aggregate(aggregate) = &call.function else {
                continue;
            };
            if running_places[index].is_some() {
                continue;
            }
            let known = by_frame.iter().position(|(frame, _)| *frame == call.frame);
            let set = known.unwrap_or_else(|| {
                by_frame.push((call.frame.clone(), Vec::new()));
                by_frame.len() - 1
            });
            framed_places[index] = Some((set, by_frame[set].1.len()));
            by_frame[set].1.push(aggregate.clone());
        }
        let framed = by_frame
            .into_iter()
            .map(|(frame, aggregates)| {
                Ok((frame, FrameAggregates::new(operator, &aggregates, input)?))
            })
            .collect::<Result<_>>()?;
        let has_distance = |bound: &FrameBound| {
            matches!(bound, FrameBound::Preceding(_) | FrameBound::Following(_))
        };
        Ok(Self {
            operator: operator.clone(),
            order: order.to_vec(),
            ties,
            measured: calls.iter().any(|call| {
                let frame = &call.frame;
                frame.unit == FrameUnit::Range
                    && (has_distance(&frame.start) || has_distance(&frame.end))
            }),
            calls: calls.to_vec(),
            running,
            running_places,
            framed,
            framed_places,
        })
    }

    fn failed(&self, error: &ArrowError) -> crate::Error {
        internal(&self.operator, error)
    }

    /// The order of some rows.
    pub(super) fn order_of(&self, rows: &RecordBatch) -> Result<Order> {
        Order::new(rows, &self.order, self.ties.as_ref(), self.measured)
            .map_err(|error| self.failed(&error))
    }

    /// For each call its results for the rows that want some; and what is accumulated after the last of them, where something is.
    /// `carried`: what was accumulated before the first.
    pub(super) fn evaluate(
        &mut self,
        stretch: &Stretch,
        order: &Order,
        carried: Option<&[ArrayRef]>,
    ) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        let (running, carried) = self.run(stretch, order, carried)?;
        let framed = self.framed(stretch, order)?;
        let mut results = Vec::with_capacity(self.calls.len());
        for (index, call) in self.calls.iter().enumerate() {
            let running = running[index].clone();
            let result = match running.or_else(|| framed[index].clone()) {
                Some(result) => result,
                None => self.result(call, stretch, order)?,
            };
            results.push(result);
        }
        Ok((results, carried))
    }

    /// The results of aggregates whose frames grow.
    fn run(
        &mut self,
        stretch: &Stretch,
        order: &Order,
        carried: Option<&[ArrayRef]>,
    ) -> Result<(Vec<Option<ArrayRef>>, Vec<ArrayRef>)> {
        let mut results = vec![None; self.calls.len()];
        let mut left = Vec::new();
        let Some(running) = &mut self.running else {
            return Ok((results, left));
        };
        let mut known: Vec<(FrameUnit, Frames, Vec<ArrayRef>)> = Vec::new();
        for (index, call) in self.calls.iter().enumerate() {
            let Some(place) = self.running_places[index] else {
                continue;
            };
            let unit = call.frame.unit;
            if known.iter().all(|(other, ..)| *other != unit) {
                let frames = order.frames(&call.frame, stretch.wanted.clone());
                let ends: Vec<usize> = (0..frames.ends.len())
                    .map(|frame| frames.of(frame).last().map_or(0, |stretch| stretch.end))
                    .collect();
                let start = if carried.is_some() {
                    stretch.wanted.start
                } else {
                    0
                };
                let (of_frames, after) = running.running(&stretch.rows, start, &ends, carried)?;
                left = after;
                known.push((unit, frames, of_frames));
            }
            let found = known.iter().find(|(other, ..)| *other == unit);
            if let Some((_, frames, of_frames)) = found
                && let Some(of_frames) = of_frames.get(place)
            {
                results[index] = Some(by_row(&self.operator, of_frames, frames)?);
            }
        }
        Ok((results, left))
    }

    /// The results of all other aggregates.
    fn framed(&mut self, stretch: &Stretch, order: &Order) -> Result<Vec<Option<ArrayRef>>> {
        let mut sets = Vec::with_capacity(self.framed.len());
        for (frame, aggregates) in &mut self.framed {
            let frames = order.frames(frame, stretch.wanted.clone());
            sets.push((aggregates.each(&stretch.rows, &frames)?, frames));
        }
        let of_call = |place: &Option<(usize, usize)>| match place {
            None => Ok(None),
            Some((set, place)) => {
                let (results, frames) = &sets[*set];
                match results.get(*place) {
                    Some(results) => by_row(&self.operator, results, frames).map(Some),
                    // Without rows there are no results.
                    None => Ok(None),
                }
            }
        };
        self.framed_places.iter().map(of_call).collect()
    }

    /// The results of a call that is no aggregate.
    fn result(&self, call: &OverCall, stretch: &Stretch, order: &Order) -> Result<ArrayRef> {
        let wanted = stretch.wanted.clone();
        let rows = stretch.before(stretch.rows.num_rows());
        let first_group = if wanted.is_empty() {
            0
        } else {
            order.group_of(wanted.start)
        };
        let rank = |row: usize| stretch.before(order.peers(row).start) as i64 + 1;
        let numbers = |number: &dyn Fn(usize) -> i64| -> ArrayRef {
            Arc::new(wanted.clone().map(number).collect::<Int64Array>())
        };
        let shares = |share: &dyn Fn(usize) -> f64| -> ArrayRef {
            Arc::new(wanted.clone().map(share).collect::<Float64Array>())
        };
        Ok(match &call.function {
            OverFunction::RowNumber => numbers(&|row| stretch.before(row) as i64 + 1),
            OverFunction::Rank => numbers(&rank),
            OverFunction::DenseRank => numbers(&|row| {
                (stretch.groups_before + order.group_of(row) - first_group) as i64 + 1
            }),
            OverFunction::PercentRank => shares(&|row| match rows {
                0 | 1 => 0.0,
                _ => (rank(row) - 1) as f64 / (rows - 1) as f64,
            }),
            OverFunction::CumeDist => {
                shares(&|row| stretch.before(order.peers(row).end) as f64 / rows as f64)
            }
            OverFunction::Ntile(parts) => {
                numbers(&|row| part_of(stretch.before(row) as u64, rows as u64, *parts) as i64)
            }
            OverFunction::Shift {
                value,
                by,
                default,
                ignore_nulls,
            } => {
                let value = stretch.rows.column(*value);
                let default = default.map(|default| stretch.rows.column(default));
                self.shifted(value, *by, default, *ignore_nulls, &wanted)?
            }
            OverFunction::Nth {
                value,
                place,
                from_last,
                ignore_nulls,
            } => {
                let value = stretch.rows.column(*value);
                let counted = Counted::of(value, *ignore_nulls);
                let pick = |row: usize| {
                    let place = usize::try_from(*place).ok()?;
                    if stretch.gap > 0 && call.frame.start == FrameBound::UnboundedPreceding {
                        let end = order.bounds(&call.frame, row).end;
                        let before = if *from_last {
                            stretch.before(end).checked_sub(place)?
                        } else {
                            place - 1
                        };
                        return stretch.at(before).filter(|&found| found < end);
                    }
                    counted.pick(&order.stretches(&call.frame, row), place, *from_last)
                };
                let picked: UInt32Array =
                    wanted.map(|row| pick(row).map(|row| row as u32)).collect();
                take(value, &picked, None).map_err(|error| self.failed(&error))?
            }
            // Every aggregate has its results by now, but for those of no rows.
            OverFunction::Aggregate(_) => {
                arrow::array::new_null_array(&call.data_type.to_arrow(), wanted.len())
            }
        })
    }

    fn shifted(
        &self,
        value: &ArrayRef,
        by: i64,
        default: Option<&ArrayRef>,
        ignore_nulls: bool,
        wanted: &Range<usize>,
    ) -> Result<ArrayRef> {
        let counted = Counted::of(value, ignore_nulls);
        let places: Vec<(Option<usize>, usize)> = wanted
            .clone()
            .map(|row| (counted.shifted(row, by, value.len()), row))
            .collect();
        let Some(default) = default else {
            let picked: UInt32Array = places
                .iter()
                .map(|(row, _)| row.map(|row| row as u32))
                .collect();
            return take(value, &picked, None).map_err(|error| self.failed(&error));
        };
        let picked: Vec<(usize, usize)> = places
            .into_iter()
            .map(|(found, row)| found.map_or((1, row), |found| (0, found)))
            .collect();
        interleave(&[value.as_ref(), default.as_ref()], &picked)
            .map_err(|error| self.failed(&error))
    }
}

/// The part that a row is in where `rows` are cut into `parts`, the first of them one row longer where it does not come out even.
fn part_of(before: u64, rows: u64, parts: u64) -> u64 {
    let (least, longer) = (rows / parts, rows % parts);
    let in_longer = longer * (least + 1);
    if before < in_longer {
        before / (least + 1) + 1
    } else {
        longer + (before - in_longer) / least.max(1) + 1
    }
}

/// The rows that count for a call: all, or those whose value is not NULL.
enum Counted {
    All,
    Valid(Vec<usize>),
}

impl Counted {
    fn of(value: &ArrayRef, ignore_nulls: bool) -> Self {
        match value.logical_nulls() {
            Some(nulls) if ignore_nulls => Self::Valid(nulls.valid_indices().collect()),
            _ => Self::All,
        }
    }

    /// How many of a stretch count.
    fn count(&self, stretch: &Range<usize>) -> usize {
        match self {
            Self::All => stretch.len(),
            Self::Valid(rows) => {
                let before = |end: usize| rows.partition_point(|&row| row < end);
                before(stretch.end) - before(stretch.start)
            }
        }
    }

    /// The n-th of a stretch that counts, from 0 on.
    fn nth(&self, stretch: &Range<usize>, n: usize) -> usize {
        match self {
            Self::All => stretch.start + n,
            Self::Valid(rows) => rows[rows.partition_point(|&row| row < stretch.start) + n],
        }
    }

    /// The row at a place of a frame, from 1 on.
    fn pick(&self, stretches: &[Range<usize>], place: usize, from_last: bool) -> Option<usize> {
        let mut left = place;
        let find = |stretch: &Range<usize>, left: &mut usize| {
            let count = if stretch.is_empty() {
                0
            } else {
                self.count(stretch)
            };
            if *left > count {
                *left -= count;
                return None;
            }
            let n = if from_last { count - *left } else { *left - 1 };
            Some(self.nth(stretch, n))
        };
        if from_last {
            stretches
                .iter()
                .rev()
                .find_map(|stretch| find(stretch, &mut left))
        } else {
            stretches
                .iter()
                .find_map(|stretch| find(stretch, &mut left))
        }
    }

    /// The row so many places away.
    fn shifted(&self, row: usize, by: i64, rows: usize) -> Option<usize> {
        let away = usize::try_from(by.unsigned_abs()).ok()?;
        match self {
            Self::All if by < 0 => row.checked_sub(away),
            Self::All => row.checked_add(away).filter(|&found| found < rows),
            Self::Valid(_) if by == 0 => Some(row),
            Self::Valid(valid) if by < 0 => {
                let before = valid.partition_point(|&other| other < row);
                before.checked_sub(away).map(|place| valid[place])
            }
            Self::Valid(valid) => {
                let behind = valid.partition_point(|&other| other <= row);
                valid.get(behind.checked_add(away - 1)?).copied()
            }
        }
    }
}
