//! CSV: fields between delimiters, quoted where they hold a delimiter, a quote or a newline.
//!
//! ```text
//!   name,note          header: columns are found by their external names; without one, by their positions in the DDL
//!   Ann,"said ""hi"""  a quote opens a field only at its beginning; a doubled quote is a quote
//!   Bob,               an unquoted field that spells NULL is NULL; a quoted one never is
//! ```
//!
//! # Invariants
//! 1. A record has exactly as many fields as the header (or the DDL): more or fewer is an error.
//! 2. Only the requested fields are read; all are counted.

use bytes::Bytes;
use memchr::memchr;
use weir_types::{ChangeBatch, Column};

use super::columns::ColumnBuilder;
use super::value::TimestampFormat;
use super::values::{ColumnValues, Style};
use super::{Malformed, Op, RowEncoder};

/// The spelling of CSV, from the options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CsvStyle {
    pub(crate) header: bool,
    pub(crate) delimiter: u8,
    pub(crate) quote: u8,
    pub(crate) null: String,
}

/// Decodes records to the values of some columns.
#[derive(Debug)]
pub(crate) struct CsvDecoder {
    style: CsvStyle,
    /// External names of the requested columns.
    names: Vec<String>,
    /// Where the requested columns stand in the DDL.
    positions: Vec<usize>,
    /// How many physical columns the DDL has.
    declared: usize,
    layout: Layout,
    scratch: String,
}

/// Which field goes to which column.
#[derive(Debug, Default)]
struct Layout {
    /// The header that this was made from; `None`: positions of the DDL.
    header: Option<Bytes>,
    /// For each field of a record the column that wants it.
    fields: Vec<Option<usize>>,
}

impl CsvDecoder {
    /// `names` of the requested columns, `positions` of them among the `declared` physical columns.
    pub(crate) fn new(
        style: CsvStyle,
        names: Vec<String>,
        positions: Vec<usize>,
        declared: usize,
    ) -> Self {
        let mut fields = vec![None; declared];
        for (column, position) in positions.iter().enumerate() {
            fields[*position] = Some(column);
        }
        let layout = Layout {
            header: None,
            fields,
        };
        Self {
            style,
            names,
            positions,
            declared,
            layout,
            scratch: String::new(),
        }
    }

    /// Looks up the columns in the header of the origin that comes next.
    pub(crate) fn use_header(&mut self, header: Option<&Bytes>) -> Result<(), Malformed> {
        let Some(header) = header else { return Ok(()) };
        if self.layout.header.as_ref() == Some(header) {
            return Ok(());
        }
        let text = std::str::from_utf8(header)
            .map_err(|error| Malformed::new(error.valid_up_to(), "the header is not UTF-8"))?;
        let mut found: Vec<String> = Vec::new();
        let mut scratch = String::new();
        split(text, &self.style, &mut scratch, |_, field| {
            found.push(field.text.to_owned());
            Ok(())
        })?;
        let mut fields = vec![None; found.len()];
        for (column, name) in self.names.iter().enumerate() {
            let mut places = (0..found.len()).filter(|place| found[*place] == *name);
            let Some(place) = places.next() else {
                return Err(self.no_such_header(name, &found));
            };
            if places.next().is_some() {
                return Err(Malformed::new(0, format!("the header has `{name}` twice")));
            }
            fields[place] = Some(column);
        }
        self.layout = Layout {
            header: Some(header.clone()),
            fields,
        };
        Ok(())
    }

    fn no_such_header(&self, name: &str, found: &[String]) -> Malformed {
        let position = self
            .names
            .iter()
            .position(|known| known == name)
            .map(|column| self.positions[column] + 1);
        let near = crate::options::nearest(name, found.iter().map(String::as_str));
        let near = near
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        let place = position
            .map(|place| format!(" (column {place} of {})", self.declared))
            .unwrap_or_default();
        Malformed::new(0, format!("the header has no `{name}`{place}{near}"))
    }

    /// Adds the record's values to `columns`. After an error the builders must be settled.
    pub(crate) fn decode(
        &mut self,
        record: &str,
        columns: &mut [ColumnBuilder],
    ) -> Result<(), Malformed> {
        let Self {
            style,
            names,
            layout,
            scratch,
            ..
        } = self;
        let expected = layout.fields.len();
        let count = split(record, style, scratch, |place, field| {
            let Some(column) = layout.fields.get(place).copied().flatten() else {
                return Ok(());
            };
            // A record of one NULL is written as a quoted nothing, because an empty line is no record: where the column
            // cannot hold an empty text, that is what it is.
            let is_lone_null = expected == 1
                && field.text.is_empty()
                && style.null.is_empty()
                && !columns[column].takes_empty_text();
            let outcome = if is_lone_null || (!field.quoted && field.text == style.null) {
                columns[column].append_null()
            } else {
                columns[column].append_text(field.text)
            };
            outcome.map_err(|reason| Malformed::new(field.at, reason).within(&names[column]))
        })?;
        if count != expected {
            let kind = if count < expected {
                "too few"
            } else {
                "too many"
            };
            return Err(Malformed::new(
                0,
                format!("{kind} fields: {count} instead of {expected}"),
            ));
        }
        Ok(())
    }
}

