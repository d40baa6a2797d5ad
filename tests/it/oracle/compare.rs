//! Runs a case in some way and compares folded changes with the batch engine's answer; makes a failing case smaller.

use std::path::Path;

use rand::Rng;
use rand::rngs::SmallRng;
use weir_engine::Outcome;
use weir_planner::plan::{Changelog, JoinKind, JoinTiming, Operator, OperatorKind};
use weir_tests::data::Table;
use weir_tests::job::{Ran, Setup, plan, run, run_from};
use weir_tests::value::Multiset;

use super::generator::Query;
use crate::batch::Oracle;

/// How a case is run: the setup, and where it is stopped and resumed with which other setup.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) setup: Setup,
    pub(super) files: usize,
    pub(super) resume: Option<(u64, Setup)>,
    /// Resumed from a savepoint, in another folder.
    pub(super) by_savepoint: bool,
}

impl Way {
    pub(super) fn random(rng: &mut SmallRng, rows: usize) -> Self {
        let setup = Setup::random(rng);
        let resume = rng
            .random_bool(0.35)
            .then(|| (rng.random_range(1..=rows.max(1) as u64), Setup::random(rng)));
        Self {
            setup,
            files: rng.random_range(1..=3),
            by_savepoint: resume.is_some() && rng.random_bool(0.4),
            resume,
        }
    }
}

/// The batch engine's answer, if it has one.
pub(super) fn answer(tables: &[Table], query: &Query) -> Option<Multiset> {
    match Oracle::new(tables).query(&query.oracle) {
        Ok(rows) => Some(Multiset::of(rows)),
        Err(error) => {
            if std::env::var_os("WEIR_VERBOSE").is_some() {
                println!("the batch engine: {error}\n{}", query.oracle);
            }
            None
        }
    }
}

/// Runs a case that way: what is wrong with its answer.
///
/// # Errors
/// Why it did not run, or the difference.
pub(super) fn compare(
    tables: &[Table],
    query: &Query,
    expected: &Multiset,
    way: &Way,
) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    tables
        .iter()
        .for_each(|table| table.write(folder.path(), way.files));
    let ran = run_way(tables, query, folder.path(), way)?;
    match ran.outputs[0].folded.difference(expected) {
        Some(text) => Err(text),
        None => Ok(()),
    }
}

fn run_way(tables: &[Table], query: &Query, base: &Path, way: &Way) -> Result<Ran, String> {
    let sql = &query.weir();
    let Some((rows, second)) = &way.resume else {
        return run(sql, base, &way.setup);
    };
    let state = Some(base.join("state"));
    let first = Setup {
        state: state.clone(),
        stop_after: Some(*rows),
        save_to: way.by_savepoint.then(|| base.join("saved")),
        ..way.setup.clone()
    };
    let before = run_from("resumed", sql, base, &first, &[])?;
    // With fewer rows than that it has finished, and a finished job that only prints would run again.
    if before.summary.outcome != Outcome::Stopped {
        return Ok(before);
    }
    check_prefix(tables, query, &before, *rows)?;
    let second = Setup {
        state: if way.by_savepoint {
            Some(base.join("elsewhere"))
        } else {
            state
        },
        restore_from: way.by_savepoint.then(|| base.join("saved")),
        ..second.clone()
    };
    run_from("resumed", sql, base, &second, &before.outputs)
}

/// What was given by a stop is the exact answer over what was read by then. (What waits for the watermark is not in it, and so
/// a query with such an operator is not looked at.)
fn check_prefix(tables: &[Table], query: &Query, before: &Ran, rows: u64) -> Result<(), String> {
    if plan(&query.weir())?.operators.iter().any(waits) {
        return Ok(());
    }
    let mut prefix = tables.to_vec();
    prefix
        .iter_mut()
        .for_each(|table| table.truncate(rows as usize));
    let Some(expected) = answer(&prefix, query) else {
        return Ok(());
    };
    match before.outputs[0].folded.difference(&expected) {
        Some(text) => Err(format!("stopped after {rows} records: {text}")),
        None => Ok(()),
    }
}

/// Whether the operator gives rows that it could have given earlier, because only the watermark says that they are final.
pub(super) fn waits(operator: &Operator) -> bool {
    match &operator.kind {
        OperatorKind::WindowAggregate { .. }
        | OperatorKind::Session { .. }
        | OperatorKind::FinalRank { .. } => true,
        // A pair is given at once; a row without a partner, when none can come any more.
        OperatorKind::TimedJoin { timing, join, .. } => {
            *join != JoinKind::Inner || !matches!(timing, JoinTiming::Interval { .. })
        }
        OperatorKind::LookupJoin { .. } => true,
        OperatorKind::Over { .. } => operator.changelog == Changelog::AppendOnly,
        _ => operator.ttl.is_some(),
    }
}

/// Fewer rows that fail too, found by leaving out halves, quarters, … of each table.
pub(super) fn smaller(
    mut tables: Vec<Table>,
    query: &Query,
    way: &Way,
    mut reason: String,
) -> (Vec<Table>, String) {
    let started = std::time::Instant::now();
    for at in 0..tables.len() {
        let mut piece = tables[at].rows.len().div_ceil(2);
        while piece > 0 {
            let mut from = 0;
            while from < tables[at].rows.len() {
                if started.elapsed().as_secs() > 10 {
                    return (tables, reason);
                }
                let to = (from + piece).min(tables[at].rows.len());
                let Some(table) = tables[at].without(from..to) else {
                    from += piece;
                    continue;
                };
                let mut fewer = tables.clone();
                fewer[at] = table;
                let still =
                    answer(&fewer, query).map(|expected| compare(&fewer, query, &expected, way));
                match still {
                    Some(Err(text)) => (tables, reason) = (fewer, text),
                    _ => from += piece,
                }
            }
            piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
        }
    }
    (tables, reason)
}
