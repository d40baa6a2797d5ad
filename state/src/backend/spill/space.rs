//! The file of a table's runs. It has no name any more, so that it goes with the process.
//!
//! ```text
//!   file    run │ run │ gap │ run │ gap │ run │        a run takes the smallest gap that it fits into, else it goes to the end
//! ```
//!
//! Runs come and go by the hundred. A file for each would cost more than its records, and pages that are written over are in
//! memory already.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// Stretches begin where pages do.
const PAGE_BYTES: u64 = 4096;

/// See the module's text.
pub(super) struct Space {
    file: File,
    free: Mutex<Free>,
}

/// What of the file nobody has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Free {
    /// In order, and none next to another.
    gaps: Vec<Range<u64>>,
    /// From here on all is free.
    end: u64,
}

impl Free {
    fn take(&mut self, bytes: u64) -> Range<u64> {
        let length = |gap: &Range<u64>| gap.end - gap.start;
        let fitting = self.gaps.iter().enumerate();
        let fitting = fitting.filter(|(_, gap)| length(gap) >= bytes);
        let Some(at) = fitting.min_by_key(|(_, gap)| length(gap)).map(|(at, _)| at) else {
            let start = self.end;
            self.end += bytes;
            return start..self.end;
        };
        let start = self.gaps[at].start;
        self.gaps[at].start += bytes;
        if self.gaps[at].is_empty() {
            self.gaps.remove(at);
        }
        start..start + bytes
    }

    fn give_back(&mut self, mut range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut at = self.gaps.partition_point(|gap| gap.start < range.start);
        if at < self.gaps.len() && self.gaps[at].start == range.end {
            range.end = self.gaps.remove(at).end;
        }
        if at > 0 && self.gaps[at - 1].end == range.start {
            at -= 1;
            range.start = self.gaps.remove(at).start;
        }
        if range.end == self.end {
            self.end = range.start;
        } else {
            self.gaps.insert(at, range);
        }
    }
}

impl Space {
    /// In a new file at `path`.
    pub(super) fn create(path: &Path) -> Result<Arc<Self>> {
        let context = || format!("making the file {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(|error| Error::io(context(), error))?;
        std::fs::remove_file(path).map_err(|error| Error::io(context(), error))?;
        Ok(Arc::new(Self {
            file,
            free: Mutex::default(),
        }))
    }

    /// Room for so many bytes.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Stretch {
        let range = self.free().take(bytes.max(1).next_multiple_of(PAGE_BYTES));
        Stretch {
            space: self.clone(),
            range,
        }
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        // What is done under the lock does not panic.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stretch of the file. It is given back when this goes.
pub(super) struct Stretch {
    space: Arc<Space>,
    range: Range<u64>,
}

impl Stretch {
    pub(super) fn read(&self, from: u64, into: &mut [u8]) -> Result<()> {
        let read = self.space.file.read_exact_at(into, self.range.start + from);
        read.map_err(|error| Error::io("reading spilled state", error))
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        if at + bytes.len() as u64 > self.range.end - self.range.start {
            return Err(Error::damaged("more is spilled than there is room for"));
        }
        let written = self.space.file.write_all_at(bytes, self.range.start + at);
        written.map_err(|error| Error::io("writing spilled state", error))
    }

    /// Keeps only so many bytes.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let end = self.range.start + bytes.max(1).next_multiple_of(PAGE_BYTES);
        let rest = end..self.range.end;
        self.range.end = end;
        self.space.free().give_back(rest);
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        let mut free = self.space.free();
        free.give_back(self.range.clone());
        if *free == Free::default() {
            // What is on disk is not needed; if that fails, it is written over.
            self.space.file.set_len(0).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn stretches_never_overlap_and_gaps_are_used_again() {
        let mut random = SmallRng::seed_from_u64(1);
        let mut free = Free::default();
        let mut taken: Vec<Range<u64>> = Vec::new();
        let mut largest = 0;
        for _ in 0..5000 {
            if taken.len() < 20 || random.random_bool(0.5) && taken.len() < 40 {
                let range = free.take(random.random_range(1..100));
                let overlaps =
                    |other: &Range<u64>| other.start < range.end && range.start < other.end;
                assert!(!taken.iter().any(overlaps));
                taken.push(range);
            } else {
                let range = taken.swap_remove(random.random_range(0..taken.len()));
                let middle = random.random_range(range.start..=range.end);
                free.give_back(middle..range.end);
                free.give_back(range.start..middle);
            }
            largest = largest.max(free.end);
        }
        assert!(largest < 2 * 40 * 100, "{largest}");
        taken.into_iter().for_each(|range| free.give_back(range));
        assert_eq!(free, Free::default());
    }

    #[test]
    fn what_is_written_to_one_stretch_is_not_in_another() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::create(&folder.path().join("file")).unwrap();
        let mut first = space.take(5000);
        let second = space.take(1);
        first.write(0, &[1; 5000]).unwrap();
        second.write(0, &[2]).unwrap();
        assert!(second.write(PAGE_BYTES, &[2]).is_err());
        first.shrink(4096);
        let third = space.take(10);
        third.write(0, &[3; 10]).unwrap();
        let mut read = [0; 4096];
        first.read(0, &mut read).unwrap();
        assert_eq!(read, [1; 4096]);
        drop((first, second, third));
        assert_eq!(space.file.metadata().unwrap().len(), 0);
    }
}
