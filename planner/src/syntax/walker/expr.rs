//! Expressions.

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, Expr, Interval,
    Subscript, TypedString, UnaryOperator, Value,
};
use weir_types::{Diagnostic, Span};

use super::Walker;
use crate::codes;
use crate::syntax::{span_of, to_span, types};

const NOT_IN_EXPRESSION: &str =
    "read it in FROM as a table of its own and join it: FROM a JOIN (SELECT …) AS b ON a.id = b.id";

impl Walker<'_> {
    pub(super) fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Identifier(name) => self.no_string(name),
            Expr::CompoundIdentifier(names) => names.iter().for_each(|name| self.no_string(name)),
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.expr(root);
                for access in access_chain {
                    self.access(access);
                }
            }
            Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::Nested(inner) => self.expr(inner),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.exprs([&**left, &**right])
            }
            Expr::InList {
                expr,
                list,
                negated: _,
            } => {
                self.expr(expr);
                self.exprs(list);
            }
            Expr::Between {
                expr,
                negated: _,
                low,
                high,
            } => self.exprs([&**expr, &**low, &**high]),
            Expr::BinaryOp { left, op, right } => {
                self.binary_operator(op, left, right);
                self.exprs([&**left, &**right]);
            }
            Expr::UnaryOp { op, expr: inner } => {
                if !matches!(
                    op,
                    UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not
                ) {
                    self.no_expression(
                        &format!("the operator `{op}`"),
                        span_of(expr),
                        "the unary operators are +, - and NOT",
                    );
                }
                self.expr(inner);
            }
            Expr::Like {
                negated: _,
                any,
                expr,
                pattern,
                escape_char: _,
            }
            | Expr::ILike {
                negated: _,
                any,
                expr,
                pattern,
                escape_char: _,
            } => {
                if *any {
                    self.no_expression(
                        "LIKE ANY",
                        span_of(pattern.as_ref()),
                        "write a LIKE x OR a LIKE y",
                    );
                    return;
                }
                self.exprs([&**expr, &**pattern]);
            }
            Expr::SimilarTo {
                negated: _,
                expr,
                pattern,
                escape_char: _,
            } => self.exprs([&**expr, &**pattern]),
            Expr::Case {
                case_token: _,
                end_token: _,
                operand,
                conditions,
                else_result,
            } => {
                self.exprs(operand.iter().chain(else_result).map(|expr| &**expr));
                for CaseWhen { condition, result } in conditions {
                    self.exprs([condition, result]);
                }
            }
            Expr::Cast {
                kind,
                expr: inner,
                data_type,
                array,
                format,
            } => {
                match kind {
                    CastKind::Cast
                    | CastKind::TryCast
                    | CastKind::SafeCast
                    | CastKind::DoubleColon => {}
                }
                if *array || format.is_some() {
                    self.no_expression(
                        "CAST with FORMAT",
                        span_of(inner.as_ref()),
                        "to_timestamp(text, format) and to_char(value, format) take a format",
                    );
                }
                if types::of_ast(data_type).is_none() {
                    self.no_expression(
                        &format!("a cast to {data_type}"),
                        span_of(inner.as_ref()),
                        "CAST(value AS type)",
                    );
                }
                if types::has_length(data_type) {
                    self.no_expression(
                        "a cast to a text or bytes of some length",
                        span_of(inner.as_ref()),
                        "CAST(value AS STRING) keeps all of it, left(value, 20) cuts, rpad(value, 20) fills up",
                    );
                }
                self.expr(inner);
            }
            Expr::Extract {
                field: _,
                syntax: _,
                expr,
            } => self.expr(expr),
            Expr::Ceil { expr: inner, field } | Expr::Floor { expr: inner, field } => {
                if matches!(field, CeilFloorKind::Scale(_)) {
                    self.no_expression(
                        "FLOOR or CEIL with a number of digits",
                        span_of(inner.as_ref()),
                        "round(x, 2) rounds a number, FLOOR(ts TO HOUR) cuts a timestamp",
                    );
                }
                self.expr(inner);
            }
            Expr::Position { expr, r#in } => self.exprs([&**expr, &**r#in]),
            Expr::Substring {
                expr,
                substring_from,
                substring_for,
                special: _,
                shorthand: _,
            } => {
                self.expr(expr);
                self.exprs(
                    substring_from
                        .iter()
                        .chain(substring_for)
                        .map(|expr| &**expr),
                );
            }
            Expr::Trim {
                expr,
                trim_where: _,
                trim_what,
                trim_characters,
            } => {
                self.expr(expr);
                self.exprs(trim_what.iter().map(|expr| &**expr));
                self.exprs(trim_characters.iter().flatten());
            }
            Expr::Overlay {
                expr,
                overlay_what,
                overlay_from,
                overlay_for,
            } => {
                self.exprs([&**expr, &**overlay_what, &**overlay_from]);
                self.exprs(overlay_for.iter().map(|expr| &**expr));
            }
            Expr::Value(value) => self.value(&value.value, to_span(value.span)),
            Expr::TypedString(TypedString {
                data_type,
                value,
                uses_odbc_syntax,
            }) => {
                self.typed_string(data_type, to_span(value.span), *uses_odbc_syntax);
            }
            Expr::AtTimeZone {
                timestamp,
                time_zone,
            } => self.exprs([&**timestamp, &**time_zone]),
            Expr::Function(function) => self.function(function),
            Expr::Array(Array { elem, named: _ }) => self.exprs(elem),
            Expr::Interval(interval) => self.interval(interval),
            Expr::InSubquery {
                expr,
                subquery,
                negated: _,
            } => {
                self.expr(expr);
                self.query(subquery);
            }
            Expr::Exists {
                subquery,
                negated: _,
            }
            | Expr::Subquery(subquery) => self.query(subquery),
            Expr::AnyOp {
                left,
                compare_op: _,
                right,
                is_some: _,
            }
            | Expr::AllOp {
                left,
                compare_op: _,
                right,
            } if matches!(**right, Expr::Subquery(_)) => self.exprs([&**left, &**right]),
            other => self.refused_expr(other),
        }
    }

    pub(super) fn exprs<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    /// Expressions that are refused as a whole. They are listed one by one, so that a new kind does not slip through.
    fn refused_expr(&mut self, expr: &Expr) {
        let span = match expr {
            // sqlparser has no span for it.
            Expr::RLike { expr, pattern, .. } => {
                span_of(expr.as_ref()).union(span_of(pattern.as_ref()))
            }
            expr => span_of(expr),
        };
        let (what, way_out) = match expr {
            Expr::AnyOp {
                left: _,
                compare_op: _,
                right: _,
                is_some: _,
            }
            | Expr::AllOp {
                left: _,
                compare_op: _,
                right: _,
            } => (
                "ANY or ALL over an array",
                "array_has(array, value) looks for an element",
            ),
            Expr::JsonAccess { value: _, path: _ } => (
                "a path into JSON",
                "declare the fields in CREATE TABLE: person ROW<name STRING>",
            ),
            Expr::IsNormalized {
                expr: _,
                form: _,
                negated: _,
            } => ("IS NORMALIZED", "text is taken as it is"),
            Expr::InUnnest {
                expr: _,
                array_expr: _,
                negated: _,
            } => ("IN UNNEST", "array_has(array, value) looks for an element"),
            Expr::RLike {
                negated: _,
                expr: _,
                pattern: _,
                regexp: _,
            } => ("RLIKE", "a ~ 'pattern', or regexp_like(a, 'pattern')"),
            Expr::Convert {
                is_try: _,
                expr: _,
                data_type: _,
                charset: _,
                target_before_value: _,
                styles: _,
            } => ("CONVERT", "CAST(value AS type)"),
            Expr::Collate {
                expr: _,
                collation: _,
            } => (
                "COLLATE",
                "text is compared by its bytes; lower(a) makes case not matter",
            ),
            Expr::Prefixed {
                prefix: _,
                value: _,
            } => ("a prefixed string", "write the string without its prefix"),
            Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => (
                "a grouping set in an expression",
                "they are not supported yet",
            ),
            Expr::Tuple(_) => (
                "a tuple",
                "compare the columns one by one: a = 1 AND b = 2, EXISTS (SELECT 1 FROM i WHERE i.a = o.a AND i.b = o.b); ROW(a, b) is one value of two parts",
            ),
            Expr::Struct {
                values: _,
                fields: _,
            } => ("STRUCT", "named_struct('name', value, …) makes a row"),
            Expr::Named { expr: _, name: _ } => (
                "a name for a part of an expression",
                "named_struct('name', value, …) makes a row",
            ),
            Expr::Dictionary(_) => (
                "a { } literal",
                "named_struct('name', value, …) makes a row, map([keys], [values]) a map",
            ),
            Expr::Map(_) => ("a MAP { } literal", "map([keys], [values]) makes a map"),
            Expr::MatchAgainst {
                columns: _,
                match_value: _,
                opt_search_modifier: _,
            } => ("MATCH … AGAINST", "a LIKE '%word%' looks for text"),
            Expr::Wildcard(_) | Expr::QualifiedWildcard(_, _) => (
                "* in an expression",
                "count(*) counts rows; elsewhere name the columns",
            ),
            Expr::OuterJoin(_) => ("(+)", "outer joins are not supported yet"),
            Expr::Prior(_) => ("PRIOR", "hierarchies cannot be walked"),
            Expr::Lambda(_) => (
                "a lambda",
                "functions over arrays take values, not functions",
            ),
            Expr::MemberOf(_) => ("MEMBER OF", "array_has(array, value) looks for an element"),
            // `expr` takes care of these.
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::CompoundFieldAccess { .. }
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Between { .. }
            | Expr::BinaryOp { .. }
            | Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::SimilarTo { .. }
            | Expr::UnaryOp { .. }
            | Expr::Cast { .. }
            | Expr::Extract { .. }
            | Expr::Ceil { .. }
            | Expr::Floor { .. }
            | Expr::Position { .. }
            | Expr::Substring { .. }
            | Expr::Trim { .. }
            | Expr::Overlay { .. }
            | Expr::Nested(_)
            | Expr::Value(_)
            | Expr::TypedString(_)
            | Expr::Function(_)
            | Expr::Case { .. }
            | Expr::Exists { .. }
            | Expr::Subquery(_)
            | Expr::Array(_)
            | Expr::AtTimeZone { .. }
            | Expr::Interval(_) => return,
        };
        self.no_expression(what, span, way_out);
    }

    pub(super) fn no_expression(&mut self, what: &str, span: Span, way_out: &str) {
        self.refuse(
            codes::EXPRESSION,
            format!("{what} is not supported"),
            span,
            way_out,
        );
    }

    pub(super) fn subquery(&mut self, what: &str, span: Span) {
        self.refuse(
            codes::SUBQUERY,
            format!("{what} is not supported yet"),
            span,
            NOT_IN_EXPRESSION,
        );
    }

    fn access(&mut self, access: &AccessExpr) {
        match access {
            AccessExpr::Dot(expr) => self.expr(expr),
            AccessExpr::Subscript(Subscript::Index { index }) => self.expr(index),
            AccessExpr::Subscript(Subscript::Slice {
                lower_bound,
                upper_bound,
                stride,
            }) => {
                self.exprs(lower_bound.iter().chain(upper_bound).chain(stride));
            }
        }
    }

    fn binary_operator(&mut self, op: &BinaryOperator, left: &Expr, right: &Expr) {
        use BinaryOperator as B;
        let way_out = match op {
            B::Plus | B::Minus | B::Multiply | B::Divide | B::Modulo => return,
            B::StringConcat
            | B::Gt
            | B::Lt
            | B::GtEq
            | B::LtEq
            | B::Eq
            | B::NotEq
            | B::And
            | B::Or => return,
            B::BitwiseOr | B::BitwiseAnd | B::BitwiseXor => return,
            B::PGBitwiseXor | B::PGBitwiseShiftLeft | B::PGBitwiseShiftRight => return,
            B::PGRegexMatch | B::PGRegexIMatch | B::PGRegexNotMatch | B::PGRegexNotIMatch => return,
            B::PGLikeMatch | B::PGILikeMatch | B::PGNotLikeMatch | B::PGNotILikeMatch => {
                "write LIKE, ILIKE or NOT LIKE"
            }
            B::PGExp => "power(a, b) raises a to b",
            B::Spaceship => "IS NOT DISTINCT FROM compares with NULL as a value",
            B::Xor => "write a <> b for two conditions",
            B::DuckIntegerDivide | B::MyIntegerDivide => "a / b of two integers is an integer",
            // Calls of our JSON functions, see functions/rewrite.rs.
            B::Arrow | B::LongArrow | B::HashArrow | B::HashLongArrow => return,
            B::AtQuestion | B::AtAt | B::AtArrow | B::ArrowAt | B::HashMinus => {
                "declare the fields in CREATE TABLE: person ROW<name STRING>; array_has_all compares arrays"
            }
            B::Assignment => "equality is written with one `=`",
            B::Overlaps | B::PGOverlap => "compare the bounds: a.start < b.end AND b.start < a.end",
            _ => "docs/sql lists the operators",
        };
        let span = span_of(left).union(span_of(right));
        self.no_expression(&format!("the operator `{op}`"), span, way_out);
    }

    fn value(&mut self, value: &Value, span: Span) {
        match value {
            Value::Number(digits, _) => {
                if digits.parse::<f64>().is_ok_and(f64::is_infinite) {
                    self.problems.push(
                        Diagnostic::error(
                            codes::BAD_LITERAL,
                            format!("{digits} is greater than every DOUBLE"),
                        )
                        .at(span, "the greatest one is 1.7976931348623157e308")
                        .help("if infinity is meant: CAST('Infinity' AS DOUBLE)"),
                    );
                }
            }
            Value::SingleQuotedString(_)
            | Value::DollarQuotedString(_)
            | Value::EscapedStringLiteral(_)
            | Value::HexStringLiteral(_)
            | Value::Boolean(_)
            | Value::Null => {}
            Value::Placeholder(name) => {
                self.no_expression(
                    &format!("the placeholder `{name}`"),
                    span,
                    "write the value itself",
                );
            }
            Value::TripleSingleQuotedString(_)
            | Value::TripleDoubleQuotedString(_)
            | Value::UnicodeStringLiteral(_)
            | Value::SingleQuotedByteStringLiteral(_)
            | Value::DoubleQuotedByteStringLiteral(_)
            | Value::TripleSingleQuotedByteStringLiteral(_)
            | Value::TripleDoubleQuotedByteStringLiteral(_)
            | Value::SingleQuotedRawStringLiteral(_)
            | Value::DoubleQuotedRawStringLiteral(_)
            | Value::TripleSingleQuotedRawStringLiteral(_)
            | Value::TripleDoubleQuotedRawStringLiteral(_)
            | Value::NationalStringLiteral(_)
            | Value::QuoteDelimitedStringLiteral(_)
            | Value::NationalQuoteDelimitedStringLiteral(_)
            | Value::DoubleQuotedString(_) => {
                self.no_expression(
                    "a string of this form",
                    span,
                    "strings are 'text', E'with \\n escapes' and X'00FF' for bytes",
                );
            }
        }
    }

    fn typed_string(&mut self, data_type: &sqlparser::ast::DataType, span: Span, odbc: bool) {
        use sqlparser::ast::DataType as T;
        use sqlparser::ast::TimezoneInfo as Z;
        let known = matches!(
            data_type,
            T::Date | T::Time(None, Z::None) | T::Timestamp(None, Z::None | Z::WithoutTimeZone)
        );
        if !known || odbc {
            self.no_expression(
                &format!("a {data_type} literal"),
                span,
                "DATE '2020-01-31', TIME '12:00:00' and TIMESTAMP '2020-01-31 12:00:00' are literals; others are casts: CAST('…' AS type)",
            );
        }
    }

    fn interval(&mut self, interval: &Interval) {
        let Interval {
            value,
            leading_field,
            leading_precision,
            last_field,
            fractional_seconds_precision,
        } = interval;
        let span = span_of(value.as_ref());
        if leading_precision.is_some() || fractional_seconds_precision.is_some() {
            self.no_expression(
                "a precision of an interval",
                span,
                "write it without: INTERVAL '10' SECOND",
            );
        }
        if last_field.is_some() {
            self.no_expression(
                "an interval of two units",
                span,
                "add two intervals: INTERVAL '1' DAY + INTERVAL '2' HOUR",
            );
            return;
        }
        let text = match value.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) | Value::Number(text, _) => text.trim(),
                _ => "",
            },
            _ => {
                self.no_expression(
                    "an interval of an expression",
                    span,
                    "multiply an interval: n * INTERVAL '1' SECOND; a column of that name is quoted: \"interval\"",
                );
                return;
            }
        };
        let whole = match leading_field {
            // The library would drop the unit behind a text that has one of its own.
            Some(_) if text.contains(char::is_alphabetic) => String::new(),
            Some(unit) => format!("{text} {unit}"),
            None => text.to_owned(),
        };
        if text.is_empty() || parse_interval_month_day_nano(&whole).is_err() {
            let unit = leading_field
                .as_ref()
                .map(|unit| format!(" {unit}"))
                .unwrap_or_default();
            self.problems.push(
                Diagnostic::error(
                    codes::BAD_LITERAL,
                    format!("{value}{unit} is not a value of INTERVAL"),
                )
                .at(span, "not a length of time")
                .help("write INTERVAL '10' SECOND, or INTERVAL '1 day 2 hours'"),
            );
        }
    }
}
