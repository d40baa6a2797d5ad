//! Time zones: from an instant to the clock on a wall somewhere, and back.
//!
//! The calendar of zones is that of the `chrono-tz` crate, compiled in: the same on every machine.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringViewBuilder};
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{DataType as ArrowType, TimeUnit};
use chrono::{FixedOffset, LocalResult, NaiveDateTime, Offset, SecondsFormat, TimeDelta, TimeZone};
use chrono_tz::Tz;

use super::time::{Compiled, Times, text_at, texts, times_array};
use super::{Function, Parameter, Returns};

pub(super) fn functions() -> Vec<Function> {
    use Parameter::{Instant, Local, Text};
    let without = |arguments: &[ArrowType]| match &arguments[0] {
        ArrowType::Timestamp(unit, _) => ArrowType::Timestamp(*unit, None),
        other => other.clone(),
    };
    let with = |arguments: &[ArrowType]| match &arguments[0] {
        ArrowType::Timestamp(unit, _) => ArrowType::Timestamp(*unit, Some("+00:00".into())),
        other => other.clone(),
    };
    let micros = || Returns::Fixed(instants());
    vec![
        Function::new(
            "instant_to_local",
            &[Instant, Text],
            Returns::From(without),
            to_local,
        ),
        Function::new(
            "local_to_instant",
            &[Local, Text],
            Returns::From(with),
            to_instant,
        ),
        Function::new(
            "instant_to_text",
            &[Instant, Text],
            Returns::Fixed(ArrowType::Utf8View),
            to_text,
        ),
        Function::new("text_to_instant", &[Text, Text], micros(), |arguments| {
            read_instants(arguments, true)
        }),
        Function::new(
            "try_text_to_instant",
            &[Text, Text],
            micros(),
            |arguments| read_instants(arguments, false),
        ),
    ]
}

/// A zone by name (`Europe/Oslo`, `UTC`) or by offset (`+02:00`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    Named(Tz),
    Fixed(FixedOffset),
}

/// The zone of that name.
///
/// # Errors
/// There is none.
pub(crate) fn parse_zone(name: &str) -> Result<Zone, String> {
    if let Ok(zone) = name.parse::<Tz>() {
        return Ok(Zone::Named(zone));
    }
    let offset = name.trim_start_matches("UTC").trim_start_matches("GMT");
    if let Ok(offset) = offset.parse::<FixedOffset>() {
        return Ok(Zone::Fixed(offset));
    }
    Err(format!("there is no time zone '{name}'"))
}

impl Zone {
    /// How far a clock there is from UTC at an instant (given in UTC).
    fn offset(self, instant: NaiveDateTime) -> FixedOffset {
        match self {
            Self::Named(zone) => zone.offset_from_utc_datetime(&instant).fix(),
            Self::Fixed(offset) => offset,
        }
    }

    /// Whether a clock there was, since 1970, always a multiple of so many microseconds away from UTC.
    pub(crate) fn is_whole_steps_away(self, step: i64) -> bool {
        // Zones change their offsets for months, so that a look at each week finds them all; the rules of 2037 go on.
        let weeks = (0..68 * 53).filter_map(|week| {
            let instant = chrono::DateTime::from_timestamp(week * 7 * 86_400, 0)?;
            Some(self.offset(instant.naive_utc()).local_minus_utc())
        });
        weeks
            .map(|seconds| i64::from(seconds) * 1_000_000)
            .all(|offset| offset % step == 0)
    }

    /// What a clock there shows at an instant (given in UTC).
    pub(crate) fn local(self, instant: NaiveDateTime) -> NaiveDateTime {
        instant + TimeDelta::seconds(i64::from(self.offset(instant).local_minus_utc()))
    }

