//! Calls that are another spelling of something that exists: they are rewritten before they are bound.
//!
//! What a rewrite gives consists of the user's own operands, so that a mistake in one of them is found at its place.

use sqlparser::ast::{
    self, BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Value,
};
use sqlparser::tokenizer::Span;

/// The call in other words, if it is one of those. `name` is folded.
pub(crate) fn rewritten(name: &str, call: &Function) -> Option<Expr> {
    let arguments = plain_arguments(call)?;
    let span = name_span(call);
    let call = |name: &str, arguments: Vec<Expr>| call_of(name, arguments, span);
    Some(match (name, arguments.as_slice()) {
        ("if" | "iif", [condition, then, otherwise]) => {
            case(condition.clone(), then.clone(), otherwise.clone())
        }
        ("year" | "quarter" | "month" | "week" | "hour" | "minute" | "second", [time]) => {
            date_part(name, time, span)
        }
        ("dayofmonth", [time]) => date_part("day", time, span),
        ("dayofyear", [time]) => date_part("doy", time, span),
        // Sunday is 1 in Flink, 0 in the library.
        ("dayofweek", [time]) => Expr::Nested(Box::new(binary(
            date_part("dow", time, span),
            BinaryOperator::Plus,
            number("1", span),
        ))),
        ("timestampdiff" | "timestampadd", [unit, first, second]) => {
            let unit = unit_text(unit)?;
            call(
                if name == "timestampdiff" {
                    "timestamp_diff"
                } else {
                    "timestamp_add"
                },
                vec![text(&unit, span), first.clone(), second.clone()],
            )
        }
        ("mod", [a, b]) => Expr::Nested(Box::new(binary(
            a.clone(),
            BinaryOperator::Modulo,
            b.clone(),
        ))),
        ("truncate", arguments) => call("trunc", arguments.to_vec()),
        ("sign", [x]) => call("signum", vec![x.clone()]),
        ("ceiling", [x]) => call("ceil", vec![x.clone()]),
        ("ucase", [x]) => call("upper", vec![x.clone()]),
        ("lcase", [x]) => call("lower", vec![x.clone()]),
        ("log10", [x]) => call("log", vec![number("10", span), x.clone()]),
        ("e", []) => call("exp", vec![number("1", span)]),
        ("regexp", [value, pattern]) => call("regexp_like", vec![value.clone(), pattern.clone()]),
        ("locate", [part, value]) => call("strpos", vec![value.clone(), part.clone()]),
        ("regexp_split_to_array", [value, pattern]) => {
            call("regexp_split", vec![value.clone(), pattern.clone()])
        }
        ("split", [value, delimiter]) => {
            call("string_to_array", vec![value.clone(), delimiter.clone()])
        }
        ("to_base64", [value]) => call("encode", vec![value.clone(), text("base64pad", span)]),
        ("from_base64", [value]) => call(
            "bytes_to_text",
            vec![call("decode", vec![value.clone(), text("base64pad", span)])],
        ),
        ("unix_timestamp", []) => call("to_unixtime", vec![call("now", Vec::new())]),
        ("unix_timestamp", [value]) => call(
            "to_unixtime",
            vec![call(
                "to_timestamp",
                vec![value.clone(), text("yyyy-MM-dd HH:mm:ss", span)],
            )],
        ),
        ("unix_timestamp", [value, pattern]) => call(
            "to_unixtime",
            vec![call("to_timestamp", vec![value.clone(), pattern.clone()])],
        ),
        ("from_unixtime", [value]) => call(
            "from_unixtime",
            vec![value.clone(), text("yyyy-MM-dd HH:mm:ss", span)],
        ),
        ("num_nulls", [_, ..]) => nulls(&arguments, false, span)?,
        ("num_nonnulls", [_, ..]) => nulls(&arguments, true, span)?,
        ("to_timestamp", [value, pattern]) => {
            call("parse_timestamp", vec![value.clone(), pattern.clone()])
        }
        ("try_to_timestamp", [value, pattern]) => {
            call("try_parse_timestamp", vec![value.clone(), pattern.clone()])
        }
        ("to_date", [value, pattern]) => call("parse_date", vec![value.clone(), pattern.clone()]),
        ("json_extract_path" | "jsonb_extract_path", [_, _, ..]) => {
            call("json_get", arguments.clone())
        }
        ("json_extract_path_text" | "jsonb_extract_path_text", [_, _, ..]) => {
            call("json_get_text", arguments.clone())
        }
        ("jsonb_array_length", [value]) => call("json_array_length", vec![value.clone()]),
        ("jsonb_typeof", [value]) => call("json_typeof", vec![value.clone()]),
        _ => return None,
    })
}

