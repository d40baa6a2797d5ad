//! Binding of expressions: from the AST to typed expressions of the plan, from the leaves up, one level at a time.
//!
//! A level's operands are bound first and stand in it as placeholder columns of known types; the library says what the
//! level means (`library.rs`), `convert.rs` puts the operands back. Columns, casts, the clock and aggregates are ours.
//! So every sub-expression has its own place in the SQL, and a mistake is reported at the smallest one that has it.

use sqlparser::ast::{self, Ident};
use weir_types::{DataType, Diagnostic, Scalar, Span};

use crate::codes;
use crate::convert::{CastKind, Level, Refusal, cast_to, placeholder};
use crate::library::Library;
use crate::logical::AggregateCall;
use crate::plan::{Expr, ExprKind};
use crate::syntax::span_of;

use super::levels::{is_literal, operands_mut, what_is_it};
use super::rank::WindowCalls;
use super::scope::Scope;
use super::types::cast_type;
use super::{Failed, library_message};

/// Deeper expressions are refused: every pass over an expression is recursive.
const DEPTH_MAX: usize = 256;

/// What happens to an aggregate call.
pub(crate) enum Aggregates<'a> {
    /// It is an error: the place is called so.
    NotIn(&'static str),
    /// It is collected; the expression refers to it as a column behind those of the scope.
    Collect(&'a mut Vec<AggregateCall>),
}

/// Binds the expressions of one clause.
pub(crate) struct ExprBinder<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) aggregates: Aggregates<'a>,
    pub(crate) diagnostics: &'a mut Vec<Diagnostic>,
    depth: usize,
    /// Set inside an aggregate's arguments.
    pub(super) inside_aggregate: bool,
    /// Where window calls are collected; `None` where none can stand.
    pub(super) windows: Option<&'a mut WindowCalls>,
}

impl<'a> ExprBinder<'a> {
    /// A binder over the columns of `scope`.
    pub(crate) fn new(
        scope: &'a Scope,
        aggregates: Aggregates<'a>,
        diagnostics: &'a mut Vec<Diagnostic>,
    ) -> Self {
        Self {
            scope,
            aggregates,
            diagnostics,
            depth: 0,
            inside_aggregate: false,
            windows: None,
        }
    }

    /// With window calls, which are collected.
    pub(super) fn with_windows(mut self, windows: &'a mut WindowCalls) -> Self {
        self.windows = Some(windows);
        self
    }

    /// Binds an expression; all mistakes in it are reported.
    pub(crate) fn bind(&mut self, expr: &ast::Expr) -> Result<Expr, Failed> {
        self.depth += 1;
        let result = if self.depth > DEPTH_MAX {
            let message = "this expression is nested too deeply";
            self.fail(
                Diagnostic::error(codes::TOO_DEEP, message)
                    .at(span_of(expr), format!("more than {DEPTH_MAX} levels"))
                    .help(
                        "split it with a subquery in FROM, or write IN (…) for a long chain of OR",
                    ),
            )
        } else {
            self.bind_kind(expr)
        };
        self.depth -= 1;
        result
    }

    /// Binds a condition: a BOOLEAN.
    pub(crate) fn bind_condition(
        &mut self,
        expr: &ast::Expr,
        clause: &str,
    ) -> Result<Expr, Failed> {
        let bound = self.bind(expr)?;
        match bound.data_type {
            DataType::Boolean => Ok(bound),
            DataType::Null => Ok(cast_to(
                bound,
                DataType::Boolean,
                CastKind::Fails,
                Span::default(),
            )),
            ref other => {
                let message = format!("the condition of {clause} is not a BOOLEAN");
                self.fail(
                    Diagnostic::error(codes::TYPE_MISMATCH, message)
                        .at(bound.span, format!("this is {}", with_article(other)))
                        .help("compare it with something, e.g. <> 0 or IS NOT NULL"),
                )
            }
        }
    }

    pub(super) fn fail<T>(&mut self, diagnostic: Diagnostic) -> Result<T, Failed> {
        self.diagnostics.push(diagnostic);
        Err(Failed)
    }

