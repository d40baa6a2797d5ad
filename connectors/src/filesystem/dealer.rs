//! Deals the files of a listing, one after another, each cut at the ends of its records.

use serde::{Deserialize, Serialize};
use weir_types::SplitId;

use super::decompress::{self, Compression, Text};
use super::listing::{ListedFile, PathPattern};
use crate::error::{Error, IoContext, RecordError, Result};
use crate::format::Settings;
use crate::framing::{Cut, NoCut, RecordCutter};
use crate::source::{Chunk, Deal, Dealer, Payload, Position};

/// A chunk is no larger, whatever is asked for, unless one record is.
pub(crate) const CHUNK_BYTES_MAX: usize = 4 << 20;

/// The place in a listing, as it is kept in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListingPosition {
    /// All files, those already read included: the listing is fixed at the first start.
    pub(crate) files: Vec<ListedFile>,
    /// Index of the file that is being read; the number of files at the end.
    file: usize,
    /// Place in that file's (decompressed) text.
    offset: u64,
    line: u64,
}

impl ListingPosition {
    pub(crate) fn start(files: Vec<ListedFile>) -> Self {
        Self {
            files,
            file: 0,
            offset: 0,
            line: 1,
        }
    }

    /// Behind all that they hold.
    pub(crate) fn end(files: Vec<ListedFile>) -> Self {
        let all = files.len();
        Self::at_file(files, all)
    }

    /// At the beginning of one of them.
    pub(crate) fn at_file(files: Vec<ListedFile>, file: usize) -> Self {
        Self {
            file,
            ..Self::start(files)
        }
    }

    pub(crate) fn read(split: &SplitId, position: &Position) -> Result<Self> {
        serde_json::from_value(position.clone()).map_err(|error| {
            Error::Inconsistent(format!(
                "the recorded position of split {split} cannot be read: {error}"
            ))
        })
    }
}

impl From<ListingPosition> for Position {
    fn from(position: ListingPosition) -> Self {
        serde_json::to_value(position).unwrap_or_default()
    }
}

/// One file that is being read.
pub(crate) struct OpenFile {
    pub(crate) name: std::sync::Arc<str>,
    text: Text,
    pub(crate) cutter: RecordCutter,
    /// The reader has given all.
    ended: bool,
}

impl OpenFile {
    /// Opens a file at a place of its text. A header is read from its beginning, wherever the place is.
    pub(crate) fn open(
        pattern: &PathPattern,
        name: &str,
        settings: &Settings,
        compression: Compression,
        size: u64,
        (offset, line): (u64, u64),
    ) -> Result<Self> {
        let path = pattern.path(name);
        let start = |offset| decompress::open(&path, compression, size, offset);
        let mut cutter = RecordCutter::new(settings.framing(), settings.has_header());
        if offset > 0 {
            let mut header = None;
            if settings.has_header() {
                let mut text = start(0)?;
                // Cutting off no record makes the cutter read the header and nothing else.
                while cutter.cut(0, 0, false).is_err() && cutter.header_due() {
                    if cutter
                        .fill(&mut text.reader, 1 << 16)
                        .context(|| format!("cannot read {}", path.display()))?
                        == 0
                    {
                        let _ = cutter.cut(0, 0, true);
                        break;
                    }
                }
                header = cutter.header();
            }
            cutter = RecordCutter::resume(settings.framing(), offset, line, header);
        }
        Ok(Self {
            name: name.into(),
            text: start(offset)?,
            cutter,
            ended: false,
        })
    }

    /// The next chunk; `None` at the end of the file. `last_line_ends`: a last line without a newline is a record.
    pub(crate) fn deal(
        &mut self,
        table: &str,
        max_bytes: usize,
        max_records: u64,
        last_line_ends: bool,
    ) -> Result<Option<Chunk>> {
        let max_bytes = max_bytes.clamp(1, CHUNK_BYTES_MAX);
        if let Some(cut) = self.cutter.cut_full(max_bytes, max_records) {
            return Ok(Some(self.chunk(cut)));
        }
        loop {
            let missing = max_bytes.saturating_sub(self.cutter.buffered());
            if missing > 0 && !self.ended {
                self.fill(missing)?;
            }
            match self
                .cutter
                .cut(max_bytes, max_records, self.ended && last_line_ends)
            {
                Ok(cut) => return Ok(Some(self.chunk(cut))),
                Err(NoCut::TooLong { line, offset }) => {
                    return Err(too_long(table, &self.name, line, offset));
                }
                Err(NoCut::Incomplete) if self.ended => return Ok(None),
                // A record is longer than what is there: as much again.
                Err(NoCut::Incomplete) => self.fill(self.cutter.buffered().max(1 << 12))?,
            }
        }
    }

