//! Arrow columns built from decoded values, always of the declared type.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use weir_types::{DataType as SqlType, TimeUnit};

use crate::{Error, Result};

/// Builds one column, value by value.
pub(crate) struct Builder {
    pub(crate) data_type: SqlType,
    nulls: NullBufferBuilder,
    pub(crate) values: Building,
}

/// The values so far.
pub(crate) enum Building {
    Null,
    Boolean(BooleanBufferBuilder),
    Int(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>),
    Decimal256(Vec<i256>),
    String(Box<StringViewBuilder>),
    Bytes {
        offsets: Vec<i32>,
        data: Vec<u8>,
    },
    Interval(Vec<IntervalMonthDayNano>),
    Array {
        offsets: Vec<i32>,
        items: Box<Builder>,
    },
    Row(Vec<Builder>),
    Map {
        offsets: Vec<i32>,
        keys: Box<Builder>,
        values: Box<Builder>,
    },
}

impl Builder {
    pub(crate) fn new(data_type: &SqlType) -> Self {
        use SqlType as S;
        let values = match data_type {
            S::Null => Building::Null,
            S::Boolean => Building::Boolean(BooleanBufferBuilder::new(0)),
            S::Float32 => Building::Float32(Vec::new()),
            S::Float64 => Building::Float64(Vec::new()),
            S::Decimal(precision, _) if *precision <= 38 => Building::Decimal(Vec::new()),
            S::Decimal(..) => Building::Decimal256(Vec::new()),
            S::String => Building::String(Box::new(StringViewBuilder::new())),
            S::Bytes => Building::Bytes {
                offsets: vec![0],
                data: Vec::new(),
            },
            S::Interval => Building::Interval(Vec::new()),
            S::Array(item) => Building::Array {
                offsets: vec![0],
                items: Box::new(Self::new(item)),
            },
            S::Row(fields) => Building::Row(
                fields
                    .iter()
                    .map(|field| Self::new(&field.data_type))
                    .collect(),
            ),
            S::Map(key, value) => Building::Map {
                offsets: vec![0],
                keys: Box::new(Self::new(key)),
                values: Box::new(Self::new(value)),
            },
            _ => Building::Int(Vec::new()),
        };
        Self {
            data_type: data_type.clone(),
            nulls: NullBufferBuilder::new(0),
            values,
        }
    }

    /// One builder for each column.
    pub(crate) fn of_columns(columns: &[weir_types::Column]) -> Vec<Self> {
        columns
            .iter()
            .map(|column| Self::new(&column.data_type))
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.nulls.len()
    }

