//! Replay: the state of operators of a new plan, computed from their sources once more.
//!
//! ```text
//!   new plan ─▶ the part below the replayed operators, without sinks ─▶ a job of its own, in a folder of its own
//!                                                                        reads from where the job began
//!                                                                        up to where the checkpoint stands, then a checkpoint
//!                                                                                        │
//!   the transition takes the tables of the replayed operators ◀──── `Replayed` ──────────┘   the folder goes
//! ```
//!
//! # Invariants
//! 1. What is late the second time was late the first time: a row's own watermark is that of its split before it.
//! 2. A source that does not give the records that it gave is found out, and nothing comes of it.
//! 3. Nothing of the job is touched: folder, sinks and positions are others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use weir_planner::compare::{StateFrom, renamed};
use weir_planner::plan::StreamPlan;
use weir_state::{CheckpointStore, Manifest, StateReader, TableFrom, TableSpec};
use weir_types::{OperatorId, Watermark};

use super::again::{look, part, unpaced};
use super::{Again, SourceToRead, Transition};
use crate::source::SourceCheckpoint;
use crate::{CheckpointOptions, Error, JobHandle, JobOptions, Progress, Result};

/// Stage 2 of a transition: the tables of replayed operators are those of a run of their own.
pub(crate) fn run(transition: &mut Transition, job: &str, options: &JobOptions) -> Result<()> {
    let replayed = transition.report.operators.iter();
    let replayed = replayed.filter(|operator| operator.state == StateFrom::Replay);
    let operators: BTreeSet<OperatorId> = replayed.map(|operator| operator.id.clone()).collect();
    let Some(state_dir) = options
        .state_dir
        .as_deref()
        .filter(|_| !operators.is_empty())
    else {
        return Ok(());
    };
    let order = ReplayOrder {
        job,
        plan: &transition.new_plan,
        operators: &operators,
        from: &transition.manifest,
        watermarks: source_watermarks(transition)?,
        options,
        folder: &state_dir.join("replay"),
    };
    let watch = &options.evolution.watch;
    let run = replay(&order, &mut |progress| watch.sees(progress))?;
    if let Some((store, manifest)) = run.checkpoint() {
        put_in_place(transition, &operators, store, manifest)?;
    }
    transition.replayed = Some(run);
    Ok(())
}

fn put_in_place(
    transition: &mut Transition,
    operators: &BTreeSet<OperatorId>,
    store: &Arc<CheckpointStore>,
    manifest: &Manifest,
) -> Result<()> {
    let source = transition.restoring.sources.len();
    transition
        .restoring
        .sources
        .push(manifest.restore_from(store));
    let specs = crate::operators::table_specs(&transition.plan);
    for (spec, from) in specs.iter().zip(&mut transition.restoring.tables) {
        if !operators.contains(&spec.operator) {
            continue;
        }
        let of_run =
            |table: &TableSpec| table.operator == spec.operator && table.table == spec.table;
        let stored = manifest
            .tables
            .iter()
            .position(of_run)
            .ok_or_else(|| Error::Internal {
                operator: spec.operator.clone(),
                message: format!("its replay has no table `{}`", spec.table),
            })?;
        *from = TableFrom::Kept { source, stored };
    }
    let plan = &transition.plan;
    transition
        .merges
        .retain(|merge| !operators.contains(&plan.operators[merge.operator].id));
    raise_watermarks(&mut transition.manifest, operators, manifest)
}

/// A watermark that an operator had is never lost; one that it did not have is that of the run.
fn raise_watermarks(
    manifest: &mut Manifest,
    operators: &BTreeSet<OperatorId>,
    run: &Manifest,
) -> Result<()> {
    let mut had: BTreeMap<String, Vec<Watermark>> = parsed("watermarks", &manifest.watermarks)?;
    let has: BTreeMap<String, Vec<Watermark>> = parsed("watermarks", &run.watermarks)?;
    for (operator, inputs) in has {
        if !operators.contains(&OperatorId::new(&operator)) {
            continue;
        }
        let before = had
            .remove(&operator)
            .filter(|before| before.len() == inputs.len());
        let before = before.unwrap_or_else(|| vec![Watermark::MIN; inputs.len()]);
        let greater = before
            .into_iter()
            .zip(inputs)
            .map(|(before, now)| before.max(now));
        had.insert(operator, greater.collect());
    }
    manifest.watermarks = serde_json::to_value(&had)
        .map_err(|error| Error::Job(format!("cannot write watermarks: {error}")))?;
    Ok(())
}

