//! State that gets old, against a model that sorts the rows of a key by their moments and looks for gaps.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;
use weir_planner::plan::{
    Changelog, JoinKind, OperatorKind, RankBounds, RankFunction, SetOperator, StateLayout,
    StateTable, StateTtl, StreamPlan, TtlTime,
};
use weir_state::BackendKind;
use weir_types::{ChangeBatch, DataType, Schema, SortColumn, TimeUnit, Watermark};

use super::super::harness::{BACKENDS, Harness, batch, call, groups, ints, plan, schema, table};

const MOMENT: DataType = DataType::Timestamp(TimeUnit::Milli);
/// Milliseconds.
const TTL: i64 = 10;
/// How far the watermark is behind the greatest time.
const DELAY: i64 = 4;

fn visible() -> Schema {
    schema(&[("k", DataType::Int64), ("v", DataType::Int64)])
}

fn input(time: TtlTime) -> Schema {
    let mut input = visible();
    if time == TtlTime::Event {
        input.extend(schema(&[("event time", MOMENT)]));
    }
    input
}

fn lives(inputs: usize, key: &Schema, time: TtlTime) -> Vec<StateTable> {
    let at = || schema(&[("at", DataType::Int64)]);
    let both = schema(&[("first", DataType::Int64), ("last", DataType::Int64)]);
    let mut tables = vec![
        table("lives", StateLayout::Map, key.clone(), both),
        table("life_times", StateLayout::Slices, key.clone(), at()),
    ];
    if time == TtlTime::Processing {
        return tables;
    }
    let mut value = schema(&[
        ("moment", DataType::Int64),
        ("retracted", DataType::Boolean),
        ("row time", DataType::Int64),
    ]);
    value.extend(visible());
    for name in &["waiting", "waiting_right"][..inputs] {
        let mut waiting = table(name, StateLayout::Sorted, key.clone(), value.clone());
        waiting.order = vec![SortColumn::ascending(0), SortColumn::ascending(1)];
        tables.push(waiting);
    }
    tables.push(table(
        "waiting_times",
        StateLayout::Slices,
        key.clone(),
        at(),
    ));
    tables
}

fn with_ttl(
    inputs: Vec<(Schema, Changelog)>,
    kind: OperatorKind,
    output: Schema,
    mut state: Vec<StateTable>,
    key: &Schema,
    time: TtlTime,
) -> StreamPlan {
    state.extend(lives(inputs.len(), key, time));
    let mut plan = plan(inputs, kind, output, state);
    let operator = plan.operators.last_mut().unwrap();
    operator.ttl = Some(StateTtl {
        micros: TTL * 1000,
        time,
    });
    plan
}

/// `SELECT k, count(v), max(v) … GROUP BY k`.
fn sums(changelog: Changelog, time: TtlTime) -> StreamPlan {
    let retractions = changelog == Changelog::Retractions;
    let aggregates = vec![
        call("count", &[1], DataType::Int64),
        call("sum", &[1], DataType::Int64),
    ];
    let state = groups(StateLayout::Map, &visible(), &[0], &aggregates, retractions);
    let kind = OperatorKind::Aggregate {
        keys: vec![0],
        aggregates,
        always: Vec::new(),
    };
    let output = schema(&[
        ("k", DataType::Int64),
        ("n", DataType::Int64),
        ("s", DataType::Int64),
    ]);
    let key = schema(&[("k", DataType::Int64)]);
    with_ttl(
        vec![(input(time), changelog)],
        kind,
        output,
        vec![state],
        &key,
        time,
    )
}

/// Key, value, time in milliseconds, own watermark, weight.
#[derive(Clone, Copy, Debug)]
struct Row {
    key: Option<i64>,
    value: i64,
    time: i64,
    own: Option<i64>,
    weight: i64,
}

