//! The arithmetic of windows: which windows hold a moment, and the slices that they share.
//!
//! ```text
//!   HOP(slide 4, size 6), offset 0:   gcd 2, slices (panes) of 2
//!
//!   time     0   2   4   6   8  10
//!   slices   |---|---|---|---|---|
//!   windows  [-----------)                 a window is a run of slices;
//!                    [-----------)         a slice is named by its end
//! ```
//!
//! All times are microseconds. A window `[start, end)` holds `t` if `start ≤ t < end`; starts are `offset + k · slide`.
//! Windows that grow (CUMULATE) start together, at `offset + k · size`, and end one step after the other: their slices
//! are the steps.
//!
//! # Invariants
//! 1. A slice whose end is `p` belongs to exactly the windows with an end in `[p, p + size)`; of windows that grow, to
//!    those with an end from `p` to the end of the longest.
//! 2. Arithmetic saturates at the ends of time instead of wrapping.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use weir_planner::plan::Window;
use weir_planner::zoned_days::ZonedDays;
use weir_types::{DataType, TimeUnit};

/// Windows side by side, overlapping or growing, by slide, size and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    /// From one end to the next.
    pub(super) slide: i64,
    /// Length; of windows that grow, the longest.
    pub(super) size: i64,
    offset: i64,
    /// Length of a slice: the greatest common divisor of slide and size.
    pub(super) slice: i64,
    /// CUMULATE: windows of one start, each a slide longer than the one before.
    grows: bool,
    /// All of this is about days as a zone counts them.
    days: Option<ZonedDays>,
}

impl Windows {
    /// The windows of the plan; durations are positive, the planner sees to it.
    pub(super) fn new(window: Window) -> Option<Self> {
        let (slide, size, offset, grows) = match window {
            Window::Tumble { size, offset } => (size, size, offset, false),
            Window::Hop {
                slide,
                size,
                offset,
            } => (slide, size, offset, false),
            Window::Cumulate { step, size, offset } => (step, size, offset, true),
            // Each moment is a window: the one that ends right after it.
            Window::Assigned => (1, 1, 0, false),
        };
        if slide <= 0 || size <= 0 || (grows && size % slide != 0) {
            return None;
        }
        let slice = greatest_common_divisor(slide, size);
        Some(Self {
            slide,
            size,
            offset: offset.rem_euclid(if grows { size } else { slide }),
            slice,
            grows,
            days: None,
        })
    }

    /// The same windows of whole days, from midnight to midnight of a zone.
    pub(super) fn in_zone(self, days: Option<ZonedDays>) -> Self {
        Self { days, ..self }
    }

    /// Where an instant is among the windows.
    #[inline]
    pub(super) fn place(&self, instant: i64) -> i64 {
        self.days.map_or(instant, |days| days.axis(instant))
    }

    /// The instant at which a window begins or ends.
    #[inline]
    pub(super) fn instant(&self, place: i64) -> i64 {
        self.days.map_or(place, |days| days.instant(place))
    }

    /// Where the instants of a column are among the windows.
    pub(super) fn places(&self, instants: Int64Array) -> Int64Array {
        match self.days {
            None => instants,
            Some(days) => instants.unary(|instant| days.axis(instant)),
        }
    }

    /// Whether a window is one slice, and each slice one window.
    pub(super) fn is_tumbling(&self) -> bool {
        self.slide == self.size
    }

    /// Whether windows have one start and end one step after the other.
    pub(super) fn grows(&self) -> bool {
        self.grows
    }

    /// Slices of a window.
    pub(super) fn slices_per_window(&self) -> i64 {
        self.size / self.slice
    }

    /// The end of the slice that holds `time`.
    #[inline]
    pub(super) fn slice_end(&self, time: i64) -> i64 {
        let since = i128::from(time) - i128::from(self.offset);
        let slice = i128::from(self.slice);
        clamp((since.div_euclid(slice) + 1) * slice + i128::from(self.offset))
    }

    /// The end of the first window that ends at or after `time`.
    #[inline]
    pub(super) fn first_end_from(&self, time: i64) -> i64 {
        // Ends are offset + size + k · slide.
        let base = i128::from(self.offset) + i128::from(self.size);
        let slide = i128::from(self.slide);
        let steps = (i128::from(time) - base + slide - 1).div_euclid(slide);
        clamp(base + steps * slide)
    }

    /// The end of the first window that ends after `time`.
    #[inline]
    pub(super) fn first_end_after(&self, time: i64) -> i64 {
        if time == i64::MAX {
            i64::MAX
        } else {
            self.first_end_from(time + 1)
        }
    }

    /// Whether the slice that ends at `slice_end` belongs to the window that ends at `window_end`.
    #[inline]
    pub(super) fn holds(&self, window_end: i64, slice_end: i64) -> bool {
        slice_end <= window_end && i128::from(slice_end) > self.exact_start(window_end)
    }

    /// The start of the window that ends at `end`.
    #[inline]
    pub(super) fn start_of(&self, end: i64) -> i64 {
        clamp(self.exact_start(end))
    }

    #[inline]
    fn exact_start(&self, end: i64) -> i128 {
        let (end, size) = (i128::from(end), i128::from(self.size));
        if !self.grows {
            return end - size;
        }
        let offset = i128::from(self.offset);
        (end - 1 - offset).div_euclid(size) * size + offset
    }

    /// The end of the first window that holds the moment `time`, and how many windows do.
    #[inline]
    pub(super) fn windows_of(&self, time: i64) -> (i64, usize) {
        let first = self.first_end_after(time);
        // Ends run from `first` while the window's start is not after `time`.
        let last = if self.grows {
            self.exact_start(first) + i128::from(self.size)
        } else {
            i128::from(time) + i128::from(self.size)
        };
        let span = last - i128::from(first);
        (
            first,
            if span < 0 {
                0
            } else {
                (span / i128::from(self.slide)) as usize + 1
            },
        )
    }
}

