//! From the plan's operators to running ones, and from their state tables to the state crate's.

use std::fmt::Display;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, new_null_array};
use arrow::datatypes::SchemaRef;
use weir_planner::plan::{self, Changelog, OperatorKind, StateLayout, StreamPlan};
use weir_planner::time_zone::is_whole_days;
use weir_planner::zoned_days::ZonedDays;
use weir_state::{Layout, TableSpec};
use weir_types::{
    DataType, Diagnostic, Diagnostics, KeyGroup, KeyGroupRange, OperatorId, Schema, Span,
};

use super::aggregate::{Aggregate, AlwaysGroup};
use super::aggregates::{Aggregates, Failure};
use super::expand::Expand;
use super::filter::Filter;
use super::join::Join;
use super::lookup_join::LookupJoin;
use super::outer_join::OuterJoin;
use super::output::Output;
use super::project::Project;
use super::set_operation::SetOperation;
use super::sides::Sides;
use super::sink::Sink;
use super::union::Union;
use super::unnest::Unnest;
use super::window_aggregate::WindowAggregate;
use super::window_assign::WindowAssign;
use super::windows::Windows;
use super::{BuildContext, Operator};
use crate::error::RowError;
use crate::expr::{CompiledExpr, RowErrorMode, row_values};
use crate::{Error, Result};

/// Builds the operator (every kind but `Source`, which is the runtime's).
///
/// # Errors
/// An expression or an aggregate that cannot be run; state that cannot be read.
///
/// # Panics
/// For a source, and for a sink or an output without its writer or handler.
pub fn build(mut context: BuildContext<'_>) -> Result<Box<dyn Operator>> {
    let (sink, handler) = (context.sink.take(), context.output.take());
    let built = Builder::new(&context)?;
    let operator = built.operator;
    if let Some(ttl) = operator.ttl {
        return Ok(Box::new(built.retained(ttl)?));
    }
    Ok(match &operator.kind {
        OperatorKind::Source { .. } => panic!("{}: sources are run by the runtime", operator.id),
        OperatorKind::Filter { predicate } => Box::new(Filter {
            operator: operator.id.clone(),
            rejected_rows: 0,
            predicate: built.expr(predicate, &built.input_schema(0))?,
        }),
        OperatorKind::Project { exprs } => Box::new(built.project(exprs)?),
        OperatorKind::Union => Box::new(Union {
            operator: operator.id.clone(),
            schema: built.schema(),
        }),
        OperatorKind::Unnest {
            column,
            keep,
            outer,
            ordinality,
        } => Box::new(Unnest::new(
            operator.id.clone(),
            *column,
            keep.clone(),
            *outer,
            *ordinality,
            built.schema(),
        )),
        OperatorKind::SetOperation { operator, all } => {
            Box::new(built.set_operation(*operator, *all)?)
        }
        OperatorKind::WindowAssign { window, time } => {
            Box::new(built.window_assign(*window, *time)?)
        }
        OperatorKind::WindowAggregate { .. } => Box::new(built.window_aggregate()?),
        OperatorKind::Expand {
            keys,
            sets,
            numbered,
        } => Box::new(Expand::new(
            operator.id.clone(),
            keys.clone(),
            sets.clone(),
            *numbered,
            built.schema(),
        )),
        OperatorKind::Aggregate {
            keys,
            aggregates,
            always,
        } => Box::new(built.aggregate(keys, aggregates, always)?),
        OperatorKind::Join {
            join: plan::JoinKind::Inner,
            ..
        } => Box::new(built.join()?),
        OperatorKind::Join { .. } => Box::new(built.outer_join()?),
        OperatorKind::LookupJoin { .. } => Box::new(LookupJoin::build(&built)?),
        OperatorKind::Rank { .. } => Box::new(super::rank::build(&context)?),
        OperatorKind::FinalRank { timing, .. } => built.final_rank(*timing)?,
        OperatorKind::Over { .. } => super::over::build(&built)?,
        OperatorKind::Session { .. } => Box::new(built.session()?),
        OperatorKind::Arrival { .. } => built.arrival()?,
        OperatorKind::TemporalFilter { .. } => Box::new(built.temporal_filter()?),
        OperatorKind::Clock { .. } => Box::new(super::clock::ProcessingClock),
        OperatorKind::TimedJoin { .. } => built.timed_join()?,
        OperatorKind::Sink { table } => {
            let (writer, wants_snapshot) =
                sink.expect("the runtime gives a sink operator its writer");
            let rows = wants_snapshot.then(|| built.snapshot_rows()).transpose()?;
            let sink = Sink::new(
                operator.id.clone(),
                writer,
                rows,
                built.retractions(0),
                context.batch_rows,
            );
            let is_view = crate::views::view_of(context.plan, operator).is_some();
            Box::new(
                sink.keeping_a_view(is_view)
                    .requiring(built.required_columns(table)),
            )
        }
        OperatorKind::Output { .. } => {
            let handler = handler.expect("the runtime gives an output operator its handler");
            Box::new(Output::new(operator.id.clone(), context.index, handler))
        }
    })
}

