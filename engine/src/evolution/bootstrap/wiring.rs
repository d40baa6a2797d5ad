//! The graph that computes state from state: parts of the old plan and of the new one, wired together.
//!
//! ```text
//!   old plan     aggregate (stands) ─▶ project ─▶ (old columns as the new ones) ──┐
//!                                                                                 ▼
//!   new plan     aggregate (stands) ─▶ filter ─▶ aggregate (runs, empty) ─▶ collects ··· gives ─▶ sink
//!                source (absent)                 join (runs) ◀─ own rows of a side
//! ```
//!
//! What *stands* gives all rows that it has given so far, from its state. What *runs* starts empty and fills by its ordinary
//! code. Rows go along edges between these alone, never into an operator that keeps its state. What a sink's result is under
//! the new query and was under the old one is *collected*, equal rows cancel, and what is left is *given* to the sink.
//!
//! # Invariants
//! 1. An input stands before its consumer; operators of the old plan have the places that they have there.
//! 2. Every input of a node that runs comes from a node that takes part.
//! 3. What cannot be computed is refused here, before anything runs.

use std::collections::{BTreeMap, BTreeSet};

use weir_planner::compare::{
    ColumnFrom, Report, SideFrom, SinkVerdict, StateFrom, TableMapping, fills_from_rows,
    gone_beside, renamed, same_target,
};
use weir_planner::plan::{
    Changelog, Expr, ExprKind, Input, Operator, OperatorKind, Partitioning, StreamPlan,
};
use weir_state::{Layout, TableSpec};
use weir_types::{Column, DataType, OperatorId, Scalar};

use crate::operators::gives_standing_rows;
use crate::topology::Topology;
use crate::{Error, Result};

/// What a node does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Role {
    /// It takes no part.
    Absent,
    /// It starts empty; `Some`: its place in the old plan.
    Runs(Option<usize>),
    /// It gives what it has given so far; `Some`: it is one of the old plan, at this place.
    Stands(Option<usize>),
    /// Rows of a join's side, from the old state.
    OwnRows(OwnRows),
    /// It counts the rows of the new result and of the old one; the name of its table.
    Collects(OperatorId),
    /// It gives what was collected there.
    Gives(OperatorId),
    /// A sink that gets nothing; it takes part in the checkpoint.
    Waits,
    /// It gives nothing: a side that needs no rows.
    Silent,
}

impl Role {
    /// Whether barriers pass it.
    pub(crate) fn takes_part(&self) -> bool {
        !matches!(self, Self::Absent | Self::Waits)
    }

    fn takes_rows(&self) -> bool {
        matches!(self, Self::Runs(_) | Self::Collects(_))
    }
}

/// Rows of a join's side, as they are stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OwnRows {
    /// The table of the old state.
    pub(crate) operator: OperatorId,
    pub(crate) table: String,
    /// For each column of the new side the old value column; `None`: it was never stored.
    pub(crate) columns: Vec<Option<usize>>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Wiring {
    pub(crate) plan: StreamPlan,
    pub(crate) roles: Vec<Role>,
    /// The tables in which differences are collected.
    pub(crate) scratch: Vec<TableSpec>,
    /// Operators that start empty because they are computed here.
    pub(crate) empty: BTreeSet<OperatorId>,
    /// Operators of which the table `right` alone is computed here.
    pub(crate) right_empty: BTreeSet<OperatorId>,
}

/// What is to be wired.
pub(crate) struct Edit<'a> {
    pub(crate) old: &'a StreamPlan,
    /// The plan that runs.
    pub(crate) new: &'a StreamPlan,
    pub(crate) report: &'a Report,
    pub(crate) mappings: &'a [TableMapping],
    /// Old paths by what the new plan calls them.
    pub(crate) renames: &'a BTreeMap<String, String>,
}

