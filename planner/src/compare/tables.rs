//! Which table of the old state each table of the new plan goes on from, and column by column what it takes of it.
//!
//! ```text
//!   old   top/aggregate   groups   k ‖ sum(price) count(*)              values(x)  k ‖ x
//!                                  │        └──────┐                               │   │
//!   new   top/aggregate   groups   k ‖ max(price) sum(price)            values(x)  k ‖ x
//!                                        └ empty
//! ```
//!
//! A column is found by its traced identity, never by its name: two columns of one name may be made of different things,
//! and one that went by another name may be the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_types::{Column, OperatorId};

use super::report::{Choices, OperatorReport, Report, SideFrom, StateFrom, Verdict};
use super::shape::{Shape, state_column, traced_layout};
use super::trace::{Trace, Traced, keeps_state};
use super::widened::widenings;
use crate::accumulator::{AccumulatorLayout, accumulator_layout};
use crate::plan::{
    Aggregate, Changelog, Expr, Operator, OperatorKind, RankFunction, StateLayout, StateTable,
    StreamPlan,
};

/// What a state table of the new plan goes on from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableMapping {
    /// Whose table it is in the new plan.
    pub operator: OperatorId,
    /// Its name there.
    pub table: String,
    /// The old table; `None`: it starts empty, or is filled from elsewhere.
    pub from: Option<OldTable>,
}

/// What is taken of an old table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OldTable {
    /// Whose table it is in the old plan.
    pub operator: OperatorId,
    /// Its name there.
    pub table: String,
    /// Where each column of the new table comes from: key columns, then value columns.
    pub columns: Vec<ColumnFrom>,
    /// Only rows that fulfil all of these are taken: over the old table's key columns, then its value columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Expr>,
    /// Of each key only so many rows, the first in the table's order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_rows: Option<u64>,
    /// Whether several old entries can become one.
    #[serde(default)]
    pub merges: bool,
}

/// Where a column of a state table comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnFrom {
    /// From this column of the old table: key columns, then value columns.
    Stored(usize),
    /// From none: what it is for a group without rows, or NULL.
    Empty,
}

/// What each state table of the new plan's operators goes on from, as the report says. Tables of sinks are not among them.
pub fn mappings(
    old: &StreamPlan,
    new: &StreamPlan,
    choices: &Choices,
    report: &Report,
) -> Vec<TableMapping> {
    let none = BTreeMap::new();
    let renames = super::renames(old, new, choices);
    let wider = widenings(old, new, &renames);
    let all_wider = wider.all();
    let old_loosely = Trace::of(old, &renames, &all_wider);
    let old = Trace::of(old, &renames, &wider.exact);
    let new = Trace::of(new, &none, &all_wider);
    let mut mappings = Vec::new();
    for (index, operator) in new.plan.operators.iter().enumerate() {
        if !keeps_state(operator) {
            continue;
        }
        let found = report.operators.iter().find(|of| of.id == operator.id);
        let before = found.and_then(|of| {
            let id = of.renamed_from.as_ref().unwrap_or(&of.id);
            old.plan.operators.iter().position(|old| old.id == *id)
        });
        let Some((found, before)) = found.zip(before) else {
            mappings.extend(operator.state.iter().map(|table| empty(operator, table)));
            continue;
        };
        // What only goes on counting takes columns whose type rounded as they are.
        let goes_on = matches!(found.verdict, Verdict::CarriedOver | Verdict::Partial);
        let pair = Pair {
            old: (if goes_on { &old_loosely } else { &old }, before),
            new: (&new, index),
            found,
        };
        mappings.extend(pair.tables());
    }
    mappings
}

fn empty(operator: &Operator, table: &StateTable) -> TableMapping {
    TableMapping {
        operator: operator.id.clone(),
        table: table.name.clone(),
        from: None,
    }
}

