//! Both encodings over every type: everything comes back, damage is an error.

mod golden;
mod order_keys;
mod sorting;

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{IntervalMonthDayNano, i256};
use proptest::prelude::*;
use weir_types::{Column, DataType, KeyGroup, TimeUnit};

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn key_bytes(array: &ArrayRef, data_type: &DataType, row: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    key::put_column(&Reader::new(array, data_type), row, &mut bytes);
    bytes
}

fn key_hex(array: impl Array + 'static, data_type: DataType) -> String {
    hex(&key_bytes(&(Arc::new(array) as ArrayRef), &data_type, 0))
}

fn row_bytes(columns: &[(ArrayRef, DataType)], row: usize) -> Vec<u8> {
    let readers: Vec<_> = columns
        .iter()
        .map(|(array, data_type)| Reader::new(array, data_type))
        .collect();
    let mut bytes = Vec::new();
    value::put_row(&readers, row, &mut bytes);
    bytes
}

fn row_hex(array: impl Array + 'static, data_type: DataType) -> String {
    hex(&row_bytes(&[(Arc::new(array), data_type)], 0))
}

fn decimal(digits: i128) -> Decimal128Array {
    Decimal128Array::from(vec![digits])
        .with_precision_and_scale(12, 2)
        .unwrap()
}

fn wide_decimal(digits: i128) -> Decimal256Array {
    Decimal256Array::from(vec![i256::from_i128(digits)])
        .with_precision_and_scale(50, 2)
        .unwrap()
}

fn interval(months: i32, days: i32, nanoseconds: i64) -> IntervalMonthDayNanoArray {
    vec![IntervalMonthDayNano {
        months,
        days,
        nanoseconds,
    }]
    .into()
}

/// Columns of every type, three rows each, the last one NULL.
fn every_type() -> Vec<(ArrayRef, DataType)> {
    let list = DataType::Array(Box::new(DataType::Int32));
    let record = DataType::Row(vec![
        Column::new("a", DataType::Int64),
        Column::new("b", DataType::String),
    ]);
    let map = DataType::Map(Box::new(DataType::String), Box::new(DataType::Int64));
    let nested = DataType::Array(Box::new(record.clone()));
    let field = |data_type: &DataType| match data_type.to_arrow() {
        arrow::datatypes::DataType::List(field) => field,
        other => panic!("{other}"),
    };
    let fields = |data_type: &DataType| match data_type.to_arrow() {
        arrow::datatypes::DataType::Struct(fields) => fields,
        other => panic!("{other}"),
    };
    let nulls = || Some(vec![true, true, false].into());
    let items: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(-3)]));
    let lists = ListArray::new(
        field(&list),
        arrow::buffer::OffsetBuffer::new(vec![0, 2, 3, 3].into()),
        items,
        nulls(),
    );
    let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("x"), None, None]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None]));
    let records = StructArray::new(
        fields(&record),
        vec![numbers.clone(), text.clone()],
        nulls(),
    );
    let no_nulls = StructArray::new(fields(&record), vec![numbers.clone(), text], None);
    let nested_lists = ListArray::new(
        field(&nested),
        arrow::buffer::OffsetBuffer::new(vec![0, 1, 3, 3].into()),
        Arc::new(no_nulls),
        nulls(),
    );
    let mut maps = MapBuilder::new(None, StringViewBuilder::new(), Int64Builder::new());
    maps.keys().append_value("k");
    maps.values().append_value(5);
    maps.append(true).unwrap();
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    let maps: ArrayRef = Arc::new(maps.finish());
    let maps = canonical(&cast_map(&maps, &map), &map).unwrap();
    vec![
        (Arc::new(NullArray::new(3)), DataType::Null),
        (
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            DataType::Boolean,
        ),
        (
            Arc::new(Int8Array::from(vec![Some(-1), Some(7), None])),
            DataType::Int8,
        ),
        (
            Arc::new(Int16Array::from(vec![Some(-1), Some(7), None])),
            DataType::Int16,
        ),
        (
            Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(7), None])),
            DataType::Int32,
        ),
        (
            Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None])),
            DataType::Int64,
        ),
        (
            Arc::new(UInt8Array::from(vec![Some(255), Some(7), None])),
            DataType::UInt8,
        ),
        (
            Arc::new(UInt16Array::from(vec![Some(65535), Some(7), None])),
            DataType::UInt16,
        ),
        (
            Arc::new(UInt32Array::from(vec![Some(u32::MAX), Some(7), None])),
            DataType::UInt32,
        ),
        (
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(7), None])),
            DataType::UInt64,
        ),
        (
            Arc::new(Float32Array::from(vec![Some(-1.5), Some(7.0), None])),
            DataType::Float32,
        ),
        (
            Arc::new(Float64Array::from(vec![
                Some(-1.5),
                Some(f64::INFINITY),
                None,
            ])),
            DataType::Float64,
        ),
        (
            Arc::new(
                Decimal128Array::from(vec![Some(-150), Some(7), None])
                    .with_precision_and_scale(12, 2)
                    .unwrap(),
            ),
            DataType::Decimal(12, 2),
        ),
        (
            Arc::new(
                Decimal256Array::from(vec![
                    Some(i256::from_i128(-150)),
                    Some(i256::from_i128(7)),
                    None,
                ])
                .with_precision_and_scale(50, 2)
                .unwrap(),
            ),
            DataType::Decimal(50, 2),
        ),
        (
            Arc::new(StringViewArray::from(vec![
                Some("a\0b"),
                Some("a longer string than twelve"),
                None,
            ])),
            DataType::String,
        ),
        (
            Arc::new(BinaryArray::from(vec![
                Some(b"\0\xFF".as_slice()),
                Some(b""),
                None,
            ])),
            DataType::Bytes,
        ),
        (
            Arc::new(Date32Array::from(vec![Some(-1), Some(20000), None])),
            DataType::Date,
        ),
        (
            Arc::new(Time64NanosecondArray::from(vec![
                Some(1),
                Some(86_399_999_999_999),
                None,
            ])),
            DataType::Time,
        ),
        (
            Arc::new(TimestampMillisecondArray::from(vec![
                Some(-1),
                Some(1_700_000_000_000),
                None,
            ])),
            DataType::Timestamp(TimeUnit::Milli),
        ),
        (
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(-1), Some(1), None])
                    .with_timezone("+00:00"),
            ),
            DataType::TimestampLtz(TimeUnit::Micro),
        ),
        (
            Arc::new(IntervalMonthDayNanoArray::from(vec![
                Some(IntervalMonthDayNano {
                    months: -1,
                    days: 2,
                    nanoseconds: -3,
                }),
                Some(IntervalMonthDayNano {
                    months: 1,
                    days: 0,
                    nanoseconds: 0,
                }),
                None,
            ])),
            DataType::Interval,
        ),
        (Arc::new(lists), list),
        (Arc::new(records), record),
        (Arc::new(nested_lists), nested),
        (maps, map),
    ]
}

