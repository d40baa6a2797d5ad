//! Functions of dates and times: patterns, units, seconds since 1970.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int64Array, PrimitiveArray, StringViewArray,
    StringViewBuilder, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowTimestampType, DataType as ArrowType, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::calendar::Unit;
use super::pattern::{self, Piece};
use super::{Function, Parameter, Returns};

const MICROS: ArrowType = ArrowType::Timestamp(TimeUnit::Microsecond, None);

pub(super) fn functions() -> Vec<Function> {
    use Parameter::{Integer, Text, Time};
    let text = || Returns::Fixed(ArrowType::Utf8View);
    vec![
        Function::new("date_format", &[Time, Text], text(), format_time),
        Function::new("to_char", &[Time, Text], text(), format_time),
        Function::new(
            "parse_timestamp",
            &[Text, Text],
            Returns::Fixed(MICROS),
            |arguments| parse_time(arguments, true),
        ),
        Function::new(
            "try_parse_timestamp",
            &[Text, Text],
            Returns::Fixed(MICROS),
            |arguments| parse_time(arguments, false),
        ),
        Function::new(
            "parse_date",
            &[Text, Text],
            Returns::Fixed(ArrowType::Date32),
            parse_date,
        ),
        Function::new(
            "timestamp_diff",
            &[Text, Time, Time],
            Returns::Fixed(ArrowType::Int64),
            difference,
        ),
        Function::new(
            "timestamp_add",
            &[Text, Integer, Time],
            Returns::LikeArgument(2),
            add,
        ),
        Function::new(
            "timestamp_floor",
            &[Text, Time],
            Returns::LikeArgument(1),
            |arguments| change_each(&arguments[0], &arguments[1], |unit, at| unit.floor(at)),
        ),
        Function::new(
            "timestamp_ceil",
            &[Text, Time],
            Returns::LikeArgument(1),
            |arguments| {
                change_each(&arguments[0], &arguments[1], |unit, at| {
                    let floor = unit.floor(at)?;
                    if floor == at {
                        Some(at)
                    } else {
                        unit.add(floor, 1)
                    }
                })
            },
        ),
        Function::new("from_unixtime", &[Integer, Text], text(), from_unixtime),
        Function::new(
            "to_timestamp_ltz",
            &[Integer, Integer],
            Returns::Fixed(ArrowType::Timestamp(
                TimeUnit::Millisecond,
                Some("+00:00".into()),
            )),
            to_instant,
        ),
    ]
}

/// Points in time of any unit, as calendar times (UTC for instants).
pub(super) struct Times<'a> {
    ticks: Int64Array,
    per_second: i64,
    nulls: &'a dyn Array,
}

impl<'a> Times<'a> {
    pub(super) fn new(array: &'a ArrayRef) -> Result<Self, String> {
        let ArrowType::Timestamp(unit, _) = array.data_type() else {
            return Err(format!("{} is no point in time", array.data_type()));
        };
        let ticks = cast(array, &ArrowType::Int64).map_err(|error| error.to_string())?;
        Ok(Self {
            ticks: ticks.as_primitive::<Int64Type>().clone(),
            per_second: per_second(*unit),
            nulls: array.as_ref(),
        })
    }

    pub(super) fn get(&self, row: usize) -> Option<NaiveDateTime> {
        if self.nulls.is_null(row) {
            return None;
        }
        at_ticks(self.ticks.value(row), self.per_second)
    }
}

/// Ticks of a second.
pub fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn at_ticks(ticks: i64, per_second: i64) -> Option<NaiveDateTime> {
    let nanos = ticks.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let at = DateTime::from_timestamp(ticks.div_euclid(per_second), nanos as u32)?;
    Some(at.naive_utc())
}

/// The ticks of a calendar time; `None` if the unit cannot hold it.
fn ticks_of(at: NaiveDateTime, per_second: i64) -> Option<i64> {
    let at = at.and_utc();
    let part = i64::from(at.timestamp_subsec_nanos()) / (1_000_000_000 / per_second);
    at.timestamp().checked_mul(per_second)?.checked_add(part)
}

