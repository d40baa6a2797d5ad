//! Why a job stopped.

use weir_types::{Diagnostics, OperatorId, Span};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a job stopped, sorted by what the user must do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user can fix it in the SQL or the options.
    #[error("{0}")]
    Plan(Diagnostics),
    /// An expression failed on a row.
    #[error("{0}")]
    Row(Box<RowError>),
    /// A source or a sink.
    #[error(transparent)]
    Connector(#[from] weir_connectors::Error),
    /// State or a checkpoint.
    #[error(transparent)]
    State(#[from] weir_state::Error),
    /// A checkpoint whose failure the job may not survive: the last one, or one too many in a row.
    #[error("{0}")]
    Checkpoint(String),
    /// The job's folder, its life: locked, another file's, drained, plan changed; the text says what to do.
    #[error("{0}")]
    Job(String),
    /// A panic in a worker: a mistake of ours.
    #[error(
        "operator {operator} panicked: {message}; this is a mistake in Weir, and nothing was written after it"
    )]
    Panic {
        /// The operator that ran.
        operator: OperatorId,
        /// The panic's message.
        message: String,
    },
    /// From Arrow's or DataFusion's kernels, where no row is to blame.
    #[error("operator {operator}: {message}")]
    Internal {
        /// The operator that ran.
        operator: OperatorId,
        /// What the kernel said.
        message: String,
    },
}

/// An expression that fails on a row; it is the same every time, so nothing is retried.
#[derive(Clone, Debug)]
pub struct RowError {
    /// The operator that evaluated it.
    pub operator: OperatorId,
    /// The expression's place in the SQL.
    pub span: Span,
    /// What went wrong: `division by zero`, `integer overflow`, `cannot cast 'x' to INT`.
    pub reason: String,
    /// The input row as `column = value` pairs.
    pub row: Vec<(String, String)>,
    /// Split and offset of the record, where the expression runs before the first exchange.
    pub place: Option<(String, u64)>,
}

impl std::fmt::Display for RowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in operator {}", self.reason, self.operator)?;
        if !self.span.is_empty() {
            write!(
                f,
                " at line {}, column {}",
                self.span.start.line, self.span.start.column
            )?;
        }
        if let Some((split, offset)) = &self.place {
            write!(f, ", record at offset {offset} of {split}")?;
        }
        f.write_str("; row: ")?;
        for (i, (column, value)) in self.row.iter().enumerate() {
            write!(f, "{}{column} = {value}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}
