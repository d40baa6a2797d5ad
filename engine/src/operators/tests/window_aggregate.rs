//! GROUP BY over windows, against a model that asks of every row and every window: does it hold the row, and was it
//! open when the row came?
//!
//! The rows come from two splits, each with a watermark of its own; the operator sees the least of both.

use std::collections::BTreeMap;

use arrow::array::{Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;
use weir_planner::plan::{Changelog, GroupColumn, OperatorKind, StateLayout, StreamPlan, Window};
use weir_state::BackendKind;
use weir_types::{ChangeBatch, DataType, Schema, TimeUnit, Watermark};

use super::super::harness::{BACKENDS, Harness, batch, call, groups, ints, plan, schema};

const MOMENT: DataType = DataType::Timestamp(TimeUnit::Milli);

fn input() -> Schema {
    schema(&[
        ("t", MOMENT),
        ("k", DataType::Int64),
        ("v", DataType::Int64),
        ("x", DataType::Float64),
    ])
}

fn windowed(window: Window) -> StreamPlan {
    let input = input();
    let aggregates = vec![
        call("count", &[], DataType::Int64),
        call("sum", &[2], DataType::Int64),
        call("max", &[2], DataType::Int64),
        call("avg", &[3], DataType::Float64),
    ];
    let output = schema(&[
        ("e", MOMENT),
        ("k", DataType::Int64),
        ("n", DataType::Int64),
        ("s", DataType::Int64),
        ("m", DataType::Int64),
        ("a", DataType::Float64),
    ]);
    let state = vec![groups(
        StateLayout::Slices,
        &input,
        &[1],
        &aggregates,
        false,
    )];
    let group_columns = vec![GroupColumn::WindowEnd, GroupColumn::Key(0)];
    let kind = OperatorKind::WindowAggregate {
        window,
        time: 0,
        keys: vec![1],
        group_columns,
        aggregates,
    };
    plan(vec![(input, Changelog::AppendOnly)], kind, output, state)
}

/// Times are in milliseconds.
#[derive(Clone, Debug)]
struct Row {
    time: i64,
    key: Option<i64>,
    value: i64,
    /// The split's watermark before it, if the row is older.
    own: Option<i64>,
}

fn changes(rows: &[Row]) -> ChangeBatch {
    let times: TimestampMillisecondArray = rows.iter().map(|row| Some(row.time)).collect();
    let floats: arrow::array::Float64Array =
        rows.iter().map(|row| Some(row.value as f64)).collect();
    let columns = vec![
        std::sync::Arc::new(times) as _,
        ints(rows.iter().map(|row| row.key)),
        ints(rows.iter().map(|row| Some(row.value))),
        std::sync::Arc::new(floats),
    ];
    let mut changes = batch(&input(), columns, &vec![1; rows.len()]);
    if rows.iter().any(|row| row.own.is_some()) {
        changes.own_watermark = Some(
            rows.iter()
                .map(|row| row.own.map(|own| own * 1000))
                .collect::<Int64Array>(),
        );
    }
    changes
}

fn moment(ms: i64) -> String {
    let array: arrow::array::ArrayRef =
        std::sync::Arc::new(TimestampMillisecondArray::from(vec![ms]));
    arrow::util::display::array_value_to_string(&array, 0).unwrap()
}

/// Windows, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Shape {
    slide: i64,
    size: i64,
    offset: i64,
    grows: bool,
}

impl Shape {
    fn window(self) -> Window {
        let (slide, size, offset) = (self.slide * 1000, self.size * 1000, self.offset * 1000);
        match (self.grows, slide == size) {
            (true, _) => Window::Cumulate {
                step: slide,
                size,
                offset,
            },
            (false, true) => Window::Tumble { size, offset },
            (false, false) => Window::Hop {
                slide,
                size,
                offset,
            },
        }
    }

