//! `docs/errors`: every code has a page, and every page a query that provokes its code.

use std::path::{Path, PathBuf};

use weir_planner::codes;

use crate::{check_snapshot, diagnose};

pub(crate) fn folder() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors")).to_owned()
}

/// The text of the first block of that language.
pub(crate) fn block<'a>(page: &'a str, language: &str) -> Option<&'a str> {
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
fn every_page_of_the_planner_belongs_to_a_code_and_the_index_lists_all_pages() {
    let mut pages: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".md").map(str::to_owned))
        .filter(|code| code != "README")
        .collect();
    // The planner's first, then those of the connectors (their own tests look after them), warnings last.
    let place = |code: &str| {
        ["P", "C", "W"]
            .iter()
            .position(|letter| code.starts_with(letter))
    };
    pages.sort_by_key(|code| (place(code), code.clone()));
    let of_planner: Vec<_> = pages
        .iter()
        .filter(|code| code.starts_with(['P', 'W']))
        .map(String::as_str)
        .collect();
    assert_eq!(
        of_planner,
        codes::ALL
            .iter()
            .map(|entry| entry.code)
            .collect::<Vec<_>>()
    );
    let mut index = String::from(
        "# Errors and warnings\n\n<!-- Generated from the pages: UPDATE=1 cargo test rewrites it. -->\n\n\
         `P` is found in the SQL text, `C` in the options of a table, `W` is a warning. What comes later, when a job runs, is in\n\
         [runtime-errors.md](../runtime-errors.md).\n\n| Code | Meaning |\n|---|---|\n",
    );
    for code in pages {
        let page = std::fs::read_to_string(folder().join(format!("{code}.md"))).unwrap();
        let title = page
            .lines()
            .next()
            .and_then(|line| line.strip_prefix(&format!("# {code}: ")));
        let title = title.unwrap_or_else(|| panic!("{code}.md does not begin with `# {code}: `"));
        index.push_str(&format!("| [{code}]({code}.md) | {title} |\n"));
    }
    check_snapshot(&folder().join("README.md"), &index).unwrap();
}
