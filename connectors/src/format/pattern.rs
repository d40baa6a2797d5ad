//! Lines cut by a regular expression: `'format' = 'text', 'text.pattern' = '(?<ip>\S+) .* (?<status>\d+)'`.
//!
//! A line that does not match is a malformed record. Groups are found by the names of columns, and one without a name by
//! its position; a group that took no part in the match is NULL.

use regex::Regex;
use weir_types::{Column, Diagnostic};

use super::columns::ColumnBuilder;
use super::{Malformed, TEXT_PATTERN};
use crate::table::{Role, TableRequest};

/// The names of the columns that a pattern gives.
pub(crate) fn group_names(pattern: &str) -> Result<Vec<String>, String> {
    let regex = Regex::new(pattern)
        .map_err(|error| format!("the pattern cannot be read: {}", first_words(&error)))?;
    let names: Vec<String> = regex
        .capture_names()
        .enumerate()
        .skip(1)
        .map(|(number, name)| name.map_or_else(|| format!("column{number}"), str::to_owned))
        .collect();
    if names.is_empty() {
        return Err(
            "the pattern has no group, and so gives no column: put what you want between ( and )"
                .to_owned(),
        );
    }
    Ok(names)
}

/// The library draws a picture of several lines; its last one says what is wrong.
fn first_words(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix("error: ").map(str::to_owned))
        .unwrap_or_else(|| text.lines().last().unwrap_or_default().trim().to_owned())
}

/// What is wrong with the pattern and its columns.
pub(super) fn check(request: &TableRequest, role: Role, columns: &[Column]) -> Vec<Diagnostic> {
    let Some(pattern) = request.options.get(TEXT_PATTERN.key) else {
        return Vec::new();
    };
    let span = request.option_span(TEXT_PATTERN.key);
    if role == Role::Sink {
        let message = "a table with a pattern cannot be written";
        return vec![
            Diagnostic::error("C0008", message)
                .at(
                    span,
                    "a pattern takes lines apart, and does not put them together",
                )
                .help(
                    "write with 'format' = 'csv' or 'json', or one STRING column without a pattern",
                ),
        ];
    }
    let names = match group_names(pattern) {
        Ok(names) => names,
        Err(why) => {
            return vec![
                Diagnostic::error("C0003", why)
                    .at(span, "expected a regular expression with groups")
                    .help("for example '(?<ip>\\S+) (?<status>\\d+)'"),
            ];
        }
    };
    columns
        .iter()
        .enumerate()
        .filter(|(place, column)| group_of(&names, *place, column).is_none())
        .map(|(_, column)| {
            Diagnostic::error(
                "C0007",
                format!("no group of the pattern is called `{}`", column.external()),
            )
            .at(span, format!("its groups are {}", names.join(", ")))
            .help("name the group: (?<name>…); or declare as many columns as there are groups")
        })
        .collect()
}

/// The group of a column: by name; by place, if the group there has no name.
fn group_of(names: &[String], place: usize, column: &Column) -> Option<usize> {
    names
        .iter()
        .position(|name| name == column.external())
        .or_else(|| {
            let unnamed = names
                .get(place)
                .is_some_and(|name| *name == format!("column{}", place + 1));
            unnamed.then_some(place)
        })
}

/// Takes lines apart.
pub(super) struct PatternDecoder {
    /// `check` has read the pattern; `None` would be a mistake of ours, and every line is then malformed.
    regex: Option<Regex>,
    /// Of each column asked for, the number of its group.
    groups: Vec<usize>,
}

impl PatternDecoder {
    pub(super) fn new(pattern: &str, request: &TableRequest) -> Self {
        let names = group_names(pattern).unwrap_or_default();
        let place = |column: &Column| {
            let declared = request
                .declared
                .iter()
                .position(|other| other.name == column.name);
            group_of(&names, declared.unwrap_or(usize::MAX), column).unwrap_or(usize::MAX - 1) + 1
        };
        Self {
            regex: Regex::new(pattern).ok(),
            groups: request.columns.iter().map(place).collect(),
        }
    }

    pub(super) fn decode(
        &mut self,
        line: &str,
        columns: &mut [ColumnBuilder],
    ) -> Result<(), Malformed> {
        let captures = self
            .regex
            .as_ref()
            .and_then(|regex| regex.captures(line))
            .ok_or_else(|| Malformed::new(0, "the line does not match the pattern"))?;
        for (column, group) in columns.iter_mut().zip(&self.groups) {
            let found = captures.get(*group);
            match found {
                Some(text) => column
                    .append_text(text.as_str())
                    .map_err(|reason| Malformed::new(text.start(), reason))?,
                None => column
                    .append_null()
                    .map_err(|reason| Malformed::new(0, reason))?,
            }
        }
        Ok(())
    }
}
