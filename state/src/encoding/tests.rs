//! Golden bytes of both encodings, and properties: keys sort like their values, everything comes back.

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

#[test]
fn keys_are_these_bytes_for_ever() {
    let mut prefix = Vec::new();
    key::put_prefix(KeyGroup(258), None, &mut prefix);
    assert_eq!(hex(&prefix), "01 02");
    prefix.clear();
    key::put_prefix(KeyGroup(7), Some(1_000_000), &mut prefix);
    assert_eq!(hex(&prefix), "00 07 80 00 00 00 00 0F 42 40");
    assert_eq!(key::slice_of(&prefix).unwrap(), 1_000_000);

    let int = |value| key_hex(Int64Array::from(vec![value]), DataType::Int64);
    assert_eq!(int(Some(42)), "01 80 00 00 00 00 00 00 2A");
    assert_eq!(int(Some(-1)), "01 7F FF FF FF FF FF FF FF");
    assert_eq!(int(None), "02");
    let mut fast = Vec::new();
    key::put_int(Some(42), &mut fast);
    key::put_int(None, &mut fast);
    assert_eq!(hex(&fast), "01 80 00 00 00 00 00 00 2A 02");
    assert_eq!(
        key_hex(Int8Array::from(vec![42]), DataType::Int8),
        int(Some(42))
    );
    assert_eq!(
        key_hex(BooleanArray::from(vec![true]), DataType::Boolean),
        "01 01"
    );
    let double = |value| key_hex(Float64Array::from(vec![value]), DataType::Float64);
    assert_eq!(double(1.0), "01 BF F0 00 00 00 00 00 00");
    assert_eq!(double(-1.0), "01 40 0F FF FF FF FF FF FF");
    assert_eq!(double(-0.0), "01 80 00 00 00 00 00 00 00");
    assert_eq!(double(-f64::NAN), "01 FF F8 00 00 00 00 00 00");
    assert_eq!(
        key_hex(Float32Array::from(vec![1.0]), DataType::Float32),
        double(1.0)
    );
    let text = |value| key_hex(StringViewArray::from(vec![value]), DataType::String);
    assert_eq!(text("ab"), "01 61 62 00 00");
    assert_eq!(text("a\0b"), "01 61 00 FF 62 00 00");
    assert_eq!(text(""), "01 00 00");
    assert_eq!(
        key_hex(BinaryArray::from(vec![b"ab".as_slice()]), DataType::Bytes),
        text("ab")
    );
    assert_eq!(
        key_hex(decimal(-150), DataType::Decimal(12, 2)),
        "01 7F FF FF FF FF FF FF FF FF FF FF FF FF FF FF 6A"
    );
    assert_eq!(
        key_hex(wide_decimal(1), DataType::Decimal(50, 2)),
        format!("01 80 {}01", "00 ".repeat(30))
    );
    assert_eq!(
        key_hex(interval(1, -1, 2), DataType::Interval),
        "01 80 00 00 01 7F FF FF FF 80 00 00 00 00 00 00 02"
    );
    let columns = every_type();
    let nested = |name: &str| {
        let (array, data_type) = columns
            .iter()
            .find(|(_, data_type)| data_type.to_string().starts_with(name))
            .unwrap();
        hex(&key_bytes(array, data_type, 0))
    };
    assert_eq!(
        nested("ARRAY<INT>"),
        "01 01 01 80 00 00 00 00 00 00 01 01 02 00"
    );
    assert_eq!(nested("ROW<"), "01 01 80 00 00 00 00 00 00 01 01 78 00 00");
    assert_eq!(
        nested("MAP<"),
        "01 01 01 6B 00 00 01 80 00 00 00 00 00 00 05 00"
    );
}

