//! Packing the files of a checkpoint before they are uploaded.
//!
//! RocksDB's own files hold LZ4 blocks already, so packing them again gains a third at most; the one file of the backend
//! `memory` shrinks to a fraction. A packed file cannot be linked: it is written once more at a checkpoint and once more
//! at a restore, so a local folder is better off without.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a file of a checkpoint is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Zstandard, one frame.
    Zstd,
}

impl Compression {
    /// What follows the name of a packed file.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Zstd => "zst",
        }
    }
}

/// Fast: checkpoints are many, restores few.
const LEVEL: i32 = 1;

/// Writes the packed form of `from` to `to`.
pub(crate) fn pack(compression: Compression, from: &Path, to: &Path) -> Result<()> {
    let Compression::Zstd = compression;
    let run = || -> std::io::Result<()> {
        let mut input = File::open(from)?;
        let mut out = zstd::Encoder::new(BufWriter::new(File::create(to)?), LEVEL)?;
        std::io::copy(&mut input, &mut out)?;
        out.finish()?.flush()
    };
    run().map_err(|error| {
        Error::io(
            format!("packing {} to {}", from.display(), to.display()),
            error,
        )
    })
}

/// Writes to `to` what was packed in `from`, and removes that.
pub(crate) fn unpack(compression: Compression, from: &Path, to: &Path) -> Result<()> {
    let Compression::Zstd = compression;
    let run = || -> std::io::Result<()> {
        let mut input = zstd::Decoder::new(BufReader::new(File::open(from)?))?;
        let mut out = BufWriter::new(File::create(to)?);
        std::io::copy(&mut input, &mut out)?;
        out.flush()?;
        std::fs::remove_file(from)
    };
    run().map_err(|error| Error::io(format!("unpacking {}", from.display()), error))
}
