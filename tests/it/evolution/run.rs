//! Running a case: the old query on the first rows, the new one on the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use weir_engine::{Accept, EvolutionOptions, JobHandle, JobOptions, JobSummary, foreseen, past_of};
use weir_planner::compare::{Choices, Exactness, Replay, Report, StartAt};
use weir_planner::plan::StreamPlan;
use weir_state::{BackendKind, CheckpointStore, Manifest, Savepoint};
use weir_tests::process::folded_changelog;
use weir_tests::value::{Multiset, Row, Value, rows_of};
use weir_types::{DataType, EventTime, OperatorId, Schema};

use super::carry::foretold;
use super::case::Case;
use crate::batch::Oracle;

/// How both halves are run: parallelism and backend before and after, and whether by a savepoint.
#[derive(Debug)]
pub(crate) struct Way {
    before: (u32, BackendKind),
    after: (u32, BackendKind),
    savepoint: bool,
}

/// The ways; the first one links files.
pub(crate) const WAYS: &[Way] = &[
    Way {
        before: (1, BackendKind::Rocksdb),
        after: (1, BackendKind::Rocksdb),
        savepoint: false,
    },
    Way {
        before: (2, BackendKind::Memory),
        after: (3, BackendKind::Rocksdb),
        savepoint: true,
    },
    Way {
        before: (3, BackendKind::Rocksdb),
        after: (2, BackendKind::Memory),
        savepoint: false,
    },
];

/// Runs it; what differs from what is expected.
pub(crate) fn run(case: &Case, way: &Way) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    for (table, rows) in &case.inputs {
        std::fs::write(base.join(format!("{table}.json")), rows.join("\n") + "\n").unwrap();
    }
    let new_sql = case.sql(&case.new);
    let new = weir_tests::job::plan(&new_sql)?;
    let saved = base.join("saved");
    let mut old = None;
    let first = (&case.old, &case.stop, Vec::new());
    let between = case.between.iter();
    let between = between.map(|edit| (&edit.query, &edit.stop, edit.flags.clone()));
    for (place, (query, stop, words)) in std::iter::once(first).chain(between).enumerate() {
        let sql = case.sql(query);
        let plan = weir_tests::job::plan(&sql)?;
        let mut options = options(&plan, base, way.before);
        options.stop_after = stops(stop);
        options.evolution = flags(&words)?;
        let is_last = place == case.between.len();
        options.savepoint = (way.savepoint && is_last).then(|| saved.clone());
        start(&sql, plan.clone(), options)
            .map_err(|error| format!("query {}: {error}", place + 1))?;
        old = Some(plan);
    }
    let old = old.ok_or("there is no old query")?;

    let flags = flags(&case.flags)?;
    let report = judged(base, way, &old, &new, &flags)?;
    if let Some(expected) = &case.verdicts {
        let verdicts = verdicts(&report);
        if verdicts != *expected {
            return Err(format!(
                "verdicts:\n  {}\nexpected:\n  {}",
                verdicts.join("\n  "),
                expected.join("\n  ")
            ));
        }
    }
    let mut options = self::options(&new, base, way.after);
    options.evolution = flags;
    options.stop_after = stops(&case.end);
    if way.savepoint {
        options.state_dir = Some(base.join("second"));
        options.restore_from = Some(saved);
    }
    let ran = start(&new_sql, new.clone(), options);
    match (ran, case.refused.is_empty()) {
        (Err(error), true) => Err(format!("the new query: {error}")),
        (Ok(_), false) => Err("it was not refused".to_owned()),
        (Err(error), false) => {
            let missing = case
                .refused
                .iter()
                .find(|part| !error.contains(part.as_str()));
            match missing {
                None => foretold(&error, Some(&report)),
                Some(part) => Err(format!("the refusal does not say `{part}`:\n{error}")),
            }
        }
        (Ok(_), true) => results(case, base, &new),
    }
}

fn stops(counts: &BTreeMap<String, u64>) -> Vec<(Option<String>, u64)> {
    let stop = |(table, rows): (&String, &u64)| {
        (Some(table.clone()).filter(|table| !table.is_empty()), *rows)
    };
    counts.iter().map(stop).collect()
}