    /// The instant (in UTC) at which a clock there shows that. Where it does so twice, the first; where it never does,
    /// because the clock was put forward, that much later, as PostgreSQL does.
    pub(crate) fn instant(self, local: NaiveDateTime) -> NaiveDateTime {
        let zone = match self {
            Self::Fixed(offset) => {
                return local - TimeDelta::seconds(i64::from(offset.local_minus_utc()));
            }
            Self::Named(zone) => zone,
        };
        match zone.offset_from_local_datetime(&local) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => {
                local - TimeDelta::seconds(i64::from(offset.fix().local_minus_utc()))
            }
            LocalResult::None => {
                // The offset that held a day before, that is before the clock was put forward.
                let before = zone
                    .offset_from_utc_datetime(&(local - TimeDelta::days(1)))
                    .fix();
                local - TimeDelta::seconds(i64::from(before.local_minus_utc()))
            }
        }
    }
}

fn to_local(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    convert(arguments, None, Zone::local)
}

fn to_instant(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    convert(arguments, Some("+00:00".into()), Zone::instant)
}

fn convert(
    arguments: &[ArrayRef],
    zone: Option<Arc<str>>,
    change: fn(Zone, NaiveDateTime) -> NaiveDateTime,
) -> Result<ArrayRef, String> {
    let (times, names) = (Times::new(&arguments[0])?, texts(&arguments[1]));
    let ArrowType::Timestamp(unit, _) = arguments[0].data_type() else {
        return Err("no point in time".to_owned());
    };
    let mut compiled = Compiled::<Zone>::default();
    let changed: Vec<Option<NaiveDateTime>> = (0..names.len())
        .map(|row| match (times.get(row), text_at(names, row)) {
            (Some(at), Some(name)) => Ok(Some(change(*compiled.get(name, parse_zone)?, at))),
            _ => Ok(None),
        })
        .collect::<Result<_, String>>()?;
    times_array(&ArrowType::Timestamp(*unit, zone), changed.into_iter())
}

/// TIMESTAMP_LTZ(6).
fn instants() -> ArrowType {
    ArrowType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

/// What the clock shows, and how far it is from UTC: `2024-07-01 14:00:00+02:00`.
fn to_text(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let (times, names) = (Times::new(&arguments[0])?, texts(&arguments[1]));
    let mut compiled = Compiled::<Zone>::default();
    let mut out = StringViewBuilder::with_capacity(names.len());
    for row in 0..names.len() {
        match (times.get(row), text_at(names, row)) {
            (Some(at), Some(name)) => {
                let zone = *compiled.get(name, parse_zone)?;
                let shown = zone.offset(at).from_utc_datetime(&at);
                let text = shown.to_rfc3339_opts(SecondsFormat::AutoSi, false);
                // A space, as in every other text of a timestamp.
                out.append_value(text.replacen('T', " ", 1));
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Reads texts: those with an offset of their own say what they mean, others are of the zone.
fn read_instants(arguments: &[ArrayRef], strict: bool) -> Result<ArrayRef, String> {
    let (values, names) = (texts(&arguments[0]), texts(&arguments[1]));
    let mut compiled = Compiled::<Zone>::default();
    let instants_read: Vec<Option<NaiveDateTime>> = (0..values.len())
        .map(|row| {
            let (Some(text), Some(name)) = (text_at(values, row), text_at(names, row)) else {
                return Ok(None);
            };
            let zone = *compiled.get(name, parse_zone)?;
            let instant = read_instant(text.trim(), zone);
            if instant.is_none() && strict {
                return Err(format!("'{text}' is not a point in time"));
            }
            Ok(instant)
        })
        .collect::<Result<_, String>>()?;
    times_array(&instants(), instants_read.into_iter())
}

fn read_instant(text: &str, zone: Zone) -> Option<NaiveDateTime> {
    // As if in UTC: right for a text with an offset; one without it shows a clock of the zone.
    let as_utc = string_to_datetime(&chrono::Utc, text).ok()?;
    let elsewhere = string_to_datetime(&FixedOffset::east_opt(3_600)?, text).ok()?;
    let has_offset = as_utc == elsewhere;
    let read = as_utc.naive_utc();
    Some(if has_offset { read } else { zone.instant(read) })
}
