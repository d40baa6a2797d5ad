//! What one generated column holds.
//!
//! Most types are made from whole numbers: a sequence or a uniform choice from a range, computed for a run of rows in
//! one loop. Dates are numbers of days, times of nanoseconds, timestamps of their unit, decimals of their last digit.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::i256;
use weir_types::hash::mix;
use weir_types::{Column, DataType as Sql, TimeUnit};
use xxhash_rust::xxh3::xxh3_64;

use crate::format::columns::typed;
use crate::format::value::{parse_date, parse_time, parse_timestamp, per_second, write_integer};
use crate::options::{Form, parse_duration};

/// The attributes of a field, and what they do.
pub(crate) const ATTRIBUTES: [(&str, &str); 9] = [
    (
        "kind",
        "`sequence` (start + row × step) or `random`; timestamps, and the table's first column if it is a BIGINT, are sequences \
         unless set, all else is random",
    ),
    (
        "start",
        "first value of a sequence; 0, 1970-01-01, 00:00:00 or 2020-01-01 00:00:00 unless set",
    ),
    (
        "step",
        "from one row to the next: a number, or for dates and times a duration; 1, `1 d`, `1s`, `1ms` unless set",
    ),
    (
        "min",
        "least random value; 0 (of a date 1970-01-01, of a timestamp 2020-01-01 00:00:00) unless set",
    ),
    (
        "max",
        "greatest random value; the type's (at most 2^31 - 1; 1 for a REAL or DOUBLE) unless set",
    ),
    ("length", "of random texts and bytes; 10 unless set"),
    (
        "cardinality",
        "how many different values there are at most; a sequence starts again after so many",
    ),
    ("null-rate", "the share of NULLs, from 0 to 1"),
    (
        "jitter",
        "a timestamp of a sequence is up to this much earlier, at random: rows come out of order",
    ),
];

