//! From a checkpoint to a savepoint's folder.
//!
//! Tables are written one after the other, each from the lowest key group to the highest. A folder that holds half a
//! savepoint (a crash) is cleared and written anew; one that holds anything else is left alone. For a store of the network
//! the tables are written to a folder beside the job's state and uploaded from there (`remote.rs`).

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;
use weir_types::{DataType as SqlType, KeyGroupRange, TimeUnit as SqlUnit};
use xxhash_rust::xxh3::xxh3_64;

use super::columns::SavedColumn;
use super::entries::Entries;
use super::manifest::{MANIFEST, TABLES};
use super::remote::SavepointPlace;
use super::stored::Stored;
use super::{
    EventTimeRange, SAVEPOINT_FORMAT_VERSION, SavedFile, SavedTable, SavedTotals, Savepoint,
    SavepointManifest,
};
use crate::error::pass;
use crate::parquet::{FileColumn, FileWriter, check_type};
use crate::snapshot::{CheckpointStore, RestoreFrom, StorageSettings};
use crate::{Error, Manifest, Result, TableSpec};

/// A file is ended when it has grown to this.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of an encoded name; longer ones are cut and end in a hash.
const NAME_BYTES_MAX: usize = 120;

/// What a savepoint says of itself.
#[derive(Clone, Debug, Default)]
pub struct SavepointAbout {
    /// Its name; the folder's, if it is empty.
    pub name: String,
    /// A note of the user's.
    pub note: Option<String>,
    /// The release that writes it.
    pub created_by: String,
    /// Now, microseconds since 1970.
    pub created_at: i64,
    /// How a store of the network is reached.
    pub settings: StorageSettings,
}

/// Writes a savepoint of a checkpoint to a folder or a URL, which is made, or is empty, or holds half a savepoint.
/// `scratch` is a folder for links to the checkpoint's files, and for what is to be uploaded; it is removed at the end.
///
/// # Errors
/// When the folder is taken, a type cannot be written, or the disk fails. What was written stays without a manifest.
pub fn write_savepoint(
    store: &std::sync::Arc<CheckpointStore>,
    checkpoint: &Manifest,
    folder: &Path,
    scratch: &Path,
    about: SavepointAbout,
) -> Result<Savepoint> {
    let from = checkpoint.restore_from(store);
    for table in &from.tables {
        for column in table.key.iter().chain(&table.value) {
            check_type(&column.data_type).map_err(|why| {
                Error::savepoint(
                    "S0026",
                    format!(
                        "column '{}' of table '{}' of operator {} cannot be in a savepoint: {why}; cast it to a DECIMAL with a \
                         scale between 0 and its precision in the query",
                        column.name, table.table, table.operator
                    ),
                )
            })?;
        }
    }
    let place = SavepointPlace::of(folder, &about.settings)?;
    let upload = scratch.with_extension("upload");
    let _cleared = Cleared(match &place {
        SavepointPlace::Local(_) => None,
        SavepointPlace::Remote(_) => Some(upload.clone()),
    });
    let written = match &place {
        SavepointPlace::Local(folder) => folder,
        SavepointPlace::Remote(remote) => {
            remote.claim()?;
            // What a crash left of an earlier one.
            drop(fs::remove_dir_all(&upload));
            &upload
        }
    };
    claim(written)?;
    pass("state.savepoint.before")?;
    let tables = write_tables(&from, written, scratch)?;
    let mut totals = SavedTotals::default();
    for table in &tables {
        totals.rows += table.rows;
        totals.bytes += table.bytes;
        totals.files += table.files.len() as u64;
    }
    let name = match about.name.as_str() {
        "" => folder.file_name().map_or_else(
            || "savepoint".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        ),
        name => name.to_owned(),
    };
    let mut checkpoint = checkpoint.clone();
    checkpoint.tables.clear();
    checkpoint.workers.clear();
    checkpoint.sinks = serde_json::Value::Object(serde_json::Map::new());
    let manifest = SavepointManifest {
        format_version: SAVEPOINT_FORMAT_VERSION,
        name,
        note: about.note,
        created_by: about.created_by,
        created_at: about.created_at,
        totals,
        tables,
        checkpoint,
    };
    match &place {
        SavepointPlace::Local(folder) => {
            sync_below(&folder.join(TABLES))?;
            pass("state.savepoint.manifest.before")?;
            put_manifest(folder, &manifest)?;
        }
        SavepointPlace::Remote(remote) => {
            let files = manifest.tables.iter().flat_map(|table| &table.files);
            let files = files.map(|file| (file.path.as_str(), file.size));
            remote.upload(written, files)?;
            pass("state.savepoint.manifest.before")?;
            remote.put_manifest(&manifest.to_text()?)?;
        }
    }
    pass("state.savepoint.manifest.after")?;
    Ok(match place {
        SavepointPlace::Local(folder) => Savepoint {
            folder,
            manifest,
            remote: None,
        },
        SavepointPlace::Remote(remote) => Savepoint {
            folder: folder.to_owned(),
            manifest,
            remote: Some(remote),
        },
    })
}

