//! Tables that the program declares: channels, rows, sources and sinks of its own.

use std::sync::Arc;

use weir_types::Column;

use super::{
    ChannelReceiver, ChannelSender, ProgramSink, ProgramSource, Session, channel, program,
    table_rows,
};
use crate::Result;
use crate::declaration::{declaration_with, name_text};

/// What a table of the program looks like to SQL.
#[derive(Clone, Debug, Default)]
pub struct TableSpec {
    columns: Vec<Column>,
    watermark: Option<(String, String)>,
    primary_key: Vec<String>,
    retractions: bool,
}

impl TableSpec {
    /// A table of these columns.
    pub fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            ..Self::default()
        }
    }

    /// With event time: `watermark("at", "at - INTERVAL '5' SECOND")`.
    #[must_use]
    pub fn watermark(mut self, column: &str, expression: &str) -> Self {
        self.watermark = Some((column.to_owned(), expression.to_owned()));
        self
    }

    /// With a primary key: what it is written by.
    #[must_use]
    pub fn primary_key(mut self, columns: &[&str]) -> Self {
        self.primary_key = columns.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Its rows may be taken back: [`ChannelSender::send_changes`].
    #[must_use]
    pub fn with_retractions(mut self) -> Self {
        self.retractions = true;
        self
    }

    fn declaration(&self, name: &str) -> String {
        let options = [
            ("connector".to_owned(), program::CONNECTOR.to_owned()),
            (program::NAME.to_owned(), name.to_owned()),
        ];
        let mut clauses = Vec::new();
        if let Some((column, expression)) = &self.watermark {
            clauses.push(format!(
                "WATERMARK FOR {} AS {expression}",
                name_text(column)
            ));
        }
        if !self.primary_key.is_empty() {
            let names = self.primary_key.iter().map(|name| name_text(name));
            let names: Vec<String> = names.collect();
            clauses.push(format!("PRIMARY KEY ({}) NOT ENFORCED", names.join(", ")));
        }
        declaration_with(name, &self.columns, &clauses, &options)
    }
}

impl Session {
    /// Declares a table whose rows the program sends.
    ///
    /// # Errors
    /// If there is a table of that name, or the declaration has a mistake.
    pub fn channel(&mut self, name: &str, spec: TableSpec) -> Result<ChannelSender> {
        let (sender, table) = channel::channel_table(&spec.columns, spec.retractions);
        self.declare_source(name, &spec, table)?;
        Ok(sender)
    }

    /// Declares a table into which queries write and from which the program reads.
    ///
    /// # Errors
    /// As [`Session::channel`].
    pub fn channel_out(&mut self, name: &str, spec: TableSpec) -> Result<ChannelReceiver> {
        let (receiver, out) = channel::channel_out();
        self.declare_sink(name, &spec, out)?;
        Ok(receiver)
    }

    /// Declares a bounded table of these rows, which any number of queries can read.
    ///
    /// # Errors
    /// As [`Session::channel`].
    pub fn rows(
        &mut self,
        name: &str,
        spec: &TableSpec,
        rows: Vec<arrow::array::RecordBatch>,
    ) -> Result<()> {
        self.declare_source(name, spec, Arc::new(table_rows::RowsTable::new(rows)))
    }

    /// Declares a table that a source of the program reads.
    ///
    /// # Errors
    /// As [`Session::channel`].
    pub fn declare_source(
        &mut self,
        name: &str,
        spec: &TableSpec,
        source: Arc<dyn ProgramSource>,
    ) -> Result<()> {
        self.program.add_source(name, source);
        self.declare_program(name, spec)
    }

    /// Declares a table that a sink of the program writes.
    ///
    /// # Errors
    /// As [`Session::channel`].
    pub fn declare_sink(
        &mut self,
        name: &str,
        spec: &TableSpec,
        sink: Arc<dyn ProgramSink>,
    ) -> Result<()> {
        self.program.add_sink(name, sink);
        self.declare_program(name, spec)
    }

    fn declare_program(&mut self, name: &str, spec: &TableSpec) -> Result<()> {
        let ddl = spec.declaration(name);
        let declared = self
            .script(&ddl, 0..ddl.len())
            .and_then(|script| self.plan_script(&script));
        if let Err(error) = declared {
            self.program.remove(name);
            return Err(error);
        }
        self.declarations.push(ddl);
        Ok(())
    }
}
