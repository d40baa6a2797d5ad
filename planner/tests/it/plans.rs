//! The plan of each `plans/NAME.sql` as EXPLAIN prints it, warnings before it: `plans/NAME.txt`. With fingerprints, in
//! `plans/fingerprints.txt`: a change there means that state of jobs in the field is no longer found.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use weir_planner::plan::OperatorKind;
use weir_planner::{AnyCatalog, explain, plan};

use crate::check_snapshot;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/plans")
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    assert!(files.len() >= 8, "only {} plans", files.len());
    files
}

#[test]
fn every_plan_is_explained_as_its_snapshot_says() {
    let mut failures = Vec::new();
    for file in files() {
        let sql = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut actual = String::new();
        match plan(&sql, &AnyCatalog) {
            Ok(planned) => {
                for warning in &planned.warnings {
                    let _ = writeln!(actual, "{}", warning.render(&name, &sql));
                }
                planned
                    .explains
                    .iter()
                    .for_each(|text| actual.push_str(text));
                actual.push_str(&explain(&planned.plan));
                assert_eq!(planned.plan.validate(), Ok(()), "{name}");
            }
            Err(mistakes) => actual.push_str(&mistakes.render(&name, &sql)),
        }
        failures.extend(check_snapshot(&file.with_extension("txt"), &actual).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn fingerprints_are_pinned() {
    let mut actual = String::new();
    for file in files() {
        let sql = std::fs::read_to_string(&file).unwrap();
        let Ok(planned) = plan(&sql, &AnyCatalog) else {
            continue;
        };
        let _ = writeln!(actual, "{}", file.file_name().unwrap().to_string_lossy());
        for operator in &planned.plan.operators {
            if operator.is_stateful() || matches!(operator.kind, OperatorKind::Source { .. }) {
                let (own, upstream) = (&operator.fingerprint, &operator.upstream_fingerprint);
                let _ = writeln!(actual, "  {own} {upstream} {}", operator.id);
            }
        }
    }
    if let Err(difference) = check_snapshot(&folder().join("fingerprints.txt"), &actual) {
        panic!("{difference}");
    }
}

/// Takes the places out of a serialized plan.
fn without_spans(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.remove("span");
            fields.values_mut().for_each(without_spans);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_spans),
        _ => {}
    }
}

#[test]
fn the_example_in_the_page_of_the_format_is_what_the_planner_gives() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/plan.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let block = |language: &str| {
        let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("\n```").unwrap().0.to_owned()
    };
    let planned = plan(&block("sql"), &AnyCatalog).unwrap();
    let aggregate = planned
        .plan
        .operators
        .iter()
        .find(|operator| matches!(operator.kind, OperatorKind::Aggregate { .. }));
    let mut value = serde_json::to_value(aggregate.unwrap()).unwrap();
    without_spans(&mut value);
    let json = serde_json::to_string_pretty(&value).unwrap();
    let actual = page.replace(&block("json"), &json);
    if let Err(difference) = check_snapshot(&path, &actual) {
        panic!("{difference}");
    }
}

#[test]
fn a_plan_of_a_later_format_is_refused() {
    let text = "CREATE TABLE t (k INT) WITH ('connector' = 'datagen'); SELECT k FROM t;";
    let mut plan = plan(text, &AnyCatalog).unwrap().plan;
    plan.format_version += 1;
    assert!(plan.validate().unwrap_err().contains("format version"));
}
