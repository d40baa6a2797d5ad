//! Views read while their job runs, when it has ended, and from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use weir_types::{Column, DataType};

use crate::{Answer, ChannelSender, Session, SessionOptions, StopOrder, TableSpec, ViewRows};

pub(super) fn spec() -> TableSpec {
    TableSpec::new(vec![
        Column::new("item", DataType::String),
        Column::new("price", DataType::Int64),
    ])
}

pub(super) fn send(to: &ChannelSender, rows: &[(&str, i64)]) {
    let items: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>());
    let prices: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>());
    to.send(RecordBatch::try_from_iter([("item", items), ("price", prices)]).unwrap())
        .unwrap();
}

/// First column as text, second as a number; sorted.
pub(super) fn pairs(rows: &ViewRows) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    for batch in &rows.rows {
        let names = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8);
        let names = names.unwrap();
        let numbers = batch.column(1).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            found.push((
                names.as_string::<i32>().value(row).to_owned(),
                numbers.value(row),
            ));
        }
    }
    found.sort();
    found
}

fn with_folder(root: &std::path::Path, parallelism: &str) -> Session {
    Session::with_options(SessionOptions {
        state_root: Some(root.join("jobs")),
        views_root: Some(root.join("jobs")),
        base: root.to_path_buf(),
        settings: vec![("parallelism".to_owned(), parallelism.to_owned())],
    })
}

/// The rows, once the job has taken so many.
fn after(
    session: &Session,
    view: &str,
    enough: impl Fn(&[(String, i64)]) -> bool,
) -> Vec<(String, i64)> {
    for _ in 0..2000 {
        let rows = pairs(&session.view(view).unwrap());
        if enough(&rows) {
            return rows;
        }
        std::thread::yield_now();
    }
    panic!(
        "{view} never had the rows: {:?}",
        pairs(&session.view(view).unwrap())
    );
}

/// The final rows of a query, as text, sorted.
fn query(session: &mut Session, sql: &str) -> Vec<String> {
    let mut folded: BTreeMap<String, i64> = BTreeMap::new();
    for epoch in futures::executor::block_on_stream(session.query(sql).unwrap()) {
        let epoch = epoch.unwrap();
        for row in 0..epoch.num_rows() {
            let values =
                epoch.rows.columns().iter().map(|column| {
                    arrow::util::display::array_value_to_string(column, row).unwrap()
                });
            let text: Vec<String> = values.collect();
            *folded.entry(text.join(" ")).or_default() += epoch.weight(row);
        }
    }
    folded.retain(|_, count| *count != 0);
    assert!(folded.values().all(|count| *count == 1), "{folded:?}");
    folded.into_keys().collect()
}

#[test]
fn a_view_is_read_at_an_epoch_while_its_job_runs_and_after_it() {
    for parallelism in ["1", "3"] {
        let root = tempfile::tempdir().unwrap();
        let mut session = with_folder(root.path(), parallelism);
        let sales = session.channel("sales", spec()).unwrap();
        let made = session
            .execute("CREATE MATERIALIZED VIEW totals AS SELECT item, sum(price) AS total FROM sales GROUP BY item")
            .unwrap();
        assert!(matches!(&made[0].answer, Answer::Started(job) if job == "totals"));
        // Before any row came there is an answer, too.
        assert_eq!(session.view("totals").unwrap().num_rows(), 0);
        send(&sales, &[("pear", 1), ("fig", 2), ("pear", 3)]);
        let expected = vec![("fig".to_owned(), 2), ("pear".to_owned(), 4)];
        after(&session, "totals", |rows| rows == expected);
        // A row that changes replaces the one before.
        send(&sales, &[("fig", 5)]);
        let changed = after(&session, "totals", |rows| rows[0].1 == 7);
        assert_eq!(changed.len(), 2);
        // As a table: conditions, aggregates, limits.
        let found = query(
            &mut session,
            "SELECT max(total) AS m FROM totals WHERE item <> 'fig'",
        );
        assert_eq!(found, ["4"]);
        let first = query(
            &mut session,
            "SELECT item, total FROM totals ORDER BY total DESC LIMIT 1",
        );
        assert_eq!(first, ["fig 7"]);
        let metrics = session.metrics("totals").unwrap();
        let kept = metrics
            .operators
            .iter()
            .find(|operator| operator.id == "totals/view");
        assert!(
            kept.is_some_and(|kept| kept.rows_in >= 3 && kept.state_entries_peak == 2),
            "{metrics:?}"
        );
        drop(sales);
        session.wait("totals").unwrap();
        let rows = session.view("totals").unwrap();
        assert_eq!(
            pairs(&rows),
            [("fig".to_owned(), 7), ("pear".to_owned(), 4)]
        );
        assert_eq!(rows.info.unique_key, Some(vec![0]));
        // Another session finds it by its name.
        drop(session);
        let mut other = with_folder(root.path(), parallelism);
        let found = query(&mut other, "SELECT count(*) AS n FROM totals");
        assert_eq!(found, ["2"]);
    }
}

