//! `weir upgrade` and `weir try`: a job that runs goes on with another text, or back to the one it had.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use weir_tests::process::{Place, binary, folded_changelog, kill, text_of};

const CLICKS: &str = "SET 'checkpoint.interval' = '200ms';
SET 'parallelism' = '2';
CREATE TABLE clicks (id BIGINT, page BIGINT)
WITH ('connector' = 'datagen', 'rows-per-second' = '4000', 'fields.id.kind' = 'sequence', 'fields.page.min' = '1', 'fields.page.max' = '5');
CREATE TABLE pages (page BIGINT, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'pages', 'format' = 'changelog-json');
CREATE VIEW counts AS SELECT page, count(*) AS n FROM clicks GROUP BY page;
INSERT INTO pages SELECT page, n FROM counts;
";

fn weir(place: &Place, arguments: &[&str]) -> Output {
    Command::new(binary())
        .current_dir(&place.folder)
        .args(arguments)
        .env_remove("WEIR_FAILPOINT")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

/// Starts the job and waits until it has saved something.
fn running(place: &Place) -> Child {
    let child = place.start(&[]);
    let begun = Instant::now();
    while !weir(place, &["diff", "clicks.sql", "--from", "clicks"])
        .status
        .success()
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", place.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

fn edit(place: &Place, from: &str, to: &str) {
    let path = place.folder.join("clicks.sql");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// What the pages are after so many clicks, by a fresh run.
fn fresh(sql: &str, clicks: &str) -> weir_tests::value::Multiset {
    let folder = tempfile::tempdir().unwrap();
    let sql = sql.replace("'rows-per-second' = '4000', ", "");
    let place = Place::new(folder.path(), "clicks", &sql);
    place.must_run(&["--stop-after", clicks]);
    folded_changelog(&place.folder.join("pages"))
}

#[test]
fn an_upgrade_stops_the_job_and_goes_on_with_the_edited_text() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path(), "clicks", CLICKS);
    let mut child = running(&place);
    edit(
        &place,
        "SELECT page, n FROM counts",
        "SELECT page, n * 2 FROM counts WHERE page > 1",
    );
    let nobody = weir(&place, &["upgrade", "clicks", "clicks.sql"]);
    assert!(text_of(&nobody).contains("E0046"), "{}", text_of(&nobody));
    assert!(
        child.try_wait().unwrap().is_none(),
        "a question stops nothing"
    );
    let output = weir(
        &place,
        &[
            "upgrade",
            "clicks",
            "clicks.sql",
            "--yes",
            "--no-progress",
            "--stop-after",
            "40000",
        ],
    );
    let text = text_of(&output);
    if !output.status.success() {
        kill(&mut child);
        panic!("{text}");
    }
    assert!(child.wait().unwrap().success(), "{}", place.log());
    assert!(
        text.contains("pages/sink: difference") && text.contains("going on with clicks.sql"),
        "{text}"
    );
    let new = std::fs::read_to_string(place.folder.join("clicks.sql")).unwrap();
    let found = folded_changelog(&place.folder.join("pages"));
    assert_eq!(found.difference(&fresh(&new, "40000")), None);
}

#[test]
fn an_upgrade_that_does_not_come_up_goes_back_to_the_text_before() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path(), "clicks", CLICKS);
    let mut child = running(&place);
    let stopped_by = "SELECT page, n + 1 / (CASE WHEN n > 4000 THEN 0 ELSE 1 END) - 1 FROM counts";
    edit(&place, "SELECT page, n FROM counts", stopped_by);
    edit(&place, "'200ms'", "'1h'");
    let output = weir(
        &place,
        &[
            "upgrade",
            "clicks",
            "clicks.sql",
            "--yes",
            "--no-progress",
            "--stop-after",
            "40000",
        ],
    );
    let text = text_of(&output);
    kill(&mut child);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("goes back to the query that it ran before"),
        "{text}"
    );
    let found = folded_changelog(&place.folder.join("pages"));
    assert_eq!(found.difference(&fresh(CLICKS, "40000")), None, "{text}");
}

/// Every file below a folder, with its size and when it was written.
fn files(folder: &Path) -> BTreeMap<std::path::PathBuf, (u64, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path(), (metadata.len(), metadata.modified().unwrap()));
            }
        }
    }
    found
}

#[test]
fn a_trial_prints_what_sinks_would_get_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(
        folder.path(),
        "clicks",
        &CLICKS.replace("'rows-per-second' = '4000', ", ""),
    );
    place.must_run(&["--stop-after", "1000", "--savepoint", "saved"]);
    edit(
        &place,
        "SELECT page, n FROM counts",
        "SELECT page, n * 2 FROM counts WHERE page > 2",
    );
    let before = files(&place.folder);
    let output = weir(
        &place,
        &[
            "try",
            "clicks.sql",
            "--from",
            "saved",
            "--rows",
            "4",
            "--no-progress",
        ],
    );
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    let printed = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.starts_with("pages "))
        .count();
    // Of the difference, and of what comes then.
    assert_eq!(printed, 8, "{text}");
    assert_eq!(files(&place.folder), before, "{text}");
}
