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
