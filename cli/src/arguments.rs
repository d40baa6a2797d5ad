//! What can be typed after `weir`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::checkpoints::{CheckpointsOptions, DoctorOptions};
use crate::evolution::EvolutionFlags;

/// Streaming SQL: continuous queries over files and streams, with exact results after a crash.
#[derive(Parser)]
#[command(
    name = "weir",
    version,
    after_help = "Exit codes: 0 done, 1 the job failed, 2 usage or SQL, 3 the job's folder \
refuses the start, 130 stopped at once. See docs/cli.md."
)]
pub(crate) struct Arguments {
    /// Without one: the REPL.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Runs a query file: goes on from the job's last checkpoint, takes a last one on Ctrl-C.
    #[command(after_help = "Examples:
  weir run rides.sql
  weir run rides.sql -p 4 --checkpoint-interval 1s
  weir run rides.sql --json 2> summary.json
  weir run rides.sql --otlp-endpoint http://localhost:4318
  weir run rides.sql --stop-after rides=10000 --savepoint before
  weir run rides.sql --from before")]
    Run(Box<RunOptions>),
    /// Runs one SELECT over files and standard input, and keeps nothing.
    Query(Box<crate::query::QueryOptions>),
    /// Statements one after another, at a terminal or from a pipe (also without a command).
    Repl(Box<crate::repl::ReplOptions>),
    /// Shows the plan: operators, their IDs, what flows between them, what each keeps.
    Explain(ExplainOptions),
    /// Plans a query file and reports every mistake and warning, without running it.
    #[command(after_help = "Examples:
  weir check rides.sql
  weir check rides.sql --json | jq '.diagnostics[].message'")]
    Check(CheckOptions),
    /// Makes, lists, inspects, verifies and deletes savepoints.
    #[command(after_help = "Examples:
  weir savepoint create rides --name monday --note 'before the price change'
  weir savepoint list rides
  weir savepoint inspect rides/monday
  weir savepoint verify rides/monday")]
    Savepoint(crate::savepoint::SavepointOptions),
    /// Stops a running job with a last checkpoint.
    #[command(after_help = "Examples:
  weir stop rides
  weir stop rides --savepoint --name tuesday
  weir stop rides --drain")]
    Stop(crate::stop::StopOptions),
    /// SQL over the state of a job, a checkpoint or a savepoint.
    #[command(after_help = "Examples:
  weir state rides 'SELECT * FROM \"totals/aggregate\".\"groups\" LIMIT 10'
  weir state diff rides/monday rides")]
    State(crate::state::StateOptions),
    /// Shows what each checkpoint of a job cost: a table, a chart, or JSON.
    #[command(after_help = "Examples:
  weir checkpoints rides
  weir checkpoints rides --plot
  weir checkpoints rides --json | jq .total_micros")]
    Checkpoints(CheckpointsOptions),
    /// Says from the figures of a job's checkpoints what to look at.
    #[command(after_help = "Examples:
  weir doctor rides
  weir doctor rides --json")]
    Doctor(DoctorOptions),
    /// Formats SQL files: keywords upper case, columns under each other, comments and lines as they are.
    Fmt(crate::fmt::FmtOptions),
    /// Writes rows of a generator to a file: Nexmark events, or columns of your own.
    Generate(crate::generate::GenerateOptions),
    /// Lists the jobs that have their folders here, and which of them run.
    Jobs(crate::jobs::JobsOptions),
    /// Prints what a shell needs to complete commands and flags.
    Completions(crate::shells::CompletionsOptions),
    /// Prints the manual page of weir or of one of its commands.
    Man(crate::shells::ManOptions),
    /// Says what an edited query would do to the state of the one that runs: operator by operator, before anything stops.
    #[command(after_help = "Examples:
  weir diff new.sql --from old.sql
  weir diff rides.sql --from rides
  weir diff rides.sql --from rides/monday --replay all")]
    Diff(DiffOptions),
    /// Goes on with an edited query: judges it, stops the job with a savepoint, starts the new one, and goes back if it does not come up.
    #[command(after_help = "Examples:
  weir upgrade rides rides.sql
  weir upgrade rides rides.sql --yes --accept totals/aggregate")]
    Upgrade(Box<crate::upgrade::UpgradeOptions>),
    /// Keeps jobs in a folder and is asked over HTTP: jobs come back after a restart, and after a crash.
    Serve(crate::serve::ServeOptions),
    /// Hands a query file to a server, as a job.
    Submit(crate::remote::SubmitOptions),
    /// Prints what the process of a server's job says.
    Logs(crate::remote::LogsOptions),
    /// Lets a job of a server go on that was stopped or has failed.
    #[command(after_help = "Examples:
  weir start orders")]
    Start(crate::remote::NamedOptions),
    /// Forgets a job of a server that is not running, with its state and savepoints; what its sinks wrote stays.
    #[command(after_help = "Examples:
  weir stop orders && weir delete orders")]
    Delete(crate::remote::NamedOptions),
    /// The process of one job of a server.
    #[command(hide = true)]
    ServeJob(crate::serve::child::ServeJobOptions),
    /// Tries an edited query on a copy of a job's state: prints what its sinks would get, and touches nothing.
    #[command(after_help = "Examples:
  weir try rides.sql --from rides
  weir try rides.sql --from rides/monday --rows 5")]
    Try(Box<crate::trial::TryOptions>),
}

