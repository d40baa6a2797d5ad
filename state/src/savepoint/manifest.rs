//! The manifest of a savepoint, and the folder that it stands in.
//!
//! ```text
//!   FOLDER/manifest.json                                  written last: from then on it is a savepoint
//!   FOLDER/tables/OPERATOR/TABLE/0000.parquet …           one folder a state table, files of about 256 MiB
//! ```
//!
//! Like a checkpoint's, the manifest has a checksum of its own in its second line.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_types::{KeyGroupRange, OperatorId};
use xxhash_rust::xxh3::xxh3_64;

use super::columns::{SavedColumn, saved_columns};
use super::remote::{RemoteFolder, SavepointPlace};
use crate::parquet::FileReader;
use crate::snapshot::{StorageSettings, checksum};
use crate::{Error, Manifest, Result, TableSpec};

/// The version of savepoints that this release writes, and the newest that it reads.
pub const SAVEPOINT_FORMAT_VERSION: u32 = 2;

/// The name of the manifest within the folder.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The folder of the tables.
pub(crate) const TABLES: &str = "tables";

/// What a savepoint consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavepointManifest {
    /// [`SAVEPOINT_FORMAT_VERSION`].
    pub format_version: u32,
    /// Its name: that of the folder, unless the user gave another.
    pub name: String,
    /// What the user wrote down with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The release that wrote it.
    pub created_by: String,
    /// When, microseconds since 1970, by the clock of the machine.
    pub created_at: i64,
    /// Rows and bytes of all tables.
    pub totals: SavedTotals,
    /// The state tables, in the order of the job's operators.
    pub tables: Vec<SavedTable>,
    /// The checkpoint that it was made from: job, plan, positions, watermarks, clock. Its `tables`, `workers` and `sinks` are
    /// empty: the tables are above, its files are the savepoint's, and its sinks had committed.
    pub checkpoint: Manifest,
}

/// Sums over all tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedTotals {
    /// Entries.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

/// A state table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedTable {
    /// Operator, table, layout, key, value, order: as a checkpoint records them.
    #[serde(flatten)]
    pub spec: TableSpec,
    /// The columns of its files.
    pub columns: Vec<SavedColumn>,
    /// Its files, in the order of key groups.
    pub files: Vec<SavedFile>,
    /// Entries.
    pub rows: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Least and greatest of each column of timestamps that holds any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_times: Vec<EventTimeRange>,
}

/// Least and greatest value of a column of timestamps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTimeRange {
    /// The column of the file.
    pub column: String,
    /// Microseconds since 1970.
    pub from: i64,
    /// Microseconds since 1970.
    pub to: i64,
}

/// A file of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedFile {
    /// Path within the folder.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// XXH3-64 of the content, hex.
    pub checksum: String,
    /// Rows.
    pub rows: u64,
    /// The key groups of its rows, the end exclusive.
    pub groups: KeyGroupRange,
}

