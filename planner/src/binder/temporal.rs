//! Conditions on the clock: rows that come and go as time goes on.
//!
//! ```text
//!   ts > now() - INTERVAL '5' MINUTE    ⇔  now() < ts + 5 min       leaves at  ts + 5 min
//!   ts <= now()                         ⇔  now() ≥ ts               enters at  ts
//!   day = CURRENT_DATE                  ⇔  midnight ≤ now() < next  enters at midnight, leaves a day later
//! ```
//!
//! Each conjunct with `now()` is turned around until the clock stands alone. What the other side comes to is the moment at which a
//! row enters or leaves; an operator with state holds rows until then. `now()` is seen in whole milliseconds, and moments are whole
//! microseconds: `now() > m` is the same as `now() ≥ m + 1 µs`.

use weir_types::{DataType, Diagnostic, Scalar, Span, TimeUnit};

use crate::codes;
use crate::convert::{CastKind, cast_to};
use crate::logical::{Node, NodeId, NodeKind, Properties};
use crate::names::Path;
use crate::plan::{BinaryOp, Changelog, Expr, ExprKind};

use super::timed::fixed;
use super::{Binder, Failed};

const INSTANT: DataType = DataType::TimestampLtz(TimeUnit::Micro);

/// The side of a comparison that has the clock in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// `now()` moved by so many microseconds.
    Moment(i64),
    /// The day of `now()`, as a date or as its first moment.
    Day,
}

/// When rows enter and leave.
#[derive(Debug, Default)]
pub(super) struct Stay {
    enters: Vec<Expr>,
    leaves: Vec<Expr>,
}

/// Why a condition cannot be followed.
struct Unclear(&'static str, Span);

impl Binder<'_> {
    /// Rows for which a condition holds: at the time of their epoch and, if it asks for the clock, at every later one. `role`: what
    /// the operator that follows the clock is called.
    pub(super) fn judged(
        &mut self,
        input: NodeId,
        condition: Option<Expr>,
        path: &Path,
        role: &str,
    ) -> Result<NodeId, Failed> {
        let conjuncts = condition.into_iter().flat_map(Expr::conjuncts);
        let (followed, plain): (Vec<Expr>, Vec<Expr>) = conjuncts.partition(Expr::reads_clock);
        self.check_volatile(input, &plain)?;
        let node = self.filter(input, Expr::conjunction(plain), path);
        let (mut stay, mut failed) = (Stay::default(), false);
        for conjunct in &followed {
            if let Err(Unclear(why, place)) = self.follow(conjunct, &mut stay) {
                self.diagnostics.push(unclear(conjunct.span, why, place));
                failed = true;
            }
        }
        let Some(span) = Expr::conjunction(followed).map(|condition| condition.span) else {
            return Ok(node);
        };
        if failed {
            return Err(Failed);
        }
        Ok(self.staying(node, stay, path, role, span))
    }

    /// Whether one of the last nodes of a path follows the clock.
    pub(super) fn follows_clock(&self, nodes_before: usize, path: &Path) -> bool {
        let own = &self.graph.nodes[nodes_before..];
        own.iter()
            .any(|node| matches!(node.kind, NodeKind::TemporalFilter { .. }) && node.path == *path)
    }

    fn staying(
        &mut self,
        input: NodeId,
        stay: Stay,
        path: &Path,
        role: &str,
        span: Span,
    ) -> NodeId {
        let id = self.take_id(path, role, span);
        let below = self.properties(input);
        let changelog = if stay.leaves.is_empty() {
            below.changelog
        } else {
            Changelog::Retractions
        };
        let properties = Properties {
            unique_key: below.unique_key.clone(),
            ..Properties::of(changelog)
        };
        let columns = self.graph.nodes[input].columns.clone();
        self.add(Node {
            kind: NodeKind::TemporalFilter {
                enters: stay.enters,
                leaves: stay.leaves,
            },
            inputs: vec![input],
            columns,
            properties,
            path: path.clone(),
            id: Some(id),
            shared: false,
            span,
        })
    }

    /// Takes a conjunct into account.
    fn follow(&mut self, conjunct: &Expr, stay: &mut Stay) -> Result<(), Unclear> {
        let ExprKind::Binary { op, left, right } = &conjunct.kind else {
            return Err(Unclear("not a comparison with the clock", conjunct.span));
        };
        let (op, clock, other) = match (left.reads_clock(), right.reads_clock()) {
            (true, false) => (*op, left, right),
            (false, true) => (op.mirrored(), right, left),
            _ => return Err(Unclear("not the clock on one side alone", conjunct.span)),
        };
        if let Some((_, place)) = other.volatile_call() {
            return Err(Unclear("this gives another value each time", place));
        }
        match self.clock_of(clock)? {
            Clock::Moment(moved) => {
                let at = |more: i64| moment(other, more.checked_sub(moved)?);
                stay.compare(op, &at, conjunct.span)
            }
            // A moment is behind the first one of the clock's day exactly if its own day is.
            Clock::Day
                if clock.data_type == DataType::Date
                    || matches!(op, BinaryOp::LtEq | BinaryOp::Gt) =>
            {
                let at = |more: i64| first_moment(other, more);
                stay.compare(op, &at, conjunct.span)
            }
            Clock::Day => Err(Unclear(
                "the first moment of a day, compared like this",
                conjunct.span,
            )),
        }
    }

    /// The clock, moved.
    fn clock_of(&mut self, expr: &Expr) -> Result<Clock, Unclear> {
        match &expr.kind {
            ExprKind::ProcessingTime => Ok(Clock::Moment(0)),
            ExprKind::Cast {
                expr: operand,
                safe: false,
            } => {
                let clock = self.clock_of(operand)?;
                match (&expr.data_type, clock) {
                    (DataType::TimestampLtz(unit), _) if is_fine(*unit) => Ok(clock),
                    (DataType::Timestamp(unit), _) if is_fine(*unit) => {
                        // The clock on the wall there jumps twice a year, and a row would come and go.
                        if operand.data_type != DataType::Date {
                            self.unless_utc.push(unclear(
                                expr.span,
                                "a TIMESTAMP without zone is compared with the clock",
                                expr.span,
                            ));
                        }
                        Ok(clock)
                    }
                    (DataType::Date, Clock::Moment(0)) => Ok(Clock::Day),
                    _ => Err(Unclear("the clock in another type", expr.span)),
                }
            }
            ExprKind::Binary { op, left, right } => {
                let (operand, micros) = match (op, fixed(left), fixed(right)) {
                    (BinaryOp::Plus, None, Some(micros)) => (left, micros),
                    (BinaryOp::Plus, Some(micros), None) => (right, micros),
                    (BinaryOp::Minus, None, Some(micros)) => (left, -micros),
                    _ => return Err(Unclear("not a fixed time away from now()", expr.span)),
                };
                if has_days(left) || has_days(right) {
                    self.unless_utc.push(unclear(
                        expr.span,
                        "a day of a zone is not always 24 hours: write hours",
                        expr.span,
                    ));
                }
                match self.clock_of(operand)? {
                    Clock::Moment(moved) => moved
                        .checked_add(micros)
                        .filter(|_| is_timestamp(&expr.data_type) && micros % 1000 == 0)
                        .map(Clock::Moment)
                        .ok_or(Unclear("finer than the clock", expr.span)),
                    Clock::Day => Err(Unclear("a day that is moved", expr.span)),
                }
            }
            _ => Err(Unclear(
                "not now() itself, or a fixed time away from it",
                expr.span,
            )),
        }
    }
}

