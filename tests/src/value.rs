//! Rows as plain values, and their comparison as multisets.
//!
//! Both engines' results, and files written by sinks, come down to [`Value`], so that one comparison serves all. Integers of any width
//! are one kind, timestamps are nanoseconds whatever their unit, and what has no kind of its own is its text.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, TimeUnit, TimestampNanosecondType, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Two floats are taken as equal if they differ by no more than this part of the greater of them (or of 1).
pub const FLOAT_TOLERANCE: f64 = 1e-9;

/// One value of a row.
#[derive(Clone, Debug)]
pub enum Value {
    /// NULL.
    Null,
    /// BOOLEAN.
    Bool(bool),
    /// An integer of any width.
    Int(i64),
    /// REAL or DOUBLE.
    Float(f64),
    /// A timestamp in nanoseconds since the Unix epoch.
    Time(i64),
    /// A string, and every other type in its printed form.
    Text(String),
}

/// A row.
pub type Row = Vec<Value>;

impl Value {
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Float(_) => 3,
            Self::Time(_) => 4,
            Self::Text(_) => 5,
        }
    }

    /// Equal, floats within [`FLOAT_TOLERANCE`].
    pub fn is_close(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => {
                a == b
                    || (a.is_nan() && b.is_nan())
                    || (a - b).abs() <= FLOAT_TOLERANCE * a.abs().max(b.abs()).max(1.0)
            }
            _ => self == other,
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) | (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Time(nanos) => weir_types::EventTime(nanos.div_euclid(1000)).fmt(f),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// A row as one line.
pub fn row_text(row: &Row) -> String {
    row.iter()
        .map(Value::to_string)
        .collect::<Vec<_>>()
        .join(" | ")
}

/// The rows of a batch.
pub fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let mut rows = vec![Vec::with_capacity(batch.num_columns()); batch.num_rows()];
    for column in batch.columns() {
        for (row, value) in rows.iter_mut().zip(values_of(column)) {
            row.push(value);
        }
    }
    rows
}

fn values_of(column: &ArrayRef) -> Vec<Value> {
    let nullable = |row: usize, value: &dyn Fn() -> Value| {
        if column.is_null(row) {
            Value::Null
        } else {
            value()
        }
    };
    let cast =
        |to: &DataType| compute::cast(column, to).expect("a cast to the widest type of its kind");
    let all = |value: &dyn Fn(usize) -> Value| {
        (0..column.len())
            .map(|row| nullable(row, &|| value(row)))
            .collect()
    };
    match column.data_type() {
        DataType::Null => vec![Value::Null; column.len()],
        DataType::Boolean => all(&|row| Value::Bool(column.as_boolean().value(row))),
        kind if kind.is_signed_integer() => {
            let wide = cast(&DataType::Int64);
            all(&|row| Value::Int(wide.as_primitive::<Int64Type>().value(row)))
        }
        kind if kind.is_unsigned_integer() => {
            let wide = cast(&DataType::UInt64);
            all(&|row| Value::Int(wide.as_primitive::<UInt64Type>().value(row).cast_signed()))
        }
        kind if kind.is_floating() => {
            let wide = cast(&DataType::Float64);
            // −0.0 and 0.0 are one value in SQL.
            all(&|row| Value::Float(wide.as_primitive::<Float64Type>().value(row) + 0.0))
        }
        DataType::Timestamp(..) => {
            let plain = cast(&DataType::Timestamp(TimeUnit::Nanosecond, None));
            all(&|row| Value::Time(plain.as_primitive::<TimestampNanosecondType>().value(row)))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let text = cast(&DataType::Utf8);
            all(&|row| Value::Text(text.as_string::<i32>().value(row).to_owned()))
        }
        _ => {
            let options = FormatOptions::default().with_null("NULL");
            let formatter =
                ArrayFormatter::try_new(column, &options).expect("every type has a printed form");
            all(&|row| Value::Text(formatter.value(row).to_string()))
        }
    }
}

/// A multiset of rows: how often each is there. What is there zero times is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Multiset(pub BTreeMap<Row, i64>);

