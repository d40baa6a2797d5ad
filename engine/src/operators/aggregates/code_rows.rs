//! What the code of a program sees of rows and of state: typed values by column, checked against the declared types.
//!
//! The columns of a batch are decoded once; a value is then a match and an index. Nothing is boxed but the values of results.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::DataType as ArrowType;
use weir_state::Columns;
use weir_types::DataType;

use super::values;

type Outcome<T> = Result<T, (usize, String)>;

/// A value of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// BOOLEAN.
    Bool(bool),
    /// An integer; a DATE in days, a TIME in nanoseconds, a TIMESTAMP in the units of its precision.
    Int(i64),
    /// REAL, DOUBLE.
    Float(f64),
    /// DECIMAL, without its point: 12.34 of DECIMAL(10, 2) is 1234.
    Decimal(i128),
    /// STRING.
    Text(String),
    /// BYTES.
    Bytes(Vec<u8>),
}

/// A column as code reads it.
enum Cells {
    Ints(Int64Array),
    Floats(Float64Array),
    /// Decimals, texts, bytes: read where they are.
    Other(ArrayRef),
}

impl Cells {
    fn new(array: &ArrayRef) -> Outcome<Self> {
        Ok(match array.data_type() {
            ArrowType::Float32 | ArrowType::Float64 => Self::Floats(values::floats(array)?),
            ArrowType::Decimal128(..) | ArrowType::Utf8View | ArrowType::Binary => {
                Self::Other(array.clone())
            }
            _ => Self::Ints(values::integers(array)?),
        })
    }
}

/// Decoded columns.
pub(super) struct Table {
    columns: Vec<Cells>,
}

impl Table {
    pub(super) fn new<'a>(arrays: impl IntoIterator<Item = &'a ArrayRef>) -> Outcome<Self> {
        let columns = arrays.into_iter().map(Cells::new).collect::<Outcome<_>>()?;
        Ok(Self { columns })
    }

    pub(super) fn row(&self, row: usize) -> Row<'_> {
        Row {
            columns: &self.columns,
            row,
        }
    }
}

/// A row of typed values: the arguments of a call, or the state of a group. Columns are counted from 0; asking a column for a value
/// of another kind is an error.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    columns: &'a [Cells],
    row: usize,
}

impl<'a> Row<'a> {
    fn cells(&self, column: usize) -> Result<&'a Cells, String> {
        self.columns.get(column).ok_or_else(|| {
            format!(
                "there is no column {column}: there are {}",
                self.columns.len()
            )
        })
    }

    fn other<T>(
        &self,
        column: usize,
        what: &str,
        get: impl FnOnce(&'a ArrayRef) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.cells(column)? {
            Cells::Other(array) if array.is_null(self.row) => Ok(None),
            Cells::Other(array) => get(array).map(Some).ok_or_else(|| not(column, what)),
            _ => Err(not(column, what)),
        }
    }

    /// An integer; a DATE in days, a TIME in nanoseconds, a TIMESTAMP in the units of its precision.
    ///
    /// # Errors
    /// If the column is of another kind.
    pub fn int(&self, column: usize) -> Result<Option<i64>, String> {
        match self.cells(column)? {
            Cells::Ints(values) => Ok(values.is_valid(self.row).then(|| values.value(self.row))),
            _ => Err(not(column, "an integer")),
        }
    }

    /// A BOOLEAN.
    ///
    /// # Errors
    /// As [`Row::int`].
    pub fn bool(&self, column: usize) -> Result<Option<bool>, String> {
        Ok(self.int(column)?.map(|value| value != 0))
    }

    /// A REAL or DOUBLE.
    ///
    /// # Errors
    /// As [`Row::int`].
    pub fn float(&self, column: usize) -> Result<Option<f64>, String> {
        match self.cells(column)? {
            Cells::Floats(values) => Ok(values.is_valid(self.row).then(|| values.value(self.row))),
            _ => Err(not(column, "a float")),
        }
    }

    /// A DECIMAL without its point.
    ///
    /// # Errors
    /// As [`Row::int`].
    pub fn decimal(&self, column: usize) -> Result<Option<i128>, String> {
        self.other(column, "a decimal", |array| {
            values::decimals(array)
                .ok()
                .map(|numbers| numbers[self.row])
        })
    }

    /// A STRING.
    ///
    /// # Errors
    /// As [`Row::int`].
    pub fn text(&self, column: usize) -> Result<Option<&'a str>, String> {
        self.other(column, "a text", |array| {
            array
                .as_string_view_opt()
                .map(|texts| texts.value(self.row))
        })
    }

    /// BYTES.
    ///
    /// # Errors
    /// As [`Row::int`].
    pub fn bytes(&self, column: usize) -> Result<Option<&'a [u8]>, String> {
        self.other(column, "bytes", |array| {
            array
                .as_binary_opt::<i32>()
                .map(|bytes| bytes.value(self.row))
        })
    }
}

