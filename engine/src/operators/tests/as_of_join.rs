//! Joins as of a point in time against a model that looks through all versions of each row's key.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;
use weir_planner::plan::{Changelog, JoinKind, JoinTiming, OperatorKind, StateLayout, StreamPlan};
use weir_state::BackendKind;
use weir_types::{ChangeBatch, DataType, Schema, SortColumn, TimeUnit, Watermark};

use super::super::harness::{BACKENDS, Harness, batch, ints, plan, schema, table};

const MOMENT: DataType = DataType::Timestamp(TimeUnit::Milli);

fn side(name: &str) -> Schema {
    let column = |column: &str| format!("{name}{column}");
    schema(&[
        (column("k").as_str(), DataType::Int64),
        (column("t").as_str(), MOMENT),
        (column("v").as_str(), DataType::Int64),
    ])
}

fn joined(strict: bool, join: JoinKind) -> StreamPlan {
    let (left, right) = (side("l"), side("r"));
    let key = |side: &Schema| vec![side[0].clone()];
    let at = schema(&[("at", DataType::Int64)]);
    let rows = |name: &str, side: &Schema| {
        let mut rows = table(name, StateLayout::Sorted, key(side), side.clone());
        rows.order = vec![SortColumn::ascending(1)];
        rows
    };
    let state = vec![
        rows("left", &left),
        rows("right", &right),
        table("left_times", StateLayout::Slices, key(&left), at.clone()),
        table("right_times", StateLayout::Slices, key(&right), at),
    ];
    let mut output = left.clone();
    output.extend(right.clone());
    let kind = OperatorKind::TimedJoin {
        timing: JoinTiming::AsOf {
            left_time: 1,
            right_time: 1,
            strict,
        },
        join,
        left_keys: vec![0],
        right_keys: vec![0],
        residual: None,
    };
    let inputs = vec![
        (left, Changelog::AppendOnly),
        (right, Changelog::AppendOnly),
    ];
    plan(inputs, kind, output, state)
}

/// Key, time in milliseconds, value, own watermark.
type Row = (Option<i64>, i64, i64, Option<i64>);

fn changes(side: &Schema, rows: &[Row]) -> ChangeBatch {
    let times: TimestampMillisecondArray = rows.iter().map(|row| Some(row.1)).collect();
    let columns = vec![
        ints(rows.iter().map(|row| row.0)),
        Arc::new(times) as _,
        ints(rows.iter().map(|row| Some(row.2))),
    ];
    let mut changes = batch(side, columns, &vec![1; rows.len()]);
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

fn model(rows: &[Vec<Row>; 2], strict: bool, join: JoinKind) -> (BTreeMap<String, i64>, u64) {
    let is_late = |row: &&Row| row.3.is_some_and(|own| row.1 < own);
    let late = rows.iter().flatten().filter(is_late).count() as u64;
    let mut pairs = BTreeMap::new();
    for left in rows[0].iter().filter(|row| !is_late(row)) {
        let key = left.0.map_or("NULL".to_owned(), |key| key.to_string());
        let versions = rows[1].iter().filter(|row| !is_late(row));
        let versions = versions.filter(|row| {
            left.0.is_some()
                && row.0 == left.0
                && if strict {
                    row.1 < left.1
                } else {
                    row.1 <= left.1
                }
        });
        // The latest; of several the one with the least value.
        let Some(right) = versions.max_by_key(|row| (row.1, -row.2)) else {
            if join == JoinKind::Left {
                let line = format!(
                    "lk={key}, lt={}, lv={}, rk=NULL, rt=NULL, rv=NULL",
                    moment(left.1),
                    left.2
                );
                *pairs.entry(line).or_default() += 1;
            }
            continue;
        };
        let line = format!(
            "lk={key}, lt={}, lv={}, rk={key}, rt={}, rv={}",
            moment(left.1),
            left.2,
            moment(right.1),
            right.2
        );
        *pairs.entry(line).or_default() += 1;
    }
    (pairs, late)
}

#[derive(Clone, Debug)]
enum Step {
    /// Input, distance from its greatest time so far, key, value.
    Row(usize, i64, Option<i64>, i64),
    EndOfBatch,
    Watermark,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = proptest::option::weighted(0.9, 0i64..3);
    let row = (0usize..2, -12i64..9, key, 0i64..3)
        .prop_map(|(input, step, key, value)| Step::Row(input, step * 200, key, value));
    let step = prop_oneof![12 => row, 3 => Just(Step::EndOfBatch), 3 => Just(Step::Watermark), 1 => Just(Step::Restart)];
    proptest::collection::vec(step, 0..120)
}

fn run(steps: &[Step], (strict, join): (bool, JoinKind), backend: BackendKind, batch_rows: usize) {
    let mut harness = Harness::new(joined(strict, join), backend, batch_rows);
    let sides = [side("l"), side("r")];
    let mut greatest = [10_000i64; 2];
    let (mut all, mut pending) = ([const { Vec::new() }; 2], [const { Vec::<Row>::new() }; 2]);
    let flush = |harness: &mut Harness, pending: &mut [Vec<Row>; 2]| {
        for (input, rows) in pending.iter_mut().enumerate() {
            if !rows.is_empty() {
                harness.send(input, changes(&sides[input], rows));
                rows.clear();
            }
        }
    };
    let mut before = i64::MIN;
    for step in steps {
        match step {
            Step::Row(input, distance, key, value) => {
                let (time, own) = (greatest[*input] + distance, greatest[*input] - 1_000);
                greatest[*input] = greatest[*input].max(time);
                let row = (*key, time, *value, (time < own).then_some(own));
                all[*input].push(row);
                pending[*input].push(row);
            }
            Step::EndOfBatch => flush(&mut harness, &mut pending),
            Step::Watermark | Step::Restart => {
                flush(&mut harness, &mut pending);
                let least = greatest[0].min(greatest[1]) - 1_000;
                // Rows with a NULL key wait for nothing.
                let at_once = harness.end_epoch();
                assert!(at_once.iter().all(|(row, _)| row.starts_with("lk=NULL")));
                harness.watermark(Watermark(least * 1000));
                for (row, _) in harness.end_epoch() {
                    let time = row.split(", ").nth(1).unwrap().to_owned();
                    assert!(time < format!("lt={}", moment(least)), "{row}");
                    assert!(time >= format!("lt={}", moment(before.max(0))), "{row}");
                }
                before = least;
                if matches!(step, Step::Restart) {
                    harness.restart();
                }
            }
        }
    }
    flush(&mut harness, &mut pending);
    harness.watermark(Watermark::MAX);
    harness.end_epoch();
    let (expected, late) = model(&all, strict, join);
    assert_eq!(harness.result, expected);
    assert_eq!(harness.late_rows(), late);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn each_row_has_the_last_version_that_is_not_later(
        steps in steps(), strict: bool, left: bool, rocks in proptest::bool::weighted(0.15), batch_rows in 1usize..6,
    ) {
        let join = if left { JoinKind::Left } else { JoinKind::Inner };
        run(&steps, (strict, join), BACKENDS[usize::from(rocks)], batch_rows);
    }
}
