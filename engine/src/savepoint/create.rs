//! Where a savepoint goes, what it is called, and writing it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_state::{
    CheckpointStore, Manifest, Savepoint, SavepointAbout, StateReader, StorageSettings,
    write_savepoint,
};
use weir_types::CheckpointId;

use super::{SAVEPOINTS, SavepointOrder};
use crate::clock::Clock;
use crate::job::{JobFolder, storage_settings};
use crate::{Error, Result};

/// The beginning of a periodic savepoint's name.
const PERIODIC: &str = "periodic-";

/// A savepoint's place and name.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
    pub(crate) note: Option<String>,
}

impl Target {
    /// Resolves what was ordered.
    pub(crate) fn new(
        state_dir: &Path,
        checkpoint: CheckpointId,
        order: &SavepointOrder,
    ) -> Result<Self> {
        if let Some(name) = &order.name {
            check_name(name)?;
        }
        let named = || {
            order
                .name
                .clone()
                .unwrap_or_else(|| format!("savepoint-{checkpoint}"))
        };
        let folder = match &order.folder {
            Some(folder) => folder.clone(),
            None => state_dir.join(SAVEPOINTS).join(named()),
        };
        // A folder that the user named gives the name.
        let name = match (&order.name, &order.folder) {
            (None, Some(_)) => String::new(),
            _ => named(),
        };
        Ok(Self {
            folder,
            name,
            note: order.note.clone(),
        })
    }
}

/// Names become folders.
fn check_name(name: &str) -> Result<()> {
    let fine = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !name.starts_with('.')
        && (1..=100).contains(&name.len());
    if fine {
        return Ok(());
    }
    Err(Error::Job(format!(
        "[S0032] `{name}` cannot be the name of a savepoint: letters, digits, `-`, `_` and `.` can, up to 100 of them, not \
         beginning with a dot; other words go into --note"
    )))
}

/// Writes the savepoint of a checkpoint.
pub(crate) fn write_of(
    store: &Arc<CheckpointStore>,
    checkpoint: CheckpointId,
    state_dir: &Path,
    target: Target,
    wall_micros: i64,
    settings: &StorageSettings,
) -> Result<Savepoint> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Error::Job(format!("cannot write the savepoint: {error}")))?;
    let manifest = runtime.block_on(store.load(checkpoint))?;
    let about = SavepointAbout {
        name: target.name,
        note: target.note,
        created_by: concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned(),
        created_at: wall_micros,
        settings: settings.clone(),
    };
    // Not the scratch folder of the workers, which goes when they do.
    let scratch = state_dir.join(format!("scratch-savepoint/{checkpoint}"));
    let written = write_savepoint(store, &manifest, &target.folder, &scratch, about);
    // It is empty, unless another one is being written.
    drop(std::fs::remove_dir(state_dir.join("scratch-savepoint")));
    Ok(written?)
}

/// `weir savepoint create --from-checkpoint`: of a job that is not running, from a checkpoint or its newest whole one.
///
/// # Errors
/// When the job is running, or has no such checkpoint, or the folder is taken.
pub fn savepoint_of_checkpoint(
    job: &str,
    state_dir: &Path,
    checkpoint: Option<CheckpointId>,
    order: &SavepointOrder,
) -> Result<Savepoint> {
    let folder = JobFolder::hold(state_dir, job)?;
    let (store, manifest) = whole_checkpoint(&folder, job, state_dir, checkpoint)?;
    let target = Target::new(state_dir, manifest.checkpoint, order)?;
    write_of(
        &store,
        manifest.checkpoint,
        state_dir,
        target,
        Clock::system().wall_micros(),
        &storage_settings(state_dir)?,
    )
}

