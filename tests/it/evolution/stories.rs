//! The pairs in `queries/evolution`, told and carried out.

use std::path::{Path, PathBuf};
use std::process::Command;

use weir_tests::process::{binary, root, text_of};
use weir_tests::suite::Suite;

use super::carry::{difference, expected, held};
use crate::batch::Oracle;

/// A pair of texts.
struct Story {
    name: String,
    folder: PathBuf,
    /// Flags that carry the edit out: the second line of the new text.
    flags: Vec<String>,
}

fn stories() -> Vec<Story> {
    let mut found: Vec<Story> = std::fs::read_dir(root().join("queries/evolution"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("new.sql").is_file())
        .map(|folder| {
            let new = std::fs::read_to_string(folder.join("new.sql")).unwrap();
            let flags = new
                .lines()
                .nth(1)
                .unwrap()
                .strip_prefix("-- flags:")
                .unwrap();
            Story {
                name: folder.file_name().unwrap().to_string_lossy().into_owned(),
                flags: flags.split_whitespace().map(str::to_owned).collect(),
                folder,
            }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(found.len() >= 15, "{} stories", found.len());
    found
}

impl Story {
    fn weir(&self, place: &Path, arguments: &[&str]) -> std::process::Output {
        Command::new(binary())
            .current_dir(place)
            .args(arguments)
            .env_remove("WEIR_FAILPOINT")
            .output()
            .unwrap()
    }

    /// A folder where the tables of the story are found.
    fn place(&self) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root().join("queries"), place.path().join("queries")).unwrap();
        for text in ["old.sql", "new.sql"] {
            std::fs::copy(self.folder.join(text), place.path().join(text)).unwrap();
        }
        place
    }

    fn judging_flags(&self) -> Vec<&str> {
        let mut flags = Vec::new();
        let mut words = self.flags.iter();
        while let Some(word) = words.next() {
            if matches!(word.as_str(), "--replay" | "--rename" | "--sources") {
                flags.push(word.as_str());
                flags.extend(words.next().map(String::as_str));
            }
        }
        flags
    }

    /// What `weir diff` says, compared with what is written down.
    fn told(&self) -> Result<(), String> {
        let place = self.place();
        let mut arguments = vec!["diff", "new.sql", "--from", "old.sql"];
        arguments.extend(self.judging_flags());
        let output = self.weir(place.path(), &arguments);
        if !output.status.success() {
            return Err(format!("{}: {}", self.name, text_of(&output)));
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let path = self.folder.join("diff.txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &said).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        if said == written {
            return Ok(());
        }
        Err(format!(
            "{}: weir diff says\n{said}\nand {} has\n{written}",
            self.name,
            path.display()
        ))
    }

    /// The old text for a hundred orders, the new one for the rest.
    fn carried_out(&self) -> Result<(), String> {
        let place = self.place();
        let run = |arguments: &[&str]| {
            let output = self.weir(place.path(), arguments);
            match output.status.success() {
                true => Ok(()),
                false => Err(format!(
                    "{}: {arguments:?}\n{}",
                    self.name,
                    text_of(&output)
                )),
            }
        };
        run(&[
            "run",
            "old.sql",
            "--no-progress",
            "-p",
            "2",
            "--stop-after",
            "orders=100",
        ])?;
        // The edited text is the same file, edited.
        std::fs::copy(place.path().join("new.sql"), place.path().join("old.sql")).unwrap();
        let mut arguments = vec!["run", "old.sql", "--no-progress", "-p", "3", "--upgrade"];
        arguments.extend(self.flags.iter().map(String::as_str));
        run(&arguments)?;
        for (sink, query) in self.expectations() {
            let columns = columns(&self.folder, &sink);
            let found = held(&place.path().join("output"), &sink, &columns);
            let should = expected(&oracle(), &columns, &query)?;
            if let Some(text) = difference(&found, &should) {
                return Err(format!("{}: {sink}\n{text}", self.name));
            }
        }
        Ok(())
    }

    /// `-- SINK` and a query for the batch engine, one after another.
    fn expectations(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.folder.join("expect.txt")).unwrap();
        let parts = text.split("-- ").filter(|part| !part.trim().is_empty());
        parts
            .map(|part| {
                let (sink, query) = part.split_once('\n').unwrap();
                (
                    sink.trim().to_owned(),
                    query.trim().trim_end_matches(';').to_owned(),
                )
            })
            .collect()
    }
}

/// The names of a sink's columns, from the new text.
fn columns(folder: &Path, sink: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("new.sql")).unwrap();
    let start = format!("CREATE TABLE {sink} (");
    let rest = text.split_once(&start).unwrap().1;
    let list = rest.split_once(")\nWITH").unwrap().0;
    list.split(", ")
        .map(|column| column.split(' ').next().unwrap().to_owned())
        .collect()
}

/// A batch engine that knows what the stories read.
fn oracle() -> Oracle {
    let oracle = Oracle::default();
    for name in ["orders", "orders_2026"] {
        oracle.values(
            name,
            "id, customer, country, price, ts",
            &rows(name, false, |row| {
                format!(
                    "({}, '{}', '{}', {}, TIMESTAMP '{}')",
                    row["id"],
                    row["customer"].as_str().unwrap(),
                    row["country"].as_str().unwrap(),
                    row["price"],
                    row["ts"].as_str().unwrap()
                )
            }),
        );
    }
    let customers = rows("customers", true, |row| {
        format!(
            "('{}', '{}', {})",
            row["customer"].as_str().unwrap(),
            row["city"].as_str().unwrap(),
            row["vip"]
        )
    });
    oracle.values("customers", "customer, city, vip", &customers);
    oracle
}

/// The rows of a file of the stories that are left when all changes are made.
fn rows(name: &str, changes: bool, text: impl Fn(&serde_json::Value) -> String) -> Vec<String> {
    let path = root().join(format!("queries/evolution/data/{name}.jsonl"));
    let mut rows = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let row_text = text(&row);
        let taken_back = changes && row["op"].as_str().unwrap().starts_with('-');
        match rows.iter().position(|other| *other == row_text) {
            Some(place) if taken_back => drop(rows.remove(place)),
            _ => rows.push(row_text),
        }
    }
    rows
}

#[test]
fn each_story_is_told_as_a_colleague_would_tell_it() {
    let wrong: Vec<String> = stories()
        .iter()
        .filter_map(|story| story.told().err())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_story_comes_out_as_it_was_told() {
    let mut suite = Suite::with_share("evolution", 0.1, 300, 0);
    let mut wrong = Vec::new();
    for story in stories() {
        suite.count();
        wrong.extend(story.carried_out().err());
    }
    assert!(
        wrong.is_empty(),
        "{} stories\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}
