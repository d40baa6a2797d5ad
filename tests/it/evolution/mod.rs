//! Edits of running queries, carried out: what a verdict calls exact is compared with a batch engine.
//!
//! | file | cases |
//! |---|---|
//! | `stories.rs` | the pairs in `queries/evolution`: what `weir diff` says, and what `weir run --upgrade` does |
//! | `generated.rs` | random queries, rows, cuts and sequences of edits |
//! | `model.rs` | the 1,000 cases of the model of the contract, with its rows and its results |

mod carry;
mod generated;
mod matrix;
mod model;
mod queries;
mod stories;
