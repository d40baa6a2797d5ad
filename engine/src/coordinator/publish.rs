//! Making a checkpoint durable: manifest, then the sinks' commits, then the retention of older ones.
//!
//! It runs on a thread of its own, so that epochs go on while files are synced; the simulation runs it in place.
//!
//! # Invariants
//! 1. No sink commits before the manifest is durable.
//! 2. Checkpoints are published in order: there is one thread, and it has one order at a time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use weir_connectors::SinkCommitter;
use weir_state::{CheckpointStore, Manifest};
use weir_types::{CheckpointId, OperatorId};

use super::checkpoint::Parts;
use super::{Event, EventSender};
use crate::failpoint::pass;
use crate::{Error, Result};

/// What came of publishing.
#[derive(Debug)]
pub(crate) enum Published {
    /// Manifest and commits are durable.
    Done(CheckpointId),
    /// The manifest was not written: nothing happened.
    NotWritten(CheckpointId, String),
    /// The manifest is there, a commit failed: the next start finishes it.
    CommitFailed(Error),
}

/// What is to be published.
pub(crate) struct Order {
    pub(crate) manifest: Manifest,
    pub(crate) parts: Parts,
    /// Files of this and newer attempts are no garbage.
    pub(crate) oldest_in_flight: CheckpointId,
}

/// Publishes one checkpoint after another.
pub(crate) struct Publisher {
    store: Arc<CheckpointStore>,
    committers: Vec<(OperatorId, Box<dyn SinkCommitter>)>,
    retain: usize,
    /// Manifests whose writing failed: a storage may have kept one all the same. What their sinks prepared is in the next
    /// manifest, so they have to be gone before that is there.
    doubtful: Vec<CheckpointId>,
    runtime: tokio::runtime::Runtime,
}

impl Publisher {
    pub(crate) fn new(
        store: Arc<CheckpointStore>,
        committers: Vec<(OperatorId, Box<dyn SinkCommitter>)>,
        retain: usize,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| Error::Job(format!("cannot start the publisher: {error}")))?;
        Ok(Self {
            store,
            committers,
            retain,
            doubtful: Vec::new(),
            runtime,
        })
    }

    fn publish(&mut self, order: &Order) -> Published {
        let checkpoint = order.manifest.checkpoint;
        let ready = self.remove_doubtful();
        let written = ready.and_then(|()| {
            self.write(&order.manifest)
                .inspect_err(|_| self.doubtful.push(checkpoint))
        });
        if let Err(error) = written {
            return Published::NotWritten(checkpoint, error.to_string());
        }
        match self.commit(checkpoint, order) {
            Ok(()) => Published::Done(checkpoint),
            Err(error) => Published::CommitFailed(error),
        }
    }

    fn remove_doubtful(&mut self) -> Result<()> {
        while let Some(&doubtful) = self.doubtful.last() {
            self.runtime.block_on(self.store.remove(doubtful))?;
            self.doubtful.pop();
        }
        Ok(())
    }

    fn write(&self, manifest: &Manifest) -> Result<()> {
        pass("engine.manifest.before")?;
        Ok(self.runtime.block_on(self.store.publish(manifest))?)
    }

    fn commit(&mut self, checkpoint: CheckpointId, order: &Order) -> Result<()> {
        pass("engine.manifest.after")?;
        for (operator, committer) in &mut self.committers {
            if let Some(prepared) = order.parts.get(operator) {
                committer.commit(checkpoint, prepared)?;
            }
        }
        pass("engine.commit.after")?;
        // What cannot be deleted now is garbage of the next time; the checkpoint stands.
        let retained = self.store.retain(self.retain, Some(order.oldest_in_flight));
        if let Err(error) = self.runtime.block_on(retained) {
            tracing::warn!(%error, "old checkpoints could not be removed");
        }
        Ok(())
    }
}

/// Where the coordinator sends what is to be published.
pub(crate) enum Publishing {
    /// On the caller's thread (simulation).
    Inline(Box<Publisher>, EventSender),
    /// On a thread of its own.
    Thread(Option<Sender<Order>>, Option<JoinHandle<()>>),
}

impl Publishing {
    pub(crate) fn inline(publisher: Publisher, events: EventSender) -> Self {
        Self::Inline(Box::new(publisher), events)
    }

    pub(crate) fn thread(publisher: Publisher, events: EventSender) -> Result<Self> {
        // The queue never holds more than one order: the ledger publishes one checkpoint at a time.
        let (sender, orders): (Sender<Order>, Receiver<_>) = channel();
        let mut publisher = publisher;
        let handle = std::thread::Builder::new()
            .name("weir-publisher".to_owned())
            .spawn(move || {
                while let Ok(order) = orders.recv() {
                    events.tell(Event::Published(publisher.publish(&order)));
                }
            })
            .map_err(|error| Error::Job(format!("cannot start the publisher: {error}")))?;
        Ok(Self::Thread(Some(sender), Some(handle)))
    }

    /// Publishes; the answer comes as an event.
    pub(crate) fn send(&mut self, order: Order) {
        match self {
            Self::Inline(publisher, events) => {
                let published = publisher.publish(&order);
                events.tell(Event::Published(published));
            }
            Self::Thread(sender, _) => {
                // A closed queue means that the thread panicked; `join` reports that.
                if let Some(sender) = sender {
                    let _ = sender.send(order);
                }
            }
        }
    }
}

impl Drop for Publishing {
    /// Waits for what is being published: no thread outlives its job.
    fn drop(&mut self) {
        if let Self::Thread(sender, handle) = self {
            drop(sender.take());
            if let Some(handle) = handle.take() {
                let _ = handle.join();
            }
        }
    }
}
