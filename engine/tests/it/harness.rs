//! Runs a job and folds what it printed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use weir_engine::{ConnectorCatalog, Error, JobHandle, JobOptions, JobSummary, OutputEvent};
use weir_planner::plan::StreamPlan;
use weir_types::ChangeBatch;

/// A multiset of rows, each as text.
pub type Rows = BTreeMap<String, i64>;

/// A folder with input, and everything that a test changes about a run.
pub struct Bench {
    pub folder: tempfile::TempDir,
}

/// What came of a run.
pub struct Run {
    pub summary: Result<JobSummary, Error>,
    /// The printed rows after each epoch that printed something, by operator.
    pub epochs: Vec<BTreeMap<usize, Rows>>,
    /// The changes as they were handed over, as text.
    pub events: Vec<String>,
}

impl Run {
    /// The rows of the only bare SELECT at the end.
    pub fn rows(&self) -> Vec<String> {
        let last = self.epochs.last().and_then(|epoch| epoch.values().next());
        last.into_iter()
            .flatten()
            .flat_map(|(row, &count)| vec![row.clone(); count as usize])
            .collect()
    }

    pub fn summary(&self) -> &JobSummary {
        self.summary
            .as_ref()
            .unwrap_or_else(|error| panic!("the job failed: {error}"))
    }

    pub fn error(&self) -> String {
        match &self.summary {
            Ok(summary) => panic!("the job did not fail: {summary:?}"),
            Err(error) => error.to_string(),
        }
    }
}

impl Bench {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes an input file.
    pub fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// All lines of the published parts of a file sink, sorted.
    pub fn output(&self, name: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let Ok(entries) = std::fs::read_dir(self.path().join(name)) else {
            return lines;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_file() {
                lines.extend(
                    std::fs::read_to_string(path)
                        .unwrap()
                        .lines()
                        .map(str::to_owned),
                );
            }
        }
        lines.sort();
        lines
    }

    pub fn plan(&self, sql: &str) -> StreamPlan {
        match weir_planner::plan(sql, &ConnectorCatalog) {
            Ok(planned) => planned.plan,
            Err(mistakes) => panic!("{}", mistakes.render("test.sql", sql)),
        }
    }

    pub fn options(&self, plan: &StreamPlan) -> JobOptions {
        let mut options = JobOptions::resolve(plan, "test").unwrap();
        options.base = self.path().to_path_buf();
        options.state_dir = options.state_dir.map(|_| self.path().join("state"));
        options.parallelism = 2;
        options.state_memory = 32 << 20;
        options
    }

    /// Plans and runs a text; `change` has the last word on the options.
    pub fn run(&self, sql: &str, change: impl FnOnce(&mut JobOptions)) -> Run {
        let plan = self.plan(sql);
        let mut options = self.options(&plan);
        change(&mut options);
        self.run_plan(sql, plan, options)
    }

    pub fn run_plan(&self, sql: &str, plan: StreamPlan, options: JobOptions) -> Run {
        let printed = Arc::new(Mutex::new((
            BTreeMap::<usize, Rows>::new(),
            Vec::new(),
            Vec::new(),
        )));
        let sink = printed.clone();
        let handler = move |event: OutputEvent| {
            let mut printed = sink.lock().unwrap();
            let (current, epochs, events) = &mut *printed;
            let rows = current.entry(event.operator).or_default();
            for batch in &event.changes {
                for (row, weight) in texts(batch) {
                    events.push(format!("{} {weight:+} {row}", event.operator));
                    let count = rows.entry(row.clone()).or_default();
                    *count += weight;
                    if *count == 0 {
                        rows.remove(&row);
                    }
                }
            }
            epochs.push(current.clone());
            ControlFlow::Continue(())
        };
        let summary = JobHandle::start("test", sql, plan, options, Arc::new(handler))
            .and_then(JobHandle::wait);
        let printed = std::mem::take(&mut *printed.lock().unwrap());
        Run {
            summary,
            epochs: printed.1,
            events: printed.2,
        }
    }
}

/// Each row as text, with its weight.
fn texts(batch: &ChangeBatch) -> Vec<(String, i64)> {
    (0..batch.num_rows())
        .map(|row| {
            let values: Vec<String> = batch
                .rows
                .columns()
                .iter()
                .map(|column| {
                    if column.is_null(row) {
                        "NULL".to_owned()
                    } else {
                        arrow::util::display::array_value_to_string(column, row).unwrap()
                    }
                })
                .collect();
            (values.join(" "), batch.weight(row))
        })
        .collect()
}

/// `n,k,at` lines: 1 to `rows`, keys of a small range, event times that jump back and forth.
pub fn numbers(rows: u64) -> String {
    let mut text = String::from("n,k,at\n");
    for n in 1..=rows {
        let jump = (n * 7919) % 40;
        let second = n / 10 + 60 - jump;
        let at = format!(
            "2024-01-01 {:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        );
        text.push_str(&format!("{n},{},{at}\n", n * 31 % 17));
    }
    text
}

/// The table of [`numbers`].
pub const NUMBERS: &str = "
CREATE TABLE numbers (n BIGINT, k INT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '20' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'numbers.csv', 'format' = 'csv');
";
