//! Texts of single values: dates, times, timestamps, decimals, bytes; the reading and the writing side of each.
//!
//! What is written is canonical (one text for one value), and what is written can be read again. Reading is wider:
//! `T` or a space between date and time, any number of fraction digits up to nine, a zone or none.

use weir_types::TimeUnit;

use crate::words::{clock_seconds, load};

/// `'timestamp.format'`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimestampFormat {
    /// `2013-01-01 05:15:00.250`, with a `Z` behind where the type is TIMESTAMP_LTZ.
    Sql,
    /// `2013-01-01T05:15:00.250`, likewise.
    Iso,
    /// A whole number of this unit since 1970.
    Epoch(TimeUnit),
}

impl TimestampFormat {
    pub(crate) const WORDS: &'static [&'static str] = &[
        "sql",
        "iso-8601",
        "epoch-seconds",
        "epoch-millis",
        "epoch-micros",
        "epoch-nanos",
    ];

    pub(crate) fn parse(word: &str) -> Self {
        match word {
            "iso-8601" => Self::Iso,
            "epoch-seconds" => Self::Epoch(TimeUnit::Second),
            "epoch-millis" => Self::Epoch(TimeUnit::Milli),
            "epoch-micros" => Self::Epoch(TimeUnit::Micro),
            "epoch-nanos" => Self::Epoch(TimeUnit::Nano),
            _ => Self::Sql,
        }
    }
}

/// Units of `unit` in a second.
pub(crate) fn per_second(unit: TimeUnit) -> i64 {
    10_i64.pow(u32::from(unit.digits()))
}

