//! Rows of value columns (`docs/formats/values.md`).
//!
//! ```text
//!   row    01 (version) ‖ NULL bitmap, ⌈n/8⌉ bytes, bit i of byte i/8 set: column i is NULL ‖ the other values
//! ```

use weir_types::{Column, DataType};

use super::builder::Building;
use super::reader::{Reader, Values};
use super::{Builder, varint};
use crate::{Error, Result};

/// The first byte of every row.
pub(crate) const VERSION: u8 = 0x01;

/// Appends the row `row` of all columns.
pub(crate) fn put_row(readers: &[Reader<'_>], row: usize, out: &mut Vec<u8>) {
    out.push(VERSION);
    let bitmap = out.len();
    out.resize(bitmap + readers.len().div_ceil(8), 0);
    for (i, reader) in readers.iter().enumerate() {
        if reader.is_null(row) {
            out[bitmap + i / 8] |= 1 << (i % 8);
        } else {
            put_value(reader, row, out);
        }
    }
}

/// Appends one value, which must not be NULL.
pub(crate) fn put_value(reader: &Reader<'_>, row: usize, out: &mut Vec<u8>) {
    match &reader.values {
        Values::Null => unreachable!("a value of the NULL type is NULL"),
        Values::Boolean(values) => out.push(u8::from(values.value(row))),
        Values::Int(values) => varint::put_i64(values[row], out),
        Values::Float32(values) => out.extend_from_slice(&values[row].to_le_bytes()),
        Values::Float64(values) => out.extend_from_slice(&values[row].to_le_bytes()),
        Values::Decimal(values) => varint::put_i128(values[row], out),
        Values::Decimal256(values) => out.extend_from_slice(&values[row].to_le_bytes()),
        Values::String(values) => put_bytes(values.value(row).as_bytes(), out),
        Values::Bytes(values) => put_bytes(values.value(row), out),
        Values::Interval(values) => {
            let value = values[row];
            varint::put_i64(i64::from(value.months), out);
            varint::put_i64(i64::from(value.days), out);
            varint::put_i64(value.nanoseconds, out);
        }
        Values::Array { offsets, items } => put_items(items, offsets[row], offsets[row + 1], out),
        Values::Row(fields) => {
            let bitmap = out.len();
            out.resize(bitmap + fields.len().div_ceil(8), 0);
            for (i, field) in fields.iter().enumerate() {
                if field.is_null(row) {
                    out[bitmap + i / 8] |= 1 << (i % 8);
                } else {
                    put_value(field, row, out);
                }
            }
        }
        Values::Map {
            offsets,
            keys,
            values,
        } => {
            put_items(keys, offsets[row], offsets[row + 1], out);
            put_items(values, offsets[row], offsets[row + 1], out);
        }
    }
}

/// A number of items, their NULL bitmap, and the items that are not NULL.
fn put_items(items: &Reader<'_>, from: i32, to: i32, out: &mut Vec<u8>) {
    let count = (to - from) as usize;
    varint::put_u64(count as u64, out);
    let bitmap = out.len();
    out.resize(bitmap + count.div_ceil(8), 0);
    for i in 0..count {
        let item = from as usize + i;
        if items.is_null(item) {
            out[bitmap + i / 8] |= 1 << (i % 8);
        } else {
            put_value(items, item, out);
        }
    }
}

/// A number of things.
pub(crate) fn put_count(count: usize, out: &mut Vec<u8>) {
    varint::put_u64(count as u64, out);
}

/// Length and content.
pub(crate) fn put_bytes(value: &[u8], out: &mut Vec<u8>) {
    varint::put_u64(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Reads a row into one builder for each column; nothing may be left over.
pub(crate) fn take_row(mut bytes: &[u8], builders: &mut [Builder]) -> Result<()> {
    let nulls = take_header(&mut bytes, builders.len())?;
    for (i, builder) in builders.iter_mut().enumerate() {
        if is_null(nulls, i) {
            builder.push_null();
        } else {
            take_value(&mut bytes, builder)?;
        }
    }
    if bytes.is_empty() {
        Ok(())
    } else {
        Err(Error::damaged("a row is longer than its columns"))
    }
}

/// Reads version and NULL bitmap of a row of `columns` columns.
pub(crate) fn take_header<'a>(bytes: &mut &'a [u8], columns: usize) -> Result<&'a [u8]> {
    let (&version, rest) = bytes
        .split_first()
        .ok_or_else(|| Error::damaged("a row is empty"))?;
    if version != VERSION {
        return Err(Error::Incompatible(format!(
            "a stored row has version {version} and this release reads version {VERSION}: use the release that \
             wrote it"
        )));
    }
    *bytes = rest;
    take_slice(bytes, columns.div_ceil(8))
}

pub(crate) fn is_null(bitmap: &[u8], column: usize) -> bool {
    bitmap[column / 8] >> (column % 8) & 1 == 1
}

/// Reads one value that is not NULL.
pub(crate) fn take_value(bytes: &mut &[u8], builder: &mut Builder) -> Result<()> {
    match &mut builder.values {
        Building::Null => return Err(Error::damaged("a row has a value where only NULL can be")),
        Building::Boolean(values) => values.append(take_slice(bytes, 1)?[0] != 0),
        Building::Int(values) => values.push(varint::take_i64(bytes)?),
        Building::Float32(values) => values.push(f32::from_le_bytes(take_array(bytes)?)),
        Building::Float64(values) => values.push(f64::from_le_bytes(take_array(bytes)?)),
        Building::Decimal(values) => values.push(varint::take_i128(bytes)?),
        Building::Decimal256(values) => {
            values.push(arrow::datatypes::i256::from_le_bytes(take_array(bytes)?));
        }
        Building::String(_) | Building::Bytes { .. } => {
            let value = take_bytes(bytes)?;
            return builder.push_bytes(value);
        }
        Building::Interval(values) => {
            let narrow = |value: i64| {
                i32::try_from(value).map_err(|_| Error::damaged("an interval is too large"))
            };
            let months = narrow(varint::take_i64(bytes)?)?;
            let days = narrow(varint::take_i64(bytes)?)?;
            let nanoseconds = varint::take_i64(bytes)?;
            values.push(arrow::datatypes::IntervalMonthDayNano {
                months,
                days,
                nanoseconds,
            });
        }
        Building::Array { offsets, items } => {
            take_items(bytes, items)?;
            offsets.push(items.len() as i32);
        }
        Building::Row(fields) => {
            let nulls = take_slice(bytes, fields.len().div_ceil(8))?;
            for (i, field) in fields.iter_mut().enumerate() {
                if is_null(nulls, i) {
                    field.push_null();
                } else {
                    take_value(bytes, field)?;
                }
            }
        }
        Building::Map {
            offsets,
            keys,
            values,
        } => {
            take_items(bytes, keys)?;
            take_items(bytes, values)?;
            if keys.len() != values.len() {
                return Err(Error::damaged(
                    "a map has another number of keys than of values",
                ));
            }
            offsets.push(keys.len() as i32);
        }
    }
    builder.mark_valid();
    Ok(())
}

fn take_items(bytes: &mut &[u8], items: &mut Builder) -> Result<()> {
    let count = take_count(bytes)?;
    let nulls = take_slice(bytes, count.div_ceil(8))?;
    for i in 0..count {
        if is_null(nulls, i) {
            items.push_null();
        } else {
            take_value(bytes, items)?;
        }
    }
    Ok(())
}

/// Reads length and content.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = take_count(bytes)?;
    take_slice(bytes, length)
}

