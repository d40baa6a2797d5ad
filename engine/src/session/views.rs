//! Materialized views of a session: made by a job of it or of somebody else, read like a table.
//!
//! ```text
//!   CREATE MATERIALIZED VIEW v AS …   a job, and for later statements: CREATE TABLE v (…) WITH ('connector' = 'materialized-view', …)
//!   SELECT … FROM v                   the rows of one epoch ─▶ a bounded table ─▶ a query that ends
//! ```
//!
//! A view that this session has not made is looked for in the folders of jobs, when a statement names a table that is not known.

use std::path::PathBuf;

use weir_planner::lexemes::{LexemeKind, lexemes};
use weir_planner::plan::{MATERIALIZED_VIEW, OperatorKind, StreamPlan, TableDefinition};
use weir_planner::{VIEW_KEY, Wanted, wanted};
use weir_types::{Column, Diagnostic};

use super::Session;
use super::program::{ProgramTables, VIEW};
use super::table_rows::RowsTable;
use crate::declaration::{name_text, quoted, type_text, unquoted};
use crate::views::{ViewInfo, ViewRows, noted, view_of, view_rows_where, views_of};
use crate::{Error, Result};

const JOB: &str = "job";
const FOLDER: &str = "folder";

/// What the session's later statements know a view by.
pub(super) fn declared(view: &ViewInfo, job: &str, folder: Option<&PathBuf>) -> String {
    let columns: Vec<String> = view
        .columns
        .iter()
        .map(|column| {
            let data_type = type_text(&column.data_type, quoted);
            format!("    {} {data_type}", written(column))
        })
        .collect();
    let mut options = vec![
        ("connector", MATERIALIZED_VIEW.to_owned()),
        (VIEW, view.name.clone()),
        (JOB, job.to_owned()),
    ];
    if let Some(key) = &view.unique_key {
        let key: Vec<&str> = key
            .iter()
            .map(|&column| view.columns[column].name.as_str())
            .collect();
        options.push((VIEW_KEY, serde_json::json!(key).to_string()));
    }
    if let Some(folder) = folder {
        options.push((FOLDER, folder.to_string_lossy().into_owned()));
    }
    let options: Vec<String> = options
        .iter()
        .map(|(key, value)| option(key, value))
        .collect();
    format!(
        "CREATE TABLE {} (\n{}\n) WITH (\n    {}\n)",
        quoted(&view.name),
        columns.join(",\n"),
        options.join(",\n    ")
    )
}

/// An option as a declaration writes it.
fn option(key: &str, value: &str) -> String {
    format!("'{key}' = '{}'", value.replace('\'', "''"))
}

/// The column as it is printed, if that folds to its name; else its name in quotes.
fn written(column: &Column) -> String {
    let shown = column.external();
    let folds = shown.to_lowercase() == column.name && name_text(shown) == shown;
    match folds {
        true => shown.to_owned(),
        false => quoted(&column.name),
    }
}

/// The views that a plan reads as tables.
pub(super) fn read_by(plan: &StreamPlan) -> impl Iterator<Item = &TableDefinition> {
    plan.operators.iter().filter_map(|operator| {
        let OperatorKind::Source { table, .. } = &operator.kind else {
            return None;
        };
        let definition = plan.tables.get(table)?;
        definition.is_materialized_view().then_some(definition)
    })
}

/// What a query wants of a view: of several readers with conditions of their own, all.
fn wanted_of(plan: &StreamPlan, view: &TableDefinition) -> Vec<Wanted> {
    let mut sources = plan
        .operators
        .iter()
        .filter_map(|operator| match &operator.kind {
            OperatorKind::Source { table, filter, .. } if *table == view.name => {
                Some(filter.as_ref())
            }
            _ => None,
        });
    match (sources.next(), sources.next()) {
        (Some(filter), None) => wanted(view, filter),
        _ => Vec::new(),
    }
}