    fn bind_kind(&mut self, expr: &ast::Expr) -> Result<Expr, Failed> {
        let span = span_of(expr);
        match expr {
            ast::Expr::Nested(inner) => self.bind(inner),
            ast::Expr::Identifier(name) => self.bind_column(std::slice::from_ref(name), span),
            ast::Expr::CompoundIdentifier(names) => self.bind_column(names, span),
            ast::Expr::CompoundFieldAccess { root, access_chain } => {
                self.bind_access(root, access_chain, span)
            }
            ast::Expr::Cast {
                kind,
                expr,
                data_type,
                ..
            } => {
                let fails = matches!(kind, ast::CastKind::Cast | ast::CastKind::DoubleColon);
                let kind = if fails {
                    CastKind::Fails
                } else {
                    CastKind::GivesNull
                };
                let (operand, target) = (self.bind(expr), cast_type(data_type, span));
                let target = target.or_else(|diagnostic| self.fail(*diagnostic))?;
                self.cast(operand?, target, kind, span)
            }
            ast::Expr::TypedString(typed) => {
                let target = cast_type(&typed.data_type, span)
                    .or_else(|diagnostic| self.fail(*diagnostic))?;
                let text = typed.value.clone().into_string().unwrap_or_default();
                let value = Expr::literal(Scalar::String(text), DataType::String, span);
                self.cast(value, target, CastKind::Fails, span)
            }
            ast::Expr::AtTimeZone {
                timestamp,
                time_zone,
            } => self.bind_zone(timestamp, time_zone, span),
            ast::Expr::Function(call) => self.bind_call(expr, call, span),
            ast::Expr::Exists { .. }
            | ast::Expr::InSubquery { .. }
            | ast::Expr::Subquery(_)
            | ast::Expr::AnyOp { .. }
            | ast::Expr::AllOp { .. } => {
                self.fail(
                    Diagnostic::error(codes::SUBQUERY, "a subquery cannot stand here")
                        .at(span, "subqueries stand in WHERE, SELECT, HAVING and the ON of inner joins")
                        .help("compute it in a subquery in FROM, whose columns can be used anywhere: FROM (SELECT *, (SELECT …) AS x FROM t) AS s")
                        .help("or join it in FROM: LEFT JOIN (SELECT …) AS s ON …"),
                )
            }
            ast::Expr::Case { .. } => self.bind_case(expr, span),
            ast::Expr::BinaryOp {
                op: ast::BinaryOperator::And | ast::BinaryOperator::Or,
                ..
            } => self.bind_chain(expr),
            _ => match crate::functions::rewritten_operator(expr) {
                Some(rewritten) => self.bind(&rewritten),
                None => self.bind_level(expr, span),
            },
        }
    }

    /// A chain of AND or of OR, as a balanced tree: it may be long, and every pass over it is recursive.
    fn bind_chain(&mut self, expr: &ast::Expr) -> Result<Expr, Failed> {
        let ast::Expr::BinaryOp { op, .. } = expr else {
            return Err(Failed);
        };
        let (mut operands, mut rest) = (Vec::new(), expr);
        while let ast::Expr::BinaryOp {
            left,
            op: other,
            right,
        } = rest
            && other == op
        {
            operands.push(right.as_ref());
            rest = left;
        }
        operands.push(rest);
        let (mut bound, mut failed) = (Vec::with_capacity(operands.len()), false);
        for operand in operands.into_iter().rev() {
            match self.bind(operand) {
                Ok(operand) => bound.push(operand),
                Err(Failed) => failed = true,
            }
        }
        if failed {
            Err(Failed)
        } else {
            self.balanced(op, bound)
        }
    }

    fn balanced(
        &mut self,
        op: &ast::BinaryOperator,
        mut operands: Vec<Expr>,
    ) -> Result<Expr, Failed> {
        if operands.len() < 2 {
            return operands.pop().ok_or(Failed);
        }
        // The left half is the greater one, so that up to three operands are grouped as they are written.
        let right = operands.split_off(operands.len().div_ceil(2));
        let (left, right) = (self.balanced(op, operands)?, self.balanced(op, right)?);
        let span = left.span.union(right.span);
        let level = ast::Expr::BinaryOp {
            left: Box::new(placeholder_ident(0)),
            op: op.clone(),
            right: Box::new(placeholder_ident(1)),
        };
        self.library_level(level, vec![left, right], &format!("`{op}`"), span)
    }

