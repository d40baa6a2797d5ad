//! Literals of the plan as the library's scalar values, each of the canonical Arrow type of its SQL type.

use arrow::array::ArrayRef;
use arrow::datatypes::{IntervalMonthDayNano, i256};
use datafusion_common::ScalarValue;
use weir_types::{DataType, Scalar, TimeUnit};

/// The library's value for a literal; the error says what does not fit.
pub(super) fn scalar_value(scalar: &Scalar, data_type: &DataType) -> Result<ScalarValue, String> {
    let misfit = || format!("the literal {scalar} is not a value of type {data_type}");
    let value = match (scalar, data_type) {
        (Scalar::Null, _) => {
            ScalarValue::try_from(&data_type.to_arrow()).map_err(|error| error.to_string())?
        }
        (Scalar::Boolean(value), DataType::Boolean) => ScalarValue::Boolean(Some(*value)),
        (Scalar::Int(value), _) => integer(*value, data_type).ok_or_else(misfit)?,
        (Scalar::UInt(value), DataType::UInt64) => ScalarValue::UInt64(Some(*value)),
        (Scalar::UInt(value), _) => i64::try_from(*value)
            .ok()
            .and_then(|value| integer(value, data_type))
            .ok_or_else(misfit)?,
        (Scalar::Float(bits), DataType::Float64) => {
            ScalarValue::Float64(Some(f64::from_bits(*bits)))
        }
        (Scalar::Float(bits), DataType::Float32) => {
            ScalarValue::Float32(Some(f64::from_bits(*bits) as f32))
        }
        (Scalar::Decimal(digits), DataType::Decimal(precision, scale)) if *precision <= 38 => {
            ScalarValue::Decimal128(
                Some(digits.parse().map_err(|_| misfit())?),
                *precision,
                *scale,
            )
        }
        (Scalar::Decimal(digits), DataType::Decimal(precision, scale)) => ScalarValue::Decimal256(
            Some(i256::from_string(digits).ok_or_else(misfit)?),
            *precision,
            *scale,
        ),
        (Scalar::String(text), DataType::String) => ScalarValue::Utf8View(Some(text.clone())),
        (Scalar::Bytes(bytes), DataType::Bytes) => ScalarValue::Binary(Some(bytes.clone())),
        (Scalar::Interval(months, days, nanos), DataType::Interval) => {
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(
                *months, *days, *nanos,
            )))
        }
        _ => return Err(misfit()),
    };
    Ok(value)
}

/// A literal as an array of one value; `None`: it is not one of its type.
pub(crate) fn scalar_array(scalar: &Scalar, data_type: &DataType) -> Option<ArrayRef> {
    let value = scalar_value(scalar, data_type).ok()?;
    value.to_array().ok()
}

/// Everything that a plan writes as a signed integer.
fn integer(value: i64, data_type: &DataType) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Int8 => ScalarValue::Int8(Some(value.try_into().ok()?)),
        DataType::Int16 => ScalarValue::Int16(Some(value.try_into().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(value.try_into().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(value)),
        DataType::UInt8 => ScalarValue::UInt8(Some(value.try_into().ok()?)),
        DataType::UInt16 => ScalarValue::UInt16(Some(value.try_into().ok()?)),
        DataType::UInt32 => ScalarValue::UInt32(Some(value.try_into().ok()?)),
        DataType::UInt64 => ScalarValue::UInt64(Some(value.try_into().ok()?)),
        DataType::Date => ScalarValue::Date32(Some(value.try_into().ok()?)),
        DataType::Time => ScalarValue::Time64Nanosecond(Some(value)),
        DataType::Timestamp(unit) => timestamp(value, *unit, None),
        DataType::TimestampLtz(unit) => timestamp(value, *unit, Some("+00:00".into())),
        _ => return None,
    })
}

/// A timestamp literal: `value` counts `unit`s since the Unix epoch.
pub(super) fn timestamp(
    value: i64,
    unit: TimeUnit,
    zone: Option<std::sync::Arc<str>>,
) -> ScalarValue {
    match unit {
        TimeUnit::Second => ScalarValue::TimestampSecond(Some(value), zone),
        TimeUnit::Milli => ScalarValue::TimestampMillisecond(Some(value), zone),
        TimeUnit::Micro => ScalarValue::TimestampMicrosecond(Some(value), zone),
        TimeUnit::Nano => ScalarValue::TimestampNanosecond(Some(value), zone),
    }
}
