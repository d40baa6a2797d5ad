//! The command line as people and scripts meet it: one test binary, one module for each thing that is promised.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on is a failed test"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "real processes are watched by the real clock"
)]

mod documentation;
mod exit_codes;
mod face;
mod help;
mod json;
mod life;
mod pipes;
mod results;
mod weir;
