//! Rows that are left out, in tables of the user's: late ones (`'late.table'`), and those on which an expression failed
//! (`'row.error' = 'dead-letter:TABLE'`).
//!
//! ```text
//!   operator ── watermarks, barriers ──▶ sink TABLE/late, TABLE/row_errors
//!       └── rows that it left out, as rows of the table ──▶ ┘
//! ```
//!
//! Like a table of malformed records ([`crate::source`]), each becomes a sink operator of the running plan. It reads every operator
//! there is for watermarks and barriers, so that it is through with an epoch when all that may have left something out in it
//! are; its rows come on the side. So they are committed with the checkpoint, as those of any sink.
//!
//! Columns are filled by name; others are NULL.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::error::ArrowError;
use weir_connectors::{OnError, json_rows};
use weir_planner::plan::{
    Changelog, Input, Operator, OperatorKind, Partitioning, StreamPlan, TableDefinition,
};
use weir_planner::settings::tables_beside;
use weir_types::{ChangeBatch, DataType, OperatorId, Schema};

use crate::operators::LateRows;
use crate::{Error, Result, RowError};

/// The sinks of rows that are left out: their places in the running plan.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beside {
    /// That of late rows.
    pub(crate) late: Option<usize>,
    /// That of rows on which an expression failed.
    pub(crate) failed: Option<usize>,
}

/// Every table that a plan writes rows into that it leaves out, malformed records among them.
pub(crate) fn tables(plan: &StreamPlan) -> Vec<&TableDefinition> {
    let of_sources = plan.operators.iter().filter_map(|operator| {
        let OperatorKind::Source { table, .. } = &operator.kind else {
            return None;
        };
        match weir_connectors::on_error(&plan.tables.get(table)?.options) {
            OnError::DeadLetter(target) => plan.tables.get(&target),
            _ => None,
        }
    });
    let of_settings = tables_beside(&plan.settings);
    let of_settings = of_settings.filter_map(|(_, table)| plan.tables.get(table));
    of_sources.chain(of_settings).collect()
}

