//! Aggregates: columnar kernels over the typed value columns of keyed state.
//!
//! ```text
//!   aggregates of the plan ─▶ accumulators (each owns some state columns, none twice)   update, merge
//!                          ─▶ outputs      (one for each aggregate)                      finish
//! ```
//!
//! `avg(x)` and `count(x)` read the same count: the layout (`weir_planner::accumulator_layout`) keeps it once, and here
//! one accumulator writes it.
//!
//! # Invariants
//! 1. A batch is one loop per accumulator over slots and values; no value is boxed.
//! 2. `update` with a retraction takes back exactly what the insertion did (float sums: to within the tolerance of
//!    compensated sums).
//! 3. `merge` of two groups' columns gives the columns of the group that holds the rows of both.

mod count;
mod extreme;
mod output;
mod sum;
mod values;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use weir_planner::plan::Aggregate;
use weir_planner::{AccumulatorLayout, accumulator_layout};
use weir_state::Columns;
use weir_types::{DataType, Schema, Span};

use self::count::{Count, CountTrue};
use self::extreme::{Extreme, Order};
use self::output::Output;
use self::sum::{DecimalSum, FloatSum, IntegerSum};

/// A row that an aggregate cannot take.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The row of the batch (or of the merged values).
    pub(crate) row: usize,
    /// In the user's words.
    pub(crate) reason: String,
    /// The call.
    pub(crate) span: Span,
}

/// Keeps some columns of the state up to date.
trait Accumulator {
    /// Adds (or takes back) the rows of a batch: row i belongs to slot `slots[i]`.
    fn update(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        input: &Argument,
        retracted: Option<&BooleanBuffer>,
    ) -> Result<(), (usize, String)>;

    /// Adds the columns of other groups: `values[c][i]` is column c of the group that is merged into `slots[i]`.
    fn merge(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        values: &[ArrayRef],
    ) -> Result<(), (usize, String)>;
}

/// What an accumulator sees of a batch.
struct Argument {
    /// The argument's values; `None` for `count(*)`.
    values: Option<ArrayRef>,
    /// The rows that count: not NULL, and the FILTER holds. `None`: all.
    active: Option<NullBuffer>,
    rows: usize,
}

impl Argument {
    /// Calls `f` for every row that counts, in order.
    #[inline]
    fn for_each_active<E>(&self, mut f: impl FnMut(usize) -> Result<(), E>) -> Result<(), E> {
        match &self.active {
            None => (0..self.rows).try_for_each(f),
            Some(active) => active.valid_indices().try_for_each(&mut f),
        }
    }

    #[inline]
    fn is_active(&self, row: usize) -> bool {
        self.active
            .as_ref()
            .is_none_or(|active| active.is_valid(row))
    }
}

struct Placed {
    /// The first state column that it writes: which accumulator it is.
    column: usize,
    argument: Option<usize>,
    filter: Option<usize>,
    span: Span,
    accumulator: Box<dyn Accumulator>,
}

/// The kernels of one aggregating operator.
pub(crate) struct Aggregates {
    accumulators: Vec<Placed>,
    outputs: Vec<Output>,
    layout: AccumulatorLayout,
}

impl Aggregates {
    /// Kernels for the calls over an input with that schema.
    ///
    /// # Errors
    /// The span and text of a call that no kernel computes.
    pub(crate) fn compile(
        aggregates: &[Aggregate],
        input: &Schema,
        retractions: bool,
    ) -> Result<Self, (Span, String)> {
        let layout = accumulator_layout(aggregates, input, retractions);
        let mut compiled = Self {
            accumulators: Vec::new(),
            outputs: Vec::new(),
            layout,
        };
        for (i, aggregate) in aggregates.iter().enumerate() {
            let columns = compiled.layout.of_aggregate[i].clone();
            let built = compiled.add(aggregate, &columns, retractions);
            built.map_err(|message| (aggregate.span, format!("{}: {message}", aggregate.name)))?;
        }
        if let Some(rows) = compiled.layout.rows {
            compiled.place(
                rows,
                None,
                None,
                Span::default(),
                Box::new(Count { column: rows }),
            );
        }
        Ok(compiled)
    }

    /// The state column that counts a group's rows, where one is kept.
    pub(crate) fn rows_column(&self) -> Option<usize> {
        self.layout.rows
    }

