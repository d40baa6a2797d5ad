//! One job of a server, and the thread that keeps its process running.
//!
//! ```text
//!                    ┌────────────── wanted: running ──────────────┐
//!                    ▼                                             │
//!   waiting (another process has the lock) ──▶ running ──end──▶ decide
//!                                                                  ├─ finished, stopped, failed: nothing runs
//!                                                                  ├─ its process died: again, after a while
//!                                                                  └─ its upgrade failed: back to the old text
//! ```
//!
//! # Invariants
//! 1. A process is started only while nobody holds the lock of the job's folder, and it takes that lock itself: a job runs once,
//!    also when an earlier server was killed and its processes are still about to stop.
//! 2. What is wanted is on disk before anything is done about it: another server goes on from there.
//! 3. A process of a job never outlives its server for longer than a last checkpoint takes: its standard input ends with the server.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_engine::ControlClient;

use super::decide::{Ended, LOOK_AT_LOCK, Next, decide};
use super::log::{LogFormat, now_micros};
use super::problem::{Place, Problem};
use super::store::{Edit, JobHome, JobSpec, Wanted, came_up};
use crate::inexact::{InexactPart, inexact_of_job};
use crate::telemetry::{ProcessSpan, ServerTelemetry};

/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(20);
/// Between two looks at what changes slowly: the size of the log, whether an edit has come up.
const SLOW_LOOK: Duration = Duration::from_secs(1);
/// A log larger than this goes aside.
const LOG_BYTES_MAX: u64 = 8 << 20;
/// Whoever ran for so long has not failed at once.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// A job answers for its status within this time, or not.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// How processes are started.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    pub(crate) program: PathBuf,
    pub(crate) log_format: LogFormat,
    /// Who is told of them, and what they need to tell it as well.
    pub(crate) telemetry: ServerTelemetry,
    pub(crate) environment: Vec<(String, String)>,
}

/// What the thread of a job is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// Another process has the job's lock.
    Waiting,
    Running,
    /// Its process died; the next one waits.
    Pausing(Instant),
}

struct Inner {
    spec: JobSpec,
    phase: Phase,
    pid: Option<u32>,
    started_micros: Option<i64>,
    restarts: u64,
    /// Deaths in a row.
    deaths: u32,
    /// Its process is asked to stop with a last checkpoint.
    stopping: bool,
    /// Nothing is started for now: somebody works on the job.
    held: bool,
    /// The server ends, or the job is deleted.
    leaving: bool,
}

