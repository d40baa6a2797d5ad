//! Why a verdict is what it is, what it means for the output, and what to do: in sentences.

use std::collections::BTreeMap;

use super::judge::Judge;
use super::report::{Exactness, OperatorReport, StartAt, StateFrom, Verdict};
use super::shape::{Groups, Join, Rank, Shape};
use super::trace::{Trace, Traced};
use super::widened::{Widenings, holds};
use crate::plan::OperatorKind;

/// What is known of an operator when its report is written.
pub(super) struct Facts<'a> {
    pub(super) judge: &'a Judge<'a>,
    pub(super) old: &'a Trace<'a>,
    pub(super) new: &'a Trace<'a>,
    /// Columns that are wider now, by what they were.
    pub(super) widened: &'a Widenings,
    /// Its index in the old plan, if it is there, and in the new one.
    pub(super) operators: (Option<usize>, usize),
    pub(super) verdict: Verdict,
    pub(super) exact: &'a Exactness,
    pub(super) state: &'a StateFrom,
    pub(super) below: &'a BTreeMap<usize, OperatorReport>,
}

/// The sentences.
pub(super) struct Words {
    pub(super) reason: String,
    pub(super) effect: String,
    pub(super) advice: String,
}

/// The sentences of one operator.
pub(super) fn operator(facts: &Facts<'_>) -> Words {
    let mut changes = changes(facts);
    changes.extend(moved(facts));
    let id = &facts.new.plan.operators[facts.operators.1].id;
    let unclear = facts.judge.unclear.get(id.as_str());
    let reason = match (unclear, facts.verdict, changes.is_empty()) {
        (Some(olds), ..) => {
            let olds: Vec<String> = olds.iter().map(|id| format!("`{id}`")).collect();
            format!(
                "{} of the old query are told apart by a number alone, and none of them does what this one does: which of them it \
                 is cannot be said",
                olds.join(" and ")
            )
        }
        (_, Verdict::New, _) => "there is no state of that name".to_owned(),
        (_, _, true) => "nothing that it keeps or computes has changed".to_owned(),
        (_, _, false) => changes.join("; "),
    };
    Words {
        reason,
        effect: effect(facts),
        advice: advice(facts, id.as_str()),
    }
}

fn effect(facts: &Facts<'_>) -> String {
    let from_then_on = match facts.exact {
        Exactness::From(Exactness::UNKNOWN) => {
            " Windows that start after all that was read before the change are exact.".to_owned()
        }
        Exactness::From(time) => format!(" Windows that start at {time} or later are exact."),
        Exactness::Open(time) if time.0 == i64::MIN => {
            " Windows that are still open are exact; those that have closed stay as they were given.".to_owned()
        }
        Exactness::Open(time) => format!(
            " Windows that end after {time} are exact; those that have closed stay as they were given."
        ),
        Exactness::Columns(_) if facts.verdict == Verdict::CarriedOver => {
            " Columns that are not made of what has a wider type stay exact.".to_owned()
        }
        Exactness::Columns(_) => " The columns that were there before stay exact.".to_owned(),
        Exactness::Yes | Exactness::No => String::new(),
    };
    let effect = match (facts.verdict, facts.state) {
        (Verdict::Unchanged, _) => "It goes on as if nothing had happened.",
        (Verdict::Migrated, StateFrom::Merged) => {
            "Groups that differed only in what was dropped become one; nothing is lost."
        }
        (Verdict::Migrated, StateFrom::Filtered) => {
            "What the condition excludes is removed from its state; the rest is as the new query would have it."
        }
        (Verdict::Migrated, _) if keeps_its_columns(facts) => {
            "Its state is rewritten in the wider type; nothing is lost."
        }
        (Verdict::Migrated, _) => {
            "What it no longer needs is left out of its state; the rest is as it was."
        }
        (Verdict::Rebuilt, StateFrom::Sides(_)) if is_lookup(facts) => {
            "Its right side is computed afresh from what the operators below it hold, before the first new row is read: rows that \
             come from now on meet that. What was looked up before stays as it was given."
        }
        (Verdict::Rebuilt, StateFrom::Sides(_)) => {
            "Its result is computed afresh from the rows that its sides hold, before the first new row is read."
        }
        (Verdict::Rebuilt, _) => {
            "Its state is computed afresh from what the operators below it hold, before the first new row is read."
        }
        (Verdict::Replayed, _) if begins(facts).next().is_some() => {
            return format!(
                "Its state is computed afresh by reading again what was read up to where the job stands; {} new, nothing of it has \
                 been read yet, and all of it comes after that.{from_then_on}",
                are(&begins(facts).collect::<Vec<_>>())
            );
        }
        (Verdict::Replayed, _) => {
            "Its state is computed afresh by reading the source again up to where the job stands."
        }
        (Verdict::CarriedOver, _) if *facts.exact == Exactness::Yes => {
            "It has not read a row yet, so that nothing is mixed."
        }
        (Verdict::CarriedOver, _) => {
            "It keeps what it has counted under the old query and goes on counting under the new one, so its results mix both."
        }
        (Verdict::Partial, _) if *facts.exact == Exactness::No => {
            "What was added starts empty and counts from this point on; what was there before mixes the old query and the new one."
        }
        (Verdict::Partial, _) => "What was added starts empty and counts from this point on.",
        (Verdict::New, _) if *facts.exact == Exactness::Yes => {
            "It starts empty, and misses nothing: all that it reads is new as well, and is read from its beginning."
        }
        (Verdict::New, _) => "It starts empty and sees only the rows that come from now on.",
        (Verdict::Dropped, _) => "Its state is left behind.",
        (Verdict::Incompatible, _) => {
            "Its state says nothing about what the new query asks, and cannot be used."
        }
    };
    format!("{effect}{from_then_on}")
}

