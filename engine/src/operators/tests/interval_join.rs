//! Interval joins against a model that looks at every pair: are they near enough, and was each open to the other?

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;
use weir_planner::plan::{Changelog, JoinKind, JoinTiming, OperatorKind, StateLayout, StreamPlan};
use weir_state::BackendKind;
use weir_types::{ChangeBatch, DataType, Schema, TimeUnit, Watermark};

use super::super::harness::{BACKENDS, Harness, batch, ints, plan, schema, table};

const MOMENT: DataType = DataType::Timestamp(TimeUnit::Milli);

fn side(name: &str) -> Schema {
    let column = |column: &str| format!("{name}{column}");
    schema(&[
        (column("k").as_str(), DataType::Int64),
        (column("t").as_str(), MOMENT),
    ])
}

fn joined(lower: i64, upper: i64) -> StreamPlan {
    let (left, right) = (side("l"), side("r"));
    let key = |side: &Schema| vec![side[0].clone()];
    let at = schema(&[("at", DataType::Int64)]);
    let rows = |name: &str, side: &Schema| {
        let mut value = side.clone();
        value.extend(schema(&[("own watermark", DataType::Int64)]));
        table(name, StateLayout::MultiMap, key(side), value)
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
        timing: JoinTiming::Interval {
            left_time: 1,
            right_time: 1,
            lower: lower * 1000,
            upper: upper * 1000,
        },
        join: JoinKind::Inner,
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

/// Key, time in milliseconds, own watermark.
type Row = (Option<i64>, i64, Option<i64>);

fn changes(side: &Schema, rows: &[Row]) -> ChangeBatch {
    let times: TimestampMillisecondArray = rows.iter().map(|row| Some(row.1)).collect();
    let columns = vec![ints(rows.iter().map(|row| row.0)), Arc::new(times) as _];
    let mut changes = batch(side, columns, &vec![1; rows.len()]);
    if rows.iter().any(|row| row.2.is_some()) {
        let own: Int64Array = rows.iter().map(|row| row.2.map(|own| own * 1000)).collect();
        changes.own_watermark = Some(own);
    }
    changes
}

fn moment(ms: i64) -> String {
    let array: arrow::array::ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![ms]));
    arrow::util::display::array_value_to_string(&array, 0).unwrap()
}

fn model(rows: &[Vec<Row>; 2], lower: i64, upper: i64) -> BTreeMap<String, i64> {
    let mut pairs = BTreeMap::new();
    for (left, right) in rows[0]
        .iter()
        .flat_map(|l| rows[1].iter().map(move |r| (l, r)))
    {
        let (Some(key), Some(other)) = (left.0, right.0) else {
            continue;
        };
        let near = (lower..=upper).contains(&(left.1 - right.1));
        // Partners of the right row could come up to its time + upper, of the left one up to its time − lower.
        let open = left.2.is_none_or(|own| own <= right.1 + upper)
            && right.2.is_none_or(|own| own <= left.1 - lower);
        if key == other && near && open {
            let line = format!(
                "lk={key}, lt={}, rk={key}, rt={}",
                moment(left.1),
                moment(right.1)
            );
            *pairs.entry(line).or_default() += 1;
        }
    }
    pairs
}

#[derive(Clone, Debug)]
enum Step {
    /// Input, distance from its greatest time so far, key.
    Row(usize, i64, Option<i64>),
    EndOfBatch,
    Watermark,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = proptest::option::weighted(0.9, 0i64..3);
    let row =
        (0usize..2, -30i64..9, key).prop_map(|(input, step, key)| Step::Row(input, step, key));
    let step = prop_oneof![12 => row, 3 => Just(Step::EndOfBatch), 2 => Just(Step::Watermark), 1 => Just(Step::Restart)];
    proptest::collection::vec(step, 0..120)
}

fn run(steps: &[Step], lower: i64, upper: i64, backend: BackendKind, batch_rows: usize) {
    let mut harness = Harness::new(joined(lower, upper), backend, batch_rows);
    let sides = [side("l"), side("r")];
    let mut greatest = [1_000i64; 2];
    let (mut all, mut pending) = ([const { Vec::new() }; 2], [const { Vec::<Row>::new() }; 2]);
    let flush = |harness: &mut Harness, pending: &mut [Vec<Row>; 2]| {
        for (input, rows) in pending.iter_mut().enumerate() {
            if !rows.is_empty() {
                harness.send(input, changes(&sides[input], rows));
                rows.clear();
            }
        }
    };
    for step in steps {
        match step {
            Step::Row(input, distance, key) => {
                let (time, own) = (greatest[*input] + distance, greatest[*input] - 4);
                greatest[*input] = greatest[*input].max(time);
                let row = (*key, time, (time < own).then_some(own));
                all[*input].push(row);
                pending[*input].push(row);
            }
            Step::EndOfBatch => flush(&mut harness, &mut pending),
            Step::Watermark | Step::Restart => {
                flush(&mut harness, &mut pending);
                let least = greatest[0].min(greatest[1]) - 4;
                harness.watermark(Watermark(least * 1000));
                harness.end_epoch();
                if matches!(step, Step::Restart) {
                    harness.restart();
                }
            }
        }
    }
    flush(&mut harness, &mut pending);
    harness.watermark(Watermark::MAX);
    harness.end_epoch();
    assert_eq!(harness.result, model(&all, lower, upper));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn pairs_are_those_near_enough_and_open_to_each_other(
        steps in steps(), lower in -15i64..6, span in 0i64..20, rocks in proptest::bool::weighted(0.15), batch_rows in 1usize..6,
    ) {
        run(&steps, lower, lower + span, BACKENDS[usize::from(rocks)], batch_rows);
    }
}