    // ------------------------------------------------------------------ casts

    /// A cast; one of a literal is done now, so that a wrong literal is found now.
    pub(crate) fn cast(
        &mut self,
        operand: Expr,
        to: DataType,
        kind: CastKind,
        span: Span,
    ) -> Result<Expr, Failed> {
        let (from, target) = (operand.data_type.to_arrow(), to.to_arrow());
        let is_possible = match (&operand.data_type, &to) {
            (DataType::Row(from), DataType::Row(to)) => from.len() == to.len(),
            _ => arrow::compute::can_cast_types(&from, &target),
        };
        let renames = crate::row_cast::renames_within(&operand.data_type, &to);
        if operand.data_type != to && (!is_possible || renames) {
            return self.fail(
                Diagnostic::error(
                    codes::TYPE_MISMATCH,
                    format!("{} cannot be cast to {to}", operand.data_type),
                )
                .at(
                    span,
                    format!("the operand is {}", with_article(&operand.data_type)),
                ),
            );
        }
        match crate::literals::folded_cast(&operand, &to, kind, span) {
            Ok(Some(folded)) => Ok(folded),
            Ok(None) => Ok(cast_to(operand, to, kind, span)),
            Err(()) => self.bad_literal(&operand, &to, span),
        }
    }

    /// `x AT TIME ZONE zone`: a TIMESTAMP is the clock of that zone and becomes an instant, an instant is shown by it.
    fn bind_zone(
        &mut self,
        operand: &ast::Expr,
        zone: &ast::Expr,
        span: Span,
    ) -> Result<Expr, Failed> {
        let name = match zone {
            ast::Expr::Value(value) => value.value.clone().into_string(),
            _ => None,
        };
        if let Some(Err(reason)) = name.as_deref().map(crate::functions::parse_zone) {
            return self.fail(
                Diagnostic::error(codes::BAD_LITERAL, reason)
                    .at(span_of(zone).union(span), "no such zone")
                    .help("zones are called 'Europe/Oslo', 'UTC' or '+02:00'"),
            );
        }
        let (operand, zone) = (self.bind(operand)?, self.bind(zone)?);
        let (function, data_type) = match operand.data_type {
            DataType::Timestamp(unit) => ("local_to_instant", DataType::TimestampLtz(unit)),
            DataType::TimestampLtz(unit) => ("instant_to_local", DataType::Timestamp(unit)),
            ref other => {
                let message = format!(
                    "AT TIME ZONE takes a timestamp, and this is {}",
                    with_article(other)
                );
                return self.fail(
                    Diagnostic::error(codes::TYPE_MISMATCH, message)
                        .at(span, "not a point in time")
                        .help("CAST(… AS TIMESTAMP(3)) makes it one, where that is meant"),
                );
            }
        };
        if zone.data_type != DataType::String {
            return self.fail(
                Diagnostic::error(codes::TYPE_MISMATCH, "a time zone is a STRING")
                    .at(zone.span.union(span), "not the name of a zone")
                    .help("zones are called 'Europe/Oslo', 'UTC' or '+02:00'"),
            );
        }
        let name = function.to_owned();
        Ok(Expr {
            kind: ExprKind::Function {
                name,
                arguments: vec![operand, zone],
            },
            data_type,
            span,
        })
    }

    // ------------------------------------------------------------------ one level, by the library

