//! Typed, borrowed access to the rows of Arrow columns, for both encodings.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, StringViewArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use weir_types::DataType as SqlType;

use crate::{Error, Result};

/// The column with the canonical Arrow type of `data_type`; free of cost when it has it already.
pub(crate) fn canonical(column: &ArrayRef, data_type: &SqlType) -> Result<ArrayRef> {
    let wanted = data_type.to_arrow();
    if column.data_type().equals_datatype(&wanted) {
        return Ok(column.clone());
    }
    arrow::compute::cast(column, &wanted).map_err(|error| {
        Error::io(
            format!("a state column of type {data_type} got another type"),
            error,
        )
    })
}

/// A column whose values can be read by row.
pub(crate) struct Reader<'a> {
    nulls: Option<&'a NullBuffer>,
    pub(crate) values: Values<'a>,
}

/// The values of a column; what stands at a NULL row is unspecified.
pub(crate) enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    /// Integers of any width, DATE, TIME, TIMESTAMP.
    Int(Cow<'a, [i64]>),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal(&'a [i128]),
    Decimal256(&'a [i256]),
    String(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    Interval(&'a [IntervalMonthDayNano]),
    Array {
        offsets: &'a [i32],
        items: Box<Reader<'a>>,
    },
    Row(Vec<Reader<'a>>),
    Map {
        offsets: &'a [i32],
        keys: Box<Reader<'a>>,
        values: Box<Reader<'a>>,
    },
}

impl<'a> Reader<'a> {
    /// Reads a column that has the canonical Arrow type of `data_type`.
    pub(crate) fn new(column: &'a ArrayRef, data_type: &SqlType) -> Self {
        use SqlType as S;
        macro_rules! narrow {
            ($t:ty) => {
                Values::Int(
                    column
                        .as_primitive::<$t>()
                        .values()
                        .iter()
                        .map(|&v| v as i64)
                        .collect(),
                )
            };
        }
        let values = match data_type {
            S::Null => Values::Null,
            S::Boolean => Values::Boolean(column.as_boolean()),
            S::Int8 => narrow!(Int8Type),
            S::Int16 => narrow!(Int16Type),
            S::Int32 => narrow!(Int32Type),
            S::Int64 => Values::Int(Cow::Borrowed(column.as_primitive::<Int64Type>().values())),
            S::UInt8 => narrow!(UInt8Type),
            S::UInt16 => narrow!(UInt16Type),
            S::UInt32 => narrow!(UInt32Type),
            S::UInt64 => narrow!(UInt64Type),
            S::Float32 => Values::Float32(column.as_primitive::<Float32Type>().values()),
            S::Float64 => Values::Float64(column.as_primitive::<Float64Type>().values()),
            S::Decimal(precision, _) if *precision <= 38 => {
                Values::Decimal(column.as_primitive::<Decimal128Type>().values())
            }
            S::Decimal(..) => Values::Decimal256(column.as_primitive::<Decimal256Type>().values()),
            S::String => Values::String(column.as_string_view()),
            S::Bytes => Values::Bytes(column.as_binary::<i32>()),
            S::Date => narrow!(Date32Type),
            S::Time => Values::Int(Cow::Borrowed(
                column.as_primitive::<Time64NanosecondType>().values(),
            )),
            S::Timestamp(unit) | S::TimestampLtz(unit) => {
                Values::Int(Cow::Borrowed(timestamps(column, *unit)))
            }
            S::Interval => {
                Values::Interval(column.as_primitive::<IntervalMonthDayNanoType>().values())
            }
            S::Array(item) => {
                let list = column.as_list::<i32>();
                Values::Array {
                    offsets: list.value_offsets(),
                    items: Box::new(Self::new(list.values(), item)),
                }
            }
            S::Row(fields) => {
                let columns = column.as_struct().columns();
                Values::Row(
                    columns
                        .iter()
                        .zip(fields)
                        .map(|(c, f)| Self::new(c, &f.data_type))
                        .collect(),
                )
            }
            S::Map(key, value) => {
                let map = column.as_map();
                Values::Map {
                    offsets: map.value_offsets(),
                    keys: Box::new(Self::new(map.keys(), key)),
                    values: Box::new(Self::new(map.values(), value)),
                }
            }
        };
        Self {
            nulls: column.nulls(),
            values,
        }
    }

    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        matches!(self.values, Values::Null) || self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// The NULL rows, if there can be any.
    pub(crate) fn nulls(&self) -> Option<&'a NullBuffer> {
        self.nulls.filter(|nulls| nulls.null_count() > 0)
    }
}

fn timestamps(column: &ArrayRef, unit: weir_types::TimeUnit) -> &[i64] {
    match unit {
        weir_types::TimeUnit::Second => column.as_primitive::<TimestampSecondType>().values(),
        weir_types::TimeUnit::Milli => column.as_primitive::<TimestampMillisecondType>().values(),
        weir_types::TimeUnit::Micro => column.as_primitive::<TimestampMicrosecondType>().values(),
        weir_types::TimeUnit::Nano => column.as_primitive::<TimestampNanosecondType>().values(),
    }
}
