//! Reading sources again: from where the job began to read them, to where a checkpoint stands, and not a record further.
//!
//! ```text
//!   manifest: split ─▶ position, records ─┐
//!                                         ├─▶ Again: the dealer begins where the job began, and deals `records` records
//!   connector: where did it begin? ───────┘          at the end the source's watermark is at least what it was
//! ```
//!
//! # Invariants
//! 1. A split is never read beyond the place where the checkpoint stands: those rows are the job's.
//! 2. A source that ended ends again, and no other does: there is no last watermark that closes everything.

use std::collections::BTreeMap;

use weir_connectors::{Beginning, Position, Source, TableRequest, open_source};
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_types::{OperatorId, SplitId, Watermark};

use crate::source::{ColumnPlan, SourceCheckpoint, SplitCheckpoint};
use crate::{Error, Result};

/// Options of sources that only slow them down or hang on the clock.
const PACE_OPTIONS: [&str; 4] = [
    "rows-per-second",
    "events-per-second",
    "source.idle-timeout",
    "on.error",
];

/// What a run reads again.
#[derive(Clone, Debug, Default)]
pub struct Again {
    /// Source operator ─▶ its splits.
    pub(crate) sources: BTreeMap<String, SourceAgain>,
}

impl Again {
    /// Says of sources what watermark their readers had.
    pub(crate) fn with_watermarks(mut self, watermarks: &BTreeMap<OperatorId, Watermark>) -> Self {
        for (id, watermark) in watermarks {
            if let Some(source) = self.sources.get_mut(id.as_str()) {
                source.watermark = Some(*watermark);
            }
        }
        self
    }
}

/// One source.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceAgain {
    pub(crate) splits: BTreeMap<String, SplitAgain>,
    /// It is new in the edited query: nothing of it was read, and it is not opened.
    pub(crate) unread: bool,
    /// The watermark that its readers had: it never goes back.
    pub(crate) watermark: Option<Watermark>,
}

/// One split.
#[derive(Clone, Debug)]
pub(crate) struct SplitAgain {
    /// Where the job began; `None`: at its start.
    pub(crate) from: Option<Position>,
    /// So many records, counted from there.
    pub(crate) records: u64,
    /// It had reached its end.
    pub(crate) ended: bool,
}

/// A source whose rows were asked for once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceToRead {
    /// Its table.
    pub table: String,
    /// Records to read.
    pub records: u64,
}

/// Looks whether the sources of a plan can be read again up to `positions`, of which those that are new in it have none. Nothing
/// is read but what tells files apart.
///
/// # Errors
/// E0040 for a source that cannot, with what is gone.
pub(crate) fn look(
    plan: &StreamPlan,
    positions: &SourceCheckpoint,
    base: &std::path::Path,
) -> Result<(Again, Vec<SourceToRead>)> {
    let mut again = Again::default();
    let mut tables = Vec::new();
    for (index, operator) in plan.operators.iter().enumerate() {
        let OperatorKind::Source { table, .. } = &operator.kind else {
            continue;
        };
        let Some(splits) = positions.get(operator.id.as_str()) else {
            // The comparison let a replay read it, so that it begins with this edit.
            let unread = SourceAgain {
                unread: true,
                ..SourceAgain::default()
            };
            again.sources.insert(operator.id.to_string(), unread);
            continue;
        };
        let columns = ColumnPlan::new(plan, index)?;
        let request = columns.request(plan, index, base)?;
        let found = source_again(&request, table, splits)?;
        tables.push(SourceToRead {
            table: table.clone(),
            records: splits.values().map(|split| split.records).sum(),
        });
        again.sources.insert(
            operator.id.to_string(),
            SourceAgain {
                splits: found,
                ..SourceAgain::default()
            },
        );
    }
    Ok((again, tables))
}

fn source_again(
    request: &TableRequest,
    table: &str,
    splits: &BTreeMap<String, SplitCheckpoint>,
) -> Result<BTreeMap<String, SplitAgain>> {
    let source: Box<dyn Source> = open_source(request.clone())?;
    let changed = |error: weir_connectors::Error| match error {
        weir_connectors::Error::Inconsistent(what) => gone(table, &what),
        other => other.into(),
    };
    let mut found = BTreeMap::new();
    for (name, split) in splits {
        let id = SplitId(name.clone());
        let from = match &split.began {
            Some(began) => Some(began.clone()),
            None => match source.beginning(&id, &split.position).map_err(changed)? {
                Beginning::Start => None,
                Beginning::At(position) => Some(position),
                Beginning::Gone => {
                    return Err(gone(table, "its connector keeps nothing that was read"));
                }
            },
        };
        found.insert(
            name.clone(),
            SplitAgain {
                from,
                records: split.records,
                ended: split.ended,
            },
        );
    }
    Ok(found)
}

