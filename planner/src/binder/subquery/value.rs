//! EXISTS, IN, ANY and ALL as values: under OR and NOT, in CASE, in the SELECT list, in HAVING.
//!
//! ```text
//!   EXISTS (S)      ─▶  (SELECT count(*) > 0 FROM S)                                    exists(rel)
//!   x IN (S)        ─▶  CASE WHEN (SELECT count(*) > 0 FROM S WHERE y = x) THEN TRUE    in(rel)
//!                            ELSE (SELECT whether NULLs leave it open FROM S) END       not_in(rel)
//!   x > ALL (S)     ─▶  (SELECT CASE WHEN NOT x > max(y) THEN FALSE … END FROM S)       all(rel)
//!   x = ANY (S)         is x IN (S);  x <> ALL (S) is x NOT IN (S);  x <> ANY (S) is NOT x = ALL (S)
//! ```
//!
//! # Invariants
//! 1. The answer is SQL's of three values. Where only TRUE matters (a condition, under AND and OR), the part that tells FALSE
//!    from unknown is left out.
//! 2. `x` is bound in the block around the subquery, before the subquery is: no name in it reaches the subquery's columns.

use sqlparser::ast::{BinaryOperator, Expr, Query, Select, Value};
use weir_types::{Diagnostic, Span};

use crate::codes;
use crate::names::quoted;
use crate::syntax::span_of;

use super::super::expr::{Aggregates, ExprBinder};
use super::super::from::From;
use super::super::levels::is_literal;
use super::super::query::Context;
use super::super::scope::{lifted_name, outer_name};
use super::super::{Binder, Failed};
use super::wording::{
    self, Shape, binary, call, case, for_exists, is_aggregate_call, not, only_item, parts_mut,
    select_from, selecting, shape, truth, zero,
};
use super::{Lifted, OUTER_CALLS, subquery_name};

/// What a subquery's join is called: its first relation, and the role made of it.
#[derive(Clone)]
pub(super) struct Called {
    pub(super) name: String,
    pub(super) role: String,
}

impl Called {
    pub(super) fn new(word: &str, subquery: &Query) -> Self {
        let name = subquery_name(subquery);
        let role = format!("{word}({})", quoted(&name));
        Self { name, role }
    }
}

/// A subquery's rows as FROM and WHERE of a block, and the context in which they can be bound.
struct Rows {
    select: Box<Select>,
    context: Context,
}

