//! What differs between two states: entries that one has and the other has not, or has with another row.
//!
//! Both are read key group by key group, so that memory is bounded by the entries of one key group on either side.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use weir_types::KeyGroupRange;

use super::StateReader;
use crate::{Error, Result};

/// The differences of one table in one key group, as rows with the columns of the table.
pub struct Difference {
    /// What only the first state has: gone, or the old version of what changed.
    pub before: RecordBatch,
    /// What only the second state has: new, or the new version of what changed.
    pub after: RecordBatch,
    /// How many keys are in both, with different rows.
    pub changed: u64,
}

type Rows = BTreeMap<Box<[u8]>, Box<[u8]>>;

impl StateReader {
    /// Calls `f` for each key group in which table `own` of this state and table `theirs` of `other` differ.
    ///
    /// # Errors
    /// `Incompatible` if the tables have other columns or key groups; when a state cannot be read, or `f` fails.
    pub fn differences(
        &self,
        own: usize,
        other: &Self,
        theirs: usize,
        f: &mut dyn FnMut(Difference) -> Result<()>,
    ) -> Result<()> {
        let (a, b) = (self.spec(own), other.spec(theirs));
        if self.key_groups() != other.key_groups() {
            return Err(Error::savepoint(
                "S0040",
                format!(
                    "the two states have {} and {} key groups: they are of different jobs",
                    self.key_groups(),
                    other.key_groups()
                ),
            ));
        }
        if (a.layout, &a.key, &a.value, &a.order) != (b.layout, &b.key, &b.value, &b.order) {
            return Err(Error::savepoint(
                "S0041",
                format!(
                    "table '{}' of operator {} has other columns in the two states: compare them with a query over each",
                    a.table, a.operator
                ),
            ));
        }
        for group in 0..self.key_groups() {
            let range = KeyGroupRange {
                start: group,
                end: group + 1,
            };
            let mut before = self.rows_of(own, range)?;
            let mut after = other.rows_of(theirs, range)?;
            before.retain(|key, row| match after.get(key) {
                Some(same) if same == row => {
                    after.remove(key);
                    false
                }
                _ => true,
            });
            if before.is_empty() && after.is_empty() {
                continue;
            }
            let changed = before.keys().filter(|key| after.contains_key(*key)).count() as u64;
            f(Difference {
                before: self.batch_of(own, &before)?,
                after: other.batch_of(theirs, &after)?,
                changed,
            })?;
        }
        Ok(())
    }

    fn rows_of(&self, table: usize, range: KeyGroupRange) -> Result<Rows> {
        let mut rows = Rows::new();
        self.entries(table, range, &mut |key, row| {
            rows.insert(key.into(), row.into());
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        Ok(rows)
    }

    fn batch_of(&self, table: usize, rows: &Rows) -> Result<RecordBatch> {
        let entries = self.codec(table);
        let mut batch = entries.batch();
        for (key, row) in rows {
            entries.decode(key, row, &mut batch)?;
        }
        self.record_batch(table, batch)
    }
}
