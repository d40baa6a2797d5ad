//! The whole job on one thread, interleaved by a seed: any seed gives the same answer, and one seed the same run.

mod faults;

use weir_engine::Outcome;
use weir_state::BackendKind;
use weir_tests::data::{Table, rng};
use weir_tests::job::{Output, Setup, run, run_from};
use weir_tests::suite::Suite;

use rand::Rng;

use crate::oracle::data::random_table;

const QUERIES: [&str; 6] = [
    "SELECT window_start, k, count(*), sum(b) FROM TUMBLE(alpha, ts, INTERVAL '10' SECOND) GROUP BY window_start, window_end, k",
    "SELECT n, count(*) FROM (SELECT k, s, count(*) AS n FROM alpha GROUP BY k, s) AS x GROUP BY n",
    "SELECT a.k, a.n, b.n FROM (SELECT k, count(*) AS n FROM alpha GROUP BY k) AS a JOIN (SELECT k, sum(b) AS n FROM beta GROUP BY k) AS b ON a.k = b.k",
    "SELECT k, s FROM alpha UNION ALL SELECT k, s FROM beta WHERE b > 1",
    // By a clock that stands still, so that any interleaving gives the same: what has come stays, the rest waits for ever.
    "SELECT k, count(*) FROM alpha WHERE ts <= now() - INTERVAL '1' HOUR AND ts > now() - INTERVAL '4000' DAY GROUP BY k",
    "WITH c AS (SELECT k, count(*) AS n FROM beta GROUP BY k) SELECT a.k, a.s, b.n FROM alpha AS a LEFT JOIN c FOR SYSTEM_TIME AS OF PROCTIME() AS b ON a.k = b.k",
];

/// Where processing time stands, in microseconds: years after the rows.
const NOW: i64 = 1_893_456_000_000_000;

/// Everything that a run shows of its course: which changes came in which epoch.
fn trace(outputs: &[Output]) -> String {
    outputs
        .iter()
        .map(|output| format!("{:?}\n", output.epochs))
        .collect()
}

#[test]
fn any_seed_gives_the_same_answer_and_one_seed_the_same_run() {
    let mut suite = Suite::with_share("simulation", 20.0 / 320.0, 320, 320);
    let mut generator = rng(11);
    let tables: Vec<Table> = ["alpha", "beta"]
        .iter()
        .map(|name| {
            loop {
                let table = random_table(name, &mut generator);
                if table.rows.len() >= 100 {
                    break table;
                }
            }
        })
        .collect();
    let ddl: String = tables.iter().map(Table::ddl).collect();
    let folder = tempfile::tempdir().unwrap();
    tables
        .iter()
        .for_each(|table| table.write(folder.path(), 2));
    let text = |query: &str| format!("{ddl}{query};\n");
    let expected: Vec<_> = QUERIES
        .iter()
        .map(|query| {
            let setup = Setup {
                clock: Some(NOW),
                ..Setup::default()
            };
            run(&text(query), folder.path(), &setup).unwrap().outputs[0]
                .folded
                .clone()
        })
        .collect();
    let mut traces = std::collections::BTreeSet::new();
    while let Some(seed) = suite.next_seed() {
        let mut random = rng(seed);
        let at = random.random_range(0..QUERIES.len());
        let setup = Setup {
            parallelism: random.random_range(1..=4),
            cuts: Some(seed),
            backend: if random.random_bool(0.5) {
                BackendKind::Memory
            } else {
                BackendKind::Rocksdb
            },
            simulation: Some(seed),
            clock: Some(NOW),
            ..Setup::default()
        };
        let sql = text(QUERIES[at]);
        let context = || format!("{}\n{setup:?}\n{sql}", suite.replay(seed));
        let once = run(&sql, folder.path(), &setup)
            .unwrap_or_else(|error| panic!("{error}\n{}", context()));
        if let Some(difference) = once.outputs[0].folded.difference(&expected[at]) {
            panic!("{difference}\n{}", context());
        }
        let twice = run(&sql, folder.path(), &setup)
            .unwrap_or_else(|error| panic!("{error}\n{}", context()));
        assert_eq!(
            trace(&once.outputs),
            trace(&twice.outputs),
            "the same seed, another run\n{}",
            context()
        );
        traces.insert(trace(&once.outputs));
        if random.random_bool(0.3) {
            stopped(&sql, folder.path(), &setup, &expected[at], &context());
        }
    }
    assert!(
        traces.len() > QUERIES.len(),
        "seeds change the course of a run"
    );
}

/// The same job, stopped in the middle and resumed, all on one thread.
fn stopped(
    sql: &str,
    base: &std::path::Path,
    setup: &Setup,
    expected: &weir_tests::value::Multiset,
    context: &str,
) {
    let state = tempfile::tempdir().unwrap();
    let setup = Setup {
        state: Some(state.path().join("job")),
        ..setup.clone()
    };
    let first = Setup {
        stop_after: Some(50),
        ..setup.clone()
    };
    let before = run_from("stopped", sql, base, &first, &[])
        .unwrap_or_else(|error| panic!("{error}\n{context}"));
    assert_eq!(before.summary.outcome, Outcome::Stopped, "{context}");
    let after = run_from("stopped", sql, base, &setup, &before.outputs)
        .unwrap_or_else(|error| panic!("{error}\n{context}"));
    if let Some(difference) = after.outputs[0].folded.difference(expected) {
        panic!("after a stop: {difference}\n{context}");
    }
}
