//! Stage 1: where each state table comes from, by the verdict on its operator.
//!
//! ```text
//!   a mapping of the planner ─┬─ every column at its place, of its type      ─▶ kept      (linked where it can be)
//!                             ├─ no two entries become one                  ─▶ changed   (streamed column by column)
//!                             ├─ entries merge                              ─▶ empty, and filled by the worker
//!                             └─ from nothing                               ─▶ empty
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_planner::compare::{Choices, ColumnFrom, OldTable, Report, SinkVerdict};
use weir_planner::plan::{Operator, OperatorKind, StreamPlan};
use weir_state::{Layout, TableFrom, TableSpec};

use super::Transition;
use super::change::{Change, fresh_values};
use crate::{Error, Result};

/// A table whose entries are merged by the worker.
#[derive(Clone)]
pub(crate) struct Merge {
    /// Index of the operator in the plan that runs.
    pub(crate) operator: usize,
    pub(crate) spec: TableSpec,
    /// Place of the old table in the old manifest.
    pub(crate) stored: usize,
    pub(crate) change: Arc<Change>,
}

/// Says of each table of the plan where it comes from.
pub(super) fn plan(transition: &mut Transition) -> Result<()> {
    let specs = crate::operators::table_specs(&transition.plan);
    let mut tables = Vec::with_capacity(specs.len());
    let mut merges = Vec::new();
    for spec in specs {
        let (from, merge) = of_table(transition, spec)?;
        tables.push(from);
        merges.extend(merge);
    }
    transition.restoring.tables = tables;
    transition.merges = merges;
    Ok(())
}

fn of_table(transition: &Transition, spec: TableSpec) -> Result<(TableFrom, Option<Merge>)> {
    let operator = transition
        .plan
        .operators
        .iter()
        .position(|operator| operator.id == spec.operator)
        .ok_or_else(|| missing(&spec))?;
    let mapping = transition
        .mappings
        .iter()
        .find(|mapping| mapping.operator == spec.operator && mapping.table == spec.table);
    let Some(mapping) = mapping else {
        return of_sink(transition, operator, &spec).map(|from| (from, None));
    };
    let Some(old) = &mapping.from else {
        return Ok((TableFrom::Empty, None));
    };
    let stored = transition
        .old_manifest
        .tables
        .iter()
        .position(|stored| stored.operator == old.operator && stored.table == old.table)
        .ok_or_else(|| missing(&spec))?;
    let before = &transition.old_manifest.tables[stored];
    if is_same(old, before, &spec) {
        return Ok((TableFrom::Kept { source: 0, stored }, None));
    }
    let fresh = fresh_values(&transition.plan, operator, &spec)?;
    let change = Arc::new(Change::new(
        &transition.plan,
        operator,
        old,
        before,
        &spec,
        fresh,
    )?);
    if old.merges {
        let merge = Merge {
            operator,
            spec,
            stored,
            change,
        };
        return Ok((TableFrom::Empty, Some(merge)));
    }
    let regroups = change.changes_keys();
    let rows = move || change.begin();
    let from = TableFrom::Changed {
        source: 0,
        stored,
        regroups,
        change: Arc::new(rows),
    };
    Ok((from, None))
}

/// Whether the old table can be taken entry by entry.
fn is_same(old: &OldTable, before: &TableSpec, now: &TableSpec) -> bool {
    let columns = |spec: &TableSpec| {
        let columns = spec.key.iter().chain(&spec.value);
        let types: Vec<_> = columns.map(|column| column.data_type.clone()).collect();
        (spec.key.len(), types)
    };
    let in_place = old
        .columns
        .iter()
        .enumerate()
        .all(|(place, from)| *from == ColumnFrom::Stored(place));
    in_place
        && !old.merges
        && old.conditions.is_empty()
        && old.first_rows.is_none()
        && (before.layout, &before.order) == (now.layout, &now.order)
        && columns(before) == columns(now)
}

/// A sink that keeps its result: what it holds goes on if it is what it was.
fn of_sink(transition: &Transition, operator: usize, spec: &TableSpec) -> Result<TableFrom> {
    let stored = kept_result(
        &transition.old_manifest.tables,
        &transition.renames,
        &transition.plan.operators[operator],
        &transition.report,
        spec,
    )?;
    Ok(stored.map_or(TableFrom::Empty, |stored| TableFrom::Kept {
        source: 0,
        stored,
    }))
}

/// Whether sinks that keep their result can go on from it, from the plans alone.
///
/// # Errors
/// E0007 for one that cannot.
pub(super) fn check_sinks(
    old: &StreamPlan,
    new: &StreamPlan,
    report: &Report,
    choices: &Choices,
) -> Result<()> {
    let renames = weir_planner::compare::renames(old, new, choices);
    let before = crate::operators::table_specs(old);
    for spec in crate::operators::table_specs(new) {
        let sink = new.operator(&spec.operator);
        let sink = sink.filter(|operator| matches!(operator.kind, OperatorKind::Sink { .. }));
        if let Some(sink) = sink {
            kept_result(&before, &renames, sink, report, &spec)?;
        }
    }
    Ok(())
}

/// The place of the old table that a sink's result goes on from; `None`: it starts empty.
fn kept_result(
    tables: &[TableSpec],
    renames: &BTreeMap<String, String>,
    sink: &Operator,
    report: &Report,
    spec: &TableSpec,
) -> Result<Option<usize>> {
    let old = |id: &str| weir_planner::compare::renamed(id, renames);
    let stored = tables.iter().position(|stored| {
        old(stored.operator.as_str()) == spec.operator.as_str() && stored.table == spec.table
    });
    let Some(stored) = stored else {
        return Ok(None);
    };
    let verdict = report.sinks.iter().find(|found| found.id == sink.id);
    let verdict = verdict.map(|found| found.verdict);
    if verdict == Some(SinkVerdict::Difference) {
        // It gets all of the new result.
        return Ok(None);
    }
    let before = &tables[stored];
    let types = |spec: &TableSpec| -> Vec<_> {
        let columns = spec.key.iter().chain(&spec.value);
        columns.map(|column| column.data_type.clone()).collect()
    };
    // Rows are found by a key that is some of their columns: the same ones.
    let key = |spec: &TableSpec| -> Vec<_> {
        let place = |name: &str| spec.value.iter().position(|column| column.name == name);
        spec.key.iter().map(|column| place(&column.name)).collect()
    };
    if before.layout == Layout::MultiMap && key(before) == key(spec) && types(before) == types(spec)
    {
        return Ok(Some(stored));
    }
    let is_sink = matches!(sink.kind, OperatorKind::Sink { .. });
    if is_sink && verdict == Some(SinkVerdict::Unchanged) {
        return Err(missing(spec));
    }
    Err(Error::Job(format!(
        "[E0007] {} keeps its whole result, and its columns or its key are others now: give the table of the INSERT another \
         name and 'path', so that a new file is written",
        sink.id
    )))
}

/// A mistake of ours: the old state has not what the comparison found in it.
fn missing(spec: &TableSpec) -> Error {
    Error::Internal {
        operator: spec.operator.clone(),
        message: format!(
            "the old state has no table that `{}` could go on from, although the comparison found one",
            spec.table
        ),
    }
}
