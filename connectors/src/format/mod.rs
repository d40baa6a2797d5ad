//! Formats: how a row is text. Transports (files, sockets) know nothing of them but where records end.
//!
//! ```text
//!   FormatInfo ── name, options ─▶ Settings ─┬─▶ Framing        where a record ends (dealers)
//!                                            ├─▶ TextDecoder    chunk ─▶ batches (one a worker)
//!                                            └─▶ RowEncoder     batch ─▶ lines (sinks)
//! ```

pub(crate) mod columns;
mod csv;
mod decimal;
mod decoder;
pub(crate) mod json;
mod ops;
mod pattern;
mod printing;
pub(crate) mod value;
pub(crate) mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use weir_types::{ChangeBatch, Column, DataType, Diagnostic};

pub(crate) use decoder::TextDecoder;
pub use json::json_rows;
pub use ops::{Op, ops_of};
pub(crate) use pattern::group_names;
pub use printing::{PrintFormat, plain_texts, row_encoder};

use crate::framing::Framing;
use crate::options::{Form, OptionInfo, Options};
use crate::registry::FORMAT;
use crate::table::{Role, TableRequest};
use csv::{CsvEncoder, CsvStyle};
use json::JsonEncoder;
use value::TimestampFormat;

/// What is known of a format.
#[derive(Clone, Copy, Debug)]
pub struct FormatInfo {
    /// The value of `'format'`.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Its own options.
    pub options: &'static [OptionInfo],
    /// The ending of a file in this format.
    pub(crate) extension: &'static str,
}

const TIMESTAMP_FORMAT: OptionInfo = OptionInfo {
    key: "timestamp.format",
    default: Some("sql"),
    form: Form::OneOf(TimestampFormat::WORDS),
    help: "how timestamps are written: `2013-01-31 23:59:00` (sql), `2013-01-31T23:59:00` (iso-8601; both with a `Z` for \
           TIMESTAMP_LTZ, and either reads both), or a whole number since 1970",
};
const CSV_HEADER: OptionInfo = OptionInfo {
    key: "csv.header",
    default: Some("true"),
    form: Form::Boolean,
    help: "each file begins with the columns' names: columns are found by them, else by their positions in the DDL; a sink \
           writes them at the top of each file",
};
const CSV_DELIMITER: OptionInfo = OptionInfo {
    key: "csv.delimiter",
    default: Some(","),
    form: Form::Character,
    help: "what stands between two fields",
};
const CSV_QUOTE: OptionInfo = OptionInfo {
    key: "csv.quote",
    default: Some("\""),
    form: Form::Character,
    help: "what a field stands in that holds a delimiter or a newline",
};
const CSV_NULL: OptionInfo = OptionInfo {
    key: "csv.null",
    default: Some(""),
    form: Form::Text,
    help: "an unquoted field of this text is NULL; a quoted one is the text",
};

const TEXT_PATTERN: OptionInfo = OptionInfo {
    key: "text.pattern",
    default: None,
    form: Form::Text,
    help: "a regular expression that each line has to match as a whole or in part: a group `(?<name>…)` is the column of that \
           name, one without a name the column at its position; a group that takes no part is NULL",
};

/// JSON, one object a line.
pub(crate) const JSON: FormatInfo = FormatInfo {
    name: "json",
    help: "one JSON object a line; a key is a column's external name; a missing key is NULL, other keys are skipped",
    options: &[TIMESTAMP_FORMAT],
    extension: "json",
};
/// CSV.
pub(crate) const CSV: FormatInfo = FormatInfo {
    name: "csv",
    help: "fields between delimiters; a quoted field may hold delimiters, doubled quotes and newlines",
    options: &[
        CSV_HEADER,
        CSV_DELIMITER,
        CSV_QUOTE,
        CSV_NULL,
        TIMESTAMP_FORMAT,
    ],
    extension: "csv",
};
/// JSON with the kind of each change.
pub(crate) const CHANGELOG_JSON: FormatInfo = FormatInfo {
    name: "changelog-json",
    help: "one JSON object a line with the columns and `op`: `+I` and `+U` add the row, `-U` and `-D` take it back",
    options: &[TIMESTAMP_FORMAT],
    extension: "json",
};
/// Lines as they are.
pub(crate) const TEXT: FormatInfo = FormatInfo {
    name: "text",
    help: "the whole line is the value of the table's one column, a STRING; with a pattern, its groups are the columns",
    options: &[TEXT_PATTERN],
    extension: "txt",
};

