//! Tables of test data: the same rows as files for a job, as declarations in SQL, and as Arrow batches for the oracle.
//!
//! A table with a watermark gives the oracle one column more, `own_watermark`: for each row the greatest promise of the rows before it,
//! computed here from the definition (DESIGN 3, "Late"), not by the engine.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::value::{Multiset, Row, Value, row_text};

/// The types that test tables use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are SQL's")]
pub enum SqlType {
    Boolean,
    Int,
    BigInt,
    Double,
    /// DECIMAL(10, 2); its values are [`Value::Text`] such as `12.50`.
    Decimal,
    String,
    /// TIMESTAMP(3).
    Timestamp,
}

impl SqlType {
    /// As it is declared.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::Int => "INT",
            Self::BigInt => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Decimal => "DECIMAL(10, 2)",
            Self::String => "STRING",
            Self::Timestamp => "TIMESTAMP(3)",
        }
    }

    fn arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Decimal => DataType::Decimal128(10, 2),
            Self::String => DataType::Utf8,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, None),
        }
    }
}

/// `WATERMARK FOR column AS column - INTERVAL 'delay' SECOND`.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    /// The event-time column.
    pub column: usize,
    /// How far behind the greatest event time the watermark stays.
    pub seconds: i64,
}

/// A table: declaration and rows, in the order in which they are read.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Names and types.
    pub columns: Vec<(String, SqlType)>,
    /// The watermark, if it has event time.
    pub watermark: Option<Delay>,
    /// The rows.
    pub rows: Vec<Row>,
    /// Of a changelog: which of the rows take back an equal one before them. Empty: the table is append-only.
    pub retracted: Vec<bool>,
}

impl Table {
    /// `CREATE TABLE` over the files that [`Self::write`] makes below a job's base folder.
    pub fn ddl(&self) -> String {
        let mut lines: Vec<_> = self
            .columns
            .iter()
            .map(|(name, kind)| format!("  {name} {}", kind.sql()))
            .collect();
        if let Some(delay) = self.watermark {
            let column = &self.columns[delay.column].0;
            lines.push(format!(
                "  WATERMARK FOR {column} AS {column} - INTERVAL '{}' SECOND",
                delay.seconds
            ));
        }
        format!(
            "CREATE TABLE {} (\n{}\n) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = '{}');\n",
            self.name,
            lines.join(",\n"),
            self.name,
            if self.is_changelog() {
                "changelog-json"
            } else {
                "json"
            }
        )
    }

    /// Whether rows can be taken back.
    pub fn is_changelog(&self) -> bool {
        !self.retracted.is_empty()
    }

    /// The table with the first `rows` records only.
    pub fn truncate(&mut self, rows: usize) {
        self.rows.truncate(rows);
        self.retracted.truncate(rows);
    }

    /// The table without some of its records; `None` if a row would be taken back that is not there, or no record of a changelog is left
    /// (then it would be an append-only table).
    pub fn without(&self, records: std::ops::Range<usize>) -> Option<Self> {
        let mut fewer = self.clone();
        fewer.rows.drain(records.clone());
        if self.is_changelog() {
            fewer.retracted.drain(records);
            let mut there = Multiset::default();
            for (row, retracted) in fewer.rows.iter().zip(&fewer.retracted) {
                there.add(row.clone(), if *retracted { -1 } else { 1 });
                if there.negative().is_some() {
                    return None;
                }
            }
            if fewer.rows.is_empty() {
                return None;
            }
        }
        Some(fewer)
    }

    /// The rows that are there in the end, in order.
    pub fn final_rows(&self) -> Vec<Row> {
        if !self.is_changelog() {
            return self.rows.clone();
        }
        let mut there = Multiset::default();
        for (row, retracted) in self.rows.iter().zip(&self.retracted) {
            there.add(row.clone(), if *retracted { -1 } else { 1 });
        }
        let copies = |(row, count): (Row, i64)| std::iter::repeat_n(row, count.max(0) as usize);
        there.0.into_iter().flat_map(copies).collect()
    }

