//! A death at every named step from freeze to commit, and an error there: nothing lost, nothing doubled.
//!
//! The names are read from the sources, so that a new failure point is a new case without anybody thinking of it. Most are passed by any
//! run. Others need a past: a crash between manifest and commit (so that a restore has something to finish), published output that a
//! restore withdraws, a `--fresh`. Each name is tried in one past after the other until it strikes; a name that never strikes fails.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use weir_tests::process::{Place, folded_changelog, root, wait_for};
use weir_tests::suite::Suite;
use weir_tests::value::{Multiset, Value};

use crate::corrupt::{damage_newest, flip_byte};
use crate::orders::{Orders, Results, SQL};
use crate::resume::copy_folder;

const PATIENCE: Duration = Duration::from_secs(60);

/// State does not fit: there are spills, at the gate too.
const TIGHT: [&str; 4] = ["--state-memory", "1MiB", "--parallelism", "2"];

/// Every name that a source passes to `failpoint::pass`, in all crates.
pub(crate) fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for part in ["state", "connectors", "engine", "cli"] {
        let mut folders = vec![root().join(part).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    names.extend(names_in(&std::fs::read_to_string(path).unwrap()));
                }
            }
        }
    }
    names
}

/// The literals of calls of `pass`: each crate has a function of that name which makes the error its own.
fn names_in(source: &str) -> Vec<String> {
    let squeezed: String = source.chars().filter(|c| !c.is_whitespace()).collect();
    let calls = squeezed
        .match_indices("pass(\"")
        .map(|(at, text)| (at, at + text.len()));
    calls
        .filter(|(at, _)| !squeezed[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        .filter_map(|(_, from)| squeezed[from..].split('"').next().map(str::to_owned))
        .collect()
}

/// A past: what happened in the folder before the failure point is armed, and the arguments of the run that passes it.
struct Past {
    name: &'static str,
    prepare: fn(&Place, &str),
    arguments: &'static [&'static str],
}

/// The query as it was before an edit that drops one key of a GROUP BY, so that groups are merged: the result of the edited one
/// stays exact.
fn before_the_edit() -> String {
    let new = "max(amount) FROM orders GROUP BY customer;";
    assert!(SQL.contains(new));
    let old = "max(amount) FROM orders GROUP BY customer, shop;";
    SQL.replace("200ms", "40ms").replace(new, old)
}

/// A restart within the process: it takes a failure before (`a_death_at_a_restart_…` in `checkpoints.rs`).
const AT_RESTART: &str = "engine.restart.before";

/// A spill that finds the gate closed: it has a test of its own, because it takes a writer that is slow enough.
const AT_GATE: &str = "state.spill.at-gate";

/// Passed where a savepoint goes to a URL: `object_store.rs` has a server for it, and the other steps there too.
const AT_UPLOAD: &str = "state.savepoint.upload.between";

const PASTS: &[Past] = &[
    Past {
        name: "a first start",
        prepare: |_, _| {},
        arguments: &[],
    },
    Past {
        name: "a stop in the middle",
        prepare: |place, _| drop(place.must_run(&["--stop-after", "orders=7000"])),
        arguments: &["--savepoint", "saved"],
    },
    Past {
        name: "the newest checkpoint is damaged",
        prepare: |place, _| {
            for rows in ["orders=5000", "orders=13000"] {
                place.must_run(&["--checkpoint-interval", "1h", "--stop-after", rows]);
            }
            damage_newest(&place.folder, flip_byte);
        },
        arguments: &[],
    },
    Past {
        name: "finished, and started afresh",
        prepare: |place, _| drop(place.must_run(&[])),
        arguments: &["--fresh", "--replace-output"],
    },
    // The armed runs have two workers.
    Past {
        name: "a stop with three workers",
        prepare: |place, _| drop(place.must_run(&["-p", "3", "--stop-after", "orders=7000"])),
        arguments: &[],
    },
    Past {
        name: "a savepoint that is older than the newest checkpoint",
        prepare: |place, _| {
            place.must_run(&["--stop-after", "orders=5000", "--savepoint", "saved"]);
            place.must_run(&["--stop-after", "orders=13000"]);
        },
        arguments: &["--from", "saved"],
    },
    Past {
        name: "a copy of the checkpoints that is older than the newest checkpoint",
        prepare: |place, _| {
            place.must_run(&["--stop-after", "orders=5000"]);
            let checkpoints = place.folder.join(".weir/orders/checkpoints");
            copy_folder(&checkpoints, &place.folder.join("saved"));
            place.must_run(&["--stop-after", "orders=13000"]);
        },
        arguments: &["--from", "saved"],
    },
    Past {
        name: "an edited query",
        prepare: |place, _| {
            Place::new(&place.folder, "orders", &before_the_edit());
            place.must_run(&["-p", "3", "--stop-after", "orders=7000"]);
            Place::new(&place.folder, "orders", &SQL.replace("200ms", "40ms"));
        },
        arguments: &["--upgrade"],
    },
    // A crash at another failure point leaves half-done work for the restore.
    Past {
        name: "a crash at the failure point",
        prepare: |place, first| {
            start_armed(place, &format!("{first}:2"), &[]);
        },
        arguments: &[],
    },
];

impl Past {
    /// A first start restores and withdraws nothing: no need to try.
    fn cannot_strike(&self, name: &str) -> bool {
        self.name == PASTS[0].name
            && [
                "restore",
                "withdraw",
                "export",
                "remove",
                "savepoint",
                "import",
            ]
            .iter()
            .any(|word| name.contains(word))
    }
}

/// Runs with failure points armed; whether the first of them struck.
pub(crate) fn start_armed(place: &Place, armed: &str, arguments: &[&str]) -> bool {
    let name = armed.split([':', ',']).next().expect("a name").to_owned();
    let mut command = place.run(&[&TIGHT[..], arguments].concat());
    let before = place.log().len();
    let log = || {
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(place.folder.join("log.txt"))
            .unwrap()
    };
    let mut child = command
        .env("WEIR_FAILPOINT", armed)
        .stdout(log())
        .stderr(log())
        .spawn()
        .unwrap();
    let status = wait_for(&mut child, PATIENCE);
    assert!(status.is_some(), "{armed}: no end\n{}", place.log());
    place.log()[before..].contains(&format!("failure point {name}"))
}

/// After whatever happened: the job goes on to its end, and the files hold what they should.
fn finish(place: &Place, expected: &Results, arguments: &[&str], context: &str) {
    let output = place
        .run(&[&TIGHT[..], arguments].concat())
        .output()
        .unwrap();
    let text = weir_tests::process::text_of(&output);
    assert!(
        output.status.success(),
        "{context}: the next run ended with {}\n{text}\n{}",
        output.status,
        place.log()
    );
    Results::assert(&place.folder, expected, context);
}

#[test]
fn every_failure_point_loses_nothing_and_doubles_nothing() {
    let mut suite = Suite::begin("failpoints", 60, 6);
    let root = tempfile::tempdir().unwrap();
    let orders = Orders {
        rows: 20_000,
        customers: 10_000,
    };
    orders.write(root.path());
    let expected = orders.expected();
    let mut names = names();
    for own in [AT_GATE, AT_RESTART, AT_UPLOAD] {
        assert!(names.remove(own), "{own} has a test of its own");
    }
    // The steps of an edit are passed by an edit: `rebuild.rs`.
    names.retain(|name| !name.starts_with("engine.evolution."));
    assert!(names.len() >= 6, "there are failure points: {names:?}");
    let mut places = 0;
    let mut place = || {
        places += 1;
        Place::new(
            &root.path().join(format!("job-{places}")),
            "orders",
            &SQL.replace("200ms", "40ms"),
        )
    };
    let mut never = names.clone();
    let mut struck_at_first = Vec::new();
    for past in PASTS {
        let firsts: Vec<String> = match past.name {
            "a crash at the failure point" => struck_at_first.clone(),
            _ => vec![String::new()],
        };
        for first in firsts {
            for name in never.clone() {
                if past.cannot_strike(&name) {
                    continue;
                }
                let place = place();
                (past.prepare)(&place, &first);
                let struck = start_armed(&place, &name, past.arguments);
                let context = format!("{name} after {} {first}", past.name);
                // A run that was to start afresh is only done once it has done so, and an edit only with its first checkpoint:
                // the same command again.
                let again = if past.arguments.contains(&"--upgrade")
                    || (past.arguments.contains(&"--fresh") && struck)
                {
                    past.arguments
                } else {
                    &[]
                };
                finish(&place, &expected, again, &context);
                std::fs::remove_dir_all(&place.folder).unwrap();
                if struck {
                    println!("struck: {context}");
                    suite.count();
                    never.remove(&name);
                    if past.name == PASTS[0].name {
                        struck_at_first.push(name);
                    }
                }
            }
        }
    }
    assert!(
        never.is_empty(),
        "never passed, whatever the past: {never:?}"
    );
    // While there is time: a later passing, and an error in place of a death.
    'more: for armed in [":3", ":1:error", ":2", ":2:error"] {
        for name in &struck_at_first {
            if suite.next_seed().is_none() {
                break 'more;
            }
            let place = place();
            start_armed(&place, &format!("{name}{armed}"), &[]);
            finish(&place, &expected, &[], &format!("{name}{armed}"));
            std::fs::remove_dir_all(&place.folder).unwrap();
        }
    }
}

