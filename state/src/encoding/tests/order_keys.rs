//! Order keys: their bytes, pinned, and that they sort as they should in every direction.

use super::*;

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
