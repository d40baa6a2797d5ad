//! Writes one file: pages as row groups fill, the footer at the end.
//!
//! ```text
//!   "PAR1" ‖ row group … ‖ footer (FileMetaData) ‖ length of the footer (u32 LE) ‖ "PAR1"
//!   row group      column chunk of each leaf
//!   column chunk   page header ‖ zstd( [repetition levels] [definition levels] values )
//! ```

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;
use xxhash_rust::xxh3::Xxh3;

use super::schema::{FileColumn, Leaf, Tree};
use super::shred::{LeafBuffer, put};
use super::thrift::Struct;
use super::{GROUP_BYTES_MAX, GROUP_ROWS_MAX};
use crate::encoding::{Reader, canonical};
use crate::{Error, Result};

pub(super) const MAGIC: &[u8; 4] = b"PAR1";
/// Parquet's numbers of what is used.
pub(super) const PLAIN: i32 = 0;
pub(super) const RLE: i32 = 3;
pub(super) const ZSTD: i32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// A file that was written.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) size: u64,
    /// XXH3-64 of the whole file, hex.
    pub(crate) checksum: String,
    pub(crate) rows: u64,
}

/// Writes one file.
pub(crate) struct FileWriter {
    path: PathBuf,
    file: BufWriter<File>,
    sum: Xxh3,
    offset: u64,
    columns: Vec<FileColumn>,
    tree: Tree,
    leaves: Vec<LeafBuffer>,
    rows_in_group: usize,
    rows: u64,
    groups: Vec<Struct>,
}

impl FileWriter {
    /// Creates the file; there must be none.
    pub(crate) fn create(path: &Path, columns: &[FileColumn]) -> Result<Self> {
        let file = File::create_new(path)
            .map_err(|error| Error::io(format!("creating {}", path.display()), error))?;
        let tree = Tree::new(columns);
        let mut writer = Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(1 << 18, file),
            sum: Xxh3::new(),
            offset: 0,
            columns: columns.to_vec(),
            leaves: empty(&tree),
            tree,
            rows_in_group: 0,
            rows: 0,
            groups: Vec::new(),
        };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    /// Bytes on disk so far.
    pub(crate) fn size(&self) -> u64 {
        self.offset
    }

