//! Source columns whose type was widened: where that changes no value of any result, and where it may.
//!
//! ```text
//!   old   orders.price:INT      ─┐  the same column, if every release of the query does nothing with it that hangs on
//!   new   orders.price:BIGINT   ─┘  its type: it is a key, is compared, is counted, summed up, or passed on
//! ```
//!
//! | from | to | what was read before |
//! |---|---|---|
//! | an integer | a wider one | held exactly |
//! | DECIMAL(p, s) | more digits before the point | held exactly |
//! | DECIMAL(p, s) | more digits behind it | may have been rounded |
//! | FLOAT | DOUBLE | was rounded to 24 bits |
//! | TIMESTAMP, `TIMESTAMP_LTZ` | a finer unit | cut off; held exactly if the format gives whole units |
//!
//! What is computed of a column may hang on its type: `price << 40` is something else of a wider number. So a column counts as
//! widened without loss only if both plans use it as it is, in comparisons, and in aggregates that give the same of any such
//! type. And every value that is stored was held exactly: with `row.error` or `on.error` other than `fail`, a value that did
//! not fit was left out, or was NULL, and is not any more. Any other one is the same column for what only goes on counting
//! (*carried over*), and for nothing that is called exact.

use std::collections::BTreeMap;

use weir_types::{DataType, Scalar, TimeUnit};

use super::trace::{Trace, renamed, source_column};
use crate::plan::{
    Aggregate, BinaryOp, ColumnOrigin, Expr, ExprKind, OperatorKind, StreamPlan, TableDefinition,
};

/// Identities of columns by what they are called where their type is wider: old ─▶ new.
pub(super) type Widened = BTreeMap<String, String>;

/// Aggregates that give the same of any width.
const ANY_WIDTH: [&str; 5] = ["count", "sum", "avg", "min", "max"];

/// All columns of which nothing but the type was changed, to a wider one.
#[derive(Debug, Default)]
pub(super) struct Widenings {
    /// Those that change no value.
    pub(super) exact: Widened,
    /// Those that may, and why.
    pub(super) lossy: BTreeMap<String, (String, Loss)>,
}

/// Why values of a column are not what they would have been of the wider type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// They were rounded, or cut off, to this type when they were read.
    Rounded(DataType),
    /// One that did not fit was left out, or was NULL.
    LeftOut,
    /// They are generated, or handed over by a program: others of another type.
    MadeForTheType,
    /// What is computed of them hangs on the type.
    Computed,
}

impl Loss {
    /// As a clause of a reason.
    pub(super) fn clause(&self, column: &str) -> String {
        match self {
            Self::Rounded(before) => format!(
                "`{column}` has a wider type, and what was read before was rounded to {before}, so that it may differ from what \
                 would be read now"
            ),
            Self::LeftOut => format!(
                "`{column}` has a wider type, and a value that did not fit before was left out and does not come again"
            ),
            Self::MadeForTheType => format!(
                "`{column}` has a wider type, and its values are made for their type, so that those before may be others"
            ),
            Self::Computed => {
                format!("`{column}` has a wider type, and what is computed of it hangs on its type")
            }
        }
    }
}

impl Widenings {
    /// All of them, as far as only their types count.
    pub(super) fn all(&self) -> Widened {
        let lossy = self.lossy.iter();
        let lossy = lossy.map(|(old, (new, _))| (old.clone(), new.clone()));
        self.exact.clone().into_iter().chain(lossy).collect()
    }
}

/// What is known of a column whose type was widened.
struct Candidate {
    /// Its identity in the old plan and in the new one.
    before: String,
    after: String,
    /// Why its values may be others, if its table alone says so.
    loss: Option<Loss>,
    /// Whether its text shows the type: digits of a fraction.
    shows_type: bool,
}

