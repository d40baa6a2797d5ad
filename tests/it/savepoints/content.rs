//! What is in a savepoint: read by other tools, of every type, of every Nexmark query.

use weir_state::BackendKind;
use weir_tests::job::{RESTORED, Setup, run_from};
use weir_tests::python;
use weir_tests::suite::Suite;

use super::*;
use crate::nexmark;

/// Opens every file of a savepoint; prints rows, and the sum of a column of the table of this operator.
const DUCKDB: &str = r#"
import duckdb, json, sys
folder, operator, column = sys.argv[1:]
manifest = json.load(open(folder + "/manifest.json"))
total = None
for table in manifest["tables"]:
    files = [folder + "/" + file["path"] for file in table["files"]]
    rows = duckdb.sql(f"SELECT count(*) FROM read_parquet({files})").fetchone()[0]
    assert rows == table["rows"], (table["operator"], rows, table["rows"])
    names = [name for name, *_ in duckdb.sql(f"DESCRIBE SELECT * FROM read_parquet({files})").fetchall()]
    assert names == [column["name"] for column in table["columns"]], names
    duckdb.sql(f"SELECT * FROM read_parquet({files})").fetchall()
    if table["operator"] == operator and column in names:
        total = duckdb.sql(f'SELECT sum("{column}") FROM read_parquet({files})').fetchone()[0]
print(total)
"#;

#[test]
fn duckdb_opens_the_files_and_a_sum_over_state_is_the_running_aggregate() {
    let folder = tempfile::tempdir().unwrap();
    let orders = crate::orders::Orders {
        rows: 20_000,
        customers: 3_000,
    };
    orders.write(folder.path());
    let place = Place::new(&folder.path().join("job"), "orders", crate::orders::SQL);
    place.must_run(&["-p", "3", "--stop-after", "13000", "--savepoint", "saved"]);
    let saved = place.folder.join("saved");
    let shown = folded_changelog(&place.folder.join("out/customers"));
    let amount: i64 = shown
        .0
        .iter()
        .map(|(row, count)| match row[0] {
            // Columns are in the order of their names.
            Value::Int(amount) => amount * count,
            _ => panic!("an amount is a number"),
        })
        .sum();
    let arguments = [
        saved.to_str().unwrap(),
        "by_customer/aggregate",
        "sum(CAST(amount AS BIGINT))",
    ];
    assert_eq!(python::run(DUCKDB, &arguments).trim(), amount.to_string());
    // Weir's own engine says the same.
    let sql = "SELECT sum(\"sum(CAST(amount AS BIGINT))\") AS total FROM \"by_customer/aggregate\".\"groups\"";
    let own = must(&place.folder, &["state", "saved", sql, "--format", "json"]);
    assert_eq!(json(own.trim())["total"].to_string(), amount.to_string());
}

/// Every type that a column of state can have, as key, value, nested and NULL.
const TYPES: &str = "\
CREATE TABLE t (id BIGINT, b BOOLEAN, d DECIMAL(12, 2), w DECIMAL(38, 10), s STRING, y BYTES, day DATE, at TIMESTAMP(3),
  l TIMESTAMP_LTZ(6), f DOUBLE, r REAL, a ARRAY<INT>, m MAP<STRING, BIGINT>, o ROW<x INT, y ARRAY<STRING>>)
WITH ('connector' = 'filesystem', 'path' = 't.json', 'format' = 'json');
CREATE TABLE u (id BIGINT) WITH ('connector' = 'filesystem', 'path' = 'u.json', 'format' = 'json');
CREATE TABLE joined (id BIGINT, b BOOLEAN, d DECIMAL(12, 2), w DECIMAL(38, 10), s STRING, y BYTES, day DATE, at TIMESTAMP(3),
  l TIMESTAMP_LTZ(6), f DOUBLE, r REAL, a ARRAY<INT>, m MAP<STRING, BIGINT>, o ROW<x INT, y ARRAY<STRING>>)
WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
INSERT INTO joined SELECT t.* FROM t JOIN u ON t.id = u.id;
";

#[test]
fn columns_of_every_type_are_typed_for_other_tools_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(&folder.path().join("job"), "types", TYPES);
    let full = r#"{"id": 1, "b": true, "d": "1234567890.12", "w": "-0.0000000001", "s": "ä\"", "y": "AAEC", "day": "2024-02-29", "at": "2024-02-29 12:00:00.123", "l": "2024-02-29T12:00:00.123456Z", "f": -0.5, "r": 1.5, "a": [1, null, 3], "m": {"k": 5}, "o": {"x": 7, "y": ["p", null]}}"#;
    std::fs::write(
        place.folder.join("t.json"),
        format!(
            "{full}\n{{\"id\": 2}}\n{}\n",
            full.replace("\"id\": 1", "\"id\": 3")
                .replace("[1, null, 3]", "[]")
        ),
    )
    .unwrap();
    std::fs::write(
        place.folder.join("u.json"),
        "{\"id\": 1}\n{\"id\": 2}\n{\"id\": 3}\n",
    )
    .unwrap();
    place.must_run(&[
        "--stop-after",
        "t=3",
        "--stop-after",
        "u=1",
        "--savepoint",
        "saved",
    ]);
    let program = r#"
