//! A worker: one instance of every operator, its share of the state, and a loop that never blocks inside.
//!
//! ```text
//!   roots                         stack of each root (top first)
//!   ─────                         ──────────────────────────────
//!   inlet of operator 5     ──▶   [Batch → 6] [Resume 5]
//!   inlet of operator 3     ──▶   []
//!   reader of source 0      ──▶   [Batch → 1]
//! ```
//!
//! A *root* is where rows enter the worker: a source's reader or an inlet of an exchange. What follows from one entering
//! batch, watermark or barrier is a stack of items; an item is one call of an operator, and what that call gives is
//! pushed on top: operators without an exchange between them are fused into plain calls, depth first, one batch at a
//! time. A root takes its next input when its stack is empty.
//!
//! An item whose operator cannot send (a channel of its outlets is full) or owes a `resume` to another root's item
//! stays where it is, and with it that root alone. `exchange.rs` says why that cannot deadlock.
//!
//! # Epochs
//! A worker is in one epoch at a time. Its readers end the epoch where the dealers say so; barriers flow down; an
//! operator whose inputs have all ended the epoch is flushed and passes the barrier on. When every operator has,
//! the epoch is complete here: sinks prepare and state is frozen if it ends with a checkpoint, the coordinator is told,
//! and the next epoch begins, whether or not other workers are there yet.
//!
//! # Invariants
//! 1. Rows of epoch e+1 reach no operator of this worker before all of them have flushed epoch e: every cut at an
//!    epoch's end is consistent.
//! 2. An operator that holds rows until the barrier holds the watermark until then too.
//! 3. Nothing in here waits: `step` returns, and whoever drives it decides how to wait (a thread parks, the
//!    simulation runs somebody else).

mod align;
mod bootstrap;
mod build;
mod epoch;
mod inlet;
mod item;
mod node;
mod place;
mod standing;
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use weir_state::{PendingSnapshot, WorkerState};
use weir_types::{ChangeBatch, CheckpointId, OperatorId, ProcessingTime, Watermark, WorkerId};

use align::Change;
use inlet::Received;
use item::{Feed, Item, Root};
use node::Node;
pub(crate) use thread::{guarded, run as run_thread, step};

use crate::beside;
use crate::exchange::Message;
use crate::job::Shared;
use crate::metrics::OperatorCounters;
use crate::operators::{OperatorContext, Progress};
use crate::source::{Surroundings, Turn};
use crate::{Error, Result};

/// A root works off at most this many items before others get their turn.
const ITEMS_PER_TURN: usize = 64;

/// One worker of a job.
pub(crate) struct Worker {
    id: WorkerId,
    job: Arc<Shared>,
    nodes: Vec<Node>,
    roots: Vec<Root>,
    epoch: u64,
    /// The same for the handlers of printed rows.
    output_epoch: Arc<AtomicU64>,
    /// Operators that have not flushed the epoch yet, and how many there are.
    nodes_left: usize,
    nodes_active: usize,
    state: WorkerState,
    /// Where state is computed from state: the old one, and what is needed on the way.
    other_states: Vec<WorkerState>,
    snapshots: Vec<(CheckpointId, PendingSnapshot)>,
    /// The node of each table of `state`.
    table_nodes: Vec<Option<usize>>,
    ctx: OperatorContext,
    /// Random order of roots, batch cuts and chunk sizes, for tests.
    random: Option<SmallRng>,
    /// One root a step instead of all: finer interleavings for the simulation.
    single_root: bool,
    /// The operator that runs, for the report of a panic.
    running: usize,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was done.
    Worked,
    /// Nothing can be done before somebody sends, makes room, or time passes.
    Idle,
}

/// Counters of one worker, by operator; read by the coordinator at checkpoints and by progress at any time.
#[derive(Debug, Default)]
pub(crate) struct WorkerCounters {
    pub(crate) records_in: AtomicU64,
    /// Malformed records.
    pub(crate) rejected: AtomicU64,
    /// Rows left out by `'row.error' = 'skip'`.
    pub(crate) failed: AtomicU64,
    /// By operator: late rows.
    pub(crate) late: Vec<AtomicU64>,
    /// By operator: rows given to a sink or printed.
    pub(crate) written: Vec<AtomicU64>,
    /// By operator: what it has done.
    pub(crate) operators: Vec<OperatorCounters>,
}

