//! The SQL types of Weir, their names, and the one Arrow type that each of them has in motion.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes as arrow_types;
use serde::{Deserialize, Serialize};

/// Unit of a timestamp, from its declared precision: 0 → second, 1–3 → milli, 4–6 → micro, 7–9 → nano.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Seconds.
    Second,
    /// Milliseconds.
    Milli,
    /// Microseconds.
    Micro,
    /// Nanoseconds.
    Nano,
}

/// A SQL type. Each has exactly one canonical Arrow type ([`DataType::to_arrow`]): whatever leaves an
/// operator has it.
///
/// Serialized form (`docs/formats/plan.md`): a snake-case name, or an object with the name and parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    /// The type of a bare `NULL`.
    Null,
    /// BOOLEAN.
    Boolean,
    /// TINYINT.
    Int8,
    /// SMALLINT.
    Int16,
    /// INT, INTEGER.
    Int32,
    /// BIGINT.
    Int64,
    /// Unsigned types come from functions alone.
    UInt8,
    /// See [`DataType::UInt8`].
    UInt16,
    /// See [`DataType::UInt8`].
    UInt32,
    /// See [`DataType::UInt8`].
    UInt64,
    /// REAL, FLOAT (32 bits).
    Float32,
    /// DOUBLE, FLOAT8.
    Float64,
    /// DECIMAL(precision, scale); precision up to 38 is 128 bits wide, up to 76 is 256.
    Decimal(u8, i8),
    /// STRING, TEXT, VARCHAR(n), CHAR(n).
    String,
    /// BYTES, BYTEA, VARBINARY(n).
    Bytes,
    /// DATE: days since the Unix epoch.
    Date,
    /// TIME: nanoseconds since midnight.
    Time,
    /// TIMESTAMP(p) without a zone.
    Timestamp(TimeUnit),
    /// TIMESTAMP_LTZ(p): a point in time, UTC.
    TimestampLtz(TimeUnit),
    /// INTERVAL: months, days, nanoseconds.
    Interval,
    /// `ARRAY<element>`.
    Array(Box<DataType>),
    /// `ROW<name type, …>`.
    Row(Vec<Column>),
    /// `MAP<key, value>`.
    Map(Box<DataType>, Box<DataType>),
}

/// A named column (or ROW field) with its type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// The name: folded to lower case unless it was quoted.
    pub name: String,
    /// The type.
    pub data_type: DataType,
    /// Whether NULL can occur.
    pub nullable: bool,
    /// The name outside of SQL (JSON field, CSV header, printed header) where it differs from `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_name: Option<String>,
}

impl Column {
    /// A nullable column whose external name is its name.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            name: name.into(),
            data_type,
            nullable: true,
            external_name: None,
        }
    }

    /// The name in files, records and headers: the spelling in the DDL.
    pub fn external(&self) -> &str {
        self.external_name.as_deref().unwrap_or(&self.name)
    }
}

/// The columns of a relation, in order.
pub type Schema = Vec<Column>;

impl DataType {
    /// The canonical Arrow type. Strings are views; LTZ timestamps carry the zone `+00:00`.
    pub fn to_arrow(&self) -> arrow_types::DataType {
        use arrow_types::DataType as A;
        match self {
            Self::Null => A::Null,
            Self::Boolean => A::Boolean,
            Self::Int8 => A::Int8,
            Self::Int16 => A::Int16,
            Self::Int32 => A::Int32,
            Self::Int64 => A::Int64,
            Self::UInt8 => A::UInt8,
            Self::UInt16 => A::UInt16,
            Self::UInt32 => A::UInt32,
            Self::UInt64 => A::UInt64,
            Self::Float32 => A::Float32,
            Self::Float64 => A::Float64,
            Self::Decimal(p, s) if *p <= 38 => A::Decimal128(*p, *s),
            Self::Decimal(p, s) => A::Decimal256(*p, *s),
            Self::String => A::Utf8View,
            Self::Bytes => A::Binary,
            Self::Date => A::Date32,
            Self::Time => A::Time64(arrow_types::TimeUnit::Nanosecond),
            Self::Timestamp(unit) => A::Timestamp(unit.to_arrow(), None),
            Self::TimestampLtz(unit) => A::Timestamp(unit.to_arrow(), Some("+00:00".into())),
            Self::Interval => A::Interval(arrow_types::IntervalUnit::MonthDayNano),
            Self::Array(element) => A::List(Arc::new(arrow_types::Field::new(
                "item",
                element.to_arrow(),
                true,
            ))),
            Self::Row(fields) => A::Struct(fields.iter().map(Column::to_arrow_field).collect()),
            Self::Map(key, value) => {
                let entries = vec![
                    arrow_types::Field::new("key", key.to_arrow(), false),
                    arrow_types::Field::new("value", value.to_arrow(), true),
                ];
                let entries = arrow_types::Field::new("entries", A::Struct(entries.into()), false);
                A::Map(Arc::new(entries), false)
            }
        }
    }

