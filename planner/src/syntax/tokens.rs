//! From text to the tokens of each statement.
//!
//! ```text
//!   text ─▶ scan      tokens with spans, without blanks and comments; hints of one form (hints.rs); cut at `;`
//!        ─▶ shorten   (shorten.rs) what sqlparser can read
//! ```
//!
//! # Invariants
//! 1. Every token keeps the span of the text that it stands for.
//! 2. In a statement that passed [`check_depth`] parentheses nest at most [`DEPTH_MAX`] deep, and operators at most
//!    [`CHAIN_MAX`]: what recurses later is bounded.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};
use weir_types::{Diagnostic, Span};

use super::cursor::is_keyword;
use super::dialect::WeirDialect;
use super::{errors, hints, to_span};
use crate::codes;

/// How deep parentheses may nest.
pub(crate) const DEPTH_MAX: usize = 100;
/// How many operators may stand in one chain (between two commas), counting the chains around it: a chain is as deep
/// a tree as it is long.
pub(crate) const CHAIN_MAX: usize = 1_000;

/// The tokens of one statement.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) tokens: Vec<TokenWithSpan>,
    /// Its `;`, or the character behind its last token.
    pub(crate) end: Span,
}

/// The statements' tokens, and what is wrong with the text as such.
pub(crate) fn scan(sql: &str) -> (Vec<Chunk>, Vec<Diagnostic>) {
    let mut problems = Vec::new();
    let mut tokens = Vec::new();
    let dialect = WeirDialect::for_tokens(0);
    let mut tokenizer = Tokenizer::new(&dialect, sql);
    let broken = tokenizer.tokenize_with_location_into_buf(&mut tokens).err();
    let last_end = tokens.last().map(|token| token.span.end);
    let mut chunks = Vec::new();
    let mut current = Vec::new();
    for token in tokens {
        match &token.token {
            Token::Whitespace(Whitespace::MultiLineComment(comment))
                if comment.starts_with('+') =>
            {
                match hints::read(comment, to_span(token.span), current.last()) {
                    Ok(text) => current.push(TokenWithSpan::new(
                        Token::Whitespace(Whitespace::MultiLineComment(text)),
                        token.span,
                    )),
                    Err(problem) => problems.push(*problem),
                }
            }
            Token::Whitespace(_) => {}
            Token::SemiColon => chunks.push(Chunk {
                tokens: std::mem::take(&mut current),
                end: to_span(token.span),
            }),
            _ => {
                // `SET key = 10s` is no expression.
                let is_setting = current
                    .first()
                    .is_some_and(|first: &TokenWithSpan| is_keyword(&first.token, "SET"));
                if let Some(problem) = glued(current.last(), &token).filter(|_| !is_setting) {
                    problems.push(problem);
                }
                current.push(without_surprise(token));
            }
        }
    }
    match broken {
        // What stands before the place that cannot be read is no whole statement: it is not judged.
        Some(error) => {
            // Of a comment the tokenizer tells the end of the text; it opens where the last token ended.
            let start = last_end.unwrap_or(Location::new(1, 1));
            let comment = error.message.to_ascii_lowercase().contains("comment");
            problems.push(bad_token(
                &error.message,
                if comment { start } else { error.location },
                sql,
            ));
        }
        None => {
            let end = current
                .last()
                .map(|token: &TokenWithSpan| behind(token.span.end));
            if let Some(end) = end {
                chunks.push(Chunk {
                    tokens: current,
                    end,
                });
            }
        }
    }
    chunks.retain(|chunk| !chunk.tokens.is_empty());
    (chunks, problems)
}

/// A word that begins where a number ends: `0b101` would be read as 0, called b101.
fn glued(number: Option<&TokenWithSpan>, word: &TokenWithSpan) -> Option<Diagnostic> {
    let number = number.filter(|number| matches!(number.token, Token::Number(..)))?;
    if !matches!(word.token, Token::Word(_)) || number.span.end != word.span.start {
        return None;
    }
    let text = format!("{}{}", number.token, word.token);
    Some(
        Diagnostic::error(codes::BAD_TOKEN, format!("`{text}` is not a number"))
            .at(
                to_span(number.span).union(to_span(word.span)),
                "letters follow the digits",
            )
            .help(
                "numbers are 10, 1.5, 1e3 and 0x1F; a name behind a number stands apart: 10 AS x",
            ),
    )
}

/// A token that sqlparser would take for something else than its user.
///
/// * `0x1F` is a number, as in PostgreSQL; the tokenizer takes it for the bytes `X'1F'`, which are one character longer.
/// * `user` is an ordinary name: there are no users here, and it is a common name of a column.
fn without_surprise(mut token: TokenWithSpan) -> TokenWithSpan {
    match &mut token.token {
        Token::HexStringLiteral(digits) => {
            let length = token
                .span
                .end
                .column
                .saturating_sub(token.span.start.column) as usize;
            if length == digits.len() + 2
                && let Ok(number) = u128::from_str_radix(digits, 16)
            {
                token.token = Token::Number(number.to_string(), false);
            }
        }
        Token::Word(word) if word.keyword == Keyword::USER => word.keyword = Keyword::NoKeyword,
        _ => {}
    }
    token
}

