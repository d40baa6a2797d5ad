//! Folds: results that are made of all rows of a group, in the order of their side table.
//!
//! ```text
//!   segments    rows   a a b c | x y | (none)        counts  2 1 1 1 | 1 3 |
//!               group  0         1     2
//! ```
//!
//! # Invariants
//! 1. The rows of a group stand together, in the order of the side table, and no two of them are equal.
//! 2. A fold gives one value for each group, whatever it reads.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, RecordBatch, StringViewBuilder,
    UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType as ArrowType, Field, Int64Type};
use weir_planner::plan::Aggregate;
use weir_types::{Scalar, Span};

use super::bits::Operation;
use super::registered::Anew;
use super::{Reach, values};

type Outcome<T> = Result<T, (usize, String)>;

/// The rows of groups.
pub(crate) struct Segments {
    /// The side table's columns.
    pub(crate) rows: RecordBatch,
    /// Multiplicities, above zero.
    pub(crate) counts: Vec<i64>,
    /// For each group where its rows end.
    pub(crate) ends: Vec<usize>,
}

impl Segments {
    /// The rows of each group.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| start..end)
    }
}

/// The result of one aggregate over the rows of a side table.
pub(super) struct Fold {
    kind: Kind,
    /// The argument's column in the side table.
    column: usize,
    /// The column that says how often each value counts.
    weight: Option<usize>,
    /// Equal rows count once.
    distinct: bool,
    arrow_type: ArrowType,
    pub(super) span: Span,
}

enum Kind {
    First,
    Last,
    /// The n-th row, from 1 on.
    Nth(i64),
    /// The value that is there most often; of several the first, or the last.
    Mode {
        last: bool,
    },
    /// The value between those next to that fraction of the way.
    Continuous(f64),
    /// The first value at or after that fraction of the way; from the end, if the greatest come first.
    Discrete {
        fraction: f64,
        descending: bool,
    },
    Bits(Operation),
    /// Texts, one after the other.
    Text(Delimiter),
    Array,
    /// Whatever the code of a program makes of the values.
    Registered(Anew),
}

enum Delimiter {
    Constant(String),
    /// The column that holds the delimiter before each value.
    Column(usize),
}

impl Fold {
    /// `place` says where a column of the input stands in the side table.
    pub(super) fn new(
        aggregate: &Aggregate,
        place: &dyn Fn(usize) -> Option<usize>,
    ) -> Result<Self, String> {
        if aggregate.registered.is_some() {
            return Ok(Self {
                kind: Kind::Registered(Anew::new(aggregate, place)?),
                column: 0,
                weight: None,
                distinct: aggregate.distinct,
                arrow_type: aggregate.data_type.to_arrow(),
                span: aggregate.span,
            });
        }
        Self::built_in(aggregate, place)
            .ok_or_else(|| "no such aggregate over kept rows".to_owned())
    }

    fn built_in(aggregate: &Aggregate, place: &dyn Fn(usize) -> Option<usize>) -> Option<Self> {
        let column = place(*aggregate.arguments.first()?)?;
        let parameter = aggregate.parameters.first();
        let fraction = || match parameter {
            Some(Scalar::Float(bits)) => Some(f64::from_bits(*bits)),
            _ => None,
        };
        let descending = aggregate.order_by.first().is_some_and(|by| by.descending);
        let kind = match aggregate.function.as_str() {
            "min" | "first_value" => Kind::First,
            "max" | "last_value" => Kind::Last,
            "nth_value" => match parameter {
                Some(Scalar::Int(place)) => Kind::Nth(*place),
                _ => return None,
            },
            "mode" => Kind::Mode { last: descending },
            "percentile_cont" => Kind::Continuous(fraction()?),
            "percentile_disc" => Kind::Discrete {
                fraction: fraction()?,
                descending,
            },
            "bit_and" | "bit_or" => Kind::Bits(Operation::of(&aggregate.function)?),
            "string_agg" => Kind::Text(match (parameter, aggregate.arguments.get(1)) {
                (Some(Scalar::String(text)), None) => Delimiter::Constant(text.clone()),
                (None, Some(&delimiter)) => Delimiter::Column(place(delimiter)?),
                _ => return None,
            }),
            "array_agg" => Kind::Array,
            _ => return None,
        };
        let weight = match (&kind, aggregate.arguments.get(1)) {
            (Kind::Continuous(_), Some(&weight)) => Some(place(weight)?),
            _ => None,
        };
        Some(Self {
            kind,
            column,
            weight,
            distinct: aggregate.distinct,
            arrow_type: aggregate.data_type.to_arrow(),
            span: aggregate.span,
        })
    }

