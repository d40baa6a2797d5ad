//! Starting a job: everything up to the first thread.
//!
//! Order matters: the lock comes first, the sinks agree with the checkpoint before any source is opened, and the sources
//! are opened at the checkpoint's positions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Notify;
use weir_connectors::{Sink, SinkEnvironment, TableRequest, open_sink, open_source};
use weir_planner::compare::same_target;
use weir_planner::plan::{Changelog, Operator, OperatorKind, StreamPlan};
use weir_planner::settings::parse_duration;
use weir_state::{CheckpointStore, Manifest, Restoring, Savepoint, SharedState, StorageOptions};
use weir_types::{CheckpointId, Diagnostic, EventTime, Generation};

use super::Shared;
use super::bootstrap::Order;
use super::folder::JobFolder;
use super::restore::{Committers, Restore, Start, start_afresh};
use crate::beside::wire_dead_letters;
use crate::clock::Clock;
use crate::coordinator::{
    CheckpointLedger, EpochControl, Event, EventSender, Outputs, Publisher, Rules, first_budget,
};
use crate::exchange::Channel;
use crate::savepoint::{Target, is_state_table, state_source, write_of};
use crate::source::{ColumnPlan, SharedSource, SourceCheckpoint};
use crate::statistics::{Collector, Log};
use crate::topology::Topology;
use crate::worker::WorkerCounters;
use crate::{
    Error, JobEvent, JobOptions, JobSummary, Outcome, OutputHandler, Progress, Result,
    SavepointOrder, simulate,
};

/// What a start came to.
pub(super) enum Prepared {
    /// The job had reached its end before.
    Drained(Box<JobSummary>),
    Ready(Box<Ready>),
}

/// A job that only needs its threads.
pub(super) struct Ready {
    pub(super) shared: Arc<Shared>,
    pub(super) events: Receiver<Event>,
    pub(super) ledger: CheckpointLedger,
    pub(super) publisher: Option<Publisher>,
    pub(super) collector: Option<Collector>,
    pub(super) resumed_from: Option<CheckpointId>,
}

/// What another start of the same process goes on with.
pub(super) struct Again {
    pub(super) clock: Arc<Clock>,
    /// What was said so far.
    pub(super) warnings: Vec<String>,
}

