//! The writer: brings frozen entries into the database, links its files, and has what is new uploaded.
//!
//! Two threads for each worker: one writes and links, the other uploads (`upload.rs`), so that a slow storage keeps no
//! gate closed. In a simulation, and with synchronous checkpoints, the same steps run on the calling thread.
//!
//! ```text
//!   write chunk by chunk ─▶ flush ─▶ hard links ─▶ gate opens ──▶ upload new files ─▶ sync ─▶ WorkerSnapshot
//!   ───────────────── writer thread ──────────────────────────    ───────── uploading thread ─────────────────
//! ```
//!
//! How many snapshots may be under way is bounded by [`Room`]: a freeze that finds none fails its checkpoint, and waits
//! for nobody.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;
use weir_types::{CheckpointId, KeyGroupRange, WorkerId};

use super::freeze::Frozen;
use super::gate::{Gate, OpensGate};
use super::upload::Uploader;
use super::{CheckpointStore, Compression, FileForm, TableFigures, WorkerSnapshot};
use crate::backend::{LinkedFile, StateBackend};
use crate::error::pass;
use crate::{Error, Result};

/// How snapshots are taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotOptions {
    /// Every snapshot has all its files to itself, instead of sharing those that an earlier one uploaded.
    pub full: bool,
    /// How uploaded files are packed.
    pub compression: Option<Compression>,
    /// Snapshots that may be under way beside the first one.
    pub concurrent_more: usize,
}

/// A snapshot to be written.
pub(crate) struct SnapshotJob {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) store: Arc<CheckpointStore>,
    pub(crate) frozen: Vec<Frozen>,
    pub(crate) frozen_micros: u64,
    /// By table: its freeze is noted, the rest is to be filled in.
    pub(crate) figures: Vec<TableFigures>,
    pub(crate) reply: oneshot::Sender<Result<WorkerSnapshot>>,
    /// Given back when the snapshot is over.
    pub(crate) room: Room,
}

/// A place among the snapshots under way.
pub(crate) struct Room(Arc<AtomicUsize>);

impl Room {
    /// Takes one, if fewer than `limit` are taken.
    pub(crate) fn take(taken: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        // Only the worker's own thread takes; others give back.
        if taken.load(Ordering::Acquire) >= limit {
            return None;
        }
        taken.fetch_add(1, Ordering::AcqRel);
        Some(Self(taken.clone()))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
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

pub(super) fn stopped() -> Error {
    Error::io("writing a snapshot", "the state's writer has stopped")
}

/// Writes and links: on the writer thread, or on the caller's in a simulation.
pub(crate) struct Linker {
    pub(crate) worker: WorkerId,
    pub(crate) range: KeyGroupRange,
    /// Where links are made.
    pub(crate) scratch: PathBuf,
    pub(crate) backend: Arc<dyn StateBackend>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) stop: Arc<AtomicBool>,
    /// Memory of the entries that are written at once.
    pub(crate) batch_bytes: usize,
}

/// A snapshot whose files are linked and not uploaded yet.
struct Linked {
    checkpoint: CheckpointId,
    store: Arc<CheckpointStore>,
    folder: PathBuf,
    links: Vec<LinkedFile>,
    /// All of it but the files.
    snapshot: WorkerSnapshot,
    reply: oneshot::Sender<Result<WorkerSnapshot>>,
    room: Room,
}

impl Linker {
    /// Writes and links; whatever happens, the gate is open afterwards. A failure is told at once.
    fn run(&mut self, job: SnapshotJob) -> Option<Linked> {
        let SnapshotJob {
            checkpoint,
            store,
            mut frozen,
            frozen_micros,
            mut figures,
            reply,
            room,
        } = job;
        let start = Instant::now();
        let folder = self.scratch.join(format!("links-{}", checkpoint.0));
        let linked = (|| {
            let gate = self.gate.clone();
            let _opens = OpensGate(&gate);
            let entries = self.write(&mut frozen, &mut figures)?;
            drop(frozen);
            let links = self.link(&folder)?;
            self.backend.tidy(checkpoint.0)?;
            for (table, figures) in figures.iter_mut().enumerate() {
                (figures.entries_total, figures.bytes_total) = self.backend.size(table);
            }
            Ok((entries, links))
        })();
        match linked {
            Ok((entries, links)) => Some(Linked {
                checkpoint,
                store,
                folder,
                links,
                snapshot: WorkerSnapshot {
                    worker: self.worker,
                    range: self.range,
                    form: FileForm::Database,
                    files: Vec::new(),
                    frozen_micros,
                    write_micros: start.elapsed().as_micros() as u64,
                    bytes_new: 0,
                    entries,
                    tables: figures,
                },
                reply,
                room,
            }),
            Err(error) => {
                drop(room);
                // Nobody may be waiting any more: the attempt was given up.
                drop(reply.send(Err(error)));
                None
            }
        }
    }

