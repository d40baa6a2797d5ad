//! Event time, processing time and watermarks: all in microseconds since the Unix epoch.

use std::fmt;

use serde::{Deserialize, Serialize};

/// When something happened, according to the data: microseconds since 1970-01-01T00:00:00 (UTC for
/// `TIMESTAMP_LTZ`, without a zone for `TIMESTAMP`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

/// When we handle it, according to the epoch's barrier: microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessingTime(pub i64);

/// A promise on one channel: every row still to come is at or after it. A row before it is *behind*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Nothing is promised yet.
    pub const MIN: Self = Self(i64::MIN);
    /// The end of all bounded inputs: nothing is still to come.
    pub const MAX: Self = Self(i64::MAX);

    /// This watermark lowered by a duration in microseconds; MIN and MAX stay what they are.
    pub fn minus(self, micros: i64) -> Self {
        if self == Self::MIN || self == Self::MAX {
            self
        } else {
            Self(self.0.saturating_sub(micros))
        }
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("-inf"),
            Self::MAX => f.write_str("+inf"),
            Self(micros) => EventTime(micros).fmt(f),
        }
    }
}

impl fmt::Display for EventTime {
    /// ISO 8601 without a zone: `2013-01-01 05:15:00`, with as many fraction digits as needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, micros) = (
            self.0.div_euclid(86_400_000_000),
            self.0.rem_euclid(86_400_000_000),
        );
        let (year, month, day) = civil_from_days(days);
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )?;
        if fraction == 0 {
            Ok(())
        } else if fraction % 1000 == 0 {
            write!(f, ".{:03}", fraction / 1000)
        } else {
            write!(f, ".{fraction:06}")
        }
    }
}

/// Year, month and day of a day number since 1970-01-01 in the proleptic Gregorian calendar
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_times_print_as_iso_dates() {
        assert_eq!(EventTime(0).to_string(), "1970-01-01 00:00:00");
        assert_eq!(
            EventTime(1_357_017_300_000_000).to_string(),
            "2013-01-01 05:15:00"
        );
        assert_eq!(EventTime(-1).to_string(), "1969-12-31 23:59:59.999999");
        assert_eq!(
            EventTime(951_782_400_500_000).to_string(),
            "2000-02-29 00:00:00.500"
        );
    }

    #[test]
    fn lowering_keeps_the_ends() {
        assert_eq!(Watermark::MAX.minus(5), Watermark::MAX);
        assert_eq!(Watermark::MIN.minus(5), Watermark::MIN);
        assert_eq!(Watermark(7).minus(5), Watermark(2));
    }
}
