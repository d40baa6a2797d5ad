//! The gate: what happens between a freeze and its links stays out of the snapshot.

use std::sync::Arc;

use weir_types::CheckpointId;

use super::support::*;
use crate::*;

fn restored(
    manifest: &Manifest,
    store: &Arc<CheckpointStore>,
    folder: &std::path::Path,
) -> WorkerState {
    let setup = Setup {
        kind: BackendKind::Memory,
        memory: 64 << 20,
        inline: true,
    };
    setup
        .open(folder, 99, 1, Some(&manifest.restore_from(store)))
        .1
        .remove(0)
}

#[test]
fn what_changes_after_the_freeze_is_not_in_the_snapshot() {
    for kind in [BackendKind::Rocksdb, BackendKind::Memory] {
        let folder = tempfile::tempdir().unwrap();
        let store = CheckpointStore::local(folder.path().join("c")).unwrap();
        let (shared, mut states) = Setup {
            kind,
            memory: 256 << 10,
            inline: false,
        }
        .open(folder.path(), 1, 1, None);
        let state = states.remove(0);
        let table = state.map_table(&operator(), "ints");
        let slices = state.slice_table(&operator(), "slices");
        for key in 0..4000 {
            put_int(&table, key, key);
            if key % 100 == 99 {
                state.end_epoch().unwrap();
            }
        }
        put_int(&slices.slice(10).unwrap(), 1, 1);
        state.end_epoch().unwrap();
        let pending = state.freeze(CheckpointId(1), &store).unwrap();
        // Far more than fits: it has to be spilled, and must not be before the links are there.
        slices.drop_slice(10).unwrap();
        for key in 0..8000 {
            put_int(&table, key, -1);
            if key % 100 == 99 {
                state.end_epoch().unwrap();
            }
        }
        for key in 0..1000 {
            remove_int(&table, key);
            if key % 100 == 99 {
                state.end_epoch().unwrap();
            }
        }
        put_int(&slices.slice(10).unwrap(), 2, 2);
        let manifest = publish(1, kind, vec![pending], &store);
        assert!(shared.statistics().entries_spilled > 0);

        let old = restored(&manifest, &store, folder.path());
        let ints = old.map_table(&operator(), "ints");
        for key in 0..4000 {
            assert_eq!(get_int(&ints, key), Some(key));
        }
        assert_eq!(get_int(&ints, 4000), None);
        let old_slices = old.slice_table(&operator(), "slices");
        assert_eq!(old_slices.ends(), [10]);
        assert_eq!(get_int(&old_slices.slice(10).unwrap(), 1), Some(1));
        assert_eq!(get_int(&old_slices.slice(10).unwrap(), 2), None);

        // And the next checkpoint has it all.
        let manifest = checkpoint(2, kind, &[state], &store);
        let new = restored(&manifest, &store, folder.path());
        let ints = new.map_table(&operator(), "ints");
        for key in [0, 999, 1000, 7999, 8000] {
            assert_eq!(
                get_int(&ints, key),
                (1000..8000).contains(&key).then_some(-1),
                "key {key}"
            );
        }
        let new_slices = new.slice_table(&operator(), "slices");
        assert_eq!(get_int(&new_slices.slice(10).unwrap(), 1), None);
        assert_eq!(get_int(&new_slices.slice(10).unwrap(), 2), Some(2));
    }
}

#[test]
fn a_failed_snapshot_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::local(folder.path().join("c")).unwrap();
    let setup = Setup {
        kind: BackendKind::Rocksdb,
        memory: 64 << 20,
        inline: false,
    };
    let (_, mut states) = setup.open(folder.path(), 1, 1, None);
    let state = states.remove(0);
    put_int(&state.map_table(&operator(), "ints"), 1, 1);
    state.end_epoch().unwrap();
    // Links cannot be made: something that is no folder stands in their way.
    let scratch = folder.path().join("scratch/g1/w0");
    std::fs::write(scratch.join("links-1"), b"in the way").unwrap();
    let mut pending = state.freeze(CheckpointId(1), &store).unwrap();
    let failed = loop {
        if let Some(result) = pending.try_result() {
            break result;
        }
        std::thread::yield_now();
    };
    assert!(failed.is_err());
    put_int(&state.map_table(&operator(), "ints"), 2, 2);
    state.end_epoch().unwrap();
    let manifest = checkpoint(2, BackendKind::Rocksdb, &[state], &store);
    let new = restored(&manifest, &store, folder.path());
    let ints = new.map_table(&operator(), "ints");
    assert_eq!((get_int(&ints, 1), get_int(&ints, 2)), (Some(1), Some(2)));
}

