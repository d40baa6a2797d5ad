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
