//! Runs a query text as a job in this process, and folds what it gives.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use weir_engine::{JobHandle, JobOptions, JobSummary, OutputEvent};
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_state::BackendKind;
use weir_types::Schema;

use crate::value::{Multiset, Row, row_text, rows_of};

/// How to run it: everything that must not change the answer.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Number of workers.
    pub parallelism: u32,
    /// Seed of random batch cuts and epoch lengths; `None`: as they come.
    pub cuts: Option<u64>,
    /// Where state is kept beyond memory.
    pub backend: BackendKind,
    /// Bytes for state; `None`: the default.
    pub memory: Option<usize>,
    /// Folder of checkpoints; `None`: ephemeral.
    pub state: Option<PathBuf>,
    /// Stop after so many records of every source.
    pub stop_after: Option<u64>,
    /// Write a savepoint there at the end or stop.
    pub save_to: Option<PathBuf>,
    /// Start from the savepoint there.
    pub restore_from: Option<PathBuf>,
    /// By this seed: stop somewhere with a savepoint, and go on from that in another folder with another parallelism and
    /// backend. Only where nothing else is said about folders and stops.
    pub through_savepoint: Option<u64>,
    /// One thread, interleaved by this seed.
    pub simulation: Option<u64>,
    /// Processing time stands still, at this many microseconds since 1970.
    pub clock: Option<i64>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            parallelism: 1,
            cuts: None,
            backend: BackendKind::Memory,
            memory: None,
            state: None,
            stop_after: None,
            save_to: None,
            restore_from: None,
            through_savepoint: None,
            simulation: None,
            clock: None,
        }
    }
}

impl Setup {
    /// A random one, ephemeral.
    pub fn random(rng: &mut SmallRng) -> Self {
        Self {
            parallelism: rng.random_range(1..=5),
            cuts: rng.random_bool(0.8).then(|| rng.random()),
            backend: *[BackendKind::Memory, BackendKind::Rocksdb]
                .choose(rng)
                .expect("two backends"),
            memory: *[None, Some(1 << 20), Some(64 << 10)]
                .choose(rng)
                .expect("three sizes"),
            ..Self::default()
        }
    }

    fn options(&self, plan: &StreamPlan, job: &str, base: &Path) -> Result<JobOptions, String> {
        let mut options = JobOptions::resolve(plan, job).map_err(|error| error.to_string())?;
        options.parallelism = self.parallelism;
        options.backend = self.backend;
        options.state_memory = self.memory.unwrap_or(options.state_memory);
        options.state_dir = self.state.clone();
        options.base = base.to_owned();
        options.simulation_seed = self.simulation;
        options.savepoint = self.save_to.clone();
        options.restore_from = self.restore_from.clone();
        options.stop_after = self
            .stop_after
            .map(|rows| (None, rows))
            .into_iter()
            .collect();
        options.test_cuts = self.cuts;
        options.test_clock = self.clock;
        Ok(options)
    }
}

/// What a SELECT of the text gave.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its columns.
    pub schema: Schema,
    /// Epoch by epoch, what was handed over.
    pub epochs: Vec<Vec<(Row, i64)>>,
    /// The changes of all epochs, added up.
    pub folded: Multiset,
}

/// A job that ended well.
#[derive(Debug)]
pub struct Ran {
    /// One for each SELECT, in the order of the plan.
    pub outputs: Vec<Output>,
    /// What it says of itself.
    pub summary: JobSummary,
}

/// Plans a text with the engine's connectors.
///
/// # Errors
/// The diagnostics as text.
pub fn plan(sql: &str) -> Result<StreamPlan, String> {
    let planned = weir_planner::plan(sql, &weir_engine::ConnectorCatalog);
    planned
        .map(|planned| planned.plan)
        .map_err(|diagnostics| diagnostics.render("query.sql", sql))
}

/// Runs a text to its end (or stop). Relative paths of its tables start from `base`.
///
/// # Errors
/// Why it could not be planned, or why it stopped; also if a change took back a row that was not there.
pub fn run(sql: &str, base: &Path, setup: &Setup) -> Result<Ran, String> {
    run_named("test", sql, base, setup)
}

