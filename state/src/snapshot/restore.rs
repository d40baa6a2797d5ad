//! Opening a worker's state from a checkpoint, or from what an edited query takes over of one.
//!
//! ```text
//!   Restoring ── sources: checkpoints;  tables: for each table of the start where it comes from
//!
//!   one old worker of the same range, rocksdb → rocksdb:   link its files, open; families that are not kept are dropped
//!                                                          (of several checkpoints the one that has most of what is kept)
//!   what is not there then:   for each old worker that overlaps, in the order of ranges:
//!                               Kept      its entries of our key groups, byte for byte ─▶ batches of writes
//!                               Changed   entries ─▶ columns ─▶ the change ─▶ entries  ─▶ batches of writes
//! ```
//!
//! Keys and rows are the same bytes in both backends (`docs/formats`), so entries of a kept table are carried over as they
//! are. Nothing is ever held in memory but a batch.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_types::KeyGroupRange;

use super::restoring::{Restoring, Rows, RowsChange, TableFrom};
use super::{FileEntry, FileForm, RestoreFrom, WorkerSnapshot};
use crate::backend::{MemoryBackend, RocksBackend, StateBackend, Writes, read_snapshot};
use crate::encoding::{key, value};
use crate::error::pass;
use crate::savepoint::{Batch, Entries, SavedPart};
use crate::worker::{WorkerOptions, new_backend, spilling, spills};
use crate::{BackendKind, Error, Result, SharedState, TableSpec};

/// Bytes of one batch of writes.
const BATCH_BYTES: usize = 1 << 20;

/// The backend with what the start takes over of the worker's range, and the files whose content is known.
pub(crate) fn restore(
    shared: &SharedState,
    options: &WorkerOptions,
    tables: &[TableSpec],
    from: &Restoring,
) -> Result<(Arc<dyn StateBackend>, HashMap<String, FileEntry>)> {
    check(options, tables, from)?;
    pass("state.restore.before")?;
    let (backend, known, done) = match linkable(shared, options, tables, from)? {
        Some((source, part)) => link(shared, options, tables, from, source, part)?,
        None => (
            new_backend(shared, options, tables)?,
            HashMap::new(),
            HashSet::new(),
        ),
    };
    let mut target = Target {
        backend: backend.clone(),
        range: options.range,
        writes: Writes::default(),
    };
    for (source, from_source) in from.sources.iter().enumerate() {
        let wanted: Vec<usize> = (0..tables.len())
            .filter(|table| !done.contains(table) && from.tables[*table].source() == Some(source))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let regroups = |table: &usize| from.tables[*table].regroups();
        let all = KeyGroupRange {
            start: 0,
            end: options.key_groups,
        };
        for (range, wanted) in [
            (
                options.range,
                wanted
                    .iter()
                    .copied()
                    .filter(|t| !regroups(t))
                    .collect::<Vec<_>>(),
            ),
            (all, wanted.iter().copied().filter(regroups).collect()),
        ] {
            if wanted.is_empty() {
                continue;
            }
            for part in overlapping(range, &from_source.workers)? {
                let scan = Scan {
                    shared,
                    options,
                    from: from_source,
                    part,
                    range,
                };
                let mut feeds: Vec<Feed> = wanted
                    .iter()
                    .map(|&table| {
                        Feed::new(table, &tables[table], &from.tables[table], from_source)
                    })
                    .collect();
                scan.run(
                    &format!("restore-{source}-{}", part.worker),
                    &mut feeds,
                    &mut target,
                )?;
                pass("state.restore.between")?;
            }
        }
    }
    target.flush()?;
    Ok((backend, known))
}

/// Every table of the start must say where it comes from, and what is kept must fit.
fn check(options: &WorkerOptions, tables: &[TableSpec], from: &Restoring) -> Result<()> {
    for source in &from.sources {
        if options.key_groups != source.key_groups {
            return Err(Error::Incompatible(format!(
                "the checkpoint has {} key groups and the job {}: they are fixed at a job's first start, set \
                 'key.groups' = '{}'",
                source.key_groups, options.key_groups, source.key_groups
            )));
        }
    }
    if tables.len() != from.tables.len() {
        return Err(Error::Incompatible(
            "the start says of another number of tables where they come from than it has"
                .to_owned(),
        ));
    }
    for (spec, table) in tables.iter().zip(&from.tables) {
        if let TableFrom::Kept { source, stored } = table {
            let stored = &from.sources[*source].tables[*stored];
            spec.check_fits_as(stored)?;
        }
    }
    Ok(())
}

