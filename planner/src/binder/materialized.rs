//! CREATE MATERIALIZED VIEW: a view whose rows the job keeps, to be asked for while it runs and afterwards.
//!
//! ```text
//!   v's query ─┬─▶ whoever reads v in this text: as if it were a plain view
//!              └─▶ v/view: a sink that keeps its whole result as state and writes nothing
//! ```
//!
//! In the plan it is the sink of a table of its own, whose connector nobody can declare: so state, fingerprints, comparisons and
//! savepoints know it as they know every sink that keeps its result.

use std::collections::BTreeMap;

use weir_types::{DataType, Diagnostic, Span};

use crate::codes;
use crate::logical::{Node, NodeId, NodeKind};
use crate::names::Path;
use crate::plan::{ColumnOrigin, MATERIALIZED_VIEW, TableColumn, TableDefinition};
use crate::syntax::Name;

use super::{Binder, Failed, Relation};

impl Binder<'_> {
    /// What keeps the rows of a view.
    pub(super) fn materialized(
        &mut self,
        name: &Name,
        relation: &Relation,
        span: Span,
    ) -> Result<NodeId, Failed> {
        for (index, column) in relation.columns.iter().enumerate() {
            let before = &relation.columns[..index];
            let (message, help) = if before.iter().any(|known| known.name == column.name) {
                ("is there twice", "give one of the two another name: AS …")
            } else if column.data_type == DataType::Null {
                ("has no type", "cast it: CAST(NULL AS STRING)")
            } else {
                continue;
            };
            let message = format!("the column `{}` {message}", column.external());
            return self.fail(
                Diagnostic::error(codes::VIEW_COLUMN, message)
                    .at(name.span, "a materialized view keeps its columns by name")
                    .help(help),
            );
        }
        let columns = relation.columns.iter().map(|column| TableColumn {
            column: column.clone(),
            origin: ColumnOrigin::Physical,
        });
        let definition = TableDefinition {
            name: name.value.clone(),
            columns: columns.collect(),
            watermark: None,
            primary_key: Vec::new(),
            partitioned_by: Vec::new(),
            options: BTreeMap::from([("connector".to_owned(), MATERIALIZED_VIEW.to_owned())]),
            option_spans: BTreeMap::new(),
            span: name.span,
        };
        self.tables.insert(name.value.clone(), definition);
        self.written.insert(name.value.clone());
        let path = Path::global(&name.value);
        let id = Some(self.names.take(&path, "view").id);
        let properties = self.properties(relation.node).clone();
        Ok(self.add(Node {
            kind: NodeKind::Sink {
                table: name.value.clone(),
            },
            inputs: vec![relation.node],
            columns: relation.columns.clone(),
            properties,
            path,
            id,
            shared: true,
            span,
        }))
    }

    /// A materialized view gets its rows from its query alone.
    pub(super) fn refuse_insert_into_view<T>(&mut self, target: &Name) -> Result<T, Failed> {
        self.fail(
            Diagnostic::error(
                codes::UNKNOWN_TABLE,
                format!("`{}` is a view", target.spelling),
            )
            .at(target.span, "nothing can be written to it")
            .help("INSERT INTO a table"),
        )
    }
}
