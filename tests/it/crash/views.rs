//! A materialized view under kills: whoever reads it, while its job runs and when it is dead, finds the exact answer over a prefix of
//! the input, and in the end the answer over all of it.

use std::path::Path;
use std::time::Duration;

use rand::Rng;
use weir_engine::{ViewRows, view_rows, view_rows_where};
use weir_planner::Wanted;
use weir_tests::data::rng;
use weir_tests::process::{Place, kill};
use weir_tests::value::{Value, rows_of};
use weir_types::{DataType, Scalar};

/// Rows of the job: numbers from 0 on, in order.
const ROWS: i64 = 400_000;
const BUCKETS: i64 = 97;

const SQL: &str = "SET 'checkpoint.interval' = '30ms';
CREATE TABLE numbers (id BIGINT)
WITH ('connector' = 'datagen', 'rows' = '400000', 'rows-per-second' = '100000', 'fields.id.kind' = 'sequence');
CREATE MATERIALIZED VIEW buckets AS
SELECT id % 97 AS bucket, count(*) AS n, sum(id) AS total, max(id) AS newest FROM numbers GROUP BY id % 97;
";

/// What the view holds of a bucket when the numbers below `end` were read.
fn expected(bucket: i64, end: i64) -> Vec<Value> {
    // bucket, bucket + 97, …: as many as are below the end.
    let n = (end - bucket + BUCKETS - 1) / BUCKETS;
    let total = n * bucket + BUCKETS * (n * (n - 1) / 2);
    [bucket, n, total, bucket + BUCKETS * (n - 1)]
        .map(Value::Int)
        .to_vec()
}

/// How far the view is; all of it has to be the answer up to there.
fn prefix(view: &ViewRows, context: &str) -> i64 {
    let mut rows: Vec<Vec<Value>> = view.rows.iter().flat_map(rows_of).collect();
    rows.sort();
    let number = |value: &Value| match value {
        Value::Int(number) => *number,
        other => panic!("{other:?} is no number"),
    };
    let end: i64 = rows.iter().map(|row| number(&row[1])).sum();
    let wanted: Vec<Vec<Value>> = (0..BUCKETS.min(end))
        .map(|bucket| expected(bucket, end))
        .collect();
    assert_eq!(rows, wanted, "after {end} rows, {context}");
    end
}

fn one_bucket(state: &Path, bucket: i64) -> weir_engine::Result<ViewRows> {
    let wanted = Wanted {
        column: "bucket".to_owned(),
        data_type: DataType::Int64,
        values: vec![Scalar::Int(bucket)],
    };
    view_rows_where(state, "buckets", "buckets", &[wanted])
}

#[test]
fn a_view_is_the_answer_over_a_prefix_at_every_epoch_and_after_every_kill() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::new(&root.path().join("killed"), "buckets", SQL);
    let state = place.folder.join(".weir/buckets");
    let mut rng = rng(11);
    let (mut kills, mut alive, mut dead, mut by_key) = (0, 0, 0, 0);
    let mut seen = 0;
    for life in 0..14 {
        let parallelism = rng.random_range(1..=4).to_string();
        let mut child = place.start(&["--parallelism", &parallelism]);
        std::thread::sleep(Duration::from_millis(rng.random_range(40..500)));
        for _ in 0..rng.random_range(1..5) {
            let context = format!("life {life}, seed 11\n{}", place.log());
            // It may not listen yet, or have ended: then it is read at its newest checkpoint, if there is one.
            if let Ok(view) = view_rows(&state, "buckets", "buckets") {
                alive += 1;
                seen = seen.max(prefix(&view, &context));
            }
            let bucket = rng.random_range(0..BUCKETS);
            if let Ok(view) = one_bucket(&state, bucket)
                && let Some(row) = view.rows.iter().flat_map(rows_of).next()
            {
                by_key += 1;
                assert_eq!(view.num_rows(), 1, "{context}");
                let Value::Int(newest) = row[3] else {
                    panic!("{row:?}")
                };
                assert_eq!(row, expected(bucket, newest + 1), "{context}");
            }
        }
        if child.try_wait().unwrap().is_some() {
            break;
        }
        kills += u32::from(kill(&mut child));
        if let Ok(view) = view_rows(&state, "buckets", "buckets") {
            dead += 1;
            let end = prefix(&view, &format!("killed in life {life}\n{}", place.log()));
            // What was seen was at an epoch; a checkpoint may be behind it, and is never ahead of the input.
            assert!(end <= ROWS);
        }
    }
    assert!(
        kills >= 3 && dead > 0,
        "{kills} kills, {dead} reads after one\n{}",
        place.log()
    );
    place.must_run(&["--parallelism", "3"]);
    let view = view_rows(&state, "buckets", "buckets").unwrap();
    assert_eq!(prefix(&view, "at the end"), ROWS);
    let one = one_bucket(&state, 5).unwrap();
    assert_eq!(rows_of(&one.rows[0]), [expected(5, ROWS)]);
    assert!(one.rows_read < 60, "{} rows for one key", one.rows_read);
    println!(
        "crash: a view was read {alive} times, {by_key} times by its key, and {dead} times after {kills} kills; {seen} rows at most"
    );
}
