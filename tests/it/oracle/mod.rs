//! Random queries over random rows, against a batch engine: whatever the parallelism, the cuts, the memory and the stops.
//!
//! A failing case is made smaller (fewer rows) while it still fails, and printed whole: the SQL and the rows.

pub(crate) mod data;

mod compare;
mod expressions;
mod generator;
mod groups;
mod joins;
mod kept;
mod kill;
mod lookups;
mod over;
mod ranks;
mod select;
mod sets;
mod subqueries;
mod timed;
mod unnests;
mod windows;

use rand::Rng;
use rand::rngs::SmallRng;
use weir_tests::data::{Table, rng};
use weir_tests::job::{Setup, plan};
use weir_tests::suite::Suite;
use weir_tests::value::Multiset;

use crate::batch::Oracle;
use compare::{Way, answer, compare, smaller};
use data::{random_table, random_tables};
use generator::{Query, random_query, shape_names};
use kill::killed;

/// Failures to collect before the suite stops.
const FAILURES_MAX: usize = 5;

/// Cases that Weir still answers wrongly, to be mended first: whoever mends one takes it out, or this suite fails.
const KNOWN_FAILURES: &[u64] = &[];

#[test]
fn generated_queries_give_what_a_batch_engine_gives() {
    let mut suite = Suite::with_share("oracle", 0.8, 30, 20);
    let mut failures = Vec::new();
    let (mut unanswered, mut drawn, mut died) = (0, 0, 0);
    while let Some(seed) = suite.next_seed() {
        drawn += 1;
        let known = KNOWN_FAILURES.contains(&seed);
        match check(seed) {
            Ok(_) if known => failures.push(format!(
                "seed {seed} is right now: take it out of KNOWN_FAILURES"
            )),
            Ok(Checked::Right { killed }) => died += u64::from(killed),
            Ok(Checked::Unanswered) => unanswered += 1,
            Err(_) if known => println!("oracle: known failure, {}", suite.replay(seed)),
            Err(text) => failures.push(format!("seed {seed}: {text}\n{}", suite.replay(seed))),
        }
        if failures.len() >= FAILURES_MAX {
            break;
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {drawn} cases failed\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    println!("oracle: {died} of {drawn} cases were killed in the middle");
    assert!(
        unanswered * 10 <= drawn,
        "the batch engine itself failed in {unanswered} of {drawn} cases"
    );
}

/// What became of a case.
enum Checked {
    /// The batch engine has no answer, so there is nothing to compare.
    Unanswered,
    /// All ways gave its answer; perhaps a process died on one of them.
    Right { killed: bool },
}

fn check(seed: u64) -> Result<Checked, String> {
    let mut rng = rng(seed);
    let tables = random_tables(&mut rng);
    let query = random_query(&tables, &mut rng);
    let rows = tables
        .iter()
        .map(|table| table.rows.len())
        .max()
        .unwrap_or(0);
    let Some(expected) = answer(&tables, &query) else {
        return Ok(Checked::Unanswered);
    };
    let plain = Way {
        setup: Setup::default(),
        files: 1,
        by_savepoint: false,
        resume: None,
    };
    let ways = [
        plain,
        Way::random(&mut rng, rows),
        Way::random(&mut rng, rows),
    ];
    // A process is slow to start: this is for some of the cases.
    let mut died = false;
    if rng.random_bool(0.08) {
        died = killed(&tables, &query, &expected, &mut rng).map_err(|reason| {
            let rows: String = tables.iter().map(Table::describe).collect();
            format!(
                "{reason}\n{rows}\n-- Weir\n{}\n-- oracle\n{}",
                query.weir(),
                query.oracle
            )
        })?;
    }
    for way in ways {
        if let Err(reason) = compare(&tables, &query, &expected, &way) {
            let (tables, reason) = smaller(tables, &query, &way, reason);
            let rows: String = tables.iter().map(Table::describe).collect();
            return Err(format!(
                "{reason}\n{way:?}\n{rows}\n-- Weir\n{}\n-- oracle\n{}",
                query.weir(),
                query.oracle
            ));
        }
    }
    Ok(Checked::Right { killed: died })
}

/// Also what the smaller suites of a short run never draw.
#[test]
fn the_planner_takes_every_generated_query() {
    let mut refused = Vec::new();
    for seed in 0..400 {
        let mut rng = rng(seed);
        let tables = random_tables(&mut rng);
        let query = random_query(&tables, &mut rng);
        if let Err(text) = plan(&query.weir()) {
            refused.push(format!("seed {seed}:\n{text}"));
        }
    }
    assert!(
        refused.is_empty(),
        "{} of 400 are refused\n{}",
        refused.len(),
        refused.join("\n")
    );
}

#[test]
fn the_batch_engine_answers_nearly_all_generated_queries_and_most_with_rows() {
    let (mut failed, mut with_rows) = (Vec::new(), 0);
    let constructs = [
        "HAVING",
        "FILTER",
        "CREATE VIEW",
        "WITH q",
        "(SELECT",
        "window_time",
        "avg(",
    ];
    let mut seen = constructs.map(|_| 0);
    let mut drawn = std::collections::BTreeMap::new();
    for seed in 0..300 {
        let mut rng = rng(seed);
        let tables = random_tables(&mut rng);
        let query = random_query(&tables, &mut rng);
        let weir = query.weir();
        for (construct, count) in constructs.iter().zip(&mut seen) {
            *count += usize::from(weir.contains(construct));
        }
        for shape in &query.shapes {
            *drawn.entry(*shape).or_insert(0) += 1;
        }
        match Oracle::new(&tables).query(&query.oracle) {
            Ok(rows) => with_rows += usize::from(!rows.is_empty()),
            Err(error) => failed.push(format!("seed {seed}: {error}\n{}", query.oracle)),
        }
    }
    assert!(
        failed.len() < 6,
        "{} of 300 failed:\n{}",
        failed.len(),
        failed.join("\n\n")
    );
    assert!(with_rows > 180, "{with_rows} of 300 answers have rows");
    for (construct, count) in constructs.iter().zip(seen) {
        assert!(count >= 10, "{construct} is in {count} of 300 queries");
    }
    for shape in shape_names() {
        let count = drawn.get(shape).copied().unwrap_or(0);
        assert!(count >= 5, "{shape} is drawn {count} times for 300 queries");
    }
}

/// The queries that are worth a name, each run in many ways.
#[test]
fn hand_written_queries_give_what_a_batch_engine_gives() {
    let mut suite = Suite::with_share("oracle", 0.15, 30, HAND_WRITTEN.len() as u64);
    let mut rng = rng(7);
    for (name, query) in HAND_WRITTEN {
        suite.count();
        let table = |name: &str, rng: &mut SmallRng| loop {
            let table = random_table(name, rng);
            if table.rows.len() >= 40 && table.columns.len() == 9 {
                break table;
            }
        };
        let tables = vec![table("alpha", &mut rng), table("beta", &mut rng)];
        let ddl: String = tables.iter().map(Table::ddl).collect();
        let query = Query {
            views: ddl,
            select: (*query).to_owned(),
            columns: Vec::new(),
            oracle: (*query).to_owned(),
            shapes: Vec::new(),
        };
        let expected = Oracle::new(&tables)
            .query(&query.oracle)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = Multiset::of(expected);
        for _ in 0..4 {
            let way = Way::random(&mut rng, tables[0].rows.len());
            if let Err(reason) = compare(&tables, &query, &expected, &way) {
                panic!("{name}: {reason}\n{way:?}\n{}", query.weir());
            }
        }
    }
}

const HAND_WRITTEN: &[(&str, &str)] = &[
    ("a projection keeps duplicates", "SELECT k, s FROM alpha"),
    (
        "NULL is neither equal nor different",
        "SELECT k FROM alpha WHERE NOT (k = 1 AND s = 'a')",
    ),
    (
        "every aggregate at once",
        "SELECT k, count(*), count(b), sum(b), sum(d), sum(m), avg(b), avg(d), min(s), max(s), min(d), max(u), bool_and(f), \
         bool_or(f) FROM alpha GROUP BY k",
    ),
    (
        "NULL is a group of its own",
        "SELECT s, f, count(*) FROM alpha GROUP BY s, f",
    ),
    (
        "true, false and NULL are three groups",
        "SELECT f, count(*), sum(b) FROM alpha GROUP BY f",
    ),
    (
        "a total over everything",
        "SELECT count(*), sum(b), min(s) FROM alpha",
    ),
    (
        "a total over nothing is one row",
        "SELECT count(*), sum(b), min(s), bool_or(f) FROM alpha WHERE k > 1000",
    ),
    (
        "a group over nothing is no row",
        "SELECT k, count(*) FROM alpha WHERE k > 1000 GROUP BY k",
    ),
    (
        "groups come and go with HAVING",
        "SELECT k, sum(b) FROM alpha GROUP BY k HAVING sum(b) % 2 = 0",
    ),
    (
        "an aggregate of an aggregate",
        "SELECT n, count(*), sum(t) FROM (SELECT k, s, count(*) AS n, sum(b) AS t FROM alpha GROUP BY k, s) AS x GROUP BY n",
    ),
    (
        "three aggregates, one above the other",
        "WITH one AS (SELECT k, s, f, count(*) AS n FROM alpha GROUP BY k, s, f), \
         two AS (SELECT k, s, sum(n) AS n, count(*) AS c FROM one GROUP BY k, s) \
         SELECT c, sum(n), count(*) FROM two GROUP BY c",
    ),
    (
        "an inner join keeps pairs",
        "SELECT a.k, a.s, b.s FROM alpha AS a JOIN beta AS b ON a.k = b.k AND a.s = b.s",
    ),
    (
        "a join with another condition",
        "SELECT a.b, b.d FROM alpha AS a JOIN beta AS b ON a.k = b.k AND a.b < b.b",
    ),
    (
        "a table joined with itself",
        "SELECT a.s, b.s FROM alpha AS a JOIN alpha AS b ON a.k = b.i AND a.s < b.s",
    ),
    (
        "a join of aggregates",
        "SELECT a.k, a.n, b.n FROM (SELECT k, count(*) AS n FROM alpha GROUP BY k) AS a \
         JOIN (SELECT i, sum(b) AS n FROM beta GROUP BY i) AS b ON a.k = b.i",
    ),
    (
        "an aggregate of a join of aggregates",
        "SELECT x.n, count(*), sum(y.t) FROM (SELECT k, count(*) AS n FROM alpha GROUP BY k) AS x \
         JOIN (SELECT k, sum(b) AS t FROM beta GROUP BY k) AS y ON x.k = y.k GROUP BY x.n",
    ),
    (
        "a union of a stream and of changes",
        "SELECT s, sum(n) FROM (SELECT s, 1 AS n FROM alpha UNION ALL SELECT s, count(*) AS n FROM beta GROUP BY s) AS x GROUP BY s",
    ),
    (
        "a CTE that is read twice",
        "WITH x AS (SELECT k, count(*) AS n FROM alpha GROUP BY k) SELECT l.n, r.k FROM x AS l JOIN x AS r ON l.n = r.n",
    ),
    (
        "filters of aggregates",
        "SELECT k, count(*) FILTER (WHERE f), sum(b) FILTER (WHERE s LIKE 'a%'), max(d) FILTER (WHERE b > 1) FROM alpha GROUP BY k",
    ),
];
