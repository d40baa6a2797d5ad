//! The pieces of a SQL text, all of them: for whoever looks at a text without running it.
//!
//! ```text
//!   SELECT 'a;b', x -- why
//!   Word  ␣ Text  , ␣ Word ␣ LineComment
//! ```
//!
//! An editor colours by them, the formatter moves them, a session cuts a script at `;` by them. The parser has tokens of
//! its own: it wants no blanks and may refuse; this never refuses.
//!
//! # Invariants
//! 1. The pieces, one after another, are the text: nothing is lost, and none is empty.
//! 2. What is not closed (a quote, a comment) reaches to the end of the text, and says so.

use std::ops::Range;

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexemeKind {
    /// Blanks and line ends.
    Blank,
    /// `-- …` up to the end of the line, which is not part of it.
    LineComment,
    /// `/* … */`, nested ones within.
    BlockComment,
    /// `/*+ … */`.
    Hint,
    /// A keyword or a name without quotes.
    Word,
    /// A name in double quotes or backticks.
    QuotedName,
    /// A text in single quotes.
    Text,
    /// Digits, and what belongs to a number.
    Number,
    /// `( ) [ ] { }`.
    Bracket,
    /// `;`.
    End,
    /// Anything else: operators and `,`.
    Symbol,
}

/// One piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lexeme {
    /// What it is.
    pub kind: LexemeKind,
    /// Its bytes in the text.
    pub range: Range<usize>,
    /// False for a quote or a comment that the text ends in.
    pub closed: bool,
}

impl Lexeme {
    /// The piece itself.
    pub fn text<'a>(&self, sql: &'a str) -> &'a str {
        &sql[self.range.clone()]
    }

    /// Whether it is this keyword, in any case.
    pub fn is(&self, sql: &str, word: &str) -> bool {
        self.kind == LexemeKind::Word && self.text(sql).eq_ignore_ascii_case(word)
    }

    /// Whether it says nothing to the parser.
    pub fn is_silent(&self) -> bool {
        matches!(
            self.kind,
            LexemeKind::Blank | LexemeKind::LineComment | LexemeKind::BlockComment
        )
    }
}

/// Operators of more than one character, longest first.
const SYMBOLS: [&str; 22] = [
    "<=>", "->>", "!~*", "~*", "||", "<>", "!=", "<=", ">=", "=>", "->", "::", "!~", "==", "//",
    "&&", "<<", ">>", "#>", "@>", "<@", "**",
];

/// Cuts a text into its pieces.
pub fn lexemes(sql: &str) -> Vec<Lexeme> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < sql.len() {
        let (kind, length, closed) = next(&sql[at..]);
        debug_assert!(length > 0, "a piece has at least one character");
        pieces.push(Lexeme {
            kind,
            range: at..at + length,
            closed,
        });
        at += length;
    }
    pieces
}

/// Kind, length in bytes, and whether it is closed, of what the text begins with.
fn next(text: &str) -> (LexemeKind, usize, bool) {
    let Some(first) = text.chars().next() else {
        return (LexemeKind::Blank, 0, true);
    };
    let whole = |kind, length| (kind, length, true);
    match first {
        '-' if text.starts_with("--") => whole(
            LexemeKind::LineComment,
            text.find('\n').unwrap_or(text.len()),
        ),
        '/' if text.starts_with("/*") => {
            let kind = if text.starts_with("/*+") {
                LexemeKind::Hint
            } else {
                LexemeKind::BlockComment
            };
            let (length, closed) = comment(text);
            (kind, length, closed)
        }
        '\'' => quoted(LexemeKind::Text, text, '\''),
        '"' => quoted(LexemeKind::QuotedName, text, '"'),
        '`' => quoted(LexemeKind::QuotedName, text, '`'),
        ';' => whole(LexemeKind::End, 1),
        '(' | ')' | '[' | ']' | '{' | '}' => whole(LexemeKind::Bracket, 1),
        _ if first.is_whitespace() => {
            whole(LexemeKind::Blank, while_length(text, char::is_whitespace))
        }
        _ if first.is_ascii_digit()
            || first == '.' && text[1..].starts_with(|c: char| c.is_ascii_digit()) =>
        {
            whole(LexemeKind::Number, number(text))
        }
        _ if is_word(first) => whole(LexemeKind::Word, while_length(text, is_word)),
        _ => {
            let long = SYMBOLS.iter().find(|symbol| text.starts_with(**symbol));
            whole(
                LexemeKind::Symbol,
                long.map_or(first.len_utf8(), |symbol| symbol.len()),
            )
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

fn while_length(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !belongs(c)).unwrap_or(text.len())
}

/// Digits, a fraction, an exponent; `0x…` too.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let exponent = matches!(bytes[at], b'+' | b'-')
            && at > 0
            && matches!(bytes[at - 1], b'e' | b'E')
            && !text.starts_with("0x");
        if bytes[at].is_ascii_alphanumeric() || bytes[at] == b'.' || bytes[at] == b'_' || exponent {
            at += 1;
        } else {
            break;
        }
    }
    at
}

