//! Words for what the parsers did not expect, theirs and ours.
//!
//! sqlparser says what is wrong as text, with line and column of a token. Here the place becomes a span, the words become ours,
//! and the usual slips (a comma too many, a misspelt keyword, a reserved word as a name) get their way out.

use sqlparser::keywords::Keyword;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use weir_types::{Diagnostic, Span};

use super::cursor::is_keyword;
use super::to_span;
use crate::codes;

/// Keywords that open a clause: whoever misspells one gets an alias, and an error one word later.
const CLAUSES: &[&str] = &[
    "SELECT", "FROM", "WHERE", "GROUP", "HAVING", "JOIN", "UNION", "ORDER", "LIMIT", "INSERT",
    "INTO", "VALUES", "WITH",
];

/// Words that open a form of their own, and are columns in other people's tables.
const FORMS: &[&str] = &["CAST", "TRIM", "TOP", "EXISTS", "INTERVAL"];

/// `what` should stand at token `at` and does not.
pub(crate) fn expected(what: &str, tokens: &[TokenWithSpan], at: usize, end: Span) -> Diagnostic {
    if let Some(foreign) = super::phrases::foreign(tokens, at) {
        return foreign;
    }
    let Some(found) = tokens.get(at) else {
        let diagnostic = Diagnostic::error(
            codes::UNEXPECTED_TOKEN,
            format!("expected {what}, but the statement ends here"),
        )
        .at(end, format!("expected {what}"));
        return unclosed(diagnostic, tokens, at);
    };
    if let Some(slip) = misspelt_before(tokens, at) {
        return slip;
    }
    let text = shown(&found.token);
    let diagnostic = Diagnostic::error(
        codes::UNEXPECTED_TOKEN,
        format!("expected {what}, found `{text}`"),
    )
    .at(to_span(found.span), format!("expected {what}"));
    with_help(diagnostic, what, tokens, at)
}

/// Last parts of a name by which a file was meant.
const FILE_ENDINGS: [&str; 9] = [
    "csv", "tsv", "json", "jsonl", "ndjson", "parquet", "log", "gz", "zst",
];

/// A name of several parts where there are no catalogs and databases.
pub(crate) fn qualified_name(whole: &str, last: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        codes::QUALIFIED_NAME,
        format!("`{whole}` has more than one part"),
    )
    .at(span, "there are no catalogs and no databases here")
    .help(if FILE_ENDINGS.contains(&last.to_lowercase().as_str()) {
        format!("a file is a table in quotes: '{whole}'")
    } else {
        format!("write `{last}` alone")
    })
}

/// A token as the user wrote it, cut if it is long.
pub(crate) fn shown(token: &Token) -> String {
    let text = token.to_string();
    if text.chars().count() <= 40 {
        text
    } else {
        text.chars().take(37).chain("...".chars()).collect()
    }
}

/// What sqlparser found wrong, told with the statement's own tokens (those before `shorten`).
pub(crate) fn of_parser(error: &ParserError, tokens: &[TokenWithSpan], end: Span) -> Diagnostic {
    let text = match error {
        ParserError::RecursionLimitExceeded => return too_deep(deepest(tokens).unwrap_or(end)),
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    let (message, place) = split_place(text);
    let at = match place {
        Some(place) => tokens
            .iter()
            .position(|token| (token.span.start.line, token.span.start.column) == place),
        None => None,
    };
    let expectation = message
        .strip_prefix("Expected: ")
        .or_else(|| message.strip_prefix("Expected "));
    match expectation.and_then(|rest| rest.split_once(", found: ")) {
        Some((what, found)) => {
            let at = at.unwrap_or_else(|| {
                if found == "EOF" {
                    position_of(end, tokens)
                } else {
                    0
                }
            });
            // In places sqlparser tells the token behind the one that it names.
            let is_named = |at: usize| {
                tokens
                    .get(at)
                    .is_some_and(|token| token.token.to_string() == found)
            };
            let at = if !is_named(at) && at > 0 && is_named(at - 1) {
                at - 1
            } else {
                at
            };
            expected(&in_our_words(what), tokens, at, end)
        }
        None if message.starts_with("No infix parser") => {
            let at = at.unwrap_or(tokens.len());
            expected("an operator or the end of the expression", tokens, at, end)
        }
        None => {
            let span = at
                .and_then(|at| tokens.get(at))
                .or(tokens.first())
                .map_or(end, |token| to_span(token.span));
            let message = lower_first(
                message
                    .trim_start_matches("sql parser error: ")
                    .trim_end_matches('.'),
            );
            Diagnostic::error(codes::UNEXPECTED_TOKEN, message).at(span, "this cannot be read")
        }
    }
}

/// An expression or query that is nested beyond the limit.
pub(crate) fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::error(
        codes::TOO_DEEP,
        "this is nested too deeply, or is too long a chain of operators",
    )
    .at(span, "beyond the limit")
    .help("give a part of it a name: a column of a subquery in FROM, a CTE or a view")
    .help("a long chain of `a = 1 OR a = 2 OR …` is shorter as `a IN (1, 2, …)`")
}

