//! Every query of `queries/` runs, each in a folder of its own, and a second time as well; and so does every example in `docs/sql`.

use std::path::{Path, PathBuf};

use weir_tests::process::{Place, root, text_of};
use weir_tests::suite::Suite;

fn queries() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("queries")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            // `batch` has the queries of the other engine, `evolution` pairs that are run one after another.
            if path.is_dir() && !path.ends_with("batch") && !path.ends_with("evolution") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "sql") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() > 10, "there are queries");
    found
}

/// A folder that looks like the repository's root to a query: `queries` leads to the real one, output goes elsewhere.
fn place(folder: &Path, query: &Path) -> Place {
    let sql = std::fs::read_to_string(query).unwrap();
    let stem = query
        .file_stem()
        .expect("a query has a name")
        .to_string_lossy()
        .into_owned();
    let place = Place::new(&folder.join(&stem), &stem, &sql);
    std::os::unix::fs::symlink(root().join("queries"), place.folder.join("queries")).unwrap();
    place
}

#[test]
fn every_query_runs_and_shows_something() {
    let mut suite = Suite::begin("docs", 60, 1);
    let folder = tempfile::tempdir().unwrap();
    for query in queries() {
        suite.count();
        let place = place(folder.path(), &query);
        let output = place
            .run(&["-p", "2", "--format", "json"])
            .output()
            .unwrap();
        let name = query.display();
        assert!(
            output.status.success(),
            "{name} ended with {}\n{}",
            output.status,
            text_of(&output)
        );
        let rows = String::from_utf8_lossy(&output.stdout).lines().count();
        let files = weir_tests::process::published(&place.folder.join("output"));
        assert!(
            rows > 0 || !files.is_empty(),
            "{name} shows nothing\n{}",
            text_of(&output)
        );
        let again = place
            .run(&["-p", "2", "--format", "json"])
            .output()
            .unwrap();
        assert!(
            again.status.success(),
            "{name}, a second time: {}",
            text_of(&again)
        );
        assert_eq!(
            weir_tests::process::published(&place.folder.join("output")),
            files,
            "{name}: a second run wrote more"
        );
    }
}

#[test]
fn every_query_opens_with_a_comment_and_ends_its_statements() {
    for query in queries() {
        let sql = std::fs::read_to_string(&query).unwrap();
        assert!(
            sql.starts_with("-- "),
            "{} opens with what it shows",
            query.display()
        );
        assert!(sql.trim_end().ends_with(';'), "{}", query.display());
    }
}

#[test]
fn the_bundled_data_is_small() {
    let folder = root().join("queries/data");
    let bytes: u64 = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 4 << 20, "{bytes} bytes");
}

/// A block of a page: what stands behind its fence, its line, its text.
struct Block {
    kind: String,
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(kind), None) => {
                open = Some(Block {
                    kind: kind.trim().to_owned(),
                    line: number + 1,
                    text: String::new(),
                });
            }
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Pages of which every example runs: what they read, they make themselves. Those of other pages read files that are not there.
const PAGES_THAT_RUN: [&str; 6] = [
    "over",
    "sets",
    "state",
    "statements",
    "from-flink",
    "from-postgres",
];

