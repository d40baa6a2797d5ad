//! Aggregates: columnar kernels over the typed value columns of keyed state.
//!
//! ```text
//!   aggregates of the plan ─▶ accumulators (each owns some state columns, none twice)   update, merge
//!                          ─▶ outputs      (one for each aggregate)                      finish
//! ```
//!
//! `avg(x)` and `count(x)` read the same count: the layout (`weir_planner::accumulator_layout`) keeps it once, and here
//! one accumulator writes it. An aggregate that is made of the rows of a side table (`folds.rs`) has no accumulator; the
//! accumulators of a DISTINCT aggregate are fed with the changes of its side table.
//!
//! # Invariants
//! 1. A batch is one loop per accumulator over slots and values; no value is boxed.
//! 2. `update` with a retraction takes back exactly what the insertion did (float sums: to within the tolerance of
//!    compensated sums).
//! 3. `merge` of two groups' columns gives the columns of the group that holds the rows of both.

mod bits;
mod code_rows;
mod count;
mod extreme;
mod folds;
mod moments;
mod output;
mod registered;
mod sum;
mod values;
mod wide;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use weir_planner::plan::Aggregate;
use weir_planner::{AccumulatorLayout, Side, accumulator_layout, is_folded, is_moment};
use weir_state::Columns;
use weir_types::{DataType, Schema, Span};

use self::bits::{Bits, Operation};
pub use self::code_rows::{GroupState, Row, Value};
use self::count::{Count, CountTrue};
use self::extreme::{Extreme, Order};
use self::folds::Fold;
pub(crate) use self::folds::Segments;
use self::moments::Moments;
use self::output::Output;
pub use self::registered::AggregateFunction;
pub(crate) use self::registered::register;
use self::sum::{DecimalSum, FloatSum};
use self::wide::WideSum;

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
    /// The values of each argument; none for `count(*)`.
    values: Vec<ArrayRef>,
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

    /// The first argument.
    fn first(&self) -> Result<&ArrayRef, (usize, String)> {
        self.values
            .first()
            .ok_or_else(|| (0, "this aggregate needs an argument".to_owned()))
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
    /// Where its rows come from.
    feed: Feed,
    span: Span,
    accumulator: Box<dyn Accumulator>,
}

/// The rows that an accumulator is fed with.
#[derive(Clone, Debug)]
enum Feed {
    /// The rows of the input: arguments and filter are its columns.
    Input {
        arguments: Vec<usize>,
        filter: Option<usize>,
    },
    /// Values that come to a side table or leave it: arguments are the table's columns.
    Side { side: usize, arguments: Vec<usize> },
}

/// How a result comes about.
enum Origin {
    /// From state columns.
    Output(Output),
    /// From the rows of a side table.
    Fold { side: usize, fold: Fold },
}

