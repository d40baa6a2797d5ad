//! Keys that have something to do at a moment: sessions that close, windows that end, rows that no partner can reach.
//!
//! ```text
//!   slice (a stretch of event time)      key ─▶ at: the latest moment noted for it within the slice
//!   watermark ─▶ the slices that are due ─▶ their keys, batch by batch
//! ```
//!
//! State keeps the keys by slice, so that what comes and goes between two checkpoints never reaches the database and
//! what is over is dropped whole.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_state::{SliceTable, SortedTable};
use weir_types::{ChangeBatch, hash};

use crate::{Error, Result};

/// Keys by when they have something to do.
pub(super) struct DueKeys {
    table: SliceTable,
}

/// When a row's key has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The slice under which it is kept.
    pub(super) slice: i64,
    /// The exact moment.
    pub(super) at: i64,
}

impl Due {
    /// A moment, kept under the stretch of that length that it lies in.
    pub(super) fn in_stretch(at: i64, stretch: i64) -> Self {
        Self {
            slice: at.div_euclid(stretch) * stretch,
            at,
        }
    }
}

impl DueKeys {
    /// Over a table of slices with one BIGINT as its value.
    pub(super) fn new(table: SliceTable) -> Self {
        Self { table }
    }

    /// Notes the key of each row; the latest moment of a slice stays.
    pub(super) fn note(&self, dues: &[Due], keys: &[ArrayRef], hashes: &[u64]) -> Result<()> {
        let Some(first) = dues.first() else {
            return Ok(());
        };
        // Rows come in the order of time, about: most batches lie in one slice.
        if dues.iter().all(|due| due.slice == first.slice) {
            return self.note_in(first.slice, dues.iter().map(|due| due.at), keys, hashes);
        }
        let mut by_slice: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (row, due) in dues.iter().enumerate() {
            by_slice.entry(due.slice).or_default().push(row as u32);
        }
        for (slice, rows) in by_slice {
            let hashes: Vec<u64> = rows.iter().map(|&row| hashes[row as usize]).collect();
            let moments: Vec<i64> = rows.iter().map(|&row| dues[row as usize].at).collect();
            let keys = taken(keys, &rows.into())?;
            self.note_in(slice, moments, &keys, &hashes)?;
        }
        Ok(())
    }

    /// Notes keys in one slice.
    fn note_in(
        &self,
        slice: i64,
        moments: impl IntoIterator<Item = i64>,
        keys: &[ArrayRef],
        hashes: &[u64],
    ) -> Result<()> {
        let mut slots = Vec::with_capacity(hashes.len());
        let table = self.table.slice(slice)?;
        table.slots(keys, hashes, &mut slots)?;
        table.with_columns(|columns| {
            for (&slot, at) in slots.iter().zip(moments) {
                if columns.is_null(0, slot) || columns.i64(0, slot) < at {
                    columns.set_i64(0, slot, at);
                }
            }
        });
        table.mark_dirty(&slots);
        Ok(())
    }

    /// Keeps some rows of a batch in `rows`, under the columns `keys`, and notes their keys for when each row is due.
    pub(super) fn keep(
        &self,
        rows: &SortedTable,
        batch: &RecordBatch,
        keys: &[usize],
        kept: Vec<u32>,
        due: impl Fn(usize) -> Due,
    ) -> Result<()> {
        let rows_only = ChangeBatch::append_only(batch.clone());
        self.keep_changes(rows, &rows_only, keys, kept, due)
    }

    /// The same for rows of which some are taken back.
    pub(super) fn keep_changes(
        &self,
        rows: &SortedTable,
        batch: &ChangeBatch,
        keys: &[usize],
        kept: Vec<u32>,
        due: impl Fn(usize) -> Due,
    ) -> Result<()> {
        if kept.is_empty() {
            return Ok(());
        }
        let weights: Vec<i64> = kept.iter().map(|&row| batch.weight(row as usize)).collect();
        let batch = &batch.rows;
        let dues: Vec<Due> = kept.iter().map(|&row| due(row as usize)).collect();
        let kept = taken(batch.columns(), &kept.into())?;
        let kept = RecordBatch::try_new(batch.schema(), kept)
            .map_err(|error| Error::Job(format!("taking rows of a batch: {error}")))?;
        let keys: Vec<ArrayRef> = keys.iter().map(|&key| kept.column(key).clone()).collect();
        let hashes = hash::hash_columns(&keys, dues.len());
        rows.apply(&keys, &hashes, &kept, &weights)?;
        self.note(&dues, &keys, &hashes)
    }

    /// Whether a slice holds any key.
    pub(super) fn holds(&self, slice: i64) -> bool {
        self.table.holds(slice)
    }

    /// The slices up to a moment, in order.
    pub(super) fn slices(&self, up_to: i64) -> Vec<i64> {
        let mut ends = self.table.ends();
        ends.retain(|&end| end <= up_to);
        ends.sort_unstable();
        ends
    }

    /// The first moment after `now` at which a key may have something to do; exact where the first stretch has begun.
    pub(super) fn next(&self, now: i64) -> Result<Option<i64>> {
        for slice in self.table.ends() {
            if slice > now {
                return Ok(Some(slice));
            }
            let mut next: Option<i64> = None;
            for batch in self.keys(slice)? {
                let at = batch
                    .column(batch.num_columns() - 1)
                    .as_primitive::<Int64Type>();
                let first = at.values().iter().copied().filter(|&at| at > now).min();
                next = next.into_iter().chain(first).min();
            }
            if next.is_some() {
                return Ok(next);
            }
        }
        Ok(None)
    }

    /// The keys of a slice: key columns, then `at`.
    pub(super) fn keys(&self, slice: i64) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        self.table.slice(slice)?.scan(&mut |batch| {
            batches.push(batch);
            Ok(())
        })?;
        Ok(batches)
    }

    /// Forgets some keys of a slice.
    pub(super) fn remove(&self, slice: i64, keys: &[ArrayRef], hashes: &[u64]) -> Result<()> {
        let table = self.table.slice(slice)?;
        let mut slots = Vec::new();
        table.slots(keys, hashes, &mut slots)?;
        table.remove(&slots);
        Ok(())
    }

    /// Forgets a slice.
    pub(super) fn drop_slice(&self, slice: i64) -> Result<()> {
        Ok(self.table.drop_slice(slice)?)
    }
}

/// Of each operator of a plan whether it may have something to do at a moment of processing time.
pub(crate) fn by_clock(plan: &StreamPlan) -> Vec<bool> {
    let mut known: Vec<bool> = Vec::with_capacity(plan.operators.len());
    for operator in &plan.operators {
        let is_driven = matches!(
            operator.kind,
            OperatorKind::Clock { .. } | OperatorKind::TemporalFilter { .. }
        );
        known.push(is_driven || operator.inputs.iter().any(|input| known[input.from]));
    }
    known
}

/// The same rows of every array.
pub(super) fn taken(arrays: &[ArrayRef], rows: &UInt32Array) -> Result<Vec<ArrayRef>> {
    arrays
        .iter()
        .map(|array| take(array, rows, None))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::Job(format!("taking rows of a batch: {error}")))
}
