//! `weir run FILE`: plans, starts, follows, and says how it ended.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use weir_engine::{
    Accept, ConnectorCatalog, ControlServer, JobControl, JobHandle, JobOptions, JobSummary,
    Progress, ReplayWatch, run_job_command,
};
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_planner::{Catalog, JobCommand};
use weir_types::Diagnostics;

use crate::arguments::RunOptions;
use crate::defaults::Defaults;
use crate::exit::{Code, Failure};
use crate::print::{PrintOptions, Printer, is_closed_pipe};
use crate::progress::{Reporter, StatusLine};
use crate::query_file::QueryFile;
use crate::savepoint::tell_created;
use crate::signals::StopRequest;
use crate::summary;
use crate::target::{job_folder, open};
use crate::telemetry::JobTelemetry;

/// Runs a file to its end, or until somebody stops it.
pub(crate) fn run(options: &RunOptions) -> Result<Code, Failure> {
    let file = QueryFile::read_with(&options.file, &options.set)?;
    let commands = weir_planner::job_commands(&file.sql);
    if let Some(commands) = commands.map_err(|errors| Failure::sql(&file, &errors))? {
        return speak(&commands, options.state_dir.as_deref());
    }
    let mut planned = file.plan()?;
    file.warn(&planned.warnings);
    for text in &planned.explains {
        println!("{}", text.trim_end());
    }
    if planned.plan.operators.is_empty() {
        if planned.explains.is_empty() {
            return Err(Failure::usage(format!(
                "{} has neither an INSERT nor a SELECT: there is nothing to run",
                file.shown
            )));
        }
        return Ok(Code::Done);
    }
    let defaults = Defaults::read()?;
    defaults.complete(&mut planned.plan);
    let settings = defaults.environment.into_iter().chain(options.settings());
    apply_settings(&mut planned.plan, settings.collect())?;
    let job = planned.plan.job_name.clone().unwrap_or_else(|| file.stem());
    let job_options = job_options(&file, &planned.plan, &job, options)?;
    follow(&file, planned.plan, &job, job_options, options, None)
}

/// Runs a query on a copy of a job's state, until so many rows of its sinks were seen or its input has ended.
pub(crate) fn on_trial(
    file: &QueryFile,
    mut plan: StreamPlan,
    job: &str,
    options: &RunOptions,
    state_dir: &Path,
    from: &Path,
    rows: u64,
) -> Result<Code, Failure> {
    apply_settings(&mut plan, options.settings())?;
    let mut job_options = job_options(file, &plan, job, options)?;
    job_options.state_dir = Some(state_dir.to_owned());
    job_options.restore_from = Some(from.to_owned());
    job_options.savepoint = None;
    job_options.fresh = false;
    // It is to be seen, whatever it does to state.
    job_options.evolution.upgrade = true;
    job_options.evolution.allow_dropped_state = true;
    job_options.evolution.accept = Accept::All;
    let sinks = plan.operators.iter();
    let sinks = sinks.filter(|operator| matches!(operator.kind, OperatorKind::Sink { .. }));
    let rows = rows.saturating_mul(sinks.count() as u64);
    follow(file, plan, job, job_options, options, Some(rows))
}

/// A file of STOP JOB and SAVEPOINT JOB: running jobs are asked, one after the other.
fn speak(commands: &[JobCommand], state_dir: Option<&Path>) -> Result<Code, Failure> {
    for command in commands {
        let folder = job_folder(command.job(), state_dir);
        let done = run_job_command(command, &folder).map_err(|error| Failure::plain(&error))?;
        if let Some(written) = done.savepoint {
            tell_created(&open(&written, Some(&folder))?, false)?;
        }
        if done.stopped {
            println!("job {} has stopped", command.job());
        }
    }
    Ok(Code::Done)
}

