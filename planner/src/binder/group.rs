//! GROUP BY: the keys of a block, and its other expressions in terms of keys and aggregates.
//!
//! An expression of SELECT or HAVING is first bound like any other, over the columns of FROM, with every aggregate call
//! as one more column. Then, from the top down, each part that equals a key becomes that key; what is left of FROM's
//! columns is a mistake. Nothing is added to the keys of the text, whatever depends on them.

use sqlparser::ast;
use weir_types::{Diagnostic, Span};

use crate::codes;
use crate::plan::{Expr, ExprKind};
use crate::syntax::{Name, span_of};

use super::expr::{Aggregates, ExprBinder};
use super::levels::is_literal;
use super::scope::Scope;
use super::subquery::has_aggregate;
use super::{Binder, Failed};

/// The keys of a block, over the columns of FROM, in the order of the text.
pub(crate) struct GroupKeys {
    pub(crate) keys: Vec<Expr>,
    /// For each grouping set which keys it has; none for the one set of all keys.
    pub(crate) sets: Vec<Vec<bool>>,
    pub(crate) span: Span,
}

/// Where an expression of the block finds its parts after the aggregate.
pub(crate) struct Grouped<'a> {
    pub(crate) scope: &'a Scope,
    /// Key expressions over the scope, and the output column that holds each.
    pub(crate) keys: Vec<(Expr, usize)>,
    /// For each aggregate call of the text what it is above the aggregate.
    pub(crate) calls: Vec<Expr>,
}

impl Binder<'_> {
    /// Binds GROUP BY: expressions, places in the SELECT list (`1`), names of SELECT items. A column of FROM wins over
    /// an item of the same name.
    pub(crate) fn group_keys(
        &mut self,
        select: &ast::Select,
        scope: &Scope,
    ) -> Result<Option<GroupKeys>, Failed> {
        let ast::GroupByExpr::Expressions(exprs, modifiers) = &select.group_by else {
            return self.all_items(select, scope);
        };
        if exprs.is_empty() {
            return Ok(None);
        }
        let (mut keys, mut failed) = (Vec::with_capacity(exprs.len()), false);
        let mut span = Span::default();
        let items = super::grouping::items_of(exprs, modifiers);
        // For each item its sets, as numbers of keys.
        let mut sets: Vec<Vec<Vec<usize>>> = Vec::with_capacity(items.len());
        for item in &items {
            span = span.union(super::grouping::item_span(item));
            let mut of_item = Vec::new();
            for set in super::grouping::sets_of(item) {
                let mut numbers = Vec::with_capacity(set.len());
                for expr in set {
                    match self.group_key(expr, select, scope) {
                        Ok(key) => {
                            let known = keys.iter().position(|known: &Expr| known.same(&key));
                            numbers.push(known.unwrap_or_else(|| {
                                keys.push(key);
                                keys.len() - 1
                            }));
                        }
                        Err(Failed) => failed = true,
                    }
                }
                of_item.push(numbers);
            }
            sets.push(of_item);
        }
        if failed {
            return Err(Failed);
        }
        let sets = self.combined_sets(&sets, keys.len(), span)?;
        Ok(Some(GroupKeys { keys, sets, span }))
    }

    /// GROUP BY ALL: every item of the SELECT list that neither aggregates nor is a literal.
    fn all_items(
        &mut self,
        select: &ast::Select,
        scope: &Scope,
    ) -> Result<Option<GroupKeys>, Failed> {
        let (mut keys, mut failed): (Vec<Expr>, bool) = (Vec::new(), false);
        let mut add = |key: Expr| {
            if !keys.iter().any(|known| known.same(&key)) {
                keys.push(key);
            }
        };
        for item in &select.projection {
            match item_expr(item) {
                Some(expr) if has_aggregate(expr) || is_literal(expr) => {}
                Some(expr) => match self.group_key(expr, select, scope) {
                    Ok(key) => add(key),
                    Err(Failed) => failed = true,
                },
                None => {
                    let span = span_of(item);
                    let reachable = (0..scope.columns.len()).filter(|&c| !scope.columns[c].merged);
                    reachable.for_each(|column| add(scope.reference(column, span)));
                }
            }
        }
        let span = span_of(select);
        let sets = Vec::new();
        match (failed, keys.is_empty()) {
            (true, _) => Err(Failed),
            (false, true) => Ok(None),
            (false, false) => Ok(Some(GroupKeys { keys, sets, span })),
        }
    }

    fn group_key(
        &mut self,
        expr: &ast::Expr,
        select: &ast::Select,
        scope: &Scope,
    ) -> Result<Expr, Failed> {
        let target = self.group_target(expr, select, scope)?;
        let mut binder =
            ExprBinder::new(scope, Aggregates::NotIn("GROUP BY"), &mut self.diagnostics);
        let key = binder.bind(target)?;
        if key
            .columns()
            .iter()
            .any(|&column| column >= scope.columns.len())
        {
            return self.fail(
                Diagnostic::error(
                    codes::SUBQUERY,
                    "a subquery cannot stand in a key of GROUP BY",
                )
                .at(
                    key.span.union(span_of(expr)),
                    "its value would have to be there before the groups",
                )
                .help("compute it in a subquery in FROM, and group by its column"),
            );
        }
        if key.is_volatile() {
            return self.fail(
                Diagnostic::error(
                    codes::VOLATILE_RETRACTIONS,
                    "a group is found by its key, which cannot change",
                )
                .at(key.span, "this gives another value each time")
                .help("group by a column of the data"),
            );
        }
        Ok(key)
    }

    /// The expression that a GROUP BY item stands for.
    fn group_target<'s>(
        &mut self,
        expr: &'s ast::Expr,
        select: &'s ast::Select,
        scope: &Scope,
    ) -> Result<&'s ast::Expr, Failed> {
        match expr {
            ast::Expr::Value(value) => {
                let ast::Value::Number(digits, _) = &value.value else {
                    return Ok(expr);
                };
                let item = digits
                    .parse::<usize>()
                    .ok()
                    .and_then(|place| select.projection.get(place.checked_sub(1)?));
                match item.and_then(item_expr) {
                    Some(target) => Ok(target),
                    None => {
                        let message =
                            format!("GROUP BY {digits} is not a place in the SELECT list");
                        self.fail(
                            Diagnostic::error(codes::UNKNOWN_COLUMN, message)
                                .at(
                                    span_of(expr),
                                    format!(
                                        "it has {}",
                                        super::counted(select.projection.len(), "item")
                                    ),
                                )
                                .help("name the column"),
                        )
                    }
                }
            }
            ast::Expr::Identifier(ident) => {
                if scope.resolve(std::slice::from_ref(ident)).is_ok() {
                    return Ok(expr);
                }
                let name = Name::from_ident(ident);
                let called = select.projection.iter().find_map(|item| match item {
                    ast::SelectItem::ExprWithAlias { expr, alias }
                        if Name::from_ident(alias).value == name.value =>
                    {
                        Some(expr)
                    }
                    _ => None,
                });
                Ok(called.unwrap_or(expr))
            }
            _ => Ok(expr),
        }
    }
}

