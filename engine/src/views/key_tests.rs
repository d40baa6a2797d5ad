//! Conditions of readers: which rows of a view are looked at, and that the answer is that of any filter.

use std::time::Duration;

use weir_types::DataType;

use super::tests::{pairs, send, spec};
use crate::{Answer, Session, SessionOptions, StopOrder, ViewRows};

/// What a query over a view gives, and how many rows of the view came to it.
fn asked(session: &mut Session, sql: &str) -> (Vec<(String, i64)>, u64) {
    let mut rows = session.query(sql).unwrap();
    let mut found = Vec::new();
    let given = loop {
        match rows.next_within(Duration::from_secs(60)).unwrap() {
            crate::Next::Epoch(epoch) => found.push(epoch.rows),
            crate::Next::Nothing => {}
            crate::Next::End(summary) => {
                let sources = summary.operators.iter();
                let sources = sources.filter(|operator| operator.id.ends_with("/source"));
                break sources.map(|operator| operator.rows_in).sum();
            }
        }
    };
    let info = session.view("totals").unwrap().info;
    let rows = ViewRows {
        info,
        rows: found,
        rows_read: 0,
    };
    (pairs(&rows), given)
}

#[test]
fn a_condition_on_the_key_reads_that_key_alone_while_the_job_runs_and_when_it_has_ended() {
    for parallelism in ["1", "3"] {
        let folder = tempfile::tempdir().unwrap();
        let mut session = Session::with_options(SessionOptions {
            state_root: Some(folder.path().to_owned()),
            views_root: Some(folder.path().to_owned()),
            settings: vec![("parallelism".to_owned(), parallelism.to_owned())],
            ..SessionOptions::default()
        });
        let sales = session.channel("sales", spec()).unwrap();
        session
            .execute("CREATE MATERIALIZED VIEW totals AS SELECT item, sum(price) AS total FROM sales GROUP BY item")
            .unwrap();
        let rows: Vec<(String, i64)> = (0..5000).map(|n| (format!("item {n}"), n)).collect();
        let rows: Vec<(&str, i64)> = rows.iter().map(|(item, n)| (item.as_str(), *n)).collect();
        send(&sales, &rows);
        while session.view("totals").unwrap().num_rows() < 5000 {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let wanted = |values: &[&str]| {
            vec![weir_planner::Wanted {
                column: "item".to_owned(),
                data_type: DataType::String,
                values: values
                    .iter()
                    .map(|value| weir_types::Scalar::String((*value).to_owned()))
                    .collect(),
            }]
        };
        let own = |pairs: &[(&str, i64)]| -> Vec<(String, i64)> {
            pairs
                .iter()
                .map(|(item, n)| ((*item).to_owned(), *n))
                .collect()
        };
        for running in [true, false] {
            if !running {
                session.stop("totals", StopOrder::default()).unwrap();
            }
            // Of what is at rest a whole group of keys is looked at, and there are 128.
            let most = if running { 1 } else { 200 };
            let one = session.view_where("totals", &wanted(&["item 77"])).unwrap();
            assert_eq!(pairs(&one), own(&[("item 77", 77)]));
            assert!(
                one.rows_read >= 1 && one.rows_read <= most,
                "{}",
                one.rows_read
            );
            let all = session.view("totals").unwrap();
            assert_eq!((all.num_rows(), all.rows_read), (5000, 5000));
            let none = session.view_where("totals", &wanted(&["nothing"])).unwrap();
            assert_eq!(none.num_rows(), 0);
            assert!(none.rows_read < most, "{}", none.rows_read);

            let (found, given) = asked(
                &mut session,
                "SELECT item, total FROM totals WHERE item = 'item 4000'",
            );
            assert_eq!((found, given), (own(&[("item 4000", 4000)]), 1));
            let (found, given) = asked(
                &mut session,
                "SELECT * FROM totals WHERE item IN ('item 3', 'item 4', 'no such item') AND total < 4",
            );
            assert_eq!((found, given), (own(&[("item 3", 3)]), 2));
            // Another column: every row is looked at, one is copied.
            let (found, given) = asked(&mut session, "SELECT * FROM totals WHERE total = 9");
            assert_eq!((found, given), (own(&[("item 9", 9)]), 1));
            // No values: all of them.
            let (found, given) = asked(&mut session, "SELECT * FROM totals WHERE total < 1");
            assert_eq!((found, given), (own(&[("item 0", 0)]), 5000));
            // Two readers of one view, each with its own condition.
            let (found, _) = asked(
                &mut session,
                "SELECT a.item, b.total FROM totals a JOIN totals b ON a.total + 1 = b.total WHERE a.item = 'item 5' AND b.item = 'item 6'",
            );
            assert_eq!(found, own(&[("item 5", 6)]));
        }
        let text = session
            .execute("EXPLAIN SELECT total FROM totals WHERE item = 'item 1'")
            .unwrap();
        let Answer::Text(text) = &text[0].answer else {
            panic!("EXPLAIN answers with a text")
        };
        assert!(text.contains("one key of the view"), "{text}");
        drop(sales);
    }
}

#[test]
fn keys_of_several_columns_and_nulls_are_looked_up_like_any_filter_finds_them() {
    let mut session = Session::ephemeral();
    session
        .execute(
            "CREATE MATERIALIZED VIEW totals AS SELECT k AS item, sum(n) AS total, d AS day, b AS open
             FROM (VALUES ('a', DATE '2024-01-01', true, 1), ('a', DATE '2024-01-02', true, 2), ('b', DATE '2024-01-02', false, 4),
                          (NULL, DATE '2024-01-02', NULL, 8), ('a', NULL, true, 16)) t(k, d, b, n)
             GROUP BY k, d, b",
        )
        .unwrap();
    session.wait("totals").unwrap();
    let mut totals = |condition: &str| -> Vec<i64> {
        let (found, _) = asked(
            &mut session,
            &format!("SELECT coalesce(item, '-') AS item, total FROM totals WHERE {condition}"),
        );
        found.into_iter().map(|(_, total)| total).collect()
    };
    assert_eq!(
        totals("item = 'a' AND day = DATE '2024-01-02' AND open = true"),
        [2]
    );
    assert_eq!(
        totals(
            "item IN ('a', 'b') AND day IN (DATE '2024-01-02', DATE '2024-01-01') AND open IN (true, false)"
        ),
        [1, 2, 4]
    );
    assert_eq!(totals("item = 'a'"), [1, 2, 16]);
    assert_eq!(
        totals("item = NULL AND day = DATE '2024-01-02' AND open = true"),
        [0i64; 0]
    );
    assert_eq!(totals("item IS NULL"), [8]);
    assert_eq!(
        totals("item = 'a' AND item = 'b' AND day = DATE '2024-01-02'"),
        [0i64; 0]
    );
    assert_eq!(totals("total = 16"), [16]);
}
