//! `CREATE FUNCTION name (parameter TYPE, …) RETURNS TYPE [LANGUAGE SQL] RETURN expression`: a name for an expression.
//!
//! A call is replaced by the expression before anything is bound ([`crate::user_functions`]), so a function costs nothing and
//! has no operator, no ID and no fingerprint of its own.

use sqlparser::ast::Expr;
use sqlparser::tokenizer::{Token, TokenWithSpan};
use weir_types::{Diagnostic, Diagnostics, Span};

use super::cursor::Cursor;
use super::ddl::declared_twice;
use super::{CreateFunction, Parameter, query, types};
use crate::codes;

/// Parses what follows `CREATE … FUNCTION`.
pub(crate) fn create_function(
    cursor: &mut Cursor<'_>,
    start: Span,
) -> Result<CreateFunction, Diagnostics> {
    cursor.take_keywords(&["IF", "NOT", "EXISTS"]);
    let name = cursor.object_name("the name of the function")?;
    if cursor.is_keywords(&["AS"]) {
        return Err(form(cursor, "a function is written in SQL").into());
    }
    let mut parameters: Vec<Parameter> = Vec::new();
    cursor.expect(&Token::LParen)?;
    while !cursor.is(&Token::RParen) {
        let name = cursor.name("the name of a parameter")?;
        if parameters
            .iter()
            .any(|known| known.name.value == name.value)
        {
            let what = format!("the parameter `{}`", name.spelling);
            return Err(declared_twice(&what, name.span).into());
        }
        let cast = cast_to_type(cursor)?;
        parameters.push(Parameter { name, cast });
        if !cursor.take(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    cursor.expect_keyword("RETURNS")?;
    let result = cast_to_type(cursor)?;
    loop {
        if cursor.take_keywords(&["LANGUAGE", "SQL"])
            || cursor.take_keyword("IMMUTABLE")
            || cursor.take_keyword("DETERMINISTIC")
        {
            continue;
        }
        if cursor.is_keywords(&["LANGUAGE"]) || cursor.is_keywords(&["AS"]) {
            return Err(form(cursor, "a function is one SQL expression").into());
        }
        break;
    }
    cursor.expect_keyword("RETURN")?;
    let tokens = cursor.rest();
    let body = query::parse_expr(tokens, cursor.statement(), cursor.end())?;
    cursor.skip(tokens.len());
    Ok(CreateFunction {
        name,
        parameters,
        body: of_type(&result, body),
        span: start.union(cursor.last_span()),
    })
}

fn form(cursor: &Cursor<'_>, message: &str) -> Diagnostic {
    Diagnostic::error(codes::FUNCTION_FORM, message)
        .at(cursor.span(), "expected RETURN and an expression")
        .help("CREATE FUNCTION discount (price DOUBLE) RETURNS DOUBLE RETURN price * 0.9")
        .help("code of other languages cannot be called")
}

/// The type that comes next, as a cast of something to it.
fn cast_to_type(cursor: &mut Cursor<'_>) -> Result<Expr, Diagnostics> {
    let before = cursor.rest();
    types::parse(cursor)?;
    let taken = &before[..before.len() - cursor.rest().len()];
    let place = taken
        .first()
        .map_or(sqlparser::tokenizer::Span::empty(), |token| token.span);
    let token = |token: Token| TokenWithSpan { token, span: place };
    let mut tokens = vec![
        token(Token::make_keyword("CAST")),
        token(Token::LParen),
        token(Token::make_keyword("NULL")),
        token(Token::make_keyword("AS")),
    ];
    tokens.extend(taken.iter().cloned());
    tokens.push(token(Token::RParen));
    query::parse_expr(&tokens, cursor.statement(), cursor.span())
}

/// An expression, cast to the type of that cast.
pub(crate) fn of_type(cast: &Expr, inner: Expr) -> Expr {
    let mut cast = cast.clone();
    if let Expr::Cast { expr, .. } = &mut cast {
        **expr = Expr::Nested(Box::new(inner));
    }
    cast
}