/// The state tables of a plan's operators as the state crate wants them: every one but positions.
pub fn table_specs(plan: &StreamPlan) -> Vec<TableSpec> {
    let specs = plan.operators.iter().flat_map(|operator| {
        operator.state.iter().filter_map(|table| {
            let layout = match table.layout {
                StateLayout::Map => Layout::Map,
                StateLayout::Slices => Layout::Slices,
                StateLayout::MultiMap => Layout::MultiMap,
                StateLayout::Sorted => Layout::Sorted,
                StateLayout::Position => return None,
            };
            Some(TableSpec {
                operator: operator.id.clone(),
                table: table.name.clone(),
                layout,
                key: table.key.clone(),
                value: table.value.clone(),
                order: table.order.clone(),
            })
        })
    });
    specs.collect()
}

/// What the plan says of a join, ready to run.
struct JoinParts {
    join: plan::JoinKind,
    sides: [super::join::SideConfiguration; 2],
    null_equal: Vec<bool>,
    residual: Option<CompiledExpr>,
    /// The left columns, then the right ones.
    both: Schema,
}

pub(super) struct Builder<'a> {
    pub(super) context: &'a BuildContext<'a>,
    pub(super) operator: &'a plan::Operator,
    mode: RowErrorMode,
}

impl<'a> Builder<'a> {
    fn new(context: &'a BuildContext<'a>) -> Result<Self> {
        let operator = &context.plan.operators[context.index];
        Ok(Self {
            context,
            operator,
            mode: RowErrorMode::of_plan(context.plan)?,
        })
    }

    pub(super) fn id(&self) -> OperatorId {
        self.operator.id.clone()
    }

