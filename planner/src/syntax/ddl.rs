//! CREATE TABLE and CREATE VIEW.
//!
//! ```text
//!   CREATE [OR REPLACE] [TEMPORARY] TABLE …                                                    (table.rs)
//!   CREATE [OR REPLACE] [TEMPORARY] [MATERIALIZED] VIEW [IF NOT EXISTS] name [(column, …)] [COMMENT '…'] AS query
//! ```
//!
//! A text defines each name once and nothing outlives it, so OR REPLACE and TEMPORARY change nothing and are taken as
//! they come; IF NOT EXISTS speaks of this text.

use sqlparser::tokenizer::Token;
use weir_types::{Diagnostic, Diagnostics, Span};

use super::cursor::Cursor;
use super::{Name, Statement, query, table};
use crate::codes;

/// Something that can be declared once was declared again at `span`.
pub(crate) fn declared_twice(what: &str, span: Span) -> Diagnostic {
    Diagnostic::error(codes::DECLARED_TWICE, format!("{what} is declared twice"))
        .at(span, "the second time")
        .help("remove one of the two")
}

/// Parses what follows `CREATE`; `None` if it is neither a table nor a view.
pub(crate) fn create(
    cursor: &mut Cursor<'_>,
    start: Span,
) -> Option<Result<Statement, Diagnostics>> {
    let mut ahead = cursor.clone();
    ahead.take_keywords(&["OR", "REPLACE"]);
    for word in ["GLOBAL", "LOCAL", "TEMPORARY", "TEMP", "SYSTEM"] {
        ahead.take_keyword(word);
    }
    let materialized = ahead.take_keyword("MATERIALIZED");
    if !materialized && ahead.take_keyword("TABLE") {
        *cursor = ahead;
        return Some(table::create_table(cursor, start).map(Statement::CreateTable));
    }
    if !materialized && ahead.take_keyword("FUNCTION") {
        *cursor = ahead;
        let function = super::function::create_function(cursor, start);
        return Some(function.map(Statement::CreateFunction));
    }
    if ahead.take_keyword("VIEW") {
        *cursor = ahead;
        return Some(create_view(cursor, start, materialized));
    }
    None
}

/// The name that a statement with mistakes would declare if it is a CREATE, of whatever: also where that word is misspelt.
pub(crate) fn name_of_create(mut cursor: Cursor<'_>) -> Option<Name> {
    if !cursor.take_keyword("CREATE") {
        return None;
    }
    cursor.take_keywords(&["OR", "REPLACE"]);
    for word in [
        "GLOBAL",
        "LOCAL",
        "TEMPORARY",
        "TEMP",
        "SYSTEM",
        "MATERIALIZED",
    ] {
        cursor.take_keyword(word);
    }
    // TABLE, VIEW, or what should have been one of the two.
    cursor.skip(1);
    cursor.take_keywords(&["IF", "NOT", "EXISTS"]);
    let mut name = cursor.name("the name").ok()?;
    while cursor.take(&Token::Period) {
        name = cursor.name("the name").ok()?;
    }
    Some(name)
}

fn create_view(
    cursor: &mut Cursor<'_>,
    start: Span,
    materialized: bool,
) -> Result<Statement, Diagnostics> {
    let if_not_exists = cursor.take_keywords(&["IF", "NOT", "EXISTS"]);
    let name = cursor.object_name("the name of the view")?;
    let columns = if cursor.is(&Token::LParen) {
        cursor.names("the name of a column")?
    } else {
        Vec::new()
    };
    if let Some(again) = repeated(&columns) {
        return Err(declared_twice(&format!("the column `{}`", again.spelling), again.span).into());
    }
    comment(cursor)?;
    if cursor.is_keywords(&["WITH"]) {
        return Err(
            Diagnostic::error(codes::TABLE_FORM, "a view takes no options")
                .at(cursor.span(), "expected AS and a query")
                .help("options belong to tables; a view is CREATE VIEW name AS SELECT …")
                .into(),
        );
    }
    cursor.expect_keyword("AS")?;
    let query = query::parse_query(cursor.rest(), cursor.statement(), cursor.end())?;
    cursor.skip(cursor.rest().len());
    let span = start.union(cursor.last_span());
    Ok(Statement::CreateView {
        name,
        columns,
        query,
        materialized,
        if_not_exists,
        span,
    })
}

/// `LIKE` among the columns, as PostgreSQL has it.
pub(crate) fn table_form(cursor: &Cursor<'_>) -> Diagnostic {
    Diagnostic::error(codes::TABLE_FORM, "LIKE does not stand among the columns")
        .at(cursor.span(), "not here")
        .help("write it behind them: CREATE TABLE t (more BIGINT) WITH (…) LIKE other")
}

/// `COMMENT 'text'`, which is for the reader alone.
pub(crate) fn comment(cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
    if cursor.is_keywords(&["COMMENT"])
        && matches!(
            cursor.peek(1),
            Some(Token::SingleQuotedString(_) | Token::Eq)
        )
    {
        cursor.skip(1);
        cursor.take(&Token::Eq);
        cursor.string("the comment in single quotes")?;
    }
    Ok(())
}

/// The first name that was there before.
pub(crate) fn repeated(names: &[Name]) -> Option<&Name> {
    names
        .iter()
        .enumerate()
        .find(|(index, name)| {
            names[..*index]
                .iter()
                .any(|other| other.value == name.value)
        })
        .map(|(_, name)| name)
}
