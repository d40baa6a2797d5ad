//! Rows out of nothing: every value is a function of seed, column and row number.
//!
//! ```text
//!   row number ── mix(seed, column) ─▶ random value        sequence: start + row × step
//! ```
//!
//! # Invariants
//! 1. Row r is the same row whatever was asked for before: any position can be entered at once.
//! 2. A column's values do not depend on which other columns there are.

mod attributes;
mod field;

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use weir_types::{DataType, Diagnostic, SplitId};

use crate::check::bad_value;
use crate::error::{Error, Result};
use crate::numbered::{Numbered, batch_of, batches_of};
use crate::options::{Form, OptionInfo, Options, nearest};
use crate::registry::{ConnectorInfo, MetadataInfo};
use crate::source::{Chunk, Dealer, Decoded, Decoder, Position, Source, SplitListing};
use crate::table::TableRequest;
pub(crate) use attributes::ATTRIBUTES;
use attributes::Problem;
use field::{FieldSpec, Place};

/// What the options of single columns begin with.
pub(crate) const FIELD_PREFIX: &str = "fields.";
/// With several splits, rows are dealt to them in blocks of so many.
const BLOCK_ROWS: u64 = 8192;
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
    numbered: Numbered,
}

impl DatagenSource {
    pub(crate) fn open(request: TableRequest) -> Self {
        let options = Options(&request.options);
        let numbered = Numbered {
            name: INFO.name,
            splits: options.count(&SPLITS).unwrap_or(1).max(1),
            block: BLOCK_ROWS,
            rows: options.count(&ROWS),
            rate: options.count(&RATE).map(|rate| rate as f64),
            row_bytes: ROW_BYTES,
        };
        Self { request, numbered }
    }
}

impl Source for DatagenSource {
    fn splits(&self, _restored: &BTreeMap<SplitId, Position>) -> Result<SplitListing> {
        Ok(self.numbered.listing())
    }

    fn dealer(&self, split: &SplitId, position: Option<&Position>) -> Result<Box<dyn Dealer>> {
        self.numbered.dealer(split, position)
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
            schema: DataType::arrow_schema(&all),
        }))
    }

    fn bounded(&self) -> bool {
        self.numbered.rows.is_some()
    }

    fn end_of(&self, split: &SplitId) -> Result<Option<Position>> {
        self.numbered.end_of(split)
    }
}

struct DatagenDecoder {
    fields: Vec<FieldSpec>,
    /// Those of the fields, and of metadata, which is the row's number.
    schema: SchemaRef,
}

impl Decoder for DatagenDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        let mut decoded = Decoded::default();
        for rows in batches_of(chunk)? {
            let fields = self.fields.iter();
            let columns = fields.map(|field| field.generate(rows.clone())).collect();
            let batch = batch_of(&self.schema, columns, rows.collect())?;
            decoded.batches.push(batch);
        }
        Ok(decoded)
    }
}
