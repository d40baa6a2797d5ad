//! INSERT INTO: writes changes to a sink, a whole epoch or nothing.
//!
//! ```text
//!   append-only input   batch ─▶ write                                    at once
//!   updating input      batch ─▶ collected ─▶ net changes ─▶ write        at the end of the epoch
//!   snapshot            batch ─▶ state `rows`;  before prepare: all rows ─▶ write
//!   materialized view   batch ─▶ state `rows`;  whoever asks gets them at the end of an epoch
//! ```
//!
//! # Invariants
//! 1. A row that comes and goes within one epoch never reaches the sink.
//! 2. In snapshot mode the state is the result; what the sink holds is made from it alone. Every worker writes its whole
//!    share at every checkpoint, also if it has not changed: another worker's may have, and the result is merged from all.
//! 3. A column that the table declares NOT NULL never gets a NULL: such a row stops the job, whatever `row.error` says.

mod read;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use weir_connectors::SinkWriter;
use weir_planner::Wanted;
use weir_state::MultiMapTable;
use weir_types::{ChangeBatch, CheckpointId, KeyGroupRange, OperatorId, Schema, Span, hash};

use super::build::internal;
use super::{Operator, OperatorContext, Progress, changes};
use crate::error::RowError;
use crate::expr::row_values;
use crate::{Error, Result};

/// The columns of the table that are NOT NULL.
pub(super) struct Required {
    pub(super) columns: Vec<usize>,
    /// The sink's input, for the message.
    pub(super) schema: Schema,
    /// The statement that writes.
    pub(super) span: Span,
}

/// The result that a snapshot sink writes, as keyed state.
pub(super) struct SnapshotRows {
    /// The columns that the table is keyed by.
    pub(super) key: Vec<usize>,
    pub(super) table: MultiMapTable,
    pub(super) schema: SchemaRef,
    /// How many key groups there are, and those that are kept here.
    pub(super) key_groups: u16,
    pub(super) range: KeyGroupRange,
}

/// Writes a table.
pub(super) struct Sink {
    operator: OperatorId,
    writer: Box<dyn SinkWriter>,
    snapshot: Option<SnapshotRows>,
    /// The state is all there is: nothing is written at checkpoints.
    is_view: bool,
    /// Whether the input can take rows back, so that an epoch has to be looked at as a whole.
    retractions: bool,
    required: Option<Required>,
    batch_rows: usize,
    epoch: Vec<ChangeBatch>,
}

impl Sink {
    pub(super) fn new(
        operator: OperatorId,
        writer: Box<dyn SinkWriter>,
        snapshot: Option<SnapshotRows>,
        retractions: bool,
        batch_rows: usize,
    ) -> Self {
        Self {
            operator,
            writer,
            snapshot,
            is_view: false,
            retractions,
            required: None,
            batch_rows,
            epoch: Vec::new(),
        }
    }

    /// A materialized view: nobody is given what the state holds, but who asks.
    pub(super) fn keeping_a_view(mut self, is_view: bool) -> Self {
        self.is_view = is_view;
        self
    }

    /// With columns that take no NULL.
    pub(super) fn requiring(mut self, required: Required) -> Self {
        self.required = (!required.columns.is_empty()).then_some(required);
        self
    }

    fn check_required(&self, rows: &RecordBatch) -> Result<()> {
        let Some(required) = &self.required else {
            return Ok(());
        };
        for &column in &required.columns {
            let values = rows.column(column);
            if values.null_count() == 0 {
                continue;
            }
            if let Some(row) = (0..values.len()).find(|&row| values.is_null(row)) {
                let name = &required.schema[column].name;
                return Err(Error::Row(Box::new(RowError {
                    operator: self.operator.clone(),
                    span: required.span,
                    reason: format!("`{name}` is NULL, and the table declares it NOT NULL"),
                    row: row_values(rows, row, &required.schema),
                    place: None,
                })));
            }
        }
        Ok(())
    }

    fn net_changes(&mut self) -> Result<Vec<ChangeBatch>> {
        let epoch = std::mem::take(&mut self.epoch);
        changes::net(epoch, self.batch_rows).map_err(|error| internal(&self.operator, &error))
    }
}

impl SnapshotRows {
    fn apply(&self, changes: &ChangeBatch) -> Result<()> {
        let keys: Vec<_> = self
            .key
            .iter()
            .map(|&column| changes.rows.column(column).clone())
            .collect();
        let hashes = hash::hash_columns(&keys, changes.num_rows());
        let weights: Vec<i64> = (0..changes.num_rows())
            .map(|row| changes.weight(row))
            .collect();
        Ok(self.table.apply(&keys, &hashes, &changes.rows, &weights)?)
    }

    /// Gives every row of the result, as often as it is in it.
    fn write_all(&self, writer: &mut dyn SinkWriter, operator: &OperatorId) -> Result<()> {
        let mut failed = None;
        self.table.scan(&mut |rows, counts| {
            if failed.is_none() {
                failed = self.write_rows(writer, operator, &rows, &counts).err();
            }
            Ok(())
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn write_rows(
        &self,
        writer: &mut dyn SinkWriter,
        operator: &OperatorId,
        rows: &RecordBatch,
        counts: &[i64],
    ) -> Result<()> {
        let rows = self.repeated(operator, rows, counts)?;
        Ok(writer.write(&ChangeBatch::append_only(rows))?)
    }

    /// Each row as often as it is there.
    pub(super) fn repeated(
        &self,
        operator: &OperatorId,
        rows: &RecordBatch,
        counts: &[i64],
    ) -> Result<RecordBatch> {
        let repeated = counts
            .iter()
            .enumerate()
            .flat_map(|(row, &count)| (0..count).map(move |_| row as u32));
        let indices: arrow::array::UInt32Array = repeated.collect();
        RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec())
            .and_then(|rows| arrow::compute::take_record_batch(&rows, &indices))
            .map_err(|error| internal(operator, &error))
    }
}

impl Operator for Sink {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        _: &mut OperatorContext,
    ) -> Result<Progress> {
        self.check_required(&batch.rows)?;
        match &self.snapshot {
            _ if self.retractions => self.epoch.push(batch),
            Some(snapshot) => snapshot.apply(&batch)?,
            None => self.writer.write(&batch)?,
        }
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, _: &mut OperatorContext) -> Result<Progress> {
        if !self.epoch.is_empty() {
            for changes in self.net_changes()? {
                match &self.snapshot {
                    Some(snapshot) => snapshot.apply(&changes)?,
                    None => self.writer.write(&changes)?,
                }
            }
        }
        self.writer.end_epoch()?;
        Ok(Progress::Done)
    }

    fn prepare(&mut self, checkpoint: CheckpointId) -> Result<Option<serde_json::Value>> {
        if let Some(snapshot) = self.snapshot.as_ref().filter(|_| !self.is_view) {
            snapshot.write_all(self.writer.as_mut(), &self.operator)?;
        }
        Ok(self.writer.prepare(checkpoint)?)
    }

    fn read_view(
        &self,
        wanted: &[Wanted],
        give: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<u64> {
        match self.snapshot.as_ref().filter(|_| self.is_view) {
            Some(snapshot) => snapshot.read(&self.operator, wanted, give),
            None => Err(Error::Internal {
                operator: self.operator.clone(),
                message: "it keeps no view".to_owned(),
            }),
        }
    }
}
