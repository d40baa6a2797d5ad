//! From text to statements: tokens, our dialect, our DDL beside sqlparser's queries.
//!
//! ```text
//!   text ─▶ tokens.rs ───▶ statement.rs ───▶ ddl.rs, types.rs   CREATE TABLE, CREATE VIEW
//!           one pass,      cut at `;`,       sqlparser           queries and expressions (dialect.rs)
//!           long forms     one parser            │
//!           made short     a statement           ▼
//!                                            walker.rs           refuses what nobody would look at
//! ```
//!
//! # Invariants, on which the binder relies
//! 1. Spans are of the *original* text.
//! 2. Window table functions are in the short form, whatever spelling the text had: [`window_call`] knows them.
//! 3. Nothing is left in a query that datafusion-sql or the binder would silently ignore (`walker.rs`).
//! 4. Every type in a CAST, TRY_CAST or `::` is one of ours: [`cast_type`] gives it.
//! 5. A hint stands right after SELECT or INSERT and is one that we know: [`hint_of_select`] gives it.

mod about;
mod as_of;
mod cursor;
mod ddl;
mod dialect;
mod elsewhere;
mod errors;
mod frame;
mod function;
mod hints;
mod job_commands;
mod like;
mod name;
mod phrases;
mod query;
mod shorten;
mod statement;
mod table;
mod tokens;
mod types;
mod unnest;
mod walker;
mod window;

use sqlparser::ast;
use weir_types::{DataType, Diagnostics, Span};

pub(crate) use as_of::as_of_mark;
pub(crate) use frame::exclusion;
pub(crate) use function::of_type;
pub use hints::TtlHint;
pub use job_commands::{JobCommand, job_commands};
pub use like::Like;
pub use name::Name;
pub(crate) use unnest::side_by_side;
pub use unnest::{UnnestCall, unnest_call};
pub use window::{WindowCall, WindowFunction, WindowRelation, window_call};

/// The statements of one text, in order.
#[derive(Debug)]
pub struct Script {
    /// In the order of the text; statement sets are flattened.
    pub statements: Vec<Statement>,
}

/// One statement.
#[derive(Debug)]
#[allow(
    missing_docs,
    reason = "fields are explained where they are not obvious"
)]
pub enum Statement {
    CreateTable(CreateTable),
    CreateView {
        name: Name,
        columns: Vec<Name>,
        query: Box<ast::Query>,
        materialized: bool,
        if_not_exists: bool,
        span: Span,
    },
    CreateFunction(CreateFunction),
    Drop {
        kind: ObjectKind,
        name: Name,
        if_exists: bool,
        span: Span,
    },
    Show {
        what: Show,
        span: Span,
    },
    Describe {
        name: Name,
        span: Span,
    },
    /// `key` is a known setting; without one, all settings so far.
    Reset {
        key: Option<String>,
        span: Span,
    },
    /// `columns` empty: all, in order. `hint`: `/*+ ID('n') */` after INSERT.
    Insert {
        target: Name,
        columns: Vec<Name>,
        query: Box<ast::Query>,
        hint: Option<Name>,
        span: Span,
    },
    /// A bare SELECT.
    Select {
        query: Box<ast::Query>,
        span: Span,
    },
    /// A known setting with a value of the right form.
    Set {
        key: String,
        value: String,
        key_span: Span,
        value_span: Span,
    },
    Explain {
        statement: Box<Statement>,
        span: Span,
    },
    /// One with mistakes, which are reported: the table or view that it would declare.
    Unreadable {
        declares: Option<Name>,
    },
}

/// What a DROP speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are SQL's")]
pub enum ObjectKind {
    Table,
    View,
    Function,
}

/// What a SHOW asks for.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are SQL's")]
pub enum Show {
    Tables,
    Views,
    MaterializedViews,
    Functions,
    UserFunctions,
    CreateTable(Name),
    Columns(Name),
}

/// `CREATE FUNCTION`: a name for an expression.
#[derive(Clone, Debug)]
pub struct CreateFunction {
    /// Its name.
    pub name: Name,
    /// In order; their names differ.
    pub parameters: Vec<Parameter>,
    /// The expression over the parameters, cast to the declared type.
    pub body: ast::Expr,
    /// The statement.
    pub span: Span,
}

/// A parameter of a function.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: Name,
    /// A cast of NULL to its type: arguments take the place of NULL.
    pub cast: ast::Expr,
}

