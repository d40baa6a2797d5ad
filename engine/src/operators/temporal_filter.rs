//! Rows that come and go with the clock: WHERE with `now()`.
//!
//! ```text
//!   row, enters at e, leaves at l          processing time n, the same for the whole epoch
//!     n < e      kept; given in the first epoch whose time has reached e
//!     e ≤ n < l  given; taken back in the first epoch whose time has reached l
//!     l ≤ n      over: nothing, and neither is what takes such a row back
//! ```
//!
//! Rows are kept under the moments at which they enter and leave, which are columns: rows of the same moments are one key, and a
//! row that is taken back has the moments of the row that came. What is due by an epoch's time is done before its first row is
//! looked at, or else at its end. So at any time exactly the rows with `e ≤ n < l` have been given.
//!
//! # Invariants
//! 1. `times` holds each key once: at the moment when its rows enter if that is still to come, else at that when they leave.
//! 2. Rows that never leave are not kept once they were given.
//! 3. A call gives at most one batch.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, SchemaRef};
use weir_state::{MultiMapTable, ProbeCursor};
use weir_types::{ChangeBatch, OperatorId, ProcessingTime, hash};

use super::build::{internal, internal_text};
use super::due::{Due, DueKeys, taken};
use super::windows::to_micros;
use super::{Operator, OperatorContext, Progress};
use crate::Result;

/// Moments are kept by stretches of time of this length, in microseconds.
const STRETCH: i64 = 1_000_000;

/// What does not change while it runs.
pub(super) struct Configuration {
    pub(super) operator: OperatorId,
    /// Columns of moments.
    pub(super) enters: Vec<usize>,
    pub(super) leaves: Vec<usize>,
    pub(super) rows: MultiMapTable,
    pub(super) times: DueKeys,
    pub(super) schema: SchemaRef,
}

/// See the module.
pub(super) struct TemporalFilter {
    config: Configuration,
    /// All columns of moments, in order: the key.
    keys: Vec<usize>,
    /// What was due by this time is done.
    at: i64,
    turning: Option<Turning>,
    /// A batch that came first in an epoch: what is due goes before it.
    waiting: Option<ChangeBatch>,
}

/// What is due, on its way out.
struct Turning {
    stretches: VecDeque<i64>,
    /// Keys of the first stretch that are due; `None`: not looked up yet.
    due: Option<VecDeque<RecordBatch>>,
    work: VecDeque<Turn>,
    ready: VecDeque<ChangeBatch>,
}

/// Keys whose rows enter or leave.
struct Turn {
    kind: TurnKind,
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    cursor: ProbeCursor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TurnKind {
    /// Rows are given, and kept until they leave.
    Enter,
    /// Rows are given for ever.
    Stay,
    /// Rows are taken back.
    Leave,
    /// Both moments have passed since the last epoch: rows were never seen.
    Miss,
}

/// When the rows of a batch enter and leave.
struct Stays {
    enter: Vec<i64>,
    leave: Vec<i64>,
    /// Whether there is a NULL among a row's moments.
    never: Vec<bool>,
}

/// `now()` as SQL sees it: whole milliseconds.
fn seen(now: ProcessingTime) -> i64 {
    now.0.div_euclid(1000).saturating_mul(1000)
}

impl TemporalFilter {
    pub(super) fn new(config: Configuration) -> Self {
        let mut keys: Vec<usize> = config
            .enters
            .iter()
            .chain(&config.leaves)
            .copied()
            .collect();
        keys.sort_unstable();
        keys.dedup();
        Self {
            config,
            keys,
            at: i64::MIN,
            turning: None,
            waiting: None,
        }
    }

    /// The moments of rows whose column `c` is `column(c)`.
    fn stays<'c>(&self, rows: usize, column: &dyn Fn(usize) -> &'c ArrayRef) -> Result<Stays> {
        let mut stays = Stays {
            enter: vec![i64::MIN; rows],
            leave: vec![i64::MAX; rows],
            never: vec![false; rows],
        };
        let mut take = |columns: &[usize], moments: &mut Vec<i64>, later: bool| {
            for &place in columns {
                let micros = to_micros(column(place)).ok_or_else(|| {
                    internal_text(&self.config.operator, "a moment is not a timestamp")
                })?;
                for (row, moment) in moments.iter_mut().enumerate() {
                    if micros.is_null(row) {
                        stays.never[row] = true;
                    } else if (micros.value(row) > *moment) == later {
                        *moment = micros.value(row);
                    }
                }
            }
            Ok::<_, crate::Error>(())
        };
        let (mut enter, mut leave) = (
            std::mem::take(&mut stays.enter),
            std::mem::take(&mut stays.leave),
        );
        take(&self.config.enters, &mut enter, true)?;
        take(&self.config.leaves, &mut leave, false)?;
        (stays.enter, stays.leave) = (enter, leave);
        Ok(stays)
    }

