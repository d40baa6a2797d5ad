//! The checkpoints in the making: a state machine without disk, threads or clocks of its own.
//!
//! ```text
//!   begin(barrier) ──▶ gathering: 7, 8, …  ──the oldest has every worker's snapshot──▶ publishing ──▶ done
//!                         │                                                               │
//!                         ├── a snapshot failed ──────────────────────────────────────────┴── manifest failed:
//!                         └── it took longer than the timeout            the parts that sinks prepared ride with the next
//! ```
//!
//! # Invariants
//! 1. As many checkpoints are under way as the user allows; they end in the order in which they began.
//! 2. What a sink prepared is in exactly one published manifest: that of its own checkpoint, or of the next that succeeds.
//!    So an older checkpoint never takes the parts of a newer one, and one that is dropped before all its barriers came
//!    stays until they have: what sinks prepare at them belongs to the next.
//! 3. Numbers rise and are never used twice.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;
use weir_state::WorkerSnapshot;
use weir_types::{CheckpointId, OperatorId, WorkerId};

/// Parts that sinks prepared, by operator.
pub(crate) type Parts = BTreeMap<OperatorId, Vec<Value>>;

/// When checkpoints begin and when they are given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// Between the end of one and the beginning of the next; zero: none.
    pub(crate) pause: Duration,
    /// Under way at once, at most.
    pub(crate) concurrent: usize,
    /// Failures in a row that the job lives with; `None`: any number.
    pub(crate) tolerable: Option<u64>,
}

/// Decides when checkpoints begin and what they consist of.
#[derive(Debug)]
pub(crate) struct CheckpointLedger {
    rules: Rules,
    workers: usize,
    next: CheckpointId,
    last_begun: Duration,
    last_ended: Option<Duration>,
    /// An epoch came through after the barrier of the last checkpoint that did not fail.
    unsaved: bool,
    /// Prepared for checkpoints that failed.
    carried: Parts,
    /// In the order in which they began.
    gathering: VecDeque<Gathering>,
    publishing: Option<(CheckpointId, Parts)>,
    failures_in_a_row: u64,
    /// Checkpoints published by this start.
    pub(crate) published: u64,
    /// The last one, restored ones included.
    pub(crate) last: Option<CheckpointId>,
}

#[derive(Debug)]
struct Gathering {
    checkpoint: CheckpointId,
    begun: Duration,
    /// Workers whose barrier came.
    aligned: usize,
    snapshots: BTreeMap<WorkerId, WorkerSnapshot>,
    parts: Parts,
    failed: Option<String>,
    answers: usize,
    /// Nobody waits for its snapshots any more.
    expired: bool,
}

/// What to publish.
#[derive(Debug)]
pub(crate) struct Complete {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) snapshots: Vec<WorkerSnapshot>,
    pub(crate) parts: Parts,
}

/// A checkpoint that there will not be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) reason: String,
    /// By its timeout.
    pub(crate) expired: bool,
}

impl CheckpointLedger {
    /// Goes on after number `highest`, the highest ever seen; `last` is the one that was restored. The first interval
    /// begins `now`.
    pub(crate) fn new(
        rules: Rules,
        workers: usize,
        highest: CheckpointId,
        last: Option<CheckpointId>,
        now: Duration,
    ) -> Self {
        Self {
            rules,
            workers,
            next: CheckpointId(highest.0 + 1),
            last_begun: now,
            last_ended: None,
            unsaved: false,
            carried: Parts::new(),
            gathering: VecDeque::new(),
            publishing: None,
            failures_in_a_row: 0,
            published: 0,
            last,
        }
    }

    /// Whether none is in the making.
    pub(crate) fn is_free(&self) -> bool {
        self.gathering.is_empty() && self.publishing.is_none()
    }

    /// Whether one more may begin.
    fn has_room(&self) -> bool {
        let under_way = self.gathering.len() + usize::from(self.publishing.is_some());
        if self.rules.pause.is_zero() {
            under_way < self.rules.concurrent
        } else {
            under_way == 0
        }
    }

    /// When the next one may begin for its age alone.
    fn due_at(&self) -> Duration {
        let after_pause = self.last_ended.map(|ended| ended + self.rules.pause);
        (self.last_begun + self.rules.interval).max(after_pause.unwrap_or_default())
    }

    /// Whether a regular checkpoint should begin with the next barrier. `open_rows`: the open epoch has rows.
    pub(crate) fn is_due(&self, now: Duration, open_rows: bool) -> bool {
        self.has_room() && (self.unsaved || open_rows) && now >= self.due_at()
    }

    /// How long until one may be due; `None` if there is nothing to save, or no room.
    pub(crate) fn due_in(&self, now: Duration) -> Option<Duration> {
        (self.has_room() && self.unsaved).then(|| self.due_at().saturating_sub(now))
    }

