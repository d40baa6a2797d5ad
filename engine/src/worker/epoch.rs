//! The end of an epoch on one worker: what sinks prepared and state froze is told to the coordinator, and the next one begins.
//!
//! # Invariants
//! 1. All operators have flushed the epoch, and none has seen a row of the next one: so the freeze is a consistent cut.
//! 2. A snapshot that fails is a failure of its checkpoint, not of the job.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use weir_types::{CheckpointId, ProcessingTime};

use super::item::Feed;
use super::{Worker, clock_watermark};
use crate::Result;
use crate::coordinator::{EpochReport, Event};
use crate::failpoint::pass;

impl Worker {
    /// All operators have flushed the epoch.
    pub(super) fn complete_epoch(&mut self) -> Result<()> {
        let mut report = EpochReport {
            epoch: self.epoch,
            worker: self.id,
            prepared: BTreeMap::new(),
            watermarks: BTreeMap::new(),
            counters: BTreeMap::new(),
            figures: Vec::new(),
            due: self.next_due()?,
        };
        self.read_views()?;
        if let Some(checkpoint) = self.job.control.checkpoint(self.epoch) {
            pass("engine.barrier.aligned")?;
            for (index, node) in self.nodes.iter_mut().enumerate() {
                self.running = index;
                let Some(operator) = &mut node.operator else {
                    continue;
                };
                let started = Instant::now();
                operator.settle()?;
                node.figures.busy += started.elapsed();
                node.figures.flush += started.elapsed();
                let started = Instant::now();
                if let Some(part) = operator.prepare(checkpoint)? {
                    report.prepared.insert(node.id.clone(), part);
                }
                node.figures.prepare = started.elapsed();
                report
                    .watermarks
                    .insert(node.id.clone(), node.alignment.input_watermarks());
            }
            pass("engine.prepare.after")?;
            self.freeze(checkpoint);
            pass("engine.freeze.after")?;
            report.counters = self.counters();
            let figures = self
                .nodes
                .iter_mut()
                .map(|node| std::mem::take(&mut node.figures));
            report.figures = figures.collect();
        }
        self.sample_state();
        for (index, node) in self.nodes.iter().enumerate() {
            self.counted(index).on_watermark(node.alignment.watermark());
        }
        self.state.end_epoch()?;
        for state in &self.other_states {
            state.end_epoch()?;
        }
        self.epoch += 1;
        self.output_epoch.store(self.epoch, Ordering::Release);
        self.nodes_left = self.nodes_active;
        for root in &mut self.roots {
            match &mut root.feed {
                Feed::Restored => {}
                Feed::Standing(standing) => standing.at_barrier = false,
                Feed::Source { reader, .. } => reader.begin_epoch(),
                Feed::Inlet(inlet) => inlet.begin_epoch(),
            }
        }
        self.job.tell(Event::EpochDone(Box::new(report)));
        Ok(())
    }

    /// Gives its share of the views that somebody asked for.
    fn read_views(&mut self) -> Result<()> {
        let now = self.job.control.now(self.epoch).0;
        for read in self.job.control.reads(self.epoch) {
            self.running = read.operator;
            let looked_at = match &self.nodes[read.operator].operator {
                Some(operator) => operator.read_view(&read.wanted, &mut |rows| read.add(rows))?,
                None => 0,
            };
            read.on_worker_done(self.job.options.parallelism, now, looked_at);
        }
        Ok(())
    }

    /// The first moment of processing time at which an operator has something to do.
    fn next_due(&self) -> Result<Option<i64>> {
        let now = ProcessingTime(clock_watermark(self.job.control.now(self.epoch)).0);
        let mut next: Option<i64> = None;
        for node in self.nodes.iter().filter(|node| node.by_clock) {
            if let Some(operator) = &node.operator {
                next = next.into_iter().chain(operator.next_due(now)?).min();
            }
        }
        Ok(next)
    }

    /// Freezes this worker's state. A failure is one of the checkpoint, not of the job.
    fn freeze(&mut self, checkpoint: CheckpointId) {
        let Some(store) = &self.job.store else { return };
        match self.state.freeze(checkpoint, store) {
            Ok(pending) => self.snapshots.push((checkpoint, pending)),
            Err(error) => self.job.tell(Event::Snapshot {
                worker: self.id,
                checkpoint,
                result: Box::new(Err(error)),
            }),
        }
    }

    /// This worker's counters since its start, by name and operator.
    fn counters(&self) -> BTreeMap<String, u64> {
        let counters = &self.job.counters[self.id.0 as usize];
        let mut named = BTreeMap::from([
            (
                "records_in".to_owned(),
                counters.records_in.load(Ordering::Relaxed),
            ),
            (
                "rejected".to_owned(),
                counters.rejected.load(Ordering::Relaxed),
            ),
            ("failed".to_owned(), counters.failed.load(Ordering::Relaxed)),
        ]);
        for (index, node) in self.nodes.iter().enumerate() {
            for (kind, values) in [("late", &counters.late), ("written", &counters.written)] {
                let value = values[index].load(Ordering::Relaxed);
                if value > 0 {
                    named.insert(format!("{kind}:{}", node.id), value);
                }
            }
        }
        named
    }

    /// Tells the coordinator of snapshots that are written.
    pub(super) fn poll_snapshots(&mut self) -> bool {
        let mut finished = false;
        let (id, job) = (self.id, &self.job);
        self.snapshots
            .retain_mut(|(checkpoint, pending)| match pending.try_result() {
                None => true,
                Some(result) => {
                    finished = true;
                    job.tell(Event::Snapshot {
                        worker: id,
                        checkpoint: *checkpoint,
                        result: Box::new(result),
                    });
                    false
                }
            });
        finished
    }
}