/// The tables below it that are new in the edited query and read from their beginning.
fn begins<'f>(facts: &'f Facts<'_>) -> impl Iterator<Item = String> + 'f {
    let (judge, index) = (facts.judge, facts.operators.1);
    let operators = &facts.new.plan.operators;
    let below = facts.new.nodes[index].upstream.iter();
    let begin = below.filter(move |&&at| judge.begins(at));
    begin.filter_map(move |&at| match &operators[at].kind {
        OperatorKind::Source { table, .. } => Some(format!("`{table}`")),
        _ => None,
    })
}

/// `a is`, `a and b are`.
fn are(names: &[String]) -> String {
    let word = if names.len() == 1 { "is" } else { "are" };
    format!("{} {word}", names.join(" and "))
}

/// Sources below it go on elsewhere.
fn moved(facts: &Facts<'_>) -> Vec<String> {
    let judge = facts.judge;
    let moved = judge.moved_below(facts.operators.1).into_iter();
    moved
        .map(|id| {
            let index = facts.new.plan.operators.iter().position(|operator| operator.id == id);
            match index.map(|index| judge.start_of(index)) {
                Some(StartAt::Earliest) => {
                    format!("`{id}` is read from its beginning again, so that rows come twice")
                }
                Some(StartAt::Latest) => {
                    format!("`{id}` goes on behind all that is there now, so that rows before that never come")
                }
                _ => format!("`{id}` goes on at another time, so that rows come twice or never"),
            }
        })
        .collect()
}

fn is_lookup(facts: &Facts<'_>) -> bool {
    let operator = &facts.new.plan.operators[facts.operators.1];
    matches!(operator.kind, OperatorKind::LookupJoin { .. })
}

fn advice(facts: &Facts<'_>, id: &str) -> String {
    if facts.verdict == Verdict::Rebuilt && is_lookup(facts) {
        return format!("--accept '{id}' takes that");
    }
    if let (Verdict::Incompatible, Some(olds)) = (facts.verdict, facts.judge.unclear.get(id)) {
        return format!(
            "name the block, /*+ ID('name') */ after SELECT, and say which it is, --rename '{}=…/{}'; or --replay '{id}' computes \
             it from the source, if that can be read again; --start-empty '{id}' gives up what they hold",
            olds[0],
            olds[0].rsplit_once('/').map_or(id, |(_, role)| role)
        );
    }
    let never = facts.judge.cannot_be_replayed(facts.operators.1);
    if let (Some(never), false) = (never, *facts.exact == Exactness::Yes) {
        return match facts.verdict {
            Verdict::CarriedOver | Verdict::Partial => {
                format!("--accept '{id}' takes it as it is; {never}")
            }
            Verdict::New => format!("--accept '{id}' starts it now; {never}"),
            Verdict::Incompatible => format!(
                "--start-empty '{id}' gives its state up, or leave the running query as it is and give the new one another name; \
                 {never}"
            ),
            _ => String::new(),
        };
    }
    match (facts.verdict, facts.exact) {
        (Verdict::CarriedOver | Verdict::Partial | Verdict::New, Exactness::Yes) => String::new(),
        (Verdict::CarriedOver | Verdict::Partial, _) => format!(
            "--accept '{id}' takes it as it is; --replay '{id}' makes it exact if its source can be read again"
        ),
        (Verdict::New, _) => format!(
            "--accept '{id}' starts it now; --replay '{id}' fills it from the source, if that can be read again"
        ),
        (Verdict::Incompatible, _) => format!(
            "--replay '{id}' computes it from the source, if that can be read again; --start-empty '{id}' gives its state up; \
             or leave the running query as it is and give the new one another name"
        ),
        _ => String::new(),
    }
}

