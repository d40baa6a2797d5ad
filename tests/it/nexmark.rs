//! The queries of the Nexmark benchmark against a batch engine, over the same events.
//!
//! ```text
//!   generator ─▶ person/, auction/, bid/ as JSON lines ─▶ queries/nexmark/qN.sql over files, parallelism 1, 2, 4 ─▶ fold ─┐
//!        │                      └─────────────────────▶ queries/nexmark/batch/qN.sql in DataFusion ──────────────────────┼─▶ compare
//!        └── in the job's process, in three splits ──▶ queries/nexmark/qN.sql as it stands ─────────────────────▶ fold ─┘
//! ```
//!
//! `WEIR_NEXMARK_EVENTS` says how many events there are; `make nexmark` asks for a million. A query of processing time (q12) is
//! compared by its totals, and one that writes files (q10) by what is in them.

use std::collections::BTreeMap;
use std::path::Path;

use datafusion::execution::options::{CsvReadOptions, JsonReadOptions};
use datafusion::prelude::{SessionConfig, SessionContext};
use weir_connectors::{Deal, TableRequest, open_source};
use weir_state::BackendKind;
use weir_tests::data::{SqlType, Table};
use weir_tests::job::{Setup, run, run_named};
use weir_tests::process::{published, root};
use weir_tests::suite::Suite;
use weir_tests::value::{Multiset, Row, Value, rows_of};
use weir_types::{Column, DataType, TimeUnit};

/// Queries, q0 to q22.
const QUERIES: usize = 23;

/// The options that every query's tables have, but for the name of the table.
const EVENTS: &str =
    "'events' = '10000', 'event.gap' = '100ms', 'first.event.time' = '2024-12-31 23:50:00'";

const TABLES: [(&str, &[(&str, SqlType)]); 3] = [
    (
        "person",
        &[
            ("id", SqlType::BigInt),
            ("name", SqlType::String),
            ("email_address", SqlType::String),
            ("credit_card", SqlType::String),
            ("city", SqlType::String),
            ("state", SqlType::String),
            ("date_time", SqlType::Timestamp),
            ("extra", SqlType::String),
        ],
    ),
    (
        "auction",
        &[
            ("id", SqlType::BigInt),
            ("item_name", SqlType::String),
            ("description", SqlType::String),
            ("initial_bid", SqlType::BigInt),
            ("reserve", SqlType::BigInt),
            ("date_time", SqlType::Timestamp),
            ("expires", SqlType::Timestamp),
            ("seller", SqlType::BigInt),
            ("category", SqlType::BigInt),
            ("extra", SqlType::String),
        ],
    ),
    (
        "bid",
        &[
            ("auction", SqlType::BigInt),
            ("bidder", SqlType::BigInt),
            ("price", SqlType::BigInt),
            ("channel", SqlType::String),
            ("url", SqlType::String),
            ("date_time", SqlType::Timestamp),
            ("extra", SqlType::String),
        ],
    ),
];

fn events() -> u64 {
    let asked = std::env::var("WEIR_NEXMARK_EVENTS").ok();
    asked.map_or(100_000, |text| text.parse().unwrap())
}

fn with(table: &str) -> String {
    format!("WITH ('connector' = 'nexmark', 'table' = '{table}', {EVENTS});")
}

fn text(query: usize) -> String {
    std::fs::read_to_string(root().join(format!("queries/nexmark/q{query}.sql"))).unwrap()
}

/// The queries that give rows to look at; q10 writes files.
pub(crate) fn queries_with_rows() -> impl Iterator<Item = usize> {
    (0..QUERIES).filter(|query| {
        let path = root().join(format!("queries/nexmark/q{query}.sql"));
        *query != 10 && path.exists()
    })
}

fn batch_text(query: usize) -> String {
    let path = root().join(format!("queries/nexmark/batch/q{query}.sql"));
    std::fs::read_to_string(path).unwrap()
}

/// The query over files of the base folder.
pub(crate) fn over_files(query: usize) -> String {
    TABLES.iter().fold(text(query), |text, (table, _)| {
        let files =
            format!("WITH ('connector' = 'filesystem', 'path' = '{table}', 'format' = 'json');");
        text.replace(&with(table), &files)
    })
}

/// The query over the generator, with so many events.
fn over_generator(query: usize, events: u64) -> String {
    let all = EVENTS.replace("'10000'", &format!("'{events}'"));
    text(query).replace(EVENTS, &format!("{all}, 'splits' = '3'"))
}

