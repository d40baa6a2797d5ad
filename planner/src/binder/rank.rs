//! Window functions that number rows, QUALIFY, and ORDER BY … LIMIT.
//!
//! A call with OVER is collected like an aggregate: the expression that holds it refers to it as a column far behind those
//! of the scope ([`WINDOW_COLUMNS`]). After FROM, WHERE and GROUP BY each different call becomes one node; QUALIFY is a
//! filter above them, and so `ranks.rs` finds its bounds where it finds those of an outer WHERE.

use sqlparser::ast;
use weir_types::{DataType, Diagnostic, Span};

use crate::codes;
use crate::logical::{Node, NodeId, NodeKind, OverExpr, SortExpr, column};
use crate::names::Path;
use crate::over::Exclusion;
use crate::plan::{Changelog, Expr, RankBounds, RankFunction};
use crate::syntax::{Name, span_of};

use super::clock::{is_clock, is_first};
use super::expr::{Aggregates, ExprBinder};
use super::scope::Scope;
use super::{Binder, Failed};

/// Number of the first window call as a column: no scope has as many columns.
pub(crate) const WINDOW_COLUMNS: usize = 1 << 40;

/// A window call of a block.
#[derive(Clone, Debug)]
pub(crate) struct WindowCall {
    pub(crate) call: OverExpr,
    pub(crate) partition: Vec<Expr>,
    pub(crate) order: Vec<SortExpr>,
    /// What the window is called in IDs: its name in the WINDOW clause, or its text.
    pub(crate) window: String,
}

impl WindowCall {
    fn same(&self, other: &Self) -> bool {
        self.call.same(&other.call) && self.same_window(other)
    }

    /// Whether both have the same rows in the same order.
    pub(super) fn same_window(&self, other: &Self) -> bool {
        self.partition.len() == other.partition.len()
            && self.order.len() == other.order.len()
            && self
                .partition
                .iter()
                .zip(&other.partition)
                .all(|(a, b)| a.same(b))
            && self.order.iter().zip(&other.order).all(|(a, b)| a.same(b))
    }

    /// Its expressions, in the order in which [`WindowCalls::take_exprs`] wants them back.
    fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.partition
            .iter()
            .chain(self.order.iter().map(|sort| &sort.expr))
            .chain(self.call.parts())
    }
}

/// The window calls of a block so far, and its WINDOW clause.
#[derive(Default)]
pub(crate) struct WindowCalls {
    pub(crate) calls: Vec<WindowCall>,
    named: Vec<ast::NamedWindowDefinition>,
}

impl WindowCalls {
    pub(super) fn new(select: &ast::Select) -> Self {
        Self {
            calls: Vec::new(),
            named: select.named_window.clone(),
        }
    }

    /// All expressions of all calls.
    pub(super) fn exprs(&self) -> Vec<Expr> {
        self.calls
            .iter()
            .flat_map(WindowCall::exprs)
            .cloned()
            .collect()
    }

    /// Takes the expressions back, rewritten.
    pub(super) fn take_exprs(&mut self, exprs: Vec<Expr>) {
        let mut exprs = exprs.into_iter();
        for call in &mut self.calls {
            let parts = call.partition.iter_mut();
            for part in parts.chain(call.order.iter_mut().map(|sort| &mut sort.expr)) {
                if let Some(expr) = exprs.next() {
                    *part = expr;
                }
            }
            let parts: Vec<Expr> = exprs.by_ref().take(call.call.parts().len()).collect();
            let parts = std::cell::RefCell::new(parts.into_iter());
            call.call = call
                .call
                .mapped(&|part| parts.borrow_mut().next().unwrap_or_else(|| part.clone()));
        }
    }

    /// The specification of an OVER, names replaced by what WINDOW says of them.
    pub(super) fn resolved(&self, over: &ast::WindowType) -> Result<Specified, Box<Diagnostic>> {
        match over {
            ast::WindowType::NamedWindow(name) => self.named(name, 0),
            ast::WindowType::WindowSpec(spec) => self.inherited(spec, 0),
        }
    }

    fn named(&self, ident: &ast::Ident, depth: usize) -> Result<Specified, Box<Diagnostic>> {
        let name = Name::from_ident(ident);
        let found = self
            .named
            .iter()
            .find(|definition| Name::from_ident(&definition.0).value == name.value);
        let Some(ast::NamedWindowDefinition(_, definition)) = found.filter(|_| depth < 32) else {
            return Err(Box::new(
                Diagnostic::error(
                    codes::WINDOW_FUNCTION,
                    format!("no window `{}` in this block", name.spelling),
                )
                .at(name.span, "not in its WINDOW clause")
                .help(format!(
                    "WINDOW {} AS (PARTITION BY … ORDER BY …)",
                    name.spelling
                )),
            ));
        };
        match definition {
            ast::NamedWindowExpr::NamedWindow(other) => self.named(other, depth + 1),
            ast::NamedWindowExpr::WindowSpec(spec) => self.inherited(spec, depth + 1),
        }
    }

