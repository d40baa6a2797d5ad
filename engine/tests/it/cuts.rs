//! What parallelism, batch cuts and epoch lengths must not change.

use crate::harness::{Bench, NUMBERS, numbers};

/// (sum, count) of one row as the single printed row says.
fn pair(text: &str) -> (i64, i64) {
    let mut values = text.split(' ').map(|value| value.parse().unwrap());
    (values.next().unwrap(), values.next().unwrap())
}

#[test]
fn every_printed_epoch_is_the_exact_answer_over_a_prefix_of_the_input() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(5000));
    // The count goes through one exchange, the sum through two: only a consistent cut has both of one prefix.
    let sql = format!(
        "{NUMBERS} CREATE VIEW by_key AS SELECT k, count(*) AS c, sum(n) AS s FROM numbers GROUP BY k;
         SELECT sum(s) AS s, sum(c) AS c FROM by_key;"
    );
    for (parallelism, seed) in [(1, 1), (2, 2), (4, 3), (5, 4)] {
        let run = bench.run(&sql, |options| {
            options.parallelism = parallelism;
            options.test_cuts = Some(seed);
        });
        run.summary();
        assert!(
            run.epochs.len() > 3,
            "with {parallelism} workers there were {} epochs",
            run.epochs.len()
        );
        for epoch in &run.epochs {
            let rows = epoch.values().next().unwrap();
            assert_eq!(rows.len(), 1, "an ungrouped aggregate is one row: {rows:?}");
            let row = rows.keys().next().unwrap();
            if row.contains("NULL") {
                continue;
            }
            let (sum, count) = pair(row);
            assert_eq!(sum, count * (count + 1) / 2, "not a prefix: {row}");
        }
        assert_eq!(pair(&run.rows()[0]), (5000 * 5001 / 2, 5000));
    }
}

#[test]
fn windows_and_late_rows_are_the_same_at_any_parallelism_and_with_any_cuts() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(4000));
    let sql = format!(
        "{NUMBERS} SELECT window_start, k, count(*) AS c, sum(n) AS s
         FROM TUMBLE(numbers, at, INTERVAL '10' SECOND) GROUP BY window_start, window_end, k;"
    );
    let expected = bench.run(&sql, |options| options.parallelism = 1);
    let late = expected.summary().late.clone();
    assert_eq!(late.len(), 1, "the input has late rows: {late:?}");
    assert!(expected.rows().len() > 100);
    for (parallelism, seed) in [(1, 11), (2, 12), (3, 13), (4, 14), (5, 15)] {
        let run = bench.run(&sql, |options| {
            options.parallelism = parallelism;
            options.test_cuts = Some(seed);
        });
        assert_eq!(
            run.summary().late,
            late,
            "{parallelism} workers, seed {seed}"
        );
        assert_eq!(
            run.rows(),
            expected.rows(),
            "{parallelism} workers, seed {seed}"
        );
    }
}

#[test]
fn a_join_of_two_streams_is_the_same_with_any_cuts() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(600));
    let sql = format!(
        "{NUMBERS} CREATE TABLE names (k INT, name STRING)
         WITH ('connector' = 'filesystem', 'path' = 'names.csv', 'format' = 'csv');
         SELECT x.name, count(*) AS c, sum(numbers.n) AS s
         FROM numbers JOIN names AS x ON numbers.k = x.k GROUP BY x.name;"
    );
    let names: Vec<String> = (0..20).map(|k| format!("{k},name {}", k % 5)).collect();
    bench.write("names.csv", &format!("k,name\n{}\n", names.join("\n")));
    let expected = bench.run(&sql, |options| options.parallelism = 1).rows();
    assert_eq!(expected.len(), 5);
    for seed in 21..25 {
        let run = bench.run(&sql, |options| {
            options.parallelism = 1 + (seed % 4) as u32;
            options.test_cuts = Some(seed);
        });
        assert_eq!(run.rows(), expected, "seed {seed}");
    }
}
