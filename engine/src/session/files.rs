//! Files as tables: `FROM 'logs/*.json'`, `read_csv('a.csv', header => false)`, `CREATE TABLE t FROM 'a.csv'`.
//!
//! ```text
//!   SELECT … FROM 'data/flights.csv' f
//!        │ looked at before it is planned: the planner opens nothing
//!        ▼
//!   CREATE TABLE flights (…) WITH ('connector' = 'filesystem', …);      declared in front
//!   SELECT … FROM "flights"          f                                  as long as what was written: places stay
//! ```
//!
//! A file stands where a table can: behind FROM or JOIN of a query, or behind a comma there. The table is called after the file,
//! so that its columns can be qualified, and its operators have names that do not depend on the folder.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use weir_connectors::{Asked, FileKind, infer_files};
use weir_planner::lexemes::{Lexeme, LexemeKind, lexemes};
use weir_types::{Diagnostic, Diagnostics, Span};

use crate::declaration::{declaration, unquoted};

/// A text without files in it, and what has to be declared in front of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The text with names of tables.
    pub text: String,
    /// Name and CREATE TABLE of each.
    pub declarations: Vec<(String, String)>,
}

/// A file in a text.
#[derive(Clone, Debug)]
struct Mention {
    range: Range<usize>,
    asked: Asked,
    path: String,
}

/// Puts names of tables where files stand. Texts without files come back as they are, and nothing is opened.
///
/// # Errors
/// A file that is not there, or whose columns cannot be told; an argument that is not known.
pub fn resolve_files(text: &str, base: &Path) -> Result<Resolved, Diagnostics> {
    let pieces = lexemes(text);
    let (mentions, mut problems) = mentions(text, &pieces);
    let mut taken = declared_names(text, &pieces);
    let mut resolved = Resolved {
        text: text.to_owned(),
        declarations: Vec::new(),
    };
    // From the end, so that places in front stay.
    let mut known: Vec<(String, String, String)> = Vec::new();
    let mut names = Vec::new();
    for mention in &mentions {
        let call = format!("{:?}{}", mention.asked, mention.path);
        if let Some((_, name, _)) = known.iter().find(|(other, _, _)| *other == call) {
            names.push(name.clone());
            continue;
        }
        let name = free_name(&mention.path, &taken);
        match create_table(&name, mention, base) {
            Ok(ddl) => {
                taken.push(name.clone());
                known.push((call, name.clone(), ddl.clone()));
                resolved.declarations.push((name.clone(), ddl));
            }
            Err(why) => problems.push(cannot_tell(text, mention, &why)),
        }
        names.push(name);
    }
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    for (mention, name) in mentions.iter().zip(&names).rev() {
        let written = &text[mention.range.clone()];
        let mut name = format!("\"{name}\"");
        // Lines and columns behind it stay where they are.
        let missing = written.chars().count().saturating_sub(name.chars().count());
        name.extend(
            written
                .chars()
                .rev()
                .take(missing)
                .map(|c| if c == '\n' { '\n' } else { ' ' }),
        );
        resolved.text.replace_range(mention.range.clone(), &name);
    }
    Ok(resolved)
}

fn cannot_tell(text: &str, mention: &Mention, why: &str) -> Diagnostic {
    Diagnostic::error("R0010", format!("the columns of '{}' cannot be told: {why}", mention.path))
        .at(Span::of_bytes(text, mention.range.clone()), "read as a table")
        .help("declare it: CREATE TABLE name (column TYPE, …) WITH ('connector' = 'filesystem', 'path' = '…', 'format' = '…')")
        .help("or say what it is: read_csv('…'), read_json('…'), read_parquet('…'), read_lines('…', 'pattern')")
}

