//! The values of Arrow columns as text: arrays are looked at once for each batch, values are then written row by row.
//!
//! Every value has one canonical text: floats are the shortest digits that read back as the same value, with a point
//! or an exponent; NaN and infinities are `NaN`, `Infinity`, `-Infinity`; decimals have all digits of their scale.

use arrow::array::*;
use arrow::datatypes::*;
use weir_types::{Column, DataType as Sql, TimeUnit as Unit};

use super::decimal;
use super::json::write_string;
use super::value::{self, TimestampFormat};

/// How the values of a column are spelt, beyond what their Arrow type says.
#[derive(Debug)]
pub(crate) struct Style {
    timestamps: TimestampFormat,
    /// Of a ROW: `"name":` of each field.
    labels: Vec<Vec<u8>>,
    /// Of a nested type: its fields', its element's, its key's and value's.
    children: Vec<Style>,
}

impl Style {
    pub(crate) fn of(column: &Column, timestamps: TimestampFormat) -> Self {
        Self::of_type(&column.data_type, timestamps)
    }

    fn of_type(data_type: &Sql, timestamps: TimestampFormat) -> Self {
        let (labels, children) = match data_type {
            Sql::Row(fields) => {
                let label = |field: &Column| {
                    let mut label = Vec::new();
                    write_string(field.external(), &mut label);
                    label.push(b':');
                    label
                };
                (
                    fields.iter().map(label).collect(),
                    fields
                        .iter()
                        .map(|field| Self::of(field, timestamps))
                        .collect(),
                )
            }
            Sql::Array(element) => (Vec::new(), vec![Self::of_type(element, timestamps)]),
            Sql::Map(key, element) => (
                Vec::new(),
                vec![
                    Self::of_type(key, timestamps),
                    Self::of_type(element, timestamps),
                ],
            ),
            _ => (Vec::new(), Vec::new()),
        };
        Self {
            timestamps,
            labels,
            children,
        }
    }
}

/// A column whose type was looked at.
pub(crate) struct ColumnValues<'a> {
    array: &'a ArrayRef,
    values: Values<'a>,
}