fn options(
    plan: &StreamPlan,
    base: &Path,
    (parallelism, backend): (u32, BackendKind),
) -> JobOptions {
    let mut options = JobOptions::resolve(plan, "edited").unwrap();
    options.parallelism = parallelism;
    options.backend = backend;
    options.state_dir = Some(base.join("state"));
    options.base = base.to_owned();
    options.checkpoint_interval = std::time::Duration::from_millis(50);
    options.restart.strategy = weir_engine::RestartStrategy::None;
    // Small epochs: what is given at their ends shows in the changelog.
    options.test_cuts = Some(7);
    options
}

fn start(sql: &str, plan: StreamPlan, options: JobOptions) -> Result<JobSummary, String> {
    let output = Arc::new(|_| std::ops::ControlFlow::Continue(()));
    let handle = JobHandle::start("edited", sql, plan, options, output);
    let handle = handle.map_err(|error| error.to_string())?;
    handle.wait().map_err(|error| error.to_string())
}

/// The flags of `weir run`.
fn flags(words: &[String]) -> Result<EvolutionOptions, String> {
    let mut options = EvolutionOptions::default();
    let ids =
        |text: &str| -> BTreeSet<OperatorId> { text.split(',').map(OperatorId::new).collect() };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--upgrade" => options.upgrade = true,
            "--allow-dropped-state" => options.allow_dropped_state = true,
            "--accept" => {
                options.accept = match value()?.as_str() {
                    "all" => Accept::All,
                    text => Accept::Only(ids(text)),
                }
            }
            "--start-empty" => options.start_empty = ids(value()?),
            "--replay" => {
                options.replay = match value()?.as_str() {
                    "all" => Replay::All,
                    text => Replay::Only(ids(text)),
                }
            }
            "--rename" => {
                let (old, new) = value()?.split_once('=').ok_or("--rename OLD=NEW")?;
                options.renames.insert(old.to_owned(), new.to_owned());
            }
            "--sources" => {
                let (table, start) = value()?.split_once('=').ok_or("--sources TABLE=START")?;
                let start = match start {
                    "keep" => StartAt::Keep,
                    "earliest" => StartAt::Earliest,
                    "latest" => StartAt::Latest,
                    time => {
                        let nanos = string_to_timestamp_nanos(time);
                        let nanos = nanos.map_err(|error| error.to_string())?;
                        StartAt::Time(EventTime(nanos.div_euclid(1000)))
                    }
                };
                options.sources.insert(table.to_owned(), start);
            }
            other => return Err(format!("there is no flag {other}")),
        }
    }
    Ok(options)
}

