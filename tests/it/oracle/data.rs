//! Schemas and rows of generated cases.

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use weir_tests::data::{Delay, SqlType, Table};
use weir_tests::value::{Row, Value};

/// A table of random rows: event time that runs ahead and falls back, keys with few values, NULLs, duplicates.
pub(crate) fn random_table(name: &str, rng: &mut SmallRng) -> Table {
    let mut columns = vec![("ts".to_owned(), SqlType::Timestamp)];
    let pool = [
        ("k", SqlType::Int),
        ("b", SqlType::BigInt),
        ("s", SqlType::String),
        ("f", SqlType::Boolean),
        ("d", SqlType::Double),
        ("m", SqlType::Decimal),
        ("i", SqlType::Int),
        ("u", SqlType::Timestamp),
    ];
    for (at, (column, kind)) in pool.into_iter().enumerate() {
        // Key columns are always there: joins and groups need them.
        if at < 3 || rng.random_bool(0.6) {
            columns.push((column.to_owned(), kind));
        }
    }
    let count = *[0, 1, 7, 40, 40, 150, 150, 400]
        .choose(rng)
        .expect("a list of numbers");
    let nulls = *[0.0, 0.1, 0.1, 0.5].choose(rng).expect("a list of numbers");
    let keys = *[2i64, 5, 20].choose(rng).expect("a list of numbers");
    // Mostly forward; some rows far behind, and so late behind a short watermark.
    let mut clock: i64 = 1_700_000_000_000;
    let mut rows: Vec<Row> = Vec::with_capacity(count);
    for _ in 0..count {
        clock += rng.random_range(0..3000);
        if !rows.is_empty() && rng.random_bool(0.1) {
            let again = rows.choose(rng).expect("there are rows").clone();
            rows.push(again);
            continue;
        }
        let behind = if rng.random_bool(0.2) {
            rng.random_range(0..60_000)
        } else {
            0
        };
        let mut row = vec![Value::Time((clock - behind) * 1_000_000)];
        for (_, kind) in &columns[1..] {
            row.push(if rng.random_bool(nulls) {
                Value::Null
            } else {
                random_value(*kind, keys, rng)
            });
        }
        rows.push(row);
    }
    let seconds = *[0, 5, 30].choose(rng).expect("a list of numbers");
    Table {
        name: name.to_owned(),
        columns,
        watermark: Some(Delay { column: 0, seconds }),
        rows,
        retracted: Vec::new(),
    }
}

/// Tables for a query: one that only grows, and another one that does, or whose rows are taken back again.
pub(super) fn random_tables(rng: &mut SmallRng) -> Vec<Table> {
    let mut tables = vec![random_table("alpha", rng), random_table("beta", rng)];
    if rng.random_bool(0.3) && !tables[1].rows.is_empty() {
        random_changelog(&mut tables[1], rng);
    }
    tables
}

/// Makes a changelog of a table: now and then a row that is there is taken back, and perhaps given again.
fn random_changelog(table: &mut Table, rng: &mut SmallRng) {
    let mut there: Vec<Row> = Vec::new();
    let (mut rows, mut retracted) = (Vec::new(), Vec::new());
    let often = *[0.1, 0.4, 0.9].choose(rng).expect("a list of numbers");
    for row in std::mem::take(&mut table.rows) {
        there.push(row.clone());
        rows.push(row);
        retracted.push(false);
        while !there.is_empty() && rng.random_bool(often * 0.7) {
            let at = rng.random_range(0..there.len());
            rows.push(there.swap_remove(at));
            retracted.push(true);
        }
    }
    (table.rows, table.retracted) = (rows, retracted);
    table.watermark = None;
}

fn random_value(kind: SqlType, keys: i64, rng: &mut SmallRng) -> Value {
    match kind {
        SqlType::Boolean => Value::Bool(rng.random()),
        SqlType::Int | SqlType::BigInt => Value::Int(rng.random_range(-1..keys)),
        // Quarters: sums of them are exact, so that a comparison in the query never hangs on the order of additions.
        SqlType::Double => Value::Float(rng.random_range(-400..400) as f64 / 4.0),
        SqlType::Decimal => {
            let cents: i64 = rng.random_range(0..100_000);
            let sign = if cents > 0 && rng.random_bool(0.3) {
                "-"
            } else {
                ""
            };
            Value::Text(format!("{sign}{}.{:02}", cents / 100, cents % 100))
        }
        SqlType::String => {
            let words = [
                "",
                "a",
                "b",
                "Ab",
                "häuser",
                "a longer string than twelve bytes",
                "%_",
                "7",
                "NULL",
            ];
            Value::Text(
                (*words[..words.len().min(keys as usize + 3)]
                    .choose(rng)
                    .expect("a list of words"))
                .to_owned(),
            )
        }
        SqlType::Timestamp => {
            Value::Time((1_700_000_000 + rng.random_range(0..50)) * 1_000_000_000)
        }
    }
}
