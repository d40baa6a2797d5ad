//! A session: statements one after another, in one program, over the jobs and tables of the same machinery as `weir run`.
//!
//! ```text
//!   execute(sql) ─┬ CREATE, SET, DROP …  ─▶ kept: every later statement is planned behind them
//!                 ├ SELECT               ─▶ an ephemeral job, read as QueryStream
//!                 ├ INSERT               ─▶ a job in the background, with its folder
//!                 └ SHOW, EXPLAIN, STOP JOB … ─▶ answered at once
//! ```
//!
//! ```
//! use arrow::array::{Int64Array, RecordBatch};
//! use futures::executor::block_on_stream;
//! use std::sync::Arc;
//! use weir_engine::{Session, TableSpec};
//! use weir_types::{Column, DataType};
//!
//! let mut session = Session::ephemeral();
//! let orders = session.channel("orders", TableSpec::new(vec![Column::new("price", DataType::Int64)]))?;
//! let changes = session.query("SELECT sum(price) AS total FROM orders")?;
//! let prices: arrow::array::ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
//! orders.send(RecordBatch::try_from_iter([("price", prices)]).expect("one column"))?;
//! drop(orders); // The table has ended, and with it the query.
//! let last = block_on_stream(changes).last().expect("one row at least")?;
//! assert_eq!(last.rows.num_columns(), 1);
//! # Ok::<(), weir_engine::Error>(())
//! ```
//!
//! # Invariants
//! 1. What a statement means does not depend on how the session came to it: it is planned as one text, its declarations in front.
//! 2. A statement that fails leaves the session as it was.
//! 3. Nothing is opened and no thread is started before a statement needs it.

mod channel;
mod commands;
mod files;
mod functions;
mod jobs;
mod planning;
mod program;
mod rows;
mod script;
mod table_rows;
mod tables;
mod views;

#[cfg(test)]
mod aggregate_tests;
#[cfg(test)]
mod function_tests;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;

use weir_planner::Planned;
use weir_planner::lexemes::statements;
use weir_planner::plan::StreamPlan;
use weir_state::Savepoint;
use weir_types::Diagnostic;

pub use channel::{ChannelReceiver, ChannelSender};
pub use files::{Resolved, create_table_from, resolve_files};
pub use jobs::{JobState, JobStatus};
pub use program::{ProgramSink, ProgramSource, ProgramTables};
pub use rows::{Next, QueryStream};
pub use tables::TableSpec;

use crate::{Error, JobOptions, Result, SavepointOrder, StopOrder};
use commands::Command;
use jobs::BackgroundJob;
use planning::padded;

/// How a session runs what it is given.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Folder that relative paths start from.
    pub base: PathBuf,
    /// Folder of the folders of jobs; `None`: jobs keep nothing, and a crash or the end of the session loses their state.
    pub state_root: Option<PathBuf>,
    /// Folder of the folders of jobs whose materialized views can be read, beside those that this session makes.
    pub views_root: Option<PathBuf>,
    /// Applied to each job after the session's own settings: flags of a command, say.
    pub settings: Vec<(String, String)>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            base: PathBuf::from("."),
            state_root: Some(PathBuf::from(".weir")),
            views_root: Some(PathBuf::from(".weir")),
            settings: Vec::new(),
        }
    }
}

/// What a statement came to.
pub struct Executed {
    /// The answer.
    pub answer: Answer,
    /// What to look at, though it worked.
    pub warnings: Vec<Diagnostic>,
}

/// The answer to a statement.
pub enum Answer {
    /// It was taken: what was done, in a few words.
    Done(String),
    /// Text: what EXPLAIN, SHOW and DESCRIBE say, the DDL of CREATE TABLE … FROM.
    Text(String),
    /// A query, which runs.
    Rows(Box<QueryStream>),
    /// A job was started, by this name.
    Started(String),
    /// What SHOW JOBS says.
    Jobs(Vec<JobStatus>),
    /// A savepoint was written.
    Saved(Box<Savepoint>),
}

/// Statements one after another. See the module's page.
pub struct Session {
    options: SessionOptions,
    /// What every statement is planned behind, in order.
    declarations: Vec<String>,
    program: ProgramTables,
    jobs: Vec<BackgroundJob>,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A session whose jobs keep their state below `.weir` in the current folder.
    pub fn new() -> Self {
        Self::with_options(SessionOptions::default())
    }