    /// Which rows of a group it looks at.
    pub(super) fn reach(&self) -> Reach {
        match self.kind {
            Kind::First => Reach::First,
            Kind::Last => Reach::Last,
            _ => Reach::All,
        }
    }

    /// One value for each group.
    pub(super) fn finish(&self, groups: &Segments) -> Outcome<ArrayRef> {
        let column = groups.rows.column(self.column);
        let result = match &self.kind {
            Kind::Continuous(fraction) => self.continuous(groups, column, *fraction)?,
            Kind::Bits(operation) => bits(groups, column, *operation)?,
            Kind::Text(delimiter) => self.text(groups, column, delimiter)?,
            Kind::Array => self.array(groups, column)?,
            Kind::Registered(function) => function.finish(groups)?,
            _ => {
                let picked: UInt32Array = groups
                    .ranges()
                    .map(|range| self.pick(groups, range).map(|row| row as u32))
                    .collect();
                take(column, &picked, None).map_err(failed)?
            }
        };
        if result.data_type() == &self.arrow_type {
            return Ok(result);
        }
        cast(&result, &self.arrow_type).map_err(failed)
    }

    fn count(&self, groups: &Segments, row: usize) -> i64 {
        let count = if self.distinct { 1 } else { groups.counts[row] };
        match self.weight.map(|weight| groups.rows.column(weight)) {
            None => count,
            // Less than once is not at all.
            Some(weights) => weights
                .as_primitive_opt::<Int64Type>()
                .map_or(0, |weights| count.saturating_mul(weights.value(row).max(0))),
        }
    }

    fn total(&self, groups: &Segments, range: Range<usize>) -> i64 {
        range
            .map(|row| self.count(groups, row))
            .fold(0, i64::saturating_add)
    }

    /// The row that is the result.
    fn pick(&self, groups: &Segments, range: Range<usize>) -> Option<usize> {
        if range.is_empty() {
            return None;
        }
        match self.kind {
            Kind::First => Some(range.start),
            Kind::Last => Some(range.end - 1),
            Kind::Nth(place) => self.at(groups, range, place - 1),
            Kind::Mode { last } => {
                // Of equal counts `max_by_key` takes the last, so the other direction walks from the end.
                let count = |&row: &usize| self.count(groups, row);
                if last {
                    range.max_by_key(count)
                } else {
                    range.rev().max_by_key(count)
                }
            }
            Kind::Discrete {
                fraction,
                descending,
            } => {
                let total = self.total(groups, range.clone());
                // The place counts from 1: the first row whose share of the rows up to it reaches the fraction.
                let place = ((fraction * total as f64).ceil() as i64).clamp(1, total);
                let place = if descending { total - place } else { place - 1 };
                self.at(groups, range, place)
            }
            _ => None,
        }
    }

    /// The row at a place, counted from 0 with multiplicities.
    fn at(&self, groups: &Segments, range: Range<usize>, place: i64) -> Option<usize> {
        let mut before = 0;
        for row in range {
            before = i64::saturating_add(before, self.count(groups, row));
            if before > place {
                return Some(row);
            }
        }
        None
    }