fn changes(rows: &[Row]) -> ChangeBatch {
    let times: TimestampMillisecondArray = rows.iter().map(|row| Some(row.time)).collect();
    let columns: Vec<ArrayRef> = vec![
        ints(rows.iter().map(|row| row.key)),
        ints(rows.iter().map(|row| Some(row.value))),
        Arc::new(times),
    ];
    let weights: Vec<i64> = rows.iter().map(|row| row.weight).collect();
    let mut changes = batch(&input(TtlTime::Event), columns, &weights);
    if rows.iter().any(|row| row.own.is_some()) {
        let own: Int64Array = rows
            .iter()
            .map(|row| row.own.map(|own| own * 1000))
            .collect();
        changes.own_watermark = Some(own);
    }
    changes
}

fn by_clock(rows: &[(i64, i64)]) -> ChangeBatch {
    let columns = vec![
        ints(rows.iter().map(|row| Some(row.0))),
        ints(rows.iter().map(|row| Some(row.1))),
    ];
    batch(&visible(), columns, &vec![1; rows.len()])
}

/// Rows as one split would give them: those behind its watermark carry it. With the watermark after each.
fn of_split(rows: &[(Option<i64>, i64, i64)]) -> Vec<(Row, i64)> {
    let mut watermark = i64::MIN;
    let row = |&(key, value, time): &(Option<i64>, i64, i64)| {
        let own = (time < watermark).then_some(watermark);
        watermark = watermark.max(time - DELAY);
        let row = Row {
            key,
            value,
            time,
            own,
            weight: 1,
        };
        (row, watermark)
    };
    rows.iter().map(row).collect()
}

/// The lives of each key, each as its values in the order of their moments; and how many rows were late.
fn model(rows: &[Row]) -> (Vec<(Option<i64>, Vec<i64>)>, u64) {
    let mut keys: BTreeMap<Option<i64>, Vec<(i64, i64)>> = BTreeMap::new();
    let mut late = 0;
    for row in rows {
        if row.own.is_some_and(|own| row.time + TTL <= own) {
            late += 1;
        } else {
            let moment = row.own.map_or(row.time, |own| own.max(row.time));
            keys.entry(row.key).or_default().push((moment, row.value));
        }
    }
    let mut lives = Vec::new();
    for (key, mut rows) in keys {
        rows.sort_unstable();
        for life in rows.chunk_by(|a, b| b.0 < a.0 + TTL) {
            lives.push((key, life.iter().map(|row| row.1).collect()));
        }
    }
    (lives, late)
}

fn folded(lines: impl Iterator<Item = String>) -> BTreeMap<String, i64> {
    let mut folded = BTreeMap::new();
    lines.for_each(|line| *folded.entry(line).or_default() += 1);
    folded
}

fn sums_of(lives: &[(Option<i64>, Vec<i64>)]) -> BTreeMap<String, i64> {
    folded(lives.iter().map(|(key, values)| {
        let key = key.map_or("NULL".to_owned(), |key| key.to_string());
        let sum: i64 = values.iter().sum();
        format!("k={key}, n={}, s={sum}", values.len())
    }))
}

/// Sends rows cut as `cuts` says: 0 goes on, 1 ends the batch, 2 the epoch, 3 restarts after it.
fn run(harness: &mut Harness, rows: &[(Row, i64)], cuts: &[u8], to: impl Fn(usize) -> usize) {
    let mut pending: Vec<Row> = Vec::new();
    let mut input = 0;
    for (i, (row, watermark)) in rows.iter().enumerate() {
        if to(i) != input && !pending.is_empty() {
            harness.send(input, changes(&std::mem::take(&mut pending)));
        }
        input = to(i);
        pending.push(*row);
        let cut = cuts[i % cuts.len().max(1)];
        if cut > 0 {
            harness.send(input, changes(&std::mem::take(&mut pending)));
            if i % 3 > 0 {
                harness.watermark(Watermark(watermark * 1000));
            }
        }
        if cut > 1 {
            harness.end_epoch();
        }
        if cut > 2 {
            harness.restart();
        }
    }
    if !pending.is_empty() {
        harness.send(input, changes(&pending));
    }
    harness.watermark(Watermark::MAX);
    harness.end_epoch();
}