/// A count of one unit in another; `None` if it does not fit. Finer digits are cut off toward the past.
pub(crate) fn rescale(value: i64, from: TimeUnit, to: TimeUnit) -> Option<i64> {
    let (from, to) = (per_second(from), per_second(to));
    if to >= from {
        value.checked_mul(to / from)
    } else {
        Some(value.div_euclid(from / to))
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar; `None` if there is no such day.
pub(crate) fn days_from_civil(year: i64, month: u32, day: u32) -> Option<i64> {
    const LENGTHS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = LENGTHS.get((month as usize).checked_sub(1)?)? + u32::from(leap && month == 2);
    if day == 0 || day > length {
        return None;
    }
    // Years begin in March, so that the leap day is the last one of its year.
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// The inverse of [`days_from_civil`].
pub(crate) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = ((month_from_march + 2) % 12 + 1) as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A text that is read from its start.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    /// Exactly `count` digits.
    fn digits(&mut self, count: usize) -> Option<u32> {
        let (head, tail) = self.0.split_at_checked(count)?;
        let mut value = 0;
        for byte in head {
            if !byte.is_ascii_digit() {
                return None;
            }
            value = value * 10 + u32::from(byte - b'0');
        }
        self.0 = tail;
        Some(value)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.take_any(&[byte]).map(|_| ())
    }

    fn take_any(&mut self, bytes: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        bytes.contains(&first).then(|| {
            self.0 = rest;
            first
        })
    }

    /// A year of four digits, or of up to nine with a sign.
    fn year(&mut self) -> Option<i64> {
        let Some(sign) = self.take_any(b"+-") else {
            return self.digits(4).map(i64::from);
        };
        let count = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if !(4..=9).contains(&count) {
            return None;
        }
        let year = i64::from(self.digits(count)?);
        Some(if sign == b'-' { -year } else { year })
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.year()?;
        self.take(b'-')?;
        let month = self.digits(2)?;
        self.take(b'-')?;
        let day = self.digits(2)?;
        days_from_civil(year, month, day)
    }

    /// A date and nothing else.
    fn whole_date(mut self) -> Option<i64> {
        let days = self.date()?;
        self.0.is_empty().then_some(days)
    }

    /// `hh:mm[:ss[.fraction]]` as seconds and nanoseconds.
    fn time(&mut self) -> Option<(i64, i64)> {
        let hour = self.digits(2)?;
        self.take(b':')?;
        let minute = self.digits(2)?;
        let second = if self.take(b':').is_some() {
            self.digits(2)?
        } else {
            0
        };
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let nanos = if self.take(b'.').is_some() {
            self.fraction()?
        } else {
            0
        };
        Some((i64::from(hour * 3600 + minute * 60 + second), nanos))
    }

    /// One to nine digits, in nanoseconds.
    fn fraction(&mut self) -> Option<i64> {
        let count = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if !(1..=9).contains(&count) {
            return None;
        }
        let digits = i64::from(self.digits(count)?);
        Some(digits * 10_i64.pow(9 - count as u32))
    }

    /// `Z` or `±hh[:]mm`, as seconds east; `None` inside if there is none.
    fn zone(&mut self) -> Option<Option<i64>> {
        match self.take_any(b"Zz+-") {
            None => Some(None),
            Some(b'Z' | b'z') => Some(Some(0)),
            Some(sign) => {
                let hours = self.digits(2)?;
                let _ = self.take(b':');
                let minutes = if self.0.is_empty() {
                    0
                } else {
                    self.digits(2)?
                };
                if hours > 18 || minutes > 59 {
                    return None;
                }
                let seconds = i64::from(hours * 3600 + minutes * 60);
                Some(Some(if sign == b'-' { -seconds } else { seconds }))
            }
        }
    }
}

/// Why a text is not a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotATimestamp {
    /// No date and time of the calendar.
    Form,
    /// It has a zone other than UTC, and the column has none.
    Zone,
    /// The unit cannot hold it.
    Range,
}

/// Reads date, time and zone in the given unit. `zoned`: the column is a point in time (TIMESTAMP_LTZ), where a text
/// without a zone is UTC; a TIMESTAMP takes `Z` and no other zone.
pub(crate) fn parse_timestamp(
    text: &str,
    unit: TimeUnit,
    zoned: bool,
) -> Result<i64, NotATimestamp> {
    let mut scanner = Scanner(text.as_bytes());
    let parsed = (|| {
        let days = scanner.date()?;
        let (seconds, nanos) = match scanner.take_any(b"T t") {
            Some(_) => scanner.time()?,
            None => (0, 0),
        };
        let _ = scanner.take(b' ');
        let zone = scanner.zone()?;
        scanner.0.is_empty().then_some((days, seconds, nanos, zone))
    })();
    let (days, seconds, nanos, zone) = parsed.ok_or(NotATimestamp::Form)?;
    if !zoned && zone.is_some_and(|east| east != 0) {
        return Err(NotATimestamp::Zone);
    }
    let seconds = days * 86_400 + seconds - zone.unwrap_or(0);
    let fine = nanos / (1_000_000_000 / per_second(unit));
    let value = i128::from(seconds) * i128::from(per_second(unit)) + i128::from(fine);
    i64::try_from(value).map_err(|_| NotATimestamp::Range)
}

/// A date that was read before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownDate {
    text: [u8; 10],
    days: i64,
}

impl Default for KnownDate {
    fn default() -> Self {
        Self {
            text: *b"1970-01-01",
            days: 0,
        }
    }
}

/// A timestamp as most are written, `2013-01-31 23:59:00` or with three digits behind a point, that begins at `at`: its
/// value and where it ends. `None`: [`parse_timestamp`] is to read it, or to say what is wrong with it.
#[inline]
pub(crate) fn plain_timestamp(
    bytes: &[u8],
    at: usize,
    unit: TimeUnit,
    date: &mut KnownDate,
) -> Option<(i64, usize)> {
    let text = bytes.get(at..)?;
    let (day, rest) = text.split_first_chunk::<10>()?;
    if day != &date.text {
        // Years of more than four digits, or of fewer, are no ten bytes.
        let days = Scanner(day).whole_date()?;
        *date = KnownDate { text: *day, days };
    }
    if !matches!(rest.first(), Some(b' ' | b'T')) {
        return None;
    }
    let seconds = date.days * 86_400 + clock_seconds(load(rest, 1)?)?;
    let (millis, length) = match rest.get(9..13) {
        Some(&[b'.', a, b, c]) if [a, b, c].iter().all(u8::is_ascii_digit) => {
            let digit = |byte: u8| i64::from(byte - b'0');
            (digit(a) * 100 + digit(b) * 10 + digit(c), 23)
        }
        _ => (0, 19),
    };
    let value = match unit {
        TimeUnit::Second => seconds,
        TimeUnit::Milli => seconds * 1000 + millis,
        TimeUnit::Micro => seconds * 1_000_000 + millis * 1000,
        // They reach from 1677 to 2262 only.
        TimeUnit::Nano => seconds
            .checked_mul(1_000_000_000)?
            .checked_add(millis * 1_000_000)?,
    };
    Some((value, at + length))
}

