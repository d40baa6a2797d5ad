//! Joins that time bounds: recognised in the conditions of any join over append-only rows.
//!
//! ```text
//!   a.window_end = b.window_end AND …                    join of windows: pairs are given when the window ends
//!   a.ts BETWEEN b.ts - INTERVAL '5' MINUTE AND b.ts     interval join: −5 min ≤ a.ts − b.ts ≤ 0
//! ```
//!
//! A comparison takes part if both of its sides are an event-time column, moved by literals of a fixed length. Two
//! bounds, from below and from above, make an interval; with one of them a row would wait for its partners for ever, and
//! so the join stays a regular one.

use weir_types::{DataType, Scalar, Span, TimeUnit};

use crate::logical::{Node, NodeId, NodeKind, Properties};
use crate::names::Path;
use crate::plan::{BinaryOp, Changelog, Expr, ExprKind, JoinKind, JoinTiming};

use super::{Binder, Failed};

/// A join whose keys are sorted out: the right keys and the right side of the timing count from its first column.
pub(super) struct Conditions {
    pub(super) left_keys: Vec<Expr>,
    pub(super) right_keys: Vec<Expr>,
    /// What else must hold, over both sides' columns.
    pub(super) rest: Vec<Expr>,
}

/// Where a join stands.
pub(super) struct Place<'a> {
    /// `join(name)`, `exists(name)`, ….
    pub(super) role: &'a str,
    pub(super) path: &'a Path,
    pub(super) span: Span,
}

impl Binder<'_> {
    /// How time bounds the join of two nodes, if it does; what that says is taken from the other conditions.
    pub(super) fn timing(
        &self,
        left: NodeId,
        right: NodeId,
        conditions: &mut Conditions,
    ) -> Option<JoinTiming> {
        let (left_properties, right_properties) = (self.properties(left), self.properties(right));
        let append_only = [left_properties, right_properties]
            .iter()
            .all(|side| side.changelog == Changelog::AppendOnly);
        if !append_only || self.goes_by_clock(left) != self.goes_by_clock(right) {
            return None;
        }
        windows(left_properties, right_properties, conditions).or_else(|| {
            let first = self.graph.nodes[left].columns.len();
            interval(left_properties, right_properties, first, conditions)
        })
    }

    /// Adds a join that time bounds.
    pub(super) fn timed_join(
        &mut self,
        [left, right]: [NodeId; 2],
        join: JoinKind,
        timing: JoinTiming,
        conditions: Conditions,
        place: &Place<'_>,
    ) -> Result<NodeId, Failed> {
        let residual = Expr::conjunction(conditions.rest);
        self.check_volatile_residual(residual.as_ref())?;
        let id = self.take_id(place.path, place.role, place.span);
        let first = self.graph.nodes[left].columns.len();
        let (left_properties, right_properties) = (self.properties(left), self.properties(right));
        let properties = Properties::timed(&timing, join, left_properties, right_properties, first);
        let mut columns = self.graph.nodes[left].columns.clone();
        if join.gives_right() {
            columns.extend(self.graph.nodes[right].columns.iter().cloned());
        }
        let kind = NodeKind::TimedJoin {
            timing,
            join,
            left_keys: conditions.left_keys,
            right_keys: conditions.right_keys,
            residual,
        };
        Ok(self.add(Node {
            kind,
            inputs: vec![left, right],
            columns,
            properties,
            path: place.path.clone(),
            id: Some(id),
            shared: false,
            span: place.span,
        }))
    }
}

/// Windows of equal ends.
fn windows(left: &Properties, right: &Properties, conditions: &Conditions) -> Option<JoinTiming> {
    let (left_end, right_end) = (left.window?.end?, right.window?.end?);
    let mut pairs = conditions.left_keys.iter().zip(&conditions.right_keys);
    pairs
        .any(|(l, r)| moment(l) == Some((left_end, 0)) && moment(r) == Some((right_end, 0)))
        .then_some(JoinTiming::Window {
            left_end,
            right_end,
        })
}

/// An interval between two event times.
fn interval(
    left: &Properties,
    right: &Properties,
    first: usize,
    conditions: &mut Conditions,
) -> Option<JoinTiming> {
    left.event_times().find_map(|left_time| {
        right.event_times().find_map(|right_time| {
            let mut bounds = Bounds::default();
            let is_time = [left_time, right_time + first];
            let pairs = conditions.left_keys.iter().zip(&conditions.right_keys);
            for (left_key, right_key) in pairs {
                let right_key = right_key.clone().renumbered(&|column| column + first);
                bounds.note(&Comparison::of(BinaryOp::Eq, left_key, &right_key), is_time);
            }
            let mut rest = conditions.rest.clone();
            rest.retain(|conjunct| {
                let ExprKind::Binary { op, left, right } = &conjunct.kind else {
                    return true;
                };
                !bounds.note(&Comparison::of(*op, left, right), is_time)
            });
            let (lower, upper) = (bounds.lower?, bounds.upper?);
            conditions.rest = rest;
            Some(JoinTiming::Interval {
                left_time,
                right_time,
                lower,
                upper,
            })
        })
    })
}

