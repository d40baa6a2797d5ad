//! What stands where a materialized view's sink would be: it writes nothing, because the operator's state is the result.

use weir_connectors::{Sink, SinkCommitter, SinkWriter, Visibility};
use weir_types::{ChangeBatch, CheckpointId, WorkerId};

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
        Ok(Box::new(Nothing))
    }

    fn committer(&self) -> weir_connectors::Result<Box<dyn SinkCommitter>> {
        Ok(Box::new(Nothing))
    }
}

struct Nothing;

impl SinkWriter for Nothing {
    fn write(&mut self, _: &ChangeBatch) -> weir_connectors::Result<()> {
        Ok(())
    }

    fn end_epoch(&mut self) -> weir_connectors::Result<()> {
        Ok(())
    }

    fn prepare(&mut self, _: CheckpointId) -> weir_connectors::Result<Option<serde_json::Value>> {
        Ok(None)
    }
}

impl SinkCommitter for Nothing {
    fn commit(&mut self, _: CheckpointId, _: &[serde_json::Value]) -> weir_connectors::Result<()> {
        Ok(())
    }

    /// A restore brings the state of its checkpoint, and with it the rows.
    fn rollback_to(&mut self, _: Option<CheckpointId>) -> weir_connectors::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn holds_output(&self) -> weir_connectors::Result<bool> {
        Ok(false)
    }

    fn remove_output(&mut self) -> weir_connectors::Result<()> {
        Ok(())
    }
}
