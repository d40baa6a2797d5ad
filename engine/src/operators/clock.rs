//! The clock as event time: rows pass, and each epoch's processing time is their watermark.
//!
//! ```text
//!   rows of epoch e  ──▶  the same rows, without a watermark of their own
//!   its barrier      ──▶  Watermark(processing time of e), barrier
//! ```
//!
//! Processing time never goes back, and every row of a later epoch carries that epoch's: what the watermark promises holds.
//! What the input's own watermark says is dropped, but for its last word: the end of the input fires everything.

use weir_types::ChangeBatch;

use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// From here on rows go by the clock.
pub(super) struct ProcessingClock;

impl Operator for ProcessingClock {
    fn on_batch(
        &mut self,
        _: usize,
        mut batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        batch.own_watermark = None;
        ctx.emit(batch);
        Ok(Progress::Done)
    }

    fn is_clock(&self) -> bool {
        true
    }
}
