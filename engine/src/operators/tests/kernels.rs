//! Aggregate kernels over types that the other tests do not reach: floats with their special values, decimals, text,
//! unsigned integers.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, StringViewArray, UInt64Array};
use weir_planner::plan::{Aggregate, Changelog, OperatorKind, StateLayout};
use weir_state::BackendKind;
use weir_types::{DataType, Schema};

use super::super::harness::{Harness, batch, call, groups, plan, schema};

/// An aggregate without keys over one column `x`.
fn over(argument: DataType, aggregates: Vec<Aggregate>, retractions: bool) -> (Harness, Schema) {
    let input = schema(&[("x", argument)]);
    let output = aggregates
        .iter()
        .map(|call| (call.function.clone(), call.data_type.clone()));
    let output: Vec<(String, DataType)> = output.collect();
    let output = schema(
        &output
            .iter()
            .map(|(name, data_type)| (name.as_str(), data_type.clone()))
            .collect::<Vec<_>>(),
    );
    let changelog = if retractions {
        Changelog::Retractions
    } else {
        Changelog::AppendOnly
    };
    let state = vec![groups(
        StateLayout::Map,
        &input,
        &[],
        &aggregates,
        retractions,
    )];
    let kind = OperatorKind::Aggregate {
        keys: Vec::new(),
        aggregates,
        always: Vec::new(),
    };
    let plan = plan(vec![(input.clone(), changelog)], kind, output, state);
    (Harness::new(plan, BackendKind::Memory, 10), input)
}

/// The one row of the result after these changes.
fn result(harness: &mut Harness, input: &Schema, values: ArrayRef, weights: &[i64]) -> String {
    harness.send(0, batch(input, vec![values], weights));
    harness.end_epoch();
    assert_eq!(harness.result.len(), 1, "{:?}", harness.result);
    harness.result.keys().next().unwrap().clone()
}

