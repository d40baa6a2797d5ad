//! The state of a savepoint or a checkpoint as Arrow batches: for looking into it, and for queries over it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use weir_types::{Column, DataType, KeyGroupRange, OperatorId};

use super::columns::{ColumnRole, SavedColumn};
use super::entries::{Batch, Entries, group_of};
use super::import::scan_file;
use super::stored::Stored;
use super::{Savepoint, saved_columns};
use crate::snapshot::{CheckpointStore, RestoreFrom};
use crate::{Manifest, Result, TableSpec};

/// Where the entries are.
enum From {
    Savepoint(Savepoint),
    Checkpoint(Stored),
}

/// A table that can be read.
#[derive(Clone, Debug)]
pub struct StateTableInfo {
    /// Whose it is.
    pub operator: OperatorId,
    /// Its name.
    pub table: String,
    /// The columns of its batches.
    pub columns: Vec<SavedColumn>,
}

/// Reads state tables, whatever they are stored in.
pub struct StateReader {
    tables: Vec<TableSpec>,
    key_groups: u16,
    from: From,
}

impl std::fmt::Debug for StateReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StateReader({} tables)", self.tables.len())
    }
}

impl StateReader {
    /// The state in a savepoint.
    pub fn of_savepoint(savepoint: Savepoint) -> Self {
        let manifest = savepoint.manifest.checkpoint_with_tables();
        Self {
            key_groups: manifest.key_groups,
            tables: manifest.tables,
            from: From::Savepoint(savepoint),
        }
    }

    /// The state in a checkpoint; its files are linked into `scratch`, which is removed with the reader. From then on the
    /// store may forget the checkpoint.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn of_checkpoint(
        store: &Arc<CheckpointStore>,
        manifest: &Manifest,
        scratch: &Path,
    ) -> Result<Self> {
        let from: RestoreFrom = manifest.restore_from(store);
        Ok(Self {
            key_groups: from.key_groups,
            from: From::Checkpoint(Stored::open(&from, scratch)?),
            tables: from.tables,
        })
    }

    /// The tables, in the order of the job's operators.
    pub fn tables(&self) -> Vec<StateTableInfo> {
        let info = |spec: &TableSpec| StateTableInfo {
            operator: spec.operator.clone(),
            table: spec.table.clone(),
            columns: saved_columns(spec),
        };
        self.tables.iter().map(info).collect()
    }

    /// Key groups of the job.
    pub fn key_groups(&self) -> u16 {
        self.key_groups
    }

    /// Entries of a table in each key group.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn rows_by_group(&self, table: usize) -> Result<Vec<u64>> {
        let mut rows = vec![0; usize::from(self.key_groups)];
        self.entries(table, self.all(), &mut |key, _| {
            if let Some(rows) = rows.get_mut(usize::from(group_of(key)?.0)) {
                *rows += 1;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(rows)
    }

    fn all(&self) -> KeyGroupRange {
        KeyGroupRange {
            start: 0,
            end: self.key_groups,
        }
    }

    pub(super) fn entries(
        &self,
        table: usize,
        range: KeyGroupRange,
        visit: &mut crate::backend::Visitor<'_>,
    ) -> Result<()> {
        let spec = &self.tables[table];
        match &self.from {
            From::Checkpoint(stored) => stored.scan(spec, range, visit),
            From::Savepoint(savepoint) => {
                let entries = Entries::new(spec, self.key_groups);
                let columns: Vec<_> = entries.columns.iter().map(SavedColumn::in_file).collect();
                let files = savepoint.manifest.tables[table].files.iter();
                for file in files.filter(|file| file.groups.overlaps(&range)) {
                    let path = savepoint.folder.join(&file.path);
                    if scan_file(&entries, &path, &columns, range, visit)?.is_break() {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    pub(super) fn spec(&self, table: usize) -> &TableSpec {
        &self.tables[table]
    }

    pub(super) fn codec(&self, table: usize) -> Entries {
        Entries::new(&self.tables[table], self.key_groups)
    }

    /// What was decoded, with the names of the table's columns.
    pub(super) fn record_batch(&self, table: usize, batch: Batch) -> Result<RecordBatch> {
        let columns: Vec<Column> = saved_columns(&self.tables[table])
            .into_iter()
            .map(|column| Column::new(column.name, column.data_type))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.rows()));
        let schema = DataType::arrow_schema(&columns);
        RecordBatch::try_new_with_options(schema, batch.finish(), &options)
            .map_err(|error| crate::Error::io("building a batch of state", error))
    }

    /// Gives the rows of a table in a range of key groups (or all), batch by batch, in the order of their keys.
    ///
    /// # Errors
    /// When the state cannot be read, or `f` fails.
    pub fn scan(
        &self,
        table: usize,
        range: Option<KeyGroupRange>,
        f: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let entries = self.codec(table);
        let mut batch = entries.batch();
        let mut ended = false;
        let mut give = |batch: Batch| f(self.record_batch(table, batch)?);
        self.entries(
            table,
            range.unwrap_or_else(|| self.all()),
            &mut |key, row| {
                entries.decode(key, row, &mut batch)?;
                if batch.is_full() {
                    let flow = give(std::mem::replace(&mut batch, entries.batch()))?;
                    ended = flow.is_break();
                    return Ok(flow);
                }
                Ok(ControlFlow::Continue(()))
            },
        )?;
        if batch.rows() > 0 && !ended {
            // It was the last one anyway.
            let _ = give(batch)?;
        }
        Ok(())
    }
}

impl StateTableInfo {
    /// Places of the columns by which an entry is found: its key, and in a multiset its row.
    pub fn identity(&self) -> Vec<usize> {
        let multiset = self
            .columns
            .iter()
            .any(|column| column.role == ColumnRole::Count);
        let of = |role: ColumnRole| match role {
            ColumnRole::KeyGroup | ColumnRole::Count => false,
            ColumnRole::SliceEnd | ColumnRole::Key => true,
            ColumnRole::Value => multiset,
        };
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(_, column)| of(column.role))
            .map(|(place, _)| place)
            .collect()
    }
}
