//! The bytes of keys and rows, pinned: they are a contract.

use super::*;

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
