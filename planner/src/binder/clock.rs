//! Processing time: which columns are the clock of their epoch, and what goes by it.
//!
//! ```text
//!   proc AS PROCTIME()  ──▶ filters, projections, windows without state ──▶ still the processing time of the row's epoch
//!                       ──▶ anything that holds rows ──▶ a plain timestamp: the row may leave in a later epoch
//! ```
//!
//! A window over such a column stands on a [`NodeKind::Clock`], whose watermark is the processing time of each epoch: whatever
//! goes by event time goes by the clock above it.

use weir_types::{Diagnostic, Span};

use crate::codes;
use crate::logical::{Node, NodeId, NodeKind, Properties, SortExpr};
use crate::names::Path;
use crate::plan::{Changelog, ColumnOrigin, Expr, ExprKind, RankFunction};

use super::Binder;

impl Binder<'_> {
    /// Whether a column holds, in every row, the processing time of the epoch in which the row comes out of `node`.
    pub(super) fn is_processing_time(&self, node: NodeId, column: usize) -> bool {
        let mut open = vec![(node, column)];
        while let Some((node, column)) = open.pop() {
            let current = &self.graph.nodes[node];
            let width = |input: usize| self.graph.nodes[current.inputs[input]].columns.len();
            match &current.kind {
                NodeKind::Scan { table } => {
                    let origin = self.tables.get(table).map(|t| &t.columns[column].origin);
                    if !matches!(origin, Some(ColumnOrigin::Computed(expr)) if is_clock(expr)) {
                        return false;
                    }
                }
                NodeKind::Project { exprs } if is_clock(&exprs[column]) => {}
                NodeKind::Project { exprs } => match exprs[column].as_column() {
                    Some(column) => open.push((current.inputs[0], column)),
                    None => return false,
                },
                NodeKind::Filter { .. } | NodeKind::Clock { .. } => {
                    open.push((current.inputs[0], column));
                }
                NodeKind::WindowAssign { .. }
                | NodeKind::Unnest { .. }
                | NodeKind::Expand { .. }
                    if column < width(0) =>
                {
                    open.push((current.inputs[0], column));
                }
                // The rows of an epoch leave in it.
                NodeKind::LookupJoin {
                    complete: false, ..
                } if column < width(0) => open.push((current.inputs[0], column)),
                NodeKind::Union => {
                    open.extend(current.inputs.iter().map(|&input| (input, column)));
                }
                _ => return false,
            }
        }
        true
    }

    /// Whether the event time of a node's rows is the clock's.
    pub(super) fn goes_by_clock(&self, mut node: NodeId) -> bool {
        loop {
            let current = &self.graph.nodes[node];
            match (&current.kind, current.inputs.first()) {
                (NodeKind::Clock { .. }, _) => return true,
                // The inputs of a union or a timed join go by the same time.
                (_, Some(&input)) => node = input,
                (_, None) => return false,
            }
        }
    }

    /// The relation whose event time is its processing-time column `time`.
    pub(super) fn clocked(
        &mut self,
        input: NodeId,
        time: usize,
        path: &Path,
        span: Span,
    ) -> NodeId {
        let below = self.properties(input).clone();
        let properties = Properties {
            unique_key: below.unique_key,
            event_time: Some(time),
            ..Properties::of(below.changelog)
        };
        let columns = self.graph.nodes[input].columns.clone();
        self.add(Node {
            kind: NodeKind::Clock { time },
            inputs: vec![input],
            columns,
            properties,
            path: path.clone(),
            id: None,
            shared: false,
            span,
        })
    }
}

/// The clock itself: as it is, in its own type.
pub(crate) fn is_clock(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::ProcessingTime)
}

/// Whether it is the order of arrival.
pub(crate) fn is_arrival(order: &[SortExpr]) -> bool {
    matches!(order, [sort] if is_clock(&sort.expr))
}

/// Whether the first rows to arrive come first: then nothing that was given is ever taken back.
pub(crate) fn is_first(order: &[SortExpr]) -> bool {
    is_arrival(order) && !order[0].descending
}

impl Binder<'_> {
    /// An order by the processing time of the rows, as the order of their arrival; any other as it is.
    pub(super) fn arrival_order(
        &mut self,
        input: NodeId,
        mut order: Vec<SortExpr>,
        function: RankFunction,
        span: Span,
    ) -> Vec<SortExpr> {
        if let [sort] = order.as_mut_slice()
            && let Some(column) = sort.expr.as_column()
            && self.is_processing_time(input, column)
        {
            sort.expr.kind = ExprKind::ProcessingTime;
        }
        if !is_arrival(&order) {
            return order;
        }
        let below = self.graph.below(input);
        let holds_rows = below
            .iter()
            .map(|&node| &self.graph.nodes[node])
            .find(|node| node.id.is_some() && !matches!(node.kind, NodeKind::Scan { .. }));
        let place = order[0].expr.span;
        let problem = |label: &str| {
            Diagnostic::error(
                codes::ARRIVAL_ORDER,
                "rows cannot be ranked by their arrival here",
            )
            .at(place, label)
        };
        if self.properties(input).changelog == Changelog::Retractions {
            let problem = problem("rows here can be taken back, and arrive again")
                .help("order by a column of the rows");
            self.diagnostics.push(problem);
        } else if let Some(holds_rows) = holds_rows {
            let problem = problem("the order in which these rows come hangs on epochs")
                .at(holds_rows.span, "this gives rows at the end of an epoch, or later")
                .help("rank below it, where rows come as they are read; or order by a column of the rows");
            self.diagnostics.push(problem);
        } else if function != RankFunction::RowNumber {
            let problem =
                problem("no two rows arrive together").at(span, "RANK numbers equals alike");
            self.diagnostics
                .push(problem.help("write ROW_NUMBER(), and no WITH TIES"));
        }
        order
    }
}
