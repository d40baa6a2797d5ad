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
    (
        "\\explain",
        "[ANALYZE] QUERY",
        "the plan of a query; with ANALYZE after it ran",
    ),
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
        "CREATE MATERIALIZED VIEW",
        "CREATE MATERIALIZED VIEW name AS SELECT …      a job that keeps the result; SELECT … FROM name reads it",
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
    (
        "DROP",
        "DROP TABLE|VIEW|MATERIALIZED VIEW|FUNCTION [IF EXISTS] name",
    ),
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
        "SHOW TABLES | VIEWS | MATERIALIZED VIEWS | FUNCTIONS | JOBS | COLUMNS FROM name | CREATE TABLE name",
    ),
    (
        "STOP",
        "STOP JOB name [WITH SAVEPOINT ['folder']] [WITH DRAIN]",
    ),
];

/// The form of clauses, for \help WORD.
pub(super) const CLAUSES: &[(&str, &str)] = &[
    (
        "ASOF",
        "FROM trades AS t ASOF [LEFT] JOIN quotes AS q MATCH_CONDITION (t.ts >= q.ts) ON t.symbol = q.symbol",
    ),
    (
        "CASE",
        "CASE WHEN condition THEN value [WHEN …] [ELSE value] END",
    ),
    (
        "CAST",
        "CAST(expr AS TYPE); TRY_CAST(expr AS TYPE)      NULL instead of an error",
    ),
    (
        "CUMULATE",
        "FROM CUMULATE(table, at, INTERVAL '1' HOUR, INTERVAL '1' DAY) GROUP BY window_start, window_end",
    ),
    (
        "EXISTS",
        "WHERE [NOT] EXISTS (SELECT … FROM other WHERE other.id = t.id)",
    ),
    ("FILTER", "count(*) FILTER (WHERE condition)"),
    (
        "GROUP BY",
        "GROUP BY expr, … | GROUPING SETS (…) | ROLLUP (…) | CUBE (…) [HAVING condition]",
    ),
    (
        "HOP",
        "FROM HOP(table, at, INTERVAL '1' MINUTE, INTERVAL '5' MINUTE) GROUP BY window_start, window_end",
    ),
    ("IN", "expr [NOT] IN (value, …); expr [NOT] IN (SELECT …)"),
    ("INTERVAL", "INTERVAL '5' MINUTE; INTERVAL '1' DAY"),
    (
        "JOIN",
        "FROM a [LEFT|RIGHT|FULL] JOIN b ON a.id = b.id\n\
         FROM a JOIN b ON a.id = b.id AND b.at BETWEEN a.at AND a.at + INTERVAL '1' HOUR      bounded by time",
    ),
    (
        "LIMIT",
        "ORDER BY expr [DESC] [NULLS LAST] LIMIT n [OFFSET m]",
    ),
    (
        "OVER",
        "sum(x) OVER ([PARTITION BY columns] ORDER BY at [ROWS|RANGE BETWEEN … PRECEDING AND CURRENT ROW])",
    ),
    (
        "QUALIFY",
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY item ORDER BY price DESC) <= 3",
    ),
    (
        "SESSION",
        "FROM SESSION(table [PARTITION BY columns], at, INTERVAL '30' MINUTE) GROUP BY window_start, window_end",
    ),
    (
        "TUMBLE",
        "FROM TUMBLE(table, at, INTERVAL '1' MINUTE) GROUP BY window_start, window_end",
    ),
    (
        "UNION",
        "SELECT … UNION [ALL] SELECT …; INTERSECT and EXCEPT [ALL] likewise",
    ),
    (
        "UNNEST",
        "FROM posts CROSS JOIN UNNEST(tags) [WITH ORDINALITY] AS t (tag)",
    ),
    (
        "VALUES",
        "VALUES (1, 'a'), (2, 'b'); FROM (VALUES (1), (2)) AS t (n)",
    ),
    (
        "WATERMARK",
        "CREATE TABLE t (at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '5' SECOND) WITH (…)",
    ),
    ("WITH", "WITH name AS (SELECT …) SELECT … FROM name"),
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