impl WorkerCounters {
    pub(crate) fn new(operators: usize) -> Self {
        let zeros = || (0..operators).map(|_| AtomicU64::new(0)).collect();
        Self {
            late: zeros(),
            written: zeros(),
            operators: (0..operators)
                .map(|_| OperatorCounters::default())
                .collect(),
            ..Self::default()
        }
    }
}

impl Worker {
    /// Lets every root do some work; whoever drives the worker calls it again and again.
    pub(crate) fn step(&mut self) -> Result<Step> {
        let mut worked = self.poll_snapshots();
        // A restored operator sees its watermark before anything else.
        while !self.roots[0].stack.is_empty() && self.run_root(0)? {}
        let mut order: Vec<usize> = (0..self.roots.len()).collect();
        if let Some(random) = &mut self.random {
            order.shuffle(random);
        }
        for root in order {
            let moved = self.run_root(root)?;
            worked |= moved;
            if moved && self.single_root {
                break;
            }
        }
        if self.nodes_left == 0 {
            self.complete_epoch()?;
            worked = true;
        }
        Ok(if worked { Step::Worked } else { Step::Idle })
    }

    /// The operator that runs or ran last.
    pub(crate) fn running(&self) -> OperatorId {
        self.nodes[self.running].id.clone()
    }

    /// Whether a snapshot is being written: the driver looks again soon.
    pub(crate) fn has_snapshots(&self) -> bool {
        !self.snapshots.is_empty()
    }

    fn run_root(&mut self, root: usize) -> Result<bool> {
        let mut worked = false;
        for _ in 0..ITEMS_PER_TURN {
            if self.roots[root].stack.is_empty() {
                // One input a turn: roots downstream get theirs before more is read.
                return Ok(self.feed(root)? || worked);
            }
            let Some(item) = self.roots[root].stack.pop() else {
                return Ok(worked);
            };
            if !self.is_ready(&item) {
                self.roots[root].stack.push(item);
                return Ok(worked);
            }
            self.running = item.node();
            let mut stack = std::mem::take(&mut self.roots[root].stack);
            let done = self.run(item, &mut stack);
            self.roots[root].stack = stack;
            done.map_err(|error| self.place_error(root, error))?;
            worked = true;
        }
        Ok(worked)
    }

    /// Whether an item can run: its operator may be called, and there is room for what it gives.
    fn is_ready(&self, item: &Item) -> bool {
        let node = &self.nodes[item.node()];
        match item {
            Item::Resume { .. } | Item::Give { .. } => node.has_room(),
            Item::Batch { .. } | Item::Fire { .. } | Item::Barrier { .. } => {
                !node.busy && node.has_room()
            }
            // Signals are small and few: they are always taken.
            _ => true,
        }
    }