/// One operator in both plans.
struct Pair<'a> {
    old: (&'a Trace<'a>, usize),
    new: (&'a Trace<'a>, usize),
    found: &'a OperatorReport,
}

/// What a state table is, in traced identities.
struct Identified {
    /// Of the table among those of its operator.
    table: String,
    columns: Vec<String>,
}

impl Pair<'_> {
    fn tables(&self) -> Vec<TableMapping> {
        let operator = &self.new.0.plan.operators[self.new.1];
        let old = &self.old.0.plan.operators[self.old.1];
        let (identified, old_identified) = (
            identified(self.new.0, self.new.1),
            identified(self.old.0, self.old.1),
        );
        let tables = operator.state.iter().zip(&identified).enumerate();
        let mapping = |(place, (table, identity)): (usize, (&StateTable, &Identified))| {
            let before = self.keeps(place).then(|| {
                old_identified
                    .iter()
                    .position(|old| old.table == identity.table)
            });
            let from = before.flatten().map(|before| OldTable {
                operator: old.id.clone(),
                table: old.state[before].name.clone(),
                ..self.old_table(
                    (table, identity),
                    (&old.state[before], &old_identified[before]),
                    place,
                )
            });
            TableMapping {
                from,
                ..empty(operator, table)
            }
        };
        tables.map(mapping).collect()
    }

    /// Whether a table (by its place) goes on from an old one at all.
    fn keeps(&self, place: usize) -> bool {
        match &self.found.state {
            StateFrom::Kept | StateFrom::Mapped | StateFrom::Merged | StateFrom::Filtered => true,
            StateFrom::Sides(sides) => {
                let side = sides.get(self.side(place));
                side.is_none_or(|side| *side == SideFrom::Own)
            }
            StateFrom::Inputs | StateFrom::Replay | StateFrom::Nothing => false,
        }
    }

    /// The side of a join whose rows a table has.
    fn side(&self, place: usize) -> usize {
        let operator = &self.new.0.plan.operators[self.new.1];
        match operator.kind {
            OperatorKind::LookupJoin { .. } => usize::from(operator.state[place].name == "right"),
            _ => place,
        }
    }

    fn old_table(
        &self,
        (new, new_identity): (&StateTable, &Identified),
        (old, old_identity): (&StateTable, &Identified),
        place: usize,
    ) -> OldTable {
        let mut taken = vec![false; old_identity.columns.len()];
        let mut columns = Vec::with_capacity(new_identity.columns.len());
        let identity_width = |table: &StateTable| match table.layout {
            StateLayout::Map | StateLayout::Slices | StateLayout::Position => table.key.len(),
            // A row of a multiset is what it is by all its columns.
            StateLayout::MultiMap | StateLayout::Sorted => table.key.len() + table.value.len(),
        };
        let new_width = identity_width(new);
        for (at, identity) in new_identity.columns.iter().enumerate() {
            // A key column may be among the values as well: the same place first, as both are the same.
            let same = old_identity.columns.get(at).filter(|old| *old == identity);
            let found = match same {
                Some(_) => Some(at),
                None => old_identity.columns.iter().position(|old| old == identity),
            };
            columns.push(found.map_or(ColumnFrom::Empty, ColumnFrom::Stored));
            if at < new_width {
                for (old, taken) in old_identity.columns.iter().zip(&mut taken) {
                    *taken |= old == identity;
                }
            }
        }
        // A dropped key may be the value of a table as well, and then its rows stay apart; what the groups hold of them is
        // counted anew all the same.
        let merges = self.found.state == StateFrom::Merged
            || taken[..identity_width(old)].iter().any(|taken| !taken);
        OldTable {
            operator: OperatorId::new(""),
            table: String::new(),
            columns,
            conditions: self.conditions(&old_identity.columns, place),
            first_rows: self.first_rows(),
            merges,
        }
    }

    /// What a tightened filter asks of rows that are stored already.
    fn conditions(&self, columns: &[String], place: usize) -> Vec<Expr> {
        if self.found.state != StateFrom::Filtered {
            return Vec::new();
        }
        let ((old, before), (new, index)) = (self.old, self.new);
        // The tables of a join stand in the order of its inputs; other operators have one input.
        let inputs = &new.plan.operators[index].inputs;
        let side = if inputs.len() > 1 { place } else { 0 };
        let input = |trace: &Trace<'_>, at: usize| {
            let input = trace.plan.operators[at].inputs.get(side);
            input.map(|input| trace.nodes[input.from].relation.clone())
        };
        let (Some(old), Some(new)) = (input(old, before), input(new, index)) else {
            return Vec::new();
        };
        let added = new
            .conjuncts
            .iter()
            .filter(|(text, _)| !old.conjuncts.contains_key(*text));
        let condition = |(_, conjunct): (&String, &super::trace::Conjunct)| {
            let place = |column: usize| {
                let identity = conjunct.over.get(&column);
                let place = identity.and_then(|of| columns.iter().position(|held| held == of));
                place.unwrap_or(usize::MAX)
            };
            conjunct.expr.clone().renumbered(&place)
        };
        added.map(condition).collect()
    }

    /// Fewer rows of each key than before.
    fn first_rows(&self) -> Option<u64> {
        let ((old, before), (new, index)) = (self.old, self.new);
        let of = |trace: &Trace<'_>, at: usize| match &trace.plan.operators[at].kind {
            OperatorKind::Rank {
                bounds, function, ..
            } => Some((bounds.last, *function)),
            _ => None,
        };
        let (was, _) = of(old, before)?;
        let (last, function) = of(new, index)?;
        let input = new.plan.operators[index].inputs[0].from;
        let grows = new.plan.operators[input].changelog == Changelog::AppendOnly;
        // By other numbers, how many rows there are hangs on ties: the operator drops them when it meets them.
        last.filter(|last| {
            grows && function == RankFunction::RowNumber && was.is_none_or(|was| was > *last)
        })
    }
}