/// `weir run`.
#[derive(Args)]
pub(crate) struct RunOptions {
    /// The query file.
    pub(crate) file: PathBuf,

    /// Number of workers, each a thread with its share of the keys [default: one for each core].
    #[arg(long, short = 'p', value_name = "N", help_heading = "Job")]
    pub(crate) parallelism: Option<u32>,
    /// Where checkpoints and state live [default: .weir/JOB].
    #[arg(long, value_name = "FOLDER", help_heading = "Job")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Memory for state, for example 64MiB; what does not fit goes to disk [default: 512MiB].
    #[arg(long, value_name = "SIZE", help_heading = "Job")]
    pub(crate) state_memory: Option<String>,
    /// Where state is kept beyond memory.
    #[arg(long, value_name = "BACKEND", help_heading = "Job")]
    pub(crate) state_backend: Option<Backend>,
    /// Time between checkpoints, for example 200ms; exactly-once results show at checkpoints [default: 10s].
    #[arg(long, value_name = "TIME", help_heading = "Job")]
    pub(crate) checkpoint_interval: Option<String>,
    /// Where checkpoints are kept: a folder, file:///folder or memory: [default: in the state folder].
    #[arg(long, value_name = "URL", help_heading = "Job")]
    pub(crate) checkpoint_storage: Option<String>,
    /// When sinks publish: exactly-once at checkpoints, at-least-once at each epoch [default: exactly-once].
    #[arg(long, value_name = "MODE", help_heading = "Job")]
    pub(crate) checkpoint_mode: Option<String>,
    /// Whether a failed job starts again by itself: none, fixed-delay, exponential-delay [default: exponential-delay].
    #[arg(long, value_name = "STRATEGY", help_heading = "Job")]
    pub(crate) restart_strategy: Option<String>,
    /// Time between consistent cuts; updating results change once per cut [default: 10ms].
    #[arg(long, value_name = "TIME", help_heading = "Job")]
    pub(crate) epoch_interval: Option<String>,
    /// Any setting, as `SET 'key' = 'value'` in the file would; NAME=VALUE in upper case fills in `${NAME}`.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value, help_heading = "Job")]
    pub(crate) set: Vec<(String, String)>,

