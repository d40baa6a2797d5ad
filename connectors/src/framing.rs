//! Where records end, and how a stream of bytes is cut into chunks of whole records.
//!
//! ```text
//!   bytes ──▶ RecordCutter ── cut(max_bytes, max_records) ──▶ payload of whole records
//!              │ byte order mark dropped, CSV header kept aside
//!              └ the rest, a record without its end, waits for more bytes
//! ```
//!
//! A record ends at a newline; in CSV a newline between quotes does not count. A quote opens a quoted field only
//! where a field begins, as in the decoder: both use this module, so that they never disagree.
//!
//! # Invariants
//! 1. Offset and line of a cut are those of its first byte in the origin: dropped bytes count.
//! 2. A record longer than [`RECORD_BYTES_MAX`] is an error: an open quote must not read a file into memory.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr_iter, memchr2};

/// The longest record.
pub(crate) const RECORD_BYTES_MAX: usize = 64 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How records are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One record a line.
    Lines,
    /// Newlines between quotes belong to the record.
    Csv { quote: u8, delimiter: u8 },
}

impl Framing {
    /// The index after the newline that ends the record at `start`; `None` if its end is not in `text`.
    pub(crate) fn record_end(self, text: &[u8], start: usize) -> Option<usize> {
        match self {
            Self::Lines => memchr(b'\n', &text[start..]).map(|at| start + at + 1),
            Self::Csv { quote, delimiter } => csv_record_end(text, start, quote, delimiter),
        }
    }

    /// The record in `text[start..end]` without its line end.
    pub(crate) fn trim(text: &[u8], start: usize, end: usize) -> &[u8] {
        let record = &text[start..end];
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        record.strip_suffix(b"\r").unwrap_or(record)
    }
}

fn newlines_in(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64
}

fn csv_record_end(text: &[u8], start: usize, quote: u8, delimiter: u8) -> Option<usize> {
    // Most records have no quote: then the line is the record.
    let newline = start + memchr(b'\n', &text[start..])?;
    if memchr(quote, &text[start..newline]).is_none() {
        return Some(newline + 1);
    }
    let mut at = start;
    loop {
        // A field begins at `at`.
        if *text.get(at)? == quote {
            at += 1;
            loop {
                at += memchr(quote, &text[at..])? + 1;
                match text.get(at) {
                    Some(&next) if next == quote => at += 1,
                    _ => break,
                }
            }
        }
        at += memchr2(delimiter, b'\n', text.get(at..)?)?;
        if text[at] == b'\n' {
            return Some(at + 1);
        }
        at += 1;
    }
}

/// Whole records, cut off a stream.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) payload: Bytes,
    pub(crate) records: u64,
    pub(crate) offset: u64,
    pub(crate) line: u64,
}

/// What could be cut.
struct Measured {
    /// Bytes.
    end: usize,
    records: u64,
    lines: u64,
    /// A limit was reached: further bytes would change nothing.
    is_full: bool,
}

/// Why nothing could be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoCut {
    /// There is no whole record yet: more bytes are needed.
    Incomplete,
    /// The record at this line is too long.
    TooLong { line: u64, offset: u64 },
}

/// Bytes of one origin that were read and not yet cut.
#[derive(Debug)]
pub(crate) struct RecordCutter {
    framing: Framing,
    buffer: BytesMut,
    /// Offset and line of the buffer's first byte in the origin.
    offset: u64,
    line: u64,
    /// The first record is a header and not yet seen.
    header_due: bool,
    header: Option<Bytes>,
}

impl RecordCutter {
    /// A cutter at the start of an origin.
    pub(crate) fn new(framing: Framing, has_header: bool) -> Self {
        Self {
            framing,
            buffer: BytesMut::new(),
            offset: 0,
            line: 1,
            header_due: has_header,
            header: None,
        }
    }

    /// A cutter in the middle of an origin whose header is known.
    pub(crate) fn resume(framing: Framing, offset: u64, line: u64, header: Option<Bytes>) -> Self {
        Self {
            framing,
            buffer: BytesMut::new(),
            offset,
            line,
            header_due: false,
            header,
        }
    }

    pub(crate) fn header(&self) -> Option<Bytes> {
        self.header.clone()
    }

    /// Whether the header was expected and has not come.
    pub(crate) fn header_due(&self) -> bool {
        self.header_due
    }

