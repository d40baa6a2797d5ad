//! The names of slices in state.
//!
//! State names a slice by one time, its "end", and keeps slices in that order. Three kinds are needed:
//!
//! ```text
//!   regular  p                       the slice that ends at p: a multiple of the slice's length (plus offset)
//!   side     F − 1 − (F − p) / g     rows of slice p that count from the window that ends at F on
//!   scratch  F − 1 − n               where the slices of the window that ends at F are merged
//! ```
//!
//! with g the length of a slice and n = size / g slices in a window. As (F − p) / g is below n, side and scratch names
//! lie strictly between F − g and F if n + 1 < g: among the regular names, and no two alike.
//!
//! # Invariants
//! 1. Different slices have different names, and a name says which slice it is.
//! 2. Names rise with the windows that need them, so that dropping what is over drops a prefix.

use super::super::windows::Windows;

/// Names and reads slices.
#[derive(Clone, Copy, Debug)]
pub(super) struct SliceNames {
    pub(super) windows: Windows,
}

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// Its name in state.
    pub(super) name: i64,
    /// The end of the slice.
    pub(super) end: i64,
    /// The end of the first window that its rows count in.
    pub(super) first_window: i64,
}

impl SliceNames {
    /// `None`: a window has so many slices that names would clash.
    pub(super) fn new(windows: Windows) -> Option<Self> {
        let fits = windows.is_tumbling() || windows.slices_per_window() + 1 < windows.slice;
        fits.then_some(Self { windows })
    }

    /// The name of the side slice of slice `end` for rows that count from window `first_window` on.
    pub(super) fn side(&self, end: i64, first_window: i64) -> i64 {
        debug_assert!(first_window >= end && self.windows.holds(first_window, end));
        first_window - 1 - (first_window - end) / self.windows.slice
    }

    /// The name under which the slices of a window are merged.
    pub(super) fn scratch(&self, window_end: i64) -> i64 {
        window_end - 1 - self.windows.slices_per_window()
    }

    /// A regular slice.
    pub(super) fn regular(&self, end: i64) -> Slice {
        Slice {
            name: end,
            end,
            first_window: self.windows.first_end_from(end),
        }
    }

    /// What a name says.
    pub(super) fn read(&self, name: i64) -> Slice {
        if self.windows.slice_end(name.saturating_sub(1)) == name {
            return self.regular(name);
        }
        let first_window = self.windows.first_end_from(name);
        let end = first_window - (first_window - 1 - name) * self.windows.slice;
        Slice {
            name,
            end,
            first_window,
        }
    }

    /// The end of the first window after `after` that needs the slice.
    pub(super) fn next_window(&self, slice: &Slice, after: i64) -> Option<i64> {
        let end = slice.first_window.max(self.windows.first_end_after(after));
        (end > after && self.windows.holds(end, slice.end)).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use weir_planner::plan::Window;

    use super::*;

    #[test]
    fn names_are_distinct_and_read_back() {
        for (slide, size, offset) in [
            (40, 120, 0),
            (40, 100, 7),
            (60, 60, -5),
            (100, 40, 3),
            (64, 96, 1),
        ] {
            let windows = Windows::new(Window::Hop {
                slide,
                size,
                offset,
            })
            .unwrap();
            check_names(windows);
        }
        for (step, size, offset) in [(40, 120, 0), (40, 40, 7), (20, 180, -5)] {
            check_names(Windows::new(Window::Cumulate { step, size, offset }).unwrap());
        }
    }

    fn check_names(windows: Windows) {
        {
            let names = SliceNames::new(windows).unwrap();
            let mut seen = BTreeSet::new();
            for step in -30..30 {
                let end = windows.slice_end(step * windows.slice);
                assert!(seen.insert(end) && names.read(end) == names.regular(end));
                let mut window = windows.first_end_from(end);
                while windows.holds(window, end) {
                    let name = names.side(end, window);
                    assert!(seen.insert(name), "two slices are called {name}");
                    assert_eq!(
                        names.read(name),
                        Slice {
                            name,
                            end,
                            first_window: window
                        }
                    );
                    window += windows.slide;
                }
            }
            if !windows.is_tumbling() {
                assert!(!seen.contains(&names.scratch(windows.first_end_from(0))));
            }
        }
    }
}