impl SavepointManifest {
    pub(crate) fn to_text(&self) -> Result<String> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| Error::io("writing the manifest of a savepoint", error))?;
        let rest = format!("{}\n", json.strip_prefix("{\n").unwrap_or(&json));
        let sum = xxh3_64(rest.as_bytes());
        Ok(format!("{{\n  \"checksum\": \"{sum:016x}\",\n{rest}"))
    }

    fn from_text(text: &[u8], file: &Path) -> Result<Self> {
        let damaged = |what: String| {
            Error::savepoint(
                "S0022",
                format!(
                    "the manifest {} is damaged: {what}; put it back from a copy of the savepoint",
                    file.display()
                ),
            )
        };
        let text = std::str::from_utf8(text).map_err(|_| damaged("it is not UTF-8".to_owned()))?;
        #[derive(Deserialize)]
        struct Head {
            format_version: u32,
            #[serde(default)]
            checksum: String,
        }
        let head: Head = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
        if head.format_version > SAVEPOINT_FORMAT_VERSION {
            return Err(Error::savepoint(
                "S0023",
                format!(
                    "the savepoint {} has format version {} and this release reads up to {SAVEPOINT_FORMAT_VERSION}: use \
                     the release that wrote it",
                    file.display(),
                    head.format_version
                ),
            ));
        }
        let rest = text.splitn(3, '\n').nth(2).unwrap_or_default();
        let sum = format!("{:016x}", xxh3_64(rest.as_bytes()));
        if sum != head.checksum {
            let should = head.checksum;
            return Err(damaged(format!(
                "its checksum is {sum} and should be '{should}'"
            )));
        }
        let manifest: Self =
            serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
        manifest.check(&damaged)?;
        Ok(manifest)
    }

    /// What a reader relies on.
    fn check(&self, damaged: &dyn Fn(String) -> Error) -> Result<()> {
        for table in &self.tables {
            let name = format!(
                "table '{}' of operator {}",
                table.spec.table, table.spec.operator
            );
            if table.columns != saved_columns(&table.spec) {
                return Err(damaged(format!(
                    "the columns of {name} are not those of its schema"
                )));
            }
            let rows: u64 = table.files.iter().map(|file| file.rows).sum();
            if rows != table.rows {
                return Err(damaged(format!(
                    "the files of {name} have another number of rows than it"
                )));
            }
            for file in &table.files {
                let plain = Path::new(&file.path)
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)));
                if file.path.is_empty() || !plain {
                    return Err(damaged(format!(
                        "it names the file '{}' outside of the savepoint",
                        file.path
                    )));
                }
            }
        }
        Ok(())
    }

    /// The manifest of the checkpoint, with the tables that it had.
    pub fn checkpoint_with_tables(&self) -> Manifest {
        let mut manifest = self.checkpoint.clone();
        manifest.tables = self.tables.iter().map(|table| table.spec.clone()).collect();
        manifest
    }

    /// A table by operator and name.
    pub fn table(&self, operator: &OperatorId, table: &str) -> Option<&SavedTable> {
        self.tables
            .iter()
            .find(|saved| saved.spec.operator == *operator && saved.spec.table == table)
    }
}

/// A savepoint in a folder or a store.
#[derive(Clone, Debug)]
pub struct Savepoint {
    /// Where it is: a folder, or a URL.
    pub folder: PathBuf,
    /// What it says of itself.
    pub manifest: SavepointManifest,
    /// Its folder, if that is not of this machine.
    pub(super) remote: Option<RemoteFolder>,
}

impl Savepoint {
    /// Whether the folder of this machine holds a savepoint, whole or not.
    pub fn is_one(folder: &Path) -> bool {
        folder.join(MANIFEST).is_file()
    }