    /// Offset and line of what will be cut next.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.offset, self.line)
    }

    /// Bytes that wait here.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Takes bytes that are there already.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Reads up to `count` bytes from `reader`; the answer is how many came, 0 at the end.
    pub(crate) fn fill(&mut self, reader: &mut dyn Read, count: usize) -> std::io::Result<usize> {
        // Into fresh memory behind what waits, which is less than was cut before: nothing has to be cleared first.
        let mut bytes = Vec::with_capacity(self.buffer.len() + count);
        bytes.extend_from_slice(&self.buffer);
        let outcome = reader.take(count as u64).read_to_end(&mut bytes);
        self.buffer = Bytes::from(bytes).into();
        outcome
    }

    /// Cuts off whole records: at least one, `max_records` at most, and no further record beyond `max_bytes`.
    /// `at_end`: no byte will follow, so that a last record without a newline is whole.
    pub(crate) fn cut(
        &mut self,
        max_bytes: usize,
        max_records: u64,
        at_end: bool,
    ) -> Result<Cut, NoCut> {
        self.skip_head(at_end)?;
        let found = self.measure(max_bytes, max_records, at_end);
        if found.end == 0 {
            return Err(self.incomplete());
        }
        Ok(self.cut_off(&found))
    }

    /// As [`RecordCutter::cut`], if what waits here is as much as may be cut; `None` if more bytes could belong to it.
    /// Who asks this before reading on does not move what waits with every small cut.
    pub(crate) fn cut_full(&mut self, max_bytes: usize, max_records: u64) -> Option<Cut> {
        self.skip_head(false).ok()?;
        let found = self.measure(max_bytes, max_records, false);
        (found.is_full && found.end > 0).then(|| self.cut_off(&found))
    }

    fn measure(&self, max_bytes: usize, max_records: u64, at_end: bool) -> Measured {
        let mut found = Measured {
            end: 0,
            records: 0,
            lines: 0,
            is_full: true,
        };
        while found.records < max_records {
            let (next, newlines) = match self.framing.record_end(&self.buffer, found.end) {
                Some(next) => (next, 1),
                None if at_end && found.end < self.buffer.len() => (self.buffer.len(), 0),
                None => {
                    return Measured {
                        is_full: false,
                        ..found
                    };
                }
            };
            if found.end > 0 && next > max_bytes {
                return found;
            }
            // Empty lines are carried along and are no records.
            found.records += u64::from(!Framing::trim(&self.buffer, found.end, next).is_empty());
            found.lines += match self.framing {
                Framing::Lines => newlines,
                Framing::Csv { .. } => newlines_in(&self.buffer[found.end..next]),
            };
            found.end = next;
        }
        found
    }

    fn cut_off(&mut self, found: &Measured) -> Cut {
        let (offset, line) = self.place();
        let payload = self.take(found.end, found.lines);
        Cut {
            payload,
            records: found.records,
            offset,
            line,
        }
    }

    /// Drops the byte order mark and keeps the header aside.
    fn skip_head(&mut self, at_end: bool) -> Result<(), NoCut> {
        if self.offset == 0 {
            let seen = self.buffer.len().min(BYTE_ORDER_MARK.len());
            if self.buffer[..seen] == BYTE_ORDER_MARK[..seen] {
                if seen < BYTE_ORDER_MARK.len() && !at_end {
                    return Err(NoCut::Incomplete);
                }
                if seen == BYTE_ORDER_MARK.len() {
                    let _ = self.take(seen, 0);
                }
            }
        }
        while self.header_due {
            let end = match self.framing.record_end(&self.buffer, 0) {
                Some(end) => end,
                None if at_end && !self.buffer.is_empty() => self.buffer.len(),
                None => return Err(self.incomplete()),
            };
            let record = self.take(end, newlines_in(&self.buffer[..end]));
            let header = Framing::trim(&record, 0, record.len());
            if !header.is_empty() {
                self.header = Some(record.slice(0..header.len()));
                self.header_due = false;
            }
        }
        Ok(())
    }

    fn incomplete(&self) -> NoCut {
        if self.buffer.len() > RECORD_BYTES_MAX {
            NoCut::TooLong {
                line: self.line,
                offset: self.offset,
            }
        } else {
            NoCut::Incomplete
        }
    }

    /// Takes so many bytes, which have so many lines.
    fn take(&mut self, end: usize, lines: u64) -> Bytes {
        self.offset += end as u64;
        self.line += lines;
        self.buffer.split_to(end).freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Framing = Framing::Csv {
        quote: b'"',
        delimiter: b',',
    };

    fn cut_all(
        framing: Framing,
        header: bool,
        text: &str,
        max_bytes: usize,
        max_records: u64,
    ) -> Vec<(String, u64, u64, u64)> {
        let mut cutter = RecordCutter::new(framing, header);
        let (mut rest, mut cuts) = (text.as_bytes(), Vec::new());
        loop {
            match cutter.cut(max_bytes, max_records, rest.is_empty()) {
                Ok(cut) => {
                    let text = String::from_utf8(cut.payload.to_vec()).unwrap();
                    cuts.push((text, cut.records, cut.offset, cut.line));
                }
                Err(NoCut::Incomplete) if rest.is_empty() => return cuts,
                Err(NoCut::Incomplete) => {
                    let (now, later) = rest.split_at(rest.len().min(3));
                    cutter.push(now);
                    rest = later;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    #[test]
    fn a_newline_between_quotes_does_not_end_a_record() {
        let cuts = cut_all(CSV, false, "a,\"x\ny\"\nb\"c,d\n\"e\"\"\n\",f", 1, 1);
        let texts: Vec<_> = cuts.iter().map(|cut| cut.0.as_str()).collect();
        assert_eq!(texts, ["a,\"x\ny\"\n", "b\"c,d\n", "\"e\"\"\n\",f"]);
        assert_eq!(cuts.iter().map(|cut| cut.3).collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[test]
    fn mark_header_and_empty_lines_are_no_records() {
        let cuts = cut_all(CSV, true, "\u{FEFF}\r\na,b\r\n1,2\r\n\r\n3,4", 100, 100);
        let records: u64 = cuts.iter().map(|cut| cut.1).sum();
        assert_eq!((records, cuts[0].2, cuts[0].3), (2, 10, 3));
        assert!(cut_all(Framing::Lines, false, "", 10, 10).is_empty());
    }

    #[test]
    fn a_cut_stops_at_exactly_the_records_asked_for() {
        let cuts = cut_all(Framing::Lines, false, "1\n\n2\n3\n", 1000, 2);
        assert_eq!(
            cuts.iter()
                .map(|cut| cut.1)
                .collect::<Vec<_>>()
                .iter()
                .sum::<u64>(),
            3
        );
        assert!(cuts.iter().all(|cut| cut.1 <= 2));
    }
}
