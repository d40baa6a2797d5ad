//! What a stateful operator does, part by part: so that two versions of it can be said to differ in this and that.

use std::collections::{BTreeMap, BTreeSet};

use weir_types::{Column, Schema};

use super::trace::{Traced, text};
use super::widened::family;
use crate::accumulator::{AccumulatorLayout, accumulator_layout};
use crate::canonical::{self, CallText};
use crate::lower::rank::{bounds_text, order_text};
use crate::plan::{Aggregate, Changelog, Expr, Operator, OperatorKind, RankBounds, StreamPlan};

/// The parts, all in traced identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Groups(Groups),
    Join(Join),
    Rank(Rank),
    /// INTERSECT, EXCEPT.
    Set {
        word: String,
        columns: BTreeSet<String>,
    },
    /// Everything else: equal or not.
    Other(String),
}

/// GROUP BY, DISTINCT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Groups {
    /// The window, if it has one.
    pub(super) window: Option<String>,
    pub(super) keys: BTreeSet<String>,
    /// Each call with the state columns that it needs.
    pub(super) calls: BTreeMap<String, BTreeSet<String>>,
    /// Groups that are there without rows.
    pub(super) always: String,
    /// Whether rows of the input can be taken back.
    pub(super) updating: bool,
}

/// A regular join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Join {
    pub(super) kind: String,
    pub(super) on: BTreeSet<String>,
    pub(super) residual: BTreeSet<String>,
    /// The columns of each side.
    pub(super) stored: [BTreeSet<String>; 2],
    /// Whether rows of each side can be taken back.
    pub(super) updating: [bool; 2],
}

/// A ranking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rank {
    pub(super) function: String,
    pub(super) partition: BTreeSet<String>,
    pub(super) order: String,
    pub(super) bounds: RankBounds,
    /// All columns, which break ties too.
    pub(super) stored: BTreeSet<String>,
    pub(super) updating: bool,
}

impl Shape {
    /// The shape of a stateful operator.
    pub(super) fn of(plan: &StreamPlan, operator: &Operator, inputs: &[&Traced]) -> Self {
        let from = |input: usize| &plan.operators[operator.inputs[input].from];
        let updating = |input: usize| from(input).changelog == Changelog::Retractions;
        let columns = |input: usize| &inputs[input].columns;
        match &operator.kind {
            OperatorKind::Aggregate {
                keys,
                aggregates,
                always,
            } => Self::groups(
                from(0),
                columns(0),
                None,
                (keys, aggregates, &format!("{always:?}")),
            ),
            OperatorKind::WindowAggregate {
                window,
                time,
                keys,
                aggregates,
                ..
            } => {
                let window = canonical::window(window, &columns(0)[*time]);
                Self::groups(from(0), columns(0), Some(window), (keys, aggregates, ""))
            }
            OperatorKind::Join {
                join,
                left_keys,
                right_keys,
                null_equal,
                residual,
            } => {
                let on = left_keys.iter().zip(right_keys).enumerate();
                let on = on.map(|(i, (&left, &right))| {
                    let null_equal = null_equal.get(i).copied().unwrap_or(false);
                    format!("{} = {} {null_equal}", columns(0)[left], columns(1)[right])
                });
                Self::Join(Join {
                    kind: join.word().to_owned(),
                    on: on.collect(),
                    residual: residual_texts(residual.as_ref(), columns(0), columns(1)),
                    stored: [0, 1].map(|side| columns(side).iter().cloned().collect()),
                    updating: [0, 1].map(updating),
                })
            }
            OperatorKind::Rank {
                partition,
                order,
                function,
                bounds,
                ..
            } => Self::Rank(Rank {
                function: function.name().to_owned(),
                partition: partition
                    .iter()
                    .map(|&key| columns(0)[key].clone())
                    .collect(),
                order: order_text(order, &|column| columns(0)[column].as_str()),
                bounds: *bounds,
                stored: columns(0).iter().cloned().collect(),
                updating: updating(0),
            }),
            OperatorKind::SetOperation { operator, all } => Self::Set {
                word: format!("{operator:?} all {all}"),
                columns: (0..columns(0).len())
                    .map(|i| format!("{} = {}", columns(0)[i], columns(1)[i]))
                    .collect(),
            },
            _ => Self::Other(operator.fingerprint.clone()),
        }
    }

