//! Joins: the folded changelog is what a naive join of what is left of both inputs gives.

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

/// Which join of `l` and `r` by `lk` and `rk`.
#[derive(Clone, Copy, Debug)]
struct Form {
    join: JoinKind,
    /// `AND lv < rv`.
    residual: bool,
    null_equal: bool,
}

const INNER: Form = Form {
    join: JoinKind::Inner,
    residual: false,
    null_equal: false,
};

fn forms() -> impl Strategy<Value = Form> {
    use JoinKind::{Anti, Full, Inner, Left, Right, Semi};
    let join = proptest::sample::select(vec![Inner, Left, Right, Full, Semi, Anti]);
    (join, any::<bool>(), any::<bool>()).prop_map(|(join, residual, null_equal)| Form {
        join,
        residual,
        null_equal,
    })
}

fn joined(form: Form, changelog: Changelog) -> StreamPlan {
    let column = |index| {
        Box::new(Expr {
            kind: ExprKind::Column(index),
            data_type: DataType::Int64,
            span: Span::default(),
        })
    };
    let residual = form.residual.then(|| Expr {
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
    let mut output = left.clone();
    if form.join.gives_right() {
        output.extend(right.iter().cloned());
    }
    let kind = OperatorKind::Join {
        join: form.join,
        null_equal: vec![form.null_equal],
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

/// What the join gives, row by row of each side.
fn naive(form: Form, left: &[Row], right: &[Row]) -> BTreeMap<String, i64> {
    let fits = |l: &Row, r: &Row| {
        let equal = l.0 == r.0 && (form.null_equal || l.0.is_some());
        equal && (!form.residual || l.1 < r.1)
    };
    let cell = |name: &str, value: Option<i64>| match value {
        Some(value) => format!("{name}={value}"),
        None => format!("{name}=NULL"),
    };
    let shown = |names: [&str; 2], row: Option<&Row>| {
        let (key, value) = (row.and_then(|row| row.0), row.map(|row| row.1));
        format!("{}, {}", cell(names[0], key), cell(names[1], value))
    };
    let (l_names, r_names) = (["lk", "lv"], ["rk", "rv"]);
    let pair =
        |l: Option<&Row>, r: Option<&Row>| format!("{}, {}", shown(l_names, l), shown(r_names, r));
    let mut rows = Vec::new();
    for l in left {
        let partners: Vec<&Row> = right.iter().filter(|r| fits(l, r)).collect();
        match form.join {
            JoinKind::Semi | JoinKind::Anti => {
                if partners.is_empty() == (form.join == JoinKind::Anti) {
                    rows.push(shown(l_names, Some(l)));
                }
            }
            _ if partners.is_empty() && form.join.keeps_left() => rows.push(pair(Some(l), None)),
            _ => rows.extend(partners.into_iter().map(|r| pair(Some(l), Some(r)))),
        }
    }
    if form.join.keeps_right() {
        let alone = right.iter().filter(|r| left.iter().all(|l| !fits(l, r)));
        rows.extend(alone.map(|r| pair(None, Some(r))));
    }
    let mut result = BTreeMap::new();
    for row in rows {
        *result.entry(row).or_default() += 1;
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
fn run(steps: &[Step], form: Form, overtaking: bool, backend: BackendKind, batch_rows: usize) {
    let retracts = steps.iter().any(|step| matches!(step, Step::Retract(..)));
    let changelog = if retracts {
        Changelog::Retractions
    } else {
        Changelog::AppendOnly
    };
    let mut harness = Harness::new(joined(form, changelog), backend, batch_rows);
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
                // Pairs of rows that are only inserted are given at once.
                let at_once = form.join == JoinKind::Inner && changelog == Changelog::AppendOnly;
                if !matches!(step, Step::EndOfBatch) || at_once {
                    assert_eq!(harness.result, naive(form, &there[0], &there[1]));
                }
                if matches!(step, Step::Restart) {
                    harness.restart();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_folded_changelog_is_the_join_of_what_is_left(
        steps in steps(true), form in forms(), overtaking in any::<bool>(),
        rocks in proptest::bool::weighted(0.15), batch_rows in 2usize..9,
    ) {
        run(&steps, form, overtaking, BACKENDS[usize::from(rocks)], batch_rows);
    }

    #[test]
    fn append_only_inputs_are_joined_as_they_come(
        steps in steps(false), form in forms(),
        rocks in proptest::bool::weighted(0.15), batch_rows in 2usize..9,
    ) {
        run(&steps, form, false, BACKENDS[usize::from(rocks)], batch_rows);
    }
}

#[test]
fn append_only_inputs_give_append_only_batches_in_bounded_pieces() {
    let mut harness = Harness::new(joined(INNER, Changelog::AppendOnly), BackendKind::Memory, 4);
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
        joined(INNER, Changelog::Retractions),
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
