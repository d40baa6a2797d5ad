//! OVER: what a call computes for each row from the rows around it, and how far it looks.
//!
//! ```text
//!   sum(x) OVER (PARTITION BY k ORDER BY t ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
//!   └ function ┘                          └───────────── frame ─────────────────┘
//! ```
//!
//! A call is generic over its aggregates and columns: the binder's are expressions, the plan's are columns of the operator's input.

use serde::{Deserialize, Serialize};
use weir_types::{DataType, Scalar, SortColumn, Span};

use crate::accumulator::accumulator_layout;
use crate::plan::Aggregate;

/// A call with OVER.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverCall {
    /// Canonical text without PARTITION BY and ORDER BY: `sum(price) rows between 9 preceding and current row`.
    pub name: String,
    /// What it computes.
    pub function: OverFunction,
    /// The rows that it looks at; [`Frame::PARTITION`] where the function asks for none.
    pub frame: Frame,
    /// The result's type.
    pub data_type: DataType,
    /// Where the call stands.
    pub span: Span,
}

/// What a call computes. `C` is a column of the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverFunction<A = Aggregate, C = usize> {
    /// An aggregate of the frame.
    Aggregate(A),
    /// 1, 2, 3, ….
    RowNumber,
    /// Equal rows have the same number, that of the first of them.
    Rank,
    /// Equal rows have the same number, and no number is left out.
    DenseRank,
    /// (rank − 1) / (rows of the partition − 1).
    PercentRank,
    /// Share of the rows that stand before the row or are equal to it.
    CumeDist,
    /// Number of the row's part, where the partition is cut into so many parts.
    Ntile(u64),
    /// LAG and LEAD: the value of the row so many places behind (below zero: before).
    Shift {
        /// The value.
        value: C,
        /// How many places.
        by: i64,
        /// What is given where there is no such row: a value of the row itself.
        default: Option<C>,
        /// Rows whose value is NULL are not counted.
        ignore_nulls: bool,
    },
    /// FIRST_VALUE, LAST_VALUE, NTH_VALUE: the value of that row of the frame.
    Nth {
        /// The value.
        value: C,
        /// Which row, from 1 on.
        place: u64,
        /// Counted from the last row.
        from_last: bool,
        /// Rows whose value is NULL are not counted.
        ignore_nulls: bool,
    },
}

/// The rows that a call looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// What its bounds count.
    pub unit: FrameUnit,
    /// Where it begins.
    pub start: FrameBound,
    /// Where it ends; that row belongs to it.
    pub end: FrameBound,
    /// Which of its rows are left out.
    #[serde(default, skip_serializing_if = "Exclusion::is_none")]
    pub exclude: Exclusion,
}

/// What the bounds of a frame count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameUnit {
    /// Rows.
    Rows,
    /// Distance in the value of the only ORDER BY column; CURRENT ROW is all rows equal in the order.
    Range,
    /// Groups of rows equal in the order.
    Groups,
}

/// An end of a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameBound {
    /// The partition's first row.
    UnboundedPreceding,
    /// So far before the row. ROWS and GROUPS: a number. RANGE: of the order column's type; of a time, microseconds.
    Preceding(Scalar),
    /// The row itself, or the rows equal to it.
    CurrentRow,
    /// So far behind the row.
    Following(Scalar),
    /// The partition's last row.
    UnboundedFollowing,
}

/// Rows that are left out of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// None.
    #[default]
    NoOthers,
    /// The row itself.
    CurrentRow,
    /// The row and those equal to it in the order.
    Group,
    /// Those equal to it in the order, but not the row.
    Ties,
}

impl Exclusion {
    /// Whether no row is left out.
    pub fn is_none(&self) -> bool {
        *self == Self::NoOthers
    }
}

impl Frame {
    /// All rows of the partition.
    pub const PARTITION: Self = Self {
        unit: FrameUnit::Rows,
        start: FrameBound::UnboundedPreceding,
        end: FrameBound::UnboundedFollowing,
        exclude: Exclusion::NoOthers,
    };

