//! A savepoint as a checkpoint of a job: its files are copied into the job's store, and workers restore from them.
//!
//! ```text
//!   data/s13/0002-0000-g0-128.parquet        checkpoint 13, table 2, its first file, key groups 0 to 128
//! ```
//!
//! Once copied, the job needs the savepoint no more: it may be moved or deleted.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_types::{CheckpointId, KeyGroupRange, WorkerId};
use xxhash_rust::xxh3::Xxh3;

use super::columns::SavedColumn;
use super::entries::Entries;
use super::manifest::check_file;
use super::{SavedFile, Savepoint};
use crate::backend::Visitor;
use crate::error::pass;
use crate::parquet::FileReader;
use crate::snapshot::{CheckpointStore, FileForm, RestoreFrom, WorkerSnapshot};
use crate::{Error, FileEntry, Manifest, Result, TableSpec};

/// The name by which a worker finds its share: table, file, key groups.
fn file_name(table: usize, file: usize, groups: KeyGroupRange) -> String {
    format!(
        "{table:04}-{file:04}-g{}-{}.parquet",
        groups.start, groups.end
    )
}

fn parse_name(name: &str) -> Option<(usize, KeyGroupRange)> {
    let mut parts = name.strip_suffix(".parquet")?.split('-');
    let table = parts.next()?.parse().ok()?;
    parts.next()?;
    let start = parts.next()?.strip_prefix('g')?.parse().ok()?;
    let end = parts.next()?.parse().ok()?;
    Some((table, KeyGroupRange { start, end }))
}

/// Copies a savepoint into a job's store as checkpoint `number`, and publishes that. `settle` changes what is the job's
/// own in its manifest.
///
/// # Errors
/// When a file of the savepoint is damaged, or the store cannot be written.
pub async fn import_savepoint(
    savepoint: &Savepoint,
    store: &Arc<CheckpointStore>,
    number: CheckpointId,
    scratch: &Path,
) -> Result<Manifest> {
    std::fs::create_dir_all(scratch)
        .map_err(|error| Error::io(format!("making the folder {}", scratch.display()), error))?;
    let mut manifest = savepoint.manifest.checkpoint_with_tables();
    manifest.checkpoint = number;
    let mut files = Vec::new();
    let mut last = None;
    for (index, table) in savepoint.manifest.tables.iter().enumerate() {
        for (at, file) in table
            .files
            .iter()
            .enumerate()
            .filter(|(_, file)| file.rows > 0)
        {
            let name = file_name(index, at, file.groups);
            let part = scratch.join(&name);
            let (from, brought) = savepoint.local_file(file, &scratch.join("brought"))?;
            copy(&from, &part, file)?;
            if brought {
                drop(std::fs::remove_file(&from));
            }
            let path = format!("data/s{}/{name}", number.0);
            store.upload(number, &part, &path)?;
            drop(std::fs::remove_file(&part));
            pass("state.import.between")?;
            last = Some(path.clone());
            files.push(FileEntry {
                path,
                name,
                size: file.size,
                checksum: file.checksum.clone(),
                compression: None,
            });
        }
    }
    if let Some(path) = last {
        store.sync_uploads(&path)?;
    }
    pass("state.import.after")?;
    manifest.workers = vec![WorkerSnapshot {
        range: KeyGroupRange {
            start: 0,
            end: manifest.key_groups,
        },
        form: FileForm::Savepoint,
        bytes_new: files.iter().map(|file| file.size).sum(),
        entries: savepoint.manifest.totals.rows,
        files,
        ..WorkerSnapshot::empty(WorkerId(0))
    }];
    store.publish(&manifest).await?;
    Ok(manifest)
}

/// Copies a file; what arrives is what counts.
fn copy(from: &Path, to: &Path, file: &SavedFile) -> Result<()> {
    let failed = |error| {
        Error::io(
            format!("copying {} to {}", from.display(), to.display()),
            error,
        )
    };
    if !from.exists() {
        return check_file(from, file);
    }
    let (mut source, mut target) = (
        File::open(from).map_err(failed)?,
        File::create(to).map_err(failed)?,
    );
    let mut sum = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = source.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        sum.update(&buffer[..read]);
        target.write_all(&buffer[..read]).map_err(failed)?;
    }
    if format!("{:016x}", sum.digest()) == file.checksum {
        return Ok(());
    }
    // Says what is wrong with it: its size, or its content.
    check_file(from, file)?;
    Err(Error::savepoint(
        "S0024",
        format!("{} changed while it was copied: try again", from.display()),
    ))
}

/// The part of a checkpoint that was a savepoint.
pub(crate) struct SavedPart {
    tables: Vec<TableSpec>,
    key_groups: u16,
    files: Vec<(usize, KeyGroupRange, PathBuf)>,
}

impl SavedPart {
    /// `folder` holds the files, by their names.
    pub(crate) fn new(from: &RestoreFrom, worker: &WorkerSnapshot, folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for file in &worker.files {
            let (table, groups) = parse_name(&file.name)
                .filter(|(table, _)| *table < from.tables.len())
                .ok_or_else(|| {
                    Error::damaged(&format!("'{}' is no file of a savepoint", file.name))
                })?;
            files.push((table, groups, folder.join(&file.name)));
        }
        files.sort_by(|a, b| a.2.cmp(&b.2));
        Ok(Self {
            tables: from.tables.clone(),
            key_groups: from.key_groups,
            files,
        })
    }

    /// Files that hold something of these key groups.
    pub(crate) fn is_wanted(name: &str, range: KeyGroupRange) -> bool {
        parse_name(name).is_none_or(|(_, groups)| groups.overlaps(&range))
    }

    /// Visits the entries of a table in a range of key groups: reads the row groups that hold some of them.
    pub(crate) fn scan(
        &self,
        table: &TableSpec,
        range: KeyGroupRange,
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        let entries = Entries::new(table, self.key_groups);
        let columns: Vec<_> = entries.columns.iter().map(SavedColumn::in_file).collect();
        for (of, groups, path) in &self.files {
            let stored = &self.tables[*of];
            let own = (&stored.operator, &stored.table) == (&table.operator, &table.table);
            if !own || !groups.overlaps(&range) {
                continue;
            }
            if scan_file(&entries, path, &columns, range, visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Visits the entries of one file.
pub(crate) fn scan_file(
    entries: &Entries,
    path: &Path,
    columns: &[crate::parquet::FileColumn],
    range: KeyGroupRange,
    visit: &mut Visitor<'_>,
) -> Result<ControlFlow<()>> {
    let mut reader = FileReader::open(path, columns)?;
    for group in 0..reader.groups() {
        let wanted = reader.range(group, 0).is_none_or(|(first, last)| {
            first < i64::from(range.end) && last >= i64::from(range.start)
        });
        if wanted
            && entries
                .encode(&reader.read(group)?, range, visit)?
                .is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_table_and_key_groups() {
        let groups = KeyGroupRange { start: 3, end: 128 };
        let name = file_name(12, 0, groups);
        assert_eq!(parse_name(&name), Some((12, groups)));
        assert!(SavedPart::is_wanted(
            &name,
            KeyGroupRange { start: 0, end: 4 }
        ));
        assert!(!SavedPart::is_wanted(
            &name,
            KeyGroupRange { start: 0, end: 3 }
        ));
        assert_eq!(parse_name("memory.state"), None);
    }
}