    /// Reads the manifest of a savepoint in a folder, or at a URL that the environment alone says how to reach.
    ///
    /// # Errors
    /// As [`Self::open_with`].
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_with(folder, &StorageSettings::default())
    }

    /// Reads the manifest of a savepoint.
    ///
    /// # Errors
    /// When there is none, or it is damaged, or a later release wrote it, or a store cannot be reached.
    pub fn open_with(folder: &Path, settings: &StorageSettings) -> Result<Self> {
        Self::find(folder, settings)?.ok_or_else(|| {
            Error::savepoint(
                "S0020",
                format!(
                    "{} is no savepoint: it has no {MANIFEST}; `weir savepoint list` shows those of a job",
                    folder.display()
                ),
            )
        })
    }

    /// [`Self::open_with`]; `None` where there is no manifest.
    ///
    /// # Errors
    /// As [`Self::open_with`].
    pub fn find(folder: &Path, settings: &StorageSettings) -> Result<Option<Self>> {
        let (text, path, remote) = match SavepointPlace::of(folder, settings)? {
            SavepointPlace::Local(folder) => {
                let path = folder.join(MANIFEST);
                let text = match std::fs::read(&path) {
                    Ok(text) => Some(text),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                    Err(error) => {
                        return Err(Error::io(format!("reading {}", path.display()), error));
                    }
                };
                (text, path, None)
            }
            SavepointPlace::Remote(remote) => {
                let path = PathBuf::from(remote.shown(MANIFEST));
                (remote.manifest()?, path, Some(remote))
            }
        };
        let Some(text) = text else {
            return Ok(None);
        };
        let folder = match &remote {
            Some(_) => folder.to_owned(),
            // file:///folder is the folder.
            None => path.parent().unwrap_or(folder).to_owned(),
        };
        Ok(Some(Self {
            folder,
            manifest: SavepointManifest::from_text(&text, &path)?,
            remote,
        }))
    }

    /// The savepoints directly below a folder or a URL, the oldest first, and why others there cannot be read.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn below(folder: &Path, settings: &StorageSettings) -> Result<(Vec<Self>, Vec<String>)> {
        let places: Vec<PathBuf> = match SavepointPlace::of(folder, settings)? {
            SavepointPlace::Remote(remote) => {
                let names = remote.folders()?.into_iter();
                names.map(|name| folder.join(name)).collect()
            }
            SavepointPlace::Local(folder) => {
                let failed = |error| Error::io(format!("listing {}", folder.display()), error);
                match std::fs::read_dir(&folder) {
                    Ok(entries) => entries
                        .map(|entry| Ok(entry.map_err(failed)?.path()))
                        .collect::<Result<_>>()?,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                    Err(error) => return Err(failed(error)),
                }
            }
        };
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for place in places {
            match Self::find(&place, settings) {
                Ok(savepoint) => found.extend(savepoint),
                // A store that fails is no damage.
                Err(error @ Error::Io { .. }) if place.to_string_lossy().contains("://") => {
                    return Err(error);
                }
                // A file among the folders, or what another program keeps there.
                Err(Error::Io { .. }) => {}
                Err(error) => unreadable.push(error.to_string()),
            }
        }
        found.sort_by(|a, b| {
            let key = |savepoint: &Self| {
                (
                    savepoint.manifest.created_at,
                    savepoint.manifest.checkpoint.checkpoint,
                )
            };
            key(a).cmp(&key(b)).then_with(|| a.folder.cmp(&b.folder))
        });
        unreadable.sort();
        Ok((found, unreadable))
    }

    /// Whether its files are elsewhere and have to be brought before they are read.
    pub fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// A file as one of this machine, brought to `scratch` if it is elsewhere, and whether it was.
    pub(super) fn local_file(&self, file: &SavedFile, scratch: &Path) -> Result<(PathBuf, bool)> {
        let Some(remote) = &self.remote else {
            return Ok((self.folder.join(&file.path), false));
        };
        match remote.size(&file.path)? {
            Some(size) if size == file.size => {}
            Some(size) => {
                let should = file.size;
                let what = format!("it has {size} bytes and should have {should}");
                return Err(damaged_file(Path::new(&remote.shown(&file.path)), &what));
            }
            None => {
                let path = remote.shown(&file.path);
                return Err(damaged_file(Path::new(&path), "it is missing"));
            }
        }
        let to = scratch.join(file.path.replace('/', "-"));
        std::fs::create_dir_all(scratch).map_err(|error| {
            Error::io(format!("making the folder {}", scratch.display()), error)
        })?;
        remote.fetch(&file.path, &to)?;
        Ok((to, true))
    }

    /// The same savepoint with its files on this machine: in `scratch`, if they are elsewhere. They are checked.
    ///
    /// # Errors
    /// When a file is missing or damaged, or cannot be brought.
    pub fn brought(self, scratch: &Path) -> Result<Self> {
        let Some(remote) = &self.remote else {
            return Ok(self);
        };
        for file in self.manifest.tables.iter().flat_map(|table| &table.files) {
            let to = scratch.join(&file.path);
            if let Some(folder) = to.parent() {
                std::fs::create_dir_all(folder).map_err(|error| {
                    Error::io(format!("making the folder {}", folder.display()), error)
                })?;
            }
            if remote.size(&file.path)?.is_none() {
                let path = remote.shown(&file.path);
                return Err(damaged_file(Path::new(&path), "it is missing"));
            }
            remote.fetch(&file.path, &to)?;
            check_file(&to, file)?;
        }
        Ok(Self {
            folder: scratch.to_owned(),
            manifest: self.manifest,
            remote: None,
        })
    }

    /// Reads every file whole: size, checksum, columns, and the number of rows. What is elsewhere is brought to `scratch` one
    /// by one; nothing stays there.
    ///
    /// # Errors
    /// For the first file that is missing or differs.
    pub fn verify(&self, scratch: &Path) -> Result<()> {
        for table in &self.manifest.tables {
            let columns: Vec<_> = table.columns.iter().map(SavedColumn::in_file).collect();
            for file in &table.files {
                let (path, brought) = self.local_file(file, scratch)?;
                let verified = verify_file(&path, file, &columns);
                if brought {
                    drop(std::fs::remove_file(&path));
                }
                verified?;
            }
        }
        Ok(())
    }

    /// The same in another folder, under another plan. Nothing is read; files are linked where that is possible.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn copied_to(&self, folder: &Path, plan: serde_json::Value) -> Result<Self> {
        let failed = |path: &Path| {
            let context = format!("copying a savepoint to {}", path.display());
            move |error| Error::io(context, error)
        };
        for file in self.manifest.tables.iter().flat_map(|table| &table.files) {
            let (from, to) = (self.folder.join(&file.path), folder.join(&file.path));
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(failed(parent))?;
            }
            if std::fs::hard_link(&from, &to).is_err() {
                std::fs::copy(&from, &to).map_err(failed(&to))?;
            }
        }
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let mut manifest = self.manifest.clone();
        manifest.checkpoint.plan = plan;
        let path = folder.join(MANIFEST);
        std::fs::write(&path, manifest.to_text()?).map_err(failed(&path))?;
        Self::open(folder)
    }

    /// Removes the savepoint: its manifest first, then its tables, then the folder if nothing else is in it.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn delete(self) -> Result<()> {
        if let Some(remote) = &self.remote {
            return remote.delete();
        }
        let failed = |path: &Path| {
            let context = format!("removing {}", path.display());
            move |error| Error::io(context, error)
        };
        let manifest = self.folder.join(MANIFEST);
        std::fs::remove_file(&manifest).map_err(failed(&manifest))?;
        let tables = self.folder.join(TABLES);
        if tables.exists() {
            std::fs::remove_dir_all(&tables).map_err(failed(&tables))?;
        }
        // Something of the user's may be there beside it: that stays.
        drop(std::fs::remove_dir(&self.folder));
        Ok(())
    }
}

