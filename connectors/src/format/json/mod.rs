//! JSON: one object a line.
//!
//! ```text
//!   {"id": 7, "who": {"name": "x"}, "more": …}      decode: the requested columns; the rest is checked and skipped
//!     │ Fields: key ─▶ column      │ skip_value
//!     ▼                            ▼
//!   ColumnBuilder …                nothing
//! ```
//!
//! # Invariants
//! 1. A missing key and `null` are NULL. Of a key that is there twice the last value counts.
//! 2. Broken structure is an error anywhere in the record, a wrong type only in a column that is read.

mod cursor;
mod encode;
mod fields;

pub(crate) use cursor::{Cursor, shorten};
pub(crate) use encode::{JsonEncoder, write_string};
pub(crate) use fields::Fields;

/// Rows as JSON objects, one text each.
pub fn json_rows(columns: &[weir_types::Column], rows: &weir_types::ChangeBatch) -> Vec<String> {
    use super::RowEncoder;
    let mut texts = Vec::with_capacity(rows.num_rows());
    JsonEncoder::new(columns, TimestampFormat::Sql).encode(rows, &[], &mut |_, line| {
        texts.push(String::from_utf8_lossy(line).trim_end().to_owned());
    });
    texts
}

use super::Malformed;
use super::columns::{ColumnBuilder, Kind, ListBuilder, Reason, RowBuilder, epoch, not_an_integer};
use super::value::{self, TimestampFormat};

/// How objects are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Values go to the builders as they come. A repeated key ends the pass.
    Straight,
    /// For a record with a repeated key: each object is walked first, then the last value of each key is read.
    LastWins,
}

/// Decodes records to the values of some columns.
#[derive(Debug)]
pub(crate) struct JsonDecoder {
    fields: Fields,
    /// External names of the columns, for messages.
    names: Vec<String>,
    scratch: Scratch,
}

/// Buffers that are used again for every string.
#[derive(Debug, Default)]
struct Scratch {
    key: String,
    text: String,
}

/// The reason given by a pass that met a repeated key; never shown.
const REPEATED: &str = "repeated key";

impl JsonDecoder {
    /// A decoder for columns with these external names.
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self {
            fields: Fields::new(names.iter().map(String::as_str)),
            names,
            scratch: Scratch::default(),
        }
    }

    /// Adds the record's values to `columns`. After an error the builders must be settled; the answer is then how
    /// many of their rows this record used up beside the good one.
    pub(crate) fn decode(
        &mut self,
        record: &str,
        columns: &mut [ColumnBuilder],
    ) -> Result<(), Malformed> {
        self.pass(record, columns, Pass::Straight)
    }

    /// Decodes a record again that [`JsonDecoder::decode`] refused for a repeated key.
    pub(crate) fn decode_last_wins(
        &mut self,
        record: &str,
        columns: &mut [ColumnBuilder],
    ) -> Result<(), Malformed> {
        self.pass(record, columns, Pass::LastWins)
    }

    fn pass(
        &mut self,
        record: &str,
        columns: &mut [ColumnBuilder],
        pass: Pass,
    ) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(record);
        if cursor.peek()? != b'{' {
            return Err(cursor.mismatch("an object in braces"));
        }
        let mut reader = Reader {
            cursor,
            pass,
            scratch: &mut self.scratch,
        };
        reader.object(&mut self.fields, columns, |column| {
            self.names[column].clone()
        })?;
        reader.cursor.finish()
    }
}

impl Malformed {
    /// Whether the record is only to be decoded with more care.
    pub(crate) fn is_repeated_key(&self) -> bool {
        self.reason == REPEATED
    }
}

struct Reader<'a, 's> {
    cursor: Cursor<'a>,
    pass: Pass,
    scratch: &'s mut Scratch,
}

impl Reader<'_, '_> {
    fn object(
        &mut self,
        fields: &mut Fields,
        columns: &mut [ColumnBuilder],
        name: impl Fn(usize) -> String,
    ) -> Result<(), Malformed> {
        let start = self.cursor.at();
        self.cursor.open_object()?;
        fields.begin();
        if self.pass == Pass::LastWins {
            self.object_last_wins(fields, columns, &name)?;
        } else {
            let mut place = 0;
            while let Some(column) = self.key(fields, place)? {
                match column {
                    None => self.skip(fields, place)?,
                    Some(column) if fields.mark(column) => {
                        self.value(&mut columns[column])
                            .map_err(|error| error.within(&name(column)))?;
                    }
                    Some(_) => return Err(Malformed::new(self.cursor.at(), REPEATED)),
                }
                place += 1;
            }
        }
        for column in fields.missing() {
            columns[column].append_null().map_err(|_| {
                Malformed::new(
                    start,
                    format!("`{}` is missing, and its column is NOT NULL", name(column)),
                )
            })?;
        }
        Ok(())
    }

