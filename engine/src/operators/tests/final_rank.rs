//! Rankings that are final, within windows and in event-time order, against a model that sorts all rows of each partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;
use weir_planner::plan::{
    Changelog, OperatorKind, RankBounds, RankFunction, RankTiming, StateLayout, StreamPlan,
};
use weir_state::BackendKind;
use weir_types::{ChangeBatch, DataType, Schema, SortColumn, TimeUnit, Watermark};

use super::super::harness::{BACKENDS, Harness, batch, ints, plan, schema, table};

const MOMENT: DataType = DataType::Timestamp(TimeUnit::Milli);

fn input() -> Schema {
    schema(&[
        ("k", DataType::Int64),
        ("t", MOMENT),
        ("v", DataType::Int64),
    ])
}

/// Within windows `t` is the window's end and the order is by `v`, greatest first; else the order is by `t`, then `v`.
fn ranked(windows: bool, function: RankFunction, bounds: RankBounds) -> StreamPlan {
    let input = input();
    let key: Schema = if windows {
        input[..2].to_vec()
    } else {
        input[..1].to_vec()
    };
    let order = if windows {
        vec![SortColumn {
            column: 2,
            descending: true,
            nulls_first: true,
        }]
    } else {
        vec![SortColumn::ascending(1), SortColumn::ascending(2)]
    };
    let mut rows = table("rows", StateLayout::Sorted, key.clone(), input.clone());
    rows.order = order.clone();
    let at = schema(&[("at", DataType::Int64)]);
    let numbers = schema(&[("rows", DataType::Int64), ("number", DataType::Int64)]);
    let state = if windows {
        vec![rows, table("windows", StateLayout::Slices, key, at)]
    } else {
        vec![
            rows,
            table("times", StateLayout::Slices, key.clone(), at),
            table("numbers", StateLayout::Map, key, numbers),
        ]
    };
    let mut output = input.clone();
    output.extend(schema(&[("n", DataType::Int64)]));
    let (partition, timing) = if windows {
        (vec![0, 1], RankTiming::Window { end: 1 })
    } else {
        (vec![0], RankTiming::Order { time: 1 })
    };
    let kind = OperatorKind::FinalRank {
        partition,
        order,
        function,
        bounds,
        shown: true,
        timing,
    };
    plan(vec![(input, Changelog::AppendOnly)], kind, output, state)
}

/// Key, time in milliseconds, value, own watermark.
type Row = (Option<i64>, i64, i64, Option<i64>);

fn changes(rows: &[Row]) -> ChangeBatch {
    let times: TimestampMillisecondArray = rows.iter().map(|row| Some(row.1)).collect();
    let columns = vec![
        ints(rows.iter().map(|row| row.0)),
        Arc::new(times) as _,
        ints(rows.iter().map(|row| Some(row.2))),
    ];
    let mut changes = batch(&input(), columns, &vec![1; rows.len()]);
    if rows.iter().any(|row| row.3.is_some()) {
        let own: Int64Array = rows.iter().map(|row| row.3.map(|own| own * 1000)).collect();
        changes.own_watermark = Some(own);
    }
    changes
}

fn moment(ms: i64) -> String {
    let array: arrow::array::ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![ms]));
    arrow::util::display::array_value_to_string(&array, 0).unwrap()
}

/// The rows before `until`, numbered.
fn model(
    rows: &[Row],
    windows: bool,
    function: RankFunction,
    bounds: RankBounds,
    until: i64,
) -> BTreeMap<String, i64> {
    let mut partitions: BTreeMap<(Option<i64>, i64), Vec<Row>> = BTreeMap::new();
    let is_late = |row: &&Row| !windows && row.3.is_some_and(|own| row.1 < own);
    for row in rows.iter().filter(|row| !is_late(row)) {
        let window = if windows { row.1 } else { 0 };
        partitions.entry((row.0, window)).or_default().push(*row);
    }
    let mut result = BTreeMap::new();
    for mut rows in partitions.into_values() {
        rows.sort_by_key(|row| if windows { (-row.2, 0) } else { (row.1, row.2) });
        let order = |row: &Row| if windows { (0, row.2) } else { (row.1, row.2) };
        let mut dense = 0;
        for (place, row) in rows.iter().enumerate() {
            let first = rows.iter().position(|other| order(other) == order(row));
            let is_first = first == Some(place);
            dense += i64::from(is_first);
            let number = match function {
                RankFunction::RowNumber => place as i64 + 1,
                RankFunction::Rank => first.unwrap() as i64 + 1,
                RankFunction::DenseRank => dense,
            };
            let is_within = number >= bounds.first as i64
                && bounds.last.is_none_or(|last| number <= last as i64);
            let is_over = if windows {
                row.1 <= until
            } else {
                row.1 < until
            };
            if is_within && is_over {
                let key = row.0.map_or("NULL".to_owned(), |key| key.to_string());
                let line = format!("k={key}, t={}, v={}, n={number}", moment(row.1), row.2);
                *result.entry(line).or_default() += 1;
            }
        }
    }
    result
}