impl Edit<'_> {
    /// The sink of the old plan whose rows the target of a new one holds.
    fn old_sink(&self, sink: &Operator) -> Option<usize> {
        let id = |old: &Operator| renamed(old.id.as_str(), self.renames);
        let place = self.old.operators.iter().position(|old| {
            matches!(
                old.kind,
                OperatorKind::Sink { .. } | OperatorKind::Output { .. }
            ) && id(old) == sink.id.as_str()
        })?;
        let targets = (
            self.old.table_of_sink(&self.old.operators[place]),
            self.new.table_of_sink(sink),
        );
        // Elsewhere nothing was written yet.
        let same = match targets {
            (Some(old), Some(new)) => same_target(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        same.then_some(place)
    }
}

impl Edit<'_> {
    /// Whether a sink is new, and so is every source below it.
    fn begins(&self, sink: usize) -> bool {
        let (mut below, mut left) = (BTreeSet::from([sink]), vec![sink]);
        while let Some(at) = left.pop() {
            let inputs = self.new.operators[at].inputs.iter();
            left.extend(
                inputs
                    .map(|input| input.from)
                    .filter(|&at| below.insert(at)),
            );
        }
        let mut ends = below.into_iter().filter(|&at| {
            at == sink || matches!(self.new.operators[at].kind, OperatorKind::Source { .. })
        });
        let is_known = |id: &OperatorId| {
            let mut old = self.old.operators.iter();
            old.any(|old| renamed(old.id.as_str(), self.renames) == id.as_str())
        };
        ends.all(|at| !is_known(&self.new.operators[at].id)) && self.gone_beside(sink).is_empty()
    }

    /// Sinks that are gone, and whose rows the target of a new one holds.
    fn gone_beside(&self, sink: usize) -> Vec<usize> {
        match keeps_result(&self.new.operators[sink]) {
            true => Vec::new(),
            false => gone_beside(self.old, self.new, self.renames, sink),
        }
    }
}

/// Of one plan, which operators are needed and how.
struct Wanted<'a> {
    plan: &'a StreamPlan,
    /// What is computed anew, by place.
    rebuilt: BTreeMap<usize, StateFrom>,
    runs: BTreeSet<usize>,
    stands: BTreeSet<usize>,
}

impl<'a> Wanted<'a> {
    fn of(plan: &'a StreamPlan) -> Self {
        Self {
            plan,
            rebuilt: BTreeMap::new(),
            runs: BTreeSet::new(),
            stands: BTreeSet::new(),
        }
    }

    /// The rows of this operator are needed.
    fn want(&mut self, place: usize) -> Result<()> {
        let operator = &self.plan.operators[place];
        if matches!(operator.kind, OperatorKind::Source { .. }) {
            return Err(cannot(operator, "its rows are not in any state"));
        }
        if self.rebuilt.contains_key(&place) || self.stands.contains(&place) {
            return Ok(());
        }
        if operator.is_stateful() {
            if !gives_standing_rows(operator) {
                return Err(cannot(
                    operator,
                    "what it has given does not follow from its state",
                ));
            }
            self.stands.insert(place);
            return Ok(());
        }
        if self.runs.insert(place) {
            for input in &operator.inputs {
                self.want(input.from)?;
            }
        }
        Ok(())
    }

    fn rebuild(&mut self, place: usize, state: &StateFrom) -> Result<()> {
        let operator = &self.plan.operators[place];
        // A lookup join is filled on its right side, which gives nothing.
        if !fills_from_rows(&operator.kind) && !is_lookup(operator) {
            return Err(cannot(operator, "it gives each row once, as time passes"));
        }
        for (side, input) in operator.inputs.iter().enumerate() {
            let from_input = match state {
                StateFrom::Sides(sides) => sides.get(side) == Some(&SideFrom::Input),
                _ => true,
            };
            if from_input {
                self.want(input.from)?;
            }
        }
        Ok(())
    }
}

fn cannot(operator: &Operator, why: &str) -> Error {
    Error::Job(format!(
        "[E0020] the edit asks for the rows of {} to be computed from the job's state, and {why}: nothing was changed. \
         Compute what reads it from its source with --replay, or put the query back as it was",
        operator.id
    ))
}

fn is_lookup(operator: &Operator) -> bool {
    matches!(operator.kind, OperatorKind::LookupJoin { .. })
}

/// Whether an operator is computed here.
fn is_computed(state: &StateFrom) -> bool {
    match state {
        StateFrom::Inputs => true,
        // From its own rows alone a join goes on with the same rows under other keys, which is a matter of its tables.
        StateFrom::Sides(sides) => sides.contains(&SideFrom::Input),
        _ => false,
    }
}

