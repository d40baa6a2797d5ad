//! Stage 2: operators whose state is computed by reading their sources again, in a bounded run without sinks.

use weir_planner::compare::StateFrom;

use super::Transition;
use crate::{Error, Result};

/// Computes the state of every operator that the report says is replayed, and puts its tables in place.
pub(crate) fn run(transition: &mut Transition) -> Result<()> {
    let replayed = transition
        .report
        .operators
        .iter()
        .find(|operator| operator.state == StateFrom::Replay);
    match replayed {
        None => Ok(()),
        Some(operator) => Err(Error::Job(format!(
            "[E0040] {} has to be computed from its source again, which is not built yet: leave --replay out and accept what \
             the report then says, or start again with --fresh",
            operator.id
        ))),
    }
}
