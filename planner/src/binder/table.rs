//! CREATE TABLE: the definition, with its computed columns and its watermark bound.
//!
//! A computed column may use physical and metadata columns, wherever they stand, and computed columns before it.

use std::collections::BTreeMap;

use weir_types::{Column, DataType, Diagnostic, Schema, Severity, Span, TimeUnit};

use crate::TableRole;
use crate::codes;
use crate::convert::{CastKind, cast_to};
use crate::logical::{Node, NodeKind, Properties};
use crate::names::Path;
use crate::plan::{
    Changelog, ColumnOrigin, Expr, TableColumn, TableDefinition, WatermarkDefinition,
};
use crate::syntax::{ColumnDefinition, ColumnKind, CreateTable, Name, span_of};

use super::expr::{Aggregates, ExprBinder, with_article};
use super::scope::Scope;
use super::{Binder, Failed, Relation};

impl Binder<'_> {
    /// Binds CREATE TABLE.
    pub(crate) fn create_table(&mut self, table: &CreateTable) -> Result<(), Failed> {
        let declared = self.declare(&table.name);
        let options: BTreeMap<String, String> = table
            .options
            .iter()
            .map(|option| (option.key.clone(), option.value.clone()))
            .collect();
        let columns = self.table_columns(table, &options);
        declared?;
        let mut definition = TableDefinition {
            name: table.name.value.clone(),
            columns: columns?,
            watermark: None,
            primary_key: Vec::new(),
            partitioned_by: Vec::new(),
            options,
            option_spans: table
                .options
                .iter()
                .map(|option| (option.key.clone(), option.span))
                .collect(),
            span: table.name.span,
        };
        definition.watermark = self.watermark(table, &definition)?;
        definition.primary_key = self.column_list(&table.primary_key, &definition)?;
        definition.partitioned_by = self.column_list(&table.partitioned_by, &definition)?;
        self.tables.insert(definition.name.clone(), definition);
        Ok(())
    }

    fn table_columns(
        &mut self,
        table: &CreateTable,
        options: &BTreeMap<String, String>,
    ) -> Result<Vec<TableColumn>, Failed> {
        // First what is given, so that computed columns can use it wherever it stands.
        let mut columns: Vec<Option<TableColumn>> = Vec::with_capacity(table.columns.len());
        let mut failed = false;
        for definition in &table.columns {
            let column = match &definition.kind {
                ColumnKind::Physical(data_type) => Some(table_column(
                    definition,
                    data_type.clone(),
                    ColumnOrigin::Physical,
                )),
                ColumnKind::Metadata { data_type, key } => {
                    failed |= self
                        .check_metadata(definition, data_type, key, options)
                        .is_err();
                    Some(table_column(
                        definition,
                        data_type.clone(),
                        ColumnOrigin::Metadata(key.clone()),
                    ))
                }
                ColumnKind::Computed(_) => None,
            };
            columns.push(column);
        }
        for (index, definition) in table.columns.iter().enumerate() {
            let ColumnKind::Computed(expr) = &definition.kind else {
                continue;
            };
            // Column numbers are the table's: the scope has a hole where a column is not known yet.
            let known: Vec<usize> = (0..columns.len())
                .filter(|&i| columns[i].is_some())
                .collect();
            let schema: Schema = known
                .iter()
                .filter_map(|&i| columns[i].as_ref())
                .map(|c| c.column.clone())
                .collect();
            let scope = Scope::of_relation(Some(table.name.value.clone()), &schema);
            let aggregates = Aggregates::NotIn("a computed column");
            match ExprBinder::new(&scope, aggregates, &mut self.diagnostics).bind(expr) {
                Ok(bound) => {
                    let bound = bound.renumbered(&|column| known[column]);
                    failed |= self.check_computed(&bound, options).is_err();
                    let data_type = bound.data_type.clone();
                    columns[index] = Some(table_column(
                        definition,
                        data_type,
                        ColumnOrigin::Computed(bound),
                    ));
                }
                Err(Failed) => failed = true,
            }
        }
        if failed {
            Err(Failed)
        } else {
            columns.into_iter().collect::<Option<_>>().ok_or(Failed)
        }
    }

    fn check_metadata(
        &mut self,
        definition: &ColumnDefinition,
        data_type: &DataType,
        key: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<(), Failed> {
        match self.catalog.metadata_type(options, key) {
            Some(given) if given == *data_type => Ok(()),
            Some(given) => self.fail(
                Diagnostic::error(codes::BAD_TABLE, format!("the metadata `{key}` is {}", with_article(&given)))
                    .at(definition.span, format!("declared as {data_type}"))
                    .help(format!("write {} {given} METADATA FROM '{key}'", definition.name.spelling)),
            ),
            None => self.fail(
                Diagnostic::error(codes::BAD_TABLE, format!("this connector has no metadata `{key}`"))
                    .at(definition.span, "not a metadata key")
                    .help("METADATA FROM 'key' names one of the connector's keys; its page in docs/connectors lists them"),
            ),
        }
    }

    /// The clock in rows that can be taken back would give two different rows.
    fn check_computed(
        &mut self,
        expr: &Expr,
        options: &BTreeMap<String, String>,
    ) -> Result<(), Failed> {
        if expr.is_volatile() && self.catalog.source_traits(options).retractions {
            return self.fail(
                Diagnostic::error(
                    codes::VOLATILE_RETRACTIONS,
                    "a retraction has to equal the row that it takes back",
                )
                .at(expr.span, "this gives another value each time")
                .help("leave the column out, or read a format without retractions"),
            );
        }
        Ok(())
    }

    fn watermark(
        &mut self,
        table: &CreateTable,
        definition: &TableDefinition,
    ) -> Result<Option<WatermarkDefinition>, Failed> {
        let Some((name, expr, span)) = &table.watermark else {
            return Ok(None);
        };
        let column = self.column_list(std::slice::from_ref(name), definition)?[0];
        let time_type = definition.columns[column].column.data_type.clone();
        let fine = !matches!(
            time_type,
            DataType::Timestamp(TimeUnit::Nano) | DataType::TimestampLtz(TimeUnit::Nano)
        );
        if !time_type.is_timestamp() || !fine {
            return self.fail(
                Diagnostic::error(codes::BAD_TABLE, format!("`{}` cannot carry event time", name.spelling))
                    .at(name.span, format!("it is {}", with_article(&time_type)))
                    .help(format!(
                        "use a TIMESTAMP(0) to TIMESTAMP(6), e.g. a computed column: event_time AS CAST({} AS TIMESTAMP(3))",
                        name.spelling
                    )),
            );
        }
        let scope = table_scope(definition);
        let aggregates = Aggregates::NotIn("a watermark");
        let bound = ExprBinder::new(&scope, aggregates, &mut self.diagnostics).bind(expr)?;
        if !bound.data_type.is_timestamp() {
            return self.fail(
                Diagnostic::error(codes::BAD_TABLE, "a watermark is a timestamp")
                    .at(
                        span_of(expr),
                        format!("this is {}", with_article(&bound.data_type)),
                    )
                    .help(format!(
                        "write WATERMARK FOR {0} AS {0} - INTERVAL '5' SECOND",
                        name.spelling
                    )),
            );
        }
        if let Some((_, place)) = bound
            .is_volatile()
            .then(|| bound.volatile_call().unwrap_or(("now", bound.span)))
        {
            return self.fail(
                Diagnostic::error(codes::BAD_TABLE, "a watermark comes from the data alone")
                    .at(place, "this gives another value each time")
                    .help(format!(
                        "write WATERMARK FOR {0} AS {0} - INTERVAL '5' SECOND",
                        name.spelling
                    )),
            );
        }
        // At most microseconds: that is what watermarks are counted in.
        let bound = match bound.data_type {
            DataType::Timestamp(TimeUnit::Nano) => cast_to(
                bound,
                DataType::Timestamp(TimeUnit::Micro),
                CastKind::Fails,
                *span,
            ),
            DataType::TimestampLtz(TimeUnit::Nano) => cast_to(
                bound,
                DataType::TimestampLtz(TimeUnit::Micro),
                CastKind::Fails,
                *span,
            ),
            _ => bound,
        };
        Ok(Some(WatermarkDefinition {
            column,
            expr: bound,
            span: *span,
        }))
    }

    pub(super) fn column_list(
        &mut self,
        names: &[Name],
        table: &TableDefinition,
    ) -> Result<Vec<usize>, Failed> {
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            match table
                .columns
                .iter()
                .position(|column| column.column.name == name.value)
            {
                Some(index) => columns.push(index),
                None => {
                    let known = table
                        .columns
                        .iter()
                        .map(|column| column.column.name.as_str());
                    let near = super::nearest(&name.value, known).map(str::to_owned);
                    let diagnostic = Diagnostic::error(
                        codes::UNKNOWN_COLUMN,
                        format!("no column `{}`", name.spelling),
                    )
                    .at(name.span, format!("`{}` has no such column", table.name))
                    .nearest(near);
                    return self.fail(diagnostic);
                }
            }
        }
        Ok(columns)
    }

    /// The relation of a table that is read: one node, however often.
    pub(crate) fn scan(&mut self, name: &str) -> Result<Relation, Failed> {
        if let Some(&node) = self.scans.get(name) {
            let node = node?;
            return Ok(Relation {
                node,
                columns: self.graph.nodes[node].columns.clone(),
            });
        }
        let table = self.tables.get(name).cloned().ok_or(Failed)?;
        let checked = self.check_options(&table, TableRole::Source);
        self.scans.insert(name.to_owned(), checked.map(|()| 0));
        checked?;
        let traits = self.catalog.source_traits(&table.options);
        let changelog = if traits.retractions {
            Changelog::Retractions
        } else {
            Changelog::AppendOnly
        };
        let columns: Schema = table
            .columns
            .iter()
            .map(|column| column.column.clone())
            .collect();
        let properties = Properties {
            unique_key: (!table.primary_key.is_empty()).then(|| table.primary_key.clone()),
            event_time: table.watermark.as_ref().map(|watermark| watermark.column),
            ..Properties::of(changelog)
        };
        let path = Path::global(name);
        let id = Some(self.names.take(&path, "source").id);
        let kind = NodeKind::Scan {
            table: name.to_owned(),
        };
        let span = table.span;
        let node = self.add(Node {
            kind,
            inputs: Vec::new(),
            columns: columns.clone(),
            properties,
            path,
            id,
            shared: false,
            span,
        });
        self.scans.insert(name.to_owned(), Ok(node));
        Ok(Relation { node, columns })
    }

    /// The tables that take what a read table rejects (`'on.error' = 'dead-letter:TABLE'`) have to be there. They may be
    /// declared anywhere in the text.
    pub(crate) fn check_dead_letters(&mut self) {
        let read = self.scans.keys().filter_map(|name| self.tables.get(name));
        let mut targets: Vec<(String, Span)> = Vec::new();
        for (key, target) in crate::settings::tables_beside(&self.settings) {
            let span = self.setting_spans.get(key).copied().unwrap_or_default();
            targets.push((target.to_owned(), span));
        }
        for table in read {
            for (key, target) in dead_letters(table) {
                let span = table.option_spans.get(key).copied().unwrap_or(table.span);
                targets.push((target.to_owned(), span));
            }
        }
        for (target, span) in targets {
            if let Some(table) = self.tables.get(&target).cloned() {
                if self.written.insert(target) {
                    // What is wrong with it has been reported.
                    let _reported = self.check_options(&table, TableRole::Sink);
                }
            } else if !self.declared.contains_key(&target) {
                let near = super::nearest(&target, self.tables.keys().map(String::as_str))
                    .map(str::to_owned);
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::UNKNOWN_TABLE,
                        format!("no table `{target}` for rows that are left out"),
                    )
                    .at(span, "this table is not declared")
                    .nearest(near)
                    .help(format!(
                        "CREATE TABLE {target} (reason STRING, record STRING) WITH (…); for late rows and rows that fail \
                         (operator STRING, reason STRING, event_time TIMESTAMP(3), row STRING)"
                    )),
                );
            }
        }
    }

    /// A table that is neither read nor written is checked all the same: its options have to fit one of the two.
    pub(crate) fn check_unused_tables(&mut self) {
        for (name, table) in &self.tables {
            if self.scans.contains_key(name) || self.written.contains(name) {
                continue;
            }
            let errors = |role| -> Vec<Diagnostic> {
                let problems = self.catalog.check_table(table, role);
                problems
                    .into_iter()
                    .filter(|problem| problem.severity == Severity::Error)
                    .collect()
            };
            let (source, sink) = (errors(TableRole::Source), errors(TableRole::Sink));
            if !source.is_empty() && !sink.is_empty() {
                // The role with fewer problems is the likelier one.
                let likelier = if sink.len() < source.len() {
                    sink
                } else {
                    source
                };
                self.diagnostics.extend(likelier);
            }
        }
    }

    /// Asks the connector what it thinks of a table's options.
    pub(crate) fn check_options(
        &mut self,
        table: &TableDefinition,
        role: TableRole,
    ) -> Result<(), Failed> {
        let problems = self.catalog.check_table(table, role);
        let failed = problems
            .iter()
            .any(|problem| problem.severity == Severity::Error);
        self.diagnostics.extend(problems);
        if failed { Err(Failed) } else { Ok(()) }
    }
}