    /// How long until one is over its time.
    pub(crate) fn expires_in(&self, now: Duration) -> Option<Duration> {
        self.gathering
            .iter()
            .filter(|gathering| !gathering.expired)
            .map(|gathering| (gathering.begun + self.rules.timeout).saturating_sub(now))
            .min()
    }

    /// Whether something happened that no checkpoint holds.
    pub(crate) fn has_unsaved(&self) -> bool {
        self.unsaved || !self.carried.is_empty()
    }

    /// Whether more checkpoints in a row have failed than the job may live with.
    pub(crate) fn is_beyond_tolerance(&self) -> bool {
        self.rules
            .tolerable
            .is_some_and(|tolerable| self.failures_in_a_row > tolerable)
    }

    /// The oldest one that is under way, or will be after `checkpoint`.
    pub(crate) fn oldest_in_flight(&self, checkpoint: CheckpointId) -> CheckpointId {
        let oldest = self.gathering.front().map(|oldest| oldest.checkpoint);
        oldest.map_or(CheckpointId(checkpoint.0 + 1), |oldest| {
            oldest.min(CheckpointId(checkpoint.0 + 1))
        })
    }

    /// A barrier with a checkpoint is sent: its number.
    pub(crate) fn begin(&mut self, now: Duration) -> CheckpointId {
        assert!(
            self.is_free() || self.has_room(),
            "no more checkpoints at once than allowed"
        );
        let checkpoint = self.next;
        self.next = CheckpointId(checkpoint.0 + 1);
        self.last_begun = now;
        // Epochs that come through while it is being written are for the next one.
        self.unsaved = false;
        self.gathering.push_back(Gathering {
            checkpoint,
            begun: now,
            aligned: 0,
            snapshots: BTreeMap::new(),
            parts: Parts::new(),
            failed: None,
            answers: 0,
            expired: false,
        });
        checkpoint
    }

    /// An epoch came through that ended without a checkpoint.
    pub(crate) fn on_epoch(&mut self) {
        self.unsaved = true;
    }

    /// A worker's barrier of the newest checkpoint came: what its sinks prepared. Epochs come through one at a time, so it
    /// cannot be that of an older one.
    pub(crate) fn on_aligned(&mut self, prepared: BTreeMap<OperatorId, Value>) {
        let Some(newest) = self.gathering.back_mut() else {
            return;
        };
        newest.aligned += 1;
        for (operator, part) in prepared {
            newest.parts.entry(operator).or_default().push(part);
        }
    }

    /// A worker's snapshot is written, or failed.
    pub(crate) fn on_snapshot(
        &mut self,
        worker: WorkerId,
        checkpoint: CheckpointId,
        result: Result<WorkerSnapshot, String>,
    ) {
        let of = |gathering: &&mut Gathering| gathering.checkpoint == checkpoint;
        // One that was dropped is nobody's any more.
        if let Some(gathering) = self.gathering.iter_mut().find(of) {
            gathering.answers += 1;
            match result {
                Ok(snapshot) => {
                    gathering.snapshots.insert(worker, snapshot);
                }
                // Of one that is over its time the rest is given up: that is not why it failed.
                Err(error) => drop(gathering.failed.get_or_insert(error)),
            }
        }
    }

