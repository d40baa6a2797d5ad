//! A backend that is opened when something has to be at rest: most queries that somebody asks never come to that.
//!
//! ```text
//!   reads ─▶ not open: there is nothing      write, link ─▶ open it, once ─▶ the real one
//! ```
//!
//! Opening a database makes folders and syncs files, some of them several times: longer than a short query takes.
//!
//! # Invariants
//! 1. It is opened at most once; whoever comes meanwhile waits.
//! 2. Before that nothing was written, so nothing can be read.

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::{FrozenEntries, Keys, LinkedFile, StateBackend, TableIndex, Visitor, Writes};
use crate::Result;

/// Makes the real backend.
type Open = Box<dyn FnOnce() -> Result<Box<dyn StateBackend>> + Send>;

/// See the module's text.
pub(crate) struct LateBackend {
    opened: OnceLock<Box<dyn StateBackend>>,
    /// How to open it; also held while that is done.
    open: Mutex<Option<Open>>,
}

impl LateBackend {
    pub(crate) fn new(
        open: impl FnOnce() -> Result<Box<dyn StateBackend>> + Send + 'static,
    ) -> Self {
        Self {
            opened: OnceLock::new(),
            open: Mutex::new(Some(Box::new(open))),
        }
    }

    fn there(&self) -> Option<&dyn StateBackend> {
        self.opened.get().map(|backend| &**backend)
    }

    fn open(&self) -> Result<&dyn StateBackend> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.take() {
            let backend = open()?;
            // The lock is held, and nobody else sets it.
            drop(self.opened.set(backend));
        }
        drop(open);
        self.there().ok_or_else(|| {
            crate::Error::io(
                "opening the database of a worker",
                "it could not be opened before",
            )
        })
    }
}

impl StateBackend for LateBackend {
    fn get_many(
        &self,
        table: TableIndex,
        keys: &Keys,
        found: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        match self.there() {
            Some(backend) => backend.get_many(table, keys, found),
            None => Ok(()),
        }
    }

    fn write(&self, writes: &Writes) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        self.open()?.write(writes)
    }

    fn write_frozen(&self, entries: &dyn FrozenEntries) -> Result<u64> {
        self.open()?.write_frozen(entries)
    }

    fn scan(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        match self.there() {
            Some(backend) => backend.scan(table, from, to, visit),
            None => Ok(()),
        }
    }

    fn settle(&self, table: TableIndex) -> Result<()> {
        match self.there() {
            Some(backend) => backend.settle(table),
            None => Ok(()),
        }
    }

    fn scan_settled(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        match self.there() {
            Some(backend) => backend.scan_settled(table, from, to, visit),
            None => Ok(()),
        }
    }

    fn scan_back(
        &self,
        table: TableIndex,
        from: &[u8],
        to: &[u8],
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        match self.there() {
            Some(backend) => backend.scan_back(table, from, to, visit),
            None => Ok(()),
        }
    }

    fn link(&self, folder: &Path) -> Result<Vec<LinkedFile>> {
        self.open()?.link(folder)
    }

    fn tidy(&self, checkpoint: u64) -> Result<()> {
        match self.there() {
            Some(backend) => backend.tidy(checkpoint),
            None => Ok(()),
        }
    }

    fn size(&self, table: TableIndex) -> (u64, u64) {
        self.there().map_or((0, 0), |backend| backend.size(table))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::MemoryBackend;
    use super::*;

    fn entries(backend: &LateBackend) -> usize {
        let mut seen = 0;
        let mut count = |_: &[u8], _: &[u8]| {
            seen += 1;
            Ok(ControlFlow::Continue(()))
        };
        backend.scan(0, b"", b"zz", &mut count).unwrap();
        seen
    }

    #[test]
    fn it_is_opened_once_and_by_a_write_alone() {
        let times = Arc::new(AtomicUsize::new(0));
        let counted = times.clone();
        let backend = LateBackend::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(MemoryBackend::new(vec!["t".to_owned()])))
        });
        assert_eq!((entries(&backend), backend.size(0)), (0, (0, 0)));
        backend.tidy(1).unwrap();
        backend.write(&Writes::default()).unwrap();
        assert_eq!(times.load(Ordering::Relaxed), 0);
        let mut writes = Writes::default();
        writes.put(0, b"k", b"v");
        backend.write(&writes).unwrap();
        backend.write(&writes).unwrap();
        assert_eq!((entries(&backend), times.load(Ordering::Relaxed)), (1, 1));
    }

    #[test]
    fn what_could_not_be_opened_stays_an_error() {
        let backend = LateBackend::new(|| Err(crate::Error::io("opening", "no room")));
        let mut writes = Writes::default();
        writes.put(0, b"k", b"v");
        for _ in 0..2 {
            assert!(backend.write(&writes).is_err());
        }
        assert_eq!(entries(&backend), 0);
    }
}
