//! Hour, minute and second of a point in time.
//!
//! A day has 86,400 seconds in the library's calendar and in UTC alike, so that the time of day is what is left of a division.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};

/// Times further than so many seconds from 1970 (30,000 years) are the library's: its calendar has an end.
const SECONDS_MAX: u64 = 1_000_000_000_000;

/// Which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Hour,
    Minute,
    Second,
}

/// A part of times of a unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockPart {
    part: Part,
    unit: TimeUnit,
}

impl ClockPart {
    /// The part of that name, of times without a zone or in UTC.
    pub(super) fn of(name: &str, data_type: &DataType) -> Option<Self> {
        let DataType::Timestamp(unit, zone) = data_type else {
            return None;
        };
        if zone.as_ref().is_some_and(|zone| zone.as_ref() != "+00:00") {
            return None;
        }
        let part = match name.to_ascii_lowercase().as_str() {
            "hour" => Part::Hour,
            "minute" => Part::Minute,
            "second" => Part::Second,
            _ => return None,
        };
        Some(Self { part, unit: *unit })
    }

    /// `None`: some time is for the library.
    pub(super) fn apply(self, times: &ArrayRef) -> Option<ArrayRef> {
        match self.unit {
            TimeUnit::Second => self.of_units::<TimestampSecondType, 1>(times),
            TimeUnit::Millisecond => self.of_units::<TimestampMillisecondType, 1_000>(times),
            TimeUnit::Microsecond => self.of_units::<TimestampMicrosecondType, 1_000_000>(times),
            TimeUnit::Nanosecond => self.of_units::<TimestampNanosecondType, 1_000_000_000>(times),
        }
    }

    /// The divisors are constants, so that no division is left of them.
    fn of_units<T: ArrowPrimitiveType<Native = i64>, const PER_SECOND: i64>(
        self,
        times: &ArrayRef,
    ) -> Option<ArrayRef> {
        let times: &PrimitiveArray<T> = times.as_primitive_opt::<T>()?;
        let greatest = SECONDS_MAX.saturating_mul(PER_SECOND as u64);
        let is_far = |far: bool, time: &i64| far | (time.unsigned_abs() > greatest);
        if times.values().iter().fold(false, is_far) {
            return None;
        }
        let values: Vec<i32> = match self.part {
            Part::Hour => parts(times, |time| time.div_euclid(3600 * PER_SECOND), 24),
            Part::Minute => parts(times, |time| time.div_euclid(60 * PER_SECOND), 60),
            Part::Second => parts(times, |time| time.div_euclid(PER_SECOND), 60),
        };
        Some(Arc::new(Int32Array::new(
            values.into(),
            times.nulls().cloned(),
        )))
    }
}

#[inline(always)]
fn parts<T: ArrowPrimitiveType<Native = i64>>(
    times: &PrimitiveArray<T>,
    whole: impl Fn(i64) -> i64,
    of: i64,
) -> Vec<i32> {
    let part = |time: &i64| whole(*time).rem_euclid(of) as i32;
    times.values().iter().map(part).collect()
}
