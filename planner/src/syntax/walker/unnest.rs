//! UNNEST, and the joins with it.

use sqlparser::ast::{Expr, Join, JoinConstraint, JoinOperator, TableFactor, Value};
use weir_types::Span;

use super::Walker;
use crate::codes;
use crate::syntax::span_of;
use crate::syntax::unnest::unnest_call;

impl Walker<'_> {
    /// Whether the joined relation is an UNNEST; if so, it is looked over here.
    pub(super) fn unnest_join(&mut self, join: &Join) -> bool {
        let Join {
            relation,
            global: _,
            join_operator,
        } = join;
        if unnest_call(relation).is_none() {
            return false;
        }
        self.unnest(relation);
        let span = self.unnest_span(relation);
        use JoinConstraint as C;
        use JoinOperator as J;
        match join_operator {
            J::CrossJoin(C::None) => {}
            J::Join(C::On(condition)) | J::Inner(C::On(condition)) => self.expr(condition),
            J::Left(C::On(condition)) | J::LeftOuter(C::On(condition)) => {
                if !is_true(condition) {
                    self.refuse(
                        codes::UNNEST_FORM,
                        "LEFT JOIN UNNEST takes no condition",
                        span_of(condition),
                        "write ON TRUE, and the condition in WHERE; with CROSS JOIN UNNEST rows without elements go",
                    );
                }
            }
            _ => self.refuse(
                codes::UNNEST_FORM,
                "UNNEST is joined by CROSS JOIN or by LEFT JOIN … ON TRUE",
                span,
                "write CROSS JOIN UNNEST(a) AS t (x); LEFT JOIN UNNEST(a) AS t (x) ON TRUE keeps rows without elements",
            ),
        }
        true
    }

    /// An UNNEST: its arguments, and what other systems write behind it.
    pub(super) fn unnest(&mut self, factor: &TableFactor) {
        let Some(call) = unnest_call(factor) else {
            return;
        };
        for argument in &call.arguments {
            self.expr(argument);
        }
        if let Some(alias) = call.alias {
            self.table_alias(alias);
        }
        if let TableFactor::Table { .. } = factor {
            self.behind_table(factor);
        }
        if let TableFactor::UNNEST {
            alias: _,
            array_exprs: _,
            with_offset,
            with_offset_alias,
            with_ordinality: _,
        } = factor
            && (*with_offset || with_offset_alias.is_some())
        {
            let span = self.keyword_after("OFFSET", self.unnest_span(factor));
            self.foreign(
                "WITH OFFSET",
                span,
                "WITH ORDINALITY numbers the elements, from 1",
            );
        }
    }

    fn unnest_span(&self, factor: &TableFactor) -> Span {
        let span = unnest_call(factor).map_or(Span::default(), |call| call.span);
        self.since_keyword("UNNEST", span)
    }
}

fn is_true(condition: &Expr) -> bool {
    matches!(condition, Expr::Value(value) if value.value == Value::Boolean(true))
}
