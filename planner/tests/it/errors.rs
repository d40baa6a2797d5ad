//! The exact text of every diagnostic: `tests/errors/NAME.sql` and, beside it, what a user sees, `tests/errors/NAME.txt`.
//!
//! What Weir does not take has a file of its own there, `no_…`: one construct, with the error that names it.

use std::collections::BTreeSet;
use std::path::Path;

use weir_planner::codes;
use weir_types::Diagnostic;

use crate::{check_snapshot, diagnose, pages};

#[test]
fn every_mistake_is_told_in_the_words_of_its_snapshot() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/errors"));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    assert!(
        files.len() >= 20,
        "only {} files in {}",
        files.len(),
        folder.display()
    );
    let mut failures = Vec::new();
    let mut found = BTreeSet::new();
    for file in files {
        let sql = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let problems = diagnose(&sql);
        found.extend(problems.0.iter().map(|problem| problem.code.clone()));
        if name.starts_with("no_") {
            failures.extend(problems.0.is_empty().then(|| format!("{name} is accepted")));
            let poor = problems.0.iter().find(|problem| !is_complete(problem));
            failures.extend(poor.map(|poor| format!("{name}: {poor} has no place or no way out")));
        }
        let actual = if problems.0.is_empty() {
            "no error\n".to_owned()
        } else {
            problems.render(&name, &sql)
        };
        failures.extend(check_snapshot(&file.with_extension("txt"), &actual).err());
    }
    let missing = codes::ALL
        .iter()
        .filter(|entry| !found.contains(entry.code));
    for entry in missing {
        let page = std::fs::read_to_string(pages::folder().join(format!("{}.md", entry.code)));
        match pages::block(&page.unwrap_or_default(), "sql") {
            Some(sql) if std::env::var_os("UPDATE").is_some() => {
                let path = folder.join(format!("code_{}.sql", entry.code));
                let (name, sql) = (format!("code_{}.sql", entry.code), format!("{sql}\n"));
                std::fs::write(&path, &sql).unwrap();
                let shown = diagnose(&sql).render(&name, &sql);
                check_snapshot(&path.with_extension("txt"), &shown).unwrap();
            }
            _ => failures.push(format!(
                "no file provokes {}: {} (UPDATE=1 takes the query of its page)",
                entry.code, entry.title
            )),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Whether it says where, and what works instead.
fn is_complete(problem: &Diagnostic) -> bool {
    let shown = problem.render("query.sql", "");
    shown.contains("--> ") && shown.contains("= help: ")
}
