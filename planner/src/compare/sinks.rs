//! What each sink will see, and where each source goes on.

use std::collections::{BTreeMap, BTreeSet};

use super::implied::is_implied;
use super::judge::Judge;
use super::report::{
    Exactness, SinkReport, SinkVerdict, SourceReport, SourceVerdict, StartAt, StateFrom, Verdict,
};
use super::trace::renamed;
use crate::Catalog;
use crate::plan::{Operator, OperatorKind, StreamPlan, TableDefinition};

fn is_end(operator: &Operator) -> bool {
    matches!(
        operator.kind,
        OperatorKind::Sink { .. } | OperatorKind::Output { .. }
    )
}

/// Whether the sink's table takes rows back; what is printed does.
fn takes_retractions(plan: &StreamPlan, operator: &Operator, catalog: &dyn Catalog) -> bool {
    match &operator.kind {
        OperatorKind::Sink { table } => plan.tables.get(table).is_some_and(|table| {
            table.is_materialized_view() || catalog.sink_accepts_retractions(&table.options)
        }),
        _ => true,
    }
}

fn is_view(plan: &StreamPlan, operator: &Operator) -> bool {
    let OperatorKind::Sink { table } = &operator.kind else {
        return false;
    };
    let definition = plan.tables.get(table);
    definition.is_some_and(TableDefinition::is_materialized_view)
}

/// Options of a table that say nothing about where its rows are written, and how.
fn is_beside_the_target(option: &str) -> bool {
    matches!(
        option,
        "sink.publish.interval" | "sink.snapshot.keep" | "watermark.max-drift"
    ) || option.starts_with("print.")
        || option.starts_with("source.")
}

/// Whether what is written to the one table stands beside what was written to the other.
pub fn same_target(old: &TableDefinition, new: &TableDefinition) -> bool {
    let target = |table: &TableDefinition| -> BTreeMap<String, String> {
        let options = table.options.clone().into_iter();
        options
            .filter(|(option, _)| !is_beside_the_target(option))
            .collect()
    };
    target(old) == target(new) && old.partitioned_by == new.partitioned_by
}

/// Whether the sink of that ID wrote to another place, where its rows are now and are not read from here. What keeps its whole
/// result brings it along, if it did so before.
fn is_elsewhere(judge: &Judge<'_>, old: usize, operator: &Operator) -> bool {
    let before = &judge.old.plan.operators[old];
    if !operator.state.is_empty() {
        return before.state.is_empty();
    }
    let tables = (
        judge.old.plan.table_of_sink(before),
        judge.new.plan.table_of_sink(operator),
    );
    matches!(tables, (Some(old), Some(new)) if !same_target(old, new))
}

/// The sinks of the new plan, then those that are gone.
pub(super) fn sinks(judge: &Judge<'_>, catalog: &dyn Catalog) -> Vec<SinkReport> {
    let new = judge.new.plan;
    let ends = new
        .operators
        .iter()
        .enumerate()
        .filter(|(_, operator)| is_end(operator));
    let mut reports: Vec<SinkReport> = ends
        .map(|(index, operator)| sink(judge, catalog, index, operator))
        .collect();
    let is_gone = |operator: &&Operator| {
        let id = judge.old.id(operator);
        is_end(operator) && new.operators.iter().all(|new| new.id.as_str() != id)
    };
    one_table_is_exact_or_not(new, &mut reports);
    reports.extend(
        judge
            .old
            .plan
            .operators
            .iter()
            .filter(is_gone)
            .map(|operator| SinkReport {
                id: operator.id.clone(),
                verdict: SinkVerdict::Dropped,
                exact: true,
                old_rows: false,
                reason: "the new query does not write it; what it holds stays".to_owned(),
                span: operator.span,
            }),
    );
    reports
}

/// Several statements may write one table: it is the new query's answer only if the rows of each of them are.
fn one_table_is_exact_or_not(plan: &StreamPlan, reports: &mut [SinkReport]) {
    let table = |id: &weir_types::OperatorId| match &plan.operator(id)?.kind {
        OperatorKind::Sink { table } => Some(table.clone()),
        _ => None,
    };
    let inexact: BTreeSet<String> = reports
        .iter()
        .filter(|report| !report.exact)
        .filter_map(|report| table(&report.id))
        .collect();
    for report in reports {
        report.exact &= table(&report.id).is_none_or(|table| !inexact.contains(&table));
    }
}

