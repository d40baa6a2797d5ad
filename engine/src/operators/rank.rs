//! Rankings: the rows of each partition in an order, numbered; those within the bounds are the result.
//!
//! ```text
//!   batch ─▶ partitions touched first in this epoch? remember what they gave ─▶ rows into the sorted table
//!   end of the epoch ─▶ for each touched partition: read its rows in order ─▶ number them ─▶ old result out, new one in,
//!                                                                              what is in both cancels
//! ```
//!
//! ORDER BY … LIMIT is a ranking of one partition whose numbers nobody sees; a deduplication is one that gives number 1.
//!
//! # Invariants
//! 1. A row gives at most one change per epoch, and a retraction is exactly what was given last.
//! 2. The order is total but for equal rows: the sorted table breaks ties by all columns.
//! 3. Over an input that only grows, rows beyond the last number are dropped at the end of the epoch, and as far as is known
//!    (`beaten.rs`) before they are kept: no row that comes later can bring them back.

mod beaten;
mod current;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::{filter_record_batch, interleave, not, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use weir_planner::plan::{Changelog, OperatorKind, RankBounds, RankFunction};
use weir_state::{SortBound, SortedRange, SortedTable};
use weir_types::{ChangeBatch, DataType, OperatorId, hash};

use super::build::{internal, internal_text};
use super::changes::net;
use super::due::taken;
use super::retained::Forgets;
use super::{BuildContext, Operator, OperatorContext, Progress};
use crate::Result;

use self::beaten::Touched;
pub(super) use self::current::Partitions;

/// Rows of a partition that are read at a time at most.
const ROWS_READ: usize = 4096;
/// Rows that are read of a partition behind those that are given, where they are dropped then.
const ROWS_BEYOND: usize = 8;
/// Rows that a flush reads, about, before it gives some.
const ROWS_FLUSHED: usize = 16_384;

/// What does not change while it runs.
pub(super) struct Configuration {
    pub(super) operator: OperatorId,
    pub(super) partition: Vec<usize>,
    pub(super) order: Vec<usize>,
    pub(super) function: RankFunction,
    pub(super) bounds: RankBounds,
    pub(super) shown: bool,
    /// Rows beyond the last number can go.
    pub(super) drops_rest: bool,
    pub(super) schema: SchemaRef,
}

/// See the module's text.
pub(super) struct Rank {
    pub(super) config: Configuration,
    pub(super) rows: SortedTable,
    /// Which values of the order are equal; `None` where no number hangs on it.
    ties: Option<RowConverter>,
    touched: Touched,
    pieces: VecDeque<Piece>,
    /// Changes that are ready to be given.
    pending: VecDeque<ChangeBatch>,
    /// Where the giving of all rows goes on.
    standing: current::Standing,
}

/// Partitions that were touched first by one batch, with what they gave until then.
struct Piece {
    keys: Vec<ArrayRef>,
    hashes: Vec<u64>,
    old: Numbered,
    /// The number of its first partition among those that the epoch has touched.
    first: usize,
    /// Whether the partitions that did not change were taken out.
    is_sifted: bool,
    /// The next partition to be flushed.
    next: usize,
}

/// The result of some partitions.
pub(super) struct Numbered {
    pub(super) rows: RecordBatch,
    /// For each partition the end of its rows.
    ends: Vec<usize>,
    /// Rows that nobody asks for.
    rest: Option<Rest>,
    beyond: Vec<Beyond>,
}

/// Rows that nobody asks for of partitions that were read whole.
struct Rest {
    partitions: UInt32Array,
    rows: RecordBatch,
    counts: Vec<i64>,
}

/// Rows of a partition that nobody asks for, where more of them are than were read.
struct Beyond {
    partition: usize,
    /// Where they begin.
    row: RecordBatch,
    /// Whether this row is one of them; if not, it has copies that are given, and stays.
    inclusive: bool,
}

/// Where the numbering of a partition stands.
#[derive(Clone, Copy, Default)]
pub(super) struct Position {
    pub(super) rows: u64,
    pub(super) number: u64,
    pub(super) is_past_the_end: bool,
}

pub(super) fn build(context: &BuildContext<'_>) -> Result<Rank> {
    let operator = &context.plan.operators[context.index];
    let (OperatorKind::Rank {
        partition,
        order,
        function,
        bounds,
        shown,
    }
    | OperatorKind::FinalRank {
        partition,
        order,
        function,
        bounds,
        shown,
        ..
    }) = &operator.kind
    else {
        return Err(internal_text(&operator.id, "not a ranking"));
    };
    let input = &context.plan.operators[operator.inputs[0].from];
    let ties = if *function == RankFunction::RowNumber || order.is_empty() {
        None
    } else {
        let fields = order
            .iter()
            .map(|sort| SortField::new(input.schema[sort.column].data_type.to_arrow()));
        let converter = RowConverter::new(fields.collect());
        Some(converter.map_err(|error| internal(&operator.id, &error))?)
    };
    Ok(Rank {
        config: Configuration {
            operator: operator.id.clone(),
            partition: partition.clone(),
            order: order.iter().map(|sort| sort.column).collect(),
            function: *function,
            bounds: *bounds,
            shown: *shown,
            drops_rest: input.changelog == Changelog::AppendOnly && bounds.last.is_some(),
            schema: DataType::arrow_schema(&operator.schema),
        },
        rows: context.state.sorted_table(&operator.id, "rows"),
        ties,
        touched: Touched::default(),
        pieces: VecDeque::new(),
        pending: VecDeque::new(),
        standing: current::Standing::default(),
    })
}

impl Rank {
    pub(super) fn failed(&self) -> impl Fn(ArrowError) -> crate::Error + use<> {
        let operator = self.config.operator.clone();
        move |error| internal(&operator, &error)
    }

