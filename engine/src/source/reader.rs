//! One worker's share of reading a source: takes chunks from the dealers, decodes them, gives rows and watermarks.
//!
//! ```text
//!   Ready ──chunk──▶ Decoded ──the prefix before it is known──▶ Giving (batch by batch, then the watermark) ──▶ Ready
//!     │                                                                                                        │
//!     └──every split ended the epoch──▶ Ending: the watermark of the epoch's end, then the barrier ──▶ Ended ──┘
//! ```
//!
//! The reader never blocks: while the chunk before its own is not published yet, the worker does other work.

use std::collections::VecDeque;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;
use weir_connectors::{Decoder, RecordError};
use weir_planner::plan::StreamPlan;
use weir_types::{ChangeBatch, ProcessingTime, Watermark, WorkerId};

use super::columns::Prepared;
use super::watermark::{greatest, own_watermarks};
use super::{Asking, Heights, NextChunk, RowBuilder, SharedSource};
use crate::Result;
use crate::clock::Clock;
use crate::coordinator::EpochControl;

/// Reads one source on one worker.
pub(crate) struct Reader {
    decoder: Box<dyn Decoder>,
    rows: RowBuilder,
    phase: Phase,
    /// Of each split: the watermark that this worker knows, and whether it holds the source's back.
    splits: Vec<(i64, bool)>,
    /// The last watermark given.
    given: Watermark,
    idle: bool,
    /// Most rows of a batch.
    batch_rows: usize,
    /// Records decoded and records rejected by this worker since it was asked last.
    pub(crate) records: u64,
    pub(crate) rejected: Vec<RecordError>,
    /// Rows left out because an expression failed on them, since it was asked last.
    pub(crate) rejected_rows: u64,
    /// Rows on which an expression failed, if they go to a table of the user's.
    pub(crate) failed: Vec<crate::RowError>,
    /// The last batch given, with the offsets of its records and their file: for errors in rows.
    last_given: Option<(ChangeBatch, Vec<u64>, Arc<str>)>,
}

enum Phase {
    Ready,
    Decoded {
        split: usize,
        number: u64,
        batches: Vec<Prepared>,
        maximum: Heights,
    },
    Giving {
        split: usize,
        maximum: i64,
        batches: VecDeque<(Prepared, Option<arrow::array::Int64Array>)>,
        cut: Option<ChangeBatch>,
    },
    Ending,
    Ended,
}

/// What the reader has for its worker.
pub(crate) enum Turn {
    /// Nothing for now.
    Nothing,
    /// It did something; ask again.
    Worked,
    /// Rows.
    Rows(ChangeBatch),
    /// A new watermark, or an awakening.
    Watermark(Watermark),
    /// The source does not hold the watermark back.
    Idle,
    /// The end of the epoch.
    Barrier,
}

/// What the reader sees of the job.
pub(crate) struct Surroundings<'a> {
    pub(crate) worker: WorkerId,
    pub(crate) source: &'a SharedSource,
    /// Its place among the job's sources.
    pub(crate) entry: usize,
    pub(crate) control: &'a EpochControl,
    pub(crate) clock: &'a Clock,
    pub(crate) epoch: u64,
    pub(crate) chunk_records_max: u64,
    pub(crate) cuts: Option<&'a mut SmallRng>,
}

impl Reader {
    /// A reader for one worker.
    pub(crate) fn new(plan: &StreamPlan, source: &SharedSource, batch_rows: usize) -> Result<Self> {
        Ok(Self {
            decoder: source.source.decoder()?,
            rows: RowBuilder::new(plan, source.node, &source.columns)?,
            phase: Phase::Ready,
            splits: source
                .split_watermarks()
                .into_iter()
                .map(|maximum| (maximum, true))
                .collect(),
            given: Watermark::MIN,
            idle: false,
            batch_rows,
            records: 0,
            rejected: Vec::new(),
            rejected_rows: 0,
            failed: Vec::new(),
            last_given: None,
        })
    }

    /// The last batch given (before it was cut), the offset of each row's record, and their file.
    pub(crate) fn last_given(reader: &Self) -> Option<(ChangeBatch, Vec<u64>, Arc<str>)> {
        reader.last_given.clone()
    }

    /// The worker began the next epoch.
    pub(crate) fn begin_epoch(&mut self) {
        debug_assert!(matches!(self.phase, Phase::Ended));
        self.phase = Phase::Ready;
    }

