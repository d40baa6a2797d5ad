//! The restore protocol: sinks are made to agree with a checkpoint before anything is read.
//!
//! ```text
//!   newest whole manifest N ─▶ commit(N) of every sink ─▶ rollback_to(N) of every sink ─▶ state, positions, watermarks
//!   (or a savepoint: later manifests are removed first, and it is copied into the job's store under a new number)
//! ```
//!
//! # Invariants
//! 1. Whatever the crash interrupted, the same start leads to the same sinks: each step may run twice.
//! 2. Numbers go on after the highest one ever seen.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use weir_connectors::SinkCommitter;
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_state::{
    CheckpointStore, Manifest, Savepoint, StorageOptions, StorageSettings, import_savepoint,
    is_remote,
};
use weir_types::{CheckpointId, EventTime, OperatorId};

use super::folder::JobFolder;
use crate::evolution::{self, Judged};
use crate::failpoint::pass;
use crate::{Error, JobOptions, Result};

/// Committers of all sinks.
pub(crate) type Committers = Vec<(OperatorId, Box<dyn SinkCommitter>)>;

/// Where a job starts from.
pub(crate) struct Start {
    /// `None`: from the beginning.
    pub(crate) manifest: Option<Manifest>,
    pub(crate) highest: CheckpointId,
    pub(crate) warnings: Vec<String>,
    /// It had reached its end: nothing to do.
    pub(crate) drained: bool,
    /// The query is another than the checkpoint's.
    pub(crate) judged: Option<Judged>,
}

/// Everything that the protocol touches.
pub(crate) struct Restore<'a> {
    pub(crate) job: &'a str,
    pub(crate) plan: &'a StreamPlan,
    pub(crate) options: &'a JobOptions,
    pub(crate) folder: &'a mut JobFolder,
    pub(crate) store: &'a Arc<CheckpointStore>,
    pub(crate) committers: &'a mut Committers,
    /// Opens the committers of an old plan's sinks that the new one does not have, or has elsewhere.
    pub(crate) open_others: &'a dyn Fn(&StreamPlan) -> Result<Committers>,
    pub(crate) runtime: &'a tokio::runtime::Runtime,
}