/// Columns with their types.
pub(crate) const PARQUET: FormatInfo = FormatInfo {
    name: "parquet",
    help: "Parquet files, read by the names of their columns, from files, once; written by append-only queries, a row group in memory at a time",
    options: &[],
    extension: "parquet",
};

/// All formats.
pub const FORMATS: [&FormatInfo; 5] = [&JSON, &CSV, &CHANGELOG_JSON, &TEXT, &PARQUET];

/// Whether the table's files are Parquet.
pub(crate) fn is_parquet(options: &BTreeMap<String, String>) -> bool {
    options
        .get(FORMAT.key)
        .is_some_and(|name| name == PARQUET.name)
}

/// What Parquet cannot do here.
fn check_parquet(request: &TableRequest, role: Role) -> Vec<Diagnostic> {
    let span = request.option_span(FORMAT.key);
    let refuse = |message: &str, why: &str, help: &str| {
        vec![Diagnostic::error("C0008", message).at(span, why).help(help)]
    };
    let option = |key: &str| request.options.get(key).map(String::as_str);
    if role == Role::Sink && option("connector") == Some("filesystem") {
        if option("mode") == Some("snapshot") {
            return refuse(
                "a snapshot is not written as Parquet",
                "its lines are sorted and merged",
                "use 'format' = 'json' or 'csv' with 'mode' = 'snapshot', or leave 'mode' out for a query that only adds rows",
            );
        }
        return Vec::new();
    }
    if option("connector") != Some("filesystem") {
        return refuse(
            "Parquet is read from files and written to files alone",
            "a stream has no footer",
            "use 'connector' = 'filesystem'",
        );
    }
    if option("mode") == Some("continuous") || option("split") == Some("file") {
        return refuse(
            "Parquet files are read once, in the order of their names",
            "neither followed nor split by file",
            "leave 'mode' and 'split' out",
        );
    }
    if option("on.error").is_some_and(|value| value != "fail") {
        return refuse(
            "'on.error' does not go with Parquet",
            "a Parquet file has no malformed records: it is whole, or it cannot be read",
            "leave 'on.error' out",
        );
    }
    Vec::new()
}

/// The format of that name.
pub(crate) fn find(name: &str) -> Option<&'static FormatInfo> {
    FORMATS.into_iter().find(|info| info.name == name)
}

/// A record (or its header) that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Byte index within the record.
    pub(crate) at: usize,
    pub(crate) reason: String,
}

impl Malformed {
    pub(crate) fn new(at: usize, reason: impl Into<String>) -> Self {
        Self {
            at,
            reason: reason.into(),
        }
    }

    /// Names the column or field that the value belongs to.
    pub(crate) fn within(self, name: &str) -> Self {
        if self.is_repeated_key() {
            return self;
        }
        Self {
            at: self.at,
            reason: format!("`{name}`: {}", self.reason),
        }
    }
}

/// Writes rows as lines.
pub trait RowEncoder: Send {
    /// What each file begins with.
    fn header(&self) -> Option<&[u8]> {
        None
    }

    /// Calls `each` with every row's number and its line, newline included. `ops` has one element a row if the format
    /// shows the kind of changes.
    fn encode(&mut self, changes: &ChangeBatch, ops: &[Op], each: &mut dyn FnMut(usize, &[u8]));
}

/// A format with its options, as one table uses it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) info: &'static FormatInfo,
    timestamps: TimestampFormat,
    csv: CsvStyle,
    /// Of format `text`.
    pattern: Option<String>,
}

impl Settings {
    pub(crate) fn of(request: &TableRequest) -> Self {
        let options = Options(&request.options);
        let info = request
            .options
            .get(FORMAT.key)
            .and_then(|name| find(name))
            .unwrap_or(&JSON);
        let csv = CsvStyle {
            header: options.boolean(&CSV_HEADER),
            delimiter: options.character(&CSV_DELIMITER),
            quote: options.character(&CSV_QUOTE),
            null: options.word(&CSV_NULL).to_owned(),
        };
        Self {
            info,
            timestamps: TimestampFormat::parse(options.word(&TIMESTAMP_FORMAT)),
            csv,
            pattern: options.text(&TEXT_PATTERN).map(str::to_owned),
        }
    }