    /// Takes the next input of a root.
    fn feed(&mut self, root: usize) -> Result<bool> {
        let Root { feed, stack } = &mut self.roots[root];
        match feed {
            Feed::Restored => Ok(false),
            Feed::Standing(_) => self.feed_standing(root),
            Feed::Inlet(inlet) => {
                let (node, input) = (inlet.node, inlet.input);
                match inlet.receive() {
                    None => return Ok(false),
                    Some(Received::Barrier) => {
                        let since = inlet.take_barrier_since();
                        let first = &mut self.nodes[node].barrier_since;
                        *first = first.or(since).min(since.or(*first));
                        stack.push(Item::Barrier { node });
                    }
                    Some(Received::Message(channel, message)) => stack.push(match message {
                        Message::Batch(batch) => Item::Batch { node, input, batch },
                        Message::Watermark(value) => Item::Watermark {
                            node,
                            input,
                            channel,
                            value,
                        },
                        Message::Idle => Item::Idle {
                            node,
                            input,
                            channel,
                        },
                        Message::Barrier => {
                            return Err(self.wrong(node, "a barrier passed the inlet"));
                        }
                    }),
                }
                Ok(true)
            }
            Feed::Source {
                index,
                reader,
                dead_letters,
            } => {
                let source = &self.job.sources[*index];
                let node = source.node;
                self.running = node;
                let started = Instant::now();
                let turn = reader.turn(Surroundings {
                    worker: self.id,
                    source,
                    entry: *index,
                    control: &self.job.control,
                    clock: &self.job.clock,
                    epoch: self.epoch,
                    chunk_records_max: self.job.chunk_records_max(),
                    cuts: self.random.as_mut(),
                })?;
                let worked = !matches!(turn, Turn::Nothing);
                let published = matches!(turn, Turn::Worked | Turn::Barrier);
                let counted = &self.job.counters[self.id.0 as usize].operators[node];
                let figures = &mut self.nodes[node].figures;
                if worked {
                    let took = started.elapsed();
                    figures.busy += took;
                    counted.on_busy(took);
                    counted.on_records(reader.records);
                }
                if let Turn::Rows(batch) = &turn {
                    figures.rows += batch.num_rows() as u64;
                }
                match turn {
                    Turn::Nothing | Turn::Worked => {}
                    Turn::Rows(batch) => stack.push(Item::Give { node, batch }),
                    Turn::Watermark(value) => stack.push(Item::Forward { node, value }),
                    Turn::Idle => stack.push(Item::ForwardIdle { node }),
                    Turn::Barrier => stack.push(Item::ForwardBarrier { node }),
                }
                let counters = &self.job.counters[self.id.0 as usize];
                counters
                    .records_in
                    .fetch_add(std::mem::take(&mut reader.records), Ordering::Relaxed);
                counters
                    .failed
                    .fetch_add(std::mem::take(&mut reader.rejected_rows), Ordering::Relaxed);
                if !reader.failed.is_empty()
                    && let Some(sink) = self.job.beside.failed
                {
                    let failed = std::mem::take(&mut reader.failed);
                    let rows = beside::failed_rows(&self.job.plan, sink, &failed);
                    let batch = rows.map_err(|error| Error::Internal {
                        operator: self.nodes[sink].id.clone(),
                        message: error.to_string(),
                    })?;
                    stack.push(beside_item(sink, batch));
                }
                let rejected = std::mem::take(&mut reader.rejected);
                if !rejected.is_empty() {
                    counters
                        .rejected
                        .fetch_add(rejected.len() as u64, Ordering::Relaxed);
                    if let Some(table) = dead_letters {
                        let batch = table.rows(&rejected).map_err(|error| Error::Internal {
                            operator: self.nodes[table.node].id.clone(),
                            message: error.to_string(),
                        })?;
                        stack.push(Item::Batch {
                            node: table.node,
                            input: 0,
                            batch,
                        });
                    }
                }
                if published {
                    // Another worker may wait for this chunk's watermark, or for the end of the epoch.
                    self.job.wake_workers();
                }
                Ok(worked)
            }
        }
    }

