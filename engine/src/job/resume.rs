//! Whether a plan may go on from a checkpoint: until a judged edit can be carried out, only if what is kept is the same.
//!
//! Of every operator that keeps something (state, a source's position, a sink's parts) the ID, the state schema and the
//! fingerprints, its own and that of everything upstream, must be equal.

use std::collections::BTreeMap;

use weir_planner::compare::{Choices, Past, advice, compare};
use weir_planner::plan::{Operator, OperatorKind, StreamPlan};
use weir_types::OperatorId;

use crate::catalog::ConnectorCatalog;
use crate::{Error, Result};

/// Compares the plan of a checkpoint with the one to be run.
pub(crate) fn check(job: &str, old_plan: &StreamPlan, new_plan: &StreamPlan) -> Result<()> {
    let (old, new) = (kept(old_plan), kept(new_plan));
    let mut differences = Vec::new();
    for (id, operator) in &old {
        match new.get(id) {
            None => differences.push(format!("{id}: is not in the query any more")),
            Some(now) => {
                differences.extend(difference(operator, now).map(|what| format!("{id}: {what}")))
            }
        }
    }
    for id in new.keys().filter(|id| !old.contains_key(*id)) {
        differences.push(format!("{id}: is new; the checkpoint knows nothing of it"));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let judged = judged(old_plan, new_plan).unwrap_or_else(|| differences.join("\n"));
    Err(Error::Job(format!(
        "the query is not the one that the checkpoint of job `{job}` was taken from. What the edit would do:\n\n{judged}\n\
         This release judges an edit and cannot carry it out yet: put the query back as it was, or run it with --fresh (it \
         starts from the beginning), or give it another name with SET 'job.name' = '…'",
    )))
}

/// What the edit would do to the job's state; `None` if the judge sees no difference.
fn judged(old: &StreamPlan, new: &StreamPlan) -> Option<String> {
    let (past, choices) = (Past::default(), Choices::default());
    let mut report = compare(old, new, &past, &choices, &ConnectorCatalog);
    // What it would advise cannot be done yet.
    for operator in &mut report.operators {
        operator.advice.clear();
    }
    (!report.is_unchanged()).then(|| advice(&report))
}

fn kept(plan: &StreamPlan) -> BTreeMap<&OperatorId, &Operator> {
    plan.operators
        .iter()
        .filter(|operator| {
            operator.is_stateful()
                || matches!(
                    operator.kind,
                    OperatorKind::Source { .. } | OperatorKind::Sink { .. }
                )
        })
        .map(|operator| (&operator.id, operator))
        .collect()
}

fn difference(old: &Operator, new: &Operator) -> Option<&'static str> {
    if old.state != new.state {
        Some("keeps other columns")
    } else if old.fingerprint != new.fingerprint {
        Some("was changed")
    } else if old.upstream_fingerprint != new.upstream_fingerprint {
        Some("reads what was changed upstream of it")
    } else {
        None
    }
}
