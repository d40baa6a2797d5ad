//! The state tables of an operator: key and value columns by canonical name, and what bounds them.
//!
//! | operator | table | layout | key | value | bound |
//! |---|---|---|---|---|---|
//! | source | `position` | position | split | position | constant |
//! | aggregate | `groups` | map | group keys | accumulators | keys (constant without keys) |
//! | aggregate | `values(x)`, `rows(x)` … | sorted | group keys | what the side table holds | keys of an updating input, else nothing |
//! | windowed aggregate | `groups` | slices | group keys | accumulators | watermark |
//! | windowed aggregate | `values(x)`, `rows(x)` … | sorted | group keys | slice, what the side table holds | watermark |
//! | set operation | `rows` | map | all columns | counts of the left and the right | keys |
//! | join | `left`, `right` | multimap | join keys | all columns of that side | keys of an updating input, else nothing |
//! | ranking that is final | `rows` | sorted by its order | PARTITION BY | all columns | watermark |
//! | | `windows` or `times` | slices | PARTITION BY | when | watermark |
//! | | `numbers` (in event-time order) | map | PARTITION BY | rows, number | keys |
//! | session | `rows` | sorted by event time | PARTITION BY | all columns | watermark |
//! | | `times` | slices | PARTITION BY | when | watermark |
//! | interval join | `left`, `right` | sorted by event time | join keys | all columns of that side, the own watermark, whether it has a partner | watermark |
//! | | `left_times`, `right_times` | slices | join keys | when | watermark |
//! | lookup join | `right` | multimap | join keys | all columns of that side | keys of an updating input, else nothing |
//! | whose right ends | `waiting` | multimap | join keys | all columns of the left, the own watermark | the right, which ends |
//! | | `waiting_keys` | slices | join keys | when | the right, which ends |
//! | join of windows | `left`, `right` | multimap | join keys | all columns of that side | watermark |
//! | | `windows` | slices | join keys | when | watermark |
//! | condition on the clock | `rows` | multimap | when its rows enter and leave | all columns | processing time |
//! | | `times` | slices | the same | when | processing time |
//! | first rows by arrival | `counts` | map | PARTITION BY | how many came | keys |
//! | last row by arrival | `rows` | map | PARTITION BY | all columns | keys |
//! | over | `rows` | sorted by its order | PARTITION BY | all columns | keys of an updating input, else nothing |
//! | over in event-time order | `waiting`, `rows` | sorted by its order | PARTITION BY | all columns | watermark; keys, or nothing |
//! | | `running` | map | PARTITION BY | numbers of rows and groups, accumulators | keys |
//! | join as of a point in time | `left`, `right` | sorted by event time | join keys | all columns of that side | watermark; keys |
//! | sink that keeps its result, materialized view | `rows` | multimap | unique key, else all columns | all columns | keys, else nothing |
//!
//! Names come from the schema of the operator's input: the lowering calls its columns by their identities there.

use weir_types::{Column, DataType, Schema, SortColumn};

use crate::accumulator::{Side, accumulator_layout};
use crate::over::{OverCall, Reach, accumulated};
use crate::plan::{
    Changelog, JoinKind, JoinTiming, OperatorKind, RankTiming, StateBound, StateLayout, StateTable,
    TableDefinition,
};

