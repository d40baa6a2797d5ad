//! Statements about what the text declares, and CREATE TABLE … AS.
//!
//! All statements of a text are one job: what DROP forgets is a name, and only of something that nobody has used. What
//! SHOW and DESCRIBE answer is text, like EXPLAIN's.

use std::collections::BTreeMap;
use std::fmt::Write;

use sqlparser::ast;
use weir_types::{DataType, Diagnostic};

use crate::TableRole;
use crate::canonical;
use crate::codes;
use crate::library::Library;
use crate::logical::NodeId;
use crate::names::{Path, quoted};
use crate::plan::{ColumnOrigin, TableColumn, TableDefinition};
use crate::syntax::{CreateTable, Name, ObjectKind, Show, span_of};

use super::{Binder, Failed};

impl Binder<'_> {
    /// CREATE TABLE … AS: the columns are the query's, and its rows are written.
    pub(super) fn create_table_as(
        &mut self,
        table: &CreateTable,
        query: &ast::Query,
    ) -> Result<NodeId, Failed> {
        let path = Path::global(&table.name.value);
        let nodes_before = self.graph.nodes.len();
        // The query is bound first: it cannot read the table that it fills.
        let relation = self.root_query(query, &path);
        self.declare(&table.name)?;
        let relation = relation?;
        let mut columns: Vec<TableColumn> = Vec::with_capacity(relation.columns.len());
        for column in &relation.columns {
            let again = columns.iter().any(|known| known.column.name == column.name);
            let problem = if again {
                Some(("is there twice", "the names of a table's columns differ"))
            } else if column.data_type == DataType::Null {
                Some(("has no type", "cast it: CAST(NULL AS STRING)"))
            } else {
                None
            };
            if let Some((message, help)) = problem {
                let message = format!("the column `{}` {message}", column.name);
                return self.fail(
                    Diagnostic::error(codes::TABLE_AS, message)
                        .at(
                            span_of(query),
                            "the columns of the table are those of this query",
                        )
                        .help(help),
                );
            }
            columns.push(TableColumn {
                column: column.clone(),
                origin: ColumnOrigin::Physical,
            });
        }
        let mut definition = TableDefinition {
            name: table.name.value.clone(),
            columns,
            watermark: None,
            primary_key: Vec::new(),
            partitioned_by: Vec::new(),
            options: table
                .options
                .iter()
                .map(|option| (option.key.clone(), option.value.clone()))
                .collect(),
            option_spans: table
                .options
                .iter()
                .map(|option| (option.key.clone(), option.span))
                .collect(),
            span: table.name.span,
        };
        definition.partitioned_by = self.column_list(&table.partitioned_by, &definition)?;
        self.tables
            .insert(definition.name.clone(), definition.clone());
        self.written.insert(definition.name.clone());
        self.check_options(&definition, TableRole::Sink)?;
        let targets: Vec<usize> = (0..definition.columns.len()).collect();
        let target = super::insert::Target {
            name: &table.name,
            table: &definition,
            columns: &targets,
            names: &[],
        };
        self.write(&relation, &target, query, &path, nodes_before, table.span)
    }

    // ------------------------------------------------------------------ DROP

    pub(super) fn drop_object(
        &mut self,
        kind: ObjectKind,
        name: &Name,
        if_exists: bool,
    ) -> Result<(), Failed> {
        let (there, word) = match kind {
            ObjectKind::Table => (self.tables.contains_key(&name.value), "table"),
            ObjectKind::View => (self.views.contains_key(&name.value), "view"),
            ObjectKind::Function => {
                let there = self.functions.remove(&name.value);
                if there || if_exists {
                    return Ok(());
                }
                (there, "function")
            }
        };
        if !there {
            // A declaration with mistakes has been reported.
            if if_exists || self.declared_with_mistakes(&name.value) {
                return Ok(());
            }
            let message = format!("there is no {word} `{}` to drop", name.spelling);
            return self.fail(
                Diagnostic::error(codes::UNKNOWN_TABLE, message)
                    .at(name.span, "not declared in this text")
                    .help(format!(
                        "nothing outlives a text; write DROP {} IF EXISTS to have it either way",
                        word.to_uppercase()
                    )),
            );
        }
        let is_view = kind == ObjectKind::View;
        let used = self.scans.contains_key(&name.value) || self.written.contains(&name.value);
        if used || is_view && self.view_is_read(&name.value) {
            let message = format!("`{}` is in use", name.spelling);
            return self.fail(
                Diagnostic::error(codes::DROP_IN_USE, message)
                    .at(name.span, "a statement before this one reads or writes it")
                    .help("all statements of a text are one job, which runs as a whole: remove the DROP, or put it into a text of its own"),
            );
        }
        self.tables.remove(&name.value);
        self.views.remove(&name.value);
        self.declared.remove(&name.value);
        if is_view {
            self.dropped_views.insert(name.value.clone());
        }
        Ok(())
    }

    fn declared_with_mistakes(&self, name: &str) -> bool {
        self.declared.contains_key(name)
            && !self.tables.contains_key(name)
            && !self.views.contains_key(name)
    }

    /// Whether a step stands on the view's node. (One that is its own node's name for another view's counts as well.)
    fn view_is_read(&self, name: &str) -> bool {
        match self.views.get(name) {
            Some(Ok(view)) => self
                .graph
                .nodes
                .iter()
                .any(|node| node.inputs.contains(&view.node)),
            _ => false,
        }
    }

    // ------------------------------------------------------------------ SHOW, DESCRIBE

    pub(super) fn show(&mut self, what: &Show) -> Result<String, Failed> {
        match what {
            Show::Tables => Ok(lines(
                self.tables
                    .iter()
                    .filter(|(name, table)| !name.contains('/') && !table.is_materialized_view())
                    .map(|(name, _)| name),
            )),
            Show::Views => {
                // Those of other texts are declared as tables.
                let materialized = self.materialized_views();
                let mut names: Vec<&String> = self.views.keys().chain(materialized).collect();
                names.sort_unstable();
                names.dedup();
                Ok(lines(names))
            }
            Show::MaterializedViews => Ok(lines(self.materialized_views())),
            Show::UserFunctions => Ok(lines(self.functions.names())),
            Show::Functions => {
                let mut names: Vec<&str> = Library::get().function_names().collect();
                names.extend(self.functions.names());
                names.sort_unstable();
                names.dedup();
                Ok(lines(names))
            }
            Show::Columns(name) => self.describe(name),
            Show::CreateTable(name) => match self.tables.get(&name.value) {
                Some(table) => Ok(create_statement(table)),
                None => self.unknown_table(name),
            },
        }
    }

    fn materialized_views(&self) -> impl Iterator<Item = &String> {
        let views = self.tables.iter();
        views.filter_map(|(name, table)| table.is_materialized_view().then_some(name))
    }

    /// The columns of a table or view: name, type, and what else is known of them.
    pub(super) fn describe(&mut self, name: &Name) -> Result<String, Failed> {
        if let Some(view) = self.views.get(&name.value) {
            let view = view.clone()?;
            let rows = view.columns.iter().map(|column| {
                [
                    column.external().to_owned(),
                    column.data_type.to_string(),
                    String::new(),
                ]
            });
            return Ok(aligned(rows.collect()));
        }
        let Some(table) = self.tables.get(&name.value) else {
            if self.declared_with_mistakes(&name.value) {
                return Err(Failed);
            }
            return self.unknown_table(name);
        };
        let rows = table.columns.iter().enumerate().map(|(index, column)| {
            let mut facts = Vec::new();
            if !column.column.nullable {
                facts.push("NOT NULL".to_owned());
            }
            match &column.origin {
                ColumnOrigin::Physical => {}
                ColumnOrigin::Metadata(key) => facts.push(format!("METADATA FROM '{key}'")),
                ColumnOrigin::Computed(expr) => {
                    facts.push(format!("AS {}", expression(table, expr)));
                }
            }
            if table.primary_key.contains(&index) {
                facts.push("primary key".to_owned());
            }
            if let Some(watermark) = &table.watermark
                && watermark.column == index
            {
                let watermark = expression(table, &watermark.expr);
                facts.push(format!("event time, watermark {watermark}"));
            }
            [
                column.column.external().to_owned(),
                column.column.data_type.to_string(),
                facts.join(", "),
            ]
        });
        Ok(aligned(rows.collect()))
    }
}

