//! Opens a file as the stream of its decompressed text, from any offset of that text.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{IoContext, Result};

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

/// The text of a file from `offset` on. `size` is the file's length on disk when it was listed: what was appended
/// since is not read. A compressed file cannot be entered in the middle: it is decompressed and skipped.
pub(crate) fn open(
    path: &Path,
    compression: Compression,
    size: u64,
    offset: u64,
) -> Result<Box<dyn Read + Send>> {
    let context = || format!("cannot read {}", path.display());
    let mut file = File::open(path).context(context)?;
    if compression == Compression::None {
        file.seek(SeekFrom::Start(offset)).context(context)?;
        return Ok(Box::new(file.take(size.saturating_sub(offset))));
    }
    let compressed = BufReader::with_capacity(1 << 16, file.take(size));
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
    Ok(text)
}