/// The tables of an operator in traced identities, in the order of its state.
fn identified(trace: &Trace<'_>, index: usize) -> Vec<Identified> {
    let operator = &trace.plan.operators[index];
    let hidden = operator.hidden_columns();
    let inputs: Vec<Traced> = operator
        .inputs
        .iter()
        .map(|input| trace.nodes[input.from].without_last(hidden).into_owned())
        .collect();
    let columns = |input: usize| &inputs[input].columns;
    let of = |input: usize, places: &[usize]| -> Vec<String> {
        places
            .iter()
            .map(|&at| columns(input)[at].clone())
            .collect()
    };
    let named = |table: &str, key: Vec<String>, value: Vec<String>| Identified {
        table: table.to_owned(),
        columns: key.into_iter().chain(value).collect(),
    };
    let known: Vec<Identified> = match (&operator.kind, &trace.nodes[index].shape) {
        (
            OperatorKind::Aggregate {
                keys, aggregates, ..
            },
            _,
        ) => {
            let input = &trace.plan.operators[operator.inputs[0].from];
            groups(operator, (input, columns(0)), of(0, keys), aggregates, None)
        }
        (
            OperatorKind::WindowAggregate {
                keys, aggregates, ..
            },
            _,
        ) => {
            let input = &trace.plan.operators[operator.inputs[0].from];
            let slice = Some("slice".to_owned());
            groups(
                operator,
                (input, columns(0)),
                of(0, keys),
                aggregates,
                slice,
            )
        }
        (
            OperatorKind::Join {
                left_keys,
                right_keys,
                ..
            },
            _,
        ) => vec![
            named("left", of(0, left_keys), columns(0).clone()),
            named("right", of(1, right_keys), columns(1).clone()),
        ],
        (OperatorKind::Rank { partition, .. }, _) => {
            vec![named("rows", of(0, partition), columns(0).clone())]
        }
        // What is equal as a whole is equal column by column.
        (_, Some(Shape::Set { .. } | Shape::Other(_)) | None) => Vec::new(),
        _ => Vec::new(),
    };
    // What stands behind those (the tables of a TTL) has the key of the first one, and columns of its own by their names.
    let first: Vec<String> = match (known.first(), operator.state.first()) {
        (Some(known), Some(table)) => known.columns[..table.key.len()].to_vec(),
        _ => Vec::new(),
    };
    let others = operator.state.iter().enumerate().skip(known.len());
    let others: Vec<Identified> = others
        .map(|(place, table)| other_table(place, table, &first, &inputs))
        .collect();
    known.into_iter().chain(others).collect()
}

