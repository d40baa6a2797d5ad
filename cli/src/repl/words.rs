//! The words of the language: for colours, completion and \help.

/// Keywords, sorted: what is highlighted and completed.
pub(super) const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "ASC",
    "BEGIN",
    "BETWEEN",
    "BIGINT",
    "BOOLEAN",
    "BY",
    "BYTES",
    "CASE",
    "CAST",
    "CREATE",
    "CROSS",
    "CUBE",
    "CUMULATE",
    "CURRENT_TIMESTAMP",
    "DATE",
    "DAY",
    "DECIMAL",
    "DESC",
    "DESCRIBE",
    "DESCRIPTOR",
    "DISTINCT",
    "DOUBLE",
    "DROP",
    "ELSE",
    "END",
    "ENFORCED",
    "EXCEPT",
    "EXECUTE",
    "EXISTS",
    "EXPLAIN",
    "EXTRACT",
    "FALSE",
    "FETCH",
    "FILTER",
    "FIRST",
    "FOLLOWING",
    "FOR",
    "FROM",
    "FULL",
    "FUNCTION",
    "GROUP",
    "GROUPING",
    "HAVING",
    "HOP",
    "HOUR",
    "IF",
    "IN",
    "INNER",
    "INSERT",
    "INT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOB",
    "JOBS",
    "JOIN",
    "KEY",
    "LAST",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MAP",
    "MATERIALIZED",
    "METADATA",
    "MINUTE",
    "MONTH",
    "NOT",
    "NULL",
    "NULLS",
    "OF",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PARTITIONED",
    "PRECEDING",
    "PRIMARY",
    "PROCTIME",
    "RANGE",
    "RESET",
    "RETURNS",
    "RIGHT",
    "ROLLUP",
    "ROW",
    "ROWS",
    "SAVEPOINT",
    "SECOND",
    "SELECT",
    "SESSION",
    "SET",
    "SETS",
    "SHOW",
    "SMALLINT",
    "STATEMENT",
    "STOP",
    "STRING",
    "SYSTEM_TIME",
    "TABLE",
    "TABLES",
    "THEN",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "TO",
    "TRUE",
    "TRY_CAST",
    "TUMBLE",
    "UNBOUNDED",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "VIEW",
    "VIEWS",
    "WATERMARK",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
    "WITHIN",
    "YEAR",
];

/// Whether a word is a keyword.
pub(super) fn is_keyword(word: &str) -> bool {
    let upper = word.to_ascii_uppercase();
    KEYWORDS.binary_search(&upper.as_str()).is_ok()
}

/// A command of the REPL: its name, what follows, what it does.
pub(super) const COMMANDS: &[(&str, &str, &str)] = &[
    (
        "\\changelog",
        "[on|off]",
        "show every change (+I -U +U -D) instead of the current result",
    ),
    ("\\d", "[NAME]", "tables and views; the columns of one"),
    ("\\df", "[TEXT]", "functions whose name holds the text"),
    ("\\dt", "", "tables"),
    ("\\dv", "", "views"),
    ("\\explain", "QUERY", "the plan of a query"),
    ("\\format", "table|json|csv", "how rows are printed"),
    (
        "\\help",
        "[WORD]",
        "this list; the form of a statement: \\help CREATE TABLE",
    ),
    ("\\jobs", "", "the jobs of this session"),
    (
        "\\plot",
        "COLUMN QUERY",
        "a numeric column of a query over time, as a chart",
    ),
    (
        "\\q",
        "",
        "leave; running jobs are stopped with a checkpoint",
    ),
    ("\\source", "FILE", "run the statements of a file"),
    ("\\timing", "[on|off]", "say how long a statement took"),
    (
        "\\watch",
        "[SECONDS] QUERY",
        "run a query again and again until Ctrl-C",
    ),
];

/// The form of statements, for \help.
pub(super) const FORMS: &[(&str, &str)] = &[
    (
        "CREATE FUNCTION",
        "CREATE FUNCTION name(a INT, b STRING) RETURNS STRING AS expression",
    ),
    (
        "CREATE TABLE",
        "CREATE TABLE name (column TYPE, computed AS expr, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '5' SECOND,\n    \
         PRIMARY KEY (column) NOT ENFORCED) WITH ('connector' = 'filesystem', 'path' = 'data/*.csv', 'format' = 'csv')\n\
         CREATE TABLE name FROM 'data/*.csv'            the columns come from the files\n\
         CREATE TABLE name WITH (…) AS SELECT …         the columns and rows of a query",
    ),
    ("CREATE VIEW", "CREATE VIEW name AS SELECT …"),
    ("DESCRIBE", "DESCRIBE name"),
    ("DROP", "DROP TABLE|VIEW|FUNCTION [IF EXISTS] name"),
    (
        "EXPLAIN",
        "EXPLAIN SELECT …; EXPLAIN INSERT INTO …\n\
         EXPLAIN ANALYZE SELECT …                       runs it, writes nothing, and says what each operator did",
    ),
    (
        "INSERT",
        "INSERT INTO table [(columns)] SELECT …          starts a job in the background",
    ),
    ("SAVEPOINT", "SAVEPOINT JOB name ['folder']"),
    (
        "SELECT",
        "SELECT expr [AS name], … FROM table | 'file' | read_csv('file', header => false) [JOIN … ON …]\n    \
         [WHERE …] [GROUP BY …] [HAVING …] [ORDER BY … LIMIT n]\n\
         Windows: FROM TUMBLE(table, column, INTERVAL '1' MINUTE) GROUP BY window_start, window_end",
    ),
    (
        "SET",
        "SET 'key' = 'value'; RESET 'key'; docs/settings.md lists them",
    ),
    (
        "SHOW",
        "SHOW TABLES | VIEWS | FUNCTIONS | JOBS | COLUMNS FROM name | CREATE TABLE name",
    ),
    (
        "STOP",
        "STOP JOB name [WITH SAVEPOINT ['folder']] [WITH DRAIN]",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_so_that_they_can_be_searched() {
        assert!(KEYWORDS.is_sorted());
        assert!(COMMANDS.is_sorted());
        assert!(FORMS.is_sorted());
        assert!(is_keyword("select") && !is_keyword("selects"));
    }
}
