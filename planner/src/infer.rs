//! What follows for the rows of an operator: changelog mode, unique key, event time, window columns.
//!
//! One function for each kind of step, used by the binder (which has to know whether a window can stand on a relation)
//! and by the lowering (for the plan's operators).

use weir_types::DataType;

use crate::logical::Properties;
use crate::plan::{Changelog, Expr, ExprKind, JoinKind, JoinTiming, Window, WindowColumns};

impl Changelog {
    /// The worse of the two.
    pub fn worst(self, other: Self) -> Self {
        if self == Self::Retractions {
            self
        } else {
            other
        }
    }
}

impl Properties {
    /// Rows of which nothing is known but their changelog mode.
    pub(crate) fn of(changelog: Changelog) -> Self {
        Self {
            changelog,
            unique_key: None,
            event_time: None,
            further_event_times: Vec::new(),
            window: None,
        }
    }

    /// After a projection: what passes unchanged keeps its meaning. A key stays a key through a cast that keeps
    /// different values different.
    pub(crate) fn projected(&self, exprs: &[Expr]) -> Self {
        let unchanged = |column: usize| {
            exprs
                .iter()
                .position(|expr| expr.as_column() == Some(column))
        };
        let distinct = |column: usize| {
            unchanged(column).or_else(|| {
                exprs
                    .iter()
                    .position(|expr| widened_column(expr) == Some(column))
            })
        };
        let unique_key = self.unique_key.as_ref();
        let unique_key =
            unique_key.and_then(|key| key.iter().map(|&column| distinct(column)).collect());
        Self {
            unique_key,
            ..self.moved(&unchanged)
        }
    }

    /// The same properties where the columns stand in other places.
    pub(crate) fn moved(&self, place: &dyn Fn(usize) -> Option<usize>) -> Self {
        let window = self.window.and_then(|window| {
            let (start, end) = (window.start.and_then(place), window.end.and_then(place));
            let time = window.time.and_then(place);
            (start.is_some() || end.is_some()).then_some(WindowColumns { start, end, time })
        });
        let mut event_times = self.event_times().filter_map(place);
        let event_time = event_times.next();
        let further_event_times = event_times.collect();
        Self {
            changelog: self.changelog,
            unique_key: self
                .unique_key
                .as_ref()
                .and_then(|key| key.iter().map(|&column| place(column)).collect()),
            event_time,
            further_event_times,
            window,
        }
    }

    /// UNION ALL: the worst changelog mode; event time where it is the same column of every branch; no key, because
    /// two branches can hold one row each of the same key.
    pub(crate) fn united(branches: &[&Self]) -> Self {
        let all_equal = |column: fn(&Self) -> Option<usize>| {
            let first = column(branches.first()?)?;
            branches
                .iter()
                .all(|branch| column(branch) == Some(first))
                .then_some(first)
        };
        let start = all_equal(|branch| branch.window.and_then(|window| window.start));
        let end = all_equal(|branch| branch.window.and_then(|window| window.end));
        let time = all_equal(|branch| branch.window.and_then(|window| window.time));
        Self {
            changelog: branches.iter().fold(Changelog::AppendOnly, |mode, branch| {
                mode.worst(branch.changelog)
            }),
            unique_key: None,
            event_time: all_equal(|branch| branch.event_time),
            further_event_times: Vec::new(),
            window: (start.is_some() || end.is_some()).then_some(WindowColumns {
                start,
                end,
                time,
            }),
        }
    }

    /// A window's columns appended at `start` (start, end, time). A row is in several windows, so that its key needs
    /// the column that tells them apart.
    pub(crate) fn windowed(&self, window: &Window, start: usize) -> Self {
        let apart = if window.start_tells_end() {
            start
        } else {
            start + 1
        };
        let unique_key = self.unique_key.clone().map(|mut key| {
            key.push(apart);
            key
        });
        Self {
            unique_key,
            window: Some(WindowColumns {
                start: Some(start),
                end: Some(start + 1),
                time: Some(start + 2),
            }),
            ..self.clone()
        }
    }

    /// UNNEST: a row becomes several, which the number of the element tells apart where there is one. `number`: the last
    /// column, and whether it is that number.
    pub(crate) fn unnested(input: &Self, (last, is_number): (usize, bool)) -> Self {
        let unique_key = input.unique_key.clone().filter(|_| is_number);
        Self {
            unique_key: unique_key.map(|mut key| {
                key.push(last);
                key
            }),
            ..input.clone()
        }
    }

