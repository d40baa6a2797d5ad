//! The cache of one table (or one slice of it): slots, the bits that say how each stands, lookups and changes.
//!
//! ```text
//!   bits of a slot      meaning
//!   occupied            it has a key
//!   absent              no entry: fresh and never marked dirty, or removed
//!   dirty               the database does not have its present state (absent and dirty: a tombstone)
//!   frozen              the writer has not written its frozen state yet
//!   stored              the database may hold an entry of this key
//!   pinned              touched in this epoch
//!   fresh               its key was missing when it was touched first in this epoch
//!   used                touched in another epoch than its first one since the clock hand last came by
//!   often               touched in two epochs since then: the hand takes this first, and `used` when it comes by again
//!   loaded              came from the database, which has had an entry of this key ever since: the filter of what is at rest knows it
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::HashTable;
use weir_types::{KeyGroup, hash::key_group};

use super::at_rest::AtRest;
use super::bits::Bits;
use super::budget::Charge;
use super::chunk::{CHUNK_SLOTS, Cell, Chunk, ChunkLayout, FIRST_SLOTS, KeyBatch, KeyRef};
use super::context::TableContext;
use super::lists::Lists;
use super::ordered::Ordered;
use crate::backend::{Keys, TableIndex, Writes, after_prefix};
use crate::encoding::key;
use crate::snapshot::FreezeTrack;
use crate::{Error, Result};

/// A cache as its table's handles and the worker share it.
pub(crate) type CacheRef = Rc<RefCell<Cache>>;

/// Stands in a list of slots for a key without an entry.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// The hash by which the index finds a slot. Rows of one key share the upper half of their hashes, and of the upper bits the
/// index makes the marks by which it tells slots apart without looking at them: so the lower half is mixed in.
#[inline]
pub(super) fn spread(hash: u64) -> u64 {
    hash ^ (hash << 32)
}

/// How the slots of one chunk stand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meta {
    pub(crate) occupied: Bits,
    pub(crate) absent: Bits,
    pub(crate) dirty: Bits,
    pub(crate) frozen: Bits,
    pub(crate) stored: Bits,
    pub(crate) pinned: Bits,
    pub(crate) fresh: Bits,
    pub(crate) used: Bits,
    pub(crate) often: Bits,
    pub(crate) loaded: Bits,
}

impl Meta {
    /// The clock hand comes by: a chance is over. What is pinned keeps its own.
    pub(super) fn take_a_chance(&mut self) {
        self.used = self.used.and(&self.often.or(&self.pinned));
        self.often = self.often.and(&self.pinned);
    }
}

/// What `slots` does with a key that has no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Gives it a fresh slot.
    Create,
    /// Answers [`NO_SLOT`].
    Skip,
}

/// See the module's text.
pub(crate) struct Cache {
    pub(crate) table: Rc<TableContext>,
    /// The slice that it holds, in a table of slices.
    pub(crate) slice: Option<i64>,
    pub(crate) index: HashTable<u32>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) meta: Vec<Meta>,
    /// Chunks that may have a free slot (some entries are out of date).
    pub(super) open: Vec<u32>,
    /// Numbers of chunks whose cell is empty.
    pub(super) empty: Vec<u32>,
    pub(crate) free: usize,
    /// Entries in memory that are not absent.
    pub(crate) live: usize,
    /// Slots that are dirty.
    pub(crate) dirty: usize,
    /// Slots touched in this epoch.
    pub(crate) pinned: usize,
    /// Every live entry is in memory.
    pub(crate) complete: bool,
    /// What is not.
    pub(super) at_rest: AtRest,
    /// Entries that left memory so far.
    pub(super) evicted: u64,
    /// Something of it was handed to the database, so a drop has to delete it there.
    pub(crate) reached_database: bool,
    /// Chunks with a pinned slot.
    pub(super) touched: Vec<u32>,
    /// Slots that became absent in this epoch: freed at its end unless they are needed.
    pub(super) idle: Vec<u32>,
    /// The clock hand: the chunk that is looked at next.
    pub(crate) hand: usize,
    pub(crate) freeze: Option<FreezeTrack>,
    /// In a multimap: the rows of each key.
    pub(crate) lists: Option<Lists>,
    /// In a sorted table: the rows of each key, in order; not there before somebody walks through one.
    pub(crate) ordered: Option<Ordered>,
    /// In a multimap: where a probe of a large key stopped.
    pub(crate) resume: Option<super::multimap::Resume>,
    pub(super) charge: Charge,
    /// Bytes of dirty entries that were reported to the budget.
    pub(super) dirty_reported: usize,
}

