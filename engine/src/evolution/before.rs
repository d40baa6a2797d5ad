//! What a checkpoint or a savepoint says of the job that took it: the query that ran, and how far it was.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;
use weir_planner::compare::Past;
use weir_planner::plan::{BinaryOp, Expr, ExprKind, OperatorKind, StreamPlan};
use weir_state::{CheckpointStore, Manifest, Savepoint};
use weir_types::{CheckpointId, EventTime, Scalar, Watermark};

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
        let store = CheckpointStore::local(state_dir.join("checkpoints"))?;
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

fn past(plan: &StreamPlan, manifest: &Manifest) -> Result<Past> {
    let watermarks: BTreeMap<String, Vec<Watermark>> =
        parsed("watermarks", manifest, &manifest.watermarks)?;
    let sources: SourceCheckpoint = parsed("positions", manifest, &manifest.sources)?;
    let mut past = Past::default();
    for operator in &plan.operators {
        let inputs = watermarks.get(operator.id.as_str());
        if let Some(least) = inputs.and_then(|inputs| inputs.iter().min()) {
            past.watermarks
                .insert(operator.id.clone(), EventTime(least.0));
        }
        let Some(splits) = sources.get(operator.id.as_str()) else {
            continue;
        };
        let records = splits.values().map(|split| split.records).sum();
        past.records.insert(operator.id.clone(), records);
        let least = splits.values().map(|split| split.watermark).min();
        past.watermarks
            .extend(least.map(|least| (operator.id.clone(), EventTime(least))));
        let greatest = splits.values().map(|split| split.watermark).max();
        if let (Some(greatest), Some(delay)) = (greatest, delay(plan, &operator.kind)) {
            let time = match greatest {
                i64::MIN => greatest,
                watermark => watermark.saturating_add(delay),
            };
            past.greatest_times
                .insert(operator.id.clone(), EventTime(time));
        }
    }
    Ok(past)
}

/// How far the watermark of a source is behind its event time, in microseconds; `None` if its declaration is another kind
/// of expression, so that a watermark says nothing of the times that it is made of.
fn delay(plan: &StreamPlan, source: &OperatorKind) -> Option<i64> {
    let OperatorKind::Source { table, .. } = source else {
        return None;
    };
    let declared = plan.tables.get(table)?.watermark.as_ref()?;
    let is_time = |expr: &Expr| expr.kind == ExprKind::Column(declared.column);
    match &declared.expr.kind {
        ExprKind::Column(column) if *column == declared.column => Some(0),
        ExprKind::Binary {
            op: BinaryOp::Minus,
            left,
            right,
        } if is_time(left) => match right.kind {
            ExprKind::Literal(Scalar::Interval(0, days, nanos)) => {
                let micros = i64::from(days) * 86_400_000_000 + (nanos + 999).div_euclid(1000);
                Some(micros)
            }
            _ => None,
        },
        _ => None,
    }
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
