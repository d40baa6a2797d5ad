//! Join of the rows of windows: pairs are given when the window ends, and are final.
//!
//! ```text
//!   left, right ──▶ [log: batches of young windows] ─ the window ends ─▶ rows whose keys meet ────────────┬─▶ pairs
//!                       │ a checkpoint, or not young any more                                             │
//!                       ▼                                                                                 │
//!                   [left rows by key] [right rows by key]  ─ the window ends ─▶ its keys, some at a time ┘
//!                   [window's end → its keys]
//! ```
//!
//! The window's end is among the keys. Whether a row is late was judged where it got its window; none comes for a window
//! that has ended. What an outer, semi or anti join gives of a side for itself is known then too.
//!
//! # Invariants
//! 1. Log and tables hold, on each side, the rows of the windows that have not ended, with their multiplicities; a window's
//!    are all in the log or all in the tables (`log.rs`).
//! 2. Windows are given in the order of their ends; a call gives at most one batch.
//! 3. A row with a NULL among its keys matches nothing; it is given at once if rows without a partner are.

mod chunk;
mod log;
mod matching;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use weir_state::{Matches, MultiMapTable, ProbeCursor};
use weir_types::{ChangeBatch, OperatorId, ProcessingTime, Watermark, hash};

use self::chunk::{Chunk, Loaded};
pub(super) use self::log::WindowLog;
use self::log::{Piece, Young};
use self::matching::{SideShape, matched};
use super::build::{internal, internal_text};
use super::due::{Due, DueKeys, taken};
use super::ready::Ready;
use super::residual::Residual;
use super::shape::{Alone, Shape};
use super::windows::to_micros;
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// Keys whose rows are in memory at once while a window is given.
const KEYS_PER_CHUNK: usize = 256;

/// Join of windows.
pub(super) struct WindowJoin {
    pub(super) operator: OperatorId,
    pub(super) log: WindowLog,
    pub(super) sides: [Side; 2],
    pub(super) windows: DueKeys,
    pub(super) residual: Residual,
    pub(super) shape: Shape,
    pub(super) ready: Ready,
    pub(super) firing: Option<Firing>,
}

/// One side.
pub(super) struct Side {
    /// Key columns of the input.
    pub(super) keys: Vec<usize>,
    /// The column of the window's end.
    pub(super) end: usize,
    pub(super) rows: MultiMapTable,
    /// Columns of the input.
    pub(super) schema: SchemaRef,
}

/// Windows on their way out.
#[derive(Default)]
pub(super) struct Firing {
    /// Ends of windows, the one that is being given first.
    windows: VecDeque<i64>,
    /// Keys of the first window that are still to be given: key columns, then `at`. `None`: not looked up yet.
    keys: Option<VecDeque<RecordBatch>>,
    chunk: Option<Chunk>,
}

impl WindowJoin {
    fn fire(&mut self, mut firing: Firing, ctx: &mut OperatorContext) -> Result<Progress> {
        loop {
            if let Some(batch) = self.ready.next(ctx.batch_rows)? {
                ctx.emit(batch);
                self.firing = Some(firing);
                return Ok(Progress::More);
            }
            if let Some(mut chunk) = firing.chunk.take() {
                if self.pairs(&mut chunk, ctx)? {
                    firing.chunk = Some(chunk);
                } else {
                    self.by_themselves(&chunk)?;
                }
                continue;
            }
            let Some(&window) = firing.windows.front() else {
                return Ok(Progress::Done);
            };
            if let Some(young) = self.log.take(window) {
                debug_assert!(
                    firing.keys.is_none(),
                    "a window is in the log or in the tables"
                );
                match self.matched(&young)? {
                    Some(chunk) => {
                        firing.chunk = Some(chunk);
                        firing.windows.pop_front();
                        continue;
                    }
                    None => self.put_in_tables(young)?,
                }
            }
            let keys = match &mut firing.keys {
                Some(keys) => keys,
                None => firing.keys.insert(self.keys_of(window)?),
            };
            match keys.pop_front() {
                Some(batch) => {
                    let count = KEYS_PER_CHUNK.min(batch.num_rows());
                    if count < batch.num_rows() {
                        keys.push_front(batch.slice(count, batch.num_rows() - count));
                    }
                    firing.chunk = Some(self.load(&batch.slice(0, count))?);
                }
                None => {
                    self.windows.drop_slice(window)?;
                    firing.windows.pop_front();
                    firing.keys = None;
                }
            }
        }
    }