#[test]
fn rows_that_are_there_twice_are_given_twice_and_nulls_are_kept() {
    let mut session = Session::ephemeral();
    session
        .execute(
            "CREATE MATERIALIZED VIEW v AS SELECT * FROM (VALUES ('a', CAST(1 AS BIGINT)), ('a', 1), ('b', NULL), ('a', 2)) t(k, n)",
        )
        .unwrap();
    session.wait("v").unwrap();
    let rows = session.view("v").unwrap();
    assert_eq!(rows.num_rows(), 4);
    assert_eq!(rows.info.unique_key, None);
    let found = query(
        &mut session,
        "SELECT count(*) AS n, count(n) AS m, sum(n) AS s FROM v WHERE k = 'a' OR n IS NULL",
    );
    assert_eq!(found, ["4 3 4"]);
}

#[test]
fn every_read_of_a_running_job_is_a_cut_through_all_workers() {
    let mut session = Session::with_options(SessionOptions {
        state_root: None,
        settings: vec![
            ("parallelism".to_owned(), "4".to_owned()),
            ("epoch.interval".to_owned(), "1 ms".to_owned()),
        ],
        ..SessionOptions::default()
    });
    let sales = session.channel("sales", spec()).unwrap();
    session
        .execute("CREATE MATERIALIZED VIEW v AS SELECT item, sum(price) AS total FROM sales GROUP BY item")
        .unwrap();
    // Each batch moves one from an account to another; the sum is always the same.
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let start: Vec<(&str, i64)> = names.iter().map(|name| (*name, 100)).collect();
    send(&sales, &start);
    after(&session, "v", |rows| rows.len() == names.len());
    let mut sums = Vec::new();
    for round in 0..60usize {
        let (from, to) = (names[round % 7], names[(round * 3 + 1) % 7]);
        send(&sales, &[(from, -1), (to, 1)]);
        if round % 3 == 0 {
            let rows = session.view("v").unwrap();
            sums.push(pairs(&rows).iter().map(|row| row.1).sum::<i64>());
        }
    }
    // A batch may be cut by the end of an epoch, between its two rows.
    assert!(sums.iter().all(|sum| (699..=700).contains(sum)), "{sums:?}");
}