    /// Marks what is over its time; gives the numbers of those that were not before.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<CheckpointId> {
        let timeout = self.rules.timeout;
        let mut expired = Vec::new();
        for gathering in &mut self.gathering {
            if !gathering.expired && now.saturating_sub(gathering.begun) >= timeout {
                gathering.expired = true;
                gathering.failed = Some(format!(
                    "it was not written within {} s ('checkpoint.timeout')",
                    timeout.as_secs_f64()
                ));
                expired.push(gathering.checkpoint);
            }
        }
        expired
    }

    /// When all that can be said of the oldest one is there: what to publish, or why there is nothing. Call it again until
    /// there is no answer.
    pub(crate) fn complete(&mut self, now: Duration) -> Option<Result<Complete, Dropped>> {
        if self.publishing.is_some() {
            return None;
        }
        let oldest = self.gathering.front()?;
        if oldest.aligned < self.workers || (oldest.answers < self.workers && !oldest.expired) {
            return None;
        }
        let oldest = self.gathering.pop_front()?;
        let mut parts = std::mem::take(&mut self.carried);
        for (operator, prepared) in oldest.parts {
            parts.entry(operator).or_default().extend(prepared);
        }
        let checkpoint = oldest.checkpoint;
        if let Some(reason) = oldest.failed {
            self.carried = parts;
            self.on_failure(now);
            return Some(Err(Dropped {
                checkpoint,
                reason,
                expired: oldest.expired,
            }));
        }
        self.publishing = Some((checkpoint, parts.clone()));
        Some(Ok(Complete {
            checkpoint,
            snapshots: oldest.snapshots.into_values().collect(),
            parts,
        }))
    }

    fn on_failure(&mut self, now: Duration) {
        self.unsaved = true;
        self.failures_in_a_row += 1;
        self.last_ended = Some(now);
    }

    /// The manifest is durable and the sinks have committed; or neither happened.
    pub(crate) fn on_published(&mut self, success: bool, now: Duration) {
        let Some((checkpoint, parts)) = self.publishing.take() else {
            return;
        };
        if success {
            self.published += 1;
            self.last = Some(checkpoint);
            self.failures_in_a_row = 0;
            self.last_ended = Some(now);
        } else {
            // Nothing else was resolved meanwhile, so nothing else is carried.
            debug_assert!(self.carried.is_empty());
            self.carried = parts;
            self.on_failure(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weir_types::KeyGroupRange;

    use super::*;

    const ZERO: Duration = Duration::ZERO;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn snapshot(worker: u32) -> WorkerSnapshot {
        WorkerSnapshot {
            range: KeyGroupRange { start: 0, end: 1 },
            ..WorkerSnapshot::empty(WorkerId(worker))
        }
    }

    fn part(text: &str) -> BTreeMap<OperatorId, Value> {
        BTreeMap::from([(OperatorId::new("out/sink"), json!(text))])
    }

    const RULES: Rules = Rules {
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(60),
        pause: ZERO,
        concurrent: 1,
        tolerable: None,
    };

    fn with(rules: Rules) -> CheckpointLedger {
        CheckpointLedger::new(rules, 2, CheckpointId(4), Some(CheckpointId(4)), ZERO)
    }

    fn ledger() -> CheckpointLedger {
        with(RULES)
    }

    /// Both workers' barriers come, the sinks of the first prepare `text`.
    fn align(ledger: &mut CheckpointLedger, text: &str) {
        ledger.on_aligned(part(text));
        ledger.on_aligned(BTreeMap::new());
    }

    fn answer(ledger: &mut CheckpointLedger, id: CheckpointId) {
        for worker in 0..2 {
            ledger.on_snapshot(WorkerId(worker), id, Ok(snapshot(worker)));
        }
    }

    fn prepared(complete: &Complete) -> Vec<Value> {
        complete.parts[&OperatorId::new("out/sink")].clone()
    }

    #[test]
    fn a_checkpoint_is_complete_when_every_worker_aligned_and_wrote_its_snapshot() {
        let mut ledger = ledger();
        let id = ledger.begin(ZERO);
        assert_eq!(id, CheckpointId(5));
        ledger.on_aligned(part("a"));
        ledger.on_snapshot(WorkerId(0), id, Ok(snapshot(0)));
        assert!(ledger.complete(ZERO).is_none());
        ledger.on_aligned(part("b"));
        assert!(ledger.complete(ZERO).is_none());
        ledger.on_snapshot(WorkerId(1), id, Ok(snapshot(1)));
        let complete = ledger.complete(ZERO).unwrap().unwrap();
        assert_eq!(complete.snapshots.len(), 2);
        assert_eq!(prepared(&complete), [json!("a"), json!("b")]);
        assert!(!ledger.is_free());
        ledger.on_published(true, ZERO);
        assert_eq!((ledger.last, ledger.published), (Some(id), 1));
    }

    #[test]
    fn what_sinks_prepared_for_a_failed_checkpoint_rides_with_the_next() {
        let mut ledger = ledger();
        let first = ledger.begin(ZERO);
        align(&mut ledger, "a");
        ledger.on_snapshot(WorkerId(0), first, Err("disk full".into()));
        ledger.on_snapshot(WorkerId(1), first, Ok(snapshot(1)));
        let dropped = ledger.complete(ZERO).unwrap().unwrap_err();
        assert_eq!(dropped.reason, "disk full");
        assert!(ledger.has_unsaved());
        for success in [false, true] {
            let next = ledger.begin(ZERO);
            assert!(next > first);
            align(&mut ledger, if success { "c" } else { "b" });
            answer(&mut ledger, next);
            let complete = ledger.complete(ZERO).unwrap().unwrap();
            let expected = if success {
                vec![json!("a"), json!("b"), json!("c")]
            } else {
                vec![json!("a"), json!("b")]
            };
            assert_eq!(prepared(&complete), expected);
            ledger.on_published(success, ZERO);
        }
        assert!(!ledger.has_unsaved());
    }

    #[test]
    fn an_epoch_that_comes_through_while_a_checkpoint_is_written_is_not_forgotten() {
        let mut ledger = ledger();
        let id = ledger.begin(ZERO);
        align(&mut ledger, "a");
        ledger.on_epoch();
        answer(&mut ledger, id);
        assert!(ledger.complete(ZERO).is_some());
        ledger.on_published(true, ZERO);
        assert!(ledger.has_unsaved());
        assert!(ledger.is_due(seconds(100), false));
    }

    #[test]
    fn without_an_epoch_since_the_last_checkpoint_none_is_due() {
        let mut ledger = ledger();
        let late = seconds(100);
        assert!(!ledger.is_due(late, false));
        assert!(ledger.is_due(late, true));
        ledger.on_epoch();
        assert!(ledger.is_due(late, false));
        assert!(!ledger.is_due(seconds(9), true));
        ledger.begin(late);
        assert!(!ledger.is_due(late * 2, true));
    }

    #[test]
    fn two_in_flight_end_in_order_and_a_third_waits() {
        let mut ledger = with(Rules {
            concurrent: 2,
            ..RULES
        });
        let first = ledger.begin(ZERO);
        align(&mut ledger, "a");
        assert!(ledger.is_due(seconds(10), true));
        let second = ledger.begin(seconds(10));
        align(&mut ledger, "b");
        assert!(!ledger.is_due(seconds(30), true), "two are under way");
        answer(&mut ledger, second);
        assert!(ledger.complete(ZERO).is_none(), "the older one goes first");
        assert_eq!(ledger.oldest_in_flight(first), first);
        answer(&mut ledger, first);
        let complete = ledger.complete(ZERO).unwrap().unwrap();
        assert_eq!(
            (complete.checkpoint, prepared(&complete)),
            (first, vec![json!("a")])
        );
        assert!(ledger.complete(ZERO).is_none(), "one manifest at a time");
        assert_eq!(ledger.oldest_in_flight(first), second);
        ledger.on_published(false, ZERO);
        let complete = ledger.complete(ZERO).unwrap().unwrap();
        assert_eq!(complete.checkpoint, second);
        assert_eq!(prepared(&complete), [json!("a"), json!("b")]);
        ledger.on_published(true, ZERO);
        assert!(ledger.is_free());
    }

    #[test]
    fn one_that_takes_too_long_is_dropped_once_its_barriers_came() {
        let mut ledger = ledger();
        let first = ledger.begin(ZERO);
        ledger.on_aligned(part("a"));
        assert_eq!(ledger.expires_in(seconds(50)), Some(seconds(10)));
        assert!(ledger.expire(seconds(59)).is_empty());
        assert_eq!(ledger.expire(seconds(60)), [first]);
        assert!(ledger.expire(seconds(61)).is_empty(), "told once");
        assert!(
            ledger.complete(seconds(61)).is_none(),
            "a sink may still prepare"
        );
        ledger.on_aligned(part("b"));
        let dropped = ledger.complete(seconds(62)).unwrap().unwrap_err();
        assert!(dropped.expired && dropped.reason.contains("checkpoint.timeout"));
        assert!(ledger.is_free());
        let second = ledger.begin(seconds(70));
        align(&mut ledger, "c");
        // Snapshots of the dropped one come late and change nothing.
        answer(&mut ledger, first);
        assert!(ledger.complete(seconds(70)).is_none());
        answer(&mut ledger, second);
        let complete = ledger.complete(seconds(70)).unwrap().unwrap();
        assert_eq!(prepared(&complete), [json!("a"), json!("b"), json!("c")]);
    }

    #[test]
    fn after_a_checkpoint_there_is_a_pause() {
        let mut ledger = with(Rules {
            pause: Duration::from_secs(15),
            concurrent: 4,
            ..RULES
        });
        let id = ledger.begin(seconds(10));
        align(&mut ledger, "a");
        ledger.on_epoch();
        assert!(
            !ledger.is_due(seconds(22), true),
            "a pause is a pause of all"
        );
        answer(&mut ledger, id);
        assert!(ledger.complete(seconds(12)).is_some());
        ledger.on_published(true, seconds(12));
        assert!(!ledger.is_due(seconds(26), true));
        assert_eq!(ledger.due_in(seconds(20)), Some(seconds(7)));
        assert!(ledger.is_due(seconds(27), true));
    }

    #[test]
    fn failures_in_a_row_are_counted_and_a_success_forgives_them() {
        let mut ledger = with(Rules {
            tolerable: Some(1),
            ..RULES
        });
        let fail = |ledger: &mut CheckpointLedger, success: bool| {
            let id = ledger.begin(ZERO);
            align(ledger, "a");
            answer(ledger, id);
            assert!(ledger.complete(ZERO).is_some());
            ledger.on_published(success, ZERO);
            ledger.is_beyond_tolerance()
        };
        let seen = [false, true, false, false].map(|success| fail(&mut ledger, success));
        assert_eq!(seen, [false, false, false, true]);
        let mut strict = with(Rules {
            tolerable: Some(0),
            ..RULES
        });
        assert!(fail(&mut strict, false), "at the first");
        let mut lenient = with(RULES);
        assert!((0..100).all(|_| !fail(&mut lenient, false)));
    }
}
