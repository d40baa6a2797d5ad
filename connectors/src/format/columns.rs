//! Builders of columns: one for each requested column, filled value by value while a chunk is decoded.
//!
//! A record may turn out to be malformed when half of its values are in the builders already. Nothing is taken back
//! then: [`ColumnBuilder::settle`] fills every builder up to the same length, the row is marked, and the batch is
//! filtered once at its end. So the common path pays nothing for the possibility.
//!
//! # Invariants
//! 1. Between two records all builders of a batch have the same length.
//! 2. What `finish` gives has the canonical Arrow type of the column.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::*;
use weir_types::{Column, DataType as Sql, TimeUnit};

use super::decimal::DecimalReader;
use super::json::Fields;
use super::value::{self, KnownDate, NotATimestamp, TimestampFormat};

/// Why a value does not fit its column.
pub(crate) type Reason = String;

/// The values of one column so far.
#[derive(Debug)]
pub(crate) struct ColumnBuilder {
    pub(crate) nullable: bool,
    pub(crate) kind: Kind,
}

/// The values, by type.
#[derive(Debug)]
pub(crate) enum Kind {
    Null(usize),
    /// A field that nobody reads: so many NULLs of its type.
    Unread(usize, arrow::datatypes::DataType),
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(DecimalReader),
    String(StringViewBuilder),
    Bytes(BinaryBuilder, Vec<u8>),
    Date(Date32Builder),
    Time(Time64NanosecondBuilder),
    Timestamp {
        values: Int64Builder,
        unit: TimeUnit,
        zoned: bool,
        format: TimestampFormat,
        /// The date of the last value: most rows have the one of the row before.
        date: KnownDate,
    },
    Row(RowBuilder),
    Array(ListBuilder),
    Map(ListBuilder, Box<ColumnBuilder>),
    /// The `op` of a changelog: whether the row is retracted.
    Op(Vec<bool>),
}

/// A ROW: its fields' builders, all as long as `valid`.
#[derive(Debug)]
pub(crate) struct RowBuilder {
    pub(crate) fields: Fields,
    /// External names of the fields.
    pub(crate) names: Vec<String>,
    pub(crate) columns: Vec<ColumnBuilder>,
    pub(crate) valid: Vec<bool>,
    /// NULLs at the end that the fields' builders do not have yet: a record of one kind is NULL in the columns of the others.
    owed: usize,
    arrow: arrow::datatypes::Fields,
}

impl RowBuilder {
    /// Brings the fields' builders to the length of `valid`.
    pub(crate) fn settle_nulls(&mut self) {
        let owed = std::mem::take(&mut self.owed);
        if owed > 0 {
            self.columns
                .iter_mut()
                .for_each(|column| column.push_nulls(owed));
        }
    }
}

/// Values in a row: an ARRAY, or the values of a MAP.
#[derive(Debug)]
pub(crate) struct ListBuilder {
    pub(crate) values: Box<ColumnBuilder>,
    /// Where each list ends in `values`; one more than there are lists.
    ends: Vec<i32>,
    valid: Vec<bool>,
    arrow: arrow::datatypes::DataType,
}

impl ListBuilder {
    fn new(
        element: &Sql,
        format: TimestampFormat,
        arrow: arrow::datatypes::DataType,
    ) -> Option<Self> {
        let values = ColumnBuilder::new(&Column::new("item", element.clone()), format, 0)?;
        Some(Self {
            values: Box::new(values),
            ends: vec![0],
            valid: Vec::new(),
            arrow,
        })
    }

    /// The values since the last list are the next one.
    pub(crate) fn close(&mut self, valid: bool) -> Result<(), Reason> {
        let end = i32::try_from(self.values.len())
            .map_err(|_| "a batch holds 2^31 elements at most".to_owned())?;
        self.ends.push(end);
        self.valid.push(valid);
        Ok(())
    }

    fn close_null(&mut self) {
        let end = self.values.len().min(i32::MAX as usize);
        self.ends.push(end as i32);
        self.valid.push(false);
    }
}

