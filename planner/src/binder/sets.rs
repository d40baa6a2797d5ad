//! SELECT DISTINCT, UNION, INTERSECT, EXCEPT: rows as members of a set.
//!
//! ```text
//!   SELECT DISTINCT …      ─▶ an aggregate over all columns that calls nothing           path/distinct
//!   a UNION b UNION ALL c  ─▶ UNION ALL of the branches ─▶ such an aggregate             path/union
//!   a EXCEPT [ALL] b       ─▶ both casted to common types ─▶ SetOperation, which counts  path/except
//! ```
//!
//! # Invariants
//! 1. NULL equals NULL here, as in GROUP BY.
//! 2. Names are those of the first branch, types those that all branches fit into.

use sqlparser::ast;
use weir_types::{Diagnostic, Schema, Span};

use crate::codes;
use crate::logical::{Node, NodeId, NodeKind, Properties};
use crate::names::Path;
use crate::plan::{Changelog, Expr, SetOperator};
use crate::syntax::span_of;

use super::query::{BoundQuery, Context};
use super::{Binder, Failed, Relation};

impl Binder<'_> {
    /// Every row once: an aggregate over all columns. Over rows that are only inserted it only inserts.
    pub(crate) fn distinct(
        &mut self,
        relation: &Relation,
        role: &str,
        path: &Path,
        span: Span,
    ) -> Result<Relation, Failed> {
        self.check_members(relation.node, span)?;
        let id = self.take_id(path, role, span);
        let columns = relation.columns.clone();
        let keys = all_columns(&columns, span);
        let properties = Properties {
            unique_key: Some((0..columns.len()).collect()),
            ..Properties::of(self.properties(relation.node).changelog)
        };
        let node = self.add(Node {
            kind: NodeKind::Aggregate {
                window: None,
                keys,
                group_columns: Vec::new(),
                aggregates: Vec::new(),
                always: Vec::new(),
            },
            inputs: vec![relation.node],
            columns: columns.clone(),
            properties,
            path: path.clone(),
            id: Some(id),
            shared: false,
            span,
        });
        Ok(Relation { node, columns })
    }

    /// UNION, INTERSECT [ALL] or EXCEPT [ALL].
    pub(super) fn set_operation(
        &mut self,
        body: &ast::SetExpr,
        context: &Context,
    ) -> Result<BoundQuery, Failed> {
        let ast::SetExpr::SetOperation {
            op,
            set_quantifier,
            left,
            right,
        } = body
        else {
            return Err(Failed);
        };
        let all = *set_quantifier == ast::SetQuantifier::All;
        let (operator, role) = match op {
            ast::SetOperator::Union => return self.distinct_union(body, context),
            ast::SetOperator::Intersect => (SetOperator::Intersect, "intersect"),
            ast::SetOperator::Except | ast::SetOperator::Minus => (SetOperator::Except, "except"),
        };
        let span = span_of(body);
        let bound = self.branches(&[left, right], context)?;
        let columns = self.union_columns(&bound)?;
        let mut inputs = Vec::with_capacity(bound.len());
        for (branch, span) in &bound {
            self.check_members(branch.relation.node, *span)?;
            inputs.push(self.union_input(&branch.relation, &columns, &context.path, *span));
        }
        let worst = self
            .properties(inputs[0])
            .changelog
            .worst(self.properties(inputs[1]).changelog);
        let changelog = match operator {
            // More rows on either side never take a common row back.
            SetOperator::Intersect => worst,
            SetOperator::Except => Changelog::Retractions,
        };
        let properties = Properties {
            unique_key: (!all).then(|| (0..columns.len()).collect()),
            ..Properties::of(changelog)
        };
        let id = self.take_id(&context.path, role, span);
        let node = self.add(Node {
            kind: NodeKind::SetOperation { operator, all },
            inputs,
            columns: columns.clone(),
            properties,
            path: context.path.clone(),
            id: Some(id),
            shared: false,
            span,
        });
        Ok(BoundQuery {
            relation: Relation { node, columns },
            stateful: true,
        })
    }

    /// UNION: all rows of all branches, each once. What stands below needs no set of its own.
    fn distinct_union(
        &mut self,
        body: &ast::SetExpr,
        context: &Context,
    ) -> Result<BoundQuery, Failed> {
        let mut branches = Vec::new();
        any_union_branches(body, &mut branches);
        let all = self.union_of(&branches, context, span_of(body))?;
        for input in self.graph.nodes[all.relation.node].inputs.clone() {
            self.check_members(input, span_of(body))?;
        }
        let relation = self.distinct(&all.relation, "union", &context.path, span_of(body))?;
        Ok(BoundQuery {
            relation,
            stateful: true,
        })
    }

    /// Binds every branch, so that the mistakes of all are found.
    pub(super) fn branches(
        &mut self,
        branches: &[&ast::SetExpr],
        context: &Context,
    ) -> Result<Vec<(BoundQuery, Span)>, Failed> {
        let mut bound = Vec::with_capacity(branches.len());
        let mut failed = false;
        for branch in branches {
            match self.set_expr(branch, context) {
                Ok(relation) => bound.push((relation, span_of(*branch))),
                Err(Failed) => failed = true,
            }
        }
        if failed { Err(Failed) } else { Ok(bound) }
    }

    /// A member of a set is found by its value, which has to stay.
    fn check_members(&mut self, node: NodeId, span: Span) -> Result<(), Failed> {
        let mut at = node;
        let place = loop {
            let NodeKind::Project { exprs } = &self.graph.nodes[at].kind else {
                return Ok(());
            };
            match exprs.iter().find(|expr| expr.is_volatile()) {
                Some(expr) => break expr.span,
                None => at = self.graph.nodes[at].inputs[0],
            }
        };
        let place = if place.is_empty() { span } else { place };
        self.fail(
            Diagnostic::error(
                codes::VOLATILE_RETRACTIONS,
                "a row of a set is found by its value, which cannot change",
            )
            .at(place, "this gives another value each time")
            .help("compute it above the set operation"),
        )
    }
}

/// The columns of a relation as expressions.
fn all_columns(columns: &Schema, span: Span) -> Vec<Expr> {
    columns
        .iter()
        .enumerate()
        .map(|(i, column)| Expr::column(i, column.data_type.clone(), span))
        .collect()
}

/// The branches below a UNION, whether with ALL or without: the outermost makes every row unique.
fn any_union_branches<'q>(body: &'q ast::SetExpr, branches: &mut Vec<&'q ast::SetExpr>) {
    match body {
        ast::SetExpr::SetOperation {
            op: ast::SetOperator::Union,
            left,
            right,
            ..
        } => {
            any_union_branches(left, branches);
            any_union_branches(right, branches);
        }
        other => branches.push(other),
    }
}
