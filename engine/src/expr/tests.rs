//! What expressions give, and how rows fail.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes as arrow_types;
use proptest::prelude::*;
use weir_planner::plan::BinaryOp;
use weir_types::{Column, Scalar, Span, TimeUnit};

use super::*;

fn column(index: usize, data_type: DataType) -> Expr {
    Expr {
        kind: ExprKind::Column(index),
        data_type,
        span: Span::default(),
    }
}

fn literal(scalar: Scalar, data_type: DataType) -> Expr {
    Expr {
        kind: ExprKind::Literal(scalar),
        data_type,
        span: Span::default(),
    }
}

fn int(value: i64) -> Expr {
    literal(Scalar::Int(value), DataType::Int64)
}

fn text(value: &str) -> Expr {
    literal(Scalar::String(value.to_owned()), DataType::String)
}

fn binary(op: BinaryOp, left: Expr, right: Expr, data_type: DataType) -> Expr {
    Expr {
        kind: ExprKind::Binary {
            op,
            left: left.into(),
            right: right.into(),
        },
        data_type,
        span: Span::default(),
    }
}

fn function(name: &str, arguments: Vec<Expr>, data_type: DataType) -> Expr {
    Expr {
        kind: ExprKind::Function {
            name: name.to_owned(),
            arguments,
        },
        data_type,
        span: Span::default(),
    }
}

fn cast(expr: Expr, data_type: DataType, safe: bool) -> Expr {
    Expr {
        kind: ExprKind::Cast {
            expr: expr.into(),
            safe,
        },
        data_type,
        span: Span::default(),
    }
}

fn at(expr: Expr, line: u32) -> Expr {
    Expr {
        span: Span::new((line, 1), (line, 9)),
        ..expr
    }
}

use weir_planner::plan::ExprKind;

fn schema(columns: &[(&str, DataType)]) -> Schema {
    columns
        .iter()
        .map(|(name, data_type)| Column::new(*name, data_type.clone()))
        .collect()
}

fn rows(schema: &Schema, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(DataType::arrow_schema(schema), columns).unwrap()
}

fn compiled(expr: &Expr, schema: &Schema, mode: RowErrorMode) -> CompiledExpr {
    match CompiledExpr::compile_with(expr, schema, &OperatorId::new("v/project"), mode) {
        Ok(compiled) => compiled,
        Err(error) => panic!("{error}"),
    }
}

fn evaluate(expr: &Expr, schema: &Schema, batch: &RecordBatch) -> ArrayRef {
    compiled(expr, schema, RowErrorMode::Fail)
        .evaluate(batch, ProcessingTime(0))
        .unwrap()
}

