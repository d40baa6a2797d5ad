//! Random queries, rows, cuts and sequences of edits with a restore between any two: each sink whose report says that it
//! is exact is compared with the batch engine's answer to the last text over all rows.

use std::collections::BTreeMap;
use std::path::Path;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use weir_planner::compare::{Replay, Report};
use weir_tests::data::rng;
use weir_tests::job::{Setup, plan};
use weir_tests::suite::Suite;

use super::carry::{
    Start, difference, everything, expected, foretold, has_incompatible, held, judged, on_threads,
    refusal,
};
use super::queries::Text;
use crate::batch::Oracle;

/// Failures to collect before the suite stops.
const FAILURES_MAX: usize = 12;

/// What became of a case.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    /// Edits that were carried out.
    edits: usize,
    /// Sinks that were called exact, and were.
    exact: usize,
    /// It ended at an edit that is refused.
    refused: bool,
}

/// Cases that once went wrong: a column of a sink that was dropped and came back; a replay up to the watermark of what a union
/// read before; groups merged by a dropped key of which they count the distinct values; a column of nothing but NULL in the batch
/// engine.
const FOUND: [u64; 4] = [
    17_732_233_145_095_174_573,
    15_861_619_248_649_486_743,
    10_047_671_246_174_608_553,
    433_233_748_387_352_678,
];

#[test]
fn what_went_wrong_once_does_not_again() {
    for seed in FOUND {
        if let Err(text) = case(seed) {
            panic!("seed {seed}: {text}");
        }
    }
}

#[test]
fn what_is_called_exact_is_what_a_batch_engine_gives() {
    run(Suite::with_share("evolution", 0.5, 300, 200), case);
}

/// The same queries, with a table that several statements write and with tables that take no row back.
#[test]
fn what_is_called_exact_is_so_in_tables_of_several_statements_and_of_rows() {
    run(
        Suite::with_share("evolution", 0.2, 100, 40),
        case_of_other_tables,
    );
}

/// The same queries, with windows that overlap, differences and intersections, and aggregates of all rows.
#[test]
fn what_is_called_exact_is_so_of_other_kinds() {
    run(
        Suite::with_share("evolution", 0.1, 100, 20),
        case_of_other_kinds,
    );
}

