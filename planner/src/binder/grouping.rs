//! GROUPING SETS, ROLLUP and CUBE: several groupings of one input by one aggregate.
//!
//! ```text
//!   GROUP BY ROLLUP (a, b)     sets (a, b), (a), ()
//!
//!   a  b   x      a  b   x   a'    b'    grouping(a) grouping(b)
//!   1  p   7  ─▶  1  p   7   1     p     0           0              Expand: each row once for every set,
//!                 1  p   7   1     NULL  0           1              what the set leaves out is NULL
//!                 1  p   7   NULL  NULL  1           1
//! ```
//!
//! The aggregate above groups by `a'`, `b'` and the marks: a NULL of the data and one of a set are different groups.
//! `GROUPING(a, b)` is made of the marks. The arguments of aggregates read the columns as they were.

use sqlparser::ast;
use weir_types::{DataType, Diagnostic, Scalar, Span};

use crate::codes;
use crate::logical::{AggregateCall, Node, NodeId, NodeKind, Properties, column};
use crate::names::Path;
use crate::plan::{BinaryOp, Expr, ExprKind};
use crate::syntax::span_of;

use super::group::GroupKeys;
use super::{Binder, Failed};

/// More groupings of one row are refused.
const SETS_MAX: usize = 512;

/// An input, each row once for every grouping set.
pub(super) struct Expanded {
    pub(super) node: NodeId,
    /// What the aggregate groups by: the keys as the sets leave them, their marks, a number where sets are equal.
    pub(super) keys: Vec<Expr>,
    /// Groups that are there without rows, too: those of empty sets.
    pub(super) always: Vec<Vec<Option<i64>>>,
}

/// The sets that an item of GROUP BY stands for, as lists of expressions.
pub(super) fn sets_of(item: &ast::Expr) -> Vec<Vec<&ast::Expr>> {
    match item {
        ast::Expr::GroupingSets(sets) => sets.iter().map(|set| flat(set)).collect(),
        ast::Expr::Rollup(parts) => (0..=parts.len())
            .rev()
            .map(|count| parts[..count].iter().flat_map(|part| flat(part)).collect())
            .collect(),
        ast::Expr::Cube(parts) if parts.len() < usize::BITS as usize => {
            let subsets = 0..1usize << parts.len().min(12);
            let subset = |mask: usize| {
                let chosen = parts.iter().enumerate();
                let chosen = chosen.filter(|(place, _)| mask & (1 << place) != 0);
                chosen.flat_map(|(_, part)| flat(part)).collect()
            };
            subsets.rev().map(subset).collect()
        }
        ast::Expr::Tuple(items) => vec![items.iter().collect()],
        other => vec![vec![other]],
    }
}

/// `(a, b)` within a set stands for both.
fn flat(part: &[ast::Expr]) -> Vec<&ast::Expr> {
    part.iter()
        .flat_map(|expr| match expr {
            ast::Expr::Tuple(items) => items.iter().collect(),
            other => vec![other],
        })
        .collect()
}