/// A quoted piece; a doubled quote does not end it.
fn quoted(kind: LexemeKind, text: &str, quote: char) -> (LexemeKind, usize, bool) {
    let mut rest = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = rest.next() {
        if character == quote && rest.next_if(|(_, next)| *next == quote).is_none() {
            return (kind, at + 1, true);
        }
    }
    (kind, text.len(), false)
}

/// A block comment with those that it holds.
fn comment(text: &str) -> (usize, bool) {
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = text.as_bytes();
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return (at, true);
                }
            }
            _ => at += 1,
        }
    }
    (text.len(), false)
}

/// A statement within a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// From its first word to its `;`, or to the end of the text.
    pub range: Range<usize>,
    /// Whether its `;` is there.
    pub ended: bool,
}

/// Cuts a script into its statements. `BEGIN STATEMENT SET; … END;` is one. Comments between two statements belong to the
/// second one; nothing but blanks and comments is no statement.
pub fn statements(sql: &str) -> Vec<Piece> {
    let pieces = lexemes(sql);
    let mut found = Vec::new();
    // Words of the statement so far, up to four: they decide whether a set opens or closes.
    let mut words: Vec<String> = Vec::new();
    let (mut start, mut in_set) = (None::<usize>, false);
    for piece in &pieces {
        if piece.is_silent() {
            continue;
        }
        let from = *start.get_or_insert(piece.range.start);
        if piece.kind != LexemeKind::End {
            if words.len() < 4 {
                words.push(piece.text(sql).to_ascii_uppercase());
            }
            continue;
        }
        let said: Vec<&str> = words.iter().map(String::as_str).collect();
        match said.as_slice() {
            ["BEGIN", "STATEMENT", "SET", ..] | ["EXECUTE", "STATEMENT", "SET", ..] => {
                in_set = true
            }
            ["END", ..] => in_set = false,
            _ => {}
        }
        words.clear();
        if !in_set {
            found.push(Piece {
                range: from..piece.range.end,
                ended: true,
            });
            start = None;
        }
    }
    if let Some(from) = start {
        let last = pieces.iter().rev().find(|piece| !piece.is_silent());
        found.push(Piece {
            range: from..last.map_or(sql.len(), |piece| piece.range.end),
            ended: false,
        });
    }
    // A `;` alone says nothing.
    found.retain(|piece| sql[piece.range.clone()].trim() != ";");
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(sql: &str) -> Vec<(LexemeKind, &str)> {
        lexemes(sql)
            .iter()
            .filter(|piece| piece.kind != LexemeKind::Blank)
            .map(|piece| (piece.kind, piece.text(sql)))
            .collect()
    }

    #[test]
    fn quotes_and_comments_hide_what_is_in_them() {
        use LexemeKind::*;
        assert_eq!(
            kinds("SELECT 'a;''b', \"c\"\"d\" /* /* ; */ */ -- ; \n, 1.5e-3::INT"),
            [
                (Word, "SELECT"),
                (Text, "'a;''b'"),
                (Symbol, ","),
                (QuotedName, "\"c\"\"d\""),
                (BlockComment, "/* /* ; */ */"),
                (LineComment, "-- ; "),
                (Symbol, ","),
                (Number, "1.5e-3"),
                (Symbol, "::"),
                (Word, "INT"),
            ]
        );
        assert!(!lexemes("SELECT 'a").last().unwrap().closed);
        assert!(!lexemes("/* a").last().unwrap().closed);
        assert_eq!(kinds("/*+ ID('a') */")[0].0, Hint);
    }

    #[test]
    fn a_script_is_cut_at_the_ends_of_its_statements() {
        let sql = "-- first\nSELECT ';' ;; SET 'a' = 'b'; /* x */ BEGIN STATEMENT SET; INSERT INTO t SELECT 1; END; SELECT";
        let cut: Vec<(&str, bool)> = statements(sql)
            .into_iter()
            .map(|piece| (&sql[piece.range], piece.ended))
            .collect();
        assert_eq!(
            cut,
            [
                ("SELECT ';' ;", true),
                ("SET 'a' = 'b';", true),
                ("BEGIN STATEMENT SET; INSERT INTO t SELECT 1; END;", true),
                ("SELECT", false),
            ]
        );
        assert!(statements("-- nothing\n").is_empty());
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_text(sql in r#"[a-z0-9 '"`/*+;().\n\-eé表]{0,40}"#) {
            let joined: String = lexemes(&sql).iter().map(|piece| piece.text(&sql)).collect();
            prop_assert_eq!(joined, sql);
        }
    }
}
