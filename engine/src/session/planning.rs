//! From a statement to what runs: planned behind the session's declarations, started as a query or as a job.

use std::ops::Range;

use weir_planner::lexemes::{Lexeme, LexemeKind, lexemes};
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_planner::{Catalog, Planned};
use weir_types::Column;

use super::jobs::BackgroundJob;
use super::program::SessionCatalog;
use super::script::Script;
use super::{Answer, Executed, QueryStream, Session, jobs, resolve_files, views};
use crate::declaration::declaration;
use crate::{Error, Result};

impl Session {
    pub(super) fn script(&self, text: &str, range: Range<usize>) -> Result<Script> {
        Ok(Script::new(self.declarations(), text, range))
    }

    pub(super) fn plan_script(&self, script: &Script) -> Result<Planned> {
        weir_planner::plan(&script.text, &SessionCatalog(&self.program))
            .map_err(|problems| Error::Plan(script.diagnostics(problems)))
    }

    /// Plans the statement at `range`, files in it declared in front.
    pub(super) fn prepare(&self, text: &str, range: Range<usize>) -> Result<Prepared> {
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

    pub(super) fn run(&mut self, prepared: Prepared) -> Result<Executed> {
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

    pub(super) fn start_query(&self, prepared: Prepared) -> Result<QueryStream> {
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
    pub(super) fn apply(&self, plan: &mut StreamPlan) -> Result<()> {
        for (key, value) in &self.options.settings {
            weir_planner::settings::check(key, value)
                .map_err(|problem| Error::Plan(problem.without_place().into()))?;
            plan.settings.insert(key.clone(), value.clone());
        }
        Ok(())
    }

    pub(super) fn start_job(&mut self, prepared: Prepared) -> Result<String> {
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
    pub(super) fn made_by(&self, prepared: &Prepared) -> Result<Vec<String>> {
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
pub(super) struct Prepared {
    /// Its first word, in upper case.
    first: String,
    /// With names of tables where files stood, without its `;`.
    statement: String,
    /// As it was typed.
    typed: String,
    /// Declarations of its files.
    files: Vec<String>,
    script: Script,
    pub(super) planned: Planned,
}

impl Prepared {
    /// Whether it is a bare SELECT.
    pub(super) fn is_query(&self) -> bool {
        self.planned
            .plan
            .operators
            .iter()
            .any(|operator| matches!(operator.kind, OperatorKind::Output { .. }))
    }

    /// What a declaration did: its first words.
    pub(super) fn done(&self) -> String {
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
pub(super) fn padded(text: &str, range: Range<usize>) -> String {
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
