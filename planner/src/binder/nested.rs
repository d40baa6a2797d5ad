//! Joins that are one relation for the joins around them: those in parentheses, those behind a comma, FULL JOIN USING.
//!
//! ```text
//!   a LEFT JOIN (b JOIN c ON …) ON …      b and c are joined by themselves; then a meets their rows
//!   a, b RIGHT JOIN c ON …                the same for what stands behind the comma
//!   a FULL JOIN b USING (k)               the join, and above it coalesce(a.k, b.k) in the place of k
//! ```
//!
//! The names in them stay in sight: a scope may have more relations than FROM has steps.

use sqlparser::ast;
use weir_types::{Column, DataType, Diagnostic, Span};

use crate::codes;
use crate::convert::{CastKind, cast_to};
use crate::plan::{Expr, ExprKind};
use crate::syntax::span_of;

use super::from::From;
use super::query::{Context, common_type};
use super::scope::{Scope, ScopeColumn};
use super::{Binder, Failed, Relation};

impl Binder<'_> {
    /// Binds joins by themselves and adds them as one relation.
    pub(super) fn bind_nested(
        &mut self,
        tree: &ast::TableWithJoins,
        context: &Context,
        from: &mut From,
    ) -> Result<(), Failed> {
        let span = span_of(&tree.relation);
        let nested = self.from(std::slice::from_ref(tree), context)?;
        for alias in nested
            .scope
            .relations
            .iter()
            .filter_map(|r| r.alias.as_ref())
        {
            if from.scope.relations_called(alias).next().is_some() {
                return self.fail(
                    Diagnostic::error(
                        codes::DUPLICATE_NAME,
                        format!("`{alias}` stands twice in FROM"),
                    )
                    .at(span, "the second of that name is in here")
                    .help(format!("give one of them an alias: {alias} AS other")),
                );
            }
        }
        let joined = self.joined(&nested, Vec::new(), &context.path)?;
        from.stateful |= nested.stateful || joined.stateful;
        let name = nested
            .relations
            .first()
            .map_or_else(String::new, |first| first.name.clone());
        let role = format!("join({})", crate::names::quoted(&name));
        let relation = Relation {
            node: joined.node,
            columns: nested.scope.schema(),
        };
        from.push_scope(nested.scope, relation, name, role, span);
        Ok(())
    }

    /// After a FULL JOIN USING: for each pair of equal columns the one that is there, before the left one of them.
    pub(super) fn merge_columns(
        &mut self,
        pairs: &[(usize, usize)],
        from: &mut From,
        context: &Context,
    ) -> Result<(), Failed> {
        let done = std::mem::take(from);
        let joined = self.joined(&done, Vec::new(), &context.path)?;
        let old = &done.scope;
        let mut scope = Scope {
            relations: old.relations.clone(),
            ..Scope::default()
        };
        let merged_relation = scope.relations.len();
        let mut exprs = Vec::with_capacity(old.columns.len() + pairs.len());
        let mut first_of = vec![None; old.relations.len()];
        for (index, column) in old.columns.iter().enumerate() {
            if let Some(&(left, right)) = pairs.iter().find(|(left, _)| *left == index) {
                let value = either(old, left, right);
                scope.columns.push(ScopeColumn {
                    relation: merged_relation,
                    data_type: value.data_type.clone(),
                    nullable: true,
                    merged: false,
                    ..column.clone()
                });
                exprs.push(value);
            }
            first_of[column.relation].get_or_insert(scope.columns.len());
            let hidden = column.merged || pairs.iter().any(|&(l, r)| l == index || r == index);
            scope.columns.push(ScopeColumn {
                merged: hidden,
                ..column.clone()
            });
            exprs.push(old.reference(index, Span::default()));
        }
        for (relation, first) in scope.relations.iter_mut().zip(first_of) {
            relation.first = first.unwrap_or(0);
        }
        scope.relations.push(super::scope::ScopeRelation {
            alias: None,
            first: 0,
        });
        let span = done
            .relations
            .last()
            .map_or_else(Span::default, |last| last.span);
        let columns: Vec<Column> = scope.schema();
        let node = self.project(joined.node, exprs, columns.clone(), &context.path, span);
        let name = done
            .relations
            .first()
            .map_or_else(String::new, |first| first.name.clone());
        from.stateful = true;
        from.push_scope(scope, Relation { node, columns }, name, String::new(), span);
        Ok(())
    }
}

/// The left column, or the right one where there is no left row. Their types fit: they are compared.
fn either(scope: &Scope, left: usize, right: usize) -> Expr {
    let span = Span::default();
    let (left, right) = (scope.reference(left, span), scope.reference(right, span));
    let common: DataType =
        common_type(&left.data_type, &right.data_type).unwrap_or_else(|| left.data_type.clone());
    let arguments = [left, right]
        .into_iter()
        .map(|side| cast_to(side, common.clone(), CastKind::Fails, span))
        .collect();
    Expr {
        kind: ExprKind::Function {
            name: "coalesce".to_owned(),
            arguments,
        },
        data_type: common,
        span,
    }
}
