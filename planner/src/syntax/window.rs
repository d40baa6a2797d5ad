//! Window table functions: what `TUMBLE(bid, ts, INTERVAL '10' SECOND)` in FROM says.
//!
//! ```text
//!   TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))      ─┐
//!   TABLE(TUMBLE(DATA => TABLE bid, SIZE => …, TIMECOL => DESCRIPTOR(ts))) ├─ tokens.rs ─▶ TUMBLE(bid, ts, INTERVAL …)
//!   TUMBLE(bid, ts, INTERVAL '10' SECOND)                               ─┘                     │
//!                                                                               window_call ─▶ WindowCall
//! ```
//!
//! # Invariants
//! 1. After `parse` every call of a window function in a query is well formed: [`window_call`] gives it.
//! 2. Durations are positive (an offset may be negative or zero) and in the order of the function:
//!    TUMBLE: size \[, offset\]; HOP: slide, size \[, offset\]; CUMULATE: step, size \[, offset\], where size is a multiple
//!    of step. SESSION: gap.

use sqlparser::ast::{
    self, DateTimeField, Expr, FunctionArg, FunctionArgExpr, Interval, TableFactor,
    TableFunctionArgs, Value,
};
use weir_types::{Diagnostic, Span};

use super::{Name, span_of};
use crate::codes;
use crate::plan::Window;

/// The window table functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowFunction {
    /// Windows side by side.
    Tumble,
    /// Windows that overlap.
    Hop,
    /// Windows that grow in steps.
    Cumulate,
    /// Windows between gaps.
    Session,
}

/// A call of a window table function in FROM.
#[derive(Clone, Debug)]
pub struct WindowCall {
    /// Which one.
    pub function: WindowFunction,
    /// What it reads.
    pub relation: WindowRelation,
    /// The event-time column of the relation.
    pub time: Name,
    /// Microseconds, each with its place, in the order of invariant 2.
    pub durations: Vec<(i64, Span)>,
    /// SESSION: the columns of PARTITION BY.
    pub partition: Vec<Name>,
    /// The alias of the result.
    pub alias: Option<Name>,
    /// The call, from the function's name to the last argument.
    pub span: Span,
}

/// What a window function reads.
#[derive(Clone, Debug)]
pub enum WindowRelation {
    /// A table, view or CTE.
    Named(Name),
    /// `TUMBLE((SELECT …), …)`.
    Query(Box<ast::Query>),
}

/// The call of a window function that stands in FROM, or `None` if the factor is something else.
pub fn window_call(factor: &TableFactor) -> Option<WindowCall> {
    check_window_call(factor).ok().flatten()
}

impl WindowFunction {
    /// The function of that (folded) name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "tumble" => Some(Self::Tumble),
            "hop" => Some(Self::Hop),
            "cumulate" => Some(Self::Cumulate),
            "session" => Some(Self::Session),
            _ => None,
        }
    }

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE",
            Self::Hop => "HOP",
            Self::Cumulate => "CUMULATE",
            Self::Session => "SESSION",
        }
    }

    /// Its arguments by name, in positional order; `offset` may be left out.
    pub fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Tumble => &["data", "timecol", "size", "offset"],
            Self::Hop => &["data", "timecol", "slide", "size", "offset"],
            Self::Cumulate => &["data", "timecol", "step", "size", "offset"],
            Self::Session => &["data", "timecol", "gap"],
        }
    }

    /// A call that works, for messages.
    pub fn example(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE(bid, ts, INTERVAL '10' SECOND)",
            Self::Hop => "HOP(bid, ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND)",
            Self::Cumulate => "CUMULATE(bid, ts, INTERVAL '1' HOUR, INTERVAL '1' DAY)",
            Self::Session => "SESSION(bid, ts, INTERVAL '5' MINUTE)",
        }
    }
}

impl WindowCall {
    /// The plan's window; `None` for SESSION, whose windows hang on the rows.
    pub fn window(&self) -> Option<Window> {
        let duration = |index: usize| self.durations.get(index).map_or(0, |&(micros, _)| micros);
        Some(match self.function {
            WindowFunction::Hop => Window::Hop {
                slide: duration(0),
                size: duration(1),
                offset: duration(2),
            },
            WindowFunction::Tumble => Window::Tumble {
                size: duration(0),
                offset: duration(1),
            },
            WindowFunction::Cumulate => Window::Cumulate {
                step: duration(0),
                size: duration(1),
                offset: duration(2),
            },
            WindowFunction::Session => return None,
        })
    }
}

