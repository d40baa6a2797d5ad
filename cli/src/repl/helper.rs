//! What happens while somebody types: completion, colours, matching brackets, hints, and whether a statement is complete.
//!
//! ```text
//!   line, cursor ─▶ pieces (weir_planner::lexemes) ─▶ where am I?  a name after FROM │ a file in quotes │ an option in WITH │ …
//! ```

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};
use weir_connectors::{FORMATS, connectors};
use weir_planner::lexemes::{Lexeme, LexemeKind, lexemes, statements};

use super::words::{COMMANDS, KEYWORDS, is_keyword};

/// Names that the session knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Tables and views with their columns.
    pub(super) relations: Vec<(String, Vec<String>)>,
    pub(super) functions: Vec<String>,
    pub(super) jobs: Vec<String>,
}

/// Looks over the shoulder of whoever types.
pub(super) struct Shoulder {
    pub(super) names: Rc<RefCell<Names>>,
    /// Whether the terminal shows colours.
    pub(super) colours: bool,
    history: HistoryHinter,
}

impl Shoulder {
    pub(super) fn new(names: Rc<RefCell<Names>>, colours: bool) -> Self {
        Self {
            names,
            colours,
            history: HistoryHinter::new(),
        }
    }
}

impl Helper for Shoulder {}

impl Validator for Shoulder {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

/// Whether what was typed can be run: a command, or statements that all have their `;`.
pub(super) fn is_complete(text: &str) -> bool {
    let trimmed = text.trim_start();
    if trimmed.starts_with('\\') {
        // A query may follow a command; it ends with its line, unless it has begun another.
        return !trimmed.contains('\n')
            || trimmed.trim_end().ends_with(';')
            || text.ends_with('\n');
    }
    statements(text).last().is_none_or(|last| last.ended)
        && lexemes(text).last().is_none_or(|last| last.closed)
}

impl Hinter for Shoulder {
    type Hint = String;

    fn hint(&self, line: &str, at: usize, context: &Context<'_>) -> Option<String> {
        if at < line.len() {
            return None;
        }
        if let Some((_, usage, _)) = COMMANDS
            .iter()
            .find(|(name, usage, _)| *name == line.trim_end() && !usage.is_empty())
        {
            return Some(if line.ends_with(' ') {
                (*usage).to_owned()
            } else {
                format!(" {usage}")
            });
        }
        self.history.hint(line, at, context)
    }
}

impl Highlighter for Shoulder {
    fn highlight<'l>(&self, line: &'l str, at: usize) -> Cow<'l, str> {
        if self.colours {
            Cow::Owned(coloured(line, at))
        } else {
            Cow::Borrowed(line)
        }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.colours {
            Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
        } else {
            Cow::Borrowed(hint)
        }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.colours {
            Cow::Owned(format!("\x1b[1;36m{prompt}\x1b[0m"))
        } else {
            Cow::Borrowed(prompt)
        }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.colours
    }
}

/// The line with its colours; the brackets that belong together at the cursor are marked.
fn coloured(line: &str, at: usize) -> String {
    let pieces = lexemes(line);
    let pair = brackets_at(line, &pieces, at);
    let mut out = String::with_capacity(line.len() + 64);
    for (index, piece) in pieces.iter().enumerate() {
        let text = piece.text(line);
        let style = match piece.kind {
            _ if pair.is_some_and(|(open, close)| index == open || index == close) => "\x1b[1;7m",
            LexemeKind::Word if is_keyword(text) => "\x1b[1;34m",
            LexemeKind::Text => "\x1b[32m",
            LexemeKind::Number => "\x1b[36m",
            LexemeKind::QuotedName => "\x1b[33m",
            LexemeKind::LineComment | LexemeKind::BlockComment => "\x1b[2m",
            LexemeKind::Hint => "\x1b[35m",
            _ => "",
        };
        if style.is_empty() {
            out.push_str(text);
        } else {
            out.push_str(style);
            out.push_str(text);
            out.push_str("\x1b[0m");
        }
    }
    out
}

