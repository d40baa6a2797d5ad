//! Hints right after SELECT or INSERT: `/*+ ID('n'), STATE_TTL('o' = '1 d') */`.
//!
//! sqlparser keeps a hint's text in the AST, but not its span. So a hint's token is given a canonical text that holds both,
//! place and content; [`name_in`], [`ttls_in`] and [`state_from_in`] read it on the other side. A hint anywhere else would be a comment that
//! nobody sees.
//!
//! ```text
//!   +line:column:line:column:ID␟n␞TTL␟o␟86400000000
//! ```

use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};
use weir_types::{Diagnostic, Span};

use super::Name;
use super::cursor::is_keyword;
use crate::codes;
use crate::retention::ttl_micros;

/// Between hints of one comment, and between the parts of a hint: no name can hold them.
const HINTS: char = '\u{1e}';
const PARTS: char = '\u{1f}';

/// How long the state of a relation or block is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TtlHint {
    /// The alias of a relation in FROM, or the block's name; lower case.
    pub relation: String,
    /// In microseconds.
    pub micros: i64,
    /// The hint's place.
    pub span: Span,
}

/// One call of a hint: its name as written, its arguments, the values of those that are pairs.
struct Call {
    name: String,
    arguments: Vec<(String, Option<String>)>,
}

/// The canonical text of a hint's comment, or why it cannot stand there.
pub(crate) fn read(
    comment: &str,
    span: Span,
    previous: Option<&TokenWithSpan>,
) -> Result<String, Box<Diagnostic>> {
    let after = |keyword: &str| previous.is_some_and(|token| is_keyword(&token.token, keyword));
    if previous.is_some_and(|token| matches!(token.token, Token::Whitespace(_))) {
        return Err(Box::new(
            Diagnostic::error(codes::UNKNOWN_HINT, "a SELECT or INSERT takes one hint")
                .at(span, "this is a second one")
                .help("put both into one: /*+ ID('name'), STATE_TTL('alias' = '1 d') */"),
        ));
    }
    let text = comment.trim_start_matches('+').trim();
    if text.to_ascii_uppercase().starts_with("OPTIONS") {
        return Err(Box::new(
            Diagnostic::error(codes::UNKNOWN_HINT, "a query cannot change the options of a table")
                .at(span, "options are those of CREATE TABLE")
                .help("set them there: WITH ('key' = 'value'); two readers with different options read two tables"),
        ));
    }
    if !after("SELECT") && !after("INSERT") {
        return Err(Box::new(
            Diagnostic::error(
                codes::MISPLACED_HINT,
                "a hint stands right after SELECT or INSERT",
            )
            .at(span, "nobody looks for a hint here")
            .help("move it: SELECT /*+ ID('name') */ …")
            .help("a comment that is no hint starts with /* and not with /*+"),
        ));
    }
    let Some(calls) = calls(text).filter(|calls| !calls.is_empty()) else {
        return Err(unknown(text, span));
    };
    let mut parts = Vec::new();
    for call in &calls {
        parts.push(match call.name.to_ascii_uppercase().as_str() {
            "ID" => id(call, text, span)?,
            "STATE_TTL" if after("INSERT") => {
                return Err(Box::new(
                    Diagnostic::error(codes::UNKNOWN_HINT, "STATE_TTL stands after SELECT")
                        .at(span, "an INSERT keeps no state of its own")
                        .help("INSERT INTO … SELECT /*+ STATE_TTL('alias' = '1 d') */ …"),
                ));
            }
            "STATE_TTL" => ttls(call, span)?,
            "STATE_FROM" if after("INSERT") => {
                return Err(Box::new(
                    Diagnostic::error(codes::UNKNOWN_HINT, "STATE_FROM stands after SELECT")
                        .at(span, "an INSERT keeps no state of its own")
                        .help("INSERT INTO … SELECT /*+ STATE_FROM('old.path') */ …")
                        .help("for a table that is called otherwise: weir run --rename old=new"),
                ));
            }
            "STATE_FROM" => state_from(call, span)?,
            _ => return Err(unknown(text, span)),
        });
    }
    let Span { start, end } = span;
    Ok(format!(
        "+{}:{}:{}:{}:{}",
        start.line,
        start.column,
        end.line,
        end.column,
        parts.join(&HINTS.to_string())
    ))
}

fn unknown(text: &str, span: Span) -> Box<Diagnostic> {
    let message = format!(
        "there is no hint `{}`",
        text.chars().take(40).collect::<String>()
    );
    Box::new(
        Diagnostic::error(codes::UNKNOWN_HINT, message)
            .at(span, "not a hint that Weir knows")
            .help("/*+ ID('name') */ gives the block a name, as an alias would: its state is found by it")
            .help("/*+ STATE_TTL('alias' = '1 d') */ says how long state is kept")
            .help("/*+ STATE_FROM('old.path') */ gives the block the state that it had under another name"),
    )
}

fn id(call: &Call, text: &str, span: Span) -> Result<String, Box<Diagnostic>> {
    match call.arguments.as_slice() {
        [(name, None)] if !name.trim().is_empty() => Ok(format!("ID{PARTS}{name}")),
        _ => Err(unknown(text, span)),
    }
}

