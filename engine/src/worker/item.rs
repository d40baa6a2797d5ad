//! The work of a worker in items: one call of an operator each, or one thing to send on.

use weir_types::{ChangeBatch, Watermark};

use super::inlet::Inlet;
use crate::beside::DeadLetters;
use crate::evolution::bootstrap::Phase;
use crate::source::Reader;

/// Where rows enter the worker, and what follows from what entered.
pub(super) struct Root {
    pub(super) feed: Feed,
    /// The last item is the next one.
    pub(super) stack: Vec<Item>,
}

/// What a root reads.
pub(super) enum Feed {
    /// Watermarks of a restored job, before anything else.
    Restored,
    Source {
        index: usize,
        reader: Box<Reader>,
        dead_letters: Option<DeadLetters>,
    },
    Inlet(Inlet),
    /// A node that gives rows from its state, where state is computed from state.
    Standing(Standing),
}

/// Where a node that gives rows from its state is.
pub(super) struct Standing {
    pub(super) node: usize,
    /// It has ended the epoch.
    pub(super) at_barrier: bool,
    /// The last phase of which it has given everything.
    pub(super) given: Option<Phase>,
}

/// One call of an operator, or one thing to send on.
pub(super) enum Item {
    Batch {
        node: usize,
        input: usize,
        batch: ChangeBatch,
    },
    Watermark {
        node: usize,
        input: usize,
        channel: usize,
        value: Watermark,
    },
    Idle {
        node: usize,
        input: usize,
        channel: usize,
    },
    Barrier {
        node: usize,
    },
    /// `on_watermark` of an operator.
    Fire {
        node: usize,
        value: Watermark,
    },
    Resume {
        node: usize,
    },
    /// Rows of this operator go to its consumers.
    Give {
        node: usize,
        batch: ChangeBatch,
    },
    /// A watermark of this operator goes to its consumers, or is held until the barrier.
    Forward {
        node: usize,
        value: Watermark,
    },
    /// The operator has flushed: what it held goes on.
    ForwardHeld {
        node: usize,
    },
    ForwardIdle {
        node: usize,
    },
    ForwardBarrier {
        node: usize,
    },
}

impl Item {
    /// The operator that it is about.
    pub(super) fn node(&self) -> usize {
        match self {
            Self::Batch { node, .. }
            | Self::Watermark { node, .. }
            | Self::Idle { node, .. }
            | Self::Barrier { node }
            | Self::Fire { node, .. }
            | Self::Resume { node }
            | Self::Give { node, .. }
            | Self::Forward { node, .. }
            | Self::ForwardHeld { node }
            | Self::ForwardIdle { node }
            | Self::ForwardBarrier { node } => *node,
        }
    }
}