fn run(mut suite: Suite, case: fn(u64) -> Result<Came, String>) {
    let (mut failures, mut all) = (Vec::new(), Came::default());
    let mut refused = 0;
    loop {
        let seeds: Vec<u64> = std::iter::from_fn(|| suite.next_seed()).take(24).collect();
        if seeds.is_empty() || failures.len() >= FAILURES_MAX {
            break;
        }
        for (seed, result) in on_threads(&seeds, |seed| (*seed, case(*seed))) {
            match result {
                Ok(came) => {
                    all.edits += came.edits;
                    all.exact += came.exact;
                    refused += usize::from(came.refused);
                }
                Err(text) => failures.push(format!("seed {seed}: {text}\n{}", suite.replay(seed))),
            }
        }
    }
    println!(
        "evolution: {} edits, {} sinks exact, {refused} cases ended at one that is refused",
        all.edits, all.exact
    );
    assert!(
        failures.is_empty(),
        "{} failures\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

/// The texts of a case: each an edit of the one before it.
fn texts(rng: &mut SmallRng) -> Vec<(Text, String)> {
    let mut first = Text::random(rng);
    while plan(&first.sql()).is_err() {
        first = Text::random(rng);
    }
    let mut texts = vec![(first, String::new())];
    let count = *[1, 1, 1, 2, 2, 3, 5].choose(rng).unwrap();
    let mut number = 0;
    while texts.len() <= count && number < 60 {
        let mut text = texts[texts.len() - 1].0.clone();
        let mut words = Vec::new();
        for _ in 0..*[1, 1, 1, 2, 3].choose(rng).unwrap() {
            number += 1;
            if let Some((edited, word)) = text.edited(rng, &format!("w{number}"))
                && plan(&edited.sql()).is_ok()
            {
                text = edited;
                words.push(word);
            }
        }
        if !words.is_empty() {
            texts.push((text, words.join(" and ")));
        }
    }
    texts
}

/// Rows of both sources as lines, and whether each of `b` is there at the end.
struct Rows {
    lines: BTreeMap<String, Vec<String>>,
    values: BTreeMap<String, Vec<String>>,
}

fn rows(rng: &mut SmallRng, updating: bool) -> Rows {
    let mut rows = Rows {
        lines: BTreeMap::new(),
        values: BTreeMap::new(),
    };
    for source in ["a", "b"] {
        let changes = source == "b" && updating;
        let (mut lines, mut live): (Vec<String>, Vec<(String, String)>) = Default::default();
        let mut clock = 0;
        for id in 0..rng.random_range(4..60) {
            if changes && !live.is_empty() && rng.random_bool(0.25) {
                let gone = live.remove(rng.random_range(0..live.len()));
                lines.push(gone.0.replacen("\"+I\"", "\"-D\"", 1));
                continue;
            }
            clock += rng.random_range(0..3);
            // Never further behind than the shortest delay: no row is late.
            let time = (clock - rng.random_range(0..3i64)).max(0);
            let time = format!("2026-01-01 00:{:02}:{:02}", time / 60, time % 60);
            let values: Vec<Option<i64>> = (0..4)
                .map(|_| (!rng.random_bool(0.08)).then(|| rng.random_range(0..4)))
                .collect();
            let json =
                |value: &Option<i64>| value.map_or("null".to_owned(), |value| value.to_string());
            let fields: Vec<String> = "kgxy"
                .chars()
                .zip(&values)
                .map(|(name, value)| format!("\"{name}\":{}", json(value)))
                .collect();
            let op = if changes { "\"op\":\"+I\"," } else { "" };
            let line = format!("{{{op}\"id\":{id},{},\"t\":\"{time}\"}}", fields.join(","));
            // A column of nothing but NULLs still has its type.
            let sql = |value: &Option<i64>| {
                value.map_or("CAST(NULL AS BIGINT)".to_owned(), |value| value.to_string())
            };
            let sql: Vec<String> = values.iter().map(sql).collect();
            live.push((
                line.clone(),
                format!("({id}, {}, TIMESTAMP '{time}')", sql.join(", ")),
            ));
            lines.push(line);
        }
        rows.lines.insert(source.to_owned(), lines);
        rows.values.insert(
            source.to_owned(),
            live.into_iter().map(|(_, values)| values).collect(),
        );
    }
    rows
}

fn write(base: &Path, rows: &Rows) {
    for (source, lines) in &rows.lines {
        let folder = base.join(source);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("rows.json"), lines.join("\n") + "\n").unwrap();
    }
}

fn oracle(rows: &Rows) -> Oracle {
    let oracle = Oracle::default();
    for (source, values) in &rows.values {
        oracle.values(
            source,
            "id BIGINT, k BIGINT, g BIGINT, x BIGINT, y BIGINT, t",
            values,
        );
    }
    oracle
}

fn case(seed: u64) -> Result<Came, String> {
    let mut rng = rng(seed);
    let texts = texts(&mut rng);
    carried_out(rng, texts)
}

fn case_of_other_tables(seed: u64) -> Result<Came, String> {
    let mut rng = rng(seed);
    let (mut all, words): (Vec<Text>, Vec<String>) = texts(&mut rng).into_iter().unzip();
    Text::with_other_tables(&mut all, &mut rng);
    carried_out(rng, all.into_iter().zip(words).collect())
}

fn case_of_other_kinds(seed: u64) -> Result<Came, String> {
    let mut rng = rng(seed);
    let (all, words): (Vec<Text>, Vec<String>) = texts(&mut rng).into_iter().unzip();
    let mut others = all.clone();
    Text::with_other_kinds(&mut others, &mut rng);
    // Who reads a view may have found columns in it that are gone now.
    let planned = others.iter().all(|text| plan(&text.sql()).is_ok());
    let all = if planned { others } else { all };
    carried_out(rng, all.into_iter().zip(words).collect())
}

fn carried_out(mut rng: SmallRng, texts: Vec<(Text, String)>) -> Result<Came, String> {
    let rows = rows(&mut rng, texts[0].0.updating);
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write(base, &rows);
    let replay = *[false, false, true].choose(&mut rng).unwrap();
    let replay = if replay { Replay::All } else { Replay::None };
    let mut cut: BTreeMap<String, u64> = BTreeMap::new();
    let (mut came, mut last): (Came, Option<Report>) = Default::default();
    let story = |what: &str, upto: usize, cut: &BTreeMap<String, u64>| {
        let told: Vec<String> = texts[..=upto]
            .iter()
            .map(|(text, word)| format!("-- {word}\n{}", text.sql()))
            .collect();
        format!(
            "{what}\nreplay {replay:?}, last cut {cut:?}\n{}",
            told.join("\n")
        )
    };
    for (at, (text, _)) in texts.iter().enumerate() {
        let sql = text.sql();
        let setup = Setup::random(&mut rng);
        let before = cut.clone();
        for (source, lines) in &rows.lines {
            let more = rng.random_range(0..=lines.len() as u64);
            let least = cut.get(source).copied().unwrap_or(0);
            cut.insert(source.clone(), least.max(more));
        }
        if at > 0 {
            let report = judged(base, &sql, &replay).map_err(|error| story(&error, at, &before))?;
            came.refused = report.as_ref().is_some_and(has_incompatible);
            last = report;
        }
        let sources: BTreeMap<String, u64> = cut
            .iter()
            .filter(|(source, _)| sql.contains(&format!("CREATE TABLE {source} ")))
            .map(|(source, rows)| (source.clone(), *rows))
            .collect();
        let start = Start {
            base,
            sql: &sql,
            setup: &setup,
            stop: (at + 1 < texts.len()).then_some(&sources),
            edit: everything(replay.clone()),
        };
        match start.run() {
            Ok(_) if came.refused => {
                return Err(story("an incompatible edit went through", at, &before));
            }
            Ok(_) => came.edits += usize::from(at > 0),
            Err(_) if came.refused => return Ok(came),
            // What cannot start below rows that are taken back, and what needs another target.
            Err(error) if refusal(&error).is_some() => {
                foretold(&error, last.as_ref()).map_err(|error| story(&error, at, &before))?;
                came.refused = true;
                return Ok(came);
            }
            Err(error) => return Err(story(&error, at, &before)),
        }
    }
    let text = &texts[texts.len() - 1].0;
    let oracle = oracle(&rows);
    let (views, sinks) = text.batch();
    for view in &views {
        oracle.query(view).map_err(|error| {
            story(
                &format!("the batch engine: {error}\n{view}"),
                texts.len() - 1,
                &cut,
            )
        })?;
    }
    for (sink, columns, query) in sinks {
        let id = format!("{sink}/sink");
        let exact = last.as_ref().is_none_or(|report| {
            report
                .sinks
                .iter()
                .any(|found| found.id.as_str() == id && found.exact)
        });
        if !exact {
            continue;
        }
        let should = expected(&oracle, &columns, &query)
            .map_err(|error| story(&format!("the batch engine: {error}"), texts.len() - 1, &cut))?;
        if let Some(text) = difference(&held(base, &sink, &columns), &should) {
            let what = format!("{sink} is called exact, and is not:\n{text}");
            return Err(story(&what, texts.len() - 1, &cut));
        }
        came.exact += 1;
    }
    Ok(came)
}

/// The generator itself: nearly every text is planned by both engines.
#[test]
fn generated_texts_are_queries() {
    let (mut texts_seen, mut edits) = (0, 0);
    let mut words = std::collections::BTreeSet::new();
    for seed in 0..150 {
        let mut rng = rng(seed);
        let texts = texts(&mut rng);
        let rows = rows(&mut rng, texts[0].0.updating);
        for (text, word) in &texts {
            let oracle = oracle(&rows);
            let (views, sinks) = text.batch();
            for view in views {
                oracle
                    .query(&view)
                    .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{view}"));
            }
            for (_, _, query) in sinks {
                oracle
                    .query(&query)
                    .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{query}"));
            }
            texts_seen += 1;
            words.extend(word.split(" and ").map(str::to_owned));
        }
        edits += texts.len() - 1;
    }
    assert!(edits >= 150 && texts_seen > edits, "{edits} edits");
    assert!(words.len() >= 20, "{words:?}");
}
