//! Stage 3: operators whose state is computed from the restored output of those below them, and the difference at the sinks.
//!
//! ```text
//!   wiring.rs      which parts of the old plan and the new one take part, and how they are wired     (pure)
//!   facts.rs       what the threads of the run share: its phases
//!   difference.rs  what a sink's new result has over its old one
//!   own_rows.rs    a join's side, from its own rows
//!   silent.rs      a side that needs no rows
//!   ────────────────────────────────────────────────────────────────────────────────────────────────
//!   job/bootstrap.rs     the run: workers, coordinator and publisher as ever, without sources
//!   worker/standing.rs   a node that gives rows from its state is a root like a source
//! ```
//!
//! It is a short job of its own between the old query and the new one. Its graph holds no source: operators that keep their
//! state give what they have given so far, along the edges that lead to rebuilt operators and to differences. Epoch follows
//! epoch, so that it needs no more memory than any job. Its last epoch ends with the first checkpoint of the new plan, which has
//! the old one's positions and the sinks' transaction with the difference. The new query then starts from that checkpoint
//! as from any other.
//!
//! # Invariants
//! 1. Nothing but that one checkpoint is published, and no sink commits before it: a crash leaves what was there before.
//! 2. An operator that keeps its state is not changed: nothing is ever sent to it.

mod difference;
mod facts;
mod own_rows;
mod silent;
mod wiring;

pub(crate) use difference::{Collects, Gives};
pub(crate) use facts::{Bootstrap, Phase};
pub(crate) use own_rows::OwnRows;
pub(crate) use silent::Silent;
pub(crate) use wiring::{Edit, Role, Wiring, wire};

use weir_state::TableFrom;

use super::Transition;
use crate::Result;

/// Wires what is computed; its tables start empty.
///
/// # Errors
/// When something cannot be computed.
pub(super) fn plan(transition: &mut Transition) -> Result<()> {
    let edit = wiring::Edit {
        old: &transition.old_plan,
        new: &transition.plan,
        report: &transition.report,
        mappings: &transition.mappings,
        renames: &transition.renames,
    };
    let Some(wiring) = wiring::wire(&edit)? else {
        return Ok(());
    };
    let specs = crate::operators::table_specs(&transition.plan);
    for (spec, from) in specs.iter().zip(&mut transition.restoring.tables) {
        if wiring.computes(spec) {
            *from = TableFrom::Empty;
        }
    }
    let computed = |merge: &super::Merge| wiring.computes(&merge.spec);
    transition.merges.retain(|merge| !computed(merge));
    transition.wiring = Some(wiring);
    Ok(())
}
