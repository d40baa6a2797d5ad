//! Rows as comma-separated values (RFC 4180): a header, NULL is empty, an empty string is `""`.

use std::io::{self, Write};

use arrow::array::RecordBatch;

use crate::print::changes::Op;
use crate::print::{RowWriter, cell};

pub(crate) struct Csv {
    header: Vec<String>,
    started: bool,
}

impl Csv {
    pub(crate) fn new(header: Vec<String>) -> Self {
        Self {
            header,
            started: false,
        }
    }

    fn start(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if !self.started {
            self.started = true;
            let names: Vec<_> = self.header.iter().map(|name| field(Some(name))).collect();
            writeln!(out, "{}", names.join(","))?;
        }
        Ok(())
    }
}

impl RowWriter for Csv {
    fn write(
        &mut self,
        rows: &RecordBatch,
        ops: Option<&[Op]>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.start(out)?;
        let columns: Vec<_> = rows
            .columns()
            .iter()
            .map(|column| cell::texts(column))
            .collect::<Result<_, _>>()
            .map_err(io::Error::other)?;
        for row in 0..rows.num_rows() {
            let op = ops.map(|ops| ops[row].symbol().to_owned());
            let fields: Vec<_> = op
                .into_iter()
                .chain(columns.iter().map(|column| field(column[row].as_deref())))
                .collect();
            writeln!(out, "{}", fields.join(","))?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.start(out)
    }
}

fn field(text: Option<&str>) -> String {
    match text {
        None => String::new(),
        Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Some(text) => text.to_owned(),
    }
}