    fn run(&mut self, item: Item, stack: &mut Vec<Item>) -> Result<()> {
        match item {
            Item::Batch { node, input, batch } => {
                self.nodes[node].figures.rows += batch.num_rows() as u64;
                self.counted(node).on_batch(batch.num_rows());
                if self.nodes[node].is_sink {
                    let written = &self.job.counters[self.id.0 as usize].written[node];
                    written.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                }
                self.call(node, stack, |operator, ctx| {
                    operator.on_batch(input, batch, ctx)
                })
            }
            Item::Watermark {
                node,
                input,
                channel,
                value,
            } => {
                let change = self.nodes[node]
                    .alignment
                    .on_watermark(input, channel, value);
                push_change(node, change, stack);
                Ok(())
            }
            Item::Idle {
                node,
                input,
                channel,
            } => {
                let change = self.nodes[node].alignment.on_idle(input, channel);
                push_change(node, change, stack);
                Ok(())
            }
            Item::Barrier { node } => {
                let since = *self.nodes[node]
                    .barrier_since
                    .get_or_insert_with(Instant::now);
                if self.nodes[node].alignment.on_barrier() {
                    let started = Instant::now();
                    let of = &mut self.nodes[node];
                    of.barrier_since = None;
                    of.tell_side_end();
                    of.figures.alignment = started.saturating_duration_since(since);
                    let waited = of.figures.alignment;
                    self.counted(node).on_aligned(waited);
                    stack.push(Item::ForwardBarrier { node });
                    stack.push(Item::ForwardHeld { node });
                    if self.nodes[node].is_clock() {
                        let value = clock_watermark(self.job.control.now(self.epoch));
                        stack.push(Item::Forward { node, value });
                    }
                    self.call(node, stack, |operator, ctx| operator.on_epoch_end(ctx))?;
                    self.nodes[node].figures.flush = started.elapsed();
                }
                Ok(())
            }
            // A clock says at the barrier what time it is, and passes on only that its input has ended.
            Item::Fire { node, value } if self.nodes[node].is_clock() && value < Watermark::MAX => {
                Ok(())
            }
            Item::ForwardIdle { node } if self.nodes[node].is_clock() => Ok(()),
            Item::Fire { node, value } => {
                if value == Watermark::MAX && self.nodes[node].is_stateful {
                    // The last look before the end of its input empties it.
                    self.sample_state();
                }
                let forwarded = value.minus(self.nodes[node].watermark_delay());
                stack.push(Item::Forward {
                    node,
                    value: forwarded,
                });
                self.call(node, stack, |operator, ctx| {
                    operator.on_watermark(value, ctx)
                })
            }
            Item::Resume { node } => {
                self.nodes[node].busy = false;
                self.call(node, stack, |operator, ctx| operator.resume(ctx))
            }
            Item::Give { node, batch } => self.give(node, batch, stack),
            Item::Forward { node, value } if self.nodes[node].holds_watermark() => {
                self.nodes[node].held = Some(value);
                Ok(())
            }
            Item::Forward { node, value } => self.forward(node, value, stack),
            Item::ForwardHeld { node } if self.nodes[node].withholds_watermark() => Ok(()),
            Item::ForwardHeld { node } => match self.nodes[node].held.take() {
                Some(value) => self.forward(node, value, stack),
                None => Ok(()),
            },
            Item::ForwardIdle { node } => {
                for &(node, input, _) in &self.nodes[node].locals {
                    stack.push(Item::Idle {
                        node,
                        input,
                        channel: 0,
                    });
                }
                self.signal(node, || Message::Idle)
            }
            Item::ForwardBarrier { node } => {
                self.nodes_left -= 1;
                for &(node, _, _) in &self.nodes[node].locals {
                    stack.push(Item::Barrier { node });
                }
                self.signal(node, || Message::Barrier)
            }
        }
    }

    /// Calls an operator, and pushes what it gave and what it still holds.
    fn call(
        &mut self,
        node: usize,
        stack: &mut Vec<Item>,
        call: impl FnOnce(&mut dyn crate::operators::Operator, &mut OperatorContext) -> Result<Progress>,
    ) -> Result<()> {
        self.running = node;
        self.ctx.now = self.job.control.now(self.epoch);
        let Some(operator) = self.nodes[node].operator.as_mut() else {
            return Err(self.wrong(node, "a source was called as an operator"));
        };
        let started = Instant::now();
        let progress = call(operator.as_mut(), &mut self.ctx)?;
        let took = started.elapsed();
        self.nodes[node].figures.busy += took;
        self.counted(node).on_busy(took);
        let Some(operator) = self.nodes[node].operator.as_mut() else {
            return Err(self.wrong(node, "a source was called as an operator"));
        };
        let rejected = operator.rejected_rows();
        let newly = rejected - std::mem::replace(&mut self.nodes[node].rejected, rejected);
        if newly > 0 {
            self.job.counters[self.id.0 as usize]
                .failed
                .fetch_add(newly, Ordering::Relaxed);
        }
        if self.ctx.late_rows > 0 {
            let late = std::mem::take(&mut self.ctx.late_rows);
            self.job.counters[self.id.0 as usize].late[node].fetch_add(late, Ordering::Relaxed);
        }
        if self.nodes[node].is_stateful {
            self.maintain()?;
        }
        if progress == Progress::More {
            self.nodes[node].busy = true;
            stack.push(Item::Resume { node });
        }
        match self.ctx.output.take() {
            Some(batch) if batch.num_rows() > 0 => self.give(node, batch, stack)?,
            _ => {}
        }
        self.give_beside(node, stack)
    }

    /// The counters of an operator on this worker.
    fn counted(&self, node: usize) -> &OperatorCounters {
        &self.job.counters[self.id.0 as usize].operators[node]
    }

    /// Notes what the operators keep in memory.
    fn sample_state(&self) {
        let mut sizes = vec![(0, 0); self.nodes.len()];
        for (of, node) in self.state.in_memory().into_iter().zip(&self.table_nodes) {
            if let Some(node) = node {
                sizes[*node] = (sizes[*node].0 + of.0, sizes[*node].1 + of.1);
            }
        }
        for (index, (entries, bytes)) in sizes.into_iter().enumerate() {
            let node = &self.nodes[index];
            if node.is_stateful {
                let held = node.operator.as_ref().map(|operator| operator.held());
                let held = held.unwrap_or_default();
                self.counted(index)
                    .on_state(entries + held.0, bytes + held.1);
            }
        }
    }

