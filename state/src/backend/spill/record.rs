//! A record of a spilled table.
//!
//! ```text
//!   hash of the key (u64 LE) ‖ bytes of the key (u32 LE) ‖ bytes of the row (u32 LE; all ones: a deletion) ‖ sum (u32 LE) ‖ key ‖ row
//! ```
//!
//! Records are in the order of their places: first the key group, which is the first two bytes of a key, then the hash. So what goes
//! to the database comes out of a run key group by key group.

use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, Result};

/// Bytes before the key.
const HEADER: usize = 20;
/// In place of the length of a row.
const DELETED: u32 = u32::MAX;
/// Bits of a place behind the key group.
pub(super) const GROUP_SHIFT: u32 = 48;

/// The hash that finds a key.
#[inline]
pub(super) fn hash_of(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Where a key comes in the order of records.
#[inline]
pub(super) fn place_of(hash: u64, key: &[u8]) -> u64 {
    let group = key
        .first_chunk::<2>()
        .map_or(0, |group| u16::from_be_bytes(*group));
    u64::from(group) << GROUP_SHIFT | hash >> (64 - GROUP_SHIFT)
}

/// One record, where its bytes are.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) hash: u64,
    pub(super) key: &'a [u8],
    /// `None`: a deletion.
    pub(super) row: Option<&'a [u8]>,
    /// All of it.
    pub(super) bytes: &'a [u8],
}

/// The length of the record that starts here, if its header is there.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let number = |at: usize| {
        let bytes = bytes.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let (key, row) = (number(8)?, number(12)?);
    let row = if row == DELETED { 0 } else { row };
    Some(HEADER + key as usize + row as usize)
}

impl<'a> Record<'a> {
    /// The first record of `bytes`.
    pub(super) fn first(bytes: &'a [u8]) -> Option<Self> {
        let length = length(bytes)?;
        let bytes = bytes.get(..length)?;
        let hash = u64::from_le_bytes(*bytes.first_chunk()?);
        let key = u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?) as usize;
        let row = u32::from_le_bytes(*bytes.get(12..)?.first_chunk()?);
        let (key, after) = bytes.get(HEADER..)?.split_at_checked(key)?;
        Some(Self {
            hash,
            key,
            row: (row != DELETED).then_some(after),
            bytes,
        })
    }

    pub(super) fn place(&self) -> u64 {
        place_of(self.hash, self.key)
    }

    /// Compares the content with its sum.
    pub(super) fn check(&self) -> Result<()> {
        let stored = self
            .bytes
            .get(16..)
            .and_then(|bytes| bytes.first_chunk::<4>());
        let content = self.bytes.get(HEADER..).unwrap_or_default();
        if stored == Some(&sum(content).to_le_bytes()) {
            Ok(())
        } else {
            Err(damaged())
        }
    }
}

/// The length of the record of an entry.
pub(super) fn length_of(key: &[u8], row: Option<&[u8]>) -> usize {
    HEADER + key.len() + row.map_or(0, <[u8]>::len)
}

/// Appends a record.
pub(super) fn put(hash: u64, key: &[u8], row: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(&hash.to_le_bytes());
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    let length = row.map_or(DELETED, |row| row.len() as u32);
    out.extend_from_slice(&length.to_le_bytes());
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(key);
    out.extend_from_slice(row.unwrap_or_default());
    let sum = sum(&out[at + 4..]);
    out[at..at + 4].copy_from_slice(&sum.to_le_bytes());
}

fn sum(content: &[u8]) -> u32 {
    xxh3_64(content) as u32
}

pub(super) fn damaged() -> Error {
    Error::damaged("a file of spilled entries is not what was written")
}
