//! Aggregate functions of a program, called from SQL: each beside the built-in one that computes the same.

mod jobs;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::util::display::array_value_to_string;
use weir_planner::AggregateSignature;
use weir_types::{ChangeBatch, Column, DataType};

use super::*;
use crate::{AggregateFunction, GroupState, Row, Value};

/// A sum and how many values there are: NULL without one.
struct Total;

impl AggregateFunction for Total {
    fn accumulate(
        &self,
        state: &mut GroupState<'_, '_>,
        row: Row<'_>,
    ) -> std::result::Result<(), String> {
        let value = row.int(0)?.ok_or("a NULL came")?;
        if value == 666 {
            return Err("666 cannot be added".to_owned());
        }
        state.set_int(0, state.int(0)?.unwrap_or(0) + value)?;
        state.set_int(1, state.int(1)?.unwrap_or(0) + 1)
    }

    fn retract(
        &self,
        state: &mut GroupState<'_, '_>,
        row: Row<'_>,
    ) -> std::result::Result<(), String> {
        let value = row.int(0)?.ok_or("a NULL came")?;
        state.set_int(0, state.int(0)?.ok_or("no sum")? - value)?;
        state.set_int(1, state.int(1)?.ok_or("no count")? - 1)
    }

    fn merge(
        &self,
        state: &mut GroupState<'_, '_>,
        other: Row<'_>,
    ) -> std::result::Result<(), String> {
        let (Some(sum), Some(count)) = (other.int(0)?, other.int(1)?) else {
            return Ok(());
        };
        state.set_int(0, state.int(0)?.unwrap_or(0) + sum)?;
        state.set_int(1, state.int(1)?.unwrap_or(0) + count)
    }

    fn result(&self, state: Row<'_>) -> std::result::Result<Value, String> {
        Ok(match (state.int(0)?, state.int(1)?) {
            (Some(sum), Some(count)) if count > 0 => Value::Int(sum),
            _ => Value::Null,
        })
    }
}

/// The longest text; of several the greatest. Takes no row back.
struct Longest;

impl Longest {
    fn add(state: &mut GroupState<'_, '_>, text: Option<&str>) -> std::result::Result<(), String> {
        let Some(text) = text else { return Ok(()) };
        let wins = match state.text(0)? {
            None => true,
            Some(known) => (known.len(), known) < (text.len(), text),
        };
        if wins {
            state.set_text(0, text)
        } else {
            Ok(())
        }
    }
}

impl AggregateFunction for Longest {
    fn accumulate(
        &self,
        state: &mut GroupState<'_, '_>,
        row: Row<'_>,
    ) -> std::result::Result<(), String> {
        Self::add(state, row.text(0)?)
    }

    fn merge(
        &self,
        state: &mut GroupState<'_, '_>,
        other: Row<'_>,
    ) -> std::result::Result<(), String> {
        Self::add(state, other.text(0)?)
    }

    fn result(&self, state: Row<'_>) -> std::result::Result<Value, String> {
        Ok(state
            .text(0)?
            .map_or(Value::Null, |text| Value::Text(text.to_owned())))
    }
}

fn total(name: &str) -> AggregateSignature {
    let state = ["sum", "count"].map(|name| Column::new(name, DataType::Int64));
    AggregateSignature::new(name, vec![DataType::Int64], DataType::Int64, state.to_vec())
}

fn longest(name: &str) -> AggregateSignature {
    let state = vec![Column::new("text", DataType::String)];
    AggregateSignature::new(name, vec![DataType::String], DataType::String, state)
}

/// A session with `total`, which takes rows back, `once`, the same without, and `longest`.
fn session() -> Session {
    let mut session = Session::ephemeral();
    session
        .register_aggregate(total("total").retracts(), Total)
        .unwrap();
    session.register_aggregate(total("once"), Total).unwrap();
    session
        .register_aggregate(longest("longest"), Longest)
        .unwrap();
    session
}

