//! Runs a `StreamPlan`: workers, exchange, operators, epochs, checkpoints, jobs.
//!
//! ```text
//!   Job ── coordinator (epochs, checkpoints, progress)
//!      └── workers 0..P, one thread each:  source ▶ [fused operators] ▶ exchange ▶ [fused operators] ▶ sink
//! ```
// INTERFACE between the runtime (job, worker, exchange, epochs, checkpoints), the operators and the CLI.
mod api;
mod error;
pub mod expr;
pub mod operators;
pub use api::*;
pub use error::{Error, Result};
