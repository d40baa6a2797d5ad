//! The epoch as all workers and dealers see it: what is open, what is closing, and its one processing time.
//!
//! ```text
//!   epoch 7          epoch 8
//!   ──rows────┤close├──rows───…       a worker goes on to epoch 8 when all its operators have flushed epoch 7,
//!             7     │                 without waiting for other workers; epoch 8 is closed only after every
//!                   through(7)        worker reported epoch 7: nobody is more than one epoch ahead
//! ```
//!
//! # Invariants
//! 1. Epochs are closed in order, one at a time; two are alive at most. What belongs to an epoch is kept by parity.
//! 2. The processing time of an epoch is fixed when its first row is dealt, or when it is closed without one; it never
//!    goes back.
//! 3. Every source has a budget of its own: the epoch does not end for a used one before each source was asked for rows,
//!    or the fastest would be the only one that is ever read.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use weir_types::{CheckpointId, ProcessingTime};

use crate::sync::lock;
use crate::views::ViewRead;

/// Shared by the coordinator, the workers and the dealers.
#[derive(Debug)]
pub(crate) struct EpochControl {
    /// The last epoch whose end was asked for. Dealers of a later one may deal.
    closing: AtomicU64,
    /// Processing time of the epochs alive, by parity.
    now: [AtomicI64; 2],
    book: Mutex<Book>,
    /// Set at the end of the job: workers leave.
    shutdown: AtomicBool,
    /// A split ended or became idle since the last epoch: worth an epoch even without rows.
    news: AtomicBool,
    /// A source had nothing more to give for now since the last epoch was closed.
    caught_up: AtomicBool,
    /// The epoch that ends the job, once it is closing: nothing is dealt after it.
    last: AtomicU64,
    /// The views that are read at the end of an epoch: that epoch, and them.
    reads: Mutex<(u64, Vec<Arc<ViewRead>>)>,
    /// Wakes the coordinator when there is something to decide.
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Book {
    epochs: [Open; 2],
    /// The last processing time given to an epoch.
    last_now: i64,
}

/// What one entry may give and gave in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Records after which its dealers stop.
    pub(crate) budget: u64,
    /// Records dealt.
    pub(crate) records: u64,
    /// A worker has asked it for records, whether there were any or not.
    asked: bool,
}

impl Share {
    /// Nothing was dealt of it yet.
    pub(crate) fn new(budget: u64) -> Self {
        Self {
            budget,
            ..Self::default()
        }
    }

    /// Whether all of it was dealt.
    pub(crate) fn is_used(&self) -> bool {
        self.records >= self.budget
    }
}

/// An epoch that is alive.
#[derive(Clone, Debug, Default)]
struct Open {
    epoch: u64,
    /// Whether its processing time is fixed.
    opened: bool,
    bytes: u64,
    /// Of each entry: where rows enter the job, which is one for each source, in their order. A job that computes state from
    /// state has no sources; all its operators that give rows from their state are one entry.
    shares: Vec<Share>,
    /// What it touched holds too much memory fast: that is free again only after its end.
    pressed: bool,
    checkpoint: Option<CheckpointId>,
}

/// Sinks and printed results may hold what an epoch gives: its input is bounded in bytes as well.
const EPOCH_BYTES_MAX: u64 = 256 << 20;

impl Open {
    fn records(&self) -> u64 {
        self.shares.iter().map(|share| share.records).sum()
    }

    /// Nothing more may be dealt of any entry.
    fn is_full(&self) -> bool {
        self.bytes >= EPOCH_BYTES_MAX || self.is_pressed()
    }

    /// There is no reason to leave it open.
    fn is_used(&self) -> bool {
        let asked = || self.shares.iter().all(|share| share.asked);
        self.is_full() || (self.shares.iter().any(Share::is_used) && asked())
    }

    /// An epoch has a record at least: pressure from the end of the one before must not keep it from beginning.
    fn is_pressed(&self) -> bool {
        self.pressed && self.records() > 0
    }
}

/// What the coordinator wants to know of the open epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EpochFacts {
    /// Records dealt in it.
    pub(crate) records: u64,
    /// No more may be dealt.
    pub(crate) budget_used: bool,
    /// It must end for what it holds in memory; then no more may be dealt either.
    pub(crate) pressed: bool,
    /// A split ended or became idle.
    pub(crate) news: bool,
    /// No source ran dry since the last epoch.
    pub(crate) backlog: bool,
}

