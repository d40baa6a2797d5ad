//! Edits that change no operator: after each of them every stateful operator of the first plan is in the second one,
//! with the same ID, the same state schema and the same two fingerprints. EVOLUTION 1, 2 and the first row of 6.
//!
//! ```text
//!   random views over two tables ─▶ plan ─┐
//!        └─ edited (one edit or several) ─▶ plan ─┴─▶ operators with state are equal
//! ```

use proptest::prelude::*;
use weir_planner::plan::{Operator, OperatorKind, StreamPlan};
use weir_planner::{AnyCatalog, plan};

const TABLES: &str = "CREATE TABLE t (k STRING, a INT, b BIGINT, c DOUBLE, ts TIMESTAMP(3), d AS a + 1, unused STRING,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'filesystem', 'path' = 't', 'format' = 'json');
CREATE TABLE u (k STRING, a INT, b BIGINT, c DOUBLE, ts TIMESTAMP(3), d AS a * 2,
  WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE) WITH ('connector' = 'filesystem', 'path' = 'u', 'format' = 'json');
";

/// What a view does. All views have the columns k STRING, x BIGINT, y DOUBLE, whatever they are computed of.
#[derive(Clone, Debug)]
enum Shape {
    /// A filter and a projection.
    Narrow { from: usize, above: i64 },
    /// GROUP BY k.
    Group {
        from: usize,
        above: i64,
        having: bool,
    },
    /// GROUP BY a tumbling or hopping window; over a table.
    Window { table: usize, hop: bool, above: i64 },
    /// An inner join of two relations.
    Join {
        left: usize,
        right: usize,
        residual: bool,
    },
    /// UNION ALL of two relations.
    Union { left: usize, right: usize },
    /// A GROUP BY over a CTE with a GROUP BY.
    Nested { from: usize },
}

/// A change of the text that must not change what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    FilterAbove,
    ProjectionAbove,
    AnotherView,
    AnotherConsumer,
    AnotherSource,
    Comments,
    ReorderedStatements,
    RenamedAliases,
    ReorderedColumns,
    ReorderedConjuncts,
}

const EDITS: [Edit; 10] = [
    Edit::FilterAbove,
    Edit::ProjectionAbove,
    Edit::AnotherView,
    Edit::AnotherConsumer,
    Edit::AnotherSource,
    Edit::Comments,
    Edit::ReorderedStatements,
    Edit::RenamedAliases,
    Edit::ReorderedColumns,
    Edit::ReorderedConjuncts,
];

/// The columns k, x, y of relation `index`: 0 and 1 are the tables, the others the views before this one.
fn relation(index: usize) -> (String, &'static str, &'static str) {
    match index {
        0 => ("t".to_owned(), "b", "c"),
        1 => ("u".to_owned(), "d", "c"),
        view => (format!("v{view}"), "x", "y"),
    }
}

struct Style<'e>(&'e [Edit]);

impl Style<'_> {
    fn has(&self, edit: Edit) -> bool {
        self.0.contains(&edit)
    }

    /// The alias of the first relation of a FROM: it is in no ID.
    fn alias(&self) -> &'static str {
        if self.has(Edit::RenamedAliases) {
            "renamed"
        } else {
            "r"
        }
    }

    /// Items of a SELECT or GROUP BY, in the order of the text or backwards.
    fn list(&self, mut items: Vec<String>) -> String {
        if self.has(Edit::ReorderedColumns) {
            items.reverse();
        }
        items.join(", ")
    }

    fn all(&self, mut conjuncts: Vec<String>) -> String {
        if self.has(Edit::ReorderedConjuncts) {
            conjuncts.reverse();
        }
        conjuncts.join(" AND ")
    }

    fn comment(&self) -> &'static str {
        if self.has(Edit::Comments) {
            " /* why\n it is so */ -- and more\n  "
        } else {
            " "
        }
    }
}

