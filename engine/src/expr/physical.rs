//! Physical expressions of our own, where the library's do not do what a stream needs.
//!
//! * [`Logical`]: AND and OR that evaluate their right side on exactly those rows that the left side leaves open.
//!   The library decides for the whole batch, so that which rows fail would hang on how batches are cut.
//! * [`CheckedNegate`]: unary minus that fails on overflow; the library's wraps.
//! * [`EpochTime`]: the epoch's processing time.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{
    self,
    kernels::{boolean, numeric},
};
use arrow::datatypes::{DataType, Schema};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use weir_types::TimeUnit;

use super::literal;

/// Which of the two connectives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Connective {
    /// False decides.
    And,
    /// True decides.
    Or,
}

/// `left AND right`, `left OR right`.
#[derive(Debug, Eq)]
pub(super) struct Logical {
    pub(super) connective: Connective,
    pub(super) left: Arc<dyn PhysicalExpr>,
    pub(super) right: Arc<dyn PhysicalExpr>,
    /// Whether the right side can fail on a row; if not it is evaluated on all rows, which is faster than picking.
    pub(super) right_may_fail: bool,
}

impl Logical {
    /// The rows whose result the left side leaves open.
    fn open_rows(&self, left: &BooleanArray) -> BooleanBuffer {
        let undecided = match self.connective {
            Connective::And => left.values().clone(),
            Connective::Or => !left.values(),
        };
        match left.nulls() {
            // A NULL decides nothing.
            Some(nulls) => &undecided | &!nulls.inner(),
            None => undecided,
        }
    }

    fn combine(&self, left: &BooleanArray, right: &BooleanArray) -> Result<BooleanArray> {
        Ok(match self.connective {
            Connective::And => boolean::and_kleene(left, right)?,
            Connective::Or => boolean::or_kleene(left, right)?,
        })
    }
}

fn booleans(value: ColumnarValue, rows: usize) -> Result<BooleanArray> {
    let array = value.into_array(rows)?;
    Ok(match array.as_boolean_opt() {
        Some(booleans) => booleans.clone(),
        None => compute::cast(&array, &DataType::Boolean)?
            .as_boolean()
            .clone(),
    })
}

impl PhysicalExpr for Logical {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let left = booleans(self.left.evaluate(batch)?, rows)?;
        let open = self.open_rows(&left);
        let open_count = open.count_set_bits();
        if open_count == 0 {
            return Ok(ColumnarValue::Array(Arc::new(left)));
        }
        let result = if self.right_may_fail && open_count < rows {
            let open = BooleanArray::new(open, None);
            let picked = compute::filter_record_batch(batch, &open)?;
            let right = booleans(self.right.evaluate(&picked)?, picked.num_rows())?;
            self.combine(&left, &spread(&open, &right))?
        } else {
            let right = booleans(self.right.evaluate(batch)?, rows)?;
            self.combine(&left, &right)?
        };
        Ok(ColumnarValue::Array(Arc::new(result)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self {
            connective: self.connective,
            left: Arc::clone(&children[0]),
            right: Arc::clone(&children[1]),
            right_may_fail: self.right_may_fail,
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The values of the picked rows back at their places; the others are NULL, which their left side overrules.
fn spread(picked: &BooleanArray, values: &BooleanArray) -> BooleanArray {
    let mut values = values.iter();
    picked
        .values()
        .iter()
        .map(|is_picked| {
            if is_picked {
                values.next().flatten()
            } else {
                None
            }
        })
        .collect()
}

impl PartialEq for Logical {
    fn eq(&self, other: &Self) -> bool {
        self.connective == other.connective
            && self.left.eq(&other.left)
            && self.right.eq(&other.right)
    }
}

impl Hash for Logical {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.connective.hash(state);
        self.left.hash(state);
        self.right.hash(state);
    }
}

impl fmt::Display for Logical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.connective {
            Connective::And => "AND",
            Connective::Or => "OR",
        };
        write!(f, "({} {word} {})", self.left, self.right)
    }
}

/// Unary minus that fails on overflow.
#[derive(Debug, Eq)]
pub(super) struct CheckedNegate(pub(super) Arc<dyn PhysicalExpr>);

impl PhysicalExpr for CheckedNegate {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.0.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.0.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let operand = self.0.evaluate(batch)?.into_array(batch.num_rows())?;
        if operand.data_type() == &DataType::Null {
            return Ok(ColumnarValue::Array(new_null_array(
                &DataType::Null,
                operand.len(),
            )));
        }
        Ok(ColumnarValue::Array(numeric::neg(&operand)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self(Arc::clone(&children[0]))))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for CheckedNegate {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq(&other.0)
    }
}

impl Hash for CheckedNegate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for CheckedNegate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(- {})", self.0)
    }
}

/// The epoch's processing time, in microseconds, as the evaluator set it before it began.
#[derive(Debug, Default)]
pub(super) struct EpochClock(AtomicI64);

impl EpochClock {
    /// Sets the time for the evaluations to come.
    pub(super) fn set(&self, micros: i64) {
        self.0.store(micros, Ordering::Relaxed);
    }
}

/// `now()`: the same for every row of an epoch.
#[derive(Debug)]
pub(super) struct EpochTime {
    pub(super) clock: Arc<EpochClock>,
    pub(super) unit: TimeUnit,
}

impl EpochTime {
    fn value(&self) -> ScalarValue {
        let micros = self.clock.0.load(Ordering::Relaxed);
        let value = match self.unit {
            TimeUnit::Second => micros.div_euclid(1_000_000),
            TimeUnit::Milli => micros.div_euclid(1_000),
            TimeUnit::Micro => micros,
            TimeUnit::Nano => micros.saturating_mul(1_000),
        };
        literal::timestamp(value, self.unit, Some("+00:00".into()))
    }
}

impl PhysicalExpr for EpochTime {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(weir_types::DataType::TimestampLtz(self.unit).to_arrow())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, _: &RecordBatch) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value()))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for EpochTime {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.clock, &other.clock) && self.unit == other.unit
    }
}

impl Eq for EpochTime {}

impl Hash for EpochTime {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.unit.hash(state);
    }
}

impl fmt::Display for EpochTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("now()")
    }
}