/// The text with a lower-case first letter, unless its first word is a keyword in capitals.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain([second]).chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// The index of the token that stands at `end`, or that of none.
fn position_of(end: Span, tokens: &[TokenWithSpan]) -> usize {
    tokens
        .iter()
        .position(|token| to_span(token.span).start == end.start)
        .unwrap_or(tokens.len())
}

/// The text without ` at Line: 3, Column: 5`, and that place.
fn split_place(text: &str) -> (&str, Option<(u64, u64)>) {
    let parse = || {
        let start = text.rfind(" at Line: ")?;
        let (line, column) = text[start + " at Line: ".len()..].split_once(", Column: ")?;
        Some((
            &text[..start],
            (line.parse().ok()?, column.trim_end().parse().ok()?),
        ))
    };
    match parse() {
        Some((message, place)) => (message, Some(place)),
        None => (text, None),
    }
}

/// sqlparser's expectation as we would say it.
fn in_our_words(what: &str) -> String {
    let known = match what {
        "an expression" | "an expression:" => "an expression",
        "identifier" => "a name",
        "end of statement" => "the end of the statement",
        "literal string" => "a string in single quotes",
        "SELECT, VALUES, or a subquery in the query body" => "a query (SELECT …)",
        "joined table" => "a join inside these parentheses",
        "an SQL statement" => "a statement",
        "literal int" => "a whole number",
        "an identifier after AS" => "a name behind AS",
        "an identifier or a '*' after '.'" => "a name or * behind the dot",
        "[NOT] NULL | TRUE | FALSE | DISTINCT | [form] NORMALIZED FROM after IS" => {
            "NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM behind IS [NOT]"
        }
        "date/time field" => "a unit of time (YEAR, DAY, HOUR, …)",
        "Expected OPERATOR, LPAREN or a literal value" => "a value",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let symbol =
        !what.is_empty() && what.chars().count() <= 3 && !what.chars().any(char::is_alphanumeric);
    if symbol {
        format!("`{what}`")
    } else {
        what.to_owned()
    }
}

/// Adds the way out of the usual slips.
fn with_help(
    diagnostic: Diagnostic,
    what: &str,
    tokens: &[TokenWithSpan],
    at: usize,
) -> Diagnostic {
    let previous = at.checked_sub(1).and_then(|previous| tokens.get(previous));
    let found = &tokens[at].token;
    if let Some(previous) = previous.filter(|previous| previous.token == Token::Comma)
        && CLAUSES.iter().any(|clause| is_keyword(found, clause)) | (*found == Token::RParen)
    {
        return diagnostic
            .at(to_span(previous.span), "nothing follows this comma")
            .help("remove the comma");
    }
    if let Some(keyword) = misspelt(found) {
        return diagnostic.help(format!("did you mean `{keyword}`?"));
    }
    if what.starts_with("a name") || what.starts_with("the name") || what.starts_with("a column") {
        if let Token::Word(
            word @ Word {
                quote_style: None, ..
            },
        ) = found
        {
            return diagnostic.help(format!(
                "`{}` is a keyword; as a name it has to be quoted: \"{}\"",
                word.value, word.value
            ));
        }
        if let Token::SingleQuotedString(text) = found {
            return diagnostic.help(format!(
                "single quotes make a string; a name is quoted as \"{text}\""
            ));
        }
    }
    if let Some(Token::Word(Word {
        value,
        quote_style: None,
        ..
    })) = previous.map(|previous| &previous.token)
        && FORMS.iter().any(|form| value.eq_ignore_ascii_case(form))
    {
        return diagnostic.help(format!(
            "if `{value}` is meant as a name, it has to be quoted: \"{value}\""
        ));
    }
    if what == "a name behind AS" {
        return diagnostic
            .help("an alias is a name, with the names of its columns behind it: AS t (a, b)");
    }
    if what.starts_with("a query") {
        return diagnostic
            .help("a query begins with SELECT, VALUES or WITH: INSERT INTO t (a, b) SELECT …");
    }
    if what == "WHEN" {
        return diagnostic.help("if `case` is meant as a name, it has to be quoted: \"case\"");
    }
    if *found == Token::DoubleEq {
        return diagnostic.help("equality is written with one `=`");
    }
    if what == "the end of the statement" {
        if *found == Token::RParen {
            return diagnostic.help("there is one `)` too many");
        }
        return match previous.map(|previous| &previous.token) {
            Some(word) if is_keyword(word, "NOT") => {
                diagnostic.help("behind a value, NOT is followed by IN, BETWEEN or LIKE")
            }
            Some(word) if CLAUSES.iter().any(|clause| is_keyword(word, clause)) => {
                let word = shown(word);
                diagnostic.help(format!(
                    "`{word}` was read as a name: something is missing before it"
                ))
            }
            _ if is_keyword(found, "GROUP") || is_keyword(found, "ORDER") => {
                diagnostic.help(format!("`{}` is followed by BY", shown(found)))
            }
            _ => diagnostic.help("a comma may be missing here; statements are separated by `;`"),
        };
    }
    if what == "`)`" {
        unclosed(diagnostic, tokens, at)
    } else {
        diagnostic
    }
}

/// A misspelt keyword just before token `at`: it was taken as an alias, and the error came one word later.
fn misspelt_before(tokens: &[TokenWithSpan], at: usize) -> Option<Diagnostic> {
    let previous = tokens.get(at.checked_sub(1)?)?;
    let before = tokens.get(at.checked_sub(2)?)?;
    // A name that follows a dot, a comma or AS was meant as one.
    if matches!(before.token, Token::Period | Token::Comma) || is_keyword(&before.token, "AS") {
        return None;
    }
    let keyword = misspelt(&previous.token)?;
    let word = shown(&previous.token);
    let diagnostic = Diagnostic::error(
        codes::UNEXPECTED_TOKEN,
        format!("expected {keyword}, found `{word}`"),
    );
    Some(
        diagnostic
            .at(to_span(previous.span), format!("expected {keyword}"))
            .help(format!("did you mean `{keyword}`?")),
    )
}

/// A clause's keyword of which the word is a misspelling.
fn misspelt(token: &Token) -> Option<&'static str> {
    let Token::Word(Word {
        value,
        quote_style: None,
        keyword: Keyword::NoKeyword,
    }) = token
    else {
        return None;
    };
    let upper = value.to_ascii_uppercase();
    if upper.len() < 3 {
        return None;
    }
    let distance = |clause: &str| strsim::damerau_levenshtein(clause, &upper);
    CLAUSES
        .iter()
        .copied()
        .filter(|clause| distance(clause) == 1 || (clause.len() > 4 && distance(clause) == 2))
        .min_by_key(|clause| distance(clause))
}

