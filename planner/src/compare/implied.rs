//! Whether conditions say another one: `price > 100` says `price > 50`, and `price IN (60, 70)` does too.
//!
//! ```text
//!   conditions that hold ─▶ of each operand the values that it may have ─┐
//!                                                                        ├─▶ within ─▶ implied
//!   another condition    ─▶ the values for which it is true ─────────────┘
//! ```
//!
//! # Invariants
//! 1. "Implied" is proved, "not implied" is not: whoever asks has to be right with either.
//! 2. A condition that holds is TRUE, so that what it compares is not NULL.
//! 3. No condition is called implied of which the evaluation could fail where the others did not.

use std::collections::BTreeMap;
use std::ops::Bound;

use weir_types::{DataType, Scalar};

use super::trace::Conjunct;
use crate::canonical;
use crate::identity::shortened;
use crate::plan::{BinaryOp, Expr, ExprKind};

/// The value of a literal, in the order in which rows are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Boolean(bool),
    /// Integers, times, and the unscaled value of a decimal.
    Number(i128),
    /// The bits of a float in an order of integers.
    Float(i64),
    Text(String),
}

/// Values between two bounds.
type Range = (Bound<Value>, Bound<Value>);

/// What an operand may be: ranges in ascending order that do not meet. NULL is none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Values(Vec<Range>);

/// The operand of a condition, as a text over identities, and the values for which the condition is true.
type Fact = (String, Values);

/// Whether `condition` is true wherever all of `holding` are.
pub(super) fn is_implied(holding: &BTreeMap<String, Conjunct>, condition: &Conjunct) -> bool {
    let mut known: BTreeMap<String, Values> = BTreeMap::new();
    for conjunct in holding.values() {
        if let Some((operand, values)) = fact(&conjunct.expr, conjunct) {
            let both = match known.get(&operand) {
                Some(before) => before.both(&values),
                None => values,
            };
            known.insert(operand, both);
        }
    }
    follows(&known, holding, &condition.expr, condition)
}

fn follows(
    known: &BTreeMap<String, Values>,
    holding: &BTreeMap<String, Conjunct>,
    expr: &Expr,
    of: &Conjunct,
) -> bool {
    if holding.contains_key(&text(expr, of)) {
        return true;
    }
    if let Some((operand, values)) = fact(expr, of)
        && known
            .get(&operand)
            .is_some_and(|known| known.is_within(&values))
    {
        return true;
    }
    match &expr.kind {
        ExprKind::Binary {
            op: BinaryOp::Or,
            left,
            right,
        } => {
            let either = [(left, right), (right, left)];
            either
                .iter()
                .any(|(one, other)| follows(known, holding, one, of) && never_fails(other))
        }
        ExprKind::Binary {
            op: BinaryOp::And,
            left,
            right,
        } => [left, right]
            .iter()
            .all(|part| follows(known, holding, part, of)),
        _ => false,
    }
}

/// As conditions are called.
fn text(expr: &Expr, of: &Conjunct) -> String {
    let identity = |column: usize| of.over.get(&column).map_or("", String::as_str);
    match expr.as_column() {
        Some(column) => identity(column).to_owned(),
        None => shortened(canonical::text(expr, &|column| {
            format!("[{}]", identity(column))
        })),
    }
}

/// Nothing is computed, only compared.
fn never_fails(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Column(_) | ExprKind::Literal(_) => true,
        ExprKind::Binary { op, left, right } => {
            (comparison(*op).is_some() || matches!(op, BinaryOp::And | BinaryOp::Or))
                && never_fails(left)
                && never_fails(right)
        }
        ExprKind::Not(inner) | ExprKind::IsNull { expr: inner, .. } => never_fails(inner),
        ExprKind::InList { expr, list, .. } => never_fails(expr) && list.iter().all(never_fails),
        _ => false,
    }
}

/// What a condition says of one operand, if it says nothing else.
fn fact(expr: &Expr, of: &Conjunct) -> Option<Fact> {
    match &expr.kind {
        ExprKind::IsNull {
            expr,
            negated: true,
        } if !expr.is_volatile() => Some((operand(expr, of), Values::all())),
        ExprKind::IsTruth {
            expr,
            value: Some(value),
            negated: false,
        } if !expr.is_volatile() => {
            let point = Values::point(Value::Boolean(*value));
            Some((operand(expr, of), point))
        }
        _ => compared(expr, of),
    }
}

