//! State larger than memory: it works, it spills and reloads, and memory stays within the budget.

use super::support::*;
use crate::*;

/// Counts every key of a sequence in which each of `keys` keys comes twice, far apart, and checks all counts. An epoch
/// is one batch, as it is while a source works off a backlog under pressure; every 40th is a checkpoint.
fn count(kind: BackendKind, keys: i64, memory: usize) -> StateStatistics {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::local(folder.path().join("checkpoints")).unwrap();
    let setup = Setup {
        kind,
        memory,
        inline: false,
    };
    let (shared, mut states) = setup.open(folder.path(), 1, 1, None);
    let state = states.remove(0);
    let table = state.map_table(&operator(), "ints");
    let mut number = 0;
    let started = std::time::Instant::now();
    let mut pending: Vec<PendingSnapshot> = Vec::new();
    for round in 0..2 {
        for (batch, start) in (0..keys).step_by(8192).enumerate() {
            let batch_keys: Vec<i64> = (start..keys.min(start + 8192))
                .map(|key| key.wrapping_mul(0x9E37_79B9))
                .collect();
            let slots = slots_of(&table, &[ints(&batch_keys)]);
            table.with_columns(|columns| {
                for &slot in &slots {
                    let before = if columns.is_null(0, slot) {
                        0
                    } else {
                        columns.i64(0, slot)
                    };
                    assert_eq!(before, round);
                    columns.set_i64(0, slot, before + 1);
                }
            });
            table.mark_dirty(&slots);
            state.maintain().unwrap();
            state.end_epoch().unwrap();
            if std::env::var("WEIR_STATE_KEYS").is_ok() && batch % 50 == 0 {
                eprintln!(
                    "{round} {batch} {:?} {:?}",
                    started.elapsed(),
                    shared.statistics()
                );
            }
            if batch % 40 == 39 {
                number += 1;
                pending.push(
                    state
                        .freeze(weir_types::CheckpointId(number), &store)
                        .unwrap(),
                );
                while pending.len() > 1 {
                    wait(pending.remove(0).result()).unwrap();
                }
            }
        }
    }
    let mut entries = 0;
    table
        .scan(&mut |batch| {
            use arrow::array::AsArray;
            let counts = batch
                .column(1)
                .as_primitive::<arrow::datatypes::Int64Type>();
            assert!(counts.values().iter().all(|&count| count == 2));
            entries += batch.num_rows() as i64;
            Ok(())
        })
        .unwrap();
    assert_eq!(entries, keys);
    shared.statistics()
}

#[test]
fn state_larger_than_memory_stays_within_its_budget() {
    let big = std::env::var("WEIR_STATE_KEYS")
        .ok()
        .and_then(|keys| keys.parse().ok());
    let (keys, memory) = big.map_or((400_000, 16 << 20), |keys| (keys, 64 << 20));
    let statistics = count(BackendKind::Rocksdb, keys, memory);
    eprintln!("{statistics:?}");
    assert!(statistics.entries_spilled > 0);
    assert!(statistics.entries_reloaded > 0);
    let limit = statistics.memory_bytes_budget + statistics.memory_bytes_budget / 10;
    assert!(statistics.memory_bytes_peak <= limit, "{statistics:?}");
}

#[test]
fn everything_in_memory_never_asks_the_database() {
    let statistics = count(BackendKind::Memory, 20_000, 64 << 20);
    assert_eq!(
        (statistics.entries_spilled, statistics.entries_reloaded),
        (0, 0)
    );
    assert!(statistics.memory_bytes_peak > 20_000 * 16);
}