fn behind(location: Location) -> Span {
    let (line, column) = (location.line as u32, location.column as u32);
    Span::new((line, column), (line, column + 1))
}

/// What the tokenizer could not read.
fn bad_token(message: &str, at: Location, sql: &str) -> Diagnostic {
    let what = message.to_ascii_lowercase();
    let span = behind(at);
    let (message, label, help) = if what.contains("comment") {
        (
            "a comment is never closed".to_owned(),
            "it opens here",
            "close it with */ (comments nest)",
        )
    } else if what.contains("quoted") || what.contains("delimiter") || what.contains("before eof") {
        (
            "a quoted name is never closed".to_owned(),
            "it opens here",
            "close it with the quote that opened it",
        )
    } else if what.contains("unterminated") {
        (
            "a string is never closed".to_owned(),
            "it opens here",
            "close it with '; a quote within a string is written twice: 'it''s'",
        )
    } else {
        let found = sql
            .lines()
            .nth(at.line.saturating_sub(1) as usize)
            .and_then(|line| line.chars().nth(at.column.saturating_sub(1) as usize));
        let message = found.map_or_else(
            || "this text cannot be read".to_owned(),
            |c| format!("`{c}` cannot stand here"),
        );
        (message, "not SQL", "quote it: 'text' or \"name\"")
    };
    Diagnostic::error(codes::BAD_TOKEN, message)
        .at(span, label)
        .help(help)
}

/// Refuses what would recurse too deeply later (invariant 3). Also finds parentheses that do not match.
pub(crate) fn check_depth(tokens: &[TokenWithSpan]) -> Result<(), Diagnostic> {
    // For every open parenthesis how many operators its chain has so far, and the sum over all of them.
    let mut chains = vec![0usize];
    let mut sum = 0usize;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => chains.push(0),
            Token::RParen | Token::RBracket | Token::RBrace => {
                let closed = if chains.len() > 1 { chains.pop() } else { None };
                sum -= closed.unwrap_or(0);
            }
            Token::Comma => sum -= chains.last_mut().map(std::mem::take).unwrap_or(0),
            token if is_operator(token) => {
                sum += 1;
                if let Some(chain) = chains.last_mut() {
                    *chain += 1;
                }
            }
            _ => {}
        }
        if chains.len() > DEPTH_MAX || sum > CHAIN_MAX {
            return Err(errors::too_deep(to_span(token.span)));
        }
    }
    Ok(())
}

/// Whatever can make a tree deeper without a parenthesis.
fn is_operator(token: &Token) -> bool {
    const WORDS: &[&str] = &[
        "AND",
        "OR",
        "NOT",
        "IS",
        "LIKE",
        "ILIKE",
        "SIMILAR",
        "IN",
        "BETWEEN",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "MINUS",
        "CASE",
        "COLLATE",
        "AT",
        "ISNULL",
        "NOTNULL",
        "XOR",
        "DIV",
        "OVERLAPS",
        "RLIKE",
        "REGEXP",
    ];
    match token {
        Token::Word(_) => WORDS.iter().any(|word| is_keyword(token, word)),
        Token::Number(..)
        | Token::Period
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::HexStringLiteral(_)
        | Token::SingleQuotedByteStringLiteral(_) => false,
        // Everything else is a sign of some kind; to count one that is no operator costs nothing.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(sql: &str) -> Vec<Vec<String>> {
        let (chunks, problems) = scan(sql);
        assert!(problems.is_empty(), "{problems:?}");
        chunks
            .iter()
            .map(|chunk| {
                chunk
                    .tokens
                    .iter()
                    .map(|token| token.token.to_string())
                    .collect()
            })
            .collect()
    }

    #[test]
    fn statements_end_at_semicolons_that_are_no_text() {
        assert_eq!(
            chunks("a 'x;y' -- z;\n;; /* ; */ \"b;\""),
            [vec!["a", "'x;y'"], vec!["\"b;\""]]
        );
        assert!(chunks(" ; ;\n").is_empty());
    }

    #[test]
    fn hexadecimal_numbers_are_numbers_and_bytes_stay_bytes() {
        assert_eq!(chunks("0x1F X'1F'"), [["31", "X'1F'"]]);
    }

    #[test]
    fn a_chain_may_be_long_or_nested_but_not_both() {
        let tokens = |sql: &str| scan(sql).0.remove(0).tokens;
        assert!(check_depth(&tokens(&vec!["a"; CHAIN_MAX].join("+"))).is_ok());
        assert!(check_depth(&tokens(&vec!["a"; CHAIN_MAX + 2].join("+"))).is_err());
        // Commas begin new chains; what stands in parentheses adds to what surrounds it.
        assert!(check_depth(&tokens(&vec!["a+a"; 5 * CHAIN_MAX].join(","))).is_ok());
        let half = vec!["a"; CHAIN_MAX / 2 + 2].join("+");
        assert!(check_depth(&tokens(&format!("{half}+({half})"))).is_err());
        assert!(check_depth(&tokens(&"(".repeat(DEPTH_MAX + 1))).is_err());
    }
}
