//! What a user can fix: a message with its place in the SQL and a way out.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Span;

/// A stable code such as `P0012`; each has a page in `docs/errors`.
pub type Code = &'static str;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing can run.
    Error,
    /// It runs, but look.
    Warning,
}

/// A place, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What, in a few words.
    pub text: String,
}

/// A mistake or a warning, for the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The stable code.
    pub code: String,
    /// First line: lower case, no full stop, no inner names.
    pub message: String,
    /// Places; the first is the main one.
    pub labels: Vec<Label>,
    /// Ways out.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error without a place yet.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: code.to_owned(),
            message: message.into(),
            labels: Vec::new(),
            help: Vec::new(),
        }
    }

    /// A warning without a place yet.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    /// Adds a place and what is wrong there.
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// Adds a way out.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// Adds "did you mean …" when there is a near name.
    pub fn nearest(self, nearest: Option<impl fmt::Display>) -> Self {
        match nearest {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// The message with the lines of `source` that it points at; `name` is the file's.
    pub fn render(&self, name: &str, source: &str) -> String {
        use fmt::Write;
        let kind = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut out = format!("{kind}[{}]: {}\n", self.code, self.message);
        let places: Vec<_> = self
            .labels
            .iter()
            .filter(|label| !label.span.is_empty())
            .collect();
        let width = places
            .iter()
            .map(|l| l.span.start.line.to_string().len())
            .max()
            .unwrap_or(1);
        for (i, label) in places.iter().enumerate() {
            let Span { start, end } = label.span;
            let arrow = if i == 0 { "-->" } else { ":::" };
            let _ = writeln!(
                out,
                "{:width$}{arrow} {name}:{}:{}",
                "",
                start.line,
                start.column,
                width = width + 1
            );
            let Some(line) = source.lines().nth(start.line as usize - 1) else {
                continue;
            };
            let line = line.replace('\t', " ");
            let last = if end.line == start.line {
                end.column
            } else {
                line.chars().count() as u32 + 1
            };
            let marks = last.saturating_sub(start.column).max(1) as usize;
            let _ = writeln!(out, "{:width$} |", "", width = width + 1);
            let _ = writeln!(out, " {:>width$} | {line}", start.line);
            let pad = " ".repeat(start.column.saturating_sub(1) as usize);
            let text = format!("{pad}{} {}", "^".repeat(marks), label.text);
            let _ = writeln!(
                out,
                "{:width$} | {}",
                "",
                text.trim_end(),
                width = width + 1
            );
        }
        if !places.is_empty() && !self.help.is_empty() {
            let _ = writeln!(out, "{:width$} |", "", width = width + 1);
        }
        for help in &self.help {
            let _ = writeln!(out, "{:width$} = help: {help}", "", width = width + 1);
        }
        out
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.code, self.message)?;
        if let Some(label) = self.labels.iter().find(|label| !label.span.is_empty()) {
            write!(
                f,
                " at line {}, column {}",
                label.span.start.line, label.span.start.column
            )?;
            if !label.text.is_empty() {
                write!(f, ": {}", label.text)?;
            }
        }
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

impl std::error::Error for Diagnostic {}

/// Every mistake that was found, not only the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl Diagnostics {
    /// All messages, rendered one after another with an empty line between.
    pub fn render(&self, name: &str, source: &str) -> String {
        self.0
            .iter()
            .map(|diagnostic| diagnostic.render(name, source))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_shows_the_line_and_the_way_out() {
        let text = Diagnostic::error("P0001", "no column `prise`")
            .at(Span::new((2, 3), (2, 8)), "not found here")
            .nearest(Some("price"))
            .render("q.sql", "SELECT\n  prise\nFROM bids");
        let expected = "error[P0001]: no column `prise`
  --> q.sql:2:3
   |
 2 |   prise
   |   ^^^^^ not found here
   |
   = help: did you mean `price`?
";
        assert_eq!(text, expected);
    }
}
