//! Keys of one column, of every type: in memory, at rest, and back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Int8Array, Int64Array, StringViewArray,
    TimestampMillisecondArray, UInt64Array,
};
use weir_types::{CheckpointId, Column, DataType, Generation, KeyGroupRange, TimeUnit, WorkerId};

use super::support::*;
use crate::*;

/// Each type with values that differ, NULL among them.
fn key_columns() -> Vec<(DataType, ArrayRef)> {
    vec![
        (
            DataType::Boolean,
            Arc::new(BooleanArray::from(vec![Some(false), Some(true), None])) as ArrayRef,
        ),
        (
            DataType::Int8,
            Arc::new(Int8Array::from(vec![Some(-1), Some(0), Some(1), None])),
        ),
        (
            DataType::Int64,
            Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(0), None])),
        ),
        (
            DataType::UInt64,
            Arc::new(UInt64Array::from(vec![Some(0), Some(u64::MAX), None])),
        ),
        (
            DataType::Date,
            Arc::new(Date32Array::from(vec![Some(-1), Some(19_000), None])),
        ),
        (
            DataType::Timestamp(TimeUnit::Milli),
            Arc::new(TimestampMillisecondArray::from(vec![
                Some(-1),
                Some(0),
                None,
            ])),
        ),
        (
            DataType::String,
            Arc::new(StringViewArray::from(vec![Some(""), Some("a\0b"), None])),
        ),
    ]
}

fn spec(key: &DataType) -> TableSpec {
    TableSpec {
        operator: operator(),
        table: "keys".to_owned(),
        layout: Layout::Slices,
        key: vec![Column::new("k", key.clone())],
        value: vec![Column::new("n", DataType::Int64)],
        order: Vec::new(),
    }
}

fn open(
    folder: &std::path::Path,
    kind: BackendKind,
    generation: u64,
    key: &DataType,
    from: Option<&RestoreFrom>,
) -> WorkerState {
    let options = WorkerOptions {
        worker: WorkerId(0),
        range: KeyGroupRange::of_worker(WorkerId(0), 1, GROUPS),
        key_groups: GROUPS,
        generation: Generation(generation),
        scratch: folder.join(format!("g{generation}")),
        inline_writes: true,
        snapshots: SnapshotOptions::default(),
    };
    let shared = SharedState::new(kind, 1 << 20).unwrap();
    WorkerState::open(shared, options, vec![spec(key)], from).unwrap()
}

/// What a slice holds: the texts of its keys, with their values.
fn content(table: &MapTable) -> Vec<(String, i64)> {
    let mut rows = Vec::new();
    table
        .scan(&mut |batch| {
            use arrow::array::AsArray;
            let numbers = batch
                .column(1)
                .as_primitive::<arrow::datatypes::Int64Type>();
            for row in 0..batch.num_rows() {
                let key = format!("{:?}", batch.column(0).slice(row, 1));
                rows.push((key, numbers.value(row)));
            }
            Ok(())
        })
        .unwrap();
    rows.sort();
    rows
}

#[test]
fn a_key_of_one_column_comes_back_from_a_checkpoint_as_it_was_whatever_its_type() {
    for kind in [BackendKind::Memory, BackendKind::Rocksdb] {
        for (data_type, keys) in key_columns() {
            let folder = tempfile::tempdir().unwrap();
            let state = open(folder.path(), kind, 1, &data_type, None);
            let table = state.slice_table(&operator(), "keys").slice(10).unwrap();
            let slots = slots_of(&table, std::slice::from_ref(&keys));
            table.with_columns(|columns| {
                for (row, &slot) in slots.iter().enumerate() {
                    columns.set_i64(0, slot, row as i64);
                }
            });
            table.mark_dirty(&slots);
            state.end_epoch().unwrap();
            let written = content(&table);
            assert_eq!(written.len(), keys.len(), "{data_type}");

            let store = CheckpointStore::local(folder.path().join("c")).unwrap();
            let pending = state.freeze(CheckpointId(1), &store).unwrap();
            let mut manifest = publish(1, kind, vec![pending], &store);
            manifest.tables = vec![spec(&data_type)];
            let from = manifest.restore_from(&store);
            let restored = open(folder.path(), kind, 2, &data_type, Some(&from));
            let table = restored.slice_table(&operator(), "keys").slice(10).unwrap();
            assert_eq!(content(&table), written, "{data_type} on {kind:?}");
            // Looking the keys up finds what the scan shows, and makes no second entry of it.
            let slots = slots_of(&table, &[keys]);
            table.with_columns(|columns| {
                for (row, &slot) in slots.iter().enumerate() {
                    assert_eq!(columns.i64(0, slot), row as i64, "{data_type}");
                }
            });
            assert_eq!(content(&table), written, "{data_type} on {kind:?}");
        }
    }
}