/// `CREATE TABLE name FROM 'file'` or `FROM read_csv(…)`: the statement with its columns written out; `None` if it is another
/// statement.
///
/// # Errors
/// As [`resolve_files`].
pub fn create_table_from(
    text: &str,
    range: Range<usize>,
    base: &Path,
) -> Result<Option<String>, Diagnostics> {
    let statement = &text[range.clone()];
    let pieces: Vec<Lexeme> = lexemes(statement)
        .into_iter()
        .filter(|piece| !piece.is_silent() && piece.kind != LexemeKind::End)
        .collect();
    let is = |at: usize, word: &str| {
        pieces
            .get(at)
            .is_some_and(|piece: &Lexeme| piece.is(statement, word))
    };
    if !(is(0, "CREATE") && is(1, "TABLE")) {
        return Ok(None);
    }
    let if_not_exists = is(2, "IF") && is(3, "NOT") && is(4, "EXISTS");
    let name_at = if if_not_exists { 5 } else { 2 };
    if !is(name_at + 1, "FROM") {
        return Ok(None);
    }
    let name = match pieces.get(name_at) {
        Some(piece) if piece.kind == LexemeKind::QuotedName => unquoted(piece.text(statement)),
        Some(piece) => piece.text(statement).to_lowercase(),
        None => return Ok(None),
    };
    let whole = lexemes(statement);
    let from = pieces[name_at + 1].range.end;
    let mut index = whole
        .iter()
        .position(|piece| piece.range.start >= from)
        .unwrap_or(whole.len());
    while whole.get(index).is_some_and(Lexeme::is_silent) {
        index += 1;
    }
    let found = mention_at(statement, &whole, index);
    let mention = match found {
        Some(Ok((mention, _))) => mention,
        Some(Err(problem)) => return Err(problem.into()),
        None => {
            return Err(
                Diagnostic::error("R0016", "CREATE TABLE … FROM takes a file")
                    .at(
                        Span::of_bytes(
                            text,
                            range.start + from.saturating_sub(4)..range.start + from,
                        ),
                        "what follows is none",
                    )
                    .help(
                        "CREATE TABLE t FROM 'data/*.csv', or FROM read_csv('…', header => false)",
                    )
                    .help("CREATE TABLE t WITH (…) AS SELECT … makes a table of a query")
                    .into(),
            );
        }
    };
    let rest = whole.iter().find(|piece| {
        piece.range.start >= mention.range.end
            && !piece.is_silent()
            && piece.kind != LexemeKind::End
    });
    if let Some(rest) = rest {
        let place = range.start + rest.range.start..range.start + rest.range.end;
        return Err(
            Diagnostic::error("R0016", "CREATE TABLE … FROM a file takes nothing more")
                .at(Span::of_bytes(text, place), "not here")
                .help("run it, and edit the CREATE TABLE that it shows")
                .into(),
        );
    }
    create_table(&name, &mention, base)
        .map(|ddl| {
            Some(if if_not_exists {
                ddl.replacen("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1)
            } else {
                ddl
            })
        })
        .map_err(|why| {
            let moved = Mention {
                range: range.start + mention.range.start..range.start + mention.range.end,
                ..mention.clone()
            };
            cannot_tell(text, &moved, &why).into()
        })
}

fn create_table(name: &str, mention: &Mention, base: &Path) -> Result<String, String> {
    let found = infer_files(&mention.path, base, &mention.asked)?;
    let mut options = vec![
        ("connector".to_owned(), "filesystem".to_owned()),
        ("path".to_owned(), mention.path.clone()),
    ];
    options.extend(found.options);
    Ok(declaration(name, &found.columns, &options))
}

/// The name of a file's table: its stem, or the folder's where the stem is a pattern.
fn free_name(path: &str, taken: &[String]) -> String {
    let special = |part: &str| part.contains(['*', '?', '[', '{']);
    let part = path
        .trim_end_matches('/')
        .rsplit('/')
        .find(|part| !special(part.split('.').next().unwrap_or_default()) && !part.is_empty())
        .unwrap_or("file");
    let stem = part
        .trim_start_matches('.')
        .split('.')
        .next()
        .unwrap_or("file");
    let mut name: String = stem
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect::<String>()
        .to_lowercase();
    if name.is_empty() || name.starts_with(|c: char| c.is_numeric()) {
        name.insert(0, '_');
    }
    let mut free = name.clone();
    let mut number = 1;
    while taken.contains(&free) {
        number += 1;
        free = format!("{name}_{number}");
    }
    free
}

/// Names that the text declares or gives to its subqueries.
fn declared_names(text: &str, pieces: &[Lexeme]) -> Vec<String> {
    let said: Vec<&Lexeme> = pieces.iter().filter(|piece| !piece.is_silent()).collect();
    let name = |piece: &Lexeme| match piece.kind {
        LexemeKind::Word => Some(piece.text(text).to_lowercase()),
        LexemeKind::QuotedName => Some(unquoted(piece.text(text))),
        _ => None,
    };
    let mut names = Vec::new();
    for (at, piece) in said.iter().enumerate() {
        if piece.is(text, "TABLE") || piece.is(text, "VIEW") {
            let mut next = at + 1;
            while said
                .get(next)
                .is_some_and(|p| ["IF", "NOT", "EXISTS"].iter().any(|word| p.is(text, word)))
            {
                next += 1;
            }
            names.extend(said.get(next).and_then(|p| name(p)));
        }
        // `name AS (`: a CTE.
        let is_cte = said.get(at + 1).is_some_and(|p| p.is(text, "AS"))
            && said.get(at + 2).is_some_and(|p| p.text(text) == "(");
        if is_cte {
            names.extend(name(piece));
        }
    }
    names
}

/// Where a query is, in one pair of parentheses.
#[derive(Clone, Copy, Default)]
struct Frame {
    /// SELECT was seen, so that FROM opens a list of tables.
    selects: bool,
    /// The next piece may be a table.
    table_next: bool,
    /// In the list of tables.
    in_from: bool,
}

/// All files that stand where a table can.
fn mentions(text: &str, pieces: &[Lexeme]) -> (Vec<Mention>, Vec<Diagnostic>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let mut frames = vec![Frame::default()];
    let mut before: Option<&Lexeme> = None;
    let mut first_of_statement = true;
    let mut index = 0;
    while index < pieces.len() {
        let piece = &pieces[index];
        index += 1;
        if piece.is_silent() {
            continue;
        }
        let Some(frame) = frames.last_mut() else {
            break;
        };
        let expected = std::mem::take(&mut frame.table_next);
        if expected {
            match mention_at(text, pieces, index - 1) {
                Some(Ok((mention, next))) => {
                    found.push(mention);
                    index = next;
                    before = Some(piece);
                    continue;
                }
                Some(Err(problem)) => problems.push(problem),
                None => {}
            }
        }
        let is = |word: &str| piece.is(text, word);
        let opens = before.is_none_or(|before| before.text(text) == "(") || first_of_statement;
        match piece.kind {
            LexemeKind::End => {
                frames = vec![Frame::default()];
                first_of_statement = true;
                before = None;
                continue;
            }
            LexemeKind::Bracket if piece.text(text) == "(" => {
                // `FROM ('a.csv' JOIN 'b.csv')`: a table may follow, if one may stand here.
                frames.push(Frame {
                    table_next: expected,
                    in_from: expected,
                    selects: expected,
                });
            }
            // The elements of an array are no tables.
            LexemeKind::Bracket if matches!(piece.text(text), "[" | "{") => {
                frames.push(Frame::default());
            }
            LexemeKind::Bracket => frames.truncate(frames.len().saturating_sub(1).max(1)),
            LexemeKind::Symbol if piece.text(text) == "," && frame.in_from => {
                frame.table_next = true
            }
            // Nor are rows.
            LexemeKind::Word if is("VALUES") => *frame = Frame::default(),
            LexemeKind::Word if is("SELECT") => {
                *frame = Frame {
                    selects: true,
                    ..Frame::default()
                };
            }
            LexemeKind::Word if is("FROM") => {
                let distinct =
                    before.is_some_and(|before| before.is(text, "DISTINCT")) && frame.in_from;
                let of_query = (frame.selects || opens)
                    && !distinct
                    && !is_distinct_from(text, pieces, index - 1);
                frame.table_next = of_query;
                frame.in_from = of_query;
                frame.selects |= of_query;
            }
            LexemeKind::Word if is("JOIN") && frame.in_from => frame.table_next = true,
            LexemeKind::Word
                if [
                    "WHERE",
                    "GROUP",
                    "HAVING",
                    "ORDER",
                    "LIMIT",
                    "WINDOW",
                    "UNION",
                    "EXCEPT",
                    "INTERSECT",
                    "QUALIFY",
                ]
                .iter()
                .any(|word| is(word)) =>
            {
                frame.in_from = false;
            }
            _ => {}
        }
        first_of_statement = false;
        before = Some(piece);
    }
    (found, problems)
}

/// Whether this FROM belongs to `IS [NOT] DISTINCT FROM`.
fn is_distinct_from(text: &str, pieces: &[Lexeme], from: usize) -> bool {
    let mut said = pieces[..from]
        .iter()
        .rev()
        .filter(|piece| !piece.is_silent());
    let distinct = said.next().is_some_and(|piece| piece.is(text, "DISTINCT"));
    distinct
        && said
            .next()
            .is_some_and(|piece| piece.is(text, "IS") || piece.is(text, "NOT"))
}

/// The file that begins with this piece, and the index behind it.
fn mention_at(
    text: &str,
    pieces: &[Lexeme],
    at: usize,
) -> Option<Result<(Mention, usize), Diagnostic>> {
    let piece = pieces.get(at)?;
    if piece.kind == LexemeKind::Text {
        let mention = Mention {
            range: piece.range.clone(),
            asked: Asked::default(),
            path: unquoted(piece.text(text)),
        };
        return Some(Ok((mention, at + 1)));
    }
    let kind = READERS
        .iter()
        .find(|(name, _)| piece.is(text, name))
        .map(|(_, kind)| *kind)?;
    let mut open = at + 1;
    while pieces.get(open).is_some_and(Lexeme::is_silent) {
        open += 1;
    }
    if pieces.get(open)?.text(text) != "(" {
        return None;
    }
    let close = (open..pieces.len()).find(|&i| pieces[i].text(text) == ")")?;
    let arguments: Vec<&Lexeme> = pieces[open + 1..close]
        .iter()
        .filter(|p| !p.is_silent())
        .collect();
    let range = piece.range.start..pieces[close].range.end;
    Some(read_arguments(text, kind, &arguments, range).map(|mention| (mention, close + 1)))
}

/// The functions that read files.
const READERS: [(&str, FileKind); 4] = [
    ("read_csv", FileKind::Csv),
    ("read_json", FileKind::Json),
    ("read_parquet", FileKind::Parquet),
    ("read_lines", FileKind::Lines),
];

/// What an argument is called, and the option that it sets.
const ARGUMENTS: [(&str, &str); 8] = [
    ("header", "csv.header"),
    ("delimiter", "csv.delimiter"),
    ("quote", "csv.quote"),
    ("null", "csv.null"),
    ("pattern", "text.pattern"),
    ("compression", "compression"),
    ("follow", "mode"),
    ("on_error", "on.error"),
];

fn read_arguments(
    text: &str,
    kind: FileKind,
    pieces: &[&Lexeme],
    range: Range<usize>,
) -> Result<Mention, Diagnostic> {
    let wrong = |place: Range<usize>, what: String| {
        Diagnostic::error("R0011", what)
            .at(Span::of_bytes(text, place), "here")
            .help("read_csv('path', header => false, delimiter => ';'); read_lines('path', '(?<name>\\w+) …')")
            .help("arguments are header, delimiter, quote, null, pattern, compression, follow, on_error")
    };
    let mut arguments = pieces.split(|piece| piece.text(text) == ",");
    let path = match arguments.next() {
        Some([path]) if path.kind == LexemeKind::Text => unquoted(path.text(text)),
        _ => {
            return Err(wrong(
                range,
                "the first argument is the path of a file, in quotes".to_owned(),
            ));
        }
    };
    let mut options = BTreeMap::new();
    for (place, argument) in arguments.enumerate() {
        match argument {
            [value] if place == 0 && kind == FileKind::Lines && value.kind == LexemeKind::Text => {
                options.insert("text.pattern".to_owned(), unquoted(value.text(text)));
            }
            [name, sign, value] if matches!(sign.text(text), "=>" | "=") => {
                let known = ARGUMENTS.iter().find(|(known, _)| name.is(text, known));
                let Some((known, option)) = known else {
                    let what = format!("there is no argument `{}`", name.text(text));
                    return Err(wrong(name.range.clone(), what));
                };
                let value = match value.kind {
                    LexemeKind::Text => unquoted(value.text(text)),
                    _ => value.text(text).to_lowercase(),
                };
                let value = match *known {
                    "follow" if value == "true" => "continuous".to_owned(),
                    "follow" => "bounded".to_owned(),
                    _ => value,
                };
                options.insert((*option).to_owned(), value);
            }
            _ => {
                let place = argument
                    .first()
                    .map_or(range.clone(), |piece| piece.range.clone());
                return Err(wrong(
                    place,
                    "an argument is written name => value".to_owned(),
                ));
            }
        }
    }
    Ok(Mention {
        range,
        asked: Asked {
            kind: Some(kind),
            options,
        },
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(sql: &str) -> Vec<String> {
        let pieces = lexemes(sql);
        let (found, problems) = mentions(sql, &pieces);
        assert!(problems.is_empty(), "{problems:?}");
        found.into_iter().map(|mention| mention.path).collect()
    }

    #[test]
    fn a_file_stands_where_a_table_can_and_nowhere_else() {
        for (sql, expected) in [
            ("SELECT * FROM 'a.csv'", vec!["a.csv"]),
            (
                "SELECT * FROM 'a.csv' a JOIN 'b.csv' AS b ON a.x = b.x, read_json('c.json') WHERE y IN ('d', 'e')",
                vec!["a.csv", "b.csv", "c.json"],
            ),
            (
                "SELECT EXTRACT(YEAR FROM '2020-01-01'), trim(BOTH 'x' FROM 'xyz') FROM t",
                vec![],
            ),
            ("SELECT a IS DISTINCT FROM 'x' FROM t", vec![]),
            (
                "SELECT substring('abc' FROM 2) FROM 'a.csv' WHERE b IS NOT DISTINCT FROM 'x'",
                vec!["a.csv"],
            ),
            ("SELECT * FROM (SELECT * FROM 'a.csv') x", vec!["a.csv"]),
            (
                "INSERT INTO t SELECT * FROM 'a.csv'; SELECT 'b' FROM t, u",
                vec!["a.csv"],
            ),
            ("SELECT * FROM t ORDER BY 'a', 'b'", vec![]),
            (
                "SELECT * FROM (VALUES (1, 'a', ARRAY['b', 'c']), (2, 'd', MAP['e', 'f'])) AS v (x, y, z)",
                vec![],
            ),
            (
                "SELECT * FROM t JOIN u ON ARRAY['a', 'b'] = u.x, UNNEST(ARRAY['c', 'd']) AS w (y), 'e.csv'",
                vec!["e.csv"],
            ),
            ("SELECT * FROM a, ((VALUES ('x'), ('y'))) AS v (z)", vec![]),
            ("INSERT INTO t (a, b) VALUES ('x', 'y'), ('z', 'w')", vec![]),
            (
                "SELECT * FROM ('a.csv' AS a JOIN 'b.csv' AS b ON a.x = b.x)",
                vec!["a.csv", "b.csv"],
            ),
            ("SELECT 'FROM ''x''' FROM t -- FROM 'y'", vec![]),
        ] {
            assert_eq!(paths(sql), expected, "{sql}");
        }
    }

    #[test]
    fn names_come_from_files_and_places_stay() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        std::fs::write(folder.path().join("logs/2013-01.json"), "{\"a\":1}\n").unwrap();
        let sql = "SELECT *\nFROM 'logs/*.json' l, 'logs/2013-01.json' WHERE x";
        let resolved = resolve_files(sql, folder.path()).unwrap();
        assert_eq!(resolved.text.len(), sql.len());
        assert_eq!(resolved.text.find("WHERE"), sql.find("WHERE"));
        let names: Vec<&str> = resolved
            .declarations
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["logs", "_2013_01"]);
        assert!(
            resolved.declarations[0].1.contains("a BIGINT"),
            "{resolved:?}"
        );
        let missing = resolve_files("SELECT * FROM 'nothing.csv'", folder.path()).unwrap_err();
        assert_eq!(missing.0[0].code, "R0010");
        assert_eq!(missing.0[0].labels[0].span, Span::new((1, 15), (1, 28)));
        let wrong = resolve_files("SELECT * FROM read_csv('x', heder => false)", folder.path())
            .unwrap_err();
        assert_eq!(wrong.0[0].code, "R0011");
    }

    #[test]
    fn create_table_from_a_file_is_written_out() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rides.csv"), "City,km,order\nOslo,3,1\n").unwrap();
        let sql = "CREATE TABLE rides FROM 'rides.csv';";
        let ddl = create_table_from(sql, 0..sql.len(), folder.path())
            .unwrap()
            .unwrap();
        assert_eq!(
            ddl,
            "CREATE TABLE rides (\n    City STRING,\n    km BIGINT,\n    \"order\" BIGINT\n) WITH (\n    'connector' = 'filesystem',\n    \
             'path' = 'rides.csv',\n    'format' = 'csv'\n)"
        );
        weir_planner::plan(
            &format!("{ddl}; SELECT city FROM rides"),
            &weir_planner::AnyCatalog,
        )
        .unwrap();
        let other = "CREATE TABLE t (a INT) WITH ('connector' = 'datagen')";
        assert_eq!(
            create_table_from(other, 0..other.len(), folder.path()).unwrap(),
            None
        );
    }
}
