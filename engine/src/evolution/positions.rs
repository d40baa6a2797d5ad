//! Where sources go on: that is a choice of its own, apart from what becomes of the state above them.
//!
//! | chosen, or found | position |
//! |---|---|
//! | `keep` | that of the checkpoint |
//! | `earliest`; a source that reads from another place now | none: its beginning |
//! | `latest` | behind all that is there, as its connector says |
//! | a time | before the first record of that time, found by reading ([`super::places`]) |

use std::collections::BTreeMap;
use std::path::Path;

use weir_connectors::open_source;
use weir_planner::compare::{SourceVerdict, StartAt};
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_state::Manifest;
use weir_types::OperatorId;

use crate::source::{ColumnPlan, SourceCheckpoint, SplitCheckpoint};
use crate::{Error, Result};

/// Changes the positions in a manifest (under the IDs of the new plan) as the report says.
pub(super) fn apply(
    plan: &StreamPlan,
    starts: &BTreeMap<String, StartAt>,
    sources: &[weir_planner::compare::SourceReport],
    base: &Path,
    manifest: &mut Manifest,
) -> Result<()> {
    if sources
        .iter()
        .all(|source| matches!(source.verdict, SourceVerdict::Kept | SourceVerdict::Dropped))
    {
        return Ok(());
    }
    let failed = |error: serde_json::Error| {
        Error::Job(format!(
            "the positions in checkpoint {} cannot be read: {error}",
            manifest.checkpoint
        ))
    };
    let mut positions: SourceCheckpoint =
        serde_json::from_value(manifest.sources.clone()).map_err(failed)?;
    for source in sources {
        match source.verdict {
            SourceVerdict::Kept | SourceVerdict::Dropped => {}
            SourceVerdict::New | SourceVerdict::Earliest => {
                positions.remove(source.id.as_str());
            }
            SourceVerdict::Latest => {
                let end = end_of(plan, &source.id, base)?;
                positions.insert(source.id.to_string(), end);
            }
            SourceVerdict::At => {
                let index = source_of(plan, &source.id).ok_or_else(|| nowhere(&source.id))?;
                let Some(StartAt::Time(time)) = start_of(plan, index, starts) else {
                    continue;
                };
                let places = super::places::of_time(plan, index, base, *time)?;
                let places = places
                    .into_iter()
                    .map(|(split, position)| (split, beginning_at(position)));
                positions.insert(source.id.to_string(), places.collect());
            }
        }
    }
    manifest.sources = serde_json::to_value(&positions).map_err(failed)?;
    Ok(())
}

/// Refuses what no place can be found for, from the definitions of the tables alone.
///
/// # Errors
/// E0047 for an end, E0048 for a time.
pub(super) fn check(plan: &StreamPlan, starts: &BTreeMap<String, StartAt>) -> Result<()> {
    for (table, start) in starts {
        let Some(definition) = plan.tables.get(table) else {
            continue;
        };
        super::places::can_start_at(definition, *start).map_err(|why| {
            let code = match start {
                StartAt::Latest => "E0047",
                _ => "E0048",
            };
            Error::Job(format!("[{code}] --sources {table}: {why}"))
        })?;
    }
    Ok(())
}

fn nowhere(id: &OperatorId) -> Error {
    Error::Job(format!(
        "[E0047] {id}: its connector does not know where its end is: --sources {}=keep goes on where it was",
        table_of(id)
    ))
}

fn source_of(plan: &StreamPlan, id: &OperatorId) -> Option<usize> {
    plan.operators
        .iter()
        .position(|operator| operator.id == *id)
        .filter(|&index| matches!(plan.operators[index].kind, OperatorKind::Source { .. }))
}

fn start_of<'a>(
    plan: &StreamPlan,
    index: usize,
    starts: &'a BTreeMap<String, StartAt>,
) -> Option<&'a StartAt> {
    match &plan.operators[index].kind {
        OperatorKind::Source { table, .. } => starts.get(table),
        _ => None,
    }
}

/// A split of which nothing was read, that begins at a place.
fn beginning_at(position: weir_connectors::Position) -> SplitCheckpoint {
    SplitCheckpoint {
        began: Some(position.clone()),
        position,
        watermark: i64::MIN,
        records: 0,
        ended: false,
        greatest: Some(i64::MIN),
    }
}

fn table_of(id: &OperatorId) -> &str {
    let id = id.as_str();
    id.split_once('/').map_or(id, |(table, _)| table)
}

/// The places behind all that a source has now.
fn end_of(
    plan: &StreamPlan,
    id: &OperatorId,
    base: &Path,
) -> Result<BTreeMap<String, SplitCheckpoint>> {
    let index = source_of(plan, id).ok_or_else(|| nowhere(id))?;
    let request = ColumnPlan::new(plan, index)?.request(plan, index, base)?;
    let source = open_source(request)?;
    let mut splits = BTreeMap::new();
    for split in source.splits(&BTreeMap::new())?.splits {
        let position = source.end_of(&split)?.ok_or_else(|| nowhere(id))?;
        splits.insert(split.0, beginning_at(position));
    }
    Ok(splits)
}
