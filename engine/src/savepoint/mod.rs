//! Savepoints of a job: asked for while it runs, at its end, or of a checkpoint that it left.
//!
//! ```text
//!   weir savepoint create ─┐ socket            ┌─ the next barrier is a checkpoint ─▶ manifest, commits ─┐
//!   weir stop --savepoint ─┼──────▶ JobControl ┤                                                        ▼
//!   'savepoint.interval' ──┘                   └──────────────────────────────── a thread writes the folder
//! ```
//!
//! # Invariants
//! 1. A savepoint of a running job is a checkpoint of its chain: its sinks have committed it, and a crash goes on from there or
//!    from later. What happens to the savepoint afterwards changes nothing for the job.
//! 2. Writing one never stops the job: files of the checkpoint are kept until it is done, and it is done on a thread of its own.
//! 3. Everybody who asked gets an answer, also when the job fails.

mod command;
mod control;
mod create;
mod query;
mod socket;

pub use command::{JobCommandDone, run_job_command, wait_for_end};
pub(crate) use control::Around;
pub use control::{JobControl, SavepointOrder, StopOrder};
pub(crate) use create::{Target, write_of};
pub use create::{checkpoint_state, savepoint_of_checkpoint, savepoints_in};
pub use query::StateQuery;
pub(crate) use query::{is_state_table, state_source};
pub use socket::{ControlClient, ControlServer, StatusReport};

/// The folder of a job's savepoints, unless the user names another.
pub const SAVEPOINTS: &str = "savepoints";