/// A folder that goes at the end, however that comes.
struct Cleared(Option<PathBuf>);

impl Drop for Cleared {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            // What cannot be removed is cleared by the next one.
            drop(fs::remove_dir_all(folder));
        }
    }
}

/// Makes the folder, or takes one that is empty or holds half a savepoint.
fn claim(folder: &Path) -> Result<()> {
    let failed = |error| Error::io(format!("making the folder {}", folder.display()), error);
    fs::create_dir_all(folder).map_err(failed)?;
    if Savepoint::is_one(folder) {
        return Err(Error::savepoint(
            "S0021",
            format!(
                "{} holds a savepoint already: name another folder, or remove that one with `weir savepoint delete`",
                folder.display()
            ),
        ));
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let half = [TABLES, "manifest.part"].iter().any(|own| name == *own);
        if !half {
            return Err(Error::savepoint(
                "S0021",
                format!(
                    "{} is not empty ({} is in it): name a folder that is empty or not there yet",
                    folder.display(),
                    name.to_string_lossy()
                ),
            ));
        }
    }
    let tables = folder.join(TABLES);
    match fs::remove_dir_all(&tables) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io(format!("clearing {}", tables.display()), error));
        }
        _ => {}
    }
    fs::create_dir(&tables).map_err(failed)
}

fn write_tables(from: &RestoreFrom, folder: &Path, scratch: &Path) -> Result<Vec<SavedTable>> {
    let stored = Stored::open(from, scratch)?;
    let mut tables = Vec::new();
    let mut names = std::collections::HashSet::new();
    for spec in &from.tables {
        let mut name = format!(
            "{}/{}",
            short(&spec.operator.folder_name()),
            short(&weir_types::OperatorId::new(spec.table.clone()).folder_name())
        );
        // Two names may be cut to the same; two tables never share a folder.
        while !names.insert(name.clone()) {
            name.push('_');
        }
        tables.push(write_table(&stored, spec, folder, &name)?);
        pass("state.savepoint.table")?;
    }
    Ok(tables)
}

/// A name that a file system takes.
fn short(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    // Encoded names are ASCII.
    format!(
        "{}-{:016x}",
        &name[..NAME_BYTES_MAX - 17],
        xxh3_64(name.as_bytes())
    )
}

/// The files of one table as they are written.
struct TableWriter<'a> {
    folder: &'a Path,
    /// Path of the table within the savepoint.
    path: String,
    columns: Vec<SavedColumn>,
    in_file: Vec<FileColumn>,
    open: Option<(FileWriter, KeyGroupRange)>,
    files: Vec<SavedFile>,
    times: Vec<Option<(i64, i64)>>,
}

