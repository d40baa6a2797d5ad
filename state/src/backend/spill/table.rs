//! What one table has spilled.
//!
//! ```text
//!   put ─▶ buffer ──full──▶ run ──8 of a tier──▶ one run of the next tier ─▶ …   too much of all: one run of all
//!   find ─▶ buffer ─▶ runs, the newest first
//! ```
//!
//! # Invariants
//! 1. A run of a tier is older than every run of the tiers before it, and in a tier the runs are in the order of their making.

use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use hashbrown::HashTable;

use super::memory::Held;
use super::record::{self, Record, damaged};
use super::run::{Extent, Found, PIECE_BYTES, Records, Run, RunWriter, merge};
use super::space::Space;
use crate::backend::Keys;
use crate::{Error, Result};

/// Runs of a tier that become one of the next tier.
const FAN: usize = if cfg!(test) { 2 } else { 8 };
/// Tiers. More of them would write an entry more often; the runs of the last one stay as they are.
const TIERS: usize = 3;
/// Bytes of records after which the table should go to the database: that takes about a second.
const RECORD_BYTES: u64 = if cfg!(test) { 128 << 10 } else { 128 << 20 };

/// A key that is looked up: which one it is, and where its record would be.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) number: usize,
    hash: u64,
    place: u64,
}

impl Wanted {
    pub(super) fn of(keys: &Keys, number: usize) -> Self {
        let key = keys.get(number);
        let hash = record::hash_of(key);
        Self {
            number,
            hash,
            place: record::place_of(hash, key),
        }
    }
}

/// What one table has spilled; see the module's text.
pub(super) struct SpilledTable {
    path: PathBuf,
    /// Of the runs, as soon as there was one.
    space: Option<Arc<Space>>,
    /// Bytes of the buffer.
    buffer_bytes: usize,
    buffer: Vec<u8>,
    /// The youngest record of each key in the buffer.
    index: HashTable<u32>,
    tiers: [Vec<Run>; TIERS],
    /// A merge failed: what it had taken is gone.
    is_lost: bool,
    /// To make one run of all was hardly worth it the last time.
    is_vain: bool,
    all: Arc<AtomicUsize>,
    held: Held,
    /// For what is read from runs.
    read: Vec<u8>,
}

