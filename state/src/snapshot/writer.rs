//! The writer: brings frozen entries into the database, links its files, and uploads what is new.
//!
//! One thread for each worker, with an inbox of one snapshot: a second freeze waits for the first one's links anyway.
//! In a simulation the same steps run on the calling thread.
//!
//! ```text
//!   write chunk by chunk ─▶ flush ─▶ hard links ─▶ gate opens ─▶ upload new files ─▶ sync ─▶ WorkerSnapshot
//! ```

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;
use weir_types::{CheckpointId, KeyGroupRange, WorkerId};

use super::freeze::Frozen;
use super::gate::{Gate, OpensGate};
use super::place::checksum;
use super::{CheckpointStore, FileEntry, WorkerSnapshot};
use crate::backend::{LinkedFile, StateBackend, Writes};
use crate::error::pass;
use crate::{Error, Result};

/// Bytes of one batch of writes.
const BATCH_BYTES: usize = 1 << 20;

/// A snapshot to be written.
pub(crate) struct SnapshotJob {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) store: Arc<CheckpointStore>,
    pub(crate) frozen: Vec<Frozen>,
    pub(crate) frozen_micros: u64,
    pub(crate) reply: oneshot::Sender<Result<WorkerSnapshot>>,
}

/// A snapshot being written and uploaded in the background.
pub struct PendingSnapshot {
    receiver: oneshot::Receiver<Result<WorkerSnapshot>>,
}

impl PendingSnapshot {
    pub(crate) fn new(receiver: oneshot::Receiver<Result<WorkerSnapshot>>) -> Self {
        Self { receiver }
    }

    /// `None` while it is still being written. Gives its result once.
    pub fn try_result(&mut self) -> Option<Result<WorkerSnapshot>> {
        match self.receiver.try_recv() {
            Ok(result) => Some(result),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(stopped())),
        }
    }

    /// Waits (async) for the end.
    ///
    /// # Errors
    /// What went wrong while it was written; the state itself goes on, and the next checkpoint holds everything.
    pub async fn result(self) -> Result<WorkerSnapshot> {
        self.receiver.await.unwrap_or_else(|_| Err(stopped()))
    }
}

fn stopped() -> Error {
    Error::io("writing a snapshot", "the state's writer has stopped")
}

/// Does the work of a snapshot: on the writer thread, or on the caller's in a simulation.
pub(crate) struct Uploader {
    pub(crate) worker: WorkerId,
    pub(crate) range: KeyGroupRange,
    /// `data/g{generation}/w{worker}`.
    pub(crate) prefix: String,
    /// Where links are made.
    pub(crate) scratch: PathBuf,
    pub(crate) backend: Arc<dyn StateBackend>,
    pub(crate) gate: Arc<Gate>,
    /// Database files whose content is known, by name: names are unique while a database is open, and only then.
    pub(crate) known: HashMap<String, FileEntry>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Uploader {
    /// Runs a job; whatever happens, the gate is open afterwards.
    pub(crate) fn run(&mut self, job: SnapshotJob) {
        let SnapshotJob {
            checkpoint,
            store,
            frozen,
            frozen_micros,
            reply,
        } = job;
        let result = self.snapshot(checkpoint, &store, frozen, frozen_micros);
        // Nobody may be waiting any more: the attempt was given up.
        drop(reply.send(result));
    }

    fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        store: &Arc<CheckpointStore>,
        mut frozen: Vec<Frozen>,
        frozen_micros: u64,
    ) -> Result<WorkerSnapshot> {
        let start = Instant::now();
        let folder = self.scratch.join(format!("links-{}", checkpoint.0));
        let (entries, links) = {
            let gate = self.gate.clone();
            let _opens = OpensGate(&gate);
            let entries = self.write(&mut frozen)?;
            drop(frozen);
            (entries, self.link(&folder)?)
        };
        let write_micros = start.elapsed().as_micros() as u64;
        let uploaded = self.upload(checkpoint, store, &links);
        // The links are no longer needed; a failed removal costs space until the next start.
        drop(std::fs::remove_dir_all(&folder));
        let (files, bytes_new) = uploaded?;
        let (worker, range) = (self.worker, self.range);
        Ok(WorkerSnapshot {
            range,
            files,
            frozen_micros,
            write_micros,
            bytes_new,
            entries,
            ..WorkerSnapshot::empty(worker)
        })
    }