macro_rules! each_primitive {
    ($kind:expr, $builder:ident => $body:expr, else $($rest:tt)*) => {
        match $kind {
            Kind::Boolean($builder) => $body,
            Kind::Int8($builder) => $body,
            Kind::Int16($builder) => $body,
            Kind::Int32($builder) => $body,
            Kind::Int64($builder) => $body,
            Kind::Float32($builder) => $body,
            Kind::Float64($builder) => $body,
            Kind::String($builder) => $body,
            Kind::Bytes($builder, _) => $body,
            Kind::Date($builder) => $body,
            Kind::Time($builder) => $body,
            $($rest)*
        }
    };
}

impl ColumnBuilder {
    /// A builder with room for `rows` values; `None` for a type that no format can write (INTERVAL, unsigned).
    pub(crate) fn new(column: &Column, format: TimestampFormat, rows: usize) -> Option<Self> {
        let kind = match &column.data_type {
            Sql::Null => Kind::Null(0),
            Sql::Boolean => Kind::Boolean(BooleanBuilder::with_capacity(rows)),
            Sql::Int8 => Kind::Int8(Int8Builder::with_capacity(rows)),
            Sql::Int16 => Kind::Int16(Int16Builder::with_capacity(rows)),
            Sql::Int32 => Kind::Int32(Int32Builder::with_capacity(rows)),
            Sql::Int64 => Kind::Int64(Int64Builder::with_capacity(rows)),
            Sql::Float32 => Kind::Float32(Float32Builder::with_capacity(rows)),
            Sql::Float64 => Kind::Float64(Float64Builder::with_capacity(rows)),
            Sql::Decimal(precision, scale) => {
                Kind::Decimal(DecimalReader::new(*precision, *scale, rows))
            }
            Sql::String => Kind::String(StringViewBuilder::with_capacity(rows)),
            Sql::Bytes => Kind::Bytes(BinaryBuilder::with_capacity(rows, 0), Vec::new()),
            Sql::Date => Kind::Date(Date32Builder::with_capacity(rows)),
            Sql::Time => Kind::Time(Time64NanosecondBuilder::with_capacity(rows)),
            Sql::Timestamp(unit) => timestamp(*unit, false, format, rows),
            Sql::TimestampLtz(unit) => timestamp(*unit, true, format, rows),
            Sql::Row(columns) => Kind::Row(RowBuilder {
                fields: Fields::new(columns.iter().map(Column::external)),
                names: columns
                    .iter()
                    .map(|column| column.external().to_owned())
                    .collect(),
                columns: columns
                    .iter()
                    .map(|column| Self::new(column, format, rows))
                    .collect::<Option<_>>()?,
                valid: Vec::with_capacity(rows),
                owed: 0,
                arrow: columns.iter().map(Column::to_arrow_field).collect(),
            }),
            Sql::Array(element) => Kind::Array(ListBuilder::new(
                element,
                format,
                column.data_type.to_arrow(),
            )?),
            Sql::Map(key, element) => {
                let keys = Self::new(&Column::new("key", (**key).clone()), format, 0)?;
                if matches!(
                    keys.kind,
                    Kind::Row(_) | Kind::Array(_) | Kind::Map(..) | Kind::Null(_)
                ) {
                    return None; // A key is a JSON key: a text.
                }
                Kind::Map(
                    ListBuilder::new(element, format, column.data_type.to_arrow())?,
                    Box::new(keys),
                )
            }
            Sql::UInt8 | Sql::UInt16 | Sql::UInt32 | Sql::UInt64 | Sql::Interval => return None,
        };
        Some(Self {
            nullable: column.nullable,
            kind,
        })
    }

    /// Fields of a ROW that nobody reads: whatever a record has there, it is NULL.
    pub(crate) fn leave_unread(&mut self, field: usize) {
        if let Kind::Row(row) = &mut self.kind
            && row.arrow[field].is_nullable()
        {
            row.columns[field].kind = Kind::Unread(0, row.arrow[field].data_type().clone());
        }
    }