impl Binder<'_> {
    /// Replaces every subquery in an expression by a placeholder of its value. `is_condition`: only whether it is true matters.
    pub(super) fn lift_values(
        &mut self,
        expr: &mut Expr,
        is_condition: bool,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<(), Failed> {
        let is_all = matches!(expr, Expr::AllOp { .. });
        match expr {
            Expr::Subquery(subquery) => {
                let called = Called::new("scalar", subquery);
                *expr = self.one_value(subquery, called, from, context, lifted)?;
                return Ok(());
            }
            Expr::Exists { subquery, negated } => {
                let found = self.existence(subquery, from, context, lifted)?;
                *expr = if *negated { not(found) } else { found };
                return Ok(());
            }
            Expr::InSubquery {
                expr: value,
                subquery,
                negated,
            } => {
                let is_condition = is_condition && !*negated;
                let found =
                    self.membership(value, subquery, is_condition, from, context, lifted)?;
                *expr = if *negated { not(found) } else { found };
                return Ok(());
            }
            Expr::AnyOp {
                left,
                compare_op,
                right,
                ..
            }
            | Expr::AllOp {
                left,
                compare_op,
                right,
            } if matches!(right.as_ref(), Expr::Subquery(_)) => {
                let Expr::Subquery(subquery) = right.as_ref() else {
                    return Err(Failed);
                };
                let quantified = Quantified {
                    value: left,
                    op: compare_op,
                    all: is_all,
                };
                *expr =
                    self.quantified(&quantified, subquery, is_condition, from, context, lifted)?;
                return Ok(());
            }
            // Below the groups, and there already.
            Expr::Function(call) if lifted.is_above && is_aggregate_call(call) => return Ok(()),
            _ => {}
        }
        let passes = match expr {
            Expr::Nested(_) => is_condition,
            Expr::BinaryOp { op, .. } => {
                is_condition && matches!(op, BinaryOperator::And | BinaryOperator::Or)
            }
            _ => false,
        };
        if let Expr::Case {
            operand: None,
            conditions,
            else_result,
            ..
        } = expr
        {
            for branch in conditions {
                self.lift_values(&mut branch.condition, true, from, context, lifted)?;
                self.lift_values(&mut branch.result, false, from, context, lifted)?;
            }
            if let Some(otherwise) = else_result {
                self.lift_values(otherwise, false, from, context, lifted)?;
            }
            return Ok(());
        }
        for part in parts_mut(expr) {
            self.lift_values(part, passes, from, context, lifted)?;
        }
        Ok(())
    }

    /// The same within the arguments and FILTERs of aggregates alone.
    pub(super) fn lift_below_groups(
        &mut self,
        expr: &mut Expr,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<(), Failed> {
        let inside = matches!(expr, Expr::Function(call) if is_aggregate_call(call));
        if let (true, Expr::Function(call)) = (inside, &mut *expr)
            && let Some(filter) = &mut call.filter
        {
            self.lift_values(filter, true, from, context, lifted)?;
        }
        for part in parts_mut(expr) {
            if inside {
                self.lift_values(part, false, from, context, lifted)?;
            } else {
                self.lift_below_groups(part, from, context, lifted)?;
            }
        }
        Ok(())
    }

    /// A query for one value: joined, and its placeholder.
    fn one_value(
        &mut self,
        query: &Query,
        called: Called,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<Expr, Failed> {
        let context = &if lifted.is_above || !called.role.starts_with("scalar(") {
            within(context, &called)
        } else {
            context.clone()
        };
        let value = self.scalar(query, called, from, context, lifted)?;
        from.scope.lifted.push(value);
        Ok(lifted_name(from.scope.lifted.len() - 1))
    }

    /// An expression of the block as it can stand in a subquery of it.
    fn outer_value(
        &mut self,
        value: &Expr,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<Expr, Failed> {
        let mut value = value.clone();
        if is_literal(&value) {
            return Ok(value);
        }
        self.lift_values(&mut value, false, from, context, lifted)?;
        let aggregates = if lifted.is_above {
            Aggregates::Collect(&mut lifted.calls)
        } else {
            Aggregates::NotIn("WHERE")
        };
        let bound = ExprBinder::new(&from.scope, aggregates, &mut self.diagnostics).bind(&value)?;
        let width = from.scope.columns.len();
        let number = |column: usize| match column.checked_sub(width) {
            Some(call) => OUTER_CALLS + call,
            None => column,
        };
        from.scope.values.push(bound.renumbered(&number));
        Ok(outer_name(from.scope.values.len() - 1))
    }

    /// The rows of a subquery: its own FROM and WHERE, or all that it gives as a relation by itself.
    fn rows(
        &mut self,
        subquery: &Query,
        one_column: bool,
        called: &Called,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<Rows, Failed> {
        if let Shape::Rows(select) = shape(subquery) {
            let context = context.clone();
            return Ok(Rows { select, context });
        }
        let span = span_of(subquery);
        let Some(mut bound) = self.uncorrelated(subquery, &within(context, called))? else {
            return self.fail(correlated_shape(span));
        };
        if one_column {
            self.one_column(&bound.relation.columns, span)?;
        }
        let node = bound.relation.node;
        // It may be read twice.
        self.graph.nodes[node].shared |= bound.stateful;
        lifted.stateful |= bound.stateful;
        if let Some(first) = bound.relation.columns.first_mut() {
            first.name = wording::VALUE.to_owned();
        }
        // No name of a text begins like this one.
        let name = format!("\u{1}{node}");
        let select = Box::new(select_from(&name));
        let context = context.with_relation(name, bound.relation);
        Ok(Rows { select, context })
    }

    fn existence(
        &mut self,
        subquery: &Query,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<Expr, Failed> {
        let called = Called::new("exists", subquery);
        let subquery = for_exists(subquery);
        if let Shape::One(mut select) = shape(&subquery) {
            // An aggregate has a row, whatever there is to aggregate.
            let Some(having) = select.having.take() else {
                return Ok(truth(true));
            };
            let item = Expr::IsTrue(Box::new(Expr::Nested(Box::new(having))));
            return self.one_value(&selecting(*select, item), called, from, context, lifted);
        }
        let rows = self.rows(&subquery, false, &called, context, lifted)?;
        let some = binary(call("count", None), BinaryOperator::Gt, zero());
        self.one_value(
            &selecting(*rows.select, some),
            called,
            from,
            &rows.context,
            lifted,
        )
    }

    fn membership(
        &mut self,
        value: &Expr,
        subquery: &Query,
        is_condition: bool,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<Expr, Failed> {
        let x = self.outer_value(value, from, context, lifted)?;
        let called = Called::new("in", subquery);
        if let Shape::One(select) = shape(subquery) {
            let compared = (x, &BinaryOperator::Eq, false);
            return self.with_only_row(*select, compared, called, from, context, lifted);
        }
        let rows = self.rows(subquery, true, &called, context, lifted)?;
        let y = self.item_of(&rows.select)?;
        let mut equal = rows.select.as_ref().clone();
        let condition = binary(y.clone(), BinaryOperator::Eq, x.clone());
        equal.selection = Some(match equal.selection.take() {
            Some(other) => binary(
                Expr::Nested(Box::new(other)),
                BinaryOperator::And,
                condition,
            ),
            None => condition,
        });
        let some = binary(call("count", None), BinaryOperator::Gt, zero());
        let found = self.one_value(&selecting(equal, some), called, from, &rows.context, lifted)?;
        if is_condition {
            return Ok(found);
        }
        // Not found is FALSE of no rows; of some it is unknown where a NULL is on either side.
        let null = wording::value(Value::Null);
        let open = case(
            vec![
                (no_rows(), truth(false)),
                (
                    binary(Expr::IsNull(Box::new(x)), BinaryOperator::Or, some_null(&y)),
                    null,
                ),
            ],
            truth(false),
        );
        let called = Called::new("not_in", subquery);
        let open = self.one_value(
            &selecting(*rows.select, open),
            called,
            from,
            &rows.context,
            lifted,
        )?;
        Ok(case(vec![(found, truth(true))], open))
    }

    fn quantified(
        &mut self,
        quantified: &Quantified<'_>,
        subquery: &Query,
        is_condition: bool,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<Expr, Failed> {
        use BinaryOperator as B;
        let Quantified { value, op, all } = quantified;
        match (op, all) {
            (B::Eq, false) => {
                return self.membership(value, subquery, is_condition, from, context, lifted);
            }
            (B::NotEq, true) => {
                let found = self.membership(value, subquery, false, from, context, lifted)?;
                return Ok(not(found));
            }
            (B::NotEq, false) => {
                let equal = Quantified {
                    value,
                    op: &B::Eq,
                    all: true,
                };
                let equal = self.quantified(&equal, subquery, false, from, context, lifted)?;
                return Ok(not(equal));
            }
            (B::Eq | B::Lt | B::LtEq | B::Gt | B::GtEq, _) => {}
            _ => {
                let message = format!("`{op}` cannot stand before ANY or ALL");
                return self.fail(
                    Diagnostic::error(codes::SUBQUERY_SHAPE, message)
                        .at(span_of(*value), "compared with a subquery's values")
                        .help("ANY and ALL take =, <>, <, <=, > and >="),
                );
            }
        }
        let x = self.outer_value(value, from, context, lifted)?;
        let called = Called::new(if *all { "all" } else { "any" }, subquery);
        if let Shape::One(select) = shape(subquery) {
            return self.with_only_row(*select, (x, op, *all), called, from, context, lifted);
        }
        let rows = self.rows(subquery, true, &called, context, lifted)?;
        let y = self.item_of(&rows.select)?;
        // The hardest value to beat for ALL, the easiest one for ANY.
        let upper = matches!(op, B::Gt | B::GtEq) == *all;
        let bound = call(if upper { "max" } else { "min" }, Some(&y));
        let compared = binary(x.clone(), (*op).clone(), bound);
        let decided = match (all, op) {
            (true, B::Eq) => binary(
                binary(x.clone(), B::NotEq, call("min", Some(&y))),
                B::Or,
                binary(x, B::NotEq, call("max", Some(&y))),
            ),
            (true, _) => not(compared.clone()),
            (false, _) => compared.clone(),
        };
        let answer = case(
            vec![
                (decided, truth(!all)),
                (no_rows(), truth(*all)),
                (some_null(&y), wording::value(Value::Null)),
            ],
            compared,
        );
        let query = selecting(*rows.select, answer);
        self.one_value(&query, called, from, &rows.context, lifted)
    }

    /// A comparison with the only row of an aggregate, or with none if its HAVING is false.
    fn with_only_row(
        &mut self,
        mut select: Select,
        (x, op, all): (Expr, &BinaryOperator, bool),
        called: Called,
        from: &mut From,
        context: &Context,
        lifted: &mut Lifted,
    ) -> Result<Expr, Failed> {
        let y = self.item_of(&select)?;
        let compared = binary(x, op.clone(), y);
        let answer = match select.having.take() {
            Some(having) => case(vec![(having, compared)], truth(all)),
            None => compared,
        };
        self.one_value(&selecting(select, answer), called, from, context, lifted)
    }

    fn item_of(&mut self, select: &Select) -> Result<Expr, Failed> {
        match only_item(select) {
            Some(item) => Ok(Expr::Nested(Box::new(item.clone()))),
            None => self.fail(
                Diagnostic::error(
                    codes::SUBQUERY_SHAPE,
                    "this subquery has to give one column",
                )
                .at(span_of(select), "its list is not one expression")
                .help("select the one column that is compared, by its name"),
            ),
        }
    }
}

/// `x op ANY (…)`, `x op ALL (…)`.
struct Quantified<'e> {
    value: &'e Expr,
    op: &'e BinaryOperator,
    all: bool,
}

/// What a subquery keeps beside its join is found below its block by the join's role: `view.in(b)/aggregate`.
fn within(context: &Context, called: &Called) -> Context {
    context.at(context.path.local(&called.role))
}

fn no_rows() -> Expr {
    binary(call("count", None), BinaryOperator::Eq, zero())
}

fn some_null(value: &Expr) -> Expr {
    let counted = call("count", Some(value));
    binary(call("count", None), BinaryOperator::Gt, counted)
}

fn correlated_shape(span: Span) -> Diagnostic {
    Diagnostic::error(
        codes::SUBQUERY_SHAPE,
        "a correlated subquery of this shape cannot be a part of an expression",
    )
    .at(
        span,
        "it reads a column of the query around it, and groups, ranks or limits its rows",
    )
    .help("[NOT] EXISTS and IN over GROUP BY can stand as conditions of WHERE, joined to others by AND")
    .help("or group in a subquery in FROM and join it: LEFT JOIN (SELECT k, … GROUP BY k) AS s ON s.k = o.k")
}
