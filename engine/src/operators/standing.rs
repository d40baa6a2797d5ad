//! Standing rows: what an operator has given so far and not taken back, read from its state.
//!
//! ```text
//!   aggregate      each stored group                 rank    each partition, numbered
//!   set_operation  each stored row, from its counts  over    each partition, evaluated
//!   join           the rows of one side, each with its partners, and those that are given for want of one
//! ```
//!
//! After an edit of the query it is what rebuilt operators are filled from and what the difference at a sink is made of. How
//! each operator does it stands beside it, in its file `current.rs`.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;
use weir_planner::plan::{Changelog, Operator, OperatorKind};
use weir_state::RestCursor;

/// Whether the rows that an operator has given follow from its state. What the planner calls recoverable is this.
pub(crate) fn gives_standing_rows(operator: &Operator) -> bool {
    operator.ttl.is_none()
        && match operator.kind {
            OperatorKind::Aggregate { .. }
            | OperatorKind::Join { .. }
            | OperatorKind::SetOperation { .. } => true,
            // Where they only append, rows were given once and may be forgotten.
            OperatorKind::Rank { .. } | OperatorKind::Over { time: None, .. } => {
                operator.changelog == Changelog::Retractions
            }
            _ => false,
        }
}

/// The rows of a multiset, each as often as it is there, in pieces of bounded size.
#[derive(Default)]
pub(crate) struct Copies {
    cursor: RestCursor,
    read: Option<(RecordBatch, Vec<i64>)>,
    /// The next row of what was read, and how many copies of it were given.
    next: usize,
    given: i64,
}

impl Copies {
    /// The next rows, `limit` at most; `None`: there are no more, and it begins anew. `read` reads the table on.
    pub(crate) fn next(
        &mut self,
        limit: usize,
        failed: impl Fn(ArrowError) -> crate::Error,
        read: impl Fn(&mut RestCursor, usize) -> weir_state::Result<(RecordBatch, Vec<i64>)>,
    ) -> crate::Result<Option<RecordBatch>> {
        let limit = limit.max(1);
        loop {
            if let Some((rows, counts)) = &self.read {
                let mut chosen = Vec::new();
                while self.next < counts.len() && chosen.len() < limit {
                    let room = i64::try_from(limit - chosen.len()).unwrap_or(i64::MAX);
                    let copies = (counts[self.next] - self.given).clamp(0, room);
                    chosen.extend(std::iter::repeat_n(self.next as u32, copies as usize));
                    self.given += copies;
                    if self.given >= counts[self.next] {
                        (self.next, self.given) = (self.next + 1, 0);
                    }
                }
                if !chosen.is_empty() {
                    let chosen = UInt32Array::from(chosen);
                    return take_record_batch(rows, &chosen).map(Some).map_err(failed);
                }
                self.read = None;
            }
            if self.cursor.is_over() {
                *self = Self::default();
                return Ok(None);
            }
            self.read = Some(read(&mut self.cursor, limit)?);
            (self.next, self.given) = (0, 0);
        }
    }
}

/// Batches cut to size that wait to be given.
pub(super) fn cut(rows: &RecordBatch, limit: usize) -> impl Iterator<Item = RecordBatch> + '_ {
    let (count, limit) = (rows.num_rows(), limit.max(1));
    (0..count)
        .step_by(limit)
        .map(move |at| rows.slice(at, limit.min(count - at)))
}
