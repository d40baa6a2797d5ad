//! The run between an old query and a new one: state is computed from state, and one checkpoint says so.
//!
//! ```text
//!   prepare ─▶ the query was edited, and something is computed ─▶ run: workers, coordinator, publisher, no source
//!      ▲                                                               │ one checkpoint: state, old positions, the
//!      └──────────── prepare again, from that checkpoint ◀─────────────┘ sinks' transaction with the difference
//! ```
//!
//! # Invariants
//! 1. Whatever goes wrong before the manifest is durable leaves the old checkpoint as the newest; afterwards the new one is,
//!    and nothing of the edit is left to do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use weir_planner::plan::StreamPlan;
use weir_state::{CheckpointStore, SharedState};
use weir_types::{CheckpointId, Generation};

use super::start::{open_committers, open_sinks};
use super::{Shared, supervise};
use crate::clock::Clock;
use crate::coordinator::{
    CheckpointLedger, EpochControl, EventSender, Outputs, Publisher, Rules, first_budget,
};
use crate::evolution::Transition;
use crate::evolution::bootstrap::{Bootstrap, Wiring};
use crate::exchange::Channel;
use crate::failpoint::pass;
use crate::worker::WorkerCounters;
use crate::{JobControl, JobOptions, OutputHandler, Result, simulate};

/// What the run needs of the start that it belongs to.
pub(super) struct Order<'a> {
    pub(super) job: &'a str,
    pub(super) sql: &'a str,
    /// The plan as it was given.
    pub(super) user_plan: &'a StreamPlan,
    pub(super) options: &'a JobOptions,
    pub(super) output: &'a OutputHandler,
    pub(super) generation: Generation,
    pub(super) clock: &'a Arc<Clock>,
    pub(super) store: &'a Arc<CheckpointStore>,
    /// The highest number of a checkpoint so far.
    pub(super) highest: CheckpointId,
    pub(super) scratch: PathBuf,
}

/// Computes what is wired, and publishes the first checkpoint of the new plan.
pub(super) fn run(order: &Order<'_>, transition: Transition, wiring: Wiring) -> Result<()> {
    pass("engine.evolution.compute")?;
    let mut options = order.options.clone();
    // The difference becomes visible with the checkpoint, whatever the job does later.
    options.exactly_once = true;
    options.control = JobControl::default();
    options.stop_after.clear();
    let sinks = open_sinks(order.job, &wiring.plan, &options, order.generation)?;
    let committers = open_committers(&wiring.plan, &sinks)?;
    let publisher = Publisher::new(
        order.store.clone(),
        committers,
        options.checkpoints_retained,
    )?;
    let workers = options.parallelism as usize;
    let rules = Rules {
        interval: options.checkpoint_interval,
        timeout: options.checkpoints.timeout,
        pause: std::time::Duration::ZERO,
        concurrent: 1,
        tolerable: Some(0),
    };
    let now = order.clock.elapsed();
    let ledger = CheckpointLedger::new(rules, workers, order.highest, None, now);
    let (sender, events) = channel();
    let wake = Arc::new(Notify::new());
    let events_to = EventSender {
        sender,
        wake: wake.clone(),
    };
    let shared = Arc::new(shared(
        order, options, transition, wiring, sinks, events_to, wake,
    )?);
    let ended = match shared.options.simulation_seed {
        Some(seed) => simulate::run(seed, &shared, events, ledger, Some(publisher), None),
        None => supervise::run_threads(&shared, events, ledger, Some(publisher), None),
    };
    // Databases are of no worth any more; what counts is in the checkpoint.
    let _ = std::fs::remove_dir_all(&shared.scratch);
    ended?;
    pass("engine.evolution.computed")
}

fn shared(
    order: &Order<'_>,
    options: JobOptions,
    transition: Transition,
    wiring: Wiring,
    sinks: Vec<Option<Box<dyn weir_connectors::Sink>>>,
    events: EventSender,
    wake: Arc<Notify>,
) -> Result<Shared> {
    let workers = options.parallelism as usize;
    let topology = wiring.topology(options.parallelism);
    let exchanges = topology.exchanges.iter();
    let channels = exchanges.map(|(_, node, input, _)| {
        let grid = (0..workers * workers).map(|_| Arc::new(Channel::default()));
        ((*node, *input), grid.collect::<Vec<_>>())
    });
    let channels = channels.collect();
    let budget = match options.simulation_seed.or(options.test_cuts) {
        Some(seed) => 1 + seed % 100,
        None => first_budget(options.batch_rows as u64 * u64::from(options.parallelism)),
    };
    let plan = wiring.plan.clone();
    let manifest = &transition.manifest;
    let bootstrap = Bootstrap::new(
        wiring,
        transition.old_plan.clone(),
        transition.old_manifest.restore_from(order.store),
        crate::operators::table_specs(&transition.plan),
        super::start::part(Some(manifest), "positions", |manifest| &manifest.sources)?,
        super::start::part(Some(manifest), "watermarks", |manifest| {
            &manifest.watermarks
        })?,
        workers,
    );
    Ok(Shared {
        name: order.job.to_owned(),
        sql: order.sql.to_owned(),
        user_plan: order.user_plan.clone(),
        topology,
        generation: order.generation,
        control: EpochControl::new(manifest.processing_time, 1, budget, wake),
        clock: order.clock.clone(),
        sources: Vec::new(),
        dead_letters: BTreeMap::new(),
        beside: crate::beside::Beside::default(),
        sinks,
        counters: (0..workers)
            .map(|_| WorkerCounters::new(plan.operators.len()))
            .collect(),
        channels,
        wakes: (0..workers).map(|_| Arc::new(Notify::new())).collect(),
        events,
        outputs: Outputs::default(),
        output: order.output.clone(),
        state: SharedState::new(options.backend, options.state_memory)?,
        scratch: order.scratch.join("edit"),
        bootstrap: Some(Arc::new(bootstrap)),
        restored_watermarks: BTreeMap::new(),
        restored_counters: super::start::part(Some(manifest), "counters", |manifest| {
            &manifest.counters
        })?,
        restore: Some(transition.restoring.clone()),
        evolution: transition.evolution.to_value()?,
        transition: Some(transition),
        store: Some(order.store.clone()),
        last_checkpoint: AtomicU64::new(0),
        restored_checkpoint: 0,
        watermark: AtomicI64::new(i64::MIN),
        stopping: AtomicBool::new(false),
        abandoned: AtomicBool::new(false),
        warnings: Mutex::new(Vec::new()),
        plan,
        options,
    })
}
