//! What one generated column holds.
//!
//! Most types are made from whole numbers: a sequence or a uniform choice from a range, computed for a run of rows in
//! one loop. Dates are numbers of days, times of nanoseconds, timestamps of their unit, decimals of their last digit.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::i256;
use weir_types::hash::mix;
use weir_types::{Column, DataType as Sql};
use xxhash_rust::xxh3::xxh3_64;

use super::attributes::{Attributes, Parser, Problem};
use crate::format::columns::typed;
use crate::format::value::write_integer;
use crate::options::Form;

/// Where a column stands in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is probably the table's id.
    First,
    /// Any other.
    Later,
}

impl Place {
    pub(super) fn of(index: usize) -> Self {
        if index == 0 { Self::First } else { Self::Later }
    }
}

/// A column's values as a function of the row number.
#[derive(Debug)]
pub(super) struct FieldSpec {
    data_type: Sql,
    /// Of seed and name: the column's own stream of random numbers.
    salt: u64,
    numbers: Numbers,
    /// Of a float: the range or the sequence.
    floats: (f64, f64),
    length: usize,
    /// NULL where the row's second random number is below this; 0 for none.
    null_below: u64,
    jitter: i64,
}

/// Whole numbers by row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Numbers {
    Sequence {
        start: i64,
        step: i64,
        period: u64,
    },
    /// `span` values from `min` on; 0 stands for 2^64.
    Random {
        min: i64,
        span: u64,
    },
}

/// Whether the column is a sequence, by its kind, by the attributes that only one kind has, or by its type.
fn is_sequence(column: &Column, place: Place, attributes: &Attributes) -> Result<bool, Problem> {
    let set = |names: [&'static str; 2]| {
        names
            .into_iter()
            .find(|name| attributes.contains_key(*name))
    };
    let (of_sequence, of_random) = (set(["start", "step"]), set(["min", "max"]));
    let conflict = |attribute: &'static str, kind: &str| {
        let message = format!(
            "`{attribute}` of column `{}` would be ignored: {kind}",
            column.name
        );
        Err(Problem::Conflict { attribute, message })
    };
    match attributes.get("kind").map(String::as_str) {
        Some("sequence") => match of_random {
            Some(attribute) => conflict(
                attribute,
                "a sequence has 'start', 'step' and 'cardinality'",
            ),
            None => Ok(true),
        },
        Some("random") => match of_sequence {
            Some(attribute) => conflict(
                attribute,
                "random values have 'min', 'max' and 'cardinality'",
            ),
            None => Ok(false),
        },
        Some(_) => Err(Problem::Value {
            attribute: "kind",
            form: Form::OneOf(&["sequence", "random"]),
        }),
        None => match (of_sequence, of_random) {
            (Some(_), Some(attribute)) => conflict(
                attribute,
                "'start' and 'step' are of a sequence, 'min' and 'max' of random values",
            ),
            (Some(_), None) => Ok(true),
            (None, Some(_)) => Ok(false),
            (None, None) => {
                let data_type = &column.data_type;
                Ok(data_type.is_timestamp() || (place == Place::First && *data_type == Sql::Int64))
            }
        },
    }
}

impl FieldSpec {
    pub(super) fn new(
        column: &Column,
        place: Place,
        attributes: &Attributes,
        seed: u64,
    ) -> Result<Self, Problem> {
        let data_type = column.data_type.clone();
        let parser = Parser {
            attributes,
            data_type: &data_type,
        };
        let is_sequence = is_sequence(column, place, attributes)?;
        let null_rate = parser.fraction("null-rate")?;
        if null_rate > 0.0 && !column.nullable {
            let message = format!(
                "column `{}` is NOT NULL and cannot have a null-rate",
                column.name
            );
            return Err(Problem::Conflict {
                attribute: "null-rate",
                message,
            });
        }
        let period = parser.count("cardinality")?;
        let is_float = matches!(data_type, Sql::Float32 | Sql::Float64);
        let floats = match is_float {
            true if is_sequence => (parser.float("start", 0.0)?, parser.float("step", 1.0)?),
            true => (parser.float("min", 0.0)?, parser.float("max", 1.0)?),
            false => (0.0, 0.0),
        };
        let numbers = match is_sequence {
            // Of a float only the period is used: the values are in `floats`.
            true if is_float => Numbers::Sequence {
                start: 0,
                step: 0,
                period,
            },
            false if is_float => Numbers::Random {
                min: 0,
                span: period,
            },
            true => {
                let (start, step) = (parser.number("start")?, parser.step()?);
                let period = parser.period(start, step, period)?;
                Numbers::Sequence {
                    start,
                    step,
                    period,
                }
            }
            false => parser.random(period)?,
        };
        Ok(Self {
            salt: mix(seed ^ xxh3_64(column.name.as_bytes())),
            numbers,
            floats,
            length: parser.length()?,
            null_below: (null_rate * u64::MAX as f64) as u64,
            jitter: parser.jitter()?,
            data_type,
        })
    }

