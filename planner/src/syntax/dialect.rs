//! The dialect of queries: PostgreSQL's expressions, with backticks beside double quotes.
//!
//! Two kinds of things are turned on beyond PostgreSQL: what Weir has, and what people of other systems write, so that
//! the walker can name it and say what to write instead (a parser that does not know `QUALIFY` can only say that
//! it did not expect that word). Operators are the standard ones: with PostgreSQL's custom operators `a<-1` would be
//! one unknown operator instead of a comparison.

use std::any::TypeId;
use std::cell::Cell;

use sqlparser::ast::{
    Array, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName,
};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct WeirDialect {
    /// How many more operands may be tried. sqlparser tries one reading after another, and where those nest a mistake
    /// deep inside takes exponentially many attempts: this is where they end.
    attempts: Cell<usize>,
}

impl WeirDialect {
    /// A dialect for parsing so many tokens, once.
    pub(crate) fn for_tokens(count: usize) -> Self {
        Self {
            attempts: Cell::new(1_000 + 64 * count),
        }
    }

    /// A special form that begins with a keyword and a parenthesis (or the like). Read here, it is not tried as a
    /// column or function of that name after a mistake, so the mistake is reported where it is.
    fn special_form(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let [Token::Word(word), next] = parser.peek_tokens_ref::<2>().map(|token| &token.token)
        else {
            return None;
        };
        let (parenthesis, keyword) = (*next == Token::LParen, word.keyword);
        let operand =
            parenthesis || matches!(next, Token::SingleQuotedString(_) | Token::Number(..));
        let rule: fn(&mut Parser) -> Result<Expr, ParserError> = match keyword {
            Keyword::CASE => |parser| parser.parse_case_expr(),
            Keyword::NOT => |parser| parser.parse_not(),
            Keyword::CAST if parenthesis => |parser| parser.parse_cast_expr(CastKind::Cast),
            Keyword::TRY_CAST if parenthesis => |parser| parser.parse_cast_expr(CastKind::TryCast),
            Keyword::SAFE_CAST if parenthesis => {
                |parser| parser.parse_cast_expr(CastKind::SafeCast)
            }
            Keyword::EXISTS if parenthesis => |parser| parser.parse_exists_expr(false),
            Keyword::EXTRACT if parenthesis => |parser| parser.parse_extract_expr(),
            Keyword::CEIL if parenthesis => |parser| parser.parse_ceil_floor_expr(true),
            Keyword::FLOOR if parenthesis => |parser| parser.parse_ceil_floor_expr(false),
            Keyword::TRIM if parenthesis => |parser| parser.parse_trim_expr(),
            Keyword::OVERLAY if parenthesis => |parser| parser.parse_overlay_expr(),
            Keyword::INTERVAL if operand => |parser| parser.parse_interval(),
            Keyword::SUBSTR | Keyword::SUBSTRING if parenthesis => {
                return Some(parser.parse_substring());
            }
            Keyword::POSITION if parenthesis => position,
            Keyword::MAP if *next == Token::LBracket => map,
            Keyword::ARRAY if *next == Token::LBracket => |parser| {
                parser.advance_token();
                parser.parse_array_expr(true)
            },
            _ => return None,
        };
        parser.advance_token();
        Some(rule(parser))
    }
}

/// `['a', 1, 'b', 2]` behind MAP: a call of `map` with an array of the keys and one of the values.
fn map(parser: &mut Parser) -> Result<Expr, ParserError> {
    let place = parser.peek_token_ref().span;
    parser.expect_token(&Token::LBracket)?;
    let entries = match parser.peek_token_ref().token {
        Token::RBracket => Vec::new(),
        _ => parser.parse_comma_separated(Parser::parse_expr)?,
    };
    parser.expect_token(&Token::RBracket)?;
    if entries.is_empty() || entries.len() % 2 == 1 {
        let place = place.start;
        return Err(ParserError::ParserError(format!(
            "Expected: a value for each key of this map, found: [ at Line: {}, Column: {}",
            place.line, place.column
        )));
    }
    let every_second = |first: usize| {
        let elem = entries.iter().skip(first).step_by(2).cloned().collect();
        Expr::Array(Array { elem, named: true })
    };
    let argument = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    let list = FunctionArgumentList {
        duplicate_treatment: None,
        args: vec![argument(every_second(0)), argument(every_second(1))],
        clauses: Vec::new(),
    };
    Ok(Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_span(place, "map")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }))
}

/// `(a IN b)` behind POSITION.
fn position(parser: &mut Parser) -> Result<Expr, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let expr = parser.parse_subexpr(POSTGRES.prec_value(Precedence::Between))?;
    parser.expect_keyword_is(Keyword::IN)?;
    let r#in = parser.parse_expr()?;
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Position {
        expr: Box::new(expr),
        r#in: Box::new(r#in),
    })
}

impl Dialect for WeirDialect {
    /// Where the parser asks for a dialect by type, it is told PostgreSQL.
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('"')
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        match self.attempts.get().checked_sub(1) {
            Some(left) => self.attempts.set(left),
            // Unlike other errors, this one ends all attempts.
            None => return Some(Err(ParserError::RecursionLimitExceeded)),
        }
        Self::special_form(parser)
    }

    /// `a IS [NOT] DISTINCT FROM b`. Left alone, the parser would take all that follows for `b`, up to an AND behind it.
    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        use Keyword::{DISTINCT, FROM, IS, NOT};
        let negated = if parser.parse_keywords(&[IS, DISTINCT, FROM]) {
            false
        } else if parser.parse_keywords(&[IS, NOT, DISTINCT, FROM]) {
            true
        } else {
            return None;
        };
        let left = Box::new(expr.clone());
        let right = parser.parse_subexpr(POSTGRES.prec_value(Precedence::Is));
        Some(right.map(Box::new).map(|right| {
            if negated {
                Expr::IsNotDistinctFrom(left, right)
            } else {
                Expr::IsDistinctFrom(left, right)
            }
        }))
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        POSTGRES.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }

    // What Weir has.

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_string_escape_constant(&self) -> bool {
        true
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_notnull_operator(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_comment_optimizer_hint(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }

    // What the walker refuses, with a way out.

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_connect_by(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    fn supports_select_wildcard_replace(&self) -> bool {
        true
    }

    fn supports_select_wildcard_rename(&self) -> bool {
        true
    }

    fn supports_limit_comma(&self) -> bool {
        true
    }

    fn supports_group_by_with_modifier(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }
}
