//! What NOT IN has to know of NULLs: whether the subquery has rows, and whether one of them is NULL.

use weir_types::{DataType, Scalar, Span};

use crate::logical::{AggregateCall, Node, NodeKind, Properties, column};
use crate::names::quoted;
use crate::plan::{BinaryOp, Changelog, Expr, ExprKind};

use super::super::from::From;
use super::super::query::Context;
use super::super::scope::Scope;
use super::super::{Binder, Relation};
use super::{Inner, boolean};

impl Binder<'_> {
    /// Whether a NOT IN has to look for NULLs. The subquery is then read twice, and so it is planned once.
    pub(super) fn null_counts(&mut self, value: &Expr, inner: &mut Inner, from: &From) -> bool {
        let first = from.scope.columns.len();
        let compared = inner.on.first().map(Expr::columns).unwrap_or_default();
        let inner_nullable = compared
            .iter()
            .filter_map(|column| column.checked_sub(first))
            .any(|column| inner.relation.columns[column].nullable);
        let needed = inner_nullable || is_nullable(value, &from.scope);
        if needed && inner.stateful {
            self.graph.nodes[inner.relation.node].shared = true;
        }
        needed
    }

    /// Joins the counts of a NOT IN's rows and NULLs; gives the condition under which none of them spoils the answer.
    pub(super) fn no_nulls(
        &mut self,
        value: &Expr,
        inner: &Inner,
        name: &str,
        from: &mut From,
        context: &Context,
        span: Span,
    ) -> Expr {
        let compared = Expr::column(0, inner.relation.columns[0].data_type.clone(), span);
        let call = |arguments: Vec<Expr>| AggregateCall {
            function: "count".to_owned(),
            arguments,
            distinct: false,
            order_by: Vec::new(),
            parameters: Vec::new(),
            registered: None,
            filter: None,
            data_type: DataType::Int64,
            span,
        };
        let counts = vec![
            column("rows", DataType::Int64),
            column("values", DataType::Int64),
        ];
        let role = format!("nulls({})", quoted(name));
        let id = self.take_id(&context.path, &role, span);
        let node = self.add(Node {
            kind: NodeKind::Aggregate {
                window: None,
                keys: Vec::new(),
                group_columns: Vec::new(),
                aggregates: vec![call(Vec::new()), call(vec![compared])],
                always: Vec::new(),
            },
            inputs: vec![inner.relation.node],
            columns: counts,
            properties: Properties {
                unique_key: Some(Vec::new()),
                ..Properties::of(Changelog::Retractions)
            },
            path: context.path.clone(),
            id: Some(id),
            shared: false,
            span,
        });
        let count = |index: usize| Box::new(Expr::column(index, DataType::Int64, span));
        let zero = Box::new(Expr::literal(Scalar::Int(0), DataType::Int64, span));
        let greater = |left: Box<Expr>, right: Box<Expr>| {
            boolean(
                ExprKind::Binary {
                    op: BinaryOp::Gt,
                    left,
                    right,
                },
                span,
            )
        };
        let flags = vec![greater(count(0), zero), greater(count(0), count(1))];
        let columns = vec![
            column("has_rows", DataType::Boolean),
            column("has_null", DataType::Boolean),
        ];
        let node = self.project(node, flags, columns.clone(), &context.path, span);
        let first = from.scope.columns.len();
        let role = format!("not_in({})", quoted(name));
        from.push(
            None,
            Relation { node, columns },
            name.to_owned(),
            role,
            span,
        );
        from.scope.hide_from(first);
        let flag = |index: usize| Expr::column(first + index, DataType::Boolean, span);
        let not = |expr: Expr| boolean(ExprKind::Not(Box::new(expr)), span);
        let known = boolean(
            ExprKind::IsNull {
                expr: Box::new(value.clone()),
                negated: true,
            },
            span,
        );
        let decided = Expr::conjunction([known, not(flag(1))]);
        boolean(
            ExprKind::Binary {
                op: BinaryOp::Or,
                left: Box::new(not(flag(0))),
                right: Box::new(decided.unwrap_or_else(|| not(flag(1)))),
            },
            span,
        )
    }
}

fn is_nullable(expr: &Expr, scope: &Scope) -> bool {
    match &expr.kind {
        ExprKind::Column(index) => scope
            .columns
            .get(*index)
            .is_none_or(|column| column.nullable),
        ExprKind::Literal(value) => *value == Scalar::Null,
        ExprKind::Cast { expr, safe: false } => is_nullable(expr, scope),
        _ => true,
    }
}
