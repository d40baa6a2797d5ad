//! Rows of bare SELECTs: gathered from all workers, handed over epoch by epoch.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Mutex;

use weir_types::{ChangeBatch, WorkerId};

use crate::sync::lock;
use crate::{OutputEvent, OutputHandler};

/// Changes that wait for their epoch to come through: (epoch, operator, worker) → batches.
#[derive(Default)]
pub(crate) struct Outputs {
    waiting: Mutex<BTreeMap<(u64, usize, u32), Vec<ChangeBatch>>>,
}

impl Outputs {
    /// An operator of one worker gave its rows of an epoch.
    pub(crate) fn collect(&self, epoch: u64, worker: WorkerId, event: OutputEvent) {
        let mut waiting = lock(&self.waiting);
        waiting
            .entry((epoch, event.operator, worker.0))
            .or_default()
            .extend(event.changes);
    }

    /// The epoch is through: one call for each operator that gave rows. `Break`: nobody reads any more.
    pub(crate) fn release(&self, epoch: u64, handler: &OutputHandler) -> ControlFlow<()> {
        let mut due: BTreeMap<usize, Vec<ChangeBatch>> = BTreeMap::new();
        {
            let mut waiting = lock(&self.waiting);
            let later = waiting.split_off(&(epoch + 1, 0, 0));
            for ((_, operator, _), changes) in std::mem::replace(&mut *waiting, later) {
                due.entry(operator).or_default().extend(changes);
            }
        }
        for (operator, changes) in due {
            if !changes.is_empty() {
                handler(OutputEvent { operator, changes })?;
            }
        }
        ControlFlow::Continue(())
    }
}