#[test]
fn rows_are_these_bytes_for_ever() {
    let int = |value| row_hex(Int64Array::from(vec![value]), DataType::Int64);
    assert_eq!(int(Some(0)), "01 00 00");
    assert_eq!(int(Some(-1)), "01 00 01");
    assert_eq!(int(Some(300)), "01 00 D8 04");
    assert_eq!(int(None), "01 01");
    assert_eq!(
        row_hex(BooleanArray::from(vec![true]), DataType::Boolean),
        "01 00 01"
    );
    assert_eq!(
        row_hex(Float32Array::from(vec![1.0]), DataType::Float32),
        "01 00 00 00 80 3F"
    );
    assert_eq!(
        row_hex(Float64Array::from(vec![-0.0]), DataType::Float64),
        "01 00 00 00 00 00 00 00 00 80"
    );
    assert_eq!(
        row_hex(decimal(-150), DataType::Decimal(12, 2)),
        "01 00 AB 02"
    );
    assert_eq!(
        row_hex(wide_decimal(1), DataType::Decimal(50, 2)),
        format!("01 00 01{}", " 00".repeat(31))
    );
    assert_eq!(
        row_hex(StringViewArray::from(vec!["ab"]), DataType::String),
        "01 00 02 61 62"
    );
    assert_eq!(
        row_hex(BinaryArray::from(vec![b"\0".as_slice()]), DataType::Bytes),
        "01 00 01 00"
    );
    assert_eq!(
        row_hex(Date32Array::from(vec![1]), DataType::Date),
        "01 00 02"
    );
    assert_eq!(
        row_hex(interval(1, -1, 2), DataType::Interval),
        "01 00 02 01 04"
    );
    let columns = every_type();
    let nested = |name: &str| {
        let (array, data_type) = columns
            .iter()
            .find(|(_, data_type)| data_type.to_string().starts_with(name))
            .unwrap();
        hex(&row_bytes(&[(array.clone(), data_type.clone())], 0))
    };
    assert_eq!(nested("ARRAY<INT>"), "01 00 02 02 02");
    assert_eq!(nested("ROW<"), "01 00 00 02 01 78");
    assert_eq!(nested("MAP<"), "01 00 01 00 01 6B 01 00 0A");
    let ten: Vec<_> = (0..10)
        .map(|i| {
            (
                Arc::new(Int64Array::from(vec![(i != 9).then_some(1)])) as ArrayRef,
                DataType::Int64,
            )
        })
        .collect();
    assert_eq!(
        hex(&row_bytes(&ten, 0)),
        format!("01 00 02{}", " 02".repeat(9))
    );
}

#[test]
fn a_row_of_a_later_version_says_so() {
    let error = value::take_row(&[9, 0, 0], &mut [Builder::new(&DataType::Int64)]).unwrap_err();
    assert!(matches!(error, crate::Error::Incompatible(_)), "{error}");
}

/// Encoded keys sort as `compare` says.
fn check_order<T: Clone>(
    values: &[T],
    data_type: &DataType,
    array: impl Fn(Vec<Option<T>>) -> ArrayRef,
    compare: impl Fn(&T, &T) -> Ordering,
) {
    let mut all: Vec<Option<T>> = values.iter().cloned().map(Some).collect();
    all.push(None);
    let array = array(all.clone());
    let keys: Vec<Vec<u8>> = (0..all.len())
        .map(|row| key_bytes(&array, data_type, row))
        .collect();
    for (i, a) in all.iter().enumerate() {
        for (j, b) in all.iter().enumerate() {
            let expected = match (a, b) {
                (Some(a), Some(b)) => compare(a, b),
                // NULL sorts last.
                (a, b) => a.is_none().cmp(&b.is_none()),
            };
            assert_eq!(
                keys[i].cmp(&keys[j]),
                expected,
                "{} against {}",
                hex(&keys[i]),
                hex(&keys[j])
            );
            assert!(
                i == j || expected == Ordering::Equal || !keys[j].starts_with(&keys[i]),
                "prefix-free"
            );
        }
    }
}

/// Floats in the order of keys: one zero, one NaN after everything.
fn float_order(a: &f64, b: &f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(b).unwrap(),
        (a, b) => a.cmp(&b),
    }
}