impl Cache {
    /// `complete`: the database holds nothing of it.
    pub(crate) fn new(table: Rc<TableContext>, slice: Option<i64>, complete: bool) -> Self {
        let lists = (table.spec.layout == crate::Layout::MultiMap).then(Lists::default);
        let charge = Charge::new(&table.budget, 0);
        Self {
            table,
            slice,
            index: HashTable::new(),
            cells: Vec::new(),
            meta: Vec::new(),
            open: Vec::new(),
            empty: Vec::new(),
            free: 0,
            live: 0,
            dirty: 0,
            pinned: 0,
            complete,
            at_rest: AtRest::new(complete),
            evicted: 0,
            reached_database: !complete,
            touched: Vec::new(),
            idle: Vec::new(),
            hand: 0,
            freeze: None,
            lists,
            ordered: None,
            resume: None,
            charge,
            dirty_reported: 0,
        }
    }

    #[inline]
    pub(super) fn split(slot: u32) -> (usize, usize) {
        (slot as usize / CHUNK_SLOTS, slot as usize % CHUNK_SLOTS)
    }

    #[inline]
    pub(crate) fn chunk(&self, slot: u32) -> (&Chunk, usize) {
        let (chunk, i) = Self::split(slot);
        (self.cells[chunk].get(), i)
    }

    /// The slot that holds `key`, absent ones included.
    #[inline]
    pub(crate) fn lookup(&self, hash: u64, key: KeyRef<'_>) -> Option<u32> {
        let found = self
            .index
            .find(spread(hash), |&slot| self.has_key(slot, key));
        found.copied()
    }

    #[inline]
    fn has_key(&self, slot: u32, key: KeyRef<'_>) -> bool {
        let (chunk, i) = self.chunk(slot);
        chunk.keys.matches(i, key)
    }

    #[inline]
    pub(crate) fn touch(&mut self, slot: u32) {
        let (chunk, i) = Self::split(slot);
        let meta = &mut self.meta[chunk];
        if !meta.pinned.get(i) {
            if meta.pinned.is_empty() {
                self.touched.push(chunk as u32);
            }
            meta.pinned.set(i);
            if meta.used.get(i) {
                meta.often.set(i);
            }
            meta.used.set(i);
            self.pinned += 1;
        }
    }

    /// The slots of a batch of keys; `slots` is emptied first.
    pub(crate) fn slots(
        &mut self,
        keys: &KeyBatch<'_>,
        hashes: &[u64],
        missing: Missing,
        slots: &mut Vec<u32>,
    ) -> Result<()> {
        self.acknowledge();
        let mut unknown = self.known_slots(keys, hashes, slots);
        for slot in slots.iter_mut().filter(|slot| **slot != NO_SLOT) {
            self.touch(*slot);
            *slot = self.answer(*slot, missing);
        }
        if missing == Missing::Skip {
            unknown.retain(|&row| self.may_be_at_rest(hashes[row as usize]));
        }
        if unknown.is_empty() {
            return Ok(());
        }
        self.make_room(unknown.len())?;
        let mut loads = Keys::default();
        let mut load_slots = Vec::new();
        // In a loop of its own: many reads of the filter are under way at once.
        let may_be_at_rest: Vec<bool> = unknown
            .iter()
            .map(|&row| self.may_be_at_rest(hashes[row as usize]))
            .collect();
        for (&row, may_be_at_rest) in unknown.iter().zip(may_be_at_rest) {
            let (hash, key) = (hashes[row as usize], keys.get(row as usize));
            let slot = match self.lookup(hash, key) {
                Some(slot) => slot,
                None => {
                    let slot = self.insert(hash, key);
                    if may_be_at_rest {
                        self.put_database_key(hash, key, &mut loads.bytes);
                        loads.end_key();
                        load_slots.push(slot);
                    }
                    slot
                }
            };
            slots[row as usize] = slot;
        }
        self.load(&loads, &load_slots)?;
        self.update_charge();
        for &row in &unknown {
            slots[row as usize] = self.answer(slots[row as usize], missing);
        }
        Ok(())
    }

