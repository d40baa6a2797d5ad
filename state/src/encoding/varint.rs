//! Variable-length integers: seven bits a byte, the lowest first; signed ones in zigzag order (0, −1, 1, −2, …).

use crate::{Error, Result};

pub(crate) fn put_u64(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_i64(value: i64, out: &mut Vec<u8>) {
    put_u64(((value << 1) ^ (value >> 63)) as u64, out);
}

pub(crate) fn put_i128(value: i128, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 127)) as u128;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[inline]
pub(crate) fn take_u64(bytes: &mut &[u8]) -> Result<u64> {
    // Most stored integers are small counts: one byte.
    if let Some((&first, rest)) = bytes.split_first()
        && first < 0x80
    {
        *bytes = rest;
        return Ok(u64::from(first));
    }
    let wide = take_u128(bytes, 64)?;
    u64::try_from(wide).map_err(|_| Error::damaged("an integer is wider than 64 bits"))
}

#[inline]
pub(crate) fn take_i64(bytes: &mut &[u8]) -> Result<i64> {
    let zigzag = take_u64(bytes)?;
    Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
}

pub(crate) fn take_i128(bytes: &mut &[u8]) -> Result<i128> {
    let zigzag = take_u128(bytes, 128)?;
    Ok((zigzag >> 1) as i128 ^ -((zigzag & 1) as i128))
}

fn take_u128(bytes: &mut &[u8], bits: u32) -> Result<u128> {
    let (mut value, mut shift) = (0u128, 0u32);
    loop {
        let (&byte, rest) = bytes
            .split_first()
            .ok_or_else(|| Error::damaged("a row ends within an integer"))?;
        *bytes = rest;
        let part = u128::from(byte & 0x7F);
        if shift >= bits || (shift > 121 && part >> (128 - shift) != 0) {
            return Err(Error::damaged("an integer is too long"));
        }
        value |= part << shift;
        if byte < 0x80 {
            return Ok(value);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_size_come_back() {
        for value in [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN, 1 << 40] {
            let mut bytes = Vec::new();
            put_i64(value, &mut bytes);
            assert_eq!(take_i64(&mut bytes.as_slice()).unwrap(), value);
        }
        for value in [0, -1, i128::MAX, i128::MIN, 10_i128.pow(37)] {
            let mut bytes = Vec::new();
            put_i128(value, &mut bytes);
            assert_eq!(take_i128(&mut bytes.as_slice()).unwrap(), value);
        }
    }

    #[test]
    fn a_cut_or_endless_integer_is_an_error() {
        assert!(take_u64(&mut [0x80u8, 0x80].as_slice()).is_err());
        assert!(take_u64(&mut [0xFFu8; 12].as_slice()).is_err());
        assert!(take_i128(&mut [0xFFu8; 30].as_slice()).is_err());
    }
}
