//! What all caches of one table share: its declaration, its place at rest, and the form of its keys.

use std::rc::Rc;
use std::sync::Arc;

use arrow::array::ArrayRef;
use weir_types::{DataType, KeyGroup, KeyGroupRange, hash::key_group};

use super::budget::Budget;
use super::chunk::{ChunkLayout, KeyBatch};
use super::registry::Registry;
use crate::Result;
use crate::backend::{Keys, StateBackend, TableIndex};
use crate::encoding::{Reader, canonical, key};
use crate::snapshot::Gate;
use crate::spec::{Storage, TableSpec, is_integer};

/// What every cache of a table needs beside its own content.
pub(crate) struct TableContext {
    pub(crate) index: TableIndex,
    pub(crate) spec: TableSpec,
    /// Of the cached entries: a multimap's (or a sorted table's) value is one count, its rows are part of the key.
    pub(crate) chunks: Arc<ChunkLayout>,
    pub(crate) range: KeyGroupRange,
    pub(crate) key_groups: u16,
    pub(crate) backend: Arc<dyn StateBackend>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) registry: Rc<Registry>,
}

/// Whether keys of one such column can take the path of integers: cached as an i64, at rest the 8 bytes of one. A BOOLEAN is
/// an i64 in the cache's values, but a single byte in a key.
fn has_integer_form(data_type: &DataType) -> bool {
    is_integer(data_type) && *data_type != DataType::Boolean
}

impl TableContext {
    pub(crate) fn chunk_layout(spec: &TableSpec) -> ChunkLayout {
        let multimap = matches!(spec.layout, crate::Layout::MultiMap | crate::Layout::Sorted);
        let value = if multimap {
            vec![weir_types::Column::new("count", DataType::Int64)]
        } else {
            spec.value.clone()
        };
        ChunkLayout {
            int_key: !multimap && spec.key.len() == 1 && has_integer_form(&spec.key[0].data_type),
            storage: value
                .iter()
                .map(|column| Storage::of(&column.data_type))
                .collect(),
            value,
        }
    }

    /// Brings the key columns of a batch into the form that the cache looks up.
    pub(crate) fn canonical_keys(&self, keys: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        assert_eq!(
            keys.len(),
            self.spec.key.len(),
            "key columns of table {}",
            self.spec.table
        );
        keys.iter()
            .zip(&self.spec.key)
            .map(|(array, column)| canonical(array, &column.data_type))
            .collect()
    }

    /// The same of the value columns.
    pub(crate) fn canonical_values(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        values
            .iter()
            .zip(&self.spec.value)
            .map(|(array, column)| canonical(array, &column.data_type))
            .collect()
    }

    /// What reads the rows of canonical value columns.
    pub(crate) fn value_readers<'a>(&self, columns: &'a [ArrayRef]) -> Vec<Reader<'a>> {
        columns
            .iter()
            .zip(&self.spec.value)
            .map(|(array, column)| Reader::new(array, &column.data_type))
            .collect()
    }

    /// The keys of a batch; `columns` are canonical.
    pub(crate) fn key_batch<'a>(&self, columns: &'a [ArrayRef], rows: usize) -> KeyBatch<'a> {
        let readers: Vec<Reader<'a>> = columns
            .iter()
            .zip(&self.spec.key)
            .map(|(array, column)| Reader::new(array, &column.data_type))
            .collect();
        if self.chunks.int_key {
            let mut readers = readers;
            let reader = readers.swap_remove(0);
            let nulls = reader.nulls();
            let values = match reader.values {
                crate::encoding::Values::Int(values) => values,
                _ => unreachable!("an integer key is read as integers"),
            };
            return KeyBatch::Int { values, nulls };
        }
        let mut encoded = Keys::default();
        for row in 0..rows {
            readers
                .iter()
                .for_each(|reader| key::put_column(reader, row, &mut encoded.bytes));
            encoded.end_key();
        }
        KeyBatch::Bytes(encoded)
    }

    pub(crate) fn group(&self, hash: u64) -> KeyGroup {
        key_group(hash, self.key_groups)
    }
}
