//! Frames: `ROWS BETWEEN 9 PRECEDING AND CURRENT ROW EXCLUDE TIES`, checked against the window's order.

use sqlparser::ast;
use weir_types::{DataType, Diagnostic, Scalar, Span};

use crate::codes;
use crate::logical::SortExpr;
use crate::over::{Exclusion, Frame, FrameBound, FrameUnit};
use crate::plan::{Expr, ExprKind};
use crate::syntax::span_of;

use super::Failed;
use super::expr::ExprBinder;
use super::over::whole_number;

impl ExprBinder<'_> {
    /// The frame that a window says, or the one that goes without saying; frames that mean the same are equal.
    pub(super) fn frame(
        &mut self,
        frame: Option<&ast::WindowFrame>,
        exclude: Option<Exclusion>,
        order: &[SortExpr],
        span: Span,
    ) -> Result<Frame, Failed> {
        let Some(given) = frame else {
            return Ok(if order.is_empty() {
                Frame::PARTITION
            } else {
                Frame {
                    unit: FrameUnit::Range,
                    start: FrameBound::UnboundedPreceding,
                    end: FrameBound::CurrentRow,
                    exclude: Exclusion::NoOthers,
                }
            });
        };
        let unit = match given.units {
            ast::WindowFrameUnits::Rows => FrameUnit::Rows,
            ast::WindowFrameUnits::Range => FrameUnit::Range,
            ast::WindowFrameUnits::Groups => FrameUnit::Groups,
        };
        if unit == FrameUnit::Groups && order.is_empty() {
            return self.fail(
                Diagnostic::error(codes::FRAME, "GROUPS without ORDER BY")
                    .at(span, "groups are rows that are equal in the order")
                    .help("add ORDER BY to the window, or count ROWS"),
            );
        }
        let start = self.bound(&given.start_bound, unit, order, span)?;
        let end = match &given.end_bound {
            Some(end) => self.bound(end, unit, order, span)?,
            None => FrameBound::CurrentRow,
        };
        // From the first of these to the last the bounds move on.
        let place = |bound: &FrameBound| match bound {
            FrameBound::UnboundedPreceding => 0,
            FrameBound::Preceding(_) => 1,
            FrameBound::CurrentRow => 2,
            FrameBound::Following(_) => 3,
            FrameBound::UnboundedFollowing => 4,
        };
        if place(&start) == 4 || place(&end) == 0 || place(&start) > place(&end) {
            return self.fail(
                Diagnostic::error(codes::FRAME, "a frame that ends before it begins")
                    .at(span, "its window says so")
                    .help("BETWEEN 5 PRECEDING AND CURRENT ROW: the earlier bound stands first"),
            );
        }
        let mut frame = Frame {
            unit,
            start,
            end,
            exclude: exclude.unwrap_or_default(),
        };
        if order.is_empty() && frame.unit == FrameUnit::Range {
            // Without an order all rows are equal to each other.
            frame.unit = FrameUnit::Rows;
            frame.start = FrameBound::UnboundedPreceding;
            frame.end = FrameBound::UnboundedFollowing;
        }
        if place(&frame.start) == 0 && place(&frame.end) == 4 {
            frame.unit = FrameUnit::Rows;
        }
        Ok(frame)
    }

    fn bound(
        &mut self,
        bound: &ast::WindowFrameBound,
        unit: FrameUnit,
        order: &[SortExpr],
        span: Span,
    ) -> Result<FrameBound, Failed> {
        Ok(match bound {
            ast::WindowFrameBound::CurrentRow => FrameBound::CurrentRow,
            ast::WindowFrameBound::Preceding(None) => FrameBound::UnboundedPreceding,
            ast::WindowFrameBound::Following(None) => FrameBound::UnboundedFollowing,
            ast::WindowFrameBound::Preceding(Some(by)) => {
                FrameBound::Preceding(self.distance(by, unit, order, span)?)
            }
            ast::WindowFrameBound::Following(Some(by)) => {
                FrameBound::Following(self.distance(by, unit, order, span)?)
            }
        })
    }

    fn distance(
        &mut self,
        by: &ast::Expr,
        unit: FrameUnit,
        order: &[SortExpr],
        span: Span,
    ) -> Result<Scalar, Failed> {
        let bound = self.bind(by)?;
        if unit != FrameUnit::Range {
            return match whole_number(&bound).filter(|by| (0..1 << 40).contains(by)) {
                Some(by) => Ok(Scalar::Int(by)),
                None => self.fail(
                    Diagnostic::error(codes::FRAME, "rows are counted by a whole number")
                        .at(
                            span_of(by),
                            "not a number from 0 on that is the same for all rows",
                        )
                        .help("ROWS BETWEEN 5 PRECEDING AND CURRENT ROW"),
                ),
            };
        }
        let [sort] = order else {
            return self.fail(
                Diagnostic::error(
                    codes::FRAME,
                    "RANGE with a distance needs one ORDER BY column",
                )
                .at(
                    span_of(by),
                    format!("this window has {}", super::counted(order.len(), "column")),
                )
                .at(span, "the call")
                .help("order by the column that the distance is measured in, or count ROWS"),
            );
        };
        match distance_in(&bound, &sort.expr.data_type) {
            Some(distance) => Ok(distance),
            None => {
                let message = format!(
                    "a distance that cannot be measured in {}",
                    sort.expr.data_type
                );
                self.fail(
                    Diagnostic::error(codes::OVER, message)
                        .at(span_of(by), "the window is ordered by values of that type")
                        .help("a number from 0 on for numbers; INTERVAL '5' MINUTE, of a fixed length, for timestamps and dates; ROWS for everything else"),
                )
            }
        }
    }
}

