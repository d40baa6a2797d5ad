//! What is asked of a connector: a table with its options, in one role.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use weir_types::{Column, Span};

/// A table as the engine asks for it.
#[derive(Clone, Debug, Default)]
pub struct TableRequest {
    /// The table's name.
    pub table: String,
    /// `WITH` options, keys in lower case.
    pub options: BTreeMap<String, String>,
    /// Where each option stands in the SQL.
    pub option_spans: BTreeMap<String, Span>,
    /// For a source: the physical columns to decode, in output order. For a sink: all columns.
    pub columns: Vec<Column>,
    /// For a source: *all* physical columns of the DDL in order (CSV without a header needs the positions).
    pub declared: Vec<Column>,
    /// For a source: fields of ROW columns that nobody reads, as (index into `columns`, index of the field). They may be
    /// given as NULL; only fields that can be NULL are named.
    pub unread_fields: Vec<(usize, usize)>,
    /// For a source: metadata columns to append after `columns`, as (key, column).
    pub metadata: Vec<(String, Column)>,
    /// For a sink: whether its input carries retractions.
    pub retractions: bool,
    /// For a sink: its unique key (indices into `columns`).
    pub unique_key: Option<Vec<usize>>,
    /// For a sink: the columns of PARTITIONED BY (indices into `columns`).
    pub partitioned_by: Vec<usize>,
    /// Folder that relative paths start from.
    pub base: PathBuf,
    /// The `CREATE TABLE` statement.
    pub table_span: Span,
}

impl TableRequest {
    /// The place of an option in the SQL; the statement's if the option is not written there.
    pub(crate) fn option_span(&self, key: &str) -> Span {
        self.option_spans
            .get(key)
            .copied()
            .unwrap_or(self.table_span)
    }
}

/// How a table is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is read.
    Source,
    /// It is written.
    Sink,
}

/// What reading a table gives, known from its options alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTraits {
    /// The input ends.
    pub bounded: bool,
    /// Rows may be taken back (a changelog format).
    pub retractions: bool,
}

/// What to do with malformed records. The connector leaves them out; the engine acts on dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The job stops.
    Fail,
    /// The record is left out and counted.
    Skip,
    /// The record goes to this table.
    DeadLetter(String),
}

impl OnError {
    /// Reads the value of `'on.error'`; `None` if it has no such form.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "fail" => Some(Self::Fail),
            "skip" => Some(Self::Skip),
            _ => {
                let table = text.strip_prefix("dead-letter:")?.trim();
                (!table.is_empty()).then(|| Self::DeadLetter(table.to_owned()))
            }
        }
    }
}
