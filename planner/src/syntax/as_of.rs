//! The spellings of an as-of join that sqlparser cannot read, made into the one that it can, with a mark.
//!
//! ```text
//!   ASOF JOIN b ON …                             ─▶  ASOF JOIN b MATCH_CONDITION ("weir as of"('inner')) ON …
//!   ASOF LEFT JOIN b MATCH_CONDITION (c) ON …    ─▶  ASOF JOIN b MATCH_CONDITION ("weir as of"('left', c)) ON …
//! ```
//!
//! `LEFT ASOF JOIN` is the same as `ASOF LEFT JOIN`, and INNER the same as nothing.

use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::is_keyword;

const MARK: &str = "weir as of";

/// The beginning of an as-of join.
pub(super) struct AsOfWords {
    /// Whether left rows without a match are kept.
    pub(super) is_left: bool,
    /// Tokens from the first word up to JOIN, and where ASOF and JOIN stand among them.
    pub(super) count: usize,
    pub(super) as_of: usize,
    /// MATCH_CONDITION, ON or USING behind the relation.
    pub(super) condition: usize,
}

/// What `tokens` begin with, if it is an as-of join.
pub(super) fn as_of_words(tokens: &[TokenWithSpan]) -> Option<AsOfWords> {
    let word = |at: usize, keyword: &str| {
        tokens
            .get(at)
            .is_some_and(|token| is_keyword(&token.token, keyword))
    };
    let (mut at, mut is_left, mut as_of) = (0, false, None);
    loop {
        if word(at, "ASOF") && as_of.is_none() {
            as_of = Some(at);
        } else if word(at, "LEFT") && !is_left {
            is_left = true;
            at += usize::from(word(at + 1, "OUTER"));
        } else if !(word(at, "INNER") && as_of.is_some() && !is_left) {
            break;
        }
        at += 1;
    }
    let as_of = as_of.filter(|_| word(at, "JOIN"))?;
    let condition = condition_after(tokens, at + 1)?;
    Some(AsOfWords {
        is_left,
        count: at + 1,
        as_of,
        condition,
    })
}

/// Where the condition of a join begins whose relation stands at `start`.
fn condition_after(tokens: &[TokenWithSpan], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        let is = |keyword: &str| is_keyword(&token.token, keyword);
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            Token::SemiColon => return None,
            _ if depth > 0 => {}
            _ if ["MATCH_CONDITION", "ON", "USING"].into_iter().any(is) => return Some(at),
            _ if ["JOIN", "WHERE", "GROUP", "UNION", "SELECT"]
                .into_iter()
                .any(is) =>
            {
                return None;
            }
            _ => {}
        }
    }
    None
}

/// The tokens of a mark up to its condition, or whole if there is none; `at`: whose place they take.
pub(super) fn mark(is_left: bool, with_condition: bool, at: &TokenWithSpan) -> Vec<TokenWithSpan> {
    let kind = if is_left { "left" } else { "inner" };
    let last = if with_condition {
        Token::Comma
    } else {
        Token::RParen
    };
    let tokens = [
        Token::LParen,
        Token::make_word(MARK, Some('"')),
        Token::LParen,
        Token::SingleQuotedString(kind.to_owned()),
        last,
    ];
    tokens
        .into_iter()
        .map(|token| TokenWithSpan {
            token,
            span: at.span,
        })
        .collect()
}

/// What a mark says: whether left rows without a match are kept, and the condition unless it is in ON.
pub(crate) fn as_of_mark(condition: &Expr) -> Option<(bool, Option<&Expr>)> {
    let Expr::Function(call) = condition else {
        return None;
    };
    let [ast::ObjectNamePart::Identifier(name)] = call.name.0.as_slice() else {
        return None;
    };
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    if name.value != MARK || name.quote_style.is_none() {
        return None;
    }
    let mut arguments = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let Some(Some(Expr::Value(kind))) = arguments.next() else {
        return None;
    };
    let Value::SingleQuotedString(kind) = &kind.value else {
        return None;
    };
    let is_left = match kind.as_str() {
        "left" => true,
        "inner" => false,
        _ => return None,
    };
    match (arguments.next(), arguments.next()) {
        (None, _) => Some((is_left, None)),
        (Some(Some(condition)), None) => Some((is_left, Some(condition))),
        _ => None,
    }
}
