//! INTERSECT and EXCEPT: the folded changelog is the set operation of what is left of both inputs.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_planner::plan::{Changelog, OperatorKind, SetOperator, StateLayout, StreamPlan};
use weir_types::{ChangeBatch, DataType, Schema};

use super::super::harness::{BACKENDS, Harness, batch, ints, plan, schema, table};

fn columns() -> Schema {
    schema(&[("a", DataType::Int64), ("b", DataType::Int64)])
}

fn operation(operator: SetOperator, all: bool) -> StreamPlan {
    let counts = schema(&[("left", DataType::Int64), ("right", DataType::Int64)]);
    plan(
        vec![
            (columns(), Changelog::Retractions),
            (columns(), Changelog::Retractions),
        ],
        OperatorKind::SetOperation { operator, all },
        columns(),
        vec![table("rows", StateLayout::Map, columns(), counts)],
    )
}

type Row = (Option<i64>, i64);

fn changes(rows: &[(Row, i64)]) -> ChangeBatch {
    let columns_of = vec![
        ints(rows.iter().map(|row| row.0.0)),
        ints(rows.iter().map(|row| Some(row.0.1))),
    ];
    let weights: Vec<i64> = rows.iter().map(|row| row.1).collect();
    batch(&columns(), columns_of, &weights)
}

/// What a batch engine answers.
fn expected(operator: SetOperator, all: bool, sides: &[Vec<Row>; 2]) -> BTreeMap<String, i64> {
    let mut counts: BTreeMap<Row, [i64; 2]> = BTreeMap::new();
    for (side, rows) in sides.iter().enumerate() {
        for row in rows {
            counts.entry(*row).or_default()[side] += 1;
        }
    }
    let times = |[left, right]: [i64; 2]| match (operator, all) {
        (SetOperator::Intersect, true) => left.min(right),
        (SetOperator::Intersect, false) => left.min(right).min(1),
        (SetOperator::Except, true) => (left - right).max(0),
        (SetOperator::Except, false) => i64::from(right == 0) * left.min(1),
    };
    let text = |(a, b): Row| {
        let a = a.map_or("NULL".to_owned(), |a| a.to_string());
        format!("a={a}, b={b}")
    };
    counts
        .into_iter()
        .map(|(row, counts)| (text(row), times(counts)))
        .filter(|(_, times)| *times > 0)
        .collect()
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, Row),
    Retract(usize, usize),
    EndOfEpoch,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (proptest::option::weighted(0.8, 0i64..3), 0i64..2);
    let step = prop_oneof![
        10 => (0usize..2, row).prop_map(|(side, row)| Step::Insert(side, row)),
        5 => (0usize..2, 0usize..1000).prop_map(|(side, n)| Step::Retract(side, n)),
        2 => Just(Step::EndOfEpoch),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..120)
}

fn run(operator: SetOperator, all: bool, backend: usize, batch_rows: usize, steps: Vec<Step>) {
    let mut harness = Harness::new(operation(operator, all), BACKENDS[backend], batch_rows);
    let mut sides: [Vec<Row>; 2] = Default::default();
    for step in steps {
        match step {
            Step::Insert(side, row) => {
                sides[side].push(row);
                harness.send(side, changes(&[(row, 1)]));
            }
            Step::Retract(side, n) if !sides[side].is_empty() => {
                let at = n % sides[side].len();
                let row = sides[side].swap_remove(at);
                harness.send(side, changes(&[(row, -1)]));
            }
            Step::Retract(..) => {}
            Step::EndOfEpoch | Step::Restart => {
                harness.end_epoch();
                assert_eq!(harness.result, expected(operator, all, &sides));
                if matches!(step, Step::Restart) {
                    harness.restart();
                }
            }
        }
    }
    harness.end_epoch();
    assert_eq!(harness.result, expected(operator, all, &sides));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_result_is_the_set_operation_of_what_is_left(
        intersect in any::<bool>(), all in any::<bool>(), backend in 0usize..2, batch_rows in 1usize..5, steps in steps()
    ) {
        let operator = if intersect { SetOperator::Intersect } else { SetOperator::Except };
        run(operator, all, backend, batch_rows, steps);
    }
}

#[test]
fn a_row_that_comes_and_goes_within_an_epoch_shows_nothing() {
    let mut harness = Harness::new(operation(SetOperator::Except, true), BACKENDS[0], 10);
    // The retraction may come first: another worker sent it.
    harness.send(0, changes(&[((Some(1), 1), -1)]));
    harness.send(0, changes(&[((Some(1), 1), 1)]));
    assert!(harness.end_epoch().is_empty());
}

#[test]
fn many_equal_rows_come_in_several_batches() {
    let mut harness = Harness::new(operation(SetOperator::Except, true), BACKENDS[0], 3);
    let rows: Vec<_> = (0..10).map(|_| ((Some(1), 1), 1)).collect();
    harness.send(0, changes(&rows));
    harness.send(1, changes(&rows[..2]));
    assert_eq!(harness.end_epoch().len(), 8);
    harness.send(1, changes(&rows));
    assert_eq!(harness.end_epoch().len(), 8);
    assert!(harness.result.is_empty());
}

#[test]
fn a_row_taken_back_that_never_came_is_an_error() {
    let mut harness = Harness::new(operation(SetOperator::Intersect, false), BACKENDS[0], 3);
    harness.send(0, changes(&[((Some(1), 1), -1)]));
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| harness.end_epoch()));
    assert!(ended.is_err(), "the harness unwraps the error");
}