proptest! {
    #[test]
    fn encoded_integers_sort_like_their_values(values in prop::collection::vec(any::<i64>(), 1..20)) {
        check_order(&values, &DataType::Int64, |v| Arc::new(Int64Array::from(v)), i64::cmp);
    }

    #[test]
    fn encoded_floats_sort_like_their_values(
        values in prop::collection::vec(prop_oneof![
            any::<f64>(), Just(0.0), Just(-0.0), Just(f64::NAN), Just(-f64::NAN), Just(f64::INFINITY),
        ], 1..20)
    ) {
        check_order(&values, &DataType::Float64, |v| Arc::new(Float64Array::from(v)), float_order);
    }

    #[test]
    fn encoded_decimals_sort_like_their_values(values in prop::collection::vec(any::<i128>(), 1..20)) {
        let data_type = DataType::Decimal(38, 4);
        let array = |v| Arc::new(Decimal128Array::from(v).with_data_type(data_type.to_arrow())) as ArrayRef;
        check_order(&values, &data_type, array, i128::cmp);
    }

    #[test]
    fn encoded_strings_sort_like_their_bytes(values in prop::collection::vec("[\\x00a\\x01é]{0,5}", 1..20)) {
        check_order(&values, &DataType::String, |v| Arc::new(StringViewArray::from_iter(v)), String::cmp);
    }

    #[test]
    fn encoded_bytes_sort_like_their_values(
        values in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xFF), any::<u8>()], 0..6), 1..20)
    ) {
        check_order(&values, &DataType::Bytes, |v| Arc::new(BinaryArray::from_iter(v)), Vec::cmp);
    }

    #[test]
    fn encoded_arrays_sort_like_their_values(
        values in prop::collection::vec(prop::collection::vec(-2i64..2, 0..4), 1..12)
    ) {
        let data_type = DataType::Array(Box::new(DataType::Int64));
        let array = |v: Vec<Option<Vec<i64>>>| {
            let lists = v.into_iter().map(|list| list.map(|list| list.into_iter().map(Some)));
            Arc::new(ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(lists)) as ArrayRef
        };
        check_order(&values, &data_type, array, Vec::cmp);
    }

    #[test]
    fn keys_of_two_columns_sort_by_the_first_and_then_the_second(
        values in prop::collection::vec(("[\\x00ab]{0,3}", -2i64..3), 1..20)
    ) {
        let encode = |(text, int): &(String, i64)| {
            let text: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str()]));
            let int: ArrayRef = Arc::new(Int64Array::from(vec![*int]));
            let mut bytes = key_bytes(&text, &DataType::String, 0);
            bytes.extend(key_bytes(&int, &DataType::Int64, 0));
            bytes
        };
        for a in &values {
            for b in &values {
                prop_assert_eq!(encode(a).cmp(&encode(b)), a.cmp(b));
            }
        }
    }
}

/// The order key of a row of these columns, NULL where `None`.
fn order_bytes(
    order: &[weir_types::SortColumn],
    columns: &[(ArrayRef, DataType)],
    row: usize,
) -> Vec<u8> {
    let schema: Vec<Column> = columns
        .iter()
        .map(|(_, data_type)| Column::new("c", data_type.clone()))
        .collect();
    let readers: Vec<_> = columns
        .iter()
        .map(|(array, data_type)| Reader::new(array, data_type))
        .collect();
    let mut bytes = Vec::new();
    RowOrder::new(order, &schema).put_row(&readers, row, &mut bytes);
    bytes
}

fn by(column: usize, descending: bool, nulls_first: bool) -> weir_types::SortColumn {
    weir_types::SortColumn {
        column,
        descending,
        nulls_first,
    }
}

