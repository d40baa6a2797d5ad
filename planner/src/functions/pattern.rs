//! Patterns of dates and times in three spellings, compiled once to the same pieces.
//!
//! | spelling | of | example | taken for it when |
//! |---|---|---|---|
//! | Java's | Flink | `yyyy-MM-dd HH:mm:ss.SSS` | small and large letters are mixed, as in `yyyy-MM` |
//! | PostgreSQL's | `to_char` | `YYYY-MM-DD HH24:MI:SS` | all letters are large, or all are small; or it has `HH24`, `HH12`, `FM`, `Mon` … |
//! | strftime's | C | `%Y-%m-%d` | there is a `%` in it |
//!
//! # Invariants
//! 1. What a pattern means follows from its text alone.
//! 2. A letter that means nothing here is an error, never copied to the output.

use std::fmt::Write;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Field(Field, Style),
}

/// What stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Year,
    /// The year's last two digits; 00 to 69 are of this century.
    ShortYear,
    IsoYear,
    Quarter,
    Month,
    MonthName,
    ShortMonthName,
    IsoWeek,
    Day,
    DayOfYear,
    DayName,
    ShortDayName,
    /// Monday is 1.
    IsoDay,
    /// Sunday is 1.
    SundayDay,
    Hour24,
    Hour12,
    Minute,
    Second,
    /// That many digits of the second's fraction.
    Fraction(u8),
    /// Before or after noon.
    Half,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// Numbers have at least so many digits.
    width: usize,
    case: Case,
    /// Names are filled up with blanks to nine characters, as PostgreSQL does.
    padded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Lower,
    Upper,
    Title,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

fn number(width: usize) -> Style {
    Style {
        width,
        case: Case::Title,
        padded: false,
    }
}

/// Compiles a pattern.
///
/// # Errors
/// What in it means nothing.
pub(super) fn compile(pattern: &str) -> Result<Vec<Piece>, String> {
    if pattern.contains('%') {
        strftime(pattern)
    } else if is_java(pattern) {
        java(pattern)
    } else {
        postgres(pattern)
    }
}

/// Java's patterns mix large and small letters outside of quotes (`yyyy-MM-dd`), PostgreSQL's do not, but for names
/// (`Mon`, `Day`) and `FM`.
fn is_java(pattern: &str) -> bool {
    let upper = pattern.to_ascii_uppercase();
    if ["HH24", "HH12", "FM", "MON", "DAY", "DY", "MI"]
        .iter()
        .any(|word| upper.contains(word))
    {
        return false;
    }
    let mut inside = false;
    let letters: Vec<char> = pattern
        .chars()
        .filter(|&c| {
            inside ^= c == '\'';
            !inside && c.is_ascii_alphabetic()
        })
        .collect();
    let small = letters.iter().any(char::is_ascii_lowercase);
    let large = letters.iter().any(char::is_ascii_uppercase);
    (small && large) || pattern.contains('\'') || ["yyyy", "ss", "SSS"].contains(&pattern)
}

fn java(pattern: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Pieces::default();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\'' {
            java_quoted(&mut rest, &mut pieces);
            continue;
        }
        if !c.is_ascii_alphabetic() {
            pieces.text(c);
            continue;
        }
        let mut count = 1;
        while rest.next_if_eq(&c).is_some() {
            count += 1;
        }
        let field = match (c, count) {
            ('y' | 'u', 2) => Field::ShortYear,
            ('y' | 'u', _) => Field::Year,
            ('Y', _) => Field::IsoYear,
            ('Q' | 'q', _) => Field::Quarter,
            ('M' | 'L', 1 | 2) => Field::Month,
            ('M' | 'L', 3) => Field::ShortMonthName,
            ('M' | 'L', _) => Field::MonthName,
            ('w', _) => Field::IsoWeek,
            ('d', _) => Field::Day,
            ('D', _) => Field::DayOfYear,
            ('E', 1..=3) => Field::ShortDayName,
            ('E', _) => Field::DayName,
            ('e', _) => Field::IsoDay,
            ('H', _) => Field::Hour24,
            ('h', _) => Field::Hour12,
            ('m', _) => Field::Minute,
            ('s', _) => Field::Second,
            ('S', 1..=9) => Field::Fraction(count as u8),
            ('a', _) => Field::Half,
            _ => return Err(unknown(&c.to_string(), pattern)),
        };
        let mut style = number(count);
        if field == Field::Half {
            style.case = Case::Upper;
        }
        pieces.field(field, style);
    }
    Ok(pieces.0)
}

