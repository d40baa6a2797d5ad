//! GROUP BY without a window: the folded changelog is the batch answer over what is left of the input.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_planner::plan::{Changelog, OperatorKind, StateLayout, StreamPlan};
use weir_state::BackendKind;
use weir_types::{ChangeBatch, DataType, Schema};

use super::super::harness::{BACKENDS, Change, Harness, batch, call, groups, ints, plan, schema};

fn input() -> Schema {
    schema(&[
        ("k", DataType::Int64),
        ("v", DataType::Int64),
        ("f", DataType::Boolean),
    ])
}

fn grouped(keys: &[usize], retractions: bool) -> StreamPlan {
    let input = input();
    let mut filtered = call("count", &[1], DataType::Int64);
    filtered.filter = Some(2);
    let mut aggregates = vec![
        call("count", &[], DataType::Int64),
        call("sum", &[1], DataType::Int64),
        filtered,
        call("bool_or", &[2], DataType::Boolean),
    ];
    if !retractions {
        aggregates.extend([
            call("min", &[1], DataType::Int64),
            call("max", &[1], DataType::Int64),
        ]);
    }
    let names = ["n", "s", "c", "b", "lo", "hi"];
    let mut output: Schema = keys.iter().map(|&key| input[key].clone()).collect();
    for (aggregate, name) in aggregates.iter().zip(names) {
        output.extend(schema(&[(name, aggregate.data_type.clone())]));
    }
    let state = vec![groups(
        StateLayout::Map,
        &input,
        keys,
        &aggregates,
        retractions,
    )];
    let changelog = if retractions {
        Changelog::Retractions
    } else {
        Changelog::AppendOnly
    };
    plan(
        vec![(input, changelog)],
        OperatorKind::Aggregate {
            keys: keys.to_vec(),
            aggregates,
            always: Vec::new(),
        },
        output,
        state,
    )
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    key: Option<i64>,
    value: Option<i64>,
    flag: Option<bool>,
}

fn changes(rows: &[(Row, i64)]) -> ChangeBatch {
    let flags: arrow::array::BooleanArray = rows.iter().map(|(row, _)| row.flag).collect();
    let columns = vec![
        ints(rows.iter().map(|(row, _)| row.key)),
        ints(rows.iter().map(|(row, _)| row.value)),
        std::sync::Arc::new(flags),
    ];
    batch(
        &input(),
        columns,
        &rows.iter().map(|row| row.1).collect::<Vec<_>>(),
    )
}

fn text<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or("NULL".to_owned(), |value| value.to_string())
}

/// The batch answer, as the harness writes rows.
fn answer(rows: &[Row], keyed: bool, append_only: bool) -> BTreeMap<String, i64> {
    let mut by_key: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
    if !keyed {
        by_key.insert(None, Vec::new());
    }
    for row in rows {
        by_key
            .entry(row.key.filter(|_| keyed))
            .or_default()
            .push(*row);
    }
    let line = |(key, rows): (&Option<i64>, &Vec<Row>)| {
        let values: Vec<i64> = rows.iter().filter_map(|row| row.value).collect();
        let filtered = rows
            .iter()
            .filter(|row| row.value.is_some() && row.flag == Some(true))
            .count();
        let flags: Vec<bool> = rows.iter().filter_map(|row| row.flag).collect();
        let mut line = if keyed {
            format!("k={}, ", text(*key))
        } else {
            String::new()
        };
        let sum = (!values.is_empty()).then(|| values.iter().sum::<i64>());
        let any = (!flags.is_empty()).then(|| flags.contains(&true));
        line += &format!(
            "n={}, s={}, c={filtered}, b={}",
            rows.len(),
            text(sum),
            text(any)
        );
        if append_only {
            line += &format!(
                ", lo={}, hi={}",
                text(values.iter().min()),
                text(values.iter().max())
            );
        }
        (line, 1)
    };
    by_key.iter().map(line).collect()
}

/// No key gives more than one retraction and one insertion in an epoch, the retraction first.
fn assert_one_change_a_key(epoch: &[Change]) {
    let mut of_key: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (row, weight) in epoch {
        of_key
            .entry(row.split(", ").next().unwrap())
            .or_default()
            .push(*weight);
    }
    for (key, weights) in of_key {
        assert!(
            [&[1][..], &[-1], &[-1, 1]].contains(&&weights[..]),
            "{key} gave {weights:?}"
        );
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Row),
    /// Takes back the n-th of the rows that are there.
    Retract(usize),
    EndOfBatch,
    EndOfEpoch,
    Restart,
}

fn steps(retractions: bool) -> impl Strategy<Value = Vec<Step>> {
    let row = (
        proptest::option::weighted(0.9, 0i64..6),
        proptest::option::weighted(0.8, -9i64..9),
        any::<Option<bool>>(),
    )
        .prop_map(|(key, value, flag)| Step::Insert(Row { key, value, flag }));
    let retract = (0usize..1000).prop_map(move |n| {
        if retractions {
            Step::Retract(n)
        } else {
            Step::EndOfBatch
        }
    });
    let step = prop_oneof![
        10 => row,
        6 => retract,
        2 => Just(Step::EndOfBatch),
        2 => Just(Step::EndOfEpoch),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..120)
}