/// Prepares a job. `folder` holds the lock: it is taken if it is not held yet, and stays the caller's whatever happens.
pub(super) fn prepare(
    job: &str,
    sql: &str,
    user_plan: StreamPlan,
    mut options: JobOptions,
    output: OutputHandler,
    folder: &mut Option<JobFolder>,
    again: Option<Again>,
) -> Result<Prepared> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Error::Job(format!("cannot start the job: {error}")))?;
    let mut plan = user_plan.clone();
    let (mut is_dead_letter, dead_letters) = wire_dead_letters(&mut plan)?;
    let beside = crate::beside::wire(&mut plan, &mut is_dead_letter)?;
    match (folder.as_mut(), &options.state_dir) {
        (Some(held), _) => held.renew()?,
        (None, Some(path)) => *folder = Some(JobFolder::take(path, job, options.file.as_deref())?),
        (None, None) => {}
    }
    let (clock, said) = match again {
        Some(again) => (again.clock, again.warnings),
        None => (new_clock(&options), Vec::new()),
    };
    let store = match folder.as_mut() {
        Some(folder) => {
            let storage = storage(job, folder, &options, &clock);
            folder.note_storage(&storage)?;
            crate::views::note(folder.path(), job, &user_plan)?;
            let store = CheckpointStore::open(storage).map_err(storage_refused)?;
            store.check_conditions()?;
            if let Some(seen) = runtime.block_on(store.generation())? {
                folder.note_generation(seen)?;
            }
            Some(store)
        }
        None => None,
    };
    if let (Some(folder), Some(from)) = (folder.as_mut(), &options.restore_from)
        && let Some(saved) = Savepoint::find(from, &options.checkpoints.storage_settings)?
    {
        // Parts of sinks are named by their start, and those of the saved job may be where this one writes.
        folder.note_generation(saved.manifest.checkpoint.generation)?;
    }
    // What an ephemeral job writes (malformed records, say) must not get the names of the run before.
    let generation = match &*folder {
        Some(folder) => folder.generation(),
        None => Generation(clock.wall_micros() as u64),
    };
    // Without checkpoints nothing would ever be committed: an ephemeral job publishes at epochs.
    options.exactly_once &= folder.is_some();
    let sinks = open_sinks(job, &plan, &options, generation)?;
    let mut committers = open_committers(&plan, &sinks)?;
    let mut start = Start {
        manifest: None,
        highest: CheckpointId(0),
        warnings: Vec::new(),
        drained: false,
        judged: None,
    };
    let open_others = |old: &StreamPlan| -> Result<Committers> {
        let mut old = old.clone();
        let (mut is_dead_letter, _) = wire_dead_letters(&mut old)?;
        crate::beside::wire(&mut old, &mut is_dead_letter)?;
        let (tables, goes_on) = (old.tables.clone(), |sink: &Operator| {
            plan.operator(&sink.id)
                .is_some_and(|now| now.kind == sink.kind)
        });
        for operator in &mut old.operators {
            let OperatorKind::Sink { table } = &operator.kind else {
                continue;
            };
            let same = match (tables.get(table), plan.tables.get(table)) {
                (Some(old), Some(new)) => same_target(old, new),
                (old, new) => old.is_none() && new.is_none(),
            };
            if goes_on(operator) && same {
                // The new plan's committer sees to it.
                operator.kind = OperatorKind::Union;
            }
        }
        let sinks = open_sinks(job, &old, &options, generation)?;
        open_committers(&old, &sinks)
    };
    if let (Some(folder), Some(store)) = (folder.as_mut(), &store) {
        if options.fresh {
            start_afresh(job, &options, store, &runtime, &mut committers)?;
        }
        start = Restore {
            job,
            plan: &user_plan,
            options: &options,
            folder,
            store,
            committers: &mut committers,
            open_others: &open_others,
            runtime: &runtime,
        }
        .run()?;
    }
    let edit_began = clock.elapsed();
    let transition = match (start.judged.take(), start.manifest.take(), &store) {
        (Some(judged), Some(manifest), Some(store)) => {
            Some(judged.start_from(manifest, store, (job, &options), &user_plan, &plan)?)
        }
        (_, manifest, _) => {
            start.manifest = manifest;
            None
        }
    };
    let transition = match transition {
        Some(mut transition) => match (transition.wiring.take(), &mut *folder, &store) {
            (Some(wiring), Some(held), Some(store)) => {
                options.key_groups = transition.manifest.key_groups;
                let order = Order {
                    job,
                    sql,
                    user_plan: &user_plan,
                    options: &options,
                    output: &output,
                    generation,
                    clock: &clock,
                    store,
                    highest: start.highest,
                    scratch: held.scratch(),
                };
                let report = transition.report.clone();
                super::bootstrap::run(&order, transition, wiring)?;
                options.listener.hear(&JobEvent::Upgraded {
                    report: &report,
                    took: clock.elapsed().saturating_sub(edit_began),
                });
                // The new query goes on from its own checkpoint now, as from any other.
                options.restore_from = None;
                options.fresh = false;
                let again = Some(Again {
                    clock,
                    warnings: [said, start.warnings].concat(),
                });
                return prepare(job, sql, user_plan, options, output, folder, again);
            }
            _ => Some(transition),
        },
        None => None,
    };
    if let Some(transition) = &transition {
        start.manifest = Some(transition.manifest.clone());
        options.listener.hear(&JobEvent::Upgraded {
            report: &transition.report,
            took: clock.elapsed().saturating_sub(edit_began),
        });
    }
    if let (true, Some(manifest), Some(store)) = (start.drained, &start.manifest, &store) {
        if let Some(target) = &options.savepoint {
            let order = SavepointOrder {
                folder: Some(target.clone()),
                ..SavepointOrder::default()
            };
            let state_dir = options.state_dir.clone().unwrap_or_default();
            let target = Target::new(&state_dir, manifest.checkpoint, &order)?;
            write_of(
                store,
                manifest.checkpoint,
                &state_dir,
                target,
                clock.wall_micros(),
                &options.checkpoints.storage_settings,
            )?;
        }
        return Ok(Prepared::Drained(Box::new(already_drained(
            manifest,
            start.warnings,
        ))));
    }
    if let Some(manifest) = &start.manifest {
        // Fixed at the first start: keys would be looked for where they are not.
        options.key_groups = manifest.key_groups;
    }
    let scratch = match &*folder {
        Some(folder) => folder.scratch(),
        None => {
            let name = format!("weir-{}-{}", std::process::id(), next_ephemeral());
            std::env::temp_dir().join(name)
        }
    };
    let (sources, opened) = open_sources(&plan, &options, start.manifest.as_ref())?;
    let mut warnings = said;
    for warning in opened.into_iter().chain(start.warnings) {
        // What was said at the first start need not be said again.
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    let (sender, events) = channel();
    let wake = Arc::new(Notify::new());
    let manifest = start.manifest;
    let last = manifest.as_ref().map(|manifest| manifest.checkpoint);
    let workers = options.parallelism as usize;
    let rules = Rules {
        interval: options.checkpoint_interval,
        timeout: options.checkpoints.timeout,
        pause: options.checkpoints.min_pause,
        concurrent: options.checkpoints.max_concurrent,
        tolerable: options.checkpoints.tolerable_failures,
    };
    let mut ledger = CheckpointLedger::new(rules, workers, start.highest, last, clock.elapsed());
    if transition.is_some() {
        // Even if no row comes: until a checkpoint of the new query is there, the next start is that of an edit again.
        ledger.on_epoch();
    }
    let collector = folder.as_ref().map(|folder| {
        let told = (Log::new(folder.path()), options.listener.clone());
        Collector::new(told, &plan, workers, generation.0)
    });
    let publisher = match &store {
        Some(store) => Some(Publisher::new(
            store.clone(),
            committers,
            options.checkpoints_retained,
        )?),
        None => None,
    };
    let topology = Topology::new(&plan, options.parallelism, &is_dead_letter);
    let channels = topology
        .exchanges
        .iter()
        .map(|(_, node, input, _)| {
            (
                (*node, *input),
                (0..workers * workers)
                    .map(|_| Arc::new(Channel::default()))
                    .collect(),
            )
        })
        .collect();
    let budget = match options.simulation_seed.or(options.test_cuts) {
        // Tests want more than one epoch of small inputs, the first one included.
        Some(seed) => 1 + seed % 100,
        None => first_budget(options.batch_rows as u64 * u64::from(options.parallelism)),
    };
    let last_now = manifest
        .as_ref()
        .map_or(i64::MIN, |manifest| manifest.processing_time);
    let shared = Shared {
        name: job.to_owned(),
        sql: sql.to_owned(),
        user_plan,
        topology,
        generation,
        control: EpochControl::new(last_now, sources.len(), budget, wake.clone()),
        clock,
        sources,
        dead_letters,
        beside,
        sinks,
        counters: (0..workers)
            .map(|_| WorkerCounters::new(plan.operators.len()))
            .collect(),
        channels,
        wakes: (0..workers).map(|_| Arc::new(Notify::new())).collect(),
        events: EventSender { sender, wake },
        outputs: Outputs::default(),
        output,
        state: SharedState::new(options.backend, options.state_memory)?,
        scratch,
        bootstrap: None,
        restored_watermarks: part(manifest.as_ref(), "watermarks", |manifest| {
            &manifest.watermarks
        })?,
        restored_counters: part(manifest.as_ref(), "counters", |manifest| &manifest.counters)?,
        restore: match (&transition, &manifest, &store) {
            (Some(transition), _, _) => Some(transition.restoring.clone()),
            (None, Some(manifest), Some(store)) => Some(Restoring::unchanged(
                &manifest.restore_from(store),
                &crate::operators::table_specs(&plan),
            )?),
            _ => None,
        },
        evolution: match (&transition, &manifest) {
            (Some(transition), _) => transition.evolution.to_value()?,
            (None, Some(manifest)) => manifest.evolution.clone(),
            (None, None) => Value::Null,
        },
        transition,
        store,
        last_checkpoint: AtomicU64::new(last.map_or(0, |last| last.0)),
        restored_checkpoint: last.map_or(0, |last| last.0),
        watermark: AtomicI64::new(i64::MIN),
        stopping: AtomicBool::new(false),
        abandoned: AtomicBool::new(false),
        warnings: Mutex::new(warnings),
        plan,
        options,
    };
    Ok(Prepared::Ready(Box::new(Ready {
        shared: Arc::new(shared),
        events,
        ledger,
        publisher,
        collector,
        resumed_from: last,
    })))
}

