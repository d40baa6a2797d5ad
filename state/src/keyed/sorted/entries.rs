//! Changes of a sorted table: rows that come and go.
//!
//! ```text
//!   keys, rows ─▶ Entries: the bytes and hash of each, made once ─┬▶ table "values(x)"
//!                                                                 └▶ table "values(x) FILTER (WHERE …)", some of them
//! ```

use arrow::array::{ArrayRef, RecordBatch};

use super::SortedTable;
use crate::Result;
use crate::backend::Keys;
use crate::keyed::cache::Missing;
use crate::keyed::chunk::KeyBatch;
use crate::keyed::multimap::{add_weights, check_counts, row_hash};

/// Rows of a batch, with their keys, in the form of a table's entries. They fit every table with the same key columns, and the
/// same value columns in the same order.
pub struct Entries {
    /// Key and row of each.
    bytes: KeyBatch<'static>,
    /// Of key and row.
    hashes: Vec<u64>,
    /// Of the key alone.
    key_hashes: Vec<u64>,
    /// Bytes of the key at the start of each.
    key_lengths: Vec<u32>,
}

impl Entries {
    /// How many.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Some of them, in this order.
    pub fn chosen(&self, rows: &[u32]) -> Self {
        let KeyBatch::Bytes(bytes) = &self.bytes else {
            unreachable!("the entries of a sorted table are bytes")
        };
        let mut chosen = Keys::default();
        chosen.ends.reserve(rows.len());
        chosen
            .bytes
            .reserve(bytes.bytes.len() / self.len().max(1) * rows.len());
        for &row in rows {
            chosen.bytes.extend_from_slice(bytes.get(row as usize));
            chosen.end_key();
        }
        let hashes = |all: &[u64]| rows.iter().map(|&row| all[row as usize]).collect();
        Self {
            bytes: KeyBatch::Bytes(chosen),
            hashes: hashes(&self.hashes),
            key_hashes: hashes(&self.key_hashes),
            key_lengths: rows
                .iter()
                .map(|&row| self.key_lengths[row as usize])
                .collect(),
        }
    }
}

impl SortedTable {
    /// Rows under keys, whose hashes are `weir_types::hash::hash_columns(keys)`, in the form of this table's entries.
    ///
    /// # Errors
    /// When the columns are not those of the table.
    pub fn entries(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        rows: &RecordBatch,
    ) -> Result<Entries> {
        let table = self.cache.borrow().table.clone();
        let key_columns = table.canonical_keys(keys)?;
        let keys = table.key_batch(&key_columns, hashes.len()).into_bytes();
        let columns = table.canonical_values(rows.columns())?;
        let readers = table.value_readers(&columns);
        let mut bytes = Keys::default();
        let mut entry_hashes = Vec::with_capacity(hashes.len());
        let mut key_lengths = Vec::with_capacity(hashes.len());
        for (row, &hash) in hashes.iter().enumerate() {
            let key = keys.get(row);
            bytes.bytes.extend_from_slice(key);
            let start = bytes.bytes.len();
            self.order.put_row(&readers, row, &mut bytes.bytes);
            entry_hashes.push(row_hash(hash, &bytes.bytes[start..]));
            bytes.end_key();
            key_lengths.push(key.len() as u32);
        }
        Ok(Entries {
            bytes: KeyBatch::Bytes(bytes),
            hashes: entry_hashes,
            key_hashes: hashes.to_vec(),
            key_lengths,
        })
    }

    /// Adds `weights[i]` (±) to the multiplicity of row i under key i. A multiplicity of zero removes the row; below
    /// zero (after the whole batch) is an error of ours.
    ///
    /// # Errors
    /// `Corrupt` for a multiplicity below zero; else when the database cannot be read or written.
    pub fn apply(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        rows: &RecordBatch,
        weights: &[i64],
    ) -> Result<()> {
        let entries = self.entries(keys, hashes, rows)?;
        self.apply_counted(&entries, weights).map(|_| ())
    }

    /// `apply` of entries; gives the multiplicity that each row had before its weight was added, those of equal rows one after
    /// the other.
    ///
    /// # Errors
    /// As `apply`.
    pub fn apply_counted(&self, entries: &Entries, weights: &[i64]) -> Result<Vec<i64>> {
        let (before, slots) = self.change(entries, weights)?;
        // Counts that only grow are not below zero.
        if weights.iter().any(|&weight| weight < 0) {
            check_counts(&self.cache.borrow(), &slots)?;
        }
        Ok(before)
    }

    /// `apply` for who keeps parts of a multiset that are whole only together: multiplicities may be below zero.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub fn apply_signed(&self, entries: &Entries, weights: &[i64]) -> Result<()> {
        self.change(entries, weights).map(|_| ())
    }

    /// Adds weights; gives the multiplicities from before, and the slots of the rows.
    fn change(&self, entries: &Entries, weights: &[i64]) -> Result<(Vec<i64>, Vec<u32>)> {
        let mut cache = self.cache.borrow_mut();
        let mut slots = Vec::new();
        cache.slots(&entries.bytes, &entries.hashes, Missing::Create, &mut slots)?;
        if let KeyBatch::Bytes(bytes) = &entries.bytes
            && cache.ordered.is_some()
        {
            for (row, &slot) in slots.iter().enumerate() {
                let key = &bytes.get(row)[..entries.key_lengths[row] as usize];
                cache.place(slot, entries.key_hashes[row], key);
            }
        }
        cache.update_charge();
        let before = add_weights(&mut cache, &slots, weights);
        Ok((before, slots))
    }
}
