//! Edits of running queries: the savepoint matrix, as data files in `tests/evolution` (`docs/testing.md` says their form).
//!
//! ```text
//!   old query ─▶ first rows ─▶ stop ─┬─ compare ─▶ the verdicts that the file expects
//!                                    └─ new query ─▶ the rest ─▶ its sinks, folded
//!                                                                 = the query that defines the result, over all rows
//!                                                                   (a batch engine; T_before and T_after are the two parts)
//! ```
//!
//! | file | cases |
//! |---|---|
//! | `stories.rs` | the pairs in `queries/evolution`: what `weir diff` says, and what `weir run --upgrade` does |
//! | `matrix.rs` | each row of the table of edits, by operator kind and input, from data files |
//! | `generated.rs` | random queries, rows, cuts and sequences of edits |
//! | `model.rs` | the 1,000 cases of the model of the contract, with its rows and its results |

mod carry;
mod case;
mod generated;
mod matrix;
mod model;
mod page;
mod queries;
mod run;
mod stories;
mod upgrade;

use std::path::{Path, PathBuf};

use weir_tests::suite::Suite;

use case::Case;
use run::WAYS;

fn folder() -> PathBuf {
    let root = std::env::var("WEIR_ROOT").map_or_else(
        |_| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        PathBuf::from,
    );
    root.join("tests/evolution")
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "evo"))
        .collect();
    files.sort();
    files
}

/// `WEIR_EVOLUTION=text` runs the cases alone whose `file: name` holds the text.
fn cases() -> Vec<Case> {
    let only = std::env::var("WEIR_EVOLUTION").unwrap_or_default();
    let all = files()
        .iter()
        .flat_map(|file| case::read(file))
        .collect::<Vec<_>>();
    let mut names = std::collections::BTreeSet::new();
    for case in &all {
        assert!(
            names.insert(case.name.clone()),
            "two cases are called {}",
            case.name
        );
    }
    all.into_iter()
        .filter(|case| case.name.contains(&only))
        .collect()
}

#[test]
fn every_edit_is_judged_as_expected_and_gives_the_rows_of_its_definition() {
    let mut suite = Suite::begin("evolution", 240, 20);
    let cases: Vec<(usize, Case)> = cases().into_iter().enumerate().collect();
    let failures = carry::on_threads(&cases, |(place, case)| {
        // Every case by two ways that change with its place; alone by all.
        let alone = std::env::var("WEIR_EVOLUTION").is_ok();
        let ways = WAYS.iter().enumerate();
        let mut ways = ways.filter(|(way, _)| alone || way % 2 == place % 2 || *way == 0);
        ways.find_map(|(way, setup)| {
            let text = run::run(case, setup).err()?;
            Some(format!("{} (way {way}: {setup:?})\n{text}\n", case.name))
        })
    });
    cases.iter().for_each(|_| suite.count());
    let failures: Vec<String> = failures.into_iter().flatten().collect();
    assert!(
        failures.is_empty(),
        "{} cases failed\n\n{}",
        failures.len(),
        failures.join("\n")
    );
}