    /// The partition of each row, by its number among those that the epoch has touched. Remembers what partitions that are
    /// touched for the first time gave until now.
    fn touch(&mut self, keys: &[ArrayRef], hashes: &[u64]) -> Result<Vec<u32>> {
        let before = self.touched.len();
        let bytes = self.rows.keys_in_bytes(keys, hashes.len())?;
        let mut first = Vec::new();
        let mut of_rows = Vec::with_capacity(hashes.len());
        for row in 0..hashes.len() {
            let (number, is_first) = self.touched.number(bytes.get(row));
            of_rows.push(number);
            if is_first {
                first.push(row as u32);
            }
        }
        if first.is_empty() {
            return Ok(of_rows);
        }
        let hashes: Vec<u64> = first.iter().map(|&row| hashes[row as usize]).collect();
        let first = UInt32Array::from(first);
        let keys = keys
            .iter()
            .map(|key| take(key, &first, None))
            .collect::<Result<Vec<_>, _>>()
            .map_err(self.failed())?;
        let old = self.numbered(&keys, &hashes)?;
        self.note_bars(before, &old)?;
        self.pieces.push_back(Piece {
            keys,
            hashes,
            old,
            first: before,
            is_sifted: false,
            next: 0,
        });
        Ok(of_rows)
    }

    // ------------------------------------------------------------------ numbering

    /// The present result of partitions.
    pub(super) fn numbered(&self, keys: &[ArrayRef], hashes: &[u64]) -> Result<Numbered> {
        let last = self.config.bounds.last.map(|last| last as usize);
        // One more than is given says what lies beyond. Where that is dropped there are few.
        let more = if self.config.drops_rest {
            ROWS_BEYOND
        } else {
            1
        };
        let limit = last.map_or(ROWS_READ, |last| last.saturating_add(more).min(ROWS_READ));
        let everything = SortedRange::default();
        let read = self.rows.range_each(keys, hashes, &everything, limit)?;
        let mut result = Collected::default();
        let of_partition = read.probe_rows.values();
        let (mut start, mut batches) = (0, vec![read.rows.clone()]);
        let same = self.same_as_before(&read.rows)?;
        for (partition, &hash) in hashes.iter().enumerate() {
            let end = start + of_partition[start..].partition_point(|&p| p as usize == partition);
            let mut position = Position::default();
            self.number(
                &mut position,
                &read.counts,
                &same,
                0,
                start..end,
                &mut result,
            );
            if position.is_past_the_end && end - start < limit {
                self.note_rest(partition, end, &mut result);
            } else if position.is_past_the_end {
                self.note_beyond(partition, &batches, &mut result);
            } else if end - start == limit {
                let from = (read.rows.slice(end - 1, 1), partition);
                let key = (keys, hash);
                self.read_on(key, from, position, &mut batches, &mut result)?;
            }
            result.ends.push(result.places.len());
            start = end;
        }
        let rest = std::mem::take(&mut result.rest);
        let mut numbered = self.finish(result, &batches)?;
        if !rest.is_empty() {
            let (partitions, rows): (Vec<u32>, Vec<u32>) = rest.into_iter().unzip();
            let rows_read = rows.iter().map(|&row| read.counts[row as usize]);
            numbered.rest = Some(Rest {
                counts: rows_read.collect(),
                rows: take_record_batch(&read.rows, &UInt32Array::from(rows))
                    .map_err(self.failed())?,
                partitions: partitions.into(),
            });
        }
        Ok(numbered)
    }

