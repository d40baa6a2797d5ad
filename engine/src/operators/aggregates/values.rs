//! The values of an array in the representation that state has them in.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, UInt64Type};

/// What goes wrong only where the plan's types and the arrays' differ.
pub(super) fn mismatch(array: &ArrayRef) -> (usize, String) {
    (
        0,
        format!(
            "values of type {} do not fit this aggregate",
            array.data_type()
        ),
    )
}

/// Integers, dates, times, timestamps and booleans as i64; unsigned 64-bit integers by their bits.
pub(super) fn integers(array: &ArrayRef) -> Result<Int64Array, (usize, String)> {
    match array.data_type() {
        DataType::Int64 => Ok(array.as_primitive::<Int64Type>().clone()),
        DataType::UInt64 => Ok(array
            .as_primitive::<UInt64Type>()
            .unary(|value| value as i64)),
        _ => {
            let cast = cast(array, &DataType::Int64).map_err(|_| mismatch(array))?;
            Ok(cast.as_primitive::<Int64Type>().clone())
        }
    }
}

/// Numbers as f64.
pub(super) fn floats(array: &ArrayRef) -> Result<Float64Array, (usize, String)> {
    let cast = cast(array, &DataType::Float64).map_err(|_| mismatch(array))?;
    Ok(cast.as_primitive().clone())
}

/// The unscaled values of decimals.
pub(super) fn decimals(array: &ArrayRef) -> Result<&[i128], (usize, String)> {
    array
        .as_primitive_opt::<Decimal128Type>()
        .map(|array| array.values().as_ref())
        .ok_or_else(|| mismatch(array))
}

/// Runs `$body` with `$value`: a function from row to bytes.
macro_rules! with_bytes {
    ($array:expr, |$value:ident| $body:expr) => {{
        use arrow::array::AsArray;
        let array: &arrow::array::ArrayRef = $array;
        if let Some(strings) = array.as_string_view_opt() {
            let $value = |row: usize| strings.value(row).as_bytes();
            $body
        } else if let Some(bytes) = array.as_binary_opt::<i32>() {
            let $value = |row: usize| bytes.value(row);
            $body
        } else if let Some(strings) = array.as_string_opt::<i32>() {
            let $value = |row: usize| strings.value(row).as_bytes();
            $body
        } else {
            Err($crate::operators::aggregates::values::mismatch(array))
        }
    }};
}
pub(super) use with_bytes;
