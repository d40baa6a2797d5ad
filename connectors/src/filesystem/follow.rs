//! The continuous source: files that are there, files that come, and lines that are appended.
//!
//! ```text
//!   scan ─▶ by name: what is new since the last scan ─▶ queue of (file, size) ─▶ one after another, cut at record ends
//!     ▲                                                                                    │
//!     └──────────────── when all is read, not more often than 'source.scan.interval' ──────┘
//! ```
//!
//! The order is that of discovery, and the position remembers it: the list of stretches (file, from, to) that were
//! dealt, neighbours merged. An unfinished last line waits for its newline. A compressed file is read when it is
//! found and has to be whole then: write it under another name and rename it.
//!
//! # Invariants
//! 1. Every byte of every file up to its last newline is dealt once, and in order within its file.
//! 2. A file that is shorter than what was read of it is an error: what was read has been taken back by someone.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use weir_types::SplitId;

use super::dealer::OpenFile;
use super::decompress::Compression;
use super::listing::{PathPattern, changed_at, size_of};
use super::{COMPRESSION, SCAN_INTERVAL};
use crate::error::{Error, IoContext, Result};
use crate::format::{Settings, TextDecoder};
use crate::options::Options;
use crate::source::{Beginning, Deal, Dealer, Decoder, Position, Source, SplitListing};
use crate::table::TableRequest;

const SPLIT: &str = "listing";

/// Follows the files of a path.
pub(crate) struct ContinuousSource {
    request: TableRequest,
    pattern: PathPattern,
}

impl ContinuousSource {
    pub(crate) fn open(request: TableRequest) -> Result<Self> {
        let pattern = PathPattern::of(&request)?;
        Ok(Self { request, pattern })
    }
}

impl Source for ContinuousSource {
    fn splits(&self, _restored: &BTreeMap<SplitId, Position>) -> Result<SplitListing> {
        Ok(SplitListing::one(SPLIT))
    }

    fn dealer(&self, split: &SplitId, position: Option<&Position>) -> Result<Box<dyn Dealer>> {
        let at = match position {
            None => FollowPosition::default(),
            Some(position) => FollowPosition::read(split, position)?,
        };
        let options = Options(&self.request.options);
        Ok(Box::new(FollowDealer {
            table: self.request.table.clone(),
            pattern: self.pattern.clone(),
            settings: Settings::of(&self.request),
            compression: options.word(&COMPRESSION).to_owned(),
            scan_interval: options.duration(&SCAN_INTERVAL),
            files: at.files(),
            at,
            queue: VecDeque::new(),
            open: None,
            scanned_at: None,
        }))
    }

    fn decoder(&self) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(TextDecoder::new(&self.request)))
    }

    fn bounded(&self) -> bool {
        false
    }

    /// The stretches that were dealt, in their order: other files and lines may have come since, and the order of discovery
    /// is not that of names.
    fn beginning(&self, split: &SplitId, position: &Position) -> Result<Beginning> {
        let at = FollowPosition::read(split, position)?;
        for (name, file) in at.files() {
            let size = size_of(&self.pattern.path(&name))?.unwrap_or(0);
            let compressed =
                Compression::of(Options(&self.request.options).word(&COMPRESSION), &name)
                    != Compression::None;
            let is_there = match file.whole {
                Some(whole) => size == whole,
                None => compressed || size >= file.offset,
            };
            if !is_there {
                return Err(Error::Inconsistent(format!(
                    "{name} has {size} bytes now, and {} were read",
                    file.whole.unwrap_or(file.offset)
                )));
            }
        }
        let again = FollowPosition {
            segments: Vec::new(),
            again: at.again.into_iter().chain(at.segments).collect(),
        };
        Ok(Beginning::At(
            serde_json::to_value(again).unwrap_or_default(),
        ))
    }

    fn end_of(&self, _split: &SplitId) -> Result<Option<Position>> {
        self.behind(self.pattern.names()?)
    }

    /// Behind all files that were not changed since: what is written to one of them from now on is read.
    fn written_since(&self, _split: &SplitId, time: i64) -> Result<Option<Position>> {
        let mut old = Vec::new();
        for name in self.pattern.names()? {
            if changed_at(&self.pattern.path(&name))? < time {
                old.push(name);
            }
        }
        self.behind(old)
    }
}