/// Days since 1970-01-01.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let mut scanner = Scanner(text.as_bytes());
    let days = scanner.date()?;
    if scanner.0.is_empty() {
        i32::try_from(days).ok()
    } else {
        None
    }
}

/// Nanoseconds since midnight.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let mut scanner = Scanner(text.as_bytes());
    let (seconds, nanos) = scanner.time()?;
    scanner
        .0
        .is_empty()
        .then_some(seconds * 1_000_000_000 + nanos)
}

/// Base64 with the standard alphabet; padding may be left out.
pub(crate) fn parse_base64(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let text = text.trim_end_matches('=');
    if text.len() % 4 == 1 {
        return None;
    }
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len() as u32);
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(())
}

/// Base64 with padding.
pub(crate) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for place in 0..4 {
            let symbol = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= group.len() { symbol } else { b'=' });
        }
    }
}

/// A whole number in decimal.
pub(crate) fn write_integer(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    write_unsigned(value.unsigned_abs(), out);
}

/// A whole number without a sign.
pub(crate) fn write_unsigned(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// `count` digits with leading zeros.
fn write_padded(value: u64, count: usize, out: &mut Vec<u8>) {
    let start = out.len();
    write_unsigned(value, out);
    let written = out.len() - start;
    if written < count {
        out.splice(start..start, std::iter::repeat_n(b'0', count - written));
    }
}

/// `2013-01-01`.
pub(crate) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    if year < 0 {
        out.push(b'-');
    } else if year > 9999 {
        out.push(b'+');
    }
    write_padded(year.unsigned_abs(), 4, out);
    out.push(b'-');
    write_padded(u64::from(month), 2, out);
    out.push(b'-');
    write_padded(u64::from(day), 2, out);
}

/// `05:15:00`, and as many groups of three fraction digits as are needed.
pub(crate) fn write_time(nanos: i64, out: &mut Vec<u8>) {
    let (seconds, fraction) = (
        (nanos / 1_000_000_000) as u64,
        (nanos % 1_000_000_000) as u64,
    );
    write_padded(seconds / 3600, 2, out);
    out.push(b':');
    write_padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    write_padded(seconds % 60, 2, out);
    if fraction == 0 {
        return;
    }
    out.push(b'.');
    if fraction % 1_000_000 == 0 {
        write_padded(fraction / 1_000_000, 3, out);
    } else if fraction % 1000 == 0 {
        write_padded(fraction / 1000, 6, out);
    } else {
        write_padded(fraction, 9, out);
    }
}

