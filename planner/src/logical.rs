//! The graph between the text and the plan: what each SELECT block asks for, before anybody decides which columns move.
//!
//! ```text
//!   binder (one block at a time) ─▶ Graph: nodes over *all* columns of their inputs ─▶ lower.rs ─▶ StreamPlan
//! ```
//!
//! # Invariants
//! 1. A node's inputs have smaller numbers than the node.
//! 2. There is one `Scan` node for a table, however often the text reads it.
//! 3. A `shared` node is a wall or is planned once for another reason: all of its columns are needed, whoever reads it.

use std::collections::BTreeMap;

use weir_types::{Column, DataType, OperatorId, Scalar, Schema, Span};

use crate::names::Path;
use crate::over::{Frame, OverFunction};
use crate::plan::{
    Changelog, Expr, GroupColumn, JoinKind, JoinTiming, RankBounds, RankFunction,
    RegisteredAggregate, SetOperator, StateTtl, Window, WindowColumns,
};

/// A node's number in the graph.
pub(crate) type NodeId = usize;

/// The nodes of all statements of a text.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    /// What hints say of how long state is kept: microseconds, and the hint.
    pub(crate) hinted_ttls: BTreeMap<NodeId, (i64, Span)>,
    /// What hints say of the paths that blocks had: by the path that they have.
    pub(crate) state_from: BTreeMap<String, String>,
    /// How long state is kept, once hints and settings are put together (`retention.rs`).
    pub(crate) ttls: BTreeMap<NodeId, StateTtl>,
}

/// One step of a query.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) inputs: Vec<NodeId>,
    pub(crate) columns: Schema,
    pub(crate) properties: Properties,
    /// Where the step stands: its ID starts with it.
    pub(crate) path: Path,
    /// The ID of a stateful step, a source or a sink; a stateless one gets its ID when it is emitted.
    pub(crate) id: Option<OperatorId>,
    /// Planned once, with all of its columns.
    pub(crate) shared: bool,
    pub(crate) span: Span,
}

impl Node {
    /// The ID that the binder gave to it.
    ///
    /// # Panics
    /// For a step without state: it gets its ID when it is emitted.
    pub(crate) fn named(&self) -> OperatorId {
        match &self.id {
            Some(id) => id.clone(),
            None => unreachable!("the binder names every source, sink and operator with state"),
        }
    }
}

