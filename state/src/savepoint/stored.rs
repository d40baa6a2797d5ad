//! Entries of a checkpoint, table by table, in the order of their keys, whatever its files are.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use weir_types::{KeyGroup, KeyGroupRange};

use super::SavedPart;
use super::entries::group_of;
use crate::backend::{RocksBackend, RocksReader, RocksShared, SnapshotFile, Visitor};
use crate::snapshot::{FileForm, RestoreFrom, WorkerSnapshot};
use crate::{BackendKind, Error, Result, TableSpec};

/// A checkpoint that is read from beginning to end.
pub(crate) struct Stored {
    key_groups: u16,
    parts: Vec<(KeyGroupRange, Part)>,
    scratch: PathBuf,
}

/// What one worker wrote.
enum Part {
    Rocks(RocksReader),
    Memory(Vec<SnapshotFile>),
    Saved(SavedPart),
}

impl Stored {
    /// Opens a checkpoint; its files are linked or copied into `scratch`, which is made, and removed at the end.
    pub(crate) fn open(from: &RestoreFrom, scratch: &Path) -> Result<Self> {
        let mut stored = Self {
            key_groups: from.key_groups,
            parts: Vec::new(),
            scratch: scratch.to_owned(),
        };
        let mut workers: Vec<&WorkerSnapshot> = from.workers.iter().collect();
        workers.sort_by_key(|worker| worker.range.start);
        // Reading in one thread needs no more than this.
        let rocks = RocksShared::new(8 << 20, 1 << 20);
        for worker in workers {
            // More workers than key groups: some have none.
            if worker.range.start == worker.range.end {
                continue;
            }
            let folder = scratch.join(format!("w{}", worker.worker));
            crate::snapshot::fetch(from, worker, &folder)?;
            let part = match (worker.form, from.backend) {
                (FileForm::Savepoint, _) => Part::Saved(SavedPart::new(from, worker, &folder)?),
                (FileForm::Database, BackendKind::Rocksdb) => {
                    Part::Rocks(RocksBackend::open_for_reading(&rocks, &folder)?)
                }
                (FileForm::Database, BackendKind::Memory) => Part::Memory(
                    worker
                        .files
                        .iter()
                        .map(|file| SnapshotFile::open(&folder.join(&file.name)))
                        .collect::<Result<_>>()?,
                ),
            };
            stored.parts.push((worker.range, part));
        }
        Ok(stored)
    }

    /// Key groups of the job.
    pub(crate) fn key_groups(&self) -> u16 {
        self.key_groups
    }

    /// Visits the entries of a table in a range of key groups.
    pub(crate) fn scan(
        &self,
        table: &TableSpec,
        range: KeyGroupRange,
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        let mut ended = false;
        for (own, part) in &self.parts {
            let both = KeyGroupRange {
                start: own.start.max(range.start),
                end: own.end.min(range.end),
            };
            if both.start >= both.end || ended {
                continue;
            }
            let mut once = |key: &[u8], row: &[u8]| {
                let flow = visit(key, row)?;
                ended = flow.is_break();
                Ok(flow)
            };
            match part {
                Part::Rocks(reader) => {
                    let (from, to) = (both.start.to_be_bytes(), both.end.to_be_bytes());
                    reader.scan(&table.family(), &from, &to, &mut once)?;
                }
                Part::Memory(files) => {
                    let within = |group: KeyGroup| both.contains(group);
                    for file in files {
                        scan_memory(file, table, &within, &mut once)?;
                    }
                }
                Part::Saved(saved) => saved.scan(table, both, &mut once)?,
            }
        }
        Ok(())
    }
}

fn scan_memory(
    file: &SnapshotFile,
    table: &TableSpec,
    within: &dyn Fn(KeyGroup) -> bool,
    visit: &mut Visitor<'_>,
) -> Result<()> {
    file.visit(&table.family(), &mut |key, row| {
        if within(group_of(key)?) {
            visit(key, row)
        } else {
            Ok(ControlFlow::Continue(()))
        }
    })
}

impl Drop for Stored {
    fn drop(&mut self) {
        // Databases are closed before their files go; what cannot be removed is litter in a scratch folder.
        self.parts.clear();
        drop(std::fs::remove_dir_all(&self.scratch));
    }
}

impl Error {
    /// A savepoint that cannot be used: the user put something else there, or half of it.
    pub(crate) fn savepoint(code: &str, what: impl std::fmt::Display) -> Self {
        Self::Incompatible(format!("[{code}] {what}"))
    }
}
