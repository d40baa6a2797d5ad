//! Calls: the clock, scalar functions (by the library), aggregates.

use sqlparser::ast;
use weir_types::{DataType, Diagnostic, Span};

use crate::codes;
use crate::convert::{CastKind, Level, cast_to};
use crate::library::Library;
use crate::logical::{AggregateCall, OrderItem};
use crate::plan::{Expr, ExprKind};
use crate::syntax::{Name, span_of};

use super::aggregate::OwnCall;
use super::expr::{Aggregates, ExprBinder, placeholder_ident, placeholders};
use super::levels::operands_mut;
use super::{Failed, nearest};

/// Functions of other systems that have no counterpart as a function, and what to write instead.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &[
            "unnest",
            "explode",
            "posexplode",
            "json_array_elements",
            "jsonb_array_elements",
            "regexp_split_to_table",
            "string_to_table",
        ],
        "what gives several rows stands in FROM: FROM t CROSS JOIN UNNEST(tags) AS u (tag)",
    ),
    (
        &[
            "current_user",
            "session_user",
            "user",
            "current_role",
            "current_catalog",
            "current_database",
            "current_schema",
            "version",
        ],
        "there are no users, no databases, and a result does not hang on the program's version: write the text itself",
    ),
    (
        &["nextval", "currval", "setval", "lastval"],
        "a stream has no sequence; row_number() OVER (ORDER BY …) numbers rows",
    ),
    (
        &[
            "list_transform",
            "list_filter",
            "list_reduce",
            "array_transform",
            "transform",
            "filter",
            "any_match",
            "all_match",
        ],
        "there are no functions of functions: UNNEST gives a row for each element, array_agg puts them together again",
    ),
    (&["columns"], "list the columns that you want"),
    (
        &["all", "any", "some"],
        "write a LIKE x AND a LIKE y, or a LIKE x OR a LIKE y",
    ),
    (
        &["rollup", "cube", "grouping_sets"],
        "sets within sets are written out: GROUPING SETS ((a, b), (a), ())",
    ),
];