fn view(index: usize, shape: &Shape, style: &Style<'_>) -> String {
    let (r, c) = (style.alias(), style.comment());
    let owned = |items: &[&str]| {
        items
            .iter()
            .map(|item| (*item).to_owned())
            .collect::<Vec<_>>()
    };
    let body = match shape {
        Shape::Narrow { from, above } => {
            let (name, x, y) = relation(*from);
            let conditions = vec![format!("{r}.{x} > {above}"), format!("{r}.k <> 'none'")];
            let items = style.list(vec![
                format!("{r}.k"),
                format!("{r}.{x} + 1 AS x"),
                format!("{r}.{y} AS y"),
            ]);
            format!(
                "SELECT{c}{items} FROM {name} AS {r} WHERE {}",
                style.all(conditions)
            )
        }
        Shape::Group {
            from,
            above,
            having,
        } => {
            let (name, x, y) = relation(*from);
            let items = style.list(vec![
                "k".to_owned(),
                format!("count(*) AS x"),
                format!("sum({y}) FILTER (WHERE {x} > 0) AS y"),
            ]);
            let having = if *having { "HAVING count(*) > 3" } else { "" };
            format!(
                "SELECT{c}{items} FROM {name} AS {r} WHERE {r}.{x} < {above} GROUP BY k {having}"
            )
        }
        Shape::Window { table, hop, above } => {
            let (name, x, y) = relation(*table);
            let window = if *hop {
                format!("HOP({name}, ts, INTERVAL '5' MINUTE, INTERVAL '10' MINUTE) AS {r}")
            } else {
                format!("TABLE(TUMBLE(TABLE {name}, DESCRIPTOR(ts), INTERVAL '1' HOUR)) AS {r}")
            };
            let items = style.list(vec![
                "k".to_owned(),
                format!("max({x}) AS x"),
                format!("avg({y}) AS y"),
            ]);
            let keys = style.list(owned(&["window_start", "k", "window_end"]));
            format!("SELECT{c}{items} FROM {window} WHERE {r}.{x} > {above} GROUP BY {keys}")
        }
        Shape::Join {
            left,
            right,
            residual,
        } => {
            let ((left, lx, ly), (right, rx, _)) = (relation(*left), relation(*right));
            let items = style.list(vec![
                format!("{r}.k"),
                format!("{r}.{lx} AS x"),
                format!("{r}.{ly} + j.{rx} AS y"),
            ]);
            let mut conditions = vec![format!("{r}.k = j.k"), format!("j.{rx} > 7")];
            if *residual {
                conditions.push(format!("{r}.{lx} < j.{rx}"));
            }
            format!(
                "SELECT{c}{items} FROM {left} AS {r} JOIN {right} AS j ON {}",
                style.all(conditions)
            )
        }
        Shape::Union { left, right } => {
            let ((left, lx, ly), (right, rx, ry)) = (relation(*left), relation(*right));
            let first = style.list(vec![
                "k".to_owned(),
                format!("{lx} AS x"),
                format!("{ly} AS y"),
            ]);
            let second = style.list(vec!["k".to_owned(), format!("{rx}"), format!("{ry}")]);
            format!("SELECT{c}{first} FROM {left} UNION ALL{c}SELECT {second} FROM {right}")
        }
        Shape::Nested { from } => {
            let (name, x, y) = relation(*from);
            let inner = style.list(vec![
                "k".to_owned(),
                format!("{x} AS p"),
                format!("sum({y}) AS q"),
            ]);
            let keys = style.list(vec!["k".to_owned(), x.to_owned()]);
            let outer = style.list(owned(&["k", "count(p) AS x", "sum(q) AS y"]));
            format!(
                "WITH inner_groups AS (SELECT{c}{inner} FROM {name} GROUP BY {keys}) SELECT {outer} FROM inner_groups AS {r} GROUP BY k"
            )
        }
    };
    // A view's columns are always x, y and k by name: consumers do not see their order.
    format!("CREATE VIEW v{index} AS{c}{body};\n")
}

