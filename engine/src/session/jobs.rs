//! The jobs that a session started: each INSERT is one, with its folder, as `weir run` would run it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use weir_planner::Wanted;
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_state::Savepoint;

use super::script::Script;
use crate::job::JobObserver;
use crate::sync::lock;
use crate::views::{ViewInfo, ViewRows, views_of};
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
    views: Vec<ViewInfo>,
    writes_tables: bool,
    /// The rows of its views when it ended, of a job without a folder: there is no checkpoint to read them from.
    last_views: Mutex<BTreeMap<String, LastRows>>,
}

enum LastRows {
    Awaited(Receiver<Result<ViewRows>>),
    Known(std::result::Result<ViewRows, String>),
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
        let (views, writes_tables) = (views_of(&plan), super::views::writes_tables(&plan));
        let awaited = views.iter().filter(|_| folder.is_none()).map(|view| {
            let rows = LastRows::Awaited(control.view_at_end(&view.name));
            (view.name.clone(), rows)
        });
        let last_views = Mutex::new(awaited.collect());
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
            views,
            writes_tables,
            last_views,
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

    /// What its operators have done.
    pub(super) fn metrics(&self) -> crate::JobMetrics {
        self.observer.metrics()
    }

    /// Its materialized views.
    pub(super) fn views(&self) -> &[ViewInfo] {
        &self.views
    }

    pub(super) fn keeps(&self, view: &str) -> bool {
        self.views.iter().any(|kept| kept.name == view)
    }

    /// Whether it writes something else than views.
    pub(super) fn writes_tables(&self) -> bool {
        self.writes_tables
    }

    /// The rows of a view: at the newest epoch while it runs, then at its last one.
    pub(super) fn view(&self, name: &str, wanted: &[Wanted]) -> Result<ViewRows> {
        if self.is_running() {
            match self.control.view_rows_where(name, wanted) {
                // It may have ended just now.
                Err(Error::Job(why)) if why.starts_with("[R0052]") => {}
                answer => return answer,
            }
        }
        if let Some(folder) = &self.folder {
            return crate::views::stored(folder, &self.name, name, wanted);
        }
        let unknown = || {
            Error::Job(format!(
                "[R0052] view `{name}` has no rows: its job has failed"
            ))
        };
        let mut last = lock(&self.last_views);
        let rows = last.get_mut(name).ok_or_else(unknown)?;
        if let LastRows::Awaited(awaited) = rows {
            let answer = awaited.recv().unwrap_or_else(|_| Err(unknown()));
            *rows = LastRows::Known(answer.map_err(|error| error.to_string()));
        }
        match rows {
            LastRows::Known(Ok(rows)) => Ok(rows.clone()),
            LastRows::Known(Err(why)) => Err(Error::Job(why.clone())),
            LastRows::Awaited(_) => Err(unknown()),
        }
    }

    /// Stops it, and removes its folder.
    pub(super) fn remove(&mut self) -> Result<()> {
        if self.is_running() {
            self.stop(StopOrder::default())?;
        }
        self.join();
        match &self.folder {
            Some(folder) if folder.join("owner.json").is_file() => std::fs::remove_dir_all(folder)
                .map_err(|error| {
                    Error::Job(format!(
                        "[R0053] cannot remove {}: {error}",
                        folder.display()
                    ))
                }),
            _ => Ok(()),
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