impl Restore<'_> {
    /// Finds the checkpoint to start from and makes the sinks agree with it.
    pub(crate) fn run(mut self) -> Result<Start> {
        let listed = self.runtime.block_on(self.store.list())?;
        // Not only of those that are there: a removed one's number stays used.
        let highest = self
            .runtime
            .block_on(self.store.highest())?
            .unwrap_or_default()
            .max(self.folder.highest_checkpoint());
        self.folder.note_checkpoint(highest)?;
        if let Some(savepoint) = self.options.restore_from.clone() {
            return self.start_at_savepoint(&savepoint, &listed, highest);
        }
        let (manifest, warnings) = self.runtime.block_on(self.store.newest_whole())?;
        let Some(manifest) = manifest else {
            if !listed.is_empty() {
                return Err(Error::Job(format!(
                    "none of the checkpoints of job `{}` is whole, so it cannot go on:\n  {}\nrun it with --fresh \
                     --replace-output to start from the beginning",
                    self.job,
                    warnings.join("\n  ")
                )));
            }
            return self.start_at_the_beginning(highest, warnings);
        };
        if manifest.drained && self.only_prints() {
            self.runtime.block_on(self.store.clear())?;
            return Ok(Start {
                manifest: None,
                highest,
                warnings,
                drained: false,
                judged: None,
            });
        }
        let judged = self.judge(&manifest)?;
        self.settle_sinks(&manifest, highest, judged.as_ref())?;
        let drained = manifest.drained && judged.is_none();
        let mut warnings = warnings;
        if drained {
            warnings.push(format!(
                "job `{}` finished at {} UTC; --fresh runs it again",
                self.job,
                EventTime(manifest.processing_time)
            ));
        }
        Ok(Start {
            manifest: Some(manifest),
            highest,
            warnings,
            drained,
            judged,
        })
    }

    fn start_at_the_beginning(
        &mut self,
        highest: CheckpointId,
        warnings: Vec<String>,
    ) -> Result<Start> {
        for (operator, committer) in self.committers.iter_mut() {
            if self.options.exactly_once && committer.holds_output()? {
                return Err(Error::Job(format!(
                    "{operator} holds output of job `{}`, but there is no checkpoint that it belongs to; run it with \
                     --fresh --replace-output, or give it another name with SET 'job.name' = '…'",
                    self.job
                )));
            }
            committer.rollback_to(None)?;
        }
        Ok(Start {
            manifest: None,
            highest,
            warnings,
            drained: false,
            judged: None,
        })
    }

    /// What an edit does must have been accepted.
    fn judge(&self, manifest: &Manifest) -> Result<Option<Judged>> {
        let start = evolution::Start {
            job: self.job,
            plan: self.plan,
            options: &self.options.evolution,
            file: self.options.file.as_deref(),
        };
        evolution::judge(&start, manifest)
    }

    /// A sink that is new may not hold what the job wrote once: the rows would be there twice.
    fn check_new_sinks(&self, judged: &Judged, others: &Committers) -> Result<()> {
        for (operator, committer) in self.committers.iter() {
            let elsewhere = others.iter().any(|(other, _)| other == operator);
            let known = judged.old_plan.operator(operator).is_some() && !elsewhere;
            if !known && self.options.exactly_once && committer.holds_output()? {
                return Err(Error::Job(format!(
                    "[E0008] {operator} is new in the query, and its target holds what job `{}` wrote earlier; remove that, or \
                     give it another 'path'",
                    self.job
                )));
            }
        }
        Ok(())
    }

    /// Finishes the checkpoint's transactions, then withdraws what came later.
    fn settle_sinks(
        &mut self,
        manifest: &Manifest,
        highest: CheckpointId,
        judged: Option<&Judged>,
    ) -> Result<()> {
        let parts: BTreeMap<String, Vec<Value>> = serde_json::from_value(manifest.sinks.clone())
            .map_err(|error| {
                Error::Job(format!(
                    "the sinks in checkpoint {} cannot be read: {error}",
                    manifest.checkpoint
                ))
            })?;
        let mut others = match judged {
            Some(judged) => (self.open_others)(&judged.old_plan)?,
            None => Committers::new(),
        };
        if let Some(judged) = judged {
            self.check_new_sinks(judged, &others)?;
        }
        pass("engine.restore.before-recommit")?;
        for (operator, committer) in &mut others {
            if let Some(prepared) = parts.get(operator.as_str()) {
                committer.commit(manifest.checkpoint, prepared)?;
            }
            committer.rollback_to(Some(manifest.checkpoint))?;
        }
        for (operator, committer) in self.committers.iter_mut() {
            let elsewhere = others.iter().any(|(other, _)| other == operator);
            if let Some(prepared) = parts.get(operator.as_str()).filter(|_| !elsewhere) {
                committer.commit(manifest.checkpoint, prepared)?;
            }
        }
        pass("engine.restore.after-recommit")?;
        for (operator, committer) in self.committers.iter_mut() {
            let withdrawn = committer.rollback_to(Some(manifest.checkpoint))?;
            if !withdrawn.is_empty() {
                tracing::info!(%operator, checkpoint = %manifest.checkpoint, %highest, ?withdrawn, "withdrawn");
            }
        }
        pass("engine.restore.after-withdraw")
    }

    fn start_at_savepoint(
        mut self,
        folder: &Path,
        listed: &[CheckpointId],
        highest: CheckpointId,
    ) -> Result<Start> {
        let remote = folder.to_str().is_some_and(is_remote);
        if !remote && !folder.to_string_lossy().starts_with("file:") && !folder.is_dir() {
            return Err(Error::Job(format!(
                "[S0020] there is no savepoint {}: `weir savepoint list` shows those of a job",
                folder.display()
            )));
        }
        let settings = &self.options.checkpoints.storage_settings;
        let scratch = self.folder.scratch().join("verify");
        let (saved, warnings) = Saved::open(folder, settings, &scratch, self.runtime)?;
        let manifest = saved.manifest();
        let judged = self.judge(&manifest)?;
        // Should this start be interrupted, a later one must not go on from a checkpoint whose output is withdrawn.
        let later: Vec<_> = listed
            .iter()
            .filter(|id| **id > manifest.checkpoint)
            .rev()
            .collect();
        for checkpoint in later {
            self.runtime.block_on(self.store.remove(*checkpoint))?;
        }
        self.settle_sinks(&manifest, highest, judged.as_ref())?;
        // Its sinks are settled: under its new number it has nothing left to commit.
        let highest = CheckpointId(highest.max(manifest.checkpoint).0 + 1);
        self.folder.note_checkpoint(highest)?;
        let imported = match saved {
            Saved::Savepoint(savepoint) => {
                let scratch = self.folder.scratch().join("import");
                self.runtime
                    .block_on(import_savepoint(&savepoint, self.store, highest, &scratch))?
            }
            Saved::Checkpoints(saved, _) => {
                let mut imported = settled(manifest);
                imported.checkpoint = highest;
                self.runtime.block_on(saved.export(&imported, self.store))?;
                imported
            }
        };
        let drained = imported.drained && judged.is_none();
        Ok(Start {
            manifest: Some(imported),
            highest,
            warnings,
            drained,
            judged,
        })
    }

    /// A job whose results are on the screen alone runs again when it is drained.
    fn only_prints(&self) -> bool {
        // A second run would write again what the first has left out.
        let beside = crate::beside::tables(self.plan);
        let is_print = |table: &&weir_planner::plan::TableDefinition| {
            let connector = table.options.get("connector");
            connector.is_some_and(|name| name == "print")
        };
        if !beside.iter().all(is_print) {
            return false;
        }
        self.plan
            .operators
            .iter()
            .all(|operator| match &operator.kind {
                OperatorKind::Sink { table } => self.plan.tables.get(table).is_some_and(|table| {
                    table
                        .options
                        .get("connector")
                        .is_some_and(|name| name == "print")
                }),
                _ => true,
            })
    }
}

