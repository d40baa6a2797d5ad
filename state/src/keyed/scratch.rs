//! Value columns that are nobody's state: what the kernels of aggregates write into while a frame is computed.
//!
//! A scratch has slots from 0 on, without keys. It lives in memory, outside of the budget: whoever has one bounds how many slots
//! it asks for.

use std::rc::Rc;
use std::sync::Arc;

use arrow::array::ArrayRef;
use weir_types::{KeyGroupRange, OperatorId, Schema};

use super::budget::Budget;
use super::chunk::{CHUNK_SLOTS, Cell, Chunk};
use super::columns::Columns;
use super::context::TableContext;
use super::map::values_of;
use super::registry::Registry;
use crate::backend::{MemoryBackend, StateBackend};
use crate::encoding::{Reader, canonical, value};
use crate::snapshot::Gate;
use crate::spec::{Layout, TableSpec};
use crate::{Error, Result};

/// See the module's text.
pub struct Scratch {
    table: TableContext,
    cells: Vec<Cell>,
    row: Vec<u8>,
}

impl Scratch {
    /// Without slots.
    pub fn new(value: Schema) -> Self {
        let spec = TableSpec {
            operator: OperatorId::new("scratch"),
            table: "scratch".to_owned(),
            layout: Layout::Map,
            key: Vec::new(),
            value,
            order: Vec::new(),
        };
        let backend: Arc<dyn StateBackend> = Arc::new(MemoryBackend::new(Vec::new()));
        let gate = Arc::new(Gate::default());
        Self {
            table: TableContext {
                index: 0,
                chunks: Arc::new(TableContext::chunk_layout(&spec)),
                spec,
                range: KeyGroupRange { start: 0, end: 1 },
                key_groups: 1,
                registry: Rc::new(Registry::new(backend.clone(), gate.clone())),
                backend,
                gate,
                budget: Arc::new(Budget::new(usize::MAX, usize::MAX)),
            },
            cells: Vec::new(),
            row: Vec::new(),
        }
    }

    /// Slots 0 to `slots`, all of their values NULL.
    pub fn reset(&mut self, slots: usize) {
        while self.cells.len() * CHUNK_SLOTS < slots {
            let chunk = Chunk::new(&self.table.chunks, CHUNK_SLOTS, &self.table.budget);
            self.cells.push(Cell::Owned(Box::new(chunk)));
        }
        for slot in 0..slots {
            let (cell, place) = (slot / CHUNK_SLOTS, slot % CHUNK_SLOTS);
            self.cells[cell].get_mut().set_all_null(place);
        }
    }

    /// Typed access to the values.
    pub fn columns(&mut self) -> Columns<'_> {
        Columns {
            cells: &mut self.cells,
            table: &self.table,
        }
    }

    /// Makes slot `to` equal to slot `from`.
    ///
    /// # Errors
    /// When a nested value does not decode.
    pub fn copy(&mut self, from: u32, to: u32) -> Result<()> {
        let split = |slot: u32| (slot as usize / CHUNK_SLOTS, slot as usize % CHUNK_SLOTS);
        let ((source, place), (target, free)) = (split(from), split(to));
        self.row.clear();
        let chunk = self.cells[source].get();
        chunk.put_row(&self.table.chunks, place, &mut self.row);
        let chunk = self.cells[target].get_mut();
        chunk.take_row(&self.table.chunks, free, &self.row)
    }

    /// Sets the values of a slot from a row of columns.
    ///
    /// # Errors
    /// When a column is of another type.
    pub fn set(&mut self, slot: u32, columns: &[ArrayRef], row: usize) -> Result<()> {
        let spec = &self.table.spec.value;
        if columns.len() != spec.len() {
            return Err(Error::damaged("a scratch has other columns"));
        }
        let columns: Vec<ArrayRef> = columns
            .iter()
            .zip(spec)
            .map(|(array, column)| canonical(array, &column.data_type))
            .collect::<Result<_>>()?;
        let readers: Vec<Reader<'_>> = columns
            .iter()
            .zip(spec)
            .map(|(array, column)| Reader::new(array, &column.data_type))
            .collect();
        self.row.clear();
        value::put_row(&readers, row, &mut self.row);
        let (cell, place) = (slot as usize / CHUNK_SLOTS, slot as usize % CHUNK_SLOTS);
        let chunk = self.cells[cell].get_mut();
        chunk.take_row(&self.table.chunks, place, &self.row)
    }

    /// The value columns of these slots.
    ///
    /// # Errors
    /// When a nested value does not decode.
    pub fn values(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        values_of(&self.table.spec.value, slots, &|slot| {
            let slot = slot as usize;
            (self.cells[slot / CHUNK_SLOTS].get(), slot % CHUNK_SLOTS)
        })
    }
}

#[cfg(test)]
mod tests {
    use weir_types::{Column, DataType};

    use super::*;

    #[test]
    fn slots_are_copied_and_emptied() {
        let value = vec![
            Column::new("n", DataType::Int64),
            Column::new("s", DataType::String),
        ];
        let mut scratch = Scratch::new(value);
        scratch.reset(600);
        let mut columns = scratch.columns();
        columns.set_i64(0, 3, 7);
        columns.set_bytes(1, 3, b"seven");
        scratch.copy(3, 599).unwrap();
        let of = |scratch: &Scratch| {
            let values = scratch.values(&[3, 4, 599]).unwrap();
            let batch = arrow::array::RecordBatch::try_from_iter(
                ["n", "s"].into_iter().zip(values.iter().cloned()),
            );
            let batch = batch.unwrap();
            let nulls: Vec<usize> = batch.columns().iter().map(|c| c.null_count()).collect();
            (nulls, values)
        };
        let (nulls, values) = of(&scratch);
        assert_eq!(nulls, [1, 1]);
        scratch.set(4, &values, 2).unwrap();
        assert_eq!(of(&scratch).0, [0, 0]);
        scratch.reset(5);
        assert_eq!(of(&scratch).0, [2, 2], "slot 599 keeps what it had");
    }
}