fn floats(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn sum_and_average() -> Vec<Aggregate> {
    vec![
        call("sum", &[0], DataType::Float64),
        call("avg", &[0], DataType::Float64),
    ]
}

#[test]
fn a_float_sum_gives_back_what_was_taken_in() {
    let (mut harness, input) = over(DataType::Float64, sum_and_average(), true);
    let small = result(&mut harness, &input, floats(&[0.1, 0.2]), &[1, 1]);
    assert_eq!(small, "sum=0.30000000000000004, avg=0.15000000000000002");
    result(
        &mut harness,
        &input,
        floats(&[1e16, -3.7e12, 1e-3]),
        &[1, 1, 1],
    );
    let again = result(
        &mut harness,
        &input,
        floats(&[1e16, -3.7e12, 1e-3]),
        &[-1, -1, -1],
    );
    assert_eq!(again, small);
}

#[test]
fn nan_and_infinities_can_be_taken_back() {
    let (mut harness, input) = over(DataType::Float64, sum_and_average(), true);
    let mut step =
        |values: &[f64], weights: &[i64]| result(&mut harness, &input, floats(values), weights);
    assert_eq!(step(&[1.5, f64::INFINITY], &[1, 1]), "sum=inf, avg=inf");
    assert_eq!(step(&[f64::NEG_INFINITY], &[1]), "sum=NaN, avg=NaN");
    assert_eq!(step(&[f64::INFINITY], &[-1]), "sum=-inf, avg=-inf");
    assert_eq!(step(&[f64::NAN], &[1]), "sum=NaN, avg=NaN");
    assert_eq!(
        step(&[f64::NAN, f64::NEG_INFINITY], &[-1, -1]),
        "sum=1.5, avg=1.5"
    );
    assert_eq!(step(&[1.5], &[-1]), "sum=NULL, avg=NULL");
}

#[test]
fn infinities_stay_in_append_only_sums() {
    let (mut harness, input) = over(DataType::Float64, sum_and_average(), false);
    assert_eq!(
        result(
            &mut harness,
            &input,
            floats(&[1.0, f64::INFINITY, 2.0]),
            &[1; 3]
        ),
        "sum=inf, avg=inf"
    );
    assert_eq!(
        result(&mut harness, &input, floats(&[f64::NEG_INFINITY]), &[1]),
        "sum=NaN, avg=NaN"
    );
}

#[test]
fn many_small_floats_are_not_lost_beside_a_large_one() {
    let (mut harness, input) = over(DataType::Float64, sum_and_average(), false);
    let mut values = vec![1e16];
    values.extend([1.0; 100]);
    values.push(-1e16);
    let weights = vec![1; values.len()];
    assert!(result(&mut harness, &input, floats(&values), &weights).starts_with("sum=100.0,"));
}

#[test]
fn nan_is_above_every_number_whatever_came_first() {
    for values in [[f64::NAN, 1.0, -2.0], [1.0, -2.0, -f64::NAN]] {
        let calls = vec![
            call("min", &[0], DataType::Float64),
            call("max", &[0], DataType::Float64),
        ];
        let (mut harness, input) = over(DataType::Float64, calls, false);
        assert_eq!(
            result(&mut harness, &input, floats(&values), &[1; 3]),
            "min=-2.0, max=NaN"
        );
    }
}

#[test]
fn decimals_are_summed_exactly_and_averaged_at_the_scale_of_the_result() {
    let calls = vec![
        call("sum", &[0], DataType::Decimal(20, 2)),
        call("avg", &[0], DataType::Decimal(14, 6)),
    ];
    for retractions in [false, true] {
        let (mut harness, input) = over(DataType::Decimal(10, 2), calls.clone(), retractions);
        let values = Decimal128Array::from(vec![100, 50, -49])
            .with_precision_and_scale(10, 2)
            .unwrap();
        let row = result(&mut harness, &input, Arc::new(values), &[1, 1, 1]);
        assert_eq!(row, "sum=1.01, avg=0.336666");
    }
}

#[test]
fn a_decimal_sum_keeps_within_its_digits() {
    let (mut harness, input) = over(
        DataType::Decimal(3, 0),
        vec![call("sum", &[0], DataType::Decimal(3, 0))],
        false,
    );
    let values = Decimal128Array::from(vec![999, 1])
        .with_precision_and_scale(3, 0)
        .unwrap();
    harness.send(0, batch(&input, vec![Arc::new(values)], &[1, 1]));
    let error = harness.try_end_epoch().unwrap_err();
    assert!(
        error.to_string().starts_with("the sum overflows its type"),
        "{error}"
    );
}

#[test]
fn text_and_unsigned_integers_have_extremes() {
    let calls = |data_type: DataType| {
        vec![
            call("min", &[0], data_type.clone()),
            call("max", &[0], data_type),
        ]
    };
    let (mut harness, input) = over(DataType::String, calls(DataType::String), false);
    let values = StringViewArray::from(vec![
        Some("b"),
        None,
        Some("a longer one than twelve"),
        Some("é"),
    ]);
    let row = result(&mut harness, &input, Arc::new(values), &[1; 4]);
    assert_eq!(row, "min='a longer one than twelve', max='é'");
    let (mut harness, input) = over(DataType::UInt64, calls(DataType::UInt64), false);
    let row = result(
        &mut harness,
        &input,
        Arc::new(UInt64Array::from(vec![u64::MAX, 3])),
        &[1; 2],
    );
    assert_eq!(row, format!("min=3, max={}", u64::MAX));
}

#[test]
fn an_aggregate_that_no_kernel_computes_is_refused_by_name() {
    use super::super::aggregates::Aggregates;
    let input = schema(&[("x", DataType::Int64)]);
    for function in ["median", "percentile_cont"] {
        let calls = [call(function, &[0], DataType::Int64)];
        let error = Aggregates::compile(&calls, &input, false).err().unwrap();
        assert!(error.1.contains(function), "{}", error.1);
    }
}
