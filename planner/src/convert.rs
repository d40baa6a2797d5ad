//! From one bound level of the library (see `library.rs`) to our expression.
//!
//! The level's placeholder columns are replaced by the operands that were bound before. Casts between two Arrow types
//! that stand for one SQL type vanish: our plan speaks of SQL types, and lowering inserts what the kernels need.

use arrow::datatypes::DataType as ArrowType;
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{Case, InList, Like};
use datafusion_expr::{Between, BinaryExpr, Expr as LibraryExpr, ExprSchemable, Operator};
use weir_types::{DataType, Scalar, Span};

use crate::literals;
use crate::plan::{BinaryOp, Expr, ExprKind};
use crate::similar;

/// The level that is converted.
pub(crate) struct Level<'a> {
    /// What the placeholders `?0`, `?1`, … stand for.
    pub(crate) operands: &'a [Expr],
    /// The placeholders' schema.
    pub(crate) schema: &'a DFSchema,
    /// The level's place in the SQL.
    pub(crate) span: Span,
}

/// Why a level has no place in a plan.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Weir does not have it (yet): what it is.
    NotYet(String),
    /// A literal that is not a value of the type that is wanted here.
    BadLiteral(Box<Expr>, DataType),
}

impl From<String> for Refusal {
    fn from(what: String) -> Self {
        Self::NotYet(what)
    }
}

/// The name of the `index`-th placeholder.
pub(crate) fn placeholder(index: usize) -> String {
    format!("?{index}")
}