fn gone(table: &str, why: &str) -> Error {
    Error::Job(format!(
        "[E0040] table `{table}` cannot be read again: {why}. Run without --replay for what reads it: the report says what can \
         be done instead"
    ))
}

/// The plan without what paces its sources, and without tables that take rows which were left out: those were written when
/// the rows came the first time.
pub(crate) fn unpaced(mut plan: StreamPlan) -> StreamPlan {
    for table in plan.tables.values_mut() {
        let left_out = table
            .options
            .get("on.error")
            .is_some_and(|value| value.starts_with("dead-letter:"));
        if left_out {
            table
                .options
                .insert("on.error".to_owned(), "skip".to_owned());
        }
        table
            .options
            .retain(|key, _| key == "on.error" || !PACE_OPTIONS.contains(&key.as_str()));
    }
    plan.settings.remove("late.table");
    plan.settings.remove("source.idle-timeout");
    if let Some(value) = plan.settings.get_mut("row.error")
        && value.starts_with("dead-letter:")
    {
        *value = "skip".to_owned();
    }
    plan
}

/// The part of a plan that gives these operators their state: they, and everything below. Sinks are none of it.
pub(crate) fn part(plan: &StreamPlan, wanted: &dyn Fn(&OperatorId) -> bool) -> StreamPlan {
    let mut needed = vec![false; plan.operators.len()];
    for (index, operator) in plan.operators.iter().enumerate().rev() {
        needed[index] |= wanted(&operator.id);
        if needed[index] {
            for input in &operator.inputs {
                needed[input.from] = true;
            }
        }
    }
    let mut places = vec![0; plan.operators.len()];
    let mut part = StreamPlan {
        operators: Vec::new(),
        ..plan.clone()
    };
    for (index, operator) in plan.operators.iter().enumerate() {
        if !needed[index] {
            continue;
        }
        places[index] = part.operators.len();
        let mut operator = operator.clone();
        for input in &mut operator.inputs {
            input.from = places[input.from];
        }
        part.operators.push(operator);
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConnectorCatalog;

    fn planned(sql: &str) -> StreamPlan {
        weir_planner::plan(sql, &ConnectorCatalog).unwrap().plan
    }

    const TWO: &str = "CREATE TABLE a (k BIGINT, v BIGINT) WITH ('connector' = 'datagen', 'rows' = '10', 'rows-per-second' = '1');
        CREATE TABLE b (k BIGINT) WITH ('connector' = 'datagen', 'rows' = '10');
        CREATE TABLE out (k BIGINT, s BIGINT) WITH ('connector' = 'blackhole');
        CREATE TABLE n (n BIGINT) WITH ('connector' = 'blackhole');
        CREATE VIEW sums AS SELECT k, sum(v) AS s FROM a GROUP BY k;
        INSERT INTO out SELECT k, s FROM sums;
        INSERT INTO n SELECT count(*) FROM b;";

    #[test]
    fn a_part_holds_what_is_below_and_nothing_else() {
        let plan = planned(TWO);
        let part = part(&plan, &|id| id.as_str() == "sums/aggregate");
        let ids: Vec<&str> = part
            .operators
            .iter()
            .map(|operator| operator.id.as_str())
            .collect();
        assert!(
            ids.contains(&"sums/aggregate") && ids.contains(&"a/source"),
            "{ids:?}"
        );
        assert!(
            !ids.iter()
                .any(|id| id.ends_with("/sink") || id.starts_with('b')),
            "{ids:?}"
        );
        for (index, operator) in part.operators.iter().enumerate() {
            assert!(operator.inputs.iter().all(|input| input.from < index));
        }
    }

    #[test]
    fn nothing_paces_a_source_that_is_read_again() {
        let plan = unpaced(planned(TWO));
        assert!(!plan.tables["a"].options.contains_key("rows-per-second"));
        assert_eq!(plan.tables["a"].options["rows"], "10");
    }
}
