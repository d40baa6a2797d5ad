//! The snapshot sink: the current result as one file, replaced when a checkpoint is committed.
//!
//! ```text
//!   writer 0: rows ─▶ sorted run ─┐ prepare: runs are synced and listed in the manifest
//!   writer 1: rows ─▶ sorted run ─┤
//!                                 └─ commit ─▶ merged draft ─ differs? ─▶ renamed over FILE ─▶ list of the commit
//!
//!   out/result.json                              FILE, always whole
//!   out/_snapshots/result.json/_staging/part-…   runs
//!   out/_snapshots/result.json/_commits/…        a list for each of the last commits: which runs were the result
//! ```
//!
//! Rows stand in the order of their bytes, so that the same result is the same file at any parallelism. A run that is
//! equal to the one of the last `prepare` is not written again: it is listed again.
//!
//! Restoring an older checkpoint shows that checkpoint's result again, as long as its runs are kept
//! (`'sink.snapshot.keep'` commits). If they are gone, the file stays until the next checkpoint, with a warning.
//!
//! # Invariants
//! 1. FILE is the result of one checkpoint, whole: it is only ever replaced by a rename.
//! 2. The newest list names the runs that FILE was made of, or FILE is about to be made of them again.
//! 3. A run is removed only when no kept list names it.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_types::{ChangeBatch, CheckpointId, Diagnostic, WorkerId, failpoint};

use super::commit::create_whole;
use super::names::{ExactlyOnce, Names, remove};
use super::runs::{Rows, Run, is_same, merge};
use super::{PATH, SNAPSHOT_KEEP, create_folder, sync_folder};
use crate::error::{Error, IoContext, Result};
use crate::format::{RowEncoder, Settings};
use crate::options::Options;
use crate::sink::{Sink, SinkCommitter, SinkEnvironment, SinkWriter, Visibility};
use crate::table::TableRequest;

/// Beside the file: a folder that sources do not read.
const FOLDER: &str = "_snapshots";
/// Keeps the current result as one file.
pub(crate) struct SnapshotSink {
    request: TableRequest,
    file: PathBuf,
    names: Names,
    generation: u64,
}

impl SnapshotSink {
    pub(crate) fn open(request: TableRequest, env: &SinkEnvironment) -> Result<Self> {
        let path = request.options.get(PATH.key).cloned().unwrap_or_default();
        let file = env.base.join(&path);
        let refuse = |message: String, why: &str, help: &str| {
            Diagnostic::error("C0012", message)
                .at(request.option_span(PATH.key), why)
                .help(help)
        };
        let (Some(folder), Some(name), false) = (file.parent(), file.file_name(), file.is_dir())
        else {
            let message = format!("`{path}` is a folder, and a snapshot is one file");
            return Err(refuse(
                message,
                "not a file",
                "name a file, such as `out/result.json`",
            )
            .into());
        };
        let names = Names::new(folder.join(FOLDER).join(name), env);
        if file.exists() && names.lists()?.is_empty() && names.staged()?.is_empty() {
            let message = format!(
                "`{path}` is there already and was not written by job `{}`",
                env.job
            );
            return Err(refuse(
                message,
                "would be replaced",
                "move it away, or name another file",
            )
            .into());
        }
        Ok(Self {
            names,
            file,
            request,
            generation: env.generation.0,
        })
    }
}

impl Sink for SnapshotSink {
    fn visibility(&self) -> Visibility {
        Visibility::Checkpoint
    }

    fn accepts_retractions(&self) -> bool {
        true
    }

    fn wants_snapshot(&self) -> bool {
        true
    }

    fn writer(&self, worker: WorkerId) -> Result<Box<dyn SinkWriter>> {
        create_folder(&self.names.staging())?;
        Ok(Box::new(SnapshotWriter {
            encoder: Settings::of(&self.request).encoder(&self.request.columns),
            names: self.names.clone(),
            worker: worker.0,
            generation: self.generation,
            sequence: 0,
            prepared: 0,
            rows: Rows::default(),
            runs: Vec::new(),
            last: Vec::new(),
        }))
    }