fn write_table(stored: &Stored, spec: &TableSpec, folder: &Path, name: &str) -> Result<SavedTable> {
    let entries = Entries::new(spec, stored.key_groups());
    let path = format!("{TABLES}/{name}");
    let own = folder.join(&path);
    fs::create_dir_all(&own)
        .map_err(|error| Error::io(format!("making the folder {}", own.display()), error))?;
    let mut writer = TableWriter {
        folder,
        path,
        in_file: entries.columns.iter().map(SavedColumn::in_file).collect(),
        times: vec![None; entries.columns.len()],
        columns: entries.columns.clone(),
        open: None,
        files: Vec::new(),
    };
    let mut batch = entries.batch();
    let all = KeyGroupRange {
        start: 0,
        end: stored.key_groups(),
    };
    stored.scan(spec, all, &mut |key, row| {
        entries.decode(key, row, &mut batch)?;
        if batch.is_full() {
            writer.write(std::mem::replace(&mut batch, entries.batch()).finish())?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if batch.rows() > 0 {
        writer.write(batch.finish())?;
    }
    // A table without rows has a file too, so that a reader finds its columns.
    if writer.files.is_empty() && writer.open.is_none() {
        writer.start(0)?;
    }
    writer.end()?;
    Ok(SavedTable {
        spec: spec.clone(),
        rows: writer.files.iter().map(|file| file.rows).sum(),
        bytes: writer.files.iter().map(|file| file.size).sum(),
        event_times: writer.event_times(),
        columns: writer.columns,
        files: writer.files,
    })
}

impl TableWriter<'_> {
    fn file_path(&self) -> String {
        format!("{}/{:04}.parquet", self.path, self.files.len())
    }

    fn start(&mut self, group: u16) -> Result<()> {
        let path = self.folder.join(self.file_path());
        let writer = FileWriter::create(&path, &self.in_file)?;
        let groups = KeyGroupRange {
            start: group,
            end: group,
        };
        self.open = Some((writer, groups));
        Ok(())
    }

    fn write(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        let groups = columns[0].as_primitive::<Int32Type>().values();
        let (first, last) = (groups[0] as u16, groups[groups.len() - 1] as u16);
        if self.open.is_none() {
            self.start(first)?;
        }
        for (range, column) in self.times.iter_mut().zip(&columns) {
            if let Some((from, to)) = time_range(column) {
                let (least, greatest) = range.unwrap_or((from, to));
                *range = Some((least.min(from), greatest.max(to)));
            }
        }
        let Some((writer, range)) = &mut self.open else {
            unreachable!("a file was just started")
        };
        writer.write(&columns, columns[0].len())?;
        range.end = last + 1;
        if writer.size() >= FILE_BYTES_MAX {
            self.end()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let Some((writer, groups)) = self.open.take() else {
            return Ok(());
        };
        let path = self.file_path();
        let finished = writer.finish()?;
        self.files.push(SavedFile {
            path,
            size: finished.size,
            checksum: finished.checksum,
            rows: finished.rows,
            groups,
        });
        Ok(())
    }

    fn event_times(&self) -> Vec<EventTimeRange> {
        let ranges = self.columns.iter().zip(&self.times);
        ranges
            .filter_map(|(column, range)| {
                let (from, to) = (*range)?;
                let micros = |value: i64| in_micros(&column.data_type, value);
                Some(EventTimeRange {
                    column: column.name.clone(),
                    from: micros(from)?,
                    to: micros(to)?,
                })
            })
            .collect()
    }
}

/// Least and greatest of a column of timestamps, in its unit.
fn time_range(column: &ArrayRef) -> Option<(i64, i64)> {
    macro_rules! range {
        ($t:ty) => {{
            let array = column.as_primitive::<$t>();
            arrow::compute::min(array).zip(arrow::compute::max(array))
        }};
    }
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => range!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => range!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => range!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => range!(TimestampNanosecondType),
        _ => None,
    }
}

fn in_micros(data_type: &SqlType, value: i64) -> Option<i64> {
    let (SqlType::Timestamp(unit) | SqlType::TimestampLtz(unit)) = data_type else {
        return None;
    };
    match unit {
        SqlUnit::Second => value.checked_mul(1_000_000),
        SqlUnit::Milli => value.checked_mul(1000),
        SqlUnit::Micro => Some(value),
        SqlUnit::Nano => Some(value.div_euclid(1000)),
    }
}

fn put_manifest(folder: &Path, manifest: &SavepointManifest) -> Result<()> {
    let part = folder.join("manifest.part");
    let text = manifest.to_text()?;
    let attempt = || -> std::io::Result<()> {
        let mut file = File::create(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, folder.join(MANIFEST))?;
        sync(folder)?;
        // The folder's own name must last as well.
        match folder.canonicalize()?.parent() {
            Some(parent) => sync(parent),
            None => Ok(()),
        }
    };
    attempt().map_err(|error| {
        Error::io(
            format!("writing the manifest of {}", folder.display()),
            error,
        )
    })
}

/// Syncs a folder and all folders below it; the files were synced when they were finished.
fn sync_below(folder: &Path) -> Result<()> {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        let failed = |error| Error::io(format!("syncing {}", at.display()), error);
        for entry in fs::read_dir(&at).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(entry.path());
            }
        }
        sync(&at).map_err(failed)?;
    }
    Ok(())
}

fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}
