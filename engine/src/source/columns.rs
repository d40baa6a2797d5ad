//! From decoded records to the rows that a source operator gives.
//!
//! ```text
//!   records ─▶ physical and metadata columns that are read ─▶ + computed columns ─▶ event time, watermark expression
//!                                                                              └──▶ filter ─▶ the operator's columns
//! ```
//!
//! Only columns that the plan reads are decoded: the operator's own, those of its filter and of the watermark, and
//! whatever the computed ones among them are computed from.
//!
//! # Invariants
//! 1. Event times and watermarks are taken from every record, before the filter.
//! 2. An error in a row names the split and the offset of its record.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use weir_connectors::{DecodedBatch, TableRequest};
use weir_planner::plan::{ColumnOrigin, Expr, ExprKind, OperatorKind, StreamPlan};
use weir_types::{ChangeBatch, Column, DataType, OperatorId, ProcessingTime, Schema, Span};

use crate::expr::{CompiledExpr, RowErrorMode};
use crate::source::watermark::micros;
use crate::{Error, Result, RowError};

/// Which of a table's columns a source decodes and computes; the same on every worker.
#[derive(Clone, Debug)]
pub(crate) struct ColumnPlan {
    /// Table columns that records give, in decoding order: physical ones, then metadata.
    decoded: Vec<usize>,
    /// Table columns that are computed, each after those that it needs.
    computed: Vec<usize>,
    physical: usize,
}

impl ColumnPlan {
    /// For the source operator `index` of the plan.
    pub(crate) fn new(plan: &StreamPlan, index: usize) -> Result<Self> {
        let operator = &plan.operators[index];
        let OperatorKind::Source {
            table,
            columns,
            filter,
        } = &operator.kind
        else {
            return Err(internal(&operator.id, "is not a source"));
        };
        let table = table_of(plan, table, &operator.id)?;
        let mut needed = vec![false; table.columns.len()];
        let mut computed = Vec::new();
        let mut roots = columns.clone();
        filter
            .iter()
            .for_each(|filter| columns_of(filter, &mut roots));
        if let Some(watermark) = &table.watermark {
            roots.push(watermark.column);
            columns_of(&watermark.expr, &mut roots);
        }
        for root in roots {
            visit(table, root, &mut needed, &mut computed);
        }
        let of_kind = |wanted: fn(&ColumnOrigin) -> bool| {
            let needed = &needed;
            (0..table.columns.len())
                .filter(move |&column| needed[column] && wanted(&table.columns[column].origin))
                .collect::<Vec<_>>()
        };
        let mut decoded = of_kind(|origin| matches!(origin, ColumnOrigin::Physical));
        let physical = decoded.len();
        decoded.extend(of_kind(|origin| {
            matches!(origin, ColumnOrigin::Metadata(_))
        }));
        Ok(Self {
            decoded,
            computed,
            physical,
        })
    }

    /// What to ask the connector for.
    pub(crate) fn request(
        &self,
        plan: &StreamPlan,
        index: usize,
        base: &std::path::Path,
    ) -> Result<TableRequest> {
        let operator = &plan.operators[index];
        let OperatorKind::Source { table, .. } = &operator.kind else {
            return Err(internal(&operator.id, "is not a source"));
        };
        let table = table_of(plan, table, &operator.id)?;
        let column = |index: &usize| table.columns[*index].column.clone();
        let metadata = self.decoded[self.physical..].iter().filter_map(|&index| {
            match &table.columns[index].origin {
                ColumnOrigin::Metadata(key) => Some((key.clone(), column(&index))),
                _ => None,
            }
        });
        Ok(TableRequest {
            table: table.name.clone(),
            options: table.options.clone(),
            option_spans: table.option_spans.clone(),
            columns: self.decoded[..self.physical].iter().map(column).collect(),
            declared: table
                .columns
                .iter()
                .filter(|column| column.origin == ColumnOrigin::Physical)
                .map(|column| column.column.clone())
                .collect(),
            // A dead letter shows the whole row.
            unread_fields: match RowErrorMode::of_plan(plan)? {
                RowErrorMode::DeadLetter => Vec::new(),
                _ => {
                    super::fields::unread_fields(plan, index, table, &self.decoded[..self.physical])
                }
            },
            metadata: metadata.collect(),
            retractions: false,
            unique_key: None,
            partitioned_by: Vec::new(),
            base: base.to_path_buf(),
            table_span: table.span,
        })
    }
}

