//! `SET 'time.zone'`: what a zone other than UTC changes in the expressions of a plan.
//!
//! An instant (TIMESTAMP_LTZ) has no clock face of its own; whatever gives it one asks for the zone: casts from and to
//! instants, the parts of one (`EXTRACT`, patterns), cutting one to a unit, adding days or months. This pass makes these
//! explicit calls over the finished plan:
//!
//! ```text
//!   CAST(i AS DATE)        ─▶  CAST(instant_to_local(i, 'Europe/Oslo') AS DATE)
//!   date_trunc('day', i)   ─▶  local_to_instant(date_trunc('day', instant_to_local(i, …)), …)
//! ```
//!
//! # Invariants
//! 1. With UTC nothing is changed: the types' own casts are those of UTC.
//! 2. Names and fingerprints were given before: the setting itself is part of every fingerprint.

use weir_types::{DataType, Diagnostic, Scalar, Span, TimeUnit};

use crate::codes;
use crate::plan::{
    BinaryOp, ColumnOrigin, Expr, ExprKind, JoinTiming, OperatorKind, StreamPlan, Window,
};

/// Functions that read the clock face of their arguments.
const READ_PARTS: [&str; 3] = ["date_part", "date_format", "to_char"];
/// Functions that give a point in time of the clock face that they read.
const KEEP_PARTS: [&str; 4] = [
    "date_trunc",
    "timestamp_floor",
    "timestamp_ceil",
    "timestamp_add",
];

/// Whether a zone other than UTC is set.
pub(crate) fn is_set(settings: &std::collections::BTreeMap<String, String>) -> bool {
    let zone = settings.get("time.zone");
    zone.is_some_and(|zone| !zone.eq_ignore_ascii_case("utc"))
}

/// Applies the setting to every expression of a plan.
pub(crate) fn apply(plan: &mut StreamPlan) {
    let Some(zone) = plan.settings.get("time.zone").cloned() else {
        return;
    };
    if zone.eq_ignore_ascii_case("utc") {
        return;
    }
    let zone = Zone(zone);
    for table in plan.tables.values_mut() {
        for column in &mut table.columns {
            if let ColumnOrigin::Computed(expr) = &mut column.origin {
                zone.visit(expr);
            }
        }
        if let Some(watermark) = &mut table.watermark {
            zone.visit(&mut watermark.expr);
        }
    }
    for operator in &mut plan.operators {
        match &mut operator.kind {
            OperatorKind::Source { filter, .. } => filter.iter_mut().for_each(|e| zone.visit(e)),
            OperatorKind::Filter { predicate } => zone.visit(predicate),
            OperatorKind::Project { exprs } => exprs.iter_mut().for_each(|e| zone.visit(e)),
            OperatorKind::Join { residual, .. }
            | OperatorKind::LookupJoin { residual, .. }
            | OperatorKind::TimedJoin { residual, .. } => {
                residual.iter_mut().for_each(|e| zone.visit(e));
            }
            // All others name columns: a projection below them computes.
            _ => {}
        }
    }
}

/// Windows over instants whose bounds would be others in the zone: a day begins at its midnight, and not every day has
/// 24 hours. Where the zone was always whole steps of the window away from UTC, the bounds are the same.
pub(crate) fn refused_windows(plan: &StreamPlan) -> Vec<Diagnostic> {
    let Some(zone) = plan.settings.get("time.zone") else {
        return Vec::new();
    };
    let known = crate::functions::parse_zone(zone);
    let differs = |window: &Window| {
        let step = match window {
            Window::Tumble { size, .. } => *size,
            Window::Hop { slide, .. } => *slide,
            // All windows of a start begin there.
            Window::Cumulate { size, .. } => *size,
            // Judged where the rows got their windows.
            Window::Assigned => return false,
        };
        !is_whole_days(window)
            && known
                .as_ref()
                .is_ok_and(|zone| !zone.is_whole_steps_away(step))
    };
    let refused = plan.operators.iter().filter(|operator| {
        let (OperatorKind::WindowAssign { window, time }
        | OperatorKind::WindowAggregate { window, time, .. }) = &operator.kind
        else {
            return false;
        };
        let input = &plan.operators[operator.inputs[0].from];
        instant_unit(&input.schema[*time].data_type).is_some() && differs(window)
    });
    refused
        .map(|operator| {
            Diagnostic::error(
                codes::NOT_YET,
                format!("windows by the clock of '{zone}' are not there yet"),
            )
            .at(operator.span, "this window's bounds are those of UTC")
            .help("windows of an hour or less are mostly the same in all zones")
            .help("or window over a TIMESTAMP column, which is what a clock shows")
        })
        .collect()
}

const DAY: i64 = 86_400_000_000;

/// Whether a window is made of whole days from midnight on: such days are the zone's, be they 23 or 25 hours long.
pub fn is_whole_days(window: &Window) -> bool {
    let lengths = match *window {
        Window::Tumble { size, offset } => [size, size, offset],
        Window::Hop {
            slide,
            size,
            offset,
        } => [slide, size, offset],
        Window::Cumulate { step, size, offset } => [step, size, offset],
        Window::Assigned => return false,
    };
    lengths.iter().all(|length| length % DAY == 0)
}

