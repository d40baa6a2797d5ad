//! One SELECT block: FROM, WHERE, GROUP BY, HAVING, SELECT, in that order.

use sqlparser::ast::{self, SelectItem, SelectItemQualifiedWildcardKind};
use weir_types::{Column, DataType, Diagnostic, Schema, Span};

use crate::codes;
use crate::logical::{AggregateCall, NodeId, column};
use crate::plan::{Changelog, Expr};
use crate::syntax::{Name, hint_of_select, span_of};

use super::expr::{Aggregates, ExprBinder};
use super::group::GroupKeys;
use super::join::Joined;
use super::query::{BoundQuery, Context, implied_name};
use super::scope::Scope;
use super::{Binder, Failed, Relation};

/// The SELECT list, bound over FROM's columns and aggregates.
struct Items {
    exprs: Vec<Expr>,
    columns: Schema,
}

impl Binder<'_> {
    /// Binds a SELECT block.
    pub(crate) fn select(
        &mut self,
        select: &ast::Select,
        context: &Context,
    ) -> Result<BoundQuery, Failed> {
        let context = match hint_of_select(select) {
            Some(hint) => context.at(self.local(&context.path, &hint)?),
            None => context.clone(),
        };
        let path = &context.path;
        let mut from = self.from(&select.from, &context)?;
        let (mut failed, mut conjuncts) = (false, std::mem::take(&mut from.conditions));
        if let Some(condition) = &select.selection {
            let mut binder = ExprBinder::new(
                &from.scope,
                Aggregates::NotIn("WHERE"),
                &mut self.diagnostics,
            );
            match binder.bind_condition(condition, "WHERE") {
                Ok(condition) => conjuncts.extend(condition.conjuncts()),
                Err(Failed) => failed = true,
            }
        }
        let keys = self.group_keys(select, &from.scope);
        let mut aggregates = Vec::new();
        let items = self.items(select, &from.scope, &mut aggregates);
        let having = self.having(select, &from.scope, &mut aggregates);
        if failed {
            return Err(Failed);
        }
        let (keys, items, having) = (keys?, items?, having?);
        let joined = if from.relations.is_empty() {
            let row = self.one_row(path, span_of(select))?;
            self.check_volatile(row, &conjuncts)?;
            Joined {
                node: self.filter(row, Expr::conjunction(conjuncts), path),
                stateful: false,
            }
        } else {
            self.joined(&from, conjuncts, path)?
        };
        let is_grouped = keys.is_some() || !aggregates.is_empty() || having.is_some();
        let (node, exprs) = if is_grouped {
            let keys = keys.unwrap_or(GroupKeys {
                keys: Vec::new(),
                sets: Vec::new(),
                span: span_of(select),
            });
            self.grouped(
                joined.node,
                &from.scope,
                keys,
                aggregates,
                having,
                &items.exprs,
                path,
            )?
        } else {
            (joined.node, items.exprs)
        };
        self.check_volatile(node, &exprs)?;
        let stateful = joined.stateful || is_grouped;
        let is_volatile = exprs.iter().any(|expr| expr.volatile_call().is_some());
        let top = self.project(node, exprs, items.columns.clone(), path, span_of(select));
        // Two readers of one random value have to read the same.
        self.graph.nodes[top].shared = is_volatile;
        let mut relation = Relation {
            node: top,
            columns: items.columns,
        };
        let is_distinct = matches!(select.distinct, Some(ast::Distinct::Distinct));
        if is_distinct {
            relation = self.distinct(&relation, "distinct", path, span_of(select))?;
        }
        Ok(BoundQuery {
            relation,
            stateful: stateful || is_distinct,
        })
    }

    // ------------------------------------------------------------------ SELECT list

    fn items(
        &mut self,
        select: &ast::Select,
        scope: &Scope,
        aggregates: &mut Vec<AggregateCall>,
    ) -> Result<Items, Failed> {
        let mut items = Items {
            exprs: Vec::new(),
            columns: Vec::new(),
        };
        let mut failed = false;
        for item in &select.projection {
            failed |= self.item(item, scope, aggregates, &mut items).is_err();
        }
        if failed { Err(Failed) } else { Ok(items) }
    }

    fn item(
        &mut self,
        item: &SelectItem,
        scope: &Scope,
        aggregates: &mut Vec<AggregateCall>,
        items: &mut Items,
    ) -> Result<(), Failed> {
        let span = span_of(item);
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                let mut binder = ExprBinder::new(
                    scope,
                    Aggregates::Collect(aggregates),
                    &mut self.diagnostics,
                );
                let bound = binder.bind(expr)?;
                let named = match item {
                    SelectItem::ExprWithAlias { alias, .. } => {
                        super::table::named_column(&Name::from_ident(alias), DataType::Null, true)
                    }
                    _ => self.implied_column(expr, &bound, scope, items.exprs.len()),
                };
                let nullable = bound
                    .as_column()
                    .and_then(|c| scope.columns.get(c))
                    .is_none_or(|c| c.nullable);
                items.columns.push(Column {
                    data_type: bound.data_type.clone(),
                    nullable,
                    ..named
                });
                items.exprs.push(bound);
                Ok(())
            }
            SelectItem::Wildcard(_) => {
                let reachable =
                    (0..scope.columns.len()).filter(|&index| !scope.columns[index].merged);
                self.expand(reachable.collect(), scope, span, items)
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let name = Name::from_object(name).or_else(|diagnostic| self.fail(diagnostic))?;
                let Some(relation) = scope.relations_called(&name.value).next() else {
                    let known = scope
                        .relations
                        .iter()
                        .filter_map(|relation| relation.alias.as_deref());
                    let near = super::nearest(&name.value, known).map(str::to_owned);
                    return self.fail(
                        Diagnostic::error(
                            codes::UNKNOWN_TABLE,
                            format!("no relation `{}` in FROM", name.spelling),
                        )
                        .at(name.span, "not in FROM")
                        .nearest(near),
                    );
                };
                let relation = &scope.relations[relation];
                let columns = (relation.first..relation.first + relation.width).collect();
                self.expand(columns, scope, span, items)
            }
            _ => self.fail(
                Diagnostic::error(codes::NOT_YET, "this kind of item is not there yet")
                    .at(span, "cannot be planned")
                    .help("name the columns one by one"),
            ),
        }
    }

    /// An item without alias: a column keeps the spelling of its declaration.
    fn implied_column(
        &self,
        expr: &ast::Expr,
        bound: &Expr,
        scope: &Scope,
        position: usize,
    ) -> Column {
        match bound.as_column().and_then(|index| scope.columns.get(index)) {
            Some(known) => {
                let external_name = known.external_name.clone();
                Column {
                    external_name,
                    ..column(known.name.clone(), known.data_type.clone())
                }
            }
            None => implied_name(expr, position),
        }
    }

    fn expand(
        &mut self,
        columns: Vec<usize>,
        scope: &Scope,
        span: Span,
        items: &mut Items,
    ) -> Result<(), Failed> {
        if columns.is_empty() {
            return self.fail(
                Diagnostic::error(codes::UNKNOWN_COLUMN, "`*` stands for no column here")
                    .at(span, "no columns"),
            );
        }
        for index in columns {
            let known = &scope.columns[index];
            items.exprs.push(scope.reference(index, span));
            items.columns.push(Column {
                name: known.name.clone(),
                data_type: known.data_type.clone(),
                nullable: known.nullable,
                external_name: known.external_name.clone(),
            });
        }
        Ok(())
    }

    fn having(
        &mut self,
        select: &ast::Select,
        scope: &Scope,
        aggregates: &mut Vec<AggregateCall>,
    ) -> Result<Option<Expr>, Failed> {
        let Some(condition) = &select.having else {
            return Ok(None);
        };
        let mut binder = ExprBinder::new(
            scope,
            Aggregates::Collect(aggregates),
            &mut self.diagnostics,
        );
        binder.bind_condition(condition, "HAVING").map(Some)
    }

    /// A volatile expression over rows that can be taken back is an error, over others worth a warning.
    pub(crate) fn check_volatile(&mut self, input: NodeId, exprs: &[Expr]) -> Result<(), Failed> {
        let changelog = self.properties(input).changelog;
        for expr in exprs {
            if changelog == Changelog::Retractions && expr.is_volatile() {
                let span = expr.volatile_call().map_or(expr.span, |(_, span)| span);
                return self.fail(volatile_over_retractions(span));
            }
            if let Some((name, span)) = expr.volatile_call() {
                let warning =
                    Diagnostic::warning(codes::VOLATILE, format!("`{name}` gives other values after a restore"))
                        .at(span, "not a function of its arguments")
                        .help("compute it from the data, e.g. md5 of a key, where results have to be the same");
                self.diagnostics.push(warning);
            }
        }
        Ok(())
    }
}

pub(super) fn volatile_over_retractions(span: Span) -> Diagnostic {
    Diagnostic::error(
        codes::VOLATILE_RETRACTIONS,
        "a retraction has to equal the row that it takes back",
    )
    .at(span, "this gives another value each time")
    .help("compute it below the GROUP BY or join, where rows are only inserted")
}
