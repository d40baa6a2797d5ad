//! The rows of all groups, from the state: nothing of it comes into the cache, so that any number of groups takes the memory
//! of one batch.
//!
//! A group that is stored has a row: those without are gone at the end of their epoch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat;
use weir_state::{Piece, RestCursor};
use weir_types::{ChangeBatch, Schema, hash};

use super::{Aggregate, SIDE_GROUPS};
use crate::error::RowError;
use crate::operators::aggregates::Failure;
use crate::operators::build::internal;
use crate::operators::{OperatorContext, Progress};
use crate::{Error, Result};

impl Aggregate {
    /// Gives the rows of the next groups.
    pub(super) fn give_groups(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let piece = self.groups.read_on(&mut self.standing, ctx.batch_rows)?;
        if piece.rows > 0 {
            let results = self.results_of(&piece)?;
            let columns = piece.keys.into_iter().chain(results).collect();
            let rows = RecordBatch::try_new(Arc::clone(&self.config.schema), columns)
                .map_err(|error| internal(&self.config.operator, &error))?;
            ctx.emit(ChangeBatch::append_only(rows));
        }
        if self.standing.is_over() {
            self.standing = RestCursor::default();
            return Ok(Progress::Done);
        }
        Ok(Progress::More)
    }

    /// The results of groups as they are stored.
    fn results_of(&self, piece: &Piece) -> Result<Vec<ArrayRef>> {
        let aggregates = &self.config.aggregates;
        if self.sides.is_empty() {
            let results = aggregates.finish(&piece.values, &[]);
            return results.map_err(|failure| self.standing_group_failed(&piece.keys, failure));
        }
        let mut pieces: Vec<Vec<ArrayRef>> = Vec::new();
        for start in (0..piece.rows).step_by(SIDE_GROUPS) {
            let count = SIDE_GROUPS.min(piece.rows - start);
            let cut = |columns: &[ArrayRef]| -> Vec<ArrayRef> {
                let columns = columns.iter();
                columns.map(|column| column.slice(start, count)).collect()
            };
            let keys = cut(&piece.keys);
            let hashes = hash::hash_columns(&keys, count);
            let sides = self.sides.read(&keys, &hashes, &[])?;
            let results = aggregates.finish(&cut(&piece.values), &sides);
            pieces.push(results.map_err(|failure| self.standing_group_failed(&keys, failure))?);
        }
        let width = pieces.first().map_or(0, Vec::len);
        let column = |column: usize| {
            let arrays = pieces.iter().map(|piece| piece[column].as_ref());
            concat(&arrays.collect::<Vec<&dyn Array>>())
        };
        let results = (0..width)
            .map(column)
            .collect::<std::result::Result<_, _>>();
        results.map_err(|error| internal(&self.config.operator, &error))
    }

    fn standing_group_failed(&self, keys: &[ArrayRef], failure: Failure) -> Error {
        let columns = self.config.keys.iter();
        let schema: Schema = columns.map(|&key| self.config.input[key].clone()).collect();
        let rows = RecordBatch::try_new(weir_types::DataType::arrow_schema(&schema), keys.to_vec());
        let row = rows.map(|rows| crate::expr::row_values(&rows, failure.row, &schema));
        Error::Row(Box::new(RowError {
            operator: self.config.operator.clone(),
            span: failure.span,
            reason: failure.reason,
            row: row.unwrap_or_default(),
            place: None,
        }))
    }
}