/// The bracket at the cursor, or right in front of it, and the one that it belongs to.
fn brackets_at(line: &str, pieces: &[Lexeme], at: usize) -> Option<(usize, usize)> {
    let touching = pieces.iter().position(|piece| {
        piece.kind == LexemeKind::Bracket && (piece.range.start == at || piece.range.end == at)
    })?;
    let mut open = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        if piece.kind != LexemeKind::Bracket {
            continue;
        }
        if matches!(piece.text(line), "(" | "[" | "{") {
            open.push(index);
        } else {
            let partner = open.pop()?;
            if partner == touching || index == touching {
                return Some((partner, index));
            }
        }
    }
    None
}

impl Completer for Shoulder {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, words) = candidates(&line[..at], &self.names.borrow(), Path::new("."));
        let pairs = words
            .into_iter()
            .map(|word| Pair {
                display: word.trim_end().to_owned(),
                replacement: word,
            })
            .collect();
        Ok((start, pairs))
    }
}

/// Where the word begins that is to be completed, and what it may become.
pub(super) fn candidates(before: &str, names: &Names, base: &Path) -> (usize, Vec<String>) {
    let pieces = lexemes(before);
    let last = pieces.last();
    if let Some(rest) = before.trim_start().strip_prefix('\\') {
        let offset = before.len() - rest.len() - 1;
        if !rest.contains(' ') {
            let found = COMMANDS.iter().map(|(name, ..)| (*name).to_owned());
            return (offset, beginning_with(&before[offset..], found));
        }
        if rest.starts_with("source ") {
            let start = before.rfind(' ').map_or(0, |at| at + 1);
            return (start, files(&before[start..], base));
        }
        if rest.starts_with("format ") {
            let start = before.rfind(' ').map_or(0, |at| at + 1);
            let formats = ["table", "json", "csv"].map(str::to_owned);
            return (start, beginning_with(&before[start..], formats.into_iter()));
        }
    }
    if let Some(piece) = last.filter(|piece| piece.kind == LexemeKind::Text && !piece.closed) {
        let start = piece.range.start + 1;
        return (start, in_quotes(before, &pieces, &before[start..], base));
    }
    let word_start = last
        .filter(|piece| piece.kind == LexemeKind::Word)
        .map_or(before.len(), |piece| piece.range.start);
    let word = &before[word_start..];
    // `alias.col`
    let said: Vec<&Lexeme> = pieces
        .iter()
        .filter(|piece| !piece.is_silent() && piece.range.end <= word_start)
        .collect();
    if before[..word_start].ends_with('.') {
        let owner = said
            .iter()
            .rev()
            .nth(1)
            .map(|piece| piece.text(before).trim_matches('"').to_lowercase());
        let columns = owner
            .map(|owner| columns_of(before, &owner, names))
            .unwrap_or_default();
        return (word_start, beginning_with(word, columns.into_iter()));
    }
    let previous = said
        .last()
        .map(|piece| piece.text(before).to_ascii_uppercase())
        .unwrap_or_default();
    let relations = || names.relations.iter().map(|(name, _)| name.clone());
    let found: Vec<String> = match previous.as_str() {
        "FROM" | "JOIN" | "INTO" | "DESCRIBE" | "\\D" => {
            let readers =
                ["read_csv(", "read_json(", "read_lines(", "read_parquet("].map(str::to_owned);
            relations()
                .chain(if previous == "FROM" || previous == "JOIN" {
                    readers.to_vec()
                } else {
                    Vec::new()
                })
                .collect()
        }
        "JOB" => names.jobs.clone(),
        _ => {
            let mentioned = mentioned(before, names);
            let columns = names
                .relations
                .iter()
                .filter(|(name, _)| mentioned.is_empty() || mentioned.contains(name))
                .flat_map(|(_, columns)| columns.iter().cloned());
            let keywords = KEYWORDS.iter().map(|word| (*word).to_owned());
            let functions = names.functions.iter().map(|name| format!("{name}("));
            if word.is_empty() {
                columns.collect()
            } else {
                columns
                    .chain(keywords)
                    .chain(relations())
                    .chain(functions)
                    .collect()
            }
        }
    };
    (word_start, beginning_with(word, found.into_iter()))
}

