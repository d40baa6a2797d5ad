//! Times and sizes as people write them.

use std::time::Duration;

/// A time as people write it: `200ms`, `10 s`, `1.5 s`, `1 min 30 s`, `2 hours`, `1d`. A number alone counts
/// milliseconds, as in Flink. `None` if it is something else, or negative.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: &[(&[&str], u64)] = &[
        (&["ns", "nano", "nanos", "nanosecond", "nanoseconds"], 1),
        (
            &["us", "µs", "micro", "micros", "microsecond", "microseconds"],
            1_000,
        ),
        (
            &["ms", "milli", "millis", "millisecond", "milliseconds", ""],
            1_000_000,
        ),
        (&["s", "sec", "secs", "second", "seconds"], 1_000_000_000),
        (&["m", "min", "mins", "minute", "minutes"], 60_000_000_000),
        (&["h", "hour", "hours"], 3_600_000_000_000),
        (&["d", "day", "days"], 86_400_000_000_000),
    ];
    let mut rest = text.trim();
    let mut total: u128 = 0;
    let several = rest.chars().any(char::is_alphabetic);
    while !rest.is_empty() {
        let (nanos, unit, after) = quantity(rest, |unit| {
            UNITS
                .iter()
                .find(|(names, _)| names.contains(&unit))
                .map(|&(_, nanos)| u128::from(nanos))
        })?;
        if unit.is_empty() && several {
            return None;
        }
        total = total.checked_add(nanos)?;
        rest = after;
    }
    if text.trim().is_empty() {
        return None;
    }
    u64::try_from(total).ok().map(Duration::from_nanos)
}

/// A number of bytes as people write it: `64MB`, `64 MiB`, `1.5 GiB`, `4096`. Units are powers of 1024, as in Flink,
/// spelled either way. `None` if it is something else, or negative.
pub fn parse_bytes(text: &str) -> Option<u64> {
    const UNITS: &[(&[&str], u32)] = &[
        (&["", "b", "byte", "bytes"], 0),
        (&["k", "kb", "kib", "kibibytes"], 10),
        (&["m", "mb", "mib", "mebibytes"], 20),
        (&["g", "gb", "gib", "gibibytes"], 30),
        (&["t", "tb", "tib", "tebibytes"], 40),
    ];
    let (bytes, _, rest) = quantity(text.trim(), |unit| {
        UNITS
            .iter()
            .find(|(names, _)| names.contains(&unit))
            .map(|&(_, shift)| 1u128 << shift)
    })?;
    if rest.is_empty() {
        u64::try_from(bytes).ok()
    } else {
        None
    }
}

/// `12.5 unit rest` → the amount in the unit's parts, the unit in lower case, the rest.
fn quantity(text: &str, factor: impl Fn(&str) -> Option<u128>) -> Option<(u128, String, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let rest = rest.trim_start();
    let letters = rest
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    let unit = unit.to_lowercase();
    let factor = factor(&unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || whole.len() > 18 || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let scale = 10u128.pow(fraction.len() as u32);
    let amount = format!("{whole}{fraction}")
        .parse::<u128>()
        .ok()?
        .checked_mul(factor)?
        / scale;
    Some((amount, unit, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let millis =
            |text: &str| parse_duration(text).map(|duration| duration.as_micros() as f64 / 1000.0);
        assert_eq!(millis("200ms"), Some(200.0));
        assert_eq!(millis("10 s"), Some(10_000.0));
        assert_eq!(millis("1.5 s"), Some(1_500.0));
        assert_eq!(millis("1 min"), Some(60_000.0));
        assert_eq!(millis("1 min 30 s"), Some(90_000.0));
        assert_eq!(millis("2h"), Some(7_200_000.0));
        assert_eq!(millis("1 DAY"), Some(86_400_000.0));
        assert_eq!(millis("250"), Some(250.0));
        assert_eq!(millis("50 µs"), Some(0.05));
        for text in [
            "",
            " ",
            "s",
            "-1 s",
            "1 fortnight",
            "1 s 5",
            "1..5 s",
            "1.2.3 s",
            "99999999999 days",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_bytes("64MB"), Some(64 << 20));
        assert_eq!(parse_bytes("64 MiB"), Some(64 << 20));
        assert_eq!(parse_bytes("1.5g"), Some(3 << 29));
        assert_eq!(parse_bytes("4096"), Some(4096));
        for text in ["", "MB", "-1 MB", "1 MB 2", "1 XB", "99999999999999 TB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
