//! Views of jobs that do not run: read from the newest checkpoint. And which views there are: `views.json` in a job's folder.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;

use arrow::array::{Array, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use weir_planner::plan::StreamPlan;
use weir_planner::{Wanted, is_by_key};
use weir_state::ColumnRole;
use weir_types::{DataType, KeyGroupRange, hash};

use super::{
    Looked, ROWS_BYTES_MAX, ViewInfo, ViewRows, no_such_view, passing, too_large, view_of, views_of,
};
use crate::{Error, Result, checkpoint_state};

const FILE: &str = "views.json";

/// `views.json`: what the last start of a job keeps.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Noted {
    version: u32,
    job: String,
    views: Vec<ViewInfo>,
}

/// Notes in a job's folder which views it keeps, so that others find them by name.
pub(crate) fn note(folder: &Path, job: &str, plan: &StreamPlan) -> Result<()> {
    let path = folder.join(FILE);
    let failed = |error: std::io::Error| {
        Error::Job(format!("[R0053] cannot write {}: {error}", path.display()))
    };
    let views = views_of(plan);
    if views.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        };
    }
    let noted = Noted {
        version: 1,
        job: job.to_owned(),
        views,
    };
    let text = serde_json::to_vec_pretty(&noted).map_err(|error| failed(error.into()))?;
    let part = folder.join("views.part");
    std::fs::write(&part, text)
        .and_then(|()| std::fs::rename(&part, &path))
        .map_err(failed)
}

/// The views of the jobs whose folders are in `root`: folder, job, view. What cannot be read is none of them.
pub(crate) fn noted(root: &Path) -> Vec<(std::path::PathBuf, String, ViewInfo)> {
    let mut found = Vec::new();
    let Ok(folders) = std::fs::read_dir(root) else {
        return found;
    };
    let mut folders: Vec<_> = folders.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    for folder in folders {
        let text = std::fs::read(folder.join(FILE)).unwrap_or_default();
        let noted: Noted = serde_json::from_slice(&text).unwrap_or_default();
        for view in noted.views {
            found.push((folder.clone(), noted.job.clone(), view));
        }
    }
    found
}

/// The rows of a view at the newest checkpoint of a job that does not run.
pub(crate) fn stored(
    state_dir: &Path,
    job: &str,
    view: &str,
    wanted: &[Wanted],
) -> Result<ViewRows> {
    let (reader, manifest) = checkpoint_state(job, state_dir, None)?;
    let plan: StreamPlan = serde_json::from_value(manifest.plan.clone()).map_err(|error| {
        Error::Job(format!(
            "[R0053] the plan in checkpoint {} of job `{job}` cannot be read: {error}",
            manifest.checkpoint
        ))
    })?;
    let operator = plan
        .operators
        .iter()
        .find(|operator| view_of(&plan, operator) == Some(view));
    let Some(operator) = operator else {
        return Err(no_such_view(&plan, view));
    };
    let mut info = super::info(view, operator);
    info.as_of = Some(manifest.processing_time);
    let tables = reader.tables();
    let table = tables
        .iter()
        .position(|table| table.operator == operator.id && table.table == "rows");
    let Some(table) = table else {
        return Err(Error::Internal {
            operator: operator.id.clone(),
            message: "its checkpoint has no rows of the view".to_owned(),
        });
    };
    let of = |role: ColumnRole| -> Vec<usize> {
        let columns = tables[table].columns.iter().enumerate();
        columns
            .filter(|(_, column)| column.role == role)
            .map(|(index, _)| index)
            .collect()
    };
    let (values, counts) = (of(ColumnRole::Value), of(ColumnRole::Count));
    let schema = DataType::arrow_schema(&info.columns);
    let looked = Looked::new(wanted, &schema);
    let kept = operator.state.iter().find(|table| table.name == "rows");
    let key: Vec<String> = kept
        .into_iter()
        .flat_map(|table| table.key.iter().map(|column| column.name.clone()))
        .collect();
    let by_key = is_by_key(&key, wanted);
    let groups = by_key.then(|| groups_of(&key, &looked, &schema, reader.key_groups()));
    let groups = match groups.flatten() {
        Some(groups) => groups.into_iter().map(Some).collect(),
        None => vec![None],
    };
    let (mut rows, mut bytes, mut failed, mut rows_read) = (Vec::new(), 0usize, None, 0u64);
    let mut take = |batch: RecordBatch| {
        rows_read += batch.num_rows() as u64;
        let count = counts
            .first()
            .and_then(|&count| batch.column(count).as_any().downcast_ref::<Int64Array>());
        let indices: UInt32Array = (0..batch.num_rows())
            .flat_map(|row| {
                let times = count.map_or(1, |count| count.value(row));
                (0..times).map(move |_| row as u32)
            })
            .collect();
        let columns = values.iter().zip(schema.fields()).map(|(&place, field)| {
            let taken = arrow::compute::take(batch.column(place), &indices, None)?;
            arrow::compute::cast(&taken, field.data_type())
        });
        let columns: std::result::Result<Vec<_>, _> = columns.collect();
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        let batch = columns
            .and_then(|columns| {
                RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            })
            .and_then(|batch| passing(batch, &looked));
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                failed = Some(error);
                return Ok(ControlFlow::Break(()));
            }
        };
        bytes = bytes.saturating_add(batch.get_array_memory_size());
        if bytes > ROWS_BYTES_MAX {
            return Ok(ControlFlow::Break(()));
        }
        rows.push(batch);
        Ok(ControlFlow::Continue(()))
    };
    for group in groups {
        reader.scan(table, group, &mut take)?;
    }
    if let Some(error) = failed {
        return Err(Error::Internal {
            operator: operator.id.clone(),
            message: format!("its rows cannot be read: {error}"),
        });
    }
    if bytes > ROWS_BYTES_MAX {
        return Err(too_large(view));
    }
    Ok(ViewRows {
        info,
        rows,
        rows_read,
    })
}

/// The key groups that the wanted keys are in, each as a range of its own; `None`: that cannot be told.
fn groups_of(
    key: &[String],
    looked: &Looked,
    schema: &SchemaRef,
    groups: u16,
) -> Option<Vec<KeyGroupRange>> {
    let places: Option<Vec<usize>> = key
        .iter()
        .map(|name| Some(schema.column_with_name(name)?.0))
        .collect();
    let keys = looked.keys(&places?)?;
    let count = keys.first().map_or(0, |column| column.len());
    let found: BTreeSet<u16> = hash::hash_columns(&keys, count)
        .into_iter()
        .map(|hash| hash::key_group(hash, groups).0)
        .collect();
    let range = |start: u16| KeyGroupRange {
        start,
        end: start + 1,
    };
    Some(found.into_iter().map(range).collect())
}