/// Starts the job and stays with it. `rows`: it is stopped when so many were written.
pub(crate) fn follow(
    file: &QueryFile,
    plan: StreamPlan,
    job: &str,
    mut job_options: JobOptions,
    options: &RunOptions,
    rows: Option<u64>,
) -> Result<Code, Failure> {
    let status = Arc::new(StatusLine::new(options.shows_progress()));
    let print = PrintOptions {
        format: options.format(),
        changelog: options.changelog,
        bounded: is_bounded(&plan),
        live: false,
    };
    let printer = Printer::new(&plan, print, Arc::clone(&status)).map_err(Failure::failed)?;
    let printer = Arc::new(Mutex::new(printer));
    let stop = StopRequest::listen()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;

    // A trial is not the job.
    let telemetry = match rows {
        Some(_) => None,
        None => telemetry(options, job, &status)?,
    };
    if let Some(telemetry) = &telemetry {
        job_options.listener = telemetry.listener();
    }
    job_options.evolution.watch = watch_replay(&stop, options.shows_progress());
    let (control, state_dir) = (job_options.control.clone(), job_options.state_dir.clone());
    let handle = JobHandle::start(
        job,
        &file.source,
        plan,
        job_options,
        Printer::handler(&printer),
    );
    let handle = match handle {
        Ok(handle) => handle,
        Err(error) => {
            let failure = Failure::engine(file, &error);
            tell_the_end(telemetry, &Err(error));
            return Err(failure);
        }
    };
    if let Some(telemetry) = &telemetry {
        telemetry.follow(&handle);
    }
    // Listening comes after the lock: whoever had the socket before is gone.
    let server = state_dir.and_then(|folder| listen(&folder, control));
    // Counts go on after a resume; the rate is that of this start.
    let rows_before = handle.progress().rows_in;
    let mut reporter = Reporter::new(
        job,
        &status,
        options.shows_progress(),
        rows_before,
        Instant::now(),
    );
    watch(&handle, &mut reporter, &stop, &status, rows);
    let ended = handle.wait();
    drop(server);
    status.clear();

    let mut printer = printer.lock().unwrap_or_else(PoisonError::into_inner);
    let code = match &ended {
        Ok(summary) => {
            if !options.json {
                reporter.show_warnings(&summary.progress.warnings);
            }
            finish(&mut printer, job, summary, rows_before, options.json)
        }
        Err(error) => {
            printer.abandon();
            Err(Failure::engine(file, error))
        }
    };
    // Last: whoever waits for the results does not wait for a collector.
    tell_the_end(telemetry, &ended);
    code
}

/// Begins to tell a collector, if there is one.
fn telemetry(
    options: &RunOptions,
    job: &str,
    status: &Arc<StatusLine>,
) -> Result<Option<JobTelemetry>, Failure> {
    let Some(settings) = options.telemetry.resolve()? else {
        return Ok(None);
    };
    let status = status.clone();
    let for_program = options.json;
    let complain = Box::new(move |what: &str| match for_program {
        // The summary is the last line of standard error.
        true => tracing::warn!("{what}"),
        false => status.note(what),
    });
    JobTelemetry::begin(settings, job, complain)
        .map(Some)
        .map_err(|error| Failure::failed(format!("cannot start telemetry: {error}")))
}

fn tell_the_end(telemetry: Option<JobTelemetry>, ended: &Result<JobSummary, weir_engine::Error>) {
    if let Some(telemetry) = telemetry {
        telemetry.finish(ended);
    }
}

/// Says how far a replay is, now and then; Ctrl-C gives it up.
fn watch_replay(stop: &StopRequest, shown: bool) -> ReplayWatch {
    let stop = stop.clone();
    let last = Mutex::new(Instant::now());
    ReplayWatch(Some(Arc::new(move |progress: &Progress| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if shown && last.elapsed() >= REPLAY_INTERVAL {
            *last = Instant::now();
            eprintln!(
                "replay: {} read again",
                crate::text::counted(progress.rows_in, "record", "records")
            );
        }
        !stop.asked()
    })))
}

/// Between two words on a replay.
const REPLAY_INTERVAL: Duration = Duration::from_secs(2);

/// Listens for `weir savepoint`, `weir stop` and `weir state`. A job that cannot be asked runs all the same.
fn listen(folder: &Path, control: JobControl) -> Option<ControlServer> {
    match ControlServer::start(folder, control) {
        Ok(server) => Some(server),
        Err(error) => {
            eprintln!("warning: the job runs, but cannot be asked for savepoints: {error}");
            None
        }
    }
}