/// Whether nothing but the type of columns is another.
fn keeps_its_columns(facts: &Facts<'_>) -> bool {
    let (Some(old), new) = facts.operators else {
        return false;
    };
    facts.old.nodes[old].shape == facts.new.nodes[new].shape
}

/// What is not as it was, each as a clause.
fn changes(facts: &Facts<'_>) -> Vec<String> {
    let (Some(old), new) = facts.operators else {
        return Vec::new();
    };
    let mut clauses = Vec::new();
    let names = Names {
        old: inputs(facts.old, old),
        new: inputs(facts.new, new),
    };
    if let (Some(old), Some(new)) = (&facts.old.nodes[old].shape, &facts.new.nodes[new].shape) {
        own(old, new, &names, &mut clauses);
    }
    if facts.old.plan.operators[old].ttl != facts.new.plan.operators[new].ttl {
        clauses.push("its state is kept for another time".to_owned());
    }
    below(facts, old, new, &mut clauses);
    wider(facts, new, &mut clauses);
    clauses
}

/// What it reads in a wider type now.
fn wider(facts: &Facts<'_>, new: usize, clauses: &mut Vec<String>) {
    // What is computed afresh takes whatever is below it.
    let computed = matches!(facts.verdict, Verdict::Rebuilt | Verdict::Unchanged);
    for input in &facts.new.plan.operators[new].inputs {
        let node = &facts.new.nodes[input.from];
        for (column, shown) in node.columns.iter().zip(&node.shown) {
            let held = facts.widened.exact.values().any(|wide| wide == column);
            let mut lossy = facts.widened.lossy.values();
            let lossy = lossy.find(|(wide, _)| !computed && holds(column, wide));
            let clause = match lossy {
                Some((_, loss)) => loss.clause(shown),
                None if held => format!("`{shown}` has a wider type"),
                None => continue,
            };
            if !clauses.contains(&clause) {
                clauses.push(clause);
            }
        }
    }
}

/// The names for people of the columns that each version reads.
struct Names {
    old: BTreeMap<String, String>,
    new: BTreeMap<String, String>,
}

impl Names {
    fn of<'n>(&'n self, column: &'n str) -> &'n str {
        let name = self.new.get(column).or_else(|| self.old.get(column));
        name.map_or(column, String::as_str)
    }

    fn list<'n>(&'n self, columns: impl Iterator<Item = &'n String>) -> String {
        let names: Vec<String> = columns
            .map(|column| format!("`{}`", self.of(column)))
            .collect();
        names.join(", ")
    }
}

fn inputs(trace: &Trace<'_>, index: usize) -> BTreeMap<String, String> {
    let operator = &trace.plan.operators[index];
    let inputs = operator.inputs.iter().map(|input| &trace.nodes[input.from]);
    let named = |node: &Traced| {
        node.columns
            .iter()
            .cloned()
            .zip(node.shown.iter().cloned())
            .collect::<Vec<_>>()
    };
    inputs
        .chain([&trace.nodes[index]])
        .flat_map(named)
        .collect()
}

fn own(old: &Shape, new: &Shape, names: &Names, clauses: &mut Vec<String>) {
    match (old, new) {
        (Shape::Groups(old), Shape::Groups(new)) => groups(old, new, names, clauses),
        (Shape::Join(old), Shape::Join(new)) => join(old, new, names, clauses),
        (Shape::Rank(old), Shape::Rank(new)) => rank(old, new, names, clauses),
        _ if old != new => clauses.push("what it computes has changed".to_owned()),
        _ => {}
    }
}

/// `one is new`, `two are new`.
fn counted(list: String, count: usize, one: &str, many: &str, rest: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("{one} {list} is {rest}")),
        _ => Some(format!("{many} {list} are {rest}")),
    }
}

fn groups(old: &Groups, new: &Groups, names: &Names, clauses: &mut Vec<String>) {
    if old.window != new.window {
        clauses.push(match (&old.window, &new.window) {
            (None, Some(_)) => "it groups by a window now".to_owned(),
            (Some(_), None) => "it does not group by a window any more".to_owned(),
            _ => "its window has changed".to_owned(),
        });
    }
    let added = new.keys.difference(&old.keys);
    let gone = old.keys.difference(&new.keys);
    let (added_count, gone_count) = (added.clone().count(), gone.clone().count());
    clauses.extend(counted(
        names.list(added),
        added_count,
        "the group key",
        "the group keys",
        "new",
    ));
    clauses.extend(counted(
        names.list(gone),
        gone_count,
        "the group key",
        "the group keys",
        "gone",
    ));
    let added: Vec<&String> = new
        .calls
        .keys()
        .filter(|call| !old.calls.contains_key(*call))
        .collect();
    let gone: Vec<&String> = old
        .calls
        .keys()
        .filter(|call| !new.calls.contains_key(*call))
        .collect();
    let list = |calls: &[&String]| names.list(calls.iter().copied());
    clauses.extend(counted(
        list(&added),
        added.len(),
        "the aggregate",
        "the aggregates",
        "new",
    ));
    clauses.extend(counted(
        list(&gone),
        gone.len(),
        "the aggregate",
        "the aggregates",
        "gone",
    ));
    if old.updating != new.updating {
        clauses.push(rows_taken_back(new.updating));
    }
}