impl Level<'_> {
    /// Our expression, or the reason why there is none.
    pub(crate) fn convert(&self, expr: LibraryExpr) -> Result<Expr, Refusal> {
        match expr {
            LibraryExpr::Alias(alias) => self.convert(*alias.expr),
            LibraryExpr::Column(column) => {
                let index = column
                    .name
                    .strip_prefix('?')
                    .and_then(|digits| digits.parse::<usize>().ok());
                index
                    .and_then(|index| self.operands.get(index).cloned())
                    .ok_or_else(|| format!("`{}` is not a column here", column.name).into())
            }
            LibraryExpr::Literal(value, _) => Ok(literal(&value, self.span)?),
            LibraryExpr::BinaryExpr(binary) => self.binary(binary),
            LibraryExpr::Not(inner) => self.boolean(ExprKind::Not(self.boxed(*inner)?)),
            LibraryExpr::Negative(inner) => {
                let inner = self.convert(*inner)?;
                Ok(self.negated(inner))
            }
            LibraryExpr::IsNull(inner) => self.is_null(*inner, false),
            LibraryExpr::IsNotNull(inner) => self.is_null(*inner, true),
            LibraryExpr::IsTrue(inner) => self.is_truth(*inner, Some(true), false),
            LibraryExpr::IsFalse(inner) => self.is_truth(*inner, Some(false), false),
            LibraryExpr::IsUnknown(inner) => self.is_truth(*inner, None, false),
            LibraryExpr::IsNotTrue(inner) => self.is_truth(*inner, Some(true), true),
            LibraryExpr::IsNotFalse(inner) => self.is_truth(*inner, Some(false), true),
            LibraryExpr::IsNotUnknown(inner) => self.is_truth(*inner, None, true),
            LibraryExpr::Between(between) => self.between(between),
            LibraryExpr::InList(list) => self.in_list(list),
            LibraryExpr::Like(like) => self.like(like),
            LibraryExpr::SimilarTo(like) => self.similar_to(like),
            LibraryExpr::Case(case) => self.case(case),
            LibraryExpr::Cast(cast) => {
                self.cast(*cast.expr, cast.field.data_type(), CastKind::Fails)
            }
            LibraryExpr::TryCast(cast) => {
                self.cast(*cast.expr, cast.field.data_type(), CastKind::GivesNull)
            }
            LibraryExpr::ScalarFunction(ref call) => {
                let data_type = self.type_of(&expr)?;
                let arguments = call
                    .args
                    .iter()
                    .map(|argument| self.convert(argument.clone()))
                    .collect::<Result<_, Refusal>>()?;
                let kind = ExprKind::Function {
                    name: call.func.name().to_owned(),
                    arguments,
                };
                Ok(Expr {
                    kind,
                    data_type,
                    span: self.span,
                })
            }
            other => Err(format!("`{other}` cannot be used here yet").into()),
        }
    }

    /// The SQL type of a library expression of this level.
    pub(crate) fn type_of(&self, expr: &LibraryExpr) -> Result<DataType, String> {
        let arrow = expr
            .get_type(self.schema)
            .map_err(|error| crate::binder::library_message(&error))?;
        sql_type(&arrow)
    }

    /// A cast that is written or implied; one of a literal is done at once.
    fn cast(
        &self,
        operand: LibraryExpr,
        target: &ArrowType,
        kind: CastKind,
    ) -> Result<Expr, Refusal> {
        let target = sql_type(target)?;
        let operand = self.convert(operand)?;
        match literals::folded_cast(&operand, &target, kind, self.span) {
            Ok(Some(folded)) => Ok(folded),
            Ok(None) => Ok(cast_to(operand, target, kind, self.span)),
            Err(()) => Err(Refusal::BadLiteral(Box::new(operand), target)),
        }
    }

    /// A comparison, at the narrower type where a literal allows it.
    fn comparison(&self, op: BinaryOp, left: Box<Expr>, right: Box<Expr>) -> Result<Expr, Refusal> {
        let (left, right) = literals::narrowed(op, left, right);
        self.boolean(ExprKind::Binary { op, left, right })
    }

    fn boxed(&self, expr: LibraryExpr) -> Result<Box<Expr>, Refusal> {
        self.convert(expr).map(Box::new)
    }

    fn boolean(&self, kind: ExprKind) -> Result<Expr, Refusal> {
        Ok(Expr {
            kind,
            data_type: DataType::Boolean,
            span: self.span,
        })
    }

    /// A negated literal is a literal: `-1` has to be one for functions that look at their arguments.
    fn negated(&self, inner: Expr) -> Expr {
        let data_type = inner.data_type.clone();
        let kind = match &inner.kind {
            ExprKind::Literal(Scalar::Int(value)) if *value != i64::MIN => {
                ExprKind::Literal(Scalar::Int(-value))
            }
            ExprKind::Literal(Scalar::Float(bits)) => {
                ExprKind::Literal(Scalar::float(-f64::from_bits(*bits)))
            }
            _ => ExprKind::Negate(Box::new(inner)),
        };
        Expr {
            kind,
            data_type,
            span: self.span,
        }
    }

    fn is_null(&self, inner: LibraryExpr, negated: bool) -> Result<Expr, Refusal> {
        self.boolean(ExprKind::IsNull {
            expr: self.boxed(inner)?,
            negated,
        })
    }

    fn is_truth(
        &self,
        inner: LibraryExpr,
        value: Option<bool>,
        negated: bool,
    ) -> Result<Expr, Refusal> {
        self.boolean(ExprKind::IsTruth {
            expr: self.boxed(inner)?,
            value,
            negated,
        })
    }

    fn binary(&self, binary: BinaryExpr) -> Result<Expr, Refusal> {
        let data_type = self.type_of(&LibraryExpr::BinaryExpr(binary.clone()))?;
        let like = |negated, case_insensitive| Some((negated, case_insensitive));
        let as_like = match binary.op {
            Operator::LikeMatch => like(false, false),
            Operator::ILikeMatch => like(false, true),
            Operator::NotLikeMatch => like(true, false),
            Operator::NotILikeMatch => like(true, true),
            _ => None,
        };
        let (left, right) = (self.boxed(*binary.left)?, self.boxed(*binary.right)?);
        if let Some((negated, case_insensitive)) = as_like {
            let kind = ExprKind::Like {
                expr: left,
                pattern: right,
                escape: None,
                case_insensitive,
                negated,
            };
            return self.boolean(kind);
        }
        let op = operator(binary.op)?;
        if literals::is_comparison(op) {
            return self.comparison(op, left, right);
        }
        Ok(Expr {
            kind: ExprKind::Binary { op, left, right },
            data_type,
            span: self.span,
        })
    }

    /// `a BETWEEN l AND h` is `a >= l AND a <= h`; its negation `a < l OR a > h`.
    fn between(&self, between: Between) -> Result<Expr, Refusal> {
        let (value, low, high) = (
            self.boxed(*between.expr)?,
            self.boxed(*between.low)?,
            self.boxed(*between.high)?,
        );
        let (low_op, high_op, both) = if between.negated {
            (BinaryOp::Lt, BinaryOp::Gt, BinaryOp::Or)
        } else {
            (BinaryOp::GtEq, BinaryOp::LtEq, BinaryOp::And)
        };
        let above = self.comparison(low_op, value.clone(), low)?;
        let below = self.comparison(high_op, value, high)?;
        self.boolean(ExprKind::Binary {
            op: both,
            left: Box::new(above),
            right: Box::new(below),
        })
    }

    fn in_list(&self, list: InList) -> Result<Expr, Refusal> {
        let items = list
            .list
            .into_iter()
            .map(|item| self.convert(item))
            .collect::<Result<_, Refusal>>()?;
        let (expr, list_items) = literals::narrowed_list(self.boxed(*list.expr)?, items);
        self.boolean(ExprKind::InList {
            expr,
            list: list_items,
            negated: list.negated,
        })
    }

    fn like(&self, like: Like) -> Result<Expr, Refusal> {
        self.boolean(ExprKind::Like {
            expr: self.boxed(*like.expr)?,
            pattern: self.boxed(*like.pattern)?,
            escape: like.escape_char,
            case_insensitive: like.case_insensitive,
            negated: like.negated,
        })
    }

    /// The library reads SIMILAR TO as an unanchored regular expression; SQL has patterns of its own.
    fn similar_to(&self, like: Like) -> Result<Expr, Refusal> {
        let op = if like.negated {
            BinaryOp::RegexNotMatch
        } else {
            BinaryOp::RegexMatch
        };
        let (left, mut right) = (self.boxed(*like.expr)?, self.boxed(*like.pattern)?);
        match &mut right.kind {
            ExprKind::Literal(Scalar::String(pattern)) => {
                *pattern = similar::regular_expression(pattern, like.escape_char)?;
            }
            ExprKind::Literal(Scalar::Null) => {}
            _ => {
                return Err(
                    "SIMILAR TO with a pattern that is not a literal cannot be used here yet; \
                            `~` takes a regular expression from a column"
                        .to_owned()
                        .into(),
                );
            }
        }
        self.boolean(ExprKind::Binary { op, left, right })
    }

    /// The form with an operand becomes the searched form.
    fn case(&self, case: Case) -> Result<Expr, Refusal> {
        let data_type = self.type_of(&LibraryExpr::Case(case.clone()))?;
        let operand = case
            .expr
            .map(|operand| self.convert(*operand))
            .transpose()?;
        let mut branches = Vec::with_capacity(case.when_then_expr.len());
        for (when, then) in case.when_then_expr {
            let (when, then) = (self.convert(*when)?, self.convert(*then)?);
            let condition = match &operand {
                None => when,
                Some(operand) => {
                    self.comparison(BinaryOp::Eq, Box::new(operand.clone()), Box::new(when))?
                }
            };
            branches.push((condition, then));
        }
        let otherwise = case
            .else_expr
            .map(|otherwise| self.boxed(*otherwise))
            .transpose()?;
        Ok(Expr {
            kind: ExprKind::Case {
                branches,
                otherwise,
            },
            data_type,
            span: self.span,
        })
    }
}