fn new_clock(options: &JobOptions) -> Arc<Clock> {
    match (options.simulation_seed, options.test_clock) {
        (Some(_), _) => Clock::simulated(),
        (None, Some(wall_micros)) => Clock::fixed(wall_micros),
        (None, None) => Clock::system(),
    }
}

/// A URL that this build cannot reach is the user's to change.
fn storage_refused(error: weir_state::Error) -> Error {
    match error {
        weir_state::Error::Incompatible(what) => {
            let help = "a folder (one that is mounted from elsewhere will do), file:///folder, 'memory:', s3://bucket/path, \
                        gs://bucket/path and az://container/path are possible";
            Error::Plan(Diagnostic::error("J0020", what).help(help).into())
        }
        other => Error::State(other),
    }
}

/// Where the job's checkpoints are.
fn storage(
    job: &str,
    folder: &JobFolder,
    options: &JobOptions,
    clock: &Arc<Clock>,
) -> StorageOptions {
    let hook = match options.simulation_faults {
        Some(seed) => Some(simulate::storage_faults(seed, clock)),
        None => options.checkpoints.storage_hook.clone(),
    };
    StorageOptions {
        url: options.checkpoints.storage.clone(),
        settings: options.checkpoints.storage_settings.clone(),
        home: folder.checkpoints(),
        base: options.base.clone(),
        job: job.to_owned(),
        patience: options.checkpoints.timeout,
        hook,
    }
}