    /// Whether the frame grows with the row: from the partition's first row to the row itself.
    pub fn is_running(&self) -> bool {
        self.start == FrameBound::UnboundedPreceding
            && self.end == FrameBound::CurrentRow
            && self.exclude.is_none()
    }

    /// Canonical text.
    pub fn text(&self) -> String {
        let unit = match self.unit {
            FrameUnit::Rows => "rows",
            FrameUnit::Range => "range",
            FrameUnit::Groups => "groups",
        };
        let bound = |bound: &FrameBound| match bound {
            FrameBound::UnboundedPreceding => "unbounded preceding".to_owned(),
            FrameBound::Preceding(by) => format!("{by} preceding"),
            FrameBound::CurrentRow => "current row".to_owned(),
            FrameBound::Following(by) => format!("{by} following"),
            FrameBound::UnboundedFollowing => "unbounded following".to_owned(),
        };
        let exclude = match self.exclude {
            Exclusion::NoOthers => "",
            Exclusion::CurrentRow => " exclude current row",
            Exclusion::Group => " exclude group",
            Exclusion::Ties => " exclude ties",
        };
        let (start, end) = (bound(&self.start), bound(&self.end));
        format!("{unit} between {start} and {end}{exclude}")
    }
}

impl FrameBound {
    /// The number of rows or groups of a bound that has one.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Preceding(Scalar::Int(count)) | Self::Following(Scalar::Int(count)) => {
                u64::try_from(*count).ok()
            }
            _ => None,
        }
    }
}

impl<A, C> OverFunction<A, C> {
    /// Whether the function looks at the rows of its frame alone; the others look at the partition.
    pub fn has_frame(&self) -> bool {
        matches!(self, Self::Aggregate(_) | Self::Nth { .. })
    }

    /// The same function over other columns.
    pub(crate) fn mapped<B, D>(
        &self,
        aggregate: &dyn Fn(&A) -> B,
        column: &dyn Fn(&C) -> D,
    ) -> OverFunction<B, D> {
        match self {
            Self::Aggregate(call) => OverFunction::Aggregate(aggregate(call)),
            Self::RowNumber => OverFunction::RowNumber,
            Self::Rank => OverFunction::Rank,
            Self::DenseRank => OverFunction::DenseRank,
            Self::PercentRank => OverFunction::PercentRank,
            Self::CumeDist => OverFunction::CumeDist,
            Self::Ntile(parts) => OverFunction::Ntile(*parts),
            Self::Shift {
                value,
                by,
                default,
                ignore_nulls,
            } => OverFunction::Shift {
                value: column(value),
                by: *by,
                default: default.as_ref().map(column),
                ignore_nulls: *ignore_nulls,
            },
            Self::Nth {
                value,
                place,
                from_last,
                ignore_nulls,
            } => OverFunction::Nth {
                value: column(value),
                place: *place,
                from_last: *from_last,
                ignore_nulls: *ignore_nulls,
            },
        }
    }

    /// Canonical text, its parts written by the caller.
    pub(crate) fn text(
        &self,
        aggregate: &dyn Fn(&A) -> String,
        column: &dyn Fn(&C) -> String,
    ) -> String {
        let nulls = |ignored: bool| if ignored { " ignore nulls" } else { "" };
        match self {
            Self::Aggregate(call) => aggregate(call),
            Self::RowNumber => "row_number()".to_owned(),
            Self::Rank => "rank()".to_owned(),
            Self::DenseRank => "dense_rank()".to_owned(),
            Self::PercentRank => "percent_rank()".to_owned(),
            Self::CumeDist => "cume_dist()".to_owned(),
            Self::Ntile(parts) => format!("ntile({parts})"),
            Self::Shift {
                value,
                by,
                default,
                ignore_nulls,
            } => {
                let (name, places) = if *by < 0 {
                    ("lag", by.unsigned_abs())
                } else {
                    ("lead", by.unsigned_abs())
                };
                let default = default
                    .as_ref()
                    .map_or_else(String::new, |default| format!(", {}", column(default)));
                let nulls = nulls(*ignore_nulls);
                format!("{name}({}, {places}{default}){nulls}", column(value))
            }
            Self::Nth {
                value,
                place,
                from_last,
                ignore_nulls,
            } => {
                let value = column(value);
                let call = match (place, from_last) {
                    (1, false) => format!("first_value({value})"),
                    (1, true) => format!("last_value({value})"),
                    (_, false) => format!("nth_value({value}, {place})"),
                    (_, true) => format!("nth_value({value}, {place}) from last"),
                };
                format!("{call}{}", nulls(*ignore_nulls))
            }
        }
    }
}