    fn committer(&self) -> Result<Box<dyn SinkCommitter>> {
        let encoder = Settings::of(&self.request).encoder(&self.request.columns);
        let keep = Options(&self.request.options)
            .count(&SNAPSHOT_KEEP)
            .unwrap_or(1);
        Ok(Box::new(SnapshotCommitter {
            names: self.names.clone(),
            file: self.file.clone(),
            header: encoder.header().map(<[u8]>::to_vec).unwrap_or_default(),
            keep: usize::try_from(keep).unwrap_or(usize::MAX),
            stale: None,
        }))
    }
}

/// The runs of one worker at one checkpoint: rides in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct PreparedRuns {
    worker: u32,
    generation: u64,
    /// Counts this writer's answers: of several answers of one worker the last one holds.
    prepared: u64,
    runs: Vec<String>,
}

/// What the file was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct CommitList {
    runs: Vec<String>,
}

struct SnapshotWriter {
    encoder: Box<dyn RowEncoder>,
    names: Names,
    worker: u32,
    generation: u64,
    /// Of the next run.
    sequence: u64,
    prepared: u64,
    rows: Rows,
    /// Runs of the result that is being written.
    runs: Vec<Run>,
    /// Those of the last `prepare`. They are still there: their commit is the newest, or was never made.
    last: Vec<Run>,
}

impl SnapshotWriter {
    fn spill(&mut self) -> Result<()> {
        let hash = self.rows.sort();
        let run = match self.last.get(self.runs.len()) {
            Some(run) if run.hash == hash => run.clone(),
            _ => {
                let name = self
                    .names
                    .part(self.worker, self.sequence, ExactlyOnce::Yes, "run");
                self.sequence += 1;
                self.rows.write(&self.names.staging().join(&name))?;
                Run { name, hash }
            }
        };
        self.rows.clear();
        self.runs.push(run);
        Ok(())
    }
}

impl SinkWriter for SnapshotWriter {
    fn write(&mut self, changes: &ChangeBatch) -> Result<()> {
        debug_assert!(
            changes.retracted.is_none(),
            "a snapshot is given as insertions"
        );
        self.encoder
            .encode(changes, &[], &mut |_, line| self.rows.push(line));
        if self.rows.is_enough() {
            self.spill()
        } else {
            Ok(())
        }
    }

    fn end_epoch(&mut self) -> Result<()> {
        Ok(())
    }

    fn prepare(&mut self, _checkpoint: CheckpointId) -> Result<Option<serde_json::Value>> {
        failpoint::pass("sink.snapshot.prepare.before").context(|| "at a failure point")?;
        if !self.rows.is_empty() {
            self.spill()?;
        }
        sync_folder(&self.names.staging())?;
        self.prepared += 1;
        self.last = std::mem::take(&mut self.runs);
        let runs = PreparedRuns {
            worker: self.worker,
            generation: self.generation,
            prepared: self.prepared,
            runs: self.last.iter().map(|run| run.name.clone()).collect(),
        };
        Ok(serde_json::to_value(runs).ok())
    }
}

struct SnapshotCommitter {
    names: Names,
    file: PathBuf,
    header: Vec<u8>,
    /// How many commits' runs are kept.
    keep: usize,
    /// A restored checkpoint whose result could not be shown again, and the one whose result is there.
    stale: Option<(CheckpointId, CheckpointId)>,
}