    /// The ends of the windows that hold a moment.
    fn ends_of(self, time: i64) -> Vec<i64> {
        if self.grows {
            let start = (time - self.offset).div_euclid(self.size) * self.size + self.offset;
            let ends = (1..=self.size / self.slide).map(|step| start + step * self.slide);
            return ends.filter(|end| *end > time).collect();
        }
        let first = (time - self.size - self.offset).div_euclid(self.slide);
        let starts = (first..)
            .map(|k| self.offset + k * self.slide)
            .take_while(|start| *start <= time);
        starts
            .map(|start| start + self.size)
            .filter(|end| *end > time)
            .collect()
    }
}

/// What each window must give, and how many rows found a window closed.
fn model(rows: &[Row], shape: Shape) -> (BTreeMap<String, i64>, u64) {
    let mut windows: BTreeMap<(i64, Option<i64>), Vec<i64>> = BTreeMap::new();
    let mut late = 0;
    for row in rows {
        let mut is_late = false;
        for end in shape.ends_of(row.time) {
            if row.own.is_some_and(|own| end <= own) {
                is_late = true;
            } else {
                windows.entry((end, row.key)).or_default().push(row.value);
            }
        }
        late += u64::from(is_late);
    }
    let line = |((end, key), values): (&(i64, Option<i64>), &Vec<i64>)| {
        let key = key.map_or("NULL".to_owned(), |key| key.to_string());
        let sum: i64 = values.iter().sum();
        let max = values.iter().max().unwrap();
        let average = sum as f64 / values.len() as f64;
        (
            format!(
                "e={}, k={key}, n={}, s={sum}, m={max}, a={average:?}",
                moment(*end),
                values.len()
            ),
            1,
        )
    };
    (windows.iter().map(line).collect(), late)
}

#[derive(Clone, Debug)]
enum Step {
    /// Split, distance from the split's greatest time so far (negative: out of order), key, value.
    Row(usize, i64, Option<i64>, i64),
    EndOfBatch,
    Watermark,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = proptest::option::weighted(0.9, 0i64..3);
    let row = (0usize..2, -40i64..12, key, -9i64..9)
        .prop_map(|(split, step, key, value)| Step::Row(split, step, key, value));
    let step = prop_oneof![12 => row, 2 => Just(Step::EndOfBatch), 3 => Just(Step::Watermark), 1 => Just(Step::Restart)];
    proptest::collection::vec(step, 0..150)
}

fn run(steps: &[Step], shape: Shape, backend: BackendKind, batch_rows: usize) {
    let window = shape.window();
    let mut harness = Harness::new(windowed(window), backend, batch_rows);
    // A split's watermark is its greatest time so far less five.
    let mut greatest = [1_000i64; 2];
    let (mut all, mut pending): (Vec<Row>, Vec<Row>) = (Vec::new(), Vec::new());
    let mut ends: Vec<String> = Vec::new();
    let flush = |harness: &mut Harness, pending: &mut Vec<Row>| {
        if !pending.is_empty() {
            harness.send(0, changes(pending));
            pending.clear();
        }
    };
    for step in steps {
        match step {
            Step::Row(split, distance, key, value) => {
                let (time, own) = (greatest[*split] + distance, greatest[*split] - 5);
                greatest[*split] = greatest[*split].max(time);
                let row = Row {
                    time,
                    key: *key,
                    value: *value,
                    own: (time < own).then_some(own),
                };
                all.push(row.clone());
                pending.push(row);
            }
            Step::EndOfBatch => flush(&mut harness, &mut pending),
            Step::Watermark | Step::Restart => {
                flush(&mut harness, &mut pending);
                let least = greatest[0].min(greatest[1]) - 5;
                harness.watermark(Watermark(least * 1000));
                let due = moment(least);
                let given = harness.end_epoch();
                assert!(
                    given
                        .iter()
                        .all(|(row, _)| row[2..].split(',').next().unwrap() <= due.as_str())
                );
                ends.extend(
                    given
                        .into_iter()
                        .map(|(row, _)| row[2..].split(',').next().unwrap().to_owned()),
                );
                if matches!(step, Step::Restart) {
                    harness.restart();
                }
            }
        }
    }
    flush(&mut harness, &mut pending);
    harness.watermark(Watermark::MAX);
    ends.extend(
        harness
            .end_epoch()
            .into_iter()
            .map(|(row, _)| row[2..].split(',').next().unwrap().to_owned()),
    );
    let (expected, late) = model(&all, shape);
    assert_eq!(harness.result, expected);
    assert_eq!(harness.late_rows(), late);
    assert!(
        ends.is_sorted(),
        "windows come in the order of their ends: {ends:?}"
    );
    harness.watermark(Watermark::MAX);
    assert_eq!(harness.end_epoch(), [], "nothing is left");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tumbling_windows_count_every_row_that_is_not_late(
        steps in steps(), size in 1i64..20, offset in 0i64..7, rocks in proptest::bool::weighted(0.15), batch_rows in 1usize..6,
    ) {
        run(&steps, Shape { slide: size, size, offset, grows: false }, BACKENDS[usize::from(rocks)], batch_rows);
    }

    #[test]
    fn hopping_windows_count_a_row_in_exactly_the_windows_open_to_it(
        steps in steps(), slide in 1i64..8, size in 1i64..25, offset in 0i64..7, rocks in proptest::bool::weighted(0.15), batch_rows in 1usize..6,
    ) {
        run(&steps, Shape { slide, size, offset, grows: false }, BACKENDS[usize::from(rocks)], batch_rows);
    }

    #[test]
    fn growing_windows_count_a_row_in_exactly_the_windows_open_to_it(
        steps in steps(), step in 1i64..8, times in 1i64..6, offset in 0i64..7, rocks in proptest::bool::weighted(0.15), batch_rows in 1usize..6,
    ) {
        let shape = Shape { slide: step, size: step * times, offset, grows: true };
        run(&steps, shape, BACKENDS[usize::from(rocks)], batch_rows);
    }
}