/// Wires what an edit computes from state; `None`: nothing is.
///
/// # Errors
/// When something cannot be computed.
pub(crate) fn wire(edit: &Edit<'_>) -> Result<Option<Wiring>> {
    let mut new = Wanted::of(edit.new);
    for report in &edit.report.operators {
        let place = place_of(edit.new, &report.id);
        if let Some(place) = place.filter(|_| is_computed(&report.state)) {
            new.rebuilt.insert(place, report.state.clone());
        }
    }
    for (place, state) in new.rebuilt.clone() {
        new.rebuild(place, &state)?;
    }
    let mut old = Wanted::of(edit.old);
    let mut differences = BTreeSet::new();
    for report in &edit.report.sinks {
        let Some(place) = place_of(edit.new, &report.id) else {
            continue;
        };
        let sink = &edit.new.operators[place];
        match report.verdict {
            // Not a row of it can be there yet.
            SinkVerdict::Difference if edit.begins(place) => {}
            SinkVerdict::Difference => {
                differences.insert(place);
                new.want(sink.inputs[0].from)?;
                if let Some(before) = edit.old_sink(sink).filter(|_| !keeps_result(sink)) {
                    old.want(edit.old.operators[before].inputs[0].from)?;
                }
                for gone in edit.gone_beside(place) {
                    old.want(edit.old.operators[gone].inputs[0].from)?;
                }
            }
            SinkVerdict::OldRowsStay => refuse_stale_result(edit.new, sink)?,
            SinkVerdict::Unchanged | SinkVerdict::Dropped => {}
        }
    }
    if new.rebuilt.is_empty() && differences.is_empty() {
        return Ok(None);
    }
    let mut composer = Composer {
        edit,
        wiring: Wiring {
            plan: StreamPlan {
                operators: Vec::new(),
                ..edit.new.clone()
            },
            roles: Vec::new(),
            scratch: Vec::new(),
            empty: BTreeSet::new(),
            right_empty: BTreeSet::new(),
        },
    };
    composer.add_old(&old);
    composer.add_new(&new, &differences)?;
    let wiring = composer.wiring;
    wiring.check();
    Ok(Some(wiring))
}

fn place_of(plan: &StreamPlan, id: &OperatorId) -> Option<usize> {
    plan.operators
        .iter()
        .position(|operator| operator.id == *id)
}

/// A sink that keeps its result as state.
fn keeps_result(sink: &Operator) -> bool {
    sink.is_stateful()
}

fn takes_retractions(plan: &StreamPlan, sink: &Operator) -> bool {
    match &sink.kind {
        OperatorKind::Sink { table } => plan.tables.get(table).is_none_or(|table| {
            table.is_materialized_view()
                || weir_connectors::sink_accepts_retractions(&table.options)
        }),
        _ => true,
    }
}

/// A sink that keeps its result cannot take back what it never got.
fn refuse_stale_result(plan: &StreamPlan, sink: &Operator) -> Result<()> {
    if let Some(view) = crate::views::view_of(plan, sink) {
        return Err(Error::Job(format!(
            "[E0021] the rows of view `{view}` do not follow from the job's state, and it would hold the old query's or lack what \
             came before. Nothing was changed. Compute it from its source with --replay, or start the job anew with --fresh"
        )));
    }
    let updating = plan.operators[sink.inputs[0].from].changelog == Changelog::Retractions;
    if !(keeps_result(sink) && updating) {
        return Ok(());
    }
    Err(Error::Job(format!(
        "[E0021] {} keeps its whole result, and the result of the new query is not in the job's state: rows would be taken \
         back from it that it never got. Nothing was changed. Give the table of the INSERT another name and 'path', or compute \
         what it reads from its source with --replay",
        sink.id
    )))
}

struct Composer<'a> {
    edit: &'a Edit<'a>,
    wiring: Wiring,
}