    /// The rows of a window that never left the log, as far as they are given.
    fn matched(&self, young: &Young) -> Result<Option<Chunk>> {
        let shapes = [0, 1].map(|side: usize| SideShape {
            keys: &self.sides[side].keys,
            schema: &self.sides[side].schema,
            gives_unmatched: self.shape.alone(side) == Alone::Unmatched,
        });
        matched(young, shapes).map_err(|error| internal(&self.operator, &error))
    }

    /// Rows of a window leave the log.
    fn put_in_tables(&self, young: Young) -> Result<()> {
        for (input, pieces) in young.sides.into_iter().enumerate() {
            for piece in pieces {
                self.put(input, &piece)?;
            }
        }
        Ok(())
    }

    /// Puts rows into the tables.
    fn put(&self, input: usize, Piece { rows, hashes }: &Piece) -> Result<()> {
        let side = &self.sides[input];
        let keys = side.keys_of(rows);
        side.rows
            .apply(&keys, hashes, rows, &vec![1; hashes.len()])?;
        let ends = self.ends_of(input, rows)?;
        let dues: Vec<Due> = ends
            .values()
            .iter()
            .map(|&end| Due {
                slice: end,
                at: end,
            })
            .collect();
        self.windows.note(&dues, &keys, hashes)
    }

    /// The ends of the windows of rows, in microseconds.
    fn ends_of(&self, input: usize, rows: &RecordBatch) -> Result<Int64Array> {
        to_micros(rows.column(self.sides[input].end))
            .ok_or_else(|| internal_text(&self.operator, "a window's end is not a timestamp"))
    }

    /// Keeps rows, none of whose keys is NULL.
    fn keep(&mut self, input: usize, rows: RecordBatch, ctx: &OperatorContext) -> Result<()> {
        let hashes = hash::hash_columns(&self.sides[input].keys_of(&rows), rows.num_rows());
        let all = Piece { rows, hashes };
        let ends = self.ends_of(input, &all.rows)?;
        let mut for_tables = Vec::new();
        let windows = by_window(ends.values());
        for (end, rows) in &windows {
            let in_tables = || self.windows.holds(*end);
            if self.log.takes(*end, in_tables) {
                let piece = all
                    .some(rows)
                    .map_err(|error| internal(&self.operator, &error))?;
                self.log.push(*end, input, piece, ctx.now);
            } else {
                for_tables.extend(rows);
            }
        }
        while let Some((_, young)) = self.log.overflow() {
            self.put_in_tables(young)?;
        }
        if for_tables.is_empty() {
            return Ok(());
        }
        for_tables.sort_unstable();
        let piece = all.some(&for_tables);
        self.put(
            input,
            &piece.map_err(|error| internal(&self.operator, &error))?,
        )
    }

    /// The keys of a window of whose rows anything is given. The rows of the others go at once, unread: where the greatest price
    /// of a window meets its bids, all keys but one are such.
    fn keys_of(&self, window: i64) -> Result<VecDeque<RecordBatch>> {
        let keys = self.windows.keys(window)?.into_iter();
        if !self.sides.iter().all(|side| side.rows.is_in_memory()) {
            return Ok(keys.collect());
        }
        let mut sifted = keys
            .map(|batch| self.sifted(batch))
            .collect::<Result<VecDeque<_>>>()?;
        sifted.retain(|batch| batch.num_rows() > 0);
        Ok(sifted)
    }

    /// The keys of a batch that have rows which are given, by themselves or beside others.
    fn sifted(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let keys = &batch.columns()[..batch.num_columns() - 1];
        let hashes = hash::hash_columns(keys, batch.num_rows());
        let [left, right] = &self.sides;
        let left = left.rows.contains(keys, &hashes, None)?;
        let right = right.rows.contains(keys, &hashes, None)?;
        let mut wanted = &left & &right;
        for (side, here) in [left, right].into_iter().enumerate() {
            if self.shape.alone(side) == Alone::Unmatched {
                wanted = &wanted | &here;
            }
        }
        if wanted.count_set_bits() == wanted.len() {
            return Ok(batch);
        }
        let (mut kept, rest): (Vec<u32>, Vec<u32>) =
            (0..batch.num_rows() as u32).partition(|&key| wanted.value(key as usize));
        let gone = taken(keys, &rest.clone().into())?;
        let hashes: Vec<u64> = rest.iter().map(|&key| hashes[key as usize]).collect();
        for side in &self.sides {
            let left_there = side.rows.forget(&gone, &hashes)?;
            kept.extend(left_there.iter().map(|&key| rest[key as usize]));
        }
        kept.sort_unstable();
        kept.dedup();
        take_record_batch(&batch, &UInt32Array::from(kept))
            .map_err(|error| internal(&self.operator, &error))
    }

