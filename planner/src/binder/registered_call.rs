//! Calls of aggregate functions of a program: their arguments are cast as those of a scalar function of the same types.

use sqlparser::ast;
use weir_types::{Diagnostic, Span};

use crate::codes;
use crate::convert::Level;
use crate::library::Library;
use crate::logical::AggregateCall;
use crate::plan::ExprKind;
use crate::registered_aggregate::AggregateSignature;
use crate::syntax::Name;

use super::Failed;
use super::call::Modifiers;
use super::expr::{ExprBinder, placeholder_ident, placeholders};
use super::levels::operands_mut;

impl ExprBinder<'_> {
    /// The call over the scope's columns.
    pub(super) fn registered_call(
        &mut self,
        signature: &AggregateSignature,
        name: &Name,
        call: &ast::Function,
        span: Span,
    ) -> Result<AggregateCall, Failed> {
        let mut call = call.clone();
        let filter = match call.filter.take() {
            Some(filter) => Some(self.bind_condition(&filter, "FILTER")?),
            None => None,
        };
        let modifiers = Modifiers::taken_from(&mut call);
        if !modifiers.order_by.is_empty() {
            return self.fail(
                Diagnostic::error(
                    codes::AGGREGATE_ORDER,
                    format!("`{}` gets its rows in no order", name.spelling),
                )
                .at(span, "an aggregate function of the program")
                .help("leave ORDER BY out; array_agg(x ORDER BY t) gives values in an order to a scalar function"),
            );
        }
        if modifiers.ignores_nulls {
            return self.fail(
                Diagnostic::error(
                    codes::AGGREGATE_MODIFIER,
                    format!(
                        "`{}` has no IGNORE NULLS: it never looks at NULLs",
                        name.spelling
                    ),
                )
                .at(span, "nothing to ignore")
                .help("leave the modifier out"),
            );
        }
        if let ast::FunctionArguments::List(list) = &mut call.args {
            list.duplicate_treatment = None;
        }
        let takes = || {
            let types: Vec<String> = signature
                .parameters()
                .iter()
                .map(ToString::to_string)
                .collect();
            format!("it takes ({})", types.join(", "))
        };
        let mut level = ast::Expr::Function(call);
        let mut operands = Vec::new();
        for argument in operands_mut(&mut level).into_iter().flatten() {
            let bound = self.bind(argument)?;
            *argument = placeholder_ident(operands.len());
            operands.push(bound);
        }
        if operands.len() != signature.parameters().len() {
            let message = format!(
                "`{}` takes {}",
                name.spelling,
                super::counted(signature.parameters().len(), "argument")
            );
            return self.fail(
                Diagnostic::error(codes::TYPE_MISMATCH, message)
                    .at(span, format!("here it has {}", operands.len()))
                    .help(takes()),
            );
        }
        let bound = Library::get().bind_level(level, &placeholders(&operands));
        let (bound, schema) = match bound {
            Ok(bound) => bound,
            Err(error) => {
                return self.level_error(&format!("`{}`", name.spelling), &operands, &error, span);
            }
        };
        let converted = Level {
            operands: &operands,
            schema: &schema,
            span,
        }
        .convert(bound);
        let arguments = match converted.map(|expr| expr.kind) {
            Ok(ExprKind::Function { arguments, .. }) => arguments,
            _ => {
                return self.fail(
                    Diagnostic::error(
                        codes::TYPE_MISMATCH,
                        format!("`{}` cannot be called like this", name.spelling),
                    )
                    .at(span, "its arguments do not fit")
                    .help(takes()),
                );
            }
        };
        Ok(AggregateCall {
            function: signature.name_in_plans(),
            arguments,
            distinct: modifiers.distinct,
            filter,
            order_by: Vec::new(),
            parameters: Vec::new(),
            registered: Some(signature.in_plans()),
            data_type: signature.returns().clone(),
            span,
        })
    }
}
