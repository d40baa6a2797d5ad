//! Which connectors and formats there are, what options they take, and the one check of a table's options.
//!
//! ```text
//!   options ──▶ check_table: connector? role? format? keys? values? columns?  ──▶ every mistake, with its place
//!           ──▶ open_source / open_sink: the same check, then the connector's constructor
//! ```
//!
//! # Invariants
//! 1. `check_table` does no I/O and reports all that it finds.
//! 2. What it lets through, the constructors understand: they refuse for reasons of the outside world alone.

use std::collections::BTreeMap;

use weir_types::{Column, DataType, Diagnostic, Severity};

use crate::error::Result;
use crate::options::{Form, OptionInfo, Options, nearest};
use crate::sink::{Sink, SinkEnvironment};
use crate::source::Source;
use crate::table::{OnError, Role, SourceTraits, TableRequest};
use crate::{blackhole, datagen, filesystem, format, print, socket, stdin};

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
    fn data_type(&self) -> DataType {
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
pub fn connectors() -> [&'static ConnectorInfo; 6] {
    [
        &filesystem::INFO,
        &stdin::INFO,
        &socket::INFO,
        &datagen::INFO,
        &print::INFO,
        &blackhole::INFO,
    ]
}

fn find(name: &str) -> Option<&'static ConnectorInfo> {
    connectors().into_iter().find(|info| info.name == name)
}

fn connector_of(options: &BTreeMap<String, String>) -> Option<&'static ConnectorInfo> {
    options.get(CONNECTOR.key).and_then(|name| find(name))
}

/// Checks a table's options in one role without any I/O: connector, format, keys, values, column types.
pub fn check_table(request: &TableRequest, role: Role) -> Vec<Diagnostic> {
    let connector = match check_connector(request, role) {
        Ok(connector) => connector,
        Err(diagnostic) => return vec![*diagnostic],
    };
    let mut found = Vec::new();
    let format = if connector.formatted {
        check_format(request, &mut found)
    } else {
        None
    };
    check_keys(request, connector, format, &mut found);
    check_metadata(request, connector, role, &mut found);
    if let Some(format) = format {
        format::check_columns(request, format, role, &mut found);
    }
    match connector.name {
        "filesystem" => filesystem::check(request, role, &mut found),
        "datagen" => datagen::check(request, &mut found),
        _ => {}
    }
    if role == Role::Sink && request.retractions && !sink_accepts_retractions(&request.options) {
        found.push(
            Diagnostic::error(
                "C0010",
                format!(
                    "rows of `{}` can be taken back, and it cannot take retractions",
                    request.table
                ),
            )
            .at(
                request.option_span("format"),
                "this format can only add rows",
            )
            .help("'format' = 'changelog-json' writes every change with its kind")
            .help("'mode' = 'snapshot' keeps the current result as one file"),
        );
    }
    found
}

fn check_connector(
    request: &TableRequest,
    role: Role,
) -> std::result::Result<&'static ConnectorInfo, Box<Diagnostic>> {
    let names = || connectors().map(|info| info.name);
    let Some(name) = request.options.get(CONNECTOR.key) else {
        return Err(Box::new(
            Diagnostic::error(
                "C0004",
                format!(
                    "table `{}` does not say which connector it uses",
                    request.table
                ),
            )
            .at(request.table_span, "no 'connector' among the options")
            .help(format!(
                "add WITH ('connector' = '…'): {}",
                names().join(", ")
            )),
        ));
    };
    let span = request.option_span(CONNECTOR.key);
    let Some(connector) = find(name) else {
        return Err(Box::new(
            Diagnostic::error("C0001", format!("there is no connector `{name}`"))
                .at(span, "not known")
                .nearest(nearest(name, names()))
                .help(format!("connectors are {}", names().join(", "))),
        ));
    };
    let able = |can: fn(&ConnectorInfo) -> bool| {
        connectors()
            .iter()
            .filter(|info| can(info))
            .map(|info| info.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match role {
        Role::Source if !connector.source => Err(Box::new(
            Diagnostic::error(
                "C0006",
                format!(
                    "`{}` cannot be read: connector `{name}` only writes",
                    request.table
                ),
            )
            .at(span, "a sink")
            .help(format!(
                "connectors that read are {}",
                able(|info| info.source)
            )),
        )),
        Role::Sink if !connector.sink => Err(Box::new(
            Diagnostic::error(
                "C0006",
                format!(
                    "`{}` cannot be written: connector `{name}` only reads",
                    request.table
                ),
            )
            .at(span, "a source")
            .help(format!(
                "connectors that write are {}",
                able(|info| info.sink)
            )),
        )),
        _ => Ok(connector),
    }
}

fn check_format(
    request: &TableRequest,
    found: &mut Vec<Diagnostic>,
) -> Option<&'static format::FormatInfo> {
    let names = || format::FORMATS.iter().map(|info| info.name);
    let list = || names().collect::<Vec<_>>().join(", ");
    let Some(name) = request.options.get(FORMAT.key) else {
        found.push(
            Diagnostic::error(
                "C0004",
                format!(
                    "table `{}` does not say which format its records have",
                    request.table
                ),
            )
            .at(
                request.option_span(CONNECTOR.key),
                "this connector needs a 'format'",
            )
            .help(format!("add 'format' = '…': {}", list())),
        );
        return None;
    };
    let format = format::find(name);
    if format.is_none() {
        found.push(
            Diagnostic::error("C0005", format!("there is no format `{name}`"))
                .at(request.option_span(FORMAT.key), "not known")
                .nearest(nearest(name, names()))
                .help(format!("formats are {}", list())),
        );
    }
    format
}

