//! What an edited query takes over: tables that are kept, changed on the way, left behind, and new.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Int64Type;
use weir_types::{CheckpointId, Column, DataType, KeyGroupRange};

use super::support::*;
use crate::*;

/// `ints` as it was, `texts` with the halves of its values under its columns the other way around, a table that is new.
fn edited() -> Vec<TableSpec> {
    let mut texts = specs()[1].clone();
    texts.key.reverse();
    let mut fresh = specs()[0].clone();
    fresh.table = "fresh".to_owned();
    vec![specs()[0].clone(), texts, fresh]
}

/// Swaps the key columns and doubles the value.
fn swapped() -> TableChange {
    Arc::new(|| {
        Box::new(|rows: Rows| {
            let doubled: arrow::array::Int64Array = rows.columns[2]
                .as_primitive::<Int64Type>()
                .unary(|value| value * 2);
            Ok(Rows {
                columns: vec![
                    rows.columns[1].clone(),
                    rows.columns[0].clone(),
                    Arc::new(doubled) as ArrayRef,
                ],
                rows: rows.rows,
            })
        })
    })
}

fn restoring(from: &RestoreFrom) -> Restoring {
    Restoring {
        sources: vec![from.clone()],
        tables: vec![
            TableFrom::Kept {
                source: 0,
                stored: 0,
            },
            TableFrom::Changed {
                source: 0,
                stored: 1,
                regroups: true,
                change: swapped(),
            },
            TableFrom::Empty,
        ],
    }
}

fn open(
    setup: &Setup,
    folder: &std::path::Path,
    workers: u32,
    from: &Restoring,
) -> Vec<WorkerState> {
    let shared = SharedState::new(setup.kind, setup.memory).unwrap();
    let open = |worker| {
        let options = WorkerOptions {
            worker: weir_types::WorkerId(worker),
            range: KeyGroupRange::of_worker(weir_types::WorkerId(worker), workers, GROUPS),
            key_groups: GROUPS,
            generation: weir_types::Generation(9),
            scratch: folder.join(format!("edited/w{worker}")),
            inline_writes: setup.inline,
            snapshots: SnapshotOptions::default(),
        };
        WorkerState::open_from(shared.clone(), options, edited(), Some(from)).unwrap()
    };
    (0..workers).map(open).collect()
}

/// The entries of a map of two keys and a number.
fn entries(state: &WorkerState) -> BTreeMap<(i64, String), i64> {
    let mut found = BTreeMap::new();
    let give = &mut |batch: arrow::array::RecordBatch| {
        for row in 0..batch.num_rows() {
            let text = arrow::compute::cast(batch.column(1), &arrow::datatypes::DataType::Utf8);
            let text = text.unwrap().as_string::<i32>().value(row).to_owned();
            let number =
                |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
            found.insert((number(0), text), number(2));
        }
        Ok(())
    };
    state.map_table(&operator(), "texts").scan(give).unwrap();
    found
}

