//! Repetition and definition levels: runs in memory, Parquet's RLE on disk.
//!
//! ```text
//!   run    varint (length << 1) ‖ level in one byte
//! ```
//!
//! Levels fit a byte (types are not nested 255 deep), and runs alone are a valid form of Parquet's hybrid of runs and
//! packed bits; what that wastes where levels alternate, compression takes back.

use crate::encoding::value::{put_count, take_count};
use crate::{Error, Result};

/// Levels of one leaf, as runs of equal ones.
#[derive(Default)]
pub(super) struct Levels {
    runs: Vec<(u8, usize)>,
}

impl Levels {
    #[inline]
    pub(super) fn push(&mut self, level: u8) {
        match self.runs.last_mut() {
            Some((last, length)) if *last == level => *length += 1,
            _ => self.runs.push((level, 1)),
        }
    }

    /// Appends length in bytes and runs.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        for &(level, length) in &self.runs {
            put_count(length << 1, out);
            out.push(level);
        }
        let bytes = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&bytes.to_le_bytes());
    }

    /// Reads the levels of `count` values.
    pub(super) fn take(bytes: &mut &[u8], count: usize) -> Result<Self> {
        let cut = || Error::damaged("the levels of a Parquet page are cut off");
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (mut own, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        *bytes = rest;
        let (mut runs, mut left) = (Vec::new(), count);
        while !own.is_empty() {
            let header = take_count(&mut own)?;
            if header & 1 == 1 {
                return Err(Error::damaged(
                    "a Parquet page has packed levels, which Weir does not write",
                ));
            }
            let (&level, rest) = own.split_first().ok_or_else(cut)?;
            own = rest;
            left = left
                .checked_sub(header >> 1)
                .ok_or_else(|| Error::damaged("a Parquet page has more levels than values"))?;
            runs.push((level, header >> 1));
        }
        if left > 0 {
            return Err(Error::damaged(
                "a Parquet page has fewer levels than values",
            ));
        }
        Ok(Self { runs })
    }

    /// Levels one by one.
    pub(super) fn cursor(self) -> LevelCursor {
        LevelCursor {
            runs: self.runs.into_iter(),
            level: 0,
            left: 0,
        }
    }
}

/// Where a reader is in the levels of a leaf.
pub(super) struct LevelCursor {
    runs: std::vec::IntoIter<(u8, usize)>,
    level: u8,
    left: usize,
}

impl LevelCursor {
    /// The level of the next value, without taking it.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        while self.left == 0 {
            (self.level, self.left) = self.runs.next()?;
        }
        Some(self.level)
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<u8> {
        let level = self.peek()?;
        self.left -= 1;
        Some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_come_back_and_wrong_counts_are_errors() {
        let levels = [0, 0, 2, 1, 1, 1, 0];
        let mut runs = Levels::default();
        levels.iter().for_each(|&level| runs.push(level));
        let mut bytes = Vec::new();
        runs.put(&mut bytes);
        let mut cursor = Levels::take(&mut bytes.as_slice(), 7).unwrap().cursor();
        let read: Vec<u8> = std::iter::from_fn(|| cursor.next()).collect();
        assert_eq!(read, levels);
        assert!(Levels::take(&mut bytes.as_slice(), 6).is_err());
        assert!(Levels::take(&mut bytes.as_slice(), 8).is_err());
        assert!(Levels::take(&mut &bytes[..5], 7).is_err());
    }
}