/// A map with the canonical field names.
fn cast_map(maps: &ArrayRef, data_type: &DataType) -> ArrayRef {
    let maps = maps.as_map();
    let arrow::datatypes::DataType::Map(field, ordered) = data_type.to_arrow() else {
        panic!()
    };
    let arrow::datatypes::DataType::Struct(fields) = field.data_type() else {
        panic!()
    };
    let entries = StructArray::new(
        fields.clone(),
        vec![maps.keys().clone(), maps.values().clone()],
        None,
    );
    Arc::new(MapArray::new(
        field,
        maps.offsets().clone(),
        entries,
        maps.nulls().cloned(),
        ordered,
    ))
}

#[test]
fn every_type_comes_back_from_a_key() {
    for (array, data_type) in every_type() {
        let mut builder = Builder::new(&data_type);
        for row in 0..array.len() {
            let bytes = key_bytes(&array, &data_type, row);
            let mut rest = bytes.as_slice();
            key::take_column(&mut rest, &mut builder).unwrap();
            assert!(rest.is_empty(), "{data_type}");
        }
        assert_eq!(&builder.finish(), &array, "{data_type}");
    }
}

#[test]
fn every_type_comes_back_from_a_row() {
    let columns = every_type();
    let schema: Vec<Column> = columns
        .iter()
        .map(|(_, data_type)| Column::new("c", data_type.clone()))
        .collect();
    let mut builders = Builder::of_columns(&schema);
    for row in 0..3 {
        value::take_row(&row_bytes(&columns, row), &mut builders).unwrap();
    }
    for (builder, (array, data_type)) in builders.into_iter().zip(&columns) {
        assert_eq!(&builder.finish(), array, "{data_type}");
    }
}

#[test]
fn a_value_can_be_cut_off_a_row_without_decoding_it() {
    for (array, data_type) in every_type() {
        let reader = Reader::new(&array, &data_type);
        for row in (0..3).filter(|&row| !reader.is_null(row)) {
            let mut bytes = Vec::new();
            value::put_value(&reader, row, &mut bytes);
            let length = bytes.len();
            bytes.push(0xEE);
            let mut rest = bytes.as_slice();
            assert_eq!(
                value::take_raw(&mut rest, &data_type).unwrap().len(),
                length,
                "{data_type}"
            );
            assert_eq!(rest, [0xEE]);
        }
    }
}

#[test]
fn damaged_bytes_are_an_error_and_never_a_panic() {
    let columns = every_type();
    let schema: Vec<Column> = columns
        .iter()
        .map(|(_, data_type)| Column::new("c", data_type.clone()))
        .collect();
    let whole = row_bytes(&columns, 0);
    for length in 0..whole.len() {
        assert!(
            value::take_row(&whole[..length], &mut Builder::of_columns(&schema)).is_err(),
            "{length}"
        );
    }
    for position in 0..whole.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut damaged = whole.clone();
            damaged[position] ^= flip;
            // Either an error or another value.
            let _ = value::take_row(&damaged, &mut Builder::of_columns(&schema));
        }
    }
    for (array, data_type) in columns {
        let whole = key_bytes(&array, &data_type, 0);
        for length in 0..whole.len() {
            let cut = key::take_column(&mut &whole[..length], &mut Builder::new(&data_type));
            assert!(cut.is_err(), "{data_type} {length}");
        }
    }
}
