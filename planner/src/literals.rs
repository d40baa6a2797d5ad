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
    // From and to an instant hangs on 'time.zone', which is applied to the finished plan.
    let is_instant = |data_type: &DataType| matches!(data_type, DataType::TimestampLtz(_));
    if is_instant(to) != is_instant(&operand.data_type) {
        return Ok(None);
    }
    // The text of a timestamp is ours, not the library's: the engine writes it.
    let is_timestamp = matches!(
        operand.data_type,
        DataType::Timestamp(_) | DataType::TimestampLtz(_)
    );
    if is_timestamp && *to == DataType::String {
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

#[cfg(test)]
mod tests {
    use weir_types::TimeUnit;

    use super::*;

    fn widened_column(from: DataType, to: DataType) -> Box<Expr> {
        let column = Expr::column(0, from, Span::default());
        Box::new(crate::convert::cast_to(
            column,
            to,
            CastKind::Fails,
            Span::default(),
        ))
    }

    fn number(value: i64) -> Box<Expr> {
        Box::new(Expr::literal(
            Scalar::Int(value),
            DataType::Int64,
            Span::default(),
        ))
    }

    #[test]
    fn a_comparison_moves_to_the_narrower_type_only_if_the_literal_fits() {
        let column = || widened_column(DataType::Int16, DataType::Int64);
        let (left, right) = narrowed(BinaryOp::Lt, column(), number(32_767));
        assert_eq!(
            (left.as_column(), &right.data_type),
            (Some(0), &DataType::Int16)
        );
        let (left, right) = narrowed(BinaryOp::Lt, number(-5), column());
        assert_eq!(
            (&left.data_type, right.as_column()),
            (&DataType::Int16, Some(0))
        );
        let (left, right) = narrowed(BinaryOp::Lt, column(), number(32_768));
        assert_eq!(
            (left.as_column(), &right.data_type),
            (None, &DataType::Int64)
        );
        let (left, _) = narrowed(BinaryOp::Plus, column(), number(1));
        assert_eq!(left.as_column(), None, "a sum is made at the wider type");
    }

    #[test]
    fn a_timestamp_with_a_finer_literal_is_compared_at_the_finer_type() {
        let (coarse, fine) = (
            DataType::Timestamp(TimeUnit::Milli),
            DataType::Timestamp(TimeUnit::Micro),
        );
        let literal = |micros| {
            Box::new(Expr::literal(
                Scalar::Int(micros),
                fine.clone(),
                Span::default(),
            ))
        };
        let column = || widened_column(coarse.clone(), fine.clone());
        assert_eq!(
            narrowed(BinaryOp::GtEq, column(), literal(2_000))
                .0
                .as_column(),
            Some(0)
        );
        assert_eq!(
            narrowed(BinaryOp::GtEq, column(), literal(2_001))
                .0
                .as_column(),
            None
        );
    }

    #[test]
    fn a_list_is_narrowed_if_all_of_it_fits() {
        let items = |values: &[i64]| {
            values
                .iter()
                .map(|&value| *number(value))
                .collect::<Vec<_>>()
        };
        let column = || widened_column(DataType::Int8, DataType::Int64);
        assert_eq!(
            narrowed_list(column(), items(&[1, 2])).0.as_column(),
            Some(0)
        );
        assert_eq!(
            narrowed_list(column(), items(&[1, 200])).0.as_column(),
            None
        );
    }
}