fn not(column: usize, what: &str) -> String {
    format!("column {column} is not {what}")
}

/// The state of one group, to be changed. Columns are those that the signature declares, counted from 0.
pub struct GroupState<'a, 'c> {
    columns: &'a mut Columns<'c>,
    slot: u32,
    /// Where each declared column is in the table, and its type.
    kept: &'a [(usize, DataType)],
}

/// How state has values of a type.
#[derive(PartialEq, Eq)]
enum Form {
    Int,
    Float,
    Decimal,
    Text,
    Bytes,
}

fn form(data_type: &DataType) -> Form {
    match data_type {
        DataType::Float32 | DataType::Float64 => Form::Float,
        DataType::Decimal(..) => Form::Decimal,
        DataType::String => Form::Text,
        DataType::Bytes => Form::Bytes,
        _ => Form::Int,
    }
}

impl<'a, 'c> GroupState<'a, 'c> {
    /// `kept`: where each declared column is, and its type.
    pub(super) fn new(
        columns: &'a mut Columns<'c>,
        slot: u32,
        kept: &'a [(usize, DataType)],
    ) -> Self {
        Self {
            columns,
            slot,
            kept,
        }
    }
}

impl GroupState<'_, '_> {
    /// Where a column is, if it has that form.
    fn place(&self, column: usize, wanted: &Form, what: &str) -> Result<usize, String> {
        match self.kept.get(column) {
            Some((place, data_type)) if form(data_type) == *wanted => Ok(*place),
            Some((_, data_type)) => Err(format!(
                "column {column} of the state is {data_type}, not {what}"
            )),
            None => Err(format!(
                "the state has no column {column}: it has {}",
                self.kept.len()
            )),
        }
    }

    fn read<T>(
        &self,
        column: usize,
        wanted: &Form,
        what: &str,
        get: impl FnOnce(usize) -> T,
    ) -> Result<Option<T>, String> {
        let place = self.place(column, wanted, what)?;
        Ok((!self.columns.is_null(place, self.slot)).then(|| get(place)))
    }

    /// An integer, in the units of [`Row::int`].
    ///
    /// # Errors
    /// If the column is of another kind.
    pub fn int(&self, column: usize) -> Result<Option<i64>, String> {
        self.read(column, &Form::Int, "an integer", |place| {
            self.columns.i64(place, self.slot)
        })
    }

    /// A BOOLEAN.
    ///
    /// # Errors
    /// As [`GroupState::int`].
    pub fn bool(&self, column: usize) -> Result<Option<bool>, String> {
        Ok(self.int(column)?.map(|value| value != 0))
    }

    /// A REAL or DOUBLE.
    ///
    /// # Errors
    /// As [`GroupState::int`].
    pub fn float(&self, column: usize) -> Result<Option<f64>, String> {
        self.read(column, &Form::Float, "a float", |place| {
            self.columns.f64(place, self.slot)
        })
    }

    /// A DECIMAL without its point.
    ///
    /// # Errors
    /// As [`GroupState::int`].
    pub fn decimal(&self, column: usize) -> Result<Option<i128>, String> {
        self.read(column, &Form::Decimal, "a decimal", |place| {
            self.columns.i128(place, self.slot)
        })
    }

    /// A STRING.
    ///
    /// # Errors
    /// As [`GroupState::int`].
    pub fn text(&self, column: usize) -> Result<Option<&str>, String> {
        let bytes = self.read(column, &Form::Text, "a text", |place| {
            self.columns.bytes(place, self.slot)
        })?;
        let text = bytes.map(std::str::from_utf8).transpose();
        text.map_err(|error| error.to_string())
    }

    /// BYTES.
    ///
    /// # Errors
    /// As [`GroupState::int`].
    pub fn bytes(&self, column: usize) -> Result<Option<&[u8]>, String> {
        self.read(column, &Form::Bytes, "bytes", |place| {
            self.columns.bytes(place, self.slot)
        })
    }

