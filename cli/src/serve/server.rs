//! The jobs of a server, and what can be asked for: submit, stop, start, savepoint, delete. Upgrades are in `upgrade.rs`.
//!
//! Everything here may block; requests come on threads that may.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_engine::{SAVEPOINTS, SavepointOrder, StopOrder, savepoint_of_checkpoint, savepoints_in};
use weir_state::{Savepoint, StorageSettings};

use super::job::{Job, Launcher};
use super::log::now_micros;
use super::problem::{ApiError, Place, Problem};
use super::requests::{SavepointRequest, StopRequest, SubmitRequest};
use super::store::{JobHome, JobSpec, Text, Wanted, check_name, prepare};
use super::token::Token;

/// A process that is about to start answers within this time, or cannot be asked.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(30);
/// A process that was asked to stop has stopped within this time, or the answer says that it has not.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(600);

/// A server.
pub(crate) struct Server {
    pub(crate) data: PathBuf,
    pub(crate) token: Token,
    pub(crate) launcher: Launcher,
    jobs: Mutex<BTreeMap<String, Arc<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// It ends: nothing new is begun.
    ending: AtomicBool,
    pub(crate) requests: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) started: Instant,
}

impl Server {
    /// Opens the folder and lets every job go on that is wanted.
    pub(crate) fn open(
        data: &Path,
        token: Token,
        launcher: Launcher,
    ) -> std::io::Result<Arc<Self>> {
        let server = Arc::new(Self {
            data: data.to_owned(),
            token,
            launcher,
            jobs: Mutex::default(),
            threads: Mutex::default(),
            ending: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            started: Instant::now(),
        });
        // Deletions that a crash interrupted.
        if server.deleted().exists() {
            std::fs::remove_dir_all(server.deleted())?;
        }
        for entry in std::fs::read_dir(data.join("jobs"))? {
            let home = JobHome(entry?.path());
            match home.read() {
                Ok(spec) => drop(server.adopt(Job::new(home, spec))?),
                // A submission that a crash interrupted has no answer, and no job.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    std::fs::remove_dir_all(&home.0)?;
                }
                Err(error) => {
                    return Err(std::io::Error::other(format!(
                        "{} cannot be read: {error}",
                        home.spec().display()
                    )));
                }
            }
        }
        Ok(server)
    }

    /// Jobs on their way out.
    fn deleted(&self) -> PathBuf {
        self.data.join("deleted")
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a job in and starts its thread.
    fn adopt(&self, job: Arc<Job>) -> std::io::Result<Arc<Job>> {
        let (of_thread, launcher) = (job.clone(), self.launcher.clone());
        let thread = std::thread::Builder::new()
            .name(format!("weir-job-{}", job.name))
            .spawn(move || of_thread.supervise(&launcher))?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        drop(threads);
        self.jobs().insert(job.name.clone(), job.clone());
        Ok(job)
    }

    /// Stops every job with a last checkpoint and waits for it; they are wanted all the same, and another server goes on.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        let jobs: Vec<Arc<Job>> = self.jobs().values().cloned().collect();
        jobs.iter().for_each(|job| job.leave());
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic of one thread is no reason to leave the others alone.
            drop(thread.join());
        }
    }

    /// Whether something new may be begun.
    pub(crate) fn check_open(&self) -> Result<(), ApiError> {
        if !self.ending.load(Ordering::Acquire) {
            return Ok(());
        }
        let place = Place {
            part: "server".to_owned(),
            ..Place::default()
        };
        Err(ApiError::new(
            503,
            Problem::new(
                "J0093",
                place,
                "the server is ending: its jobs are stopping with a last checkpoint",
                "ask again when it has been started again; its jobs go on then",
            ),
        ))
    }

    /// A job by its name.
    pub(crate) fn job(&self, id: &str) -> Result<Arc<Job>, ApiError> {
        self.jobs().get(id).cloned().ok_or_else(|| {
            ApiError::new(
                404,
                Problem::new(
                    "J0089",
                    Place::named("path", id),
                    format!("there is no job `{id}`"),
                    "GET /v1/jobs lists the jobs",
                ),
            )
        })
    }

    /// All jobs, in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<Job>> {
        self.jobs().values().cloned().collect()
    }

    /// Every job with what it says of itself; all are asked at once, so that one that hangs does not hold up the others.
    pub(crate) fn all_with_progress(&self) -> Vec<(Arc<Job>, Option<Value>)> {
        let jobs = self.all();
        std::thread::scope(|scope| {
            let asked: Vec<_> = jobs
                .iter()
                .map(|job| {
                    std::thread::Builder::new()
                        .name("weir-status".to_owned())
                        .spawn_scoped(scope, || job.progress())
                })
                .collect();
            let answers = asked
                .into_iter()
                .map(|thread| thread.ok().and_then(|thread| thread.join().ok()).flatten());
            jobs.iter().cloned().zip(answers).collect()
        })
    }

    /// Takes a new job and starts it.
    pub(crate) fn submit(&self, request: SubmitRequest) -> Result<Value, ApiError> {
        let name = request.job_name()?;
        check_name(&name)?;
        let folder = self.folder(request.folder.as_deref())?;
        let text = Text {
            sql: request.sql,
            settings: request.settings,
            variables: request.variables,
        };
        let home = JobHome(self.data.join("jobs").join(&name));
        let prepared = prepare(&home, &name, &text, &folder)?;
        if let Some(from) = &request.from {
            Savepoint::open(from).map_err(|error| ApiError::engine(&name, &error.into()))?;
        }
        let mut spec = JobSpec::new(&name, text, folder, now_micros());
        spec.from = request.from;
        // Whoever makes the folder has the name.
        match std::fs::create_dir(&home.0) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(ApiError::new(
                    409,
                    Problem::new(
                        "J0087",
                        Place::named("field", "name"),
                        format!("there is a job `{name}` already"),
                        "change it with POST /v1/jobs/{id}/upgrade, delete it, or give this one another name",
                    ),
                ));
            }
            made => made.map_err(|error| io("cannot make the job's folder", &error))?,
        }
        home.write(&spec)
            .map_err(|error| io("cannot keep the job", &error))?;
        let job = self
            .adopt(Job::new(home, spec))
            .map_err(|error| io("cannot start the job's thread", &error))?;
        let mut answer = job.describe(None);
        answer["warnings"] = prepared
            .warnings
            .iter()
            .map(|warning| json!(Problem::of_diagnostic(warning)))
            .collect();
        Ok(answer)
    }

    /// Where relative paths of a job start.
    fn folder(&self, wanted: Option<&Path>) -> Result<PathBuf, ApiError> {
        let Some(folder) = wanted else {
            return Ok(self.data.join("files"));
        };
        if folder.is_absolute() && folder.is_dir() {
            return Ok(folder.to_owned());
        }
        Err(ApiError::malformed(
            Place::named("field", "folder"),
            format!("{} is no folder of the server's machine", folder.display()),
            "name a folder that is there by its absolute path, or leave the field out: relative paths are then below DATA/files",
        ))
    }

    /// Stops a job: with a last checkpoint, on request with a savepoint of it, or as if all input had ended.
    pub(crate) fn stop(&self, job: &Job, request: &StopRequest) -> Result<Value, ApiError> {
        let _one = one_at_a_time(job);
        if job.spec().wanted != Wanted::Running {
            return Err(not_so(job, "is not running"));
        }
        let mut written = None;
        if request.savepoint || request.drain {
            let client = job.connect(START_PATIENCE);
            let client = client.ok_or_else(|| not_so(job, "does not run at the moment"))?;
            keep(job, Wanted::Stopped)?;
            let order = StopOrder {
                savepoint: request.savepoint.then(|| request.order()),
                drain: request.drain,
            };
            let asked = client.stop(order);
            written = asked.map_err(|error| ApiError::engine(&job.name, &error))?;
        } else {
            keep(job, Wanted::Stopped)?;
            job.ask_to_stop();
        }
        if !job.wait_for_rest(STOP_PATIENCE) {
            return Err(not_so(job, "has not stopped yet, though it was asked to"));
        }
        let mut answer = job.describe(None);
        answer["savepoint"] = json!(written);
        Ok(answer)
    }

    /// Lets a job go on that was stopped or has failed.
    pub(crate) fn start(&self, job: &Job) -> Result<Value, ApiError> {
        let _one = one_at_a_time(job);
        match job.spec().wanted {
            Wanted::Running => return Err(not_so(job, "is running already")),
            Wanted::Finished => return Err(not_so(job, "has finished: all its input was read")),
            Wanted::Stopped | Wanted::Failed => {}
        }
        job.change(|spec| {
            spec.wanted = Wanted::Running;
            spec.failure = None;
        })
        .map_err(|error| io("cannot keep what is wanted", &error))?;
        Ok(job.describe(None))
    }

    /// A savepoint: of the job as it runs, or of the newest checkpoint that it left.
    pub(crate) fn savepoint(
        &self,
        job: &Job,
        request: &SavepointRequest,
    ) -> Result<Value, ApiError> {
        let failed = |error: &weir_engine::Error| ApiError::engine(&job.name, error);
        let order = request.order();
        if job.spec().wanted != Wanted::Running {
            let _one = one_at_a_time(job);
            let saved = savepoint_of_checkpoint(&job.name, &job.home.state(), None, &order);
            return Ok(describe_savepoint(&saved.map_err(|error| failed(&error))?));
        }
        let client = job.connect(START_PATIENCE);
        let client = client.ok_or_else(|| not_so(job, "does not run at the moment"))?;
        let written = client.savepoint(order).map_err(|error| failed(&error))?;
        let saved = Savepoint::open(&written).map_err(|error| failed(&error.into()))?;
        Ok(describe_savepoint(&saved))
    }

    /// The savepoints in the job's folder.
    pub(crate) fn savepoints(&self, job: &Job) -> Result<Value, ApiError> {
        let folder = job.home.state().join(SAVEPOINTS);
        let (found, unreadable) = savepoints_in(&folder, &StorageSettings::default())
            .map_err(|error| ApiError::engine(&job.name, &error))?;
        let found: Vec<Value> = found.iter().map(describe_savepoint).collect();
        let unreadable: Vec<String> = unreadable.iter().map(ToString::to_string).collect();
        Ok(json!({"savepoints": found, "unreadable": unreadable}))
    }

    /// Forgets a job that is not running, its state, checkpoints and savepoints. What its sinks wrote stays.
    pub(crate) fn delete(&self, job: &Job) -> Result<Value, ApiError> {
        let _one = one_at_a_time(job);
        if job.spec().wanted == Wanted::Running || job.runs() || job.home.is_taken() {
            return Err(not_so(job, "is running, and has to be stopped first"));
        }
        let aside = self.deleted().join(&job.name);
        let failed = |error: std::io::Error| io("cannot remove the job's folder", &error);
        if aside.exists() {
            std::fs::remove_dir_all(&aside).map_err(failed)?;
        }
        std::fs::create_dir_all(self.deleted()).map_err(failed)?;
        std::fs::rename(&job.home.0, &aside).map_err(failed)?;
        self.jobs().remove(&job.name);
        job.leave();
        std::fs::remove_dir_all(&aside).map_err(failed)?;
        Ok(json!({"deleted": job.name}))
    }
}