/// The columns that were widened and nothing else.
pub(super) fn widenings(
    old: &StreamPlan,
    new: &StreamPlan,
    renames: &BTreeMap<String, String>,
) -> Widenings {
    let candidates = candidates(old, new, renames);
    if candidates.is_empty() {
        return Widenings::default();
    }
    let skips = !fails(old) || !fails(new);
    let (none, nothing) = (BTreeMap::new(), Widened::new());
    let old = Trace::of(old, renames, &nothing);
    let new = Trace::of(new, &none, &nothing);
    let mut found = Widenings::default();
    for candidate in candidates {
        let loss = candidate.loss.clone();
        let loss = loss.or_else(|| skips.then_some(Loss::LeftOut)).or_else(|| {
            let alike = |trace: &Trace<'_>, leaf: &String| {
                Uses {
                    trace,
                    leaf,
                    shows_type: candidate.shows_type,
                }
                .hang_on_no_type()
            };
            let same = alike(&old, &candidate.before) && alike(&new, &candidate.after);
            (!same).then_some(Loss::Computed)
        });
        match loss {
            None => {
                found.exact.insert(candidate.before, candidate.after);
            }
            Some(loss) => {
                let after = (candidate.after, loss);
                found.lossy.insert(candidate.before, after);
            }
        }
    }
    found
}

/// Whether a value that fits no type ends the job.
fn fails(plan: &StreamPlan) -> bool {
    plan.settings
        .get("row.error")
        .is_none_or(|value| value == "fail")
}

fn candidates(
    old: &StreamPlan,
    new: &StreamPlan,
    renames: &BTreeMap<String, String>,
) -> Vec<Candidate> {
    let mut found = Vec::new();
    for before in old.tables.values() {
        let name = renamed(&before.name, renames);
        let Some(after) = new.tables.get(&name) else {
            continue;
        };
        for (place, column) in before.columns.iter().enumerate() {
            let same = |now: &crate::plan::TableColumn| now.column.name == column.column.name;
            let Some(place_now) = after.columns.iter().position(same) else {
                continue;
            };
            let types = (
                &column.column.data_type,
                &after.columns[place_now].column.data_type,
            );
            let Some(widening) = widening(types, before) else {
                continue;
            };
            if column.origin != ColumnOrigin::Physical {
                continue;
            }
            // Nothing but its type may be another.
            let mut as_wide = before.clone();
            as_wide.columns[place].column.data_type = types.1.clone();
            if source_column(after, place_now) != source_column(&as_wide, place) {
                continue;
            }
            let of = |identity: String| format!("{name}.{identity}");
            found.push(Candidate {
                before: of(source_column(before, place)),
                after: of(source_column(&as_wide, place)),
                loss: loss(widening, before, after, types.0),
                shows_type: types.0.is_timestamp(),
            });
        }
    }
    found
}

/// Why the values of a column may be others, as far as its table says.
fn loss(
    widening: Widening,
    before: &TableDefinition,
    after: &TableDefinition,
    data_type: &DataType,
) -> Option<Loss> {
    let strict = |table: &TableDefinition| {
        let on_error = table.options.get("on.error");
        on_error.is_none_or(|value| value == "fail")
    };
    if !before.options.contains_key("format") {
        return Some(Loss::MadeForTheType);
    }
    if widening == Widening::Rounds {
        return Some(Loss::Rounded(data_type.clone()));
    }
    (!strict(before) || !strict(after)).then_some(Loss::LeftOut)
}

/// What the old type did to values that the new one holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Widening {
    Holds,
    Rounds,
}

/// How a type was widened; `None`: it was not, or it is no wider type.
fn widening((old, new): (&DataType, &DataType), table: &TableDefinition) -> Option<Widening> {
    if let (Some(before), Some(after)) = (width(old), width(new)) {
        return (before < after).then_some(Widening::Holds);
    }
    match (old, new) {
        (DataType::Decimal(precision, scale), DataType::Decimal(digits, places)) => {
            let whole = |precision: &u8, scale: &i8| i16::from(*precision) - i16::from(*scale);
            let (before, after) = (whole(precision, scale), whole(digits, places));
            if scale == places {
                return (before < after).then_some(Widening::Holds);
            }
            (scale < places && before <= after).then_some(Widening::Rounds)
        }
        (DataType::Float32, DataType::Float64) => Some(Widening::Rounds),
        (DataType::Timestamp(old), DataType::Timestamp(new))
        | (DataType::TimestampLtz(old), DataType::TimestampLtz(new)) => {
            let whole = epoch(table).is_some_and(|unit| unit <= *old);
            let holds = if whole {
                Widening::Holds
            } else {
                Widening::Rounds
            };
            (old < new).then_some(holds)
        }
        _ => None,
    }
}