fn lines<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    names.into_iter().fold(String::new(), |mut text, name| {
        let _ = writeln!(text, "{}", name.as_ref());
        text
    })
}

/// Three columns of text under each other.
fn aligned(rows: Vec<[String; 3]>) -> String {
    let width = |place: usize| {
        rows.iter()
            .map(|row| row[place].chars().count())
            .max()
            .unwrap_or(0)
    };
    let (first, second) = (width(0), width(1));
    rows.iter()
        .fold(String::new(), |mut text, [name, data_type, facts]| {
            let line = format!("{name:first$}  {data_type:second$}  {facts}");
            let _ = writeln!(text, "{}", line.trim_end());
            text
        })
}

fn expression(table: &TableDefinition, expr: &crate::plan::Expr) -> String {
    canonical::text(expr, &|column| quoted(&table.columns[column].column.name))
}

/// The statement that declares the table, in one form whatever the text's was.
fn create_statement(table: &TableDefinition) -> String {
    let name_of = |index: &usize| quoted(&table.columns[*index].column.name);
    let names = |columns: &[usize]| columns.iter().map(name_of).collect::<Vec<_>>().join(", ");
    let mut parts: Vec<String> = table
        .columns
        .iter()
        .map(|TableColumn { column, origin }| {
            let name = quoted(column.external());
            let not_null = if column.nullable { "" } else { " NOT NULL" };
            match origin {
                ColumnOrigin::Physical => format!("{name} {}{not_null}", column.data_type),
                ColumnOrigin::Metadata(key) => {
                    format!(
                        "{name} {} METADATA FROM '{}'",
                        column.data_type,
                        doubled(key)
                    )
                }
                ColumnOrigin::Computed(expr) => format!("{name} AS {}", expression(table, expr)),
            }
        })
        .collect();
    if let Some(watermark) = &table.watermark {
        let expr = expression(table, &watermark.expr);
        parts.push(format!(
            "WATERMARK FOR {} AS {expr}",
            name_of(&watermark.column)
        ));
    }
    if !table.primary_key.is_empty() {
        parts.push(format!(
            "PRIMARY KEY ({}) NOT ENFORCED",
            names(&table.primary_key)
        ));
    }
    let mut text = format!(
        "CREATE TABLE {} (\n  {}\n)",
        quoted(&table.name),
        parts.join(",\n  ")
    );
    if !table.partitioned_by.is_empty() {
        let _ = write!(text, " PARTITIONED BY ({})", names(&table.partitioned_by));
    }
    let options: &BTreeMap<String, String> = &table.options;
    let options: Vec<String> = options
        .iter()
        .map(|(key, value)| format!("'{}' = '{}'", doubled(key), doubled(value)))
        .collect();
    if !options.is_empty() {
        let _ = write!(text, " WITH (\n  {}\n)", options.join(",\n  "));
    }
    text.push_str(";\n");
    text
}

/// The text within single quotes.
fn doubled(text: &str) -> String {
    text.replace('\'', "''")
}
