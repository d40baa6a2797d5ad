//! A run: records of one table in order, in a stretch of its file.
//!
//! ```text
//!   stretch   record, record, … │ record, … │ …      a bucket is what one read fetches
//!   memory    of each bucket, where it begins; of each record, a byte of its hash
//! ```
//!
//! Hashes are spread evenly, so that a bucket is found by a multiplication; the bytes say nearly always whether the key is in it.

use std::ops::Range;
use std::sync::Arc;

use super::memory::Held;
use super::record::{self, GROUP_SHIFT, Record, damaged};
use super::space::{Space, Stretch};
use crate::{Error, Result};

/// Records of a bucket, about: of so many, one in 25 has the byte of another key.
const BUCKET_RECORDS: u64 = 10;
/// Bytes of a bucket that is not one large record, about.
const BUCKET_BYTES: u64 = 4096;
/// Bytes that are written at once: of larger pieces the kernel's cache has fewer and larger pages to find.
const WRITTEN_BYTES: usize = 128 << 10;
/// Bytes that are read at once, one after the other.
pub(super) const PIECE_BYTES: usize = 16 << 10;

/// What a look-up has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing of this key.
    Nothing,
    /// That it was deleted.
    Deleted,
    /// Its row, here in the buffer of the look-up.
    Row(Range<usize>),
}

/// How records are spread over buckets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    first_group: u64,
    groups: u64,
    buckets: u64,
}

