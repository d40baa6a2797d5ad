//! Eight bytes of text at a time, as one number: where a string ends, how many digits follow and what they mean.
//!
//! ```text
//!   1 0 8 0 , " b i   ──xor '0'──▶  1 0 8 0 | no digit …   4 digits, shifted up: 0 0 0 0 1 0 8 0 ──▶ 1080
//! ```

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
const QUOTES: u64 = ONES * b'"' as u64;
const BACKSLASHES: u64 = ONES * b'\\' as u64;

/// The eight bytes from `at` on, the first one lowest; `None` if fewer are left.
#[inline]
pub(crate) fn load(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
}

/// The sixteen bytes from `at` on.
#[inline]
pub(crate) fn load_two(bytes: &[u8], at: usize) -> Option<u128> {
    let chunk = bytes.get(at..)?.first_chunk::<16>()?;
    Some(u128::from_le_bytes(*chunk))
}

/// The high bits of bytes that are zero, exact for the lowest of them: a subtraction borrows from the byte above only where
/// a byte is zero.
#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

/// The place of the first byte that ends the simple part of a string (a quote, a backslash, a control character), or 8.
#[inline]
pub(crate) fn first_special(word: u64) -> usize {
    let (quote, backslash) = (zeros(word ^ QUOTES), zeros(word ^ BACKSLASHES));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    ((quote | backslash | control) & HIGHS).trailing_zeros() as usize / 8
}

/// How many digits the word begins with, up to eight, and their number.
#[inline]
pub(crate) fn leading_digits(word: u64) -> (usize, u64) {
    let values = word ^ (ONES * b'0' as u64);
    let above_nine = ((values & !HIGHS) + ONES * 0x76) | values;
    let count = (above_nine & HIGHS).trailing_zeros() as usize / 8;
    // As the last digits of eight, with zeros before them; with none at all the shift leaves nothing.
    let shifted = values.checked_shl(64 - 8 * count as u32).unwrap_or(0);
    (count, eight_digits(shifted))
}

/// The number of eight digits, each a byte from 0 to 9, the first one lowest.
#[inline]
fn eight_digits(digits: u64) -> u64 {
    const PAIRS: u64 = 0x0000_00FF_0000_00FF;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let first = (pairs & PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let second = ((pairs >> 16) & PAIRS).wrapping_mul(1 + (10_000 << 32));
    first.wrapping_add(second) >> 32
}

/// The seconds of a day that `hh:mm:ss` stands for; `None` if it is no such time.
#[inline]
pub(crate) fn clock_seconds(word: u64) -> Option<i64> {
    const COLONS: u64 = 0x0000_FF00_00FF_0000;
    const COLON: u64 = 0x0000_3A00_003A_0000;
    if word & COLONS != COLON {
        return None;
    }
    // A colon is ten above the digit 0: then eight digits are left, hh0mm0ss.
    let (8, number) = leading_digits(word ^ 0x0000_0A00_000A_0000) else {
        return None;
    };
    let (hour, minute, second) = (number / 1_000_000, number / 1000 % 1000, number % 1000);
    (hour < 24 && minute < 60 && second < 60).then(|| (hour * 3600 + minute * 60 + second) as i64)
}

/// A text that is looked for at one place again and again: its first sixteen bytes are compared as one number.
#[derive(Debug)]
pub(crate) struct Expected {
    head: u128,
    /// Which bits of `head` count.
    mask: u128,
    /// Of the whole text.
    length: usize,
    /// What is longer.
    rest: Box<[u8]>,
}

impl Expected {
    pub(crate) fn new(text: &[u8]) -> Self {
        let (head, rest) = text.split_at(text.len().min(16));
        let mut bytes = [0; 16];
        bytes[..head.len()].copy_from_slice(head);
        let unused = 128 - 8 * head.len() as u32;
        Self {
            head: u128::from_le_bytes(bytes),
            mask: u128::MAX.checked_shr(unused).unwrap_or(0),
            length: text.len(),
            rest: rest.into(),
        }
    }

    /// The place behind the text, if it stands at `at`. Too near the end of the record it is not found.
    #[inline]
    pub(crate) fn end_at(&self, bytes: &[u8], at: usize) -> Option<usize> {
        if load_two(bytes, at)? & self.mask != self.head {
            return None;
        }
        let end = at + self.length;
        let is_whole = self.rest.is_empty() || bytes.get(at + 16..end)? == &*self.rest;
        is_whole.then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(text: &[u8; 8]) -> u64 {
        u64::from_le_bytes(*text)
    }

    #[test]
    fn a_time_of_day_has_its_colons_and_stays_within_the_day() {
        assert_eq!(clock_seconds(word(b"23:59:58")), Some(86_398));
        assert_eq!(clock_seconds(word(b"00:00:00")), Some(0));
        for text in [
            b"24:00:00",
            b"23:60:00",
            b"23:00:60",
            b"23-00-00",
            b"2a:00:00",
            b"2::0:00:",
        ] {
            assert_eq!(clock_seconds(word(text)), None);
        }
    }

    #[test]
    fn a_text_is_found_whole_or_not_at_all() {
        let record = br#"{"a":1,"email_address":"x","extra":"none"}"#;
        let find = |text: &[u8], at| Expected::new(text).end_at(record, at);
        assert_eq!(find(b"\"a\":", 1), Some(5));
        assert_eq!(find(b",\"email_address\":", 6), Some(23));
        assert_eq!(find(b",\"email_address\";", 6), None);
        assert_eq!(find(b",\"b\":", 6), None);
        assert_eq!(find(b"\"", 30), None, "fewer than sixteen bytes are left");
    }

    proptest! {
        #[test]
        fn the_first_special_byte_is_found(bytes in any::<[u8; 8]>(), quote in 0usize..9) {
            let mut bytes = bytes;
            if let Some(byte) = bytes.get_mut(quote) {
                *byte = b'"';
            }
            let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
            let expected = bytes.iter().position(special).unwrap_or(8);
            prop_assert_eq!(first_special(word(&bytes)), expected);
        }

        #[test]
        fn digits_are_counted_and_read(text in "[0-9]{0,8}", tail in any::<[u8; 8]>()) {
            let mut bytes = tail;
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = std::str::from_utf8(&bytes[..count]).unwrap().parse().unwrap_or(0);
            prop_assert_eq!(leading_digits(word(&bytes)), (count, number));
        }
    }
}