    /// `(w ORDER BY x)`: what `w` says, and the rest.
    fn inherited(
        &self,
        spec: &ast::WindowSpec,
        depth: usize,
    ) -> Result<Specified, Box<Diagnostic>> {
        let mut spec = spec.clone();
        let mut exclude = None;
        if let Some(base) = spec.window_name.take() {
            let (left_out, base) = crate::syntax::exclusion(base);
            exclude = left_out;
            if let Some(base) = base {
                let known = self.named(&base, depth + 1)?;
                if spec.partition_by.is_empty() {
                    spec.partition_by = known.spec.partition_by;
                }
                if spec.order_by.is_empty() {
                    spec.order_by = known.spec.order_by;
                }
                if spec.window_frame.is_none() {
                    spec.window_frame = known.spec.window_frame;
                    exclude = known.exclude;
                }
            }
        }
        Ok(Specified { spec, exclude })
    }
}

/// What an OVER says, with what the windows say that it is built on.
pub(super) struct Specified {
    pub(super) spec: ast::WindowSpec,
    /// The EXCLUDE of its frame.
    pub(super) exclude: Option<Exclusion>,
}

impl ExprBinder<'_> {
    /// A call with OVER.
    pub(super) fn bind_over(
        &mut self,
        name: &Name,
        call: &ast::Function,
        over: &ast::WindowType,
        span: Span,
    ) -> Result<Expr, Failed> {
        let Some(windows) = self.windows.take() else {
            return self.fail(
                Diagnostic::error(
                    codes::MISPLACED_WINDOW,
                    "a window function cannot stand here",
                )
                .at(
                    span,
                    "it is computed after FROM, WHERE, GROUP BY and HAVING",
                )
                .help("keep rows by it with QUALIFY, or with WHERE around a subquery"),
            );
        };
        let inside = std::mem::replace(&mut self.inside_aggregate, false);
        let bound = if inside {
            self.fail(
                Diagnostic::error(
                    codes::MISPLACED_WINDOW,
                    "a window function inside an aggregate",
                )
                .at(span, "groups are made before rows are numbered")
                .help("compute it in a subquery in FROM"),
            )
        } else {
            self.window_call(name, call, over, span, windows)
        };
        self.inside_aggregate = inside;
        let index = bound.map(|bound| {
            let known = windows.calls.iter().position(|known| known.same(&bound));
            known.unwrap_or_else(|| {
                windows.calls.push(bound);
                windows.calls.len() - 1
            })
        });
        let (index, data_type) = match index {
            Ok(index) => (index, windows.calls[index].call.data_type.clone()),
            Err(Failed) => {
                self.windows = Some(windows);
                return Err(Failed);
            }
        };
        self.windows = Some(windows);
        Ok(Expr::column(WINDOW_COLUMNS + index, data_type, span))
    }
}

pub(super) fn changing_order(span: Span) -> Diagnostic {
    Diagnostic::error(
        codes::RANK_ORDER,
        "rows cannot be ranked by something that changes by itself",
    )
    .at(span, "this gives another value each time")
    .help("order by the event time of the rows: the first or last row of each key is then the same after a restore")
}

/// NULLs are greater than every value unless the text says where they go.
pub(super) fn sort_expr(expr: Expr, sort: &ast::OrderByExpr) -> SortExpr {
    let descending = sort.options.asc == Some(false);
    SortExpr {
        expr,
        descending,
        nulls_first: sort.options.nulls_first.unwrap_or(descending),
    }
}

/// ORDER BY, LIMIT, OFFSET and FETCH of a query.
pub(super) struct Tail<'q> {
    pub(super) order: &'q [ast::OrderByExpr],
    /// `None`: all rows behind the offset.
    limit: Option<u64>,
    offset: u64,
    /// Rows equal to the last one come too.
    ties: bool,
    span: Span,
}

impl Tail<'_> {
    /// How its rows are numbered, and which numbers pass.
    pub(super) fn ranks(&self) -> (RankFunction, RankBounds) {
        let function = if self.ties {
            RankFunction::Rank
        } else {
            RankFunction::RowNumber
        };
        let bounds = RankBounds {
            first: 1,
            last: self.limit.map(|limit| self.offset + limit),
            skip: self.offset,
        };
        (function, bounds)
    }
}

