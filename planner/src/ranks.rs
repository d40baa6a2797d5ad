//! The bounds of rankings: a ranking keeps no more rows than all of its readers together ask for.
//!
//! ```text
//!   Filter rn <= 3 ─┐
//!                   ├─▶ Project ─▶ Rank: 1 to 5, the loosest of what the readers ask for
//!   Filter rn = 5 ──┘
//! ```
//!
//! A condition that the bounds fulfil already is taken out of its filter, so that a number that nobody shows is not given:
//! a row whose number alone changes is no change then.
//!
//! # Invariants
//! 1. Only readers within one global node count: a view's ranking is bounded inside the view (EVOLUTION 2).
//! 2. Every row that a reader lets pass is within the bounds.

use std::collections::BTreeMap;

use weir_types::{Diagnostic, Scalar, Span};

use crate::binder::clock::{is_arrival, is_first};
use crate::codes;
use crate::logical::{Graph, NodeId, NodeKind};
use crate::plan::{BinaryOp, Expr, ExprKind};

/// Numbers that a condition lets pass: from, to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    first: i64,
    last: i64,
}

const ALL: Interval = Interval {
    first: i64::MIN,
    last: i64::MAX,
};

impl Interval {
    fn meet(self, other: Self) -> Self {
        Self {
            first: self.first.max(other.first),
            last: self.last.min(other.last),
        }
    }

    fn hull(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }

    fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// What is asked of the columns of a node, and where a reader outside of the node's query asks for more.
#[derive(Clone, Debug, Default)]
struct Asked {
    inside: BTreeMap<usize, Interval>,
    outside: BTreeMap<usize, (Interval, Span)>,
}

/// Bounds every ranking below the roots. What comes back are mistakes of the user's.
pub(crate) fn bound(graph: &mut Graph, roots: &[NodeId]) -> Vec<Diagnostic> {
    let Some(top) = roots.iter().copied().max() else {
        return Vec::new();
    };
    let mut asked: Vec<Option<Asked>> = vec![None; top + 1];
    roots
        .iter()
        .for_each(|&root| asked[root] = Some(Asked::default()));
    let mut problems = Vec::new();
    for node in (0..=top).rev() {
        let Some(of_node) = asked[node].take() else {
            continue;
        };
        if let Some(problem) = set_bounds(graph, node, &of_node) {
            problems.push(problem);
        }
        problems.extend(not_the_last(graph, node));
        let below = of_input(graph, node, &of_node);
        for &input in &graph.nodes[node].inputs {
            let same_query =
                graph.nodes[node].path.global_part() == graph.nodes[input].path.global_part();
            let mut below = below.clone();
            if !same_query {
                let span = graph.nodes[node].span;
                below.outside = below.inside.iter().map(|(&c, &i)| (c, (i, span))).collect();
                below.inside.clear();
            }
            match &mut asked[input] {
                known @ None => *known = Some(below),
                Some(known) => combine(known, &below),
            }
        }
    }
    for node in 0..=top {
        drop_implied(graph, node);
    }
    problems
}

/// Of two readers the one that asks for more counts.
fn combine(known: &mut Asked, other: &Asked) {
    known
        .inside
        .retain(|column, _| other.inside.contains_key(column));
    for (column, interval) in &mut known.inside {
        *interval = interval.hull(other.inside[column]);
    }
    for (column, asked) in &other.outside {
        known.outside.entry(*column).or_insert(*asked);
    }
}

fn set_bounds(graph: &mut Graph, node: NodeId, asked: &Asked) -> Option<Diagnostic> {
    let number = graph.nodes[node].columns.len().checked_sub(1)?;
    let span = graph.nodes[node].span;
    let NodeKind::Rank { bounds, .. } = &mut graph.nodes[node].kind else {
        return None;
    };
    if let Some(interval) = asked.inside.get(&number) {
        bounds.first = bounds.first.max(interval.first.max(1) as u64);
        if interval.last < i64::MAX {
            let last = interval.last.max(0) as u64;
            bounds.last = Some(bounds.last.map_or(last, |known| known.min(last)));
        }
    }
    match asked.outside.get(&number) {
        Some((interval, reader)) if bounds.last.is_none() && interval.last < i64::MAX => Some(
            Diagnostic::error(
                codes::RANK_BOUND_OUTSIDE,
                "the bound of this ranking stands outside of its view",
            )
            .at(*reader, "the bound")
            .at(span, "the view ranks all rows, whoever reads it")
            .help(format!(
                "move the bound into the view: … QUALIFY the number <= {}",
                interval.last
            )),
        ),
        _ => None,
    }
}

/// Of the rows that arrive last only the very last one can be kept: what was second is not known when it is first.
fn not_the_last(graph: &Graph, node: NodeId) -> Option<Diagnostic> {
    let current = &graph.nodes[node];
    let NodeKind::Rank { bounds, order, .. } = &current.kind else {
        return None;
    };
    if !is_arrival(order) || is_first(order) || (bounds.last == Some(1) && bounds.skip == 0) {
        return None;
    }
    Some(
        Diagnostic::error(
            codes::ARRIVAL_ORDER,
            "of the rows that arrive last only one can be kept",
        )
        .at(current.span, "this numbers more of them")
        .help("keep the last one: QUALIFY the number = 1")
        .help("or number from the first on: ORDER BY PROCTIME() ASC"),
    )
}

/// What a node asks of its inputs.
fn of_input(graph: &Graph, node: NodeId, asked: &Asked) -> Asked {
    match &graph.nodes[node].kind {
        NodeKind::Filter { predicate } => {
            let mut below = asked.clone();
            for conjunct in predicate.clone().conjuncts() {
                if let Some((column, interval)) = interval_of(&conjunct) {
                    let known = below.inside.entry(column).or_insert(ALL);
                    *known = known.meet(interval);
                }
            }
            below
        }
        NodeKind::Project { exprs } => {
            let mut below = Asked::default();
            for (i, expr) in exprs.iter().enumerate() {
                let Some(column) = expr.as_column() else {
                    continue;
                };
                if let Some(interval) = asked.inside.get(&i) {
                    let known = below.inside.entry(column).or_insert(ALL);
                    *known = known.meet(*interval);
                }
                if let Some(outside) = asked.outside.get(&i) {
                    below.outside.insert(column, *outside);
                }
            }
            below
        }
        _ => Asked::default(),
    }
}

/// The numbers that a condition on one column lets pass.
fn interval_of(conjunct: &Expr) -> Option<(usize, Interval)> {
    let ExprKind::Binary { op, left, right } = &conjunct.kind else {
        return None;
    };
    let (column, value, op) = match (left.as_column(), right.as_column()) {
        (Some(column), None) => (column, integer(right)?, *op),
        (None, Some(column)) => (column, integer(left)?, op.mirrored()),
        _ => return None,
    };
    let interval = match op {
        BinaryOp::Eq => Interval {
            first: value,
            last: value,
        },
        BinaryOp::Lt => Interval {
            last: value.checked_sub(1)?,
            ..ALL
        },
        BinaryOp::LtEq => Interval { last: value, ..ALL },
        BinaryOp::Gt => Interval {
            first: value.checked_add(1)?,
            ..ALL
        },
        BinaryOp::GtEq => Interval {
            first: value,
            ..ALL
        },
        _ => return None,
    };
    Some((column, interval))
}

/// Whether a condition says of the number of a ranking below `node` that it is 1, and nothing else.
pub(crate) fn asks_for_first(graph: &Graph, node: NodeId, conjunct: &Expr) -> bool {
    interval_of(conjunct).is_some_and(|(column, interval)| {
        let passes_one = interval.first <= 1 && interval.last == 1;
        passes_one && number_of(graph, node, column).is_some()
    })
}

fn integer(expr: &Expr) -> Option<i64> {
    match &expr.kind {
        ExprKind::Literal(Scalar::Int(value)) => Some(*value),
        _ => None,
    }
}

/// Takes conditions out of a filter that the ranking below it fulfils by its bounds.
fn drop_implied(graph: &mut Graph, node: NodeId) {
    let NodeKind::Filter { predicate } = &graph.nodes[node].kind else {
        return;
    };
    let input = graph.nodes[node].inputs[0];
    let (mut left, mut dropped) = (Vec::new(), false);
    for conjunct in predicate.clone().conjuncts() {
        let implied = interval_of(&conjunct).is_some_and(|(column, interval)| {
            bounds_of(graph, input, column).is_some_and(|bounds| interval.contains(bounds))
        });
        if implied {
            dropped = true;
        } else {
            left.push(conjunct);
        }
    }
    if !dropped {
        return;
    }
    let node = &mut graph.nodes[node];
    node.kind = match Expr::conjunction(left) {
        Some(predicate) => NodeKind::Filter { predicate },
        None => NodeKind::Project {
            exprs: node
                .columns
                .iter()
                .enumerate()
                .map(|(i, column)| Expr::column(i, column.data_type.clone(), Span::default()))
                .collect(),
        },
    };
}

/// The numbers that a column can have, if a ranking gives it.
fn bounds_of(graph: &Graph, node: NodeId, column: usize) -> Option<Interval> {
    let (node, column) = number_of(graph, node, column)?;
    debug_assert_eq!(column + 1, graph.nodes[node].columns.len());
    match &graph.nodes[node].kind {
        NodeKind::Rank { bounds, .. } => Some(Interval {
            first: bounds.first as i64,
            last: bounds.last.map_or(i64::MAX, |last| last as i64),
        }),
        _ => None,
    }
}

/// The ranking whose number a column is.
pub(crate) fn number_of(
    graph: &Graph,
    mut node: NodeId,
    mut column: usize,
) -> Option<(NodeId, usize)> {
    loop {
        let current = &graph.nodes[node];
        match &current.kind {
            NodeKind::Rank { .. } if column + 1 == current.columns.len() => {
                return Some((node, column));
            }
            NodeKind::Project { exprs } => column = exprs.get(column)?.as_column()?,
            NodeKind::Filter { .. } => {}
            _ => return None,
        }
        node = *current.inputs.first()?;
    }
}
