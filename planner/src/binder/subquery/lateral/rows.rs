//! LATERAL subqueries that read tables: rows as they are, the first ones of each outer row, groups of them.

use sqlparser::ast;
use weir_types::{Column, DataType, Scalar, Schema, Span};

use crate::logical::{AggregateCall, NodeId, NodeKind, SortExpr};
use crate::names::quoted;
use crate::plan::{BinaryOp, Expr, ExprKind, JoinKind, RankBounds, RankFunction};

use super::super::super::expr::{Aggregates, ExprBinder};
use super::super::super::from::From;
use super::super::super::group::GroupKeys;
use super::super::super::rank::{Tail, changing_order, sort_expr};
use super::super::super::{Binder, Failed, Relation};
use super::super::scalar::{equality, is_count, only_where};
use super::super::{CorrelatedRows, has_groups, is_outer};
use super::list::List;
use super::{Place, refused};

/// What a subquery gives to its join.
struct Inner {
    node: NodeId,
    columns: Schema,
    /// Conjuncts over the outer columns, then its own.
    on: Vec<Expr>,
    /// What must hold of a pair once it is joined.
    having: Option<Expr>,
    kind: JoinKind,
    /// The list over the outer columns, then its own.
    list: Vec<Expr>,
}

/// The clauses of a subquery over the outer columns, the inner ones, and its aggregate calls.
struct Parts {
    list: List,
    calls: Vec<AggregateCall>,
    having: Option<Expr>,
    order: Vec<SortExpr>,
    is_distinct: bool,
}

