//! The decoder of all text formats: chunk in, batches out.
//!
//! ```text
//!   chunk ─▶ records (Framing) ─▶ json | csv | text ─▶ one ColumnBuilder a column ─▶ batches of ≤ 8,192 rows
//!                                      └ malformed: stop, or mark the row, and filter when the batch is full
//! ```
//!
//! # Invariants
//! 1. Nothing is kept from one chunk to the next but caches that do not show.
//! 2. Every record of the chunk is a row of a batch or one of the rejected, in order.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::SchemaRef;
use memchr::{memchr_iter, memrchr};
use weir_types::{Column, DataType};

use super::columns::ColumnBuilder;
use super::csv::CsvDecoder;
use super::json::JsonDecoder;
use super::pattern::PatternDecoder;
use super::{CHANGELOG_JSON, CSV, Malformed, Settings, TEXT, ops};
use crate::error::{Error, RecordError, Result};
use crate::framing::Framing;
use crate::source::{BATCH_ROWS, Chunk, Decoded, DecodedBatch, Decoder, Payload};
use crate::table::{OnError, TableRequest};

/// Decodes chunks of text in any format.
pub(crate) struct TextDecoder {
    table: String,
    settings: Settings,
    columns: Vec<Column>,
    /// Fields of ROW columns that nobody reads: column and field.
    unread: Vec<(usize, usize)>,
    metadata: Vec<Metadata>,
    on_error: OnError,
    records: Records,
    /// Of `columns` and metadata.
    schema: SchemaRef,
}

/// The decoder of one format's records.
enum Records {
    Json(JsonDecoder),
    Csv(CsvDecoder),
    Text,
    Pattern(PatternDecoder),
}

#[derive(Clone, Copy)]
enum Metadata {
    File,
    Offset,
    Line,
}

impl TextDecoder {
    pub(crate) fn new(request: &TableRequest) -> Self {
        let settings = Settings::of(request);
        let mut names: Vec<String> = request
            .columns
            .iter()
            .map(|column| column.external().to_owned())
            .collect();
        let records = match settings.info.name {
            name if name == CSV.name => {
                let place = |column: &Column| {
                    request
                        .declared
                        .iter()
                        .position(|other| other.name == column.name)
                };
                // Without a declaration the requested columns are all there are.
                let places: Option<Vec<usize>> = request.columns.iter().map(place).collect();
                let (places, declared) = match places {
                    Some(places) => (places, request.declared.len()),
                    None => ((0..names.len()).collect(), names.len()),
                };
                Records::Csv(CsvDecoder::new(
                    settings.csv.clone(),
                    names,
                    places,
                    declared,
                ))
            }
            name if name == TEXT.name => match &settings.pattern {
                Some(pattern) => Records::Pattern(PatternDecoder::new(pattern, request)),
                None => Records::Text,
            },
            name => {
                if name == CHANGELOG_JSON.name {
                    names.push(ops::OP.to_owned());
                }
                Records::Json(JsonDecoder::new(names))
            }
        };
        let metadata = request.metadata.iter().map(|(key, _)| match key.as_str() {
            "file" => Metadata::File,
            "offset" => Metadata::Offset,
            _ => Metadata::Line,
        });
        let all: Vec<_> = request
            .columns
            .iter()
            .chain(request.metadata.iter().map(|(_, column)| column))
            .cloned()
            .collect();
        Self {
            table: request.table.clone(),
            columns: request.columns.clone(),
            unread: request.unread_fields.clone(),
            metadata: metadata.collect(),
            on_error: crate::registry::on_error(&request.options),
            records,
            schema: DataType::arrow_schema(&all),
            settings,
        }
    }

    fn builders(&self, rows: usize) -> Vec<ColumnBuilder> {
        let column = |column| ColumnBuilder::new(column, self.settings.timestamps, rows);
        let mut builders: Vec<_> = self.columns.iter().filter_map(column).collect();
        assert_eq!(
            builders.len(),
            self.columns.len(),
            "check_table refuses types that no format can hold"
        );
        for &(column, field) in &self.unread {
            builders[column].leave_unread(field);
        }
        if self.settings.shows_ops() {
            builders.push(ColumnBuilder::op());
        }
        builders
    }

