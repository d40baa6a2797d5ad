//! Rows on their way out: what a call found is more than it may give, and goes out some rows at a time.

use std::collections::VecDeque;

use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use weir_types::ChangeBatch;

use crate::{Error, Result};

/// Rows to be given, in order.
#[derive(Default)]
pub(super) struct Ready {
    pieces: VecDeque<Piece>,
}

/// Rows that were found together.
struct Piece {
    rows: RecordBatch,
    /// How often each is given; above zero.
    counts: Vec<i64>,
    /// The own watermark of each; empty: none has one.
    own: Vec<Option<i64>>,
    /// The row that comes next, and how many copies of it were given.
    next: usize,
    copies: i64,
}

impl Ready {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Adds rows, each as often as it counts. `own`: their own watermarks, one for each; or none at all.
    pub(super) fn push(&mut self, rows: RecordBatch, counts: Vec<i64>, own: Vec<Option<i64>>) {
        debug_assert_eq!(rows.num_rows(), counts.len());
        debug_assert!(own.is_empty() || own.len() == counts.len());
        if !counts.is_empty() {
            let own = if own.iter().all(Option::is_none) {
                Vec::new()
            } else {
                own
            };
            self.pieces.push_back(Piece {
                rows,
                counts,
                own,
                next: 0,
                copies: 0,
            });
        }
    }

    /// The next rows, `limit` at most; `None` if there are none.
    pub(super) fn next(&mut self, limit: usize) -> Result<Option<ChangeBatch>> {
        let Some(piece) = self.pieces.front_mut() else {
            return Ok(None);
        };
        let places = piece.expand(limit.max(1));
        let is_over = piece.next == piece.counts.len();
        let is_whole = is_over
            && places.len() == piece.counts.len()
            && places.iter().enumerate().all(|(i, &row)| i == row as usize);
        let own = (!piece.own.is_empty())
            .then(|| places.iter().map(|&row| piece.own[row as usize]).collect());
        let rows = if is_whole {
            piece.rows.clone()
        } else {
            take_record_batch(&piece.rows, &UInt32Array::from(places))
                .map_err(|error| Error::Job(format!("taking rows of a batch: {error}")))?
        };
        if is_over {
            self.pieces.pop_front();
        }
        Ok(Some(ChangeBatch {
            rows,
            retracted: None,
            own_watermark: own.map(|own: Vec<Option<i64>>| Int64Array::from(own)),
        }))
    }
}

impl Piece {
    /// Moves on by `limit` rows at most, and says which they are.
    fn expand(&mut self, limit: usize) -> Vec<u32> {
        let mut places = Vec::new();
        while self.next < self.counts.len() && places.len() < limit {
            let all = self.counts[self.next];
            let room = i64::try_from(limit - places.len()).unwrap_or(i64::MAX);
            let copies = (all - self.copies).clamp(0, room);
            places.extend((0..copies).map(|_| self.next as u32));
            self.copies += copies;
            if self.copies >= all {
                (self.next, self.copies) = (self.next + 1, 0);
            }
        }
        places
    }
}