    /// After every batch: a budget is small against what a few batches of new keys take.
    fn maintain(&mut self) -> Result<()> {
        self.state.maintain()?;
        for state in &self.other_states {
            state.maintain()?;
        }
        if self.job.state.epoch_should_end() {
            self.job.control.on_memory_pressure(self.epoch);
        }
        Ok(())
    }

    /// Rows that the last call has left out go to the tables for them.
    fn give_beside(&mut self, node: usize, stack: &mut Vec<Item>) -> Result<()> {
        if self.ctx.late.is_empty() && self.ctx.failed.is_empty() {
            return Ok(());
        }
        if self.job.bootstrap.is_some() {
            // They were left out when they came; they are counted, and not written a second time.
            self.ctx.late.clear();
            self.ctx.failed.clear();
            return Ok(());
        }
        let plan = &self.job.plan;
        let mut batches = Vec::new();
        if let Some(sink) = self.job.beside.late {
            for late in std::mem::take(&mut self.ctx.late) {
                batches.push((sink, beside::late_rows(plan, sink, node, &late)));
            }
        }
        if let Some(sink) = self.job.beside.failed {
            let failed = std::mem::take(&mut self.ctx.failed);
            if !failed.is_empty() {
                batches.push((sink, beside::failed_rows(plan, sink, &failed)));
            }
        }
        for (sink, rows) in batches {
            let batch = rows.map_err(|error| self.wrong(sink, &error.to_string()))?;
            stack.push(beside_item(sink, batch));
        }
        Ok(())
    }

    /// Rows of an operator go to all its consumers.
    fn give(&mut self, node: usize, batch: ChangeBatch, stack: &mut Vec<Item>) -> Result<()> {
        let counted = &self.job.counters[self.id.0 as usize].operators[node];
        counted.on_given(batch.num_rows());
        let from = &mut self.nodes[node];
        let started = (!from.outlets.is_empty()).then(Instant::now);
        for outlet in &mut from.outlets {
            outlet.send(&batch).map_err(|error| Error::Internal {
                operator: from.id.clone(),
                message: error.to_string(),
            })?;
        }
        if let Some(started) = started {
            counted.on_exchange(started.elapsed());
        }
        for &(node, input, _) in from.locals.iter().filter(|(_, _, rows)| *rows) {
            stack.push(Item::Batch {
                node,
                input,
                batch: batch.clone(),
            });
        }
        Ok(())
    }

    fn forward(&mut self, node: usize, value: Watermark, stack: &mut Vec<Item>) -> Result<()> {
        for &(node, input, _) in &self.nodes[node].locals {
            stack.push(Item::Watermark {
                node,
                input,
                channel: 0,
                value,
            });
        }
        self.signal(node, || Message::Watermark(value))
    }

    fn signal(&mut self, node: usize, signal: impl Fn() -> Message) -> Result<()> {
        let from = &mut self.nodes[node];
        for outlet in &mut from.outlets {
            outlet.signal(&signal).map_err(|error| Error::Internal {
                operator: from.id.clone(),
                message: error.to_string(),
            })?;
        }
        Ok(())
    }

    fn wrong(&self, node: usize, message: &str) -> Error {
        Error::Internal {
            operator: self.nodes[node].id.clone(),
            message: message.to_owned(),
        }
    }
}

/// What the clock of an epoch promises: SQL sees its time in whole milliseconds.
fn clock_watermark(now: ProcessingTime) -> Watermark {
    Watermark(now.0.div_euclid(1000).saturating_mul(1000))
}

/// Rows for a sink that reads on the side.
fn beside_item(node: usize, batch: ChangeBatch) -> Item {
    Item::Batch {
        node,
        input: 0,
        batch,
    }
}

fn push_change(node: usize, change: Change, stack: &mut Vec<Item>) {
    match change {
        Change::None => {}
        Change::Watermark(value) => stack.push(Item::Fire { node, value }),
        Change::Idle => stack.push(Item::ForwardIdle { node }),
    }
}
