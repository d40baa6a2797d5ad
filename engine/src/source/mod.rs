//! Sources as all workers share them: splits, their dealers, and where an epoch ends in each.
//!
//! ```text
//!             ┌────────────── split ──────────────┐
//!   worker 0 ─┤ dealer (lock): chunk 0, 1, 2, …    │   next_chunk: the epoch is closing? the split ends it here,
//!   worker 1 ─┤ prefix (lock): running maximum     │               for all workers; else the next chunk
//!             │   after the chunks published       │   publish:    only in the order of chunks
//!             └────────────────────────────────────┘
//! ```
//!
//! # Invariants
//! 1. An epoch ends at one place of each split, whoever asks: after the split ended epoch e, no chunk of it is dealt
//!    into e. Chunks dealt into e are wholly processed in e by their workers.
//! 2. The running maximum after chunk k is published by the worker of chunk k alone, after that of chunk k−1, and
//!    before the first row of chunk k is sent.
//! 3. A split of a changelog is read by one worker: two could send a retraction ahead of the row that it takes back.
//! 4. What is kept for a checkpoint knows nothing of workers: position, running maximum, number of records.

mod columns;
mod fields;
mod reader;
mod watermark;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use weir_connectors::{Chunk, Deal, Dealer, Payload, Position, Source};
use weir_types::{OperatorId, SplitId, Watermark, WorkerId};

pub(crate) use columns::{ColumnPlan, RowBuilder};
pub(crate) use reader::{Reader, Surroundings, Turn};

use crate::Result;
use crate::clock::Clock;
use crate::coordinator::EpochControl;
use crate::evolution::{SourceAgain, SplitAgain};
use crate::failpoint::pass;
use crate::sync::lock;

/// A chunk has at most this many bytes.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// A source of the job.
pub(crate) struct SharedSource {
    /// Index of its operator in the plan.
    pub(crate) node: usize,
    pub(crate) id: OperatorId,
    pub(crate) source: Box<dyn Source>,
    pub(crate) columns: ColumnPlan,
    pub(crate) has_watermark: bool,
    pub(crate) splits: Vec<Split>,
    /// `--stop-after`: no more records than this, counted from the first record of the source.
    pub(crate) limit: Option<u64>,
    /// Quiet splits become idle after this time.
    pub(crate) idle_timeout: Option<Duration>,
    /// A split further ahead of the slowest one than this (microseconds) pauses.
    pub(crate) max_drift_micros: Option<i64>,
    /// Of a changelog: how many workers share its splits, each split going to one of them.
    pub(crate) one_reader_of: Option<usize>,
    /// It is read again, as far as this says.
    again: Option<SourceAgain>,
    /// The greatest watermark that any worker sent on: a split that wakes starts there.
    emitted: AtomicI64,
}

/// A split with its dealer.
pub(crate) struct Split {
    pub(crate) id: SplitId,
    dealing: Mutex<Dealing>,
    prefix: Mutex<Prefix>,
    ended: AtomicBool,
    /// Records dealt since the first one of the split.
    records: AtomicU64,
    /// Where the job began, if not at the first one.
    began: Option<Position>,
    progress_done: AtomicU64,
    /// `u64::MAX`: not known.
    progress_total: AtomicU64,
}

struct Dealing {
    dealer: Box<dyn Dealer>,
    chunks: u64,
    idle: bool,
    last_chunk_at: Duration,
    /// The last epoch that was ended here.
    epoch_ended: u64,
    end: Option<SplitEnd>,
}

/// The running maximum after `published` chunks.
struct Prefix {
    published: u64,
    maximum: i64,
    /// The greatest event time; `None`: not known.
    greatest: Option<i64>,
}

/// Where an epoch ended in a split.
#[derive(Clone, Debug)]
struct SplitEnd {
    epoch: u64,
    position: Position,
    records: u64,
    chunks: u64,
    ended: bool,
    idle: bool,
    /// Known when the last chunk before the end was published.
    watermark: Option<i64>,
    /// Known at the same time; `None`: not known at all.
    greatest: Option<i64>,
}

