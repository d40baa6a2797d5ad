//! The partitions of a final ranking that got rows in an epoch: at its end their rows beyond the last number are forgotten.

use std::collections::HashSet;

use arrow::array::ArrayRef;

use super::due::taken;
use super::rank::Rank;
use crate::Result;

/// Partitions that got rows in this epoch, each once.
#[derive(Default)]
pub(super) struct Grown {
    /// In the table's form.
    known: HashSet<Box<[u8]>>,
    /// The same as columns, with their hashes.
    partitions: Vec<(Vec<ArrayRef>, Vec<u64>)>,
}

impl Grown {
    /// Remembers partitions that got rows; nothing if the ranking has no last number.
    pub(super) fn note(&mut self, rank: &Rank, keys: &[ArrayRef], hashes: &[u64]) -> Result<()> {
        if !rank.config.drops_rest {
            return Ok(());
        }
        let bytes = rank.rows.key_bytes(keys, hashes.len())?.into_iter();
        let first: Vec<u32> = bytes
            .zip(0_u32..)
            .filter_map(|(bytes, row)| self.known.insert(bytes).then_some(row))
            .collect();
        if !first.is_empty() {
            let hashes = first.iter().map(|&row| hashes[row as usize]).collect();
            self.partitions.push((taken(keys, &first.into())?, hashes));
        }
        Ok(())
    }

    /// Drops the rows that are beyond the last number already, whatever still comes. `at_once`: partitions that are
    /// looked through in one go.
    pub(super) fn prune(&mut self, rank: &Rank, at_once: usize) -> Result<()> {
        self.known.clear();
        for (keys, hashes) in std::mem::take(&mut self.partitions) {
            for start in (0..hashes.len()).step_by(at_once) {
                let count = at_once.min(hashes.len() - start);
                let keys: Vec<ArrayRef> = keys.iter().map(|key| key.slice(start, count)).collect();
                let hashes = &hashes[start..start + count];
                // Numbers from 1 on are at most the true ones.
                rank.drop_rest(&keys, hashes, &rank.numbered(&keys, hashes)?)?;
            }
        }
        Ok(())
    }
}