/// What goes into a run, at most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    /// Of the first and of the last record.
    pub(super) places: Option<(u64, u64)>,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Extent {
    /// What both have.
    pub(super) fn and(self, other: Self) -> Self {
        let places = match (self.places, other.places) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        Self {
            places,
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Spread {
    fn of(extent: &Extent) -> Self {
        let (first, last) = extent.places.unwrap_or_default();
        let (first_group, last_group) = (first >> GROUP_SHIFT, last >> GROUP_SHIFT);
        let buckets = (extent.records / BUCKET_RECORDS).max(extent.bytes / BUCKET_BYTES);
        Self {
            first_group,
            groups: last_group - first_group + 1,
            buckets: buckets.clamp(1, extent.records.max(1)),
        }
    }

    /// The bucket of a place; `None`: it has none.
    #[inline]
    fn bucket(&self, place: u64) -> Option<usize> {
        let within = place.checked_sub(self.first_group << GROUP_SHIFT)?;
        if within >> GROUP_SHIFT >= self.groups {
            return None;
        }
        let scaled = (u128::from(within) * u128::from(self.buckets)) >> GROUP_SHIFT;
        Some((scaled as u64 / self.groups) as usize)
    }
}

/// The records of a run, without what finds one of them.
#[derive(Clone)]
pub(super) struct Records {
    stretch: Arc<Stretch>,
    extent: Extent,
}

impl Records {
    pub(super) fn extent(&self) -> Extent {
        self.extent
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stretch, &other.stretch)
    }
}

/// See the module's text.
pub(super) struct Run {
    records: Records,
    spread: Spread,
    /// Where each bucket begins: its record, its byte. One more than there are buckets.
    begins: Vec<(u32, u32)>,
    /// A byte of each record's hash.
    marks: Vec<u8>,
    held: Held,
}

impl Run {
    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    pub(super) fn memory(&self) -> usize {
        self.held.bytes()
    }

    /// The bytes among which the record of a key is, if it has one.
    #[inline]
    pub(super) fn may_have(&self, place: u64, hash: u64) -> Option<Range<u32>> {
        let bucket = self.spread.bucket(place)?;
        let ((first, from), (last, to)) = (self.begins[bucket], self.begins[bucket + 1]);
        let marks = &self.marks[first as usize..last as usize];
        marks.contains(&(hash as u8)).then_some(from..to)
    }

    /// Looks for a key among bytes of [`Run::may_have`]. What is read is in `buffer`, which only grows.
    pub(super) fn read(
        &self,
        hash: u64,
        key: &[u8],
        range: Range<u32>,
        buffer: &mut Vec<u8>,
    ) -> Result<Found> {
        let length = (range.end - range.start) as usize;
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let stretch = &self.records.stretch;
        stretch.read(u64::from(range.start), &mut buffer[..length])?;
        let mut at = 0;
        while at < length {
            let record = Record::first(&buffer[at..length]).ok_or_else(damaged)?;
            if record.hash == hash && record.key == key {
                record.check()?;
                let end = at + record.bytes.len();
                return Ok(match record.row {
                    None => Found::Deleted,
                    Some(row) => Found::Row(end - row.len()..end),
                });
            }
            at += record.bytes.len();
        }
        // It is seldom that a mark is that of another key. If it is not, the record is there, and damaged.
        let mut at = 0;
        while at < length {
            let record = Record::first(&buffer[at..length]).ok_or_else(damaged)?;
            record.check()?;
            at += record.bytes.len();
        }
        Ok(Found::Nothing)
    }
}

/// Writes a run; records come in order.
pub(super) struct RunWriter {
    stretch: Stretch,
    spread: Spread,
    extent: Extent,
    begins: Vec<(u32, u32)>,
    marks: Vec<u8>,
    held: Held,
    out: Vec<u8>,
    written: u64,
}

impl RunWriter {
    /// A run of not more than what is expected. Its memory is counted by `held`.
    pub(super) fn new(space: &Arc<Space>, expected: &Extent, mut held: Held) -> Self {
        let spread = Spread::of(expected);
        let mut begins = Vec::new();
        begins.reserve_exact(spread.buckets as usize + 1);
        let mut marks = Vec::new();
        marks.reserve_exact(expected.records as usize);
        held.set(bytes_of(&begins, &marks) + WRITTEN_BYTES);
        Self {
            stretch: space.take(expected.bytes),
            spread,
            extent: Extent::default(),
            begins,
            marks,
            held,
            out: Vec::with_capacity(WRITTEN_BYTES),
            written: 0,
        }
    }

    pub(super) fn push(&mut self, record: &Record<'_>) -> Result<()> {
        let place = record.place();
        let bucket = self.spread.bucket(place);
        let bucket = bucket.ok_or_else(|| Error::damaged("a spilled entry is out of place"))?;
        let extent = &mut self.extent;
        let begin = (self.marks.len() as u32, extent.bytes as u32);
        while self.begins.len() <= bucket {
            self.begins.push(begin);
        }
        self.marks.push(record.hash as u8);
        let first = extent.places.map_or(place, |places| places.0);
        extent.places = Some((first, place));
        extent.records += 1;
        extent.bytes += record.bytes.len() as u64;
        if self.out.len() + record.bytes.len() > WRITTEN_BYTES {
            self.write()?;
        }
        self.out.extend_from_slice(record.bytes);
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        self.stretch.write(self.written, &self.out)?;
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Run> {
        self.write()?;
        let bytes = self.extent.bytes;
        if bytes >= u64::from(u32::MAX) {
            return Err(Error::io("writing spilled state", "a run has 4 GiB"));
        }
        self.stretch.shrink(bytes);
        let end = (self.marks.len() as u32, bytes as u32);
        self.begins.resize(self.spread.buckets as usize + 1, end);
        self.marks.shrink_to_fit();
        self.held.set(bytes_of(&self.begins, &self.marks));
        Ok(Run {
            records: Records {
                stretch: Arc::new(self.stretch),
                extent: self.extent,
            },
            spread: self.spread,
            begins: self.begins,
            marks: self.marks,
            held: self.held,
        })
    }
}

/// Memory of a run with these.
fn bytes_of(begins: &Vec<(u32, u32)>, marks: &Vec<u8>) -> usize {
    size_of::<Run>() + begins.capacity() * size_of::<(u32, u32)>() + marks.capacity()
}

/// Reads a run from its beginning to its end.
pub(super) struct RunReader {
    records: Records,
    buffer: Vec<u8>,
    at: usize,
    /// What of the file is read next.
    next: u64,
}

impl RunReader {
    pub(super) fn new(records: Records) -> Result<Self> {
        let mut reader = Self {
            records,
            buffer: Vec::new(),
            at: 0,
            next: 0,
        };
        reader.fill()?;
        Ok(reader)
    }

    /// The record where the reader stands; `None` at the end.
    pub(super) fn record(&self) -> Option<Record<'_>> {
        Record::first(&self.buffer[self.at..])
    }

    #[inline]
    fn has_record(&self) -> bool {
        let here = &self.buffer[self.at..];
        record::length(here).is_some_and(|length| length <= here.len())
    }

    pub(super) fn advance(&mut self) -> Result<()> {
        let length = record::length(&self.buffer[self.at..]);
        self.at += length.unwrap_or_default();
        self.fill()
    }

    /// Makes sure that a whole record is there, unless all are over.
    fn fill(&mut self) -> Result<()> {
        while !self.has_record() {
            let left = self.records.extent.bytes - self.next;
            let here = self.buffer.len() - self.at;
            if left == 0 {
                return if here == 0 { Ok(()) } else { Err(damaged()) };
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            let wanted = record::length(&self.buffer).unwrap_or(0).max(PIECE_BYTES) - here;
            let length = left.min(wanted as u64) as usize;
            self.buffer.resize(here + length, 0);
            let into = &mut self.buffer[here..];
            self.records.stretch.read(self.next, into)?;
            self.next += length as u64;
        }
        Ok(())
    }
}

/// Visits the records of some runs in order; of a key that several have, the record of the first of them.
pub(super) fn merge(
    newest_first: &[Records],
    visit: &mut dyn FnMut(&Record<'_>) -> Result<()>,
) -> Result<()> {
    let readers = newest_first.iter().cloned().map(RunReader::new);
    let mut readers: Vec<RunReader> = readers.collect::<Result<_>>()?;
    let place = |reader: &RunReader| reader.record().map_or(u64::MAX, |record| record.place());
    let mut places: Vec<u64> = readers.iter().map(place).collect();
    let mut same = Vec::new();
    loop {
        let (mut least, mut at, mut is_alone) = (u64::MAX, 0, false);
        for (i, &place) in places.iter().enumerate() {
            if place < least {
                (least, at, is_alone) = (place, i, true);
            } else if place == least {
                is_alone = false;
            }
        }
        if is_alone {
            let reader = &mut readers[at];
            visit(&reader.record().ok_or_else(damaged)?)?;
            reader.advance()?;
            places[at] = place(reader);
            continue;
        }
        if least == u64::MAX && readers.iter().all(|reader| reader.record().is_none()) {
            return Ok(());
        }
        // Different keys seldom have the same place; then the smaller one comes first.
        let at_least = (0..readers.len()).filter(|&i| places[i] == least);
        let with_record = at_least.filter_map(|i| Some((i, readers[i].record()?)));
        let first = with_record.min_by(|a, b| a.1.key.cmp(b.1.key).then(a.0.cmp(&b.0)));
        let Some((_, record)) = first else {
            return Err(damaged());
        };
        visit(&record)?;
        same.clear();
        same.extend((0..readers.len()).filter(|&i| {
            let other = readers[i].record();
            places[i] == least && other.is_some_and(|other| other.key == record.key)
        }));
        for &i in &same {
            readers[i].advance()?;
            places[i] = place(&readers[i]);
        }
    }
}
