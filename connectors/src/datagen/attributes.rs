//! The attributes of a generated field, read in the terms of the column's type.

use std::collections::BTreeMap;

use weir_types::{DataType as Sql, TimeUnit};

use super::field::Numbers;
use crate::format::value::{parse_date, parse_time, parse_timestamp, per_second};
use crate::options::{Form, parse_duration};

/// The attributes of a field, and what they do.
pub(crate) const ATTRIBUTES: [(&str, &str); 9] = [
    (
        "kind",
        "`sequence` (start + row × step) or `random`. Unless set: what `start` or `step`, or `min` or `max` are set for; else \
         timestamps, and the table's first column if it is a BIGINT, are sequences, and all else is random",
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
        "how many different values there are at most; a sequence starts again after so many, and at the end of its type",
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

/// The attributes of one field, by name.
pub(super) type Attributes = BTreeMap<String, String>;

/// Reads the attributes of one field in the terms of its type.
pub(super) struct Parser<'a> {
    pub(super) attributes: &'a Attributes,
    pub(super) data_type: &'a Sql,
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

    pub(super) fn fraction(&self, attribute: &'static str) -> Result<f64, Problem> {
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
    pub(super) fn count(&self, attribute: &'static str) -> Result<u64, Problem> {
        let parse = |text: &str| text.parse().ok().filter(|count| *count > 0);
        Ok(self.checked(attribute, Form::Count(1), parse)?.unwrap_or(0))
    }

    pub(super) fn length(&self) -> Result<usize, Problem> {
        let parse = |text: &str| text.parse().ok().filter(|length| *length <= 1 << 20);
        Ok(self.checked("length", Form::Count(0), parse)?.unwrap_or(10))
    }

    pub(super) fn float(&self, attribute: &'static str, default: f64) -> Result<f64, Problem> {
        let parse = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        Ok(self
            .checked(attribute, Form::Number, parse)?
            .unwrap_or(default))
    }

    /// A value of the type as a whole number; what stands for it when it is not set.
    pub(super) fn number(&self, attribute: &'static str) -> Result<i64, Problem> {
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

    pub(super) fn step(&self) -> Result<i64, Problem> {
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
    pub(super) fn jitter(&self) -> Result<i64, Problem> {
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

    pub(super) fn random(&self, cardinality: u64) -> Result<Numbers, Problem> {
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

    /// After how many values a sequence starts again: as asked, and before it would leave its type. 0: never.
    pub(super) fn period(&self, start: i64, step: i64, asked: u64) -> Result<u64, Problem> {
        let (least, greatest) = self.limits()?;
        let room = match step {
            0 => return Ok(asked),
            up if up > 0 => greatest.abs_diff(start),
            _ => start.abs_diff(least),
        };
        let fitting = (room / step.unsigned_abs()).saturating_add(1);
        Ok(match (asked, (least, greatest) == (i64::MIN, i64::MAX)) {
            // No job counts that far.
            (asked, true) => asked,
            (0, false) => fitting,
            (asked, false) => asked.min(fitting),
        })
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