fn newest(base: &Path, way: &Way) -> Manifest {
    if way.savepoint {
        let savepoint = Savepoint::open(&base.join("saved")).unwrap();
        return savepoint.manifest.checkpoint_with_tables();
    }
    let store = CheckpointStore::local(base.join("state/checkpoints")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (manifest, _) = runtime.block_on(store.newest_whole()).unwrap();
    manifest.expect("the old query left a checkpoint")
}

fn judged(
    base: &Path,
    way: &Way,
    old: &StreamPlan,
    new: &StreamPlan,
    flags: &EvolutionOptions,
) -> Result<Report, String> {
    let past = past_of(&newest(base, way), old).map_err(|error| error.to_string())?;
    let choices = Choices {
        replay: flags.replay.clone(),
        renames: flags.renames.clone(),
        sources: flags.sources.clone(),
    };
    Ok(foreseen(old, new, &past, &choices))
}

/// One line for each operator and sink.
fn verdicts(report: &Report) -> Vec<String> {
    let exactness = |exact: &Exactness| match exact {
        Exactness::Yes => String::new(),
        Exactness::No => ", not exact".to_owned(),
        Exactness::From(time) => format!(", exact from {time}"),
        Exactness::Open(time) => format!(", open after {time}"),
        Exactness::Columns(columns) => {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            format!(", exact in {}", columns.join(" and "))
        }
    };
    let operators = report.operators.iter().map(|operator| {
        let exact = exactness(&operator.exact);
        format!("{}: {}{exact}", operator.id, operator.verdict.word())
    });
    let sinks = report.sinks.iter().map(|sink| {
        let exact = if sink.exact { "" } else { ", not exact" };
        format!("{}: {}{exact}", sink.id, sink.verdict.word())
    });
    operators.chain(sinks).collect()
}

/// What the sinks hold against what the definitions say.
fn results(case: &Case, base: &Path, plan: &StreamPlan) -> Result<(), String> {
    let oracle = Oracle::default();
    for (table, rows) in &case.inputs {
        let Some(definition) = plan.tables.get(table) else {
            continue;
        };
        let columns: Schema = definition
            .columns
            .iter()
            .filter(|column| matches!(column.origin, weir_planner::plan::ColumnOrigin::Physical))
            .map(|column| column.column.clone())
            .collect();
        let stop = case.stop.get(table).or_else(|| case.stop.get(""));
        let before = stop.map_or(rows.len(), |stop| (*stop as usize).min(rows.len()));
        oracle.register(table, batch(&columns, rows));
        oracle.register(&format!("{table}_before"), batch(&columns, &rows[..before]));
        oracle.register(&format!("{table}_after"), batch(&columns, &rows[before..]));
        // What came between the edits, and behind the last one.
        let mut from = before;
        for (place, edit) in case.between.iter().enumerate() {
            let stop = edit.stop.get(table).or_else(|| edit.stop.get(""));
            let to = stop.map_or(rows.len(), |stop| (*stop as usize).min(rows.len()));
            let name = format!("{table}_between{}", place + 1);
            oracle.register(&name, batch(&columns, &rows[from..to.max(from)]));
            from = to.max(from);
        }
        if !case.between.is_empty() {
            oracle.register(&format!("{table}_last"), batch(&columns, &rows[from..]));
        }
    }
    for (sink, sql) in &case.expected {
        let rows = oracle
            .query_by_name(sql)
            .map_err(|error| format!("{sink}: {error}"))?;
        let expected = Multiset::of(rows.into_iter().map(plain));
        let mut found = Multiset::default();
        for (row, weight) in folded(&base.join("out").join(sink)).0 {
            found.add(plain(row), weight);
        }
        if let Some((row, count)) = found.negative() {
            return Err(format!("{sink}: {row:?} is there {count} times"));
        }
        if let Some(text) = found.difference(&expected) {
            return Err(format!("{sink}: {text}"));
        }
    }
    Ok(())
}

/// A changelog added up; lines without `op` are rows.
fn folded(folder: &Path) -> Multiset {
    if !folder.exists() {
        return Multiset::default();
    }
    let lines = weir_tests::process::published_lines(folder, None);
    if lines.first().is_some_and(|line| line.contains("\"op\":")) {
        return folded_changelog(folder);
    }
    Multiset::of(lines.iter().map(|line| {
        let serde_json::Value::Object(fields) = serde_json::from_str(line).unwrap() else {
            panic!("not an object: {line}")
        };
        weir_tests::process::row_of_json(&fields)
    }))
}

/// Timestamps of both sides in one form; so are numbers that JSON writes as text.
fn plain(row: Row) -> Row {
    row.into_iter()
        .map(|value| match value {
            Value::Text(text) if text.len() >= 19 && text.as_bytes()[4] == b'-' => {
                string_to_timestamp_nanos(&text).map_or(Value::Text(text), Value::Time)
            }
            other => other,
        })
        .collect()
}

fn batch(columns: &Schema, rows: &[String]) -> RecordBatch {
    let schema = DataType::arrow_schema(columns);
    let mut decoder = arrow::json::ReaderBuilder::new(schema.clone())
        .build_decoder()
        .unwrap();
    let text = rows.join("\n");
    let read = decoder.decode(text.as_bytes()).unwrap();
    assert_eq!(read, text.len(), "more rows than one batch has");
    let batch = decoder.flush().unwrap();
    batch.unwrap_or_else(|| RecordBatch::new_empty(schema))
}

impl Oracle {
    /// The answer, with the columns of each row in the order of their names.
    fn query_by_name(&self, sql: &str) -> Result<Vec<Row>, String> {
        let batches = self.batches(sql)?;
        let sorted = |batch: &RecordBatch| {
            let schema = batch.schema();
            let mut places: Vec<usize> = (0..batch.num_columns()).collect();
            places.sort_by_key(|&place| schema.field(place).name().clone());
            batch.project(&places).unwrap()
        };
        Ok(batches
            .iter()
            .map(sorted)
            .flat_map(|batch| rows_of(&batch))
            .collect())
    }
}
