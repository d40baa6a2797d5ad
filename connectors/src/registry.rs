//! Which connectors there are, what each takes and promises, and how a table's options lead to one.
//!
//! `check.rs` checks a table by these descriptions, the pages in `docs/connectors` are made from them.

use std::collections::BTreeMap;

use weir_types::{Column, DataType, Diagnostic, Severity};

use crate::check::check_table;
use crate::error::Result;
use crate::options::{Form, OptionInfo, Options};
use crate::sink::{Sink, SinkEnvironment};
use crate::source::Source;
use crate::table::{OnError, Role, SourceTraits, TableRequest};
use crate::{blackhole, datagen, filesystem, format, nexmark, print, socket, stdin};

/// What is known of a connector before it is opened.
#[derive(Clone, Copy, Debug)]
pub struct ConnectorInfo {
    /// The value of `'connector'`.
    pub name: &'static str,
    /// What it is, in a sentence or two.
    pub help: &'static str,
    /// It can be read.
    pub source: bool,
    /// It can be written.
    pub sink: bool,
    /// It takes `'format'` and the options of that format.
    pub formatted: bool,
    /// Its own options.
    pub options: &'static [OptionInfo],
    /// Its metadata columns.
    pub metadata: &'static [MetadataInfo],
    /// What is promised of rows and crashes.
    pub guarantee: &'static str,
}

/// A metadata column of a connector.
#[derive(Clone, Copy, Debug)]
pub struct MetadataInfo {
    /// The key in `METADATA FROM 'key'`.
    pub key: &'static str,
    /// Its type: STRING if true, BIGINT if not.
    pub is_text: bool,
    /// What it holds.
    pub help: &'static str,
}

impl MetadataInfo {
    pub(crate) fn data_type(&self) -> DataType {
        if self.is_text {
            DataType::String
        } else {
            DataType::Int64
        }
    }
}

/// Metadata of every connector that reads text.
pub(crate) const TEXT_METADATA: &[MetadataInfo] = &[
    MetadataInfo {
        key: "file",
        is_text: true,
        help: "the file's name as it was listed, or `stdin`, `host:port`",
    },
    MetadataInfo {
        key: "offset",
        is_text: false,
        help: "byte offset of the record in its (decompressed) file",
    },
    MetadataInfo {
        key: "line",
        is_text: false,
        help: "number of the record's first line in its file, from 1",
    },
];

/// Every connector takes these.
pub(crate) const CONNECTOR: OptionInfo = OptionInfo {
    key: "connector",
    default: None,
    form: Form::Required,
    help: "which connector reads or writes the table",
};
/// Every connector with records takes this.
pub(crate) const FORMAT: OptionInfo = OptionInfo {
    key: "format",
    default: None,
    form: Form::Required,
    help: "how a row is written as text",
};
/// See [`OnError`].
pub(crate) const ON_ERROR: OptionInfo = OptionInfo {
    key: "on.error",
    default: Some("fail"),
    form: Form::OnError,
    help: "what becomes of a malformed record: the job stops and names file, line and column; it is skipped and counted; \
           or it goes to a table of yours with the columns that the page on formats lists",
};
/// Options of every source that the engine acts on.
pub(crate) const SOURCE_OPTIONS: &[OptionInfo] = &[
    OptionInfo {
        key: "source.idle-timeout",
        default: None,
        form: Form::Duration,
        help: "a split without a row for this long stops holding the watermark back; off unless set",
    },
    OptionInfo {
        key: "watermark.max-drift",
        default: None,
        form: Form::Duration,
        help: "a split whose watermark is further ahead of the slowest one than this waits; off unless set",
    },
];

/// All connectors.
pub fn connectors() -> [&'static ConnectorInfo; 7] {
    [
        &filesystem::INFO,
        &stdin::INFO,
        &socket::INFO,
        &datagen::INFO,
        &nexmark::INFO,
        &print::INFO,
        &blackhole::INFO,
    ]
}

pub(crate) fn find(name: &str) -> Option<&'static ConnectorInfo> {
    connectors().into_iter().find(|info| info.name == name)
}

fn connector_of(options: &BTreeMap<String, String>) -> Option<&'static ConnectorInfo> {
    options.get(CONNECTOR.key).and_then(|name| find(name))
}

/// The type of a metadata column of the table's connector; `None` if it has no such key.
pub fn metadata_type(options: &BTreeMap<String, String>, key: &str) -> Option<DataType> {
    connector_of(options)?
        .metadata
        .iter()
        .find(|info| info.key == key)
        .map(MetadataInfo::data_type)
}

