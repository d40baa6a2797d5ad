//! What all workers of a process share: block cache, write buffers, memory budget, counters.
//!
//! Of `'state.memory'` a quarter is for blocks and an eighth for write buffers (one pool, see the backend); the rest
//! is for tables. With the backend `memory` all of it is for tables, and rows at rest are beside it: whoever chooses
//! that backend says that they fit.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use crate::backend::RocksShared;
use crate::keyed::Budget;
use crate::{BackendKind, Result};

/// See the module's text.
pub struct SharedState {
    pub(crate) kind: BackendKind,
    pub(crate) budget: Arc<Budget>,
    pub(crate) rocks: Option<RocksShared>,
}

/// Counters since the start, and memory now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateStatistics {
    /// Entries that left memory because it ran short; the database has them.
    pub entries_spilled: u64,
    /// Entries that were read back from the database.
    pub entries_reloaded: u64,
    /// Bytes in use: tables, block cache, write buffers.
    pub memory_bytes: u64,
    /// The most that were in use at any time.
    pub memory_bytes_peak: u64,
    /// What the user gave.
    pub memory_bytes_budget: u64,
    /// How long operators waited at the gate of a checkpoint.
    pub gate_wait_ms: u64,
}

impl SharedState {
    /// `memory_bytes`: 'state.memory', for caches of tables, block cache and write buffers together.
    ///
    /// # Errors
    /// None today; opening shared resources may fail.
    pub fn new(backend: BackendKind, memory_bytes: usize) -> Result<Arc<Self>> {
        let (rocks, beside) = match backend {
            BackendKind::Memory => (None, 0),
            BackendKind::Rocksdb => {
                let (blocks, writes) = (memory_bytes / 4, memory_bytes / 8);
                (
                    Some(RocksShared::new(blocks + writes, writes)),
                    blocks + writes,
                )
            }
        };
        let budget = Arc::new(Budget::new(memory_bytes, memory_bytes - beside));
        Ok(Arc::new(Self {
            kind: backend,
            budget,
            rocks,
        }))
    }

    /// Counters since the start.
    pub fn statistics(&self) -> StateStatistics {
        self.sample();
        StateStatistics {
            entries_spilled: self.budget.spilled.load(Relaxed),
            entries_reloaded: self.budget.reloaded.load(Relaxed),
            memory_bytes: self.budget.memory() as u64,
            memory_bytes_peak: self.budget.peak() as u64,
            memory_bytes_budget: self.budget.total as u64,
            gate_wait_ms: self.budget.gate_wait_micros.load(Relaxed) / 1000,
        }
    }

    /// Takes note of what the databases use beside the tables.
    pub(crate) fn sample(&self) {
        if let Some(rocks) = &self.rocks {
            self.budget.set_beside(rocks.memory_bytes());
        }
    }

    /// Some worker touched so much in this epoch that its memory cannot hold more: the epoch should end as soon as it
    /// can, because only then may touched entries leave memory. True until the next epoch ends.
    pub fn epoch_should_end(&self) -> bool {
        self.budget.epoch_should_end.load(Relaxed)
    }
}
