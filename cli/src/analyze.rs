//! `weir explain --analyze`: the query is run, and the plan says what each operator did.
//!
//! ```text
//!   plan ─▶ sinks that keep nothing ─▶ an ephemeral job, run to its end ─▶ counters of each operator beside the plan
//! ```
//!
//! # Invariants
//! 1. Nothing is written, and no job's folder is touched, unless `--write` asks for it.
//! 2. What has no end is not run without a limit.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_engine::{
    ConnectorCatalog, Error, JobHandle, JobMetrics, JobOptions, JobSummary, OperatorMetrics,
};
use weir_planner::Catalog;
use weir_planner::plan::{OperatorKind, StreamPlan};

use crate::arguments::ExplainOptions;
use crate::exit::Failure;
use crate::query_file::QueryFile;
use crate::signals::StopRequest;
use crate::text::{bytes, counted, elapsed, grouped};

/// Between two looks whether it has ended, or somebody wants it to.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What a run showed.
pub(crate) struct Analysis {
    summary: JobSummary,
    metrics: JobMetrics,
}

/// Runs the plan of a file as the flags say, and gives the text to print.
pub(crate) fn analyze(
    file: &QueryFile,
    mut plan: StreamPlan,
    options: &ExplainOptions,
    as_json: bool,
) -> Result<String, Failure> {
    let defaults = crate::defaults::Defaults::read()?;
    defaults.complete(&mut plan);
    let mut settings = defaults.environment;
    settings.extend(options.set.iter().cloned());
    settings.retain(|(key, _)| !crate::variables::is_variable(key));
    settings.extend(
        options
            .parallelism
            .map(|count| ("parallelism".to_owned(), count.to_string())),
    );
    crate::run::apply_settings(&mut plan, settings)?;
    if plan.operators.is_empty() {
        return Err(Failure::usage(format!(
            "{} has neither an INSERT nor a SELECT: there is nothing to run",
            file.shown
        )));
    }
    let limit = match &options.for_time {
        None => None,
        Some(text) => Some(
            weir_planner::settings::parse_duration(text)
                .ok_or_else(|| Failure::usage("--for takes a time, for example 10s"))?,
        ),
    };
    if limit.is_none() && options.stop_after.is_empty() {
        refuse_endless(&plan)?;
    }
    if !options.write {
        plan = without_sinks(&plan);
    }
    let engine = |error: Error| Failure::engine(file, &error);
    let job = plan.job_name.clone().unwrap_or_else(|| file.stem());
    let mut job_options = JobOptions::resolve(&plan, &job).map_err(engine)?;
    job_options.stop_after.clone_from(&options.stop_after);
    let stop = StopRequest::listen()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let analysis = run(&job, &file.sql, plan.clone(), job_options, &|since| {
        stop.asked() || limit.is_some_and(|limit| since >= limit)
    })
    .map_err(engine)?;
    for warning in &analysis.summary.progress.warnings {
        eprintln!("warning: {warning}");
    }
    if as_json {
        let value = analysis.json(&job, &plan);
        return serde_json::to_string_pretty(&value).map_err(Failure::failed);
    }
    Ok(analysis.text(&plan))
}

/// Runs a plan that keeps nothing to its end, or until `enough` says so.
pub(crate) fn run(
    job: &str,
    sql: &str,
    plan: StreamPlan,
    mut options: JobOptions,
    enough: &dyn Fn(Duration) -> bool,
) -> Result<Analysis, Error> {
    // What it keeps is thrown away at its end.
    options.state_dir = None;
    options.savepoint_interval = None;
    let nowhere = Arc::new(|_| ControlFlow::Continue(()));
    let started = Instant::now();
    let handle = JobHandle::start(job, sql, plan, options, nowhere)?;
    let mut metrics = handle.metrics();
    let mut stopping = false;
    while !handle.is_finished() {
        if !stopping && enough(started.elapsed()) {
            stopping = true;
            handle.stop();
        }
        std::thread::park_timeout(LOOK_INTERVAL);
    }
    metrics.progress = handle.progress();
    let summary = handle.wait()?;
    metrics.elapsed = summary.elapsed;
    metrics.operators.clone_from(&summary.operators);
    Ok(Analysis { summary, metrics })
}

