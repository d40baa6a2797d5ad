//! A worker with one table of each layout, and helpers to talk to it.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use weir_types::hash::hash_columns;
use weir_types::{
    CheckpointId, Column, DataType, Generation, KeyGroupRange, OperatorId, SortColumn, WorkerId,
};

use crate::*;

pub(crate) const GROUPS: u16 = 16;

pub(crate) fn operator() -> OperatorId {
    OperatorId::new("view/aggregate")
}

/// Tables `ints` (map of one integer), `texts` (map of a string and an integer), `slices`, `rows` (multimap), `sorted`.
pub(crate) fn specs() -> Vec<TableSpec> {
    let spec = |table: &str, layout, key: &[(&str, DataType)], value: &[(&str, DataType)]| {
        let columns = |list: &[(&str, DataType)]| {
            list.iter()
                .map(|(name, data_type)| Column::new(*name, data_type.clone()))
                .collect()
        };
        let (key, value) = (columns(key), columns(value));
        TableSpec {
            operator: operator(),
            table: table.to_owned(),
            layout,
            key,
            value,
            order: Vec::new(),
        }
    };
    let (int, text) = (DataType::Int64, DataType::String);
    let mut specs = vec![
        spec(
            "ints",
            Layout::Map,
            &[("k", int.clone())],
            &[("n", int.clone()), ("s", text.clone())],
        ),
        spec(
            "texts",
            Layout::Map,
            &[("k", text.clone()), ("j", int.clone())],
            &[("n", int.clone())],
        ),
        spec(
            "slices",
            Layout::Slices,
            &[("k", int.clone())],
            &[("n", int.clone())],
        ),
        spec(
            "rows",
            Layout::MultiMap,
            &[("k", int.clone())],
            &[("a", int.clone()), ("b", text.clone())],
        ),
        spec(
            "sorted",
            Layout::Sorted,
            &[("k", int.clone())],
            &[("a", int), ("b", text)],
        ),
    ];
    // The greatest b first, then the smallest a.
    specs[4].order = vec![SortColumn {
        column: 1,
        descending: true,
        nulls_first: true,
    }];
    specs
}

pub(crate) struct Setup {
    pub(crate) kind: BackendKind,
    pub(crate) memory: usize,
    pub(crate) inline: bool,
}

impl Setup {
    /// Opens all workers of a job of parallelism `workers` in `folder`.
    pub(crate) fn open(
        &self,
        folder: &Path,
        generation: u64,
        workers: u32,
        from: Option<&RestoreFrom>,
    ) -> (Arc<SharedState>, Vec<WorkerState>) {
        let shared = SharedState::new(self.kind, self.memory).unwrap();
        let open = |worker| {
            let options = WorkerOptions {
                worker: WorkerId(worker),
                range: KeyGroupRange::of_worker(WorkerId(worker), workers, GROUPS),
                key_groups: GROUPS,
                generation: Generation(generation),
                scratch: folder.join(format!("scratch/g{generation}/w{worker}")),
                inline_writes: self.inline,
                snapshots: SnapshotOptions::default(),
            };
            WorkerState::open(shared.clone(), options, specs(), from).unwrap()
        };
        let states = (0..workers).map(open).collect();
        (shared, states)
    }
}

pub(crate) fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub(crate) fn texts(values: &[String]) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(values))
}

pub(crate) fn owner(key: &ArrayRef, workers: u32) -> usize {
    let group = weir_types::hash::key_group(hash_columns(std::slice::from_ref(key), 1)[0], GROUPS);
    group.worker(workers, GROUPS).0 as usize
}

pub(crate) fn slots_of(table: &MapTable, keys: &[ArrayRef]) -> Vec<u32> {
    let mut slots = Vec::new();
    table
        .slots(keys, &hash_columns(keys, keys[0].len()), &mut slots)
        .unwrap();
    slots
}

pub(crate) fn find(table: &MapTable, keys: &[ArrayRef]) -> Vec<u32> {
    let mut slots = Vec::new();
    table
        .find(keys, &hash_columns(keys, keys[0].len()), &mut slots)
        .unwrap();
    slots
}

pub(crate) fn put_int(table: &MapTable, key: i64, value: i64) {
    let slots = slots_of(table, &[ints(&[key])]);
    table.with_columns(|columns| columns.set_i64(0, slots[0], value));
    table.mark_dirty(&slots);
}

pub(crate) fn get_int(table: &MapTable, key: i64) -> Option<i64> {
    let slots = find(table, &[ints(&[key])]);
    (slots[0] != u32::MAX).then(|| table.with_columns(|columns| columns.i64(0, slots[0])))
}

pub(crate) fn remove_int(table: &MapTable, key: i64) {
    let slots = find(table, &[ints(&[key])]);
    if slots[0] != u32::MAX {
        table.remove(&slots);
    }
}

pub(crate) fn row_batch(rows: &[(i64, String)]) -> RecordBatch {
    let spec = &specs()[3];
    let a: Vec<i64> = rows.iter().map(|(a, _)| *a).collect();
    let b: Vec<String> = rows.iter().map(|(_, b)| b.clone()).collect();
    RecordBatch::try_new(
        DataType::arrow_schema(&spec.value),
        vec![ints(&a), texts(&b)],
    )
    .unwrap()
}

/// A manifest of these parts.
pub(crate) fn manifest(
    checkpoint: u64,
    kind: BackendKind,
    workers: Vec<WorkerSnapshot>,
) -> Manifest {
    Manifest {
        format_version: MANIFEST_FORMAT_VERSION,
        job: "job".to_owned(),
        generation: Generation(1),
        checkpoint: CheckpointId(checkpoint),
        processing_time: 1_700_000_000_000_000,
        sql: "SELECT 1".to_owned(),
        plan: serde_json::json!({"operators": []}),
        parallelism: workers.len() as u32,
        key_groups: GROUPS,
        backend: kind,
        tables: specs(),
        workers,
        sources: serde_json::json!({}),
        watermarks: serde_json::json!({}),
        sinks: serde_json::json!({}),
        drained: false,
        counters: serde_json::json!({}),
        evolution: serde_json::Value::Null,
    }
}

/// Waits for a future without a runtime: nothing here ever waits for I/O.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Freezes all workers, waits, and publishes the manifest.
pub(crate) fn checkpoint(
    number: u64,
    kind: BackendKind,
    states: &[WorkerState],
    store: &Arc<CheckpointStore>,
) -> Manifest {
    let pending: Vec<_> = states
        .iter()
        .map(|state| state.freeze(CheckpointId(number), store).unwrap())
        .collect();
    publish(number, kind, pending, store)
}

pub(crate) fn publish(
    number: u64,
    kind: BackendKind,
    pending: Vec<PendingSnapshot>,
    store: &Arc<CheckpointStore>,
) -> Manifest {
    let parts = pending
        .into_iter()
        .map(|pending| wait(pending.result()).unwrap())
        // Figures are no part of a manifest.
        .map(|part| WorkerSnapshot {
            tables: Vec::new(),
            ..part
        })
        .collect();
    let manifest = manifest(number, kind, parts);
    wait(store.publish(&manifest)).unwrap();
    manifest
}
