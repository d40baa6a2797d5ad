//! What stands where a materialized view's sink would be: it writes nothing, because the operator's state is the result.

use weir_connectors::{
    DiscardingWriter, NothingToCommit, Sink, SinkCommitter, SinkWriter, Visibility,
};
use weir_types::WorkerId;

/// The sink of a materialized view.
pub(crate) struct ViewSink;

impl Sink for ViewSink {
    fn visibility(&self) -> Visibility {
        Visibility::Epoch
    }

    fn accepts_retractions(&self) -> bool {
        true
    }

    fn wants_snapshot(&self) -> bool {
        true
    }

    fn writer(&self, _: WorkerId) -> weir_connectors::Result<Box<dyn SinkWriter>> {
        Ok(Box::new(DiscardingWriter))
    }

    fn committer(&self) -> weir_connectors::Result<Box<dyn SinkCommitter>> {
        // A restore brings the state of its checkpoint, and with it the rows.
        Ok(Box::new(NothingToCommit))
    }
}
