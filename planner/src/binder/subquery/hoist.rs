//! Subqueries in ON: those of an inner join are conditions of WHERE, wherever that says the same.
//!
//! A condition of an inner join keeps or drops whole rows. It may be judged after the joins behind it as well, unless one of
//! them gives rows of its own (RIGHT, FULL), which the condition would then judge too.

use sqlparser::ast::{Expr, JoinConstraint, JoinOperator, Select};

use super::wording::truth;
use super::{has_subquery, split};

/// The block with the conjuncts of ON that hold subqueries in its WHERE, where they can be.
pub(in super::super) fn hoisted(select: &Select) -> Select {
    let mut select = select.clone();
    let mut moved = Vec::new();
    for table in &mut select.from {
        let last = table
            .joins
            .iter()
            .rposition(|join| !keeps_left_rows_alone(&join.join_operator));
        let from = last.map_or(0, |last| last + 1);
        for join in &mut table.joins[from..] {
            if let JoinOperator::Join(JoinConstraint::On(condition))
            | JoinOperator::Inner(JoinConstraint::On(condition)) = &mut join.join_operator
                && has_subquery(condition)
            {
                let mut conjuncts = Vec::new();
                split(condition.clone(), &mut conjuncts);
                let (subqueries, others): (Vec<_>, Vec<_>) =
                    conjuncts.into_iter().partition(has_subquery);
                moved.extend(subqueries);
                *condition = others
                    .into_iter()
                    .reduce(and)
                    .unwrap_or_else(|| truth(true));
            }
        }
    }
    select.selection = select.selection.into_iter().chain(moved).reduce(and);
    select
}

fn and(left: Expr, right: Expr) -> Expr {
    let nested = |expr| Box::new(Expr::Nested(Box::new(expr)));
    Expr::BinaryOp {
        left: nested(left),
        op: sqlparser::ast::BinaryOperator::And,
        right: nested(right),
    }
}

/// Whether every row that the join gives comes from a row to its left.
fn keeps_left_rows_alone(join: &JoinOperator) -> bool {
    use JoinOperator as J;
    !matches!(join, J::Right(_) | J::RightOuter(_) | J::FullOuter(_))
}
