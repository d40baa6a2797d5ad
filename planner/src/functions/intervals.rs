//! Arithmetic of intervals that the library has not.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType as ArrowType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};

use super::{Function, Parameter, Returns};

pub(super) fn functions() -> Vec<Function> {
    vec![Function::new(
        "interval_times",
        &[Parameter::Interval, Parameter::Integer],
        Returns::Fixed(ArrowType::Interval(IntervalUnit::MonthDayNano)),
        times,
    )]
}

/// So many intervals, one after the other: months, days and time each by themselves.
fn times(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let intervals = arguments[0].as_primitive::<IntervalMonthDayNanoType>();
    let counts = arguments[1].as_primitive::<Int64Type>();
    let product = |row: usize| {
        if intervals.is_null(row) || counts.is_null(row) {
            return Ok(None);
        }
        let (interval, count) = (intervals.value(row), counts.value(row));
        let whole = |part: i32| {
            let product = i64::from(part).checked_mul(count)?;
            i32::try_from(product).ok()
        };
        let product = || {
            let (months, days) = (whole(interval.months)?, whole(interval.days)?);
            let nanos = interval.nanoseconds.checked_mul(count)?;
            Some(IntervalMonthDayNano::new(months, days, nanos))
        };
        product()
            .map(Some)
            .ok_or_else(|| "the interval is too long".to_owned())
    };
    let products = (0..intervals.len()).map(product);
    let products: IntervalMonthDayNanoArray = products.collect::<Result<_, String>>()?;
    Ok(Arc::new(products))
}