    /// Takes the key at this place of an object and its colon: which column wants the value. `None`: the object ends.
    #[inline]
    fn key(
        &mut self,
        fields: &mut Fields,
        place: usize,
    ) -> Result<Option<Option<usize>>, Malformed> {
        let (record, start) = (self.cursor.bytes(), self.cursor.at());
        if let Some((end, column)) = fields.expected(place, record, start) {
            self.cursor.seek(end);
            return Ok(Some(column));
        }
        let Some(key) = self.cursor.next_key(place == 0, &mut self.scratch.key)? else {
            return Ok(None);
        };
        let text = &record[start..self.cursor.at()];
        Ok(Some(fields.column(place, key, text)))
    }

    /// Takes a value that no column wants. Of an object the keys are remembered too.
    fn skip(&mut self, fields: &mut Fields, place: usize) -> Result<(), Malformed> {
        if self.cursor.peek()? == b'{'
            && let Some(fields) = fields.below(place)
        {
            self.cursor.open_object()?;
            let mut place = 0;
            while self.key(fields, place)?.is_some() {
                self.cursor.skip_value(&mut self.scratch.text)?;
                place += 1;
            }
            return Ok(());
        }
        self.cursor.skip_value(&mut self.scratch.text)
    }

    /// Walks the object for the place of each column's last value, then reads those.
    fn object_last_wins(
        &mut self,
        fields: &mut Fields,
        columns: &mut [ColumnBuilder],
        name: &impl Fn(usize) -> String,
    ) -> Result<(), Malformed> {
        let mut last = vec![None; columns.len()];
        let mut place = 0;
        let (record, mut start) = (self.cursor.bytes(), self.cursor.at());
        while let Some(key) = self.cursor.next_key(place == 0, &mut self.scratch.key)? {
            let text = &record[start..self.cursor.at()];
            if let Some(column) = fields.column(place, key, text) {
                fields.mark(column);
                last[column] = Some(self.cursor.at());
            }
            self.cursor.skip_value(&mut self.scratch.text)?;
            start = self.cursor.at();
            place += 1;
        }
        let end = self.cursor.at();
        for (column, start) in last.iter().enumerate() {
            if let Some(start) = start {
                self.cursor.seek(*start);
                self.value(&mut columns[column])
                    .map_err(|error| error.within(&name(column)))?;
            }
        }
        self.cursor.seek(end);
        Ok(())
    }

    fn value(&mut self, column: &mut ColumnBuilder) -> Result<(), Malformed> {
        let first = self.cursor.peek()?;
        let at = self.cursor.at();
        let reason = |reason: Reason| Malformed::new(at, reason);
        if first == b'n' {
            self.cursor.word("null")?;
            return column.append_null().map_err(reason);
        }
        macro_rules! integer {
            ($builder:expr, $type:ty) => {{
                if !matches!(first, b'-' | b'0'..=b'9') {
                    return Err(self.cursor.mismatch("a whole number"));
                }
                let plain = self.cursor.plain_integer();
                if let Some(value) = plain.and_then(|value| <$type>::try_from(value).ok()) {
                    $builder.append_value(value);
                    return Ok(());
                }
                self.cursor.seek(at);
                let number = self.cursor.number()?;
                match number.parse::<$type>() {
                    Ok(value) => $builder.append_value(value),
                    Err(error) => return Err(reason(not_an_integer(number, error.kind()))),
                }
            }};
        }
        match &mut column.kind {
            Kind::Unread(nulls, _) => {
                self.cursor.skip_value(&mut self.scratch.text)?;
                *nulls += 1;
            }
            Kind::Int8(builder) => integer!(builder, i8),
            Kind::Int16(builder) => integer!(builder, i16),
            Kind::Int32(builder) => integer!(builder, i32),
            Kind::Int64(builder) => integer!(builder, i64),
            Kind::String(builder) => {
                if first != b'"' {
                    return Err(self.cursor.mismatch("a string"));
                }
                builder.append_value(self.cursor.string(&mut self.scratch.text)?);
            }
            Kind::Boolean(builder) => match first {
                b't' => self
                    .cursor
                    .word("true")
                    .map(|()| builder.append_value(true))?,
                b'f' => self
                    .cursor
                    .word("false")
                    .map(|()| builder.append_value(false))?,
                _ => return Err(self.cursor.mismatch("`true` or `false`")),
            },
            Kind::Timestamp {
                values,
                unit,
                format: TimestampFormat::Sql | TimestampFormat::Iso,
                date,
                ..
            } if first == b'"' => {
                match value::plain_timestamp(self.cursor.bytes(), at + 1, *unit, date) {
                    Some((value, end)) if self.cursor.bytes().get(end) == Some(&b'"') => {
                        values.append_value(value);
                        self.cursor.seek(end + 1);
                    }
                    _ => self.text(column)?,
                }
            }
            Kind::Timestamp {
                values,
                unit,
                format: TimestampFormat::Epoch(from),
                ..
            } if first != b'"' => {
                if !matches!(first, b'-' | b'0'..=b'9') {
                    return Err(self.cursor.mismatch("a whole number"));
                }
                let number = self.cursor.number()?;
                values.append_value(epoch(number, *from, *unit).map_err(reason)?);
            }
            Kind::Float32(_) | Kind::Float64(_) | Kind::Decimal(_) => match first {
                b'-' | b'0'..=b'9' => {
                    let number = self.cursor.number()?;
                    column.append_text(number).map_err(reason)?;
                }
                // Floats without a spelling in JSON, and decimals that a reader's floats would spoil.
                b'"' => self.text(column)?,
                _ => return Err(self.cursor.mismatch("a number")),
            },
            Kind::Row(row) => self.row(row, first)?,
            Kind::Array(list) => self.array(list, first)?,
            Kind::Map(list, keys) => self.map(list, keys, first)?,
            _ if first == b'"' => self.text(column)?,
            kind => {
                let expected = expected_text(kind);
                return Err(self.cursor.mismatch(expected));
            }
        }
        Ok(())
    }