impl SpilledTable {
    /// `path`: where its file is made. `all`: counts the memory.
    pub(super) fn new(path: PathBuf, buffer_bytes: usize, all: &Arc<AtomicUsize>) -> Self {
        Self {
            path,
            space: None,
            buffer_bytes,
            buffer: Vec::new(),
            index: HashTable::new(),
            tiers: Default::default(),
            is_lost: false,
            is_vain: false,
            all: all.clone(),
            held: Held::new(all),
            read: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.tiers.iter().all(Vec::is_empty)
    }

    /// Records, more than one of some keys.
    pub(super) fn records(&self) -> u64 {
        self.index.len() as u64 + self.extent().records
    }

    /// Memory in use.
    pub(super) fn memory(&self) -> usize {
        let runs = self.tiers.iter().flatten();
        self.held.bytes() + runs.map(|run| run.memory()).sum::<usize>()
    }

    /// Whether it has as much as may be here.
    pub(super) fn is_full(&self) -> bool {
        self.extent().bytes >= RECORD_BYTES
            || self.tiers.last().is_some_and(|last| last.len() >= FAN)
    }

    /// What all runs have.
    fn extent(&self) -> Extent {
        let runs = self.tiers.iter().flatten();
        let extents = runs.map(|run| run.records().extent());
        extents.fold(Extent::default(), Extent::and)
    }

    /// Whether one run of all may be smaller by a quarter, because it has one record of each key: what the largest run has it keeps.
    pub(super) fn may_shrink(&self) -> bool {
        let runs = self.tiers.iter().flatten();
        let largest = runs.map(|run| run.records().extent().records).max();
        let is_small = largest.is_some_and(|largest| largest <= self.extent().records / 4 * 3);
        is_small && !self.is_vain
    }

    /// Adds an entry, or the deletion of one.
    pub(super) fn put(&mut self, key: &[u8], row: Option<&[u8]>) -> Result<()> {
        self.check()?;
        let hash = record::hash_of(key);
        let length = record::length_of(key, row);
        if self.buffer.len() + length > self.buffer_bytes {
            self.flush()?;
            self.merge_full_tiers()?;
        }
        if self.buffer.is_empty() {
            // To double it again and again would leave up to half of it unused, and a large row is seldom followed by another.
            let bytes = self.buffer_bytes.max(length);
            if self.buffer.capacity() > bytes {
                self.buffer = Vec::new();
            }
            self.buffer.reserve_exact(bytes);
        }
        let at = self.buffer.len() as u32;
        record::put(hash, key, row, &mut self.buffer);
        let buffer = &self.buffer;
        let is_same = |&other: &u32| {
            let other = Record::first(&buffer[other as usize..]);
            other.is_some_and(|other| other.key == key)
        };
        let hash_at = |&at: &u32| hash_at(buffer, at);
        match self.index.find_mut(hash, is_same) {
            Some(older) => *older = at,
            None => {
                self.index.insert_unique(hash, at, hash_at);
            }
        }
        Ok(())
    }

    /// Takes note of the memory of the buffer.
    pub(super) fn note_memory(&mut self) {
        let bytes = self.buffer.capacity() + self.index.allocation_size() + self.read.capacity();
        if bytes != self.held.bytes() {
            self.held.set(bytes);
        }
    }

    /// Makes a run of the buffer.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.index.is_empty() {
            return Ok(());
        }
        self.note_memory();
        let space = self.space()?;
        let record = |at: u32| Record::first(&self.buffer[at as usize..]).ok_or_else(damaged);
        let mut order = Vec::with_capacity(self.index.len());
        for &at in &self.index {
            order.push((record(at)?.place(), at));
        }
        let key = |at: u32| record(at).map(|record| record.key).unwrap_or_default();
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(key(b.1))));
        let extent = Extent {
            places: order.first().zip(order.last()).map(|(a, b)| (a.0, b.0)),
            records: order.len() as u64,
            bytes: self.buffer.len() as u64,
        };
        let mut writer = RunWriter::new(&space, &extent, Held::new(&self.all));
        for &(_, at) in &order {
            writer.push(&record(at)?)?;
        }
        self.tiers[0].push(writer.finish()?);
        self.buffer.clear();
        self.index.clear();
        Ok(())
    }

    fn space(&mut self) -> Result<Arc<Space>> {
        Ok(match &self.space {
            Some(space) => space.clone(),
            None => self.space.insert(Space::create(&self.path)?).clone(),
        })
    }

    fn merge_full_tiers(&mut self) -> Result<()> {
        for tier in 0..TIERS - 1 {
            if self.tiers[tier].len() < FAN {
                return Ok(());
            }
            self.merge_tiers(tier..=tier, tier + 1)?;
        }
        Ok(())
    }

    /// Makes one run of all.
    pub(super) fn merge_all(&mut self) -> Result<()> {
        let before = self.extent().records;
        self.merge_tiers(0..=TIERS - 1, TIERS - 1)?;
        self.is_vain = self.extent().records > before / 4 * 3;
        Ok(())
    }

    /// Makes one run of those of some tiers. What finds their records goes first, so that there is never twice the memory.
    fn merge_tiers(&mut self, tiers: RangeInclusive<usize>, into: usize) -> Result<()> {
        let space = self.space()?;
        self.is_lost = true;
        let runs = self.tiers[tiers].iter_mut().flat_map(|tier| {
            let newest_first = tier.drain(..).rev();
            newest_first.map(|run| run.records().clone())
        });
        let runs: Vec<Records> = runs.collect();
        let extents = runs.iter().map(Records::extent);
        let extent = extents.fold(Extent::default(), Extent::and);
        let mut held = Held::new(&self.all);
        held.set(runs.len() * PIECE_BYTES);
        let mut writer = RunWriter::new(&space, &extent, Held::new(&self.all));
        merge(&runs, &mut |record| writer.push(record))?;
        self.tiers[into].push(writer.finish()?);
        self.is_lost = false;
        Ok(())
    }

    /// Looks keys up. `found` gets the number of each of which something was spilled, and its row, or that it was deleted; the
    /// others are left in `wanted`.
    pub(super) fn find(
        &mut self,
        keys: &Keys,
        wanted: &mut Vec<Wanted>,
        found: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<()> {
        self.check()?;
        self.find_in_buffer(keys, wanted, found)?;
        let mut marked: Vec<(usize, Range<u32>)> = Vec::new();
        for run in self.tiers.iter().flat_map(|tier| tier.iter().rev()) {
            // In a loop of its own: what finds records is far apart in memory, and many reads of it are under way at once.
            marked.clear();
            let ranges = wanted.iter().map(|key| run.may_have(key.place, key.hash));
            let ranges = ranges.enumerate();
            marked.extend(ranges.filter_map(|(i, range)| Some((i, range?))));
            for (i, range) in marked.drain(..).rev() {
                let Wanted { hash, number, .. } = wanted[i];
                match run.read(hash, keys.get(number), range, &mut self.read)? {
                    Found::Nothing => continue,
                    Found::Deleted => found(number, None),
                    Found::Row(range) => found(number, Some(&self.read[range])),
                }
                // What comes in its place was looked for already.
                wanted.swap_remove(i);
            }
        }
        Ok(())
    }

    fn find_in_buffer(
        &self,
        keys: &Keys,
        wanted: &mut Vec<Wanted>,
        found: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<()> {
        let record = |at: u32| Record::first(&self.buffer[at as usize..]);
        let mut result = Ok(());
        wanted.retain(|wanted| {
            let key = keys.get(wanted.number);
            let is_same = |&at: &u32| record(at).is_some_and(|record| record.key == key);
            let Some(&at) = self.index.find(wanted.hash, is_same) else {
                return true;
            };
            match record(at) {
                Some(record) => found(wanted.number, record.row),
                None => result = Err(damaged()),
            }
            false
        });
        result
    }

    /// All runs, the newest first; the buffer is one of them.
    pub(super) fn runs(&mut self) -> Result<Vec<Records>> {
        self.check()?;
        self.flush()?;
        let runs = self.tiers.iter().flat_map(|tier| tier.iter().rev());
        Ok(runs.map(|run| run.records().clone()).collect())
    }

    fn check(&self) -> Result<()> {
        if self.is_lost {
            return Err(Error::io("reading spilled state", "it was lost before"));
        }
        Ok(())
    }

    /// Leaves these runs behind: the database has them. Whatever else came meanwhile stays.
    pub(super) fn forget(&mut self, runs: &[Records]) {
        let is_gone = |run: &Run| runs.iter().any(|gone| gone.is_same(run.records()));
        self.tiers
            .iter_mut()
            .for_each(|tier| tier.retain(|run| !is_gone(run)));
        self.is_vain = false;
        if self.is_empty() {
            // What is seldom used takes no memory.
            self.buffer = Vec::new();
            self.index = HashTable::new();
            self.read = Vec::new();
        }
        self.note_memory();
    }
}

/// The hash of the record that begins here.
fn hash_at(buffer: &[u8], at: u32) -> u64 {
    let bytes = buffer
        .get(at as usize..)
        .and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