/// The slice of the row before: rows come in the order of time, about, and to place one takes divisions.
#[derive(Clone, Copy, Default)]
pub(super) struct LastSlice {
    start: i64,
    end: i64,
}

impl LastSlice {
    /// Whether `time` lies in another slice than the time before it. All times of a slice have the same windows.
    #[inline]
    pub(super) fn is_left(&mut self, windows: &Windows, time: i64) -> bool {
        if self.start <= time && time < self.end {
            return false;
        }
        let end = windows.slice_end(time);
        *self = match end.checked_sub(windows.slice) {
            Some(start) if end < i64::MAX => Self { start, end },
            // Its end or its start may be beyond the end of time.
            _ => Self::default(),
        };
        true
    }
}

fn clamp(value: i128) -> i64 {
    value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// A timestamp column as microseconds; finer ones are rounded down, which changes no window.
pub(super) fn to_micros(column: &ArrayRef) -> Option<Int64Array> {
    let ArrowType::Timestamp(unit, _) = column.data_type() else {
        return None;
    };
    let values = cast(column, &ArrowType::Int64).ok()?;
    let values = values.as_primitive::<Int64Type>();
    use arrow::datatypes::TimeUnit as Unit;
    Some(match unit {
        Unit::Second => values.unary(|value| value.saturating_mul(1_000_000)),
        Unit::Millisecond => values.unary(|value| value.saturating_mul(1_000)),
        Unit::Microsecond => values.clone(),
        Unit::Nanosecond => values.unary(|value: i64| value.div_euclid(1_000)),
    })
}

/// Microseconds as a column of a timestamp type, moved by `less_units` of its own unit.
pub(super) fn from_micros(
    micros: Int64Array,
    data_type: &DataType,
    less_units: i64,
) -> Option<ArrayRef> {
    let (DataType::Timestamp(unit) | DataType::TimestampLtz(unit)) = data_type else {
        return None;
    };
    let units: Int64Array = match unit {
        TimeUnit::Second => micros.unary(|value: i64| value.div_euclid(1_000_000) - less_units),
        TimeUnit::Milli => micros.unary(|value: i64| value.div_euclid(1_000) - less_units),
        TimeUnit::Micro => micros.unary(|value| value - less_units),
        TimeUnit::Nano => {
            micros.unary(|value| value.saturating_mul(1_000).saturating_sub(less_units))
        }
    };
    let units: ArrayRef = std::sync::Arc::new(units);
    cast(&units, &data_type.to_arrow()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn windows_and_slices_agree_with_their_definition(
            slide in 1i64..12, size in 1i64..30, offset in -20i64..20, time in -100i64..100,
        ) {
            let windows = Windows::new(Window::Hop { slide, size, offset }).unwrap();
            let all = (-300i64..300).map(|k| offset + k * slide).map(|start| (start, start + size));
            let holding: Vec<i64> = all.filter(|(start, end)| (*start..*end).contains(&time)).map(|w| w.1).collect();
            let (first, count) = windows.windows_of(time);
            prop_assert_eq!(count, holding.len());
            if count > 0 {
                prop_assert_eq!(first, holding[0]);
            }
            let mut last = LastSlice::default();
            last.is_left(&windows, time);
            for other in time - 20..time + 20 {
                let mut last = last;
                if !last.is_left(&windows, other) {
                    prop_assert_eq!(windows.windows_of(other), (first, count));
                }
            }
            let slice = windows.slice_end(time);
            prop_assert!(slice > time && slice - windows.slice <= time);
            for k in -300i64..300 {
                let end = offset + size + k * slide;
                prop_assert_eq!(windows.holds(end, slice), holding.contains(&end), "window end {}", end);
            }
            prop_assert!(windows.first_end_from(time) >= time && windows.first_end_from(time) - slide < time);
        }
    }

    proptest! {
        #[test]
        fn windows_that_grow_agree_with_their_definition(
            step in 1i64..12, steps in 1i64..8, offset in -20i64..20, time in -100i64..100,
        ) {
            let size = step * steps;
            let windows = Windows::new(Window::Cumulate { step, size, offset }).unwrap();
            let starts = (-300i64..300).map(|k| offset + k * size);
            let all: Vec<(i64, i64)> = starts.flat_map(|start| (1..=steps).map(move |n| (start, start + n * step))).collect();
            let holding: Vec<i64> = all.iter().filter(|(start, end)| (*start..*end).contains(&time)).map(|w| w.1).collect();
            prop_assert_eq!(windows.windows_of(time), (holding[0], holding.len()));
            let slice = windows.slice_end(time);
            prop_assert!(slice > time && slice - windows.slice <= time);
            for (start, end) in all {
                prop_assert_eq!(windows.start_of(end), start);
                prop_assert_eq!(windows.holds(end, slice), holding.contains(&end), "window end {}", end);
            }
        }
    }

    #[test]
    fn a_longest_window_that_is_no_number_of_steps_is_none() {
        assert!(
            Windows::new(Window::Cumulate {
                step: 4,
                size: 6,
                offset: 0
            })
            .is_none()
        );
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let windows = Windows::new(Window::Hop {
            slide: 4,
            size: 6,
            offset: 0,
        })
        .unwrap();
        for time in [i64::MIN, i64::MAX] {
            let mut last = LastSlice::default();
            assert!(last.is_left(&windows, time));
            assert!(last.is_left(&windows, 0), "that is another slice");
            windows.windows_of(time);
            windows.slice_end(time);
            windows.first_end_after(time);
        }
    }
}