    /// Forgets the job's checkpoints and starts from the beginning.
    #[arg(long, help_heading = "Start and stop")]
    pub(crate) fresh: bool,
    /// With --fresh: removes what this job wrote earlier.
    #[arg(long, requires = "fresh", help_heading = "Start and stop")]
    pub(crate) replace_output: bool,
    /// Starts from this savepoint instead of the job's last checkpoint.
    #[arg(
        long,
        value_name = "FOLDER",
        conflicts_with = "fresh",
        help_heading = "Start and stop"
    )]
    pub(crate) from: Option<PathBuf>,
    /// Stops after exactly so many records of a source (of each, without TABLE).
    #[arg(long, value_name = "[TABLE=]ROWS", value_parser = table_and_rows, help_heading = "Start and stop")]
    pub(crate) stop_after: Vec<(Option<String>, u64)>,
    /// Writes a savepoint at the end.
    #[arg(long, value_name = "FOLDER", help_heading = "Start and stop")]
    pub(crate) savepoint: Option<PathBuf>,

    /// What an edited query may do to the job's state.
    #[command(flatten)]
    pub(crate) evolution: EvolutionFlags,

    /// Who is told of spans and metrics.
    #[command(flatten)]
    pub(crate) telemetry: crate::telemetry::TelemetryOptions,

    /// How the rows of a bare SELECT are printed.
    #[arg(long, value_enum, default_value_t = Format::Table, help_heading = "Results")]
    pub(crate) format: Format,
    /// For programs: rows as JSON (--format json), no progress, and the summary as one line of JSON, the last on standard error.
    #[arg(long, conflicts_with = "format", help_heading = "Results")]
    pub(crate) json: bool,
    /// Prints every change (+I -U +U -D) instead of the final rows.
    #[arg(long, help_heading = "Results")]
    pub(crate) changelog: bool,
    /// No progress on standard error; the summary at the end stays.
    #[arg(long, help_heading = "Results")]
    pub(crate) no_progress: bool,
}

/// `weir explain`.
#[derive(Args)]
#[command(after_help = "Examples:
  weir explain q.sql
  weir explain \"SELECT city, count(*) FROM 'rides.csv' GROUP BY city\" --analyze
  weir explain q.sql --analyze --json | jq '.operators[] | {id, rows_in, busy_micros}'
  weir explain q.sql --analyze --for 10s
  weir explain q.sql --format dot | dot -Tsvg > q.svg")]
pub(crate) struct ExplainOptions {
    /// The query file, or one SELECT.
    pub(crate) file: PathBuf,
    /// The plan as JSON (docs/formats/plan.md) instead of a tree; as --format json.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// How the plan is shown.
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub(crate) format: PlanFormat,

    /// Runs the query, writing nowhere, and shows of each operator rows, batches, time, state and waits; text or JSON.
    #[arg(long)]
    pub(crate) analyze: bool,
    /// Lets the sinks write what they would write in a job.
    #[arg(long, requires = "analyze", help_heading = "With --analyze")]
    pub(crate) write: bool,
    /// Stops after this time: for queries without an end.
    #[arg(
        long = "for",
        value_name = "TIME",
        requires = "analyze",
        help_heading = "With --analyze"
    )]
    pub(crate) for_time: Option<String>,
    /// Stops after exactly so many records of a source (of each, without TABLE).
    #[arg(long, value_name = "[TABLE=]ROWS", value_parser = table_and_rows, requires = "analyze", help_heading = "With --analyze")]
    pub(crate) stop_after: Vec<(Option<String>, u64)>,
    /// Number of workers [default: one for each core].
    #[arg(
        long,
        short = 'p',
        value_name = "N",
        requires = "analyze",
        help_heading = "With --analyze"
    )]
    pub(crate) parallelism: Option<u32>,
    /// Any setting, as `SET 'key' = 'value'` would; NAME=VALUE in upper case fills in `${NAME}`.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) set: Vec<(String, String)>,
}

/// How a plan is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// A tree.
    Text,
    /// As programs read it (docs/formats/plan.md).
    Json,
    /// A drawing for Graphviz.
    Dot,
    /// A drawing for pages.
    Mermaid,
}

