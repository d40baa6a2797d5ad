//! The verdict on each operator, inputs before consumers.
//!
//! ```text
//!   same shape, same relations below, everything below kept ─▶ unchanged
//!   every input can be computed from restored state         ─▶ rebuilt     (a join: also from its own sides)
//!   the user asked, and sources can be read again           ─▶ replayed
//!   nothing below changed, and the change loses nothing     ─▶ migrated
//!   rows are only inserted, before and after                ─▶ carried over, partial
//!   no state of that ID ─▶ new            anything else     ─▶ incompatible
//! ```
//!
//! The order matters, and so does each condition: they are those of `shared/model` (`evo.py`), which broke no claim of
//! exactness in 38,000 generated cases.

use std::collections::{BTreeMap, BTreeSet};

use weir_types::EventTime;

use super::change::{Change, change};
use super::implied::is_implied;
use super::report::{
    Choices, Exactness, InputReport, OperatorReport, Past, Replay, SideFrom, StartAt, StateFrom,
    Verdict,
};
use super::shape::{Groups, Join, Shape};
use super::trace::{Trace, drops_late_rows, emits, fills_from_rows};
use super::widened::Widenings;
use super::words;
use crate::Catalog;
use crate::plan::{Changelog, Operator, OperatorKind};

/// Two plans, and what was found so far.
pub(super) struct Judge<'a> {
    /// Operators of the new plan that may be one of several of the old one: their IDs there.
    pub(super) unclear: &'a BTreeMap<String, Vec<String>>,
    pub(super) old: &'a Trace<'a>,
    /// The old plan with every column that was widened under its new identity, also where that changes values: for what only
    /// goes on counting.
    pub(super) old_loosely: &'a Trace<'a>,
    pub(super) new: &'a Trace<'a>,
    pub(super) past: &'a Past,
    pub(super) choices: &'a Choices,
    pub(super) catalog: &'a dyn Catalog,
    /// Columns that are wider now.
    pub(super) widened: &'a Widenings,
    /// By the index of an operator in the new plan, for those with state.
    pub(super) found: BTreeMap<usize, OperatorReport>,
}

/// What is known of an operator before its verdict.
struct Case<'a> {
    index: usize,
    operator: &'a Operator,
    shape: &'a Shape,
    /// The operator of that ID in the old plan: its index and shape.
    old: Option<(usize, &'a Shape)>,
    /// The mark of an earlier edit.
    mark: Exactness,
    /// Whether each input is exact.
    exact_inputs: Vec<bool>,
    /// Whether each input can be computed from restored state.
    recoverable: Vec<bool>,
    /// Whether rows are only inserted, before and after.
    append_only: bool,
    /// Whether each input is what it was, and everything below it kept its state.
    same_input: Vec<bool>,
    /// Whether everything below kept its state.
    kept_below: bool,
}

/// A verdict, before its consequences for exactness are drawn.
pub(super) struct Found {
    pub(super) verdict: Verdict,
    exact: Exactness,
    pub(super) state: StateFrom,
    inputs: Vec<InputReport>,
}

impl Found {
    fn new(verdict: Verdict, exact: Exactness, state: StateFrom) -> Self {
        Self {
            verdict,
            exact,
            state,
            inputs: Vec::new(),
        }
    }
}

impl<'a> Judge<'a> {
    /// Judges every stateful operator of the new plan.
    pub(super) fn run(&mut self) {
        for index in 0..self.new.nodes.len() {
            let Some(shape) = &self.new.nodes[index].shape else {
                continue;
            };
            let case = self.case(index, shape);
            let mut found = self.verdict(&case);
            self.draw_consequences(&case, &mut found);
            let report = self.report(&case, found);
            self.found.insert(index, report);
        }
    }

    /// The operator of the old plan that has the ID of this one.
    pub(super) fn old_of(&self, id: &str) -> Option<usize> {
        let operators = &self.old.plan.operators;
        operators
            .iter()
            .position(|operator| self.old.id(operator) == id)
    }