fn other_table(
    place: usize,
    table: &StateTable,
    first: &[String],
    inputs: &[Traced],
) -> Identified {
    let numbered = |columns: &[Column], word: &str| -> Vec<String> {
        let column = |(at, column): (usize, &Column)| format!("{word} {at} {}", column.data_type);
        columns.iter().enumerate().map(column).collect()
    };
    if first.is_empty() {
        return Identified {
            table: format!("{place} {}", table.name),
            columns: [numbered(&table.key, "key"), numbered(&table.value, "value")].concat(),
        };
    }
    // Rows that wait: columns of their own, then those of an input.
    let side = usize::from(table.name.ends_with("_right"));
    let own = |count: usize| -> Vec<String> {
        let own = table.value[..count].iter();
        own.map(|column| format!("own {}", column.name)).collect()
    };
    let value = match inputs.get(side) {
        Some(input)
            if table.value.len() > input.columns.len() && table.name.starts_with("waiting") =>
        {
            let mut value = own(table.value.len() - input.columns.len());
            value.extend(input.columns.iter().cloned());
            value
        }
        _ => own(table.value.len()),
    };
    Identified {
        table: format!("ttl {}", table.name),
        columns: first.iter().cloned().chain(value).collect(),
    }
}

/// The groups of an aggregate, and its side tables.
fn groups(
    operator: &Operator,
    (from, input): (&Operator, &[String]),
    keys: Vec<String>,
    aggregates: &[Aggregate],
    slice: Option<String>,
) -> Vec<Identified> {
    let updating = from.changelog == Changelog::Retractions;
    let visible = operator.visible(&from.schema);
    let layout = accumulator_layout(aggregates, &visible.to_vec(), updating);
    let traced = traced_layout(aggregates, visible, input, updating);
    let value = (0..layout.columns.len()).map(|column| {
        match user(&layout, column) {
            Some((place, at)) => state_column(&traced.columns[traced.of_aggregate[place][at]]),
            // The rows of each group, counted truly; or a column that is there because there must be one.
            None if updating => state_column(&layout.columns[column]),
            None => "nothing".to_owned(),
        }
    });
    let groups = Identified {
        table: "groups".to_owned(),
        columns: keys.iter().cloned().chain(value).collect(),
    };
    let sides = layout.sides.iter().enumerate().map(|(place, side)| {
        let rows = side.columns.iter().map(|sort| input[sort.column].clone());
        let reader = layout.side_of.iter().position(|of| *of == Some(place));
        let name = reader.and_then(|reader| traced.side_of[reader]);
        let name = name.map_or_else(String::new, |side| traced.sides[side].name.clone());
        Identified {
            table: name,
            columns: keys
                .iter()
                .cloned()
                .chain(slice.clone())
                .chain(rows)
                .collect(),
        }
    });
    std::iter::once(groups).chain(sides).collect()
}

/// The first aggregate that uses a state column, and as which of its columns.
fn user(layout: &AccumulatorLayout, column: usize) -> Option<(usize, usize)> {
    let mut users = layout.of_aggregate.iter().enumerate();
    users.find_map(|(place, columns)| {
        let at = columns.iter().position(|used| *used == column)?;
        Some((place, at))
    })
}
