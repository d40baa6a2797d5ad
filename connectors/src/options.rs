//! The options of connectors and formats: one description each, from which values are checked, defaults are taken
//! and the reference pages are made.
//!
//! An option's *form* says which texts are values; its check is pure, so that `weir check` reports every mistake
//! without opening anything. What was checked once is read through [`Options`], which falls back to the default.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_types::TimeUnit;

use crate::format::value::parse_timestamp;
use crate::table::OnError;

/// One option of a connector or a format.
#[derive(Clone, Copy, Debug)]
pub struct OptionInfo {
    /// The key, lower case.
    pub key: &'static str,
    /// The value that holds when it is not written; `None`: it has none.
    pub default: Option<&'static str>,
    /// Which texts are values.
    pub form: Form,
    /// What it does, in a sentence or two.
    pub help: &'static str,
}

/// Which texts are values of an option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// Any text.
    Text,
    /// Text that must be there and not be empty.
    Required,
    /// `true` or `false`.
    Boolean,
    /// A whole number, at least this.
    Count(u64),
    /// A TCP port; required.
    Port,
    /// A number, with a sign or a fraction if need be.
    Number,
    /// A number from 0 to 1.
    Fraction,
    /// `10ms`, `2 s`, `1 min`, `1 h`, `1 d`.
    Duration,
    /// `2025-01-31 23:59:00`.
    Timestamp,
    /// One character of ASCII, or `\t`.
    Character,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `fail`, `skip` or `dead-letter:TABLE`.
    OnError,
}

impl Form {
    /// The form in words, for messages and reference pages.
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Required => "text, required".to_owned(),
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Count(least) => format!("a whole number, at least {least}"),
            Self::Port => "a TCP port, required".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Fraction => "a number from 0 to 1".to_owned(),
            Self::Duration => "a duration such as `200ms`, `5 s`, `1 min`".to_owned(),
            Self::Timestamp => "a time such as `2025-01-31 23:59:00`".to_owned(),
            Self::Character => "one ASCII character, or `\\t`".to_owned(),
            Self::OneOf(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                words.join(", ")
            }
            Self::OnError => "`fail`, `skip` or `dead-letter:TABLE`".to_owned(),
        }
    }

    /// Whether `text` is a value of this form.
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Required => !text.is_empty(),
            Self::Boolean => parse_boolean(text).is_some(),
            Self::Count(least) => text.parse::<u64>().is_ok_and(|count| count >= least),
            Self::Port => text.parse::<u16>().is_ok_and(|port| port > 0),
            Self::Number => text.parse::<f64>().is_ok_and(f64::is_finite),
            Self::Fraction => text
                .parse::<f64>()
                .is_ok_and(|part| (0.0..=1.0).contains(&part)),
            Self::Duration => parse_duration(text).is_some(),
            // In nanoseconds, so that it is within the years 1677 to 2262.
            Self::Timestamp => parse_timestamp(text, TimeUnit::Nano, true).is_ok(),
            Self::Character => parse_character(text).is_some(),
            Self::OneOf(words) => words.contains(&text),
            Self::OnError => OnError::parse(text).is_some(),
        }
    }

    /// Whether the option has to be written, if it has no default.
    pub(crate) fn is_required(self) -> bool {
        matches!(self, Self::Required | Self::Port)
    }

    /// The words among which a misspelt value may have a near one.
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            Self::OneOf(words) => words,
            Self::Boolean => &["true", "false"],
            Self::OnError => &["fail", "skip"],
            _ => &[],
        }
    }
}

/// Options that were checked, with their defaults: the values as types.
///
/// A getter gives the default where the text is absent or has another form; the second cannot happen after
/// `check_table`, and must not panic before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a>(pub(crate) &'a BTreeMap<String, String>);

impl<'a> Options<'a> {
    pub(crate) fn text(self, info: &OptionInfo) -> Option<&'a str> {
        self.0
            .get(info.key)
            .map(String::as_str)
            .filter(|text| info.form.accepts(text))
            .or(info.default)
    }

    pub(crate) fn word(self, info: &OptionInfo) -> &'a str {
        self.text(info).unwrap_or_default()
    }

    pub(crate) fn boolean(self, info: &OptionInfo) -> bool {
        self.text(info).and_then(parse_boolean).unwrap_or_default()
    }

    pub(crate) fn count(self, info: &OptionInfo) -> Option<u64> {
        self.text(info).and_then(|text| text.parse().ok())
    }

    pub(crate) fn duration(self, info: &OptionInfo) -> Duration {
        self.text(info).and_then(parse_duration).unwrap_or_default()
    }

    pub(crate) fn character(self, info: &OptionInfo) -> u8 {
        self.text(info).and_then(parse_character).unwrap_or(b',')
    }
}

pub(crate) fn parse_boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A whole number and a unit, with or without a space between.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let count: u64 = text[..digits].parse().ok()?;
    let nanos: u64 = match text[digits..].trim() {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" | "sec" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return None,
    };
    count.checked_mul(nanos).map(Duration::from_nanos)
}

fn parse_character(text: &str) -> Option<u8> {
    match text.as_bytes() {
        b"\\t" => Some(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Some(*byte),
        _ => None,
    }
}

/// The name among `known` that is nearest to `name`, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&name.to_ascii_lowercase(), candidate),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(name.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(parse_duration("1 min"), Some(Duration::from_secs(60)));
        assert_eq!(parse_duration("10"), None);
        assert_eq!(parse_duration("ms"), None);
        assert_eq!(parse_duration("999999999999999999 d"), None);
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        let known = ["filesystem", "stdin", "datagen"];
        assert_eq!(nearest("filesytem", known), Some("filesystem"));
        assert_eq!(nearest("Stdin", known), Some("stdin"));
        assert_eq!(nearest("kafka", known), None);
    }

    #[test]
    fn a_form_takes_its_values_and_no_others() {
        assert!(
            Form::Character.accepts("\\t")
                && Form::Character.accepts(";")
                && !Form::Character.accepts("ab")
        );
        assert!(
            Form::Count(1).accepts("3")
                && !Form::Count(1).accepts("0")
                && !Form::Count(1).accepts("-1")
        );
        assert!(Form::OnError.accepts("dead-letter:bad") && !Form::OnError.accepts("dead-letter:"));
        assert!(Form::Fraction.accepts("0.25") && !Form::Fraction.accepts("1.5"));
        assert!(!Form::Number.accepts("NaN"));
        assert!(
            Form::Timestamp.accepts("2025-01-01 00:00:00") && !Form::Timestamp.accepts("yesterday")
        );
    }
}
