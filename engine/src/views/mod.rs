//! Materialized views: the rows that a job keeps, as they are at the end of one epoch.
//!
//! ```text
//!   reader ── JobControl::view(name) ──▶ desk ── coordinator closes an epoch ──▶ ViewRead, one for the epoch
//!                                                    every worker, when its operators have flushed it:
//!   reader ◀── the rows of all workers ◀── ViewRead ◀── its share, from the state table of the view
//! ```
//!
//! A job that does not run any more is read from its newest checkpoint (`stored.rs`), one of another process over its control
//! socket (`wire.rs`). See docs/decisions/0015.
//!
//! # Invariants
//! 1. An answer is the state at the end of *one* epoch on all workers: a prefix of every input.
//! 2. Who wants the rows of some keys alone gets these, and nothing else is read (`wanted.rs`).
//! 3. Nothing of a view is held in memory for readers: the rows are copied when somebody asks, and belong to the reader.
//! 4. A read changes nothing: an epoch that was closed for it alone has no rows.

mod sink;
mod stored;
mod wanted;
mod wire;

#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use weir_planner::Wanted;
use weir_planner::plan::{Operator, OperatorKind, StreamPlan};
use weir_types::Column;

use crate::sync::lock;
use crate::{ControlClient, Error, Result};

pub(crate) use sink::ViewSink;
pub(crate) use stored::{note, noted, stored};
pub(crate) use wanted::{Looked, passing};
pub(crate) use wire::{read_answer, write_answer};

/// So many bytes of rows are given to one reader.
const ROWS_BYTES_MAX: usize = 1 << 30;

/// The rows of a materialized view.
#[derive(Clone, Debug)]
pub struct ViewRows {
    /// What they are.
    pub info: ViewInfo,
    /// Every row, as often as it is there; in no order.
    pub rows: Vec<RecordBatch>,
    /// How many rows of the view were looked at for that.
    pub rows_read: u64,
}

/// What a materialized view looks like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewInfo {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Columns that identify a row, if the planner knows some.
    pub unique_key: Option<Vec<usize>>,
    /// The processing time of the epoch that was read, in microseconds since 1970; `None` before it was read.
    pub as_of: Option<i64>,
}

impl ViewRows {
    /// How many rows there are.
    pub fn num_rows(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }
}

/// The materialized views that a plan keeps.
pub fn views_of(plan: &StreamPlan) -> Vec<ViewInfo> {
    plan.operators
        .iter()
        .filter_map(|operator| {
            let name = view_of(plan, operator)?;
            Some(info(name, operator))
        })
        .collect()
}

fn info(name: &str, operator: &Operator) -> ViewInfo {
    ViewInfo {
        name: name.to_owned(),
        columns: operator.schema.clone(),
        unique_key: operator.unique_key.clone(),
        as_of: None,
    }
}

/// The view that an operator keeps, if it keeps one.
pub(crate) fn view_of<'p>(plan: &'p StreamPlan, operator: &'p Operator) -> Option<&'p str> {
    let OperatorKind::Sink { table } = &operator.kind else {
        return None;
    };
    let definition = plan.tables.get(table)?;
    definition.is_materialized_view().then_some(table)
}

/// The rows of a view of the job of a folder: of one that runs, here or elsewhere, at its newest epoch; of another at its
/// newest checkpoint.
///
/// # Errors
/// If there is no such job or view, or its state cannot be read.
pub fn view_rows(state_dir: &Path, job: &str, view: &str) -> Result<ViewRows> {
    view_rows_where(state_dir, job, view, &[])
}

/// The same, of the rows that have wanted values: all of them, and others where that is simpler, so that whoever reads has to look
/// at each. If the wanted values are those of the view's key, nothing else is read.
///
/// # Errors
/// As of [`view_rows`].
pub fn view_rows_where(
    state_dir: &Path,
    job: &str,
    view: &str,
    wanted: &[Wanted],
) -> Result<ViewRows> {
    match ControlClient::connect(state_dir)? {
        Some(client) => client.view(view, wanted),
        None => stored(state_dir, job, view, wanted),
    }
}

/// A request that waits for the end of an epoch.
pub(crate) struct ViewRequest {
    pub(crate) view: String,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) reply: Sender<Result<ViewRows>>,
}

/// A view that is read at the end of one epoch.
pub(crate) struct ViewRead {
    /// Index of its operator.
    pub(crate) operator: usize,
    pub(crate) wanted: Vec<Wanted>,
    info: ViewInfo,
    collected: Mutex<Collected>,
    reply: Mutex<Sender<Result<ViewRows>>>,
}

impl std::fmt::Debug for ViewRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ViewRead({})", self.info.name)
    }
}

#[derive(Default)]
struct Collected {
    rows: Vec<RecordBatch>,
    bytes: usize,
    /// Rows that were looked at.
    read: u64,
    /// Workers that have given their share.
    done: u32,
}

impl ViewRead {
    /// Finds the view; whoever asks for one that is not there is told so.
    pub(crate) fn begin(plan: &StreamPlan, request: ViewRequest) -> Option<Arc<Self>> {
        let operators = plan.operators.iter().enumerate();
        let mut views =
            operators.filter_map(|(index, operator)| Some((index, view_of(plan, operator)?)));
        let Some((operator, name)) = views.find(|(_, name)| *name == request.view) else {
            drop(request.reply.send(Err(no_such_view(plan, &request.view))));
            return None;
        };
        Some(Arc::new(Self {
            operator,
            wanted: request.wanted,
            info: info(name, &plan.operators[operator]),
            collected: Mutex::default(),
            reply: Mutex::new(request.reply),
        }))
    }

    /// Takes rows of a worker; false when nothing more is wanted.
    pub(crate) fn add(&self, rows: RecordBatch) -> bool {
        let mut collected = lock(&self.collected);
        collected.bytes = collected.bytes.saturating_add(rows.get_array_memory_size());
        if collected.bytes > ROWS_BYTES_MAX {
            collected.rows.clear();
            return false;
        }
        collected.rows.push(rows);
        true
    }

    /// A worker has given its share, for which it looked at `read` rows; the last of `workers` sends the answer.
    pub(crate) fn on_worker_done(&self, workers: u32, now: i64, read: u64) {
        let mut collected = lock(&self.collected);
        collected.read += read;
        collected.done += 1;
        if collected.done < workers {
            return;
        }
        let answer = if collected.bytes > ROWS_BYTES_MAX {
            Err(too_large(&self.info.name))
        } else {
            let mut info = self.info.clone();
            info.as_of = Some(now);
            let rows = std::mem::take(&mut collected.rows);
            let rows_read = collected.read;
            Ok(ViewRows {
                info,
                rows,
                rows_read,
            })
        };
        // Whoever asked may be gone.
        drop(lock(&self.reply).send(answer));
    }
}

fn too_large(view: &str) -> Error {
    Error::Job(format!(
        "[R0051] the rows of view `{view}` are more than {} MiB: a reader gets them all; write what is wanted of it into another view \
         with a WHERE or a GROUP BY, or read the job's state with `weir state`",
        ROWS_BYTES_MAX >> 20
    ))
}

fn no_such_view(plan: &StreamPlan, view: &str) -> Error {
    let known: Vec<String> = views_of(plan).into_iter().map(|view| view.name).collect();
    let known = if known.is_empty() {
        "it keeps none; CREATE MATERIALIZED VIEW makes one".to_owned()
    } else {
        format!("it keeps {}", known.join(", "))
    };
    Error::Job(format!(
        "[R0050] the job has no materialized view `{view}`: {known}"
    ))
}
