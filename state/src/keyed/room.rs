//! Making room in memory.
//!
//! ```text
//!   a batch needs n slots ─▶ free ones? ─▶ the budget has a chunk? ─▶ a cold chunk of another table?
//!        ─▶ evict clean entries (those in use have a chance or two) ─▶ gate open: spill dirty ones and evict them
//!                                                  gate closed: wait for the writer
//!        ─▶ everything is pinned: take a chunk over budget; the epoch should end
//! ```

use std::sync::atomic::Ordering::Relaxed;

use super::bits::Bits;
use super::cache::{Cache, encode_write};
use super::chunk::{CHUNK_SLOTS, Cell};
use crate::Result;
use crate::backend::Writes;
use crate::error::pass;

/// Slots that one sweep tries to free, so that not every batch has to sweep: a part of all, and not more than so many.
const PART_PER_SWEEP: usize = 16;
const SLOTS_PER_SWEEP: usize = 4096;
/// Chunks of another table that are looked at for one chunk of ours.
const CHUNKS_ASKED: usize = 16;
/// Bytes of one batch of spilled rows.
const SPILL_BATCH_BYTES: usize = 1 << 20;

impl Cache {
    /// Makes sure of `slots` free slots and a hash table that need not grow for them.
    pub(crate) fn make_room(&mut self, slots: usize) -> Result<()> {
        while self.free < slots {
            let wanted = self.chunk_bytes() + self.index_growth(self.free + CHUNK_SLOTS);
            if self.table.budget.fits(wanted) || self.take_from_others() {
                self.add_chunk();
                continue;
            }
            let at_once = (self.index.len() / PART_PER_SWEEP).min(SLOTS_PER_SWEEP);
            let target = (slots - self.free).max(at_once);
            if self.evict_clean(target) > 0 || self.spill_or_wait(target)? {
                continue;
            }
            // Everything is pinned: the batch must go on, and the epoch should end.
            self.table.budget.epoch_should_end.store(true, Relaxed);
            self.add_chunk();
        }
        self.reserve_index(slots);
        Ok(())
    }

    /// Looks for a cold chunk in the worker's other tables.
    fn take_from_others(&self) -> bool {
        let caches = self.table.registry.caches();
        caches.iter().any(|cache| {
            cache
                .try_borrow_mut()
                .is_ok_and(|mut other| other.give_cold_chunk())
        })
    }

    /// Evicts one chunk all of whose entries are clean, unpinned and not used lately.
    fn give_cold_chunk(&mut self) -> bool {
        self.acknowledge();
        for _ in 0..CHUNKS_ASKED.min(self.cells.len()) {
            let chunk = self.advance_hand();
            let meta = &mut self.meta[chunk];
            let busy = meta.dirty.or(&meta.frozen).or(&meta.pinned).or(&meta.used);
            let cold = meta.occupied.and(&busy).is_empty();
            meta.take_a_chance();
            if cold && !meta.occupied.is_empty() {
                let occupied = meta.occupied;
                self.release_all(chunk, occupied);
                return matches!(self.cells[chunk], Cell::Empty);
            }
        }
        false
    }

    /// Evicts clean entries, the ones not used since the hand came by last; gives the number of freed slots.
    fn evict_clean(&mut self, target: usize) -> usize {
        self.acknowledge();
        let mut freed = 0;
        // Three rounds: the first ones may only take chances away.
        for _ in 0..3 * self.cells.len() {
            if freed >= target {
                break;
            }
            let chunk = self.advance_hand();
            if matches!(self.cells[chunk], Cell::Empty) {
                continue;
            }
            let meta = &mut self.meta[chunk];
            let busy = meta.dirty.or(&meta.frozen).or(&meta.pinned).or(&meta.used);
            let victims = meta.occupied.and_not(&busy);
            meta.take_a_chance();
            freed += victims.count();
            self.release_all(chunk, victims);
        }
        freed
    }

    /// Nothing clean is left: spills dirty entries and evicts them, or waits for the writer while the gate is closed.
    /// `false`: everything is pinned.
    fn spill_or_wait(&mut self, target: usize) -> Result<bool> {
        let seen = self.table.gate.progress();
        if !self.table.gate.is_closed() {
            self.acknowledge();
            return Ok(self.spill(target, Keep::Used)? > 0);
        }
        if self.index.len() <= self.pinned {
            return Ok(false);
        }
        pass("state.spill.at-gate")?;
        self.table.gate.wait_beyond(seen, &self.table.budget);
        self.acknowledge();
        Ok(true)
    }

