//! What a TTL adds to an operator: by event time a last column in each of its inputs, and the tables of the lives of its keys.
//!
//! ```text
//!   lives          key ─▶ first and last moment at which the key got a row
//!   life_times     by time ─▶ keys that may be over then
//!   waiting        key ─▶ rows that may begin another life, in the order of their moments     (event time)
//!   waiting_times  by time ─▶ keys with rows that wait                                        (event time)
//! ```

use weir_types::{Column, DataType, Schema, SortColumn, Span};

use super::emit::Measured;
use super::{Emitted, Lowering};
use crate::logical::{Graph, NodeId, NodeKind};
use crate::plan::{
    Expr, Input, Operator, OperatorKind, StateBound, StateLayout, StateTable, StateTtl, TtlTime,
};
use crate::state_schema::{InputFacts, due_keys};

/// The name of the column that only a TTL reads; no column of a user can be called so without quotes.
pub(super) const EVENT_TIME: &str = "event time";

/// The column that carries event time. A projection may have dropped it: then it stands behind its last column, for the TTL of
/// what reads the projection.
pub(crate) fn time_column(graph: &Graph, node: NodeId) -> Option<usize> {
    let current = &graph.nodes[node];
    let is_transparent = !current.shared
        && matches!(
            current.kind,
            NodeKind::Project { .. } | NodeKind::Filter { .. }
        );
    let dropped = || {
        let below = is_transparent.then(|| time_column(graph, current.inputs[0]))?;
        below.map(|_| current.columns.len())
    };
    current.properties.event_time.or_else(dropped)
}

/// The type of that column.
fn time_type(graph: &Graph, mut node: NodeId) -> DataType {
    loop {
        let current = &graph.nodes[node];
        match (current.properties.event_time, current.inputs.first()) {
            (Some(time), _) => return current.columns[time].data_type.clone(),
            (None, Some(&input)) => node = input,
            (None, None) => unreachable!("a source without event time has no column of it"),
        }
    }
}

/// Whether two lives of a key can stand in what an operator gives: what a TTL has given stays, although its key is forgotten and
/// may begin anew. Whoever groups by a key has it once again. `lives`: of the operators before it.
pub(super) fn has_lives(
    kind: &OperatorKind,
    inputs: &[Input],
    lives: &[bool],
    ttl: Option<StateTtl>,
) -> bool {
    let groups = matches!(
        kind,
        OperatorKind::Aggregate { .. }
            | OperatorKind::WindowAggregate { .. }
            | OperatorKind::SetOperation { .. }
    );
    ttl.is_some() || (!groups && inputs.iter().any(|input| lives[input.from]))
}

impl Lowering<'_> {
    /// How long a node keeps its state.
    pub(super) fn ttl_of(&self, node: NodeId) -> Option<StateTtl> {
        self.graph.ttls.get(&node).copied()
    }

    /// How many columns each of its inputs has at the end for its TTL alone.
    pub(super) fn hidden_columns(&self, node: NodeId) -> usize {
        let by_event_time = |ttl: StateTtl| ttl.time == TtlTime::Event;
        usize::from(self.ttl_of(node).is_some_and(by_event_time))
    }

    /// The column of a node's input by which its TTL goes.
    pub(super) fn ttl_time(&self, node: NodeId, input: usize) -> Option<usize> {
        let below = *self.graph.nodes[node].inputs.get(input)?;
        time_column(self.graph, below).filter(|_| self.hidden_columns(node) > 0)
    }

    /// What a column of a projection computes over its input: also the column of event time that it has dropped.
    pub(super) fn projected(&self, input: NodeId, exprs: &[Expr], column: usize) -> Expr {
        let time = || {
            let time = time_column(self.graph, input);
            let time =
                time.unwrap_or_else(|| unreachable!("only event time stands behind the columns"));
            Expr::column(time, time_type(self.graph, input), Span::default())
        };
        exprs.get(column).cloned().unwrap_or_else(time)
    }

    /// Columns made to measure for a node's input, with the column of time that its TTL reads.
    pub(super) fn with_time(
        &self,
        node: NodeId,
        input: usize,
        measured: Vec<Measured>,
        below: &Emitted,
    ) -> Vec<Measured> {
        self.with_column(measured, below, self.ttl_time(node, input))
    }

    /// The same for a column of the input that is known.
    pub(super) fn with_column(
        &self,
        mut measured: Vec<Measured>,
        below: &Emitted,
        column: Option<usize>,
    ) -> Vec<Measured> {
        if let Some(column) = column {
            let place = below.columns[&column];
            let data_type = self.operators[below.operator].schema[place]
                .data_type
                .clone();
            measured.push(Measured {
                expr: Expr::column(place, data_type.clone(), Span::default()),
                column: Column::new(EVENT_TIME, data_type),
            });
        }
        measured
    }
}

/// Schema and unique key of each input, without what only the TTL reads.
pub(super) fn visible_inputs(
    operators: &[Operator],
    inputs: &[Input],
    ttl: Option<StateTtl>,
) -> Vec<(Schema, Option<Vec<usize>>)> {
    let hidden = usize::from(ttl.is_some_and(|ttl| ttl.time == TtlTime::Event));
    let visible = |input: &Input| {
        let from = &operators[input.from];
        let width = from.schema.len() - hidden;
        let key = from.unique_key.clone();
        let key = key.filter(|key| key.iter().all(|&column| column < width));
        (from.schema[..width].to_vec(), key)
    };
    inputs.iter().map(visible).collect()
}

/// The tables of the lives of keys; what the operator keeps anyway is bounded by them.
pub(super) fn add_tables(
    state: &mut Vec<StateTable>,
    inputs: &[InputFacts<'_>],
    ttl: Option<StateTtl>,
) {
    let (Some(ttl), Some(first)) = (ttl, state.first()) else {
        return;
    };
    let key = first.key.clone();
    for table in &mut *state {
        if matches!(table.bound, StateBound::Keys | StateBound::Nothing) {
            table.bound = StateBound::Ttl;
        }
    }
    let moment = |name: &str| Column::new(name, DataType::Int64);
    let due = |name: &str| StateTable {
        bound: StateBound::Ttl,
        ..due_keys(name, key.clone())
    };
    state.push(StateTable {
        name: "lives".to_owned(),
        layout: StateLayout::Map,
        key: key.clone(),
        value: vec![moment("first"), moment("last")],
        bound: StateBound::Ttl,
        order: Vec::new(),
    });
    state.push(due("life_times"));
    if ttl.time == TtlTime::Processing {
        return;
    }
    for (input, name) in inputs.iter().zip(["waiting", "waiting_right"]) {
        let mut value = vec![
            moment("moment"),
            Column::new("retracted", DataType::Boolean),
            moment("row time"),
        ];
        value.extend(input.schema.iter().cloned());
        state.push(StateTable {
            name: name.to_owned(),
            layout: StateLayout::Sorted,
            key: key.clone(),
            value,
            bound: StateBound::Watermark,
            order: vec![SortColumn::ascending(0), SortColumn::ascending(1)],
        });
    }
    state.push(StateTable {
        bound: StateBound::Watermark,
        ..due("waiting_times")
    });
}
