//! Calls that are computed straight from their operand, where the library's way is a detour.
//!
//! | written | the library | here |
//! |---|---|---|
//! | `date_part('hour', t)`, minute, second | makes a date of the calendar of every time | two divisions |
//! | `character_length(replace(x, 'a', 'b'))` | builds the other text and counts in it | counts in the text that is there |
//! | `t ± INTERVAL`, of a fixed length | makes a date of the calendar of every time and adds to it | one addition |
//! | `regexp_match(x, 'pattern')[n]` | compiles the pattern for each batch, copies all groups of all matches, picks one | copies the one |
//!
//! # Invariants
//! 1. What is given equals the library's, value by value and NULL by NULL. What the short way is not for (a time far from
//!    1970, an operand that is no column) is left to the library.
//! 2. It fails on no row on which its operand does not fail.

mod clock;
mod shift;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::PhysicalExpr;
use regex::Regex;
use weir_planner::plan::{Expr, ExprKind};
use weir_types::Scalar;

use self::clock::ClockPart;
use self::shift::Shift;
use self::text::LengthWithout;
use super::lower::Lowered;

/// A call with a short way.
#[derive(Debug)]
struct Direct {
    operand: Arc<dyn PhysicalExpr>,
    way: Way,
    /// The library's form of the same.
    general: Arc<dyn PhysicalExpr>,
}

#[derive(Clone, Debug)]
enum Way {
    Clock(ClockPart),
    LengthWithout(LengthWithout),
    /// The group of that number, from 1, among those that took part in the match.
    Group(Regex, usize),
    Shift(Shift),
}

/// The short way of a call, and whether it can fail on a row; `None`: there is none. `children` are the lowered arguments,
/// `general` the library's form of the call.
pub(super) fn direct(
    name: &str,
    arguments: &[Expr],
    children: &[Lowered],
    general: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Option<(Arc<dyn PhysicalExpr>, bool)> {
    let (way, operand) = match (name, arguments) {
        ("date_part", [part, _]) => {
            let operand = &children[1];
            let data_type = operand.physical.data_type(schema).ok()?;
            (
                Way::Clock(ClockPart::of(literal_text(part)?, &data_type)?),
                operand,
            )
        }
        ("character_length" | "char_length" | "length", [replaced]) => {
            let [_, taken, put] = call_of("replace", replaced)? else {
                return None;
            };
            let way = LengthWithout::of(literal_text(taken)?, literal_text(put)?)?;
            (Way::LengthWithout(way), children[0].children.first()?)
        }
        ("array_element", [groups, number]) => {
            let [_, pattern] = call_of("regexp_match", groups)? else {
                return None;
            };
            let ExprKind::Literal(Scalar::Int(number @ 1..)) = number.kind else {
                return None;
            };
            // One that is no regular expression is the library's to tell.
            let regex = Regex::new(literal_text(pattern)?).ok()?;
            let way = Way::Group(regex, usize::try_from(number).ok()?);
            (way, children[0].children.first()?)
        }
        _ => return None,
    };
    let takes_text = !matches!(way, Way::Clock(_));
    let is_text = operand.physical.data_type(schema).ok()? == DataType::Utf8View;
    let gives = match way {
        Way::Group(..) => DataType::Utf8View,
        _ => DataType::Int32,
    };
    if takes_text != is_text || general.data_type(schema).ok()? != gives {
        return None;
    }
    let direct = Direct {
        operand: Arc::clone(&operand.physical),
        way,
        general: Arc::clone(general),
    };
    Some((Arc::new(direct), operand.may_fail))
}

/// `general`, which is `left operator right`, by a short way if it has one.
pub(super) fn shifted(
    left: &Arc<dyn PhysicalExpr>,
    operator: &Operator,
    right: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
    general: Arc<dyn PhysicalExpr>,
) -> Arc<dyn PhysicalExpr> {
    match Shift::of(left, operator, right, schema) {
        Some(shift) => Arc::new(Direct {
            operand: Arc::clone(left),
            way: Way::Shift(shift),
            general,
        }),
        None => general,
    }
}

/// The arguments of a call of that name.
fn call_of<'a>(wanted: &str, expr: &'a Expr) -> Option<&'a [Expr]> {
    match &expr.kind {
        ExprKind::Function { name, arguments } if name == wanted => Some(arguments),
        _ => None,
    }
}

fn literal_text(expr: &Expr) -> Option<&str> {
    match &expr.kind {
        ExprKind::Literal(Scalar::String(text)) => Some(text),
        _ => None,
    }
}

impl Way {
    /// `None`: some value is for the library.
    fn apply(&self, operand: &ArrayRef) -> Option<ArrayRef> {
        match self {
            Self::Clock(part) => part.apply(operand),
            Self::Shift(shift) => shift.apply(operand),
            Self::LengthWithout(way) => Some(way.apply(operand.as_string_view_opt()?)),
            Self::Group(regex, number) => {
                Some(text::group(operand.as_string_view_opt()?, regex, *number))
            }
        }
    }
}

impl PhysicalExpr for Direct {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.general.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.general.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if let ColumnarValue::Array(operand) = self.operand.evaluate(batch)?
            && let Some(values) = self.way.apply(&operand)
        {
            return Ok(ColumnarValue::Array(values));
        }
        self.general.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.operand, &self.general]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self {
            operand: Arc::clone(&children[0]),
            general: Arc::clone(&children[1]),
            way: self.way.clone(),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Direct {
    fn eq(&self, other: &Self) -> bool {
        self.general.eq(&other.general)
    }
}

impl Eq for Direct {}

impl Hash for Direct {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.general.hash(state);
    }
}

impl fmt::Display for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.general, f)
    }
}
