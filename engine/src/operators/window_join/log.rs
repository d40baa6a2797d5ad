//! Rows of windows that are young, as the batches that they came in: most windows of a backlog end within a fraction of a
//! second, and then none of their rows was ever an entry of keyed state.
//!
//! ```text
//!   row ─▶ is its window in the log, or new? ─▶ log ─▶ the window ends ─▶ matching.rs
//!                │ no                            │
//!                ▼                               │ a checkpoint begins, the window gets old, the log is full
//!              tables ◀──────────────────────────┘
//! ```
//!
//! # Invariants
//! 1. All rows of a window are in the log, or all are in the tables: once a row of it is there, the others follow.
//! 2. When state is frozen the log is empty.
//! 3. The log holds at most [`ROWS_MAX`] rows and what the memory budget lets it: what it holds goes into the tables at once.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use weir_state::HeldMemory;
use weir_types::{DataType, ProcessingTime};

use crate::column_bytes::{column_bytes, compact};

/// Rows that the log holds at most. More would only make a checkpoint wait longer for the tables to take them.
const ROWS_MAX: usize = if cfg!(test) { 24 } else { 1 << 18 };
/// The same in bytes.
const BYTES_MAX: usize = 32 << 20;
/// How long a window's rows stay here, in microseconds of processing time: longer than two of the longest epochs, because
/// within an epoch that time stands still.
const AGE_MAX_MICROS: i64 = 2_500_000;
/// How many windows go to the tables from their first row on after one that had to leave: where time passes as it does
/// outside, all of them would have to.
const WINDOWS_PASSED_BY: u32 = if cfg!(test) { 2 } else { 16 };

/// See the module's text.
pub(in crate::operators) struct WindowLog {
    /// By the window's end.
    windows: BTreeMap<i64, Young>,
    rows: usize,
    bytes: usize,
    memory: HeldMemory,
    /// New windows that are still to go to the tables at once.
    pass_by: u32,
    /// Whether keys can be compared without the tables.
    is_usable: bool,
}

/// The rows of a window that is in the log.
pub(super) struct Young {
    /// When its first row came.
    since: ProcessingTime,
    pub(super) sides: [Vec<Piece>; 2],
    /// About what they take.
    bytes: usize,
}

/// Rows that came together.
pub(super) struct Piece {
    pub(super) rows: RecordBatch,
    /// Of their keys, none of which is NULL.
    pub(super) hashes: Vec<u64>,
}

impl WindowLog {
    /// `keys`: the types of both sides' keys.
    pub(in crate::operators) fn new(keys: [Vec<DataType>; 2], memory: HeldMemory) -> Self {
        Self {
            windows: BTreeMap::new(),
            rows: 0,
            bytes: 0,
            memory,
            pass_by: 0,
            is_usable: keys[0] == keys[1] && keys[0].iter().all(is_simple),
        }
    }

    /// Whether a window's next row goes here. `in_tables`: whether the tables hold rows of it.
    pub(super) fn takes(&mut self, end: i64, in_tables: impl FnOnce() -> bool) -> bool {
        if self.windows.contains_key(&end) {
            return true;
        }
        if !self.is_usable || in_tables() {
            return false;
        }
        if self.pass_by > 0 {
            self.pass_by -= 1;
            return false;
        }
        true
    }

    /// Adds rows of a window that it takes.
    pub(super) fn push(&mut self, end: i64, side: usize, piece: Piece, now: ProcessingTime) {
        let piece = Piece {
            rows: compact(piece.rows),
            hashes: piece.hashes,
        };
        let bytes = piece.bytes();
        self.rows += piece.hashes.len();
        self.bytes += bytes;
        let young = self.windows.entry(end).or_insert_with(|| Young {
            since: now,
            sides: [Vec::new(), Vec::new()],
            bytes: 0,
        });
        young.bytes += bytes;
        young.sides[side].push(piece);
    }

    /// A window that has to leave, with its rows, because the log is full.
    pub(super) fn overflow(&mut self) -> Option<(i64, Young)> {
        let fits = self.rows <= ROWS_MAX
            && self.bytes <= BYTES_MAX
            && (self.memory.try_set(self.bytes) || self.windows.is_empty());
        if fits {
            return None;
        }
        let largest = self.windows.iter().max_by_key(|(_, young)| young.rows());
        let end = largest.map(|(&end, _)| end)?;
        self.leave(end)
    }

    /// Windows that have to leave because they do not end soon.
    pub(super) fn old(&mut self, now: ProcessingTime) -> Option<(i64, Young)> {
        let is_old = |young: &Young| now.0.saturating_sub(young.since.0) > AGE_MAX_MICROS;
        let found = self.windows.iter().find(|(_, young)| is_old(young));
        let end = found.map(|(&end, _)| end)?;
        self.leave(end)
    }

    fn leave(&mut self, end: i64) -> Option<(i64, Young)> {
        self.pass_by = WINDOWS_PASSED_BY;
        Some((end, self.take(end)?))
    }

    /// Any window.
    pub(super) fn any(&mut self) -> Option<(i64, Young)> {
        let end = self.windows.keys().next().copied()?;
        Some((end, self.take(end)?))
    }

    /// Takes a window out.
    pub(super) fn take(&mut self, end: i64) -> Option<Young> {
        let young = self.windows.remove(&end)?;
        self.rows -= young.rows();
        self.bytes -= young.bytes;
        // What is still too much is seen by `overflow`.
        let _ = self.memory.try_set(self.bytes);
        Some(young)
    }

    /// Ends of its windows up to a moment.
    pub(super) fn due(&self, up_to: i64) -> impl Iterator<Item = i64> + '_ {
        self.windows.range(..=up_to).map(|(&end, _)| end)
    }

    /// The first of its windows that ends after a moment.
    pub(super) fn next(&self, now: i64) -> Option<i64> {
        self.windows.keys().copied().find(|&end| end > now)
    }

    /// Its rows, and about the bytes that they take.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.rows as u64, self.bytes as u64)
    }
}

impl Young {
    pub(super) fn rows_of(&self, side: usize) -> usize {
        self.sides[side]
            .iter()
            .map(|piece| piece.hashes.len())
            .sum()
    }

    fn rows(&self) -> usize {
        self.rows_of(0) + self.rows_of(1)
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        let columns = self.rows.columns().iter();
        columns.map(column_bytes).sum::<usize>() + self.hashes.capacity() * 8
    }
}

/// Whether equal keys of that type are equal values of one Arrow type.
fn is_simple(data_type: &DataType) -> bool {
    !matches!(
        data_type,
        DataType::Null
            | DataType::Interval
            | DataType::Array(_)
            | DataType::Row(_)
            | DataType::Map(..)
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A window with these rows.
    pub(in super::super) fn young(sides: [Vec<Piece>; 2]) -> Young {
        Young {
            since: ProcessingTime(0),
            sides,
            bytes: 0,
        }
    }
}
