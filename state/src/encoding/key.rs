//! Keys whose bytes sort like their values (`docs/formats/keys.md`).
//!
//! ```text
//!   database key   group (u16 BE) ‖ [slice end (i64, sign flipped, BE)] ‖ column … column ‖ [order key]
//!   column         01 ‖ value    or    02 (NULL, which sorts last)
//! ```

use std::borrow::Cow;

use memchr::memchr;
use weir_types::{KeyGroup, hash::normalized_bits};

use super::Builder;
use super::builder::Building;
use super::reader::{Reader, Values};
use crate::{Error, Result};

/// Stands before a value.
pub(crate) const VALUE: u8 = 0x01;
/// Stands for NULL: after every value.
pub(crate) const NULL: u8 = 0x02;
/// Ends an array; anything that goes on is greater.
const END: u8 = 0x00;
/// Stands before each element of an array.
const MORE: u8 = 0x01;

/// Bytes of a key group at the start of every database key.
pub(crate) const GROUP_BYTES: usize = 2;
/// Bytes of a slice end.
pub(crate) const SLICE_BYTES: usize = 8;

/// Appends the start of a database key: the key group and, in a table of slices, the slice's end.
pub(crate) fn put_prefix(group: KeyGroup, slice: Option<i64>, out: &mut Vec<u8>) {
    out.extend_from_slice(&group.0.to_be_bytes());
    if let Some(end) = slice {
        out.extend_from_slice(&sortable_i64(end));
    }
}

/// The slice end that a database key of a table of slices starts with, after its group.
pub(crate) fn slice_of(key: &[u8]) -> Result<i64> {
    let bytes = key
        .get(GROUP_BYTES..GROUP_BYTES + SLICE_BYTES)
        .and_then(|bytes| bytes.try_into().ok());
    let bytes: [u8; 8] = bytes.ok_or_else(|| Error::damaged("a key is too short for its slice"))?;
    Ok(from_sortable_i64(bytes))
}

#[inline]
pub(crate) fn sortable_i64(value: i64) -> [u8; 8] {
    (value as u64 ^ 1 << 63).to_be_bytes()
}

#[inline]
fn from_sortable_i64(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ 1 << 63) as i64
}

/// Appends one integer column: the path of its own for keys of one integer.
#[inline]
pub(crate) fn put_int(value: Option<i64>, out: &mut Vec<u8>) {
    match value {
        None => out.push(NULL),
        Some(value) => {
            out.push(VALUE);
            out.extend_from_slice(&sortable_i64(value));
        }
    }
}

/// Appends one column of one row.
pub(crate) fn put_column(reader: &Reader<'_>, row: usize, out: &mut Vec<u8>) {
    if reader.is_null(row) {
        out.push(NULL);
        return;
    }
    out.push(VALUE);
    match &reader.values {
        Values::Null => unreachable!("a value of the NULL type is NULL"),
        Values::Boolean(values) => out.push(u8::from(values.value(row))),
        Values::Int(values) => out.extend_from_slice(&sortable_i64(values[row])),
        Values::Float32(values) => put_float(f64::from(values[row]), out),
        Values::Float64(values) => put_float(values[row], out),
        Values::Decimal(values) => {
            out.extend_from_slice(&(values[row] as u128 ^ 1 << 127).to_be_bytes())
        }
        Values::Decimal256(values) => {
            let mut bytes = values[row].to_be_bytes();
            bytes[0] ^= 0x80;
            out.extend_from_slice(&bytes);
        }
        Values::String(values) => put_bytes(values.value(row).as_bytes(), out),
        Values::Bytes(values) => put_bytes(values.value(row), out),
        Values::Interval(values) => {
            let value = values[row];
            out.extend_from_slice(&(value.months as u32 ^ 1 << 31).to_be_bytes());
            out.extend_from_slice(&(value.days as u32 ^ 1 << 31).to_be_bytes());
            out.extend_from_slice(&sortable_i64(value.nanoseconds));
        }
        Values::Array { offsets, items } => {
            for item in offsets[row]..offsets[row + 1] {
                out.push(MORE);
                put_column(items, item as usize, out);
            }
            out.push(END);
        }
        Values::Row(fields) => fields.iter().for_each(|field| put_column(field, row, out)),
        Values::Map {
            offsets,
            keys,
            values,
        } => {
            for entry in offsets[row]..offsets[row + 1] {
                out.push(MORE);
                put_column(keys, entry as usize, out);
                put_column(values, entry as usize, out);
            }
            out.push(END);
        }
    }
}