/// Whether the engine keeps what a sink table holds as keyed state, because its connector wants the whole result at
/// each checkpoint, or because that is what it is for: the file sink with `'mode' = 'snapshot'`, a materialized view.
pub fn keeps_result(table: &TableDefinition) -> bool {
    let is = |key: &str, value: &str| {
        table
            .options
            .get(key)
            .is_some_and(|given| given.eq_ignore_ascii_case(value))
    };
    table.is_materialized_view() || is("connector", "filesystem") && is("mode", "snapshot")
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
        OperatorKind::Aggregate {
            keys, aggregates, ..
        } => {
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
            let key = columns(input.schema, keys);
            let mut tables = vec![StateTable {
                name: "groups".to_owned(),
                layout: StateLayout::Map,
                key: key.clone(),
                value: layout.columns,
                bound,
                order: Vec::new(),
            }];
            let bound = side_bound(input.changelog, input.unique_key);
            tables.extend(side_tables(layout.sides, &key, input.schema, None, bound));
            tables
        }
        OperatorKind::SetOperation { .. } => vec![StateTable {
            name: "rows".to_owned(),
            layout: StateLayout::Map,
            key: inputs[0].schema.clone(),
            value: vec![
                Column::new("left", DataType::Int64),
                Column::new("right", DataType::Int64),
            ],
            order: Vec::new(),
            bound: StateBound::Keys,
        }],
        OperatorKind::WindowAggregate {
            keys, aggregates, ..
        } => {
            let input = &inputs[0];
            let layout = accumulator_layout(
                aggregates,
                input.schema,
                input.changelog == Changelog::Retractions,
            );
            let key = columns(input.schema, keys);
            let mut tables = vec![StateTable {
                name: "groups".to_owned(),
                layout: StateLayout::Slices,
                key: key.clone(),
                value: layout.columns,
                bound: StateBound::Watermark,
                order: Vec::new(),
            }];
            let slice = Column::new("slice", DataType::Int64);
            tables.extend(side_tables(
                layout.sides,
                &key,
                input.schema,
                Some(slice),
                StateBound::Watermark,
            ));
            tables
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
        OperatorKind::LookupJoin {
            left_keys,
            right_keys,
            complete,
            ..
        } => lookup_tables(inputs, [left_keys, right_keys], *complete),
        OperatorKind::Rank { .. } => vec![rank_table(kind, &inputs[0])],
        OperatorKind::FinalRank { timing, .. } => final_rank_tables(*timing, kind, &inputs[0]),
        OperatorKind::TemporalFilter { enters, leaves } => {
            let mut moments: Vec<usize> = enters.iter().chain(leaves).copied().collect();
            moments.sort_unstable();
            moments.dedup();
            let key = columns(inputs[0].schema, &moments);
            let rows = StateTable {
                name: "rows".to_owned(),
                layout: StateLayout::MultiMap,
                key: key.clone(),
                value: inputs[0].schema.clone(),
                bound: StateBound::Clock,
                order: Vec::new(),
            };
            let times = StateTable {
                bound: StateBound::Clock,
                ..due_keys("times", key)
            };
            vec![rows, times]
        }
        OperatorKind::Arrival {
            partition, last, ..
        } => {
            let (name, value) = if *last {
                ("rows", inputs[0].schema.clone())
            } else {
                ("counts", vec![Column::new("count", DataType::Int64)])
            };
            vec![StateTable {
                name: name.to_owned(),
                layout: StateLayout::Map,
                key: columns(inputs[0].schema, partition),
                value,
                bound: if partition.is_empty() {
                    StateBound::Constant
                } else {
                    StateBound::Keys
                },
                order: Vec::new(),
            }]
        }
        OperatorKind::Over {
            partition,
            order,
            time,
            calls,
        } => over_tables(partition, order, *time, calls, &inputs[0]),
        OperatorKind::Session { time, keys, .. } => {
            let input = &inputs[0];
            let key = columns(input.schema, keys);
            let rows = StateTable {
                name: "rows".to_owned(),
                layout: StateLayout::Sorted,
                key: key.clone(),
                value: input.schema.clone(),
                order: vec![SortColumn::ascending(*time)],
                bound: StateBound::Watermark,
            };
            vec![rows, due_keys("times", key)]
        }
        OperatorKind::TimedJoin {
            timing,
            join,
            left_keys,
            right_keys,
            ..
        } => timed_join_tables(timing, *join, inputs, [left_keys, right_keys]),
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
    let (OperatorKind::Rank {
        partition,
        order,
        bounds,
        ..
    }
    | OperatorKind::FinalRank {
        partition,
        order,
        bounds,
        ..
    }) = kind
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

/// What a ranking keeps whose rows are given once: those that are not given yet, and in event-time order how far the numbers of
/// each partition are.
fn final_rank_tables(
    timing: RankTiming,
    kind: &OperatorKind,
    input: &InputFacts<'_>,
) -> Vec<StateTable> {
    let rows = StateTable {
        bound: StateBound::Watermark,
        ..rank_table(kind, input)
    };
    let key = rows.key.clone();
    match timing {
        RankTiming::Window { .. } => vec![rows, due_keys("windows", key)],
        RankTiming::Order { .. } => vec![
            rows,
            due_keys("times", key.clone()),
            StateTable {
                name: "numbers".to_owned(),
                layout: StateLayout::Map,
                key,
                value: vec![
                    Column::new("rows", DataType::Int64),
                    Column::new("number", DataType::Int64),
                ],
                order: Vec::new(),
                bound: StateBound::Keys,
            },
        ],
    }
}

/// What OVER keeps. In event-time order: the rows that wait for the watermark, those that later rows still look at, and what is
/// counted and accumulated of those before. Else: all rows of the input.
fn over_tables(
    partition: &[usize],
    order: &[SortColumn],
    time: Option<usize>,
    calls: &[OverCall],
    input: &InputFacts<'_>,
) -> Vec<StateTable> {
    let key: Schema = partition
        .iter()
        .map(|&column| input.schema[column].clone())
        .collect();
    let keys = if partition.is_empty() {
        StateBound::Constant
    } else {
        StateBound::Keys
    };
    let rows = |name: &str, bound: StateBound| StateTable {
        name: name.to_owned(),
        layout: StateLayout::Sorted,
        key: key.clone(),
        value: input.schema.clone(),
        bound,
        order: order.to_vec(),
    };
    if time.is_none() {
        return vec![rows("rows", side_bound(input.changelog, input.unique_key))];
    }
    let reach = Reach::of(calls, input.schema);
    let bound = if reach.all { StateBound::Nothing } else { keys };
    let mut tables = vec![
        rows("waiting", StateBound::Watermark),
        due_keys("times", key.clone()),
        rows("rows", bound),
    ];
    if reach.running {
        let counted = ["rows", "groups"].map(|name| Column::new(name, DataType::Int64));
        let (aggregates, _) = accumulated(calls, input.schema);
        let mut value = counted.to_vec();
        if !aggregates.is_empty() {
            value.extend(accumulator_layout(&aggregates, input.schema, false).columns);
        }
        tables.push(StateTable {
            name: "running".to_owned(),
            layout: StateLayout::Map,
            key,
            value,
            bound: keys,
            order: Vec::new(),
        });
    }
    tables
}

/// The tables beside the groups of an aggregate. `slice`: the column that says to which slice of time a row belongs.
fn side_tables(
    sides: Vec<Side>,
    key: &Schema,
    input: &Schema,
    slice: Option<Column>,
    bound: StateBound,
) -> Vec<StateTable> {
    let before = usize::from(slice.is_some());
    let table = |side: Side| {
        let place = |(place, column): (usize, &SortColumn)| SortColumn {
            column: before + place,
            ..*column
        };
        let columns = side.columns.iter();
        let values = columns.map(|column| input[column.column].clone());
        StateTable {
            name: side.name,
            layout: StateLayout::Sorted,
            key: key.clone(),
            value: slice.iter().cloned().chain(values).collect(),
            order: (0..before)
                .map(SortColumn::ascending)
                .chain(side.columns.iter().enumerate().map(place))
                .collect(),
            bound,
        }
    };
    sides.into_iter().map(table).collect()
}

/// The hidden column of rows that keep their own watermark in state; no column of a user can be called so, because
/// theirs are quoted if they hold a blank.
const OWN_WATERMARK: &str = "own watermark";
/// The hidden column of rows that are given when they have no partner: whether they have one.
const HAS_PARTNER: &str = "has partner";

/// The tables of a join that time bounds: both sides, and by time the keys that have something to do then.
fn timed_join_tables(
    timing: &JoinTiming,
    join: JoinKind,
    inputs: &[InputFacts<'_>],
    keys: [&[usize]; 2],
) -> Vec<StateTable> {
    let bound = StateBound::Watermark;
    let key = |input: usize| -> Schema {
        let columns = keys[input].iter();
        columns
            .map(|&column| inputs[input].schema[column].clone())
            .collect()
    };
    let rows = |name: &str, input: usize| StateTable {
        name: name.to_owned(),
        layout: StateLayout::MultiMap,
        key: key(input),
        value: inputs[input].schema.clone(),
        order: Vec::new(),
        bound,
    };
    let (left_time, right_time) = timing.columns();
    let sorted = |name: &str, input: usize, bound: StateBound| StateTable {
        layout: StateLayout::Sorted,
        order: vec![SortColumn::ascending([left_time, right_time][input])],
        bound,
        ..rows(name, input)
    };
    let judged = |name: &str, input: usize| {
        let mut table = sorted(name, input, bound);
        table
            .value
            .push(Column::new(OWN_WATERMARK, DataType::Int64));
        if join.gives_right() && [join.keeps_left(), join.keeps_right()][input] {
            table
                .value
                .push(Column::new(HAS_PARTNER, DataType::Boolean));
        }
        table
    };
    let times = |name: &str, input: usize| due_keys(name, key(input));
    match timing {
        JoinTiming::Interval { .. } => vec![
            judged("left", 0),
            judged("right", 1),
            times("left_times", 0),
            times("right_times", 1),
        ],
        JoinTiming::AsOf { .. } => vec![
            sorted("left", 0, bound),
            // The last version of each key stays.
            sorted("right", 1, StateBound::Keys),
            times("left_times", 0),
            times("right_times", 1),
        ],
        JoinTiming::Window { .. } => {
            vec![rows("left", 0), rows("right", 1), times("windows", 0)]
        }
    }
}

/// The tables of a join with the right as it is: the right, and the left rows that wait for its end.
fn lookup_tables(
    inputs: &[InputFacts<'_>],
    keys: [&[usize]; 2],
    complete: bool,
) -> Vec<StateTable> {
    let key = |input: usize| -> Schema {
        let columns = keys[input].iter();
        columns
            .map(|&column| inputs[input].schema[column].clone())
            .collect()
    };
    let right = StateTable {
        name: "right".to_owned(),
        layout: StateLayout::MultiMap,
        key: key(1),
        value: inputs[1].schema.clone(),
        bound: side_bound(inputs[1].changelog, inputs[1].unique_key),
        order: Vec::new(),
    };
    if !complete {
        return vec![right];
    }
    let mut value = inputs[0].schema.clone();
    value.push(Column::new(OWN_WATERMARK, DataType::Int64));
    let waiting = StateTable {
        name: "waiting".to_owned(),
        layout: StateLayout::MultiMap,
        key: key(0),
        value,
        bound: StateBound::BoundedInput,
        order: Vec::new(),
    };
    let waiting_keys = StateTable {
        bound: StateBound::BoundedInput,
        ..due_keys("waiting_keys", key(0))
    };
    vec![right, waiting, waiting_keys]
}

/// Keys by when they have something to do.
pub(crate) fn due_keys(name: &str, key: Schema) -> StateTable {
    StateTable {
        name: name.to_owned(),
        layout: StateLayout::Slices,
        key,
        value: vec![Column::new("at", DataType::Int64)],
        order: Vec::new(),
        bound: StateBound::Watermark,
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
