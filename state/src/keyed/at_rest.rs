//! Which entries of a table the database may have that memory does not: a filter that an entry is put into as it leaves memory.
//!
//! To look for a key in the database takes some microseconds, and for all rows of a key some tens of them; and most of what is
//! looked for was never there: the rows that come to a join are new, and so are most partitions of a deduplication. The filter
//! says so in a few cache misses. It gives false alarms (about one in 300), and never misses an entry.
//!
//! ```text
//!   empty at the start ─────────────▶ knows all ─▶ knows nothing      when it would take too much memory
//!   restored ─▶ knows nothing ─▶ reading ─▶ knows all                 a piece of the table for each so many look-ups
//! ```
//!
//! Blocks of one cache line: Putze, Sanders and Singler, *Cache-, Hash- and Space-Efficient Bloom Filters*, 2007. Layers that grow,
//! because nobody knows how many entries will come: Almeida et al., *Scalable Bloom Filters*, 2007.
//!
//! # Invariant
//! While it knows all, every entry that the database has and memory has not is in the filter, and so is its key.

use std::ops::ControlFlow;

use weir_types::hash::{hash_columns, mix};
use xxhash_rust::xxh3::xxh3_64;

use super::cache::Cache;
use super::map::take_key;
use super::multimap::{row_hash_of, upper};
use crate::encoding::{Builder, key};
use crate::spec::Layout;
use crate::{Error, Result};

/// Bits of a block.
const BLOCK_BITS: usize = 512;
/// Bits for each entry of a layer that is full.
const BITS_PER_ITEM: usize = 12;
/// Blocks of the first layer, and fewer are not worth a layer.
const FIRST_BLOCKS: usize = if cfg!(test) { 64 } else { 256 };
/// So many times greater is each further layer.
const GROWTH: usize = 4;
/// The filter takes at most this part of a worker's memory.
const PART_OF_MEMORY: usize = 4;
/// Entries that are read at once, at the end of an epoch.
const ENTRIES_AT_ONCE: usize = if cfg!(test) { 32 } else { 8192 };
/// Look-ups in the database that cost as much as reading them.
const LOOK_UPS_WORTH_IT: u32 = if cfg!(test) { 4 } else { 1024 };
/// What looking for all rows of a key costs, in look-ups of one.
pub(super) const SCAN_IN_LOOK_UPS: usize = 4;
/// Look-ups after which a table that was too large is looked at again.
const LOOK_UPS_BETWEEN: u32 = 1 << 20;

/// A cache line: one bit of each word for each item.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Block([u64; BLOCK_BITS / 64]);

impl Block {
    #[inline]
    fn bits(hash: u64) -> [u64; BLOCK_BITS / 64] {
        std::array::from_fn(|word| 1 << (hash >> (word * 6) & 63))
    }
}

struct Layer {
    blocks: Vec<Block>,
    items: usize,
}

impl Layer {
    fn of_blocks(blocks: usize) -> Self {
        Self {
            blocks: vec![Block::default(); blocks],
            items: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.items >= self.blocks.len() * BLOCK_BITS / BITS_PER_ITEM
    }

    #[inline]
    fn place(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.blocks.len() as u128) >> 64) as usize
    }

    #[inline]
    fn has(&self, hash: u64, bits: &[u64; BLOCK_BITS / 64]) -> bool {
        let block = &self.blocks[self.place(hash)].0;
        block.iter().zip(bits).all(|(word, bit)| word & bit != 0)
    }

    #[inline]
    fn put(&mut self, hash: u64, bits: &[u64; BLOCK_BITS / 64]) {
        let place = self.place(hash);
        let words = self.blocks[place].0.iter_mut();
        words.zip(bits).for_each(|(word, bit)| *word |= bit);
        self.items += 1;
    }
}

/// How much of what is at rest the filter has.
enum Knows {
    All,
    /// What left memory since the reading began, and what is before this key of the database.
    Reading(Vec<u8>),
    /// The table is looked at after so many look-ups.
    Nothing(u32),
}

/// See the module's text.
pub(crate) struct AtRest {
    knows: Knows,
    layers: Vec<Layer>,
    /// Look-ups in the database since a part of the table was read.
    look_ups: u32,
}

