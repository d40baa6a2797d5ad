//! Repartitioning between workers: rows are routed by key group over bounded channels.
//!
//! ```text
//!   worker 0 ─ Outlet ─┬─ Channel 0→0 ─▶ ┐
//!                      └─ Channel 0→1 ─▶ │ Inlets of worker 0 and 1: one channel for each pair,
//!   worker 1 ─ Outlet ─┬─ Channel 1→0 ─▶ │ so that one sender held back by alignment blocks no other
//!                      └─ Channel 1→1 ─▶ ┘
//! ```
//!
//! # Invariants
//! 1. A channel delivers in order: rows sent before a watermark or a barrier are received before it. An outlet
//!    therefore sends what it has gathered before it sends a signal.
//! 2. Sending never blocks a thread. Whoever is about to produce rows asks [`Outlet::has_room`] first; a channel
//!    exceeds its bound by one batch and a few signals at most.
//! 3. A key is always sent to the worker that owns its key group.
//!
//! # Why this cannot deadlock
//! A full channel holds back the *one item* that would write to it, and with it the root (source or inlet) that the
//! item came from, never the worker. The receiving end of an edge stands later in the plan than its sending end, so
//! the last inlet of the plan can always run, which makes room for the one before it, and so on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, UInt32Array};
use tokio::sync::Notify;
use weir_types::{ChangeBatch, KeyGroup, Watermark, hash};

use crate::column_bytes::column_bytes;
use crate::sync::lock;

/// A full channel holds at least this many bytes …
const CHANNEL_BYTES_MAX: usize = 4 << 20;
/// … or at least this many messages.
const CHANNEL_MESSAGES_MAX: usize = 16;

/// What travels on a channel, in order.
#[derive(Debug)]
pub(crate) enum Message {
    /// Rows.
    Batch(ChangeBatch),
    /// Rows still to come are at or after it. Ends idleness.
    Watermark(Watermark),
    /// The sender does not hold the watermark back for now.
    Idle,
    /// The end of an epoch.
    Barrier,
}

/// One direction between two workers for one edge of the plan.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    queue: Mutex<VecDeque<(Message, usize)>>,
    /// Bytes and messages in the queue, readable without its lock.
    bytes: AtomicUsize,
    messages: AtomicUsize,
}

impl Channel {
    fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < CHANNEL_BYTES_MAX
            && self.messages.load(Ordering::Relaxed) < CHANNEL_MESSAGES_MAX
    }

    fn push(&self, message: Message) {
        let bytes = match &message {
            Message::Batch(batch) => batch_bytes(batch),
            _ => 0,
        };
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
        lock(&self.queue).push_back((message, bytes));
    }

    /// The oldest message.
    pub(crate) fn pop(&self) -> Option<Message> {
        if self.messages.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let (message, bytes) = lock(&self.queue).pop_front()?;
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.messages.fetch_sub(1, Ordering::Relaxed);
        Some(message)
    }
}

/// The sending end of one edge on one worker.
pub(crate) struct Outlet {
    /// Key columns of the rows; none: key group 0.
    keys: Vec<usize>,
    key_groups: u16,
    batch_rows: usize,
    targets: Vec<Target>,
}

struct Target {
    channel: Arc<Channel>,
    /// Wakes the receiving worker.
    wake: Arc<Notify>,
    /// Pieces gathered up to the batch size.
    gathered: Vec<ChangeBatch>,
    gathered_rows: usize,
}

impl Outlet {
    /// `targets`: for each worker its channel and its wake-up.
    pub(crate) fn new(
        keys: Vec<usize>,
        key_groups: u16,
        batch_rows: usize,
        targets: Vec<(Arc<Channel>, Arc<Notify>)>,
    ) -> Self {
        let targets = targets
            .into_iter()
            .map(|(channel, wake)| Target {
                channel,
                wake,
                gathered: Vec::new(),
                gathered_rows: 0,
            })
            .collect();
        Self {
            keys,
            key_groups,
            batch_rows,
            targets,
        }
    }

    /// Whether one more batch may be sent to whichever worker it goes.
    pub(crate) fn has_room(&self) -> bool {
        self.targets.iter().all(|target| target.channel.has_room())
    }

    /// Routes the rows of a batch.
    pub(crate) fn send(&mut self, batch: &ChangeBatch) -> Result<(), arrow::error::ArrowError> {
        let workers = self.targets.len() as u32;
        let columns: Vec<ArrayRef> = self
            .keys
            .iter()
            .map(|&column| batch.rows.column(column).clone())
            .collect();
        if columns.is_empty() {
            let owner = KeyGroup(0).worker(workers, self.key_groups).0 as usize;
            return self.gather(owner, batch.clone());
        }
        let hashes = hash::hash_columns(&columns, batch.num_rows());
        let mut rows_of: Vec<Vec<u32>> =
            vec![Vec::with_capacity(batch.num_rows() / workers as usize + 16); workers as usize];
        for (row, &hash) in hashes.iter().enumerate() {
            let owner = hash::key_group(hash, self.key_groups).worker(workers, self.key_groups);
            rows_of[owner.0 as usize].push(row as u32);
        }
        for (worker, rows) in rows_of.into_iter().enumerate() {
            if rows.len() == batch.num_rows() {
                self.gather(worker, batch.clone())?;
            } else if !rows.is_empty() {
                self.gather(worker, batch.take(&UInt32Array::from(rows))?)?;
            }
        }
        Ok(())
    }

