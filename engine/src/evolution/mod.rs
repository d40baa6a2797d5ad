//! An edited query goes on from the state of the old one: EVOLUTION 4 and 5.
//!
//! ```text
//!   old manifest ─┐                         refused: report and command
//!                 ├─▶ judge ─▶ accepted? ──┤
//!   new plan ─────┘   (planner)             ▼
//!                                        Transition      what each table, position, watermark and sink goes on from
//!        in this order, before the workers: ─┤
//!          1 migrate    kept, mapped, merged, filtered, nothing: each table from the old snapshot        tables.rs
//!          2 replay     a bounded run without sinks; its tables are put in place                         replay.rs
//!          3 bootstrap  from the recoverable outputs of what is in place; the difference at the sinks    bootstrap/
//!        on each worker: state is opened as the transition says; what merges is filled                   fill.rs
//! ```
//!
//! # Invariants
//! 1. Until the first checkpoint of the new query is durable nothing of the old one's is touched: a crash before it leads
//!    the same start through the same stages again.
//! 2. A table that is taken over as it is is linked where it can be, whatever becomes of the tables beside it.
//! 3. What a verdict calls exact is exact: whatever a stage cannot carry out is an error before anything is read.

mod accept;
mod again;
mod before;
pub(crate) mod bootstrap;
mod change;
mod fill;
mod options;
mod past;
mod places;
mod positions;
pub(crate) mod replay;
mod tables;
mod trial;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use weir_planner::compare::{
    Choices, Past, Replay, Report, StartAt, TableMapping, compare, mappings, renamed,
    replayed_along, same_target,
};
use weir_planner::plan::{Operator, OperatorKind, StreamPlan};
use weir_state::{CheckpointStore, Manifest, Restoring};

pub use again::{Again, SourceToRead};
pub(crate) use again::{SourceAgain, SplitAgain};
pub use before::Before;
pub use options::{Accept, EvolutionOptions, ReplayWatch};
pub use past::{Accepted, Evolution, past_of};
pub use replay::{ReplayOrder, Replayed, replay, sources_to_replay};
pub use trial::{TrialOutput, copy_for_trial, on_trial};

pub(crate) use fill::fill;
pub(crate) use places::can_start_at;
pub(crate) use tables::Merge;

use crate::catalog::ConnectorCatalog;
use crate::{Error, JobOptions, Result};

/// An edit that was judged and accepted; nothing was done yet.
pub(crate) struct Judged {
    /// The plan of the old manifest.
    pub(crate) old_plan: StreamPlan,
    pub(crate) report: Report,
    /// Old paths by what the new plan calls them.
    pub(crate) renames: BTreeMap<String, String>,
    mappings: Vec<TableMapping>,
    evolution: Evolution,
}

/// From what an edited query goes on. Stages fill it in, the workers read it.
pub(crate) struct Transition {
    pub(crate) old_plan: StreamPlan,
    /// The user's new plan.
    pub(crate) new_plan: StreamPlan,
    /// The plan that runs: with sinks for what is left out.
    pub(crate) plan: StreamPlan,
    pub(crate) report: Report,
    /// Old paths by what the new plan calls them.
    pub(crate) renames: BTreeMap<String, String>,
    pub(crate) mappings: Vec<TableMapping>,
    /// Where the old state is.
    pub(crate) store: Arc<CheckpointStore>,
    /// The old checkpoint as it is.
    pub(crate) old_manifest: Manifest,
    /// The same with positions, watermarks and counters under the IDs of the new plan.
    pub(crate) manifest: Manifest,
    /// Where each table of `plan` comes from. Its first source is the old checkpoint.
    pub(crate) restoring: Restoring,
    /// Tables that workers fill from the old state, because entries of theirs become one.
    pub(crate) merges: Vec<Merge>,
    /// The run that gave operators their state again: its files are there until workers have taken them.
    pub(crate) replayed: Option<Replayed>,
    /// What manifests say from now on.
    pub(crate) evolution: Evolution,
    /// What is computed from state before the new query starts.
    pub(crate) wiring: Option<bootstrap::Wiring>,
}

/// What a start is judged by.
pub(crate) struct Start<'a> {
    pub(crate) job: &'a str,
    pub(crate) plan: &'a StreamPlan,
    pub(crate) options: &'a EvolutionOptions,
    pub(crate) file: Option<&'a Path>,
}