/// The sinks of the old plan that are gone and whose rows are in the table of this sink: statements of which several wrote one
/// table, and fewer do now, or one that wrote the same place under another name. The first sink of the table answers for them.
pub fn gone_beside(
    old: &StreamPlan,
    new: &StreamPlan,
    renames: &BTreeMap<String, String>,
    index: usize,
) -> Vec<usize> {
    let written = |operator: &Operator| match &operator.kind {
        OperatorKind::Sink { table } => Some(table.clone()),
        _ => None,
    };
    let Some(table) = written(&new.operators[index]) else {
        return Vec::new();
    };
    let mut before = new.operators[..index].iter();
    if before.any(|operator| written(operator).as_ref() == Some(&table)) {
        return Vec::new();
    }
    let is_gone = |operator: &Operator| {
        let id = renamed(operator.id.as_str(), renames);
        let same_place = |old_table: &String| {
            let tables = (old.tables.get(old_table), new.tables.get(&table));
            // A table of another name that was written to the same files is the same.
            let named = |old: &TableDefinition| {
                renamed(old_table, renames) == table || old.options.contains_key("path")
            };
            matches!(tables, (Some(old), Some(new)) if named(old) && same_target(old, new))
        };
        written(operator).as_ref().is_some_and(same_place)
            && new.operators.iter().all(|new| new.id.as_str() != id)
    };
    let old = old.operators.iter().enumerate();
    old.filter(|(_, operator)| is_gone(operator))
        .map(|(index, _)| index)
        .collect()
}

fn sink(judge: &Judge<'_>, catalog: &dyn Catalog, index: usize, operator: &Operator) -> SinkReport {
    let input = operator.inputs[0].from;
    let known = judge.old_of(operator.id.as_str());
    let elsewhere = known.is_some_and(|old| is_elsewhere(judge, old, operator));
    let old = known.filter(|_| !elsewhere);
    let old_input = old.map(|old| judge.old.plan.operators[old].inputs[0].from);
    let same = old_input.is_some_and(|old| {
        let (old, new) = (&judge.old.nodes[old], &judge.new.nodes[input]);
        old.columns == new.columns
            && old.relation.whole(false) == new.relation.whole(false)
            && same_columns(judge, old_input, operator)
    });
    // What it reads is what it was if everything below holds that as it was: a column that another reader got does not
    // matter here, because the columns and the relation are the same.
    let mut below = judge.new.nodes[index]
        .upstream
        .iter()
        .filter_map(|below| judge.found.get(below));
    let kept = below.all(|found| match found.verdict {
        Verdict::Unchanged => true,
        Verdict::Migrated => found.state == StateFrom::Mapped,
        Verdict::Partial | Verdict::CarriedOver => matches!(found.exact, Exactness::Columns(_)),
        _ => false,
    });
    let exact_below = if same && kept {
        let mut below = judge.new.nodes[index].upstream.iter();
        below.all(
            |&below| match judge.found.get(&below).map(|found| &found.exact) {
                None | Some(Exactness::Yes) => true,
                Some(Exactness::Columns(exact)) => !reads_others(judge, input, below, exact),
                Some(_) => false,
            },
        )
    } else {
        judge.is_exact(input)
    };
    let gone = gone_beside(judge.old.plan, judge.new.plan, judge.old.renames, index);
    let same = same && gone.is_empty();
    let takes = takes_retractions(judge.new.plan, operator, catalog);
    let follows = |sink: &usize| {
        let input = judge.old.plan.operators[*sink].inputs[0].from;
        judge.old.nodes[input].recoverable
    };
    let from_state = judge.is_restored(input)
        && old_input.is_none_or(|old| judge.old.nodes[old].recoverable)
        && gone.iter().all(follows);
    // A table that takes no row back gets what is new, if nothing of the old result has to go.
    let grows = from_state
        && !takes
        && gone.is_empty()
        && old_input.is_none_or(|old| kept && only_adds(judge, old, input, operator));
    // All that it will ever hold comes from now on, and nobody has to compute a row of it.
    let begins = known.is_none() && gone.is_empty() && judge.begins_with_its_sources(index);
    let (verdict, reason) = if same && kept {
        (SinkVerdict::Unchanged, "it goes on where it was")
    } else if begins {
        (
            SinkVerdict::Difference,
            "it is new, as is all that it reads: it gets the whole result",
        )
    } else if !elsewhere && comes_back(judge, old, operator) {
        (
            SinkVerdict::OldRowsStay,
            "a column of its table was dropped by an earlier edit and comes back: rows written before hold its old values, \
             which are not known any more, so that they cannot be taken back",
        )
    } else if (takes && from_state) || grows {
        (
            SinkVerdict::Difference,
            match old {
                _ if !gone.is_empty() => {
                    "another statement wrote its table and is gone: its rows are taken back, as are those that the new query does \
                     not give, and what it adds is given"
                }
                Some(_) if grows => {
                    "it takes no row back, and has to take back none: rows that the new query adds are given"
                }
                Some(_) => {
                    "rows that the new query does not give are taken back, those that it adds are given"
                }
                None if elsewhere => {
                    "its table is written elsewhere now, and gets the whole result there; what was written stays where it is"
                }
                None => "it is new and gets the whole result",
            },
        )
    } else {
        (
            SinkVerdict::OldRowsStay,
            match old {
                _ if is_view(judge.new.plan, operator) => {
                    "its rows do not follow from the job's state: only its source has them"
                }
                None if elsewhere => {
                    "its table is written elsewhere now, and gets the rows that come from now on: what was written before is \
                     not in the job's state"
                }
                None => "it is new and gets the rows that come from now on",
                Some(_) if !takes => {
                    "it takes no row back: what the old query wrote stays beside what the new one writes"
                }
                Some(_) => {
                    "the result of the query is not in its state, so that it cannot be compared: what the old query wrote stays"
                }
            },
        )
    };
    let before = judge.id_before(&operator.id);
    let marked = !elsewhere && judge.past.sinks_with_old_rows.contains(before);
    let moved = !judge.moved_below(index).is_empty();
    let stays = verdict == SinkVerdict::OldRowsStay;
    SinkReport {
        id: operator.id.clone(),
        verdict,
        exact: exact_below && !marked && !moved && !stays,
        // Rows that came twice or never are nowhere but in the sink, unless its result is in the state.
        old_rows: stays || marked || (moved && !judge.is_restored(input)),
        reason: reason.to_owned(),
        span: operator.span,
    }
}