/// The same, for what is NULL where its operand is, and TRUE or FALSE elsewhere: NOT turns it round.
fn compared(expr: &Expr, of: &Conjunct) -> Option<Fact> {
    match &expr.kind {
        ExprKind::Not(inner) => {
            let (operand, values) = compared(inner, of)?;
            Some((operand, values.others()))
        }
        ExprKind::Binary {
            op: op @ (BinaryOp::And | BinaryOp::Or),
            left,
            right,
        } => {
            let ((one, left), (other, right)) = (compared(left, of)?, compared(right, of)?);
            let values = match op {
                BinaryOp::And => left.both(&right),
                _ => left.others().both(&right.others()).others(),
            };
            (one == other).then_some((one, values))
        }
        ExprKind::Binary { op, left, right } => {
            let op = comparison(*op)?;
            let (of_what, op, literal) = match (&left.kind, &right.kind) {
                (ExprKind::Literal(_), ExprKind::Literal(_)) => return None,
                (_, ExprKind::Literal(literal)) => (left, op, literal),
                (ExprKind::Literal(literal), _) => (right, op.mirrored(), literal),
                _ => return None,
            };
            if of_what.is_volatile() {
                return None;
            }
            let value = value(literal, &left.data_type, &right.data_type)?;
            Some((operand(of_what, of), Values::compared(op, value)))
        }
        ExprKind::InList {
            expr: of_what,
            list,
            negated,
        } if !of_what.is_volatile() => {
            let mut none = Values::all();
            for item in list {
                let ExprKind::Literal(literal) = &item.kind else {
                    return None;
                };
                let value = value(literal, &of_what.data_type, &item.data_type)?;
                none = none.both(&Values::point(value).others());
            }
            let values = if *negated { none } else { none.others() };
            Some((operand(of_what, of), values))
        }
        ExprKind::Column(_) if expr.data_type == DataType::Boolean => {
            let point = Values::point(Value::Boolean(true));
            Some((operand(expr, of), point))
        }
        _ => None,
    }
}

/// The operand and its type: values of two types are not compared.
fn operand(expr: &Expr, of: &Conjunct) -> String {
    format!("{} {}", text(expr, of), expr.data_type)
}

fn comparison(op: BinaryOp) -> Option<BinaryOp> {
    use BinaryOp::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq).then_some(op)
}

/// The value of a literal that is compared with what has its type.
fn value(literal: &Scalar, left: &DataType, right: &DataType) -> Option<Value> {
    if left != right {
        return None;
    }
    Some(match literal {
        Scalar::Boolean(value) => Value::Boolean(*value),
        Scalar::Int(value) => Value::Number(i128::from(*value)),
        Scalar::UInt(value) => Value::Number(i128::from(*value)),
        Scalar::Decimal(digits) => Value::Number(digits.parse().ok()?),
        Scalar::String(text) => Value::Text(text.clone()),
        Scalar::Float(bits) => {
            let float = f64::from_bits(*bits);
            // Zero has two forms, and what is no number has many.
            if float == 0.0 || float.is_nan() {
                return None;
            }
            let bits = bits.cast_signed();
            Value::Float(if bits < 0 { !bits ^ i64::MIN } else { bits })
        }
        Scalar::Null | Scalar::Bytes(_) | Scalar::Interval(..) => return None,
    })
}

impl Values {
    fn all() -> Self {
        Self(vec![(Bound::Unbounded, Bound::Unbounded)])
    }

    fn point(value: Value) -> Self {
        Self(vec![(
            Bound::Included(value.clone()),
            Bound::Included(value),
        )])
    }

    fn compared(op: BinaryOp, value: Value) -> Self {
        let range = match op {
            BinaryOp::Lt => (Bound::Unbounded, Bound::Excluded(value)),
            BinaryOp::LtEq => (Bound::Unbounded, Bound::Included(value)),
            BinaryOp::Gt => (Bound::Excluded(value), Bound::Unbounded),
            BinaryOp::GtEq => (Bound::Included(value), Bound::Unbounded),
            BinaryOp::NotEq => return Self::point(value).others(),
            _ => return Self::point(value),
        };
        Self(vec![range])
    }

    /// All values but these.
    fn others(&self) -> Self {
        let mut ranges = Vec::new();
        let mut from = Some(Bound::Unbounded);
        for (low, high) in &self.0 {
            if let (Some(from), Some(to)) = (from, opposite(low)) {
                ranges.extend(range(from, to));
            }
            from = opposite(high);
        }
        ranges.extend(from.and_then(|from| range(from, Bound::Unbounded)));
        Self(ranges)
    }