/// `CREATE TABLE`. Columns that its clauses name exist; names are not there twice.
#[derive(Clone, Debug)]
#[allow(
    missing_docs,
    reason = "fields are explained where they are not obvious"
)]
pub struct CreateTable {
    pub name: Name,
    pub columns: Vec<ColumnDefinition>,
    /// Column, expression, and the place of the whole clause.
    pub watermark: Option<(Name, ast::Expr, Span)>,
    pub primary_key: Vec<Name>,
    pub partitioned_by: Vec<Name>,
    pub options: Vec<TableOption>,
    /// Nothing happens if the name is there already.
    pub if_not_exists: bool,
    /// LIKE; resolved where the statement is read.
    pub like: Option<Like>,
    /// AS: the columns are those of the query, whose rows are written into the table.
    pub query: Option<Box<ast::Query>>,
    pub span: Span,
}

/// `'key' = 'value'` in WITH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOption {
    /// Lower case.
    pub key: String,
    /// As written.
    pub value: String,
    /// Key, `=` and value.
    pub span: Span,
}

/// A column in CREATE TABLE.
#[derive(Clone, Debug)]
#[allow(
    missing_docs,
    reason = "fields are explained where they are not obvious"
)]
pub struct ColumnDefinition {
    pub name: Name,
    pub kind: ColumnKind,
    pub not_null: bool,
    pub span: Span,
}

/// Where a column's value comes from.
#[derive(Clone, Debug)]
#[allow(
    missing_docs,
    reason = "fields are explained where they are not obvious"
)]
pub enum ColumnKind {
    /// `name TYPE`
    Physical(DataType),
    /// `name TYPE METADATA [FROM 'key'] [VIRTUAL]`
    Metadata { data_type: DataType, key: String },
    /// `name AS expr`
    Computed(ast::Expr),
}

/// Parses a text. Every mistake that can be found is in the answer, not only the first.
///
/// # Errors
/// What is wrong, in the order of the text.
pub fn parse(sql: &str) -> Result<Script, Diagnostics> {
    let (script, problems) = parse_each(sql);
    if problems.0.is_empty() {
        Ok(script)
    } else {
        Err(problems)
    }
}

/// [`parse`] for whoever looks at the other statements too: those with mistakes are [`Statement::Unreadable`].
pub fn parse_each(sql: &str) -> (Script, Diagnostics) {
    let (script, problems) = statement::script(sql);
    (script, Diagnostics(problems))
}

/// The local name that `/*+ ID('n') */` gives to this SELECT block.
pub fn hint_of_select(select: &ast::Select) -> Option<Name> {
    select
        .optimizer_hints
        .iter()
        .find_map(|hint| hints::name_in(&hint.text))
}

/// What `/*+ STATE_TTL('a' = '1 d') */` says in this SELECT block.
pub fn ttl_hints_of_select(select: &ast::Select) -> Vec<TtlHint> {
    let hints = select.optimizer_hints.iter();
    hints.flat_map(|hint| hints::ttls_in(&hint.text)).collect()
}

/// What `/*+ STATE_FROM('old.path') */` says in this SELECT block, and where it stands.
pub fn state_from_of_select(select: &ast::Select) -> Option<(String, Span)> {
    let mut hints = select.optimizer_hints.iter();
    hints.find_map(|hint| hints::state_from_in(&hint.text))
}

/// The type in a CAST, TRY_CAST or `::`: every one arrives as a custom type that this function reads, so that
/// casts and CREATE TABLE know the same types (`ROW<…>`, `TIMESTAMP_LTZ(3)`, …). For the binder's `TypePlanner`.
///
/// `None` for other AST types, those of typed literals (`DATE '2020-01-01'`) for example.
pub fn cast_type(data_type: &ast::DataType) -> Option<DataType> {
    types::of_ast(data_type)
}

/// The span of an AST node in the original text (sqlparser's `Spanned`).
pub fn span_of(node: &impl ast::Spanned) -> Span {
    to_span(node.span())
}

/// sqlparser's spans count as ours do: from 1, in characters, the end exclusive; line 0 is nowhere.
pub(crate) fn to_span(span: sqlparser::tokenizer::Span) -> Span {
    let at =
        |location: sqlparser::tokenizer::Location| (location.line as u32, location.column as u32);
    Span::new(at(span.start), at(span.end))
}
