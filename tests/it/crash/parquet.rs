//! Parts in Parquet under crashes: a file is whole or not there, and each row is in one of them.

use std::time::Duration;

use rand::Rng;
use weir_tests::data::rng;
use weir_tests::process::{Place, binary, kill, text_of, wait_for};

/// Rows of the job.
const ROWS: u64 = 300_000;

const SQL: &str = "SET 'checkpoint.interval' = '30ms';
CREATE TABLE numbers (id BIGINT, at TIMESTAMP(0))
WITH ('connector' = 'datagen', 'rows' = '300000', 'fields.id.kind' = 'sequence', 'fields.at.kind' = 'sequence');
CREATE TABLE parts (id BIGINT, word STRING, tens ARRAY<BIGINT>, at TIMESTAMP(0), k BIGINT)
PARTITIONED BY (k)
WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'parquet');
INSERT INTO parts SELECT id, 'word ' || CAST(id % 7 AS STRING), ARRAY[id * 10, NULL], at, id % 3 FROM numbers;
";

const PATIENCE: Duration = Duration::from_secs(120);

/// What is published is every row once, with its values; and all of it can be read.
fn assert_whole(place: &Place, context: &str) {
    let sql = "SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(id) AS s, \
               count(*) FILTER (WHERE word = 'word ' || CAST(id % 7 AS STRING) AND tens[1] = id * 10 AND tens[2] IS NULL) AS right \
               FROM 'out/*/part-*.parquet'";
    let output = std::process::Command::new(binary())
        .args(["query", "--json", sql])
        .current_dir(&place.folder)
        .output()
        .unwrap();
    let sum = ROWS * (ROWS - 1) / 2;
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{{\"n\":{ROWS},\"ids\":{ROWS},\"s\":{sum},\"right\":{ROWS}}}\n"),
        "{context}\n{}\n{}",
        text_of(&output),
        place.log()
    );
}

#[test]
fn parquet_parts_hold_each_row_once_after_kills() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::new(&root.path().join("killed"), "parts", SQL);
    let mut rng = rng(7);
    let mut kills = 0;
    for _ in 0..12 {
        let parallelism = rng.random_range(1..=3).to_string();
        let mut child = place.start(&["--parallelism", &parallelism]);
        std::thread::sleep(Duration::from_millis(rng.random_range(60..700)));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        kills += u32::from(kill(&mut child));
    }
    assert!(kills > 0, "none was killed at work\n{}", place.log());
    place.must_run(&[]);
    assert_whole(&place, &format!("after {kills} kills"));
}

#[test]
fn parquet_parts_hold_each_row_once_after_a_death_at_each_step_of_the_sink() {
    let root = tempfile::tempdir().unwrap();
    let names = crate::failpoints::names();
    let mut struck = 0;
    for name in names.iter().filter(|name| name.starts_with("sink.file.")) {
        let place = Place::new(&root.path().join(name), "parts", SQL);
        let mut armed = place.run(&["--parallelism", "2"]);
        armed.env("WEIR_FAILPOINT", format!("{name}:2"));
        let mut child = armed
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let status = wait_for(&mut child, PATIENCE).expect("it ends");
        struck += u32::from(!status.success());
        place.must_run(&["--parallelism", "3"]);
        assert_whole(&place, name);
    }
    assert!(struck >= 3, "only {struck} steps of the sink were met");
}

#[test]
fn what_takes_rows_back_is_refused_and_the_way_out_named() {
    let root = tempfile::tempdir().unwrap();
    let sql = "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'rows' = '10');
CREATE TABLE o (id BIGINT, c BIGINT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'parquet'ANY);
INSERT INTO o SELECT id, count(*) FROM n GROUP BY id;
";
    for (extra, code, way_out) in [
        ("", "P1017", "'format' = 'changelog-json'"),
        (", 'mode' = 'snapshot'", "C0008", "'format' = 'json'"),
    ] {
        let place = Place::new(&root.path().join(code), "q", &sql.replace("ANY", extra));
        let output = place.run(&[]).output().unwrap();
        let said = text_of(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(code) && said.contains(way_out), "{said}");
    }
}