/// The plan with sinks that take rows and keep nothing. A table that is read as well stays what it is for its readers.
pub(crate) fn without_sinks(plan: &StreamPlan) -> StreamPlan {
    let mut plan = plan.clone();
    let read: Vec<String> = plan
        .operators
        .iter()
        .filter_map(|operator| match &operator.kind {
            OperatorKind::Source { table, .. } => Some(table.clone()),
            _ => None,
        })
        .collect();
    for operator in &mut plan.operators {
        let OperatorKind::Sink { table } = &mut operator.kind else {
            continue;
        };
        let Some(mut definition) = plan.tables.get(table).cloned() else {
            continue;
        };
        definition.options = [("connector".to_owned(), "blackhole".to_owned())].into();
        definition.partitioned_by.clear();
        if read.contains(table) {
            table.push_str(" (not written)");
        }
        plan.tables.insert(table.clone(), definition);
    }
    plan
}

/// A query without an end would run for ever.
pub(crate) fn refuse_endless(plan: &StreamPlan) -> Result<(), Failure> {
    for operator in &plan.operators {
        if let OperatorKind::Source { table, .. } = &operator.kind
            && let Some(definition) = plan.tables.get(table)
            && !ConnectorCatalog.source_traits(&definition.options).bounded
        {
            return Err(Failure::usage(format!(
                "table `{table}` has no end\n  help: say how long to look: --for 10s, or --stop-after {table}=100000"
            )));
        }
    }
    Ok(())
}

impl Analysis {
    fn of(&self, plan: &StreamPlan, index: usize) -> Option<&OperatorMetrics> {
        let id = plan.operators[index].id.as_str();
        self.metrics.operators.iter().find(|of| of.id == id)
    }

    /// The plan as a tree, with two or three lines more for each operator, and a summary.
    pub(crate) fn text(&self, plan: &StreamPlan) -> String {
        let work: u64 = self.metrics.operators.iter().map(time_of).sum();
        let workers = self.metrics.parallelism;
        let mut text = weir_planner::explain_with(plan, &|index| {
            self.of(plan, index)
                .map(|of| lines(of, &plan.operators[index].kind, work, workers))
                .unwrap_or_default()
        });
        let progress = &self.metrics.progress;
        text.push_str(&format!(
            "\nran {} on {}: {} in, {} out, {} rows/s; state {} at most{}\n",
            elapsed(self.metrics.elapsed),
            counted(u64::from(workers), "worker", "workers"),
            counted(progress.rows_in, "row", "rows"),
            grouped(progress.rows_out),
            grouped(crate::text::rate(progress.rows_in, self.metrics.elapsed)),
            bytes(progress.state.memory_bytes_peak),
            match progress.state.entries_spilled {
                0 => String::new(),
                spilled => format!(", {} spilled", counted(spilled, "entry", "entries")),
            }
        ));
        text
    }

    /// As programs read it.
    pub(crate) fn json(&self, job: &str, plan: &StreamPlan) -> Value {
        let operators = plan.operators.iter().enumerate().map(|(index, operator)| {
            let mut value = self
                .of(plan, index)
                .and_then(|of| serde_json::to_value(of).ok())
                .unwrap_or_else(|| json!({"id": operator.id.as_str()}));
            let inputs = operator
                .inputs
                .iter()
                .map(|input| plan.operators[input.from].id.as_str());
            value["inputs"] = inputs.collect();
            value
        });
        let progress = &self.metrics.progress;
        json!({
            "job": job,
            "elapsed_micros": self.metrics.elapsed.as_micros() as u64,
            "parallelism": self.metrics.parallelism,
            "rows_in": progress.rows_in,
            "rows_out": progress.rows_out,
            "late_rows": progress.late_rows,
            "rejected_rows": progress.rejected_rows,
            "failed_rows": progress.failed_rows,
            "state_bytes_peak": progress.state.memory_bytes_peak,
            "entries_spilled": progress.state.entries_spilled,
            "operators": operators.collect::<Vec<_>>(),
        })
    }
}

