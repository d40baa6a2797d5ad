//! Rows out of nothing: every value is a function of seed, column and row number.
//!
//! ```text
//!   row number ── mix(seed, column) ─▶ random value        sequence: start + row × step
//!   split i of n: blocks i, i+n, i+2n … of 8,192 rows, so that all splits go through time together
//! ```
//!
//! # Invariants
//! 1. Row r is the same row whatever was asked for before: any position can be entered at once.
//! 2. A column's values do not depend on which other columns there are.

mod attributes;
mod field;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use tokio::time::Instant;
use weir_types::{DataType, Diagnostic, SplitId};

use crate::check::bad_value;
use crate::error::{Error, Result};
use crate::options::{Form, OptionInfo, Options, nearest};
use crate::registry::{ConnectorInfo, MetadataInfo};
use crate::source::{
    BATCH_ROWS, Chunk, Deal, Dealer, Decoded, DecodedBatch, Decoder, Payload, Position, Source,
    SplitListing,
};
use crate::table::TableRequest;
pub(crate) use attributes::ATTRIBUTES;
use attributes::Problem;
use field::{FieldSpec, Place};

/// What the options of single columns begin with.
pub(crate) const FIELD_PREFIX: &str = "fields.";
/// With several splits, rows are dealt to them in blocks of so many.
const BLOCK_ROWS: u64 = 8192;
/// A chunk has at most so many rows.
const CHUNK_ROWS_MAX: u64 = 65_536;
/// A row counts as so many bytes when a chunk is measured.
const ROW_BYTES: usize = 32;

const SEED: OptionInfo = OptionInfo {
    key: "seed",
    default: Some("0"),
    form: Form::Count(0),
    help: "another seed gives other random values",
};
pub(crate) const ROWS: OptionInfo = OptionInfo {
    key: "rows",
    default: None,
    form: Form::Count(0),
    help: "how many rows there are in all; without it the source never ends",
};
const RATE: OptionInfo = OptionInfo {
    key: "rows-per-second",
    default: None,
    form: Form::Count(1),
    help: "how fast rows come, over all splits; as fast as they are taken unless set",
};
const SPLITS: OptionInfo = OptionInfo {
    key: "splits",
    default: Some("1"),
    form: Form::Count(1),
    help: "how many splits share the rows",
};

/// The connector's description.
pub(crate) const INFO: ConnectorInfo = ConnectorInfo {
    name: "datagen",
    help: "makes rows: the same ones for the same options, every time. What a column holds is said by options \
           `fields.NAME.ATTRIBUTE`",
    source: true,
    sink: false,
    formatted: false,
    options: &[SEED, ROWS, RATE, SPLITS],
    metadata: &[MetadataInfo {
        key: "offset",
        is_text: false,
        help: "the row's number, from 0",
    }],
    guarantee: "It can be entered at any row.",
};

/// The attributes that the options give to each column, by the column's folded name.
fn attributes_of(request: &TableRequest) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut columns: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (key, value) in &request.options {
        if let Some((name, attribute)) = key
            .strip_prefix(FIELD_PREFIX)
            .and_then(|rest| rest.rsplit_once('.'))
        {
            columns
                .entry(name.to_ascii_lowercase())
                .or_default()
                .insert(attribute.to_owned(), value.clone());
        }
    }
    columns
}

