//! Building a worker on its own thread: state, operators, wiring, restored watermarks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::Notify;
use weir_planner::plan::OperatorKind;
use weir_state::{WorkerOptions, WorkerState};
use weir_types::{KeyGroupRange, ProcessingTime, WorkerId};

use super::Worker;
use super::align::Alignment;
use super::bootstrap;
use super::inlet::Inlet;
use super::item::{Feed, Item, Root, Standing};
use super::node::Node;
use crate::beside::DeadLetters;
use crate::exchange::{Channel, Outlet};
use crate::job::Shared;
use crate::operators::{self, BuildContext, Operator, OperatorContext};
use crate::source::Reader;
use crate::statistics::OperatorFigures;
use crate::topology::Route;
use crate::{OutputHandler, Result};

impl Worker {
    /// Opens the worker's state and builds its operators.
    pub(crate) fn build(id: WorkerId, job: Arc<Shared>) -> Result<Self> {
        let state = open_state(id, &job)?;
        crate::evolution::fill(id, &job, &state)?;
        let other_states = bootstrap::open_others(id, &job, &state)?;
        let output_epoch = Arc::new(AtomicU64::new(1));
        let mut nodes = Vec::with_capacity(job.plan.operators.len());
        for (index, by_clock) in operators::by_clock(&job.plan).into_iter().enumerate() {
            let operator = match &job.bootstrap {
                Some(bootstrap) => {
                    bootstrap::operator(id, &job, bootstrap, (&state, &other_states), index)?
                }
                None => build_operator(id, &job, &state, index, &output_epoch)?,
            };
            let mut node = build_node(id, &job, index, operator);
            node.by_clock = by_clock;
            nodes.push(node);
        }
        let node_of = |operator: &weir_types::OperatorId| {
            nodes.iter().position(|node: &Node| node.id == *operator)
        };
        let tables = state.table_names().iter();
        let table_nodes = tables.map(|(operator, _)| node_of(operator)).collect();
        let roots = build_roots(id, &job, &nodes)?;
        let nodes_active = match &job.bootstrap {
            Some(bootstrap) => bootstrap.active_nodes(),
            None => nodes.len(),
        };
        let simulated = job.options.simulation_seed.is_some();
        let seed = job.options.simulation_seed.or(job.options.test_cuts);
        let random =
            seed.map(|seed| SmallRng::seed_from_u64(seed.wrapping_add(1 + u64::from(id.0))));
        Ok(Self {
            id,
            nodes_left: nodes_active,
            nodes_active,
            nodes,
            roots,
            epoch: 1,
            output_epoch,
            state,
            other_states,
            snapshots: Vec::new(),
            table_nodes,
            ctx: OperatorContext {
                keeps_late: job.beside.late.is_some(),
                ..OperatorContext::new(ProcessingTime(0), job.options.batch_rows)
            },
            random,
            single_root: simulated,
            running: 0,
            job,
        })
    }
}

fn open_state(id: WorkerId, job: &Shared) -> Result<WorkerState> {
    let options = worker_options(id, job, "");
    let tables = match &job.bootstrap {
        Some(bootstrap) => bootstrap.tables.clone(),
        None => operators::table_specs(&job.plan),
    };
    Ok(WorkerState::open_from(
        job.state.clone(),
        options,
        tables,
        job.restore.as_ref(),
    )?)
}

/// Where a worker's state lives; `kind` tells apart what it has several of.
pub(super) fn worker_options(id: WorkerId, job: &Shared, kind: &str) -> WorkerOptions {
    WorkerOptions {
        worker: id,
        range: KeyGroupRange::of_worker(id, job.options.parallelism, job.options.key_groups),
        key_groups: job.options.key_groups,
        generation: job.generation,
        scratch: job.scratch.join(format!("g{}-w{id}{kind}", job.generation)),
        inline_writes: job.options.simulation_seed.is_some() || job.options.checkpoints.synchronous,
        snapshots: job.options.checkpoints.snapshots,
    }
}

/// The operator of a node; `None`: a source.
pub(super) fn build_operator(
    id: WorkerId,
    job: &Arc<Shared>,
    state: &WorkerState,
    index: usize,
    output_epoch: &Arc<AtomicU64>,
) -> Result<Option<Box<dyn Operator>>> {
    let operator = &job.plan.operators[index];
    Ok(match &operator.kind {
        OperatorKind::Source { .. } => None,
        _ => {
            let sink = match &job.sinks[index] {
                Some(sink) => Some((sink.writer(id)?, sink.wants_snapshot())),
                None => None,
            };
            let output = matches!(operator.kind, OperatorKind::Output { .. })
                .then(|| collecting_handler(id, job, output_epoch));
            Some(operators::build(BuildContext {
                plan: &job.plan,
                index,
                worker: id,
                parallelism: job.options.parallelism,
                key_groups: job.options.key_groups,
                state,
                batch_rows: job.options.batch_rows,
                sink,
                output,
            })?)
        }
    })
}

