//! What is done with literals at plan time: casts of them, and comparisons with them at the column's own type.
//!
//! ```text
//!   DATE '2024-02-29'            CAST('2024-02-29' AS DATE)  ─▶ the literal; a wrong one is found now
//!   qty > 10     (qty INT)       CAST(qty AS BIGINT) > 10    ─▶ qty > INT '10': no column is cast for each batch
//! ```
//!
//! # Invariants
//! 1. Nothing is folded whose result hangs on a setting or on the clock.
//! 2. A comparison moves to the narrower type only if the literal has the same value there.

use datafusion_common::ScalarValue;
use weir_types::{DataType, Scalar, Span};

use crate::convert::{CastKind, library_scalar, literal};
use crate::plan::{BinaryOp, Expr, ExprKind};

/// The cast of a literal, done; `None` if it is to be done at run time, `Err` if the literal is no such value.
pub(crate) fn folded_cast(
    operand: &Expr,
    to: &DataType,
    kind: CastKind,
    span: Span,
) -> Result<Option<Expr>, ()> {
    let ExprKind::Literal(value) = &operand.kind else {
        return Ok(None);
    };
    if kind == CastKind::GivesNull || *value == Scalar::Null || operand.data_type == *to {
        return Ok(None);
    }
    // A string to an instant hangs on 'time.zone', which is applied at run time.
    if matches!(to, DataType::TimestampLtz(_)) && operand.data_type == DataType::String {
        return Ok(None);
    }
    let Some(value) = library_scalar(value, &operand.data_type) else {
        return Ok(None);
    };
    let cast = value.cast_to(&to.to_arrow()).map_err(|_| ())?;
    if cast.is_null() {
        return Err(());
    }
    let span = operand.span.union(span);
    Ok(literal(&cast, span)
        .ok()
        .filter(|folded| folded.data_type == *to))
}

/// Whether the operator compares its operands.
pub(crate) fn is_comparison(op: BinaryOp) -> bool {
    use BinaryOp as B;
    matches!(
        op,
        B::Eq
            | B::NotEq
            | B::Lt
            | B::LtEq
            | B::Gt
            | B::GtEq
            | B::IsDistinctFrom
            | B::IsNotDistinctFrom
    )
}

/// The operands of a comparison, at the type of the one that was widened for the sake of a literal.
pub(crate) fn narrowed(op: BinaryOp, left: Box<Expr>, right: Box<Expr>) -> (Box<Expr>, Box<Expr>) {
    if !is_comparison(op) {
        return (left, right);
    }
    if let Some(inner) = widened(&left)
        && let Some(literal) = narrow_literal(&right, &inner.data_type)
    {
        return (Box::new(inner.clone()), Box::new(literal));
    }
    if let Some(inner) = widened(&right)
        && let Some(literal) = narrow_literal(&left, &inner.data_type)
    {
        return (Box::new(literal), Box::new(inner.clone()));
    }
    (left, right)
}

/// The same for IN: every item has to fit.
pub(crate) fn narrowed_list(expr: Box<Expr>, list: Vec<Expr>) -> (Box<Expr>, Vec<Expr>) {
    let Some(inner) = widened(&expr) else {
        return (expr, list);
    };
    let narrow: Option<Vec<Expr>> = list
        .iter()
        .map(|item| narrow_literal(item, &inner.data_type))
        .collect();
    match narrow {
        Some(narrow) => (Box::new(inner.clone()), narrow),
        None => (expr, list),
    }
}

/// The operand of a cast that keeps order and equality of all values: to a wider integer, or a finer timestamp.
fn widened(expr: &Expr) -> Option<&Expr> {
    let ExprKind::Cast {
        expr: inner,
        safe: false,
    } = &expr.kind
    else {
        return None;
    };
    let bits = |data_type: &DataType| match data_type {
        DataType::Int8 => Some(8),
        DataType::Int16 => Some(16),
        DataType::Int32 => Some(32),
        DataType::Int64 => Some(64),
        _ => None,
    };
    let widens = match (&inner.data_type, &expr.data_type) {
        (DataType::Timestamp(from), DataType::Timestamp(to))
        | (DataType::TimestampLtz(from), DataType::TimestampLtz(to)) => from < to,
        (from, to) => bits(from).zip(bits(to)).is_some_and(|(from, to)| from < to),
    };
    (widens && !matches!(inner.kind, ExprKind::Literal(_))).then_some(inner)
}

/// The literal at the narrower type, if it has the same value there.
fn narrow_literal(expr: &Expr, to: &DataType) -> Option<Expr> {
    let ExprKind::Literal(value) = &expr.kind else {
        return None;
    };
    if *value == Scalar::Null {
        return None;
    }
    let wide = library_scalar(value, &expr.data_type)?;
    let narrow = wide
        .cast_to(&to.to_arrow())
        .ok()
        .filter(|narrow| !narrow.is_null())?;
    let again: ScalarValue = narrow.cast_to(&wide.data_type()).ok()?;
    if again != wide {
        return None;
    }
    literal(&narrow, expr.span)
        .ok()
        .filter(|narrow| narrow.data_type == *to)
}
