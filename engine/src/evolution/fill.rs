//! On a worker, before its operators are built: tables whose entries merge are filled from the old state.
//!
//! ```text
//!   old checkpoint ─▶ entries, batch by batch ─▶ conditions, columns ─▶ those of our key groups ─▶ merged into the table
//! ```
//!
//! Where keys change, entries of all old key groups may belong here, and every worker looks at all of them. The tables are
//! the operators' own, so that memory stays within the budget however many groups there are.

use std::ops::ControlFlow;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter;
use weir_state::{Layout, Rows, StateReader, WorkerState};
use weir_types::hash::{hash_columns, key_group};
use weir_types::{KeyGroupRange, WorkerId};

use super::{Merge, Transition};
use crate::job::Shared;
use crate::operators::{Entries, Merger};
use crate::{Error, Result};

/// Fills what merges.
pub(crate) fn fill(id: WorkerId, job: &Shared, state: &WorkerState) -> Result<()> {
    let Some(transition) = job.transition.as_ref().filter(|of| !of.merges.is_empty()) else {
        return Ok(());
    };
    let scratch = job.scratch.join(format!("g{}-w{id}-old", job.generation));
    let reader = StateReader::of_checkpoint(&transition.store, &transition.old_manifest, &scratch)?;
    let range = KeyGroupRange::of_worker(id, job.options.parallelism, job.options.key_groups);
    // Groups first: values of side tables reach groups that are there.
    let by_layout = |merge: &&Merge| merge.spec.layout != Layout::Map;
    let mut merges: Vec<&Merge> = transition.merges.iter().collect();
    merges.sort_by_key(by_layout);
    for merge in merges {
        fill_table(merge, transition, &reader, range, state)?;
        crate::failpoint::pass("engine.evolution.between")?;
    }
    Ok(())
}

fn fill_table(
    merge: &Merge,
    transition: &Transition,
    reader: &StateReader,
    range: KeyGroupRange,
    state: &WorkerState,
) -> Result<()> {
    let merger = Merger::new(&transition.plan, merge.operator, &merge.spec, state)?;
    let from = (!merge.change.changes_keys()).then_some(range);
    // What goes wrong beyond the reader comes out by itself.
    let mut failed = None;
    reader.scan(merge.stored, from, &mut |batch| {
        let added = add(merge, &merger, reader.key_groups(), range, &batch, state);
        Ok(match added {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })
    })?;
    failed.map_or(Ok(()), Err)
}

fn add(
    merge: &Merge,
    merger: &Merger,
    key_groups: u16,
    range: KeyGroupRange,
    batch: &RecordBatch,
    state: &WorkerState,
) -> Result<()> {
    let failed = |message: String| Error::Internal {
        operator: merge.spec.operator.clone(),
        message,
    };
    let rows = Rows {
        // The first column is the old key group.
        columns: batch.columns()[1..].to_vec(),
        rows: batch.num_rows(),
    };
    let Rows { columns, rows } = merge.change.apply(rows).map_err(failed)?;
    let width = merge.spec.key.len();
    let hashes = hash_columns(&columns[..width], rows);
    let ours: Vec<bool> = hashes
        .iter()
        .map(|&hash| range.contains(key_group(hash, key_groups)))
        .collect();
    if !ours.contains(&true) {
        return Ok(());
    }
    let hashes: Vec<u64> = hashes
        .iter()
        .zip(&ours)
        .filter_map(|(&hash, ours)| ours.then_some(hash))
        .collect();
    let keep = BooleanArray::from(ours);
    let columns: Vec<ArrayRef> = columns
        .iter()
        .map(|column| filter(column, &keep))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    let values = width + merge.spec.value.len();
    merger.add(&Entries {
        keys: &columns[..width],
        hashes: &hashes,
        values: &columns[width..values],
        counts: columns.get(values),
    })?;
    // Nothing of it has to stay in memory.
    Ok(state.end_epoch()?)
}
