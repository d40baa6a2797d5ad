//! The manifest of a checkpoint: JSON with a checksum of its own (`docs/formats/checkpoint.md`).
//!
//! ```text
//!   {
//!     "checksum": "9f…",        XXH3-64 (hex) of all that follows this line
//!     "format_version": 1,
//!     …
//! ```

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_types::{CheckpointId, Generation, KeyGroupRange, WorkerId};
use xxhash_rust::xxh3::xxh3_64;

use super::{CheckpointStore, Compression};
use crate::{BackendKind, Error, Result, TableSpec};

/// The version of manifests that this release writes, and the newest that it reads.
pub const MANIFEST_FORMAT_VERSION: u32 = 2;

/// What one worker's part of a checkpoint consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerSnapshot {
    /// The worker that wrote it.
    pub worker: WorkerId,
    /// The key groups that it holds.
    pub range: KeyGroupRange,
    /// What its files are.
    #[serde(default, skip_serializing_if = "FileForm::is_database")]
    pub form: FileForm,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// How long the synchronous freeze took.
    pub frozen_micros: u64,
    /// How long writing the frozen entries, flushing and linking took.
    pub write_micros: u64,
    /// Bytes that were uploaded because no completed checkpoint had them.
    pub bytes_new: u64,
    /// Entries that were frozen.
    pub entries: u64,
    /// Figures of each table, for the statistics of the job; not part of the manifest.
    #[serde(skip)]
    pub tables: Vec<TableFigures>,
}

/// What a snapshot of one table cost, and how large it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableFigures {
    /// Whose table it is.
    pub operator: String,
    /// Its name within the operator.
    pub table: String,
    /// How long its freeze took.
    pub frozen_micros: u64,
    /// How long writing its frozen entries took.
    pub write_micros: u64,
    /// Entries that had changed.
    pub entries: u64,
    /// Their bytes, keys included.
    pub bytes: u64,
    /// All entries of the table (RocksDB's estimate).
    pub entries_total: u64,
    /// All bytes of the table (RocksDB's estimate, compressed).
    pub bytes_total: u64,
    /// Of the changed entries those of the key group that has most of them.
    pub hottest_entries: u64,
    /// That key group.
    pub hottest_group: u16,
    /// Key groups that changed.
    pub groups: u16,
}

impl WorkerSnapshot {
    /// One that holds nothing.
    pub fn empty(worker: WorkerId) -> Self {
        Self {
            worker,
            range: KeyGroupRange { start: 0, end: 0 },
            form: FileForm::Database,
            files: Vec::new(),
            frozen_micros: 0,
            write_micros: 0,
            bytes_new: 0,
            entries: 0,
            tables: Vec::new(),
        }
    }
}

/// What the files of a part are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileForm {
    /// Those of the manifest's backend.
    #[default]
    Database,
    /// Parquet files of a savepoint, in the first checkpoint after its restore.
    Savepoint,
}

impl FileForm {
    fn is_database(&self) -> bool {
        *self == Self::Database
    }
}

/// A file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path within the checkpoint store.
    pub path: String,
    /// Name that the database wants.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// XXH3-64 of the content, hex.
    pub checksum: String,
    /// How the content is packed; size and checksum are those of the packed file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// The state part of a manifest, and where its files are.
#[derive(Clone)]
pub struct RestoreFrom {
    /// Where the files are.
    pub store: Arc<CheckpointStore>,
    /// The backend that wrote them.
    pub backend: BackendKind,
    /// Key groups of the job.
    pub key_groups: u16,
    /// The tables as they were declared.
    pub tables: Vec<TableSpec>,
    /// The parts.
    pub workers: Vec<WorkerSnapshot>,
}