    fn input(&self, input: usize) -> &'a plan::Operator {
        &self.context.plan.operators[self.operator.inputs[input].from]
    }

    pub(super) fn input_schema(&self, input: usize) -> Schema {
        self.operator.visible(&self.input(input).schema).to_vec()
    }

    pub(super) fn retractions(&self, input: usize) -> bool {
        self.input(input).changelog == Changelog::Retractions
    }

    pub(super) fn schema(&self) -> SchemaRef {
        DataType::arrow_schema(&self.operator.schema)
    }

    pub(super) fn expr(&self, expr: &plan::Expr, schema: &Schema) -> Result<CompiledExpr> {
        CompiledExpr::compile_with(expr, schema, &self.operator.id, self.mode)
    }

    /// The windows over a column; whole days of instants are those of the zone.
    fn windows(&self, window: plan::Window, time: usize) -> Result<Windows> {
        let zone = self.context.plan.settings.get("time.zone");
        let is_instant = matches!(
            self.input_schema(0)[time].data_type,
            DataType::TimestampLtz(_)
        );
        let days = zone
            .filter(|_| is_instant && is_whole_days(&window))
            .and_then(|zone| ZonedDays::of(zone));
        Windows::new(window)
            .map(|windows| windows.in_zone(days))
            .ok_or_else(|| internal_text(&self.operator.id, "a window without a length"))
    }

    /// The operator's only state table; the first, where an aggregate has side tables.
    fn table_name(&self) -> Result<&'a str> {
        match self.operator.state.as_slice() {
            [table, ..] if table.name == "groups" || self.operator.ttl.is_some() => Ok(&table.name),
            [table] => Ok(&table.name),
            _ => Err(internal_text(
                &self.operator.id,
                "the plan gives it no state table, or several",
            )),
        }
    }

    fn kernels(&self, aggregates: &[plan::Aggregate], retractions: bool) -> Result<Aggregates> {
        let kernels = Aggregates::compile(aggregates, &self.input_schema(0), retractions);
        kernels.map_err(|(span, message)| cannot_aggregate(span, message))
    }

    /// The groups of this worker that are there even without rows: the one of an aggregate without keys, and those of
    /// empty grouping sets.
    fn always(
        &self,
        keys: &[usize],
        always: &[Vec<Option<i64>>],
        range: KeyGroupRange,
    ) -> Vec<AlwaysGroup> {
        if keys.is_empty() {
            let alone = AlwaysGroup {
                keys: Vec::new(),
                hash: weir_types::hash::EMPTY_KEY,
                numbers: Vec::new(),
            };
            return range
                .contains(KeyGroup(0))
                .then_some(alone)
                .into_iter()
                .collect();
        }
        let schema = self.input_schema(0);
        let group = |numbers: &Vec<Option<i64>>| {
            let key = |(&key, number): (&usize, &Option<i64>)| -> ArrayRef {
                match number {
                    Some(number) => Arc::new(Int64Array::from(vec![*number])),
                    None => new_null_array(&schema[key].data_type.to_arrow(), 1),
                }
            };
            let keys: Vec<ArrayRef> = keys.iter().zip(numbers).map(key).collect();
            let hash = weir_types::hash::hash_columns(&keys, 1)[0];
            AlwaysGroup {
                keys,
                hash,
                numbers: numbers.clone(),
            }
        };
        let of_worker = |group: &AlwaysGroup| {
            range.contains(weir_types::hash::key_group(
                group.hash,
                self.context.key_groups,
            ))
        };
        always.iter().map(group).filter(of_worker).collect()
    }

    /// The side tables that the kernels want.
    fn sides(&self, aggregates: &Aggregates, sliced: bool) -> Sides {
        let input = self.input_schema(0);
        let state = self.context.state;
        Sides::new(self.id(), aggregates, &input, sliced, &|name| {
            state.sorted_table(&self.operator.id, name)
        })
    }

    fn project(&self, exprs: &[plan::Expr]) -> Result<Project> {
        let input = self.input_schema(0);
        let exprs = exprs
            .iter()
            .map(|expr| self.expr(expr, &input))
            .collect::<Result<_>>()?;
        Ok(Project {
            operator: self.id(),
            rejected_rows: 0,
            exprs,
            schema: self.schema(),
        })
    }

    fn window_assign(&self, window: plan::Window, time: usize) -> Result<WindowAssign> {
        Ok(WindowAssign {
            operator: self.id(),
            windows: self.windows(window, time)?,
            time,
            schema: self.schema(),
            window_type: self
                .operator
                .schema
                .last()
                .map_or(DataType::Null, |column| column.data_type.clone()),
            pending: None,
        })
    }

    fn window_aggregate(&self) -> Result<WindowAggregate> {
        let OperatorKind::WindowAggregate {
            window,
            time,
            keys,
            group_columns,
            aggregates,
        } = &self.operator.kind
        else {
            return Err(internal_text(&self.operator.id, "not a windowed aggregate"));
        };
        let windows = self.windows(*window, *time)?;
        let table = self
            .context
            .state
            .slice_table(&self.operator.id, self.table_name()?);
        let aggregates = self.kernels(aggregates, self.retractions(0))?;
        let sides = self.sides(&aggregates, true);
        WindowAggregate::new(
            super::window_aggregate::Configuration {
                operator: self.id(),
                windows,
                time: *time,
                assigned: *window == plan::Window::Assigned,
                keys: keys.clone(),
                group_columns: group_columns.clone(),
                aggregates,
                counts_rows: self.retractions(0),
                input: self.input_schema(0),
                output: self.operator.schema.clone(),
                schema: self.schema(),
            },
            table,
            sides,
            self.operator.span,
        )
    }

    pub(super) fn aggregate(
        &self,
        keys: &[usize],
        aggregates: &[plan::Aggregate],
        always: &[Vec<Option<i64>>],
    ) -> Result<Aggregate> {
        let retractions = self.retractions(0);
        let range = KeyGroupRange::of_worker(
            self.context.worker,
            self.context.parallelism,
            self.context.key_groups,
        );
        let aggregates = self.kernels(aggregates, retractions)?;
        let sides = self.sides(&aggregates, false);
        Ok(Aggregate::new(
            super::aggregate::Configuration {
                operator: self.id(),
                keys: keys.to_vec(),
                aggregates,
                counts_rows: retractions,
                always: self.always(keys, always, range),
                input: self.input_schema(0),
                schema: self.schema(),
            },
            self.context
                .state
                .map_table(&self.operator.id, self.table_name()?),
            sides,
        ))
    }

    pub(super) fn set_operation(
        &self,
        operator: plan::SetOperator,
        all: bool,
    ) -> Result<SetOperation> {
        let rows = self
            .context
            .state
            .map_table(&self.operator.id, self.table_name()?);
        Ok(SetOperation::new(
            self.id(),
            operator,
            all,
            rows,
            self.schema(),
        ))
    }

    pub(super) fn join(&self) -> Result<Join> {
        let parts = self.join_parts()?;
        let (id, schema) = (self.id(), self.schema());
        Ok(Join::new(
            id,
            parts.sides,
            parts.null_equal,
            parts.residual,
            schema,
        ))
    }

    pub(super) fn outer_join(&self) -> Result<OuterJoin> {
        let parts = self.join_parts()?;
        Ok(OuterJoin::new(super::outer_join::Configuration {
            operator: self.id(),
            join: parts.join,
            sides: parts.sides,
            null_equal: parts.null_equal,
            residual: parts.residual,
            pair_schema: DataType::arrow_schema(&parts.both),
            schema: self.schema(),
        }))
    }

    fn join_parts(&self) -> Result<JoinParts> {
        let OperatorKind::Join {
            join,
            left_keys,
            right_keys,
            null_equal,
            residual,
        } = &self.operator.kind
        else {
            return Err(internal_text(&self.operator.id, "not a join"));
        };
        let side = |input: usize, keys: &[usize], name: &str| super::join::SideConfiguration {
            keys: keys.to_vec(),
            rows: self.context.state.multi_map_table(&self.operator.id, name),
            retractions: self.retractions(input),
        };
        let mut both = self.input_schema(0);
        both.extend(self.input_schema(1));
        let residual = residual
            .as_ref()
            .map(|residual| self.expr(residual, &both))
            .transpose()?;
        Ok(JoinParts {
            join: *join,
            sides: [side(0, left_keys, "left"), side(1, right_keys, "right")],
            null_equal: null_equal.clone(),
            residual,
            both,
        })
    }

    /// What the table declares NOT NULL among the columns that are written.
    fn required_columns(&self, table: &str) -> super::sink::Required {
        let schema = self.input_schema(0);
        let declared = self.context.plan.tables.get(table);
        let is_required = |name: &str| {
            declared.is_some_and(|table| {
                let mut columns = table.columns.iter().map(|column| &column.column);
                columns.any(|column| column.name == name && !column.nullable)
            })
        };
        super::sink::Required {
            columns: (0..schema.len())
                .filter(|&column| is_required(&self.operator.schema[column].name))
                .collect(),
            schema,
            span: self.operator.span,
        }
    }

    /// The result of a snapshot sink: rows come routed by the key of its state.
    fn snapshot_rows(&self) -> Result<super::sink::SnapshotRows> {
        let keeps_rows = self.operator.state.iter().any(|table| table.name == "rows");
        let Some(plan::Partitioning::Hash(key)) = self
            .operator
            .inputs
            .first()
            .map(|input| &input.partitioning)
            .filter(|_| keeps_rows)
        else {
            let message = "a snapshot needs the state table `rows` and rows routed by its key; the plan has neither";
            return Err(internal_text(&self.operator.id, message));
        };
        Ok(super::sink::SnapshotRows {
            key: key.clone(),
            table: self
                .context
                .state
                .multi_map_table(&self.operator.id, "rows"),
            schema: DataType::arrow_schema(&self.input_schema(0)),
            key_groups: self.context.key_groups,
            range: KeyGroupRange::of_worker(
                self.context.worker,
                self.context.parallelism,
                self.context.key_groups,
            ),
        })
    }
}

