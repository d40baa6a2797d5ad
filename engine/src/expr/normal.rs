//! One value, one set of bits: what two kernels of the library need before they agree with SQL.
//!
//! * [`OneZero`] before a comparison: −0.0 is 0.0, and every NaN is the one that sorts after +∞. The kernels compare
//!   bits; on most processors the NaN of `0.0 / 0.0` has its sign set and would be the *least* value.
//! * [`SpacedTimestamp`] after a cast of a timestamp to text: a space stands between day and time, as in everything
//!   else that Weir reads and writes. The kernel writes a `T`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringViewArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;

/// What is done to a value; the type stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Change {
    OneZero,
    SpacedTimestamp,
}

/// A value in its one form.
#[derive(Debug, Eq)]
struct Normal {
    change: Change,
    inner: Arc<dyn PhysicalExpr>,
}

/// A float as comparisons need it; any other expression as it is.
pub(super) fn one_zero(
    inner: Arc<dyn PhysicalExpr>,
    data_type: &DataType,
) -> Arc<dyn PhysicalExpr> {
    match data_type {
        DataType::Float32 | DataType::Float64 => Arc::new(Normal {
            change: Change::OneZero,
            inner,
        }),
        _ => inner,
    }
}

/// The text of a timestamp, from the library's.
pub(super) fn spaced_timestamp(inner: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    Arc::new(Normal {
        change: Change::SpacedTimestamp,
        inner,
    })
}

/// Whether the library's cast between these types writes timestamps its own way.
pub(super) fn writes_timestamp(from: &DataType, to: &DataType) -> bool {
    let text = [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View];
    matches!(from, DataType::Timestamp(..)) && text.contains(to)
}

impl Change {
    fn apply(self, values: &ArrayRef) -> Result<ArrayRef> {
        Ok(match (self, values.data_type()) {
            (Self::OneZero, DataType::Float64) => one_zero_of::<Float64Type>(values, |value| {
                if value.is_nan() {
                    f64::NAN
                } else {
                    value + 0.0
                }
            }),
            (Self::OneZero, DataType::Float32) => one_zero_of::<Float32Type>(values, |value| {
                if value.is_nan() {
                    f32::NAN
                } else {
                    value + 0.0
                }
            }),
            (Self::SpacedTimestamp, wanted) => {
                let texts = arrow::compute::cast(values, &DataType::Utf8View)?;
                let texts: StringViewArray = texts
                    .as_string_view()
                    .iter()
                    .map(|text| text.map(|text| text.replacen('T', " ", 1)))
                    .collect();
                arrow::compute::cast(&texts, wanted)?
            }
            _ => Arc::clone(values),
        })
    }
}

fn one_zero_of<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    normal: impl Fn(T::Native) -> T::Native,
) -> ArrayRef {
    let normal: PrimitiveArray<T> = values.as_primitive::<T>().unary(normal);
    Arc::new(normal)
}

impl PhysicalExpr for Normal {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        Ok(match self.inner.evaluate(batch)? {
            ColumnarValue::Array(values) => ColumnarValue::Array(self.change.apply(&values)?),
            ColumnarValue::Scalar(value) => {
                let values = self.change.apply(&value.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)
            }
        })
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self {
            change: self.change,
            inner: Arc::clone(&children[0]),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Normal {
    fn eq(&self, other: &Self) -> bool {
        self.change == other.change && self.inner.eq(&other.inner)
    }
}

impl Hash for Normal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.change.hash(state);
        self.inner.hash(state);
    }
}

impl fmt::Display for Normal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "normal({})", self.inner)
    }
}