impl Binder<'_> {
    /// A subquery that reads tables, tied to the rows before it by its WHERE.
    pub(super) fn lateral_rows(
        &mut self,
        select: &ast::Select,
        tail: Option<&Tail<'_>>,
        alias: &ast::TableAlias,
        place: &Place<'_>,
        from: &mut From,
    ) -> Result<(), Failed> {
        let width = from.scope.columns.len();
        if select.qualify.is_some() || matches!(select.distinct, Some(ast::Distinct::On(_))) {
            return self.fail(refused(
                place.span,
                "QUALIFY or DISTINCT ON ranks the rows of each outer row",
            ));
        }
        let rows = self.correlated_rows(select, &from.scope, &place.inner)?;
        let mut calls = Vec::new();
        let list = self.list(select, &rows.nested, &mut calls)?;
        let (mut order, mut failed) = (Vec::new(), false);
        for sort in tail.map_or(&[][..], |tail| tail.order) {
            match self.lateral_order(&sort.expr, &list, &rows.nested, &mut calls) {
                Ok(expr) => order.push(sort_expr(expr, sort)),
                Err(Failed) => failed = true,
            }
        }
        let having = match &select.having {
            Some(having) => {
                let calls = Aggregates::Collect(&mut calls);
                let mut binder = ExprBinder::new(&rows.nested, calls, &mut self.diagnostics);
                Some(binder.bind_condition(having, "HAVING")?)
            }
            None => None,
        };
        if failed {
            return Err(Failed);
        }
        let is_distinct = matches!(select.distinct, Some(ast::Distinct::Distinct));
        let grouped = has_groups(select) || !calls.is_empty() || having.is_some();
        if is_distinct && grouped {
            return self.fail(refused(place.span, "it has DISTINCT over groups"));
        }
        let columns = list.columns.clone();
        let parts = Parts {
            list,
            calls,
            having,
            order,
            is_distinct,
        };
        let inner = if grouped || is_distinct {
            self.lateral_groups(select, rows, parts, tail, width, place)?
        } else {
            self.lateral_plain(rows, parts, tail, width, place)?
        };
        let role = format!("join({})", quoted(&place.name.value));
        let relation = Relation {
            node: inner.node,
            columns: inner.columns,
        };
        let name = place.name.value.clone();
        from.push(None, relation, name, role, place.span);
        from.join_last(inner.kind, inner.on);
        let list = List {
            exprs: inner.list,
            columns,
        };
        self.append(
            from,
            width,
            list,
            inner.having.into_iter().collect(),
            alias,
            place,
        )
    }

    /// Rows as they are, or the first ones of each outer row.
    fn lateral_plain(
        &mut self,
        rows: CorrelatedRows,
        parts: Parts,
        tail: Option<&Tail<'_>>,
        width: usize,
        place: &Place<'_>,
    ) -> Result<Inner, Failed> {
        let mut node = rows.node;
        let path = &place.inner.path;
        if let Some(tail) = tail {
            let (_, keys) = self.tied(&rows.on, width, place.span)?;
            let order = self.own_order(parts.order, width, place.span)?;
            node = self.first_of_each(node, keys, order, tail, place)?;
        }
        let mut columns = rows.inner.scope.schema();
        let mut exprs = references(&columns, place.span);
        let found = columns.len();
        columns.push(Column::new("found", DataType::Boolean));
        exprs.push(truth(place.span));
        let node = self.project(node, exprs, columns.clone(), path, place.span);
        Ok(Inner {
            node,
            columns,
            on: rows.on,
            having: None,
            kind: place.kind,
            list: where_found(parts.list.exprs, place.kind, width + found, width),
        })
    }

    /// Groups of the rows of each outer row.
    fn lateral_groups(
        &mut self,
        select: &ast::Select,
        rows: CorrelatedRows,
        parts: Parts,
        tail: Option<&Tail<'_>>,
        width: usize,
        place: &Place<'_>,
    ) -> Result<Inner, Failed> {
        let (path, span) = (&place.inner.path, place.span);
        let inner_width = rows.inner.scope.columns.len();
        let (outer_keys, tied) = self.tied(&rows.on, width, span)?;
        let own = |column: usize| column - width;
        let is_own = |expr: &Expr| !expr.columns().iter().any(|&column| is_outer(column, width));
        let own_keys = match self.group_keys(select, &rows.inner.scope)? {
            Some(keys) if !keys.sets.is_empty() => {
                return self.fail(refused(span, "it has grouping sets"));
            }
            Some(keys) => Some(keys.keys),
            None if parts.is_distinct => {
                if !parts.list.exprs.iter().all(is_own) {
                    return self.fail(refused(
                        span,
                        "its DISTINCT is over columns of the outer row",
                    ));
                }
                let exprs = parts.list.exprs.iter();
                Some(exprs.map(|expr| expr.clone().renumbered(&own)).collect())
            }
            None => None,
        };
        let ungrouped = own_keys.is_none();
        let mut keys = tied.clone();
        for key in own_keys.into_iter().flatten() {
            if !keys.iter().any(|known: &Expr| known.same(&key)) {
                keys.push(key);
            }
        }
        if !parts.calls.iter().all(|call| call.parts().all(is_own)) {
            return self.fail(refused(
                span,
                "an aggregate in it reads a column of the outer row",
            ));
        }
        let calls: Vec<AggregateCall> = parts
            .calls
            .iter()
            .map(|call| call.mapped(&|part| part.clone().renumbered(&own)))
            .collect();
        let (mut having, mut above) = (parts.having, None);
        if ungrouped || having.as_ref().is_some_and(|having| !is_own(having)) {
            above = having.take();
        }
        let having = having.map(|having| having.renumbered(&own));
        let groups = Groups {
            width,
            inner_width,
            keys: &keys,
            calls: &calls,
            ungrouped,
        };
        let missing = || {
            refused(
                span,
                "it reads a column that it neither aggregates nor groups by",
            )
        };
        let list: Option<Vec<Expr>> = parts
            .list
            .exprs
            .iter()
            .map(|expr| groups.over(expr))
            .collect();
        let Some(mut list) = list else {
            return self.fail(missing());
        };
        let above = match above.map(|above| groups.over(&above)) {
            Some(None) => return self.fail(missing()),
            Some(above) => above,
            None => None,
        };
        let mut order = Vec::with_capacity(parts.order.len());
        for sort in parts.order {
            match groups.over(&sort.expr) {
                Some(expr) => order.push(SortExpr { expr, ..sort }),
                None => return self.fail(missing()),
            }
        }
        let mut wanted = keys.clone();
        wanted.extend(
            calls.iter().enumerate().map(|(place, call)| {
                Expr::column(inner_width + place, call.data_type.clone(), span)
            }),
        );
        let group_keys = GroupKeys {
            keys: keys.clone(),
            sets: Vec::new(),
            span,
        };
        let scope = &rows.inner.scope;
        let (node, mut exprs) = self.grouped(
            rows.node,
            scope,
            group_keys,
            calls.clone(),
            having,
            &wanted,
            path,
        )?;
        exprs.push(truth(span));
        let columns: Schema = exprs
            .iter()
            .enumerate()
            .map(|(place, expr)| Column::new(format!("value{place}"), expr.data_type.clone()))
            .collect();
        let found = columns.len() - 1;
        let mut node = self.project(node, exprs, columns.clone(), path, span);
        if let Some(tail) = tail {
            if ungrouped {
                return self.fail(refused(span, "it limits the one row of an aggregate"));
            }
            let partition = references(&columns[..tied.len()], span);
            let order = self.own_order(order, width, span)?;
            node = self.first_of_each(node, partition, order, tail, place)?;
            let exprs = references(&columns, span);
            node = self.project(node, exprs, columns.clone(), path, span);
        }
        let on = outer_keys.into_iter().zip(&tied).enumerate();
        let on = on
            .map(|(place, (outer, inner))| {
                let key = Expr::column(width + place, inner.data_type.clone(), span);
                self.equal(outer, key, span)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (mut kind, mut having) = (place.kind, above);
        if ungrouped {
            // There is a row for each outer row, whatever there is to aggregate; without a key it is the same for all.
            kind = if tied.is_empty() {
                JoinKind::Inner
            } else {
                JoinKind::Left
            };
            if let (JoinKind::Left, Some(condition)) =
                (place.kind, having.take_if(|_| place.kind == JoinKind::Left))
            {
                list = list
                    .into_iter()
                    .map(|expr| only_where(condition.clone(), expr))
                    .collect();
            }
        } else {
            if place.kind == JoinKind::Left && having.is_some() {
                return self.fail(refused(span, "its HAVING reads a column of the outer row"));
            }
            list = where_found(list, place.kind, width + found, width);
        }
        Ok(Inner {
            node,
            columns,
            on,
            having,
            kind,
            list,
        })
    }

    /// Equalities alone, as operands of the outer row and of the inner one.
    fn tied(
        &mut self,
        on: &[Expr],
        width: usize,
        span: Span,
    ) -> Result<(Vec<Expr>, Vec<Expr>), Failed> {
        let pairs: Option<Vec<(Expr, Expr)>> = on
            .iter()
            .map(|conjunct| equality(conjunct, width))
            .collect();
        match pairs {
            Some(pairs) => Ok(pairs.into_iter().unzip()),
            None => self.fail(refused(
                span,
                "it groups or limits its rows, and compares with the outer row by something else than `=`",
            )),
        }
    }

    /// An order over the inner columns alone.
    fn own_order(
        &mut self,
        order: Vec<SortExpr>,
        width: usize,
        span: Span,
    ) -> Result<Vec<SortExpr>, Failed> {
        let reads_outer = |sort: &SortExpr| {
            let columns = sort.expr.columns();
            columns.iter().any(|&column| is_outer(column, width))
        };
        if order.iter().any(reads_outer) {
            return self.fail(refused(
                span,
                "its ORDER BY reads a column of the outer row",
            ));
        }
        let own = order.into_iter().map(|sort| SortExpr {
            expr: sort.expr.clone().renumbered(&|column| column - width),
            ..sort
        });
        Ok(own.collect())
    }

    /// The rows of each key that a tail lets pass.
    fn first_of_each(
        &mut self,
        node: NodeId,
        partition: Vec<Expr>,
        order: Vec<SortExpr>,
        tail: &Tail<'_>,
        place: &Place<'_>,
    ) -> Result<NodeId, Failed> {
        if order.iter().any(|sort| sort.expr.is_volatile()) {
            return self.fail(changing_order(place.span));
        }
        let width = self.graph.nodes[node].columns.len();
        let (function, bounds) = tail.ranks();
        let (skip, last) = (bounds.skip, bounds.last);
        let kind = NodeKind::Rank {
            partition,
            order,
            function,
            bounds: RankBounds::ALL,
        };
        let path = &place.inner.path;
        let ranked = self.rank_node(node, kind, "limit", path, place.span);
        let number = |op: BinaryOp, bound: u64| Expr {
            kind: ExprKind::Binary {
                op,
                left: Box::new(Expr::column(width, DataType::Int64, place.span)),
                right: Box::new(Expr::literal(
                    Scalar::Int(i64::try_from(bound).unwrap_or(i64::MAX)),
                    DataType::Int64,
                    place.span,
                )),
            },
            data_type: DataType::Boolean,
            span: place.span,
        };
        let mut conjuncts = Vec::new();
        conjuncts.extend(last.map(|last| number(BinaryOp::LtEq, last)));
        if skip > 0 {
            if function != RankFunction::RowNumber {
                return self.fail(refused(place.span, "OFFSET before FETCH FIRST … WITH TIES"));
            }
            conjuncts.push(number(BinaryOp::Gt, skip));
        }
        Ok(self.filter(ranked, Expr::conjunction(conjuncts), path))
    }
}

/// Where the parts of a list are once its groups are joined behind the outer columns: keys, then calls.
struct Groups<'a> {
    width: usize,
    inner_width: usize,
    keys: &'a [Expr],
    calls: &'a [AggregateCall],
    /// Over no rows there is a row all the same.
    ungrouped: bool,
}

