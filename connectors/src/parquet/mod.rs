//! Parquet files as a bounded source, and what their footers say of columns.
//!
//! ```text
//!   listing ─▶ file ─▶ row groups ─▶ batches ── handed by number ──▶ decoder: names and types of the table
//! ```
//!
//! Files are read by whoever deals, one after another, in the order of the listing: only the columns that the query reads.
//!
//! # Invariants
//! 1. A position is the listing, a file of it and a row of that file: it knows nothing of row groups or batches.
//! 2. A column that a file lacks is an error that names both; a value is never bent to fit.

mod rows;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use weir_types::{ChangeBatch, Column, DataType, SplitId};

pub use rows::ParquetRows;
pub(crate) use write::{ParquetForm, ParquetPart};

use crate::error::{Error, IoContext, Result};
use crate::filesystem::{ListedFile, PathPattern};
use crate::handed::HandedRows;
use crate::infer::Inferred;
use crate::source::{BATCH_ROWS, Deal, Dealer, Decoder, Position, Source, SplitListing};
use crate::table::TableRequest;

/// The one split.
const WHOLE: &str = "listing";

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).context(|| format!("cannot read {}", path.display()))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| broken(path, &error))
}

fn broken(path: &Path, error: &impl std::fmt::Display) -> Error {
    Error::Inconsistent(format!(
        "{} cannot be read as Parquet: {error}",
        path.display()
    ))
}

/// The columns of a file.
pub(crate) fn infer(path: &Path) -> Result<Inferred> {
    let builder = open(path)?;
    let columns = builder
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let data_type = DataType::from_arrow(field.data_type()).map(|found| declarable(&found));
            match data_type {
                Some(data_type) if data_type != DataType::Interval => Ok(Column::new(field.name(), data_type)),
                _ => Err(Error::Inconsistent(format!(
                    "column `{}` of {} is {}, which no table can have; declare the table with CREATE TABLE, without it",
                    field.name(),
                    path.display(),
                    field.data_type()
                ))),
            }
        })
        .collect::<Result<_>>()?;
    Ok(Inferred {
        columns,
        options: BTreeMap::from([("format".to_owned(), "parquet".to_owned())]),
    })
}