/// Whether what is computed at `reader` may read another column of the operator `below` than these: by the identities of its
/// columns and conditions, of which long ones are cut, and then it may.
fn reads_others(judge: &Judge<'_>, reader: usize, below: usize, exact: &BTreeSet<String>) -> bool {
    let operator = &judge.new.plan.operators[below];
    let columns = operator
        .schema
        .iter()
        .zip(&judge.new.nodes[below].columns)
        .filter(|(column, _)| !exact.contains(&column.name));
    let others: Vec<&String> = columns.map(|(_, identity)| identity).collect();
    let node = &judge.new.nodes[reader];
    let mut texts = node.columns.iter().chain(node.relation.conjuncts.keys());
    texts.any(|text| text.contains("…#") || others.iter().any(|other| text.contains(*other)))
}

/// Whether a table gets a column again that it lost by an earlier edit. A sink that keeps its result writes all of it anew.
fn comes_back(judge: &Judge<'_>, old: Option<usize>, operator: &Operator) -> bool {
    let gone = judge.past.columns_gone.get(judge.id_before(&operator.id));
    let Some(gone) = gone.filter(|_| operator.state.is_empty()) else {
        return false;
    };
    let had = |name: &str| {
        let old = old.map(|old| &judge.old.plan.operators[old].schema);
        old.is_some_and(|columns| columns.iter().any(|column| column.name == name))
    };
    let mut columns = operator.schema.iter();
    columns.any(|column| gone.contains(&column.name) && !had(&column.name))
}

/// Whether the new result has all rows of the old one: the same rows under conditions that the old ones imply.
fn only_adds(judge: &Judge<'_>, old_input: usize, input: usize, operator: &Operator) -> bool {
    let (old, new) = (&judge.old.nodes[old_input], &judge.new.nodes[input]);
    let before = &old.relation.conjuncts;
    let mut conditions = new.relation.conjuncts.iter();
    old.columns == new.columns
        && same_columns(judge, Some(old_input), operator)
        && old.relation.below(false) == new.relation.below(false)
        && conditions
            .all(|(text, condition)| before.contains_key(text) || is_implied(before, condition))
}

