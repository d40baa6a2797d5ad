//! What a bare SELECT prints.

use std::process::Stdio;

use crate::weir::{Folder, wait};

const QUERY: &str = "CREATE TABLE rides (city STRING, km INT)
WITH ('connector' = 'filesystem', 'path' = 'rides.csv', 'format' = 'csv');
SELECT city, count(*) AS rides, sum(km) AS \"Km\" FROM rides GROUP BY city;
";

fn folder() -> Folder {
    let folder = Folder::new();
    folder
        .write("rides.csv", "city,km\nOslo,3\nBern,4\nOslo,5\n")
        .write("q.sql", QUERY);
    folder
}

fn printed(arguments: &[&str]) -> String {
    let ended = folder().weir(&[&["run", "q.sql"], arguments].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

#[test]
fn a_bounded_query_prints_its_final_rows_in_each_format() {
    assert_eq!(
        printed(&[]),
        " city │ rides │ Km\n──────┼───────┼────\n Bern │     1 │  4\n Oslo │     2 │  8\n(2 rows)\n"
    );
    assert_eq!(
        printed(&["--format", "csv"]),
        "city,rides,Km\nBern,1,4\nOslo,2,8\n"
    );
    let json = printed(&["--format", "json"]);
    assert_eq!(
        json,
        "{\"city\":\"Bern\",\"rides\":1,\"Km\":4}\n{\"city\":\"Oslo\",\"rides\":2,\"Km\":8}\n"
    );
}

#[test]
fn the_result_does_not_depend_on_the_parallelism() {
    assert_eq!(
        printed(&["--format", "csv", "-p", "1"]),
        printed(&["--format", "csv", "-p", "3"])
    );
}

#[test]
fn the_changelog_folds_to_the_final_rows() {
    let mut counts = std::collections::BTreeMap::new();
    for line in printed(&["--format", "json", "--changelog"]).lines() {
        let mut row: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).unwrap();
        let op = row.shift_remove("op").unwrap();
        let weight = match op.as_str().unwrap() {
            "+I" | "+U" => 1,
            "-U" | "-D" => -1,
            other => panic!("op {other}"),
        };
        *counts
            .entry(serde_json::to_string(&row).unwrap())
            .or_insert(0) += weight;
    }
    counts.retain(|_, count| *count != 0);
    let rows: Vec<_> = counts.into_iter().collect();
    assert_eq!(
        rows,
        [
            ("{\"city\":\"Bern\",\"rides\":1,\"Km\":4}".to_owned(), 1),
            ("{\"city\":\"Oslo\",\"rides\":2,\"Km\":8}".to_owned(), 1)
        ]
    );
}

#[test]
fn standard_output_carries_results_alone() {
    let ended = folder().weir(&["run", "q.sql", "--format", "csv"]);
    assert_eq!(ended.stdout.lines().count(), 3);
    for word in [
        "q: done in",
        "rows         3 in",
        "late         0",
        "spilled",
        "reloaded",
    ] {
        assert!(
            ended.stderr.contains(word),
            "no `{word}` in\n{}",
            ended.stderr
        );
    }
    // Not a terminal: no escape sequences.
    assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
}

#[test]
fn a_job_that_only_prints_runs_again() {
    let folder = folder();
    let first = folder.weir(&["run", "q.sql", "--format", "csv"]);
    let second = folder.weir(&["run", "q.sql", "--format", "csv"]);
    assert_eq!(
        (second.code, second.stdout),
        (0, first.stdout),
        "{}",
        second.stderr
    );
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = Folder::new();
    folder.write(
        "q.sql",
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen');\nSELECT n FROM numbers;\n",
    );
    let mut child = folder
        .command(&["run", "q.sql", "--format", "csv", "--no-progress"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    drop(stdout);
    let ended = wait(child);
    assert_eq!((ended.code, line.as_str()), (0, "n\n"), "{}", ended.stderr);
    assert_eq!(ended.stderr, "");
}