    /// Writes the rows as JSON lines into `base/NAME/`, cut into `files` files whose names are in the order of the rows.
    pub fn write(&self, base: &Path, files: usize) {
        let folder = base.join(&self.name);
        std::fs::create_dir_all(&folder).unwrap();
        let per_file = self.rows.len().div_ceil(files.max(1)).max(1);
        let mut chunks: Vec<&[Row]> = self.rows.chunks(per_file).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        for (number, rows) in chunks.into_iter().enumerate() {
            let mut text = String::new();
            for (at, row) in rows.iter().enumerate() {
                let retracted = self.retracted.get(number * per_file + at);
                text.push_str(&self.json(row, retracted.copied()));
                text.push('\n');
            }
            std::fs::write(folder.join(format!("{number:03}.jsonl")), text).unwrap();
        }
    }

    fn json(&self, row: &Row, retracted: Option<bool>) -> String {
        let mut fields: serde_json::Map<_, _> = self
            .columns
            .iter()
            .zip(row)
            .map(|((name, _), value)| {
                let value = match value {
                    Value::Null => serde_json::Value::Null,
                    Value::Bool(value) => (*value).into(),
                    Value::Int(value) => (*value).into(),
                    Value::Float(value) => (*value).into(),
                    time @ Value::Time(_) => time.to_string().into(),
                    Value::Text(text) => text.clone().into(),
                };
                (name.clone(), value)
            })
            .collect();
        if let Some(retracted) = retracted {
            fields.insert("op".to_owned(), if retracted { "-D" } else { "+I" }.into());
        }
        serde_json::Value::Object(fields).to_string()
    }

    /// The watermark that each row finds: the greatest `time − delay` of the rows before it, in milliseconds.
    pub fn own_watermarks(&self) -> Vec<Option<i64>> {
        let Some(delay) = self.watermark else {
            return vec![None; self.rows.len()];
        };
        let mut promised = None;
        self.rows
            .iter()
            .map(|row| {
                let before = promised;
                let Value::Time(nanos) = row[delay.column] else {
                    panic!("event time is not NULL")
                };
                promised = promised.max(Some(nanos / 1_000_000 - delay.seconds * 1000));
                before
            })
            .collect()
    }

    /// The rows for the oracle, with the column `own_watermark` where there is event time; of a changelog those that are there in the end.
    pub fn batch(&self) -> RecordBatch {
        let rows = self.final_rows();
        let mut fields = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for (at, (name, kind)) in self.columns.iter().enumerate() {
            fields.push(Field::new(name, kind.arrow(), true));
            arrays.push(array(&rows, at, *kind));
        }
        if self.watermark.is_some() {
            fields.push(Field::new(
                "own_watermark",
                SqlType::Timestamp.arrow(),
                true,
            ));
            arrays.push(Arc::new(TimestampMillisecondArray::from(
                self.own_watermarks(),
            )));
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
    }

    /// Declaration and rows as text, for a failure.
    pub fn describe(&self) -> String {
        let mut text = self.ddl();
        for (at, row) in self.rows.iter().enumerate().take(400) {
            let sign = if self.retracted.get(at) == Some(&true) {
                "taken back: "
            } else {
                ""
            };
            let _ = writeln!(text, "--   {sign}{}", row_text(row));
        }
        if self.rows.len() > 400 {
            let _ = writeln!(text, "--   … {} rows in all", self.rows.len());
        }
        text
    }
}

/// A column of these rows.
fn array(rows: &[Row], at: usize, kind: SqlType) -> ArrayRef {
    let column = rows.iter().map(|row| &row[at]);
    macro_rules! collect {
        ($variant:ident, $array:ty, |$value:ident| $given:expr) => {
            Arc::new(
                column
                    .map(|value| match value {
                        Value::$variant($value) => Some($given),
                        _ => None,
                    })
                    .collect::<$array>(),
            )
        };
    }
    match kind {
        SqlType::Boolean => collect!(Bool, BooleanArray, |v| *v),
        SqlType::Int => collect!(Int, Int32Array, |v| *v as i32),
        SqlType::BigInt => collect!(Int, Int64Array, |v| *v),
        SqlType::Double => collect!(Float, Float64Array, |v| *v),
        SqlType::String => collect!(Text, StringArray, |v| v.clone()),
        SqlType::Timestamp => collect!(Time, TimestampMillisecondArray, |v| *v / 1_000_000),
        SqlType::Decimal => {
            let unscaled = column.map(|value| match value {
                Value::Text(text) => Some(text.replace('.', "").parse::<i128>().unwrap()),
                _ => None,
            });
            let array = unscaled.collect::<Decimal128Array>();
            Arc::new(array.with_precision_and_scale(10, 2).unwrap())
        }
    }
}

/// The generator of a case.
pub fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}