/// A block `sql` goes on where the page's blocks before it ended; `sql P0033` is refused with that code; `sql alone` is a text of its own.
#[test]
fn every_example_of_the_sql_pages_runs_or_fails_as_it_says() {
    let mut suite = Suite::begin("docs", 60, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    let mut pages: Vec<PathBuf> = std::fs::read_dir(root().join("docs/sql"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    pages.sort();
    for page in pages {
        let name = page.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&page).unwrap();
        let mut so_far = String::new();
        let mut alone = 0;
        for block in blocks(&text) {
            let (language, kind) = block.kind.split_once(' ').unwrap_or((&block.kind, ""));
            if language != "sql" {
                continue;
            }
            suite.count();
            let place = format!("{name}.md:{}", block.line);
            let whole = format!("{so_far}{}", block.text);
            match kind {
                "" => match weir_tests::job::plan(&whole) {
                    Ok(_) => so_far = whole,
                    // A page that does not run may tell two stories with the same names, or show a part of a text.
                    Err(error)
                        if !PAGES_THAT_RUN.contains(&name.as_str())
                            && (error.contains("[P1001]")
                                || weir_tests::job::plan(&block.text).is_ok()) => {}
                    Err(error) => failures.push(format!("{place}: {error}")),
                },
                "alone" => {
                    alone += 1;
                    let stem = format!("{name}-{alone}");
                    failures.extend(run_text(folder.path(), &stem, &block.text).err());
                }
                code => match weir_tests::job::plan(&whole) {
                    Ok(_) => failures.push(format!(
                        "{place} is planned, and should be refused with {code}"
                    )),
                    Err(error) if error.contains(&format!("[{code}]")) => {}
                    Err(error) => failures.push(format!("{place}: not {code} but {error}")),
                },
            }
        }
        if PAGES_THAT_RUN.contains(&name.as_str()) {
            assert!(!so_far.is_empty(), "{name} has examples");
            failures.extend(run_text(folder.path(), &name, &so_far).err());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn run_text(folder: &Path, stem: &str, sql: &str) -> Result<(), String> {
    let place = Place::new(&folder.join(stem), stem, sql);
    let output = place
        .run(&["-p", "2", "--format", "json"])
        .output()
        .unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{stem}: {}\n{}", output.status, text_of(&output)))
    }
}

/// Chapters of the book: a heading, and its pages in order. A folder stands for the pages in it that are not named elsewhere, its README first.
const BOOK: [(&str, &[&str]); 8] = [
    ("", &["README.md", "getting-started.md", "concepts.md"]),
    (
        "Ways in",
        &["repl.md", "cli.md", "server.md", "embedding.md"],
    ),
    ("SQL", &["sql/", "operator-ids.md"]),
    ("Connectors", &["connectors/"]),
    (
        "Operations",
        &[
            "settings.md",
            "checkpoints.md",
            "savepoints.md",
            "evolution.md",
            "telemetry.md",
            "runtime-errors.md",
        ],
    ),
    (
        "Internals",
        &[
            "internals.md",
            "formats/",
            "decisions/",
            "testing.md",
            "performance.md",
        ],
    ),
    ("Errors", &["errors/"]),
    // What stands nowhere else.
    ("More", &["./"]),
];

/// Pages below `folder`, as paths from `docs`.
fn pages_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join("docs").join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let folder = folder.trim_start_matches("./");
        if path.is_dir() {
            found.extend(pages_below(&format!("{folder}{name}/")));
        } else if name.ends_with(".md") && name != "SUMMARY.md" {
            found.push(format!("{folder}{name}"));
        }
    }
    // The page of a folder stands in front of the others.
    found.sort_by_key(|page| (!page.ends_with("README.md"), page.clone()));
    found
}

/// The list of chapters, from the pages that there are.
fn book() -> String {
    let all = pages_below("./");
    let named: Vec<&str> = BOOK
        .iter()
        .flat_map(|(_, pages)| pages.iter().copied())
        .collect();
    let mut listed: Vec<String> = Vec::new();
    let mut text =
        "# Summary\n\n<!-- Made from the pages: UPDATE=1 and the suite `docs` write it anew. -->\n"
            .to_owned();
    for (heading, entries) in BOOK {
        let mut lines = String::new();
        for entry in entries {
            let pages = match entry.strip_suffix('/') {
                Some(".") => all.clone(),
                Some(_) => pages_below(entry),
                None => all.iter().filter(|page| page == entry).cloned().collect(),
            };
            for page in pages {
                if listed.contains(&page)
                    || (entry.ends_with('/') && named.contains(&page.as_str()))
                {
                    continue;
                }
                let content = std::fs::read_to_string(root().join("docs").join(&page)).unwrap();
                let title = content.lines().next().unwrap_or_default();
                let title = title
                    .strip_prefix("# ")
                    .unwrap_or_else(|| panic!("{page} begins with its title"));
                let title = title.replace('[', "\\[").replace(']', "\\]");
                let indent = if page.contains('/')
                    && !page.ends_with("README.md")
                    && entry.ends_with('/')
                    && all.contains(&format!("{entry}README.md"))
                {
                    "  "
                } else {
                    ""
                };
                lines.push_str(&format!("{indent}- [{title}]({page})\n"));
                listed.push(page);
            }
        }
        if lines.is_empty() {
            continue;
        }
        if !heading.is_empty() {
            text.push_str(&format!("\n# {heading}\n"));
        }
        text.push_str(&format!("\n{lines}"));
    }
    assert_eq!(
        listed.len(),
        all.len(),
        "every page stands in the book once"
    );
    text
}

#[test]
fn the_book_has_every_page() {
    let mut suite = Suite::begin("docs", 60, 1);
    let path = root().join("docs/SUMMARY.md");
    let expected = book();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let summary = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        summary, expected,
        "docs/SUMMARY.md is not that of the pages: UPDATE=1 writes it"
    );
    suite.count();
    let toml = std::fs::read_to_string(root().join("docs/book.toml")).unwrap();
    assert!(
        toml.contains("src = \".\""),
        "the book is made of this folder"
    );
}

/// `text` without fenced blocks: what stands in them are no links.
fn without_blocks(text: &str) -> String {
    let mut fenced = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The name by which a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    let mut wrong = Vec::new();
    let mut links = 0;
    let mut pages = pages_below("./");
    pages.push("../README.md".to_owned());
    for page in &pages {
        let path = root().join("docs").join(page);
        let text = without_blocks(&std::fs::read_to_string(&path).unwrap());
        for rest in text.split("](").skip(1) {
            let Some((link, _)) = rest.split_once(')') else {
                continue;
            };
            if link.contains("://") || link.contains(' ') || link.is_empty() {
                continue;
            }
            links += 1;
            let (file, part) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            if !target.exists() {
                wrong.push(format!("{page}: {link} leads nowhere"));
            } else if !part.is_empty() && target.extension().is_some_and(|of| of == "md") {
                let there = without_blocks(&std::fs::read_to_string(&target).unwrap());
                let headings = there.lines().filter_map(|line| {
                    line.trim_start_matches('#')
                        .strip_prefix(' ')
                        .filter(|_| line.starts_with('#'))
                });
                if !headings.map(anchor).any(|name| name == part) {
                    wrong.push(format!("{page}: {link} has no such heading"));
                }
            }
        }
    }
    assert!(links > 200, "only {links} links were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
