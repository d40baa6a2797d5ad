//! The demo over all 336,776 flights: what `queries/flights.sql` gives is what a batch engine gives, and the late rows are the same.
//!
//! The late rows are found here by the definition: running over the file, a flight is late if the hour of its schedule had ended by the
//! watermark that the flights before it had promised. The batch engine gets the flights without them for the windowed query.

use std::io::Read;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use weir_tests::job::{Setup, run};
use weir_tests::process::root;
use weir_tests::suite::Suite;
use weir_tests::value::Multiset;

use crate::batch::Oracle;

const HOUR_MS: i64 = 3_600_000;

/// Flights of the file.
const FLIGHTS: usize = 336_776;

/// `2013-01-01 10:15:00` as milliseconds since the Unix epoch, by counting days.
fn millis(text: &str) -> i64 {
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut days: i64 = (1970..year)
        .map(|year| if leap(year) { 366 } else { 365 })
        .sum();
    let lengths = [
        31,
        if leap(year) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    days += lengths[..(month - 1) as usize].iter().sum::<i64>() + day - 1;
    ((days * 24 + number(11..13)) * 60 + number(14..16)) * 60_000 + number(17..19) * 1000
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn batch(columns: Vec<(&str, DataType, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, kind, _)| Field::new(*name, kind.clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// The departures with a column `late`, and how many are late.
fn departures() -> (RecordBatch, u64) {
    let file = std::fs::File::open(root().join("queries/data/departures.csv.zst")).unwrap();
    let mut text = String::new();
    zstd::Decoder::new(file)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(rows.len(), FLIGHTS);
    let at: Vec<i64> = rows.iter().map(|row| millis(row[0])).collect();
    let mut watermark = i64::MIN;
    let late: Vec<bool> = at
        .iter()
        .map(|&at| {
            let ended = at.div_euclid(HOUR_MS) * HOUR_MS + HOUR_MS <= watermark;
            watermark = watermark.max(at - 2 * HOUR_MS);
            ended
        })
        .collect();
    let count = late.iter().filter(|late| **late).count() as u64;
    let text_column = |at: usize| {
        Arc::new(
            rows.iter()
                .map(|row| Some(row[at]))
                .collect::<StringArray>(),
        ) as ArrayRef
    };
    let int_column = |at: usize| {
        Arc::new(
            rows.iter()
                .map(|row| row[at].parse().ok())
                .collect::<Int32Array>(),
        ) as ArrayRef
    };
    let batch = batch(vec![
        (
            "sched_at",
            timestamp(),
            Arc::new(TimestampMillisecondArray::from(at)),
        ),
        ("dep_delay", DataType::Int32, int_column(1)),
        ("carrier", DataType::Utf8, text_column(2)),
        ("flight", DataType::Int32, int_column(3)),
        ("origin", DataType::Utf8, text_column(4)),
        ("dest", DataType::Utf8, text_column(5)),
        (
            "late",
            DataType::Boolean,
            Arc::new(BooleanArray::from(late)),
        ),
    ]);
    (batch, count)
}

fn weather() -> RecordBatch {
    let file = std::fs::File::open(root().join("queries/data/weather.csv.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect();
    let float = |at: usize| {
        Arc::new(
            rows.iter()
                .map(|row| row[at].parse().ok())
                .collect::<Float64Array>(),
        ) as ArrayRef
    };
    batch(vec![
        (
            "hour_at",
            timestamp(),
            Arc::new(
                rows.iter()
                    .map(|row| Some(millis(row[0])))
                    .collect::<TimestampMillisecondArray>(),
            ),
        ),
        (
            "origin",
            DataType::Utf8,
            Arc::new(rows.iter().map(|row| Some(row[1])).collect::<StringArray>()),
        ),
        ("temp", DataType::Float64, float(2)),
        ("wind_speed", DataType::Float64, float(3)),
        ("precip", DataType::Float64, float(4)),
        ("visib", DataType::Float64, float(5)),
    ])
}

/// SELECTs beside those of the demo: its views without the filters that keep a screen short.
const WHOLE_VIEWS: &str = "
SELECT * FROM hourly_delays;
SELECT * FROM routes;
SELECT origin, sky, count(*), sum(dep_delay), min(dep_delay), max(dep_delay) FROM flights_in_weather GROUP BY origin, sky;
";

/// The demo's statements for the batch engine: (views, SELECTs). A view of ours is a CTE of theirs; the window is spelled out.
fn for_the_oracle(sql: &str) -> (String, Vec<String>) {
    let plain: String = sql
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .fold(String::new(), |all, line| {
            all + line.split(" --").next().unwrap_or(line) + "\n"
        });
    let window = "TUMBLE(departures, sched_at, INTERVAL '1' HOUR)";
    assert!(
        plain.contains(window),
        "the demo's window is spelled as this test knows it"
    );
    let spelled_out = "(SELECT *, date_trunc('hour', sched_at) AS window_start, \
                       date_trunc('hour', sched_at) + INTERVAL '1 hour' AS window_end FROM departures WHERE NOT late)";
    let plain = plain.replace(window, spelled_out);
    let (mut views, mut selects) = (Vec::new(), Vec::new());
    for statement in plain
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
    {
        if let Some(view) = statement.strip_prefix("CREATE VIEW ") {
            let (name, query) = view
                .split_once(" AS\n")
                .expect("a view has a name and a query");
            views.push(format!("{name} AS ({query})"));
        } else if statement.starts_with("SELECT") {
            selects.push(statement.to_owned());
        } else {
            assert!(
                statement.starts_with("CREATE TABLE"),
                "an unexpected statement: {statement}"
            );
        }
    }
    (format!("WITH {}\n", views.join(",\n")), selects)
}

#[test]
fn the_demo_gives_what_a_batch_engine_gives() {
    let mut suite = Suite::begin("flights", 60, 4);
    let sql = std::fs::read_to_string(root().join("queries/flights.sql")).unwrap() + WHOLE_VIEWS;
    let (departures, late) = departures();
    let oracle = Oracle::default();
    oracle.register("departures", departures);
    oracle.register("weather", weather());
    let (views, selects) = for_the_oracle(&sql);
    assert_eq!(selects.len(), 6);
    let expected: Vec<Multiset> = selects
        .iter()
        .map(|select| {
            Multiset::of(
                oracle
                    .query(&format!("{views}{select}"))
                    .unwrap_or_else(|error| panic!("{error}\n{select}")),
            )
        })
        .collect();
    for (select, rows) in selects.iter().zip(&expected) {
        assert!(
            !rows.is_empty(),
            "an answer without rows proves nothing: {select}"
        );
    }
    let parallelisms = [1, 2, 4, 5];
    let mut round = 0;
    while let Some(seed) = suite.next_seed() {
        // The first rounds go through all parallelisms; every one has cuts of its own.
        let setup = Setup {
            parallelism: parallelisms[round % 4],
            cuts: Some(seed),
            ..Setup::default()
        };
        round += 1;
        let ran = run(&sql, &root(), &setup).unwrap_or_else(|error| panic!("{error}\n{setup:?}"));
        assert_eq!(ran.outputs.len(), selects.len());
        for ((output, expected), select) in ran.outputs.iter().zip(&expected).zip(&selects) {
            if let Some(difference) = output.folded.difference(expected) {
                panic!("{difference}\n{setup:?}\n{select}");
            }
        }
        let counted: Vec<u64> = ran
            .summary
            .late
            .iter()
            .map(|(_, rows)| *rows)
            .filter(|rows| *rows > 0)
            .collect();
        assert_eq!(
            counted,
            [late],
            "late rows by operator: {:?}; {setup:?}",
            ran.summary.late
        );
    }
}

#[test]
fn the_two_demo_files_ask_the_same_questions() {
    let read = |name: &str| std::fs::read_to_string(root().join("queries").join(name)).unwrap();
    let (screen, files) = (read("flights.sql"), read("flights_files.sql"));
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["CREATE TABLE departures (", "CREATE TABLE weather ("] {
        let statement = |text: &str| {
            let from = text.find(part).expect("both files declare it");
            squeezed(&text[from..from + text[from..].find(");").expect("a statement ends")])
        };
        assert_eq!(statement(&screen), statement(&files));
    }
    for question in [
        "FROM TUMBLE(departures, sched_at, INTERVAL '1' HOUR)\nGROUP BY window_start, window_end, origin",
        "GROUP BY origin, dest",
        "JOIN weather AS w ON d.origin = w.origin AND date_trunc('hour', d.sched_at) = w.hour_at",
    ] {
        assert!(
            screen.contains(question) && files.contains(question),
            "{question}"
        );
    }
}
