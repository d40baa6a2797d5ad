//! One statement behind what the session knows: the text that is planned, and places moved back to what was typed.
//!
//! ```text
//!   CREATE TABLE a …          ┐
//!   ;                         │ what the session knows: `before` lines
//!   SET 'parallelism' = '2'   ┘
//!   ;
//!   SELECT … FROM a           ◀─ what was typed, at its own line and column
//! ```
//!
//! A text is planned whole, and nothing outlives it (the planner's rule): so a session keeps declarations as text.

use weir_types::{Diagnostic, Diagnostics, Span};

use crate::Error;

/// A text to plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    pub(super) text: String,
    /// Lines in front of what was typed.
    before: u32,
    /// First line and text of each declaration in front.
    declarations: Vec<(u32, String)>,
}

impl Script {
    /// `typed`, whose statement stands at `range`, behind declarations.
    pub(super) fn new<'a>(
        declarations: impl Iterator<Item = &'a str>,
        typed: &str,
        range: std::ops::Range<usize>,
    ) -> Self {
        let (mut text, mut line, mut known) = (String::new(), 1, Vec::new());
        for declaration in declarations {
            known.push((line, declaration.to_owned()));
            text.push_str(declaration);
            // A comment at the end of a declaration must not hide its end.
            text.push_str("\n;\n");
            line += 2 + declaration.matches('\n').count() as u32;
        }
        // What stands before the statement is blank, so that places are those of the whole text.
        text.extend(
            typed[..range.start]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' }),
        );
        text.push_str(&typed[range]);
        Self {
            text,
            before: line - 1,
            declarations: known,
        }
    }

    /// A diagnostic about what was typed; of a declaration it says which.
    pub(super) fn diagnostic(&self, mut found: Diagnostic) -> Diagnostic {
        let mut elsewhere = None;
        found.labels.retain_mut(|label| {
            let line = label.span.start.line;
            if label.span.is_empty() || line > self.before {
                self.shift(&mut label.span);
                return true;
            }
            elsewhere = self
                .declarations
                .iter()
                .rev()
                .find(|(first, _)| *first <= line)
                .map(|(_, text)| (text.clone(), label.text.clone()));
            false
        });
        if let Some((declaration, what)) = elsewhere {
            let first = declaration.lines().next().unwrap_or_default().to_owned();
            found = found.help(format!("this is about `{first}` of this session: {what}"));
        }
        found
    }

    /// Only what is about the statement itself: the rest was said when it was declared.
    pub(super) fn warnings(&self, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
        found
            .into_iter()
            .filter(|warning| {
                warning.labels.first().is_none_or(|label| {
                    label.span.is_empty() || label.span.start.line > self.before
                })
            })
            .map(|warning| self.diagnostic(warning))
            .collect()
    }

    fn shift(&self, span: &mut Span) {
        for place in [&mut span.start, &mut span.end] {
            if place.line > 0 {
                place.line = place.line.saturating_sub(self.before);
            }
        }
    }

    /// Diagnostics about what was typed.
    pub(super) fn diagnostics(&self, found: Diagnostics) -> Diagnostics {
        Diagnostics(
            found
                .0
                .into_iter()
                .map(|found| self.diagnostic(found))
                .collect(),
        )
    }

    /// An error of a job about what was typed.
    pub(super) fn moved(&self, error: Error) -> Error {
        match error {
            Error::Plan(found) => Error::Plan(self.diagnostics(found)),
            Error::Connector(weir_connectors::Error::Diagnostic(found)) => Error::Connector(
                weir_connectors::Error::Diagnostic(Box::new(self.diagnostic(*found))),
            ),
            Error::Row(mut row) => {
                if row.span.start.line > self.before {
                    self.shift(&mut row.span);
                } else {
                    row.span = Span::default();
                }
                Error::Row(row)
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_what_was_typed() {
        let typed = "SELECT 1;\n SELECT x;";
        let script = Script::new(
            ["CREATE TABLE t\n(a INT)", "SET 'a' = 'b' -- c"].into_iter(),
            typed,
            11..20,
        );
        assert_eq!(
            script.text,
            "CREATE TABLE t\n(a INT)\n;\nSET 'a' = 'b' -- c\n;\n         \n SELECT x;"
        );
        let at =
            |line| Diagnostic::error("R0010", "x").at(Span::new((line, 9), (line, 10)), "here");
        let moved = script.diagnostic(at(7));
        assert_eq!(moved.labels[0].span.start.line, 2);
        let moved = script.diagnostic(at(2));
        assert!(moved.labels.is_empty());
        assert!(moved.help[0].contains("CREATE TABLE t"), "{moved:?}");
        assert_eq!(script.warnings(vec![at(2), at(7)]).len(), 1);
    }
}
