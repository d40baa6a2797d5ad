//! An operator on one worker, with its inputs' promises and its ways out.

use std::time::Instant;

use weir_types::{OperatorId, Watermark};

use super::align::Alignment;
use crate::exchange::Outlet;
use crate::operators::Operator;
use crate::statistics::OperatorFigures;

/// One operator instance.
pub(crate) struct Node {
    pub(crate) id: OperatorId,
    /// `None` for a source: a [`crate::source::Reader`] gives its rows.
    pub(crate) operator: Option<Box<dyn Operator>>,
    /// It said [`crate::operators::Progress::More`] and has to be resumed before anything else.
    pub(crate) busy: bool,
    pub(crate) alignment: Alignment,
    /// A watermark that waits for the rows held until the barrier.
    pub(crate) held: Option<Watermark>,
    /// Consumers on this worker: (node, input, takes rows).
    pub(crate) locals: Vec<(usize, usize, bool)>,
    /// Exchanges to other workers.
    pub(crate) outlets: Vec<Outlet>,
    /// It gives rows to the outside: they are counted as written.
    pub(crate) is_sink: bool,
    /// It keeps state that has to stay within the memory budget.
    pub(crate) is_stateful: bool,
    /// It may have something to do at a moment of processing time.
    pub(crate) by_clock: bool,
    /// Rows left out that are counted already.
    pub(crate) rejected: u64,
    /// What it cost since the last checkpoint. The monotonic clock measures it; nothing is decided by it.
    pub(crate) figures: OperatorFigures,
    /// When the first barrier of the epoch came, while others are missing.
    pub(crate) barrier_since: Option<Instant>,
}

impl Node {
    /// Whether one more batch of its output can go everywhere.
    pub(crate) fn has_room(&self) -> bool {
        self.outlets.iter().all(Outlet::has_room)
    }

    /// By how much the watermark that it forwards is lowered, in microseconds.
    pub(crate) fn watermark_delay(&self) -> i64 {
        self.operator
            .as_ref()
            .map_or(0, |operator| operator.watermark_delay())
    }

    /// The epoch's processing time is its watermark.
    pub(crate) fn is_clock(&self) -> bool {
        self.operator
            .as_ref()
            .is_some_and(|operator| operator.is_clock())
    }

    /// Tells the operator that the input that it only looks at has ended, if it has.
    pub(crate) fn tell_side_end(&mut self) {
        if let Some(operator) = &mut self.operator
            && self.alignment.side_has_ended()
        {
            operator.on_side_end();
        }
    }

    /// What is held of the watermark stays here: rows do that it must not overtake.
    pub(crate) fn withholds_watermark(&self) -> bool {
        self.operator
            .as_ref()
            .is_some_and(|operator| operator.withholds_watermark())
    }

    /// Holds rows until the barrier, and so the watermark.
    pub(crate) fn holds_watermark(&self) -> bool {
        self.operator
            .as_ref()
            .is_some_and(|operator| operator.holds_watermark())
    }
}