struct CsvField<'a> {
    text: &'a str,
    quoted: bool,
    /// Where it begins in the record.
    at: usize,
}

/// Calls `each` for every field with its number; the answer is how many there are.
fn split(
    record: &str,
    style: &CsvStyle,
    scratch: &mut String,
    mut each: impl FnMut(usize, CsvField<'_>) -> Result<(), Malformed>,
) -> Result<usize, Malformed> {
    let bytes = record.as_bytes();
    let (mut at, mut count) = (0, 0);
    loop {
        let end = if bytes.get(at) == Some(&style.quote) {
            let end = unquote(record, at, style, scratch)?;
            each(
                count,
                CsvField {
                    text: scratch,
                    quoted: true,
                    at,
                },
            )?;
            end
        } else {
            let end =
                memchr(style.delimiter, &bytes[at..]).map_or(bytes.len(), |length| at + length);
            each(
                count,
                CsvField {
                    text: &record[at..end],
                    quoted: false,
                    at,
                },
            )?;
            end
        };
        count += 1;
        if end == bytes.len() {
            return Ok(count);
        }
        at = end + 1;
    }
}

/// The text of the quoted field at `start`, into `scratch`; the answer is where its delimiter stands.
fn unquote(
    record: &str,
    start: usize,
    style: &CsvStyle,
    scratch: &mut String,
) -> Result<usize, Malformed> {
    let bytes = record.as_bytes();
    scratch.clear();
    let mut at = start + 1;
    loop {
        let Some(length) = memchr(style.quote, &bytes[at..]) else {
            return Err(Malformed::new(
                start,
                "a quote is opened here and never closed",
            ));
        };
        scratch.push_str(&record[at..at + length]);
        at += length + 1;
        match bytes.get(at) {
            None => return Ok(at),
            Some(next) if *next == style.delimiter => return Ok(at),
            Some(next) if *next == style.quote => {
                scratch.push(char::from(style.quote));
                at += 1;
            }
            Some(_) => {
                return Err(Malformed::new(
                    at,
                    "a closing quote is followed by more text",
                ));
            }
        }
    }
}

/// Writes rows as records.
#[derive(Debug)]
pub(crate) struct CsvEncoder {
    style: CsvStyle,
    styles: Vec<Style>,
    header: Vec<u8>,
}

impl CsvEncoder {
    pub(crate) fn new(columns: &[Column], timestamps: TimestampFormat, style: CsvStyle) -> Self {
        let mut header = Vec::new();
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                header.push(style.delimiter);
            }
            write_field(column.external().as_bytes(), &style, &mut header);
        }
        header.push(b'\n');
        let styles = columns
            .iter()
            .map(|column| Style::of(column, timestamps))
            .collect();
        Self {
            style,
            styles,
            header,
        }
    }
}

impl RowEncoder for CsvEncoder {
    fn header(&self) -> Option<&[u8]> {
        self.style.header.then_some(&self.header)
    }

    fn encode(&mut self, changes: &ChangeBatch, _ops: &[Op], each: &mut dyn FnMut(usize, &[u8])) {
        let values: Vec<_> = changes
            .rows
            .columns()
            .iter()
            .map(ColumnValues::of)
            .collect();
        let (mut line, mut field) = (Vec::with_capacity(256), Vec::new());
        for row in 0..changes.num_rows() {
            line.clear();
            for (place, (value, style)) in values.iter().zip(&self.styles).enumerate() {
                if place > 0 {
                    line.push(self.style.delimiter);
                }
                if value.is_null(row) {
                    line.extend_from_slice(self.style.null.as_bytes());
                } else {
                    field.clear();
                    value.write_plain(row, style, &mut field);
                    write_field(&field, &self.style, &mut line);
                }
            }
            if line.is_empty() {
                // A record without a byte would be an empty line, which is no record: a NULL alone cannot be told
                // from nothing unless it is spelt, so the field is quoted and comes back as an empty text.
                line.extend_from_slice(&[self.style.quote, self.style.quote]);
            }
            line.push(b'\n');
            each(row, &line);
        }
    }
}

/// A field, quoted if it has to be: also where its text is the spelling of NULL.
fn write_field(text: &[u8], style: &CsvStyle, out: &mut Vec<u8>) {
    let special = |byte: &u8| {
        *byte == style.delimiter || *byte == style.quote || matches!(byte, b'\n' | b'\r')
    };
    if text != style.null.as_bytes() && !text.iter().any(special) {
        return out.extend_from_slice(text);
    }
    out.push(style.quote);
    for byte in text {
        if *byte == style.quote {
            out.push(style.quote);
        }
        out.push(*byte);
    }
    out.push(style.quote);
}