    /// The column's random number in a row.
    fn random(&self, row: u64) -> u64 {
        mix(self
            .salt
            .wrapping_add(row.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// The values of a run of rows.
    pub(super) fn generate(&self, rows: Range<u64>) -> ArrayRef {
        let nulls = self.nulls(rows.clone());
        let array: ArrayRef = match &self.data_type {
            Sql::Boolean => Arc::new(BooleanArray::from(self.map(rows, |number| number & 1 == 1))),
            Sql::Int8 => Arc::new(Int8Array::from(self.map(rows, |number| number as i8))),
            Sql::Int16 => Arc::new(Int16Array::from(self.map(rows, |number| number as i16))),
            Sql::Int32 => Arc::new(Int32Array::from(self.map(rows, |number| number as i32))),
            Sql::Int64 => Arc::new(Int64Array::from(self.map(rows, |number| number))),
            Sql::Float32 => Arc::new(
                self.float_values(rows)
                    .map(|value| value as f32)
                    .collect::<Float32Array>(),
            ),
            Sql::Float64 => Arc::new(self.float_values(rows).collect::<Float64Array>()),
            Sql::Decimal(precision, scale) => self.decimals(rows, *precision, *scale),
            Sql::Date => Arc::new(Date32Array::from(self.map(rows, |number| number as i32))),
            Sql::Time => {
                let in_day = |number: i64| number.rem_euclid(86_400_000_000_000);
                Arc::new(Time64NanosecondArray::from(self.map(rows, in_day)))
            }
            Sql::Timestamp(unit) => typed(&self.timestamps(rows), *unit, false),
            Sql::TimestampLtz(unit) => typed(&self.timestamps(rows), *unit, true),
            Sql::String => self.texts(rows),
            _ => self.bytes(rows),
        };
        match nulls {
            None => array,
            // Length and type are the array's own; only validity is added.
            Some(nulls) => match array.to_data().into_builder().nulls(Some(nulls)).build() {
                Ok(data) => make_array(data),
                Err(_) => array,
            },
        }
    }

    fn nulls(&self, rows: Range<u64>) -> Option<NullBuffer> {
        if self.null_below == 0 {
            return None;
        }
        let valid = rows.map(|row| mix(self.random(row) ^ 0x6E75_6C6C) >= self.null_below);
        Some(valid.collect::<Vec<bool>>().into())
    }

    /// The whole numbers of a run of rows, converted.
    fn map<T>(&self, rows: Range<u64>, convert: impl Fn(i64) -> T) -> Vec<T> {
        match self.numbers {
            Numbers::Sequence {
                start,
                step,
                period: 0,
            } => {
                let value = |row: u64| start.wrapping_add(step.wrapping_mul(row as i64));
                rows.map(|row| convert(value(row))).collect()
            }
            Numbers::Sequence {
                start,
                step,
                period,
            } => {
                let value = |row: u64| start.wrapping_add(step.wrapping_mul((row % period) as i64));
                rows.map(|row| convert(value(row))).collect()
            }
            Numbers::Random { min, span: 0 } => rows
                .map(|row| convert(min.wrapping_add(self.random(row) as i64)))
                .collect(),
            Numbers::Random { min, span } => {
                // The high half of a product is uniform over the span, without a division.
                let value =
                    |row: u64| ((u128::from(self.random(row)) * u128::from(span)) >> 64) as i64;
                rows.map(|row| convert(min.wrapping_add(value(row))))
                    .collect()
            }
        }
    }

    fn float_values(&self, rows: Range<u64>) -> impl Iterator<Item = f64> + '_ {
        let is_sequence = matches!(self.numbers, Numbers::Sequence { .. });
        let period = match self.numbers {
            Numbers::Sequence { period, .. } | Numbers::Random { span: period, .. } => period,
        };
        let (first, second) = self.floats;
        rows.map(move |row| {
            if is_sequence {
                return first + second * (if period == 0 { row } else { row % period }) as f64;
            }
            let unit = (self.random(row) >> 11) as f64 / (1_u64 << 53) as f64;
            let unit = if period == 0 {
                unit
            } else {
                (unit * period as f64).floor() / period as f64
            };
            first + unit * (second - first)
        })
    }

    fn decimals(&self, rows: Range<u64>, precision: u8, scale: i8) -> ArrayRef {
        let fits = "check_table saw that the column's type exists";
        if precision <= 38 {
            let values = Decimal128Array::from(self.map(rows, i128::from));
            return Arc::new(
                values
                    .with_precision_and_scale(precision, scale)
                    .expect(fits),
            );
        }
        let values = self.map(rows, |number| i256::from_i128(i128::from(number)));
        Arc::new(
            Decimal256Array::from(values)
                .with_precision_and_scale(precision, scale)
                .expect(fits),
        )
    }

    fn timestamps(&self, rows: Range<u64>) -> Int64Array {
        let mut values = self.map(rows.clone(), |number| number);
        if self.jitter > 0 {
            let span = u128::from(self.jitter.unsigned_abs()) + 1;
            for (value, row) in values.iter_mut().zip(rows) {
                let back = (u128::from(mix(self.random(row) ^ 0x6A69_7474)) * span) >> 64;
                *value = value.wrapping_sub(back as i64);
            }
        }
        Int64Array::from(values)
    }

    fn texts(&self, rows: Range<u64>) -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity((rows.end - rows.start) as usize);
        let mut text = Vec::with_capacity(self.length.max(20));
        for number in self.map(rows, |number| number) {
            text.clear();
            match self.numbers {
                Numbers::Sequence { .. } => write_integer(number, &mut text),
                Numbers::Random { .. } => self.letters(number as u64, &mut text),
            }
            // Digits and letters only: always UTF-8.
            builder.append_value(std::str::from_utf8(&text).unwrap_or_default());
        }
        Arc::new(builder.finish())
    }

    /// Lower-case letters that follow from a number.
    fn letters(&self, number: u64, out: &mut Vec<u8>) {
        let mut bits = mix(number ^ self.salt);
        while out.len() < self.length {
            // Twelve letters of 26 come out of 64 bits.
            let mut rest = bits;
            for _ in 0..12.min(self.length - out.len()) {
                out.push(b'a' + (rest % 26) as u8);
                rest /= 26;
            }
            bits = mix(bits.wrapping_add(0x9E37_79B9_7F4A_7C15));
        }
    }

    fn bytes(&self, rows: Range<u64>) -> ArrayRef {
        let mut builder = BinaryBuilder::with_capacity((rows.end - rows.start) as usize, 0);
        let mut value = Vec::with_capacity(self.length + 8);
        for number in self.map(rows, |number| number) {
            value.clear();
            let mut bits = mix(number as u64 ^ self.salt);
            while value.len() < self.length {
                value.extend_from_slice(&bits.to_le_bytes());
                bits = mix(bits.wrapping_add(0x9E37_79B9_7F4A_7C15));
            }
            builder.append_value(&value[..self.length]);
        }
        Arc::new(builder.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use arrow::datatypes::{Float64Type, Int32Type, TimestampMillisecondType};
    use weir_types::TimeUnit;

    use super::*;

    fn spec(data_type: Sql, attributes: &[(&str, &str)]) -> FieldSpec {
        let attributes = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        FieldSpec::new(
            &Column::new("x", data_type),
            Place::Later,
            &attributes.collect(),
            7,
        )
        .unwrap()
    }

    #[test]
    fn attributes_say_which_kind_is_meant_and_none_is_ignored() {
        let kind = |attributes: &[(&str, &str)]| {
            let attributes = attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let column = Column::new("x", Sql::Int64);
            is_sequence(&column, Place::First, &attributes.collect())
        };
        assert!(kind(&[]).unwrap());
        assert!(kind(&[("step", "3")]).unwrap());
        assert!(!kind(&[("max", "9")]).unwrap());
        assert!(!kind(&[("kind", "random")]).unwrap());
        for both in [
            [("kind", "sequence"), ("max", "9")],
            [("kind", "random"), ("start", "9")],
            [("min", "1"), ("step", "9")],
        ] {
            assert!(
                matches!(kind(&both), Err(Problem::Conflict { .. })),
                "{both:?}"
            );
        }
    }

    #[test]
    fn a_row_is_the_same_however_it_is_asked_for() {
        let types = [
            Sql::Boolean,
            Sql::Int8,
            Sql::Int16,
            Sql::Int32,
            Sql::Int64,
            Sql::Float32,
            Sql::Float64,
            Sql::Decimal(10, 2),
            Sql::Decimal(50, 2),
            Sql::String,
            Sql::Bytes,
            Sql::Date,
            Sql::Time,
            Sql::Timestamp(TimeUnit::Milli),
            Sql::TimestampLtz(TimeUnit::Nano),
        ];
        for data_type in types {
            let spec = spec(data_type.clone(), &[("null-rate", "0.3")]);
            let all = spec.generate(100..400);
            assert_eq!(*all.data_type(), data_type.to_arrow());
            let part = spec.generate(150..160);
            assert_eq!(&all.slice(50, 10), &part, "{data_type}");
            assert!(
                all.null_count() > 50 && all.null_count() < 130,
                "{data_type}: {}",
                all.null_count()
            );
        }
    }

    #[test]
    fn random_numbers_keep_their_range_and_cardinality() {
        let array = spec(Sql::Int32, &[("min", "-5"), ("max", "5")]).generate(0..10_000);
        let values: HashSet<i32> = array
            .as_primitive::<Int32Type>()
            .values()
            .iter()
            .copied()
            .collect();
        assert_eq!(values, (-5..=5).collect());
        let array =
            spec(Sql::String, &[("cardinality", "50"), ("length", "4")]).generate(0..10_000);
        let texts: HashSet<_> = array
            .as_string_view()
            .iter()
            .flatten()
            .map(str::to_owned)
            .collect();
        assert_eq!(
            (texts.len(), texts.iter().all(|text| text.len() == 4)),
            (50, true)
        );
    }

    #[test]
    fn timestamps_are_a_sequence_with_jitter() {
        let attributes = [
            ("start", "2013-01-01 00:00:00"),
            ("step", "100ms"),
            ("jitter", "1s"),
        ];
        let array = spec(Sql::Timestamp(TimeUnit::Milli), &attributes).generate(0..1000);
        let values = array.as_primitive::<TimestampMillisecondType>().values();
        let late = |row: usize| 1_356_998_400_000 + 100 * row as i64 - values[row];
        assert!((0..1000).all(|row| (0..=1000).contains(&late(row))));
        assert!((0..1000).any(|row| late(row) > 800) && (0..1000).any(|row| late(row) < 200));
    }
    #[test]
    fn floats_are_a_range_or_a_sequence() {
        let sequence = [
            ("kind", "sequence"),
            ("start", "1.5"),
            ("step", "0.25"),
            ("cardinality", "2"),
        ];
        let array = spec(Sql::Float64, &sequence).generate(0..4);
        assert_eq!(
            array.as_primitive::<Float64Type>().values().as_ref(),
            [1.5, 1.75, 1.5, 1.75]
        );
        let array = spec(Sql::Float64, &[("min", "2"), ("max", "3")]).generate(0..1000);
        let values = array.as_primitive::<Float64Type>().values();
        assert!(values.iter().all(|value| (2.0..3.0).contains(value)));
        assert!(values.iter().any(|value| *value > 2.9) && values.iter().any(|value| *value < 2.1));
    }
}