impl Multiset {
    /// Of rows that are all inserted.
    pub fn of(rows: impl IntoIterator<Item = Row>) -> Self {
        let mut set = Self::default();
        rows.into_iter().for_each(|row| set.add(row, 1));
        set
    }

    /// Adds `weight` (−1 for a retraction) to a row.
    pub fn add(&mut self, row: Row, weight: i64) {
        let entry = self.0.entry(row);
        let mut entry = match entry {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(weight);
                return;
            }
            std::collections::btree_map::Entry::Occupied(occupied) => occupied,
        };
        *entry.get_mut() += weight;
        if *entry.get() == 0 {
            entry.remove();
        }
    }

    /// A row that was taken back more often than it was given, if there is one.
    pub fn negative(&self) -> Option<(&Row, i64)> {
        self.0
            .iter()
            .find(|(_, count)| **count < 0)
            .map(|(row, count)| (row, *count))
    }

    /// Number of rows.
    pub fn len(&self) -> i64 {
        self.0.values().sum()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn expanded(&self) -> Vec<&Row> {
        self.0
            .iter()
            .flat_map(|(row, count)| std::iter::repeat_n(row, usize::try_from(*count).unwrap_or(0)))
            .collect()
    }

    /// What `self` (the answer) and `expected` differ in, floats compared within [`FLOAT_TOLERANCE`]; `None` if in nothing.
    pub fn difference(&self, expected: &Self) -> Option<String> {
        if self == expected {
            return None;
        }
        if let Some((row, count)) = self.negative() {
            return Some(format!(
                "taken back {} times too often: {}",
                -count,
                row_text(row)
            ));
        }
        // Rows that are equal bit for bit cancel; what is left is matched group by group.
        let (mut extra, mut missing) = (self.clone(), expected.clone());
        for (row, count) in &expected.0 {
            let common = (*count).min(self.0.get(row).copied().unwrap_or(0));
            extra.add(row.clone(), -common);
            missing.add(row.clone(), -common);
        }
        extra.0.retain(|_, count| *count > 0);
        missing.0.retain(|_, count| *count > 0);
        let mut missing = missing.expanded();
        let mut unmatched = Vec::new();
        for row in extra.expanded() {
            let close = |other: &&Row| {
                row.len() == other.len() && row.iter().zip(other.iter()).all(|(a, b)| a.is_close(b))
            };
            match missing.iter().position(close) {
                Some(at) => drop(missing.swap_remove(at)),
                None => unmatched.push(row),
            }
        }
        if unmatched.is_empty() && missing.is_empty() {
            return None;
        }
        let mut text = format!(
            "{} rows, expected {}; {} that should not be there, {} missing\n",
            self.len(),
            expected.len(),
            unmatched.len(),
            missing.len()
        );
        let lines = |mark: char, rows: &[&Row]| -> String {
            rows.iter()
                .take(12)
                .map(|row| format!("  {mark} {}\n", row_text(row)))
                .collect()
        };
        text.push_str(&lines('+', &unmatched));
        text.push_str(&lines('-', &missing));
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: f64, text: &str) -> Row {
        vec![Value::Float(value), Value::Text(text.into())]
    }

    #[test]
    fn folding_cancels_and_floats_are_compared_with_the_tolerance() {
        let mut answer = Multiset::of([row(1.0, "a"), row(2.0, "b")]);
        answer.add(row(1.0, "a"), -1);
        answer.add(row(1.0 + 1e-12, "a"), 1);
        assert_eq!(
            answer.difference(&Multiset::of([row(1.0, "a"), row(2.0, "b")])),
            None
        );
    }

    #[test]
    fn a_difference_names_what_is_missing_and_what_is_too_much() {
        let answer = Multiset::of([row(1.0, "a"), row(1.0, "a")]);
        let text = answer
            .difference(&Multiset::of([row(1.0, "a"), row(1.1, "a")]))
            .expect("they differ");
        assert!(
            text.contains("+ 1 | a") && text.contains("- 1.1 | a"),
            "{text}"
        );
        let mut negative = Multiset::default();
        negative.add(row(3.0, "c"), -1);
        assert!(
            negative
                .difference(&Multiset::default())
                .expect("they differ")
                .contains("too often")
        );
    }
}
