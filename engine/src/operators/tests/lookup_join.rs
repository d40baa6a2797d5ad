//! Joins with the right as it is, against models: a batch join where the right ends, the rows of the epoch's end where it goes on.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_planner::plan::{
    BinaryOp, Changelog, Expr, ExprKind, JoinKind, OperatorKind, StateLayout, StreamPlan,
};
use weir_state::BackendKind;
use weir_types::{ChangeBatch, Column, DataType, Schema, Span};

use super::super::harness::{BACKENDS, Harness, batch, ints, plan, schema, table};

/// A key and a value, and whether it comes or goes.
type Row = (Option<i64>, i64, i64);

fn side(name: &str) -> Schema {
    schema(&[
        (&format!("{name}k"), DataType::Int64),
        (&format!("{name}v"), DataType::Int64),
    ])
}

/// `lv < rv`, if there is a residual.
fn looked_up(join: JoinKind, complete: bool, residual: bool, left_changes: bool) -> StreamPlan {
    let (left, right) = (side("l"), side("r"));
    let mut state = vec![table(
        "right",
        StateLayout::MultiMap,
        right[..1].to_vec(),
        right.clone(),
    )];
    if complete {
        let mut value = left.clone();
        value.push(Column::new("own watermark", DataType::Int64));
        state.push(table(
            "waiting",
            StateLayout::MultiMap,
            left[..1].to_vec(),
            value,
        ));
        let at = schema(&[("at", DataType::Int64)]);
        state.push(table(
            "waiting_keys",
            StateLayout::Slices,
            left[..1].to_vec(),
            at,
        ));
    }
    let value = |column| Box::new(Expr::column(column, DataType::Int64, Span::default()));
    let residual = residual.then(|| Expr {
        kind: ExprKind::Binary {
            op: BinaryOp::Lt,
            left: value(1),
            right: value(3),
        },
        data_type: DataType::Boolean,
        span: Span::default(),
    });
    let kind = OperatorKind::LookupJoin {
        join,
        left_keys: vec![0],
        right_keys: vec![0],
        null_equal: Vec::new(),
        residual,
        complete,
    };
    let changes = if left_changes {
        Changelog::Retractions
    } else {
        Changelog::AppendOnly
    };
    let inputs = vec![
        (left.clone(), changes),
        (right.clone(), Changelog::Retractions),
    ];
    plan(inputs, kind, left.into_iter().chain(right).collect(), state)
}

fn changes(side: &Schema, rows: &[Row]) -> ChangeBatch {
    let columns = vec![
        ints(rows.iter().map(|row| row.0)),
        ints(rows.iter().map(|row| Some(row.1))),
    ];
    let weights: Vec<i64> = rows.iter().map(|row| row.2).collect();
    batch(side, columns, &weights)
}

fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}

/// What these left rows find among those of the right.
fn found(
    left: &[Row],
    right: &BTreeMap<(Option<i64>, i64), i64>,
    join: JoinKind,
    residual: bool,
    result: &mut BTreeMap<String, i64>,
) {
    for &(key, value, weight) in left {
        let mut partners = 0;
        for (&(other, of_right), &count) in right {
            if key.is_some() && key == other && count > 0 && (!residual || value < of_right) {
                partners += count;
                let line = format!(
                    "lk={}, lv={value}, rk={}, rv={of_right}",
                    number(key),
                    number(other)
                );
                *result.entry(line).or_default() += weight * count;
            }
        }
        if partners == 0 && join == JoinKind::Left {
            let line = format!("lk={}, lv={value}, rk=NULL, rv=NULL", number(key));
            *result.entry(line).or_default() += weight;
        }
    }
}

/// The rows of both sides in one epoch, and whether a restart follows it.
type Epoch = (Vec<Row>, Vec<Row>, bool);

fn row() -> impl Strategy<Value = Row> {
    (prop::option::weighted(0.8, 0..3_i64), 0..4_i64, Just(1))
}

