//! Prints rows to stdout at the end of each epoch.
//!
//! ```text
//!   totals +I origin=JFK, flights=3          an updating result shows the kind of each change
//!   totals -U origin=JFK, flights=3
//!   totals +U origin=JFK, flights=4
//!   alerts id=7, note="a, b"                 an append-only one needs none
//! ```
//!
//! An epoch is shown whole: workers print one after another, never in each other's lines. It is at-least-once: after
//! a crash, epochs since the last checkpoint are printed again.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use weir_types::{ChangeBatch, CheckpointId, Column, WorkerId};

use crate::blackhole::NothingToCommit;
use crate::error::{IoContext, Result};
use crate::format::json::{JsonEncoder, write_string};
use crate::format::value::TimestampFormat;
use crate::format::values::{ColumnValues, Style};
use crate::format::{RowEncoder, ops_of};
use crate::options::{Form, OptionInfo, Options};
use crate::registry::ConnectorInfo;
use crate::sink::{Sink, SinkCommitter, SinkWriter, Visibility};
use crate::table::TableRequest;

const PREFIX: OptionInfo = OptionInfo {
    key: "print.prefix",
    default: None,
    form: Form::Text,
    help: "what each line begins with; the table's name unless set, and nothing if it is empty",
};

const ROWS: OptionInfo = OptionInfo {
    key: "print.rows",
    default: None,
    form: Form::Count(0),
    help: "after so many rows nothing more is printed; all of them unless set",
};

const PRINT_FORMAT: OptionInfo = OptionInfo {
    key: "print.format",
    default: Some("plain"),
    form: Form::OneOf(&["plain", "json"]),
    help: "how a row is printed: `plain` for people, `json` one object a line, with the prefix as `table` and the kind of the change as `op`",
};

/// The connector's description.
pub(crate) const INFO: ConnectorInfo = ConnectorInfo {
    name: "print",
    help: "prints rows to stdout at the end of each epoch, with the kind of each change if rows can be taken back",
    source: false,
    sink: true,
    formatted: false,
    options: &[PREFIX, ROWS, PRINT_FORMAT],
    metadata: &[],
    guarantee: "At-least-once: after a crash, what was printed since the last checkpoint is printed again.",
};

/// Where lines go: all writers of a sink share it.
type Output = Arc<Mutex<dyn Write + Send>>;

/// Prints rows.
pub(crate) struct PrintSink {
    prefix: String,
    /// What a line of JSON begins with, and how the rest is written.
    json: Option<(Vec<u8>, Vec<Column>)>,
    /// `name=` of each column, and how its values are spelt.
    columns: Arc<[(String, Style)]>,
    retractions: bool,
    unique_key: Option<Vec<usize>>,
    output: Output,
    /// Rows that may still be printed.
    left: Arc<AtomicU64>,
}

impl PrintSink {
    pub(crate) fn open(request: &TableRequest) -> Self {
        Self::with_output(request, Arc::new(Mutex::new(std::io::stdout())))
    }

    fn with_output(request: &TableRequest, output: Output) -> Self {
        let prefix = Options(&request.options)
            .text(&PREFIX)
            .unwrap_or(&request.table);
        let as_json = Options(&request.options).word(&PRINT_FORMAT) == "json";
        let json = as_json.then(|| {
            let mut head = vec![b'{'];
            if !prefix.is_empty() {
                head.extend_from_slice(b"\"table\":");
                write_string(prefix, &mut head);
                head.push(b',');
            }
            (head, request.columns.clone())
        });
        let prefix = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix} ")
        };
        let columns = request.columns.iter().map(|column| {
            (
                format!("{}=", column.external()),
                Style::of(column, TimestampFormat::Sql),
            )
        });
        Self {
            prefix,
            json,
            columns: columns.collect(),
            retractions: request.retractions,
            unique_key: request.unique_key.clone(),
            output,
            left: Arc::new(AtomicU64::new(
                Options(&request.options).count(&ROWS).unwrap_or(u64::MAX),
            )),
        }
    }
}

impl Sink for PrintSink {
    fn visibility(&self) -> Visibility {
        Visibility::Epoch
    }

    fn accepts_retractions(&self) -> bool {
        true
    }

    fn writer(&self, _worker: WorkerId) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(PrintWriter {
            prefix: self.prefix.clone(),
            json: self.json.as_ref().map(|(head, columns)| {
                let encoder = JsonEncoder::new(columns, TimestampFormat::Sql);
                let encoder = if self.retractions {
                    encoder.with_op()
                } else {
                    encoder
                };
                (head.clone(), encoder)
            }),
            columns: self.columns.clone(),
            retractions: self.retractions,
            unique_key: self.unique_key.clone(),
            output: self.output.clone(),
            left: self.left.clone(),
            lines: Vec::new(),
        }))
    }

    fn committer(&self) -> Result<Box<dyn SinkCommitter>> {
        Ok(Box::new(NothingToCommit))
    }
}

struct PrintWriter {
    prefix: String,
    json: Option<(Vec<u8>, JsonEncoder)>,
    columns: Arc<[(String, Style)]>,
    retractions: bool,
    unique_key: Option<Vec<usize>>,
    output: Output,
    left: Arc<AtomicU64>,
    /// Of this epoch.
    lines: Vec<u8>,
}