impl ContinuousSource {
    /// Behind all that these files hold now.
    fn behind(&self, names: Vec<String>) -> Result<Option<Position>> {
        let compression = Options(&self.request.options).word(&COMPRESSION).to_owned();
        let mut at = FollowPosition::default();
        for name in names {
            if Compression::of(&compression, &name) != Compression::None {
                let size = size_of(&self.pattern.path(&name))?.unwrap_or(0);
                at.segments.push(Segment {
                    whole: Some(size),
                    ..Segment::start(&name)
                });
                continue;
            }
            let (to, line) = whole_lines(&self.pattern.path(&name))?;
            at.segments.push(Segment {
                to,
                line,
                ..Segment::start(&name)
            });
        }
        Ok(Some(serde_json::to_value(at).unwrap_or_default()))
    }
}

/// How many bytes and lines of a file are there, up to its last newline: a line that is being written comes later.
fn whole_lines(path: &std::path::Path) -> Result<(u64, u64)> {
    let context = || format!("cannot read {}", path.display());
    let mut file = std::io::BufReader::new(std::fs::File::open(path).context(context)?);
    let (mut at, mut end, mut line) = (0, 0, 1);
    loop {
        let bytes = std::io::BufRead::fill_buf(&mut file).context(context)?;
        if bytes.is_empty() {
            return Ok((end, line));
        }
        for (place, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            end = at + place as u64 + 1;
            line += 1;
        }
        let read = bytes.len();
        at += read as u64;
        std::io::BufRead::consume(&mut file, read);
    }
}

/// What was dealt, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct FollowPosition {
    segments: Vec<Segment>,
    /// To be dealt before anything else, in this order: what was dealt before, and is read again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    again: Vec<Segment>,
}

/// A stretch of one file's (decompressed) text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Segment {
    file: String,
    from: u64,
    to: u64,
    /// The number of the line at `to`.
    line: u64,
    /// Of a compressed file that was read to its end: its size on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole: Option<u64>,
}

impl Segment {
    fn start(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            from: 0,
            to: 0,
            line: 1,
            whole: None,
        }
    }
}

impl FollowPosition {
    fn read(split: &SplitId, position: &Position) -> Result<Self> {
        serde_json::from_value(position.clone()).map_err(|error| {
            Error::Inconsistent(format!(
                "the recorded position of split {split} cannot be read: {error}"
            ))
        })
    }

    /// The files that were read, each with where that ended.
    fn files(&self) -> BTreeMap<String, Followed> {
        let mut files: BTreeMap<String, Followed> = BTreeMap::new();
        for segment in &self.segments {
            let file = files.entry(segment.file.clone()).or_default();
            (file.offset, file.line, file.whole) = (segment.to, segment.line, segment.whole);
        }
        files
    }

    fn extend(&mut self, file: &str, from: u64, (to, line): (u64, u64)) {
        match self.segments.last_mut() {
            Some(last) if last.file == file && last.to == from => (last.to, last.line) = (to, line),
            _ => self.segments.push(Segment {
                file: file.to_owned(),
                from,
                to,
                line,
                whole: None,
            }),
        }
    }
}

/// What is known of a file.
#[derive(Clone, Debug)]
struct Followed {
    /// What comes next is at this place of its text.
    offset: u64,
    line: u64,
    /// Its size when it was last read to the end: nothing new until it is larger.
    seen: u64,
    whole: Option<u64>,
}

impl Default for Followed {
    fn default() -> Self {
        Self {
            offset: 0,
            line: 1,
            seen: 0,
            whole: None,
        }
    }
}

struct FollowDealer {
    table: String,
    pattern: PathPattern,
    settings: Settings,
    compression: String,
    scan_interval: Duration,
    at: FollowPosition,
    files: BTreeMap<String, Followed>,
    /// What the last scan found and is not yet read.
    queue: VecDeque<(String, u64)>,
    /// The file that is being read, with its size.
    open: Option<(OpenFile, u64)>,
    scanned_at: Option<Instant>,
}

impl FollowDealer {
    fn compression_of(&self, name: &str) -> Compression {
        Compression::of(&self.compression, name)
    }