    /// The values of both.
    fn both(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        for (low, high) in &self.0 {
            for (other_low, other_high) in &other.0 {
                let low = later(low, other_low);
                let high = earlier(high, other_high);
                ranges.extend(range(low.clone(), high.clone()));
            }
        }
        Self(ranges)
    }

    fn is_within(&self, other: &Self) -> bool {
        self.both(&other.others()).0.is_empty()
    }
}

/// Where the values on the other side of a bound begin or end; `None`: there are none.
fn opposite(bound: &Bound<Value>) -> Option<Bound<Value>> {
    match bound {
        Bound::Included(value) => Some(Bound::Excluded(value.clone())),
        Bound::Excluded(value) => Some(Bound::Included(value.clone())),
        Bound::Unbounded => None,
    }
}

/// A range that has a value; between two whole numbers that follow each other there is none.
fn range(low: Bound<Value>, high: Bound<Value>) -> Option<Range> {
    let whole = |bound: Bound<Value>, step: i128| match bound {
        Bound::Excluded(Value::Number(number)) => Bound::Included(Value::Number(number + step)),
        other => other,
    };
    let (low, high) = (whole(low, 1), whole(high, -1));
    let is_there = match (&low, &high) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Included(low), Bound::Included(high)) => low <= high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low < high,
    };
    is_there.then_some((low, high))
}

fn later<'b>(one: &'b Bound<Value>, other: &'b Bound<Value>) -> &'b Bound<Value> {
    match (one, other) {
        (Bound::Unbounded, _) => other,
        (_, Bound::Unbounded) => one,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
            let first = a > b || (a == b && matches!(one, Bound::Excluded(_)));
            if first { one } else { other }
        }
    }
}