    /// The builder of a changelog's `op`.
    pub(crate) fn op() -> Self {
        Self {
            nullable: false,
            kind: Kind::Op(Vec::new()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        each_primitive!(&self.kind, builder => builder.len(), else
            Kind::Null(len) | Kind::Unread(len, _) => *len,
            Kind::Timestamp { values, .. } => values.len(),
            Kind::Decimal(decimals) => decimals.len(),
            Kind::Row(row) => row.valid.len(),
            Kind::Array(list) | Kind::Map(list, _) => list.valid.len(),
            Kind::Op(retracted) => retracted.len(),
        )
    }

    /// NULL, if the column may hold it.
    pub(crate) fn append_null(&mut self) -> Result<(), Reason> {
        if !self.nullable {
            return Err("NULL in a NOT NULL column".to_owned());
        }
        self.push_null();
        Ok(())
    }

    fn push_null(&mut self) {
        each_primitive!(&mut self.kind, builder => builder.append_null(), else
            Kind::Null(len) | Kind::Unread(len, _) => *len += 1,
            Kind::Timestamp { values, .. } => values.append_null(),
            Kind::Decimal(decimals) => decimals.append_null(),
            Kind::Row(row) => {
                row.owed += 1;
                row.valid.push(false);
            }
            Kind::Array(list) | Kind::Map(list, _) => list.close_null(),
            Kind::Op(retracted) => retracted.push(false),
        );
    }

    fn push_nulls(&mut self, count: usize) {
        match &mut self.kind {
            Kind::Boolean(builder) => builder.append_nulls(count),
            Kind::Int32(builder) => builder.append_nulls(count),
            Kind::Int64(builder) => builder.append_nulls(count),
            Kind::Timestamp { values, .. } => values.append_nulls(count),
            Kind::Unread(len, _) => *len += count,
            _ => (0..count).for_each(|_| self.push_null()),
        }
    }

    /// A value for a key of a MAP that is thrown away: keys are never NULL, not even those.
    fn push_filler(&mut self) {
        match &mut self.kind {
            Kind::Boolean(builder) => builder.append_value(false),
            Kind::Int8(builder) => builder.append_value(0),
            Kind::Int16(builder) => builder.append_value(0),
            Kind::Int32(builder) => builder.append_value(0),
            Kind::Int64(builder) => builder.append_value(0),
            Kind::Float32(builder) => builder.append_value(0.0),
            Kind::Float64(builder) => builder.append_value(0.0),
            Kind::Decimal(decimals) => decimals.append_zero(),
            Kind::String(builder) => builder.append_value(""),
            Kind::Bytes(builder, _) => builder.append_value(b""),
            Kind::Date(builder) => builder.append_value(0),
            Kind::Time(builder) => builder.append_value(0),
            Kind::Timestamp { values, .. } => values.append_value(0),
            Kind::Null(_)
            | Kind::Unread(..)
            | Kind::Row(_)
            | Kind::Array(_)
            | Kind::Map(..)
            | Kind::Op(_) => self.push_null(),
        }
    }

    /// Fills up to `len` values, completing what a malformed record left half done.
    pub(crate) fn settle(&mut self, len: usize) {
        self.complete();
        while self.len() < len {
            self.push_null();
        }
    }

    /// Makes a half-built nested value whole; its row will be filtered out.
    fn complete(&mut self) {
        match &mut self.kind {
            Kind::Row(row) => {
                row.settle_nulls();
                row.columns.iter_mut().for_each(Self::complete);
                let longest = row
                    .columns
                    .iter()
                    .map(Self::len)
                    .max()
                    .unwrap_or(0)
                    .max(row.valid.len());
                row.columns
                    .iter_mut()
                    .for_each(|column| column.settle(longest));
                row.valid.resize(longest, false);
            }
            Kind::Array(list) => {
                list.values.complete();
                if list.values.len() > list.ends[list.ends.len() - 1] as usize {
                    list.close_null();
                }
            }
            Kind::Map(list, keys) => {
                list.values.complete();
                let longest = list.values.len().max(keys.len());
                list.values.settle(longest);
                while keys.len() < longest {
                    keys.push_filler();
                }
                if longest > list.ends[list.ends.len() - 1] as usize {
                    list.close_null();
                }
            }
            _ => {}
        }
    }

    /// Whether an empty text is a value.
    pub(crate) fn takes_empty_text(&self) -> bool {
        matches!(self.kind, Kind::String(_) | Kind::Bytes(..))
    }

    /// The value that a text stands for: a CSV field, a JSON string, a key of a MAP.
    pub(crate) fn append_text(&mut self, text: &str) -> Result<(), Reason> {
        macro_rules! number {
            ($builder:expr, $type:ty) => {
                match text.parse::<$type>() {
                    Ok(number) => $builder.append_value(number),
                    Err(error) => return Err(not_an_integer(text, error.kind())),
                }
            };
        }
        match &mut self.kind {
            Kind::String(builder) => builder.append_value(text),
            Kind::Int8(builder) => number!(builder, i8),
            Kind::Int16(builder) => number!(builder, i16),
            Kind::Int32(builder) => number!(builder, i32),
            Kind::Int64(builder) => number!(builder, i64),
            Kind::Float32(builder) => builder.append_value(float(text, f32::is_finite)?),
            Kind::Float64(builder) => builder.append_value(float(text, f64::is_finite)?),
            Kind::Boolean(builder) => match crate::options::parse_boolean(text) {
                Some(value) => builder.append_value(value),
                None => return Err(expected("`true` or `false`", text)),
            },
            Kind::Decimal(decimals) => decimals.append_text(text)?,
            Kind::Bytes(builder, scratch) => {
                scratch.clear();
                value::parse_base64(text, scratch).ok_or_else(|| expected("base64", text))?;
                builder.append_value(&scratch);
            }
            Kind::Date(builder) => {
                builder.append_value(
                    value::parse_date(text)
                        .ok_or_else(|| expected("a date such as 2013-01-31", text))?,
                );
            }
            Kind::Time(builder) => {
                builder.append_value(
                    value::parse_time(text)
                        .ok_or_else(|| expected("a time such as 23:59:00", text))?,
                );
            }
            Kind::Timestamp {
                values,
                unit,
                zoned,
                format,
                ..
            } => values.append_value(match format {
                TimestampFormat::Epoch(from) => epoch(text, *from, *unit)?,
                _ => value::parse_timestamp(text, *unit, *zoned)
                    .map_err(|error| not_a_timestamp(text, error))?,
            }),
            Kind::Op(retracted) => retracted.push(match text {
                "+I" | "+U" => false,
                "-U" | "-D" => true,
                _ => return Err(expected("+I, -U, +U or -D", text)),
            }),
            Kind::Unread(len, _) => *len += 1,
            Kind::Null(_) => return Err(expected("NULL", text)),
            Kind::Row(_) | Kind::Array(_) | Kind::Map(..) => {
                return Err(expected("a nested value", text));
            }
        }
        Ok(())
    }

    /// The array of all values.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        each_primitive!(&mut self.kind, builder => self::finish(builder), else
            Kind::Null(len) => Arc::new(NullArray::new(std::mem::take(len))),
            Kind::Unread(len, data_type) => new_null_array(data_type, std::mem::take(len)),
            Kind::Timestamp { values, unit, zoned, .. } => typed(&values.finish(), *unit, *zoned),
            Kind::Decimal(decimals) => decimals.finish(),
            Kind::Row(row) => {
                row.settle_nulls();
                let columns: Vec<ArrayRef> = row.columns.iter_mut().map(Self::finish).collect();
                let valid = NullBuffer::from(std::mem::take(&mut row.valid));
                Arc::new(StructArray::new(row.arrow.clone(), columns, Some(valid)))
            }
            Kind::Array(list) => list.finish(None),
            Kind::Map(list, keys) => {
                let keys = keys.finish();
                list.finish(Some(keys))
            }
            Kind::Op(retracted) => Arc::new(BooleanArray::from(std::mem::take(retracted))),
        )
    }
}