    /// Writes dirty entries that are not pinned to the database, in the order of the hand; those that are in use only if there
    /// are not enough others, because they would soon be read, or written, again. The gate must be open.
    /// Gives the number of slots that it freed (or wrote, if they are kept).
    pub(crate) fn spill(&mut self, target: usize, keep: Keep) -> Result<usize> {
        let mut writes = Writes::default();
        let mut batch: Vec<(usize, Bits)> = Vec::new();
        let mut done = 0;
        let rounds = if keep == Keep::Nothing { 1 } else { 2 };
        for step in 0..rounds * self.cells.len() {
            if done >= target {
                break;
            }
            if step == self.cells.len() {
                // The second round looks at what the first one has left.
                self.finish_spill(&mut writes, &mut batch, keep)?;
            }
            let chunk = self.advance_hand();
            let meta = &mut self.meta[chunk];
            let mut busy = meta.frozen.or(&meta.pinned);
            if rounds == 2 && step < self.cells.len() {
                busy = busy.or(&meta.used);
            }
            if keep == Keep::Used {
                meta.take_a_chance();
            }
            let victims = match keep {
                Keep::Nothing | Keep::Used => meta.occupied.and_not(&busy),
                Keep::Entries => meta.dirty.and_not(&busy),
            };
            if victims.is_empty() {
                continue;
            }
            let meta = &self.meta[chunk];
            let table = &self.table;
            let content = self.cells[chunk].get();
            for i in meta.dirty.and(&victims).iter() {
                let absent = meta.absent.get(i);
                encode_write(
                    table.index,
                    &table.chunks,
                    table.key_groups,
                    self.slice,
                    content,
                    i,
                    absent,
                    &mut writes,
                );
            }
            done += victims.count();
            batch.push((chunk, victims));
            if writes.bytes.len() >= SPILL_BATCH_BYTES {
                self.finish_spill(&mut writes, &mut batch, keep)?;
            }
        }
        self.finish_spill(&mut writes, &mut batch, keep)?;
        self.report_dirty();
        Ok(done)
    }

    fn finish_spill(
        &mut self,
        writes: &mut Writes,
        batch: &mut Vec<(usize, Bits)>,
        keep: Keep,
    ) -> Result<()> {
        self.reached_database |= !writes.is_empty();
        pass("state.spill.before")?;
        self.table.registry.write(writes)?;
        writes.clear();
        for (chunk, victims) in batch.drain(..) {
            let meta = &mut self.meta[chunk];
            let written = meta.dirty.and(&victims);
            meta.dirty = meta.dirty.and_not(&victims);
            meta.stored = meta.stored.or(&written);
            self.dirty -= written.count();
            let gone = match keep {
                Keep::Nothing | Keep::Used => victims,
                Keep::Entries => victims.and(&meta.absent),
            };
            self.release_all(chunk, gone);
        }
        Ok(())
    }

    /// Gives memory back because the tables are over their limit: whole chunks, as far as nothing in them is pinned.
    pub(crate) fn shed(&mut self, bytes: usize) -> Result<usize> {
        self.acknowledge();
        let before = self
            .cells
            .iter()
            .filter(|cell| matches!(cell, Cell::Empty))
            .count();
        let slots = bytes / self.slot_bytes() + CHUNK_SLOTS;
        if self.table.gate.is_closed() {
            self.evict_clean(slots);
        } else {
            self.spill(slots, Keep::Nothing)?;
        }
        let after = self
            .cells
            .iter()
            .filter(|cell| matches!(cell, Cell::Empty))
            .count();
        Ok(after.saturating_sub(before) * self.chunk_bytes())
    }

    /// Evicts slots whose state the database has.
    fn release_all(&mut self, chunk: usize, slots: Bits) {
        let spilled = slots.and_not(&self.meta[chunk].absent).count() as u64;
        self.table.budget.spilled.fetch_add(spilled, Relaxed);
        slots
            .iter()
            .for_each(|i| self.release((chunk * CHUNK_SLOTS + i) as u32));
    }

    fn advance_hand(&mut self) -> usize {
        self.hand = if self.hand + 1 < self.cells.len() {
            self.hand + 1
        } else {
            0
        };
        self.hand
    }
}

/// What a spill leaves in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Evicts what it wrote, and the clean entries of the same chunks: chunks become empty.
    Nothing,
    /// The same, but entries that were used since the hand came by last have a second chance.
    Used,
    /// Entries stay, clean.
    Entries,
}
