//! Days as a zone counts them: from midnight to midnight there, be they 23, 24 or 25 hours long.
//!
//! ```text
//!   instants   ──┬──────── 24 h ────────┬───── 23 h ─────┬───── …       midnights of the zone
//!   axis       ──┴──────── 24 h ────────┴───── 24 h ─────┴───── …       n · 24 h
//! ```
//!
//! On the axis every day is 24 hours long, and days can be counted. The last hour of a day of 25 hours is one moment there; no window of
//! whole days tells its moments apart.
//!
//! # Invariants
//! 1. `axis` never goes back where instants go on, and `instant(axis(t)) ≤ t` for midnights.
//! 2. The axis of the midnight that begins day n since 1970 is n · 24 h, exactly.

use chrono::{DateTime, NaiveDateTime};

use crate::functions::{Zone, parse_zone};

const DAY: i64 = 86_400_000_000;
/// Days beyond these have no calendar.
const DAYS_MAX: i64 = 90_000_000;

/// The days of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZonedDays(Zone);

impl ZonedDays {
    /// Of the zone of that name; `None` for UTC, whose days are those of the axis, and if there is no such zone.
    pub fn of(zone: &str) -> Option<Self> {
        if zone.eq_ignore_ascii_case("utc") {
            return None;
        }
        parse_zone(zone).ok().map(Self)
    }

    /// The place of an instant, in microseconds.
    pub fn axis(self, instant: i64) -> i64 {
        let Some(local) = naive(instant).map(|instant| self.0.local(instant)) else {
            return instant;
        };
        let mut day = local.and_utc().timestamp_micros().div_euclid(DAY);
        // Where a clock is put back over midnight, the day has begun at its first midnight and not at the second.
        while instant < self.instant(day.saturating_mul(DAY)) {
            day -= 1;
        }
        while instant >= self.instant((day + 1).saturating_mul(DAY)) {
            day += 1;
        }
        let since = instant - self.instant(day.saturating_mul(DAY));
        day * DAY + since.min(DAY - 1)
    }

    /// The instant of a place; exact for midnights.
    pub fn instant(self, axis: i64) -> i64 {
        let day = axis.div_euclid(DAY);
        match naive(day.saturating_mul(DAY)) {
            Some(midnight) => {
                let begin = self.0.instant(midnight).and_utc().timestamp_micros();
                begin + axis.rem_euclid(DAY)
            }
            None => axis,
        }
    }
}

fn naive(micros: i64) -> Option<NaiveDateTime> {
    if micros.div_euclid(DAY).abs() > DAYS_MAX {
        return None;
    }
    Some(DateTime::from_timestamp_micros(micros)?.naive_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn at(text: &str) -> i64 {
        text.parse::<NaiveDateTime>()
            .unwrap()
            .and_utc()
            .timestamp_micros()
    }

    #[test]
    fn days_across_daylight_time_are_23_and_25_hours_long() {
        let berlin = ZonedDays::of("Europe/Berlin").unwrap();
        let day = |date: &str| berlin.instant(at(&format!("{date}T00:00:00")));
        assert_eq!(day("2024-03-31"), at("2024-03-30T23:00:00"));
        assert_eq!(day("2024-04-01") - day("2024-03-31"), 23 * HOUR);
        assert_eq!(day("2024-10-28") - day("2024-10-27"), 25 * HOUR);
        assert_eq!(day("2024-07-02") - day("2024-07-01"), 24 * HOUR);
        assert!(ZonedDays::of("UTC").is_none());
    }

    #[test]
    fn the_axis_never_goes_back_and_midnights_are_whole_days() {
        for zone in [
            "Europe/Berlin",
            "America/St_Johns",
            "America/Havana",
            "+05:30",
            "Pacific/Apia",
        ] {
            let days = ZonedDays::of(zone).unwrap();
            let mut before = i64::MIN;
            for half_hour in 0..48 * 366 {
                let instant = at("2006-01-01T00:00:00") + half_hour * HOUR / 2;
                let axis = days.axis(instant);
                assert!(axis >= before, "{zone} {instant}");
                let midnight = days.instant(axis.div_euclid(DAY) * DAY);
                let next = days.instant((axis.div_euclid(DAY) + 1) * DAY);
                assert!(midnight <= instant && instant < next, "{zone} {instant}");
                assert_eq!(days.axis(midnight).rem_euclid(DAY), 0, "{zone}");
                before = axis;
            }
        }
    }

    #[test]
    fn the_ends_of_time_stay_where_they_are() {
        let days = ZonedDays::of("Europe/Berlin").unwrap();
        for end in [i64::MIN, i64::MAX] {
            assert_eq!((days.axis(end), days.instant(end)), (end, end));
        }
    }
}
