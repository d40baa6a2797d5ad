//! Identifiers as types, not as integers or strings.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The stable name of an operator: `path/role`, made of the names in the query (`docs/operator-ids.md`).
///
/// State is found by it, never by position.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperatorId(String);

impl OperatorId {
    /// Wraps the text of an ID. The planner alone makes new ones.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The ID as it is printed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A folder name for this ID: every byte outside `[a-z0-9_.-]` is percent-encoded, `/` too.
    pub fn folder_name(&self) -> String {
        let mut name = String::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' => name.push(byte as char),
                other => name.push_str(&format!("%{other:02X}")),
            }
        }
        name
    }
}

impl fmt::Display for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A worker of a job: 0 up to the parallelism, exclusive.
    WorkerId, u32
);
number_id!(
    /// The number of a checkpoint; never used twice within a job.
    CheckpointId, u64
);
number_id!(
    /// The number of an epoch within one start of a job.
    EpochId, u64
);
number_id!(
    /// Counts the starts of a job: each start takes a new generation.
    Generation, u64
);
number_id!(
    /// A slice of the key space that moves as a whole when the parallelism changes.
    KeyGroup, u16
);

/// The name of a split within its source: stable across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SplitId(pub String);

impl fmt::Display for SplitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A contiguous range of key groups, the end exclusive: the share of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyGroupRange {
    /// First key group of the range.
    pub start: u16,
    /// One past the last key group of the range.
    pub end: u16,
}

impl KeyGroupRange {
    /// The share of `worker` out of `workers` when there are `groups` key groups in all.
    ///
    /// Ranges of all workers are disjoint and cover every group; a worker may get none when there are more
    /// workers than groups.
    pub fn of_worker(worker: WorkerId, workers: u32, groups: u16) -> Self {
        let (w, p, g) = (u64::from(worker.0), u64::from(workers), u64::from(groups));
        Self {
            start: (w * g / p) as u16,
            end: ((w + 1) * g / p) as u16,
        }
    }

    /// Whether `group` belongs to the range.
    pub fn contains(&self, group: KeyGroup) -> bool {
        (self.start..self.end).contains(&group.0)
    }

    /// Whether the two ranges have a key group in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl KeyGroup {
    /// The worker that owns this group: the inverse of [`KeyGroupRange::of_worker`].
    pub fn worker(self, workers: u32, groups: u16) -> WorkerId {
        // The largest w with w * groups / workers <= self.
        let (p, g, k) = (u64::from(workers), u64::from(groups), u64::from(self.0));
        WorkerId((((k + 1) * p - 1) / g) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_group_belongs_to_the_worker_whose_range_holds_it() {
        for groups in [1u16, 2, 7, 128, 1000] {
            for workers in 1..40u32 {
                for group in (0..groups).map(KeyGroup) {
                    let owner = group.worker(workers, groups);
                    for worker in (0..workers).map(WorkerId) {
                        let range = KeyGroupRange::of_worker(worker, workers, groups);
                        assert_eq!(
                            range.contains(group),
                            worker == owner,
                            "{groups} {workers} {group}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn folder_names_are_safe_and_distinct() {
        assert_eq!(
            OperatorId::new("top.x/join(a)").folder_name(),
            "top.x%2Fjoin%28a%29"
        );
    }
}
