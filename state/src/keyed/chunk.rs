//! A chunk: 256 slots of hashes, keys and typed value columns, the unit of copy-on-write.
//!
//! ```text
//!   freeze:  Owned(chunk) ──▶ Shared(Arc) ──clone of the Arc──▶ writer thread
//!   write:   Shared, nobody else has it ──▶ Owned, no copy
//!            Shared, the writer has it   ──▶ Owned copy; the writer keeps what was frozen
//! ```

use std::sync::Arc;

use arrow::buffer::NullBuffer;

use super::bits::Bits;
use super::budget::{Budget, Charge};
use crate::encoding::{key, value};
use crate::spec::Storage;
use crate::{Error, Result};
use weir_types::{Column, DataType};

/// Slots that the first chunk of a table has memory for at first: a table of slices may have thousands of small ones.
pub(crate) const FIRST_SLOTS: usize = 16;
/// Slots of a chunk. Small enough that copying one because a single entry changed is cheap.
pub(crate) const CHUNK_SLOTS: usize = 256;

/// Byte strings of a chunk that room is made for before it is known how long they are.
const FIRST_VALUES: usize = 16;
/// Bytes that room is made for at once at most.
const ROOM_BYTES: usize = 64 << 10;

/// A key as it is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRef<'a> {
    /// A key of one integer column.
    Int(Option<i64>),
    /// Any other key, encoded.
    Bytes(&'a [u8]),
}

impl KeyRef<'_> {
    /// Appends the encoded key.
    #[inline]
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(value) => key::put_int(*value, out),
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// The keys of a batch.
pub(crate) enum KeyBatch<'a> {
    Int {
        values: std::borrow::Cow<'a, [i64]>,
        nulls: Option<&'a NullBuffer>,
    },
    Bytes(crate::backend::Keys),
}

impl KeyBatch<'_> {
    /// The keys of a table of a layout that never has integers for keys.
    pub(crate) fn into_bytes(self) -> crate::backend::Keys {
        match self {
            Self::Bytes(keys) => keys,
            Self::Int { .. } => unreachable!("the keys of multimaps and sorted tables are bytes"),
        }
    }

    #[inline]
    pub(crate) fn get(&self, row: usize) -> KeyRef<'_> {
        match self {
            Self::Int {
                values,
                nulls: None,
            } => KeyRef::Int(Some(values[row])),
            Self::Int {
                values,
                nulls: Some(nulls),
            } => KeyRef::Int(if nulls.is_null(row) {
                None
            } else {
                Some(values[row])
            }),
            Self::Bytes(keys) => KeyRef::Bytes(keys.get(row)),
        }
    }
}

/// Byte strings of a chunk's slots, in one buffer.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByteArena {
    data: Vec<u8>,
    /// Start and length of each slot's bytes.
    spans: Vec<(u32, u32)>,
    /// Bytes of `data` that no span covers any more.
    garbage: usize,
}

