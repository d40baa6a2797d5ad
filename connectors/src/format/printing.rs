//! Formats for people who print results themselves: values are spelt exactly as in files.

use arrow::array::{Array, ArrayRef};
use weir_types::Column;

use super::RowEncoder;
use super::csv::{CsvEncoder, CsvStyle};
use super::json::JsonEncoder;
use super::value::TimestampFormat;
use super::values::{ColumnValues, Style};

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrintFormat {
    /// As `'format' = 'json'`.
    Json,
    /// As `'format' = 'changelog-json'`: JSON with the kind of each change.
    ChangelogJson,
    /// As `'format' = 'csv'`, with a header.
    Csv,
}

/// An encoder with the defaults of a file sink.
pub fn row_encoder(format: PrintFormat, columns: &[Column]) -> Box<dyn RowEncoder> {
    let timestamps = TimestampFormat::Sql;
    match format {
        PrintFormat::Json => Box::new(JsonEncoder::new(columns, timestamps)),
        PrintFormat::ChangelogJson => Box::new(JsonEncoder::new(columns, timestamps).with_op()),
        PrintFormat::Csv => {
            let style = CsvStyle {
                header: true,
                delimiter: b',',
                quote: b'"',
                null: String::new(),
            };
            Box::new(CsvEncoder::new(columns, timestamps, style))
        }
    }
}

/// Each value of a column as CSV writes it, without quotes; `None` for NULL.
pub fn plain_texts(array: &ArrayRef, column: &Column) -> Vec<Option<String>> {
    let (values, style) = (
        ColumnValues::of(array),
        Style::of(column, TimestampFormat::Sql),
    );
    let text = |row| {
        (!values.is_null(row)).then(|| {
            let mut text = Vec::new();
            values.write_plain(row, &style, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    (0..array.len()).map(text).collect()
}
