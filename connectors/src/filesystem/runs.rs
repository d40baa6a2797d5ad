//! Sorted runs: how a result that is larger than one worker, and perhaps than memory, becomes one sorted file.
//!
//! ```text
//!   lines ─▶ Rows ─ sort, 32 MiB at a time ─▶ run on disk ─┐
//!   lines ─▶ Rows ─ sort ───────────────────▶ run on disk ─┴─ merge ─▶ draft, every line in the order of its bytes
//! ```
//!
//! A run is, for each line, its length as a u32 (little endian) and its bytes with the newline.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, IoContext, Result};

/// So many bytes of rows are sorted in memory at once.
const RUN_BYTES: usize = 32 << 20;

/// Lines in memory.
#[derive(Default)]
pub(super) struct Rows {
    text: Vec<u8>,
    /// Where each line begins and ends.
    lines: Vec<(usize, usize)>,
}

impl Rows {
    pub(super) fn push(&mut self, line: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(line);
        self.lines.push((start, self.text.len()));
    }

    /// Puts the lines in order; the answer is a hash of them.
    pub(super) fn sort(&mut self) -> u128 {
        let Self { text, lines } = self;
        lines.sort_unstable_by(|a, b| text[a.0..a.1].cmp(&text[b.0..b.1]));
        let mut hash = Xxh3::new();
        for (start, end) in lines.iter() {
            hash.update(&text[*start..*end]);
        }
        hash.digest128()
    }

    /// Writes the lines, each after its length: a line of CSV may hold newlines.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let context = || format!("cannot write {}", path.display());
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(path)
            .context(context)?;
        let mut writer = BufWriter::with_capacity(1 << 18, file);
        for (start, end) in &self.lines {
            let line = &self.text[*start..*end];
            let length = u32::try_from(line.len()).map_err(|_| {
                Error::Inconsistent("a row of a snapshot is longer than 4 GiB".to_owned())
            })?;
            writer
                .write_all(&length.to_le_bytes())
                .and_then(|()| writer.write_all(line))
                .context(context)?;
        }
        let file = writer
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .context(context)?;
        file.sync_all().context(context)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// They should become a run.
    pub(super) fn is_enough(&self) -> bool {
        self.text.len() >= RUN_BYTES
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
    }
}

/// A run on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) name: String,
    /// Of its lines.
    pub(super) hash: u128,
}

/// A run that is being read.
struct RunReader {
    reader: BufReader<File>,
    path: PathBuf,
}

impl RunReader {
    /// Reads the next line into `line`; false at the end.
    fn next(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        let context = || format!("cannot read {}", self.path.display());
        let mut length = [0; 4];
        match self.reader.read_exact(&mut length) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            outcome => outcome.context(context)?,
        }
        line.resize(u32::from_le_bytes(length) as usize, 0);
        self.reader.read_exact(line).context(context)?;
        Ok(true)
    }
}

/// Merges sorted runs into a synced file.
pub(super) fn merge(staging: &Path, runs: &[String], header: &[u8], draft: &Path) -> Result<()> {
    let context = || format!("cannot write {}", draft.display());
    let mut readers = Vec::new();
    let mut heads = BinaryHeap::new();
    for run in runs {
        let path = staging.join(run);
        let file = File::open(&path).context(|| format!("cannot read {}", path.display()))?;
        let mut reader = RunReader {
            reader: BufReader::with_capacity(1 << 16, file),
            path,
        };
        let mut line = Vec::new();
        if reader.next(&mut line)? {
            heads.push(Reverse((line, readers.len())));
        }
        readers.push(reader);
    }
    let mut writer = BufWriter::with_capacity(1 << 18, File::create(draft).context(context)?);
    writer.write_all(header).context(context)?;
    while let Some(Reverse((mut line, run))) = heads.pop() {
        writer.write_all(&line).context(context)?;
        if readers[run].next(&mut line)? {
            heads.push(Reverse((line, run)));
        }
    }
    let file = writer
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .context(context)?;
    file.sync_all().context(context)
}

/// Whether two files have the same bytes; a missing one differs.
pub(super) fn is_same(a: &Path, b: &Path) -> Result<bool> {
    let context = || format!("cannot compare {}", b.display());
    if !b.exists() {
        return Ok(false);
    }
    let (a, b) = (
        File::open(a).context(context)?,
        File::open(b).context(context)?,
    );
    if a.metadata().context(context)?.len() != b.metadata().context(context)?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (BufReader::new(a), BufReader::new(b));
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = a.read(&mut left).context(context)?;
        if read == 0 {
            return Ok(true);
        }
        match b.read_exact(&mut right[..read]) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            outcome => outcome.context(context)?,
        }
        if left[..read] != right[..read] {
            return Ok(false);
        }
    }
}