/// A float after normalization; negative ones with all bits turned round, positive ones with the sign bit set.
fn put_float(value: f64, out: &mut Vec<u8>) {
    let bits = normalized_bits(value);
    let sortable = if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    };
    out.extend_from_slice(&sortable.to_be_bytes());
}

fn take_float(bytes: &mut &[u8]) -> Result<f64> {
    let sortable = u64::from_be_bytes(take_array(bytes)?);
    let bits = if sortable >> 63 == 1 {
        sortable & !(1 << 63)
    } else {
        !sortable
    };
    Ok(f64::from_bits(bits))
}

/// Bytes with every 00 written as 00 FF, ended by 00 00: a prefix sorts before what it begins.
fn put_bytes(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some(zero) = memchr(0, rest) {
        out.extend_from_slice(&rest[..zero]);
        out.extend_from_slice(&[0x00, 0xFF]);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0x00, 0x00]);
}

/// The bytes that `put_bytes` wrote: a part of the key unless there are zeros among them.
fn take_bytes<'b>(bytes: &mut &'b [u8]) -> Result<Cow<'b, [u8]>> {
    let mut value = Cow::Borrowed(&[][..]);
    loop {
        let zero = memchr(0, bytes);
        let zero = zero.ok_or_else(|| Error::damaged("a string in a key has no end"))?;
        if value.is_empty() {
            value = Cow::Borrowed(&bytes[..zero]);
        } else {
            value.to_mut().extend_from_slice(&bytes[..zero]);
        }
        let after = bytes.get(zero + 1).copied();
        *bytes = bytes.get(zero + 2..).unwrap_or_default();
        match after {
            Some(0x00) => return Ok(value),
            Some(0xFF) => value.to_mut().push(0),
            _ => return Err(Error::damaged("a string in a key is malformed")),
        }
    }
}

/// Reads one column of one row into `builder`.
pub(crate) fn take_column(bytes: &mut &[u8], builder: &mut Builder) -> Result<()> {
    if take_marker(bytes)? == NULL {
        builder.push_null();
        return Ok(());
    }
    match &mut builder.values {
        Building::Null => return Err(Error::damaged("a key has a value where only NULL can be")),
        Building::Boolean(values) => values.append(take_array::<1>(bytes)?[0] != 0),
        Building::Int(values) => values.push(from_sortable_i64(take_array(bytes)?)),
        Building::Float32(values) => values.push(take_float(bytes)? as f32),
        Building::Float64(values) => values.push(take_float(bytes)?),
        Building::Decimal(values) => {
            values.push((u128::from_be_bytes(take_array(bytes)?) ^ 1 << 127) as i128);
        }
        Building::Decimal256(values) => {
            let mut raw: [u8; 32] = take_array(bytes)?;
            raw[0] ^= 0x80;
            values.push(arrow::datatypes::i256::from_be_bytes(raw));
        }
        Building::String(_) | Building::Bytes { .. } => {
            let value = take_bytes(bytes)?;
            return builder.push_bytes(&value);
        }
        Building::Interval(values) => {
            let months = (u32::from_be_bytes(take_array(bytes)?) ^ 1 << 31) as i32;
            let days = (u32::from_be_bytes(take_array(bytes)?) ^ 1 << 31) as i32;
            let nanoseconds = from_sortable_i64(take_array(bytes)?);
            values.push(arrow::datatypes::IntervalMonthDayNano {
                months,
                days,
                nanoseconds,
            });
        }
        Building::Array { offsets, items } => {
            while take_more(bytes)? {
                take_column(bytes, items)?;
            }
            offsets.push(items.len() as i32);
        }
        Building::Row(fields) => {
            for field in fields {
                take_column(bytes, field)?;
            }
        }
        Building::Map {
            offsets,
            keys,
            values,
        } => {
            while take_more(bytes)? {
                take_column(bytes, keys)?;
                take_column(bytes, values)?;
            }
            offsets.push(keys.len() as i32);
        }
    }
    builder.mark_valid();
    Ok(())
}

fn take_marker(bytes: &mut &[u8]) -> Result<u8> {
    match take_array::<1>(bytes)?[0] {
        marker @ (VALUE | NULL) => Ok(marker),
        other => Err(Error::damaged(&format!(
            "a column of a key starts with {other:02X}"
        ))),
    }
}

fn take_more(bytes: &mut &[u8]) -> Result<bool> {
    Ok(take_array::<1>(bytes)?[0] == MORE)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = bytes
        .split_first_chunk::<N>()
        .ok_or_else(|| Error::damaged("a key is cut off"))?;
    *bytes = rest;
    Ok(*head)
}
