//! The memory of spilled tables: buffers and what finds records. It is part of what the database's cache may use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Memory that somebody holds; it is given back when this goes.
pub(super) struct Held {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Held {
    pub(super) fn new(all: &Arc<AtomicUsize>) -> Self {
        Self {
            all: all.clone(),
            bytes: 0,
        }
    }

    /// Another amount from now on.
    pub(super) fn set(&mut self, bytes: usize) {
        self.all.fetch_add(bytes, Relaxed);
        self.all.fetch_sub(self.bytes, Relaxed);
        self.bytes = bytes;
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}
