//! UNNEST in FROM, and calls of functions that give an array: `UNNEST(a)`, `LATERAL UNNEST(a)`, `generate_series(1, 3)`,
//! `LATERAL TABLE(f(x))`. A call is an UNNEST of what it gives.

use std::borrow::Cow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, TableAlias, TableFactor,
};
use weir_types::Span;

use super::window::WindowFunction;
use super::{Name, span_of, to_span};
use crate::library::Library;

/// A call of UNNEST.
#[derive(Debug)]
pub struct UnnestCall<'a> {
    /// What is unnested: arrays, or one map, if it is right.
    pub arguments: Vec<Cow<'a, Expr>>,
    /// WITH ORDINALITY.
    pub ordinality: bool,
    /// Its name and those of its columns.
    pub alias: Option<&'a TableAlias>,
    /// What it is called without an alias: `unnest`, or the function.
    pub name: String,
    /// Its place.
    pub span: Span,
}

/// The functions of other systems that give rows, and those of ours that give them as an array.
const GIVE_ROWS: &[(&str, &str)] = &[
    ("generate_series", "generate_series"),
    ("range", "range"),
    ("regexp_split_to_table", "regexp_split"),
    ("string_to_table", "string_to_array"),
    ("json_array_elements", "json_elements"),
    ("jsonb_array_elements", "json_elements"),
    ("json_array_elements_text", "json_elements_text"),
    ("jsonb_array_elements_text", "json_elements_text"),
    ("json_object_keys", "json_object_keys"),
    ("jsonb_object_keys", "json_object_keys"),
    ("split", "string_to_array"),
];

/// The UNNEST that a relation of FROM is.
pub fn unnest_call(factor: &TableFactor) -> Option<UnnestCall<'_>> {
    let (arguments, ordinality, alias, name) = match factor {
        TableFactor::UNNEST {
            alias,
            array_exprs,
            with_ordinality,
            ..
        } => (
            array_exprs.iter().map(Cow::Borrowed).collect(),
            *with_ordinality,
            alias,
            "unnest".to_owned(),
        ),
        TableFactor::Function {
            lateral: true,
            name,
            args,
            with_ordinality,
            alias,
        } => {
            let (arguments, called) = function_call(name, args)?;
            (arguments, *with_ordinality, alias, called)
        }
        TableFactor::Table {
            name,
            args: Some(args),
            with_ordinality,
            alias,
            ..
        } => {
            let (arguments, called) = function_call(name, &args.args)?;
            (arguments, *with_ordinality, alias, called)
        }
        TableFactor::TableFunction {
            expr: Expr::Function(call),
            alias,
        } => {
            let (arguments, called) = function_call(&call.name, plain_list(call)?)?;
            (arguments, false, alias, called)
        }
        _ => return None,
    };
    let of_arguments = arguments.iter().fold(Span::default(), |all, argument| {
        all.union(span_of(argument.as_ref()))
    });
    let span = match alias {
        Some(alias) => of_arguments.union(to_span(alias.name.span)),
        None => of_arguments,
    };
    Some(UnnestCall {
        arguments,
        ordinality,
        alias: alias.as_ref(),
        name,
        span,
    })
}

/// What a call in FROM unnests, and its name; `None` if no function of that name is known.
fn function_call<'a>(
    name: &'a ObjectName,
    args: &'a [FunctionArg],
) -> Option<(Vec<Cow<'a, Expr>>, String)> {
    let plain = |arg: &'a FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    };
    let exprs: Vec<&Expr> = args.iter().map(plain).collect::<Option<_>>()?;
    let called = Name::from_object(name).ok()?;
    if WindowFunction::from_name(&called.value).is_some() {
        return None;
    }
    match (called.value.as_str(), exprs.as_slice()) {
        ("unnest" | "explode", exprs) => {
            let exprs = exprs.iter().map(|expr| Cow::Borrowed(*expr));
            Some((exprs.collect(), called.value))
        }
        // `LATERAL TABLE(f(x))`
        ("table", [Expr::Function(call)]) => function_call(&call.name, plain_list(call)?),
        (name, _) => {
            let known = GIVE_ROWS.iter().find(|(theirs, _)| *theirs == name);
            let ours = match known {
                Some((_, ours)) => ours,
                None if Library::get().scalar(name).is_some() => name,
                None => return None,
            };
            let call = call(ours, called.span, args);
            Some((vec![Cow::Owned(call)], called.value))
        }
    }
}

fn plain_list(call: &Function) -> Option<&[FunctionArg]> {
    match &call.args {
        FunctionArguments::None => Some(&[]),
        FunctionArguments::List(list)
            if list.duplicate_treatment.is_none()
                && list.clauses.is_empty()
                && call.over.is_none()
                && call.filter.is_none() =>
        {
            Some(&list.args)
        }
        _ => None,
    }
}

fn call(name: &str, span: Span, args: &[FunctionArg]) -> Expr {
    let location = |place: weir_types::Location| sqlparser::tokenizer::Location {
        line: place.line.into(),
        column: place.column.into(),
    };
    let mut ident = Ident::new(name);
    ident.span = sqlparser::tokenizer::Span::new(location(span.start), location(span.end));
    Expr::Function(Function {
        name: ObjectName::from(vec![ident]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.to_vec(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `arrays_zip(a, b)`: the arrays of an UNNEST side by side.
pub(crate) fn side_by_side(arguments: &[Cow<'_, Expr>], span: Span) -> Expr {
    let args: Vec<FunctionArg> = arguments
        .iter()
        .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument.as_ref().clone())))
        .collect();
    call("arrays_zip", span, &args)
}