    fn case(&self, index: usize, shape: &'a Shape) -> Case<'a> {
        let operator = &self.new.plan.operators[index];
        let old = self.old_of(operator.id.as_str());
        let old = old.and_then(|old| Some((old, self.old.nodes[old].shape.as_ref()?)));
        let inputs: Vec<usize> = operator.inputs.iter().map(|input| input.from).collect();
        let old_inputs = old.map_or(&[][..], |(old, _)| &self.old.plan.operators[old].inputs);
        let appends = |trace: &Trace<'_>, input: usize| {
            trace.plan.operators[input].changelog == Changelog::AppendOnly
        };
        let timed = drops_late_rows(&operator.kind);
        let kept_below = self.kept_below(index);
        let same_input = inputs.iter().enumerate().map(|(i, &input)| {
            let old = old_inputs
                .get(i)
                .map(|input| &self.old.nodes[input.from].relation);
            let new = self.new.nodes[input].relation.whole(timed);
            kept_below && old.is_some_and(|old| old.whole(timed) == new)
        });
        Case {
            index,
            operator,
            shape,
            old,
            mark: self.mark(index, old.map(|(old, _)| old)),
            exact_inputs: inputs.iter().map(|&input| self.is_exact(input)).collect(),
            recoverable: inputs
                .iter()
                .map(|&input| self.is_restored(input))
                .collect(),
            append_only: old.is_some()
                && inputs.iter().all(|&input| appends(self.new, input))
                && old_inputs.iter().all(|input| appends(self.old, input.from)),
            same_input: same_input.collect(),
            kept_below,
        }
    }

    fn mark(&self, index: usize, old: Option<usize>) -> Exactness {
        if !self.moved_below(index).is_empty() {
            // Rows that it has counted come again, or rows never come.
            return Exactness::No;
        }
        let operator = &self.new.plan.operators[index];
        let id = old.map_or(&operator.id, |old| &self.old.plan.operators[old].id);
        match (self.past.marks.get(id).cloned().unwrap_or_default(), old) {
            (Exactness::Columns(exact), Some(old)) => {
                Exactness::Columns(self.columns_now(&exact, old, index))
            }
            (mark, _) => mark,
        }
    }

