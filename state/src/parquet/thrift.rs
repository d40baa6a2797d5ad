//! Thrift's compact protocol, as far as Parquet's page headers and footers need it.
//!
//! ```text
//!   struct   (field header ‖ value)* ‖ 00        header: delta of the field's number and type, or type and number
//!   list     count and element type ‖ element*
//!   integer  zigzag varint        bytes  varint length ‖ bytes        boolean  in the header's type
//! ```

use crate::encoding::value::{put_bytes, put_count, put_i64, take_bytes, take_count, take_i64};
use crate::{Error, Result};

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

/// Structs within structs: footers have six.
const DEPTH_MAX: usize = 16;

/// Writes one struct, field by field, in the order of the fields' numbers.
#[derive(Default)]
pub(super) struct Struct {
    bytes: Vec<u8>,
    last: i16,
}

impl Struct {
    fn header(&mut self, id: i16, kind: u8) {
        let delta = id - self.last;
        if (1..=15).contains(&delta) {
            self.bytes.push((delta as u8) << 4 | kind);
        } else {
            self.bytes.push(kind);
            put_i64(i64::from(id), &mut self.bytes);
        }
        self.last = id;
    }

    pub(super) fn i32(mut self, id: i16, value: i32) -> Self {
        self.header(id, I32);
        put_i64(i64::from(value), &mut self.bytes);
        self
    }

    pub(super) fn i64(mut self, id: i16, value: i64) -> Self {
        self.header(id, I64);
        put_i64(value, &mut self.bytes);
        self
    }

    pub(super) fn byte(mut self, id: i16, value: u8) -> Self {
        self.header(id, BYTE);
        self.bytes.push(value);
        self
    }

    pub(super) fn flag(mut self, id: i16, value: bool) -> Self {
        self.header(id, if value { TRUE } else { FALSE });
        self
    }

    pub(super) fn binary(mut self, id: i16, value: &[u8]) -> Self {
        self.header(id, BINARY);
        put_bytes(value, &mut self.bytes);
        self
    }

    pub(super) fn structure(mut self, id: i16, value: Self) -> Self {
        self.header(id, STRUCT);
        self.bytes.extend(value.finish());
        self
    }

    /// With what `add` adds, if there is a value.
    pub(super) fn maybe<T>(self, value: Option<T>, add: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => add(self, value),
            None => self,
        }
    }

    fn list_header(&mut self, id: i16, count: usize, kind: u8) {
        self.header(id, LIST);
        if count < 15 {
            self.bytes.push((count as u8) << 4 | kind);
        } else {
            self.bytes.push(0xF0 | kind);
            put_count(count, &mut self.bytes);
        }
    }

    pub(super) fn structures(mut self, id: i16, values: Vec<Self>) -> Self {
        self.list_header(id, values.len(), STRUCT);
        for value in values {
            self.bytes.extend(value.finish());
        }
        self
    }

    pub(super) fn i32s(mut self, id: i16, values: &[i32]) -> Self {
        self.list_header(id, values.len(), I32);
        for &value in values {
            put_i64(i64::from(value), &mut self.bytes);
        }
        self
    }

    pub(super) fn texts(mut self, id: i16, values: &[String]) -> Self {
        self.list_header(id, values.len(), BINARY);
        for value in values {
            put_bytes(value.as_bytes(), &mut self.bytes);
        }
        self
    }

    /// The bytes of the whole struct.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Flag,
    Integer(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Struct(Vec<(i16, Value)>),
}

impl Value {
    /// Reads a struct.
    pub(super) fn take(bytes: &mut &[u8]) -> Result<Self> {
        take_struct(bytes, 0)
    }

    /// A field of a struct.
    pub(super) fn field(&self, id: i16) -> Option<&Self> {
        match self {
            Self::Struct(fields) => fields
                .iter()
                .find(|(other, _)| *other == id)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    pub(super) fn integer(&self, id: i16) -> Option<i64> {
        match self.field(id) {
            Some(Self::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, id: i16) -> Option<&[u8]> {
        match self.field(id) {
            Some(Self::Bytes(value)) => Some(value),
            _ => None,
        }
    }

    pub(super) fn list(&self, id: i16) -> &[Self] {
        match self.field(id) {
            Some(Self::List(values)) => values,
            _ => &[],
        }
    }
}

fn take_struct(bytes: &mut &[u8], depth: usize) -> Result<Value> {
    if depth > DEPTH_MAX {
        return Err(Error::damaged("the metadata of a Parquet file is too deep"));
    }
    let mut fields = Vec::new();
    let mut last = 0i16;
    loop {
        let header = take_byte(bytes)?;
        if header == 0 {
            return Ok(Value::Struct(fields));
        }
        let id = match header >> 4 {
            0 => i16::try_from(take_i64(bytes)?).ok(),
            delta => last.checked_add(i16::from(delta)),
        };
        last = id.ok_or_else(|| Error::damaged("a field number of a Parquet file is too large"))?;
        fields.push((last, take_value(bytes, header & 0x0F, depth)?));
    }
}

fn take_value(bytes: &mut &[u8], kind: u8, depth: usize) -> Result<Value> {
    Ok(match kind {
        TRUE | FALSE => Value::Flag,
        BYTE => Value::Integer(i64::from(take_byte(bytes)?)),
        I16 | I32 | I64 => Value::Integer(take_i64(bytes)?),
        DOUBLE => {
            let (_, rest) = bytes
                .split_at_checked(8)
                .ok_or_else(|| Error::damaged("the metadata of a Parquet file is cut off"))?;
            *bytes = rest;
            Value::Flag
        }
        BINARY => Value::Bytes(take_bytes(bytes)?.to_vec()),
        LIST | SET => {
            let header = take_byte(bytes)?;
            let count = match header >> 4 {
                15 => take_count(bytes)?,
                short => usize::from(short),
            };
            let mut values = Vec::with_capacity(count.min(bytes.len()));
            for _ in 0..count {
                values.push(match header & 0x0F {
                    // Booleans in a list are bytes of their own.
                    TRUE | FALSE => Value::Integer(i64::from(take_byte(bytes)?)),
                    kind => take_value(bytes, kind, depth + 1)?,
                });
            }
            Value::List(values)
        }
        STRUCT => take_struct(bytes, depth + 1)?,
        other => {
            return Err(Error::damaged(&format!(
                "the metadata of a Parquet file has a value of kind {other}"
            )));
        }
    })
}

fn take_byte(bytes: &mut &[u8]) -> Result<u8> {
    let (&first, rest) = bytes
        .split_first()
        .ok_or_else(|| Error::damaged("the metadata of a Parquet file is cut off"))?;
    *bytes = rest;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_comes_back_and_one_that_is_cut_off_is_an_error() {
        let inner = Struct::default().i64(1, -7).flag(20, true);
        let bytes = Struct::default()
            .i32(1, 300)
            .binary(4, b"ab")
            .structures(5, (0..20).map(|i| Struct::default().i32(1, i)).collect())
            .structure(300, inner)
            .finish();
        let read = Value::take(&mut bytes.as_slice()).unwrap();
        assert_eq!(read.integer(1), Some(300));
        assert_eq!(read.bytes(4), Some(b"ab".as_slice()));
        assert_eq!(read.list(5)[19].integer(1), Some(19));
        let inner = read.field(300).unwrap();
        assert_eq!(
            (inner.integer(1), inner.field(20)),
            (Some(-7), Some(&Value::Flag))
        );
        for cut in 0..bytes.len() {
            assert!(Value::take(&mut &bytes[..cut]).is_err(), "{cut}");
        }
    }
}
