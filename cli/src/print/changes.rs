//! Changes of one epoch as people know them: `+I -U +U -D`.
//!
//! Inside the engine a change is an insertion or a retraction. Where a result has a unique key, the retraction and the
//! insertion of one key in one epoch are one update, and are printed as the pair `-U`, `+U`; a retraction alone is a
//! deletion. Without a key there is nothing to pair by: `-D` and `+I`.

use std::collections::HashMap;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use weir_connectors::{Op, ops_of};
use weir_types::ChangeBatch;

/// The rows of an epoch with their ops: keys in the order of their first change, `-U` right before its `+U`.
/// `None` if there is no row.
pub(crate) fn pair_up(
    changes: &[ChangeBatch],
    unique_key: Option<&[usize]>,
) -> Result<Option<(RecordBatch, Vec<Op>)>, ArrowError> {
    let changes: Vec<_> = changes
        .iter()
        .filter(|batch| batch.num_rows() > 0)
        .cloned()
        .collect();
    if changes.is_empty() {
        return Ok(None);
    }
    let all = ChangeBatch::concat(&changes)?;
    let all = match unique_key {
        Some(key) if all.retracted.is_some() => all.take(&UInt32Array::from(by_key(&all, key)?))?,
        _ => all,
    };
    let ops = ops_of(&all, unique_key);
    Ok(Some((all.rows, ops)))
}

/// The order of rows in which those of one key stand together, retractions first.
fn by_key(all: &ChangeBatch, key: &[usize]) -> Result<Vec<u32>, ArrowError> {
    let mut groups: Vec<Vec<u32>> = Vec::new();
    if key.is_empty() {
        groups.push((0..all.num_rows() as u32).collect());
    } else {
        let columns: Vec<_> = key
            .iter()
            .map(|&column| all.rows.column(column).clone())
            .collect();
        let fields = columns
            .iter()
            .map(|column| SortField::new(column.data_type().clone()))
            .collect();
        let keys = RowConverter::new(fields)?.convert_columns(&columns)?;
        let mut group_of = HashMap::new();
        for (row, key) in keys.iter().enumerate() {
            let group = *group_of.entry(key).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[group].push(row as u32);
        }
    }
    Ok(groups
        .into_iter()
        .flat_map(|group| {
            let (retracted, inserted): (Vec<u32>, Vec<u32>) = group
                .into_iter()
                .partition(|&row| all.is_retracted(row as usize));
            retracted.into_iter().chain(inserted)
        })
        .collect())
}
