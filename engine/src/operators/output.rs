//! A bare SELECT: hands the changes of each epoch to whoever started the job.

use weir_types::{ChangeBatch, OperatorId};

use super::build::internal;
use super::{Operator, OperatorContext, Progress, changes};
use crate::{OutputEvent, OutputHandler, Result};

/// Collects an epoch's changes and hands them over at its end.
pub(super) struct Output {
    operator: OperatorId,
    /// Index of the operator in the plan, by which the caller knows it.
    index: usize,
    handler: OutputHandler,
    epoch: Vec<ChangeBatch>,
}

impl Output {
    pub(super) fn new(operator: OperatorId, index: usize, handler: OutputHandler) -> Self {
        Self {
            operator,
            index,
            handler,
            epoch: Vec::new(),
        }
    }
}

impl Operator for Output {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        _: &mut OperatorContext,
    ) -> Result<Progress> {
        self.epoch.push(batch);
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let epoch = std::mem::take(&mut self.epoch);
        if epoch.is_empty() {
            return Ok(Progress::Done);
        }
        let changes = changes::net(epoch, ctx.batch_rows)
            .map_err(|error| internal(&self.operator, &error))?;
        if !changes.is_empty() {
            // Whether the caller wants more is between it and the runtime, which wraps the handler.
            let _ = (self.handler)(OutputEvent {
                operator: self.index,
                changes,
            });
        }
        Ok(Progress::Done)
    }
}