    /// The SQL type that stands for an Arrow type; `None` where there is none (unions, for example).
    /// All string types are [`DataType::String`], dictionaries are their values.
    pub fn from_arrow(data_type: &arrow_types::DataType) -> Option<Self> {
        use arrow_types::DataType as A;
        Some(match data_type {
            A::Null => Self::Null,
            A::Boolean => Self::Boolean,
            A::Int8 => Self::Int8,
            A::Int16 => Self::Int16,
            A::Int32 => Self::Int32,
            A::Int64 => Self::Int64,
            A::UInt8 => Self::UInt8,
            A::UInt16 => Self::UInt16,
            A::UInt32 => Self::UInt32,
            A::UInt64 => Self::UInt64,
            A::Float16 | A::Float32 => Self::Float32,
            A::Float64 => Self::Float64,
            A::Decimal32(p, s) | A::Decimal64(p, s) | A::Decimal128(p, s) | A::Decimal256(p, s) => {
                Self::Decimal(*p, *s)
            }
            A::Utf8 | A::LargeUtf8 | A::Utf8View => Self::String,
            A::Binary | A::LargeBinary | A::BinaryView | A::FixedSizeBinary(_) => Self::Bytes,
            A::Date32 | A::Date64 => Self::Date,
            A::Time32(_) | A::Time64(_) => Self::Time,
            A::Timestamp(unit, None) => Self::Timestamp(TimeUnit::from_arrow(unit)),
            A::Timestamp(unit, Some(_)) => Self::TimestampLtz(TimeUnit::from_arrow(unit)),
            A::Interval(_) | A::Duration(_) => Self::Interval,
            A::List(item) | A::LargeList(item) | A::ListView(item) | A::FixedSizeList(item, _) => {
                Self::Array(Box::new(Self::from_arrow(item.data_type())?))
            }
            A::Struct(fields) => Self::Row(
                fields
                    .iter()
                    .map(|field| {
                        let mut column =
                            Column::new(field.name(), Self::from_arrow(field.data_type())?);
                        column.nullable = field.is_nullable();
                        Some(column)
                    })
                    .collect::<Option<_>>()?,
            ),
            A::Map(entries, _) => match entries.data_type() {
                A::Struct(fields) if fields.len() == 2 => Self::Map(
                    Box::new(Self::from_arrow(fields[0].data_type())?),
                    Box::new(Self::from_arrow(fields[1].data_type())?),
                ),
                _ => return None,
            },
            A::Dictionary(_, value) => Self::from_arrow(value)?,
            _ => return None,
        })
    }

    /// Whether a column of this type can carry event time.
    pub fn is_timestamp(&self) -> bool {
        matches!(self, Self::Timestamp(_) | Self::TimestampLtz(_))
    }
}

impl Column {
    /// The Arrow field with the canonical type.
    pub fn to_arrow_field(&self) -> arrow_types::Field {
        arrow_types::Field::new(&self.name, self.data_type.to_arrow(), self.nullable)
    }
}