    /// Numbers the rows of a large partition behind the first ones.
    fn read_on(
        &self,
        (keys, hash): (&[ArrayRef], u64),
        (mut last, partition): (RecordBatch, usize),
        mut position: Position,
        batches: &mut Vec<RecordBatch>,
        result: &mut Collected,
    ) -> Result<()> {
        let in_order = self.rows.columns_in_order();
        loop {
            let values: Vec<ArrayRef> = in_order.iter().map(|&c| last.column(c).clone()).collect();
            let range = SortedRange {
                from: Some(SortBound {
                    values: &values,
                    row: 0,
                    inclusive: false,
                }),
                ..SortedRange::default()
            };
            let (rows, counts) = self.rows.range(keys, partition, hash, &range, ROWS_READ)?;
            if counts.is_empty() {
                return Ok(());
            }
            // The first of them may be equal to the last one before.
            let with_last = [&last, &rows];
            let joined =
                arrow::compute::concat_batches(&rows.schema(), with_last).map_err(self.failed())?;
            let same = self.same_as_before(&joined)?;
            let same = same.map(|same| same[1..].to_vec());
            batches.push(rows.clone());
            let batch = batches.len() - 1;
            self.number(
                &mut position,
                &counts,
                &same,
                batch,
                0..counts.len(),
                result,
            );
            if position.is_past_the_end {
                self.note_beyond(partition, batches, result);
                return Ok(());
            }
            if counts.len() < ROWS_READ {
                return Ok(());
            }
            last = rows.slice(rows.num_rows() - 1, 1);
        }
    }

    /// For each row whether it is equal to the row before it, as far as the order goes; `None` if nobody wants to know.
    pub(super) fn same_as_before(&self, rows: &RecordBatch) -> Result<Option<Vec<bool>>> {
        let Some(ties) = &self.ties else {
            return Ok(None);
        };
        let columns: Vec<ArrayRef> = self
            .config
            .order
            .iter()
            .map(|&column| rows.column(column).clone())
            .collect();
        let encoded = ties.convert_columns(&columns).map_err(self.failed())?;
        let same = |row: usize| row > 0 && encoded.row(row) == encoded.row(row - 1);
        Ok(Some((0..rows.num_rows()).map(same).collect()))
    }

    /// Numbers rows in order, and collects those that are given.
    pub(super) fn number(
        &self,
        position: &mut Position,
        counts: &[i64],
        same: &Option<Vec<bool>>,
        batch: usize,
        range: std::ops::Range<usize>,
        result: &mut Collected,
    ) {
        let bounds = &self.config.bounds;
        let last = bounds.last.unwrap_or(u64::MAX);
        for row in range {
            // Without an order all rows are equal.
            let is_first = position.rows == 0;
            let tie = !is_first && same.as_ref().is_none_or(|same| same[row]);
            for copy in 0..counts[row] {
                let equal = tie || copy > 0;
                position.number = match self.config.function {
                    RankFunction::RowNumber => position.rows + 1,
                    RankFunction::Rank if !equal => position.rows + 1,
                    RankFunction::DenseRank if !equal => position.number + 1,
                    RankFunction::Rank | RankFunction::DenseRank => position.number,
                };
                if position.number > last {
                    position.is_past_the_end = true;
                    result.stop = Some((batch, row, copy == 0));
                    return;
                }
                position.rows += 1;
                if position.number >= bounds.first && position.rows > bounds.skip {
                    result.places.push((batch, row));
                    result.numbers.push(position.number as i64);
                }
            }
        }
    }

