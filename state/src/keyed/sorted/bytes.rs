//! Keys and places of a batch's rows in the table's own form, in one buffer: for who compares them without reading the table.

use arrow::array::ArrayRef;

use super::SortedTable;
use crate::Result;
use crate::backend::Keys;

/// Bytes of each row of a batch.
#[derive(Default)]
pub struct ByteRows(Keys);

impl ByteRows {
    /// The bytes of a row.
    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        self.0.get(row)
    }
}

impl SortedTable {
    /// The keys of a batch, in which equal keys are equal bytes.
    ///
    /// # Errors
    /// When the columns are not those of the key.
    pub fn keys_in_bytes(&self, keys: &[ArrayRef], rows: usize) -> Result<ByteRows> {
        let table = self.cache.borrow().table.clone();
        let columns = table.canonical_keys(keys)?;
        Ok(ByteRows(table.key_batch(&columns, rows).into_bytes()))
    }

    /// Where rows stand as far as some columns decide: `values` are those that come first in the table's order
    /// ([`Self::columns_in_order`]). Bytes that sort like them; rows that are equal in those columns have equal bytes.
    ///
    /// # Errors
    /// When the columns are not those of the rows.
    pub fn places_in_bytes(&self, values: &[ArrayRef], rows: usize) -> Result<ByteRows> {
        let table = self.cache.borrow().table.clone();
        let places = self.order.prefixes(values, &table.spec.value, rows);
        places.map(ByteRows)
    }
}
