//! The jobs that a session started: each INSERT is one, with its folder, as `weir run` would run it.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::JoinHandle;

use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_state::Savepoint;

use super::script::Script;
use crate::job::JobObserver;
use crate::sync::lock;
use crate::{
    ControlServer, Error, JobControl, JobHandle, JobOptions, JobSummary, Outcome, Progress, Result,
    SavepointOrder, StopOrder,
};

/// How a job of a session is.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// Its name: that of its first sink, unless 'job.name' is set.
    pub name: String,
    /// What it is doing.
    pub state: JobState,
    /// How far it is.
    pub progress: Progress,
    /// Where its state is; `None`: it keeps none.
    pub folder: Option<PathBuf>,
    /// The statement.
    pub sql: String,
}

/// What a job is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It runs.
    Running,
    /// All its input is done.
    Finished,
    /// It was stopped, and can go on.
    Stopped,
    /// Why it failed.
    Failed(String),
}

impl JobState {
    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed(_) => "failed",
        }
    }
}

/// A job in the background.
pub(super) struct BackgroundJob {
    name: String,
    sql: String,
    folder: Option<PathBuf>,
    control: JobControl,
    observer: JobObserver,
    ended: Arc<Mutex<Option<std::result::Result<JobSummary, String>>>>,
    thread: Option<JoinHandle<()>>,
}

impl BackgroundJob {
    pub(super) fn start(
        name: &str,
        script: &Script,
        sql: &str,
        plan: StreamPlan,
        options: JobOptions,
    ) -> Result<Self> {
        let (control, folder) = (options.control.clone(), options.state_dir.clone());
        // An INSERT prints nothing.
        let handler = Arc::new(|_| ControlFlow::Continue(()));
        let handle = JobHandle::start(name, &script.text, plan, options, handler)
            .map_err(|error| script.moved(error))?;
        let observer = handle.observer();
        // Listening comes after the lock; a job that cannot be asked from outside runs all the same.
        let server = folder
            .as_ref()
            .and_then(|folder| ControlServer::start(folder, control.clone()).ok());
        let ended = Arc::new(Mutex::new(None));
        let (of_thread, of_errors) = (ended.clone(), script.clone());
        let thread = std::thread::Builder::new()
            .name(format!("weir-job {name}"))
            .spawn(move || {
                let result = handle
                    .wait()
                    .map_err(|error| of_errors.moved(error).to_string());
                drop(server);
                *lock(&of_thread) = Some(result);
            })
            .map_err(|error| Error::Job(format!("cannot start the job: {error}")))?;
        Ok(Self {
            name: name.to_owned(),
            sql: sql.to_owned(),
            folder,
            control,
            observer,
            ended,
            thread: Some(thread),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_running(&self) -> bool {
        lock(&self.ended).is_none()
    }

    pub(super) fn status(&self) -> JobStatus {
        let (state, progress) = match &*lock(&self.ended) {
            None => (JobState::Running, self.observer.progress()),
            Some(Ok(summary)) => {
                let state = match summary.outcome {
                    Outcome::Stopped => JobState::Stopped,
                    Outcome::Drained | Outcome::AlreadyDrained => JobState::Finished,
                };
                (state, summary.progress.clone())
            }
            Some(Err(why)) => (JobState::Failed(why.clone()), self.observer.progress()),
        };
        JobStatus {
            name: self.name.clone(),
            state,
            progress,
            folder: self.folder.clone(),
            sql: self.sql.clone(),
        }
    }

    /// Waits for a savepoint of the running job.
    pub(super) fn savepoint(&self, order: SavepointOrder) -> Result<Savepoint> {
        self.control
            .savepoint(order)
            .recv()
            .map_err(|_| Error::Job("the job ended before the savepoint was written".to_owned()))?
    }

    /// Stops it and waits until it has.
    pub(super) fn stop(&mut self, order: StopOrder) -> Result<Option<Savepoint>> {
        let answer = self.control.stop(order);
        self.join();
        match answer {
            None => Ok(None),
            Some(answer) => answer
                .recv()
                .map_err(|_| {
                    Error::Job("the job ended before the savepoint was written".to_owned())
                })?
                .map(Some),
        }
    }

    /// Waits until it has ended.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic there has been told as the job's.
            drop(thread.join());
        }
    }
}

impl Drop for BackgroundJob {
    /// A session that is closed stops its jobs with a last checkpoint: they go on when they are started again.
    fn drop(&mut self) {
        if self.thread.is_some() {
            drop(self.control.stop(StopOrder::default()));
            self.join();
        }
    }
}

/// The name of a job that was given none: the table that it writes first.
pub(super) fn name_of(plan: &StreamPlan) -> Option<String> {
    plan.operators
        .iter()
        .find_map(|operator| match &operator.kind {
            OperatorKind::Sink { table } => Some(table.clone()),
            _ => None,
        })
}
