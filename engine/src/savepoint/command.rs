//! Carries out what SQL asks of a running job: for files (`weir run`) and for a prompt alike.

use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_planner::JobCommand;

use super::{ControlClient, SavepointOrder, StopOrder};
use crate::{Error, Result};

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobCommandDone {
    /// The savepoint that was written: its folder or URL.
    pub savepoint: Option<PathBuf>,
    /// The job has stopped.
    pub stopped: bool,
}

/// Asks the job whose state is in `state_dir` and waits until it is done.
///
/// # Errors
/// When no such job runs (`S0027`), or what the job says.
pub fn run_job_command(command: &JobCommand, state_dir: &Path) -> Result<JobCommandDone> {
    let client = ControlClient::connect(state_dir)?.ok_or_else(|| {
        let job = command.job();
        Error::Job(format!(
            "[S0027] job `{job}` is not running in {}: start it with `weir run`, or make a savepoint of its newest checkpoint \
             with `weir savepoint create {job} --from-checkpoint`",
            state_dir.display()
        ))
    })?;
    match command {
        JobCommand::Savepoint { folder, .. } => Ok(JobCommandDone {
            savepoint: Some(client.savepoint(order(folder.as_deref())?)?),
            stopped: false,
        }),
        JobCommand::Stop {
            savepoint, drain, ..
        } => {
            let savepoint = savepoint
                .as_ref()
                .map(|folder| order(folder.as_deref()))
                .transpose()?;
            let written = client.stop(StopOrder {
                savepoint,
                drain: *drain,
            })?;
            wait_for_end(state_dir)?;
            Ok(JobCommandDone {
                savepoint: written,
                stopped: true,
            })
        }
    }
}

/// Waits until nobody listens any more: the socket goes when the job's threads are gone.
///
/// # Errors
/// When the socket is there and cannot be spoken to.
pub fn wait_for_end(state_dir: &Path) -> Result<()> {
    while ControlClient::connect(state_dir)?.is_some() {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

/// Another process is told, and it has another current folder perhaps.
fn order(folder: Option<&str>) -> Result<SavepointOrder> {
    let folder = folder.map(|folder| match folder.contains("://") {
        true => Ok(PathBuf::from(folder)),
        false => std::path::absolute(folder)
            .map_err(|error| Error::Job(format!("cannot find {folder}: {error}"))),
    });
    Ok(SavepointOrder {
        folder: folder.transpose()?,
        ..SavepointOrder::default()
    })
}
