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
//! # Invariants
//! 1. What an expression sees of a lifted subquery is a column of the scope that no name reaches.
//! 2. A subquery that might give two rows where one value is meant is an error of the plan, never of a row.

mod nulls;
mod scalar;

use sqlparser::ast;
use weir_types::{DataType, Diagnostic, Schema, Span};

use crate::codes;
use crate::convert::{CastKind, cast_to};
use crate::logical::NodeId;
use crate::names::quoted;
use crate::plan::{BinaryOp, Expr, ExprKind, JoinKind};
use crate::syntax::{Name, span_of};

use super::expr::{Aggregates, ExprBinder};
use super::from::From;
use super::query::{BoundQuery, Context, common_type};
use super::scope::Scope;
use super::{Binder, Failed, Relation};

/// A block without its subqueries.
pub(super) struct Lifted {
    /// The block, with placeholders where scalar subqueries were, and without the conjuncts that became joins.
    pub(super) select: ast::Select,
    /// Conjuncts that have to hold beside those of its WHERE.
    pub(super) conjuncts: Vec<Expr>,
    /// A scalar subquery that stands in the SELECT list or HAVING.
    pub(super) in_list: Option<Span>,
    /// Whether one of them keeps state of its own.
    pub(super) stateful: bool,
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
        from: &mut From,
        context: &Context,
    ) -> Result<Lifted, Failed> {
        let mut lifted = Lifted {
            select: select.clone(),
            conjuncts: Vec::new(),
            in_list: None,
            stateful: false,
        };
        if let Some(condition) = lifted.select.selection.take() {
            let mut kept = Vec::new();
            let mut conjuncts = Vec::new();
            split(condition, &mut conjuncts);
            for conjunct in conjuncts {
                if let Some(mut kept_one) =
                    self.lift_conjunct(conjunct, from, context, &mut lifted)?
                {
                    self.lift_scalars(&mut kept_one, from, context, &mut lifted)?;
                    kept.push(kept_one);
                }
            }
            lifted.select.selection = kept.into_iter().reduce(|left, right| ast::Expr::BinaryOp {
                left: Box::new(left),
                op: ast::BinaryOperator::And,
                right: Box::new(right),
            });
        }
        let mut projection = std::mem::take(&mut lifted.select.projection);
        for item in &mut projection {
            if let ast::SelectItem::UnnamedExpr(expr)
            | ast::SelectItem::ExprWithAlias { expr, .. } = item
            {
                let before = from.scope.lifted.len();
                let span = span_of(&*expr);
                self.lift_scalars(expr, from, context, &mut lifted)?;
                if from.scope.lifted.len() > before {
                    lifted.in_list = Some(span);
                }
            }
        }
        lifted.select.projection = projection;
        if let Some(mut having) = lifted.select.having.take() {
            let before = from.scope.lifted.len();
            let span = span_of(&having);
            self.lift_scalars(&mut having, from, context, &mut lifted)?;
            if from.scope.lifted.len() > before {
                lifted.in_list = Some(span);
            }
            lifted.select.having = Some(having);
        }
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
                let span = span_of(&**subquery);
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
                self.lift_in(expr, subquery, anti, from, context, lifted)?;
                Ok(None)
            }
            _ => Ok(Some(conjunct)),
        }
    }

    fn lift_in(
        &mut self,
        value: &ast::Expr,
        subquery: &ast::Query,
        anti: bool,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<(), Failed> {
        let span = span_of(value).union(span_of(subquery));
        let name = subquery_name(subquery);
        let mut value = value.clone();
        self.lift_scalars(&mut value, from, context, lifted)?;
        let mut binder = ExprBinder::new(
            &from.scope,
            Aggregates::NotIn("WHERE"),
            &mut self.diagnostics,
        );
        let value = binder.bind(&value)?;
        let mut inner = self.inner(subquery, Some(&value), from, context, span)?;
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
        Ok(())
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
                if !reaches_out || plain_select(subquery).is_none() {
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
    ) -> Result<(From, Scope, NodeId, Vec<Expr>, bool), Failed> {
        let mut inner = self.from(&select.from, context)?;
        let lifted = self.lift_subqueries(select, &mut inner, context)?;
        let nested = Scope::nested(outer, &inner.scope);
        let width = outer.columns.len();
        let (mut local, mut on) = (lifted.conjuncts, Vec::new());
        if let Some(condition) = &lifted.select.selection {
            let mut binder =
                ExprBinder::new(&nested, Aggregates::NotIn("WHERE"), &mut self.diagnostics);
            for conjunct in binder.bind_condition(condition, "WHERE")?.conjuncts() {
                if conjunct.columns().iter().any(|&column| column < width) {
                    on.push(conjunct);
                } else {
                    local.push(conjunct.renumbered(&|column| column - width));
                }
            }
        }
        let joined = self.joined(&inner, local, &context.path)?;
        let stateful = joined.stateful || lifted.stateful;
        Ok((inner, nested, joined.node, on, stateful))
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
        if is_grouped(select) {
            return self.fail(
                Diagnostic::error(
                    codes::SUBQUERY_SHAPE,
                    "a correlated subquery with GROUP BY, HAVING or DISTINCT is not there yet",
                )
                .at(span, "it reads a column of the query around it")
                .help("group in a subquery in FROM and join it"),
            );
        }
        let (inner, nested, node, mut on, stateful) =
            self.correlated_rows(select, &from.scope, context)?;
        if let Some(value) = value {
            let [
                ast::SelectItem::UnnamedExpr(item)
                | ast::SelectItem::ExprWithAlias { expr: item, .. },
            ] = select.projection.as_slice()
            else {
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

/// The only block of a query without WITH, set operations, ORDER BY and LIMIT.
fn plain_select(query: &ast::Query) -> Option<&ast::Select> {
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none();
    match query.body.as_ref() {
        ast::SetExpr::Select(select) if plain => Some(select),
        _ => None,
    }
}

fn is_grouped(select: &ast::Select) -> bool {
    let grouped = match &select.group_by {
        ast::GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
        ast::GroupByExpr::All(_) => true,
    };
    grouped || select.having.is_some() || select.distinct.is_some() || select.qualify.is_some()
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
