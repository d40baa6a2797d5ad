//! Subqueries that stand for one value: joined to the block as a relation of one row, or of one row for each group.

use sqlparser::ast;
use weir_types::{Column, DataType, Diagnostic, Scalar, Schema, Span};

use crate::codes;
use crate::logical::{AggregateCall, NodeId, NodeKind};
use crate::plan::{BinaryOp, Expr, ExprKind, JoinKind};
use crate::syntax::span_of;

use super::super::expr::{Aggregates, ExprBinder};
use super::super::from::From;
use super::super::group::GroupKeys;
use super::super::query::Context;
use super::super::{Binder, Failed, Relation};
use super::value::Called;
use super::wording::{has_groups, only_item, plain_select};
use super::{CorrelatedRows, Lifted, is_outer};

impl Binder<'_> {
    /// Joins a subquery that stands for one value; its value over the scope.
    pub(super) fn scalar(
        &mut self,
        subquery: &ast::Query,
        called: Called,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<Expr, Failed> {
        let span = span_of(subquery);
        let Some(bound) = self.uncorrelated(subquery, context)? else {
            return self.correlated_scalar(subquery, called, from, context, lifted);
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
        from.push(None, bound.relation, called.name, called.role, span);
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

    /// A value of the rows that belong to the outer row: an aggregate of them, or a column of the only one.
    fn correlated_scalar(
        &mut self,
        subquery: &ast::Query,
        called: Called,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<Expr, Failed> {
        let span = span_of(subquery);
        let plain = plain_select(subquery).filter(|select| select.qualify.is_none());
        let Some(select) = plain else {
            return self.fail(refused(
                span,
                "it has WITH, a set operation, ORDER BY, LIMIT or QUALIFY",
            ));
        };
        let Some(item) = only_item(select) else {
            return self.fail(refused(span, "it does not give one column"));
        };
        let width = from.scope.columns.len();
        let rows = self.correlated_rows(select, &from.scope, context)?;
        let inner_width = rows.inner.scope.columns.len();
        let mut calls = Vec::new();
        let mut binder = ExprBinder::new(
            &rows.nested,
            Aggregates::Collect(&mut calls),
            &mut self.diagnostics,
        );
        let item = binder.bind(item)?;
        let having = match &select.having {
            Some(having) => Some(binder.bind_condition(having, "HAVING")?),
            None => None,
        };
        let value = Correlated {
            item,
            having,
            calls,
            rows,
            widths: (width, inner_width),
            span,
        };
        lifted.stateful = true;
        if value.calls.is_empty() && !has_groups(select) && value.having.is_none() {
            return self.only_row(value, called, from, context);
        }
        self.correlated_aggregate(select, value, called, from, context)
    }

    /// A column of the row that belongs to the outer row, where a key says that there is one at most.
    fn only_row(
        &mut self,
        value: Correlated,
        called: Called,
        from: &mut From,
        context: &Context,
    ) -> Result<Expr, Failed> {
        let (width, inner_width) = value.widths;
        let (rows, span) = (value.rows, value.span);
        let equated: Vec<usize> = rows
            .on
            .iter()
            .filter_map(|conjunct| equality(conjunct, width)?.1.as_column())
            .collect();
        let key = self.properties(rows.node).unique_key.as_deref();
        if !key.is_some_and(|key| key.iter().all(|column| equated.contains(column))) {
            return self.fail(refused(
                span,
                "it does not aggregate, and no key says that there is one row at most",
            ));
        }
        let mut columns = rows.inner.scope.schema();
        let mut exprs: Vec<Expr> = columns
            .iter()
            .enumerate()
            .map(|(i, column)| Expr::column(i, column.data_type.clone(), span))
            .collect();
        columns.push(Column::new("found", DataType::Boolean));
        exprs.push(Expr::literal(
            Scalar::Boolean(true),
            DataType::Boolean,
            span,
        ));
        let node = self.project(rows.node, exprs, columns.clone(), &context.path, span);
        from.push(
            None,
            Relation { node, columns },
            called.name,
            called.role,
            span,
        );
        from.join_last(JoinKind::Left, rows.on);
        from.scope.hide_from(width);
        let is_column = value.item.as_column().is_some_and(|column| column >= width);
        if is_column {
            return Ok(value.item);
        }
        // What is made of columns may be a value even where there is no row.
        let found = Expr::column(width + inner_width, DataType::Boolean, span);
        Ok(only_where(found, value.item))
    }

    /// An aggregate of the rows that belong to the outer row: grouped by what they are compared by, and joined.
    fn correlated_aggregate(
        &mut self,
        select: &ast::Select,
        value: Correlated,
        called: Called,
        from: &mut From,
        context: &Context,
    ) -> Result<Expr, Failed> {
        let (width, inner_width) = value.widths;
        let (rows, span) = (value.rows, value.span);
        let grouped = has_groups(select);
        let (mut outer_keys, mut inner_keys) = (Vec::new(), Vec::new());
        for conjunct in &rows.on {
            let Some((outer, inner)) = equality(conjunct, width) else {
                return self.fail(refused(
                    span,
                    "it compares with the outer row by something else than `=`",
                ));
            };
            outer_keys.push(outer);
            inner_keys.push(inner);
        }
        if grouped {
            let keys = self.group_keys(select, &rows.inner.scope)?;
            let is_equated = |key: &Expr| inner_keys.iter().any(|inner| inner.same(key));
            let fits =
                keys.is_some_and(|keys| keys.sets.is_empty() && keys.keys.iter().all(is_equated));
            if !fits {
                return self.fail(refused(
                    span,
                    "it may have several groups for one outer row",
                ));
            }
        }
        let inside = |expr: &Expr| {
            expr.columns()
                .iter()
                .all(|&column| !is_outer(column, width))
        };
        if !value.calls.iter().all(|call| call.parts().all(inside)) {
            return self.fail(refused(
                span,
                "an aggregate in it reads a column of the query around it",
            ));
        }
        let own = |column: usize| column - width;
        let calls: Vec<AggregateCall> = value
            .calls
            .iter()
            .map(|call| call.mapped(&|part| part.clone().renumbered(&own)))
            .collect();
        let (mut item, mut having) = (value.item, value.having);
        if !grouped && let Some(condition) = having.take() {
            // Without groups there is one row, which HAVING judges even if nothing was aggregated.
            item = only_where(condition, item);
        }
        if having.as_ref().is_some_and(|having| !inside(having)) {
            return self.fail(refused(
                span,
                "its HAVING reads a column of the query around it",
            ));
        }
        let having = having.map(|having| having.renumbered(&own));
        let call_types: Vec<_> = calls
            .iter()
            .map(|call| (!grouped && is_count(&call.function), call.data_type.clone()))
            .collect();
        let mut wanted = inner_keys.clone();
        wanted.extend(
            call_types
                .iter()
                .enumerate()
                .map(|(i, (_, data_type))| Expr::column(inner_width + i, data_type.clone(), span)),
        );
        let places = Places {
            outer: width,
            inner: inner_width,
            keys: &inner_keys,
            calls: &call_types,
        };
        let Some(value) = places.over(item) else {
            return self.fail(refused(
                span,
                "it reads a column that it neither aggregates nor groups by",
            ));
        };
        let keys = GroupKeys {
            sets: Vec::new(),
            keys: inner_keys.clone(),
            span,
        };
        let path = &context.path;
        let scope = &rows.inner.scope;
        let (node, exprs) = self.grouped(rows.node, scope, keys, calls, having, &wanted, path)?;
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
        // Of an aggregate over all rows there is a row in any case.
        let kind = if inner_keys.is_empty() && !grouped {
            JoinKind::Inner
        } else {
            JoinKind::Left
        };
        from.push(
            None,
            Relation { node, columns },
            called.name,
            called.role,
            span,
        );
        from.join_last(kind, on);
        from.scope.hide_from(width);
        Ok(value)
    }
}

/// A correlated subquery for one value, its expressions over the outer columns, the inner ones, and its aggregate calls.
struct Correlated {
    item: Expr,
    having: Option<Expr>,
    calls: Vec<AggregateCall>,
    rows: CorrelatedRows,
    /// Numbers of outer and of inner columns.
    widths: (usize, usize),
    span: Span,
}

fn refused(span: Span, why: &str) -> Diagnostic {
    Diagnostic::error(
        codes::SUBQUERY_SHAPE,
        "a correlated subquery for one value has to be an aggregate over equal rows, or a column of the row of a key",
    )
    .at(span, why.to_owned())
    .help("(SELECT max(i.x) FROM i WHERE i.k = outer.k) can be planned")
    .help("or join the relation: LEFT JOIN i ON i.k = outer.k")
}

/// The value where the condition is true, else NULL.
pub(super) fn only_where(condition: Expr, value: Expr) -> Expr {
    Expr {
        data_type: value.data_type.clone(),
        span: value.span,
        kind: ExprKind::Case {
            branches: vec![(condition, value)],
            otherwise: None,
        },
    }
}

/// Whether the aggregate of no rows is 0.
pub(super) fn is_count(function: &str) -> bool {
    matches!(function, "count" | "approx_distinct" | "regr_count")
}

/// Where the parts of a subquery's item are once its groups are joined behind the outer columns.
struct Places<'a> {
    outer: usize,
    inner: usize,
    keys: &'a [Expr],
    /// Whether no rows make it 0, and its type.
    calls: &'a [(bool, DataType)],
}

impl Places<'_> {
    /// The item over the joined groups: a count of no rows is 0, every other aggregate of none is NULL. `None` if it reads
    /// an inner column that is no key.
    fn over(&self, mut item: Expr) -> Option<Expr> {
        if let Some(column) = item.as_column() {
            if is_outer(column, self.outer) {
                return Some(item);
            }
            let inner = column - self.outer;
            if inner < self.inner {
                let key = self
                    .keys
                    .iter()
                    .position(|key| key.as_column() == Some(inner))?;
                return Some(Expr::column(self.outer + key, item.data_type, item.span));
            }
            let call = inner - self.inner;
            let (counts, data_type) = &self.calls[call];
            let place = self.outer + self.keys.len() + call;
            let value = Expr::column(place, data_type.clone(), item.span);
            if !counts {
                return Some(value);
            }
            let zero = Expr::literal(Scalar::Int(0), DataType::Int64, item.span);
            return Some(Expr {
                kind: ExprKind::Function {
                    name: "coalesce".to_owned(),
                    arguments: vec![value, zero],
                },
                data_type: data_type.clone(),
                span: item.span,
            });
        }
        for child in item.children_mut() {
            let taken = std::mem::replace(
                child,
                Expr::literal(Scalar::Null, DataType::Null, Span::default()),
            );
            *child = self.over(taken)?;
        }
        Some(item)
    }
}

/// `outer = inner`, the inner operand over the inner columns alone.
pub(super) fn equality(conjunct: &Expr, width: usize) -> Option<(Expr, Expr)> {
    let ExprKind::Binary {
        op: BinaryOp::Eq,
        left,
        right,
    } = &conjunct.kind
    else {
        return None;
    };
    let reads_outer = |expr: &Expr| {
        let columns = expr.columns();
        !columns.is_empty() && columns.iter().all(|&column| is_outer(column, width))
    };
    let reads_inner = |expr: &Expr| {
        let columns = expr.columns();
        !columns.is_empty() && columns.iter().all(|&column| !is_outer(column, width))
    };
    let (outer, inner) = if reads_outer(left) && reads_inner(right) {
        (left, right)
    } else if reads_outer(right) && reads_inner(left) {
        (right, left)
    } else {
        return None;
    };
    let inner = inner.as_ref().clone().renumbered(&|column| column - width);
    Some((outer.as_ref().clone(), inner))
}
