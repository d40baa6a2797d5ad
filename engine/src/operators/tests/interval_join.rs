//! Interval joins of every kind against a model that looks at every pair: are they near enough, and was each open to the
//! other? And who has no partner?

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
    ])
}

fn joined(lower: i64, upper: i64, join: JoinKind) -> StreamPlan {
    let (left, right) = (side("l"), side("r"));
    let key = |side: &Schema| vec![side[0].clone()];
    let at = schema(&[("at", DataType::Int64)]);
    let rows = |name: &str, side: &Schema, marks: bool| {
        let mut value = side.clone();
        value.extend(schema(&[("own watermark", DataType::Int64)]));
        if marks && join.gives_right() {
            value.extend(schema(&[("has partner", DataType::Boolean)]));
        }
        let mut rows = table(name, StateLayout::Sorted, key(side), value);
        rows.order = vec![SortColumn::ascending(1)];
        rows
    };
    let state = vec![
        rows("left", &left, join.keeps_left()),
        rows("right", &right, join.keeps_right()),
        table("left_times", StateLayout::Slices, key(&left), at.clone()),
        table("right_times", StateLayout::Slices, key(&right), at),
    ];
    let mut output = left.clone();
    if join.gives_right() {
        output.extend(right.clone());
    }
    let kind = OperatorKind::TimedJoin {
        timing: JoinTiming::Interval {
            left_time: 1,
            right_time: 1,
            lower: lower * 1000,
            upper: upper * 1000,
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

/// Rows of the result, and how many rows came late.
fn model(
    rows: &[Vec<Row>; 2],
    lower: i64,
    upper: i64,
    join: JoinKind,
) -> (BTreeMap<String, i64>, u64) {
    let mut result = BTreeMap::new();
    let mut has_partner = rows.each_ref().map(|rows| vec![false; rows.len()]);
    let key = |key: Option<i64>| key.map_or("NULL".to_owned(), |key| key.to_string());
    let text = |name: &str, row: &Row| format!("{name}k={}, {name}t={}", key(row.0), moment(row.1));
    for (l, left) in rows[0].iter().enumerate() {
        for (r, right) in rows[1].iter().enumerate() {
            let near = (lower..=upper).contains(&(left.1 - right.1));
            // Partners of the right row could come up to its time + upper, of the left one up to its time − lower.
            let open = left.2.is_none_or(|own| own <= right.1 + upper)
                && right.2.is_none_or(|own| own <= left.1 - lower);
            if left.0.is_some() && left.0 == right.0 && near && open {
                (has_partner[0][l], has_partner[1][r]) = (true, true);
                if join.gives_right() {
                    let line = format!("{}, {}", text("l", left), text("r", right));
                    *result.entry(line).or_default() += 1;
                }
            }
        }
    }
    for (row, &has) in rows[0].iter().zip(&has_partner[0]) {
        let line = match join {
            JoinKind::Semi if has => text("l", row),
            JoinKind::Anti if !has => text("l", row),
            JoinKind::Left | JoinKind::Full if !has => {
                format!("{}, rk=NULL, rt=NULL", text("l", row))
            }
            _ => continue,
        };
        *result.entry(line).or_default() += 1;
    }
    for (row, &has) in rows[1].iter().zip(&has_partner[1]) {
        if join.keeps_right() && !has {
            let line = format!("lk=NULL, lt=NULL, {}", text("r", row));
            *result.entry(line).or_default() += 1;
        }
    }
    let mut late = 0;
    for (rows, is_given) in rows.iter().zip([join.keeps_left(), join.keeps_right()]) {
        let is_late =
            |row: &&Row| row.0.is_some() && row.2.is_some_and(|own| own > row.1 + upper - lower);
        late += if is_given {
            0
        } else {
            rows.iter().filter(is_late).count() as u64
        };
    }
    (result, late)
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

/// The time of the row that was given for want of a partner, and by how much the watermark is lowered for it.
fn given_alone(row: &str) -> Option<&str> {
    let (left, right) = row.split_once(", rk=").unwrap_or((row, ""));
    if left.starts_with("lk=NULL, lt=NULL") {
        right.split_once("rt=").map(|(_, time)| time)
    } else {
        left.split_once("lt=").map(|(_, time)| time)
    }
}

fn run(
    steps: &[Step],
    (lower, upper): (i64, i64),
    join: JoinKind,
    backend: BackendKind,
    batch_rows: usize,
) {
    let mut harness = Harness::new(joined(lower, upper, join), backend, batch_rows);
    let delay = upper.max(-lower).max(0);
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
    let mut forwarded = 0;
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
                harness.end_epoch();
                harness.watermark(Watermark(least * 1000));
                for (row, weight) in harness.end_epoch() {
                    // A watermark gives rows without a partner alone, each once, and none that is older than the
                    // watermark that was forwarded before.
                    assert_eq!(weight, 1, "{row}");
                    assert!(join != JoinKind::Inner && join != JoinKind::Semi, "{row}");
                    let time = given_alone(&row).unwrap();
                    assert!(
                        time >= moment(forwarded).as_str(),
                        "{row} behind {forwarded}"
                    );
                }
                forwarded = least - delay;
                if matches!(step, Step::Restart) {
                    harness.restart();
                }
            }
        }
    }
    flush(&mut harness, &mut pending);
    harness.watermark(Watermark::MAX);
    harness.end_epoch();
    let (expected, late) = model(&all, lower, upper, join);
    assert_eq!(harness.result, expected);
    assert_eq!(harness.late_rows(), late);
}

const KINDS: [JoinKind; 6] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::Semi,
    JoinKind::Anti,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pairs_are_those_near_enough_and_open_to_each_other(
        steps in steps(), lower in -15i64..6, span in 0i64..20, kind in 0usize..6, rocks in proptest::bool::weighted(0.15),
        batch_rows in 1usize..6,
    ) {
        run(&steps, (lower, lower + span), KINDS[kind], BACKENDS[usize::from(rocks)], batch_rows);
    }
}