/// Joins of instants within whole days: there a day is 24 hours, and in the zone it may not be.
pub(crate) fn refused_joins(plan: &StreamPlan) -> Vec<Diagnostic> {
    if !is_set(&plan.settings) {
        return Vec::new();
    }
    let is_days = |bound: i64| bound != 0 && bound % DAY == 0;
    let refused = plan.operators.iter().filter(|operator| {
        let OperatorKind::TimedJoin {
            timing:
                JoinTiming::Interval {
                    left_time,
                    lower,
                    upper,
                    ..
                },
            ..
        } = &operator.kind
        else {
            return false;
        };
        let left = &plan.operators[operator.inputs[0].from].schema[*left_time];
        let strict = |bound: i64| is_days(bound) || is_days(bound - 1) || is_days(bound + 1);
        instant_unit(&left.data_type).is_some() && (strict(*lower) || strict(*upper))
    });
    refused
        .map(|operator| {
            Diagnostic::error(
                codes::NOT_YET,
                "a join of instants within whole days, in a zone of its own, is not there yet",
            )
            .at(operator.span, "a day here is 24 hours, and there it may be 23 or 25")
            .help("compare TIMESTAMP columns, which is what a clock shows; or join within hours that are no whole days")
        })
        .collect()
}

struct Zone(String);

impl Zone {
    fn visit(&self, expr: &mut Expr) {
        expr.children_mut()
            .into_iter()
            .for_each(|child| self.visit(child));
        if let Some(zoned) = self.zoned(expr) {
            *expr = zoned;
        }
    }

    /// The expression as it is in the zone; `None` if it hangs on none.
    fn zoned(&self, expr: &Expr) -> Option<Expr> {
        match &expr.kind {
            ExprKind::Cast {
                expr: operand,
                safe,
            } => self.cast(operand, *safe, &expr.data_type, expr.span),
            ExprKind::Function { name, arguments } => {
                let keeps = KEEP_PARTS.contains(&name.as_str());
                let has_instant = arguments
                    .iter()
                    .any(|a| instant_unit(&a.data_type).is_some());
                if !has_instant || !(keeps || READ_PARTS.contains(&name.as_str())) {
                    return None;
                }
                let arguments = arguments.iter().map(|a| self.local(a.clone())).collect();
                let mut call = Expr {
                    kind: ExprKind::Function {
                        name: name.clone(),
                        arguments,
                    },
                    ..expr.clone()
                };
                if let (true, Some(unit)) = (keeps, instant_unit(&expr.data_type)) {
                    call.data_type = DataType::Timestamp(unit);
                    call = self.instant(call, unit);
                }
                Some(call)
            }
            ExprKind::Binary { op, left, right } => self.moved(*op, left, right, expr.span),
            _ => None,
        }
    }

    fn cast(&self, operand: &Expr, safe: bool, to: &DataType, span: Span) -> Option<Expr> {
        let recast = |operand: Expr, to: &DataType| Expr {
            kind: ExprKind::Cast {
                expr: Box::new(operand),
                safe,
            },
            data_type: to.clone(),
            span,
        };
        match (&operand.data_type, to) {
            (DataType::TimestampLtz(_), DataType::TimestampLtz(_)) => None,
            (DataType::TimestampLtz(_), DataType::String) => {
                Some(self.call("instant_to_text", operand.clone(), DataType::String))
            }
            (
                DataType::TimestampLtz(unit),
                DataType::Timestamp(_) | DataType::Date | DataType::Time,
            ) => {
                let local = self.local(operand.clone());
                Some(if *to == DataType::Timestamp(*unit) {
                    local
                } else {
                    recast(local, to)
                })
            }
            (DataType::String, DataType::TimestampLtz(unit)) => {
                let name = if safe {
                    "try_text_to_instant"
                } else {
                    "text_to_instant"
                };
                let micros = DataType::TimestampLtz(TimeUnit::Micro);
                let instant = self.call(name, operand.clone(), micros);
                Some(if *unit == TimeUnit::Micro {
                    instant
                } else {
                    recast(instant, to)
                })
            }
            (DataType::Timestamp(_) | DataType::Date, DataType::TimestampLtz(unit)) => {
                let local = match &operand.data_type {
                    DataType::Timestamp(from) if from == unit => operand.clone(),
                    _ => recast(operand.clone(), &DataType::Timestamp(*unit)),
                };
                Some(self.instant(local, *unit))
            }
            _ => None,
        }
    }

    /// An instant and an interval of days or months: the clock face is moved.
    fn moved(&self, op: BinaryOp, left: &Expr, right: &Expr, span: Span) -> Option<Expr> {
        let unit = instant_unit(&left.data_type)?;
        if !matches!(op, BinaryOp::Plus | BinaryOp::Minus) || right.data_type != DataType::Interval
        {
            return None;
        }
        if let ExprKind::Literal(Scalar::Interval(0, 0, _)) = right.kind {
            return None;
        }
        let sum = Expr {
            kind: ExprKind::Binary {
                op,
                left: Box::new(self.local(left.clone())),
                right: Box::new(right.clone()),
            },
            data_type: DataType::Timestamp(unit),
            span,
        };
        Some(self.instant(sum, unit))
    }

    /// The clock face of an instant; anything else as it is.
    fn local(&self, expr: Expr) -> Expr {
        match instant_unit(&expr.data_type) {
            Some(unit) => self.call("instant_to_local", expr, DataType::Timestamp(unit)),
            None => expr,
        }
    }

    fn instant(&self, local: Expr, unit: TimeUnit) -> Expr {
        self.call("local_to_instant", local, DataType::TimestampLtz(unit))
    }

    fn call(&self, name: &str, operand: Expr, data_type: DataType) -> Expr {
        let span = operand.span;
        let zone = Expr::literal(Scalar::String(self.0.clone()), DataType::String, span);
        Expr {
            kind: ExprKind::Function {
                name: name.to_owned(),
                arguments: vec![operand, zone],
            },
            data_type,
            span,
        }
    }
}

fn instant_unit(data_type: &DataType) -> Option<TimeUnit> {
    match data_type {
        DataType::TimestampLtz(unit) => Some(*unit),
        _ => None,
    }
}