impl Binder<'_> {
    /// Every combination of one set of each item; keys are given by their numbers.
    pub(super) fn combined_sets(
        &mut self,
        items: &[Vec<Vec<usize>>],
        width: usize,
        span: Span,
    ) -> Result<Vec<Vec<bool>>, Failed> {
        let count = items
            .iter()
            .fold(1usize, |count, sets| count.saturating_mul(sets.len()));
        if count > SETS_MAX {
            return self.fail(
                Diagnostic::error(codes::GROUPING_SETS, "these are too many grouping sets")
                    .at(span, format!("{count} of them; {SETS_MAX} are possible"))
                    .help("list the sets that are needed: GROUPING SETS ((a, b), (a), ())"),
            );
        }
        let mut combined = vec![vec![false; width]];
        for sets in items {
            combined = combined
                .iter()
                .flat_map(|known| {
                    sets.iter().map(|set| {
                        let mut both = known.clone();
                        set.iter().for_each(|&key| both[key] = true);
                        both
                    })
                })
                .collect();
        }
        // One set of all keys is what GROUP BY is anyway.
        if let [set] = combined.as_slice()
            && set.iter().all(|&grouped| grouped)
        {
            combined.clear();
        }
        Ok(combined)
    }

    /// Gives each row of the input once for every set over `keys`.
    pub(super) fn expand_sets(
        &mut self,
        input: NodeId,
        keys: Vec<Expr>,
        sets: Vec<Vec<bool>>,
        span: Span,
        path: &Path,
    ) -> Expanded {
        let below = &self.graph.nodes[input];
        let (mut columns, width) = (below.columns.clone(), below.columns.len());
        let properties = Properties {
            unique_key: None,
            ..below.properties.clone()
        };
        let numbered = sets
            .iter()
            .enumerate()
            .any(|(i, set)| sets[..i].contains(set));
        columns.extend(
            keys.iter()
                .enumerate()
                .map(|(i, key)| column(format!("set{i}"), key.data_type.clone())),
        );
        let marks = keys.len() + usize::from(numbered);
        columns.extend((0..marks).map(|i| column(format!("grouping{i}"), DataType::Int64)));
        let group_keys = (width..columns.len())
            .map(|place| Expr::column(place, columns[place].data_type.clone(), span))
            .collect();
        let empty = sets.iter().filter(|set| !set.contains(&true));
        let always = empty
            .enumerate()
            .map(|(number, _)| {
                let nulls = keys.iter().map(|_| None);
                let marked = keys.iter().map(|_| Some(1));
                let number = numbered.then_some(Some(number as i64));
                nulls.chain(marked).chain(number).collect()
            })
            .collect();
        let node = self.add(Node {
            kind: NodeKind::Expand { keys, sets },
            inputs: vec![input],
            columns,
            properties,
            path: path.clone(),
            id: None,
            shared: false,
            span,
        });
        Expanded {
            node,
            keys: group_keys,
            always,
        }
    }

    /// The keys that a call of GROUPING names, by their numbers.
    pub(super) fn grouping_keys(
        &mut self,
        call: &AggregateCall,
        keys: &GroupKeys,
    ) -> Result<Vec<usize>, Failed> {
        let mut named = Vec::with_capacity(call.arguments.len());
        for argument in &call.arguments {
            match keys.keys.iter().position(|key| key.same(argument)) {
                Some(key) => named.push(key),
                None => {
                    return self.fail(
                        Diagnostic::error(codes::GROUPING_CALL, "GROUPING names a key of GROUP BY")
                            .at(argument.span, "not one of the keys")
                            .help("group by it, or leave it out of GROUPING(…)"),
                    );
                }
            }
        }
        if call.filter.is_some() || call.distinct {
            return self.fail(
                Diagnostic::error(codes::GROUPING_CALL, "GROUPING looks at no rows")
                    .at(call.span, "FILTER and DISTINCT mean nothing here")
                    .help("leave them out"),
            );
        }
        Ok(named)
    }
}

/// GROUPING over the marks: a number in binary, the last argument the lowest digit.
pub(super) fn grouping_value(marks: &[Option<usize>], span: Span) -> Expr {
    let number = |value: i64| Expr::literal(Scalar::Int(value), DataType::Int64, span);
    let binary = |op: BinaryOp, left: Expr, right: Expr| Expr {
        kind: ExprKind::Binary {
            op,
            left: Box::new(left),
            right: Box::new(right),
        },
        data_type: DataType::Int64,
        span,
    };
    let digit = |mark: &Option<usize>| match mark {
        Some(column) => Expr::column(*column, DataType::Int64, span),
        None => number(0),
    };
    let digits = marks.iter().map(digit);
    let joined = digits.reduce(|all, digit| {
        let shifted = binary(BinaryOp::Multiply, all, number(2));
        binary(BinaryOp::Plus, shifted, digit)
    });
    joined.unwrap_or_else(|| number(0))
}

/// The items of GROUP BY; `GROUP BY a, b WITH ROLLUP` is `GROUP BY ROLLUP (a, b)`.
pub(super) fn items_of(
    exprs: &[ast::Expr],
    modifiers: &[ast::GroupByWithModifier],
) -> Vec<ast::Expr> {
    let parts = || exprs.iter().map(|expr| vec![expr.clone()]).collect();
    match modifiers {
        [ast::GroupByWithModifier::Rollup] => vec![ast::Expr::Rollup(parts())],
        [ast::GroupByWithModifier::Cube] => vec![ast::Expr::Cube(parts())],
        _ => exprs.to_vec(),
    }
}

/// The place of an item in the text.
pub(super) fn item_span(item: &ast::Expr) -> Span {
    let sets = sets_of(item);
    let spans = sets.iter().flatten().map(|expr| span_of(*expr));
    spans.fold(span_of(item), Span::union)
}