impl Composer<'_> {
    fn push(&mut self, operator: Operator, role: Role) -> usize {
        self.wiring.plan.operators.push(operator);
        self.wiring.roles.push(role);
        self.wiring.roles.len() - 1
    }

    fn add_old(&mut self, wanted: &Wanted<'_>) {
        for (place, operator) in self.edit.old.operators.iter().enumerate() {
            let role = if wanted.stands.contains(&place) {
                Role::Stands(Some(place))
            } else if wanted.runs.contains(&place) {
                Role::Runs(Some(place))
            } else {
                Role::Absent
            };
            let operator = match operator.kind {
                // Nobody opens what the old plan wrote.
                OperatorKind::Sink { .. } | OperatorKind::Output { .. } => giver(operator.clone()),
                _ => operator.clone(),
            };
            self.push(operator, role);
        }
    }

    fn add_new(&mut self, wanted: &Wanted<'_>, differences: &BTreeSet<usize>) -> Result<()> {
        let mut places = Vec::with_capacity(self.edit.new.operators.len());
        for (place, operator) in self.edit.new.operators.iter().enumerate() {
            let mut operator = operator.clone();
            for input in &mut operator.inputs {
                input.from = places[input.from];
            }
            let is_end = matches!(
                operator.kind,
                OperatorKind::Sink { .. } | OperatorKind::Output { .. }
            );
            let role = if differences.contains(&place) {
                if keeps_result(&operator) {
                    // Its table starts empty and gets all of the new result.
                    self.wiring.empty.insert(operator.id.clone());
                } else {
                    self.add_difference(&mut operator, place)?;
                }
                Role::Runs(None)
            } else if is_end {
                Role::Waits
            } else if wanted.rebuilt.contains_key(&place) && is_lookup(&operator) {
                self.wiring.right_empty.insert(operator.id.clone());
                let left = giver(self.wiring.plan.operators[operator.inputs[0].from].clone());
                operator.inputs[0].from = self.push(left, Role::Silent);
                Role::Runs(None)
            } else if let Some(state) = wanted.rebuilt.get(&place) {
                self.wiring.empty.insert(operator.id.clone());
                if let StateFrom::Sides(sides) = state {
                    self.add_own_sides(&mut operator, sides)?;
                }
                Role::Runs(None)
            } else if wanted.stands.contains(&place) {
                Role::Stands(None)
            } else if wanted.runs.contains(&place) {
                Role::Runs(None)
            } else {
                Role::Absent
            };
            places.push(self.push(operator, role));
        }
        Ok(())
    }

    /// Sides of a join that are filled from its own rows.
    fn add_own_sides(&mut self, join: &mut Operator, sides: &[SideFrom]) -> Result<()> {
        for (side, name) in ["left", "right"].into_iter().enumerate() {
            if sides.get(side) != Some(&SideFrom::Own) {
                continue;
            }
            let own = self.own_rows(join, name)?;
            let from = join.inputs[side].from;
            // Like its input, but that it has none itself: rows come by the old key.
            let input = giver(self.wiring.plan.operators[from].clone());
            join.inputs[side].from = self.push(input, Role::OwnRows(own));
        }
        Ok(())
    }

    fn own_rows(&self, join: &Operator, name: &str) -> Result<OwnRows> {
        let lost = |message: &str| Error::Internal {
            operator: join.id.clone(),
            message: format!("its {name} side goes on from its own rows, and {message}"),
        };
        let mapping = self.edit.mappings.iter();
        let mut mapping =
            mapping.filter(|mapping| mapping.operator == join.id && mapping.table == name);
        let from = mapping.next().and_then(|mapping| mapping.from.as_ref());
        let from = from.ok_or_else(|| lost("nobody knows where they are"))?;
        let old = self.edit.old.operator(&from.operator);
        let keys = old.and_then(|old| match &old.kind {
            OperatorKind::Join {
                left_keys,
                right_keys,
                ..
            } => Some([left_keys, right_keys][usize::from(from.table == "right")]),
            _ => None,
        });
        let keys = keys.ok_or_else(|| lost("the old operator was no join"))?;
        if !from.conditions.is_empty() {
            return Err(lost("only some of them are wanted"));
        }
        let new_keys = match &join.kind {
            OperatorKind::Join { left_keys, .. } => left_keys.len(),
            _ => return Err(lost("it is no join")),
        };
        // A key column is one of the row as well.
        let column = |column: &ColumnFrom| match column {
            ColumnFrom::Stored(place) => Some(match place.checked_sub(keys.len()) {
                Some(value) => value,
                None => keys[*place],
            }),
            ColumnFrom::Empty => None,
        };
        Ok(OwnRows {
            operator: from.operator.clone(),
            table: from.table.clone(),
            columns: from.columns.iter().skip(new_keys).map(column).collect(),
        })
    }

    /// What is collected for a sink, and what is given to it.
    fn add_difference(&mut self, sink: &mut Operator, place: usize) -> Result<()> {
        let id = OperatorId::new(format!("{}/difference", sink.id));
        let all = Partitioning::Hash((0..sink.schema.len()).collect());
        let mut inputs = vec![Input {
            from: sink.inputs[0].from,
            partitioning: all.clone(),
        }];
        let before = self.edit.old_sink(sink).into_iter();
        for before in before.chain(self.edit.gone_beside(place)) {
            let from = self.old_result(before, sink)?;
            inputs.push(Input {
                from,
                partitioning: all.clone(),
            });
        }
        let collects = Operator {
            id: id.clone(),
            inputs,
            changelog: Changelog::Retractions,
            // Like one: its rows are routed by all of their columns.
            kind: OperatorKind::SetOperation {
                operator: weir_planner::plan::SetOperator::Except,
                all: true,
            },
            state: Vec::new(),
            ..sink.clone()
        };
        self.push(collects, Role::Collects(id.clone()));
        // A table of rows gets a difference only where none has to be taken back.
        let changelog = match takes_retractions(self.edit.new, sink) {
            true => Changelog::Retractions,
            false => Changelog::AppendOnly,
        };
        let mut gives = giver(sink.clone());
        gives.id = id.clone();
        gives.changelog = changelog;
        sink.inputs[0].from = self.push(gives, Role::Gives(id.clone()));
        sink.changelog = changelog;
        self.wiring.scratch.push(TableSpec {
            operator: id,
            table: "rows".to_owned(),
            layout: Layout::Map,
            key: vec![Column::new("row", DataType::Bytes)],
            value: vec![Column::new("count", DataType::Int64)],
            order: Vec::new(),
        });
        Ok(())
    }

    /// The old result with the columns of the new one. A table that got a column is read with NULL there, and one that lost
    /// a column without it: so are the rows that are taken back.
    fn old_result(&mut self, before: usize, sink: &Operator) -> Result<usize> {
        let old = &self.edit.old.operators[before];
        let from = old.inputs[0].from;
        let mut exprs = Vec::with_capacity(sink.schema.len());
        for column in &sink.schema {
            let place = old.schema.iter().position(|old| old.name == column.name);
            let kind = match place {
                Some(place) if old.schema[place].data_type == column.data_type => {
                    ExprKind::Column(place)
                }
                None if column.nullable => ExprKind::Literal(Scalar::Null),
                _ => return Err(other_column(sink, &column.name, place.is_none())),
            };
            exprs.push(Expr {
                kind,
                data_type: column.data_type.clone(),
                span: sink.span,
            });
        }
        let project = Operator {
            id: OperatorId::new(format!("{}/old_result", old.id)),
            kind: OperatorKind::Project { exprs },
            inputs: vec![Input {
                from,
                partitioning: Partitioning::Forward,
            }],
            changelog: Changelog::AppendOnly,
            state: Vec::new(),
            ..sink.clone()
        };
        Ok(self.push(project, Role::Runs(None)))
    }
}

