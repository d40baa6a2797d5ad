//! Processing time in a whole job: windows that the clock ends, with rows or without.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use weir_engine::{JobHandle, OutputEvent};
use weir_state::BackendKind;

use crate::harness::{Bench, NUMBERS, numbers};

const CLICKS: &str = "CREATE TABLE clicks (n BIGINT, proc AS PROCTIME())
    WITH ('connector' = 'filesystem', 'path' = 'clicks', 'format' = 'csv', 'mode' = 'continuous');";

/// Runs until `rows` rows were given, which no row of the input is to wait for, and stops then.
fn rows_of_a_quiet_job(bench: &Bench, sql: &str, rows: usize) -> usize {
    let plan = bench.plan(sql);
    let options = bench.options(&plan);
    let (sender, given) = channel();
    let handler = move |event: OutputEvent| {
        let rows: usize = event.changes.iter().map(|batch| batch.num_rows()).sum();
        let _ = sender.send(rows);
        ControlFlow::Continue(())
    };
    let handle = JobHandle::start("test", sql, plan, options, Arc::new(handler)).unwrap();
    let mut seen = 0;
    while seen < rows
        && let Ok(more) = given.recv_timeout(Duration::from_secs(60))
    {
        seen += more;
    }
    assert!(!handle.is_finished(), "the input has not ended");
    handle.stop();
    handle.wait().unwrap();
    seen
}

#[test]
fn a_window_of_the_clock_is_given_when_no_further_row_comes() {
    let windows = [
        "TUMBLE(clicks, proc, INTERVAL '0.2' SECOND)",
        "HOP(clicks, proc, INTERVAL '0.2' SECOND, INTERVAL '0.2' SECOND)",
        "SESSION(clicks, proc, INTERVAL '0.2' SECOND)",
    ];
    for window in windows {
        let bench = Bench::new();
        bench.write("clicks/1.csv", "n\n1\n2\n3\n");
        let sql = format!(
            "{CLICKS} SELECT window_start, window_end, n, count(*) FROM {window} GROUP BY window_start, window_end, n;"
        );
        assert_eq!(rows_of_a_quiet_job(&bench, &sql, 3), 3, "{window}");
    }
}

#[test]
fn by_virtual_time_every_row_is_in_one_window_whatever_the_interleaving() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(900));
    let sql = format!(
        "{} SELECT window_start, window_end, k, count(*) AS c FROM TUMBLE((SELECT k, PROCTIME() AS p FROM numbers), p, INTERVAL '0.01' SECOND)
         GROUP BY window_start, window_end, k;",
        NUMBERS
    );
    let mut most_windows = 0;
    for seed in 0..12 {
        let run = |seed| {
            bench.run(&sql, |options| {
                options.parallelism = 1 + (seed % 4) as u32;
                options.simulation_seed = Some(seed);
                options.backend = BackendKind::Memory;
            })
        };
        let first = run(seed);
        assert_eq!(first.events, run(seed).events, "seed {seed} replays");
        let (mut windows, mut rows) = (BTreeMap::<String, i64>::new(), 0);
        for row in first.rows() {
            let count: i64 = row.rsplit(['=', ' ', ',']).next().unwrap().parse().unwrap();
            *windows
                .entry(row.split(',').next().unwrap().to_owned())
                .or_default() += count;
            rows += count;
        }
        assert_eq!(rows, 900, "seed {seed}");
        assert!(
            first.events.iter().all(|event| !event.contains(" -1 ")),
            "final"
        );
        most_windows = most_windows.max(windows.len());
    }
    assert!(most_windows > 1, "time goes on in a run");
}
