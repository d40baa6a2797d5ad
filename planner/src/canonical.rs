//! The canonical SQL text of expressions and aggregates: used by `explain`, by the names of state columns and by
//! fingerprints. It depends on the plan alone; golden tests pin it.
//!
//! Columns are named by the caller: in `explain` by their names, in identities by their identities.

use std::fmt::Write;

use weir_types::{DataType, EventTime, Scalar, TimeUnit};

use crate::plan::{BinaryOp, Expr, ExprKind, JoinTiming, Window};

/// How tightly an expression binds; operands that bind less tightly are put in parentheses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Not,
    Comparison,
    Bits,
    Sum,
    Product,
    Unary,
    Atom,
}

/// The canonical text of an expression, its columns named by `column`.
pub(crate) fn text(expr: &Expr, column: &dyn Fn(usize) -> String) -> String {
    let mut out = String::new();
    print(expr, column, &mut out);
    out
}

fn print(expr: &Expr, column: &dyn Fn(usize) -> String, out: &mut String) {
    match &expr.kind {
        ExprKind::Column(index) => out.push_str(&column(*index)),
        ExprKind::Literal(value) => out.push_str(&literal(value, &expr.data_type)),
        ExprKind::Binary { op, left, right } => {
            let (binding, associative) = binary_binding(*op);
            operand(left, binding, column, out);
            let _ = write!(out, " {} ", symbol(*op));
            // `a - (b - c)` needs its parentheses, `a AND (b AND c)` does not.
            let right_binding = if associative { binding } else { next(binding) };
            operand(right, right_binding, column, out);
        }
        ExprKind::Not(inner) => {
            out.push_str("NOT ");
            operand(inner, Binding::Not, column, out);
        }
        ExprKind::Negate(inner) => {
            out.push('-');
            operand(inner, Binding::Atom, column, out);
        }
        ExprKind::IsNull { expr, negated } => {
            operand(expr, Binding::Bits, column, out);
            out.push_str(if *negated { " IS NOT NULL" } else { " IS NULL" });
        }
        ExprKind::IsTruth {
            expr,
            value,
            negated,
        } => {
            operand(expr, Binding::Bits, column, out);
            out.push_str(if *negated { " IS NOT " } else { " IS " });
            out.push_str(match value {
                Some(true) => "TRUE",
                Some(false) => "FALSE",
                None => "UNKNOWN",
            });
        }
        ExprKind::Cast { expr: inner, safe } => {
            out.push_str(if *safe { "TRY_CAST(" } else { "CAST(" });
            print(inner, column, out);
            let _ = write!(out, " AS {})", expr.data_type);
        }
        ExprKind::Case {
            branches,
            otherwise,
        } => print_case(branches, otherwise.as_deref(), column, out),
        ExprKind::InList {
            expr,
            list,
            negated,
        } => {
            operand(expr, Binding::Bits, column, out);
            out.push_str(if *negated { " NOT IN (" } else { " IN (" });
            print_list(list, column, out);
            out.push(')');
        }
        ExprKind::Like {
            expr,
            pattern,
            escape,
            case_insensitive,
            negated,
        } => {
            operand(expr, Binding::Bits, column, out);
            let _ = write!(
                out,
                "{} {} ",
                if *negated { " NOT" } else { "" },
                if *case_insensitive { "ILIKE" } else { "LIKE" }
            );
            operand(pattern, Binding::Bits, column, out);
            if let Some(escape) = escape {
                let _ = write!(out, " ESCAPE '{escape}'");
            }
        }
        ExprKind::Function { name, arguments } => {
            let _ = write!(out, "{name}(");
            print_list(arguments, column, out);
            out.push(')');
        }
        ExprKind::ProcessingTime => out.push_str("now()"),
    }
}

fn print_case(
    branches: &[(Expr, Expr)],
    otherwise: Option<&Expr>,
    column: &dyn Fn(usize) -> String,
    out: &mut String,
) {
    out.push_str("CASE");
    for (when, then) in branches {
        out.push_str(" WHEN ");
        print(when, column, out);
        out.push_str(" THEN ");
        print(then, column, out);
    }
    if let Some(otherwise) = otherwise {
        out.push_str(" ELSE ");
        print(otherwise, column, out);
    }
    out.push_str(" END");
}

fn print_list(list: &[Expr], column: &dyn Fn(usize) -> String, out: &mut String) {
    for (i, item) in list.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        print(item, column, out);
    }
}

