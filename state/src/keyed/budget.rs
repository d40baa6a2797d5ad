//! The memory budget that all tables of the process share: atomics only, no lock.
//!
//! Whoever holds memory holds a [`Charge`]; dropping it gives the memory back. So the sum is right whichever
//! thread drops a frozen chunk last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Counters and limits of the process.
#[derive(Debug)]
pub(crate) struct Budget {
    /// What the user gave: tables, block cache and write buffers.
    pub(crate) total: usize,
    /// The part for tables.
    pub(crate) limit: usize,
    used: AtomicUsize,
    /// Bytes of entries that the database does not have yet.
    dirty: AtomicUsize,
    /// Block cache and write buffers, as last asked for.
    beside: AtomicUsize,
    peak: AtomicUsize,
    /// Workers that share the budget.
    pub(crate) workers: AtomicUsize,
    /// A worker has so many slots pinned that the epoch should end soon.
    pub(crate) epoch_should_end: AtomicBool,
    pub(crate) spilled: AtomicU64,
    pub(crate) reloaded: AtomicU64,
    pub(crate) gate_wait_micros: AtomicU64,
}

impl Budget {
    pub(crate) fn new(total: usize, limit: usize) -> Self {
        Self {
            total,
            limit,
            used: AtomicUsize::new(0),
            dirty: AtomicUsize::new(0),
            beside: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            workers: AtomicUsize::new(0),
            epoch_should_end: AtomicBool::new(false),
            spilled: AtomicU64::new(0),
            reloaded: AtomicU64::new(0),
            gate_wait_micros: AtomicU64::new(0),
        }
    }

    fn add(&self, bytes: usize) {
        let used = self.used.fetch_add(bytes, Relaxed) + bytes;
        self.peak
            .fetch_max(used + self.beside.load(Relaxed), Relaxed);
    }

    fn sub(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    /// Whether tables may take `bytes` more.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        self.used.load(Relaxed) + bytes <= self.limit
    }

    /// Bytes that tables use beyond their limit.
    pub(crate) fn excess(&self) -> usize {
        self.used.load(Relaxed).saturating_sub(self.limit)
    }

    pub(crate) fn add_dirty(&self, bytes: usize) {
        self.dirty.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn sub_dirty(&self, bytes: usize) {
        self.dirty.fetch_sub(bytes, Relaxed);
    }

    /// Bytes of dirty entries beyond half of the tables' limit.
    pub(crate) fn dirty_excess(&self) -> usize {
        self.dirty.load(Relaxed).saturating_sub(self.limit / 2)
    }

    /// The part of the limit that every worker may hold, whatever the others do.
    pub(crate) fn fair_share(&self) -> usize {
        self.limit / self.workers.load(Relaxed).max(1)
    }

    /// Takes note of what block cache and write buffers use.
    pub(crate) fn set_beside(&self, bytes: usize) {
        self.beside.store(bytes, Relaxed);
        self.peak
            .fetch_max(self.used.load(Relaxed) + bytes, Relaxed);
    }

    pub(crate) fn memory(&self) -> usize {
        self.used.load(Relaxed) + self.beside.load(Relaxed)
    }

    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }
}

/// Memory beside the tables that an operator holds rows in. It counts like theirs.
#[derive(Debug)]
pub struct HeldMemory(Charge);

impl HeldMemory {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self(Charge::new(budget, 0))
    }

    /// Another amount from now on: `false`, and as before, if it is more than there is room for beside the tables.
    #[must_use]
    pub fn try_set(&mut self, bytes: usize) -> bool {
        let (before, budget) = (self.0.bytes(), self.0.budget());
        let fits =
            bytes <= before || (bytes <= budget.fair_share() / 4 && budget.fits(bytes - before));
        if fits {
            self.0.set(bytes);
        }
        fits
    }
}

/// Memory that somebody holds.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    pub(crate) fn new(budget: &Arc<Budget>, bytes: usize) -> Self {
        budget.add(bytes);
        Self {
            budget: budget.clone(),
            bytes,
        }
    }

    /// Another amount from now on.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.add(bytes - self.bytes);
        } else if bytes < self.bytes {
            self.budget.sub(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.sub(self.bytes);
    }
}