/// The rows of a query in the end, each as text, sorted.
fn rows(session: &mut Session, sql: &str) -> Vec<String> {
    let mut found: BTreeMap<String, i64> = BTreeMap::new();
    for epoch in futures::executor::block_on_stream(session.query(sql).unwrap()) {
        let epoch = epoch.unwrap();
        for row in 0..epoch.num_rows() {
            let texts: Vec<String> = epoch
                .rows
                .columns()
                .iter()
                .map(|column| match column.is_null(row) {
                    true => "NULL".to_owned(),
                    false => array_value_to_string(column, row).unwrap(),
                })
                .collect();
            *found.entry(texts.join(" ")).or_default() += epoch.weight(row);
        }
    }
    found
        .into_iter()
        .inspect(|(row, count)| assert!(*count >= 0, "{row} was taken back too often"))
        .flat_map(|(row, count)| vec![row; count as usize])
        .collect()
}

/// The answers of both, which are the same and not empty.
fn same(session: &mut Session, of_program: &str, built_in: &str) {
    let expected = rows(session, built_in);
    assert!(!expected.is_empty(), "{built_in}");
    assert_eq!(rows(session, of_program), expected, "{of_program}");
}

const EVENTS: &str = "(VALUES ('a', 1, TIMESTAMP '2024-01-01 00:00:01'), ('b', 4, TIMESTAMP '2024-01-01 00:00:02'), \
    ('a', 1, TIMESTAMP '2024-01-01 00:00:07'), ('a', CAST(NULL AS INT), TIMESTAMP '2024-01-01 00:00:08'), ('b', 9, TIMESTAMP '2024-01-01 00:00:12'), \
    ('c', CAST(NULL AS INT), TIMESTAMP '2024-01-01 00:00:40')) AS v(k, n, at)";

/// A table of those rows with event time.
fn with_events(session: &mut Session, folder: &std::path::Path) {
    let path = folder.join("events.csv");
    let mut text = "k,n,at\n".to_owned();
    for i in 0..400_i64 {
        let number = if i % 7 == 0 {
            String::new()
        } else {
            (i * i % 23).to_string()
        };
        let (minute, second) = (i / 60, i % 60);
        text += &format!(
            "{},{number},2024-01-01 00:{minute:02}:{second:02}\n",
            ["a", "b", "c"][(i % 3) as usize]
        );
    }
    std::fs::write(&path, text).unwrap();
    let declare = format!(
        "CREATE TABLE e (k STRING, n BIGINT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '5' SECOND) \
         WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv')",
        path.display()
    );
    session.execute(&declare).unwrap();
}

#[test]
fn it_groups_filters_and_counts_distinct_values_once() {
    let mut session = session();
    for (mine, other) in [("total", "sum"), ("once", "sum"), ("TOTAL", "sum")] {
        for call in [
            "{}(n)",
            "{}(DISTINCT n)",
            "{}(n) FILTER (WHERE n > 1)",
            "{}(DISTINCT n) FILTER (WHERE k = 'a')",
            "{}(n + 1) - 1",
        ] {
            let sql = |name: &str| {
                format!(
                    "SELECT k, {} AS s FROM {EVENTS} GROUP BY k",
                    call.replace("{}", name)
                )
            };
            same(&mut session, &sql(mine), &sql(other));
        }
    }
    let found = rows(
        &mut session,
        &format!("SELECT total(n) AS s, longest(k || CAST(n AS STRING)) AS l FROM {EVENTS}"),
    );
    assert_eq!(found, ["15 b9"]);
    // Empty input, with and without keys.
    same(
        &mut session,
        &format!("SELECT total(n) AS s FROM {EVENTS} WHERE n > 100"),
        "SELECT CAST(NULL AS BIGINT) AS s",
    );
    // HAVING, ORDER BY, nested queries, grouping sets.
    same(
        &mut session,
        &format!("SELECT k, total(n) AS s FROM {EVENTS} GROUP BY ROLLUP (k) HAVING total(n) > 2"),
        &format!("SELECT k, sum(n) AS s FROM {EVENTS} GROUP BY ROLLUP (k) HAVING sum(n) > 2"),
    );
}

