//! Rows as JSON: one canonical text for each row, every column in its order, NULL as `null`.

use weir_types::{ChangeBatch, Column};

use crate::format::value::TimestampFormat;
use crate::format::values::{ColumnValues, Style};
use crate::format::{Op, RowEncoder};

/// Writes rows as objects, one a line.
#[derive(Debug)]
pub(crate) struct JsonEncoder {
    /// `"name":` for each column, the first after `{`, the others after `,`.
    labels: Vec<Vec<u8>>,
    styles: Vec<Style>,
    /// Write the kind of each change before the columns.
    with_op: bool,
}

impl JsonEncoder {
    pub(crate) fn new(columns: &[Column], timestamps: TimestampFormat) -> Self {
        let labels = columns.iter().map(|column| {
            let mut label = Vec::new();
            write_string(column.external(), &mut label);
            label.push(b':');
            label
        });
        Self {
            labels: labels.collect(),
            styles: columns
                .iter()
                .map(|column| Style::of(column, timestamps))
                .collect(),
            with_op: false,
        }
    }

    /// Puts `"op"` before the columns.
    pub(crate) fn with_op(self) -> Self {
        Self {
            with_op: true,
            ..self
        }
    }
}

impl RowEncoder for JsonEncoder {
    fn encode(&mut self, changes: &ChangeBatch, ops: &[Op], each: &mut dyn FnMut(usize, &[u8])) {
        let values: Vec<_> = changes
            .rows
            .columns()
            .iter()
            .map(ColumnValues::of)
            .collect();
        let mut line = Vec::with_capacity(256);
        for row in 0..changes.num_rows() {
            line.clear();
            line.push(b'{');
            if let Some(op) = ops.get(row).filter(|_| self.with_op) {
                line.extend_from_slice(b"\"op\":\"");
                line.extend_from_slice(op.text().as_bytes());
                line.push(b'"');
            }
            for (column, (label, value)) in self.labels.iter().zip(&values).enumerate() {
                if column > 0 || self.with_op {
                    line.push(b',');
                }
                line.extend_from_slice(label);
                value.write_json(row, &self.styles[column], &mut line);
            }
            line.extend_from_slice(b"}\n");
            each(row, &line);
        }
    }
}

/// A string with its quotes; what must be escaped is escaped, the rest stands as it is.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'))
    {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
