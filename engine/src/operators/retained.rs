//! State that gets old: around an operator that keeps state by key, what drops the state of keys that get no rows.
//!
//! ```text
//!   rows ─▶ moment of each row ─▶ within the TTL of the key's life? ── yes ──▶ operator
//!                                                                └─ no ──▶ waiting[key], by moment        (event time)
//!   end of the epoch ─▶ flush ─▶ what waits, life by life: forget the old one ─▶ operator ─▶ flush
//!                    └▶ lives that are over by the watermark: forget
//! ```
//!
//! A *life* of a key is a run of its rows in which no two neighbours are a TTL or more apart. While a life lasts its state is kept;
//! when it is over the state is dropped, nothing is taken back, and the next row begins another life as if none had been.
//!
//! **By event time** a row's *moment* is its event time, or its own watermark if it was behind that: no row can touch state in the
//! past, so none is late for it. A row within the TTL of the last moment belongs to the key's life whatever else is still to come,
//! and goes on at once. Any other may begin a life, or be joined to this one by rows that have not come yet: it waits until
//! the watermark has reached its moment. So lives hang on the rows alone. **By processing time** every row's moment is that of
//! its epoch, and nothing waits.
//!
//! # Invariants
//! 1. No row that is still to come has a moment before the watermark: what is decided at the watermark is decided for good.
//! 2. The first row of a life is the one with the least moment.
//! 3. A key's state is dropped only when everything that it has to give was given.
//! 4. A row whose event time is a TTL or more before its own watermark is late. So the rows of a life are younger than its first
//!    moment less the TTL, and a retraction that is older takes back what was dropped: it is left out, and counted as late.

mod waiting;

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{Int64Type, SchemaRef};
use weir_state::{MapTable, SortedTable};
use weir_types::{ChangeBatch, OperatorId, Watermark, hash};

use super::build::internal;
use super::due::{Due, DueKeys, taken};
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// Keys that are looked at together.
const KEYS_AT_ONCE: usize = 64;
/// Waiting keys are kept by stretches of event time no longer than this, in microseconds.
const WAITING_STRETCH_MAX: i64 = 100_000;

/// An operator that can drop the state of a key.
///
/// # Contract
/// `forget` is called when nothing of these keys is held for the end of the epoch. What was given for them stays given; a row
/// of them that comes later finds nothing.
pub(super) trait Forgets: Operator {
    /// Drops all state of these keys, which stand as in the operator's first state table.
    fn forget(&mut self, keys: &[ArrayRef], hashes: &[u64]) -> Result<()>;
}

/// One input of the operator inside.
pub(super) struct Input {
    /// The columns that the operator's state is keyed by.
    pub(super) keys: Vec<usize>,
    /// Its columns, without the one that only the TTL reads.
    pub(super) schema: SchemaRef,
    /// Whether rows may be taken back.
    pub(super) retractions: bool,
    /// By event time: rows that may begin a life.
    pub(super) waiting: Option<SortedTable>,
}

/// See the module's text.
pub(super) struct Retained {
    pub(super) operator: OperatorId,
    pub(super) inner: Box<dyn Forgets>,
    /// Microseconds.
    pub(super) ttl: i64,
    pub(super) inputs: Vec<Input>,
    /// key → first and last moment of its life.
    pub(super) lives: MapTable,
    pub(super) life_times: DueKeys,
    /// By event time: the keys of waiting rows.
    pub(super) waiting_times: Option<DueKeys>,
    pub(super) work: Work,
}

/// What is going on.
#[derive(Default)]
pub(super) struct Work {
    watermark: Option<i64>,
    /// Batches for the operator inside.
    queue: VecDeque<(usize, ChangeBatch)>,
    /// It said that it has more to give.
    inner_has_more: bool,
    phase: Phase,
    /// Waiting keys that are due.
    slices: VecDeque<i64>,
    slice: Option<i64>,
    chunks: VecDeque<Keys>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// Within an epoch.
    #[default]
    Rows,
    /// The operator inside has to flush, then more rows may be let go.
    Flush,
    /// It has flushed.
    Release,
}

