//! The condition of a join beyond its keys, judged over the pairs.

use arrow::array::BooleanArray;
use arrow::record_batch::RecordBatch;
use weir_types::ProcessingTime;

use crate::Result;
use crate::error::RowError;
use crate::expr::{CompiledExpr, as_filter};

/// What else must hold of a pair.
pub(super) struct Residual {
    condition: Option<CompiledExpr>,
    /// Pairs left out because the condition failed on them.
    pub(super) rejected_rows: u64,
    /// Why, if that is kept; the operator hands them to its context.
    pub(super) errors: Vec<RowError>,
}

impl Residual {
    pub(super) fn new(condition: Option<CompiledExpr>) -> Self {
        Self {
            condition,
            rejected_rows: 0,
            errors: Vec::new(),
        }
    }

    pub(super) fn is_none(&self) -> bool {
        self.condition.is_none()
    }

    /// Which pairs it holds of; `None`: all. `counts`: how often each pair is there.
    pub(super) fn holds(
        &mut self,
        pairs: &RecordBatch,
        counts: &[i64],
        now: ProcessingTime,
    ) -> Result<Option<BooleanArray>> {
        let Some(condition) = &self.condition else {
            return Ok(None);
        };
        let evaluated = condition.evaluate_rows(pairs, now)?;
        if condition.mode().leaves_out()
            && let Some(failed) = &evaluated.failed
        {
            let failed = failed.set_indices().map(|pair| counts[pair] as u64);
            self.rejected_rows += failed.sum::<u64>();
        }
        let errors = evaluated.errors.into_iter().map(|(_, error)| error);
        self.errors.extend(errors);
        as_filter(&evaluated.values).map(Some)
    }
}
