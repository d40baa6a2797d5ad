//! Channels between a program and its queries: batches in, changes out.
//!
//! ```text
//!   program ── ChannelSender::send(batch) ──▶ bounded queue ──▶ source of a job
//!   sink of a job ── an epoch's changes ──▶ bounded queue ──▶ ChannelReceiver::next ── program
//! ```
//!
//! A full queue waits: that is the back pressure, in both directions. What is dropped on one side ends the other: without
//! a sender the table is at its end; without a receiver the job fails and says so.
//!
//! A channel cannot be read again: a job that reads one goes on, after a crash, with what the channel gives then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use arrow::array::RecordBatch;
use weir_connectors::{
    Deal, Dealer, Decoder, HandedRows, NothingToCommit, Position, Sink, SinkCommitter,
    SinkEnvironment, SinkWriter, Source, SplitListing, TableRequest, Visibility,
};
use weir_types::{ChangeBatch, CheckpointId, Column, SplitId, WorkerId};

use super::program::{ProgramSink, ProgramSource};
use crate::sync::lock;
use crate::{Error, Result};

/// So many batches wait in a channel at most.
const BATCHES_MAX: usize = 64;

/// Batches between two threads.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    batches: VecDeque<ChangeBatch>,
    /// Nobody puts anything in any more.
    ended: bool,
    /// Nobody takes anything out any more.
    closed: bool,
}

impl Queue {
    /// Puts a batch in, waiting for room. False: nobody takes it.
    fn put(&self, batch: ChangeBatch) -> bool {
        let mut state = lock(&self.state);
        while state.batches.len() >= BATCHES_MAX && !state.closed {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if state.closed {
            return false;
        }
        state.batches.push_back(batch);
        drop(state);
        self.changed.notify_all();
        true
    }

    fn end(&self) {
        lock(&self.state).ended = true;
        self.changed.notify_all();
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.batches.clear();
        drop(state);
        self.changed.notify_all();
    }
}

// ------------------------------------------------------------------------------------------------------- into a query

/// Sends rows into a table. Clones send into the same; the table ends when the last one is dropped.
#[derive(Clone)]
pub struct ChannelSender {
    shared: Arc<SenderSide>,
    columns: Arc<[Column]>,
}

struct SenderSide(Arc<Queue>);

impl Drop for SenderSide {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl ChannelSender {
    /// Sends rows that are added. Columns are found by name.
    ///
    /// # Errors
    /// If a column is missing, or nobody reads the table any more. Waits while the channel is full.
    pub fn send(&self, rows: RecordBatch) -> Result<()> {
        self.send_changes(ChangeBatch::append_only(rows))
    }

    /// Sends rows that are added or taken back; the table must have been declared with retractions for the latter.
    ///
    /// # Errors
    /// As [`ChannelSender::send`].
    pub fn send_changes(&self, changes: ChangeBatch) -> Result<()> {
        for column in self.columns.iter() {
            let there = changes.rows.column_by_name(column.external()).is_some()
                || changes.rows.column_by_name(&column.name).is_some();
            if !there {
                return Err(Error::Job(format!(
                    "[R0015] the rows have no column `{}`",
                    column.external()
                )));
            }
        }
        if self.shared.0.put(changes) {
            Ok(())
        } else {
            Err(Error::Job(
                "[R0015] nobody reads this channel any more: its job has ended".to_owned(),
            ))
        }
    }
}

/// The table behind a channel.
pub(super) struct ChannelTable {
    queue: Arc<Queue>,
    retractions: bool,
    taken: AtomicBool,
}

/// Both ends of a channel into a query.
pub(super) fn channel_table(
    columns: &[Column],
    retractions: bool,
) -> (ChannelSender, Arc<ChannelTable>) {
    let queue = Arc::new(Queue::default());
    let sender = ChannelSender {
        shared: Arc::new(SenderSide(queue.clone())),
        columns: columns.into(),
    };
    let table = ChannelTable {
        queue,
        retractions,
        taken: AtomicBool::new(false),
    };
    (sender, Arc::new(table))
}

impl ProgramSource for ChannelTable {
    fn open(&self, request: TableRequest) -> weir_connectors::Result<Box<dyn Source>> {
        if self.taken.swap(true, Ordering::SeqCst) {
            return Err(weir_connectors::Error::Inconsistent(format!(
                "[R0015] the channel of table `{}` is being read, or was read, by another query: each has its own rows",
                request.table
            )));
        }
        Ok(Box::new(ChannelSource {
            queue: self.queue.clone(),
            handed: HandedRows::default(),
            request,
        }))
    }

    fn retractions(&self) -> bool {
        self.retractions
    }
}

struct ChannelSource {
    queue: Arc<Queue>,
    handed: HandedRows,
    request: TableRequest,
}

impl Drop for ChannelSource {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Source for ChannelSource {
    fn splits(&self, _: &BTreeMap<SplitId, Position>) -> weir_connectors::Result<SplitListing> {
        Ok(SplitListing::one(self.request.table.clone()))
    }

    fn dealer(
        &self,
        _: &SplitId,
        _: Option<&Position>,
    ) -> weir_connectors::Result<Box<dyn Dealer>> {
        Ok(Box::new(ChannelDealer {
            queue: self.queue.clone(),
            handed: self.handed.clone(),
            origin: self.request.table.as_str().into(),
            rows: 0,
        }))
    }

    fn decoder(&self) -> weir_connectors::Result<Box<dyn Decoder>> {
        Ok(self.handed.decoder(&self.request))
    }

    fn bounded(&self) -> bool {
        false
    }

