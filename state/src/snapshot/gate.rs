//! The gate between a freeze and its hard links: while it is closed, only frozen entries reach the database.
//!
//! ```text
//!   worker:  freeze ─ close ─┬─ evicts clean entries, reads ─────────┬─ spills again
//!   writer:                  └─ write chunk, chunk, … flush, link ─ open
//! ```
//!
//! A worker that is over budget while the gate is closed waits here for the writer to get further. That cannot
//! deadlock: the writer needs nothing from the worker.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::keyed::Budget;

/// See the module's text. One for each worker.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    /// Counts what the writer has done: goes up whenever frozen entries reached the database or the gate opens.
    progress: AtomicU64,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::Release);
        self.note_progress();
    }

    pub(crate) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Acquire)
    }

    pub(crate) fn note_progress(&self) {
        self.progress.fetch_add(1, Ordering::AcqRel);
        // Taking the lock makes sure that nobody is between looking and waiting.
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until the gate is open or the writer got beyond `seen`.
    pub(crate) fn wait_beyond(&self, seen: u64, budget: &Budget) {
        self.wait_until(budget, || !self.is_closed() || self.progress() != seen);
    }

    /// Waits until the gate is open.
    pub(crate) fn wait_open(&self, budget: &Budget) {
        self.wait_until(budget, || !self.is_closed());
    }

    fn wait_until(&self, budget: &Budget, done: impl Fn() -> bool) {
        if done() {
            return;
        }
        // The monotonic clock measures the wait for the statistics; nothing is decided by it.
        let start = Instant::now();
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !done() {
            guard = self
                .changed
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(guard);
        budget
            .gate_wait_micros
            .fetch_add(start.elapsed().as_micros() as u64, Ordering::Relaxed);
    }
}

/// Opens the gate when it goes away: an error or a panic of the writer must not leave the worker waiting.
pub(crate) struct OpensGate<'a>(pub(crate) &'a Gate);

impl Drop for OpensGate<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}