fn run(steps: &[Step], keyed: bool, retractions: bool, backend: BackendKind, batch_rows: usize) {
    let keys: &[usize] = if keyed { &[0] } else { &[] };
    let mut harness = Harness::new(grouped(keys, retractions), backend, batch_rows);
    let (mut there, mut pending): (Vec<Row>, Vec<(Row, i64)>) = (Vec::new(), Vec::new());
    let flush = |harness: &mut Harness, pending: &mut Vec<(Row, i64)>| {
        if !pending.is_empty() {
            harness.send(0, changes(pending));
            pending.clear();
        }
    };
    for step in steps.iter().chain([&Step::EndOfEpoch]) {
        match step {
            Step::Insert(row) => {
                there.push(*row);
                pending.push((*row, 1));
            }
            Step::Retract(n) if !there.is_empty() => {
                let row = there.remove(n % there.len());
                pending.push((row, -1));
            }
            Step::Retract(_) => {}
            Step::EndOfBatch => flush(&mut harness, &mut pending),
            Step::EndOfEpoch | Step::Restart => {
                flush(&mut harness, &mut pending);
                let epoch = harness.end_epoch();
                if keyed {
                    assert_one_change_a_key(&epoch);
                } else {
                    assert!(epoch.len() <= 2, "{epoch:?}");
                }
                assert_eq!(harness.result, answer(&there, keyed, !retractions));
                if matches!(step, Step::Restart) {
                    harness.restart();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_folded_changelog_is_the_batch_answer(
        steps in steps(true), keyed in any::<bool>(), rocks in proptest::bool::weighted(0.15), batch_rows in 2usize..9,
    ) {
        run(&steps, keyed, true, BACKENDS[usize::from(rocks)], batch_rows);
    }

    #[test]
    fn append_only_input_gives_the_same_by_the_fast_path(
        steps in steps(false), keyed in any::<bool>(), rocks in proptest::bool::weighted(0.15), batch_rows in 2usize..9,
    ) {
        run(&steps, keyed, false, BACKENDS[usize::from(rocks)], batch_rows);
    }
}

#[test]
fn an_aggregate_without_keys_gives_its_row_for_empty_input() {
    let mut harness = Harness::new(grouped(&[], false), BackendKind::Memory, 10);
    let row = "n=0, s=NULL, c=0, b=NULL, lo=NULL, hi=NULL".to_owned();
    assert_eq!(harness.end_epoch(), [(row, 1)]);
    assert_eq!(harness.end_epoch(), []);
    harness.restart();
    assert_eq!(
        harness.end_epoch(),
        [],
        "a restored aggregate has given its row already"
    );
}

#[test]
fn a_group_that_comes_and_goes_within_an_epoch_is_never_seen() {
    let mut harness = Harness::new(grouped(&[0], true), BackendKind::Memory, 10);
    let row = Row {
        key: Some(1),
        value: Some(2),
        flag: None,
    };
    harness.send(0, changes(&[(row, 1), (row, -1)]));
    assert_eq!(harness.end_epoch(), []);
    harness.send(0, changes(&[(row, 1)]));
    assert_eq!(harness.end_epoch().len(), 1);
    harness.send(0, changes(&[(row, -1), (row, 1)]));
    assert_eq!(harness.end_epoch(), [], "an equal result is no change");
}

#[test]
fn a_sum_that_overflows_names_the_group() {
    let mut harness = Harness::new(grouped(&[0], false), BackendKind::Memory, 10);
    let row = |value| {
        (
            Row {
                key: Some(7),
                value: Some(value),
                flag: None,
            },
            1,
        )
    };
    // In between the sum is greater than its type can hold: only the result counts.
    harness.send(0, changes(&[row(i64::MAX), row(1), row(-1)]));
    assert_eq!(harness.end_epoch().len(), 1);
    harness.send(0, changes(&[row(1)]));
    let error = harness.try_end_epoch().unwrap_err();
    let crate::Error::Row(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.reason, "the sum overflows its type");
    assert_eq!(error.row, [("k".to_owned(), "7".to_owned())]);
    assert_eq!(error.span.start.line, 1);
}

#[test]
fn a_row_that_was_never_there_cannot_be_taken_back() {
    let mut harness = Harness::new(grouped(&[0], true), BackendKind::Memory, 10);
    harness.send(
        0,
        changes(&[(
            Row {
                key: Some(7),
                value: Some(1),
                flag: None,
            },
            -1,
        )]),
    );
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| harness.end_epoch()));
    assert!(failed.is_err(), "the error of an inconsistent changelog");
}
