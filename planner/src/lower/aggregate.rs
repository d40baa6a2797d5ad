//! Aggregates: their inputs are made to measure, so that what they store is exactly what their block reads.

use std::collections::BTreeMap;

use weir_types::{Column, Schema, SortColumn, Span};

use crate::canonical;
use crate::fingerprint::sorted;
use crate::identity::{Identity, group_column};
use crate::logical::{AggregateCall, NodeId, NodeKind};
use crate::plan::{Aggregate, Expr, GroupColumn, Input, OperatorKind, Partitioning};

use super::emit::Measured;
use super::{Columns, Emitted, Lowering, New, NewLogic};

/// The columns of an input that is made to measure: no two of one identity.
#[derive(Default)]
pub(super) struct Fitting {
    pub(super) exprs: Vec<(Identity, Expr)>,
}

impl Fitting {
    /// The place of an expression's column; a new one if there is none of its identity.
    pub(super) fn place(&mut self, identity: Identity, expr: Expr) -> usize {
        self.exprs
            .iter()
            .position(|(known, _)| *known == identity)
            .unwrap_or_else(|| {
                self.exprs.push((identity, expr));
                self.exprs.len() - 1
            })
    }

    /// Sorts the columns from `first` on by identity.
    pub(super) fn sort_from(&mut self, first: usize) {
        self.exprs[first..].sort_by(|(a, _), (b, _)| a.cmp(b));
    }

    pub(super) fn find(&self, identity: &Identity) -> usize {
        let place = self.exprs.iter().position(|(known, _)| known == identity);
        place.unwrap_or_else(|| unreachable!("`{}` was fitted before", identity.name))
    }

    /// The columns, called by their identities.
    pub(super) fn measured(&self) -> Vec<Measured> {
        let named = |(identity, expr): &(Identity, Expr)| {
            let column = Column::new(identity.name.clone(), expr.data_type.clone());
            Measured {
                expr: expr.clone(),
                column,
            }
        };
        self.exprs.iter().map(named).collect()
    }
}

impl Lowering<'_> {
    // ------------------------------------------------------------------ aggregates

    pub(crate) fn aggregate(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let NodeKind::Aggregate {
            window,
            keys,
            group_columns,
            aggregates,
            always,
        } = &current.kind
        else {
            unreachable!("the caller looked at the kind")
        };
        let below = self.emit_input(node, wanted);
        let known = self.logic[below.operator].columns.clone();
        let identity = |expr: &Expr| Identity::of(&below.moved(expr), &known);
        // Keys first, then arguments, each in the order of their identities: the order of the text means nothing.
        let mut fitting = Fitting::default();
        for key in keys {
            fitting.place(identity(key), below.moved(key));
        }
        fitting.sort_from(0);
        let key_count = fitting.exprs.len();
        for part in aggregates.iter().flat_map(|call| call.parts()) {
            fitting.place(identity(part), below.moved(part));
        }
        let time = window.map(|(_, time)| {
            let schema = &self.operators[below.operator].schema;
            let place = below.columns[&time];
            Expr::column(place, schema[place].data_type.clone(), Span::default())
        });
        if let Some(time) = &time {
            fitting.place(Identity::of(time, &known), time.clone());
        }
        fitting.sort_from(key_count);
        let input = if fitting.exprs.is_empty() {
            // `count(*)` alone reads no column: any rows will do.
            below.operator
        } else {
            let measured = self.with_time(node, 0, fitting.measured(), &below);
            self.push_project(below.operator, measured, &current.path)
        };
        let (calls, mut call_identities, of_call) =
            canonical_calls(aggregates, &fitting, &identity);
        let key_places: Vec<usize> = keys
            .iter()
            .map(|key| fitting.find(&identity(key)))
            .collect();
        let key_identities: Vec<Identity> = fitting.exprs[..key_count]
            .iter()
            .map(|(identity, _)| identity.clone())
            .collect();
        // A count of groups that are grouped by a count: two columns, and so two names.
        for call in &mut call_identities {
            while key_identities.contains(call) {
                *call = call.above_itself();
            }
        }
        let fitted_time = time.map(|time| fitting.find(&Identity::of(&time, &known)));

        // The output: keys, the window's columns that somebody reads, aggregates.
        let mut columns: BTreeMap<usize, usize> = key_places.iter().copied().enumerate().collect();
        let mut output_groups: Vec<GroupColumn> = (0..key_count).map(GroupColumn::Key).collect();
        for (i, group) in group_columns.iter().enumerate() {
            if wanted.contains(&(keys.len() + i)) {
                columns.insert(keys.len() + i, output_groups.len());
                output_groups.push(*group);
            }
        }
        let first_call = output_groups.len();
        let first_logical_call = keys.len() + group_columns.len();
        columns.extend(
            of_call
                .iter()
                .enumerate()
                .map(|(i, &call)| (first_logical_call + i, first_call + call)),
        );

        let time_name = fitted_time.map(|place| fitting.exprs[place].0.clone());
        let window_text = |form: fn(&Identity) -> &str| match (window, &time_name) {
            (Some((window, _)), Some(time)) => canonical::window(window, form(time)),
            _ => String::new(),
        };
        let (shown_window, typed_window) =
            (window_text(|id| &id.name), window_text(|id| &id.typed));
        let identities: Vec<Identity> = output_groups
            .iter()
            .map(|group| group_column(*group, &key_identities, &shown_window))
            .chain(call_identities.iter().cloned())
            .collect();
        let group_types = output_groups.iter().map(|group| match group {
            GroupColumn::Key(key) => fitting.exprs[*key].1.data_type.clone(),
            _ => current.columns[keys.len()].data_type.clone(),
        });
        let types = group_types.chain(calls.iter().map(|call| call.data_type.clone()));
        let names = output_groups.iter().map(|group| match group {
            GroupColumn::Key(key) => key_identities[*key].name.clone(),
            GroupColumn::WindowStart => "window_start".to_owned(),
            GroupColumn::WindowEnd => "window_end".to_owned(),
            GroupColumn::WindowTime => "window_time".to_owned(),
        });
        let names = names.chain(call_identities.iter().map(|identity| identity.name.clone()));
        let schema: Schema = names
            .zip(types)
            .map(|(name, data_type)| Column::new(name, data_type))
            .collect();
        let detail = format!(
            "window {typed_window} keys {} aggregates {}",
            sorted(key_identities),
            sorted(call_identities)
        );
        let input_keys: Vec<usize> = (0..key_count).collect();
        let kind = match (window, fitted_time) {
            (Some((window, _)), Some(time)) => OperatorKind::WindowAggregate {
                window: *window,
                time,
                keys: input_keys.clone(),
                group_columns: output_groups,
                aggregates: calls,
            },
            _ => OperatorKind::Aggregate {
                keys: input_keys.clone(),
                aggregates: calls,
                always: always
                    .iter()
                    .map(|group| {
                        let value = |place: usize| {
                            let key = key_places.iter().position(|&other| other == place);
                            key.and_then(|key| group[key])
                        };
                        (0..key_count).map(value).collect()
                    })
                    .collect(),
            },
        };
        self.ttl = self.ttl_of(node);
        let operator = self.push(New {
            id: current.named(),
            kind,
            inputs: vec![Input {
                from: input,
                partitioning: Partitioning::Hash(input_keys),
            }],
            schema,
            properties: deduplicated(
                current
                    .properties
                    .moved(&|column| columns.get(&column).copied()),
            ),
            span: current.span,
            logic: NewLogic::Stateful(detail, Box::new(move |_| identities)),
        });
        Emitted { operator, columns }
    }
}

