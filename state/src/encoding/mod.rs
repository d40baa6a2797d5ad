//! The bytes at rest: keys that sort like their values, and versioned rows.
//!
//! ```text
//!   Arrow columns ──Reader──▶ key.rs    group ‖ [slice end] ‖ memcomparable key ‖ [order key]   (docs/formats/keys.md)
//!                         └─▶ value.rs  version ‖ NULL bitmap ‖ values                          (docs/formats/values.md)
//!   Arrow columns ◀─Builder── both
//! ```
//!
//! # Invariants
//! 1. Both encodings are a contract: golden tests pin every type.
//! 2. An encoded key is prefix-free: no key's encoding is the beginning of another key's (of the same columns).
//! 3. Decoding gives the declared type, and never panics on damaged bytes.

mod builder;
pub(crate) mod key;
mod order;
mod reader;
pub(crate) mod value;
mod varint;

#[cfg(test)]
mod tests;

pub(crate) use builder::{Builder, Building};
pub(crate) use order::RowOrder;
pub(crate) use reader::{Reader, Values, canonical};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use weir_types::{DataType, Schema};

use crate::Result;

/// Appends the value encoding of one value, which must not be NULL: for state columns of types that
/// [`Columns`](crate::Columns) keeps as bytes (`docs/formats/values.md`). STRING and BYTES are kept as they are there,
/// without this.
///
/// # Errors
/// When the column cannot be cast to `data_type`.
pub fn encode_value(
    column: &ArrayRef,
    data_type: &DataType,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    let column = canonical(column, data_type)?;
    let reader = Reader::new(&column, data_type);
    value::put_value(&reader, row, out);
    Ok(())
}

/// Whole rows as a column of BYTES: equal bytes for equal rows, floats bit by bit. For tables that are keyed by a row of any
/// types; [`decode_rows`] reads them.
///
/// # Errors
/// When a column cannot be cast to its declared type.
pub fn encode_rows(rows: &RecordBatch, schema: &Schema) -> Result<ArrayRef> {
    let columns: Vec<ArrayRef> = rows
        .columns()
        .iter()
        .zip(schema)
        .map(|(array, column)| canonical(array, &column.data_type))
        .collect::<Result<_>>()?;
    let readers: Vec<Reader<'_>> = columns
        .iter()
        .zip(schema)
        .map(|(array, column)| Reader::new(array, &column.data_type))
        .collect();
    let mut builder = Builder::new(&DataType::Bytes);
    let mut bytes = Vec::new();
    for row in 0..rows.num_rows() {
        bytes.clear();
        value::put_row(&readers, row, &mut bytes);
        builder.push_bytes(&bytes)?;
    }
    Ok(builder.finish())
}

/// The columns of rows that [`encode_rows`] wrote.
///
/// # Errors
/// `Corrupt` when a row does not decode.
pub fn decode_rows(encoded: &ArrayRef, schema: &Schema) -> Result<Vec<ArrayRef>> {
    let encoded = canonical(encoded, &DataType::Bytes)?;
    let mut builders = Builder::of_columns(schema);
    for row in encoded.as_binary::<i32>().iter() {
        value::take_row(row.unwrap_or_default(), &mut builders)?;
    }
    Ok(builders.into_iter().map(Builder::finish).collect())
}

/// The column of values that [`encode_value`] wrote; `None` is NULL.
///
/// # Errors
/// `Corrupt` when a value does not decode.
pub fn decode_values<'a>(
    data_type: &DataType,
    values: impl IntoIterator<Item = Option<&'a [u8]>>,
) -> Result<ArrayRef> {
    let mut builder = Builder::new(data_type);
    for encoded in values {
        match encoded {
            None => builder.push_null(),
            Some(mut bytes) => value::take_value(&mut bytes, &mut builder)?,
        }
    }
    Ok(builder.finish())
}