#[test]
fn a_deleted_key_stays_deleted_after_eviction_reload_and_restore() {
    for kind in [BackendKind::Rocksdb, BackendKind::Memory] {
        let folder = tempfile::tempdir().unwrap();
        let store = CheckpointStore::local(folder.path().join("c")).unwrap();
        let (shared, mut states) = Setup {
            kind,
            memory: 128 << 10,
            inline: true,
        }
        .open(folder.path(), 1, 1, None);
        let state = states.remove(0);
        let table = state.map_table(&operator(), "ints");
        let fill = |range: std::ops::Range<i64>| {
            for key in range {
                put_int(&table, key, key);
                if key % 50 == 0 {
                    state.end_epoch().unwrap();
                }
            }
            state.end_epoch().unwrap();
        };
        put_int(&table, -1, 7);
        state.end_epoch().unwrap();
        checkpoint(1, kind, std::slice::from_ref(&state), &store);
        remove_int(&table, -1);
        state.end_epoch().unwrap();
        fill(0..5000);
        assert!(shared.statistics().entries_spilled > 0);
        assert_eq!(get_int(&table, -1), None);
        state.end_epoch().unwrap();
        fill(5000..10_000);
        assert_eq!(get_int(&table, -1), None);
        // A slot that was asked for but never marked dirty is no entry.
        let slots = slots_of(&table, &[ints(&[-1])]);
        assert!(table.is_new(slots[0]));
        table.with_columns(|columns| columns.set_i64(0, slots[0], 9));
        state.end_epoch().unwrap();
        assert!(!table.is_new(slots[0]));
        assert_eq!(get_int(&table, -1), None);
        let manifest = checkpoint(2, kind, &[state], &store);
        let new = restored(&manifest, &store, folder.path());
        assert_eq!(get_int(&new.map_table(&operator(), "ints"), -1), None);
        assert_eq!(
            get_int(&new.map_table(&operator(), "ints"), 9999),
            Some(9999)
        );
    }
}

#[test]
fn slices_that_open_and_close_between_checkpoints_never_reach_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::local(folder.path().join("c")).unwrap();
    let setup = Setup {
        kind: BackendKind::Rocksdb,
        memory: 64 << 20,
        inline: true,
    };
    let (_, mut states) = setup.open(folder.path(), 1, 1, None);
    let state = states.remove(0);
    let slices = state.slice_table(&operator(), "slices");
    for end in 0..50 {
        put_int(&slices.slice(end).unwrap(), end, end);
        state.end_epoch().unwrap();
        slices.drop_slice(end).unwrap();
    }
    let pending = state.freeze(CheckpointId(1), &store).unwrap();
    let snapshot = wait(pending.result()).unwrap();
    assert_eq!(snapshot.entries, 0);
    assert!(
        !snapshot
            .files
            .iter()
            .any(|file| file.name.ends_with(".sst")),
        "{:?}",
        snapshot.files
    );
}

#[test]
fn an_entry_that_was_deleted_and_came_back_is_found_after_it_left_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::local(folder.path().join("c")).unwrap();
    let setup = Setup {
        kind: BackendKind::Rocksdb,
        memory: 256 << 10,
        inline: true,
    };
    let (_, states) = setup.open(folder.path(), 1, 1, None);
    let table = states[0].map_table(&operator(), "ints");
    (0..100).for_each(|key| put_int(&table, key, key));
    states[0].end_epoch().unwrap();
    let manifest = checkpoint(1, setup.kind, &states, &store);
    let from = manifest.restore_from(&store);
    let (shared, states) = setup.open(folder.path(), 2, 1, Some(&from));
    let state = &states[0];
    let table = state.map_table(&operator(), "ints");
    // Half of them come from the database, and are deleted; the database deletes them while somebody looks for them.
    (0..50).for_each(|key| remove_int(&table, key));
    state.end_epoch().unwrap();
    (0..50).for_each(|key| assert_eq!(get_int(&table, key), None));
    let mut pending = state.freeze(CheckpointId(2), &store).unwrap();
    while pending.try_result().is_none() {
        std::thread::yield_now();
    }
    (0..50).for_each(|key| put_int(&table, key, -key));
    state.end_epoch().unwrap();
    // What is at rest is learned, and they are not among it.
    let knows = || table.cache.borrow().knows_what_is_at_rest();
    assert!(!knows());
    for key in 1000..1200 {
        assert_eq!(get_int(&table, key), None);
        state.end_epoch().unwrap();
    }
    assert!(knows());
    for key in 10_000..14_000 {
        put_int(&table, key, key);
        if key % 50 == 0 {
            state.end_epoch().unwrap();
        }
    }
    assert!(shared.statistics().entries_spilled > 0);
    (0..50).for_each(|key| assert_eq!(get_int(&table, key), Some(-key)));
    (50..100).for_each(|key| assert_eq!(get_int(&table, key), Some(key)));
}
