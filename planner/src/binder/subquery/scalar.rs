//! Subqueries that stand for one value: joined to the block as a relation of one row, or of one row for each group.

use sqlparser::ast;
use weir_types::{Column, DataType, Diagnostic, Scalar, Schema, Span};

use crate::codes;
use crate::logical::{NodeId, NodeKind};
use crate::names::quoted;
use crate::plan::{BinaryOp, Expr, ExprKind, JoinKind};
use crate::syntax::span_of;

use super::super::expr::{Aggregates, ExprBinder};
use super::super::from::From;
use super::super::group::GroupKeys;
use super::super::levels::operands_mut;
use super::super::query::Context;
use super::super::scope::lifted_name;
use super::super::{Binder, Failed, Relation};
use super::{Lifted, is_grouped, plain_select, subquery_name};

impl Binder<'_> {
    /// Replaces every scalar subquery in an expression by a placeholder of its value.
    pub(super) fn lift_scalars(
        &mut self,
        expr: &mut ast::Expr,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<(), Failed> {
        if let ast::Expr::Subquery(subquery) = expr {
            let value = self.scalar(subquery, from, context, lifted)?;
            *expr = lifted_name(from.scope.lifted.len());
            from.scope.lifted.push(value);
            return Ok(());
        }
        let children = match expr {
            ast::Expr::Nested(inner) | ast::Expr::Cast { expr: inner, .. } => vec![inner.as_mut()],
            ast::Expr::AtTimeZone { timestamp, .. } => vec![timestamp.as_mut()],
            other => operands_mut(other).unwrap_or_default(),
        };
        for child in children {
            self.lift_scalars(child, from, context, lifted)?;
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        subquery: &ast::Query,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<Expr, Failed> {
        let span = span_of(subquery);
        let name = subquery_name(subquery);
        let role = format!("scalar({})", quoted(&name));
        let Some(bound) = self.uncorrelated(subquery, context)? else {
            return self.correlated_scalar(subquery, from, context, lifted);
        };
        self.one_column(&bound.relation.columns, span)?;
        if self.properties(bound.relation.node).unique_key.as_deref() != Some(&[]) {
            return self.fail(
                Diagnostic::error(
                    codes::SUBQUERY_SHAPE,
                    "this subquery may give more than one row where one value is meant",
                )
                .at(span, "nothing bounds it to one row")
                .help("aggregate it: (SELECT max(x) FROM t); or add LIMIT 1 with an ORDER BY"),
            );
        }
        lifted.stateful |= bound.stateful;
        let kind = if self.always_one_row(bound.relation.node) {
            JoinKind::Inner
        } else {
            JoinKind::Left
        };
        let first = from.scope.columns.len();
        from.push(None, bound.relation, name, role, span);
        from.join_last(kind, Vec::new());
        from.scope.hide_from(first);
        Ok(from.scope.reference(first, span))
    }

    /// Whether a row is there even for empty input: an ungrouped aggregate, and projections of it.
    fn always_one_row(&self, node: NodeId) -> bool {
        let node = &self.graph.nodes[node];
        match &node.kind {
            NodeKind::Project { .. } => self.always_one_row(node.inputs[0]),
            NodeKind::Aggregate {
                window: None, keys, ..
            } => keys.is_empty(),
            _ => false,
        }
    }

    /// An aggregate over the rows that belong to the outer row: grouped by what they are compared by, and joined.
    fn correlated_scalar(
        &mut self,
        subquery: &ast::Query,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<Expr, Failed> {
        let span = span_of(subquery);
        let refused = |why: &str| {
            Diagnostic::error(
                codes::SUBQUERY_SHAPE,
                "a correlated subquery for one value has to be an aggregate over equal rows",
            )
            .at(span, why.to_owned())
            .help("(SELECT max(i.x) FROM i WHERE i.k = outer.k) can be planned")
            .help("or join the relation: LEFT JOIN i ON i.k = outer.k")
        };
        let Some(select) = plain_select(subquery).filter(|select| !is_grouped(select)) else {
            return self.fail(refused("it has GROUP BY, HAVING or DISTINCT"));
        };
        let [
            ast::SelectItem::UnnamedExpr(item) | ast::SelectItem::ExprWithAlias { expr: item, .. },
        ] = select.projection.as_slice()
        else {
            return self.fail(refused("it gives several columns"));
        };
        let width = from.scope.columns.len();
        let (inner, _, node, on, _) = self.correlated_rows(select, &from.scope, context)?;
        let mut calls = Vec::new();
        let mut binder = ExprBinder::new(
            &inner.scope,
            Aggregates::Collect(&mut calls),
            &mut self.diagnostics,
        );
        let item = binder.bind(item)?;
        let inner_width = inner.scope.columns.len();
        if calls.is_empty() || item.columns().iter().any(|&column| column < inner_width) {
            return self.fail(refused("it does not aggregate"));
        }
        let (mut outer_keys, mut inner_keys) = (Vec::new(), Vec::new());
        for conjunct in &on {
            let Some((outer, inner)) = equality(conjunct, width) else {
                return self.fail(refused(
                    "it compares with the outer row by something else than `=`",
                ));
            };
            outer_keys.push(outer);
            inner_keys.push(inner);
        }
        let call_types: Vec<_> = calls
            .iter()
            .map(|call| (is_count(&call.function), call.data_type.clone()))
            .collect();
        let mut wanted = inner_keys.clone();
        wanted.extend(
            call_types
                .iter()
                .enumerate()
                .map(|(i, (_, data_type))| Expr::column(inner_width + i, data_type.clone(), span)),
        );
        let keys = GroupKeys {
            sets: Vec::new(),
            keys: inner_keys.clone(),
            span,
        };
        let path = &context.path;
        let (node, exprs) = self.grouped(node, &inner.scope, keys, calls, None, &wanted, path)?;
        let columns: Schema = exprs
            .iter()
            .enumerate()
            .map(|(i, expr)| Column::new(format!("value{i}"), expr.data_type.clone()))
            .collect();
        let node = self.project(node, exprs, columns.clone(), path, span);
        let on = outer_keys.into_iter().zip(&inner_keys).enumerate();
        let on = on
            .map(|(i, (outer, inner))| {
                let key = Expr::column(width + i, inner.data_type.clone(), span);
                self.equal(outer, key, span)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let name = subquery_name(subquery);
        let role = format!("scalar({})", quoted(&name));
        from.push(None, Relation { node, columns }, name, role, span);
        from.join_last(JoinKind::Left, on);
        from.scope.hide_from(width);
        lifted.stateful = true;
        let first_call = width + inner_keys.len();
        Ok(over_calls(item, inner_width, first_call, &call_types))
    }
}

/// Whether the aggregate of no rows is 0.
fn is_count(function: &str) -> bool {
    matches!(function, "count" | "approx_distinct" | "regr_count")
}

/// The item over the joined aggregates: a count of no rows is 0, every other aggregate of none is NULL.
fn over_calls(
    mut item: Expr,
    inner_width: usize,
    first_call: usize,
    calls: &[(bool, DataType)],
) -> Expr {
    if let Some(call) = item.as_column().and_then(|c| c.checked_sub(inner_width)) {
        let (counts, data_type) = &calls[call];
        let value = Expr::column(first_call + call, data_type.clone(), item.span);
        if !counts {
            return value;
        }
        let zero = Expr::literal(Scalar::Int(0), DataType::Int64, item.span);
        return Expr {
            kind: ExprKind::Function {
                name: "coalesce".to_owned(),
                arguments: vec![value, zero],
            },
            data_type: data_type.clone(),
            span: item.span,
        };
    }
    for child in item.children_mut() {
        let taken = std::mem::replace(
            child,
            Expr::literal(Scalar::Null, DataType::Null, Span::default()),
        );
        *child = over_calls(taken, inner_width, first_call, calls);
    }
    item
}

/// `outer = inner`, the inner operand over the inner columns alone.
fn equality(conjunct: &Expr, width: usize) -> Option<(Expr, Expr)> {
    let ExprKind::Binary {
        op: BinaryOp::Eq,
        left,
        right,
    } = &conjunct.kind
    else {
        return None;
    };
    let is_outer = |expr: &Expr| {
        let columns = expr.columns();
        !columns.is_empty() && columns.iter().all(|&column| column < width)
    };
    let is_inner = |expr: &Expr| {
        let columns = expr.columns();
        !columns.is_empty() && columns.iter().all(|&column| column >= width)
    };
    let (outer, inner) = if is_outer(left) && is_inner(right) {
        (left, right)
    } else if is_outer(right) && is_inner(left) {
        (right, left)
    } else {
        return None;
    };
    let inner = inner.as_ref().clone().renumbered(&|column| column - width);
    Some((outer.as_ref().clone(), inner))
}