impl ListBuilder {
    fn finish(&mut self, keys: Option<ArrayRef>) -> ArrayRef {
        use arrow::datatypes::DataType as A;
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        let offsets = OffsetBuffer::new(ends.into());
        let valid = Some(NullBuffer::from(std::mem::take(&mut self.valid)));
        let values = self.values.finish();
        match (&self.arrow, keys) {
            (A::Map(entries, sorted), Some(keys)) => {
                let A::Struct(fields) = entries.data_type() else {
                    unreachable!("a map's entries are a struct")
                };
                let pairs = StructArray::new(fields.clone(), vec![keys, values], None);
                Arc::new(MapArray::new(
                    entries.clone(),
                    offsets,
                    pairs,
                    valid,
                    *sorted,
                ))
            }
            (A::List(item), _) => Arc::new(ListArray::new(item.clone(), offsets, values, valid)),
            (other, _) => unreachable!("a list builder makes lists and maps, not {other}"),
        }
    }
}

/// Gives the values of a primitive builder as an array of the canonical type.
trait Finish {
    fn array(&mut self) -> ArrayRef;
}

macro_rules! finish_plainly {
    ($($builder:ty),*) => { $(impl Finish for $builder { fn array(&mut self) -> ArrayRef { Arc::new(self.finish()) } })* };
}
finish_plainly!(
    BooleanBuilder,
    Int8Builder,
    Int16Builder,
    Int32Builder,
    Int64Builder,
    Float32Builder,
    Float64Builder,
    StringViewBuilder,
    BinaryBuilder,
    Date32Builder,
    Time64NanosecondBuilder
);

