//! Where the tests let the engine die or fail: a place by its name.

use weir_types::failpoint;

use crate::{Error, Result};

/// A failure point of the tests: its error is one of the world, which may pass.
pub(crate) fn pass(name: &'static str) -> Result<()> {
    failpoint::pass(name).map_err(|source| {
        Error::Connector(weir_connectors::Error::Io {
            context: name.to_owned(),
            source,
        })
    })
}
