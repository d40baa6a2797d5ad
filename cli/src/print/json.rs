//! Rows as JSON, one object a line: numbers as numbers, NULL as `null`, dates and times as text, BYTES as hex digits.
//!
//! NaN and infinities, which JSON has no numbers for, are the texts `"NaN"`, `"Infinity"`, `"-Infinity"`.

use std::io::{self, Write};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;

use crate::print::changes::Op;
use crate::print::{RowWriter, cell};

pub(crate) struct Json {
    /// Each name as it is written: quoted, with the colon.
    keys: Vec<String>,
}

impl Json {
    pub(crate) fn new(header: Vec<String>) -> Self {
        Self {
            keys: header
                .iter()
                .map(|name| format!("{}:", quoted(name)))
                .collect(),
        }
    }
}

impl RowWriter for Json {
    fn write(
        &mut self,
        rows: &RecordBatch,
        ops: Option<&[Op]>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut columns = Vec::with_capacity(self.keys.len());
        if let Some(ops) = ops {
            columns.push(
                ops.iter()
                    .map(|op| format!("\"{}\"", op.symbol()))
                    .collect(),
            );
        }
        for column in rows.columns() {
            columns.push(values(column).map_err(io::Error::other)?);
        }
        let mut line = String::new();
        for row in 0..rows.num_rows() {
            line.clear();
            for (i, column) in columns.iter().enumerate() {
                line.push(if i == 0 { '{' } else { ',' });
                line.push_str(&self.keys[i]);
                line.push_str(&column[row]);
            }
            line.push_str("}\n");
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

/// The JSON texts of a column.
fn values(column: &ArrayRef) -> Result<Vec<String>, ArrowError> {
    let valid = |row: usize, text: &mut dyn FnMut() -> String| {
        if column.is_null(row) {
            "null".to_owned()
        } else {
            text()
        }
    };
    let rows = 0..column.len();
    Ok(match column.data_type() {
        DataType::Null => rows.map(|_| "null".to_owned()).collect(),
        DataType::Float32 => {
            let floats = column.as_primitive::<Float32Type>();
            rows.map(|row| {
                valid(row, &mut || {
                    float(floats.value(row).into(), floats.value(row).to_string())
                })
            })
            .collect()
        }
        DataType::Float64 => {
            let floats = column.as_primitive::<Float64Type>();
            rows.map(|row| {
                valid(row, &mut || {
                    float(
                        floats.value(row),
                        serde_json::json!(floats.value(row)).to_string(),
                    )
                })
            })
            .collect()
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let items = values(list.values())?;
            rows.map(|row| {
                valid(row, &mut || {
                    format!("[{}]", items[range(list.value_offsets(), row)].join(","))
                })
            })
            .collect()
        }
        DataType::Struct(fields) => {
            let columns: Vec<_> = column
                .as_struct()
                .columns()
                .iter()
                .map(values)
                .collect::<Result<_, _>>()?;
            let keys: Vec<_> = fields.iter().map(|field| quoted(field.name())).collect();
            rows.map(|row| {
                valid(row, &mut || {
                    let members: Vec<_> = keys
                        .iter()
                        .zip(&columns)
                        .map(|(key, values)| format!("{key}:{}", values[row]))
                        .collect();
                    format!("{{{}}}", members.join(","))
                })
            })
            .collect()
        }
        DataType::Map(..) => {
            let map = column.as_map();
            let (keys, items) = (cell::texts(map.keys())?, values(map.values())?);
            rows.map(|row| {
                valid(row, &mut || {
                    let members: Vec<_> = range(map.value_offsets(), row)
                        .map(|i| {
                            format!(
                                "{}:{}",
                                quoted(keys[i].as_deref().unwrap_or_default()),
                                items[i]
                            )
                        })
                        .collect();
                    format!("{{{}}}", members.join(","))
                })
            })
            .collect()
        }
        data_type => {
            // Integers, decimals and booleans are written alike in SQL and JSON.
            let bare = data_type.is_numeric() || *data_type == DataType::Boolean;
            cell::texts(column)?
                .into_iter()
                .map(|text| match text {
                    None => "null".to_owned(),
                    Some(text) if bare => text,
                    Some(text) => quoted(&text),
                })
                .collect()
        }
    })
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

fn float(value: f64, text: String) -> String {
    if value.is_nan() {
        "\"NaN\"".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 {
            "\"Infinity\""
        } else {
            "\"-Infinity\""
        }
        .to_owned()
    } else {
        text
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
