//! All caches of one worker, so that one that needs room can take it from another; and the slice drops that wait
//! for the gate.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::cache::{Cache, CacheRef};
use crate::Result;
use crate::backend::{StateBackend, Writes};
use crate::snapshot::Gate;

/// See the module's text.
pub(crate) struct Registry {
    caches: RefCell<Vec<Weak<RefCell<Cache>>>>,
    /// Deletions of dropped slices that the database does not know yet.
    deferred: RefCell<Writes>,
    backend: Arc<dyn StateBackend>,
    gate: Arc<Gate>,
}

impl Registry {
    pub(crate) fn new(backend: Arc<dyn StateBackend>, gate: Arc<Gate>) -> Self {
        Self {
            caches: RefCell::default(),
            deferred: RefCell::default(),
            backend,
            gate,
        }
    }

    pub(crate) fn add(&self, cache: &CacheRef) {
        self.caches.borrow_mut().push(Rc::downgrade(cache));
    }

    /// All caches that still have a table.
    pub(crate) fn caches(&self) -> Vec<CacheRef> {
        let mut caches = self.caches.borrow_mut();
        caches.retain(|cache| cache.strong_count() > 0);
        caches.iter().filter_map(Weak::upgrade).collect()
    }

    /// Appends deletions that are to reach the database before anything that is written later.
    pub(crate) fn defer(&self, add: impl FnOnce(&mut Writes)) {
        add(&mut self.deferred.borrow_mut());
    }

    /// Writes `writes`, after what was deferred. The gate must be open.
    pub(crate) fn write(&self, writes: &Writes) -> Result<()> {
        assert!(
            !self.gate.is_closed(),
            "between a freeze and its links only frozen entries reach the database"
        );
        self.write_deferred()?;
        if writes.is_empty() {
            Ok(())
        } else {
            self.backend.write(writes)
        }
    }

    /// Writes the deferred deletions if the gate is open.
    pub(crate) fn write_deferred(&self) -> Result<()> {
        let mut deferred = self.deferred.borrow_mut();
        if !deferred.is_empty() && !self.gate.is_closed() {
            self.backend.write(&deferred)?;
            deferred.clear();
        }
        Ok(())
    }
}