/// What `--from` names.
enum Saved {
    Savepoint(Box<Savepoint>),
    /// The checkpoints of another job, and the newest whole one.
    Checkpoints(Arc<CheckpointStore>, Box<Manifest>),
}

impl Saved {
    /// Opens and verifies it: nothing is withdrawn for the sake of something damaged.
    fn open(
        folder: &Path,
        settings: &StorageSettings,
        scratch: &Path,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<(Self, Vec<String>)> {
        if let Some(savepoint) = Savepoint::find(folder, settings)? {
            savepoint.verify(scratch)?;
            return Ok((Self::Savepoint(Box::new(savepoint)), Vec::new()));
        }
        let Some(store) = checkpoints_at(folder, settings)? else {
            // Says that there is none.
            let savepoint = Savepoint::open_with(folder, settings)?;
            return Ok((Self::Savepoint(Box::new(savepoint)), Vec::new()));
        };
        let (manifest, warnings) = runtime.block_on(store.newest_whole())?;
        let manifest = manifest.ok_or_else(|| {
            Error::Job(format!(
                "[S0033] {} holds no whole checkpoint\n  {}",
                folder.display(),
                warnings.join("\n  ")
            ))
        })?;
        Ok((Self::Checkpoints(store, Box::new(manifest)), warnings))
    }

    fn manifest(&self) -> Manifest {
        match self {
            Self::Savepoint(savepoint) => savepoint.manifest.checkpoint_with_tables(),
            Self::Checkpoints(_, manifest) => manifest.as_ref().clone(),
        }
    }
}

/// The checkpoints in a folder or at a URL; `None` if there are none.
fn checkpoints_at(
    folder: &Path,
    settings: &StorageSettings,
) -> Result<Option<Arc<CheckpointStore>>> {
    let text = folder.to_string_lossy();
    if !is_remote(&text) {
        return match folder.join("manifests").is_dir() {
            true => Ok(Some(CheckpointStore::local(folder.to_path_buf())?)),
            false => Ok(None),
        };
    }
    let store = CheckpointStore::open(StorageOptions {
        url: Some(text.into_owned()),
        settings: settings.clone(),
        ..StorageOptions::home(folder.to_path_buf())
    })?;
    Ok((!store.is_empty()?).then_some(store))
}

/// A manifest whose sinks have committed: it has nothing left to finish, wherever it is restored. The parts stay where
/// they were published; a savepoint that is moved does not look for them.
fn settled(mut manifest: Manifest) -> Manifest {
    manifest.sinks = Value::Object(serde_json::Map::new());
    manifest
}

/// `--fresh`: refuses while sinks hold output, unless it is to be replaced; then forgets everything.
pub(crate) fn start_afresh(
    job: &str,
    options: &JobOptions,
    store: &CheckpointStore,
    runtime: &tokio::runtime::Runtime,
    committers: &mut Committers,
) -> Result<()> {
    for (operator, committer) in committers.iter_mut() {
        if !options.replace_output && committer.holds_output()? {
            return Err(Error::Job(format!(
                "{operator} holds what job `{job}` wrote earlier, and starting from the beginning would double it; \
                 --fresh --replace-output removes it first"
            )));
        }
    }
    // Checkpoints first: without output but with checkpoints, a later start would go on without the rows.
    runtime.block_on(store.clear())?;
    for (_, committer) in committers.iter_mut() {
        if options.replace_output {
            committer.remove_output()?;
        }
        committer.rollback_to(None)?;
    }
    Ok(())
}