    // ------------------------------------------------------------------ rows

    fn take_rows(&mut self, batch: &ChangeBatch, ctx: &mut OperatorContext) -> Result<()> {
        let stays = self.stays(batch.num_rows(), &|column| batch.rows.column(column))?;
        let (mut kept, mut dues) = (Vec::new(), Vec::new());
        let visible: BooleanBuffer = (0..batch.num_rows())
            .map(|row| {
                let (enter, leave) = (stays.enter[row], stays.leave[row]);
                if stays.never[row] || leave <= self.at || leave <= enter {
                    return false;
                }
                let is_visible = enter <= self.at;
                if !is_visible || leave < i64::MAX {
                    kept.push(row as u32);
                    let at = if is_visible { leave } else { enter };
                    dues.push(Due::in_stretch(at, STRETCH));
                }
                is_visible
            })
            .collect();
        self.keep(batch, kept, &dues)?;
        if visible.count_set_bits() > 0 {
            let mut given = batch
                .filter(&BooleanArray::new(visible, None))
                .map_err(|error| internal(&self.config.operator, &error))?;
            given.own_watermark = None;
            let rows = RecordBatch::try_new(
                Arc::clone(&self.config.schema),
                given.rows.columns().to_vec(),
            );
            let rows = rows.map_err(|error| internal(&self.config.operator, &error))?;
            ctx.emit(given.with_rows(rows));
        }
        Ok(())
    }

    fn keep(&self, batch: &ChangeBatch, kept: Vec<u32>, dues: &[Due]) -> Result<()> {
        if kept.is_empty() {
            return Ok(());
        }
        let weights: Vec<i64> = kept.iter().map(|&row| batch.weight(row as usize)).collect();
        let rows = taken(batch.rows.columns(), &kept.into())?;
        let rows = RecordBatch::try_new(Arc::clone(&self.config.schema), rows)
            .map_err(|error| internal(&self.config.operator, &error))?;
        let keys: Vec<ArrayRef> = self
            .keys
            .iter()
            .map(|&key| rows.column(key).clone())
            .collect();
        let hashes = hash::hash_columns(&keys, dues.len());
        self.config.rows.apply(&keys, &hashes, &rows, &weights)?;
        self.config.times.note(dues, &keys, &hashes)
    }

    // ------------------------------------------------------------------ the clock

    /// Does what is due by the epoch's time, if that has not been done.
    fn turn(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let now = seen(ctx.now);
        if now > self.at {
            self.at = now;
            self.turning = Some(Turning {
                stretches: self.config.times.slices(now).into(),
                due: None,
                work: VecDeque::new(),
                ready: VecDeque::new(),
            });
        }
        self.go_on(ctx)
    }

    fn go_on(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        if let Some(mut turning) = self.turning.take() {
            while turning.ready.is_empty() && self.step(&mut turning, ctx.batch_rows.max(1))? {}
            if let Some(batch) = turning.ready.pop_front() {
                ctx.emit(batch);
                self.turning = Some(turning);
                return Ok(Progress::More);
            }
        }
        if let Some(batch) = self.waiting.take() {
            self.take_rows(&batch, ctx)?;
        }
        Ok(Progress::Done)
    }

    /// Makes more changes ready; `false` if nothing more is due.
    fn step(&self, turning: &mut Turning, limit: usize) -> Result<bool> {
        if let Some(turn) = turning.work.front_mut() {
            if !self.advance(turn, limit, &mut turning.ready)? {
                turning.work.pop_front();
            }
            return Ok(true);
        }
        let Some(&stretch) = turning.stretches.front() else {
            return Ok(false);
        };
        let due = match &mut turning.due {
            Some(due) => due,
            None => turning.due.insert(self.config.times.keys(stretch)?.into()),
        };
        match due.pop_front() {
            Some(batch) => turning.work.extend(self.turns(stretch, &batch)?),
            None => {
                turning.stretches.pop_front();
                turning.due = None;
            }
        }
        Ok(true)
    }