fn item_expr(item: &ast::SelectItem) -> Option<&ast::Expr> {
    match item {
        ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr)
        }
        _ => None,
    }
}

impl Grouped<'_> {
    /// The expression over the aggregate's output columns.
    pub(crate) fn rewrite(
        &self,
        expr: &Expr,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Result<Expr, Failed> {
        if let Some((key, column)) = self.keys.iter().find(|(key, _)| key.same(expr)) {
            return Ok(Expr::column(*column, key.data_type.clone(), expr.span));
        }
        if let ExprKind::Column(index) = expr.kind {
            // Rows are numbered above the groups.
            if index >= super::rank::WINDOW_COLUMNS {
                return Ok(expr.clone());
            }
            if let Some(aggregate) = index.checked_sub(self.scope.columns.len()) {
                return Ok(self.calls[aggregate].clone());
            }
            diagnostics.push(self.not_grouped(index, expr.span));
            return Err(Failed);
        }
        let mut copy = expr.clone();
        let mut failed = false;
        for (part, original) in copy.children_mut().into_iter().zip(expr.children()) {
            match self.rewrite(original, diagnostics) {
                Ok(rewritten) => *part = rewritten,
                Err(Failed) => failed = true,
            }
        }
        if failed { Err(Failed) } else { Ok(copy) }
    }

    fn not_grouped(&self, column: usize, span: Span) -> Diagnostic {
        let name = &self.scope.columns[column].name;
        let diagnostic = Diagnostic::error(
            codes::NOT_GROUPED,
            format!("`{name}` is neither grouped by nor aggregated"),
        )
        .at(span, "which row of the group should it come from?");
        if self.keys.is_empty() {
            diagnostic
                .help(format!("add GROUP BY {name}"))
                .help(format!("or aggregate it, e.g. max({name})"))
        } else {
            diagnostic
                .help(format!("add {name} to GROUP BY"))
                .help(format!("or aggregate it, e.g. max({name})"))
        }
    }
}