    fn continuous(&self, groups: &Segments, column: &ArrayRef, fraction: f64) -> Outcome<ArrayRef> {
        let numbers = values::floats(column)?;
        let value = |range: Range<usize>| {
            let total = self.total(groups, range.clone());
            if total == 0 {
                return None;
            }
            let place = fraction * (total - 1) as f64;
            let number = |place: f64| {
                self.at(groups, range.clone(), place as i64)
                    .map(|row| numbers.value(row))
            };
            let (low, high) = (number(place.floor())?, number(place.ceil())?);
            let part = place - place.floor();
            // Without a way between them infinities of one sign would give NaN.
            Some(if low == high || part == 0.0 {
                low
            } else {
                low * (1.0 - part) + high * part
            })
        };
        let results: Float64Array = groups.ranges().map(value).collect();
        Ok(Arc::new(results))
    }

    fn text(
        &self,
        groups: &Segments,
        column: &ArrayRef,
        delimiter: &Delimiter,
    ) -> Outcome<ArrayRef> {
        let texts = column
            .as_string_view_opt()
            .ok_or_else(|| values::mismatch(column))?;
        let delimiters = match delimiter {
            Delimiter::Constant(_) => None,
            Delimiter::Column(column) => {
                let array = groups.rows.column(*column);
                let texts = array.as_string_view_opt();
                Some(texts.ok_or_else(|| values::mismatch(array))?)
            }
        };
        let delimiter = |row: usize| match (delimiter, delimiters) {
            (Delimiter::Constant(text), _) => text.as_str(),
            (_, Some(texts)) if texts.is_valid(row) => texts.value(row),
            _ => "",
        };
        let mut results = StringViewBuilder::new();
        let mut text = String::new();
        for (group, range) in groups.ranges().enumerate() {
            text.clear();
            let mut is_first = true;
            for row in range {
                for _ in 0..self.count(groups, row) {
                    if !std::mem::take(&mut is_first) {
                        text.push_str(delimiter(row));
                    }
                    text.push_str(texts.value(row));
                }
            }
            if is_first {
                results.append_null();
            } else {
                let appended = results.try_append_value(&text);
                appended.map_err(|error| (group, error.to_string()))?;
            }
        }
        Ok(Arc::new(results.finish()))
    }

    fn array(&self, groups: &Segments, column: &ArrayRef) -> Outcome<ArrayRef> {
        let mut rows: Vec<u32> = Vec::new();
        let (mut lengths, mut valid) = (Vec::new(), Vec::new());
        for range in groups.ranges() {
            let before = rows.len();
            valid.push(!range.is_empty());
            for row in range {
                let count = self.count(groups, row).max(0) as usize;
                rows.extend(std::iter::repeat_n(row as u32, count));
            }
            lengths.push(rows.len() - before);
        }
        if i32::try_from(rows.len()).is_err() {
            return Err((0, "the arrays have too many elements".to_owned()));
        }
        let items = take(column, &UInt32Array::from(rows), None).map_err(failed)?;
        let field = Arc::new(Field::new("item", items.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(lengths);
        let array = ListArray::try_new(field, offsets, items, Some(valid.into()));
        Ok(Arc::new(array.map_err(failed)?))
    }
}

fn bits(groups: &Segments, column: &ArrayRef, operation: Operation) -> Outcome<ArrayRef> {
    let numbers = values::integers(column)?;
    let value = |range: Range<usize>| {
        range
            .map(|row| numbers.value(row))
            .reduce(|all, value| operation.apply(all, value))
    };
    let results: Int64Array = groups.ranges().map(value).collect();
    if column.data_type() == &ArrowType::UInt64 {
        let results: arrow::array::UInt64Array = results
            .iter()
            .map(|bits| bits.map(|bits| bits as u64))
            .collect();
        return Ok(Arc::new(results));
    }
    Ok(Arc::new(results))
}

fn failed(error: arrow::error::ArrowError) -> (usize, String) {
    (0, error.to_string())
}
