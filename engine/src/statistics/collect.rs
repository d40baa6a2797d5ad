//! Puts the record of a checkpoint together from what workers and state say of it.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_planner::plan::{OperatorKind, StateBound, StreamPlan};
use weir_state::WorkerSnapshot;
use weir_types::{CheckpointId, WorkerId};

use super::{CheckpointRecord, Ending, Log, OperatorRecord};
use crate::{JobEvent, JobListener};

/// What one worker measured of one operator.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OperatorFigures {
    pub(crate) alignment: Duration,
    pub(crate) flush: Duration,
    pub(crate) prepare: Duration,
    /// Since the checkpoint before.
    pub(crate) busy: Duration,
    /// Since the checkpoint before.
    pub(crate) rows: u64,
}

/// The records of checkpoints that are under way.
#[derive(Debug)]
pub(crate) struct Collector {
    log: Log,
    listener: JobListener,
    /// ID, whether it is a sink, its weakest bound: in the plan's order.
    operators: Vec<OperatorRecord>,
    workers: usize,
    generation: u64,
    open: BTreeMap<CheckpointId, CheckpointRecord>,
}

impl Collector {
    pub(crate) fn new(
        (log, listener): (Log, JobListener),
        plan: &StreamPlan,
        workers: usize,
        generation: u64,
    ) -> Self {
        let operators = plan.operators.iter().map(|operator| OperatorRecord {
            id: operator.id.to_string(),
            sink: matches!(operator.kind, OperatorKind::Sink { .. }),
            bound: bound_of(operator.state.iter().map(|table| table.bound)).to_owned(),
            rows_by_worker: vec![0; workers],
            ..OperatorRecord::default()
        });
        Self {
            log,
            listener,
            operators: operators.collect(),
            workers,
            generation,
            open: BTreeMap::new(),
        }
    }

    /// A barrier is sent, `elapsed` after the job's start.
    pub(crate) fn begin(&mut self, checkpoint: CheckpointId, wall_micros: i64, elapsed: Duration) {
        let record = CheckpointRecord {
            checkpoint: checkpoint.0,
            generation: self.generation,
            triggered_micros: wall_micros,
            triggered_after_micros: elapsed.as_micros() as u64,
            ending: Ending::Failed,
            reason: None,
            barrier_micros: 0,
            frozen_micros: 0,
            write_micros: 0,
            ready_micros: 0,
            publish_micros: 0,
            total_micros: 0,
            bytes_new: 0,
            bytes_total: 0,
            entries: 0,
            entries_bytes: 0,
            operators: self.operators.clone(),
        };
        self.open.insert(checkpoint, record);
    }

    /// The barrier came through one worker, which has these figures, by operator of the plan.
    pub(crate) fn on_aligned(
        &mut self,
        checkpoint: CheckpointId,
        worker: WorkerId,
        figures: &[OperatorFigures],
        elapsed: Duration,
    ) {
        let workers = self.workers;
        let Some(record) = self.open.get_mut(&checkpoint) else {
            return;
        };
        record.barrier_micros = since(record, elapsed);
        for (operator, figures) in record.operators.iter_mut().zip(figures) {
            let most =
                |value: &mut u64, new: Duration| *value = (*value).max(new.as_micros() as u64);
            most(&mut operator.alignment_micros, figures.alignment);
            most(&mut operator.flush_micros, figures.flush);
            most(&mut operator.prepare_micros, figures.prepare);
            operator.busy_micros += figures.busy.as_micros() as u64;
            operator.rows_by_worker.resize(workers, 0);
            if let Some(rows) = operator.rows_by_worker.get_mut(worker.0 as usize) {
                *rows += figures.rows;
            }
        }
    }

    /// All snapshots are stored.
    pub(crate) fn on_ready(
        &mut self,
        checkpoint: CheckpointId,
        snapshots: &[WorkerSnapshot],
        elapsed: Duration,
    ) {
        let Some(record) = self.open.get_mut(&checkpoint) else {
            return;
        };
        record.ready_micros = since(record, elapsed);
        for snapshot in snapshots {
            record.frozen_micros = record.frozen_micros.max(snapshot.frozen_micros);
            record.write_micros = record.write_micros.max(snapshot.write_micros);
            record.bytes_new += snapshot.bytes_new;
            record.bytes_total += snapshot.files.iter().map(|file| file.size).sum::<u64>();
            record.entries += snapshot.entries;
            // By operator within this worker first: an operator may have several tables.
            let mut own: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
            for table in &snapshot.tables {
                record.entries_bytes += table.bytes;
                let times = own.entry(&table.operator).or_default();
                times.0 += table.frozen_micros;
                times.1 += table.write_micros;
                let named = |operator: &&mut OperatorRecord| operator.id == table.operator;
                if let Some(operator) = record.operators.iter_mut().find(named) {
                    operator.entries += table.entries;
                    operator.bytes += table.bytes;
                    operator.entries_total += table.entries_total;
                    operator.bytes_total += table.bytes_total;
                    operator.groups += u64::from(table.groups);
                    if table.hottest_entries > operator.hottest_entries {
                        operator.hottest_entries = table.hottest_entries;
                        operator.hottest_group = table.hottest_group;
                    }
                }
            }
            for operator in &mut record.operators {
                if let Some((frozen, write)) = own.get(operator.id.as_str()) {
                    operator.frozen_micros = operator.frozen_micros.max(*frozen);
                    operator.write_micros = operator.write_micros.max(*write);
                }
            }
        }
    }

    /// It is over: its line is written.
    pub(crate) fn on_end(
        &mut self,
        checkpoint: CheckpointId,
        ending: Ending,
        reason: Option<String>,
        elapsed: Duration,
    ) {
        let Some(mut record) = self.open.remove(&checkpoint) else {
            return;
        };
        record.ending = ending;
        record.reason = reason;
        record.total_micros = since(&record, elapsed);
        if record.ready_micros > 0 {
            record.publish_micros = record.total_micros.saturating_sub(record.ready_micros);
        }
        self.log.append(&record);
        self.listener.hear(&JobEvent::Checkpoint(&record));
    }
}

fn since(record: &CheckpointRecord, elapsed: Duration) -> u64 {
    (elapsed.as_micros() as u64).saturating_sub(record.triggered_after_micros)
}

/// The weakest bound of an operator's tables.
fn bound_of(bounds: impl Iterator<Item = StateBound>) -> &'static str {
    let rank = |bound: &StateBound| match bound {
        StateBound::Constant => 0,
        StateBound::Watermark | StateBound::Clock => 1,
        StateBound::Ttl => 2,
        StateBound::BoundedInput => 3,
        StateBound::Keys => 4,
        StateBound::Nothing => 5,
    };
    match bounds.max_by_key(rank) {
        None => "",
        Some(StateBound::Constant) => "constant",
        Some(StateBound::Watermark) => "watermark",
        Some(StateBound::Clock) => "clock",
        Some(StateBound::Ttl) => "ttl",
        Some(StateBound::BoundedInput) => "bounded input",
        Some(StateBound::Keys) => "keys",
        Some(StateBound::Nothing) => "nothing",
    }
}