impl SinkWriter for PrintWriter {
    fn write(&mut self, changes: &ChangeBatch) -> Result<()> {
        let ops = if self.retractions {
            ops_of(changes, self.unique_key.as_deref())
        } else {
            Vec::new()
        };
        if let Some((head, encoder)) = &mut self.json {
            let (lines, left) = (&mut self.lines, &self.left);
            encoder.encode(changes, &ops, &mut |_, line| {
                if take_one(left) {
                    lines.extend_from_slice(head);
                    // The brace is in the head.
                    lines.extend_from_slice(line.get(1..).unwrap_or_default());
                }
            });
            return Ok(());
        }
        let values: Vec<_> = changes
            .rows
            .columns()
            .iter()
            .map(ColumnValues::of)
            .collect();
        let mut text = Vec::new();
        for row in 0..changes.num_rows() {
            if !take_one(&self.left) {
                break;
            }
            self.lines.extend_from_slice(self.prefix.as_bytes());
            if let Some(op) = ops.get(row) {
                self.lines.extend_from_slice(op.text().as_bytes());
                self.lines.push(b' ');
            }
            for (place, ((label, style), value)) in self.columns.iter().zip(&values).enumerate() {
                if place > 0 {
                    self.lines.extend_from_slice(b", ");
                }
                self.lines.extend_from_slice(label.as_bytes());
                if value.is_null(row) {
                    self.lines.extend_from_slice(b"NULL");
                    continue;
                }
                text.clear();
                value.write_plain(row, style, &mut text);
                write_value(&text, &mut self.lines);
            }
            self.lines.push(b'\n');
        }
        Ok(())
    }

    fn end_epoch(&mut self) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        // A writer that panicked left whole lines behind: the next one may go on.
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output
            .write_all(&self.lines)
            .and_then(|()| output.flush())
            .context(|| "cannot print to stdout")?;
        self.lines.clear();
        Ok(())
    }

    fn prepare(&mut self, _checkpoint: CheckpointId) -> Result<Option<serde_json::Value>> {
        Ok(None)
    }
}

/// Whether one more row may be printed; it is counted.
fn take_one(left: &AtomicU64) -> bool {
    let less = |left: u64| left.checked_sub(1);
    left.fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
        .is_ok()
}

/// Quotes a text that could be taken for something else.
fn write_value(text: &[u8], out: &mut Vec<u8>) {
    let ambiguous = text.is_empty()
        || text == b"NULL"
        || text
            .iter()
            .any(|byte| *byte < 0x20 || matches!(byte, b',' | b'"' | b'='));
    let nested = matches!(text.first(), Some(b'{' | b'['));
    match std::str::from_utf8(text) {
        Ok(text) if ambiguous && !nested => write_string(text, out),
        _ => out.extend_from_slice(text),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch, StringViewArray};
    use weir_types::{Column, DataType};

    use super::*;

    #[test]
    fn changes_are_printed_with_their_kind_when_the_epoch_ends() {
        assert_eq!(
            printed(&[]),
            "totals -U who=\"a, b\", n=1\ntotals +U who=\"a, b\", n=2\ntotals +I who=NULL, n=NULL\n"
        );
    }

    #[test]
    fn rows_are_printed_as_json_with_the_table_up_to_so_many() {
        assert_eq!(
            printed(&[("print.format", "json"), ("print.rows", "2")]),
            "{\"table\":\"totals\",\"op\":\"-U\",\"who\":\"a, b\",\"n\":1}\n{\"table\":\"totals\",\"op\":\"+U\",\"who\":\"a, b\",\"n\":2}\n"
        );
        assert!(
            printed(&[("print.format", "json"), ("print.prefix", "")])
                .ends_with("{\"op\":\"+I\",\"who\":null,\"n\":null}\n")
        );
    }

    /// What three changes are with these options.
    fn printed(options: &[(&str, &str)]) -> String {
        let columns = vec![
            Column::new("who", DataType::String),
            Column::new("n", DataType::Int64),
        ];
        let schema = DataType::arrow_schema(&columns);
        let request = TableRequest {
            table: "totals".to_owned(),
            columns,
            retractions: true,
            unique_key: Some(vec![0]),
            options: options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..TableRequest::default()
        };
        let output = Arc::new(Mutex::new(Vec::new()));
        let sink = PrintSink::with_output(&request, output.clone());
        let mut writer = sink.writer(WorkerId(0)).unwrap();
        let who = StringViewArray::from(vec![Some("a, b"), Some("a, b"), None]);
        let n = Int64Array::from(vec![Some(1), Some(2), None]);
        let rows = RecordBatch::try_new(schema, vec![Arc::new(who), Arc::new(n)]).unwrap();
        let retracted = Some(vec![true, false, false].into());
        writer
            .write(&ChangeBatch {
                rows,
                retracted,
                own_watermark: None,
            })
            .unwrap();
        assert!(output.lock().unwrap().is_empty());
        writer.end_epoch().unwrap();
        writer.end_epoch().unwrap();
        String::from_utf8(output.lock().unwrap().clone()).unwrap()
    }
}