fn epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let rows = || prop::collection::vec(row(), 0..5);
    prop::collection::vec((rows(), rows(), prop::bool::weighted(0.2)), 1..5)
}

/// Rows with some of those before them taken back.
fn with_retractions(rows: &[Row], there: &mut Vec<Row>, seed: usize) -> Vec<Row> {
    let mut changes = rows.to_vec();
    if seed.is_multiple_of(3) && !there.is_empty() {
        let gone = there.remove(seed % there.len());
        changes.insert(seed % (changes.len() + 1), (gone.0, gone.1, -1));
    }
    there.extend(rows);
    changes
}

fn check(
    backend: BackendKind,
    complete: bool,
    join: JoinKind,
    residual: bool,
    left_changes: bool,
    batch_rows: usize,
    epochs: &[Epoch],
) -> Result<(), TestCaseError> {
    let plan = looked_up(join, complete, residual, left_changes);
    let mut harness = Harness::new(plan, backend, batch_rows);
    let (left_schema, right_schema) = (side("l"), side("r"));
    let (mut left_there, mut right_there) = (Vec::new(), Vec::new());
    let (mut right, mut waiting) = (BTreeMap::new(), Vec::new());
    let mut expected = BTreeMap::new();
    // The right is over before the last epoch.
    for (number, (left, of_right, restarts)) in epochs.iter().enumerate() {
        let left = if left_changes {
            with_retractions(left, &mut left_there, number + left.len())
        } else {
            left.clone()
        };
        let is_last = number + 1 == epochs.len();
        let of_right = if complete && is_last {
            Vec::new()
        } else {
            with_retractions(of_right, &mut right_there, number + of_right.len())
        };
        harness.send(0, changes(&left_schema, &left));
        harness.send(1, changes(&right_schema, &of_right));
        for &(key, value, weight) in &of_right {
            *right.entry((key, value)).or_default() += weight;
        }
        waiting.extend(left);
        if complete && is_last {
            harness.end_side();
        }
        prop_assert_eq!(harness.withholds_watermark(), complete);
        harness.end_epoch();
        if !complete || is_last {
            found(&waiting, &right, join, residual, &mut expected);
            waiting.clear();
        }
        expected.retain(|_, count| *count != 0);
        prop_assert_eq!(&harness.result, &expected, "after epoch {}", number);
        if *restarts {
            harness.restart();
        }
    }
    if complete {
        // What comes now meets all of the right, at once where nothing can be taken back.
        let late = [(Some(1), 0, 1), (None, 1, 1), (Some(9), 2, 1)];
        harness.end_epoch();
        prop_assert!(!harness.withholds_watermark());
        harness.send(0, changes(&left_schema, &late));
        if left_changes {
            harness.end_epoch();
        }
        found(&late, &right, join, residual, &mut expected);
        expected.retain(|_, count| *count != 0);
        prop_assert_eq!(&harness.result, &expected);
        harness.end_epoch();
        prop_assert_eq!(&harness.result, &expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn where_the_right_ends_the_result_is_that_of_a_batch_join(
        epochs in epochs(), left_joins: bool, residual: bool, left_changes: bool, batch_rows in 2..6_usize
    ) {
        let join = if left_joins { JoinKind::Left } else { JoinKind::Inner };
        for backend in BACKENDS {
            check(backend, true, join, residual, left_changes, batch_rows, &epochs)?;
        }
    }

    #[test]
    fn where_the_right_goes_on_each_row_meets_that_of_its_epochs_end_and_nothing_is_taken_back(
        epochs in epochs(), left_joins: bool, residual: bool, batch_rows in 2..6_usize
    ) {
        let join = if left_joins { JoinKind::Left } else { JoinKind::Inner };
        for backend in BACKENDS {
            check(backend, false, join, residual, false, batch_rows, &epochs)?;
        }
    }
}