    /// A session that leaves nothing on disk but what its queries write.
    pub fn ephemeral() -> Self {
        Self::with_options(SessionOptions {
            state_root: None,
            views_root: None,
            ..SessionOptions::default()
        })
    }

    /// A session with these options.
    pub fn with_options(options: SessionOptions) -> Self {
        Self {
            options,
            declarations: Vec::new(),
            program: ProgramTables::default(),
            jobs: Vec::new(),
        }
    }

    // ------------------------------------------------------------------------------------------------------- statements

    /// The statements of a text, each by its place.
    pub fn statements(text: &str) -> Vec<Range<usize>> {
        statements(text)
            .into_iter()
            .map(|piece| piece.range)
            .collect()
    }

    /// Runs every statement of a text, in order. Queries among them run side by side until they are read.
    ///
    /// # Errors
    /// What is wrong with the first statement that fails; those before it have been done.
    pub fn execute(&mut self, text: &str) -> Result<Vec<Executed>> {
        Self::statements(text)
            .into_iter()
            .map(|range| self.execute_one(text, range))
            .collect()
    }

    /// Runs the statement at one place of a text; places in errors are those of the text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn execute_one(&mut self, text: &str, range: Range<usize>) -> Result<Executed> {
        if let Some(command) = commands::command(&padded(text, range.clone())) {
            let answer = self.command(command.map_err(Error::Plan)?)?;
            return Ok(plain(answer));
        }
        if let Some(ddl) =
            create_table_from(text, range.clone(), &self.options.base).map_err(Error::Plan)?
        {
            let script = self.script(&ddl, 0..ddl.len())?;
            self.plan_script(&script)?;
            self.declarations.push(ddl.clone());
            return Ok(plain(Answer::Text(format!("{ddl};"))));
        }
        if let Some(dropped) = self.drop_view(&text[range.clone()]) {
            return dropped.map(|done| plain(Answer::Done(done)));
        }
        let prepared = self.prepare(text, range)?;
        self.run(prepared)
    }

    /// Runs one SELECT.
    ///
    /// # Errors
    /// If it is no query, or has a mistake.
    pub fn query(&mut self, sql: &str) -> Result<QueryStream> {
        let ranges = Self::statements(sql);
        let [range] = ranges.as_slice() else {
            let message = format!("a query is one statement, and there are {}", ranges.len());
            return Err(Error::Plan(
                Diagnostic::error("R0012", message)
                    .help("`execute` runs several")
                    .into(),
            ));
        };
        let prepared = self.prepare(sql, range.clone())?;
        if !prepared.is_query() {
            return Err(Error::Plan(
                Diagnostic::error("R0012", "this is no query")
                    .help(
                        "a query begins with SELECT, WITH or VALUES; `execute` runs any statement",
                    )
                    .into(),
            ));
        }
        self.start_query(prepared)
    }

    /// Plans one statement behind what the session knows, without running it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn plan(&self, sql: &str) -> Result<Planned> {
        let range = 0..sql.len();
        Ok(self.prepare(sql, range)?.planned)
    }

    /// What the session knows: CREATE, SET and DROP statements, in order.
    pub fn declarations(&self) -> impl Iterator<Item = &str> {
        self.declarations.iter().map(String::as_str)
    }

    /// The tables and views that the session knows, with their columns.
    pub fn relations(&self) -> Vec<(String, Vec<String>)> {
        let lines = |sql: &str| -> Vec<String> {
            let planned = self.plan(sql).map(|planned| planned.explains.join("\n"));
            planned
                .unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect()
        };
        let mut names = lines("SHOW TABLES");
        names.extend(lines("SHOW VIEWS"));
        names
            .into_iter()
            .map(|name| {
                let described = lines(&format!("DESCRIBE \"{}\"", name.replace('"', "\"\"")));
                // Name and type stand two blanks apart.
                let column = |line: &String| line.split("  ").next().map(str::to_owned);
                let columns = described.iter().filter_map(column).collect();
                (name, columns)
            })
            .collect()
    }

    /// How a job of this plan is run: the session's settings, its folder, its tables.
    ///
    /// # Errors
    /// A setting whose value cannot be used.
    pub fn job_options(&self, plan: &StreamPlan, job: &str) -> Result<JobOptions> {
        let mut options = JobOptions::resolve(plan, job)?;
        options.base.clone_from(&self.options.base);
        options.program = self.program.clone();
        // Opening a database takes longer than most queries that keep nothing.
        if options.state_dir.is_none()
            && plan
                .operators
                .iter()
                .all(|operator| operator.state.is_empty())
        {
            options.backend = weir_state::BackendKind::Memory;
        }
        if !plan.settings.contains_key("state.dir") && options.state_dir.is_some() {
            options.state_dir = self.options.state_root.as_ref().map(|root| root.join(job));
        }
        Ok(options)
    }

    // ------------------------------------------------------------------------------------------------------------- jobs

    /// The jobs that were started here, in order.
    pub fn jobs(&self) -> Vec<JobStatus> {
        self.jobs.iter().map(BackgroundJob::status).collect()
    }

    /// What every operator of a job has done since it was started here: rows, watermarks, state.
    ///
    /// # Errors
    /// If there is no such job.
    pub fn metrics(&self, job: &str) -> Result<crate::JobMetrics> {
        match self.jobs.iter().find(|other| other.name() == job) {
            Some(found) => Ok(found.metrics()),
            None => Err(self.no_such_job(job)),
        }
    }

    /// Writes a savepoint of a running job, and waits for it.
    ///
    /// # Errors
    /// If there is no such job, it does not run, or the savepoint cannot be written.
    pub fn savepoint(&self, job: &str, order: SavepointOrder) -> Result<Savepoint> {
        self.running(job)?.savepoint(order)
    }

    /// Stops a job with a last checkpoint, or as it is ordered, and waits until it has ended.
    ///
    /// # Errors
    /// If there is no such job, it does not run, or its savepoint cannot be written.
    pub fn stop(&mut self, job: &str, order: StopOrder) -> Result<Option<Savepoint>> {
        self.running(job)?;
        match self.jobs.iter_mut().find(|other| other.name() == job) {
            Some(job) => job.stop(order),
            None => Err(self.no_such_job(job)),
        }
    }

    /// Waits until a job has ended by itself.
    ///
    /// # Errors
    /// If there is no such job, or it failed.
    pub fn wait(&mut self, job: &str) -> Result<JobStatus> {
        let Some(found) = self.jobs.iter_mut().find(|other| other.name() == job) else {
            return Err(self.no_such_job(job));
        };
        found.join();
        let status = found.status();
        match &status.state {
            JobState::Failed(why) => Err(Error::Job(format!("job `{job}` failed: {why}"))),
            _ => Ok(status),
        }
    }

    fn running(&self, job: &str) -> Result<&BackgroundJob> {
        let found = self.jobs.iter().find(|other| other.name() == job);
        match found {
            Some(found) if found.is_running() => Ok(found),
            Some(found) => Err(Error::Job(format!(
                "[R0013] job `{job}` does not run: it has {}",
                found.status().state.word()
            ))),
            None => Err(self.no_such_job(job)),
        }
    }

    fn no_such_job(&self, job: &str) -> Error {
        let names: Vec<&str> = self.jobs.iter().map(BackgroundJob::name).collect();
        let known = if names.is_empty() {
            "INSERT INTO starts one".to_owned()
        } else {
            format!("there are {}", names.join(", "))
        };
        Error::Job(format!("[R0013] this session has no job `{job}`; {known}"))
    }

    fn command(&mut self, command: Command) -> Result<Answer> {
        Ok(match command {
            Command::ShowJobs => Answer::Jobs(self.jobs()),
            Command::Savepoint { job, order } => {
                Answer::Saved(Box::new(self.savepoint(&job, order)?))
            }
            Command::Stop { job, order } => match self.stop(&job, order)? {
                Some(savepoint) => Answer::Saved(Box::new(savepoint)),
                None => Answer::Done(format!("job {job} has stopped")),
            },
        })
    }
}

fn plain(answer: Answer) -> Executed {
    Executed {
        answer,
        warnings: Vec::new(),
    }
}
