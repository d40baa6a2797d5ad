//! How the operators of a plan are wired on every worker: which edges are plain calls and which are exchanges.
//!
//! ```text
//!   source ──local──▶ filter ──exchange(k)──▶ aggregate(k) ──local──▶ sink
//! ```
//!
//! # Invariants
//! 1. All workers have the same wiring; it follows from the plan and from whether there is more than one worker.
//! 2. An edge is an exchange exactly if rows have to be routed by columns by which they are not routed already.

use weir_planner::plan::{ExprKind, GroupColumn, Operator, OperatorKind, Partitioning, StreamPlan};

/// How rows get from an operator to a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// By a plain call on the same worker.
    Local,
    /// Over channels, by the key group of these columns.
    Exchange(Vec<usize>),
    /// Like `Local` for watermarks and barriers; rows are the source's malformed records instead.
    DeadLetter,
}

/// An edge, seen from its producer.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    /// Index of the consuming operator.
    pub(crate) node: usize,
    /// Which of its inputs.
    pub(crate) input: usize,
    /// How rows get there.
    pub(crate) route: Route,
}

/// The wiring.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    /// Of each operator, who reads it.
    pub(crate) consumers: Vec<Vec<Consumer>>,
    /// Every exchange: (producer, consumer, input of the consumer, key columns).
    pub(crate) exchanges: Vec<(usize, usize, usize, Vec<usize>)>,
}

impl Topology {
    /// Wires a plan for that many workers. `dead_letters[n]`: node `n` is a sink of malformed records.
    pub(crate) fn new(plan: &StreamPlan, parallelism: u32, dead_letters: &[bool]) -> Self {
        let mut consumers = vec![Vec::new(); plan.operators.len()];
        let mut exchanges = Vec::new();
        // Columns by whose key group an operator's rows are distributed, in order, if they are.
        let mut distributions: Vec<Option<Vec<usize>>> = Vec::new();
        for (node, operator) in plan.operators.iter().enumerate() {
            let mut arriving = Vec::new();
            for (input, edge) in operator.inputs.iter().enumerate() {
                let there = &distributions[edge.from];
                let route = match &edge.partitioning {
                    _ if dead_letters[node] => Route::DeadLetter,
                    Partitioning::Hash(keys) if parallelism > 1 && there.as_ref() != Some(keys) => {
                        Route::Exchange(keys.clone())
                    }
                    _ => Route::Local,
                };
                arriving.push(match &edge.partitioning {
                    Partitioning::Hash(keys) => Some(keys.clone()),
                    Partitioning::Forward => there.clone(),
                });
                if let Route::Exchange(keys) = &route {
                    exchanges.push((edge.from, node, input, keys.clone()));
                }
                consumers[edge.from].push(Consumer { node, input, route });
            }
            distributions.push(leaving(operator, &arriving));
        }
        Self {
            consumers,
            exchanges,
        }
    }
}

/// By which output columns the rows of an operator are distributed, if its inputs are as `arriving` says.
fn leaving(operator: &Operator, arriving: &[Option<Vec<usize>>]) -> Option<Vec<usize>> {
    let first = arriving.first()?.as_ref()?;
    let through = |place: &dyn Fn(usize) -> Option<usize>| {
        first
            .iter()
            .map(|&column| place(column))
            .collect::<Option<Vec<_>>>()
    };
    match &operator.kind {
        OperatorKind::Filter { .. }
        | OperatorKind::WindowAssign { .. }
        | OperatorKind::Expand { .. }
        | OperatorKind::Arrival { .. }
        | OperatorKind::Clock { .. }
        | OperatorKind::TemporalFilter { .. }
        | OperatorKind::Session { .. } => Some(first.clone()),
        OperatorKind::Project { exprs } => through(&|column| {
            exprs
                .iter()
                .position(|expr| expr.kind == ExprKind::Column(column))
        }),
        OperatorKind::Union => arriving
            .iter()
            .all(|other| other.as_ref() == Some(first))
            .then(|| first.clone()),
        OperatorKind::Aggregate { keys, .. } => {
            through(&|column| keys.iter().position(|&key| key == column))
        }
        OperatorKind::WindowAggregate {
            keys,
            group_columns,
            ..
        } => through(&|column| {
            let key = keys.iter().position(|&key| key == column)?;
            group_columns
                .iter()
                .position(|group| *group == GroupColumn::Key(key))
        }),
        OperatorKind::Unnest { keep, .. } => {
            through(&|column| keep.iter().position(|&kept| kept == column))
        }
        // Both inputs are routed by all of their columns, which are the output's.
        OperatorKind::SetOperation { .. } => Some(first.clone()),
        // The left columns come first; where they may be NULL for want of a partner, they say nothing of the place.
        OperatorKind::Join { join, .. } | OperatorKind::TimedJoin { join, .. }
            if join.keeps_right() =>
        {
            None
        }
        OperatorKind::Join { .. }
        | OperatorKind::LookupJoin { .. }
        | OperatorKind::TimedJoin { .. } => Some(first.clone()),
        OperatorKind::Rank { .. } | OperatorKind::FinalRank { .. } | OperatorKind::Over { .. } => {
            Some(first.clone())
        }
        OperatorKind::Source { .. } | OperatorKind::Sink { .. } | OperatorKind::Output { .. } => {
            None
        }
    }
}
