//! The `weir` command: talks to people, and leaves the work to the crates below.
//!
//! ```text
//!   arguments ─▶ query file ─▶ plan ─▶ job ──▶ printed results   (standard output)
//!                                       └────▶ progress, summary (standard error)
//! ```
//!
//! # Invariants
//! 1. Standard output carries results alone; everything about the run goes to standard error.
//! 2. Every end has its exit code (`exit.rs`, docs/cli.md).
//! 3. Nothing here knows how a query is planned or run: it calls `weir_planner::plan` and `JobHandle`.

mod analyze;
mod arguments;
mod check;
mod checkpoints;
mod defaults;
mod diff;
mod evolution;
mod exit;
mod explain;
mod fmt;
mod generate;
mod graph;
mod inexact;
mod jobs;
mod print;
mod progress;
mod query;
mod query_file;
mod remote;
mod repl;
mod run;
mod savepoint;
mod serve;
mod shells;
mod signals;
mod state;
mod stop;
mod summary;
mod target;
mod telemetry;
mod text;
mod trial;
mod upgrade;
mod variables;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};

/// Many small allocations on many threads: the system's allocator is markedly slower at that. It does not ask for huge
/// pages (a feature of the crate): where memory is written to bit by bit they cost time to clear, and more of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let command = arguments
        .command
        .unwrap_or_else(|| Command::Repl(Box::default()));
    match &command {
        Command::Serve(options) => serve::log::start(options.log_format),
        Command::ServeJob(options) => serve::log::start(options.log_format),
        _ => log_to_stderr(),
    }
    let ended = match command {
        Command::Fmt(options) => fmt::fmt(&options),
        Command::Generate(options) => generate::generate(&options),
        Command::Jobs(options) => jobs::jobs(&options),
        Command::Completions(options) => shells::completions(&options),
        Command::Man(options) => shells::man(&options),
        Command::Query(options) => query::query(&options),
        Command::Repl(options) => repl::repl(&options),
        Command::Run(options) => run::run(&options),
        Command::Explain(options) => explain::explain(&options),
        Command::Check(options) => check::check(&options),
        Command::Savepoint(options) => savepoint::run(&options),
        Command::Stop(options) => stop::stop(&options),
        Command::State(options) => state::run(&options),
        Command::Checkpoints(options) => checkpoints::checkpoints(&options),
        Command::Doctor(options) => checkpoints::doctor(&options),
        Command::Diff(options) => diff::diff(&options),
        Command::Upgrade(options) => upgrade::upgrade(&options),
        Command::Serve(options) => serve::serve(&options),
        Command::ServeJob(options) => serve::child::run(&options),
        Command::Submit(options) => remote::submit(&options),
        Command::Logs(options) => remote::logs(&options),
        Command::Start(options) => remote::start(&options),
        Command::Delete(options) => remote::delete(&options),
        Command::Try(options) => trial::trial(&options),
    };
    match ended {
        Ok(code) => code.into(),
        Err(failure) => failure.report(),
    }
}

/// Logs are off unless asked for: `WEIR_LOG=info`, `WEIR_LOG=weir_engine=debug`.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WEIR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
