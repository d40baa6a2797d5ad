//! Records that cannot be read: an error that names file, line and column; or skipped and counted; or kept as dead letters.

use std::path::Path;

use weir_tests::job::{Ran, Setup, run};

struct Case {
    name: &'static str,
    format: &'static str,
    file: &'static str,
    text: &'static str,
    /// Line of the first bad record.
    line: u64,
    /// Bad records.
    bad: u64,
    /// Sum of `n` over the good ones.
    sum: i64,
}

const CASES: &[Case] = &[
    Case {
        name: "a word for a number",
        format: "csv",
        file: "a.csv",
        text: "n,s\n1,x\ntwo,y\n3,z\n",
        line: 3,
        bad: 1,
        sum: 4,
    },
    Case {
        name: "too few fields",
        format: "csv",
        file: "a.csv",
        text: "n,s\n1,x\n2\n3,z\n",
        line: 3,
        bad: 1,
        sum: 4,
    },
    Case {
        name: "too many fields",
        format: "csv",
        file: "a.csv",
        text: "n,s\n1,x,extra\n3,z\n",
        line: 2,
        bad: 1,
        sum: 3,
    },
    Case {
        name: "a number too big",
        format: "csv",
        file: "a.csv",
        text: "n,s\n1,x\n99999999999,y\n",
        line: 3,
        bad: 1,
        sum: 1,
    },
    Case {
        name: "torn JSON",
        format: "json",
        file: "a.jsonl",
        text: "{\"n\": 1, \"s\": \"x\"}\n{\"n\": 2, \"s\"\n{\"n\": 4}\n",
        line: 2,
        bad: 1,
        sum: 5,
    },
    Case {
        name: "not an object",
        format: "json",
        file: "a.jsonl",
        text: "{\"n\": 1}\n[1, 2]\n7\n{\"n\": 4}\n",
        line: 2,
        bad: 2,
        sum: 5,
    },
    Case {
        name: "a text for a number",
        format: "json",
        file: "a.jsonl",
        text: "{\"n\": 1}\n{\"n\": \"many\"}\n",
        line: 2,
        bad: 1,
        sum: 1,
    },
    Case {
        name: "an object for a number",
        format: "json",
        file: "a.jsonl",
        text: "{\"n\": {\"x\": 1}}\n{\"n\": 2}\n",
        line: 1,
        bad: 1,
        sum: 2,
    },
    Case {
        name: "no UTF-8",
        format: "json",
        file: "a.jsonl",
        text: "{\"n\": 1, \"s\": \"\u{fffe}\"}\n{nope}\n{\"n\": 2}\n",
        line: 2,
        bad: 1,
        sum: 3,
    },
    Case {
        name: "an unknown op",
        format: "changelog-json",
        file: "a.jsonl",
        text: "{\"op\": \"+I\", \"n\": 1}\n{\"op\": \"*\", \"n\": 2}\n{\"n\": 3}\n",
        line: 2,
        bad: 2,
        sum: 1,
    },
];

fn sql(case: &Case, on_error: &str) -> String {
    format!(
        "CREATE TABLE t (n INT, s STRING) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = '{}', 'on.error' = '{on_error}');\n",
        case.file, case.format
    )
}

fn run_case(case: &Case, sql: &str, parallelism: u32) -> Result<(Ran, tempfile::TempDir), String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(case.file), case.text).unwrap();
    let setup = Setup {
        parallelism,
        cuts: Some(3),
        state: Some(folder.path().join("state")),
        ..Setup::default()
    };
    run(sql, folder.path(), &setup).map(|ran| (ran, folder))
}

fn sum(ran: &Ran) -> String {
    let (row, _) = ran.outputs[0].folded.0.iter().next().expect("one row");
    row[0].to_string()
}

#[test]
fn a_malformed_record_stops_the_job_and_names_file_and_line() {
    for case in CASES {
        for parallelism in [1, 3] {
            let text = format!("{}SELECT sum(n), count(s) FROM t;\n", sql(case, "fail"));
            let error = match run_case(case, &text, parallelism) {
                Ok(_) => panic!("{}: it ran", case.name),
                Err(error) => error,
            };
            assert!(
                error.contains(case.file),
                "{}: the file is named: {error}",
                case.name
            );
            assert!(
                error.contains(&format!("{}", case.line)),
                "{}: the line is named: {error}",
                case.name
            );
            assert!(!error.contains("panicked"), "{}: {error}", case.name);
        }
    }
}

#[test]
fn a_malformed_record_is_skipped_and_counted() {
    for case in CASES {
        let text = format!("{}SELECT sum(n), count(s) FROM t;\n", sql(case, "skip"));
        let (ran, _folder) =
            run_case(case, &text, 2).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(sum(&ran), case.sum.to_string(), "{}", case.name);
        assert_eq!(
            ran.summary.progress.rejected_rows, case.bad,
            "{}",
            case.name
        );
    }
}

#[test]
fn a_malformed_record_is_kept_as_a_dead_letter() {
    for case in CASES {
        let text = format!(
            "{}CREATE TABLE bad (file STRING, line BIGINT, reason STRING, record STRING) \
             WITH ('connector' = 'filesystem', 'path' = 'bad', 'format' = 'json');\n\
             SELECT sum(n), count(s) FROM t;\n",
            sql(case, "dead-letter:bad")
        );
        let (ran, folder) =
            run_case(case, &text, 2).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(sum(&ran), case.sum.to_string(), "{}", case.name);
        let letters = letters(folder.path());
        assert_eq!(letters.len() as u64, case.bad, "{}: {letters:?}", case.name);
        let first = letters
            .iter()
            .min_by_key(|letter| letter["line"].as_u64())
            .expect("a letter");
        assert_eq!(
            first["line"].as_u64(),
            Some(case.line),
            "{}: {first}",
            case.name
        );
        assert!(
            first["file"]
                .as_str()
                .is_some_and(|file| file.ends_with(case.file)),
            "{}: {first}",
            case.name
        );
    }
}

fn letters(folder: &Path) -> Vec<serde_json::Value> {
    let lines = weir_tests::process::published_lines(&folder.join("bad"), None);
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_column_that_nobody_reads_is_not_looked_at() {
    let case = &CASES[0];
    let text = format!("{}SELECT count(s) FROM t;\n", sql(case, "fail"));
    let (ran, _folder) = run_case(case, &text, 1).unwrap();
    assert_eq!(sum(&ran), "3");
}
