//! Rows that may begin a life, by event time: they wait until the watermark has reached their moment.
//!
//! ```text
//!   row ─▶ within the TTL of the life's last moment? ── yes ──▶ operator
//!                                                    └─ no ──▶ waiting[key], by moment ─▶ at the watermark, one life a turn
//! ```

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
    UInt32Array,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int64Type;
use weir_state::{Matches, SortBound, SortedRange};
use weir_types::{ChangeBatch, hash};

use super::super::OperatorContext;
use super::super::build::internal_text;
use super::super::due::{Due, DueKeys, taken};
use super::super::window_assign::own_watermark;
use super::super::windows::to_micros;
use super::{Keys, Retained, forget_due, key_chunks, taken_columns};
use crate::Result;

/// Rows of a key that are looked at together.
const ROWS_OF_KEY: usize = 256;
/// Columns of a waiting row before those of the input: its moment, whether it is a retraction, its event time.
const MARKS: usize = 3;

/// A waiting row of a key.
#[derive(Clone, Copy)]
struct Waiting {
    moment: i64,
    retracted: bool,
    time: i64,
    input: usize,
    /// Its place among the rows that were read of that input.
    row: usize,
}

impl Retained {
    pub(super) fn take_by_event_time(
        &mut self,
        input: usize,
        batch: ChangeBatch,
        ctx: &mut OperatorContext,
    ) -> Result<()> {
        let width = batch.rows.num_columns() - 1;
        let times = to_micros(batch.rows.column(width)).filter(|times| times.null_count() == 0);
        let Some(times) = times else {
            return Err(internal_text(&self.operator, "a row without event time"));
        };
        let visible = self.visible(input, &batch, width)?;
        let mut late = Vec::new();
        let mut moments = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let (time, own) = (times.value(row), own_watermark(&batch, row));
            if own.is_some_and(|own| time.saturating_add(self.ttl) <= own) {
                late.push(row as u32);
            }
            moments.push(own.map_or(time, |own| own.max(time)));
        }
        let is_late = |row: &u32| late.binary_search(row).is_ok();
        ctx.leave_out(input, &visible, &late, |row| times.value(row))?;
        let keys = taken_columns(&visible.rows, &self.inputs[input].keys);
        let hashes = hash::hash_columns(&keys, batch.num_rows());
        let mut slots = Vec::new();
        self.lives.find(&keys, &hashes, &mut slots)?;
        let (mut now, mut later) = (Vec::new(), Vec::new());
        let ttl = self.ttl;
        // A retraction may not overtake the row that it takes back, which waits perhaps.
        let may_go = !self.inputs[input].retractions;
        self.lives.with_columns(|columns| {
            for row in (0..slots.len() as u32).filter(|row| !is_late(row)) {
                let (slot, moment) = (slots[row as usize], moments[row as usize]);
                if !may_go || slot == u32::MAX {
                    later.push(row);
                    continue;
                }
                let last = columns.i64(1, slot);
                if moment >= last.saturating_add(ttl) {
                    later.push(row);
                    continue;
                }
                columns.set_i64(1, slot, last.max(moment));
                now.push(row);
            }
        });
        let touched: Vec<u32> = now.iter().map(|&row| slots[row as usize]).collect();
        self.lives.mark_dirty(&touched);
        self.note_lives(&keys, &hashes, now.clone(), |row| moments[row])?;
        self.keep_waiting(input, &visible, (&keys, &hashes), later, &moments, &times)?;
        if !now.is_empty() {
            let batch = visible
                .take(&UInt32Array::from(now))
                .map_err(|error| self.failed(error))?;
            self.work.queue.push_back((input, batch));
        }
        Ok(())
    }

    /// The batch without its last column.
    fn visible(&self, input: usize, batch: &ChangeBatch, width: usize) -> Result<ChangeBatch> {
        let columns = batch.rows.columns()[..width].to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(&self.inputs[input].schema);
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|error| self.failed(error))?;
        Ok(batch.with_rows(rows))
    }

    fn keep_waiting(
        &self,
        input: usize,
        batch: &ChangeBatch,
        (keys, hashes): (&[ArrayRef], &[u64]),
        rows: Vec<u32>,
        moments: &[i64],
        times: &Int64Array,
    ) -> Result<()> {
        let (Some(table), Some(due)) = (&self.inputs[input].waiting, &self.waiting_times) else {
            return Ok(());
        };
        if rows.is_empty() {
            return Ok(());
        }
        let stretch = self.waiting_stretch();
        let moment = |&row: &u32| moments[row as usize];
        let dues: Vec<Due> = rows
            .iter()
            .map(|row| Due::in_stretch(moment(row), stretch))
            .collect();
        let hashes: Vec<u64> = rows.iter().map(|&row| hashes[row as usize]).collect();
        let marks: [ArrayRef; MARKS] = [
            Arc::new(rows.iter().map(moment).collect::<Int64Array>()),
            Arc::new(BooleanArray::from_iter(
                rows.iter()
                    .map(|&row| Some(batch.is_retracted(row as usize))),
            )),
            Arc::new(
                rows.iter()
                    .map(|&row| times.value(row as usize))
                    .collect::<Int64Array>(),
            ),
        ];
        let rows = UInt32Array::from(rows);
        let keys = taken(keys, &rows)?;
        let mut columns = marks.to_vec();
        columns.extend(taken(batch.rows.columns(), &rows)?);
        let stored = self.waiting_rows(input, columns)?;
        table.apply(&keys, &hashes, &stored, &vec![1; dues.len()])?;
        due.note(&dues, &keys, &hashes)
    }

    fn waiting_rows(&self, input: usize, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        use arrow::datatypes::{DataType, Field, Schema};
        let marks = [
            ("moment", DataType::Int64),
            ("retracted", DataType::Boolean),
            ("row time", DataType::Int64),
        ];
        let marks = marks.map(|(name, data_type)| Arc::new(Field::new(name, data_type, true)));
        let fields = marks.into_iter();
        let fields: Vec<_> = fields
            .chain(self.inputs[input].schema.fields().iter().cloned())
            .collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|error| self.failed(error))
    }

    // ------------------------------------------------------------------ rows that waited

    /// Lets the next waiting rows go; `false`: nothing more is due.
    pub(super) fn release(&mut self, ctx: &mut OperatorContext) -> Result<bool> {
        let (Some(watermark), true) = (self.work.watermark, self.by_event_time()) else {
            return Ok(false);
        };
        loop {
            if let Some(keys) = self.work.chunks.pop_front() {
                if self.release_keys(&keys, watermark, ctx)? {
                    // There may be more of the same keys: another life, once this one is given.
                    self.work.chunks.push_front(keys);
                    return Ok(true);
                }
                continue;
            }
            if let Some(slice) = self.work.slice.take() {
                self.forget_due(self.waiting_times.as_ref(), slice, self.waiting_stretch())?;
            }
            let Some(slice) = self.work.slices.pop_front() else {
                return Ok(false);
            };
            self.work.slice = Some(slice);
            for batch in self.waiting_times.iter().flat_map(|due| due.keys(slice)) {
                for batch in batch {
                    self.work.chunks.extend(key_chunks(&batch));
                }
            }
        }
    }

    /// Forgets the keys of a stretch whose moment has come.
    fn forget_due(&self, due: Option<&DueKeys>, slice: i64, stretch: i64) -> Result<()> {
        let (Some(due), Some(watermark)) = (due, self.work.watermark) else {
            return Ok(());
        };
        forget_due(due, slice, stretch, watermark)
    }

    /// Of each key the waiting rows of one life, as far as they are due; `false`: there are none.
    fn release_keys(
        &mut self,
        keys: &Keys,
        watermark: i64,
        ctx: &mut OperatorContext,
    ) -> Result<bool> {
        let (read, horizons) = self.read_waiting(keys, watermark)?;
        let rows_of = by_key(&read, &horizons, keys.hashes.len());
        if rows_of.iter().all(Vec::is_empty) {
            return Ok(false);
        }
        let mut slots = Vec::new();
        self.lives.slots(&keys.columns, &keys.hashes, &mut slots)?;
        let mut lives: Vec<Option<(i64, i64)>> = self.lives.with_columns(|columns| {
            let life = |&slot: &u32| {
                (!columns.is_null(1, slot)).then(|| (columns.i64(0, slot), columns.i64(1, slot)))
            };
            slots.iter().map(life).collect()
        });
        let (mut over, mut touched) = (Vec::new(), Vec::new());
        let mut gone: Vec<Vec<u32>> = vec![Vec::new(); self.inputs.len()];
        let mut going: Vec<Vec<Waiting>> = vec![Vec::new(); self.inputs.len()];
        let mut left_out = going.clone();
        for (key, rows) in rows_of.iter().enumerate() {
            let had = lives[key].is_some();
            let chosen = self.one_life(rows, &mut lives[key]);
            if chosen.began && had {
                over.push(key as u32);
            }
            if chosen.went > 0 {
                touched.push(key as u32);
            }
            for (place, waiting) in rows[..chosen.seen].iter().enumerate() {
                gone[waiting.input].push(waiting.row as u32);
                if chosen.left_out.contains(&place) {
                    left_out[waiting.input].push(*waiting);
                } else {
                    going[waiting.input].push(*waiting);
                }
            }
        }
        for (input, waiting) in left_out.iter().enumerate() {
            self.leave_out(input, &read[input], waiting, ctx)?;
        }
        self.forget(&keys.columns, &keys.hashes, over)?;
        self.set_lives(keys, &slots, &lives, touched)?;
        for input in 0..self.inputs.len() {
            self.remove_waiting(input, keys, &read[input], &gone[input])?;
            self.queue_rows(input, &read[input], &going[input], ctx.batch_rows)?;
        }
        Ok(true)
    }

    /// The first waiting rows of each key that are due, and up to which moment all of them were read.
    fn read_waiting(&self, keys: &Keys, watermark: i64) -> Result<(Vec<Matches>, Vec<Vec<i64>>)> {
        let end: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![watermark]))];
        let range = SortedRange {
            from: None,
            to: Some(SortBound {
                values: &end,
                row: 0,
                inclusive: true,
            }),
            reverse: false,
        };
        let (mut read, mut horizons) = (Vec::new(), Vec::new());
        for input in &self.inputs {
            let Some(table) = &input.waiting else {
                return Err(internal_text(&self.operator, "no table of waiting rows"));
            };
            let rows = table.range_each(&keys.columns, &keys.hashes, &range, ROWS_OF_KEY)?;
            let moments = rows.rows.column(0).as_primitive::<Int64Type>();
            let mut horizon = vec![i64::MAX; keys.hashes.len()];
            let mut counts = vec![0; keys.hashes.len()];
            for (row, &key) in rows.probe_rows.values().iter().enumerate() {
                counts[key as usize] += 1;
                if counts[key as usize] == ROWS_OF_KEY {
                    horizon[key as usize] = moments.value(row);
                }
            }
            read.push(rows);
            horizons.push(horizon);
        }
        Ok((read, horizons))
    }

    /// Which of a key's waiting rows go on together: those of one life. `life` is what it becomes.
    fn one_life(&self, rows: &[Waiting], life: &mut Option<(i64, i64)>) -> Chosen {
        let mut chosen = Chosen::default();
        for (place, row) in rows.iter().enumerate() {
            match life {
                Some((first, last)) if row.moment < last.saturating_add(self.ttl) => {
                    if row.retracted && row.time <= first.saturating_sub(self.ttl) {
                        chosen.left_out.push(place);
                    } else {
                        *last = (*last).max(row.moment);
                        chosen.went += 1;
                    }
                }
                // What this life has to give comes first.
                _ if chosen.went > 0 => return chosen,
                // A life does not begin with a retraction: what it takes back was dropped.
                _ if row.retracted => chosen.left_out.push(place),
                _ => {
                    *life = Some((row.moment, row.moment));
                    (chosen.began, chosen.went) = (true, 1);
                }
            }
            chosen.seen = place + 1;
        }
        chosen
    }

    fn set_lives(
        &self,
        keys: &Keys,
        slots: &[u32],
        lives: &[Option<(i64, i64)>],
        touched: Vec<u32>,
    ) -> Result<()> {
        self.lives.with_columns(|columns| {
            for &key in &touched {
                if let Some((first, last)) = lives[key as usize] {
                    columns.set_i64(0, slots[key as usize], first);
                    columns.set_i64(1, slots[key as usize], last);
                }
            }
        });
        let changed: Vec<u32> = touched.iter().map(|&key| slots[key as usize]).collect();
        self.lives.mark_dirty(&changed);
        let last = |key: usize| lives[key].map_or(i64::MIN, |(_, last)| last);
        self.note_lives(&keys.columns, &keys.hashes, touched, last)
    }

    fn remove_waiting(
        &self,
        input: usize,
        keys: &Keys,
        read: &Matches,
        gone: &[u32],
    ) -> Result<()> {
        let Some(table) = self.inputs[input]
            .waiting
            .as_ref()
            .filter(|_| !gone.is_empty())
        else {
            return Ok(());
        };
        let of_key: UInt32Array = gone
            .iter()
            .map(|&row| Some(read.probe_rows.value(row as usize)))
            .collect();
        let hashes: Vec<u64> = of_key
            .values()
            .iter()
            .map(|&key| keys.hashes[key as usize])
            .collect();
        let weights: Vec<i64> = gone.iter().map(|&row| -read.counts[row as usize]).collect();
        let rows = taken(read.rows.columns(), &UInt32Array::from(gone.to_vec()))?;
        let rows = self.waiting_rows(input, rows)?;
        let keys = taken(&keys.columns, &of_key)?;
        Ok(table.apply(&keys, &hashes, &rows, &weights)?)
    }

    /// Retractions of what was dropped, each as often as it came.
    fn leave_out(
        &self,
        input: usize,
        read: &Matches,
        waiting: &[Waiting],
        ctx: &mut OperatorContext,
    ) -> Result<()> {
        let copies = waiting.iter().flat_map(|waiting| {
            let count = read.counts[waiting.row].max(0) as usize;
            std::iter::repeat_n((waiting.row as u32, waiting.time), count)
        });
        let (rows, times): (Vec<u32>, Vec<i64>) = copies.unzip();
        if rows.is_empty() {
            return Ok(());
        }
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        let columns = taken(&read.rows.columns()[MARKS..], &UInt32Array::from(rows))?;
        let options = RecordBatchOptions::new().with_row_count(Some(all.len()));
        let schema = Arc::clone(&self.inputs[input].schema);
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|error| self.failed(error))?;
        let batch = ChangeBatch {
            rows,
            retracted: Some(BooleanBuffer::new_set(all.len())),
            own_watermark: None,
        };
        ctx.leave_out(input, &batch, &all, |row| times[row])
    }

    /// Rows that waited go to the operator inside, each as often as it is there, those of a key in order.
    fn queue_rows(
        &mut self,
        input: usize,
        read: &Matches,
        going: &[Waiting],
        batch_rows: usize,
    ) -> Result<()> {
        let copies = going.iter().flat_map(|waiting| {
            let count = read.counts[waiting.row].max(0) as usize;
            std::iter::repeat_n((waiting.row as u32, waiting.retracted), count)
        });
        let (rows, retracted): (Vec<u32>, Vec<bool>) = copies.unzip();
        for start in (0..rows.len()).step_by(batch_rows.max(1)) {
            let end = (start + batch_rows.max(1)).min(rows.len());
            let indices = UInt32Array::from(rows[start..end].to_vec());
            let columns = taken(&read.rows.columns()[MARKS..], &indices)?;
            let options = RecordBatchOptions::new().with_row_count(Some(end - start));
            let schema = Arc::clone(&self.inputs[input].schema);
            let rows = RecordBatch::try_new_with_options(schema, columns, &options)
                .map_err(|error| self.failed(error))?;
            let retracted: BooleanBuffer = retracted[start..end].iter().copied().collect();
            let batch = ChangeBatch {
                rows,
                retracted: (retracted.count_set_bits() > 0).then_some(retracted),
                own_watermark: None,
            };
            self.work.queue.push_back((input, batch));
        }
        Ok(())
    }
}