    fn add(
        &mut self,
        aggregate: &Aggregate,
        columns: &[usize],
        retractions: bool,
    ) -> Result<(), String> {
        let (argument, filter, span) = (
            aggregate.arguments.first().copied(),
            aggregate.filter,
            aggregate.span,
        );
        let repeatable = matches!(
            aggregate.function.as_str(),
            "min" | "max" | "bool_and" | "bool_or"
        );
        if aggregate.distinct && !repeatable {
            return Err("DISTINCT is not possible here yet".to_owned());
        }
        let misfit = || {
            format!(
                "{} state columns are not what this version keeps",
                columns.len()
            )
        };
        let mut accumulators: Vec<(usize, Box<dyn Accumulator>)> = Vec::new();
        let mut place = |column, accumulator| accumulators.push((column, accumulator));
        let kind = match (aggregate.function.as_str(), columns) {
            ("count", &[column]) => {
                place(column, Box::new(Count { column }));
                output::Kind::Count(column)
            }
            ("sum" | "avg", &[sum, ref more @ ..]) => {
                let average = aggregate.function == "avg";
                let data_type = self.layout.columns[sum].data_type.clone();
                let accumulator = sum_accumulator(&data_type, sum, more)?;
                place(sum, accumulator);
                let count = (average || retractions)
                    .then(|| more.last().copied())
                    .flatten();
                if let Some(column) = count {
                    place(column, Box::new(Count { column }));
                }
                output::Kind::sum(average, &data_type, sum, more, count).ok_or_else(misfit)?
            }
            ("min" | "max", &[column]) if !retractions => {
                let order = if aggregate.function == "min" {
                    Order::Least
                } else {
                    Order::Greatest
                };
                let data_type = &self.layout.columns[column].data_type;
                let accumulator = Extreme::new(column, order, data_type).ok_or_else(|| {
                    format!("values of type {data_type} cannot be compared here yet")
                })?;
                place(column, Box::new(accumulator));
                output::Kind::Value(column)
            }
            ("bool_and" | "bool_or", &[true_count, count]) => {
                place(true_count, Box::new(CountTrue { column: true_count }));
                place(count, Box::new(Count { column: count }));
                output::Kind::Truth {
                    true_count,
                    count,
                    all: aggregate.function == "bool_and",
                }
            }
            ("min" | "max", _) => {
                return Err(
                    "min and max over rows that are taken back are not possible yet".to_owned(),
                );
            }
            ("count" | "sum" | "avg" | "bool_and" | "bool_or", _) => return Err(misfit()),
            _ => {
                return Err(
                    "possible are count, sum, avg, min, max, bool_and and bool_or".to_owned(),
                );
            }
        };
        for (column, accumulator) in accumulators {
            self.place(column, argument, filter, span, accumulator);
        }
        self.outputs.push(Output {
            kind,
            arrow_type: aggregate.data_type.to_arrow(),
            span,
        });
        Ok(())
    }

    /// Adds an accumulator unless one writes its column already.
    fn place(
        &mut self,
        column: usize,
        argument: Option<usize>,
        filter: Option<usize>,
        span: Span,
        accumulator: Box<dyn Accumulator>,
    ) {
        if self
            .accumulators
            .iter()
            .all(|placed| placed.column != column)
        {
            self.accumulators.push(Placed {
                column,
                argument,
                filter,
                span,
                accumulator,
            });
        }
    }

    /// Adds the rows of a batch to their groups' slots, or takes them back.
    pub(crate) fn update(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        rows: &RecordBatch,
        retracted: Option<&BooleanBuffer>,
    ) -> Result<(), Failure> {
        for placed in &self.accumulators {
            let values = placed.argument.map(|index| rows.column(index).clone());
            let filter = placed.filter.map(|index| rows.column(index).as_boolean());
            let argument = Argument {
                active: active_rows(values.as_ref(), filter),
                values,
                rows: slots.len(),
            };
            let updated = placed
                .accumulator
                .update(state, slots, &argument, retracted);
            updated.map_err(|(row, reason)| Failure {
                row,
                reason,
                span: placed.span,
            })?;
        }
        Ok(())
    }

    /// Adds groups, given by their state columns, to the groups in `slots`.
    pub(crate) fn merge(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        values: &[ArrayRef],
    ) -> Result<(), Failure> {
        for placed in &self.accumulators {
            let merged = placed.accumulator.merge(state, slots, values);
            merged.map_err(|(row, reason)| Failure {
                row,
                reason,
                span: placed.span,
            })?;
        }
        Ok(())
    }

    /// The results of groups, given by their state columns: one array for each aggregate.
    pub(crate) fn finish(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>, Failure> {
        self.outputs
            .iter()
            .map(|output| {
                output.finish(values).map_err(|(row, reason)| Failure {
                    row,
                    reason,
                    span: output.span,
                })
            })
            .collect()
    }
}

fn sum_accumulator(
    data_type: &DataType,
    sum: usize,
    more: &[usize],
) -> Result<Box<dyn Accumulator>, String> {
    Ok(match data_type {
        DataType::Float64 => Box::new(
            FloatSum::new(sum, more).ok_or("its state columns are not what this version keeps")?,
        ),
        DataType::Decimal(precision, _) if *precision <= 38 => Box::new(DecimalSum {
            column: sum,
            precision: *precision,
        }),
        DataType::UInt64 => Box::new(IntegerSum::<u64>::new(sum)),
        DataType::Int64 => Box::new(IntegerSum::<i64>::new(sum)),
        other => return Err(format!("a sum of type {other} is not possible yet")),
    })
}

fn active_rows(values: Option<&ArrayRef>, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let valid = values
        .and_then(|values| values.logical_nulls())
        .filter(|nulls| nulls.null_count() > 0);
    let filter = filter.map(|filter| match filter.nulls() {
        Some(nulls) => NullBuffer::new(filter.values() & nulls.inner()),
        None => NullBuffer::new(filter.values().clone()),
    });
    NullBuffer::union(valid.as_ref(), filter.as_ref())
}
