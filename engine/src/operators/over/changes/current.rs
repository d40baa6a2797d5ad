//! The results of all partitions, from the state: one partition is in memory at a time.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, RecordBatch};
use weir_state::SortedRange;
use weir_types::{ChangeBatch, hash};

use super::{Changes, Key, Stretch};
use crate::Result;
use crate::operators::rank::Partitions;
use crate::operators::standing::cut;
use crate::operators::{OperatorContext, Progress};

/// Rows that are read at a time to learn which partitions there are.
const ROWS_READ: usize = 1024;

/// Where it goes on.
#[derive(Default)]
pub(super) struct Standing {
    partitions: Partitions,
    keys: VecDeque<Key>,
    ready: VecDeque<RecordBatch>,
}

impl Changes {
    /// Gives the next rows.
    pub(super) fn give_all(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        while self.standing.ready.is_empty() {
            let Some(key) = self.next_partition()? else {
                return Ok(Progress::Done);
            };
            let rows = self.read(&key, &SortedRange::default(), usize::MAX)?;
            let results = self.results(&Stretch::whole(rows))?;
            self.standing.ready.extend(cut(&results, ctx.batch_rows));
        }
        if let Some(rows) = self.standing.ready.pop_front() {
            ctx.emit(ChangeBatch::append_only(rows));
        }
        Ok(Progress::More)
    }

    fn next_partition(&mut self) -> Result<Option<Key>> {
        if self.standing.keys.is_empty() {
            let (operator, columns) = (&self.config.operator, &self.config.partition);
            let partitions = &mut self.standing.partitions;
            let Some(keys) = partitions.next(operator, &self.rows, columns, ROWS_READ)? else {
                return Ok(None);
            };
            let count = keys.first().map_or(1, |key| key.len());
            let hashes = hash::hash_columns(&keys, count);
            let key = |(row, hash): (usize, u64)| {
                let columns: Vec<ArrayRef> = keys.iter().map(|key| key.slice(row, 1)).collect();
                Key { columns, hash }
            };
            self.standing
                .keys
                .extend(hashes.into_iter().enumerate().map(key));
        }
        Ok(self.standing.keys.pop_front())
    }
}
