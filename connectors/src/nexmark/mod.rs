//! The events of an auction house, as the Nexmark benchmark has them: persons, auctions and bids.
//!
//! ```text
//!   'table' = 'all'      event_type, date_time, person ROW<…>, auction ROW<…>, bid ROW<…>      row r is event r
//!   'table' = 'bid'      auction, bidder, price, …                        row r is the rth event that is a bid
//!                                        │
//!   dealer: row numbers ─▶ decoder ─▶ events ─▶ model.rs: ids, times, prices ─▶ fields.rs: columns
//! ```
//!
//! # Invariants
//! 1. An event is the same whichever table it is read from, in whatever splits, and whatever columns are read with it.
//! 2. Only the columns that are read are made; of a ROW column only the fields that the table declares.

mod fields;
mod model;
mod prepared;
mod words;

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, StructArray, UInt32Array};
use arrow::datatypes::SchemaRef;
use weir_types::{Column, DataType, Diagnostic, SplitId, TimeUnit};

use crate::error::{Error, Result};
use crate::format::value::parse_timestamp;
use crate::numbered::{Numbered, batch_of, batches_of};
use crate::options::{Form, OptionInfo, Options, nearest};
use crate::registry::{ConnectorInfo, MetadataInfo};
use crate::source::{
    Chunk, Dealer, Decoded, DecodedBatch, Decoder, Position, Source, SplitListing,
};
use crate::table::TableRequest;
use fields::{EVENT, Field};
use model::{Kind, Model, ROUND};
use prepared::Prepared;

/// With several splits, events are dealt to them in blocks of so many rounds.
const BLOCK_ROUNDS: u64 = 160;
/// A row counts as so many bytes when a chunk is measured.
const ROW_BYTES: usize = 100;

const TABLE: OptionInfo = OptionInfo {
    key: "table",
    default: Some("all"),
    form: Form::OneOf(&["all", "person", "auction", "bid"]),
    help: "which events are rows: of all three kinds, each in a ROW column of its own, or of one kind, their fields as columns",
};
/// Its presence makes the source a bounded one.
pub(crate) const EVENTS: OptionInfo = OptionInfo {
    key: "events",
    default: None,
    form: Form::Count(0),
    help: "how many events there are, of all three kinds together: of 50 events 1 is a person, 3 are auctions and 46 bids; \
           without it the source never ends",
};
const RATE: OptionInfo = OptionInfo {
    key: "events-per-second",
    default: None,
    form: Form::Count(1),
    help: "how fast events come, of all three kinds together and over all splits; as fast as they are taken unless set",
};
const SPLITS: OptionInfo = OptionInfo {
    key: "splits",
    default: Some("1"),
    form: Form::Count(1),
    help: "how many splits share the rows",
};
const SEED: OptionInfo = OptionInfo {
    key: "seed",
    default: Some("0"),
    form: Form::Count(0),
    help: "another seed gives other events",
};
const FIRST_TIME: OptionInfo = OptionInfo {
    key: "first.event.time",
    default: Some("2025-01-01 00:00:00"),
    form: Form::Timestamp,
    help: "event time of the first event, UTC",
};
const GAP: OptionInfo = OptionInfo {
    key: "event.gap",
    default: Some("100us"),
    form: Form::Duration,
    help: "event time from one event to the next",
};
const PREPARED: OptionInfo = OptionInfo {
    key: "prepared",
    default: Some("false"),
    form: Form::Boolean,
    help: "all events are made before the first one is read, and are kept in memory: to measure what reads them, and not how \
           they are made; 'events' says how many",
};
const DISORDER: OptionInfo = OptionInfo {
    key: "disorder",
    default: Some("1"),
    form: Form::Count(1),
    help: "within groups of so many events event time goes to and fro; 1: it never does",
};

/// The connector's description.
pub(crate) const INFO: ConnectorInfo = ConnectorInfo {
    name: "nexmark",
    help: "makes the events of an auction house: the model of the Nexmark benchmark, the same events for the same options, every \
           time",
    source: true,
    sink: false,
    formatted: false,
    options: &[
        TABLE, EVENTS, RATE, SPLITS, SEED, FIRST_TIME, GAP, DISORDER, PREPARED,
    ],
    metadata: &[MetadataInfo {
        key: "offset",
        is_text: false,
        help: "the event's number, from 0, among events of all kinds",
    }],
    guarantee: "It can be entered at any row.",
};

/// What the rows of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    All,
    Only(Kind),
}

impl Rows {
    fn of(options: Options<'_>) -> Self {
        let word = options.word(&TABLE);
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == word)
            .map_or(Self::All, Self::Only)
    }

    /// The event of a row.
    fn event(self, row: u64) -> u64 {
        match self {
            Self::All => row,
            Self::Only(kind) => kind.event(row),
        }
    }

    fn rows_among(self, events: u64) -> u64 {
        match self {
            Self::All => events,
            Self::Only(kind) => kind.rows_among(events),
        }
    }

    /// How many rows a round of fifty events has.
    fn share(self) -> u64 {
        match self {
            Self::All => ROUND,
            Self::Only(kind) => kind.share(),
        }
    }

    /// The fields that are columns.
    fn fields(self) -> &'static [Field] {
        match self {
            Self::All => EVENT,
            Self::Only(kind) => kind.fields(),
        }
    }

    /// The kind of event that a column holds as a ROW.
    fn nested(self, column: &str) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|kind| self == Self::All && kind.name() == column)
    }
}

