//! A worker on a thread of its own: steps while there is work, parks when there is none.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use weir_types::WorkerId;
use weir_types::failpoint::SimulatedCrash;

use super::{Step, Worker};
use crate::coordinator::Event;
use crate::job::Shared;
use crate::{Error, Result};

/// A parked worker looks again after this time even if nobody woke it: live sources are polled.
const PARK_MAX: Duration = Duration::from_millis(10);
/// And at first after this time, doubling.
const PARK_MIN: Duration = Duration::from_millis(1);

/// Runs worker `id` until the job shuts down. Whatever goes wrong is told to the coordinator.
pub(crate) fn run(id: WorkerId, job: &Arc<Shared>) {
    if let Err(error) = drive(id, job) {
        job.tell(Event::Failed(error));
    }
}

fn drive(id: WorkerId, job: &Arc<Shared>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Error::Job(format!("cannot start worker {id}: {error}")))?;
    let mut worker = guarded(|| Worker::build(id, job.clone()), || None)?;
    let wake = job.wakes[id.0 as usize].clone();
    let mut park = PARK_MIN;
    while !job.control.is_shut_down() {
        match step(&mut worker)? {
            Step::Worked => park = PARK_MIN,
            Step::Idle => {
                let limit = if worker.has_snapshots() {
                    PARK_MIN
                } else {
                    park
                };
                runtime.block_on(async {
                    // Woken or not, the next step finds out.
                    let _ = tokio::time::timeout(limit, wake.notified()).await;
                });
                park = (park * 2).min(PARK_MAX);
            }
        }
    }
    Ok(())
}

/// One step; a panic becomes an error that names the operator.
pub(crate) fn step(worker: &mut Worker) -> Result<Step> {
    match catch_unwind(AssertUnwindSafe(|| worker.step())) {
        Ok(result) => result,
        // The process would have died here: nobody reports it.
        Err(panic) if panic.is::<SimulatedCrash>() => resume_unwind(panic),
        Err(panic) => Err(Error::Panic {
            operator: worker.running(),
            message: message(&*panic),
        }),
    }
}

/// Runs something outside of any step, such as building.
pub(crate) fn guarded<T>(
    f: impl FnOnce() -> Result<T>,
    operator: impl Fn() -> Option<weir_types::OperatorId>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(panic) if panic.is::<SimulatedCrash>() => resume_unwind(panic),
        Err(panic) => Err(Error::Panic {
            operator: operator().unwrap_or_else(|| weir_types::OperatorId::new("(start)")),
            message: message(&*panic),
        }),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