/// One stop, start, upgrade or deletion of a job at a time; the others wait.
pub(crate) fn one_at_a_time(job: &Job) -> MutexGuard<'_, ()> {
    job.operation.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(job: &Job, wanted: Wanted) -> Result<(), ApiError> {
    job.change(|spec| spec.wanted = wanted)
        .map_err(|error| io("cannot keep what is wanted", &error))
}

/// A savepoint that somebody wants, by what a request says.
pub(crate) fn order(
    folder: Option<&PathBuf>,
    name: Option<&String>,
    note: Option<&String>,
) -> SavepointOrder {
    SavepointOrder {
        folder: folder.cloned(),
        name: name.cloned(),
        note: note.cloned(),
    }
}

/// The job is not as the request takes it to be.
pub(crate) fn not_so(job: &Job, how: &str) -> ApiError {
    ApiError::new(
        409,
        Problem::new(
            "J0090",
            Place::named("job", job.name.clone()),
            // Its state is only worth a word if it is not what was said already.
            match job.state() {
                state if how.contains(state) => format!("job `{}` {how}", job.name),
                state => format!("job `{}` {how} (it is {state})", job.name),
            },
            "GET /v1/jobs/{id} says how it is; POST /v1/jobs/{id}/stop stops it, and POST /v1/jobs/{id}/start lets it go on",
        ),
    )
}

/// The disk of the server.
pub(crate) fn io(what: &str, error: &std::io::Error) -> ApiError {
    let place = Place {
        part: "server".to_owned(),
        ..Place::default()
    };
    ApiError::new(
        500,
        Problem::new(
            "J0099",
            place,
            format!("{what}: {error}"),
            "look at the disk and the rights of the server's data folder, and ask again",
        ),
    )
}

fn describe_savepoint(savepoint: &Savepoint) -> Value {
    crate::savepoint::summary(savepoint)
}
