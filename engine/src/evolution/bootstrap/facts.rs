//! What all threads of a run that computes state from state share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use weir_planner::plan::StreamPlan;
use weir_state::{RestoreFrom, TableSpec};
use weir_types::{OperatorId, Watermark};

use super::wiring::{Role, Wiring};
use crate::source::SourceCheckpoint;

/// What happens in a phase; each begins when the one before came through on every worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// What stands is given, what is computed fills.
    Fill,
    /// Rows that the new result does not have are taken back.
    TakeBack,
    /// Rows that the old result did not have are given.
    Give,
}

impl Phase {
    const ALL: [Self; 3] = [Self::Fill, Self::TakeBack, Self::Give];

    /// Whether a node gives rows in it.
    fn is_of(self, role: &Role) -> bool {
        match role {
            Role::Stands(_) | Role::OwnRows(_) | Role::Silent => self == Self::Fill,
            Role::Gives(_) => self != Self::Fill,
            _ => false,
        }
    }
}

/// See the module.
pub(crate) struct Bootstrap {
    pub(crate) wiring: Wiring,
    pub(crate) old_plan: StreamPlan,
    /// The old state.
    pub(crate) old: RestoreFrom,
    /// The tables of the new plan.
    pub(crate) tables: Vec<TableSpec>,
    /// What the checkpoint says of sources, watermarks and totals: as it was.
    pub(crate) sources: SourceCheckpoint,
    pub(crate) watermarks: BTreeMap<OperatorId, Vec<Watermark>>,
    workers: usize,
    phase: AtomicUsize,
    /// Nodes, on all workers, that have not given everything of this phase.
    left: AtomicUsize,
}

impl Bootstrap {
    pub(crate) fn new(
        wiring: Wiring,
        old_plan: StreamPlan,
        old: RestoreFrom,
        tables: Vec<TableSpec>,
        sources: SourceCheckpoint,
        watermarks: BTreeMap<OperatorId, Vec<Watermark>>,
        workers: usize,
    ) -> Self {
        let bootstrap = Self {
            wiring,
            old_plan,
            old,
            tables,
            sources,
            watermarks,
            workers,
            phase: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
        };
        bootstrap.begin(Phase::Fill);
        bootstrap
    }

    /// What the checkpoint says of sources and watermarks.
    pub(crate) fn fill_cut(
        &self,
        sources: &mut SourceCheckpoint,
        watermarks: &mut BTreeMap<OperatorId, Vec<Watermark>>,
    ) {
        sources.clone_from(&self.sources);
        watermarks.clone_from(&self.watermarks);
    }

    fn begin(&self, phase: Phase) {
        let roles = self.wiring.roles.iter();
        let givers = roles.filter(|role| phase.is_of(role)).count();
        self.left.store(givers * self.workers, Ordering::Release);
        self.phase.store(phase as usize, Ordering::Release);
    }

    /// How many nodes a barrier passes on a worker.
    pub(crate) fn active_nodes(&self) -> usize {
        let roles = self.wiring.roles.iter();
        roles.filter(|role| role.takes_part()).count()
    }

    /// Whether a node is an operator that starts empty.
    pub(crate) fn runs(&self, node: usize) -> bool {
        matches!(self.wiring.roles[node], Role::Runs(_))
    }

    /// The nodes that give rows from state.
    pub(crate) fn givers(&self) -> impl Iterator<Item = usize> + '_ {
        let is_giver = |role: &Role| Phase::ALL.iter().any(|phase| phase.is_of(role));
        let roles = self.wiring.roles.iter().enumerate();
        roles
            .filter(move |(_, role)| is_giver(role))
            .map(|(node, _)| node)
    }

    /// What is going on.
    pub(crate) fn phase(&self) -> Phase {
        Phase::ALL[self.phase.load(Ordering::Acquire).min(2)]
    }

    /// Whether a node has something to give now.
    pub(crate) fn gives(&self, node: usize) -> Option<Phase> {
        let phase = self.phase();
        phase.is_of(&self.wiring.roles[node]).then_some(phase)
    }

    /// A node of one worker has given everything of this phase.
    pub(crate) fn on_given(&self) {
        self.left.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether all have.
    pub(crate) fn is_phase_over(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// The phase after this one, if something is left to do.
    pub(crate) fn next(&self) -> Option<Phase> {
        if self.wiring.scratch.is_empty() {
            return None;
        }
        Phase::ALL.get(self.phase() as usize + 1).copied()
    }

    /// The epoch that ends the phase came through.
    pub(crate) fn go_on(&self) {
        if let Some(next) = self.next() {
            self.begin(next);
        }
    }
}