/// What a node does. Expressions are over the columns of the node's input.
#[derive(Debug)]
pub(crate) enum NodeKind {
    /// All columns of a table.
    Scan { table: String },
    /// Rows for which the predicate is true.
    Filter { predicate: Expr },
    /// Computed columns.
    Project { exprs: Vec<Expr> },
    /// All rows of all inputs.
    Union,
    /// Each row once for every element; columns: those of the input, then the element's, then its number.
    Unnest {
        argument: Expr,
        outer: bool,
        ordinality: bool,
    },
    /// Rows of both inputs, counted and compared; the inputs have the node's columns.
    SetOperation { operator: SetOperator, all: bool },
    /// Three columns appended: the window's start, end and time.
    WindowAssign { window: Window, time: usize },
    /// Rows as long as the clock is at or behind all of `enters` and before all of `leaves`, which are instants.
    TemporalFilter {
        enters: Vec<Expr>,
        leaves: Vec<Expr>,
    },
    /// The same rows; from here on the clock is their event time, in that column.
    Clock { time: usize },
    /// Three columns appended: start, end and time of the row's session among the rows of equal `keys`.
    Session {
        gap: i64,
        time: usize,
        keys: Vec<usize>,
    },
    /// Columns: `keys`, then `group_columns` (of a window), then `aggregates`.
    Aggregate {
        /// The window and the input's event-time column.
        window: Option<(Window, usize)>,
        keys: Vec<Expr>,
        /// The window's columns that come after the keys.
        group_columns: Vec<GroupColumn>,
        aggregates: Vec<AggregateCall>,
        /// Groups that are there even without rows: for each key NULL or a number.
        always: Vec<Vec<Option<i64>>>,
    },
    /// Each row once for every grouping set. Columns: the input's, `keys` (NULL where the set leaves them out), a mark for
    /// each key (1 where it is left out), a number where two sets are equal.
    Expand {
        keys: Vec<Expr>,
        /// For each set which keys it has.
        sets: Vec<Vec<bool>>,
    },
    /// Columns: those of the left input, then those of the right one; the left ones alone of semi and anti joins.
    Join {
        join: JoinKind,
        left_keys: Vec<Expr>,
        right_keys: Vec<Expr>,
        /// For each key whether two NULLs are equal.
        null_equal: Vec<bool>,
        residual: Option<Expr>,
    },
    /// Each left row with the right rows of the moment. Columns: those of the left input, then those of the right one.
    LookupJoin {
        /// Inner or left.
        join: JoinKind,
        left_keys: Vec<Expr>,
        right_keys: Vec<Expr>,
        /// For each key whether two NULLs are equal.
        null_equal: Vec<bool>,
        residual: Option<Expr>,
        /// The right ends, and is read to its end first.
        complete: bool,
    },
    /// Columns: those of the input, then the row's number in its partition.
    Rank {
        partition: Vec<Expr>,
        order: Vec<SortExpr>,
        function: RankFunction,
        /// What the block itself says; `ranks.rs` adds what all readers have in common.
        bounds: RankBounds,
    },
    /// Columns: those of the input, then one for each call.
    Over {
        partition: Vec<Expr>,
        order: Vec<SortExpr>,
        /// The event-time column: rows are final when the watermark has passed it.
        time: Option<usize>,
        calls: Vec<OverExpr>,
    },
    /// A join that time bounds. Columns: those of the left input, then those of the right one; the left ones alone of
    /// semi and anti joins.
    TimedJoin {
        timing: JoinTiming,
        join: JoinKind,
        left_keys: Vec<Expr>,
        right_keys: Vec<Expr>,
        residual: Option<Expr>,
    },
    /// Writes its input's columns to a table.
    Sink { table: String },
    /// A bare SELECT.
    Output { names: Vec<String> },
}

/// An expression that rows are ordered by.
#[derive(Clone, Debug)]
pub(crate) struct SortExpr {
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

impl SortExpr {
    /// Whether both order alike.
    pub(crate) fn same(&self, other: &Self) -> bool {
        (self.descending, self.nulls_first) == (other.descending, other.nulls_first)
            && self.expr.same(&other.expr)
    }
}

/// A call with OVER over the columns of the node's input.
#[derive(Clone, Debug)]
pub(crate) struct OverExpr {
    pub(crate) function: OverFunction<AggregateCall, Expr>,
    pub(crate) frame: Frame,
    pub(crate) data_type: DataType,
    pub(crate) span: Span,
}

impl OverExpr {
    /// Every expression of the call.
    pub(crate) fn parts(&self) -> Vec<&Expr> {
        match &self.function {
            OverFunction::Aggregate(call) => call.parts().collect(),
            OverFunction::Shift { value, default, .. } => {
                std::iter::once(value).chain(default).collect()
            }
            OverFunction::Nth { value, .. } => vec![value],
            _ => Vec::new(),
        }
    }

    /// The call with each of its expressions replaced.
    pub(crate) fn mapped(&self, map: &dyn Fn(&Expr) -> Expr) -> Self {
        Self {
            function: self.function.mapped(&|call| call.mapped(map), map),
            ..self.clone()
        }
    }

    /// Whether both compute the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let parts = (self.parts(), other.parts());
        let same_parts =
            parts.0.len() == parts.1.len() && parts.0.iter().zip(&parts.1).all(|(a, b)| a.same(b));
        let same_function = match (&self.function, &other.function) {
            (OverFunction::Aggregate(a), OverFunction::Aggregate(b)) => a.same(b),
            (a, b) => a.mapped(&|_| (), &|_| ()) == b.mapped(&|_| (), &|_| ()),
        };
        self.frame == other.frame && same_parts && same_function
    }
}

