//! What each sink will see, and where each source goes on.

use std::collections::BTreeSet;

use super::judge::Judge;
use super::report::{
    Exactness, SinkReport, SinkVerdict, SourceReport, SourceVerdict, StartAt, StateFrom, Verdict,
};
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
                reason: "the new query does not write it; what it holds stays".to_owned(),
                span: operator.span,
            }),
    );
    reports
}

fn sink(judge: &Judge<'_>, catalog: &dyn Catalog, index: usize, operator: &Operator) -> SinkReport {
    let input = operator.inputs[0].from;
    let old = judge.old_of(operator.id.as_str());
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
        Verdict::Partial => matches!(found.exact, Exactness::Columns(_)),
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
    let takes = takes_retractions(judge.new.plan, operator, catalog);
    let from_state =
        judge.is_restored(input) && old_input.is_none_or(|old| judge.old.nodes[old].recoverable);
    let (verdict, reason) = if same && kept {
        (SinkVerdict::Unchanged, "it goes on where it was")
    } else if comes_back(judge, old, operator) {
        (
            SinkVerdict::OldRowsStay,
            "a column of its table was dropped by an earlier edit and comes back: rows written before hold its old values, \
             which are not known any more, so that they cannot be taken back",
        )
    } else if takes && from_state {
        (
            SinkVerdict::Difference,
            match old {
                Some(_) => {
                    "rows that the new query does not give are taken back, those that it adds are given"
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
    let earlier = judge.past.sinks_with_old_rows.contains(&operator.id)
        || !judge.moved_below(index).is_empty();
    SinkReport {
        id: operator.id.clone(),
        verdict,
        exact: exact_below && !earlier && verdict != SinkVerdict::OldRowsStay,
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
    let gone = judge.past.columns_gone.get(&operator.id);
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
        (StartAt::Time(_), _) => (
            SourceVerdict::At,
            "you chose a time: rows between that and where it stood come twice, or never",
        ),
    }
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
