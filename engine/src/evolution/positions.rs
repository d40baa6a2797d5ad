//! Where sources go on: that is a choice of its own, apart from what becomes of the state above them.
//!
//! | chosen, or found | position |
//! |---|---|
//! | `keep` | that of the checkpoint |
//! | `earliest`; a source that reads from another place now | none: its beginning |
//! | `latest` | behind all that is there, as its connector says |
//! | a time | no connector of this release finds one |

use std::collections::BTreeMap;
use std::path::Path;

use weir_connectors::open_source;
use weir_planner::compare::SourceVerdict;
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_state::Manifest;
use weir_types::OperatorId;

use crate::source::{ColumnPlan, SourceCheckpoint, SplitCheckpoint};
use crate::{Error, Result};

/// Changes the positions in a manifest (under the IDs of the new plan) as the report says.
pub(super) fn apply(
    plan: &StreamPlan,
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
                return Err(Error::Job(format!(
                    "[E0048] {}: its connector finds no place by a time: --sources {}=earliest reads it from its beginning, =latest \
                     from its end on",
                    source.id,
                    table_of(&source.id)
                )));
            }
        }
    }
    manifest.sources = serde_json::to_value(&positions).map_err(failed)?;
    Ok(())
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
    let nowhere = || {
        Error::Job(format!(
            "[E0047] {id}: its connector does not know where its end is: --sources {}=keep goes on where it was",
            table_of(id)
        ))
    };
    let index = plan
        .operators
        .iter()
        .position(|operator| operator.id == *id)
        .filter(|&index| matches!(plan.operators[index].kind, OperatorKind::Source { .. }))
        .ok_or_else(nowhere)?;
    let request = ColumnPlan::new(plan, index)?.request(plan, index, base)?;
    let source = open_source(request)?;
    let mut splits = BTreeMap::new();
    for split in source.splits(&BTreeMap::new())?.splits {
        let position = source.end_of(&split)?.ok_or_else(nowhere)?;
        let place = SplitCheckpoint {
            began: Some(position.clone()),
            position,
            watermark: i64::MIN,
            records: 0,
            ended: false,
            greatest: Some(i64::MIN),
        };
        splits.insert(split.0, place);
    }
    Ok(splits)
}