/// The part of a source that can be linked: one old worker of the same range, and databases on both sides. Of several sources the
/// one with most of what is kept, by its size and the share of its tables that are.
fn linkable<'a>(
    shared: &SharedState,
    options: &WorkerOptions,
    tables: &[TableSpec],
    from: &'a Restoring,
) -> Result<Option<(usize, &'a WorkerSnapshot)>> {
    let mut best = None;
    let mut most = 0;
    for (number, source) in from.sources.iter().enumerate() {
        let parts = overlapping(options.range, &source.workers)?;
        let [part] = parts.as_slice() else {
            continue;
        };
        let same = part.range == options.range
            && part.form == FileForm::Database
            && (source.backend, shared.kind) == (BackendKind::Rocksdb, BackendKind::Rocksdb);
        let kept = kept_as_they_are(tables, from, number).count() as u64;
        let bytes: u64 = part.files.iter().map(|file| file.size).sum();
        let weight = kept * (1 + bytes / source.tables.len().max(1) as u64);
        if same && weight > most {
            best = Some((number, *part));
            most = weight;
        }
    }
    Ok(best)
}

/// The tables of a start that are those of a source, byte for byte and under the same name.
fn kept_as_they_are(
    tables: &[TableSpec],
    from: &Restoring,
    number: usize,
) -> impl Iterator<Item = usize> {
    let stored_tables = &from.sources[number].tables;
    (0..tables.len()).filter(move |&table| match from.tables[table] {
        TableFrom::Kept { source, stored } if source == number => {
            stored_tables[stored].family() == tables[table].family()
        }
        _ => false,
    })
}

type Linked = (
    Arc<dyn StateBackend>,
    HashMap<String, FileEntry>,
    HashSet<usize>,
);

/// Links the files of an old worker and keeps the families of the tables that are taken over as they are, under their
/// names; gives which tables these are.
fn link(
    shared: &SharedState,
    options: &WorkerOptions,
    tables: &[TableSpec],
    from: &Restoring,
    number: usize,
    part: &WorkerSnapshot,
) -> Result<Linked> {
    let source = &from.sources[number];
    let done: HashSet<usize> = kept_as_they_are(tables, from, number).collect();
    let folder = options.scratch.join("db");
    fetch(source, part, &folder)?;
    pass("state.restore.linked")?;
    // Files of another checkpoint than the job's own are not in its storage.
    let known = part
        .files
        .iter()
        .filter(|file| number == 0 && file.name.ends_with(".sst"));
    let known = known
        .map(|file| (file.name.clone(), file.clone()))
        .collect();
    let names: Vec<String> = tables.iter().map(TableSpec::family).collect();
    let kept: HashSet<&str> = done.iter().map(|&table| names[table].as_str()).collect();
    let backend: Arc<dyn StateBackend> = match &shared.rocks {
        Some(rocks) => {
            let database = RocksBackend::open_keeping(rocks, &folder, names.clone(), &kept)?;
            Arc::new(spilling(database, rocks, options, &spills(tables))?)
        }
        None => Arc::new(MemoryBackend::new(names)),
    };
    Ok((backend, known, done))
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

/// One table on its way.
struct Feed {
    table: usize,
    stored: TableSpec,
    /// `None`: entries go as they are.
    changing: Option<Changing>,
}

/// Entries on their way through a change.
struct Changing {
    old: Entries,
    new: Entries,
    change: RowsChange,
    batch: Batch,
}

impl Feed {
    fn new(table: usize, spec: &TableSpec, from: &TableFrom, source: &RestoreFrom) -> Self {
        let (stored, change) = match from {
            TableFrom::Kept { stored, .. } => (*stored, None),
            TableFrom::Changed { stored, change, .. } => (*stored, Some(change())),
            TableFrom::Empty => unreachable!("an empty table has no source"),
        };
        let stored = source.tables[stored].clone();
        let changing = change.map(|change| {
            let old = Entries::new(&stored, source.key_groups);
            Changing {
                batch: old.batch(),
                old,
                new: Entries::new(spec, source.key_groups),
                change,
            }
        });
        Self {
            table,
            stored,
            changing,
        }
    }

    fn put(&mut self, stored: &[u8], row: &[u8], target: &mut Target) -> Result<()> {
        let Some(changing) = &mut self.changing else {
            return target.put(self.table, stored, row);
        };
        changing.old.decode(stored, row, &mut changing.batch)?;
        if changing.batch.is_full() {
            return changing.give(self.table, target);
        }
        Ok(())
    }

    fn finish(&mut self, target: &mut Target) -> Result<()> {
        match &mut self.changing {
            Some(changing) if changing.batch.rows() > 0 => changing.give(self.table, target),
            _ => Ok(()),
        }
    }
}

impl Changing {
    fn give(&mut self, table: usize, target: &mut Target) -> Result<()> {
        let batch = std::mem::replace(&mut self.batch, self.old.batch());
        let rows = batch.rows();
        let mut columns = batch.finish();
        // The key group: it follows from the new key.
        columns.remove(0);
        let changed = (self.change)(Rows { columns, rows }).map_err(Error::Incompatible)?;
        if changed.rows == 0 {
            return Ok(());
        }
        let range = target.range;
        // A break is never asked for.
        let _ = self
            .new
            .encode_rows(&changed.columns, changed.rows, range, &mut |key, row| {
                target.put(table, key, row)?;
                Ok(ControlFlow::Continue(()))
            })?;
        Ok(())
    }
}

/// One pass over an old worker's files.
struct Scan<'a> {
    shared: &'a SharedState,
    options: &'a WorkerOptions,
    from: &'a RestoreFrom,
    part: &'a WorkerSnapshot,
    /// The old key groups that are looked at.
    range: KeyGroupRange,
}

