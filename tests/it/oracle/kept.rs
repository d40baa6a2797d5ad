//! The same query as a materialized view: what it holds at a stop is the answer over what was read by then, and in the end the answer,
//! however it was stopped, moved to another parallelism and read: whole, or by the values of some columns.

use std::path::Path;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use weir_engine::{Outcome, ViewRows, view_rows, view_rows_where};
use weir_planner::Wanted;
use weir_tests::data::Table;
use weir_tests::job::{Setup, plan, run_named};
use weir_tests::value::{Multiset, Row, Value, rows_of};
use weir_types::{DataType, Scalar};

use super::compare::{answer, waits};
use super::generator::Query;

const JOB: &str = "kept";
pub(super) const VIEW: &str = "kept_rows";

/// The text whose only job is the view; its columns are called as the case calls them.
pub(super) fn text(query: &Query) -> String {
    let names: Vec<&str> = query
        .columns
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    format!(
        "{}CREATE MATERIALIZED VIEW {VIEW} ({}) AS {};\n",
        query.views,
        names.join(", "),
        query.select
    )
}

/// Runs the case as a view, through a stop: what is wrong with what it holds.
///
/// # Errors
/// Why it did not run, or the difference.
pub(super) fn compare(
    tables: &[Table],
    query: &Query,
    expected: &Multiset,
    rng: &mut SmallRng,
) -> Result<(), String> {
    let sql = text(query);
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    let rows = tables.iter().map(|table| table.rows.len()).max();
    let stop = rng.random_range(1..=rows.unwrap_or(0).max(1));
    let first = Setup {
        state: Some(base.join("state")),
        stop_after: Some(stop as u64),
        ..Setup::random(rng)
    };
    let by_savepoint = rng.random_bool(0.5);
    let second = Setup {
        state: Some(base.join(if by_savepoint { "elsewhere" } else { "state" })),
        restore_from: by_savepoint.then(|| base.join("saved")),
        ..Setup::random(rng)
    };
    let first = Setup {
        save_to: by_savepoint.then(|| base.join("saved")),
        ..first
    };
    let way = format!("as a view, {first:?}, then {second:?}");
    let files = rng.random_range(1..=3);
    tables.iter().for_each(|table| table.write(base, files));
    let ended = run_named(JOB, &sql, base, &first).map_err(|error| format!("{way}: {error}"))?;
    if ended.summary.outcome != Outcome::Stopped {
        return held(&base.join("state"), expected, rng).map_err(|why| format!("{way}: {why}"));
    }
    if !plan(&sql)?.operators.iter().any(waits) {
        let mut prefix = tables.to_vec();
        prefix.iter_mut().for_each(|table| table.truncate(stop));
        if let Some(expected) = answer(&prefix, query) {
            held(&base.join("state"), &expected, rng)
                .map_err(|why| format!("{way}: stopped after {stop} records: {why}"))?;
        }
    }
    run_named(JOB, &sql, base, &second).map_err(|error| format!("{way}: {error}"))?;
    let state = second.state.expect("it has a folder");
    held(&state, expected, rng).map_err(|why| format!("{way}: {why}"))
}

/// Compares what the view holds, whole and by some values.
fn held(state: &Path, expected: &Multiset, rng: &mut SmallRng) -> Result<(), String> {
    let failed = |error: weir_engine::Error| error.to_string();
    let whole = view_rows(state, JOB, VIEW).map_err(failed)?;
    if let Some(text) = rows(&whole).difference(expected) {
        return Err(text);
    }
    let all: Vec<&Row> = expected.0.keys().collect();
    let Some(row) = all.choose(rng) else {
        return Ok(());
    };
    // The key, if there is one, and any columns else.
    let columns: Vec<usize> = match (&whole.info.unique_key, rng.random_bool(0.6)) {
        (Some(key), true) => key.clone(),
        _ => (0..row.len()).filter(|_| rng.random_bool(0.4)).collect(),
    };
    let columns: Vec<(usize, Wanted)> = columns
        .into_iter()
        .filter_map(|column| {
            let known = &whole.info.columns[column];
            let value = scalar(&row[column], &known.data_type)?;
            let wanted = Wanted {
                column: known.name.clone(),
                data_type: known.data_type.clone(),
                values: vec![value],
            };
            Some((column, wanted))
        })
        .collect();
    let wanted: Vec<Wanted> = columns.iter().map(|(_, wanted)| wanted.clone()).collect();
    let some = view_rows_where(state, JOB, VIEW, &wanted).map_err(failed)?;
    let fits = |other: &Row| {
        columns
            .iter()
            .all(|(column, _)| other[*column] == row[*column])
    };
    match only(rows(&some), fits).difference(&only(expected.clone(), fits)) {
        Some(text) => Err(format!("by {wanted:?}: {text}")),
        None => Ok(()),
    }
}

/// The rows of a view.
pub(super) fn rows(view: &ViewRows) -> Multiset {
    Multiset::of(view.rows.iter().flat_map(rows_of))
}

fn only(rows: Multiset, fits: impl Fn(&Row) -> bool) -> Multiset {
    let mut found = Multiset::default();
    for (row, count) in rows.0.into_iter().filter(|(row, _)| fits(row)) {
        found.add(row, count);
    }
    found
}

fn scalar(value: &Value, data_type: &DataType) -> Option<Scalar> {
    Some(match (value, data_type) {
        (Value::Bool(truth), DataType::Boolean) => Scalar::Boolean(*truth),
        (Value::Int(number), DataType::Int32 | DataType::Int64) => Scalar::Int(*number),
        (Value::Text(text), DataType::String) => Scalar::String(text.clone()),
        _ => return None,
    })
}

/// Each case once, in a way of its own.
#[test]
fn generated_queries_keep_as_views_what_a_batch_engine_gives() {
    let mut suite = weir_tests::suite::Suite::with_share("oracle", 0.2, 30, 5);
    let (mut compared, mut refused, mut failures) = (0, 0, Vec::new());
    while let Some(seed) = suite.next_seed() {
        let mut rng = weir_tests::data::rng(seed);
        let tables = super::data::random_tables(&mut rng);
        let query = super::generator::random_query(&tables, &mut rng);
        let Some(expected) = answer(&tables, &query) else {
            continue;
        };
        match compare(&tables, &query, &expected, &mut rng) {
            Ok(()) => compared += 1,
            // A column without a type that is known cannot be kept.
            Err(text) if text.contains("error[P1520]") => refused += 1,
            Err(text) => {
                let rows: String = tables.iter().map(Table::describe).collect();
                failures.push(format!(
                    "seed {seed}: {text}\n{rows}\n{}\n{}",
                    self::text(&query),
                    suite.replay(seed)
                ));
            }
        }
        assert!(failures.len() < 5, "{}", failures.join("\n\n"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(
        refused * 10 <= compared,
        "{refused} refused, {compared} compared"
    );
}
