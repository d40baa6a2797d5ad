//! Encoded keys sort like their values.

use super::*;

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
