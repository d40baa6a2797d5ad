//! Aggregate calls: which there are, and what they accumulate.

use datafusion_expr::{Expr as LibraryExpr, ExprSchemable};
use sqlparser::ast::{self, DuplicateTreatment, FunctionArguments};
use weir_types::{DataType, Diagnostic, Span};

use crate::codes;
use crate::convert::{CastKind, Level, Refusal, cast_to, sql_type};
use crate::logical::AggregateCall;
use crate::plan::{Expr, ExprKind};
use crate::syntax::Name;

/// The functions that the engine has kernels for, under the library's names.
const SUPPORTED: [&str; 7] = ["count", "sum", "avg", "min", "max", "bool_and", "bool_or"];

/// Refuses what cannot be planned yet, before the library looks at it.
pub(crate) fn check_call(
    name: &Name,
    call: &ast::Function,
    span: Span,
) -> Result<(), Box<Diagnostic>> {
    let not_yet = |message: String, help: &str| {
        Err(Box::new(
            Diagnostic::error(codes::NOT_YET, message)
                .at(span, "cannot be planned yet")
                .help(help),
        ))
    };
    let canonical = crate::library::Library::get()
        .aggregate(&name.value)
        .map(|function| function.name().to_owned());
    if !canonical
        .as_deref()
        .is_some_and(|canonical| SUPPORTED.contains(&canonical))
    {
        return not_yet(
            format!("the aggregate `{}` is not there yet", name.spelling),
            "there are count, sum, avg, min, max, bool_and (every) and bool_or",
        );
    }
    let modifiers = match &call.args {
        FunctionArguments::List(list) => {
            let canonical = canonical.as_deref().unwrap_or_default();
            if list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
                && !ignores_duplicates(canonical)
            {
                return not_yet(
                    format!("DISTINCT inside `{}` is not there yet", name.spelling),
                    "remove duplicates in a subquery first: SELECT key, value FROM … GROUP BY key, value",
                );
            }
            !list.clauses.is_empty()
        }
        _ => false,
    };
    if modifiers || !call.within_group.is_empty() || call.null_treatment.is_some() {
        return not_yet(
            format!(
                "ORDER BY, WITHIN GROUP and IGNORE NULLS inside `{}` are not there yet",
                name.spelling
            ),
            "leave the modifier out",
        );
    }
    Ok(())
}

/// Whether DISTINCT changes nothing.
fn ignores_duplicates(function: &str) -> bool {
    matches!(function, "min" | "max" | "bool_and" | "bool_or")
}

/// Whether the engine can accumulate that type.
fn is_supported(call: &AggregateCall) -> bool {
    use DataType as T;
    let argument = call
        .arguments
        .first()
        .map_or(&T::Int64, |argument| &argument.data_type);
    let decimal = |data_type: &T| matches!(data_type, T::Decimal(precision, _) if *precision <= 38);
    match call.function.as_str() {
        "min" | "max" => {
            !matches!(
                argument,
                T::Null | T::Interval | T::Array(_) | T::Row(_) | T::Map(..) | T::Decimal(..)
            ) || decimal(argument)
        }
        "sum" => {
            matches!(call.data_type, T::Int64 | T::UInt64 | T::Float64) || decimal(&call.data_type)
        }
        "avg" => *argument == T::Float64 || decimal(argument),
        _ => true,
    }
}

/// The call as the library bound and coerced it, over the level's operands.
pub(crate) fn from_library(
    bound: &LibraryExpr,
    level: &Level<'_>,
    filter: Option<Expr>,
    span: Span,
) -> Result<AggregateCall, Box<Diagnostic>> {
    let unplanned = |reason: String| {
        Box::new(
            Diagnostic::error(codes::NOT_YET, "this aggregate cannot be planned yet")
                .at(span, reason),
        )
    };
    let mut bound = bound;
    while let LibraryExpr::Alias(alias) = bound {
        bound = &alias.expr;
    }
    let LibraryExpr::AggregateFunction(call) = bound else {
        return Err(unplanned(format!("it is `{bound}`")));
    };
    let data_type = bound
        .get_type(level.schema)
        .map_err(|error| super::library_message(&error))
        .and_then(|arrow| sql_type(&arrow))
        .map_err(&unplanned)?;
    let mut arguments = Vec::with_capacity(call.params.args.len());
    for argument in &call.params.args {
        arguments.push(
            level
                .convert(argument.clone())
                .map_err(|refusal| match refusal {
                    Refusal::NotYet(reason) => unplanned(reason),
                    Refusal::BadLiteral(literal, to) => {
                        let shown = crate::canonical::text(&literal, &|_| String::new());
                        unplanned(format!("{shown} is not a value of {to}"))
                    }
                })?,
        );
    }
    let function = call.func.name().to_owned();
    // `count(1)` and `count(*)` count rows: no argument has to be computed.
    let counts_rows = |argument: &Expr| matches!(&argument.kind, ExprKind::Literal(value) if *value != weir_types::Scalar::Null);
    if function == "count" && arguments.iter().all(counts_rows) {
        arguments.clear();
    }
    let mut call = AggregateCall {
        function,
        arguments,
        filter,
        data_type,
        span,
    };
    accumulation_types(&mut call);
    if !is_supported(&call) {
        let argument = call
            .arguments
            .first()
            .map_or(DataType::Null, |argument| argument.data_type.clone());
        let message = format!("`{}` of {argument} is not there yet", call.function);
        return Err(Box::new(
            Diagnostic::error(codes::NOT_YET, message)
                .at(span, "cannot be accumulated")
                .help("cast the argument to a type of fixed width, e.g. CAST(… AS DOUBLE)"),
        ));
    }
    Ok(call)
}

/// Casts the argument to the type in which it is accumulated, where the library leaves that to its accumulators.
fn accumulation_types(call: &mut AggregateCall) {
    let Some(argument) = call.arguments.first_mut() else {
        return;
    };
    let target = match (call.function.as_str(), &argument.data_type) {
        // Sums of decimals and averages of anything else keep the argument's type; sums have the result's.
        ("sum", DataType::Decimal(..)) | ("avg", DataType::Decimal(..)) => return,
        ("sum", _) => call.data_type.clone(),
        ("avg", _) => DataType::Float64,
        _ => return,
    };
    let (span, owned) = (argument.span, argument.clone());
    *argument = cast_to(owned, target, CastKind::Fails, span);
}