/// Judges the query of a start against a manifest's; `None`: what it keeps is the same.
pub(crate) fn judge(start: &Start<'_>, manifest: &Manifest) -> Result<Option<Judged>> {
    let old_plan: StreamPlan = serde_json::from_value(manifest.plan.clone()).map_err(|error| {
        Error::Job(format!(
            "the plan in checkpoint {} cannot be read: {error}",
            manifest.checkpoint
        ))
    })?;
    let renames = renames(start, &old_plan)?;
    let moves = start
        .options
        .sources
        .values()
        .any(|at| *at != StartAt::Keep);
    if renames.is_empty() && !moves && keeps_the_same(&old_plan, start.plan) {
        return Ok(None);
    }
    let past = past_of(manifest, &old_plan)?;
    let mut choices = start.options.choices(renames.clone());
    choices.replay = with_what_is_below(&old_plan, start.plan, &past, &choices);
    let mut report = compare(&old_plan, start.plan, &past, &choices, &ConnectorCatalog);
    let refused = refusal(&old_plan, start.plan, &report, &choices);
    report.refused = refused.as_ref().map(ToString::to_string);
    let file = start.file.map(|file| file.display().to_string());
    accept::Edit {
        job: start.job,
        old: &old_plan,
        new: start.plan,
        past: &past,
        report: &report,
        options: start.options,
        file: file.as_deref(),
    }
    .check()?;
    if let Some(refused) = refused {
        return Err(refused);
    }
    let mappings = mappings(&old_plan, start.plan, &choices, &report);
    let evolution = Evolution::of(manifest)?.renamed(&renames);
    let old = (&old_plan, &renames);
    let evolution = evolution.after(&report, manifest.checkpoint, old, start.plan);
    Ok(Some(Judged {
        old_plan,
        report,
        renames,
        mappings,
        evolution,
    }))
}

/// Judges an edit, and says in the report whether it can be carried out at all: by the code that would do it.
pub fn foreseen(old: &StreamPlan, new: &StreamPlan, past: &Past, choices: &Choices) -> Report {
    let mut report = compare(old, new, past, choices, &ConnectorCatalog);
    report.refused = refusal(old, new, &report, choices).map(|refused| refused.to_string());
    report
}

/// What an edit is refused with whatever is accepted: a place in a source that nobody finds, rows that follow from no state.
fn refusal(
    old: &StreamPlan,
    new: &StreamPlan,
    report: &Report,
    choices: &Choices,
) -> Option<Error> {
    let places = positions::check(new, &choices.sources);
    let computed = || {
        let edit = bootstrap::Edit {
            old,
            new,
            report,
            mappings: &mappings(old, new, choices, report),
            renames: &weir_planner::compare::renames(old, new, choices),
        };
        bootstrap::wire(&edit).map(drop)
    };
    places
        .and_then(|()| accept::empty_below_changelog(new, report, &accept::misses_rows))
        .and_then(|()| computed())
        .and_then(|()| tables::check_sinks(old, new, report, choices))
        .err()
}

/// What `--replay` names, with every operator below that has to be replayed for it to be exact.
pub fn with_what_is_below(
    old: &StreamPlan,
    new: &StreamPlan,
    past: &Past,
    choices: &Choices,
) -> Replay {
    let Replay::Only(_) = &choices.replay else {
        return choices.replay.clone();
    };
    let without = Choices {
        replay: Replay::None,
        ..choices.clone()
    };
    let report = compare(old, new, past, &without, &ConnectorCatalog);
    replayed_along(new, &report, &choices.replay)
}

/// Whether a start on an edited query would be let through, with nothing done: what it would be refused with, if not.
///
/// # Errors
/// E0001 with the report and the command, and whatever else a start is refused for.
pub fn check_edit(
    job: &str,
    plan: &StreamPlan,
    options: &JobOptions,
    manifest: &Manifest,
) -> Result<()> {
    let start = Start {
        job,
        plan,
        options: &options.evolution,
        file: options.file.as_deref(),
    };
    judge(&start, manifest).map(drop)
}

impl Judged {
    /// Goes on from a checkpoint in the job's store; `plan` is the one that runs.
    pub(crate) fn start_from(
        self,
        manifest: Manifest,
        store: &Arc<CheckpointStore>,
        (job, options): (&str, &JobOptions),
        new_plan: &StreamPlan,
        plan: &StreamPlan,
    ) -> Result<Transition> {
        let mut transition = Transition {
            new_plan: new_plan.clone(),
            plan: plan.clone(),
            mappings: self.mappings,
            store: store.clone(),
            manifest: under_new_names(&manifest, &self.old_plan, &self.renames),
            restoring: Restoring {
                sources: vec![manifest.restore_from(store)],
                tables: Vec::new(),
            },
            old_plan: self.old_plan,
            report: self.report,
            renames: self.renames,
            old_manifest: manifest,
            merges: Vec::new(),
            replayed: None,
            evolution: self.evolution,
            wiring: None,
        };
        positions::apply(
            &transition.new_plan,
            &options.evolution.sources,
            &transition.report.sources,
            &options.base,
            &mut transition.manifest,
        )?;
        stages(&mut transition, job, options)?;
        Ok(transition)
    }
}

/// The stages, in order: each needs what the ones before it have put in place.
fn stages(transition: &mut Transition, job: &str, options: &JobOptions) -> Result<()> {
    crate::failpoint::pass("engine.evolution.before")?;
    tables::plan(transition)?;
    replay::run(transition, job, options)?;
    bootstrap::plan(transition)?;
    crate::failpoint::pass("engine.evolution.after")
}

