//! Hostile text: an error, never a panic, a hang or a stack that overflows.

use proptest::prelude::*;
use weir_planner::syntax::parse;

const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "HAVING",
    "JOIN",
    "ON",
    "USING",
    "LEFT",
    "UNION",
    "ALL",
    "WITH",
    "AS",
    "(",
    ")",
    ",",
    ";",
    ".",
    "*",
    "+",
    "-",
    "<",
    ">",
    ">>",
    "=",
    "=>",
    "::",
    "[",
    "]",
    "{",
    "}",
    "CREATE",
    "TABLE",
    "VIEW",
    "INSERT",
    "INTO",
    "SET",
    "EXPLAIN",
    "TUMBLE",
    "HOP",
    "SESSION",
    "CUMULATE",
    "DESCRIPTOR",
    "DATA",
    "INTERVAL",
    "'10'",
    "SECOND",
    "CAST",
    "TRY_CAST",
    "ROW",
    "ARRAY",
    "MAP",
    "INT",
    "STRING",
    "TIMESTAMP",
    "(3)",
    "DECIMAL",
    "NOT",
    "NULL",
    "PRIMARY",
    "KEY",
    "ENFORCED",
    "WATERMARK",
    "FOR",
    "METADATA",
    "a",
    "b",
    "\"q\"",
    "`r`",
    "'s'",
    "1",
    "1.5",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "IN",
    "EXISTS",
    "OVER",
    "PARTITION",
    "ORDER",
    "LIMIT",
    "/*+",
    "*/",
    "/*+ ID('x') */",
    "--",
    "\n",
    "BEGIN",
    "STATEMENT",
    "EXECUTE",
    "LATERAL",
    "UNNEST",
    "VALUES",
    "AND",
    "OR",
    "IS",
    "BETWEEN",
    "E'x'",
    "$1",
    "?",
    "|",
    "||",
    "é",
    "\u{1F980}",
    "\0",
    "'",
    "\"",
    "count",
    "FILTER",
    "DISTINCT",
    "SYSTEM_TIME",
    "OF",
];

fn seeds() -> Vec<&'static str> {
    vec![
        include_str!("../../../queries/flights.sql"),
        "CREATE TABLE t (a ROW<b ARRAY<MAP<STRING, DECIMAL(3, 2)>>> NOT NULL, ts TIMESTAMP(3), c AS a.b[1], m STRING METADATA FROM 'file', \
         PRIMARY KEY (ts) NOT ENFORCED, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) PARTITIONED BY (ts) WITH ('connector' = 'datagen');\
         INSERT /*+ ID('x') */ INTO t (a) SELECT CAST(a AS ROW<b INT>), b::INT[] FROM TABLE(HOP(DATA => TABLE t, TIMECOL => DESCRIPTOR(ts), \
         SLIDE => INTERVAL '1' SECOND, SIZE => INTERVAL '1 minute')) AS w WHERE a IN (SELECT 1) OR NOT EXISTS (SELECT 2);\
         SET 'state.memory' = '64MB'; EXPLAIN SELECT sum(a) FILTER (WHERE b) OVER (PARTITION BY c) FROM a LEFT JOIN b USING (c)",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_soup_of_tokens_never_panics(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
        let _ = parse(&words.join(" "));
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_query_never_panics(
        seed in prop::sample::select(seeds()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, prop::sample::select(WORDS)), 1..6),
    ) {
        let mut text: Vec<char> = seed.chars().collect();
        for (at, removed, inserted) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + removed).min(text.len());
            text.splice(at..end, inserted.chars());
        }
        let _ = parse(&text.into_iter().collect::<String>());
    }
}

/// Each of these would overflow the stack, or take exponential time, if nothing bounded it.
#[test]
fn deep_nesting_is_an_error_and_soon_found() {
    let deep = 200_000;
    let cases = [
        format!("SELECT {}", "(".repeat(deep)),
        format!("SELECT {}1{}", "(".repeat(deep), ")".repeat(deep)),
        format!("SELECT * FROM {}", "(".repeat(90)),
        format!("SELECT * FROM {}t{}", "(".repeat(90), ")".repeat(90)),
        format!("SELECT * FROM {}SELECT 1{}", "(".repeat(40), ")".repeat(40)),
        format!("SELECT {}1", "- ".repeat(deep)),
        format!("SELECT {}1", "NOT ".repeat(deep)),
        format!("SELECT 1{}", " + 1".repeat(deep)),
        format!("SELECT a{}", "[1]".repeat(deep)),
        format!("SELECT a{}", "::INT".repeat(deep)),
        format!("SELECT {}1{}", "CAST(".repeat(90), " AS INT)".repeat(90)),
        format!(
            "SELECT {}1{}",
            "CAST(".repeat(deep),
            " AS INT)".repeat(deep)
        ),
        format!(
            "SELECT {}1{}",
            "CASE WHEN a THEN ".repeat(deep),
            " END".repeat(deep)
        ),
        format!("SELECT {}1{}", "f(".repeat(90), ")".repeat(90)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(deep)),
        format!(
            "SELECT CAST(a AS {}INT{})",
            "ARRAY<".repeat(deep),
            ">".repeat(deep)
        ),
        format!(
            "CREATE TABLE t (a {}INT{})",
            "ARRAY<".repeat(deep),
            ">".repeat(deep)
        ),
        format!(
            "CREATE TABLE t (a {}INT{})",
            "ROW<b ".repeat(60),
            ">".repeat(60)
        ),
        format!("SELECT * FROM {}t", "TUMBLE(".repeat(deep)),
        format!(
            "SELECT * FROM {}t{}",
            "TABLE(TUMBLE(TABLE (SELECT * FROM ".repeat(24),
            "), DESCRIPTOR(a), INTERVAL '1' SECOND))".repeat(24)
        ),
        format!("SELECT * FROM a {}", "JOIN a ".repeat(5_000)),
        format!("EXPLAIN {} SELECT 1", "EXPLAIN ".repeat(deep)),
        "'".repeat(deep),
        "/*".repeat(deep),
        ";".repeat(deep),
    ];
    let start = std::time::Instant::now();
    for case in &cases {
        let before = std::time::Instant::now();
        let _ = parse(case);
        assert!(
            before.elapsed().as_secs() < 10,
            "{:?} for {}",
            before.elapsed(),
            &case[..case.len().min(60)]
        );
    }
    assert!(start.elapsed().as_secs() < 60);
}
