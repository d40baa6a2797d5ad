//! Calls of functions: arguments, and what may stand behind them.

use sqlparser::ast::{
    Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList,
    FunctionArguments, ObjectNamePart, OrderByExpr, OrderByOptions,
};
use weir_types::{Diagnostic, Span};

use super::Walker;
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
            null_treatment: _,
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
        if let Some(over) = over {
            self.over(over);
        }
        for item in within_group {
            self.order_item(item, span);
        }
        self.modifiers(function, span);
    }

    /// What only an aggregate can have: behind another function the library would ignore it.
    fn modifiers(&mut self, function: &Function, span: Span) {
        let Ok(name) = Name::from_object(&function.name) else {
            return;
        };
        if crate::binder::is_aggregate(&name.value) || function.over.is_some() {
            return;
        }
        let inside = |clause: fn(&FunctionArgumentClause) -> bool| match &function.args {
            FunctionArguments::List(list) => list.clauses.iter().any(clause),
            _ => false,
        };
        let is_distinct = matches!(&function.args, FunctionArguments::List(list)
            if list.duplicate_treatment.is_some());
        let has_order = !function.within_group.is_empty()
            || inside(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)));
        let treats_nulls = function.null_treatment.is_some()
            || inside(|clause| matches!(clause, FunctionArgumentClause::IgnoreOrRespectNulls(_)));
        let found = [
            (is_distinct, "DISTINCT or ALL"),
            (has_order, "ORDER BY"),
            (treats_nulls, "IGNORE NULLS"),
        ];
        for (_, what) in found.into_iter().filter(|(found, _)| *found) {
            let message = format!(
                "{what} belongs to aggregates, and `{}` is none",
                name.spelling
            );
            self.refuse(codes::AGGREGATE_MODIFIER, message, span, "leave it out");
        }
    }

    fn order_item(&mut self, item: &OrderByExpr, function: Span) {
        let OrderByExpr {
            expr,
            options:
                OrderByOptions {
                    asc: _,
                    nulls_first: _,
                },
            with_fill,
        } = item;
        self.expr(expr);
        if with_fill.is_some() {
            self.arguments_error(
                "WITH FILL does not exist here".to_owned(),
                function,
                "order by an expression",
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
        // DISTINCT is the binder's for aggregates; `modifiers` refuses it elsewhere. ALL is what goes without saying.
        let _ = duplicate_treatment;
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
                        // A string in its place has no span.
                        Some(to_span(name.span))
                            .filter(|span| !span.is_empty())
                            .unwrap_or(function),
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
                        function,
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
                for item in order {
                    self.order_item(item, function);
                }
            }
            FunctionArgumentClause::IgnoreOrRespectNulls(_) => {}
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
