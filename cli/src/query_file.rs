//! A query file: its text, the name it goes by, and its plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use weir_engine::{ConnectorCatalog, Session, create_table_from, resolve_files};
use weir_planner::Planned;
use weir_types::{Diagnostic, Diagnostics};

use crate::exit::Failure;
use crate::variables;

/// A file that was read.
pub(crate) struct QueryFile {
    /// As the user typed it: so it stands in messages.
    pub(crate) shown: String,
    /// Canonical: by it the state folder knows whose it is.
    pub(crate) path: PathBuf,
    /// The text, with its variables filled in.
    pub(crate) sql: String,
    /// The text as it stands in the file.
    pub(crate) source: String,
}

impl QueryFile {
    /// Reads it whole; variables come from the environment, or are their defaults.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        Self::read_with(path, &[])
    }

    /// Reads it whole. Variables of `set` win over the environment's.
    pub(crate) fn read_with(path: &Path, set: &[(String, String)]) -> Result<Self, Failure> {
        let mut file = Self::read_source(path)?;
        let value_of = |name: &str| {
            let given = set.iter().rev().find(|(key, _)| key == name);
            given
                .map(|(_, value)| value.clone())
                .or_else(|| std::env::var(name).ok())
        };
        file.sql = variables::fill(&file.source, &value_of)
            .map_err(|problems| Failure::sql(&file, &problems))?;
        Ok(file)
    }

    /// Fills its variables in: those that are given, then the environment's.
    pub(crate) fn fill_in(&mut self, given: &BTreeMap<String, String>) -> Result<(), Diagnostics> {
        let value_of = |name: &str| match given.get(name) {
            Some(value) => Some(value.clone()),
            // What opens the server is for no query to read.
            None if name.starts_with("WEIR_TOKEN") => None,
            None => std::env::var(name).ok(),
        };
        self.sql = variables::fill(&self.source, &value_of)?;
        Ok(())
    }

    /// Reads it whole, with its variables as they stand there.
    pub(crate) fn read_source(path: &Path) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| {
            let help = if is_statement(&shown) {
                "\n  help: this takes a file; `weir query 'SELECT …'` and `weir explain 'SELECT …'` take a statement"
            } else {
                ""
            };
            Failure::usage(format!("cannot read {shown}: {error}{help}"))
        })?;
        let sql = String::from_utf8(bytes).map_err(|error| {
            Failure::usage(format!(
                "{shown} is not UTF-8 text (byte {})",
                error.utf8_error().valid_up_to()
            ))
        })?;
        let path = path
            .canonicalize()
            .map_err(|error| Failure::usage(format!("cannot find {shown}: {error}")))?;
        // Editors on some systems put a mark in front, which is no SQL.
        let sql = sql
            .strip_prefix('\u{feff}')
            .map(str::to_owned)
            .unwrap_or(sql);
        Ok(Self {
            shown,
            path,
            source: sql.clone(),
            sql,
        })
    }

    /// A text that stands in no file.
    pub(crate) fn of_text(shown: &str, sql: &str) -> Self {
        Self {
            shown: shown.to_owned(),
            path: PathBuf::from(shown),
            sql: sql.to_owned(),
            source: sql.to_owned(),
        }
    }

    /// The name of the job unless `SET 'job.name'` gives one.
    pub(crate) fn stem(&self) -> String {
        self.path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_else(|| "job".to_owned())
    }

    /// Plans it with the connectors of the engine.
    pub(crate) fn plan(&self) -> Result<Planned, Failure> {
        self.diagnose()
            .map_err(|errors| Failure::sql(self, &errors))
    }

    /// Plans it; what is wrong is given as it is.
    pub(crate) fn diagnose(&self) -> Result<Planned, Diagnostics> {
        self.plan_at(Path::new("."))
    }

    /// The same, for a job whose relative paths start in another folder.
    pub(crate) fn plan_at(&self, base: &Path) -> Result<Planned, Diagnostics> {
        let (text, shift) = self.with_files(base)?;
        weir_planner::plan(&text, &ConnectorCatalog)
            .map_err(|errors| Diagnostics(moved(errors.0, shift)))
            .map(|planned| Planned {
                warnings: moved(planned.warnings, shift),
                ..planned
            })
    }

    /// The text with declarations of the files that stand in it as tables, and how many characters they take: they are in front,
    /// in the first line, so that lines stay.
    fn with_files(&self, base: &Path) -> Result<(String, u32), Diagnostics> {
        let mut text = self.sql.clone();
        for range in Session::statements(&self.sql).into_iter().rev() {
            if let Some(ddl) = create_table_from(&self.sql, range.clone(), base)? {
                let lines = "\n".repeat(self.sql[range.clone()].matches('\n').count());
                let end = if self.sql[range.clone()].ends_with(';') {
                    ";"
                } else {
                    ""
                };
                text.replace_range(range, &format!("{}{end}{lines}", in_one_line(&ddl)));
            }
        }
        let resolved = resolve_files(&text, base)?;
        let declarations: String = resolved
            .declarations
            .iter()
            .map(|(_, ddl)| format!("{}; ", in_one_line(ddl)))
            .collect();
        let shift = declarations.chars().count() as u32;
        Ok((declarations + &resolved.text, shift))
    }

    /// Prints warnings to standard error.
    pub(crate) fn warn(&self, warnings: &[weir_types::Diagnostic]) {
        if !warnings.is_empty() {
            eprintln!(
                "{}",
                Diagnostics(warnings.to_vec()).render(&self.shown, &self.sql)
            );
        }
    }
}

/// Whether a text is a query and not the name of a file.
pub(crate) fn is_statement(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    words.next().is_some()
        && ["SELECT", "WITH", "VALUES", "INSERT", "CREATE"]
            .iter()
            .any(|word| first.eq_ignore_ascii_case(word))
}

/// A CREATE TABLE that was made, without its line breaks: it holds no comment, and no text with one.
fn in_one_line(ddl: &str) -> String {
    let words: Vec<&str> = ddl.lines().map(str::trim).collect();
    words.join(" ")
}

/// Places of the first line, without what was put in front.
fn moved(found: Vec<Diagnostic>, shift: u32) -> Vec<Diagnostic> {
    let mut found = found;
    let labels = found
        .iter_mut()
        .flat_map(|diagnostic| &mut diagnostic.labels);
    for label in labels {
        for place in [&mut label.span.start, &mut label.span.end] {
            if place.line == 1 {
                place.column = place.column.saturating_sub(shift).max(1);
            }
        }
    }
    found
}
