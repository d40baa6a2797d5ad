//! Units of time on the calendar: cutting a point in time to one, adding some, counting those between two points.

use chrono::{Datelike, Days, Months, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

/// A unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// That many months: month, quarter, year, ….
    Months(u32),
    /// From Monday on.
    Week,
    Day,
    /// That many nanoseconds, a part of a day.
    Nanos(i64),
}

const SECOND: i64 = 1_000_000_000;

impl Unit {
    /// The unit of that name, in any case, plural or not; Flink's `SQL_TSI_…` too.
    ///
    /// # Errors
    /// The names that there are.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let lower = name.to_ascii_lowercase();
        let word = lower.trim_start_matches("sql_tsi_");
        let word = match word {
            "century" | "centuries" => "century",
            "millennium" | "millennia" => "millennium",
            "us" | "ms" => word,
            word => word.strip_suffix('s').unwrap_or(word),
        };
        Ok(match word {
            "millennium" => Self::Months(12_000),
            "century" => Self::Months(1_200),
            "decade" => Self::Months(120),
            "year" => Self::Months(12),
            "quarter" => Self::Months(3),
            "month" => Self::Months(1),
            "week" => Self::Week,
            "day" => Self::Day,
            "hour" => Self::Nanos(3_600 * SECOND),
            "minute" => Self::Nanos(60 * SECOND),
            "second" => Self::Nanos(SECOND),
            "millisecond" | "ms" => Self::Nanos(1_000_000),
            "microsecond" | "us" => Self::Nanos(1_000),
            "nanosecond" => Self::Nanos(1),
            _ => {
                return Err(format!(
                    "`{name}` is no unit of time; there are year, quarter, month, week, day, hour, minute, second, \
                     millisecond and microsecond"
                ));
            }
        })
    }

    /// The start of the unit that holds `at`.
    pub(super) fn floor(self, at: NaiveDateTime) -> Option<NaiveDateTime> {
        let date = match self {
            Self::Nanos(nanos) => {
                let time = at.time();
                let since = i64::from(time.num_seconds_from_midnight()) * SECOND
                    + i64::from(time.nanosecond());
                return at.checked_sub_signed(TimeDelta::nanoseconds(since % nanos));
            }
            Self::Day => at.date(),
            Self::Week => at
                .date()
                .checked_sub_days(Days::new(u64::from(at.weekday().num_days_from_monday())))?,
            Self::Months(months) => {
                let since = at.month0() + (at.year().rem_euclid(1_000) as u32) * 12;
                // Decades and more start with a year that they divide; months and quarters within their year.
                let over = if months > 12 {
                    since % months.min(12_000)
                } else {
                    at.month0() % months
                };
                at.date()
                    .with_day(1)?
                    .checked_sub_months(Months::new(over))?
            }
        };
        Some(date.and_time(NaiveTime::MIN))
    }

    /// `at` and `count` units more.
    pub(super) fn add(self, at: NaiveDateTime, count: i64) -> Option<NaiveDateTime> {
        match self {
            Self::Months(months) => {
                let all = count.checked_mul(i64::from(months))?;
                let months = Months::new(u32::try_from(all.unsigned_abs()).ok()?);
                if all < 0 {
                    at.checked_sub_months(months)
                } else {
                    at.checked_add_months(months)
                }
            }
            Self::Week => Self::Day.add(at, count.checked_mul(7)?),
            Self::Day => at.checked_add_signed(TimeDelta::try_days(count)?),
            Self::Nanos(nanos) => {
                let all = i128::from(nanos) * i128::from(count);
                let seconds = i64::try_from(all.div_euclid(i128::from(SECOND))).ok()?;
                let rest = all.rem_euclid(i128::from(SECOND)) as u32;
                at.checked_add_signed(TimeDelta::new(seconds, rest)?)
            }
        }
    }

    /// Whole units from `from` to `to`; negative if `to` comes first.
    pub(super) fn between(self, from: NaiveDateTime, to: NaiveDateTime) -> i64 {
        if to < from {
            return -self.between(to, from);
        }
        let difference = to.signed_duration_since(from);
        match self {
            Self::Months(months) => {
                let month = |at: NaiveDateTime| i64::from(at.year()) * 12 + i64::from(at.month0());
                let mut count = month(to) - month(from);
                // The last month counts when the day and time of day are reached.
                if (to.day(), to.time()) < (from.day(), from.time()) {
                    count -= 1;
                }
                count / i64::from(months)
            }
            Self::Week => difference.num_days() / 7,
            Self::Day => difference.num_days(),
            Self::Nanos(nanos) => {
                let all = i128::from(difference.num_seconds()) * i128::from(SECOND)
                    + i128::from(difference.subsec_nanos());
                (all / i128::from(nanos)).try_into().unwrap_or(i64::MAX)
            }
        }
    }
}
