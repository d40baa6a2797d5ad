//! Opens a file as the stream of its decompressed text, from any offset of that text.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{IoContext, Result};

/// What a decompressor asks the disk for.
const DISK_BYTES_AT_ONCE: usize = 1 << 16;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// By the option `'compression'`, which may leave it to the file's name.
    pub(crate) fn of(option: &str, name: &str) -> Self {
        match option {
            "none" => Self::None,
            "gzip" => Self::Gzip,
            "zstd" => Self::Zstd,
            _ if name.ends_with(".gz") || name.ends_with(".gzip") => Self::Gzip,
            _ if name.ends_with(".zst") || name.ends_with(".zstd") => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// The rest of a file's text.
pub(crate) struct Text {
    pub(crate) reader: Box<dyn Read + Send>,
    /// Bytes of the file on disk that were read for it, or skipped.
    pub(crate) disk_bytes: DiskBytes,
}

/// How far a file has been read on disk; a compressed one is only known to be somewhere behind it.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiskBytes(Arc<AtomicU64>);

impl DiskBytes {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts what is read through it.
struct Counted<R> {
    inner: R,
    count: DiskBytes,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The text of a file from `offset` on. `size` is the file's length on disk when it was listed: what was appended
/// since is not read. A compressed file cannot be entered in the middle: it is decompressed and skipped.
pub(crate) fn open(path: &Path, compression: Compression, size: u64, offset: u64) -> Result<Text> {
    let context = || format!("cannot read {}", path.display());
    let mut file = File::open(path).context(context)?;
    let disk_bytes = DiskBytes::default();
    let count = disk_bytes.clone();
    if compression == Compression::None {
        file.seek(SeekFrom::Start(offset)).context(context)?;
        count.0.store(offset, Ordering::Relaxed);
        let inner = file.take(size.saturating_sub(offset));
        let reader = Box::new(Counted { inner, count });
        return Ok(Text { reader, disk_bytes });
    }
    let inner = file.take(size);
    let compressed = BufReader::with_capacity(DISK_BYTES_AT_ONCE, Counted { inner, count });
    let mut text: Box<dyn Read + Send> = match compression {
        // Members one after another are one text, as `cat a.gz b.gz` makes them.
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(compressed)),
        _ => Box::new(zstd::stream::read::Decoder::with_buffer(compressed).context(context)?),
    };
    let skipped = io::copy(&mut (&mut text).take(offset), &mut io::sink()).context(context)?;
    if skipped < offset {
        return Err(crate::Error::Inconsistent(format!(
            "{} ends at byte {skipped} of its text, and was read up to {offset} before",
            path.display()
        )));
    }
    Ok(Text {
        reader: text,
        disk_bytes,
    })
}
