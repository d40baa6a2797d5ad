//! A query file: its text, the name it goes by, and its plan.

use std::path::{Path, PathBuf};

use weir_engine::ConnectorCatalog;
use weir_planner::Planned;
use weir_types::Diagnostics;

use crate::exit::Failure;

/// A file that was read.
pub(crate) struct QueryFile {
    /// As the user typed it: so it stands in messages.
    pub(crate) shown: String,
    /// Canonical: by it the state folder knows whose it is.
    pub(crate) path: PathBuf,
    /// The text, before variables are filled in.
    pub(crate) sql: String,
}

impl QueryFile {
    /// Reads it whole.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let bytes = std::fs::read(path)
            .map_err(|error| Failure::usage(format!("cannot read {shown}: {error}")))?;
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
        Ok(Self { shown, path, sql })
    }

    /// A text that stands in no file.
    pub(crate) fn of_text(shown: &str, sql: &str) -> Self {
        Self {
            shown: shown.to_owned(),
            path: PathBuf::from(shown),
            sql: sql.to_owned(),
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
        weir_planner::plan(&self.sql, &ConnectorCatalog)
            .map_err(|errors| Failure::sql(self, &errors))
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