    /// The rows of a partition, which ends at `end` and was read whole, from where the numbering went past the end.
    fn note_rest(&self, partition: usize, end: usize, result: &mut Collected) {
        if let Some((_, row, inclusive)) = result.stop.take()
            && self.config.drops_rest
        {
            let rows = row + usize::from(!inclusive)..end;
            let rows = rows.map(|row| (partition as u32, row as u32));
            result.rest.extend(rows);
        }
    }

    fn note_beyond(&self, partition: usize, batches: &[RecordBatch], result: &mut Collected) {
        if let Some((batch, row, inclusive)) = result.stop.take()
            && self.config.drops_rest
        {
            result.beyond.push(Beyond {
                partition,
                row: batches[batch].slice(row, 1),
                inclusive,
            });
        }
    }

    pub(super) fn finish(&self, result: Collected, batches: &[RecordBatch]) -> Result<Numbered> {
        let width = batches[0].num_columns();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(width + 1);
        for column in 0..width {
            let arrays: Vec<_> = batches.iter().map(|b| b.column(column).as_ref()).collect();
            columns.push(interleave(&arrays, &result.places).map_err(self.failed())?);
        }
        let count = result.numbers.len();
        if self.config.shown {
            columns.push(Arc::new(Int64Array::from(result.numbers)));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let schema = Arc::clone(&self.config.schema);
        let rows = RecordBatch::try_new_with_options(schema, columns, &options);
        Ok(Numbered {
            rows: rows.map_err(self.failed())?,
            ends: result.ends,
            rest: None,
            beyond: result.beyond,
        })
    }

    // ------------------------------------------------------------------ the end of an epoch

    /// Gives the next changes.
    fn give(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        while self.pending.is_empty() {
            let Some(mut piece) = self.pieces.pop_front() else {
                self.touched.clear();
                return Ok(Progress::Done);
            };
            if !piece.is_sifted {
                piece = self.sifted(piece)?;
            }
            self.flush(&mut piece, ctx.batch_rows)?;
            if piece.next < piece.hashes.len() {
                self.pieces.push_front(piece);
            }
        }
        if let Some(batch) = self.pending.pop_front() {
            ctx.emit(batch);
        }
        Ok(Progress::More)
    }

    /// The changes of the next partitions of a piece, into `pending`.
    fn flush(&mut self, piece: &mut Piece, batch_rows: usize) -> Result<()> {
        let per_partition = self.config.bounds.last.unwrap_or(64).max(1);
        let count = (ROWS_FLUSHED as u64 / per_partition).max(1) as usize;
        let from = piece.next;
        let to = (from + count).min(piece.hashes.len());
        if from == to {
            return Ok(());
        }
        piece.next = to;
        let keys: Vec<ArrayRef> = piece
            .keys
            .iter()
            .map(|key| key.slice(from, to - from))
            .collect();
        let hashes = &piece.hashes[from..to];
        let new = self.numbered(&keys, hashes)?;
        self.drop_rest(&keys, hashes, &new)?;
        let start = from
            .checked_sub(1)
            .map_or(0, |before| piece.old.ends[before]);
        let old = piece.old.rows.slice(start, piece.old.ends[to - 1] - start);
        // What a partition gives that gave nothing before cannot cancel anything: it need not be compared.
        let (first, new) = self.split_first(&piece.old.ends[..to], from, new)?;
        let mut all = Vec::new();
        if first.num_rows() > 0 {
            self.pend(&ChangeBatch::append_only(first), batch_rows);
        }
        if old.num_rows() > 0 {
            all.push(ChangeBatch {
                retracted: Some(arrow::buffer::BooleanBuffer::new_set(old.num_rows())),
                rows: old,
                own_watermark: None,
            });
        }
        if new.num_rows() > 0 {
            all.push(ChangeBatch::append_only(new));
        }
        for batch in net(all, batch_rows).map_err(self.failed())? {
            self.pend(&batch, batch_rows);
        }
        Ok(())
    }

    /// Keeps changes that are ready to be given, in pieces.
    fn pend(&mut self, batch: &ChangeBatch, batch_rows: usize) {
        let rows = batch.num_rows();
        let pieces = (0..rows).step_by(batch_rows.max(1));
        self.pending
            .extend(pieces.map(|at| batch.slice(at, batch_rows.max(1).min(rows - at))));
    }

    /// The new rows of partitions that gave none before, and those of the others. `old_ends`: of all partitions up to the last
    /// of `new`, whose first one is `from`.
    fn split_first(
        &self,
        old_ends: &[usize],
        from: usize,
        new: Numbered,
    ) -> Result<(RecordBatch, RecordBatch)> {
        let mut is_first = Vec::with_capacity(new.rows.num_rows());
        let mut before = from.checked_sub(1).map_or(0, |before| old_ends[before]);
        for (&old_end, &end) in old_ends[from..].iter().zip(&new.ends) {
            is_first.resize(end, old_end == before);
            before = old_end;
        }
        if is_first.iter().all(|&first| first) {
            let none = new.rows.slice(0, 0);
            return Ok((new.rows, none));
        }
        let is_first = BooleanArray::from(is_first);
        let others = not(&is_first).map_err(self.failed())?;
        let chosen = |mask| filter_record_batch(&new.rows, mask).map_err(self.failed());
        Ok((chosen(&is_first)?, chosen(&others)?))
    }

    /// Forgets the rows of partitions that nobody asks for.
    pub(super) fn drop_rest(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        numbered: &Numbered,
    ) -> Result<()> {
        for beyond in &numbered.beyond {
            self.drop_beyond(keys, hashes[beyond.partition], beyond)?;
        }
        let Some(rest) = &numbered.rest else {
            return Ok(());
        };
        let of_partitions = rest.partitions.values().iter();
        let hashes: Vec<u64> = of_partitions.map(|&p| hashes[p as usize]).collect();
        let gone: Vec<i64> = rest.counts.iter().map(|count| -count).collect();
        let keys = taken(keys, &rest.partitions)?;
        Ok(self.rows.apply(&keys, &hashes, &rest.rows, &gone)?)
    }

    fn drop_beyond(&self, keys: &[ArrayRef], hash: u64, beyond: &Beyond) -> Result<()> {
        let in_order = self.rows.columns_in_order();
        let values = in_order.iter().map(|&c| beyond.row.column(c).clone());
        let values: Vec<ArrayRef> = values.collect();
        let range = SortedRange {
            from: Some(SortBound {
                values: &values,
                row: 0,
                inclusive: beyond.inclusive,
            }),
            ..SortedRange::default()
        };
        self.rows
            .remove_range(keys, beyond.partition, hash, &range)?;
        Ok(())
    }
}

/// Rows of a result while it is made.
#[derive(Default)]
pub(super) struct Collected {
    /// Batch and row.
    places: Vec<(usize, usize)>,
    numbers: Vec<i64>,
    ends: Vec<usize>,
    /// Where the numbering went past the end: batch, row, whether none of its copies are given.
    stop: Option<(usize, usize, bool)>,
    /// Partition and row.
    rest: Vec<(u32, u32)>,
    beyond: Vec<Beyond>,
}

impl Forgets for Rank {
    fn forget(&mut self, keys: &[ArrayRef], hashes: &[u64]) -> Result<()> {
        for (row, &hash) in hashes.iter().enumerate() {
            self.rows
                .remove_range(keys, row, hash, &SortedRange::default())?;
        }
        Ok(())
    }
}

impl Operator for Rank {
    fn on_batch(
        &mut self,
        _: usize,
        batch: ChangeBatch,
        _: &mut OperatorContext,
    ) -> Result<Progress> {
        let rows = batch.num_rows();
        let keys: Vec<ArrayRef> = self
            .config
            .partition
            .iter()
            .map(|&column| batch.rows.column(column).clone())
            .collect();
        let hashes = hash::hash_columns(&keys, rows);
        let of_rows = self.touch(&keys, &hashes)?;
        let beaten = self.beaten(&batch.rows, &of_rows)?;
        let beaten = beaten.map(|beaten| self.without(&beaten, &keys, &hashes, &batch));
        let (keys, hashes, batch) = beaten.transpose()?.unwrap_or((keys, hashes, batch));
        let rows = batch.num_rows();
        let weights: Vec<i64> = (0..rows).map(|row| batch.weight(row)).collect();
        self.rows.apply(&keys, &hashes, &batch.rows, &weights)?;
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.give(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.give(ctx)
    }

    fn give_standing(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.give_all(ctx)
    }

    fn holds_watermark(&self) -> bool {
        true
    }
}
