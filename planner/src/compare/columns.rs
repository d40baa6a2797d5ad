//! What becomes of each state column: the verdict on its operator, as far as the column is concerned.

use std::collections::BTreeSet;

use super::report::{
    Choices, ColumnReport, Exactness, OperatorReport, Report, SideFrom, StateFrom, Verdict,
};
use super::tables::{ColumnFrom, OldTable, TableMapping, mappings};
use crate::plan::{OperatorKind, StateTable, StreamPlan};

/// Fills in the columns of a report.
pub(super) fn tell(old: &StreamPlan, new: &StreamPlan, choices: &Choices, report: &mut Report) {
    let mappings = mappings(old, new, choices, report);
    for found in &mut report.operators {
        let Some(operator) = new.operators.iter().find(|of| of.id == found.id) else {
            continue;
        };
        if found.verdict == Verdict::Unchanged {
            continue;
        }
        for (place, table) in operator.state.iter().enumerate() {
            let of_table = |of: &&TableMapping| of.operator == found.id && of.table == table.name;
            let from = mappings.iter().find(of_table);
            let from = from.and_then(|mapping| mapping.from.as_ref());
            let before = from.and_then(|from| {
                let tables = &old.operator(&from.operator)?.state;
                Some((from, tables.iter().find(|of| of.name == from.table)?))
            });
            let side = match operator.kind {
                OperatorKind::LookupJoin { .. } => usize::from(table.name == "right"),
                _ => place,
            };
            let columns = match before {
                Some(before) => kept(found, table, before),
                None => all(table, started(found, side)),
            };
            found.columns.extend(columns);
        }
    }
}

/// What is said of the columns of a table that has no old one.
fn started(found: &OperatorReport, side: usize) -> Verdict {
    match &found.state {
        StateFrom::Replay => Verdict::Replayed,
        StateFrom::Inputs => Verdict::Rebuilt,
        StateFrom::Sides(sides) if sides.get(side) != Some(&SideFrom::Own) => Verdict::Rebuilt,
        StateFrom::Nothing => found.verdict,
        _ => Verdict::New,
    }
}

fn all(table: &StateTable, verdict: Verdict) -> Vec<ColumnReport> {
    let columns = table.key.iter().chain(&table.value);
    columns
        .map(|column| ColumnReport {
            table: table.name.clone(),
            column: column.name.clone(),
            verdict,
        })
        .collect()
}

fn kept(
    found: &OperatorReport,
    table: &StateTable,
    (from, before): (&OldTable, &StateTable),
) -> Vec<ColumnReport> {
    let old: Vec<_> = before.key.iter().chain(&before.value).collect();
    let mut columns = all(table, Verdict::New);
    let mut taken = BTreeSet::new();
    let rewritten = matches!(found.state, StateFrom::Merged | StateFrom::Filtered);
    // Where columns that were there stay exact, it is the others that are not.
    let goes_on = match (&found.verdict, &found.exact) {
        (Verdict::CarriedOver, _) | (Verdict::Partial, Exactness::No) => Verdict::CarriedOver,
        _ => Verdict::Unchanged,
    };
    let types = table.key.iter().chain(&table.value);
    for ((report, column), source) in columns.iter_mut().zip(types).zip(&from.columns) {
        let ColumnFrom::Stored(place) = source else {
            continue;
        };
        taken.insert(*place);
        let wider = old.get(*place).map(|old| &old.data_type) != Some(&column.data_type);
        report.verdict = match goes_on {
            Verdict::Unchanged if rewritten || wider => Verdict::Migrated,
            goes_on => goes_on,
        };
    }
    let names: BTreeSet<String> = columns.iter().map(|of| of.column.clone()).collect();
    let gone = old.iter().enumerate().filter(|(place, column)| {
        // A key column may be among the values as well.
        !taken.contains(place) && !names.contains(&column.name)
    });
    let gone = gone.map(|(_, column)| ColumnReport {
        table: table.name.clone(),
        column: column.name.clone(),
        verdict: Verdict::Dropped,
    });
    columns.extend(gone.collect::<Vec<_>>());
    columns
}
