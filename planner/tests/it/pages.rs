//! `docs/errors`: every code has a page, and every page a query that provokes its code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use weir_planner::codes;

use crate::{check_snapshot, diagnose};

fn folder() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors")).to_owned()
}

/// The text of the first block of that language.
fn block<'a>(page: &'a str, language: &str) -> Option<&'a str> {
    let start = page.find(&format!("```{language}\n"))? + language.len() + 4;
    let length = page[start..].find("\n```")?;
    Some(&page[start..start + length])
}

#[test]
fn every_page_provokes_its_code_and_shows_the_words() {
    let mut failures = Vec::new();
    for entry in codes::ALL {
        let path = folder().join(format!("{}.md", entry.code));
        let Ok(page) = std::fs::read_to_string(&path) else {
            failures.push(format!("{} has no page", entry.code));
            continue;
        };
        if !page.starts_with(&format!("# {}: {}\n", entry.code, entry.title)) {
            failures.push(format!(
                "{} does not begin with `# {}: {}`",
                path.display(),
                entry.code,
                entry.title
            ));
        }
        let Some(sql) = block(&page, "sql") else {
            failures.push(format!("{} has no query", path.display()));
            continue;
        };
        let problems = diagnose(sql).0;
        if !problems.iter().any(|problem| problem.code == entry.code) {
            let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
            failures.push(format!(
                "the query of {} provokes {found:?}",
                path.display()
            ));
            continue;
        }
        let shown: Vec<_> = problems
            .iter()
            .map(|problem| problem.render("query.sql", sql))
            .collect();
        let Some(old) = block(&page, "text") else {
            failures.push(format!("{} does not show the message", path.display()));
            continue;
        };
        let updated = page.replacen(
            &format!("```text\n{old}\n```"),
            &format!("```text\n{}\n```", shown.join("\n").trim_end()),
            1,
        );
        failures.extend(check_snapshot(&path, &updated).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_page_belongs_to_a_code_and_the_index_lists_all() {
    let known: BTreeSet<_> = codes::ALL
        .iter()
        .map(|entry| format!("{}.md", entry.code))
        .collect();
    let files: BTreeSet<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        // Codes of other crates have pages here too, which those crates test.
        .filter(|name| name.starts_with(['P', 'W']))
        .collect();
    assert_eq!(
        files.difference(&known).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "pages without a code"
    );
    let mut index = String::from(
        "# Errors and warnings of the planner\n\n<!-- Generated from planner/src/codes.rs: UPDATE=1 cargo test rewrites it. -->\n\n\
         | Code | Meaning |\n|---|---|\n",
    );
    for entry in codes::ALL {
        index.push_str(&format!(
            "| [{}]({}.md) | {} |\n",
            entry.code, entry.code, entry.title
        ));
    }
    check_snapshot(&folder().join("README.md"), &index).unwrap();
}
