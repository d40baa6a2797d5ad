//! Late rows (`'late.table'`), and rows on which an expression failed (`'row.error' = 'dead-letter:TABLE'`): their sinks read
//! every operator there is.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, StringViewArray, TimestampMicrosecondArray,
};
use arrow::error::ArrowError;
use weir_connectors::json_rows;
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_planner::settings::tables_beside;
use weir_types::ChangeBatch;

use super::{sink, table_rows};
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
        let (place, role) = if key == "late.table" {
            (&mut beside.late, "late")
        } else {
            (&mut beside.failed, "row_errors")
        };
        *place = Some(plan.operators.len());
        let sink = sink(definition, role, &sources);
        plan.operators.push(sink);
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