    fn write(&self, frozen: &mut [Frozen], figures: &mut [TableFigures]) -> Result<u64> {
        pass("state.write.before")?;
        let mut groups = Vec::new();
        let mut entries = 0;
        for table in frozen {
            let start = Instant::now();
            groups.clear();
            groups.resize(usize::from(self.range.end), 0u64);
            let figures = &mut figures[table.table()];
            let (mut first, mut gathered) = (0, 0);
            for number in 0..table.chunks.len() {
                if self.stop.load(Ordering::Relaxed) {
                    return Err(stopped());
                }
                let (written, memory) = table.count(number, &mut groups);
                entries += written;
                figures.entries += written;
                gathered += memory;
                let last = number + 1 == table.chunks.len();
                if last || gathered >= self.batch_bytes {
                    let batch = table.batch(first..number + 1);
                    figures.bytes += self.backend.write_frozen(&batch)?;
                    (first, gathered) = (number + 1, 0);
                    table.finish(number + 1);
                    self.gate.note_progress();
                    pass("state.write.between")?;
                }
            }
            figures.note_groups(&groups);
            figures.write_micros += start.elapsed().as_micros() as u64;
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
}

impl TableFigures {
    /// Takes note of the key group that has most of the entries; slices of one table come one by one.
    fn note_groups(&mut self, groups: &[u64]) {
        let touched = groups.iter().filter(|&&entries| entries > 0).count();
        self.groups = self.groups.max(touched as u16);
        if let Some((group, &entries)) = groups
            .iter()
            .enumerate()
            .max_by_key(|(_, entries)| **entries)
            && entries > self.hottest_entries
        {
            (self.hottest_group, self.hottest_entries) = (group as u16, entries);
        }
    }
}

impl Linked {
    /// Uploads, and tells whoever waits.
    fn finish(self, uploader: &mut Uploader) {
        let uploaded = uploader.upload(self.checkpoint, &self.store, &self.links, &self.folder);
        // The links are no longer needed; a failed removal costs space until the next start.
        drop(std::fs::remove_dir_all(&self.folder));
        let result = uploaded.map(|(files, bytes_new)| WorkerSnapshot {
            files,
            bytes_new,
            ..self.snapshot
        });
        drop(self.room);
        // Nobody may be waiting any more: the attempt was given up.
        drop(self.reply.send(result));
    }
}

/// All steps on the calling thread.
pub(crate) fn run_inline(linker: &mut Linker, uploader: &mut Uploader, job: SnapshotJob) {
    if let Some(linked) = linker.run(job) {
        linked.finish(uploader);
    }
}

/// The threads that do it.
pub(crate) struct Writer {
    /// Never holds more than [`Room`] lets in.
    inbox: Option<Sender<SnapshotJob>>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    pub(crate) fn start(mut linker: Linker, mut uploader: Uploader) -> Result<Self> {
        let (inbox, jobs) = channel::<SnapshotJob>();
        // Bounded by the same room.
        let (outbox, linked) = channel::<Linked>();
        let (stop, worker) = (linker.stop.clone(), linker.worker);
        let failed = |error| Error::io("starting the state's writer threads", error);
        let writes = std::thread::Builder::new()
            .name(format!("weir-state-{worker}"))
            .spawn(move || {
                for job in jobs {
                    if let Some(linked) = linker.run(job)
                        && outbox.send(linked).is_err()
                    {
                        // The uploading thread panicked: whoever waits finds the reply closed.
                        return;
                    }
                }
            })
            .map_err(failed)?;
        let uploads = std::thread::Builder::new()
            .name(format!("weir-upload-{worker}"))
            .spawn(move || {
                for linked in linked {
                    linked.finish(&mut uploader);
                }
            })
            .map_err(failed)?;
        Ok(Self {
            inbox: Some(inbox),
            threads: vec![writes, uploads],
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
    /// Stops within a file or a batch of writes, and waits for the threads.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.inbox = None;
        for thread in self.threads.drain(..) {
            // A panic of the writer was reported to whoever waits for the snapshot.
            drop(thread.join());
        }
    }
}