impl OverCall {
    /// The canonical text of a call: the function's, and the frame's where it matters.
    pub(crate) fn text_of<A, C>(
        function: &OverFunction<A, C>,
        text: String,
        frame: &Frame,
    ) -> String {
        if function.has_frame() && *frame != Frame::PARTITION {
            format!("{text} {}", frame.text())
        } else {
            text
        }
    }
}

/// Which rows of a partition later rows still look at, where rows come in the order of event time and each looks at those
/// before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// So many of the first rows.
    pub first_rows: u64,
    /// So many of the last rows.
    pub last_rows: u64,
    /// So many of the last groups of equal rows.
    pub last_groups: u64,
    /// Rows so many microseconds before the last one.
    pub last_micros: Option<i64>,
    /// Every row.
    pub all: bool,
    /// How many rows and groups came before, and what was accumulated of them.
    pub running: bool,
}

impl Reach {
    /// What these calls need together. `input` is the schema that their columns are of.
    pub fn of(calls: &[OverCall], input: &[weir_types::Column]) -> Self {
        let mut reach = Self::default();
        calls.iter().for_each(|call| reach.add(call, input));
        reach
    }

    fn add(&mut self, call: &OverCall, input: &[weir_types::Column]) {
        match &call.function {
            OverFunction::RowNumber | OverFunction::Rank | OverFunction::DenseRank => {
                self.running = true;
            }
            OverFunction::Shift {
                by,
                ignore_nulls: false,
                ..
            } if *by <= 0 => self.last_rows = self.last_rows.max(by.unsigned_abs()),
            OverFunction::Aggregate(aggregate) => {
                if is_accumulated(aggregate, &call.frame, input) {
                    self.running = true;
                } else {
                    self.add_frame(&call.frame);
                }
            }
            OverFunction::Nth {
                place,
                from_last,
                ignore_nulls: false,
                ..
            } if call.frame.is_running() => {
                self.running = true;
                if *from_last {
                    self.last_rows = self.last_rows.max(*place);
                } else {
                    self.first_rows = self.first_rows.max(*place);
                }
            }
            OverFunction::Nth { .. } => self.add_frame(&call.frame),
            _ => self.all = true,
        }
    }

    fn add_frame(&mut self, frame: &Frame) {
        match (&frame.start, frame.unit) {
            (FrameBound::CurrentRow, _) => {}
            (FrameBound::Preceding(_), FrameUnit::Rows) => {
                self.last_rows = self.last_rows.max(frame.start.count().unwrap_or(u64::MAX));
            }
            (FrameBound::Preceding(_), FrameUnit::Groups) => {
                self.last_groups = self
                    .last_groups
                    .max(frame.start.count().unwrap_or(u64::MAX));
            }
            (FrameBound::Preceding(Scalar::Int(micros)), FrameUnit::Range) => {
                self.last_micros = Some(self.last_micros.unwrap_or(0).max(*micros));
            }
            _ => self.all = true,
        }
    }
}

/// Whether an aggregate of that frame is accumulated row by row, so that no row has to be kept for it.
pub fn is_accumulated(aggregate: &Aggregate, frame: &Frame, input: &[weir_types::Column]) -> bool {
    let layout = accumulator_layout(std::slice::from_ref(aggregate), &input.to_vec(), false);
    frame.is_running() && layout.sides.is_empty()
}

/// The aggregates of those calls that are accumulated row by row, each once, and for each call its place among them.
pub fn accumulated(
    calls: &[OverCall],
    input: &[weir_types::Column],
) -> (Vec<Aggregate>, Vec<Option<usize>>) {
    let mut aggregates: Vec<Aggregate> = Vec::new();
    let place = |call: &OverCall| match &call.function {
        OverFunction::Aggregate(aggregate) if is_accumulated(aggregate, &call.frame, input) => {
            let known = aggregates
                .iter()
                .position(|known| known.name == aggregate.name);
            Some(known.unwrap_or_else(|| {
                aggregates.push(aggregate.clone());
                aggregates.len() - 1
            }))
        }
        _ => None,
    };
    let places = calls.iter().map(place).collect();
    (aggregates, places)
}