/// The Arrow schema of a list of columns, every type canonical.
///
/// Fields are always nullable in motion: whether NULL can occur is the planner's knowledge.
impl DataType {
    /// See the type's documentation: the Arrow schema of `columns`.
    pub fn arrow_schema(columns: &[Column]) -> arrow_types::SchemaRef {
        Arc::new(arrow_types::Schema::new(
            columns
                .iter()
                .map(|column| column.to_arrow_field().with_nullable(true))
                .collect::<Vec<_>>(),
        ))
    }
}

impl TimeUnit {
    /// The unit of a declared precision (0 to 9 digits).
    pub fn of_precision(digits: u8) -> Self {
        match digits {
            0 => Self::Second,
            1..=3 => Self::Milli,
            4..=6 => Self::Micro,
            _ => Self::Nano,
        }
    }

    /// Digits after the second: 0, 3, 6 or 9.
    pub fn digits(self) -> u8 {
        match self {
            Self::Second => 0,
            Self::Milli => 3,
            Self::Micro => 6,
            Self::Nano => 9,
        }
    }

    /// The Arrow unit.
    pub fn to_arrow(self) -> arrow_types::TimeUnit {
        match self {
            Self::Second => arrow_types::TimeUnit::Second,
            Self::Milli => arrow_types::TimeUnit::Millisecond,
            Self::Micro => arrow_types::TimeUnit::Microsecond,
            Self::Nano => arrow_types::TimeUnit::Nanosecond,
        }
    }

    fn from_arrow(unit: &arrow_types::TimeUnit) -> Self {
        match unit {
            arrow_types::TimeUnit::Second => Self::Second,
            arrow_types::TimeUnit::Millisecond => Self::Milli,
            arrow_types::TimeUnit::Microsecond => Self::Micro,
            arrow_types::TimeUnit::Nanosecond => Self::Nano,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::Int8 => f.write_str("TINYINT"),
            Self::Int16 => f.write_str("SMALLINT"),
            Self::Int32 => f.write_str("INT"),
            Self::Int64 => f.write_str("BIGINT"),
            Self::UInt8 => f.write_str("TINYINT UNSIGNED"),
            Self::UInt16 => f.write_str("SMALLINT UNSIGNED"),
            Self::UInt32 => f.write_str("INT UNSIGNED"),
            Self::UInt64 => f.write_str("BIGINT UNSIGNED"),
            Self::Float32 => f.write_str("REAL"),
            Self::Float64 => f.write_str("DOUBLE"),
            Self::Decimal(p, s) => write!(f, "DECIMAL({p}, {s})"),
            Self::String => f.write_str("STRING"),
            Self::Bytes => f.write_str("BYTES"),
            Self::Date => f.write_str("DATE"),
            Self::Time => f.write_str("TIME"),
            Self::Timestamp(unit) => write!(f, "TIMESTAMP({})", unit.digits()),
            Self::TimestampLtz(unit) => write!(f, "TIMESTAMP_LTZ({})", unit.digits()),
            Self::Interval => f.write_str("INTERVAL"),
            Self::Array(element) => write!(f, "ARRAY<{element}>"),
            Self::Row(fields) => {
                f.write_str("ROW<")?;
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{} {}", field.name, field.data_type)?;
                }
                f.write_str(">")
            }
            Self::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_arrow_types_come_back_as_the_same_sql_type() {
        let types = [
            DataType::Boolean,
            DataType::Int64,
            DataType::Float64,
            DataType::Decimal(12, 2),
            DataType::Decimal(50, 2),
            DataType::String,
            DataType::Bytes,
            DataType::Date,
            DataType::Time,
            DataType::Timestamp(TimeUnit::Milli),
            DataType::TimestampLtz(TimeUnit::Micro),
            DataType::Interval,
            DataType::Array(Box::new(DataType::String)),
            DataType::Row(vec![Column::new("a", DataType::Int32)]),
            DataType::Map(Box::new(DataType::String), Box::new(DataType::Int64)),
        ];
        for data_type in types {
            assert_eq!(DataType::from_arrow(&data_type.to_arrow()), Some(data_type));
        }
    }
}
