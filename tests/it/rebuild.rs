//! An edit that is computed from state, interrupted: at every named step of it, and by SIGKILL at any moment. What the sinks hold in
//! the end is what the new query writes when it reads everything itself.
//!
//! ```text
//!   old query ─▶ first rows ─▶ stop ─▶ new query, --upgrade ─✕ ─▶ once more ─✕ ─▶ once more ─▶ the rest
//!                                                                                              = new query, all rows
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use weir_tests::process::{Place, folded_changelog, kill, published_lines, row_of_json};
use weir_tests::suite::Suite;
use weir_tests::value::Multiset;

use crate::failpoints::{names, start_armed};
use crate::resume::copy_folder;

const ROWS: u64 = 24_000;
/// So little memory that what is computed does not fit.
const TIGHT: [&str; 7] = [
    "--state-memory",
    "1MiB",
    "--parallelism",
    "2",
    "--upgrade",
    "--replay",
    "dear/aggregate",
];
/// What the edit needs.
const EDIT: [&str; 3] = ["--upgrade", "--replay", "dear/aggregate"];

/// What an edit changes.
struct Version {
    size: u64,
    key: &'static str,
    best: u64,
    /// Keys of a view next to the source.
    keys: &'static str,
    join: &'static str,
    /// What a view next to the source counts: its state is computed from the source once more.
    least: u64,
}

const OLD: Version = Version {
    size: 100,
    key: "country",
    best: 10,
    keys: "country, price % 7",
    join: "JOIN",
    least: 50,
};
const NEW: Version = Version {
    size: 70,
    key: "country % 3",
    best: 25,
    keys: "country",
    join: "FULL JOIN",
    least: 120,
};

