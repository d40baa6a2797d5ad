//! One SELECT block: FROM, WHERE, GROUP BY, HAVING, SELECT, in that order.

use sqlparser::ast::{self, SelectItem, SelectItemQualifiedWildcardKind};
use weir_types::{Column, DataType, Diagnostic, Schema, Span};

use crate::codes;
use crate::logical::{AggregateCall, NodeId, SortExpr, column};
use crate::plan::{Changelog, Expr};
use crate::syntax::{Name, hint_of_select, span_of};

use super::expr::{Aggregates, ExprBinder};
use super::group::GroupKeys;
use super::join::Joined;
use super::query::{BoundQuery, Context, implied_name};
use super::rank::{Tail, WINDOW_COLUMNS, WindowCalls, without_aliases};
use super::scope::Scope;
use super::subquery::{Groups, hoisted};
use super::{Binder, Failed, Relation};

/// The SELECT list, bound over FROM's columns and aggregates.
struct Items {
    exprs: Vec<Expr>,
    columns: Schema,
}

impl Binder<'_> {
    /// Binds a SELECT block, and the ORDER BY … LIMIT behind it; what hints say of its state is noted.
    pub(super) fn select(
        &mut self,
        select: &ast::Select,
        context: &Context,
        tail: Option<&Tail<'_>>,
    ) -> Result<BoundQuery, Failed> {
        let first = self.graph.nodes.len();
        let bound = self.select_block(select, context, tail)?;
        self.note_ttls(select, first, &context.path)?;
        self.note_state_from(select, &context.path)?;
        Ok(bound)
    }

    fn select_block(
        &mut self,
        select: &ast::Select,
        context: &Context,
        tail: Option<&Tail<'_>>,
    ) -> Result<BoundQuery, Failed> {
        let context = match hint_of_select(select) {
            Some(hint) => context.at(self.local(&context.path, &hint)?),
            None => context.clone(),
        };
        let path = &context.path;
        let nodes_before = self.graph.nodes.len();
        if let Some(ast::Distinct::On(keys)) = &select.distinct {
            let span = keys.iter().map(span_of).reduce(|all, key| all.union(key));
            return self.fail(
                Diagnostic::error(
                    codes::DISTINCT,
                    "this DISTINCT ON does not say which rows stay",
                )
                .at(
                    span.unwrap_or_default(),
                    "a branch of a set operation has no ORDER BY of its own",
                )
                .help("put it in parentheses: (SELECT DISTINCT ON (k) … ORDER BY k, x DESC)"),
            );
        }
        let select = &hoisted(select);
        let mut from = self.from(&select.from, &context)?;
        let lifted = self.lift_subqueries(select, tail, &mut from, &context)?;
        let select = &lifted.select;
        let (mut failed, mut conjuncts) = (false, lifted.conjuncts);
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
        let (mut aggregates, mut windows) = (lifted.calls, WindowCalls::new(select));
        let items = self.items(select, &from.scope, &mut aggregates, &mut windows);
        let having = self.having(select, &from.scope, &mut aggregates);
        let qualify = self.qualify(select, &from.scope, &mut aggregates, &mut windows);
        if failed {
            return Err(Failed);
        }
        let (keys, items, having, qualify) = (keys?, items?, having?, qualify?);
        let order = match tail {
            Some(tail) => {
                let scope = &from.scope;
                self.block_order(tail, select, &items, scope, &mut aggregates, &mut windows)?
            }
            None => Vec::new(),
        };
        let joined = if from.relations.is_empty() {
            let row = self.one_row(path, span_of(select))?;
            Joined {
                node: self.judged(row, Expr::conjunction(conjuncts), path, "now")?,
                stateful: false,
            }
        } else {
            self.joined(&from, conjuncts, path)?
        };
        let is_grouped = keys.is_some() || !aggregates.is_empty() || having.is_some();
        // Everything that is computed behind the groups: items, ORDER BY, QUALIFY, what rows are ranked by.
        let (width, sorted) = (items.exprs.len(), order.len());
        let mut exprs = items.exprs;
        exprs.extend(order.iter().map(|sort| sort.expr.clone()));
        exprs.extend(qualify);
        let above = exprs.len();
        exprs.extend(windows.exprs());
        let (node, mut exprs) = if is_grouped {
            let keys = keys.unwrap_or(GroupKeys {
                keys: Vec::new(),
                sets: Vec::new(),
                span: span_of(select),
            });
            let groups = Groups {
                keys,
                aggregates,
                having,
                above: lifted.above,
            };
            self.groups(joined.node, &from.scope, groups, &exprs, path)?
        } else {
            (joined.node, exprs)
        };
        windows.take_exprs(exprs.split_off(above));
        let (node, numbers) = self.computed_over(node, &windows.calls, path)?;
        let number = |column: usize| match column.checked_sub(WINDOW_COLUMNS) {
            Some(call) => numbers[call],
            None => column,
        };
        let mut exprs: Vec<Expr> = exprs
            .into_iter()
            .map(|expr| expr.renumbered(&number))
            .collect();
        let qualify = Expr::conjunction(exprs.split_off(width + sorted));
        let node = self.judged(node, qualify, path, "qualify")?;
        self.check_volatile(node, &exprs)?;
        let stateful = joined.stateful
            || lifted.stateful
            || is_grouped
            || !numbers.is_empty()
            || tail.is_some()
            || self.follows_clock(nodes_before, path);
        let is_volatile = exprs.iter().any(|expr| expr.volatile_call().is_some());
        let mut columns = items.columns.clone();
        columns.extend(
            exprs[width..]
                .iter()
                .enumerate()
                .map(|(i, expr)| column(format!("order{i}"), expr.data_type.clone())),
        );
        let mut top = self.project(node, exprs, columns, path, span_of(select));
        if let Some(tail) = tail {
            self.graph.nodes[top].shared = is_volatile;
            top = self.limited_block(top, order, width, tail, &items.columns, path);
        }
        // Two readers of one random value have to read the same.
        self.graph.nodes[top].shared |= is_volatile;
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
        windows: &mut WindowCalls,
    ) -> Result<Items, Failed> {
        let mut items = Items {
            exprs: Vec::new(),
            columns: Vec::new(),
        };
        let mut failed = false;
        for item in &select.projection {
            failed |= self
                .item(item, scope, aggregates, windows, &mut items)
                .is_err();
        }
        if failed { Err(Failed) } else { Ok(items) }
    }

    fn item(
        &mut self,
        item: &SelectItem,
        scope: &Scope,
        aggregates: &mut Vec<AggregateCall>,
        windows: &mut WindowCalls,
        items: &mut Items,
    ) -> Result<(), Failed> {
        let span = span_of(item);
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                if let Some(problem) = super::unnest::rows_in_list(expr) {
                    return self.fail(problem);
                }
                let mut binder = ExprBinder::new(
                    scope,
                    Aggregates::Collect(aggregates),
                    &mut self.diagnostics,
                )
                .with_windows(windows);
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
                        .nearest(near)
                        .help("the fields of a row are named one by one: person.name, person.city"),
                    );
                };
                let columns = 0..scope.columns.len();
                let columns = columns.filter(|&column| scope.columns[column].relation == relation);
                self.expand(columns.collect(), scope, span, items)
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

    fn qualify(
        &mut self,
        select: &ast::Select,
        scope: &Scope,
        aggregates: &mut Vec<AggregateCall>,
        windows: &mut WindowCalls,
    ) -> Result<Option<Expr>, Failed> {
        let Some(condition) = &select.qualify else {
            return Ok(None);
        };
        let condition = without_aliases(condition, select, scope);
        let mut binder = ExprBinder::new(
            scope,
            Aggregates::Collect(aggregates),
            &mut self.diagnostics,
        )
        .with_windows(windows);
        let bound = binder.bind_condition(&condition, "QUALIFY")?;
        let is_window = |expr: &Expr| expr.as_column().is_some_and(|c| c >= WINDOW_COLUMNS);
        if !bound.any(&is_window) {
            return self.fail(
                Diagnostic::error(
                    codes::MISPLACED_WINDOW,
                    "QUALIFY keeps rows by a window function, and here is none",
                )
                .at(bound.span, "a condition on single rows or groups")
                .help("write WHERE, or HAVING behind GROUP BY"),
            );
        }
        Ok(Some(bound))
    }

    /// ORDER BY of a block: places and names of SELECT items, else expressions over FROM and the groups.
    fn block_order(
        &mut self,
        tail: &Tail<'_>,
        select: &ast::Select,
        items: &Items,
        scope: &Scope,
        aggregates: &mut Vec<AggregateCall>,
        windows: &mut WindowCalls,
    ) -> Result<Vec<SortExpr>, Failed> {
        let (mut order, mut failed) = (Vec::new(), false);
        for sort in tail.order {
            let named = match &sort.expr {
                ast::Expr::Identifier(ident) => {
                    let name = Name::from_ident(ident);
                    items
                        .columns
                        .iter()
                        .position(|column| column.name == name.value)
                }
                _ => None,
            };
            let bound = match self.place_in_result(&sort.expr, items.exprs.len()) {
                Ok(place) => match place.or(named) {
                    Some(place) => Ok(items.exprs[place].clone()),
                    None => {
                        let expr = without_aliases(&sort.expr, select, scope);
                        let aggregates = Aggregates::Collect(aggregates);
                        ExprBinder::new(scope, aggregates, &mut self.diagnostics)
                            .with_windows(windows)
                            .bind(&expr)
                    }
                },
                Err(Failed) => Err(Failed),
            };
            match bound {
                Ok(expr) => failed |= self.push_order(expr, sort, &mut order).is_err(),
                Err(Failed) => failed = true,
            }
        }
        if failed { Err(Failed) } else { Ok(order) }
    }

    /// ORDER BY … LIMIT over a block whose result is followed by what it is ordered by.
    fn limited_block(
        &mut self,
        input: NodeId,
        mut order: Vec<SortExpr>,
        width: usize,
        tail: &Tail<'_>,
        columns: &Schema,
        path: &crate::names::Path,
    ) -> NodeId {
        for (i, sort) in order.iter_mut().enumerate() {
            let (data_type, span) = (sort.expr.data_type.clone(), sort.expr.span);
            sort.expr = Expr::column(width + i, data_type, span);
        }
        let limited = self.limited(input, order, tail, path);
        self.first_columns(limited, columns, path)
    }

    /// The first columns of a node, under these names.
    pub(super) fn first_columns(
        &mut self,
        node: NodeId,
        columns: &Schema,
        path: &crate::names::Path,
    ) -> NodeId {
        let exprs = columns
            .iter()
            .enumerate()
            .map(|(i, column)| Expr::column(i, column.data_type.clone(), Span::default()));
        let (exprs, span) = (exprs.collect(), self.graph.nodes[node].span);
        self.project(node, exprs, columns.clone(), path, span)
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
