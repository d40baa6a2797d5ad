//! Places in a SQL text.

use serde::{Deserialize, Serialize};

/// A place in a text: line and column, both counted from 1; columns count characters.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Location {
    /// Line, from 1. Zero means "unknown".
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A stretch of a SQL text, the end exclusive. The default span is "nowhere".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First character.
    pub start: Location,
    /// One past the last character.
    pub end: Location,
}

impl Span {
    /// A span from line and column to line and column (end exclusive).
    pub fn new(start: (u32, u32), end: (u32, u32)) -> Self {
        Self {
            start: Location {
                line: start.0,
                column: start.1,
            },
            end: Location {
                line: end.0,
                column: end.1,
            },
        }
    }

    /// The place of bytes in a text, as people count; what lies behind the text is its end.
    pub fn of_bytes(text: &str, range: std::ops::Range<usize>) -> Self {
        let place = |at: usize| {
            let before = &text[..at.min(text.len())];
            let line = before.matches('\n').count() as u32 + 1;
            let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
            (line, before[begin..].chars().count() as u32 + 1)
        };
        Self::new(place(range.start), place(range.end))
    }

    /// Whether the span points at nothing.
    pub fn is_empty(&self) -> bool {
        self.start.line == 0
    }

    /// The smallest span that covers both; an empty one is ignored.
    pub fn union(self, other: Self) -> Self {
        if self.is_empty() {
            other
        } else if other.is_empty() {
            self
        } else {
            Self {
                start: self.start.min(other.start),
                end: self.end.max(other.end),
            }
        }
    }
}
