//! Rows of a materialized view for a reader: those of the keys that it wants, or all of them looked through.

use std::ops::ControlFlow;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use weir_planner::{Wanted, is_by_key};
use weir_state::ProbeCursor;
use weir_types::{OperatorId, hash};

use super::SnapshotRows;
use crate::views::{Looked, passing};
use crate::{Result, operators::build::internal};

/// Rows of one batch for a reader.
const ROWS: usize = 8192;

impl SnapshotRows {
    /// Gives rows to a reader, until it has enough; how many were looked at.
    pub(super) fn read(
        &self,
        operator: &OperatorId,
        wanted: &[Wanted],
        give: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<u64> {
        let looked = Looked::new(wanted, &self.schema);
        let fields = self.schema.fields();
        let key: Vec<String> = self
            .key
            .iter()
            .map(|&key| fields[key].name().clone())
            .collect();
        match is_by_key(&key, wanted) {
            true => self.read_keys(operator, &looked, give),
            false => self.read_all(operator, &looked, give),
        }
    }

    /// Looks up every key that is kept here.
    fn read_keys(
        &self,
        operator: &OperatorId,
        looked: &Looked,
        give: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<u64> {
        let Some(keys) = looked.keys(&self.key) else {
            return self.read_all(operator, looked, give);
        };
        let count = keys.first().map_or(0, |column| column.len());
        let hashes = hash::hash_columns(&keys, count);
        let here = |hash: u64| self.range.contains(hash::key_group(hash, self.key_groups));
        let own: UInt32Array = (0..count as u32)
            .filter(|&key| here(hashes[key as usize]))
            .collect();
        let taken = |column: &ArrayRef| arrow::compute::take(column, &own, None);
        let keys: std::result::Result<Vec<ArrayRef>, _> = keys.iter().map(taken).collect();
        let keys = keys.map_err(|error| internal(operator, &error))?;
        let hashes: Vec<u64> = hashes.into_iter().filter(|&hash| here(hash)).collect();
        let (mut cursor, mut seen) = (Some(ProbeCursor::default()), 0);
        while let Some(from) = cursor.take() {
            let (found, next) = self.table.probe(&keys, &hashes, None, from, ROWS)?;
            seen += found.counts.len() as u64;
            if !found.counts.is_empty()
                && !give(self.repeated(operator, &found.rows, &found.counts)?)
            {
                break;
            }
            cursor = next;
        }
        Ok(seen)
    }

    /// Looks through everything, and gives what passes.
    fn read_all(
        &self,
        operator: &OperatorId,
        looked: &Looked,
        give: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<u64> {
        let (mut flow, mut seen) = (Ok(ControlFlow::Continue(())), 0);
        self.table.scan(&mut |rows, counts| {
            if let Ok(ControlFlow::Continue(())) = flow {
                seen += counts.len() as u64;
                flow = self
                    .repeated(operator, &rows, &counts)
                    .and_then(|rows| {
                        passing(rows, looked).map_err(|error| internal(operator, &error))
                    })
                    .map(|rows| match rows.num_rows() == 0 || give(rows) {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    });
            }
            Ok(())
        })?;
        flow.map(|_| seen)
    }
}
