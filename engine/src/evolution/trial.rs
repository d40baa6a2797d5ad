//! A trial: the new query on a copy of a job's state, where nothing that it does is seen by anybody else.

use std::path::Path;

use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_state::Savepoint;

use super::again::unpaced;
use crate::{Error, Result};

/// How a trial shows rows.
#[derive(Clone, Copy, Debug)]
pub struct TrialOutput {
    /// So many of each sink.
    pub rows: u64,
    /// As lines of JSON.
    pub json: bool,
}

/// A plan that prints what its sinks would get, and writes nowhere.
///
/// # Errors
/// E0045 for a source from which reading would take something away.
pub fn on_trial(plan: &StreamPlan, output: TrialOutput) -> Result<StreamPlan> {
    let mut plan = without_sinks(plan, output);
    for operator in &plan.operators {
        let OperatorKind::Source { table, .. } = &operator.kind else {
            continue;
        };
        let options = plan.tables.get(table).map(|table| &table.options);
        if !options.is_none_or(weir_connectors::can_be_read_again) {
            return Err(Error::Job(format!(
                "[E0045] table `{table}` cannot be read twice: what a trial reads, the job would never see. Try the query on a table \
                 of files that holds some of the same rows"
            )));
        }
    }
    plan.settings.remove("savepoint.interval");
    plan.settings.remove("checkpoint.storage");
    Ok(plan)
}

fn without_sinks(plan: &StreamPlan, output: TrialOutput) -> StreamPlan {
    let mut plan = unpaced(plan.clone());
    for operator in &plan.operators {
        let OperatorKind::Sink { table } = &operator.kind else {
            continue;
        };
        if let Some(table) = plan.tables.get_mut(table) {
            table.options = [
                ("connector", "print".to_owned()),
                ("print.rows", output.rows.to_string()),
                (
                    "print.format",
                    if output.json { "json" } else { "plain" }.to_owned(),
                ),
            ]
            .map(|(key, value)| (key.to_owned(), value))
            .into();
            table.partitioned_by.clear();
        }
    }
    plan
}

/// The savepoint to start a trial from: its old plan writes nowhere either, so that nobody looks for what it wrote.
///
/// # Errors
/// When it cannot be copied.
pub fn copy_for_trial(
    savepoint: &Savepoint,
    folder: &Path,
    output: TrialOutput,
) -> Result<Savepoint> {
    let plan = super::Before::of_savepoint(savepoint)?.plan;
    let plan = serde_json::to_value(without_sinks(&plan, output))
        .map_err(|error| Error::Job(format!("cannot write the plan of the trial: {error}")))?;
    Ok(savepoint.copied_to(folder, plan)?)
}
