//! SQL as it is written here: keywords upper case, one blank where there were several, types of columns under each other.
//!
//! ```text
//!   create table t (a int,   ┐           CREATE TABLE t (a INT,
//!     long_name string)      ┘  ─▶         long_name STRING)
//! ```
//!
//! Lines are the author's: where one begins, and how far in, is kept, because a query is read by its shape. Only a statement that
//! stands on one line that is too long is broken, in front of its clauses.
//!
//! # Invariants
//! 1. Nothing but blanks, and the case of keywords that can be nothing else, is changed: the text means what it meant. Comments stay.
//! 2. A formatted text is formatted: doing it again changes nothing.

use crate::lexemes::{Lexeme, LexemeKind, lexemes, statements};

/// A statement on one line that is longer is broken in front of its clauses.
const LINE_MAX: usize = 110;

/// Words that are nothing but keywords: no column and no table is called so without quotes.
const KEYWORDS: [&str; 58] = [
    "ALL",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CREATE",
    "CROSS",
    "DESC",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "ENFORCED",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FOR",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PRIMARY",
    "RIGHT",
    "SELECT",
    "SET",
    "TABLE",
    "THEN",
    "TRUE",
    "UNION",
    "VIEW",
    "WATERMARK",
    "WHEN",
    "WHERE",
    "WITH",
];

/// In front of these a long statement is broken.
const CLAUSES: [&str; 12] = [
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "JOIN",
    "LEFT",
    "SELECT",
];

/// A line: its blanks in front, its pieces with how many blanks stand before each, and whether it goes on from the one before.
#[derive(Debug, Default)]
struct Line {
    indent: usize,
    pieces: Vec<(usize, String, LexemeKind)>,
    /// Inside a piece of several lines, or a comment: as it is.
    column: bool,
}

/// The text as it is written here.
pub fn format(sql: &str) -> String {
    let text = broken_up(sql);
    let formatted = lay_out(&text);
    // Whatever happens, the meaning stays.
    if same_pieces(sql, &formatted) {
        formatted
    } else {
        debug_assert!(false, "formatting changed a piece of {sql}");
        sql.to_owned()
    }
}

/// Whether two texts differ in nothing but blanks and the case of keywords.
fn same_pieces(one: &str, other: &str) -> bool {
    let said = |text: &str| -> Vec<String> {
        lexemes(text)
            .into_iter()
            .filter(|piece| piece.kind != LexemeKind::Blank)
            .map(|piece| {
                let written = piece.text(text).trim_end();
                match piece.kind {
                    LexemeKind::Word if is_keyword(written) => written.to_ascii_uppercase(),
                    _ => written.to_owned(),
                }
            })
            .collect()
    };
    said(one) == said(other)
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(word))
}

/// Statements that stand on one long line get lines.
fn broken_up(sql: &str) -> String {
    let mut out = sql.to_owned();
    for piece in statements(sql).into_iter().rev() {
        let statement = &sql[piece.range.clone()];
        if statement.contains('\n') || statement.chars().count() <= LINE_MAX {
            continue;
        }
        let mut depth = 0_usize;
        let mut broken = String::new();
        let mut first = true;
        for part in lexemes(statement) {
            let text = part.text(statement);
            match text {
                "(" | "[" => depth += 1,
                ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            let clause = depth == 0 && !first && part.kind == LexemeKind::Word;
            let is_clause = clause && CLAUSES.iter().any(|word| part.is(statement, word));
            // `LEFT JOIN` and `INSERT INTO t SELECT` break once.
            let after_left = broken.trim_end().to_ascii_uppercase();
            let joined = part.is(statement, "JOIN")
                && ["LEFT", "RIGHT", "FULL", "INNER", "CROSS", "OUTER"]
                    .iter()
                    .any(|word| after_left.ends_with(word));
            if is_clause && !joined && !broken.trim_end().ends_with('(') {
                broken.truncate(broken.trim_end().len());
                broken.push('\n');
            }
            broken.push_str(text);
            first = false;
        }
        out.replace_range(piece.range, &broken);
    }
    out
}

fn lay_out(sql: &str) -> String {
    let pieces = lexemes(sql);
    let mut lines = lines_of(sql, &pieces);
    align(&mut lines);
    let mut out = String::new();
    let mut empty = 0;
    for line in &lines {
        if line.pieces.is_empty() {
            empty += 1;
            continue;
        }
        if empty > 0 && !out.is_empty() {
            out.push('\n');
        }
        empty = 0;
        out.push_str(&" ".repeat(line.indent));
        for (at, (blanks, text, _)) in line.pieces.iter().enumerate() {
            if at > 0 {
                out.push_str(&" ".repeat(*blanks));
            }
            out.push_str(text);
        }
        out.truncate(out.trim_end_matches([' ', '\t']).len());
        out.push('\n');
    }
    out
}

fn lines_of(sql: &str, pieces: &[Lexeme]) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    let (mut blanks, mut at_start) = (0, true);
    // Of each open bracket, whether it holds the columns of a CREATE TABLE.
    let mut brackets: Vec<bool> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    for piece in pieces {
        let text = piece.text(sql);
        if piece.kind == LexemeKind::Blank {
            for character in text.chars() {
                match character {
                    '\n' => {
                        let column = brackets.last() == Some(&true);
                        lines.push(Line {
                            column,
                            ..Line::default()
                        });
                        (blanks, at_start) = (0, true);
                    }
                    '\t' => blanks += 2,
                    '\r' => {}
                    _ => blanks += 1,
                }
            }
            continue;
        }
        match piece.kind {
            LexemeKind::End => words.clear(),
            LexemeKind::Word if words.len() < 2 => words.push(text.to_ascii_uppercase()),
            _ => {}
        }
        match text {
            "(" => {
                let columns = brackets.is_empty() && words == ["CREATE", "TABLE"];
                if columns {
                    // Only the first pair of brackets of a statement holds columns.
                    words.push(String::new());
                }
                brackets.push(columns);
            }
            ")" => drop(brackets.pop()),
            _ => {}
        }
        let Some(line) = lines.last_mut() else { break };
        if at_start {
            line.indent = blanks;
            at_start = false;
        }
        let before = line.pieces.last();
        let wanted = gap(
            before.map(|(_, text, kind)| (text.as_str(), *kind)),
            text,
            piece.kind,
            blanks,
        );
        let written = match piece.kind {
            LexemeKind::Word if is_keyword(text) && !is_name(before) => text.to_ascii_uppercase(),
            LexemeKind::LineComment => text.trim_end().to_owned(),
            _ => text.to_owned(),
        };
        line.pieces.push((wanted, written, piece.kind));
        blanks = 0;
    }
    lines
}

