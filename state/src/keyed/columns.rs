//! Typed access to the value columns of a table, by slot.

use super::cache::writable;
use super::chunk::{CHUNK_SLOTS, Cell, Chunk, ColumnData, ValueColumn};
use super::context::TableContext;

/// Typed value columns of a table, by slot. `column` is the index in [`TableSpec::value`](crate::TableSpec).
///
/// BOOLEAN, integers, DATE, TIME, TIMESTAMP are i64; REAL and DOUBLE f64; DECIMAL up to 38 digits i128 (unscaled);
/// STRING and BYTES bytes; every other type is bytes in the value encoding ([`crate::encode_value`]).
///
/// # Panics
/// Asking a column for another type than its own is a mistake of ours.
pub struct Columns<'a> {
    pub(crate) cells: &'a mut [Cell],
    pub(crate) table: &'a TableContext,
}

macro_rules! accessors {
    ($(#[$get_doc:meta])* $get:ident, $(#[$set_doc:meta])* $set:ident, $t:ty, $variant:ident) => {
        $(#[$get_doc])*
        #[inline]
        pub fn $get(&self, column: usize, slot: u32) -> $t {
            let (column, i) = self.column(column, slot);
            match &column.data {
                ColumnData::$variant(values) => values[i],
                _ => wrong_type(),
            }
        }

        $(#[$set_doc])*
        #[inline]
        pub fn $set(&mut self, column: usize, slot: u32, value: $t) {
            let (column, i) = self.column_mut(column, slot);
            match &mut column.data {
                ColumnData::$variant(values) => values[i] = value,
                _ => wrong_type(),
            }
            column.nulls.clear(i);
        }
    };
}

impl Columns<'_> {
    #[inline]
    fn column(&self, column: usize, slot: u32) -> (&ValueColumn, usize) {
        let slot = slot as usize;
        (
            &self.cells[slot / CHUNK_SLOTS].get().columns[column],
            slot % CHUNK_SLOTS,
        )
    }

    #[inline]
    fn chunk_mut(&mut self, slot: u32) -> (&mut Chunk, usize) {
        let slot = slot as usize;
        (
            writable(self.table, &mut self.cells[slot / CHUNK_SLOTS]),
            slot % CHUNK_SLOTS,
        )
    }

    #[inline]
    fn column_mut(&mut self, column: usize, slot: u32) -> (&mut ValueColumn, usize) {
        let (chunk, i) = self.chunk_mut(slot);
        (&mut chunk.columns[column], i)
    }

    /// Whether the value is NULL.
    #[inline]
    pub fn is_null(&self, column: usize, slot: u32) -> bool {
        let (column, i) = self.column(column, slot);
        column.nulls.get(i)
    }

    /// Makes the value NULL.
    #[inline]
    pub fn set_null(&mut self, column: usize, slot: u32) {
        let (column, i) = self.column_mut(column, slot);
        column.nulls.set(i);
    }

    accessors!(
        /// An integer-like value; unspecified when NULL.
        i64,
        /// Sets an integer-like value.
        set_i64, i64, I64
    );
    accessors!(
        /// A float; unspecified when NULL.
        f64,
        /// Sets a float.
        set_f64, f64, F64
    );
    accessors!(
        /// The unscaled value of a decimal; unspecified when NULL.
        i128,
        /// Sets the unscaled value of a decimal.
        set_i128, i128, I128
    );

    /// The bytes of a value; unspecified when NULL.
    #[inline]
    pub fn bytes(&self, column: usize, slot: u32) -> &[u8] {
        let (column, i) = self.column(column, slot);
        match &column.data {
            ColumnData::Bytes(arena) => arena.get(i),
            _ => wrong_type(),
        }
    }

    /// Sets the bytes of a value.
    #[inline]
    pub fn set_bytes(&mut self, column: usize, slot: u32, value: &[u8]) {
        let (chunk, i) = self.chunk_mut(slot);
        chunk.set_bytes(column, i, value);
    }
}

#[cold]
fn wrong_type() -> ! {
    panic!("an operator asks a state column for another type than the column's")
}
