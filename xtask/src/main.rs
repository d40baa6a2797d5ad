//! Chores of this repository, written in Rust: the whole check, the demo, benchmarks.
//!
//! ```text
//!   check = format ─ house rules ─ crate edges ─ build ─ tests ─ suites ─ doc tests ─ clippy ─ docs
//! ```
//!
//! # Invariants
//! 1. Every cargo call is `--release` and sees the whole workspace (`cargo.rs`): one profile, one set of features.
//! 2. Steps go on after a failure; the last line is `N passed, N failed`, and the exit code follows from it.

mod cargo;
mod check;
mod edges;
mod house;
mod licences;
mod links;
mod record;
mod report;
mod suites;
mod tests;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the Weir repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// The whole check: what CI and `make test` run.
    Check,
    /// Builds the binary and runs queries/flights.sql.
    Demo,
    /// Builds the binary.
    Build,
    /// The end-to-end suites alone, or those named.
    Suites {
        /// Names of suites; none means all.
        names: Vec<String>,
        /// Seconds for each suite instead of those of the table.
        #[arg(long)]
        seconds: Option<u64>,
    },
    /// Prints rows per second and peak memory of the standard queries.
    Bench {
        /// Handed on to the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Everything that needs no compiler: formatting, house rules, crates. Takes a second.
    Rules,
    /// Crate edges, licences, one version of each shared crate.
    Edges,
    /// Types the session of the README into a terminal and draws it: docs/session.svg (WEIR_BIN names the binary, else it is built).
    Record,
    /// Runs the snapshot tests and accepts what they give; read the diff.
    UpdateSnapshots,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.chore {
        Chore::Check => check::run(),
        Chore::Demo => check::demo(),
        Chore::Build => cargo::build_binary().map(|path| {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }),
        Chore::Suites { names, seconds } => check::suites(&names, seconds),
        Chore::Bench { arguments } => check::bench(&arguments),
        Chore::Rules => check::rules(),
        Chore::Edges => check::edges(),
        Chore::Record => match std::env::var_os("WEIR_BIN") {
            Some(path) => record::record(path.as_ref(), cargo::root()),
            None => cargo::build_binary().and_then(|path| record::record(&path, cargo::root())),
        },
        Chore::UpdateSnapshots => check::update_snapshots(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