fn sql(version: &Version) -> String {
    let Version {
        size,
        key,
        best,
        keys,
        join,
        least,
    } = version;
    format!(
        "\
SET 'checkpoint.interval' = '40ms';
SET 'epoch.interval' = '2ms';
CREATE TABLE orders (customer BIGINT, country BIGINT, price BIGINT)
WITH ('connector' = 'filesystem', 'path' = '../data/orders', 'format' = 'json');
CREATE TABLE sizes (size BIGINT, customers BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/sizes', 'format' = 'changelog-json');
CREATE TABLE grouped (country BIGINT, customers BIGINT, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/grouped/all.json', 'format' = 'json', 'mode' = 'snapshot');
CREATE TABLE best (customer BIGINT, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/best', 'format' = 'changelog-json');
CREATE TABLE counts (country BIGINT, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/counts', 'format' = 'changelog-json');
CREATE TABLE pairs (customer BIGINT, total BIGINT, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/pairs', 'format' = 'changelog-json');
CREATE TABLE dears (country BIGINT, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/dears', 'format' = 'changelog-json');
CREATE VIEW dear AS SELECT country, count(*) AS n FROM orders WHERE price > {least} GROUP BY country;
INSERT INTO dears SELECT country, n FROM dear;
CREATE VIEW totals AS
SELECT customer, country, sum(price) AS total, count(*) AS orders FROM orders GROUP BY customer, country;
CREATE VIEW by_country AS SELECT country, count(*) AS n FROM orders GROUP BY {keys};
CREATE VIEW cheap AS SELECT total / 5 AS fifth, count(*) AS n FROM totals GROUP BY total / 5;
INSERT INTO sizes SELECT total / {size}, count(*) FROM totals GROUP BY total / {size};
INSERT INTO grouped SELECT {key}, count(*), sum(total) FROM totals GROUP BY {key};
INSERT INTO best SELECT customer, total FROM totals ORDER BY total DESC, customer, country LIMIT {best};
INSERT INTO counts SELECT country, n FROM by_country;
INSERT INTO pairs SELECT t.customer, t.total, c.n FROM totals AS t {join} cheap AS c ON t.total = c.fifth;
"
    )
}

fn write_orders(folder: &Path) {
    let folder = folder.join("data/orders");
    std::fs::create_dir_all(&folder).unwrap();
    let mut text = String::new();
    for row in 0..ROWS {
        let mixed = weir_types::hash::mix(row.wrapping_add(77));
        writeln!(
            text,
            "{{\"customer\":{},\"country\":{},\"price\":{}}}",
            mixed % 4000,
            (mixed >> 13) % 11,
            (mixed >> 24) % 300
        )
        .unwrap();
    }
    std::fs::write(folder.join("a.jsonl"), text).unwrap();
}

/// What the sinks of a place hold.
fn holds(place: &Place) -> BTreeMap<&'static str, Multiset> {
    let out = place.folder.join("out");
    let rows = published_lines(&out.join("grouped"), None);
    let rows = rows.iter().map(|line| {
        let serde_json::Value::Object(fields) = serde_json::from_str(line).unwrap() else {
            panic!("not an object: {line}")
        };
        row_of_json(&fields)
    });
    let mut held = BTreeMap::from([("grouped", Multiset::of(rows))]);
    for name in ["sizes", "best", "counts", "pairs", "dears"] {
        held.insert(name, folded_changelog(&out.join(name)));
    }
    held
}

fn check(place: &Place, expected: &BTreeMap<&'static str, Multiset>, context: &str) {
    for (name, rows) in holds(place) {
        if let Some(row) = rows.negative() {
            panic!("{context}: {name} took back what it never had: {row:?}");
        }
        if let Some(text) = rows.difference(&expected[name]) {
            panic!("{context}: {name}: {text}\n{}", place.log());
        }
    }
}

/// A folder in which the old query has stopped in the middle, and what the new one writes that reads everything.
fn begin(root: &Path) -> (Place, BTreeMap<&'static str, Multiset>) {
    write_orders(root);
    let old = Place::new(&root.join("job"), "edited", &sql(&OLD));
    old.must_run(&["--parallelism", "3", "--stop-after", "orders=15000"]);
    copy_folder(&old.folder, &root.join("kept"));
    let fresh = Place::new(&root.join("fresh"), "edited", &sql(&NEW));
    fresh.must_run(&[]);
    let expected = holds(&fresh);
    assert!(
        expected.values().all(|rows| !rows.0.is_empty()),
        "every sink has rows"
    );
    (old, expected)
}

/// The stopped job once more, with the new query. A job's state belongs to one file: it stays where it is.
fn edited(root: &Path) -> Place {
    let folder = root.join("job");
    std::fs::remove_dir_all(&folder).unwrap();
    copy_folder(&root.join("kept"), &folder);
    Place::new(&folder, "edited", &sql(&NEW))
}

#[test]
fn an_edit_without_a_permission_is_refused_and_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (old, expected) = begin(root.path());
    let before = holds(&old);
    let place = edited(root.path());
    let output = place.run(&[]).output().unwrap();
    assert!(!output.status.success());
    check(&place, &before, "after the refusal");
    place.must_run(&TIGHT);
    check(&place, &expected, "after the upgrade");
}

#[test]
fn a_death_or_an_error_at_every_step_of_an_edit_changes_nothing() {
    let mut suite = Suite::begin("rebuild", 120, 6);
    let root = tempfile::tempdir().unwrap();
    let (_, expected) = begin(root.path());
    let names: BTreeSet<String> = names()
        .into_iter()
        .filter(|name| name.starts_with("engine.evolution."))
        .collect();
    for name in &names {
        for action in ["", ":1:error"] {
            let place = edited(root.path());
            let armed = format!("{name}{action}");
            assert!(
                start_armed(&place, &armed, &EDIT),
                "{armed} never struck\n{}",
                place.log()
            );
            place.must_run(&TIGHT);
            check(&place, &expected, &armed);
            suite.count();
        }
    }
}

#[test]
fn twenty_deaths_during_an_edit_and_its_first_epochs_lose_nothing_and_double_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (_, expected) = begin(root.path());
    let (mut kills, mut rounds) = (0, 0);
    while kills < 20 {
        rounds += 1;
        assert!(rounds < 60, "it is over before it can be killed");
        let place = edited(root.path());
        for attempt in 0..4 {
            let mixed = weir_types::hash::mix(rounds * 8 + attempt);
            let mut child = place.start(&TIGHT);
            std::thread::sleep(Duration::from_millis(40 + mixed % 700));
            kills += u32::from(kill(&mut child));
        }
        place.must_run(&TIGHT);
        check(&place, &expected, &format!("round {rounds}"));
    }
}
