//! The savepoint matrix: each row of the contract's table of edits, by operator kind and by what the operator reads.
//!
//! ```text
//!   matrix/KIND_READS.txt     == name                      READS: append   a table that only grows
//!                             old QUERY                           updating a table whose rows are taken back
//!                             new QUERY                           above    a GROUP BY, whose state holds its rows
//!                             columns NAME TYPE, …
//!                             new columns …              if they are others
//!                             flags replay               else all that is not exact is accepted
//!                             verdict ID WORDS
//!                             exact yes|no               what the sink is called
//!                             expect QUERY               for the batch engine; $cut: rows with an id up to it came before the edit
//! ```
//!
//! Without `expect` the edit is refused, and the refusal says so.

use std::collections::BTreeMap;
use std::path::Path;

use rand::Rng;
use weir_planner::compare::Replay;
use weir_tests::data::rng;
use weir_tests::job::Setup;
use weir_tests::process::root;
use weir_tests::suite::Suite;

use super::carry::{Start, difference, everything, expected, held, judged, on_threads};
use crate::batch::Oracle;

/// Rows of `a`, and how many of them come before the edit.
const ROWS: u64 = 60;
const CUT: u64 = 33;
/// Lines of `u` that come before the edit.
const CUT_UPDATING: u64 = 45;

#[derive(Clone, Debug, Default)]
struct Case {
    name: String,
    old: String,
    new: String,
    columns: String,
    new_columns: Option<String>,
    replay: bool,
    verdict: String,
    exact: bool,
    expect: Option<String>,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let folder = root().join("tests/it/evolution/matrix");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        for block in std::fs::read_to_string(&file).unwrap().split("== ").skip(1) {
            let mut lines = block.lines();
            let mut case = Case {
                name: format!("{stem}: {}", lines.next().unwrap()),
                ..Case::default()
            };
            for line in lines.filter(|line| !line.is_empty()) {
                let value = |key: &str| line.strip_prefix(key).map(|rest| rest.trim().to_owned());
                if let Some(text) = value("new columns ") {
                    case.new_columns = Some(text);
                } else if let Some(text) = value("old ") {
                    case.old = text;
                } else if let Some(text) = value("new ") {
                    case.new = text;
                } else if let Some(text) = value("columns ") {
                    case.columns = text;
                } else if let Some(text) = value("flags ") {
                    case.replay = text == "replay";
                } else if let Some(text) = value("verdict ") {
                    case.verdict = text;
                } else if let Some(text) = value("exact ") {
                    case.exact = text == "yes";
                } else if let Some(text) = value("expect ") {
                    case.expect = Some(text);
                } else {
                    panic!("{}: {line}", case.name);
                }
            }
            cases.push(case);
        }
    }
    cases
}

/// What the queries read.
struct Data {
    a: Vec<[Option<i64>; 5]>,
    /// With the sign of each change.
    u: Vec<([Option<i64>; 5], bool)>,
    d: Vec<[Option<i64>; 2]>,
}

fn data() -> Data {
    let mut rng = rng(20_261_121);
    let mut row = |id: u64| {
        let mut value = || (!rng.random_bool(0.1)).then(|| rng.random_range(0..4));
        [Some(id as i64), value(), value(), value(), value()]
    };
    let a: Vec<_> = (1..=ROWS).map(&mut row).collect();
    let mut u: Vec<([Option<i64>; 5], bool)> = Vec::new();
    for id in 1..=ROWS {
        u.push((row(id), true));
        // Some rows go a while later.
        if id % 4 == 0 {
            let gone = u[(id / 2) as usize].0;
            let there: i64 = u
                .iter()
                .filter(|(row, _)| *row == gone)
                .map(|(_, added)| if *added { 1 } else { -1 })
                .sum();
            if there > 0 {
                u.push((gone, false));
            }
        }
    }
    let d = (0..6)
        .map(|place| [Some(place % 4), Some(place * 3)])
        .collect();
    Data { a, u, d }
}

fn json(names: &[&str], row: &[Option<i64>], op: &str) -> String {
    let fields = names.iter().zip(row).map(|(name, value)| {
        format!(
            "\"{name}\":{}",
            value.map_or("null".to_owned(), |value| value.to_string())
        )
    });
    format!("{{{op}{}}}", fields.collect::<Vec<_>>().join(","))
}

fn values(row: &[Option<i64>]) -> String {
    let values = row
        .iter()
        .map(|value| value.map_or("NULL".to_owned(), |value| value.to_string()));
    format!("({})", values.collect::<Vec<_>>().join(", "))
}

const NAMES: [&str; 5] = ["id", "k", "g", "x", "y"];

impl Data {
    fn write(&self, base: &Path) {
        let files = [
            (
                "a",
                self.a
                    .iter()
                    .map(|row| json(&NAMES, row, ""))
                    .collect::<Vec<_>>(),
            ),
            (
                "u",
                self.u
                    .iter()
                    .map(|(row, added)| {
                        json(
                            &NAMES,
                            row,
                            if *added {
                                "\"op\":\"+I\","
                            } else {
                                "\"op\":\"-D\","
                            },
                        )
                    })
                    .collect(),
            ),
            (
                "d",
                self.d
                    .iter()
                    .map(|row| json(&["k", "v"], row, ""))
                    .collect(),
            ),
        ];
        for (name, lines) in files {
            std::fs::create_dir_all(base.join(name)).unwrap();
            std::fs::write(base.join(name).join("rows.json"), lines.join("\n") + "\n").unwrap();
        }
    }