/// An aggregate call over the columns of the aggregate's input.
#[derive(Clone, Debug)]
pub(crate) struct AggregateCall {
    pub(crate) function: String,
    pub(crate) arguments: Vec<Expr>,
    pub(crate) distinct: bool,
    pub(crate) filter: Option<Expr>,
    pub(crate) order_by: Vec<OrderItem>,
    pub(crate) parameters: Vec<Scalar>,
    /// Of a function of a program: what it keeps.
    pub(crate) registered: Option<RegisteredAggregate>,
    pub(crate) data_type: DataType,
    pub(crate) span: Span,
}

/// One item of an ORDER BY inside an aggregate.
#[derive(Clone, Debug)]
pub(crate) struct OrderItem {
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

impl OrderItem {
    fn same(&self, other: &Self) -> bool {
        self.expr.same(&other.expr)
            && (self.descending, self.nulls_first) == (other.descending, other.nulls_first)
    }
}

impl AggregateCall {
    /// Every expression of the call.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Expr> {
        let order = self.order_by.iter().map(|item| &item.expr);
        self.arguments.iter().chain(&self.filter).chain(order)
    }

    /// The call with each of its expressions replaced.
    pub(crate) fn mapped(&self, map: &dyn Fn(&Expr) -> Expr) -> Self {
        let order = |item: &OrderItem| OrderItem {
            expr: map(&item.expr),
            ..item.clone()
        };
        Self {
            arguments: self.arguments.iter().map(map).collect(),
            filter: self.filter.as_ref().map(map),
            order_by: self.order_by.iter().map(order).collect(),
            ..self.clone()
        }
    }

    /// Whether both compute the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.function == other.function
            && self.distinct == other.distinct
            && self.parameters == other.parameters
            && self.order_by.len() == other.order_by.len()
            && self
                .order_by
                .iter()
                .zip(&other.order_by)
                .all(|(a, b)| a.same(b))
            && self.arguments.len() == other.arguments.len()
            && self
                .arguments
                .iter()
                .zip(&other.arguments)
                .all(|(a, b)| a.same(b))
            && match (&self.filter, &other.filter) {
                (None, None) => true,
                (Some(a), Some(b)) => a.same(b),
                _ => false,
            }
    }
}

/// What is known of the rows of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Properties {
    pub(crate) changelog: Changelog,
    /// Columns that identify a row; `Some([])`: at most one row.
    pub(crate) unique_key: Option<Vec<usize>>,
    /// The column that carries event time.
    pub(crate) event_time: Option<usize>,
    /// Further columns of which the same watermark speaks.
    pub(crate) further_event_times: Vec<usize>,
    /// The columns of a window.
    pub(crate) window: Option<WindowColumns>,
}

impl Graph {
    /// Adds a node.
    pub(crate) fn add(&mut self, node: Node) -> NodeId {
        assert!(
            node.inputs.iter().all(|&input| input < self.nodes.len()),
            "a node stands after its inputs"
        );
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// How many steps the plan of `root` has: what is not shared is planned again for each reader.
    pub(crate) fn planned_steps(&self, root: NodeId) -> u64 {
        let mut steps = vec![0_u64; root + 1];
        for node in self.below(root) {
            let current = &self.nodes[node];
            let inputs = current.inputs.iter().map(|&input| {
                if self.nodes[input].shared {
                    1
                } else {
                    steps[input]
                }
            });
            steps[node] = inputs.fold(1, u64::saturating_add);
        }
        steps[root]
    }

    /// The nodes that `root` needs, inputs first, each once.
    pub(crate) fn below(&self, root: NodeId) -> Vec<NodeId> {
        let mut wanted = vec![false; root + 1];
        wanted[root] = true;
        // Inputs have smaller numbers, so that one pass from the top finds all.
        for node in (0..=root).rev() {
            if wanted[node] {
                self.nodes[node]
                    .inputs
                    .iter()
                    .for_each(|&input| wanted[input] = true);
            }
        }
        (0..=root).filter(|&node| wanted[node]).collect()
    }
}

/// A column without an external spelling.
pub(crate) fn column(name: impl Into<String>, data_type: DataType) -> Column {
    Column::new(name, data_type)
}