/// Cuts off one value that is not NULL, without decoding it: the cache keeps types that it has no column for
/// in this form.
pub(crate) fn take_raw<'a>(bytes: &mut &'a [u8], data_type: &DataType) -> Result<&'a [u8]> {
    let start = *bytes;
    skip(bytes, data_type)?;
    Ok(&start[..start.len() - bytes.len()])
}

fn skip(bytes: &mut &[u8], data_type: &DataType) -> Result<()> {
    match data_type {
        DataType::Null => Err(Error::damaged("a row has a value where only NULL can be")),
        DataType::Boolean => take_slice(bytes, 1).map(drop),
        DataType::Float32 => take_slice(bytes, 4).map(drop),
        DataType::Float64 => take_slice(bytes, 8).map(drop),
        DataType::Decimal(precision, _) if *precision <= 38 => varint::take_i128(bytes).map(drop),
        DataType::Decimal(..) => take_slice(bytes, 32).map(drop),
        DataType::String | DataType::Bytes => take_bytes(bytes).map(drop),
        DataType::Interval => (0..3).try_for_each(|_| varint::take_i64(bytes).map(drop)),
        DataType::Array(item) => skip_items(bytes, item),
        DataType::Row(fields) => skip_fields(bytes, fields),
        DataType::Map(key, value) => {
            skip_items(bytes, key)?;
            skip_items(bytes, value)
        }
        _ => varint::take_i64(bytes).map(drop),
    }
}

fn skip_fields(bytes: &mut &[u8], fields: &[Column]) -> Result<()> {
    let nulls = take_slice(bytes, fields.len().div_ceil(8))?;
    let valid = fields
        .iter()
        .enumerate()
        .filter(|(i, _)| !is_null(nulls, *i));
    for (_, field) in valid {
        skip(bytes, &field.data_type)?;
    }
    Ok(())
}

fn skip_items(bytes: &mut &[u8], item: &DataType) -> Result<()> {
    let count = take_count(bytes)?;
    let nulls = take_slice(bytes, count.div_ceil(8))?;
    for i in 0..count {
        if !is_null(nulls, i) {
            skip(bytes, item)?;
        }
    }
    Ok(())
}

/// Reads a number of things.
pub(crate) fn take_count(bytes: &mut &[u8]) -> Result<usize> {
    usize::try_from(varint::take_u64(bytes)?).map_err(|_| Error::damaged("a length is too large"))
}

fn take_slice<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (head, rest) = bytes
        .split_at_checked(length)
        .ok_or_else(|| Error::damaged("a row is cut off"))?;
    *bytes = rest;
    Ok(head)
}

pub(crate) fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = bytes
        .split_first_chunk::<N>()
        .ok_or_else(|| Error::damaged("a row is cut off"))?;
    *bytes = rest;
    Ok(*head)
}

pub(crate) use super::varint::{put_i64, put_i128, take_i64, take_i128};
