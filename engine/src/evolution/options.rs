//! What the user lets an edited query do to the state of the job.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_planner::compare::{Choices, Replay, StartAt};
use weir_types::OperatorId;

/// Flags of a start on an edited query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvolutionOptions {
    /// `--upgrade`: what stays exact goes through. The other permissions imply it.
    pub upgrade: bool,
    /// `--accept`: what does not stay exact.
    pub accept: Accept,
    /// `--allow-dropped-state`: state that the new query has no operator for.
    pub allow_dropped_state: bool,
    /// `--start-empty`: operators whose state cannot be used.
    pub start_empty: BTreeSet<OperatorId>,
    /// `--rename OLD=NEW`: paths.
    pub renames: BTreeMap<String, String>,
    /// `--replay`: operators that read their sources again.
    pub replay: Replay,
    /// `--sources TABLE=WHERE`.
    pub sources: BTreeMap<String, StartAt>,
    /// Who looks on while sources are read again.
    pub watch: ReplayWatch,
}

/// Who looks on while sources are read again; an answer of false gives that up.
#[derive(Clone, Default)]
pub struct ReplayWatch(pub Option<Arc<dyn Fn(&crate::Progress) -> bool + Send + Sync>>);

impl ReplayWatch {
    pub(crate) fn sees(&self, progress: &crate::Progress) -> bool {
        self.0.as_ref().is_none_or(|watch| watch(progress))
    }
}

impl std::fmt::Debug for ReplayWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReplayWatch")
    }
}

impl PartialEq for ReplayWatch {
    /// Whoever looks on changes nothing.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Which results that are not exact are accepted.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Accept {
    /// None.
    #[default]
    Nothing,
    /// All.
    All,
    /// Those of these operators and sinks.
    Only(BTreeSet<OperatorId>),
}

impl Accept {
    pub(crate) fn takes(&self, id: &OperatorId) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Only(ids) => ids.contains(id),
        }
    }
}

impl EvolutionOptions {
    /// Whether changes are wanted at all.
    pub(crate) fn wants_changes(&self) -> bool {
        self.upgrade
            || self.allow_dropped_state
            || self.accept != Accept::Nothing
            || !self.start_empty.is_empty()
    }

    pub(crate) fn choices(&self, renames: BTreeMap<String, String>) -> Choices {
        Choices {
            replay: self.replay.clone(),
            renames,
            sources: self.sources.clone(),
        }
    }
}