impl ByteArena {
    fn new(slots: usize) -> Self {
        Self {
            data: Vec::new(),
            spans: vec![(0, 0); slots],
            garbage: 0,
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: usize) -> &[u8] {
        let (start, length) = self.spans[slot];
        &self.data[start as usize..start as usize + length as usize]
    }

    /// Sets a slot's bytes; whether the memory for them is another amount now.
    fn set(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let (start, length) = self.spans[slot];
        if bytes.len() <= length as usize {
            let start_index = start as usize;
            self.data[start_index..start_index + bytes.len()].copy_from_slice(bytes);
            self.garbage += length as usize - bytes.len();
            self.spans[slot] = (start, bytes.len() as u32);
            return false;
        }
        let before = self.data.capacity();
        self.garbage += length as usize;
        self.spans[slot] = (0, 0);
        if self.garbage > 4096 && self.garbage > self.data.len() / 2 {
            self.compact();
        }
        if self.data.capacity() - self.data.len() < bytes.len() {
            self.make_room(bytes.len());
        }
        let start = self.data.len();
        assert!(
            start + bytes.len() < u32::MAX as usize,
            "the values of 256 entries take more than 4 GiB"
        );
        self.data.extend_from_slice(bytes);
        self.spans[slot] = (start as u32, bytes.len() as u32);
        self.data.capacity() != before
    }

    /// Makes room for `length` bytes, and for the slots that are still free if their bytes are as long as those so far. To
    /// double the buffer again and again would copy everything several times, and leave up to half of it unused.
    #[cold]
    fn make_room(&mut self, length: usize) {
        let slots = self.spans.len();
        let used = self.spans.iter().filter(|span| span.1 > 0).count();
        let wanted = if used < FIRST_VALUES {
            length * FIRST_VALUES.min(slots)
        } else {
            (slots - used).max(slots / 8) * (self.data.len() / used + 1)
        };
        let wanted = wanted.min(ROOM_BYTES).max(self.data.len() / 8);
        self.data.reserve_exact(wanted.max(length));
    }

    fn compact(&mut self) {
        let mut data = Vec::with_capacity(self.data.len() - self.garbage);
        for span in &mut self.spans {
            let (start, length) = (span.0 as usize, span.1 as usize);
            span.0 = data.len() as u32;
            data.extend_from_slice(&self.data[start..start + length]);
        }
        self.data = data;
        self.garbage = 0;
    }

    fn bytes(&self) -> usize {
        self.data.capacity() + self.spans.capacity() * 8
    }
}

/// The keys of a chunk's slots.
#[derive(Clone, Debug)]
pub(crate) enum KeyColumn {
    Int { values: Vec<i64>, nulls: Bits },
    Bytes(ByteArena),
}

impl KeyColumn {
    #[inline]
    pub(crate) fn matches(&self, slot: usize, key: KeyRef<'_>) -> bool {
        match (self, key) {
            (Self::Int { values, nulls }, KeyRef::Int(Some(value))) => {
                values[slot] == value && !nulls.get(slot)
            }
            (Self::Int { nulls, .. }, KeyRef::Int(None)) => nulls.get(slot),
            (Self::Bytes(arena), KeyRef::Bytes(bytes)) => arena.get(slot) == bytes,
            _ => unreachable!("all keys of a table have one form"),
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: usize) -> KeyRef<'_> {
        match self {
            Self::Int { values, nulls } => KeyRef::Int((!nulls.get(slot)).then(|| values[slot])),
            Self::Bytes(arena) => KeyRef::Bytes(arena.get(slot)),
        }
    }

    /// Sets a slot's key; whether the memory for it is another amount now.
    fn set(&mut self, slot: usize, key: KeyRef<'_>) -> bool {
        match (self, key) {
            (Self::Int { values, nulls }, KeyRef::Int(Some(value))) => {
                values[slot] = value;
                nulls.clear(slot);
                false
            }
            (Self::Int { nulls, .. }, KeyRef::Int(None)) => {
                nulls.set(slot);
                false
            }
            (Self::Bytes(arena), KeyRef::Bytes(bytes)) => arena.set(slot, bytes),
            _ => unreachable!("all keys of a table have one form"),
        }
    }
}

/// One value column of a chunk.
#[derive(Clone, Debug)]
pub(crate) struct ValueColumn {
    pub(crate) nulls: Bits,
    pub(crate) data: ColumnData,
}

#[derive(Clone, Debug)]
pub(crate) enum ColumnData {
    I64(Vec<i64>),
    F64(Vec<f64>),
    I128(Vec<i128>),
    Bytes(ByteArena),
}

/// The columns of a table, as its chunks need them.
#[derive(Debug)]
pub(crate) struct ChunkLayout {
    /// The key is one integer column.
    pub(crate) int_key: bool,
    pub(crate) value: Vec<Column>,
    pub(crate) storage: Vec<Storage>,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) hashes: Vec<u64>,
    pub(crate) keys: KeyColumn,
    pub(crate) columns: Vec<ValueColumn>,
    charge: Charge,
}

impl Clone for Chunk {
    fn clone(&self) -> Self {
        let mut clone = Self {
            hashes: self.hashes.clone(),
            keys: self.keys.clone(),
            columns: self.columns.clone(),
            charge: Charge::new(self.charge.budget(), 0),
        };
        clone.recharge();
        clone
    }
}

