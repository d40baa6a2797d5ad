//! Rows that a dealer has as Arrow already: they go to the decoder by number instead of as text.
//!
//! ```text
//!   dealer ── Chunk { rows n..m } ──▶ worker ──▶ decoder ── take(n) ──▶ batch
//!      └────────── put(n, batch) ──▶ HandedRows ◀──────────────┘
//! ```
//!
//! A chunk is decoded once, by whoever got it; what nobody takes goes with the source.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray};
use weir_types::{ChangeBatch, Column, DataType};

use crate::TableRequest;
use crate::error::{Error, Result};
use crate::source::{Chunk, Decoded, DecodedBatch, Decoder, Payload};

/// What was dealt and not decoded yet; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct HandedRows {
    waiting: Arc<Mutex<HashMap<(Arc<str>, u64), ChangeBatch>>>,
}

impl HandedRows {
    /// Keeps rows for the decoder of a chunk, and gives that chunk. `first`: the number of the first row in its origin.
    pub fn hand(&self, origin: &Arc<str>, first: u64, rows: ChangeBatch) -> Chunk {
        let records = rows.num_rows() as u64;
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((origin.clone(), first), rows);
        Chunk {
            payload: Payload::Rows(first..first + records),
            records,
            origin: origin.clone(),
            offset: first,
            line: first + 1,
            header: None,
        }
    }

    /// The decoder of a source whose dealers hand rows over: the columns and types that are asked for, with metadata behind them.
    /// It fails if a column is missing or is of a type that cannot become the declared one.
    pub fn decoder(&self, request: &TableRequest) -> Box<dyn Decoder> {
        Box::new(HandedDecoder {
            handed: self.clone(),
            columns: request.columns.clone(),
            metadata: request.metadata.clone(),
        })
    }

    fn decode(
        &self,
        chunk: &Chunk,
        columns: &[Column],
        metadata: &[(String, Column)],
    ) -> Result<Decoded> {
        let key = (chunk.origin.clone(), chunk.offset);
        let rows = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key)
            .ok_or_else(|| {
                Error::Inconsistent(format!(
                    "row {} of {} was asked for twice",
                    chunk.offset, chunk.origin
                ))
            })?;
        let mut arrays = select(&rows.rows, columns, &chunk.origin)?;
        let count = rows.num_rows();
        let numbers = chunk.offset..chunk.offset + count as u64;
        for (key, _) in metadata {
            arrays.push(match key.as_str() {
                "file" => Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(
                    &*chunk.origin,
                    count,
                ))),
                "line" => Arc::new(Int64Array::from_iter_values(
                    numbers.clone().map(|row| row as i64 + 1),
                )),
                _ => Arc::new(Int64Array::from_iter_values(
                    numbers.clone().map(|row| row as i64),
                )) as ArrayRef,
            });
        }
        let all: Vec<Column> = columns
            .iter()
            .chain(metadata.iter().map(|(_, column)| column))
            .cloned()
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch =
            RecordBatch::try_new_with_options(DataType::arrow_schema(&all), arrays, &options)
                .map_err(|error| {
                    Error::Inconsistent(format!(
                        "the columns of {} do not fit: {error}",
                        chunk.origin
                    ))
                })?;
        debug_assert!(matches!(chunk.payload, Payload::Rows(_)));
        Ok(Decoded {
            batches: vec![DecodedBatch {
                rows: batch,
                retracted: rows.retracted,
                offsets: numbers.collect(),
            }],
            rejected: Vec::new(),
        })
    }
}

struct HandedDecoder {
    handed: HandedRows,
    columns: Vec<Column>,
    metadata: Vec<(String, Column)>,
}

impl Decoder for HandedDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        self.handed.decode(chunk, &self.columns, &self.metadata)
    }
}

/// The columns by their names in the data, each in the one Arrow type of its SQL type.
fn select(rows: &RecordBatch, columns: &[Column], origin: &str) -> Result<Vec<ArrayRef>> {
    columns
        .iter()
        .map(|column| {
            let found = rows
                .column_by_name(column.external())
                .or_else(|| rows.column_by_name(&column.name))
                .ok_or_else(|| {
                    let schema = rows.schema();
                    let names: Vec<&str> = schema
                        .fields()
                        .iter()
                        .map(|field| field.name().as_str())
                        .collect();
                    Error::Inconsistent(format!(
                        "{origin} has no column `{}`; it has {}",
                        column.external(),
                        names.join(", ")
                    ))
                })?;
            let wanted = column.data_type.to_arrow();
            if *found.data_type() == wanted {
                return Ok(found.clone());
            }
            let options = arrow::compute::CastOptions {
                // A value that does not fit is an error, never NULL.
                safe: false,
                ..arrow::compute::CastOptions::default()
            };
            arrow::compute::cast_with_options(found, &wanted, &options).map_err(|error| {
                Error::Inconsistent(format!(
                    "column `{}` of {origin} cannot be read as {}: {error}",
                    column.external(),
                    column.data_type
                ))
            })
        })
        .collect()
}
