//! What type a text, or several, can be read as.
//!
//! ```text
//!   Nothing ─┬─ Boolean
//!            ├─ Integer ── Number
//!            ├─ Date ── Timestamp ── Zoned
//!            └─ Text        joins everything
//! ```

use weir_types::{DataType, TimeUnit};

use crate::format::value::{parse_date, parse_timestamp};

/// The narrowest type of the values so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scalar {
    /// No value yet.
    #[default]
    Nothing,
    Boolean,
    Integer,
    Number,
    Date,
    /// With so many digits of a second at most.
    Timestamp(u8),
    /// With a zone.
    Zoned(u8),
    Text,
}

impl Scalar {
    /// Of one value.
    pub(super) fn of(text: &str) -> Self {
        let Some(first) = text.bytes().next() else {
            return Self::Text;
        };
        match first {
            b'0'..=b'9' | b'-' | b'+' | b'.' => Self::number_or_time(text),
            b't' | b'T' | b'f' | b'F' if is_boolean(text) => Self::Boolean,
            _ => Self::Text,
        }
    }

    fn number_or_time(text: &str) -> Self {
        if text.parse::<i64>().is_ok() {
            // A leading zero is a code, a phone number or a post code, and would be lost.
            let digits = text.trim_start_matches(['-', '+']);
            return if digits.len() > 1 && digits.starts_with('0') {
                Self::Text
            } else {
                Self::Integer
            };
        }
        let plain = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
        if plain && text.parse::<f64>().is_ok_and(f64::is_finite) {
            let digits = text.trim_start_matches(['-', '+']);
            let code = digits.len() > 1
                && digits.starts_with('0')
                && digits.as_bytes()[1].is_ascii_digit();
            // A whole number that no BIGINT holds would lose digits as DOUBLE.
            let too_long = !text.contains(['.', 'e', 'E']);
            return if code || too_long {
                Self::Text
            } else {
                Self::Number
            };
        }
        Self::time(text)
    }

    fn time(text: &str) -> Self {
        if parse_date(text).is_some() {
            return Self::Date;
        }
        let digits = fraction_digits(text);
        if parse_timestamp(text, TimeUnit::Nano, true).is_err() {
            return Self::Text;
        }
        // A `Z` at the end, or a sign behind the date, is a zone.
        let behind_date = text.get(10..).unwrap_or_default();
        if behind_date.ends_with(['Z', 'z']) || behind_date.contains(['+', '-']) {
            Self::Zoned(digits)
        } else {
            Self::Timestamp(digits)
        }
    }

    /// The narrowest type of both.
    pub(super) fn join(self, other: Self) -> Self {
        use Scalar::*;
        match (self, other) {
            (same, other) if same == other => same,
            (Nothing, other) | (other, Nothing) => other,
            (Integer, Number) | (Number, Integer) => Number,
            (Timestamp(a), Timestamp(b)) => Timestamp(a.max(b)),
            (Zoned(a), Zoned(b)) => Zoned(a.max(b)),
            (Date, Timestamp(digits)) | (Timestamp(digits), Date) => Timestamp(digits),
            _ => Text,
        }
    }

    pub(super) fn data_type(self) -> DataType {
        let unit = |digits: u8| TimeUnit::of_precision(if digits == 0 { 3 } else { digits });
        match self {
            Self::Nothing | Self::Text => DataType::String,
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Date => DataType::Date,
            Self::Timestamp(digits) => DataType::Timestamp(unit(digits)),
            Self::Zoned(digits) => DataType::TimestampLtz(unit(digits)),
        }
    }

    /// Whether it is a type that no name of a column has.
    pub(super) fn is_value(self) -> bool {
        !matches!(self, Self::Nothing | Self::Text)
    }
}

/// As the connectors read it, but without `0`, `1`, `yes` and `no`, which may mean something else.
fn is_boolean(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") && crate::options::parse_boolean(text).is_some()
        || text.eq_ignore_ascii_case("false") && crate::options::parse_boolean(text).is_some()
}

fn fraction_digits(text: &str) -> u8 {
    text.rsplit_once('.').map_or(0, |(_, rest)| {
        rest.bytes().take_while(u8::is_ascii_digit).count().min(9) as u8
    })
}
