//! Carrying an edit out: the old text up to somewhere, the new one from there, and what its sinks hold then.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use weir_engine::{Accept, Before, EvolutionOptions, JobHandle, JobOptions, JobSummary, foreseen};
use weir_planner::compare::{Choices, Replay, Report, Verdict};
use weir_tests::job::{Setup, plan};
use weir_tests::process::published_lines;
use weir_tests::value::{Multiset, Value};

use crate::batch::Oracle;

/// The job's name.
pub(super) const JOB: &str = "edited";

/// One start.
pub(super) struct Start<'a> {
    /// Where tables are, and the state.
    pub(super) base: &'a Path,
    pub(super) sql: &'a str,
    pub(super) setup: &'a Setup,
    /// For each table how many records are read, counted from its first one; `None`: all input to its end.
    pub(super) stop: Option<&'a BTreeMap<String, u64>>,
    pub(super) edit: EvolutionOptions,
}

impl Start<'_> {
    /// Runs until it stops.
    pub(super) fn run(&self) -> Result<JobSummary, String> {
        let plan = plan(self.sql)?;
        let mut options = JobOptions::resolve(&plan, JOB).map_err(|error| error.to_string())?;
        options.parallelism = self.setup.parallelism;
        options.backend = self.setup.backend;
        options.state_memory = self.setup.memory.unwrap_or(options.state_memory);
        options.test_cuts = self.setup.cuts;
        options.base = self.base.to_owned();
        options.state_dir = Some(self.base.join("state"));
        options.evolution = self.edit.clone();
        if let Some(stop) = self.stop {
            let limits = stop
                .iter()
                .map(|(table, rows)| (Some(table.clone()), *rows));
            options.stop_after = limits.collect();
        }
        let nobody = Arc::new(|_| std::ops::ControlFlow::Continue(()));
        let handle = JobHandle::start(JOB, self.sql, plan, options, nobody)
            .map_err(|error| error.to_string())?;
        handle.wait().map_err(|error| error.to_string())
    }
}

/// Flags that let everything through.
pub(super) fn everything(replay: Replay) -> EvolutionOptions {
    EvolutionOptions {
        upgrade: true,
        accept: Accept::All,
        allow_dropped_state: true,
        replay,
        ..EvolutionOptions::default()
    }
}

/// What the edit is judged to be, from the newest checkpoint.
pub(super) fn judged(base: &Path, new: &str, replay: &Replay) -> Result<Option<Report>, String> {
    let before = match Before::of_job(JOB, &base.join("state"), None) {
        Ok(before) => before,
        // Nothing was read, and so nothing is there to be judged.
        Err(error) if error.to_string().contains("no checkpoint yet") => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let choices = Choices {
        replay: replay.clone(),
        ..Choices::default()
    };
    let new = plan(new)?;
    Ok(Some(foreseen(&before.plan, &new, &before.past, &choices)))
}

/// Whether the edit is refused whatever is accepted: state that cannot be used, or nothing can start below rows that are
/// taken back.
pub(super) fn has_incompatible(report: &Report) -> bool {
    report
        .operators
        .iter()
        .any(|operator| operator.verdict == Verdict::Incompatible)
}

/// The code of a refusal that an edit may meet whatever its verdicts are: nothing starts empty below rows that are taken back,
/// and a sink's table may be one that cannot take the difference.
pub(super) fn refusal(error: &str) -> Option<&'static str> {
    let codes = ["[E0003]", "[E0007]", "[E0008]", "[E0021]", "[E0022]"];
    codes.into_iter().find(|code| error.contains(code))
}

/// What an edit is refused with although all is accepted stands in its report: nobody stops a job to learn it.
pub(super) fn foretold(error: &str, report: Option<&Report>) -> Result<(), String> {
    let codes = [
        "[E0003]", "[E0007]", "[E0020]", "[E0021]", "[E0022]", "[E0047]", "[E0048]",
    ];
    let told = report.and_then(|report| report.refused.as_deref());
    match codes.into_iter().find(|code| error.contains(code)) {
        Some(code) if !told.unwrap_or_default().contains(code) => Err(format!(
            "the report does not foretell a refusal ({told:?}): {error}"
        )),
        _ => Ok(()),
    }
}

/// What a sink holds, as texts: values in the order of the names of its columns. Its table may have had other columns before:
/// one that came later is NULL in older rows, one that is gone is not looked at. A table of rows has no `op`.
pub(super) fn held(base: &Path, sink: &str, columns: &[String]) -> BTreeMap<Vec<String>, i64> {
    let mut names = columns.to_vec();
    names.sort();
    let mut found = BTreeMap::new();
    for line in published_lines(&base.join(sink), None) {
        let serde_json::Value::Object(fields) = serde_json::from_str(&line).unwrap() else {
            panic!("not an object: {line}")
        };
        let weight = match fields.get("op").and_then(|op| op.as_str()) {
            Some("-U" | "-D") => -1,
            _ => 1,
        };
        let text = |name: &String| match fields.get(name) {
            None | Some(serde_json::Value::Null) => "NULL".to_owned(),
            Some(serde_json::Value::String(text)) => plain(text),
            Some(other) => other.to_string(),
        };
        *found.entry(names.iter().map(text).collect()).or_insert(0) += weight;
    }
    found.retain(|_, count| *count != 0);
    found
}

/// Timestamps of both sides in one form.
fn plain(text: &str) -> String {
    text.trim_end_matches(".000").to_owned()
}

/// Runs something for each of many things on several threads: most of a job's time it waits for a disk.
pub(super) fn on_threads<T: Sync, R: Send>(things: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(thing) =
                    things.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let result = run(thing);
                    results.lock().unwrap().push(result);
                }
            });
        }
    });
    results.into_inner().unwrap()
}

/// What the batch engine gives for a sink of these columns.
pub(super) fn expected(
    oracle: &Oracle,
    columns: &[String],
    query: &str,
) -> Result<BTreeMap<Vec<String>, i64>, String> {
    let rows = Multiset::of(oracle.query(query)?);
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by(|a, b| columns[*a].cmp(&columns[*b]));
    Ok(texts(&rows, &order))
}

fn texts(rows: &Multiset, order: &[usize]) -> BTreeMap<Vec<String>, i64> {
    let text = |value: &Value| plain(&value.to_string());
    let mut texts = BTreeMap::new();
    for (row, count) in &rows.0 {
        let row: Vec<String> = order.iter().map(|&place| text(&row[place])).collect();
        *texts.entry(row).or_insert(0) += count;
    }
    texts.retain(|_, count| *count != 0);
    texts
}

/// How two results differ, in a few lines.
pub(super) fn difference(
    found: &BTreeMap<Vec<String>, i64>,
    expected: &BTreeMap<Vec<String>, i64>,
) -> Option<String> {
    if found == expected {
        return None;
    }
    let mut lines = Vec::new();
    let rows: std::collections::BTreeSet<&Vec<String>> =
        found.keys().chain(expected.keys()).collect();
    for row in rows {
        let (is, should) = (
            found.get(row).copied().unwrap_or(0),
            expected.get(row).copied().unwrap_or(0),
        );
        if is != should {
            lines.push(format!(
                "  {} is there {is} times, expected {should}",
                row.join(" | ")
            ));
        }
    }
    lines.truncate(12);
    Some(lines.join("\n"))
}
