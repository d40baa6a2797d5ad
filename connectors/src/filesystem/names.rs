//! The names of what a sink leaves on disk, so that each job finds its own and nobody else's.
//!
//! ```text
//!   TARGET/part-JOB-SINK-GENERATION-WORKER-SEQ.json          published (below `column=value/` folders if partitioned)
//!   TARGET/_staging/part-JOB-SINK-GENERATION-WORKER-SEQ.json not yet
//!   TARGET/_commits/JOB.SINK.CHECKPOINT.json                 the commit: lists the parts
//! ```
//!
//! Job and sink are percent-encoded outside `[A-Za-z0-9_]`, so `-` and `.` only separate. SEQ of an at-least-once
//! part begins with `e`: it was published at the end of an epoch, no list names it, and it is never withdrawn.

use std::path::{Path, PathBuf};

use weir_types::CheckpointId;

use crate::error::{IoContext, Result};
use crate::sink::SinkEnvironment;

/// The folder of parts that are not yet published.
pub(crate) const STAGING: &str = "_staging";
/// The folder of commit lists.
pub(crate) const COMMITS: &str = "_commits";
/// What SEQ begins with in an at-least-once part.
pub(crate) const EPOCH_MARK: char = 'e';

/// Names of one sink of one job below one target.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) target: PathBuf,
    job: String,
    sink: String,
    generation: u64,
}

/// Percent-encodes every byte outside `[A-Za-z0-9_]` and those in `also`.
pub(crate) fn encode(text: &str, also: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || also.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

impl Names {
    pub(crate) fn new(target: PathBuf, env: &SinkEnvironment) -> Self {
        Self {
            target,
            job: encode(&env.job, b""),
            sink: encode(&env.sink, b""),
            generation: env.generation.0,
        }
    }

    /// What every part of this sink and job begins with.
    pub(crate) fn prefix(&self) -> String {
        format!("part-{}-{}-", self.job, self.sink)
    }

    /// A new part's file name.
    pub(crate) fn part(
        &self,
        worker: u32,
        sequence: u64,
        exactly_once: ExactlyOnce,
        extension: &str,
    ) -> String {
        let mark = if exactly_once == ExactlyOnce::Yes {
            String::new()
        } else {
            EPOCH_MARK.to_string()
        };
        format!(
            "{}{}-{worker}-{mark}{sequence}.{extension}",
            self.prefix(),
            self.generation
        )
    }

    /// Whether this is a part of this sink and job that a commit list must name to be valid.
    pub(crate) fn is_listed_part(&self, file: &str) -> bool {
        let Some(rest) = file.strip_prefix(&self.prefix()) else {
            return false;
        };
        !rest
            .splitn(3, '-')
            .nth(2)
            .is_some_and(|sequence| sequence.starts_with(EPOCH_MARK))
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.target.join(STAGING)
    }

    pub(crate) fn commits(&self) -> PathBuf {
        self.target.join(COMMITS)
    }

    pub(crate) fn list(&self, checkpoint: CheckpointId) -> PathBuf {
        self.commits()
            .join(format!("{}.{}.{checkpoint}.json", self.job, self.sink))
    }

    /// The commit lists of this sink and job, newest first.
    pub(crate) fn lists(&self) -> Result<Vec<(CheckpointId, PathBuf)>> {
        let prefix = format!("{}.{}.", self.job, self.sink);
        let mut lists = Vec::new();
        for (name, path) in entries(&self.commits())? {
            let number = name
                .strip_prefix(&prefix)
                .and_then(|rest| rest.strip_suffix(".json"));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                lists.push((CheckpointId(number), path));
            }
        }
        lists.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        Ok(lists)
    }

    /// Files of this sink and job in staging.
    pub(crate) fn staged(&self) -> Result<Vec<PathBuf>> {
        let prefix = self.prefix();
        let staged = entries(&self.staging())?
            .into_iter()
            .filter(|(name, _)| name.starts_with(&prefix));
        Ok(staged.map(|(_, path)| path).collect())
    }

    /// Published parts of this sink and job, partitions' folders included, as paths relative to the target.
    pub(crate) fn published(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        self.published_below("", &mut found)?;
        Ok(found)
    }

    fn published_below(&self, folder: &str, found: &mut Vec<String>) -> Result<()> {
        for (name, path) in entries(&self.target.join(folder))? {
            if name.starts_with(['_', '.']) {
                continue;
            }
            let relative = if folder.is_empty() {
                name.clone()
            } else {
                format!("{folder}/{name}")
            };
            if path.is_dir() {
                // Only folders of partitions are ours.
                if name.contains('=') {
                    self.published_below(&relative, found)?;
                }
            } else if name.starts_with(&self.prefix()) {
                found.push(relative);
            }
        }
        Ok(())
    }
}

/// Whether parts wait for a commit list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExactlyOnce {
    Yes,
    No,
}

/// The entries of a folder that may not be there.
pub(crate) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let context = || format!("cannot list {}", folder.display());
    let listing = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.context(context)?,
    };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry.context(context)?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

/// Removes a file that may not be there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.context(|| format!("cannot remove {}", path.display())),
    }
}