/// A batch that can leave the source.
pub(crate) struct Finished {
    pub(crate) changes: ChangeBatch,
    /// Rows on which the filter failed.
    pub(crate) failures: u64,
    /// Why, if that is kept.
    pub(crate) errors: Vec<RowError>,
    /// Offset of the record of each row that is left, and the file.
    pub(crate) offsets: Vec<u64>,
    pub(crate) origin: Arc<str>,
}

/// Marks what a column needs, and lists computed columns after what they need.
fn visit(
    table: &weir_planner::plan::TableDefinition,
    column: usize,
    needed: &mut [bool],
    computed: &mut Vec<usize>,
) {
    if std::mem::replace(&mut needed[column], true) {
        return;
    }
    if let ColumnOrigin::Computed(expr) = &table.columns[column].origin {
        let mut reads = Vec::new();
        columns_of(expr, &mut reads);
        for read in reads {
            visit(table, read, needed, computed);
        }
        computed.push(column);
    }
}

/// Turns decoded batches into rows; one for each worker.
pub(crate) struct RowBuilder {
    operator: OperatorId,
    /// Columns computed from those before them.
    computed: Vec<CompiledExpr>,
    /// Arrow schemas of the working batch: decoded columns, then with one computed column more each.
    schemas: Vec<SchemaRef>,
    /// The place of the event-time column in the working batch, and the watermark expression.
    watermark: Option<(usize, CompiledExpr)>,
    /// Where WATERMARK FOR stands.
    watermark_span: Span,
    filter: Option<CompiledExpr>,
    mode: RowErrorMode,
    /// Places of the operator's columns in the working batch.
    output: Vec<usize>,
    output_schema: SchemaRef,
}

/// A batch before its place in the split's watermark is known.
pub(crate) struct Prepared {
    working: RecordBatch,
    retracted: Option<BooleanBuffer>,
    /// Byte offset of each record in `origin`.
    offsets: Vec<u64>,
    /// The file, for errors in rows.
    origin: Arc<str>,
    /// Event times and watermark expression, in microseconds.
    pub(crate) times: Option<(Int64Array, Int64Array)>,
    /// Rows on which an expression failed, to be left out (`'row.error' = 'skip'`).
    failed: Failures,
}

/// Rows on which an expression failed.
#[derive(Default)]
pub(crate) struct Failures {
    rows: Option<BooleanBuffer>,
    /// Why, if that is kept: of each row the first error.
    errors: BTreeMap<usize, RowError>,
}

impl Failures {
    /// The reasons that are known by now.
    pub(crate) fn take_errors(&mut self) -> impl Iterator<Item = RowError> + use<> {
        std::mem::take(&mut self.errors).into_values()
    }
}

impl Prepared {
    /// Number of records.
    pub(crate) fn num_rows(&self) -> usize {
        self.working.num_rows()
    }

    /// Why rows failed, if that is kept.
    pub(crate) fn take_errors(&mut self) -> impl Iterator<Item = RowError> + use<> {
        self.failed.take_errors()
    }

    /// Number of rows that will be left out.
    pub(crate) fn failed_rows(&self) -> u64 {
        self.failed
            .rows
            .as_ref()
            .map_or(0, |failed| failed.count_set_bits() as u64)
    }
}