    fn replayable(&self) -> bool {
        false
    }
}

struct ChannelDealer {
    queue: Arc<Queue>,
    handed: HandedRows,
    origin: Arc<str>,
    /// Rows dealt so far.
    rows: u64,
}

impl Dealer for ChannelDealer {
    fn deal(&mut self, _: usize, max_records: u64) -> weir_connectors::Result<Deal> {
        if max_records == 0 {
            return Ok(Deal::Pending);
        }
        let mut state = lock(&self.queue.state);
        let batch = loop {
            match state.batches.pop_front() {
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => break batch,
                None if state.ended => return Ok(Deal::End),
                None => return Ok(Deal::Pending),
            }
        };
        let most = usize::try_from(max_records).unwrap_or(usize::MAX);
        let batch = if batch.num_rows() > most {
            state
                .batches
                .push_front(batch.slice(most, batch.num_rows() - most));
            batch.slice(0, most)
        } else {
            batch
        };
        drop(state);
        self.queue.changed.notify_all();
        let first = self.rows;
        self.rows += batch.num_rows() as u64;
        Ok(Deal::Chunk(self.handed.hand(&self.origin, first, batch)))
    }

    /// For display: nothing can be read again.
    fn position(&self) -> Position {
        serde_json::json!({ "rows": self.rows })
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (self.rows, None)
    }
}

// --------------------------------------------------------------------------------------------------- out of a query

/// Receives what an INSERT writes into a channel table, epoch by epoch.
pub struct ChannelReceiver(Arc<Queue>);

impl Drop for ChannelReceiver {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Iterator for ChannelReceiver {
    type Item = ChangeBatch;

    /// Waits for the next changes; `None` when the job that writes has ended.
    fn next(&mut self) -> Option<ChangeBatch> {
        let mut state = lock(&self.0.state);
        loop {
            if let Some(batch) = state.batches.pop_front() {
                drop(state);
                self.0.changed.notify_all();
                return Some(batch);
            }
            if state.ended {
                return None;
            }
            state = self
                .0
                .changed
                .wait(state)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

impl ChannelReceiver {
    /// The next changes if some come within this time.
    pub fn next_within(&mut self, patience: Duration) -> Option<ChangeBatch> {
        let state = lock(&self.0.state);
        let (mut state, _) = self
            .0
            .changed
            .wait_timeout_while(state, patience, |state| {
                state.batches.is_empty() && !state.ended
            })
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let batch = state.batches.pop_front();
        drop(state);
        self.0.changed.notify_all();
        batch
    }
}

/// The sink behind a channel.
pub(super) struct ChannelOut {
    queue: Arc<Queue>,
    taken: AtomicBool,
}

/// Both ends of a channel out of a query.
pub(super) fn channel_out() -> (ChannelReceiver, Arc<ChannelOut>) {
    let queue = Arc::new(Queue::default());
    let out = ChannelOut {
        queue: queue.clone(),
        taken: AtomicBool::new(false),
    };
    (ChannelReceiver(queue), Arc::new(out))
}

impl ProgramSink for ChannelOut {
    fn open(
        &self,
        request: TableRequest,
        _: &SinkEnvironment,
    ) -> weir_connectors::Result<Box<dyn Sink>> {
        if self.taken.swap(true, Ordering::SeqCst) {
            return Err(weir_connectors::Error::Inconsistent(format!(
                "[R0015] the channel of table `{}` is, or was, another job's: make one for each",
                request.table
            )));
        }
        Ok(Box::new(ChannelSink {
            queue: self.queue.clone(),
            writers: Arc::new(AtomicUsize::new(0)),
        }))
    }
}

struct ChannelSink {
    queue: Arc<Queue>,
    /// How many write: with the last of them the receiver is told that nothing will come.
    writers: Arc<AtomicUsize>,
}

impl Sink for ChannelSink {
    fn visibility(&self) -> Visibility {
        Visibility::Epoch
    }

    fn accepts_retractions(&self) -> bool {
        true
    }

    fn writer(&self, _: WorkerId) -> weir_connectors::Result<Box<dyn SinkWriter>> {
        self.writers.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(ChannelWriter {
            queue: self.queue.clone(),
            writers: self.writers.clone(),
            epoch: Vec::new(),
        }))
    }

    fn committer(&self) -> weir_connectors::Result<Box<dyn SinkCommitter>> {
        Ok(Box::new(NothingToCommit))
    }
}

/// A job that never came to write has ended too.
impl Drop for ChannelSink {
    fn drop(&mut self) {
        self.queue.end();
    }
}

impl Drop for ChannelWriter {
    fn drop(&mut self) {
        if self.writers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.queue.end();
        }
    }
}

struct ChannelWriter {
    queue: Arc<Queue>,
    writers: Arc<AtomicUsize>,
    epoch: Vec<ChangeBatch>,
}

impl SinkWriter for ChannelWriter {
    fn write(&mut self, changes: &ChangeBatch) -> weir_connectors::Result<()> {
        self.epoch.push(changes.clone());
        Ok(())
    }

    fn end_epoch(&mut self) -> weir_connectors::Result<()> {
        let epoch = std::mem::take(&mut self.epoch);
        if epoch.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(());
        }
        let whole = ChangeBatch::concat(&epoch).map_err(|error| {
            weir_connectors::Error::Inconsistent(format!("changes do not fit together: {error}"))
        })?;
        if self.queue.put(whole) {
            Ok(())
        } else {
            Err(weir_connectors::Error::Inconsistent(
                "[R0015] nobody reads the channel any more: the program dropped its receiver"
                    .to_owned(),
            ))
        }
    }

    fn prepare(&mut self, _: CheckpointId) -> weir_connectors::Result<Option<serde_json::Value>> {
        Ok(None)
    }
}