impl EpochControl {
    /// Epoch 1 is open. `last_now`: processing time of the restored checkpoint. `entries`: how many there are, `budget`: of
    /// each of them.
    pub(crate) fn new(last_now: i64, entries: usize, budget: u64, wake: Arc<Notify>) -> Self {
        let open = |epoch| Open {
            epoch,
            shares: vec![Share::new(budget); entries],
            ..Open::default()
        };
        Self {
            closing: AtomicU64::new(0),
            now: [AtomicI64::new(last_now), AtomicI64::new(last_now)],
            book: Mutex::new(Book {
                epochs: [open(2), open(1)],
                last_now,
            }),
            shutdown: AtomicBool::new(false),
            news: AtomicBool::new(false),
            caught_up: AtomicBool::new(false),
            last: AtomicU64::new(u64::MAX),
            reads: Mutex::default(),
            wake,
        }
    }

    /// Whether the end of `epoch` was asked for.
    pub(crate) fn is_closing(&self, epoch: u64) -> bool {
        self.closing.load(Ordering::Acquire) >= epoch
    }

    /// The processing time of `epoch`, once a row of it is seen or it is closing.
    pub(crate) fn now(&self, epoch: u64) -> ProcessingTime {
        ProcessingTime(self.now[(epoch % 2) as usize].load(Ordering::Acquire))
    }

    /// A worker asks an entry for records of `epoch`, and learns how many it may still deal.
    pub(crate) fn ask(&self, epoch: u64, entry: usize) -> u64 {
        if epoch > self.last.load(Ordering::Acquire) {
            return 0;
        }
        let mut book = lock(&self.book);
        let open = &mut book.epochs[(epoch % 2) as usize];
        debug_assert_eq!(open.epoch, epoch);
        if !std::mem::replace(&mut open.shares[entry].asked, true) && open.is_used() {
            self.wake.notify_one();
        }
        let share = &open.shares[entry];
        match open.is_full() {
            true => 0,
            false => share.budget.saturating_sub(share.records),
        }
    }

    /// Records of `epoch` were dealt by an entry; the first ones fix its processing time.
    pub(crate) fn on_dealt(
        &self,
        epoch: u64,
        entry: usize,
        records: u64,
        bytes: u64,
        wall_micros: i64,
    ) {
        let mut book = lock(&self.book);
        self.open(&mut book, epoch, wall_micros);
        let open = &mut book.epochs[(epoch % 2) as usize];
        let first = open.records() == 0;
        open.shares[entry].records += records;
        open.bytes += bytes;
        if first || open.is_used() {
            self.wake.notify_one();
        }
    }

    /// What a worker touched in `epoch` cannot leave memory before its end, and takes too much of it: nothing more is dealt.
    pub(crate) fn on_memory_pressure(&self, epoch: u64) {
        let mut book = lock(&self.book);
        let open = &mut book.epochs[(epoch % 2) as usize];
        // The epoch may have come through by now, and its place belong to another.
        if open.epoch == epoch && !std::mem::replace(&mut open.pressed, true) {
            self.wake.notify_one();
        }
    }

    /// A split ended, became idle or woke.
    pub(crate) fn on_news(&self) {
        self.news.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// A source had nothing for now.
    pub(crate) fn on_caught_up(&self) {
        self.caught_up.store(true, Ordering::Relaxed);
    }

    /// What is known of the open epoch.
    pub(crate) fn facts(&self, epoch: u64) -> EpochFacts {
        let book = lock(&self.book);
        let open = &book.epochs[(epoch % 2) as usize];
        EpochFacts {
            records: open.records(),
            budget_used: open.is_used(),
            pressed: open.is_pressed(),
            news: self.news.load(Ordering::Acquire),
            backlog: !self.caught_up.load(Ordering::Relaxed),
        }
    }

    /// `epoch`, which is about to be closed, ends the job.
    pub(crate) fn finish_with(&self, epoch: u64) {
        self.last.store(epoch, Ordering::Release);
    }

    /// Says which views are read at the end of `epoch`, which is about to be closed.
    pub(crate) fn read_at(&self, epoch: u64, reads: Vec<Arc<ViewRead>>) {
        *lock(&self.reads) = (epoch, reads);
    }

    /// The views that are read at the end of `epoch`, which is closing.
    pub(crate) fn reads(&self, epoch: u64) -> Vec<Arc<ViewRead>> {
        let reads = lock(&self.reads);
        match reads.0 == epoch {
            true => reads.1.clone(),
            false => Vec::new(),
        }
    }

    /// Asks for the end of `epoch`. The one before must be through.
    pub(crate) fn close(&self, epoch: u64, checkpoint: Option<CheckpointId>, wall_micros: i64) {
        let mut book = lock(&self.book);
        self.open(&mut book, epoch, wall_micros);
        book.epochs[(epoch % 2) as usize].checkpoint = checkpoint;
        assert_eq!(
            self.closing.load(Ordering::Acquire) + 1,
            epoch,
            "epochs end in order"
        );
        self.news.store(false, Ordering::Release);
        self.caught_up.store(false, Ordering::Relaxed);
        self.closing.store(epoch, Ordering::Release);
    }

    /// The checkpoint that ends `epoch`, which is closing.
    pub(crate) fn checkpoint(&self, epoch: u64) -> Option<CheckpointId> {
        lock(&self.book).epochs[(epoch % 2) as usize].checkpoint
    }

    /// What each entry gave in `epoch`, which is alive.
    pub(crate) fn shares(&self, epoch: u64) -> Vec<Share> {
        lock(&self.book).epochs[(epoch % 2) as usize].shares.clone()
    }

    /// `epoch` came through on all workers; the one after the next may use its place, with these budgets of the entries, and
    /// the next one has them from now on: where that is less than was dealt in it already, it is used up.
    pub(crate) fn through(&self, epoch: u64, budgets: &[u64]) {
        let mut book = lock(&self.book);
        book.epochs[(epoch % 2) as usize] = Open {
            epoch: epoch + 2,
            shares: budgets.iter().map(|&budget| Share::new(budget)).collect(),
            ..Open::default()
        };
        let next = &mut book.epochs[((epoch + 1) % 2) as usize];
        for (share, &budget) in next.shares.iter_mut().zip(budgets) {
            share.budget = budget;
        }
    }

    /// Sets the end of the job.
    pub(crate) fn shut_down(&self) {
        self.shutdown.store(true, Ordering::Release);
    }

    /// Whether workers have to leave.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.shutdown.load(Ordering::Acquire)
    }