/// A job of the server.
pub(crate) struct Job {
    pub(crate) home: JobHome,
    pub(crate) name: String,
    /// One stop, start, upgrade or deletion at a time.
    pub(crate) operation: Mutex<()>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Job {
    pub(crate) fn new(home: JobHome, spec: JobSpec) -> Arc<Self> {
        Arc::new(Self {
            home,
            name: spec.name.clone(),
            operation: Mutex::new(()),
            inner: Mutex::new(Inner {
                spec,
                phase: Phase::Idle,
                pid: None,
                started_micros: None,
                restarts: 0,
                deaths: 0,
                stopping: false,
                held: false,
                leaving: false,
            }),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, inner: MutexGuard<'a, Inner>, limit: Duration) -> MutexGuard<'a, Inner> {
        let woken = self.changed.wait_timeout(inner, limit);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    /// What is wanted of it.
    pub(crate) fn spec(&self) -> JobSpec {
        self.lock().spec.clone()
    }

    /// Changes what is wanted: on disk first.
    pub(crate) fn change(&self, change: impl FnOnce(&mut JobSpec)) -> std::io::Result<()> {
        let mut inner = self.lock();
        let mut spec = inner.spec.clone();
        change(&mut spec);
        self.home.write(&spec)?;
        inner.spec = spec;
        inner.deaths = 0;
        if matches!(inner.phase, Phase::Pausing(_)) {
            inner.phase = Phase::Idle;
        }
        drop(inner);
        self.changed.notify_all();
        Ok(())
    }

    /// Whether a process of this server runs it.
    pub(crate) fn runs(&self) -> bool {
        self.lock().phase == Phase::Running
    }

    /// Asks its process to stop with a last checkpoint.
    pub(crate) fn ask_to_stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    /// Nothing is started while `held`.
    pub(crate) fn hold(&self, held: bool) {
        self.lock().held = held;
        self.changed.notify_all();
    }

    /// Its thread ends when its process has.
    pub(crate) fn leave(&self) {
        let mut inner = self.lock();
        inner.leaving = true;
        inner.stopping = true;
        drop(inner);
        self.changed.notify_all();
    }

    /// Waits until something holds; false if the time is over.
    fn until(&self, limit: Duration, holds: impl Fn(&Inner) -> bool) -> bool {
        let started = Instant::now();
        let mut inner = self.lock();
        while !holds(&inner) {
            let left = limit.saturating_sub(started.elapsed());
            if left.is_zero() {
                return false;
            }
            inner = self.wait(inner, left.min(LOOK));
        }
        true
    }

    /// Waits until no process of this server runs it.
    pub(crate) fn wait_for_rest(&self, limit: Duration) -> bool {
        self.until(limit, |inner| inner.phase != Phase::Running)
    }

    /// Connects to its process, which may be about to start.
    pub(crate) fn connect(&self, limit: Duration) -> Option<ControlClient> {
        let started = Instant::now();
        loop {
            if let Ok(Some(client)) = ControlClient::connect(&self.home.state()) {
                return Some(client);
            }
            if started.elapsed() >= limit || !self.until(limit, |inner| inner.phase != Phase::Idle)
            {
                return None;
            }
            if !self.runs() && self.lock().spec.wanted != Wanted::Running {
                return None;
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// In one word, for people and programs.
    pub(crate) fn state(&self) -> &'static str {
        let inner = self.lock();
        match (inner.phase, inner.spec.wanted) {
            (Phase::Running, _) if inner.held => "upgrading",
            (Phase::Running, _) if inner.stopping => "stopping",
            (Phase::Running, Wanted::Running) => "running",
            (Phase::Running, _) => "stopping",
            (_, Wanted::Stopped) => "stopped",
            (_, Wanted::Finished) => "finished",
            (_, Wanted::Failed) => "failed",
            (_, Wanted::Running) if inner.held => "upgrading",
            (Phase::Waiting, Wanted::Running) => "waiting",
            (Phase::Pausing(_), Wanted::Running) => "restarting",
            (Phase::Idle, Wanted::Running) => "starting",
        }
    }

    /// What it says of itself, if it runs.
    pub(crate) fn progress(&self) -> Option<Value> {
        if !self.runs() {
            return None;
        }
        let client = ControlClient::connect(&self.home.state()).ok().flatten()?;
        client.status(STATUS_PATIENCE).ok().flatten()
    }

    /// One JSON object.
    pub(crate) fn describe(&self, progress: Option<Value>) -> Value {
        let state = self.state();
        let inner = self.lock();
        json!({
            "id": self.name,
            "state": state,
            "pid": inner.pid,
            "created_micros": inner.spec.created_micros,
            "started_micros": inner.started_micros,
            "restarts": inner.restarts,
            "upgrading": inner.spec.edit.as_ref().is_some_and(|edit| edit.old.is_some()),
            "progress": progress,
            "error": inner.spec.failure,
        })
    }

    /// What earlier edits of its query left inexact, as its newest checkpoint has it.
    pub(crate) fn inexact(&self) -> Vec<InexactPart> {
        inexact_of_job(&self.name, &self.home.state())
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.lock().restarts
    }

    /// The thread of the job: until the server ends or the job is deleted.
    pub(crate) fn supervise(&self, launcher: &Launcher) {
        while self.wait_until_wanted() {
            let span = launcher.telemetry.process();
            match self.spawn(launcher, span) {
                Ok(child) => self.follow(child, &launcher.telemetry, span),
                Err(error) => {
                    let problem = Problem::new(
                        "J0097",
                        Place::named("job", self.name.clone()),
                        format!("its process cannot be started: {error}"),
                        "look at the message, and start the job again: POST /v1/jobs/{id}/start",
                    );
                    self.rest(Wanted::Failed, Some(problem));
                }
            }
        }
    }

    /// Waits for the moment to start a process; false: never again.
    fn wait_until_wanted(&self) -> bool {
        let mut inner = self.lock();
        let mut told = false;
        loop {
            if inner.leaving {
                return false;
            }
            let limit = match inner.phase {
                _ if inner.held || inner.spec.wanted != Wanted::Running => {
                    if inner.phase == Phase::Waiting {
                        inner.phase = Phase::Idle;
                    }
                    Duration::from_secs(3600)
                }
                Phase::Pausing(until) if until > Instant::now() => {
                    until.saturating_duration_since(Instant::now())
                }
                _ if self.home.is_taken() => {
                    inner.phase = Phase::Waiting;
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!(
                            job = self.name,
                            "waiting for an earlier process of the job to end"
                        );
                    }
                    LOOK_AT_LOCK
                }
                _ => {
                    inner.phase = Phase::Running;
                    inner.stopping = false;
                    inner.started_micros = Some(now_micros());
                    return true;
                }
            };
            inner = self.wait(inner, limit);
        }
    }

    fn spawn(&self, launcher: &Launcher, span: Option<ProcessSpan>) -> std::io::Result<Child> {
        match std::fs::remove_file(self.home.end()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let log = || {
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(self.home.log())
        };
        let folder = self.lock().spec.folder.clone();
        let mut command = Command::new(&launcher.program);
        command
            .arg("serve-job")
            .arg(&self.home.0)
            .args(["--log-format", launcher.log_format.name()])
            .current_dir(folder)
            .env_remove("WEIR_TOKEN")
            .env_remove("WEIR_SERVER")
            .envs(
                launcher
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .env(
                "TRACEPARENT",
                span.map_or_else(String::new, |span| span.traceparent()),
            )
            .stdin(Stdio::piped())
            .stdout(log()?)
            .stderr(log()?)
            // A Ctrl-C at the server's terminal is for the server, which stops its jobs itself.
            .process_group(0);
        command.spawn()
    }

    /// Stays with a process until it has ended, and decides what comes then.
    fn follow(&self, mut child: Child, telemetry: &ServerTelemetry, span: Option<ProcessSpan>) {
        let started = Instant::now();
        let mut input = child.stdin.take();
        self.lock().pid = Some(child.id());
        tracing::info!(job = self.name, pid = child.id(), "a process runs the job");
        let mut slow = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => break Some(status),
                Err(error) => {
                    tracing::error!(job = self.name, %error, "its process cannot be waited for");
                    break None;
                }
            }
            let inner = self.lock();
            if inner.stopping {
                // The end of its input is the request.
                input = None;
            }
            drop(self.wait(inner, LOOK));
            if slow.elapsed() >= SLOW_LOOK {
                slow = Instant::now();
                self.look_slowly();
            }
        };
        drop(input);
        let status = status.map_or_else(|| "lost".to_owned(), |status| status.to_string());
        let next = self.after(&status, started);
        let (next, error) = match &next {
            Next::Rest(wanted, problem) => {
                let message = problem.as_ref().map(|problem| problem.message.clone());
                (format!("rest: {wanted:?}").to_lowercase(), message)
            }
            Next::Again(pause) => (
                format!("again after {} s", pause.as_secs_f64()),
                Some(format!("the process ended: {status}")),
            ),
            Next::GoBack(problem) => ("back".to_owned(), Some(problem.message.clone())),
        };
        telemetry.process_ended(span, &self.name, &status, &next, error);
    }

    fn look_slowly(&self) {
        if let Err(error) = turn_log(&self.home.log(), LOG_BYTES_MAX) {
            tracing::warn!(job = self.name, %error, "its log cannot be put aside");
        }
        let edit = self.lock().spec.edit.clone();
        if let Some(edit) = edit
            && came_up(&self.name, &self.home.state(), &edit.savepoint)
        {
            self.settle();
        }
    }

    /// What an edit started has saved something of its own: it is the job from now on.
    fn settle(&self) {
        let mut inner = self.lock();
        let mut spec = inner.spec.clone();
        let upgraded = spec.edit.take().is_some_and(|edit| edit.old.is_some());
        match self.home.write(&spec) {
            Ok(()) => inner.spec = spec,
            // It is tried again.
            Err(error) => {
                tracing::warn!(job = self.name, %error, "cannot note that the edit has come up")
            }
        }
        drop(inner);
        if upgraded {
            tracing::info!(job = self.name, "the upgrade has come up");
        }
        self.changed.notify_all();
    }

    fn after(&self, status: &str, started: Instant) -> Next {
        let spec = self.spec();
        let edit = spec.edit.as_ref();
        let came_up =
            edit.is_some_and(|edit| came_up(&self.name, &self.home.state(), &edit.savepoint));
        let end = self.home.read_end();
        let mut inner = self.lock();
        inner.pid = None;
        if started.elapsed() >= FORGIVEN_AFTER || end.is_some() {
            inner.deaths = 0;
        }
        if end.is_none() {
            inner.deaths += 1;
        }
        let next = decide(&Ended {
            end,
            spec: &inner.spec,
            asked: inner.stopping || inner.held,
            deaths: inner.deaths,
            came_up,
            taken: self.home.is_taken(),
        });
        drop(inner);
        tracing::info!(job = self.name, status, next = ?next, "its process has ended");
        match &next {
            Next::Rest(wanted, problem) => self.rest(*wanted, problem.clone()),
            Next::Again(pause) => {
                let mut inner = self.lock();
                inner.restarts += 1;
                inner.phase = Phase::Pausing(Instant::now() + *pause);
                drop(inner);
                self.changed.notify_all();
            }
            Next::GoBack(problem) => self.go_back(problem.clone()),
        }
        next
    }

    fn rest(&self, wanted: Wanted, problem: Option<Problem>) {
        let mut inner = self.lock();
        let mut spec = inner.spec.clone();
        spec.wanted = wanted;
        spec.failure = problem;
        if wanted == Wanted::Finished {
            spec.edit = None;
        }
        if spec != inner.spec {
            // Another server would start it again, which does no harm: it ends the same way.
            if let Err(error) = self.home.write(&spec) {
                tracing::error!(job = self.name, %error, "cannot note how the job has ended");
            }
            inner.spec = spec;
        }
        inner.phase = Phase::Idle;
        drop(inner);
        self.changed.notify_all();
    }

    /// The text that ran before, from the savepoint: what the new one has done goes.
    fn go_back(&self, problem: Problem) {
        tracing::warn!(
            job = self.name,
            error = problem.message,
            "the upgrade did not come up: back to the text before"
        );
        let mut inner = self.lock();
        let mut spec = inner.spec.clone();
        if let Some(edit) = spec.edit.take()
            && let Some(old) = edit.old
        {
            spec.text = old;
            spec.edit = Some(Edit {
                savepoint: edit.savepoint,
                flags: Default::default(),
                old: None,
            });
        }
        spec.failure = Some(problem);
        match self.home.write(&spec) {
            Ok(()) => {}
            Err(error) => tracing::error!(job = self.name, %error, "cannot note the way back"),
        }
        inner.spec = spec;
        inner.phase = Phase::Idle;
        inner.deaths = 0;
        drop(inner);
        self.changed.notify_all();
    }
}

/// Puts a log that has grown aside. Its writers append, so that they go on at the beginning.
fn turn_log(path: &Path, bytes_max: u64) -> std::io::Result<()> {
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if size > bytes_max {
        std::fs::copy(path, path.with_extension("1"))?;
        OpenOptions::new().write(true).open(path)?.set_len(0)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_has_grown_goes_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        turn_log(&path, 4).unwrap();
        std::fs::write(&path, "12345").unwrap();
        turn_log(&path, 5).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), 5);
        turn_log(&path, 4).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), 0);
        assert_eq!(std::fs::read(path.with_extension("1")).unwrap(), b"12345");
    }
}
