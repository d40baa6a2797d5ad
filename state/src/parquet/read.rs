//! Reads a file that [`super::FileWriter`] wrote: row group by row group, those that are wanted.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;

use super::assemble::{LeafCursor, take};
use super::schema::{FileColumn, Leaf, Tree, other_schema};
use super::thrift::Value;
use super::write::{MAGIC, ZSTD};
use super::{GROUP_BYTES_MAX, GROUP_ROWS_MAX};
use crate::encoding::Builder;
use crate::{Error, Result};

/// Bytes of a footer: far more than any has.
const FOOTER_BYTES_MAX: u64 = 1 << 30;
/// Bytes of one page: a row group's bytes, and one value that may be larger.
const PAGE_BYTES_MAX: usize = i32::MAX as usize;

/// A file that was opened.
pub(crate) struct FileReader {
    path: PathBuf,
    file: File,
    columns: Vec<FileColumn>,
    tree: Tree,
    groups: Vec<Group>,
}

struct Group {
    rows: usize,
    chunks: Vec<Chunk>,
}

struct Chunk {
    offset: u64,
    size: usize,
    range: Option<(i64, i64)>,
}

impl FileReader {
    /// Opens a file whose columns are known.
    pub(crate) fn open(path: &Path, columns: &[FileColumn]) -> Result<Self> {
        let failed = |error| Error::io(format!("reading {}", path.display()), error);
        let damaged = || Error::damaged(&format!("{} is not a whole Parquet file", path.display()));
        let mut file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut end = [0; 8];
        if size < 12 {
            return Err(damaged());
        }
        file.seek(SeekFrom::End(-8)).map_err(failed)?;
        file.read_exact(&mut end).map_err(failed)?;
        let (length, magic) = end.split_at(4);
        let length = length
            .first_chunk::<4>()
            .map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)));
        if magic != MAGIC || length > FOOTER_BYTES_MAX || length + 12 > size {
            return Err(damaged());
        }
        let mut footer = vec![0; length as usize];
        file.seek(SeekFrom::Start(size - 8 - length))
            .map_err(failed)?;
        file.read_exact(&mut footer).map_err(failed)?;
        let footer = Value::take(&mut footer.as_slice())?;
        let tree = Tree::new(columns);
        check_schema(&tree, &footer)?;
        let groups = footer
            .list(4)
            .iter()
            .map(|group| read_group(group, &tree.leaves, size))
            .collect::<Result<_>>()?;
        Ok(Self {
            path: path.to_owned(),
            file,
            columns: columns.to_vec(),
            tree,
            groups,
        })
    }

    /// Row groups.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Rows of a row group.
    pub(crate) fn rows(&self, group: usize) -> usize {
        self.groups[group].rows
    }

    /// Least and greatest value of a column of signed integers in a row group.
    pub(crate) fn range(&self, group: usize, column: usize) -> Option<(i64, i64)> {
        let leaf = self.tree.columns[column].leaves.start;
        self.groups[group].chunks[leaf].range
    }

    /// The columns of a row group.
    pub(crate) fn read(&mut self, group: usize) -> Result<Vec<ArrayRef>> {
        let rows = self.groups[group].rows;
        let mut cursors = Vec::with_capacity(self.tree.leaves.len());
        for leaf in 0..self.tree.leaves.len() {
            let chunk = &self.groups[group].chunks[leaf];
            let (offset, size) = (chunk.offset, chunk.size);
            let mut bytes = vec![0; size];
            self.file
                .seek(SeekFrom::Start(offset))
                .and_then(|_| self.file.read_exact(&mut bytes))
                .map_err(|error| Error::io(format!("reading {}", self.path.display()), error))?;
            cursors.push(read_page(&bytes, &self.tree.leaves[leaf])?);
        }
        let mut columns = Vec::with_capacity(self.columns.len());
        for (node, column) in self.tree.columns.iter().zip(&self.columns) {
            let mut builder = Builder::new(&column.data_type);
            for _ in 0..rows {
                take(node, &mut cursors, &mut builder)?;
            }
            columns.push(builder.finish());
        }
        if cursors.iter_mut().any(|cursor| !cursor.is_at_end()) {
            return Err(Error::damaged("a Parquet page has more values than rows"));
        }
        Ok(columns)
    }
}

