//! One thread, paused time, one seed: the answer is that of the threads, and a seed replays exactly.

use std::time::Duration;

use weir_engine::Outcome;
use weir_state::BackendKind;

use crate::harness::{Bench, NUMBERS, numbers};

fn query() -> String {
    format!(
        "{NUMBERS} CREATE VIEW by_key AS SELECT k, count(*) AS c, max(n) AS m FROM numbers GROUP BY k;
         SELECT numbers.n, by_key.c FROM numbers JOIN by_key ON numbers.n = by_key.m;"
    )
}

#[test]
fn a_seed_replays_exactly() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(800));
    let run = |seed| {
        bench.run(&query(), |options| {
            options.parallelism = 3;
            options.simulation_seed = Some(seed);
            options.backend = BackendKind::Memory;
        })
    };
    let (first, again, other) = (run(7), run(7), run(8));
    assert!(!first.events.is_empty());
    assert_eq!(first.events, again.events);
    assert_eq!(first.summary().elapsed, again.summary().elapsed);
    assert_ne!(
        first.events, other.events,
        "another seed is another interleaving"
    );
    assert_eq!(first.rows(), other.rows());
}

#[test]
fn every_interleaving_gives_the_answer_of_the_threads() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(800));
    let expected = bench.run(&query(), |_| ()).rows();
    assert_eq!(expected.len(), 17);
    for seed in 0..20 {
        let run = bench.run(&query(), |options| {
            options.parallelism = 1 + (seed % 5) as u32;
            options.simulation_seed = Some(seed);
            options.backend = BackendKind::Memory;
        });
        assert_eq!(run.rows(), expected, "seed {seed}");
    }
}

#[test]
fn simulated_jobs_take_checkpoints_and_go_on_from_them() {
    let sql = format!(
        "{NUMBERS}
         CREATE TABLE windows (at TIMESTAMP(3), k INT, s BIGINT)
         WITH ('connector' = 'filesystem', 'path' = 'windows', 'format' = 'json');
         INSERT INTO windows SELECT window_start, k, sum(n)
         FROM TUMBLE(numbers, at, INTERVAL '10' SECOND) GROUP BY window_start, window_end, k;"
    );
    let expected = Bench::new();
    expected.write("numbers.csv", &numbers(900));
    expected.run(&sql, |_| ()).summary();
    for seed in 30..34 {
        let bench = Bench::new();
        bench.write("numbers.csv", &numbers(900));
        for rows in [seed * 7, seed * 20, u64::MAX] {
            let run = bench.run(&sql, |options| {
                options.parallelism = 1 + (rows % 4) as u32;
                options.simulation_seed = Some(seed);
                options.backend = BackendKind::Memory;
                options.checkpoint_interval = Duration::from_millis(2);
                options.stop_after = vec![(None, rows)];
            });
            let expected = if rows == u64::MAX {
                Outcome::Drained
            } else {
                Outcome::Stopped
            };
            assert_eq!(run.summary().outcome, expected);
        }
        assert_eq!(
            bench.output("windows"),
            expected.output("windows"),
            "seed {seed}"
        );
    }
}