/// An error of Arrow's kernels, which no row is to blame for.
pub(super) fn internal(operator: &OperatorId, error: &dyn Display) -> Error {
    internal_text(operator, &error.to_string())
}

/// A mistake of ours.
pub(super) fn internal_text(operator: &OperatorId, message: &str) -> Error {
    Error::Internal {
        operator: operator.clone(),
        message: message.to_owned(),
    }
}

/// A row that an aggregate cannot take, or a group whose result cannot be given.
pub(super) fn aggregate_failed(
    operator: &OperatorId,
    failure: Failure,
    rows: &arrow::array::RecordBatch,
    schema: &Schema,
) -> Error {
    Error::Row(Box::new(RowError {
        operator: operator.clone(),
        span: failure.span,
        reason: failure.reason,
        row: if failure.row < rows.num_rows() {
            row_values(rows, failure.row, schema)
        } else {
            Vec::new()
        },
        place: None,
    }))
}

pub(super) fn cannot_aggregate(span: Span, message: String) -> Error {
    // A function that the program lacks is no fault of the query.
    if let Some(missing) = message.split_once("[R0091] ").map(|(_, missing)| missing) {
        return Error::Plan(Diagnostics::from(
            Diagnostic::error("R0091", "the program lacks an aggregate function").at(span, missing),
        ));
    }
    Error::Plan(Diagnostics::from(
        Diagnostic::error("E0203", "this aggregate cannot be run").at(span, message),
    ))
}