/// As [`window_call`], with what is wrong about a call that does not fit.
pub(crate) fn check_window_call(
    factor: &TableFactor,
) -> Result<Option<WindowCall>, Vec<Diagnostic>> {
    let TableFactor::Table {
        name,
        args: Some(args),
        alias,
        ..
    } = factor
    else {
        return Ok(None);
    };
    let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
        return Ok(None);
    };
    let Some(function) = WindowFunction::from_name(&Name::from_ident(ident).value) else {
        return Ok(None);
    };
    let span = args
        .args
        .iter()
        .fold(super::to_span(ident.span), |span, arg| {
            span.union(span_of(arg))
        });
    let mut problems = Vec::new();
    let arguments = positional(function, args, span).map_err(|problem| vec![problem])?;
    let relation = note(relation(function, arguments[0]), &mut problems);
    let time = note(time_column(function, arguments[1]), &mut problems);
    let parameters = function.parameters();
    // An offset may be anything.
    let offset_at = parameters.len() - 2 - usize::from(parameters.ends_with(&["offset"]));
    let (lengths, partition) = arguments[2..].split_at(match function {
        WindowFunction::Session => 1,
        _ => arguments.len() - 2,
    });
    let partition: Vec<Option<Name>> = partition
        .iter()
        .map(|expr| note(partition_column(expr), &mut problems))
        .collect();
    let mut durations = Vec::new();
    for (index, expr) in lengths.iter().enumerate() {
        let parsed = duration(expr).and_then(|micros| match micros {
            ..=0 if index < offset_at => Err(format!(
                "a window's length has to be greater than zero, not {expr}"
            )),
            micros => Ok((micros, span_of(*expr))),
        });
        match parsed {
            Ok(duration) => durations.push(duration),
            Err(message) => problems.push(
                Diagnostic::error(codes::WINDOW_INTERVAL, message)
                    .at(span_of(*expr), "expected a fixed, positive time")
                    .help(format!(
                        "write an interval of days or less: {}",
                        function.example()
                    )),
            ),
        }
    }
    if function == WindowFunction::Cumulate
        && let [(step, _), (size, span), ..] = durations[..]
        && size % step != 0
    {
        problems.push(
            Diagnostic::error(
                codes::WINDOW_ARGUMENTS,
                "the size of CUMULATE has to be a multiple of its step",
            )
            .at(span, "the last window would end between two steps")
            .help(format!("for example {}", function.example())),
        );
    }
    if let Some(alias) = alias.as_ref().filter(|alias| !alias.columns.is_empty()) {
        problems.push(
            Diagnostic::error(
                codes::WINDOW_ARGUMENTS,
                "the columns of a window function cannot be renamed in its alias",
            )
            .at(
                super::to_span(alias.name.span),
                "columns are listed after this alias",
            )
            .help("rename columns in the SELECT list: SELECT window_start AS w"),
        );
    }
    match (relation, time) {
        (Some(relation), Some(time)) if problems.is_empty() => {
            let alias = alias.as_ref().map(|alias| Name::from_ident(&alias.name));
            Ok(Some(WindowCall {
                function,
                relation,
                time,
                durations,
                partition: partition.into_iter().flatten().collect(),
                alias,
                span,
            }))
        }
        _ => Err(problems),
    }
}

/// The value, or its problem noted.
fn note<T>(result: Result<T, Diagnostic>, problems: &mut Vec<Diagnostic>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

/// The arguments as expressions, if their number fits.
fn positional(
    function: WindowFunction,
    args: &TableFunctionArgs,
    span: Span,
) -> Result<Vec<&Expr>, Diagnostic> {
    let wrong = |message: String, span: Span| {
        Diagnostic::error(codes::WINDOW_ARGUMENTS, message)
            .at(
                span,
                format!("{} takes ({})", function.name(), signature(function)),
            )
            .help(format!("for example {}", function.example()))
    };
    let mut exprs = Vec::new();
    for arg in &args.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => exprs.push(expr),
            _ => {
                return Err(wrong(
                    format!("`{arg}` cannot be an argument of {}", function.name()),
                    span_of(arg),
                ));
            }
        }
    }
    let parameters = function.parameters().len();
    let expected = match function {
        WindowFunction::Session => parameters..=usize::MAX,
        _ => parameters - 1..=parameters,
    };
    if args.settings.is_some() || !expected.contains(&exprs.len()) {
        return Err(wrong(
            format!("{} cannot take {} arguments", function.name(), exprs.len()),
            span,
        ));
    }
    Ok(exprs)
}

