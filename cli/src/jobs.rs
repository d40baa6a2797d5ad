//! `weir jobs`: the jobs that have their folders here, and which of them run.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use weir_engine::{ControlClient, SAVEPOINTS, savepoints_in};
use weir_state::StorageSettings;

use crate::exit::{Code, Failure};
use crate::inexact::{InexactPart, inexact_of_job, print_inexact};
use crate::remote::ServerFlags;

/// Where jobs have their folders unless they are told otherwise.
const ROOT: &str = ".weir";

/// `weir jobs`.
#[derive(Args)]
#[command(after_help = "Examples:
  weir jobs
  weir jobs --json | jq -r '.[] | select(.running) | .job'")]
pub(crate) struct JobsOptions {
    /// Folder of the jobs' folders.
    #[arg(long, value_name = "FOLDER", default_value = ROOT, conflicts_with = "server")]
    pub(crate) state_root: PathBuf,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A job's folder.
struct Found {
    job: String,
    file: Option<String>,
    running: bool,
    checkpoint: Option<u64>,
    savepoints: usize,
    /// What earlier edits of its query left inexact.
    inexact: Vec<InexactPart>,
}

/// Runs the command.
pub(crate) fn jobs(options: &JobsOptions) -> Result<Code, Failure> {
    // A folder that was named is meant, whatever the environment says.
    if options.state_root == Path::new(ROOT)
        && let Some(client) = options.server.named()?
    {
        return crate::remote::jobs(&client, options.json);
    }
    let found = list(&options.state_root)?;
    if options.json {
        let values: Vec<_> = found
            .iter()
            .map(|job| {
                json!({
                    "job": job.job,
                    "file": job.file,
                    "running": job.running,
                    "checkpoint": job.checkpoint,
                    "savepoints": job.savepoints,
                    "inexact": job.inexact,
                })
            })
            .collect();
        println!("{}", serde_json::Value::Array(values));
        return Ok(Code::Done);
    }
    if found.is_empty() {
        println!("no job has its folder in {}", options.state_root.display());
        return Ok(Code::Done);
    }
    let width = found
        .iter()
        .map(|job| job.job.chars().count())
        .max()
        .unwrap_or(0)
        .max(3);
    println!("{:width$}  state    checkpoint  savepoints  file", "job");
    for job in &found {
        let pad = " ".repeat(width.saturating_sub(job.job.chars().count()));
        println!(
            "{}{pad}  {:7}  {:>10}  {:>10}  {}",
            job.job,
            if job.running { "running" } else { "stopped" },
            job.checkpoint
                .map_or_else(|| "-".to_owned(), |number| number.to_string()),
            job.savepoints,
            job.file.as_deref().unwrap_or("-"),
        );
    }
    for job in &found {
        print_inexact(&job.job, &job.inexact);
    }
    Ok(Code::Done)
}

fn list(root: &Path) -> Result<Vec<Found>, Failure> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Failure::failed(format!(
                "cannot list {}: {error}",
                root.display()
            )));
        }
    };
    let mut found = Vec::new();
    for entry in entries {
        let folder = entry
            .map_err(|error| Failure::failed(format!("cannot list {}: {error}", root.display())))?
            .path();
        let read = |name: &str| -> Option<serde_json::Value> {
            serde_json::from_slice(&std::fs::read(folder.join(name)).ok()?).ok()
        };
        // Whatever has no owner is no job.
        let Some(owner) = read("owner.json") else {
            continue;
        };
        let Some(job) = owner["job"].as_str() else {
            continue;
        };
        let highest =
            read("counters.json").and_then(|counters| counters["highest_checkpoint"].as_u64());
        found.push(Found {
            job: job.to_owned(),
            file: owner["file"].as_str().map(str::to_owned),
            running: ControlClient::connect(&folder).is_ok_and(|client| client.is_some()),
            checkpoint: highest.filter(|number| *number > 0),
            savepoints: savepoints_in(&folder.join(SAVEPOINTS), &StorageSettings::default())
                .map_or(0, |(found, _)| found.len()),
            inexact: inexact_of_job(job, &folder),
        });
    }
    found.sort_by(|a, b| a.job.cmp(&b.job));
    Ok(found)
}
