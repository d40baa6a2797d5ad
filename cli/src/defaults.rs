//! What is set often: `weir.toml` in the current folder, and `WEIR_*` in the environment.
//!
//! ```text
//!   flag  ▶  WEIR_CHECKPOINT_INTERVAL  ▶  SET in the text  ▶  weir.toml  ▶  default
//! ```
//!
//! `weir.toml` is read as far as it needs to be: comments, one section `[settings]`, and lines `key = value` with a text, a number or a truth.
//! Anything else is an error that names its line.

use std::path::Path;

use weir_planner::plan::StreamPlan;
use weir_planner::settings::SETTINGS;

use crate::exit::Failure;

const FILE: &str = "weir.toml";

/// Settings of the environment and of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    /// They win over the text's own.
    pub(crate) environment: Vec<(String, String)>,
    /// The text's own win over them.
    pub(crate) file: Vec<(String, String)>,
}

impl Defaults {
    /// Reads both.
    pub(crate) fn read() -> Result<Self, Failure> {
        let environment = SETTINGS
            .iter()
            .filter_map(|setting| {
                Some((
                    setting.key.to_owned(),
                    std::env::var(variable(setting.key)).ok()?,
                ))
            })
            .collect();
        let file = match std::fs::read_to_string(Path::new(FILE)) {
            Ok(text) => parse(&text)
                .map_err(|(line, what)| Failure::usage(format!("{FILE}:{line}: {what}")))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Failure::usage(format!("cannot read {FILE}: {error}"))),
        };
        for (key, value) in &file {
            if let Err(problem) = weir_planner::settings::check(key, value) {
                return Err(Failure::usage(format!(
                    "{FILE}: {}",
                    problem.without_place()
                )));
            }
        }
        Ok(Self { environment, file })
    }

    /// Puts those of the file where the text says nothing.
    pub(crate) fn complete(&self, plan: &mut StreamPlan) {
        for (key, value) in &self.file {
            if key == "job.name" && plan.job_name.is_none() {
                plan.job_name = Some(value.clone());
            }
            plan.settings
                .entry(key.clone())
                .or_insert_with(|| value.clone());
        }
    }
}

/// `WEIR_CHECKPOINT_INTERVAL` for `checkpoint.interval`.
fn variable(key: &str) -> String {
    let upper: String = key
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("WEIR_{upper}")
}

fn parse(text: &str) -> Result<Vec<(String, String)>, (usize, String)> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line == "[settings]" {
            continue;
        }
        let wrong = |what: &str| (number, what.to_owned());
        if line.starts_with('[') {
            return Err(wrong("there is one section, [settings]"));
        }
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| wrong("expected key = \"value\""))?;
        let key = key.trim().trim_matches('"').to_owned();
        let value = value.trim();
        let value = match value.strip_prefix('"') {
            Some(rest) => {
                let (inner, behind) = rest
                    .split_once('"')
                    .ok_or_else(|| wrong("the value's quote is never closed"))?;
                let behind = behind.trim();
                if !behind.is_empty() && !behind.starts_with('#') || inner.contains('\\') {
                    return Err(wrong("expected one text in quotes, without backslashes"));
                }
                inner.to_owned()
            }
            None => {
                let word = value.split('#').next().unwrap_or_default().trim();
                let plain = !word.is_empty()
                    && word
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
                if !plain {
                    return Err(wrong("a value is a text in quotes, a number or a truth"));
                }
                word.to_owned()
            }
        };
        found.push((key, value));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_settings_is_read_and_what_is_none_is_told_with_its_line() {
        let text =
            "# ours\n[settings]\n\"checkpoint.interval\" = \"200 ms\" # often\nparallelism = 2\n";
        assert_eq!(
            parse(text).unwrap(),
            [
                ("checkpoint.interval".to_owned(), "200 ms".to_owned()),
                ("parallelism".to_owned(), "2".to_owned())
            ]
        );
        for (text, line) in [
            ("a\n", 1),
            ("\n[other]\n", 2),
            ("a = [1]\n", 1),
            ("a = \"x\n", 1),
        ] {
            assert_eq!(parse(text).unwrap_err().0, line, "{text}");
        }
        assert_eq!(
            variable("checkpoint.min-pause"),
            "WEIR_CHECKPOINT_MIN_PAUSE"
        );
    }
}
