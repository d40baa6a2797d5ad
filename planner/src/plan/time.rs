//! How time cuts a stream: windows, and what bounds a join.

use serde::{Deserialize, Serialize};

/// Windows in event time; all durations in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Windows side by side.
    Tumble {
        /// Length.
        size: i64,
        /// Shift of the first boundary after the epoch.
        offset: i64,
    },
    /// Windows that overlap (or leave gaps).
    Hop {
        /// From one start to the next.
        slide: i64,
        /// Length.
        size: i64,
        /// Shift of the first boundary after the epoch.
        offset: i64,
    },
    /// Windows of one start that end one step after the other, up to a size; then the next ones start.
    Cumulate {
        /// From one end to the next.
        step: i64,
        /// Length of the longest: a multiple of `step`.
        size: i64,
        /// Shift of the first boundary after the epoch.
        offset: i64,
    },
    /// Windows that the rows carry already: a windowed aggregate's `time` is the column of their end.
    Assigned,
}

impl Window {
    /// Whether a window is known by its start alone.
    pub fn start_tells_end(&self) -> bool {
        !matches!(self, Self::Cumulate { .. } | Self::Assigned)
    }
}

/// How time bounds a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinTiming {
    /// `lower ≤ left time − right time ≤ upper`, in microseconds. The watermark that it forwards is lowered by the
    /// greater of `upper` and `−lower`.
    Interval {
        /// Event-time column of the left input.
        left_time: usize,
        /// Event-time column of the right input.
        right_time: usize,
        /// The least difference.
        lower: i64,
        /// The greatest difference.
        upper: i64,
    },
    /// Rows of windows that end at the same time (which is among the keys), given when the watermark reaches that end.
    Window {
        /// The column of the left input that holds the window's end.
        left_end: usize,
        /// The column of the right input that holds the window's end.
        right_end: usize,
    },
    /// Each left row with the last right row of its key that is not later (`strict`: that is earlier), given when the
    /// watermark is beyond it. Of right rows of one moment the first in the order of their columns counts.
    AsOf {
        /// Event-time column of the left input.
        left_time: usize,
        /// Event-time column of the right input.
        right_time: usize,
        /// A right row of the same moment does not count.
        strict: bool,
    },
}

impl JoinTiming {
    /// The columns of time: of the left input, of the right input.
    pub fn columns(&self) -> (usize, usize) {
        match *self {
            Self::Interval {
                left_time,
                right_time,
                ..
            } => (left_time, right_time),
            Self::Window {
                left_end,
                right_end,
            } => (left_end, right_end),
            Self::AsOf {
                left_time,
                right_time,
                ..
            } => (left_time, right_time),
        }
    }

    /// The same over other columns of time.
    pub(crate) fn moved(self, left: usize, right: usize) -> Self {
        match self {
            Self::Interval { lower, upper, .. } => Self::Interval {
                left_time: left,
                right_time: right,
                lower,
                upper,
            },
            Self::Window { .. } => Self::Window {
                left_end: left,
                right_end: right,
            },
            Self::AsOf { strict, .. } => Self::AsOf {
                left_time: left,
                right_time: right,
                strict,
            },
        }
    }

    /// By how much the forwarded watermark is lowered, in microseconds.
    pub fn delay(&self) -> i64 {
        match *self {
            Self::Interval { lower, upper, .. } => upper.max(lower.saturating_neg()).max(0),
            Self::Window { .. } | Self::AsOf { .. } => 0,
        }
    }
}