#[test]
fn a_row_late_for_one_window_counts_in_the_next_only() {
    let window = Window::Hop {
        slide: 4_000,
        size: 8_000,
        offset: 0,
    };
    let mut harness = Harness::new(windowed(window), BackendKind::Memory, 10);
    let row = |time, own| Row {
        time,
        key: Some(1),
        value: 1,
        own,
    };
    // The split had promised 9 when the row of 5 came: the window up to 8 is closed to it, the one up to 12 is not,
    // although this operator has fired neither.
    harness.send(0, changes(&[row(5, None), row(5, Some(9))]));
    harness.watermark(Watermark::MAX);
    let counts: Vec<String> = harness
        .end_epoch()
        .into_iter()
        .map(|(row, _)| row.split(", ").nth(2).unwrap().to_owned())
        .collect();
    assert_eq!(counts, ["n=1", "n=2"]);
    assert_eq!(harness.late_rows(), 1);
}

#[test]
fn a_restart_before_any_watermark_loses_no_window() {
    let window = Window::Hop {
        slide: 4_000,
        size: 8_000,
        offset: 0,
    };
    let mut harness = Harness::new(windowed(window), BackendKind::Memory, 10);
    harness.send(
        0,
        changes(&[Row {
            time: 5,
            key: Some(1),
            value: 1,
            own: None,
        }]),
    );
    assert_eq!(harness.end_epoch(), []);
    harness.restart();
    harness.watermark(Watermark(8_000));
    assert_eq!(harness.end_epoch().len(), 1);
}

#[test]
fn a_restored_operator_gives_no_window_twice() {
    let window = Window::Hop {
        slide: 4_000,
        size: 8_000,
        offset: 0,
    };
    let mut harness = Harness::new(windowed(window), BackendKind::Rocksdb, 10);
    harness.send(
        0,
        changes(&[Row {
            time: 5,
            key: Some(1),
            value: 1,
            own: None,
        }]),
    );
    harness.watermark(Watermark(8_000));
    assert_eq!(harness.end_epoch().len(), 1);
    harness.restart();
    harness.watermark(Watermark(9_000));
    assert_eq!(harness.end_epoch(), []);
    harness.watermark(Watermark(12_000));
    assert_eq!(harness.end_epoch().len(), 1);
}