/// The footer must describe the very columns that are expected.
fn check_schema(tree: &Tree, footer: &Value) -> Result<()> {
    let expected: Vec<Value> = tree
        .elements()
        .into_iter()
        .map(|element| Value::take(&mut element.finish().as_slice()))
        .collect::<Result<_>>()?;
    if footer.list(2) == expected {
        Ok(())
    } else {
        Err(other_schema("other columns"))
    }
}

fn read_group(group: &Value, leaves: &[Leaf], size: u64) -> Result<Group> {
    let rows = group.integer(3).and_then(|rows| usize::try_from(rows).ok());
    let rows = rows
        .filter(|rows| *rows <= GROUP_ROWS_MAX)
        .ok_or_else(|| other_schema("larger row groups"))?;
    let columns = group.list(1);
    if columns.len() != leaves.len() {
        return Err(other_schema("other columns"));
    }
    let chunks = columns.iter().map(|column| read_chunk(column, size));
    Ok(Group {
        rows,
        chunks: chunks.collect::<Result<_>>()?,
    })
}

fn read_chunk(column: &Value, file_size: u64) -> Result<Chunk> {
    let damaged = || Error::damaged("a column of a Parquet file lies outside of it");
    let metadata = column.field(3).ok_or_else(damaged)?;
    if metadata.integer(4) != Some(i64::from(ZSTD)) {
        return Err(other_schema("another compression"));
    }
    let offset = metadata.integer(9).and_then(|at| u64::try_from(at).ok());
    let size = metadata
        .integer(7)
        .and_then(|size| u64::try_from(size).ok());
    let (offset, size) = offset.zip(size).ok_or_else(damaged)?;
    if offset.checked_add(size).is_none_or(|end| end > file_size) {
        return Err(damaged());
    }
    let bound = |id: i16| {
        let bytes = metadata.field(12)?.bytes(id)?;
        match bytes.len() {
            4 => Some(i64::from(i32::from_le_bytes(*bytes.first_chunk::<4>()?))),
            _ => Some(i64::from_le_bytes(*bytes.first_chunk::<8>()?)),
        }
    };
    Ok(Chunk {
        offset,
        size: size as usize,
        range: bound(6).zip(bound(5)),
    })
}

/// Decompresses a page and takes its levels off.
fn read_page(bytes: &[u8], leaf: &Leaf) -> Result<LeafCursor> {
    let damaged = |what: &str| Error::damaged(&format!("a Parquet page {what}"));
    let mut rest = bytes;
    let header = Value::take(&mut rest)?;
    let plain = header
        .integer(2)
        .and_then(|size| usize::try_from(size).ok());
    let packed = header
        .integer(3)
        .and_then(|size| usize::try_from(size).ok());
    let (plain, packed) = plain
        .zip(packed)
        .filter(|(plain, _)| *plain <= PAGE_BYTES_MAX)
        .ok_or_else(|| damaged("has no size"))?;
    if packed != rest.len() {
        return Err(damaged("has another size than its column"));
    }
    if header.integer(4) != Some(i64::from(crc32fast::hash(rest) as i32)) {
        return Err(damaged("has another checksum than its header says"));
    }
    let count = header
        .field(5)
        .and_then(|page| page.integer(1))
        .and_then(|count| usize::try_from(count).ok());
    // A value of a nested column may repeat, but each takes a place in the page.
    let count = count.ok_or_else(|| damaged("has no number of values"))?;
    let limit = plain.max(GROUP_BYTES_MAX);
    let body = zstd::bulk::decompress(rest, limit)
        .map_err(|error| damaged(&format!("cannot be decompressed: {error}")))?;
    if body.len() != plain {
        return Err(damaged("has another size than its header says"));
    }
    LeafCursor::new(body, leaf, count)
}
