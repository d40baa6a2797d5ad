//! Hostile text: an error, never a panic, a hang or a stack that overflows.

use proptest::prelude::*;
use weir_planner::syntax::parse;

use crate::diagnose;

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

/// Queries of the whole language that plan as they are.
fn plannable() -> Vec<&'static str> {
    vec![
        "CREATE TABLE t ( a BIGINT , b STRING , c DOUBLE , r ROW<x INT> , g ARRAY<INT> , ts TIMESTAMP(3) , d AS a + 1 , \
         WATERMARK FOR ts AS ts - INTERVAL '5' SECOND ) WITH ( 'connector' = 'datagen' ) ; \
         CREATE TABLE s ( k BIGINT , n BIGINT , m DOUBLE ) WITH ( 'connector' = 'print' ) ; \
         INSERT INTO s SELECT a , count(*) , avg(c) FROM t WHERE b LIKE 'x%' AND a > 3 GROUP BY a HAVING count(*) > 1 ; \
         SELECT window_start , a % 7 AS k , sum(c) FILTER (WHERE a > 0) FROM TUMBLE( t , ts , INTERVAL '1' HOUR ) GROUP BY window_start , window_end , a % 7 ;",
        "CREATE TABLE t ( a BIGINT , b STRING , ts TIMESTAMP(3) , WATERMARK FOR ts AS ts ) WITH ( 'connector' = 'datagen' ) ; \
         CREATE VIEW v AS SELECT a AS k , upper( b ) AS u , CASE WHEN a > 1 THEN 'x' ELSE b END AS w FROM t ; \
         WITH x AS ( SELECT k , max( u ) AS m FROM v GROUP BY k ) , y AS ( SELECT k , w FROM v UNION ALL SELECT a , b FROM t ) \
         SELECT x.k , y.w , CAST( x.m AS BYTES ) , TRY_CAST( y.w AS DECIMAL(10,2) ) FROM x JOIN y ON x.k = y.k AND x.m <> y.w WHERE x.k IN ( 1 , 2 , 3 ) ; \
         SELECT count(*) , min( ts ) FROM ( SELECT * FROM HOP( t , ts , INTERVAL '1' MINUTE , INTERVAL '5' MINUTE ) ) AS h GROUP BY window_start , window_end , b ;",
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
        let _ = diagnose(&text.into_iter().collect::<String>());
    }

    /// Whole words and clauses change places: what still parses reaches the binder.
    #[test]
    fn a_query_with_words_swapped_never_panics(
        seed in prop::sample::select(plannable()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..4), 1..5),
    ) {
        let mut words: Vec<&str> = seed.split_inclusive([' ', '(', ')', ',']).collect();
        for (at, other, kind) in edits {
            let (at, other) = (at.index(words.len()), other.index(words.len()));
            match kind {
                0 => words.swap(at, other),
                1 => words[at] = words[other],
                2 => words.insert(at, words[other]),
                _ => drop(words.remove(at)),
            }
            if words.is_empty() {
                break;
            }
        }
        let _ = diagnose(&words.concat());
    }
}

#[test]
fn the_seeds_of_the_swapped_queries_plan() {
    for seed in plannable() {
        let problems = diagnose(seed);
        assert!(
            !problems.has_errors(),
            "{}",
            problems.render("seed.sql", seed)
        );
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
        let _ = diagnose(case);
        assert!(
            before.elapsed().as_secs() < 60,
            "{:?} for {}",
            before.elapsed(),
            &case[..case.len().min(60)]
        );
    }
    assert!(start.elapsed().as_secs() < 60);
}
