//! The one check of a table's options: every mistake at once, each with its place and a way out.
//!
//! ```text
//!   connector? ─▶ role? ─▶ format? ─▶ keys, values ─▶ metadata ─▶ columns ─▶ what does not go together
//! ```
//!
//! # Invariants
//! 1. It does no I/O, and reports all that it finds.
//! 2. What it lets through, the constructors understand: they refuse for reasons of the outside world alone.

use weir_types::Diagnostic;

use crate::options::{Form, OptionInfo, nearest};
use crate::registry::{
    CONNECTOR, ConnectorInfo, FORMAT, ON_ERROR, SOURCE_OPTIONS, connectors, find,
    sink_accepts_retractions,
};
use crate::table::{Role, TableRequest};
use crate::{datagen, filesystem, format, nexmark};

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
        "nexmark" => nexmark::check(request, &mut found),
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

/// Options of Flink's connectors and formats, and what says the same here.
const FOREIGN_OPTIONS: &[(&str, &str)] = &[
    (
        "scan.watermark.alignment.",
        "'watermark.max-drift' = '1 min'",
    ),
    (
        "scan.watermark.idle-timeout",
        "'source.idle-timeout' = '1 min'",
    ),
    (
        "scan.watermark.emit.",
        "remove it: a watermark follows every row",
    ),
    (
        "source.monitor-interval",
        "'mode' = 'continuous', 'source.scan.interval' = '10 s'",
    ),
    (
        "json.ignore-parse-errors",
        "'on.error' = 'skip', or 'dead-letter:TABLE'",
    ),
    (
        "csv.ignore-parse-errors",
        "'on.error' = 'skip', or 'dead-letter:TABLE'",
    ),
    (
        "json.fail-on-missing-field",
        "declare the column NOT NULL; a missing key is NULL",
    ),
    (
        "json.timestamp-format.standard",
        "'timestamp.format' = 'iso-8601'",
    ),
    ("csv.field-delimiter", "'csv.delimiter' = ';'"),
    ("csv.quote-character", "'csv.quote' = '\"'"),
    ("csv.null-literal", "'csv.null' = 'NULL'"),
    ("number-of-rows", "'rows' = '100'"),
    (
        "lookup.",
        "remove it: FOR SYSTEM_TIME AS OF PROCTIME() reads rows that are kept in state, and needs no cache",
    ),
    (
        "sink.rolling-policy.",
        "remove it: files become visible with each checkpoint",
    ),
];

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
    let diagnostic =
        Diagnostic::error("C0002", format!("{owner} an option '{key}'")).at(span, "not known");
    let foreign = FOREIGN_OPTIONS
        .iter()
        .find(|(start, _)| key.starts_with(start));
    if let Some((_, help)) = foreign {
        return diagnostic.help(*help);
    }
    let diagnostic = diagnostic.nearest(nearest(key, keys.iter().copied()));
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