impl Chunk {
    /// A chunk with memory for its first `slots` slots.
    pub(crate) fn new(layout: &ChunkLayout, slots: usize, budget: &Arc<Budget>) -> Self {
        let keys = if layout.int_key {
            KeyColumn::Int {
                values: vec![0; slots],
                nulls: Bits::default(),
            }
        } else {
            KeyColumn::Bytes(ByteArena::new(slots))
        };
        let columns = layout.storage.iter().map(|storage| {
            let data = match storage {
                Storage::I64 => ColumnData::I64(vec![0; slots]),
                Storage::F64 => ColumnData::F64(vec![0.0; slots]),
                Storage::I128 => ColumnData::I128(vec![0; slots]),
                Storage::Bytes => ColumnData::Bytes(ByteArena::new(slots)),
            };
            ValueColumn {
                nulls: Bits::ALL,
                data,
            }
        });
        let mut chunk = Self {
            hashes: vec![0; slots],
            keys,
            columns: columns.collect(),
            charge: Charge::new(budget, 0),
        };
        chunk.recharge();
        chunk
    }

    /// Makes memory for `slot`: twice as much as before.
    #[cold]
    fn grow(&mut self, slot: usize) {
        let slots = (slot + 1).next_power_of_two().min(CHUNK_SLOTS);
        self.hashes.resize(slots, 0);
        match &mut self.keys {
            KeyColumn::Int { values, .. } => values.resize(slots, 0),
            KeyColumn::Bytes(arena) => arena.spans.resize(slots, (0, 0)),
        }
        for column in &mut self.columns {
            match &mut column.data {
                ColumnData::I64(values) => values.resize(slots, 0),
                ColumnData::F64(values) => values.resize(slots, 0.0),
                ColumnData::I128(values) => values.resize(slots, 0),
                ColumnData::Bytes(arena) => arena.spans.resize(slots, (0, 0)),
            }
        }
    }

