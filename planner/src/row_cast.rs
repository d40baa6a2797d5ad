//! Casts of rows: field by field, by position, as SQL says. The library matches fields by their names, and so would swap those of
//! `ROW<a, b>` on their way into a `ROW<b, a>`, or find none.
//!
//! ```text
//!   CAST(r AS ROW<x INT, y STRING>)  ─▶  CASE WHEN r IS NOT NULL THEN named_struct('x', CAST(r.c0 AS INT), 'y', …) END
//! ```

use weir_types::{DataType, Scalar, Span};

use crate::convert::{CastKind, cast_to};
use crate::plan::{Expr, ExprKind};

/// The cast of a row to one whose fields are called otherwise; `None` for any other cast.
pub(crate) fn by_position(
    expr: &Expr,
    target: &DataType,
    kind: CastKind,
    span: Span,
) -> Option<Expr> {
    let (DataType::Row(from), DataType::Row(to)) = (&expr.data_type, target) else {
        return None;
    };
    if from.len() != to.len() || same_names(&expr.data_type, target) {
        return None;
    }
    let text = |text: &str| Expr::literal(Scalar::String(text.to_owned()), DataType::String, span);
    let mut arguments = Vec::with_capacity(2 * to.len());
    for (from, to) in from.iter().zip(to) {
        let field = Expr {
            kind: ExprKind::Function {
                name: "get_field".to_owned(),
                arguments: vec![expr.clone(), text(&from.name)],
            },
            data_type: from.data_type.clone(),
            span,
        };
        arguments.push(text(&to.name));
        arguments.push(cast_to(field, to.data_type.clone(), kind, span));
    }
    let row = Expr {
        kind: ExprKind::Function {
            name: "named_struct".to_owned(),
            arguments,
        },
        data_type: target.clone(),
        span,
    };
    let is_there = Expr {
        kind: ExprKind::IsNull {
            expr: Box::new(expr.clone()),
            negated: true,
        },
        data_type: DataType::Boolean,
        span,
    };
    Some(Expr {
        kind: ExprKind::Case {
            branches: vec![(is_there, row)],
            otherwise: None,
        },
        data_type: target.clone(),
        span,
    })
}

/// Whether rows within an array or a map would be cast by the names of their fields, and these are not the same.
pub(crate) fn renames_within(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Array(from), DataType::Array(to)) => !same_names(from, to),
        (DataType::Map(from_key, from_value), DataType::Map(to_key, to_value)) => {
            !same_names(from_key, to_key) || !same_names(from_value, to_value)
        }
        (DataType::Row(from), DataType::Row(to)) => from
            .iter()
            .zip(to)
            .any(|(from, to)| renames_within(&from.data_type, &to.data_type)),
        _ => false,
    }
}

fn same_names(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Row(from), DataType::Row(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| {
                    from.name == to.name && same_names(&from.data_type, &to.data_type)
                })
        }
        (DataType::Array(from), DataType::Array(to)) => same_names(from, to),
        (DataType::Map(from_key, from_value), DataType::Map(to_key, to_value)) => {
            same_names(from_key, to_key) && same_names(from_value, to_value)
        }
        _ => true,
    }
}