/// Whether every row's result is known when no row of its time or of an earlier one is still to come.
pub(crate) fn looks_back_only<A, C>(function: &OverFunction<A, C>, frame: &Frame) -> bool {
    match function {
        OverFunction::RowNumber | OverFunction::Rank | OverFunction::DenseRank => true,
        OverFunction::Shift { by, .. } => *by <= 0,
        OverFunction::Aggregate(_) | OverFunction::Nth { .. } => {
            matches!(frame.end, FrameBound::CurrentRow | FrameBound::Preceding(_))
        }
        _ => false,
    }
}

/// How an operator's rows are ordered, as a text over the names of columns.
pub(crate) fn window_text(partition: &[String], order: &[(String, bool, bool)]) -> String {
    let order: Vec<String> = order
        .iter()
        .map(|(by, descending, nulls_first)| {
            let direction = if *descending { " desc" } else { "" };
            let nulls = if nulls_first != descending {
                if *nulls_first {
                    " nulls first"
                } else {
                    " nulls last"
                }
            } else {
                ""
            };
            format!("{by}{direction}{nulls}")
        })
        .collect();
    let mut text = String::new();
    if !partition.is_empty() {
        text.push_str(&format!("partition by {}", partition.join(", ")));
    }
    if !order.is_empty() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&format!("order by {}", order.join(", ")));
    }
    text
}

/// An order of columns of the input as [`window_text`] takes it.
pub(crate) fn order_parts(
    order: &[SortColumn],
    name: &dyn Fn(usize) -> String,
) -> Vec<(String, bool, bool)> {
    order
        .iter()
        .map(|sort| (name(sort.column), sort.descending, sort.nulls_first))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(unit: FrameUnit, start: FrameBound, end: FrameBound) -> Frame {
        Frame {
            unit,
            start,
            end,
            exclude: Exclusion::NoOthers,
        }
    }

    fn call(function: OverFunction, frame: Frame) -> OverCall {
        OverCall {
            name: String::new(),
            function,
            frame,
            data_type: DataType::Int64,
            span: Span::default(),
        }
    }

    fn nth(place: u64, from_last: bool) -> OverFunction {
        OverFunction::Nth {
            value: 0,
            place,
            from_last,
            ignore_nulls: false,
        }
    }

    #[test]
    fn a_frame_reads_like_sql() {
        let frame = Frame {
            exclude: Exclusion::Ties,
            ..frame(
                FrameUnit::Groups,
                FrameBound::Preceding(Scalar::Int(2)),
                FrameBound::UnboundedFollowing,
            )
        };
        assert_eq!(
            frame.text(),
            "groups between 2 preceding and unbounded following exclude ties"
        );
    }

    #[test]
    fn calls_together_reach_as_far_as_the_farthest() {
        let input = vec![weir_types::Column::new("a", DataType::Int64)];
        let lag = OverFunction::Shift {
            value: 0,
            by: -3,
            default: None,
            ignore_nulls: false,
        };
        let rows = frame(
            FrameUnit::Rows,
            FrameBound::Preceding(Scalar::Int(5)),
            FrameBound::CurrentRow,
        );
        let running = frame(
            FrameUnit::Range,
            FrameBound::UnboundedPreceding,
            FrameBound::CurrentRow,
        );
        let calls = [
            call(lag, Frame::PARTITION),
            call(nth(1, true), rows),
            call(nth(2, false), running.clone()),
        ];
        let reach = Reach::of(&calls, &input);
        assert_eq!((reach.first_rows, reach.last_rows), (2, 5));
        assert!(reach.running && !reach.all);
        let kept = OverFunction::Nth {
            value: 0,
            place: 1,
            from_last: true,
            ignore_nulls: true,
        };
        assert!(Reach::of(&[call(kept, running)], &input).all);
    }
}