impl RowBuilder {
    /// For the source operator `index`.
    pub(crate) fn new(plan: &StreamPlan, index: usize, columns: &ColumnPlan) -> Result<Self> {
        let operator = &plan.operators[index];
        let OperatorKind::Source {
            table,
            columns: output,
            filter,
        } = &operator.kind
        else {
            return Err(internal(&operator.id, "is not a source"));
        };
        let table = table_of(plan, table, &operator.id)?;
        let order: Vec<usize> = columns
            .decoded
            .iter()
            .chain(&columns.computed)
            .copied()
            .collect();
        let place = |column: usize| order.iter().position(|&other| other == column);
        let schema: Schema = order
            .iter()
            .map(|&column| table.columns[column].column.clone())
            .collect();
        let mode = RowErrorMode::of_plan(plan)?;
        let compile = |expr: &Expr, known: usize| {
            CompiledExpr::compile_with(
                &moved(expr, &place),
                &schema[..known].to_vec(),
                &operator.id,
                mode,
            )
        };
        let mut computed = Vec::new();
        let mut schemas = vec![arrow_schema(&schema[..columns.decoded.len()])];
        for (i, &column) in columns.computed.iter().enumerate() {
            let known = columns.decoded.len() + i;
            if let ColumnOrigin::Computed(expr) = &table.columns[column].origin {
                computed.push(compile(expr, known)?);
                schemas.push(arrow_schema(&schema[..known + 1]));
            }
        }
        let placed = |column: usize| {
            place(column).ok_or_else(|| internal(&operator.id, "a column is missing"))
        };
        let watermark = match &table.watermark {
            Some(watermark) => Some((
                placed(watermark.column)?,
                compile(&watermark.expr, schema.len())?,
            )),
            None => None,
        };
        Ok(Self {
            operator: operator.id.clone(),
            computed,
            schemas,
            watermark,
            watermark_span: table
                .watermark
                .as_ref()
                .map_or_else(Span::default, |watermark| watermark.span),
            mode,
            filter: filter
                .as_ref()
                .map(|filter| compile(filter, schema.len()))
                .transpose()?,
            output: output
                .iter()
                .map(|&column| placed(column))
                .collect::<Result<_>>()?,
            output_schema: DataType::arrow_schema(&operator.schema),
        })
    }

    /// Whether records have an event time.
    pub(crate) fn has_event_time(&self) -> bool {
        self.watermark.is_some()
    }

    /// Computes columns, event times and watermark expression of every record.
    pub(crate) fn prepare(
        &self,
        batch: DecodedBatch,
        now: ProcessingTime,
        origin: &Arc<str>,
    ) -> Result<Prepared> {
        let split: &str = origin;
        let rows = batch.rows.num_rows();
        let mut columns = batch.rows.columns().to_vec();
        let mut working = self.assemble(&self.schemas[0], columns.clone(), rows)?;
        let mut failed = Failures::default();
        for (expr, schema) in self.computed.iter().zip(&self.schemas[1..]) {
            columns.push(self.evaluate(expr, &working, now, split, &batch.offsets, &mut failed)?);
            working = self.assemble(schema, columns.clone(), rows)?;
        }
        let times = match &self.watermark {
            None => None,
            Some((time, expr)) => {
                let times = self.micros(working.column(*time))?;
                if times.null_count() > 0 {
                    if !self.mode.leaves_out() {
                        let row = (0..times.len()).find(|&row| times.is_null(row));
                        let row = row.unwrap_or(0);
                        let error = self.null_event_time(&working, row, split, &batch.offsets);
                        return Err(Error::Row(Box::new(error)));
                    }
                    if self.mode == RowErrorMode::DeadLetter {
                        for row in (0..times.len()).filter(|&row| times.is_null(row)) {
                            let error =
                                || self.null_event_time(&working, row, split, &batch.offsets);
                            failed.errors.entry(row).or_insert_with(error);
                        }
                    }
                    let without = times.nulls().map(|nulls| !nulls.inner());
                    failed.rows = either(failed.rows, without);
                }
                let expression =
                    self.evaluate(expr, &working, now, split, &batch.offsets, &mut failed)?;
                Some((times, self.micros(&expression)?))
            }
        };
        Ok(Prepared {
            working,
            retracted: batch.retracted,
            offsets: batch.offsets,
            origin: origin.clone(),
            times,
            failed,
        })
    }

