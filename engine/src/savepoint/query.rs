//! SQL over state: the tables of a savepoint or a checkpoint as bounded sources of an ephemeral job.
//!
//! ```text
//!   SELECT … FROM "by_city/aggregate"."groups"
//!        │ names of tables ─▶ one name each, and a CREATE TABLE in front
//!        ▼
//!   planner ─▶ job: source (a key group a chunk) ─▶ the same operators as any query ─▶ printed
//! ```
//!
//! # Invariants
//! 1. What is read is one cut: that of the savepoint or the checkpoint.
//! 2. Nothing is written: the job has no folder, and a statement other than a query is refused.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use weir_connectors::{
    Chunk, Deal, Dealer, Decoded, DecodedBatch, Decoder, Payload, Position, Source, SplitListing,
    TableRequest,
};
use weir_planner::plan::{OperatorKind, TableDefinition};
use weir_planner::{Catalog, Planned, SourceTraits, TableRole};
use weir_state::{StateReader, StateTableInfo};
use weir_types::{Column, DataType, Diagnostic, Diagnostics, KeyGroupRange, SplitId};

use crate::declaration::{quoted, type_text, unquoted};
use crate::{ConnectorCatalog, Error, Result};

/// The connector of state tables. No user's table can have it: the connectors do not know it.
const CONNECTOR: &str = "weir-state";
const TABLE: &str = "table";

/// A query over state.
#[derive(Debug)]
pub struct StateQuery {
    /// What there is to read.
    pub tables: Arc<StateReader>,
}

impl StateQuery {
    /// A query over these tables.
    pub fn new(tables: StateReader) -> Self {
        Self {
            tables: Arc::new(tables),
        }
    }

    /// Plans a text. Places of diagnostics are those of the text.
    ///
    /// # Errors
    /// The planner's diagnostics; also if the text does more than to query.
    pub fn plan(&self, sql: &str) -> std::result::Result<Planned, Diagnostics> {
        let infos = self.tables.tables();
        let named: Vec<String> = infos.iter().map(name_of).collect();
        // Declarations stand in one line in front, so that places are one line off.
        let declarations: Vec<String> = infos
            .iter()
            .enumerate()
            .map(|(index, info)| declare(index, info))
            .collect();
        let text = format!("{}\n{}", declarations.join(" "), one_name_each(sql, &infos));
        let planned = weir_planner::plan(&text, &StateCatalog).map_err(|problems| {
            let problems = problems.0.into_iter();
            Diagnostics(problems.map(|problem| moved(problem, &named)).collect())
        })?;
        let queries = planned
            .plan
            .operators
            .iter()
            .any(|operator| matches!(operator.kind, OperatorKind::Sink { .. }));
        if queries || planned.plan.operators.is_empty() {
            return Err(Diagnostics(vec![
                Diagnostic::error("S0042", "state can be queried, and nothing else").help(
                    "write one SELECT; a table is called \"operator id\".\"table\", as `weir savepoint inspect` shows it",
                ),
            ]));
        }
        Ok(planned)
    }
}

/// The one name of a table within the query.
fn name_of(info: &StateTableInfo) -> String {
    format!("{}.{}", info.operator, info.table)
}

fn declare(index: usize, info: &StateTableInfo) -> String {
    let columns: Vec<String> = info
        .columns
        .iter()
        .map(|column| {
            format!(
                "{} {}",
                quoted(&column.name),
                type_text(&column.data_type, quoted)
            )
        })
        .collect();
    format!(
        "CREATE TABLE {} ({}) WITH ('connector' = '{CONNECTOR}', '{TABLE}' = '{index}');",
        quoted(&name_of(info)),
        columns.join(", ")
    )
}

/// The text with every `"operator"."table"` as one quoted name of the same length, so that places stay. An operator with
/// one table may be called by its ID alone.
fn one_name_each(sql: &str, infos: &[StateTableInfo]) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => quoted_length(rest, '\''),
            '"' => {
                let length = quoted_length(rest, '"');
                if let Some((name, used)) = table_at(rest, length, infos) {
                    let written = quoted(&name);
                    let characters = rest[..used].chars().count();
                    out.push_str(&written);
                    let missing = characters.saturating_sub(written.chars().count());
                    out.extend(std::iter::repeat_n(' ', missing));
                    rest = &rest[used..];
                    continue;
                }
                length
            }
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            other => other.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

/// Bytes of what begins with a quote, doubled quotes included.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            match characters.peek() {
                Some((_, next)) if *next == quote => {
                    characters.next();
                }
                _ => return at + 1,
            }
        }
    }
    text.len()
}

