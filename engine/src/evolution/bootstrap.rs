//! Stage 3: operators whose state is computed from the restored output of those below them, and the difference at the sinks.

use weir_planner::compare::{SideFrom, SinkVerdict, StateFrom};

use super::Transition;
use crate::{Error, Result};

/// Refuses what has to be computed from state.
pub(crate) fn run(transition: &mut Transition) -> Result<()> {
    let computed = |state: &StateFrom| match state {
        StateFrom::Inputs => true,
        StateFrom::Sides(sides) => sides.contains(&SideFrom::Input),
        _ => false,
    };
    let report = &transition.report;
    let operator = report
        .operators
        .iter()
        .find(|operator| computed(&operator.state))
        .map(|operator| operator.id.clone());
    let sink = report
        .sinks
        .iter()
        .find(|sink| sink.verdict == SinkVerdict::Difference)
        .map(|sink| sink.id.clone());
    match operator.or(sink) {
        None => Ok(()),
        Some(id) => Err(Error::Job(format!(
            "[E0020] {id} has to be computed from the state below it, which is not built yet: put the query back as it was, \
             or start again with --fresh"
        ))),
    }
}