/// The item of a key, beside those of its rows.
#[inline]
fn of_key(hash: u64) -> u64 {
    u64::from(upper(hash))
}

impl AtRest {
    /// `empty`: the database holds nothing of the table.
    pub(crate) fn new(empty: bool) -> Self {
        Self {
            knows: match empty {
                true => Knows::All,
                false => Knows::Nothing(LOOK_UPS_WORTH_IT),
            },
            layers: Vec::new(),
            look_ups: 0,
        }
    }

    /// Whether an entry may be at rest; its hash is that of its slot.
    #[inline]
    pub(crate) fn may_have(&self, hash: u64) -> bool {
        !matches!(self.knows, Knows::All) || self.has(mix(hash))
    }

    /// Whether any row of a key may be at rest, in a table of rows.
    #[inline]
    pub(crate) fn may_have_rows(&self, key_hash: u64) -> bool {
        self.may_have(of_key(key_hash))
    }

    #[inline]
    fn has(&self, hash: u64) -> bool {
        let bits = Block::bits(hash);
        // The later ones have most of what there is.
        let mut layers = self.layers.iter().rev();
        layers.any(|layer| layer.has(hash, &bits))
    }

    /// Takes note of an item; `bytes` is what the filter may take.
    fn put(&mut self, item: u64, bytes: usize) {
        let hash = mix(item);
        if matches!(self.knows, Knows::Nothing(_)) || self.has(hash) {
            return;
        }
        if self.layers.last().is_none_or(Layer::is_full) {
            let last = self.layers.last().map(|layer| layer.blocks.len());
            let wanted = last.map_or(FIRST_BLOCKS, |blocks| blocks * GROWTH);
            let blocks = wanted.min(bytes.saturating_sub(self.bytes()) / size_of::<Block>());
            if blocks < FIRST_BLOCKS {
                self.knows = Knows::Nothing(LOOK_UPS_BETWEEN);
                self.layers = Vec::new();
                return;
            }
            self.layers.push(Layer::of_blocks(blocks));
        }
        let layer = self.layers.last_mut().expect("there is one now");
        layer.put(hash, &Block::bits(hash));
    }

    /// Begins to read a table of about so many items, if the filter has room for them.
    fn begin(&mut self, items: usize, bytes: usize) {
        let blocks = (items + items / 4) * BITS_PER_ITEM / BLOCK_BITS + FIRST_BLOCKS;
        if blocks * size_of::<Block>() > bytes {
            self.knows = Knows::Nothing(LOOK_UPS_BETWEEN);
            return;
        }
        self.layers = vec![Layer::of_blocks(blocks)];
        self.knows = Knows::Reading(Vec::new());
    }

    pub(crate) fn bytes(&self) -> usize {
        let blocks: usize = self.layers.iter().map(|layer| layer.blocks.len()).sum();
        blocks * size_of::<Block>()
    }
}

impl Cache {
    /// Whether the database may have an entry that memory has not.
    #[inline]
    pub(super) fn may_be_at_rest(&self, hash: u64) -> bool {
        !self.complete && self.at_rest.may_have(hash)
    }

    /// Whether the database may have rows of a key that memory has not.
    #[inline]
    pub(super) fn may_have_rows_at_rest(&self, key_hash: u64) -> bool {
        !self.complete && self.at_rest.may_have_rows(key_hash)
    }

    /// Takes note of an entry that leaves memory, or that is found in the database.
    #[inline]
    pub(super) fn note_at_rest(&mut self, hash: u64) {
        let bytes = self.bytes_of_filter();
        self.at_rest.put(hash, bytes);
        if self.has_rows_of_keys() {
            self.at_rest.put(of_key(hash), bytes);
        }
    }

    /// Whether the filter has all that is at rest; for tests.
    #[cfg(test)]
    pub(crate) fn knows_what_is_at_rest(&self) -> bool {
        matches!(self.at_rest.knows, Knows::All)
    }

    fn has_rows_of_keys(&self) -> bool {
        matches!(self.table.spec.layout, Layout::MultiMap | Layout::Sorted)
    }

    fn bytes_of_filter(&self) -> usize {
        self.table.budget.fair_share() / PART_OF_MEMORY
    }

