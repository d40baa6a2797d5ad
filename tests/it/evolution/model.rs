//! The cases of the model of the contract (`shared/model`), carried out.
//!
//! The texts and verdicts are those of `planner/tests/it/evolution/model.jsonl`, one case a line; `model_rows.jsonl` has for
//! each the rows of its sources, how many of them were read when the edit came, and what the model's own engine has in
//! each sink at the end. Its end is not the end of input: windows stay open.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use weir_planner::compare::{OperatorReport, Replay, Verdict};
use weir_tests::data::rng;
use weir_tests::job::Setup;
use weir_tests::process::root;
use weir_tests::suite::Suite;
use weir_types::OperatorId;

use super::carry::{
    Start, difference, everything, foretold, has_incompatible, held, judged, on_threads, refusal,
};

const FAILURES_MAX: usize = 12;

/// What became of a case.
enum Came {
    Right,
    Refused,
}

/// `WEIR_MODEL=363` runs that case alone, twenty times.
#[test]
fn what_the_model_says_of_an_edit_comes_out() {
    if let Ok(seed) = std::env::var("WEIR_MODEL") {
        return one_case(&seed);
    }
    let mut suite = Suite::with_share("evolution", 0.3, 300, 300);
    let texts = lines("planner/tests/it/evolution/model.jsonl");
    let rows = lines("tests/it/evolution/model_rows.jsonl");
    assert_eq!(texts.len(), rows.len());
    let (mut failures, mut refused, mut right) = (Vec::new(), 0, 0);
    // All of them in the end, whatever the seed: a stride that shares no factor with their number.
    let mut at = 0;
    let mut left = texts.len();
    while left > 0 && failures.len() < FAILURES_MAX {
        let mut drawn = Vec::new();
        while left > 0 && drawn.len() < 24 && suite.next_seed().is_some() {
            at = (at + 617) % texts.len();
            assert_eq!(texts[at]["seed"], rows[at]["seed"]);
            drawn.push(at);
            left -= 1;
        }
        if drawn.is_empty() {
            break;
        }
        for (at, came) in on_threads(&drawn, |at| (*at, case(&texts[*at], &rows[*at]))) {
            match came {
                Ok(Came::Right) => right += 1,
                Ok(Came::Refused) => refused += 1,
                Err(text) => failures.push(format!("case {}: {text}", texts[at]["seed"])),
            }
        }
    }
    println!("evolution: {right} cases of the model are right, {refused} are refused");
    assert!(
        failures.is_empty(),
        "{} failures\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

fn one_case(seed: &str) {
    let texts = lines("planner/tests/it/evolution/model.jsonl");
    let rows = lines("tests/it/evolution/model_rows.jsonl");
    let seed: u64 = seed.parse().expect("WEIR_MODEL is the number of a case");
    let mut cases = texts.iter();
    let at = cases.position(|case| case["seed"].as_u64() == Some(seed));
    let at = at.expect("there is such a case");
    for time in 0..20 {
        if let Err(text) = case(&texts[at], &rows[at]) {
            panic!("case {seed}, run {time}: {text}");
        }
    }
}

fn lines(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A line of the model as SQL.
fn sql(line: &str) -> String {
    let (word, rest) = line.split_once(' ').unwrap();
    let (name, rest) = rest.split_once(' ').unwrap();
    let options = |format: &str| {
        format!("WITH ('connector' = 'filesystem', 'path' = '{name}', 'format' = '{format}')")
    };
    match word {
        "source" => {
            let (delay, format) = rest.split_once(' ').unwrap();
            format!(
                "CREATE TABLE {name} (k BIGINT, g BIGINT, x BIGINT, y BIGINT, t TIMESTAMP(3), WATERMARK FOR t AS t - INTERVAL \
                 '{delay}' SECOND) {};\n",
                options(format)
            )
        }
        "sink" => {
            let (format, columns) = rest.split_once(' ').unwrap();
            format!("CREATE TABLE {name} ({columns}) {};\n", options(format))
        }
        "view" => format!("CREATE VIEW {name} AS {rest};\n"),
        "into" => format!("INSERT INTO {name} {rest};\n"),
        other => panic!("no line begins with {other}"),
    }
}

fn old_and_new(case: &Value) -> (Vec<String>, Vec<String>) {
    let text = |line: &Value| line.as_str().unwrap().to_owned();
    let old: Vec<String> = case["old"].as_array().unwrap().iter().map(text).collect();
    let new = case["new"].as_array().unwrap().iter();
    let new = new.map(|line| {
        line.as_u64()
            .map_or_else(|| text(line), |at| old[at as usize].clone())
    });
    let new = new.collect();
    (old, new)
}

fn replay(case: &Value) -> Replay {
    match &case["replay"] {
        Value::Null => Replay::None,
        Value::Array(ids) => Replay::Only(
            ids.iter()
                .map(|id| OperatorId::new(id.as_str().unwrap()))
                .collect(),
        ),
        _ => Replay::All,
    }
}

/// Rows as files: `a/rows.json`.
fn write(base: &Path, lines: &[String], rows: &Value) {
    for line in lines.iter().filter(|line| line.starts_with("source ")) {
        let mut words = line.split(' ').skip(1);
        let name = words.next().unwrap();
        let changes = words.nth(1) == Some("changelog-json");
        let mut text = String::new();
        for row in rows[name.to_lowercase()].as_array().into_iter().flatten() {
            let row = row.as_array().unwrap();
            let seconds = row[4].as_i64().unwrap();
            let op = match (changes, row.len()) {
                (false, _) => "",
                (true, 6) => "\"op\":\"-D\",",
                (true, _) => "\"op\":\"+I\",",
            };
            text.push_str(&format!(
                "{{{op}\"k\":{},\"g\":{},\"x\":{},\"y\":{},\"t\":\"1970-01-01 00:{:02}:{:02}\"}}\n",
                row[0],
                row[1],
                row[2],
                row[3],
                seconds / 60,
                seconds % 60
            ));
        }
        std::fs::create_dir_all(base.join(name)).unwrap();
        std::fs::write(base.join(name).join("rows.json"), text).unwrap();
    }
}

/// What the model has in a sink, as texts in the order of the columns' names.
fn result(columns: &str, rows: &Value) -> BTreeMap<Vec<String>, i64> {
    let columns: Vec<(&str, bool)> = columns
        .split(", ")
        .map(|column| {
            let (name, kind) = column.split_once(' ').unwrap();
            (name, kind.starts_with("TIMESTAMP"))
        })
        .collect();
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|&place| columns[place].0);
    let mut found = BTreeMap::new();
    for row in rows.as_array().unwrap() {
        let texts = order
            .iter()
            .map(|&place| match (&row[0][place], columns[place].1) {
                (Value::Null, _) => "NULL".to_owned(),
                (value, true) => {
                    let seconds = value.as_i64().unwrap();
                    format!("1970-01-01 00:{:02}:{:02}", seconds / 60, seconds % 60)
                }
                (value, false) => value.to_string(),
            });
        *found.entry(texts.collect()).or_insert(0) += row[1].as_i64().unwrap();
    }
    found
}

fn case(texts: &Value, rows: &Value) -> Result<Came, String> {
    let (old, new) = old_and_new(texts);
    let joined = |lines: &[String]| lines.iter().map(|line| sql(line)).collect::<String>();
    let (old_sql, new_sql) = (joined(&old), joined(&new));
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write(base, &old, &rows["rows"]);
    write(base, &new, &rows["rows"]);
    let sources = |sql: &str, counts: &dyn Fn(&str) -> u64| -> BTreeMap<String, u64> {
        ["a", "b", "c"]
            .into_iter()
            .filter(|name| sql.contains(&format!("CREATE TABLE {} ", name.to_uppercase())))
            .map(|name| (name.to_owned(), counts(name)))
            .collect()
    };
    let cut = sources(&old_sql, &|name| rows["cut"][name].as_u64().unwrap_or(0));
    let all = sources(&new_sql, &|name| {
        rows["rows"][name]
            .as_array()
            .map_or(0, |rows| rows.len() as u64)
    });
    let story = |what: String| {
        format!(
            "{what}\ncut {cut:?}, replay {:?}\n{old_sql}--\n{new_sql}",
            texts["replay"]
        )
    };
    let mut rng = rng(texts["seed"].as_u64().unwrap());
    let replay = replay(texts);
    let (first, second) = (Setup::random(&mut rng), Setup::random(&mut rng));
    let start = |sql, setup, stop, edit| Start {
        base,
        sql,
        setup,
        stop: Some(stop),
        edit,
    };
    start(&old_sql, &first, &cut, everything(Replay::None))
        .run()
        .map_err(&story)?;
    let report = judged(base, &new_sql, &replay).map_err(&story)?;
    let went = start(&new_sql, &second, &all, everything(replay)).run();
    if report.as_ref().is_some_and(has_incompatible) {
        return match went {
            // What has to be replayed along was found and replayed, which is more than the model does.
            Ok(_) if texts["replay"].is_array() => Ok(Came::Right),
            Ok(_) => Err(story("an incompatible edit went through".to_owned())),
            Err(_) => Ok(Came::Refused),
        };
    }
    if let Err(error) = &went
        && refusal(error).is_some()
    {
        foretold(error, report.as_ref()).map_err(&story)?;
        return Ok(Came::Refused);
    }
    went.map_err(&story)?;
    // Weir replays a join where the model lets a side go on counting.
    let replays_more = |operator: &OperatorReport| {
        operator.verdict == Verdict::Replayed
            && texts["operators"][operator.id.as_str()][0] != "replayed"
    };
    let is_surpassed = report
        .as_ref()
        .is_some_and(|report| report.operators.iter().any(replays_more));
    // What a fresh run of the new text has: it breaks ties as the edited one does.
    let fresh = tempfile::tempdir().unwrap();
    write(fresh.path(), &new, &rows["rows"]);
    let whole = Start {
        base: fresh.path(),
        sql: &new_sql,
        setup: &first,
        stop: Some(&all),
        edit: everything(Replay::None),
    };
    whole.run().map_err(&story)?;
    for line in new.iter().filter(|line| line.starts_with("sink ")) {
        let mut words = line.splitn(4, ' ').skip(1);
        let (name, _, columns) = (words.next().unwrap(), words.next(), words.next().unwrap());
        let id = format!("{name}/sink");
        let exact = report.as_ref().is_none_or(|report| {
            report
                .sinks
                .iter()
                .any(|sink| sink.id.as_str() == id && sink.exact)
        });
        if !exact {
            continue;
        }
        let names = columns
            .split(", ")
            .map(|column| column.split(' ').next().unwrap().to_owned());
        let names: Vec<String> = names.collect();
        let found = held(base, name, &names);
        if let Some(text) = difference(&found, &held(fresh.path(), name, &names)) {
            return Err(story(format!(
                "{name} is called exact, and is not what a fresh run has:\n{text}"
            )));
        }
        // The model breaks ties otherwise, and gives rows by their time at once.
        if is_ranked(&new, name) || is_surpassed || !texts["explained"].is_null() {
            continue;
        }
        let should = result(columns, &rows["results"][name]);
        if let Some(text) = difference(&found, &should) {
            return Err(story(format!(
                "{name} is called exact, and is not what the model has:\n{text}"
            )));
        }
    }
    Ok(Came::Right)
}

/// Whether a ranking stands somewhere below a sink.
fn is_ranked(lines: &[String], sink: &str) -> bool {
    let mut names = vec![sink.trim_start_matches("s_").to_owned()];
    let mut at = 0;
    while at < names.len() {
        let start = format!("view {} ", names[at]);
        if let Some(line) = lines.iter().find(|line| line.starts_with(&start)) {
            if line.contains("QUALIFY") {
                return true;
            }
            let words = line.split(' ').collect::<Vec<_>>();
            let below = words
                .windows(2)
                .filter(|pair| matches!(pair[0], "FROM" | "JOIN"));
            let below = below.map(|pair| {
                pair[1]
                    .trim_start_matches("TUMBLE(")
                    .trim_end_matches([',', ')'])
                    .to_owned()
            });
            for name in below {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        at += 1;
    }
    false
}