/// The names of [`rewritten`].
const SPELLINGS: &[&str] = &[
    "ceiling",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "e",
    "from_base64",
    "from_unixtime",
    "hour",
    "if",
    "iif",
    "json_extract_path",
    "json_extract_path_text",
    "jsonb_array_length",
    "jsonb_extract_path",
    "jsonb_extract_path_text",
    "jsonb_typeof",
    "lcase",
    "locate",
    "log10",
    "minute",
    "mod",
    "month",
    "num_nonnulls",
    "num_nulls",
    "quarter",
    "regexp",
    "regexp_split_to_array",
    "second",
    "sign",
    "split",
    "timestampadd",
    "timestampdiff",
    "to_base64",
    "to_date",
    "to_timestamp",
    "truncate",
    "try_to_timestamp",
    "ucase",
    "unix_timestamp",
    "week",
    "year",
];

/// Whether a call of that name may be another spelling of something that exists.
pub(crate) fn is_spelling(name: &str) -> bool {
    SPELLINGS.contains(&name)
}

/// An operator or a special form in other words, if it is one of those.
pub(crate) fn rewritten_operator(expr: &Expr) -> Option<Expr> {
    json_operator(expr)
        .or_else(|| floor_or_ceil(expr))
        .or_else(|| many_times(expr))
        .or_else(|| greater_part(expr))
}

/// `INTERVAL '1' DAY * n`, `n * INTERVAL '1' DAY`: the library has no such operator.
fn many_times(expr: &Expr) -> Option<Expr> {
    let Expr::BinaryOp {
        left,
        op: BinaryOperator::Multiply,
        right,
    } = expr
    else {
        return None;
    };
    let (interval, count) = match (is_interval(left), is_interval(right)) {
        (true, false) => (left, right),
        (false, true) => (right, left),
        _ => return None,
    };
    let arguments = vec![interval.as_ref().clone(), count.as_ref().clone()];
    Some(call_of("interval_times", arguments, Span::empty()))
}

fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_interval(inner),
        Expr::Interval(_) => true,
        _ => false,
    }
}

/// `EXTRACT(CENTURY FROM t)` and its like, which the library has not. There is no year 0: 1 to 100 is the first century.
fn greater_part(expr: &Expr) -> Option<Expr> {
    let Expr::Extract { field, expr, .. } = expr else {
        return None;
    };
    let years = match field.to_string().to_ascii_lowercase().as_str() {
        "decade" => None,
        "century" => Some(("99", "100")),
        "millennium" | "millenium" => Some(("999", "1000")),
        _ => return None,
    };
    let span = Span::empty();
    let year = || date_part("year", expr, span);
    let nested = |expr: Expr| Expr::Nested(Box::new(expr));
    let minus = |left: Expr, right: Expr| nested(binary(left, BinaryOperator::Minus, right));
    let over =
        |left: Expr, years: &str| nested(binary(left, BinaryOperator::Divide, number(years, span)));
    let (first, after, before) = match years {
        None => (
            BinaryOperator::GtEq,
            over(year(), "10"),
            over(minus(number("9", span), year()), "10"),
        ),
        Some((rest, years)) => (
            BinaryOperator::Gt,
            over(
                nested(binary(year(), BinaryOperator::Plus, number(rest, span))),
                years,
            ),
            over(minus(number(years, span), year()), years),
        ),
    };
    Some(case(
        binary(year(), first, number("0", span)),
        after,
        minus(number("0", span), before),
    ))
}

