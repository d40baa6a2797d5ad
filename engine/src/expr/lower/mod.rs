//! Lowering: from the plan's expressions to the library's physical ones.
//!
//! ```text
//!   plan::Expr ──▶ Lowered { physical, span, form, children }     one node for each node of the plan
//! ```
//!
//! The tree of nodes stays beside the physical expression so that a row that fails can be traced to the innermost
//! expression that fails (`row_errors.rs`).
//!
//! # Invariants
//! 1. The Arrow type of every node is the canonical one of its SQL type: a cast is put in where a function
//!    gives another (another string layout, a dictionary, another zone).
//! 2. An argument that is a literal stays a literal when it is cast: functions look for them (`date_part('hour', …)`).

mod calls;
mod case;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType as ArrowType, Schema as ArrowSchema};
use datafusion_common::ScalarValue;
use datafusion_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion_expr::type_coercion::functions::fields_with_udf;
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
    TryCastExpr, in_list,
};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use weir_planner::plan::{BinaryOp, Expr, ExprKind};
use weir_types::{DataType, Scalar, Span};

use super::fallible::{call_may_fail, cast_may_fail, is_float, operation_may_fail};
use super::physical::{CheckedNegate, Connective, EpochClock, EpochTime, Logical};
use super::{direct, functions, literal, normal};

/// A node of the lowered tree.
pub(super) struct Lowered {
    pub(super) physical: Arc<dyn PhysicalExpr>,
    pub(super) span: Span,
    pub(super) form: Form,
    /// In the order of evaluation. For CASE: condition, result, condition, result, …, otherwise.
    pub(super) children: Vec<Lowered>,
    /// Whether it can fail on a row that its input can hold.
    pub(super) may_fail: bool,
}

/// What the search for a failing row has to know of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A cast to this type: its message quotes the operand.
    Cast(DataType),
    /// Children are evaluated as the conditions say.
    Case,
    /// Children are evaluated in order.
    Plain,
}

/// Why an expression cannot be run; it never depends on a row.
pub(super) struct LoweringError {
    pub(super) span: Span,
    pub(super) message: String,
}

type Result<T> = std::result::Result<T, LoweringError>;

/// Lowers the expressions of one operator.
pub(super) struct Lowering<'a> {
    /// Schema of the input, all types canonical.
    pub(super) schema: &'a ArrowSchema,
    pub(super) clock: &'a Arc<EpochClock>,
}