    /// Looks for what is new; false if the last look was a moment ago.
    fn scan(&mut self) -> Result<bool> {
        let now = Instant::now();
        if self
            .scanned_at
            .is_some_and(|before| now.duration_since(before) < self.scan_interval)
        {
            return Ok(false);
        }
        self.scanned_at = Some(now);
        for name in self.pattern.names()? {
            // A file that vanished between listing and looking may come back, or not.
            let Some(size) = size_of(&self.pattern.path(&name))? else {
                continue;
            };
            let compressed = self.compression_of(&name) != Compression::None;
            let file = self.files.entry(name.clone()).or_default();
            let taken_back = match file.whole {
                Some(whole) => size != whole,
                None => !compressed && size < file.offset,
            };
            if taken_back {
                let read = file.whole.unwrap_or(file.offset);
                return Err(Error::Inconsistent(format!(
                    "{name} has {size} bytes now, and {read} were read: a followed file may grow, and a compressed one must \
                     not change"
                )));
            }
            if file.whole.is_none() && size > file.seen && (compressed || size > file.offset) {
                file.seen = size;
                self.queue.push_back((name, size));
            }
        }
        Ok(!self.queue.is_empty())
    }

    fn open_next(&mut self) -> Result<bool> {
        let Some((name, size)) = self.queue.pop_front() else {
            return Ok(false);
        };
        let file = self.files.entry(name.clone()).or_default();
        let place = (file.offset, file.line);
        let compression = self.compression_of(&name);
        let open = OpenFile::open(
            &self.pattern,
            &name,
            &self.settings,
            compression,
            size,
            place,
        )?;
        self.open = Some((open, size));
        Ok(true)
    }

    /// The next chunk of what was dealt before; `None` when all of it was dealt again.
    fn deal_again(&mut self, max_bytes: usize, max_records: u64) -> Result<Option<Deal>> {
        while let Some(segment) = self.at.again.first().cloned() {
            let name = segment.file.clone();
            let file = self.files.entry(name.clone()).or_default();
            if file.offset >= segment.to {
                if segment.whole.is_some() {
                    self.close(&name, segment.whole.unwrap_or(0));
                }
                self.at.again.remove(0);
                self.open = None;
                continue;
            }
            if self.open.is_none() {
                let size = segment.whole.unwrap_or(segment.to);
                self.queue.push_front((name.clone(), size));
                self.open_next()?;
            }
            let Some((open, _)) = &mut self.open else {
                continue;
            };
            let from = open.cutter.place().0;
            // A header in front counts as bytes and is no record: the first record shows where it ends.
            let most = match from {
                0 if self.settings.has_header() => 1,
                _ => (segment.to - from).min(max_bytes as u64) as usize,
            };
            let compressed = segment.whole.is_some();
            let Some(chunk) = open.deal(&self.table, most, max_records, compressed)? else {
                return Err(Error::Inconsistent(format!(
                    "{name} ends before byte {}, up to which it was read",
                    segment.to
                )));
            };
            let place = open.cutter.place();
            let file = self.files.entry(name.clone()).or_default();
            self.at.extend(&name, file.offset, place);
            (file.offset, file.line) = place;
            return Ok(Some(Deal::Chunk(chunk)));
        }
        Ok(None)
    }

    /// The file that was open has nothing more for now.
    fn close(&mut self, name: &str, size: u64) {
        self.open = None;
        if self.compression_of(name) == Compression::None {
            return;
        }
        if let Some(file) = self.files.get_mut(name) {
            file.whole = Some(size);
        }
        match self
            .at
            .segments
            .iter_mut()
            .rev()
            .find(|segment| segment.file == name)
        {
            Some(segment) => segment.whole = Some(size),
            None => self.at.segments.push(Segment {
                whole: Some(size),
                ..Segment::start(name)
            }),
        }
    }
}

impl Dealer for FollowDealer {
    fn deal(&mut self, max_bytes: usize, max_records: u64) -> Result<Deal> {
        if max_records == 0 {
            return Ok(Deal::Pending);
        }
        if !self.at.again.is_empty()
            && let Some(deal) = self.deal_again(max_bytes, max_records)?
        {
            return Ok(deal);
        }
        loop {
            if let Some((open, size)) = &mut self.open {
                let (name, size) = (open.name.clone(), *size);
                let compressed = Compression::of(&self.compression, &name) != Compression::None;
                match open.deal(&self.table, max_bytes, max_records, compressed)? {
                    Some(chunk) => {
                        let place = open.cutter.place();
                        let file = self.files.entry(name.to_string()).or_default();
                        self.at.extend(&name, file.offset, place);
                        (file.offset, file.line) = place;
                        return Ok(Deal::Chunk(chunk));
                    }
                    None => self.close(&name, size),
                }
            } else if !self.open_next()? && !self.scan()? {
                return Ok(Deal::Pending);
            }
        }
    }

    fn position(&self) -> Position {
        serde_json::to_value(&self.at).unwrap_or_default()
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (self.files.values().map(|file| file.offset).sum(), None)
    }
}
