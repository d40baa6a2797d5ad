//! When an epoch ends: a pure decision from observed facts, without clocks or channels.
//!
//! * Not without a row or news, and never before the last one came through.
//! * Otherwise when 'epoch.interval' has passed, or the epoch's budget of records is used.
//! * While sources work off a backlog, where throughput counts and latency does not, the interval doubles from epoch to
//!   epoch, up to a second; when a source runs dry it is back at its start.
//! * Every source has a budget of its own, which starts at a few rows: what a row costs behind a join that multiplies it and
//!   before a slow sink, nobody can foresee, and no barrier comes through before what was dealt. If it was used and the
//!   flush took less than half of the target, it doubles; if the flush took longer than the target, it shrinks in proportion
//!   to what was dealt. One that was not used comes down to twice of what was dealt: a source that has been quiet and begins
//!   to give is as unknown as a new one.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use super::control::{EpochFacts, Share};

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
    /// Where budgets begin, and what memory pressure and slow flushes shrink them to.
    budget_min: u64,
    /// Of each entry of the control.
    budgets: Vec<u64>,
    last_close: Duration,
    /// Random budgets, for tests.
    random: Option<SmallRng>,
}

impl Pacer {
    /// `entries`: where rows enter the job. `batches`: the rows of one batch a worker.
    pub(crate) fn new(
        interval: Duration,
        entries: usize,
        batches: u64,
        random: Option<SmallRng>,
    ) -> Self {
        let mut pacer = Self {
            interval_min: interval,
            interval,
            budget_min: first_budget(batches),
            budgets: vec![first_budget(batches); entries],
            last_close: Duration::ZERO,
            random,
        };
        pacer.draw();
        pacer
    }

    /// Records that the next epoch may hold, of each entry.
    pub(crate) fn budgets(&self) -> &[u64] {
        &self.budgets
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

    /// The epoch came through: how long that took from its end on, and what each entry gave in it.
    pub(crate) fn on_through(&mut self, flush: Duration, shares: &[Share]) {
        let least = self.budget_min;
        for (budget, share) in self.budgets.iter_mut().zip(shares) {
            *budget = if flush > FLUSH_TARGET {
                let part = FLUSH_TARGET.as_secs_f64() / flush.as_secs_f64();
                // At least to the half, so that it comes down even if a flush is hardly too long.
                ((*budget).min(share.records) as f64 * part.min(0.5)) as u64
            } else if !share.is_used() {
                (*budget).min(share.records * 2)
            } else if flush < FLUSH_TARGET / 2 {
                (*budget * 2).min(BUDGET_RECORDS_MAX)
            } else {
                *budget
            }
            .max(least);
        }
        self.draw();
    }

    /// What the open epoch holds fast in memory is too much: it ends now, and the next ones are shorter.
    pub(crate) fn on_memory_pressure(&mut self) {
        for budget in &mut self.budgets {
            *budget = (*budget / 4).max(self.budget_min);
        }
    }

    fn draw(&mut self) {
        if let Some(random) = &mut self.random {
            // Mostly short epochs, some long ones.
            let budget = 1 << random.random_range(0..=12);
            self.budgets.fill(budget);
        }
    }
}

/// Records that each source may give to the first epoch, whose flush nobody can foresee. `batches`: the rows of one batch a
/// worker.
pub(crate) fn first_budget(batches: u64) -> u64 {
    (batches / 512).max(1)
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
        let pacer = Pacer::new(Duration::from_millis(10), 1, 8, None);
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
        let mut pacer = Pacer::new(Duration::from_millis(10), 1, 8, None);
        let mut now = Duration::ZERO;
        for _ in 0..20 {
            now += Duration::from_secs(2);
            pacer.on_close(now, facts(5, false, true));
        }
        assert_eq!(pacer.wait(now), Duration::from_secs(1));
        pacer.on_close(now, facts(5, false, false));
        assert_eq!(pacer.wait(now), Duration::from_millis(10));
    }

    fn share(budget: u64, records: u64) -> Share {
        let mut share = Share::new(budget);
        share.records = records;
        share
    }

    #[test]
    fn a_used_budget_doubles_unless_the_flush_took_long() {
        let mut pacer = Pacer::new(Duration::from_millis(10), 1, 8192, None);
        assert_eq!(pacer.budgets(), [16]);
        pacer.on_through(Duration::from_millis(1), &[share(16, 16)]);
        assert_eq!(pacer.budgets(), [32]);
        pacer.on_through(Duration::from_millis(300), &[share(32, 32)]);
        assert_eq!(pacer.budgets(), [32]);
        for _ in 0..20 {
            let budget = pacer.budgets()[0];
            pacer.on_through(Duration::from_millis(1), &[share(budget, budget)]);
        }
        assert_eq!(pacer.budgets(), [BUDGET_RECORDS_MAX]);
        // Ten times too long: a tenth of what was dealt, not of what might have been.
        pacer.on_through(Duration::from_secs(5), &[share(BUDGET_RECORDS_MAX, 10_000)]);
        assert_eq!(pacer.budgets(), [1000]);
        pacer.on_through(Duration::from_millis(501), &[share(1000, 1000)]);
        assert_eq!(pacer.budgets(), [500]);
        pacer.on_through(Duration::from_secs(500), &[share(500, 500)]);
        assert_eq!(pacer.budgets(), [16]);
        assert!(pacer.is_due(Duration::ZERO, facts(9, true, true)));
    }

    #[test]
    fn a_source_that_was_quiet_begins_with_few_rows_again_whatever_the_others_give() {
        let mut pacer = Pacer::new(Duration::from_millis(10), 2, 8192, None);
        for _ in 0..10 {
            let shares = [
                share(pacer.budgets()[0], pacer.budgets()[0]),
                share(pacer.budgets()[1], 0),
            ];
            pacer.on_through(Duration::from_millis(1), &shares);
        }
        assert_eq!(pacer.budgets(), [16 << 10, 16]);
        pacer.on_through(
            Duration::from_millis(1),
            &[share(16 << 10, 100), share(16, 16)],
        );
        assert_eq!(pacer.budgets(), [200, 32]);
    }
}
