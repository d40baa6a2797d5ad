//! Rows whose bytes sort as an order asks (`docs/formats/keys.md`, the order key of a sorted table).
//!
//! ```text
//!   order key   column … column        the sort columns, then every other value column, ascending, NULLs last
//!   column      00 NULL (NULLs first)  |  01 ‖ value as in key.rs, all bits inverted if descending  |  02 NULL (last)
//! ```
//!
//! It holds the whole row: decoding it gives the row back, with floats normalized (−0.0 is 0.0).

use arrow::array::ArrayRef;
use weir_types::{DataType, Schema, SortColumn};

use super::Builder;
use super::builder::Building;
use super::key;
use super::reader::Reader;
use crate::backend::Keys;
use crate::{Error, Result};

/// NULL that comes before every value.
const NULL_FIRST: u8 = 0x00;

/// The order of a sorted table: every value column once.
pub(crate) struct RowOrder {
    columns: Vec<SortColumn>,
    /// By value column as declared: whether it is an unsigned integer of 64 bits. Keys take one beyond the greatest i64 for
    /// a negative number, which would sort wrong, so here its sign bit stays as it is.
    unsigned: Vec<bool>,
}

impl RowOrder {
    /// The sort columns, and behind them the others in the order of their declaration.
    pub(crate) fn new(order: &[SortColumn], schema: &Schema) -> Self {
        let columns = schema.len();
        let mut all: Vec<SortColumn> = Vec::with_capacity(columns);
        for column in order {
            if all.iter().all(|known| known.column != column.column) {
                all.push(*column);
            }
        }
        for column in 0..columns {
            if all.iter().all(|known| known.column != column) {
                all.push(SortColumn::ascending(column));
            }
        }
        let unsigned = schema
            .iter()
            .map(|column| column.data_type == DataType::UInt64);
        Self {
            columns: all,
            unsigned: unsigned.collect(),
        }
    }

    /// Value columns by their place in the order.
    pub(crate) fn columns(&self) -> &[SortColumn] {
        &self.columns
    }

    /// Appends the order key of a row; `readers` are the value columns as declared.
    pub(crate) fn put_row(&self, readers: &[Reader<'_>], row: usize, out: &mut Vec<u8>) {
        for column in &self.columns {
            let unsigned = self.unsigned[column.column];
            put_column(column, &readers[column.column], unsigned, row, out);
        }
    }

    /// Appends the order key's beginning: the columns that come first in the order, as far as `values` has some.
    pub(crate) fn put_prefix(
        &self,
        values: &[ArrayRef],
        schema: &Schema,
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        for (column, values) in self.columns.iter().zip(values) {
            let data_type = &schema[column.column].data_type;
            let values = super::canonical(values, data_type)?;
            let unsigned = self.unsigned[column.column];
            put_column(column, &Reader::new(&values, data_type), unsigned, row, out);
        }
        Ok(())
    }

    /// The beginnings of order keys, one for each row of the values: the columns that come first in the order, as far as
    /// `values` has some.
    pub(crate) fn prefixes(
        &self,
        values: &[ArrayRef],
        schema: &Schema,
        rows: usize,
    ) -> Result<Keys> {
        let columns = self.columns.iter().zip(values);
        let columns = columns.map(|(column, values)| {
            super::canonical(values, &schema[column.column].data_type).map(|v| (column, v))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let readers: Vec<_> = columns
            .iter()
            .map(|(column, values)| {
                let reader = Reader::new(values, &schema[column.column].data_type);
                (*column, reader, self.unsigned[column.column])
            })
            .collect();
        let mut keys = Keys::default();
        for row in 0..rows {
            for (column, reader, unsigned) in &readers {
                put_column(column, reader, *unsigned, row, &mut keys.bytes);
            }
            keys.end_key();
        }
        Ok(keys)
    }

    /// How long an order key is without its last columns.
    pub(crate) fn length_without(
        &self,
        last: usize,
        bytes: &[u8],
        schema: &Schema,
    ) -> Result<usize> {
        if last == 0 {
            return Ok(bytes.len());
        }
        let mut builders = Builder::of_columns(schema);
        let mut rest = bytes;
        for column in &self.columns[..self.columns.len().saturating_sub(last)] {
            let unsigned = self.unsigned[column.column];
            take_column(column, unsigned, &mut rest, &mut builders[column.column])?;
        }
        Ok(bytes.len() - rest.len())
    }

    /// Reads a whole order key into one builder for each value column as declared.
    pub(crate) fn take_row(&self, mut bytes: &[u8], builders: &mut [Builder]) -> Result<()> {
        for column in &self.columns {
            let unsigned = self.unsigned[column.column];
            take_column(column, unsigned, &mut bytes, &mut builders[column.column])?;
        }
        if bytes.is_empty() {
            Ok(())
        } else {
            Err(Error::damaged("an ordered row is longer than its columns"))
        }
    }
}

fn put_column(
    column: &SortColumn,
    reader: &Reader<'_>,
    unsigned: bool,
    row: usize,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    key::put_column(reader, row, out);
    if out[start] == key::NULL {
        if column.nulls_first {
            out[start] = NULL_FIRST;
        }
        return;
    }
    if unsigned {
        out[start + 1] ^= 0x80;
    }
    if column.descending {
        out[start + 1..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

fn take_column(
    column: &SortColumn,
    unsigned: bool,
    bytes: &mut &[u8],
    builder: &mut Builder,
) -> Result<()> {
    let null = match bytes.first() {
        Some(&NULL_FIRST) => column.nulls_first,
        Some(&key::NULL) => !column.nulls_first,
        _ => false,
    };
    if null {
        *bytes = &bytes[1..];
        builder.push_null();
        return Ok(());
    }
    if !column.descending && !unsigned {
        return key::take_column(bytes, builder);
    }
    // Where a column ends shows only while it is read: everything from here on is turned round, unless its width is known.
    let width = match &builder.values {
        Building::Boolean(_) => 2,
        Building::Int(_) | Building::Float32(_) | Building::Float64(_) => 9,
        _ => bytes.len(),
    };
    let mut narrow = [0; 9];
    let mut wide = Vec::new();
    let column_bytes = &bytes[..width.min(bytes.len())];
    let turned = match narrow.get_mut(..column_bytes.len()) {
        Some(narrow) => narrow,
        None => {
            wide.resize(column_bytes.len(), 0);
            wide.as_mut_slice()
        }
    };
    turned.copy_from_slice(column_bytes);
    if column.descending {
        turned.iter_mut().skip(1).for_each(|byte| *byte = !*byte);
    }
    if unsigned && turned.len() > 1 {
        turned[1] ^= 0x80;
    }
    let mut rest: &[u8] = turned;
    key::take_column(&mut rest, builder)?;
    *bytes = &bytes[column_bytes.len() - rest.len()..];
    Ok(())
}
