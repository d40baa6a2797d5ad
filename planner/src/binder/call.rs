//! Calls: the clock, scalar functions (by the library), aggregates.

use sqlparser::ast;
use weir_types::{DataType, Diagnostic, Span};

use crate::codes;
use crate::convert::{CastKind, Level, cast_to};
use crate::library::Library;
use crate::logical::AggregateCall;
use crate::plan::{Expr, ExprKind};
use crate::syntax::Name;

use super::expr::{Aggregates, ExprBinder, placeholder_ident, placeholders};
use super::levels::operands_mut;
use super::{Failed, nearest};

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
        if call.over.is_some() {
            return self.fail(
                Diagnostic::error(codes::NOT_YET, "OVER is not there yet")
                    .at(span, "this window function cannot be planned")
                    .help("aggregate with GROUP BY over a TUMBLE or HOP window"),
            );
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
        if library.aggregate(&name.value).is_some() {
            return self.bind_aggregate(&name, call, span);
        }
        if library.is_window_function(&name.value) {
            return self.fail(
                Diagnostic::error(
                    codes::NOT_YET,
                    format!("`{}` needs OVER, which is not there yet", name.spelling),
                )
                .at(name.span, "a window function"),
            );
        }
        self.unknown_function(&name.spelling, name.span)
    }

    fn unknown_function(&mut self, name: &str, span: Span) -> Result<Expr, Failed> {
        let near =
            nearest(&name.to_ascii_lowercase(), Library::get().function_names()).map(str::to_owned);
        let diagnostic =
            Diagnostic::error(codes::UNKNOWN_FUNCTION, format!("no function `{name}`"))
                .at(span, "not a function that Weir knows")
                .nearest(near);
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
    fn aggregate_call(
        &mut self,
        name: &Name,
        call: &ast::Function,
        span: Span,
    ) -> Result<AggregateCall, Failed> {
        super::aggregate::check_call(name, call, span)
            .or_else(|diagnostic| self.fail(*diagnostic))?;
        let mut level = call.clone();
        let filter = match level.filter.take() {
            Some(filter) => Some(self.bind_condition(&filter, "FILTER")?),
            None => None,
        };
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
