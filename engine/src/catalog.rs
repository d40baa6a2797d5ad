//! What the planner may know of connectors: the planner asks, the connectors answer, this is in between.

use std::collections::BTreeMap;
use std::path::PathBuf;

use weir_connectors::{Role, TableRequest};
use weir_planner::compare::StartAt;
use weir_planner::plan::{ColumnOrigin, TableDefinition};
use weir_planner::{Catalog, SourceTraits, TableRole};
use weir_types::{DataType, Diagnostic};

/// A catalog that knows the connectors of this build.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectorCatalog;

impl Catalog for ConnectorCatalog {
    fn check_table(&self, table: &TableDefinition, role: TableRole) -> Vec<Diagnostic> {
        let physical = |role: TableRole, origin: &ColumnOrigin| match role {
            TableRole::Source => *origin == ColumnOrigin::Physical,
            // A sink writes no computed columns.
            TableRole::Sink => !matches!(origin, ColumnOrigin::Computed(_)),
        };
        let columns: Vec<_> = table
            .columns
            .iter()
            .filter(|column| physical(role, &column.origin))
            .map(|column| column.column.clone())
            .collect();
        let metadata = table
            .columns
            .iter()
            .filter_map(|column| match &column.origin {
                ColumnOrigin::Metadata(key) => Some((key.clone(), column.column.clone())),
                _ => None,
            })
            .collect();
        let request = TableRequest {
            table: table.name.clone(),
            options: table.options.clone(),
            option_spans: table.option_spans.clone(),
            declared: columns.clone(),
            columns,
            unread_fields: Vec::new(),
            metadata,
            retractions: false,
            unique_key: Some(table.primary_key.clone()).filter(|key| !key.is_empty()),
            partitioned_by: table.partitioned_by.clone(),
            base: PathBuf::from("."),
            table_span: table.span,
        };
        let role = match role {
            TableRole::Source => Role::Source,
            TableRole::Sink => Role::Sink,
        };
        weir_connectors::check_table(&request, role)
    }

    fn source_traits(&self, options: &BTreeMap<String, String>) -> SourceTraits {
        let traits = weir_connectors::source_traits(options);
        SourceTraits {
            bounded: traits.bounded,
            retractions: traits.retractions,
        }
    }

    fn sink_accepts_retractions(&self, options: &BTreeMap<String, String>) -> bool {
        weir_connectors::sink_accepts_retractions(options)
    }

    fn source_can_be_read_again(&self, options: &BTreeMap<String, String>) -> bool {
        weir_connectors::can_be_read_again(options)
    }

    fn source_can_start_at(&self, table: &TableDefinition, start: StartAt) -> Result<(), String> {
        crate::evolution::can_start_at(table, start)
    }

    fn metadata_type(&self, options: &BTreeMap<String, String>, key: &str) -> Option<DataType> {
        weir_connectors::metadata_type(options, key)
    }
}
