//! From text to statements: tokens, our dialect, our DDL beside sqlparser's queries.
//!
//! INTERFACE between the front end (this module) and the binder: the types below. Spans are of the *original* text.
#![allow(missing_docs, clippy::todo, unused_variables)]
use sqlparser::ast;
use weir_types::{DataType, Diagnostics, Span};

/// The statements of one text, in order.
pub struct Script {
    pub statements: Vec<Statement>,
}

/// A name as the user wrote it: folded (`value`) and as spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Folded to lower case unless quoted.
    pub value: String,
    /// Without quotes, in the user's case.
    pub spelling: String,
    pub span: Span,
}

pub enum Statement {
    CreateTable(CreateTable),
    CreateView { name: Name, columns: Vec<Name>, query: Box<ast::Query>, materialized: bool, span: Span },
    /// `columns` empty: all, in order. `hint`: `/*+ ID('n') */` after INSERT.
    Insert { target: Name, columns: Vec<Name>, query: Box<ast::Query>, hint: Option<Name>, span: Span },
    /// A bare SELECT.
    Select { query: Box<ast::Query>, span: Span },
    Set { key: String, value: String, key_span: Span, value_span: Span },
    Explain { statement: Box<Statement>, span: Span },
}

pub struct CreateTable {
    pub name: Name,
    pub columns: Vec<ColumnDefinition>,
    pub watermark: Option<(Name, ast::Expr, Span)>,
    pub primary_key: Vec<Name>,
    pub partitioned_by: Vec<Name>,
    /// Keys lower case.
    pub options: Vec<TableOption>,
    pub span: Span,
}
pub struct TableOption { pub key: String, pub value: String, pub span: Span }
pub struct ColumnDefinition { pub name: Name, pub kind: ColumnKind, pub not_null: bool, pub span: Span }
pub enum ColumnKind {
    Physical(DataType),
    /// `name TYPE METADATA [FROM 'key'] [VIRTUAL]`
    Metadata { data_type: DataType, key: String },
    /// `name AS expr`
    Computed(ast::Expr),
}

/// Parses a text. Every mistake that can be found is in the answer, not only the first.
///
/// Guarantees to the binder: window table functions are in the short form (`TUMBLE(rel, col, INTERVAL …)`, `rel` a name or a
/// parenthesized query), whatever spelling the text had; nothing that the binder or datafusion-sql would silently ignore
/// is left in a query (`walker.rs`); hints are taken out of the AST and found by [`hint_of_select`].
pub fn parse(sql: &str) -> Result<Script, Diagnostics> { todo!() }

/// The local name that `/*+ ID('n') */` gives to this SELECT block.
pub fn hint_of_select(select: &ast::Select) -> Option<Name> { todo!() }

/// The span of an AST node in the original text (sqlparser's `Spanned`).
pub fn span_of(node: &impl ast::Spanned) -> Span { todo!() }