/// An array of the type of `like`, made of calendar times.
pub(super) fn times_array(
    like: &ArrowType,
    times: impl Iterator<Item = Option<NaiveDateTime>>,
) -> Result<ArrayRef, String> {
    let ArrowType::Timestamp(unit, zone) = like else {
        return Err(format!("{like} is no point in time"));
    };
    let per_second = per_second(*unit);
    let ticks: Int64Array = times
        .map(|at| match at {
            None => Ok(None),
            Some(at) => ticks_of(at, per_second)
                .map(Some)
                .ok_or_else(|| format!("{at} is beyond what the type can hold")),
        })
        .collect::<Result<_, String>>()?;
    Ok(match unit {
        TimeUnit::Second => typed::<TimestampSecondType>(&ticks, zone.as_ref()),
        TimeUnit::Millisecond => typed::<TimestampMillisecondType>(&ticks, zone.as_ref()),
        TimeUnit::Microsecond => typed::<TimestampMicrosecondType>(&ticks, zone.as_ref()),
        TimeUnit::Nanosecond => typed::<TimestampNanosecondType>(&ticks, zone.as_ref()),
    })
}

fn typed<T: ArrowTimestampType>(ticks: &Int64Array, zone: Option<&Arc<str>>) -> ArrayRef {
    let array = PrimitiveArray::<T>::new(ticks.values().clone(), ticks.nulls().cloned());
    Arc::new(array.with_timezone_opt(zone.cloned()))
}

/// What was made of the last pattern (or unit, or path): mostly it is a literal, the same for every row.
pub(super) struct Compiled<T> {
    source: Option<String>,
    value: Option<T>,
}

impl<T> Default for Compiled<T> {
    fn default() -> Self {
        Self {
            source: None,
            value: None,
        }
    }
}

