//! The frozen cut: which chunks the writer gets, and how a cache learns what has been written.
//!
//! A freeze turns `dirty` into `frozen` and shares the chunks; no value is copied. A frozen slot may change again at
//! once (then its chunk is copied) but is not evicted before the writer wrote it: so a read finds every value in the
//! cache or in the database, and the frozen layer needs no lookups of its own.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use weir_types::hash::key_group;

use crate::backend::{FrozenEntries, TableIndex};
use crate::encoding::key;
use crate::keyed::{Bits, CHUNK_SLOTS, Cache, Chunk, ChunkLayout};

/// What an entry takes beside its bytes while it is sorted.
const SORTED_BYTES: usize = 64;

/// A chunk with what of it is to be written.
pub(crate) struct FrozenChunk {
    chunk: Arc<Chunk>,
    puts: Bits,
    deletes: Bits,
}

/// What a freeze of one cache gives to the writer.
pub(crate) struct Frozen {
    table: TableIndex,
    layout: Arc<ChunkLayout>,
    key_groups: u16,
    slice: Option<i64>,
    pub(crate) chunks: Vec<Option<FrozenChunk>>,
    /// Chunks that have been written, from the first one on.
    pub(crate) progress: Arc<AtomicUsize>,
}

impl Frozen {
    /// Whose entries they are.
    pub(crate) fn table(&self) -> TableIndex {
        self.table
    }

    /// The entries of chunk `number`, counted by their key groups; and about the memory that they take, and who sorts them.
    pub(crate) fn count(&self, number: usize, groups: &mut [u64]) -> (u64, usize) {
        let Some(FrozenChunk {
            chunk,
            puts,
            deletes,
        }) = &self.chunks[number]
        else {
            return (0, 0);
        };
        let changed = puts.or(deletes);
        for i in changed.iter() {
            let group = key_group(chunk.hashes[i], self.key_groups);
            if let Some(count) = groups.get_mut(usize::from(group.0)) {
                *count += 1;
            }
        }
        let entries = changed.count();
        let memory = entries * (chunk.bytes() / CHUNK_SLOTS + SORTED_BYTES);
        (entries as u64, memory)
    }

    /// The entries of some chunks.
    pub(crate) fn batch(&self, chunks: Range<usize>) -> FrozenBatch<'_> {
        FrozenBatch {
            frozen: self,
            chunks,
        }
    }

    /// Lets go of chunks up to `end`: they are in the database.
    pub(crate) fn finish(&mut self, end: usize) {
        let start = self.progress.load(Ordering::Relaxed);
        self.chunks[start..end]
            .iter_mut()
            .for_each(|chunk| *chunk = None);
        self.progress.store(end, Ordering::Release);
    }
}

/// Entries of some chunks of a freeze.
pub(crate) struct FrozenBatch<'a> {
    frozen: &'a Frozen,
    chunks: Range<usize>,
}

impl FrozenBatch<'_> {
    fn of(&self, number: usize) -> Option<&FrozenChunk> {
        self.frozen.chunks[number].as_ref()
    }

    /// The chunk of a place, and the slot in it.
    fn find(&self, place: u32) -> (&FrozenChunk, usize) {
        let number = self.chunks.start + place as usize / CHUNK_SLOTS;
        let chunk = self.of(number);
        let chunk = chunk.expect("a chunk without entries has no places");
        (chunk, place as usize % CHUNK_SLOTS)
    }
}

