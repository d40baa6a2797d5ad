//! What an edit does to state: against the executable model of the contract, and against stories that people tell.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use weir_planner::compare::{
    Choices, Exactness, Past, Replay, Report, SinkVerdict, Verdict, advice, compare,
};
use weir_planner::plan::StreamPlan;
use weir_types::{EventTime, OperatorId};

use super::{Files, check_snapshot};

/// A case of the model: what it says of an edit. `model.jsonl` has one a line, made by the model's own generator: the
/// first edit of its case, its texts written as SQL (`Line`), what a manifest would say, and the verdicts.
#[derive(Deserialize)]
struct Case {
    seed: u64,
    edit: String,
    old: Vec<String>,
    new: Vec<Line>,
    #[serde(default)]
    replay: serde_json::Value,
    watermarks: BTreeMap<String, i64>,
    greatest: BTreeMap<String, i64>,
    operators: BTreeMap<String, (String, serde_json::Value)>,
    sinks: BTreeMap<String, (String, bool)>,
    /// Why Weir says something else.
    explained: Option<String>,
}

/// A line of the new text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    /// It stands in the old text.
    Old(usize),
    Text(String),
}

/// `source NAME DELAY FORMAT`, `sink NAME FORMAT COLUMNS`, `view NAME QUERY`, `into SINK QUERY`, as SQL.
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
                "CREATE TABLE {name} (k BIGINT, g BIGINT, x BIGINT, y BIGINT, t TIMESTAMP(3), \
                 WATERMARK FOR t AS t - INTERVAL '{delay}' SECOND) {};\n",
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

fn planned(sql: &str) -> Result<StreamPlan, String> {
    let planned = weir_planner::plan(sql, &Files).map_err(|found| found.to_string())?;
    Ok(planned.plan)
}

/// The model counts time in whole units from 0; before anything was read it is far below.
fn time(units: i64) -> EventTime {
    if units <= -1_000_000 {
        EventTime(i64::MIN)
    } else {
        EventTime(units * 1_000_000)
    }
}

impl Case {
    fn past(&self, plan: &StreamPlan) -> Past {
        let of = |times: &BTreeMap<String, i64>| {
            let ids = plan.operators.iter().map(|operator| &operator.id);
            let known = ids.filter_map(|id| {
                let path = id.as_str().split('/').next().unwrap_or_default();
                Some((id.clone(), time(*times.get(path)?)))
            });
            known.collect::<BTreeMap<OperatorId, EventTime>>()
        };
        Past {
            watermarks: of(&self.watermarks),
            greatest_times: of(&self.greatest),
            ..Past::default()
        }
    }

    fn replay(&self) -> Replay {
        match &self.replay {
            serde_json::Value::Null => Replay::None,
            serde_json::Value::Array(ids) => {
                let ids = ids.iter().filter_map(|id| id.as_str());
                Replay::Only(ids.map(OperatorId::new).collect())
            }
            _ => Replay::All,
        }
    }

    fn texts(&self) -> (String, String) {
        let new = self.new.iter().map(|line| match line {
            Line::Old(place) => sql(&self.old[*place]),
            Line::Text(line) => sql(line),
        });
        (
            self.old.iter().map(|line| sql(line)).collect(),
            new.collect(),
        )
    }

    fn report(&self) -> Result<Report, String> {
        let (old, new) = self.texts();
        let (old, new) = (planned(&old)?, planned(&new)?);
        let choices = Choices {
            replay: self.replay(),
            ..Choices::default()
        };
        Ok(compare(&old, &new, &self.past(&old), &choices, &Files))
    }

    /// Where a replay is asked for, the model looks at a join's sides first, and Weir reads the sources again rather than let a
    /// side go on counting: its result is exact where the model's is not, and so is what stands above.
    fn is_surpassed(&self, report: &Report) -> bool {
        report.operators.iter().any(|found| {
            found.verdict == Verdict::Replayed
                && (found.role.starts_with("join(") || found.role.starts_with("exists("))
                && self
                    .operators
                    .get(found.id.as_str())
                    .is_some_and(|(verdict, _)| verdict == "carried over")
        })
    }

    fn differences(&self, report: &Report) -> Vec<String> {
        let mut differences = Vec::new();
        for (id, (verdict, exact)) in &self.operators {
            let Some(found) = report
                .operators
                .iter()
                .find(|found| found.id.as_str() == id)
            else {
                differences.push(format!("{id}: not in the report, model: {verdict} {exact}"));
                continue;
            };
            let (word, said) = (found.verdict.word(), exactness(&found.exact));
            if word != verdict || said != *exact {
                differences.push(format!(
                    "{id}: {word} {said}, model: {verdict} {exact} ({})",
                    found.reason
                ));
            }
        }
        for (table, (verdict, exact)) in &self.sinks {
            let id = format!("{table}/sink");
            let Some(found) = report.sinks.iter().find(|found| found.id.as_str() == id) else {
                differences.push(format!("{id}: not in the report"));
                continue;
            };
            if found.verdict.word() != verdict || found.exact != *exact {
                differences.push(format!(
                    "{id}: {} {}, model: {verdict} {exact}",
                    found.verdict.word(),
                    found.exact
                ));
            }
        }
        differences
    }
}