/// A split in the manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SplitCheckpoint {
    /// The connector's own.
    pub(crate) position: Position,
    /// Running maximum of the watermark expression, microseconds; `i64::MIN`: nothing yet.
    pub(crate) watermark: i64,
    /// Records read, malformed ones included.
    pub(crate) records: u64,
    /// Whether it had reached its end.
    pub(crate) ended: bool,
    /// Where the job began to read it, if not at its start: `records` counts from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) began: Option<Position>,
    /// The greatest event time of any record, before every filter, microseconds; `i64::MIN`: none yet. `None`: not known,
    /// because a release wrote it that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) greatest: Option<i64>,
}

/// The greatest values of a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heights {
    /// Of the watermark expression.
    pub(crate) watermark: i64,
    /// Of event time.
    pub(crate) time: i64,
}

impl Heights {
    /// Of no record.
    pub(crate) const LEAST: Self = Self {
        watermark: i64::MIN,
        time: i64::MIN,
    };

    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            watermark: self.watermark.max(other.watermark),
            time: self.time.max(other.time),
        }
    }
}

/// The sources' part of a manifest: operator ID → split → place.
pub(crate) type SourceCheckpoint = BTreeMap<String, BTreeMap<String, SplitCheckpoint>>;

/// What a worker gets when it asks for work.
pub(crate) enum NextChunk {
    /// Chunk `number` of a split.
    Chunk {
        split: usize,
        number: u64,
        chunk: Chunk,
    },
    /// Every split ended the epoch.
    EpochEnded,
    /// Nothing now: a live source is quiet, or the epoch's budget is used.
    Nothing,
}

/// The watermark of a source at the end of an epoch: the same on every worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceEnd {
    /// Minimum over splits that hold it; MAX when all have ended; `None`: all that are left are idle.
    pub(crate) watermark: Option<Watermark>,
    /// Of each split: its watermark, and whether it holds the source's watermark back.
    pub(crate) splits: Vec<(i64, bool)>,
}

/// What a worker brings along when it asks.
pub(crate) struct Asking<'a> {
    /// Who asks.
    pub(crate) worker: WorkerId,
    pub(crate) epoch: u64,
    /// The source's place among the job's sources.
    pub(crate) entry: usize,
    pub(crate) control: &'a EpochControl,
    pub(crate) clock: &'a Clock,
    /// Most records of a chunk.
    pub(crate) chunk_records_max: u64,
    /// Random chunk sizes, for tests.
    pub(crate) cuts: Option<&'a mut SmallRng>,
}

impl SharedSource {
    /// Opens the dealers at the positions of `restored`. Returns warnings.
    #[expect(clippy::too_many_arguments, reason = "called once, by the job's start")]
    pub(crate) fn open(
        node: usize,
        id: OperatorId,
        source: Box<dyn Source>,
        columns: ColumnPlan,
        has_watermark: bool,
        limit: Option<u64>,
        idle_timeout: Option<Duration>,
        max_drift_micros: Option<i64>,
        restored: &BTreeMap<String, SplitCheckpoint>,
    ) -> Result<(Self, Vec<String>)> {
        let positions = restored
            .iter()
            .map(|(split, place)| (SplitId(split.clone()), place.position.clone()))
            .collect();
        let listing = source.splits(&positions)?;
        let mut splits = Vec::new();
        for split in listing.splits {
            let place = restored.get(&split.0);
            let dealer = source.dealer(&split, place.map(|place| &place.position))?;
            splits.push(Split::new(split, dealer, place));
        }
        let source = Self {
            node,
            id,
            source,
            columns,
            has_watermark,
            splits,
            limit,
            idle_timeout,
            max_drift_micros,
            one_reader_of: None,
            again: None,
            emitted: AtomicI64::new(i64::MIN),
        };
        let least = source
            .splits
            .iter()
            .map(|split| lock(&split.prefix).maximum)
            .min();
        source
            .emitted
            .store(least.unwrap_or(i64::MIN), Ordering::Relaxed);
        Ok((source, listing.warnings))
    }