#[test]
fn it_works_over_windows_and_frames() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = session();
    with_events(&mut session, folder.path());
    session.execute("SET 'parallelism' = '3'").unwrap();
    let windows = [
        "TUMBLE(e, at, INTERVAL '10' SECOND)",
        "HOP(e, at, INTERVAL '5' SECOND, INTERVAL '20' SECOND)",
        "CUMULATE(e, at, INTERVAL '5' SECOND, INTERVAL '20' SECOND)",
        "SESSION(e PARTITION BY k, at, INTERVAL '2' SECOND)",
    ];
    for window in windows {
        for call in ["{}(n)", "{}(DISTINCT n)", "{}(n) FILTER (WHERE n > 3)"] {
            for mine in ["total", "once"] {
                let sql = |name: &str| {
                    format!(
                        "SELECT k, window_start, {} AS s FROM {window} AS w GROUP BY k, window_start, window_end",
                        call.replace("{}", name)
                    )
                };
                same(&mut session, &sql(mine), &sql("sum"));
            }
        }
    }
    for frame in [
        "ORDER BY at",
        "ORDER BY at ROWS BETWEEN 3 PRECEDING AND CURRENT ROW",
        "ORDER BY at ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    ] {
        let sql = |name: &str| {
            format!("SELECT k, at, {name}(n) OVER (PARTITION BY k {frame}) AS s FROM e")
        };
        same(&mut session, &sql("total"), &sql("sum"));
    }
}

#[test]
fn rows_that_are_taken_back_leave_the_result_as_if_they_had_not_come() {
    let mut session = session();
    // The inner result changes with every epoch: the outer one sees its rows come and go.
    session.execute("SET 'batch.rows' = '2'").unwrap();
    let sql = |sum: &str, longest: &str| {
        format!(
            "SELECT c % 2 AS odd, {sum}(s) AS s, {sum}(DISTINCT s) AS d, {longest}(k) AS l \
             FROM (SELECT k, sum(n) AS s, count(*) AS c FROM {EVENTS} GROUP BY k) AS g GROUP BY c % 2"
        )
    };
    same(&mut session, &sql("total", "longest"), &sql("sum", "max"));
    same(&mut session, &sql("once", "longest"), &sql("sum", "max"));
    // And by hand: everything goes but one row.
    for (call, kept) in [("total(n)", "7"), ("once(n)", "7"), ("longest(t)", "bb")] {
        let mut session = self::session();
        let columns = vec![
            Column::new("n", DataType::Int64),
            Column::new("t", DataType::String),
        ];
        let sender = session
            .channel("t", TableSpec::new(columns).with_retractions())
            .unwrap();
        let query = session
            .query(&format!("SELECT {call} AS r FROM t"))
            .unwrap();
        for (numbers, texts, retracted) in [
            (
                vec![5, 7, 5],
                vec!["aaa", "bb", "aaa"],
                vec![false, false, false],
            ),
            (vec![5, 5], vec!["aaa", "aaa"], vec![true, true]),
        ] {
            let numbers: ArrayRef = Arc::new(Int64Array::from(numbers));
            let texts: ArrayRef = Arc::new(StringViewArray::from(texts));
            let mut changes = ChangeBatch::append_only(
                RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap(),
            );
            changes.retracted = Some(retracted.into());
            sender.send_changes(changes).unwrap();
        }
        drop(sender);
        let last = futures::executor::block_on_stream(query)
            .last()
            .unwrap()
            .unwrap();
        let last_row = (0..last.num_rows())
            .find(|&row| last.weight(row) > 0)
            .unwrap();
        assert_eq!(
            array_value_to_string(last.rows.column(0), last_row).unwrap(),
            kept,
            "{call}"
        );
    }
}