/// What is to be replayed.
pub struct ReplayOrder<'a> {
    /// The job's name.
    pub job: &'a str,
    /// Its new plan.
    pub plan: &'a StreamPlan,
    /// The operators whose state is wanted.
    pub operators: &'a BTreeSet<OperatorId>,
    /// The checkpoint that the new plan starts from, its positions under the IDs of the new plan.
    pub from: &'a Manifest,
    /// The watermark that the readers of each source had there: it does not go back.
    pub watermarks: BTreeMap<OperatorId, Watermark>,
    /// How the job runs: parallelism, memory, backend.
    pub options: &'a JobOptions,
    /// A folder for the run; whatever is in it goes.
    pub folder: &'a Path,
}

/// State that was computed again. Its folder goes with it.
pub struct Replayed {
    folder: PathBuf,
    /// `None`: nothing had been read.
    state: Option<(Arc<CheckpointStore>, Manifest)>,
}

impl std::fmt::Debug for Replayed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replayed({})", self.folder.display())
    }
}

impl Drop for Replayed {
    fn drop(&mut self) {
        // The next replay clears what stays.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Replayed {
    /// The tables of the run, those of operators below among them; `None` if nothing had been read.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn state(&self) -> Result<Option<StateReader>> {
        let Some((store, manifest)) = &self.state else {
            return Ok(None);
        };
        let scratch = self.folder.join("state");
        Ok(Some(StateReader::of_checkpoint(store, manifest, &scratch)?))
    }

    /// The checkpoint that holds it.
    pub fn checkpoint(&self) -> Option<(&Arc<CheckpointStore>, &Manifest)> {
        self.state
            .as_ref()
            .map(|(store, manifest)| (store, manifest))
    }

    /// The watermark of each input of each operator.
    ///
    /// # Errors
    /// When the manifest cannot be read.
    pub fn watermarks(&self) -> Result<BTreeMap<String, Vec<Watermark>>> {
        match &self.state {
            Some((_, manifest)) => parsed("watermarks", &manifest.watermarks),
            None => Ok(BTreeMap::new()),
        }
    }
}

/// What a replay of these operators would read, and whether it can. Nothing runs.
///
/// # Errors
/// E0040 for a source that cannot be read again.
pub fn sources_to_replay(
    plan: &StreamPlan,
    operators: &BTreeSet<OperatorId>,
    from: &Manifest,
    base: &Path,
) -> Result<Vec<SourceToRead>> {
    Ok(prepare(plan, operators, from, base)?.2)
}

type Prepared = (StreamPlan, Again, Vec<SourceToRead>);

fn prepare(
    plan: &StreamPlan,
    operators: &BTreeSet<OperatorId>,
    from: &Manifest,
    base: &Path,
) -> Result<Prepared> {
    let plan = part(&unpaced(plan.clone()), &|id| operators.contains(id));
    let positions: SourceCheckpoint = parsed("positions", &from.sources)?;
    let (again, tables) = look(&plan, &positions, base)?;
    Ok((plan, again, tables))
}

/// Runs it. `watch` sees the progress a few times a second; false gives it up.
///
/// # Errors
/// What a run can fail of; E0040 and E0041 if a source is not what it was.
pub fn replay(
    order: &ReplayOrder<'_>,
    watch: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Replayed> {
    let (plan, again, _) = prepare(order.plan, order.operators, order.from, &order.options.base)?;
    clear(order.folder)?;
    let mut replayed = Replayed {
        folder: order.folder.to_owned(),
        state: None,
    };
    let options = options_of(order, again.with_watermarks(&order.watermarks));
    let nobody = Arc::new(|_| std::ops::ControlFlow::Continue(()));
    let handle = JobHandle::start(order.job, &order.from.sql, plan, options, nobody)?;
    while !handle.is_finished() {
        if !watch(&handle.progress()) {
            // Dropping it takes its threads along.
            drop(handle);
            return Err(Error::Job(
                "[E0042] the replay was given up; nothing has changed".to_owned(),
            ));
        }
        std::thread::park_timeout(WATCH_INTERVAL);
    }
    handle.wait()?;
    let store = CheckpointStore::local(order.folder.join("checkpoints"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Error::Job(format!("cannot read the replay's state: {error}")))?;
    let (manifest, _) = runtime.block_on(store.newest_whole())?;
    if let Some(manifest) = manifest {
        check_positions(order.from, &manifest)?;
        replayed.state = Some((store, manifest));
    }
    Ok(replayed)
}

const WATCH_INTERVAL: Duration = Duration::from_millis(20);

fn clear(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::Job(format!(
            "cannot clear {}: {error}",
            folder.display()
        ))),
        _ => Ok(()),
    }
}

