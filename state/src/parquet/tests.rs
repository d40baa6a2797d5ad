//! What is written comes back, of every type, nested and not; damage is an error.

use std::sync::Arc;

use arrow::array::ArrayRef;
use weir_types::{Column, DataType, TimeUnit};

use super::{FileColumn, FileReader, FileWriter};
use crate::encoding::Builder;

fn column(name: &str, data_type: DataType, required: bool) -> FileColumn {
    FileColumn {
        name: name.to_owned(),
        data_type,
        required,
    }
}

fn array(item: DataType) -> DataType {
    DataType::Array(Box::new(item))
}

/// A value of any type from a number; NULL now and then.
fn push(builder: &mut Builder, data_type: &DataType, n: u64, nullable: bool) {
    use crate::encoding::Building as B;
    if nullable && n.is_multiple_of(5) {
        return builder.push_null();
    }
    let m = (n as i64).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
    match data_type {
        DataType::Boolean => return builder.push_i64(m & 1),
        DataType::Int8 => return builder.push_i64(i64::from(m as i8)),
        DataType::Int16 => return builder.push_i64(i64::from(m as i16)),
        DataType::UInt16 => return builder.push_i64(i64::from(m as u16)),
        DataType::UInt32 => return builder.push_i64(i64::from(m as u32)),
        DataType::Int32 | DataType::Date => return builder.push_i64(i64::from(m as i32)),
        DataType::Timestamp(TimeUnit::Second) => return builder.push_i64(m / 10_000),
        DataType::Float32 | DataType::Float64 => {
            return builder.push_f64(if n.is_multiple_of(7) {
                -0.0
            } else {
                m as f64 / 3.0
            });
        }
        DataType::Decimal(precision, _) if *precision <= 38 => {
            return builder.push_i128(i128::from(m) * i128::from(m));
        }
        DataType::String => return builder.push_bytes(format!("s{m}").as_bytes()).unwrap(),
        DataType::Bytes => {
            return builder
                .push_bytes(&m.to_be_bytes()[..(n % 8) as usize])
                .unwrap();
        }
        DataType::Null => return builder.push_null(),
        _ => {}
    }
    match &mut builder.values {
        B::Decimal256(values) => values.push(arrow::datatypes::i256::from_i128(i128::from(m))),
        B::Interval(values) => {
            values.push(arrow::datatypes::IntervalMonthDayNano::new(m as i32, -3, m))
        }
        B::Array { offsets, items } => {
            let DataType::Array(item) = data_type else {
                unreachable!()
            };
            (0..n % 4).for_each(|i| push(items, item, n + i, true));
            offsets.push(items.len() as i32);
        }
        B::Row(fields) => {
            let DataType::Row(types) = data_type else {
                unreachable!()
            };
            for (i, (field, of)) in fields.iter_mut().zip(types).enumerate() {
                push(field, &of.data_type, n * 3 + i as u64, true);
            }
        }
        B::Map {
            offsets,
            keys,
            values,
        } => {
            let DataType::Map(key, value) = data_type else {
                unreachable!()
            };
            for i in 0..n % 3 {
                push(keys, key, n + i, false);
                push(values, value, n + i, true);
            }
            offsets.push(keys.len() as i32);
        }
        _ => return builder.push_i64(m),
    }
    builder.mark_valid();
}

fn types() -> Vec<DataType> {
    let row = DataType::Row(vec![
        Column::new("a", DataType::Int64),
        Column::new("b", array(DataType::String)),
        Column::new("c", DataType::Interval),
    ]);
    vec![
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal(12, 2),
        DataType::Decimal(38, 0),
        DataType::Decimal(60, 4),
        DataType::String,
        DataType::Bytes,
        DataType::Date,
        DataType::Time,
        DataType::Timestamp(TimeUnit::Second),
        DataType::Timestamp(TimeUnit::Milli),
        DataType::TimestampLtz(TimeUnit::Micro),
        DataType::Timestamp(TimeUnit::Nano),
        DataType::Interval,
        DataType::Null,
        array(DataType::Int32),
        array(array(DataType::String)),
        array(DataType::Interval),
        row.clone(),
        array(row.clone()),
        DataType::Row(Vec::new()),
        DataType::Map(Box::new(DataType::String), Box::new(row.clone())),
        DataType::Map(
            Box::new(DataType::Int64),
            Box::new(array(DataType::Boolean)),
        ),
        array(DataType::Map(
            Box::new(DataType::String),
            Box::new(DataType::Decimal(20, 3)),
        )),
    ]
}