/// Text between single quotes; two of them are one.
fn java_quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, pieces: &mut Pieces) {
    if rest.next_if_eq(&'\'').is_some() {
        pieces.text('\'');
        return;
    }
    while let Some(c) = rest.next() {
        if c == '\'' && rest.next_if_eq(&'\'').is_none() {
            return;
        }
        pieces.text(c);
    }
}

/// PostgreSQL's words, longer ones before those that they begin with.
const POSTGRES: &[(&str, Field, usize)] = &[
    ("HH24", Field::Hour24, 2),
    ("HH12", Field::Hour12, 2),
    ("HH", Field::Hour12, 2),
    ("IYYY", Field::IsoYear, 4),
    ("YYYY", Field::Year, 4),
    ("YY", Field::ShortYear, 2),
    ("MONTH", Field::MonthName, 0),
    ("MON", Field::ShortMonthName, 0),
    ("MM", Field::Month, 2),
    ("MI", Field::Minute, 2),
    ("MS", Field::Fraction(3), 3),
    ("US", Field::Fraction(6), 6),
    ("FF1", Field::Fraction(1), 1),
    ("FF2", Field::Fraction(2), 2),
    ("FF3", Field::Fraction(3), 3),
    ("FF4", Field::Fraction(4), 4),
    ("FF5", Field::Fraction(5), 5),
    ("FF6", Field::Fraction(6), 6),
    ("DDD", Field::DayOfYear, 3),
    ("DD", Field::Day, 2),
    ("DAY", Field::DayName, 0),
    ("DY", Field::ShortDayName, 0),
    ("ID", Field::IsoDay, 1),
    ("D", Field::SundayDay, 1),
    ("IW", Field::IsoWeek, 2),
    ("SS", Field::Second, 2),
    ("Q", Field::Quarter, 1),
    ("AM", Field::Half, 0),
    ("PM", Field::Half, 0),
];

fn postgres(pattern: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Pieces::default();
    let mut rest = pattern;
    let mut fill = true;
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let inside = &rest[1..];
            let end = inside.find('"').unwrap_or(inside.len());
            inside[..end].chars().for_each(|c| pieces.text(c));
            rest = inside.get(end + 1..).unwrap_or_default();
            continue;
        }
        if !c.is_ascii_alphabetic() {
            pieces.text(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        if let Some(after) = strip_word(rest, "FM") {
            (fill, rest) = (false, after);
            continue;
        }
        let known = POSTGRES
            .iter()
            .find_map(|&(word, field, width)| Some((strip_word(rest, word)?, field, width)));
        let Some((after, field, width)) = known else {
            return Err(unknown(&c.to_string(), pattern));
        };
        let word = &rest[..rest.len() - after.len()];
        pieces.field(
            field,
            Style {
                width: if fill { width } else { 1 },
                case: case_of(word),
                padded: fill,
            },
        );
        (rest, fill) = (after, true);
    }
    Ok(pieces.0)
}

fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let start = text.get(..word.len())?;
    start
        .eq_ignore_ascii_case(word)
        .then(|| &text[word.len()..])
}

/// `MON`, `Mon` and `mon` give names written like that.
fn case_of(word: &str) -> Case {
    let mut letters = word.chars().map(|c| c.is_ascii_uppercase());
    match (letters.next(), letters.next()) {
        (Some(true), Some(false)) => Case::Title,
        (Some(true), _) => Case::Upper,
        _ => Case::Lower,
    }
}

