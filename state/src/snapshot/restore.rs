//! Opening a worker's state from a checkpoint.
//!
//! ```text
//!   one old worker of the same range, rocksdb → rocksdb:   link its files, open
//!   otherwise:   for each old worker that overlaps, in the order of ranges:
//!                    read its entries of our key groups in order ─▶ write them in batches
//! ```
//!
//! Keys and rows are the same bytes in both backends (`docs/formats`), and only tables of the same schema are restored
//! today, so entries are carried over as they are.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_types::KeyGroupRange;

use super::{FileEntry, FileForm, RestoreFrom, WorkerSnapshot};
use crate::backend::{RocksBackend, StateBackend, Writes, read_snapshot};
use crate::encoding::{key, value};
use crate::error::pass;
use crate::savepoint::SavedPart;
use crate::worker::{WorkerOptions, new_backend};
use crate::{BackendKind, Error, Result, SharedState, TableSpec};

/// Bytes of one batch of writes.
const BATCH_BYTES: usize = 1 << 20;

/// The backend with what the checkpoint holds of the worker's range, and the files whose content is known.
pub(crate) fn restore(
    shared: &SharedState,
    options: &WorkerOptions,
    tables: &[TableSpec],
    from: &RestoreFrom,
) -> Result<(Arc<dyn StateBackend>, HashMap<String, FileEntry>)> {
    check_tables(options, tables, from)?;
    let parts = overlapping(options.range, &from.workers)?;
    pass("state.restore.before")?;
    if let [part] = parts.as_slice()
        && part.range == options.range
        && part.form == FileForm::Database
        && (from.backend, shared.kind) == (BackendKind::Rocksdb, BackendKind::Rocksdb)
    {
        fetch(from, part, &options.scratch.join("db"))?;
        pass("state.restore.linked")?;
        let known = part.files.iter().filter(|file| file.name.ends_with(".sst"));
        let known = known
            .map(|file| (file.name.clone(), file.clone()))
            .collect();
        return Ok((new_backend(shared, options, tables)?, known));
    }
    let backend = new_backend(shared, options, tables)?;
    let mut target = Target {
        backend: backend.clone(),
        range: options.range,
        writes: Writes::default(),
    };
    for part in parts {
        redistribute(shared, options, tables, from, part, &mut target)?;
        pass("state.restore.between")?;
    }
    target.flush()?;
    Ok((backend, HashMap::new()))
}

/// The tables must be those of the checkpoint, neither more nor fewer.
fn check_tables(options: &WorkerOptions, tables: &[TableSpec], from: &RestoreFrom) -> Result<()> {
    if options.key_groups != from.key_groups {
        return Err(Error::Incompatible(format!(
            "the checkpoint has {} key groups and the job {}: they are fixed at a job's first start, set \
             'key.groups' = '{}'",
            from.key_groups, options.key_groups, from.key_groups
        )));
    }
    let find = |all: &'_ [TableSpec], wanted: &TableSpec| {
        all.iter()
            .position(|spec| (&spec.operator, &spec.table) == (&wanted.operator, &wanted.table))
    };
    for spec in tables {
        let stored = find(&from.tables, spec).ok_or_else(|| {
            Error::Incompatible(format!(
                "the checkpoint has no table '{}' of operator {}: start again with --fresh, or go back to the query \
                 that wrote it",
                spec.table, spec.operator
            ))
        })?;
        spec.check_fits(&from.tables[stored])?;
    }
    match from
        .tables
        .iter()
        .find(|stored| find(tables, stored).is_none())
    {
        None => Ok(()),
        Some(stored) => Err(Error::Incompatible(format!(
            "the checkpoint has a table '{}' of operator {} that the query does not have: start again with --fresh, or \
             go back to the query that wrote it",
            stored.table, stored.operator
        ))),
    }
}

/// The parts that hold key groups of `range`, in their order; together they must hold all of them.
fn overlapping(range: KeyGroupRange, workers: &[WorkerSnapshot]) -> Result<Vec<&WorkerSnapshot>> {
    let mut parts: Vec<_> = workers
        .iter()
        .filter(|part| part.range.overlaps(&range))
        .collect();
    parts.sort_by_key(|part| part.range.start);
    let mut next = range.start;
    for part in &parts {
        if part.range.start > next {
            break;
        }
        next = next.max(part.range.end);
    }
    if next < range.end {
        return Err(Error::Corrupt(format!(
            "the checkpoint has no state of key group {next}: its manifest lists too few workers; restore an older one"
        )));
    }
    Ok(parts)
}

