//! Statements that people of other systems write, and what to do here instead.

use weir_types::Diagnostic;

use super::cursor::Cursor;
use super::errors;
use crate::{codes, settings};

/// Statements of other systems, by the words they begin with: what is wrong, and the way out.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["CREATE", "AGGREGATE"],
        "user-defined functions are not supported yet",
    ),
    (
        &["CREATE", "CATALOG"],
        "there are no catalogs: each text declares the tables that it uses",
    ),
    (
        &["CREATE", "DATABASE"],
        "there are no databases: each text declares the tables that it uses",
    ),
    (
        &["CREATE", "SCHEMA"],
        "there are no schemas: each text declares the tables that it uses",
    ),
    (
        &["CREATE", "INDEX"],
        "state is found by key without an index; remove the statement",
    ),
    (
        &["CREATE", "UNIQUE", "INDEX"],
        "a key is declared in CREATE TABLE: PRIMARY KEY (…) NOT ENFORCED",
    ),
    (
        &["CREATE", "SEQUENCE"],
        "a stream has no sequence; remove the statement",
    ),
    (
        &["CREATE", "TYPE"],
        "types are written where they are used: ROW<name type, …>",
    ),
    (
        &["CREATE", "EXTENSION"],
        "there are no extensions; remove the statement",
    ),
    (
        &["CREATE", "SOURCE"],
        "a source is a CREATE TABLE with WITH ('connector' = '…')",
    ),
    (
        &["CREATE", "SINK"],
        "a sink is a CREATE TABLE with WITH ('connector' = '…'), and INSERT INTO it SELECT …",
    ),
    (
        &["CREATE", "STREAM"],
        "a stream is a CREATE TABLE with WITH ('connector' = '…')",
    ),
    (
        &["DROP"],
        "there are DROP TABLE, DROP VIEW and DROP FUNCTION, for what this text has created",
    ),
    (
        &["ALTER"],
        "edit the CREATE statement and run the file again: its state is kept where the edit allows it",
    ),
    (
        &["UPDATE"],
        "tables are streams: write the new rows with INSERT INTO … SELECT",
    ),
    (
        &["DELETE"],
        "tables are streams: filter rows with WHERE, or let the source bring retractions (changelog-json)",
    ),
    (
        &["MERGE"],
        "tables are streams: a table with a primary key takes the newest row of each key by INSERT INTO … SELECT",
    ),
    (
        &["TRUNCATE"],
        "`weir run FILE --fresh` starts again without state",
    ),
    (
        &["SHOW"],
        "there are SHOW TABLES, SHOW VIEWS, SHOW FUNCTIONS, SHOW CREATE TABLE name, SHOW COLUMNS FROM name",
    ),
    (
        &["USE"],
        "there are no catalogs and databases: each text declares the tables that it uses",
    ),
    (
        &["LOAD"],
        "there are no modules to load; remove the statement",
    ),
    (&["UNLOAD"], "there are no modules; remove the statement"),
    (
        &["ADD"],
        "there are no libraries to add; remove the statement",
    ),
    (
        &["REMOVE"],
        "there are no libraries to remove; remove the statement",
    ),
    (&["ANALYZE"], "no statistics are kept; remove the statement"),
    (&["CALL"], "there are no procedures"),
    (
        &["COMPILE"],
        "`weir explain FILE` shows the plan; plans are not run by themselves",
    ),
    (
        &["EXECUTE"],
        "write the INSERT itself; EXECUTE STATEMENT SET BEGIN … END groups several",
    ),
    (&["STOP"], "`weir stop` ends a job"),
    (
        &["BEGIN"],
        "there are no transactions: each epoch is one. INSERTs are grouped by BEGIN STATEMENT SET; … END;",
    ),
    (&["START"], "there are no transactions: each epoch is one"),
    (&["COMMIT"], "there are no transactions: each epoch is one"),
    (
        &["ROLLBACK"],
        "there are no transactions: each epoch is one",
    ),
    (
        &["COPY"],
        "read files with CREATE TABLE … WITH ('connector' = 'filesystem', …)",
    ),
    (&["GRANT"], "there are no users"),
    (&["REVOKE"], "there are no users"),
    (
        &["COMMENT"],
        "write COMMENT 'text' in the CREATE statement, or a comment: -- text",
    ),
    (
        &["REFRESH"],
        "a materialized view is always fresh; remove the statement",
    ),
    (&["VACUUM"], "nothing needs it; remove the statement"),
    (
        &["DECLARE"],
        "there are no cursors; a SELECT prints its result",
    ),
    (
        &["PREPARE"],
        "there are no prepared statements; write the query itself",
    ),
];

/// A statement that is none of ours.
pub(crate) fn unknown(cursor: &Cursor<'_>) -> Diagnostic {
    if let Some((words, way_out)) = ELSEWHERE
        .iter()
        .find(|(words, _)| cursor.is_keywords(words))
    {
        let mut span = cursor.clone();
        span.skip(words.len());
        let span = cursor.span().union(span.last_span());
        return Diagnostic::error(
            codes::UNKNOWN_STATEMENT,
            format!("there is no {} statement", words.join(" ")),
        )
        .at(span, "not supported")
        .help(*way_out);
    }
    const OURS: &[&str] = &[
        "CREATE", "INSERT", "SELECT", "SET", "EXPLAIN", "WITH", "BEGIN", "EXECUTE", "END", "DROP",
        "SHOW", "DESCRIBE", "RESET",
    ];
    let word = cursor.peek(0).map(errors::shown).unwrap_or_default();
    if cursor.is_keywords(&["CREATE"]) {
        let mut after = cursor.clone();
        after.skip(1);
        let nearest = after.peek(0).and_then(|token| {
            settings::nearest(
                &token.to_string().to_ascii_uppercase(),
                ["TABLE", "VIEW", "MATERIALIZED"].into_iter(),
            )
        });
        return after.expected("TABLE or VIEW").nearest(nearest);
    }
    let nearest = settings::nearest(&word.to_ascii_uppercase(), OURS.iter().copied());
    Diagnostic::error(
        codes::UNKNOWN_STATEMENT,
        format!("no statement begins with `{word}`"),
    )
    .at(
        cursor.span(),
        "expected CREATE, INSERT, SELECT, SET or EXPLAIN",
    )
    .nearest(nearest)
}
