//! Runs what was typed, and shows the answer.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use weir_engine::{
    Answer, Error, JobState, JobStatus, QueryStream, Session, SessionOptions, StopOrder,
};

use weir_planner::lexemes::lexemes;

use super::helper::Names;
use super::{is_capable, live, meta};
use crate::analyze;
use crate::arguments::Format;
use crate::exit::{Code, Failure};
use crate::print::{Cut, is_closed_pipe, print_rows};
use crate::query_file::QueryFile;
use crate::text::{bytes, counted, elapsed, grouped};

/// Between two looks whether somebody pressed Ctrl-C.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What comes after a text that was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    GoOn,
    Leave,
    /// Something failed, and was told.
    Failed(Code),
}

/// A session with how its answers are shown.
pub(super) struct Shell {
    pub(super) session: Session,
    pub(super) format: Format,
    pub(super) changelog: bool,
    pub(super) timing: bool,
    /// At a terminal, with somebody who reads.
    pub(super) interactive: bool,
    /// Ctrl-C was pressed.
    interrupted: Arc<AtomicBool>,
    /// Jobs whose end was told.
    told: Vec<String>,
    /// How many declarations the names were taken from.
    names_of: Option<usize>,
    /// How deep \source is in itself.
    pub(super) depth: usize,
}

impl Shell {
    pub(super) fn new(
        session: SessionOptions,
        format: Format,
        changelog: bool,
        interactive: bool,
    ) -> Result<Self, Failure> {
        let interrupted = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted.clone())
            .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
        Ok(Self {
            session: Session::with_options(session),
            format,
            changelog,
            timing: false,
            interactive,
            interrupted,
            told: Vec::new(),
            names_of: None,
            depth: 0,
        })
    }

    /// Runs commands and statements. `line_before`: how many lines of a script stand in front.
    pub(super) fn run(&mut self, text: &str, line_before: usize) -> After {
        if text.trim_start().starts_with('\\') {
            return meta::run(self, text.trim());
        }
        // Places in messages are those of the script.
        let padded = "\n".repeat(line_before) + text;
        self.statements(&padded, "input")
    }

    /// Runs the statements of a text, up to the first that fails.
    pub(super) fn statements(&mut self, text: &str, shown: &str) -> After {
        for range in Session::statements(text) {
            let started = Instant::now();
            let file = QueryFile::of_text(shown, text);
            self.interrupted.store(false, Ordering::Relaxed);
            if let Some(query) = analyzed(&text[range.clone()]) {
                let from = range.start + query;
                if let Err(failure) = self.analyze(&file, text, from..range.end) {
                    return After::Failed(failure.tell());
                }
                continue;
            }
            let done = match self.session.execute_one(text, range) {
                Ok(done) => done,
                Err(error) => return self.failed(&file, &error),
            };
            file.warn(&done.warnings);
            match self.show(done.answer) {
                Ok(After::GoOn) => {}
                Ok(other) => return other,
                Err(error) => return self.failed(&file, &error),
            }
            if self.timing {
                println!("time: {}", elapsed(started.elapsed()));
            }
        }
        After::GoOn
    }

    /// EXPLAIN ANALYZE: the query at this place of the text is run, and nothing is written.
    fn analyze(
        &mut self,
        file: &QueryFile,
        text: &str,
        query: std::ops::Range<usize>,
    ) -> Result<(), Failure> {
        let engine = |error: Error| Failure::engine(file, &error);
        // What stands in front becomes blanks: places in messages stay those of the text.
        let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
        let before: String = text[..query.start].chars().map(blank).collect();
        let planned = self
            .session
            .plan(&(before + &text[query]))
            .map_err(engine)?;
        file.warn(&planned.warnings);
        let plan = analyze::without_sinks(&planned.plan);
        if !self.session.is_bounded(&plan) {
            if !self.interactive {
                analyze::refuse_endless(&plan)?;
            }
            eprintln!("(Ctrl-C ends the query and shows what it did)");
        }
        let options = self.session.job_options(&plan, "query").map_err(engine)?;
        let analysis = analyze::run("query", text, plan.clone(), options, &|_| {
            self.take_interrupt()
        })
        .map_err(engine)?;
        print!("{}", analysis.text(&plan));
        Ok(())
    }

    fn failed(&self, file: &QueryFile, error: &Error) -> After {
        let _ = std::io::stdout().flush();
        After::Failed(Failure::engine(file, error).tell())
    }

    /// A mistake in a command.
    pub(super) fn mistake(&self, message: &str) -> After {
        After::Failed(Failure::usage(message).tell())
    }

    fn show(&mut self, answer: Answer) -> Result<After, Error> {
        match answer {
            Answer::Done(what) if self.interactive => println!("{what}: done"),
            Answer::Done(_) => {}
            Answer::Text(text) => println!("{text}"),
            Answer::Started(name) => {
                if self.interactive {
                    println!(
                        "job {name} runs in the background; SHOW JOBS lists it, STOP JOB {name} stops it"
                    );
                }
            }
            Answer::Jobs(jobs) => print!("{}", jobs_table(&jobs)),
            Answer::Saved(savepoint) => {
                println!("savepoint written: {}", savepoint.folder.display())
            }
            Answer::Rows(rows) => return self.rows(*rows),
        }
        Ok(After::GoOn)
    }

    /// Shows a query: live where it changes and somebody looks, else printed.
    fn rows(&mut self, rows: QueryStream) -> Result<After, Error> {
        let live = self.interactive
            && is_capable()
            && rows.is_updating()
            && !rows.is_bounded()
            && !self.changelog
            && self.format == Format::Table;
        if live {
            return live::show(rows).map(|()| After::GoOn);
        }
        self.print(rows)
    }

    fn print(&mut self, rows: QueryStream) -> Result<After, Error> {
        if self.interactive && !rows.is_bounded() {
            eprintln!("(Ctrl-C ends the query)");
        }
        match print_rows(rows, self.format, self.changelog, || self.take_interrupt()) {
            Ok(()) => Ok(After::GoOn),
            Err(Cut::Query(error)) => Err(error),
            Err(Cut::Form(why)) => Err(Error::Job(why)),
            // Nobody reads any more: there is nobody to talk to.
            Err(Cut::Output(error)) if is_closed_pipe(&error) => Ok(After::Leave),
            Err(Cut::Output(error)) => {
                Err(Error::Job(format!("cannot print the results: {error}")))
            }
        }
    }

    /// Whether Ctrl-C was pressed since the last look.
    pub(super) fn take_interrupt(&self) -> bool {
        self.interrupted.swap(false, Ordering::Relaxed)
    }

    /// Waits a while; false if Ctrl-C was pressed.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if self.take_interrupt() {
                return false;
            }
            std::thread::park_timeout(
                LOOK_INTERVAL.min(until.saturating_duration_since(Instant::now())),
            );
        }
        true
    }

    /// Says which jobs have ended since the last look.
    pub(super) fn tell_about_jobs(&mut self) {
        for job in self.session.jobs() {
            if job.state == JobState::Running {
                self.told.retain(|name| *name != job.name);
            } else if !self.told.contains(&job.name) {
                self.told.push(job.name.clone());
                match &job.state {
                    JobState::Failed(why) => eprintln!("job {} failed: {why}", job.name),
                    state => eprintln!("job {} has {}", job.name, state.word()),
                }
            }
        }
    }

    /// Gives completion the names that there are now.
    pub(super) fn fill_names(&mut self, names: &mut Names) {
        let declarations = self.session.declarations().count();
        names.jobs = self
            .session
            .jobs()
            .into_iter()
            .map(|job| job.name)
            .collect();
        if self.names_of == Some(declarations) {
            return;
        }
        self.names_of = Some(declarations);
        if declarations > 0 {
            names.relations = self.session.relations();
        }
        if names.functions.is_empty() {
            let planned = self.session.plan("SHOW FUNCTIONS");
            let text = planned
                .map(|planned| planned.explains.join("\n"))
                .unwrap_or_default();
            names.functions = text.lines().map(str::to_owned).collect();
        }
    }

    /// Stops the jobs, each with a last checkpoint.
    pub(super) fn leave(&mut self) {
        for job in self.session.jobs() {
            if job.state != JobState::Running {
                continue;
            }
            eprintln!("stopping job {} with a checkpoint", job.name);
            if let Err(error) = self.session.stop(&job.name, StopOrder::default()) {
                eprintln!("job {}: {error}", job.name);
            }
        }
    }

    /// The end of a script: its jobs go on to their ends; Ctrl-C stops them with a checkpoint.
    pub(super) fn wait_for_jobs(&mut self) -> Result<Code, Failure> {
        self.interrupted.store(false, Ordering::Relaxed);
        while self
            .session
            .jobs()
            .iter()
            .any(|job| job.state == JobState::Running)
        {
            if !self.pause(LOOK_INTERVAL) {
                self.leave();
            }
        }
        for job in self.session.jobs() {
            if let JobState::Failed(why) = &job.state {
                return Err(Failure::failed(format!("job {} failed: {why}", job.name)));
            }
        }
        Ok(Code::Done)
    }

    /// The text of a file, for \source.
    pub(super) fn read(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(Path::new(path))
            .map_err(|error| format!("cannot read {path}: {error}"))
    }
}