    /// What columns of an operator of the old plan are called now. They are known by what they are made of: a name may have
    /// gone over to another one.
    fn columns_now(&self, names: &BTreeSet<String>, old: usize, new: usize) -> BTreeSet<String> {
        let columns = |trace: &Trace<'a>, at: usize| -> Vec<(String, String)> {
            let schema = trace.plan.operators[at].schema.iter();
            let identities = trace.nodes[at].columns.iter();
            let both = schema.zip(identities);
            both.map(|(column, identity)| (column.name.clone(), identity.clone()))
                .collect()
        };
        let exact: BTreeSet<String> = columns(self.old, old)
            .into_iter()
            .filter_map(|(name, identity)| names.contains(&name).then_some(identity))
            .collect();
        columns(self.new, new)
            .into_iter()
            .filter_map(|(name, identity)| exact.contains(&identity).then_some(name))
            .collect()
    }

    /// Whether the output of an operator of the new plan is exact, stateless steps included.
    pub(super) fn is_exact(&self, index: usize) -> bool {
        if let Some(found) = self.found.get(&index) {
            return found.exact == Exactness::Yes;
        }
        let operator = &self.new.plan.operators[index];
        if let OperatorKind::Source { .. } = operator.kind {
            return self.is_known_source(index) || self.begins(index);
        }
        operator
            .inputs
            .iter()
            .all(|input| self.is_exact(input.from))
    }

    /// Whether it goes on where the old query stopped reading the same thing.
    pub(super) fn is_known_source(&self, index: usize) -> bool {
        let operator = &self.new.plan.operators[index];
        self.old_of(operator.id.as_str())
            .is_some_and(|old| self.old.plan.operators[old].changelog == operator.changelog)
            && !self.is_elsewhere(index)
            && self.start_of(index) == StartAt::Keep
    }

    /// Whether the output can be computed from restored state.
    pub(super) fn is_restored(&self, index: usize) -> bool {
        let node = &self.new.nodes[index];
        node.recoverable && node.bases.iter().all(|base| self.found.contains_key(base))
    }

    /// Whether every source below was read before and every operator below holds what it held for its readers.
    fn kept_below(&self, index: usize) -> bool {
        self.new.nodes[index]
            .upstream
            .iter()
            .all(|&below| match self.found.get(&below) {
                Some(found) => match found.verdict {
                    Verdict::Unchanged | Verdict::Partial => true,
                    // Its groups are what they were, and columns are known by what they are made of.
                    Verdict::CarriedOver => matches!(found.exact, Exactness::Columns(_)),
                    Verdict::Migrated => found.state == StateFrom::Mapped,
                    _ => false,
                },
                None if self.new.plan.operators[below].inputs.is_empty() => self
                    .old_of(self.new.plan.operators[below].id.as_str())
                    .is_some(),
                None => true,
            })
    }

    // ------------------------------------------------------------------ verdicts

    fn verdict(&self, case: &Case<'_>) -> Found {
        let same_ttl = self.ttl_is_same(case);
        let same_up = case.old.is_some() && case.same_input.iter().all(|same| *same);
        if same_up && same_ttl && case.old.is_some_and(|(_, old)| old == case.shape) {
            let state = self.kept_as_it_is(case);
            let verdict = if self.is_wider(case) {
                Verdict::Migrated
            } else {
                Verdict::Unchanged
            };
            return Found::new(verdict, case.mark.clone(), state);
        }
        if !case.recoverable.is_empty()
            && case.recoverable.iter().all(|input| *input)
            && fills_from_rows(&case.operator.kind)
        {
            let exact = yes_if(case.exact_inputs.iter().all(|exact| *exact));
            return Found::new(Verdict::Rebuilt, exact, StateFrom::Inputs);
        }
        // A side that only goes on counting is no match for the source read again, if that is wanted.
        let better =
            |found: &Found| found.verdict != Verdict::CarriedOver || self.replayed(case).is_none();
        self.of_sides(case, same_up)
            .filter(better)
            .or_else(|| self.replayed(case))
            .or_else(|| self.of_lookup(case))
            .or_else(|| self.coarser(case, same_up))
            .or_else(|| self.kept(case, same_up))
            .unwrap_or_else(|| match case.old {
                None if self.unclear.contains_key(case.operator.id.as_str()) => {
                    Found::new(Verdict::Incompatible, Exactness::No, StateFrom::Nothing)
                }
                None => {
                    let exact = yes_if(self.begins_with_its_sources(case.index));
                    Found::new(Verdict::New, exact, StateFrom::Nothing)
                }
                Some(_) => Found::new(Verdict::Incompatible, Exactness::No, StateFrom::Nothing),
            })
    }

    /// Whether its state gets as old as it did.
    fn ttl_is_same(&self, case: &Case<'_>) -> bool {
        case.old
            .is_some_and(|(old, _)| self.old.plan.operators[old].ttl == case.operator.ttl)
    }

    /// Whether its state keeps columns in a wider type now.
    fn is_wider(&self, case: &Case<'_>) -> bool {
        let types = |operator: &Operator| -> Vec<_> {
            let tables = operator.state.iter();
            let columns = tables.flat_map(|table| table.key.iter().chain(&table.value));
            columns.map(|column| column.data_type.clone()).collect()
        };
        !self.widened.exact.is_empty()
            && case.old.is_some_and(|(old, _)| {
                types(&self.old.plan.operators[old]) != types(case.operator)
            })
    }

    /// The tables may be called otherwise, if a join below was renamed.
    fn kept_as_it_is(&self, case: &Case<'_>) -> StateFrom {
        let same = case
            .old
            .is_some_and(|(old, _)| self.old.plan.operators[old].state == case.operator.state);
        if same {
            StateFrom::Kept
        } else {
            StateFrom::Mapped
        }
    }

    /// A join whose sides hold what the new one needs, or can be filled one by one.
    fn of_sides(&self, case: &Case<'_>, same_up: bool) -> Option<Found> {
        let (Shape::Join(new), Some((old_index, Shape::Join(old)))) = (case.shape, case.old) else {
            return None;
        };
        let holds = |side: usize| new.stored[side].is_subset(&old.stored[side]);
        // A side that only goes on counting may have columns of a type that rounded.
        let Some(Shape::Join(loosely)) = &self.old_loosely.nodes[old_index].shape else {
            return None;
        };
        let has = |side: usize| new.stored[side].is_subset(&loosely.stored[side]);
        if same_up && holds(0) && holds(1) {
            let sides = vec![SideFrom::Own, SideFrom::Own];
            return Some(Found::new(
                Verdict::Rebuilt,
                case.mark.clone(),
                StateFrom::Sides(sides),
            ));
        }
        let mut sides = Vec::new();
        let (mut exact, mut inputs) = (Vec::new(), Vec::new());
        for (side, name) in ["left", "right"].into_iter().enumerate() {
            let input = case.operator.inputs[side].from;
            let old_input = self.old.plan.operators[old_index].inputs[side].from;
            let appends = [(self.new, input), (self.old, old_input)]
                .into_iter()
                .all(|(trace, at)| trace.plan.operators[at].changelog == Changelog::AppendOnly);
            let (from, is_exact, verdict) = if self.side_is_same(input, old_input) && holds(side) {
                (
                    SideFrom::Own,
                    case.mark == Exactness::Yes,
                    Verdict::Unchanged,
                )
            } else if case.recoverable[side] {
                (SideFrom::Input, case.exact_inputs[side], Verdict::Rebuilt)
            } else if appends && self.holds_keys(case, side, loosely) {
                (
                    SideFrom::Own,
                    false,
                    if has(side) {
                        Verdict::CarriedOver
                    } else {
                        Verdict::Partial
                    },
                )
            } else {
                return None;
            };
            sides.push(from);
            exact.push(is_exact);
            inputs.push(InputReport {
                side: name.to_owned(),
                verdict,
            });
        }
        let exact = exact.iter().all(|exact| *exact);
        let verdict = if exact {
            Verdict::Rebuilt
        } else {
            Verdict::CarriedOver
        };
        let mut found = Found::new(verdict, yes_if(exact), StateFrom::Sides(sides));
        found.inputs = inputs;
        Some(found)
    }

    /// A lookup join whose right side can be filled from its input: what comes from now on meets the right rows, and what was
    /// looked up before stays.
    fn of_lookup(&self, case: &Case<'_>) -> Option<Found> {
        let OperatorKind::LookupJoin { complete, .. } = &case.operator.kind else {
            return None;
        };
        let left = case.operator.inputs[0].from;
        let grows = self.new.plan.operators[left].changelog == Changelog::AppendOnly;
        // A left row that is taken back has to meet what it met.
        if !case.recoverable[1] || !grows {
            return None;
        }
        // Where the right ends, left rows may wait for that.
        let goes_on = case.old.is_some_and(|(old, shape)| {
            let old = self.old.plan.operators[old].inputs[0].from;
            shape == case.shape && self.side_is_same(left, old)
        });
        if *complete && !goes_on {
            return None;
        }
        let sides = StateFrom::Sides(vec![SideFrom::Own, SideFrom::Input]);
        Some(Found::new(Verdict::Rebuilt, Exactness::No, sides))
    }

    /// Whether a side holds what its rows are found by now. Without, none of its rows would ever meet another again.
    fn holds_keys(&self, case: &Case<'_>, side: usize, old: &Join) -> bool {
        let OperatorKind::Join {
            left_keys,
            right_keys,
            ..
        } = &case.operator.kind
        else {
            return false;
        };
        let columns = &self.new.nodes[case.operator.inputs[side].from].columns;
        let keys = [left_keys, right_keys][side].iter();
        keys.copied()
            .all(|key| old.stored[side].contains(&columns[key]))
    }

    /// Whether one input of a join is what it was, with everything below unchanged.
    fn side_is_same(&self, input: usize, old_input: usize) -> bool {
        let node = &self.new.nodes[input];
        let below = node.upstream.iter().chain([&input]);
        let kept = below.clone().all(|below| {
            self.found
                .get(below)
                .is_none_or(|found| found.verdict == Verdict::Unchanged)
        });
        let known = below
            .filter(|&&below| self.new.plan.operators[below].inputs.is_empty())
            .all(|&below| self.is_known_source(below));
        kept && known
            && node.relation.whole(false) == self.old.nodes[old_input].relation.whole(false)
    }

    /// What the user wants to be computed from the source again, where that gives the right answer.
    fn replayed(&self, case: &Case<'_>) -> Option<Found> {
        let wanted = match &self.choices.replay {
            Replay::None => false,
            Replay::All => true,
            Replay::Only(ids) => ids.contains(&case.operator.id),
        };
        let node = &self.new.nodes[case.index];
        let sources = || {
            let below = node.upstream.iter().copied();
            below.filter(|&below| self.new.plan.operators[below].inputs.is_empty())
        };
        let readable = sources().all(|source| {
            let operator = &self.new.plan.operators[source];
            self.begins(source)
                || operator.changelog == Changelog::AppendOnly
                    && self.is_known_source(source)
                    && self.can_be_read_again(source)
        }) && self.times_are_known(case.index);
        // Everything below must end up with the state that the replay would give it.
        let closed = node.upstream.iter().all(|at| {
            let Some(below) = self.found.get(at) else {
                return true;
            };
            match below.exact {
                // What starts empty may give a row of its own accord (an aggregate without a key), which the replay has had.
                Exactness::Yes => {
                    below.verdict != Verdict::New || emits(&self.new.plan.operators[*at])
                }
                Exactness::Open(_) => {
                    below.verdict == Verdict::Replayed
                        && sources().all(|source| self.watermark_is_same(source))
                        && self.past.marks.values().all(|mark| *mark == Exactness::Yes)
                }
                _ => false,
            }
        });
        // Nothing is there to be read again, and it starts empty as it is.
        let begins =
            case.old.is_none() && emits(case.operator) && self.begins_with_its_sources(case.index);
        (wanted && readable && closed && !begins && self.gives_the_same_again(case.index))
            .then(|| Found::new(Verdict::Replayed, Exactness::Yes, StateFrom::Replay))
    }

    /// Whether the source declares the watermark that it declared.
    fn watermark_is_same(&self, source: usize) -> bool {
        let id = self.new.plan.operators[source].id.as_str();
        self.old_of(id).is_some_and(|old| {
            let (old, new) = (
                &self.old.nodes[old].relation,
                &self.new.nodes[source].relation,
            );
            old.below(true) == new.below(true)
        })
    }

    /// Dropped keys merge groups, a tightened condition over what is stored takes rows away.
    fn coarser(&self, case: &Case<'_>, same_up: bool) -> Option<Found> {
        let keeps_for_ever = case.operator.ttl.is_none() && self.ttl_is_same(case);
        let (old_index, old) = case.old.filter(|_| keeps_for_ever)?;
        if let (true, Shape::Groups(old), Shape::Groups(new)) = (same_up, old, case.shape)
            && old.window.is_none()
            && new.window.is_none()
            && old.updating == new.updating
            && new.keys.is_subset(&old.keys)
            && new.keys != old.keys
            && new.needs().is_subset(&old.needs())
        {
            return Some(Found::new(
                Verdict::Migrated,
                case.mark.clone(),
                StateFrom::Merged,
            ));
        }
        if old != case.shape
            || !case.kept_below
            || matches!(case.shape, Shape::Other(_) | Shape::Set { .. })
        {
            return None;
        }
        let timed = drops_late_rows(&case.operator.kind);
        let old_inputs = &self.old.plan.operators[old_index].inputs;
        let mut tightened = false;
        for (side, (input, old_input)) in case.operator.inputs.iter().zip(old_inputs).enumerate() {
            let new = &self.new.nodes[input.from].relation;
            let old = &self.old.nodes[old_input.from].relation;
            let added = new
                .conjuncts
                .iter()
                .filter(|(text, _)| !old.conjuncts.contains_key(*text));
            let held = case.shape.held(side);
            let mut added = added.peekable();
            tightened |= added.peek().is_some();
            if new.below(timed) != old.below(timed)
                || !old.conjuncts.iter().all(|(text, condition)| {
                    new.conjuncts.contains_key(text) || is_implied(&new.conjuncts, condition)
                })
                || !added.all(|(_, conjunct)| conjunct.reads.is_subset(&held))
            {
                return None;
            }
        }
        tightened.then(|| Found::new(Verdict::Migrated, case.mark.clone(), StateFrom::Filtered))
    }

    /// What fits the old state, or a part of it.
    fn kept(&self, case: &Case<'_>, same_up: bool) -> Option<Found> {
        let (_, old) = case.old?;
        let own = change(old, case.shape);
        let found = |verdict, exact: Option<Exactness>| {
            let exact = exact.unwrap_or(Exactness::No);
            Some(Found::new(verdict, exact, StateFrom::Mapped))
        };
        if own == Some(Change::Lossless) && same_up && self.ttl_is_same(case) {
            return found(Verdict::Migrated, Some(case.mark.clone()));
        }
        if !case.append_only {
            return None;
        }
        let columns = || {
            let added = own == Some(Change::Adds) && self.ttl_is_same(case);
            added.then(|| self.exact_columns(case, same_up)).flatten()
        };
        // Columns of a wider type go on with the values that they have.
        match (own, change(self.before(case)?, case.shape)) {
            (Some(Change::Lossless | Change::Nothing), _)
            | (_, Some(Change::Lossless | Change::Nothing)) => {
                found(Verdict::CarriedOver, self.exact_from(case).or_else(columns))
            }
            (Some(Change::Adds), _) | (_, Some(Change::Adds)) if self.ttl_is_same(case) => {
                found(Verdict::Partial, columns())
            }
            _ => None,
        }
    }

    /// What it did before, with all columns of which the type was widened under the names that they have now.
    fn before(&self, case: &Case<'_>) -> Option<&Shape> {
        self.old_loosely.nodes[case.old?.0].shape.as_ref()
    }

    /// A window that is carried over is exact from the first window that holds no old row.
    fn exact_from(&self, case: &Case<'_>) -> Option<Exactness> {
        let Shape::Groups(Groups {
            window: Some(window),
            ..
        }) = case.shape
        else {
            return None;
        };
        // Times that were rounded may have stood in other windows.
        let same_times =
            |old: &Shape| matches!(old, Shape::Groups(old) if old.window.as_ref() == Some(window));
        if case.old.is_none_or(|(_, old)| !same_times(old))
            || self.before(case) != Some(case.shape)
            || case.mark != Exactness::Yes
        {
            return None;
        }
        if self.past.greatest_times.is_empty() {
            return Some(Exactness::From(Exactness::UNKNOWN));
        }
        let times = self
            .sources_below(case.index)
            .map(|id| self.past.greatest_times.get(id));
        let times: Option<Vec<&EventTime>> = times.collect();
        times?.into_iter().max().map(|time| match time.0 {
            // Nothing was read: there is nothing of the old query in it.
            i64::MIN => Exactness::Yes,
            last => Exactness::From(EventTime(last.saturating_add(1))),
        })
    }

    /// The columns that were there before stay exact.
    fn exact_columns(&self, case: &Case<'_>, same_up: bool) -> Option<Exactness> {
        if !same_up || case.mark != Exactness::Yes {
            return None;
        }
        let names = |places: &mut dyn Iterator<Item = usize>| {
            let columns = places.map(|place| case.operator.schema[place].name.clone());
            let columns: BTreeSet<String> = columns.collect();
            (!columns.is_empty()).then_some(Exactness::Columns(columns))
        };
        let columns = &self.new.nodes[case.index].columns;
        match (case.old?.1, case.shape) {
            (Shape::Groups(old), Shape::Groups(new)) => {
                names(&mut (0..columns.len()).filter(|&place| {
                    let column = &columns[place];
                    new.calls
                        .get(column)
                        .is_none_or(|needs| needs.is_subset(&old.needs()))
                }))
            }
            (Shape::Join(old), Shape::Join(new))
                if (&old.kind, &old.residual) == (&new.kind, &new.residual) =>
            {
                let left = new.stored[0].len();
                let inputs = case.operator.inputs.iter();
                let stored: Vec<&String> = inputs
                    .flat_map(|input| {
                        let columns = &self.new.nodes[input.from].columns;
                        &columns[..columns.len() - case.operator.hidden_columns()]
                    })
                    .collect();
                names(&mut (0..columns.len()).filter(|&place| {
                    old.stored[usize::from(place >= left)].contains(stored[place])
                }))
            }
            _ => None,
        }
    }

    fn sources_below(&self, index: usize) -> impl Iterator<Item = &weir_types::OperatorId> {
        let below = self.new.nodes[index].upstream.iter();
        let sources = below.map(|&below| &self.new.plan.operators[below]);
        sources
            .filter(|operator| operator.inputs.is_empty())
            .map(|operator| self.id_before(&operator.id))
    }

    /// What the manifest calls an operator of the new plan.
    pub(super) fn id_before<'b>(
        &'b self,
        id: &'b weir_types::OperatorId,
    ) -> &'b weir_types::OperatorId {
        self.old_of(id.as_str())
            .map_or(id, |old| &self.old.plan.operators[old].id)
    }

    // ------------------------------------------------------------------ exactness

    /// Windows that are over have given their rows, and an inexact input makes everything inexact.
    fn draw_consequences(&self, case: &Case<'_>, found: &mut Found) {
        let exact_inputs = case.exact_inputs.iter().all(|exact| *exact);
        if !matches!(found.exact, Exactness::Yes | Exactness::No)
            && found.verdict != Verdict::Unchanged
            && !exact_inputs
        {
            found.exact = Exactness::No;
        }
        let computed = matches!(found.verdict, Verdict::Rebuilt | Verdict::Replayed);
        if computed && case.operator.ttl.is_some() {
            // When each key was last seen, and what has gone since, is not in the inputs.
            found.exact = Exactness::No;
        }
        if !emits(case.operator) {
            return;
        }
        let watermark = |id| self.past.watermarks.get(id).copied();
        let over = watermark(self.id_before(&case.operator.id)).unwrap_or(EventTime(i64::MIN));
        if computed && found.exact == Exactness::Yes {
            let sources = self.sources_below(case.index).map(watermark);
            let least = sources.min().flatten().unwrap_or(EventTime(i64::MIN));
            found.exact = Exactness::Open(over.max(least));
        }
        if found.state == StateFrom::Filtered {
            found.exact = match found.exact {
                Exactness::Yes => Exactness::Open(over),
                Exactness::Open(time) => Exactness::Open(time.max(over)),
                _ => Exactness::No,
            };
        }
        let gives_others = case.old.is_some_and(|(old, _)| {
            self.old.nodes[old].columns != self.new.nodes[case.index].columns
        });
        if gives_others {
            found.exact = match std::mem::take(&mut found.exact) {
                Exactness::Yes => Exactness::Open(over),
                Exactness::Open(time) => Exactness::Open(time.max(over)),
                Exactness::From(time) => Exactness::From(time.max(over)),
                other => other,
            };
        }
        let rewatermarked = self.new.nodes[case.index].upstream.iter().any(|&below| {
            let operator = &self.new.plan.operators[below];
            operator.inputs.is_empty()
                && self.is_known_source(below)
                && !self.watermark_is_same(below)
        });
        if let (true, Exactness::From(time) | Exactness::Open(time)) =
            (rewatermarked, &mut found.exact)
        {
            let read = self
                .sources_below(case.index)
                .filter_map(|id| self.past.greatest_times.get(id));
            let last = read.max().map_or(i64::MIN, |time| time.0.saturating_add(1));
            *time = (*time).max(EventTime(last));
        }
    }

    // ------------------------------------------------------------------ report

    fn report(&self, case: &Case<'_>, found: Found) -> OperatorReport {
        let inherited = case.operator.inputs.iter().zip(&case.exact_inputs);
        let inherited: BTreeSet<usize> = inherited
            .filter(|(_, exact)| !**exact && found.exact != Exactness::Yes)
            .flat_map(|(input, _)| self.new.nodes[input.from].bases.clone())
            .filter(|base| {
                self.found
                    .get(base)
                    .is_some_and(|found| found.exact != Exactness::Yes)
            })
            .collect();
        let inherited: Vec<_> = inherited
            .into_iter()
            .map(|base| self.new.plan.operators[base].id.clone())
            .collect();
        let old = case.old.map(|(old, _)| old);
        let work = self.work(case.index, &found);
        let goes_on = matches!(found.verdict, Verdict::CarriedOver | Verdict::Partial);
        let words = words::operator(&words::Facts {
            judge: self,
            old: if goes_on { self.old_loosely } else { self.old },
            new: self.new,
            operators: (old, case.index),
            widened: self.widened,
            verdict: found.verdict,
            exact: &found.exact,
            state: &found.state,
            below: &self.found,
        });
        let id = &case.operator.id;
        let renamed = old.map(|old| &self.old.plan.operators[old].id);
        OperatorReport {
            id: id.clone(),
            renamed_from: renamed.filter(|old| *old != id).cloned(),
            role: id
                .as_str()
                .rsplit_once('/')
                .map_or(id.as_str(), |(_, role)| role)
                .to_owned(),
            verdict: found.verdict,
            exact: found.exact,
            inherited_from: inherited,
            state: found.state,
            reason: words.reason,
            effect: words.effect,
            advice: words.advice,
            span: case.operator.span,
            inputs: found.inputs,
            columns: Vec::new(),
            moved: self.moved_below(case.index),
            work,
        }
    }
}

fn yes_if(exact: bool) -> Exactness {
    if exact { Exactness::Yes } else { Exactness::No }
}
