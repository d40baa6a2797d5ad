//! Subqueries in expressions: each becomes one more relation of the block's FROM, joined in a way that FROM cannot say.
//!
//! ```text
//!   WHERE EXISTS (SELECT … WHERE i.k = o.k)      semi join   exists(i)
//!   WHERE NOT EXISTS (…)                         anti join   exists(i)
//!   WHERE x IN (SELECT y …)                      semi join   in(i)        ON x = y
//!   WHERE x NOT IN (SELECT y …)                  anti join   in(i)        and, where NULLs can be, their counts: not_in(i)
//!   x > (SELECT avg(y) FROM i)                   join of one row          scalar(i)
//!   x > (SELECT avg(y) FROM i WHERE i.k = o.k)   left join of groups      scalar(i)   ON o.k = i.k
//! ```
//!
//! A subquery is bound by itself first. If it names a column that only the block around it has, it is *correlated*: then
//! its FROM is bound, and its WHERE over the columns of both; what touches the outer block is the condition of the join.
//!
//! A subquery anywhere else in WHERE, in the SELECT list and in HAVING is a value (`value.rs`); beside aggregates it is joined
//! above the groups (`above.rs`).
//!
//! # Invariants
//! 1. What an expression sees of a lifted subquery is a column of the scope that no name reaches.
//! 2. A subquery that might give two rows where one value is meant is an error of the plan, never of a row.

mod above;
mod groups;
mod hoist;
mod lateral;
mod nulls;
mod scalar;
mod value;
mod wording;

use sqlparser::ast;
use weir_types::{DataType, Diagnostic, Schema, Span};

use crate::codes;
use crate::convert::{CastKind, cast_to};
use crate::logical::{AggregateCall, NodeId};
use crate::names::quoted;
use crate::plan::{BinaryOp, Expr, ExprKind, JoinKind};
use crate::syntax::{Name, span_of};

use super::expr::{Aggregates, ExprBinder};
use super::from::{From, FromRelation};
use super::query::{BoundQuery, Context, common_type, implied_name};
use super::rank::Tail;
use super::scope::Scope;
use super::{Binder, Failed, Relation};

pub(super) use above::Groups;
pub(super) use hoist::hoisted;
pub(super) use lateral::Lateral;
pub(super) use wording::has_aggregate;
use wording::{Shape, for_exists, has_groups, is_grouped_block, only_item, plain_select, shape};

/// The number of the first column that is joined above the groups, as long as the block is bound.
pub(super) const LIFTED_COLUMNS: usize = 1 << 44;

/// The number of the first aggregate call of the block around a subquery, in an expression that the subquery reads.
const OUTER_CALLS: usize = 1 << 42;

/// Whether a column is one of the block around a subquery, which has `width` of them.
fn is_outer(column: usize, width: usize) -> bool {
    column < width || column >= OUTER_CALLS
}

/// A block without its subqueries.
pub(super) struct Lifted {
    /// The block, with placeholders where scalar subqueries were, and without the conjuncts that became joins.
    pub(super) select: ast::Select,
    /// Conjuncts that have to hold beside those of its WHERE.
    pub(super) conjuncts: Vec<Expr>,
    /// What is joined above the block's groups; their conditions read the scope's columns and `calls`.
    pub(super) above: Vec<FromRelation>,
    /// Aggregate calls of the block that are compared with subqueries.
    pub(super) calls: Vec<AggregateCall>,
    /// Whether one of them keeps state of its own.
    pub(super) stateful: bool,
    /// What is lifted now stands above the groups.
    is_above: bool,
}

/// FROM and WHERE of a correlated subquery.
struct CorrelatedRows {
    inner: From,
    /// The outer columns, then the inner ones.
    nested: Scope,
    node: NodeId,
    /// The conjuncts that touch the outer block, over both.
    on: Vec<Expr>,
    stateful: bool,
}

/// A subquery that was taken out of its place.
struct Inner {
    relation: Relation,
    /// Conjuncts over the outer columns, then the relation's.
    on: Vec<Expr>,
    stateful: bool,
}