enum Values<'a> {
    Boolean(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal128(&'a [i128], i8),
    Decimal256(&'a [i256], i8),
    View(&'a StringViewArray),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a [i32]),
    Time(&'a [i64]),
    Timestamp {
        values: &'a [i64],
        unit: Unit,
        zoned: bool,
    },
    Row(Vec<ColumnValues<'a>>),
    List(&'a ListArray, Box<ColumnValues<'a>>),
    Map(&'a MapArray, Box<[ColumnValues<'a>; 2]>),
    /// A type without a spelling of ours (NULL, INTERVAL): Arrow's.
    Other,
}

impl<'a> ColumnValues<'a> {
    pub(crate) fn of(array: &'a ArrayRef) -> Self {
        use arrow::datatypes::{DataType as A, TimeUnit as T};
        let timestamp = |unit| Values::Timestamp {
            values: match unit {
                Unit::Second => array.as_primitive::<TimestampSecondType>().values(),
                Unit::Milli => array.as_primitive::<TimestampMillisecondType>().values(),
                Unit::Micro => array.as_primitive::<TimestampMicrosecondType>().values(),
                Unit::Nano => array.as_primitive::<TimestampNanosecondType>().values(),
            },
            unit,
            zoned: matches!(array.data_type(), A::Timestamp(_, Some(_))),
        };
        let values = match array.data_type() {
            A::Boolean => Values::Boolean(array.as_boolean()),
            A::Int8 => Values::Int8(array.as_primitive::<Int8Type>().values()),
            A::Int16 => Values::Int16(array.as_primitive::<Int16Type>().values()),
            A::Int32 => Values::Int32(array.as_primitive::<Int32Type>().values()),
            A::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values()),
            A::UInt8 => Values::UInt8(array.as_primitive::<UInt8Type>().values()),
            A::UInt16 => Values::UInt16(array.as_primitive::<UInt16Type>().values()),
            A::UInt32 => Values::UInt32(array.as_primitive::<UInt32Type>().values()),
            A::UInt64 => Values::UInt64(array.as_primitive::<UInt64Type>().values()),
            A::Float32 => Values::Float32(array.as_primitive::<Float32Type>().values()),
            A::Float64 => Values::Float64(array.as_primitive::<Float64Type>().values()),
            A::Decimal128(_, scale) => {
                Values::Decimal128(array.as_primitive::<Decimal128Type>().values(), *scale)
            }
            A::Decimal256(_, scale) => {
                Values::Decimal256(array.as_primitive::<Decimal256Type>().values(), *scale)
            }
            A::Utf8View => Values::View(array.as_string_view()),
            A::Utf8 => Values::Text(array.as_string()),
            A::Binary => Values::Bytes(array.as_binary()),
            A::Date32 => Values::Date(array.as_primitive::<Date32Type>().values()),
            A::Time64(T::Nanosecond) => {
                Values::Time(array.as_primitive::<Time64NanosecondType>().values())
            }
            A::Timestamp(T::Second, _) => timestamp(Unit::Second),
            A::Timestamp(T::Millisecond, _) => timestamp(Unit::Milli),
            A::Timestamp(T::Microsecond, _) => timestamp(Unit::Micro),
            A::Timestamp(T::Nanosecond, _) => timestamp(Unit::Nano),
            A::Struct(_) => Values::Row(array.as_struct().columns().iter().map(Self::of).collect()),
            A::List(_) => {
                let list = array.as_list::<i32>();
                Values::List(list, Box::new(Self::of(list.values())))
            }
            A::Map(..) => {
                let map = array.as_map();
                Values::Map(
                    map,
                    Box::new([Self::of(map.keys()), Self::of(map.values())]),
                )
            }
            _ => Values::Other,
        };
        Self { array, values }
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row) || *self.array.data_type() == DataType::Null
    }

    /// The value as JSON.
    pub(crate) fn write_json(&self, row: usize, style: &Style, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        match &self.values {
            Values::View(array) => write_string(array.value(row), out),
            Values::Text(array) => write_string(array.value(row), out),
            Values::Row(fields) => {
                for (field, values) in fields.iter().enumerate() {
                    out.push(if field == 0 { b'{' } else { b',' });
                    out.extend_from_slice(&style.labels[field]);
                    values.write_json(row, &style.children[field], out);
                }
                out.extend_from_slice(if fields.is_empty() { b"{}" } else { b"}" });
            }
            Values::List(list, values) => {
                let ends = list.value_offsets();
                let (from, to) = (ends[row] as usize, ends[row + 1] as usize);
                out.push(b'[');
                for element in from..to {
                    if element > from {
                        out.push(b',');
                    }
                    values.write_json(element, &style.children[0], out);
                }
                out.push(b']');
            }
            Values::Map(map, pairs) => self.write_map(map, pairs, row, style, out),
            _ if self.is_bare(row, style) => self.write_plain(row, style, out),
            _ => {
                out.push(b'"');
                self.write_plain(row, style, out);
                out.push(b'"');
            }
        }
    }

    fn write_map(
        &self,
        map: &MapArray,
        pairs: &[ColumnValues<'_>; 2],
        row: usize,
        style: &Style,
        out: &mut Vec<u8>,
    ) {
        let ends = map.value_offsets();
        let mut key = Vec::new();
        for entry in ends[row]..ends[row + 1] {
            out.push(if entry == ends[row] { b'{' } else { b',' });
            key.clear();
            pairs[0].write_plain(entry as usize, &style.children[0], &mut key);
            write_string(&String::from_utf8_lossy(&key), out);
            out.push(b':');
            pairs[1].write_json(entry as usize, &style.children[1], out);
        }
        out.extend_from_slice(if ends[row] == ends[row + 1] {
            b"{}"
        } else {
            b"}"
        });
    }

    /// Whether JSON writes the value without quotes.
    fn is_bare(&self, row: usize, style: &Style) -> bool {
        match &self.values {
            Values::Float32(values) => values[row].is_finite(),
            Values::Float64(values) => values[row].is_finite(),
            Values::Timestamp { .. } => matches!(style.timestamps, TimestampFormat::Epoch(_)),
            Values::Bytes(_) | Values::Date(_) | Values::Time(_) | Values::Other => false,
            _ => true,
        }
    }

    /// The value (not NULL) as bare text: a CSV field before quoting, a key of a MAP, a folder's name.
    pub(crate) fn write_plain(&self, row: usize, style: &Style, out: &mut Vec<u8>) {
        match &self.values {
            Values::Boolean(array) => {
                out.extend_from_slice(if array.value(row) { b"true" } else { b"false" })
            }
            Values::Int8(values) => value::write_integer(values[row].into(), out),
            Values::Int16(values) => value::write_integer(values[row].into(), out),
            Values::Int32(values) => value::write_integer(values[row].into(), out),
            Values::Int64(values) => value::write_integer(values[row], out),
            Values::UInt8(values) => value::write_unsigned(values[row].into(), out),
            Values::UInt16(values) => value::write_unsigned(values[row].into(), out),
            Values::UInt32(values) => value::write_unsigned(values[row].into(), out),
            Values::UInt64(values) => value::write_unsigned(values[row], out),
            Values::Float32(values) => write_float(
                f64::from(values[row]),
                format_args!("{:?}", values[row]),
                out,
            ),
            Values::Float64(values) => {
                write_float(values[row], format_args!("{:?}", values[row]), out)
            }
            Values::Decimal128(values, scale) => {
                let value = values[row];
                decimal::write(value < 0, &value.unsigned_abs().to_string(), *scale, out);
            }
            Values::Decimal256(values, scale) => {
                let text = values[row].to_string();
                decimal::write(
                    text.starts_with('-'),
                    text.trim_start_matches('-'),
                    *scale,
                    out,
                );
            }
            Values::View(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Values::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Values::Bytes(array) => value::write_base64(array.value(row), out),
            Values::Date(values) => value::write_date(values[row].into(), out),
            Values::Time(values) => value::write_time(values[row], out),
            Values::Timestamp {
                values,
                unit,
                zoned,
            } => {
                value::write_timestamp(values[row], *unit, *zoned, style.timestamps, out);
            }
            Values::Row(_) | Values::List(..) | Values::Map(..) => self.write_json(row, style, out),
            Values::Other => {
                let text = arrow::util::display::array_value_to_string(self.array, row)
                    .unwrap_or_default();
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

fn write_float(value: f64, digits: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    use std::io::Write;
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 {
            b"Infinity"
        } else {
            b"-Infinity"
        });
    } else {
        // Writing to a vector cannot fail.
        let _ = out.write_fmt(digits);
    }
}
