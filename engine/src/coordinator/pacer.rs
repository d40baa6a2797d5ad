//! When an epoch ends: a pure decision from observed facts, without clocks or channels.
//!
//! * Not without a row or news, and never before the last one came through.
//! * Otherwise when 'epoch.interval' has passed, or the epoch's budget of records is used.
//! * While sources work off a backlog, where throughput counts and latency does not, the interval doubles from epoch to
//!   epoch, up to a second; when a source runs dry it is back at its start.
//! * The budget starts at an eighth of a batch a worker. If it ended the epoch and the flush took less than the target, it
//!   doubles; if the flush took longer than the target, it shrinks in proportion, down to a few rows: behind a join that
//!   multiplies its rows and before a slow sink, a whole batch can be minutes of work, and no barrier comes through sooner.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use super::control::EpochFacts;

/// Epochs are not longer than this while there is a backlog.
const INTERVAL_MAX: Duration = Duration::from_secs(1);
/// A flush should not take longer than this.
const FLUSH_TARGET: Duration = Duration::from_millis(500);
/// Budgets end here, whatever the flush takes.
const BUDGET_RECORDS_MAX: u64 = 16 << 20;

/// Decides about epoch ends.
#[derive(Debug)]
pub(crate) struct Pacer {
    interval_min: Duration,
    interval: Duration,
    /// Memory pressure and slow flushes shrink it to this.
    budget_min: u64,
    budget: u64,
    last_close: Duration,
    /// Random budgets, for tests.
    random: Option<SmallRng>,
}

impl Pacer {
    /// `batches`: the rows of one batch a worker.
    pub(crate) fn new(interval: Duration, batches: u64, random: Option<SmallRng>) -> Self {
        let mut pacer = Self {
            interval_min: interval,
            interval,
            budget_min: (batches / 512).max(1),
            budget: first_budget(batches),
            last_close: Duration::ZERO,
            random,
        };
        pacer.draw();
        pacer
    }

    /// Records that the next epoch may hold.
    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    /// Whether the open epoch should end now.
    pub(crate) fn is_due(&self, now: Duration, facts: EpochFacts) -> bool {
        let worth_it = facts.records > 0 || facts.news;
        worth_it && (facts.budget_used || now >= self.last_close + self.interval)
    }

    /// How long until it may be due for its age alone.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        (self.last_close + self.interval).saturating_sub(now)
    }

    /// The end of the epoch was asked for.
    pub(crate) fn on_close(&mut self, now: Duration, facts: EpochFacts) {
        self.last_close = now;
        self.interval = if facts.backlog && facts.records > 0 {
            (self.interval * 2).clamp(self.interval_min, INTERVAL_MAX.max(self.interval_min))
        } else {
            self.interval_min
        };
    }

    /// The epoch came through: how long that took, and whether its budget had been used.
    pub(crate) fn on_through(&mut self, flush: Duration, budget_used: bool) {
        if flush > FLUSH_TARGET {
            let part = FLUSH_TARGET.as_secs_f64() / flush.as_secs_f64();
            // At least to the half, so that it comes down even if a flush is hardly too long.
            let less = (self.budget as f64 * part.min(0.5)) as u64;
            self.budget = less.max(self.budget_min);
        } else if budget_used {
            self.budget = (self.budget * 2).min(BUDGET_RECORDS_MAX);
        }
        self.draw();
    }

    /// What the open epoch holds fast in memory is too much: it ends now, and the next ones are shorter.
    pub(crate) fn on_memory_pressure(&mut self) {
        self.budget = (self.budget / 4).max(self.budget_min);
    }

    fn draw(&mut self) {
        if let Some(random) = &mut self.random {
            // Mostly short epochs, some long ones.
            self.budget = 1 << random.random_range(0..=12);
        }
    }
}

/// Records of the first epoch, whose flush nobody can foresee. `batches`: the rows of one batch a worker.
pub(crate) fn first_budget(batches: u64) -> u64 {
    (batches / 8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(records: u64, budget_used: bool, backlog: bool) -> EpochFacts {
        EpochFacts {
            records,
            budget_used,
            pressed: false,
            news: false,
            backlog,
        }
    }

    #[test]
    fn without_a_row_or_news_there_is_no_epoch() {
        let pacer = Pacer::new(Duration::from_millis(10), 8, None);
        assert!(!pacer.is_due(Duration::from_secs(60), facts(0, false, false)));
        assert!(pacer.is_due(Duration::from_secs(60), facts(1, false, false)));
        let news = EpochFacts {
            news: true,
            ..EpochFacts::default()
        };
        assert!(pacer.is_due(Duration::from_secs(60), news));
    }

    #[test]
    fn a_backlog_makes_epochs_longer_up_to_a_second_and_running_dry_ends_that() {
        let mut pacer = Pacer::new(Duration::from_millis(10), 8, None);
        let mut now = Duration::ZERO;
        for _ in 0..20 {
            now += Duration::from_secs(2);
            pacer.on_close(now, facts(5, false, true));
        }
        assert_eq!(pacer.wait(now), Duration::from_secs(1));
        pacer.on_close(now, facts(5, false, false));
        assert_eq!(pacer.wait(now), Duration::from_millis(10));
    }

    #[test]
    fn the_budget_at_most_doubles_and_shrinks_as_a_flush_was_too_slow() {
        let mut pacer = Pacer::new(Duration::from_millis(10), 8192, None);
        assert_eq!(pacer.budget(), 1024);
        pacer.on_through(Duration::from_millis(1), true);
        assert_eq!(pacer.budget(), 2048);
        pacer.on_through(Duration::from_millis(1), false);
        assert_eq!(pacer.budget(), 2048);
        pacer.on_through(Duration::from_millis(501), true);
        assert_eq!(pacer.budget(), 1024);
        // Ten times too long: a tenth of it.
        pacer.on_through(Duration::from_secs(5), true);
        assert_eq!(pacer.budget(), 102);
        pacer.on_through(Duration::from_secs(500), true);
        assert_eq!(pacer.budget(), 16);
        assert!(pacer.is_due(Duration::ZERO, facts(9, true, true)));
    }
}