impl FrozenEntries for FrozenBatch<'_> {
    fn table(&self) -> TableIndex {
        self.frozen.table
    }

    fn memory(&self) -> usize {
        let chunks = self.chunks.clone().filter_map(|number| self.of(number));
        let memory = |frozen: &FrozenChunk| {
            let entries = frozen.puts.or(&frozen.deletes).count();
            frozen.chunk.bytes() / CHUNK_SLOTS * entries
        };
        chunks.map(memory).sum()
    }

    fn places(&self) -> Vec<u32> {
        let mut places = Vec::new();
        for (index, number) in self.chunks.clone().enumerate() {
            if let Some(frozen) = self.of(number) {
                let changed = frozen.puts.or(&frozen.deletes);
                places.extend(changed.iter().map(|i| (index * CHUNK_SLOTS + i) as u32));
            }
        }
        places
    }

    fn put_key(&self, place: u32, out: &mut Vec<u8>) {
        let (FrozenChunk { chunk, .. }, i) = self.find(place);
        let group = key_group(chunk.hashes[i], self.frozen.key_groups);
        key::put_prefix(group, self.frozen.slice, out);
        chunk.keys.get(i).encode(out);
    }

    fn put_row(&self, place: u32, out: &mut Vec<u8>) -> bool {
        let (frozen, i) = self.find(place);
        let is_put = frozen.puts.get(i);
        if is_put {
            frozen.chunk.put_row(&self.frozen.layout, i, out);
        }
        is_put
    }
}

/// A cache's side of a freeze that is under way.
pub(crate) struct FreezeTrack {
    chunks: Vec<u32>,
    progress: Arc<AtomicUsize>,
    acknowledged: usize,
}

impl Cache {
    /// Freezes what is dirty. An earlier freeze must have been finished.
    pub(crate) fn freeze(&mut self) -> Option<Frozen> {
        assert!(
            self.freeze.is_none(),
            "a second freeze waits for the first one's links"
        );
        let dirty: Vec<u32> = (0..self.meta.len())
            .filter(|&i| !self.meta[i].dirty.is_empty())
            .map(|i| i as u32)
            .collect();
        if dirty.is_empty() {
            return None;
        }
        let mut chunks = Vec::with_capacity(dirty.len());
        for &number in &dirty {
            let meta = &mut self.meta[number as usize];
            let puts = meta.dirty.and_not(&meta.absent);
            let deletes = meta.dirty.and(&meta.absent);
            meta.frozen = meta.dirty;
            meta.stored = meta.stored.or(&puts);
            meta.dirty = Bits::default();
            let chunk = self.cells[number as usize].share();
            chunks.push(Some(FrozenChunk {
                chunk,
                puts,
                deletes,
            }));
        }
        self.dirty = 0;
        self.report_dirty();
        self.reached_database = true;
        let progress = Arc::new(AtomicUsize::new(0));
        self.freeze = Some(FreezeTrack {
            chunks: dirty,
            progress: progress.clone(),
            acknowledged: 0,
        });
        Some(Frozen {
            table: self.table.index,
            layout: self.table.chunks.clone(),
            key_groups: self.table.key_groups,
            slice: self.slice,
            chunks,
            progress,
        })
    }

    /// Takes note of what the writer has written: those entries are clean now. What it failed to write is dirty again.
    pub(crate) fn acknowledge(&mut self) {
        let Some(mut track) = self.freeze.take() else {
            return;
        };
        // The gate first: once it is open, the progress is final.
        let finished = !self.table.gate.is_closed();
        let written = track.progress.load(Ordering::Acquire);
        for index in track.acknowledged..written {
            let number = track.chunks[index] as usize;
            self.meta[number].frozen = Bits::default();
            let meta = &self.meta[number];
            let idle = meta
                .occupied
                .and(&meta.absent)
                .and_not(&meta.dirty.or(&meta.pinned));
            let slots = idle.iter().map(|i| (number * CHUNK_SLOTS + i) as u32);
            slots.for_each(|slot| self.free_if_idle(slot));
        }
        track.acknowledged = written;
        if !finished {
            self.freeze = Some(track);
            return;
        }
        for &number in &track.chunks[written..] {
            let meta = &mut self.meta[number as usize];
            self.dirty += meta.frozen.and_not(&meta.dirty).count();
            meta.dirty = meta.dirty.or(&meta.frozen);
            meta.frozen = Bits::default();
        }
        self.report_dirty();
    }
}
