//! The end-to-end tests: one module a suite. `docs/testing.md` says how they are run.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test code: it watches real processes and may panic"
)]

mod batch;
mod big_state;
mod checkpoints;
mod corpus;
mod corrupt;
mod crash;
mod docs;
mod evolution;
mod face;
mod failpoints;
mod flights;
mod late;
mod malformed;
mod nexmark;
mod object_store;
mod oracle;
mod orders;
mod rebuild;
mod resume;
mod savepoints;
mod server;
mod simulation;
mod slt;