    fn record_error(
        &self,
        chunk: &Chunk,
        record: &Record<'_>,
        malformed: Malformed,
    ) -> RecordError {
        let before = &record.bytes[..malformed.at.min(record.bytes.len())];
        let column = before.len() - memrchr(b'\n', before).map_or(0, |at| at + 1) + 1;
        RecordError {
            table: self.table.clone(),
            origin: chunk.origin.to_string(),
            line: record.line + memchr_iter(b'\n', before).count() as u64,
            column: Some(column as u64),
            offset: record.offset,
            reason: malformed.reason,
            record: record.bytes[..record.bytes.len().min(RecordError::RECORD_BYTES_MAX)].to_vec(),
        }
    }

    /// Decodes one record into the builders; a repeated key of JSON costs a row that is filtered out.
    fn decode_record(
        &mut self,
        record: &Record<'_>,
        batch: &mut Batch,
    ) -> std::result::Result<(), Malformed> {
        let text = match record.text {
            Some(text) => text,
            None => std::str::from_utf8(record.bytes)
                .map_err(|error| Malformed::new(error.valid_up_to(), "not UTF-8"))?,
        };
        match &mut self.records {
            Records::Csv(csv) => csv.decode(text, &mut batch.columns),
            Records::Text => batch
                .columns
                .iter_mut()
                .try_for_each(|column| column.append_text(text))
                .map_err(|reason| Malformed::new(0, reason)),
            Records::Pattern(pattern) => pattern.decode(text, &mut batch.columns),
            Records::Json(json) => match json.decode(text, &mut batch.columns) {
                Err(malformed) if malformed.is_repeated_key() => {
                    batch.drop_row(record);
                    json.decode_last_wins(text, &mut batch.columns)
                }
                outcome => outcome,
            },
        }
    }
}

impl Decoder for TextDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        let Payload::Text(text) = &chunk.payload else {
            return Err(Error::Inconsistent(format!(
                "a chunk of row numbers came to the text table {}",
                self.table
            )));
        };
        if let Records::Csv(csv) = &mut self.records
            && let Err(malformed) = csv.use_header(chunk.header.as_ref())
        {
            // A header concerns the whole file: there is nothing to skip.
            let bytes = chunk.header.clone().unwrap_or_default();
            let record = Record {
                text: None,
                bytes: &bytes,
                offset: 0,
                line: 1,
            };
            return Err(Error::Record(Box::new(
                self.record_error(chunk, &record, malformed),
            )));
        }
        let mut decoded = Decoded::default();
        let mut left = chunk.records as usize;
        let mut batch = Batch::new(self.builders(left.min(BATCH_ROWS)));
        for record in Record::all(text, self.settings.framing(), chunk) {
            if batch.kept() >= BATCH_ROWS {
                left = left.saturating_sub(batch.kept());
                let next = Batch::new(self.builders(left.min(BATCH_ROWS)));
                decoded
                    .batches
                    .extend(std::mem::replace(&mut batch, next).finish(self, chunk)?);
            }
            match self.decode_record(&record, &mut batch) {
                Ok(()) => batch.keep_row(&record),
                Err(malformed) => {
                    let error = self.record_error(chunk, &record, malformed);
                    if self.on_error == OnError::Fail {
                        return Err(Error::Record(Box::new(error)));
                    }
                    decoded.rejected.push(error);
                    batch.drop_row(&record);
                }
            }
        }
        decoded.batches.extend(batch.finish(self, chunk)?);
        Ok(decoded)
    }
}

/// A record and its place.
struct Record<'a> {
    /// `None`: the chunk as a whole is not UTF-8, and each record has to be asked.
    text: Option<&'a str>,
    bytes: &'a [u8],
    /// In the origin.
    offset: u64,
    line: u64,
}

