//! A record of a spilled table.
//!
//! ```text
//!   hash of the key (u64 LE) ‖ bytes of the key (u32 LE) ‖ bytes of the row (u32 LE; all ones: a deletion) ‖ sum (u32 LE) ‖ key ‖ row
//! ```
//!
//! Records are in the order of their places: first the key group, which is the first two bytes of a key, then the hash. So what goes
//! to the database comes out of a run key group by key group.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{Error, Result};

/// Bytes before the key.
const HEADER: usize = 20;
/// Bytes before the sum.
const BEFORE_SUM: usize = 16;
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
        let stored = self.bytes.get(BEFORE_SUM..HEADER);
        if stored == Some(&sum(self.bytes).to_le_bytes()) {
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
    let start = out.len();
    out.extend_from_slice(&hash.to_le_bytes());
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    let length = row.map_or(DELETED, |row| row.len() as u32);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; HEADER - BEFORE_SUM]);
    out.extend_from_slice(key);
    out.extend_from_slice(row.unwrap_or_default());
    let sum = sum(&out[start..]);
    out[start + BEFORE_SUM..start + HEADER].copy_from_slice(&sum.to_le_bytes());
}

/// The sum of all of a record but itself.
fn sum(record: &[u8]) -> u32 {
    let (before, after) = record.split_at(HEADER.min(record.len()));
    let before = before
        .first_chunk::<BEFORE_SUM>()
        .map_or(0, |bytes| u128::from_le_bytes(*bytes));
    xxh3_64_with_seed(after, (before >> 64) as u64 ^ before as u64) as u32
}

pub(super) fn damaged() -> Error {
    Error::damaged("a file of spilled entries is not what was written")
}