fn ttls(call: &Call, span: Span) -> Result<String, Box<Diagnostic>> {
    let wrong = |message: String, label: &str| {
        Box::new(
            Diagnostic::error(codes::UNKNOWN_HINT, message)
                .at(span, label)
                .help("/*+ STATE_TTL('alias' = '1 d') */, for several relations with commas in between"),
        )
    };
    if call.arguments.is_empty() {
        return Err(wrong(
            "STATE_TTL names no relation".to_owned(),
            "of whose state?",
        ));
    }
    let mut parts = Vec::new();
    for (relation, value) in &call.arguments {
        let Some(value) = value else {
            let message =
                format!("STATE_TTL does not say how long the state of '{relation}' is kept");
            return Err(wrong(message, "expected 'alias' = 'time'"));
        };
        let Some(micros) = ttl_micros(value) else {
            let message = format!("'{value}' is no time that state can be kept for");
            return Err(wrong(
                message,
                "expected a time greater than zero: `90 s`, `12 h`, `1 d`",
            ));
        };
        parts.push(format!(
            "TTL{PARTS}{}{PARTS}{micros}",
            relation.to_lowercase()
        ));
    }
    Ok(parts.join(&HINTS.to_string()))
}

fn state_from(call: &Call, span: Span) -> Result<String, Box<Diagnostic>> {
    match call.arguments.as_slice() {
        [(path, None)] if !path.trim().is_empty() => Ok(format!("FROM{PARTS}{path}")),
        _ => Err(Box::new(
            Diagnostic::error(codes::UNKNOWN_HINT, "STATE_FROM names one path")
                .at(span, "under which name was it?")
                .help("/*+ STATE_FROM('old.path') */: what stands before the `/` of the old operator IDs"),
        )),
    }
}

/// `NAME('a', 'b' = 'c'), NAME(…)`, commas or blanks in between; `None`: something else.
fn calls(text: &str) -> Option<Vec<Call>> {
    let mut calls = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let open = rest.find('(')?;
        let name = rest[..open].trim();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return None;
        }
        let mut arguments = Vec::new();
        rest = rest[open + 1..].trim_start();
        while !rest.starts_with(')') {
            let (key, after) = quoted(rest)?;
            rest = after;
            let mut value = None;
            if let Some(after) = rest.strip_prefix('=') {
                let (text, after) = quoted(after.trim_start())?;
                (value, rest) = (Some(text), after);
            }
            arguments.push((key, value));
            match rest.strip_prefix(',') {
                Some(after) if !after.trim_start().starts_with(')') => rest = after.trim_start(),
                None if rest.starts_with(')') => {}
                _ => return None,
            }
        }
        calls.push(Call {
            name: name.to_owned(),
            arguments,
        });
        rest = rest[1..].trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(calls)
}

/// `'text' rest` → the text, and what follows without blanks.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (inside, rest) = text.strip_prefix('\'')?.split_once('\'')?;
    // A quote within a quote would need two of them: no name of a relation has one.
    if rest.starts_with('\'') || inside.contains(char::is_control) {
        return None;
    }
    Some((inside.trim().to_owned(), rest.trim_start()))
}

/// Place and contents of a hint's canonical text (without its `+`).
fn contents(text: &str) -> Option<(Span, Vec<Vec<&str>>)> {
    let mut parts = text.splitn(5, ':');
    let mut number = || parts.next()?.parse::<u32>().ok();
    let span = Span::new((number()?, number()?), (number()?, number()?));
    let hints = parts.next()?.split(HINTS);
    Some((
        span,
        hints.map(|hint| hint.split(PARTS).collect()).collect(),
    ))
}

/// The name in a hint's canonical text (without its `+`).
pub(crate) fn name_in(text: &str) -> Option<Name> {
    let (span, hints) = contents(text)?;
    let name = hints.iter().find_map(|hint| match hint.as_slice() {
        ["ID", name] => Some((*name).to_owned()),
        _ => None,
    })?;
    Some(Name {
        value: name.clone(),
        spelling: name,
        span,
    })
}

/// What a hint's canonical text (without its `+`) says of how long state is kept.
pub(crate) fn ttls_in(text: &str) -> Vec<TtlHint> {
    let Some((span, hints)) = contents(text) else {
        return Vec::new();
    };
    let ttl = |hint: &Vec<&str>| match hint.as_slice() {
        ["TTL", relation, micros] => Some(TtlHint {
            relation: (*relation).to_owned(),
            micros: micros.parse().ok()?,
            span,
        }),
        _ => None,
    };
    hints.iter().filter_map(ttl).collect()
}

/// What a hint's canonical text (without its `+`) says of the path that the block had.
pub(crate) fn state_from_in(text: &str) -> Option<(String, Span)> {
    let (span, hints) = contents(text)?;
    hints.iter().find_map(|hint| match hint.as_slice() {
        ["FROM", path] => Some(((*path).to_owned(), span)),
        _ => None,
    })
}

/// Whether a token is a hint; with the name that it gives.
pub(crate) fn of_token(token: &Token) -> Option<Option<Name>> {
    match token {
        Token::Whitespace(Whitespace::MultiLineComment(text)) => {
            Some(name_in(text.strip_prefix('+')?))
        }
        _ => None,
    }
}