/// Every key once, behind settings of the test's own.
fn each_once(settings: &str, rows: u32) -> String {
    format!(
        "{settings}
CREATE TABLE numbers (id BIGINT)
WITH ('connector' = 'datagen', 'rows' = '{rows}', 'fields.id.kind' = 'sequence');
CREATE TABLE counts (id BIGINT, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
INSERT INTO counts SELECT id, count(*) FROM numbers GROUP BY id;
"
    )
}

/// Panics unless the job's folder has each of so many numbers, once.
fn assert_each_once(folder: &Path, rows: i64, context: &str) {
    let counts = folded_changelog(&folder.join("out"));
    let expected = (0..rows).map(|id| vec![Value::Int(id), Value::Int(1)]);
    if let Some(text) = counts.difference(&Multiset::of(expected)) {
        panic!("{context}: {text}");
    }
}

/// With each epoch a checkpoint, and nothing but a spill ever waits at the gate: no key comes again. The writer of the first
/// snapshot is held until a spill has met the closed gate: the memory is too small for what comes meanwhile.
#[test]
fn a_death_or_an_error_while_a_spill_waits_at_the_gate_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    for (number, action) in ["", ":1:error"].into_iter().enumerate() {
        let folder = root.path().join(format!("job-{number}"));
        let sql = each_once("SET 'checkpoint.interval' = '1ms';", 200_000);
        let place = Place::new(&folder, "counts", &sql);
        let armed = format!("{AT_GATE}{action},state.write.before:1:hold");
        assert!(start_armed(&place, &armed, &[]), "{armed}: {}", place.log());
        place.must_run(&TIGHT);
        assert_each_once(&folder, 200_000, &armed);
    }
}

/// The coordinator is held while it makes up its mind until the last record that is wanted was dealt: it must not end the job
/// as if nothing had been read since it last looked. (Case 363 of the model once lost a row so.)
#[test]
fn what_is_dealt_while_the_end_is_decided_is_in_the_last_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    for passing in 1..=2 {
        let folder = root.path().join(format!("job-{passing}"));
        let place = Place::new(&folder, "counts", &each_once("", 4));
        let armed = format!("engine.source.dealt:1:go,engine.coordinator.decide:{passing}:hold");
        start_armed(&place, &armed, &["--stop-after", "numbers=3"]);
        assert_each_once(&folder, 3, &format!("passing {passing}:\n{}", place.log()));
    }
}

#[test]
fn names_of_failure_points_are_found_in_sources() {
    let source = "failpoint::pass(\"a.b\")?;\npass(\n    \"c\")?; bypass(\"no\"); passing(\"no\")";
    assert_eq!(names_in(source), ["a.b", "c"]);
}
