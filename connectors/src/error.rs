//! What can go wrong at the edge, sorted by what the user must do.
//!
//! A [`Diagnostic`] points at the SQL; a [`RecordError`] points at the data; [`Error::Io`] is the world;
//! [`Error::Inconsistent`] says that what a checkpoint relied on is not there any more.

use std::fmt;

use weir_types::Diagnostic;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a source or a sink stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user can fix it in the SQL: an option, a path.
    #[error("{0}")]
    Diagnostic(Box<Diagnostic>),
    /// A malformed record: what, which file, line and column.
    #[error("{0}")]
    Record(Box<RecordError>),
    /// The world failed; a retry may help.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the path.
        context: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What was there at the first start has changed or is missing, or a commit cannot be finished.
    #[error("{0}")]
    Inconsistent(String),
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Diagnostic(Box::new(diagnostic))
    }
}

/// Adds to an I/O error what was being done.
pub(crate) trait IoContext<T> {
    /// The context is made only when there is an error.
    fn context<S: Into<String>>(self, context: impl FnOnce() -> S) -> Result<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn context<S: Into<String>>(self, context: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|source| Error::Io {
            context: context().into(),
            source,
        })
    }
}

/// Place and reason of a malformed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The table that was being read.
    pub table: String,
    /// File (or `stdin`, `socket`).
    pub origin: String,
    /// Line within the file, from 1 (of the decompressed text).
    pub line: u64,
    /// Byte column within that line, from 1, where it is known.
    pub column: Option<u64>,
    /// Byte offset of the record in the origin (decompressed).
    pub offset: u64,
    /// What is wrong, with the name of the table's column where there is one.
    pub reason: String,
    /// The raw record (cut to [`RecordError::RECORD_BYTES_MAX`]) for a dead-letter table.
    pub record: Vec<u8>,
}

impl RecordError {
    /// A record in an error is cut to this many bytes.
    pub const RECORD_BYTES_MAX: usize = 4096;
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "malformed record of table {} at {}:{}",
            self.table, self.origin, self.line
        )?;
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for RecordError {}
