//! Rows as lines of JSON or CSV: the connectors' encoders, so that a value is spelt as it is in files.
//!
//! How a row changes the result is a column of its own, `op`, before the others.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType as ArrowType, Field, Schema};
use arrow::error::ArrowError;
use weir_connectors::{Op, PrintFormat, RowEncoder, row_encoder};
use weir_types::{ChangeBatch, Column, DataType};

use crate::print::RowWriter;

pub(crate) struct Lines {
    encoder: Box<dyn RowEncoder>,
    started: bool,
}

impl Lines {
    pub(crate) fn new(format: PrintFormat, columns: &[Column], with_op: bool) -> Self {
        let op = with_op.then(|| Column::new("op", DataType::String));
        let columns: Vec<Column> = op.into_iter().chain(columns.iter().cloned()).collect();
        Self {
            encoder: row_encoder(format, &columns),
            started: false,
        }
    }

    fn start(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        out.write_all(self.encoder.header().unwrap_or_default())
    }
}

impl RowWriter for Lines {
    fn write(
        &mut self,
        rows: &RecordBatch,
        ops: Option<&[Op]>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.start(out)?;
        let rows = match ops {
            Some(ops) => with_ops(rows, ops).map_err(io::Error::other)?,
            None => rows.clone(),
        };
        let mut written = Ok(());
        let mut each = |_: usize, line: &[u8]| {
            if written.is_ok() {
                written = out.write_all(line);
            }
        };
        self.encoder
            .encode(&ChangeBatch::append_only(rows), &[], &mut each);
        written
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.start(out)
    }
}

pub(super) fn with_ops(rows: &RecordBatch, ops: &[Op]) -> Result<RecordBatch, ArrowError> {
    let field = Arc::new(Field::new("op", ArrowType::Utf8View, false));
    let schema = rows.schema();
    let fields: Vec<_> = std::iter::once(field)
        .chain(schema.fields().iter().cloned())
        .collect();
    let texts = StringViewArray::from_iter_values(ops.iter().map(|op| op.text()));
    let columns = std::iter::once(Arc::new(texts) as ArrayRef)
        .chain(rows.columns().iter().cloned())
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