impl ExprBinder<'_> {
    pub(super) fn bind_call(
        &mut self,
        expr: &ast::Expr,
        call: &ast::Function,
        span: Span,
    ) -> Result<Expr, Failed> {
        let name = match call.name.0.as_slice() {
            [ast::ObjectNamePart::Identifier(name)] => Name::from_ident(name),
            _ => return self.unknown_function(&call.name.to_string(), span),
        };
        if let Some(clock) = clock_call(&name.value, span) {
            return Ok(clock);
        }
        if let Some(over) = &call.over {
            return self.bind_over(&name, call, over, span);
        }
        if name.value == "current_watermark" {
            return self.fail(
                Diagnostic::error(codes::WATERMARK_VALUE, "the watermark is not a value")
                    .at(span, "it hangs on how rows were cut into batches, not on the data")
                    .help("late rows are left out by windows and counted; the summary shows how many, no filter is needed")
                    .help("to compare with the clock: ts > now() - INTERVAL '5' MINUTE"),
            );
        }
        if let Some(rewritten) = crate::functions::rewritten(&name.value, call) {
            return self.bind(&rewritten);
        }
        let library = Library::get();
        if library.scalar(&name.value).is_some() {
            return self.bind_level(expr, span);
        }
        if super::aggregate_names::canonical_name(&name.value).is_some()
            || library.aggregate(&name.value).is_some()
            || library.registered_aggregate(&name.value).is_some()
        {
            return self.bind_aggregate(&name, call, span);
        }
        if library.is_window_function(&name.value) {
            return self.fail(
                Diagnostic::error(codes::NOT_YET, format!("`{}` needs OVER", name.spelling))
                    .at(name.span, "a window function")
                    .help(format!("{}() OVER (PARTITION BY … ORDER BY …)", name.value)),
            );
        }
        self.unknown_function(&name.spelling, name.span)
    }

    fn unknown_function(&mut self, name: &str, span: Span) -> Result<Expr, Failed> {
        let known = Library::get()
            .function_names()
            .chain(super::aggregate_names::names());
        let folded = name.to_ascii_lowercase();
        let near = nearest(&folded, known).map(str::to_owned);
        let diagnostic =
            Diagnostic::error(codes::UNKNOWN_FUNCTION, format!("no function `{name}`"))
                .at(span, "not a function that Weir knows");
        let elsewhere = ELSEWHERE
            .iter()
            .find(|(names, _)| names.contains(&folded.as_str()));
        let diagnostic = match (elsewhere, &near) {
            (Some((_, way_out)), _) => diagnostic.help(*way_out),
            (None, Some(_)) => diagnostic.nearest(near),
            (None, None) => diagnostic
                .help("docs/sql/functions.md lists the functions; CREATE FUNCTION f (x INT) RETURNS INT RETURN x + 1 makes one"),
        };
        self.fail(diagnostic)
    }

    fn bind_aggregate(
        &mut self,
        name: &Name,
        call: &ast::Function,
        span: Span,
    ) -> Result<Expr, Failed> {
        if self.inside_aggregate {
            return self.fail(
                Diagnostic::error(
                    codes::MISPLACED_AGGREGATE,
                    "an aggregate inside an aggregate",
                )
                .at(
                    span,
                    "the outer aggregate cannot see the groups of this one",
                )
                .help("compute the inner one in a subquery in FROM"),
            );
        }
        if let Aggregates::NotIn(clause) = self.aggregates {
            let help = match clause {
                "WHERE" => "move the condition to HAVING",
                _ => "compute it in a subquery in FROM",
            };
            return self.fail(
                Diagnostic::error(
                    codes::MISPLACED_AGGREGATE,
                    format!("an aggregate cannot stand in {clause}"),
                )
                .at(span, "there are no groups here")
                .help(help),
            );
        }
        self.inside_aggregate = true;
        let bound = self.aggregate_call(name, call, span);
        self.inside_aggregate = false;
        let bound = bound?;
        let data_type = bound.data_type.clone();
        let Aggregates::Collect(calls) = &mut self.aggregates else {
            return Err(Failed);
        };
        let index = calls
            .iter()
            .position(|known| known.same(&bound))
            .unwrap_or_else(|| {
                calls.push(bound);
                calls.len() - 1
            });
        Ok(Expr::column(
            self.scope.columns.len() + index,
            data_type,
            span,
        ))
    }

    /// The call over the scope's columns, its arguments cast to what it accumulates.
    pub(super) fn aggregate_call(
        &mut self,
        name: &Name,
        call: &ast::Function,
        span: Span,
    ) -> Result<AggregateCall, Failed> {
        if let Some(signature) = Library::get().registered_aggregate(&name.value) {
            return self.registered_call(signature, name, call, span);
        }
        let Some(function) = super::aggregate_names::canonical_name(&name.value) else {
            return self.fail(
                Diagnostic::error(
                    codes::NOT_YET,
                    format!("the aggregate `{}` is not there yet", name.spelling),
                )
                .at(span, "cannot be planned yet")
                .help("docs/sql/aggregates.md lists the aggregates that are"),
            );
        };
        let mut level = call.clone();
        let mut filter = match level.filter.take() {
            Some(filter) => Some(self.bind_condition(&filter, "FILTER")?),
            None => None,
        };
        let modifiers = Modifiers::taken_from(&mut level);
        let order_by = self.order_items(&modifiers.order_by)?;
        if !super::aggregate_names::is_typed_by_library(function) {
            let arguments = self.own_arguments(&mut level)?;
            if modifiers.ignores_nulls {
                filter = self.not_null(function, arguments.first(), filter, span)?;
            }
            let call = OwnCall {
                function,
                spelling: &name.spelling,
                arguments,
                distinct: modifiers.distinct,
                filter,
                order_by,
                within_group: modifiers.within_group,
                span,
            };
            return call.typed().or_else(|diagnostic| self.fail(*diagnostic));
        }
        if modifiers.ignores_nulls {
            // These aggregates look at no NULL anyway.
            filter = self.not_null(function, None, filter, span)?;
        }
        // An alias has the types of the function that it means.
        level.name = ast::ObjectName::from(vec![ast::Ident::new(function)]);
        let mut level = ast::Expr::Function(level);
        let mut operands = Vec::new();
        if let Some(arguments) = operands_mut(&mut level) {
            for argument in arguments {
                // Unlike a scalar function, an aggregate takes its literal arguments as columns: `sum(1)`.
                let bound = self.bind(argument)?;
                *argument = placeholder_ident(operands.len());
                operands.push(bound);
            }
        }
        let types = placeholders(&operands);
        let bound = Library::get().bind_level(level, &types);
        let (bound, schema) = match bound {
            Ok(bound) => bound,
            Err(error) => {
                return self.level_error(&format!("`{}`", name.spelling), &operands, &error, span);
            }
        };
        let level = Level {
            operands: &operands,
            schema: &schema,
            span,
        };
        match super::aggregate::from_library(&bound, &level, filter, span) {
            Ok(call) => Ok(call),
            Err(diagnostic) => self.fail(*diagnostic),
        }
    }

    pub(super) fn own_arguments(&mut self, call: &mut ast::Function) -> Result<Vec<Expr>, Failed> {
        let span = span_of(&*call);
        let mut level = ast::Expr::Function(call.clone());
        let Some(arguments) = operands_mut(&mut level) else {
            return self.fail(
                Diagnostic::error(
                    codes::NOT_YET,
                    "arguments of this form cannot be planned yet",
                )
                .at(span, "not a list of expressions"),
            );
        };
        let (mut bound, mut failed) = (Vec::new(), false);
        for argument in arguments {
            match self.bind(argument) {
                Ok(argument) => bound.push(argument),
                Err(Failed) => failed = true,
            }
        }
        if failed { Err(Failed) } else { Ok(bound) }
    }

    fn order_items(&mut self, items: &[ast::OrderByExpr]) -> Result<Vec<OrderItem>, Failed> {
        let (mut bound, mut failed) = (Vec::with_capacity(items.len()), false);
        for item in items {
            let descending = item.options.asc == Some(false);
            match self.bind(&item.expr) {
                // As in PostgreSQL, NULL counts as greater than every value.
                Ok(expr) => bound.push(OrderItem {
                    expr,
                    descending,
                    nulls_first: item.options.nulls_first.unwrap_or(descending),
                }),
                Err(Failed) => failed = true,
            }
        }
        if failed { Err(Failed) } else { Ok(bound) }
    }

    /// IGNORE NULLS is a filter.
    fn not_null(
        &mut self,
        function: &str,
        argument: Option<&Expr>,
        filter: Option<Expr>,
        span: Span,
    ) -> Result<Option<Expr>, Failed> {
        let Some(argument) =
            argument.filter(|_| super::aggregate_names::may_ignore_nulls(function))
        else {
            return self.fail(
                Diagnostic::error(
                    codes::AGGREGATE_MODIFIER,
                    format!("`{function}` has no IGNORE NULLS: it never looks at NULLs"),
                )
                .at(span, "nothing to ignore")
                .help("leave the modifier out"),
            );
        };
        let boxed = Box::new(argument.clone());
        let condition = Expr {
            kind: ExprKind::IsNull {
                expr: boxed,
                negated: true,
            },
            data_type: DataType::Boolean,
            span: argument.span,
        };
        Ok(Expr::conjunction(filter.into_iter().chain([condition])))
    }
}