    /// Opens the dealers where the job began to read them, to be read as far as `again` says.
    pub(crate) fn open_again(
        node: usize,
        id: OperatorId,
        source: Box<dyn Source>,
        columns: ColumnPlan,
        has_watermark: bool,
        again: SourceAgain,
    ) -> Result<Self> {
        let positions = again
            .splits
            .iter()
            .filter_map(|(split, again)| Some((SplitId(split.clone()), again.from.clone()?)));
        // One that is new has nothing to be read again, and whoever listens there is the job itself.
        let listed = match again.unread {
            true => Vec::new(),
            false => source.splits(&positions.collect())?.splits,
        };
        let names: BTreeSet<&str> = listed.iter().map(|split| split.0.as_str()).collect();
        let known: BTreeSet<&str> = again.splits.keys().map(String::as_str).collect();
        if names != known {
            return Err(crate::Error::Job(format!(
                "[E0041] {id} has other splits than when it was read: it cannot be read again in the same order"
            )));
        }
        let mut splits = Vec::new();
        for split in listed {
            let from = again
                .splits
                .get(&split.0)
                .and_then(|split| split.from.clone());
            let dealer = source.dealer(&split, from.as_ref())?;
            splits.push(Split::new(split, dealer, None));
        }
        Ok(Self {
            node,
            id,
            source,
            columns,
            has_watermark,
            splits,
            limit: None,
            idle_timeout: None,
            max_drift_micros: None,
            one_reader_of: None,
            again: Some(again),
            emitted: AtomicI64::new(i64::MIN),
        })
    }

    /// Hands out the next chunk, of the split that is furthest behind; or ends the epoch.
    pub(crate) fn next_chunk(&self, mut asking: Asking<'_>) -> Result<NextChunk> {
        // One that has nothing was asked as well: the epoch need not wait for it.
        let allowed = asking.control.ask(asking.epoch, asking.entry);
        let mut all_ended_epoch = true;
        for index in self.order() {
            let split = &self.splits[index];
            let mut dealing = lock(&split.dealing);
            if dealing.epoch_ended >= asking.epoch {
                continue;
            }
            // Looked at under the lock: once an end is recorded here, no worker deals into this epoch.
            if asking.control.is_closing(asking.epoch) {
                split.end_epoch(&mut dealing, asking.epoch);
                continue;
            }
            all_ended_epoch = false;
            let is_another_workers = self
                .one_reader_of
                .is_some_and(|workers| index % workers != asking.worker.0 as usize);
            if is_another_workers || split.ended.load(Ordering::Acquire) || self.is_ahead(index) {
                continue;
            }
            if let Some(next) = self.deal(index, &mut dealing, allowed, &mut asking)? {
                return Ok(next);
            }
        }
        // Without any split there is nothing that could end the epoch but the control itself.
        all_ended_epoch &= asking.control.is_closing(asking.epoch);
        Ok(if all_ended_epoch {
            NextChunk::EpochEnded
        } else {
            NextChunk::Nothing
        })
    }