/// Some keys.
struct Keys {
    columns: Vec<ArrayRef>,
    hashes: Vec<u64>,
}
impl Retained {
    fn by_event_time(&self) -> bool {
        self.waiting_times.is_some()
    }

    fn life_stretch(&self) -> i64 {
        (self.ttl / 8).max(1)
    }

    fn waiting_stretch(&self) -> i64 {
        self.life_stretch().min(WAITING_STRETCH_MAX)
    }

    fn failed(&self, error: arrow::error::ArrowError) -> crate::Error {
        internal(&self.operator, &error)
    }

    /// Calls the operator inside until there is something to give or nothing left to do.
    fn advance(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        loop {
            let progress = if self.work.inner_has_more {
                self.inner.resume(ctx)?
            } else if let Some((input, batch)) = self.work.queue.pop_front() {
                self.inner.on_batch(input, batch, ctx)?
            } else {
                match self.work.phase {
                    Phase::Rows => return Ok(Progress::Done),
                    Phase::Flush => {
                        self.work.phase = Phase::Release;
                        self.inner.on_epoch_end(ctx)?
                    }
                    Phase::Release => {
                        let more = self.release(ctx)?;
                        if !more {
                            self.expire(ctx)?;
                        }
                        self.work.phase = if more { Phase::Flush } else { Phase::Rows };
                        Progress::Done
                    }
                }
            };
            self.work.inner_has_more = progress == Progress::More;
            if ctx.output.is_some() {
                return Ok(Progress::More);
            }
        }
    }

    // ------------------------------------------------------------------ rows that come

    fn take_by_processing_time(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        now: i64,
    ) -> Result<()> {
        let keys = taken_columns(&batch.rows, &self.inputs[input].keys);
        let hashes = hash::hash_columns(&keys, batch.num_rows());
        let mut slots = Vec::new();
        self.lives.slots(&keys, &hashes, &mut slots)?;
        let mut over: Vec<u32> = Vec::new();
        let mut touched: Vec<u32> = Vec::new();
        let ttl = self.ttl;
        self.lives.with_columns(|columns| {
            for (row, &slot) in slots.iter().enumerate() {
                let last = (!columns.is_null(1, slot)).then(|| columns.i64(1, slot));
                if last == Some(now) {
                    continue;
                }
                touched.push(row as u32);
                if last.is_some_and(|last| last.saturating_add(ttl) <= now) {
                    over.push(row as u32);
                }
                if last.is_none_or(|last| last.saturating_add(ttl) <= now) {
                    columns.set_i64(0, slot, now);
                }
                columns.set_i64(1, slot, now);
            }
        });
        self.lives.mark_dirty(&slots);
        self.forget(&keys, &hashes, over)?;
        self.note_lives(&keys, &hashes, touched, |_| now)?;
        self.work.queue.push_back((input, batch));
        Ok(())
    }

    /// Notes when the lives of some keys may be over.
    fn note_lives(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        rows: Vec<u32>,
        last: impl Fn(usize) -> i64,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let stretch = self.life_stretch();
        let due =
            |&row: &u32| Due::in_stretch(last(row as usize).saturating_add(self.ttl), stretch);
        let dues: Vec<Due> = rows.iter().map(due).collect();
        let hashes: Vec<u64> = rows.iter().map(|&row| hashes[row as usize]).collect();
        let keys = taken(keys, &rows.into())?;
        self.life_times.note(&dues, &keys, &hashes)
    }

    fn forget(&mut self, keys: &[ArrayRef], hashes: &[u64], rows: Vec<u32>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let hashes: Vec<u64> = rows.iter().map(|&row| hashes[row as usize]).collect();
        self.inner.forget(&taken(keys, &rows.into())?, &hashes)
    }