fn operand(expr: &Expr, least: Binding, column: &dyn Fn(usize) -> String, out: &mut String) {
    if binding(expr) < least {
        out.push('(');
        print(expr, column, out);
        out.push(')');
    } else {
        print(expr, column, out);
    }
}

fn binding(expr: &Expr) -> Binding {
    match &expr.kind {
        ExprKind::Binary { op, .. } => binary_binding(*op).0,
        ExprKind::Not(_) => Binding::Not,
        ExprKind::IsNull { .. }
        | ExprKind::IsTruth { .. }
        | ExprKind::InList { .. }
        | ExprKind::Like { .. } => Binding::Comparison,
        ExprKind::Negate(_) => Binding::Unary,
        ExprKind::Literal(Scalar::Int(value)) if *value < 0 => Binding::Unary,
        _ => Binding::Atom,
    }
}

/// The binding of an operator, and whether a right operand of the same binding needs no parentheses.
fn binary_binding(op: BinaryOp) -> (Binding, bool) {
    use BinaryOp as B;
    match op {
        B::Or => (Binding::Or, true),
        B::And => (Binding::And, true),
        B::Eq
        | B::NotEq
        | B::Lt
        | B::LtEq
        | B::Gt
        | B::GtEq
        | B::IsDistinctFrom
        | B::IsNotDistinctFrom => (Binding::Comparison, false),
        B::RegexMatch | B::RegexIMatch | B::RegexNotMatch | B::RegexNotIMatch => {
            (Binding::Comparison, false)
        }
        B::BitAnd | B::BitOr | B::BitXor | B::ShiftLeft | B::ShiftRight | B::StringConcat => {
            (Binding::Bits, false)
        }
        B::Plus | B::Minus => (Binding::Sum, false),
        B::Multiply | B::Divide | B::Modulo => (Binding::Product, false),
    }
}

fn next(binding: Binding) -> Binding {
    match binding {
        Binding::Or => Binding::And,
        Binding::And => Binding::Not,
        Binding::Not => Binding::Comparison,
        Binding::Comparison => Binding::Bits,
        Binding::Bits => Binding::Sum,
        Binding::Sum => Binding::Product,
        Binding::Product => Binding::Unary,
        Binding::Unary | Binding::Atom => Binding::Atom,
    }
}

/// The operator as SQL writes it.
pub(crate) fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Eq => "=",
        BinaryOp::NotEq => "<>",
        BinaryOp::Lt => "<",
        BinaryOp::LtEq => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::GtEq => ">=",
        BinaryOp::IsDistinctFrom => "IS DISTINCT FROM",
        BinaryOp::IsNotDistinctFrom => "IS NOT DISTINCT FROM",
        BinaryOp::And => "AND",
        BinaryOp::Or => "OR",
        BinaryOp::Plus => "+",
        BinaryOp::Minus => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::Divide => "/",
        BinaryOp::Modulo => "%",
        BinaryOp::BitAnd => "&",
        BinaryOp::BitOr => "|",
        BinaryOp::BitXor => "#",
        BinaryOp::ShiftLeft => "<<",
        BinaryOp::ShiftRight => ">>",
        BinaryOp::RegexMatch => "~",
        BinaryOp::RegexIMatch => "~*",
        BinaryOp::RegexNotMatch => "!~",
        BinaryOp::RegexNotIMatch => "!~*",
        BinaryOp::StringConcat => "||",
    }
}

/// A literal: bare where the bare form has the type, else `TYPE 'value'`.
fn literal(value: &Scalar, data_type: &DataType) -> String {
    match (value, data_type) {
        (Scalar::Null, DataType::Null) => "NULL".to_owned(),
        (Scalar::Null, _) => format!("CAST(NULL AS {data_type})"),
        (Scalar::Boolean(_), _)
        | (Scalar::Int(_), DataType::Int64)
        | (Scalar::Float(_), DataType::Float64)
        | (Scalar::String(_), _)
        | (Scalar::Bytes(_), _) => value.to_string(),
        (Scalar::Interval(months, days, nanos), _) => interval(*months, *days, *nanos),
        (Scalar::Int(days), DataType::Date) => {
            let text = EventTime(days.saturating_mul(86_400_000_000)).to_string();
            format!("DATE '{}'", text.split(' ').next().unwrap_or(&text))
        }
        (Scalar::Int(units), DataType::Timestamp(unit) | DataType::TimestampLtz(unit)) => {
            format!("{data_type} '{}'", timestamp(*units, *unit))
        }
        (Scalar::Decimal(digits), DataType::Decimal(_, scale)) => {
            format!("{data_type} '{}'", decimal(digits, *scale))
        }
        _ => format!("{data_type} '{value}'"),
    }
}