#[test]
fn tables_are_kept_changed_left_behind_and_made_whatever_wrote_and_reads_them() {
    let rocks = BackendKind::Rocksdb;
    let memory = BackendKind::Memory;
    let ways = [
        (rocks, 1, rocks, 1),
        (rocks, 2, memory, 3),
        (memory, 2, rocks, 1),
        (rocks, 3, rocks, 2),
    ];
    for (before, old_workers, after, new_workers) in ways {
        let folder = tempfile::tempdir().unwrap();
        let setup = |kind| Setup {
            kind,
            memory: 8 << 20,
            inline: true,
        };
        let store = CheckpointStore::local(folder.path().join("store")).unwrap();
        let (_, states) = setup(before).open(folder.path(), 1, old_workers, None);
        for n in 0..500 {
            let key = ints(&[n]);
            let state = &states[owner(&key, old_workers)];
            put_int(&state.map_table(&operator(), "ints"), n, n * 3);
            let text = texts(&[format!("t{n}")]);
            let keys = [text, ints(&[n % 7])];
            let hash = weir_types::hash::hash_columns(&keys, 1);
            let group = weir_types::hash::key_group(hash[0], GROUPS);
            let owner = group.worker(old_workers, GROUPS).0 as usize;
            let table = states[owner].map_table(&operator(), "texts");
            let slots = slots_of(&table, &keys);
            table.with_columns(|columns| columns.set_i64(0, slots[0], n));
            table.mark_dirty(&slots);
        }
        let manifest = checkpoint(1, before, &states, &store);
        drop(states);

        let from = restoring(&manifest.restore_from(&store));
        let states = open(&setup(after), folder.path(), new_workers, &from);
        let mut found = BTreeMap::new();
        for (worker, state) in states.iter().enumerate() {
            let own = entries(state);
            for (number, text) in own.keys() {
                let keys = [ints(&[*number]), texts(std::slice::from_ref(text))];
                let hash = weir_types::hash::hash_columns(&keys, 1);
                let group = weir_types::hash::key_group(hash[0], GROUPS);
                assert_eq!(group.worker(new_workers, GROUPS).0 as usize, worker);
            }
            found.extend(own);
            assert_eq!(get_int(&state.map_table(&operator(), "fresh"), 1), None);
        }
        let expected: BTreeMap<_, _> = (0..500)
            .map(|n| ((n % 7, format!("t{n}")), n * 2))
            .collect();
        assert_eq!(
            found, expected,
            "{before:?} {old_workers} {after:?} {new_workers}"
        );
        for n in 0..500 {
            let state = &states[owner(&ints(&[n]), new_workers)];
            assert_eq!(
                get_int(&state.map_table(&operator(), "ints"), n),
                Some(n * 3)
            );
        }
        // What was left behind is in no later checkpoint, and what was linked is not written again.
        let linked = (before, old_workers, after, new_workers) == (rocks, 1, rocks, 1);
        let pending: Vec<_> = states
            .iter()
            .map(|state| state.freeze(CheckpointId(2), &store).unwrap())
            .collect();
        let parts: Vec<_> = pending
            .into_iter()
            .map(|pending| wait(pending.result()).unwrap())
            .collect();
        if linked {
            let old: Vec<&str> = manifest.files().map(|file| file.path.as_str()).collect();
            let again = parts.iter().flat_map(|part| &part.files);
            assert!(
                again.clone().any(|file| old.contains(&file.path.as_str())),
                "the file of the kept table is the old one"
            );
        }
    }
}

#[test]
fn a_table_of_other_columns_is_not_taken_for_one_that_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup {
        kind: BackendKind::Memory,
        memory: 8 << 20,
        inline: true,
    };
    let store = CheckpointStore::local(folder.path().join("store")).unwrap();
    let (_, states) = setup.open(folder.path(), 1, 1, None);
    let manifest = checkpoint(1, BackendKind::Memory, &states, &store);
    let mut spec = specs()[0].clone();
    spec.value[0] = Column::new("n", DataType::Float64);
    let restoring = Restoring {
        sources: vec![manifest.restore_from(&store)],
        tables: vec![TableFrom::Kept {
            source: 0,
            stored: 0,
        }],
    };
    let options = WorkerOptions {
        worker: weir_types::WorkerId(0),
        range: KeyGroupRange {
            start: 0,
            end: GROUPS,
        },
        key_groups: GROUPS,
        generation: weir_types::Generation(2),
        scratch: folder.path().join("again"),
        inline_writes: true,
        snapshots: SnapshotOptions::default(),
    };
    let shared = SharedState::new(BackendKind::Memory, 8 << 20).unwrap();
    let opened = WorkerState::open_from(shared, options, vec![spec], Some(&restoring));
    assert!(matches!(opened, Err(Error::Incompatible(_))));
}