/// The rows of a table, straight from the connector.
fn generate(table: &str, columns: &[(&str, SqlType)], events: u64) -> Table {
    let mut options: BTreeMap<String, String> = BTreeMap::from([
        ("connector".to_owned(), "nexmark".to_owned()),
        ("table".to_owned(), table.to_owned()),
    ]);
    let quoted: Vec<&str> = EVENTS.split('\'').collect();
    for pair in quoted.chunks_exact(4) {
        options.insert(pair[1].to_owned(), pair[3].to_owned());
    }
    options.insert("events".to_owned(), events.to_string());
    let declared: Vec<Column> = columns
        .iter()
        .map(|(name, kind)| {
            let data_type = match kind {
                SqlType::BigInt => DataType::Int64,
                SqlType::Timestamp => DataType::Timestamp(TimeUnit::Milli),
                _ => DataType::String,
            };
            Column::new(*name, data_type)
        })
        .collect();
    let request = TableRequest {
        table: table.to_owned(),
        options,
        columns: declared.clone(),
        declared,
        ..TableRequest::default()
    };
    let source = open_source(request).unwrap();
    let split = source.splits(&BTreeMap::new()).unwrap().splits.remove(0);
    let mut dealer = source.dealer(&split, None).unwrap();
    let mut decoder = source.decoder().unwrap();
    let mut rows = Vec::new();
    while let Deal::Chunk(chunk) = dealer.deal(1 << 20, u64::MAX).unwrap() {
        for batch in decoder.decode(&chunk).unwrap().batches {
            rows.extend(rows_of(&batch.rows));
        }
    }
    Table {
        name: table.to_owned(),
        columns: columns
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), *kind))
            .collect(),
        watermark: None,
        rows,
        retracted: Vec::new(),
    }
}

/// A folder with the events as files, and a batch engine that reads them.
pub(crate) struct Arena {
    pub(crate) folder: tempfile::TempDir,
    batch: SessionContext,
    runtime: tokio::runtime::Runtime,
}

impl Arena {
    pub(crate) fn new(events: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root().join("queries"), folder.path().join("queries")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let batch = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        for (name, columns) in TABLES {
            let table = generate(name, columns, events);
            table.write(folder.path(), 2);
            let empty = Table {
                rows: Vec::new(),
                ..table
            };
            let schema = empty.batch().schema();
            let options = JsonReadOptions::default()
                .schema(&schema)
                .file_extension(".jsonl");
            let path = folder.path().join(name);
            runtime
                .block_on(batch.register_json(name, path.to_str().unwrap(), options))
                .unwrap();
        }
        let side = root().join("queries/nexmark/side_input.csv");
        runtime
            .block_on(batch.register_csv(
                "side_input",
                side.to_str().unwrap(),
                CsvReadOptions::new(),
            ))
            .unwrap();
        Self {
            folder,
            batch,
            runtime,
        }
    }

    /// What the batch form of the query gives.
    fn expected(&self, query: usize) -> Multiset {
        let batches = self.runtime.block_on(async {
            let frame = self.batch.sql(&batch_text(query)).await?;
            frame.collect().await
        });
        let batches = batches.unwrap_or_else(|error| panic!("batch/q{query}.sql: {error}"));
        Multiset::of(batches.iter().flat_map(rows_of))
    }

    /// What the query gives, folded, and its files read.
    fn answer(&self, query: usize, way: &Way) -> Result<Multiset, String> {
        let base = self.folder.path();
        match query {
            10 => self.log(way),
            12 => {
                let ran = run(&way.sql, base, &way.setup)?;
                Ok(totals(&ran.outputs[0].folded))
            }
            _ => {
                let mut ran = run(&way.sql, base, &way.setup)?;
                Ok(std::mem::take(&mut ran.outputs[0].folded))
            }
        }
    }

    /// The rows in the files that q10 writes; the folders are two of their columns.
    fn log(&self, way: &Way) -> Result<Multiset, String> {
        let output = tempfile::tempdir().unwrap();
        let place = output.path().join("log");
        let sql = way
            .sql
            .replace("output/nexmark/log", place.to_str().unwrap());
        let setup = Setup {
            state: Some(output.path().join("state")),
            ..way.setup.clone()
        };
        run_named("q10", &sql, self.folder.path(), &setup)?;
        let rows = published(&place)
            .iter()
            .flat_map(|file| log_rows(file))
            .collect::<Vec<_>>();
        Ok(Multiset::of(rows))
    }
}