/// [`run`] under a job's name.
///
/// # Errors
/// As [`run`].
pub fn run_named(job: &str, sql: &str, base: &Path, setup: &Setup) -> Result<Ran, String> {
    run_from(job, sql, base, setup, &[])
}

/// The parallelism that a savepoint is restored at.
pub const RESTORED: [u32; 4] = [1, 2, 4, 7];

/// Runs to somewhere in the middle, and on from there by way of a savepoint.
fn through_savepoint(
    job: &str,
    sql: &str,
    base: &Path,
    setup: &Setup,
    seed: u64,
    before: &[Output],
) -> Result<Ran, String> {
    let mut rng = crate::data::rng(seed);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let saved = folder.path().join("saved");
    // Tables of scripts are small, and a stop after all records is worth a case too.
    let records = 1 << rng.random_range(0..7);
    let first = Setup {
        state: Some(folder.path().join("first")),
        stop_after: Some(rng.random_range(1..=records)),
        save_to: Some(saved.clone()),
        through_savepoint: None,
        ..setup.clone()
    };
    let half = run_from(job, sql, base, &first, before)?;
    if half.summary.outcome != weir_engine::Outcome::Stopped {
        return Ok(half);
    }
    let second = Setup {
        parallelism: *RESTORED.choose(&mut rng).expect("four"),
        backend: match rng.random_bool(0.5) {
            true => BackendKind::Memory,
            false => BackendKind::Rocksdb,
        },
        state: Some(folder.path().join("second")),
        restore_from: Some(saved),
        through_savepoint: None,
        ..setup.clone()
    };
    let mut rest = run_from(job, sql, base, &second, &half.outputs)?;
    for (rest, half) in rest.outputs.iter_mut().zip(half.outputs) {
        rest.epochs.splice(0..0, half.epochs);
    }
    Ok(rest)
}

/// [`run_named`] where earlier runs of the same job have given `before` already: folding goes on from there.
///
/// # Errors
/// As [`run`].
pub fn run_from(
    job: &str,
    sql: &str,
    base: &Path,
    setup: &Setup,
    before: &[Output],
) -> Result<Ran, String> {
    if let (Some(seed), None, None) = (setup.through_savepoint, &setup.state, setup.stop_after) {
        return through_savepoint(job, sql, base, setup, seed, before);
    }
    let plan = plan(sql)?;
    let options = setup.options(&plan, job, base)?;
    let operators: Vec<usize> = plan
        .operators
        .iter()
        .enumerate()
        .filter(|(_, operator)| matches!(operator.kind, OperatorKind::Output { .. }))
        .map(|(index, _)| index)
        .collect();
    let mut outputs: Vec<Output> = operators
        .iter()
        .map(|&index| Output {
            schema: plan.operators[index].schema.clone(),
            epochs: Vec::new(),
            folded: Multiset::default(),
        })
        .collect();
    for (output, before) in outputs.iter_mut().zip(before) {
        output.folded = before.folded.clone();
    }
    let shared = Arc::new(Mutex::new(outputs));
    let handler = {
        let shared = shared.clone();
        move |event: OutputEvent| {
            let at = operators
                .iter()
                .position(|&index| index == event.operator)
                .expect("an Output operator");
            let mut outputs = shared.lock().expect("no handler panicked");
            let changes: Vec<(Row, i64)> = event
                .changes
                .iter()
                .flat_map(|batch| {
                    rows_of(&batch.rows)
                        .into_iter()
                        .enumerate()
                        .map(|(row, values)| (values, batch.weight(row)))
                })
                .collect();
            for (row, weight) in &changes {
                outputs[at].folded.add(row.clone(), *weight);
            }
            outputs[at].epochs.push(changes);
            ControlFlow::Continue(())
        }
    };
    let handle = JobHandle::start(job, sql, plan, options, Arc::new(handler))
        .map_err(|error| error.to_string())?;
    let summary = handle.wait().map_err(|error| error.to_string())?;
    let outputs = std::mem::take(&mut *shared.lock().expect("no handler panicked"));
    if let Some((row, count)) = outputs.iter().find_map(|output| output.folded.negative()) {
        return Err(format!(
            "taken back {} times too often: {}",
            -count,
            row_text(row)
        ));
    }
    Ok(Ran { outputs, summary })
}