    pub(crate) fn push_null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
            Building::Null => {}
            Building::Boolean(values) => values.append(false),
            Building::Int(values) => values.push(0),
            Building::Float32(values) => values.push(0.0),
            Building::Float64(values) => values.push(0.0),
            Building::Decimal(values) => values.push(0),
            Building::Decimal256(values) => values.push(i256::ZERO),
            Building::String(values) => values.append_null(),
            Building::Bytes { offsets, data } => offsets.push(data.len() as i32),
            Building::Interval(values) => values.push(IntervalMonthDayNano::ZERO),
            Building::Array { offsets, items } => offsets.push(items.len() as i32),
            Building::Row(fields) => fields.iter_mut().for_each(Self::push_null),
            Building::Map { offsets, keys, .. } => offsets.push(keys.len() as i32),
        }
    }

    /// Says that the value just added to `values` is not NULL.
    #[inline]
    pub(crate) fn mark_valid(&mut self) {
        self.nulls.append_non_null();
    }

    /// Adds a value of an integer-like type, BOOLEAN included.
    #[inline]
    pub(crate) fn push_i64(&mut self, value: i64) {
        match &mut self.values {
            Building::Int(values) => values.push(value),
            Building::Boolean(values) => values.append(value != 0),
            _ => unreachable!("the column is declared as {}", self.data_type),
        }
        self.mark_valid();
    }

    /// Adds a REAL or DOUBLE.
    #[inline]
    pub(crate) fn push_f64(&mut self, value: f64) {
        match &mut self.values {
            Building::Float64(values) => values.push(value),
            Building::Float32(values) => values.push(value as f32),
            _ => unreachable!("the column is declared as {}", self.data_type),
        }
        self.mark_valid();
    }

    /// Adds the unscaled value of a DECIMAL of up to 38 digits.
    #[inline]
    pub(crate) fn push_i128(&mut self, value: i128) {
        match &mut self.values {
            Building::Decimal(values) => values.push(value),
            _ => unreachable!("the column is declared as {}", self.data_type),
        }
        self.mark_valid();
    }

    /// Adds the content of a STRING or BYTES.
    #[inline]
    pub(crate) fn push_bytes(&mut self, value: &[u8]) -> Result<()> {
        match &mut self.values {
            Building::String(values) => values.append_value(
                std::str::from_utf8(value)
                    .map_err(|_| Error::damaged("a stored string is not UTF-8"))?,
            ),
            Building::Bytes { offsets, data } => {
                data.extend_from_slice(value);
                offsets.push(data.len() as i32);
            }
            _ => unreachable!("the column is declared as {}", self.data_type),
        }
        self.mark_valid();
        Ok(())
    }

    /// The finished column.
    pub(crate) fn finish(mut self) -> ArrayRef {
        let len = self.nulls.len();
        let nulls = self.nulls.finish();
        match self.values {
            Building::Null => Arc::new(NullArray::new(len)),
            Building::Boolean(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Building::Int(values) => integers(&self.data_type, values, nulls),
            Building::Float32(values) => Arc::new(Float32Array::new(values.into(), nulls)),
            Building::Float64(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Building::Decimal(values) => Arc::new(
                Decimal128Array::new(values.into(), nulls)
                    .with_data_type(self.data_type.to_arrow()),
            ),
            Building::Decimal256(values) => Arc::new(
                Decimal256Array::new(values.into(), nulls)
                    .with_data_type(self.data_type.to_arrow()),
            ),
            Building::String(mut values) => Arc::new(values.finish()),
            Building::Bytes { offsets, data } => Arc::new(BinaryArray::new(
                OffsetBuffer::new(offsets.into()),
                data.into(),
                nulls,
            )),
            Building::Interval(values) => {
                Arc::new(IntervalMonthDayNanoArray::new(values.into(), nulls))
            }
            Building::Array { offsets, items } => match self.data_type.to_arrow() {
                DataType::List(field) => Arc::new(ListArray::new(
                    field,
                    OffsetBuffer::new(offsets.into()),
                    items.finish(),
                    nulls,
                )),
                other => unreachable!("an ARRAY is a list in Arrow, not {other}"),
            },
            Building::Row(fields) => match self.data_type.to_arrow() {
                DataType::Struct(types) if types.is_empty() => {
                    Arc::new(StructArray::new_empty_fields(len, nulls))
                }
                DataType::Struct(types) => {
                    // A field that is declared NOT NULL holds a filler where the whole row is NULL.
                    let columns = fields.into_iter().map(Self::finish).collect();
                    let types: Fields = types
                        .iter()
                        .map(|field| field.as_ref().clone())
                        .collect::<Vec<_>>()
                        .into();
                    Arc::new(StructArray::new(types, columns, nulls))
                }
                other => unreachable!("a ROW is a struct in Arrow, not {other}"),
            },
            Building::Map {
                offsets,
                keys,
                values,
            } => match self.data_type.to_arrow() {
                DataType::Map(entries_field, ordered) => {
                    let DataType::Struct(types) = entries_field.data_type() else {
                        unreachable!("the entries of a MAP are a struct")
                    };
                    let entries =
                        StructArray::new(types.clone(), vec![keys.finish(), values.finish()], None);
                    let offsets = OffsetBuffer::new(offsets.into());
                    Arc::new(MapArray::new(
                        entries_field,
                        offsets,
                        entries,
                        nulls,
                        ordered,
                    ))
                }
                other => unreachable!("a MAP is a map in Arrow, not {other}"),
            },
        }
    }
}

/// The array of an integer-like type from its values as i64 (which fit: they came from that type).
pub(crate) fn integers(
    data_type: &SqlType,
    values: Vec<i64>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    macro_rules! narrow {
        ($t:ty) => {
            Arc::new(PrimitiveArray::<$t>::new(
                values
                    .into_iter()
                    .map(|v| v as <$t as ArrowPrimitiveType>::Native)
                    .collect(),
                nulls,
            ))
        };
    }
    macro_rules! wide {
        ($t:ty) => {
            Arc::new(
                PrimitiveArray::<$t>::new(ScalarBuffer::from(values), nulls)
                    .with_data_type(data_type.to_arrow()),
            )
        };
    }
    match data_type {
        SqlType::Boolean => Arc::new(BooleanArray::new(
            values.into_iter().map(|v| v != 0).collect(),
            nulls,
        )),
        SqlType::Int8 => narrow!(Int8Type),
        SqlType::Int16 => narrow!(Int16Type),
        SqlType::Int32 => narrow!(Int32Type),
        SqlType::UInt8 => narrow!(UInt8Type),
        SqlType::UInt16 => narrow!(UInt16Type),
        SqlType::UInt32 => narrow!(UInt32Type),
        SqlType::UInt64 => narrow!(UInt64Type),
        SqlType::Date => narrow!(Date32Type),
        SqlType::Time => wide!(Time64NanosecondType),
        SqlType::Timestamp(unit) | SqlType::TimestampLtz(unit) => match unit {
            TimeUnit::Second => wide!(TimestampSecondType),
            TimeUnit::Milli => wide!(TimestampMillisecondType),
            TimeUnit::Micro => wide!(TimestampMicrosecondType),
            TimeUnit::Nano => wide!(TimestampNanosecondType),
        },
        _ => wide!(Int64Type),
    }
}
