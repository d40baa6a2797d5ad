//! What goes by the clock: rows whose event time is, from here on, the processing time of their epoch.

use std::collections::BTreeMap;

use weir_types::{Column, DataType};

use crate::binder::clock::is_first;
use crate::fingerprint::sorted;
use crate::identity::Identity;
use crate::logical::{NodeId, NodeKind};
use crate::plan::{Expr, Input, OperatorKind, Partitioning};

use super::aggregate::deduplicated;
use super::emit::forward;
use super::join::Side;
use super::rank::bounds_text;
use super::{Columns, Emitted, Lowering, New, NewLogic};

impl Lowering<'_> {
    /// The same columns, under the clock's watermark.
    pub(crate) fn clock(&mut self, node: NodeId, time: usize, wanted: &Columns) -> Emitted {
        let current = &self.graph.nodes[node];
        let below = self.emit_input(node, wanted);
        let place = below.columns[&time];
        let from = &self.operators[below.operator];
        let schema = from.schema.clone();
        let mut properties = self.properties(below.operator);
        (properties.event_time, properties.window) = (Some(place), None);
        properties.further_event_times.clear();
        let detail = self.logic[below.operator].columns[place].typed.clone();
        let logic = self.logic[below.operator].clocked();
        let id = self.names.take(&current.path, "clock").id;
        let operator = self.push(New {
            id,
            kind: OperatorKind::Clock { time: place },
            inputs: vec![forward(below.operator)],
            schema,
            properties,
            span: current.span,
            logic: NewLogic::Stateless(detail, logic),
        });
        Emitted {
            operator,
            columns: below.columns,
        }
    }

    /// The first rows of each partition to arrive, or the last one.
    pub(crate) fn arrival(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let current = &self.graph.nodes[node];
        let NodeKind::Rank {
            partition,
            order,
            bounds,
            ..
        } = &current.kind
        else {
            unreachable!("the caller looked at the kind")
        };
        let number = current.columns.len() - 1;
        let (shown, last) = (wanted.contains(&number), !is_first(order));
        let read: Columns = wanted.iter().copied().filter(|&c| c != number).collect();
        let below = self.wanted_inputs(node, wanted).remove(0);
        let side = if read.is_empty() && partition.is_empty() {
            // Rows that nobody reads arrive all the same.
            let emitted = self.emit(current.inputs[0], &below);
            Side {
                identities: self.logic[emitted.operator].columns.clone(),
                operator: emitted.operator,
                columns: BTreeMap::new(),
                keys: Vec::new(),
            }
        } else {
            self.side(current.inputs[0], &below, &read, partition, &current.path)
        };
        let mut keys = side.keys.clone();
        keys.sort_unstable();
        keys.dedup();
        let (mut columns, mut identities) = (side.columns.clone(), side.identities.clone());
        let mut schema = self.operators[side.operator].schema.clone();
        let width = schema.len();
        let by = |form: fn(&Identity) -> &str| {
            let parts: Vec<&str> = keys.iter().map(|&i| form(&side.identities[i])).collect();
            let direction = if last { " desc" } else { "" };
            format!(
                "partition by {} order by arrival{direction}",
                parts.join(", ")
            )
        };
        let (shown_by, typed_by) = (by(|id| &id.name), by(|id| &id.typed));
        let of = sorted(side.identities.clone());
        let detail = format!("{typed_by} {} of {of}", bounds_text(bounds));
        if shown {
            columns.insert(number, width);
            schema.push(Column::new(
                current.columns[number].name.clone(),
                DataType::Int64,
            ));
            identities.push(Identity::new(
                format!("row_number() over ({shown_by})"),
                format!("row_number() over ({typed_by})"),
            ));
        }
        let mut properties = deduplicated(self.properties(side.operator));
        properties.changelog = current.properties.changelog;
        (properties.event_time, properties.window) = (None, None);
        properties.further_event_times.clear();
        if bounds.last == Some(1) {
            properties.unique_key = Some(keys.clone());
        }
        let operator = self.push(New {
            id: current.named(),
            kind: OperatorKind::Arrival {
                partition: keys.clone(),
                last,
                bounds: *bounds,
                shown,
            },
            inputs: vec![Input {
                from: side.operator,
                partitioning: Partitioning::Hash(keys),
            }],
            schema,
            properties,
            span: current.span,
            logic: NewLogic::Stateful(detail, Box::new(move |_| identities)),
        });
        Emitted { operator, columns }
    }

    /// Rows that come and go with the clock, and the moments at which they do.
    pub(crate) fn temporal_filter(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let current = &self.graph.nodes[node];
        let NodeKind::TemporalFilter { enters, leaves } = &current.kind else {
            unreachable!("the caller looked at the kind")
        };
        let below = self.wanted_inputs(node, wanted).remove(0);
        let moments: Vec<Expr> = enters.iter().chain(leaves).cloned().collect();
        let side = self.side(current.inputs[0], &below, wanted, &moments, &current.path);
        let places = |of: &[usize]| {
            let mut places = of.to_vec();
            places.sort_unstable();
            places.dedup();
            places
        };
        let (enter, leave) = side.keys.split_at(enters.len());
        let (enters, leaves, keys) = (places(enter), places(leave), places(&side.keys));
        let texts = |word: &str, places: &[usize]| {
            let texts = places.iter().map(|&place| &side.identities[place].typed);
            texts
                .map(|text| format!("{word} {text}"))
                .collect::<Vec<_>>()
        };
        let mut detail = texts("from", &enters);
        detail.extend(texts("until", &leaves));
        let detail = format!(
            "{} of {}",
            detail.join(", "),
            sorted(side.identities.clone())
        );
        let columns = &side.columns;
        let properties = current
            .properties
            .moved(&|column| columns.get(&column).copied());
        let identities = side.identities.clone();
        let operator = self.push(New {
            id: current.named(),
            kind: OperatorKind::TemporalFilter { enters, leaves },
            inputs: vec![Input {
                from: side.operator,
                partitioning: Partitioning::Hash(keys),
            }],
            schema: self.operators[side.operator].schema.clone(),
            properties: deduplicated(properties),
            span: current.span,
            logic: NewLogic::Stateful(detail, Box::new(move |_| identities)),
        });
        Emitted {
            operator,
            columns: side.columns,
        }
    }
}