    /// Sends all gathered rows, then the signal, to every worker.
    pub(crate) fn signal(
        &mut self,
        signal: impl Fn() -> Message,
    ) -> Result<(), arrow::error::ArrowError> {
        for target in &mut self.targets {
            target.flush()?;
            target.channel.push(signal());
            target.wake.notify_one();
        }
        Ok(())
    }

    fn gather(
        &mut self,
        worker: usize,
        piece: ChangeBatch,
    ) -> Result<(), arrow::error::ArrowError> {
        let target = &mut self.targets[worker];
        // A piece that would overfill the batch closes it first: batches stay near the batch size.
        if target.gathered_rows > 0
            && target.gathered_rows + piece.num_rows() > self.batch_rows + self.batch_rows / 4
        {
            target.flush()?;
        }
        target.gathered_rows += piece.num_rows();
        target.gathered.push(piece);
        if target.gathered_rows >= self.batch_rows {
            target.flush()?;
        }
        Ok(())
    }
}

impl Target {
    fn flush(&mut self) -> Result<(), arrow::error::ArrowError> {
        let batch = match self.gathered.len() {
            0 => return Ok(()),
            1 => self.gathered.remove(0),
            _ => ChangeBatch::concat(&self.gathered)?,
        };
        self.gathered.clear();
        self.gathered_rows = 0;
        self.channel.push(Message::Batch(batch));
        self.wake.notify_one();
        Ok(())
    }
}

/// About how many bytes the rows of a batch take, shared buffers counted by what the rows use of them.
fn batch_bytes(batch: &ChangeBatch) -> usize {
    batch.rows.columns().iter().map(column_bytes).sum::<usize>() + batch.num_rows() / 8
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use weir_types::KeyGroupRange;
    use weir_types::WorkerId;

    use super::*;

    fn batch(values: std::ops::Range<i64>) -> ChangeBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
        let column = Arc::new(Int64Array::from_iter_values(values));
        ChangeBatch::append_only(RecordBatch::try_new(schema, vec![column]).unwrap())
    }

    fn outlet(workers: usize, batch_rows: usize, keys: Vec<usize>) -> (Outlet, Vec<Arc<Channel>>) {
        let channels: Vec<Arc<Channel>> = (0..workers).map(|_| Arc::default()).collect();
        let targets = channels
            .iter()
            .map(|channel| (channel.clone(), Arc::new(Notify::new())))
            .collect();
        (Outlet::new(keys, 128, batch_rows, targets), channels)
    }

    #[test]
    fn every_row_goes_to_the_worker_that_owns_its_key_group() {
        let (mut outlet, channels) = outlet(3, 1000, vec![0]);
        outlet.send(&batch(0..500)).unwrap();
        outlet.signal(|| Message::Barrier).unwrap();
        let mut seen = 0;
        for (worker, channel) in channels.iter().enumerate() {
            let range = KeyGroupRange::of_worker(WorkerId(worker as u32), 3, 128);
            let Some(Message::Batch(rows)) = channel.pop() else {
                panic!("worker {worker} got nothing")
            };
            let hashes = hash::hash_columns(rows.rows.columns(), rows.num_rows());
            assert!(
                hashes
                    .iter()
                    .all(|&hash| range.contains(hash::key_group(hash, 128)))
            );
            seen += rows.num_rows();
            assert!(matches!(channel.pop(), Some(Message::Barrier)));
        }
        assert_eq!(seen, 500);
    }

    #[test]
    fn small_pieces_are_gathered_and_sent_before_a_signal() {
        let (mut outlet, channels) = outlet(1, 100, vec![0]);
        for start in 0..25 {
            outlet.send(&batch(start * 10..start * 10 + 10)).unwrap();
        }
        outlet.signal(|| Message::Watermark(Watermark(1))).unwrap();
        let mut sizes = Vec::new();
        let mut values = Vec::new();
        while let Some(message) = channels[0].pop() {
            match message {
                Message::Batch(rows) => {
                    sizes.push(rows.num_rows());
                    values.extend(
                        rows.rows
                            .column(0)
                            .as_primitive::<Int64Type>()
                            .values()
                            .iter()
                            .copied(),
                    );
                }
                Message::Watermark(_) => sizes.push(0),
                _ => unreachable!(),
            }
        }
        assert_eq!(sizes, [100, 100, 50, 0]);
        assert_eq!(values, (0..250).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_channel_has_no_room_until_it_is_read() {
        let (mut outlet, channels) = outlet(2, 1, vec![]);
        let mut sent = 0;
        while outlet.has_room() {
            outlet.send(&batch(0..10)).unwrap();
            sent += 1;
            assert!(sent <= CHANNEL_MESSAGES_MAX, "the channel is not bounded");
        }
        assert!(channels[0].pop().is_some());
        assert!(outlet.has_room());
        assert!(channels[1].pop().is_none(), "no key columns: one worker");
    }
}