/// What paths of the old plan are called now: by flags, and by hints in the query.
fn renames(start: &Start<'_>, old: &StreamPlan) -> Result<BTreeMap<String, String>> {
    let mut chosen = BTreeMap::new();
    let has = StreamPlan::has_path;
    for (from, to) in &start.options.renames {
        // A start that was interrupted after the new query's first checkpoint: it is done.
        if !has(old, from) && has(old, to) {
            continue;
        }
        let missing = [
            (old, from, "the old query"),
            (start.plan, to, "the new query"),
        ];
        if let Some((_, path, which)) = missing.iter().find(|(plan, path, _)| !has(plan, path)) {
            return Err(Error::Job(format!(
                "[E0005] --rename '{from}={to}': {which} has nothing called `{path}`; `weir explain` lists the IDs, a path is \
                 what stands before the `/`"
            )));
        }
        if has(old, to) {
            return Err(Error::Job(format!(
                "[E0006] --rename '{from}={to}': the old query has a `{to}` of its own, whose state would be in the way; give \
                 the new one another name"
            )));
        }
        chosen.insert(from.clone(), to.clone());
    }
    check_hints(start.plan, old, &chosen)?;
    let choices = start.options.choices(chosen);
    Ok(weir_planner::compare::renames(old, start.plan, &choices))
}

/// A hint must name something, unless it was followed already.
fn check_hints(
    new: &StreamPlan,
    old: &StreamPlan,
    chosen: &BTreeMap<String, String>,
) -> Result<()> {
    for (to, from) in &new.state_from {
        let followed = old.state_from.get(to) == Some(from) || chosen.get(from) == Some(to);
        if followed || (old.has_path(from) && !old.has_path(to)) {
            continue;
        }
        let why = if old.has_path(to) {
            format!(
                "the query that the state is from has a `{to}` of its own; take the hint out, or name the block otherwise"
            )
        } else {
            format!(
                "the query that the state is from has nothing called `{from}`; `weir explain` lists the IDs, a path is what \
                     stands before the `/`"
            )
        };
        return Err(Error::Job(format!(
            "[E0009] STATE_FROM('{from}') of `{to}`: {why}"
        )));
    }
    Ok(())
}

/// Whether of every operator that keeps something (state, a source's position, a sink's parts) the ID, the state schema
/// and the fingerprints, its own and that of everything upstream, are equal.
fn keeps_the_same(old: &StreamPlan, new: &StreamPlan) -> bool {
    let same = |old: &Operator, new: &Operator| {
        old.state == new.state
            && old.fingerprint == new.fingerprint
            && old.upstream_fingerprint == new.upstream_fingerprint
    };
    // A sink of which the table is written elsewhere has nothing there yet.
    let same_targets = old.operators.iter().all(|before| {
        let now = new.operator(&before.id);
        let tables = (
            old.table_of_sink(before),
            now.and_then(|now| new.table_of_sink(now)),
        );
        !matches!(tables, (Some(old), Some(new)) if !same_target(old, new))
    });
    let (old, new) = (kept(old), kept(new));
    same_targets
        && old.len() == new.len()
        && old
            .iter()
            .all(|(id, old)| new.get(id).is_some_and(|new| same(old, new)))
}

fn kept(plan: &StreamPlan) -> BTreeMap<&str, &Operator> {
    let keeps = |operator: &&Operator| {
        operator.is_stateful()
            || matches!(
                operator.kind,
                OperatorKind::Source { .. } | OperatorKind::Sink { .. }
            )
    };
    let kept = plan.operators.iter().filter(keeps);
    kept.map(|operator| (operator.id.as_str(), operator))
        .collect()
}

/// Positions, watermarks and counters under the IDs of the new plan. A watermark that an operator has is never lost: it
/// would go back.
fn under_new_names(
    manifest: &Manifest,
    old: &StreamPlan,
    renames: &BTreeMap<String, String>,
) -> Manifest {
    let mut manifest = manifest.clone();
    let ids: BTreeMap<String, String> = old
        .operators
        .iter()
        .map(|operator| {
            let id = operator.id.as_str();
            (id.to_owned(), renamed(id, renames))
        })
        .collect();
    let new = |id: &str| ids.get(id).cloned().unwrap_or_else(|| id.to_owned());
    let rename = |value: &mut Value, name: &dyn Fn(&str) -> String| {
        if let Value::Object(entries) = value {
            let old = std::mem::take(entries);
            entries.extend(old.into_iter().map(|(id, value)| (name(&id), value)));
        }
    };
    rename(&mut manifest.sources, &new);
    rename(&mut manifest.watermarks, &new);
    rename(&mut manifest.counters, &|name| match name.split_once(':') {
        Some((kind, id)) => format!("{kind}:{}", new(id)),
        None => name.to_owned(),
    });
    // An edited query has something to do, even if the old one was done.
    manifest.drained = false;
    manifest
}
