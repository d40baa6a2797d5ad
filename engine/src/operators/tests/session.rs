//! SESSION against a model that sorts the rows and looks for gaps.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;
use weir_planner::plan::{Changelog, OperatorKind, StateLayout, StreamPlan};
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

fn sessions(gap: i64) -> StreamPlan {
    let input = input();
    let mut output = input.clone();
    output.extend(schema(&[("s", MOMENT), ("e", MOMENT), ("w", MOMENT)]));
    let key = schema(&[("k", DataType::Int64)]);
    let mut rows = table("rows", StateLayout::Sorted, key.clone(), input.clone());
    rows.order = vec![SortColumn::ascending(1)];
    let at = schema(&[("at", DataType::Int64)]);
    let state = vec![rows, table("times", StateLayout::Slices, key, at)];
    let kind = OperatorKind::Session {
        gap: gap * 1000,
        time: 1,
        keys: vec![0],
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

fn model(rows: &[Row], gap: i64) -> (BTreeMap<String, i64>, u64) {
    let mut keys: BTreeMap<Option<i64>, Vec<(i64, i64)>> = BTreeMap::new();
    let mut late = 0;
    for &(key, time, value, own) in rows {
        if own.is_some_and(|own| time < own) {
            late += 1;
        } else {
            keys.entry(key).or_default().push((time, value));
        }
    }
    let mut lines = BTreeMap::new();
    for (key, mut rows) in keys {
        rows.sort_unstable();
        for session in rows.chunk_by(|a, b| b.0 - a.0 < gap) {
            let (start, end) = (session[0].0, session[session.len() - 1].0 + gap);
            for (time, value) in session {
                let key = key.map_or("NULL".to_owned(), |key| key.to_string());
                let line = format!(
                    "k={key}, t={}, v={value}, s={}, e={}, w={}",
                    moment(*time),
                    moment(start),
                    moment(end),
                    moment(end - 1)
                );
                *lines.entry(line).or_default() += 1;
            }
        }
    }
    (lines, late)
}

#[derive(Clone, Debug)]
enum Step {
    Row(usize, i64, Option<i64>, i64),
    EndOfBatch,
    Watermark,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = proptest::option::weighted(0.9, 0i64..3);
    let row = (0usize..2, -30i64..9, key, 0i64..3)
        .prop_map(|(split, step, key, value)| Step::Row(split, step, key, value));
    let step = prop_oneof![12 => row, 2 => Just(Step::EndOfBatch), 3 => Just(Step::Watermark), 1 => Just(Step::Restart)];
    proptest::collection::vec(step, 0..150)
}

fn run(steps: &[Step], gap: i64, backend: BackendKind, batch_rows: usize) {
    let mut harness = Harness::new(sessions(gap), backend, batch_rows);
    let mut greatest = [1_000i64; 2];
    let (mut all, mut pending): (Vec<Row>, Vec<Row>) = (Vec::new(), Vec::new());
    let flush = |harness: &mut Harness, pending: &mut Vec<Row>| {
        if !pending.is_empty() {
            harness.send(0, changes(pending));
            pending.clear();
        }
    };
    for step in steps {
        match step {
            Step::Row(split, distance, key, value) => {
                let (time, own) = (greatest[*split] + distance, greatest[*split] - 8);
                greatest[*split] = greatest[*split].max(time);
                let row = (*key, time, *value, (time < own).then_some(own));
                all.push(row);
                pending.push(row);
            }
            Step::EndOfBatch => flush(&mut harness, &mut pending),
            Step::Watermark | Step::Restart => {
                flush(&mut harness, &mut pending);
                let least = greatest[0].min(greatest[1]) - 8;
                harness.watermark(Watermark(least * 1000));
                let due = format!("e={}", moment(least));
                for (row, _) in harness.end_epoch() {
                    assert!(row.split(", ").nth(4).unwrap() <= due.as_str(), "{row}");
                }
                if matches!(step, Step::Restart) {
                    harness.restart();
                }
            }
        }
    }
    flush(&mut harness, &mut pending);
    harness.watermark(Watermark::MAX);
    harness.end_epoch();
    let (expected, late) = model(&all, gap);
    assert_eq!(harness.result, expected);
    assert_eq!(harness.late_rows(), late);
    harness.watermark(Watermark::MAX);
    assert_eq!(harness.end_epoch(), [], "nothing is left");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn sessions_are_runs_without_a_gap_however_their_rows_come(
        steps in steps(), gap in 1i64..12, rocks in proptest::bool::weighted(0.15), batch_rows in 1usize..6,
    ) {
        run(&steps, gap, BACKENDS[usize::from(rocks)], batch_rows);
    }
}

#[test]
fn a_row_between_two_sessions_makes_one_of_them() {
    let mut harness = Harness::new(sessions(5), BackendKind::Memory, 10);
    let row = |time| (Some(1), time, 0, None);
    harness.send(0, changes(&[row(10), row(18)]));
    harness.watermark(Watermark(14_000));
    assert_eq!(harness.end_epoch(), []);
    harness.send(0, changes(&[row(14)]));
    harness.watermark(Watermark(22_999));
    assert_eq!(harness.end_epoch(), []);
    harness.watermark(Watermark(23_000));
    assert_eq!(harness.end_epoch().len(), 3);
    assert!(
        harness
            .result
            .keys()
            .all(|row| row.contains(&moment(10)) && row.contains(&moment(23)))
    );
}

#[test]
fn a_row_that_is_taken_back_leaves_its_session_which_may_fall_into_two() {
    for backend in BACKENDS {
        let mut harness = Harness::new(sessions(10), backend, 100);
        harness.send(
            0,
            changes(&[
                (Some(1), 0, 1, None),
                (Some(1), 8, 2, None),
                (Some(1), 14, 3, None),
            ]),
        );
        harness.send(0, changes(&[(Some(2), 3, 7, None), (Some(2), 3, 7, None)]));
        harness.watermark(Watermark(3_000));
        harness.end_epoch();
        harness.restart();
        let mut back = changes(&[(Some(1), 8, 2, None), (Some(2), 3, 7, None)]);
        back.retracted = Some(arrow::buffer::BooleanBuffer::new_set(2));
        harness.send(0, back);
        // One that is older than its own watermark is late, as an insertion would be.
        let mut late = changes(&[(Some(1), 0, 1, Some(3))]);
        late.retracted = Some(arrow::buffer::BooleanBuffer::new_set(1));
        harness.send(0, late);
        assert_eq!(harness.late_rows(), 1);
        harness.watermark(Watermark::MAX);
        let given: Vec<String> = harness
            .end_epoch()
            .into_iter()
            .map(|change| change.0)
            .collect();
        let row = |k: i64, t: i64, v: i64, start: i64, end: i64| {
            let (t, start, last, end) = (moment(t), moment(start), moment(end - 1), moment(end));
            format!("k={k}, t={t}, v={v}, s={start}, e={end}, w={last}")
        };
        let mut expected = vec![
            row(1, 0, 1, 0, 10),
            row(1, 14, 3, 14, 24),
            row(2, 3, 7, 3, 13),
        ];
        let mut given = given;
        given.sort();
        expected.sort();
        assert_eq!(given, expected);
    }
}