    fn groups(
        from: &Operator,
        input: &[String],
        window: Option<String>,
        (keys, aggregates, always): (&[usize], &[Aggregate], &str),
    ) -> Self {
        let updating = from.changelog == Changelog::Retractions;
        let layout = traced_layout(aggregates, &from.schema, input, updating);
        let needs = |(place, aggregate): (usize, &Aggregate)| {
            let columns = layout.of_aggregate[place]
                .iter()
                .map(|&column| state_column(&layout.columns[column]));
            let side = layout.side_of[place].map(|side| layout.sides[side].name.clone());
            let needs: BTreeSet<String> = columns.chain(side).collect();
            (call(aggregate, input), needs)
        };
        Self::Groups(Groups {
            window,
            keys: keys.iter().map(|&key| input[key].clone()).collect(),
            calls: aggregates.iter().enumerate().map(needs).collect(),
            always: always.to_owned(),
            updating,
        })
    }

    /// What decides which rows it gives, whatever columns they have: aggregates and columns that a join holds are told
    /// by the identity of a column.
    pub(super) fn rows(&self) -> String {
        match self {
            Self::Groups(Groups {
                window,
                keys,
                always,
                ..
            }) => {
                format!("groups {window:?} {keys:?} {always}")
            }
            Self::Join(Join {
                kind, on, residual, ..
            }) => format!("join {kind} {on:?} {residual:?}"),
            Self::Rank(rank) => format!(
                "rank {} {:?} {} {} {:?}",
                rank.function,
                rank.partition,
                rank.order,
                bounds_text(&rank.bounds),
                rank.stored
            ),
            Self::Set { word, columns } => format!("set {word} {columns:?}"),
            Self::Other(fingerprint) => format!("other {fingerprint}"),
        }
    }
}

/// What aggregates keep, with names that are made of traced columns: state columns are called by names of the query, and these
/// say what they are made of.
pub(super) fn traced_layout(
    aggregates: &[Aggregate],
    schema: &[Column],
    input: &[String],
    updating: bool,
) -> AccumulatorLayout {
    let traced: Schema = schema
        .iter()
        .zip(input)
        .map(|(column, identity)| Column {
            name: identity.clone(),
            ..column.clone()
        })
        .collect();
    accumulator_layout(aggregates, &traced, updating)
}

/// A state column of a traced layout.
pub(super) fn state_column(column: &Column) -> String {
    format!("{} {}", column.name, family(&column.data_type))
}

/// The canonical text of an aggregate call over traced columns.
pub(super) fn call(call: &Aggregate, input: &[String]) -> String {
    let column = |&column: &usize| input[column].clone();
    let order = call
        .order_by
        .iter()
        .map(|sort| canonical::order_item(&input[sort.column], sort.descending, sort.nulls_first));
    canonical::aggregate(&CallText {
        function: &call.function,
        arguments: &call.arguments.iter().map(column).collect::<Vec<_>>(),
        parameters: &call.parameters,
        distinct: call.distinct,
        order: &order.collect::<Vec<_>>(),
        filter: call.filter.map(|filter| input[filter].clone()).as_deref(),
    })
}

fn residual_texts(residual: Option<&Expr>, left: &[String], right: &[String]) -> BTreeSet<String> {
    let both: Vec<String> = left
        .iter()
        .cloned()
        .chain(right.iter().map(|column| format!("right:{column}")))
        .collect();
    let conjuncts = residual
        .iter()
        .flat_map(|residual| (*residual).clone().conjuncts());
    conjuncts.map(|conjunct| text(&conjunct, &both)).collect()
}
