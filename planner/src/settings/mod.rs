//! The settings of a job: what `SET 'key' = 'value'` and the command's flags may say.
//!
//! One table ([`SETTINGS`]) holds key, default, form and meaning of each; `docs/settings.md` is generated from it.
//! Durations and sizes are written as people write them: `200ms`, `10 s`, `1 min 30 s`, `64MB`, `64 MiB`.

mod quantity;
mod table;

use weir_types::{Diagnostic, Span};

use crate::codes;
pub use quantity::{parse_bytes, parse_duration};
pub use table::SETTINGS;

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name, lower case.
    pub key: &'static str,
    /// What holds without it, as text; in parentheses where it follows from something else.
    pub default: &'static str,
    /// What its value has to look like.
    pub form: Form,
    /// What it does, and what gets worse if it is set too low or too high.
    pub help: &'static str,
}

/// The form of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A time greater than zero.
    Duration,
    /// A time; zero turns the thing off.
    DurationOrOff,
    /// A time greater than zero, or this word.
    DurationOrWord(&'static str),
    /// A number of bytes, at least so many.
    Bytes(u64),
    /// A whole number from … to ….
    Number(u64, u64),
    /// A whole number from … to …, or this word.
    NumberOr(u64, u64, &'static str),
    /// Any text that is not empty.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words, or this prefix and something behind it.
    ChoiceOrPrefix(&'static [&'static str], &'static str),
    /// A time zone.
    Zone,
}

/// What is wrong with a key or its value.
#[derive(Clone, Debug)]
pub struct Problem {
    diagnostic: Diagnostic,
    label: String,
    at_value: bool,
}

impl Problem {
    /// The diagnostic, at the key or at the value.
    pub fn diagnostic(mut self, key: Span, value: Span) -> Diagnostic {
        let label = weir_types::Label {
            span: if self.at_value { value } else { key },
            text: self.label,
        };
        self.diagnostic.labels.insert(0, label);
        self.diagnostic
    }

    /// The diagnostic for a setting that came from a flag: it has no place in a text.
    pub fn without_place(self) -> Diagnostic {
        self.diagnostic
    }
}

/// Whether `key` is a setting and `value` has its form.
///
/// # Errors
/// What is wrong, with the nearest key or the form that is expected.
pub fn check(key: &str, value: &str) -> Result<(), Problem> {
    let Some(setting) = find(key) else {
        let near = nearest(key, SETTINGS.iter().map(|setting| setting.key));
        let diagnostic = Diagnostic::error(
            codes::UNKNOWN_SETTING,
            format!("there is no setting '{key}'"),
        );
        let diagnostic = match (crate::settings_elsewhere::spelled_here(key), near) {
            (Some(help), _) => diagnostic.help(help),
            (None, Some(near)) => diagnostic.nearest(Some(near)),
            (None, None) => diagnostic.help("docs/settings.md lists all settings"),
        };
        return Err(Problem {
            diagnostic,
            label: "unknown".to_owned(),
            at_value: false,
        });
    };
    let wrong = |code, message: String, help: String| Problem {
        diagnostic: Diagnostic::error(code, message).help(help),
        label: setting.form.describe(),
        at_value: true,
    };
    let misfit = || {
        wrong(
            codes::SETTING_VALUE,
            format!("'{value}' is no value of '{key}'"),
            format!("for example SET '{key}' = '{}'", setting.form.example()),
        )
    };
    let fits = match setting.form {
        Form::Duration => parse_duration(value).is_some_and(|duration| !duration.is_zero()),
        Form::DurationOrOff => parse_duration(value).is_some(),
        Form::DurationOrWord(word) => {
            value == word || parse_duration(value).is_some_and(|duration| !duration.is_zero())
        }
        Form::Bytes(least) => parse_bytes(value).is_some_and(|bytes| bytes >= least),
        Form::Number(least, most) => value
            .trim()
            .parse::<u64>()
            .is_ok_and(|number| (least..=most).contains(&number)),
        Form::NumberOr(least, most, word) => {
            value == word
                || value
                    .trim()
                    .parse::<u64>()
                    .is_ok_and(|number| (least..=most).contains(&number))
        }
        Form::Text => !value.trim().is_empty(),
        Form::Choice(words) => words.contains(&value),
        Form::ChoiceOrPrefix(words, prefix) => {
            let behind = value.strip_prefix(prefix);
            words.contains(&value) || behind.is_some_and(|behind| !behind.trim().is_empty())
        }
        Form::Zone => crate::functions::parse_zone(value).is_ok(),
    };
    if fits {
        return Ok(());
    }
    let mut problem = misfit();
    if let Form::Choice(words) | Form::ChoiceOrPrefix(words, _) = setting.form {
        problem.diagnostic = problem
            .diagnostic
            .nearest(nearest(value, words.iter().copied()));
    }
    Err(problem)
}

/// The tables into which a job writes rows that are left out: what for (a setting's key) and the table's name.
pub fn tables_beside(
    settings: &std::collections::BTreeMap<String, String>,
) -> impl Iterator<Item = (&'static str, &str)> {
    let failed = settings.get("row.error");
    let failed = failed.and_then(|value| value.strip_prefix("dead-letter:"));
    let late = settings.get("late.table").map(String::as_str);
    [("row.error", failed), ("late.table", late)]
        .into_iter()
        .filter_map(|(key, table)| Some((key, table?.trim())))
}

/// The setting of that key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

impl Form {
    /// The form in a few words.
    pub fn describe(&self) -> String {
        match self {
            Self::Duration => {
                "expected a time greater than zero: `200ms`, `10 s`, `1 min`".to_owned()
            }
            Self::DurationOrOff => {
                "expected a time: `200ms`, `10 s`, `1 min`; `0 s` turns it off".to_owned()
            }
            Self::DurationOrWord(word) => {
                format!("expected a time greater than zero, or '{word}': `12 h`, `1 day`, `{word}`")
            }
            Self::Bytes(least) => format!(
                "expected a size of at least {} MiB: `64MB`, `64 MiB`, `1 GiB`",
                least >> 20
            ),
            Self::Number(least, most) => format!("expected a whole number from {least} to {most}"),
            Self::NumberOr(least, most, word) => {
                format!("expected a whole number from {least} to {most}, or '{word}'")
            }
            Self::Text => "expected a text that is not empty".to_owned(),
            Self::Choice(words) => {
                format!("expected {}", quoted(words))
            }
            Self::ChoiceOrPrefix(words, prefix) => {
                format!("expected {}, or '{prefix}TABLE'", quoted(words))
            }
            Self::Zone => "expected a time zone: a name or an offset".to_owned(),
        }
    }

    fn example(&self) -> &'static str {
        match self {
            Self::Duration | Self::DurationOrOff => "10 s",
            Self::DurationOrWord(_) => "1 day",
            Self::Bytes(_) => "64 MiB",
            Self::Number(..) | Self::NumberOr(..) => "4",
            Self::Text => "nightly",
            Self::Choice(words) | Self::ChoiceOrPrefix(words, _) => words[0],
            Self::Zone => "Europe/Oslo",
        }
    }
}