fn other_column(sink: &Operator, column: &str, is_new: bool) -> Error {
    let what = if is_new {
        "is new and NOT NULL"
    } else {
        "has another type than before"
    };
    Error::Job(format!(
        "[E0022] {}: rows of the old result have to be taken back, and the column `{column}` of its table {what}, so that they \
         cannot be written as they were. Nothing was changed. Give the table of the INSERT another name and another place",
        sink.id
    ))
}

/// The same columns, from nowhere.
fn giver(like: Operator) -> Operator {
    Operator {
        kind: OperatorKind::Source {
            table: String::new(),
            columns: Vec::new(),
            filter: None,
        },
        inputs: Vec::new(),
        state: Vec::new(),
        ttl: None,
        ..like
    }
}

impl Wiring {
    /// Whether a table starts empty because it is computed here.
    pub(crate) fn computes(&self, table: &TableSpec) -> bool {
        self.empty.contains(&table.operator)
            || (table.table == "right" && self.right_empty.contains(&table.operator))
    }

    /// How the nodes are wired on every worker.
    pub(crate) fn topology(&self, parallelism: u32) -> Topology {
        let mut topology = Topology::new(&self.plan, parallelism, &vec![false; self.roles.len()]);
        let takes = |node: usize| self.roles[node].takes_rows();
        for consumers in &mut topology.consumers {
            consumers.retain(|consumer| takes(consumer.node));
        }
        topology.exchanges.retain(|(_, node, _, _)| takes(*node));
        topology
    }

    /// Invariant 2.
    fn check(&self) {
        for (node, role) in self.roles.iter().enumerate() {
            let operator = &self.plan.operators[node];
            for input in operator.inputs.iter().filter(|_| role.takes_rows()) {
                assert!(
                    self.roles[input.from].takes_part(),
                    "{} takes part and {} does not",
                    operator.id,
                    self.plan.operators[input.from].id
                );
            }
        }
    }
}