/// A job that would read a view of another job is refused: it would see the rows of one epoch and never another.
pub(super) fn refuse_reading(plan: &StreamPlan) -> Result<()> {
    let Some(view) = read_by(plan).next() else {
        return Ok(());
    };
    let reader = plan.operators.iter().find(|operator| {
        matches!(&operator.kind, OperatorKind::Source { table, .. } if *table == view.name)
    });
    let message = format!("`{}` is a view of another job", view.name);
    Err(Error::Plan(
        Diagnostic::error("R0054", message)
            .at(
                reader.map(|reader| reader.span).unwrap_or_default(),
                "a job would get its rows of one moment and no change after it",
            )
            .help("put both statements into one file: what reads the view there goes on with it; or make a plain view, CREATE VIEW, that both jobs compute")
            .into(),
    ))
}

impl Session {
    /// The rows of a materialized view at the newest epoch: of one that a job of this session keeps, or a job below
    /// [`super::SessionOptions::views_root`].
    ///
    /// # Errors
    /// If there is no such view, or it cannot be read.
    pub fn view(&self, name: &str) -> Result<ViewRows> {
        self.view_where(name, &[])
    }

    /// The same of the rows that have wanted values, as [`crate::view_rows_where`] gives them.
    ///
    /// # Errors
    /// As of [`Session::view`].
    pub fn view_where(&self, name: &str, wanted: &[Wanted]) -> Result<ViewRows> {
        if let Some(job) = self.jobs.iter().find(|job| job.keeps(name)) {
            return job.view(name, wanted);
        }
        let root = self.options.views_root.as_ref();
        let found = root.into_iter().flat_map(|root| noted(root));
        let mut found: Vec<_> = found.filter(|(_, _, view)| view.name == name).collect();
        match (found.pop(), found.is_empty()) {
            (Some((folder, job, _)), true) => view_rows_where(&folder, &job, name, wanted),
            (Some((_, job, _)), false) => Err(Error::Job(format!(
                "[R0055] several jobs keep a view `{name}`, `{job}` and `{}` among them: give one of them another name",
                found[0].1
            ))),
            (None, _) => Err(Error::Job(format!(
                "[R0050] there is no materialized view `{name}`; CREATE MATERIALIZED VIEW makes one"
            ))),
        }
    }

    /// The materialized views that the jobs of this session keep.
    pub fn views(&self) -> Vec<ViewInfo> {
        self.jobs
            .iter()
            .flat_map(|job| job.views().to_vec())
            .collect()
    }

    /// The program's tables, and the rows of the views that a plan reads.
    pub(super) fn with_rows_of_views(&self, plan: &StreamPlan) -> Result<ProgramTables> {
        let mut tables = None;
        for view in read_by(plan) {
            let wanted = wanted_of(plan, view);
            let said = |key: &str| view.options.get(key).cloned().unwrap_or_default();
            let name = said(VIEW);
            let found = match view.options.get(FOLDER) {
                Some(folder) => {
                    view_rows_where(&PathBuf::from(folder), &said(JOB), &name, &wanted)?
                }
                None => self.view_where(&name, &wanted)?,
            };
            tables
                .get_or_insert_with(|| self.program.apart())
                .add_view(&name, RowsTable::new(found.rows));
        }
        Ok(tables.unwrap_or_else(|| self.program.clone()))
    }

