//! What happens when something goes wrong while a job runs.

use weir_engine::Error;
use weir_planner::plan::{OperatorKind, Partitioning};

use crate::harness::{Bench, NUMBERS, numbers};

fn copy() -> String {
    format!(
        "{NUMBERS}
         CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'copies', 'format' = 'json');
         INSERT INTO copies SELECT 100 / (n - 40) FROM numbers;"
    )
}

#[test]
fn a_row_that_cannot_be_computed_stops_the_job_names_it_and_commits_nothing() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(500));
    let run = bench.run(&copy(), |_| ());
    let Err(Error::Row(error)) = &run.summary else {
        panic!("{:?}", run.summary)
    };
    assert!(
        error
            .row
            .iter()
            .any(|(column, value)| column == "n" && value == "40"),
        "{error}"
    );
    assert!(!error.span.is_empty(), "{error}");
    let (file, offset) = error
        .place
        .clone()
        .expect("the expression runs before any exchange");
    assert!(file.ends_with("numbers.csv"), "{error}");
    let text = numbers(500);
    assert!(text[offset as usize..].starts_with("40,"), "{error}");
    assert!(bench.output("copies").is_empty());
    // It is the same every time, also for a resume.
    assert!(matches!(
        bench
            .run(&copy(), |options| options.parallelism = 1)
            .summary,
        Err(Error::Row(_))
    ));
    let skipped = format!("SET 'row.error' = 'skip'; {}", copy());
    let run = bench.run(&skipped, |options| {
        options.state_dir = Some(bench.path().join("other"))
    });
    let progress = &run.summary().progress;
    assert_eq!((progress.failed_rows, progress.rejected_rows), (1, 0));
    assert_eq!(bench.output("copies").len(), 499);
}

#[test]
fn a_null_event_time_names_the_split_and_the_offset() {
    let bench = Bench::new();
    bench.write("numbers.csv", "n,k,at\n1,1,2024-01-01 00:00:00\n2,2,\n");
    let run = bench.run(&format!("{NUMBERS} SELECT n FROM numbers;"), |_| ());
    let Err(Error::Row(error)) = &run.summary else {
        panic!("{:?}", run.summary)
    };
    assert!(error.reason.contains("event time"), "{error}");
    let (split, offset) = error.place.clone().unwrap();
    assert!(split.ends_with("numbers.csv"), "{split}");
    assert_eq!(offset, "n,k,at\n1,1,2024-01-01 00:00:00\n".len() as u64);
}

#[test]
fn a_panic_in_a_worker_fails_the_job_and_names_the_operator() {
    let bench = Bench::new();
    bench.write("numbers.csv", &numbers(500));
    let sql = format!("{NUMBERS} SELECT k, count(*) AS c FROM numbers GROUP BY k;");
    let mut plan = bench.plan(&sql);
    // A plan that no planner makes: rows are routed by a column that is not there.
    for operator in &mut plan.operators {
        for input in &mut operator.inputs {
            if let Partitioning::Hash(keys) = &mut input.partitioning {
                *keys = vec![99];
            }
        }
    }
    let options = bench.options(&plan);
    let run = bench.run_plan(&sql, plan, options);
    match &run.summary {
        Err(Error::Panic { operator, .. }) => {
            assert_eq!(operator.as_str().split('/').next(), Some("numbers"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn malformed_records_go_to_the_dead_letter_table_and_survive_a_resume() {
    let sql = "
        CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'numbers.csv', 'format' = 'csv',
          'on.error' = 'dead-letter:rejects');
        CREATE TABLE rejects (line BIGINT, record STRING)
        WITH ('connector' = 'filesystem', 'path' = 'rejects', 'format' = 'json');
        CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'copies', 'format' = 'json');
        INSERT INTO copies SELECT n FROM numbers;";
    let bench = Bench::new();
    bench.write("numbers.csv", "n\n1\nx\n3\ny\n5\n");
    if !bench.plan(sql).tables.contains_key("rejects") {
        panic!("the plan must hold the dead-letter table");
    }
    bench
        .run(sql, |options| options.stop_after = vec![(None, 3)])
        .summary();
    let run = bench.run(sql, |_| ());
    assert_eq!(run.summary().progress.rejected_rows, 2);
    assert_eq!(bench.output("copies").len(), 3);
    assert_eq!(
        bench.output("rejects"),
        [r#"{"line":3,"record":"x"}"#, r#"{"line":5,"record":"y"}"#]
    );
}

#[test]
fn a_handle_that_is_dropped_takes_its_threads_along() {
    let bench = Bench::new();
    let sql =
        "CREATE TABLE t (n BIGINT) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence');
               SELECT count(*) AS c FROM t;";
    let plan = match weir_planner::plan(sql, &weir_engine::ConnectorCatalog) {
        Ok(planned) => planned.plan,
        Err(mistakes) => panic!("{}", mistakes.render("test.sql", sql)),
    };
    assert!(
        plan.operators
            .iter()
            .any(|operator| matches!(operator.kind, OperatorKind::Output { .. }))
    );
    let options = bench.options(&plan);
    let (sender, receiver) = std::sync::mpsc::channel();
    let handler = move |_| {
        let _ = sender.send(());
        std::ops::ControlFlow::Continue(())
    };
    let handle =
        weir_engine::JobHandle::start("test", sql, plan, options, std::sync::Arc::new(handler))
            .unwrap();
    receiver.recv().unwrap();
    drop(handle);
    // All threads are gone, and with them the handler and its sender.
    while receiver.recv().is_ok() {}
}