/// What is known of `left − right`, in microseconds.
#[derive(Default)]
struct Bounds {
    lower: Option<i64>,
    upper: Option<i64>,
}

impl Bounds {
    /// Takes a comparison into account; whether it is one of these two columns, and says nothing else.
    fn note(&mut self, comparison: &Option<Comparison>, [left, right]: [usize; 2]) -> bool {
        let Some(Comparison {
            op,
            columns,
            difference,
        }) = comparison
        else {
            return false;
        };
        let (op, difference) = match *columns {
            columns if columns == [left, right] => (*op, *difference),
            columns if columns == [right, left] => (op.mirrored(), -difference),
            _ => return false,
        };
        let (lower, upper) = match op {
            BinaryOp::Gt => (Some(difference.saturating_add(1)), None),
            BinaryOp::GtEq => (Some(difference), None),
            BinaryOp::Lt => (None, Some(difference.saturating_sub(1))),
            BinaryOp::LtEq => (None, Some(difference)),
            BinaryOp::Eq => (Some(difference), Some(difference)),
            _ => return false,
        };
        self.lower = lower.into_iter().chain(self.lower).max();
        self.upper = upper.into_iter().chain(self.upper).min();
        true
    }
}

/// `columns[0] − columns[1]  op  difference`, in microseconds.
pub(super) struct Comparison {
    pub(super) op: BinaryOp,
    pub(super) columns: [usize; 2],
    pub(super) difference: i64,
}

impl Comparison {
    pub(super) fn of(op: BinaryOp, left: &Expr, right: &Expr) -> Option<Self> {
        let ((left, left_moved), (right, right_moved)) = (moment(left)?, moment(right)?);
        Some(Self {
            op,
            columns: [left, right],
            difference: right_moved.checked_sub(left_moved)?,
        })
    }
}

/// A column moved by a fixed time, exactly: the column, and the microseconds.
fn moment(expr: &Expr) -> Option<(usize, i64)> {
    let unit = micros_of_unit(&expr.data_type)?;
    match &expr.kind {
        ExprKind::Column(column) => Some((*column, 0)),
        ExprKind::Cast {
            expr: operand,
            safe: false,
        } => {
            // A finer type holds the same moment; a cast between the two kinds of timestamps may move it.
            let same_kind = std::mem::discriminant(&operand.data_type)
                == std::mem::discriminant(&expr.data_type);
            (same_kind && micros_of_unit(&operand.data_type)? >= unit)
                .then(|| moment(operand))
                .flatten()
        }
        ExprKind::Binary { op, left, right } => {
            let (operand, micros) = match (op, fixed(left), fixed(right)) {
                (BinaryOp::Plus, None, Some(micros)) => (left, micros),
                (BinaryOp::Plus, Some(micros), None) => (right, micros),
                (BinaryOp::Minus, None, Some(micros)) => (left, -micros),
                _ => return None,
            };
            let (column, moved) = moment(operand)?;
            (micros % unit == 0)
                .then(|| moved.checked_add(micros))
                .flatten()
                .map(|moved| (column, moved))
        }
        _ => None,
    }
}

/// The microseconds of an INTERVAL literal of a fixed length.
pub(super) fn fixed(expr: &Expr) -> Option<i64> {
    let operand = match &expr.kind {
        ExprKind::Cast { expr: operand, .. } => operand,
        _ => expr,
    };
    let ExprKind::Literal(Scalar::Interval(0, days, nanos)) = operand.kind else {
        return None;
    };
    let days = i64::from(days).checked_mul(86_400_000_000)?;
    (nanos % 1_000 == 0)
        .then(|| days.checked_add(nanos / 1_000))
        .flatten()
}

/// Microseconds of a timestamp's unit; `None` for nanoseconds, and for what is no timestamp.
fn micros_of_unit(data_type: &DataType) -> Option<i64> {
    let (DataType::Timestamp(unit) | DataType::TimestampLtz(unit)) = data_type else {
        return None;
    };
    match unit {
        TimeUnit::Second => Some(1_000_000),
        TimeUnit::Milli => Some(1_000),
        TimeUnit::Micro => Some(1),
        TimeUnit::Nano => None,
    }
}
