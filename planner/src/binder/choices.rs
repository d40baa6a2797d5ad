//! Where PostgreSQL's types differ from the library's: the branches of a CASE, and days added to a date.
//!
//! The library makes text of a number that meets a text. Here that is a mistake, in a CASE as in a UNION.

use sqlparser::ast::{self, BinaryOperator, Value};
use weir_types::{DataType, Diagnostic, Scalar, Span};

use crate::codes;
use crate::convert::{CastKind, cast_to};
use crate::plan::{BinaryOp, Expr, ExprKind};
use crate::syntax::span_of;

use super::Failed;
use super::expr::ExprBinder;
use super::levels::is_literal;

/// What a branch gives, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
}

impl ExprBinder<'_> {
    /// A CASE, whose branches give numbers or texts, and not both.
    pub(super) fn bind_case(&mut self, expr: &ast::Expr, span: Span) -> Result<Expr, Failed> {
        let mut level = expr.clone();
        let ast::Expr::Case {
            operand,
            conditions,
            else_result,
            ..
        } = &mut level
        else {
            return Err(Failed);
        };
        let (mut bound, mut kinds, mut failed) = (Vec::new(), Vec::new(), false);
        if let Some(operand) = operand {
            failed |= self.replace_operand(operand, &mut bound).is_err();
        }
        for branch in conditions {
            failed |= self
                .replace_operand(&mut branch.condition, &mut bound)
                .is_err();
            failed |= self
                .branch(&mut branch.result, &mut bound, &mut kinds)
                .is_err();
        }
        if let Some(otherwise) = else_result {
            failed |= self.branch(otherwise, &mut bound, &mut kinds).is_err();
        }
        if failed {
            return Err(Failed);
        }
        let place = |wanted: Kind| kinds.iter().find(|(kind, _)| *kind == wanted);
        if let (Some((_, number)), Some((_, text))) = (place(Kind::Number), place(Kind::Text)) {
            return self.fail(
                Diagnostic::error(
                    codes::TYPE_MISMATCH,
                    "this CASE gives a number in one branch and a text in another",
                )
                .at(text.union(*number), "they have no common type")
                .help("CAST(… AS STRING) makes a text of the number, where that is meant"),
            );
        }
        self.library_level(level, bound, "CASE", span)
    }

    fn branch(
        &mut self,
        result: &mut ast::Expr,
        bound: &mut Vec<Expr>,
        kinds: &mut Vec<(Kind, Span)>,
    ) -> Result<(), Failed> {
        let (literal, span) = (literal_kind(result), span_of(result));
        let before = bound.len();
        self.replace_operand(result, bound)?;
        let kind = match bound.get(before).map(|value| &value.data_type) {
            Some(DataType::String) => Some(Kind::Text),
            Some(data_type) if data_type.to_arrow().is_numeric() => Some(Kind::Number),
            Some(_) => None,
            None => literal,
        };
        kinds.extend(kind.map(|kind| (kind, span)));
        Ok(())
    }
}

fn literal_kind(expr: &ast::Expr) -> Option<Kind> {
    match expr {
        ast::Expr::Nested(inner) | ast::Expr::UnaryOp { expr: inner, .. } => literal_kind(inner),
        ast::Expr::Value(value) => match value.value {
            Value::Number(..) => Some(Kind::Number),
            Value::SingleQuotedString(_)
            | Value::EscapedStringLiteral(_)
            | Value::DollarQuotedString(_) => Some(Kind::Text),
            _ => None,
        },
        _ => None,
    }
}

/// `date + n`, `n + date` and `date - n`: a date that many days later or earlier. `bound` are the operands that are no literals.
pub(super) fn days_later(expr: &ast::Expr, bound: &[Expr], span: Span) -> Option<Expr> {
    let ast::Expr::BinaryOp { left, op, right } = expr else {
        return None;
    };
    let op = match op {
        BinaryOperator::Plus => BinaryOp::Plus,
        BinaryOperator::Minus => BinaryOp::Minus,
        _ => return None,
    };
    let mut bound = bound.iter();
    let mut side = |operand: &ast::Expr| {
        if is_literal(operand) {
            whole_number(operand)
        } else {
            bound.next().cloned()
        }
    };
    let (left, right) = (side(left)?, side(right)?);
    let is_days = |side: &Expr| side.data_type.to_arrow().is_integer();
    let fits = match (&left.data_type, &right.data_type) {
        (DataType::Date, _) => is_days(&right),
        (_, DataType::Date) => op == BinaryOp::Plus && is_days(&left),
        _ => false,
    };
    if !fits {
        return None;
    }
    let number = |side: Expr| Box::new(cast_to(side, DataType::Int64, CastKind::Fails, span));
    let days = Expr {
        kind: ExprKind::Binary {
            op,
            left: number(left),
            right: number(right),
        },
        data_type: DataType::Int64,
        span,
    };
    // A date is a number of days in 32 bits: what does not fit fails as a cast.
    let days = cast_to(days, DataType::Int32, CastKind::Fails, span);
    Some(cast_to(days, DataType::Date, CastKind::Fails, span))
}

fn whole_number(literal: &ast::Expr) -> Option<Expr> {
    let (digits, negative) = match literal {
        ast::Expr::Nested(inner) => return whole_number(inner),
        ast::Expr::UnaryOp {
            op: ast::UnaryOperator::Minus,
            expr,
        } => (expr.as_ref(), true),
        other => (other, false),
    };
    let ast::Expr::Value(value) = digits else {
        return None;
    };
    let Value::Number(digits, _) = &value.value else {
        return None;
    };
    let number: i64 = digits.parse().ok()?;
    let number = if negative { -number } else { number };
    Some(Expr::literal(
        Scalar::Int(number),
        DataType::Int64,
        span_of(literal),
    ))
}