/// What stands within or behind the parentheses of an aggregate call beside its arguments.
pub(super) struct Modifiers {
    pub(super) distinct: bool,
    pub(super) ignores_nulls: bool,
    pub(super) within_group: bool,
    pub(super) order_by: Vec<ast::OrderByExpr>,
}

impl Modifiers {
    /// Takes them out of the call; DISTINCT stays where it is, too.
    pub(super) fn taken_from(call: &mut ast::Function) -> Self {
        use ast::{FunctionArgumentClause as Clause, NullTreatment};
        let mut order_by = std::mem::take(&mut call.within_group);
        let within_group = !order_by.is_empty();
        let mut treatment = call.null_treatment.take();
        let mut distinct = false;
        if let ast::FunctionArguments::List(list) = &mut call.args {
            distinct = list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct);
            for clause in std::mem::take(&mut list.clauses) {
                match clause {
                    Clause::OrderBy(items) => order_by.extend(items),
                    Clause::IgnoreOrRespectNulls(given) => treatment = Some(given),
                    // The walker refuses every other clause.
                    other => list.clauses.push(other),
                }
            }
        }
        Self {
            distinct,
            ignores_nulls: treatment == Some(NullTreatment::IgnoreNulls),
            within_group,
            order_by,
        }
    }
}

/// The clock of an epoch under its SQL names.
fn clock_call(name: &str, span: Span) -> Option<Expr> {
    use weir_types::TimeUnit::Milli;
    let now = Expr {
        kind: ExprKind::ProcessingTime,
        data_type: DataType::TimestampLtz(Milli),
        span,
    };
    let target = match name {
        "now" | "current_timestamp" | "proctime" => return Some(now),
        "localtimestamp" => DataType::Timestamp(Milli),
        "current_date" | "today" => DataType::Date,
        "current_time" | "localtime" => DataType::Time,
        _ => return None,
    };
    Some(cast_to(now, target, CastKind::Fails, span))
}