fn rows(columns: &[FileColumn], from: u64, rows: u64) -> Vec<ArrayRef> {
    let build = |(i, column): (usize, &FileColumn)| {
        let mut builder = Builder::new(&column.data_type);
        for n in from..from + rows {
            push(
                &mut builder,
                &column.data_type,
                n + i as u64 * 1000,
                !column.required,
            );
        }
        builder.finish()
    };
    columns.iter().enumerate().map(build).collect()
}

#[test]
fn every_type_comes_back_as_it_was_nested_and_null_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let mut columns: Vec<FileColumn> = types()
        .into_iter()
        .enumerate()
        .map(|(i, of)| column(&format!("c{i}"), of, false))
        .collect();
    columns.push(column("group", DataType::Int32, true));
    let mut writer = FileWriter::create(&path, &columns).unwrap();
    let batches: Vec<_> = [(0, 700), (700, 1), (701, 300)]
        .map(|(from, count)| (rows(&columns, from, count), count as usize))
        .into();
    for (batch, count) in &batches {
        writer.write(batch, *count).unwrap();
    }
    let finished = writer.finish().unwrap();
    assert_eq!(finished.rows, 1001);
    assert_eq!(finished.size, std::fs::metadata(&path).unwrap().len());
    let mut reader = FileReader::open(&path, &columns).unwrap();
    assert_eq!((reader.groups(), reader.rows(0)), (1, 1001));
    let read = reader.read(0).unwrap();
    let expected = rows(&columns, 0, 1001);
    for ((read, expected), column) in read.iter().zip(&expected).zip(&columns) {
        assert_eq!(read, expected, "{}", column.data_type);
    }
    assert!(reader.range(0, columns.len() - 1).is_some());
}

#[test]
fn long_tables_have_several_row_groups_each_with_its_range() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let columns = [
        column("group", DataType::Int32, true),
        column("text", DataType::String, false),
    ];
    let mut writer = FileWriter::create(&path, &columns).unwrap();
    let total = 200_000;
    for from in (0..total).step_by(10_000) {
        let group: ArrayRef = Arc::new(arrow::array::Int32Array::from_iter_values(
            from..from + 10_000,
        ));
        let text = arrow::array::StringViewArray::from_iter_values(
            (from..from + 10_000).map(|n| format!("{n:0>100}")),
        );
        writer.write(&[group, Arc::new(text)], 10_000).unwrap();
    }
    assert_eq!(writer.finish().unwrap().rows, total as u64);
    let mut reader = FileReader::open(&path, &columns).unwrap();
    assert!(reader.groups() > 2);
    let mut next = 0;
    for group in 0..reader.groups() {
        let rows = reader.rows(group) as i64;
        assert_eq!(reader.range(group, 0), Some((next, next + rows - 1)));
        assert_eq!(reader.read(group).unwrap()[0].len() as i64, rows);
        next += rows;
    }
    assert_eq!(next, i64::from(total));
}

#[test]
fn an_empty_table_is_a_file_without_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let columns = [column("a", DataType::Int64, false)];
    let writer = FileWriter::create(&path, &columns).unwrap();
    assert_eq!(writer.finish().unwrap().rows, 0);
    assert_eq!(FileReader::open(&path, &columns).unwrap().groups(), 0);
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let columns: Vec<FileColumn> = types()
        .into_iter()
        .enumerate()
        .map(|(i, of)| column(&format!("c{i}"), of, false))
        .collect();
    let mut writer = FileWriter::create(&path, &columns).unwrap();
    writer.write(&rows(&columns, 0, 40), 40).unwrap();
    writer.finish().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let read = || {
        let mut reader = FileReader::open(&path, &columns)?;
        (0..reader.groups()).try_for_each(|group| reader.read(group).map(drop))
    };
    read().unwrap();
    for at in (0..whole.len()).step_by(5) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, &damaged).unwrap();
        // A changed statistic or name of the writer shows nowhere; everything else must.
        let _ = read();
    }
    for cut in (0..whole.len()).step_by(97) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(read().is_err(), "cut at {cut}");
    }
    std::fs::write(&path, &whole).unwrap();
    let other = [column("c0", DataType::Int64, false)];
    assert!(FileReader::open(&path, &other).is_err());
}