#[derive(Clone, Debug)]
enum Step {
    /// Distance from the greatest time so far, key, value.
    Row(i64, Option<i64>, i64),
    EndOfBatch,
    EndOfEpoch,
    Watermark,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = proptest::option::weighted(0.9, 0i64..3);
    let row = (-9i64..7, key, 0i64..4).prop_map(|(step, key, value)| Step::Row(step, key, value));
    let step = prop_oneof![
        14 => row, 3 => Just(Step::EndOfBatch), 2 => Just(Step::EndOfEpoch), 3 => Just(Step::Watermark), 1 => Just(Step::Restart)
    ];
    proptest::collection::vec(step, 0..160)
}

fn run(
    steps: &[Step],
    windows: bool,
    (function, bounds): (RankFunction, RankBounds),
    backend: BackendKind,
    batch_rows: usize,
) {
    let mut harness = Harness::new(ranked(windows, function, bounds), backend, batch_rows);
    let (mut all, mut pending) = (Vec::new(), Vec::<Row>::new());
    let flush = |harness: &mut Harness, pending: &mut Vec<Row>| {
        if !pending.is_empty() {
            harness.send(0, changes(pending));
            pending.clear();
        }
    };
    let (mut greatest, mut watermark) = (10_000, 0);
    for step in steps {
        match step {
            Step::Row(distance, key, value) if windows => {
                // Ends of windows that have not ended.
                let end = watermark + 500 * distance.abs().max(1);
                greatest = greatest.max(end);
                all.push((*key, end, *value, None));
                pending.push((*key, end, *value, None));
            }
            Step::Row(distance, key, value) => {
                let (time, own) = (greatest + 300 * distance, greatest - 1_500);
                greatest = greatest.max(time);
                let row = (*key, time, *value, (time < own).then_some(own));
                all.push(row);
                pending.push(row);
            }
            Step::EndOfBatch => flush(&mut harness, &mut pending),
            Step::EndOfEpoch | Step::Restart => {
                flush(&mut harness, &mut pending);
                assert!(harness.end_epoch().is_empty());
                if matches!(step, Step::Restart) {
                    harness.restart();
                }
            }
            Step::Watermark => {
                flush(&mut harness, &mut pending);
                watermark = (greatest - 1_500).max(watermark);
                harness.watermark(Watermark(watermark * 1000));
                assert!(harness.end_epoch().iter().all(|(_, weight)| *weight == 1));
                let expected = model(&all, windows, function, bounds, watermark);
                assert_eq!(harness.result, expected);
            }
        }
    }
    flush(&mut harness, &mut pending);
    harness.watermark(Watermark::MAX);
    harness.end_epoch();
    let expected = model(&all, windows, function, bounds, i64::MAX);
    assert_eq!(harness.result, expected);
    let is_late = |row: &&Row| row.3.is_some_and(|own| row.1 < own);
    let late = all.iter().filter(is_late).count() as u64;
    assert_eq!(harness.late_rows(), late);
}

fn functions() -> impl Strategy<Value = RankFunction> {
    prop_oneof![
        Just(RankFunction::RowNumber),
        Just(RankFunction::Rank),
        Just(RankFunction::DenseRank)
    ]
}

fn bounds() -> impl Strategy<Value = RankBounds> {
    (1u64..3, proptest::option::weighted(0.8, 0u64..4)).prop_map(|(first, more)| RankBounds {
        first,
        last: more.map(|more| first + more - u64::from(first > 1)),
        skip: 0,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rows_of_a_window_are_numbered_once_when_it_ends(
        steps in steps(), function in functions(), bounds in bounds(), rocks in proptest::bool::weighted(0.15), batch_rows in 1usize..6,
    ) {
        run(&steps, true, (function, bounds), BACKENDS[usize::from(rocks)], batch_rows);
    }

    #[test]
    fn rows_in_event_time_order_are_numbered_once_as_it_goes_on(
        steps in steps(), function in functions(), bounds in bounds(), rocks in proptest::bool::weighted(0.15), batch_rows in 1usize..6,
    ) {
        run(&steps, false, (function, bounds), BACKENDS[usize::from(rocks)], batch_rows);
    }
}