/// What a cast does with a value that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CastKind {
    /// CAST: an error in the row.
    Fails,
    /// TRY_CAST: NULL.
    GivesNull,
}

/// A cast, unless the expression has that type already. A NULL literal takes the type at once.
pub(crate) fn cast_to(expr: Expr, target: DataType, kind: CastKind, span: Span) -> Expr {
    if expr.data_type == target {
        return expr;
    }
    if let ExprKind::Literal(Scalar::Null) = expr.kind {
        return Expr {
            kind: expr.kind,
            data_type: target,
            span: expr.span,
        };
    }
    let span = if span.is_empty() { expr.span } else { span };
    if let Some(row) = crate::row_cast::by_position(&expr, &target, kind, span) {
        return row;
    }
    let safe = kind == CastKind::GivesNull;
    Expr {
        kind: ExprKind::Cast {
            expr: Box::new(expr),
            safe,
        },
        data_type: target,
        span,
    }
}

/// The SQL type of an Arrow type, or the reason why there is none.
pub(crate) fn sql_type(arrow: &ArrowType) -> Result<DataType, String> {
    DataType::from_arrow(arrow).ok_or_else(|| format!("there is no SQL type for {arrow}"))
}

/// A literal of the library as ours.
pub(crate) fn literal(value: &ScalarValue, span: Span) -> Result<Expr, String> {
    let data_type = sql_type(&value.data_type())?;
    let scalar =
        scalar(value).ok_or_else(|| format!("the literal {value} cannot stand in a plan"))?;
    Ok(Expr {
        kind: ExprKind::Literal(scalar),
        data_type,
        span,
    })
}