/// The kernels of one aggregating operator.
pub(crate) struct Aggregates {
    accumulators: Vec<Placed>,
    results: Vec<Origin>,
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
            results: Vec::new(),
            layout,
        };
        for (i, aggregate) in aggregates.iter().enumerate() {
            let built = compiled.add(aggregate, i, retractions);
            built.map_err(|message| (aggregate.span, format!("{}: {message}", aggregate.name)))?;
        }
        if let Some(rows) = compiled.layout.rows {
            let feed = Feed::Input {
                arguments: Vec::new(),
                filter: None,
            };
            compiled.place(
                rows,
                feed,
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

    /// The state columns of a group.
    pub(crate) fn columns(&self) -> &Schema {
        &self.layout.columns
    }

    /// The side tables.
    pub(crate) fn sides(&self) -> &[Side] {
        &self.layout.sides
    }

    /// Whether accumulators are fed with the changes of a side table.
    pub(crate) fn is_fed_by(&self, side: usize) -> bool {
        self.accumulators
            .iter()
            .any(|placed| matches!(placed.feed, Feed::Side { side: fed, .. } if fed == side))
    }

    /// Whether results are made of the rows of a side table, and which of them are looked at.
    pub(crate) fn reads_of(&self, side: usize) -> Option<Reach> {
        let folds = self.results.iter().filter_map(|result| match result {
            Origin::Fold { side: read, fold } if *read == side => Some(fold.reach()),
            _ => None,
        });
        folds.reduce(|all, reach| if all == reach { all } else { Reach::All })
    }

    fn add(
        &mut self,
        aggregate: &Aggregate,
        index: usize,
        retractions: bool,
    ) -> Result<(), String> {
        let (span, side) = (aggregate.span, self.layout.side_of[index]);
        let in_side = |column: usize| {
            let side = &self.layout.sides[side?];
            side.columns.iter().position(|kept| kept.column == column)
        };
        let arrow_type = aggregate.data_type.to_arrow();
        if let Some(side) = side.filter(|_| is_folded(aggregate, retractions)) {
            let fold = Fold::new(aggregate, &in_side)?;
            self.results.push(Origin::Fold { side, fold });
            return Ok(());
        }
        let feed = match side {
            None => Feed::Input {
                arguments: aggregate.arguments.clone(),
                filter: aggregate.filter,
            },
            Some(side) => Feed::Side {
                side,
                arguments: aggregate
                    .arguments
                    .iter()
                    .map(|&argument| in_side(argument))
                    .collect::<Option<_>>()
                    .ok_or_else(|| "its side table lacks an argument".to_owned())?,
            },
        };
        let columns = self.layout.of_aggregate[index].clone();
        let (kind, accumulators) = self.kernels(aggregate, &columns, retractions)?;
        for (column, accumulator) in accumulators {
            self.place(column, feed.clone(), span, accumulator);
        }
        self.results.push(Origin::Output(Output {
            kind,
            arrow_type,
            span,
        }));
        Ok(())
    }

    /// The accumulators of one aggregate, each with the first column that it writes, and its output.
    fn kernels(
        &self,
        aggregate: &Aggregate,
        columns: &[usize],
        retractions: bool,
    ) -> Result<(output::Kind, Kernels), String> {
        let misfit = || {
            format!(
                "{} state columns are not what this version keeps",
                columns.len()
            )
        };
        let mut accumulators: Kernels = Vec::new();
        let mut place = |column, accumulator| accumulators.push((column, accumulator));
        let kind = match (aggregate.function.as_str(), columns) {
            ("count", &[column]) => {
                place(column, Box::new(Count { column }));
                output::Kind::Count(column)
            }
            ("sum" | "avg", &[sum, ref more @ ..]) => {
                let average = aggregate.function == "avg";
                let data_type = self.layout.columns[sum].data_type.clone();
                let is_wide = matches!(aggregate.data_type, DataType::Int64 | DataType::UInt64);
                let accumulator = if is_wide {
                    Box::new(WideSum { column: sum })
                } else {
                    sum_accumulator(&data_type, sum, more)?
                };
                place(sum, accumulator);
                let count = (average || retractions)
                    .then(|| more.last().copied())
                    .flatten();
                if let Some(column) = count {
                    place(column, Box::new(Count { column }));
                }
                if is_wide {
                    output::Kind::Wide { sum, count }
                } else {
                    output::Kind::sum(average, &data_type, sum, more, count).ok_or_else(misfit)?
                }
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
            ("bit_and" | "bit_or" | "bit_xor", &[column, ref counts @ ..]) => {
                let operation = Operation::of(&aggregate.function).ok_or_else(misfit)?;
                place(column, Box::new(Bits { column, operation }));
                match *counts {
                    [count] => {
                        place(count, Box::new(Count { column: count }));
                        output::Kind::CountedValue { sum: column, count }
                    }
                    _ => output::Kind::Value(column),
                }
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
            (_, columns) if aggregate.registered.is_some() => {
                let function = registered::Registered::new(aggregate, columns)?;
                place(function.first(), Box::new(function.clone()));
                output::Kind::Registered(function)
            }
            (function, columns) if is_moment(function) => {
                let accumulator = Moments::new(columns).ok_or_else(misfit)?;
                place(columns[0], Box::new(accumulator));
                output::Kind::Moments {
                    function: function.to_owned(),
                    columns: columns.to_vec(),
                }
            }
            _ => return Err("this version has no such aggregate".to_owned()),
        };
        Ok((kind, accumulators))
    }

    /// Adds an accumulator unless one writes its column already.
    fn place(&mut self, column: usize, feed: Feed, span: Span, accumulator: Box<dyn Accumulator>) {
        if self
            .accumulators
            .iter()
            .all(|placed| placed.column != column)
        {
            self.accumulators.push(Placed {
                column,
                feed,
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
            let Feed::Input { arguments, filter } = &placed.feed else {
                continue;
            };
            let filter = filter.map(|index| rows.column(index).as_boolean());
            let argument = Argument::of(rows, arguments, filter);
            placed.update(state, slots, &argument, retracted)?;
        }
        Ok(())
    }

    /// What a group begins with: as after a row that no aggregate looks at. `rows`: one row of the input, all NULL.
    pub(crate) fn begin(
        &self,
        state: &mut Columns<'_>,
        slot: u32,
        rows: &RecordBatch,
    ) -> Result<(), Failure> {
        for placed in &self.accumulators {
            let values = match &placed.feed {
                Feed::Input { arguments, .. } => arguments.clone(),
                Feed::Side { side, arguments } => arguments
                    .iter()
                    .map(|&place| self.layout.sides[*side].columns[place].column)
                    .collect(),
            };
            let argument = Argument {
                values: values
                    .into_iter()
                    .map(|column| rows.column(column).clone())
                    .collect(),
                active: Some(NullBuffer::new_null(1)),
                rows: 1,
            };
            placed.update(state, &[slot], &argument, None)?;
        }
        Ok(())
    }

    /// Adds values that have come to a side table, or takes those that have left it: `rows` are the table's columns.
    pub(crate) fn update_from_side(
        &self,
        side: usize,
        state: &mut Columns<'_>,
        slots: &[u32],
        rows: &RecordBatch,
        retracted: Option<&BooleanBuffer>,
    ) -> Result<(), Failure> {
        for placed in &self.accumulators {
            if let Feed::Side {
                side: fed,
                arguments,
            } = &placed.feed
                && *fed == side
            {
                let argument = Argument::of(rows, arguments, None);
                placed.update(state, slots, &argument, retracted)?;
            }
        }
        Ok(())
    }

    /// Adds groups, given by their state columns, to the groups in `slots`. What a side table feeds is left out.
    pub(crate) fn merge(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        values: &[ArrayRef],
    ) -> Result<(), Failure> {
        for placed in &self.accumulators {
            if matches!(placed.feed, Feed::Side { .. }) {
                continue;
            }
            let merged = placed.accumulator.merge(state, slots, values);
            merged.map_err(|(row, reason)| Failure {
                row,
                reason,
                span: placed.span,
            })?;
        }
        Ok(())
    }

    /// The results of groups, given by their state columns and by the rows of their side tables (`None` for a table that
    /// nothing reads): one array for each aggregate.
    pub(crate) fn finish(
        &self,
        values: &[ArrayRef],
        sides: &[Option<Segments>],
    ) -> Result<Vec<ArrayRef>, Failure> {
        let finish = |result: &Origin| match result {
            Origin::Output(output) => output.finish(values).map_err(|(row, reason)| Failure {
                row,
                reason,
                span: output.span,
            }),
            Origin::Fold { side, fold } => {
                let rows = sides.get(*side).and_then(Option::as_ref);
                let folded = match rows {
                    Some(rows) => fold.finish(rows),
                    None => Err((0, "its side table was not read".to_owned())),
                };
                folded.map_err(|(row, reason)| Failure {
                    row,
                    reason,
                    span: fold.span,
                })
            }
        };
        self.results.iter().map(finish).collect()
    }
}

/// Accumulators, each with the first column that it writes.
type Kernels = Vec<(usize, Box<dyn Accumulator>)>;

/// Which rows of a group a result looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The first.
    First,
    /// The last.
    Last,
    /// All.
    All,
}

impl Placed {
    fn update(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        argument: &Argument,
        retracted: Option<&BooleanBuffer>,
    ) -> Result<(), Failure> {
        let updated = self.accumulator.update(state, slots, argument, retracted);
        updated.map_err(|(row, reason)| Failure {
            row,
            reason,
            span: self.span,
        })
    }
}

impl Argument {
    fn of(rows: &RecordBatch, arguments: &[usize], filter: Option<&BooleanArray>) -> Self {
        let values: Vec<ArrayRef> = arguments
            .iter()
            .map(|&index| rows.column(index).clone())
            .collect();
        Self {
            active: active_rows(&values, filter),
            values,
            rows: rows.num_rows(),
        }
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
        DataType::Decimal(precision, _) if *precision <= 38 => Box::new(DecimalSum { column: sum }),
        other => return Err(format!("a sum of type {other} is not possible yet")),
    })
}

/// The rows that count: every argument is there, and the filter holds. `None`: all.
pub(crate) fn active_rows(
    values: &[ArrayRef],
    filter: Option<&BooleanArray>,
) -> Option<NullBuffer> {
    let valid = values.iter().fold(None, |all: Option<NullBuffer>, values| {
        let valid = values
            .logical_nulls()
            .filter(|nulls| nulls.null_count() > 0);
        NullBuffer::union(all.as_ref(), valid.as_ref())
    });
    let filter = filter.map(|filter| match filter.nulls() {
        Some(nulls) => NullBuffer::new(filter.values() & nulls.inner()),
        None => NullBuffer::new(filter.values().clone()),
    });
    NullBuffer::union(valid.as_ref(), filter.as_ref())
}