/// Prints what is still to print, and the summary.
fn finish(
    printer: &mut Printer,
    job: &str,
    summary: &JobSummary,
    rows_before: u64,
    as_json: bool,
) -> Result<Code, Failure> {
    match printer.finish() {
        // Whoever read the results has seen enough; that is a stop like any other.
        Err(error) if is_closed_pipe(&error) => return Ok(Code::Done),
        Err(error) => {
            return Err(Failure::failed(format!(
                "cannot print the results: {error}"
            )));
        }
        Ok(()) => {}
    }
    if as_json {
        eprintln!("{}", summary::json(job, summary));
        return Ok(Code::Done);
    }
    if !printer.is_idle() && summary.resumed_from.is_some() {
        eprintln!("note: rows that were printed before the checkpoint are not printed again");
    }
    if !printer.is_idle() {
        // A gap between the results and the words about them.
        eprintln!();
    }
    eprint!("{}", summary::describe(job, summary, rows_before));
    Ok(Code::Done)
}

/// Shows progress and passes a stop on, until the job has ended.
fn watch(
    handle: &JobHandle,
    reporter: &mut Reporter<'_>,
    stop: &StopRequest,
    status: &StatusLine,
    rows: Option<u64>,
) {
    let mut stopping = false;
    let before = handle.progress().rows_out;
    while !handle.is_finished() {
        let written = || handle.progress().rows_out.saturating_sub(before);
        if !stopping && rows.is_some_and(|rows| written() >= rows) {
            stopping = true;
            handle.stop();
        }
        if stop.asked() && !stopping {
            stopping = true;
            status.clear();
            eprintln!("stopping: taking a last checkpoint (again to stop at once, without one)");
            handle.stop();
        }
        reporter.show(&handle.progress(), stopping, Instant::now());
        let shown = Instant::now();
        while !handle.is_finished()
            && (stopping || !stop.asked())
            && shown.elapsed() < REDRAW_INTERVAL
        {
            std::thread::park_timeout(POLL_INTERVAL);
        }
    }
}

/// Between two looks of the status line.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);
/// Between two looks whether something happened: what a short job may lose at its end.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Settings of flags go where those of `SET` are, after the same check.
pub(crate) fn apply_settings(
    plan: &mut StreamPlan,
    settings: Vec<(String, String)>,
) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for (key, value) in settings {
        if let Err(problem) = weir_planner::settings::check(&key, &value) {
            problems.push(problem.without_place());
        }
        if key == "job.name" {
            plan.job_name = Some(value.clone());
        }
        plan.settings.insert(key, value);
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::flags(&Diagnostics(problems)))
    }
}

pub(crate) fn job_options(
    file: &QueryFile,
    plan: &StreamPlan,
    job: &str,
    options: &RunOptions,
) -> Result<JobOptions, Failure> {
    let mut job_options =
        JobOptions::resolve(plan, job).map_err(|error| Failure::engine(file, &error))?;
    job_options.file = Some(file.path.clone());
    job_options.base = std::env::current_dir()
        .map_err(|error| Failure::failed(format!("no current folder: {error}")))?;
    job_options.fresh = options.fresh;
    job_options.replace_output = options.replace_output;
    job_options.evolution = options.evolution.options();
    job_options.stop_after.clone_from(&options.stop_after);
    job_options.savepoint.clone_from(&options.savepoint);
    job_options.restore_from = options.from.as_ref().map(|from| {
        let text = from.to_string_lossy();
        crate::target::savepoint_folder(&text, job_options.state_dir.as_deref())
    });
    known_tables(plan, &job_options.stop_after)?;
    Ok(job_options)
}

/// `--stop-after TABLE=…` must name a source of the job, or it would never stop.
fn known_tables(plan: &StreamPlan, stop_after: &[(Option<String>, u64)]) -> Result<(), Failure> {
    let sources: Vec<&str> = sources(plan).map(|(table, _)| table).collect();
    for table in stop_after.iter().filter_map(|(table, _)| table.as_deref()) {
        if !sources.contains(&table) {
            let known = sources.join(", ");
            return Err(Failure::usage(format!(
                "--stop-after: no source `{table}` in this job; it reads {known}"
            )));
        }
    }
    Ok(())
}

/// The tables that a job reads, with their options.
fn sources(plan: &StreamPlan) -> impl Iterator<Item = (&str, &BTreeMap<String, String>)> {
    plan.operators
        .iter()
        .filter_map(|operator| match &operator.kind {
            OperatorKind::Source { table, .. } => plan
                .tables
                .get(table)
                .map(|definition| (table.as_str(), &definition.options)),
            _ => None,
        })
}

/// Whether every source ends by itself.
fn is_bounded(plan: &StreamPlan) -> bool {
    let catalog = ConnectorCatalog;
    sources(plan).all(|(_, options)| catalog.source_traits(options).bounded)
}
