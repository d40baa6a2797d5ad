//! Calls of functions: arguments, and what may stand behind them.

use sqlparser::ast::{
    DuplicateTreatment, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, ObjectNamePart,
};
use weir_types::{Diagnostic, Span};

use super::{Walker, first_span};
use crate::codes;
use crate::library::Library;
use crate::syntax::window::WindowFunction;
use crate::syntax::{Name, span_of, to_span};

impl Walker<'_> {
    pub(super) fn function(&mut self, function: &Function) {
        let Function {
            name,
            uses_odbc_syntax,
            parameters,
            args,
            filter,
            null_treatment,
            over,
            within_group,
        } = function;
        let span = span_of(name);
        self.one_part(name);
        self.window_place(function, span);
        if *uses_odbc_syntax {
            self.no_expression("{fn …}", span, "write the call without it");
        }
        if !matches!(parameters, FunctionArguments::None) {
            self.arguments_error(
                format!("`{name}` takes one list of arguments"),
                span,
                "aggregates with two lists of arguments do not exist here",
            );
        }
        match args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) => {
                self.subquery("a subquery as an argument", span);
                self.query(query);
            }
            FunctionArguments::List(list) => self.arguments(list, span),
        }
        if let Some(filter) = filter {
            self.filter_place(name, span);
            self.expr(filter);
        }
        if null_treatment.is_some() {
            let span = self.keyword_after("NULLS", span);
            self.modifier(
                "IGNORE NULLS and RESPECT NULLS are not supported yet",
                span,
                "filter NULLs: FILTER (WHERE x IS NOT NULL)",
            );
        }
        if let Some(over) = over {
            self.over(over, span);
        }
        if let Some(order) = within_group.first() {
            let span = self.since_keyword("WITHIN", span_of(&order.expr));
            self.modifier(
                "WITHIN GROUP is not supported yet",
                span,
                "min, max, avg and sum need no order",
            );
        }
    }

    /// FILTER chooses the rows of an aggregate; behind another function the library would ignore it.
    fn filter_place(&mut self, name: &sqlparser::ast::ObjectName, span: Span) {
        let Ok(name) = Name::from_object(name) else {
            return;
        };
        let library = Library::get();
        if library.scalar(&name.value).is_some() && library.aggregate(&name.value).is_none() {
            let span = self.keyword_after("FILTER", span);
            self.arguments_error(
                format!(
                    "FILTER belongs to aggregates, and `{}` is none",
                    name.spelling
                ),
                span,
                "write CASE WHEN condition THEN … END",
            );
        }
    }

    fn arguments(&mut self, list: &FunctionArgumentList, function: Span) {
        let FunctionArgumentList {
            duplicate_treatment,
            args,
            clauses,
        } = list;
        if *duplicate_treatment == Some(DuplicateTreatment::Distinct) {
            let span = self.keyword_near("DISTINCT", function);
            self.modifier("DISTINCT in an aggregate is not supported yet", span, "group by the value first in a subquery, then count its rows: SELECT count(*) FROM (SELECT x FROM t GROUP BY x) AS u");
        }
        for arg in args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.expr(expr),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => {}
                FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
                    self.arguments_error(
                        format!("`{name}.*` cannot be an argument"),
                        span_of(name),
                        "count(*) counts rows",
                    );
                }
                FunctionArg::Unnamed(FunctionArgExpr::WildcardWithOptions(_)) => {
                    self.arguments_error(
                        "`*` takes no options here".to_owned(),
                        function,
                        "count(*) counts rows",
                    );
                }
                FunctionArg::Named {
                    name,
                    arg: _,
                    operator: _,
                } => {
                    self.arguments_error(
                        format!("the argument `{name}` has a name"),
                        to_span(name.span),
                        "arguments of functions are given by their place",
                    );
                }
                FunctionArg::ExprNamed {
                    name,
                    arg: _,
                    operator: _,
                } => {
                    self.arguments_error(
                        format!("the argument `{name}` has a name"),
                        span_of(name),
                        "arguments of functions are given by their place",
                    );
                }
            }
        }
        for clause in clauses {
            self.argument_clause(clause, function);
        }
    }

    fn argument_clause(&mut self, clause: &FunctionArgumentClause, function: Span) {
        match clause {
            FunctionArgumentClause::OrderBy(order) => {
                let span = first_span(order.iter().map(|order| &order.expr), function);
                let span = self.since_keyword("ORDER", span);
                self.modifier(
                    "ORDER BY in an aggregate is not supported yet",
                    span,
                    "min, max, avg and sum need no order",
                );
            }
            FunctionArgumentClause::IgnoreOrRespectNulls(_) => {
                let span = self.keyword_after("NULLS", function);
                self.modifier(
                    "IGNORE NULLS and RESPECT NULLS are not supported yet",
                    span,
                    "filter NULLs: FILTER (WHERE x IS NOT NULL)",
                );
            }
            FunctionArgumentClause::Limit(_)
            | FunctionArgumentClause::OnOverflow(_)
            | FunctionArgumentClause::Having(_)
            | FunctionArgumentClause::Separator(_)
            | FunctionArgumentClause::JsonNullClause(_)
            | FunctionArgumentClause::JsonReturningClause(_) => {
                self.arguments_error(
                    format!("`{clause}` cannot stand in an argument list"),
                    function,
                    "separate arguments by commas",
                );
            }
        }
    }

    fn modifier(&mut self, message: &str, span: Span, way_out: &str) {
        self.refuse(codes::AGGREGATE_MODIFIER, message, span, way_out);
    }

    fn arguments_error(&mut self, message: String, span: Span, way_out: &str) {
        self.refuse(codes::FUNCTION_ARGUMENTS, message, span, way_out);
    }

    /// Window functions in GROUP BY or SELECT: the older form of Flink's SQL, and Calcite's.
    fn window_place(&mut self, function: &Function, span: Span) {
        let [ObjectNamePart::Identifier(ident)] = function.name.0.as_slice() else {
            return;
        };
        if ident.quote_style.is_some() {
            return;
        }
        let name = ident.value.to_ascii_lowercase();
        let (stem, part) = name.split_once('_').unwrap_or((&name, ""));
        let Some(window) = WindowFunction::from_name(stem) else {
            return;
        };
        let (message, help) = match part {
            "" => (
                format!("{} stands in FROM", window.name()),
                format!(
                    "SELECT window_start, count(*) FROM {} GROUP BY window_start, window_end",
                    window.example()
                ),
            ),
            "start" | "end" | "rowtime" | "proctime" => (
                format!("there is no function `{}`", ident.value),
                format!(
                    "a window in FROM has the columns window_start, window_end and window_time: FROM {}",
                    window.example()
                ),
            ),
            _ => return,
        };
        self.problems.push(
            Diagnostic::error(codes::WINDOW_PLACE, message)
                .at(span, "not in an expression")
                .help(help),
        );
    }
}
