//! `weir stop JOB`: asks a running job to stop with a last checkpoint, and waits until it has.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use weir_engine::{ControlClient, StopOrder, wait_for_end};

use crate::exit::{Code, Failure};
use crate::remote::ServerFlags;
use crate::savepoint::{not_running, order, tell_created};
use crate::target::{job_folder, open};

/// `weir stop`.
#[derive(Args)]
pub(crate) struct StopOptions {
    /// The job.
    pub(crate) job: String,
    /// With a savepoint of its last checkpoint, in this folder or at this URL [default: .weir/JOB/savepoints/NAME].
    #[arg(long, value_name = "FOLDER", num_args = 0..=1)]
    pub(crate) savepoint: Option<Option<PathBuf>>,
    /// As if all input had ended: open windows give their results, and the job is over for good.
    #[arg(long)]
    pub(crate) drain: bool,
    /// The savepoint's name.
    #[arg(long, requires = "savepoint")]
    pub(crate) name: Option<String>,
    /// A note to keep with the savepoint.
    #[arg(long, requires = "savepoint")]
    pub(crate) note: Option<String>,
    /// Where the job's state lives [default: .weir/JOB].
    #[arg(long, value_name = "FOLDER", conflicts_with = "server")]
    pub(crate) state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) fn stop(options: &StopOptions) -> Result<Code, Failure> {
    if options.state_dir.is_none()
        && let Some(client) = options.server.named()?
    {
        return crate::remote::stop(&client, options);
    }
    let folder = job_folder(&options.job, options.state_dir.as_deref());
    let savepoint = options
        .savepoint
        .as_ref()
        .map(|dir| order(dir.as_ref(), options.name.as_ref(), options.note.as_ref()))
        .transpose()?;
    let client = ControlClient::connect(&folder).map_err(|error| Failure::plain(&error))?;
    let client = client.ok_or_else(|| not_running(&options.job, &folder))?;
    let written = client
        .stop(StopOrder {
            savepoint,
            drain: options.drain,
        })
        .map_err(|error| Failure::plain(&error))?;
    wait_for_end(&folder).map_err(|error| Failure::plain(&error))?;
    if let Some(written) = written {
        return tell_created(&open(&written, Some(&folder))?, options.json);
    }
    let how = if options.drain { "drained" } else { "stopped" };
    if options.json {
        println!("{}", json!({"job": options.job, how: true}));
    } else {
        println!("job {} has {how}", options.job);
    }
    Ok(Code::Done)
}