    /// Makes the value NULL.
    ///
    /// # Errors
    /// If there is no such column.
    pub fn set_null(&mut self, column: usize) -> Result<(), String> {
        self.set(column, &Value::Null)
    }

    /// Sets an integer, in the units of [`Row::int`].
    ///
    /// # Errors
    /// If the column is of another kind, or too narrow.
    pub fn set_int(&mut self, column: usize, value: i64) -> Result<(), String> {
        self.set(column, &Value::Int(value))
    }

    /// Sets a BOOLEAN.
    ///
    /// # Errors
    /// As [`GroupState::set_int`].
    pub fn set_bool(&mut self, column: usize, value: bool) -> Result<(), String> {
        self.set(column, &Value::Bool(value))
    }

    /// Sets a REAL or DOUBLE.
    ///
    /// # Errors
    /// As [`GroupState::set_int`].
    pub fn set_float(&mut self, column: usize, value: f64) -> Result<(), String> {
        self.set(column, &Value::Float(value))
    }

    /// Sets a DECIMAL without its point.
    ///
    /// # Errors
    /// As [`GroupState::set_int`].
    pub fn set_decimal(&mut self, column: usize, value: i128) -> Result<(), String> {
        self.set(column, &Value::Decimal(value))
    }

    /// Sets a STRING.
    ///
    /// # Errors
    /// As [`GroupState::set_int`].
    pub fn set_text(&mut self, column: usize, value: &str) -> Result<(), String> {
        let place = self.place(column, &Form::Text, "a text")?;
        self.columns.set_bytes(place, self.slot, value.as_bytes());
        Ok(())
    }

    /// Sets BYTES.
    ///
    /// # Errors
    /// As [`GroupState::set_int`].
    pub fn set_bytes(&mut self, column: usize, value: &[u8]) -> Result<(), String> {
        let place = self.place(column, &Form::Bytes, "bytes")?;
        self.columns.set_bytes(place, self.slot, value);
        Ok(())
    }

    /// Sets any value.
    ///
    /// # Errors
    /// As [`GroupState::set_int`].
    pub fn set(&mut self, column: usize, value: &Value) -> Result<(), String> {
        let Some((place, data_type)) = self.kept.get(column) else {
            return Err(format!(
                "the state has no column {column}: it has {}",
                self.kept.len()
            ));
        };
        put(self.columns, *place, self.slot, data_type, value)
            .map_err(|why| format!("column {column} of the state {why}"))
    }
}

/// Sets a value of a column of that type.
pub(super) fn put(
    columns: &mut Columns<'_>,
    place: usize,
    slot: u32,
    data_type: &DataType,
    value: &Value,
) -> Result<(), String> {
    match (value, data_type) {
        (Value::Null, _) => columns.set_null(place, slot),
        (Value::Bool(value), DataType::Boolean) => columns.set_i64(place, slot, i64::from(*value)),
        (Value::Int(value), other) if form(other) == Form::Int && *other != DataType::Boolean => {
            let (least, greatest) = range(other);
            if *value < least || *value > greatest {
                return Err(format!("is {other}, and {value} is outside of its range"));
            }
            columns.set_i64(place, slot, *value);
        }
        (Value::Float(value), DataType::Float64) => columns.set_f64(place, slot, *value),
        (Value::Float(value), DataType::Float32) => {
            columns.set_f64(place, slot, f64::from(*value as f32))
        }
        (Value::Decimal(value), DataType::Decimal(precision, _)) => {
            if value.unsigned_abs() >= 10u128.saturating_pow(u32::from(*precision)) {
                return Err(format!("is {data_type}, and {value} has more digits"));
            }
            columns.set_i128(place, slot, *value);
        }
        (Value::Text(value), DataType::String) => columns.set_bytes(place, slot, value.as_bytes()),
        (Value::Bytes(value), DataType::Bytes) => columns.set_bytes(place, slot, value),
        (value, other) => return Err(format!("is {other}, and {value:?} is not a value of it")),
    }
    Ok(())
}

/// The least and the greatest value of an integer-like type; unsigned numbers of 64 bits go by their bits.
fn range(data_type: &DataType) -> (i64, i64) {
    match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 | DataType::Date => (i32::MIN.into(), i32::MAX.into()),
        DataType::UInt8 => (0, u8::MAX.into()),
        DataType::UInt16 => (0, u16::MAX.into()),
        DataType::UInt32 => (0, u32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    }
}
