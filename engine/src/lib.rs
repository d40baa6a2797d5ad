//! Runs a `StreamPlan`: workers, exchange, operators, epochs, checkpoints, jobs.
//!
//! ```text
//!   JobHandle ─▶ supervisor ─▶ coordinator: epochs, checkpoints, the end          job/, coordinator/
//!                   │
//!                   └─▶ workers 0..P, one thread each:                            worker/
//!                         source ▶ [fused operators] ▶ exchange ▶ [fused operators] ▶ sink
//!                         source/                      exchange.rs                operators/, expr/
//! ```
//!
//! To read it: `job/start.rs` (how a job comes to be), `worker/mod.rs` (how rows move), `source/mod.rs` (where they come
//! from), `coordinator/mod.rs` (when an epoch ends and what a checkpoint is), `job/restore.rs` (what a crash leaves).
//!
//! # Invariants
//! 1. What leaves the job is the exact answer over a prefix of every input: epochs end at one place of each split.
//! 2. A crash changes nothing: state, positions, watermarks and sinks go back to one checkpoint together.
//! 3. The same input gives the same answer at any parallelism, with any batch cuts and epoch lengths.

mod beside;
mod catalog;
mod clock;
mod column_bytes;
mod coordinator;
mod declaration;
mod error;
mod evolution;
mod exchange;
pub mod expr;
mod failpoint;
mod job;
mod metrics;
pub mod operators;
mod options;
mod progress;
mod savepoint;
mod session;
mod simulate;
mod source;
pub mod statistics;
mod sync;
mod topology;
mod views;
mod worker;

pub use catalog::ConnectorCatalog;
pub use declaration::declaration;
pub use error::{Error, Result, RowError};
pub use evolution::{
    Accept, Accepted, Again, Before, Evolution, EvolutionOptions, ReplayOrder, ReplayWatch,
    Replayed, SourceToRead, TrialOutput, check_edit, copy_for_trial, foreseen, on_trial, past_of,
    replay, sources_to_replay, with_what_is_below,
};
pub use job::{JobEvent, JobHandle, JobListener, JobObserver, give_to, owner_of, storage_settings};
pub use metrics::{JobMetrics, OperatorMetrics};
pub use operators::{AggregateFunction, GroupState, Row, Value};
pub use options::{CheckpointOptions, JobOptions, RestartOptions, RestartStrategy};
pub use progress::{JobSummary, Outcome, OutputEvent, OutputHandler, Progress};
pub use savepoint::{
    ControlClient, ControlServer, JobCommandDone, JobControl, SAVEPOINTS, SavepointOrder,
    StateQuery, StatusReport, StopOrder, checkpoint_state, run_job_command,
    savepoint_of_checkpoint, savepoints_in, wait_for_end,
};
pub use session::{
    Answer, ChannelReceiver, ChannelSender, Executed, JobState, JobStatus, Next, ProgramSink,
    ProgramSource, ProgramTables, QueryStream, Resolved, Session, SessionOptions, TableSpec,
    create_table_from, resolve_files,
};
pub use views::{ViewInfo, ViewRows, view_rows, view_rows_where, views_of};