/// The whole text: tables, views, one consumer for each view.
fn script(shapes: &[Shape], edits: &[Edit]) -> String {
    let style = Style(edits);
    let mut statements = vec![];
    if style.has(Edit::AnotherSource) {
        statements.push(
            "CREATE TABLE more (k STRING, n INT) WITH ('connector' = 'datagen');\n".to_owned(),
        );
    }
    statements.extend(
        shapes
            .iter()
            .enumerate()
            .map(|(i, shape)| view(i + 2, shape, &style)),
    );
    let mut consumers = Vec::new();
    for index in 2..shapes.len() + 2 {
        let items = if style.has(Edit::ProjectionAbove) {
            "upper(k), x * 2"
        } else {
            "k, x, y"
        };
        let filter = if style.has(Edit::FilterAbove) {
            " WHERE y > 0.5 AND x < 100"
        } else {
            ""
        };
        consumers.push(format!("SELECT {items} FROM v{index}{filter};\n"));
    }
    if style.has(Edit::ReorderedStatements) {
        consumers.reverse();
    }
    statements.extend(consumers);
    if style.has(Edit::AnotherView) {
        statements.push("CREATE VIEW extra AS SELECT z.k, count(*) AS n, max(y.x) AS m FROM t AS z JOIN (SELECT k, a AS x FROM u WHERE a > 1) AS y ON z.k = y.k WHERE z.unused = 'p' GROUP BY z.k;\nSELECT * FROM extra;\n".to_owned());
    }
    if style.has(Edit::AnotherConsumer) {
        statements.push("SELECT k, unused, d, ts FROM t WHERE a IS NOT NULL;\n".to_owned());
        statements.extend(
            (2..shapes.len() + 2).map(|index| format!("SELECT y FROM v{index} WHERE k = 'one';\n")),
        );
    }
    if style.has(Edit::AnotherSource) {
        statements.push("SELECT k, sum(n) FROM more GROUP BY k;\n".to_owned());
    }
    format!("{TABLES}{}", statements.concat())
}

/// Plans a text that has no mistake.
fn planned(sql: &str) -> StreamPlan {
    match plan(sql, &AnyCatalog) {
        Ok(planned) => planned.plan,
        Err(mistakes) => panic!("{}", mistakes.render("generated.sql", sql)),
    }
}

fn keeps_something(operator: &&Operator) -> bool {
    operator.is_stateful() || matches!(operator.kind, OperatorKind::Source { .. })
}

fn assert_unchanged(before: &StreamPlan, after: &StreamPlan, what: &str) {
    for old in before.operators.iter().filter(keeps_something) {
        let Some(new) = after.operator(&old.id) else {
            panic!("{} is gone after {what}", old.id)
        };
        assert_eq!(old.state, new.state, "state of {} after {what}", old.id);
        assert_eq!(
            old.fingerprint, new.fingerprint,
            "fingerprint of {} after {what}",
            old.id
        );
        assert_eq!(
            old.upstream_fingerprint, new.upstream_fingerprint,
            "upstream of {} after {what}",
            old.id
        );
    }
}