    /// What becomes of the keys of a stretch that are due: they are forgotten there, and noted for when they leave.
    fn turns(&self, stretch: i64, batch: &RecordBatch) -> Result<Vec<Turn>> {
        let width = batch.num_columns() - 1;
        let place = |column: usize| {
            let key = self.keys.iter().position(|&key| key == column);
            batch.column(key.unwrap_or_default())
        };
        let stays = self.stays(batch.num_rows(), &place)?;
        let at = batch.column(width).as_primitive::<Int64Type>();
        let kind = |row: usize| match stays.leave[row] {
            leave if at.value(row) == leave => TurnKind::Leave,
            leave if leave <= self.at => TurnKind::Miss,
            i64::MAX => TurnKind::Stay,
            _ => TurnKind::Enter,
        };
        let due: Vec<usize> = (0..batch.num_rows())
            .filter(|&row| at.value(row) <= self.at)
            .collect();
        let mut turns = Vec::new();
        for wanted in [
            TurnKind::Leave,
            TurnKind::Miss,
            TurnKind::Enter,
            TurnKind::Stay,
        ] {
            let rows = due.iter().copied().filter(|&row| kind(row) == wanted);
            let rows: Vec<u32> = rows.map(|row| row as u32).collect();
            if rows.is_empty() {
                continue;
            }
            let dues: Vec<Due> = rows
                .iter()
                .map(|&row| Due::in_stretch(stays.leave[row as usize], STRETCH))
                .collect();
            let keys = taken(&batch.columns()[..width], &UInt32Array::from(rows))?;
            let hashes = hash::hash_columns(&keys, dues.len());
            self.config.times.remove(stretch, &keys, &hashes)?;
            if wanted == TurnKind::Enter {
                self.config.times.note(&dues, &keys, &hashes)?;
            }
            turns.push(Turn {
                kind: wanted,
                keys,
                hashes,
                cursor: ProbeCursor::default(),
            });
        }
        Ok(turns)
    }

    /// The next rows of a turn; `false` when there are no more.
    fn advance(
        &self,
        turn: &mut Turn,
        limit: usize,
        ready: &mut VecDeque<ChangeBatch>,
    ) -> Result<bool> {
        let rows = &self.config.rows;
        let (found, next) =
            rows.probe(&turn.keys, &turn.hashes, None, turn.cursor.clone(), limit)?;
        let goes = turn.kind != TurnKind::Enter;
        if goes && found.rows.num_rows() > 0 {
            let weights: Vec<i64> = found.counts.iter().map(|count| -count).collect();
            let hashes = found.probe_rows.values().iter();
            let hashes: Vec<u64> = hashes.map(|&key| turn.hashes[key as usize]).collect();
            let keys = taken(&turn.keys, &found.probe_rows)?;
            rows.apply(&keys, &hashes, &found.rows, &weights)?;
        }
        if turn.kind != TurnKind::Miss {
            self.give(&found.rows, &found.counts, turn.kind, limit, ready)?;
        }
        // What was looked at is gone: the first rows that are there now are the next ones.
        let more = match next {
            Some(cursor) if !goes || found.rows.num_rows() == 0 => {
                turn.cursor = cursor;
                true
            }
            next => goes && (next.is_some() || found.rows.num_rows() > 0),
        };
        Ok(more)
    }

    /// Rows, each as often as it is there, in batches.
    fn give(
        &self,
        rows: &RecordBatch,
        counts: &[i64],
        kind: TurnKind,
        limit: usize,
        ready: &mut VecDeque<ChangeBatch>,
    ) -> Result<()> {
        let copies = counts.iter().enumerate();
        let indices: Vec<u32> = copies
            .flat_map(|(row, &count)| (0..count).map(move |_| row as u32))
            .collect();
        for piece in indices.chunks(limit) {
            let columns = taken(rows.columns(), &UInt32Array::from(piece.to_vec()))?;
            let rows = RecordBatch::try_new(Arc::clone(&self.config.schema), columns)
                .map_err(|error| internal(&self.config.operator, &error))?;
            let leaves = kind == TurnKind::Leave;
            ready.push_back(ChangeBatch {
                rows,
                retracted: leaves.then(|| BooleanBuffer::new_set(piece.len())),
                own_watermark: None,
            });
        }
        Ok(())
    }
}

impl Operator for TemporalFilter {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        self.waiting = Some(batch);
        self.turn(ctx)
    }

    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.turn(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.go_on(ctx)
    }

    fn next_due(&self, now: ProcessingTime) -> Result<Option<i64>> {
        self.config.times.next(now.0)
    }
}