impl<'a> Record<'a> {
    /// The records of a chunk, empty lines left out.
    fn all(payload: &'a [u8], framing: Framing, chunk: &Chunk) -> impl Iterator<Item = Record<'a>> {
        let whole = std::str::from_utf8(payload).ok();
        let (start_offset, mut line, mut at) = (chunk.offset, chunk.line, 0);
        std::iter::from_fn(move || {
            while at < payload.len() {
                let (start, first_line) = (at, line);
                at = framing.record_end(payload, start).unwrap_or(payload.len());
                line += match framing {
                    Framing::Lines => 1,
                    Framing::Csv { .. } => memchr_iter(b'\n', &payload[start..at]).count() as u64,
                };
                let bytes = Framing::trim(payload, start, at);
                if !bytes.is_empty() {
                    let text = whole.map(|whole| &whole[start..start + bytes.len()]);
                    return Some(Record {
                        text,
                        bytes,
                        offset: start_offset + start as u64,
                        line: first_line,
                    });
                }
            }
            None
        })
    }
}

/// Rows that are being collected.
struct Batch {
    columns: Vec<ColumnBuilder>,
    /// One a row, dropped ones included.
    offsets: Vec<u64>,
    lines: Vec<i64>,
    /// Rows that are no rows, ascending.
    dropped: Vec<usize>,
}

impl Batch {
    fn new(columns: Vec<ColumnBuilder>) -> Self {
        Self {
            columns,
            offsets: Vec::new(),
            lines: Vec::new(),
            dropped: Vec::new(),
        }
    }

    fn rows(&self) -> usize {
        self.offsets.len()
    }

    fn kept(&self) -> usize {
        self.rows() - self.dropped.len()
    }

    fn keep_row(&mut self, record: &Record<'_>) {
        self.offsets.push(record.offset);
        self.lines.push(record.line as i64);
        debug_assert!(
            self.columns
                .iter()
                .all(|column| column.len() == self.rows())
        );
    }

    /// What was appended since the last row becomes a row that is filtered out.
    fn drop_row(&mut self, record: &Record<'_>) {
        let rows = self.rows() + 1;
        self.columns
            .iter_mut()
            .for_each(|column| column.settle(rows));
        self.dropped.push(rows - 1);
        self.keep_row(record);
    }

    fn finish(mut self, decoder: &TextDecoder, chunk: &Chunk) -> Result<Option<DecodedBatch>> {
        let rows = self.rows();
        if rows == self.dropped.len() {
            return Ok(None);
        }
        let mut arrays: Vec<ArrayRef> =
            self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let retracted = if decoder.settings.shows_ops() {
            arrays.pop()
        } else {
            None
        };
        let mut retracted = retracted.map(|array| array.as_boolean().values().clone());
        for metadata in &decoder.metadata {
            arrays.push(match metadata {
                Metadata::File => repeated(&chunk.origin, rows)?,
                Metadata::Offset => Arc::new(
                    self.offsets
                        .iter()
                        .map(|offset| *offset as i64)
                        .collect::<Int64Array>(),
                ),
                Metadata::Line => Arc::new(Int64Array::from(self.lines.clone())),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(decoder.schema.clone(), arrays, &options);
        let mut batch = batch.map_err(internal)?;
        if !self.dropped.is_empty() {
            let mut keep = vec![true; rows];
            self.dropped.iter().for_each(|row| keep[*row] = false);
            self.offsets = self
                .offsets
                .iter()
                .zip(&keep)
                .filter(|(_, keep)| **keep)
                .map(|(offset, _)| *offset)
                .collect();
            retracted = retracted.map(|bits| {
                bits.iter()
                    .zip(&keep)
                    .filter(|(_, keep)| **keep)
                    .map(|(bit, _)| bit)
                    .collect::<BooleanBuffer>()
            });
            batch = compute::filter_record_batch(&batch, &BooleanArray::from(keep))
                .map_err(internal)?;
        }
        let retracted = retracted.filter(|bits| bits.count_set_bits() > 0);
        Ok(Some(DecodedBatch {
            rows: batch,
            retracted,
            offsets: self.offsets,
        }))
    }
}

/// One text in every row; the bytes are there once.
fn repeated(text: &str, rows: usize) -> Result<ArrayRef> {
    let one = StringViewArray::from_iter_values([text]);
    compute::take(&one, &UInt32Array::from(vec![0; rows]), None).map_err(internal)
}

/// Lengths and types were made to fit: an error here is a mistake of ours, and is told as such.
fn internal(error: arrow::error::ArrowError) -> Error {
    Error::Inconsistent(format!(
        "decoding made columns that do not fit together; this is a mistake in Weir: {error}"
    ))
}