fn signature(function: WindowFunction) -> String {
    if function == WindowFunction::Session {
        return "data [PARTITION BY columns], timecol, gap".to_owned();
    }
    let required = |parameter: &&&str| **parameter != "offset";
    let names: Vec<_> = function
        .parameters()
        .iter()
        .filter(required)
        .copied()
        .collect();
    format!("{} [, offset]", names.join(", "))
}

fn relation(function: WindowFunction, expr: &Expr) -> Result<WindowRelation, Diagnostic> {
    match expr {
        Expr::Identifier(ident) => Ok(WindowRelation::Named(Name::from_ident(ident))),
        Expr::Subquery(query) => Ok(WindowRelation::Query(query.clone())),
        Expr::CompoundIdentifier(parts) => Err(Name::from_object(&parts.clone().into())
            .err()
            .unwrap_or_else(|| {
                Diagnostic::error(
                    codes::QUALIFIED_NAME,
                    format!("`{expr}` has more than one part"),
                )
            })),
        _ => Err(Diagnostic::error(
            codes::WINDOW_ARGUMENTS,
            format!("{} reads a table, not `{expr}`", function.name()),
        )
        .at(
            span_of(expr),
            "expected a table, a view, a CTE or a query in parentheses",
        )
        .help(format!("for example {}", function.example()))),
    }
}

fn time_column(function: WindowFunction, expr: &Expr) -> Result<Name, Diagnostic> {
    match expr {
        Expr::Identifier(ident) => Ok(Name::from_ident(ident)),
        _ => Err(Diagnostic::error(
            codes::WINDOW_ARGUMENTS,
            format!(
                "the second argument of {} is the name of its event-time column, not `{expr}`",
                function.name()
            ),
        )
        .at(
            span_of(expr),
            "expected the name of a column, without its table",
        )
        .help(format!("for example {}", function.example()))),
    }
}

fn partition_column(expr: &Expr) -> Result<Name, Diagnostic> {
    match expr {
        Expr::Identifier(ident) => Ok(Name::from_ident(ident)),
        _ => Err(Diagnostic::error(
            codes::WINDOW_ARGUMENTS,
            format!("`{expr}` cannot be an argument of SESSION"),
        )
        .at(span_of(expr), "expected the name of a column")
        .help("for example SESSION(bid PARTITION BY auction, ts, INTERVAL '5' MINUTE)")),
    }
}

/// The microseconds of an INTERVAL literal, or what is wrong with it.
fn duration(expr: &Expr) -> Result<i64, String> {
    let shape = || format!("`{expr}` is not an interval");
    let Expr::Interval(Interval {
        value,
        leading_field,
        leading_precision: _,
        last_field,
        fractional_seconds_precision: _,
    }) = expr
    else {
        return Err(shape());
    };
    if last_field.is_some() {
        return Err(format!("`{expr}` mixes two units"));
    }
    let text = match value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => text.trim(),
            _ => return Err(shape()),
        },
        _ => return Err(shape()),
    };
    match leading_field {
        Some(field) => {
            quantity(text, unit_of_field(field).ok_or_else(|| not_fixed(expr))?).ok_or_else(shape)
        }
        None => words(text, expr),
    }
}

fn not_fixed(expr: &Expr) -> String {
    format!("`{expr}` is not a fixed length of time")
}

/// `'10 seconds'`, `'1 day 2 hours'`, `'00:00:10'`.
fn words(text: &str, expr: &Expr) -> Result<i64, String> {
    let mut total = 0i64;
    let mut rest = text;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !(c.is_ascii_digit() || "+-.:".contains(c)))
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let part = if number.contains(':') {
            rest = after;
            clock(number)
        } else {
            let after = after.trim_start();
            let unit_end = after
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            rest = after;
            quantity(number, unit_of_word(unit).ok_or_else(|| not_fixed(expr))?)
        };
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| format!("`{expr}` is not an interval"))?;
        rest = rest.trim_start();
    }
    if text.is_empty() {
        Err(format!("`{expr}` is not an interval"))
    } else {
        Ok(total)
    }
}

