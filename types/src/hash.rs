//! The hash of a key: fixed by the format, not by a library's version (`docs/formats/keys.md`).
//!
//! A key of one or more columns hashes to a u64:
//!
//! ```text
//!   h = 0x9E3779B97F4A7C15
//!   for each column:  h = mix(h ^ hash(value))        mix = the finalizer of splitmix64
//!   key group = (h >> 32) % key groups
//! ```
//!
//! `hash(value)`: integers of any width, DATE, TIME and TIMESTAMP are i64 through `mix`; floats are normalized
//! (−0.0 is 0.0, every NaN is one NaN, REAL is widened) and hashed by their bits; BOOLEAN is 0 or 1; strings and
//! bytes are XXH3-64 of their bytes, whatever the Arrow type; DECIMAL is its unscaled i128 (two i64 halves; 256-bit:
//! XXH3-64 of its 32 little-endian bytes); NULL is a constant; every other type is XXH3-64 of its text encoding
//! by Arrow's display, which a join key never is.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::KeyGroup;

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const NULL: u64 = 0xA5A5_1D2C_7F3B_9E01;

/// The finalizer of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
#[inline]
pub fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The key group of a hash.
#[inline]
pub fn key_group(hash: u64, groups: u16) -> KeyGroup {
    KeyGroup(((hash >> 32) % u64::from(groups)) as u16)
}

/// The hash of the key without columns: such state lives in key group 0, see [`key_group`].
pub const EMPTY_KEY: u64 = 0;

/// Hashes the rows of the key columns, one hash for each of `rows` rows. Without columns every hash is
/// [`EMPTY_KEY`], whose key group is 0.
pub fn hash_columns(columns: &[ArrayRef], rows: usize) -> Vec<u64> {
    if columns.is_empty() {
        return vec![EMPTY_KEY; rows];
    }
    let mut hashes = vec![SEED; rows];
    for column in columns {
        hash_column(column, &mut hashes);
    }
    hashes
}

macro_rules! fold {
    ($hashes:expr, $array:expr, |$row:ident| $value:expr) => {{
        let array = $array;
        if array.null_count() == 0 {
            for ($row, hash) in $hashes.iter_mut().enumerate() {
                *hash = mix(*hash ^ $value);
            }
        } else {
            for ($row, hash) in $hashes.iter_mut().enumerate() {
                *hash = mix(*hash ^ if array.is_null($row) { NULL } else { $value });
            }
        }
    }};
}

fn hash_column(column: &ArrayRef, hashes: &mut [u64]) {
    macro_rules! int {
        ($t:ty) => {{
            let array = column.as_primitive::<$t>();
            let values = array.values();
            fold!(hashes, array, |row| mix(values[row] as i64 as u64))
        }};
    }
    macro_rules! bytes {
        ($array:expr) => {{
            let array = $array;
            fold!(hashes, array, |row| xxh3_64(array.value(row).as_ref()))
        }};
    }
    use arrow::datatypes::{DataType as A, TimeUnit as U};
    match column.data_type() {
        A::Boolean => {
            let array = column.as_boolean();
            fold!(hashes, array, |row| mix(u64::from(array.value(row))))
        }
        A::Int8 => int!(Int8Type),
        A::Int16 => int!(Int16Type),
        A::Int32 => int!(Int32Type),
        A::Int64 => int!(Int64Type),
        A::UInt8 => int!(UInt8Type),
        A::UInt16 => int!(UInt16Type),
        A::UInt32 => int!(UInt32Type),
        A::UInt64 => int!(UInt64Type),
        A::Date32 => int!(Date32Type),
        A::Date64 => int!(Date64Type),
        A::Time64(U::Nanosecond) => int!(Time64NanosecondType),
        A::Timestamp(U::Second, _) => int!(TimestampSecondType),
        A::Timestamp(U::Millisecond, _) => int!(TimestampMillisecondType),
        A::Timestamp(U::Microsecond, _) => int!(TimestampMicrosecondType),
        A::Timestamp(U::Nanosecond, _) => int!(TimestampNanosecondType),
        A::Float32 => {
            let array = column.as_primitive::<Float32Type>();
            fold!(hashes, array, |row| mix(normalized_bits(f64::from(
                array.value(row)
            ))))
        }
        A::Float64 => {
            let array = column.as_primitive::<Float64Type>();
            fold!(hashes, array, |row| mix(normalized_bits(array.value(row))))
        }
        A::Decimal128(..) => {
            let array = column.as_primitive::<Decimal128Type>();
            fold!(hashes, array, |row| {
                let value = array.value(row);
                mix(mix((value >> 64) as u64) ^ value as u64)
            })
        }
        A::Decimal256(..) => {
            let array = column.as_primitive::<Decimal256Type>();
            fold!(hashes, array, |row| xxh3_64(
                &array.value(row).to_le_bytes()
            ))
        }
        A::Utf8 => bytes!(column.as_string::<i32>()),
        A::LargeUtf8 => bytes!(column.as_string::<i64>()),
        A::Utf8View => {
            let array = column.as_string_view();
            fold!(hashes, array, |row| xxh3_64(array.value(row).as_bytes()))
        }
        A::Binary => bytes!(column.as_binary::<i32>()),
        A::LargeBinary => bytes!(column.as_binary::<i64>()),
        A::BinaryView => bytes!(column.as_binary_view()),
        A::Null => hashes.iter_mut().for_each(|hash| *hash = mix(*hash ^ NULL)),
        _ => {
            let options = arrow::util::display::FormatOptions::default().with_null("NULL");
            match arrow::util::display::ArrayFormatter::try_new(column, &options) {
                Ok(formatter) => fold!(hashes, column, |row| xxh3_64(
                    formatter.value(row).to_string().as_bytes()
                )),
                Err(_) => hashes.iter_mut().for_each(|hash| *hash = mix(*hash ^ NULL)),
            }
        }
    }
}

/// The bits of a float after normalization: one zero, one NaN.
#[inline]
pub fn normalized_bits(value: f64) -> u64 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        0x7FF8_0000_0000_0000
    } else {
        value.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::*;

    use super::*;

    fn one(column: impl Array + 'static) -> u64 {
        hash_columns(&[Arc::new(column)], 1)[0]
    }

    #[test]
    fn hashes_are_pinned_for_ever() {
        let hashes = [
            one(Int64Array::from(vec![42])),
            one(StringViewArray::from(vec!["weir"])),
            one(Float64Array::from(vec![1.5])),
            one(Decimal128Array::from(vec![-7])),
            one(BooleanArray::from(vec![None])),
        ];
        let pinned = [
            207_863_239_846_209_024,
            11_857_747_966_889_911_545,
            17_735_258_107_155_672_501,
            10_530_464_179_121_138_324,
            6_408_826_692_186_997_863,
        ];
        assert_eq!(hashes, pinned);
    }

    #[test]
    fn width_and_string_layout_do_not_matter() {
        assert_eq!(
            one(Int8Array::from(vec![7])),
            one(Int64Array::from(vec![7]))
        );
        assert_eq!(
            one(StringArray::from(vec!["ab"])),
            one(StringViewArray::from(vec!["ab"]))
        );
        assert_eq!(
            one(Float64Array::from(vec![-0.0])),
            one(Float64Array::from(vec![0.0]))
        );
        assert_eq!(
            one(Float32Array::from(vec![f32::NAN])),
            one(Float64Array::from(vec![-f64::NAN]))
        );
    }

    #[test]
    fn the_empty_key_is_in_group_zero() {
        assert_eq!(key_group(hash_columns(&[], 1)[0], 128), KeyGroup(0));
    }
}
