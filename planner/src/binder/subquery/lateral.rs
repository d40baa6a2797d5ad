//! LATERAL: subqueries in FROM that read the relations before them.
//!
//! ```text
//!   a, LATERAL (SELECT a.x + 1 AS y) AS s                                          a column more
//!   a, LATERAL (VALUES (a.x), (a.y)) AS s (v)                                      a row for each: an UNNEST
//!   a, LATERAL (SELECT b.y FROM b WHERE b.k = a.k) AS s                            a join         ON a.k = b.k
//!   a, LATERAL (SELECT … FROM b WHERE b.k = a.k ORDER BY b.y LIMIT 3) AS s         ranked within k, and joined by it
//!   a, LATERAL (SELECT sum(b.y) AS y FROM b WHERE b.k = a.k) AS s                  grouped by k, and left-joined: no rows are a row too
//! ```
//!
//! What the subquery selects is computed above the join, so that it may read both sides; then the block goes on over all of it as
//! over one relation, whose names stay in sight.

use std::borrow::Cow;

use sqlparser::ast::{self, JoinConstraint, JoinOperator, SelectItem, SetExpr, TableFactor};
use weir_types::{Column, DataType, Diagnostic, Scalar, Schema, Span};

use crate::codes;
use crate::logical::{AggregateCall, NodeId, NodeKind, SortExpr};
use crate::names::quoted;
use crate::plan::{BinaryOp, Expr, ExprKind, JoinKind, RankFunction};
use crate::syntax::{Name, UnnestCall, span_of, unnest_call};

use super::super::expr::{Aggregates, ExprBinder};
use super::super::from::From;
use super::super::group::GroupKeys;
use super::super::query::{Context, implied_name};
use super::super::rank::{Tail, sort_expr};
use super::super::scope::Scope;
use super::super::{Binder, Failed, Relation};
use super::scalar::{equality, is_count, only_where};
use super::{CorrelatedRows, has_groups, is_outer};

/// A LATERAL subquery of FROM.
pub(in super::super) struct Lateral<'a> {
    subquery: &'a ast::Query,
    alias: &'a ast::TableAlias,
}

impl<'a> Lateral<'a> {
    /// The one that a relation of FROM is.
    pub(in super::super) fn of(factor: &'a TableFactor) -> Option<Self> {
        match factor {
            TableFactor::Derived {
                lateral: true,
                subquery,
                alias: Some(alias),
                ..
            } => Some(Self { subquery, alias }),
            _ => None,
        }
    }
}

/// How a subquery is bound, and how its rows meet those before it.
struct Place<'c> {
    name: Name,
    context: &'c Context,
    /// Where what it keeps is found.
    inner: Context,
    kind: JoinKind,
    /// What ON says of an inner join.
    on: Option<&'c ast::Expr>,
    span: Span,
}

/// A subquery's list over the outer columns, the inner ones and its aggregate calls.
struct List {
    exprs: Vec<Expr>,
    columns: Schema,
}

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