/// Tables whose names stand in the text.
fn mentioned(text: &str, names: &Names) -> Vec<String> {
    let words: Vec<String> = lexemes(text)
        .iter()
        .filter(|piece| piece.kind == LexemeKind::Word)
        .map(|piece| piece.text(text).to_lowercase())
        .collect();
    names
        .relations
        .iter()
        .map(|(name, _)| name.clone())
        .filter(|name| words.contains(name))
        .collect()
}

/// Columns of a table, or of the table behind an alias: `FROM orders AS o`.
fn columns_of(text: &str, owner: &str, names: &Names) -> Vec<String> {
    let of = |table: &str| {
        names
            .relations
            .iter()
            .find(|(name, _)| name == table)
            .map(|(_, columns)| columns.clone())
    };
    if let Some(columns) = of(owner) {
        return columns;
    }
    let words: Vec<String> = lexemes(text)
        .iter()
        .filter(|piece| {
            matches!(piece.kind, LexemeKind::Word | LexemeKind::QuotedName) && !piece.is(text, "AS")
        })
        .map(|piece| piece.text(text).trim_matches('"').to_lowercase())
        .collect();
    words
        .windows(2)
        .filter(|pair| pair[1] == owner)
        .find_map(|pair| of(&pair[0]))
        .unwrap_or_default()
}

/// Within quotes: connectors, formats and options in WITH, else files.
fn in_quotes(before: &str, pieces: &[Lexeme], typed: &str, base: &Path) -> Vec<String> {
    let said: Vec<&str> = pieces
        .iter()
        .filter(|piece| !piece.is_silent())
        .map(|piece| piece.text(before))
        .collect();
    let with = said
        .iter()
        .rposition(|word| word.eq_ignore_ascii_case("WITH"));
    let in_with =
        with.is_some_and(|at| said.get(at + 1) == Some(&"(") && !said[at + 2..].contains(&")"));
    if !in_with {
        if said
            .first()
            .is_some_and(|word| word.eq_ignore_ascii_case("SET"))
            && said.len() == 2
        {
            let keys = weir_planner::settings::SETTINGS
                .iter()
                .map(|setting| format!("{}' = '", setting.key));
            return beginning_with(typed, keys);
        }
        return files(typed, base);
    }
    let value_of = |key: &str| {
        let at = said.iter().position(|word| *word == format!("'{key}'"))?;
        said.get(at + 2).map(|text| text.trim_matches('\''))
    };
    // The last piece is the open quote: a value follows `=`, and a key anything else.
    let is_value = said.len() > 1 && said[said.len() - 2] == "=";
    if is_value {
        return match said.get(said.len().wrapping_sub(3)).copied() {
            Some("'connector'") => beginning_with(
                typed,
                connectors()
                    .into_iter()
                    .map(|info| format!("{}'", info.name)),
            ),
            Some("'format'") => beginning_with(
                typed,
                FORMATS.into_iter().map(|info| format!("{}'", info.name)),
            ),
            Some("'path'") => files(typed, base),
            _ => Vec::new(),
        };
    }
    let connector = connectors()
        .into_iter()
        .find(|info| Some(info.name) == value_of("connector"));
    let format = FORMATS
        .into_iter()
        .find(|info| Some(info.name) == value_of("format"));
    let own = connector.iter().flat_map(|info| info.options.iter());
    let keys = ["connector", "format"]
        .into_iter()
        .chain(own.map(|option| option.key))
        .chain(
            format
                .iter()
                .flat_map(|info| info.options.iter().map(|option| option.key)),
        )
        .map(|key| format!("{key}' = '"));
    beginning_with(typed, keys)
}

