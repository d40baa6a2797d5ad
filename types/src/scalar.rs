//! A single typed value, as it stands in a plan.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A literal. Its SQL type stands beside it in the plan; the variant says how the bits are to be read.
///
/// Floats are kept by their bits, so that equality, hashing and fingerprints are exact.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scalar {
    /// NULL of any type.
    Null,
    /// A BOOLEAN.
    Boolean(bool),
    /// Every signed integer, DATE (days), TIME (nanoseconds), TIMESTAMP (in the unit of the type).
    Int(i64),
    /// Unsigned integers.
    UInt(u64),
    /// The bits of an f64 (a REAL is widened).
    Float(u64),
    /// The unscaled value of a DECIMAL, in decimal digits (up to 76 of them).
    Decimal(String),
    /// A STRING.
    String(String),
    /// BYTES.
    Bytes(Vec<u8>),
    /// INTERVAL: months, days, nanoseconds.
    Interval(i32, i32, i64),
}

impl Scalar {
    /// A float literal.
    pub fn float(value: f64) -> Self {
        Self::Float(value.to_bits())
    }
}

impl fmt::Display for Scalar {
    /// The canonical SQL text, without the type.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean(value) => f.write_str(if *value { "TRUE" } else { "FALSE" }),
            Self::Int(value) => value.fmt(f),
            Self::UInt(value) => value.fmt(f),
            Self::Float(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Self::Decimal(digits) => f.write_str(digits),
            Self::String(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Self::Bytes(bytes) => {
                f.write_str("X'")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))?;
                f.write_str("'")
            }
            Self::Interval(months, days, nanos) => {
                write!(f, "INTERVAL '{months} months {days} days {nanos} ns'")
            }
        }
    }
}