    /// Filters and projects; `own` are the own watermarks of rows that are behind.
    pub(crate) fn finish(
        &self,
        prepared: Prepared,
        own: Option<Int64Array>,
        now: ProcessingTime,
    ) -> Result<Finished> {
        let before = prepared.failed_rows();
        let Prepared {
            working,
            retracted,
            mut offsets,
            origin,
            mut failed,
            ..
        } = prepared;
        let rows = working.num_rows();
        let columns = self
            .output
            .iter()
            .map(|&place| working.column(place).clone())
            .collect();
        let output = self.assemble(&self.output_schema, columns, rows)?;
        let mut changes = ChangeBatch {
            rows: output,
            retracted,
            own_watermark: own,
        };
        let mut keep = None;
        if let Some(filter) = &self.filter {
            let passes = self.evaluate(filter, &working, now, &origin, &offsets, &mut failed)?;
            let passes = crate::expr::as_filter(&passes)?;
            keep = Some(passes.values().clone());
        }
        let failures = failed
            .rows
            .as_ref()
            .map_or(0, |failed| failed.count_set_bits() as u64)
            - before;
        // A row that failed is out whether or not it passes the filter.
        let errors = failed.take_errors().collect();
        let keep = match (keep, failed.rows) {
            (keep, None) => keep,
            (None, Some(failed)) => Some(!&failed),
            (Some(keep), Some(failed)) => Some(&keep & &!&failed),
        };
        if let Some(keep) = keep.filter(|keep| keep.count_set_bits() < rows) {
            let mut row = 0..rows;
            offsets.retain(|_| row.next().is_some_and(|row| keep.value(row)));
            changes = changes
                .filter(&BooleanArray::new(keep, None))
                .map_err(|error| internal(&self.operator, &error.to_string()))?;
        }
        Ok(Finished {
            changes,
            errors,
            failures,
            offsets,
            origin,
        })
    }

    /// One value a row; rows that failed are added to `failed` where they are to be left out.
    fn evaluate(
        &self,
        expr: &CompiledExpr,
        rows: &RecordBatch,
        now: ProcessingTime,
        split: &str,
        offsets: &[u64],
        failed: &mut Failures,
    ) -> Result<arrow::array::ArrayRef> {
        let evaluated = expr.evaluate_rows(rows, now).map_err(|error| {
            place_error(error, split, offsets, |row| {
                expr.evaluate(&rows.slice(row, 1), now).err()
            })
        })?;
        if self.mode.leaves_out() {
            failed.rows = either(failed.rows.take(), evaluated.failed);
        }
        for (row, mut error) in evaluated.errors {
            error.place = offsets.get(row).map(|&offset| (split.to_owned(), offset));
            // A row that had failed before has its reason.
            failed.errors.entry(row).or_insert(error);
        }
        Ok(evaluated.values)
    }

    fn assemble(
        &self,
        schema: &SchemaRef,
        columns: Vec<arrow::array::ArrayRef>,
        rows: usize,
    ) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .map_err(|error| internal(&self.operator, &error.to_string()))
    }

    fn micros(&self, array: &arrow::array::ArrayRef) -> Result<Int64Array> {
        micros(array).ok_or_else(|| internal(&self.operator, "event time is not a timestamp"))
    }

    fn null_event_time(
        &self,
        working: &RecordBatch,
        row: usize,
        split: &str,
        offsets: &[u64],
    ) -> RowError {
        let schema = working.schema();
        let values = working
            .columns()
            .iter()
            .zip(schema.fields().iter())
            .map(|(array, field)| {
                let text = if array.is_null(row) {
                    "NULL".to_owned()
                } else {
                    arrow::util::display::array_value_to_string(array, row).unwrap_or_default()
                };
                (field.name().clone(), text)
            });
        RowError {
            operator: self.operator.clone(),
            span: self.watermark_span,
            reason: "the event time is NULL".to_owned(),
            row: values.collect(),
            place: offsets.get(row).map(|&offset| (split.to_owned(), offset)),
        }
    }
}

