//! Building a worker that computes state from state: the new tables, the old ones beside them, and an operator for each node
//! that takes part.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use weir_planner::plan::Changelog;
use weir_state::WorkerState;
use weir_types::{DataType, KeyGroupRange, WorkerId};

use super::build::{build_operator, worker_options};
use crate::Result;
use crate::evolution::bootstrap::{Bootstrap, Collects, Gives, OwnRows, Role, Silent};
use crate::job::Shared;
use crate::operators::{self, BuildContext, Operator};

/// Places among a worker's other states.
const OLD: usize = 0;
const SCRATCH: usize = 1;

/// The old state, and one for what is needed on the way; all tables are brought to rest, where they are read.
pub(super) fn open_others(
    id: WorkerId,
    job: &Shared,
    state: &WorkerState,
) -> Result<Vec<WorkerState>> {
    let Some(bootstrap) = &job.bootstrap else {
        return Ok(Vec::new());
    };
    state.end_epoch()?;
    state.write_back()?;
    let old = WorkerState::open(
        job.state.clone(),
        worker_options(id, job, "-before"),
        bootstrap.old.tables.clone(),
        Some(&bootstrap.old),
    )?;
    let mut options = worker_options(id, job, "-between");
    // Rows come here by a hash of their own, and no group of them goes anywhere else.
    options.range = KeyGroupRange {
        start: 0,
        end: job.options.key_groups,
    };
    let tables = bootstrap.wiring.scratch.clone();
    let scratch = WorkerState::open(job.state.clone(), options, tables, None)?;
    Ok(vec![old, scratch])
}

/// The operator of a node; `None`: it takes no part.
pub(super) fn operator(
    id: WorkerId,
    job: &Arc<Shared>,
    bootstrap: &Bootstrap,
    (state, others): (&WorkerState, &[WorkerState]),
    index: usize,
) -> Result<Option<Box<dyn Operator>>> {
    let node = &job.plan.operators[index];
    Ok(match &bootstrap.wiring.roles[index] {
        Role::Absent => None,
        Role::Runs(None) | Role::Stands(None) | Role::Waits => {
            // What is printed belongs to the first epoch, whichever it was given in.
            build_operator(id, job, state, index, &Arc::new(AtomicU64::new(1)))?
        }
        Role::Runs(Some(place)) | Role::Stands(Some(place)) => {
            Some(operators::build(BuildContext {
                plan: &bootstrap.old_plan,
                index: *place,
                worker: id,
                parallelism: job.options.parallelism,
                key_groups: job.options.key_groups,
                state: &others[OLD],
                batch_rows: job.options.batch_rows,
                sink: None,
                output: None,
            })?)
        }
        Role::OwnRows(own) => Some(Box::new(OwnRows::new(
            node.id.clone(),
            others[OLD].multi_map_table(&own.operator, &own.table),
            own.columns.clone(),
            DataType::arrow_schema(&node.schema),
        ))),
        Role::Silent => Some(Box::new(Silent {
            operator: node.id.clone(),
        })),
        Role::Collects(table) => Some(Box::new(Collects {
            rows: others[SCRATCH].map_table(table, "rows"),
            schema: node.schema.clone(),
        })),
        Role::Gives(table) => Some(Box::new(Gives::new(
            node.id.clone(),
            others[SCRATCH].map_table(table, "rows"),
            node.schema.clone(),
            node.changelog == Changelog::AppendOnly,
        ))),
    })
}