/// The options of a table that name another one for what is rejected: key and table.
pub(crate) fn dead_letters(table: &TableDefinition) -> impl Iterator<Item = (&str, &str)> {
    let options = table.options.iter();
    options.filter_map(|(key, value)| Some((key.as_str(), value.strip_prefix("dead-letter:")?)))
}

/// The scope of a table's own expressions: column numbers are the table's.
fn table_scope(table: &TableDefinition) -> Scope {
    let columns: Schema = table
        .columns
        .iter()
        .map(|column| column.column.clone())
        .collect();
    Scope::of_relation(Some(table.name.clone()), &columns)
}

fn table_column(
    definition: &ColumnDefinition,
    data_type: DataType,
    origin: ColumnOrigin,
) -> TableColumn {
    TableColumn {
        column: named_column(&definition.name, data_type, !definition.not_null),
        origin,
    }
}

/// A column under a name as the user wrote it.
pub(crate) fn named_column(name: &Name, data_type: DataType, nullable: bool) -> Column {
    let external_name = (name.spelling != name.value).then(|| name.spelling.clone());
    Column {
        name: name.value.clone(),
        data_type,
        nullable,
        external_name,
    }
}

/// Where the definition of a table stands, for messages.
pub(crate) fn definition_span(tables: &BTreeMap<String, TableDefinition>, name: &str) -> Span {
    tables.get(name).map(|table| table.span).unwrap_or_default()
}
