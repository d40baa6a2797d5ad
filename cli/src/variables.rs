//! `${NAME}` and `${NAME:-default}` in query files: filled in before the text is planned.
//!
//! ```text
//!   --set NAME=value   wins over   the environment's NAME   wins over   ${NAME:-default}
//! ```
//!
//! `$${` is a `${` that stays. Variables are text: what they hold is read as if it had been written there, quotes and all. The
//! name of a variable is letters, digits and `_`, and that of a setting has a dot or is lower case: `--set` tells them by that.

use weir_types::{Diagnostic, Diagnostics, Span};

/// Whether a name of `--set` is a variable's: upper case.
pub(crate) fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// The text with its variables filled in.
///
/// # Errors
/// Variables that have no value, each with its place.
pub(crate) fn fill(
    sql: &str,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Diagnostics> {
    let mut out = String::with_capacity(sql.len());
    let mut problems = Vec::new();
    let mut rest = sql;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let place = sql.len() - from.len();
        let Some(end) = from.find('}') else {
            problems.push(problem(sql, place, 2, "a `${` is never closed".to_owned()));
            rest = "";
            break;
        };
        let inner = &from[2..end];
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        rest = &from[end + 1..];
        // `${1}` is a group of a regular expression.
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_digit()) {
            out.push_str(&from[..=end]);
            continue;
        }
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !named {
            problems.push(problem(
                sql,
                place,
                end + 1,
                format!("`{name}` is no name of a variable"),
            ));
        } else if let Some(value) = value_of(name).or_else(|| default.map(str::to_owned)) {
            out.push_str(&value);
        } else {
            problems.push(problem(
                sql,
                place,
                end + 1,
                format!("the variable `{name}` has no value"),
            ));
        }
    }
    out.push_str(rest);
    if problems.is_empty() {
        Ok(out)
    } else {
        Err(Diagnostics(problems))
    }
}

fn problem(sql: &str, at: usize, length: usize, message: String) -> Diagnostic {
    let span = Span::of_bytes(sql, at..at + length);
    Diagnostic::error("R0014", message)
        .at(span, "not known")
        .help("give it with --set NAME=value or in the environment, or write a default: ${NAME:-value}")
        .help("a `${` that is meant as it stands is written `$${`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Option<String> {
        (name == "CITY").then(|| "Oslo".to_owned())
    }

    #[test]
    fn variables_are_filled_in_and_defaults_hold_where_there_is_none() {
        let filled = fill(
            "SELECT '${CITY}', ${LIMIT:-10}, '$${CITY}', '$', '${1}'",
            &value,
        )
        .unwrap();
        assert_eq!(filled, "SELECT 'Oslo', 10, '${CITY}', '$', '${1}'");
        assert!(is_variable("CITY_2") && !is_variable("state.dir") && !is_variable("parallelism"));
    }

    #[test]
    fn every_variable_without_a_value_is_told_with_its_place() {
        let told = fill("SELECT\n  ${NONE}, ${A-B}, ${", &value).unwrap_err();
        assert_eq!(told.0.len(), 3);
        assert_eq!(told.0[0].labels[0].span, Span::new((2, 3), (2, 10)));
    }
}
