//! The memory of a cache: its hash table, what it is charged for, and estimates for who makes room.

use hashbrown::HashTable;

use super::cache::{Cache, Meta, spread};
use super::chunk::{CHUNK_SLOTS, Cell, FIRST_SLOTS};
use super::lists::Lists;
use super::ordered::Ordered;

impl Cache {
    /// What the hash table would take more if `additional` keys came.
    pub(crate) fn index_growth(&self, additional: usize) -> usize {
        if self.index.capacity() - self.index.len() >= additional {
            return 0;
        }
        let buckets = (self.index_wanted(additional) * 8 / 7 + 1).next_power_of_two();
        (buckets * 5 + 16).saturating_sub(self.index.allocation_size())
    }

    /// Room for all slots, so that the hash table grows with the chunks and never by itself; and an eighth more, because
    /// evicted keys leave marks behind, and without slack every batch would have to sweep them out.
    fn index_wanted(&self, additional: usize) -> usize {
        // A table of a few entries takes no more than it needs.
        let free = if self.cells.len() > 1 { self.free } else { 0 };
        ((self.index.len() + additional.max(free)) * 9 / 8).max(FIRST_SLOTS)
    }

    /// Makes sure that `additional` keys fit the hash table without growing it. The old table goes before the new one
    /// is made (the chunks know all hashes), so that both never take memory at once.
    pub(crate) fn reserve_index(&mut self, additional: usize) {
        if self.index.capacity() - self.index.len() >= additional {
            return;
        }
        let wanted = self.index_wanted(additional);
        self.index = HashTable::new();
        self.index = HashTable::with_capacity(wanted);
        let (cells, index) = (&self.cells, &mut self.index);
        let hash_of = |slot: &u32| {
            let (chunk, i) = Self::split(*slot);
            spread(cells[chunk].get().hashes[i])
        };
        for (chunk, meta) in self.meta.iter().enumerate() {
            for i in meta.occupied.iter() {
                let slot = (chunk * CHUNK_SLOTS + i) as u32;
                index.insert_unique(hash_of(&slot), slot, hash_of);
            }
        }
        self.update_charge();
    }

    /// Brings the charge for everything beside the chunks up to date.
    pub(crate) fn update_charge(&mut self) {
        let lists = self.lists.as_ref().map_or(0, Lists::bytes)
            + self.ordered.as_ref().map_or(0, Ordered::bytes);
        let numbers = self.open.capacity()
            + self.empty.capacity()
            + self.touched.capacity()
            + self.idle.capacity();
        let bytes = self.index.allocation_size()
            + self.cells.capacity() * size_of::<Cell>()
            + self.meta.capacity() * size_of::<Meta>()
            + numbers * 4
            + self.at_rest.bytes()
            + lists;
        self.charge.set(bytes);
    }

    /// Memory of an average slot.
    pub(crate) fn slot_bytes(&self) -> usize {
        let chunks = self.cells.len() - self.empty.len();
        if chunks == 0 {
            64
        } else {
            self.bytes() / (chunks * CHUNK_SLOTS) + 1
        }
    }

    /// Memory of an average chunk, from the oldest and the youngest one; before there is one, a guess.
    pub(crate) fn chunk_bytes(&self) -> usize {
        let bytes = |cell: &Cell| match cell {
            Cell::Empty => 0,
            cell => cell.get().bytes(),
        };
        let first = self.cells.first().map_or(0, bytes);
        let last = self.cells.last().map_or(0, bytes);
        match first.max(last) {
            0 => 512 + CHUNK_SLOTS * (16 + 16 * self.table.chunks.storage.len()),
            bytes => bytes,
        }
    }

    /// Memory of the whole cache, about.
    pub(crate) fn bytes(&self) -> usize {
        self.charge.bytes() + (self.cells.len() - self.empty.len()) * self.chunk_bytes()
    }

    pub(crate) fn report_dirty(&mut self) {
        let bytes = self.dirty * self.slot_bytes_quick();
        // The budget is shared by all threads: small changes are not worth touching it.
        if bytes != 0 && bytes.abs_diff(self.dirty_reported) < 4096 {
            return;
        }
        if bytes > self.dirty_reported {
            self.table.budget.add_dirty(bytes - self.dirty_reported);
        } else {
            self.table.budget.sub_dirty(self.dirty_reported - bytes);
        }
        self.dirty_reported = bytes;
    }

    pub(crate) fn dirty_bytes(&self) -> usize {
        self.dirty_reported
    }

    /// Memory that cannot leave before the end of the epoch.
    pub(crate) fn pinned_bytes(&self) -> usize {
        self.pinned * self.slot_bytes_quick()
    }

    fn slot_bytes_quick(&self) -> usize {
        self.chunk_bytes() / CHUNK_SLOTS + 16
    }
}
