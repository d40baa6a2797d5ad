//! The process of one job of a server: runs it to its end and leaves a last word.
//!
//! ```text
//!   server ──spawns──▶ weir serve-job DATA/jobs/NAME
//!      │  standard input: a pipe that nobody writes to; its end, also by the server's death, is a stop with a last checkpoint
//!      │  state/control/socket: savepoints, a drain, the status
//!      ◀── exit, and end.json
//! ```
//!
//! What is to run stands in `job.json`, not in arguments, which everybody on the machine sees.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use weir_engine::{
    Before, ControlServer, JobHandle, JobMetrics, JobOptions, JobSummary, Outcome, OutputHandler,
};
use weir_planner::plan::StreamPlan;
use weir_types::Watermark;

use super::log::LogFormat;
use super::problem::ApiError;
use super::store::{End, JobHome, JobSpec, came_up, prepare, write_json};
use crate::exit::{Code, Failure, STOPPED_AT_ONCE};
use crate::query_file::QueryFile;
use crate::signals::StopRequest;
use crate::telemetry::{JobTelemetry, TelemetryOptions};

/// `weir serve-job`: for the server alone.
#[derive(Args)]
pub(crate) struct ServeJobOptions {
    /// The job's folder.
    pub(crate) folder: PathBuf,
    /// How logs are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// Between two looks at a running job.
const LOOK: Duration = Duration::from_millis(20);

/// The last checkpoint of a stop comes within this time, or is given up.
const LAST_CHECKPOINT: Duration = Duration::from_secs(600);

/// Runs the command.
pub(crate) fn run(options: &ServeJobOptions) -> Result<Code, Failure> {
    let home = JobHome(options.folder.clone());
    let spec = home.read().map_err(|error| {
        Failure::failed(format!("cannot read {}: {error}", home.spec().display()))
    })?;
    let stop = StopRequest::listen()
        .and_then(|stop| stop.listen_to_input().map(|()| stop))
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let (end, code) = match work(&home, &spec, &stop) {
        Ok(summary) => (told(&spec.name, &summary), Code::Done),
        Err(error) => {
            // The first one is what the job failed for; the others stand in the log.
            for problem in &error.problems {
                tracing::error!(
                    job = spec.name,
                    code = problem.code,
                    "{}",
                    rendered(problem, &spec)
                );
            }
            let problem = error.problems.into_iter().next();
            let problem = problem.ok_or_else(|| Failure::failed("an error without a problem"))?;
            (End::Failed { problem }, Code::Failed)
        }
    };
    write_json(&home.end(), &end).map_err(|error| {
        Failure::failed(format!("cannot write {}: {error}", home.end().display()))
    })?;
    Ok(code)
}

fn rendered(problem: &super::problem::Problem, spec: &JobSpec) -> String {
    let shown = format!("{}.sql", spec.name);
    problem
        .to_diagnostic()
        .render(&shown, &spec.text.sql)
        .trim_end()
        .to_owned()
}

fn told(job: &str, summary: &JobSummary) -> End {
    let progress = &summary.progress;
    tracing::info!(
        job,
        outcome = ?summary.outcome,
        rows_in = progress.rows_in,
        rows_out = progress.rows_out,
        checkpoints = summary.checkpoints,
        "the job has ended"
    );
    match summary.outcome {
        Outcome::Stopped => End::Stopped,
        Outcome::Drained | Outcome::AlreadyDrained => End::Finished,
    }
}

fn work(home: &JobHome, spec: &JobSpec, stop: &StopRequest) -> Result<JobSummary, ApiError> {
    let prepared = prepare(home, &spec.name, &spec.text, &spec.folder)?;
    let mut options = prepared.options;
    if let Some(edit) = &spec.edit {
        options.evolution = edit.flags.evolution()?.options();
        if came_up(&spec.name, &home.state(), &edit.savepoint) {
            tracing::info!(
                job = spec.name,
                "the edit has come up before: going on from its newest checkpoint"
            );
        } else {
            options.restore_from = Some(edit.savepoint.clone());
        }
    } else if let Some(from) = &spec.from
        && Before::of_job(&spec.name, &home.state(), None).is_err()
    {
        options.restore_from = Some(from.clone());
    }
    let telemetry = telemetry(&spec.name);
    if let Some(telemetry) = &telemetry {
        options.listener = telemetry.listener();
    }
    let ended = run_job(
        home,
        spec,
        stop,
        prepared.file,
        prepared.plan,
        options,
        &telemetry,
    );
    if let Some(telemetry) = telemetry {
        telemetry.finish(&ended);
    }
    ended.map_err(|error| ApiError::engine(&spec.name, &error))
}

/// A collector, if the server's environment names one. The server has looked at what it says.
fn telemetry(job: &str) -> Option<JobTelemetry> {
    let settings = match TelemetryOptions::default().resolve() {
        Ok(settings) => settings?,
        Err(failure) => {
            tracing::warn!(job, ?failure, "there is no telemetry");
            return None;
        }
    };
    let complain = Box::new(|what: &str| tracing::warn!("{what}"));
    JobTelemetry::begin(settings, job, complain)
        .inspect_err(|error| tracing::warn!(job, %error, "there is no telemetry"))
        .ok()
}

/// From the start of the job to its end.
fn run_job(
    home: &JobHome,
    spec: &JobSpec,
    stop: &StopRequest,
    file: QueryFile,
    plan: StreamPlan,
    options: JobOptions,
    telemetry: &Option<JobTelemetry>,
) -> Result<JobSummary, weir_engine::Error> {
    let control = options.control.clone();
    // A plan with something to print was refused when it was submitted.
    let nobody: OutputHandler = Arc::new(|_| std::ops::ControlFlow::Continue(()));
    let handle = JobHandle::start(&spec.name, &file.source, plan, options, nobody)?;
    if let Some(telemetry) = telemetry {
        telemetry.follow(&handle);
    }
    tracing::info!(job = spec.name, "the job runs");
    let seen = Arc::new(Mutex::new(status_of(&handle.metrics())));
    let report = {
        let seen = seen.clone();
        move || seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    };
    // Listening comes after the lock: whoever had the socket before is gone.
    let server = ControlServer::start_with(&home.state(), control, Some(Arc::new(report)))?;
    let mut stopping: Option<Instant> = None;
    while !handle.is_finished() {
        // Nobody may be there any more to end it; its newest checkpoint is as good.
        if stopping.is_some_and(|since| since.elapsed() > LAST_CHECKPOINT) {
            tracing::error!(
                job = spec.name,
                "the last checkpoint does not come: ending without it"
            );
            std::process::exit(STOPPED_AT_ONCE);
        }
        if stop.asked() && stopping.is_none() {
            stopping = Some(Instant::now());
            tracing::info!(job = spec.name, "stopping with a last checkpoint");
            handle.stop();
        }
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = status_of(&handle.metrics());
        std::thread::park_timeout(LOOK);
    }
    let ended = handle.wait();
    drop(server);
    ended
}

/// What a job says of itself.
fn status_of(metrics: &JobMetrics) -> Value {
    let progress = &metrics.progress;
    let watermark = match progress.watermark {
        None | Some(Watermark::MIN) => None,
        Some(watermark) => Some(watermark),
    };
    json!({
        "rows_in": progress.rows_in,
        "rows_out": progress.rows_out,
        "bytes_done": progress.bytes_done,
        "bytes_total": progress.bytes_total,
        // The end of all input has no time.
        "watermark_micros": watermark.filter(|at| *at != Watermark::MAX).map(|at| at.0),
        "input_ended": watermark == Some(Watermark::MAX),
        "last_checkpoint": progress.last_checkpoint.map(|checkpoint| checkpoint.0),
        "late_rows": progress.late_rows,
        "rejected_rows": progress.rejected_rows,
        "failed_rows": progress.failed_rows,
        "state_memory_bytes": progress.state.memory_bytes,
        "state_memory_bytes_peak": progress.state.memory_bytes_peak,
        "state_memory_bytes_budget": progress.state.memory_bytes_budget,
        "state_entries_spilled": progress.state.entries_spilled,
        "state_entries_reloaded": progress.state.entries_reloaded,
        "warnings": progress.warnings,
        "operators": metrics.operators,
    })
}