    fn deal(
        &self,
        index: usize,
        dealing: &mut Dealing,
        allowed: u64,
        asking: &mut Asking<'_>,
    ) -> Result<Option<NextChunk>> {
        let split = &self.splits[index];
        let mut records_max = allowed.min(asking.chunk_records_max);
        if let Some(left) = self.limit_left(index) {
            records_max = records_max.min(left);
            if left == 0 {
                return Ok(None);
            }
        }
        if records_max == 0 {
            return Ok(None);
        }
        let mut bytes_max = CHUNK_BYTES_MAX;
        if let Some(cuts) = &mut asking.cuts {
            records_max = cuts.random_range(1..=records_max.min(2000));
            bytes_max = 1 << cuts.random_range(6..=20);
        }
        let now = asking.clock.elapsed();
        match dealing.dealer.deal(bytes_max, records_max)? {
            Deal::Chunk(chunk) => {
                let bytes = match &chunk.payload {
                    Payload::Text(text) => text.len() as u64,
                    // What a generator makes of a row is not known; the count of rows bounds it.
                    Payload::Rows(_) => 0,
                };
                let wall = asking.clock.wall_micros();
                asking
                    .control
                    .on_dealt(asking.epoch, asking.entry, chunk.records, bytes, wall);
                // After the control knows of them: whoever sees that a source is done sees its last records counted.
                split.records.fetch_add(chunk.records, Ordering::AcqRel);
                pass("engine.source.dealt")?;
                dealing.last_chunk_at = now;
                if std::mem::take(&mut dealing.idle) {
                    // A split that wakes starts at the watermark of that moment.
                    let mut prefix = lock(&split.prefix);
                    prefix.maximum = prefix.maximum.max(self.emitted.load(Ordering::Acquire));
                }
                split.note_progress(dealing.dealer.as_ref());
                let number = dealing.chunks;
                dealing.chunks += 1;
                Ok(Some(NextChunk::Chunk {
                    split: index,
                    number,
                    chunk,
                }))
            }
            Deal::Pending => {
                asking.control.on_caught_up();
                let quiet = now.saturating_sub(dealing.last_chunk_at);
                if !dealing.idle && self.idle_timeout.is_some_and(|timeout| quiet >= timeout) {
                    dealing.idle = true;
                    asking.control.on_news();
                }
                Ok(None)
            }
            Deal::End => {
                split.note_progress(dealing.dealer.as_ref());
                split.ended.store(true, Ordering::Release);
                asking.control.on_news();
                Ok(None)
            }
        }
    }