impl Lowering<'_> {
    pub(super) fn lower(&self, expr: &Expr) -> Result<Lowered> {
        let mut node = self.lower_kind(expr)?;
        node.span = expr.span;
        node.physical = self
            .canonical(node.physical, &expr.data_type)
            .map_err(|message| failed(expr, message))?;
        Ok(node)
    }

    fn lower_kind(&self, expr: &Expr) -> Result<Lowered> {
        Ok(match &expr.kind {
            ExprKind::Column(index) => self.column(expr, *index)?,
            ExprKind::Literal(scalar) => {
                let value = literal::scalar_value(scalar, &expr.data_type)
                    .map_err(|message| failed(expr, message))?;
                leaf(Arc::new(Literal::new(value)))
            }
            ExprKind::ProcessingTime => {
                let unit = match &expr.data_type {
                    DataType::TimestampLtz(unit) => *unit,
                    _ => weir_types::TimeUnit::Milli,
                };
                leaf(Arc::new(EpochTime {
                    clock: Arc::clone(self.clock),
                    unit,
                }))
            }
            ExprKind::Binary { op, left, right } => self.binary(expr, *op, left, right)?,
            ExprKind::Not(operand) => {
                let operand = self.lower(operand)?;
                over(
                    Arc::new(NotExpr::new(Arc::clone(&operand.physical))),
                    vec![operand],
                    false,
                )
            }
            ExprKind::Negate(operand) => {
                let operand = self.lower(operand)?;
                let may_fail = !is_float(&expr.data_type);
                over(
                    Arc::new(CheckedNegate(Arc::clone(&operand.physical))),
                    vec![operand],
                    may_fail,
                )
            }
            ExprKind::IsNull {
                expr: operand,
                negated,
            } => {
                let operand = self.lower(operand)?;
                over(is_null(&operand.physical, *negated), vec![operand], false)
            }
            ExprKind::IsTruth {
                expr: operand,
                value,
                negated,
            } => self.is_truth(operand, *value, *negated)?,
            ExprKind::Cast {
                expr: operand,
                safe,
            } => self.cast(expr, operand, *safe)?,
            ExprKind::Case {
                branches,
                otherwise,
            } => self.case(expr, branches, otherwise.as_deref())?,
            ExprKind::InList {
                expr: operand,
                list,
                negated,
            } => self.in_list(expr, operand, list, *negated)?,
            ExprKind::Like {
                expr: operand,
                pattern,
                escape,
                case_insensitive,
                negated,
            } => {
                let pattern = escaped_pattern(pattern, *escape)?;
                let (operand, pattern) = (self.lower(operand)?, self.lower(&pattern)?);
                // A pattern from a column may be one that cannot be compiled.
                let may_fail = !pattern.physical.is::<Literal>();
                let physical = LikeExpr::new(
                    *negated,
                    *case_insensitive,
                    Arc::clone(&operand.physical),
                    Arc::clone(&pattern.physical),
                );
                over(Arc::new(physical), vec![operand, pattern], may_fail)
            }
            ExprKind::Function { name, arguments } => self.function(expr, name, arguments)?,
        })
    }

    fn column(&self, expr: &Expr, index: usize) -> Result<Lowered> {
        if index >= self.schema.fields().len() {
            return Err(failed(
                expr,
                format!("the plan refers to column {index}, which its input does not have"),
            ));
        }
        Ok(leaf(Arc::new(Column::new(
            self.schema.field(index).name(),
            index,
        ))))
    }

    fn binary(&self, expr: &Expr, op: BinaryOp, left: &Expr, right: &Expr) -> Result<Lowered> {
        let mut children = vec![self.lower(left)?, self.lower(right)?];
        let connective = match op {
            BinaryOp::And => Some(Connective::And),
            BinaryOp::Or => Some(Connective::Or),
            _ => None,
        };
        if let Some(connective) = connective {
            let physical = Logical {
                connective,
                left: Arc::clone(&children[0].physical),
                right: Arc::clone(&children[1].physical),
                right_may_fail: children[1].may_fail,
            };
            return Ok(over(Arc::new(physical), children, false));
        }
        let operator = library_operator(op);
        self.coerce_operands(&operator, &mut children)
            .map_err(|message| failed(expr, message))?;
        let [left_value, right_value] = [0, 1].map(|i| Arc::clone(&children[i].physical));
        let (left_value, right_value) = if compares(op) {
            (self.comparable(left_value), self.comparable(right_value))
        } else {
            (left_value, right_value)
        };
        let general = BinaryExpr::new(Arc::clone(&left_value), operator, Arc::clone(&right_value))
            .with_fail_on_overflow(true);
        let general = Arc::new(general);
        let physical = direct::shifted(&left_value, &operator, &right_value, self.schema, general);
        let may_fail = operation_may_fail(op, &expr.data_type, &right.kind);
        Ok(over(physical, children, may_fail))
    }

    /// The plan's casts are explicit; where the library still wants others (decimals of unlike scale, a date
    /// and an interval) they are put in here.
    fn coerce_operands(
        &self,
        operator: &Operator,
        children: &mut [Lowered],
    ) -> std::result::Result<(), String> {
        let left = self.type_of(&children[0].physical)?;
        let right = self.type_of(&children[1].physical)?;
        let Ok(wanted) = BinaryTypeCoercer::new(&left, operator, &right).get_input_types() else {
            return Ok(());
        };
        // Arithmetic between unlike types that the library takes as they are (timestamp ± interval) is left alone.
        for (child, wanted) in children.iter_mut().zip([wanted.0, wanted.1]) {
            child.physical = cast_to(
                Arc::clone(&child.physical),
                &self.type_of(&child.physical)?,
                &wanted,
            )?;
        }
        Ok(())
    }

    fn is_truth(&self, operand: &Expr, value: Option<bool>, negated: bool) -> Result<Lowered> {
        let operand = self.lower(operand)?;
        let physical: Arc<dyn PhysicalExpr> = match value {
            None => is_null(&operand.physical, negated),
            Some(value) => {
                let operator = if negated {
                    Operator::IsDistinctFrom
                } else {
                    Operator::IsNotDistinctFrom
                };
                let value = Arc::new(Literal::new(ScalarValue::Boolean(Some(value))));
                Arc::new(BinaryExpr::new(
                    Arc::clone(&operand.physical),
                    operator,
                    value,
                ))
            }
        };
        Ok(over(physical, vec![operand], false))
    }

    fn cast(&self, expr: &Expr, operand: &Expr, safe: bool) -> Result<Lowered> {
        let child = self.lower(operand)?;
        let target = expr.data_type.to_arrow();
        let from = self
            .type_of(&child.physical)
            .map_err(|message| failed(expr, message))?;
        let possible = arrow::compute::can_cast_types(&from, &target)
            || datafusion_common::nested_struct::requires_nested_struct_cast(&from, &target);
        if !possible {
            return Err(failed(
                expr,
                format!(
                    "a {} cannot be cast to {}",
                    operand.data_type, expr.data_type
                ),
            ));
        }
        let physical: Arc<dyn PhysicalExpr> = if from == target {
            Arc::clone(&child.physical)
        } else if normal::writes_timestamp(&from, &target) {
            timestamp_text(Arc::clone(&child.physical), target)
        } else if safe {
            Arc::new(TryCastExpr::new(Arc::clone(&child.physical), target))
        } else {
            Arc::new(CastExpr::new(Arc::clone(&child.physical), target, None))
        };
        let may_fail = !safe && cast_may_fail(&operand.data_type, &expr.data_type);
        Ok(Lowered {
            form: Form::Cast(expr.data_type.clone()),
            ..over(physical, vec![child], may_fail)
        })
    }

    /// Lowers an expression whose value goes where `data_type` is wanted.
    fn lower_as(&self, expr: &Expr, data_type: &DataType) -> Result<Lowered> {
        let mut node = self.lower(expr)?;
        node.physical = self
            .canonical(node.physical, data_type)
            .map_err(|message| failed(expr, message))?;
        Ok(node)
    }

    fn in_list(
        &self,
        expr: &Expr,
        operand: &Expr,
        list: &[Expr],
        negated: bool,
    ) -> Result<Lowered> {
        let mut children = vec![self.lower(operand)?];
        for item in list {
            children.push(self.lower_as(item, &operand.data_type)?);
        }
        let items = children[1..]
            .iter()
            .map(|item| self.comparable(Arc::clone(&item.physical)))
            .collect();
        let physical = in_list(
            self.comparable(Arc::clone(&children[0].physical)),
            items,
            &negated,
            self.schema,
        )
        .map_err(|error| failed(expr, error.strip_backtrace()))?;
        Ok(over(physical, children, false))
    }

    /// The expression as a comparison needs it; a literal stays one.
    fn comparable(&self, physical: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        let Ok(data_type) = self.type_of(&physical) else {
            return physical;
        };
        evaluated_if_literal(
            normal::one_zero(Arc::clone(&physical), &data_type),
            &physical,
        )
    }

    fn canonical(
        &self,
        physical: Arc<dyn PhysicalExpr>,
        data_type: &DataType,
    ) -> std::result::Result<Arc<dyn PhysicalExpr>, String> {
        let from = self.type_of(&physical)?;
        cast_to(physical, &from, &data_type.to_arrow())
    }

    fn type_of(&self, physical: &Arc<dyn PhysicalExpr>) -> std::result::Result<ArrowType, String> {
        physical
            .data_type(self.schema)
            .map_err(|error| error.strip_backtrace())
    }
}