impl Binder<'_> {
    /// Binds a LATERAL subquery behind the relations before it. `join`: the join whose right side it is; none behind a comma.
    pub(in super::super) fn bind_lateral(
        &mut self,
        lateral: &Lateral<'_>,
        join: Option<&ast::Join>,
        context: &Context,
        from: &mut From,
    ) -> Result<(), Failed> {
        let name = Name::from_ident(&lateral.alias.name);
        let span = span_of(lateral.subquery);
        if from.scope.relations_called(&name.value).next().is_some() {
            let message = format!("`{}` stands twice in FROM", name.spelling);
            let problem = Diagnostic::error(codes::DUPLICATE_NAME, message);
            return self.fail(problem.at(name.span, "the second of that name"));
        }
        let (kind, on) = match join.map(|join| &join.join_operator) {
            None => (JoinKind::Inner, None),
            Some(operator) => match lateral_kind(operator) {
                Some(found) => found,
                None => {
                    return self.fail(refused(
                        span,
                        "LATERAL is joined by a comma, CROSS JOIN, JOIN … ON or LEFT JOIN … ON TRUE",
                    ));
                }
            },
        };
        let inner = context.at(self.local(&context.path, &name)?);
        let place = Place {
            name,
            context,
            inner,
            kind,
            on,
            span,
        };
        let (names, locals) = (self.names.clone(), self.locals.clone());
        let reported = self.diagnostics.len();
        match self.query(lateral.subquery, &place.inner) {
            Ok(bound) => {
                // It reads nothing of what stands before it.
                self.graph.nodes[bound.relation.node].shared |= bound.stateful;
                let relation = self.named_columns(bound.relation, lateral.alias)?;
                let role = format!("join({})", quoted(&place.name.value));
                let alias = place.name.value.clone();
                from.push(Some(alias.clone()), relation, alias, role, span);
                let on = match on {
                    Some(on) => self.condition(on, &from.scope)?,
                    None => Vec::new(),
                };
                from.join_last(kind, on);
                return Ok(());
            }
            Err(Failed) => {
                let found = &self.diagnostics[reported..];
                let refusal = [codes::UNKNOWN_COLUMN, codes::UNNEST_FORM];
                if !found
                    .iter()
                    .any(|found| refusal.iter().any(|code| found.code == *code))
                {
                    return Err(Failed);
                }
                (self.names, self.locals) = (names, locals);
                self.diagnostics.truncate(reported);
            }
        }
        self.correlated_lateral(lateral.subquery, lateral.alias, &place, from)
    }

    fn correlated_lateral(
        &mut self,
        query: &ast::Query,
        alias: &ast::TableAlias,
        place: &Place<'_>,
        from: &mut From,
    ) -> Result<(), Failed> {
        if query.with.is_some() {
            return self.fail(refused(place.span, "it has a WITH of its own"));
        }
        let tail = self.tail(query)?;
        match (query.body.as_ref(), &tail) {
            (SetExpr::Query(inner), None) => self.correlated_lateral(inner, alias, place, from),
            (SetExpr::Values(values), None) => {
                let rows: Vec<Vec<ast::Expr>> =
                    values.rows.iter().map(|row| row.content.clone()).collect();
                self.lateral_values(&rows, alias, place, from)
            }
            (SetExpr::Select(select), None) if select.from.is_empty() => {
                self.lateral_row(select, alias, place, from)
            }
            (SetExpr::Select(select), None) if is_of_elements(select) => {
                self.lateral_elements(select, alias, place, from)
            }
            (SetExpr::Select(select), tail) if !select.from.is_empty() => {
                self.lateral_rows(select, tail.as_ref(), alias, place, from)
            }
            _ => self.fail(refused(
                place.span,
                "it is a set operation, or limits rows that it does not read from a table",
            )),
        }
    }

    /// `LATERAL (SELECT a.x + 1 AS y)`: columns more.
    fn lateral_row(
        &mut self,
        select: &ast::Select,
        alias: &ast::TableAlias,
        place: &Place<'_>,
        from: &mut From,
    ) -> Result<(), Failed> {
        let width = from.scope.columns.len();
        let outer = Scope::nested(&from.scope, &Scope::default());
        let mut calls = Vec::new();
        let mut list = self.list(select, &outer, &mut calls)?;
        if !calls.is_empty()
            || has_groups(select)
            || select.having.is_some()
            || select.qualify.is_some()
        {
            return self.fail(refused(place.span, "it aggregates without reading a table"));
        }
        let mut conjuncts = Vec::new();
        if let Some(condition) = &select.selection {
            let condition = self.condition(condition, &outer)?;
            match place.kind {
                JoinKind::Left => {
                    let exprs = std::mem::take(&mut list.exprs);
                    let condition = Expr::conjunction(condition);
                    let kept = exprs.into_iter().map(|expr| match &condition {
                        Some(condition) => only_where(condition.clone(), expr),
                        None => expr,
                    });
                    list.exprs = kept.collect();
                }
                _ => conjuncts = condition,
            }
        }
        self.append(from, width, list, conjuncts, alias, place)
    }

    /// `LATERAL (VALUES (a.x), (a.y))`: the columns' arrays, side by side.
    fn lateral_values(
        &mut self,
        rows: &[Vec<ast::Expr>],
        alias: &ast::TableAlias,
        place: &Place<'_>,
        from: &mut From,
    ) -> Result<(), Failed> {
        let width = rows.first().map_or(0, Vec::len);
        if width == 0 || rows.iter().any(|row| row.len() != width) {
            return self.fail(
                Diagnostic::error(
                    codes::VALUES_FORM,
                    "rows of VALUES have as many values each",
                )
                .at(place.span, "these have not")
                .help("NULL fills a gap"),
            );
        }
        let column = |column: usize| {
            let elem = rows.iter().map(|row| row[column].clone()).collect();
            Cow::Owned(ast::Expr::Array(ast::Array { elem, named: true }))
        };
        let mut named = alias.clone();
        let given = named.columns.len();
        named.columns.extend((given..width).map(|place| {
            let name = ast::Ident::new(format!("column{}", place + 1));
            ast::TableAliasColumnDef {
                name,
                data_type: None,
            }
        }));
        let call = UnnestCall {
            arguments: (0..width).map(column).collect(),
            ordinality: false,
            alias: Some(&named),
            name: place.name.value.clone(),
            span: place.span,
        };
        // There is a row in any case: LEFT adds nothing.
        self.bind_unnest(&call, false, from)?;
        if let Some(on) = place.on {
            let on = self.condition(on, &from.scope)?;
            if let Some(relation) = from.relations.last_mut() {
                relation.on = on;
            }
        }
        Ok(())
    }

    /// `LATERAL (SELECT t.x + 1 AS y FROM UNNEST(a.xs) AS t (x) WHERE …)`: an UNNEST, and what is made of its elements.
    fn lateral_elements(
        &mut self,
        select: &ast::Select,
        alias: &ast::TableAlias,
        place: &Place<'_>,
        from: &mut From,
    ) -> Result<(), Failed> {
        let (width, outer) = (from.scope.columns.len(), from.scope.relations.len());
        if place.kind == JoinKind::Left {
            return self.fail(refused(
                place.span,
                "LEFT JOIN with a query over UNNEST; LEFT JOIN UNNEST(…) ON TRUE can be planned",
            ));
        }
        for tree in &select.from {
            let joined = tree.joins.iter().map(|join| &join.relation);
            for relation in std::iter::once(&tree.relation).chain(joined) {
                let Some(call) = unnest_call(relation) else {
                    return self.fail(refused(place.span, "it joins elements with a table"));
                };
                self.bind_unnest(&call, false, from)?;
            }
        }
        let mut scope = from.scope.clone();
        scope.outer = outer;
        let mut calls = Vec::new();
        let list = self.list(select, &scope, &mut calls)?;
        if !calls.is_empty()
            || has_groups(select)
            || select.having.is_some()
            || select.distinct.is_some()
            || select.qualify.is_some()
        {
            return self.fail(refused(place.span, "it aggregates the elements of an array; functions of arrays do: array_max, array_length and their like"));
        }
        let conjuncts = match &select.selection {
            Some(condition) => self.condition(condition, &scope)?,
            None => Vec::new(),
        };
        self.append(from, width, list, conjuncts, alias, place)
    }

    /// A subquery that reads tables, tied to the rows before it by its WHERE.
    fn lateral_rows(
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

    // ------------------------------------------------------------------ parts

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
            return self.fail(super::super::rank::changing_order(place.span));
        }
        let width = self.graph.nodes[node].columns.len();
        let (function, bounds) = tail.ranks();
        let (skip, last) = (bounds.skip, bounds.last);
        let kind = NodeKind::Rank {
            partition,
            order,
            function,
            bounds: crate::plan::RankBounds::ALL,
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

    /// The SELECT list over the outer columns and the inner ones.
    fn list(
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
                Some(alias) => super::super::table::named_column(
                    &Name::from_ident(alias),
                    DataType::Null,
                    true,
                ),
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
    fn lateral_order(
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

    fn condition(&mut self, condition: &ast::Expr, scope: &Scope) -> Result<Vec<Expr>, Failed> {
        let mut binder = ExprBinder::new(scope, Aggregates::NotIn("ON"), &mut self.diagnostics);
        Ok(binder.bind_condition(condition, "ON")?.conjuncts())
    }

    fn named_columns(
        &mut self,
        relation: Relation,
        alias: &ast::TableAlias,
    ) -> Result<Relation, Failed> {
        let columns = alias.columns.iter();
        let columns: Vec<Name> = columns
            .map(|column| Name::from_ident(&column.name))
            .collect();
        self.renamed(relation, &columns)
    }

    /// Joins all that FROM has so far and puts the list behind its first `width` columns, as one relation more.
    fn append(
        &mut self,
        from: &mut From,
        width: usize,
        list: List,
        conjuncts: Vec<Expr>,
        alias: &ast::TableAlias,
        place: &Place<'_>,
    ) -> Result<(), Failed> {
        let path = &place.context.path;
        let done = std::mem::take(from);
        let joined = self.joined(&done, conjuncts, path)?;
        let mut scope = done.scope;
        scope.truncate(width);
        let mut exprs: Vec<Expr> = (0..width)
            .map(|column| scope.reference(column, Span::default()))
            .collect();
        exprs.extend(list.exprs);
        self.check_volatile(joined.node, &exprs)?;
        let columns = self.named_columns(
            Relation {
                node: joined.node,
                columns: list.columns,
            },
            alias,
        )?;
        scope.push(Some(place.name.value.clone()), &columns.columns);
        let columns = scope.schema();
        let node = self.project(joined.node, exprs, columns.clone(), path, place.span);
        let on = match place.on {
            Some(on) => self.condition(on, &scope)?,
            None => Vec::new(),
        };
        let node = self.judged(node, Expr::conjunction(on), path, "now")?;
        from.stateful = done.stateful || joined.stateful;
        let name = done.relations.first();
        let name = name.map_or_else(String::new, |first| first.name.clone());
        from.push_scope(
            scope,
            Relation { node, columns },
            name,
            String::new(),
            place.span,
        );
        Ok(())
    }
}

/// The clauses of a subquery over the outer columns, the inner ones, and its aggregate calls.
struct Parts {
    list: List,
    calls: Vec<AggregateCall>,
    having: Option<Expr>,
    order: Vec<SortExpr>,
    is_distinct: bool,
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

/// Whether its rows are the elements of arrays.
fn is_of_elements(select: &ast::Select) -> bool {
    select
        .from
        .first()
        .is_some_and(|tree| unnest_call(&tree.relation).is_some())
}

/// The kind of a join with LATERAL, and what its ON says.
fn lateral_kind(operator: &JoinOperator) -> Option<(JoinKind, Option<&ast::Expr>)> {
    use JoinOperator as J;
    match operator {
        J::CrossJoin(JoinConstraint::None) => Some((JoinKind::Inner, None)),
        J::Join(JoinConstraint::On(on)) | J::Inner(JoinConstraint::On(on)) => {
            Some((JoinKind::Inner, Some(on)))
        }
        J::Left(JoinConstraint::On(on)) | J::LeftOuter(JoinConstraint::On(on)) if is_true(on) => {
            Some((JoinKind::Left, None))
        }
        _ => None,
    }
}

fn is_true(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Nested(inner) => is_true(inner),
        ast::Expr::Value(value) => matches!(value.value, ast::Value::Boolean(true)),
        _ => false,
    }
}

fn refused(span: Span, why: &str) -> Diagnostic {
    Diagnostic::error(
        codes::LATERAL_SHAPE,
        "a LATERAL subquery of this shape cannot be planned",
    )
    .at(span, why.to_owned())
    .help("LATERAL (SELECT … FROM b WHERE b.k = a.k [GROUP BY …] [ORDER BY … LIMIT n]) can be, and expressions of the outer row")
    .help("or write it as a subquery in FROM that does not read the outer row, and join it ON the column")
}