/// Which of a key's waiting rows were dealt with.
#[derive(Default)]
struct Chosen {
    /// So many from the first on.
    seen: usize,
    /// So many of them go to the operator.
    went: usize,
    /// The others: retractions of what was dropped.
    left_out: Vec<usize>,
    /// The first of them that goes begins a life.
    began: bool,
}

/// For each key its waiting rows in order, as far as those of all inputs were read.
fn by_key(read: &[Matches], horizons: &[Vec<i64>], keys: usize) -> Vec<Vec<Waiting>> {
    let mut rows_of: Vec<Vec<Waiting>> = vec![Vec::new(); keys];
    for (input, matches) in read.iter().enumerate() {
        let moments = matches.rows.column(0).as_primitive::<Int64Type>();
        let retracted = matches.rows.column(1).as_boolean();
        let times = matches.rows.column(2).as_primitive::<Int64Type>();
        for (row, &key) in matches.probe_rows.values().iter().enumerate() {
            let key = key as usize;
            let horizon = horizons.iter().map(|horizon| horizon[key]).min();
            if horizon.is_none_or(|horizon| moments.value(row) <= horizon) {
                rows_of[key].push(Waiting {
                    moment: moments.value(row),
                    retracted: retracted.value(row),
                    time: times.value(row),
                    input,
                    row,
                });
            }
        }
    }
    for rows in &mut rows_of {
        rows.sort_by_key(|row| (row.moment, row.retracted));
    }
    rows_of
}
