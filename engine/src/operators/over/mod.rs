//! OVER: each row with what its calls compute over the rows around it.
//!
//! ```text
//!   frames.rs      which rows of an ordered partition are equal, and which rows each row's frame has
//!   aggregates.rs  aggregates of frames, by the kernels of GROUP BY
//!   evaluate.rs    the results of all calls for the rows of a partition
//!   ─────────────────────────────────────────────────────────────────────────────────────────────────────
//!   changes.rs     any order, any input: touched partitions are evaluated before and after, at the barrier
//!   timed.rs       event-time order: rows wait for the watermark and are given once
//! ```
//!
//! # Invariants
//! 1. Results are a function of the rows of the partition, their order and the frame: neither of how rows came nor of how much of a
//!    partition is evaluated at once.
//! 2. The order is total but for rows that are equal in all columns; those are given in whatever order, which nobody can see.

mod aggregates;
mod changes;
mod evaluate;
mod frames;
mod timed;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use weir_planner::over::Reach;
use weir_planner::plan::OperatorKind;
use weir_state::{SortBound, SortedRange, SortedTable};
use weir_types::{DataType, OperatorId};

use self::changes::Changes;
use self::evaluate::Evaluator;
use self::timed::Timed;
use super::Operator;
use super::build::{Builder, internal, internal_text};
use crate::Result;

/// Rows of a partition that are read at a time.
const ROWS_READ: usize = 8192;

/// The operator of a plan.
pub(super) fn build(builder: &Builder<'_>) -> Result<Box<dyn Operator>> {
    let (operator, state) = (builder.operator, builder.context.state);
    let OperatorKind::Over {
        partition,
        order,
        time,
        calls,
    } = &operator.kind
    else {
        return Err(internal_text(&operator.id, "not an OVER"));
    };
    let input = builder.input_schema(0);
    let evaluator = Evaluator::new(&operator.id, order, calls, &input)?;
    let schema = DataType::arrow_schema(&operator.schema);
    let rows = state.sorted_table(&operator.id, "rows");
    let Some(time) = time else {
        return Ok(Box::new(Changes::new(
            changes::Configuration {
                operator: operator.id.clone(),
                partition: partition.clone(),
                schema,
            },
            evaluator,
            rows,
        )));
    };
    let reach = Reach::of(calls, &input);
    Ok(Box::new(Timed::new(
        timed::Configuration {
            operator: operator.id.clone(),
            partition: partition.clone(),
            time: *time,
            time_type: input[*time].data_type.clone(),
            reach,
            schema,
        },
        evaluator,
        timed::Tables {
            waiting: state.sorted_table(&operator.id, "waiting"),
            times: builder.due_keys("times"),
            rows,
            running: reach
                .running
                .then(|| state.map_table(&operator.id, "running")),
        },
    )))
}

/// Rows of one key, each as often as it is there, in order.
fn expanded(operator: &OperatorId, rows: &RecordBatch, counts: &[i64]) -> Result<RecordBatch> {
    if counts.iter().all(|&count| count == 1) {
        return Ok(rows.clone());
    }
    let indices: UInt32Array = counts
        .iter()
        .enumerate()
        .flat_map(|(row, &count)| (0..count).map(move |_| Some(row as u32)))
        .collect();
    take_record_batch(rows, &indices).map_err(|error| internal(operator, &error))
}

/// A partition's key: one row of each key column.
struct Key {
    columns: Vec<ArrayRef>,
    hash: u64,
}

/// All rows of a key within a range, `limit` of them at most, each as often as it is there; in the range's direction.
fn read(
    operator: &OperatorId,
    table: &SortedTable,
    key: &Key,
    range: &SortedRange<'_>,
    limit: usize,
) -> Result<RecordBatch> {
    let (first, counts) = table.range(&key.columns, 0, key.hash, range, limit.min(ROWS_READ))?;
    let mut found = counts.len();
    let mut copies: usize = counts.iter().map(|&count| count.max(0) as usize).sum();
    let mut pieces = vec![expanded(operator, &first, &counts)?];
    let (mut last, mut asked) = (first, limit.min(ROWS_READ));
    let in_order = table.columns_in_order();
    // Rows that are there several times count several times.
    while found == asked && copies < limit {
        let values: Vec<ArrayRef> = in_order
            .iter()
            .map(|&column| last.column(column).slice(last.num_rows() - 1, 1))
            .collect();
        let behind = Some(SortBound {
            values: &values,
            row: 0,
            inclusive: false,
        });
        let rest = if range.reverse {
            SortedRange {
                to: behind,
                ..*range
            }
        } else {
            SortedRange {
                from: behind,
                ..*range
            }
        };
        asked = (limit - copies).min(ROWS_READ);
        let (rows, counts) = table.range(&key.columns, 0, key.hash, &rest, asked)?;
        found = counts.len();
        if found == 0 {
            break;
        }
        copies += counts
            .iter()
            .map(|&count| count.max(0) as usize)
            .sum::<usize>();
        pieces.push(expanded(operator, &rows, &counts)?);
        last = rows;
    }
    let schema = pieces[0].schema();
    let all = concat_batches(&schema, &pieces).map_err(|error| internal(operator, &error))?;
    Ok(all.slice(0, all.num_rows().min(limit)))
}