/// The table that the text begins with, and the bytes of its name; the first `length` bytes are a quoted name.
fn table_at(text: &str, length: usize, infos: &[StateTableInfo]) -> Option<(String, usize)> {
    let operator = unquoted(&text[..length]);
    let of_operator: Vec<&StateTableInfo> = infos
        .iter()
        .filter(|info| info.operator.as_str() == operator)
        .collect();
    if of_operator.is_empty() {
        return None;
    }
    let Some(after) = text[length..].strip_prefix('.') else {
        let [only] = of_operator.as_slice() else {
            return None;
        };
        return Some((name_of(only), length));
    };
    let (table, used) = if after.starts_with('"') {
        let used = quoted_length(after, '"');
        (unquoted(&after[..used]), used)
    } else {
        let end = after.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        let used = end.unwrap_or(after.len());
        (after[..used].to_lowercase(), used)
    };
    let found = of_operator.iter().find(|info| info.table == table)?;
    Some((name_of(found), length + 1 + used))
}

/// A diagnostic of the text behind the declarations.
fn moved(mut problem: Diagnostic, tables: &[String]) -> Diagnostic {
    for label in &mut problem.labels {
        for place in [&mut label.span.start, &mut label.span.end] {
            place.line = place.line.saturating_sub(1);
        }
    }
    if problem.code == "P1001" || problem.code == "P0008" {
        let known: Vec<String> = tables
            .iter()
            .map(|name| match name.rsplit_once('.') {
                Some((operator, table)) => format!("{}.{}", quoted(operator), quoted(table)),
                None => quoted(name),
            })
            .collect();
        problem = problem.help(format!("the state tables are {}", known.join(", ")));
    }
    problem
}

/// Knows the state tables' connector beside the others'.
struct StateCatalog;

impl Catalog for StateCatalog {
    fn check_table(&self, table: &TableDefinition, role: TableRole) -> Vec<Diagnostic> {
        if table
            .options
            .get("connector")
            .is_some_and(|name| name == CONNECTOR)
        {
            return Vec::new();
        }
        ConnectorCatalog.check_table(table, role)
    }

    fn source_traits(&self, options: &BTreeMap<String, String>) -> SourceTraits {
        if options
            .get("connector")
            .is_some_and(|name| name == CONNECTOR)
        {
            return SourceTraits {
                bounded: true,
                retractions: false,
            };
        }
        ConnectorCatalog.source_traits(options)
    }

    fn metadata_type(&self, options: &BTreeMap<String, String>, key: &str) -> Option<DataType> {
        ConnectorCatalog.metadata_type(options, key)
    }
}

/// Whether a table is one of state.
pub(crate) fn is_state_table(request: &TableRequest) -> bool {
    request
        .options
        .get("connector")
        .is_some_and(|name| name == CONNECTOR)
}

/// The source of a state table.
pub(crate) fn state_source(
    tables: &Arc<StateReader>,
    request: &TableRequest,
) -> Result<Box<dyn Source>> {
    let index: Option<usize> = request
        .options
        .get(TABLE)
        .and_then(|text| text.parse().ok());
    let infos = tables.tables();
    let info = index.and_then(|index| infos.get(index).map(|info| (index, info)));
    let (index, info) =
        info.ok_or_else(|| Error::Job(format!("`{}` names no state table", request.table)))?;
    let places = request
        .columns
        .iter()
        .map(|column| {
            info.columns
                .iter()
                .position(|saved| saved.name == column.name)
        })
        .collect::<Option<Vec<usize>>>()
        .ok_or_else(|| Error::Job(format!("`{}` has other columns", request.table)))?;
    Ok(Box::new(StateSource {
        tables: tables.clone(),
        table: index,
        name: request.table.clone(),
        places,
        columns: request.columns.clone(),
    }))
}

/// A state table as a source: one split, a chunk a key group.
struct StateSource {
    tables: Arc<StateReader>,
    table: usize,
    name: String,
    /// Of each column asked for, its place in the table.
    places: Vec<usize>,
    columns: Vec<Column>,
}

impl StateSource {
    fn failed(&self, error: &weir_state::Error) -> weir_connectors::Error {
        weir_connectors::Error::Io {
            context: format!("reading the state table {}", self.name),
            source: std::io::Error::other(error.to_string()),
        }
    }
}

impl Source for StateSource {
    fn splits(
        &self,
        _restored: &BTreeMap<SplitId, Position>,
    ) -> weir_connectors::Result<SplitListing> {
        Ok(SplitListing::one(self.name.clone()))
    }

    fn dealer(
        &self,
        _split: &SplitId,
        _position: Option<&Position>,
    ) -> weir_connectors::Result<Box<dyn Dealer>> {
        let rows = self
            .tables
            .rows_by_group(self.table)
            .map_err(|error| self.failed(&error))?;
        Ok(Box::new(StateDealer {
            name: self.name.as_str().into(),
            rows,
            group: 0,
            skipped: 0,
            done: 0,
        }))
    }

    fn decoder(&self) -> weir_connectors::Result<Box<dyn Decoder>> {
        Ok(Box::new(StateDecoder {
            source: Self {
                tables: self.tables.clone(),
                table: self.table,
                name: self.name.clone(),
                places: self.places.clone(),
                columns: self.columns.clone(),
            },
        }))
    }

    fn bounded(&self) -> bool {
        true
    }
}

