//! More state than memory: slower, and right. (Five million keys under 64 MiB: `make bench`, `weir-bench big-state`.)

use weir_state::BackendKind;
use weir_tests::job::{Setup, run};
use weir_tests::value::Value;

const KEYS: i64 = 400_000;
const MEMORY: usize = 16 << 20;

/// Every key comes four times, far apart: its entry has been spilled in between.
fn sql() -> String {
    format!(
        "CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'datagen', 'rows' = '{}', \
         'fields.id.kind' = 'sequence');\n\
         SELECT n, count(*), sum(total), sum(k) FROM \
         (SELECT id % {KEYS} AS k, count(*) AS n, sum(id) AS total FROM numbers GROUP BY id % {KEYS}) AS x GROUP BY n;\n",
        4 * KEYS
    )
}

#[test]
fn an_aggregate_with_more_keys_than_memory_is_right() {
    for parallelism in [1, 3] {
        let setup = Setup {
            parallelism,
            backend: BackendKind::Rocksdb,
            memory: Some(MEMORY),
            ..Setup::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let ran = run(&sql(), folder.path(), &setup).unwrap();
        let rows: Vec<_> = ran.outputs[0].folded.0.keys().collect();
        let total = 4 * KEYS * (4 * KEYS - 1) / 2;
        let keys = KEYS * (KEYS - 1) / 2;
        let expected = vec![
            Value::Int(4),
            Value::Int(KEYS),
            Value::Int(total),
            Value::Int(keys),
        ];
        assert_eq!(rows, [&expected]);
        let state = &ran.summary.progress.state;
        assert!(
            state.entries_spilled > 0 && state.entries_reloaded > 0,
            "{state:?}"
        );
        assert!(
            state.memory_bytes_peak as usize <= MEMORY / 10 * 11,
            "at parallelism {parallelism}: {state:?}"
        );
    }
}