/// What reading the table gives, from its options alone.
pub fn source_traits(options: &BTreeMap<String, String>) -> SourceTraits {
    let bounded = match options.get(CONNECTOR.key).map(String::as_str) {
        Some("filesystem") => !filesystem::is_continuous(options),
        Some("datagen") => options.contains_key(datagen::ROWS.key),
        Some("nexmark") => options.contains_key(nexmark::EVENTS.key),
        _ => false,
    };
    let formatted = connector_of(options).is_some_and(|info| info.formatted);
    let retractions = formatted
        && options
            .get(FORMAT.key)
            .is_some_and(|name| name == format::CHANGELOG_JSON.name);
    SourceTraits {
        bounded,
        retractions,
    }
}

/// Whether the rows of a table can be read again from the beginning, from its options alone. Whether files are still there is
/// known when it is opened: [`crate::Source::beginning`].
pub fn can_be_read_again(options: &BTreeMap<String, String>) -> bool {
    !matches!(
        options.get(CONNECTOR.key).map(String::as_str),
        Some("stdin" | "socket")
    )
}

/// Whether the place that a table is read from keeps times of its own, by which a place in it can be found:
/// [`crate::Source::written_since`].
pub fn keeps_times(options: &BTreeMap<String, String>) -> bool {
    options.get(CONNECTOR.key).map(String::as_str) == Some("filesystem")
}

/// Whether a table that is read has an end by now: [`crate::Source::end_of`].
pub fn has_an_end(options: &BTreeMap<String, String>) -> bool {
    match options.get(CONNECTOR.key).map(String::as_str) {
        Some("filesystem") => true,
        Some("datagen" | "nexmark") => source_traits(options).bounded,
        _ => false,
    }
}

/// Whether the table, as a sink, takes retractions.
pub fn sink_accepts_retractions(options: &BTreeMap<String, String>) -> bool {
    match options.get(CONNECTOR.key).map(String::as_str) {
        Some("filesystem") => {
            filesystem::is_snapshot(options)
                || options
                    .get(FORMAT.key)
                    .is_some_and(|name| name == format::CHANGELOG_JSON.name)
        }
        _ => true,
    }
}

/// What becomes of the table's malformed records.
pub fn on_error(options: &BTreeMap<String, String>) -> OnError {
    OnError::parse(Options(options).word(&ON_ERROR)).unwrap_or(OnError::Fail)
}

/// The columns that a dead-letter table may have, by name: it gets those of them that it declares.
pub fn dead_letter_columns() -> Vec<Column> {
    let column = |name: &str, data_type| Column::new(name, data_type);
    vec![
        column("source", DataType::String),
        column("file", DataType::String),
        column("line", DataType::Int64),
        column("offset", DataType::Int64),
        column("reason", DataType::String),
        column("record", DataType::String),
    ]
}

/// Opens a table for reading.
///
/// # Errors
/// The first mistake in its options, or what the outside world objects to.
pub fn open_source(request: TableRequest) -> Result<Box<dyn Source>> {
    first_error(check_table(&request, Role::Source))?;
    Ok(
        match request.options.get(CONNECTOR.key).map(String::as_str) {
            Some("stdin") => Box::new(stdin::StdinSource::open(request)?),
            Some("socket") => Box::new(socket::SocketSource::open(request)?),
            Some("datagen") => Box::new(datagen::DatagenSource::open(request)),
            Some("nexmark") => Box::new(nexmark::NexmarkSource::open(request)),
            _ => filesystem::open_source(request)?,
        },
    )
}

/// Opens a table for writing.
///
/// # Errors
/// The first mistake in its options, or what the outside world objects to.
pub fn open_sink(request: TableRequest, env: &SinkEnvironment) -> Result<Box<dyn Sink>> {
    first_error(check_table(&request, Role::Sink))?;
    Ok(
        match request.options.get(CONNECTOR.key).map(String::as_str) {
            Some("print") => Box::new(print::PrintSink::open(&request)),
            Some("blackhole") => Box::new(blackhole::BlackholeSink),
            _ => filesystem::open_sink(request, env)?,
        },
    )
}

fn first_error(found: Vec<Diagnostic>) -> Result<()> {
    match found
        .into_iter()
        .find(|diagnostic| diagnostic.severity == Severity::Error)
    {
        Some(diagnostic) => Err(diagnostic.into()),
        None => Ok(()),
    }
}