fn earlier<'b>(one: &'b Bound<Value>, other: &'b Bound<Value>) -> &'b Bound<Value> {
    match (one, other) {
        (Bound::Unbounded, _) => other,
        (_, Bound::Unbounded) => one,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
            let first = a < b || (a == b && matches!(one, Bound::Excluded(_)));
            if first { one } else { other }
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_types::Span;

    use super::*;

    fn expr(kind: ExprKind, data_type: DataType) -> Expr {
        Expr {
            kind,
            data_type,
            span: Span::default(),
        }
    }

    fn whole(value: i64) -> Expr {
        expr(ExprKind::Literal(Scalar::Int(value)), DataType::Int64)
    }

    fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
        let (left, right) = (Box::new(left), Box::new(right));
        expr(ExprKind::Binary { op, left, right }, DataType::Boolean)
    }

    fn column(place: usize) -> Expr {
        expr(ExprKind::Column(place), DataType::Int64)
    }

    fn conjunct(expr: Expr) -> Conjunct {
        let over = expr.columns().into_iter();
        Conjunct {
            over: over
                .map(|column| (column, format!("t.c{column}")))
                .collect(),
            shown: String::new(),
            reads: std::collections::BTreeSet::default(),
            expr,
        }
    }

    fn says(holding: &[Expr], condition: Expr) -> bool {
        let holding = holding.iter().cloned().map(conjunct);
        let holding = holding.map(|of| (text(&of.expr, &of), of)).collect();
        is_implied(&holding, &conjunct(condition))
    }

    /// The conditions over one column that a seed gives, and whether a value fulfils it; `None` is NULL.
    fn condition(seed: u64, depth: u32) -> (Expr, Box<dyn Fn(i64) -> bool>) {
        let mixed = weir_types::hash::mix(seed);
        let value = ((mixed >> 8) % 7) as i64;
        let ops = [
            BinaryOp::Eq,
            BinaryOp::NotEq,
            BinaryOp::Lt,
            BinaryOp::LtEq,
            BinaryOp::Gt,
            BinaryOp::GtEq,
        ];
        match mixed % 6 {
            3 if depth > 0 => {
                let (left, is_left) = condition(mixed ^ 1, depth - 1);
                let (right, is_right) = condition(mixed ^ 2, depth - 1);
                let both: Box<dyn Fn(i64) -> bool> = Box::new(move |x| is_left(x) && is_right(x));
                (binary(BinaryOp::And, left, right), both)
            }
            4 if depth > 0 => {
                let (left, is_left) = condition(mixed ^ 1, depth - 1);
                let (right, is_right) = condition(mixed ^ 2, depth - 1);
                let either: Box<dyn Fn(i64) -> bool> = Box::new(move |x| is_left(x) || is_right(x));
                (binary(BinaryOp::Or, left, right), either)
            }
            5 if depth > 0 => {
                let (inner, is) = condition(mixed ^ 1, depth - 1);
                let not = expr(ExprKind::Not(Box::new(inner)), DataType::Boolean);
                (not, Box::new(move |x| !is(x)))
            }
            1 => {
                let list = [value, (value + 2) % 7, 3];
                let negated = mixed & 64 != 0;
                let kind = ExprKind::InList {
                    expr: Box::new(column(0)),
                    list: list.map(whole).to_vec(),
                    negated,
                };
                let is = move |x| list.contains(&x) != negated;
                (expr(kind, DataType::Boolean), Box::new(is))
            }
            _ => {
                let op = ops[(mixed >> 32) as usize % 6];
                let turned = mixed & 128 != 0;
                let compared = match turned {
                    true => binary(op, whole(value), column(0)),
                    false => binary(op, column(0), whole(value)),
                };
                let is = move |x: i64| {
                    let order = if turned { value.cmp(&x) } else { x.cmp(&value) };
                    match op {
                        BinaryOp::Eq => order.is_eq(),
                        BinaryOp::NotEq => order.is_ne(),
                        BinaryOp::Lt => order.is_lt(),
                        BinaryOp::LtEq => order.is_le(),
                        BinaryOp::Gt => order.is_gt(),
                        _ => order.is_ge(),
                    }
                };
                (compared, Box::new(is))
            }
        }
    }

    #[test]
    fn what_is_called_implied_holds_for_every_value_and_of_one_column_nothing_is_missed() {
        let mut implied = 0;
        for seed in 0..4000 {
            let (one, is_one) = condition(seed * 3, 2);
            let (other, is_other) = condition(seed * 3 + 1, 2);
            let (third, is_third) = condition(seed * 3 + 2, 2);
            let holds = (-2..10).all(|x| !(is_one(x) && is_other(x)) || is_third(x));
            let said = says(&[one, other], third);
            assert_eq!(said, holds, "seed {seed}");
            implied += u32::from(said);
        }
        assert!(implied > 200, "{implied} implied");
    }

    #[test]
    fn other_columns_other_types_and_nulls_say_nothing() {
        let more = |place, value| binary(BinaryOp::Gt, column(place), whole(value));
        assert!(says(&[more(0, 5)], more(0, 3)));
        assert!(!says(&[more(1, 5)], more(0, 3)));
        assert!(!says(&[], more(0, 3)));
        let narrow = Expr {
            data_type: DataType::Int32,
            ..column(0)
        };
        let literal = Expr {
            data_type: DataType::Int32,
            ..whole(9)
        };
        assert!(!says(&[binary(BinaryOp::Gt, narrow, literal)], more(0, 3)));
        let null = |negated| {
            let kind = ExprKind::IsNull {
                expr: Box::new(column(0)),
                negated,
            };
            expr(kind, DataType::Boolean)
        };
        assert!(says(&[more(0, 5)], null(true)));
        assert!(!says(&[more(0, 5)], null(false)));
        assert!(!says(&[null(true)], more(0, 3)));
        // Whether it is NULL is not turned round as a comparison is.
        let not_null = expr(ExprKind::Not(Box::new(null(false))), DataType::Boolean);
        assert!(!says(&[not_null], more(0, i64::MIN)));
    }

    #[test]
    fn an_alternative_is_enough_unless_the_other_one_could_fail() {
        let more = |place, value| binary(BinaryOp::Gt, column(place), whole(value));
        let or = |left, right| binary(BinaryOp::Or, left, right);
        assert!(says(&[more(0, 5)], or(more(1, 7), more(0, 3))));
        assert!(!says(&[more(0, 5)], or(more(1, 7), more(0, 6))));
        let kind = ExprKind::Binary {
            op: BinaryOp::Divide,
            left: Box::new(whole(1)),
            right: Box::new(column(1)),
        };
        let divided = expr(kind, DataType::Int64);
        let fails = binary(BinaryOp::Gt, divided, whole(0));
        assert!(!says(&[more(0, 5)], or(more(0, 3), fails)));
    }

    #[test]
    fn floats_are_compared_without_zero_and_what_is_no_number() {
        let real = |value| {
            let kind = ExprKind::Literal(Scalar::float(value));
            expr(kind, DataType::Float64)
        };
        let x = || expr(ExprKind::Column(0), DataType::Float64);
        let more = |value| binary(BinaryOp::Gt, x(), real(value));
        assert!(says(&[more(2.5)], more(-1.0)));
        assert!(says(&[more(-2.5)], more(-3.0)));
        assert!(!says(&[more(-2.5)], more(-1.0)));
        assert!(!says(&[more(1.0)], more(0.0)));
        assert!(!says(&[more(f64::NAN)], more(1.0)));
    }
}
