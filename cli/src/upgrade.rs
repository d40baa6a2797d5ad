//! `weir upgrade JOB FILE`: judges, asks, has the job write a savepoint, stops it, goes on with the new query; back to the old one
//! if that does not come up.
//!
//! ```text
//!   compare ─▶ accepted? ─▶ asked ─▶ savepoint ─▶ stop ─▶ start on the new query ─▶ checkpoints of its own ─▶ it stays
//!                                   while it runs   │              │ it fails before that
//!                                                   └──────────────┴─▶ start on the old query from where it stopped
//! ```
//!
//! The savepoint is the user's: he may go back to it days later. The job does not wait for it: what the new query starts from,
//! and the old one when it has to come back, is the checkpoint that the job stopped with, whose files are there already.
//!
//! # Invariants
//! 1. Nothing stops before the edit was judged and let through.
//! 2. Until the new query has saved what it read, the checkpoint that the old one stopped with is kept.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use weir_engine::{
    Before, ControlClient, SavepointOrder, StopOrder, check_edit, give_to, owner_of,
    savepoint_of_checkpoint, wait_for_end,
};
use weir_planner::compare::advice;
use weir_planner::plan::StreamPlan;
use weir_state::{Manifest, Savepoint};
use weir_types::CheckpointId;

use crate::arguments::RunOptions;
use crate::diff::{judge, tell_sources};
use crate::exit::{Code, Failure};
use crate::query_file::QueryFile;
use crate::remote::ServerFlags;
use crate::run;
use crate::target::job_folder;

/// `weir upgrade`.
#[derive(Args)]
pub(crate) struct UpgradeOptions {
    /// The job: running, or stopped.
    job: String,
    #[command(flatten)]
    run: RunOptions,
    /// Does not ask.
    #[arg(long, short = 'y')]
    yes: bool,
    /// Writes no savepoint before the job stops: only its checkpoints lead back.
    #[arg(long)]
    no_savepoint: bool,
    #[command(flatten)]
    server: ServerFlags,
}

/// So many checkpoints of an upgraded job are kept, whatever it says: the one that the old query stopped with, that of the
/// change, and the first one of the new query.
const RETAINED: usize = 3;

/// Runs the command.
pub(crate) fn upgrade(options: &UpgradeOptions) -> Result<Code, Failure> {
    let job = options.job.as_str();
    if options.run.state_dir.is_none()
        && let Some(client) = options.server.named()?
    {
        let run = &options.run;
        return crate::remote::upgrade(
            &client,
            job,
            &run.file,
            &run.settings_and_variables(),
            &run.evolution,
            |file| Ok(options.yes || agreed(job, file)?),
        );
    }
    let file = QueryFile::read_with(&options.run.file, &options.run.set)?;
    let mut planned = file.plan()?;
    file.warn(&planned.warnings);
    if let Some(named) = planned
        .plan
        .job_name
        .as_deref()
        .filter(|named| *named != job)
    {
        return Err(Failure::usage(format!(
            "{} names its job `{named}`, not `{job}`: SET 'job.name' = '{job}' in it, or upgrade `{named}`",
            file.shown
        )));
    }
    if options.run.from.is_some() || options.run.fresh {
        return Err(Failure::usage(
            "an upgrade goes on from the job's own state: --from and --fresh are for `weir run`",
        ));
    }
    planned.plan.job_name = Some(job.to_owned());
    run::apply_settings(&mut planned.plan, options.run.settings())?;
    let folder = job_folder(job, options.run.state_dir.as_deref());
    let plain = |error: weir_engine::Error| Failure::plain(&error);

    let before = Before::of_job(job, &folder, None).map_err(plain)?;
    let report = judge(
        &before.plan,
        &planned.plan,
        &before.past,
        &options.run.evolution,
    )?;
    eprint!("{}", advice(&report));
    tell_sources(&planned.plan, &report, &before)?;
    let mut job_options = run::job_options(&file, &planned.plan, job, &options.run)?;
    job_options.evolution.upgrade = true;
    check_edit(job, &planned.plan, &job_options, &before.manifest).map_err(plain)?;
    if !options.yes && !agreed(job, &file.shown)? {
        return Ok(Code::Done);
    }

    if !options.no_savepoint {
        let saved = save(job, &folder)?;
        eprintln!(
            "upgrade: savepoint {} leads back to the query as it was",
            saved.display()
        );
    }
    let stopped_with = stopped(job, &folder)?;
    eprintln!(
        "upgrade: job `{job}` has stopped with checkpoint {}; going on with {}",
        stopped_with.checkpoint, file.shown
    );
    let owner = owner_of(&folder);
    give_to(&folder, job, &file.path).map_err(plain)?;
    job_options.checkpoints_retained = job_options.checkpoints_retained.max(RETAINED);
    let plan = planned.plan;
    let failure = match run::follow(&file, plan, job, job_options, &options.run, None) {
        Ok(code) => return Ok(code),
        Err(failure) => failure,
    };
    if came_up(job, &folder, &stopped_with) {
        return Err(failure);
    }
    failure.report();
    roll_back(job, &folder, &stopped_with, owner.as_deref(), options)
}