/// `'a', 'b' or 'c'`.
fn quoted(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        all => all.join(""),
    }
}

/// The known name that `name` is most likely a slip of, if one is near enough.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 4);
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= limit && distance < candidate.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The reference page, `docs/settings.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Settings\n\n<!-- Generated from planner/src/settings/table.rs: UPDATE=1 cargo test rewrites it. -->\n\n\
         `SET 'key' = 'value';` in a query file, or `--set KEY=VALUE` on the command line, which wins. A setting holds for the whole job,\n\
         wherever in the file it stands. Times are written `200ms`, `10 s`, `1 min 30 s`; sizes `64MB` or `64 MiB` (units are powers of 1024).\n\n",
    );
    for setting in SETTINGS {
        let default = setting.default.trim_matches(['(', ')']);
        let default = if default.contains('`') || setting.default.starts_with('(') {
            default.to_owned()
        } else {
            format!("`{default}`")
        };
        page.push_str(&format!(
            "## `{}`\n\n{}\n\nDefault: {default}. {}.\n\n",
            setting.key,
            setting.help,
            capitalized(&setting.form.describe())
        ));
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_that_is_a_value_has_the_form_of_its_setting() {
        for setting in SETTINGS {
            if !setting.default.starts_with(['(', '`']) {
                assert!(
                    check(setting.key, setting.default).is_ok(),
                    "{}",
                    setting.key
                );
            }
            assert!(
                check(setting.key, setting.form.example()).is_ok(),
                "{}",
                setting.key
            );
        }
    }

    #[test]
    fn slips_in_keys_and_values_are_told() {
        let text = |key, value| check(key, value).unwrap_err().without_place().to_string();
        assert!(text("checkpoint.intervall", "1 s").contains("did you mean `checkpoint.interval`"));
        assert!(text("checkpoint.interval", "often").starts_with("[P0021]"));
        assert!(text("checkpoint.interval", "0 s").starts_with("[P0021]"));
        assert!(text("state.backend", "roksdb").contains("did you mean"));
        assert!(text("state.memory", "1 KB").starts_with("[P0021]"));
        assert!(text("row.error", "dead-letter:").starts_with("[P0021]"));
        assert!(check("row.error", "dead-letter:bad").is_ok());
        assert!(text("time.zone", "Mars/Olympus").starts_with("[P0021]"));
        assert!(text("parallelism", "0").starts_with("[P0021]"));
    }

    #[test]
    fn the_reference_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            reference(),
            "UPDATE=1 rewrites docs/settings.md"
        );
    }
}