    /// Takes the rows of these keys out of state.
    fn load(&self, batch: &RecordBatch) -> Result<Chunk> {
        let keys = &batch.columns()[..batch.num_columns() - 1];
        let hashes = hash::hash_columns(keys, batch.num_rows());
        let sides = [
            self.load_side(0, keys, &hashes)?,
            self.load_side(1, keys, &hashes)?,
        ];
        Ok(Chunk::new(sides))
    }

    fn load_side(&self, side: usize, keys: &[ArrayRef], hashes: &[u64]) -> Result<Loaded> {
        let side = &self.sides[side];
        let mut pages: Vec<Matches> = Vec::new();
        let mut cursor = Some(ProbeCursor::default());
        while let Some(at) = cursor {
            let (matches, next) = side.rows.probe(keys, hashes, None, at, 8192)?;
            pages.push(matches);
            cursor = next;
        }
        let rows = concat_batches(&side.schema, pages.iter().map(|page| &page.rows))
            .map_err(|error| internal(&self.operator, &error))?;
        let (mut of_keys, mut starts) = (Vec::new(), Vec::with_capacity(hashes.len() + 1));
        let mut row = 0;
        for page in &pages {
            for (&key, &count) in page.probe_rows.values().iter().zip(&page.counts) {
                while starts.len() <= key as usize {
                    starts.push(of_keys.len());
                }
                of_keys.extend((0..count).map(|_| row));
                row += 1;
            }
            let hashes: Vec<u64> = page
                .probe_rows
                .values()
                .iter()
                .map(|&key| hashes[key as usize])
                .collect();
            let weights: Vec<i64> = page.counts.iter().map(|count| -count).collect();
            let keys = taken(keys, &page.probe_rows)?;
            side.rows.apply(&keys, &hashes, &page.rows, &weights)?;
        }
        while starts.len() <= hashes.len() {
            starts.push(of_keys.len());
        }
        Ok(Loaded {
            rows,
            of_keys,
            starts,
        })
    }

