//! State that earlier versions wrote is restored by this one (`tests/corpus/README.md`).

use std::path::{Path, PathBuf};

use weir_tests::process::{Place, folded_changelog, root};
use weir_tests::value::Multiset;

use crate::resume::copy_folder;

/// The version in the making: its folder may be written anew.
const NOW: &str = "0.1.0";
const FORMS: [&str; 3] = ["savepoint", "job-rocksdb", "job-memory"];
/// Where the corpus was stopped.
const RECORDS: &str = "25";

/// The query of the version in the making: that of its folder.
const SQL: &str = include_str!("../corpus/0.1.0/job.sql");

fn folder_of(version: &str) -> PathBuf {
    root().join("tests/corpus").join(version)
}

fn write_data(folder: &Path) {
    let (mut orders, mut payments) = (String::new(), String::new());
    for n in 0..40u64 {
        let mixed = weir_types::hash::mix(n + 1);
        let shop = ["Bern", "Oslo", "Rom\u{e4}", ""][(mixed % 4) as usize];
        let second = n * 7 - mixed % 9 % (n * 7 + 1);
        let time = |second: u64| {
            format!(
                "2024-02-29 12:{:02}:{:02}.{:03}",
                second / 60,
                second % 60,
                mixed % 1000
            )
        };
        let tags = ["[]", "[\"a\", null]", "null"][(mixed / 7 % 3) as usize];
        let amount = mixed % 10_000;
        orders.push_str(&format!(
            "{{\"id\": {n}, \"at\": \"{}\", \"shop\": \"{shop}\", \"amount\": \"{}.{:02}\", \"tags\": {tags}}}\n",
            time(second), amount / 100, amount % 100
        ));
        if !mixed.is_multiple_of(3) {
            let paid = (mixed % 77) as f64 / 4.0;
            payments.push_str(&format!(
                "{{\"order_id\": {n}, \"paid_at\": \"{}\", \"paid\": {paid}}}\n",
                time(second + mixed % 50)
            ));
        }
    }
    std::fs::create_dir_all(folder.join("data")).unwrap();
    std::fs::write(folder.join("data/orders.json"), orders).unwrap();
    std::fs::write(folder.join("data/payments.json"), payments).unwrap();
}

/// Writes the folder of the version in the making.
fn write_corpus(to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    write_data(to);
    std::fs::write(to.join("job.sql"), SQL).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    for backend in ["rocksdb", "memory"] {
        let place = Place::new(&scratch.path().join(backend), "job", SQL);
        copy_folder(&to.join("data"), &place.folder.join("data"));
        let stop = [
            "-p",
            "2",
            "--state-backend",
            backend,
            "--set",
            "key.groups=8",
            "--stop-after",
            RECORDS,
            "--savepoint",
            "saved",
        ];
        place.must_run(&stop);
        let job = to.join(format!("job-{backend}"));
        copy_folder(
            &place.folder.join(".weir/job/checkpoints"),
            &job.join("checkpoints"),
        );
        for file in ["owner.json", "counters.json"] {
            std::fs::copy(place.folder.join(".weir/job").join(file), job.join(file)).unwrap();
        }
        // The folder is gone when the test is over: whoever has it is its owner.
        let owner = "{\"job\": \"job\", \"file\": null}\n";
        std::fs::write(job.join("owner.json"), owner).unwrap();
        copy_folder(&place.folder.join("out"), &job.join("out"));
        if backend == "rocksdb" {
            copy_folder(&place.folder.join("saved"), &to.join("savepoint"));
        }
    }
}

/// What every table holds.
fn results(folder: &Path) -> Vec<(String, Multiset)> {
    let mut tables: Vec<String> = SQL
        .match_indices("'out/")
        .filter_map(|(at, text)| SQL[at + text.len()..].split('\'').next().map(str::to_owned))
        .collect();
    tables.sort();
    tables
        .into_iter()
        .map(|table| {
            let rows = folded_changelog(&folder.join(&table));
            (table, rows)
        })
        .collect()
}

#[test]
fn what_every_version_wrote_is_restored() {
    if std::env::var_os("UPDATE").is_some() {
        write_corpus(&folder_of(NOW));
    }
    let scratch = tempfile::tempdir().unwrap();
    let mut versions: Vec<PathBuf> = std::fs::read_dir(folder_of(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    versions.sort();
    assert!(!versions.is_empty(), "there is a corpus");
    for corpus in versions {
        let sql = std::fs::read_to_string(corpus.join("job.sql")).unwrap();
        let place = |name: &str| {
            let place = Place::new(&scratch.path().join(name), "job", &sql);
            copy_folder(&corpus.join("data"), &place.folder.join("data"));
            place
        };
        let whole = place("whole");
        whole.must_run(&[]);
        let expected = results(&whole.folder.join("out"));
        assert!(
            expected.iter().all(|(_, rows)| !rows.is_empty()),
            "{expected:?}"
        );
        for (at, form) in FORMS.into_iter().enumerate() {
            for (workers, backend) in [("1", "rocksdb"), ("3", "memory"), ("2", "rocksdb")] {
                let rest = place(&format!("{at}-{workers}"));
                let saved = corpus.join("savepoint");
                let mut arguments = vec!["-p", workers, "--state-backend", backend];
                if form == "savepoint" {
                    arguments.extend(["--from", saved.to_str().unwrap()]);
                } else {
                    copy_folder(&corpus.join(form), &rest.folder.join(".weir/job"));
                    std::fs::rename(rest.folder.join(".weir/job/out"), rest.folder.join("out"))
                        .unwrap();
                }
                rest.must_run(&arguments);
                for (table, mut rows) in results(&rest.folder.join("out")) {
                    if form == "savepoint" {
                        // What had been written before the savepoint is elsewhere.
                        let before = folded_changelog(&corpus.join("job-rocksdb/out").join(&table));
                        before
                            .0
                            .into_iter()
                            .for_each(|(row, count)| rows.add(row, count));
                    }
                    let (_, wanted) = expected.iter().find(|(name, _)| *name == table).unwrap();
                    if let Some(text) = rows.difference(wanted) {
                        panic!(
                            "{} {form} at parallelism {workers}, {table}: {text}",
                            corpus.display()
                        );
                    }
                }
            }
        }
        std::fs::remove_dir_all(&whole.folder).unwrap();
    }
}
