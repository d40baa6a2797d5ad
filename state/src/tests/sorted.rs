//! Sorted tables: order, ranges, keys that do not fit memory, bytes at rest.

use arrow::array::AsArray;

use super::support::*;
use crate::*;

fn state(
    kind: BackendKind,
    memory: usize,
    folder: &std::path::Path,
    generation: u64,
    from: Option<&RestoreFrom>,
) -> WorkerState {
    let setup = Setup {
        kind,
        memory,
        inline: true,
    };
    setup.open(folder, generation, 1, from).1.remove(0)
}

fn apply(table: &SortedTable, key: i64, rows: &[(i64, String)], weight: i64) -> Result<()> {
    let keys = [ints(&vec![key; rows.len()])];
    let hashes = weir_types::hash::hash_columns(&keys, rows.len());
    table.apply(&keys, &hashes, &row_batch(rows), &vec![weight; rows.len()])
}

fn read(table: &SortedTable, key: i64, range: &SortedRange<'_>, limit: usize) -> Vec<(i64, i64)> {
    let keys = [ints(&[key])];
    let hashes = weir_types::hash::hash_columns(&keys, 1);
    let (rows, counts) = table.range(&keys, 0, hashes[0], range, limit).unwrap();
    let values = rows
        .column(0)
        .as_primitive::<arrow::datatypes::Int64Type>()
        .values();
    values.iter().copied().zip(counts).collect()
}

fn row(a: i64, b: &str) -> (i64, String) {
    (a, b.to_owned())
}

#[test]
fn rows_come_in_the_order_of_the_sort_columns_and_then_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(BackendKind::Memory, 64 << 20, folder.path(), 1, None);
    let table = state.sorted_table(&operator(), "sorted");
    assert_eq!(table.columns_in_order(), [1, 0]);
    let rows = [
        row(3, "x"),
        row(1, "a"),
        row(2, "x"),
        row(-1, "x"),
        row(9, "ab"),
    ];
    apply(&table, 1, &rows, 1).unwrap();
    apply(&table, 1, &[row(2, "x")], 1).unwrap();
    let all = SortedRange::default();
    assert_eq!(
        read(&table, 1, &all, 10),
        [(-1, 1), (2, 2), (3, 1), (9, 1), (1, 1)]
    );
    let back = SortedRange {
        reverse: true,
        ..all
    };
    assert_eq!(read(&table, 1, &back, 2), [(1, 1), (9, 1)]);
    assert_eq!(read(&table, 2, &all, 10), []);
    assert_eq!(read(&table, 1, &all, 0), []);
    // From (x, 2) on, without it; up to "ab", with it.
    let (x2, ab) = (
        [texts(&["x".to_owned()]), ints(&[2])],
        [texts(&["ab".to_owned()])],
    );
    let middle = SortedRange {
        from: Some(SortBound {
            values: &x2,
            row: 0,
            inclusive: false,
        }),
        to: Some(SortBound {
            values: &ab,
            row: 0,
            inclusive: true,
        }),
        reverse: false,
    };
    assert_eq!(read(&table, 1, &middle, 10), [(3, 1), (9, 1)]);
    assert!(matches!(
        apply(&table, 1, &[row(7, "x")], -1),
        Err(Error::Corrupt(_))
    ));
}

#[test]
fn a_key_whose_rows_do_not_fit_memory_is_read_in_order_in_both_directions() {
    for kind in [BackendKind::Rocksdb, BackendKind::Memory] {
        let folder = tempfile::tempdir().unwrap();
        let state = state(kind, 256 << 10, folder.path(), 1, None);
        let table = state.sorted_table(&operator(), "sorted");
        for start in (0..20_000).step_by(500) {
            let rows: Vec<_> = (start..start + 500)
                .map(|a| row(a, &format!("{:05}", (a * 7919) % 20_000)))
                .collect();
            apply(&table, 1, &rows, 1).unwrap();
            state.end_epoch().unwrap();
        }
        // Some of them go again, while the others are partly in memory and partly not.
        let gone: Vec<_> = (0..20_000)
            .step_by(3)
            .map(|a| row(a, &format!("{:05}", (a * 7919) % 20_000)))
            .collect();
        for rows in gone.chunks(500) {
            apply(&table, 1, rows, -1).unwrap();
            state.end_epoch().unwrap();
        }
        let mut expected: Vec<(String, i64)> = (0..20_000)
            .filter(|a| a % 3 != 0)
            .map(|a| (format!("{:05}", (a * 7919) % 20_000), a))
            .collect();
        expected.sort();
        let ascending: Vec<(i64, i64)> = expected.iter().map(|(_, a)| (*a, 1)).collect();
        let descending: Vec<(i64, i64)> = ascending.iter().rev().copied().collect();
        for (reverse, expected) in [(true, ascending), (false, descending)] {
            let all = SortedRange {
                reverse,
                ..SortedRange::default()
            };
            assert_eq!(read(&table, 1, &all, 50), expected[..50]);
            assert_eq!(read(&table, 1, &all, usize::MAX), expected);
        }
        state.end_epoch().unwrap();
        state.check();
    }
}

#[test]
fn an_order_survives_a_restore_and_another_order_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::local(folder.path().join("checkpoints")).unwrap();
    let state1 = state(BackendKind::Rocksdb, 1 << 20, folder.path(), 1, None);
    let table = state1.sorted_table(&operator(), "sorted");
    apply(&table, 1, &[row(1, "a"), row(2, "c"), row(3, "b")], 1).unwrap();
    let manifest = checkpoint(1, BackendKind::Rocksdb, &[state1], &store);
    let from = manifest.restore_from(&store);
    let state2 = state(BackendKind::Rocksdb, 1 << 20, folder.path(), 2, Some(&from));
    let table = state2.sorted_table(&operator(), "sorted");
    let all = SortedRange::default();
    assert_eq!(read(&table, 1, &all, 2), [(2, 1), (3, 1)]);
    assert_eq!(read(&table, 1, &all, 9), [(2, 1), (3, 1), (1, 1)]);

    let mut other = manifest.restore_from(&store);
    other.tables[4].order[0].descending = false;
    let options = WorkerOptions {
        worker: weir_types::WorkerId(0),
        range: weir_types::KeyGroupRange::of_worker(weir_types::WorkerId(0), 1, GROUPS),
        key_groups: GROUPS,
        generation: weir_types::Generation(3),
        scratch: folder.path().join("scratch/other"),
        inline_writes: true,
        snapshots: SnapshotOptions::default(),
    };
    let shared = SharedState::new(BackendKind::Rocksdb, 1 << 20).unwrap();
    match WorkerState::open(shared, options, specs(), Some(&other)) {
        Err(Error::Incompatible(text)) => assert!(text.contains("another order"), "{text}"),
        other => panic!("an order that changed is refused, not {:?}", other.err()),
    }
}