    /// Looks at more pairs; `false` if there are none left.
    fn pairs(&mut self, chunk: &mut Chunk, ctx: &mut OperatorContext) -> Result<bool> {
        if !self.shape.gives_pairs() && self.residual.is_none() {
            // Only whether there is a partner counts.
            chunk.find_partners();
            return Ok(false);
        }
        let pairs = chunk.next_pairs(ctx.batch_rows.max(1));
        if pairs.is_empty() {
            return Ok(false);
        }
        let gives_pairs = self.shape.gives_pairs();
        let (mut left, mut right): (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
        if gives_pairs || !self.residual.is_none() {
            let columns = |side: usize, rows: &[u32]| {
                let rows = UInt32Array::from(rows.to_vec());
                taken(chunk.sides[side].rows.columns(), &rows)
            };
            let (here, there) = (columns(0, &left)?, columns(1, &right)?);
            let mut rows = self.shape.paired(0, here, there)?;
            let counts = vec![1; left.len()];
            let holds = self.residual.holds(&rows, &counts, ctx.now)?;
            ctx.failed.append(&mut self.residual.errors);
            if let Some(keep) = holds {
                let is_kept = |rows: &mut Vec<u32>| {
                    let mut kept = keep.iter().map(|keep| keep == Some(true));
                    rows.retain(|_| kept.next().unwrap_or(false));
                };
                is_kept(&mut left);
                is_kept(&mut right);
                rows = filter_record_batch(&rows, &keep)
                    .map_err(|error| internal(&self.operator, &error))?;
            }
            if gives_pairs {
                self.ready.push(rows, vec![1; left.len()], Vec::new());
            }
        }
        for (side, rows) in [left, right].into_iter().enumerate() {
            for row in rows {
                chunk.has_partner[side][row as usize] = true;
            }
        }
        Ok(true)
    }

    /// The rows of a chunk that are given for themselves.
    fn by_themselves(&mut self, chunk: &Chunk) -> Result<()> {
        for (side, loaded) in chunk.sides.iter().enumerate() {
            let wanted = match self.shape.alone(side) {
                Alone::Never => continue,
                Alone::Unmatched => false,
                Alone::Matched => true,
            };
            let has_partner = &chunk.has_partner[side];
            let rows = loaded.of_keys.iter().copied();
            let rows: Vec<u32> = rows
                .filter(|&row| has_partner[row as usize] == wanted)
                .collect();
            let counts = vec![1; rows.len()];
            let columns = taken(loaded.rows.columns(), &rows.into())?;
            let rows = self.shape.by_itself(side, columns)?;
            self.ready.push(rows, counts, Vec::new());
        }
        Ok(())
    }
}

impl Side {
    fn keys_of(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        let keys = self.keys.iter();
        keys.map(|&key| rows.column(key).clone()).collect()
    }
}

impl Piece {
    /// Some of its rows, in ascending order.
    fn some(&self, rows: &[u32]) -> std::result::Result<Self, ArrowError> {
        let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else {
            return Ok(Self {
                rows: self.rows.slice(0, 0),
                hashes: Vec::new(),
            });
        };
        let (first, end) = (first as usize, last as usize + 1);
        if end - first == rows.len() {
            return Ok(Self {
                rows: self.rows.slice(first, rows.len()),
                hashes: self.hashes[first..end].to_vec(),
            });
        }
        Ok(Self {
            rows: take_record_batch(&self.rows, &UInt32Array::from(rows.to_vec()))?,
            hashes: rows.iter().map(|&row| self.hashes[row as usize]).collect(),
        })
    }
}

/// Rows by the end of their window, windows in the order of their first rows.
fn by_window(ends: &[i64]) -> Vec<(i64, Vec<u32>)> {
    let mut windows: Vec<(i64, Vec<u32>)> = Vec::new();
    let mut place_of = HashMap::new();
    let mut last = usize::MAX;
    for (row, &end) in ends.iter().enumerate() {
        // Neighbours are mostly of one window.
        if last == usize::MAX || windows[last].0 != end {
            last = *place_of.entry(end).or_insert_with(|| {
                windows.push((end, Vec::new()));
                windows.len() - 1
            });
        }
        windows[last].1.push(row as u32);
    }
    windows
}

impl Operator for WindowJoin {
    fn on_batch(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        if batch.retracted.is_some() {
            let message = "a join of windows cannot take rows back";
            return Err(internal_text(&self.operator, message));
        }
        let side = &self.sides[input];
        let keys = side.keys_of(&batch.rows);
        let nulls: Vec<_> = keys.iter().filter_map(|key| key.logical_nulls()).collect();
        let has_nulls = nulls.iter().any(|nulls| nulls.null_count() > 0);
        let (kept, alone): (Vec<u32>, Vec<u32>) = if has_nulls {
            (0..batch.num_rows() as u32)
                .partition(|&row| nulls.iter().all(|nulls| nulls.is_valid(row as usize)))
        } else {
            Default::default()
        };
        // Most batches are kept as they are.
        let columns = if has_nulls {
            taken(batch.rows.columns(), &kept.into())?
        } else {
            batch.rows.columns().to_vec()
        };
        let rows = RecordBatch::try_new(Arc::clone(&side.schema), columns)
            .map_err(|error| internal(&self.operator, &error))?;
        self.keep(input, rows, ctx)?;
        if self.shape.alone(input) == Alone::Unmatched && !alone.is_empty() {
            let counts = vec![1; alone.len()];
            let columns = taken(batch.rows.columns(), &alone.into())?;
            let rows = self.shape.by_itself(input, columns)?;
            self.ready.push(rows, counts, Vec::new());
        }
        self.fire(Firing::default(), ctx)
    }

    fn on_watermark(
        &mut self,
        watermark: Watermark,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let mut windows = self.windows.slices(watermark.0);
        windows.extend(self.log.due(watermark.0));
        windows.sort_unstable();
        let firing = Firing {
            windows: windows.into(),
            keys: None,
            chunk: None,
        };
        self.fire(firing, ctx)
    }

    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        while let Some((_, young)) = self.log.old(ctx.now) {
            self.put_in_tables(young)?;
        }
        Ok(Progress::Done)
    }

    fn settle(&mut self) -> Result<()> {
        while let Some((_, young)) = self.log.any() {
            self.put_in_tables(young)?;
        }
        Ok(())
    }

    fn held(&self) -> (u64, u64) {
        self.log.size()
    }

    fn next_due(&self, now: ProcessingTime) -> Result<Option<i64>> {
        let in_log = self.log.next(now.0);
        Ok(in_log.into_iter().chain(self.windows.next(now.0)?).min())
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.firing.take() {
            Some(firing) => self.fire(firing, ctx),
            None => Ok(Progress::Done),
        }
    }

    fn rejected_rows(&self) -> u64 {
        self.residual.rejected_rows
    }
}
