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
