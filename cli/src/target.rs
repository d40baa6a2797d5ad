//! What a command names: a job's folder, a savepoint, a checkpoint.
//!
//! | written | meant |
//! |---|---|
//! | a folder with a savepoint, or its URL | that savepoint |
//! | `JOB/NAME` | the savepoint of that name in the job's folder |
//! | `JOB@N` | checkpoint N of a job |
//! | `JOB` | the job: while it runs its state now, else its newest checkpoint |

use std::path::{Path, PathBuf};

use weir_engine::{
    Before, ControlClient, SAVEPOINTS, SavepointOrder, StateQuery, checkpoint_state,
    storage_settings,
};
use weir_planner::compare::Past;
use weir_planner::plan::StreamPlan;
use weir_state::{Savepoint, StateReader, StorageSettings};
use weir_types::CheckpointId;

use crate::exit::Failure;
use crate::query_file::QueryFile;

/// The folder of a job's state.
pub(crate) fn job_folder(job: &str, state_dir: Option<&Path>) -> PathBuf {
    match state_dir {
        Some(folder) => folder.to_path_buf(),
        None => Path::new(".weir").join(job),
    }
}

/// A savepoint by its folder, or as `JOB/NAME`.
pub(crate) fn savepoint(text: &str, state_dir: Option<&Path>) -> Result<Savepoint, Failure> {
    let folder = savepoint_folder(text, state_dir);
    open(&folder, state_dir)
}

/// Opens a savepoint; one of a store is reached as the job of that folder reaches it, if there is one.
pub(crate) fn open(folder: &Path, state_dir: Option<&Path>) -> Result<Savepoint, Failure> {
    Savepoint::open_with(folder, &settings(state_dir)?)
        .map_err(|error| Failure::plain(&error.into()))
}

/// How stores are reached: as the job of that folder does, and by the environment.
pub(crate) fn settings(state_dir: Option<&Path>) -> Result<StorageSettings, Failure> {
    match state_dir {
        Some(folder) => storage_settings(folder).map_err(|error| Failure::plain(&error)),
        None => Ok(StorageSettings::default()),
    }
}

/// Whether this is a URL, and not a path of this machine.
pub(crate) fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// Where the savepoint would be that this names.
pub(crate) fn savepoint_folder(text: &str, state_dir: Option<&Path>) -> PathBuf {
    let path = PathBuf::from(text);
    if is_url(text) || path.is_dir() {
        return path;
    }
    let named = match text.split_once('/') {
        Some((job, name)) => job_folder(job, state_dir).join(SAVEPOINTS).join(name),
        None => match state_dir {
            Some(folder) => folder.join(SAVEPOINTS).join(text),
            None => return path,
        },
    };
    if named.is_dir() { named } else { path }
}

/// What an edit is compared with.
pub(crate) enum Old {
    /// A query file: nothing is known of how far it is.
    File(Box<StreamPlan>),
    /// What a job left.
    Job(Box<Before>),
}

impl Old {
    /// What `text` names: a query file, a savepoint's folder, JOB/NAME, JOB@N, JOB.
    pub(crate) fn open(text: &str, state_dir: Option<&Path>) -> Result<Self, Failure> {
        if Path::new(text).is_file() {
            let file = QueryFile::read(Path::new(text))?;
            return Ok(Self::File(Box::new(file.plan()?.plan)));
        }
        Ok(Self::Job(Box::new(before(text, state_dir)?)))
    }

    pub(crate) fn plan(&self) -> &StreamPlan {
        match self {
            Self::File(plan) => plan,
            Self::Job(before) => &before.plan,
        }
    }

    pub(crate) fn past(&self) -> Past {
        match self {
            Self::File(_) => Past::default(),
            Self::Job(before) => before.past.clone(),
        }
    }
}

/// What a job left, in the savepoint or checkpoint that `text` names. No state is read.
pub(crate) fn before(text: &str, state_dir: Option<&Path>) -> Result<Before, Failure> {
    let plain = |error: weir_engine::Error| Failure::plain(&error);
    let folder = savepoint_folder(text, state_dir);
    if is_url(text) || Savepoint::is_one(&folder) {
        return Before::of_savepoint(&open(&folder, state_dir)?).map_err(plain);
    }
    let (job, checkpoint) = job_and_checkpoint(text)?;
    Before::of_job(job, &job_folder(job, state_dir), checkpoint).map_err(plain)
}

/// `JOB@12`, `JOB`.
pub(crate) fn job_and_checkpoint(text: &str) -> Result<(&str, Option<CheckpointId>), Failure> {
    let Some((job, number)) = text.rsplit_once('@') else {
        return Ok((text, None));
    };
    let number: u64 = number
        .parse()
        .map_err(|_| Failure::usage(format!("`{text}`: a checkpoint is named as JOB@NUMBER")))?;
    Ok((job, Some(CheckpointId(number))))
}

/// State to be read.
pub(crate) struct State {
    pub(crate) reader: StateReader,
    /// A savepoint that was made to be read, of a job that runs.
    temporary: Option<Temporary>,
}

/// A savepoint that goes when it has been read.
pub(crate) struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is in the system's folder for such things, whatever becomes of it.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl State {
    /// Opens what `text` names.
    pub(crate) fn open(text: &str, state_dir: Option<&Path>) -> Result<Self, Failure> {
        let folder = savepoint_folder(text, state_dir);
        if is_url(text) || Savepoint::is_one(&folder) {
            return Self::of_savepoint(open(&folder, state_dir)?);
        }
        let (job, checkpoint) = job_and_checkpoint(text)?;
        let folder = job_folder(job, state_dir);
        if checkpoint.is_none()
            && let Some(client) =
                ControlClient::connect(&folder).map_err(|error| Failure::plain(&error))?
        {
            return Self::of_running(client);
        }
        let (reader, _) =
            checkpoint_state(job, &folder, checkpoint).map_err(|error| Failure::plain(&error))?;
        Ok(Self {
            reader,
            temporary: None,
        })
    }

    /// The state of a savepoint, whose files are brought here for as long as they are read.
    fn of_savepoint(savepoint: Savepoint) -> Result<Self, Failure> {
        let temporary = savepoint.is_remote().then(|| Temporary(scratch("brought")));
        let savepoint = match &temporary {
            Some(Temporary(folder)) => savepoint
                .brought(folder)
                .map_err(|error| Failure::plain(&error.into()))?,
            None => savepoint,
        };
        Ok(Self {
            reader: StateReader::of_savepoint(savepoint),
            temporary,
        })
    }

    /// The state of a job that runs, at one epoch: a savepoint that is deleted afterwards.
    fn of_running(client: ControlClient) -> Result<Self, Failure> {
        let folder = scratch("state");
        let temporary = Temporary(folder.clone());
        let order = SavepointOrder {
            folder: Some(folder),
            ..SavepointOrder::default()
        };
        let written = client
            .savepoint(order)
            .map_err(|error| Failure::plain(&error))?;
        let savepoint = Savepoint::open(&written).map_err(|error| Failure::plain(&error.into()))?;
        Ok(Self {
            reader: StateReader::of_savepoint(savepoint),
            temporary: Some(temporary),
        })
    }

    /// For queries; the second part has to live as long.
    pub(crate) fn into_query(self) -> (StateQuery, Option<Temporary>) {
        (StateQuery::new(self.reader), self.temporary)
    }
}

/// A folder of this process that nobody else uses.
pub(crate) fn scratch(what: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("weir-{what}-{}-{number}", std::process::id()))
}
