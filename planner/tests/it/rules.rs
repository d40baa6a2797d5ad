//! Rules of the front end that hold for every text, drawn at random.

use proptest::prelude::*;
use weir_planner::plan::Window;
use weir_planner::syntax::{Statement, WindowRelation, parse, window_call};

/// Statements with nothing wrong in them, and statements with one or more mistakes.
const STATEMENTS: &[&str] = &[
    "CREATE TABLE t (a BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'print')",
    "CREATE VIEW v AS SELECT a, count(*) FROM t GROUP BY a",
    "INSERT INTO t SELECT * FROM v",
    "SELECT 'a;b' FROM t /* ; */",
    "SET 'parallelism' = '4'",
    "EXPLAIN SELECT * FROM v",
    "CREATE TABLE t (a BIGNIT, b DECIMAL(90, 2), PRIMARY KEY (a))",
    "CREATE TABLE t (a ROW<b INT, c LONG>, d UUID,",
    "SELECT a, FROM t",
    "SELECT (a FROM t",
    "SELECT a) FROM t",
    "SELECT DISTINCT a FROM t ORDER BY a LIMIT 3",
    "SELECT * FROM a LEFT JOIN b ON a.x IN (SELECT 1)",
    "SELECT * FROM TUMBLE(t, ts)",
    "SELECT a /*+ ID('x') */ FROM t",
    "SET 'paralelism' = '4'",
    "DROP TABLE t",
    "frobnicate",
    "INSERT INTO t VALUES (1)",
    "EXPLAIN ANALYZE SELECT 1",
];

/// The codes of what is wrong, in the order in which it is told.
fn codes(sql: &str) -> Vec<String> {
    parse(sql)
        .err()
        .map(|problems| problems.0.into_iter().map(|problem| problem.code).collect())
        .unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mistake_in_one_statement_hides_none_in_another(
        statements in prop::collection::vec(prop::sample::select(STATEMENTS), 1..8),
    ) {
        let apart: Vec<_> = statements.iter().flat_map(|statement| codes(statement)).collect();
        prop_assert_eq!(codes(&statements.join(";\n")), apart);
    }

    #[test]
    fn a_window_means_the_same_in_every_spelling(
        slide in 1i64..100,
        size in 1i64..100,
        offset in prop::option::of(-50i64..50),
        table in any::<bool>(),
        word_table in any::<bool>(),
        descriptor in any::<bool>(),
        named in any::<bool>(),
        order in Just(vec![0usize, 1, 2, 3, 4]).prop_shuffle(),
    ) {
        let relation = if word_table { "TABLE bid" } else { "bid" };
        let time = if descriptor { "DESCRIPTOR(ts)" } else { "ts" };
        let mut arguments = vec![
            ("DATA", relation.to_owned()),
            ("TIMECOL", time.to_owned()),
            ("SLIDE", format!("INTERVAL '{slide}' SECOND")),
            ("SIZE", format!("INTERVAL '{size} seconds'")),
        ];
        arguments.extend(offset.map(|offset| ("OFFSET", format!("INTERVAL '{offset}' SECOND"))));
        let list: Vec<_> = if named {
            let order = order.into_iter().filter(|&place| place < arguments.len());
            order.map(|place| format!("{} => {}", arguments[place].0, arguments[place].1)).collect()
        } else {
            arguments.into_iter().map(|(_, argument)| argument).collect()
        };
        let call = format!("HOP({})", list.join(", "));
        let sql = if table { format!("SELECT * FROM TABLE({call})") } else { format!("SELECT * FROM {call}") };
        let script = parse(&sql).map_err(|problems| TestCaseError::fail(problems.render("test.sql", &sql)))?;
        let [Statement::Select { query, .. }] = script.statements.as_slice() else { panic!() };
        let found = window_call(&query.body.as_select().unwrap().from[0].relation).unwrap();
        let seconds = |seconds: i64| seconds * 1_000_000;
        let expected = Window::Hop { slide: seconds(slide), size: seconds(size), offset: seconds(offset.unwrap_or(0)) };
        prop_assert_eq!(found.window(), Some(expected));
        prop_assert_eq!(found.time.value, "ts");
        prop_assert!(matches!(found.relation, WindowRelation::Named(name) if name.value == "bid"));
    }
}
