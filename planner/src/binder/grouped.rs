//! The aggregate of a block, with a window or without, and the block's expressions above it.

use weir_types::{DataType, Diagnostic, Schema, Span};

use crate::codes;
use crate::logical::{AggregateCall, Node, NodeId, NodeKind, Properties, column};
use crate::names::Path;
use crate::plan::{Changelog, Expr, GroupColumn, Window, WindowColumns};

use super::group::{GroupKeys, Grouped};
use super::scope::Scope;
use super::select::volatile_over_retractions;
use super::windowed::{Windowed, WindowedKey};
use super::{Binder, Failed};

/// An aggregate node, and how the block's expressions find their parts in it.
struct Aggregated {
    node: NodeId,
    /// For each key of the text the output column that holds it.
    key_columns: Vec<usize>,
    /// Further columns of FROM that the output holds: those of the window.
    further: Vec<(usize, usize)>,
    first_aggregate: usize,
    /// For each key of the text the output column that marks where a grouping set leaves it out.
    marks: Vec<Option<usize>>,
}

impl Binder<'_> {
    /// The aggregate and HAVING, and the SELECT list over their columns.
    #[expect(clippy::too_many_arguments, reason = "the clauses of one block")]
    pub(super) fn grouped(
        &mut self,
        input: NodeId,
        scope: &Scope,
        keys: GroupKeys,
        aggregates: Vec<AggregateCall>,
        having: Option<Expr>,
        items: &[Expr],
        path: &Path,
    ) -> Result<(NodeId, Vec<Expr>), Failed> {
        let span = keys.span;
        // GROUPING() looks at no rows: it is made of marks above the aggregate.
        let (calls, groupings): (Vec<AggregateCall>, Vec<AggregateCall>) = aggregates
            .iter()
            .cloned()
            .partition(|call| call.function != "grouping");
        let named = groupings
            .iter()
            .map(|call| self.grouping_keys(call, &keys))
            .collect::<Result<Vec<_>, _>>()?;
        let aggregated = match self.windowed(input, &keys, &calls, path)? {
            Some(windowed) => self.window_aggregate(windowed, &keys.sets, span, path)?,
            None => self.aggregate(input, &keys, &calls, span, path)?,
        };
        let (mut plain, mut grouping) = (0.., named.iter());
        let above = aggregates.iter().map(|call| {
            if call.function == "grouping" {
                let keys = grouping.next().map_or(&[][..], Vec::as_slice);
                let marks: Vec<Option<usize>> =
                    keys.iter().map(|&key| aggregated.marks[key]).collect();
                return super::grouping::grouping_value(&marks, call.span);
            }
            let column = aggregated.first_aggregate + plain.next().unwrap_or_default();
            Expr::column(column, call.data_type.clone(), call.span)
        });
        let above: Vec<Expr> = above.collect();
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
        let grouped = Grouped {
            scope,
            keys: known,
            calls: above,
        };
        let (mut exprs, mut failed) = (Vec::with_capacity(items.len()), false);
        for item in items {
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
        let node = self.judged(aggregated.node, having, path, "having")?;
        Ok((node, exprs))
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
        let count = keys.keys.len();
        let (input, group_keys, always) = if keys.sets.is_empty() {
            (input, keys.keys.clone(), Vec::new())
        } else {
            let sets = keys.sets.clone();
            let expanded = self.expand_sets(input, keys.keys.clone(), sets, span, path);
            (expanded.node, expanded.keys, expanded.always)
        };
        let marks = (0..count)
            .map(|key| (!keys.sets.is_empty()).then_some(count + key))
            .collect();
        let columns = aggregate_columns(&group_keys, &[], &DataType::Null, aggregates);
        let properties = Properties {
            unique_key: Some((0..group_keys.len()).collect()),
            ..Properties::of(Changelog::Retractions)
        };
        let first_aggregate = group_keys.len();
        let kind = NodeKind::Aggregate {
            window: None,
            keys: group_keys,
            group_columns: Vec::new(),
            aggregates: aggregates.to_vec(),
            always,
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
            first_aggregate,
            key_columns: (0..count).collect(),
            further: Vec::new(),
            marks,
        })
    }

    fn window_aggregate(
        &mut self,
        mut windowed: Windowed,
        sets: &[Vec<bool>],
        span: Span,
        path: &Path,
    ) -> Result<Aggregated, Failed> {
        let changelog = self.properties(windowed.input).changelog;
        self.check_aggregates(&windowed.aggregates, changelog)?;
        let others = windowed.keys.len();
        if !sets.is_empty() {
            let sets = self.sets_below(&windowed, sets, span)?;
            let keys = std::mem::take(&mut windowed.keys);
            let expanded = self.expand_sets(windowed.input, keys, sets, span, path);
            (windowed.input, windowed.keys) = (expanded.node, expanded.keys);
        }
        let marks = windowed
            .of_key
            .iter()
            .map(|key| match key {
                WindowedKey::Other(key) if !sets.is_empty() => Some(others + *key),
                _ => None,
            })
            .collect();
        let id = self.take_id(path, "aggregate", span);
        // All three columns of the window are there for the block: they cost no state.
        let mut group_columns = vec![
            GroupColumn::WindowStart,
            GroupColumn::WindowEnd,
            GroupColumn::WindowTime,
        ];
        if windowed.window == Window::Assigned {
            // Its start is a key like others.
            group_columns.remove(0);
        }
        let width = windowed.keys.len();
        let place = |column: GroupColumn| match column {
            GroupColumn::Key(key) => key,
            _ => {
                let known = group_columns.iter().position(|known| *known == column);
                width + known.unwrap_or_default()
            }
        };
        let start = if windowed.window == Window::Assigned {
            let start = self
                .properties(windowed.input)
                .window
                .and_then(|window| window.start);
            let is_start = |key: &Expr| start.is_some() && key.as_column() == start;
            windowed.keys.iter().position(is_start)
        } else {
            Some(width)
        };
        let apart = if windowed.window.start_tells_end() {
            GroupColumn::WindowStart
        } else {
            GroupColumn::WindowEnd
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
            unique_key: Some((0..width).chain([place(apart)]).collect()),
            event_time: Some(place(GroupColumn::WindowTime)),
            window: Some(WindowColumns {
                start,
                end: Some(place(GroupColumn::WindowEnd)),
                time: Some(place(GroupColumn::WindowTime)),
            }),
            ..Properties::of(Changelog::AppendOnly)
        };
        let first_aggregate = width + group_columns.len();
        let kind = NodeKind::Aggregate {
            window: Some((windowed.window, windowed.time)),
            keys: windowed.keys,
            group_columns,
            aggregates: windowed.aggregates,
            always: Vec::new(),
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
            marks,
        })
    }

    /// The grouping sets of a windowed aggregate over its keys that are not the window's.
    fn sets_below(
        &mut self,
        windowed: &Windowed,
        sets: &[Vec<bool>],
        span: Span,
    ) -> Result<Vec<Vec<bool>>, Failed> {
        let mut below = Vec::with_capacity(sets.len());
        for set in sets {
            let mut others = vec![false; windowed.keys.len()];
            for (key, &grouped) in windowed.of_key.iter().zip(set) {
                match key {
                    WindowedKey::Other(key) => others[*key] |= grouped,
                    WindowedKey::Window(_) if grouped => {}
                    WindowedKey::Window(_) => {
                        return self.fail(
                            Diagnostic::error(
                                codes::GROUPING_SETS,
                                "every grouping set of a windowed aggregate has the window's columns",
                            )
                            .at(span, "one of these sets leaves them out")
                            .help("GROUP BY window_start, window_end, ROLLUP (a, b)"),
                        );
                    }
                }
            }
            below.push(others);
        }
        Ok(below)
    }

    /// What would not be the same when it is taken back.
    fn check_aggregates(
        &mut self,
        aggregates: &[AggregateCall],
        changelog: Changelog,
    ) -> Result<(), Failed> {
        let mut failed = false;
        for call in aggregates {
            if changelog == Changelog::Retractions
                && let Some(part) = call.parts().find(|part| part.is_volatile())
            {
                self.diagnostics.push(volatile_over_retractions(part.span));
                failed = true;
            }
        }
        if failed { Err(Failed) } else { Ok(()) }
    }
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