fn row_error(expr: &Expr, schema: &Schema, batch: &RecordBatch) -> crate::error::RowError {
    match compiled(expr, schema, RowErrorMode::Fail).evaluate(batch, ProcessingTime(0)) {
        Err(Error::Row(error)) => *error,
        Err(other) => panic!("not a row's error: {other}"),
        Ok(values) => panic!("no error but {values:?}"),
    }
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

#[test]
fn the_first_failing_row_is_named_with_its_values_and_the_innermost_place() {
    let schema = schema(&[("a", DataType::Int64), ("b", DataType::Int64)]);
    let batch = rows(&schema, vec![ints(&[6, 7, 8]), ints(&[2, 0, 0])]);
    let division = at(
        binary(
            BinaryOp::Divide,
            column(0, DataType::Int64),
            column(1, DataType::Int64),
            DataType::Int64,
        ),
        7,
    );
    let sum = at(binary(BinaryOp::Plus, division, int(1), DataType::Int64), 3);
    let error = row_error(&sum, &schema, &batch);
    assert_eq!(error.reason, "division by zero");
    assert_eq!(error.span.start.line, 7);
    assert_eq!(
        error.row,
        [
            ("a".to_owned(), "7".to_owned()),
            ("b".to_owned(), "0".to_owned())
        ]
    );
}

#[test]
fn integer_arithmetic_is_checked() {
    let schema = schema(&[("a", DataType::Int64)]);
    let batch = rows(&schema, vec![ints(&[i64::MAX, i64::MIN])]);
    let a = || column(0, DataType::Int64);
    let plus = binary(BinaryOp::Plus, a(), int(1), DataType::Int64);
    assert!(
        row_error(&plus, &schema, &batch)
            .reason
            .starts_with("overflow in"),
        "{:?}",
        plus
    );
    assert_eq!(
        row_error(&plus, &schema, &batch).row[0].1,
        i64::MAX.to_string()
    );
    let minus = binary(BinaryOp::Minus, a(), int(1), DataType::Int64);
    assert_eq!(
        row_error(&minus, &schema, &batch).row[0].1,
        i64::MIN.to_string()
    );
    let times = binary(BinaryOp::Multiply, a(), int(2), DataType::Int64);
    assert!(
        row_error(&times, &schema, &batch)
            .reason
            .starts_with("overflow in")
    );
    let negative = Expr {
        kind: ExprKind::Negate(a().into()),
        data_type: DataType::Int64,
        span: Span::default(),
    };
    assert_eq!(
        row_error(&negative, &schema, &batch).row[0].1,
        i64::MIN.to_string()
    );
}

#[test]
fn a_cast_that_fails_quotes_the_value_and_try_cast_gives_null() {
    let schema = schema(&[("s", DataType::String)]);
    let batch = rows(
        &schema,
        vec![Arc::new(StringViewArray::from(vec!["12", "it's"]))],
    );
    let error = row_error(
        &cast(column(0, DataType::String), DataType::Int32, false),
        &schema,
        &batch,
    );
    assert_eq!(error.reason, "cannot cast 'it''s' to INT");
    let values = evaluate(
        &cast(column(0, DataType::String), DataType::Int32, true),
        &schema,
        &batch,
    );
    assert_eq!(values.as_ref(), &Int32Array::from(vec![Some(12), None]));
}

#[test]
fn a_guard_protects_the_rows_that_it_decides() {
    let schema = schema(&[("a", DataType::Int64)]);
    let batch = rows(&schema, vec![ints(&[0, 1, 2, 0, 100])]);
    let a = || column(0, DataType::Int64);
    let quotient = binary(BinaryOp::Divide, int(10), a(), DataType::Int64);
    let large = binary(BinaryOp::Gt, quotient.clone(), int(4), DataType::Boolean);
    let guard = binary(BinaryOp::NotEq, a(), int(0), DataType::Boolean);
    let and = binary(
        BinaryOp::And,
        guard.clone(),
        large.clone(),
        DataType::Boolean,
    );
    assert_eq!(
        evaluate(&and, &schema, &batch).as_ref(),
        &BooleanArray::from(vec![false, true, true, false, false])
    );
    let zero = binary(BinaryOp::Eq, a(), int(0), DataType::Boolean);
    let or = binary(BinaryOp::Or, zero, large.clone(), DataType::Boolean);
    assert_eq!(
        evaluate(&or, &schema, &batch).as_ref(),
        &BooleanArray::from(vec![true, true, true, true, false])
    );
    let case = Expr {
        kind: ExprKind::Case {
            branches: vec![(guard, quotient)],
            otherwise: None,
        },
        data_type: DataType::Int64,
        span: Span::default(),
    };
    assert_eq!(
        evaluate(&case, &schema, &batch).as_ref(),
        &Int64Array::from(vec![None, Some(10), Some(5), None, Some(0)])
    );
    // Without its guard the same comparison fails on the first row.
    assert_eq!(
        row_error(&large, &schema, &batch).reason,
        "division by zero"
    );
}

#[test]
fn a_null_on_the_left_decides_nothing() {
    let schema = schema(&[("p", DataType::Boolean), ("a", DataType::Int64)]);
    let batch = rows(
        &schema,
        vec![
            Arc::new(BooleanArray::from(vec![Some(false), None])),
            ints(&[0, 0]),
        ],
    );
    let fails = binary(
        BinaryOp::Gt,
        binary(
            BinaryOp::Divide,
            int(1),
            column(1, DataType::Int64),
            DataType::Int64,
        ),
        int(0),
        DataType::Boolean,
    );
    let and = binary(
        BinaryOp::And,
        column(0, DataType::Boolean),
        fails,
        DataType::Boolean,
    );
    assert_eq!(row_error(&and, &schema, &batch).row[0].1, "NULL");
    assert_eq!(
        evaluate(&and, &schema, &batch.slice(0, 1)).as_ref(),
        &BooleanArray::from(vec![false])
    );
}

#[test]
fn rows_that_fail_are_null_or_marked_where_the_user_says_so() {
    let schema = schema(&[("a", DataType::Int64)]);
    let batch = rows(&schema, vec![ints(&[5, 0, 2, 0])]);
    let quotient = binary(
        BinaryOp::Divide,
        int(10),
        column(0, DataType::Int64),
        DataType::Int64,
    );
    for mode in [RowErrorMode::Null, RowErrorMode::Skip] {
        let evaluated = compiled(&quotient, &schema, mode)
            .evaluate_rows(&batch, ProcessingTime(0))
            .unwrap();
        assert_eq!(
            evaluated.values.as_ref(),
            &Int64Array::from(vec![Some(2), None, Some(5), None])
        );
        assert_eq!(
            evaluated.failed,
            Some(vec![false, true, false, true].into())
        );
    }
}

#[test]
fn functions_get_the_types_they_take_and_give_canonical_ones() {
    let schema = schema(&[
        ("s", DataType::String),
        ("t", DataType::Timestamp(TimeUnit::Milli)),
    ]);
    let batch = rows(
        &schema,
        vec![
            Arc::new(StringViewArray::from(vec![Some("aBc"), None])),
            Arc::new(TimestampMillisecondArray::from(vec![Some(3_600_000), None])),
        ],
    );
    let s = || column(0, DataType::String);
    let t = || column(1, DataType::Timestamp(TimeUnit::Milli));
    let upper = evaluate(
        &function("upper", vec![s()], DataType::String),
        &schema,
        &batch,
    );
    assert_eq!(
        upper.as_ref(),
        &StringViewArray::from(vec![Some("ABC"), None])
    );
    let hour = evaluate(
        &function("date_part", vec![text("hour"), t()], DataType::Int32),
        &schema,
        &batch,
    );
    assert_eq!(hour.as_ref(), &Int32Array::from(vec![Some(1), None]));
    let length = evaluate(
        &function("character_length", vec![s()], DataType::Int32),
        &schema,
        &batch,
    );
    assert_eq!(length.as_ref(), &Int32Array::from(vec![Some(3), None]));
    let known = evaluate(
        &function("coalesce", vec![s(), text("x")], DataType::String),
        &schema,
        &batch,
    );
    assert_eq!(known.as_ref(), &StringViewArray::from(vec!["aBc", "x"]));
    let list = DataType::Array(Box::new(DataType::String));
    let list = function("make_array", vec![s(), text("x")], list);
    assert_eq!(
        evaluate(&list, &schema, &batch).data_type(),
        &list.data_type.to_arrow()
    );
    let second = function("array_element", vec![list, int(2)], DataType::String);
    assert_eq!(
        evaluate(&second, &schema, &batch).as_ref(),
        &StringViewArray::from(vec!["x", "x"])
    );
}

#[test]
fn a_field_of_a_row_is_read_by_name() {
    let row = DataType::Row(vec![Column::new("x", DataType::Int64)]);
    let schema = schema(&[("r", row.clone())]);
    let arrow_types::DataType::Struct(fields) = row.to_arrow() else {
        panic!("a struct")
    };
    let values = StructArray::new(fields, vec![ints(&[4, 5])], None);
    let batch = rows(&schema, vec![Arc::new(values)]);
    let field = function(
        "get_field",
        vec![column(0, row), text("x")],
        DataType::Int64,
    );
    assert_eq!(
        evaluate(&field, &schema, &batch).as_ref(),
        &Int64Array::from(vec![4, 5])
    );
}

#[test]
fn now_is_the_time_of_the_epoch() {
    let batch = rows(&schema(&[("a", DataType::Int64)]), vec![ints(&[1, 2])]);
    let now = Expr {
        kind: ExprKind::ProcessingTime,
        data_type: DataType::TimestampLtz(TimeUnit::Milli),
        span: Span::default(),
    };
    let compiled = compiled(&now, &schema(&[("a", DataType::Int64)]), RowErrorMode::Fail);
    for micros in [1_234_567, 2_000_000] {
        let values = compiled.evaluate(&batch, ProcessingTime(micros)).unwrap();
        assert_eq!(
            values.data_type(),
            &DataType::TimestampLtz(TimeUnit::Milli).to_arrow()
        );
        assert_eq!(
            values
                .as_primitive::<arrow_types::TimestampMillisecondType>()
                .value(1),
            micros / 1000
        );
    }
}

#[test]
fn time_moves_by_intervals_and_differs_by_them() {
    let moment = DataType::Timestamp(TimeUnit::Milli);
    let schema = schema(&[("t", moment.clone())]);
    let batch = rows(
        &schema,
        vec![Arc::new(TimestampMillisecondArray::from(vec![10_000]))],
    );
    let interval = literal(Scalar::Interval(0, 0, 5_000_000_000), DataType::Interval);
    let earlier = binary(
        BinaryOp::Minus,
        column(0, moment.clone()),
        interval,
        moment.clone(),
    );
    assert_eq!(
        evaluate(&earlier, &schema, &batch).as_ref(),
        &TimestampMillisecondArray::from(vec![5_000])
    );
    let between = binary(
        BinaryOp::Minus,
        column(0, moment),
        earlier,
        DataType::Interval,
    );
    let expected = arrow_types::IntervalMonthDayNano::new(0, 0, 5_000_000_000);
    assert_eq!(
        evaluate(&between, &schema, &batch).as_ref(),
        &IntervalMonthDayNanoArray::from(vec![expected])
    );
}

#[test]
fn patterns_may_have_an_escape_of_their_own() {
    let schema = schema(&[("s", DataType::String)]);
    let batch = rows(
        &schema,
        vec![Arc::new(StringViewArray::from(vec!["50%", "500", "5\\0%"]))],
    );
    let like = |pattern: &str, escape| Expr {
        kind: ExprKind::Like {
            expr: column(0, DataType::String).into(),
            pattern: text(pattern).into(),
            escape,
            case_insensitive: false,
            negated: false,
        },
        data_type: DataType::Boolean,
        span: Span::default(),
    };
    let escaped = evaluate(&like("50!%", Some('!')), &schema, &batch);
    assert_eq!(
        escaped.as_ref(),
        &BooleanArray::from(vec![true, false, false])
    );
    let backslash = evaluate(&like("5\\0%", Some('!')), &schema, &batch);
    assert_eq!(
        backslash.as_ref(),
        &BooleanArray::from(vec![false, false, true])
    );
}

#[test]
fn an_unknown_function_is_a_diagnostic_not_a_panic() {
    let expr = at(function("no_such_thing", vec![], DataType::Int64), 4);
    let error = CompiledExpr::compile(&expr, &Vec::new(), &OperatorId::new("v/project"))
        .err()
        .unwrap();
    assert!(
        matches!(error, Error::Plan(_)) && error.to_string().contains("no_such_thing"),
        "{error}"
    );
}

#[test]
fn nothing_is_evaluated_without_rows() {
    let schema = schema(&[("a", DataType::Int64)]);
    let batch = rows(&schema, vec![ints(&[])]);
    let fails = binary(BinaryOp::Divide, int(1), int(0), DataType::Int64);
    assert_eq!(evaluate(&fails, &schema, &batch).len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The same rows cut into other batches give the same values and the same failing rows.
    #[test]
    fn batch_cuts_do_not_matter(
        values in proptest::collection::vec((proptest::option::of(-2i64..3), -2i64..3), 1..40),
        cut in 1usize..12,
    ) {
        let schema = schema(&[("a", DataType::Int64), ("b", DataType::Int64)]);
        let a: Int64Array = values.iter().map(|value| value.0).collect();
        let b: Int64Array = values.iter().map(|value| Some(value.1)).collect();
        let batch = rows(&schema, vec![Arc::new(a), Arc::new(b)]);
        let quotient = binary(BinaryOp::Divide, int(6), column(1, DataType::Int64), DataType::Int64);
        let right = binary(BinaryOp::Gt, quotient.clone(), int(1), DataType::Boolean);
        let left = binary(BinaryOp::Gt, column(0, DataType::Int64), int(0), DataType::Boolean);
        let guarded = binary(BinaryOp::Or, left.clone(), right.clone(), DataType::Boolean);
        let case = Expr {
            kind: ExprKind::Case {
                branches: vec![(left.clone(), int(1)), (binary(BinaryOp::And, left, right, DataType::Boolean), quotient.clone())],
                otherwise: Some(quotient.into()),
            },
            data_type: DataType::Int64,
            span: Span::default(),
        };
        for expr in [guarded, case] {
            let compiled = compiled(&expr, &schema, RowErrorMode::Null);
            let whole = compiled.evaluate_rows(&batch, ProcessingTime(0)).unwrap();
            let mut offset = 0;
            while offset < values.len() {
                let length = cut.min(values.len() - offset);
                let piece = compiled.evaluate_rows(&batch.slice(offset, length), ProcessingTime(0)).unwrap();
                let expected = whole.values.slice(offset, length);
                prop_assert_eq!(piece.values.as_ref(), expected.as_ref());
                for row in 0..length {
                    let failed = |failed: &Option<BooleanBuffer>, row| failed.as_ref().is_some_and(|bits| bits.value(row));
                    prop_assert_eq!(failed(&piece.failed, row), failed(&whole.failed, offset + row));
                }
                offset += length;
            }
        }
    }
}
