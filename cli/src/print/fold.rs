//! The final rows of an updating result: changes are added up, what cancels out is forgotten.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use weir_types::ChangeBatch;

/// Rows of one printed batch: enough to be quick, few enough to need no memory worth speaking of.
const BATCH_ROWS: usize = 8192;

/// A multiset of rows.
///
/// A retraction may come before its insertion (two workers, one epoch), so counts may be negative in between. In a job
/// that was resumed one may stay so: the row that it takes back was printed by an earlier start. Such a row is not shown, but counted.
pub(crate) struct Fold {
    schema: SchemaRef,
    converter: RowConverter,
    counts: HashMap<Box<[u8]>, i64>,
}

impl Fold {
    /// An empty result of these columns.
    pub(crate) fn new(schema: SchemaRef) -> Result<Self, ArrowError> {
        // Encoded rows sort as the printed result should: by all columns, NULL last.
        let options = SortOptions {
            descending: false,
            nulls_first: false,
        };
        let fields = schema
            .fields()
            .iter()
            .map(|field| SortField::new_with_options(field.data_type().clone(), options))
            .collect();
        Ok(Self {
            converter: RowConverter::new(fields)?,
            schema,
            counts: HashMap::new(),
        })
    }

    /// Takes changes in.
    pub(crate) fn apply(&mut self, changes: &ChangeBatch) -> Result<(), ArrowError> {
        let rows = self.converter.convert_columns(changes.rows.columns())?;
        for (i, row) in rows.iter().enumerate() {
            let weight = changes.weight(i);
            match self.counts.get_mut(row.as_ref()) {
                Some(count) if *count + weight == 0 => {
                    self.counts.remove(row.as_ref());
                }
                Some(count) => *count += weight,
                None => {
                    self.counts.insert(row.as_ref().into(), weight);
                }
            }
        }
        Ok(())
    }

    /// How many retractions met no row to take back.
    pub(crate) fn unmatched(&self) -> u64 {
        let missing = |count: &i64| u64::try_from(-*count).unwrap_or(0);
        self.counts.values().map(missing).sum()
    }

    /// The rows that are left, sorted by all columns; empties the fold.
    pub(crate) fn final_rows(
        &mut self,
    ) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + '_ {
        let mut rows: Vec<(Box<[u8]>, i64)> = self
            .counts
            .drain()
            .filter(|(_, count)| *count > 0)
            .collect();
        rows.sort_unstable();
        let repeated: Vec<Box<[u8]>> = rows
            .into_iter()
            .flat_map(|(row, count)| std::iter::repeat_n(row, count as usize))
            .collect();
        let batches: Vec<_> = repeated
            .chunks(BATCH_ROWS)
            .map(|chunk| {
                let parser = self.converter.parser();
                let columns = self
                    .converter
                    .convert_rows(chunk.iter().map(|row| parser.parse(row)))?;
                RecordBatch::try_new(self.schema.clone(), columns)
            })
            .collect();
        batches.into_iter()
    }
}