fn scattered() -> impl Strategy<Value = Vec<(Option<i64>, i64, i64)>> {
    let row = (prop::option::weighted(0.9, 0..3i64), 0..5i64, -8..16i64);
    prop::collection::vec(row, 1..50).prop_map(|rows| {
        // Time goes on, with steps back.
        let mut time = 100;
        let step = |(key, value, step): (Option<i64>, i64, i64)| {
            time += step.max(-20);
            (key, value, time)
        };
        rows.into_iter().map(step).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn groups_live_as_long_as_their_rows_are_near_whatever_the_cuts(
        rows in scattered(),
        cuts in prop::collection::vec(prop_oneof![10 => 0u8..3, 1 => Just(3)], 1..20),
        rocksdb in prop::bool::weighted(0.2),
    ) {
        let rows = of_split(&rows);
        let only: Vec<Row> = rows.iter().map(|row| row.0).collect();
        let (lives, late) = model(&only);
        let backend = if rocksdb { BackendKind::Rocksdb } else { BackendKind::Memory };
        let mut harness = Harness::new(sums(Changelog::AppendOnly, TtlTime::Event), backend, 3);
        run(&mut harness, &rows, &cuts, |_| 0);
        prop_assert_eq!(&harness.result, &sums_of(&lives));
        prop_assert_eq!(harness.late_rows(), late);
        // Over an input that could take rows back the same rows give the same.
        let mut harness = Harness::new(sums(Changelog::Retractions, TtlTime::Event), backend, 3);
        run(&mut harness, &rows, &cuts, |_| 0);
        prop_assert_eq!(&harness.result, &sums_of(&lives));
    }

    #[test]
    fn a_join_pairs_the_rows_of_one_life(
        rows in scattered(),
        cuts in prop::collection::vec(prop_oneof![10 => 0u8..3, 1 => Just(3)], 1..20),
        sides in prop::collection::vec(0usize..2, 50),
    ) {
        let rows = of_split(&rows);
        let tagged: Vec<Row> = rows
            .iter()
            .enumerate()
            .map(|(i, (row, _))| Row { value: row.value * 2 + sides[i] as i64, ..*row })
            .collect();
        let (lives, _) = model(&tagged);
        let pairs = |kind: JoinKind| folded(lives.iter().flat_map(|(key, values)| {
            let side = |side: i64| -> Vec<i64> {
                values.iter().filter(|v| *v % 2 == side).map(|v| v / 2).collect()
            };
            let (left, right) = (side(0), side(1));
            let mut lines = Vec::new();
            let text = |key: &Option<i64>| key.map_or("NULL".to_owned(), |key| key.to_string());
            let k = text(key);
            let matches = key.is_some() && !right.is_empty();
            for l in &left {
                if matches {
                    lines.extend(right.iter().map(|r| format!("k={k}, v={l}, k={k}, v={r}")));
                } else if kind == JoinKind::Left {
                    lines.push(format!("k={k}, v={l}, k=NULL, v=NULL"));
                }
            }
            lines
        }));
        for kind in [JoinKind::Inner, JoinKind::Left] {
            let key = schema(&[("k", DataType::Int64)]);
            let side = |name: &str| table(name, StateLayout::MultiMap, key.clone(), visible());
            let mut output = visible();
            output.extend(visible());
            let operator = OperatorKind::Join {
                join: kind,
                left_keys: vec![0],
                right_keys: vec![0],
                null_equal: Vec::new(),
                residual: None,
            };
            let inputs = vec![(input(TtlTime::Event), Changelog::AppendOnly); 2];
            let state = vec![side("left"), side("right")];
            let plan = with_ttl(inputs, operator, output, state, &key, TtlTime::Event);
            let mut harness = Harness::new(plan, BackendKind::Memory, 3);
            run(&mut harness, &rows, &cuts, |row| sides[row]);
            prop_assert_eq!(&harness.result, &pairs(kind), "{:?}", kind);
        }
    }

    #[test]
    fn rankings_and_set_operations_begin_anew_too(
        rows in scattered(),
        cuts in prop::collection::vec(prop_oneof![10 => 0u8..3, 1 => Just(3)], 1..20),
        sides in prop::collection::vec(0usize..2, 50),
    ) {
        let rows = of_split(&rows);
        let only: Vec<Row> = rows.iter().map(|row| row.0).collect();
        let text = |key: Option<i64>| key.map_or("NULL".to_owned(), |key| key.to_string());
        let (lives, _) = model(&only);
        let greatest = folded(lives.iter().filter_map(|(key, values)| {
            Some(format!("k={}, v={}", text(*key), values.iter().max()?))
        }));
        let key = schema(&[("k", DataType::Int64)]);
        let mut state = table("rows", StateLayout::Sorted, key.clone(), visible());
        state.order = vec![SortColumn { column: 1, descending: true, nulls_first: false }];
        let first = OperatorKind::Rank {
            partition: vec![0],
            order: state.order.clone(),
            function: RankFunction::RowNumber,
            bounds: RankBounds { first: 1, last: Some(1), skip: 0 },
            shown: false,
        };
        let inputs = vec![(input(TtlTime::Event), Changelog::AppendOnly)];
        let plan = with_ttl(inputs, first, visible(), vec![state], &key, TtlTime::Event);
        let mut harness = Harness::new(plan, BackendKind::Memory, 3);
        run(&mut harness, &rows, &cuts, |_| 0);
        prop_assert_eq!(&harness.result, &greatest);

        // Each row is a key of its own; the side is told by its number.
        let keyed: Vec<(Row, i64)> = rows.iter().map(|(row, w)| (Row { value: 0, ..*row }, *w)).collect();
        let tagged: Vec<Row> = keyed
            .iter()
            .enumerate()
            .map(|(i, (row, _))| Row { value: sides[i] as i64, ..*row })
            .collect();
        let (lives, _) = model(&tagged);
        let met = lives.iter().filter(|(_, sides)| sides.contains(&0) && sides.contains(&1));
        let in_both = folded(met.map(|(key, _)| format!("k={}, v=0", text(*key))));
        let counts = schema(&[("left", DataType::Int64), ("right", DataType::Int64)]);
        let state = vec![table("rows", StateLayout::Map, visible(), counts)];
        let both = OperatorKind::SetOperation { operator: SetOperator::Intersect, all: false };
        let inputs = vec![(input(TtlTime::Event), Changelog::AppendOnly); 2];
        let plan = with_ttl(inputs, both, visible(), state, &visible(), TtlTime::Event);
        let mut harness = Harness::new(plan, BackendKind::Memory, 3);
        run(&mut harness, &keyed, &cuts, |row| sides[row]);
        prop_assert_eq!(&harness.result, &in_both);
    }
}

fn row(value: i64, time: i64, own: Option<i64>, weight: i64) -> Row {
    Row {
        key: Some(1),
        value,
        time,
        own,
        weight,
    }
}

#[test]
fn a_retraction_of_what_was_dropped_is_left_out_and_counted() {
    for backend in BACKENDS {
        let mut harness = Harness::new(sums(Changelog::Retractions, TtlTime::Event), backend, 100);
        harness.send(0, changes(&[row(5, 100, None, 1), row(7, 101, None, 1)]));
        harness.watermark(Watermark(101_000));
        harness.end_epoch();
        // Within the TTL a row can be taken back.
        harness.send(0, changes(&[row(7, 101, Some(105), -1)]));
        harness.watermark(Watermark(120_000));
        assert_eq!(
            harness.end_epoch(),
            [
                ("k=1, n=2, s=12".to_owned(), -1),
                ("k=1, n=1, s=5".to_owned(), 1)
            ]
        );
        // Another life. The row of the first one can no longer be taken back, not by a row that is merely old either.
        harness.send(0, changes(&[row(3, 121, None, 1)]));
        harness.send(0, changes(&[row(5, 100, Some(120), -1)]));
        harness.watermark(Watermark(125_000));
        assert_eq!(harness.end_epoch(), [("k=1, n=1, s=3".to_owned(), 1)]);
        assert_eq!(harness.late_rows(), 1);
        harness.restart();
        // This one is within the TTL of its own watermark, and yet older than anything that this life can hold.
        harness.send(0, changes(&[row(9, 111, Some(120), -1)]));
        harness.watermark(Watermark(126_000));
        assert!(harness.end_epoch().is_empty());
        assert_eq!(harness.late_rows(), 2);
        // A life does not begin with a retraction.
        harness.send(0, changes(&[row(3, 139, None, -1)]));
        harness.watermark(Watermark(200_000));
        assert!(harness.end_epoch().is_empty());
        assert_eq!(harness.late_rows(), 3);
    }
}

#[test]
fn nothing_is_taken_back_when_a_life_is_over_and_a_row_that_may_begin_one_waits() {
    let mut harness = Harness::new(
        sums(Changelog::AppendOnly, TtlTime::Event),
        BackendKind::Memory,
        100,
    );
    harness.send(0, changes(&[row(1, 100, None, 1)]));
    assert!(
        harness.end_epoch().is_empty(),
        "the watermark is not there yet"
    );
    harness.watermark(Watermark(100_000));
    assert_eq!(harness.end_epoch(), [("k=1, n=1, s=1".to_owned(), 1)]);
    // Within the TTL a row goes on at once.
    harness.send(0, changes(&[row(2, 105, None, 1)]));
    assert_eq!(harness.end_epoch().len(), 2);
    harness.watermark(Watermark(115_000));
    assert!(harness.end_epoch().is_empty());
    harness.restart();
    harness.send(0, changes(&[row(4, 115, None, 1), row(8, 125, None, 1)]));
    harness.watermark(Watermark(130_000));
    // Two lives in one epoch: each gives its own row.
    assert_eq!(
        harness.end_epoch(),
        [
            ("k=1, n=1, s=4".to_owned(), 1),
            ("k=1, n=1, s=8".to_owned(), 1)
        ]
    );
}

#[test]
fn by_processing_time_state_gets_old_by_the_epochs() {
    for backend in BACKENDS {
        let mut harness = Harness::new(
            sums(Changelog::AppendOnly, TtlTime::Processing),
            backend,
            100,
        );
        harness.at(1_000);
        harness.send(0, by_clock(&[(1, 5), (2, 6)]));
        assert_eq!(harness.end_epoch().len(), 2);
        harness.at(9_000);
        harness.send(0, by_clock(&[(1, 5)]));
        assert_eq!(harness.end_epoch().len(), 2);
        harness.restart();
        // Key 2 is over since 11 ms; key 1 lives until 19 ms.
        harness.at(18_999);
        harness.send(0, by_clock(&[(1, 1), (2, 6), (2, 1)]));
        let mut changes = harness.end_epoch();
        changes.sort();
        assert_eq!(
            changes,
            [
                ("k=1, n=2, s=10".to_owned(), -1),
                ("k=1, n=3, s=11".to_owned(), 1),
                ("k=2, n=2, s=7".to_owned(), 1),
            ]
        );
        harness.at(28_999);
        assert!(harness.end_epoch().is_empty());
        harness.send(0, by_clock(&[(1, 3)]));
        assert_eq!(harness.end_epoch(), [("k=1, n=1, s=3".to_owned(), 1)]);
    }
}