/// A cast between Arrow types that fails where a value does not fit; a literal is cast at once.
fn cast_to(
    physical: Arc<dyn PhysicalExpr>,
    from: &ArrowType,
    to: &ArrowType,
) -> std::result::Result<Arc<dyn PhysicalExpr>, String> {
    if from == to {
        return Ok(physical);
    }
    if normal::writes_timestamp(from, to) {
        return Ok(timestamp_text(physical, to.clone()));
    }
    if let Some(literal) = physical.downcast_ref::<Literal>()
        && let Ok(value) = literal.value().cast_to(to)
    {
        return Ok(Arc::new(Literal::new(value)));
    }
    Ok(Arc::new(CastExpr::new(physical, to.clone(), None)))
}

fn timestamp_text(timestamp: Arc<dyn PhysicalExpr>, text: ArrowType) -> Arc<dyn PhysicalExpr> {
    let cast = Arc::new(CastExpr::new(Arc::clone(&timestamp), text, None));
    evaluated_if_literal(normal::spaced_timestamp(cast), &timestamp)
}

/// `of`, an expression over `operand` alone, as a literal if `operand` is one.
fn evaluated_if_literal(
    of: Arc<dyn PhysicalExpr>,
    operand: &Arc<dyn PhysicalExpr>,
) -> Arc<dyn PhysicalExpr> {
    if !operand.is::<Literal>() {
        return of;
    }
    let nothing = RecordBatch::new_empty(Arc::new(ArrowSchema::empty()));
    match of.evaluate(&nothing) {
        Ok(ColumnarValue::Scalar(value)) => Arc::new(Literal::new(value)),
        _ => of,
    }
}

