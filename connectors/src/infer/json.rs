//! Columns of JSON lines: the keys of all objects of the sample, in the order in which they were first seen.

use indexmap::IndexMap;
use serde_json::Value;
use weir_types::{Column, DataType};

use super::SAMPLE_RECORDS;
use super::scalar::Scalar;

/// The narrowest type of the values so far.
#[derive(Clone, Debug, Default)]
enum Shape {
    #[default]
    Nothing,
    Scalar(Scalar),
    Array(Box<Shape>),
    Object(IndexMap<String, Shape>),
    /// An object here and a number there.
    Mixed,
}

/// Finds columns.
pub(super) fn infer(parts: &[&str]) -> Result<Vec<Column>, String> {
    let mut fields: IndexMap<String, Shape> = IndexMap::new();
    let lines = parts.iter().flat_map(|part| part.lines());
    let mut records = 0;
    for (number, line) in lines.enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if records == SAMPLE_RECORDS {
            break;
        }
        records += 1;
        if line.starts_with('[') {
            return Err(
                "it is one JSON array; Weir reads one object a line (`jq -c '.[]'` makes them)"
                    .to_owned(),
            );
        }
        match serde_json::from_str::<Value>(line) {
            Ok(Value::Object(object)) => {
                for (key, value) in &object {
                    fields.entry(key.clone()).or_default().take(value);
                }
            }
            Ok(_) => {
                return Err(format!(
                    "line {} of the sample is no JSON object",
                    number + 1
                ));
            }
            Err(error) => {
                return Err(format!(
                    "line {} of the sample is no JSON object ({error}); Weir reads one object a line",
                    number + 1
                ));
            }
        }
    }
    if fields.is_empty() {
        return Err("there is no record from which columns could be told".to_owned());
    }
    fields
        .into_iter()
        .map(|(name, shape)| {
            let data_type = shape.data_type(&name)?;
            Ok(Column::new(name, data_type))
        })
        .collect()
}

impl Shape {
    fn take(&mut self, value: &Value) {
        let one = match value {
            Value::Null => return,
            Value::Bool(_) => Self::Scalar(Scalar::Boolean),
            Value::Number(number) if number.is_i64() => Self::Scalar(Scalar::Integer),
            // Beyond BIGINT; as DOUBLE it would lose digits.
            Value::Number(number) if number.is_u64() => Self::Mixed,
            Value::Number(_) => Self::Scalar(Scalar::Number),
            // A number in quotes is a text: whoever wrote it could have left them out.
            Value::String(text) => Self::Scalar(match Scalar::of(text) {
                Scalar::Boolean | Scalar::Integer | Scalar::Number => Scalar::Text,
                other => other,
            }),
            Value::Array(values) => {
                let mut element = Self::Nothing;
                values.iter().for_each(|value| element.take(value));
                Self::Array(Box::new(element))
            }
            Value::Object(object) => {
                let mut fields = IndexMap::new();
                for (key, value) in object {
                    fields
                        .entry(key.clone())
                        .or_insert(Self::Nothing)
                        .take(value);
                }
                Self::Object(fields)
            }
        };
        let known = std::mem::take(self);
        *self = known.join(one);
    }

    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, other) | (other, Self::Nothing) => other,
            // Nothing but a text is read from a text.
            (Self::Scalar(a), Self::Scalar(b)) if is_quoted(a) != is_quoted(b) => Self::Mixed,
            (Self::Scalar(Scalar::Boolean), Self::Scalar(b)) if b != Scalar::Boolean => Self::Mixed,
            (Self::Scalar(a), Self::Scalar(Scalar::Boolean)) if a != Scalar::Boolean => Self::Mixed,
            (Self::Scalar(a), Self::Scalar(b)) => Self::Scalar(a.join(b)),
            (Self::Array(a), Self::Array(b)) => Self::Array(Box::new(a.join(*b))),
            (Self::Object(mut a), Self::Object(b)) => {
                for (key, shape) in b {
                    let known = a.entry(key).or_default();
                    *known = std::mem::take(known).join(shape);
                }
                Self::Object(a)
            }
            _ => Self::Mixed,
        }
    }

    fn data_type(self, name: &str) -> Result<DataType, String> {
        Ok(match self {
            Self::Nothing => DataType::String,
            Self::Scalar(scalar) => scalar.data_type(),
            Self::Array(element) => DataType::Array(Box::new(element.data_type(name)?)),
            // An object without fields has nothing to read.
            Self::Object(fields) if fields.is_empty() => {
                DataType::Map(Box::new(DataType::String), Box::new(DataType::String))
            }
            Self::Object(fields) => DataType::Row(
                fields
                    .into_iter()
                    .map(|(name, shape)| {
                        let data_type = shape.data_type(&name)?;
                        Ok(Column::new(name, data_type))
                    })
                    .collect::<Result<_, String>>()?,
            ),
            Self::Mixed => {
                return Err(format!(
                    "`{name}` is not the same kind of value in all records, or a whole number beyond BIGINT; declare the table \
                     with CREATE TABLE, without it or with a type of your choice"
                ));
            }
        })
    }
}

/// Whether the values stand in quotes.
fn is_quoted(scalar: Scalar) -> bool {
    !matches!(scalar, Scalar::Boolean | Scalar::Integer | Scalar::Number)
}