fn build_node(
    id: WorkerId,
    job: &Arc<Shared>,
    index: usize,
    built: Option<Box<dyn Operator>>,
) -> Node {
    let operator = &job.plan.operators[index];
    let upstream = |input: usize| {
        let exchanged = job
            .topology
            .exchanges
            .iter()
            .any(|(_, node, other, _)| *node == index && *other == input);
        if exchanged {
            job.options.parallelism as usize
        } else {
            1
        }
    };
    let channels: Vec<usize> = (0..operator.inputs.len()).map(upstream).collect();
    let restored = job.restored_watermarks(index);
    let side = built.as_ref().and_then(|operator| operator.side_input());
    let mut locals = Vec::new();
    let mut outlets = Vec::new();
    for consumer in &job.topology.consumers[index] {
        match &consumer.route {
            Route::Local => locals.push((consumer.node, consumer.input, true)),
            Route::DeadLetter => locals.push((consumer.node, consumer.input, false)),
            Route::Exchange(keys) => {
                let targets = (0..job.options.parallelism)
                    .map(|to| channel(job, consumer.node, consumer.input, id.0, to, to))
                    .collect();
                outlets.push(Outlet::new(
                    keys.clone(),
                    job.options.key_groups,
                    job.options.batch_rows,
                    targets,
                ));
            }
        }
    }
    Node {
        id: operator.id.clone(),
        operator: built,
        busy: false,
        alignment: Alignment::new(&channels, &restored, side),
        held: None,
        locals,
        outlets,
        is_sink: matches!(
            operator.kind,
            OperatorKind::Sink { .. } | OperatorKind::Output { .. }
        ),
        by_clock: false,
        rejected: 0,
        figures: OperatorFigures::default(),
        barrier_since: None,
        // A sink may keep its whole result.
        is_stateful: operator.is_stateful()
            || matches!(operator.kind, OperatorKind::Sink { .. })
            || job.bootstrap.is_some(),
    }
}

/// Gathers what is printed by worker and epoch; the coordinator hands it over once the epoch is through.
fn collecting_handler(id: WorkerId, job: &Arc<Shared>, epoch: &Arc<AtomicU64>) -> OutputHandler {
    // Weak: the handler lives in an operator that the job's own data must not keep alive.
    let job = Arc::downgrade(job);
    let epoch = epoch.clone();
    Arc::new(move |event| {
        if let Some(job) = job.upgrade() {
            job.outputs
                .collect(epoch.load(Ordering::Acquire), id, event);
        }
        std::ops::ControlFlow::Continue(())
    })
}

/// The channel of an exchange edge from one worker to another, and the wake-up of worker `wake`.
fn channel(
    job: &Shared,
    node: usize,
    input: usize,
    from: u32,
    to: u32,
    wake: u32,
) -> (Arc<Channel>, Arc<Notify>) {
    let workers = job.options.parallelism as usize;
    let grid = &job.channels[&(node, input)];
    (
        grid[from as usize * workers + to as usize].clone(),
        job.wakes[wake as usize].clone(),
    )
}

/// Inlets first, the last of the plan first: what is further down makes room for what is above.
fn build_roots(id: WorkerId, job: &Arc<Shared>, nodes: &[Node]) -> Result<Vec<Root>> {
    let mut restored = Root {
        feed: Feed::Restored,
        stack: Vec::new(),
    };
    for (index, node) in nodes.iter().enumerate().rev() {
        let value = node.alignment.watermark();
        // Also where it is still MIN: an operator with restored state must not take the first new watermark for it.
        let fires = match &job.bootstrap {
            Some(bootstrap) => bootstrap.runs(index),
            None => node.operator.is_some(),
        };
        if fires {
            restored.stack.push(Item::Fire { node: index, value });
        }
    }
    let mut roots = vec![restored];
    let mut edges: Vec<(usize, usize)> = job
        .topology
        .exchanges
        .iter()
        .map(|(_, node, input, _)| (*node, *input))
        .collect();
    edges.sort_unstable_by(|a, b| b.cmp(a));
    for (node, input) in edges {
        let channels = (0..job.options.parallelism)
            .map(|from| channel(job, node, input, from, id.0, from))
            .collect();
        let feed = Feed::Inlet(Inlet::new(node, input, channels));
        roots.push(Root {
            feed,
            stack: Vec::new(),
        });
    }
    for node in job.bootstrap.iter().flat_map(|of| of.givers()) {
        roots.push(Root {
            feed: Feed::Standing(Standing {
                node,
                at_barrier: false,
                given: None,
            }),
            stack: Vec::new(),
        });
    }
    for (index, source) in job.sources.iter().enumerate() {
        let reader = Box::new(Reader::new(&job.plan, source, job.options.batch_rows)?);
        let dead_letters = job
            .dead_letters
            .get(&source.node)
            .map(|&node| DeadLetters::new(&job.plan, node));
        let feed = Feed::Source {
            index,
            reader,
            dead_letters,
        };
        roots.push(Root {
            feed,
            stack: Vec::new(),
        });
    }
    Ok(roots)
}
