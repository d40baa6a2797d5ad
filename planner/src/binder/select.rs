//! One SELECT block: FROM, WHERE, GROUP BY, HAVING, SELECT, in that order.

use sqlparser::ast::{self, SelectItem, SelectItemQualifiedWildcardKind};
use weir_types::{Column, DataType, Diagnostic, Schema, Span};

use crate::codes;
use crate::logical::{AggregateCall, Node, NodeId, NodeKind, Properties, column};
use crate::names::Path;
use crate::plan::{Changelog, Expr, GroupColumn, WindowColumns};
use crate::syntax::{Name, hint_of_select, span_of};

use super::expr::{Aggregates, ExprBinder};
use super::group::{GroupKeys, Grouped};
use super::query::{BoundQuery, Context, implied_name};
use super::scope::Scope;
use super::windowed::{Windowed, WindowedKey};
use super::{Binder, Failed, Relation};

/// The SELECT list, bound over FROM's columns and aggregates.
struct Items {
    exprs: Vec<Expr>,
    columns: Schema,
}

/// An aggregate node, and how the block's expressions find their parts in it.
struct Aggregated {
    node: NodeId,
    /// For each key of the text the output column that holds it.
    key_columns: Vec<usize>,
    /// Further columns of FROM that the output holds: those of the window.
    further: Vec<(usize, usize)>,
    first_aggregate: usize,
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
        if from.relations.is_empty() {
            return self.fail(
                Diagnostic::error(codes::NOT_YET, "a SELECT without FROM is not there yet")
                    .at(span_of(select), "nothing to read")
                    .help("read a table; 'connector' = 'datagen' makes rows"),
            );
        }
        let joined = self.joined(&from, conjuncts, path)?;
        let is_grouped = keys.is_some() || !aggregates.is_empty() || having.is_some();
        let (node, exprs) = if is_grouped {
            let keys = keys.unwrap_or(GroupKeys {
                keys: Vec::new(),
                span: span_of(select),
            });
            self.grouped(
                joined.node,
                &from.scope,
                keys,
                aggregates,
                having,
                &items,
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
        Ok(BoundQuery {
            relation: Relation {
                node: top,
                columns: items.columns,
            },
            stateful,
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

    // ------------------------------------------------------------------ GROUP BY

    /// The aggregate and HAVING, and the SELECT list over their columns.
    #[expect(clippy::too_many_arguments, reason = "the clauses of one block")]
    fn grouped(
        &mut self,
        input: NodeId,
        scope: &Scope,
        keys: GroupKeys,
        aggregates: Vec<AggregateCall>,
        having: Option<Expr>,
        items: &Items,
        path: &Path,
    ) -> Result<(NodeId, Vec<Expr>), Failed> {
        let span = keys.span;
        let aggregated = match self.windowed(input, &keys, &aggregates, path)? {
            Some(windowed) => self.window_aggregate(windowed, span, path)?,
            None => self.aggregate(input, &keys, &aggregates, span, path)?,
        };
        let mut known: Vec<(Expr, usize)> = keys
            .keys
            .iter()
            .cloned()
            .zip(aggregated.key_columns.iter().copied())
            .collect();
        let further = aggregated.further.iter();
        known.extend(
            further.map(|&(column, output)| (scope.reference(column, Span::default()), output)),
        );
        // The aggregate groups by what the text says, no more and no less.
        assert_eq!(
            aggregated.key_columns.len(),
            keys.keys.len(),
            "one output column for each key of the text"
        );
        let first_aggregate = aggregated.first_aggregate;
        let grouped = Grouped {
            scope,
            aggregates: &aggregates,
            keys: known,
            first_aggregate,
        };
        let (mut exprs, mut failed) = (Vec::with_capacity(items.exprs.len()), false);
        for item in &items.exprs {
            match grouped.rewrite(item, &mut self.diagnostics) {
                Ok(expr) => exprs.push(expr),
                Err(Failed) => failed = true,
            }
        }
        let having = having
            .map(|having| grouped.rewrite(&having, &mut self.diagnostics))
            .transpose();
        if failed {
            return Err(Failed);
        }
        let having = having?;
        self.check_volatile(aggregated.node, having.as_slice())?;
        Ok((self.filter(aggregated.node, having, path), exprs))
    }

    fn aggregate(
        &mut self,
        input: NodeId,
        keys: &GroupKeys,
        aggregates: &[AggregateCall],
        span: Span,
        path: &Path,
    ) -> Result<Aggregated, Failed> {
        let changelog = self.properties(input).changelog;
        self.check_aggregates(aggregates, changelog)?;
        let id = self.take_id(path, "aggregate", span);
        let columns = aggregate_columns(&keys.keys, &[], &DataType::Null, aggregates);
        let key_columns: Vec<usize> = (0..keys.keys.len()).collect();
        let properties = Properties {
            unique_key: Some(key_columns.clone()),
            ..Properties::of(Changelog::Retractions)
        };
        let kind = NodeKind::Aggregate {
            window: None,
            keys: keys.keys.clone(),
            group_columns: Vec::new(),
            aggregates: aggregates.to_vec(),
        };
        let (inputs, path, id) = (vec![input], path.clone(), Some(id));
        let node = self.add(Node {
            kind,
            inputs,
            columns,
            properties,
            path,
            id,
            shared: false,
            span,
        });
        Ok(Aggregated {
            node,
            first_aggregate: key_columns.len(),
            key_columns,
            further: Vec::new(),
        })
    }

    fn window_aggregate(
        &mut self,
        windowed: Windowed,
        span: Span,
        path: &Path,
    ) -> Result<Aggregated, Failed> {
        let changelog = self.properties(windowed.input).changelog;
        self.check_aggregates(&windowed.aggregates, changelog)?;
        if changelog == Changelog::Retractions {
            return self.fail(
                Diagnostic::error(
                    codes::NOT_YET,
                    "a window over rows that can be taken back is not there yet",
                )
                .at(span, "the result of a window is final")
                .help("group without the window's columns: the result then follows its input"),
            );
        }
        let id = self.take_id(path, "aggregate", span);
        // All three columns of the window are there for the block: they cost no state.
        let group_columns = vec![
            GroupColumn::WindowStart,
            GroupColumn::WindowEnd,
            GroupColumn::WindowTime,
        ];
        let width = windowed.keys.len();
        let place = |column: GroupColumn| match column {
            GroupColumn::Key(key) => key,
            GroupColumn::WindowStart => width,
            GroupColumn::WindowEnd => width + 1,
            GroupColumn::WindowTime => width + 2,
        };
        let key_columns: Vec<usize> = windowed
            .of_key
            .iter()
            .map(|key| match key {
                WindowedKey::Other(key) => *key,
                WindowedKey::Window(column) => place(*column),
            })
            .collect();
        let of_window = windowed.window_columns.iter().enumerate();
        let further = of_window
            .filter_map(|(column, which)| Some((column, place((*which)?))))
            .collect();
        let time_type = self.graph.nodes[windowed.input].columns[windowed.time]
            .data_type
            .clone();
        let columns = aggregate_columns(
            &windowed.keys,
            &group_columns,
            &time_type,
            &windowed.aggregates,
        );
        let properties = Properties {
            unique_key: Some((0..=width).collect()),
            event_time: Some(width + 2),
            window: Some(WindowColumns {
                start: Some(width),
                end: Some(width + 1),
            }),
            ..Properties::of(Changelog::AppendOnly)
        };
        let first_aggregate = width + group_columns.len();
        let kind = NodeKind::Aggregate {
            window: Some((windowed.window, windowed.time)),
            keys: windowed.keys,
            group_columns,
            aggregates: windowed.aggregates,
        };
        let (inputs, id) = (vec![windowed.input], Some(id));
        let node = self.add(Node {
            kind,
            inputs,
            columns,
            properties,
            path: path.clone(),
            id,
            shared: false,
            span,
        });
        let above = windowed
            .above
            .into_iter()
            .map(|condition| condition.renumbered(&|column| column + width));
        let node = self.filter(node, Expr::conjunction(above), path);
        Ok(Aggregated {
            node,
            key_columns,
            further,
            first_aggregate,
        })
    }

    /// What a kernel cannot take back, and what would not be the same when it is taken back.
    fn check_aggregates(
        &mut self,
        aggregates: &[AggregateCall],
        changelog: Changelog,
    ) -> Result<(), Failed> {
        let mut failed = false;
        for call in aggregates {
            if changelog == Changelog::Retractions
                && matches!(call.function.as_str(), "min" | "max")
            {
                let function = &call.function;
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::MINMAX_RETRACTIONS,
                        format!("`{function}` over rows that can be taken back is not there yet"),
                    )
                    .at(call.span, "when the extreme row goes, the next one would have to be known")
                    .help(format!("take {function} over rows that are only inserted, e.g. directly over a table"))
                    .help("or aggregate a window (TUMBLE, HOP): its result is final"),
                );
                failed = true;
            }
            let parts = call.arguments.iter().chain(&call.filter);
            if changelog == Changelog::Retractions
                && let Some(part) = parts.into_iter().find(|part| part.is_volatile())
            {
                self.diagnostics.push(volatile_over_retractions(part.span));
                failed = true;
            }
        }
        if failed { Err(Failed) } else { Ok(()) }
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

fn volatile_over_retractions(span: Span) -> Diagnostic {
    Diagnostic::error(
        codes::VOLATILE_RETRACTIONS,
        "a retraction has to equal the row that it takes back",
    )
    .at(span, "this gives another value each time")
    .help("compute it below the GROUP BY or join, where rows are only inserted")
}

/// Names of an aggregate's columns; what the user calls them comes with the projection above.
fn aggregate_columns(
    keys: &[Expr],
    group_columns: &[GroupColumn],
    time_type: &DataType,
    aggregates: &[AggregateCall],
) -> Schema {
    let keys = keys
        .iter()
        .enumerate()
        .map(|(i, key)| column(format!("key{i}"), key.data_type.clone()));
    let windows = group_columns.iter().map(|which| {
        let name = match which {
            GroupColumn::WindowStart => "window_start",
            GroupColumn::WindowEnd => "window_end",
            GroupColumn::WindowTime => "window_time",
            GroupColumn::Key(_) => "key",
        };
        column(name, time_type.clone())
    });
    let calls = aggregates.iter().enumerate();
    let calls =
        calls.map(|(i, call)| column(format!("{}{i}", call.function), call.data_type.clone()));
    keys.chain(windows).chain(calls).collect()
}