/// Ephemeral jobs of one process have scratch folders of their own.
fn next_ephemeral() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn already_drained(manifest: &Manifest, mut warnings: Vec<String>) -> JobSummary {
    if warnings.is_empty() {
        warnings.push(format!(
            "finished at {} UTC; --fresh runs it again",
            EventTime(manifest.processing_time)
        ));
    }
    let progress = Progress {
        last_checkpoint: Some(manifest.checkpoint),
        warnings,
        ..Progress::default()
    };
    JobSummary {
        outcome: Outcome::AlreadyDrained,
        progress,
        elapsed: Duration::ZERO,
        resumed_from: Some(manifest.checkpoint),
        checkpoints: 0,
        late: Vec::new(),
        written: Vec::new(),
        operators: Vec::new(),
        finished_at_micros: Some(manifest.processing_time),
    }
}

/// A part of the manifest in the engine's form.
pub(super) fn part<T: DeserializeOwned + Default>(
    manifest: Option<&Manifest>,
    name: &str,
    value: impl Fn(&Manifest) -> &Value,
) -> Result<T> {
    let Some(manifest) = manifest else {
        return Ok(T::default());
    };
    match value(manifest) {
        Value::Null => Ok(T::default()),
        value => serde_json::from_value(value.clone()).map_err(|error| {
            Error::Job(format!(
                "the {name} in checkpoint {} cannot be read: {error}",
                manifest.checkpoint
            ))
        }),
    }
}