#[test]
fn what_it_cannot_be_or_give_is_an_error() {
    let mut session = session();
    let told = |result: crate::Result<()>| {
        result
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    for taken in ["sum", "upper", "lag", "median", "Total", ""] {
        assert!(
            told(session.register_aggregate(total(taken), Total)).contains("R0057"),
            "{taken}"
        );
    }
    assert!(told(session.register_aggregate(longest("total"), Longest)).contains("R0058"));
    let odd = |parameters: Vec<DataType>, state: Vec<Column>| {
        AggregateSignature::new("odd", parameters, DataType::Int64, state)
    };
    let array = DataType::Array(Box::new(DataType::Int64));
    let one = || vec![Column::new("a", DataType::Int64)];
    for wrong in [
        odd(vec![array], one()),
        odd(vec![DataType::Int64], vec![]),
        odd(vec![DataType::Int64], [one(), one()].concat()),
        odd(vec![], one()),
    ] {
        assert!(told(session.register_aggregate(wrong, Total)).contains("R0090"));
    }
    let refused = [
        ("SELECT total(n, 1) AS s FROM (VALUES (1)) t(n)", "P1005"),
        ("SELECT total(k) AS s FROM (VALUES ('x')) t(k)", "P1005"),
        (
            "SELECT total(INTERVAL '1' DAY) AS s FROM (VALUES (1)) t(n)",
            "P1005",
        ),
        (
            "SELECT total(n ORDER BY n) AS s FROM (VALUES (1)) t(n)",
            "P1240",
        ),
        ("SELECT total(sum(n)) AS s FROM (VALUES (1)) t(n)", "P1008"),
        (
            "SELECT n FROM (VALUES (1)) t(n) WHERE total(n) > 1",
            "P1008",
        ),
        ("SELECT totl(n) AS s FROM (VALUES (1)) t(n)", "`total`"),
    ];
    for (sql, code) in refused {
        let told = session
            .plan(sql)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(told.contains(code), "{sql}: {told}");
    }
    // A row that its code refuses ends the query with its reason, and names the row.
    let query = session
        .query("SELECT total(n) AS s FROM (VALUES (1), (666)) t(n)")
        .unwrap();
    let told = futures::executor::block_on_stream(query)
        .find_map(Result::err)
        .unwrap()
        .to_string();
    assert!(told.contains("666 cannot be added"), "{told}");
}

#[test]
fn a_plan_whose_function_nobody_has_is_refused_at_its_place() {
    let run = |signature: AggregateSignature| {
        let sql = format!(
            "SELECT {}(n) AS h\nFROM (VALUES (1)) t(n)",
            signature.name()
        );
        let mut catalog = weir_planner::MemoryCatalog::default();
        catalog.aggregate(signature).unwrap();
        let plan = weir_planner::plan(&sql, &catalog).unwrap().plan;
        let options = crate::JobOptions::resolve(&plan, "job").unwrap();
        let handler = Arc::new(|_| std::ops::ControlFlow::Continue(()));
        let ended = crate::JobHandle::start("job", &sql, plan, options, handler)
            .and_then(crate::JobHandle::wait);
        match ended {
            Err(crate::Error::Plan(problems)) => problems.render("q.sql", &sql),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it ran"),
        }
    };
    let told = run(total("nobody_has_it"));
    assert!(
        told.contains("R0091") && told.contains("nobody_has_it") && told.contains("q.sql:1:8"),
        "{told}"
    );
    let mut session = Session::ephemeral();
    session
        .register_aggregate(total("other_state"), Total)
        .unwrap();
    assert!(run(total("other_state").version("7")).contains("it has 1"));
    assert!(run(total("other_state").retracts()).contains("other state"));
}
