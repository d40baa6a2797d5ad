//! Correlated EXISTS and IN over groups: grouped by what ties them to the outer row as well, and joined by that.
//!
//! ```text
//!   WHERE EXISTS (SELECT 1 FROM i WHERE i.k = o.k GROUP BY i.g HAVING count(*) > 2)
//!     ─▶ o semi join (SELECT k FROM i GROUP BY k, g HAVING count(*) > 2) ON o.k = k
//! ```

use sqlparser::ast;
use weir_types::{Column, Diagnostic, Schema, Span};

use crate::codes;
use crate::plan::Expr;

use super::super::expr::{Aggregates, ExprBinder};
use super::super::from::From;
use super::super::group::GroupKeys;
use super::super::query::Context;
use super::super::{Binder, Failed, Relation};
use super::scalar::equality;
use super::{CorrelatedRows, Inner, only_item};

impl Binder<'_> {
    /// The groups of a correlated subquery, tied to the outer row by equalities alone. `value`: its item is compared with it.
    pub(super) fn correlated_groups(
        &mut self,
        select: &ast::Select,
        value: Option<&Expr>,
        from: &From,
        context: &Context,
        span: Span,
    ) -> Result<Inner, Failed> {
        let refused = |why: &str| {
            Diagnostic::error(
                codes::SUBQUERY_SHAPE,
                "a correlated subquery with groups is tied to the outer row by equalities alone",
            )
            .at(span, why.to_owned())
            .help("group in a subquery in FROM and join it")
        };
        if select.qualify.is_some() {
            return self.fail(refused("QUALIFY would rank the rows of each outer row"));
        }
        let width = from.scope.columns.len();
        let CorrelatedRows {
            inner, node, on, ..
        } = self.correlated_rows(select, &from.scope, context)?;
        let Some(GroupKeys { mut keys, sets, .. }) = self.group_keys(select, &inner.scope)? else {
            return self.fail(refused("it has a HAVING without GROUP BY"));
        };
        if !sets.is_empty() {
            return self.fail(refused("it has grouping sets"));
        }
        let mut tied = Vec::with_capacity(on.len());
        for conjunct in &on {
            match equality(conjunct, width) {
                Some(pair) => tied.push(pair),
                None => return self.fail(refused("it compares by something else than `=`")),
            }
        }
        for (_, inner) in &tied {
            if !keys.iter().any(|known| known.same(inner)) {
                keys.push(inner.clone());
            }
        }
        let mut calls = Vec::new();
        let mut binder = ExprBinder::new(
            &inner.scope,
            Aggregates::Collect(&mut calls),
            &mut self.diagnostics,
        );
        let having = match &select.having {
            Some(having) => Some(binder.bind_condition(having, "HAVING")?),
            None => None,
        };
        let mut wanted: Vec<Expr> = tied.iter().map(|(_, inner)| inner.clone()).collect();
        if value.is_some() {
            match only_item(select) {
                Some(item) => wanted.push(binder.bind(item)?),
                None => return self.one_column(&Vec::new(), span).and(Err(Failed)),
            }
        }
        let keys = GroupKeys { keys, sets, span };
        let path = &context.path;
        let (node, exprs) = self.grouped(node, &inner.scope, keys, calls, having, &wanted, path)?;
        let columns: Schema = exprs
            .iter()
            .enumerate()
            .map(|(i, expr)| Column::new(format!("value{i}"), expr.data_type.clone()))
            .collect();
        let node = self.project(node, exprs, columns.clone(), path, span);
        let mut on = Vec::with_capacity(columns.len());
        if let Some(value) = value {
            let item = tied.len();
            let item = Expr::column(width + item, columns[item].data_type.clone(), span);
            on.push(self.equal(value.clone(), item, span)?);
        }
        for (i, (outer, _)) in tied.into_iter().enumerate() {
            let key = Expr::column(width + i, columns[i].data_type.clone(), span);
            on.push(self.equal(outer, key, span)?);
        }
        Ok(Inner {
            relation: Relation { node, columns },
            on,
            stateful: true,
        })
    }
}
