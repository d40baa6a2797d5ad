//! The columns of a table that nobody declared: from a sample of its files.
//!
//! ```text
//!   'logs/*.json' ─▶ files in order of their names ─▶ sample ─▶ kind ─▶ columns and options of a CREATE TABLE
//!                                                      │          csv │ json │ lines │ parquet
//!                                                      └ up to 10,000 records, 4 MiB, 16 files
//! ```
//!
//! The rule: a column has the narrowest of BOOLEAN, BIGINT, DOUBLE, DATE, TIMESTAMP and TIMESTAMP_LTZ that every value of the
//! sample has, whole numbers and numbers together are DOUBLE, and what has nothing in common is STRING. Of Parquet the file
//! says it. A value beyond the sample that does not fit is a malformed record like any other: it is never bent.
//!
//! # Invariants
//! 1. The same files give the same columns, on every machine.
//! 2. Every value of the sample can be read as the type of its column.

mod csv;
mod json;
mod scalar;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use weir_types::{Column, DataType};

use crate::filesystem::{Compression, PathPattern, open_text};
use crate::options::parse_boolean;
use crate::table::TableRequest;

/// So many records decide.
const SAMPLE_RECORDS: usize = 10_000;
/// And so many bytes of text.
const SAMPLE_BYTES: usize = 4 << 20;
/// Of so many files.
const SAMPLE_FILES: usize = 16;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// Fields between delimiters.
    Csv,
    /// One JSON object a line.
    Json,
    /// Lines as they are.
    Lines,
    /// Columns, with their types.
    Parquet,
}

/// What is known already.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The kind, if somebody says it.
    pub kind: Option<FileKind>,
    /// Options of the table, as WITH takes them.
    pub options: BTreeMap<String, String>,
}

/// A table that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inferred {
    /// Its columns; `name` is the name in the files.
    pub columns: Vec<Column>,
    /// Its options, but connector and path.
    pub options: BTreeMap<String, String>,
}

/// The columns of the files that a path means.
///
/// # Errors
/// Why they cannot be told, in words for the user.
pub fn infer_files(path: &str, base: &Path, asked: &Asked) -> Result<Inferred, String> {
    let mut request = TableRequest {
        base: base.to_owned(),
        ..TableRequest::default()
    };
    request.options.insert("path".to_owned(), path.to_owned());
    let words = |error: crate::Error| match error {
        crate::Error::Diagnostic(diagnostic) => diagnostic.message.clone(),
        other => other.to_string(),
    };
    let pattern = PathPattern::of(&request).map_err(words)?;
    let names = pattern.names().map_err(words)?;
    let Some(first) = names.first() else {
        return Err(format!("there is no file at {path}"));
    };
    let kind = asked.kind.or_else(|| kind_of_name(first));
    if kind == Some(FileKind::Parquet) {
        return crate::parquet::infer(&pattern.path(first)).map_err(words);
    }
    let compression = asked
        .options
        .get("compression")
        .map_or("auto", String::as_str);
    let (mut sample, mut whole) = (Vec::new(), true);
    for name in names.iter().take(SAMPLE_FILES) {
        let path = pattern.path(name);
        let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let text = open_text(&path, Compression::of(compression, name), size, 0).map_err(words)?;
        let room = SAMPLE_BYTES.saturating_sub(sample.len());
        let mut of_file = Vec::new();
        text.reader
            .take(room as u64 + 1)
            .read_to_end(&mut of_file)
            .map_err(|error| format!("cannot read {name}: {error}"))?;
        whole = of_file.len() <= room;
        of_file.truncate(room);
        sample.push(of_file);
        if !whole {
            break;
        }
    }
    let texts: Vec<&[u8]> = sample.iter().map(Vec::as_slice).collect();
    let mut asked = asked.clone();
    asked.kind = kind;
    if asked.kind == Some(FileKind::Csv) && !asked.options.contains_key("csv.delimiter") {
        let stem = plain_name(first);
        if stem.ends_with(".tsv") || stem.ends_with(".tab") {
            asked
                .options
                .insert("csv.delimiter".to_owned(), "\\t".to_owned());
        }
    }
    infer_text(&texts, whole, &asked)
}

/// The columns of texts, each the beginning of one file. `whole`: the last one is all of its file.
///
/// # Errors
/// Why they cannot be told, in words for the user.
pub fn infer_text(texts: &[&[u8]], whole: bool, asked: &Asked) -> Result<Inferred, String> {
    let mut parts = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        // A record that the sample cuts in two says nothing.
        let cut = i + 1 == texts.len() && !whole;
        let end = match memchr::memrchr(b'\n', text) {
            Some(at) if cut => at + 1,
            _ => text.len(),
        };
        let text = &text[..end];
        let text = std::str::from_utf8(text).map_err(|error| {
            format!(
                "byte {} is no UTF-8 text: Weir reads CSV, JSON lines, text and Parquet",
                error.valid_up_to()
            )
        })?;
        parts.push(text);
    }
    let kind = match asked.kind {
        Some(kind) => kind,
        None => kind_of_text(&parts),
    };
    let mut options = asked.options.clone();
    let columns = match kind {
        FileKind::Csv => csv::infer(&parts, &mut options)?,
        FileKind::Json => {
            options.insert("format".to_owned(), "json".to_owned());
            json::infer(&parts)?
        }
        FileKind::Lines => lines(&mut options)?,
        FileKind::Parquet => return Err("Parquet is read from files, not from a stream".to_owned()),
    };
    Ok(Inferred { columns, options })
}

/// A line is a STRING; with a pattern, each of its groups is one.
fn lines(options: &mut BTreeMap<String, String>) -> Result<Vec<Column>, String> {
    options.insert("format".to_owned(), "text".to_owned());
    let Some(pattern) = options.get("text.pattern") else {
        return Ok(vec![Column::new("line", DataType::String)]);
    };
    let names = crate::format::group_names(pattern)?;
    Ok(names
        .into_iter()
        .map(|name| Column::new(name, DataType::String))
        .collect())
}

/// Without the ending of a compressed file, in lower case.
fn plain_name(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    for ending in [".gz", ".gzip", ".zst", ".zstd"] {
        if let Some(rest) = name.strip_suffix(ending) {
            return rest.to_owned();
        }
    }
    name
}

fn kind_of_name(name: &str) -> Option<FileKind> {
    let name = plain_name(name);
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending {
        "csv" | "tsv" | "tab" => FileKind::Csv,
        "json" | "jsonl" | "ndjson" => FileKind::Json,
        "log" => FileKind::Lines,
        "parquet" | "pq" => FileKind::Parquet,
        _ => return None,
    })
}

/// What a text without a telling name is: an object opens JSON, one column that is no value opens lines, the rest is CSV.
fn kind_of_text(parts: &[&str]) -> FileKind {
    let first = parts
        .iter()
        .flat_map(|part| part.lines())
        .find(|line| !line.trim().is_empty());
    match first {
        Some(line) if line.trim_start().starts_with(['{', '[']) => FileKind::Json,
        _ if csv::looks_like(parts) => FileKind::Csv,
        _ => FileKind::Lines,
    }
}

/// The option as a truth; `None` if it is not there.
fn truth(options: &BTreeMap<String, String>, key: &str) -> Result<Option<bool>, String> {
    match options.get(key) {
        None => Ok(None),
        Some(text) => parse_boolean(text)
            .map(Some)
            .ok_or_else(|| format!("'{key}' is `true` or `false`, not `{text}`")),
    }
}

#[cfg(test)]
mod tests;