impl Binder<'_> {
    /// Takes the subqueries out of a block's WHERE, SELECT list and HAVING.
    pub(super) fn lift_subqueries(
        &mut self,
        select: &ast::Select,
        tail: Option<&Tail<'_>>,
        from: &mut From,
        context: &Context,
    ) -> Result<Lifted, Failed> {
        let mut lifted = self.lift_where(select, from, context)?;
        let mut projection = std::mem::take(&mut lifted.select.projection);
        projection.iter_mut().for_each(named_by_its_item);
        let mut having = lifted.select.having.take();
        let mut exprs: Vec<(&mut ast::Expr, bool)> = projection
            .iter_mut()
            .filter_map(|item| match item {
                ast::SelectItem::UnnamedExpr(expr)
                | ast::SelectItem::ExprWithAlias { expr, .. } => Some((expr, false)),
                _ => None,
            })
            .chain(having.as_mut().map(|having| (having, true)))
            .collect();
        if is_grouped_block(select, tail.map_or(&[], |tail| tail.order)) {
            for (expr, _) in &mut exprs {
                self.lift_below_groups(expr, from, context, &mut lifted)?;
            }
            self.lift_above_groups(&mut exprs, from, context, &mut lifted)?;
        } else {
            for (expr, is_condition) in &mut exprs {
                self.lift_values(expr, *is_condition, from, context, &mut lifted)?;
            }
        }
        (lifted.select.projection, lifted.select.having) = (projection, having);
        Ok(lifted)
    }

    /// Lifts what is joined above the groups: over a scope of its own, whose further columns get numbers far behind.
    fn lift_above_groups(
        &mut self,
        exprs: &mut [(&mut ast::Expr, bool)],
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<(), Failed> {
        let mut above = From {
            scope: from.scope.clone(),
            ..From::default()
        };
        let (known, width) = (above.scope.lifted.len(), above.scope.columns.len());
        lifted.is_above = true;
        for (expr, is_condition) in exprs {
            self.lift_values(expr, *is_condition, &mut above, context, lifted)?;
        }
        lifted.is_above = false;
        let place = |column: usize| match column {
            call if call >= OUTER_CALLS => width + (call - OUTER_CALLS),
            column if column >= width => LIFTED_COLUMNS + (column - width),
            column => column,
        };
        let values = above.scope.lifted.drain(known..);
        from.scope
            .lifted
            .extend(values.map(|value| value.renumbered(&place)));
        for relation in &mut above.relations {
            let on = std::mem::take(&mut relation.on);
            relation.on = on.into_iter().map(|on| on.renumbered(&place)).collect();
        }
        lifted.above = above.relations;
        Ok(())
    }

    /// Takes the subqueries out of a block's WHERE.
    fn lift_where(
        &mut self,
        select: &ast::Select,
        from: &mut From,
        context: &Context,
    ) -> Result<Lifted, Failed> {
        let mut lifted = Lifted {
            select: select.clone(),
            conjuncts: Vec::new(),
            above: Vec::new(),
            calls: Vec::new(),
            stateful: false,
            is_above: false,
        };
        let Some(condition) = lifted.select.selection.take() else {
            return Ok(lifted);
        };
        let mut kept = Vec::new();
        let mut conjuncts = Vec::new();
        split(condition, &mut conjuncts);
        for conjunct in conjuncts {
            if let Some(mut kept_one) = self.lift_conjunct(conjunct, from, context, &mut lifted)? {
                self.lift_values(&mut kept_one, true, from, context, &mut lifted)?;
                kept.push(kept_one);
            }
        }
        lifted.select.selection = kept.into_iter().reduce(|left, right| ast::Expr::BinaryOp {
            left: Box::new(left),
            op: ast::BinaryOperator::And,
            right: Box::new(right),
        });
        Ok(lifted)
    }

    /// EXISTS and IN as a conjunct of WHERE become joins; anything else is given back.
    fn lift_conjunct(
        &mut self,
        conjunct: ast::Expr,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<Option<ast::Expr>, Failed> {
        let (plain, turned) = without_not(&conjunct);
        match plain {
            ast::Expr::Exists { subquery, negated } => {
                let subquery = &for_exists(subquery);
                if matches!(shape(subquery), Shape::One(_)) {
                    return Ok(Some(conjunct));
                }
                let span = span_of(subquery);
                let anti = *negated != turned;
                let inner = self.inner(subquery, None, from, context, span)?;
                lifted.stateful |= inner.stateful;
                let name = subquery_name(subquery);
                let role = format!("exists({})", quoted(&name));
                from.push(None, inner.relation, name, role, span);
                from.join_last(if anti { JoinKind::Anti } else { JoinKind::Semi }, inner.on);
                Ok(None)
            }
            ast::Expr::InSubquery {
                expr,
                subquery,
                negated,
            } => {
                let anti = *negated != turned;
                let joined = !matches!(shape(subquery), Shape::One(_))
                    && self.lift_in(expr, subquery, anti, from, context, lifted)?;
                Ok((!joined).then_some(conjunct))
            }
            _ => Ok(Some(conjunct)),
        }
    }

    /// `false`: nothing was joined, it has to be lifted as a value.
    fn lift_in(
        &mut self,
        value: &ast::Expr,
        subquery: &ast::Query,
        anti: bool,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<bool, Failed> {
        let span = span_of(value).union(span_of(subquery));
        let name = subquery_name(subquery);
        let mut value = value.clone();
        let untouched = (self.names.clone(), self.locals.clone());
        let is_plain = !has_subquery(&value);
        self.lift_values(&mut value, false, from, context, lifted)?;
        let mut binder = ExprBinder::new(
            &from.scope,
            Aggregates::NotIn("WHERE"),
            &mut self.diagnostics,
        );
        let value = binder.bind(&value)?;
        let mut inner = self.inner(subquery, Some(&value), from, context, span)?;
        if anti && inner.on.len() > 1 && is_plain && self.null_counts(&value, &mut inner, from) {
            // It is bound again, under the same names.
            (self.names, self.locals) = untouched;
            return Ok(false);
        }
        lifted.stateful |= inner.stateful;
        if anti && self.null_counts(&value, &mut inner, from) {
            if inner.on.len() > 1 {
                return self.fail(
                    Diagnostic::error(
                        codes::SUBQUERY_SHAPE,
                        "NOT IN over a correlated subquery needs values that cannot be NULL",
                    )
                    .at(span, "a NULL on either side makes the answer unknown")
                    .help("write NOT EXISTS (SELECT … WHERE inner.y = outer.x), which asks for equal rows alone")
                    .help("or declare both columns NOT NULL"),
                );
            }
            let condition = self.no_nulls(&value, &inner, &name, from, context, span);
            lifted.conjuncts.push(condition);
            lifted.stateful = true;
            // Its first column moved: the counts came in between.
            inner.on = self.equal_to_first(&value, &inner.relation, from, span)?;
        }
        let role = format!("in({})", quoted(&name));
        from.push(None, inner.relation, name, role, span);
        from.join_last(if anti { JoinKind::Anti } else { JoinKind::Semi }, inner.on);
        Ok(true)
    }

    /// Binds a subquery whose rows are looked for: by itself, or over the outer block's columns. `value`: its first
    /// column is compared with it.
    fn inner(
        &mut self,
        subquery: &ast::Query,
        value: Option<&Expr>,
        from: &From,
        context: &Context,
        span: Span,
    ) -> Result<Inner, Failed> {
        match self.uncorrelated(subquery, context)? {
            Some(bound) => {
                let on = match value {
                    None => Vec::new(),
                    Some(value) => {
                        self.one_column(&bound.relation.columns, span)?;
                        self.equal_to_first(value, &bound.relation, from, span)?
                    }
                };
                Ok(Inner {
                    relation: bound.relation,
                    on,
                    stateful: bound.stateful,
                })
            }
            None => self.correlated(subquery, value, from, context, span),
        }
    }

    /// The subquery by itself; `None` if it names a column that it does not have.
    fn uncorrelated(
        &mut self,
        subquery: &ast::Query,
        context: &Context,
    ) -> Result<Option<BoundQuery>, Failed> {
        let (names, locals) = (self.names.clone(), self.locals.clone());
        let reported = self.diagnostics.len();
        let bound = self.query(subquery, context);
        match bound {
            Ok(bound) => Ok(Some(bound)),
            Err(Failed) => {
                let reaches_out = self.diagnostics[reported..]
                    .iter()
                    .any(|found| found.code == codes::UNKNOWN_COLUMN);
                if !reaches_out {
                    return Err(Failed);
                }
                if plain_select(subquery).is_none() {
                    self.diagnostics.push(
                        Diagnostic::error(
                            codes::SUBQUERY_SHAPE,
                            "a correlated subquery with WITH, a set operation, ORDER BY or LIMIT cannot be planned",
                        )
                        .at(span_of(subquery), "a column in it could be one of the query around it only")
                        .help("write it as a subquery in FROM that does not read the outer row, and join it ON the column"),
                    );
                    return Err(Failed);
                }
                // What it reads stays bound; its names are given anew.
                (self.names, self.locals) = (names, locals);
                self.diagnostics.truncate(reported);
                Ok(None)
            }
        }
    }

    /// FROM and WHERE of a correlated subquery: its rows, and the conjuncts that touch the outer block.
    fn correlated_rows(
        &mut self,
        select: &ast::Select,
        outer: &Scope,
        context: &Context,
    ) -> Result<CorrelatedRows, Failed> {
        let select = &hoisted(select);
        let mut inner = self.from(&select.from, context)?;
        let lifted = self.lift_where(select, &mut inner, context)?;
        let nested = Scope::nested(outer, &inner.scope);
        let width = outer.columns.len();
        let (mut local, mut on) = (lifted.conjuncts, Vec::new());
        if let Some(condition) = &lifted.select.selection {
            let mut binder =
                ExprBinder::new(&nested, Aggregates::NotIn("WHERE"), &mut self.diagnostics);
            for conjunct in binder.bind_condition(condition, "WHERE")?.conjuncts() {
                if conjunct.any(&|part| part.as_column().is_some_and(|c| is_outer(c, width))) {
                    on.push(conjunct);
                } else {
                    local.push(conjunct.renumbered(&|column| column - width));
                }
            }
        }
        let joined = self.joined(&inner, local, &context.path)?;
        let stateful = joined.stateful || lifted.stateful;
        Ok(CorrelatedRows {
            inner,
            nested,
            node: joined.node,
            on,
            stateful,
        })
    }

    fn correlated(
        &mut self,
        subquery: &ast::Query,
        value: Option<&Expr>,
        from: &From,
        context: &Context,
        span: Span,
    ) -> Result<Inner, Failed> {
        let Some(select) = plain_select(subquery) else {
            return Err(Failed);
        };
        if has_groups(select) || select.having.is_some() || select.qualify.is_some() {
            return self.correlated_groups(select, value, from, context, span);
        }
        let CorrelatedRows {
            inner,
            nested,
            node,
            mut on,
            stateful,
        } = self.correlated_rows(select, &from.scope, context)?;
        if let Some(value) = value {
            let Some(item) = only_item(select) else {
                return self.one_column(&Vec::new(), span).and(Err(Failed));
            };
            let mut binder =
                ExprBinder::new(&nested, Aggregates::NotIn("IN"), &mut self.diagnostics);
            let item = binder.bind(item)?;
            on.insert(0, self.equal(value.clone(), item, span)?);
        }
        let columns = inner.scope.schema();
        Ok(Inner {
            relation: Relation { node, columns },
            on,
            stateful,
        })
    }

    fn one_column(&mut self, columns: &Schema, span: Span) -> Result<(), Failed> {
        if columns.len() == 1 {
            return Ok(());
        }
        self.fail(
            Diagnostic::error(
                codes::SUBQUERY_SHAPE,
                "this subquery has to give one column",
            )
            .at(
                span,
                format!("it gives {}", super::counted(columns.len(), "column")),
            )
            .help("select the one column that is compared"),
        )
    }

    fn equal_to_first(
        &mut self,
        value: &Expr,
        relation: &Relation,
        from: &From,
        span: Span,
    ) -> Result<Vec<Expr>, Failed> {
        let first = from.scope.columns.len();
        let item = Expr::column(first, relation.columns[0].data_type.clone(), span);
        Ok(vec![self.equal(value.clone(), item, span)?])
    }

    /// An equality, at the type that both fit into.
    fn equal(&mut self, left: Expr, right: Expr, span: Span) -> Result<Expr, Failed> {
        let Some(common) = common_type(&left.data_type, &right.data_type) else {
            return self.fail(
                Diagnostic::error(
                    codes::TYPE_MISMATCH,
                    "the two sides of IN have different types",
                )
                .at(span, format!("{} and {}", left.data_type, right.data_type))
                .help("CAST(… AS type) makes them fit, where a cast is meant"),
            );
        };
        let left = Box::new(cast_to(left, common.clone(), CastKind::Fails, span));
        let right = Box::new(cast_to(right, common, CastKind::Fails, span));
        let op = BinaryOp::Eq;
        Ok(boolean(ExprKind::Binary { op, left, right }, span))
    }
}

/// A subquery as an item without an alias is called like the one item of its own, before a placeholder stands for it.
fn named_by_its_item(item: &mut ast::SelectItem) {
    let ast::SelectItem::UnnamedExpr(expr) = item else {
        return;
    };
    let ast::Expr::Subquery(subquery) = &*expr else {
        return;
    };
    let only = match subquery.body.as_ref() {
        ast::SetExpr::Select(select) => match select.projection.as_slice() {
            [ast::SelectItem::UnnamedExpr(only)] => Some(implied_name(only, usize::MAX - 1).name),
            [ast::SelectItem::ExprWithAlias { alias, .. }] => Some(Name::from_ident(alias).value),
            _ => None,
        },
        _ => None,
    };
    // Without a name of its own it is called by its place, as any expression.
    let name = only.filter(|name| !name.starts_with("column"));
    *item = match name {
        Some(name) => ast::SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias: ast::Ident::with_quote('"', name),
        },
        None => ast::SelectItem::UnnamedExpr(ast::Expr::Nested(Box::new(expr.clone()))),
    };
}

fn boolean(kind: ExprKind, span: Span) -> Expr {
    Expr {
        kind,
        data_type: DataType::Boolean,
        span,
    }
}

/// The conjuncts of a condition's text.
fn split(expr: ast::Expr, conjuncts: &mut Vec<ast::Expr>) {
    match expr {
        ast::Expr::BinaryOp {
            left,
            op: ast::BinaryOperator::And,
            right,
        } => {
            split(*left, conjuncts);
            split(*right, conjuncts);
        }
        ast::Expr::Nested(inner)
            if matches!(
                *inner,
                ast::Expr::BinaryOp {
                    op: ast::BinaryOperator::And,
                    ..
                }
            ) =>
        {
            split(*inner, conjuncts);
        }
        other => conjuncts.push(other),
    }
}

/// The expression without the NOTs and parentheses around it, and whether they turn it round.
fn without_not(expr: &ast::Expr) -> (&ast::Expr, bool) {
    match expr {
        ast::Expr::Nested(inner) => without_not(inner),
        ast::Expr::UnaryOp {
            op: ast::UnaryOperator::Not,
            expr,
        } => {
            let (inner, turned) = without_not(expr);
            (inner, !turned)
        }
        other => (other, false),
    }
}

/// Whether a subquery stands in the expression.
fn has_subquery(expr: &ast::Expr) -> bool {
    fn found(expr: &mut ast::Expr) -> bool {
        match expr {
            ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => {
                true
            }
            ast::Expr::AnyOp { right, .. } | ast::Expr::AllOp { right, .. }
                if matches!(right.as_ref(), ast::Expr::Subquery(_)) =>
            {
                true
            }
            expr => wording::parts_mut(expr).into_iter().any(found),
        }
    }
    found(&mut expr.clone())
}

/// What a subquery is called: its first relation's alias or name.
fn subquery_name(query: &ast::Query) -> String {
    let mut body = query.body.as_ref();
    while let ast::SetExpr::SetOperation { left, .. } = body {
        body = left;
    }
    let factor = match body {
        ast::SetExpr::Select(select) => select.from.first().map(|tree| &tree.relation),
        _ => None,
    };
    let name = match factor {
        Some(
            ast::TableFactor::Table {
                alias: Some(alias), ..
            }
            | ast::TableFactor::Derived {
                alias: Some(alias), ..
            },
        ) => Some(Name::from_ident(&alias.name)),
        Some(ast::TableFactor::Table { name, .. }) => Name::from_object(name).ok(),
        _ => None,
    };
    name.map_or_else(|| "subquery".to_owned(), |name| name.value)
}