    fn text(&mut self, column: &mut ColumnBuilder) -> Result<(), Malformed> {
        let at = self.cursor.at();
        let text = self.cursor.string(&mut self.scratch.text)?;
        column
            .append_text(text)
            .map_err(|reason| Malformed::new(at, reason))
    }

    fn row(&mut self, row: &mut RowBuilder, first: u8) -> Result<(), Malformed> {
        if first != b'{' {
            return Err(self.cursor.mismatch("an object"));
        }
        row.settle_nulls();
        let RowBuilder {
            fields,
            columns,
            valid,
            names,
            ..
        } = row;
        self.object(fields, columns, |column| names[column].clone())?;
        valid.push(true);
        Ok(())
    }

    fn array(&mut self, list: &mut ListBuilder, first: u8) -> Result<(), Malformed> {
        if first != b'[' {
            return Err(self.cursor.mismatch("an array"));
        }
        let start = self.cursor.at();
        self.cursor.open_array()?;
        let mut is_first = true;
        while self.cursor.next_element(is_first)? {
            is_first = false;
            self.value(&mut list.values)?;
        }
        list.close(true)
            .map_err(|reason| Malformed::new(start, reason))
    }

    /// A key that is there twice is two entries of the map; its last one is what a lookup should find, so in that
    /// case the object is walked and earlier entries are left out.
    fn map(
        &mut self,
        list: &mut ListBuilder,
        keys: &mut ColumnBuilder,
        first: u8,
    ) -> Result<(), Malformed> {
        if first != b'{' {
            return Err(self.cursor.mismatch("an object"));
        }
        let start = self.cursor.at();
        let kept = self.map_entries()?;
        let end = self.cursor.at();
        for (key, at) in kept {
            keys.append_text(&key)
                .map_err(|reason| Malformed::new(at, reason))?;
            self.cursor.seek(at);
            self.value(&mut list.values)?;
        }
        self.cursor.seek(end);
        list.close(true)
            .map_err(|reason| Malformed::new(start, reason))
    }

    /// The keys of an object, in the order of their first occurrence, each with the place of its last value.
    fn map_entries(&mut self) -> Result<indexmap::IndexMap<String, usize>, Malformed> {
        let mut entries = indexmap::IndexMap::new();
        self.cursor.open_object()?;
        let mut first = true;
        while let Some(key) = self.cursor.next_key(first, &mut self.scratch.key)? {
            first = false;
            entries.insert(key.to_owned(), self.cursor.at());
            self.cursor.skip_value(&mut self.scratch.text)?;
        }
        Ok(entries)
    }
}

fn expected_text(kind: &Kind) -> &'static str {
    match kind {
        Kind::Date(_) => "a date such as \"2013-01-31\"",
        Kind::Time(_) => "a time such as \"23:59:00\"",
        Kind::Timestamp { .. } => "a timestamp such as \"2013-01-31 23:59:00\"",
        Kind::Bytes(..) => "a string of base64",
        Kind::Op(_) => "\"+I\", \"-U\", \"+U\" or \"-D\"",
        Kind::Null(_) => "null",
        _ => "another value",
    }
}
