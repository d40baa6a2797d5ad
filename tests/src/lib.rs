//! What the end-to-end tests are made of: running jobs, comparing results, tables of test data.
//!
//! ```text
//!   data (random rows) ──▶ files ──▶ job (the engine, in this process)  ──▶ changes ──▶ fold ─┐
//!                     │        └──▶ process (the binary, to be killed)  ──▶ files ────▶ fold ─┼─▶ compare
//!                     └──▶ batch engine (in `it/batch`)  ─────────────────────────────▶ rows ────┘
//! ```
//!
//! The tests themselves are in `it/`, one module a suite; scripts of SQL in `slt/`.
//!
//! # Invariants
//! 1. Whatever is random comes from a seed that a failure prints ([`suite`]).
//! 2. The oracle shares no code with the engine: late rows and windows are computed anew ([`data`], and `it/oracle`).
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test code: it watches real processes and may panic"
)]

pub mod checkpoint_bench;
pub mod data;
pub mod job;
pub mod latency_bench;
pub mod machine_bench;
pub mod process;
pub mod python;
pub mod s3;
pub mod suite;
pub mod value;
