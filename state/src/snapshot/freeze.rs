//! The frozen cut: which chunks the writer gets, and how a cache learns what has been written.
//!
//! A freeze turns `dirty` into `frozen` and shares the chunks; no value is copied. A frozen slot may change again at
//! once (then its chunk is copied) but is not evicted before the writer wrote it: so a read finds every value in the
//! cache or in the database, and the frozen layer needs no lookups of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::backend::{TableIndex, Writes};
use crate::keyed::{Bits, Cache, Chunk, ChunkLayout, encode_write};

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

    /// Appends the writes of chunk `number`; gives the number of entries.
    pub(crate) fn put_writes(&self, number: usize, writes: &mut Writes) -> u64 {
        let Some(frozen) = &self.chunks[number] else {
            return 0;
        };
        let before = writes.len();
        for (bits, absent) in [(frozen.puts, false), (frozen.deletes, true)] {
            for i in bits.iter() {
                let (table, layout) = (self.table, &self.layout);
                encode_write(
                    table,
                    layout,
                    self.key_groups,
                    self.slice,
                    &frozen.chunk,
                    i,
                    absent,
                    writes,
                );
            }
        }
        (writes.len() - before) as u64
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
            let slots = idle
                .iter()
                .map(|i| (number * crate::keyed::CHUNK_SLOTS + i) as u32);
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