impl Groups<'_> {
    /// An expression over the joined groups; `None` if it reads an inner column that is no key.
    fn over(&self, expr: &Expr) -> Option<Expr> {
        let columns = expr.columns();
        let first_call = self.width + self.inner_width;
        let is_inner = |column: &usize| (self.width..first_call).contains(column);
        if !columns.is_empty() && columns.iter().all(is_inner) {
            let own = expr.clone().renumbered(&|column| column - self.width);
            if let Some(key) = self.keys.iter().position(|key| key.same(&own)) {
                return Some(Expr::column(
                    self.width + key,
                    expr.data_type.clone(),
                    expr.span,
                ));
            }
        }
        if let Some(column) = expr.as_column() {
            if is_outer(column, self.width) {
                return Some(expr.clone());
            }
            let call = column.checked_sub(first_call)?;
            let place = self.width + self.keys.len() + call;
            let value = Expr::column(place, expr.data_type.clone(), expr.span);
            if !(self.ungrouped && is_count(&self.calls[call].function)) {
                return Some(value);
            }
            let zero = Expr::literal(Scalar::Int(0), DataType::Int64, expr.span);
            return Some(Expr {
                kind: ExprKind::Function {
                    name: "coalesce".to_owned(),
                    arguments: vec![value, zero],
                },
                data_type: expr.data_type.clone(),
                span: expr.span,
            });
        }
        let mut expr = expr.clone();
        for child in expr.children_mut() {
            *child = self.over(child)?;
        }
        Some(expr)
    }
}

/// What is computed of a row that may be missing is NULL where it is; its columns are by themselves.
fn where_found(list: Vec<Expr>, kind: JoinKind, found: usize, width: usize) -> Vec<Expr> {
    if kind != JoinKind::Left {
        return list;
    }
    let kept = list.into_iter().map(|expr| {
        if expr.as_column().is_some_and(|column| column >= width) {
            return expr;
        }
        only_where(Expr::column(found, DataType::Boolean, expr.span), expr)
    });
    kept.collect()
}

fn references(columns: &[Column], span: Span) -> Vec<Expr> {
    let columns = columns.iter().enumerate();
    columns
        .map(|(place, column)| Expr::column(place, column.data_type.clone(), span))
        .collect()
}

fn truth(span: Span) -> Expr {
    Expr::literal(Scalar::Boolean(true), DataType::Boolean, span)
}