/// Checks the options of single columns.
pub(crate) fn check(request: &TableRequest, found: &mut Vec<Diagnostic>) {
    let names: Vec<String> = request
        .declared
        .iter()
        .map(|column| column.name.to_ascii_lowercase())
        .collect();
    for key in request.options.keys() {
        let Some(rest) = key.strip_prefix(FIELD_PREFIX) else {
            continue;
        };
        let span = request.option_span(key);
        let Some((name, attribute)) = rest.rsplit_once('.') else {
            found.push(
                Diagnostic::error(
                    "C0002",
                    format!("'{key}' does not say which attribute of the column it sets"),
                )
                .at(span, "expected fields.NAME.ATTRIBUTE")
                .help(format!(
                    "attributes are {}",
                    ATTRIBUTES.map(|(name, _)| name).join(", ")
                )),
            );
            continue;
        };
        if !names.contains(&name.to_ascii_lowercase()) {
            found.push(
                Diagnostic::error(
                    "C0013",
                    format!(
                        "table `{}` has no column `{name}` to generate",
                        request.table
                    ),
                )
                .at(span, "not a column of the table")
                .nearest(nearest(name, names.iter().map(String::as_str))),
            );
        } else if !ATTRIBUTES.iter().any(|(known, _)| *known == attribute) {
            found.push(
                Diagnostic::error(
                    "C0002",
                    format!(
                        "connector `datagen` does not have an attribute '{attribute}' of fields"
                    ),
                )
                .at(span, "not known")
                .nearest(nearest(attribute, ATTRIBUTES.map(|(name, _)| name)))
                .help(format!(
                    "attributes are {}",
                    ATTRIBUTES.map(|(name, _)| name).join(", ")
                )),
            );
        }
    }
    let attributes = attributes_of(request);
    for (index, column) in request.declared.iter().enumerate() {
        let own = attributes
            .get(&column.name.to_ascii_lowercase())
            .cloned()
            .unwrap_or_default();
        let key = |attribute: &str| {
            let same = |key: &&String| {
                key.eq_ignore_ascii_case(&format!("{FIELD_PREFIX}{}.{attribute}", column.name))
            };
            request
                .options
                .keys()
                .find(same)
                .cloned()
                .unwrap_or_default()
        };
        match FieldSpec::new(column, Place::of(index), &own, 0) {
            Ok(_) => {}
            Err(Problem::Type) => found.push(
                Diagnostic::error(
                    "C0007",
                    format!(
                        "column `{}` is {}, which `datagen` cannot make",
                        column.name, column.data_type
                    ),
                )
                .at(
                    request.option_span("connector"),
                    "it makes values of scalar types",
                )
                .help("declare scalar columns and build nested values in a view"),
            ),
            Err(Problem::Value { attribute, form }) => {
                let key = key(attribute);
                let value = request.options.get(&key).cloned().unwrap_or_default();
                found.push(bad_value(request, &key, &value, form));
            }
            Err(Problem::Conflict { attribute, message }) => {
                found.push(Diagnostic::error("C0008", message).at(
                    request.option_span(&key(attribute)),
                    format!("column `{}`", column.name),
                ))
            }
        }
    }
}

/// Generates rows.
pub(crate) struct DatagenSource {
    request: TableRequest,
    rows: Option<u64>,
    rate: Option<u64>,
    splits: u64,
}

impl DatagenSource {
    pub(crate) fn open(request: TableRequest) -> Self {
        let options = Options(&request.options);
        let (rows, rate) = (options.count(&ROWS), options.count(&RATE));
        let splits = options.count(&SPLITS).unwrap_or(1).max(1);
        Self {
            request,
            rows,
            rate,
            splits,
        }
    }
}

impl Source for DatagenSource {
    fn splits(&self, _restored: &BTreeMap<SplitId, Position>) -> Result<SplitListing> {
        let splits = (0..self.splits)
            .map(|split| SplitId(format!("datagen-{split}")))
            .collect();
        Ok(SplitListing {
            splits,
            warnings: Vec::new(),
        })
    }

    fn dealer(&self, split: &SplitId, position: Option<&Position>) -> Result<Box<dyn Dealer>> {
        let number = split
            .0
            .strip_prefix("datagen-")
            .and_then(|number| number.parse().ok());
        let number: u64 = number
            .filter(|number| *number < self.splits)
            .ok_or_else(|| {
                Error::Inconsistent(format!(
                    "there is no split {split}: 'splits' = '{}' now",
                    self.splits
                ))
            })?;
        let next = match position {
            None => 0,
            Some(position) => position["next"].as_u64().filter(|_| position["splits"] == self.splits).ok_or_else(|| {
                Error::Inconsistent(format!(
                    "the recorded position of {split} is {position}, and 'splits' = '{}' now: rows belong to splits by their \
                     number, so it cannot change",
                    self.splits
                ))
            })?,
        };
        let stripe = Stripe {
            split: number,
            splits: self.splits,
        };
        let end = self.rows.map(|rows| stripe.share_of(rows));
        Ok(Box::new(DatagenDealer {
            stripe,
            next,
            end,
            rate: self.rate.map(|rate| rate as f64 / self.splits as f64),
            started: None,
            origin: "datagen".into(),
        }))
    }

    fn decoder(&self) -> Result<Box<dyn Decoder>> {
        let attributes = attributes_of(&self.request);
        let seed = Options(&self.request.options).count(&SEED).unwrap_or(0);
        let spec = |column: &weir_types::Column| {
            let own = attributes
                .get(&column.name.to_ascii_lowercase())
                .cloned()
                .unwrap_or_default();
            let index = self
                .request
                .declared
                .iter()
                .position(|other| other.name == column.name);
            FieldSpec::new(column, Place::of(index.unwrap_or(1)), &own, seed).map_err(|problem| {
                Error::Inconsistent(format!(
                    "column `{}` cannot be generated: {problem:?}",
                    column.name
                ))
            })
        };
        let fields = self
            .request
            .columns
            .iter()
            .map(spec)
            .collect::<Result<Vec<_>>>()?;
        let metadata = self.request.metadata.iter().map(|(_, column)| column);
        let all: Vec<_> = self
            .request
            .columns
            .iter()
            .chain(metadata)
            .cloned()
            .collect();
        Ok(Box::new(DatagenDecoder {
            fields,
            offsets: self.request.metadata.len(),
            schema: DataType::arrow_schema(&all),
        }))
    }

