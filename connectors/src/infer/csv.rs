//! Columns of CSV: the delimiter, whether there is a header, and a type for each column.
//!
//! The delimiter is the one of `,` tab `;` `|` that gives every record of the first hundred the same number of fields,
//! more than one; the first record is a header unless one of its fields is empty or reads as a number, a date or a boolean.

use std::collections::BTreeMap;

use weir_types::{Column, DataType};

use super::SAMPLE_RECORDS;
use super::scalar::Scalar;
use super::truth;
use crate::framing::Framing;

const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// So many records decide about the delimiter.
const DELIMITER_RECORDS: usize = 100;
const QUOTE: u8 = b'"';

/// A field without its quotes, and whether it had some.
type Field = (String, bool);

/// Whether the text is in columns: several fields a record, or values one below the other.
pub(super) fn looks_like(parts: &[&str]) -> bool {
    if delimiter_of(parts).is_some() {
        return true;
    }
    // A column of numbers is CSV with one column; words are lines.
    let mut lines = parts
        .iter()
        .flat_map(|part| part.lines())
        .filter(|line| !line.trim().is_empty())
        .take(DELIMITER_RECORDS)
        .peekable();
    lines.peek().is_some()
        && lines.skip(1).all(|line| Scalar::of(line.trim()).is_value())
        && parts
            .iter()
            .flat_map(|part| part.lines())
            .any(|line| Scalar::of(line.trim()).is_value())
}

/// Finds columns, and completes the options.
pub(super) fn infer(
    parts: &[&str],
    options: &mut BTreeMap<String, String>,
) -> Result<Vec<Column>, String> {
    let delimiter = match options.get("csv.delimiter").map(String::as_str) {
        Some("\\t") => b'\t',
        Some(text) if text.len() == 1 => text.as_bytes()[0],
        Some(text) => return Err(format!("a delimiter is one character, not `{text}`")),
        None => delimiter_of(parts).unwrap_or(b','),
    };
    let quote = match options.get("csv.quote").map(String::as_str) {
        Some(text) if text.len() == 1 => text.as_bytes()[0],
        _ => QUOTE,
    };
    let null = options.get("csv.null").cloned().unwrap_or_default();
    let asked_header = truth(options, "csv.header")?;
    let mut header = None;
    let (mut types, mut records): (Vec<Scalar>, usize) = (Vec::new(), 0);
    for part in parts {
        let mut first_of_file = true;
        for record in records_of(part, quote, delimiter) {
            let fields = split(record, quote, delimiter);
            if std::mem::take(&mut first_of_file) {
                let is_header = match (asked_header, &header) {
                    (Some(asked), _) => asked,
                    // The first file decides for all.
                    (None, Some(found)) => Option::is_some(found),
                    (None, None) => is_header(&fields),
                };
                if is_header {
                    if header.is_none() {
                        header = Some(Some(fields));
                    }
                    continue;
                }
                header.get_or_insert(None);
            }
            if records == SAMPLE_RECORDS {
                break;
            }
            records += 1;
            if types.len() < fields.len() {
                types.resize(fields.len(), Scalar::Nothing);
            }
            for (known, (text, quoted)) in types.iter_mut().zip(&fields) {
                if *quoted || *text != null {
                    *known = known.join(Scalar::of(text));
                }
            }
        }
    }
    let header = header.flatten();
    let count = header.as_ref().map_or(types.len(), Vec::len);
    if count == 0 {
        return Err("there is no record from which columns could be told".to_owned());
    }
    if header.is_some() && types.len() > count {
        return Err(format!(
            "a record has {} fields, and the header {count}",
            types.len()
        ));
    }
    types.resize(count, Scalar::Nothing);
    let names: Vec<String> = match &header {
        Some(fields) => fields.iter().map(|(text, _)| text.clone()).collect(),
        None => (1..=count)
            .map(|number| format!("column{number}"))
            .collect(),
    };
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            return Err(format!(
                "the header names `{name}` twice; declare the table with CREATE TABLE and 'csv.header' = 'false'"
            ));
        }
    }
    options.insert("format".to_owned(), "csv".to_owned());
    if header.is_none() {
        options.insert("csv.header".to_owned(), "false".to_owned());
    }
    if delimiter != b',' {
        let text = match delimiter {
            b'\t' => "\\t".to_owned(),
            other => char::from(other).to_string(),
        };
        options.insert("csv.delimiter".to_owned(), text);
    }
    Ok(names
        .into_iter()
        .zip(types)
        .map(|(name, found)| Column::new(name, column_type(found)))
        .collect())
}

fn column_type(found: Scalar) -> DataType {
    found.data_type()
}

/// Whether a record is a header: every field is a text that could name something.
fn is_header(fields: &[Field]) -> bool {
    fields
        .iter()
        .all(|(text, _)| !text.trim().is_empty() && !Scalar::of(text.trim()).is_value())
}

/// The delimiter by which all records have the same number of fields, the larger the better.
fn delimiter_of(parts: &[&str]) -> Option<u8> {
    DELIMITERS
        .into_iter()
        .filter_map(|delimiter| {
            let mut counts = parts
                .iter()
                .flat_map(|part| records_of(part, QUOTE, delimiter))
                .take(DELIMITER_RECORDS)
                .map(|record| split(record, QUOTE, delimiter).len());
            let first = counts.next()?;
            (first > 1 && counts.all(|count| count == first)).then_some((first, delimiter))
        })
        // Of equals the first of the list wins.
        .rev()
        .max_by_key(|(count, _)| *count)
        .map(|(_, delimiter)| delimiter)
}

/// The records of a text that are not empty.
fn records_of(text: &str, quote: u8, delimiter: u8) -> impl Iterator<Item = &str> {
    let framing = Framing::Csv { quote, delimiter };
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < text.len() {
            let start = at;
            at = framing
                .record_end(text.as_bytes(), start)
                .unwrap_or(text.len());
            let record = text[start..at].trim_end_matches(['\n', '\r']);
            if !record.is_empty() {
                return Some(record);
            }
        }
        None
    })
}

/// The fields of a record. A quote that is not where it should be is left as it is: reading will say so.
fn split(record: &str, quote: u8, delimiter: u8) -> Vec<Field> {
    let bytes = record.as_bytes();
    let (mut fields, mut at) = (Vec::new(), 0);
    loop {
        let (field, end) = if bytes.get(at) == Some(&quote) {
            let mut end = at + 1;
            let mut text = Vec::new();
            while let Some(&byte) = bytes.get(end) {
                end += 1;
                if byte != quote {
                    text.push(byte);
                } else if bytes.get(end) == Some(&quote) {
                    text.push(quote);
                    end += 1;
                } else {
                    break;
                }
            }
            let rest = memchr::memchr(delimiter, &bytes[end..]).map_or(bytes.len(), |n| end + n);
            ((String::from_utf8_lossy(&text).into_owned(), true), rest)
        } else {
            let end = memchr::memchr(delimiter, &bytes[at..]).map_or(bytes.len(), |n| at + n);
            ((record[at..end].to_owned(), false), end)
        };
        fields.push(field);
        if end >= bytes.len() {
            return fields;
        }
        at = end + 1;
    }
}
