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

mod list;
mod rows;

use std::borrow::Cow;

use sqlparser::ast::{self, JoinConstraint, JoinOperator, SetExpr, TableFactor};
use weir_types::{Diagnostic, Span};

use crate::codes;
use crate::names::quoted;
use crate::plan::{Expr, JoinKind};
use crate::syntax::{Name, UnnestCall, span_of, unnest_call};

use self::list::List;
use super::super::expr::{Aggregates, ExprBinder};
use super::super::from::From;
use super::super::query::Context;
use super::super::scope::Scope;
use super::super::{Binder, Failed, Relation};
use super::has_groups;
use super::scalar::only_where;

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