/// Why a field cannot be generated as asked.
#[derive(Debug)]
pub(super) enum Problem {
    /// The type is nested or has no values.
    Type,
    /// An attribute is not of its form.
    Value { attribute: &'static str, form: Form },
    /// Attributes, each right, that do not go together.
    Conflict {
        attribute: &'static str,
        message: String,
    },
}

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
enum Numbers {
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

type Attributes = BTreeMap<String, String>;

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
        let is_sequence = match attributes.get("kind").map(String::as_str) {
            None => data_type.is_timestamp() || (place == Place::First && data_type == Sql::Int64),
            Some("sequence") => true,
            Some("random") => false,
            Some(_) => {
                return Err(Problem::Value {
                    attribute: "kind",
                    form: Form::OneOf(&["sequence", "random"]),
                });
            }
        };
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
            _ if is_float => Numbers::Random {
                min: 0,
                span: period,
            },
            true => Numbers::Sequence {
                start: parser.number("start")?,
                step: parser.step()?,
                period,
            },
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

/// Reads the attributes of one field in the terms of its type.
struct Parser<'a> {
    attributes: &'a Attributes,
    data_type: &'a Sql,
}

impl Parser<'_> {
    fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).map(String::as_str)
    }

    fn checked<T>(
        &self,
        attribute: &'static str,
        form: Form,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        self.get(attribute)
            .map(|text| parse(text).ok_or(Problem::Value { attribute, form }))
            .transpose()
    }

    fn fraction(&self, attribute: &'static str) -> Result<f64, Problem> {
        let parse = |text: &str| {
            Form::Fraction
                .accepts(text)
                .then(|| text.parse().ok())
                .flatten()
        };
        Ok(self
            .checked(attribute, Form::Fraction, parse)?
            .unwrap_or(0.0))
    }

    /// A count of at least one; 0 if it is not set.
    fn count(&self, attribute: &'static str) -> Result<u64, Problem> {
        let parse = |text: &str| text.parse().ok().filter(|count| *count > 0);
        Ok(self.checked(attribute, Form::Count(1), parse)?.unwrap_or(0))
    }

    fn length(&self) -> Result<usize, Problem> {
        let parse = |text: &str| text.parse().ok().filter(|length| *length <= 1 << 20);
        Ok(self.checked("length", Form::Count(0), parse)?.unwrap_or(10))
    }

    fn float(&self, attribute: &'static str, default: f64) -> Result<f64, Problem> {
        let parse = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        Ok(self
            .checked(attribute, Form::Number, parse)?
            .unwrap_or(default))
    }

    /// A value of the type as a whole number; what stands for it when it is not set.
    fn number(&self, attribute: &'static str) -> Result<i64, Problem> {
        let default = match self.data_type {
            Sql::Timestamp(unit) | Sql::TimestampLtz(unit) => 1_577_836_800 * per_second(*unit),
            _ => 0,
        };
        Ok(self.value(attribute)?.unwrap_or(default))
    }

    fn value(&self, attribute: &'static str) -> Result<Option<i64>, Problem> {
        let (least, greatest) = self.limits()?;
        let within = move |number: &i64| (least..=greatest).contains(number);
        match self.data_type {
            Sql::Date => self.checked(attribute, Form::Text, |text| {
                parse_date(text).map(i64::from)
            }),
            Sql::Time => self.checked(attribute, Form::Text, parse_time),
            Sql::Timestamp(unit) | Sql::TimestampLtz(unit) => {
                self.checked(attribute, Form::Text, |text| {
                    parse_timestamp(text, *unit, true).ok()
                })
            }
            Sql::Decimal(_, scale) => self.checked(attribute, Form::Number, |text| {
                let scaled = text.parse::<f64>().ok()? * 10_f64.powi(i32::from(*scale));
                (scaled.abs() < 9e18)
                    .then(|| scaled.round() as i64)
                    .filter(within)
            }),
            _ => self.checked(attribute, Form::Number, |text| {
                text.parse().ok().filter(within)
            }),
        }
    }

    fn step(&self) -> Result<i64, Problem> {
        let nanos = |text: &str| {
            parse_duration(text).and_then(|duration| i64::try_from(duration.as_nanos()).ok())
        };
        let in_units = |nanos: Option<i64>, unit_nanos: i64, default: i64| match nanos {
            None => Ok(default),
            Some(nanos) if nanos % unit_nanos == 0 => Ok(nanos / unit_nanos),
            Some(_) => Err(Problem::Conflict {
                attribute: "step",
                message: format!("a step is a whole number of units of {}", self.data_type),
            }),
        };
        match self.data_type {
            Sql::Date => in_units(
                self.checked("step", Form::Duration, nanos)?,
                86_400_000_000_000,
                1,
            ),
            Sql::Time => in_units(
                self.checked("step", Form::Duration, nanos)?,
                1,
                1_000_000_000,
            ),
            Sql::Timestamp(unit) | Sql::TimestampLtz(unit) => {
                let default = (per_second(*unit) / 1000).max(1);
                in_units(
                    self.checked("step", Form::Duration, nanos)?,
                    unit_nanos(*unit),
                    default,
                )
            }
            _ => Ok(self.value("step")?.unwrap_or(1)),
        }
    }

    /// In the unit of the type, rounded down.
    fn jitter(&self) -> Result<i64, Problem> {
        let jitter = self.checked("jitter", Form::Duration, parse_duration)?;
        match (self.data_type, jitter) {
            (_, None) => Ok(0),
            (Sql::Timestamp(unit) | Sql::TimestampLtz(unit), Some(jitter)) => {
                Ok(i64::try_from(jitter.as_nanos() / unit_nanos(*unit) as u128)
                    .unwrap_or(i64::MAX / 4))
            }
            (_, Some(_)) => {
                let message = format!("jitter is for timestamps, not for {}", self.data_type);
                Err(Problem::Conflict {
                    attribute: "jitter",
                    message,
                })
            }
        }
    }

    fn random(&self, cardinality: u64) -> Result<Numbers, Problem> {
        let (_, greatest) = self.limits()?;
        let min = self.number("min")?;
        if matches!(self.data_type, Sql::String | Sql::Bytes) {
            return Ok(Numbers::Random {
                min: 0,
                span: cardinality,
            });
        }
        let usual = match self.data_type {
            Sql::Date => min + 3652,
            Sql::Time => 86_399_999_999_999,
            Sql::Timestamp(unit) | Sql::TimestampLtz(unit) => {
                min.saturating_add(86_400 * per_second(*unit))
            }
            _ => greatest.min(i64::from(i32::MAX)).max(min),
        };
        let max = self.value("max")?.unwrap_or(usual);
        if max < min {
            return Err(Problem::Conflict {
                attribute: "max",
                message: "'max' is less than 'min'".to_owned(),
            });
        }
        let span = (max.wrapping_sub(min) as u64).wrapping_add(1);
        let span = match cardinality {
            0 => span,
            some if span == 0 => some,
            some => span.min(some),
        };
        Ok(Numbers::Random { min, span })
    }

    /// The least and the greatest whole number of the type.
    fn limits(&self) -> Result<(i64, i64), Problem> {
        Ok(match self.data_type {
            Sql::Boolean => (0, 1),
            Sql::Int8 => (i8::MIN.into(), i8::MAX.into()),
            Sql::Int16 => (i16::MIN.into(), i16::MAX.into()),
            Sql::Int32 => (i32::MIN.into(), i32::MAX.into()),
            Sql::Decimal(precision, _) => {
                let greatest = 10_i64
                    .checked_pow(u32::from(*precision))
                    .map_or(i64::MAX, |power| power - 1);
                (-greatest, greatest)
            }
            Sql::Int64 | Sql::Float32 | Sql::Float64 | Sql::String | Sql::Bytes => {
                (i64::MIN, i64::MAX)
            }
            Sql::Date | Sql::Time | Sql::Timestamp(_) | Sql::TimestampLtz(_) => {
                (i64::MIN, i64::MAX)
            }
            _ => return Err(Problem::Type),
        })
    }
}

fn unit_nanos(unit: TimeUnit) -> i64 {
    1_000_000_000 / per_second(unit)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use arrow::datatypes::{Int32Type, TimestampMillisecondType};

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
}