/// One to four views; each reads tables and views before it. min and max would be refused over updating views.
fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let shape = (
        0..6usize,
        any::<[prop::sample::Index; 2]>(),
        -3i64..9,
        any::<bool>(),
    );
    prop::collection::vec(shape, 1..5).prop_map(|drawn| {
        let of = |(i, (kind, inputs, above, flag)): (
            usize,
            (usize, [prop::sample::Index; 2], i64, bool),
        )| {
            let (first, second) = (inputs[0].index(i + 2), inputs[1].index(i + 2));
            match kind {
                0 => Shape::Narrow { from: first, above },
                1 => Shape::Group {
                    from: first,
                    above,
                    having: flag,
                },
                2 => Shape::Window {
                    table: inputs[0].index(2),
                    hop: flag,
                    above,
                },
                3 => Shape::Join {
                    left: first,
                    right: second,
                    residual: flag,
                },
                4 => Shape::Union {
                    left: first,
                    right: second,
                },
                _ => Shape::Nested { from: first },
            }
        };
        drawn.into_iter().enumerate().map(of).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_single_edit_elsewhere_changes_an_operator(shapes in shapes()) {
        let before = planned(&script(&shapes, &[]));
        for edit in EDITS {
            let after = planned(&script(&shapes, &[edit]));
            assert_unchanged(&before, &after, &format!("{edit:?} of {shapes:?}"));
        }
    }

    #[test]
    fn several_edits_together_change_no_operator(
        shapes in shapes(),
        chosen in prop::sample::subsequence(EDITS.to_vec(), 2..=EDITS.len()),
    ) {
        let (before, after) = (planned(&script(&shapes, &[])), planned(&script(&shapes, &chosen)));
        assert_unchanged(&before, &after, &format!("{chosen:?} of {shapes:?}"));
    }

    #[test]
    fn a_plan_comes_back_from_json_as_it_was(shapes in shapes()) {
        let plan = planned(&script(&shapes, &[]));
        let text = serde_json::to_string(&plan).expect("a plan serializes");
        let again: StreamPlan = serde_json::from_str(&text).expect("and comes back");
        prop_assert_eq!(&plan, &again);
        prop_assert_eq!(plan.validate(), Ok(()));
    }
}

/// Edits that do change something: the property above would be empty if fingerprints were.
#[test]
fn an_edit_of_the_logic_changes_the_fingerprint_of_what_it_touches() {
    let base =
        "CREATE VIEW v AS SELECT k, sum(a) AS s FROM t WHERE b > 1 GROUP BY k; SELECT * FROM v;";
    let before = planned(&format!("{TABLES}{base}"));
    let id = |plan: &StreamPlan| {
        let found = plan
            .operators
            .iter()
            .find(|operator| operator.id.as_str() == "v/aggregate");
        let found = found.expect("there is the aggregate").clone();
        (found.fingerprint, found.upstream_fingerprint)
    };
    let changed = |from: &str, to: &str| {
        let text = format!("{TABLES}{base}");
        assert!(text.contains(from), "{from}");
        let (old, new) = (id(&before), id(&planned(&text.replacen(from, to, 1))));
        (old.0 != new.0, old.1 != new.1)
    };
    assert_eq!(
        changed("sum(a)", "sum(b)"),
        (true, false),
        "another argument is its own logic"
    );
    assert_eq!(
        changed("sum(a)", "avg(a)"),
        (true, false),
        "another function is its own logic"
    );
    assert_eq!(
        changed("b > 1", "b > 2"),
        (false, true),
        "another filter below is upstream"
    );
    assert_eq!(
        changed("'path' = 't'", "'path' = 'elsewhere'"),
        (false, true),
        "another source is upstream"
    );
    assert_eq!(
        changed("a INT", "a BIGINT"),
        (true, false),
        "another type of a column that is read"
    );
    assert_eq!(
        changed("unused STRING", "unused INT"),
        (false, false),
        "a column that nobody reads"
    );
    assert_eq!(
        changed("'5' SECOND", "'9' SECOND"),
        (false, false),
        "a watermark where nothing is late"
    );
    assert_eq!(
        changed("CREATE TABLE", "SET 'row.error' = 'null'; CREATE TABLE"),
        (true, true),
        "what errors give"
    );
}

#[test]
fn a_watermark_counts_where_late_rows_are_dropped() {
    let text = format!(
        "{TABLES}SELECT k, window_start, count(*) FROM TUMBLE(t, ts, INTERVAL '1' HOUR) GROUP BY k, window_start;"
    );
    let of = |text: &str| {
        let plan = planned(text);
        let found = plan
            .operators
            .into_iter()
            .find(|operator| operator.id.as_str() == "select/aggregate");
        let found = found.expect("there is the aggregate");
        (found.fingerprint, found.upstream_fingerprint)
    };
    let (before, after) = (of(&text), of(&text.replace("'5' SECOND", "'9' SECOND")));
    assert_eq!(before.0, after.0);
    assert_ne!(before.1, after.1);
}
