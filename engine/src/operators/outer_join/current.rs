//! All rows of the output, from the two sides: the left rows with their partners, or for themselves; then those of the right
//! side that are given for themselves.

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use weir_types::{ChangeBatch, hash};

use super::{Alone, OuterJoin, Phase, Probe, Step, Touched};
use crate::Result;
use crate::operators::build::internal;
use crate::operators::join::null_keys;
use crate::operators::standing::Copies;
use crate::operators::{OperatorContext, Progress};

/// Where it goes on.
#[derive(Default)]
pub(super) struct Standing {
    side: usize,
    rows: Copies,
    step: Option<Step>,
}

impl OuterJoin {
    /// Gives the next rows.
    pub(super) fn give_all(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let mut standing = std::mem::take(&mut self.standing);
        let progress = self.go_on(&mut standing, ctx);
        self.standing = standing;
        progress
    }

    fn go_on(&mut self, standing: &mut Standing, ctx: &mut OperatorContext) -> Result<Progress> {
        loop {
            if let Some(mut step) = standing.step.take() {
                // Nothing changes, so that rows of the other side are no concern of this one.
                match std::mem::replace(&mut step.phase, Phase::Over) {
                    Phase::Pairs(probe) => {
                        step.phase = self.pairs(&mut step, probe, ctx.batch_rows.max(1), ctx)?;
                        standing.step = Some(step);
                    }
                    Phase::Alone => self.give_alone(&step, ctx)?,
                    Phase::Others(_) | Phase::Over => {}
                }
            } else if let Some(rows) = self.next_rows(standing, ctx.batch_rows)? {
                standing.step = Some(self.step_of(standing.side, rows));
            } else if standing.side == 0 && self.sides[1].alone != Alone::Never {
                standing.side = 1;
            } else {
                standing.side = 0;
                return Ok(Progress::Done);
            }
            if ctx.output.is_some() {
                return Ok(Progress::More);
            }
        }
    }

    fn next_rows(&self, standing: &mut Standing, limit: usize) -> Result<Option<RecordBatch>> {
        let rows = &self.sides[standing.side].rows;
        let failed = |error| internal(&self.operator, &error);
        standing
            .rows
            .next(limit, failed, |cursor, limit| rows.read_on(cursor, limit))
    }

    fn step_of(&self, side: usize, rows: RecordBatch) -> Step {
        let count = rows.num_rows();
        let keys = self.sides[side].keys.iter();
        let keys: Vec<ArrayRef> = keys.map(|&column| rows.column(column).clone()).collect();
        Step {
            side,
            hashes: hash::hash_columns(&keys, count),
            skip: null_keys(&keys, &self.null_equal, count),
            keys,
            batch: ChangeBatch::append_only(rows),
            weights: vec![1; count],
            has_partner: vec![false; count],
            touched: Touched::default(),
            had_rows: None,
            // Each pair has one left row.
            gives_pairs: self.gives_pairs && side == 0,
            phase: Phase::Pairs(Probe::begin()),
        }
    }
}
