//! Rankings whose numbers are final, so that rows are given once and never taken back.
//!
//! ```text
//!   row_number() OVER (PARTITION BY window_start, window_end, … ORDER BY …)   over rows of windows: when the window ends
//!   row_number() OVER (PARTITION BY k ORDER BY ts)                            ts is event time: when it has passed the row
//! ```
//!
//! Both need rows that are only inserted. Any other ranking follows its input as it changes.

use crate::binder::clock::is_arrival;
use crate::logical::{Graph, NodeId, NodeKind, Properties};
use crate::plan::{Changelog, RankTiming};

/// When the rows of a ranking are final, over the columns of its input; `None`: never.
pub(crate) fn timing(graph: &Graph, input: NodeId, kind: &NodeKind) -> Option<RankTiming> {
    let NodeKind::Rank {
        partition, order, ..
    } = kind
    else {
        return None;
    };
    let properties = &graph.nodes[input].properties;
    if properties.changelog != Changelog::AppendOnly || is_arrival(order) {
        return None;
    }
    let is_key = |column: usize| {
        partition
            .iter()
            .any(|part| part.as_column() == Some(column))
    };
    let end = properties.window.and_then(|window| window.end);
    if let Some(end) = end.filter(|&end| is_key(end)) {
        return Some(RankTiming::Window { end });
    }
    let first = order.first().filter(|sort| !sort.descending)?;
    let time = first.expr.as_column()?;
    // ORDER BY … LIMIT has no partition: it is about the rows that are there. By a column of the partition nothing is ordered.
    let is_ordered = !partition.is_empty()
        && !is_key(time)
        && properties.event_times().any(|known| known == time);
    is_ordered.then_some(RankTiming::Order { time })
}

impl RankTiming {
    /// The column that it is about.
    pub(crate) fn column(self) -> usize {
        match self {
            Self::Window { end } => end,
            Self::Order { time } => time,
        }
    }

    /// The same over another column.
    pub(crate) fn moved(self, column: usize) -> Self {
        match self {
            Self::Window { .. } => Self::Window { end: column },
            Self::Order { .. } => Self::Order { time: column },
        }
    }

    /// The canonical text, and what `explain` shows.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Window { .. } => " when the window ends",
            Self::Order { .. } => " as event time goes on",
        }
    }
}

impl Properties {
    /// After a ranking that is final: rows come when their window ends, or when event time has passed them.
    pub(crate) fn ranked(&self, timing: RankTiming) -> Self {
        let event_time = match timing {
            RankTiming::Window { .. } => self.window.and_then(|window| window.time),
            RankTiming::Order { time } => Some(time),
        };
        Self {
            event_time,
            further_event_times: Vec::new(),
            ..self.clone()
        }
    }
}
