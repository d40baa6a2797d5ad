//! Which operations can fail on a row: AND and OR pick rows only for a right side that can (`physical.rs`).

use weir_planner::plan::{BinaryOp, Expr, ExprKind};
use weir_types::{DataType, Scalar};

/// Whether the operation itself can fail on a row. Wrong in one direction only: "may" where it cannot costs time.
pub(super) fn operation_may_fail(op: BinaryOp, result: &DataType, right: &ExprKind) -> bool {
    match op {
        BinaryOp::Plus | BinaryOp::Minus | BinaryOp::Multiply => !is_float(result),
        BinaryOp::Divide | BinaryOp::Modulo => !is_float(result),
        BinaryOp::RegexMatch
        | BinaryOp::RegexIMatch
        | BinaryOp::RegexNotMatch
        | BinaryOp::RegexNotIMatch => !matches!(right, ExprKind::Literal(_)),
        _ => false,
    }
}

/// Whether the type's arithmetic has infinities instead of overflows.
pub(super) fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// Bits of an integer type's values, the sign not counted; `None` for other types.
fn integer_bits(data_type: &DataType) -> Option<(u8, bool)> {
    Some(match data_type {
        DataType::Int8 => (7, true),
        DataType::Int16 => (15, true),
        DataType::Int32 => (31, true),
        DataType::Int64 => (63, true),
        DataType::UInt8 => (8, false),
        DataType::UInt16 => (16, false),
        DataType::UInt32 => (32, false),
        DataType::UInt64 => (64, false),
        _ => return None,
    })
}

/// Whether a cast can fail on a value.
pub(super) fn cast_may_fail(from: &DataType, to: &DataType) -> bool {
    if from == to || *from == DataType::Null {
        return false;
    }
    match (integer_bits(from), integer_bits(to)) {
        (Some((from_bits, from_signed)), Some((to_bits, to_signed))) => {
            return from_bits > to_bits || (from_signed && !to_signed);
        }
        (Some(_), None) if is_float(to) || *to == DataType::String => return false,
        _ => {}
    }
    match (from, to) {
        (DataType::Boolean | DataType::Date | DataType::Bytes, DataType::String) => {
            *from == DataType::Bytes
        }
        (
            DataType::Float32 | DataType::Float64,
            DataType::Float32 | DataType::Float64 | DataType::String,
        ) => false,
        (DataType::Decimal(..), DataType::Float64 | DataType::String) => false,
        (DataType::String, DataType::Bytes) => false,
        _ => true,
    }
}

/// Whether a call of a function can fail on a row on which its arguments do not. Only what is known to take every value is listed.
pub(super) fn call_may_fail(name: &str, arguments: &[Expr]) -> bool {
    let is_text = |place: usize| {
        arguments
            .get(place)
            .is_some_and(|argument| matches!(argument.kind, ExprKind::Literal(Scalar::String(_))))
    };
    match name {
        "lower" | "upper" | "character_length" | "char_length" | "length" | "octet_length"
        | "bit_length" | "starts_with" | "ends_with" | "contains" | "strpos" => false,
        // A field that the library does not know fails whatever the row is: that is told in another way.
        "date_part" => !is_text(0),
        "split_part" => {
            let is_place = |argument: &Expr| matches!(argument.kind, ExprKind::Literal(Scalar::Int(place)) if place != 0);
            !arguments.get(2).is_some_and(is_place)
        }
        _ => true,
    }
}
