//! UNNEST in FROM, in the spellings in which sqlparser reads it: `UNNEST(a)` and `LATERAL UNNEST(a)`.

use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, TableAlias, TableFactor};
use weir_types::Span;

use super::span_of;

/// A call of UNNEST.
#[derive(Debug)]
pub struct UnnestCall<'a> {
    /// What is unnested: one array or map, if it is right.
    pub arguments: Vec<&'a Expr>,
    /// WITH ORDINALITY.
    pub ordinality: bool,
    /// Its name and those of its columns.
    pub alias: Option<&'a TableAlias>,
    /// Its place.
    pub span: Span,
}

/// The UNNEST that a relation of FROM is.
pub fn unnest_call(factor: &TableFactor) -> Option<UnnestCall<'_>> {
    let (arguments, ordinality, alias): (Vec<&Expr>, _, _) = match factor {
        TableFactor::UNNEST {
            alias,
            array_exprs,
            with_ordinality,
            ..
        } => (array_exprs.iter().collect(), *with_ordinality, alias),
        TableFactor::Function {
            lateral: true,
            name,
            args,
            with_ordinality,
            alias,
        } if name.to_string().eq_ignore_ascii_case("unnest") => {
            let plain = |arg: &'_ FunctionArg| {
                matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(_)))
            };
            if !args.iter().all(plain) {
                return None;
            }
            let exprs = args.iter().filter_map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            });
            (exprs.collect(), *with_ordinality, alias)
        }
        _ => return None,
    };
    let of_arguments = arguments.iter().fold(Span::default(), |all, argument| {
        all.union(span_of(*argument))
    });
    let span = match alias {
        Some(alias) => of_arguments.union(super::to_span(alias.name.span)),
        None => of_arguments,
    };
    Some(UnnestCall {
        arguments,
        ordinality,
        alias: alias.as_ref(),
        span,
    })
}