fn verify_file(
    path: &Path,
    file: &SavedFile,
    columns: &[crate::parquet::FileColumn],
) -> Result<()> {
    check_file(path, file)?;
    let reader = FileReader::open(path, columns)?;
    let rows: usize = (0..reader.groups()).map(|group| reader.rows(group)).sum();
    if rows as u64 == file.rows {
        return Ok(());
    }
    Err(damaged_file(
        path,
        "it has another number of rows than the manifest says",
    ))
}

/// Compares a file with what the manifest says of it.
pub(crate) fn check_file(path: &Path, file: &SavedFile) -> Result<()> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged_file(path, "it is missing"));
        }
        Err(error) => return Err(Error::io(format!("looking at {}", path.display()), error)),
        Ok(metadata) if metadata.len() != file.size => {
            let (has, should) = (metadata.len(), file.size);
            return Err(damaged_file(
                path,
                &format!("it has {has} bytes and should have {should}"),
            ));
        }
        Ok(_) => {}
    }
    let (_, sum) = checksum(path)?;
    if sum == file.checksum {
        return Ok(());
    }
    let should = &file.checksum;
    Err(damaged_file(
        path,
        &format!("its checksum is {sum} and should be {should}"),
    ))
}

fn damaged_file(path: &Path, what: &str) -> Error {
    Error::savepoint(
        "S0024",
        format!(
            "the file {} of a savepoint is damaged: {what}; put it back from a copy of the savepoint",
            path.display()
        ),
    )
}