impl Scan<'_> {
    /// Streams the entries of the wanted tables into the new backend.
    fn run(&self, name: &str, feeds: &mut [Feed], target: &mut Target) -> Result<()> {
        let folder: PathBuf = self.options.scratch.join(name);
        let range = self.range;
        fetch_some(self.from, self.part, &folder, &|file| {
            self.part.form == FileForm::Database || SavedPart::is_wanted(&file.name, range)
        })?;
        match (self.part.form, self.from.backend) {
            (FileForm::Savepoint, _) => self.savepoint(&folder, feeds, target)?,
            (FileForm::Database, BackendKind::Memory) => self.memory(&folder, feeds, target)?,
            (FileForm::Database, BackendKind::Rocksdb) => self.rocks(&folder, feeds, target)?,
        }
        target.flush()?;
        // Only space is at stake: the scratch folder is emptied at the next start anyway.
        drop(std::fs::remove_dir_all(&folder));
        Ok(())
    }

    fn savepoint(&self, folder: &Path, feeds: &mut [Feed], target: &mut Target) -> Result<()> {
        let saved = SavedPart::new(self.from, self.part, folder)?;
        for feed in feeds {
            let spec = feed.stored.clone();
            saved.scan(&spec, self.range, &mut |stored, row| {
                feed.put(stored, row, target)?;
                Ok(ControlFlow::Continue(()))
            })?;
            feed.finish(target)?;
        }
        Ok(())
    }

    fn memory(&self, folder: &Path, feeds: &mut [Feed], target: &mut Target) -> Result<()> {
        let mut index: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, feed) in feeds.iter().enumerate() {
            index.entry(feed.stored.family()).or_default().push(place);
        }
        for file in &self.part.files {
            read_snapshot(&folder.join(&file.name), &mut |family, stored, row| {
                for &place in index.get(family).into_iter().flatten() {
                    feeds[place].put(stored, row, target)?;
                }
                Ok(())
            })?;
        }
        feeds.iter_mut().try_for_each(|feed| feed.finish(target))
    }

    fn rocks(&self, folder: &Path, feeds: &mut [Feed], target: &mut Target) -> Result<()> {
        // A process that runs with the memory backend has no shared cache: a small one serves the restore.
        let own = self
            .shared
            .rocks
            .is_none()
            .then(|| crate::backend::RocksShared::new(8 << 20, 1 << 20));
        let rocks = own
            .as_ref()
            .or(self.shared.rocks.as_ref())
            .expect("one of the two is there");
        let reader = RocksBackend::open_for_reading(rocks, folder)?;
        let (start, end) = (self.range.start.to_be_bytes(), self.range.end.to_be_bytes());
        for feed in feeds {
            let family = feed.stored.family();
            reader.scan(&family, &start, &end, &mut |stored, row| {
                feed.put(stored, row, target)?;
                Ok(ControlFlow::Continue(()))
            })?;
            feed.finish(target)?;
        }
        Ok(())
    }
}
