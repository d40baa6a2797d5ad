//! `weir check FILE`: every mistake and warning, without running anything.

use weir_planner::plan::{OperatorKind, StreamPlan};

use crate::arguments::CheckOptions;
use crate::exit::{Code, Failure};
use crate::query_file::QueryFile;
use crate::text::counted;

/// Warnings go to standard error and leave the exit code at 0; one line on standard output says that all is well.
pub(crate) fn check(options: &CheckOptions) -> Result<Code, Failure> {
    let file = QueryFile::read(&options.file)?;
    let planned = file.plan()?;
    file.warn(&planned.warnings);
    println!(
        "{}: ok, {}",
        file.shown,
        describe(&planned.plan, planned.warnings.len())
    );
    Ok(Code::Done)
}

fn describe(plan: &StreamPlan, warnings: usize) -> String {
    let count = |wanted: fn(&OperatorKind) -> bool| {
        plan.operators
            .iter()
            .filter(|operator| wanted(&operator.kind))
            .count()
    };
    let sources = count(|kind| matches!(kind, OperatorKind::Source { .. }));
    let sinks = count(|kind| {
        matches!(
            kind,
            OperatorKind::Sink { .. } | OperatorKind::Output { .. }
        )
    });
    let stateful = plan
        .operators
        .iter()
        .filter(|operator| !operator.state.is_empty())
        .count();
    let mut parts = vec![
        counted(sinks as u64, "query", "queries"),
        counted(sources as u64, "source", "sources"),
        counted(
            stateful as u64,
            "operator with state",
            "operators with state",
        ),
    ];
    if warnings > 0 {
        parts.push(counted(warnings as u64, "warning", "warnings"));
    }
    parts.join(", ")
}