/// A timestamp in one of the formats, without quotes.
pub(crate) fn write_timestamp(
    value: i64,
    unit: TimeUnit,
    zoned: bool,
    format: TimestampFormat,
    out: &mut Vec<u8>,
) {
    let separator = match format {
        TimestampFormat::Epoch(to) => {
            // Only a coarse value in a far year does not fit into a finer unit: then the ends of the range stand for it.
            let ends = if value < 0 { i64::MIN } else { i64::MAX };
            return write_integer(rescale(value, unit, to).unwrap_or(ends), out);
        }
        TimestampFormat::Sql => b' ',
        TimestampFormat::Iso => b'T',
    };
    let second = per_second(unit);
    let (seconds, fraction) = (value.div_euclid(second), value.rem_euclid(second));
    write_date(seconds.div_euclid(86_400), out);
    out.push(separator);
    write_time(
        seconds.rem_euclid(86_400) * 1_000_000_000 + fraction * (1_000_000_000 / second),
        out,
    );
    if zoned {
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timestamps_are_read_with_t_or_space_and_with_a_zone() {
        let micros = |text, zoned| parse_timestamp(text, TimeUnit::Micro, zoned);
        let noon = 1_357_041_600_000_000;
        for text in [
            "2013-01-01T12:00:00Z",
            "2013-01-01 12:00:00",
            "2013-01-01 12:00",
            "2013-01-01T12:00:00.000",
        ] {
            assert_eq!(micros(text, false), Ok(noon), "{text}");
            assert_eq!(micros(text, true), Ok(noon), "{text}");
        }
        assert_eq!(micros("2013-01-01T14:00:00+02:00", true), Ok(noon));
        assert_eq!(micros("2013-01-01 06:30:00 -0530", true), Ok(noon));
        assert_eq!(
            micros("2013-01-01T14:00:00+02:00", false),
            Err(NotATimestamp::Zone)
        );
        assert_eq!(micros("2013-01-01", false), Ok(noon - 43_200_000_000));
        for text in [
            "2013-02-29 00:00:00",
            "2013-13-01 00:00:00",
            "2013-01-01 24:00:00",
            "2013-01-01T",
            "x",
            "",
        ] {
            assert_eq!(micros(text, false), Err(NotATimestamp::Form), "{text}");
        }
        assert_eq!(
            parse_timestamp("2400-01-01 00:00:00", TimeUnit::Nano, false),
            Err(NotATimestamp::Range)
        );
        assert_eq!(
            parse_timestamp("1969-12-31 23:59:59.9999", TimeUnit::Milli, false),
            Ok(-1)
        );
    }

    proptest! {
        /// Whatever the short way reads, the long way reads as the same, and it reads what most records have.
        #[test]
        fn the_short_way_to_a_timestamp_agrees_with_the_long_one(
            text in "[0-9]{3,4}-[0-2][0-9]-[0-3][0-9][ Tt][0-2][0-9]:[0-6][0-9](:[0-6][0-9])?(\\.[0-9]{0,5})?Z?",
            digits in 0u8..10,
        ) {
            for unit in [TimeUnit::Second, TimeUnit::Milli, TimeUnit::Micro, TimeUnit::Nano] {
                let quoted = format!("{text}\"");
                let mut date = KnownDate::default();
                for _ in 0..2 {
                    let short = plain_timestamp(quoted.as_bytes(), 0, unit, &mut date);
                    let long = parse_timestamp(&text, unit, false);
                    if let Some((value, end)) = short.filter(|(_, end)| *end == text.len()) {
                        prop_assert_eq!(long, Ok(value), "{} up to {}", text, end);
                    }
                }
            }
            let usual = format!("2025-01-0{} 12:3{digits}:5{digits}.{digits}07\"", digits.max(1));
            let short = plain_timestamp(usual.as_bytes(), 0, TimeUnit::Milli, &mut KnownDate::default());
            let long = parse_timestamp(&usual[..usual.len() - 1], TimeUnit::Milli, false).unwrap();
            prop_assert_eq!(short, Some((long, usual.len() - 1)));
        }
    }

    #[test]
    fn days_are_counted_as_in_the_calendar() {
        assert_eq!(parse_date("1970-01-01"), Some(0));
        assert_eq!(parse_date("2000-02-29"), Some(11_016));
        assert_eq!(parse_date("1900-02-29"), None);
        assert_eq!(parse_time("23:59:59.5"), Some(86_399_500_000_000));
    }

    proptest! {
        #[test]
        fn a_written_timestamp_is_read_as_itself(value: i64, digits in 0u8..10, zoned: bool, iso: bool) {
            let unit = TimeUnit::of_precision(digits);
            // Seconds beyond the year 999,999,999 have no text.
            let value = if unit == TimeUnit::Second { value >> 10 } else { value };
            let format = if iso { TimestampFormat::Iso } else { TimestampFormat::Sql };
            let mut text = Vec::new();
            write_timestamp(value, unit, zoned, format, &mut text);
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(parse_timestamp(&text, unit, zoned), Ok(value), "{}", text);
        }

        #[test]
        fn written_bytes_are_read_as_themselves(bytes: Vec<u8>) {
            let (mut text, mut read) = (Vec::new(), Vec::new());
            write_base64(&bytes, &mut text);
            parse_base64(std::str::from_utf8(&text).unwrap(), &mut read).unwrap();
            prop_assert_eq!(read, bytes);
        }

        #[test]
        fn integers_are_written_as_the_library_does(value: i64) {
            let mut text = Vec::new();
            write_integer(value, &mut text);
            prop_assert_eq!(String::from_utf8(text).unwrap(), value.to_string());
        }
    }
}
