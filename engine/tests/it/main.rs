//! The runtime as a whole: jobs from SQL text, run through the public interface, on threads and simulated.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "tests")]

mod clock;
mod cuts;
mod failure;
mod harness;
mod life;
mod simulation;
