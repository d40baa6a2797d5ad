//! Rows that are beaten when they come: so many of their partition stand before them that they are never given.
//!
//! ```text
//!   epoch ─▶ partition touched first ─▶ its last place, if all places are taken ─▶ bar
//!   batch ─▶ beyond the bar? dropped ─▶ more than places in one partition? the last of them is the bar ─▶ the others are kept
//! ```
//!
//! Most rows of a ranking are of this kind: a bid that is not among the ten highest, all but the latest of a hundred changes.
//! They would be kept until the end of the epoch, and be dropped then.
//!
//! # Invariants
//! 1. What is kept at the end of an epoch is the same as without: only the sort columns are compared, so that a row is beaten
//!    only by as many rows as there are places that are strictly before it.
//! 2. A partition without a change gives nothing, and need not be read again.

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter, take_record_batch};
use weir_planner::plan::RankFunction;
use weir_state::ByteRows;
use weir_types::ChangeBatch;

use super::{Numbered, Piece, Rank};
use crate::Result;
use crate::operators::bytes::BytesNumbers;
use crate::operators::due::taken;

/// Rankings with more places keep everything until the end of the epoch: bars would seldom be reached.
const PLACES: u64 = 1024;

/// The partitions that an epoch has touched.
#[derive(Default)]
pub(super) struct Touched {
    numbers: BytesNumbers,
    /// By number, in the order of their first touch.
    partitions: Vec<Partition>,
}

#[derive(Default)]
struct Partition {
    /// The place of the last row that is given, once all places are taken.
    bar: Option<Box<[u8]>>,
    /// Whether a row of it was kept, or taken back.
    changed: bool,
    /// Rows of the batch at hand that are not beyond the bar.
    rows: u32,
}

impl Touched {
    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    /// The number of a partition, and whether it is touched for the first time.
    pub(super) fn number(&mut self, key: &[u8]) -> (u32, bool) {
        if let Some(&number) = self.numbers.get(key) {
            return (number, false);
        }
        let number = self.partitions.len() as u32;
        self.numbers.insert(key.into(), number);
        self.partitions.push(Partition::default());
        (number, true)
    }

    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        self.partitions.clear();
    }
}

impl Rank {
    /// How many rows of a partition can be given, if a row can be beaten for good.
    fn places(&self) -> Option<usize> {
        let config = &self.config;
        let last = config.bounds.last.filter(|last| *last <= PLACES)?;
        // Of the other functions many rows can have the last number.
        let by_rows = config.function == RankFunction::RowNumber && !config.order.is_empty();
        (config.drops_rest && by_rows && last > 0).then_some(last as usize)
    }

    /// The sort columns of rows, as bytes that sort like them.
    fn places_of(&self, rows: &RecordBatch) -> Result<ByteRows> {
        let in_order = self.rows.columns_in_order();
        let sorts = in_order
            .iter()
            .take_while(|column| self.config.order.contains(column));
        let values: Vec<ArrayRef> = sorts.map(|&column| rows.column(column).clone()).collect();
        Ok(self.rows.places_in_bytes(&values, rows.num_rows())?)
    }

    /// Takes note of partitions all of whose places are taken; the first of them has the number `first`.
    pub(super) fn note_bars(&mut self, first: usize, old: &Numbered) -> Result<()> {
        let Some(places) = self.places() else {
            return Ok(());
        };
        let bounds = &self.config.bounds;
        let not_given = bounds.first.saturating_sub(1).max(bounds.skip);
        let Some(given) = (places as u64)
            .checked_sub(not_given)
            .filter(|given| *given > 0)
        else {
            return Ok(());
        };
        let (mut full, mut last_rows) = (Vec::new(), Vec::new());
        let mut start = 0;
        for (partition, &end) in old.ends.iter().enumerate() {
            if (end - start) as u64 == given {
                full.push(first + partition);
                last_rows.push(end as u32 - 1);
            }
            start = end;
        }
        if full.is_empty() {
            return Ok(());
        }
        let rows =
            take_record_batch(&old.rows, &UInt32Array::from(last_rows)).map_err(self.failed())?;
        let bars = self.places_of(&rows)?;
        for (row, partition) in full.into_iter().enumerate() {
            self.touched.partitions[partition].bar = Some(bars.get(row).into());
        }
        Ok(())
    }

