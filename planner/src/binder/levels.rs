//! One level of an AST expression: its operands, whether it is a literal, and what a message calls it.

use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator,
};

/// Whether the expression is a literal, a sign before it included. Typed strings (`DATE '…'`) are not: they are casts.
pub(crate) fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) => true,
        Expr::Interval(interval) => is_literal(&interval.value),
        Expr::Nested(inner) => is_literal(inner),
        Expr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        } => is_literal(expr),
        _ => false,
    }
}

/// The operands of a level, in the order of the text; `None` for an expression that Weir does not have.
pub(crate) fn operands_mut(expr: &mut Expr) -> Option<Vec<&mut Expr>> {
    Some(match expr {
        Expr::IsFalse(e)
        | Expr::IsNotFalse(e)
        | Expr::IsTrue(e)
        | Expr::IsNotTrue(e)
        | Expr::IsNull(e)
        | Expr::IsNotNull(e)
        | Expr::IsUnknown(e)
        | Expr::IsNotUnknown(e) => vec![e],
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
            vec![left, right]
        }
        Expr::InList { expr, list, .. } => std::iter::once(expr.as_mut()).chain(list).collect(),
        Expr::Between {
            expr, low, high, ..
        } => vec![expr, low, high],
        Expr::BinaryOp { left, right, .. } => vec![left, right],
        Expr::Like { expr, pattern, .. }
        | Expr::ILike { expr, pattern, .. }
        | Expr::SimilarTo { expr, pattern, .. } => vec![expr, pattern],
        Expr::UnaryOp { expr, .. }
        | Expr::Extract { expr, .. }
        | Expr::Ceil { expr, .. }
        | Expr::Floor { expr, .. } => vec![expr],
        Expr::Position { expr, r#in } => vec![expr, r#in],
        Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => vec![left, right],
        Expr::Substring {
            expr,
            substring_from,
            substring_for,
            ..
        } => {
            let bounds = [substring_from, substring_for]
                .into_iter()
                .flatten()
                .map(AsMut::as_mut);
            std::iter::once(expr.as_mut()).chain(bounds).collect()
        }
        Expr::Trim {
            expr,
            trim_what,
            trim_characters,
            ..
        } => {
            let what = trim_what.iter_mut().map(AsMut::as_mut);
            let characters = trim_characters.iter_mut().flatten();
            std::iter::once(expr.as_mut())
                .chain(what)
                .chain(characters)
                .collect()
        }
        Expr::Overlay {
            expr,
            overlay_what,
            overlay_from,
            overlay_for,
        } => {
            let mut operands = vec![expr.as_mut(), overlay_what, overlay_from];
            operands.extend(overlay_for.iter_mut().map(AsMut::as_mut));
            operands
        }
        Expr::Case {
            operand,
            conditions,
            else_result,
            ..
        } => {
            let branches = conditions
                .iter_mut()
                .flat_map(|branch| [&mut branch.condition, &mut branch.result]);
            let operand = operand.iter_mut().map(AsMut::as_mut);
            let otherwise = else_result.iter_mut().map(AsMut::as_mut);
            operand.chain(branches).chain(otherwise).collect()
        }
        Expr::Array(array) => array.elem.iter_mut().collect(),
        Expr::Map(map) => {
            let entries = map.entries.iter_mut();
            entries
                .flat_map(|entry| [entry.key.as_mut(), entry.value.as_mut()])
                .collect()
        }
        Expr::Function(call) => return call_arguments_mut(&mut call.args),
        _ => return None,
    })
}

fn call_arguments_mut(arguments: &mut FunctionArguments) -> Option<Vec<&mut Expr>> {
    match arguments {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::Subquery(_) => None,
        FunctionArguments::List(list) => {
            let mut operands = Vec::with_capacity(list.args.len());
            for argument in &mut list.args {
                let argument = match argument {
                    FunctionArg::Unnamed(argument) | FunctionArg::Named { arg: argument, .. } => {
                        argument
                    }
                    FunctionArg::ExprNamed { .. } => return None,
                };
                match argument {
                    FunctionArgExpr::Expr(expr) => operands.push(expr),
                    // `count(*)`: the library reads it as `count(1)`.
                    FunctionArgExpr::Wildcard => {}
                    _ => return None,
                }
            }
            Some(operands)
        }
    }
}

/// What a message calls the level.
pub(crate) fn what_is_it(expr: &Expr) -> String {
    match expr {
        Expr::BinaryOp { op, .. } => match op {
            BinaryOperator::StringConcat => "`||`".to_owned(),
            other => format!("`{other}`"),
        },
        Expr::UnaryOp { op, .. } => format!("`{op}`"),
        Expr::Function(call) => format!("`{}`", call.name),
        Expr::Between { .. } => "BETWEEN".to_owned(),
        Expr::InList { .. } => "IN".to_owned(),
        Expr::Like { .. } => "LIKE".to_owned(),
        Expr::ILike { .. } => "ILIKE".to_owned(),
        Expr::SimilarTo { .. } => "SIMILAR TO".to_owned(),
        Expr::Case { .. } => "CASE".to_owned(),
        Expr::Extract { .. } => "EXTRACT".to_owned(),
        Expr::Ceil { .. } => "CEIL".to_owned(),
        Expr::Floor { .. } => "FLOOR".to_owned(),
        Expr::Substring { .. } => "SUBSTRING".to_owned(),
        Expr::Trim { .. } => "TRIM".to_owned(),
        Expr::Position { .. } => "POSITION".to_owned(),
        Expr::Overlay { .. } => "OVERLAY".to_owned(),
        Expr::Array(_) => "ARRAY".to_owned(),
        Expr::Map(_) => "MAP".to_owned(),
        Expr::IsDistinctFrom(..) => "IS DISTINCT FROM".to_owned(),
        Expr::IsNotDistinctFrom(..) => "IS NOT DISTINCT FROM".to_owned(),
        _ => "this expression".to_owned(),
    }
}
