//! Hints: `/*+ ID('n') */` right after SELECT or INSERT gives that block a name.
//!
//! sqlparser keeps a hint's text in the AST, but not its span. So a hint's token is given a canonical text that holds both,
//! place and name; [`name_in`] reads it on the other side. A hint anywhere else would be a comment that nobody sees.

use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};
use weir_types::{Diagnostic, Span};

use super::Name;
use super::cursor::is_keyword;
use crate::codes;

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
                .help("keep one /*+ ID('name') */"),
        ));
    }
    if comment
        .trim_start_matches('+')
        .trim_start()
        .to_ascii_uppercase()
        .starts_with("OPTIONS")
    {
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
    let text = comment.trim_start_matches('+').trim();
    if text.to_ascii_uppercase().starts_with("STATE_TTL") {
        return Err(Box::new(
            Diagnostic::error(codes::UNKNOWN_HINT, "the hint STATE_TTL is not supported yet")
                .at(span, "state is kept as long as its keys")
                .help("bound it by event time: group by a window, TUMBLE(…) or HOP(…); EXPLAIN shows what bounds each state table"),
        ));
    }
    let unknown = |message: String| {
        let diagnostic =
            Diagnostic::error(codes::UNKNOWN_HINT, message).at(span, "not a hint that Weir knows");
        Box::new(diagnostic.help(
            "/*+ ID('name') */ gives the block a name, as an alias would: its state is found by it",
        ))
    };
    let name = text
        .get(..2)
        .filter(|id| id.eq_ignore_ascii_case("id"))
        .map(|_| text[2..].trim())
        .and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'))
        .map(str::trim)
        .and_then(|quoted| quoted.strip_prefix('\'')?.strip_suffix('\''))
        .filter(|name| !name.trim().is_empty() && !name.contains('\''));
    match name {
        Some(name) => {
            let Span { start, end } = span;
            Ok(format!(
                "+{}:{}:{}:{}:{name}",
                start.line, start.column, end.line, end.column
            ))
        }
        None if text.to_ascii_uppercase().starts_with("STATE_FROM") => Err(unknown(
            "the hint STATE_FROM is not supported yet".to_owned(),
        )),
        None => Err(unknown(format!(
            "there is no hint `{}`",
            text.chars().take(40).collect::<String>()
        ))),
    }
}

/// The name in a hint's canonical text (without its `+`).
pub(crate) fn name_in(text: &str) -> Option<Name> {
    let mut parts = text.splitn(5, ':');
    let mut number = || parts.next()?.parse::<u32>().ok();
    let span = Span::new((number()?, number()?), (number()?, number()?));
    let name = parts.next()?.to_owned();
    Some(Name {
        value: name.clone(),
        spelling: name,
        span,
    })
}

/// The name in a hint token.
pub(crate) fn of_token(token: &Token) -> Option<Name> {
    match token {
        Token::Whitespace(Whitespace::MultiLineComment(text)) => name_in(text.strip_prefix('+')?),
        _ => None,
    }
}