impl<T> Compiled<T> {
    pub(super) fn get(
        &mut self,
        source: &str,
        compile: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<&T, String> {
        if self.source.as_deref() != Some(source) {
            self.value = None;
        }
        if self.value.is_none() {
            self.value = Some(compile(source)?);
            self.source = Some(source.to_owned());
        }
        self.value
            .as_ref()
            .ok_or_else(|| "nothing was compiled".to_owned())
    }
}

/// The texts of an argument.
pub(super) fn texts(array: &ArrayRef) -> &StringViewArray {
    array.as_string_view()
}

pub(super) fn text_at(array: &StringViewArray, row: usize) -> Option<&str> {
    array.is_valid(row).then(|| array.value(row))
}

fn format_time(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let (times, patterns) = (Times::new(&arguments[0])?, texts(&arguments[1]));
    let mut compiled = Compiled::<Vec<Piece>>::default();
    let mut out = StringViewBuilder::with_capacity(patterns.len());
    let mut text = String::new();
    for row in 0..patterns.len() {
        match (times.get(row), text_at(patterns, row)) {
            (Some(at), Some(source)) => {
                text.clear();
                pattern::format(compiled.get(source, pattern::compile)?, &at, &mut text);
                out.append_value(&text);
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Reads texts by patterns; a text that is not one is an error if `strict`, else NULL.
fn read_times(arguments: &[ArrayRef], strict: bool) -> Result<Vec<Option<NaiveDateTime>>, String> {
    let (values, patterns) = (texts(&arguments[0]), texts(&arguments[1]));
    let mut compiled = Compiled::<Vec<Piece>>::default();
    (0..values.len())
        .map(|row| {
            let (Some(value), Some(source)) = (text_at(values, row), text_at(patterns, row)) else {
                return Ok(None);
            };
            let at = pattern::parse(compiled.get(source, pattern::compile)?, value);
            if at.is_none() && strict {
                return Err(format!("'{value}' does not fit the pattern '{source}'"));
            }
            Ok(at)
        })
        .collect()
}

fn parse_time(arguments: &[ArrayRef], strict: bool) -> Result<ArrayRef, String> {
    let times = read_times(arguments, strict)?;
    let micros: TimestampMicrosecondArray = times
        .into_iter()
        .map(|at| at.and_then(|at| ticks_of(at, 1_000_000)))
        .collect();
    Ok(Arc::new(micros))
}

fn parse_date(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let days = read_times(arguments, true)?.into_iter().map(|at| {
        at.map(|at| {
            at.date()
                .signed_duration_since(NaiveDate::default())
                .num_days() as i32
        })
    });
    Ok(Arc::new(days.collect::<Date32Array>()))
}

fn difference(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let units = texts(&arguments[0]);
    let (from, to) = (Times::new(&arguments[1])?, Times::new(&arguments[2])?);
    let mut compiled = Compiled::<Unit>::default();
    let counts: Int64Array = (0..units.len())
        .map(
            |row| match (text_at(units, row), from.get(row), to.get(row)) {
                (Some(unit), Some(from), Some(to)) => {
                    Ok(Some(compiled.get(unit, Unit::parse)?.between(from, to)))
                }
                _ => Ok(None),
            },
        )
        .collect::<Result<_, String>>()?;
    Ok(Arc::new(counts))
}

fn add(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let counts = arguments[1].as_primitive::<Int64Type>();
    let units = texts(&arguments[0]);
    let times = Times::new(&arguments[2])?;
    let mut compiled = Compiled::<Unit>::default();
    let added: Vec<Option<NaiveDateTime>> = (0..units.len())
        .map(|row| match (text_at(units, row), times.get(row)) {
            (Some(unit), Some(at)) if counts.is_valid(row) => {
                let unit = compiled.get(unit, Unit::parse)?;
                let sum = unit.add(at, counts.value(row));
                sum.map(Some)
                    .ok_or_else(|| "the sum is beyond the calendar".to_owned())
            }
            _ => Ok(None),
        })
        .collect::<Result<_, String>>()?;
    times_array(arguments[2].data_type(), added.into_iter())
}

/// Applies a unit's function to every time.
fn change_each(
    units: &ArrayRef,
    times: &ArrayRef,
    mut change: impl FnMut(&Unit, NaiveDateTime) -> Option<NaiveDateTime>,
) -> Result<ArrayRef, String> {
    let (units, data_type) = (texts(units), times.data_type());
    let times = Times::new(times)?;
    let mut compiled = Compiled::<Unit>::default();
    let changed: Vec<Option<NaiveDateTime>> = (0..units.len())
        .map(|row| match (text_at(units, row), times.get(row)) {
            (Some(unit), Some(at)) => {
                let unit = compiled.get(unit, Unit::parse)?;
                let changed = change(unit, at);
                changed
                    .map(Some)
                    .ok_or_else(|| "the result is beyond the calendar".to_owned())
            }
            _ => Ok(None),
        })
        .collect::<Result<_, String>>()?;
    times_array(data_type, changed.into_iter())
}

/// Seconds since 1970 as text.
fn from_unixtime(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let seconds = arguments[0].as_primitive::<Int64Type>();
    let times = PrimitiveArray::<TimestampSecondType>::new(
        seconds.values().clone(),
        seconds.nulls().cloned(),
    );
    format_time(&[Arc::new(times), Arc::clone(&arguments[1])])
}

/// Seconds (precision 0) or milliseconds (3) since 1970 as an instant.
fn to_instant(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let ticks = arguments[0].as_primitive::<Int64Type>();
    let precisions = arguments[1].as_primitive::<Int64Type>();
    let millis: Int64Array = (0..ticks.len())
        .map(|row| {
            if ticks.is_null(row) || precisions.is_null(row) {
                return Ok(None);
            }
            let factor = match precisions.value(row) {
                0 => 1_000,
                3 => 1,
                other => return Err(format!("precision {other}: there are 0 and 3")),
            };
            let millis = ticks.value(row).checked_mul(factor);
            millis.map(Some).ok_or_else(|| "too far away".to_owned())
        })
        .collect::<Result<_, String>>()?;
    Ok(typed::<TimestampMillisecondType>(
        &millis,
        Some(&"+00:00".into()),
    ))
}