    fn fill(&mut self, count: usize) -> Result<()> {
        let read = self.cutter.fill(&mut self.text.reader, count);
        let read = read.context(|| {
            format!(
                "cannot read {} (after byte {} of its text)",
                self.name,
                self.cutter.place().0
            )
        })?;
        self.ended = read < count;
        Ok(())
    }

    fn chunk(&self, cut: Cut) -> Chunk {
        chunk(cut, &self.name, &self.cutter)
    }
}

/// A cut with its origin.
pub(crate) fn chunk(cut: Cut, origin: &std::sync::Arc<str>, cutter: &RecordCutter) -> Chunk {
    Chunk {
        payload: Payload::Text(cut.payload),
        records: cut.records,
        origin: origin.clone(),
        offset: cut.offset,
        line: cut.line,
        header: cutter.header(),
    }
}

/// The error about a record without an end.
pub(crate) fn too_long(table: &str, origin: &str, line: u64, offset: u64) -> Error {
    let limit = crate::framing::RECORD_BYTES_MAX >> 20;
    Error::Record(Box::new(RecordError {
        table: table.to_owned(),
        origin: origin.to_owned(),
        line,
        column: None,
        offset,
        reason: format!("a record is longer than {limit} MiB; is a quote left open?"),
        record: Vec::new(),
    }))
}

/// Deals all files of a listing.
pub(crate) struct ListingDealer {
    table: String,
    pattern: PathPattern,
    settings: Settings,
    /// The option; `auto` goes by each file's name.
    compression: String,
    /// `offset` and `line` are brought up to date by `position`.
    at: ListingPosition,
    open: Option<OpenFile>,
}

impl ListingDealer {
    pub(crate) fn open(
        table: String,
        pattern: PathPattern,
        settings: Settings,
        compression: String,
        at: ListingPosition,
    ) -> Result<Self> {
        Ok(Self {
            table,
            pattern,
            settings,
            compression,
            at,
            open: None,
        })
    }

    fn place(&self) -> (u64, u64) {
        self.open
            .as_ref()
            .map_or((self.at.offset, self.at.line), |open| open.cutter.place())
    }
}

impl Dealer for ListingDealer {
    fn deal(&mut self, max_bytes: usize, max_records: u64) -> Result<Deal> {
        if max_records == 0 {
            return Ok(Deal::Pending);
        }
        loop {
            let Some(file) = self.at.files.get(self.at.file) else {
                return Ok(Deal::End);
            };
            if self.open.is_none() {
                let compression = Compression::of(&self.compression, &file.name);
                let place = (self.at.offset, self.at.line);
                let open = OpenFile::open(
                    &self.pattern,
                    &file.name,
                    &self.settings,
                    compression,
                    file.size,
                    place,
                )?;
                self.open = Some(open);
            }
            if let Some(open) = &mut self.open
                && let Some(chunk) = open.deal(&self.table, max_bytes, max_records, true)?
            {
                return Ok(Deal::Chunk(chunk));
            }
            if Compression::of(&self.compression, &file.name) == Compression::None {
                let read = self.open.as_ref().map_or(0, |open| open.cutter.place().0);
                if read < file.size {
                    return Err(Error::Inconsistent(format!(
                        "{} ends at byte {read}, and had {} when it was listed",
                        file.name, file.size
                    )));
                }
            }
            self.open = None;
            self.at.file += 1;
            (self.at.offset, self.at.line) = (0, 1);
        }
    }

    fn position(&self) -> Position {
        let (offset, line) = self.place();
        let at = ListingPosition {
            offset,
            line,
            ..self.at.clone()
        };
        serde_json::to_value(at).unwrap_or_default()
    }

    /// In bytes on disk: of a compressed file, those that were read for the text dealt so far.
    fn progress(&self) -> (u64, Option<u64>) {
        let sizes = |files: &[ListedFile]| files.iter().map(|file| file.size).sum::<u64>();
        let done = sizes(&self.at.files[..self.at.file]);
        let inside = |file: &ListedFile| {
            let read = match Compression::of(&self.compression, &file.name) {
                Compression::None => self.place().0,
                Compression::Gzip | Compression::Zstd => self
                    .open
                    .as_ref()
                    .map_or(0, |open| open.text.disk_bytes.get()),
            };
            read.min(file.size)
        };
        let inside = self.at.files.get(self.at.file).map_or(0, inside);
        (done + inside, Some(sizes(&self.at.files)))
    }
}