/// Points at the parenthesis that is still open before token `at`.
fn unclosed(diagnostic: Diagnostic, tokens: &[TokenWithSpan], at: usize) -> Diagnostic {
    let mut open = Vec::new();
    for token in &tokens[..at.min(tokens.len())] {
        match token.token {
            Token::LParen => open.push(token),
            Token::RParen => drop(open.pop()),
            _ => {}
        }
    }
    // One that is closed further on is not to blame.
    let mut depth = 1i64;
    let is_closed = tokens[at.min(tokens.len())..].iter().any(|token| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    match open.last().filter(|_| !is_closed) {
        Some(paren) => diagnostic.at(to_span(paren.span), "this parenthesis is never closed"),
        None => diagnostic,
    }
}

/// The innermost opening parenthesis.
fn deepest(tokens: &[TokenWithSpan]) -> Option<Span> {
    let (mut depth, mut best) = (0i64, (0i64, None));
    for token in tokens {
        match token.token {
            Token::LParen | Token::LBracket => {
                depth += 1;
                if depth > best.0 {
                    best = (depth, Some(to_span(token.span)));
                }
            }
            Token::RParen | Token::RBracket => depth -= 1,
            _ => {}
        }
    }
    best.1
        .or_else(|| tokens.first().map(|token| to_span(token.span)))
}