fn scalar(value: &ScalarValue) -> Option<Scalar> {
    use ScalarValue as V;
    if value.is_null() {
        return Some(Scalar::Null);
    }
    Some(match value {
        V::Boolean(Some(v)) => Scalar::Boolean(*v),
        V::Int8(Some(v)) => Scalar::Int(i64::from(*v)),
        V::Int16(Some(v)) => Scalar::Int(i64::from(*v)),
        V::Int32(Some(v)) | V::Date32(Some(v)) => Scalar::Int(i64::from(*v)),
        V::Int64(Some(v)) | V::Time64Nanosecond(Some(v)) => Scalar::Int(*v),
        V::Time64Microsecond(Some(v)) => Scalar::Int(v.checked_mul(1_000)?),
        V::TimestampSecond(Some(v), _)
        | V::TimestampMillisecond(Some(v), _)
        | V::TimestampMicrosecond(Some(v), _)
        | V::TimestampNanosecond(Some(v), _) => Scalar::Int(*v),
        V::UInt8(Some(v)) => Scalar::UInt(u64::from(*v)),
        V::UInt16(Some(v)) => Scalar::UInt(u64::from(*v)),
        V::UInt32(Some(v)) => Scalar::UInt(u64::from(*v)),
        V::UInt64(Some(v)) => Scalar::UInt(*v),
        V::Float32(Some(v)) => Scalar::float(f64::from(*v)),
        V::Float64(Some(v)) => Scalar::float(*v),
        V::Decimal32(Some(v), _, _) => Scalar::Decimal(v.to_string()),
        V::Decimal64(Some(v), _, _) => Scalar::Decimal(v.to_string()),
        V::Decimal128(Some(v), _, _) => Scalar::Decimal(v.to_string()),
        V::Decimal256(Some(v), _, _) => Scalar::Decimal(v.to_string()),
        V::Utf8(Some(v)) | V::Utf8View(Some(v)) | V::LargeUtf8(Some(v)) => {
            Scalar::String(v.clone())
        }
        V::Binary(Some(v)) | V::BinaryView(Some(v)) | V::LargeBinary(Some(v)) => {
            Scalar::Bytes(v.clone())
        }
        V::IntervalYearMonth(Some(months)) => Scalar::Interval(*months, 0, 0),
        V::IntervalDayTime(Some(v)) => {
            Scalar::Interval(0, v.days, i64::from(v.milliseconds) * 1_000_000)
        }
        V::IntervalMonthDayNano(Some(v)) => Scalar::Interval(v.months, v.days, v.nanoseconds),
        _ => return None,
    })
}