/// `weir check`.
#[derive(Args)]
pub(crate) struct CheckOptions {
    /// The query file.
    pub(crate) file: PathBuf,
    /// What was found as JSON: mistakes and warnings with their places, state and its bounds.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weir diff`.
#[derive(Args)]
pub(crate) struct DiffOptions {
    /// The edited query file.
    pub(crate) file: PathBuf,
    /// What it is compared with: a savepoint's folder, JOB/NAME, a checkpoint JOB@N, a JOB (its newest checkpoint), or the query
    /// file as it runs now.
    #[arg(long, value_name = "WHAT")]
    pub(crate) from: String,
    #[command(flatten)]
    pub(crate) evolution: EvolutionFlags,
    /// Where the job's state lives [default: .weir/JOB].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state_dir: Option<PathBuf>,
    /// The report as JSON (docs/formats/report.md).
    #[arg(long)]
    pub(crate) json: bool,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// One Parquet file: of `weir query` alone, where one SELECT has the whole output.
    #[value(skip)]
    Parquet,
}

/// 'state.backend'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// On disk, with a cache in memory.
    Rocksdb,
    /// In memory alone; checkpoints are still written.
    Memory,
}

impl RunOptions {
    /// The same, and what fills in `${NAME}`.
    pub(crate) fn settings_and_variables(&self) -> Vec<(String, String)> {
        let variables = self
            .set
            .iter()
            .filter(|(key, _)| crate::variables::is_variable(key));
        variables.cloned().chain(self.settings()).collect()
    }

    /// How rows are printed.
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }

    /// Whether progress is shown while it runs.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.no_progress && !self.json
    }

    /// The flags that stand for a setting, as `SET` would have them; later ones win.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let mut settings = self.set.clone();
        settings.retain(|(key, _)| !crate::variables::is_variable(key));
        let mut flag = |key: &str, value: Option<String>| {
            settings.extend(value.map(|value| (key.to_owned(), value)));
        };
        flag(
            "parallelism",
            self.parallelism.map(|count| count.to_string()),
        );
        flag(
            "state.dir",
            self.state_dir
                .as_ref()
                .map(|folder| folder.to_string_lossy().into_owned()),
        );
        flag("state.memory", self.state_memory.clone());
        flag(
            "state.backend",
            self.state_backend.map(|backend| backend.name().to_owned()),
        );
        flag("checkpoint.interval", self.checkpoint_interval.clone());
        flag("checkpoint.storage", self.checkpoint_storage.clone());
        flag("checkpoint.mode", self.checkpoint_mode.clone());
        flag("restart.strategy", self.restart_strategy.clone());
        flag("epoch.interval", self.epoch_interval.clone());
        settings
    }
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Self::Rocksdb => "rocksdb",
            Self::Memory => "memory",
        }
    }
}

pub(crate) fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write it as KEY=VALUE, for example --set checkpoint.interval=200ms".to_owned()),
    }
}

fn table_and_rows(text: &str) -> Result<(Option<String>, u64), String> {
    let (table, rows) = match text.split_once('=') {
        Some((table, rows)) => (Some(table.to_owned()), rows),
        None => (None, text),
    };
    let rows = rows.replace('_', "");
    let rows = rows.parse().map_err(|_| {
        "write it as ROWS or TABLE=ROWS, for example --stop-after bids=1000".to_owned()
    })?;
    Ok((table, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_arguments_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn stop_after_takes_a_number_or_a_table_with_one() {
        assert_eq!(table_and_rows("1000"), Ok((None, 1000)));
        assert_eq!(
            table_and_rows("bids=1_000"),
            Ok((Some("bids".to_owned()), 1000))
        );
        assert!(table_and_rows("bids=").is_err());
        assert!(table_and_rows("-1").is_err());
    }

    #[test]
    fn a_flag_is_a_setting_and_wins_over_set() {
        let Some(Command::Run(options)) =
            Arguments::parse_from(["weir", "run", "q.sql", "-p", "4", "--set", "parallelism=2"])
                .command
        else {
            panic!("`run` was parsed as something else");
        };
        assert_eq!(
            options.settings().last(),
            Some(&("parallelism".to_owned(), "4".to_owned()))
        );
        assert!(key_and_value("x").is_err());
    }
}
