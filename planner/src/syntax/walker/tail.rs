//! ORDER BY, LIMIT, OFFSET, FETCH, and the windows of OVER.

use sqlparser::ast::{
    Fetch, LimitClause, NamedWindowDefinition, NamedWindowExpr, Offset, OrderBy, OrderByExpr,
    OrderByKind, WindowFrame, WindowFrameBound, WindowSpec, WindowType,
};
use weir_types::Span;

use super::Walker;
use crate::codes;
use crate::syntax::span_of;

impl Walker<'_> {
    /// What may stand behind the body of a query.
    pub(super) fn tail(
        &mut self,
        order_by: Option<&OrderBy>,
        limit: Option<&LimitClause>,
        fetch: Option<&Fetch>,
        body: Span,
        is_distinct_on: bool,
    ) {
        if let Some(order_by) = order_by {
            let is_limited = limit.is_some() || fetch.is_some() || is_distinct_on;
            self.order_by(order_by, is_limited, body);
        }
        if let Some(limit) = limit {
            self.limit(limit, body);
        }
        if let Some(fetch) = fetch {
            let Fetch {
                with_ties: _,
                percent,
                quantity,
            } = fetch;
            if *percent {
                self.no_such_tail(
                    "FETCH with PERCENT is not supported",
                    self.keyword_after("FETCH", body),
                    "give a number of rows: FETCH FIRST 10 ROWS ONLY",
                );
            }
            if let Some(quantity) = quantity {
                self.expr(quantity);
            }
            if limit.is_some_and(has_limit) {
                self.no_such_tail(
                    "LIMIT and FETCH say the same twice",
                    self.keyword_after("FETCH", body),
                    "keep one of the two",
                );
            }
        }
    }

    fn order_by(&mut self, order_by: &OrderBy, is_limited: bool, body: Span) {
        let OrderBy { kind, interpolate } = order_by;
        let exprs = match kind {
            OrderByKind::Expressions(exprs) => exprs.as_slice(),
            OrderByKind::All(_) => {
                return self.no_such_tail(
                    "ORDER BY ALL is not supported",
                    self.keyword_after("ORDER", body),
                    "list the columns: ORDER BY a, b",
                );
            }
        };
        if interpolate.is_some() {
            self.foreign("INTERPOLATE", body, "remove it");
        }
        if !is_limited {
            let span = exprs.first().map_or(body, |first| {
                self.since_keyword("ORDER", span_of(&first.expr))
            });
            self.no_such_tail(
                "ORDER BY without LIMIT is not supported",
                span,
                "add LIMIT to keep the first rows; otherwise remove it: rows of a stream have no final order, and a printed result of a bounded query is sorted already",
            );
        }
        exprs.iter().for_each(|expr| self.sort_item(expr));
    }

    fn sort_item(&mut self, item: &OrderByExpr) {
        let OrderByExpr {
            expr,
            options: _,
            with_fill,
        } = item;
        if with_fill.is_some() {
            self.foreign("WITH FILL", span_of(expr), "remove it");
        }
        self.expr(expr);
    }

    fn limit(&mut self, limit: &LimitClause, body: Span) {
        match limit {
            LimitClause::LimitOffset {
                limit,
                offset,
                limit_by,
            } => {
                if let Some(limit) = limit {
                    self.expr(limit);
                }
                if let Some(Offset { value, rows: _ }) = offset {
                    self.expr(value);
                }
                if !limit_by.is_empty() {
                    let first = super::first_span(limit_by, body);
                    self.foreign(
                        "LIMIT … BY",
                        first,
                        "rank the rows of each key: QUALIFY row_number() OVER (PARTITION BY key ORDER BY …) <= 3",
                    );
                }
            }
            LimitClause::OffsetCommaLimit { offset, limit } => {
                self.expr(offset);
                self.expr(limit);
            }
        }
    }

    fn no_such_tail(&mut self, message: &str, span: Span, way_out: &str) {
        self.refuse(codes::ORDER_LIMIT, message, span, way_out);
    }

    // ------------------------------------------------------------------ OVER

    pub(super) fn named_window(&mut self, window: &NamedWindowDefinition) {
        let NamedWindowDefinition(name, window) = window;
        self.no_string(name);
        match window {
            NamedWindowExpr::NamedWindow(other) => self.no_string(other),
            NamedWindowExpr::WindowSpec(spec) => self.window_spec(spec),
        }
    }

    pub(super) fn over(&mut self, over: &WindowType) {
        match over {
            WindowType::NamedWindow(name) => self.no_string(name),
            WindowType::WindowSpec(spec) => self.window_spec(spec),
        }
    }

    fn window_spec(&mut self, spec: &WindowSpec) {
        let WindowSpec {
            window_name,
            partition_by,
            order_by,
            window_frame,
        } = spec;
        if let Some(name) = window_name {
            self.no_string(name);
        }
        self.exprs(partition_by);
        order_by.iter().for_each(|item| self.sort_item(item));
        if let Some(frame) = window_frame {
            let WindowFrame {
                units: _,
                start_bound,
                end_bound,
            } = frame;
            for bound in std::iter::once(start_bound).chain(end_bound) {
                match bound {
                    WindowFrameBound::Preceding(Some(by))
                    | WindowFrameBound::Following(Some(by)) => {
                        self.expr(by);
                    }
                    WindowFrameBound::Preceding(None)
                    | WindowFrameBound::Following(None)
                    | WindowFrameBound::CurrentRow => {}
                }
            }
        }
    }
}

fn has_limit(limit: &LimitClause) -> bool {
    match limit {
        LimitClause::LimitOffset { limit, .. } => limit.is_some(),
        LimitClause::OffsetCommaLimit { .. } => true,
    }
}
