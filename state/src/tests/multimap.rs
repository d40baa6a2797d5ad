//! Multimaps: rows with multiplicities, probes, keys that do not fit memory.

use super::support::*;
use crate::*;

fn state(kind: BackendKind, memory: usize, folder: &std::path::Path) -> WorkerState {
    let (_, mut states) = Setup {
        kind,
        memory,
        inline: true,
    }
    .open(folder, 1, 1, None);
    states.remove(0)
}

fn apply(table: &MultiMapTable, key: i64, rows: &[(i64, String)], weight: i64) -> Result<()> {
    let keys = [ints(&vec![key; rows.len()])];
    let hashes = weir_types::hash::hash_columns(&keys, rows.len());
    table.apply(&keys, &hashes, &row_batch(rows), &vec![weight; rows.len()])
}

/// All matches of one key, in steps of `limit`; calls `between` after each step.
fn probe(table: &MultiMapTable, key: i64, limit: usize, between: impl Fn()) -> Vec<(i64, i64)> {
    use arrow::array::AsArray;
    let keys = [ints(&[key])];
    let hashes = weir_types::hash::hash_columns(&keys, 1);
    let (mut rows, mut cursor) = (Vec::new(), Some(ProbeCursor::default()));
    while let Some(from) = cursor {
        let (matches, next) = table.probe(&keys, &hashes, None, from, limit).unwrap();
        assert!(matches.counts.len() <= limit);
        let values = matches
            .rows
            .column(0)
            .as_primitive::<arrow::datatypes::Int64Type>();
        rows.extend(values.values().iter().copied().zip(matches.counts));
        cursor = next;
        between();
    }
    rows.sort();
    rows
}

#[test]
fn a_row_is_there_as_often_as_it_was_added_and_not_retracted() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(BackendKind::Memory, 64 << 20, folder.path());
    let table = state.multi_map_table(&operator(), "rows");
    let row = |a| (a, "b".to_owned());
    apply(&table, 7, &[row(1), row(2), row(1)], 1).unwrap();
    apply(&table, 8, &[row(3)], 1).unwrap();
    assert_eq!(probe(&table, 7, 1, || ()), [(1, 2), (2, 1)]);
    apply(&table, 7, &[row(2), row(1)], -1).unwrap();
    state.end_epoch().unwrap();
    assert_eq!(probe(&table, 7, 10, || ()), [(1, 1)]);
    assert_eq!(probe(&table, 8, 10, || ()), [(3, 1)]);
    assert_eq!(probe(&table, 9, 10, || ()), []);
    assert!(matches!(
        apply(&table, 7, &[row(2)], -1),
        Err(Error::Corrupt(_))
    ));
}

#[test]
fn a_key_whose_rows_do_not_fit_memory_is_probed_through_the_cursor() {
    for kind in [BackendKind::Rocksdb, BackendKind::Memory] {
        let folder = tempfile::tempdir().unwrap();
        let state = state(kind, 256 << 10, folder.path());
        let table = state.multi_map_table(&operator(), "rows");
        for start in (0..20_000).step_by(500) {
            let rows: Vec<_> = (start..start + 500)
                .map(|a| (a, format!("row {a}")))
                .collect();
            apply(&table, 1, &rows, 1).unwrap();
            state.end_epoch().unwrap();
        }
        let expected: Vec<(i64, i64)> = (0..20_000).map(|a| (a, 1)).collect();
        assert_eq!(
            probe(&table, 1, 777, || state.maintain().unwrap()),
            expected
        );
        state.end_epoch().unwrap();
        state.check();
    }
}

fn forget(table: &MultiMapTable, keys: &[i64]) -> Vec<u32> {
    let keys = [ints(keys)];
    let hashes = weir_types::hash::hash_columns(&keys, keys[0].len());
    table.forget(&keys, &hashes).unwrap()
}

#[test]
fn keys_that_are_forgotten_have_no_rows_and_may_get_new_ones() {
    for kind in [BackendKind::Rocksdb, BackendKind::Memory] {
        let folder = tempfile::tempdir().unwrap();
        let state = state(kind, 64 << 20, folder.path());
        let table = state.multi_map_table(&operator(), "rows");
        let row = |a| (a, "b".to_owned());
        for key in 1..=3 {
            apply(&table, key, &[row(key), row(10)], 1).unwrap();
        }
        assert!(table.is_in_memory());
        assert!(forget(&table, &[1, 7]).is_empty());
        apply(&table, 1, &[row(5)], 2).unwrap();
        state.end_epoch().unwrap();
        assert!(forget(&table, &[2]).is_empty());
        assert_eq!(probe(&table, 1, 10, || ()), [(5, 2)]);
        assert_eq!(probe(&table, 2, 10, || ()), []);
        assert_eq!(probe(&table, 3, 10, || ()), [(3, 1), (10, 1)]);
        assert!(matches!(
            apply(&table, 2, &[row(2)], -1),
            Err(Error::Corrupt(_))
        ));
        state.end_epoch().unwrap();
        state.check();
    }
}

#[test]
fn a_key_that_is_not_all_in_memory_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(BackendKind::Rocksdb, 256 << 10, folder.path());
    let table = state.multi_map_table(&operator(), "rows");
    let many: Vec<_> = (0..20_000).map(|a| (a, format!("row {a}"))).collect();
    for rows in many.chunks(500) {
        apply(&table, 1, rows, 1).unwrap();
        state.end_epoch().unwrap();
    }
    assert!(!table.is_in_memory());
    assert_eq!(forget(&table, &[1]), [0]);
    assert_eq!(probe(&table, 1, 777, || ()).len(), many.len());
}

#[test]
fn what_is_at_rest_after_a_restore_is_learned_from_look_ups() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::local(folder.path().join("checkpoints")).unwrap();
    let setup = Setup {
        kind: BackendKind::Rocksdb,
        memory: 4 << 20,
        inline: true,
    };
    let (_, states) = setup.open(folder.path(), 1, 1, None);
    let table = states[0].multi_map_table(&operator(), "rows");
    for key in 0..300 {
        apply(
            &table,
            key,
            &[(key, "b".to_owned()), (1000, "c".to_owned())],
            1,
        )
        .unwrap();
    }
    states[0].end_epoch().unwrap();
    let manifest = checkpoint(1, BackendKind::Rocksdb, &states, &store);
    drop(states);

    let from = manifest.restore_from(&store);
    let (_, states) = setup.open(folder.path(), 2, 1, Some(&from));
    let table = states[0].multi_map_table(&operator(), "rows");
    let knows = || table.cache.borrow().knows_what_is_at_rest();
    assert!(!knows());
    // New rows, taken back, some of keys that are there: nothing of what is at rest comes into memory whole.
    for step in 0..200 {
        assert_eq!(probe(&table, 1_000_000 + step, 10, || ()), []);
        apply(&table, step, &[(7, "new".to_owned())], 1).unwrap();
        if step % 2 == 0 {
            apply(&table, step, &[(1000, "c".to_owned())], -1).unwrap();
        }
        states[0].end_epoch().unwrap();
        if step == 5 {
            assert!(!knows(), "a piece after the other");
        }
    }
    assert!(knows());
    for key in 0..300 {
        let mut rows = vec![(key, 1)];
        rows.extend((key < 200).then_some((7, 1)));
        rows.extend((key >= 200 || key % 2 == 1).then_some((1000, 1)));
        rows.sort();
        assert_eq!(probe(&table, key, 10, || ()), rows, "key {key}");
    }
    states[0].check();
}
