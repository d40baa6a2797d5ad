//! The result of all partitions, from the state.
//!
//! The stored rows are read in the order of their partitions to learn which there are; each is then numbered as at the end of an
//! epoch.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use weir_state::{RestCursor, SortedTable};
use weir_types::{ChangeBatch, OperatorId, hash};

use super::{ROWS_FLUSHED, Rank};
use crate::Result;
use crate::operators::build::internal;
use crate::operators::standing::cut;
use crate::operators::{OperatorContext, Progress};

/// Where it goes on.
#[derive(Default)]
pub(super) struct Standing {
    partitions: Partitions,
    ready: VecDeque<RecordBatch>,
}

/// The partitions of a table, one after the other.
#[derive(Default)]
pub(in crate::operators) struct Partitions {
    cursor: RestCursor,
    last: Option<Box<[u8]>>,
}

impl Partitions {
    /// The keys of some partitions that were not given yet; `None`: there are no more, and it begins anew.
    pub(in crate::operators) fn next(
        &mut self,
        operator: &OperatorId,
        table: &SortedTable,
        columns: &[usize],
        limit: usize,
    ) -> Result<Option<Vec<ArrayRef>>> {
        while !self.cursor.is_over() {
            let (rows, counts) = table.read_on(&mut self.cursor, limit)?;
            let keys = columns.iter().map(|&column| rows.column(column).clone());
            let keys: Vec<ArrayRef> = keys.collect();
            let mut first = Vec::new();
            for (row, key) in table
                .key_bytes(&keys, counts.len())?
                .into_iter()
                .enumerate()
            {
                if self.last.as_ref() != Some(&key) {
                    first.push(row as u32);
                    self.last = Some(key);
                }
            }
            if first.is_empty() {
                continue;
            }
            // Without columns there is one partition, and nothing to take.
            let first = UInt32Array::from(first);
            let keys = keys.iter().map(|key| take(key, &first, None));
            let keys = keys.collect::<std::result::Result<Vec<_>, _>>();
            return keys.map(Some).map_err(|error| internal(operator, &error));
        }
        *self = Self::default();
        Ok(None)
    }
}

impl Rank {
    /// Gives the next rows.
    pub(super) fn give_all(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        while self.standing.ready.is_empty() {
            let partitions = &mut self.standing.partitions;
            let per_partition = self.config.bounds.last.unwrap_or(64).max(1);
            let limit = (ROWS_FLUSHED as u64 / per_partition).max(1) as usize;
            let (operator, columns) = (&self.config.operator, &self.config.partition);
            let Some(keys) = partitions.next(operator, &self.rows, columns, limit)? else {
                return Ok(Progress::Done);
            };
            let count = keys.first().map_or(1, |key| key.len());
            let hashes = hash::hash_columns(&keys, count);
            let rows = self.numbered(&keys, &hashes)?.rows;
            self.standing.ready.extend(cut(&rows, ctx.batch_rows));
        }
        if let Some(rows) = self.standing.ready.pop_front() {
            ctx.emit(ChangeBatch::append_only(rows));
        }
        Ok(Progress::More)
    }
}