/// Asks whoever sits in front of the screen.
fn agreed(job: &str, file: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::refused(
            "[E0046] nobody can be asked here: --yes carries the upgrade out",
        ));
    }
    eprint!("Stop job `{job}` with a savepoint and go on with {file}? [y/N] ");
    drop(std::io::stderr().flush());
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::failed(format!("cannot read the answer: {error}")))?;
    let yes = matches!(line.trim(), "y" | "Y" | "yes");
    if !yes {
        eprintln!("nothing has changed");
    }
    Ok(yes)
}

pub(crate) fn order() -> SavepointOrder {
    SavepointOrder {
        note: Some("before an upgrade".to_owned()),
        ..SavepointOrder::default()
    }
}

/// Has the job write a savepoint, which goes on meanwhile; of a job that does not run, makes one of its newest checkpoint.
fn save(job: &str, folder: &Path) -> Result<PathBuf, Failure> {
    let plain = |error: weir_engine::Error| Failure::plain(&error);
    match ControlClient::connect(folder).map_err(plain)? {
        Some(client) => client.savepoint(order()).map_err(plain),
        None => {
            let newest = Before::of_job(job, folder, None).map_err(plain)?.manifest;
            Ok(saved_of(job, folder, newest.checkpoint)?.folder)
        }
    }
}

/// A savepoint of a checkpoint of a job that does not run. One may be there, of an upgrade that failed: that is as good.
pub(crate) fn saved_of(
    job: &str,
    folder: &Path,
    checkpoint: CheckpointId,
) -> Result<Savepoint, Failure> {
    let there = folder
        .join(weir_engine::SAVEPOINTS)
        .join(format!("savepoint-{checkpoint}"));
    if let Ok(saved) = Savepoint::open(&there)
        && saved.verify(&folder.join("scratch-verify")).is_ok()
    {
        return Ok(saved);
    }
    savepoint_of_checkpoint(job, folder, Some(checkpoint), &order())
        .map_err(|error| Failure::plain(&error))
}

/// Stops the job, if it runs; the checkpoint that it stopped with.
fn stopped(job: &str, folder: &Path) -> Result<Manifest, Failure> {
    let plain = |error: weir_engine::Error| Failure::plain(&error);
    if let Some(client) = ControlClient::connect(folder).map_err(plain)? {
        client.stop(StopOrder::default()).map_err(plain)?;
        wait_for_end(folder).map_err(plain)?;
    }
    Ok(Before::of_job(job, folder, None).map_err(plain)?.manifest)
}

/// Whether the new query has saved something that it read itself, or goes on without anything to read.
pub(crate) fn came_up(job: &str, folder: &Path, old: &Manifest) -> bool {
    Before::of_job(job, folder, None).is_ok_and(|newest| {
        let newer = newest
            .manifest
            .checkpoint
            .0
            .saturating_sub(old.checkpoint.0);
        newer > 0 && (newest.manifest.sources != old.sources || newer >= RETAINED as u64 - 1)
    })
}

/// The old query again, from where it stopped: what the new one has done goes.
fn roll_back(
    job: &str,
    folder: &Path,
    stopped_with: &Manifest,
    owner: Option<&Path>,
    options: &UpgradeOptions,
) -> Result<Code, Failure> {
    eprintln!("upgrade: it did not come up; job `{job}` goes back to the query that it ran before");
    let plain = |error: weir_engine::Error| Failure::plain(&error);
    let saved = saved_of(job, folder, stopped_with.checkpoint)?;
    let sql = stopped_with.sql.clone();
    let path = owner.unwrap_or(&options.run.file).to_owned();
    give_to(folder, job, &path).map_err(plain)?;
    let old = QueryFile {
        shown: format!("the query of job `{job}`"),
        path,
        source: sql.clone(),
        sql,
    };
    let plan: StreamPlan = serde_json::from_value(stopped_with.plan.clone())
        .map_err(|error| Failure::failed(format!("cannot read the old plan: {error}")))?;
    let mut job_options = run::job_options(&old, &plan, job, &options.run)?;
    job_options.evolution = weir_engine::EvolutionOptions::default();
    job_options.restore_from = Some(saved.folder);
    run::follow(&old, plan, job, job_options, &options.run, None)?;
    Err(Failure::failed(format!(
        "the upgrade of job `{job}` failed, and the query that ran before was run again"
    )))
}
