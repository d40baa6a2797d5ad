//! Sources: where each goes on, whether it can be read again, and what a replay takes along.

use std::collections::BTreeSet;

use weir_types::OperatorId;

use super::judge::{Found, Judge};
use super::report::{Exactness, Replay, Report, SideFrom, StartAt, StateFrom, Verdict, Work};
use super::trace::{drops_late_rows, emits, expressions, fills_from_rows};
use crate::plan::{ColumnOrigin, Expr, OperatorKind, StreamPlan, TableDefinition};

/// The options that say what is read. A table that has others reads something else, and a position of it says nothing.
const PLACE_OPTIONS: [&str; 9] = [
    "connector",
    "path",
    "hostname",
    "host",
    "port",
    "topic",
    "servers",
    "table",
    "seed",
];

fn definition(plan: &StreamPlan, index: usize) -> Option<&TableDefinition> {
    match &plan.operators[index].kind {
        OperatorKind::Source { table, .. } => plan.tables.get(table),
        _ => None,
    }
}

impl Judge<'_> {
    /// Where the user wants a source of the new plan to go on.
    pub(super) fn start_of(&self, index: usize) -> StartAt {
        match &self.new.plan.operators[index].kind {
            OperatorKind::Source { table, .. } => {
                self.choices.sources.get(table).copied().unwrap_or_default()
            }
            _ => StartAt::Keep,
        }
    }

    /// Whether a source of the new plan reads from another place than the one of that name did.
    pub(super) fn is_elsewhere(&self, index: usize) -> bool {
        let Some(old) = self.old_of(self.new.plan.operators[index].id.as_str()) else {
            return false;
        };
        let (old, new) = (
            definition(self.old.plan, old),
            definition(self.new.plan, index),
        );
        let place = |table: Option<&TableDefinition>| {
            let options = table.map(|table| &table.options);
            PLACE_OPTIONS.map(|key| options.and_then(|options| options.get(key)).cloned())
        };
        place(old) != place(new)
    }

    /// Whether the connector can give the rows of a source again, in the same order.
    pub(super) fn can_be_read_again(&self, index: usize) -> bool {
        definition(self.new.plan, index)
            .is_none_or(|table| self.catalog.source_can_be_read_again(&table.options))
    }

    /// Whether rows that are read again give what they gave: nothing below reads a clock, draws lots or goes by arrival.
    pub(super) fn gives_the_same_again(&self, index: usize) -> bool {
        let operators = &self.new.plan.operators;
        let below = self.new.nodes[index].upstream.iter();
        below.chain([&index]).all(|&at| {
            let by_clock = matches!(
                operators[at].kind,
                OperatorKind::Clock { .. }
                    | OperatorKind::TemporalFilter { .. }
                    | OperatorKind::Arrival { .. }
                    // What a row met hung on the epoch in which it came.
                    | OperatorKind::LookupJoin {
                        complete: false,
                        ..
                    }
            );
            let computed = match &operators[at].kind {
                OperatorKind::Source { columns, .. } => definition(self.new.plan, at)
                    .map_or(&[][..], |table| &table.columns)
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| columns.contains(place))
                    .filter_map(|(_, column)| match &column.origin {
                        ColumnOrigin::Computed(expr) => Some(expr),
                        _ => None,
                    })
                    .collect(),
                _ => Vec::new(),
            };
            let mut expressions = expressions(&operators[at]).into_iter().chain(computed);
            !by_clock && !expressions.any(Expr::is_volatile)
        })
    }

    /// The sources below an operator, and itself if it is one.
    fn sources_of(&self, index: usize) -> impl Iterator<Item = usize> {
        let below = self.new.nodes[index].upstream.iter().copied();
        below
            .chain([index])
            .filter(|&below| self.new.plan.operators[below].inputs.is_empty())
    }

    /// Whether a source is new in the edited query and read from its beginning: nothing of it was read at the point that the
    /// new plan starts from, and nothing of it will be missed.
    pub(super) fn begins(&self, index: usize) -> bool {
        let operator = &self.new.plan.operators[index];
        operator.inputs.is_empty()
            && self.old_of(operator.id.as_str()).is_none()
            && matches!(self.start_of(index), StartAt::Keep | StartAt::Earliest)
    }

    /// Whether everything below an operator begins with this edit: what starts empty there has missed nothing.
    pub(super) fn begins_with_its_sources(&self, index: usize) -> bool {
        let mut below = self.new.nodes[index].upstream.iter();
        below.all(|&at| match self.found.get(&at) {
            Some(found) => found.exact == Exactness::Yes,
            None => !self.new.plan.operators[at].inputs.is_empty() || self.begins(at),
        }) && self.sources_of(index).all(|source| self.begins(source))
    }

    /// Whether nothing that goes by watermarks stands above a source that begins and another one: at the point that the new plan
    /// starts from such a source has none, and which windows would have been closed there nobody knows.
    pub(super) fn times_are_known(&self, index: usize) -> bool {
        let operators = &self.new.plan.operators;
        let mut below = self.new.nodes[index].upstream.iter().chain([&index]);
        below.all(|&at| {
            let operator = &operators[at];
            let timed = drops_late_rows(&operator.kind)
                || emits(operator)
                || (operator.is_stateful()
                    && !operator.inputs.is_empty()
                    && !fills_from_rows(&operator.kind));
            let begins = |source| self.begins(source);
            !timed || self.sources_of(at).all(begins) || !self.sources_of(at).any(begins)
        })
    }

    /// Sources below an operator that were read before and go on at a place that the user chose.
    pub(super) fn moved_below(&self, index: usize) -> Vec<OperatorId> {
        let moved = self.sources_of(index).filter(|&source| {
            self.start_of(source) != StartAt::Keep
                && self
                    .old_of(self.new.plan.operators[source].id.as_str())
                    .is_some()
        });
        moved
            .map(|source| self.new.plan.operators[source].id.clone())
            .collect()
    }

    /// Why an operator cannot be replayed whatever is below it, as the end of a sentence; `None`: nothing speaks against it.
    pub(super) fn cannot_be_replayed(&self, index: usize) -> Option<String> {
        let sources = || {
            self.sources_of(index)
                .filter_map(|at| Some((at, &definition(self.new.plan, at)?.name)))
        };
        let found = |is: &dyn Fn(usize) -> bool| sources().find(|(at, _)| is(*at));
        if let Some((_, table)) = found(&|at| !self.begins(at) && !self.can_be_read_again(at)) {
            return Some(format!(
                "`{table}` cannot be read again, so that it cannot be replayed"
            ));
        }
        if let Some((_, table)) = found(&|at| self.is_elsewhere(at)) {
            return Some(format!(
                "`{table}` is read from another place now, so that there is nothing to replay"
            ));
        }
        let updates = |at: usize| {
            self.new.plan.operators[at].changelog == crate::plan::Changelog::Retractions
                && !self.begins(at)
        };
        if let Some((_, table)) = found(&updates) {
            return Some(format!(
                "rows of `{table}` are taken back, and such a table is not replayed"
            ));
        }
        let begins = |at: usize| self.begins(at);
        if let (false, Some((_, table))) = (self.times_are_known(index), found(&begins)) {
            return Some(format!(
                "`{table}` is new and has no watermark yet, so that nobody knows what would have been over by now: it cannot be \
                 replayed"
            ));
        }
        (!self.gives_the_same_again(index)).then(|| {
            "it goes by the clock or by arrival, so that a replay would give something else"
                .to_owned()
        })
    }

    /// What has to be read for the state of an operator, if all of it is known.
    pub(super) fn work(&self, index: usize, found: &Found) -> Option<Work> {
        let old_id = |index: usize| {
            let old = self.old_of(self.new.plan.operators[index].id.as_str())?;
            Some(&self.old.plan.operators[old].id)
        };
        let entries = |index: usize| self.past.entries.get(old_id(index)?).copied();
        let below = || self.new.nodes[index].upstream.iter().copied();
        match &found.state {
            StateFrom::Replay => {
                let sources = below().filter(|&at| self.new.plan.operators[at].inputs.is_empty());
                let records = sources
                    .filter(|&source| !self.begins(source))
                    .map(|source| self.past.records.get(old_id(source)?).copied());
                Some(Work::Records(records.sum::<Option<u64>>()?))
            }
            StateFrom::Inputs => {
                let bases = self.new.plan.operators[index]
                    .inputs
                    .iter()
                    .flat_map(|input| self.new.nodes[input.from].bases.clone());
                let bases: BTreeSet<usize> = bases.collect();
                Some(Work::Entries(
                    bases.into_iter().map(entries).sum::<Option<u64>>()?,
                ))
            }
            StateFrom::Sides(sides) if !sides.contains(&SideFrom::Input) => {
                entries(index).map(Work::Entries)
            }
            StateFrom::Merged | StateFrom::Filtered => entries(index).map(Work::Entries),
            _ => None,
        }
    }
}