/// An interval literal in units that people use.
fn interval(months: i32, days: i32, nanos: i64) -> String {
    let mut parts = Vec::new();
    let mut part = |count: i64, unit: &str| {
        if count != 0 {
            parts.push(format!("{count} {unit}"));
        }
    };
    part(i64::from(months), "month");
    part(i64::from(days), "day");
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    part(seconds / 3600, "hour");
    part(seconds / 60 % 60, "minute");
    part(seconds % 60, "second");
    part(rest, "nanosecond");
    if parts.is_empty() {
        parts.push("0 second".to_owned());
    }
    format!("INTERVAL '{}'", parts.join(" "))
}

fn timestamp(units: i64, unit: TimeUnit) -> String {
    match unit {
        TimeUnit::Second => EventTime(units.saturating_mul(1_000_000)).to_string(),
        TimeUnit::Milli => EventTime(units.saturating_mul(1_000)).to_string(),
        TimeUnit::Micro => EventTime(units).to_string(),
        TimeUnit::Nano => {
            let rest = units.rem_euclid(1_000);
            let text = EventTime(units.div_euclid(1_000)).to_string();
            if rest == 0 {
                text
            } else {
                format!("{text}+{rest}ns")
            }
        }
    }
}

fn decimal(digits: &str, scale: i8) -> String {
    let Ok(scale) = usize::try_from(scale) else {
        return digits.to_owned();
    };
    if scale == 0 {
        return digits.to_owned();
    }
    let (sign, digits) = digits
        .strip_prefix('-')
        .map_or(("", digits), |rest| ("-", rest));
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// A duration in microseconds as people write it: `1 h`, `10 s`, `1 min 30 s`.
pub(crate) fn duration(micros: i64) -> String {
    let units = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
        (1_000, "ms"),
        (1, "us"),
    ];
    let (mut rest, mut parts) = (micros.unsigned_abs(), Vec::new());
    for (size, name) in units {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            parts.push(format!("{count} {name}"));
        }
    }
    let text = if parts.is_empty() {
        "0 s".to_owned()
    } else {
        parts.join(" ")
    };
    if micros < 0 { format!("-{text}") } else { text }
}

/// The canonical text of a window, its time column named `time`.
pub(crate) fn window(window: &Window, time: &str) -> String {
    let offset = |micros: i64| {
        if micros == 0 {
            String::new()
        } else {
            format!(", offset {}", duration(micros))
        }
    };
    match window {
        Window::Tumble {
            size,
            offset: shift,
        } => format!("TUMBLE({time}, {}{})", duration(*size), offset(*shift)),
        Window::Hop {
            slide,
            size,
            offset: shift,
        } => {
            format!(
                "HOP({time}, slide {}, size {}{})",
                duration(*slide),
                duration(*size),
                offset(*shift)
            )
        }
        Window::Cumulate {
            step,
            size,
            offset: shift,
        } => {
            format!(
                "CUMULATE({time}, step {}, size {}{})",
                duration(*step),
                duration(*size),
                offset(*shift)
            )
        }
        Window::Assigned => format!("window of {time}"),
    }
}

/// The canonical text of sessions.
pub(crate) fn session(gap: i64, time: &str, keys: &[&str]) -> String {
    let by = if keys.is_empty() {
        String::new()
    } else {
        format!(", by {}", keys.join(", "))
    };
    format!("SESSION({time}, gap {}{by})", duration(gap))
}

/// The canonical text of what time says about a join.
pub(crate) fn timing(timing: &JoinTiming, left: &str, right: &str) -> String {
    match timing {
        JoinTiming::Interval { lower, upper, .. } => format!(
            "{left} - {right} between {} and {}",
            duration(*lower),
            duration(*upper)
        ),
        JoinTiming::Window { .. } => format!("at the end of the window {left} = {right}"),
        JoinTiming::AsOf { strict, .. } => {
            format!("{left} {} {right}", if *strict { ">" } else { ">=" })
        }
    }
}

/// The canonical text of an aggregate call.
pub(crate) fn aggregate(call: &CallText<'_>) -> String {
    let mut inside: Vec<String> = call.arguments.to_vec();
    inside.extend(call.parameters.iter().map(ToString::to_string));
    let inside = if inside.is_empty() {
        "*".to_owned()
    } else {
        inside.join(", ")
    };
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let order = if call.order.is_empty() {
        String::new()
    } else {
        format!(" ORDER BY {}", call.order.join(", "))
    };
    let text = format!("{}({distinct}{inside}{order})", call.function);
    match call.filter {
        None => text,
        Some(filter) => format!("{text} FILTER ({filter})"),
    }
}

