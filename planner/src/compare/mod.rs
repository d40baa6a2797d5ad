//! What an edit of a query does to the state of a running job, known beforehand: EVOLUTION 3 to 7.
//!
//! ```text
//!   old plan ─▶ trace ─┐
//!                      ├─▶ judge ─▶ a verdict for each operator ─▶ sinks, sources ─▶ Report ─▶ text
//!   new plan ─▶ trace ─┘     ▲
//!                  marks, watermarks (`Past`), `Choices`
//! ```
//!
//! A pure function: no data is read, nothing runs.

mod again;
mod change;
mod columns;
mod dropped;
mod implied;
mod judge;
mod ordinals;
mod report;
mod shape;
mod sinks;
mod tables;
mod text;
mod trace;
mod widened;
mod words;

use std::collections::BTreeMap;

pub use again::replayed_along;
use judge::Judge;
pub use report::{
    Choices, ColumnReport, Exactness, InputReport, OperatorReport, Past, Replay, Report, SideFrom,
    SinkReport, SinkVerdict, SourceReport, SourceVerdict, StartAt, StateFrom, Verdict, Work,
};
pub use sinks::{gone_beside, same_target};
pub use tables::{ColumnFrom, OldTable, TableMapping, mappings};
pub use text::advice;
use trace::Trace;
pub use trace::{fills_from_rows, renamed};

use crate::Catalog;
use crate::plan::StreamPlan;

/// What paths of the old plan are called in the new one: by the user's choice, by hints of the new query that the old one did not
/// have yet, and where names differ by a number alone by what operators do. A hint stays in the text after it was followed.
pub fn renames(old: &StreamPlan, new: &StreamPlan, choices: &Choices) -> BTreeMap<String, String> {
    let mut renames = chosen(old, new, choices);
    renames.extend(ordinals::matched(old, new, &renames).renames);
    renames
}

/// What the user says that paths are called.
fn chosen(old: &StreamPlan, new: &StreamPlan, choices: &Choices) -> BTreeMap<String, String> {
    let mut renames = choices.renames.clone();
    // What was found to be gone may have been handed on with what the user said.
    renames.retain(|_, to| !ordinals::is_gone(to));
    for (to, from) in &new.state_from {
        if old.state_from.get(to) != Some(from) && old.has_path(from) && !old.has_path(to) {
            renames.entry(from.clone()).or_insert_with(|| to.clone());
        }
    }
    renames
}

/// Judges every operator, sink and source of `new`, should it go on from the state of `old`.
///
/// `past` is what the job's manifest says beyond its plan; without one (two files are compared), times are unknown
/// and nothing was inexact before.
pub fn compare(
    old: &StreamPlan,
    new: &StreamPlan,
    past: &Past,
    choices: &Choices,
    catalog: &dyn Catalog,
) -> Report {
    let none = BTreeMap::new();
    let renames = renames(old, new, choices);
    let wider = widened::widenings(old, new, &renames);
    let all_wider = wider.all();
    let old_trace = Trace::of(old, &renames, &wider.exact);
    let old_loosely = (!wider.lossy.is_empty()).then(|| Trace::of(old, &renames, &all_wider));
    let new_trace = Trace::of(new, &none, &all_wider);
    let ordinals = ordinals::matched(old, new, &chosen(old, new, choices));
    let mut judge = Judge {
        unclear: &ordinals.unclear,
        old: &old_trace,
        old_loosely: old_loosely.as_ref().unwrap_or(&old_trace),
        new: &new_trace,
        past,
        choices,
        catalog,
        widened: &wider,
        found: BTreeMap::new(),
    };
    judge.run();
    let sinks = sinks::sinks(&judge, catalog);
    let sources = sinks::sources(&judge);
    let dropped = judge.dropped();
    let operators = judge.found.into_values().chain(dropped).collect();
    let mut report = Report {
        operators,
        sinks,
        sources,
        refused: None,
    };
    columns::tell(old, new, choices, &mut report);
    report
}