import duckdb, json, sys
folder = sys.argv[1]
table = next(t for t in json.load(open(folder + "/manifest.json"))["tables"] if t["table"] == "left")
files = [folder + "/" + file["path"] for file in table["files"]]
for name, kind, *_ in duckdb.sql(f"DESCRIBE SELECT * FROM read_parquet({files})").fetchall():
    print(name, kind)
for row in duckdb.sql(f'SELECT * REPLACE (CAST(l AS VARCHAR) AS l) FROM read_parquet({files}) ORDER BY "key.id"').fetchall():
    print(row)
"#;
    let saved = place.folder.join("saved");
    let text = python::run(program, &[saved.to_str().unwrap()]);
    for wanted in [
        "_key_group INTEGER",
        "key.id BIGINT",
        "d DECIMAL(12,2)",
        "day DATE",
        "a INTEGER[]",
        "o STRUCT(x INTEGER, y VARCHAR[])",
        "[1, None, 3]",
        "{'x': 7, 'y': ['p', None]}",
        "_count BIGINT",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    let rest = Place::new(&folder.path().join("rest"), "types", TYPES);
    for file in ["t.json", "u.json"] {
        std::fs::copy(place.folder.join(file), rest.folder.join(file)).unwrap();
    }
    rest.must_run(&[
        "-p",
        "4",
        "--state-backend",
        "memory",
        "--from",
        saved.to_str().unwrap(),
    ]);
    let (mut both, after) = (
        folded_changelog(&place.folder.join("out")),
        folded_changelog(&rest.folder.join("out")),
    );
    for (row, count) in after.0 {
        both.add(row, count);
    }
    let whole = Place::new(&folder.path().join("whole"), "types", TYPES);
    for file in ["t.json", "u.json"] {
        std::fs::copy(place.folder.join(file), whole.folder.join(file)).unwrap();
    }
    whole.must_run(&[]);
    let undisturbed = folded_changelog(&whole.folder.join("out"));
    assert_eq!(undisturbed.len(), 3);
    if let Some(text) = both.difference(&undisturbed) {
        panic!("{text}");
    }
}

/// Each query is stopped once, with a savepoint, and goes on from it at every parallelism; the backends change.
#[test]
fn every_nexmark_query_goes_on_from_a_savepoint_as_if_nothing_had_happened() {
    let mut suite = Suite::begin("savepoints", 60, 20);
    let arena = nexmark::Arena::new(3_000);
    let mut failures = Vec::new();
    for query in nexmark::queries_with_rows() {
        suite.count();
        if let Err(text) = through_savepoint(&arena, query) {
            failures.push(format!("q{query}: {text}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn through_savepoint(arena: &nexmark::Arena, query: usize) -> Result<(), String> {
    let base = arena.folder.path();
    let sql = nexmark::over_files(query);
    let clock = Some(1_714_564_800_000_000);
    let kinds = [BackendKind::Rocksdb, BackendKind::Memory];
    let plain = Setup {
        clock,
        ..Setup::default()
    };
    let expected = run_from("nexmark", &sql, base, &plain, &[])?;
    let folder = tempfile::tempdir().unwrap();
    let saved: PathBuf = folder.path().join("saved");
    let first = Setup {
        parallelism: 1 + (query as u32) % 3,
        backend: kinds[query % 2],
        state: Some(folder.path().join("first")),
        stop_after: Some(97 + 31 * query as u64),
        save_to: Some(saved.clone()),
        ..plain.clone()
    };
    let half = run_from("nexmark", &sql, base, &first, &[])?;
    for (at, parallelism) in RESTORED.into_iter().enumerate() {
        let second = Setup {
            parallelism,
            backend: kinds[(query + at) % 2],
            state: Some(folder.path().join(format!("second-{at}"))),
            restore_from: Some(saved.clone()),
            ..plain.clone()
        };
        let rest = run_from("nexmark", &sql, base, &second, &half.outputs)?;
        if let Some(text) = rest.outputs[0]
            .folded
            .difference(&expected.outputs[0].folded)
        {
            return Err(format!("at parallelism {parallelism}: {text}"));
        }
    }
    Ok(())
}