fn strftime(pattern: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Pieces::default();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            pieces.text(c);
            continue;
        }
        let letter = rest.next().unwrap_or('%');
        let fields: &[(Field, usize)] = match letter {
            '%' => {
                pieces.text('%');
                continue;
            }
            'Y' => &[(Field::Year, 4)],
            'y' => &[(Field::ShortYear, 2)],
            'G' => &[(Field::IsoYear, 4)],
            'm' => &[(Field::Month, 2)],
            'B' => &[(Field::MonthName, 0)],
            'b' | 'h' => &[(Field::ShortMonthName, 0)],
            'd' => &[(Field::Day, 2)],
            'j' => &[(Field::DayOfYear, 3)],
            'A' => &[(Field::DayName, 0)],
            'a' => &[(Field::ShortDayName, 0)],
            'u' => &[(Field::IsoDay, 1)],
            'V' => &[(Field::IsoWeek, 2)],
            'H' => &[(Field::Hour24, 2)],
            'I' => &[(Field::Hour12, 2)],
            'M' => &[(Field::Minute, 2)],
            'S' => &[(Field::Second, 2)],
            'f' => &[(Field::Fraction(6), 6)],
            'p' => &[(Field::Half, 0)],
            'F' => &[(Field::Year, 4), (Field::Month, 2), (Field::Day, 2)],
            'T' => &[(Field::Hour24, 2), (Field::Minute, 2), (Field::Second, 2)],
            'R' => &[(Field::Hour24, 2), (Field::Minute, 2)],
            other => return Err(unknown(&format!("%{other}"), pattern)),
        };
        let separator = if letter == 'F' { '-' } else { ':' };
        for (i, &(field, width)) in fields.iter().enumerate() {
            if i > 0 {
                pieces.text(separator);
            }
            let mut style = number(width);
            if field == Field::Half {
                style.case = Case::Upper;
            }
            pieces.field(field, style);
        }
    }
    Ok(pieces.0)
}

fn unknown(what: &str, pattern: &str) -> String {
    format!("`{what}` means nothing in the pattern '{pattern}'; text in a pattern is quoted")
}

#[derive(Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn text(&mut self, c: char) {
        match self.0.last_mut() {
            Some(Piece::Text(text)) => text.push(c),
            _ => self.0.push(Piece::Text(c.into())),
        }
    }

    fn field(&mut self, field: Field, style: Style) {
        self.0.push(Piece::Field(field, style));
    }
}

// -------------------------------------------------------------------- formatting

/// Writes a point in time by a pattern.
pub(super) fn format(pieces: &[Piece], at: &NaiveDateTime, out: &mut String) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Field(field, style) => format_field(*field, *style, at, out),
        }
    }
}

fn format_field(field: Field, style: Style, at: &NaiveDateTime, out: &mut String) {
    let name = |names: &[&str], index: u32, short: bool, out: &mut String| {
        let full = names[index as usize];
        let text = if short { &full[..3] } else { full };
        let text = match style.case {
            Case::Lower => text.to_lowercase(),
            Case::Upper => text.to_uppercase(),
            Case::Title => text.to_owned(),
        };
        let width = if style.padded && !short { 9 } else { 0 };
        let _ = write!(out, "{text:width$}");
    };
    let value = match field {
        Field::Year => i64::from(at.year()),
        Field::ShortYear => i64::from(at.year().rem_euclid(100)),
        Field::IsoYear => i64::from(at.iso_week().year()),
        Field::Quarter => i64::from(at.month0() / 3 + 1),
        Field::Month => i64::from(at.month()),
        Field::MonthName => return name(&MONTHS, at.month0(), false, out),
        Field::ShortMonthName => return name(&MONTHS, at.month0(), true, out),
        Field::IsoWeek => i64::from(at.iso_week().week()),
        Field::Day => i64::from(at.day()),
        Field::DayOfYear => i64::from(at.ordinal()),
        Field::DayName => return name(&DAYS, at.weekday().num_days_from_monday(), false, out),
        Field::ShortDayName => return name(&DAYS, at.weekday().num_days_from_monday(), true, out),
        Field::IsoDay => i64::from(at.weekday().number_from_monday()),
        Field::SundayDay => i64::from(at.weekday().number_from_sunday()),
        Field::Hour24 => i64::from(at.hour()),
        Field::Hour12 => i64::from(at.hour12().1),
        Field::Minute => i64::from(at.minute()),
        Field::Second => i64::from(at.second()),
        Field::Fraction(digits) => {
            let nanos = format!("{:09}", at.nanosecond() % 1_000_000_000);
            return out.push_str(&nanos[..usize::from(digits)]);
        }
        Field::Half => {
            let text = if at.hour() < 12 { "am" } else { "pm" };
            return match style.case {
                Case::Lower => out.push_str(text),
                _ => out.push_str(&text.to_uppercase()),
            };
        }
    };
    let width = style.width;
    if value < 0 {
        let _ = write!(out, "-{:0width$}", -value);
    } else {
        let _ = write!(out, "{value:0width$}");
    }
}

// -------------------------------------------------------------------- parsing

/// What was read of a text.
#[derive(Default)]
struct Read {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: u32,
    half: Option<bool>,
    twelve: bool,
    minute: u32,
    second: u32,
    nanos: u32,
}