fn rows_taken_back(now: bool) -> String {
    if now {
        "rows of its input can be taken back now".to_owned()
    } else {
        "rows of its input are not taken back any more".to_owned()
    }
}

fn join(old: &Join, new: &Join, names: &Names, clauses: &mut Vec<String>) {
    if old.kind != new.kind {
        clauses.push(format!(
            "it is {} join now and was {} join",
            article(&new.kind),
            article(&old.kind)
        ));
    }
    if old.on != new.on {
        clauses.push("its keys have changed".to_owned());
    }
    if old.residual != new.residual {
        clauses.push("its further conditions in ON have changed".to_owned());
    }
    for (side, name) in ["left", "right"].into_iter().enumerate() {
        let (old, new) = (&old.stored[side], &new.stored[side]);
        let added = new.difference(old);
        let gone = old.difference(new);
        let (added_count, gone_count) = (added.clone().count(), gone.clone().count());
        let rest = |word: &str| format!("{word} on its {name} side");
        clauses.extend(counted(
            names.list(added),
            added_count,
            "the column",
            "the columns",
            &rest("new"),
        ));
        clauses.extend(counted(
            names.list(gone),
            gone_count,
            "the column",
            "the columns",
            &rest("gone"),
        ));
    }
    if old.updating != new.updating {
        clauses.push(rows_taken_back(new.updating.contains(&true)));
    }
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

fn rank(old: &Rank, new: &Rank, names: &Names, clauses: &mut Vec<String>) {
    if old.function != new.function {
        clauses.push(format!(
            "it numbers by {} now and did by {}",
            new.function.to_uppercase(),
            old.function.to_uppercase()
        ));
    }
    if old.partition != new.partition {
        clauses.push("its partition has changed".to_owned());
    }
    if old.order != new.order {
        clauses.push("its order has changed".to_owned());
    }
    if old.bounds != new.bounds {
        let last = |rank: &Rank| {
            rank.bounds
                .last
                .map_or("all rows".to_owned(), |last| format!("{last}"))
        };
        clauses.push(format!(
            "it keeps {} of each partition now and kept {}",
            last(new),
            last(old)
        ));
    }
    let (added, gone) = (
        new.stored.difference(&old.stored),
        old.stored.difference(&new.stored),
    );
    let (added_count, gone_count) = (added.clone().count(), gone.clone().count());
    clauses.extend(counted(
        names.list(added),
        added_count,
        "the column",
        "the columns",
        "new in its rows",
    ));
    clauses.extend(counted(
        names.list(gone),
        gone_count,
        "the column",
        "the columns",
        "gone from its rows",
    ));
    if old.updating != new.updating {
        clauses.push(rows_taken_back(new.updating));
    }
}

/// What has changed below an operator.
fn below(facts: &Facts<'_>, old: usize, new: usize, clauses: &mut Vec<String>) {
    let old_inputs = &facts.old.plan.operators[old].inputs;
    let new_inputs = &facts.new.plan.operators[new].inputs;
    for (old_input, new_input) in old_inputs.iter().zip(new_inputs) {
        let old = &facts.old.nodes[old_input.from].relation;
        let new_node = &facts.new.nodes[new_input.from];
        let new = &new_node.relation;
        for (text, conjunct) in &new.conjuncts {
            if !old.conjuncts.contains_key(text) {
                clauses.push(format!(
                    "the condition `{}` below it is new",
                    conjunct.shown
                ));
            }
        }
        for (text, conjunct) in &old.conjuncts {
            if !new.conjuncts.contains_key(text) {
                clauses.push(format!(
                    "the condition `{}` below it is gone",
                    conjunct.shown
                ));
            }
        }
        let changed = new_node
            .bases
            .iter()
            .filter_map(|base| facts.below.get(base));
        for report in changed.filter(|report| report.verdict != Verdict::Unchanged) {
            clauses.push(format!(
                "`{}` below it is {}",
                report.id,
                report.verdict.word()
            ));
        }
        if old.below(false) == new.below(false) && old.below(true) != new.below(true) {
            clauses.push("a watermark below it is declared otherwise".to_owned());
        }
        if old.below(true) != new.below(true) && clauses.is_empty() {
            clauses.push("what it reads has changed".to_owned());
        }
    }
}