    fn write(&self, frozen: &mut [Frozen]) -> Result<u64> {
        pass("state.write.before")?;
        let mut writes = Writes::default();
        let mut entries = 0;
        for table in frozen {
            for number in 0..table.chunks.len() {
                self.check_stop()?;
                entries += table.put_writes(number, &mut writes);
                let last = number + 1 == table.chunks.len();
                if last || writes.bytes.len() >= BATCH_BYTES {
                    self.backend.write(&writes)?;
                    writes.clear();
                    table.finish(number + 1);
                    self.gate.note_progress();
                    pass("state.write.between")?;
                }
            }
        }
        pass("state.write.after")?;
        Ok(entries)
    }

    fn link(&self, folder: &std::path::Path) -> Result<Vec<LinkedFile>> {
        // Left behind by a failed attempt of the same number, if at all.
        drop(std::fs::remove_dir_all(folder));
        let links = self.backend.link(folder)?;
        pass("state.links.after")?;
        Ok(links)
    }

    /// Uploads the files that no completed checkpoint has.
    fn upload(
        &mut self,
        checkpoint: CheckpointId,
        store: &Arc<CheckpointStore>,
        links: &[LinkedFile],
    ) -> Result<(Vec<FileEntry>, u64)> {
        let (mut files, mut bytes_new, mut folders) = (Vec::new(), 0, BTreeSet::new());
        for link in links {
            self.check_stop()?;
            let entry = match self.known.get(&link.name).filter(|_| link.immutable_name) {
                Some(entry) => entry.clone(),
                None => self.identify(link)?,
            };
            let entry = if store.is_published(&entry.path)? {
                entry
            } else {
                // A file that was restored from another store has a path of that store.
                let path = format!(
                    "{}/{}",
                    self.prefix,
                    content_name(&entry.name, &entry.checksum)
                );
                let entry = FileEntry { path, ..entry };
                store.upload(checkpoint, &link.path, &entry.path)?;
                folders.insert(entry.path.clone());
                bytes_new += entry.size;
                pass("state.upload.between")?;
                entry
            };
            if link.immutable_name {
                self.known.insert(link.name.clone(), entry.clone());
            }
            files.push(entry);
        }
        if let Some(path) = folders.first() {
            // All are in one folder.
            store.sync_uploads(path)?;
        }
        let present: std::collections::HashSet<&str> =
            links.iter().map(|link| link.name.as_str()).collect();
        self.known.retain(|name, _| present.contains(name.as_str()));
        pass("state.upload.after")?;
        Ok((files, bytes_new))
    }

    fn identify(&self, link: &LinkedFile) -> Result<FileEntry> {
        let (size, checksum) = checksum(&link.path)?;
        let path = format!("{}/{}", self.prefix, content_name(&link.name, &checksum));
        Ok(FileEntry {
            path,
            name: link.name.clone(),
            size,
            checksum,
        })
    }

    fn check_stop(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            Err(stopped())
        } else {
            Ok(())
        }
    }
}

/// `000017.sst` of content c becomes `000017-c.sst`: RocksDB gives numbers again after a restart, so the content is
/// part of the name.
fn content_name(name: &str, checksum: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}-{checksum}.{extension}"),
        None => format!("{name}-{checksum}"),
    }
}

/// The thread that does it.
pub(crate) struct Writer {
    /// Bounded by one: the sender waits, which it never has to, because a freeze waits for the links before.
    inbox: Option<SyncSender<SnapshotJob>>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    pub(crate) fn start(mut uploader: Uploader) -> Result<Self> {
        let (inbox, jobs) = sync_channel::<SnapshotJob>(1);
        let stop = uploader.stop.clone();
        let thread = std::thread::Builder::new()
            .name(format!("weir-state-{}", uploader.worker))
            .spawn(move || {
                for job in jobs {
                    uploader.run(job);
                }
            })
            .map_err(|error| Error::io("starting the state's writer thread", error))?;
        Ok(Self {
            inbox: Some(inbox),
            thread: Some(thread),
            stop,
        })
    }

    pub(crate) fn send(&self, job: SnapshotJob) -> Result<()> {
        let inbox = self
            .inbox
            .as_ref()
            .expect("the inbox is there until the writer is dropped");
        inbox.send(job).map_err(|_| stopped())
    }
}

impl Drop for Writer {
    /// Stops within a file or a batch of writes, and waits for the thread.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.inbox = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the writer was reported to whoever waits for the snapshot.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_content() {
        assert_eq!(content_name("000017.sst", "ab"), "000017-ab.sst");
        assert_eq!(content_name("CURRENT", "ab"), "CURRENT-ab");
    }
}