/// Where the query of an EXPLAIN ANALYZE begins in its statement.
fn analyzed(statement: &str) -> Option<usize> {
    let pieces = lexemes(statement);
    let mut spoken = pieces.iter().filter(|piece| !piece.is_silent());
    let is_one = spoken.next()?.is(statement, "EXPLAIN") && spoken.next()?.is(statement, "ANALYZE");
    is_one.then_some(spoken.next()?.range.start)
}

/// Jobs below each other.
pub(super) fn jobs_table(jobs: &[JobStatus]) -> String {
    if jobs.is_empty() {
        return "no job was started here; INSERT INTO starts one\n".to_owned();
    }
    let header = ["job", "state", "in", "out", "checkpoint", "folder"].map(str::to_owned);
    let mut rows = vec![header.to_vec()];
    for job in jobs {
        rows.push(vec![
            job.name.clone(),
            job.state.word().to_owned(),
            grouped(job.progress.rows_in),
            grouped(job.progress.rows_out),
            job.progress
                .last_checkpoint
                .map_or_else(|| "-".to_owned(), |last| last.to_string()),
            job.folder
                .as_ref()
                .map_or_else(|| "-".to_owned(), |folder| folder.display().to_string()),
        ]);
    }
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(at, cell)| {
                let pad = " ".repeat(widths[at] - cell.chars().count());
                if at == 2 || at == 3 {
                    pad + cell
                } else {
                    cell.clone() + &pad
                }
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    let memory: u64 = jobs.iter().map(|job| job.progress.state.memory_bytes).sum();
    if memory > 0 {
        text.push_str(&format!(
            "({}, {} of state in memory)\n",
            counted(jobs.len() as u64, "job", "jobs"),
            bytes(memory)
        ));
    }
    text
}