/// A distance in the unit in which values of that type are compared: of times microseconds.
fn distance_in(by: &Expr, data_type: &DataType) -> Option<Scalar> {
    use DataType as T;
    let ExprKind::Literal(value) = &by.kind else {
        return None;
    };
    match data_type {
        T::Timestamp(_) | T::TimestampLtz(_) | T::Date => match value {
            Scalar::Interval(0, days, nanos) if *days >= 0 && *nanos >= 0 && nanos % 1000 == 0 => {
                let micros = i64::from(*days).checked_mul(86_400_000_000)?;
                Some(Scalar::Int(micros.checked_add(nanos / 1000)?))
            }
            _ => None,
        },
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => {
            let by = whole_number(by)?;
            (by >= 0).then_some(Scalar::Int(by))
        }
        T::Decimal(precision, scale) if *precision <= 38 => {
            let (unscaled, own) = decimal(value, &by.data_type)?;
            let digits = u32::try_from(i32::from(*scale) - own).ok()?;
            let unscaled = unscaled.checked_mul(10_i128.checked_pow(digits)?)?;
            (unscaled >= 0).then(|| Scalar::Decimal(unscaled.to_string()))
        }
        T::Float32 | T::Float64 => {
            let by = match value {
                Scalar::Float(bits) => f64::from_bits(*bits),
                _ => {
                    let (unscaled, scale) = decimal(value, &by.data_type)?;
                    unscaled as f64 / 10f64.powi(scale)
                }
            };
            (by.is_finite() && by >= 0.0).then(|| Scalar::float(by))
        }
        _ => None,
    }
}

/// A number's digits and how many of them stand behind the point.
fn decimal(value: &Scalar, data_type: &DataType) -> Option<(i128, i32)> {
    match (value, data_type) {
        (Scalar::Int(value), _) => Some((i128::from(*value), 0)),
        (Scalar::UInt(value), _) => Some((i128::from(*value), 0)),
        (Scalar::Decimal(digits), DataType::Decimal(_, scale)) => {
            Some((digits.parse().ok()?, i32::from(*scale)))
        }
        _ => None,
    }
}