#[test]
fn a_view_goes_on_where_it_was_and_is_gone_when_it_is_dropped() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("in")).unwrap();
    std::fs::write(root.path().join("in/1.csv"), "a,1\nb,2\n").unwrap();
    let source = "CREATE TABLE t (k STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'csv', \
                  'csv.header' = 'false', 'mode' = 'continuous')";
    let view = "CREATE MATERIALIZED VIEW v AS SELECT k, sum(n) AS n FROM t GROUP BY k";
    let mut session = with_folder(root.path(), "2");
    session.execute(source).unwrap();
    session.execute(view).unwrap();
    after(&session, "v", |rows| rows.len() == 2);
    session.stop("v", StopOrder::default()).unwrap();
    // It has stopped: its newest checkpoint is read.
    assert_eq!(pairs(&session.view("v").unwrap()).len(), 2);
    std::fs::write(root.path().join("in/2.csv"), "b,5\n").unwrap();
    session.execute(view).unwrap();
    let rows = after(&session, "v", |rows| rows[1].1 == 7);
    assert_eq!(rows, [("a".to_owned(), 1), ("b".to_owned(), 7)]);
    // While it runs there cannot be a second of its name.
    let again = session.execute(view).err().unwrap().to_string();
    assert!(again.contains("P1006"), "{again}");
    // An edit that its state cannot follow is refused.
    session.stop("v", StopOrder::default()).unwrap();
    let edited =
        session.execute("CREATE MATERIALIZED VIEW v AS SELECT k, max(n) AS n FROM t GROUP BY k");
    assert!(edited.is_err());
    session.execute("DROP MATERIALIZED VIEW v").unwrap();
    assert!(!root.path().join("jobs/v").exists());
    let gone = session.query("SELECT * FROM v").err().unwrap().to_string();
    assert!(gone.contains("P1001"), "{gone}");
    session
        .execute("CREATE MATERIALIZED VIEW v AS SELECT k, max(n) AS n FROM t GROUP BY k")
        .unwrap();
    after(&session, "v", |rows| rows.len() == 2 && rows[1].1 == 5);
}

#[test]
fn what_a_view_cannot_be_used_for_is_said() {
    let mut session = Session::ephemeral();
    session
        .execute("CREATE MATERIALIZED VIEW v AS SELECT n, n + 1 AS \"Two B\", n AS Three FROM (VALUES (1)) t(n)")
        .unwrap();
    let named = session.query("SELECT three, \"Two B\" FROM v").unwrap();
    let names: Vec<&str> = named.columns().iter().map(Column::external).collect();
    assert_eq!(names, ["Three", "Two B"]);
    drop(named);
    session.wait("v").unwrap();
    let refused = |session: &mut Session, sql: &str, code: &str| {
        let error = session.execute(sql).err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(error.contains(code), "{sql}: {error}");
    };
    refused(&mut session, "INSERT INTO v SELECT 2", "P1001");
    refused(
        &mut session,
        "CREATE MATERIALIZED VIEW w AS SELECT n FROM v",
        "R0054",
    );
    refused(
        &mut session,
        "CREATE MATERIALIZED VIEW w AS SELECT 1 AS a, 2 AS a",
        "P1520",
    );
    refused(
        &mut session,
        "CREATE MATERIALIZED VIEW w AS SELECT NULL AS a",
        "P1520",
    );
    assert!(
        session
            .view("w")
            .err()
            .unwrap()
            .to_string()
            .contains("R0050")
    );
    let listed = |session: &mut Session, sql: &str| match &session.execute(sql).unwrap()[0].answer {
        Answer::Text(text) => text.clone(),
        _ => String::new(),
    };
    assert_eq!(listed(&mut session, "SHOW MATERIALIZED VIEWS").trim(), "v");
    assert_eq!(listed(&mut session, "SHOW TABLES").trim(), "");
}

#[test]
fn a_stream_that_breaks_off_is_no_answer() {
    let mut session = Session::ephemeral();
    session
        .execute(
            "CREATE MATERIALIZED VIEW v AS SELECT * FROM (VALUES ('a', CAST(1 AS BIGINT))) t(k, n)",
        )
        .unwrap();
    session.wait("v").unwrap();
    let rows = session.view("v").unwrap();
    let mut wire = Vec::new();
    super::write_answer(&mut wire, Ok(rows.clone())).unwrap();
    assert_eq!(pairs(&super::read_answer(&wire[..]).unwrap()), pairs(&rows));
    for end in 0..wire.len() - 16 {
        assert!(super::read_answer(&wire[..end]).is_err(), "{end}");
    }
}