    /// Does one step.
    pub(crate) fn turn(&mut self, mut around: Surroundings<'_>) -> Result<Turn> {
        match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Ready => self.take_chunk(&mut around),
            Phase::Decoded {
                split,
                number,
                batches,
                maximum,
            } => self.publish(around.source, split, number, batches, maximum),
            Phase::Giving {
                split,
                maximum,
                batches,
                cut,
            } => self.give(&mut around, split, maximum, batches, cut),
            Phase::Ending => Ok(self.end(&around)),
            Phase::Ended => {
                self.phase = Phase::Ended;
                Ok(Turn::Nothing)
            }
        }
    }

    fn take_chunk(&mut self, around: &mut Surroundings<'_>) -> Result<Turn> {
        let asking = Asking {
            worker: around.worker,
            epoch: around.epoch,
            entry: around.entry,
            control: around.control,
            clock: around.clock,
            chunk_records_max: around.chunk_records_max,
            cuts: around.cuts.as_deref_mut(),
        };
        match around.source.next_chunk(asking)? {
            NextChunk::Nothing => Ok(Turn::Nothing),
            NextChunk::EpochEnded => {
                self.phase = Phase::Ending;
                Ok(Turn::Worked)
            }
            NextChunk::Chunk {
                split,
                number,
                chunk,
            } => {
                let now = around.control.now(around.epoch);
                self.records += chunk.records;
                let decoded = self.decoder.decode(&chunk)?;
                self.rejected.extend(decoded.rejected);
                let mut batches = Vec::with_capacity(decoded.batches.len());
                let mut maximum = Heights::LEAST;
                for batch in decoded.batches {
                    let mut prepared = self.rows.prepare(batch, now, &chunk.origin)?;
                    self.failed.extend(prepared.take_errors());
                    if let Some((times, expression)) = &prepared.times {
                        maximum = maximum.max(Heights {
                            watermark: greatest(expression),
                            time: greatest(times),
                        });
                    }
                    self.rejected_rows += prepared.failed_rows();
                    batches.push(prepared);
                }
                self.phase = Phase::Decoded {
                    split,
                    number,
                    batches,
                    maximum,
                };
                Ok(Turn::Worked)
            }
        }
    }

    fn publish(
        &mut self,
        source: &SharedSource,
        split: usize,
        number: u64,
        batches: Vec<Prepared>,
        maximum: Heights,
    ) -> Result<Turn> {
        let Some(start) = source.prefix(split, number) else {
            self.phase = Phase::Decoded {
                split,
                number,
                batches,
                maximum,
            };
            return Ok(Turn::Nothing);
        };
        // First of all: the worker of the next chunk waits for this.
        source.publish(split, number, maximum);
        let mut running = start;
        let batches = batches
            .into_iter()
            .map(|prepared| {
                let own = prepared.times.as_ref().and_then(|(times, expression)| {
                    let (own, end) = own_watermarks(times, expression, running);
                    running = end;
                    own
                });
                (prepared, own)
            })
            .collect();
        self.phase = Phase::Giving {
            split,
            maximum: running,
            batches,
            cut: None,
        };
        Ok(Turn::Worked)
    }

    fn give(
        &mut self,
        around: &mut Surroundings<'_>,
        split: usize,
        maximum: i64,
        mut batches: VecDeque<(Prepared, Option<arrow::array::Int64Array>)>,
        cut: Option<ChangeBatch>,
    ) -> Result<Turn> {
        let batch = match cut {
            Some(rest) => Some(rest),
            None => match batches.pop_front() {
                Some((prepared, own)) if prepared.num_rows() > 0 => {
                    let now: ProcessingTime = around.control.now(around.epoch);
                    let finished = self.rows.finish(prepared, own, now)?;
                    self.rejected_rows += finished.failures;
                    self.failed.extend(finished.errors);
                    let batch = finished.changes;
                    self.last_given = Some((batch.clone(), finished.offsets, finished.origin));
                    Some(batch)
                }
                Some(_) => Some(ChangeBatch::append_only(
                    arrow::array::RecordBatch::new_empty(std::sync::Arc::new(
                        arrow::datatypes::Schema::empty(),
                    )),
                )),
                None => None,
            },
        };
        let Some(batch) = batch else {
            // The chunk is given whole; a split that a worker reads from holds its watermark again.
            self.splits[split] = (maximum, true);
            return Ok(self.rise(around.source));
        };
        let rows_max = match &mut around.cuts {
            Some(cuts) => cuts.random_range(1..=batch.num_rows().max(1)),
            None => self.batch_rows,
        };
        let (batch, cut) = if batch.num_rows() > rows_max {
            let rest = batch.num_rows() - rows_max;
            (batch.slice(0, rows_max), Some(batch.slice(rows_max, rest)))
        } else {
            (batch, None)
        };
        self.phase = Phase::Giving {
            split,
            maximum,
            batches,
            cut,
        };
        Ok(if batch.num_rows() == 0 {
            Turn::Worked
        } else {
            Turn::Rows(batch)
        })
    }

    /// The watermark of what this worker knows, if it rose.
    fn rise(&mut self, source: &SharedSource) -> Turn {
        if !source.has_watermark {
            return Turn::Worked;
        }
        let least = self
            .splits
            .iter()
            .filter(|(_, holds)| *holds)
            .map(|(maximum, _)| *maximum)
            .min();
        match least.map(Watermark) {
            Some(least) if least > self.given || (self.idle && least > Watermark::MIN) => {
                self.idle = false;
                self.given = self.given.max(least);
                source.note_emitted(self.given);
                Turn::Watermark(self.given)
            }
            _ => Turn::Worked,
        }
    }

    fn end(&mut self, around: &Surroundings<'_>) -> Turn {
        let Some(end) = around.source.end_of_epoch(around.epoch) else {
            self.phase = Phase::Ending;
            return Turn::Nothing;
        };
        self.splits.clone_from(&end.splits);
        // Whatever comes first, the barrier is what is left to give.
        let turn = match end.watermark {
            Some(Watermark::MAX) if self.given < Watermark::MAX => {
                self.given = Watermark::MAX;
                Turn::Watermark(Watermark::MAX)
            }
            None if !self.idle && around.source.has_watermark => {
                self.idle = true;
                Turn::Idle
            }
            Some(_) => self.rise(around.source),
            None => Turn::Worked,
        };
        match turn {
            Turn::Worked => {
                self.phase = Phase::Ended;
                Turn::Barrier
            }
            // Asked again, it finds nothing new to say and gives the barrier.
            other => {
                self.phase = Phase::Ending;
                other
            }
        }
    }
}