    /// Adds rows: one array for each column.
    pub(crate) fn write(&mut self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        let columns: Vec<ArrayRef> = columns
            .iter()
            .zip(&self.columns)
            .map(|(array, column)| canonical(array, &column.data_type))
            .collect::<Result<_>>()?;
        let readers: Vec<Reader<'_>> = columns
            .iter()
            .zip(&self.columns)
            .map(|(array, column)| Reader::new(array, &column.data_type))
            .collect();
        for row in 0..rows {
            for (node, reader) in self.tree.columns.iter().zip(&readers) {
                put(node, reader, row, (0, 0), &mut self.leaves)?;
            }
            self.rows_in_group += 1;
            // Looked at now and then: a row group may be a little larger.
            if self.rows_in_group.is_multiple_of(256) && self.is_full() {
                self.end_group()?;
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let bytes: usize = self.leaves.iter().map(|leaf| leaf.values.len()).sum();
        self.rows_in_group >= GROUP_ROWS_MAX || bytes >= GROUP_BYTES_MAX
    }

    fn end_group(&mut self) -> Result<()> {
        if self.rows_in_group == 0 {
            return Ok(());
        }
        let leaves = std::mem::replace(&mut self.leaves, empty(&self.tree));
        let (mut chunks, mut plain_bytes) = (Vec::new(), 0);
        for (leaf, buffer) in self.tree.leaves.clone().iter().zip(leaves) {
            let (chunk, bytes) = self.put_chunk(leaf, &buffer)?;
            chunks.push(chunk);
            plain_bytes += bytes;
        }
        self.groups.push(
            Struct::default()
                .structures(1, chunks)
                .i64(2, plain_bytes)
                .i64(3, self.rows_in_group as i64),
        );
        self.rows += self.rows_in_group as u64;
        self.rows_in_group = 0;
        Ok(())
    }

    /// Writes the page of a leaf; gives the chunk's metadata and its bytes before compression.
    fn put_chunk(&mut self, leaf: &Leaf, buffer: &LeafBuffer) -> Result<(Struct, i64)> {
        let mut body = Vec::with_capacity(buffer.values.len() + 64);
        if leaf.max_repetition > 0 {
            buffer.repetitions.put(&mut body);
        }
        if leaf.max_definition > 0 {
            buffer.definitions.put(&mut body);
        }
        buffer.put_values(leaf, &mut body);
        let packed = zstd::bulk::compress(&body, ZSTD_LEVEL)
            .map_err(|error| Error::io("compressing a page of state", error))?;
        let too_large = || {
            Error::Incompatible(format!(
                "a value of column '{}' is too large for a Parquet page",
                leaf.path.join(".")
            ))
        };
        let size = |bytes: usize| i32::try_from(bytes).map_err(|_| too_large());
        let header = Struct::default()
            .i32(1, 0)
            .i32(2, size(body.len())?)
            .i32(3, size(packed.len())?)
            .i32(4, crc32fast::hash(&packed) as i32)
            .structure(
                5,
                Struct::default()
                    .i32(1, size(buffer.count)?)
                    .i32(2, PLAIN)
                    .i32(3, RLE)
                    .i32(4, RLE),
            )
            .finish();
        let start = self.offset as i64;
        self.put(&header)?;
        self.put(&packed)?;
        let plain_bytes = (header.len() + body.len()) as i64;
        let metadata = Struct::default()
            .i32(1, leaf.physical.number())
            .i32s(2, &[PLAIN, RLE])
            .texts(3, &leaf.path)
            .i32(4, ZSTD)
            .i64(5, buffer.count as i64)
            .i64(6, plain_bytes)
            .i64(7, self.offset as i64 - start)
            .i64(9, start)
            .structure(12, statistics(leaf, buffer));
        let chunk = Struct::default().i64(2, start).structure(3, metadata);
        Ok((chunk, plain_bytes))
    }

    /// Writes the footer and syncs the file.
    pub(crate) fn finish(mut self) -> Result<Finished> {
        self.end_group()?;
        let orders = (0..self.tree.leaves.len())
            .map(|_| Struct::default().structure(1, Struct::default()))
            .collect();
        let footer = Struct::default()
            .i32(1, 1)
            .structures(2, self.tree.elements())
            .i64(3, self.rows as i64)
            .structures(4, std::mem::take(&mut self.groups))
            .binary(6, b"weir savepoint 1")
            .structures(7, orders)
            .finish();
        self.put(&footer)?;
        self.put(&(footer.len() as u32).to_le_bytes())?;
        self.put(MAGIC)?;
        let failed = |error| Error::io(format!("writing {}", self.path.display()), error);
        self.file.flush().map_err(failed)?;
        self.file.get_ref().sync_all().map_err(failed)?;
        Ok(Finished {
            size: self.offset,
            checksum: format!("{:016x}", self.sum.digest()),
            rows: self.rows,
        })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|error| Error::io(format!("writing {}", self.path.display()), error))?;
        self.sum.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

fn empty(tree: &Tree) -> Vec<LeafBuffer> {
    tree.leaves.iter().map(|_| LeafBuffer::default()).collect()
}

/// NULLs, and least and greatest where they are signed integers.
fn statistics(leaf: &Leaf, buffer: &LeafBuffer) -> Struct {
    let nulls = Struct::default().i64(3, (buffer.count - buffer.present) as i64);
    let Some((least, greatest)) = buffer.range.filter(|_| leaf.ordered) else {
        return nulls;
    };
    let bytes = |value: i64| match leaf.physical {
        super::schema::Physical::Int32 => (value as i32).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    };
    nulls.binary(5, &bytes(greatest)).binary(6, &bytes(least))
}