/// `HH:MM[:SS[.ffffff]]`.
fn clock(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let mut parts = text.split(':');
    let hours = quantity(parts.next()?, 3_600_000_000)?;
    let minutes = quantity(parts.next()?, 60_000_000)?;
    let seconds = parts
        .next()
        .map_or(Some(0), |seconds| quantity(seconds, 1_000_000))?;
    parts.next().is_none().then(|| {
        hours
            .checked_add(minutes)?
            .checked_add(seconds)?
            .checked_mul(sign)
    })?
}

/// A decimal number times a unit, exactly: a remainder below a microsecond is an error.
fn quantity(number: &str, unit_micros: i64) -> Option<i64> {
    let (sign, digits) = match number.as_bytes().first()? {
        b'-' => (-1, &number[1..]),
        b'+' => (1, &number[1..]),
        _ => (1, number),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10i128.pow(fraction.len() as u32);
    let value = format!("{whole}{fraction}")
        .parse::<i128>()
        .ok()?
        .checked_mul(i128::from(unit_micros))?;
    if value % scale != 0 {
        return None;
    }
    i64::try_from(sign * (value / scale)).ok()
}

fn unit_of_field(field: &DateTimeField) -> Option<i64> {
    use DateTimeField as F;
    match field {
        F::Microsecond | F::Microseconds => unit_of_word("microsecond"),
        F::Millisecond | F::Milliseconds => unit_of_word("millisecond"),
        F::Second | F::Seconds => unit_of_word("second"),
        F::Minute | F::Minutes => unit_of_word("minute"),
        F::Hour | F::Hours => unit_of_word("hour"),
        F::Day | F::Days => unit_of_word("day"),
        F::Week(None) | F::Weeks => unit_of_word("week"),
        _ => None,
    }
}

/// Microseconds of a unit that is always of the same length. A day is 24 hours.
fn unit_of_word(word: &str) -> Option<i64> {
    Some(match word.to_ascii_lowercase().as_str() {
        "us" | "microsecond" | "microseconds" => 1,
        "ms" | "millisecond" | "milliseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000,
        "h" | "hour" | "hours" => 3_600_000_000,
        "d" | "day" | "days" => 86_400_000_000,
        "w" | "week" | "weeks" => 7 * 86_400_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The microseconds of `INTERVAL {text}`.
    fn micros(text: &str) -> Option<i64> {
        let dialect = sqlparser::dialect::PostgreSqlDialect {};
        let expr = sqlparser::parser::Parser::new(&dialect)
            .try_with_sql(&format!("INTERVAL {text}"))
            .and_then(|mut parser| parser.parse_expr())
            .unwrap();
        duration(&expr).ok()
    }

    #[test]
    fn intervals_of_fixed_length_are_microseconds() {
        assert_eq!(micros("'10' SECOND"), Some(10_000_000));
        assert_eq!(micros("'1.5' SECOND"), Some(1_500_000));
        assert_eq!(micros("'-2' MINUTES"), Some(-120_000_000));
        assert_eq!(micros("'250' MILLISECOND"), Some(250_000));
        assert_eq!(micros("'1' DAY"), Some(86_400_000_000));
        assert_eq!(micros("'1 day 2 hours'"), Some(93_600_000_000));
        assert_eq!(micros("'1 hour 00:00:30'"), Some(3_630_000_000));
        assert_eq!(micros("'-00:01:00.5'"), Some(-60_500_000));
        assert_eq!(micros("'2w'"), Some(14 * 86_400_000_000));
    }

    #[test]
    fn other_intervals_have_no_fixed_length() {
        for text in [
            "'1' MONTH",
            "'1' YEAR",
            "'1 month'",
            "'10'",
            "''",
            "'ten seconds'",
            "'1 2' DAY TO HOUR",
            "'0.0000001' SECOND",
            "'9999999999999999' DAY",
            "'1.2.3' SECOND",
            "'1:2:3:4'",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }
}
