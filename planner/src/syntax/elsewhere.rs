//! Statements that people of other systems write, and what to do here instead.

use sqlparser::tokenizer::Token;
use weir_types::Diagnostic;

use super::cursor::Cursor;
use super::errors;
use crate::{codes, settings};

/// Statements of other systems, by the words they begin with: what is wrong, and the way out.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["CREATE", "AGGREGATE"],
        "aggregates of the user's own are not supported; CREATE FUNCTION names an expression over the ones there are",
    ),
    (
        &["CREATE", "MATERIALIZED", "TABLE"],
        "CREATE VIEW, and INSERT INTO a table with the connector that should hold the result",
    ),
    (
        &["CREATE", "RECURSIVE"],
        "recursive queries are not supported; CREATE VIEW may read the views before it",
    ),
    (
        &["CREATE", "DOMAIN"],
        "types are written where they are used; a condition stands in WHERE",
    ),
    (&["CREATE", "ROLE"], "there are no users"),
    (&["CREATE", "USER"], "there are no users"),
    (&["CREATE", "GROUP"], "there are no users"),
    (
        &["CREATE", "TRIGGER"],
        "a query is its own trigger: INSERT INTO … SELECT runs for every change",
    ),
    (
        &["CREATE", "PROCEDURE"],
        "there are no procedures; CREATE FUNCTION names an expression",
    ),
    (
        &["CREATE", "MACRO"],
        "CREATE FUNCTION f (x INT) RETURNS INT RETURN x + 1 names an expression",
    ),
    (
        &["CREATE", "RULE"],
        "rewrite the query itself: CREATE VIEW, INSERT INTO … SELECT",
    ),
    (
        &["CREATE", "POLICY"],
        "there are no users; a view with WHERE shows a part of a table",
    ),
    (
        &["CREATE", "SERVER"],
        "where a table is stands in its own options: WITH ('connector' = '…')",
    ),
    (
        &["CREATE", "FOREIGN"],
        "every table is foreign: CREATE TABLE … WITH ('connector' = '…')",
    ),
    (
        &["CREATE", "EXTERNAL"],
        "every table is external: CREATE TABLE … WITH ('connector' = '…')",
    ),
    (
        &["CREATE", "UNLOGGED"],
        "CREATE TABLE … WITH ('connector' = '…')",
    ),
    (
        &["CREATE", "VIRTUAL"],
        "CREATE TABLE … WITH ('connector' = '…')",
    ),
    (
        &["CREATE", "OPERATOR"],
        "CREATE FUNCTION names an expression",
    ),
    (
        &["CREATE", "CAST"],
        "CREATE FUNCTION names an expression that converts",
    ),
    (
        &["CREATE", "COLLATION"],
        "text is compared by its bytes; lower(a) makes case not matter",
    ),
    (
        &["CREATE", "SECRET"],
        "write ${NAME} in an option: it is taken from the environment",
    ),
    (
        &["CREATE", "CONNECTION"],
        "where a table is stands in its own options: WITH ('connector' = '…')",
    ),
    (
        &["CREATE", "MODEL"],
        "models cannot be called; CREATE FUNCTION names an expression",
    ),
    (
        &["CREATE", "PUBLICATION"],
        "a sink with 'format' = 'changelog-json' publishes the changes of a query",
    ),
    (
        &["CREATE", "SUBSCRIPTION"],
        "a source with 'format' = 'changelog-json' reads changes",
    ),
    (
        &["CREATE", "STATISTICS"],
        "no statistics are kept; remove the statement",
    ),
    (
        &["SAVEPOINT"],
        "there are no transactions: each epoch is one. A savepoint of a job is taken by `weir savepoint`, or by SAVEPOINT JOB name in a file of its own",
    ),
    (&["RELEASE"], "there are no transactions: each epoch is one"),
    (&["ABORT"], "there are no transactions: each epoch is one"),
    (
        &["LOCK"],
        "nothing has to be locked: every result is exact over a prefix of its input",
    ),
    (
        &["UNLOCK"],
        "nothing has to be locked: every result is exact over a prefix of its input",
    ),
    (&["LISTEN"], "a SELECT shows every change as it comes"),
    (&["UNLISTEN"], "a SELECT shows every change as it comes"),
    (&["NOTIFY"], "a SELECT shows every change as it comes"),
    (
        &["FETCH"],
        "there are no cursors; a SELECT prints its result",
    ),
    (
        &["CLOSE"],
        "there are no cursors; a SELECT prints its result",
    ),
    (
        &["MOVE"],
        "there are no cursors; a SELECT prints its result",
    ),
    (
        &["DEALLOCATE"],
        "there are no prepared statements; write the query itself",
    ),
    (
        &["DO"],
        "there are no blocks of code; CREATE FUNCTION names an expression",
    ),
    (
        &["CHECKPOINT"],
        "checkpoints are taken every 'checkpoint.interval'",
    ),
    (
        &["DISCARD"],
        "each text begins anew; RESET puts settings back",
    ),
    (&["CLUSTER"], "nothing needs it; remove the statement"),
    (&["REINDEX"], "nothing needs it; remove the statement"),
    (&["OPTIMIZE"], "nothing needs it; remove the statement"),
    (
        &["MSCK"],
        "files are listed when the job starts; remove the statement",
    ),
    (
        &["REPLACE"],
        "write INSERT INTO: a sink with a PRIMARY KEY … NOT ENFORCED keeps the newest row of each key",
    ),
    (
        &["UPSERT"],
        "write INSERT INTO: a sink with a PRIMARY KEY … NOT ENFORCED keeps the newest row of each key",
    ),
    (
        &["PIVOT"],
        "an aggregate with FILTER makes a column of each value: sum(x) FILTER (WHERE kind = 'a')",
    ),
    (
        &["UNPIVOT"],
        "select each column by itself and put the queries together with UNION ALL",
    ),
    (
        &["PRAGMA"],
        "settings are SET 'key' = 'value'; docs/settings.md lists all",
    ),
    (
        &["ATTACH"],
        "each text declares the tables that it uses: CREATE TABLE … WITH ('connector' = '…')",
    ),
    (&["DETACH"], "each text declares the tables that it uses"),
    (
        &["INSTALL"],
        "there are no extensions; remove the statement",
    ),
    (
        &["EXPORT"],
        "`weir savepoint` writes state as Parquet; INSERT INTO a file table writes rows",
    ),
    (
        &["IMPORT"],
        "read files with CREATE TABLE … WITH ('connector' = 'filesystem', …)",
    ),
    (
        &["SUMMARIZE"],
        "SELECT count(*), min(x), max(x), avg(x) FROM t",
    ),
    (&["FROM"], "write SELECT … FROM …"),
    (&["QUIT"], "a text is run to its end; remove the statement"),
    (&["EXIT"], "a text is run to its end; remove the statement"),
    (&["HELP"], "`weir help` and docs/sql"),
    (&["CLEAR"], "remove the statement"),
    (
        &["SOURCE"],
        "write the statements of that file into this one",
    ),
    (&["KILL"], "Ctrl-C ends a job, with a last checkpoint"),
    (&["SECURITY"], "there are no users"),
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
    (
        &["STOP"],
        "`weir stop` ends a job; STOP JOB name stands in a file of its own, which `weir run` carries out",
    ),
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

