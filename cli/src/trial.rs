//! `weir try FILE --from SAVEPOINT`: the new query on a copy of the state, printing what its sinks would get.
//!
//! ```text
//!   savepoint ─▶ a copy in a folder of its own ─▶ the new query, its sinks replaced by lines on the screen
//!   the job, its files, its sinks and its positions: nobody touches them
//! ```

use std::path::{Path, PathBuf};

use clap::Args;
use weir_engine::{
    ControlClient, SavepointOrder, TrialOutput, copy_for_trial, on_trial, savepoint_of_checkpoint,
};
use weir_state::Savepoint;

use crate::arguments::RunOptions;
use crate::exit::{Code, Failure};
use crate::query_file::QueryFile;
use crate::run;
use crate::target::{is_url, job_and_checkpoint, job_folder, open, savepoint_folder};

/// `weir try`.
#[derive(Args)]
pub(crate) struct TryOptions {
    #[command(flatten)]
    run: RunOptions,
    /// Rows to print of each sink: of the difference, and of what comes then.
    #[arg(long, value_name = "N", default_value_t = 20)]
    rows: u64,
}

/// Runs the command.
pub(crate) fn trial(options: &TryOptions) -> Result<Code, Failure> {
    let file = QueryFile::read_with(&options.run.file, &options.run.set)?;
    let Some(from) = &options.run.from else {
        return Err(Failure::usage(
            "--from says from which state: a savepoint's folder, JOB/NAME, JOB@N or JOB",
        ));
    };
    let planned = file.plan()?;
    file.warn(&planned.warnings);
    let plain = |error: weir_engine::Error| Failure::plain(&error);
    let output = TrialOutput {
        rows: options.rows,
        json: options.run.json,
    };
    let plan = on_trial(&planned.plan, output).map_err(plain)?;
    let place = Place::make()?;
    let from = from.to_string_lossy();
    let saved = saved(
        &from,
        options.run.state_dir.as_deref(),
        &place.0.join("saved"),
    )?;
    let job = saved.manifest.checkpoint.job.clone();
    let copy = copy_for_trial(&saved, &place.0.join("from"), output).map_err(plain)?;
    eprintln!(
        "note: a trial on a copy of {}: nothing of job `{job}` is touched",
        saved.manifest.name
    );
    run::on_trial(
        &file,
        plan,
        &job,
        &options.run,
        &place.0.join("state"),
        &copy.folder,
        options.rows,
    )
}

/// The savepoint that `text` names, made for the trial if it names a job.
fn saved(text: &str, state_dir: Option<&Path>, folder: &Path) -> Result<Savepoint, Failure> {
    let plain = |error: weir_engine::Error| Failure::plain(&error);
    let there = savepoint_folder(text, state_dir);
    if is_url(text) || Savepoint::is_one(&there) {
        let saved = open(&there, state_dir)?;
        return saved.brought(folder).map_err(|error| plain(error.into()));
    }
    let (job, checkpoint) = job_and_checkpoint(text)?;
    let of_job = job_folder(job, state_dir);
    let order = SavepointOrder {
        folder: Some(folder.to_owned()),
        ..SavepointOrder::default()
    };
    if checkpoint.is_none()
        && let Some(client) = ControlClient::connect(&of_job).map_err(plain)?
    {
        let written = client.savepoint(order).map_err(plain)?;
        return Savepoint::open(&written).map_err(|error| plain(error.into()));
    }
    savepoint_of_checkpoint(job, &of_job, checkpoint, &order).map_err(plain)
}

/// A folder that goes when the trial is over.
struct Place(PathBuf);

impl Place {
    fn make() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("weir-try-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| {
            Failure::failed(format!("cannot make {}: {error}", folder.display()))
        })?;
        Ok(Self(folder))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // It is in the system's folder for such things, whatever becomes of it.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
