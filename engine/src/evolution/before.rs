//! What a checkpoint or a savepoint says of the job that took it: the query that ran, and how far it was.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;
use weir_planner::compare::Past;
use weir_planner::plan::StreamPlan;
use weir_state::{CheckpointStore, Manifest, Savepoint};
use weir_types::{CheckpointId, OperatorId};

use super::past_of;
use crate::source::SourceCheckpoint;
use crate::{Error, Result};

/// The query of a checkpoint, and what an edit of it is judged by.
#[derive(Clone, Debug)]
pub struct Before {
    /// The plan that ran.
    pub plan: StreamPlan,
    /// Marks, watermarks, times and counts.
    pub past: Past,
    /// The job.
    pub job: String,
    /// The checkpoint.
    pub manifest: Manifest,
}

impl Before {
    /// Of a checkpoint.
    ///
    /// # Errors
    /// When its manifest cannot be read by this release.
    pub fn of_checkpoint(manifest: &Manifest) -> Result<Self> {
        let plan: StreamPlan = parsed("plan", manifest, &manifest.plan)?;
        Ok(Self {
            past: past(&plan, manifest)?,
            plan,
            job: manifest.job.clone(),
            manifest: manifest.clone(),
        })
    }

    /// Of a job: its newest checkpoint, or the one of that number. The job may be running: only manifests are read.
    ///
    /// # Errors
    /// E0044 if there is none.
    pub fn of_job(job: &str, state_dir: &Path, checkpoint: Option<CheckpointId>) -> Result<Self> {
        let none = |what: &str| {
            Error::Job(format!(
                "[E0044] {what} in {}: name a savepoint's folder, a job, or a checkpoint of one as JOB@N; --state-dir says where \
                 a job's state is",
                state_dir.display()
            ))
        };
        if !state_dir.join("owner.json").is_file() {
            return Err(none(&format!("there is no job `{job}`")));
        }
        let storage = crate::job::noted_storage(state_dir, job)?;
        if storage.is_memory() {
            return Err(none(&format!(
                "the checkpoints of job `{job}` are in the memory of its process alone"
            )));
        }
        let store = CheckpointStore::open(storage)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| Error::Job(format!("cannot read the checkpoints: {error}")))?;
        // A job that runs removes old ones: another look finds those that came since.
        for _ in 0..3 {
            let number = match checkpoint {
                Some(number) => number,
                None => *runtime
                    .block_on(store.list())?
                    .last()
                    .ok_or_else(|| none(&format!("job `{job}` has no checkpoint yet")))?,
            };
            if let Ok(manifest) = runtime.block_on(store.load(number)) {
                return Self::of_checkpoint(&manifest);
            }
        }
        let number = checkpoint.map_or_else(String::new, |number| format!(" {number}"));
        Err(none(&format!(
            "checkpoint{number} of job `{job}` cannot be read"
        )))
    }

    /// Of a savepoint, which also counts the rows of each table.
    ///
    /// # Errors
    /// When its manifest cannot be read by this release.
    pub fn of_savepoint(savepoint: &Savepoint) -> Result<Self> {
        let mut before = Self::of_checkpoint(&savepoint.manifest.checkpoint)?;
        for table in &savepoint.manifest.tables {
            let entries = before.past.entries.entry(table.spec.operator.clone());
            *entries.or_default() += table.rows;
        }
        Ok(before)
    }
}

/// What an edit is judged by, with how much was read.
fn past(plan: &StreamPlan, manifest: &Manifest) -> Result<Past> {
    let sources: SourceCheckpoint = parsed("positions", manifest, &manifest.sources)?;
    let mut past = past_of(manifest, plan)?;
    for (source, splits) in sources {
        let records = splits.values().map(|split| split.records).sum();
        past.records.insert(OperatorId::new(source), records);
    }
    Ok(past)
}

fn parsed<T: DeserializeOwned>(what: &str, manifest: &Manifest, value: &Value) -> Result<T> {
    serde_json::from_value(value.clone()).map_err(|error| {
        Error::Job(format!(
            "[E0043] the {what} in checkpoint {} of job `{}` cannot be read by this release: {error}. Judge the edit with the \
             release that wrote it, or compare two query files",
            manifest.checkpoint, manifest.job
        ))
    })
}