    pub(super) fn bind_level(&mut self, expr: &ast::Expr, span: Span) -> Result<Expr, Failed> {
        if is_literal(expr) {
            return self.library_level(expr.clone(), Vec::new(), "this literal", span);
        }
        let mut level = expr.clone();
        let Some(operands) = operands_mut(&mut level) else {
            return self.fail(
                Diagnostic::error(codes::NOT_YET, "this kind of expression is not there yet")
                    .at(span, "cannot be planned"),
            );
        };
        let (mut bound, mut failed) = (Vec::new(), false);
        for operand in operands {
            failed |= self.replace_operand(operand, &mut bound).is_err();
        }
        if failed {
            return Err(Failed);
        }
        if let Some(date) = super::choices::days_later(expr, &bound, span) {
            return Ok(date);
        }
        self.library_level(level, bound, &what_is_it(expr), span)
    }

    /// Binds an operand and puts its placeholder in its stead; a literal stays.
    pub(super) fn replace_operand(
        &mut self,
        operand: &mut ast::Expr,
        bound: &mut Vec<Expr>,
    ) -> Result<(), Failed> {
        if is_literal(operand) {
            return Ok(());
        }
        let value = self.bind(operand)?;
        *operand = placeholder_ident(bound.len());
        bound.push(value);
        Ok(())
    }

    pub(super) fn library_level(
        &mut self,
        level: ast::Expr,
        operands: Vec<Expr>,
        what: &str,
        span: Span,
    ) -> Result<Expr, Failed> {
        let span = operands
            .iter()
            .fold(span, |all, operand| all.union(operand.span));
        let (bound, schema) = match Library::get().bind_level(level, &placeholders(&operands)) {
            Ok(bound) => bound,
            Err(error) => return self.level_error(what, &operands, &error, span),
        };
        let level = Level {
            operands: &operands,
            schema: &schema,
            span,
        };
        match level.convert(bound) {
            Ok(expr) => Ok(expr),
            Err(Refusal::BadLiteral(literal, to)) => self.bad_literal(&literal, &to, span),
            Err(Refusal::NotYet(reason)) => self.fail(
                Diagnostic::error(
                    codes::NOT_YET,
                    format!("{what} cannot be planned: {reason}"),
                )
                .at(span, "not there yet"),
            ),
        }
    }

    fn bad_literal<T>(&mut self, literal: &Expr, to: &DataType, span: Span) -> Result<T, Failed> {
        let shown = crate::canonical::text(literal, &|_| String::new());
        self.fail(
            Diagnostic::error(
                codes::BAD_LITERAL,
                format!("{shown} is not {}", with_article(to)),
            )
            .at(literal.span.union(span), "cannot be read as one")
            .help(format!("TRY_CAST({shown} AS {to}) gives NULL instead")),
        )
    }

    pub(super) fn level_error<T>(
        &mut self,
        what: &str,
        operands: &[Expr],
        error: &datafusion_common::DataFusionError,
        span: Span,
    ) -> Result<T, Failed> {
        let types: Vec<String> = operands
            .iter()
            .map(|operand| operand.data_type.to_string())
            .collect();
        let diagnostic = if types.is_empty() {
            Diagnostic::error(
                codes::TYPE_MISMATCH,
                format!("{what} cannot be used like this"),
            )
            .at(span, library_message(error))
        } else {
            Diagnostic::error(
                codes::TYPE_MISMATCH,
                format!("{what} does not take {}", types.join(" and ")),
            )
            .at(span, "these types do not fit")
            .help("CAST(… AS type) makes them fit, where a cast is meant")
        };
        self.fail(diagnostic)
    }
}

/// The placeholder of the `index`-th operand, as an identifier that nothing folds.
pub(super) fn placeholder_ident(index: usize) -> ast::Expr {
    ast::Expr::Identifier(Ident::with_quote('"', placeholder(index)))
}

pub(super) fn placeholders(operands: &[Expr]) -> Vec<(String, arrow::datatypes::DataType, bool)> {
    let column =
        |(i, operand): (usize, &Expr)| (placeholder(i), operand.data_type.to_arrow(), true);
    operands.iter().enumerate().map(column).collect()
}

/// `a BIGINT`, `an INT`.
pub(crate) fn with_article(data_type: &DataType) -> String {
    let name = data_type.to_string();
    let article = if name.starts_with(['A', 'E', 'I', 'O', 'U']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {name}")
}
