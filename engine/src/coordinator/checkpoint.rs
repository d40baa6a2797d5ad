//! The checkpoint in the making: a state machine without disk, threads or clocks of its own.
//!
//! ```text
//!   Nothing ──begin(barrier)──▶ Gathering ──every worker's snapshot──▶ Publishing ──manifest, commits──▶ Nothing
//!                                   │                                      │
//!                                   └── a snapshot failed ─────────────────┴── manifest failed: the parts that sinks
//!                                                                               prepared ride with the next one
//! ```
//!
//! # Invariants
//! 1. One checkpoint at a time.
//! 2. What a sink prepared is in exactly one published manifest: that of its own checkpoint, or of the next that succeeds.
//! 3. Numbers rise and are never used twice.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use weir_state::WorkerSnapshot;
use weir_types::{CheckpointId, OperatorId, WorkerId};

/// Parts that sinks prepared, by operator.
pub(crate) type Parts = BTreeMap<OperatorId, Vec<Value>>;

/// Decides when checkpoints begin and what they consist of.
#[derive(Debug)]
pub(crate) struct CheckpointLedger {
    interval: Duration,
    workers: usize,
    next: CheckpointId,
    last_begun: Duration,
    /// An epoch came through after the barrier of the last checkpoint that did not fail.
    unsaved: bool,
    /// Prepared for checkpoints that failed.
    carried: Parts,
    stage: Stage,
    /// Checkpoints published by this start.
    pub(crate) published: u64,
    /// The last one, restored ones included.
    pub(crate) last: Option<CheckpointId>,
}

#[derive(Debug)]
enum Stage {
    Nothing,
    Gathering {
        checkpoint: CheckpointId,
        /// Workers whose barrier came.
        aligned: usize,
        snapshots: BTreeMap<WorkerId, WorkerSnapshot>,
        parts: Parts,
        failed: Option<String>,
        answers: usize,
    },
    Publishing {
        checkpoint: CheckpointId,
        parts: Parts,
    },
}

/// What to publish.
#[derive(Debug)]
pub(crate) struct Complete {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) snapshots: Vec<WorkerSnapshot>,
    pub(crate) parts: Parts,
}

impl CheckpointLedger {
    /// Goes on after number `highest`, the highest ever seen; `last` is the one that was restored.
    pub(crate) fn new(
        interval: Duration,
        workers: usize,
        highest: CheckpointId,
        last: Option<CheckpointId>,
    ) -> Self {
        Self {
            interval,
            workers,
            next: CheckpointId(highest.0 + 1),
            last_begun: Duration::ZERO,
            unsaved: false,
            carried: Parts::new(),
            stage: Stage::Nothing,
            published: 0,
            last,
        }
    }

    /// Whether none is in the making.
    pub(crate) fn is_free(&self) -> bool {
        matches!(self.stage, Stage::Nothing)
    }

    /// Whether a regular checkpoint should begin with the next barrier. `open_rows`: the open epoch has rows.
    pub(crate) fn is_due(&self, now: Duration, open_rows: bool) -> bool {
        self.is_free() && (self.unsaved || open_rows) && now >= self.last_begun + self.interval
    }

    /// How long until one may be due; `None` if there is nothing to save.
    pub(crate) fn wait(&self, now: Duration) -> Option<Duration> {
        (self.is_free() && self.unsaved)
            .then(|| (self.last_begun + self.interval).saturating_sub(now))
    }

    /// Whether something happened that no checkpoint holds.
    pub(crate) fn has_unsaved(&self) -> bool {
        self.unsaved || !self.carried.is_empty()
    }

    /// A barrier with a checkpoint is sent: its number.
    pub(crate) fn begin(&mut self, now: Duration) -> CheckpointId {
        assert!(self.is_free(), "one checkpoint at a time");
        let checkpoint = self.next;
        self.next = CheckpointId(checkpoint.0 + 1);
        self.last_begun = now;
        // Epochs that come through while it is being written are for the next one.
        self.unsaved = false;
        self.stage = Stage::Gathering {
            checkpoint,
            aligned: 0,
            snapshots: BTreeMap::new(),
            parts: Parts::new(),
            failed: None,
            answers: 0,
        };
        checkpoint
    }

    /// An epoch came through that ended without a checkpoint.
    pub(crate) fn on_epoch(&mut self) {
        self.unsaved = true;
    }

    /// A worker's barrier of the checkpoint came: what its sinks prepared.
    pub(crate) fn on_aligned(&mut self, prepared: BTreeMap<OperatorId, Value>) {
        if let Stage::Gathering { aligned, parts, .. } = &mut self.stage {
            *aligned += 1;
            for (operator, part) in prepared {
                parts.entry(operator).or_default().push(part);
            }
        }
    }

    /// A worker's snapshot is written, or failed.
    pub(crate) fn on_snapshot(
        &mut self,
        worker: WorkerId,
        checkpoint: CheckpointId,
        result: Result<WorkerSnapshot, String>,
    ) {
        if let Stage::Gathering {
            checkpoint: current,
            snapshots,
            failed,
            answers,
            ..
        } = &mut self.stage
            && *current == checkpoint
        {
            *answers += 1;
            match result {
                Ok(snapshot) => {
                    snapshots.insert(worker, snapshot);
                }
                Err(error) => *failed = Some(error),
            }
        }
    }