/// The run is a job like any other: same workers, same memory, same key groups; its only checkpoint is the last one.
fn options_of(order: &ReplayOrder<'_>, again: Again) -> JobOptions {
    let of_job = order.options;
    JobOptions {
        state_dir: Some(order.folder.to_owned()),
        checkpoint_interval: Duration::from_secs(365 * 24 * 3600),
        checkpoints: CheckpointOptions {
            snapshots: of_job.checkpoints.snapshots,
            ..CheckpointOptions::default()
        },
        key_groups: order.from.key_groups,
        file: None,
        fresh: false,
        replace_output: false,
        stop_after: Vec::new(),
        savepoint: None,
        restore_from: None,
        savepoint_interval: None,
        control: crate::JobControl::default(),
        listener: crate::JobListener::default(),
        again: Some(Arc::new(again)),
        simulation_faults: None,
        ..of_job.clone()
    }
}

/// The splits have to be where they were: a source that gave other records is found out here.
fn check_positions(from: &Manifest, replayed: &Manifest) -> Result<()> {
    let were: SourceCheckpoint = parsed("positions", &from.sources)?;
    let are: SourceCheckpoint = parsed("positions", &replayed.sources)?;
    for (source, splits) in &are {
        for (split, now) in splits {
            let was = were.get(source).and_then(|splits| splits.get(split));
            let same =
                was.is_some_and(|was| was.records == now.records && was.position == now.position);
            if !same {
                return Err(Error::Job(format!(
                    "[E0041] {source} did not give the records that it gave the first time (split {split}): they have changed \
                     since, and what is computed from them would be something else. Nothing has changed; run without --replay"
                )));
            }
        }
    }
    Ok(())
}

/// The watermark of each source: what its readers had of it at the checkpoint. Not beyond that of any of its splits: an
/// operator that read something else before an edit keeps the watermark that it had of that.
fn source_watermarks(transition: &Transition) -> Result<BTreeMap<OperatorId, Watermark>> {
    let plan = &transition.old_plan;
    let inputs: BTreeMap<String, Vec<Watermark>> =
        parsed("watermarks", &transition.old_manifest.watermarks)?;
    let positions: SourceCheckpoint = parsed("positions", &transition.old_manifest.sources)?;
    let most = |source: &OperatorId| {
        let splits = positions.get(source.as_str())?.values();
        splits.map(|split| Watermark(split.watermark)).max()
    };
    let mut found: BTreeMap<OperatorId, Watermark> = BTreeMap::new();
    for operator in &plan.operators {
        let Some(watermarks) = inputs.get(operator.id.as_str()) else {
            continue;
        };
        for (input, watermark) in operator.inputs.iter().zip(watermarks) {
            let source = &plan.operators[input.from];
            if source.inputs.is_empty() && *watermark != Watermark::MAX {
                let watermark = most(&source.id).map_or(*watermark, |most| most.min(*watermark));
                let id = renamed(source.id.as_str(), &transition.renames);
                let greatest = found.entry(OperatorId::new(id)).or_insert(watermark);
                *greatest = (*greatest).max(watermark);
            }
        }
    }
    Ok(found)
}

/// A part of a manifest in the engine's form.
fn parsed<T: serde::de::DeserializeOwned>(name: &str, value: &Value) -> Result<T> {
    serde_json::from_value(value.clone()).map_err(|error| {
        Error::Job(format!(
            "the {name} of a checkpoint cannot be read: {error}"
        ))
    })
}