/// A checkpoint, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT_VERSION`].
    pub format_version: u32,
    /// The job's name.
    pub job: String,
    /// The start of the job that took it.
    pub generation: Generation,
    /// Its number.
    pub checkpoint: CheckpointId,
    /// Processing time of the barrier, microseconds since the epoch; never goes back within a job.
    pub processing_time: i64,
    /// SQL text before variables are filled in.
    pub sql: String,
    /// The serialized plan.
    pub plan: serde_json::Value,
    /// Workers that took it.
    pub parallelism: u32,
    /// Key groups of the job; fixed for its life.
    pub key_groups: u16,
    /// The backend that wrote the files.
    pub backend: BackendKind,
    /// The state tables of all operators.
    pub tables: Vec<TableSpec>,
    /// One part for each worker.
    pub workers: Vec<WorkerSnapshot>,
    /// Source positions, by operator ID (the engine's form).
    pub sources: serde_json::Value,
    /// Per operator and input: watermarks (the engine's form).
    pub watermarks: serde_json::Value,
    /// Prepared sink transactions by operator ID (the connectors' form).
    pub sinks: serde_json::Value,
    /// Set on the last checkpoint of a bounded job that reached its end.
    pub drained: bool,
    /// Totals to go on with after a restore: rows in, late rows, ….
    pub counters: serde_json::Value,
    /// Edits that the job has gone through: what of its results is not exact since, and what was accepted (the engine's
    /// form; since version 2). Null: none.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub evolution: serde_json::Value,
}

impl Manifest {
    /// What a worker needs to restore from it.
    pub fn restore_from(&self, store: &Arc<CheckpointStore>) -> RestoreFrom {
        RestoreFrom {
            store: store.clone(),
            backend: self.backend,
            key_groups: self.key_groups,
            tables: self.tables.clone(),
            workers: self.workers.clone(),
        }
    }

    /// All files, in the order of workers.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.workers.iter().flat_map(|worker| &worker.files)
    }

    /// The text of the file.
    pub(crate) fn to_text(&self) -> Result<String> {
        let json = serde_json::to_string_pretty(self).map_err(|error| {
            Error::io(
                format!("writing the manifest of checkpoint {}", self.checkpoint),
                error,
            )
        })?;
        let rest = json.strip_prefix("{\n").unwrap_or(&json);
        Ok(format!(
            "{{\n  \"checksum\": \"{:016x}\",\n{rest}\n",
            xxh3_64(format!("{rest}\n").as_bytes())
        ))
    }

    /// Reads the text of `file`.
    pub(crate) fn from_text(text: &[u8], file: &Path) -> Result<Self> {
        let corrupt = |what: String| {
            Error::Corrupt(format!(
                "the manifest {} is damaged: {what}; restore an older checkpoint, or put the file back from a backup",
                file.display()
            ))
        };
        let text = std::str::from_utf8(text).map_err(|_| corrupt("it is not UTF-8".to_owned()))?;
        // The version comes first: another version may have another form altogether.
        #[derive(Deserialize)]
        struct Head {
            format_version: u32,
            #[serde(default)]
            checksum: String,
        }
        let head: Head = serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))?;
        if head.format_version > MANIFEST_FORMAT_VERSION {
            return Err(Error::Incompatible(format!(
                "the manifest {} has format version {} and this release reads up to {MANIFEST_FORMAT_VERSION}: use the \
                 release that wrote it",
                file.display(),
                head.format_version
            )));
        }
        let rest = text.splitn(3, '\n').nth(2).unwrap_or_default();
        let checksum = format!("{:016x}", xxh3_64(rest.as_bytes()));
        if checksum != head.checksum {
            return Err(corrupt(format!(
                "its checksum is {checksum} and should be '{}'",
                head.checksum
            )));
        }
        let manifest: Self =
            serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))?;
        for entry in manifest.files() {
            if !is_plain_path(&entry.path)
                || !is_plain_path(&entry.name)
                || entry.name.contains('/')
            {
                return Err(corrupt(format!(
                    "it names the file '{}' outside of the checkpoints",
                    entry.path
                )));
            }
        }
        Ok(manifest)
    }
}

/// A relative path that goes nowhere but down.
fn is_plain_path(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)))
}
