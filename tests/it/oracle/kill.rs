//! A case as a process that dies in the middle: stopped, started again with a failure point armed, and brought to its end.
//!
//! ```text
//!   weir run --stop-after N ──▶ weir run, dies at a step of a checkpoint or a commit ──▶ weir run ──▶ files, folded
//! ```

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use weir_tests::data::{SqlType, Table};
use weir_tests::process::{Place, folded_changelog, wait_for};
use weir_tests::value::{Multiset, Row, Value};

use super::generator::Query;

/// Steps that most runs pass. One that a run does not pass kills nobody: then the last run has nothing left to do.
const STEPS: &[&str] = &[
    "engine.barrier.aligned",
    "engine.prepare.after",
    "engine.freeze.after",
    "engine.manifest.before",
    "engine.manifest.after",
    "engine.commit.after",
    "engine.restore.before-recommit",
    "sink.file.rename.between",
    "sink.file.list.before",
    "sink.file.list.after",
    "state.restore.between",
    "state.links.after",
    "state.write.between",
    "state.upload.between",
];

/// Runs the case that way; whether the process died on the way.
///
/// # Errors
/// The difference, or why it did not come to its end.
pub(super) fn killed(
    tables: &[Table],
    query: &Query,
    expected: &Multiset,
    rng: &mut SmallRng,
) -> Result<bool, String> {
    let folder = tempfile::tempdir().unwrap();
    let declared: Vec<String> = query
        .columns
        .iter()
        .map(|(name, kind)| format!("{name} {}", kind.sql()))
        .collect();
    let sql = format!(
        "{}CREATE TABLE result ({}) WITH ('connector' = 'filesystem', 'path' = 'result', 'format' = 'changelog-json');\n\
         INSERT INTO result {};\n",
        super::kept::text(query),
        declared.join(", "),
        query.select
    );
    let place = Place::new(folder.path(), "killed", &sql);
    tables
        .iter()
        .for_each(|table| table.write(&place.folder, 2));
    let rows = tables.iter().map(|table| table.rows.len()).max();
    let stop = rng.random_range(1..=rows.unwrap_or(0).max(1)).to_string();
    let mut arguments = |more: &[&str]| -> Vec<String> {
        let workers = rng.random_range(1..=4).to_string();
        let mut all = vec![
            "--checkpoint-interval",
            "1ms",
            "--state-memory",
            "1MiB",
            "-p",
        ];
        all.push(&workers);
        all.extend(more);
        all.into_iter().map(str::to_owned).collect()
    };
    let runs = [
        arguments(&["--stop-after", &stop]),
        arguments(&[]),
        arguments(&[]),
    ];
    let step = STEPS.choose(rng).expect("a list of steps");
    let armed = format!("{step}:{}", rng.random_range(1..3));
    let mut died = false;
    for (number, arguments) in runs.iter().enumerate() {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = place.run(&arguments);
        if number == 1 {
            command.env("WEIR_FAILPOINT", &armed);
        }
        let log = || std::fs::File::create(place.folder.join(format!("log-{number}.txt"))).unwrap();
        let mut child = command.stdout(log()).stderr(log()).spawn().unwrap();
        let status = wait_for(&mut child, Duration::from_secs(120));
        let ended_well = status.is_some_and(|status| status.success());
        died |= number == 1 && !ended_well;
        if number != 1 && !ended_well {
            let log = std::fs::read_to_string(place.folder.join(format!("log-{number}.txt")));
            return Err(format!(
                "run {number} of a process that dies at {armed} ended with {status:?}\n{}",
                log.unwrap_or_default()
            ));
        }
    }
    let mut columns = query.columns.clone();
    columns.sort_by(|a, b| a.0.cmp(&b.0));
    let mut answer = Multiset::default();
    for (row, count) in folded_changelog(&place.folder.join("result")).0 {
        answer.add(typed(row, &columns), count);
    }
    let mut wanted = Multiset::default();
    for (row, count) in &expected.0 {
        wanted.add(typed(by_name(row, &query.columns), &columns), *count);
    }
    let way = format!("a process that stops after {stop} records and then dies at {armed}");
    if let Some(text) = answer.difference(&wanted) {
        return Err(format!("{way}: {text}"));
    }
    // The view beside the table has gone the same way; it keeps the query's own types.
    let state = place.folder.join(".weir/killed");
    let view = weir_engine::view_rows(&state, "killed", super::kept::VIEW);
    let view = view.map_err(|error| format!("{way}: its view: {error}"))?;
    match super::kept::rows(&view).difference(expected) {
        Some(text) => Err(format!("{way}: its view: {text}")),
        None => Ok(died),
    }
}

/// A row with its columns in the order of their names, as the files have it.
fn by_name(row: &Row, columns: &[(String, SqlType)]) -> Row {
    let mut named: Vec<_> = columns.iter().map(|(name, _)| name).zip(row).collect();
    named.sort_by_key(|(name, _)| *name);
    named.into_iter().map(|(_, value)| value.clone()).collect()
}

/// Values in one form, whether they come from a file or from the batch engine.
fn typed(row: Row, columns: &[(String, SqlType)]) -> Row {
    row.into_iter()
        .zip(columns)
        .map(|(value, (_, kind))| match (kind, value) {
            (SqlType::Double | SqlType::Decimal, Value::Int(number)) => Value::Float(number as f64),
            (SqlType::Decimal, Value::Text(text)) => Value::Float(text.parse().unwrap()),
            (_, time @ Value::Time(_)) => Value::Text(time.to_string()),
            (_, other) => other,
        })
        .collect()
}