pub(super) fn open_sinks(
    job: &str,
    plan: &StreamPlan,
    options: &JobOptions,
    generation: Generation,
) -> Result<Vec<Option<Box<dyn Sink>>>> {
    let mut sinks = Vec::new();
    for operator in &plan.operators {
        let OperatorKind::Sink { table } = &operator.kind else {
            sinks.push(None);
            continue;
        };
        let definition = plan.tables.get(table).ok_or_else(|| Error::Internal {
            operator: operator.id.clone(),
            message: format!("the plan does not define table `{table}`"),
        })?;
        let primary_key = Some(definition.primary_key.clone()).filter(|key| !key.is_empty());
        let request = TableRequest {
            table: table.clone(),
            options: definition.options.clone(),
            option_spans: definition.option_spans.clone(),
            columns: operator.schema.clone(),
            declared: definition
                .columns
                .iter()
                .map(|column| column.column.clone())
                .collect(),
            unread_fields: Vec::new(),
            metadata: Vec::new(),
            // A sink's own mode: dead letters are only added, whatever their source gives.
            retractions: operator.changelog == Changelog::Retractions,
            unique_key: primary_key.or_else(|| operator.unique_key.clone()),
            partitioned_by: definition.partitioned_by.clone(),
            base: options.base.clone(),
            table_span: definition.span,
        };
        let environment = SinkEnvironment {
            job: job.to_owned(),
            sink: operator.id.to_string(),
            generation,
            exactly_once: options.exactly_once,
            base: options.base.clone(),
        };
        sinks.push(Some(
            match options.program.sink(&request, &environment)? {
                Some(sink) => sink,
                None if definition.is_materialized_view() => Box::new(crate::views::ViewSink),
                None => open_sink(request, &environment)?,
            },
        ));
    }
    Ok(sinks)
}

pub(super) fn open_committers(
    plan: &StreamPlan,
    sinks: &[Option<Box<dyn Sink>>],
) -> Result<Committers> {
    let mut committers = Vec::new();
    for (operator, sink) in plan.operators.iter().zip(sinks) {
        if let Some(sink) = sink {
            committers.push((operator.id.clone(), sink.committer()?));
        }
    }
    Ok(committers)
}

fn open_sources(
    plan: &StreamPlan,
    options: &JobOptions,
    manifest: Option<&Manifest>,
) -> Result<(Vec<SharedSource>, Vec<String>)> {
    let restored: SourceCheckpoint = part(manifest, "positions", |manifest| &manifest.sources)?;
    let nothing = BTreeMap::new();
    let mut sources = Vec::new();
    let mut warnings = Vec::new();
    for (index, operator) in plan.operators.iter().enumerate() {
        let OperatorKind::Source { table, .. } = &operator.kind else {
            continue;
        };
        let definition = plan.tables.get(table).ok_or_else(|| Error::Internal {
            operator: operator.id.clone(),
            message: format!("the plan does not define table `{table}`"),
        })?;
        let columns = ColumnPlan::new(plan, index)?;
        let request = columns.request(plan, index, &options.base)?;
        let source = match &options.state_tables {
            Some(tables) if is_state_table(&request) => state_source(tables, &request)?,
            _ => match options.program.source(&request)? {
                Some(source) => source,
                None => open_source(request)?,
            },
        };
        if !source.replayable() && options.state_dir.is_some() {
            warnings.push(format!(
                "table `{table}` cannot be read again: a crash loses what was not checkpointed"
            ));
        }
        if let Some(again) = &options.again {
            let again = again.sources.get(operator.id.as_str()).cloned();
            let mut source = SharedSource::open_again(
                index,
                operator.id.clone(),
                source,
                columns,
                definition.watermark.is_some(),
                again.unwrap_or_default(),
            )?;
            source.one_reader_of = (operator.changelog == Changelog::Retractions)
                .then_some(options.parallelism.max(1) as usize);
            sources.push(source);
            continue;
        }
        let limit = options
            .stop_after
            .iter()
            .find(|(of, _)| of.as_ref().is_none_or(|of| of == table))
            .map(|(_, records)| *records);
        // An option of the table, or a setting for all; zero turns it off. Both were checked.
        let option = |key: &str| {
            let value = definition
                .options
                .get(key)
                .or_else(|| plan.settings.get(key))?;
            parse_duration(value).filter(|duration| !duration.is_zero())
        };
        let (mut source, more) = SharedSource::open(
            index,
            operator.id.clone(),
            source,
            columns,
            definition.watermark.is_some(),
            limit,
            option("source.idle-timeout"),
            option("watermark.max-drift").map(|drift| drift.as_micros() as i64),
            restored.get(operator.id.as_str()).unwrap_or(&nothing),
        )?;
        source.one_reader_of = (operator.changelog == Changelog::Retractions)
            .then_some(options.parallelism.max(1) as usize);
        warnings.extend(more);
        sources.push(source);
    }
    Ok((sources, warnings))
}