/// The aggregates in the order of their canonical names, each once; and for each call of the text its place among them.
pub(super) fn canonical_calls(
    calls: &[AggregateCall],
    fitting: &Fitting,
    identity: &dyn Fn(&Expr) -> Identity,
) -> (Vec<Aggregate>, Vec<Identity>, Vec<usize>) {
    let identity_of = |call: &AggregateCall| {
        let arguments: Vec<Identity> = call.arguments.iter().map(identity).collect();
        let order: Vec<(Identity, bool, bool)> = call
            .order_by
            .iter()
            .map(|item| (identity(&item.expr), item.descending, item.nulls_first))
            .collect();
        let filter = call.filter.as_ref().map(identity);
        Identity::of_aggregate(call, &arguments, &order, filter.as_ref())
    };
    let identities: Vec<Identity> = calls.iter().map(identity_of).collect();
    let mut order = identities.clone();
    order.sort();
    order.dedup();
    let aggregate = |known: &Identity| {
        let call = identities
            .iter()
            .position(|identity| identity == known)
            .map(|i| &calls[i]);
        let call = call.unwrap_or_else(|| unreachable!("every identity is one of a call"));
        Aggregate {
            name: known.name.clone(),
            function: call.function.clone(),
            arguments: call
                .arguments
                .iter()
                .map(|argument| fitting.find(&identity(argument)))
                .collect(),
            distinct: call.distinct,
            filter: call
                .filter
                .as_ref()
                .map(|filter| fitting.find(&identity(filter))),
            order_by: call
                .order_by
                .iter()
                .map(|item| SortColumn {
                    column: fitting.find(&identity(&item.expr)),
                    descending: item.descending,
                    nulls_first: item.nulls_first,
                })
                .collect(),
            parameters: call.parameters.clone(),
            registered: call.registered.clone(),
            data_type: call.data_type.clone(),
            span: call.span,
        }
    };
    let aggregates = order.iter().map(aggregate).collect();
    let place = |identity: &Identity| order.iter().position(|known| known == identity);
    let of_call = identities.iter().filter_map(place).collect();
    (aggregates, order, of_call)
}

/// A key that names one column twice, because two columns of the text are one, names it once.
pub(super) fn deduplicated(
    mut properties: crate::logical::Properties,
) -> crate::logical::Properties {
    if let Some(key) = &mut properties.unique_key {
        key.sort_unstable();
        key.dedup();
    }
    properties
}