    /// When every worker has answered: what to publish, or why there is nothing.
    pub(crate) fn complete(&mut self) -> Option<Result<Complete, String>> {
        let Stage::Gathering {
            aligned, answers, ..
        } = &self.stage
        else {
            return None;
        };
        if *aligned < self.workers || *answers < self.workers {
            return None;
        }
        let Stage::Gathering {
            checkpoint,
            snapshots,
            parts,
            failed,
            ..
        } = std::mem::replace(&mut self.stage, Stage::Nothing)
        else {
            return None;
        };
        let mut all = std::mem::take(&mut self.carried);
        for (operator, prepared) in parts {
            all.entry(operator).or_default().extend(prepared);
        }
        if let Some(error) = failed {
            self.carried = all;
            self.unsaved = true;
            return Some(Err(error));
        }
        self.stage = Stage::Publishing {
            checkpoint,
            parts: all.clone(),
        };
        Some(Ok(Complete {
            checkpoint,
            snapshots: snapshots.into_values().collect(),
            parts: all,
        }))
    }

    /// The manifest is durable and the sinks have committed; or neither happened.
    pub(crate) fn on_published(&mut self, success: bool) {
        let Stage::Publishing { checkpoint, parts } =
            std::mem::replace(&mut self.stage, Stage::Nothing)
        else {
            return;
        };
        if success {
            self.published += 1;
            self.last = Some(checkpoint);
        } else {
            self.carried = parts;
            self.unsaved = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weir_types::KeyGroupRange;

    use super::*;

    fn snapshot(worker: u32) -> WorkerSnapshot {
        WorkerSnapshot {
            range: KeyGroupRange { start: 0, end: 1 },
            ..WorkerSnapshot::empty(WorkerId(worker))
        }
    }

    fn part(text: &str) -> BTreeMap<OperatorId, Value> {
        BTreeMap::from([(OperatorId::new("out/sink"), json!(text))])
    }

    fn ledger() -> CheckpointLedger {
        CheckpointLedger::new(
            Duration::from_secs(10),
            2,
            CheckpointId(4),
            Some(CheckpointId(4)),
        )
    }

    #[test]
    fn a_checkpoint_is_complete_when_every_worker_aligned_and_wrote_its_snapshot() {
        let mut ledger = ledger();
        let id = ledger.begin(Duration::ZERO);
        assert_eq!(id, CheckpointId(5));
        ledger.on_aligned(part("a"));
        ledger.on_snapshot(WorkerId(0), id, Ok(snapshot(0)));
        assert!(ledger.complete().is_none());
        ledger.on_aligned(part("b"));
        assert!(ledger.complete().is_none());
        ledger.on_snapshot(WorkerId(1), id, Ok(snapshot(1)));
        let complete = ledger.complete().unwrap().unwrap();
        assert_eq!(complete.snapshots.len(), 2);
        assert_eq!(
            complete.parts[&OperatorId::new("out/sink")],
            [json!("a"), json!("b")]
        );
        assert!(!ledger.is_free());
        ledger.on_published(true);
        assert_eq!((ledger.last, ledger.published), (Some(id), 1));
    }

    #[test]
    fn what_sinks_prepared_for_a_failed_checkpoint_rides_with_the_next() {
        let mut ledger = ledger();
        let first = ledger.begin(Duration::ZERO);
        ledger.on_aligned(part("a"));
        ledger.on_aligned(BTreeMap::new());
        ledger.on_snapshot(WorkerId(0), first, Err("disk full".into()));
        ledger.on_snapshot(WorkerId(1), first, Ok(snapshot(1)));
        assert_eq!(ledger.complete().unwrap().unwrap_err(), "disk full");
        assert!(ledger.has_unsaved());
        for success in [false, true] {
            let next = ledger.begin(Duration::ZERO);
            assert!(next > first);
            ledger.on_aligned(BTreeMap::new());
            ledger.on_aligned(if success { part("c") } else { part("b") });
            ledger.on_snapshot(WorkerId(0), next, Ok(snapshot(0)));
            ledger.on_snapshot(WorkerId(1), next, Ok(snapshot(1)));
            let complete = ledger.complete().unwrap().unwrap();
            let expected = if success {
                vec![json!("a"), json!("b"), json!("c")]
            } else {
                vec![json!("a"), json!("b")]
            };
            assert_eq!(complete.parts[&OperatorId::new("out/sink")], expected);
            ledger.on_published(success);
        }
        assert!(!ledger.has_unsaved());
    }

    #[test]
    fn an_epoch_that_comes_through_while_a_checkpoint_is_written_is_not_forgotten() {
        let mut ledger = ledger();
        let id = ledger.begin(Duration::ZERO);
        ledger.on_aligned(BTreeMap::new());
        ledger.on_aligned(BTreeMap::new());
        ledger.on_epoch();
        ledger.on_snapshot(WorkerId(0), id, Ok(snapshot(0)));
        ledger.on_snapshot(WorkerId(1), id, Ok(snapshot(1)));
        assert!(ledger.complete().is_some());
        ledger.on_published(true);
        assert!(ledger.has_unsaved());
        assert!(ledger.is_due(Duration::from_secs(100), false));
    }

    #[test]
    fn without_an_epoch_since_the_last_checkpoint_none_is_due() {
        let mut ledger = ledger();
        let late = Duration::from_secs(100);
        assert!(!ledger.is_due(late, false));
        assert!(ledger.is_due(late, true));
        ledger.on_epoch();
        assert!(ledger.is_due(late, false));
        assert!(!ledger.is_due(Duration::from_secs(9), true));
        ledger.begin(late);
        assert!(!ledger.is_due(late * 2, true));
    }
}