    /// Whether rows are written in columns, and not as lines.
    pub(crate) fn is_parquet(&self) -> bool {
        self.is(&PARQUET)
    }

    fn is(&self, info: &FormatInfo) -> bool {
        self.info.name == info.name
    }

    /// Whether the format shows the kind of each change.
    pub(crate) fn shows_ops(&self) -> bool {
        self.is(&CHANGELOG_JSON)
    }

    /// Whether each file begins with a header record.
    pub(crate) fn has_header(&self) -> bool {
        self.is(&CSV) && self.csv.header
    }

    pub(crate) fn framing(&self) -> Framing {
        if self.is(&CSV) {
            Framing::Csv {
                quote: self.csv.quote,
                delimiter: self.csv.delimiter,
            }
        } else {
            Framing::Lines
        }
    }

    pub(crate) fn encoder(&self, columns: &[Column]) -> Box<dyn RowEncoder> {
        match self.info.name {
            "csv" => Box::new(CsvEncoder::new(columns, self.timestamps, self.csv.clone())),
            "changelog-json" => Box::new(JsonEncoder::new(columns, self.timestamps).with_op()),
            "text" => {
                // Neither delimiter nor quote nor NULL can occur in a line: it stands as it is.
                Box::new(ops::TextEncoder)
            }
            _ => Box::new(JsonEncoder::new(columns, self.timestamps)),
        }
    }
}

/// Whether the format can write and read the columns.
pub(crate) fn check_columns(
    request: &TableRequest,
    format: &FormatInfo,
    role: Role,
    found: &mut Vec<Diagnostic>,
) {
    let columns = if role == Role::Source {
        &request.declared
    } else {
        &request.columns
    };
    let span = request.option_span(FORMAT.key);
    if format.name == TEXT.name {
        found.extend(pattern::check(request, role, columns));
    }
    if format.name == PARQUET.name {
        found.extend(check_parquet(request, role));
    }
    let mut refuse = |column: &Column, why: &str, help: String| {
        let message = format!(
            "column `{}` is {}, which format `{}` cannot hold",
            column.name, column.data_type, format.name
        );
        found.push(Diagnostic::error("C0007", message).at(span, why).help(help));
    };
    for column in columns {
        let nested = matches!(
            column.data_type,
            DataType::Row(_) | DataType::Array(_) | DataType::Map(..)
        );
        if format.name == TEXT.name && request.options.contains_key(TEXT_PATTERN.key) {
            if nested {
                refuse(
                    column,
                    "a group of a pattern is a single value",
                    "declare it STRING".to_owned(),
                );
            }
        } else if format.name == TEXT.name {
            if columns.len() != 1 || column.data_type != DataType::String {
                refuse(
                    column,
                    "a line is one STRING",
                    "declare exactly one column, of type STRING".to_owned(),
                );
            }
        } else if format.name == CSV.name && nested && role == Role::Source {
            refuse(
                column,
                "a field of CSV is a single value",
                "read it as STRING, or use 'format' = 'json'".to_owned(),
            );
        } else if !can_hold(&column.data_type, role) {
            let help = format!("CAST({} AS STRING) can be written", column.name);
            refuse(column, "this type has no text in records", help);
        } else if format.name == CHANGELOG_JSON.name && column.external() == ops::OP {
            refuse(
                column,
                "`op` is the kind of the change",
                "give the column another name".to_owned(),
            );
        }
    }
}

fn can_hold(data_type: &DataType, role: Role) -> bool {
    match data_type {
        DataType::Interval => false,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            role == Role::Sink
        }
        DataType::Row(fields) => fields.iter().all(|field| can_hold(&field.data_type, role)),
        DataType::Array(element) => can_hold(element, role),
        DataType::Map(key, element) => {
            let scalar = !matches!(
                **key,
                DataType::Row(_) | DataType::Array(_) | DataType::Map(..) | DataType::Null
            );
            scalar && can_hold(key, role) && can_hold(element, role)
        }
        _ => true,
    }
}