/// Checks that the columns are fields of the model, each of its type.
pub(crate) fn check(request: &TableRequest, found: &mut Vec<Diagnostic>) {
    let options = Options(&request.options);
    if options.boolean(&PREPARED) && options.count(&EVENTS).is_none() {
        let diagnostic = Diagnostic::error("C0003", "events without end cannot be made beforehand")
            .at(request.option_span(PREPARED.key), "there is no 'events'")
            .help("say how many: 'events' = '1000000'");
        found.push(diagnostic);
    }
    let rows = Rows::of(options);
    for column in &request.declared {
        match (rows.nested(&column.name), &column.data_type) {
            (Some(_), _) if !column.nullable => found.push(wrong_type(
                request,
                column,
                "can be NULL, as each event is of one kind",
            )),
            (Some(kind), DataType::Row(inner)) => inner
                .iter()
                .for_each(|field| found.extend(check_field(request, field, kind.fields(), &[]))),
            (Some(kind), _) => {
                let fields = kind.fields().iter().take(2);
                let list: Vec<_> = fields
                    .map(|field| format!("{} {}", field.name, field.holds.sql()))
                    .collect();
                found.push(wrong_type(
                    request,
                    column,
                    &format!("is ROW<{}, …>", list.join(", ")),
                ));
            }
            (None, _) => {
                let nested: &[_] = if rows == Rows::All { &Kind::ALL } else { &[] };
                found.extend(check_field(request, column, rows.fields(), nested));
            }
        }
    }
}

fn check_field(
    request: &TableRequest,
    column: &Column,
    fields: &[Field],
    nested: &[Kind],
) -> Option<Diagnostic> {
    let names = || {
        let fields = fields.iter().map(|field| field.name);
        fields.chain(nested.iter().map(|kind| kind.name()))
    };
    let Some(field) = fields.iter().find(|field| field.name == column.name) else {
        let list: Vec<_> = names().collect();
        let diagnostic = Diagnostic::error(
            "C0020",
            format!("events of `nexmark` have no field `{}`", column.name),
        )
        .at(
            request.table_span,
            format!("a column of table `{}`", request.table),
        )
        .nearest(nearest(&column.name, names()))
        .help(format!("fields are {}", list.join(", ")));
        let flat =
            "'table' = 'person', 'auction' or 'bid' makes the fields of these events columns";
        return Some(if nested.is_empty() {
            diagnostic
        } else {
            diagnostic.help(flat)
        });
    };
    (!field.holds.accepts(&column.data_type)).then(|| {
        let diagnostic = wrong_type(request, column, &format!("is {}", field.holds.sql()));
        if field.help.is_empty() {
            diagnostic
        } else {
            diagnostic.help(format!("it holds: {}", field.help))
        }
    })
}

fn wrong_type(request: &TableRequest, column: &Column, what: &str) -> Diagnostic {
    Diagnostic::error(
        "C0021",
        format!("the field `{}` of `nexmark` {what}", column.name),
    )
    .at(
        request.table_span,
        format!("table `{}` declares {}", request.table, column.data_type),
    )
    .help("declare the column with that type, and cast it in the query")
}

/// Generates events.
pub(crate) struct NexmarkSource {
    request: TableRequest,
    rows: Rows,
    model: Model,
    numbered: Numbered,
    prepared: Prepared,
}

impl NexmarkSource {
    pub(crate) fn open(request: TableRequest) -> Self {
        let options = Options(&request.options);
        let rows = Rows::of(options);
        let nanos = |text| parse_timestamp(text, TimeUnit::Nano, true).ok();
        let model = Model {
            seed: options.count(&SEED).unwrap_or(0),
            first_nanos: options.text(&FIRST_TIME).and_then(nanos).unwrap_or(0),
            gap_nanos: i64::try_from(options.duration(&GAP).as_nanos()).unwrap_or(i64::MAX),
            disorder: options.count(&DISORDER).unwrap_or(1).max(1),
        };
        let numbered = Numbered {
            name: INFO.name,
            splits: options.count(&SPLITS).unwrap_or(1).max(1),
            block: BLOCK_ROUNDS * rows.share(),
            rows: options.count(&EVENTS).map(|events| rows.rows_among(events)),
            rate: options
                .count(&RATE)
                .map(|rate| rate as f64 * rows.share() as f64 / ROUND as f64),
            row_bytes: ROW_BYTES,
        };
        Self {
            request,
            rows,
            model,
            numbered,
            prepared: Prepared::default(),
        }
    }