/// Whether an INSERT names the columns of its target as it did.
fn same_columns(judge: &Judge<'_>, old_input: Option<usize>, operator: &Operator) -> bool {
    let old = old_input.and_then(|input| {
        judge.old.plan.operators.iter().find(|old| {
            is_end(old) && old.inputs[0].from == input && judge.old.id(old) == operator.id.as_str()
        })
    });
    old.is_some_and(|old| {
        let names = |operator: &Operator| {
            operator
                .schema
                .iter()
                .map(|column| column.name.clone())
                .collect::<Vec<_>>()
        };
        names(old) == names(operator)
    })
}

/// Where a source of the new plan goes on. `elsewhere`: the one of that name read something else.
fn goes_on(known: bool, elsewhere: bool, start: StartAt) -> (SourceVerdict, &'static str) {
    match (start, known && !elsewhere) {
        (StartAt::Keep, true) => (SourceVerdict::Kept, "it goes on where it was"),
        (StartAt::Keep, false) if elsewhere => (
            SourceVerdict::New,
            "it reads from another place than the one of that name did, so that its position says nothing: it is read from its \
             beginning",
        ),
        (StartAt::Keep | StartAt::Earliest, false) => (
            SourceVerdict::New,
            "no position of it is known: it is read from its beginning",
        ),
        (StartAt::Earliest, true) => (
            SourceVerdict::Earliest,
            "you chose its beginning: what keeps its state gets the rows that were read once more",
        ),
        (StartAt::Latest, _) => (
            SourceVerdict::Latest,
            "you chose its end: what came since the job stood still is never read",
        ),
        (StartAt::Time(_), true) => (
            SourceVerdict::At,
            "you chose a time: rows between that and where it stood come twice, or never",
        ),
        (StartAt::Time(_), false) => (
            SourceVerdict::At,
            "you chose a time: rows before that are never read",
        ),
    }
}

/// What else is to be said of where it goes on: how a time is found, if one can be.
fn place(judge: &Judge<'_>, index: usize) -> Option<String> {
    let start = judge.start_of(index);
    let OperatorKind::Source { table, .. } = &judge.new.plan.operators[index].kind else {
        return None;
    };
    let table = judge.new.plan.tables.get(table)?;
    judge.catalog.source_can_start_at(table, start).ok()?;
    let StartAt::Time(time) = start else {
        return None;
    };
    Some(match &table.watermark {
        Some(watermark) => format!(
            "Each split begins with its first record whose `{}` is {time} or later, and gives all that comes after it",
            table.columns[watermark.column].column.name
        ),
        None => format!(
            "It declares no event time, so that its files are told apart by when they were changed: {time} or later"
        ),
    })
}

/// The sources of both plans.
pub(super) fn sources(judge: &Judge<'_>) -> Vec<SourceReport> {
    let report = |operator: &Operator, verdict, reason: &str| SourceReport {
        id: operator.id.clone(),
        verdict,
        reason: reason.to_owned(),
        records: judge.past.records.get(&operator.id).copied(),
        again: true,
    };
    let is_source = |operator: &&Operator| matches!(operator.kind, OperatorKind::Source { .. });
    let new = judge.new.plan.operators.iter().enumerate();
    let mut reports: Vec<SourceReport> = new
        .filter(|(_, operator)| is_source(operator))
        .map(|(index, operator)| {
            let known = judge.old_of(operator.id.as_str()).is_some();
            let (verdict, reason) =
                goes_on(known, judge.is_elsewhere(index), judge.start_of(index));
            let mut report = report(operator, verdict, reason);
            if let Some(more) = place(judge, index) {
                report.reason = format!("{reason}. {more}");
            }
            report.again = judge.can_be_read_again(index);
            report
        })
        .collect();
    let gone = judge
        .old
        .plan
        .operators
        .iter()
        .filter(is_source)
        .filter(|operator| {
            let id = judge.old.id(operator);
            judge
                .new
                .plan
                .operators
                .iter()
                .all(|new| new.id.as_str() != id)
        });
    reports.extend(gone.map(|operator| {
        report(
            operator,
            SourceVerdict::Dropped,
            "the new query does not read it; its position is left behind",
        )
    }));
    reports
}