/// Files and folders whose paths begin as typed.
fn files(typed: &str, base: &Path) -> Vec<String> {
    let (folder, start) = match typed.rsplit_once('/') {
        Some((folder, start)) => (format!("{folder}/"), start),
        None => (String::new(), typed),
    };
    let place = if folder.starts_with('/') {
        Path::new(&folder).to_owned()
    } else {
        base.join(&folder)
    };
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    let mut found: Vec<String> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            if !name.starts_with(start) || name.starts_with('.') && start.is_empty() {
                return None;
            }
            let end = if entry.path().is_dir() { "/" } else { "" };
            Some(format!("{folder}{name}{end}"))
        })
        .collect();
    found.sort_unstable();
    found
}

fn beginning_with(start: &str, words: impl Iterator<Item = String>) -> Vec<String> {
    let lower = start.to_lowercase();
    let mut found: Vec<String> = words
        .filter(|word| word.to_lowercase().starts_with(&lower))
        .collect();
    let mut seen = std::collections::HashSet::new();
    found.retain(|word| seen.insert(word.clone()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            relations: vec![
                (
                    "orders".to_owned(),
                    vec!["id".to_owned(), "price".to_owned()],
                ),
                (
                    "payments".to_owned(),
                    vec!["order_id".to_owned(), "paid_at".to_owned()],
                ),
            ],
            functions: vec!["substr".to_owned(), "sum".to_owned()],
            jobs: vec!["busy".to_owned()],
        }
    }

    fn words(before: &str) -> Vec<String> {
        candidates(before, &names(), Path::new("/nonexistent")).1
    }

    #[test]
    fn what_can_stand_here_is_offered() {
        for (before, expected) in [
            ("SELECT * FROM ord", vec!["orders"]),
            ("SEL", vec!["SELECT"]),
            ("SELECT o.p", vec![]),
            ("SELECT * FROM orders AS o WHERE o.p", vec!["price"]),
            ("SELECT orders.", vec!["id", "price"]),
            ("SELECT su", vec!["substr(", "sum("]),
            (
                "SELECT x FROM payments WHERE pa",
                vec!["paid_at", "PARTITION", "PARTITIONED", "payments"],
            ),
            ("STOP JOB ", vec!["busy"]),
            ("\\ti", vec!["\\timing"]),
            ("\\format j", vec!["json"]),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'dat",
                vec!["datagen'"],
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'pa",
                vec!["path' = '"],
            ),
            (
                "CREATE TABLE t (a INT) WITH ('format' = 'csv', 'csv.h",
                vec!["csv.header' = '"],
            ),
            ("SET 'checkpoint.int", vec!["checkpoint.interval' = '"]),
        ] {
            let mut found = words(before);
            let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{before}");
        }
    }

    #[test]
    fn files_are_offered_within_quotes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rides.csv"), "").unwrap();
        std::fs::create_dir(folder.path().join("ridden")).unwrap();
        let (start, found) = candidates("SELECT * FROM 'rid", &names(), folder.path());
        assert_eq!(
            (start, found),
            (15, vec!["ridden/".to_owned(), "rides.csv".to_owned()])
        );
    }

    #[test]
    fn a_statement_is_complete_with_its_end() {
        for (text, complete) in [
            ("", true),
            ("SELECT 1", false),
            ("SELECT 1;", true),
            ("SELECT ';", false),
            ("SELECT 1; -- x", true),
            ("BEGIN STATEMENT SET; INSERT INTO t SELECT 1;", false),
            ("\\d", true),
            ("SELECT 1; SELECT", false),
            ("/* a", false),
        ] {
            assert_eq!(is_complete(text), complete, "{text}");
        }
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let line = "SELECT sum(a) FROM 'x' -- y";
        let coloured = coloured(line, 10);
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some(at) = rest.find('\x1b') {
            plain.push_str(&rest[..at]);
            rest = &rest[at + rest[at..].find('m').unwrap() + 1..];
        }
        plain.push_str(rest);
        assert_eq!(plain, line);
        assert!(
            coloured.contains("\x1b[1;7m("),
            "the brackets at the cursor: {coloured:?}"
        );
    }
}