/// Every option must be known to the connector or to the format, in whatever role: one table may be read and written.
fn check_keys(
    request: &TableRequest,
    connector: &'static ConnectorInfo,
    format: Option<&'static format::FormatInfo>,
    found: &mut Vec<Diagnostic>,
) {
    let known = known_options(connector, format);
    for (key, value) in &request.options {
        if connector.name == "datagen" && key.starts_with(datagen::FIELD_PREFIX) {
            continue; // Checked with the columns in sight.
        }
        match known.iter().find(|info| info.key == key) {
            Some(info) => found.extend(check_value(request, info, value)),
            None => found.push(unknown_option(request, key, connector, format, &known)),
        }
    }
    for info in &known {
        let absent = info.form.is_required()
            && info.default.is_none()
            && !request.options.contains_key(info.key);
        if absent && info.key != FORMAT.key {
            found.push(
                Diagnostic::error(
                    "C0004",
                    format!(
                        "connector `{}` needs the option '{}'",
                        connector.name, info.key
                    ),
                )
                .at(
                    request.option_span(CONNECTOR.key),
                    format!("'{}' is missing", info.key),
                )
                .help(format!("'{}': {}", info.key, info.help)),
            );
        }
    }
}

/// All options of a connector with a format.
pub(crate) fn known_options(
    connector: &'static ConnectorInfo,
    format: Option<&'static format::FormatInfo>,
) -> Vec<&'static OptionInfo> {
    let mut known = vec![&CONNECTOR];
    if connector.formatted {
        known.push(&FORMAT);
    }
    known.extend(connector.options);
    if connector.source {
        if connector.formatted {
            known.push(&ON_ERROR);
        }
        known.extend(SOURCE_OPTIONS);
    }
    known.extend(format.iter().flat_map(|format| format.options));
    known
}

pub(crate) fn check_value(
    request: &TableRequest,
    info: &OptionInfo,
    value: &str,
) -> Option<Diagnostic> {
    (!info.form.accepts(value)).then(|| bad_value(request, info.key, value, info.form))
}

/// An error about a value that has not the form of its option.
pub(crate) fn bad_value(request: &TableRequest, key: &str, value: &str, form: Form) -> Diagnostic {
    Diagnostic::error(
        "C0003",
        format!("'{value}' is no value of the option '{key}'"),
    )
    .at(
        request.option_span(key),
        format!("expected {}", form.describe()),
    )
    .nearest(nearest(value, form.words().iter().copied()))
}

fn unknown_option(
    request: &TableRequest,
    key: &str,
    connector: &'static ConnectorInfo,
    format: Option<&'static format::FormatInfo>,
    known: &[&OptionInfo],
) -> Diagnostic {
    let span = request.option_span(key);
    let elsewhere = format::FORMATS
        .iter()
        .find(|other| other.options.iter().any(|info| info.key == key));
    if let (Some(format), Some(other)) = (format, elsewhere) {
        return Diagnostic::error(
            "C0002",
            format!("format `{}` has no option '{key}'", format.name),
        )
        .at(span, format!("an option of format `{}`", other.name))
        .help(format!("leave it out, or use 'format' = '{}'", other.name));
    }
    let owner = match format {
        Some(format) => format!(
            "neither connector `{}` nor format `{}` has",
            connector.name, format.name
        ),
        None => format!("connector `{}` does not have", connector.name),
    };
    let keys: Vec<_> = known.iter().map(|info| info.key).collect();
    let diagnostic = Diagnostic::error("C0002", format!("{owner} an option '{key}'"))
        .at(span, "not known")
        .nearest(nearest(key, keys.iter().copied()));
    if diagnostic.help.is_empty() {
        diagnostic.help(format!("options are {}", keys.join(", ")))
    } else {
        diagnostic
    }
}

fn check_metadata(
    request: &TableRequest,
    connector: &'static ConnectorInfo,
    role: Role,
    found: &mut Vec<Diagnostic>,
) {
    if role == Role::Sink {
        return;
    }
    for (key, column) in &request.metadata {
        let keys = || connector.metadata.iter().map(|info| info.key);
        match connector.metadata.iter().find(|info| info.key == key) {
            None => {
                let list = keys().collect::<Vec<_>>().join(", ");
                let list = if list.is_empty() {
                    "it has none".to_owned()
                } else {
                    format!("it has {list}")
                };
                found.push(
                    Diagnostic::error(
                        "C0009",
                        format!("connector `{}` has no metadata '{key}'", connector.name),
                    )
                    .at(
                        request.table_span,
                        format!("asked for by column `{}`; {list}", column.name),
                    )
                    .nearest(nearest(key, keys())),
                );
            }
            Some(info) if info.data_type() != column.data_type => found.push(
                Diagnostic::error(
                    "C0009",
                    format!(
                        "metadata '{key}' is {}, not {}",
                        info.data_type(),
                        column.data_type
                    ),
                )
                .at(
                    request.table_span,
                    format!("declared by column `{}`", column.name),
                )
                .help(format!("declare it {} {}", column.name, info.data_type())),
            ),
            Some(_) => {}
        }
    }
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