struct StateDealer {
    name: Arc<str>,
    rows: Vec<u64>,
    /// The next key group.
    group: usize,
    /// Rows of it that were dealt.
    skipped: u64,
    done: u64,
}

impl Dealer for StateDealer {
    fn deal(&mut self, _max_bytes: usize, max_records: u64) -> weir_connectors::Result<Deal> {
        while self
            .rows
            .get(self.group)
            .is_some_and(|&rows| rows == self.skipped)
        {
            self.group += 1;
            self.skipped = 0;
        }
        let Some(&rows) = self.rows.get(self.group) else {
            return Ok(Deal::End);
        };
        let from = self.skipped;
        let records = (rows - from).min(max_records.max(1));
        self.skipped += records;
        self.done += records;
        Ok(Deal::Chunk(Chunk {
            payload: Payload::Rows(from..from + records),
            records,
            origin: self.name.clone(),
            // The key group: the decoder reads that alone.
            offset: self.group as u64,
            line: 1,
            header: None,
        }))
    }

    fn position(&self) -> Position {
        serde_json::json!({"group": self.group, "rows": self.skipped})
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (self.done, Some(self.rows.iter().sum()))
    }
}

struct StateDecoder {
    source: StateSource,
}

impl Decoder for StateDecoder {
    fn decode(&mut self, chunk: &Chunk) -> weir_connectors::Result<Decoded> {
        let Payload::Rows(wanted) = &chunk.payload else {
            return Ok(Decoded::default());
        };
        let group = chunk.offset as u16;
        let range = KeyGroupRange {
            start: group,
            end: group + 1,
        };
        let (source, mut at, mut batches) = (&self.source, 0u64, Vec::new());
        let scanned = source.tables.scan(source.table, Some(range), &mut |batch| {
            let rows = batch.num_rows() as u64;
            let from = wanted.start.max(at) - at;
            let to = wanted.end.min(at + rows).saturating_sub(at);
            if from < to {
                batches.push(batch.slice(from as usize, (to - from) as usize));
            }
            at += rows;
            Ok(if at >= wanted.end {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        });
        scanned.map_err(|error| source.failed(&error))?;
        let decoded = batches
            .into_iter()
            .map(|batch| self.select(&batch, chunk.offset))
            .collect::<weir_connectors::Result<_>>()?;
        Ok(Decoded {
            batches: decoded,
            rejected: Vec::new(),
        })
    }
}

impl StateDecoder {
    /// The columns asked for, with the types that the query knows.
    fn select(&self, batch: &RecordBatch, offset: u64) -> weir_connectors::Result<DecodedBatch> {
        let failed = |error: arrow::error::ArrowError| weir_connectors::Error::Io {
            context: format!("reading the state table {}", self.source.name),
            source: std::io::Error::other(error.to_string()),
        };
        let columns: Vec<ArrayRef> = self
            .source
            .places
            .iter()
            .zip(&self.source.columns)
            .map(|(&place, column)| {
                arrow::compute::cast(batch.column(place), &column.data_type.to_arrow())
            })
            .collect::<std::result::Result<_, _>>()
            .map_err(failed)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = DataType::arrow_schema(&self.source.columns);
        Ok(DecodedBatch {
            rows: RecordBatch::try_new_with_options(schema, columns, &options).map_err(failed)?,
            retracted: None,
            offsets: vec![offset; batch.num_rows()],
        })
    }
}

#[cfg(test)]
mod tests {
    use weir_types::OperatorId;

    use super::*;

    fn info(operator: &str, table: &str) -> StateTableInfo {
        StateTableInfo {
            operator: OperatorId::new(operator),
            table: table.to_owned(),
            columns: Vec::new(),
        }
    }

    #[test]
    fn names_of_tables_become_one_of_the_same_length() {
        let infos = [
            info("a/aggregate", "groups"),
            info("a/join", "left"),
            info("a/join", "right"),
            info("a/rank", "values(x)"),
        ];
        let given = "SELECT '\"a/join\".left' FROM \"a/join\".\"left\" JOIN \"a/join\".Right ON 1 -- \"a/join\".left\n\
                     , \"a/aggregate\", \"a/rank\".\"values(x)\", \"other\".\"left\", \"a/join\"";
        let rewritten = one_name_each(given, &infos);
        assert_eq!(
            rewritten,
            "SELECT '\"a/join\".left' FROM \"a/join.left\"   JOIN \"a/join.right\" ON 1 -- \"a/join\".left\n\
             , \"a/aggregate.groups\", \"a/rank.values(x)\"  , \"other\".\"left\", \"a/join\""
        );
    }

    #[test]
    fn unfinished_texts_end_where_they_end() {
        for text in [
            "\"",
            "'",
            "'a''",
            "/*",
            "--",
            "\"a/join\".",
            "\"a/join\".\"",
        ] {
            assert_eq!(one_name_each(text, &[info("b", "t")]).trim_end(), text);
            one_name_each(text, &[info("a/join", "t"), info("a/join", "u")]);
        }
    }
}