fn not_null(expr: &Expr) -> Expr {
    Expr {
        kind: ExprKind::IsNull {
            expr: Box::new(expr.clone()),
            negated: true,
        },
        data_type: DataType::Boolean,
        span: expr.span,
    }
}

fn is_null(operand: &Arc<dyn PhysicalExpr>, negated: bool) -> Arc<dyn PhysicalExpr> {
    let operand = Arc::clone(operand);
    if negated {
        Arc::new(IsNotNullExpr::new(operand))
    } else {
        Arc::new(IsNullExpr::new(operand))
    }
}

fn leaf(physical: Arc<dyn PhysicalExpr>) -> Lowered {
    over(physical, Vec::new(), false)
}

fn over(physical: Arc<dyn PhysicalExpr>, children: Vec<Lowered>, fails_itself: bool) -> Lowered {
    let may_fail = fails_itself || children.iter().any(|child| child.may_fail);
    Lowered {
        physical,
        span: Span::default(),
        form: Form::Plain,
        children,
        may_fail,
    }
}

fn failed(expr: &Expr, message: impl Into<String>) -> LoweringError {
    LoweringError {
        span: expr.span,
        message: message.into(),
    }
}

fn compares(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Eq
            | BinaryOp::NotEq
            | BinaryOp::Lt
            | BinaryOp::LtEq
            | BinaryOp::Gt
            | BinaryOp::GtEq
            | BinaryOp::IsDistinctFrom
            | BinaryOp::IsNotDistinctFrom
    )
}

/// The kernels know one escape character, the backslash: a pattern with another is rewritten.
fn escaped_pattern(pattern: &Expr, escape: Option<char>) -> Result<Expr> {
    let escape = match escape {
        None | Some('\\') => return Ok(pattern.clone()),
        Some(escape) => escape,
    };
    let ExprKind::Literal(Scalar::String(text)) = &pattern.kind else {
        return Err(failed(
            pattern,
            "ESCAPE is possible with a literal pattern only",
        ));
    };
    let mut rewritten = String::with_capacity(text.len() + 4);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            c if c == escape => {
                rewritten.push('\\');
                rewritten.extend(characters.next());
            }
            '\\' => rewritten.push_str("\\\\"),
            other => rewritten.push(other),
        }
    }
    Ok(Expr {
        kind: ExprKind::Literal(Scalar::String(rewritten)),
        ..pattern.clone()
    })
}

fn library_operator(op: BinaryOp) -> Operator {
    match op {
        BinaryOp::Eq => Operator::Eq,
        BinaryOp::NotEq => Operator::NotEq,
        BinaryOp::Lt => Operator::Lt,
        BinaryOp::LtEq => Operator::LtEq,
        BinaryOp::Gt => Operator::Gt,
        BinaryOp::GtEq => Operator::GtEq,
        BinaryOp::IsDistinctFrom => Operator::IsDistinctFrom,
        BinaryOp::IsNotDistinctFrom => Operator::IsNotDistinctFrom,
        BinaryOp::And => Operator::And,
        BinaryOp::Or => Operator::Or,
        BinaryOp::Plus => Operator::Plus,
        BinaryOp::Minus => Operator::Minus,
        BinaryOp::Multiply => Operator::Multiply,
        BinaryOp::Divide => Operator::Divide,
        BinaryOp::Modulo => Operator::Modulo,
        BinaryOp::BitAnd => Operator::BitwiseAnd,
        BinaryOp::BitOr => Operator::BitwiseOr,
        BinaryOp::BitXor => Operator::BitwiseXor,
        BinaryOp::ShiftLeft => Operator::BitwiseShiftLeft,
        BinaryOp::ShiftRight => Operator::BitwiseShiftRight,
        BinaryOp::RegexMatch => Operator::RegexMatch,
        BinaryOp::RegexIMatch => Operator::RegexIMatch,
        BinaryOp::RegexNotMatch => Operator::RegexNotMatch,
        BinaryOp::RegexNotIMatch => Operator::RegexNotIMatch,
        BinaryOp::StringConcat => Operator::StringConcat,
    }
}
