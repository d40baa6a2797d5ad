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
mod jobs;
mod program;
mod rows;
mod script;
mod table_rows;
mod views;

#[cfg(test)]
mod function_tests;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use weir_planner::lexemes::{Lexeme, LexemeKind, lexemes, statements};
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_planner::{Catalog, Planned};
use weir_state::Savepoint;
use weir_types::{Column, Diagnostic};

pub use channel::{ChannelReceiver, ChannelSender};
pub use files::{Resolved, create_table_from, resolve_files};
pub use jobs::{JobState, JobStatus};
pub use program::{ProgramSink, ProgramSource, ProgramTables};
pub use rows::{Next, QueryStream};

use crate::declaration::{declaration, declaration_with, name_text};
use crate::{Error, JobOptions, Result, SavepointOrder, StopOrder};
use commands::Command;
use jobs::BackgroundJob;
use program::SessionCatalog;
use script::Script;

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

/// What a table of the program looks like to SQL.
#[derive(Clone, Debug, Default)]
pub struct TableSpec {
    columns: Vec<Column>,
    watermark: Option<(String, String)>,
    primary_key: Vec<String>,
    retractions: bool,
}

impl TableSpec {
    /// A table of these columns.
    pub fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            ..Self::default()
        }
    }

    /// With event time: `watermark("at", "at - INTERVAL '5' SECOND")`.
    #[must_use]
    pub fn watermark(mut self, column: &str, expression: &str) -> Self {
        self.watermark = Some((column.to_owned(), expression.to_owned()));
        self
    }

    /// With a primary key: what it is written by.
    #[must_use]
    pub fn primary_key(mut self, columns: &[&str]) -> Self {
        self.primary_key = columns.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Its rows may be taken back: [`ChannelSender::send_changes`].
    #[must_use]
    pub fn with_retractions(mut self) -> Self {
        self.retractions = true;
        self
    }

    fn declaration(&self, name: &str) -> String {
        let options = [
            ("connector".to_owned(), program::CONNECTOR.to_owned()),
            (program::NAME.to_owned(), name.to_owned()),
        ];
        let mut clauses = Vec::new();
        if let Some((column, expression)) = &self.watermark {
            clauses.push(format!(
                "WATERMARK FOR {} AS {expression}",
                name_text(column)
            ));
        }
        if !self.primary_key.is_empty() {
            let names = self.primary_key.iter().map(|name| name_text(name));
            let names: Vec<String> = names.collect();
            clauses.push(format!("PRIMARY KEY ({}) NOT ENFORCED", names.join(", ")));
        }
        declaration_with(name, &self.columns, &clauses, &options)
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

    // -------------------------------------------------------------------------------------------- tables of the program

    /// Declares a table whose rows the program sends.
    ///
    /// # Errors
    /// If there is a table of that name, or the declaration has a mistake.
    pub fn channel(&mut self, name: &str, spec: TableSpec) -> Result<ChannelSender> {
        let (sender, table) = channel::channel_table(&spec.columns, spec.retractions);
        self.declare_source(name, &spec, table)?;
        Ok(sender)
    }

    /// Declares a table into which queries write and from which the program reads.
    ///
    /// # Errors
    /// As [`Session::channel`].
    pub fn channel_out(&mut self, name: &str, spec: TableSpec) -> Result<ChannelReceiver> {
        let (receiver, out) = channel::channel_out();
        self.declare_sink(name, &spec, out)?;
        Ok(receiver)
    }

    /// Declares a bounded table of these rows, which any number of queries can read.
    ///
    /// # Errors
    /// As [`Session::channel`].
    pub fn rows(
        &mut self,
        name: &str,
        spec: &TableSpec,
        rows: Vec<arrow::array::RecordBatch>,
    ) -> Result<()> {
        self.declare_source(name, spec, Arc::new(table_rows::RowsTable::new(rows)))
    }

    /// Declares a table that a source of the program reads.
    ///
    /// # Errors
    /// As [`Session::channel`].
    pub fn declare_source(
        &mut self,
        name: &str,
        spec: &TableSpec,
        source: Arc<dyn ProgramSource>,
    ) -> Result<()> {
        self.program.add_source(name, source);
        self.declare_program(name, spec)
    }

    /// Declares a table that a sink of the program writes.
    ///
    /// # Errors
    /// As [`Session::channel`].
    pub fn declare_sink(
        &mut self,
        name: &str,
        spec: &TableSpec,
        sink: Arc<dyn ProgramSink>,
    ) -> Result<()> {
        self.program.add_sink(name, sink);
        self.declare_program(name, spec)
    }

    fn declare_program(&mut self, name: &str, spec: &TableSpec) -> Result<()> {
        let ddl = spec.declaration(name);
        let declared = self
            .script(&ddl, 0..ddl.len())
            .and_then(|script| self.plan_script(&script));
        if let Err(error) = declared {
            self.program.remove(name);
            return Err(error);
        }
        self.declarations.push(ddl);
        Ok(())
    }

    /// Registers a scalar function: statements from now on call it like a built-in one. Its code gets a column of each argument,
    /// in the Arrow types of the signature's ([`weir_types::DataType::to_arrow`]), and gives one of as many values.
    ///
    /// A function and its version are one for the whole process; its version goes into plans and fingerprints. An error
    /// that it gives is looked for row by row, and is the row's.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use arrow::array::{ArrayRef, AsArray, Int64Array};
    /// use arrow::datatypes::Int64Type;
    /// use weir_engine::Session;
    /// use weir_planner::ScalarSignature;
    /// use weir_types::DataType;
    ///
    /// let mut session = Session::ephemeral();
    /// let fee = ScalarSignature::new("fee", vec![DataType::Int64], DataType::Int64);
    /// session.register_scalar(fee, |arguments| {
    ///     let prices = arguments[0].as_primitive::<Int64Type>();
    ///     let fees: Int64Array = prices.iter().map(|price| price.map(|price| price / 10)).collect();
    ///     Ok(Arc::new(fees) as ArrayRef)
    /// })?;
    /// let rows = futures::executor::block_on_stream(session.query("SELECT fee(70) AS f")?);
    /// let found = rows.map(|epoch| epoch.map(|epoch| epoch.rows)).next().expect("an epoch")?;
    /// assert_eq!(found.column(0).as_primitive::<Int64Type>().value(0), 7);
    /// # Ok::<(), weir_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// A name that is taken or cannot be called; the same version with other types.
    pub fn register_scalar(
        &mut self,
        function: weir_planner::ScalarSignature,
        code: impl Fn(&[arrow::array::ArrayRef]) -> std::result::Result<arrow::array::ArrayRef, String>
        + Send
        + Sync
        + 'static,
    ) -> Result<()> {
        crate::expr::functions::register(&function, Arc::new(code))?;
        self.program.add_function(function);
        Ok(())
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

    // --------------------------------------------------------------------------------------------------------- planning

    fn script(&self, text: &str, range: Range<usize>) -> Result<Script> {
        Ok(Script::new(self.declarations(), text, range))
    }

    fn plan_script(&self, script: &Script) -> Result<Planned> {
        weir_planner::plan(&script.text, &SessionCatalog(&self.program))
            .map_err(|problems| Error::Plan(script.diagnostics(problems)))
    }

    /// Plans the statement at `range`, files in it declared in front.
    fn prepare(&self, text: &str, range: Range<usize>) -> Result<Prepared> {
        let only = padded(text, range.clone());
        let resolved = resolve_files(&only, &self.options.base).map_err(Error::Plan)?;
        let mut files = Vec::new();
        for (_, ddl) in &resolved.declarations {
            // The same file as before: it has its table already.
            if !self.declarations.contains(ddl) {
                files.push(ddl.clone());
            }
        }
        let start = only.len() - range.len();
        let again = self.view_made_again(&resolved.text[start..]);
        let script_behind = |files: &[String]| {
            // A view whose job has ended may be made again: its job goes on.
            let known = self
                .declarations()
                .filter(|known| {
                    !again
                        .as_ref()
                        .is_some_and(|view| views::declares(known, view))
                })
                .chain(files.iter().map(String::as_str));
            Script::new(known, &resolved.text, start..resolved.text.len())
        };
        let mut script = script_behind(&files);
        let planned = match self.plan_script(&script) {
            Err(Error::Plan(problems)) if problems.0.iter().any(|found| found.code == "P1001") => {
                let views = self.views_elsewhere(&resolved.text[start..])?;
                if views.is_empty() {
                    return Err(Error::Plan(problems));
                }
                files.extend(views);
                script = script_behind(&files);
                self.plan_script(&script)?
            }
            planned => planned?,
        };
        Ok(Prepared {
            first: first_word(&text[range.clone()]),
            statement: resolved.text[start..]
                .trim_end()
                .trim_end_matches(';')
                .to_owned(),
            typed: text[range].to_owned(),
            files,
            script,
            planned,
        })
    }

    fn run(&mut self, prepared: Prepared) -> Result<Executed> {
        let warnings = prepared.script.warnings(prepared.planned.warnings.clone());
        let answer = if prepared.is_query() {
            let mut rows = self.start_query(prepared)?;
            rows.warnings.clear();
            Answer::Rows(Box::new(rows))
        } else if !prepared.planned.plan.operators.is_empty() {
            Answer::Started(self.start_job(prepared)?)
        } else if !prepared.planned.explains.is_empty() {
            Answer::Text(prepared.planned.explains.join("\n").trim_end().to_owned())
        } else {
            let done = prepared.done();
            self.declarations.extend(prepared.files);
            self.declarations.push(prepared.statement);
            Answer::Done(done)
        };
        Ok(Executed { answer, warnings })
    }

    fn start_query(&self, prepared: Prepared) -> Result<QueryStream> {
        let Prepared {
            script, planned, ..
        } = prepared;
        let mut plan = planned.plan;
        self.apply(&mut plan)?;
        let mut options = self
            .job_options(&plan, "query")
            .map_err(|error| script.moved(error))?;
        options.program = self.with_rows_of_views(&plan)?;
        let bounded = self.is_bounded(&plan);
        let warnings = script.warnings(planned.warnings);
        let mut rows = QueryStream::start(script, plan, options, bounded)?;
        rows.warnings = warnings;
        Ok(rows)
    }

    /// Whether every source of a plan ends by itself.
    pub fn is_bounded(&self, plan: &StreamPlan) -> bool {
        plan.operators.iter().all(|operator| match &operator.kind {
            OperatorKind::Source { table, .. } => plan.tables.get(table).is_none_or(|definition| {
                SessionCatalog(&self.program)
                    .source_traits(&definition.options)
                    .bounded
            }),
            _ => true,
        })
    }

    /// The settings that stand above those of the text.
    fn apply(&self, plan: &mut StreamPlan) -> Result<()> {
        for (key, value) in &self.options.settings {
            weir_planner::settings::check(key, value)
                .map_err(|problem| Error::Plan(problem.without_place().into()))?;
            plan.settings.insert(key.clone(), value.clone());
        }
        Ok(())
    }

    fn start_job(&mut self, prepared: Prepared) -> Result<String> {
        let mut plan = prepared.planned.plan.clone();
        views::refuse_reading(&plan).map_err(|error| prepared.script.moved(error))?;
        self.apply(&mut plan)?;
        let named = plan.job_name.clone().or_else(|| jobs::name_of(&plan));
        let name = named.unwrap_or_else(|| "job".to_owned());
        if self
            .jobs
            .iter()
            .any(|job| job.name() == name && job.is_running())
        {
            return Err(Error::Job(format!(
                "[R0013] job `{name}` is running already; stop it first (STOP JOB {name}), or give this one another name: SET \
                 'job.name' = '…'"
            )));
        }
        let options = self
            .job_options(&plan, &name)
            .map_err(|error| prepared.script.moved(error))?;
        let mut made = self.made_by(&prepared)?;
        made.extend(self.views_made_by(&plan, &name));
        let job = BackgroundJob::start(&name, &prepared.script, &prepared.typed, plan, options)?;
        self.jobs.retain(|other| other.name() != name);
        for view in job.views() {
            self.declarations
                .retain(|known| !views::declares(known, &view.name));
        }
        self.jobs.push(job);
        self.declarations.extend(made);
        Ok(name)
    }

    /// The table that CREATE TABLE … AS has made: later statements know it by its columns.
    fn made_by(&self, prepared: &Prepared) -> Result<Vec<String>> {
        if prepared.first != "CREATE" {
            return Ok(Vec::new());
        }
        let Some(name) = jobs::name_of(&prepared.planned.plan) else {
            return Ok(Vec::new());
        };
        let definition = prepared.planned.plan.tables.get(&name);
        let Some(definition) = definition.filter(|table| !table.is_materialized_view()) else {
            return Ok(Vec::new());
        };
        let columns: Vec<Column> = definition
            .columns
            .iter()
            .map(|column| column.column.clone())
            .collect();
        let options: Vec<(String, String)> = definition.options.clone().into_iter().collect();
        Ok(vec![declaration(&name, &columns, &options)])
    }
}

/// A statement that was planned.
struct Prepared {
    /// Its first word, in upper case.
    first: String,
    /// With names of tables where files stood, without its `;`.
    statement: String,
    /// As it was typed.
    typed: String,
    /// Declarations of its files.
    files: Vec<String>,
    script: Script,
    planned: Planned,
}

impl Prepared {
    /// Whether it is a bare SELECT.
    fn is_query(&self) -> bool {
        self.planned
            .plan
            .operators
            .iter()
            .any(|operator| matches!(operator.kind, OperatorKind::Output { .. }))
    }

    /// What a declaration did: its first words.
    fn done(&self) -> String {
        let pieces = lexemes(&self.statement);
        let words: Vec<&str> = pieces
            .iter()
            .filter(|piece| !piece.is_silent())
            .take_while(|piece| piece.text(&self.statement) != "(")
            .take(6)
            .map(|piece| piece.text(&self.statement))
            .collect();
        let end = words
            .iter()
            .position(|word| word.eq_ignore_ascii_case("AS") || word.eq_ignore_ascii_case("WITH"))
            .unwrap_or(words.len());
        words[..end].join(" ")
    }
}

/// The statement with blanks for what stands before it: its places are those of the text.
fn padded(text: &str, range: Range<usize>) -> String {
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    let before: String = text[..range.start].chars().map(blank).collect();
    before + &text[range]
}

fn first_word(statement: &str) -> String {
    lexemes(statement)
        .iter()
        .find(|piece: &&Lexeme| piece.kind == LexemeKind::Word)
        .map(|piece| piece.text(statement).to_ascii_uppercase())
        .unwrap_or_default()
}

fn plain(answer: Answer) -> Executed {
    Executed {
        answer,
        warnings: Vec::new(),
    }
}