/// A literal of ours as the library's; `None` for the types that have none.
pub(crate) fn library_scalar(value: &Scalar, data_type: &DataType) -> Option<ScalarValue> {
    let arrow = data_type.to_arrow();
    Some(match value {
        Scalar::Null => ScalarValue::try_from(&arrow).ok()?,
        Scalar::Boolean(v) => ScalarValue::Boolean(Some(*v)),
        Scalar::Int(v) if data_type.is_timestamp() => match &arrow {
            ArrowType::Timestamp(arrow::datatypes::TimeUnit::Second, zone) => {
                ScalarValue::TimestampSecond(Some(*v), zone.clone())
            }
            ArrowType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, zone) => {
                ScalarValue::TimestampMillisecond(Some(*v), zone.clone())
            }
            ArrowType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, zone) => {
                ScalarValue::TimestampMicrosecond(Some(*v), zone.clone())
            }
            ArrowType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, zone) => {
                ScalarValue::TimestampNanosecond(Some(*v), zone.clone())
            }
            _ => return None,
        },
        Scalar::Int(v) => match data_type {
            DataType::Int8 => ScalarValue::Int8(Some(i8::try_from(*v).ok()?)),
            DataType::Int16 => ScalarValue::Int16(Some(i16::try_from(*v).ok()?)),
            DataType::Int32 => ScalarValue::Int32(Some(i32::try_from(*v).ok()?)),
            DataType::Int64 => ScalarValue::Int64(Some(*v)),
            DataType::Date => ScalarValue::Date32(Some(i32::try_from(*v).ok()?)),
            DataType::Time => ScalarValue::Time64Nanosecond(Some(*v)),
            _ => return None,
        },
        Scalar::UInt(v) => match data_type {
            DataType::UInt8 => ScalarValue::UInt8(Some(u8::try_from(*v).ok()?)),
            DataType::UInt16 => ScalarValue::UInt16(Some(u16::try_from(*v).ok()?)),
            DataType::UInt32 => ScalarValue::UInt32(Some(u32::try_from(*v).ok()?)),
            DataType::UInt64 => ScalarValue::UInt64(Some(*v)),
            _ => return None,
        },
        Scalar::Float(bits) if *data_type == DataType::Float32 => {
            ScalarValue::Float32(Some(f64::from_bits(*bits) as f32))
        }
        Scalar::Float(bits) => ScalarValue::Float64(Some(f64::from_bits(*bits))),
        Scalar::String(text) => ScalarValue::Utf8View(Some(text.clone())),
        Scalar::Decimal(digits) => match arrow {
            ArrowType::Decimal128(p, s) => {
                ScalarValue::Decimal128(Some(digits.parse().ok()?), p, s)
            }
            _ => return None,
        },
        Scalar::Bytes(_) | Scalar::Interval(..) => return None,
    })
}

fn operator(op: Operator) -> Result<BinaryOp, String> {
    Ok(match op {
        Operator::Eq => BinaryOp::Eq,
        Operator::NotEq => BinaryOp::NotEq,
        Operator::Lt => BinaryOp::Lt,
        Operator::LtEq => BinaryOp::LtEq,
        Operator::Gt => BinaryOp::Gt,
        Operator::GtEq => BinaryOp::GtEq,
        Operator::IsDistinctFrom => BinaryOp::IsDistinctFrom,
        Operator::IsNotDistinctFrom => BinaryOp::IsNotDistinctFrom,
        Operator::And => BinaryOp::And,
        Operator::Or => BinaryOp::Or,
        Operator::Plus => BinaryOp::Plus,
        Operator::Minus => BinaryOp::Minus,
        Operator::Multiply => BinaryOp::Multiply,
        Operator::Divide => BinaryOp::Divide,
        Operator::Modulo => BinaryOp::Modulo,
        Operator::BitwiseAnd => BinaryOp::BitAnd,
        Operator::BitwiseOr => BinaryOp::BitOr,
        Operator::BitwiseXor => BinaryOp::BitXor,
        Operator::BitwiseShiftLeft => BinaryOp::ShiftLeft,
        Operator::BitwiseShiftRight => BinaryOp::ShiftRight,
        Operator::RegexMatch => BinaryOp::RegexMatch,
        Operator::RegexIMatch => BinaryOp::RegexIMatch,
        Operator::RegexNotMatch => BinaryOp::RegexNotMatch,
        Operator::RegexNotIMatch => BinaryOp::RegexNotIMatch,
        Operator::StringConcat => BinaryOp::StringConcat,
        other => return Err(format!("the operator `{other}` is not available")),
    })
}