/// Microseconds of work, of all workers.
fn time_of(of: &OperatorMetrics) -> u64 {
    of.busy_micros + of.exchange_micros
}

/// What one operator did, in lines.
fn lines(of: &OperatorMetrics, kind: &OperatorKind, work: u64, workers: u32) -> Vec<String> {
    let flow = |rows: u64, batches: u64| {
        format!(
            "{} in {}",
            counted(rows, "row", "rows"),
            counted(batches, "batch", "batches")
        )
    };
    let mut moved = vec![match kind {
        OperatorKind::Source { .. } => format!("read {}", flow(of.rows_in, of.batches_in)),
        _ => format!("ran {}", flow(of.rows_in, of.batches_in)),
    }];
    if !matches!(
        kind,
        OperatorKind::Sink { .. } | OperatorKind::Output { .. }
    ) {
        moved.push(format!("gave {}", flow(of.rows_out, of.batches_out)));
    }
    if of.late_rows > 0 {
        moved.push(format!("{} late", grouped(of.late_rows)));
    }
    let mut times = vec![format!(
        "busy {} ({} %)",
        micros(of.busy_micros),
        (time_of(of) * 100).checked_div(work).unwrap_or(0)
    )];
    if workers > 1 && of.busiest_micros * u64::from(workers) > of.busy_micros * 2 {
        times.push(format!(
            "one of {workers} workers {}",
            micros(of.busiest_micros)
        ));
    }
    if of.exchange_micros > 0 {
        times.push(format!("sending {}", micros(of.exchange_micros)));
    }
    if of.alignment_micros > 0 {
        times.push(format!(
            "waited for barriers {}",
            micros(of.alignment_micros)
        ));
    }
    let mut lines = vec![
        format!("* {}", moved.join(" · ")),
        format!("* {}", times.join(" · ")),
    ];
    if of.state_entries_peak > 0 {
        lines.push(format!(
            "* kept {}, {} in memory at most",
            counted(of.state_entries_peak, "entry", "entries"),
            bytes(of.state_bytes_peak)
        ));
    }
    lines
}

/// `1.25 ms`.
fn micros(time: u64) -> String {
    match time {
        0..1_000 => format!("{time} µs"),
        1_000..1_000_000 => format!("{:.1} ms", time as f64 / 1e3),
        _ => format!("{:.2} s", time as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_read_and_written_is_only_read() {
        let sql = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 't', 'format' = 'json');
                   INSERT INTO t SELECT n + 1 FROM t;";
        let plan = weir_planner::plan(sql, &ConnectorCatalog).unwrap().plan;
        let plan = without_sinks(&plan);
        let connectors: Vec<&str> = plan
            .tables
            .values()
            .filter_map(|table| Some(table.options.get("connector")?.as_str()))
            .collect();
        assert_eq!(connectors, ["filesystem", "blackhole"]);
    }

    #[test]
    fn the_lines_of_an_operator_say_rows_time_and_state() {
        let of = OperatorMetrics {
            rows_in: 1000,
            batches_in: 1,
            rows_out: 10,
            batches_out: 2,
            busy_micros: 3_000,
            busiest_micros: 2_900,
            exchange_micros: 1_000,
            alignment_micros: 12,
            state_entries_peak: 5,
            state_bytes_peak: 2048,
            ..OperatorMetrics::default()
        };
        assert_eq!(
            lines(&of, &OperatorKind::Union, 8_000, 4),
            [
                "* ran 1,000 rows in 1 batch · gave 10 rows in 2 batches",
                "* busy 3.0 ms (50 %) · one of 4 workers 2.9 ms · sending 1.0 ms · waited for barriers 12 µs",
                "* kept 5 entries, 2.0 KiB in memory at most",
            ]
        );
    }
}