    /// The columns that carry event time.
    pub(crate) fn event_times(&self) -> impl Iterator<Item = usize> + '_ {
        self.event_time
            .into_iter()
            .chain(self.further_event_times.iter().copied())
    }

    /// A regular join: a pair is identified by both keys, a row of a semi or anti join by its own; event time ends here.
    /// Whether a row has a partner changes with time, so that what hangs on its absence is taken back.
    pub(crate) fn joined(join: JoinKind, left: &Self, right: &Self, left_width: usize) -> Self {
        let inputs = left.changelog.worst(right.changelog);
        let changelog = match join {
            JoinKind::Inner | JoinKind::Semi => inputs,
            JoinKind::Left | JoinKind::Right | JoinKind::Full | JoinKind::Anti => {
                Changelog::Retractions
            }
        };
        let unique_key = match (&left.unique_key, &right.unique_key) {
            (left, _) if !join.gives_right() => left.clone(),
            (Some(left), Some(right)) => Some(
                left.iter()
                    .copied()
                    .chain(right.iter().map(|column| column + left_width))
                    .collect(),
            ),
            _ => None,
        };
        Self {
            unique_key,
            ..Self::of(changelog)
        }
    }
}

impl Properties {
    /// A join that time bounds. The two event times of an interval join are at most its bound apart, and so one watermark
    /// speaks of both; the rows of a window join come when the window ends. What may be NULL for want of a partner is no
    /// event time, and no window's column.
    pub(crate) fn timed(
        timing: &JoinTiming,
        join: JoinKind,
        left: &Self,
        right: &Self,
        left_width: usize,
    ) -> Self {
        let rows = Self {
            changelog: Changelog::AppendOnly,
            ..Self::joined(join, left, right, left_width)
        };
        let (of_left, of_right) = (
            !join.keeps_right(),
            !join.keeps_left() && join.gives_right(),
        );
        match *timing {
            JoinTiming::Interval {
                left_time,
                right_time,
                ..
            } => {
                let left_time = of_left.then_some(left_time);
                let right_time = of_right.then_some(left_width + right_time);
                Self {
                    event_time: left_time.or(right_time),
                    further_event_times: left_time.and(right_time).into_iter().collect(),
                    ..rows
                }
            }
            // One row for each of the left, at most.
            JoinTiming::AsOf { left_time, .. } => Self {
                unique_key: left.unique_key.clone(),
                event_time: Some(left_time),
                ..rows
            },
            JoinTiming::Window { .. } => {
                let window = if of_left {
                    left.window
                } else {
                    let moved = |column: usize| Some(left_width + column);
                    right.moved(&moved).window.filter(|_| of_right)
                };
                Self {
                    event_time: window.and_then(|window| window.time),
                    window,
                    ..rows
                }
            }
        }
    }
}

impl Properties {
    /// A join with the right as it is: the left's time and windows go on, and what is given stays. A left row has one partner
    /// at most where its keys hold a key of the right.
    pub(crate) fn looked_up(
        join: JoinKind,
        (left, right): (&Self, &Self),
        left_width: usize,
        right_keys: &[Expr],
    ) -> Self {
        let is_compared = |column: &usize| {
            right_keys
                .iter()
                .any(|key| key.as_column() == Some(*column))
        };
        let has_one = right
            .unique_key
            .as_ref()
            .is_some_and(|key| key.iter().all(is_compared));
        let unique_key = if has_one {
            left.unique_key.clone()
        } else {
            Self::joined(join, left, right, left_width).unique_key
        };
        let rows = match left.changelog {
            Changelog::AppendOnly => left.clone(),
            // When each of two equal rows came is not kept while they wait.
            Changelog::Retractions => Self::of(Changelog::Retractions),
        };
        Self { unique_key, ..rows }
    }
}

/// The column that the expression casts to a type in which all of its values stay different.
fn widened_column(expr: &Expr) -> Option<usize> {
    let ExprKind::Cast {
        expr: operand,
        safe: false,
    } = &expr.kind
    else {
        return None;
    };
    let bits = |data_type: &DataType| match data_type {
        DataType::Int8 => Some(8),
        DataType::Int16 => Some(16),
        DataType::Int32 => Some(32),
        DataType::Int64 => Some(64),
        _ => None,
    };
    let widens = match (&operand.data_type, &expr.data_type) {
        (DataType::Timestamp(from), DataType::Timestamp(to)) => from <= to,
        (DataType::TimestampLtz(from), DataType::TimestampLtz(to)) => from <= to,
        (DataType::Date, DataType::Timestamp(_)) => true,
        (from, to) => bits(from)
            .zip(bits(to))
            .is_some_and(|(from, to)| from <= to),
    };
    operand.as_column().filter(|_| widens)
}
