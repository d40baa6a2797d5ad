//! The SELECT list of a LATERAL subquery, over the outer columns and the inner ones.

use sqlparser::ast::{self, SelectItem};
use weir_types::{Column, DataType, Diagnostic, Schema, Span};

use crate::codes;
use crate::logical::AggregateCall;
use crate::plan::Expr;
use crate::syntax::{Name, span_of};

use super::super::super::expr::{Aggregates, ExprBinder};
use super::super::super::query::implied_name;
use super::super::super::scope::Scope;
use super::super::super::table::named_column;
use super::super::super::{Binder, Failed};
use super::refused;

/// A subquery's list over the outer columns, the inner ones and its aggregate calls.
pub(super) struct List {
    pub(super) exprs: Vec<Expr>,
    pub(super) columns: Schema,
}

impl List {
    fn all_of(&mut self, scope: &Scope, wanted: impl Fn(usize) -> bool, span: Span) {
        for (index, column) in scope.columns.iter().enumerate() {
            if wanted(column.relation) && !column.merged {
                self.exprs.push(scope.reference(index, span));
                self.columns.push(Column {
                    nullable: true,
                    external_name: column.external_name.clone(),
                    ..Column::new(column.name.clone(), column.data_type.clone())
                });
            }
        }
    }
}

impl Binder<'_> {
    /// The SELECT list over the outer columns and the inner ones.
    pub(super) fn list(
        &mut self,
        select: &ast::Select,
        nested: &Scope,
        calls: &mut Vec<AggregateCall>,
    ) -> Result<List, Failed> {
        let mut list = List {
            exprs: Vec::new(),
            columns: Vec::new(),
        };
        let mut failed = false;
        for item in &select.projection {
            let (expr, alias) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, None),
                SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
                SelectItem::Wildcard(_) => {
                    list.all_of(nested, |relation| relation >= nested.outer, span_of(item));
                    continue;
                }
                SelectItem::QualifiedWildcard(
                    ast::SelectItemQualifiedWildcardKind::ObjectName(name),
                    _,
                ) => {
                    let name = Name::from_object(name).or_else(|problem| self.fail(problem))?;
                    let called: Vec<usize> = nested.relations_called(&name.value).collect();
                    let Some(&meant) = called.last() else {
                        failed = true;
                        let message = format!("no relation `{}` in FROM", name.spelling);
                        let problem = Diagnostic::error(codes::UNKNOWN_TABLE, message);
                        self.diagnostics.push(problem.at(name.span, "not in FROM"));
                        continue;
                    };
                    list.all_of(nested, |relation| relation == meant, span_of(item));
                    continue;
                }
                _ => {
                    return self.fail(refused(
                        span_of(item),
                        "an item of a kind that cannot be planned",
                    ));
                }
            };
            let calls = Aggregates::Collect(calls);
            let bound = ExprBinder::new(nested, calls, &mut self.diagnostics).bind(expr);
            let Ok(bound) = bound else {
                failed = true;
                continue;
            };
            let named = match alias {
                Some(alias) => named_column(&Name::from_ident(alias), DataType::Null, true),
                None => implied_name(expr, list.columns.len()),
            };
            list.columns.push(Column {
                data_type: bound.data_type.clone(),
                nullable: true,
                ..named
            });
            list.exprs.push(bound);
        }
        if failed { Err(Failed) } else { Ok(list) }
    }

    /// An item of ORDER BY: a place or a name of the list, else an expression.
    pub(super) fn lateral_order(
        &mut self,
        expr: &ast::Expr,
        list: &List,
        nested: &Scope,
        calls: &mut Vec<AggregateCall>,
    ) -> Result<Expr, Failed> {
        if let Some(place) = self.place_in_result(expr, list.exprs.len())? {
            return Ok(list.exprs[place].clone());
        }
        if let ast::Expr::Identifier(ident) = expr {
            let name = Name::from_ident(ident).value;
            if let Some(place) = list.columns.iter().position(|column| column.name == name) {
                return Ok(list.exprs[place].clone());
            }
        }
        ExprBinder::new(nested, Aggregates::Collect(calls), &mut self.diagnostics).bind(expr)
    }
}