    /// The slots of the keys that the cache holds, [`NO_SLOT`] for the others; gives the rows of those.
    ///
    /// First the index alone, then the keys: entries lie far apart in memory, and of a short loop the processor has the reads
    /// of many rows under way at once.
    fn known_slots(&self, keys: &KeyBatch<'_>, hashes: &[u64], slots: &mut Vec<u32>) -> Vec<u32> {
        let marked = |&hash: &u64| self.index.find(spread(hash), |_| true).copied();
        slots.clear();
        slots.extend(hashes.iter().map(|hash| marked(hash).unwrap_or(NO_SLOT)));
        let mut unknown: Vec<u32> = Vec::new();
        for (row, slot) in slots.iter_mut().enumerate() {
            // The first slot with the mark is seldom that of another key; without one there is none.
            if *slot != NO_SLOT && !self.has_key(*slot, keys.get(row)) {
                *slot = self.lookup(hashes[row], keys.get(row)).unwrap_or(NO_SLOT);
            }
            if *slot == NO_SLOT {
                unknown.push(row as u32);
            }
        }
        unknown
    }

    /// What the caller gets for a slot: an absent one comes to life again, or is no slot.
    #[inline]
    fn answer(&mut self, slot: u32, missing: Missing) -> u32 {
        let (chunk, i) = Self::split(slot);
        if !self.meta[chunk].absent.get(i) {
            return slot;
        }
        if missing == Missing::Skip {
            return NO_SLOT;
        }
        if !self.meta[chunk].fresh.get(i) {
            self.meta[chunk].fresh.set(i);
            writable(&self.table, &mut self.cells[chunk]).set_all_null(i);
            self.idle.push(slot);
        }
        slot
    }

    /// A slot for a key that the cache does not hold: absent until it is marked dirty or loaded.
    pub(crate) fn insert(&mut self, hash: u64, key: KeyRef<'_>) -> u32 {
        let slot = self.take_free();
        let (chunk, i) = Self::split(slot);
        writable(&self.table, &mut self.cells[chunk]).occupy(i, hash, key);
        let meta = &mut self.meta[chunk];
        meta.occupied.set(i);
        meta.absent.set(i);
        meta.fresh.set(i);
        for bits in [
            &mut meta.dirty,
            &mut meta.frozen,
            &mut meta.stored,
            &mut meta.pinned,
            &mut meta.used,
            &mut meta.often,
            &mut meta.loaded,
        ] {
            bits.clear(i);
        }
        let cells = &self.cells;
        self.index.insert_unique(spread(hash), slot, |&slot| {
            let (chunk, i) = Self::split(slot);
            spread(cells[chunk].get().hashes[i])
        });
        self.idle.push(slot);
        self.touch(slot);
        // Most keys that come for the first time in a while do not come again soon.
        self.meta[chunk].used.clear(i);
        slot
    }

