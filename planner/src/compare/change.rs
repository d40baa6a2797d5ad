//! How two versions of one operator's own logic differ, as far as its state is concerned.

use std::collections::BTreeSet;

use super::shape::{Groups, Join, Rank, Shape};

/// The difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// None.
    Nothing,
    /// The old state holds all that the new version keeps.
    Lossless,
    /// The new version keeps something that the old state does not hold.
    Adds,
}

impl Groups {
    /// Every state column that its aggregates need.
    pub(super) fn needs(&self) -> BTreeSet<String> {
        self.calls.values().flatten().cloned().collect()
    }
}

impl Shape {
    /// The columns of an input's rows that can be read from state again.
    pub(super) fn held(&self, side: usize) -> BTreeSet<String> {
        match self {
            Self::Groups(groups) => groups.keys.clone(),
            Self::Join(join) => join.stored[side].clone(),
            // Rows that a bound has cut off are gone: only the partition's columns say the same of all rows.
            Self::Rank(rank) => rank.partition.clone(),
            Self::Set { .. } | Self::Other(_) => BTreeSet::new(),
        }
    }
}

/// The difference; `None` if the old state is of no use.
pub(super) fn change(old: &Shape, new: &Shape) -> Option<Change> {
    match (old, new) {
        _ if old == new => Some(Change::Nothing),
        (Shape::Groups(old), Shape::Groups(new)) => groups(old, new),
        (Shape::Join(old), Shape::Join(new)) => join(old, new),
        (Shape::Rank(old), Shape::Rank(new)) => rank(old, new),
        _ => None,
    }
}

fn groups(old: &Groups, new: &Groups) -> Option<Change> {
    let others = Groups {
        calls: old.calls.clone(),
        ..new.clone()
    };
    if others != *old {
        return None;
    }
    Some(if new.needs().is_subset(&old.needs()) {
        Change::Lossless
    } else {
        Change::Adds
    })
}

fn join(old: &Join, new: &Join) -> Option<Change> {
    let holds = |side: usize| new.stored[side].is_subset(&old.stored[side]);
    let same_pairs = (&old.kind, &old.on, &old.residual) == (&new.kind, &new.on, &new.residual);
    match (holds(0) && holds(1), same_pairs) {
        (true, true) => Some(Change::Lossless),
        (true, false) => Some(Change::Nothing),
        (false, _) if old.on == new.on => Some(Change::Adds),
        (false, _) => None,
    }
}

fn rank(old: &Rank, new: &Rank) -> Option<Change> {
    let others = Rank {
        bounds: old.bounds,
        stored: old.stored.clone(),
        ..new.clone()
    };
    let (before, after) = (&old.bounds, &new.bounds);
    if others != *old || (before.first, before.skip) != (after.first, after.skip) {
        return None;
    }
    let last = |bound: Option<u64>| bound.unwrap_or(u64::MAX);
    // Other columns break other ties: which row was kept may have hung on one that is gone.
    Some(
        if new.stored == old.stored && last(before.last) >= last(after.last) {
            Change::Lossless
        } else {
            Change::Adds
        },
    )
}
