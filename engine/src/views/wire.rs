//! The rows of a view over the control socket: a line of JSON that says what they are, then an Arrow stream.

use std::io::{BufRead, Write};

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};
use weir_types::DataType;

use super::{ViewInfo, ViewRows};
use crate::{Error, Result};

#[derive(Debug, Default, Deserialize, Serialize)]
struct Head {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    view: Option<ViewInfo>,
    /// How many rows follow: a stream that breaks off looks like one that ends.
    #[serde(default)]
    rows: usize,
    /// How many were looked at.
    #[serde(default)]
    read: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn broken(error: &dyn std::fmt::Display) -> Error {
    Error::Job(format!(
        "[R0053] the job's answer about a view cannot be read: {error}; it may have ended meanwhile: ask again"
    ))
}

/// Writes the answer. An error is one of the connection: whoever asked is gone.
pub(crate) fn write_answer(out: &mut dyn Write, answer: Result<ViewRows>) -> std::io::Result<()> {
    let (head, rows) = match answer {
        Ok(found) => (
            Head {
                rows: found.num_rows(),
                read: found.rows_read,
                view: Some(found.info),
                error: None,
            },
            found.rows,
        ),
        Err(error) => (
            Head {
                error: Some(error.to_string()),
                ..Head::default()
            },
            Vec::new(),
        ),
    };
    let mut line = serde_json::to_vec(&head)?;
    line.push(b'\n');
    out.write_all(&line)?;
    let Some(info) = head.view else { return Ok(()) };
    let schema = DataType::arrow_schema(&info.columns);
    let mut stream = StreamWriter::try_new(&mut *out, &schema).map_err(std::io::Error::other)?;
    for batch in rows {
        stream.write(&batch).map_err(std::io::Error::other)?;
    }
    stream.finish().map_err(std::io::Error::other)
}

/// Reads the answer.
pub(crate) fn read_answer(mut from: impl BufRead) -> Result<ViewRows> {
    let mut line = String::new();
    from.read_line(&mut line).map_err(|error| broken(&error))?;
    let head: Head = serde_json::from_str(&line).map_err(|error| broken(&error))?;
    if let Some(error) = head.error {
        return Err(Error::Job(error));
    }
    let info = head.view.ok_or_else(|| broken(&"it is empty"))?;
    let stream = StreamReader::try_new(from, None).map_err(|error| broken(&error))?;
    let rows: std::result::Result<Vec<_>, _> = stream.collect();
    let found = ViewRows {
        info,
        rows: rows.map_err(|error| broken(&error))?,
        rows_read: head.read,
    };
    if found.num_rows() != head.rows {
        return Err(broken(&"it breaks off"));
    }
    Ok(found)
}
