//! What a job remembers of the edits that it has gone through, and what of its manifest an edit is judged by.
//!
//! ```text
//!   manifest ─┬─ evolution   what is not exact since which edit, what was accepted     (this file's form)
//!             ├─ watermarks  of each operator                                     ├─▶ Past ─▶ compare
//!             └─ sources     watermark and greatest event time of each split     ─┘
//! ```
//!
//! A mark stays until its operator is computed afresh: a checkpoint, a savepoint and a crash carry it along.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_planner::compare::{Exactness, Past, Report, SinkVerdict, Verdict, renamed};
use weir_planner::plan::{Operator, OperatorKind, StreamPlan};
use weir_state::Manifest;
use weir_types::{CheckpointId, Column, EventTime, OperatorId, Watermark};

use crate::source::SourceCheckpoint;
use crate::{Error, Result};

/// The field `evolution` of a manifest: `docs/formats/checkpoint.md`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evolution {
    /// What is not exact, by operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub marks: BTreeMap<OperatorId, Exactness>,
    /// Sinks that hold rows of an earlier query.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sinks_with_old_rows: BTreeSet<OperatorId>,
    /// Columns that a sink's table had and has no more: older rows still have values in them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns_gone: BTreeMap<OperatorId, BTreeSet<String>>,
    /// What was not exact, or was left behind, and was accepted: the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Accepted>,
}

/// Something that the user accepted at an edit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The checkpoint that the edited query went on from.
    pub checkpoint: CheckpointId,
    /// The operator or the sink.
    pub id: OperatorId,
    /// The verdict on it, in words.
    pub verdict: String,
    /// What was found.
    pub reason: String,
}

impl Evolution {
    /// What a manifest says.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(manifest: &Manifest) -> Result<Self> {
        read(manifest, "edits", &manifest.evolution)
    }

    pub(crate) fn to_value(&self) -> Result<Value> {
        if *self == Self::default() {
            return Ok(Value::Null);
        }
        serde_json::to_value(self)
            .map_err(|error| Error::Job(format!("cannot write the edits to the manifest: {error}")))
    }

    /// The same under the names of a new plan: a sink that is called otherwise holds what it held.
    pub(crate) fn renamed(mut self, renames: &BTreeMap<String, String>) -> Self {
        let now = |id: OperatorId| OperatorId::new(renamed(id.as_str(), renames));
        self.sinks_with_old_rows = self.sinks_with_old_rows.into_iter().map(now).collect();
        let gone = self.columns_gone.into_iter();
        self.columns_gone = gone.map(|(id, columns)| (now(id), columns)).collect();
        self
    }

    /// What is to be remembered when a query goes on as a report says. `old` and what is remembered go by the names of the new
    /// plan (`renames`).
    pub(crate) fn after(
        &self,
        report: &Report,
        checkpoint: CheckpointId,
        (old, renames): (&StreamPlan, &BTreeMap<String, String>),
        new: &StreamPlan,
    ) -> Self {
        let mut marks = BTreeMap::new();
        let mut accepted = self.accepted.clone();
        let mut accept = |id: &OperatorId, verdict: &str, reason: &str| {
            accepted.push(Accepted {
                checkpoint,
                id: id.clone(),
                verdict: verdict.to_owned(),
                reason: reason.to_owned(),
            });
        };
        for operator in &report.operators {
            if operator.verdict != Verdict::Dropped && operator.exact != Exactness::Yes {
                marks.insert(operator.id.clone(), operator.exact.clone());
            }
            if matches!(
                operator.verdict,
                Verdict::CarriedOver
                    | Verdict::Partial
                    | Verdict::New
                    | Verdict::Dropped
                    | Verdict::Incompatible
            ) {
                accept(&operator.id, operator.verdict.word(), &operator.reason);
            }
        }
        let mut sinks_with_old_rows = BTreeSet::new();
        for sink in &report.sinks {
            if sink.verdict == SinkVerdict::OldRowsStay {
                accept(&sink.id, sink.verdict.word(), &sink.reason);
            }
            if sink.old_rows {
                sinks_with_old_rows.insert(sink.id.clone());
            }
        }
        Self {
            marks,
            sinks_with_old_rows,
            columns_gone: self.columns_gone_after(old, renames, new),
            accepted,
        }
    }

    /// Columns that a table lost at this edit, or at one before it.
    fn columns_gone_after(
        &self,
        old: &StreamPlan,
        renames: &BTreeMap<String, String>,
        new: &StreamPlan,
    ) -> BTreeMap<OperatorId, BTreeSet<String>> {
        let mut gone = self.columns_gone.clone();
        let sinks = |plan| -> Vec<&Operator> {
            let plan: &StreamPlan = plan;
            let is_sink = |operator: &&Operator| matches!(operator.kind, OperatorKind::Sink { .. });
            plan.operators.iter().filter(is_sink).collect()
        };
        let after = sinks(new);
        for before in sinks(old) {
            let id = renamed(before.id.as_str(), renames);
            let Some(after) = after.iter().find(|after| after.id.as_str() == id) else {
                continue;
            };
            let stays = |column: &Column| after.schema.iter().any(|new| new.name == column.name);
            let lost = before.schema.iter().filter(|column| !stays(column));
            let lost: Vec<String> = lost.map(|column| column.name.clone()).collect();
            if !lost.is_empty() {
                gone.entry(after.id.clone()).or_default().extend(lost);
            }
        }
        gone
    }
}

/// What an edit of the job is judged by.
///
/// # Errors
/// When the manifest cannot be read.
pub fn past_of(manifest: &Manifest, plan: &StreamPlan) -> Result<Past> {
    let evolution = Evolution::of(manifest)?;
    let watermarks: BTreeMap<String, Vec<Watermark>> =
        read(manifest, "watermarks", &manifest.watermarks)?;
    let sources: SourceCheckpoint = read(manifest, "positions", &manifest.sources)?;
    let mut past = Past {
        marks: evolution.marks,
        sinks_with_old_rows: evolution.sinks_with_old_rows,
        columns_gone: evolution.columns_gone,
        ..Past::default()
    };
    for (id, inputs) in watermarks {
        if let Some(least) = inputs.iter().min() {
            past.watermarks
                .insert(OperatorId::new(id), EventTime(least.0));
        }
    }
    for operator in &plan.operators {
        let OperatorKind::Source { table, .. } = &operator.kind else {
            continue;
        };
        let has_watermark = plan
            .tables
            .get(table)
            .is_some_and(|table| table.watermark.is_some());
        let Some(splits) = sources
            .get(operator.id.as_str())
            .filter(|splits| has_watermark && !splits.is_empty())
        else {
            continue;
        };
        let running = splits.values().filter(|split| !split.ended);
        let least = running.map(|split| split.watermark).min();
        past.watermarks
            .insert(operator.id.clone(), EventTime(least.unwrap_or(i64::MAX)));
        // Unknown of one split, unknown of the source.
        let greatest: Option<Vec<i64>> = splits.values().map(|split| split.greatest).collect();
        if let Some(greatest) = greatest.and_then(|all| all.into_iter().max()) {
            past.greatest_times
                .insert(operator.id.clone(), EventTime(greatest));
        }
    }
    Ok(past)
}

fn read<T: serde::de::DeserializeOwned + Default>(
    manifest: &Manifest,
    name: &str,
    value: &Value,
) -> Result<T> {
    match value {
        Value::Null => Ok(T::default()),
        value => serde_json::from_value(value.clone()).map_err(|error| {
            Error::Job(format!(
                "the {name} in checkpoint {} cannot be read: {error}",
                manifest.checkpoint
            ))
        }),
    }
}