impl Stay {
    /// `clock op moment`, where `at(n)` is the moment n units later: microseconds, or days.
    fn compare(
        &mut self,
        op: BinaryOp,
        at: &dyn Fn(i64) -> Option<Expr>,
        span: Span,
    ) -> Result<(), Unclear> {
        let far = || Unclear("too far away", span);
        let (now, next) = (at(0).ok_or_else(far)?, at(1).ok_or_else(far)?);
        match op {
            BinaryOp::GtEq => self.enters.push(now),
            BinaryOp::Gt => self.enters.push(next),
            BinaryOp::Lt => self.leaves.push(now),
            BinaryOp::LtEq => self.leaves.push(next),
            BinaryOp::Eq => {
                self.enters.push(now);
                self.leaves.push(next);
            }
            _ => return Err(Unclear("not <, <=, >, >=, = or BETWEEN", span)),
        }
        Ok(())
    }
}

/// A moment moved by microseconds, as an instant; `None` for what is no point in time that fits.
fn moment(expr: &Expr, micros: i64) -> Option<Expr> {
    let fits = match &expr.data_type {
        DataType::Timestamp(unit) | DataType::TimestampLtz(unit) => *unit != TimeUnit::Nano,
        DataType::Date => true,
        _ => false,
    };
    let instant = cast_to(expr.clone(), INSTANT, CastKind::Fails, expr.span);
    match (fits, micros) {
        (false, _) => None,
        (true, 0) => Some(instant),
        (true, micros) => Some(moved(
            instant,
            Scalar::Interval(0, 0, micros.checked_mul(1000)?),
        )),
    }
}

/// The first moment of the day of a point in time, `days` later.
fn first_moment(expr: &Expr, days: i64) -> Option<Expr> {
    let is_time = is_timestamp(&expr.data_type) || expr.data_type == DataType::Date;
    let day = cast_to(expr.clone(), DataType::Date, CastKind::Fails, expr.span);
    let face = cast_to(
        day,
        DataType::Timestamp(TimeUnit::Micro),
        CastKind::Fails,
        expr.span,
    );
    let face = match days {
        0 => face,
        days => moved(face, Scalar::Interval(0, days as i32, 0)),
    };
    is_time.then(|| cast_to(face, INSTANT, CastKind::Fails, expr.span))
}

fn moved(expr: Expr, by: Scalar) -> Expr {
    let (data_type, span) = (expr.data_type.clone(), expr.span);
    Expr {
        kind: ExprKind::Binary {
            op: BinaryOp::Plus,
            left: Box::new(expr),
            right: Box::new(Expr::literal(by, DataType::Interval, span)),
        },
        data_type,
        span,
    }
}

fn is_timestamp(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(_) | DataType::TimestampLtz(_)
    )
}

/// Whether a timestamp of that unit holds the clock as it is.
fn is_fine(unit: TimeUnit) -> bool {
    unit != TimeUnit::Second
}

/// Whether it is an interval literal of days.
pub(super) fn has_days(expr: &Expr) -> bool {
    let literal = match &expr.kind {
        ExprKind::Cast { expr, .. } => expr,
        _ => expr,
    };
    matches!(literal.kind, ExprKind::Literal(Scalar::Interval(_, days, _)) if days != 0)
}

fn unclear(condition: Span, why: &str, place: Span) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        codes::CLOCK_CONDITION,
        "when this becomes true or false, as time goes on, is not clear",
    );
    let diagnostic = if place == condition {
        diagnostic.at(place, why)
    } else {
        diagnostic.at(place, why).at(condition, "in this condition")
    };
    diagnostic
        .help("compare a column with the clock alone: ts > now() - INTERVAL '5' MINUTE")
        .help("or take the time at which a row was read: SELECT …, now() AS seen in a subquery, and compare `seen`")
}
