//! Queries and expressions: sqlparser reads them, the walker looks over what it read.

use sqlparser::ast::{Expr, Query};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};
use weir_types::{Diagnostic, Diagnostics, Span};

use super::cursor::is_keyword;
use super::dialect::WeirDialect;
use super::{errors, shorten, walker};

/// Parses a query; all of `raw` has to be one. `statement` is what it stands in, for messages.
pub(crate) fn parse_query(
    raw: &[TokenWithSpan],
    statement: &[TokenWithSpan],
    end: Span,
) -> Result<Box<Query>, Diagnostics> {
    let short = shorten::shorten(raw, end)?;
    let query = run(&short, |parser| parser.parse_query())
        .map_err(|error| blame(&error, statement, &short, end))?;
    walker::check_query(&query, &short)?;
    Ok(query)
}

/// Parses an expression over one table's columns; all of `raw` has to be one. `statement` is what it stands in, for
/// messages, and `end` what follows the expression there.
pub(crate) fn parse_expr(
    raw: &[TokenWithSpan],
    statement: &[TokenWithSpan],
    end: Span,
) -> Result<Expr, Diagnostics> {
    let short = shorten::shorten(raw, end)?;
    let expr = run(&short, |parser| parser.parse_expr())
        .map_err(|error| errors::of_parser(&error, statement, end))?;
    walker::check_expr(&expr, &short)?;
    Ok(expr)
}

/// Runs one of sqlparser's rules over all tokens.
fn run<T>(
    tokens: &[TokenWithSpan],
    rule: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Result<T, ParserError> {
    let dialect = WeirDialect::for_tokens(tokens.len());
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens.to_vec());
    let parsed = rule(&mut parser)?;
    match parser.peek_token_ref() {
        token if token.token == Token::EOF => Ok(parsed),
        token => parser.expected_ref("end of statement", token),
    }
}

/// The diagnostic for a query that cannot be read.
///
/// sqlparser tries several readings of what stands in parentheses and reports the last one, so a slip in a subquery is
/// reported at its opening parenthesis. A query in parentheses has to be one by itself: the innermost that is none is to blame.
fn blame(
    error: &ParserError,
    statement: &[TokenWithSpan],
    tokens: &[TokenWithSpan],
    end: Span,
) -> Diagnostic {
    if matches!(error, ParserError::RecursionLimitExceeded) {
        return errors::of_parser(error, statement, end);
    }
    let mut open = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => open.push(index),
            Token::RParen => {
                let Some(start) = open.pop() else { continue };
                let inner = &tokens[start + 1..index];
                let is_query = inner.first().is_some_and(|token| {
                    is_keyword(&token.token, "SELECT") || is_keyword(&token.token, "WITH")
                });
                if is_query && let Err(error) = run(inner, |parser| parser.parse_query()) {
                    return errors::of_parser(&error, statement, super::to_span(token.span));
                }
            }
            _ => {}
        }
    }
    errors::of_parser(error, statement, end)
}