    /// Takes note of keys that are looked for in the database.
    #[inline]
    pub(super) fn note_look_ups(&mut self, keys: usize) {
        self.at_rest.look_ups = self.at_rest.look_ups.saturating_add(keys as u32);
    }

    /// Reads a piece of what the filter does not know of yet, if it was asked often enough since. Called between epochs.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn learn(&mut self) -> Result<()> {
        // Slices are gone before reading them would pay.
        if self.complete || self.slice.is_some() {
            return Ok(());
        }
        let look_ups = self.at_rest.look_ups;
        match &mut self.at_rest.knows {
            Knows::All => Ok(()),
            Knows::Nothing(wait) if look_ups < *wait => Ok(()),
            Knows::Nothing(_) => {
                self.at_rest.look_ups = 0;
                // What is spilled from now on is put into the filter as it comes: reading need not see it.
                self.table.backend.settle(self.table.index)?;
                let (entries, _) = self.table.backend.size(self.table.index);
                let items = entries as usize * (1 + usize::from(self.has_rows_of_keys()));
                let bytes = self.bytes_of_filter();
                self.at_rest.begin(items, bytes);
                self.update_charge();
                Ok(())
            }
            Knows::Reading(_) if look_ups < LOOK_UPS_WORTH_IT => Ok(()),
            Knows::Reading(next) => {
                let from = std::mem::take(next);
                self.at_rest.look_ups -= LOOK_UPS_WORTH_IT;
                self.read_at_rest(from)
            }
        }
    }

    fn read_at_rest(&mut self, from: Vec<u8>) -> Result<()> {
        let table = self.table.clone();
        let start = table.range.start.to_be_bytes();
        let end = table.range.end.to_be_bytes();
        let from = if from.is_empty() {
            start.to_vec()
        } else {
            from
        };
        let mut keys = Builder::of_columns(&table.spec.key);
        let mut rows = Vec::new();
        let mut next = None;
        table
            .backend
            .scan_settled(table.index, &from, &end, &mut |stored, _| {
                if rows.len() == ENTRIES_AT_ONCE {
                    next = Some(stored.to_vec());
                    return Ok(ControlFlow::Break(()));
                }
                let mut entry = stored
                    .get(key::GROUP_BYTES..)
                    .ok_or_else(|| Error::damaged("a key is too short for its group"))?;
                take_key(&mut entry, &mut keys)?;
                rows.push(xxh3_64(entry));
                Ok(ControlFlow::Continue(()))
            })?;
        let keys: Vec<_> = keys.into_iter().map(Builder::finish).collect();
        for (hash, row) in hash_columns(&keys, rows.len()).into_iter().zip(&rows) {
            self.note_at_rest(match self.has_rows_of_keys() {
                true => row_hash_of(hash, *row),
                false => hash,
            });
        }
        if let Knows::Reading(_) = self.at_rest.knows {
            self.at_rest.knows = next.map_or(Knows::All, Knows::Reading);
        }
        self.update_charge();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_hardly_anything_else() {
        let mut filter = AtRest::new(true);
        for item in 0..200_000 {
            filter.put(item, 1 << 20);
        }
        assert!((0..200_000).all(|item| filter.may_have(item)));
        let alarms = (200_000..400_000).filter(|&item| filter.may_have(item));
        assert!(alarms.count() < 4_000);
        assert!(filter.bytes() <= 1 << 20);
    }

    #[test]
    fn without_room_it_knows_nothing_until_it_has_read_what_is_there() {
        let mut filter = AtRest::new(true);
        (0..100_000).for_each(|item| filter.put(item, 64 << 10));
        assert!(filter.may_have(1_000_000));
        assert_eq!(filter.bytes(), 0);
        filter.begin(100_000, 64 << 10);
        assert!(matches!(filter.knows, Knows::Nothing(LOOK_UPS_BETWEEN)));
        filter.begin(1_000, 64 << 10);
        filter.put(7, 64 << 10);
        assert!(filter.may_have(1_000_000), "not everything was read");
        filter.knows = Knows::All;
        assert!(filter.may_have(7) && !filter.may_have(1_000_000));
    }
}