    /// Declarations of the views of other jobs that a statement names.
    pub(super) fn views_elsewhere(&self, statement: &str) -> Result<Vec<String>> {
        let Some(root) = &self.options.views_root else {
            return Ok(Vec::new());
        };
        let found = noted(root);
        let mut names: Vec<String> = lexemes(statement)
            .iter()
            .filter_map(|piece| match piece.kind {
                LexemeKind::Word => Some(piece.text(statement).to_lowercase()),
                LexemeKind::QuotedName => Some(unquoted(piece.text(statement))),
                _ => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        let mut declarations = Vec::new();
        for name in names {
            let of_name: Vec<_> = found
                .iter()
                .filter(|(_, _, view)| view.name == name)
                .collect();
            match of_name.as_slice() {
                [] => {}
                [(folder, job, view)] => declarations.push(declared(view, job, Some(folder))),
                [(_, one, _), (_, other, _), ..] => {
                    return Err(Error::Job(format!(
                        "[R0055] the jobs `{one}` and `{other}` both keep a view `{name}`: give one of them another name"
                    )));
                }
            }
        }
        Ok(declarations)
    }

    /// What later statements know the views of a plan by.
    pub(super) fn views_made_by(&self, plan: &StreamPlan, job: &str) -> Vec<String> {
        let views = views_of(plan);
        views.iter().map(|view| declared(view, job, None)).collect()
    }

    /// The view that a statement makes, if the session has it already and its job does not run.
    pub(super) fn view_made_again(&self, statement: &str) -> Option<String> {
        let name = name_behind(statement, &["CREATE"], &["IF", "NOT", "EXISTS"])?;
        let job = self.jobs.iter().find(|job| job.keeps(&name));
        (!job.is_some_and(|job| job.is_running())).then_some(name)
    }

    /// DROP MATERIALIZED VIEW: stops its job, and forgets the view and what was kept of it. `None`: no such statement, or another
    /// kind of view.
    pub(super) fn drop_view(&mut self, statement: &str) -> Option<Result<String>> {
        let name = name_behind(statement, &["DROP"], &["IF", "EXISTS"])?;
        let declared = self.declarations.iter().any(|known| declares(known, &name));
        let job = self.jobs.iter().position(|job| job.keeps(&name));
        if !declared && job.is_none() {
            return None;
        }
        if let Some(index) = job {
            if self.jobs[index].views().len() > 1 || self.jobs[index].writes_tables() {
                return Some(Err(Error::Job(format!(
                    "[R0056] job `{}` keeps more than view `{name}`: stop it (STOP JOB), and start it again without the view",
                    self.jobs[index].name()
                ))));
            }
            if let Err(error) = self.jobs[index].remove() {
                return Some(Err(error));
            }
            self.jobs.remove(index);
        }
        self.declarations.retain(|known| !declares(known, &name));
        Some(Ok(format!("DROP MATERIALIZED VIEW {name}")))
    }
}

/// Whether a declaration is the one that [`declared`] wrote of a view.
pub(super) fn declares(declaration: &str, view: &str) -> bool {
    declaration.contains(&option("connector", MATERIALIZED_VIEW))
        && declaration.contains(&option(VIEW, view))
}

/// The name in `FIRST [MATERIALIZED] VIEW [BEFORE] name`.
fn name_behind(statement: &str, first: &[&str], before: &[&str]) -> Option<String> {
    let pieces = lexemes(statement);
    let mut pieces = pieces
        .iter()
        .filter(|piece| !piece.is_silent() && piece.kind != LexemeKind::End)
        .peekable();
    let mut take = |word: &str| pieces.next_if(|piece| piece.is(statement, word)).is_some();
    if !first.iter().all(|word| take(word)) {
        return None;
    }
    take("MATERIALIZED");
    if !take("VIEW") {
        return None;
    }
    if take(before[0]) {
        before[1..].iter().for_each(|word| {
            take(word);
        });
    }
    let name = pieces.next()?;
    match name.kind {
        LexemeKind::Word => Some(name.text(statement).to_lowercase()),
        LexemeKind::QuotedName => Some(unquoted(name.text(statement))),
        _ => None,
    }
}

/// Whether a plan's operators write something else than views.
pub(super) fn writes_tables(plan: &StreamPlan) -> bool {
    plan.operators.iter().any(|operator| {
        matches!(operator.kind, OperatorKind::Sink { .. }) && view_of(plan, operator).is_none()
    })
}