/// The narrowest type of a CREATE TABLE that holds all values: there are no unsigned ones.
fn declarable(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Null => DataType::String,
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal(20, 0),
        DataType::Array(item) => DataType::Array(Box::new(declarable(item))),
        DataType::Map(key, value) => {
            DataType::Map(Box::new(declarable(key)), Box::new(declarable(value)))
        }
        DataType::Row(fields) => DataType::Row(
            fields
                .iter()
                .map(|field| Column::new(field.name.clone(), declarable(&field.data_type)))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// Reads the Parquet files of a listing.
pub(crate) struct ParquetSource {
    request: TableRequest,
    pattern: PathPattern,
    listing: OnceLock<Vec<ListedFile>>,
    handed: HandedRows,
}

impl ParquetSource {
    pub(crate) fn open(request: TableRequest) -> Result<Self> {
        Ok(Self {
            pattern: PathPattern::of(&request)?,
            request,
            listing: OnceLock::new(),
            handed: HandedRows::default(),
        })
    }

    fn listing(&self) -> Result<&[ListedFile]> {
        if let Some(listing) = self.listing.get() {
            return Ok(listing);
        }
        let listing = self.pattern.list(&self.request)?;
        Ok(self.listing.get_or_init(|| listing))
    }
}

/// The place in a listing.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Place {
    files: Vec<ListedFile>,
    /// Index of the file that is being read.
    file: usize,
    /// Rows of it that were dealt.
    row: u64,
}

impl Place {
    fn read(split: &SplitId, position: &Position) -> Result<Self> {
        serde_json::from_value(position.clone()).map_err(|error| {
            Error::Inconsistent(format!(
                "the recorded position of split {split} cannot be read: {error}"
            ))
        })
    }
}

impl Source for ParquetSource {
    fn splits(&self, restored: &BTreeMap<SplitId, Position>) -> Result<SplitListing> {
        let mut warnings = Vec::new();
        for (split, position) in restored {
            warnings.extend(self.pattern.compare(&Place::read(split, position)?.files)?);
        }
        if restored.is_empty() {
            self.listing()?;
        }
        Ok(SplitListing {
            splits: vec![SplitId(WHOLE.to_owned())],
            warnings,
        })
    }

    fn dealer(&self, split: &SplitId, position: Option<&Position>) -> Result<Box<dyn Dealer>> {
        let place = match position {
            Some(position) => Place::read(split, position)?,
            None => Place {
                files: self.listing()?.to_vec(),
                file: 0,
                row: 0,
            },
        };
        Ok(Box::new(ParquetDealer {
            names: self
                .request
                .columns
                .iter()
                .map(|column| column.external().to_owned())
                .collect(),
            pattern: self.pattern.clone(),
            handed: self.handed.clone(),
            bytes_done: 0,
            reader: None,
            rest: None,
            place,
        }))
    }

    fn decoder(&self) -> Result<Box<dyn Decoder>> {
        Ok(self.handed.decoder(&self.request))
    }

    fn bounded(&self) -> bool {
        true
    }
}

struct ParquetDealer {
    pattern: PathPattern,
    /// In the files.
    names: Vec<String>,
    handed: HandedRows,
    place: Place,
    bytes_done: u64,
    reader: Option<ParquetRecordBatchReader>,
    /// Rows that were read and not dealt.
    rest: Option<RecordBatch>,
}

impl ParquetDealer {
    /// The reader of the current file, from the current row on.
    fn start(&self, file: &ListedFile) -> Result<ParquetRecordBatchReader> {
        let path = self.pattern.path(&file.name);
        let builder = open(&path)?;
        let schema = builder.schema().clone();
        let wanted = self
            .names
            .iter()
            .map(|name| {
                schema
                    .fields()
                    .iter()
                    .position(|field| field.name() == name)
                    .or_else(|| {
                        schema
                            .fields()
                            .iter()
                            .position(|field| field.name().eq_ignore_ascii_case(name))
                    })
                    .ok_or_else(|| {
                        let names: Vec<&str> = schema
                            .fields()
                            .iter()
                            .map(|field| field.name().as_str())
                            .collect();
                        Error::Inconsistent(format!(
                            "{} has no column `{name}`; it has {}",
                            file.name,
                            names.join(", ")
                        ))
                    })
            })
            .collect::<Result<Vec<usize>>>()?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .with_offset(self.place.row as usize)
            .build()
            .map_err(|error| broken(&path, &error))
    }
}

impl Dealer for ParquetDealer {
    fn deal(&mut self, _max_bytes: usize, max_records: u64) -> Result<Deal> {
        if max_records == 0 {
            return Ok(Deal::Pending);
        }
        loop {
            let Some(file) = self.place.files.get(self.place.file).cloned() else {
                return Ok(Deal::End);
            };
            let batch = match self.rest.take() {
                Some(batch) => Some(batch),
                None => {
                    if self.reader.is_none() {
                        self.reader = Some(self.start(&file)?);
                    }
                    let next = self.reader.as_mut().and_then(Iterator::next);
                    next.transpose()
                        .map_err(|error| broken(&self.pattern.path(&file.name), &error))?
                }
            };
            let Some(mut batch) = batch else {
                self.bytes_done += file.size;
                self.place.file += 1;
                self.place.row = 0;
                self.reader = None;
                continue;
            };
            if batch.num_rows() == 0 {
                continue;
            }
            let most = usize::try_from(max_records).unwrap_or(usize::MAX);
            if batch.num_rows() > most {
                self.rest = Some(batch.slice(most, batch.num_rows() - most));
                batch = batch.slice(0, most);
            }
            let first = self.place.row;
            self.place.row += batch.num_rows() as u64;
            let origin: Arc<str> = file.name.as_str().into();
            return Ok(Deal::Chunk(self.handed.hand(
                &origin,
                first,
                ChangeBatch::append_only(batch),
            )));
        }
    }

    fn position(&self) -> Position {
        // A place is plain data: it can always be written.
        serde_json::to_value(&self.place).unwrap_or_default()
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (
            self.bytes_done,
            Some(self.place.files.iter().map(|file| file.size).sum()),
        )
    }
}