/// Adds the sinks to a plan; `is_side` says of each operator whether its rows come on the side.
pub(crate) fn wire(plan: &mut StreamPlan, is_side: &mut Vec<bool>) -> Result<Beside> {
    let wanted: Vec<(&'static str, String)> = tables_beside(&plan.settings)
        .map(|(key, table)| (key, table.to_owned()))
        .collect();
    let is_end = |kind: &OperatorKind| {
        matches!(
            kind,
            OperatorKind::Sink { .. } | OperatorKind::Output { .. }
        )
    };
    let sources: Vec<usize> = (0..plan.operators.len())
        .filter(|&operator| !is_end(&plan.operators[operator].kind))
        .collect();
    let mut beside = Beside::default();
    for (key, table) in wanted {
        let Some(definition) = plan.tables.get(&table) else {
            return Err(Error::Job(format!(
                "'{key}' names the table `{table}`, which the plan does not define"
            )));
        };
        let schema: Schema = definition
            .columns
            .iter()
            .map(|c| c.column.clone())
            .collect();
        let span = definition.span;
        let (place, role) = if key == "late.table" {
            (&mut beside.late, "late")
        } else {
            (&mut beside.failed, "row_errors")
        };
        *place = Some(plan.operators.len());
        let edge = |&from: &usize| Input {
            from,
            partitioning: Partitioning::Forward,
        };
        plan.operators.push(Operator {
            id: OperatorId::new(format!("{table}/{role}")),
            kind: OperatorKind::Sink { table },
            inputs: sources.iter().map(edge).collect(),
            schema,
            changelog: Changelog::AppendOnly,
            unique_key: None,
            event_time: None,
            further_event_times: Vec::new(),
            window: None,
            state: Vec::new(),
            ttl: None,
            fingerprint: String::new(),
            upstream_fingerprint: String::new(),
            span,
        });
        is_side.push(true);
    }
    Ok(beside)
}

/// Late rows of an operator as rows of the table that sink `sink` writes.
pub(crate) fn late_rows(
    plan: &StreamPlan,
    sink: usize,
    operator: usize,
    late: &LateRows,
) -> Result<ChangeBatch, ArrowError> {
    let operator = &plan.operators[operator];
    let columns = operator.inputs.get(late.input).map(|input| {
        let given = &plan.operators[input.from].schema;
        operator.visible(given).to_vec()
    });
    let columns = columns.unwrap_or_default();
    let count = late.rows.num_rows();
    let moments = |micros: Int64Array| -> ArrayRef {
        Arc::new(micros.reinterpret_cast::<arrow::datatypes::TimestampMicrosecondType>())
    };
    table_rows(&plan.operators[sink].schema, count, &|name| {
        Some(match name {
            "operator" => texts((0..count).map(|_| operator.id.as_str())),
            "event_time" => moments(late.times.clone()),
            "watermark" => match &late.rows.own_watermark {
                Some(own) => moments(own.clone()),
                None => Arc::new(TimestampMicrosecondArray::new_null(count)),
            },
            "row" => texts(json_rows(&columns, &late.rows).iter().map(String::as_str)),
            "retracted" => Arc::new(BooleanArray::from_iter(
                (0..count).map(|row| Some(late.rows.is_retracted(row))),
            )),
            _ => return None,
        })
    })
}

/// Rows that failed as rows of the table that sink `sink` writes.
pub(crate) fn failed_rows(
    plan: &StreamPlan,
    sink: usize,
    failed: &[RowError],
) -> Result<ChangeBatch, ArrowError> {
    let text = |value: &dyn Fn(&RowError) -> Option<String>| -> ArrayRef {
        Arc::new(StringViewArray::from_iter(failed.iter().map(value)))
    };
    table_rows(&plan.operators[sink].schema, failed.len(), &|name| {
        Some(match name {
            "operator" => text(&|error| Some(error.operator.to_string())),
            "reason" => text(&|error| Some(error.reason.clone())),
            "position" => text(&|error| {
                let start = error.span.start;
                (!error.span.is_empty()).then(|| format!("{}:{}", start.line, start.column))
            }),
            "row" => text(&|error| Some(row_json(&error.row))),
            "file" => text(&|error| error.place.as_ref().map(|(file, _)| file.clone())),
            "offset" => Arc::new(Int64Array::from_iter(failed.iter().map(|error| {
                let offset = error.place.as_ref().map(|(_, offset)| *offset);
                offset.and_then(|offset| i64::try_from(offset).ok())
            }))),
            _ => return None,
        })
    })
}

/// Pairs of column and value as it would stand in SQL, as a JSON object.
fn row_json(row: &[(String, String)]) -> String {
    use serde_json::{Map, Value};
    let value = |text: &str| {
        let quoted = text
            .strip_prefix('\'')
            .and_then(|text| text.strip_suffix('\''));
        match (quoted, text) {
            (Some(quoted), _) => Value::String(quoted.replace("''", "'")),
            (None, "NULL") => Value::Null,
            (None, "true" | "false") => Value::Bool(text == "true"),
            (None, _) => match text.parse::<i64>() {
                Ok(number) => Value::from(number),
                Err(_) => Value::String(text.to_owned()),
            },
        }
    };
    let pairs = row.iter().map(|(name, text)| (name.clone(), value(text)));
    Value::Object(pairs.collect::<Map<_, _>>()).to_string()
}

fn texts<'t>(values: impl Iterator<Item = &'t str>) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(values))
}

/// Rows of a table whose columns are filled by name.
fn table_rows(
    schema: &Schema,
    count: usize,
    fill: &dyn Fn(&str) -> Option<ArrayRef>,
) -> Result<ChangeBatch, ArrowError> {
    let arrow = DataType::arrow_schema(schema);
    let columns =
        schema
            .iter()
            .zip(arrow.fields())
            .map(|(column, field)| match fill(&column.name) {
                Some(values) => arrow::compute::cast(&values, field.data_type()),
                None => Ok(new_null_array(field.data_type(), count)),
            });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let rows = RecordBatch::try_new_with_options(arrow, columns, &options)?;
    Ok(ChangeBatch::append_only(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_row_is_an_object_of_its_values() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let row = [
            pair("a", "7"),
            pair("b", "'it''s'"),
            pair("c", "NULL"),
            pair("d", "true"),
            pair("e", "1.50"),
        ];
        assert_eq!(
            row_json(&row),
            r#"{"a":7,"b":"it's","c":null,"d":true,"e":"1.50"}"#
        );
    }
}