/// Rows that are set in one of the two.
fn either(one: Option<BooleanBuffer>, other: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (one, other) {
        (Some(one), Some(other)) => Some(&one | &other),
        (one, other) => one.or(other),
    }
}

/// Adds split and offset to an error in a row: evaluates row by row until one fails alone.
fn place_error(
    error: Error,
    split: &str,
    offsets: &[u64],
    fails: impl Fn(usize) -> Option<Error>,
) -> Error {
    if !matches!(error, Error::Row(_)) {
        return error;
    }
    for (row, &offset) in offsets.iter().enumerate() {
        if let Some(Error::Row(mut found)) = fails(row) {
            found.place = Some((split.to_owned(), offset));
            return Error::Row(found);
        }
    }
    error
}

fn table_of<'a>(
    plan: &'a StreamPlan,
    table: &str,
    operator: &OperatorId,
) -> Result<&'a weir_planner::plan::TableDefinition> {
    plan.tables.get(table).ok_or_else(|| {
        internal(
            operator,
            &format!("the plan does not define table `{table}`"),
        )
    })
}

fn arrow_schema(columns: &[Column]) -> SchemaRef {
    Arc::new(DataType::arrow_schema(columns).as_ref().clone())
}

fn internal(operator: &OperatorId, message: &str) -> Error {
    Error::Internal {
        operator: operator.clone(),
        message: message.to_owned(),
    }
}

/// The columns that an expression reads, with repetitions.
fn columns_of(expr: &Expr, columns: &mut Vec<usize>) {
    if let ExprKind::Column(column) = &expr.kind {
        columns.push(*column);
    }
    for child in children(&expr.kind) {
        columns_of(child, columns);
    }
}

/// The expression with every column at its new place.
fn moved(expr: &Expr, place: &dyn Fn(usize) -> Option<usize>) -> Expr {
    let mut moved_expr = expr.clone();
    relocate(&mut moved_expr, place);
    moved_expr
}

fn relocate(expr: &mut Expr, place: &dyn Fn(usize) -> Option<usize>) {
    if let ExprKind::Column(column) = &mut expr.kind {
        // `columns_of` found every column, so each has a place; a wrong index fails in `compile`.
        *column = place(*column).unwrap_or(usize::MAX);
    }
    for child in children_mut(&mut expr.kind) {
        relocate(child, place);
    }
}

macro_rules! children_of {
    ($name:ident, $($mutable:tt)?) => {
        fn $name(kind: & $($mutable)? ExprKind) -> Vec<& $($mutable)? Expr> {
            match kind {
                ExprKind::Column(_) | ExprKind::Literal(_) | ExprKind::ProcessingTime => Vec::new(),
                ExprKind::Binary { left, right, .. } => vec![left, right],
                ExprKind::Not(expr) | ExprKind::Negate(expr) => vec![expr],
                ExprKind::IsNull { expr, .. }
                | ExprKind::IsTruth { expr, .. }
                | ExprKind::Cast { expr, .. } => vec![expr],
                ExprKind::Case { branches, otherwise } => {
                    let mut all = Vec::new();
                    for (condition, result) in branches {
                        all.push(condition);
                        all.push(result);
                    }
                    if let Some(otherwise) = otherwise {
                        all.push(otherwise);
                    }
                    all
                }
                ExprKind::InList { expr, list, .. } => {
                    let mut all: Vec<& $($mutable)? Expr> = vec![expr];
                    all.extend(list);
                    all
                }
                ExprKind::Like { expr, pattern, .. } => vec![expr, pattern],
                ExprKind::Function { arguments, .. } => {
                    let mut all = Vec::new();
                    all.extend(arguments);
                    all
                }
            }
        }
    };
}
children_of!(children,);
children_of!(children_mut, mut);
