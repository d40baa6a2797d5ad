//! `weir check FILE`: every mistake and warning, without running anything.

use serde_json::json;
use weir_planner::plan::{OperatorKind, StreamPlan};

use crate::arguments::CheckOptions;
use crate::exit::{Code, Failure};
use crate::query_file::QueryFile;
use crate::text::counted;

/// Warnings go to standard error and leave the exit code at 0; on standard output one line says that all is well, a
/// table what bounds each state table, and a line which results hang on the clock.
pub(crate) fn check(options: &CheckOptions) -> Result<Code, Failure> {
    let file = QueryFile::read(&options.file)?;
    if options.json {
        return check_for_programs(&file);
    }
    let planned = file.plan()?;
    file.warn(&planned.warnings);
    println!(
        "{}: ok, {}",
        file.shown,
        describe(&planned.plan, planned.warnings.len())
    );
    print!("{}", bounds(&planned.plan));
    let asking = weir_planner::asks_the_clock(&planned.plan);
    if !asking.is_empty() {
        let ids: Vec<&str> = asking.iter().map(|id| id.as_str()).collect();
        println!(
            "  by the clock (another run over the same input gives another result): {}",
            ids.join(", ")
        );
    }
    Ok(Code::Done)
}

/// The same as one JSON object; `ok` is false, and the exit code that of a mistake, if it cannot be planned.
fn check_for_programs(file: &QueryFile) -> Result<Code, Failure> {
    let (ok, value) = match file.diagnose() {
        Err(errors) => (
            false,
            json!({"file": file.shown, "ok": false, "diagnostics": errors.0}),
        ),
        Ok(planned) => {
            let state = weir_planner::bounds_summary(&planned.plan);
            let state = state.iter().map(|[operator, table, bound, line]| {
                json!({"operator": operator, "table": table, "bounded_by": bound, "line": line.parse::<u64>().ok()})
            });
            let asking = weir_planner::asks_the_clock(&planned.plan);
            let value = json!({
                "file": file.shown,
                "ok": true,
                "diagnostics": planned.warnings,
                "operators": planned.plan.operators.len(),
                "state": state.collect::<Vec<_>>(),
                "by_the_clock": asking.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
            });
            (true, value)
        }
    };
    println!("{value}");
    Ok(if ok { Code::Done } else { Code::Usage })
}

/// What bounds each state table, one line each; nothing for a plan without state.
fn bounds(plan: &StreamPlan) -> String {
    let lines = weir_planner::bounds_summary(plan);
    let width = |column: usize, title: &str| {
        let longest = lines.iter().map(|line| line[column].chars().count()).max();
        longest.unwrap_or(0).max(title.len())
    };
    let widths = [
        width(0, "operator"),
        width(1, "state"),
        width(2, "bounded by"),
    ];
    let row = |cells: [&str; 4]| {
        let [operator, table, bound, place] = cells;
        let [first, second, third] = widths;
        format!("  {operator:<first$}  {table:<second$}  {bound:<third$}  {place}\n")
    };
    let mut text = String::new();
    if !lines.is_empty() {
        text.push_str(&row(["operator", "state", "bounded by", "line"]));
    }
    for [operator, table, bound, place] in &lines {
        text.push_str(&row([operator, table, bound, place]));
    }
    text
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