/// Reads a point in time by a pattern; `None` if the text is not one.
pub(super) fn parse(pieces: &[Piece], text: &str) -> Option<NaiveDateTime> {
    let (mut read, mut rest) = (Read::default(), text);
    for (i, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(expected) => rest = rest.strip_prefix(expected.as_str())?,
            Piece::Field(field, style) => {
                // Digits of the next field must not be taken by this one.
                let followed = matches!(pieces.get(i + 1), Some(Piece::Field(..)));
                rest = read.field(*field, style.width, followed, rest)?;
            }
        }
    }
    if rest.trim().is_empty() {
        read.finish()
    } else {
        None
    }
}

impl Read {
    fn field<'t>(
        &mut self,
        field: Field,
        width: usize,
        followed: bool,
        text: &'t str,
    ) -> Option<&'t str> {
        let most = |usual: usize| if followed { width.max(1) } else { usual };
        let small = |text: &'t str, most: usize| -> Option<(u32, &'t str)> {
            let (digits, rest) = digits(text, most)?;
            Some((digits.parse().ok()?, rest))
        };
        let (value, rest) = match field {
            Field::Year => {
                let (sign, unsigned) = match text.strip_prefix('-') {
                    Some(unsigned) => (-1, unsigned),
                    None => (1, text),
                };
                let (year, rest) = small(unsigned, most(6))?;
                self.year = Some(sign * i32::try_from(year).ok()?);
                return Some(rest);
            }
            Field::ShortYear => {
                let (year, rest) = small(text, 2)?;
                let century = if year < 70 { 2000 } else { 1900 };
                self.year = Some(century + year as i32);
                return Some(rest);
            }
            Field::MonthName | Field::ShortMonthName => {
                let (index, rest) = name(&MONTHS, text, field == Field::ShortMonthName)?;
                self.month = Some(index + 1);
                return Some(rest);
            }
            Field::DayName | Field::ShortDayName => {
                return Some(name(&DAYS, text, field == Field::ShortDayName)?.1);
            }
            Field::Half => {
                let lower = text.get(..2)?.to_ascii_lowercase();
                self.half = Some(match lower.as_str() {
                    "am" => false,
                    "pm" => true,
                    _ => return None,
                });
                return Some(&text[2..]);
            }
            Field::Fraction(count) => {
                let (digits, rest) = digits(text, if followed { usize::from(count) } else { 9 })?;
                let scale = 10_u32.pow(9 - digits.len() as u32);
                self.nanos = digits.parse::<u32>().ok()? * scale;
                return Some(rest);
            }
            Field::DayOfYear => small(text, most(3))?,
            Field::IsoYear | Field::IsoWeek | Field::Quarter => small(text, most(4))?,
            _ => small(text, most(2))?,
        };
        match field {
            Field::Month => self.month = Some(value),
            Field::Day => self.day = Some(value),
            Field::DayOfYear => self.day_of_year = Some(value),
            Field::Hour24 => self.hour = value,
            Field::Hour12 => (self.hour, self.twelve) = (value, true),
            Field::Minute => self.minute = value,
            Field::Second => self.second = value,
            // Weeks, quarters and days of the week follow from the date.
            _ => {}
        }
        Some(rest)
    }

    fn finish(self) -> Option<NaiveDateTime> {
        let year = self.year.unwrap_or(1970);
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day)?,
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let hour = match (self.half, self.twelve) {
            (None, false) => self.hour,
            _ if !(1..=12).contains(&self.hour) => return None,
            (half, _) => self.hour % 12 + if half == Some(true) { 12 } else { 0 },
        };
        let time = NaiveTime::from_hms_nano_opt(hour, self.minute, self.second, self.nanos)?;
        Some(date.and_time(time))
    }
}

/// Up to `most` digits.
fn digits(text: &str, most: usize) -> Option<(&str, &str)> {
    let count = text
        .bytes()
        .take(most)
        .take_while(u8::is_ascii_digit)
        .count();
    (count > 0).then(|| text.split_at(count))
}

/// A name, whatever its case; full names are tried first unless the short one is meant.
fn name<'t>(names: &[&str], text: &'t str, short: bool) -> Option<(u32, &'t str)> {
    names.iter().enumerate().find_map(|(i, name)| {
        let wanted = if short { &name[..3] } else { name };
        let start = text.get(..wanted.len())?;
        start.eq_ignore_ascii_case(wanted).then(|| {
            (
                i as u32,
                text[wanted.len()..].trim_start_matches(if short { '\0' } else { ' ' }),
            )
        })
    })
}