    fn bounded(&self) -> bool {
        self.rows.is_some()
    }
}

/// Which rows belong to a split.
#[derive(Clone, Copy, Debug)]
struct Stripe {
    split: u64,
    splits: u64,
}

impl Stripe {
    /// How many of the first `rows` rows belong to the split.
    fn share_of(self, rows: u64) -> u64 {
        let round = BLOCK_ROWS * self.splits;
        let rest = (rows % round)
            .saturating_sub(self.split * BLOCK_ROWS)
            .min(BLOCK_ROWS);
        rows / round * BLOCK_ROWS + rest
    }

    /// The row numbers of up to `count` rows of the split from its row `next` on, as far as they are contiguous.
    fn rows(self, next: u64, count: u64) -> Range<u64> {
        if self.splits == 1 {
            return next..next + count.min(CHUNK_ROWS_MAX);
        }
        let (block, within) = (next / BLOCK_ROWS, next % BLOCK_ROWS);
        let start = (block * self.splits + self.split) * BLOCK_ROWS + within;
        start..start + count.min(BLOCK_ROWS - within)
    }
}

struct DatagenDealer {
    stripe: Stripe,
    /// Rows of this split that were dealt.
    next: u64,
    /// Rows of this split in all.
    end: Option<u64>,
    /// Rows a second.
    rate: Option<f64>,
    /// When the first row was asked for, and which it was.
    started: Option<(Instant, u64)>,
    origin: Arc<str>,
}

impl DatagenDealer {
    /// How many rows may be dealt now by the clock.
    fn due(&mut self) -> u64 {
        let Some(rate) = self.rate else {
            return u64::MAX;
        };
        let (started, first) = *self
            .started
            .get_or_insert_with(|| (Instant::now(), self.next));
        let due = (started.elapsed().as_secs_f64() * rate) as u64;
        due.saturating_sub(self.next - first)
    }
}

impl Dealer for DatagenDealer {
    fn deal(&mut self, max_bytes: usize, max_records: u64) -> Result<Deal> {
        if self.end.is_some_and(|end| self.next >= end) {
            return Ok(Deal::End);
        }
        let left = self.end.map_or(u64::MAX, |end| end - self.next);
        let count = max_records
            .min(left)
            .min((max_bytes / ROW_BYTES).max(1) as u64)
            .min(self.due());
        if count == 0 {
            return Ok(Deal::Pending);
        }
        let rows = self.stripe.rows(self.next, count);
        let records = rows.end - rows.start;
        self.next += records;
        Ok(Deal::Chunk(Chunk {
            records,
            origin: self.origin.clone(),
            offset: rows.start,
            line: rows.start + 1,
            header: None,
            payload: Payload::Rows(rows),
        }))
    }

    fn position(&self) -> Position {
        serde_json::json!({ "next": self.next, "splits": self.stripe.splits })
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (self.next, self.end)
    }
}

struct DatagenDecoder {
    fields: Vec<FieldSpec>,
    /// How many metadata columns there are: all are the row's number.
    offsets: usize,
    schema: SchemaRef,
}

impl Decoder for DatagenDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        let Payload::Rows(rows) = chunk.payload.clone() else {
            return Err(Error::Inconsistent(
                "a chunk of text came to a generator".to_owned(),
            ));
        };
        let mut decoded = Decoded::default();
        let mut start = rows.start;
        while start < rows.end {
            let end = rows.end.min(start + BATCH_ROWS as u64);
            let mut arrays: Vec<ArrayRef> = self
                .fields
                .iter()
                .map(|field| field.generate(start..end))
                .collect();
            for _ in 0..self.offsets {
                arrays.push(Arc::new(
                    (start..end).map(|row| row as i64).collect::<Int64Array>(),
                ));
            }
            let options = RecordBatchOptions::new().with_row_count(Some((end - start) as usize));
            let rows = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
                .map_err(|error| {
                    Error::Inconsistent(format!("generated columns do not fit together: {error}"))
                })?;
            decoded.batches.push(DecodedBatch {
                rows,
                retracted: None,
                offsets: (start..end).collect(),
            });
            start = end;
        }
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_belongs_to_one_split() {
        for (splits, rows) in [(1, 100_000), (3, 100_001), (4, 8192), (5, 1)] {
            let mut seen = vec![0_u8; rows as usize];
            for split in 0..splits {
                let stripe = Stripe { split, splits };
                let (mut next, end) = (0, stripe.share_of(rows));
                while next < end {
                    let dealt = stripe.rows(next, (end - next).min(5000));
                    next += dealt.end - dealt.start;
                    dealt.for_each(|row| seen[row as usize] += 1);
                }
            }
            assert!(
                seen.iter().all(|count| *count == 1),
                "{splits} splits, {rows} rows"
            );
        }
    }
}