    /// Loads the rows of `keys` from the database into `slots`; what is not there stays absent.
    fn load(&mut self, keys: &Keys, slots: &[u32]) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        let table = self.table.clone();
        self.note_look_ups(slots.len());
        let mut reloaded = 0;
        table
            .backend
            .get_many(table.index, keys, &mut |index, row| {
                reloaded += 1;
                self.put_loaded(slots[index], row)
            })?;
        table.budget.reloaded.fetch_add(reloaded, Relaxed);
        Ok(())
    }

    /// Brings a slot to life with the row that the database has.
    pub(crate) fn put_loaded(&mut self, slot: u32, row: &[u8]) -> Result<()> {
        let (chunk, i) = Self::split(slot);
        writable(&self.table, &mut self.cells[chunk]).take_row(&self.table.chunks, i, row)?;
        let meta = &mut self.meta[chunk];
        meta.absent.clear(i);
        meta.fresh.clear(i);
        meta.stored.set(i);
        meta.loaded.set(i);
        self.live += 1;
        Ok(())
    }

    /// Replaces a slot's values by those of an encoded row.
    pub(crate) fn put_values(&mut self, slot: u32, row: &[u8]) -> Result<()> {
        let (chunk, i) = Self::split(slot);
        writable(&self.table, &mut self.cells[chunk]).take_row(&self.table.chunks, i, row)
    }

    /// The ranges of keys that the database may have entries of this cache in: one for the whole table, one for each
    /// key group of a slice.
    pub(crate) fn ranges_at_rest(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let range = self.table.range;
        if self.slice.is_none() {
            return vec![(
                range.start.to_be_bytes().to_vec(),
                range.end.to_be_bytes().to_vec(),
            )];
        }
        let ranges = (range.start..range.end).map(|group| {
            let mut from = Vec::new();
            key::put_prefix(KeyGroup(group), self.slice, &mut from);
            let to = after_prefix(&from);
            (from, to)
        });
        ranges.collect()
    }

    /// Appends the database's key of an entry.
    pub(crate) fn put_database_key(&self, hash: u64, key: KeyRef<'_>, out: &mut Vec<u8>) {
        key::put_prefix(self.table.group(hash), self.slice, out);
        key.encode(out);
    }

    #[inline]
    pub(crate) fn is_new(&self, slot: u32) -> bool {
        let (chunk, i) = Self::split(slot);
        self.meta[chunk].fresh.get(i)
    }

    #[inline]
    pub(crate) fn is_absent(&self, slot: u32) -> bool {
        let (chunk, i) = Self::split(slot);
        self.meta[chunk].absent.get(i)
    }

    pub(crate) fn mark_dirty(&mut self, slots: &[u32]) {
        for &slot in slots {
            self.set_dirty(slot);
        }
        self.report_dirty();
    }

    /// `mark_dirty` for one slot; the caller reports when it is through with all of them.
    #[inline]
    pub(super) fn set_dirty(&mut self, slot: u32) {
        let (chunk, i) = Self::split(slot);
        let meta = &mut self.meta[chunk];
        debug_assert!(
            meta.pinned.get(i),
            "a slot is changed in the epoch that looked it up"
        );
        if meta.absent.get(i) {
            meta.absent.clear(i);
            self.live += 1;
        }
        if !meta.dirty.get(i) {
            meta.dirty.set(i);
            self.dirty += 1;
        }
    }

    pub(crate) fn remove(&mut self, slots: &[u32]) {
        for &slot in slots {
            self.set_absent(slot);
        }
        self.report_dirty();
    }

    /// `remove` for one slot; the caller reports when it is through with all of them.
    #[inline]
    pub(super) fn set_absent(&mut self, slot: u32) {
        let (chunk, i) = Self::split(slot);
        let meta = &mut self.meta[chunk];
        debug_assert!(
            meta.pinned.get(i),
            "a slot is changed in the epoch that looked it up"
        );
        if !meta.absent.get(i) {
            meta.absent.set(i);
            self.live -= 1;
        }
        // Whoever asks for the key again gets a slot that is new.
        meta.fresh.clear(i);
        meta.loaded.clear(i);
        match (meta.stored.get(i), meta.dirty.get(i)) {
            (true, false) => {
                meta.dirty.set(i);
                self.dirty += 1;
            }
            (false, true) => {
                meta.dirty.clear(i);
                self.dirty -= 1;
            }
            _ => {}
        }
        self.idle.push(slot);
    }

    /// Unpins what the epoch touched and frees what has no entry and nothing to write.
    pub(crate) fn end_epoch(&mut self) {
        for chunk in self.touched.drain(..) {
            self.meta[chunk as usize].pinned = Bits::default();
            self.meta[chunk as usize].fresh = Bits::default();
        }
        self.pinned = 0;
        for slot in std::mem::take(&mut self.idle) {
            self.free_if_idle(slot);
        }
        self.update_charge();
    }

    /// Frees a slot that has no entry, nothing to write and nobody who holds it.
    pub(crate) fn free_if_idle(&mut self, slot: u32) {
        let (chunk, i) = Self::split(slot);
        let meta = &self.meta[chunk];
        let busy = meta.dirty.or(&meta.frozen).or(&meta.pinned);
        if meta.occupied.get(i) && meta.absent.get(i) && !busy.get(i) {
            self.release(slot);
        }
    }

    /// Gives a slot back. What the database does not have is lost: the caller made sure that it has it.
    pub(crate) fn release(&mut self, slot: u32) {
        let (chunk, i) = Self::split(slot);
        let hash = self.cells[chunk].get().hashes[i];
        match self.index.find_entry(spread(hash), |&other| other == slot) {
            Ok(entry) => {
                entry.remove();
            }
            Err(_) => unreachable!("an occupied slot is in the index"),
        }
        let absent = self.meta[chunk].absent.get(i);
        if let Some(lists) = &mut self.lists {
            lists.detach(slot, absent);
        }
        if let Some(ordered) = &mut self.ordered {
            let cells = &self.cells;
            ordered.detach(slot, absent, |slot| entry_bytes(cells, slot));
        }
        let meta = &mut self.meta[chunk];
        assert!(
            !meta.dirty.get(i) && !meta.frozen.get(i),
            "an entry that is not written may not be dropped"
        );
        meta.occupied.clear(i);
        if !absent {
            self.live -= 1;
            self.complete = false;
            self.evicted += 1;
            if !self.meta[chunk].loaded.get(i) {
                self.note_at_rest(hash);
            }
        }
        if self.free == 0 || self.meta[chunk].occupied.count() == CHUNK_SLOTS - 1 {
            self.open.push(chunk as u32);
        }
        self.free += 1;
        if self.meta[chunk].occupied.is_empty() {
            self.cells[chunk] = Cell::Empty;
            self.empty.push(chunk as u32);
            self.free -= CHUNK_SLOTS;
        }
    }

    /// A free slot; the caller made room.
    fn take_free(&mut self) -> u32 {
        loop {
            let chunk = *self.open.last().expect("room was made before") as usize;
            let free = match &self.cells[chunk] {
                Cell::Empty => None,
                _ => self.meta[chunk].occupied.first_clear(),
            };
            match free {
                Some(i) => {
                    self.free -= 1;
                    return (chunk * CHUNK_SLOTS + i) as u32;
                }
                None => {
                    self.open.pop();
                }
            }
        }
    }

    /// Adds a chunk, whatever the budget says.
    pub(crate) fn add_chunk(&mut self) {
        let slots = if self.index.is_empty() {
            FIRST_SLOTS
        } else {
            CHUNK_SLOTS
        };
        let chunk = Chunk::new(&self.table.chunks, slots, &self.table.budget);
        let cell = Cell::Owned(Box::new(chunk));
        let number = match self.empty.pop() {
            Some(number) => {
                self.cells[number as usize] = cell;
                self.meta[number as usize] = Meta::default();
                number
            }
            None => {
                self.cells.push(cell);
                self.meta.push(Meta::default());
                if let Some(lists) = &mut self.lists {
                    lists.grow(self.cells.len() * CHUNK_SLOTS);
                }
                if let Some(ordered) = &mut self.ordered {
                    ordered.grow(self.cells.len() * CHUNK_SLOTS);
                }
                self.cells.len() as u32 - 1
            }
        };
        assert!(
            self.cells.len() < (NO_SLOT as usize) / CHUNK_SLOTS,
            "a table holds too many entries in memory"
        );
        self.open.push(number);
        self.free += CHUNK_SLOTS;
    }

    /// The slots of all live entries in memory.
    pub(crate) fn live_slots(&self) -> Vec<u32> {
        let mut slots = Vec::with_capacity(self.live);
        for (chunk, meta) in self.meta.iter().enumerate() {
            if !matches!(self.cells[chunk], Cell::Empty) {
                let live = meta.occupied.and_not(&meta.absent);
                slots.extend(live.iter().map(|i| (chunk * CHUNK_SLOTS + i) as u32));
            }
        }
        slots
    }

    /// Gives back all memory: the slice was dropped, even if a handle of it is still around.
    pub(crate) fn retire(&mut self) {
        let fresh = Self::new(self.table.clone(), self.slice, true);
        *self = fresh;
    }

    /// Checks what [`crate::keyed`] promises; for tests.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let occupied: usize = self.meta.iter().map(|meta| meta.occupied.count()).sum();
        assert_eq!(occupied, self.index.len());
        let live: usize = self
            .meta
            .iter()
            .map(|meta| meta.occupied.and_not(&meta.absent).count())
            .sum();
        assert_eq!(live, self.live);
        let dirty: usize = self.meta.iter().map(|meta| meta.dirty.count()).sum();
        assert_eq!(dirty, self.dirty);
        let chunks = self
            .cells
            .iter()
            .filter(|cell| !matches!(cell, Cell::Empty))
            .count();
        assert_eq!(chunks * CHUNK_SLOTS - occupied, self.free);
        if let Some(ordered) = &self.ordered {
            ordered.check(|slot| entry_bytes(&self.cells, slot));
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.table.budget.sub_dirty(self.dirty_reported);
    }
}