    /// For each row of a batch whether it is beaten; `None`: no row is. `of_rows`: the number of each row's partition.
    pub(super) fn beaten(
        &mut self,
        rows: &RecordBatch,
        of_rows: &[u32],
    ) -> Result<Option<Vec<bool>>> {
        let Some(limit) = self.places() else {
            for &number in of_rows {
                self.touched.partitions[number as usize].changed = true;
            }
            return Ok(None);
        };
        let places = self.places_of(rows)?;
        let partitions = &mut self.touched.partitions;
        let mut beaten = vec![false; of_rows.len()];
        for (row, &number) in of_rows.iter().enumerate() {
            let partition = &mut partitions[number as usize];
            match &partition.bar {
                Some(bar) if places.get(row) > &**bar => beaten[row] = true,
                _ => partition.rows += 1,
            }
        }
        // Rows of partitions that got more of them than there are places, together and in order.
        let is_many = |row: &u32| {
            let number = of_rows[*row as usize] as usize;
            !beaten[*row as usize] && partitions[number].rows as usize > limit
        };
        let mut many: Vec<u32> = (0..of_rows.len() as u32).filter(is_many).collect();
        let place_of = |row: u32| (of_rows[row as usize], places.get(row as usize));
        many.sort_unstable_by(|&a, &b| place_of(a).cmp(&place_of(b)));
        for rows in many.chunk_by(|&a, &b| of_rows[a as usize] == of_rows[b as usize]) {
            let bar = places.get(rows[limit - 1] as usize);
            for &row in &rows[limit..] {
                beaten[row as usize] = places.get(row as usize) > bar;
            }
            partitions[of_rows[rows[0] as usize] as usize].bar = Some(bar.into());
        }
        for (row, &number) in of_rows.iter().enumerate() {
            let partition = &mut partitions[number as usize];
            partition.rows = 0;
            partition.changed |= !beaten[row];
        }
        Ok(beaten.contains(&true).then_some(beaten))
    }

    /// A batch, its keys and their hashes without the rows that are beaten.
    pub(super) fn without(
        &self,
        beaten: &[bool],
        keys: &[ArrayRef],
        hashes: &[u64],
        batch: &ChangeBatch,
    ) -> Result<(Vec<ArrayRef>, Vec<u64>, ChangeBatch)> {
        let kept: BooleanArray = beaten.iter().map(|beaten| Some(!beaten)).collect();
        let keys = keys.iter().map(|key| filter(key, &kept));
        let keys = keys.collect::<Result<Vec<_>, _>>().map_err(self.failed())?;
        let hashes = hashes.iter().zip(beaten);
        let hashes = hashes.filter_map(|(&hash, beaten)| (!beaten).then_some(hash));
        let batch = batch.filter(&kept).map_err(self.failed())?;
        Ok((keys, hashes.collect(), batch))
    }

    /// A piece without the partitions that did not change.
    pub(super) fn sifted(&self, piece: Piece) -> Result<Piece> {
        let is_changed = |partition: &usize| {
            let number = piece.first + partition;
            self.touched.partitions[number].changed
        };
        let changed: Vec<usize> = (0..piece.hashes.len()).filter(is_changed).collect();
        if changed.len() == piece.hashes.len() {
            return Ok(Piece {
                is_sifted: true,
                ..piece
            });
        }
        let old = &piece.old;
        let (mut old_rows, mut ends) = (Vec::new(), Vec::with_capacity(changed.len()));
        for &partition in &changed {
            let start = partition
                .checked_sub(1)
                .map_or(0, |before| old.ends[before]);
            old_rows.extend(start as u32..old.ends[partition] as u32);
            ends.push(old_rows.len());
        }
        let rows = take_record_batch(&old.rows, &UInt32Array::from(old_rows));
        let hashes = changed.iter().map(|&partition| piece.hashes[partition]);
        let hashes = hashes.collect();
        let partitions: UInt32Array = changed.iter().map(|&p| Some(p as u32)).collect();
        Ok(Piece {
            keys: taken(&piece.keys, &partitions)?,
            hashes,
            old: Numbered {
                rows: rows.map_err(self.failed())?,
                ends,
                rest: None,
                beyond: Vec::new(),
            },
            first: piece.first,
            is_sifted: true,
            next: 0,
        })
    }
}
