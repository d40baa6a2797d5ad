//! Rows that are left out, in tables of the user's.
//!
//! ```text
//!   operators ── watermarks, barriers ──▶ sink TABLE/dead_letter, TABLE/late, TABLE/row_errors
//!       └── what they left out, as rows of the table ──▶ ┘
//! ```
//!
//! | rows | asked for by | file |
//! |---|---|---|
//! | records that cannot be read | `'on.error' = 'dead-letter:TABLE'` of a source | `malformed.rs` |
//! | late rows, rows on which an expression failed | `'late.table'`, `'row.error'` of the job | `left_out.rs` |
//!
//! Each table becomes a sink operator of the running plan. It reads every operator that may leave something out, for watermarks
//! and barriers, so that it is through with an epoch when all of them are; its rows come on the side. So they are committed
//! with the checkpoint, as those of any sink.
//!
//! Columns are filled by name; others are NULL.

mod left_out;
mod malformed;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::error::ArrowError;
use weir_connectors::OnError;
use weir_planner::plan::{
    Changelog, Input, Operator, OperatorKind, Partitioning, StreamPlan, TableDefinition,
};
use weir_planner::settings::tables_beside;
use weir_types::{ChangeBatch, DataType, OperatorId, Schema};

pub(crate) use left_out::{Beside, failed_rows, late_rows, wire};
pub(crate) use malformed::{DeadLetters, wire as wire_dead_letters};

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

/// The sink of one table, which reads these operators.
fn sink(table: &TableDefinition, role: &str, sources: &[usize]) -> Operator {
    let edge = |&from: &usize| Input {
        from,
        partitioning: Partitioning::Forward,
    };
    let columns = table.columns.iter();
    Operator {
        id: OperatorId::new(format!("{}/{role}", table.name)),
        kind: OperatorKind::Sink {
            table: table.name.clone(),
        },
        inputs: sources.iter().map(edge).collect(),
        schema: columns.map(|column| column.column.clone()).collect(),
        changelog: Changelog::AppendOnly,
        unique_key: None,
        event_time: None,
        further_event_times: Vec::new(),
        window: None,
        state: Vec::new(),
        ttl: None,
        fingerprint: String::new(),
        upstream_fingerprint: String::new(),
        span: table.span,
    }
}

/// Rows of a table, its columns filled by name; NULL where nothing is known by that name.
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