#[test]
fn order_keys_are_these_bytes_for_ever() {
    let columns: Vec<(ArrayRef, DataType)> = vec![
        (
            Arc::new(Int64Array::from(vec![Some(42), None])),
            DataType::Int64,
        ),
        (
            Arc::new(StringViewArray::from(vec![Some("a\0b"), None])),
            DataType::String,
        ),
        (
            Arc::new(UInt64Array::from(vec![u64::MAX, 0])),
            DataType::UInt64,
        ),
    ];
    let golden = |order: &[weir_types::SortColumn], row| hex(&order_bytes(order, &columns, row));
    // The column that decides first, then the others as declared.
    assert_eq!(
        golden(&[by(1, true, true)], 0),
        "01 9E FF 00 9D FF FF 01 80 00 00 00 00 00 00 2A 01 FF FF FF FF FF FF FF FF"
    );
    assert_eq!(
        golden(&[by(1, true, true)], 1),
        "00 02 01 00 00 00 00 00 00 00 00"
    );
    assert_eq!(
        golden(&[by(0, true, false), by(2, true, false)], 0),
        "01 7F FF FF FF FF FF FF D5 01 00 00 00 00 00 00 00 00 01 61 00 FF 62 00 00"
    );
    assert_eq!(
        golden(&[by(0, false, true)], 1),
        "00 02 01 00 00 00 00 00 00 00 00"
    );
}

#[test]
fn every_type_comes_back_from_an_order_key_in_every_direction() {
    for (array, data_type) in every_type() {
        for (descending, nulls_first) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let number: ArrayRef = Arc::new(Int64Array::from(vec![7; array.len()]));
            let columns = [
                (array.clone(), data_type.clone()),
                (number, DataType::Int64),
            ];
            let order = [by(0, descending, nulls_first)];
            let schema = [
                Column::new("a", data_type.clone()),
                Column::new("b", DataType::Int64),
            ];
            let mut builders = Builder::of_columns(&schema);
            for row in 0..array.len() {
                let bytes = order_bytes(&order, &columns, row);
                RowOrder::new(&order, &schema.to_vec())
                    .take_row(&bytes, &mut builders)
                    .unwrap();
                let cut = RowOrder::new(&order, &schema.to_vec());
                for end in 0..bytes.len() {
                    let mut scratch = Builder::of_columns(&schema);
                    assert!(cut.take_row(&bytes[..end], &mut scratch).is_err());
                }
            }
            let back = builders.remove(0).finish();
            for row in 0..array.len() {
                assert_eq!(
                    key_bytes(&back, &data_type, row),
                    key_bytes(&array, &data_type, row),
                    "{data_type} row {row}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn order_keys_sort_like_their_rows(
        rows in prop::collection::vec((prop::option::of(-2i64..3), prop::option::of("[\\x00ab]{0,3}"), any::<u64>()), 2..20),
        directions in prop::collection::vec(any::<(bool, bool)>(), 3),
        places in Just([0usize, 1, 2]).prop_shuffle(),
    ) {
        let columns: Vec<(ArrayRef, DataType)> = vec![
            (Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.0))), DataType::Int64),
            (
                Arc::new(StringViewArray::from_iter(rows.iter().map(|row| row.1.as_deref()))),
                DataType::String,
            ),
            (Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.2))), DataType::UInt64),
        ];
        let order: Vec<_> = places
            .iter()
            .map(|&column| by(column, directions[column].0, directions[column].1))
            .collect();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                let expected = places.iter().fold(Ordering::Equal, |so_far, &column| {
                    let (descending, nulls_first) = directions[column];
                    let (null, value) = match column {
                        0 => ((a.0.is_none(), b.0.is_none()), a.0.cmp(&b.0)),
                        1 => ((a.1.is_none(), b.1.is_none()), a.1.cmp(&b.1)),
                        _ => ((false, false), a.2.cmp(&b.2)),
                    };
                    let here = match null {
                        (true, true) => Ordering::Equal,
                        (true, false) if nulls_first => Ordering::Less,
                        (true, false) => Ordering::Greater,
                        (false, true) if nulls_first => Ordering::Greater,
                        (false, true) => Ordering::Less,
                        (false, false) if descending => value.reverse(),
                        (false, false) => value,
                    };
                    so_far.then(here)
                });
                let found = order_bytes(&order, &columns, i).cmp(&order_bytes(&order, &columns, j));
                prop_assert_eq!(found, expected);
            }
        }
    }
}