pub(crate) fn fetch(from: &RestoreFrom, part: &WorkerSnapshot, folder: &Path) -> Result<()> {
    fetch_some(from, part, folder, &|_| true)
}

fn fetch_some(
    from: &RestoreFrom,
    part: &WorkerSnapshot,
    folder: &Path,
    wanted: &dyn Fn(&FileEntry) -> bool,
) -> Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Error::io(format!("making the folder {}", folder.display()), error))?;
    part.files
        .iter()
        .filter(|file| wanted(file))
        .try_for_each(|file| from.store.fetch(file, &folder.join(&file.name)))
}

/// Where entries go.
struct Target {
    backend: Arc<dyn StateBackend>,
    range: KeyGroupRange,
    writes: Writes,
}

impl Target {
    fn put(&mut self, table: usize, stored: &[u8], row: &[u8]) -> Result<()> {
        let group = stored
            .first_chunk::<{ key::GROUP_BYTES }>()
            .map(|bytes| u16::from_be_bytes(*bytes));
        let group = group.ok_or_else(|| Error::damaged("a key is too short for its key group"))?;
        if !self.range.contains(weir_types::KeyGroup(group)) {
            return Ok(());
        }
        if row.first() != Some(&value::VERSION) {
            return Err(Error::Incompatible(format!(
                "a stored row has a version other than {}: use the release that wrote it",
                value::VERSION
            )));
        }
        self.writes.put(table, stored, row);
        if self.writes.bytes.len() >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if !self.writes.is_empty() {
            self.backend.write(&self.writes)?;
            self.writes.clear();
        }
        Ok(())
    }
}

/// Streams one old worker's entries of our key groups into the new backend.
fn redistribute(
    shared: &SharedState,
    options: &WorkerOptions,
    tables: &[TableSpec],
    from: &RestoreFrom,
    part: &WorkerSnapshot,
    target: &mut Target,
) -> Result<()> {
    let folder: PathBuf = options.scratch.join(format!("restore-{}", part.worker));
    let range = target.range;
    fetch_some(from, part, &folder, &|file| {
        part.form == FileForm::Database || SavedPart::is_wanted(&file.name, range)
    })?;
    match (part.form, from.backend) {
        (FileForm::Savepoint, _) => {
            let saved = SavedPart::new(from, part, &folder)?;
            for (table, spec) in tables.iter().enumerate() {
                saved.scan(spec, range, &mut |stored, row| {
                    target.put(table, stored, row)?;
                    Ok(ControlFlow::Continue(()))
                })?;
            }
        }
        (FileForm::Database, BackendKind::Memory) => {
            let index: HashMap<String, usize> = tables
                .iter()
                .enumerate()
                .map(|(index, spec)| (spec.family(), index))
                .collect();
            for file in &part.files {
                read_snapshot(
                    &folder.join(&file.name),
                    &mut |family, stored, row| match index.get(family) {
                        Some(&table) => target.put(table, stored, row),
                        None => Ok(()),
                    },
                )?;
            }
        }
        (FileForm::Database, BackendKind::Rocksdb) => {
            // A process that runs with the memory backend has no shared cache: a small one serves the restore.
            let own = shared
                .rocks
                .is_none()
                .then(|| crate::backend::RocksShared::new(8 << 20, 1 << 20));
            let rocks = own
                .as_ref()
                .or(shared.rocks.as_ref())
                .expect("one of the two is there");
            let reader = RocksBackend::open_for_reading(rocks, &folder)?;
            let (start, end) = (
                target.range.start.to_be_bytes(),
                target.range.end.to_be_bytes(),
            );
            for (table, spec) in tables.iter().enumerate() {
                reader.scan(&spec.family(), &start, &end, &mut |stored, row| {
                    target.put(table, stored, row)?;
                    Ok(ControlFlow::Continue(()))
                })?;
            }
        }
    }
    target.flush()?;
    // Only space is at stake: the scratch folder is emptied at the next start anyway.
    drop(std::fs::remove_dir_all(&folder));
    Ok(())
}