fn exactness(exact: &Exactness) -> serde_json::Value {
    use serde_json::json;
    // The model's clock has no microseconds: what is after a unit is in the next one.
    let units = |time: &EventTime| match time.0 {
        i64::MIN => -1_000_000,
        micros => micros.saturating_add(999_999).div_euclid(1_000_000),
    };
    match exact {
        Exactness::Yes => json!("yes"),
        Exactness::No => json!("no"),
        Exactness::From(time) => json!(["from", units(time)]),
        Exactness::Open(time) => json!(["open", units(time)]),
        Exactness::Columns(_) => json!("columns"),
    }
}

#[test]
fn verdicts_are_those_of_the_model() {
    let cases = include_str!("evolution/model.jsonl").lines();
    let (mut count, mut wrong, mut met) = (0, Vec::new(), BTreeSet::new());
    let mut surpassed = 0;
    for line in cases {
        let case: Case = serde_json::from_str(line).unwrap();
        count += 1;
        let report = case.report();
        let differences = match &report {
            Ok(report) => case.differences(report),
            Err(refusal) => vec![refusal.clone()],
        };
        met.extend(
            report
                .iter()
                .flat_map(|report| &report.operators)
                .map(|found| found.verdict),
        );
        if report
            .as_ref()
            .is_ok_and(|report| case.is_surpassed(report))
        {
            surpassed += 1;
            continue;
        }
        if differences.is_empty() == case.explained.is_some() {
            let (old, new) = case.texts();
            wrong.push(format!(
                "seed {} ({}):\n  {}\n{old}--\n{new}",
                case.seed,
                case.edit,
                differences.join("\n  ")
            ));
        }
    }
    println!("{} of {count} cases differ", wrong.len());
    assert!(
        wrong.is_empty(),
        "{}",
        wrong[..wrong.len().min(20)].join("\n\n")
    );
    assert!(count >= 1000, "{count} cases");
    assert!(surpassed <= 40, "{surpassed} cases");
    assert_eq!(met.len(), 9, "every verdict is met: {met:?}");
}

#[test]
fn stories_are_told_as_a_colleague_would_tell_them() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/evolution/stories");
    let mut wrong = Vec::new();
    let mut stories = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        stories += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let (old, new) = text.split_once("-- then\n").unwrap();
        let (old, new) = (planned(old).unwrap(), planned(new).unwrap());
        let report = compare(&old, &new, &Past::default(), &Choices::default(), &Files);
        wrong.extend(check_snapshot(&path.with_extension("txt"), &advice(&report)).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(stories >= 15, "{stories} stories");
}

#[test]
fn a_sinks_column_that_was_dropped_and_comes_back_is_not_called_exact() {
    let text = |columns: &str, names: &str| {
        format!(
            "CREATE TABLE a (id BIGINT, x BIGINT) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
             CREATE TABLE s ({columns}) WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'changelog-json');
             INSERT INTO s SELECT {names} FROM a GROUP BY id, x;"
        )
    };
    let narrow = planned(&text("id BIGINT, n BIGINT", "id, count(*) AS n")).unwrap();
    let wide = text("id BIGINT, n BIGINT, x BIGINT", "id, count(*) AS n, x");
    let wide = planned(&wide).unwrap();
    let judged = |past: &Past| {
        let report = compare(&narrow, &wide, past, &Choices::default(), &Files);
        (report.sinks[0].verdict, report.sinks[0].exact)
    };
    assert_eq!(
        judged(&Past::default()),
        (SinkVerdict::Difference, true),
        "a column that was never there is NULL in older rows"
    );
    let gone = [(OperatorId::new("s/sink"), ["x".to_owned()].into())];
    let past = Past {
        columns_gone: gone.into(),
        ..Past::default()
    };
    assert_eq!(judged(&past), (SinkVerdict::OldRowsStay, false));
}

#[test]
fn a_sink_that_is_called_otherwise_still_holds_its_old_rows() {
    let text = |table: &str| {
        format!(
            "CREATE TABLE a (id BIGINT, x BIGINT) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
             CREATE TABLE {table} (id BIGINT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'changelog-json');
             INSERT INTO {table} SELECT id, count(*) FROM (SELECT id, x FROM a) AS b GROUP BY id;"
        )
    };
    let (old, new) = (planned(&text("s")).unwrap(), planned(&text("t")).unwrap());
    let choices = Choices {
        renames: [("s".to_owned(), "t".to_owned())].into(),
        ..Choices::default()
    };
    let judged = |past: &Past| {
        let report = compare(&old, &new, past, &choices, &Files);
        let sink = report
            .sinks
            .iter()
            .find(|sink| sink.id.as_str() == "t/sink");
        sink.map(|sink| sink.exact)
    };
    assert_eq!(judged(&Past::default()), Some(true));
    let past = Past {
        sinks_with_old_rows: [OperatorId::new("s/sink")].into(),
        ..Past::default()
    };
    assert_eq!(judged(&past), Some(false));
}

#[test]
fn generated_rows_of_a_wider_type_may_be_others() {
    let text = |data_type: &str| {
        format!(
            "CREATE TABLE a (id BIGINT, x {data_type}) WITH ('connector' = 'datagen', 'rows' = '9');
             CREATE TABLE s (x BIGINT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 's', 'format' = 'changelog-json');
             INSERT INTO s SELECT x, count(*) FROM a GROUP BY x;"
        )
    };
    let (old, new) = (planned(&text("INT")), planned(&text("BIGINT")));
    let (old, new) = (old.unwrap(), new.unwrap());
    let report = compare(&old, &new, &Past::default(), &Choices::default(), &Files);
    assert_eq!(report.operators[0].verdict, Verdict::CarriedOver);
    assert_eq!(report.operators[0].exact, Exactness::No);
    assert!(report.operators[0].reason.contains("made for their type"));
}