impl Binder<'_> {
    /// The tail of a query, if it has one.
    pub(super) fn tail<'q>(&mut self, query: &'q ast::Query) -> Result<Option<Tail<'q>>, Failed> {
        if query.limit_clause.is_none() && query.fetch.is_none() {
            return match &query.order_by {
                None => Ok(None),
                Some(_) => self.fail(
                    Diagnostic::error(codes::ORDER_LIMIT, "ORDER BY without LIMIT")
                        .at(span_of(query), "the rows of a result have no order")
                        .help("add LIMIT or FETCH FIRST, or leave ORDER BY out"),
                ),
            };
        }
        let order = match query.order_by.as_ref().map(|order| &order.kind) {
            Some(ast::OrderByKind::Expressions(order)) => order.as_slice(),
            _ => &[],
        };
        let mut tail = Tail {
            order,
            limit: None,
            offset: 0,
            ties: false,
            span: span_of(query),
        };
        match &query.limit_clause {
            None => {}
            Some(ast::LimitClause::LimitOffset { limit, offset, .. }) => {
                if let Some(limit) = limit {
                    tail.limit = self.row_count(limit, "LIMIT")?;
                }
                if let Some(offset) = offset {
                    tail.offset = self.row_count(&offset.value, "OFFSET")?.unwrap_or(0);
                }
            }
            Some(ast::LimitClause::OffsetCommaLimit { offset, limit }) => {
                tail.limit = self.row_count(limit, "LIMIT")?;
                tail.offset = self.row_count(offset, "OFFSET")?.unwrap_or(0);
            }
        }
        if let Some(fetch) = &query.fetch {
            tail.limit = match &fetch.quantity {
                None => Some(1),
                Some(quantity) => self.row_count(quantity, "FETCH FIRST")?,
            };
            tail.ties = fetch.with_ties;
            if tail.ties && order.is_empty() {
                return self.fail(
                    Diagnostic::error(codes::ROW_COUNT, "WITH TIES without ORDER BY")
                        .at(span_of(query), "which rows are equal to the last one?")
                        .help("add ORDER BY, or write ONLY instead of WITH TIES"),
                );
            }
        }
        Ok(Some(tail))
    }

    fn row_count(&mut self, expr: &ast::Expr, clause: &str) -> Result<Option<u64>, Failed> {
        let literal = match expr {
            ast::Expr::Value(value) => Some(&value.value),
            _ => None,
        };
        match literal {
            Some(ast::Value::Null) => return Ok(None),
            Some(ast::Value::Number(digits, _)) => {
                // A number is an i64 for everybody who counts rows.
                if let Ok(count) = digits.parse::<i64>()
                    && (0..i64::MAX / 4).contains(&count)
                {
                    return Ok(Some(count as u64));
                }
            }
            _ => {}
        }
        self.fail(
            Diagnostic::error(codes::ROW_COUNT, format!("{clause} takes a number of rows"))
                .at(span_of(expr), "not a whole number from 0 on")
                .help(format!("write the number itself: {clause} 10")),
        )
    }

    /// Numbers rows: the number is the node's last column.
    pub(super) fn ranked(
        &mut self,
        node: NodeId,
        call: &WindowCall,
        function: RankFunction,
        path: &Path,
    ) -> NodeId {
        let order = self.arrival_order(node, call.order.clone(), function, call.call.span);
        let kind = NodeKind::Rank {
            partition: call.partition.clone(),
            order,
            function,
            bounds: RankBounds::ALL,
        };
        self.rank_node(node, kind, "rank", path, call.call.span)
    }

    pub(super) fn rank_node(
        &mut self,
        input: NodeId,
        kind: NodeKind,
        role: &str,
        path: &Path,
        span: Span,
    ) -> NodeId {
        let id = self.take_id(path, role, span);
        let mut columns = self.graph.nodes[input].columns.clone();
        columns.push(column("rank", DataType::Int64));
        let properties = match crate::final_rank::timing(&self.graph, input, &kind) {
            Some(timing) => self.properties(input).ranked(timing),
            None => {
                let mut properties = self.properties(input).clone();
                properties.changelog = match &kind {
                    NodeKind::Rank { order, .. } if is_first(order) => Changelog::AppendOnly,
                    _ => Changelog::Retractions,
                };
                (properties.event_time, properties.window) = (None, None);
                properties
            }
        };
        self.add(Node {
            kind,
            inputs: vec![input],
            columns,
            properties,
            path: path.clone(),
            id: Some(id),
            shared: false,
            span,
        })
    }

    /// ORDER BY … LIMIT over a node whose first `width` columns are the result.
    pub(super) fn limited(
        &mut self,
        input: NodeId,
        order: Vec<SortExpr>,
        tail: &Tail<'_>,
        path: &Path,
    ) -> NodeId {
        let (function, bounds) = tail.ranks();
        let order = self.arrival_order(input, order, function, tail.span);
        let kind = NodeKind::Rank {
            partition: Vec::new(),
            order,
            function,
            bounds,
        };
        self.rank_node(input, kind, "limit", path, tail.span)
    }

    /// The expressions of ORDER BY over the columns of a result: by name or by place.
    pub(super) fn order_of_result(
        &mut self,
        tail: &Tail<'_>,
        columns: &weir_types::Schema,
    ) -> Result<Vec<SortExpr>, Failed> {
        let scope = Scope::of_relation(None, columns);
        let (mut order, mut failed) = (Vec::new(), false);
        for sort in tail.order {
            let bound = match self.place_in_result(&sort.expr, columns.len()) {
                Ok(Some(place)) => Ok(scope.reference(place, span_of(&sort.expr))),
                Ok(None) => {
                    let aggregates = Aggregates::NotIn("ORDER BY of a set operation");
                    ExprBinder::new(&scope, aggregates, &mut self.diagnostics).bind(&sort.expr)
                }
                Err(Failed) => Err(Failed),
            };
            match bound {
                Ok(expr) => failed |= self.push_order(expr, sort, &mut order).is_err(),
                Err(Failed) => failed = true,
            }
        }
        if failed { Err(Failed) } else { Ok(order) }
    }

    pub(super) fn push_order(
        &mut self,
        expr: Expr,
        sort: &ast::OrderByExpr,
        order: &mut Vec<SortExpr>,
    ) -> Result<(), Failed> {
        let is_mixed = order.iter().any(|sort| is_clock(&sort.expr));
        if is_mixed || (expr.is_volatile() && !(is_clock(&expr) && order.is_empty())) {
            return self.fail(changing_order(expr.span));
        }
        order.push(sort_expr(expr, sort));
        Ok(())
    }

    /// `ORDER BY 2`: the place of a result's column.
    pub(super) fn place_in_result(
        &mut self,
        expr: &ast::Expr,
        width: usize,
    ) -> Result<Option<usize>, Failed> {
        let ast::Expr::Value(value) = expr else {
            return Ok(None);
        };
        let ast::Value::Number(digits, _) = &value.value else {
            return Ok(None);
        };
        let place = digits
            .parse::<usize>()
            .ok()
            .and_then(|place| place.checked_sub(1));
        match place.filter(|place| *place < width) {
            Some(place) => Ok(Some(place)),
            None => self.fail(
                Diagnostic::error(
                    codes::UNKNOWN_COLUMN,
                    format!("ORDER BY {digits} is not a place in the SELECT list"),
                )
                .at(
                    span_of(expr),
                    format!("it has {}", super::counted(width, "item")),
                )
                .help("name the column"),
            ),
        }
    }
}