    fn oracle(&self) -> Oracle {
        let oracle = Oracle::default();
        let a: Vec<String> = self.a.iter().map(|row| values(row)).collect();
        let mut u: Vec<String> = Vec::new();
        for (row, added) in &self.u {
            let text = values(row);
            match added {
                true => u.push(text),
                false => drop(u.remove(u.iter().position(|other| *other == text).unwrap())),
            }
        }
        let d: Vec<String> = self.d.iter().map(|row| values(row)).collect();
        oracle.values("a", "id, k, g, x, y", &a);
        oracle.values("u", "id, k, g, x, y", &u);
        oracle.values("d", "k, v", &d);
        oracle
    }
}

fn sql(query: &str, columns: &str) -> String {
    let source = |name: &str, columns: &str, format: &str| {
        format!(
            "CREATE TABLE {name} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{name}', 'format' = '{format}');\n"
        )
    };
    let all = "id BIGINT, k BIGINT, g BIGINT, x BIGINT, y BIGINT";
    format!(
        "{}{}{}CREATE VIEW s AS SELECT id, max(k) AS k, max(g) AS g, max(x) AS x, max(y) AS y FROM a GROUP BY id;\n{}INSERT INTO out \
         {query};\n",
        source("a", all, "json"),
        source("u", all, "changelog-json"),
        source("d", "k BIGINT, v BIGINT", "json"),
        source("out", columns, "changelog-json"),
    )
}

fn run(case: &Case, data: &Data, oracle: &Oracle, seed: u64) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    data.write(base);
    let columns = case.new_columns.as_ref().unwrap_or(&case.columns);
    let (old, new) = (sql(&case.old, &case.columns), sql(&case.new, columns));
    let mut stop = BTreeMap::new();
    for (table, rows) in [("a", CUT), ("u", CUT_UPDATING)] {
        let reads = |query: &str| {
            [format!("FROM {table} "), format!("FROM {table}")]
                .iter()
                .any(|from| {
                    query.contains(from.as_str())
                        && (from.ends_with(' ') || query.ends_with(from.as_str()))
                })
        };
        if reads(&format!("{} ", case.old)) || (table == "a" && case.old.contains("FROM s")) {
            stop.insert(table.to_owned(), rows);
        }
    }
    let mut rng = rng(seed);
    let (first, second) = (Setup::random(&mut rng), Setup::random(&mut rng));
    let replay = if case.replay {
        Replay::All
    } else {
        Replay::None
    };
    let story = |what: String| format!("{}\n  {}\n  {}\n{what}", case.name, case.old, case.new);
    let start = |sql, setup, stop, edit| Start {
        base,
        sql,
        setup,
        stop,
        edit,
    };
    start(&old, &first, Some(&stop), everything(Replay::None))
        .run()
        .map_err(&story)?;
    let report = judged(base, &new, &replay).map_err(&story)?;
    let report = report.expect("something was read");
    let (id, words) = case.verdict.split_once(' ').unwrap();
    let found = report
        .operators
        .iter()
        .find(|operator| operator.id.as_str() == id);
    let Some(found) = found else {
        let ids: Vec<&str> = report
            .operators
            .iter()
            .map(|operator| operator.id.as_str())
            .collect();
        return Err(story(format!("there is no {id}, only {ids:?}")));
    };
    if found.verdict.word() != words {
        return Err(story(format!(
            "{id} is {}, and should be {words} ({})",
            found.verdict.word(),
            found.reason
        )));
    }
    let sink = report
        .sinks
        .iter()
        .find(|sink| sink.id.as_str() == "out/sink")
        .unwrap();
    if sink.exact != case.exact {
        return Err(story(format!(
            "its sink is called {}",
            if sink.exact { "exact" } else { "not exact" }
        )));
    }
    let went = start(&new, &second, None, everything(replay)).run();
    let Some(expect) = &case.expect else {
        // Somebody who may not give state up has to be told what would.
        return match went {
            _ if words != "incompatible" => went.map(drop).map_err(&story),
            Ok(_) => Err(story("it went through".to_owned())),
            Err(text)
                if text.contains(&format!("{id}: incompatible"))
                    && text.contains("--start-empty") =>
            {
                Ok(())
            }
            Err(text) => Err(story(format!("refused, but with these words: {text}"))),
        };
    };
    went.map_err(&story)?;
    let names: Vec<String> = columns
        .split(", ")
        .map(|column| column.split(' ').next().unwrap().to_owned())
        .collect();
    let should =
        expected(oracle, &names, &expect.replace("$cut", &CUT.to_string())).map_err(&story)?;
    match difference(&held(base, "out", &names), &should) {
        None => Ok(()),
        Some(text) => Err(story(text)),
    }
}

#[test]
fn every_edit_of_the_matrix_comes_out_as_defined() {
    let mut suite = Suite::with_share("evolution", 0.2, 300, 0);
    let (data, mut failures) = (data(), Vec::new());
    let cases = cases();
    assert!(cases.len() >= 200, "{} cases", cases.len());
    let wanted = std::env::var("WEIR_MATRIX").unwrap_or_default();
    let numbered = cases.iter().enumerate();
    let drawn: Vec<_> = numbered
        .filter(|(_, case)| case.name.contains(&wanted))
        .collect();
    drawn.iter().for_each(|_| suite.count());
    // An oracle of its own for each: it is not made for several threads.
    let ran = on_threads(&drawn, |(seed, case)| {
        run(case, &data, &data.oracle(), *seed as u64)
    });
    failures.extend(ran.into_iter().filter_map(Result::err));
    assert!(
        failures.is_empty(),
        "{} of {} cases\n\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n\n")
    );
}
