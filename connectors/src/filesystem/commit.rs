//! Publishing and withdrawing parts: what makes the file sink exactly-once.
//!
//! ```text
//!   commit(N):   list of N there? ─ yes ─▶ done
//!                └ no ─▶ every part: staged → final ─▶ folders synced ─▶ list of N, whole or not at all ─▶ synced
//!   rollback(N): lists newer than N, newest first: the list goes, then its parts
//!                then parts that no list names (a crash in the middle of either), then this job's staging
//! ```
//!
//! # Invariants
//! 1. A list exists only when all its parts are published: it *is* the commit.
//! 2. A published part that waits for a list and that no list names was never committed, or its withdrawal was cut
//!    short: a rollback removes it. So both may crash anywhere and be called again.
//! 3. Only names of this sink and job are touched.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_types::{CheckpointId, failpoint};

use super::names::{Names, remove};
use super::{create_folder, sync_folder};
use crate::error::{Error, IoContext, Result};
use crate::sink::SinkCommitter;

/// What a writer prepared: rides in the manifest, and is what a commit list holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prepared {
    pub(crate) parts: Vec<PreparedPart>,
}

/// One part. In staging it has the same file name, without the partition's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PreparedPart {
    /// Relative to the target.
    pub(crate) path: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Prepared {
    pub(crate) fn read(prepared: &[serde_json::Value]) -> Result<Self> {
        let mut all = Self::default();
        for value in prepared {
            let one: Self = serde_json::from_value(value.clone()).map_err(|error| {
                Error::Inconsistent(format!("the parts in the manifest cannot be read: {error}"))
            })?;
            all.parts.extend(one.parts);
        }
        Ok(all)
    }
}

/// Publishes the parts of one sink.
pub(crate) struct AppendCommitter {
    names: Names,
}

impl AppendCommitter {
    pub(crate) fn new(names: Names) -> Self {
        Self { names }
    }

    fn withdraw(&self, list: &Path) -> Result<()> {
        let text = fs::read(list).context(|| format!("cannot read {}", list.display()))?;
        let prepared: Prepared = serde_json::from_slice(&text).map_err(|error| {
            Error::Inconsistent(format!(
                "the commit list {} cannot be read: {error}",
                list.display()
            ))
        })?;
        remove(list)?;
        sync_folder(&self.names.commits())?;
        for part in prepared.parts {
            failpoint::pass("sink.file.withdraw.between").context(|| "at a failure point")?;
            remove(&self.names.target.join(part.path))?;
        }
        Ok(())
    }

    /// Every part that a list names.
    fn listed(&self) -> Result<HashSet<String>> {
        let mut listed = HashSet::new();
        for (_, path) in self.names.lists()? {
            let text = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
            let prepared: Prepared = serde_json::from_slice(&text).map_err(|error| {
                Error::Inconsistent(format!(
                    "the commit list {} cannot be read: {error}",
                    path.display()
                ))
            })?;
            listed.extend(prepared.parts.into_iter().map(|part| part.path));
        }
        Ok(listed)
    }

    fn remove_unlisted(&self) -> Result<()> {
        let published = self.names.published()?;
        let waits = |path: &String| {
            self.names
                .is_listed_part(path.rsplit('/').next().unwrap_or(path))
        };
        let candidates: Vec<String> = published.into_iter().filter(waits).collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let listed = self.listed()?;
        for path in candidates.iter().filter(|path| !listed.contains(*path)) {
            remove(&self.names.target.join(path))?;
        }
        Ok(())
    }

    fn remove_staged(&self) -> Result<()> {
        self.names
            .staged()?
            .iter()
            .try_for_each(|path| remove(path))
    }
}

impl SinkCommitter for AppendCommitter {
    fn commit(&mut self, checkpoint: CheckpointId, prepared: &[serde_json::Value]) -> Result<()> {
        let list = self.names.list(checkpoint);
        if list.exists() {
            return Ok(());
        }
        let prepared = Prepared::read(prepared)?;
        if prepared.parts.is_empty() {
            return Ok(());
        }
        publish(&self.names, &prepared)?;
        failpoint::pass("sink.file.list.before").context(|| "at a failure point")?;
        create_folder(&self.names.commits())?;
        let text = serde_json::to_vec(&prepared).unwrap_or_default();
        create_whole(&self.names.staging(), &list, &text)?;
        failpoint::pass("sink.file.list.after").context(|| "at a failure point")
    }

    fn rollback_to(&mut self, checkpoint: Option<CheckpointId>) -> Result<Vec<String>> {
        for (number, list) in self.names.lists()? {
            if checkpoint.is_none_or(|checkpoint| number > checkpoint) {
                self.withdraw(&list)?;
            }
        }
        self.remove_unlisted()?;
        self.remove_staged()?;
        Ok(Vec::new())
    }

    fn holds_output(&self) -> Result<bool> {
        Ok(!self.names.lists()?.is_empty() || !self.names.published()?.is_empty())
    }

    fn remove_output(&mut self) -> Result<()> {
        self.rollback_to(None)?;
        self.names
            .published()?
            .iter()
            .try_for_each(|path| remove(&self.names.target.join(path)))
    }
}

/// Moves every part from staging to its place. Parts that are there already were moved by an earlier attempt.
pub(crate) fn publish(names: &Names, prepared: &Prepared) -> Result<()> {
    let mut folders: HashSet<PathBuf> = HashSet::new();
    for part in &prepared.parts {
        let place = names.target.join(&part.path);
        let folder = place.parent().unwrap_or(&names.target).to_path_buf();
        let file = place.file_name().unwrap_or_default();
        let staged = names.staging().join(file);
        if folders.insert(folder.clone()) {
            create_folder(&folder)?;
        }
        match fs::rename(&staged, &place) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && place.exists() => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Inconsistent(format!(
                    "part {} is neither in {} nor published: rows of a complete checkpoint are lost; \
                     was the folder changed by hand?",
                    part.path,
                    names.staging().display()
                )));
            }
            outcome => outcome.context(|| format!("cannot publish {}", place.display()))?,
        }
        failpoint::pass("sink.file.rename.between").context(|| "at a failure point")?;
    }
    folders.iter().try_for_each(|folder| sync_folder(folder))
}

/// Creates a file with all its bytes, or not at all, and never over another one: it is written beside and linked.
pub(crate) fn create_whole(staging: &Path, place: &Path, text: &[u8]) -> Result<()> {
    create_folder(staging)?;
    let name = place.file_name().unwrap_or_default();
    // Begins with a dot: it is no part, and the next attempt writes over it.
    let draft = staging.join(format!(".{}", name.to_string_lossy()));
    let context = || format!("cannot write {}", place.display());
    let mut file = fs::File::create(&draft).context(context)?;
    file.write_all(text)
        .and_then(|()| file.sync_all())
        .context(context)?;
    match fs::hard_link(&draft, place) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(_) if !place.exists() => fs::rename(&draft, place).context(context)?, // A disk without links.
        outcome => outcome.context(context)?,
    }
    remove(&draft)?;
    sync_folder(place.parent().unwrap_or(staging))
}
