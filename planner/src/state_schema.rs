//! The state tables of an operator: key and value columns by canonical name, and what bounds them.
//!
//! | operator | table | layout | key | value | bound |
//! |---|---|---|---|---|---|
//! | source | `position` | position | split | position | constant |
//! | aggregate | `groups` | map | group keys | accumulators | keys (constant without keys) |
//! | windowed aggregate | `groups` | slices | group keys | accumulators | watermark |
//! | join | `left`, `right` | multimap | join keys | all columns of that side | keys of an updating input, else nothing |
//! | sink that keeps its result | `rows` | multimap | unique key, else all columns | all columns | keys, else nothing |
//!
//! Names come from the schema of the operator's input: the lowering calls its columns by their identities there.

use weir_types::{Column, DataType, Schema};

use crate::accumulator::accumulator_layout;
use crate::plan::{Changelog, OperatorKind, StateBound, StateLayout, StateTable, TableDefinition};

/// Whether the engine keeps what a sink table holds as keyed state, because its connector wants the whole result at
/// each checkpoint: the file sink with `'mode' = 'snapshot'`.
pub fn keeps_result(table: &TableDefinition) -> bool {
    let is = |key: &str, value: &str| {
        table
            .options
            .get(key)
            .is_some_and(|given| given.eq_ignore_ascii_case(value))
    };
    is("connector", "filesystem") && is("mode", "snapshot")
}

/// An input as its consumer sees it.
pub(crate) struct InputFacts<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) changelog: Changelog,
    pub(crate) unique_key: Option<&'a [usize]>,
}

/// The state tables of an operator. `sink` is the table of a sink.
pub(crate) fn state_tables(
    kind: &OperatorKind,
    inputs: &[InputFacts<'_>],
    sink: Option<&TableDefinition>,
) -> Vec<StateTable> {
    let columns = |schema: &Schema, indices: &[usize]| {
        indices
            .iter()
            .map(|&i| schema[i].clone())
            .collect::<Schema>()
    };
    match kind {
        OperatorKind::Source { .. } => vec![StateTable {
            name: "position".to_owned(),
            layout: StateLayout::Position,
            key: vec![Column::new("split", DataType::String)],
            value: vec![Column::new("position", DataType::String)],
            bound: StateBound::Constant,
            order: Vec::new(),
        }],
        OperatorKind::Aggregate { keys, aggregates } => {
            let input = &inputs[0];
            let layout = accumulator_layout(
                aggregates,
                input.schema,
                input.changelog == Changelog::Retractions,
            );
            let bound = if keys.is_empty() {
                StateBound::Constant
            } else {
                StateBound::Keys
            };
            vec![StateTable {
                name: "groups".to_owned(),
                layout: StateLayout::Map,
                key: columns(input.schema, keys),
                value: layout.columns,
                bound,
                order: Vec::new(),
            }]
        }
        OperatorKind::WindowAggregate {
            keys, aggregates, ..
        } => {
            let input = &inputs[0];
            let layout = accumulator_layout(
                aggregates,
                input.schema,
                input.changelog == Changelog::Retractions,
            );
            vec![StateTable {
                name: "groups".to_owned(),
                layout: StateLayout::Slices,
                key: columns(input.schema, keys),
                value: layout.columns,
                bound: StateBound::Watermark,
                order: Vec::new(),
            }]
        }
        OperatorKind::Join {
            left_keys,
            right_keys,
            ..
        } => {
            let side = |name: &str, input: &InputFacts<'_>, keys: &[usize]| StateTable {
                name: name.to_owned(),
                layout: StateLayout::MultiMap,
                key: columns(input.schema, keys),
                value: input.schema.clone(),
                bound: side_bound(input.changelog, input.unique_key),
                order: Vec::new(),
            };
            vec![
                side("left", &inputs[0], left_keys),
                side("right", &inputs[1], right_keys),
            ]
        }
        OperatorKind::Rank { .. } => vec![rank_table(kind, &inputs[0])],
        OperatorKind::Sink { .. } if sink.is_some_and(keeps_result) => {
            let input = &inputs[0];
            let bound = match input.unique_key {
                Some([]) => StateBound::Constant,
                Some(_) => StateBound::Keys,
                None => StateBound::Nothing,
            };
            vec![StateTable {
                name: "rows".to_owned(),
                layout: StateLayout::MultiMap,
                key: columns(input.schema, &result_key(input)),
                value: input.schema.clone(),
                bound,
                order: Vec::new(),
            }]
        }
        _ => Vec::new(),
    }
}

/// What a ranking keeps: all rows of its input, or of an input that only grows those within its bounds.
fn rank_table(kind: &OperatorKind, input: &InputFacts<'_>) -> StateTable {
    let OperatorKind::Rank {
        partition,
        order,
        bounds,
        ..
    } = kind
    else {
        unreachable!("the caller looked at the kind")
    };
    let bound = match (input.changelog, bounds.last) {
        (Changelog::AppendOnly, Some(_)) if partition.is_empty() => StateBound::Constant,
        (Changelog::AppendOnly, Some(_)) => StateBound::Keys,
        _ => side_bound(input.changelog, input.unique_key),
    };
    StateTable {
        name: "rows".to_owned(),
        layout: StateLayout::Sorted,
        key: partition
            .iter()
            .map(|&column| input.schema[column].clone())
            .collect(),
        value: input.schema.clone(),
        bound,
        order: order.clone(),
    }
}

/// What bounds one side of a join: the rows of an updating result are as many as its keys, any other input only grows.
pub(crate) fn side_bound(changelog: Changelog, unique_key: Option<&[usize]>) -> StateBound {
    match (changelog, unique_key) {
        (_, Some([])) => StateBound::Constant,
        (Changelog::Retractions, Some(_)) => StateBound::Keys,
        _ => StateBound::Nothing,
    }
}

/// The columns by which a sink that keeps its result finds a row: the unique key, else all; in the order of their names.
pub(crate) fn result_key(input: &InputFacts<'_>) -> Vec<usize> {
    let mut key: Vec<usize> = match input.unique_key {
        Some(key) => key.to_vec(),
        None => (0..input.schema.len()).collect(),
    };
    key.sort_by(|&a, &b| input.schema[a].name.cmp(&input.schema[b].name));
    key.dedup();
    key
}
