//! Statements about what the text declares: DROP, SHOW, DESCRIBE, RESET.
//!
//! Nothing outlives a text, so DROP forgets what the same text declared before it, SHOW lists that, and RESET takes a SET
//! back. What SHOW and DESCRIBE answer is printed like the answer of EXPLAIN.

use weir_types::{Diagnostic, Diagnostics, Span};

use super::cursor::Cursor;
use super::{Name, ObjectKind, Show, Statement};
use crate::{codes, settings};

/// The statement, if it is one of these; the cursor stands at its first word.
pub(crate) fn statement(
    cursor: &mut Cursor<'_>,
    start: Span,
) -> Option<Result<Statement, Diagnostics>> {
    let mut ahead = cursor.clone();
    let parsed = if ahead.take_keyword("DROP") {
        drop_statement(&mut ahead, start)?
    } else if ahead.take_keyword("SHOW") {
        show(&mut ahead, start)?
    } else if ahead.take_keyword("DESCRIBE") || ahead.take_keyword("DESC") {
        ahead.take_keyword("TABLE");
        ahead
            .object_name("the name of a table or view")
            .map(|name| Statement::Describe { name, span: start })
    } else if ahead.take_keyword("RESET") {
        reset(&mut ahead, start)
    } else {
        return None;
    };
    *cursor = ahead;
    let ended = match parsed {
        Ok(_) if !cursor.is_at_end() => Err(cursor.expected("the end of the statement")),
        other => other,
    };
    Some(ended.map_err(Diagnostics::from))
}

/// `DROP [TEMPORARY] TABLE|VIEW|FUNCTION [IF EXISTS] name`; DROP was taken.
fn drop_statement(cursor: &mut Cursor<'_>, start: Span) -> Option<Result<Statement, Diagnostic>> {
    for word in ["TEMPORARY", "TEMP", "SYSTEM", "MATERIALIZED"] {
        cursor.take_keyword(word);
    }
    let kind = object_kind(cursor)?;
    let if_exists = cursor.take_keywords(&["IF", "EXISTS"]);
    let name = match cursor.object_name("the name of what is dropped") {
        Ok(name) => name,
        Err(problem) => return Some(Err(problem)),
    };
    // There is nothing that could depend on it beyond this text.
    let _ = cursor.take_keyword("RESTRICT") || cursor.take_keyword("CASCADE");
    Some(Ok(Statement::Drop {
        kind,
        name,
        if_exists,
        span: start,
    }))
}

fn object_kind(cursor: &mut Cursor<'_>) -> Option<ObjectKind> {
    [
        ("TABLE", ObjectKind::Table),
        ("VIEW", ObjectKind::View),
        ("FUNCTION", ObjectKind::Function),
    ]
    .into_iter()
    .find(|(word, _)| cursor.take_keyword(word))
    .map(|(_, kind)| kind)
}

/// What follows SHOW.
fn show(cursor: &mut Cursor<'_>, start: Span) -> Option<Result<Statement, Diagnostic>> {
    let named = |cursor: &mut Cursor<'_>, make: fn(Name) -> Show| {
        cursor.object_name("the name of a table or view").map(make)
    };
    let what = if cursor.take_keyword("TABLES") {
        Ok(Show::Tables)
    } else if cursor.take_keywords(&["MATERIALIZED", "VIEWS"]) {
        Ok(Show::MaterializedViews)
    } else if cursor.take_keyword("VIEWS") {
        Ok(Show::Views)
    } else if cursor.take_keywords(&["USER", "FUNCTIONS"]) {
        Ok(Show::UserFunctions)
    } else if cursor.take_keyword("FUNCTIONS") {
        Ok(Show::Functions)
    } else if cursor.take_keywords(&["CREATE", "TABLE"]) {
        named(cursor, Show::CreateTable)
    } else if cursor.take_keywords(&["COLUMNS", "FROM"]) || cursor.take_keywords(&["COLUMNS", "IN"])
    {
        named(cursor, Show::Columns)
    } else if cursor.take_keyword("JOBS") {
        return Some(Err(elsewhere(
            "SHOW JOBS is not supported",
            start.union(cursor.last_span()),
            "a text is one job; the folder `.weir` has one folder for each job that has run there",
        )));
    } else if cursor.take_keywords(&["CREATE", "VIEW"]) {
        return Some(Err(elsewhere(
            "SHOW CREATE VIEW is not supported",
            start.union(cursor.last_span()),
            "the view stands in this text; DESCRIBE shows its columns, EXPLAIN SELECT * FROM the_view its plan",
        )));
    } else {
        return None;
    };
    Some(what.map(|what| Statement::Show { what, span: start }))
}

/// `RESET`, `RESET 'key'`; RESET was taken.
fn reset(cursor: &mut Cursor<'_>, start: Span) -> Result<Statement, Diagnostic> {
    if cursor.is_at_end() || cursor.take_keyword("ALL") {
        return Ok(Statement::Reset {
            key: None,
            span: start,
        });
    }
    let span = cursor.span();
    let (key, span) = match cursor.string("the key of a setting in single quotes") {
        Ok(key) => key,
        // As SET takes it: words and dots.
        Err(_) => {
            let words = cursor.until(|_, _| false);
            let text: String = words.iter().map(|token| token.token.to_string()).collect();
            (text, span.union(cursor.last_span()))
        }
    };
    let key = key.to_lowercase();
    if !settings::SETTINGS.iter().any(|setting| setting.key == key) {
        let known = settings::SETTINGS.iter().map(|setting| setting.key);
        return Err(Diagnostic::error(
            codes::UNKNOWN_SETTING,
            format!("there is no setting '{key}'"),
        )
        .at(span, "not a setting")
        .nearest(settings::nearest(&key, known)));
    }
    Ok(Statement::Reset {
        key: Some(key),
        span: start,
    })
}

fn elsewhere(message: &str, span: Span, way_out: &str) -> Diagnostic {
    Diagnostic::error(codes::UNKNOWN_STATEMENT, message)
        .at(span, "not supported")
        .help(way_out)
}