/// The unit of which a format gives whole numbers.
fn epoch(table: &TableDefinition) -> Option<TimeUnit> {
    match table.options.get("timestamp.format").map(String::as_str) {
        Some("epoch-seconds") => Some(TimeUnit::Second),
        Some("epoch-millis") => Some(TimeUnit::Milli),
        Some("epoch-micros") => Some(TimeUnit::Micro),
        Some("epoch-nanos") => Some(TimeUnit::Nano),
        _ => None,
    }
}

/// Bits of a signed integer type.
fn width(data_type: &DataType) -> Option<u8> {
    match data_type {
        DataType::Int8 => Some(8),
        DataType::Int16 => Some(16),
        DataType::Int32 => Some(32),
        DataType::Int64 => Some(64),
        _ => None,
    }
}

/// How one plan uses a column.
struct Uses<'a> {
    trace: &'a Trace<'a>,
    leaf: &'a str,
    /// Whether its text shows the type.
    shows_type: bool,
}

impl Uses<'_> {
    /// Whether no value of the plan hangs on the type of the column.
    fn hang_on_no_type(&self) -> bool {
        let plan = self.trace.plan;
        plan.tables.values().all(|table| self.declares_alike(table))
            && (0..plan.operators.len()).all(|index| self.computes_alike(index))
    }

    /// The identities of a table's columns.
    fn columns(&self, table: &TableDefinition) -> Vec<String> {
        let name = self.trace.table(&table.name);
        let columns = (0..table.columns.len()).map(|column| source_column(table, column));
        columns.map(|column| format!("{name}.{column}")).collect()
    }

    /// Whether no computed column is made of it, and a watermark only of the time itself, or of one some whole seconds earlier.
    fn declares_alike(&self, table: &TableDefinition) -> bool {
        let all = self.columns(table);
        let mut computed = table
            .columns
            .iter()
            .filter_map(|column| match &column.origin {
                ColumnOrigin::Computed(expr) => Some(expr),
                _ => None,
            });
        computed.all(|expr| !self.reads(expr, &all))
            && table
                .watermark
                .iter()
                .all(|watermark| !self.reads(&watermark.expr, &all) || is_delay(&watermark.expr))
    }

    fn computes_alike(&self, index: usize) -> bool {
        let operator = &self.trace.plan.operators[index];
        let inputs: Vec<&[String]> = operator
            .inputs
            .iter()
            .map(|input| self.trace.nodes[input.from].columns.as_slice())
            .collect();
        let touched = || {
            let given = self.trace.nodes[index].columns.iter();
            let read = inputs.iter().flat_map(|input| input.iter());
            read.chain(given).any(|column| holds(column, self.leaf))
        };
        match &operator.kind {
            OperatorKind::Source { table, filter, .. } => {
                let table = self.trace.plan.tables.get(table);
                let all = table.map(|table| self.columns(table)).unwrap_or_default();
                filter
                    .as_ref()
                    .is_none_or(|filter| self.is_plain(filter, &all))
            }
            OperatorKind::Filter { predicate } => self.is_plain(predicate, inputs[0]),
            OperatorKind::Project { exprs } => {
                exprs.iter().all(|expr| self.is_plain(expr, inputs[0]))
            }
            OperatorKind::Join { residual, .. } => {
                let both = inputs.concat();
                residual
                    .as_ref()
                    .is_none_or(|residual| self.is_plain(residual, &both))
            }
            OperatorKind::Aggregate { aggregates, .. }
            | OperatorKind::WindowAggregate { aggregates, .. } => aggregates
                .iter()
                .all(|call| self.counts_alike(call, inputs[0])),
            OperatorKind::Rank { .. }
            | OperatorKind::Union
            | OperatorKind::Sink { .. }
            | OperatorKind::Output { .. } => true,
            _ => !touched(),
        }
    }

    fn reads(&self, expr: &Expr, columns: &[String]) -> bool {
        let mut read = expr.columns().into_iter();
        read.any(|column| holds(&columns[column], self.leaf))
    }

    fn counts_alike(&self, call: &Aggregate, input: &[String]) -> bool {
        let columns = call.arguments.iter().chain(&call.filter);
        let ordered = call.order_by.iter().map(|sort| &sort.column);
        let mut read = columns.chain(ordered).map(|&column| &input[column]);
        ANY_WIDTH.contains(&call.function.as_str()) || !read.any(|column| holds(column, self.leaf))
    }

    /// Whether an expression passes the column on, compares it, or does not look at it.
    fn is_plain(&self, expr: &Expr, columns: &[String]) -> bool {
        if !self.reads(expr, columns) {
            return true;
        }
        match &expr.kind {
            ExprKind::Column(_) => true,
            // Of one value a cast makes one value, whatever it came in; but a text has as many digits as the type.
            ExprKind::Cast { expr: inner, safe } => {
                let kept = !self.shows_type || expr.data_type.is_timestamp();
                !safe && inner.as_column().is_some() && kept
            }
            ExprKind::Binary { op, left, right } => {
                use BinaryOp::{
                    And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or,
                };
                let compares = matches!(
                    op,
                    Eq | NotEq
                        | Lt
                        | LtEq
                        | Gt
                        | GtEq
                        | IsDistinctFrom
                        | IsNotDistinctFrom
                        | And
                        | Or
                );
                compares && self.is_plain(left, columns) && self.is_plain(right, columns)
            }
            ExprKind::Not(inner) => self.is_plain(inner, columns),
            ExprKind::IsNull { expr: inner, .. } => self.is_plain(inner, columns),
            _ => false,
        }
    }
}