/// QUALIFY with the names of SELECT items replaced by what they stand for, where FROM has no such column.
pub(super) fn without_aliases(
    condition: &ast::Expr,
    select: &ast::Select,
    scope: &Scope,
) -> ast::Expr {
    let mut condition = condition.clone();
    replace_aliases(&mut condition, select, scope);
    condition
}

fn replace_aliases(expr: &mut ast::Expr, select: &ast::Select, scope: &Scope) {
    match expr {
        ast::Expr::Identifier(ident) => {
            if scope.resolve(std::slice::from_ref(ident)).is_ok() {
                return;
            }
            let name = Name::from_ident(ident);
            let item = select.projection.iter().find_map(|item| match item {
                ast::SelectItem::ExprWithAlias { expr, alias }
                    if Name::from_ident(alias).value == name.value =>
                {
                    Some(expr)
                }
                _ => None,
            });
            if let Some(item) = item {
                *expr = ast::Expr::Nested(Box::new(item.clone()));
            }
        }
        ast::Expr::Nested(inner) => replace_aliases(inner, select, scope),
        ast::Expr::Cast { expr, .. } => replace_aliases(expr, select, scope),
        other => {
            for operand in super::levels::operands_mut(other).into_iter().flatten() {
                replace_aliases(operand, select, scope);
            }
        }
    }
}
