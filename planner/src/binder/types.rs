//! The types of casts and typed literals.

use sqlparser::ast;
use weir_types::{DataType, Diagnostic, Span, TimeUnit};

use crate::codes;
use crate::syntax;

/// The type of a CAST (read by the front end, like the types of CREATE TABLE) or of a typed literal (`DATE '…'`).
pub(crate) fn cast_type(
    data_type: &ast::DataType,
    span: Span,
) -> Result<DataType, Box<Diagnostic>> {
    if let Some(known) = syntax::cast_type(data_type) {
        return Ok(known);
    }
    let unit = |digits: &Option<u64>| {
        TimeUnit::of_precision(u8::try_from(digits.unwrap_or(6)).unwrap_or(9))
    };
    let zoned = |zone: &ast::TimezoneInfo| {
        matches!(
            zone,
            ast::TimezoneInfo::WithTimeZone | ast::TimezoneInfo::Tz
        )
    };
    Ok(match data_type {
        ast::DataType::Date => DataType::Date,
        ast::DataType::Time(..) => DataType::Time,
        ast::DataType::Datetime(digits) => DataType::Timestamp(unit(digits)),
        ast::DataType::Timestamp(digits, zone) if zoned(zone) => {
            DataType::TimestampLtz(unit(digits))
        }
        ast::DataType::Timestamp(digits, _) | ast::DataType::TimestampNtz(digits) => {
            DataType::Timestamp(unit(digits))
        }
        ast::DataType::Interval { .. } => DataType::Interval,
        ast::DataType::Boolean | ast::DataType::Bool => DataType::Boolean,
        other => {
            let message = format!("`{other}` is not a type that a literal can have");
            return Err(Box::new(
                Diagnostic::error(codes::UNKNOWN_TYPE, message)
                    .at(span, "not a typed literal")
                    .help("write CAST('…' AS type)"),
            ));
        }
    })
}