/// The rows of one file, its folders' values behind those of the record.
fn log_rows(file: &Path) -> Vec<Row> {
    let folders: Vec<Value> = ["day=", "minute="]
        .into_iter()
        .map(|key| {
            let mut names = file.iter().filter_map(|name| name.to_str());
            let value = names.find_map(|name| name.strip_prefix(key)).unwrap();
            Value::Text(value.replace("%3A", ":"))
        })
        .collect();
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let mut row: Row = ["auction", "bidder", "price"]
                .into_iter()
                .map(|name| Value::Int(record[name].as_i64().unwrap()))
                .collect();
            for name in ["date_time", "extra"] {
                row.push(Value::Text(record[name].as_str().unwrap().to_owned()));
            }
            row.extend(folders.clone());
            row
        })
        .collect()
}

/// Bidders and the sums of their bids over all windows.
fn totals(windows: &Multiset) -> Multiset {
    let mut sums: BTreeMap<Value, i64> = BTreeMap::new();
    for (row, count) in &windows.0 {
        let Value::Int(bids) = row[1] else {
            panic!("a count is a number")
        };
        *sums.entry(row[0].clone()).or_default() += bids * count;
    }
    Multiset::of(
        sums.into_iter()
            .map(|(bidder, bids)| vec![bidder, Value::Int(bids)]),
    )
}

/// A way to run a query.
struct Way {
    name: String,
    sql: String,
    setup: Setup,
}

fn ways(query: usize, events: u64) -> Vec<Way> {
    let over_files = |parallelism, cuts, memory, backend| Way {
        name: format!("over files at parallelism {parallelism}"),
        sql: over_files(query),
        setup: Setup {
            parallelism,
            cuts,
            memory,
            backend,
            ..Setup::default()
        },
    };
    vec![
        over_files(1, None, None, BackendKind::Memory),
        over_files(2, Some(7), None, BackendKind::Rocksdb),
        // Too little memory for the state of most queries.
        over_files(4, None, Some(4 << 20), BackendKind::Rocksdb),
        Way {
            name: "over the generator in three splits".to_owned(),
            sql: over_generator(query, events),
            setup: Setup {
                parallelism: 3,
                ..Setup::default()
            },
        },
    ]
}

#[test]
fn every_query_gives_what_a_batch_engine_gives() {
    let mut suite = Suite::begin("nexmark", 120, QUERIES as u64);
    let events = events();
    let arena = Arena::new(events);
    let only: Option<usize> = std::env::var("WEIR_NEXMARK_QUERY")
        .ok()
        .map(|text| text.parse().unwrap());
    let mut failures = Vec::new();
    for query in 0..QUERIES {
        if !root()
            .join(format!("queries/nexmark/q{query}.sql"))
            .exists()
            || only.is_some_and(|only| only != query)
        {
            continue;
        }
        suite.count();
        let mut expected = arena.expected(query);
        if query == 10 {
            expected = Multiset::of(expected.0.into_keys().map(time_as_text));
        }
        assert!(!expected.is_empty(), "q{query} gives nothing");
        for mut way in ways(query, events) {
            // By a clock that stands still there is one window.
            way.setup.clock = (query == 12).then_some(1_714_564_800_000_000);
            let started = std::time::Instant::now();
            let wrong = match arena.answer(query, &way) {
                Ok(answer) => answer.difference(&expected),
                Err(text) => Some(text),
            };
            println!(
                "q{query} {}: {} rows, {:.1} s",
                way.name,
                expected.len(),
                started.elapsed().as_secs_f64()
            );
            if let Some(text) = wrong {
                println!("q{query} {}: {text}", way.name);
                failures.push(format!("q{query} {}: {text}", way.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// As a JSON file has it.
fn time_as_text(row: Row) -> Row {
    row.into_iter()
        .map(|value| match value {
            time @ Value::Time(_) => Value::Text(time.to_string()),
            other => other,
        })
        .collect()
}

#[test]
fn all_queries_declare_their_tables_alike() {
    for query in 0..QUERIES {
        if !root()
            .join(format!("queries/nexmark/q{query}.sql"))
            .exists()
        {
            continue;
        }
        let text = text(query);
        let mut found = 0;
        for (table, columns) in TABLES {
            let Some(start) = text.find(&format!("CREATE TABLE {table} (")) else {
                continue;
            };
            found += 1;
            let declaration = &text[start..start + text[start..].find(';').unwrap() + 1];
            assert!(
                declaration.ends_with(&with(table)),
                "q{query}: {declaration}"
            );
            let declared: Vec<String> = declaration
                .lines()
                .skip(1)
                .take(columns.len())
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            let expected: Vec<String> = columns
                .iter()
                .map(|(name, kind)| format!("{name} {},", kind.sql()))
                .collect();
            assert_eq!(declared, expected, "q{query}, {table}");
        }
        assert!(found > 0, "q{query} reads events");
        assert!(
            text.starts_with(&format!("-- q{query}, ")),
            "q{query} says what it asks"
        );
    }
}