/// An aggregate call's parts, each in its canonical text.
pub(crate) struct CallText<'a> {
    pub(crate) function: &'a str,
    pub(crate) arguments: &'a [String],
    pub(crate) parameters: &'a [Scalar],
    pub(crate) distinct: bool,
    pub(crate) order: &'a [String],
    pub(crate) filter: Option<&'a str>,
}

/// One item of an ORDER BY: what differs from ascending with NULLs last is said.
pub(crate) fn order_item(by: &str, descending: bool, nulls_first: bool) -> String {
    let direction = if descending { " DESC" } else { "" };
    let nulls = if nulls_first { " NULLS FIRST" } else { "" };
    format!("{by}{direction}{nulls}")
}

#[cfg(test)]
mod tests {
    use weir_types::Span;

    use super::*;

    fn column(index: usize) -> Expr {
        Expr::column(index, DataType::Int64, Span::default())
    }

    fn number(value: i64) -> Expr {
        Expr::literal(Scalar::Int(value), DataType::Int64, Span::default())
    }

    fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
        let (left, right) = (Box::new(left), Box::new(right));
        Expr {
            kind: ExprKind::Binary { op, left, right },
            data_type: DataType::Int64,
            span: Span::default(),
        }
    }

    fn printed(expr: &Expr) -> String {
        text(expr, &|index| ["a", "b", "c"][index].to_owned())
    }

    #[test]
    fn parentheses_stand_where_the_grouping_needs_them() {
        use BinaryOp::{And, Divide, Minus, Multiply, Or, Plus};
        let difference = binary(Minus, column(1), column(2));
        assert_eq!(
            printed(&binary(Minus, column(0), difference.clone())),
            "a - (b - c)"
        );
        assert_eq!(
            printed(&binary(Minus, difference.clone(), column(0))),
            "b - c - a"
        );
        assert_eq!(
            printed(&binary(Multiply, difference, column(0))),
            "(b - c) * a"
        );
        let quotient = binary(Divide, column(1), column(2));
        assert_eq!(
            printed(&binary(Multiply, column(0), quotient)),
            "a * (b / c)"
        );
        let all = binary(And, column(0), binary(And, column(1), column(2)));
        assert_eq!(printed(&all), "a AND b AND c");
        assert_eq!(
            printed(&binary(Or, all.clone(), column(0))),
            "a AND b AND c OR a"
        );
        assert_eq!(
            printed(&binary(And, binary(Or, column(0), column(1)), all)),
            "(a OR b) AND a AND b AND c"
        );
        assert_eq!(printed(&binary(Plus, number(-1), column(0))), "-1 + a");
    }

    #[test]
    fn literals_show_their_type_where_the_bare_form_has_another() {
        let literal = |value, data_type| printed(&Expr::literal(value, data_type, Span::default()));
        assert_eq!(literal(Scalar::Int(5), DataType::Int64), "5");
        assert_eq!(literal(Scalar::Int(5), DataType::Int16), "SMALLINT '5'");
        assert_eq!(
            literal(Scalar::Int(19_782), DataType::Date),
            "DATE '2024-02-29'"
        );
        assert_eq!(
            literal(Scalar::Decimal("-5".to_owned()), DataType::Decimal(4, 2)),
            "DECIMAL(4, 2) '-0.05'"
        );
        assert_eq!(
            literal(Scalar::String("it's".to_owned()), DataType::String),
            "'it''s'"
        );
        assert_eq!(literal(Scalar::Null, DataType::Int32), "CAST(NULL AS INT)");
        assert_eq!(
            literal(
                Scalar::Interval(1, 2, 3_723_000_000_000),
                DataType::Interval
            ),
            "INTERVAL '1 month 2 day 1 hour 2 minute 3 second'"
        );
        assert_eq!(
            literal(Scalar::Int(1_500), DataType::Timestamp(TimeUnit::Milli)),
            "TIMESTAMP(3) '1970-01-01 00:00:01.500'"
        );
    }

    #[test]
    fn durations_are_printed_in_the_greatest_units() {
        assert_eq!(duration(3_600_000_000), "1 h");
        assert_eq!(duration(90_000_001), "1 min 30 s 1 us");
        assert_eq!(duration(-1_000), "-1 ms");
        assert_eq!(duration(0), "0 s");
    }
}
