//! Takes rows and forgets them: for benchmarks, and for queries whose metrics alone matter.

use weir_types::{ChangeBatch, CheckpointId, WorkerId};

use crate::error::Result;
use crate::registry::ConnectorInfo;
use crate::sink::{Sink, SinkCommitter, SinkWriter, Visibility};

/// The connector's description.
pub(crate) const INFO: ConnectorInfo = ConnectorInfo {
    name: "blackhole",
    help: "takes rows, counts them in the job's summary and keeps nothing",
    source: false,
    sink: true,
    formatted: false,
    options: &[],
    metadata: &[],
    guarantee: "Nothing is kept.",
};

/// Forgets rows; the engine counts them.
pub(crate) struct BlackholeSink;

impl Sink for BlackholeSink {
    fn visibility(&self) -> Visibility {
        Visibility::Epoch
    }

    fn accepts_retractions(&self) -> bool {
        true
    }

    fn writer(&self, _worker: WorkerId) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(DiscardingWriter))
    }

    fn committer(&self) -> Result<Box<dyn SinkCommitter>> {
        Ok(Box::new(NothingToCommit))
    }
}

/// The writer of sinks that keep nothing of what they are given.
pub struct DiscardingWriter;

impl SinkWriter for DiscardingWriter {
    fn write(&mut self, _changes: &ChangeBatch) -> Result<()> {
        Ok(())
    }

    fn end_epoch(&mut self) -> Result<()> {
        Ok(())
    }

    fn prepare(&mut self, _checkpoint: CheckpointId) -> Result<Option<serde_json::Value>> {
        Ok(None)
    }
}

/// The committer of sinks that keep nothing that could be published or withdrawn.
pub struct NothingToCommit;

impl SinkCommitter for NothingToCommit {
    fn commit(&mut self, _checkpoint: CheckpointId, _prepared: &[serde_json::Value]) -> Result<()> {
        Ok(())
    }

    fn rollback_to(&mut self, _checkpoint: Option<CheckpointId>) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn holds_output(&self) -> Result<bool> {
        Ok(false)
    }

    fn remove_output(&mut self) -> Result<()> {
        Ok(())
    }
}
