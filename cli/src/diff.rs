//! `weir diff NEW --from OLD`: what an edit does to the state of a running job, before anything stops.

use std::collections::BTreeSet;
use std::io::Write;

use weir_engine::{Before, foreseen, sources_to_replay, with_what_is_below};
use weir_planner::compare::{Choices, Past, Replay, Report, StateFrom, advice};
use weir_planner::plan::StreamPlan;
use weir_types::OperatorId;

use crate::arguments::DiffOptions;
use crate::evolution::{EvolutionFlags, replay};
use crate::exit::{Code, Failure};
use crate::print::is_closed_pipe;
use crate::query_file::QueryFile;
use crate::target::Old;
use crate::text::counted;

/// Prints the report to standard output.
pub(crate) fn diff(options: &DiffOptions) -> Result<Code, Failure> {
    let new = QueryFile::read(&options.file)?;
    let old = Old::open(&options.from, options.state_dir.as_deref())?;
    let planned = new.plan()?;
    new.warn(&planned.warnings);
    let report = judge(old.plan(), &planned.plan, &old.past(), &options.evolution)?;
    if let Old::Job(before) = &old {
        tell_sources(&planned.plan, &report, before)?;
    }
    let text = if options.json {
        let json = serde_json::to_string_pretty(&report).map_err(Failure::failed)?;
        format!("{json}\n")
    } else {
        advice(&report)
    };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if !is_closed_pipe(&error) => {
            Err(Failure::failed(format!("cannot print: {error}")))
        }
        _ => Ok(Code::Done),
    }
}

/// Judges an edit as the flags want it, and says on standard error what they imply.
pub(crate) fn judge(
    old: &StreamPlan,
    new: &StreamPlan,
    past: &Past,
    edit: &EvolutionFlags,
) -> Result<Report, Failure> {
    let mut choices = choices(new, edit)?;
    let all = with_what_is_below(old, new, past, &choices);
    if let (Replay::Only(wanted), Replay::Only(all)) = (&choices.replay, &all) {
        let along: Vec<&str> = all.difference(wanted).map(OperatorId::as_str).collect();
        if !along.is_empty() {
            eprintln!(
                "note: replayed along, because what is above reads it: {}",
                along.join(", ")
            );
        }
    }
    choices.replay = all;
    Ok(foreseen(old, new, past, &choices))
}

/// The flags. What they name has to be there: a slip of the pen must not pass for a wish that changes nothing.
pub(crate) fn choices(new: &StreamPlan, edit: &EvolutionFlags) -> Result<Choices, Failure> {
    let replay = replay(&edit.replay);
    if let Replay::Only(ids) = &replay {
        for id in ids {
            if new.operators.iter().all(|operator| operator.id != *id) {
                return Err(Failure::usage(format!(
                    "--replay: the new query has no operator `{id}`; `weir explain` shows the IDs"
                )));
            }
        }
    }
    for (table, _) in &edit.sources {
        let id = format!("{table}/source");
        if new
            .operators
            .iter()
            .all(|operator| operator.id.as_str() != id)
        {
            return Err(Failure::usage(format!(
                "--sources: the new query reads no table `{table}`"
            )));
        }
    }
    Ok(Choices {
        replay,
        renames: edit.rename.iter().cloned().collect(),
        sources: edit.sources.iter().cloned().collect(),
    })
}

/// The operators whose state is made by reading sources again.
pub(crate) fn replayed(report: &Report) -> BTreeSet<OperatorId> {
    report
        .operators
        .iter()
        .filter(|operator| operator.state == StateFrom::Replay)
        .map(|operator| operator.id.clone())
        .collect()
}

/// Looks whether what is to be replayed can be read again, and says how much that is.
pub(crate) fn tell_sources(
    plan: &StreamPlan,
    report: &Report,
    before: &Before,
) -> Result<(), Failure> {
    let replayed = replayed(report);
    if replayed.is_empty() {
        return Ok(());
    }
    let base = std::env::current_dir()
        .map_err(|error| Failure::failed(format!("no current folder: {error}")))?;
    let tables = sources_to_replay(plan, &replayed, &before.manifest, &base)
        .map_err(|error| Failure::plain(&error))?;
    for table in tables {
        eprintln!(
            "note: {} of `{}` would be read again",
            counted(table.records, "record", "records"),
            table.table
        );
    }
    Ok(())
}