/// Behind a dot stands a name, whatever it is.
fn is_name(before: Option<&(usize, String, LexemeKind)>) -> bool {
    before.is_some_and(|(_, text, _)| text == ".")
}

/// How many blanks stand between two pieces of a line.
fn gap(before: Option<(&str, LexemeKind)>, text: &str, kind: LexemeKind, blanks: usize) -> usize {
    let Some((last, last_kind)) = before else {
        return 0;
    };
    match (last, text) {
        // A comment keeps its distance: it may stand under another.
        _ if kind == LexemeKind::LineComment => blanks.max(1),
        (_, "," | ";") => 0,
        (",", _) => 1,
        ("(" | "[", _) if kind != LexemeKind::BlockComment => 0,
        (_, ")" | "]") if last_kind != LexemeKind::BlockComment => 0,
        _ => blanks.min(1),
    }
}

/// In CREATE TABLE, types stand under each other: in each run of lines `name TYPE`.
fn align(lines: &mut [Line]) {
    let mut start = 0;
    while start < lines.len() {
        let run = lines[start..]
            .iter()
            .take_while(|line| is_column(line))
            .count();
        if run > 1 {
            let widest = lines[start..start + run]
                .iter()
                .map(|line| line.pieces[0].1.chars().count())
                .max()
                .unwrap_or(0);
            for line in &mut lines[start..start + run] {
                line.pieces[1].0 = widest + 1 - line.pieces[0].1.chars().count();
            }
        }
        start += run.max(1);
    }
}

/// Whether a line is one column: a name, a type.
fn is_column(line: &Line) -> bool {
    let [first, second, ..] = line.pieces.as_slice() else {
        return false;
    };
    let name = matches!(first.2, LexemeKind::Word | LexemeKind::QuotedName)
        && !["PRIMARY", "WATERMARK", "CONSTRAINT"].contains(&first.1.to_ascii_uppercase().as_str());
    line.column && name && second.2 == LexemeKind::Word
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keywords_are_upper_case_and_columns_stand_under_each_other() {
        let sql = "create table t (\n\ta int,\n\tlong_name   string -- x  \n) with ('connector'='datagen');\n\n\nselect a ,b\nfrom t  where  t.order = 1 and \"from\" is null ;";
        let expected = "CREATE TABLE t (\n  a         int,\n  long_name string -- x\n) WITH ('connector'='datagen');\n\nSELECT a, b\nFROM t WHERE t.order = 1 AND \"from\" IS NULL;\n";
        assert_eq!(format(sql), expected);
        assert_eq!(format(expected), expected);
    }

    #[test]
    fn a_long_line_is_broken_in_front_of_its_clauses() {
        let sql = "SELECT origin, dest, count(*) AS flights FROM departures LEFT JOIN airports ON departures.origin = airports.code WHERE dest IN (SELECT code FROM airports) GROUP BY origin, dest;";
        let expected = "SELECT origin, dest, count(*) AS flights\nFROM departures\nLEFT JOIN airports ON departures.origin = airports.code\nWHERE dest IN (SELECT code FROM airports)\nGROUP BY origin, dest;\n";
        assert_eq!(format(sql), expected);
        assert_eq!(format(expected), expected);
    }

    #[test]
    fn what_is_quoted_or_commented_is_left_alone() {
        let sql = "-- select  x\nSELECT 'a  select\n  b', /* where   */ `from`  -- y\n;\n";
        let formatted = format(sql);
        assert!(formatted.contains("'a  select\n  b'"), "{formatted}");
        assert!(formatted.contains("/* where   */"), "{formatted}");
        assert_eq!(format(&formatted), formatted);
    }

    proptest! {
        #[test]
        fn formatting_twice_is_formatting_once(sql in r#"(select|from|t|,|\(|\)|'a b'|"x"|-- c\n|\n| |;|/\* c \*/|1|\.|create table|int){0,30}"#) {
            let once = format(&sql);
            prop_assert_eq!(format(&once), once.clone());
            prop_assert!(same_pieces(&sql, &once), "{} became {}", sql, once);
        }
    }
}