/// What `--replay` with these IDs has to mean so that what they name is exact: with an operator goes every one below it whose
/// state would not be what a replay gives it. `report` is the one without them.
pub fn replayed_along(plan: &StreamPlan, report: &Report, wanted: &Replay) -> Replay {
    let Replay::Only(ids) = wanted else {
        return wanted.clone();
    };
    let mut all = ids.clone();
    for (index, operator) in plan.operators.iter().enumerate() {
        if !ids.contains(&operator.id) {
            continue;
        }
        let below = upstream(plan, index);
        let along = report.operators.iter().filter(|found| {
            matches!(
                found.verdict,
                Verdict::CarriedOver | Verdict::Partial | Verdict::New | Verdict::Incompatible
            ) && plan
                .operators
                .iter()
                .position(|operator| operator.id == found.id)
                .is_some_and(|at| below.contains(&at))
        });
        all.extend(along.map(|found| found.id.clone()));
    }
    Replay::Only(all)
}

/// Every operator below one.
fn upstream(plan: &StreamPlan, index: usize) -> BTreeSet<usize> {
    let mut below = BTreeSet::new();
    let mut left = vec![index];
    while let Some(at) = left.pop() {
        for input in &plan.operators[at].inputs {
            if below.insert(input.from) {
                left.push(input.from);
            }
        }
    }
    below
}