/// The state in a checkpoint of a job that is not running, or in its newest whole one, and the manifest.
///
/// # Errors
/// When the job is running, or has no such checkpoint.
pub fn checkpoint_state(
    job: &str,
    state_dir: &Path,
    checkpoint: Option<CheckpointId>,
) -> Result<(StateReader, Manifest)> {
    let folder = JobFolder::hold(state_dir, job)?;
    let (store, manifest) = whole_checkpoint(&folder, job, state_dir, checkpoint)?;
    let name = format!("scratch-state-{}", std::process::id());
    let reader = StateReader::of_checkpoint(&store, &manifest, &state_dir.join(name))?;
    Ok((reader, manifest))
}

/// A checkpoint that was verified.
fn whole_checkpoint(
    folder: &JobFolder,
    job: &str,
    state_dir: &Path,
    checkpoint: Option<CheckpointId>,
) -> Result<(Arc<CheckpointStore>, Manifest)> {
    let storage = folder.noted_storage(job)?;
    if storage.is_memory() {
        return Err(Error::Job(format!(
            "[S0044] the checkpoints of job `{job}` were in the memory of its process ('checkpoint.storage' = 'memory:'), which \
             is gone: ask for a savepoint while it runs"
        )));
    }
    let store = CheckpointStore::open(storage)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Error::Job(format!("cannot write the savepoint: {error}")))?;
    let manifest = match checkpoint {
        Some(number) => {
            let manifest = runtime.block_on(store.load(number))?;
            runtime.block_on(store.verify(&manifest))?;
            manifest
        }
        None => {
            let (manifest, warnings) = runtime.block_on(store.newest_whole())?;
            manifest.ok_or_else(|| {
                Error::Job(format!(
                    "[S0033] job `{job}` has no whole checkpoint in {}{}",
                    state_dir.display(),
                    warnings
                        .iter()
                        .map(|warning| format!("\n  {warning}"))
                        .collect::<String>()
                ))
            })?
        }
    };
    Ok((store, manifest))
}

/// The savepoints directly below a folder or a URL, the oldest first, and why others there cannot be read.
///
/// # Errors
/// When it cannot be listed.
pub fn savepoints_in(
    folder: &Path,
    settings: &StorageSettings,
) -> Result<(Vec<Savepoint>, Vec<String>)> {
    Ok(Savepoint::below(folder, settings)?)
}

/// Removes all but the newest periodic savepoints of the job.
pub(super) fn prune_periodic(
    state_dir: &Path,
    periodic_dir: Option<&Path>,
    retain: usize,
    settings: &StorageSettings,
) -> Result<()> {
    let own = state_dir.join(SAVEPOINTS);
    let (found, _) = savepoints_in(periodic_dir.unwrap_or(&own), settings)?;
    let mut periodic: Vec<Savepoint> = found
        .into_iter()
        .filter(|savepoint| savepoint.manifest.name.starts_with(PERIODIC))
        .collect();
    periodic.sort_by_key(|savepoint| savepoint.manifest.checkpoint.checkpoint);
    let surplus = periodic.len().saturating_sub(retain.max(1));
    for savepoint in periodic.drain(..surplus) {
        savepoint.delete()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_savepoint_is_named_by_its_order_its_folder_or_its_checkpoint() {
        let state = Path::new("state");
        let target = |order: SavepointOrder| Target::new(state, CheckpointId(7), &order);
        let plain = target(SavepointOrder::default()).unwrap();
        assert_eq!(plain.folder, Path::new("state/savepoints/savepoint-7"));
        let named = SavepointOrder {
            name: Some("before".to_owned()),
            ..SavepointOrder::default()
        };
        assert_eq!(
            target(named).unwrap().folder,
            Path::new("state/savepoints/before")
        );
        for name in ["", "../x", ".hidden", "a b", "a/b"] {
            let order = SavepointOrder {
                name: Some(name.to_owned()),
                ..SavepointOrder::default()
            };
            assert!(
                target(order).unwrap_err().to_string().contains("S0032"),
                "{name}"
            );
        }
        let remote = SavepointOrder {
            folder: Some(PathBuf::from("s3://bucket/x")),
            ..SavepointOrder::default()
        };
        assert_eq!(target(remote).unwrap().folder, Path::new("s3://bucket/x"));
    }
}
