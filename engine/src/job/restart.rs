//! Whether a failed job starts again by itself, and when: decisions alone.
//!
//! ```text
//!   failure ─▶ may it pass? ─▶ an attempt left? ─▶ wait ─▶ newest whole checkpoint, in the same process, under the same lock
//! ```
//!
//! # Invariants
//! 1. What is the same every time is never retried: an error in a row, in the SQL, in what is stored.
//! 2. A job that would show or lose rows by going back is not restarted: one that prints, or reads what cannot be read again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_planner::plan::OperatorKind;

use super::Shared;
use crate::sync::lock;
use crate::{Error, RestartOptions, RestartStrategy};

/// What outlives a restart: the start that runs now, and what the user asked for.
pub(crate) struct Lives {
    current: Mutex<Arc<Shared>>,
    stopping: AtomicBool,
    abandoned: AtomicBool,
}

impl Lives {
    pub(crate) fn new(first: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            current: Mutex::new(first),
            stopping: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        })
    }

    /// The start that runs now, or ran last.
    pub(crate) fn current(&self) -> Arc<Shared> {
        lock(&self.current).clone()
    }

    /// Another start takes over, and with it what was asked for.
    pub(crate) fn go_on_with(&self, next: &Arc<Shared>) {
        *lock(&self.current) = next.clone();
        if self.stopping.load(Ordering::Acquire) {
            next.stop();
        }
        if self.abandoned.load(Ordering::Acquire) {
            next.abandon();
        }
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.current().stop();
    }

    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.current().abandon();
    }

    /// Whether nobody wants the job to go on.
    pub(crate) fn is_over(&self) -> bool {
        self.stopping.load(Ordering::Acquire) || self.abandoned.load(Ordering::Acquire)
    }
}

/// Counts attempts.
#[derive(Debug)]
pub(super) struct RestartPolicy {
    options: RestartOptions,
    /// Restarts since a checkpoint completed.
    in_a_row: u64,
}

impl RestartPolicy {
    pub(super) fn new(options: RestartOptions) -> Self {
        Self {
            options,
            in_a_row: 0,
        }
    }

    /// A checkpoint completed.
    pub(super) fn forgive(&mut self) {
        self.in_a_row = 0;
    }

    /// The number of the next attempt and the time before it; `None`: the job has failed for good.
    pub(super) fn next(&mut self) -> Option<(u64, Duration)> {
        let delay = match self.options.strategy {
            RestartStrategy::None => return None,
            RestartStrategy::FixedDelay => self.options.delay,
            RestartStrategy::ExponentialDelay => {
                let doubled = 2u32.saturating_pow(self.in_a_row.min(31) as u32);
                let delay = self.options.delay.saturating_mul(doubled);
                delay.min(self.options.max_delay.max(self.options.delay))
            }
        };
        if self.in_a_row >= self.options.attempts {
            return None;
        }
        self.in_a_row += 1;
        Some((self.in_a_row, delay))
    }

    /// Attempts in a row, at most.
    pub(super) fn attempts(&self) -> u64 {
        self.options.attempts
    }
}

/// Whether trying again may help.
pub(super) fn may_pass(error: &Error) -> bool {
    match error {
        Error::Connector(error) => matches!(error, weir_connectors::Error::Io { .. }),
        Error::State(error) => matches!(error, weir_state::Error::Io { .. }),
        Error::Checkpoint(_) | Error::Panic { .. } => true,
        Error::Plan(_) | Error::Row(_) | Error::Job(_) | Error::Internal { .. } => false,
    }
}

/// Whether going back to a checkpoint is something that only this process would notice.
pub(super) fn can_go_back(job: &Shared) -> bool {
    let prints = job
        .plan
        .operators
        .iter()
        .any(|operator| matches!(operator.kind, OperatorKind::Output { .. }));
    job.store.is_some() && !prints && job.sources.iter().all(|source| source.source.replayable())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(strategy: RestartStrategy, times: usize) -> Vec<Option<u64>> {
        let mut policy = RestartPolicy::new(RestartOptions {
            strategy,
            attempts: 5,
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(6),
        });
        (0..times)
            .map(|_| policy.next().map(|(_, delay)| delay.as_secs()))
            .collect()
    }

    #[test]
    fn delays_are_fixed_or_double_up_to_a_limit_and_end_after_the_attempts() {
        use RestartStrategy::{ExponentialDelay, FixedDelay, None as Never};
        let some = |seconds: [u64; 5]| {
            let mut all: Vec<_> = seconds.into_iter().map(Some).collect();
            all.push(None);
            all
        };
        assert_eq!(delays(FixedDelay, 6), some([1, 1, 1, 1, 1]));
        assert_eq!(delays(ExponentialDelay, 6), some([1, 2, 4, 6, 6]));
        assert_eq!(delays(Never, 1), [None]);
    }

    #[test]
    fn a_checkpoint_that_completes_sets_the_count_back() {
        let mut policy = RestartPolicy::new(RestartOptions {
            attempts: 1,
            ..RestartOptions::default()
        });
        assert!(policy.next().is_some() && policy.next().is_none());
        policy.forgive();
        assert_eq!(policy.next(), Some((1, Duration::from_secs(1))));
    }

    #[test]
    fn only_what_may_pass_is_retried() {
        let io = weir_connectors::Error::Io {
            context: "writing".to_owned(),
            source: std::io::Error::other("disk full"),
        };
        assert!(may_pass(&Error::Connector(io)));
        assert!(may_pass(&Error::Checkpoint("one too many".to_owned())));
        let state = weir_state::Error::Corrupt("damaged".to_owned());
        assert!(!may_pass(&Error::State(state)));
        assert!(!may_pass(&Error::Job("another plan".to_owned())));
        let inconsistent = weir_connectors::Error::Inconsistent("a file is gone".to_owned());
        assert!(!may_pass(&Error::Connector(inconsistent)));
    }
}
