//! Every query of `queries/` runs, each in a folder of its own, and a second time as well.

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
            // `batch` has the queries of the other engine.
            if path.is_dir() && !path.ends_with("batch") {
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
