//! Which row failed, where in the SQL, and why, in the user's words.
//!
//! A row is evaluated alone, from the outermost expression inwards: the failing expression whose operands all
//! succeed is the one to name.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::DataFusionError;
use weir_types::{OperatorId, Schema};

use super::lower::{Form, Lowered};
use crate::error::RowError;

/// Describes the failure of a batch of one row, on which `root` fails with `error`.
pub(super) fn describe(
    root: &Lowered,
    row: &RecordBatch,
    error: DataFusionError,
    schema: &Schema,
    operator: &OperatorId,
) -> RowError {
    let (node, error) = innermost(root, row, error);
    RowError {
        operator: operator.clone(),
        span: node.span,
        reason: reason(node, row, &error),
        row: row_values(row, 0, schema),
        place: None,
    }
}

/// A row as pairs of column and value.
pub(crate) fn row_values(rows: &RecordBatch, row: usize, schema: &Schema) -> Vec<(String, String)> {
    schema
        .iter()
        .zip(rows.columns())
        .map(|(column, values)| (column.name.clone(), display_value(values, row)))
        .collect()
}

/// A value as it would stand in SQL.
pub(crate) fn display_value(values: &ArrayRef, row: usize) -> String {
    if values.is_null(row) {
        return "NULL".to_owned();
    }
    let options = FormatOptions::default().with_null("NULL");
    let text = match ArrayFormatter::try_new(values, &options) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(_) => return "?".to_owned(),
    };
    if values.as_string_view_opt().is_some() || values.as_string_opt::<i32>().is_some() {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        text
    }
}

/// Whether the library speaks of a mistake of its own or ours, which no row is to blame for.
pub(super) fn is_internal(error: &DataFusionError) -> bool {
    matches!(
        error.find_root(),
        DataFusionError::Internal(_)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::Configuration(_)
    )
}

fn innermost<'a>(
    node: &'a Lowered,
    row: &RecordBatch,
    error: DataFusionError,
) -> (&'a Lowered, DataFusionError) {
    for child in evaluated_children(node, row) {
        if let Err(error) = child.physical.evaluate(row) {
            return innermost(child, row, error);
        }
    }
    (node, error)
}

/// The children that the node evaluates on this row, in order.
fn evaluated_children<'a>(node: &'a Lowered, row: &RecordBatch) -> Vec<&'a Lowered> {
    if node.form != Form::Case {
        return node.children.iter().collect();
    }
    let mut evaluated = Vec::new();
    let mut children = node.children.chunks(2);
    for branch in &mut children {
        let [condition, result] = branch else {
            evaluated.extend(branch);
            break;
        };
        evaluated.push(condition);
        let holds = condition
            .physical
            .evaluate(row)
            .and_then(|value| value.into_array(1));
        let Ok(holds) = holds else { break };
        if holds
            .as_boolean_opt()
            .is_some_and(|holds| holds.is_valid(0) && holds.value(0))
        {
            evaluated.push(result);
            break;
        }
    }
    evaluated
}

fn reason(node: &Lowered, row: &RecordBatch, error: &DataFusionError) -> String {
    if let Form::Cast(data_type) = &node.form {
        let operand = node.children[0]
            .physical
            .evaluate(row)
            .and_then(|value| value.into_array(1));
        if let Ok(operand) = operand {
            return format!("cannot cast {} to {data_type}", display_value(&operand, 0));
        }
    }
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => arrow_reason(error),
        DataFusionError::Execution(message) | DataFusionError::ResourcesExhausted(message) => {
            tidy(message)
        }
        other => tidy(&other.strip_backtrace()),
    }
}

fn arrow_reason(error: &ArrowError) -> String {
    match error {
        ArrowError::DivideByZero => "division by zero".to_owned(),
        ArrowError::ArithmeticOverflow(message) => {
            let operation = message
                .rsplit_once(':')
                .map_or(message.as_str(), |(_, operation)| operation)
                .trim();
            if operation.is_empty() {
                "overflow".to_owned()
            } else {
                format!("overflow in {operation}")
            }
        }
        ArrowError::CastError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::ParseError(message)
        | ArrowError::InvalidArgumentError(message) => tidy(message),
        other => tidy(&other.to_string()),
    }
}

/// The first line, without the names that the library puts in front.
fn tidy(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = [
        "Execution error: ",
        "Arrow error: ",
        "External error: ",
        "Compute error: ",
        "Parser error: ",
    ]
    .iter()
    .fold(line, |line, prefix| {
        line.strip_prefix(prefix).unwrap_or(line)
    });
    line.trim_end_matches('.').to_owned()
}
