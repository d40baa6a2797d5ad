//! Which old column each column of an edited query's state goes on from.

use weir_planner::compare::{Choices, ColumnFrom, OldTable, Past, compare, mappings};

use super::Files;

const TABLES: &str = "CREATE TABLE t (k STRING, g STRING, a BIGINT, b BIGINT) WITH ('connector' = 'filesystem', 'path' = 't', 'format' = 'json');
CREATE TABLE o (k STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'changelog-json');
";

/// What a table of the new query takes of the old one's.
fn taken(old: &str, new: &str, table: &str) -> Option<OldTable> {
    let plan = |text: &str| {
        weir_planner::plan(&format!("{TABLES}{text}"), &Files)
            .unwrap()
            .plan
    };
    let (old, new) = (plan(old), plan(new));
    let choices = Choices::default();
    let report = compare(&old, &new, &Past::default(), &choices, &Files);
    let all = mappings(&old, &new, &choices, &report);
    let found = all.into_iter().find(|mapping| mapping.table == table);
    found.expect("the new query has that table").from
}

#[test]
fn aggregates_in_another_order_are_found_and_new_ones_begin_empty() {
    let old = "INSERT INTO o SELECT k, max(n) FROM (SELECT k, sum(a) AS n, count(b) AS m FROM t GROUP BY k) AS s GROUP BY k;";
    let new = "INSERT INTO o SELECT k, max(n) FROM (SELECT k, min(b) AS l, count(b) AS m, sum(a) AS n FROM t GROUP BY k) AS s GROUP BY k;";
    let old = taken(old, new, "groups").unwrap();
    let found: Vec<_> = old.columns.clone();
    assert_eq!(found[0], ColumnFrom::Stored(0), "{old:?}");
    assert!(found.contains(&ColumnFrom::Empty), "{old:?}");
    assert_eq!(
        found
            .iter()
            .filter(|from| **from == ColumnFrom::Empty)
            .count(),
        1
    );
    assert!(!old.merges && old.conditions.is_empty());
}

#[test]
fn a_column_that_is_called_the_same_and_is_another_is_not_taken() {
    let join = |side: &str| {
        format!(
            "INSERT INTO o SELECT k, n FROM (SELECT l.k AS k, sum({side}.a) AS n FROM t AS l JOIN t AS r ON l.k = r.k GROUP BY l.k) AS s;"
        )
    };
    // Above a join everything is rebuilt: nothing of the old groups is looked at.
    assert_eq!(taken(&join("l"), &join("r"), "groups"), None);
    let view = |column: &str| {
        format!(
            "CREATE VIEW v AS SELECT k, {column} AS n FROM t; INSERT INTO o SELECT k, sum(n) FROM v GROUP BY k;"
        )
    };
    let old = taken(&view("a"), &view("b"), "groups").unwrap();
    assert_eq!(old.columns, [ColumnFrom::Stored(0), ColumnFrom::Empty]);
}

#[test]
fn a_dropped_key_merges_entries_and_a_tighter_condition_is_told_over_the_old_columns() {
    let by = |keys: &str| {
        format!(
            "INSERT INTO o SELECT k, n FROM (SELECT k, count(DISTINCT a) AS n FROM t GROUP BY {keys}) AS s;"
        )
    };
    let old = taken(&by("k, g"), &by("k"), "groups").unwrap();
    assert!(old.merges, "{old:?}");
    let side = taken(&by("k, g"), &by("k"), "values(a)").unwrap();
    assert!(side.merges, "{side:?}");
    let only =
        |condition: &str| format!("INSERT INTO o SELECT k, sum(a) FROM t {condition} GROUP BY k;");
    let old = taken(&only(""), &only("WHERE k <> 'x'"), "groups").unwrap();
    assert_eq!(old.conditions.len(), 1);
    assert_eq!(
        old.conditions[0].columns().into_iter().collect::<Vec<_>>(),
        [0]
    );
    assert!(!old.merges);
}

#[test]
fn of_a_ranking_that_keeps_fewer_rows_the_first_ones_are_taken() {
    let top = |n: u32| {
        format!(
            "INSERT INTO o SELECT k, a FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY a) AS n FROM t) AS r WHERE n <= {n};"
        )
    };
    assert_eq!(taken(&top(5), &top(2), "rows").unwrap().first_rows, Some(2));
    assert_eq!(taken(&top(2), &top(5), "rows").unwrap().first_rows, None);
}
