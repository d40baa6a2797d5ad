//! DECIMAL: from text to unscaled integers and back.
//!
//! More digits behind the point than the type has are rounded, half away from zero, as a CAST does; more before it
//! than fit are an error.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, i256};

/// Decimals of one column so far: 128 bits wide if that is enough.
#[derive(Debug)]
pub(crate) struct DecimalReader {
    precision: u8,
    scale: i8,
    values: Values,
    /// The unscaled digits of the value at hand.
    digits: String,
}

#[derive(Debug)]
enum Values {
    Narrow(Decimal128Builder),
    Wide(Decimal256Builder),
}

impl DecimalReader {
    pub(crate) fn new(precision: u8, scale: i8, rows: usize) -> Self {
        let values = if precision <= DECIMAL128_MAX_PRECISION {
            Values::Narrow(Decimal128Builder::with_capacity(rows))
        } else {
            Values::Wide(Decimal256Builder::with_capacity(rows))
        };
        Self {
            precision,
            scale,
            values,
            digits: String::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.values {
            Values::Narrow(builder) => builder.len(),
            Values::Wide(builder) => builder.len(),
        }
    }

    pub(crate) fn append_null(&mut self) {
        match &mut self.values {
            Values::Narrow(builder) => builder.append_null(),
            Values::Wide(builder) => builder.append_null(),
        }
    }

    pub(crate) fn append_zero(&mut self) {
        match &mut self.values {
            Values::Narrow(builder) => builder.append_value(0),
            Values::Wide(builder) => builder.append_value(i256::ZERO),
        }
    }

    pub(crate) fn append_text(&mut self, text: &str) -> Result<(), String> {
        let not_a_number = || format!("expected a number, found `{}`", super::json::shorten(text));
        let out_of_range = || {
            format!(
                "{} does not fit DECIMAL({}, {})",
                super::json::shorten(text),
                self.precision,
                self.scale
            )
        };
        let negative = match unscaled(text, self.scale, &mut self.digits) {
            Ok(negative) => negative,
            Err(Unreadable::Form) => return Err(not_a_number()),
            Err(Unreadable::Range) => return Err(out_of_range()),
        };
        if self.digits.len() > usize::from(self.precision) {
            return Err(out_of_range());
        }
        // At most 76 digits are left, which both types below can hold by their precision.
        match &mut self.values {
            Values::Narrow(builder) => {
                let value: i128 = self.digits.parse().map_err(|_| not_a_number())?;
                builder.append_value(if negative { -value } else { value });
            }
            Values::Wide(builder) => {
                let value = i256::from_string(&self.digits).ok_or_else(not_a_number)?;
                builder.append_value(if negative {
                    value.wrapping_neg()
                } else {
                    value
                });
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> ArrayRef {
        let fits = "the planner checked precision and scale of the column's type";
        match &mut self.values {
            Values::Narrow(builder) => Arc::new(
                builder
                    .finish()
                    .with_precision_and_scale(self.precision, self.scale)
                    .expect(fits),
            ),
            Values::Wide(builder) => Arc::new(
                builder
                    .finish()
                    .with_precision_and_scale(self.precision, self.scale)
                    .expect(fits),
            ),
        }
    }
}

enum Unreadable {
    Form,
    Range,
}

/// Writes the digits of `text * 10^scale`, rounded, without leading zeros, to `out`; true if it is negative.
fn unscaled(text: &str, scale: i8, out: &mut String) -> Result<bool, Unreadable> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            exponent.parse::<i32>().map_err(|_| Unreadable::Form)?,
        ),
        None => (rest, 0),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = before.len() + after.len() > 0
        && before
            .bytes()
            .chain(after.bytes())
            .all(|b| b.is_ascii_digit());
    if !is_number {
        return Err(Unreadable::Form);
    }
    out.clear();
    out.extend(before.chars().chain(after.chars()));
    let significant = out.len() - out.trim_start_matches('0').len();
    // How many digits to append (or to cut off, if below zero).
    let shift = i64::from(exponent) + i64::from(scale) - after.len() as i64;
    let length = (out.len() - significant) as i64 + shift;
    if significant == out.len() {
        out.clear();
    } else if length > 80 {
        return Err(Unreadable::Range);
    } else if shift >= 0 {
        out.extend(std::iter::repeat_n('0', shift as usize));
    } else if length < 0 {
        out.clear();
    } else {
        round_off(out, shift.unsigned_abs() as usize);
    }
    let zeros = out.len() - out.trim_start_matches('0').len();
    out.drain(..zeros);
    if out.is_empty() {
        out.push('0');
    }
    Ok(negative)
}

/// Cuts off the last `count` digits (there are as many at least) and rounds half up.
fn round_off(digits: &mut String, count: usize) {
    let kept = digits.len() - count;
    let up = digits
        .as_bytes()
        .get(kept)
        .is_some_and(|digit| *digit >= b'5');
    digits.truncate(kept);
    if !up {
        return;
    }
    let nines = digits.len() - digits.trim_end_matches('9').len();
    let stem = digits.len() - nines;
    let carried = digits[..stem]
        .chars()
        .next_back()
        .map_or('1', |digit| char::from(digit as u8 + 1));
    digits.truncate(stem.saturating_sub(1));
    digits.push(carried);
    digits.extend(std::iter::repeat_n('0', nines));
}

/// The text of an unscaled value with its digits (no sign) and scale.
pub(crate) fn write(negative: bool, digits: &str, scale: i8, out: &mut Vec<u8>) {
    if negative {
        out.push(b'-');
    }
    let scale = i32::from(scale);
    if scale <= 0 {
        out.extend_from_slice(digits.as_bytes());
        if digits != "0" {
            out.extend(std::iter::repeat_n(b'0', scale.unsigned_abs() as usize));
        }
        return;
    }
    let scale = scale as usize;
    if digits.len() > scale {
        let (before, after) = digits.split_at(digits.len() - scale);
        out.extend_from_slice(before.as_bytes());
        out.push(b'.');
        out.extend_from_slice(after.as_bytes());
    } else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
        out.extend_from_slice(digits.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, precision: u8, scale: i8) -> Result<String, String> {
        let mut reader = DecimalReader::new(precision, scale, 1);
        reader.append_text(text)?;
        let array = reader.finish();
        Ok(arrow::util::display::array_value_to_string(&array, 0).unwrap())
    }

    #[test]
    fn decimals_are_read_exactly_and_rounded_half_away_from_zero() {
        for (text, expected) in [
            ("1.5", "1.50"),
            ("-0.005", "-0.01"),
            ("0.004", "0.00"),
            ("9.995", "10.00"),
            ("1e2", "100.00"),
            ("123E-3", "0.12"),
            (".5", "0.50"),
            ("1e-400", "0.00"),
            ("0e999", "0.00"),
        ] {
            assert_eq!(read(text, 6, 2).as_deref(), Ok(expected), "{text}");
            assert_eq!(read(text, 60, 2).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(
            read("10000", 6, 2).unwrap_err(),
            "10000 does not fit DECIMAL(6, 2)"
        );
        assert_eq!(
            read("9999.995", 6, 2).unwrap_err(),
            "9999.995 does not fit DECIMAL(6, 2)"
        );
        assert_eq!(
            read("1e99999", 6, 2).unwrap_err(),
            "1e99999 does not fit DECIMAL(6, 2)"
        );
        for text in ["", ".", "1.2.3", "x", "1e", "--1"] {
            assert!(
                read(text, 6, 2)
                    .unwrap_err()
                    .starts_with("expected a number"),
                "{text}"
            );
        }
    }

    #[test]
    fn decimals_are_written_with_all_their_digits() {
        let text = |negative, digits, scale| {
            let mut out = Vec::new();
            write(negative, digits, scale, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(true, "5", 2), "-0.05");
        assert_eq!(text(false, "1234", 2), "12.34");
        assert_eq!(text(false, "12", -2), "1200");
        assert_eq!(text(false, "7", 0), "7");
    }
}