    /// Splits in the order in which a free worker tries them: the one furthest behind first, or in their own order
    /// when an exact number of records was asked for.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.splits.len()).collect();
        if self.limit.is_none() && self.splits.len() > 1 {
            order.sort_by_cached_key(|&index| lock(&self.splits[index].prefix).maximum);
        }
        order
    }

    /// Records that may still be read of split `index`, if a number was asked for: splits before it come first.
    fn limit_left(&self, index: usize) -> Option<u64> {
        if self.again.is_some() {
            let left = self.left_again(index);
            // One that ended has to be asked once more, or nobody would know.
            let ends = self.target(index).is_some_and(|target| target.ended);
            return (left > 0 || !ends).then_some(left);
        }
        let limit = self.limit?;
        let ended = |split: &Split| split.ended.load(Ordering::Acquire);
        if !self.splits[..index].iter().all(ended) {
            return Some(0);
        }
        let used: u64 = self
            .splits
            .iter()
            .map(|split| split.records.load(Ordering::Acquire))
            .sum();
        Some(limit.saturating_sub(used))
    }

    /// How far a split is to be read again.
    fn target(&self, index: usize) -> Option<&SplitAgain> {
        let again = self.again.as_ref()?;
        again.splits.get(&self.splits[index].id.0)
    }

    /// Records of a split that are still to be read again.
    fn left_again(&self, index: usize) -> u64 {
        let read = self.splits[index].records.load(Ordering::Acquire);
        self.target(index)
            .map_or(0, |target| target.records.saturating_sub(read))
    }

    /// Whether a split that has not ended was read again as far as it is to be, with so many records.
    fn is_read_again_at(&self, index: usize, records: u64) -> bool {
        self.target(index)
            .is_none_or(|target| records >= target.records && !target.ended)
    }

    /// Whether everything was read again. A split that ends too early has changed: whoever asked looks at the positions.
    fn is_read_again(&self) -> bool {
        self.again.is_some()
            && self.splits.iter().enumerate().all(|(index, split)| {
                split.ended.load(Ordering::Acquire)
                    || self.is_read_again_at(index, split.records.load(Ordering::Acquire))
            })
    }

    fn is_ahead(&self, index: usize) -> bool {
        let Some(drift) = self.max_drift_micros else {
            return false;
        };
        let maximum = |split: &Split| lock(&split.prefix).maximum;
        let least = self
            .splits
            .iter()
            .filter(|split| !split.ended.load(Ordering::Acquire))
            .map(maximum)
            .min();
        least.is_some_and(|least| maximum(&self.splits[index]) > least.saturating_add(drift))
    }

    /// The running maximum before chunk `number`, once the chunks before it are published.
    pub(crate) fn prefix(&self, split: usize, number: u64) -> Option<i64> {
        let prefix = lock(&self.splits[split].prefix);
        (prefix.published == number).then_some(prefix.maximum)
    }

    /// Publishes the running maximum after chunk `number`.
    pub(crate) fn publish(&self, split: usize, number: u64, maximum: Heights) {
        let mut prefix = lock(&self.splits[split].prefix);
        assert_eq!(prefix.published, number, "chunks are published in order");
        prefix.published += 1;
        prefix.maximum = prefix.maximum.max(maximum.watermark);
        prefix.greatest = prefix.greatest.map(|greatest| greatest.max(maximum.time));
    }

    /// Remembers a watermark that was sent on.
    pub(crate) fn note_emitted(&self, watermark: Watermark) {
        self.emitted.fetch_max(watermark.0, Ordering::AcqRel);
    }

    /// The source's watermark at the end of `epoch`, once the last chunk before that place is published.
    pub(crate) fn end_of_epoch(&self, epoch: u64) -> Option<SourceEnd> {
        let mut splits = Vec::with_capacity(self.splits.len());
        let mut least = i64::MAX;
        if self.is_unread() {
            // It will begin, and holds everybody back until then.
            return Some(SourceEnd {
                watermark: Some(Watermark::MIN),
                splits,
            });
        }
        let (mut all_ended, mut all_idle) = (true, true);
        let mut read_again = self.again.is_some();
        for (index, split) in self.splits.iter().enumerate() {
            let mut dealing = lock(&split.dealing);
            let end = dealing.end.as_mut().filter(|end| end.epoch == epoch)?;
            let watermark = match end.watermark {
                Some(watermark) => watermark,
                None => {
                    let prefix = lock(&split.prefix);
                    if prefix.published != end.chunks {
                        return None;
                    }
                    end.greatest = prefix.greatest;
                    *end.watermark.insert(prefix.maximum)
                }
            };
            let holds = !end.ended && !end.idle;
            all_ended &= end.ended;
            read_again &= end.ended || self.is_read_again_at(index, end.records);
            all_idle &= !holds;
            if holds {
                least = least.min(watermark);
            }
            splits.push((watermark, holds));
        }
        let floor = self.again.as_ref().and_then(|again| again.watermark);
        if let (Some(floor), false, true) = (floor, all_ended, read_again) {
            // What was closed is closed: the watermark that readers had does not go back, whatever it is made of now.
            least = least.max(floor.0);
            for (watermark, holds) in &mut splits {
                *holds = true;
                *watermark = (*watermark).max(least);
            }
            all_idle = false;
        }
        let watermark = if all_ended {
            Some(Watermark::MAX)
        } else if all_idle {
            None
        } else {
            Some(Watermark(least))
        };
        Some(SourceEnd { watermark, splits })
    }

    /// The places of all splits at the end of `epoch`, for a manifest. Every worker must have passed it.
    pub(crate) fn checkpoint(&self, epoch: u64) -> BTreeMap<String, SplitCheckpoint> {
        self.splits
            .iter()
            .filter_map(|split| {
                let dealing = lock(&split.dealing);
                let end = dealing.end.as_ref().filter(|end| end.epoch == epoch)?;
                let place = SplitCheckpoint {
                    position: end.position.clone(),
                    watermark: end.watermark.unwrap_or(i64::MIN),
                    records: end.records,
                    ended: end.ended,
                    began: split.began.clone(),
                    greatest: end.greatest,
                };
                Some((split.id.0.clone(), place))
            })
            .collect()
    }

    /// Whether every split has ended. A source that may still get splits never does.
    pub(crate) fn has_ended(&self) -> bool {
        !self.is_unread()
            && self
                .splits
                .iter()
                .all(|split| split.ended.load(Ordering::Acquire))
    }

    /// Whether it takes part in a replay, and begins behind it only.
    fn is_unread(&self) -> bool {
        self.again.as_ref().is_some_and(|again| again.unread)
    }

    /// Ends every split where it is, as if there were nothing more (a drain).
    pub(crate) fn drain(&self, control: &EpochControl) {
        for split in &self.splits {
            // Under the lock: a chunk that is being dealt comes before the end.
            let _dealing = lock(&split.dealing);
            split.ended.store(true, Ordering::Release);
        }
        control.on_news();
    }

    /// Whether new records may come although there are none now.
    pub(crate) fn is_live(&self) -> bool {
        !self.source.bounded() && !self.is_done()
    }

    /// Whether it gives nothing more: ended, or the number of records asked for is reached.
    pub(crate) fn is_done(&self) -> bool {
        let records: u64 = self
            .splits
            .iter()
            .map(|split| split.records.load(Ordering::Acquire))
            .sum();
        self.has_ended() || self.limit.is_some_and(|limit| records >= limit) || self.is_read_again()
    }

    /// The running maxima to start from, by split.
    pub(crate) fn split_watermarks(&self) -> Vec<i64> {
        self.splits
            .iter()
            .map(|split| lock(&split.prefix).maximum)
            .collect()
    }

    /// Input done and in all (if every split knows).
    pub(crate) fn progress(&self) -> (u64, Option<u64>) {
        let done = self
            .splits
            .iter()
            .map(|split| split.progress_done.load(Ordering::Relaxed))
            .sum();
        let total = self
            .splits
            .iter()
            .map(|split| split.progress_total.load(Ordering::Relaxed))
            .map(|total| (total != u64::MAX).then_some(total))
            .sum();
        (done, total)
    }
}

