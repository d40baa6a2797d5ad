//! Inner join: the folded changelog is the product of what is left of both inputs.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_planner::plan::{
    BinaryOp, Changelog, Expr, ExprKind, JoinKind, OperatorKind, StateLayout, StreamPlan,
};
use weir_state::BackendKind;
use weir_types::{ChangeBatch, DataType, Schema, Span};

use super::super::harness::{BACKENDS, Harness, batch, ints, plan, schema, table};

fn side(name: &str) -> Schema {
    schema(&[
        (&format!("{name}k"), DataType::Int64),
        (&format!("{name}v"), DataType::Int64),
    ])
}

/// `l JOIN r ON lk = rk [AND lv < rv]`.
fn joined(residual: bool, changelog: Changelog) -> StreamPlan {
    let column = |index| {
        Box::new(Expr {
            kind: ExprKind::Column(index),
            data_type: DataType::Int64,
            span: Span::default(),
        })
    };
    let residual = residual.then(|| Expr {
        kind: ExprKind::Binary {
            op: BinaryOp::Lt,
            left: column(1),
            right: column(3),
        },
        data_type: DataType::Boolean,
        span: Span::default(),
    });
    let (left, right) = (side("l"), side("r"));
    let state = |name: &str, side: &Schema| {
        table(
            name,
            StateLayout::MultiMap,
            vec![side[0].clone()],
            side.clone(),
        )
    };
    let state = vec![state("left", &left), state("right", &right)];
    let output = left.iter().chain(&right).cloned().collect();
    let kind = OperatorKind::Join {
        join: JoinKind::Inner,
        null_equal: Vec::new(),
        left_keys: vec![0],
        right_keys: vec![0],
        residual,
    };
    plan(
        vec![(left, changelog), (right, changelog)],
        kind,
        output,
        state,
    )
}

type Row = (Option<i64>, i64);

fn changes(name: &str, rows: &[(Row, i64)]) -> ChangeBatch {
    let columns = vec![
        ints(rows.iter().map(|row| row.0.0)),
        ints(rows.iter().map(|row| Some(row.0.1))),
    ];
    batch(
        &side(name),
        columns,
        &rows.iter().map(|row| row.1).collect::<Vec<_>>(),
    )
}

fn product(left: &[Row], right: &[Row], residual: bool) -> BTreeMap<String, i64> {
    let mut result = BTreeMap::new();
    for (left_key, left_value) in left {
        for (right_key, right_value) in right {
            if let (Some(l), Some(r)) = (left_key, right_key)
                && l == r
                && (!residual || left_value < right_value)
            {
                *result
                    .entry(format!("lk={l}, lv={left_value}, rk={r}, rv={right_value}"))
                    .or_default() += 1;
            }
        }
    }
    result
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, Row),
    Retract(usize, usize),
    EndOfBatch,
    EndOfEpoch,
    Restart,
}

fn steps(retractions: bool) -> impl Strategy<Value = Vec<Step>> {
    let retract = (0usize..2, 0usize..1000).prop_map(move |(side, n)| {
        if retractions {
            Step::Retract(side, n)
        } else {
            Step::EndOfBatch
        }
    });
    let row = (proptest::option::weighted(0.9, 0i64..4), 0i64..4);
    let step = prop_oneof![
        10 => (0usize..2, row).prop_map(|(side, row)| Step::Insert(side, row)),
        5 => retract,
        3 => Just(Step::EndOfBatch),
        1 => Just(Step::EndOfEpoch),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..150)
}

/// `overtaking`: the changes of an epoch come in the opposite order, retractions before what they take back.
fn run(steps: &[Step], residual: bool, overtaking: bool, backend: BackendKind, batch_rows: usize) {
    let retracts = steps.iter().any(|step| matches!(step, Step::Retract(..)));
    let changelog = if retracts {
        Changelog::Retractions
    } else {
        Changelog::AppendOnly
    };
    let mut harness = Harness::new(joined(residual, changelog), backend, batch_rows);
    let mut there: [Vec<Row>; 2] = Default::default();
    let mut pending: [Vec<(Row, i64)>; 2] = Default::default();
    for step in steps.iter().chain([&Step::EndOfEpoch]) {
        match step {
            Step::Insert(side, row) => {
                there[*side].push(*row);
                pending[*side].push((*row, 1));
            }
            Step::Retract(side, n) => {
                if !there[*side].is_empty() {
                    let at = n % there[*side].len();
                    pending[*side].push((there[*side].remove(at), -1));
                }
            }
            Step::EndOfBatch if overtaking => {}
            Step::EndOfBatch | Step::EndOfEpoch | Step::Restart => {
                for (side, name) in ["l", "r"].iter().enumerate() {
                    let mut rows = std::mem::take(&mut pending[side]);
                    if overtaking {
                        rows.reverse();
                    }
                    let pieces = if overtaking { 3 } else { rows.len().max(1) };
                    rows.chunks(pieces)
                        .for_each(|rows| harness.send(side, changes(name, rows)));
                }
                if !matches!(step, Step::EndOfBatch) {
                    harness.end_epoch();
                }
                if !matches!(step, Step::EndOfBatch) || changelog == Changelog::AppendOnly {
                    assert_eq!(harness.result, product(&there[0], &there[1], residual));
                }
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
    fn the_folded_changelog_is_the_product(
        steps in steps(true), residual in any::<bool>(), overtaking in any::<bool>(),
        rocks in proptest::bool::weighted(0.15), batch_rows in 2usize..9,
    ) {
        run(&steps, residual, overtaking, BACKENDS[usize::from(rocks)], batch_rows);
    }

    #[test]
    fn append_only_inputs_are_paired_as_they_come(
        steps in steps(false), residual in any::<bool>(),
        rocks in proptest::bool::weighted(0.15), batch_rows in 2usize..9,
    ) {
        run(&steps, residual, false, BACKENDS[usize::from(rocks)], batch_rows);
    }
}

#[test]
fn append_only_inputs_give_append_only_batches_in_bounded_pieces() {
    let mut harness = Harness::new(joined(false, Changelog::AppendOnly), BackendKind::Memory, 4);
    let many = vec![((Some(1), 5), 1); 7];
    harness.send(0, changes("l", &many));
    harness.send(
        1,
        changes("r", &[((Some(1), 6), 1), ((None, 6), 1), ((Some(1), 7), 1)]),
    );
    // The harness checks that no batch has more than four rows.
    let epoch = harness.end_epoch();
    assert_eq!(
        (epoch.len(), epoch.iter().all(|change| change.1 == 1)),
        (14, true)
    );
}

#[test]
fn a_row_with_a_null_key_is_stored_and_can_be_taken_back() {
    let mut harness = Harness::new(
        joined(false, Changelog::Retractions),
        BackendKind::Memory,
        4,
    );
    harness.send(0, changes("l", &[((None, 1), 1)]));
    harness.send(1, changes("r", &[((None, 1), 1)]));
    assert_eq!(harness.end_epoch(), []);
    harness.restart();
    harness.send(0, changes("l", &[((None, 1), -1)]));
    assert_eq!(harness.end_epoch(), []);
}
