//! A job's life: stops and resumes, savepoints, and what a start refuses.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use weir_tests::process::{Place, text_of, wait_for};

use crate::orders::{Orders, Results, SQL};

const ROWS: u64 = 40_000;

fn orders(root: &Path) -> Results {
    let orders = Orders {
        rows: ROWS,
        customers: 5_000,
    };
    orders.write(root);
    orders.expected()
}

fn place(root: &Path, name: &str) -> Place {
    Place::new(&root.join(name), "orders", SQL)
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// The run failed, without a panic; what it printed.
fn refused(output: Output) -> String {
    let text = text_of(&output);
    assert!(!output.status.success(), "it was to be refused:\n{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn a_checkpoint_is_resumed_at_any_parallelism_and_on_either_backend() {
    let root = tempfile::tempdir().unwrap();
    let expected = orders(root.path());
    for (first_backend, first_workers) in [("rocksdb", "3"), ("memory", "2")] {
        let half = place(root.path(), &format!("half-{first_backend}"));
        half.must_run(&[
            "-p",
            first_workers,
            "--state-backend",
            first_backend,
            "--stop-after",
            "orders=21000",
        ]);
        for workers in ["1", "2", "4"] {
            for backend in ["rocksdb", "memory"] {
                let name = format!("from-{first_backend}-{workers}-{backend}");
                let rest = place(root.path(), &name);
                copy_folder(&half.folder, &rest.folder);
                // The copy is another file at another path: it says that it takes the folder over, as its owner.
                claim(&rest.folder);
                rest.must_run(&["-p", workers, "--state-backend", backend]);
                Results::assert(&rest.folder, &expected, &name);
                std::fs::remove_dir_all(&rest.folder).unwrap();
            }
        }
    }
}

/// A copied state folder still names the query file that it was made by; a copy for a test may say otherwise.
fn claim(folder: &Path) {
    let old = folder.parent().expect("a place has a root");
    let mut folders = vec![folder.join(".weir")];
    while let Some(at) = folders.pop() {
        for path in std::fs::read_dir(at)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if path.is_dir() {
                if path
                    .file_name()
                    .is_none_or(|name| name != "manifests" && name != "data")
                {
                    folders.push(path);
                }
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            let other = |name: &str| old.join(name).to_string_lossy().into_owned();
            let own = folder.to_string_lossy().into_owned();
            let named = ["half-rocksdb", "half-memory"]
                .iter()
                .fold(text.clone(), |text, name| text.replace(&other(name), &own));
            if named != text {
                std::fs::write(&path, named).unwrap();
            }
        }
    }
}

#[test]
fn a_savepoint_is_a_start_for_another_folder() {
    let root = tempfile::tempdir().unwrap();
    let expected = orders(root.path());
    let first = place(root.path(), "first");
    first.must_run(&[
        "-p",
        "2",
        "--stop-after",
        "orders=17000",
        "--savepoint",
        "../saved",
    ]);
    let second = place(root.path(), "second");
    second.must_run(&["-p", "3", "--state-backend", "memory", "--from", "../saved"]);
    // Appended files hold what came before the savepoint in one folder, and after it in the other.
    let (mut both, rest) = (Results::read(&first.folder), Results::read(&second.folder));
    for (row, count) in rest.minutes.0 {
        both.minutes.add(row, count);
    }
    for (row, count) in rest.customers.0 {
        both.customers.add(row, count);
    }
    for (row, count) in rest.cities.0 {
        both.cities.add(row, count);
    }
    both.shops = rest.shops;
    if let Some(difference) = both.difference(&expected) {
        panic!("{difference}");
    }
    // The first job is not disturbed by any of it.
    first.must_run(&[]);
    Results::assert(&first.folder, &expected, "the job that gave the savepoint");
}

#[test]
fn many_stops_at_exact_records_change_nothing() {
    let root = tempfile::tempdir().unwrap();
    let expected = orders(root.path());
    let place = place(root.path(), "steps");
    for rows in [1, 2, 9_999, 10_000, 10_001, 25_000] {
        place.must_run(&["--stop-after", &format!("orders={rows}")]);
    }
    place.must_run(&[]);
    Results::assert(&place.folder, &expected, "after many stops");
}

#[test]
fn a_finished_job_says_so_and_runs_again_only_afresh() {
    let root = tempfile::tempdir().unwrap();
    let expected = orders(root.path());
    let place = place(root.path(), "finished");
    place.must_run(&[]);
    let text = text_of(&place.must_run(&[]));
    assert!(
        text.contains("finished") && text.contains("--fresh"),
        "{text}"
    );
    Results::assert(&place.folder, &expected, "after the second run");
    let text = refused(place.run(&["--fresh"]).output().unwrap());
    assert!(text.contains("--replace-output"), "{text}");
    Results::assert(&place.folder, &expected, "after the refused run");
    place.must_run(&["--fresh", "--replace-output"]);
    Results::assert(&place.folder, &expected, "after a fresh run");
}

#[test]
fn an_edit_that_changes_state_is_refused_and_one_that_does_not_is_not() {
    let root = tempfile::tempdir().unwrap();
    let expected = orders(root.path());
    let place = place(root.path(), "edited");
    place.must_run(&["--stop-after", "orders=10000"]);
    let query = place.folder.join("orders.sql");
    std::fs::write(
        &query,
        SQL.replace(
            "SELECT customer, count(*), sum(amount), max(amount)",
            "SELECT customer, count(*), sum(amount + 1), max(amount)",
        ),
    )
    .unwrap();
    let text = refused(place.run(&[]).output().unwrap());
    assert!(
        text.contains("by_customer/aggregate"),
        "the operator is named:\n{text}"
    );
    std::fs::write(
        &query,
        format!("-- A comment.\n{}", SQL.replace("WITH (", "WITH  (")),
    )
    .unwrap();
    place.must_run(&[]);
    Results::assert(&place.folder, &expected, "after a comment");
}

#[test]
fn a_folder_belongs_to_one_file_and_one_process() {
    let root = tempfile::tempdir().unwrap();
    orders(root.path());
    let place = place(root.path(), "owned");
    place.must_run(&["--stop-after", "orders=10000"]);
    // Another file of the same stem, run from the same folder, would use the same `.weir/orders`.
    let other = place.folder.join("elsewhere");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("orders.sql"), SQL).unwrap();
    let mut command = std::process::Command::new(weir_tests::process::binary());
    command
        .current_dir(&place.folder)
        .args(["run", "elsewhere/orders.sql", "--no-progress"]);
    let text = refused(command.output().unwrap());
    assert!(
        text.contains("job.name"),
        "the error says how to name the job:\n{text}"
    );
}

const ENDLESS: &str = "\
SET 'checkpoint.interval' = '100ms';
CREATE TABLE clicks (id BIGINT, user_id INT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000', 'fields.user_id.max' = '999');
CREATE TABLE seen (user_id INT, clicks BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out/seen', 'format' = 'changelog-json');
INSERT INTO seen SELECT CAST(user_id % 10 AS INT), count(*) FROM clicks GROUP BY CAST(user_id % 10 AS INT);
";

#[test]
fn a_second_process_is_refused_and_sigterm_takes_a_last_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::new(&root.path().join("endless"), "endless", ENDLESS);
    let mut first = place.start(&["-p", "2"]);
    let seen = || weir_tests::process::folded_changelog(&place.folder.join("out/seen"));
    until("each user is counted", || seen().len() == 10);
    let text = refused(place.run(&[]).output().unwrap());
    assert!(
        text.contains("another process") || text.contains("lock"),
        "{text}"
    );
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &first.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let status = wait_for(&mut first, Duration::from_secs(30)).expect("SIGTERM ends the job");
    assert!(status.success(), "{status}\n{}", place.log());
    let before = seen();
    assert_eq!(
        before.len(),
        10,
        "the last checkpoint published a row for each user\n{}",
        place.log()
    );
    // It goes on from there.
    let mut second = place.start(&["-p", "1"]);
    until("counting goes on", || seen() != before);
    weir_tests::process::kill(&mut second);
    let after = seen();
    assert_eq!(after.len(), 10);
    assert!(after.negative().is_none(), "{after:?}");
}

/// Waits for something that happens in another process, however slow the machine is.
fn until(what: &str, happened: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !happened() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "it never happened: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
