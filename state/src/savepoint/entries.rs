//! Entries of the database as columns, and back.

use std::ops::ControlFlow;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use weir_types::hash::{hash_columns, key_group};
use weir_types::{DataType, KeyGroup, KeyGroupRange};

use super::columns::{SavedColumn, has_count, saved_columns};
use crate::encoding::{Builder, Reader, RowOrder, canonical, key, value};
use crate::keyed::take_key;
use crate::{Error, Layout, Result, TableSpec};

/// How one table's entries become columns and columns become entries.
pub(crate) struct Entries {
    pub(crate) table: TableSpec,
    pub(crate) columns: Vec<SavedColumn>,
    key_groups: u16,
    order: Option<RowOrder>,
}

/// Columns being built.
pub(crate) struct Batch {
    group: Builder,
    slice: Option<Builder>,
    key: Vec<Builder>,
    value: Vec<Builder>,
    count: Option<Vec<Builder>>,
    rows: usize,
    bytes: usize,
}

impl Batch {
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether it has enough rows or bytes to be passed on.
    pub(crate) fn is_full(&self) -> bool {
        self.rows >= 4096 || self.bytes >= 1 << 20
    }

    /// One array for each column of the file.
    pub(crate) fn finish(self) -> Vec<ArrayRef> {
        let all = std::iter::once(self.group)
            .chain(self.slice)
            .chain(self.key)
            .chain(self.value)
            .chain(self.count.into_iter().flatten());
        all.map(Builder::finish).collect()
    }
}

impl Entries {
    pub(crate) fn new(table: &TableSpec, key_groups: u16) -> Self {
        let sorted = table.layout == Layout::Sorted;
        Self {
            columns: saved_columns(table),
            order: sorted.then(|| RowOrder::new(&table.order, &table.value)),
            table: table.clone(),
            key_groups,
        }
    }

    pub(crate) fn batch(&self) -> Batch {
        let slices = self.table.layout == Layout::Slices;
        Batch {
            group: Builder::new(&DataType::Int32),
            slice: slices.then(|| Builder::new(&DataType::Timestamp(weir_types::TimeUnit::Micro))),
            key: Builder::of_columns(&self.table.key),
            value: Builder::of_columns(&self.table.value),
            count: has_count(self.table.layout).then(|| vec![Builder::new(&DataType::Int64)]),
            rows: 0,
            bytes: 0,
        }
    }

    /// Adds an entry.
    pub(crate) fn decode(&self, stored: &[u8], row: &[u8], batch: &mut Batch) -> Result<()> {
        batch.group.push_i64(i64::from(group_of(stored)?.0));
        let mut rest = stored.get(key::GROUP_BYTES..).unwrap_or_default();
        if let Some(slice) = &mut batch.slice {
            slice.push_i64(key::slice_of(stored)?);
            rest = rest.get(key::SLICE_BYTES..).unwrap_or_default();
        }
        take_key(&mut rest, &mut batch.key)?;
        match (&mut batch.count, &self.order) {
            (None, _) => {
                if !rest.is_empty() {
                    return Err(Error::damaged("a key is longer than its columns"));
                }
                value::take_row(row, &mut batch.value)?;
            }
            (Some(count), order) => {
                match order {
                    Some(order) => order.take_row(rest, &mut batch.value)?,
                    None => value::take_row(rest, &mut batch.value)?,
                }
                value::take_row(row, count)?;
            }
        }
        batch.rows += 1;
        batch.bytes += stored.len() + row.len();
        Ok(())
    }

    /// Gives the entries of rows whose key group is in `range`, in their order. The first column says the key group.
    pub(crate) fn encode(
        &self,
        columns: &[ArrayRef],
        range: KeyGroupRange,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let rows = columns.first().map_or(0, |column| column.len());
        let groups = columns[0].as_primitive::<Int32Type>().values();
        self.encode_checked(&columns[1..], rows, Some(groups), range, visit)
    }

    /// The same of rows without their key groups: they follow from the keys.
    pub(crate) fn encode_rows(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        range: KeyGroupRange,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        self.encode_checked(columns, rows, None, range, visit)
    }

    fn encode_checked(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        groups: Option<&[i32]>,
        range: KeyGroupRange,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let mut at = 0;
        let slices = (self.table.layout == Layout::Slices).then(|| {
            at += 1;
            columns[0]
                .as_primitive::<TimestampMicrosecondType>()
                .values()
        });
        let keys = canonical_columns(&columns[at..at + self.table.key.len()], &self.table.key)?;
        at += keys.len();
        let values =
            canonical_columns(&columns[at..at + self.table.value.len()], &self.table.value)?;
        at += values.len();
        let counts = columns
            .get(at)
            .map(|column| column.as_primitive::<Int64Type>());
        let hashes = hash_columns(&keys, rows);
        let key_readers = readers(&keys, &self.table.key);
        let value_readers = readers(&values, &self.table.value);
        let (mut stored, mut row_bytes) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let group = key_group(hashes[row], self.key_groups);
            if groups.is_some_and(|groups| i32::from(group.0) != groups[row]) {
                return Err(Error::damaged(&format!(
                    "a row of table '{}' of operator {} is in another key group than {}, which its key belongs to",
                    self.table.table, self.table.operator, group
                )));
            }
            if !range.contains(group) {
                continue;
            }
            stored.clear();
            row_bytes.clear();
            key::put_prefix(
                group,
                slices.as_ref().map(|slices| slices[row]),
                &mut stored,
            );
            for reader in &key_readers {
                key::put_column(reader, row, &mut stored);
            }
            match counts {
                None => value::put_row(&value_readers, row, &mut row_bytes),
                Some(counts) => {
                    match &self.order {
                        Some(order) => order.put_row(&value_readers, row, &mut stored),
                        None => value::put_row(&value_readers, row, &mut stored),
                    }
                    // A row of one BIGINT: version, no NULL, the number.
                    row_bytes.extend_from_slice(&[value::VERSION, 0]);
                    value::put_i64(counts.value(row), &mut row_bytes);
                }
            }
            if visit(&stored, &row_bytes)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The key group of a stored key.
pub(crate) fn group_of(stored: &[u8]) -> Result<KeyGroup> {
    stored
        .first_chunk::<{ key::GROUP_BYTES }>()
        .map(|bytes| KeyGroup(u16::from_be_bytes(*bytes)))
        .ok_or_else(|| Error::damaged("a key is too short for its key group"))
}

fn canonical_columns(arrays: &[ArrayRef], columns: &[weir_types::Column]) -> Result<Vec<ArrayRef>> {
    arrays
        .iter()
        .zip(columns)
        .map(|(array, column)| canonical(array, &column.data_type))
        .collect()
}

fn readers<'a>(arrays: &'a [ArrayRef], columns: &[weir_types::Column]) -> Vec<Reader<'a>> {
    arrays
        .iter()
        .zip(columns)
        .map(|(array, column)| Reader::new(array, &column.data_type))
        .collect()
}