/// What statements of other systems speak of.
const KINDS: &[&str] = &[
    "TABLE",
    "VIEW",
    "FUNCTION",
    "CATALOG",
    "CATALOGS",
    "DATABASE",
    "DATABASES",
    "SCHEMA",
    "SCHEMAS",
    "MODULE",
    "MODULES",
    "JARS",
    "PARTITIONS",
    "PROCEDURES",
    "INDEX",
    "INDEXES",
    "SEQUENCE",
    "TYPE",
    "ROLE",
    "USER",
    "MATERIALIZED",
    "MODEL",
    "ALL",
    "JOB",
];

/// A statement that is none of ours.
pub(crate) fn unknown(cursor: &Cursor<'_>) -> Diagnostic {
    if let Some((words, way_out)) = ELSEWHERE
        .iter()
        .find(|(words, _)| cursor.is_keywords(words))
    {
        let mut behind = cursor.clone();
        behind.skip(words.len());
        let mut span = cursor.span().union(behind.last_span());
        let mut statement = words.join(" ");
        // What is altered, shown or used belongs to its name.
        if let (["ALTER" | "SHOW" | "DROP" | "USE" | "LOAD"], Some(Token::Word(word))) =
            (*words, behind.peek(0))
            && KINDS
                .iter()
                .any(|kind| word.value.eq_ignore_ascii_case(kind))
        {
            statement = format!("{statement} {}", word.value.to_ascii_uppercase());
            span = span.union(behind.span());
        }
        return Diagnostic::error(
            codes::UNKNOWN_STATEMENT,
            format!("there is no {statement} statement"),
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