/// The operators of JSON as calls: `j -> 'a'`, `j ->> 0`, `j #> '{a,b}'`, `j #>> '{a,b}'`.
fn json_operator(expr: &Expr) -> Option<Expr> {
    let Expr::BinaryOp { left, op, right } = expr else {
        return None;
    };
    let name = match op {
        BinaryOperator::Arrow => "json_get",
        BinaryOperator::LongArrow => "json_get_text",
        BinaryOperator::HashArrow => "json_get_path",
        BinaryOperator::HashLongArrow => "json_get_path_text",
        _ => return None,
    };
    let arguments = vec![left.as_ref().clone(), right.as_ref().clone()];
    Some(call_of(name, arguments, Span::empty()))
}

/// `FLOOR(ts TO unit)` and `CEIL(ts TO unit)`.
fn floor_or_ceil(expr: &Expr) -> Option<Expr> {
    let (inner, field, name) = match expr {
        Expr::Floor { expr, field } => (expr, field, "timestamp_floor"),
        Expr::Ceil { expr, field } => (expr, field, "timestamp_ceil"),
        _ => return None,
    };
    let ast::CeilFloorKind::DateTimeField(unit) = field else {
        return None;
    };
    if *unit == ast::DateTimeField::NoDateTime {
        return None;
    }
    let unit = text(&unit.to_string().to_ascii_lowercase(), Span::empty());
    Some(call_of(
        name,
        vec![unit, inner.as_ref().clone()],
        Span::empty(),
    ))
}

/// The arguments of a call without FILTER, OVER, DISTINCT and the like.
fn plain_arguments(call: &Function) -> Option<Vec<Expr>> {
    if call.over.is_some() || call.filter.is_some() || !call.within_group.is_empty() {
        return None;
    }
    let list = match &call.args {
        FunctionArguments::None => return Some(Vec::new()),
        FunctionArguments::Subquery(_) => return None,
        FunctionArguments::List(list) => list,
    };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return None;
    }
    list.args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}

fn name_span(call: &Function) -> Span {
    match call.name.0.first() {
        Some(ObjectNamePart::Identifier(name)) => name.span,
        _ => Span::empty(),
    }
}

fn call_of(name: &str, arguments: Vec<Expr>, span: Span) -> Expr {
    let mut ident = Ident::new(name);
    ident.span = span;
    let args = arguments
        .into_iter()
        .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
        .collect();
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(ident)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

fn text(value: &str, span: Span) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).with_span(span))
}

fn number(value: &str, span: Span) -> Expr {
    Expr::Value(Value::Number(value.to_owned(), false).with_span(span))
}

fn date_part(part: &str, time: &Expr, span: Span) -> Expr {
    call_of("date_part", vec![text(part, span), time.clone()], span)
}

fn case(condition: Expr, then: Expr, otherwise: Expr) -> Expr {
    Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen {
            condition,
            result: then,
        }],
        else_result: Some(Box::new(otherwise)),
    }
}

/// The number of arguments that are NULL, or that are not.
fn nulls(arguments: &[Expr], not_null: bool, span: Span) -> Option<Expr> {
    let counted = arguments.iter().map(|argument| {
        let (null, value) = if not_null { ("0", "1") } else { ("1", "0") };
        case(
            Expr::IsNull(Box::new(argument.clone())),
            number(null, span),
            number(value, span),
        )
    });
    counted
        .reduce(|all, one| binary(all, BinaryOperator::Plus, one))
        .map(|sum| Expr::Nested(Box::new(sum)))
}

/// A unit of time, as a word or as text.
fn unit_text(unit: &Expr) -> Option<String> {
    match unit {
        Expr::Identifier(name) => Some(name.value.to_ascii_lowercase()),
        Expr::Value(value) => value
            .value
            .clone()
            .into_string()
            .map(|unit| unit.to_ascii_lowercase()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_in_the_list() {
        let source = include_str!("rewrite.rs");
        let arms = source
            .lines()
            .take_while(|line| !line.contains("_ => return None"));
        let mut found = 0;
        for arm in arms.filter(|line| line.starts_with("        (\"")) {
            let names = arm.split(", [").next().unwrap_or(arm).split(", arg").next();
            for name in names.unwrap_or(arm).split('"').skip(1).step_by(2) {
                assert!(is_spelling(name), "{name}");
                found += 1;
            }
        }
        assert!(found >= SPELLINGS.len(), "{found}");
    }
}