impl SnapshotCommitter {
    fn read_list(&self, path: &Path) -> Result<CommitList> {
        let text = fs::read(path).context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| {
            Error::Inconsistent(format!(
                "the commit list {} cannot be read: {error}",
                path.display()
            ))
        })
    }

    fn are_there(&self, runs: &[String]) -> bool {
        runs.iter()
            .all(|run| self.names.staging().join(run).exists())
    }

    /// Makes the file from runs, unless it is the same already.
    fn show(&self, runs: &[String]) -> Result<()> {
        let draft = self
            .names
            .staging()
            .join(format!(".{}draft", self.names.prefix()));
        merge(&self.names.staging(), runs, &self.header, &draft)?;
        if is_same(&draft, &self.file)? {
            return remove(&draft);
        }
        failpoint::pass("sink.snapshot.replace.before").context(|| "at a failure point")?;
        fs::rename(&draft, &self.file)
            .context(|| format!("cannot replace {}", self.file.display()))?;
        sync_folder(self.file.parent().unwrap_or(&self.file))?;
        failpoint::pass("sink.snapshot.replace.after").context(|| "at a failure point")
    }

    /// Removes runs that no list names; `all` also removes those that no list names *yet*.
    fn remove_runs(&self, candidates: impl IntoIterator<Item = PathBuf>) -> Result<()> {
        let mut named = HashSet::new();
        for (_, path) in self.names.lists()? {
            named.extend(self.read_list(&path)?.runs);
        }
        for path in candidates {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            if !named.contains(&name) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Forgets commits beyond those that are kept, the list first: what a crash leaves of the runs goes at a restore.
    fn prune(&self) -> Result<()> {
        let mut runs = Vec::new();
        for (_, list) in self.names.lists()?.into_iter().skip(self.keep) {
            runs.extend(self.read_list(&list)?.runs);
            remove(&list)?;
        }
        let staging = self.names.staging();
        self.remove_runs(runs.into_iter().map(|run| staging.join(run)))
    }
}

/// The runs that hold: of each worker its last answer, and only of the last start of the job.
fn runs_of(prepared: &[serde_json::Value]) -> Result<Vec<String>> {
    let mut last: BTreeMap<u32, PreparedRuns> = BTreeMap::new();
    for value in prepared {
        let runs: PreparedRuns = serde_json::from_value(value.clone()).map_err(|error| {
            Error::Inconsistent(format!("the runs in the manifest cannot be read: {error}"))
        })?;
        match last.get(&runs.worker) {
            Some(other)
                if (other.generation, other.prepared) >= (runs.generation, runs.prepared) => {}
            _ => drop(last.insert(runs.worker, runs)),
        }
    }
    let generation = last.values().map(|runs| runs.generation).max();
    let current = last
        .into_values()
        .filter(|runs| Some(runs.generation) == generation);
    Ok(current.flat_map(|runs| runs.runs).collect())
}

impl SinkCommitter for SnapshotCommitter {
    fn commit(&mut self, checkpoint: CheckpointId, prepared: &[serde_json::Value]) -> Result<()> {
        if prepared.is_empty() {
            return Ok(());
        }
        let newest = self.names.lists()?.first().map(|(number, _)| *number);
        if newest == Some(checkpoint) && self.file.exists() {
            return Ok(());
        }
        let runs = runs_of(prepared)?;
        if !self.are_there(&runs) {
            if let Some(newest) = newest.filter(|newest| *newest > checkpoint) {
                self.stale = Some((checkpoint, newest));
                return Ok(());
            }
            return Err(Error::Inconsistent(format!(
                "runs of checkpoint {checkpoint} are missing in {}: {} cannot be written; was the folder changed by hand?",
                self.names.staging().display(),
                self.file.display()
            )));
        }
        self.show(&runs)?;
        create_folder(&self.names.commits())?;
        let text = serde_json::to_vec(&CommitList { runs }).unwrap_or_default();
        create_whole(&self.names.staging(), &self.names.list(checkpoint), &text)?;
        self.prune()
    }

    fn rollback_to(&mut self, checkpoint: Option<CheckpointId>) -> Result<Vec<String>> {
        if let Some((restored, shown)) = self.stale.take() {
            return Ok(vec![format!(
                "{} still shows the result of checkpoint {shown}: what checkpoint {restored} showed is not kept any more \
                 ('sink.snapshot.keep'); the next checkpoint replaces it",
                self.file.display()
            )]);
        }
        let is_newer =
            |number: CheckpointId| checkpoint.is_none_or(|checkpoint| number > checkpoint);
        let (newer, older): (Vec<_>, Vec<_>) = self
            .names
            .lists()?
            .into_iter()
            .partition(|(number, _)| is_newer(*number));
        if !newer.is_empty() {
            // First the file is right again, then the lists that say otherwise go.
            match older.first() {
                Some((_, list)) => self.show(&self.read_list(list)?.runs)?,
                None => {
                    remove(&self.file)?;
                    sync_folder(self.file.parent().unwrap_or(&self.file))?;
                }
            }
            for (_, list) in newer {
                remove(&list)?;
            }
            sync_folder(&self.names.commits())?;
        }
        self.remove_runs(self.names.staged()?)?;
        Ok(Vec::new())
    }

    fn holds_output(&self) -> Result<bool> {
        Ok(!self.names.lists()?.is_empty())
    }

    fn remove_output(&mut self) -> Result<()> {
        self.stale = None;
        self.rollback_to(None).map(|_| ())
    }
}