    fn maker(&self) -> Maker {
        let metadata = self.request.metadata.iter().map(|(_, column)| column);
        let all: Vec<_> = self
            .request
            .columns
            .iter()
            .chain(metadata)
            .cloned()
            .collect();
        Maker {
            rows: self.rows,
            model: self.model,
            columns: self.request.columns.clone(),
            schema: DataType::arrow_schema(&all),
        }
    }
}

impl Source for NexmarkSource {
    fn splits(&self, _restored: &BTreeMap<SplitId, Position>) -> Result<SplitListing> {
        let mut listing = self.numbered.listing();
        let is_prepared = Options(&self.request.options).boolean(&PREPARED);
        if let (true, Some(rows)) = (is_prepared, self.numbered.rows) {
            let took = self.prepared.fill(&self.maker(), rows)?;
            listing.warnings.push(format!(
                "`{}`: {rows} rows were made beforehand, in {:.3} s",
                self.request.table,
                took.as_secs_f64()
            ));
        }
        Ok(listing)
    }

    fn dealer(&self, split: &SplitId, position: Option<&Position>) -> Result<Box<dyn Dealer>> {
        self.numbered.dealer(split, position)
    }

    fn decoder(&self) -> Result<Box<dyn Decoder>> {
        Ok(match self.prepared.batches() {
            Some(batches) => Box::new(batches),
            None => Box::new(self.maker()),
        })
    }

    fn bounded(&self) -> bool {
        self.numbered.rows.is_some()
    }

    fn end_of(&self, split: &SplitId) -> Result<Option<Position>> {
        self.numbered.end_of(split)
    }
}

/// Makes events.
struct Maker {
    rows: Rows,
    model: Model,
    columns: Vec<Column>,
    /// Those of the columns, and of metadata, which is the event's number.
    schema: SchemaRef,
}

impl Maker {
    fn column(&self, column: &Column, events: &[u64]) -> Result<ArrayRef> {
        if let Some(kind) = self.rows.nested(&column.name) {
            return self.nested(kind, &column.data_type, events);
        }
        Ok(match (self.rows, column.name.as_str()) {
            (Rows::Only(kind), name) => self.model.generate(kind, name, &column.data_type, events),
            (Rows::All, "event_type") => Model::event_types(events),
            (Rows::All, _) => self.model.times(&column.data_type, events, |event| {
                self.model.time_nanos(event)
            }),
        })
    }

    /// A ROW column: NULL where the event is of another kind.
    fn nested(&self, kind: Kind, data_type: &DataType, events: &[u64]) -> Result<ArrayRef> {
        let DataType::Row(fields) = data_type else {
            return Err(Error::Inconsistent(format!(
                "`{}` is {data_type} and not a ROW",
                kind.name()
            )));
        };
        let own: Vec<u64> = events
            .iter()
            .copied()
            .filter(|event| Kind::of(*event) == kind)
            .collect();
        let mut next = 0..;
        let places: UInt32Array = events
            .iter()
            .map(|event| (Kind::of(*event) == kind).then(|| next.next()).flatten())
            .collect();
        let arrays: Vec<ArrayRef> = fields
            .iter()
            .map(|field| {
                self.model
                    .generate(kind, &field.name, &field.data_type, &own)
            })
            .collect();
        let columns = fields.iter().map(Column::to_arrow_field).collect();
        let together = |error| Error::Inconsistent(format!("a ROW does not fit together: {error}"));
        let dense = StructArray::try_new(columns, arrays, None).map_err(together)?;
        arrow::compute::take(&dense, &places, None).map_err(together)
    }

    /// Some rows.
    fn batch(&self, rows: std::ops::Range<u64>) -> Result<DecodedBatch> {
        let events: Vec<u64> = rows.map(|row| self.rows.event(row)).collect();
        let columns = self.columns.iter();
        let columns: Result<_> = columns.map(|column| self.column(column, &events)).collect();
        batch_of(&self.schema, columns?, events)
    }
}

impl Decoder for Maker {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        let mut decoded = Decoded::default();
        for rows in batches_of(chunk)? {
            decoded.batches.push(self.batch(rows)?);
        }
        Ok(decoded)
    }
}

/// The fields of the model by the column that holds them, for the reference page.
#[cfg(test)]
pub(crate) fn reference() -> Vec<(String, Vec<[String; 3]>)> {
    let lines = |fields: &[Field]| {
        fields
            .iter()
            .map(|field| {
                [
                    field.name.to_owned(),
                    field.holds.sql().to_owned(),
                    field.help.to_owned(),
                ]
            })
            .collect::<Vec<_>>()
    };
    let mut all = lines(EVENT);
    all.extend(Kind::ALL.map(|kind| {
        let help = format!("the fields below; NULL if the event is no {}", kind.name());
        [kind.name().to_owned(), "ROW<…>".to_owned(), help]
    }));
    let mut tables = vec![("all".to_owned(), all)];
    tables.extend(Kind::ALL.map(|kind| (kind.name().to_owned(), lines(kind.fields()))));
    tables
}

#[cfg(test)]
mod tests;
