//! Filter, projection, union and windows in FROM.

use arrow::array::{Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;
use weir_planner::plan::{BinaryOp, Changelog, Expr, ExprKind, OperatorKind, StreamPlan, Window};
use weir_state::BackendKind;
use weir_types::{ChangeBatch, DataType, Scalar, Schema, Span, TimeUnit};

use super::super::harness::{Harness, batch, ints, plan, schema};

fn expr(kind: ExprKind, data_type: DataType) -> Expr {
    Expr {
        kind,
        data_type,
        span: Span::default(),
    }
}

fn column(index: usize) -> Expr {
    expr(ExprKind::Column(index), DataType::Int64)
}

fn binary(op: BinaryOp, left: Expr, right: Expr, data_type: DataType) -> Expr {
    expr(
        ExprKind::Binary {
            op,
            left: left.into(),
            right: right.into(),
        },
        data_type,
    )
}

fn two() -> Schema {
    schema(&[("a", DataType::Int64), ("b", DataType::Int64)])
}

fn quotient() -> Expr {
    binary(BinaryOp::Divide, column(0), column(1), DataType::Int64)
}

fn with_row_error(mut plan: StreamPlan, value: &str) -> StreamPlan {
    plan.settings
        .insert("row.error".to_owned(), value.to_owned());
    plan
}

fn rows(a: &[i64], b: &[i64], weights: &[i64]) -> ChangeBatch {
    let column = |values: &[i64]| ints(values.iter().map(|&value| Some(value)).collect::<Vec<_>>());
    batch(&two(), vec![column(a), column(b)], weights)
}

#[test]
fn a_filter_passes_a_retraction_with_its_row() {
    let zero = expr(ExprKind::Literal(Scalar::Int(0)), DataType::Int64);
    let predicate = binary(BinaryOp::Gt, column(0), zero, DataType::Boolean);
    let plan = plan(
        vec![(two(), Changelog::Retractions)],
        OperatorKind::Filter { predicate },
        two(),
        vec![],
    );
    let mut harness = Harness::new(plan, BackendKind::Memory, 10);
    harness.send(0, rows(&[1, -1, 1, -1], &[0, 0, 0, 0], &[1, 1, -1, -1]));
    assert_eq!(
        harness.epoch,
        [("a=1, b=0".to_owned(), 1), ("a=1, b=0".to_owned(), -1)]
    );
}

#[test]
fn rows_that_fail_in_a_projection_are_null_or_left_out_and_counted() {
    let output = schema(&[("q", DataType::Int64)]);
    let kind = || OperatorKind::Project {
        exprs: vec![quotient()],
    };
    for (mode, expected, rejected) in [("null", vec!["q=2", "q=NULL"], 0), ("skip", vec!["q=2"], 1)]
    {
        let plan = plan(
            vec![(two(), Changelog::AppendOnly)],
            kind(),
            output.clone(),
            vec![],
        );
        let mut harness = Harness::new(with_row_error(plan, mode), BackendKind::Memory, 10);
        harness.send(0, rows(&[4, 1], &[2, 0], &[1, 1]));
        let given: Vec<&str> = harness
            .epoch
            .iter()
            .map(|change| change.0.as_str())
            .collect();
        assert_eq!(
            (given, harness.rejected_rows()),
            (expected, rejected),
            "{mode}"
        );
    }
}

#[test]
fn a_failing_filter_stops_the_job_unless_told_otherwise() {
    let zero = expr(ExprKind::Literal(Scalar::Int(0)), DataType::Int64);
    let predicate = binary(BinaryOp::Gt, quotient(), zero, DataType::Boolean);
    let plan = || {
        plan(
            vec![(two(), Changelog::AppendOnly)],
            OperatorKind::Filter {
                predicate: predicate.clone(),
            },
            two(),
            vec![],
        )
    };
    let mut harness = Harness::new(plan(), BackendKind::Memory, 10);
    let error = harness
        .try_send(0, rows(&[4, 1], &[2, 0], &[1, 1]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "division by zero in operator v/tested; row: a = 1, b = 0"
    );
    let mut harness = Harness::new(with_row_error(plan(), "skip"), BackendKind::Memory, 10);
    harness.send(0, rows(&[4, 1], &[2, 0], &[1, 1]));
    assert_eq!((harness.epoch.len(), harness.rejected_rows()), (1, 1));
}

#[test]
fn a_union_gives_all_rows_under_its_own_names() {
    let output = schema(&[("x", DataType::Int64), ("y", DataType::Int64)]);
    let inputs = vec![
        (two(), Changelog::AppendOnly),
        (two(), Changelog::AppendOnly),
    ];
    let mut harness = Harness::new(
        plan(inputs, OperatorKind::Union, output, vec![]),
        BackendKind::Memory,
        10,
    );
    harness.send(0, rows(&[1], &[2], &[1]));
    harness.send(1, rows(&[1], &[2], &[1]));
    assert_eq!(harness.result["x=1, y=2"], 2);
}

proptest! {
    /// A row is given once for each window that holds it and ends after its own watermark.
    #[test]
    fn windows_are_those_that_hold_the_row_and_are_open(
        slide in 1i64..6, size in 1i64..15, offset in 0i64..5, batch_rows in 1usize..5,
        rows in proptest::collection::vec((-20i64..20, proptest::option::of(0i64..20)), 0..20),
    ) {
        let moment = DataType::Timestamp(TimeUnit::Milli);
        let input = schema(&[("t", moment.clone())]);
        let output = schema(&[
            ("t", moment.clone()),
            ("window_start", moment.clone()),
            ("window_end", moment.clone()),
            ("window_time", moment.clone()),
        ]);
        let window = Window::Hop { slide: slide * 1000, size: size * 1000, offset: offset * 1000 };
        let kind = OperatorKind::WindowAssign { window, time: 0 };
        let plan = plan(vec![(input.clone(), Changelog::AppendOnly)], kind, output.clone(), vec![]);
        let mut harness = Harness::new(plan, BackendKind::Memory, batch_rows);
        // A row is behind by `lag` or not at all: its own watermark is its time and a lag.
        let times: TimestampMillisecondArray = rows.iter().map(|row| Some(row.0)).collect();
        let mut changes = batch(&input, vec![std::sync::Arc::new(times)], &vec![1; rows.len()]);
        let own = |row: &(i64, Option<i64>)| row.1.map(|lag| row.0 + lag);
        changes.own_watermark = Some(rows.iter().map(|row| own(row).map(|ms| ms * 1000)).collect::<Int64Array>());
        harness.send(0, changes);
        let mut expected = Vec::new();
        let mut late = 0;
        for row in &rows {
            let mut is_late = false;
            for start in (-60..60).map(|k| offset + k * slide).filter(|start| (*start..start + size).contains(&row.0)) {
                let end = start + size;
                if own(row).is_none_or(|own| end > own) {
                    expected.push([row.0, start, end, end - 1]);
                } else {
                    is_late = true;
                }
            }
            late += u64::from(is_late);
        }
        let moments = |times: &[i64; 4]| {
            let row: Vec<_> = times.iter().map(|&ms| Some(ms)).map(|ms| TimestampMillisecondArray::from(vec![ms])).collect();
            let rows = batch(&output, row.into_iter().map(|t| std::sync::Arc::new(t) as _).collect(), &[1]);
            let pairs = crate::expr::row_values(&rows.rows, 0, &output);
            (pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", "), 1)
        };
        prop_assert_eq!(&harness.epoch, &expected.iter().map(moments).collect::<Vec<_>>());
        prop_assert_eq!(harness.late_rows(), late);
    }
}