    // ------------------------------------------------------------------ lives that are over

    /// Drops the state of keys whose life is over.
    fn expire(&mut self, ctx: &OperatorContext) -> Result<()> {
        let now = if self.by_event_time() {
            self.work.watermark
        } else {
            Some(ctx.now.0)
        };
        let Some(now) = now else { return Ok(()) };
        for slice in self.life_times.slices(now) {
            for batch in self.life_times.keys(slice)? {
                for keys in key_chunks(&batch) {
                    self.expire_keys(&keys, now)?;
                }
            }
            forget_due(&self.life_times, slice, self.life_stretch(), now)?;
        }
        Ok(())
    }

    fn expire_keys(&mut self, keys: &Keys, now: i64) -> Result<()> {
        let mut slots = Vec::new();
        self.lives.find(&keys.columns, &keys.hashes, &mut slots)?;
        let ttl = self.ttl;
        let over: Vec<u32> = self.lives.with_columns(|columns| {
            let is_over = |&(_, slot): &(usize, &u32)| {
                *slot != u32::MAX && columns.i64(1, *slot).saturating_add(ttl) <= now
            };
            let over = slots.iter().enumerate().filter(is_over);
            over.map(|(key, _)| key as u32).collect()
        });
        let gone: Vec<u32> = over.iter().map(|&key| slots[key as usize]).collect();
        self.forget(&keys.columns, &keys.hashes, over)?;
        self.lives.remove(&gone);
        Ok(())
    }
}

/// The keys of a batch of due keys, some at a time.
fn key_chunks(batch: &RecordBatch) -> Vec<Keys> {
    let columns = &batch.columns()[..batch.num_columns() - 1];
    let pieces = (0..batch.num_rows()).step_by(KEYS_AT_ONCE);
    pieces
        .map(|start| {
            let count = KEYS_AT_ONCE.min(batch.num_rows() - start);
            let columns: Vec<ArrayRef> = columns.iter().map(|c| c.slice(start, count)).collect();
            Keys {
                hashes: hash::hash_columns(&columns, count),
                columns,
            }
        })
        .collect()
}

/// Forgets the keys of a stretch whose moment has come.
fn forget_due(due: &DueKeys, slice: i64, stretch: i64, now: i64) -> Result<()> {
    if slice.saturating_add(stretch) <= now {
        return due.drop_slice(slice);
    }
    for batch in due.keys(slice)? {
        let at = batch
            .column(batch.num_columns() - 1)
            .as_primitive::<Int64Type>();
        let over: UInt32Array = (0..batch.num_rows())
            .filter(|&row| at.value(row) <= now)
            .map(|row| Some(row as u32))
            .collect();
        if !over.is_empty() {
            let keys = taken(&batch.columns()[..batch.num_columns() - 1], &over)?;
            due.remove(slice, &keys, &hash::hash_columns(&keys, over.len()))?;
        }
    }
    Ok(())
}

fn taken_columns(rows: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns
        .iter()
        .map(|&column| rows.column(column).clone())
        .collect()
}

impl Operator for Retained {
    fn on_batch(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        if self.by_event_time() {
            self.take_by_event_time(input, batch, ctx)?;
        } else {
            self.take_by_processing_time(input, batch, ctx.now.0)?;
        }
        self.advance(ctx)
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut OperatorContext) -> Result<Progress> {
        self.work.watermark = Some(watermark.0).filter(|&value| value != i64::MIN);
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.work.phase = Phase::Flush;
        if let (Some(due), Some(watermark)) = (&self.waiting_times, self.work.watermark) {
            self.work.slices = due.slices(watermark).into();
        }
        self.advance(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.advance(ctx)
    }

    fn holds_watermark(&self) -> bool {
        true
    }

    fn rejected_rows(&self) -> u64 {
        self.inner.rejected_rows()
    }
}