fn finish(builder: &mut impl Finish) -> ArrayRef {
    builder.array()
}

/// Timestamps are collected as plain integers, whatever their unit.
pub(crate) fn typed(values: &Int64Array, unit: TimeUnit, zoned: bool) -> ArrayRef {
    fn of<T: ArrowTimestampType>(values: &Int64Array, zoned: bool) -> ArrayRef {
        let array = values.reinterpret_cast::<T>();
        if zoned {
            Arc::new(array.with_timezone("+00:00"))
        } else {
            Arc::new(array)
        }
    }
    match unit {
        TimeUnit::Second => of::<TimestampSecondType>(values, zoned),
        TimeUnit::Milli => of::<TimestampMillisecondType>(values, zoned),
        TimeUnit::Micro => of::<TimestampMicrosecondType>(values, zoned),
        TimeUnit::Nano => of::<TimestampNanosecondType>(values, zoned),
    }
}

fn timestamp(unit: TimeUnit, zoned: bool, format: TimestampFormat, rows: usize) -> Kind {
    Kind::Timestamp {
        values: Int64Builder::with_capacity(rows),
        unit,
        zoned,
        format,
        date: KnownDate::default(),
    }
}

fn float<F: std::str::FromStr + Copy>(text: &str, is_finite: fn(F) -> bool) -> Result<F, Reason> {
    let value: F = text.parse().map_err(|_| expected("a number", text))?;
    // The parser makes an infinity of what is too large; one that is written as such is meant.
    let spelt_out = text.bytes().any(|byte| matches!(byte, b'n' | b'N'));
    if !is_finite(value) && !spelt_out {
        Err(format!("{text} is out of range"))
    } else {
        Ok(value)
    }
}

pub(crate) fn epoch(text: &str, from: TimeUnit, to: TimeUnit) -> Result<i64, Reason> {
    let count = text
        .parse()
        .map_err(|error: std::num::ParseIntError| not_an_integer(text, error.kind()))?;
    value::rescale(count, from, to).ok_or_else(|| format!("{text} is out of range"))
}

pub(crate) fn not_an_integer(text: &str, kind: &std::num::IntErrorKind) -> Reason {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    match kind {
        NegOverflow | PosOverflow => format!("{text} is out of range"),
        _ => expected("a whole number", text),
    }
}

fn not_a_timestamp(text: &str, error: NotATimestamp) -> Reason {
    match error {
        NotATimestamp::Form => expected("a timestamp such as 2013-01-31 23:59:00", text),
        NotATimestamp::Zone => format!("`{text}` has a zone: declare the column TIMESTAMP_LTZ"),
        NotATimestamp::Range => format!("{text} is out of range"),
    }
}

fn expected(what: &str, text: &str) -> Reason {
    format!("expected {what}, found `{}`", super::json::shorten(text))
}