/// The bytes of an entry of a multimap or a sorted table: key and row.
#[inline]
pub(super) fn entry_bytes(cells: &[Cell], slot: u32) -> &[u8] {
    let (chunk, i) = Cache::split(slot);
    match cells[chunk].get().keys.get(i) {
        KeyRef::Bytes(bytes) => bytes,
        KeyRef::Int(_) => unreachable!("the keys of rows are bytes"),
    }
}

/// A chunk to write to. Over budget, a copy of a frozen chunk waits until the writer is done with it.
#[inline]
pub(crate) fn writable<'a>(table: &TableContext, cell: &'a mut Cell) -> &'a mut Chunk {
    if !matches!(cell, Cell::Owned(_)) {
        wait_for_writer(table, cell);
    }
    cell.get_mut()
}

#[cold]
fn wait_for_writer(table: &TableContext, cell: &Cell) {
    loop {
        let seen = table.gate.progress();
        let free = !cell.is_held_by_writer() || table.budget.fits(cell.get().bytes());
        if free || !table.gate.is_closed() {
            return;
        }
        table.gate.wait_beyond(seen, &table.budget);
    }
}

/// Appends the write that brings a slot's state to the database; from its parts, because the cache is being changed.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of a table that can go to another thread"
)]
pub(crate) fn encode_write(
    table: TableIndex,
    layout: &ChunkLayout,
    key_groups: u16,
    slice: Option<i64>,
    chunk: &Chunk,
    i: usize,
    absent: bool,
    writes: &mut Writes,
) {
    key::put_prefix(
        key_group(chunk.hashes[i], key_groups),
        slice,
        &mut writes.bytes,
    );
    chunk.keys.get(i).encode(&mut writes.bytes);
    writes.end_key();
    if absent {
        writes.end_delete(table);
    } else {
        chunk.put_row(layout, i, &mut writes.bytes);
        writes.end_put(table);
    }
}

/// An entry that was counted below zero, or another promise that an operator broke.
pub(crate) fn broken(table: &TableContext, what: &str) -> Error {
    Error::Corrupt(format!(
        "state of operator {}, table '{}': {what}; the input is not a consistent changelog (or, if all of it is \
         append-only, this is a mistake in Weir)",
        table.spec.operator, table.spec.table
    ))
}