/// Whether an identity is made of the column. One that was cut may be.
pub(super) fn holds(identity: &str, leaf: &str) -> bool {
    identity.contains(leaf) || identity.contains("…#")
}

/// Whether a watermark is a column, or one less an interval of whole seconds: the same in any unit.
fn is_delay(expr: &Expr) -> bool {
    let whole = |expr: &Expr| match &expr.kind {
        ExprKind::Literal(Scalar::Interval(_, _, nanos)) => nanos % 1_000_000_000 == 0,
        _ => false,
    };
    match &expr.kind {
        ExprKind::Column(_) => true,
        ExprKind::Binary {
            op: BinaryOp::Minus,
            left,
            right,
        } => left.as_column().is_some() && whole(right),
        _ => false,
    }
}

/// Whether each value of a type is one of the other type too, written with as many digits of a fraction.
pub(super) fn keeps_values(from: &DataType, to: &DataType) -> bool {
    if let (Some(from), Some(to)) = (width(from), width(to)) {
        return from <= to;
    }
    match (from, to) {
        (DataType::Decimal(from, scale), DataType::Decimal(to, places)) => {
            scale == places && from <= to
        }
        (DataType::Float32, DataType::Float64) => true,
        (DataType::Timestamp(from), DataType::Timestamp(to))
        | (DataType::TimestampLtz(from), DataType::TimestampLtz(to)) => from <= to,
        _ => false,
    }
}

/// A type as far as two widths of it differ in nothing that is stored under one identity.
pub(super) fn family(data_type: &DataType) -> String {
    match data_type {
        _ if width(data_type).is_some() => "integer".to_owned(),
        DataType::Float32 | DataType::Float64 => "float".to_owned(),
        DataType::Decimal(..) => "decimal".to_owned(),
        DataType::Timestamp(_) => "timestamp".to_owned(),
        DataType::TimestampLtz(_) => "timestamp_ltz".to_owned(),
        _ => data_type.to_string(),
    }
}