    /// Brings the charge up to date after byte values may have grown.
    pub(crate) fn recharge(&mut self) {
        let keys = match &self.keys {
            KeyColumn::Int { values, .. } => values.capacity() * 8,
            KeyColumn::Bytes(arena) => arena.bytes(),
        };
        let columns: usize = self
            .columns
            .iter()
            .map(|column| {
                size_of::<ValueColumn>()
                    + match &column.data {
                        ColumnData::I64(values) => values.capacity() * 8,
                        ColumnData::F64(values) => values.capacity() * 8,
                        ColumnData::I128(values) => values.capacity() * 16,
                        ColumnData::Bytes(arena) => arena.bytes(),
                    }
            })
            .sum();
        let bytes = size_of::<Self>() + self.hashes.capacity() * 8 + keys + columns;
        if bytes != self.charge.bytes() {
            self.charge.set(bytes);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.charge.bytes()
    }

    /// Puts a new key into a slot, its values all NULL.
    pub(crate) fn occupy(&mut self, slot: usize, hash: u64, key: KeyRef<'_>) {
        let grows = slot >= self.hashes.len();
        if grows {
            self.grow(slot);
        }
        self.hashes[slot] = hash;
        let moved = self.keys.set(slot, key);
        self.set_all_null(slot);
        if grows || moved {
            self.recharge();
        }
    }

    pub(crate) fn set_all_null(&mut self, slot: usize) {
        self.columns
            .iter_mut()
            .for_each(|column| column.nulls.set(slot));
    }

    pub(crate) fn set_bytes(&mut self, column: usize, slot: usize, bytes: &[u8]) {
        let column = &mut self.columns[column];
        let moved = match &mut column.data {
            ColumnData::Bytes(arena) => arena.set(slot, bytes),
            _ => unreachable!("the column is not kept as bytes"),
        };
        column.nulls.clear(slot);
        if moved {
            self.recharge();
        }
    }

    /// Appends the slot's values as a row.
    pub(crate) fn put_row(&self, layout: &ChunkLayout, slot: usize, out: &mut Vec<u8>) {
        out.push(value::VERSION);
        let bitmap = out.len();
        out.resize(bitmap + self.columns.len().div_ceil(8), 0);
        for (i, column) in self.columns.iter().enumerate() {
            if column.nulls.get(slot) {
                out[bitmap + i / 8] |= 1 << (i % 8);
                continue;
            }
            match (&column.data, &layout.value[i].data_type) {
                (ColumnData::I64(values), DataType::Boolean) => out.push(values[slot] as u8),
                (ColumnData::I64(values), _) => value::put_i64(values[slot], out),
                (ColumnData::F64(values), DataType::Float32) => {
                    out.extend_from_slice(&(values[slot] as f32).to_le_bytes());
                }
                (ColumnData::F64(values), _) => out.extend_from_slice(&values[slot].to_le_bytes()),
                (ColumnData::I128(values), _) => value::put_i128(values[slot], out),
                (ColumnData::Bytes(arena), DataType::String | DataType::Bytes) => {
                    value::put_bytes(arena.get(slot), out);
                }
                // Already in the value encoding.
                (ColumnData::Bytes(arena), _) => out.extend_from_slice(arena.get(slot)),
            }
        }
    }

    /// Takes over the values of a stored row.
    pub(crate) fn take_row(
        &mut self,
        layout: &ChunkLayout,
        slot: usize,
        mut row: &[u8],
    ) -> Result<()> {
        let nulls = value::take_header(&mut row, self.columns.len())?;
        let mut moved = false;
        for (i, column) in self.columns.iter_mut().enumerate() {
            if value::is_null(nulls, i) {
                column.nulls.set(slot);
                continue;
            }
            column.nulls.clear(slot);
            let data_type = &layout.value[i].data_type;
            match (&mut column.data, data_type) {
                (ColumnData::I64(values), DataType::Boolean) => {
                    values[slot] = i64::from(value::take_array::<1>(&mut row)?[0] != 0);
                }
                (ColumnData::I64(values), _) => values[slot] = value::take_i64(&mut row)?,
                (ColumnData::F64(values), DataType::Float32) => {
                    values[slot] = f64::from(f32::from_le_bytes(value::take_array(&mut row)?));
                }
                (ColumnData::F64(values), _) => {
                    values[slot] = f64::from_le_bytes(value::take_array(&mut row)?)
                }
                (ColumnData::I128(values), _) => values[slot] = value::take_i128(&mut row)?,
                (ColumnData::Bytes(arena), DataType::String | DataType::Bytes) => {
                    moved |= arena.set(slot, value::take_bytes(&mut row)?);
                }
                (ColumnData::Bytes(arena), _) => {
                    moved |= arena.set(slot, value::take_raw(&mut row, data_type)?);
                }
            }
        }
        if moved {
            self.recharge();
        }
        if row.is_empty() {
            Ok(())
        } else {
            Err(Error::damaged("a row is longer than its columns"))
        }
    }
}

/// A place for a chunk.
#[derive(Debug, Default)]
pub(crate) enum Cell {
    #[default]
    Empty,
    Owned(Box<Chunk>),
    /// Frozen: the writer may have it too.
    Shared(Arc<Chunk>),
}

impl Cell {
    #[inline]
    pub(crate) fn get(&self) -> &Chunk {
        match self {
            Self::Owned(chunk) => chunk,
            Self::Shared(chunk) => chunk,
            Self::Empty => unreachable!("no slot of an empty chunk is in use"),
        }
    }

    /// For writing; a frozen chunk is copied first if the writer still has it.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut Chunk {
        if !matches!(self, Self::Owned(_)) {
            self.own();
        }
        match self {
            Self::Owned(chunk) => chunk,
            _ => unreachable!("the chunk is owned now"),
        }
    }

    #[cold]
    fn own(&mut self) {
        if let Self::Shared(shared) = std::mem::take(self) {
            *self = Self::Owned(Box::new(Arc::unwrap_or_clone(shared)));
        }
    }

    /// Shares the chunk for a freeze.
    pub(crate) fn share(&mut self) -> Arc<Chunk> {
        let shared = match std::mem::take(self) {
            Self::Owned(chunk) => Arc::from(chunk),
            Self::Shared(shared) => shared,
            Self::Empty => unreachable!("an empty chunk has nothing to freeze"),
        };
        *self = Self::Shared(shared.clone());
        shared
    }

    /// Whether writing to it would make a copy.
    pub(crate) fn is_held_by_writer(&self) -> bool {
        matches!(self, Self::Shared(chunk) if Arc::strong_count(chunk) > 1)
    }
}
