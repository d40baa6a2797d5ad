//! Malformed records that are kept (`'on.error' = 'dead-letter:TABLE'`): their sinks read the sources that feed them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use weir_connectors::{OnError, RecordError};
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_types::{ChangeBatch, Diagnostic, Schema, Span};

use super::{sink, table_rows};
use crate::{Error, Result};

/// Adds the sinks of malformed records to a plan. Returns, for each operator of the new plan, whether it is one, and
/// for each source (by index) the sink that it feeds.
pub(crate) fn wire(plan: &mut StreamPlan) -> Result<(Vec<bool>, BTreeMap<usize, usize>)> {
    let mut sources_of: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, operator) in plan.operators.iter().enumerate() {
        let OperatorKind::Source { table, .. } = &operator.kind else {
            continue;
        };
        let Some(definition) = plan.tables.get(table) else {
            continue;
        };
        let OnError::DeadLetter(target) = weir_connectors::on_error(&definition.options) else {
            continue;
        };
        if !plan.tables.contains_key(&target) {
            let span = definition
                .option_spans
                .get("on.error")
                .copied()
                .unwrap_or(Span::default());
            let diagnostic = Diagnostic::error(
                "E0101",
                format!("no table `{target}` for malformed records"),
            )
            .at(span, "this table is not defined")
            .help(format!(
                "CREATE TABLE {target} (reason STRING, record STRING) WITH (…)"
            ));
            return Err(Error::Plan(diagnostic.into()));
        }
        sources_of.entry(target).or_default().push(index);
    }
    let mut dead_letter = vec![false; plan.operators.len()];
    let mut targets = BTreeMap::new();
    for (table, sources) in sources_of {
        for &source in &sources {
            targets.insert(source, plan.operators.len());
        }
        let sink = sink(&plan.tables[&table], "dead_letter", &sources);
        plan.operators.push(sink);
        dead_letter.push(true);
    }
    Ok((dead_letter, targets))
}

/// Builds the rows of one dead-letter table.
pub(crate) struct DeadLetters {
    /// Index of the sink operator.
    pub(crate) node: usize,
    schema: Schema,
}

impl DeadLetters {
    /// For sink `node` of the plan.
    pub(crate) fn new(plan: &StreamPlan, node: usize) -> Self {
        Self {
            node,
            schema: plan.operators[node].schema.clone(),
        }
    }

    /// One row for each rejected record.
    pub(crate) fn rows(
        &self,
        rejected: &[RecordError],
    ) -> Result<ChangeBatch, arrow::error::ArrowError> {
        table_rows(&self.schema, rejected.len(), &|name| fill(name, rejected))
    }
}

/// The values of a column by its name; `None`: nothing is known by that name.
fn fill(name: &str, rejected: &[RecordError]) -> Option<ArrayRef> {
    let text = |value: fn(&RecordError) -> &str| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(
            rejected.iter().map(value),
        ))
    };
    let number = |value: fn(&RecordError) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            rejected.iter().map(|error| value(error) as i64),
        ))
    };
    Some(match name {
        "source" => text(|error| &error.table),
        "file" => text(|error| &error.origin),
        "line" => number(|error| error.line),
        "offset" => number(|error| error.offset),
        "reason" => text(|error| &error.reason),
        "record" => {
            // Bytes that are no text are shown with replacement characters.
            let lossy = rejected
                .iter()
                .map(|error| String::from_utf8_lossy(&error.record).into_owned());
            Arc::new(StringViewArray::from_iter_values(lossy))
        }
        _ => return None,
    })
}
