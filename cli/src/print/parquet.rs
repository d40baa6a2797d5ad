//! Rows as one Parquet file on standard output or in a file of their own.
//!
//! How a row changes the result is a column of its own, `op`, before the others, as in lines.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use weir_connectors::{Op, ParquetRows};
use weir_types::{Column, DataType};

use super::RowWriter;
use super::lines::with_ops;

/// Writes the file, whose last bytes come with the end of the rows.
pub(crate) struct Parquet {
    rows: Option<ParquetRows>,
}

impl Parquet {
    pub(crate) fn new(columns: &[Column], with_op: bool) -> weir_connectors::Result<Self> {
        let op = with_op.then(|| Column::new("op", DataType::String));
        let columns: Vec<Column> = op.into_iter().chain(columns.iter().cloned()).collect();
        Ok(Self {
            rows: Some(ParquetRows::new(&columns)?),
        })
    }
}

impl RowWriter for Parquet {
    fn write(
        &mut self,
        rows: &RecordBatch,
        ops: Option<&[Op]>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let rows = match ops {
            Some(ops) => with_ops(rows, ops).map_err(io::Error::other)?,
            None => rows.clone(),
        };
        let Some(file) = &mut self.rows else {
            return Err(io::Error::other("rows came after the end of the file"));
        };
        out.write_all(&file.write(&rows).map_err(io::Error::other)?)
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match self.rows.take() {
            Some(file) => out.write_all(&file.finish().map_err(io::Error::other)?),
            None => Ok(()),
        }
    }
}