impl Split {
    fn new(id: SplitId, dealer: Box<dyn Dealer>, place: Option<&SplitCheckpoint>) -> Self {
        let split = Self {
            id,
            prefix: Mutex::new(Prefix {
                published: 0,
                maximum: place.map_or(i64::MIN, |place| place.watermark),
                // Of a split that was never read nothing is greater than anything.
                greatest: place.map_or(Some(i64::MIN), |place| place.greatest),
            }),
            ended: AtomicBool::new(false),
            records: AtomicU64::new(place.map_or(0, |place| place.records)),
            began: place.and_then(|place| place.began.clone()),
            progress_done: AtomicU64::new(0),
            progress_total: AtomicU64::new(u64::MAX),
            dealing: Mutex::new(Dealing {
                dealer,
                chunks: 0,
                idle: false,
                last_chunk_at: Duration::ZERO,
                epoch_ended: 0,
                end: None,
            }),
        };
        split.note_progress(lock(&split.dealing).dealer.as_ref());
        split
    }

    fn note_progress(&self, dealer: &dyn Dealer) {
        let (done, total) = dealer.progress();
        self.progress_done.store(done, Ordering::Relaxed);
        self.progress_total
            .store(total.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn end_epoch(&self, dealing: &mut Dealing, epoch: u64) {
        dealing.epoch_ended = epoch;
        dealing.end = Some(SplitEnd {
            epoch,
            position: dealing.dealer.position(),
            records: self.records.load(Ordering::Acquire),
            chunks: dealing.chunks,
            ended: self.ended.load(Ordering::Acquire),
            idle: dealing.idle,
            watermark: None,
            greatest: None,
        });
    }
}