    fn open(&self, book: &mut Book, epoch: u64, wall_micros: i64) {
        let last = book.last_now.max(wall_micros);
        let open = &mut book.epochs[(epoch % 2) as usize];
        assert_eq!(open.epoch, epoch, "a record of an epoch that is not alive");
        if !open.opened {
            open.opened = true;
            book.last_now = last;
            self.now[(epoch % 2) as usize].store(last, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(last_now: i64) -> EpochControl {
        EpochControl::new(last_now, 1, 10, Arc::default())
    }

    #[test]
    fn the_processing_time_of_an_epoch_is_fixed_by_its_first_row_and_never_goes_back() {
        let control = control(1000);
        control.on_dealt(1, 0, 1, 0, 900);
        assert_eq!(control.now(1), ProcessingTime(1000));
        control.on_dealt(1, 0, 1, 0, 5000);
        assert_eq!(control.now(1), ProcessingTime(1000));
        control.close(1, None, 6000);
        control.on_dealt(2, 0, 1, 0, 7000);
        assert_eq!(
            (control.now(1), control.now(2)),
            (ProcessingTime(1000), ProcessingTime(7000))
        );
        control.through(1, &[10]);
        control.close(2, None, 1);
        control.through(2, &[10]);
        control.close(3, None, 8000);
        assert_eq!(control.now(3), ProcessingTime(8000));
    }

    #[test]
    fn the_budget_counts_records_of_its_own_epoch_alone() {
        let control = control(0);
        control.on_dealt(1, 0, 9, 0, 1);
        assert!(!control.facts(1).budget_used);
        assert_eq!(control.ask(1, 0), 1);
        assert_eq!(control.ask(2, 0), 10);
        control.on_dealt(1, 0, 3, 0, 1);
        control.on_dealt(2, 0, 1, EPOCH_BYTES_MAX, 1);
        assert_eq!(control.ask(2, 0), 0, "bytes count too");
        assert!(control.facts(1).budget_used);
        control.close(1, Some(CheckpointId(4)), 1);
        assert_eq!(control.checkpoint(1), Some(CheckpointId(4)));
        control.through(1, &[20]);
        assert_eq!((control.ask(2, 0), control.ask(3, 0)), (0, 20));
    }

    #[test]
    fn under_memory_pressure_nothing_is_dealt_but_the_first_record_of_an_epoch() {
        let control = control(0);
        control.on_memory_pressure(1);
        assert_eq!(control.ask(1, 0), 10);
        control.on_dealt(1, 0, 1, 0, 1);
        assert_eq!((control.ask(1, 0), control.facts(1).pressed), (0, true));
        control.close(1, None, 1);
        assert_eq!(control.ask(2, 0), 10);
        control.through(1, &[4]);
        control.on_memory_pressure(1);
        assert_eq!((control.ask(2, 0), control.ask(3, 0)), (4, 4));
    }

    #[test]
    fn a_used_budget_ends_the_epoch_only_when_every_source_was_asked() {
        let control = EpochControl::new(0, 2, 10, Arc::default());
        control.on_dealt(1, 0, 10, 0, 1);
        assert_eq!(control.ask(1, 0), 0);
        assert!(!control.facts(1).budget_used, "the other had no turn yet");
        assert_eq!(control.ask(1, 1), 10, "its budget is its own");
        assert!(control.facts(1).budget_used);
        control.on_dealt(1, 1, 2, 0, 1);
        let records: Vec<u64> = control
            .shares(1)
            .iter()
            .map(|share| share.records)
            .collect();
        assert_eq!((records, control.facts(1).records), (vec![10, 2], 12));
    }
}
