//! What can go wrong with state, sorted by what the user must do.

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the state layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The world failed; a retry may help.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, and with which file.
        context: String,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something stored is not what was written: what, where, what to do.
    #[error("{0}")]
    Corrupt(String),
    /// Stored by a version or with a schema that does not fit.
    #[error("{0}")]
    Incompatible(String),
}

impl Error {
    /// An error of the world, with what was being done.
    pub(crate) fn io(
        context: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Io {
            context: context.into(),
            source: source.into(),
        }
    }

    /// A stored row or key whose bytes do not decode.
    pub(crate) fn damaged(what: &str) -> Self {
        Self::Corrupt(format!(
            "stored state is damaged: {what}; restore an older checkpoint, or start again with --fresh"
        ))
    }
}

/// Passes a failure point of the tests.
pub(crate) fn pass(name: &'static str) -> Result<()> {
    weir_types::failpoint::pass(name).map_err(|source| Error::io(name, source))
}
